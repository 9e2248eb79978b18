//! What a collector says at its end.

use std::collections::BTreeMap;
use std::time::Instant;

use c10k_kernel::census::Census;
use c10k_kernel::pulse::Missed;
use c10k_record::MemoryPerConnection;
use serde::Serialize;

use crate::account::account;
use crate::args::CollectorArgs;
use crate::collector::Collector;
use crate::observation::Observation;
use crate::snapshot::MemorySnapshot;
use crate::unreadable::Unreadable;

const DOCUMENT_VERSION: u32 = 1;

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
    /// The most connections at the server's end of the ports at one tick.
    pub peak_connections: Option<u64>,
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
    /// The states of all sockets at the server's end of the ports when it began.
    pub census_at_start: Option<CensusSeen>,
    /// The states of all sockets at the server's end of the ports when it ended.
    pub census_at_end: Option<CensusSeen>,
    /// What one connection cost, of those that were there at the end and not at the start; null when there were none.
    pub memory_per_connection: Option<MemoryPerConnection>,
    /// What watching cost.
    pub self_cost: SelfCost,
    /// When the collector itself did not run: what was between two ticks then was not looked at.
    pub gaps: Vec<GapSeen>,
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

/// A time in which the collector did not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct GapSeen {
    /// When it began, milliseconds since the collector did.
    pub from_ms: u64,
    /// When the collector ran again.
    pub to_ms: u64,
    /// For how long of that the machine itself was suspended.
    pub suspended_ms: u64,
}

/// A census with the kernel's names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CensusSeen {
    /// Sockets at the server's end by state, those that have any; listeners are none. Without ports, all sockets.
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

impl Document {
    pub(crate) fn begin(args: &CollectorArgs, pid: Option<u32>, collector: &mut Collector) -> Self {
        Self {
            schema_version: DOCUMENT_VERSION,
            tool_version: env!("CARGO_PKG_VERSION"),
            pid,
            swarm_pid: args.swarm_pid,
            ports: args.ports.clone(),
            elapsed_ms: 0,
            ticks: 0,
            partial_ticks: 0,
            longest_tick_us: 0,
            target_ended: false,
            peak_connections: None,
            peak_sockets_in_use: None,
            peak_time_wait: None,
            peak_accept_queue: None,
            peak_descriptors: None,
            peak_conntrack: None,
            last: None,
            census_at_start: collector.census().ok().as_ref().map(CensusSeen::from),
            census_at_end: None,
            memory_per_connection: None,
            self_cost: SelfCost::default(),
            gaps: Vec::new(),
            unreadable: Vec::new(),
        }
    }

    pub(crate) fn add(&mut self, seen: &Observation) {
        self.elapsed_ms = seen.elapsed_ms;
        self.ticks += 1;
        self.partial_ticks += u64::from(seen.partial);
        self.longest_tick_us = self.longest_tick_us.max(seen.tick_us);
        self.peak_connections = self.peak_connections.max(seen.connections);
        self.peak_sockets_in_use = self.peak_sockets_in_use.max(seen.network.sockets.in_use);
        self.peak_time_wait = self.peak_time_wait.max(seen.network.sockets.time_wait);
        self.peak_accept_queue =
            self.peak_accept_queue.max(seen.listener.map(|listener| listener.accept_queue));
        self.peak_descriptors = self.peak_descriptors.max(seen.server.descriptors.map(|open| open.open));
        self.peak_conntrack = self.peak_conntrack.max(seen.network.conntrack_entries);
        self.last = Some(seen.clone());
    }

    /// Keeps when the collector, which began at `start`, did not run.
    pub(crate) fn add_gap(&mut self, missed: &Missed, start: Instant) -> GapSeen {
        let from = missed.began.saturating_duration_since(start);
        let gap = GapSeen {
            from_ms: from.as_millis() as u64,
            to_ms: (from + missed.length).as_millis() as u64,
            suspended_ms: missed.suspended.as_millis() as u64,
        };
        self.gaps.push(gap);
        gap
    }

    pub(crate) fn finish(
        &mut self,
        collector: &mut Collector,
        before: &MemorySnapshot,
        after: Option<&MemorySnapshot>,
    ) {
        self.census_at_end = collector.census().ok().as_ref().map(CensusSeen::from);
        self.unreadable = collector.unreadable().to_vec();
        let (Some(start), Some(end), Some(after)) = (&self.census_at_start, &self.census_at_end, after)
        else {
            return;
        };
        let added = end.server_side.saturating_sub(start.server_side);
        let clients_here = end.client_side.saturating_sub(start.client_side) * 2 > added;
        if added > 0 {
            self.memory_per_connection = Some(account(before, after, added, clients_here));
        }
    }
}
