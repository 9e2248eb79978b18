//! The limits of this place, read once before a run.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};

use c10k_kernel::census::{PortSet, SockDiag};
use c10k_kernel::cgroup::{MemoryGroups, PidsGroup};
use c10k_kernel::counters::ProcRoot;
use c10k_kernel::limits::{self, Cap, Resource};
use c10k_kernel::memory::MemInfoReader;
use c10k_kernel::namespace;
use c10k_kernel::sysctl::SysctlRoot;
use c10k_kernel::tables::{TablesInUse, TablesReader};
use c10k_record::HostSnapshot;

/// Reads every limit that the host, this network namespace and this process's memory group set. What belongs to the two
/// ends (`server_nofile`, `swarm_nofile`, `server_tables`, `swarm_tables`, `backlog`) is left empty: who knows the ends
/// fills it in.
#[must_use]
pub fn host_snapshot() -> HostSnapshot {
    snapshot_at(&ProcRoot::default())
}

/// The ends here of the sockets in TIME_WAIT towards one of `ports`, in the network namespace of the calling thread;
/// `None` where sock_diag does not tell. Costs about 0.4 µs a socket of the whole host.
#[must_use]
pub fn time_wait_towards(ports: &[u16]) -> Option<Vec<SocketAddr>> {
    SockDiag::open().ok()?.time_wait_towards(&PortSet::of(ports)).ok()
}

/// How many sockets are in TIME_WAIT here towards one of `ports`, and how many at one of them, in the network namespace
/// of the calling thread; `None` where sock_diag does not tell. Costs as [`time_wait_towards`].
#[must_use]
pub fn time_wait_by_end(ports: &[u16]) -> Option<(u64, u64)> {
    SockDiag::open().ok()?.time_wait_by_end(&PortSet::of(ports)).ok()
}

/// How many of these ends in TIME_WAIT keep a port from a plan: those with a port of its window, first and last, at one
/// of its sources; `None` = at whatever address.
#[must_use]
pub fn ports_kept(ends: &[SocketAddr], (first, last): (u16, u16), sources: Option<&[IpAddr]>) -> u64 {
    let sources = sources.map(|sources| sources.iter().collect::<HashSet<_>>());
    let is_a_source = |end: &SocketAddr| sources.as_ref().is_none_or(|sources| sources.contains(&end.ip()));
    let keeps = |end: &&SocketAddr| (first..=last).contains(&end.port()) && is_a_source(end);
    ends.iter().filter(keeps).count() as u64
}

fn snapshot_at(root: &ProcRoot) -> HostSnapshot {
    let sysctl = SysctlRoot::at(root.path("proc/sys"));
    let number = |key: &str| sysctl.numbers(key)?.first().copied();
    let port_range = sysctl.local_port_range();
    let reserved = sysctl.read("net.ipv4.ip_local_reserved_ports").ok();
    let mut groups = MemoryGroups::of(root, None).ok().flatten();
    let version = groups.as_ref().map(MemoryGroups::version);
    let scarcest = groups.as_mut().and_then(MemoryGroups::scarcest);
    let limit = scarcest.as_ref().zip(version).and_then(|((group, _), version)| group.limit(version));
    let pids = PidsGroup::of(root, None).ok().flatten().map(|group| group.read()).unwrap_or_default();
    let (nofile, nproc) = (limits::nofile().ok(), limits::nproc().ok());
    HostSnapshot {
        nofile_hard: nofile.map(|limit| limit.hard),
        nofile_soft: nofile.map(|limit| limit.soft),
        may_raise_nofile: may_raise_nofile(root),
        nr_open: sysctl.nr_open(),
        file_max: number("fs.file-max"),
        files_in_use: number("fs.file-nr"),
        file_max_bypassed: passes_file_max(root),
        port_range,
        reserved_ports: port_range.zip(reserved).map(|(range, list)| reserved_in(&list, range)),
        somaxconn: number("net.core.somaxconn"),
        max_syn_backlog: number("net.ipv4.tcp_max_syn_backlog"),
        max_tw_buckets: number("net.ipv4.tcp_max_tw_buckets"),
        tw_reuse: number("net.ipv4.tcp_tw_reuse"),
        timestamps: number("net.ipv4.tcp_timestamps"),
        netdev_max_backlog: number("net.core.netdev_max_backlog"),
        tcp_mem_pages: sysctl.numbers("net.ipv4.tcp_mem").and_then(|list| list.try_into().ok()),
        max_orphans: number("net.ipv4.tcp_max_orphans"),
        epoll_watches: number("fs.epoll.max_user_watches"),
        conntrack_max: number("net.netfilter.nf_conntrack_max"),
        conntrack_entries: number("net.netfilter.nf_conntrack_count"),
        memory_available_bytes: MemInfoReader::open(root)
            .read()
            .ok()
            .and_then(|memory| memory.available_bytes),
        cgroup_memory_bytes: limit.map(|(bytes, _)| bytes),
        cgroup_memory_file: limit.map(|(_, file)| file.to_owned()),
        cgroup_memory_used_bytes: scarcest.as_ref().and_then(|(group, _)| group.charged_bytes()),
        cgroup_memory_folder: scarcest.map(|(_, folder)| folder.display().to_string()),
        nproc: nproc.map(|limit| limit.soft),
        nproc_hard: nproc.map(|limit| limit.hard),
        nproc_bypassed: passes_nproc(root),
        pids_max: pids.max,
        pids_current: pids.current,
        pids_folder: pids.folder.map(|folder| folder.display().to_string()),
        threads_max: number("kernel.threads-max"),
        other: ["net.ipv4.tcp_syncookies"]
            .into_iter()
            .filter_map(|key| Some((key.to_owned(), sysctl.read(key).ok()?)))
            .collect(),
        ..HostSnapshot::default()
    }
}

