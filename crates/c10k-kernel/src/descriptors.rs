//! Descriptor tables: RLIMIT_NOFILE and `fs.nr_open` bound the descriptor number in one *table*, and a thread
//! may have a table of its own.

use std::fs::File;
use std::io;
use std::os::fd::{BorrowedFd, RawFd};

use nix::fcntl::{FcntlArg, fcntl};
use nix::sched::{CloneFlags, unshare};

use crate::sys::raw_epoll;

/// Gives the calling thread a descriptor table of its own: a copy of the present one, shared with nobody.
///
/// Open what the thread needs afterwards: what it opens is closed to all other threads, and what they close
/// stays open here.
///
/// # Errors
/// EPERM or ENOSYS where a filter forbids unshare(2); ENOMEM; EMFILE above `fs.nr_open`.
pub fn unshare_table() -> io::Result<()> {
    Ok(unshare(CloneFlags::CLONE_FILES)?)
}

/// Whether threads may have descriptor tables of their own here: tried on a thread that ends at once.
///
/// # Errors
/// As [`unshare_table`]; EAGAIN where no further thread may be started (pthread_create(3)).
pub fn own_tables_possible() -> io::Result<()> {
    const STACK_BYTES: usize = 64 << 10;
    let tried = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(unshare_table)?;
    tried.join().unwrap_or_else(|_| Err(io::ErrorKind::Other.into()))
}

/// Grows the calling thread's table in one step until descriptor number `top` fits. A table doubles and
/// copies; when threads share it each doubling waits for an RCU grace period, so grow first, then start them.
///
/// # Errors
/// EINVAL when `top` is not below the soft RLIMIT_NOFILE; EMFILE when all from `top` upwards are taken; ENOMEM.
pub fn grow_table_to(top: u32) -> io::Result<()> {
    let any = File::open("/dev/null")?;
    let top = RawFd::try_from(top).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
    let copy: RawFd = fcntl(&any, FcntlArg::F_DUPFD_CLOEXEC(top))?;
    Ok(nix::unistd::close(copy)?)
}

/// How many descriptors a process has open, in its first thread's table.
///
/// # Errors
/// `NotFound` when the process is gone, `PermissionDenied` for another user's process.
pub fn open_count(pid: u32) -> io::Result<u64> {
    count(&format!("/proc/{pid}/fd"))
}

/// How many descriptors a thread's table has open; threads that share a table show the same.
///
/// # Errors
/// As [`open_count`].
pub fn open_count_of_thread(pid: u32, tid: u32) -> io::Result<u64> {
    count(&format!("/proc/{pid}/task/{tid}/fd"))
}

/// The highest open descriptor number in the calling thread's table; None when nothing is open.
///
/// # Errors
/// When `/proc` cannot be read.
pub fn highest_open() -> io::Result<Option<u32>> {
    let mut highest = None;
    // Reading the folder opens a descriptor, which is listed too: look first, then forget what is closed again.
    let listed: Vec<u32> = std::fs::read_dir("/proc/thread-self/fd")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    for fd in listed {
        if highest < Some(fd) && std::fs::symlink_metadata(format!("/proc/thread-self/fd/{fd}")).is_ok() {
            highest = Some(fd);
        }
    }
    Ok(highest)
}

/// Adds `fd` to `epoll` for EPOLLIN with EPOLLEXCLUSIVE, so that one new connection wakes one waiter and not
/// all that wait on the same listener (epoll_ctl(2)). Level-triggered; `token` comes back as `data`.
///
/// # Errors
/// EEXIST when it is there already, ENOSPC at `fs.epoll.max_user_watches`, EINVAL before Linux 4.5.
pub fn epoll_add_exclusive(epoll: BorrowedFd<'_>, fd: BorrowedFd<'_>, token: u64) -> io::Result<()> {
    let events = libc::EPOLLIN.cast_unsigned() | libc::EPOLLEXCLUSIVE.cast_unsigned();
    raw_epoll::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, fd, events, token)
}

