//! A forked child that fills a report of fixed size and ends.

use std::fs::File;
use std::io::{self, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};

use nix::errno::Errno;
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, fork};

/// Forks, lets the child run `work` on its copy of `report`, and brings that copy back to the parent.
///
/// When other threads may exist, `work` must keep to async-signal-safe calls: no allocation, no locks
/// (fork(2), signal-safety(7)). The child never returns from here.
///
/// # Errors
/// As pipe2(2) and fork(2); `UnexpectedEof` when the child ended without a whole report.
pub(crate) fn fork_and_report(report: &mut [u8], work: impl FnOnce(&mut [u8])) -> io::Result<()> {
    let (read_end, write_end) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC)?;
    // SAFETY: the child only runs `work`, whose contract stands above, writes to a pipe and ends by _exit.
    match unsafe { fork() }? {
        ForkResult::Child => {
            let worked = catch_unwind(AssertUnwindSafe(|| work(report))).is_ok();
            let written = worked && File::from(write_end).write_all(report).is_ok();
            // SAFETY: _exit runs no destructor and no exit handler of the parent's; it does not return.
            unsafe { libc::_exit(i32::from(!written)) }
        }
        ForkResult::Parent { child } => {
            drop(write_end);
            let read = File::from(read_end).read_exact(report);
            while waitpid(child, None) == Err(Errno::EINTR) {}
            read
        }
    }
}

/// Whether `path` exists for this thread, and with which mode bits: stat(2) without an allocation.
pub(crate) fn mode_of(path: &std::ffi::CStr) -> Option<u32> {
    let mut stat = std::mem::MaybeUninit::<libc::stat>::uninit();
    // SAFETY: `path` ends with NUL and `stat` is memory for one `struct stat`.
    if unsafe { libc::stat(path.as_ptr(), stat.as_mut_ptr()) } != 0 {
        return None;
    }
    // SAFETY: stat(2) returned 0, so it filled the structure.
    Some(unsafe { stat.assume_init() }.st_mode)
}

/// Forks a process whose first thread ends at once and whose other one goes on for a minute. The one who asked for it kills it
/// and waits for it.
#[cfg(test)]
pub(crate) fn fork_without_first_thread() -> io::Result<u32> {
    // SAFETY: the child starts one thread and ends its own; the C library keeps its allocator usable after fork.
    match unsafe { fork() }? {
        ForkResult::Child => {
            std::thread::spawn(|| {
                std::thread::sleep(std::time::Duration::from_secs(60));
                // SAFETY: _exit runs no destructor and no exit handler of the parent's; it does not return.
                unsafe { libc::_exit(0) }
            });
            loop {
                // SAFETY: exit(2) itself ends the calling thread alone, and nothing of it is used by the other one.
                unsafe { libc::syscall(libc::SYS_exit, 0) };
            }
        }
        ForkResult::Parent { child } => Ok(child.as_raw().cast_unsigned()),
    }
}
