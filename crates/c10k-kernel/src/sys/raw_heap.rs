//! mallopt(3) and malloc_trim(3): the C library's ways to give free memory back.

/// What may lie free at the end of a thread's heap before it goes back; `M_TOP_PAD`, 128 KiB by default, of it stays
/// then, so that a heap that breathes does not fault the same pages in again and again.
#[cfg(target_env = "gnu")]
const MOST_FREE_AT_THE_END_BYTES: libc::c_int = 256 << 10;

/// Freeing this much makes the C library look at the end of the heap it is freed into (`FASTBIN_CONSOLIDATION_THRESHOLD`,
/// 64 KiB, malloc/malloc.c), and it is not so much that it would be mapped by itself (`M_MMAP_THRESHOLD`, 128 KiB).
#[cfg(target_env = "gnu")]
const LOOK_BYTES: usize = 80 << 10;

/// Fixes when the end of a heap goes back, and with it from which size on a piece is mapped by itself and returned as it
/// is freed. Left alone, both grow to twice the largest such piece that was ever freed, up to 64 MiB of each heap.
#[cfg(target_env = "gnu")]
pub(crate) fn limit_free() -> bool {
    // SAFETY: mallopt takes two numbers and locks the heap that it changes.
    unsafe { libc::mallopt(libc::M_TRIM_THRESHOLD, MOST_FREE_AT_THE_END_BYTES) == 1 }
}

/// Other C libraries have no such limit.
#[cfg(not(target_env = "gnu"))]
pub(crate) fn limit_free() -> bool {
    false
}

/// Gives the pages of free memory in all heaps back to the kernel; true when there were any. malloc_trim leaves the end
/// of every heap but the main thread's as it is (`mtrim`, malloc/malloc.c), so the calling thread's is looked at too.
#[cfg(target_env = "gnu")]
pub(crate) fn trim() -> bool {
    drop(std::hint::black_box(Vec::<u8>::with_capacity(LOOK_BYTES)));
    // SAFETY: malloc_trim takes a number, locks each heap itself, and touches only what is free in it.
    unsafe { libc::malloc_trim(0) == 1 }
}

/// Other C libraries have no such call.
#[cfg(not(target_env = "gnu"))]
pub(crate) fn trim() -> bool {
    false
}
