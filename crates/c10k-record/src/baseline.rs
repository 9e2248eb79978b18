//! The run that another one is compared with, as the record keeps it.

use serde::{Deserialize, Serialize};

/// The run that this one was compared with.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Baseline {
    /// Its `run_id`.
    pub run_id: String,
    /// Where its record was read.
    pub path: String,
    /// In what its load, profile, machine and program were not the same, an entry each.
    pub differences: Vec<String>,
    /// What was compared; empty in a run that was not judged.
    pub compared: Vec<Compared>,
}

/// One verdict beside another run.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Compared {
    /// The verdict, as in `verdicts`.
    pub expr: String,
    /// What the baseline had, in the unit of the verdict.
    pub baseline: f64,
    /// What this run has; `None` where nothing was measured, or nothing evaluated.
    pub value: Option<f64>,
    /// value ÷ baseline; `None` without a value, and where the baseline is 0.
    pub ratio: Option<f64>,
}
