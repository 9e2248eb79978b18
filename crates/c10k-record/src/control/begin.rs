//! The beginning and the end of a run.

use serde::{Deserialize, Serialize};

use super::{Build, Running};
use crate::Plan;

/// The body of `POST /v1/runs`. Said twice with the same name by the same client it is answered twice alike.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Begin {
    /// The run's name, see [`super::is_run_id`].
    pub run_id: String,
    /// The build of the client.
    pub build: Build,
    /// Who begins it, in words: `c10k-lab on host raspberry, process 4711`.
    pub client: String,
    /// Another build is taken as well.
    #[serde(default)]
    pub any_build: bool,
    /// What it will do. The server must speak its protocol.
    pub plan: Plan,
}

/// The answer: the run has begun, and all counts are counted from now on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begun {
    /// The run's name.
    pub run_id: String,
    /// When, by the far clock, nanoseconds since 1970.
    pub at_unix_ns: u64,
    /// Connections of others that were open at the server's end of its ports then; `None` where they cannot be counted.
    pub open_before: Option<u64>,
    /// The kernel was still taking back what earlier connections had, so the memory account may be too low.
    pub unsettled: bool,
    /// The build of the far end.
    pub build: Build,
}

/// The body of `POST /v1/runs/ID/end`. Said twice it is answered twice alike, until the next run begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndRun {
    /// Why, in words: `done`, `stopped by SIGINT`.
    pub reason: String,
}

/// The body of every answer that refuses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// What, with the value and what was expected.
    pub error: String,
    /// What mends it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The run that is under way instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running: Option<Running>,
    /// The build of the far end, where it is another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build: Option<Build>,
}