/// CAP_SYS_ADMIN passes `fs.file-max` only where it is of the first user namespace (fs/file_table.c,
/// `alloc_empty_file`): inside one of its own everybody seems to have it.
fn passes_file_max(root: &ProcRoot) -> bool {
    in_first_user_namespace(root) && limits::has_capability(Cap::SysAdmin).unwrap_or(false)
}

/// RLIMIT_NPROC binds neither the machine's root, whatever that is called in here, nor who has one of two capabilities
/// of the first user namespace (kernel/fork.c, `copy_process`).
fn passes_nproc(root: &ProcRoot) -> bool {
    let map = std::fs::read_to_string(root.process_path(None, "uid_map")).unwrap_or_default();
    let euid = u64::from(limits::euid());
    // Lines of first id here, first id outside, count (user_namespaces(7)).
    let outside = map.lines().find_map(|line| {
        let numbers: Vec<u64> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        let [here, outside, count] = numbers[..] else { return None };
        let at = euid.checked_sub(here).filter(|at| *at < count)?;
        Some(outside + at)
    });
    let is_able = |cap| limits::has_capability(cap).unwrap_or(false);
    outside == Some(0)
        || in_first_user_namespace(root) && (is_able(Cap::SysResource) || is_able(Cap::SysAdmin))
}

fn in_first_user_namespace(root: &ProcRoot) -> bool {
    let map = std::fs::read_to_string(root.process_path(None, "uid_map")).unwrap_or_default();
    namespace::is_map_of_first(&map)
}

/// Whether the hard limit can be raised by somebody here: by this process, or through sudo, which cannot give what
/// the bounding set has lost (capabilities(7)). Inside a user namespace of one's own it cannot be told: everybody
/// seems to have all there.
fn may_raise_nofile(root: &ProcRoot) -> Option<bool> {
    if !in_first_user_namespace(root) {
        return None;
    }
    let status = std::fs::read_to_string(root.process_path(None, "status")).ok()?;
    limits::is_in_bounding_set(&status, Cap::SysResource)
}

/// How many ports of `range` a list such as `8080,9000-9010` takes out.
fn reserved_in(list: &str, (first, last): (u16, u16)) -> u64 {
    list.split(',')
        .filter_map(|part| {
            let part = part.trim();
            let (from, to) = part.split_once('-').unwrap_or((part, part));
            let (from, to): (u16, u16) = (from.parse().ok()?, to.parse().ok()?);
            let (from, to) = (from.max(first), to.min(last));
            Some(u64::from(to).checked_sub(u64::from(from))? + 1)
        })
        .sum()
}

