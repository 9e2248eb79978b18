//! kcmp(2): which threads share a descriptor table. No library wraps it.

use std::cmp::Ordering;
use std::io;

/// `KCMP_FILES` (include/uapi/linux/kcmp.h).
const KCMP_FILES: libc::c_long = 2;

/// Compares the descriptor tables of two threads: `Equal` when they share one, else an order that lasts until the
/// next boot and means nothing more.
///
/// # Errors
/// ESRCH when a thread is gone, EPERM for another user's process, ENOSYS in a kernel without it.
pub(crate) fn compare_tables(left: u32, right: u32) -> io::Result<Ordering> {
    let (left, right) = (libc::c_long::from(left), libc::c_long::from(right));
    // SAFETY: kcmp takes five numbers and no memory; the last two are not looked at for KCMP_FILES.
    match unsafe { libc::syscall(libc::SYS_kcmp, left, right, KCMP_FILES, 0, 0) } {
        0 => Ok(Ordering::Equal),
        1 => Ok(Ordering::Less),
        2 => Ok(Ordering::Greater),
        // 3: different, without an order (kcmp(2)); any one will do.
        3 => Ok(Ordering::Less),
        _ => Err(io::Error::last_os_error()),
    }
}
