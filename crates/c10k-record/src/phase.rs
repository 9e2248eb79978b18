//! The phases of a run.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The phases of a swarm, in their order.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PhaseName {
    /// Connecting.
    Ramp,
    /// Holding.
    Hold,
    /// Proving every connection once more.
    Verify,
    /// Closing.
    Close,
}

impl fmt::Display for PhaseName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ramp => "ramp",
            Self::Hold => "hold",
            Self::Verify => "verify",
            Self::Close => "close",
        })
    }
}
