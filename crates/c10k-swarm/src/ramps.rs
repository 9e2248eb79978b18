//! What the ramps took, without what lies between them: pauses, holds, proofs.

/// One ramp: a step, or what one command has grown.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ramp {
    /// Its first connect, µs since the run's epoch.
    pub(crate) first_us: u64,
    /// The last that was verified.
    pub(crate) last_verified_us: u64,
    /// The last that was verified or lost.
    pub(crate) last_settled_us: u64,
    /// How many were verified; established, where nothing is proven.
    pub(crate) verified: u64,
    /// Processor time of this process from before it until it was over.
    pub(crate) cpu_seconds: Option<f64>,
}

/// All ramps so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ramps {
    count: u64,
    verified: u64,
    /// From each first connect to the last proof of the same ramp.
    proving_us: u64,
    /// From each first connect until the last of the same ramp was verified or lost.
    working_us: u64,
    cpu_seconds: Option<f64>,
    best_per_second: Option<f64>,
}

impl Ramps {
    pub(crate) fn add(&mut self, ramp: &Ramp) {
        let proving_us = ramp.last_verified_us.saturating_sub(ramp.first_us);
        self.cpu_seconds = match (self.count, self.cpu_seconds) {
            (0, _) => ramp.cpu_seconds,
            (_, before) => before.zip(ramp.cpu_seconds).map(|(before, more)| before + more),
        };
        self.count += 1;
        self.verified += ramp.verified;
        self.proving_us += proving_us;
        self.working_us += ramp.last_settled_us.saturating_sub(ramp.first_us);
        let best = per_second(ramp.verified, proving_us);
        self.best_per_second = [self.best_per_second, best].into_iter().flatten().reduce(f64::max);
    }

    /// Connections verified a second while there was a ramp.
    pub(crate) fn per_second(&self) -> Option<f64> {
        per_second(self.verified, self.proving_us)
    }

    /// The same of those that came behind `before`.
    pub(crate) fn per_second_since(&self, before: &Self) -> Option<f64> {
        per_second(self.verified - before.verified, self.proving_us - before.proving_us)
    }

    /// The fastest of them as a whole.
    pub(crate) fn best_per_second(&self) -> Option<f64> {
        self.best_per_second
    }

    /// How long they took, µs; `None` where nothing was begun.
    pub(crate) fn took_us(&self) -> Option<u64> {
        Some(self.working_us).filter(|us| *us > 0)
    }

    /// Processor time of this process within them.
    pub(crate) fn cpu_seconds(&self) -> Option<f64> {
        self.cpu_seconds
    }
}

fn per_second(count: u64, us: u64) -> Option<f64> {
    (count > 0 && us > 0).then(|| count as f64 * 1e6 / us as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ramp(first_us: u64, last_us: u64, verified: u64) -> Ramp {
        let cpu_seconds = Some(0.5);
        Ramp { first_us, last_verified_us: last_us, last_settled_us: last_us, verified, cpu_seconds }
    }

    #[test]
    fn what_lies_between_two_ramps_is_part_of_none() {
        let mut ramps = Ramps::default();
        assert_eq!((ramps.per_second(), ramps.took_us(), ramps.cpu_seconds()), (None, None, None));
        ramps.add(&ramp(1_000, 501_000, 5_000));
        assert_eq!(ramps.per_second(), Some(10_000.0));
        // Ten seconds of pause, or of hold.
        ramps.add(&ramp(10_501_000, 10_751_000, 5_000));
        assert_eq!((ramps.took_us(), ramps.cpu_seconds()), (Some(750_000), Some(1.0)));
        assert_eq!(ramps.per_second(), Some(10_000.0 / 0.75));
        assert_eq!(ramps.per_second_since(&Ramps::default()), ramps.per_second());
        assert_eq!(ramps.per_second_since(&ramps), None);
        assert_eq!(ramps.best_per_second(), Some(20_000.0), "a ramp shorter than a tick is seen whole");
    }

    #[test]
    fn losses_behind_the_last_proof_are_part_of_the_ramp_and_not_of_its_rate() {
        let mut ramps = Ramps::default();
        ramps.add(&Ramp { last_settled_us: 15_000_000, ..ramp(0, 1_000_000, 100) });
        assert_eq!((ramps.per_second(), ramps.took_us()), (Some(100.0), Some(15_000_000)));
        // Of a ramp in which nothing was proven the last proof is of an earlier one.
        ramps.add(&Ramp { last_settled_us: 21_000_000, ..ramp(20_000_000, 1_000_000, 0) });
        assert_eq!((ramps.per_second(), ramps.took_us()), (Some(100.0), Some(16_000_000)));
    }

    #[test]
    fn processor_time_that_could_not_be_read_once_is_not_known() {
        let mut ramps = Ramps::default();
        ramps.add(&ramp(0, 9, 1));
        ramps.add(&Ramp { cpu_seconds: None, ..ramp(20, 29, 1) });
        ramps.add(&ramp(40, 49, 1));
        assert_eq!((ramps.cpu_seconds(), ramps.took_us()), (None, Some(27)));
    }
}
