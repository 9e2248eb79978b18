//! What a collector says at its end.

use std::collections::BTreeMap;

use c10k_kernel::census::Census;
use c10k_record::MemoryPerConnection;
use serde::Serialize;

use crate::observation::Observation;
use crate::unreadable::Unreadable;

/// The collector's last word: the document of `--json` and the `done` line of `--events`.
#[derive(Clone, Debug, Serialize)]
pub struct Document {
    /// The version of this document's shape.
    pub schema_version: u32,
    /// The collector's version.
    pub tool_version: &'static str,
    /// The watched server; null when the process that listens on the port may not be seen.
    pub pid: Option<u32>,
    /// The watched swarm.
    pub swarm_pid: Option<u32>,
    /// The watched ports.
    pub ports: Vec<u16>,
    /// Milliseconds it watched.
    pub elapsed_ms: u64,
    /// Ticks it took.
    pub ticks: u64,
    /// Ticks in which a source vanished.
    pub partial_ticks: u64,
    /// The longest tick, microseconds.
    pub longest_tick_us: u64,
    /// The watched process ended before the collector did.
    pub target_ended: bool,
    /// The most sockets in use at one tick, this namespace.
    pub peak_sockets_in_use: Option<u64>,
    /// The most sockets in TIME_WAIT at one tick, this namespace.
    pub peak_time_wait: Option<u64>,
    /// The longest accept queue at one tick.
    pub peak_accept_queue: Option<u64>,
    /// The most descriptors open in all tables of the process at one tick.
    pub peak_descriptors: Option<u64>,
    /// The most tracked connections at one tick.
    pub peak_conntrack: Option<u64>,
    /// The last tick.
    pub last: Option<Observation>,
    /// The states of all sockets on the ports when it began.
    pub census_at_start: Option<CensusSeen>,
    /// The states of all sockets on the ports when it ended.
    pub census_at_end: Option<CensusSeen>,
    /// What one connection cost, of those that were there at the end and not at the start; null when there were none.
    pub memory_per_connection: Option<MemoryPerConnection>,
    /// What watching cost.
    pub self_cost: SelfCost,
    /// What could not be read.
    pub unreadable: Vec<Unreadable>,
}

/// What the collector itself took of the processor, from its first line to its last: getrusage(2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct SelfCost {
    /// Processor time, seconds.
    pub cpu_seconds: f64,
    /// Processor time ÷ elapsed time: 0.01 is one percent of one core.
    pub share_of_one_core: f64,
    /// The same between the first tick and the last, without finding the process and counting all sockets at both ends:
    /// what watching for longer costs.
    pub steady_share_of_one_core: f64,
    /// Processor time between the first tick and the last ÷ ticks, microseconds; null without a tick.
    pub cpu_us_per_tick: Option<f64>,
}

/// A census with the kernel's names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CensusSeen {
    /// Sockets by state, those that have any.
    pub states: BTreeMap<&'static str, u64>,
    /// ESTABLISHED with a watched port at this end.
    pub server_side: u64,
    /// Sockets at the server's ends, ESTABLISHED or CLOSE_WAIT, that no process has accepted.
    pub not_accepted: u64,
    /// ESTABLISHED with a watched port at the other end.
    pub client_side: u64,
    /// The table changed meanwhile: the numbers may be off.
    pub interrupted: bool,
    /// What it took, microseconds.
    pub duration_us: u64,
}

impl From<&Census> for CensusSeen {
    fn from(census: &Census) -> Self {
        Self {
            states: census.by_name().collect(),
            server_side: census.server_side,
            client_side: census.client_side,
            not_accepted: census.not_accepted,
            interrupted: census.interrupted,
            duration_us: census.duration_us,
        }
    }
}
