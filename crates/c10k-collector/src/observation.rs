//! What one tick saw.

use std::collections::BTreeMap;

use c10k_record::{ProcessInRun, Sample};
use serde::{Deserialize, Serialize};

use crate::network::NetworkSeen;
use crate::snapshot::ServerMemory;

/// Everything that was seen at one tick. `None` is "could not be read".
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Observation {
    /// Milliseconds since the collector began.
    pub elapsed_ms: u64,
    /// A source vanished in the middle of this tick, or could not be read although it could before.
    pub partial: bool,
    /// What the tick itself took, in microseconds.
    pub tick_us: u64,
    /// The server's process; the sums of those that hold its connections, where there are several.
    pub server: ProcessSeen,
    /// Each process of the server: who listens for it and who holds its connections.
    pub processes: Vec<HolderSeen>,
    /// The swarm's process.
    pub swarm: ProcessSeen,
    /// Memory of the whole host.
    pub memory: HostMemorySeen,
    /// Slab caches that connections live in; `None` where `/proc/slabinfo` may not be read.
    pub slabs: Option<Vec<SlabSeen>>,
    /// The network namespaces of both ends, together.
    #[serde(flatten)]
    pub network: NetworkSeen,
    /// The listeners on the watched ports.
    pub listener: Option<ListenerSeen>,
    /// ESTABLISHED sockets at the server's end of the watched ports, where this look counted them.
    pub connections: Option<u64>,
    /// Of the memory groups of the server (without one, of the collector) the one that has least left; of those without
    /// a limit the nearest. `None` where they cannot be read.
    pub cgroup: Option<GroupSeen>,
    /// Processes that the OOM killer ended on the whole host since the collector began, those of groups included.
    pub oom_kills: Option<u64>,
    /// The kernel's table of IPv4's neighbours; `None` outside of the machine's first network namespace.
    pub neighbours: Option<NeighboursSeen>,
    /// The same of IPv6's.
    pub neighbours_ipv6: Option<NeighboursSeen>,
    /// Packets that the kernel dropped since the collector began, by its own name of the reason, on the whole host; `None`
    /// where they cannot be counted.
    pub drops: Option<BTreeMap<String, u64>>,
    /// Processor time of the whole host since the last tick.
    pub cpu: CpuSeen,
}

/// A table of neighbours, of which there is one for all network namespaces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NeighboursSeen {
    /// How many it has.
    pub entries: u64,
    /// How many found no room since the collector began.
    pub table_fulls: u64,
}

/// Memory groups of a process, version 1 or 2: the figures of the one that has least left, and what all of them refused.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupSeen {
    /// The folder of the one that has least left; `None` where none has a limit.
    pub folder: Option<String>,
    /// Its lower limit, bytes.
    pub limit_bytes: Option<u64>,
    /// The file that has it: `memory.max`, `memory.high`, `memory.limit_in_bytes`.
    pub limit_file: Option<String>,
    /// What is charged to it, bytes.
    pub usage_bytes: Option<u64>,
    /// What its limit leaves, page cache counted as left, bytes.
    pub left_bytes: Option<u64>,
    /// What was charged to it when the collector began, bytes.
    pub usage_before_bytes: Option<u64>,
    /// Its part of kernel memory, bytes.
    pub kernel_bytes: Option<u64>,
    /// Its part in slabs, bytes; version 1 does not say.
    pub slab_bytes: Option<u64>,
    /// Its part in socket buffers, bytes.
    pub socket_bytes: Option<u64>,
    /// Times that a limit was hit since the collector began, in the group where that was most often.
    pub failures: Option<u64>,
    /// Times that somebody was put to sleep at `memory.high` since then, likewise.
    pub held_back: Option<u64>,
    /// Processes of the nearest group that the OOM killer ended since then.
    pub oom_kills: Option<u64>,
}

impl GroupSeen {
    /// Of two groups the one that has less left, with what both refused: the OOM killer counts in each by itself.
    pub(crate) fn scarcer(self, other: Self) -> Self {
        let (failures, held_back) = (self.failures.max(other.failures), self.held_back.max(other.held_back));
        let oom_kills = self.oom_kills.zip(other.oom_kills).map(|(one, other)| one + other);
        let left = |group: &Self| group.left_bytes.unwrap_or(u64::MAX);
        let scarcest = if left(&other) < left(&self) { other } else { self };
        Self { failures, held_back, oom_kills, ..scarcest }
    }
}

/// The descriptor tables of one process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DescriptorsSeen {
    /// Descriptors open in all its tables together.
    pub open: u64,
    /// How many tables it has: threads may share one or have their own.
    pub tables: u64,
    /// Descriptors open in the fullest one.
    pub fullest: u64,
    /// Its soft RLIMIT_NOFILE, which bounds each table on its own.
    pub limit: Option<u64>,
    /// Whether the kernel said which threads share a table; else tables were told apart by their sizes, and `open` and
    /// `tables` are lower bounds.
    pub exact: bool,
}

