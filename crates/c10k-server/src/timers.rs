//! Deadlines and rounds of connections without a timer a connection.
//!
//! All of them are [`Instant`]s, CLOCK_MONOTONIC of clock_gettime(2): somebody who sets the machine's clock, back
//! by an hour or ahead, makes no connection close early and none late.

use std::ops::Range;
use std::time::{Duration, Instant};

use crate::table::Key;

/// Deadlines of this server's connections.
pub(crate) type Deadlines = c10k_wire::Deadlines<Key, Instant>;

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
