//! Descriptor tables: RLIMIT_NOFILE and `fs.nr_open` bound the descriptor number in one *table*, and a thread
//! may have a table of its own.

use std::fs::File;
use std::io;
use std::os::fd::RawFd;

use nix::fcntl::{FcntlArg, fcntl};
use nix::sched::{CloneFlags, unshare};

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

/// How many descriptors the calling thread's table has open.
///
/// # Errors
/// When `/proc` cannot be read.
pub fn open_count_of_this_thread() -> io::Result<u64> {
    count("/proc/thread-self/fd")
}

/// How many descriptor numbers below `limit` are in use in the calling thread's table: one above it, inherited from a
/// time of higher limits, takes no room.
///
/// # Errors
/// When `/proc` cannot be read.
pub fn open_below(limit: u64) -> io::Result<u64> {
    let listed = std::fs::read_dir("/proc/thread-self/fd")?;
    let numbers = listed.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u64>().ok());
    // One of them is the listing's own.
    Ok((numbers.filter(|number| *number < limit).count() as u64).saturating_sub(1))
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
            let before = open_count_of_this_thread().unwrap();
            grow_table_to(soft - 1).unwrap();
            assert_eq!(open_count_of_this_thread().unwrap(), before);
            assert_eq!(grow_table_to(u32::MAX).unwrap_err().raw_os_error(), Some(libc::EINVAL));
        });
    }

    #[test]
    fn a_descriptor_above_the_limit_takes_no_room_below_it() {
        in_a_table_of_its_own(|| {
            let before = open_below(700).unwrap();
            let file = File::open("/dev/null").unwrap();
            assert_eq!(open_below(700).unwrap(), before + 1);
            let copy = fcntl(&file, FcntlArg::F_DUPFD_CLOEXEC(700)).unwrap();
            assert_eq!(open_below(700).unwrap(), before + 1);
            assert_eq!(open_below(u64::MAX).unwrap(), before + 2);
            nix::unistd::close(copy).unwrap();
        });
    }
}
