//! Deadlines of connections without a timer a connection, for both ends. The time is the caller's: any that can be
//! compared, such as an `Instant`, or µs since a start.

use std::collections::VecDeque;

/// So many stale entries are no burden: a queue with no more than these beside the live ones is never searched.
const SPARE: usize = 1024;

/// Deadlines that all lie equally far ahead when they are set: so they are due in the order in which they were set, and
/// only the first is ever looked at.
///
/// An entry goes stale when what it was set for is over. Those at the front are dropped when they are met. Those behind
/// one that is still to come are dropped whenever the queue has doubled: one connection that stays silent does not keep
/// the entries of all that came after it.
#[derive(Debug)]
pub struct Deadlines<K, T> {
    queue: VecDeque<(K, T)>,
    /// At most how many of them were there when stale ones were dropped last.
    live: usize,
}

impl<K, T> Default for Deadlines<K, T> {
    fn default() -> Self {
        Self { queue: VecDeque::new(), live: 0 }
    }
}

impl<K: Copy, T: Copy + PartialOrd> Deadlines<K, T> {
    /// Adds a deadline. If the queue has far outgrown what was live in it, entries that no longer `matter` are dropped
    /// first and their memory is given back, so churn needs no more of it than what is live.
    pub fn push(&mut self, key: K, at: T, matters: impl Fn(K, T) -> bool) {
        self.live = self.live.min(self.queue.len());
        if self.queue.len() >= 2 * self.live + SPARE {
            self.queue.retain(|(key, at)| matters(*key, *at));
            self.live = self.queue.len();
            self.queue.shrink_to(2 * self.live + SPARE);
        }
        self.queue.push_back((key, at));
    }

    /// Whether there are none, stale ones included.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Entries that it has memory for.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.queue.capacity()
    }

    /// When the next one is due that still matters; those in front of it that do not are dropped.
    pub fn next(&mut self, matters: impl Fn(K, T) -> bool) -> Option<T> {
        while let Some(&(key, at)) = self.queue.front() {
            if matters(key, at) {
                return Some(at);
            }
            self.queue.pop_front();
        }
        if self.queue.capacity() > SPARE {
            *self = Self::default();
        }
        None
    }

    /// Takes out the next one, if it is due.
    pub fn due(&mut self, now: T) -> Option<K> {
        self.queue.pop_front_if(|(_, at)| *at <= now).map(|(key, _)| key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_that_do_not_matter_any_more_are_dropped_on_the_way() {
        let mut deadlines = Deadlines::default();
        (0..4).for_each(|n| deadlines.push(n, 10 * n, |_, _| true));
        assert_eq!(deadlines.next(|key, _| key != 0), Some(10));
        assert_eq!(deadlines.due(9), None);
        assert_eq!(deadlines.due(50), Some(1));
        assert_eq!(deadlines.next(|_, _| false), None);
        assert_eq!(deadlines.due(50), None);
    }

    #[test]
    fn of_a_crowd_that_is_gone_no_more_is_kept_than_of_those_that_are_there() {
        let (stays, live) = (|key: u32, _| key.is_multiple_of(1000), 100_u32);
        let mut deadlines = Deadlines::default();
        for n in 0..live * 1000 {
            deadlines.push(n, n, stays);
            assert!(deadlines.queue.len() <= 2 * live as usize + SPARE);
        }
        let mut left = Vec::new();
        while let Some(at) = deadlines.next(stays) {
            left.extend(deadlines.due(at));
        }
        assert_eq!(left, (0..live).map(|n| n * 1000).collect::<Vec<u32>>());
    }

    #[test]
    fn the_memory_of_a_crowd_is_given_back_although_one_of_it_stays() {
        let mut deadlines = Deadlines::default();
        (0..100_000).for_each(|n| deadlines.push(n, n, |_, _| true));
        assert!(deadlines.capacity() >= 100_000);
        // All but the first are over; from here on one at a time comes and goes.
        for n in 100_000..400_000 {
            deadlines.push(n, n, |key, _| key == 0 || key == n);
        }
        assert!(deadlines.capacity() <= 4 * SPARE, "{}", deadlines.capacity());
        assert_eq!(deadlines.next(|key, _| key == 0), Some(0), "the one that stays has its deadline still");
    }

    #[test]
    fn an_empty_queue_has_no_memory_of_a_crowd() {
        let mut deadlines = Deadlines::default();
        (0..100_000).for_each(|n| deadlines.push(n, n, |_, _| true));
        assert_eq!(deadlines.next(|_, _| false), None);
        assert_eq!(deadlines.capacity(), 0);
    }
}
