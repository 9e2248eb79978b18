//! Walls of the whole host cannot be planted on somebody's machine: the bytes of `/proc` that such a run leaves are
//! replayed, from the collector to the diagnosis.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::Instant;

use c10k_ceiling::diagnose;
use c10k_collector::{Collector, CollectorConfig};
use c10k_kernel::counters::ProcRoot;
use c10k_plan::args::RunArgs;
use c10k_record::{
    Connections, Failure, HostSnapshot, LiveCounts, Outcome, PhaseName, Record, Sample, ServerReport, Tool,
    Verdict,
};
use c10k_swarm::LoadArgs;

use super::findings;
use crate::collect::watch::{Counted, Watch};

const TARGET: u64 = 2_000_000;
const HELD: u64 = 60_000;

/// A host at the beginning of a run.
const QUIET: [(&str, &str); 7] = [
    ("proc/self/net/sockstat", "TCP: inuse 3 orphan 0 tw 0 alloc 9 mem 2\n"),
    ("proc/self/net/netstat", NOTHING_MOVED),
    ("proc/self/net/softnet_stat", "0000000a 00000002 00000001\n"),
    ("proc/sys/fs/file-nr", "1000 0 2466177\n"),
    ("proc/stat", "cpu 100 0 100 1000 0 0 50 0 0 0\ncpu0 100 0 100 1000 0 0 50 0 0 0\n"),
    (
        "proc/meminfo",
        "MemFree: 20000000 kB\nMemAvailable: 20000000 kB\nCached: 20 kB\nBuffers: 1 kB\nSlab: 80 kB\n",
    ),
    ("proc/self/net/stat/arp_cache", "entries allocs table_fulls\n00000003 00000009 00000000\n"),
];

const NOTHING_MOVED: &str = "TcpExt: ListenOverflows ListenDrops TCPSynRetrans TCPReqQFullDrop TCPAbortOnMemory\n\
                             TcpExt: 5 6 7 0 0\n";
const ABORTED: &str = "TcpExt: ListenOverflows ListenDrops TCPSynRetrans TCPReqQFullDrop TCPAbortOnMemory\n\
                       TcpExt: 5 6 7 0 4000\n";
const RESENT: &str = "TcpExt: ListenOverflows ListenDrops TCPSynRetrans TCPReqQFullDrop TCPAbortOnMemory\n\
                      TcpExt: 5 6 9007 0 0\n";

fn limits() -> HostSnapshot {
    HostSnapshot {
        server_nofile: Some(20_000),
        swarm_nofile: Some(20_000),
        server_tables: true,
        swarm_tables: true,
        nr_open: Some(1 << 20),
        file_max: Some(2_466_177),
        port_range: Some((1024, 65_535)),
        tcp_mem_pages: Some([287_901, 383_868, 575_802]),
        max_orphans: Some(131_072),
        epoll_watches: Some(5_491_511),
        neighbours_max: Some(1024),
        ..HostSnapshot::default()
    }
}

fn write(root: &Path, files: &[(&str, &str)]) {
    for (below, text) in files {
        let path = root.join(below);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(path, text).expect("written");
    }
}

/// Takes a row of a run that has nothing to count.
fn row(watch: &mut Watch) {
    let (at, counts) = (Instant::now(), LiveCounts::default());
    watch.tick(
        &Counted {
            at,
            phase: "ramp",
            phase_name: "",
            counts: &counts,
            accepted: None,
            lost: &BTreeMap::new(),
        },
        None,
    );
}

/// The walls that are named when a run loses connections under `lost` while the host changes so.
#[track_caller]
fn walls(limits: &HostSnapshot, changed: &[(&str, &str)], lost: &str) -> Vec<String> {
    let folder = tempfile::tempdir().expect("a folder");
    walls_of(limits, &watched(folder.path(), changed), lost, &[])
}

/// A host that was looked at twice, before and after it changed so.
fn watched(root: &Path, changed: &[(&str, &str)]) -> Watch {
    write(root, &QUIET);
    let config = CollectorConfig { proc_root: ProcRoot::recorded(root), ..CollectorConfig::default() };
    let mut watch = Watch::new(Collector::new(config).expect("a recorded host"), false);
    row(&mut watch);
    write(root, changed);
    row(&mut watch);
    watch
}

