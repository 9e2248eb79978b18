//! The settings of a run: which are in force, and which could not be set.

use serde::{Deserialize, Serialize};

use crate::Scope;

/// The profile of a run, and which of its settings are in force.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProfileInRun {
    /// Its name.
    pub name: String,
    /// Settings that were applied and read back.
    pub applied: Vec<AppliedSetting>,
    /// Settings that could not be applied.
    pub not_applied: Vec<NotApplied>,
}

/// One setting that was applied.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppliedSetting {
    /// Its key.
    pub key: String,
    /// Value before.
    pub before: String,
    /// Value after, as read back.
    pub after: String,
}

/// One setting that could not be applied.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotApplied {
    /// Its key.
    pub key: String,
    /// The value wanted.
    pub wanted: String,
    /// The present value, where it can be read.
    pub present: Option<String>,
    /// What it reaches.
    pub scope: Scope,
    /// Why not.
    pub why: String,
    /// The command that would set it.
    pub command: Option<String>,
}
