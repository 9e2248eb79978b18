//! Which tuples of the plan may be used: handed out in blocks, and taken back when their connections have ended.
//!
//! Pure arithmetic over a given time. A worker takes as many tuples as it has connections to begin: so no connection
//! costs a write to memory that workers share, and no tuple lies with a worker that has no use for it.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use c10k_record::PortsInPlan;

/// How long the kernel keeps a tuple in TIME_WAIT (include/net/tcp.h, `TCP_TIMEWAIT_LEN`: 60 s), and how late its timer
/// may be: so far ahead the timer wheel counts in steps of up to two seconds (kernel/time/timer.c).
pub(crate) const TIME_WAIT: Duration = Duration::from_secs(62);
/// The longest wait for a tuple that comes back. Growth that waited longer would look like a swarm that hangs.
const LONGEST_WAIT_US: u64 = 1_200_000;
/// Of tuples that have come back so many rest. Those that were back before them are used again before those that nobody
/// has used yet: else a plan with many tuples would keep each that was ever used in memory.
const RESTING: usize = 8192;
/// Before the next look for tuples that another worker may give back, µs.
const NEXT_LOOK_US: u64 = 5_000;

/// What a worker that wants tuples gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Supply {
    /// At least one.
    Given,
    /// None before this time, µs since the run's epoch.
    NotBefore(u64),
    /// None is left, and this is what became of them.
    UsedUp(PortsInPlan),
}

/// What one worker has of the tuples, and has not yet told the others.
#[derive(Debug, Default)]
pub(crate) struct Hand {
    /// Taken and not tried; the next one is the last.
    unused: Vec<u32>,
    /// How many were tried since the last [`Tuples::settle`].
    tried: u64,
    free: Vec<u32>,
    time_wait: Vec<u32>,
    taken: Vec<u32>,
}

impl Hand {
    /// The next tuple to try.
    pub(crate) fn next(&mut self) -> Option<u32> {
        let number = self.unused.pop()?;
        self.tried += 1;
        Some(number)
    }

    /// The tuple of a connection that leaves nothing behind: it may be used again at once.
    pub(crate) fn is_free(&mut self, number: u32) {
        self.free.push(number);
    }

    /// The tuple of a connection that was closed by our FIN.
    pub(crate) fn waits(&mut self, number: u32) {
        self.time_wait.push(number);
    }

    /// A tuple that the kernel refused because somebody else holds it.
    pub(crate) fn is_taken(&mut self, number: u32) {
        self.taken.push(number);
    }

    /// The last tuple of [`Hand::next`] was not tried after all.
    pub(crate) fn not_tried(&mut self, number: u32) {
        self.tried -= 1;
        self.unused.push(number);
    }
}

/// All tuples of a run.
#[derive(Debug)]
pub(crate) struct Tuples {
    planned: u32,
    /// How long the kernel keeps a tuple from a new connection after our FIN, µs.
    time_wait_us: u64,
    pool: Mutex<Pool>,
}

#[derive(Debug, Default)]
struct Pool {
    /// The first number that nobody has had yet.
    next: u32,
    /// Used before and free again, the longest first.
    free: VecDeque<u32>,
    /// In TIME_WAIT, and until when, µs; in the order in which they come back.
    time_wait: VecDeque<(u32, u64)>,
    /// Refused by the kernel, and when they are tried again, µs; in that order.
    taken: VecDeque<(u32, u64)>,
    /// With a worker, in use or to be tried.
    out: u64,
    /// Of these, to be tried: they may be given back.
    to_be_tried: u64,
}

impl Tuples {
    /// The tuples `0..capacity`, of which one box can number four billion; `time_wait` is how long the kernel keeps one
    /// from a new connection after our FIN.
    pub(crate) fn new(capacity: u64, time_wait: Duration) -> Self {
        Self {
            planned: u32::try_from(capacity).unwrap_or(u32::MAX),
            time_wait_us: time_wait.as_micros() as u64,
            pool: Mutex::default(),
        }
    }

