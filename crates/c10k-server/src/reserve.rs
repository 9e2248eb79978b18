//! One watch of epoll that a worker keeps in reserve.
//!
//! `fs.epoll.max_user_watches` bounds what a user may watch with all epoll instances together, and nothing tells how
//! many are left (epoll(7)). A connection that was accepted and then cannot be watched is of no use, and has cost its
//! peer a place in the queue. So a worker accepts only while it holds a watch that it does not need: the connection
//! for which there is none gets this one, and until another is to be had the queue is left alone.

use std::io;
use std::os::fd::RawFd;

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use nix::errno::Errno;

/// The watch: of a bell, for a change that no bell reports until it is listened to.
#[derive(Debug)]
pub(crate) struct Reserve {
    bell: RawFd,
    token: Token,
    is_held: bool,
    /// Why the watch was given up, until somebody asks.
    lack: Option<io::Error>,
}

impl Reserve {
    /// A reserve that does not hold its watch yet: of the bell with this number, under this token.
    pub(crate) fn of(bell: RawFd, token: Token) -> Self {
        Self { bell, token, is_held: false, lack: None }
    }

    /// Takes the watch, if it is not held.
    ///
    /// # Errors
    /// As epoll_ctl(2): ENOSPC at `fs.epoll.max_user_watches`, ENOMEM.
    pub(crate) fn take(&mut self, registry: &Registry) -> io::Result<()> {
        self.watch(registry, Interest::PRIORITY)
    }

    /// Hears the bell from now on.
    ///
    /// # Errors
    /// As [`Reserve::take`].
    pub(crate) fn listen(&mut self, registry: &Registry) -> io::Result<()> {
        self.watch(registry, Interest::READABLE)
    }

    /// Does `watch`, and where epoll has no room, again with the room of the reserve.
    ///
    /// # Errors
    /// What `watch` says when there was no reserve, or that did not help.
    pub(crate) fn or_with(
        &mut self,
        registry: &Registry,
        mut watch: impl FnMut() -> io::Result<()>,
    ) -> io::Result<()> {
        let Err(lack) = watch() else { return Ok(()) };
        if !std::mem::take(&mut self.is_held) {
            return Err(lack);
        }
        // ENOENT would mean that it was not held.
        let _ = registry.deregister(&mut SourceFd(&self.bell));
        self.lack = Some(lack);
        watch()
    }

    /// Why the watch was given up since this was last asked; `None` = it was not.
    pub(crate) fn take_lack(&mut self) -> Option<io::Error> {
        self.lack.take()
    }

    fn watch(&mut self, registry: &Registry, interest: Interest) -> io::Result<()> {
        let mut bell = SourceFd(&self.bell);
        if self.is_held {
            return registry.reregister(&mut bell, self.token, interest);
        }
        match registry.register(&mut bell, self.token, interest) {
            // It was held after all: a deregistration that failed leaves the watch.
            Err(error) if error.raw_os_error() == Some(Errno::EEXIST as i32) => {
                registry.reregister(&mut bell, self.token, interest)?;
            }
            result => result?,
        }
        self.is_held = true;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use c10k_kernel::bell::Bell;
    use mio::{Events, Poll};

    use super::*;

    const NO_ROOM: Errno = Errno::ENOSPC;

    #[test]
    fn a_connection_without_room_gets_the_reserve_and_the_next_one_does_not() {
        let (poll, bell) = (Poll::new().unwrap(), Bell::new().unwrap());
        let mut reserve = Reserve::of(bell.number(), Token(7));
        reserve.take(poll.registry()).unwrap();
        assert!(reserve.or_with(poll.registry(), || Ok(())).is_ok() && reserve.take_lack().is_none());
        let mut tries = 0;
        let second_time = |tries: &mut u32| {
            *tries += 1;
            if *tries == 2 { Ok(()) } else { Err(NO_ROOM.into()) }
        };
        reserve.or_with(poll.registry(), || second_time(&mut tries)).unwrap();
        assert_eq!(reserve.take_lack().and_then(|lack| lack.raw_os_error()), Some(NO_ROOM as i32));
        let mut tries = 0;
        let refused = reserve.or_with(poll.registry(), || second_time(&mut tries)).unwrap_err();
        assert_eq!((tries, refused.raw_os_error()), (1, Some(NO_ROOM as i32)));
        assert!(reserve.take_lack().is_none());
        // It is given again, twice over.
        reserve.take(poll.registry()).unwrap();
        reserve.take(poll.registry()).unwrap();
    }

    #[test]
    fn a_watch_that_is_there_already_is_held() {
        let (poll, bell) = (Poll::new().unwrap(), Bell::new().unwrap());
        poll.registry().register(&mut SourceFd(&bell.number()), Token(7), Interest::PRIORITY).unwrap();
        let mut reserve = Reserve::of(bell.number(), Token(7));
        reserve.take(poll.registry()).unwrap();
        assert!(reserve.is_held);
    }

    #[test]
    fn the_bell_is_heard_only_while_somebody_listens() {
        let (mut poll, bell) = (Poll::new().unwrap(), Bell::new().unwrap());
        let mut events = Events::with_capacity(8);
        let mut hear = |poll: &mut Poll| {
            poll.poll(&mut events, Some(Duration::from_millis(20))).unwrap();
            events.iter().any(|event| event.token() == Token(7))
        };
        let mut reserve = Reserve::of(bell.number(), Token(7));
        reserve.take(poll.registry()).unwrap();
        bell.ring();
        assert!(!hear(&mut poll));
        reserve.listen(poll.registry()).unwrap();
        bell.ring();
        assert!(hear(&mut poll));
        reserve.take(poll.registry()).unwrap();
        bell.ring();
        assert!(!hear(&mut poll));
    }
}
