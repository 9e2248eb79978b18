//! A server that says nothing itself is diagnosed from what is seen of its process and its listener.

use c10k_ceiling::{CounterChange, Findings, PlanView, ServerEnd, ServerProcess, UNKNOWN, counter, diagnose};
use c10k_record::{Connections, Failure, HostSnapshot, Outcome, PhaseName};

/// A swarm beside a foreign server: `verified` of 1,000 answered, the rest did not.
fn foreign(verified: u64) -> Findings {
    let mut findings = Findings {
        plan: PlanView {
            target: 1000,
            sources: 1,
            destinations: 1,
            both_ends_here: true,
            probe: true,
            ..PlanView::default()
        },
        host: HostSnapshot {
            server_nofile: Some(300),
            swarm_tables: true,
            nr_open: Some(1 << 20),
            ..HostSnapshot::default()
        },
        connections: Connections {
            target: 1000,
            established: verified + 101,
            verified: Some(verified),
            held: verified,
            ..Connections::default()
        },
        server_process: Some(ServerProcess {
            pid: 4711,
            most_descriptors: Some(200),
            descriptor_limit: Some(300),
            established: Some(verified + 101),
            not_accepted: Some(101),
            ..ServerProcess::default()
        }),
        ..Findings::default()
    };
    for (outcome, count) in [(Outcome::probe_timeout(), 101), (Outcome::connect_timeout(), 899 - verified)] {
        findings.connections.add_failed(outcome.clone(), count);
        findings.failures.push(Failure { phase: PhaseName::Ramp, outcome, count, first_at_ms: 2000 });
    }
    findings.connections.attempted = 1000;
    for name in [counter::LISTEN_OVERFLOWS, counter::LISTEN_DROPS] {
        findings.counters.insert(name.to_owned(), CounterChange { before: 0, after: 3000 });
    }
    findings
}

#[track_caller]
fn expect_only(findings: &Findings, name: &str) -> Vec<String> {
    let ceiling = diagnose(findings, None).expect("short of the target");
    let names: Vec<&str> = ceiling.walls.iter().map(|wall| wall.name.as_str()).collect();
    assert_eq!((ceiling.wall.as_str(), names.as_slice()), (name, [name].as_slice()));
    ceiling.evidence.iter().map(|evidence| format!("{}: {}", evidence.source, evidence.text)).collect()
}

#[test]
fn a_process_whose_only_table_is_full_has_met_its_descriptor_limit() {
    let mut findings = foreign(290);
    // Its queue fills too, and nobody is taken: that is the consequence.
    findings.accepted_stalled = true;
    let process = findings.server_process.as_mut().expect("seen");
    (process.table_was_full, process.most_descriptors) = (true, Some(300));
    let evidence = expect_only(&findings, "nofile-server");
    assert!(evidence.iter().any(|text| text.contains("process 4711")), "{evidence:?}");
    assert!(evidence.iter().any(|text| text.starts_with("RLIMIT_NOFILE")), "{evidence:?}");
}

#[test]
fn a_table_that_is_full_has_cost_nobody_where_nobody_came_for_a_descriptor() {
    let mut findings = foreign(290);
    findings.evidence.listeners = Some(c10k_record::Listeners { count: 1, ..Default::default() });
    let process = findings.server_process.as_mut().expect("seen");
    (process.table_was_full, process.most_descriptors, process.listens) = (true, Some(300), Some(true));
    let mut lose = |phase, outcome: Outcome| {
        findings.failures = vec![Failure { phase, outcome: outcome.clone(), count: 610, first_at_ms: 2000 }];
        findings.connections.failed = [(outcome, 610)].into();
        let ceiling = diagnose(&findings, None).expect("short of the target");
        ceiling.walls.iter().any(|wall| wall.name == "nofile-server")
    };
    // A rule refuses them, or they were held and ended later.
    assert!(!lose(PhaseName::Ramp, Outcome::errno(111)));
    assert!(!lose(PhaseName::Hold, Outcome::closed_by_server()));
    // A server takes them down that it has no descriptor for.
    assert!(lose(PhaseName::Ramp, Outcome::closed_by_server()));
    assert!(lose(PhaseName::Ramp, Outcome::probe_timeout()));
    assert!(lose(PhaseName::Verify, Outcome::not_accepted()));
}

#[test]
fn a_full_queue_that_nobody_empties_is_a_server_that_has_stopped_accepting() {
    let mut findings = foreign(0);
    findings.accepted_stalled = true;
    let evidence = expect_only(&findings, "server-stopped-accepting");
    assert!(evidence.iter().any(|text| text.contains("101 connections at its side")), "{evidence:?}");
}

