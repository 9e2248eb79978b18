//! Latencies in the buckets that Prometheus adds up.

use serde::{Deserialize, Serialize};

use crate::LatencyHistogram;

/// Upper bounds of the buckets, µs, with the bound itself. 100 ms, where the house calls an echo late, is one of them.
pub(super) const BOUNDS_US: [u64; 16] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 5_000_000, 10_000_000,
];

/// Latencies counted between bounds, from the first one on: each in one bucket.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LatencyBuckets {
    /// How many lie below each bound and above the one before; the last is of all above the last bound.
    pub(super) counts: [u64; BOUNDS_US.len() + 1],
    /// The sum of all, µs; to 1 %, as histograms are.
    pub(super) sum_us: u64,
}

impl LatencyBuckets {
    /// Counts what a histogram has; a value within 1 % of a bound may be counted on its other side.
    pub fn add(&mut self, histogram: &LatencyHistogram) {
        let hdr = histogram.as_hdr();
        for value in hdr.iter_recorded() {
            let (us, count) = (value.value_iterated_to(), value.count_since_last_iteration());
            let lowest_us = hdr.lowest_equivalent(us);
            let bucket = BOUNDS_US.iter().position(|bound_us| lowest_us <= *bound_us);
            self.counts[bucket.unwrap_or(BOUNDS_US.len())] += count;
            self.sum_us += hdr.median_equivalent(us) * count;
        }
    }

    /// How many were counted.
    pub(super) fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

/// All that a swarm tells of its latencies, from its first connect on.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LatencyFigures {
    /// Connects.
    pub connect: LatencyBuckets,
    /// First echoes.
    pub first_echo: LatencyBuckets,
    /// Echoes of proofs.
    pub echo: LatencyBuckets,
    /// Answers of a workload, from their intended start.
    pub response: LatencyBuckets,
    /// Echoes of a beat.
    pub beat: LatencyBuckets,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_latency_is_in_one_bucket_and_a_bound_belongs_to_what_is_below_it() {
        let mut histogram = LatencyHistogram::default();
        for us in [1, 100, 101_000, 100_000, 99_000, 60_000_000, 10_000_000, 260] {
            histogram.record_us(us);
        }
        let mut buckets = LatencyBuckets::default();
        buckets.add(&histogram);
        let at =
            |bound_us: u64| buckets.counts[BOUNDS_US.iter().position(|us| *us == bound_us).expect("a bound")];
        assert_eq!((at(100), at(250), at(500), at(100_000)), (2, 0, 1, 2));
        assert_eq!((at(250_000), at(10_000_000), buckets.counts[BOUNDS_US.len()]), (1, 1, 1));
        assert_eq!(buckets.count(), 8);
        let sum_us: u64 = 1 + 100 + 101_000 + 100_000 + 99_000 + 60_000_000 + 10_000_000 + 260;
        assert!(buckets.sum_us.abs_diff(sum_us) < sum_us / 100, "{buckets:?}");
        buckets.add(&histogram);
        assert_eq!(buckets.count(), 16);
    }
}
