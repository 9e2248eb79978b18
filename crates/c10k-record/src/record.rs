//! The record of a run: all that was seen.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::{
    AtServerEnd, Baseline, Ceiling, ClockLook, Connections, Failure, Gap, GrowthEvidence, GrowthStop, Host,
    InShards, Latencies, LatencySummary, MemoryPerConnection, MetOnTheWay, NamedPhase, PhaseName, Plan,
    Predicted, ProcessInRun, ProfileInRun, Protocol, Remedy, RunEvidence, SCHEMA_VERSION, ServerReport,
    Topology, TwoHosts, Verdict, Warning, Worked, Workload,
};

/// `record.json`.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// The name of the run's folder, or of the process for a swarm on its own.
    pub run_id: String,
    /// RFC 3339, UTC.
    pub started_at: String,
    /// RFC 3339, UTC; `None` while it runs.
    pub ended_at: Option<String>,
    /// How it ended.
    pub state: RunState,
    /// Who was lost or what stopped the run, in words; `None` for a run that went its way.
    pub ended_because: Option<String>,
    /// The program that wrote it.
    pub tool: Tool,
    /// The machine; `None` where the writer does not describe it.
    pub host: Option<Host>,
    /// The profile, and which of its settings are in force.
    pub profile: ProfileInRun,
    /// Where the ends stood.
    pub topology: Topology,
    /// What was spoken.
    pub protocol: Protocol,
    /// What the connections did.
    pub workload: Workload,
    /// The resolved plan; `None` for a swarm on its own, whose flags are in `command`.
    pub plan: Option<Plan>,
    /// The command line.
    pub command: Vec<String>,
    /// The counts.
    pub connections: Connections,
    /// The lost connections by phase.
    pub failures: Vec<Failure>,
    /// Why the swarm tried no more before its target; `None` when it tried all.
    #[serde(default)]
    pub growth_stopped: Option<GrowthStop>,
    /// What was seen when it stopped; `None` when it tried all, and in older records.
    #[serde(default)]
    pub growth_evidence: Option<GrowthEvidence>,
    /// Source addresses that were there before the first connect and were on no device at the end; `None` where nothing gave
    /// a reason to look.
    #[serde(default)]
    pub sources_gone: Option<Vec<IpAddr>>,
    /// What was looked at beside the counters.
    #[serde(default)]
    pub evidence: RunEvidence,
    /// How fast it went.
    pub rate: Rate,
    /// Latencies, µs.
    pub latency_us: Latencies,
    /// How much later than intended the swarm began its connects, µs: its own lateness, and no part of
    /// `latency_us.connect`. `None` in a closed loop, which intends none.
    #[serde(default)]
    pub lateness_us: Option<LatencySummary>,
    /// What a connection cost.
    pub memory_per_connection: MemoryPerConnection,
    /// TIME_WAIT sockets.
    pub time_wait: TimeWait,
    /// Processor time.
    pub cpu: Cpu,
    /// When the phases began and ended.
    pub phases: Vec<PhaseTimes>,
    /// The phases that the plan names, in their order; empty where it names none.
    #[serde(default)]
    pub named_phases: Vec<NamedPhase>,
    /// What came of each phase in which connections did something; empty for `hold`.
    #[serde(default)]
    pub work: Vec<Worked>,
    /// When a process of the run did not run: it was stopped, or its machine was.
    #[serde(default)]
    pub gaps: Vec<Gap>,
    /// The processes that listen for the server or hold its connections; empty where they were not looked for.
    #[serde(default)]
    pub processes: Vec<ProcessInRun>,
    /// The hosts of both ends, where they are two (topology `remote`); `None` where both stand on one, and in older records.
    #[serde(default)]
    pub two_hosts: Option<TwoHosts>,
    /// How the clocks of the two hosts stood to each other; empty where there is one.
    #[serde(default)]
    pub clock: Vec<ClockLook>,
    /// The server's last word; `None` where the server is not ours.
    pub server: Option<ServerReport>,
    /// What stopped the run short or broke a verdict; `None` when the target was reached and all verdicts passed,
    /// unless a limit was met that costs no connection.
    pub ceiling: Option<Ceiling>,
    /// The nearest limit above what was held, as the limits of the machine and the plan say; `None` where the run met a wall,
    /// where no limit is known, and in older records.
    #[serde(default)]
    pub wall_ahead: Option<Predicted>,
    /// Limits that were met and recovered from: they cost time, and no connection.
    #[serde(default)]
    pub met_on_the_way: Vec<MetOnTheWay>,
    /// The shards that carried it out; `None` of a run that one swarm carried out, and in older records.
    #[serde(default)]
    pub shards: Option<InShards>,
    /// The run that this one was compared with; `None` where none was named, and in older records.
    #[serde(default)]
    pub baseline: Option<Baseline>,
    /// The verdicts.
    pub verdicts: Vec<Verdict>,
    /// What the reader should know.
    pub warnings: Vec<Warning>,
    /// What the run cannot show, and how it would be shown: for who reads all of the record.
    #[serde(default)]
    pub notes: Vec<Warning>,
}

/// The time of day as records have it: RFC 3339, UTC, to the second.
#[must_use]
pub fn utc_now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

impl Record {
    /// Takes in what the kernel had at the server's end before the close: see [`Connections::confirm`].
    pub fn confirm(&mut self, seen: AtServerEnd, at_ms: u64) {
        let rows = self.connections.confirm(seen, at_ms);
        self.failures.extend(rows);
    }

    /// Makes the lines of all remedies those that root pastes.
    pub fn make_remedies_roots(&mut self) {
        let ceiling = self.ceiling.iter_mut();
        let of_ceiling = ceiling.flat_map(|ceiling| {
            ceiling.remedy.iter_mut().chain(ceiling.walls.iter_mut().filter_map(|wall| wall.remedy.as_mut()))
        });
        let met = self.met_on_the_way.iter_mut().filter_map(|met| met.remedy.as_mut());
        of_ceiling.chain(met).for_each(Remedy::make_roots);
    }

