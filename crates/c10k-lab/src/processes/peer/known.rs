//! What is known of a server that stands on another host, as it comes in: filled by the thread that asks, read by the lab.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use c10k_collector::far::{Ended, Look, Marked, Moment};
use c10k_record::ClockAt;
use c10k_record::control::Offset;

/// What is older is not what stands now.
const FRESH: Duration = Duration::from_millis(1_500);

/// What is known so far.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// The last look, and when it was taken by the own clock.
    pub(crate) look: Option<(Instant, Look)>,
    pub(crate) looks: u64,
    /// Requests that were in vain.
    pub(crate) missed: u64,
    pub(crate) marks: BTreeMap<Moment, Marked>,
    /// Moments that were asked for, and came to nothing.
    pub(crate) unmarked: Vec<Moment>,
    pub(crate) clock: Vec<ClockSeen>,
    /// By how much a clock was set, nanoseconds, and when that was seen.
    pub(crate) jumps: Vec<(Instant, i64)>,
    /// Times in which nothing was heard, though it was asked again and again.
    pub(crate) silences: Vec<Silence>,
    pub(crate) ended: Option<Box<Ended>>,
    /// It will not be known any more.
    pub(crate) lost: Option<Lost>,
    /// Nobody asks any more.
    pub(crate) is_over: bool,
}

/// One comparison of the clocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClockSeen {
    pub(crate) part: ClockAt,
    pub(crate) at: Instant,
    /// `None` where it could not be measured.
    pub(crate) offset: Option<Offset>,
    pub(crate) tries: u32,
}

/// A time without an answer.
#[derive(Clone, Debug)]
pub(crate) struct Silence {
    pub(crate) from: Instant,
    pub(crate) to: Instant,
    pub(crate) why: String,
}

/// Since when, and why.
#[derive(Clone, Debug)]
pub(crate) struct Lost {
    pub(crate) at: Instant,
    pub(crate) why: String,
}

/// What is known, for those who ask and those who read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sight(Arc<(Mutex<Known>, Condvar)>);

impl Sight {
    pub(crate) fn known(&self) -> MutexGuard<'_, Known> {
        // Who panicked with it has left plain data.
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes it, and wakes who waits for that.
    pub(crate) fn note(&self, change: impl FnOnce(&mut Known)) {
        change(&mut self.known());
        self.0.1.notify_all();
    }

    /// Waits until that is known, or nobody asks any more, at most so long; whether it is.
    pub(crate) fn await_that(&self, longest: Duration, is_known: impl Fn(&Known) -> bool) -> bool {
        let waits = |known: &mut Known| !is_known(known) && !known.is_over;
        let waited = self.0.1.wait_timeout_while(self.known(), longest, waits);
        let (known, _) = waited.unwrap_or_else(PoisonError::into_inner);
        is_known(&known)
    }

    /// Reads the last look and how old it is, where it is of now. Who asks waits meanwhile.
    pub(crate) fn of_now<T>(&self, now: Instant, read: impl FnOnce(Duration, &Look) -> T) -> Option<T> {
        let known = self.known();
        let (at, look) = known.look.as_ref()?;
        let age = now.saturating_duration_since(*at);
        (age <= FRESH).then(|| read(age, look))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_is_of_now_for_a_moment_and_then_nothing_is_known_any_more() {
        let (sight, now) = (Sight::default(), Instant::now());
        let seen = |at| sight.of_now(at, |age, look| (age, look.elapsed_ms));
        assert_eq!(seen(now), None);
        sight.note(|known| known.look = Some((now, Look { elapsed_ms: 7, ..Look::default() })));
        let later = now + Duration::from_millis(300);
        assert_eq!(seen(later), Some((Duration::from_millis(300), 7)));
        assert_eq!(seen(now + FRESH + Duration::from_millis(1)), None);
    }

    #[test]
    fn who_waits_is_woken_by_what_comes_in_and_by_the_end_of_all_asking() {
        let sight = Sight::default();
        assert!(!sight.await_that(Duration::from_millis(1), |known| known.looks > 0));
        let other = sight.clone();
        let thread = std::thread::spawn(move || other.note(|known| known.looks += 1));
        assert!(sight.await_that(Duration::from_secs(60), |known| known.looks > 0));
        thread.join().expect("it ends");
        sight.note(|known| known.is_over = true);
        assert!(!sight.await_that(Duration::from_secs(60), |known| known.ended.is_some()));
    }
}
