//! What is known of the server's host beside that of the clients.

use std::collections::BTreeMap;

use c10k_record::{CounterChange, HostSnapshot};
use serde::{Deserialize, Serialize};

/// What is known of the server's host, where the clients stand on another.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FarFindings {
    /// Its limits at the start.
    pub host: HostSnapshot,
    /// Its counters and levels alone, by their name in [`crate::counter`].
    pub counters: BTreeMap<String, CounterChange>,
}
