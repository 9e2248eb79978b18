//! The host of a run, for the record's header and for the walls.

use c10k_kernel::cgroup::{CgroupVersion, MemoryGroups};
use c10k_kernel::counters::ProcRoot;
use c10k_kernel::memory::MemInfoReader;
use c10k_kernel::sysctl::SysctlRoot;
use c10k_kernel::virtualization::virtualization;
use c10k_kernel::{limits, process};
use c10k_profile::{NofileLimit, Profile};
use c10k_record::{Host, HostSnapshot, ServerEvent, SwarmEvent};

/// What version 1 of the memory cgroup charges for an idle connection with both ends in the group, bytes: measured on
/// Linux 6.18 with 120,000 of them. Version 2 was not measured.
const CHARGED_BY_VERSION_1: u64 = 5_630;

/// Describes the machine.
pub(crate) fn describe(limits: HostSnapshot, root: bool) -> Host {
    let mut system = sysinfo::System::new().ok();
    if let Some(system) = &mut system {
        system.refresh_memory();
        system.refresh_cpu_list(sysinfo::CpuRefreshKind::nothing());
    }
    let brand = system.as_ref().and_then(|system| Some(system.cpus().first()?.brand().trim().to_owned()));
    Host {
        os: sysinfo::System::long_os_version().ok(),
        kernel: sysinfo::System::kernel_version().ok(),
        cpu: brand.filter(|brand| !brand.is_empty()),
        cpus: process::cpus_allowed() as u64,
        memory_bytes: system.map_or(0, |system| system.total_memory()),
        root,
        virtualization: virtualization(&ProcRoot::default()),
        limits,
    }
}

/// The limits of this place under this profile, before the run.
///
/// `root` is whether the lab was started by root: inside a user namespace everybody looks like it.
pub(crate) fn snapshot(profile: &Profile, root: bool) -> HostSnapshot {
    let nofile = limits::nofile().ok();
    // What the children will have: the profile's word, else the hard limit.
    let soft = nofile.map(|limit| match profile.limits.nofile {
        Some(NofileLimit::AtLeast(wanted)) => wanted.max(limit.soft).min(limit.hard),
        Some(NofileLimit::Hard) | None => limit.hard,
    });
    let own_tables = c10k_kernel::descriptors::own_tables_possible().is_ok();
    let mut here = c10k_collector::host_snapshot();
    complete(&mut here);
    // Nothing is tracked before a rule asks for it; where one does there are entries.
    let tracks = here.conntrack_entries.is_some_and(|entries| entries > 0);
    forget_conntrack_unless(tracks, &mut here);
    HostSnapshot {
        server_nofile: soft,
        swarm_nofile: soft,
        server_tables: own_tables,
        swarm_tables: own_tables,
        file_max_bypassed: root && here.file_max_bypassed,
        backlog: profile.socket.backlog.map(u64::from),
        ..here
    }
}

/// Takes a ready server's word on its tables and its backlog; `asked` is the most connections it was told to take.
pub(crate) fn note_server(limits: &mut HostSnapshot, ready: &ServerEvent, asked: Option<u64>) {
    /// Descriptors of a worker's own table that are no connections, and its reserve.
    const NO_CONNECTIONS: u64 = 16;
    let ServerEvent::Ready { own_tables, descriptors_per_table, max_connections, backlog, .. } = ready else {
        return;
    };
    limits.server_tables = *own_tables;
    limits.server_per_table = if *own_tables {
        descriptors_per_table.checked_sub(NO_CONNECTIONS)
    } else {
        // Of its one table it says exactly what it takes.
        max_connections.filter(|most| asked.is_none_or(|asked| asked > *most))
    };
    limits.backlog = Some(u64::from(*backlog));
}

/// The same of a ready swarm.
pub(crate) fn note_swarm(limits: &mut HostSnapshot, ready: &SwarmEvent) {
    if let SwarmEvent::Ready { own_tables, connections_per_table, .. } = ready {
        limits.swarm_tables = *own_tables;
        limits.swarm_per_table = Some(*connections_per_table);
    }
}

/// Adds what is known of memory beside what is available.
pub(crate) fn complete(host: &mut HostSnapshot) {
    let root = ProcRoot::default();
    host.memory_total_bytes = MemInfoReader::open(&root).read().ok().and_then(|memory| memory.total_bytes);
    let version = MemoryGroups::of(&root, None).ok().flatten().map(|groups| groups.version());
    let is_limited = host.cgroup_memory_bytes.is_some();
    host.cgroup_connection_bytes =
        (is_limited && version == Some(CgroupVersion::V1)).then_some(CHARGED_BY_VERSION_1);
}

/// The table of tracked connections bounds nothing where nothing is tracked.
pub(crate) fn forget_conntrack_unless(tracks: bool, host: &mut HostSnapshot) {
    if !tracks {
        (host.conntrack_max, host.conntrack_entries) = (None, None);
    }
}

/// Connections tracked in this namespace; `None` where the kernel cannot track.
pub(crate) fn conntrack_count() -> Option<u64> {
    SysctlRoot::default().read("net.netfilter.nf_conntrack_count").ok()?.trim().parse().ok()
}
