//! When connections are begun: as fast as others finish, or at a rate, and how many in all.
//!
//! Pure arithmetic over a given time, shared by all workers without a lock on the way. Only what a worker
//! gives back goes through one, and that happens once a full table; and the sums of random gaps, which are read by all
//! and written between two stretches.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

mod poisson;

use poisson::Poisson;

/// How many connections a worker takes at once.
const CLAIM: u64 = 32;

/// What a worker may begin now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// Connections `first..first + count`.
    Some {
        /// The number of the first one.
        first: u64,
        /// How many.
        count: u64,
    },
    /// Nothing before this time, µs since the run's epoch.
    NotBefore(u64),
    /// Nothing until the goal is raised.
    Nothing,
}

/// The stream of arrivals of one run.
#[derive(Debug)]
pub(crate) struct Arrivals {
    goal: AtomicU64,
    claimed: AtomicU64,
    /// Claims that nobody begins any more.
    forgotten: AtomicU64,
    /// Claims that were given back and wait for somebody else: first number and how many.
    returned: Mutex<Vec<(u64, u64)>>,
    /// How many connections stand in `returned`.
    returned_count: AtomicU64,
    stopped: AtomicBool,
    /// Open loop: connections a second, as the bits of an `f64`; 0 = closed loop. It changes between two stretches.
    rate: AtomicU64,
    /// In an open loop the gaps are random.
    poisson: Option<Poisson>,
    /// The first connection of the present stretch and when it was due.
    stretch_first: AtomicU64,
    stretch_at_us: AtomicU64,
    /// Nothing is begun before this time: the pause after many failures in a row.
    not_before_us: AtomicU64,
}

impl Arrivals {
    /// No connections yet; `rate` is in connections a second.
    pub(crate) fn new(rate: Option<f64>) -> Self {
        Self {
            goal: AtomicU64::new(0),
            claimed: AtomicU64::new(0),
            forgotten: AtomicU64::new(0),
            returned: Mutex::default(),
            returned_count: AtomicU64::new(0),
            stopped: AtomicBool::new(false),
            rate: AtomicU64::new(rate.map_or(0, f64::to_bits)),
            poisson: None,
            stretch_first: AtomicU64::new(0),
            stretch_at_us: AtomicU64::new(0),
            not_before_us: AtomicU64::new(0),
        }
    }

    /// The same with random gaps, in an open loop.
    pub(crate) fn at_random(self, seed: u64) -> Self {
        Self { poisson: Some(Poisson::new(seed)), ..self }
    }

    /// So many connections a second from the next stretch on; `None` = closed loop.
    pub(crate) fn pace(&self, rate: Option<u64>) {
        self.rate.store(rate.map_or(0, |rate| (rate as f64).to_bits()), Relaxed);
    }

    fn rate(&self) -> Option<f64> {
        Some(f64::from_bits(self.rate.load(Relaxed))).filter(|rate| *rate > 0.0)
    }

    /// Asks for `more` connections from `now_us` on.
    pub(crate) fn grow(&self, more: u64, now_us: u64) {
        self.stretch_first.store(self.claimed.load(Relaxed), Relaxed);
        self.stretch_at_us.store(now_us, Relaxed);
        let goal = self.goal.load(Relaxed).saturating_add(more);
        if let Some(poisson) = &self.poisson {
            poisson.reach(goal);
        }
        self.goal.store(goal, Relaxed);
    }

    /// One more connection, which the worker that asks begins at once: its number.
    pub(crate) fn one_more(&self) -> u64 {
        // Claimed before it is wanted, so that nobody else takes it for one to claim.
        let number = self.claimed.fetch_add(1, Relaxed);
        self.goal.fetch_add(1, Relaxed);
        number
    }

