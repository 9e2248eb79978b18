//! Latency histograms, with the same bounds everywhere so that they can be added.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Largest latency that is kept apart, in µs: 60 s. Longer ones are recorded as this.
const HIGHEST_US: u64 = 60_000_000;
/// Two significant digits: an error of 1 %, 20 KB a histogram.
const DIGITS: u8 = 2;

/// A histogram of latencies in µs, from 1 µs to 60 s with an error of at most 1 %.
#[derive(Clone, Debug)]
pub struct LatencyHistogram(Histogram<u64>);

impl Default for LatencyHistogram {
    fn default() -> Self {
        Self(Histogram::new_with_bounds(1, HIGHEST_US, DIGITS).expect("the bounds are constants that fit"))
    }
}

impl LatencyHistogram {
    /// Records one latency in µs; 0 counts as 1 µs, more than 60 s as 60 s.
    pub fn record_us(&mut self, us: u64) {
        self.0.saturating_record(us.clamp(1, HIGHEST_US));
    }

    /// Adds all values of another one.
    pub fn add(&mut self, other: &Self) {
        self.0.add(&other.0).expect("all histograms of the house have the same bounds");
    }

    /// Forgets all values.
    pub fn clear(&mut self) {
        self.0.reset();
    }

    /// How many values were recorded.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The figures for the record.
    #[must_use]
    pub fn summary(&self) -> LatencySummary {
        let quantile = |q: f64| (!self.0.is_empty()).then(|| self.0.value_at_quantile(q));
        LatencySummary {
            p50: quantile(0.50),
            p90: quantile(0.90),
            p95: quantile(0.95),
            p99: quantile(0.99),
            p999: quantile(0.999),
            max: (!self.0.is_empty()).then(|| self.0.max()),
            count: self.0.len(),
        }
    }

    /// The histogram itself, for the interval log.
    #[must_use]
    pub fn as_hdr(&self) -> &Histogram<u64> {
        &self.0
    }
}

/// Percentiles in µs; `None` where nothing was measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LatencySummary {
    /// Median, µs.
    pub p50: Option<u64>,
    /// 90th percentile, µs.
    pub p90: Option<u64>,
    /// 95th percentile, µs.
    pub p95: Option<u64>,
    /// 99th percentile, µs.
    pub p99: Option<u64>,
    /// 99.9th percentile, µs.
    pub p999: Option<u64>,
    /// Largest, µs.
    pub max: Option<u64>,
    /// How many were measured.
    pub count: u64,
}

/// All latencies of a run, µs. Each begins and ends at a moment of its own, and where one ends the next begins: the same
/// reading of the clock stands for both.
///
/// Three times are told apart where connections are begun at a rate: the swarm's own lateness (begun − intended,
/// [`crate::Record::lateness_us`]), the service (answered − begun: `connect` and all others here) and the response
/// (answered − intended: `connect_response`). Connects are never waited for before the next one is begun, so a server
/// that stands still is seen by all who arrive meanwhile, in the service too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latencies {
    /// From just before the socket is made until its connect has completed: connect(2) has returned with it done, or
    /// epoll has said so.
    pub connect: LatencySummary,
    /// From the intended start of a connect until it has completed; `None` in a closed loop, which intends none.
    #[serde(default)]
    pub connect_response: Option<LatencySummary>,
    /// From just before the upgrade request is sent until the whole answer has been read; `None` where the protocol has
    /// no handshake of its own.
    pub handshake: Option<LatencySummary>,
    /// From just before a probe is sent until its whole echo has been read, at the end of the hold.
    pub echo: LatencySummary,
    /// The same right after connecting.
    pub first_echo: LatencySummary,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_histogram_has_no_percentiles() {
        let summary = LatencyHistogram::default().summary();
        assert_eq!(summary.p50, None);
        assert_eq!(summary.count, 0);
    }

    #[test]
    fn values_beyond_the_bounds_are_counted_at_the_bounds() {
        let mut histogram = LatencyHistogram::default();
        histogram.record_us(0);
        histogram.record_us(u64::MAX);
        let summary = histogram.summary();
        assert_eq!(summary.count, 2);
        assert!(summary.max.is_some_and(|max| max >= HIGHEST_US), "{summary:?}");
    }
}