    /// Takes up to `most` tuples. Those that nobody has used yet come before those that rest: no TIME_WAIT can be in their
    /// way.
    pub(crate) fn take(&self, hand: &mut Hand, most: u32, now_us: u64) -> Supply {
        let mut pool = self.pool();
        self.take_back_in(&mut pool, hand, now_us);
        pool.come_back(now_us);
        let rested = pool.free.len().saturating_sub(RESTING).min(most as usize);
        let first = pool.next;
        let fresh = (most - rested as u32).min(self.planned - first);
        pool.next += fresh;
        let again = ((most - fresh) as usize).min(pool.free.len());
        let given = u64::from(fresh) + again as u64;
        // The next one is the last of the list.
        hand.unused.extend(pool.free.drain(..again).rev());
        hand.unused.extend((first..first + fresh).rev());
        pool.out += given;
        pool.to_be_tried += given;
        if given > 0 {
            return Supply::Given;
        }
        if pool.to_be_tried > 0 {
            return Supply::NotBefore(now_us + NEXT_LOOK_US);
        }
        match pool.time_wait.front() {
            Some((_, until_us)) if *until_us <= now_us + LONGEST_WAIT_US => Supply::NotBefore(*until_us),
            _ => Supply::UsedUp(pool.stand(self.planned)),
        }
    }

    /// Takes back what a worker has to tell: once a turn of its loop, and not once a connection.
    pub(crate) fn take_back(&self, hand: &mut Hand, now_us: u64) {
        let nothing =
            hand.tried == 0 && hand.free.is_empty() && hand.time_wait.is_empty() && hand.taken.is_empty();
        if !nothing {
            self.take_back_in(&mut self.pool(), hand, now_us);
        }
    }

    /// Takes back what a worker had taken and not tried, too.
    pub(crate) fn give_back(&self, hand: &mut Hand, now_us: u64) {
        self.take_back(hand, now_us);
        if hand.unused.is_empty() {
            return;
        }
        let mut pool = self.pool();
        let count = hand.unused.len() as u64;
        pool.out -= count;
        pool.to_be_tried -= count;
        while let Some(number) = hand.unused.pop() {
            pool.free.push_back(number);
        }
    }

    fn take_back_in(&self, pool: &mut Pool, hand: &mut Hand, now_us: u64) {
        let ended = hand.free.len() + hand.time_wait.len() + hand.taken.len();
        pool.to_be_tried -= std::mem::take(&mut hand.tried);
        pool.out -= ended as u64;
        // The lists go back whole: after a crowd has ended they are large.
        pool.free.extend(std::mem::take(&mut hand.free));
        let until_us = now_us + self.time_wait_us;
        pool.time_wait
            .extend(std::mem::take(&mut hand.time_wait).into_iter().map(|number| (number, until_us)));
        let again_us = now_us + TIME_WAIT.as_micros() as u64;
        pool.taken.extend(std::mem::take(&mut hand.taken).into_iter().map(|number| (number, again_us)));
    }

