//! A clock that nobody waits for: it stands at the event that is next.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// A second, µs.
pub(crate) const SECOND: u64 = 1_000_000;
/// A millisecond, µs.
pub(crate) const MS: u64 = 1_000;

/// What happens next. The number is the connection's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Event {
    /// The swarm gets to its next connect.
    Arrive,
    /// The client's timer for an answer to its SYN expires.
    SynAgain(u32),
    /// A SYN is at the listener.
    SynAtListener(u32),
    /// A SYN-ACK is at the client.
    SynAckAtClient(u32),
    /// The last ACK, or data in its place, is at the listener.
    AckAtListener(u32),
    /// A refusal is at the client.
    ResetAtClient(u32),
    /// The server gets to its accept queue.
    Accept,
    /// The server has read a probe of an accepted connection.
    ProbeAtServer(u32),
    /// An echo is at the client, and the swarm has read it.
    EchoAtClient(u32),
    /// The swarm waits no longer for this connect.
    ConnectTimeout(u32),
    /// The swarm waits no longer for this echo.
    ProbeTimeout(u32),
    /// A refusal by a rule, or an end that the server makes, is at the client.
    TurnedAway(u32),
    /// The server's timer for what is silent expires.
    Idle(u32),
    /// The lab looks whether anybody is answered.
    Sample,
    /// Something happens to the server or to the box.
    Fate(usize),
    /// The lab takes a row.
    Tick,
    /// The hold is over.
    Verify,
}

/// Virtual time and what is due.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    pub(crate) now_us: u64,
    due: BinaryHeap<Reverse<(u64, u64, Event)>>,
    order: u64,
}

impl Clock {
    /// Something is to happen then; what is due at the same time happens in the order in which it was said.
    pub(crate) fn at(&mut self, at_us: u64, event: Event) {
        self.order += 1;
        self.due.push(Reverse((at_us.max(self.now_us), self.order, event)));
    }

    pub(crate) fn after(&mut self, us: u64, event: Event) {
        self.at(self.now_us + us, event);
    }

    /// Goes to the next event.
    pub(crate) fn next(&mut self) -> Option<Event> {
        let Reverse((at_us, _, event)) = self.due.pop()?;
        self.now_us = at_us;
        Some(event)
    }
}
