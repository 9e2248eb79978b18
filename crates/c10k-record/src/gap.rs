//! Gaps in a process's own ticks: it was stopped, its machine was suspended, or it was given no processor.

use serde::{Deserialize, Serialize};

/// A time in which a process of the run did not run.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// Whose it is.
    pub process: GapOf,
    /// When it began, milliseconds since the first connect; 0 before that.
    pub from_ms: u64,
    /// When the process ran again.
    pub to_ms: u64,
    /// For how long of that the machine itself was suspended, as CLOCK_BOOTTIME says against CLOCK_MONOTONIC.
    pub suspended_ms: u64,
}

/// Which process watches its own ticks.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GapOf {
    /// The lab, which leads the run and measures neither latency nor rate.
    Lab,
    /// The swarm, which measures them.
    Swarm,
}

impl Gap {
    /// In words, without its subject.
    pub(crate) fn words(self) -> String {
        let seconds = |ms: u64| format!("{:.1} s", ms as f64 / 1000.0);
        let suspended = match self.suspended_ms {
            0 => String::new(),
            ms => format!(" (the machine was suspended for {} of it)", seconds(ms)),
        };
        let (length, at) = (seconds(self.to_ms.saturating_sub(self.from_ms)), seconds(self.from_ms));
        format!("did not run for {length}, from {at} after the first connect on{suspended}")
    }

    /// Whether it falls into this time, or into one that has not ended.
    pub(crate) fn overlaps(self, from_ms: u64, to_ms: Option<u64>) -> bool {
        self.to_ms >= from_ms && to_ms.is_none_or(|to_ms| self.from_ms <= to_ms)
    }
}
