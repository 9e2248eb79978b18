//! What a look saw, as figures for Prometheus.

use c10k_kernel::memory::page_bytes;
use c10k_record::HostSnapshot;
use c10k_record::metrics::{Figures, SERVER, SWARM, family};

use crate::observation::{Observation, ProcessSeen};

impl Observation {
    /// Tells all that figures have a family for.
    pub fn tell(&self, figures: &mut Figures) {
        tell_process(figures, SERVER, &self.server);
        tell_process(figures, SWARM, &self.swarm);
        if let Some(listener) = self.listener {
            figures.count(&family::ACCEPT_QUEUE, &[], listener.accept_queue);
            figures.count(&family::ACCEPT_QUEUE_LIMIT, &[], listener.backlog);
        }
        self.tell_network(figures);
        let memory = &self.memory;
        figures.count(&family::MEMORY_FREE, &[], memory.free_bytes);
        figures.count(&family::MEMORY_AVAILABLE, &[], memory.available_bytes);
        figures.count(&family::PAGE_CACHE, &[], memory.page_cache_bytes);
        figures.count(&family::SLAB, &[], memory.slab_bytes);
        figures.count(&family::OOM_KILLS, &[], self.oom_kills);
        figures.measure(&family::SOFTIRQ, &[], self.cpu.softirq_seconds);
        figures.measure(&family::LOOK, &[], self.tick_us as f64 / 1e6);
        figures.count(&family::PARTIAL, &[], u64::from(self.partial));
    }

    fn tell_network(&self, figures: &mut Figures) {
        let syn_queue_full = ["TCPReqQFullDoCookies", "TCPReqQFullDrop"].map(|name| self.counter(name));
        let network = &self.network;
        for (family, count) in [
            (&family::LISTEN_OVERFLOWS, self.counter("ListenOverflows")),
            (&family::LISTEN_DROPS, self.counter("ListenDrops")),
            (&family::SYN_QUEUE_FULL, syn_queue_full.into_iter().flatten().reduce(|one, other| one + other)),
            (&family::SYN_RETRANSMITS, self.counter("TCPSynRetrans")),
            (&family::SOFTNET_DROPS, network.softnet_dropped),
            (&family::SOCKETS, network.sockets.in_use),
            (&family::TIME_WAIT, network.sockets.time_wait),
            (&family::ORPHANS, network.sockets.orphans),
            (&family::TCP_MEMORY, network.sockets.mem_pages.map(|pages| pages * page_bytes())),
            (&family::FILES, network.files_in_use),
            (&family::FILES_LIMIT, network.files_max),
            (&family::CONNTRACK, network.conntrack_entries),
            (&family::CONNTRACK_LIMIT, network.conntrack_entries.and(network.conntrack_max)),
        ] {
            figures.count(family, &[], count);
        }
    }
}

/// Tells limits that stand as they were read once. `namespace_is_ours`: of another network namespace nothing is told
/// that is its own.
pub fn tell_limits(host: &HostSnapshot, namespace_is_ours: bool, figures: &mut Figures) {
    let limit = host.tcp_mem_pages.map(|[_, _, most]| most.saturating_mul(page_bytes()));
    figures.count(&family::TCP_MEMORY_LIMIT, &[], limit);
    if namespace_is_ours {
        let ports = host.port_range.map(|(first, last)| u64::from(last.saturating_sub(first)) + 1);
        let ports = ports.map(|ports| ports.saturating_sub(host.reserved_ports.unwrap_or(0)));
        figures.count(&family::LOCAL_PORTS, &[], ports);
    }
}

fn tell_process(figures: &mut Figures, end: &str, seen: &ProcessSeen) {
    figures.tell_process(end, seen.rss_bytes, seen.cpu_seconds);
    figures.count(&family::THREADS, &[end], seen.threads);
    if let Some(descriptors) = seen.descriptors {
        figures.count(&family::TABLES, &[end], descriptors.tables);
        figures.count(&family::DESCRIPTORS, &[end], descriptors.open);
        figures.count(&family::FULLEST, &[end], descriptors.fullest);
        figures.count(&family::DESCRIPTOR_LIMIT, &[end], descriptors.limit);
    }
}