impl DescriptorsSeen {
    /// Whether the process can open nothing more: its only table is full. With several tables it may have room in
    /// another, or open one.
    #[must_use]
    pub fn is_full(&self) -> bool {
        let single = self.tables <= 1 || !self.exact;
        single && self.limit.is_some_and(|limit| self.fullest >= limit)
    }
}

/// One process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ProcessSeen {
    /// Resident memory, bytes.
    pub rss_bytes: Option<u64>,
    /// Its anonymous part, bytes.
    pub rss_anon_bytes: Option<u64>,
    /// Page tables, bytes.
    pub page_table_bytes: Option<u64>,
    /// Threads.
    pub threads: Option<u64>,
    /// The state of its first thread by the kernel's letter: `T` is stopped by a signal.
    pub state: Option<char>,
    /// Its descriptors.
    pub descriptors: Option<DescriptorsSeen>,
    /// Processor time since the last tick, cores.
    pub cores: Option<f64>,
    /// Processor time since the collector began to watch it, seconds.
    pub cpu_seconds: Option<f64>,
    /// Periods in which a cpu cgroup held it back since then; 0 where none can.
    pub throttled: Option<u64>,
    /// Threads that a pids cgroup refused it, or others of that group, since then; 0 where none can.
    pub threads_refused: Option<u64>,
}

impl ProcessSeen {
    /// Whether a signal or a debugger has stopped it: `T`, `t` (proc_pid_stat(5)).
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        matches!(self.state, Some('T' | 't'))
    }
}

/// One process of a server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HolderSeen {
    /// Its pid.
    pub pid: u32,
    /// Its name, as the kernel keeps it.
    pub name: Option<String>,
    /// The inode of a listener of the server that it holds; processes with the same one share a queue.
    pub listener: Option<u32>,
    /// It is one of those that the figures of the server are the sums of.
    pub is_counted: bool,
    /// Accepted connections of the watched ports that it held at the last search for holders; one that several hold
    /// counts for each. `None` where it may not be looked into, or nobody was looked for.
    pub connections: Option<u64>,
    /// `connections` stands on a part of its descriptors.
    pub estimated: bool,
    /// Its figures.
    #[serde(flatten)]
    pub seen: ProcessSeen,
}

impl HolderSeen {
    /// For the record, with what is known of its memory beside its figures.
    #[must_use]
    pub fn in_run(&self, memory: Option<&ServerMemory>) -> ProcessInRun {
        let memory = memory.and_then(|memory| memory.of(self.pid));
        ProcessInRun {
            pid: self.pid,
            name: self.name.clone(),
            listens: self.listener.is_some(),
            counted: self.is_counted,
            connections: self.connections,
            estimated: self.estimated,
            rss_bytes: self.seen.rss_bytes,
            pss_bytes: memory.and_then(|memory| memory.pss_bytes),
            private_bytes: memory.and_then(|memory| memory.exact_anon_bytes.or(memory.anon_bytes)),
            descriptors: self.seen.descriptors.map(|seen| seen.open),
            nofile: self.seen.descriptors.and_then(|seen| seen.limit),
            threads: self.seen.threads,
            cpu_seconds: self.seen.cpu_seconds,
        }
    }
}

/// Memory of the whole host, bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostMemorySeen {
    /// `MemFree`.
    pub free_bytes: Option<u64>,
    /// `MemAvailable`.
    pub available_bytes: Option<u64>,
    /// `Cached` + `Buffers`.
    pub page_cache_bytes: Option<u64>,
    /// `Slab`.
    pub slab_bytes: Option<u64>,
    /// `SUnreclaim`.
    pub slab_unreclaimable_bytes: Option<u64>,
    /// `PageTables`.
    pub page_tables_bytes: Option<u64>,
    /// `KernelStack`.
    pub kernel_stack_bytes: Option<u64>,
    /// `Percpu`.
    pub percpu_bytes: Option<u64>,
}

/// One slab cache.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlabSeen {
    /// Its name; merged caches stand under the first one's.
    pub name: String,
    /// Objects in use.
    pub objects: u64,
    /// Memory it takes, bytes.
    pub bytes: u64,
}

/// The listeners on the watched ports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenerSeen {
    /// How many there are.
    pub listeners: u64,
    /// The longest accept queue among them.
    pub accept_queue: u64,
    /// Connections that wait in all their accept queues together.
    pub waiting: u64,
    /// The smallest bound of an accept queue among them; `None` without listeners.
    pub backlog: Option<u64>,
    /// Packets that they dropped themselves since they were made (`sk_drops`): SYNs and last ACKs for which a queue had
    /// no room, and what a filter on them did not let through. `None` where the kernel does not say.
    pub drops: Option<u64>,
    /// The same of all other listeners of the namespace.
    pub others_drops: Option<u64>,
}

