//! What the doctor found, as data.

use c10k_collector::EvidenceSource;
use c10k_record::{HostSnapshot, Predicted, Protocol, Remedy, Topology, Warning};
use serde::Serialize;

/// What the doctor found.
#[derive(Debug, Serialize)]
pub(super) struct Finding {
    pub(super) profile: String,
    pub(super) topology: Topology,
    pub(super) protocol: Protocol,
    pub(super) target: u64,
    /// Whether the walls were those of an ordinary program.
    pub(super) plain: bool,
    /// No wall of this plan is below the target.
    pub(super) reachable: bool,
    /// The first wall below the target.
    pub(super) predicted: Option<Predicted>,
    /// All of them, the one that bites first in front; those that bound a rate and no number at the end.
    pub(super) walls: Vec<Row>,
    pub(super) machines: Vec<Machine>,
    pub(super) calibration: Option<Calibrated>,
    pub(super) host: HostSnapshot,
    /// What a diagnosis can look at here, and why not.
    pub(super) evidence: Vec<EvidenceSource>,
    pub(super) warnings: Vec<Warning>,
}

/// One wall.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Row {
    pub(super) wall: String,
    pub(super) title: String,
    pub(super) side: &'static str,
    /// Connections that it allows; null where it bounds a rate.
    pub(super) connections: Option<u64>,
    /// Connections a second that it allows, where it bounds a rate.
    pub(super) rate_per_second: Option<u64>,
    pub(super) uncertainty_percent: u8,
    /// What it is set to now.
    pub(super) now: String,
    pub(super) lift: Remedy,
    /// Whether it stands in the way of this plan, or only in that of an ordinary program.
    pub(super) in_this_plan: bool,
    /// How this plan passes it.
    pub(super) passed_by: Option<String>,
}

/// How much machine so many connections take.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Machine {
    pub(super) connections: u64,
    pub(super) server_bytes: u64,
    pub(super) client_bytes: u64,
    pub(super) both_ends_bytes: u64,
    /// Whether both ends fit into this machine's memory, and into that of the control group here, as they are.
    pub(super) fits_here: Option<bool>,
    pub(super) descriptors_each_end: u64,
    /// Descriptor tables at each end with the limit that stands.
    pub(super) tables_each_end: Option<u64>,
    /// Source addresses with the ports of this plan.
    pub(super) source_addresses: Option<u64>,
    /// Source addresses with the kernel's own range.
    pub(super) source_addresses_by_default: u64,
    /// Seconds of ramp at the calibrated rate.
    pub(super) ramp_seconds: Option<f64>,
}

/// What the calibration says.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Calibrated {
    pub(super) connections: u64,
    pub(super) connects_per_second: u64,
    pub(super) uncertainty_percent: u8,
    pub(super) server_us_per_connection: Option<f64>,
    pub(super) swarm_us_per_connection: Option<f64>,
    pub(super) measured_pair_bytes: Option<u64>,
}
