//! The memory of the host and of both processes at one moment.

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
    /// The server's process.
    pub server: Option<ProcessSnapshot>,
    /// The swarm's process.
    pub swarm: Option<ProcessSnapshot>,
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

    #[test]
    fn one_large_table_is_counted_once_and_several_small_ones_together() {
        let shared = ProcessSnapshot { descriptor_slots: vec![16_384; 4], ..Default::default() };
        assert_eq!(shared.table_slots(10_000), 16_384);
        assert_eq!(shared.table_slots(60_000), 65_536);
    }
}
