//! Every wall is named by its own evidence and by nothing else; a healthy run names none.

use std::collections::BTreeSet;

use c10k_ceiling::{
    CounterChange, CpuLoad, Findings, KeptFree, PlanView, ServerEnd, UNKNOWN, counter, diagnose,
    memory_reserve_bytes, predict, predicted_ceiling, wall, walls,
};
use c10k_record::{
    Ceiling, Connections, Failure, GrowthStop, HostSnapshot, Outcome, PhaseName, Predicted, ServerReport,
    Verdict,
};
use proptest::prelude::*;

const TARGET: u64 = 100_000;

fn host() -> HostSnapshot {
    HostSnapshot {
        server_nofile: Some(20_000),
        swarm_nofile: Some(20_000),
        nofile_hard: Some(20_000),
        server_tables: true,
        swarm_tables: true,
        nr_open: Some(1_048_576),
        file_max: Some(2_466_177),
        files_in_use: Some(1_000),
        port_range: Some((32_768, 60_999)),
        reserved_ports: Some(0),
        somaxconn: Some(4096),
        backlog: Some(4096),
        max_syn_backlog: Some(2048),
        max_tw_buckets: Some(131_072),
        tcp_mem_pages: Some([287_901, 383_868, 575_802]),
        max_orphans: Some(131_072),
        epoll_watches: Some(5_491_511),
        memory_available_bytes: Some(20 << 30),
        nproc: Some(90_000),
        ..HostSnapshot::default()
    }
}

fn plan() -> PlanView {
    PlanView {
        target: TARGET,
        sources: 4,
        source_ports: Some((32_768, 60_999)),
        destinations: 1,
        both_ends_here: true,
        probe: true,
        explicit_ports: true,
        ips: None,
        ..PlanView::default()
    }
}

/// Everything was read, nothing moved, all are held.
fn healthy() -> Findings {
    let still = [
        counter::LISTEN_OVERFLOWS,
        counter::LISTEN_DROPS,
        counter::SYN_RETRANSMITS,
        counter::REQ_QUEUE_FULL_DROP,
        counter::REQ_QUEUE_FULL_COOKIES,
        counter::ABORT_ON_MEMORY,
        counter::TIME_WAIT_OVERFLOW,
        counter::SOFTNET_DROPPED,
        counter::TIME_WAIT,
    ];
    Findings {
        plan: plan(),
        host: host(),
        connections: Connections {
            target: TARGET,
            attempted: TARGET,
            established: TARGET,
            accepted: Some(TARGET),
            verified: Some(TARGET),
            held: TARGET,
            ghosts: Some(0),
            released: 0,
            failed: Default::default(),
        },
        capacity: Some(112_928),
        counters: still.iter().map(|name| ((*name).to_owned(), change(7, 7))).collect(),
        server: Some(ServerReport { accepted: TARGET, peak: TARGET, tables: 8, ..ServerReport::default() }),
        verdicts: vec![verdict("held = target", true), verdict("failed <= 1%", true)],
        ..Findings::default()
    }
}

/// A run that holds `held` and lost what it tried beyond that under one name.
fn short(held: u64, outcome: &str, count: u64) -> Findings {
    let mut findings = healthy();
    findings.connections.held = held;
    findings.connections.established = held;
    findings.connections.accepted = Some(held);
    findings.connections.verified = Some(held);
    findings.connections.attempted = held;
    findings.server = Some(ServerReport { accepted: held, peak: held, tables: 8, ..ServerReport::default() });
    findings.verdicts = vec![verdict("held = target", false)];
    lose(&mut findings, PhaseName::Ramp, outcome, count, 1_000);
    findings
}

fn lose(findings: &mut Findings, phase: PhaseName, outcome: &str, count: u64, first_at_ms: u64) {
    if count == 0 {
        return;
    }
    let outcome: Outcome = serde_json::from_value(outcome.into()).expect("an outcome is its name");
    findings.connections.add_failed(outcome.clone(), count);
    findings.connections.attempted += count;
    findings.failures.push(Failure { phase, outcome, count, first_at_ms });
}

fn verdict(expr: &str, passed: bool) -> Verdict {
    Verdict { expr: expr.to_owned(), passed, value: Some(12.0) }
}

fn change(before: u64, after: u64) -> CounterChange {
    CounterChange { before, after }
}

fn moved(findings: &mut Findings, name: &str, growth: u64) {
    findings.counters.insert(name.to_owned(), change(7, 7 + growth));
}

fn server(findings: &mut Findings) -> &mut ServerReport {
    findings.server.as_mut().expect("the server is ours")
}