    /// Lets no more connections begin.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Relaxed);
    }

    /// Lets connections begin again after [`Arrivals::stop`]; what had not been claimed then is forgotten.
    pub(crate) fn resume(&self) {
        let mut returned = self.returned();
        returned.clear();
        self.forgotten.fetch_add(self.returned_count.swap(0, Relaxed), Relaxed);
        self.goal.store(self.claimed.load(Relaxed), Relaxed);
        self.stopped.store(false, Relaxed);
    }

    /// Whether [`Arrivals::stop`] was called.
    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Relaxed)
    }

    /// Whether nothing is left to begin.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.is_stopped()
            || (self.claimed.load(Relaxed) >= self.goal.load(Relaxed)
                && self.returned_count.load(Relaxed) == 0)
    }

    /// Begins nothing before `at_us`.
    pub(crate) fn pause_until(&self, at_us: u64) {
        self.not_before_us.fetch_max(at_us, Relaxed);
    }

    /// Takes up to `most` connections that are due.
    pub(crate) fn claim(&self, most: u64, now_us: u64) -> Claim {
        let not_before = self.not_before_us.load(Relaxed);
        if not_before > now_us {
            return if self.is_exhausted() { Claim::Nothing } else { Claim::NotBefore(not_before) };
        }
        if let Some(claim) = self.claim_returned(most) {
            return claim;
        }
        let mut claimed = self.claimed.load(Relaxed);
        loop {
            let goal = self.goal.load(Relaxed);
            if self.is_stopped() || claimed >= goal {
                return Claim::Nothing;
            }
            let due = self.due(claimed, now_us);
            if due == 0 {
                return Claim::NotBefore(self.intended_us(claimed, now_us).max(now_us + 1));
            }
            let count = most.min(CLAIM).min(goal - claimed).min(due);
            match self.claimed.compare_exchange_weak(claimed, claimed + count, Relaxed, Relaxed) {
                Ok(_) => return Claim::Some { first: claimed, count },
                Err(now) => claimed = now,
            }
        }
    }

    /// Gives back the claimed connections `first..first + count` that were not begun: somebody else begins
    /// them, and they stay due when they were.
    pub(crate) fn give_back(&self, first: u64, count: u64) {
        if count > 0 {
            let mut returned = self.returned();
            returned.push((first, count));
            self.returned_count.fetch_add(count, Relaxed);
        }
    }

    fn claim_returned(&self, most: u64) -> Option<Claim> {
        if self.returned_count.load(Relaxed) == 0 || self.is_stopped() {
            return None;
        }
        let mut returned = self.returned();
        let (first, count) = returned.last_mut()?;
        let (begin, taken) = (*first, most.min(*count));
        (*first, *count) = (*first + taken, *count - taken);
        if *count == 0 {
            returned.pop();
        }
        self.returned_count.fetch_sub(taken, Relaxed);
        Some(Claim::Some { first: begin, count: taken })
    }

    fn returned(&self) -> MutexGuard<'_, Vec<(u64, u64)>> {
        self.returned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives up `count` claimed connections after a stop: nobody begins them.
    pub(crate) fn forget(&self, count: u64) {
        self.forgotten.fetch_add(count, Relaxed);
    }

    /// How many connections have been or will be begun by those who claimed them.
    pub(crate) fn taken(&self) -> u64 {
        let waiting = if self.is_stopped() { self.returned_count.load(Relaxed) } else { 0 };
        self.claimed.load(Relaxed).saturating_sub(self.forgotten.load(Relaxed) + waiting)
    }

    /// The first number that nobody has claimed.
    pub(crate) fn next(&self) -> u64 {
        self.claimed.load(Relaxed)
    }

    /// When connection `number` was due, µs since the epoch: its intended start in an open loop, else `now_us`.
    pub(crate) fn intended_us(&self, number: u64, now_us: u64) -> u64 {
        let Some(rate) = self.rate() else { return now_us };
        let first = self.stretch_first.load(Relaxed);
        if let Some(poisson) = &self.poisson {
            let ahead = poisson.due(first, number).max(0.0);
            return self.stretch_at_us.load(Relaxed) + (ahead / rate * 1e6) as u64;
        }
        let ahead = number.saturating_sub(first);
        self.stretch_at_us.load(Relaxed) + (ahead as f64 / rate * 1e6) as u64
    }

    /// How many connections from `claimed` on are due at `now_us`.
    fn due(&self, claimed: u64, now_us: u64) -> u64 {
        let Some(rate) = self.rate() else { return u64::MAX };
        let elapsed_us = now_us.saturating_sub(self.stretch_at_us.load(Relaxed));
        if let Some(poisson) = &self.poisson {
            let mean_gaps = elapsed_us as f64 * rate / 1e6;
            return poisson.due_by(self.stretch_first.load(Relaxed), claimed, mean_gaps, CLAIM);
        }
        // The connection with number n is due at n ÷ rate, so at time 0 the first one is.
        let due_by_now = (elapsed_us as f64 * rate / 1e6) as u64 + 1;
        (self.stretch_first.load(Relaxed) + due_by_now).saturating_sub(claimed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_loop_gives_what_is_asked_up_to_the_goal() {
        let arrivals = Arrivals::new(None);
        assert_eq!(arrivals.claim(10, 0), Claim::Nothing);
        arrivals.grow(15, 0);
        assert_eq!(arrivals.claim(10, 0), Claim::Some { first: 0, count: 10 });
        assert_eq!(arrivals.claim(10, 0), Claim::Some { first: 10, count: 5 });
        assert!(arrivals.is_exhausted());
    }

    #[test]
    fn what_is_given_back_is_begun_by_others_and_keeps_its_time() {
        let arrivals = Arrivals::new(Some(1000.0));
        arrivals.grow(8, 0);
        assert_eq!(arrivals.claim(8, 9000), Claim::Some { first: 0, count: 8 });
        arrivals.give_back(3, 5);
        assert!(!arrivals.is_exhausted());
        assert_eq!(arrivals.taken(), 8, "the run must wait for those that were given back");
        assert_eq!(arrivals.claim(2, 9000), Claim::Some { first: 3, count: 2 });
        assert_eq!(arrivals.claim(9, 9000), Claim::Some { first: 5, count: 3 });
        assert_eq!(arrivals.intended_us(3, 9000), 3000);
        assert!(arrivals.is_exhausted());
        assert_eq!(arrivals.claim(9, 9000), Claim::Nothing);
    }

    #[test]
    fn what_was_given_back_before_a_stop_is_never_begun() {
        let arrivals = Arrivals::new(None);
        arrivals.grow(8, 0);
        assert_eq!(arrivals.claim(8, 0), Claim::Some { first: 0, count: 8 });
        arrivals.give_back(3, 5);
        arrivals.stop();
        assert_eq!((arrivals.taken(), arrivals.is_exhausted()), (3, true));
        assert_eq!(arrivals.claim(9, 0), Claim::Nothing);
        arrivals.resume();
        assert_eq!((arrivals.taken(), arrivals.is_exhausted()), (3, true));
        arrivals.grow(2, 0);
        assert_eq!(arrivals.claim(9, 0), Claim::Some { first: 8, count: 2 });
        assert_eq!(arrivals.taken(), 5);
    }

    #[test]
    fn a_goal_beyond_all_numbers_does_not_wrap() {
        let arrivals = Arrivals::new(None);
        arrivals.grow(u64::MAX, 0);
        arrivals.grow(u64::MAX, 0);
        assert_eq!(arrivals.claim(1, 0), Claim::Some { first: 0, count: 1 });
    }

    #[test]
    fn an_open_loop_gives_what_is_due_and_says_when_the_next_is() {
        let arrivals = Arrivals::new(Some(1000.0));
        arrivals.grow(100, 5_000_000);
        assert_eq!(arrivals.claim(9, 5_000_000), Claim::Some { first: 0, count: 1 });
        assert_eq!(arrivals.claim(9, 5_000_000), Claim::NotBefore(5_001_000));
        assert_eq!(arrivals.claim(9, 5_003_500), Claim::Some { first: 1, count: 3 });
        assert_eq!(arrivals.intended_us(3, 5_003_500), 5_003_000);
    }

    #[test]
    fn one_more_takes_nothing_from_those_that_are_wanted() {
        let arrivals = Arrivals::new(None);
        arrivals.grow(2, 0);
        assert_eq!(arrivals.one_more(), 0);
        assert_eq!(arrivals.claim(9, 0), Claim::Some { first: 1, count: 2 });
        assert_eq!((arrivals.taken(), arrivals.is_exhausted()), (3, true));
    }

    #[test]
    fn a_second_stretch_is_timed_from_its_own_start() {
        let arrivals = Arrivals::new(Some(1000.0));
        arrivals.grow(1, 0);
        assert_eq!(arrivals.claim(9, 0), Claim::Some { first: 0, count: 1 });
        arrivals.grow(1, 9_000_000);
        assert_eq!(arrivals.claim(9, 9_000_000), Claim::Some { first: 1, count: 1 });
        assert_eq!(arrivals.intended_us(1, 0), 9_000_000);
    }

    #[test]
    fn random_gaps_have_the_rate_and_nobody_begins_before_its_time() {
        let arrivals = Arrivals::new(Some(1000.0)).at_random(3);
        arrivals.grow(10_000, 5_000_000);
        let (mut now_us, mut begun) = (5_000_000, 0);
        while begun < 10_000 {
            match arrivals.claim(9, now_us) {
                Claim::Some { first, count } => {
                    assert_eq!(first, begun);
                    assert!((first..first + count).all(|n| arrivals.intended_us(n, now_us) <= now_us));
                    begun += count;
                }
                Claim::NotBefore(at_us) => {
                    assert!(at_us > now_us);
                    now_us = at_us;
                }
                Claim::Nothing => break,
            }
        }
        assert_eq!(begun, 10_000);
        // Ten seconds, and a hundredth of it for chance.
        assert!((now_us - 5_000_000).abs_diff(10_000_000) < 400_000, "{now_us}");
    }

    #[test]
    fn another_pace_counts_from_the_next_stretch_on() {
        let arrivals = Arrivals::new(None);
        arrivals.grow(2, 0);
        assert_eq!(arrivals.claim(9, 0), Claim::Some { first: 0, count: 2 });
        arrivals.pace(Some(10));
        arrivals.grow(5, 1_000_000);
        assert_eq!(arrivals.claim(9, 1_000_000), Claim::Some { first: 2, count: 1 });
        assert_eq!(arrivals.claim(9, 1_000_000), Claim::NotBefore(1_100_000));
        arrivals.pace(None);
        assert_eq!(arrivals.claim(9, 1_000_000), Claim::Some { first: 3, count: 4 });
    }

    #[test]
    fn nothing_begins_in_a_pause_or_after_a_stop() {
        let arrivals = Arrivals::new(None);
        arrivals.grow(5, 0);
        arrivals.pause_until(70);
        assert_eq!(arrivals.claim(1, 69), Claim::NotBefore(70));
        assert_eq!(arrivals.claim(1, 70), Claim::Some { first: 0, count: 1 });
        arrivals.stop();
        assert_eq!(arrivals.claim(1, 71), Claim::Nothing);
        arrivals.resume();
        assert_eq!(arrivals.claim(1, 71), Claim::Nothing);
        arrivals.grow(1, 71);
        assert_eq!(arrivals.claim(1, 71), Claim::Some { first: 1, count: 1 });
    }
}
