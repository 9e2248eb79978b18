//! The counts of a run, never mixed up: attempted ≥ established ≥ verified ≥ held.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Outcome, PhaseName};

/// How many connections there were, by what is known of them. What a process cannot know is `None`, never 0.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connections {
    /// How many were asked for.
    pub target: u64,
    /// Connections begun, whatever became of them.
    pub attempted: u64,
    /// `connect()` has completed at the client.
    pub established: u64,
    /// The server has it in its table: the server's own word.
    pub accepted: Option<u64>,
    /// The server has echoed this connection's own probe; unknown when probes are switched off.
    pub verified: Option<u64>,
    /// Verified, and still verified at the end of the hold; without probes: still open at the end.
    pub held: u64,
    /// Established at the client, never accepted by the server.
    pub ghosts: Option<u64>,
    /// Closed in good order because a command (`shrink N`) asked for it.
    #[serde(default)]
    pub released: u64,
    /// Connections open when the run was stopped before its end, or when one that never came to it was last seen;
    /// `None` for a run that came to its end.
    #[serde(default)]
    pub open: Option<u64>,
    /// Connections that were lost, by errno or name; at the end attempted = held + released + Σ failed.
    pub failed: BTreeMap<Outcome, u64>,
}

impl Connections {
    /// Σ failed.
    #[must_use]
    pub fn failed_total(&self) -> u64 {
        self.failed.values().sum()
    }

    /// Connections that were given up because somebody stopped the run.
    #[must_use]
    pub fn stopped_total(&self) -> u64 {
        self.failed.get(&Outcome::aborted()).copied().unwrap_or(0)
    }

    /// Adds `count` connections lost under `outcome`.
    pub fn add_failed(&mut self, outcome: Outcome, count: u64) {
        if count > 0 {
            *self.failed.entry(outcome).or_default() += count;
        }
    }

    /// Established at the client but never accepted, when the server's word is known. Of more that it has accepted than
    /// were established nobody can tell how many are ghosts.
    pub fn settle_ghosts(&mut self) {
        self.ghosts = self.accepted.and_then(|accepted| self.established.checked_sub(accepted));
    }
}

/// One row of the failures in detail: the same connections as in [`Connections::failed`], with their phase.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Where in the run it was lost.
    pub phase: PhaseName,
    /// Its errno or name.
    pub outcome: Outcome,
    /// How many.
    pub count: u64,
    /// Milliseconds after the first connect at which the first of them was lost.
    pub first_at_ms: u64,
}
