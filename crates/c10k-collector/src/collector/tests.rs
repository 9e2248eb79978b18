use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;

use super::*;
use crate::observation::ProcessSeen;

fn record(folder: &Path, below: &str, text: &str) {
    let path = folder.join(below);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// A recorded host of one CPU with a server of pid 7, at the beginning of a run.
fn recorded_host() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    record(at, "proc/self/net/sockstat", "TCP: inuse 3 orphan 0 tw 0 alloc 9 mem 2\n");
    record(at, "proc/self/net/sockstat6", "TCP6: inuse 1\n");
    record(at, "proc/self/net/snmp", "Tcp: ActiveOpens CurrEstab\nTcp: 100 3\n");
    record(at, "proc/self/net/netstat", "TcpExt: ListenOverflows ListenDrops\nTcpExt: 5 6\n");
    record(at, "proc/self/net/softnet_stat", "0000000a 00000002 00000001\n");
    record(at, "proc/sys/fs/file-nr", "500 0 2000\n");
    record(at, "proc/stat", "cpu 100 0 100 1000 0 0 50 0 0 0\ncpu0 100 0 100 1000 0 0 50 0 0 0\n");
    record(at, "proc/meminfo", "MemFree: 1000 kB\nCached: 20 kB\nBuffers: 1 kB\nSlab: 80 kB\n");
    record(at, "proc/7/stat", "7 (server) S 1 7 7 0 -1 0 0 0 0 0 20 10 0 0 20 0 3 0 100 1000 10\n");
    record(at, "proc/7/status", "VmRSS: 100 kB\nRssAnon: 60 kB\nVmPTE: 8 kB\nThreads: 3\nFDSize: 64\n");
    record(at, "proc/7/task/7/status", "VmRSS: 100 kB\nFDSize: 64\n");
    folder
}

fn collector(host: &Path) -> Collector {
    let config = CollectorConfig {
        server_pid: Some(7),
        ports: vec![9000],
        proc_root: ProcRoot::recorded(host),
        ..CollectorConfig::default()
    };
    Collector::new(config).unwrap()
}

#[test]
fn a_recorded_host_replays_growth_since_the_beginning_and_cores_since_the_last_tick() {
    let host = recorded_host();
    let mut collector = collector(host.path());
    let at = host.path();
    record(at, "proc/self/net/sockstat", "TCP: inuse 103 orphan 0 tw 4 alloc 109 mem 2\n");
    record(at, "proc/self/net/netstat", "TcpExt: ListenOverflows ListenDrops\nTcpExt: 15 6\n");
    record(at, "proc/self/net/softnet_stat", "0000000b 00000005 00000001\n");
    record(at, "proc/stat", "cpu 200 0 150 1100 0 0 100 0 0 0\ncpu0 200 0 150 1100 0 0 100 0 0 0\n");
    let seen = collector.tick_at(Duration::from_secs(2));

    assert_eq!((seen.elapsed_ms, seen.partial), (2000, false));
    assert_eq!((seen.network.sockets.in_use, seen.network.sockets.time_wait), (Some(104), Some(4)));
    assert_eq!(seen.counter("ListenOverflows"), Some(10));
    assert_eq!(seen.counter("ListenDrops"), Some(0), "known and unchanged is zero");
    assert_eq!(seen.counter("TCPAbortOnMemory"), None, "not in this kernel");
    assert_eq!((seen.network.softnet_dropped, seen.network.softnet_squeezed), (Some(3), Some(0)));
    assert_eq!((seen.network.files_in_use, seen.network.files_max), (Some(500), Some(2000)));
    assert_eq!(seen.cpu.softirq_cores, Some(0.25));
    assert_eq!(seen.cpu.user_cores, Some(0.5));
    assert_eq!(seen.memory.page_cache_bytes, Some(21 << 10));
    assert_eq!((seen.server.rss_bytes, seen.server.threads), (Some(100 << 10), Some(3)));
    assert_eq!(seen.swarm, ProcessSeen::default(), "nobody watched is unknown");
    assert_eq!(seen.listener, None, "sock_diag cannot be recorded in files");
}

#[test]
fn a_counter_that_was_reset_is_unknown_and_named() {
    let host = recorded_host();
    let mut collector = collector(host.path());
    record(host.path(), "proc/self/net/netstat", "TcpExt: ListenOverflows ListenDrops\nTcpExt: 1 9\n");
    record(host.path(), "proc/stat", "cpu 1 0 1 1 0 0 1 0 0 0\n");
    let seen = collector.tick_at(Duration::from_secs(1));
    assert_eq!((seen.counter("ListenOverflows"), seen.counter("ListenDrops")), (None, Some(3)));
    assert_eq!(seen.network.went_backwards, ["ListenOverflows"]);
    assert_eq!(seen.cpu.softirq_cores, None);
}