/// What a run looks like into which that wall alone was put.
fn planted(name: &str) -> Option<Findings> {
    Some(match name {
        "nr-open" => {
            let mut f = short(1_048_568, "EMFILE", 50);
            f.host.swarm_nofile = f.host.nr_open;
            (f.plan.target, f.connections.target) = (2_000_000, 2_000_000);
            f.capacity = Some(4_000_000);
            f
        }
        "nofile-server" => {
            let mut f = short(992, "probe-timeout", 3000);
            f.connections.established = 3992;
            f.connections.ghosts = Some(3000);
            f.host.server_nofile = Some(1000);
            server(&mut f).accept_errors.insert("EMFILE".to_owned(), 17);
            // The queue overflows as a consequence.
            moved(&mut f, counter::LISTEN_OVERFLOWS, 900);
            moved(&mut f, counter::LISTEN_DROPS, 900);
            f
        }
        "nofile-swarm" => short(992, "EMFILE", 64),
        "file-max" => {
            let mut f = short(1_200, "ENFILE", 64);
            f.counters.insert(counter::FILES_IN_USE.to_owned(), change(1_000, 2_466_177));
            f
        }
        "epoll-watches" => short(5_000, "ENOSPC", 64),
        "ports-exhausted" => {
            let mut f = short(28_232, "EADDRNOTAVAIL", 64);
            f.plan.sources = 1;
            f.capacity = Some(28_232);
            f
        }
        "time-wait-ports" => {
            let mut f = short(10_000, "EADDRNOTAVAIL", 64);
            f.plan.sources = 1;
            f.capacity = Some(28_232);
            f.counters.insert(counter::TIME_WAIT.to_owned(), change(18_232, 18_232));
            f
        }
        "ports-reserved" => {
            let mut f = short(20_000, "EADDRNOTAVAIL", 64);
            (f.plan.sources, f.plan.target, f.connections.target) = (1, 25_000, 25_000);
            f.plan.explicit_ports = false;
            f.host.reserved_ports = Some(8_232);
            f.capacity = Some(20_000);
            f
        }
        "server-max-connections" => {
            let mut f = short(500, "probe-timeout", 4096);
            f.connections.established = 4596;
            f.connections.ghosts = Some(4096);
            f.server_max_connections = Some(500);
            server(&mut f).paused = 1;
            moved(&mut f, counter::LISTEN_OVERFLOWS, 900);
            f
        }
        "server-died" => {
            let mut f = short(0, "ECONNREFUSED", 64);
            f.connections.established = 40_000;
            lose(&mut f, PhaseName::Ramp, "ECONNRESET", 40_000, 900);
            f.server_end = Some(ServerEnd::Killed(9));
            f
        }
        "refused" => {
            let mut f = short(0, "ECONNREFUSED", 512);
            f.server = None;
            f.connections.accepted = None;
            f
        }
        "server-stopped-accepting" => {
            let mut f = short(2_000, "connect-timeout", 512);
            f.accepted_stalled = true;
            moved(&mut f, counter::LISTEN_OVERFLOWS, 600);
            moved(&mut f, counter::SYN_RETRANSMITS, 600);
            f
        }
        "not-an-echo-server" => {
            let mut f = short(0, "probe-timeout", 512);
            f.connections.established = 512;
            f.connections.accepted = Some(512);
            f
        }
        "accept-queue" => {
            let mut f = short(60_000, "connect-timeout", 4_000);
            moved(&mut f, counter::LISTEN_OVERFLOWS, 9_000);
            moved(&mut f, counter::LISTEN_DROPS, 9_000);
            moved(&mut f, counter::SYN_RETRANSMITS, 9_000);
            moved(&mut f, counter::LISTENER_DROPS, 9_000);
            f.counters.insert(counter::OTHER_LISTENERS_DROPS.to_owned(), change(0, 0));
            f
        }
        "syn-queue" => {
            let mut f = short(60_000, "connect-timeout", 4_000);
            moved(&mut f, counter::REQ_QUEUE_FULL_DROP, 9_000);
            moved(&mut f, counter::LISTEN_DROPS, 9_000);
            moved(&mut f, counter::SYN_RETRANSMITS, 9_000);
            f
        }
        "netdev-backlog" => {
            let mut f = short(60_000, "connect-timeout", 4_000);
            moved(&mut f, counter::SOFTNET_DROPPED, 9_000);
            moved(&mut f, counter::SYN_RETRANSMITS, 9_000);
            f
        }
        "no-route" => short(0, "ENETUNREACH", 64),
        "conntrack" => {
            let mut f = short(65_536, "connect-timeout", 512);
            f.host.conntrack_max = Some(65_536);
            f.counters.insert(counter::CONNTRACK_COUNT.to_owned(), change(0, 65_536));
            moved(&mut f, counter::SYN_RETRANSMITS, 9_000);
            f
        }
        "firewall-drop" => {
            let mut f = short(0, "connect-timeout", 512);
            moved(&mut f, counter::SYN_RETRANSMITS, 1_000);
            f
        }
        "neighbour-table" => {
            let mut f = short(60_000, "EHOSTUNREACH", 512);
            f.plan.on_one_link = true;
            f.host.neighbours_max = Some(1024);
            f.counters.insert(counter::NEIGHBOURS.to_owned(), change(3, 1_024));
            moved(&mut f, counter::NEIGHBOUR_TABLE_FULLS, 40);
            f
        }
        "bandwidth" => {
            let mut f = short(60_000, "connect-timeout", 512);
            f.host.link_bits_per_second = Some(300_000_000);
            f.counters.insert(counter::LINK_BITS_PER_SECOND.to_owned(), change(0, 299_000_000));
            moved(&mut f, counter::LINK_DROPPED, 700);
            moved(&mut f, counter::SYN_RETRANSMITS, 1_000);
            f.verdicts.push(verdict("echo_p95 <= 100ms", false));
            f
        }
        "cpu-server" | "cpu-swarm" => {
            let mut f = short(60_000, "connect-timeout", 0);
            f.verdicts.push(verdict("echo_p95 <= 100ms", false));
            let (busy, idle) =
                (CpuLoad { used_cores: 0.99, most_cores: 1.0 }, CpuLoad { used_cores: 0.3, most_cores: 2.0 });
            let server = name == "cpu-server";
            (f.server_cpu, f.swarm_cpu) =
                (Some(if server { busy } else { idle }), Some(if server { idle } else { busy }));
            f
        }
        "ram" => {
            let mut f = short(0, "ECONNRESET", 2_000_000);
            f.host.memory_total_bytes = Some(24 << 30);
            f.server_end = Some(ServerEnd::Killed(9));
            f.lowest_memory_available_bytes = Some(40 << 20);
            moved(&mut f, counter::OOM_KILLS, 1);
            f
        }
        "cgroup-memory" => {
            let mut f = short(0, "ECONNRESET", 130_000);
            f.host.cgroup_memory_bytes = Some(1 << 30);
            f.server_end = Some(ServerEnd::Killed(9));
            f.counters.insert(counter::GROUP_BYTES.to_owned(), change(5 << 20, 1 << 30));
            moved(&mut f, counter::GROUP_FAILURES, 3_000);
            // The host's count has those of its groups too.
            moved(&mut f, counter::GROUP_OOM_KILLS, 1);
            moved(&mut f, counter::OOM_KILLS, 1);
            f
        }
        "tcp-mem" => {
            let mut f = short(30_000, "ECONNRESET", 4_000);
            moved(&mut f, counter::ABORT_ON_MEMORY, 4_000);
            f.counters.insert(counter::TCP_MEM_PAGES.to_owned(), change(100, 575_900));
            f.counters.insert(counter::ORPHANS.to_owned(), change(0, 100_000));
            f
        }
        "orphans" => {
            let mut f = short(30_000, "ECONNRESET", 4_000);
            moved(&mut f, counter::ABORT_ON_MEMORY, 4_000);
            f.counters.insert(counter::TCP_MEM_PAGES.to_owned(), change(100, 200));
            f.counters.insert(counter::ORPHANS.to_owned(), change(0, 131_073));
            f
        }
        "time-wait-buckets" => {
            // It costs no connection: the run holds all it was asked for.
            let mut f = healthy();
            f.connections.attempted += 400;
            f.connections.released = 400;
            f.host.max_tw_buckets = Some(100);
            moved(&mut f, counter::TIME_WAIT_OVERFLOW, 300);
            f
        }
        "threads" => short(0, "EAGAIN", 1),
        "latency-verdict" => {
            let mut f = short(80_000, "aborted", 0);
            f.verdicts.push(verdict("echo_p95 <= 100ms", false));
            f
        }
        "error-verdict" => {
            let mut f = short(90_000, "ECONNRESET", 10_000);
            f.verdicts.push(verdict("failed <= 1%", false));
            f
        }
        _ => return None,
    })
}

#[track_caller]
fn named(findings: &Findings) -> Ceiling {
    let ceiling = diagnose(findings, None).expect("the run fell short");
    assert!(!ceiling.evidence.is_empty(), "{ceiling:?}");
    ceiling
}

fn names(ceiling: &Ceiling) -> Vec<&str> {
    ceiling.walls.iter().map(|wall| wall.name.as_str()).collect()
}

#[test]
fn every_wall_is_named_by_its_own_evidence_and_by_nothing_else() {
    for wall in walls() {
        let findings = planted(wall.name).unwrap_or_else(|| panic!("no run shows {}", wall.name));
        let ceiling = named(&findings);
        assert_eq!(names(&ceiling), [wall.name], "{ceiling:#?}");
        assert_eq!((ceiling.wall.as_str(), ceiling.hard), (wall.name, wall.hard));
        assert!(ceiling.remedy.is_some_and(|remedy| !remedy.commands.is_empty()), "{}", wall.name);
    }
}

#[test]
fn a_healthy_run_names_no_wall_even_when_counters_moved() {
    let mut findings = healthy();
    assert_eq!(diagnose(&findings, None), None);
    moved(&mut findings, counter::LISTEN_OVERFLOWS, 500);
    moved(&mut findings, counter::SYN_RETRANSMITS, 500);
    server(&mut findings).paused = 3;
    assert_eq!(diagnose(&findings, None), None);
}

