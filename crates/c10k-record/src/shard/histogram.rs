//! A histogram as a result keeps it: V2-deflate of HdrHistogram, with its bounds beside it.

use data_encoding::BASE64;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{HistogramBounds, LatencyHistogram};

/// The latencies of one kind, µs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredHistogram {
    /// What was measured: `connect`, `first_echo`, `echo`, `handshake`, `connect_response`, `lateness`; of a phase of a
    /// workload `PHASE.response`, `PHASE.service` and so on.
    pub name: String,
    /// Its bounds.
    pub bounds: HistogramBounds,
    /// How many values it holds.
    pub count: u64,
    /// V2-deflate of HdrHistogram, in base64.
    pub v2_deflate: String,
}

/// Why a stored histogram cannot be added to others.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum HistogramError {
    /// Its bytes are none of a histogram.
    #[error("the histogram '{name}' cannot be read: {why}")]
    Unreadable {
        /// Its name.
        name: String,
        /// Why.
        why: String,
    },
    /// It has other buckets.
    #[error("the histogram '{name}' has the bounds {found}; expected {expected}")]
    OtherBounds {
        /// Its name.
        name: String,
        /// Its bounds.
        found: HistogramBounds,
        /// Those of all others.
        expected: HistogramBounds,
    },
    /// It holds another number of values than is said beside it.
    #[error("the histogram '{name}' holds {found} values; {said} is said beside it")]
    OtherCount {
        /// Its name.
        name: String,
        /// How many it holds.
        found: u64,
        /// How many it is said to hold.
        said: u64,
    },
}

impl StoredHistogram {
    /// A histogram under its name.
    #[must_use]
    pub fn of(name: &str, measured: &LatencyHistogram) -> Self {
        Self {
            name: name.to_owned(),
            bounds: LatencyHistogram::BOUNDS,
            count: measured.count(),
            v2_deflate: BASE64.encode(&measured.to_v2_deflate()),
        }
    }

    /// The histogram again.
    ///
    /// # Errors
    /// [`HistogramError`]: it is never added half, or to others than its like.
    pub fn read(&self) -> Result<LatencyHistogram, HistogramError> {
        let name = || self.name.clone();
        let unreadable = |why: String| HistogramError::Unreadable { name: name(), why };
        let expected = LatencyHistogram::BOUNDS;
        let bytes =
            BASE64.decode(self.v2_deflate.as_bytes()).map_err(|error| unreadable(error.to_string()))?;
        let (bounds, read) = LatencyHistogram::from_v2(&bytes).map_err(unreadable)?;
        let found = if self.bounds == expected { bounds } else { self.bounds };
        let Some(read) = read.filter(|_| found == expected) else {
            return Err(HistogramError::OtherBounds { name: name(), found, expected });
        };
        if read.count() != self.count {
            return Err(HistogramError::OtherCount { name: name(), found: read.count(), said: self.count });
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use hdrhistogram::Histogram;
    use hdrhistogram::serialization::{Serializer as _, V2DeflateSerializer};
    use proptest::prelude::*;

    use super::*;

    fn measured(all_us: &[u64]) -> LatencyHistogram {
        let mut histogram = LatencyHistogram::default();
        all_us.iter().for_each(|us| histogram.record_us(*us));
        histogram
    }

    proptest! {
        #[test]
        fn stored_parts_have_together_the_percentiles_of_one_measurement(
            all_us in prop::collection::vec(prop_oneof![1..100_000_u64, 1..60_000_000_u64], 1..500),
            parts in 1..7_usize,
        ) {
            let whole = measured(&all_us);
            let mut sum = LatencyHistogram::default();
            for part in 0..parts {
                let own: Vec<u64> = all_us.iter().skip(part).step_by(parts).copied().collect();
                let stored = StoredHistogram::of("echo", &measured(&own));
                let json = serde_json::to_string(&stored).expect("plain data");
                let read: StoredHistogram = serde_json::from_str(&json).expect("what we wrote");
                sum.add(&read.read().expect("a histogram"));
            }
            prop_assert_eq!(sum.summary(), whole.summary());
        }
    }

    #[test]
    fn a_histogram_of_other_bounds_is_told_with_both() {
        let mut other = Histogram::<u64>::new_with_bounds(1, 1_000_000, 3).expect("bounds");
        other.record(7).expect("within");
        let mut bytes = Vec::new();
        V2DeflateSerializer::new().serialize(&other, &mut bytes).expect("written");
        let mut stored = StoredHistogram {
            v2_deflate: BASE64.encode(&bytes),
            ..StoredHistogram::of("echo", &measured(&[7]))
        };
        let told = "the histogram 'echo' has the bounds 1 to 1000000 µs with 3 digits; expected 1 to 60000000 µs with 2 digits";
        assert_eq!(stored.read().expect_err("other bounds").to_string(), told);
        stored.bounds = HistogramBounds { lowest_us: 1, highest_us: 1_000_000, digits: 3 };
        assert_eq!(stored.read().expect_err("other bounds").to_string(), told);
    }

    #[test]
    fn what_is_no_histogram_or_holds_another_number_of_values_is_told() {
        let stored = StoredHistogram::of("echo", &measured(&[7, 8]));
        for text in ["", "%%%", "AAAA", &stored.v2_deflate[..12]] {
            let cut = StoredHistogram { v2_deflate: text.to_owned(), ..stored.clone() };
            let error = cut.read().expect_err(text);
            assert!(matches!(error, HistogramError::Unreadable { .. }), "{error}");
        }
        let error = StoredHistogram { count: 3, ..stored }.read().expect_err("another count");
        assert_eq!(error.to_string(), "the histogram 'echo' holds 2 values; 3 is said beside it");
    }
}
