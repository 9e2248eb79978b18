//! Waking a thread that waits in epoll_wait(2), across descriptor tables.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use nix::sys::eventfd::{EfdFlags, EventFd};

/// An eventfd(2) that every descriptor table started after it was made has under the same number.
///
/// Watch it edge-triggered and never read it: each ring is an edge at each watcher. Ring it only from a table
/// that has it: in any other the same number may be another file.
#[derive(Debug)]
pub struct Bell(EventFd);

impl Bell {
    /// A new bell in the calling thread's table.
    ///
    /// # Errors
    /// EMFILE, ENFILE or ENOMEM, as eventfd(2).
    pub fn new() -> io::Result<Self> {
        Ok(Self(EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?))
    }

    /// Wakes the one who watches it.
    pub fn ring(&self) {
        // It fails only when the counter is at its end, which 2^64 rings away is not a worry.
        let _ = self.0.write(1);
    }

    /// The descriptor number to watch.
    #[must_use]
    pub fn number(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

/// The descriptor as the calling thread's table has it.
impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
