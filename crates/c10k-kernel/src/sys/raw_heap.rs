//! mallopt(3) and malloc_trim(3): the C library's ways to give free memory back.

/// How much may be free at the top of a thread's heap before it is given back. `M_TOP_PAD` (128 KiB by default) of it is
/// kept, so that a heap which grows and shrinks does not fault the same pages repeatedly.
#[cfg(target_env = "gnu")]
const MOST_FREE_AT_THE_END_BYTES: libc::c_int = 256 << 10;

/// Freeing a piece of this size makes the C library look at the top of its heap: it is larger than
/// `FASTBIN_CONSOLIDATION_THRESHOLD` (64 KiB, malloc/malloc.c), and smaller than `M_MMAP_THRESHOLD` (128 KiB), from which
/// on a piece is mapped by itself.
#[cfg(target_env = "gnu")]
const LOOK_BYTES: usize = 80 << 10;

/// Fixes two thresholds: how much is free before the top of a heap is given back, and from which size on a piece is mapped
/// by itself and unmapped when freed. By default both grow, to twice the largest such piece that was ever freed, up to
/// 64 MiB of each heap.
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