/// Each of several processes meets its own limit, and what is free in all of them is the most that they take.
#[must_use]
pub fn limits_of_processes(pids: &[u32], limits: HostSnapshot) -> HostSnapshot {
    let soft = |pid: &u32| limits::of_process(*pid, Resource::OpenFiles).ok().map(|limit| limit.soft);
    let tables = |pid: &u32| TablesReader::new(&ProcRoot::default(), *pid).read().ok();
    let each: Vec<_> = pids.iter().map(|pid| soft(pid).zip(tables(pid))).collect();
    let several = each.iter().flatten().any(|(_, seen)| seen.tables > 1);
    let free = |(soft, seen): (u64, TablesInUse)| soft.saturating_sub(seen.open);
    // One of which the room is not known may take any number.
    let room: Option<u64> = each.iter().map(|one| one.map(free)).sum();
    HostSnapshot {
        server_nofile: each.iter().flatten().map(|(soft, _)| *soft).min(),
        server_tables: several,
        server_processes: Some(pids.len() as u64),
        server_room: room.filter(|_| !several),
        ..limits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_waits_at_a_source_and_in_the_window_keeps_a_port() {
        let end = |last: u8, port: u16| SocketAddr::from(([127, 0, 0, last], port));
        let ends = [end(1, 40_000), end(2, 40_000), end(1, 39_999), end(1, 40_010)];
        let sources: [IpAddr; 1] = [[127, 0, 0, 1].into()];
        assert_eq!(ports_kept(&ends, (40_000, 40_009), Some(&sources)), 1);
        assert_eq!(ports_kept(&ends, (40_000, 40_009), None), 2);
        assert_eq!(ports_kept(&ends, (9, 8), None), 0);
    }

    #[test]
    fn only_reserved_ports_within_the_range_are_counted() {
        assert_eq!(reserved_in("", (32_768, 60_999)), 0);
        assert_eq!(reserved_in("8080,40000-40009,60990-61010", (32_768, 60_999)), 20);
        assert_eq!(reserved_in("40000", (32_768, 60_999)), 1);
    }

    #[test]
    fn a_recorded_host_gives_its_limits_and_what_it_does_not_say_is_unknown() {
        let host = tempfile::tempdir().unwrap();
        let record = |below: &str, text: &str| {
            let path = host.path().join(below);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        record("proc/sys/net/ipv4/ip_local_port_range", "32768\t60999\n");
        record("proc/sys/net/ipv4/ip_local_reserved_ports", "33000-33001\n");
        record("proc/sys/net/ipv4/tcp_mem", "1\t2\t3\n");
        record("proc/sys/net/ipv4/tcp_syncookies", "0\n");
        record("proc/sys/net/netfilter/nf_conntrack_max", "262144\n");
        record("proc/sys/net/netfilter/nf_conntrack_count", "17\n");
        record("proc/sys/fs/file-nr", "500\t0\t2000\n");
        record("proc/self/cgroup", "0::/box\n");
        record("proc/self/mountinfo", "35 24 0:30 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
        record("sys/fs/cgroup/box/memory.max", "1073741824\n");
        record("sys/fs/cgroup/box/memory.current", "4096\n");
        let snapshot = snapshot_at(&ProcRoot::recorded(host.path()));
        assert_eq!(snapshot.port_range, Some((32_768, 60_999)));
        assert_eq!((snapshot.reserved_ports, snapshot.conntrack_max), (Some(2), Some(262_144)));
        assert_eq!(snapshot.conntrack_entries, Some(17));
        assert_eq!((snapshot.tcp_mem_pages, snapshot.files_in_use), (Some([1, 2, 3]), Some(500)));
        assert_eq!(
            (snapshot.cgroup_memory_bytes, snapshot.cgroup_memory_used_bytes),
            (Some(1 << 30), Some(4096))
        );
        assert_eq!(snapshot.cgroup_memory_file.as_deref(), Some("memory.max"));
        let cookies = snapshot.other.get("net.ipv4.tcp_syncookies");
        assert_eq!(cookies.map(String::as_str), Some("0"), "{:?}", snapshot.other);
        assert_eq!((snapshot.somaxconn, snapshot.memory_available_bytes), (None, None));
        assert!(!snapshot.file_max_bypassed, "no uid_map says that this is the first user namespace");
        assert_eq!(snapshot.may_raise_nofile, None);
        record("proc/self/uid_map", "         0          0 4294967295\n");
        for (bounding, may) in [("000001ffffffffff", true), ("000001fffeffffff", false)] {
            record("proc/self/status", &format!("Name:\tx\nCapBnd:\t{bounding}\n"));
            assert_eq!(snapshot_at(&ProcRoot::recorded(host.path())).may_raise_nofile, Some(may));
        }
    }

    #[test]
    fn the_running_host_has_the_limits_that_every_plan_needs() {
        let snapshot = host_snapshot();
        assert!(snapshot.nr_open.is_some() && snapshot.port_range.is_some() && snapshot.somaxconn.is_some());
        assert_eq!(snapshot.server_nofile, None, "the ends are not this reader's to know");
    }
}