/// The walls of a run that was watched so, lost connections under `lost`, and broke these verdicts.
#[track_caller]
fn walls_of(limits: &HostSnapshot, watch: &Watch, lost: &str, broken: &[&str]) -> Vec<String> {
    let load = LoadArgs { target: Some(c10k_record::Quantity(TARGET)), ..LoadArgs::default() };
    let plan = c10k_plan::resolve::resolve(&RunArgs { load, ..RunArgs::default() }).expect("a plan");
    let tool = Tool { name: "c10k-lab".to_owned(), version: "0".to_owned() };
    let mut record = Record::begun(tool, "replay".to_owned(), plan.topology, plan.protocol, plan.workload);
    let outcome: Outcome = serde_json::from_value(lost.into()).expect("an outcome is its name");
    record.connections = Connections {
        target: TARGET,
        attempted: HELD + 512,
        established: HELD,
        accepted: Some(HELD),
        verified: Some(HELD),
        held: HELD,
        ..Connections::default()
    };
    record.connections.add_failed(outcome.clone(), 512);
    record.failures = vec![Failure { phase: PhaseName::Ramp, outcome, count: 512, first_at_ms: 900 }];
    record.server = Some(ServerReport { accepted: HELD, peak: HELD, tables: 4, ..ServerReport::default() });
    record.verdicts = broken
        .iter()
        .map(|expr| Verdict {
            expr: (*expr).to_owned(),
            passed: Some(false),
            value: Some(250.0),
            severity: c10k_record::Severity::Fail,
        })
        .collect();
    let found = findings(&record, &plan, limits, watch, Some(u64::from(u32::MAX)), None, false);
    let ceiling = diagnose(&found, None).expect("it fell short");
    assert!(
        ceiling.walls.iter().all(|wall| !wall.evidence.is_empty() && wall.remedy.is_some()),
        "{ceiling:?}"
    );
    ceiling.walls.into_iter().map(|wall| wall.name).collect()
}

#[test]
fn what_the_whole_host_shows_names_its_walls_and_only_them() {
    /// The wall, the limits, what the host shows, and what was lost.
    type Case = (&'static str, HostSnapshot, Vec<(&'static str, &'static str)>, &'static str);
    let one_table = HostSnapshot { swarm_nofile: Some(1 << 20), swarm_tables: false, ..limits() };
    let sockstat = |text| [("proc/self/net/sockstat", text), ("proc/self/net/netstat", ABORTED)];
    let cases: [Case; 8] = [
        ("nr-open", one_table, vec![], "EMFILE"),
        ("file-max", limits(), vec![("proc/sys/fs/file-nr", "2466177 0 2466177\n")], "ENFILE"),
        (
            "tcp-mem",
            limits(),
            sockstat("TCP: inuse 60003 orphan 100000 tw 0 alloc 60009 mem 575900\n").to_vec(),
            "ECONNRESET",
        ),
        (
            "orphans",
            limits(),
            sockstat("TCP: inuse 60003 orphan 131073 tw 0 alloc 60009 mem 200\n").to_vec(),
            "ECONNRESET",
        ),
        (
            "netdev-backlog",
            limits(),
            vec![
                ("proc/self/net/softnet_stat", "0000ffff 00002330 00000001\n"),
                ("proc/self/net/netstat", RESENT),
            ],
            "connect-timeout",
        ),
        ("epoll-watches", limits(), vec![], "ENOSPC"),
        (
            "neighbour-table",
            limits(),
            vec![(
                "proc/self/net/stat/arp_cache",
                "entries allocs table_fulls\n00000400 00000999 00000028\n",
            )],
            "EHOSTUNREACH",
        ),
        (
            "neighbour-table",
            limits(),
            vec![
                ("proc/self/net/stat/arp_cache", "entries allocs table_fulls\n00000400 00000999 00000028\n"),
                ("proc/self/net/netstat", RESENT),
            ],
            "connect-timeout",
        ),
    ];
    let replayed: BTreeSet<&str> = cases.iter().map(|(name, ..)| *name).chain(["cpu-host"]).collect();
    let by_this = |wall: &&c10k_ceiling::Wall| {
        !wall.plant.plantable
            && crate::command::plant::replayed_by(wall).contains("what_the_whole_host_shows")
    };
    let promised: BTreeSet<&str> = c10k_ceiling::walls().filter(by_this).map(|wall| wall.name).collect();
    assert_eq!(replayed, promised, "a user who is refused a plant is sent here");
    for (name, limits, changed, lost) in cases {
        assert_eq!(walls(&limits, &changed, lost), [name], "{lost}");
    }
    assert_eq!(walls_of_used_up_processors("connect_p95 <= 100ms", "ramp"), ["cpu-host"]);
    assert_eq!(walls_of_used_up_processors("echo_p95 <= 100ms", "verify"), ["cpu-host"]);
    assert_eq!(walls_of_used_up_processors("echo_p95 <= 100ms", "ramp"), ["latency-verdict"]);
}