#[test]
fn time_wait_that_was_skipped_explains_no_run_that_fell_short_or_broke_a_verdict() {
    let mut findings = short(90_000, "ECONNRESET", 10_000);
    moved(&mut findings, counter::TIME_WAIT_OVERFLOW, 300);
    assert_eq!(named(&findings).wall, UNKNOWN);
    let mut findings = planted("time-wait-buckets").expect("planted");
    findings.verdicts.push(verdict("echo_p95 <= 100ms", false));
    assert!(diagnose(&findings, None).is_none_or(|ceiling| ceiling.wall != "time-wait-buckets"));
}

#[test]
fn an_aborted_run_learns_nothing_of_the_box() {
    let mut findings = planted("ports-exhausted").expect("planted");
    findings.aborted = true;
    assert_eq!(diagnose(&findings, None), None);
}

#[test]
fn names_are_unique_and_found_by_name() {
    let unique: BTreeSet<&str> = walls().map(|wall| wall.name).collect();
    assert_eq!(unique.len(), walls().count());
    assert!(!unique.contains(UNKNOWN));
    assert!(unique.iter().all(|name| wall(name).is_some()));
    assert!(wall(UNKNOWN).is_none());
}

#[test]
fn two_walls_are_both_named_in_the_order_in_which_they_bit() {
    let mut findings = planted("ports-exhausted").expect("planted");
    lose(&mut findings, PhaseName::Ramp, "EMFILE", 9, 400);
    assert_eq!(names(&named(&findings)), ["nofile-swarm", "ports-exhausted"]);
    findings.failures[1].first_at_ms = 4_000;
    assert_eq!(names(&named(&findings)), ["ports-exhausted", "nofile-swarm"]);
}

/// Walls that one errno of the swarm proves, whatever else happened.
const BY_ERRNO: [(&str, &str); 5] = [
    ("nofile-swarm", "EMFILE"),
    ("file-max", "ENFILE"),
    ("epoll-watches", "ENOSPC"),
    ("no-route", "ENETUNREACH"),
    ("threads", "EAGAIN"),
];

#[test]
fn every_wall_is_named_together_with_another_one_in_the_order_in_which_they_bit() {
    let mut pairs = 0;
    for (one, (other, errno)) in walls().flat_map(|wall| BY_ERRNO.map(|by| (wall, by))) {
        let alone = planted(one.name).expect("every wall has a run");
        let own = alone.connections.failed.keys().any(|outcome| outcome.name() == errno);
        let bite = (one.diagnose)(&alone).expect("it is proven");
        let Some(at_ms) = bite.first_at_ms.filter(|_| !own && !one.only_alone) else { continue };
        for (when, expected) in [(at_ms - 1, [other, one.name]), (at_ms + 1, [one.name, other])] {
            let mut both = alone.clone();
            lose(&mut both, PhaseName::Ramp, errno, 64, when);
            assert_eq!(names(&named(&both)), expected, "{errno} at {when}, {} at {at_ms}", one.name);
        }
        pairs += 1;
    }
    assert!(pairs > 80, "only {pairs} pairs could be told");
}

#[test]
fn a_broken_verdict_is_not_named_beside_a_wall_that_explains_it() {
    let mut findings = planted("accept-queue").expect("planted");
    findings.verdicts.push(verdict("echo_p95 <= 100ms", false));
    assert_eq!(names(&named(&findings)), ["accept-queue"]);
}

#[test]
fn evidence_that_proves_nothing_is_called_unknown_with_what_was_seen() {
    let findings = short(10_000, "ECONNRESET", 5_000);
    let ceiling = named(&findings);
    assert_eq!((ceiling.wall.as_str(), ceiling.hard), (UNKNOWN, false));
    assert!(ceiling.walls.is_empty(), "{ceiling:?}");
    assert!(
        ceiling.evidence.iter().any(|e| e.source == "ECONNRESET" && e.after == Some(5_000)),
        "{ceiling:?}"
    );
    assert!(ceiling.remedy.is_some_and(|remedy| remedy.summary.contains("server's own log")));
}

#[test]
fn lost_syns_to_another_machine_prove_nothing_from_here() {
    let mut findings = planted("firewall-drop").expect("planted");
    findings.plan.both_ends_here = false;
    let ceiling = named(&findings);
    assert_eq!(ceiling.wall, UNKNOWN);
    assert!(ceiling.remedy.is_some_and(|remedy| remedy.summary.contains("server's machine")));
}

#[test]
fn a_counter_that_could_not_be_read_is_no_proof_that_nothing_moved() {
    let mut findings = planted("firewall-drop").expect("planted");
    findings.counters.remove(counter::LISTEN_OVERFLOWS);
    assert_eq!(named(&findings).wall, UNKNOWN);
}

#[test]
fn an_address_error_before_any_connection_is_not_called_exhaustion() {
    let mut findings = planted("ports-exhausted").expect("planted");
    findings.connections.established = 0;
    findings.connections.attempted = 64;
    let ceiling = named(&findings);
    assert_eq!(ceiling.wall, UNKNOWN);
    assert!(ceiling.remedy.is_some_and(|remedy| remedy.commands.contains(&"ip addr".to_owned())));
}

#[test]
fn sources_that_were_used_up_are_exhausted_without_an_errno() {
    let mut findings = short(28_232, "aborted", 0);
    findings.plan.sources = 1;
    findings.capacity = Some(28_232);
    assert_eq!(names(&named(&findings)), ["ports-exhausted"]);
}

/// What a line of a remedy sets: the setting and its values.
fn sets(line: &str) -> Vec<(String, Vec<u64>)> {
    let numbers = |text: &str| -> Vec<u64> {
        text.split(|c: char| !c.is_ascii_digit()).filter_map(|word| word.parse().ok()).collect()
    };
    // A line that looks before it sets lowers nothing.
    if line.starts_with('[') || line.starts_with("g=") || line.contains("$(sysctl -n") {
        return Vec::new();
    }
    let mut found = Vec::new();
    if let Some((_, set)) = line.split_once("sysctl -w ")
        && let Some((key, value)) = set.split_once('=')
    {
        found.push((key.to_owned(), numbers(value)));
    }
    if let Some((_, value)) = line.split_once("ulimit -Sn ") {
        found.push(("soft".to_owned(), numbers(value)));
    }
    for (flag, name) in [("--nofile=", "nofile"), ("--nproc=", "nproc")] {
        if let Some((_, value)) = line.split_once(flag) {
            found.push((name.to_owned(), numbers(value)));
        }
    }
    if let Some((_, rest)) = line.split_once("echo ")
        && line.contains("tee")
    {
        let file = if line.contains("pids.max") { "pids.max" } else { "memory.max" };
        found.push((file.to_owned(), numbers(rest.split_whitespace().next().unwrap_or(""))));
    }
    if let Some((_, value)) = line.split_once("--max-connections ") {
        found.push(("max-connections".to_owned(), numbers(value.split_whitespace().next().unwrap_or(""))));
    }
    found
}