#[test]
fn a_stopped_process_is_named_by_its_state_even_before_its_queue_is_full() {
    let mut findings = foreign(0);
    findings.counters.values_mut().for_each(|change| change.after = 0);
    findings.server_process.as_mut().expect("seen").stopped = true;
    let evidence = expect_only(&findings, "server-stopped-accepting");
    assert!(evidence.iter().any(|text| text.contains("state T")), "{evidence:?}");
    assert!(
        !evidence.iter().any(|text| text.starts_with("ListenOverflows")),
        "it did not move: {evidence:?}"
    );
}

#[test]
fn a_process_that_was_stopped_for_a_moment_and_lost_nobody_is_not_blamed() {
    let mut findings = foreign(0);
    findings.server_process.as_mut().expect("seen").stopped = true;
    findings.failures.clear();
    findings.connections.failed.clear();
    findings.connections.add_failed(Outcome::corrupt(), 1000);
    let ceiling = diagnose(&findings, None).expect("short of the target");
    assert_ne!(ceiling.wall, "server-stopped-accepting");
}

#[test]
fn a_process_that_is_gone_is_a_server_that_died_though_nobody_knows_how() {
    let mut findings = foreign(300);
    findings.failures.clear();
    findings.connections.failed.clear();
    let reset = Outcome::errno(104);
    findings.connections.add_failed(reset.clone(), 1000);
    findings.failures.push(Failure {
        phase: PhaseName::Hold,
        outcome: reset,
        count: 1000,
        first_at_ms: 9000,
    });
    findings.connections.held = 0;
    findings.server_end = Some(ServerEnd::Gone);
    let evidence = expect_only(&findings, "server-died");
    assert!(evidence.iter().any(|text| text.contains("is gone")), "{evidence:?}");
}

#[test]
fn a_server_that_closed_its_listener_and_lives_has_not_died() {
    for (held, listens) in [(50, Some(false)), (0, Some(false)), (0, None)] {
        let mut findings = foreign(100);
        findings.counters.clear();
        findings.failures.clear();
        findings.connections.failed.clear();
        findings.connections.add_failed(Outcome::errno(104), 100 - held);
        findings.connections.add_failed(Outcome::errno(111), 900);
        findings.connections.held = held;
        findings.server_process.as_mut().expect("seen").listens = listens;
        let ceiling = diagnose(&findings, None).expect("short of the target");
        assert_eq!(ceiling.wall, UNKNOWN, "{ceiling:?}");
        let said = ceiling.evidence.iter().find(|evidence| evidence.source == "process").expect("said");
        assert!(said.text.contains("process 4711 lives"), "{}", said.text);
        assert_eq!(said.text.contains("listener is gone"), listens == Some(false), "{}", said.text);
    }
}

#[test]
fn a_blocked_server_is_not_to_be_woken_by_a_signal() {
    let commands = |stopped| {
        let mut findings = foreign(0);
        findings.accepted_stalled = true;
        (findings.plan.server_pid, findings.plan.server_stopped) = (Some(4711), stopped);
        let ceiling = diagnose(&findings, None).expect("short of the target");
        ceiling.remedy.expect("a remedy").commands
    };
    assert_eq!(commands(true), ["kill -CONT 4711"]);
    assert!(commands(false).iter().all(|line| line.contains("4711") && !line.contains("kill")));
}

#[test]
fn a_healthy_process_with_room_proves_no_wall_of_its_own() {
    let mut findings = foreign(290);
    findings.counters.clear();
    findings.failures.clear();
    findings.connections.failed.clear();
    findings.connections.add_failed(Outcome::probe_timeout(), 710);
    let ceiling = diagnose(&findings, None).expect("short of the target");
    assert_eq!(ceiling.wall, UNKNOWN);
}

#[test]
fn a_server_that_no_longer_answers_and_may_not_be_seen_is_unknown_and_its_queue_is_not_blamed() {
    let mut findings = foreign(899);
    findings.connections.failed.clear();
    findings.connections.add_failed(Outcome::probe_timeout(), 1000);
    findings.connections.held = 0;
    findings.failures = vec![Failure {
        phase: PhaseName::Verify,
        outcome: Outcome::probe_timeout(),
        count: 1000,
        first_at_ms: 9000,
    }];
    findings.server_process = None;
    findings.counters.insert(counter::ACCEPT_QUEUE.to_owned(), CounterChange { before: 0, after: 129 });
    let ceiling = diagnose(&findings, None).expect("short of the target");
    assert_eq!(ceiling.wall, UNKNOWN, "what overflowed in the ramp lost nobody in the hold");
    assert!(ceiling.evidence.iter().any(|evidence| evidence.source == "not readable"), "{ceiling:?}");
    let remedy = ceiling.remedy.expect("where to look");
    assert!(remedy.summary.contains("stopped (state T)"), "{}", remedy.summary);
}
