//! What one tick reads of each source, and what is noted of one that cannot be read.

use c10k_kernel::counters::host_wide::{Neighbours, NeighboursReader};
use c10k_kernel::cpu::{CpuTimes, HostCpu, cores_used};

use super::{Collector, EndGroups, MemoryWatch};
use crate::network::NetworkSeen;
use crate::observation::{
    CpuSeen, GroupSeen, HostMemorySeen, ListenerSeen, NeighboursSeen, Observation, ProcessSeen, SlabSeen,
};
use crate::process::Watched;
use crate::unreadable::UnreadableList;

/// The caches shown at every tick, by the names of their objects.
const SHOWN_SLABS: &[&str] = &[
    "TCP",
    "TCPv6",
    "sock_inode_cache",
    "filp",
    "dentry",
    "eventpoll_epi",
    "eventpoll_pwq",
    "tw_sock_TCP",
    "request_sock_TCP",
    "nf_conntrack",
];

/// The tables of neighbours when the collector began.
#[derive(Clone, Copy)]
pub(super) struct NeighboursFirst {
    ipv4: Option<Neighbours>,
    ipv6: Option<Neighbours>,
}

impl NeighboursFirst {
    pub(super) fn of(tables: &mut NeighboursReader) -> Self {
        Self { ipv4: tables.ipv4(), ipv6: tables.ipv6() }
    }
}

impl Collector {
    pub(super) fn see_memory_groups(&mut self) -> Option<GroupSeen> {
        let mut all: Option<GroupSeen> = None;
        for groups in &mut self.memory_groups {
            let seen = groups.see();
            if seen.is_none() && matches!(groups, MemoryWatch::Groups(..)) {
                // A group goes with its last process.
                let source = "the memory groups of the server";
                self.unreadable.note(
                    source,
                    None,
                    "what is charged to them, and what they refuse, from here on",
                );
            }
            all = match (all, seen) {
                (Some(all), Some(seen)) => Some(all.scarcer(seen)),
                (all, seen) => all.or(seen),
            };
        }
        all
    }

    pub(super) fn see_neighbours(&mut self, seen: &mut Observation) {
        let first = self.neighbours_first;
        let since = |now: Option<Neighbours>, first: Option<Neighbours>| {
            let (entries, table_fulls) = (now?.entries, now?.table_fulls.checked_sub(first?.table_fulls)?);
            Some(NeighboursSeen { entries, table_fulls })
        };
        seen.neighbours = since(self.neighbours.ipv4(), first.ipv4);
        seen.neighbours_ipv6 = since(self.neighbours.ipv6(), first.ipv6);
    }

    pub(super) fn see_groups_of_ends(&mut self, seen: &mut Observation) {
        // One that is not known of one group is not known of all.
        let server = &mut seen.server;
        if !self.server_groups.is_empty() {
            server.throttled = self.server_groups.iter().map(EndGroups::throttled).sum();
            let refused: Vec<_> = self.server_groups.iter_mut().map(EndGroups::threads_refused).collect();
            server.threads_refused = refused.into_iter().sum();
        }
        if let Some(groups) = &mut self.swarm_groups {
            (seen.swarm.throttled, seen.swarm.threads_refused) =
                (groups.throttled(), groups.threads_refused());
        }
    }

    pub(super) fn see_memory(&mut self, partial: &mut bool) -> HostMemorySeen {
        match self.memory.read() {
            Ok(memory) => HostMemorySeen {
                free_bytes: memory.free_bytes,
                available_bytes: memory.available_bytes,
                page_cache_bytes: memory
                    .cached_bytes
                    .zip(memory.buffers_bytes)
                    .map(|(files, disks)| files + disks),
                slab_bytes: memory.slab_bytes,
                slab_unreclaimable_bytes: memory.slab_unreclaimable_bytes,
                page_tables_bytes: memory.page_tables_bytes,
                kernel_stack_bytes: memory.kernel_stack_bytes,
                percpu_bytes: memory.percpu_bytes,
            },
            Err(error) => {
                *partial |= self.memory.file().open_errno().is_none();
                let source = self.memory.file().path().display().to_string();
                self.unreadable.note(source, error.raw_os_error(), "memory of the host");
                HostMemorySeen::default()
            }
        }
    }

