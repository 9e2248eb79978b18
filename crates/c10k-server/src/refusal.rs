//! Errors of accept(2).

use std::io;

use nix::errno::Errno;

/// What an error of accept(2) means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The queue is empty, or the listener has been shut down.
    Empty,
    /// Try again.
    Interrupted,
    /// This one connection is lost, the next may be had: accept(2) also passes on errors that were pending on
    /// the new socket.
    GivenUp,
    /// No descriptor or no memory; the queue keeps what it has.
    Exhausted,
}

impl Refusal {
    pub(crate) fn of(error: &io::Error) -> Self {
        match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::EAGAIN | Errno::EINVAL) => Self::Empty,
            Some(Errno::EINTR) => Self::Interrupted,
            Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM) | None => Self::Exhausted,
            Some(_) => Self::GivenUp,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_accept_are_told_apart_by_what_can_be_done() {
        let refusal = |errno: Errno| Refusal::of(&errno.into());
        for errno in [Errno::EMFILE, Errno::ENFILE, Errno::ENOBUFS, Errno::ENOMEM] {
            assert_eq!(refusal(errno), Refusal::Exhausted, "{errno}");
        }
        for errno in [Errno::ECONNABORTED, Errno::EPROTO, Errno::EHOSTUNREACH, Errno::EPERM] {
            assert_eq!(refusal(errno), Refusal::GivenUp, "{errno}");
        }
        assert_eq!(refusal(Errno::EAGAIN), Refusal::Empty);
        assert_eq!(refusal(Errno::EINVAL), Refusal::Empty);
        assert_eq!(refusal(Errno::EINTR), Refusal::Interrupted);
    }
}
