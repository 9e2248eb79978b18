//! Whether the calling thread gets to run: the gaps between its own looks at the clock.
//!
//! A process that is stopped by a signal, or whose machine is suspended, is not told. What it notices is that a wait took
//! far longer than it asked for.

use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};

/// So much longer than expected is no matter of scheduling any more: on two processors that dozens of threads want, a
/// thread waits tenths of a second.
pub const LEAST_GAP: Duration = Duration::from_secs(1);

/// On a busy machine a thread's own work takes up to so many times the processor time that it needs.
const SHARE: u32 = 8;

/// Watches the thread that looks at it.
#[derive(Clone, Copy, Debug)]
pub struct Pulse {
    last: Reading,
}

/// A time in which the thread did not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missed {
    /// When it began, at the latest.
    pub began: Instant,
    /// How long it was, without the time in which the machine was suspended: CLOCK_MONOTONIC stands still then
    /// (clock_gettime(2)).
    pub length: Duration,
    /// For how long the machine was suspended.
    pub suspended: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Reading {
    at: Instant,
    /// CLOCK_BOOTTIME, which goes on while the machine is suspended.
    boot: Option<Duration>,
    /// Processor time of this thread.
    worked: Option<Duration>,
}

impl Reading {
    fn now() -> Self {
        let read = |clock: ClockId| clock_gettime(clock).ok().map(Duration::from);
        Self {
            at: Instant::now(),
            boot: read(ClockId::CLOCK_BOOTTIME),
            worked: read(ClockId::CLOCK_THREAD_CPUTIME_ID),
        }
    }
}

impl Default for Pulse {
    fn default() -> Self {
        Self { last: Reading::now() }
    }
}

impl Pulse {
    /// Begins anew: what lies before is nothing that is waited for.
    pub fn begin(&mut self) {
        self.last = Reading::now();
    }

    /// Looks after a wait that was to take no longer than `expected`. What the thread worked meanwhile is no gap.
    pub fn look(&mut self, expected: Duration) -> Option<Missed> {
        let now = Reading::now();
        missed(std::mem::replace(&mut self.last, now), now, expected)
    }
}

fn missed(last: Reading, now: Reading, expected: Duration) -> Option<Missed> {
    let ran = now.at.saturating_duration_since(last.at);
    let between = |then: Option<Duration>, now: Option<Duration>| {
        then.zip(now).map_or(Duration::ZERO, |(then, now)| now.saturating_sub(then))
    };
    // The two clocks are not read at one instant.
    let suspended = between(last.boot, now.boot).saturating_sub(ran);
    let suspended = if suspended >= LEAST_GAP { suspended } else { Duration::ZERO };
    let accounted = expected + SHARE * between(last.worked, now.worked);
    let is_missed = suspended > Duration::ZERO || ran.saturating_sub(accounted) >= LEAST_GAP;
    let length = ran.saturating_sub(expected);
    is_missed.then(|| Missed { began: now.at.checked_sub(length).unwrap_or(now.at), length, suspended })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAP: Duration = Duration::from_millis(50);

    fn after(last: Reading, ran_ms: u64, boot_ms: u64, worked_ms: u64) -> Option<Missed> {
        let ms = Duration::from_millis;
        let later = |of: Option<Duration>, more| Some(of.unwrap_or_default() + ms(more));
        let now = Reading {
            at: last.at + ms(ran_ms),
            boot: later(last.boot, boot_ms),
            worked: later(last.worked, worked_ms),
        };
        missed(last, now, NAP)
    }

    #[test]
    fn a_wait_that_took_a_second_longer_than_asked_for_is_a_gap() {
        let last = Reading::now();
        for (ran, is_gap) in [(50, false), (400, false), (1049, false), (1050, true), (15_000, true)] {
            assert_eq!(after(last, ran, ran, 0).is_some(), is_gap, "{ran} ms");
        }
        let gap = after(last, 15_050, 15_050, 0).expect("a gap");
        assert_eq!((gap.length, gap.suspended), (Duration::from_secs(15), Duration::ZERO));
        assert_eq!(gap.began, last.at + NAP);
    }

    #[test]
    fn what_the_thread_worked_meanwhile_is_no_gap_even_where_it_got_an_eighth_of_a_processor() {
        let last = Reading::now();
        assert_eq!(after(last, 4_000, 4_000, 500), None);
        assert!(after(last, 9_000, 9_000, 500).is_some());
    }

    #[test]
    fn a_suspended_machine_is_told_by_the_clock_that_goes_on() {
        let gap = after(Reading::now(), 60, 90_060, 0).expect("the machine slept");
        assert_eq!(gap.suspended, Duration::from_secs(90));
        assert_eq!(gap.length, Duration::from_millis(10));
    }

    #[test]
    fn clocks_that_cannot_be_read_hide_no_gap() {
        let last = Reading { at: Instant::now(), boot: None, worked: None };
        let now = Reading { at: last.at + Duration::from_secs(3), ..last };
        assert!(missed(last, now, NAP).is_some());
    }

    #[test]
    fn a_thread_that_sleeps_as_long_as_it_asked_for_misses_nothing() {
        let mut pulse = Pulse::default();
        std::thread::sleep(NAP);
        assert_eq!(pulse.look(NAP), None);
    }
}
