//! Limits that a run met and recovered from: they cost time, and no connection.

use serde::{Deserialize, Serialize};

use crate::{Delayed, Evidence, Remedy, Side};

/// A limit that was met on the way of a run that holds all it was asked for.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MetOnTheWay {
    /// The name of the wall, such as `accept-queue`.
    pub wall: String,
    /// Its title in plain words.
    pub title: String,
    /// At which end it stands.
    pub side: Side,
    /// How often it was met, as its counter says; 1 for what was seen and is not counted.
    pub times: u64,
    /// The connections of the run that were late; several limits that were met share them. `None` for a limit that makes
    /// no connection wait, and where it was not measured.
    pub cost: Option<Delayed>,
    /// What proves it.
    pub evidence: Vec<Evidence>,
    /// What lifts it.
    pub remedy: Option<Remedy>,
}
