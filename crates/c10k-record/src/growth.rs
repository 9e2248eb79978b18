//! Why a swarm stopped trying before its target.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Outcome;

/// Why a swarm stopped growing: what it did not try is in no count.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GrowthStop {
    /// So many connections failed in a row that no more were tried.
    NothingSucceeds,
    /// Every tuple of the plan (source address and port, destination) was in use, held by others or in TIME_WAIT. No
    /// system call says that: the swarm counts its tuples itself.
    NoPorts,
    /// Its only descriptor table is full, or a descriptor was refused (EMFILE, ENFILE).
    NoDescriptors,
    /// The kernel would start no further thread for a worker (EAGAIN, pthread_create(3)).
    NoThreads,
    /// A further worker could not make its descriptor table or its epoll instance.
    NoTables,
    /// Its workers ended on their own.
    WorkersLost,
}

impl GrowthStop {
    /// Its name, as in the record.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NothingSucceeds => "nothing-succeeds",
            Self::NoPorts => "no-ports",
            Self::NoDescriptors => "no-descriptors",
            Self::NoThreads => "no-threads",
            Self::NoTables => "no-tables",
            Self::WorkersLost => "workers-lost",
        }
    }
}

/// What was seen at the moment when a swarm stopped growing.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct GrowthEvidence {
    /// Milliseconds after the first connect.
    pub at_ms: u64,
    /// What the system call returned that stopped it; `None` where none did.
    pub errno: Option<Outcome>,
    /// How the tuples of the plan stood; `None` where they were not what was short.
    pub ports: Option<PortsInPlan>,
}

/// The tuples of a plan, each a source address and port and a destination, when not one was left: the three parts sum
/// up to what was planned.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PortsInPlan {
    /// All of them.
    pub planned: u64,
    /// In use by connections of this swarm.
    pub in_use: u64,
    /// Closed by this swarm's FIN so lately that TIME_WAIT still keeps them.
    pub time_wait: u64,
    /// Refused by connect(2) or bind(2) (EADDRNOTAVAIL, EADDRINUSE): somebody else holds them, or a TIME_WAIT that is
    /// not this swarm's.
    pub taken: u64,
}

impl fmt::Display for GrowthStop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NothingSucceeds => "so many connections failed in a row that no more were tried",
            Self::NoPorts => "no source port of its plan was left",
            Self::NoDescriptors => "this process's descriptor limit was reached",
            Self::NoThreads => "the kernel would start no further thread for a worker (EAGAIN)",
            Self::NoTables => "a further worker could not make its descriptor table",
            Self::WorkersLost => "its workers ended on their own",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_name_is_the_one_that_the_record_has() {
        for stop in [
            GrowthStop::NothingSucceeds,
            GrowthStop::NoPorts,
            GrowthStop::NoDescriptors,
            GrowthStop::NoThreads,
            GrowthStop::NoTables,
            GrowthStop::WorkersLost,
        ] {
            assert_eq!(serde_json::to_value(stop).expect("a name"), stop.name());
        }
    }
}
