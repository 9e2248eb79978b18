//! The fastest stretch of a ramp.

use std::time::{Duration, Instant};

use super::{Conductor, NAP, TICK};
use crate::tasks::Task;

/// The shortest stretch that is looked at.
const SHORTEST: Duration = Duration::from_millis(25);
/// In fewer connections than these a stretch below a tick says more of where it was cut than of the rate.
const ENOUGH: u64 = 250;

/// The highest rate so far, over stretches of 25 ms, or longer ones where connections come slowly.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peak {
    since: Instant,
    settled: u64,
    per_second: Option<f64>,
}

impl Peak {
    /// Before the first connection.
    pub(super) fn begin(now: Instant) -> Self {
        Self { since: now, settled: 0, per_second: None }
    }

    /// So many have settled by now.
    fn look(&mut self, now: Instant, settled: u64) {
        let (long, new) = (now.duration_since(self.since), settled.saturating_sub(self.settled));
        if long < SHORTEST || new > 0 && new < ENOUGH && long < TICK {
            return;
        }
        if new > 0 {
            let per_second = new as f64 / long.as_secs_f64();
            self.per_second = Some(self.per_second.map_or(per_second, |peak| peak.max(per_second)));
        }
        (self.since, self.settled) = (now, settled);
    }

    /// Connections a second; `None` before there was one.
    pub(super) fn per_second(&self) -> Option<f64> {
        self.per_second
    }
}

impl Conductor<'_> {
    pub(super) fn look_for_a_peak(&mut self, now: Instant) {
        let settled = self.arrived(&self.shared.counts());
        self.peak.look(now, settled);
    }

    /// The longest sleep between two looks: in a ramp the peak is looked for.
    pub(super) fn longest_nap(&self) -> Duration {
        if self.shared.orders().has(Task::Connect) { SHORTEST } else { NAP }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The peak after looks at these ms, with so many settled.
    fn after(looks: &[(u64, u64)]) -> Option<f64> {
        let begun = Instant::now();
        let mut peak = Peak::begin(begun);
        looks.iter().for_each(|(ms, settled)| peak.look(begun + Duration::from_millis(*ms), *settled));
        peak.per_second()
    }

    #[test]
    fn a_burst_shorter_than_a_tick_is_seen_whole() {
        let burst = [(25, 500), (50, 3000), (75, 3500), (250, 4000)];
        assert_eq!(after(&burst), Some(100_000.0));
        // Looked at once a tick it would be 16,000 a second.
        assert_eq!(after(&[(250, 4000)]), Some(16_000.0));
    }

    #[test]
    fn slow_connections_are_counted_over_a_tick_and_not_over_the_moment_in_which_one_came() {
        let slow: Vec<(u64, u64)> = (1..=40).map(|look: u64| (look * 25, look.div_ceil(4))).collect();
        assert_eq!(after(&slow), Some(12.0), "about ten a second");
        assert_eq!(after(&[(25, 0), (50, 0)]), None);
    }

    #[test]
    fn a_pause_before_a_burst_is_no_part_of_it_and_a_look_too_early_is_none() {
        assert_eq!(after(&[(1000, 0), (1050, 1000)]), Some(20_000.0));
        assert_eq!(after(&[(1000, 0), (1001, 1000)]), None);
    }
}
