//! The memory that is left: what it holds, and when a run must end for its sake.

use std::time::{Duration, Instant};

use c10k_ceiling::memory_reserve_bytes;
use c10k_kernel::counters::ProcRoot;
use c10k_kernel::memory::{MemInfo, MemInfoReader};
use c10k_record::HostSnapshot;

use crate::calibrate::object_bytes;
use crate::run::Signals;

/// Between two looks at the memory that is left.
const LOOK: Duration = Duration::from_millis(100);
/// Kernel and user memory of one pair where the sizes of the objects cannot be read.
const PAIR_BYTES: u64 = 8_500;

/// What ends a run early: a signal, or memory that comes to its end.
pub(super) struct Guard<'a> {
    pub(super) signals: &'a Signals,
    pub(super) reserve: u64,
    pub(super) last: Option<Instant>,
    pub(super) low: bool,
}

impl Guard<'_> {
    pub(super) fn says_stop(&mut self) -> bool {
        if self.last.is_none_or(|last| last.elapsed() >= LOOK) {
            self.last = Some(Instant::now());
            let left = memory().and_then(|memory| memory.available_bytes);
            self.low |= left.is_some_and(|left| left < self.reserve);
        }
        self.low || self.signals.came()
    }
}

pub(super) fn memory() -> Option<MemInfo> {
    MemInfoReader::open(&ProcRoot::default()).read().ok()
}

/// The memory cgroup of this process: its limit and what is charged to it, where it is limited.
pub(super) fn group() -> HostSnapshot {
    let mut host = c10k_collector::host_snapshot();
    crate::host::complete(&mut host);
    host
}

/// How many pairs fit into what is available, here and in the group of this process, and the reserve that is kept
/// for that, bytes.
pub(super) fn room(memory: &MemInfo, group: &HostSnapshot) -> Option<(u64, u64)> {
    let reserve = memory_reserve_bytes(memory.total_bytes?);
    let mut room = (memory.available_bytes?.saturating_sub(reserve), reserve);
    if let Some(limit) = group.cgroup_memory_bytes {
        let reserve = memory_reserve_bytes(limit);
        let taken = group.cgroup_memory_used_bytes.unwrap_or(0).saturating_add(reserve);
        room = room.min((limit.saturating_sub(taken), reserve));
    }
    let each = object_bytes().map_or(PAIR_BYTES, |(server, client)| server + client);
    Some((room.0 / each.max(1), room.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reserve_is_kept_out_of_what_the_memory_holds() {
        let all = |available| MemInfo {
            total_bytes: Some(24 << 30),
            available_bytes: Some(available),
            ..MemInfo::default()
        };
        let reserve = memory_reserve_bytes(24 << 30);
        let free = HostSnapshot::default();
        assert_eq!(room(&all(reserve), &free), Some((0, reserve)));
        assert!(room(&all(20 << 30), &free).is_some_and(|room| room.0 > 1_000_000));
        assert_eq!(room(&MemInfo::default(), &free), None);
        let limited = HostSnapshot { cgroup_memory_bytes: Some(1 << 30), ..HostSnapshot::default() };
        let (pairs, reserve) = room(&all(20 << 30), &limited).expect("both are known");
        assert!(pairs < 130_000 && reserve == memory_reserve_bytes(1 << 30));
    }
}