/// Takes `fd` out of `epoll`. Closing a copy of a shared listener does not: this does.
///
/// # Errors
/// ENOENT when it is not there.
pub fn epoll_del(epoll: BorrowedFd<'_>, fd: BorrowedFd<'_>) -> io::Result<()> {
    raw_epoll::epoll_ctl(epoll, libc::EPOLL_CTL_DEL, fd, 0, 0)
}

/// Since Linux 6.2 the folder's size is the count; before it is 0 and the entries are counted.
fn count(folder: &str) -> io::Result<u64> {
    match std::fs::metadata(folder)?.len() {
        0 => Ok(std::fs::read_dir(folder)?.count() as u64),
        size => Ok(size),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits;
    use std::os::fd::{AsFd, AsRawFd};
    use std::os::unix::net::UnixStream;

    fn in_a_table_of_its_own(test: impl FnOnce() + Send + 'static) {
        std::thread::spawn(|| {
            unshare_table().unwrap();
            test();
        })
        .join()
        .unwrap();
    }

    fn own_tid() -> u32 {
        nix::unistd::gettid().as_raw().cast_unsigned()
    }

    #[test]
    fn that_tables_of_their_own_are_possible_is_what_a_thread_finds() {
        let found = std::thread::spawn(|| unshare_table().is_ok()).join().unwrap();
        assert_eq!(own_tables_possible().is_ok(), found);
    }

    #[test]
    fn a_thread_with_its_own_table_opens_what_nobody_else_sees() {
        in_a_table_of_its_own(|| {
            let pid = std::process::id();
            let before = open_count_of_thread(pid, own_tid()).unwrap();
            let files: Vec<File> = (0..50).map(|_| File::open("/dev/null").unwrap()).collect();
            assert_eq!(open_count_of_thread(pid, own_tid()).unwrap(), before + 50);
            drop(files);
            assert_eq!(open_count_of_thread(pid, own_tid()).unwrap(), before);
        });
    }

    #[test]
    fn the_table_grows_to_just_below_the_soft_limit_and_not_beyond() {
        in_a_table_of_its_own(|| {
            let soft = u32::try_from(limits::nofile().unwrap().soft.min(1 << 20)).unwrap();
            let before = highest_open().unwrap();
            grow_table_to(soft - 1).unwrap();
            assert_eq!(highest_open().unwrap(), before);
            assert_eq!(grow_table_to(u32::MAX).unwrap_err().raw_os_error(), Some(libc::EINVAL));
        });
    }

    #[test]
    fn the_highest_descriptor_is_the_one_opened_last_at_the_top() {
        in_a_table_of_its_own(|| {
            let file = File::open("/dev/null").unwrap();
            let copy = fcntl(&file, FcntlArg::F_DUPFD_CLOEXEC(700)).unwrap();
            assert_eq!(highest_open().unwrap(), u32::try_from(copy).ok());
            nix::unistd::close(copy).unwrap();
            assert!(highest_open().unwrap() >= Some(file.as_raw_fd().cast_unsigned()));
        });
    }

    #[test]
    fn a_watch_is_added_once_and_taken_out_once() {
        let epoll = nix::sys::epoll::Epoll::new(nix::sys::epoll::EpollCreateFlags::EPOLL_CLOEXEC).unwrap();
        let (near, _far) = UnixStream::pair().unwrap();
        epoll_add_exclusive(epoll.0.as_fd(), near.as_fd(), 7).unwrap();
        let again = epoll_add_exclusive(epoll.0.as_fd(), near.as_fd(), 7).unwrap_err();
        assert_eq!(again.raw_os_error(), Some(libc::EEXIST));
        epoll_del(epoll.0.as_fd(), near.as_fd()).unwrap();
        let gone = epoll_del(epoll.0.as_fd(), near.as_fd()).unwrap_err();
        assert_eq!(gone.raw_os_error(), Some(libc::ENOENT));
    }
}
