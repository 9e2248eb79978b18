//! Processor time in the ramps of a run.

use c10k_collector::Observation;
use c10k_record::Cpu;

/// What both ends and the kernel have spent in the ramps so far, seconds; what one of them could not be read in is not
/// known.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RampCpu {
    server: Spent,
    swarm: Spent,
    softirq: Spent,
}

/// Seconds; `None` before the first ramp.
#[derive(Clone, Copy, Debug, Default)]
struct Spent(Option<Option<f64>>);

impl Spent {
    fn add(&mut self, from: Option<f64>, to: Option<f64>) {
        let more = from.zip(to).map(|(from, to)| (to - from).max(0.0));
        self.0 = Some(match self.0 {
            None => more,
            Some(before) => before.zip(more).map(|(before, more)| before + more),
        });
    }

    fn seconds(self) -> Option<f64> {
        self.0.flatten()
    }

    fn cores(self, ramp_us: Option<u64>) -> Option<f64> {
        let ramp_us = ramp_us.filter(|us| *us > 0)?;
        Some(self.seconds()? * 1e6 / ramp_us as f64)
    }

    fn each_us(self, count: u64) -> Option<f64> {
        self.seconds().filter(|_| count > 0).map(|seconds| seconds * 1e6 / count as f64)
    }
}

impl RampCpu {
    /// Adds one ramp: what was seen before it was begun, and right after it was over. Before and behind it both ends wait
    /// for what they are told, and spend nothing.
    pub(crate) fn add(&mut self, before: &Observation, after: &Observation) {
        self.server.add(before.server.cpu_seconds, after.server.cpu_seconds);
        self.swarm.add(before.swarm.cpu_seconds, after.swarm.cpu_seconds);
        self.softirq.add(before.cpu.softirq_seconds, after.cpu.softirq_seconds);
    }

    /// In cores and a connection. How long the ramps took is the swarm's word, and so is what it spent itself, where it
    /// has said its last word.
    pub(crate) fn over(&self, said: Option<&Cpu>, accepted: Option<u64>, attempted: u64) -> Cpu {
        let ramp_us = said.and_then(|said| said.ramp_us);
        Cpu {
            ramp_us,
            server_cores: self.server.cores(ramp_us),
            swarm_cores: said.and_then(|said| said.swarm_cores).or_else(|| self.swarm.cores(ramp_us)),
            softirq_cores: self.softirq.cores(ramp_us),
            server_us_per_connection: accepted.and_then(|count| self.server.each_us(count)),
            swarm_us_per_connection: said
                .and_then(|said| said.swarm_us_per_connection)
                .or_else(|| self.swarm.each_us(attempted)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(server: f64, swarm: f64, softirq: f64) -> Observation {
        let mut seen = Observation::default();
        seen.server.cpu_seconds = Some(server);
        seen.swarm.cpu_seconds = Some(swarm);
        seen.cpu.softirq_seconds = Some(softirq);
        seen
    }

    /// What the swarm says of a ramp of so many seconds.
    fn said(seconds: f64) -> Cpu {
        Cpu { ramp_us: Some((seconds * 1e6) as u64), ..Cpu::default() }
    }

    #[test]
    fn however_long_the_hold_is_the_cores_of_the_ramp_are_the_same() {
        for hold_seconds in [0.0, 1.0, 5.0] {
            let mut cpu = RampCpu::default();
            cpu.add(&seen(0.1, 0.2, 9.0), &seen(0.5, 1.2, 9.5));
            // Pings and ticks in the hold, and a second step behind it.
            let spent = 0.05 * hold_seconds;
            let later = |server: f64, swarm: f64| seen(server + spent, swarm + spent, 9.5 + spent);
            cpu.add(&later(0.5, 1.2), &later(0.9, 2.2));
            let cpu = cpu.over(Some(&said(2.0)), Some(1000), 1000);
            let close = |is: Option<f64>, should: f64| is.is_some_and(|is| (is - should).abs() < 1e-9);
            assert!(close(cpu.server_cores, 0.4) && close(cpu.swarm_cores, 1.0), "{hold_seconds}: {cpu:?}");
            assert!(close(cpu.softirq_cores, 0.25), "{hold_seconds}: {cpu:?}");
            assert!(close(cpu.server_us_per_connection, 800.0), "{hold_seconds}: {cpu:?}");
            assert!(close(cpu.swarm_us_per_connection, 2000.0), "{hold_seconds}: {cpu:?}");
        }
    }

    #[test]
    fn what_could_not_be_read_in_one_ramp_is_not_known() {
        let mut cpu = RampCpu::default();
        cpu.add(&seen(0.0, 0.0, 0.0), &seen(1.0, 1.0, 1.0));
        cpu.add(&Observation::default(), &seen(2.0, 2.0, 2.0));
        cpu.add(&seen(2.0, 2.0, 2.0), &seen(3.0, 3.0, 3.0));
        let all = cpu.over(Some(&said(2.0)), Some(9), 9);
        assert_eq!(all, Cpu { ramp_us: Some(2_000_000), ..Cpu::default() });
        assert_eq!(RampCpu::default().over(None, None, 0), Cpu::default(), "no ramp");
    }

    #[test]
    fn the_swarms_own_word_stands_above_what_was_seen_of_it() {
        let mut cpu = RampCpu::default();
        cpu.add(&seen(0.0, 0.0, 0.0), &seen(1.0, 1.0, 1.0));
        let said = Cpu { swarm_cores: Some(0.7), swarm_us_per_connection: Some(7.0), ..said(1.0) };
        let all = cpu.over(Some(&said), None, 9);
        assert_eq!((all.swarm_cores, all.swarm_us_per_connection), (Some(0.7), Some(7.0)));
        assert_eq!((all.server_cores, all.server_us_per_connection), (Some(1.0), None));
        // Without its last word it is not known how long the ramp was, but what was spent is.
        let alone = cpu.over(None, Some(4), 2);
        assert_eq!((alone.server_cores, alone.swarm_cores), (None, None));
        assert_eq!(
            (alone.server_us_per_connection, alone.swarm_us_per_connection),
            (Some(250_000.0), Some(500_000.0))
        );
    }
}