/// A second of a phase in which both ends together used all processors that they may run on.
fn walls_of_used_up_processors(broken: &str, phase: &str) -> Vec<String> {
    let folder = tempfile::tempdir().expect("a folder");
    let mut watch = watched(folder.path(), &[]);
    let all = c10k_kernel::process::cpus_allowed() as f64;
    watch.samples = vec![
        Sample {
            phase: phase.to_owned(),
            server_cores: Some(0.38 * all),
            swarm_cores: Some(0.57 * all),
            softirq_cores: Some(0.02 * all),
            idle_cores: Some(0.01 * all),
            ..Sample::default()
        };
        5
    ];
    walls_of(&limits(), &watch, "aborted", &[broken])
}

#[test]
fn the_same_losses_on_a_quiet_host_prove_nothing_of_it() {
    for lost in ["ECONNRESET", "ENOBUFS"] {
        assert!(walls(&limits(), &[], lost).is_empty(), "{lost}");
    }
    // Both ends stand here and nothing here dropped them: somebody on the way did.
    assert_eq!(walls(&limits(), &[("proc/self/net/netstat", RESENT)], "connect-timeout"), ["firewall-drop"]);
    // Others were served at the only place there is: there is a way, and somebody on it rejects by ICMP.
    assert_eq!(walls(&limits(), &[], "EHOSTUNREACH"), ["filter-rejects"]);
}

#[test]
fn the_same_run_again_is_what_a_person_typed_or_else_what_its_plan_says() {
    let load = LoadArgs { no_probe: true, ips: Some("127.0.0.9".to_owned()), ..LoadArgs::default() };
    let mode = Some(c10k_record::ServerMode::Hold);
    let plan = c10k_plan::resolve::resolve(&RunArgs { mode, load, ..RunArgs::default() }).expect("a plan");
    let tool = Tool { name: "c10k-lab".to_owned(), version: "0".to_owned() };
    let mut record = Record::begun(tool, "again".to_owned(), plan.topology, plan.protocol, plan.workload);
    let words = |record: &Record| super::as_it_was_started(record).map(|words| words.join(" "));
    assert_eq!(words(&record), None);
    record.command = ["/bin/c10k-lab", "run", "--mode", "hold"].map(str::to_owned).to_vec();
    assert_eq!(words(&record).as_deref(), Some("c10k-lab run --mode hold"));
    record.command =
        ["/bin/c10k-lab", "run", "--payload", "5k", "-q", "--force", "2k"].map(str::to_owned).to_vec();
    assert_eq!(
        words(&record).as_deref(),
        Some("c10k-lab run --payload 5k -q --force --target 2k"),
        "a user who asks for another target does not ask for two"
    );
    record.command = ["/bin/c10k-lab", "run", "--mode", "hold"].map(str::to_owned).to_vec();
    "/proc/self/exe".clone_into(&mut record.command[0]);
    assert_eq!(words(&record), None, "a plant or a climb did");
    assert_eq!(
        super::again(&plan).join(" "),
        "c10k-lab run --profile tuned --mode hold --ips 127.0.0.9 --no-probe"
    );
}
