//! What the far end says of a run.

use std::collections::BTreeMap;

use c10k_record::{
    CounterChange, Host, HostSnapshot, MemoryPerConnection, ProcessInRun, ProfileInRun, RunEvidence, Sample,
    ServerReport, Warning,
};
use serde::{Deserialize, Serialize};

use crate::link::LinkSeen;
use crate::observation::{GroupSeen, Observation};
use crate::serving::EndedProcess;

/// The answer to `GET /v1/runs/ID/look`: what is seen now. Growths are since the run began.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Look {
    /// When, by the far clock, nanoseconds since 1970.
    pub at_unix_ns: u64,
    /// Milliseconds since the run began, by the far end's monotonic clock.
    pub elapsed_ms: u64,
    /// What the collector saw.
    pub seen: Observation,
    /// What the server says of itself, counted since the run began but for `open` and what else stands now; `None` of a
    /// foreign one, and of one that never spoke.
    pub report: Option<ServerReport>,
    /// It was said as the answer to this look, and not some time before.
    pub report_is_fresh: bool,
    /// The narrowest line of the devices there that say what they carry.
    pub link: Option<LinkSeen>,
    /// How the server's process ended; `None` while it goes on.
    pub server_end: Option<ServerEnded>,
    /// Processes of the server that ended meanwhile, where it has several.
    pub ended_processes: Vec<EndedProcess>,
}

/// How a server's process ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerEnded {
    /// In words.
    pub words: String,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Its exit code.
    pub code: Option<i32>,
}

/// The answer to `GET /snapshot`: the same of no run, since the far end was started.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// What is seen now.
    #[serde(flatten)]
    pub look: Look,
    /// What cannot be read there, in words.
    pub unreadable: Vec<String>,
}

/// A moment of a run at which the far end looks closer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Moment {
    /// Before the first connect: memory is looked at, against which it is compared later. A run that does not mark it is
    /// compared with its beginning.
    Ready,
    /// In the hold: memory is looked at again, and the sockets are counted.
    Hold,
    /// After the last proof, before the close: what else there is to see of lost connections. What is met from now on is
    /// the close's.
    Proof,
}

/// The body of `POST /v1/runs/ID/mark`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Which moment.
    pub moment: Moment,
    /// Connections that were opened since the run began and are open; those of all shards, where there are several.
    pub connections: u64,
    /// Clients' ends of them that stand on the same kernel as the server, as between two network namespaces of one
    /// machine.
    #[serde(default)]
    pub clients_here: u64,
    /// Up to so long is waited until the kernel has taken back what earlier connections had, milliseconds; at most
    /// [`MOST_SETTLE_MS`].
    #[serde(default)]
    pub settle_ms: u64,
}

/// The most that a mark waits, milliseconds.
pub const MOST_SETTLE_MS: u64 = 2_000;

/// The answer, which is also kept for the end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Marked {
    /// Which moment.
    pub moment: Moment,
    /// What is seen.
    pub look: Look,
    /// ESTABLISHED sockets at the server's end of its ports; `None` where they cannot be counted.
    pub established: Option<u64>,
    /// Sockets at the server's end that no process has accepted.
    pub not_accepted: Option<u64>,
    /// What one of `connections` costs at the server's end since the moment `ready`; of the moment in the hold alone.
    pub memory: Option<MemoryPerConnection>,
    /// The server's processes.
    pub processes: Vec<ProcessInRun>,
    /// What was looked at beside the counters: listeners, rules of a firewall, the server's own connections. Of the moment
    /// after the proof alone.
    pub evidence: RunEvidence,
}

/// The answer to `POST /v1/runs/ID/end`: the whole account of the far end.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Ended {
    /// The run's name.
    pub run_id: String,
    /// Why it ended: the client's word, or that nothing was heard of it any more.
    pub reason: String,
    /// When it began, by the far clock, nanoseconds since 1970.
    pub began_unix_ns: u64,
    /// When it ended.
    pub ended_unix_ns: u64,
    /// How long that was by the far end's monotonic clock, milliseconds; another length by the two times above is a clock
    /// that was set.
    pub elapsed_ms: u64,
    /// The machine, with the limits as they stood when the run began.
    pub host: Host,
    /// The limits as they stand now.
    pub limits_at_end: HostSnapshot,
    /// The profile and what of it is in force.
    pub profile: Option<ProfileInRun>,
    /// Connections of others that were open at the server's end when it began.
    pub open_before: Option<u64>,
    /// Rows, of which only the columns of the server's end are filled.
    pub samples: Vec<Sample>,
    /// Between two of them, milliseconds: in a long run each second row is let go again and again.
    pub samples_every_ms: u64,
    /// The moments that were marked.
    pub marks: Vec<Marked>,
    /// How counters and levels changed, by the names that the walls know.
    pub counters: BTreeMap<String, CounterChange>,
    /// The least memory that was available, bytes.
    pub lowest_memory_available_bytes: Option<u64>,
    /// The memory group of the server that had least left, when it had.
    pub scarcest_group: Option<GroupSeen>,
    /// The pids cgroup of the server that had the fewest threads left.
    pub fewest_threads: Option<ThreadsLeft>,
    /// The file with the quota that held the server back.
    pub server_cpu_quota: Option<String>,
    /// For 2 s nobody was accepted although the queue was full.
    pub accepted_stalled: bool,
    /// The last look, after the close: with the server's report and how it ended, if it did.
    pub look: Look,
    /// What could not be read there, in words.
    pub unreadable: Vec<String>,
    /// What its client should know.
    pub warnings: Vec<Warning>,
}

/// A pids cgroup.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThreadsLeft {
    /// `pids.max`.
    pub max: Option<u64>,
    /// `pids.current`.
    pub current: Option<u64>,
    /// Its folder.
    pub folder: Option<String>,
}
