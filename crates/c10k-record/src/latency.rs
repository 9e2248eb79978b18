//! Latency histograms, with the same bounds everywhere so that they can be added.

use std::fmt;

use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer as _, V2DeflateSerializer};
use serde::{Deserialize, Serialize};

/// Largest latency that is kept apart, in µs: 60 s. Longer ones are recorded as this.
const HIGHEST_US: u64 = 60_000_000;
/// Two significant digits: an error of 1 %, 20 KB a histogram.
const DIGITS: u8 = 2;

/// The bounds of a histogram. Only those of equal bounds have the same buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistogramBounds {
    /// The least value that is kept apart, µs.
    pub lowest_us: u64,
    /// The greatest, µs; what is longer counts as this.
    pub highest_us: u64,
    /// Significant decimal digits.
    pub digits: u8,
}

impl fmt::Display for HistogramBounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { lowest_us, highest_us, digits } = self;
        write!(f, "{lowest_us} to {highest_us} µs with {digits} digits")
    }
}

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

    /// Records one latency in µs so many times.
    pub fn record_many_us(&mut self, us: u64, count: u64) {
        self.0.saturating_record_n(us.clamp(1, HIGHEST_US), count);
    }

    /// Adds all values of another one.
    pub fn add(&mut self, other: &Self) {
        self.0.add(&other.0).expect("all histograms of the house have the same bounds");
    }

    /// Forgets all values.
    pub fn clear(&mut self) {
        self.0.reset();
    }

    /// How many values are at least so long, µs.
    #[must_use]
    pub fn count_from(&self, us: u64) -> u64 {
        self.count_within(us, HIGHEST_US)
    }

    /// How many values lie between these two, µs, with both of them.
    #[must_use]
    pub(crate) fn count_within(&self, from_us: u64, to_us: u64) -> u64 {
        self.0.count_between(from_us, to_us)
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

    /// The bounds of all histograms of the house.
    pub(crate) const BOUNDS: HistogramBounds =
        HistogramBounds { lowest_us: 1, highest_us: HIGHEST_US, digits: DIGITS };

    /// V2-deflate of HdrHistogram.
    #[must_use]
    pub(crate) fn to_v2_deflate(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        // A buffer takes all, and what is in a histogram has its place in the format.
        V2DeflateSerializer::new()
            .serialize(&self.0, &mut bytes)
            .expect("a buffer of memory takes what a histogram holds");
        bytes
    }

    /// The bounds of what was written as V2 or V2-deflate, and the histogram where they are those of the house.
    ///
    /// # Errors
    /// Why the bytes are none, in words.
    pub(crate) fn from_v2(mut bytes: &[u8]) -> Result<(HistogramBounds, Option<Self>), String> {
        let read: Histogram<u64> =
            Deserializer::new().deserialize(&mut bytes).map_err(|error| error.to_string())?;
        let bounds =
            HistogramBounds { lowest_us: read.low(), highest_us: read.high(), digits: read.sigfig() };
        Ok((bounds, (bounds == Self::BOUNDS).then_some(Self(read))))
    }

    /// The histogram itself, for the interval log.
    #[must_use]
    pub fn as_hdr(&self) -> &Histogram<u64> {
        &self.0
    }
}

/// Percentiles in µs; `None` where nothing was measured.
#[cfg_attr(test, derive(schemars::JsonSchema))]
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
#[cfg_attr(test, derive(schemars::JsonSchema))]
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
    /// Connections that were a second or more late while they were made; `None` in older records.
    #[serde(default)]
    pub late: Option<Delayed>,
}

/// Connections that were a second or more late while they were made.
///
/// # What a step is
/// The kernel sends a SYN that got no answer again after a second, and goes on each second (`tcp_syn_linear_timeouts`,
/// Linux 6.5), or after twice the time (RFC 6298): such a connect takes 1, 2, 3, 4, 5, 7, 11 … or 1, 3, 7, 15 … s and
/// little more. What is late for another reason is late by any time.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Delayed {
    /// Connects that took a second or longer.
    pub connects: u64,
    /// Of these, such as took as long as a SYN that is sent again.
    pub connects_at_steps: u64,
    /// The longest connect, µs; `None` where nothing connected.
    pub longest_connect_us: Option<u64>,
    /// First echoes that took a second or longer.
    pub first_echoes: u64,
    /// The longest first echo, µs; `None` where nothing was echoed.
    pub longest_first_echo_us: Option<u64>,
}

/// So late is late: the first time that the kernel waits for the answer to a SYN (TCP_TIMEOUT_INIT, include/net/tcp.h).
pub const LATE_US: u64 = 1_000_000;

/// When a SYN has been sent again, seconds after the first: each second at first, then, and in older kernels at once,
/// after twice the time. What is beyond a minute is not kept apart.
const STEPS_SECS: [u64; 11] = [1, 2, 3, 4, 5, 7, 11, 15, 19, 31, 35];

impl Delayed {
    /// Counts what was late in what was measured.
    #[must_use]
    pub fn of(connect: &LatencyHistogram, first_echo: &LatencyHistogram) -> Self {
        // A timer fires up to an eighth of its wheel's level late (kernel/time/timer.c), and the answer takes its time.
        let at = |step: &u64| connect.count_within(step * 1_000_000, step * 1_080_000 + 100_000);
        Self {
            connects: connect.count_from(LATE_US),
            connects_at_steps: STEPS_SECS.iter().map(at).sum(),
            longest_connect_us: connect.summary().max,
            first_echoes: first_echo.count_from(LATE_US),
            longest_first_echo_us: first_echo.summary().max,
        }
    }
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

    fn measured(all_us: &[u64]) -> LatencyHistogram {
        let mut histogram = LatencyHistogram::default();
        all_us.iter().for_each(|us| histogram.record_us(*us));
        histogram
    }

    #[test]
    fn connects_at_the_steps_of_a_syn_are_told_from_those_that_are_late_by_any_time() {
        let nothing = LatencyHistogram::default();
        // Seen with a backlog of 64 and a server that was stopped: 1.02, 2.05, 3.07 … s.
        let resent = measured(&[400, 900, 1_024_000, 2_050_000, 3_070_000, 5_120_000, 7_200_000]);
        let seen = Delayed::of(&resent, &nothing);
        assert_eq!((seen.connects, seen.connects_at_steps), (5, 5));
        assert!(seen.longest_connect_us.is_some_and(|us| us.abs_diff(7_200_000) < 100_000), "{seen:?}");
        let slow = Delayed::of(&measured(&[400, 1_600_000, 2_700_000, 8_500_000, 14_000_000]), &nothing);
        assert_eq!((slow.connects, slow.connects_at_steps), (4, 0));
    }

    #[test]
    fn what_is_below_a_second_is_not_late_and_what_was_not_measured_has_no_longest() {
        let quick = measured(&[300, 40_000, 980_000]);
        let seen = Delayed::of(&quick, &quick);
        assert_eq!((seen.connects, seen.connects_at_steps, seen.first_echoes), (0, 0, 0));
        assert_eq!(
            Delayed::of(&LatencyHistogram::default(), &LatencyHistogram::default()),
            Delayed::default()
        );
    }
}