    pub(super) fn see_slabs(&mut self) -> Option<Vec<SlabSeen>> {
        match self.slabs.read() {
            Ok(slabs) => {
                let mut shown: Vec<SlabSeen> = Vec::new();
                for name in SHOWN_SLABS {
                    if let Some(slab) = self.slab_names.find(&slabs, name)
                        && shown.iter().all(|seen| seen.name != slab.name)
                    {
                        let (name, objects) = (slab.name.clone(), slab.active_objects);
                        shown.push(SlabSeen { name, objects, bytes: slab.bytes() });
                    }
                }
                Some(shown)
            }
            Err(error) => {
                let source = self.slabs.file().path().display().to_string();
                let unknown = "the exact size of each part of a connection (they are estimated)";
                self.unreadable.note(source, error.raw_os_error(), unknown);
                None
            }
        }
    }

    pub(super) fn see_cpu(&mut self, seconds: f64, partial: &mut bool) -> CpuSeen {
        let host = match self.cpu.read() {
            Ok(host) => host,
            Err(error) => {
                *partial |= self.cpu.file().open_errno().is_none();
                let source = self.cpu.file().path().display().to_string();
                self.unreadable.note(source, error.raw_os_error(), "processor time of the host");
                return CpuSeen::default();
            }
        };
        let (now, idle) = (host.total, self.idle_seconds(&host));
        let idle_last = self.idle_last.replace(idle);
        let Some((last_seconds, last)) = self.cpu_last.replace((seconds, now)) else {
            return CpuSeen::default();
        };
        let cores = |kind: fn(&CpuTimes) -> f64| cores_used(kind(&last), kind(&now), seconds - last_seconds);
        CpuSeen {
            user_cores: cores(|times| times.user_seconds),
            system_cores: cores(|times| times.system_seconds),
            softirq_cores: cores(|times| times.softirq_seconds),
            idle_cores: cores(|times| times.idle_seconds + times.iowait_seconds),
            idle_cores_of_ours: idle_last.and_then(|last| cores_used(last, idle, seconds - last_seconds)),
            steal_cores: cores(|times| times.steal_seconds),
            softirq_seconds: self
                .cpu_first
                .map(|first| (now.softirq_seconds - first.softirq_seconds).max(0.0)),
        }
    }

    /// Idle time of the processors that this process may run on.
    pub(super) fn idle_seconds(&self, host: &HostCpu) -> f64 {
        let ours = host.per_cpu.iter().filter(|(cpu, _)| self.may_run_on(*cpu));
        ours.map(|(_, times)| times.idle_seconds + times.iowait_seconds).sum()
    }

    pub(super) fn see_listeners(&mut self, partial: &mut bool) -> Option<ListenerSeen> {
        if !self.has_ports {
            return None;
        }
        let listeners = match self.ends.server.listeners()? {
            Ok(listeners) => listeners,
            Err(error) => {
                *partial = true;
                self.unreadable.note("sock_diag", error.raw_os_error(), "the listener's accept queue");
                return None;
            }
        };
        let ports = self.ends.server.ports();
        let mut seen = ListenerSeen::default();
        let drops = |is_watched: bool| {
            let them = listeners.iter().filter(|one| ports.holds(one.address.port()) == is_watched);
            them.map(|listener| listener.drops.map(u64::from)).sum()
        };
        (seen.drops, seen.others_drops) = (drops(true), drops(false));
        for listener in listeners.iter().filter(|listener| ports.holds(listener.address.port())) {
            seen.listeners += 1;
            seen.waiting += u64::from(listener.accept_queue);
            seen.accept_queue = seen.accept_queue.max(listener.accept_queue.into());
            let backlog = u64::from(listener.backlog);
            seen.backlog = Some(seen.backlog.map_or(backlog, |smallest| smallest.min(backlog)));
        }
        Some(seen)
    }

    /// Both ends together.
    pub(super) fn see_network(&mut self) -> NetworkSeen {
        // A file that was read at first and is not any more went away in the middle of a run.
        let mut seen = self.ends.server.see(Some(&mut self.unreadable));
        if let Some(end) = &mut self.ends.client {
            seen.with_clients(&end.see(None));
        }
        seen
    }
}

pub(super) fn see(
    watched: &mut Option<Watched>,
    seconds: f64,
    partial: &mut bool,
    unreadable: &mut UnreadableList,
) -> ProcessSeen {
    watched.as_mut().map(|process| process.see(seconds, partial, unreadable)).unwrap_or_default()
}
