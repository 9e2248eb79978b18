//! A run that several swarms carried out, as its record tells of them.

use serde::{Deserialize, Serialize};

/// The shards of a run.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InShards {
    /// Into how many the run was divided.
    pub of: u32,
    /// How many went their way to the end; what the others held counts as lost, as `aborted`.
    pub counted: u32,
    /// Which attempt at the run it is, from 1 on.
    pub attempt: u32,
    /// For how long all that are counted held at one time, ms; `None` where their clocks were not compared.
    pub together_ms: Option<u64>,
    /// How wrong the times of this record may be, since each box has a clock of its own, µs; `None` where they were not
    /// compared.
    pub clock_error_us: Option<u64>,
    /// Those that are not counted.
    pub lost: Vec<LostPart>,
    /// Those that left a result.
    pub parts: Vec<ShardPart>,
}

/// A shard that is not counted.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LostPart {
    /// Its number.
    pub shard: u32,
    /// What is known of it, in words.
    pub why: String,
}

/// What one shard did.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardPart {
    /// Its number.
    pub shard: u32,
    /// The name of its box.
    pub host: String,
    /// Connections that were its part.
    pub target: u64,
    /// Connections established.
    pub established: u64,
    /// Connections held.
    pub held: u64,
    /// Connections lost.
    pub failed: u64,
    /// When it began its first connect, ms after the first of all; `None` where it began none.
    pub began_after_ms: Option<u64>,
    /// How it ended: `held`, `short`, `stopped`, `broke` or `refused`.
    pub end: String,
}

impl InShards {
    /// `by 2 of 3 shards`.
    #[must_use]
    pub fn in_words(&self) -> String {
        let shards = if self.of == 1 { "shard" } else { "shards" };
        format!("by {} of {} {shards}", self.counted, self.of)
    }

    /// Which are not counted, and why; `None` where all are.
    #[must_use]
    pub fn lost_in_words(&self) -> Option<String> {
        let told = |lost: &LostPart| format!("shard {}/{} was lost: {}", lost.shard, self.of, lost.why);
        let all: Vec<String> = self.lost.iter().map(told).collect();
        (!all.is_empty()).then(|| all.join("; "))
    }
}
