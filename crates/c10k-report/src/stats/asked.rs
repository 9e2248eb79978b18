//! What is asked of values.

use c10k_record::{Better, Metric};

/// Under so many pairs, or runs in a group, no difference is called real.
///
/// Six is the fewest pairs of which the sign test can give p ≤ 0.05.
pub const FEWEST_PAIRS: usize = 6;

/// A difference is called real where chance gives as large a one in at most one of twenty experiments.
pub(super) const MOST_BY_CHANCE: f64 = 0.05;

/// What is asked of the values of one metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Which way the metric is better.
    pub better: Better,
    /// How a difference is said.
    pub wording: Wording,
    /// Whether it is a ceiling, which a bound fixes: connections held or verified. Where all values of a side are equal,
    /// one pair is enough. Values that differ within a side are judged as measured ones. Of no other count: a few equal
    /// runs may be chance.
    pub is_exact: bool,
    /// What the bootstrap's draws come from. The same seed gives the same interval.
    pub seed: u64,
}

impl Asked {
    /// What is asked of a metric, as one that is measured.
    #[must_use]
    pub fn of(metric: Metric, seed: u64) -> Self {
        let wording = if metric.is_of_time() { Wording::Speed } else { Wording::Amount };
        Self { better: metric.better(), wording, is_exact: false, seed }
    }
}

/// How a difference is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wording {
    /// Of a latency or a rate: "1.12× faster".
    Speed,
    /// Of an amount: "0.89× as much".
    Amount,
}
