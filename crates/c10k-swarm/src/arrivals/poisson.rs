//! Arrivals that know nothing of each other: gaps of a Poisson process, the same for the same seed.

use std::sync::{PoisonError, RwLock};

/// Arrivals between two kept sums. A worker adds up at most so many gaps to find when one is due.
const BLOCK: u64 = 32;

/// Gaps between arrivals, in units of the mean gap. Each is computed from the seed and the number of its arrival; the
/// sums of whole blocks are kept, 8 bytes for each [`BLOCK`] arrivals.
#[derive(Debug)]
pub(super) struct Poisson {
    seed: u64,
    /// The sum of all gaps before each block.
    sums: RwLock<Vec<f64>>,
}

impl Poisson {
    pub(super) fn new(seed: u64) -> Self {
        Self { seed, sums: RwLock::new(vec![0.0]) }
    }

    /// Makes the sums for arrivals below `count`.
    pub(super) fn reach(&self, count: u64) {
        let mut sums = self.sums.write().unwrap_or_else(PoisonError::into_inner);
        let mut last = sums.last().copied().unwrap_or(0.0);
        while (sums.len() as u64) * BLOCK <= count {
            let block = (sums.len() as u64 - 1) * BLOCK;
            last += (block..block + BLOCK).map(|number| self.gap(number)).sum::<f64>();
            sums.push(last);
        }
    }

    /// When arrival `number` is due after arrival `first` could have been the first: the gaps from `first` to it, its own
    /// included.
    pub(super) fn due(&self, first: u64, number: u64) -> f64 {
        self.before(number + 1) - self.before(first)
    }

    /// How many from `next` on are due by `now`, counted from before arrival `first`; at most `most`.
    pub(super) fn due_by(&self, first: u64, next: u64, now: f64, most: u64) -> u64 {
        let mut at = self.before(next) - self.before(first);
        let mut count = 0;
        while count < most {
            at += self.gap(next + count);
            if at > now {
                break;
            }
            count += 1;
        }
        count
    }

    /// The sum of the gaps of all arrivals below `number`.
    fn before(&self, number: u64) -> f64 {
        let sums = self.sums.read().unwrap_or_else(PoisonError::into_inner);
        let block = (number / BLOCK).min(sums.len() as u64 - 1);
        let sum = sums.get(block as usize).copied().unwrap_or(0.0);
        sum + (block * BLOCK..number).map(|number| self.gap(number)).sum::<f64>()
    }

    /// Exponential with mean 1, by inversion.
    fn gap(&self, number: u64) -> f64 {
        let bits = mix(self.seed ^ mix(number.wrapping_add(1)));
        // 53 bits, above 0 and at most 1.
        let even = ((bits >> 11) + 1) as f64 / (1_u64 << 53) as f64;
        -even.ln()
    }
}

/// The finalizer of SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, OOPSLA 2014).
fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_have_the_mean_and_the_spread_of_a_poisson_process() {
        let arrivals = Poisson::new(7);
        let count = 100_000;
        arrivals.reach(count);
        let gaps: Vec<f64> = (0..count).map(|number| arrivals.gap(number)).collect();
        let mean = gaps.iter().sum::<f64>() / count as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / count as f64;
        // Both are 1; of so many the mean is off by 1/316, and the variance by 2.8/316, once in three.
        assert!((mean - 1.0).abs() < 0.02 && (variance - 1.0).abs() < 0.06, "{mean} {variance}");
        let above = gaps.iter().filter(|gap| **gap > 1.0).count() as f64 / count as f64;
        assert!((above - (-1.0_f64).exp()).abs() < 0.01, "{above}");
    }

    #[test]
    fn the_sums_are_those_of_the_gaps_and_one_seed_gives_one_order() {
        let (one, same, other) = (Poisson::new(1), Poisson::new(1), Poisson::new(2));
        one.reach(500);
        for number in [0, 1, 31, 32, 33, 400] {
            let by_hand: f64 = (0..=number).map(|n| one.gap(n)).sum();
            assert!((one.due(0, number) - by_hand).abs() < 1e-9);
            // Without sums it is the same, and slower.
            assert!((same.due(0, number) - by_hand).abs() < 1e-9);
            assert!((other.due(0, number) - by_hand).abs() > 1e-9);
        }
        let at = one.due(40, 60);
        assert_eq!(one.due_by(40, 40, at, 99), 21, "each is due when it is due");
        assert_eq!(one.due_by(40, 40, at - 1e-9, 99), 20);
        assert_eq!(one.due_by(40, 40, 1e9, 5), 5);
    }
}