    /// The warning that what is held stands on the client's word alone; `None` where more stands behind it, or nothing
    /// is held.
    #[must_use]
    pub fn unconfirmed(&self) -> Option<Warning> {
        let c = &self.connections;
        (!c.is_confirmed() && c.held > 0).then(|| {
            let text = "the server's end of the connections cannot be seen from here, and none was asked for an echo: \
                        held is what is open at the client, and the verdicts judge by that";
            Warning::new("held-unconfirmed", text)
        })
    }

    /// An identity that must hold at the end of a run and does not, in words.
    #[must_use]
    pub fn broken_identity(&self) -> Option<String> {
        let c = &self.connections;
        let lost = c.failed_total();
        if c.attempted != c.held + c.released + lost {
            return Some(format!(
                "attempted {} is not held {} + released {} + failed {lost}",
                c.attempted, c.held, c.released
            ));
        }
        let verified = c.verified.unwrap_or(c.established);
        if c.established > c.attempted || verified > c.established || c.held > verified {
            return Some(format!(
                "the counts are out of order: attempted {}, established {}, verified {verified}, held {}",
                c.attempted, c.established, c.held
            ));
        }
        let in_detail: u64 = self.failures.iter().map(|failure| failure.count).sum();
        (in_detail != lost).then(|| format!("failures in detail sum to {in_detail}, failed to {lost}"))
    }
}

/// How a run ended.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunState {
    /// It is going on, or its writer was killed: the file was never finished.
    Unfinished,
    /// It went its way to the end, whatever the verdicts say.
    Complete,
    /// A signal or a command stopped it early.
    Aborted,
    /// Something it stands on broke: a process was killed, the disk was full.
    Broken,
}

/// The program that wrote a record.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tool {
    /// `c10k-lab` or `c10k-swarm`.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// How fast it went.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Rate {
    /// Verified connections a second (established ones where probes are off).
    pub connects_per_second: ConnectRate,
    /// Echoes a second during the last proof of all connections.
    pub messages_per_second: Option<f64>,
}

/// Connections a second.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ConnectRate {
    /// verified ÷ (last verified − first connect). The pauses between steps are part of that time.
    pub mean: Option<f64>,
    /// The same without those pauses: verified ÷ Σ of each step's (last verified − first connect).
    #[serde(default)]
    pub without_pauses: Option<f64>,
    /// The best interval between two ticks, or the best step as a whole where that is faster.
    pub peak: Option<f64>,
}

/// TIME_WAIT sockets of this namespace.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeWait {
    /// Most that were seen.
    pub peak: Option<u64>,
    /// After the close.
    pub at_end: Option<u64>,
}

/// Processor time in the ramp: from the first connect until the last one was proven or lost, without the pauses between
/// steps. However long the run holds makes no difference.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cpu {
    /// How long that was, µs.
    #[serde(default)]
    pub ramp_us: Option<u64>,
    /// The server's.
    pub server_cores: Option<f64>,
    /// The swarm's.
    pub swarm_cores: Option<f64>,
    /// In softirq, on the whole host.
    pub softirq_cores: Option<f64>,
    /// Processor time of the server ÷ accepted, µs.
    pub server_us_per_connection: Option<f64>,
    /// Processor time of the swarm ÷ attempted, µs.
    pub swarm_us_per_connection: Option<f64>,
}

/// When a phase began and ended, milliseconds since the first connect.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PhaseTimes {
    /// Which.
    pub phase: PhaseName,
    /// Its begin.
    pub from_ms: u64,
    /// Its end; `None` while it goes on.
    pub to_ms: Option<u64>,
}

/// A record with nothing seen yet, for tests of this room.
#[cfg(test)]
pub(crate) fn sample_record() -> Record {
    Record::begun(
        Tool { name: "c10k-lab".to_owned(), version: "0".to_owned() },
        "test".to_owned(),
        Topology::Loopback,
        Protocol::Raw,
        Workload::Hold,
    )
}

impl Record {
    /// A record of a run that begins now and has seen nothing.
    #[must_use]
    pub fn begun(
        tool: Tool,
        run_id: String,
        topology: Topology,
        protocol: Protocol,
        workload: Workload,
    ) -> Self {
        Self {
            schema_version: SCHEMA_VERSION,
            run_id,
            started_at: utc_now(),
            ended_at: None,
            state: RunState::Unfinished,
            ended_because: None,
            tool,
            host: None,
            profile: ProfileInRun::default(),
            topology,
            protocol,
            workload,
            plan: None,
            command: Vec::new(),
            connections: Connections::default(),
            failures: Vec::new(),
            growth_stopped: None,
            growth_evidence: None,
            sources_gone: None,
            evidence: RunEvidence::default(),
            rate: Rate::default(),
            latency_us: Latencies::default(),
            lateness_us: None,
            memory_per_connection: MemoryPerConnection::default(),
            time_wait: TimeWait::default(),
            cpu: Cpu::default(),
            phases: Vec::new(),
            named_phases: Vec::new(),
            work: Vec::new(),
            gaps: Vec::new(),
            processes: Vec::new(),
            two_hosts: None,
            clock: Vec::new(),
            server: None,
            ceiling: None,
            wall_ahead: None,
            met_on_the_way: Vec::new(),
            shards: None,
            baseline: None,
            verdicts: Vec::new(),
            warnings: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Sets the end of the run to now and its state.
    pub fn end(&mut self, state: RunState) {
        self.ended_at = Some(utc_now());
        self.state = state;
    }
}
