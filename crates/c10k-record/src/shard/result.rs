//! What a shard leaves: one document, written when it ends, however it ends.

use serde::{Deserialize, Serialize};

use super::{Shard, ShardIps, SourceRange, StoredHistogram};
use crate::control::meet::Met;
use crate::control::{Build, Offset};
use crate::{Exit, HostSnapshot, Plan, Record, Topology};

/// The name of the shape of a result.
pub const SHARD_FORMAT: &str = "c10k-shard/1";

/// What came of a shard. Times are ns since 1970, UTC, by the clock of its own box.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ShardResult {
    /// [`SHARD_FORMAT`].
    pub format: String,
    /// The name of the run, the same at all shards.
    pub run_id: String,
    /// Which part it was.
    pub shard: Shard,
    /// Which attempt at the run, from 1 on: an engine may have started all shards again.
    pub attempt: u32,
    /// What the place where the shards met has called this attempt; `None` where they did not meet.
    #[serde(default)]
    pub meeting: Option<String>,
    /// The build of the program.
    pub build: Build,
    /// The box.
    pub host: ShardHost,
    /// Its limits before the first connect; `None` where it did not come so far.
    #[serde(default)]
    pub limits: Option<HostSnapshot>,
    /// The server's clock against this box's, at several times; empty where the server gives none.
    #[serde(default)]
    pub clock: Vec<Offset>,
    /// The plan of the whole run; `None` where it did not come so far.
    #[serde(default)]
    pub plan: Option<Plan>,
    /// Whether the list of source addresses in the plan is divided among the shards.
    #[serde(default)]
    pub ips: ShardIps,
    /// The source addresses that it used.
    #[serde(default)]
    pub sources: Vec<SourceRange>,
    /// When the program was started, ns since 1970.
    pub started_unix_ns: u64,
    /// When it began its first connect, ns since 1970; `None` where it began none.
    #[serde(default)]
    pub first_connect_unix_ns: Option<u64>,
    /// When this was written, ns since 1970.
    pub ended_unix_ns: u64,
    /// Counts, failures by errno, times: the record of this part; `None` where it did not begin.
    #[serde(default)]
    pub record: Option<Box<Record>>,
    /// The latencies of the whole part, by kind.
    #[serde(default)]
    pub histograms: Vec<StoredHistogram>,
    /// What it has heard of the others; `None` where they did not meet.
    #[serde(default)]
    pub rendezvous: Option<Met>,
    /// How it ended.
    pub end: ShardEnd,
}

/// The box of a shard, and its process there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardHost {
    /// Its name; empty where it has none.
    pub name: String,
    /// The kernel's random id of its boot; empty where it cannot be read.
    #[serde(default)]
    pub boot_id: String,
    /// The process.
    pub pid: u32,
    /// Processors that it may use.
    #[serde(default)]
    pub cpus: Option<u64>,
    /// RAM of the box, bytes.
    #[serde(default)]
    pub memory_bytes: Option<u64>,
}

/// How a shard ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardEnd {
    /// In a word.
    pub how: HowEnded,
    /// Why, in words; `None` where it went its way to the end.
    #[serde(default)]
    pub why: Option<String>,
    /// The exit code of the program.
    pub exit_code: u8,
}

/// How a shard ended, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HowEnded {
    /// It held its part to the end.
    Held,
    /// It went its way to the end, and held less than its part.
    Short,
    /// A signal or a command stopped it.
    Stopped,
    /// Something it stands on broke.
    Broke,
    /// It did not begin.
    Refused,
}

impl ShardEnd {
    /// Whether it went its way to the end, however much it held.
    #[must_use]
    pub fn came_to_its_end(&self) -> bool {
        matches!(self.how, HowEnded::Held | HowEnded::Short)
    }

    /// The end of a swarm with this record and exit code.
    #[must_use]
    pub fn of(record: &Record, exit: Exit) -> Self {
        let how = match exit {
            Exit::Done => HowEnded::Held,
            Exit::Short => HowEnded::Short,
            Exit::Interrupted | Exit::Terminated => HowEnded::Stopped,
            Exit::BadText | Exit::HostCannot | Exit::Broke => HowEnded::Broke,
        };
        Self { how, why: record.ended_because.clone(), exit_code: exit.code() }
    }

    /// The end of a swarm that did not begin.
    #[must_use]
    pub fn refused(why: String, exit: Exit) -> Self {
        Self { how: HowEnded::Refused, why: Some(why), exit_code: exit.code() }
    }
}

impl ShardResult {
    /// As it is written and sent.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec(self).expect("a result is plain data with text keys");
        bytes.push(b'\n');
        bytes
    }

    /// The offset that is the most certain: that of the shortest round trip.
    #[must_use]
    pub fn offset(&self) -> Option<Offset> {
        self.clock.iter().copied().min_by_key(|clock| clock.round_trip_ns)
    }
}

/// What of the plan of a run is the same at all of its shards: without what each box has of its own, which are ports,
/// workers, where the server is reached and, unless one list is divided, source addresses.
#[must_use]
pub fn common(plan: &Plan, ips: ShardIps) -> Plan {
    let mut common = plan.clone();
    common.topology = Topology::Remote;
    common.server.listen = Vec::new();
    (common.load.ports, common.load.workers) = (None, None);
    common.load.ips = common.load.ips.filter(|_| ips == ShardIps::Divide);
    common
}
