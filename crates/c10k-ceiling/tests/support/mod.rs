//! Runs that met a wall, as data, and what tests want to know of them.

#![allow(dead_code, reason = "every test file uses its own part of this vocabulary")]

pub(crate) mod abroad;
pub(crate) mod any;

use c10k_ceiling::{
    CounterChange, CpuLoad, Findings, MachineLoad, PhaseLoad, PlanView, ServerEnd, counter, diagnose,
};
use c10k_record::{
    Ceiling, Connections, Failure, GrowthEvidence, GrowthStop, HostSnapshot, LatencySummary, Outcome,
    PhaseName, PortsInPlan, ServerReport, Verdict,
};

pub(crate) const TARGET: u64 = 100_000;

pub(crate) fn host() -> HostSnapshot {
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

pub(crate) fn plan() -> PlanView {
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
pub(crate) fn healthy() -> Findings {
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
        counter::MEMORY_PRESSURES,
        counter::TCP_MEM_PAGES,
        counter::ORPHANS,
        counter::CONNTRACK_DROPPED,
        counter::NEIGHBOUR_TABLE_FULLS,
        counter::GROUP_FAILURES,
        counter::GROUP_HELD_BACK,
        counter::GROUP_OOM_KILLS,
        counter::OOM_KILLS,
        counter::SERVER_THROTTLED,
        counter::SWARM_THROTTLED,
        counter::SERVER_THREADS_REFUSED,
        counter::SWARM_THREADS_REFUSED,
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
            ..Connections::default()
        },
        capacity: Some(112_928),
        counters: still.iter().map(|name| ((*name).to_owned(), change(7, 7))).collect(),
        server: Some(ServerReport { accepted: TARGET, peak: TARGET, tables: 8, ..ServerReport::default() }),
        verdicts: vec![verdict("held = target", true), verdict("failed <= 1%", true)],
        ..Findings::default()
    }
}

/// A run that holds `held` and lost what it tried beyond that under one name.
pub(crate) fn short(held: u64, outcome: &str, count: u64) -> Findings {
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

/// A run whose swarm found no tuple of its plan left, a second after it had begun.
pub(crate) fn out_of_ports(ports: PortsInPlan) -> Findings {
    let mut findings = short(ports.in_use, "aborted", 0);
    findings.growth_stopped = Some(GrowthStop::NoPorts);
    findings.growth_evidence = Some(GrowthEvidence { at_ms: 1_000, errno: None, ports: Some(ports) });
    findings
}

pub(crate) fn lose(findings: &mut Findings, phase: PhaseName, outcome: &str, count: u64, first_at_ms: u64) {
    if count == 0 {
        return;
    }
    let outcome: Outcome = serde_json::from_value(outcome.into()).expect("an outcome is its name");
    findings.connections.add_failed(outcome.clone(), count);
    findings.connections.attempted += count;
    findings.failures.push(Failure { phase, outcome, count, first_at_ms });
}

pub(crate) fn verdict(expr: &str, passed: bool) -> Verdict {
    Verdict {
        expr: expr.to_owned(),
        passed: Some(passed),
        value: Some(12.0),
        severity: c10k_record::Severity::Fail,
    }
}

/// Processor time of a phase on two processors: what each end used and the most it may, and what was idle.
pub(crate) fn load(server: (f64, f64), swarm: (f64, f64), idle_cores: f64) -> PhaseLoad {
    let end = |(used_cores, most_cores)| Some(CpuLoad { used_cores, most_cores });
    let machine = MachineLoad { processors: 2, idle_cores, softirq_cores: 0.05 };
    PhaseLoad { server: end(server), swarm: end(swarm), machine: Some(machine) }
}

pub(crate) fn change(before: u64, after: u64) -> CounterChange {
    CounterChange { before, after }
}

pub(crate) fn moved(findings: &mut Findings, name: &str, growth: u64) {
    findings.counters.insert(name.to_owned(), change(7, 7 + growth));
}

pub(crate) fn server(findings: &mut Findings) -> &mut ServerReport {
    findings.server.as_mut().expect("the server is ours")
}

/// What a run looks like into which that wall alone was put.
pub(crate) fn planted(name: &str) -> Option<Findings> {
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
            let mut f = out_of_ports(PortsInPlan { planned: 28_232, in_use: 28_232, time_wait: 0, taken: 0 });
            f.plan.sources = 1;
            f.capacity = Some(28_232);
            f
        }
        "source-address-gone" => {
            let mut f = short(75_000, "EADDRNOTAVAIL", 20_000);
            lose(&mut f, PhaseName::Verify, "probe-timeout", 5_000, 9_000);
            f.connections.established += 5_000;
            f.sources_gone = Some(vec!["192.168.1.203".parse().expect("an address")]);
            f
        }
        "time-wait-ports" => {
            let ports = PortsInPlan { planned: 28_232, in_use: 10_000, time_wait: 0, taken: 18_232 };
            let mut f = out_of_ports(ports);
            f.plan.sources = 1;
            f.capacity = Some(28_232);
            f.counters.insert(counter::TIME_WAIT.to_owned(), change(18_232, 18_232));
            f
        }
        "ports-reserved" => {
            let mut f = out_of_ports(PortsInPlan { planned: 20_000, in_use: 20_000, time_wait: 0, taken: 0 });
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
            moved(&mut f, counter::CONNTRACK_DROPPED, 9_000);
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
            let (busy, idle) = ((0.99, 1.0), (0.3, 2.0));
            let (server, swarm) = if name == "cpu-server" { (busy, idle) } else { (idle, busy) };
            f.loads.insert(PhaseName::Verify, load(server, swarm, 0.6));
            f
        }
        "cpu-host" => {
            let mut f = short(60_000, "connect-timeout", 0);
            f.verdicts.push(verdict("echo_p95 <= 100ms", false));
            f.loads.insert(PhaseName::Verify, load((0.76, 2.0), (1.15, 2.0), 0.01));
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
        "swarm-late" => {
            let mut f = short(80_000, "aborted", 0);
            f.verdicts.push(verdict("connect_response_p95 <= 5ms", false));
            f.lateness_us = Some(LatencySummary {
                p50: Some(50),
                p95: Some(11_900),
                max: Some(99_000),
                ..LatencySummary::default()
            });
            f.latency_us.connect.p95 = Some(100);
            f
        }
        "error-verdict" => {
            let mut f = short(90_000, "ECONNRESET", 10_000);
            f.verdicts.push(verdict("failed <= 1%", false));
            f
        }
        _ => return abroad::planted(name),
    })
}

#[track_caller]
pub(crate) fn named(findings: &Findings) -> Ceiling {
    let ceiling = diagnose(findings, None).expect("the run fell short");
    assert!(!ceiling.evidence.is_empty(), "{ceiling:?}");
    ceiling
}

pub(crate) fn names(ceiling: &Ceiling) -> Vec<&str> {
    ceiling.walls.iter().map(|wall| wall.name.as_str()).collect()
}
