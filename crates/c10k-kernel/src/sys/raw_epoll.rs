//! epoll_ctl(2) with flags that mio does not offer.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

pub(crate) fn epoll_ctl(
    epoll: BorrowedFd<'_>,
    operation: libc::c_int,
    fd: BorrowedFd<'_>,
    events: u32,
    token: u64,
) -> io::Result<()> {
    let mut event = libc::epoll_event { events, u64: token };
    // SAFETY: `event` lives through the call; the kernel copies it.
    let result = unsafe { libc::epoll_ctl(epoll.as_raw_fd(), operation, fd.as_raw_fd(), &raw mut event) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
