//! malloc_trim(3): the C library's way to give free memory back.

/// Gives the pages of free memory in all arenas back to the kernel; true when there were any.
#[cfg(target_env = "gnu")]
pub(crate) fn trim() -> bool {
    // SAFETY: malloc_trim takes a number, locks each arena itself, and touches only what is free in it.
    unsafe { libc::malloc_trim(0) == 1 }
}

/// Other C libraries have no such call.
#[cfg(not(target_env = "gnu"))]
pub(crate) fn trim() -> bool {
    false
}