impl ListenerSeen {
    /// Whether an accept queue of theirs has reached its bound: nobody gets into it before the server accepts.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.backlog.is_some_and(|most| most > 0 && self.accept_queue >= most)
    }
}

/// Processor time of the whole host since the last tick, in cores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CpuSeen {
    /// In user space.
    pub user_cores: Option<f64>,
    /// In system calls and kernel threads.
    pub system_cores: Option<f64>,
    /// In software interrupts.
    pub softirq_cores: Option<f64>,
    /// Idle, waiting for a disk included.
    pub idle_cores: Option<f64>,
    /// The same of the processors alone that this process may run on.
    pub idle_cores_of_ours: Option<f64>,
    /// Given by the hypervisor to another machine.
    pub steal_cores: Option<f64>,
    /// In software interrupts since the collector began, seconds.
    pub softirq_seconds: Option<f64>,
}

impl Observation {
    /// Writes what was seen into a row of the record. The fields that only a swarm or a server can know, the row's time
    /// and its phase are left as they are.
    pub fn fill(&self, row: &mut Sample) {
        row.server_rss_bytes = self.server.rss_bytes;
        row.swarm_rss_bytes = self.swarm.rss_bytes;
        row.slab_bytes = self.memory.slab_bytes;
        row.mem_free_bytes = self.memory.free_bytes;
        row.mem_available_bytes = self.memory.available_bytes;
        row.page_cache_bytes = self.memory.page_cache_bytes;
        row.sockets_in_use = self.network.sockets.in_use;
        row.time_wait = self.network.sockets.time_wait;
        row.orphans = self.network.sockets.orphans;
        row.tcp_mem_pages = self.network.sockets.mem_pages;
        row.listen_overflows = self.counter("ListenOverflows");
        row.listen_drops = self.counter("ListenDrops");
        row.syn_queue_full = match (self.counter("TCPReqQFullDoCookies"), self.counter("TCPReqQFullDrop")) {
            (None, None) => None,
            (cookies, drops) => Some(cookies.unwrap_or(0) + drops.unwrap_or(0)),
        };
        row.syn_retransmits = self.counter("TCPSynRetrans");
        row.accept_queue = self.listener.map(|listener| listener.accept_queue);
        row.softnet_dropped = self.network.softnet_dropped;
        row.files_in_use = self.network.files_in_use;
        row.server_cores = self.server.cores;
        row.swarm_cores = self.swarm.cores;
        row.softirq_cores = self.cpu.softirq_cores;
        row.idle_cores = self.cpu.idle_cores_of_ours;
        row.drops = self.drops.as_ref().map(in_a_cell);
        row.partial |= self.partial;
    }

    /// Growth of a kernel counter since the collector began, by the kernel's name.
    #[must_use]
    pub fn counter(&self, kernel_name: &str) -> Option<u64> {
        self.network.counter(kernel_name)
    }
}

/// What was dropped, as a cell of samples.csv.
fn in_a_cell(drops: &BTreeMap<String, u64>) -> String {
    let parts: Vec<String> = drops
        .iter()
        .filter(|(_, count)| **count > 0)
        .map(|(name, count)| format!("{name}={count}"))
        .collect();
    if parts.is_empty() { "none".to_owned() } else { parts.join(";") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_takes_over_what_was_seen_and_keeps_what_the_swarm_said() {
        let mut seen = Observation { partial: true, ..Observation::default() };
        seen.network.files_in_use = Some(7);
        seen.network.counters.insert("ListenOverflows", 3);
        seen.network.counters.insert("TCPReqQFullDrop", 2);
        let mut row = Sample { attempted: Some(9), elapsed_ms: 5, ..Sample::default() };
        seen.fill(&mut row);
        assert_eq!((row.attempted, row.elapsed_ms), (Some(9), 5));
        assert_eq!((row.listen_overflows, row.syn_queue_full, row.listen_drops), (Some(3), Some(2), None));
        assert!(row.partial);
    }

    #[test]
    fn a_cell_names_what_was_dropped_and_says_none_where_nothing_was() {
        let drops = |filtered: u64| {
            BTreeMap::from([("NETFILTER_DROP".to_owned(), filtered), ("IP_RPFILTER".to_owned(), 0)])
        };
        assert_eq!(in_a_cell(&drops(7)), "NETFILTER_DROP=7");
        assert_eq!(in_a_cell(&drops(0)), "none");
    }
}
