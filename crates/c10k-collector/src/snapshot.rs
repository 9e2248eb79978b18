//! The memory of the host and of both processes at one moment.

use std::collections::BTreeMap;

use c10k_kernel::memory::{MemInfo, Slab, SlabNames};

/// All that the memory account needs to know of one moment. Taken by [`crate::Collector::snapshot`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MemorySnapshot {
    /// `/proc/meminfo`.
    pub meminfo: Option<MemInfo>,
    /// Free pages on the lists of the CPUs, bytes: free, but not in `MemFree`.
    pub percpu_free_bytes: Option<u64>,
    /// `/proc/slabinfo`; `None` for an ordinary user.
    pub slabs: Option<Vec<Slab>>,
    /// Which slab names stand for one cache; empty where `/sys/kernel/slab` cannot be read.
    pub slab_names: SlabNames,
    /// sockstat `TCP: mem` in bytes, whole host.
    pub socket_buffer_bytes: Option<u64>,
    /// How far sockstat's `mem` may be off, bytes: each CPU keeps up to 1 MiB of the account to itself
    /// (include/net/sock.h, `SK_MEMORY_PCPU_RESERVE`).
    pub socket_buffer_slack_bytes: u64,
    /// The server's processes.
    pub server: Option<ServerMemory>,
    /// The swarm's process.
    pub swarm: Option<ProcessSnapshot>,
}

/// The memory of the processes of a server.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ServerMemory {
    /// Those that listen or hold connections, and those that may come to, by pid and the time they were started.
    pub(crate) processes: BTreeMap<(u32, u64), ProcessInServer>,
    /// Resident memory of every process of the host, up to some hundred KiB off: any may turn out to be the server's.
    pub(crate) rss_bytes_of_all: BTreeMap<(u32, u64), u64>,
    /// Others hold most of the connections, and may not be looked into.
    pub(crate) is_hidden: bool,
}

/// One of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ProcessInServer {
    pub(crate) memory: ProcessSnapshot,
    /// It holds connections, or waits for some.
    pub(crate) is_counted: bool,
    /// How many it holds, where that is known.
    pub(crate) connections: Option<u64>,
}

impl From<ProcessSnapshot> for ServerMemory {
    /// A server of one process.
    fn from(memory: ProcessSnapshot) -> Self {
        let one = ProcessInServer { memory, is_counted: true, connections: None };
        Self { processes: [((0, 0), one)].into(), ..Self::default() }
    }
}

impl ServerMemory {
    /// The memory of one process.
    #[must_use]
    pub fn of(&self, pid: u32) -> Option<&ProcessSnapshot> {
        self.processes.iter().find(|((one, _), _)| *one == pid).map(|(_, process)| &process.memory)
    }

    /// What grew since `before` in the processes that count now, `held` connections in all.
    pub(crate) fn growth_since(&self, before: &Self, held: u64) -> ServerGrowth {
        let counted: Vec<_> = self.processes.iter().filter(|(_, process)| process.is_counted).collect();
        if self.is_hidden || counted.is_empty() {
            return ServerGrowth::default();
        }
        let zero = Some(0);
        let mut sum = ServerGrowth { rss_bytes: zero, anon_bytes: zero, page_table_bytes: zero, slots: zero };
        for (key, process) in &counted {
            let each = if counted.len() == 1 { held } else { process.connections.unwrap_or(held) };
            sum.add(&one_growth(&process.memory, before, **key, each));
        }
        sum
    }
}

/// What the processes of a server grew by, bytes, and slots of their descriptor tables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ServerGrowth {
    pub(crate) rss_bytes: Option<u64>,
    pub(crate) anon_bytes: Option<u64>,
    pub(crate) page_table_bytes: Option<u64>,
    pub(crate) slots: Option<u64>,
}

impl ServerGrowth {
    /// What is not known of one is not known of all.
    fn add(&mut self, one: &Self) {
        let both =
            |sum: &mut Option<u64>, more: Option<u64>| *sum = sum.zip(more).map(|(sum, more)| sum + more);
        both(&mut self.rss_bytes, one.rss_bytes);
        both(&mut self.anon_bytes, one.anon_bytes);
        both(&mut self.page_table_bytes, one.page_table_bytes);
        both(&mut self.slots, one.slots);
    }
}

/// The growth of one process, which need not have been there before, or not have been known.
fn one_growth(now: &ProcessSnapshot, before: &ServerMemory, key: (u32, u64), held: u64) -> ServerGrowth {
    let slots =
        |slots: &ProcessSnapshot| (!slots.descriptor_slots.is_empty()).then(|| slots.table_slots(held));
    if let Some(then) = before.processes.get(&key).map(|process| &process.memory) {
        return ServerGrowth {
            rss_bytes: now.rss_growth_bytes(then),
            anon_bytes: now.anon_growth_bytes(then),
            page_table_bytes: grown(then.page_table_bytes, now.page_table_bytes),
            slots: slots(now).zip(slots(then)).map(|(now, then)| now.saturating_sub(then)),
        };
    }
    match before.rss_bytes_of_all.get(&key) {
        Some(then) => {
            ServerGrowth { rss_bytes: grown(Some(*then), now.rss_bytes), ..ServerGrowth::default() }
        }
        // It was forked since: what it shares with its parent was there before.
        None => ServerGrowth {
            rss_bytes: now.pss_bytes.or(now.anon_bytes),
            anon_bytes: now.exact_anon_bytes.or(now.anon_bytes),
            page_table_bytes: now.page_table_bytes,
            slots: slots(now),
        },
    }
}