    fn pool(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pool {
    /// Moves to the free ones what has waited long enough.
    fn come_back(&mut self, now_us: u64) {
        for queue in [&mut self.time_wait, &mut self.taken] {
            while let Some((number, _)) = queue.pop_front_if(|(_, until_us)| *until_us <= now_us) {
                self.free.push_back(number);
            }
            if queue.is_empty() {
                *queue = VecDeque::new();
            }
        }
    }

    fn stand(&self, planned: u32) -> PortsInPlan {
        PortsInPlan {
            planned: planned.into(),
            in_use: self.out,
            time_wait: self.time_wait.len() as u64,
            taken: self.taken.len() as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND_US: u64 = 1_000_000;
    const REUSED_AFTER: Duration = Duration::from_secs(1);

    /// Takes as many as there are, up to `most`.
    fn take(tuples: &Tuples, hand: &mut Hand, most: u32, now_us: u64) -> Vec<u32> {
        tuples.take(hand, most, now_us);
        std::iter::from_fn(|| hand.next()).collect()
    }

    fn used_up(in_use: u64, time_wait: u64, taken: u64) -> Supply {
        Supply::UsedUp(PortsInPlan { planned: in_use + time_wait + taken, in_use, time_wait, taken })
    }

    #[test]
    fn each_tuple_is_handed_out_once_and_in_order() {
        let (tuples, mut one, mut other) = (Tuples::new(5, TIME_WAIT), Hand::default(), Hand::default());
        assert_eq!(take(&tuples, &mut one, 3, 0), [0, 1, 2]);
        assert_eq!(take(&tuples, &mut other, 3, 0), [3, 4]);
        tuples.take_back(&mut one, 0);
        assert_eq!(tuples.take(&mut other, 1, 0), used_up(5, 0, 0));
    }

    #[test]
    fn one_that_is_free_comes_back_at_once_and_one_closed_by_fin_after_time_wait() {
        let (tuples, mut hand) = (Tuples::new(4, TIME_WAIT), Hand::default());
        assert_eq!(take(&tuples, &mut hand, 4, 0), [0, 1, 2, 3]);
        hand.is_free(2);
        hand.waits(0);
        assert_eq!(take(&tuples, &mut hand, 4, 0), [2]);
        assert_eq!(tuples.take(&mut hand, 4, 59 * SECOND_US), used_up(3, 1, 0), "TIME_WAIT lasts 60 s");
        let due_us = TIME_WAIT.as_micros() as u64;
        assert_eq!(tuples.take(&mut hand, 4, due_us - 1), Supply::NotBefore(due_us));
        assert_eq!(take(&tuples, &mut hand, 4, due_us), [0]);
    }

    #[test]
    fn where_the_kernel_uses_them_again_after_a_second_growth_waits_for_it() {
        let (tuples, mut hand) = (Tuples::new(1, REUSED_AFTER), Hand::default());
        assert_eq!(take(&tuples, &mut hand, 1, 0), [0]);
        hand.waits(0);
        tuples.take_back(&mut hand, 7);
        assert_eq!(tuples.take(&mut hand, 1, 8), Supply::NotBefore(7 + SECOND_US));
        assert_eq!(take(&tuples, &mut hand, 1, 7 + SECOND_US), [0]);
    }

    #[test]
    fn one_that_somebody_else_holds_is_tried_again_a_minute_later_and_not_waited_for() {
        let (tuples, mut hand) = (Tuples::new(2, REUSED_AFTER), Hand::default());
        assert_eq!(take(&tuples, &mut hand, 2, 0), [0, 1]);
        hand.is_taken(1);
        assert_eq!(tuples.take(&mut hand, 1, 0), used_up(1, 0, 1));
        assert_eq!(take(&tuples, &mut hand, 1, TIME_WAIT.as_micros() as u64), [1]);
    }

    #[test]
    fn what_another_worker_may_give_back_is_not_used_up() {
        let (tuples, mut one, mut other) = (Tuples::new(3, TIME_WAIT), Hand::default(), Hand::default());
        assert_eq!(tuples.take(&mut one, 3, 0), Supply::Given);
        assert_eq!(one.next(), Some(0));
        assert_eq!(tuples.take(&mut other, 1, 0), Supply::NotBefore(NEXT_LOOK_US));
        tuples.give_back(&mut one, 0);
        assert_eq!(take(&tuples, &mut other, 9, 0), [1, 2]);
        assert_eq!(
            tuples.take(&mut one, 1, 0),
            Supply::NotBefore(NEXT_LOOK_US),
            "they are not yet told as tried"
        );
        tuples.take_back(&mut other, 0);
        assert_eq!(tuples.take(&mut one, 1, 0), used_up(3, 0, 0));
    }

    #[test]
    fn a_tuple_that_was_not_tried_is_the_next_one_again() {
        let (tuples, mut hand) = (Tuples::new(3, TIME_WAIT), Hand::default());
        tuples.take(&mut hand, 3, 0);
        let first = hand.next().expect("three were taken");
        hand.not_tried(first);
        tuples.give_back(&mut hand, 0);
        assert_eq!(take(&tuples, &mut hand, 3, 0), [0, 1, 2]);
    }

    #[test]
    fn of_all_that_come_and_go_few_are_kept() {
        let (tuples, mut hand) = (Tuples::new(1 << 30, REUSED_AFTER), Hand::default());
        for cycle in 0..40_000 {
            let taken = take(&tuples, &mut hand, 1, cycle);
            taken.into_iter().for_each(|number| hand.is_free(number));
            tuples.take_back(&mut hand, cycle);
        }
        let pool = tuples.pool();
        assert!(pool.free.len() <= RESTING + 1 && pool.free.capacity() <= 2 * RESTING, "{}", pool.free.len());
        assert!(pool.next as usize <= RESTING + 1, "{}", pool.next);
        assert_eq!(pool.out, 0);
    }

    #[test]
    fn of_more_than_one_box_can_number_the_first_four_billion_are_used() {
        let (tuples, mut hand) = (Tuples::new(1 << 40, TIME_WAIT), Hand::default());
        assert_eq!(tuples.planned, u32::MAX);
        tuples.pool().next = u32::MAX - 1;
        tuples.pool().out = u64::from(u32::MAX) - 1;
        assert_eq!(take(&tuples, &mut hand, 9, 0), [u32::MAX - 1]);
        assert!(matches!(tuples.take(&mut hand, 9, 0), Supply::UsedUp(_)));
    }
}