#[test]
fn a_source_that_breaks_in_the_middle_makes_the_sample_partial_and_its_part_unknown() {
    let host = recorded_host();
    let mut collector = collector(host.path());
    record(host.path(), "proc/self/net/netstat", "");
    record(host.path(), "proc/meminfo", "");
    let seen = collector.tick_at(Duration::from_secs(1));
    assert!(seen.partial);
    assert_eq!((seen.counter("ListenOverflows"), seen.memory.slab_bytes), (None, None));
    assert_eq!(seen.network.sockets.in_use, Some(4), "the rest is there");
}

#[test]
fn what_cannot_be_read_is_named_once_with_what_is_then_unknown() {
    let host = recorded_host();
    let mut collector = collector(host.path());
    for second in 1..4 {
        assert_eq!(collector.tick_at(Duration::from_secs(second)).slabs, None);
    }
    let named: Vec<&str> = collector
        .unreadable()
        .iter()
        .filter(|unreadable| unreadable.source.ends_with("proc/slabinfo"))
        .map(|unreadable| unreadable.what_is_then_unknown.as_str())
        .collect();
    assert_eq!(named.len(), 1);
    assert!(named[0].contains("estimated"), "{named:?}");
}

#[test]
fn a_snapshot_of_a_recorded_host_holds_what_the_account_needs() {
    let host = recorded_host();
    let mut collector = collector(host.path());
    let snapshot = collector.snapshot();
    assert_eq!(snapshot.meminfo.unwrap().slab_bytes, Some(80 << 10));
    assert_eq!(snapshot.socket_buffer_bytes, Some(2 * page_bytes()));
    let server = snapshot.server.as_ref().unwrap().of(7).unwrap();
    assert_eq!((server.rss_bytes, server.exact_rss_bytes), (Some(100 << 10), None));
    assert_eq!(server.descriptor_slots, [64]);
    assert_eq!((snapshot.slabs, snapshot.swarm), (None, None));
}

#[test]
fn a_pid_that_is_nobodys_is_refused() {
    let host = recorded_host();
    let config = CollectorConfig {
        server_pid: Some(8),
        proc_root: ProcRoot::recorded(host.path()),
        ..CollectorConfig::default()
    };
    assert!(matches!(Collector::new(config), Err(CollectorError::NoSuchProcess { pid: 8 })));
}

#[test]
fn a_live_server_shows_its_queue_and_a_census_counts_both_ends() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let config = CollectorConfig {
        server_pid: Some(std::process::id()),
        ports: vec![port],
        ..CollectorConfig::default()
    };
    let mut collector = Collector::new(config).unwrap();
    let _clients: Vec<TcpStream> =
        (0..4).map(|_| TcpStream::connect(listener.local_addr().unwrap()).unwrap()).collect();
    let queue = collector.tick().listener.unwrap();
    assert_eq!((queue.listeners, queue.accept_queue), (1, 4));
    assert!(queue.backlog.unwrap() > 0);
    let _servers: Vec<_> = (0..4).map(|_| listener.accept().unwrap()).collect();
    let seen = collector.tick();
    assert_eq!(seen.listener.unwrap().accept_queue, 0);
    assert!(seen.counter("PassiveOpens").unwrap() >= 4);
    let census = collector.census().unwrap();
    assert_eq!((census.server_side, census.client_side), (4, 4));
}

#[test]
fn a_process_that_ends_between_two_ticks_is_gone_and_the_host_is_still_seen() {
    let mut child = Command::new("sleep").arg("60").spawn().unwrap();
    let config = CollectorConfig { server_pid: Some(child.id()), ..CollectorConfig::default() };
    let mut collector = Collector::new(config).unwrap();
    assert!(!collector.tick().partial && !collector.is_gone(ProcessSide::Server));
    child.kill().unwrap();
    child.wait().unwrap();
    let seen = collector.tick();
    assert!(seen.partial && collector.is_gone(ProcessSide::Server));
    assert_eq!((seen.server.rss_bytes, seen.server.cores), (None, None));
    assert!(seen.memory.free_bytes.is_some());
    assert!(!collector.tick().partial, "said once");
}

/// The groups of a server of pid 7, version 1, each controller in a tree of its own.
fn record_groups(at: &Path) {
    record(at, "proc/7/cgroup", "5:memory:/slice/unit\n4:cpu,cpuacct:/box\n3:pids:/box\n0::/\n");
    record(
        at,
        "proc/self/mountinfo",
        "32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n\
         33 31 0:28 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n\
         34 31 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n",
    );
    record(at, "sys/fs/cgroup/pids/box/pids.events", "max 2\n");
    record(at, "sys/fs/cgroup/pids/box/pids.max", "9\n");
    record(at, "sys/fs/cgroup/pids/box/pids.current", "3\n");
    record(at, "sys/fs/cgroup/cpu/box/cpu.stat", "nr_periods 5\nnr_throttled 4\n");
    record(at, "sys/fs/cgroup/cpu/box/cpu.cfs_quota_us", "1000\n");
    for (group, limit, usage) in [("slice", 300, 250), ("slice/unit", 200, 10)] {
        let folder = format!("sys/fs/cgroup/memory/{group}");
        record(at, &format!("{folder}/memory.limit_in_bytes"), &limit.to_string());
        record(at, &format!("{folder}/memory.usage_in_bytes"), &usage.to_string());
        record(at, &format!("{folder}/memory.failcnt"), "7");
        record(at, &format!("{folder}/memory.oom_control"), "oom_kill 1\n");
    }
}

