//! Waiting for many descriptors at a time, with timeouts finer than a millisecond.
//!
//! epoll_wait(2) counts its timeout in whole milliseconds, so whatever is due every 100 µs would come late by up to a
//! millisecond. [`Epoll::wait`] uses epoll_pwait2(2), Linux 5.11, whose timeout is in nanoseconds. An older kernel (and a
//! filter of system calls that does not know the call) refuses it with ENOSYS or EPERM: from then on each wait is
//! ppoll(2) on the epoll instance, as fine, and epoll_wait(2) behind it: one system call more.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::time::Duration;

use crate::sys::raw_epoll;

/// What is watched for. Each change is reported once (edge-triggered), and so are the peer's end and urgent data, behind
/// which a short read leaves something (see [`crate::socket::recv`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// Something to read.
    Read,
    /// Something to read, or room to write.
    ReadWrite,
}

impl Interest {
    fn bits(self) -> u32 {
        let read = libc::EPOLLET | libc::EPOLLIN | libc::EPOLLPRI | libc::EPOLLRDHUP;
        let bits = match self {
            Self::Read => read,
            Self::ReadWrite => read | libc::EPOLLOUT,
        };
        bits.cast_unsigned()
    }
}

/// What has become of one descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// The token under which it is watched.
    pub token: u64,
    bits: u32,
}

impl Event {
    fn has(self, bit: libc::c_int) -> bool {
        self.bits & bit.cast_unsigned() != 0
    }

    /// Something can be read.
    #[must_use]
    pub fn is_readable(self) -> bool {
        self.has(libc::EPOLLIN | libc::EPOLLPRI)
    }

    /// Something can be written.
    #[must_use]
    pub fn is_writable(self) -> bool {
        self.has(libc::EPOLLOUT)
    }

    /// The peer has closed its half, or both are closed.
    #[must_use]
    pub fn is_read_closed(self) -> bool {
        self.has(libc::EPOLLHUP) || self.has(libc::EPOLLIN) && self.has(libc::EPOLLRDHUP)
    }

    /// There is urgent data that was not read past.
    #[must_use]
    pub fn is_urgent(self) -> bool {
        self.has(libc::EPOLLPRI)
    }

    /// It has failed.
    #[must_use]
    pub fn is_error(self) -> bool {
        self.has(libc::EPOLLERR)
    }
}

/// An epoll instance with room for the events of one wait.
#[derive(Debug)]
pub struct Epoll {
    instance: OwnedFd,
    events: Vec<libc::epoll_event>,
    has_pwait2: bool,
}

impl Epoll {
    /// A new instance in the calling thread's descriptor table; each wait reports at most `most` events.
    ///
    /// # Errors
    /// EMFILE, ENFILE or ENOMEM, as epoll_create1(2).
    pub fn new(most: usize) -> io::Result<Self> {
        let events = vec![libc::epoll_event { events: 0, u64: 0 }; most.max(1)];
        Ok(Self { instance: raw_epoll::create()?, events, has_pwait2: true })
    }

    /// Watches the descriptor of this number in the calling thread's table.
    ///
    /// # Errors
    /// As epoll_ctl(2): ENOSPC when `fs.epoll.max_user_watches` is reached.
    pub fn add(&self, fd: RawFd, token: u64, interest: Interest) -> io::Result<()> {
        raw_epoll::control(self.instance.as_fd(), libc::EPOLL_CTL_ADD, fd, interest.bits(), token)
    }

    /// Watches a watched descriptor for something else.
    ///
    /// # Errors
    /// As epoll_ctl(2).
    pub fn modify(&self, fd: RawFd, token: u64, interest: Interest) -> io::Result<()> {
        raw_epoll::control(self.instance.as_fd(), libc::EPOLL_CTL_MOD, fd, interest.bits(), token)
    }

    /// Waits until something is ready, at most `timeout`, and says what. A signal ends it with nothing.
    ///
    /// How much later than `timeout` it ends is the kernel's timer slack ([`crate::process::set_timer_slack`]) and the
    /// scheduler's.
    ///
    /// # Errors
    /// As epoll_wait(2), but EINTR.
    pub fn wait(&mut self, timeout: Option<Duration>) -> io::Result<impl Iterator<Item = Event> + '_> {
        let filled = match self.wait_once(timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
            other => other?,
        };
        Ok(self.events[..filled].iter().map(|event| Event { token: event.u64, bits: event.events }))
    }

    fn wait_once(&mut self, timeout: Option<Duration>) -> io::Result<usize> {
        let instance = self.instance.as_fd();
        if self.has_pwait2 {
            match raw_epoll::pwait2(instance, &mut self.events, timeout) {
                Err(error) if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) => {
                    self.has_pwait2 = false;
                }
                other => return other,
            }
        }
        raw_epoll::ppoll_and_wait(instance, &mut self.events, timeout)
    }
}

