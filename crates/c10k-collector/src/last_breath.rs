//! The end of a server, which is seen some time behind that of its connections.

use std::thread;
use std::time::{Duration, Instant};

use crate::collector::{Collector, ProcessSide};
use crate::observation::Observation;

/// The kernel closes the sockets of a process that ends before its end can be seen (exit_files, then exit_notify, in
/// `do_exit`, kernel/exit.c): so long is that waited for.
const LONGEST: Duration = Duration::from_secs(1);
/// Between two looks meanwhile.
const NAP: Duration = Duration::from_millis(15);
/// Asleep at more looks in a row than these a process is not ending.
const LOOKS: u32 = 2;

/// Waits for the end of a server that has taken connections down, or until it is plainly alive.
#[derive(Debug)]
pub struct LastBreath {
    until: Instant,
    asleep: u32,
    has_none_left: bool,
}

impl LastBreath {
    /// Begins now; `has_none_left` says that the server has lost all connections that there were.
    #[must_use]
    pub fn begin(has_none_left: bool) -> Self {
        Self { until: Instant::now() + LONGEST, asleep: 0, has_none_left }
    }

    /// Whether the server has ended: all its processes, or, of one without a connection and a listener, the one that was
    /// named or found by its listener; another one that has nothing may go on.
    #[must_use]
    pub fn is_over(&self, collector: &Collector, seen: &Observation) -> bool {
        collector.is_gone(ProcessSide::Server) || !self.has_something(seen) && collector.first_is_gone()
    }

    /// Whether to look again, now that a moment has passed: not where it is plainly alive, which is asleep with its memory
    /// and with something to listen at or to hold.
    pub fn goes_on(&mut self, seen: &Observation) -> bool {
        let rests = seen.server.state.is_some_and(|state| matches!(state, 'S' | 'T' | 't'));
        self.asleep = if rests && seen.server.rss_bytes > Some(0) { self.asleep + 1 } else { 0 };
        if self.asleep > LOOKS && self.has_something(seen) || Instant::now() >= self.until {
            return false;
        }
        thread::sleep(NAP);
        true
    }

    fn has_something(&self, seen: &Observation) -> bool {
        !self.has_none_left || seen.listener.is_some_and(|listener| listener.listeners > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::ListenerSeen;

    /// At how many of ten looks a server that sleeps, or does not, is looked at again.
    fn looks(has_none_left: bool, listeners: u64, state: char) -> usize {
        let mut seen = Observation::default();
        seen.server.state = Some(state);
        seen.server.rss_bytes = Some(1 << 20);
        seen.listener = Some(ListenerSeen { listeners, ..ListenerSeen::default() });
        let until = Instant::now() + 600 * LONGEST;
        let mut breath = LastBreath { until, ..LastBreath::begin(has_none_left) };
        (0..10).take_while(|_| breath.goes_on(&seen)).count()
    }

    #[test]
    fn one_that_sleeps_and_has_something_is_alive_and_another_may_be_ending() {
        assert_eq!([looks(false, 0, 'S'), looks(true, 1, 'S')], [2, 2]);
        assert_eq!([looks(true, 0, 'S'), looks(true, 1, 'R'), looks(false, 1, 'D')], [10, 10, 10]);
    }
}
