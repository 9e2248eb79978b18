//! How connects are spread over time.

use serde::{Deserialize, Serialize};

/// How connects are spread over time.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Spread {
    /// With equal gaps where there is a rate, else as fast as those under way allow.
    #[default]
    Even,
    /// All at once: as many are under way as are wanted.
    Burst,
    /// With the random gaps of a Poisson process, whose mean is the rate's.
    Poisson,
}

impl Spread {
    /// Whether it is the default.
    pub(super) fn is_even(&self) -> bool {
        *self == Self::Even
    }
}
