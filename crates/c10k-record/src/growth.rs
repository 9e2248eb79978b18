//! Why a swarm stopped trying before its target.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a swarm stopped growing: what it did not try is in no count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GrowthStop {
    /// So many connections failed in a row that no more were tried.
    NothingSucceeds,
    /// No source port was left.
    NoPorts,
    /// Its only descriptor table is full, or a descriptor was refused.
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

impl fmt::Display for GrowthStop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NothingSucceeds => "so many connections failed in a row that no more were tried",
            Self::NoPorts => "no source port was left",
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