/// Waits until an epoll instance of somebody else's making has something, or the time is over: for a time that its own
/// wait, in whole milliseconds, would round. What there is, that wait then says.
///
/// # Errors
/// As ppoll(2), without EINTR: after a signal it returns early.
pub fn wait_finely(instance: &impl AsRawFd, timeout: Duration) -> io::Result<()> {
    match raw_epoll::wait_for_any(instance.as_raw_fd(), Some(timeout)) {
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;
    use std::time::Instant;

    use super::*;

    /// By epoll_pwait2(2) where this kernel has it, and as a kernel without it would.
    fn both_ways() -> [Epoll; 2] {
        let new = || Epoll::new(4).expect("an epoll instance");
        [new(), Epoll { has_pwait2: false, ..new() }]
    }

    #[test]
    fn a_wait_ends_no_earlier_than_its_timeout_and_can_be_shorter_than_a_millisecond() {
        for mut epoll in both_ways() {
            let timeout = Duration::from_micros(150);
            let mut wait = || {
                let begun = Instant::now();
                assert_eq!(epoll.wait(Some(timeout)).expect("waited").count(), 0);
                let took = begun.elapsed();
                assert!(took >= timeout, "{took:?}");
                took
            };
            // On a busy machine most take longer; of those rounded up to a millisecond none would be shorter.
            while wait() >= Duration::from_millis(1) {}
        }
    }

    #[test]
    fn a_fine_wait_for_an_instance_ends_at_its_time_or_when_there_is_something() {
        let mut epoll = Epoll::new(1).expect("an epoll instance");
        let (mut near, far) = UnixStream::pair().expect("a pair");
        epoll.add(far.as_raw_fd(), 7, Interest::Read).expect("watched");
        let (begun, timeout) = (Instant::now(), Duration::from_micros(150));
        wait_finely(&epoll.instance, timeout).expect("waited");
        assert!(begun.elapsed() >= timeout);
        near.write_all(b"x").expect("written");
        wait_finely(&epoll.instance, Duration::from_secs(3600)).expect("waited");
        assert_eq!(epoll.wait(Some(Duration::ZERO)).expect("looked").count(), 1);
    }

    #[test]
    fn no_time_at_all_and_no_limit_are_waits_too() {
        for mut epoll in both_ways() {
            assert_eq!(epoll.wait(Some(Duration::ZERO)).expect("looked").count(), 0);
            let (mut near, far) = UnixStream::pair().expect("a pair");
            epoll.add(far.as_raw_fd(), 7, Interest::Read).expect("watched");
            near.write_all(b"x").expect("written");
            let seen: Vec<Event> = epoll.wait(None).expect("waited").collect();
            assert_eq!(seen.iter().map(|event| event.token).collect::<Vec<_>>(), [7]);
            let event = seen[0];
            assert!(event.is_readable() && !event.is_writable(), "{event:?}");
            assert!(!event.is_read_closed() && !event.is_error(), "{event:?}");
        }
    }

    #[test]
    fn each_change_is_told_once_and_room_to_write_only_to_who_asks() {
        for mut epoll in both_ways() {
            let (near, mut far) = UnixStream::pair().expect("a pair");
            let look = |epoll: &mut Epoll| -> Vec<Event> {
                epoll.wait(Some(Duration::ZERO)).expect("looked").collect()
            };
            epoll.add(far.as_raw_fd(), u64::MAX - 1, Interest::Read).expect("watched");
            assert_eq!(look(&mut epoll), []);
            epoll.modify(far.as_raw_fd(), u64::MAX - 1, Interest::ReadWrite).expect("changed");
            let seen = look(&mut epoll);
            assert!(seen.len() == 1 && seen[0].is_writable() && seen[0].token == u64::MAX - 1, "{seen:?}");
            assert_eq!(look(&mut epoll), [], "nothing has changed since");
            drop(near);
            let seen = look(&mut epoll);
            assert!(seen.len() == 1 && seen[0].is_read_closed(), "{seen:?}");
            assert_eq!(far.read(&mut [0]).expect("the end"), 0);
        }
    }

    #[test]
    fn a_number_that_is_not_open_cannot_be_watched() {
        let epoll = Epoll::new(1).expect("an epoll instance");
        let error = epoll.add(-1, 0, Interest::Read).expect_err("no descriptor");
        assert_eq!(error.raw_os_error(), Some(libc::EBADF));
    }
}