/// The memory of one process, bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProcessSnapshot {
    /// `VmRSS`: resident, up to some hundred KiB off.
    pub rss_bytes: Option<u64>,
    /// `RssAnon`: its anonymous part, as inexact.
    pub anon_bytes: Option<u64>,
    /// `Rss` of smaps_rollup: resident, exact.
    pub exact_rss_bytes: Option<u64>,
    /// `Anonymous` of smaps_rollup: its anonymous part, exact.
    pub exact_anon_bytes: Option<u64>,
    /// `Pss` of smaps_rollup: shared pages divided among those who share them.
    pub pss_bytes: Option<u64>,
    /// `VmPTE`: page tables.
    pub page_table_bytes: Option<u64>,
    /// Slots of the descriptor table of each thread (a count).
    pub descriptor_slots: Vec<u64>,
}

impl ProcessSnapshot {
    /// Growth of resident memory since `before`, bytes; 0 when it shrank. Exact when both moments are.
    #[must_use]
    pub fn rss_growth_bytes(&self, before: &Self) -> Option<u64> {
        let exact = grown(before.exact_rss_bytes, self.exact_rss_bytes);
        exact.or_else(|| grown(before.rss_bytes, self.rss_bytes))
    }

    /// Growth of anonymous memory since `before`, bytes; 0 when it shrank. Exact when both moments are.
    #[must_use]
    pub fn anon_growth_bytes(&self, before: &Self) -> Option<u64> {
        let exact = grown(before.exact_anon_bytes, self.exact_anon_bytes);
        exact.or_else(|| grown(before.anon_bytes, self.anon_bytes))
    }

    /// Slots of all descriptor tables that hold the process's `connections`. Threads that share a table look like
    /// threads with tables of one size: when the largest table can hold them all it is taken for the only one.
    #[must_use]
    pub fn table_slots(&self, connections: u64) -> u64 {
        let largest = self.descriptor_slots.iter().copied().max().unwrap_or(0);
        if largest >= connections { largest } else { self.descriptor_slots.iter().sum() }
    }
}

/// Growth between two amounts, never below 0; `None` when one is unknown.
pub(crate) fn grown(before: Option<u64>, after: Option<u64>) -> Option<u64> {
    Some(after?.saturating_sub(before?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exact_figures_are_used_only_when_both_moments_have_them() {
        let before =
            ProcessSnapshot { rss_bytes: Some(100), exact_rss_bytes: Some(90), ..Default::default() };
        let after =
            ProcessSnapshot { rss_bytes: Some(300), exact_rss_bytes: Some(250), ..Default::default() };
        assert_eq!(after.rss_growth_bytes(&before), Some(160));
        let inexact = ProcessSnapshot { rss_bytes: Some(300), ..Default::default() };
        assert_eq!(inexact.rss_growth_bytes(&before), Some(200));
        assert_eq!(before.rss_growth_bytes(&after), Some(0), "a process that shrank cost nothing");
        assert_eq!(after.anon_growth_bytes(&before), None);
    }

    /// A server of these processes: pid, resident and anonymous memory, whether it counts.
    fn server(processes: &[(u32, u64, u64, bool)]) -> ServerMemory {
        let one = |rss: u64, anon: u64, is_counted| ProcessInServer {
            memory: ProcessSnapshot {
                rss_bytes: Some(rss),
                anon_bytes: Some(anon),
                pss_bytes: Some(rss / 2),
                page_table_bytes: Some(10),
                descriptor_slots: vec![64],
                ..ProcessSnapshot::default()
            },
            is_counted,
            connections: Some(1),
        };
        let processes =
            processes.iter().map(|(pid, rss, anon, counts)| ((*pid, 1), one(*rss, *anon, *counts)));
        let processes: BTreeMap<_, _> = processes.collect();
        let rss = processes.iter().map(|(key, one)| (*key, one.memory.rss_bytes.unwrap())).collect();
        ServerMemory { processes, rss_bytes_of_all: rss, is_hidden: false }
    }

    #[test]
    fn growth_is_that_of_those_who_hold_whether_they_were_known_before_or_forked_since() {
        let before = server(&[(10, 500, 50, true), (11, 100, 40, false)]);
        let after = server(&[(10, 900, 60, false), (11, 300, 140, true), (12, 80, 30, true)]);
        let grown = after.growth_since(&before, 2);
        // Of the forked one its proportional share; of the parent that holds nothing, nothing.
        assert_eq!((grown.rss_bytes, grown.anon_bytes), (Some(200 + 40), Some(100 + 30)));
        assert_eq!((grown.page_table_bytes, grown.slots), (Some(10), Some(64)));
        // One that was there and of no interest: only the resident memory of all processes is known.
        let mut unknown = before.clone();
        unknown.processes.remove(&(11, 1));
        let late = server(&[(11, 300, 140, true)]).growth_since(&unknown, 2);
        assert_eq!((late.rss_bytes, late.anon_bytes), (Some(200), None));
        let hidden = ServerMemory { is_hidden: true, ..after };
        assert_eq!(hidden.growth_since(&before, 2), ServerGrowth::default());
    }

    #[test]
    fn one_large_table_is_counted_once_and_several_small_ones_together() {
        let shared = ProcessSnapshot { descriptor_slots: vec![16_384; 4], ..Default::default() };
        assert_eq!(shared.table_slots(10_000), 16_384);
        assert_eq!(shared.table_slots(60_000), 65_536);
    }
}