#[test]
fn what_the_groups_of_a_server_refused_and_held_back_is_counted_since_the_beginning() {
    let host = recorded_host();
    let at = host.path();
    record_groups(at);
    record(at, "proc/vmstat", "oom_kill 2\n");
    let mut collector = collector(at);
    let seen = collector.tick_at(Duration::from_secs(1));
    assert_eq!((seen.server.throttled, seen.server.threads_refused), (Some(0), Some(0)));
    assert_eq!(collector.server_cpu_quota(), None, "it has not been held back yet");
    let group = seen.cgroup.unwrap();
    assert_eq!((group.limit_bytes, group.left_bytes, group.failures), (Some(300), Some(50), Some(0)));
    assert!(group.folder.unwrap().ends_with("slice"));

    record(at, "sys/fs/cgroup/cpu/box/cpu.stat", "nr_throttled 11\n");
    record(at, "sys/fs/cgroup/pids/box/pids.events", "max 6\n");
    record(at, "sys/fs/cgroup/pids/box/pids.current", "9\n");
    record(at, "sys/fs/cgroup/memory/slice/memory.failcnt", "97");
    record(at, "sys/fs/cgroup/memory/slice/unit/memory.oom_control", "oom_kill 2\n");
    record(at, "proc/vmstat", "oom_kill 5\n");
    let seen = collector.tick_at(Duration::from_secs(2));
    assert_eq!((seen.server.throttled, seen.server.threads_refused), (Some(7), Some(4)));
    assert!(collector.server_cpu_quota().is_some_and(|file| file.ends_with("cpu/box/cpu.cfs_quota_us")));
    let fewest = collector.fewest_threads().unwrap();
    assert_eq!((fewest.max, fewest.left()), (Some(9), Some(0)));
    let group = seen.cgroup.unwrap();
    // The limit that was hit is the slice's, the process that was killed one of the unit's.
    assert_eq!((group.failures, group.oom_kills, seen.oom_kills), (Some(90), Some(1), Some(3)));

    // The group goes with its server.
    std::fs::remove_dir_all(at.join("sys/fs/cgroup/cpu")).unwrap();
    let seen = collector.tick_at(Duration::from_secs(3));
    assert_eq!(seen.server.throttled, None, "what is gone says nothing");
}

#[test]
fn where_nothing_can_refuse_or_hold_back_nothing_was_refused() {
    let host = recorded_host();
    let at = host.path();
    record(at, "proc/7/cgroup", "0::/\n");
    record(at, "proc/self/mountinfo", "35 24 0:30 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
    record(at, "sys/fs/cgroup/cpu.stat", "usage_usec 9\n");
    let seen = collector(at).tick_at(Duration::from_secs(1));
    assert_eq!((seen.server.throttled, seen.server.threads_refused), (Some(0), Some(0)));
    let group = seen.cgroup.unwrap();
    assert_eq!((group.limit_bytes, group.failures, group.oom_kills), (None, Some(0), Some(0)));
    // Where that cannot be looked up it is not known.
    std::fs::remove_file(at.join("proc/7/cgroup")).unwrap();
    let seen = collector(at).tick_at(Duration::from_secs(1));
    assert_eq!((seen.server.throttled, seen.cgroup), (None, None));
}

#[test]
fn neighbours_are_counted_by_the_files_that_were_opened_for_it() {
    let (host, first) = (recorded_host(), tempfile::tempdir().unwrap());
    let table = |fulls: u64| {
        record(
            first.path(),
            "proc/self/net/stat/arp_cache",
            &format!("entries table_fulls\n00000400 {fulls:08x}\n"),
        );
    };
    table(5);
    let mut collector = collector(host.path());
    assert_eq!(
        collector.tick_at(Duration::from_secs(1)).neighbours,
        None,
        "this namespace does not show them"
    );
    collector.look_at_neighbours_by(NeighboursReader::open(&ProcRoot::recorded(first.path())));
    table(45);
    let seen = collector.tick_at(Duration::from_secs(2)).neighbours.unwrap();
    assert_eq!((seen.entries, seen.table_fulls), (1024, 40));
}

#[test]
fn the_groups_of_every_process_that_holds_connections_are_looked_at() {
    let host = recorded_host();
    let at = host.path();
    for (pid, group) in [(7, "/one"), (8, "/one"), (9, "/two")] {
        record(at, &format!("proc/{pid}/cgroup"), &format!("0::{group}\n"));
    }
    let root = ProcRoot::recorded(at);
    let mut known = groups::InGroups::default();
    let new: Vec<bool> = [7, 8, 9, 9, 7].map(|pid| known.is_new(&root, pid)).into();
    assert_eq!(new, [true, false, true, false, false]);
}
