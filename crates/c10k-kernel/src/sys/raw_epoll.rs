//! epoll(7) by its own calls, for waits that are finer than a millisecond.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

/// Turns the -1 of a libc call into the `errno` it left.
fn checked(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// `struct __kernel_timespec` (include/uapi/linux/time_types.h): 64 bits each, on every architecture.
#[repr(C)]
struct KernelTimespec {
    seconds: i64,
    nanoseconds: i64,
}

pub(crate) fn create() -> io::Result<OwnedFd> {
    // SAFETY: no pointer is passed.
    let fd = checked(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
    // SAFETY: `fd` is a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// epoll_ctl(2). `fd` is a number in the calling thread's table; one that is not open there is EBADF.
pub(crate) fn control(
    epoll: BorrowedFd<'_>,
    operation: libc::c_int,
    fd: RawFd,
    events: u32,
    token: u64,
) -> io::Result<()> {
    let mut event = libc::epoll_event { events, u64: token };
    // SAFETY: the pointer is to a live epoll_event, which the call only reads.
    checked(unsafe { libc::epoll_ctl(epoll.as_raw_fd(), operation, fd, &raw mut event) })?;
    Ok(())
}

/// epoll_pwait2(2), Linux 5.11, by its number: C libraries before glibc 2.35 have no function for it. Says how many of
/// `events` it has filled. `None` waits for ever.
pub(crate) fn pwait2(
    epoll: BorrowedFd<'_>,
    events: &mut [libc::epoll_event],
    timeout: Option<Duration>,
) -> io::Result<usize> {
    let timeout = timeout.map(|timeout| KernelTimespec {
        seconds: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
        nanoseconds: i64::from(timeout.subsec_nanos()),
    });
    let limit = timeout.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: pointer and number describe `events`, which is borrowed mutably for the call; `limit` is null or points
    // to a live timespec; with no signal mask its size is not looked at.
    let filled = unsafe {
        libc::syscall(
            libc::SYS_epoll_pwait2,
            epoll.as_raw_fd(),
            events.as_mut_ptr(),
            libc::c_int::try_from(events.len()).unwrap_or(libc::c_int::MAX),
            limit,
            std::ptr::null::<libc::sigset_t>(),
            0_usize,
        )
    };
    usize::try_from(filled).map_err(|_| io::Error::last_os_error())
}

/// What [`pwait2`] does, by two older calls: ppoll(2), whose timeout is as fine, says that the epoll instance has
/// something, and epoll_wait(2) takes it.
pub(crate) fn ppoll_and_wait(
    epoll: BorrowedFd<'_>,
    events: &mut [libc::epoll_event],
    timeout: Option<Duration>,
) -> io::Result<usize> {
    if timeout != Some(Duration::ZERO) {
        wait_for_any(epoll.as_raw_fd(), timeout)?;
    }
    let most = libc::c_int::try_from(events.len()).unwrap_or(libc::c_int::MAX);
    // SAFETY: pointer and number describe `events`, which is borrowed mutably for the call.
    let filled = checked(unsafe { libc::epoll_wait(epoll.as_raw_fd(), events.as_mut_ptr(), most, 0) })?;
    Ok(usize::try_from(filled).unwrap_or(0))
}

/// ppoll(2) on one epoll instance: waits until it has something, or the time is over. `None` waits for ever.
pub(crate) fn wait_for_any(epoll: RawFd, timeout: Option<Duration>) -> io::Result<()> {
    let limit = timeout.map(|timeout| libc::timespec {
        tv_sec: libc::time_t::try_from(timeout.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: timeout.subsec_nanos() as _,
    });
    let limit = limit.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    let mut poll = libc::pollfd { fd: epoll, events: libc::POLLIN, revents: 0 };
    // SAFETY: one live pollfd, a null or live timespec, no signal mask.
    checked(unsafe { libc::ppoll(&raw mut poll, 1, limit, std::ptr::null()) })?;
    Ok(())
}
