//! All that a swarm found.

use c10k_collector::{EndsSeen, LinkSeen};
use c10k_record::{
    ConnectRate, Connections, Gap, GrowthEvidence, GrowthStop, LatencyHistogram, NamedPhase, PhaseTimes,
    RunEvidence, RunState, Worked,
};

use crate::beside::SeenBeside;
use crate::measured::Measured;
use crate::own_end::SeenAtOwnEnd;
use crate::ramps::Ramps;

/// All that a swarm found.
pub(crate) struct Finding {
    pub(crate) connections: Connections,
    pub(crate) failures: Vec<c10k_record::Failure>,
    pub(crate) measured: Measured,
    pub(crate) rate: ConnectRate,
    pub(crate) ramps: Ramps,
    pub(crate) messages_per_second: Option<f64>,
    pub(crate) worked: Vec<Worked>,
    /// Their latencies whole, by PHASE.KIND; of a shard alone.
    pub(crate) work_measured: Vec<(String, LatencyHistogram)>,
    /// When the first connect was begun, ns since 1970.
    pub(crate) first_connect_unix_ns: Option<u64>,
    pub(crate) phases: Vec<PhaseTimes>,
    /// What came of the phases that the plan names, where the swarm leads itself through them.
    pub(crate) named: Vec<NamedPhase>,
    pub(crate) gaps: Vec<Gap>,
    pub(crate) state: RunState,
    /// The signal that stopped it.
    pub(crate) signal: Option<i32>,
    pub(crate) growth_stop: Option<(GrowthStop, GrowthEvidence)>,
    pub(crate) tuples_skipped: u64,
    /// RSS of this process before the last proof, bytes, and the connections that were open then.
    pub(crate) rss_full: Option<(u64, u64)>,
    /// What was seen of a server on this machine.
    pub(crate) beside: Option<SeenBeside>,
    /// What was seen of this end, where the server stands elsewhere.
    pub(crate) own_end: Option<SeenAtOwnEnd>,
    /// The server's ends of what was open before the close, and when they were looked up, ms after the first connect.
    pub(crate) ends: Option<(EndsSeen, u64)>,
    /// What was seen of the link towards the server.
    pub(crate) link: Option<LinkSeen>,
    /// What was looked at beside the counters.
    pub(crate) evidence: RunEvidence,
}
