//! Deadlines and rounds of connections.
//!
//! All of them are [`Instant`]s, CLOCK_MONOTONIC of clock_gettime(2): somebody who sets the machine's clock, back
//! by an hour or ahead, makes no connection close early and none late.

use std::ops::Range;
use std::time::{Duration, Instant};

use c10k_wire::{Key, Wheel};

/// What a connection has a time for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// Its handshake.
    Handshake,
    /// The message in progress.
    Message,
    /// To close, now that it is over.
    Parting,
}

/// Deadlines of one worker's connections, which none of them pays for that has none.
#[derive(Debug)]
pub(crate) struct Deadlines {
    start: Instant,
    wheel: Wheel<(Key, What)>,
}

impl Deadlines {
    pub(crate) fn since(start: Instant) -> Self {
        Self { start, wheel: Wheel::default() }
    }

    /// Sets a deadline; `matters` says of those that are set already whether they do still.
    pub(crate) fn push(&mut self, key: Key, what: What, at: Instant, matters: impl Fn(Key, What) -> bool) {
        self.wheel.push((key, what), self.us(at), |(key, what), _| matters(key, what));
    }

    /// Whether there are none, stale ones included.
    pub(crate) fn is_empty(&self) -> bool {
        self.wheel.is_empty()
    }

    /// When the clock is next to be looked at for the sake of one that still matters.
    pub(crate) fn next(&mut self, matters: impl Fn(Key, What) -> bool) -> Option<Instant> {
        let at_us = self.wheel.next(|(key, what), _| matters(key, what))?;
        Some(self.start + Duration::from_micros(at_us))
    }

    /// Takes out one that is due and still matters.
    pub(crate) fn due(&mut self, now: Instant, matters: impl Fn(Key, What) -> bool) -> Option<(Key, What)> {
        let now_us = self.us(now);
        self.wheel.due(now_us, |(key, what), _| matters(key, what)).map(|(due, _)| due)
    }

    fn us(&self, at: Instant) -> u64 {
        at.saturating_duration_since(self.start).as_micros() as u64
    }
}

/// Walks over all slots once in a while, a batch at a time.
#[derive(Debug)]
pub(crate) struct Rounds {
    every: Duration,
    next_round: Instant,
    /// The slot where the present round goes on; `None` between two rounds.
    at: Option<u32>,
}

impl Rounds {
    pub(crate) fn new(every: Duration, now: Instant) -> Self {
        Self { every, next_round: now + every, at: None }
    }

    /// When there is something to do.
    pub(crate) fn due_at(&self) -> Instant {
        self.next_round
    }

    /// The next batch of slots, when a round is due or under way.
    pub(crate) fn next(&mut self, now: Instant, batch: u32, slots: u32) -> Option<Range<u32>> {
        if now < self.next_round {
            return None;
        }
        let from = self.at.unwrap_or(0);
        let to = from.saturating_add(batch).min(slots);
        if to >= slots {
            self.at = None;
            self.next_round = now + self.every;
        } else {
            self.at = Some(to);
        }
        Some(from..to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_visits_every_slot_once_and_then_rests() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let mut rounds = Rounds::new(second, start);
        assert_eq!(rounds.next(start, 2, 5), None);
        let due = start + second;
        assert_eq!(rounds.next(due, 2, 5), Some(0..2));
        assert_eq!(rounds.next(due, 2, 5), Some(2..4));
        assert_eq!(rounds.next(due, 2, 5), Some(4..5));
        assert_eq!(rounds.next(due, 2, 5), None);
        assert_eq!(rounds.due_at(), due + second);
    }
}
