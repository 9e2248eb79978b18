//! A file system that is mounted nowhere: fsopen(2) and fsmount(2), which no library that is here wraps.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

/// `FSOPEN_CLOEXEC` and `FSMOUNT_CLOEXEC`.
const CLOSE_ON_EXEC: libc::c_uint = 1;
/// `FSCONFIG_CMD_CREATE`.
const CREATE: libc::c_uint = 6;

/// The root of a file system of that kind, which no mount namespace shows: it is reached by openat(2) from this descriptor,
/// and gone with it. Linux 5.2.
///
/// # Errors
/// ENODEV in a kernel without that file system, EPERM without CAP_SYS_ADMIN where it may not be mounted in a user
/// namespace, ENOSYS in an older kernel.
pub(crate) fn detached(kind: &CStr) -> io::Result<OwnedFd> {
    // SAFETY: the text ends with NUL and lives for the call, which only reads it.
    let context = owned(unsafe { libc::syscall(libc::SYS_fsopen, kind.as_ptr(), CLOSE_ON_EXEC) })?;
    let none = std::ptr::null::<libc::c_char>();
    // SAFETY: this command takes neither a key nor a value.
    let made = unsafe {
        libc::syscall(libc::SYS_fsconfig, context.as_raw_fd(), CREATE, none, none, 0 as libc::c_int)
    };
    if made < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: no pointer is passed.
    owned(unsafe { libc::syscall(libc::SYS_fsmount, context.as_raw_fd(), CLOSE_ON_EXEC, 0 as libc::c_uint) })
}

fn owned(result: libc::c_long) -> io::Result<OwnedFd> {
    let fd = libc::c_int::try_from(result).ok().filter(|fd| *fd >= 0).ok_or_else(io::Error::last_os_error)?;
    // SAFETY: both calls return a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