/// What stands, in the order of the values that a line would set in its place; empty where that is not known.
fn stands(setting: &str, host: &HostSnapshot, plan: &PlanView, server: bool) -> Vec<u64> {
    let of_server = server && plan.server_pid.is_some();
    let one = |value: Option<u64>| value.into_iter().collect();
    let both = |soft: Option<u64>, hard: Option<u64>| vec![soft.unwrap_or(0), hard.unwrap_or(0)];
    let end = if server { host.server_nofile } else { host.swarm_nofile };
    match setting {
        "fs.nr_open" => one(host.nr_open),
        "fs.file-max" => one(host.file_max),
        "fs.epoll.max_user_watches" => one(host.epoll_watches),
        "net.ipv4.tcp_max_orphans" => one(host.max_orphans),
        "net.ipv4.tcp_max_tw_buckets" => one(host.max_tw_buckets),
        "net.ipv4.tcp_max_syn_backlog" => one(host.max_syn_backlog),
        "net.core.somaxconn" => one(host.somaxconn),
        "net.core.netdev_max_backlog" => one(host.netdev_max_backlog),
        "net.netfilter.nf_conntrack_max" => one(host.conntrack_max),
        "net.ipv4.neigh.default.gc_thresh3" => one(host.neighbours_max),
        "net.ipv4.tcp_mem" => host.tcp_mem_pages.map(Vec::from).unwrap_or_default(),
        "kernel.threads-max" => one(host.threads_max),
        "soft" => one(host.nofile_soft.max(end)),
        // The soft one, and the hard one where it is set too.
        "nofile" if of_server => both(host.server_nofile, plan.server_nofile_hard),
        "nofile" => both(host.nofile_soft.max(end), host.nofile_hard),
        "nproc" => both(host.nproc, host.nproc_hard),
        "pids.max" => one(host.pids_max),
        "memory.max" => one(host.cgroup_memory_bytes),
        "max-connections" => one(plan.server_max_connections),
        _ => Vec::new(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_line_that_lifts_a_wall_lowers_what_stands(host in any_host(), plan in any_plan()) {
        // A soft limit is never above its hard one.
        let mut host = host;
        host.nofile_hard = host.nofile_hard.max(host.nofile_soft).max(host.server_nofile).max(host.swarm_nofile);
        host.nproc_hard = host.nproc_hard.max(host.nproc);
        let mut plan = plan;
        plan.server_nofile_hard = plan.server_nofile_hard.max(host.server_nofile);
        for wall in walls() {
            let remedy = (wall.lift)(&host, &plan);
            prop_assert!(!remedy.commands.is_empty(), "{}", wall.name);
            let server = wall.name != "nofile-swarm";
            for line in &remedy.commands {
                for (setting, values) in sets(line) {
                    for (value, present) in values.iter().zip(stands(&setting, &host, &plan, server)) {
                        prop_assert!(*value >= present, "{}: {line}: {present} stands", wall.name);
                    }
                }
            }
            for setting in &remedy.settings {
                let Some(key) = setting.key.strip_prefix("sysctl.") else { continue };
                let values = setting.value.split_whitespace().filter_map(|word| word.parse::<u64>().ok());
                for (value, present) in values.zip(stands(key, &host, &plan, server)) {
                    prop_assert!(value >= present, "{}: {setting:?}: {present} stands", wall.name);
                }
            }
        }
    }
}

#[test]
fn what_is_enough_already_is_said_and_doubled_for_more() {
    let mut host = host();
    host.nofile_soft = Some(20_000);
    host.nofile_hard = Some(1 << 20);
    let plan = PlanView { target: 5_000, ..plan() };
    let lift = |name: &str| (wall(name).expect("a wall").lift)(&host, &plan);
    let descriptors = lift("nofile-server");
    assert_eq!(descriptors.commands, ["ulimit -Sn 40000"]);
    assert!(descriptors.summary.starts_with("20,000 are enough for 5,000."), "{}", descriptors.summary);
    let nr_open = lift("nr-open").commands;
    assert_eq!(nr_open[0], "sudo sysctl -w fs.nr_open=2097152");
    assert_eq!(nr_open[1], "sudo prlimit --pid $$ --nofile=2097152:2097152");
    assert_eq!(lift("file-max").commands, ["sudo sysctl -w fs.file-max=4932354"]);
    // What cannot be seen from here is looked at by the line itself.
    let line = &lift("netdev-backlog").commands[0];
    assert_eq!(
        line,
        "[ \"$(sysctl -n net.core.netdev_max_backlog)\" -ge 10000 ] || sudo sysctl -w \
         net.core.netdev_max_backlog=10000"
    );
}

#[test]
fn an_end_that_was_started_with_less_than_the_shell_has_is_started_again() {
    let mut host = host();
    (host.server_tables, host.server_nofile) = (false, Some(300));
    (host.nofile_soft, host.nofile_hard) = (Some(20_000), Some(20_000));
    let plan = PlanView { target: 600, ..plan() };
    let lift = (wall("nofile-server").expect("a wall").lift)(&host, &plan);
    assert_eq!(lift.commands, ["c10k-server"]);
    assert!(lift.summary.contains("20,000: it had 300"), "{}", lift.summary);
}

#[test]
fn an_overflow_that_may_be_another_listeners_names_no_queue() {
    let of = |own: Option<u64>, others: Option<u64>, longest: Option<u64>| {
        let mut f = planted("accept-queue").expect("planted");
        f.counters.remove(counter::LISTENER_DROPS);
        f.counters.remove(counter::OTHER_LISTENERS_DROPS);
        let seen = [
            (counter::LISTENER_DROPS, own),
            (counter::OTHER_LISTENERS_DROPS, others),
            (counter::ACCEPT_QUEUE, longest),
        ];
        for (name, value) in seen {
            f.counters.extend(value.map(|value| (name.to_owned(), change(0, value))));
        }
        named(&f).wall
    };
    // A filter drops every SYN of ours while somebody else's queue overflows.
    assert_eq!(of(Some(800), Some(300), Some(0)), UNKNOWN);
    assert_eq!(of(Some(0), Some(300), Some(4096)), UNKNOWN, "ours dropped nothing");
    assert_eq!(of(None, None, None), UNKNOWN, "nothing is known of ours");
    assert_eq!(of(Some(800), Some(0), Some(17)), "accept-queue", "nobody else dropped");
    assert_eq!(of(Some(800), Some(300), Some(4096)), "accept-queue", "ours was seen full");
    assert_eq!(of(None, None, Some(4097)), "accept-queue");
}

#[test]
fn a_kill_for_the_memory_of_somebody_elses_group_is_not_the_machines() {
    let mut findings = planted("ram").expect("planted");
    // With millions of connections MemAvailable still counts their inodes in.
    findings.lowest_memory_available_bytes = Some(6 << 30);
    assert_eq!(named(&findings).wall, "ram");
    findings.lowest_memory_available_bytes = Some(20 << 30);
    assert_eq!(named(&findings).wall, "server-died");
    findings.lowest_memory_available_bytes = None;
    assert_eq!(named(&findings).wall, "server-died");
}

#[test]
fn packets_that_somebody_else_lost_do_not_explain_the_syns_that_were_sent_again() {
    let mut findings = planted("netdev-backlog").expect("planted");
    moved(&mut findings, counter::SOFTNET_DROPPED, 1);
    assert_eq!(named(&findings).wall, UNKNOWN);
    moved(&mut findings, counter::SOFTNET_DROPPED, 4_500);
    assert_eq!(named(&findings).wall, "netdev-backlog");
    findings.counters.remove(counter::SYN_RETRANSMITS);
    assert_eq!(named(&findings).wall, UNKNOWN);
}

#[test]
fn ports_in_time_wait_are_predicted_where_they_are_not_used_again() {
    let of = |reuse, timestamps, pool| {
        let host = HostSnapshot {
            port_range: Some((40_000, 40_399)),
            time_wait: Some(300),
            tw_reuse: Some(reuse),
            timestamps: Some(timestamps),
            ..host()
        };
        let plan = PlanView { target: 300, sources: 1, source_ports: None, pool, ..plan() };
        let found = predict(&host, &plan).into_iter().find(|p| p.wall == "time-wait-ports");
        found.map(|found| (found.connections, found.lift.commands))
    };
    let (left, lift) = of(0, 1, None).expect("they are kept");
    assert_eq!(left, 100);
    assert_eq!(lift[0], "c10k-swarm --ips 127.0.0.1-127.0.0.2 --target 300");
    assert_eq!(lift[1..], ["sudo sysctl -w net.ipv4.tcp_tw_reuse=1"]);
    assert_eq!(of(2, 1, None), None, "on loopback that gives them out again");
    assert_eq!(of(1, 1, None), None);
    assert_eq!(of(0, 1, Some(1 << 20)), None, "there are more addresses");
    let (left, lift) = of(1, 0, None).expect("without timestamps nothing is used again");
    assert_eq!((left, lift.len()), (100, 2));
    assert_eq!(lift[1], "sudo sysctl -w net.ipv4.tcp_timestamps=1");
    let (_, lift) = of(0, 0, None).expect("without timestamps nothing is used again");
    assert_eq!(lift[1..], ["sudo sysctl -w net.ipv4.tcp_timestamps=1 net.ipv4.tcp_tw_reuse=1"]);
}

#[test]
fn each_line_that_lifts_a_wall_of_ports_suffices_by_itself() {
    let host = HostSnapshot { reserved_ports: Some(14_116), ..host() };
    let of = |name: &str, plan: &PlanView| (wall(name).expect("a wall").lift)(&host, plan).commands;
    let one_source = PlanView { sources: 1, explicit_ports: false, source_ports: None, ..plan() };
    // The widest range alone has 64,512 ports, and 100,000 are wanted.
    assert_eq!(of("ports-exhausted", &one_source), ["c10k-swarm --ips 127.0.0.1-127.0.0.8 --target 100000"]);
    let fewer = PlanView { target: 60_000, ..one_source.clone() };
    assert_eq!(
        of("ports-exhausted", &fewer)[1],
        "sudo sysctl -w net.ipv4.ip_local_port_range=\"1024 65535\""
    );
    assert_eq!(of("ports-reserved", &one_source)[1], "c10k-swarm --ips 127.0.0.1-127.0.0.8 --target 100000");
    let tracked = of("conntrack", &one_source);
    assert!(tracked.len() == 2 && tracked[1].matches("sudo").count() == 1, "{tracked:?}");
    let host = HostSnapshot { may_raise_nofile: Some(false), ..host.clone() };
    assert_eq!((wall("nr-open").expect("a wall").lift)(&host, &one_source).commands, ["c10k-server"]);
}

#[test]
fn the_limit_on_threads_that_refused_is_named_and_lifted() {
    let lift = |findings: &Findings| {
        let ceiling = named(findings);
        let sources: Vec<String> = ceiling.evidence.iter().map(|e| e.source.clone()).collect();
        (sources, ceiling.remedy.expect("a remedy").commands)
    };
    let mut of_group = planted("threads").expect("planted");
    of_group.host.nproc_bypassed = true;
    (of_group.host.pids_max, of_group.host.pids_current) = (Some(5), Some(5));
    of_group.host.pids_folder = Some("/sys/fs/cgroup/pids/a b".to_owned());
    moved(&mut of_group, counter::SWARM_THREADS_REFUSED, 2);
    let (sources, commands) = lift(&of_group);
    assert_eq!(sources, ["EAGAIN", counter::SWARM_THREADS_REFUSED, "pids.max", "pids.current"]);
    assert_eq!(commands, ["echo 69 | sudo tee '/sys/fs/cgroup/pids/a b/pids.max'"]);
    // Of an ordinary user in the same group its refusals decide, whatever was left at the start.
    of_group.host.nproc_bypassed = false;
    for (current, left) in [(Some(5), None), (Some(4), Some(0)), (None, Some(70))] {
        (of_group.host.pids_current, of_group.host.threads_left) = (current, left);
        let (sources, commands) = lift(&of_group);
        assert_eq!(sources[2], "pids.max", "{current:?}, {left:?}");
        assert!(commands[0].contains("pids.max"), "{commands:?}");
    }
    of_group.counters.insert(counter::SWARM_THREADS_REFUSED.to_owned(), change(3, 3));
    let (sources, commands) = lift(&of_group);
    assert_eq!(sources, ["EAGAIN", "RLIMIT_NPROC"]);
    assert!(commands[0].contains("--nproc="), "{commands:?}");
    let mut of_user = planted("threads").expect("planted");
    of_user.host.nproc_hard = Some(90_000);
    let (sources, commands) = lift(&of_user);
    assert_eq!(sources, ["EAGAIN", "RLIMIT_NPROC"]);
    assert_eq!(commands, ["sudo prlimit --pid $$ --nproc=90064:90064"]);
    of_user.host.nproc_bypassed = true;
    of_user.host.threads_max = Some(190_000);
    let (sources, commands) = lift(&of_user);
    assert_eq!(sources, ["EAGAIN", "kernel.threads-max"], "it does not bind root");
    assert_eq!(commands, ["sudo sysctl -w kernel.threads-max=380000"]);
    (of_user.host.pids_max, of_user.host.pids_current) = (Some(9_000), Some(9));
    of_user.host.threads_left = Some(70);
    let (sources, commands) = lift(&of_user);
    assert_eq!((sources.len(), commands.len()), (1, 1), "of two limits that count nothing none is proven");
    assert!(commands[0].contains("kernel.threads-max"), "{commands:?}");
}

#[test]
fn the_queue_of_a_program_that_asked_for_little_is_not_lifted_by_somaxconn() {
    let lift = |backlog, somaxconn| {
        let mut findings = planted("accept-queue").expect("planted");
        (findings.host.backlog, findings.host.somaxconn) = (Some(backlog), Some(somaxconn));
        named(&findings).remedy.expect("a remedy")
    };
    let by_program = lift(5, 4096);
    assert_eq!(by_program.commands, ["c10k-swarm --in-flight 5 --target 100000"]);
    assert!(by_program.summary.contains("asks listen() for 5"), "{}", by_program.summary);
    let by_host = lift(4096, 4096);
    assert_eq!(by_host.commands[1], "sudo sysctl -w net.core.somaxconn=16384");
}

#[test]
fn ports_that_are_not_to_be_tracked_are_the_servers_own() {
    let lines = |server_ports: &[u16]| {
        let plan = PlanView { server_ports: server_ports.to_vec(), ..plan() };
        (wall("conntrack").expect("a wall").lift)(&host(), &plan).commands.join("; ")
    };
    assert!(lines(&[8080]).contains("tcp dport 8080 notrack"), "{}", lines(&[8080]));
    assert!(lines(&[80, 81]).contains("tcp sport { 80, 81 } notrack") && !lines(&[80, 81]).contains("9000"));
}

#[test]
fn exhausted_ports_say_how_many_addresses_are_needed_and_which() {
    let ceiling = named(&planted("ports-exhausted").expect("planted"));
    let texts: Vec<&str> = ceiling.evidence.iter().map(|e| e.text.as_str()).collect();
    assert!(texts.iter().any(|text| text.contains("28,232 ports (32768-60999)")), "{texts:?}");
    assert!(texts.iter().any(|text| text.contains("needed for 100,000: 4")), "{texts:?}");
    let remedy = ceiling.remedy.expect("it can be lifted");
    let ips = remedy.settings.iter().find(|setting| setting.key == "--ips").expect("addresses");
    assert_eq!(ips.value, "127.0.0.1-127.0.0.4");
    assert!(remedy.commands[0].contains("--ips 127.0.0.1-127.0.0.4"), "{remedy:?}");
}

#[test]
fn a_range_that_is_the_widest_is_not_to_be_widened() {
    let lift = |range| {
        let mut findings = planted("ports-exhausted").expect("planted");
        findings.host.port_range = Some(range);
        findings.plan.source_ports = None;
        // The server's own port lies in it.
        findings.plan.ports_left_out = Some(1);
        named(&findings).remedy.expect("it can be lifted").summary
    };
    assert!(lift((32768, 60999)).contains("widen the port range"));
    let widest = lift((1024, 65535));
    assert!(widest.starts_with("Use ") && !widest.contains("widen"), "{widest}");
}

#[test]
fn a_foreign_server_that_vanished_is_told_from_one_that_never_was() {
    let mut findings = planted("server-died").expect("planted");
    findings.server_end = None;
    findings.server = None;
    assert_eq!(names(&named(&findings)), ["server-died"]);
    // Who goes on serving some has not died.
    findings.connections.held = 50;
    assert_eq!(named(&findings).wall, UNKNOWN);
}

#[test]
fn the_first_wall_of_a_plain_program_is_its_descriptor_limit() {
    let mut host = host();
    (host.server_tables, host.swarm_tables) = (false, false);
    (host.server_nofile, host.swarm_nofile) = (Some(1024), Some(4096));
    let walls: Vec<(String, u64)> =
        predict(&host, &plan()).into_iter().map(|p| (p.wall, p.connections)).collect();
    assert_eq!(walls[0], ("nofile-server".to_owned(), 1016));
    assert_eq!(walls[1], ("nofile-swarm".to_owned(), 4088));
    assert!(walls.contains(&("ports-exhausted".to_owned(), 112_928)), "{walls:?}");
    assert!(walls.windows(2).all(|pair| pair[0].1 <= pair[1].1), "{walls:?}");
}

#[test]
fn tables_of_their_own_leave_ports_as_the_first_wall() {
    let first = predicted_ceiling(&host(), &plan()).expect("limits were read");
    let expected =
        Predicted { connections: 112_928, wall: "ports-exhausted".to_owned(), uncertainty_percent: 0 };
    assert_eq!(first, expected);
}

#[test]
fn sources_that_the_swarm_chooses_itself_are_a_wall_only_when_the_pool_of_them_is() {
    let of = |pool, target| {
        let plan = PlanView { pool: Some(pool), target, ..plan() };
        let ports = predict(&host(), &plan).into_iter().find(|p| p.wall == "ports-exhausted");
        ports.map(|prediction| prediction.connections)
    };
    assert_eq!(of(1 << 20, 10_000_000), None, "it takes as many as it needs");
    assert_eq!(of(10, 282_320), None);
    assert_eq!(of(10, 282_321), Some(282_320), "all of them are too few");
}

#[test]
fn a_run_that_stopped_growing_for_the_sake_of_memory_names_it_and_what_it_kept() {
    let kept = |in_a_group, then: fn(&mut Findings)| {
        let mut findings = healthy();
        findings.connections.held = 90_000;
        findings.verdicts = vec![verdict("held = target", false)];
        let (left_bytes, reserve_bytes) = (65 << 20, 64 << 20);
        findings.kept_free = Some(KeptFree { in_a_group, left_bytes, reserve_bytes, each_bytes: 5_600 });
        then(&mut findings);
        diagnose(&findings, None).expect("it fell short")
    };
    for (in_a_group, name) in [(false, "ram"), (true, "cgroup-memory")] {
        let ceiling = kept(in_a_group, |_| {});
        let names: Vec<&str> = ceiling.walls.iter().map(|wall| wall.name.as_str()).collect();
        assert_eq!(names, [name]);
        assert!(ceiling.evidence[0].text.contains("64.0 MiB are kept in reserve"), "{:?}", ceiling.evidence);
    }
    // What the OOM killer says counts for more.
    let killed = kept(true, |findings| moved(findings, counter::GROUP_OOM_KILLS, 1));
    assert_eq!((killed.wall.as_str(), killed.evidence[0].after), ("cgroup-memory", Some(8)));
}

#[test]
fn what_a_group_keeps_free_is_no_room_for_connections() {
    let mut host = host();
    (host.cgroup_memory_bytes, host.cgroup_memory_used_bytes) = (Some(1 << 30), Some(0));
    let of = |host: &HostSnapshot| {
        let found = predict(host, &plan()).into_iter().find(|p| p.wall == "cgroup-memory");
        found.expect("a limit").connections
    };
    let all = of(&host);
    host.cgroup_memory_kept_bytes = Some(1 << 29);
    assert!(of(&host).abs_diff(all / 2) <= 1);
}

#[test]
fn what_a_table_holds_beside_connections_is_counted_or_is_an_uncertainty() {
    let mut host = host();
    (host.server_tables, host.server_nofile, host.server_per_table) = (false, Some(256), Some(249));
    let first = |host: &HostSnapshot| predicted_ceiling(host, &plan()).expect("a limit");
    assert_eq!((first(&host).connections, first(&host).uncertainty_percent), (249, 0));
    host.server_per_table = None;
    assert_eq!((first(&host).connections, first(&host).uncertainty_percent), (248, 4));
}

#[test]
fn a_limit_that_could_not_be_read_predicts_nothing() {
    let plan = PlanView { source_ports: None, ..plan() };
    assert_eq!(predicted_ceiling(&HostSnapshot::default(), &plan), None);
}

#[test]
fn two_users_have_the_watches_of_epoll_each_for_themselves() {
    let forecast = |host: &HostSnapshot, plan: &PlanView| {
        let all = predict(host, plan);
        all.into_iter().find(|wall| wall.wall == "epoll-watches").expect("the limit was read")
    };
    let words = |line: &str| line.split(' ').map(str::to_owned).collect();
    let (one, swarm) = (host(), PlanView { again: words("c10k-swarm --server a:1"), ..plan() });
    let found = forecast(&one, &swarm);
    assert_eq!((found.connections, found.uncertainty_percent), (5_491_511 / 2, 0));
    let line = format!("sudo -u nobody c10k-swarm --server a:1 --target {TARGET}");
    assert_eq!(found.lift.commands.last(), Some(&line));
    assert!(wall("epoll-watches").expect("a wall").any_command_lifts && found.lift.commands.len() == 2);
    let lab = PlanView { again: words("c10k-lab run"), own_server: true, ..plan() };
    assert_eq!(forecast(&one, &lab).lift.commands.len(), 1, "the lab starts both ends as one user");
    let beside = PlanView { again: words("c10k-lab run --server-port 80"), ..plan() };
    assert_eq!(forecast(&one, &beside).lift.commands.len(), 1, "another user may not write its results");
    let own = PlanView { again: words("c10k-lab swarm --server a:1"), ..plan() };
    assert_eq!(forecast(&one, &own).lift.commands.len(), 2);
    let two = HostSnapshot { watches_apart: true, ..one.clone() };
    assert_eq!(forecast(&two, &swarm).connections, 5_491_511);
    assert_eq!(forecast(&two, &swarm).lift.commands.len(), 1, "they are two users already");
    let remote = PlanView { both_ends_here: false, ..swarm };
    assert_eq!(forecast(&one, &remote).connections, 5_491_511);
}

#[test]
fn memory_is_predicted_with_its_uncertainty() {
    let predictions = predict(&host(), &plan());
    let ram = predictions.iter().find(|p| p.wall == "ram").expect("memory was read");
    assert_eq!((ram.connections, ram.uncertainty_percent), ((20 << 30) / 8_330, 5));
    let mut host = host();
    host.memory_total_bytes = Some(24 << 30);
    (host.server_connection_bytes, host.client_connection_bytes) = (Some(4_000), Some(4_000));
    (host.cgroup_memory_bytes, host.cgroup_memory_used_bytes) = (Some(1 << 30), Some(1 << 20));
    let predictions = predict(&host, &plan());
    let of = |name: &str| predictions.iter().find(|p| p.wall == name).map(|p| p.connections);
    assert_eq!(of("ram"), Some(((20 << 30) - memory_reserve_bytes(24 << 30)) / 8_000));
    assert_eq!(of("cgroup-memory"), Some(((1 << 30) - (1 << 20)) / 8_000));
    host.cgroup_connection_bytes = Some(5_600);
    let charged = predict(&host, &plan()).into_iter().find(|p| p.wall == "cgroup-memory").expect("a group");
    assert_eq!(charged.connections, ((1 << 30) - (1 << 20)) / 5_600);
}

#[test]
fn a_server_whose_only_limit_is_its_one_table_is_at_its_descriptor_limit() {
    let mut findings = short(976, "probe-timeout", 3_000);
    findings.connections.established = 3_976;
    findings.connections.ghosts = Some(3_000);
    (findings.host.server_tables, findings.host.server_nofile) = (false, Some(1_000));
    findings.server_max_connections = Some(976);
    let report = server(&mut findings);
    (report.paused, report.tables) = (1, 2);
    moved(&mut findings, counter::LISTEN_OVERFLOWS, 900);
    assert_eq!(names(&named(&findings)), ["nofile-server"]);
    // Asked for, the same number is the server's own setting.
    findings.plan.server_max_connections = Some(976);
    assert_eq!(names(&named(&findings)), ["server-max-connections"]);
}

#[test]
fn a_swarm_that_stops_with_its_one_table_full_needs_no_errno() {
    let mut findings = short(990, "aborted", 0);
    (findings.host.swarm_tables, findings.host.swarm_nofile) = (false, Some(1_000));
    assert_eq!(names(&named(&findings)), ["nofile-swarm"]);
    findings.host.swarm_tables = true;
    assert_eq!(named(&findings).wall, UNKNOWN);
}

#[test]
fn a_full_table_of_neighbours_shows_as_connects_that_time_out() {
    let mut findings = short(60_000, "connect-timeout", 512);
    findings.plan.on_one_link = true;
    moved(&mut findings, counter::SYN_RETRANSMITS, 1_000);
    moved(&mut findings, counter::NEIGHBOUR_TABLE_FULLS, 512);
    let ceiling = named(&findings);
    assert_eq!(names(&ceiling), ["neighbour-table"]);
    assert!(ceiling.evidence.iter().any(|e| e.source == "connect-timeout"), "{ceiling:?}");
    // That the table stands at its limit does not prove that somebody found no room in it.
    findings.counters.remove(counter::NEIGHBOUR_TABLE_FULLS);
    findings.host.neighbours_max = Some(1024);
    findings.counters.insert(counter::NEIGHBOURS.to_owned(), change(3, 1_024));
    assert_eq!(names(&named(&findings)), ["firewall-drop"]);
}

#[test]
fn why_the_swarm_tried_no_more_is_evidence_and_a_wall_where_it_proves_one() {
    let stopped = |why| {
        let mut findings = short(10_000, "ECONNRESET", 512);
        findings.growth_stopped = Some(why);
        named(&findings)
    };
    assert_eq!(names(&stopped(GrowthStop::NoThreads)), ["threads"]);
    assert_eq!(names(&stopped(GrowthStop::NoDescriptors)), ["nofile-swarm"]);
    for why in [GrowthStop::NothingSucceeds, GrowthStop::NoTables, GrowthStop::WorkersLost] {
        let ceiling = stopped(why);
        assert_eq!(ceiling.wall, UNKNOWN);
        let said = ceiling.evidence.iter().find(|evidence| evidence.source == "growth_stopped");
        assert!(said.is_some_and(|said| said.text.contains(&why.to_string())), "{ceiling:?}");
    }
}

const OUTCOMES: [&str; 23] = [
    "EMFILE",
    "ENFILE",
    "ENOSPC",
    "EADDRNOTAVAIL",
    "EADDRINUSE",
    "ECONNRESET",
    "ECONNREFUSED",
    "ENETUNREACH",
    "EHOSTUNREACH",
    "EAGAIN",
    "EPERM",
    "ENOBUFS",
    "ETIMEDOUT",
    "connect-timeout",
    "probe-timeout",
    "corrupt",
    "closed-by-server",
    "short-echo",
    "aborted",
    "errno-4095",
    "EBUSY",
    "ENOMEM",
    "worker-lost",
];

const COUNTERS: [&str; 29] = [
    counter::ACCEPT_QUEUE,
    counter::LISTENER_DROPS,
    counter::OTHER_LISTENERS_DROPS,
    counter::LISTEN_OVERFLOWS,
    counter::LISTEN_DROPS,
    counter::SYN_RETRANSMITS,
    counter::REQ_QUEUE_FULL_DROP,
    counter::REQ_QUEUE_FULL_COOKIES,
    counter::ABORT_ON_MEMORY,
    counter::MEMORY_PRESSURES,
    counter::TIME_WAIT_OVERFLOW,
    counter::SOFTNET_DROPPED,
    counter::TCP_MEM_PAGES,
    counter::ORPHANS,
    counter::TIME_WAIT,
    counter::FILES_IN_USE,
    counter::CONNTRACK_COUNT,
    counter::CONNTRACK_DROPPED,
    counter::GROUP_BYTES,
    counter::GROUP_FAILURES,
    counter::GROUP_OOM_KILLS,
    counter::OOM_KILLS,
    counter::NEIGHBOURS,
    counter::NEIGHBOUR_TABLE_FULLS,
    counter::LINK_BITS_PER_SECOND,
    counter::LINK_DROPPED,
    counter::SERVER_THROTTLED,
    counter::SWARM_THROTTLED,
    counter::SWARM_THREADS_REFUSED,
];

/// Small, middle and absurd numbers.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![0_u64..3, 0_u64..200_000, Just(u64::MAX)]
}

fn maybe() -> impl Strategy<Value = Option<u64>> {
    proptest::option::of(number())
}

prop_compose! {
    fn any_host()(
        a in proptest::collection::vec(maybe(), 30), range in proptest::option::of(any::<(u16, u16)>()),
        mem in proptest::option::of([number(), number(), number()]), tables in any::<(bool, bool)>(),
    ) -> HostSnapshot {
        HostSnapshot {
            server_nofile: a[0], swarm_nofile: a[1], nr_open: a[2], file_max: a[3], files_in_use: a[4],
            server_tables: tables.0, swarm_tables: tables.1,
            port_range: range, reserved_ports: a[5], somaxconn: a[6], backlog: a[6], max_orphans: a[7],
            tcp_mem_pages: mem, epoll_watches: a[8], watches_apart: tables.1, conntrack_max: a[9], memory_available_bytes: a[10],
            max_tw_buckets: a[11], server_per_table: a[12], swarm_per_table: a[13], threads_left: a[14],
            conntrack_entries: a[3], neighbours_max: a[15], link_bits_per_second: a[16], memory_total_bytes: a[17],
            cgroup_memory_bytes: a[18], cgroup_memory_used_bytes: a[19], server_connection_bytes: a[20],
            client_connection_bytes: a[21], may_raise_nofile: Some(tables.0), nofile_hard: a[0], nofile_soft: a[22],
            time_wait: a[23], tw_reuse: a[24], timestamps: a[25], netdev_max_backlog: a[26], nproc: a[27],
            nproc_hard: a[28], nproc_bypassed: tables.1, pids_max: a[29], pids_current: a[22], threads_max: a[23],
            max_syn_backlog: a[24], cgroup_memory_folder: a[25].map(|n| format!("/sys/fs/cgroup/{n}")),
            pids_folder: a[26].map(|n| format!("/sys/fs/cgroup/{n}")),
            ..HostSnapshot::default()
        }
    }
}

prop_compose! {
    fn any_plan()(
        n in proptest::collection::vec(number(), 3), window in proptest::option::of(any::<(u16, u16)>()),
        flags in any::<(bool, bool, bool)>(), max in maybe(), left_out in maybe(),
        ips in proptest::option::of("[0-9.,/:-]{0,20}"),
    ) -> PlanView {
        PlanView {
            target: n[0], sources: n[1], destinations: n[2], source_ports: window, both_ends_here: flags.0,
            probe: flags.1, explicit_ports: flags.2, ips, server_max_connections: max, ports_left_out: left_out,
            on_one_link: flags.0, probe_bytes: n[0] % 65_536, websocket: flags.1, pool: max,
            server_pid: left_out.map(|n| n as u32), server_nofile_hard: max, own_server: flags.2,
            rate_per_second: left_out, server_stopped: flags.0,
            ..PlanView::default()
        }
    }
}

prop_compose! {
    fn any_server()(n in proptest::collection::vec(number(), 4), errno in 0..OUTCOMES.len()) -> ServerReport {
        ServerReport {
            accepted: n[0], peak: n[1], paused: n[2], tables: n[3],
            accept_errors: [(OUTCOMES[errno].to_owned(), n[0])].into(), ..ServerReport::default()
        }
    }
}

fn any_failure() -> impl Strategy<Value = (usize, usize, u64, u64)> {
    (0..OUTCOMES.len(), 0_usize..4, number(), number())
}

prop_compose! {
    fn any_findings()(
        plan in any_plan(), host in any_host(), server in proptest::option::of(any_server()),
        counts in proptest::collection::vec(number(), 7), lost in proptest::collection::vec(any_failure(), 0..5),
        detail in any::<bool>(), capacity in maybe(), stalled in any::<bool>(),
        counters in proptest::collection::vec((0..COUNTERS.len(), number(), number()), 0..6),
        end in proptest::option::of(any::<(bool, i32)>()),
        cores in proptest::option::of(any::<(f64, f64)>()), lowest in maybe(),
        verdicts in proptest::collection::vec((".{0,20}", any::<bool>(), proptest::option::of(any::<f64>())), 0..3),
    ) -> Findings {
        let mut connections = Connections {
            target: counts[0], attempted: counts[1], established: counts[2], accepted: Some(counts[3]),
            verified: Some(counts[4]), held: counts[5], ghosts: Some(counts[6]),
            released: 0,
            failed: Default::default(),
        };
        let mut failures = Vec::new();
        for (outcome, phase, count, first_at_ms) in lost {
            let outcome: Outcome = serde_json::from_value(OUTCOMES[outcome].into()).expect("a name");
            let phase = [PhaseName::Ramp, PhaseName::Hold, PhaseName::Verify, PhaseName::Close][phase];
            connections.failed.insert(outcome.clone(), count);
            if detail {
                failures.push(Failure { phase, outcome, count, first_at_ms });
            }
        }
        Findings {
            plan, host, connections, failures, capacity, server,
            counters: counters.into_iter().map(|(n, a, b)| (COUNTERS[n].to_owned(), change(a, b))).collect(),
            server_end: end.map(|(killed, n)| if killed { ServerEnd::Killed(n) } else { ServerEnd::Exited(n) }),
            accepted_stalled: stalled,
            server_cpu: cores.map(|(used_cores, most_cores)| CpuLoad { used_cores, most_cores }),
            swarm_cpu: cores.map(|(most_cores, used_cores)| CpuLoad { used_cores, most_cores }),
            lowest_memory_available_bytes: lowest,
            verdicts: verdicts.into_iter().map(|(expr, passed, value)| Verdict { expr, passed, value }).collect(),
            ..Findings::default()
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_findings_make_it_panic_or_name_a_wall_without_evidence(findings in any_findings()) {
        let predicted = predicted_ceiling(&findings.host, &findings.plan);
        let short = findings.connections.held < findings.connections.target.max(findings.plan.target);
        let broken = findings.verdicts.iter().any(|verdict| !verdict.passed);
        let ceiling = diagnose(&findings, predicted);
        let harmed = short || broken;
        prop_assert!(ceiling.is_some() || !harmed);
        let Some(ceiling) = ceiling else { return Ok(()) };
        prop_assert!(harmed || names(&ceiling) == ["time-wait-buckets"], "{ceiling:?}");
        prop_assert!(!ceiling.evidence.is_empty());
        prop_assert_eq!(ceiling.wall == UNKNOWN, ceiling.walls.is_empty());
        for found in &ceiling.walls {
            prop_assert!(!found.evidence.is_empty(), "{found:?}");
            prop_assert!(wall(&found.name).is_some(), "{found:?}");
        }
    }

    #[test]
    fn findings_read_back_as_they_were_written(findings in any_findings()) {
        prop_assume!(findings.verdicts.iter().all(|v| v.value.is_none_or(f64::is_finite)));
        let mut findings = findings;
        (findings.server_cpu, findings.swarm_cpu) = (None, None);
        let text = serde_json::to_string(&findings).expect("plain data");
        let again: Findings = serde_json::from_str(&text).expect("what we wrote");
        prop_assert_eq!(again.connections, findings.connections);
        prop_assert_eq!(again.counters, findings.counters);
    }
}
