//! Deadlines of connections without a timer a connection.
//!
//! All of them are [`Instant`]s, CLOCK_MONOTONIC of clock_gettime(2): somebody who sets the machine's clock, back
//! by an hour or ahead, makes no connection close early and none late.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::{Duration, Instant};

use crate::table::Key;

/// So many that do not matter any more are no burden: a queue below this is never searched for them.
const SPARE: usize = 4096;

/// Deadlines that all lie equally far ahead when they are set, so that they are due in the order in which they
/// were set and only the first is ever looked at.
#[derive(Debug, Default)]
pub(crate) struct Deadlines(VecDeque<(Key, Instant)>);

impl Deadlines {
    /// Adds a deadline. If the queue far outgrows the open connections, stale entries are dropped first, so churn needs
    /// no more memory than what is open.
    pub(crate) fn push(&mut self, key: Key, at: Instant, open: u32, matters: impl Fn(Key) -> bool) {
        if self.0.len() >= 2 * open as usize + SPARE {
            self.0.retain(|(key, _)| matters(*key));
        }
        self.0.push_back((key, at));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next one that still matters; those in front of it that do not are dropped.
    pub(crate) fn next(&mut self, matters: impl Fn(Key) -> bool) -> Option<Instant> {
        while let Some(&(key, at)) = self.0.front() {
            if matters(key) {
                return Some(at);
            }
            self.0.pop_front();
        }
        if self.0.capacity() > SPARE {
            self.0 = VecDeque::new();
        }
        None
    }

    /// Takes out the next one, if it is due.
    pub(crate) fn due(&mut self, now: Instant) -> Option<Key> {
        let (_, at) = self.0.front()?;
        if *at > now {
            return None;
        }
        self.0.pop_front().map(|(key, _)| key)
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

    #[test]
    fn deadlines_that_do_not_matter_any_more_are_dropped_on_the_way() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let key = |n: usize| Key::from_token(mio::Token(n));
        let mut deadlines = Deadlines::default();
        (0..4).for_each(|n| deadlines.push(key(n), start + second * n as u32, 4, |_| true));
        assert_eq!(deadlines.next(|k| k != key(0)), Some(start + second));
        assert_eq!(deadlines.due(start), None);
        assert_eq!(deadlines.due(start + 5 * second), Some(key(1)));
        assert_eq!(deadlines.next(|_| false), None);
        assert_eq!(deadlines.due(start + 5 * second), None);
    }

    #[test]
    fn of_a_crowd_that_is_gone_no_more_is_kept_than_of_those_that_are_there() {
        let start = Instant::now();
        let key = |n: u32| Key::from_token(mio::Token(n as usize));
        let (stays, open) = (|key: Key| key.slot().is_multiple_of(1000), 100);
        let mut deadlines = Deadlines::default();
        for n in 0..open * 1000 {
            deadlines.push(key(n), start + Duration::from_micros(n.into()), open, stays);
            assert!(deadlines.0.len() <= 2 * open as usize + SPARE);
        }
        let mut left = Vec::new();
        while let Some(at) = deadlines.next(stays) {
            left.extend(deadlines.due(at).map(Key::slot));
        }
        assert_eq!(left, (0..open).map(|n| n * 1000).collect::<Vec<u32>>());
    }
}
