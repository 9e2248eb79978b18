//! A run that held all it was asked for and broke a verdict names what made it late, or says that it is not known.

use c10k_ceiling::{
    CounterChange, CpuLoad, Findings, MachineLoad, PhaseLoad, PlanView, UNKNOWN, counter, diagnose, walls,
};
use c10k_record::{
    Ceiling, Connections, HostSnapshot, LatencySummary, Outcome, PhaseName, Predicted, ServerReport, Verdict,
};

const TARGET: u64 = 1000;

/// All are held, and these verdicts do not hold.
fn held(broken: &[(&str, Option<f64>)]) -> Findings {
    let mut verdicts = vec![Verdict {
        expr: "held = target".to_owned(),
        passed: Some(true),
        value: Some(TARGET as f64),
        severity: c10k_record::Severity::Fail,
    }];
    verdicts.extend(broken.iter().map(|(expr, value)| Verdict {
        expr: (*expr).to_owned(),
        passed: Some(false),
        value: *value,
        severity: c10k_record::Severity::Fail,
    }));
    Findings {
        plan: PlanView {
            target: TARGET,
            sources: 1,
            destinations: 1,
            both_ends_here: true,
            probe: true,
            ..PlanView::default()
        },
        host: HostSnapshot { backlog: Some(128), somaxconn: Some(4096), ..HostSnapshot::default() },
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
        server: Some(ServerReport { accepted: TARGET, peak: TARGET, tables: 2, ..ServerReport::default() }),
        verdicts,
        ..Findings::default()
    }
}

fn moved(findings: &mut Findings, name: &str) {
    findings.counters.insert(name.to_owned(), CounterChange { before: 7, after: 907 });
}

/// Processor time of a phase on two processors: what each end used and the most it may, and what was idle.
fn load(server: (f64, f64), swarm: (f64, f64), idle_cores: f64) -> PhaseLoad {
    let end = |(used_cores, most_cores)| Some(CpuLoad { used_cores, most_cores });
    let machine = MachineLoad { processors: 2, idle_cores, softirq_cores: 0.05 };
    PhaseLoad { server: end(server), swarm: end(swarm), machine: Some(machine) }
}

#[track_caller]
fn named(findings: &Findings) -> Ceiling {
    let ceiling = diagnose(findings, None).expect("a verdict broke");
    assert_eq!((ceiling.connections, ceiling.hard), (TARGET, false), "no connection was stopped");
    assert!(!ceiling.evidence.is_empty());
    ceiling
}

#[track_caller]
fn expect(findings: &Findings, name: &str) -> Vec<String> {
    let ceiling = named(findings);
    let names: Vec<&str> = ceiling.walls.iter().map(|wall| wall.name.as_str()).collect();
    assert_eq!((ceiling.wall.as_str(), names.as_slice()), (name, [name].as_slice()));
    ceiling.evidence.into_iter().map(|evidence| format!("{}: {}", evidence.source, evidence.text)).collect()
}

#[test]
fn late_echoes_that_nothing_explains_are_the_latency_verdict() {
    let mut findings = held(&[("echo_p95 <= 100ms", Some(250.0))]);
    findings.loads.insert(PhaseName::Verify, load((0.4, 2.0), (0.3, 2.0), 0.9));
    // What moves without making an echo late is no cause of it.
    for name in [counter::LISTEN_OVERFLOWS, counter::LISTEN_DROPS, counter::TIME_WAIT_OVERFLOW] {
        moved(&mut findings, name);
    }
    let evidence = expect(&findings, "latency-verdict");
    assert!(evidence[0].contains("`echo_p95 <= 100ms` does not hold: 250"), "{evidence:?}");
    assert!(evidence.iter().any(|text| text.contains("the server used 0.4 of the 2 cores")), "{evidence:?}");
}

#[test]
fn an_end_without_processor_time_is_named_in_the_place_of_the_verdict() {
    let mut findings = held(&[("echo_p95 <= 100ms", Some(250.0))]);
    findings.loads.insert(PhaseName::Verify, load((0.99, 1.0), (0.3, 2.0), 0.6));
    expect(&findings, "cpu-server");
    let mut findings = held(&[("connects_per_second >= 10k", Some(900.0))]);
    moved(&mut findings, counter::SWARM_THROTTLED);
    expect(&findings, "cpu-swarm");
}

#[test]
fn what_a_workload_is_for_and_did_not_come_in_time_is_looked_into_like_a_latency() {
    let broken = [
        ("stalled_viewers = 0", 120.0),
        ("stalls <= 10", 400.0),
        ("whole_viewers >= 1000", 880.0),
        ("receipts_missing = 0", 77.0),
        ("messages_not_sent_in_time = 0", 900.0),
        ("start_up_p99 <= 100ms", 900.0),
        ("last_receiver_p99 <= 200ms", 800.0),
    ];
    for (expr, value) in broken {
        let with = |server, swarm, idle_cores| {
            // The connects were begun late: that says nothing of what is pushed.
            let mut findings = at_a_rate(&[(expr, Some(value))], 300, 900_000);
            findings.loads.insert(PhaseName::Hold, load(server, swarm, idle_cores));
            // Another phase had nothing to do with it.
            findings.loads.insert(PhaseName::Ramp, load((0.1, 2.0), (2.0, 2.0), 0.0));
            findings
        };
        let evidence = expect(&with((0.4, 2.0), (0.3, 2.0), 0.9), "latency-verdict");
        assert!(evidence[0].contains(expr), "{evidence:?}");
        // Who is held has come already: that fewer are to come a second would not help.
        let remedy = named(&with((0.99, 1.0), (0.3, 2.0), 0.6)).remedy.expect("a remedy");
        assert_eq!(remedy.settings[0].key, "--target", "{remedy:?}");
        assert!(!remedy.summary.contains("slowly"), "{remedy:?}");
        assert!(remedy.commands[0].ends_with(" --target 500"), "once, and half as many: {remedy:?}");
        let mut repeated = with((0.99, 1.0), (0.3, 2.0), 0.6);
        repeated.plan.again = ["c10k-lab", "run", "plan.toml"].map(str::to_owned).to_vec();
        assert!(named(&repeated).remedy.expect("a remedy").commands.is_empty(), "its phases have their own");
        expect(&with((0.99, 1.0), (0.3, 2.0), 0.6), "cpu-server");
        expect(&with((0.3, 2.0), (0.99, 1.0), 0.6), "cpu-swarm");
        expect(&with((0.9, 2.0), (1.0, 2.0), 0.0), "cpu-host");
    }
}

/// At a rate, with connects that took so long and were begun so late, µs.
fn at_a_rate(broken: &[(&str, Option<f64>)], connect_us: u64, late_us: u64) -> Findings {
    let all = |us| LatencySummary {
        p50: Some(us),
        p90: Some(us),
        p95: Some(us),
        p99: Some(us),
        p999: Some(us),
        max: Some(us),
        count: TARGET,
    };
    let mut findings = held(broken);
    findings.plan.rate_per_second = Some(1000);
    findings.latency_us.connect = all(connect_us);
    findings.lateness_us = Some(all(late_us));
    findings
}

#[test]
fn the_server_is_not_blamed_for_the_lateness_of_the_swarm() {
    let response = [("connect_response_p95 <= 5ms", Some(12.0))];
    let evidence = expect(&at_a_rate(&response, 300, 11_700), "swarm-late");
    assert!(evidence[0].contains("`connect_response_p95 <= 5ms` does not hold: 12 ms"), "{evidence:?}");
    assert!(evidence[1].contains("later than intended: by 11,700 µs"), "{evidence:?}");
    // A queue that overflowed meanwhile made no connect late that was not late.
    let mut overflow = at_a_rate(&response, 300, 11_700);
    for name in [counter::LISTEN_OVERFLOWS, counter::SYN_RETRANSMITS, counter::LISTENER_DROPS] {
        moved(&mut overflow, name);
    }
    expect(&overflow, "swarm-late");
    expect(&at_a_rate(&[("connects_per_second >= 900", Some(500.0))], 300, 990_000), "swarm-late");
}

#[test]
fn a_server_that_is_late_by_itself_is_named_for_it_and_the_swarms_lateness_told_beside() {
    let response = [("connect_response_p95 <= 5ms", Some(12.0))];
    let evidence = expect(&at_a_rate(&response, 11_700, 300), "latency-verdict");
    assert!(evidence.iter().any(|text| text.contains("later than intended: by 300 µs")), "{evidence:?}");
    expect(&at_a_rate(&[("first_echo_p99 <= 5ms", Some(900.0))], 300, 300), "latency-verdict");
    // Each for what is its own.
    let both = at_a_rate(&[response[0], ("echo_p95 <= 100ms", Some(250.0))], 300, 11_700);
    let ceiling = named(&both);
    let names: Vec<&str> = ceiling.walls.iter().map(|wall| wall.name.as_str()).collect();
    assert_eq!(names, ["latency-verdict", "swarm-late"]);
    for (wall, about) in ceiling.walls.iter().zip(["`echo_p95", "`connect_response_p95"]) {
        assert!(wall.evidence[0].text.contains(about), "{wall:?}");
        let tells = wall.evidence.iter().any(|evidence| evidence.source == "lateness (µs)");
        assert_eq!(tells, wall.name == "swarm-late", "an echo at the end intends nothing: {wall:?}");
    }
}

#[test]
fn a_swarm_without_processor_time_is_why_it_was_late() {
    let mut findings = at_a_rate(&[("connect_response_p95 <= 5ms", Some(12.0))], 300, 11_700);
    findings.loads.insert(PhaseName::Ramp, load((0.1, 2.0), (1.99, 2.0), 0.0));
    expect(&findings, "cpu-swarm");
}

#[test]
fn processors_that_both_ends_use_up_together_are_named_where_neither_is_at_its_most() {
    let of = |expr, phase, load| {
        let mut findings = held(&[(expr, Some(250.0))]);
        findings.loads.insert(phase, load);
        let ceiling = named(&findings);
        let evidence = ceiling.evidence.iter().map(|evidence| evidence.text.clone()).collect::<Vec<_>>();
        (ceiling.wall, evidence.join("; "))
    };
    let together = load((0.76, 2.0), (1.15, 2.0), 0.02);
    let (wall, evidence) = of("echo_p95 <= 100ms", PhaseName::Verify, together);
    assert_eq!(wall, "cpu-host");
    for says in ["of 2 processors were idle", "the server used 0.76", "the swarm used 1.15", "softirq"] {
        assert!(evidence.contains(says), "{says}: {evidence}");
    }
    // A ramp always takes what there is, and says nothing of echoes that come later.
    assert_eq!(of("echo_p95 <= 100ms", PhaseName::Ramp, together).0, "latency-verdict");
    assert_eq!(of("connect_p95 <= 100ms", PhaseName::Ramp, together).0, "cpu-host");
    // Time was left, whatever the sum of what may be counted twice; and here it was others who used it.
    assert_eq!(
        of("echo_p95 <= 100ms", PhaseName::Verify, load((0.76, 2.0), (1.15, 2.0), 0.4)).0,
        "latency-verdict"
    );
    let (wall, evidence) = of("echo_p95 <= 100ms", PhaseName::Verify, load((0.2, 2.0), (0.3, 2.0), 0.0));
    assert_eq!(wall, "latency-verdict");
    assert!(evidence.contains("other programs used 1.45 cores"), "{evidence}");
    // Of one end that is at its most by itself the other one's share is no part of the proof.
    assert_eq!(
        of("echo_p95 <= 100ms", PhaseName::Verify, load((0.99, 1.0), (0.95, 2.0), 0.0)).0,
        "cpu-server"
    );
}

#[test]
fn where_more_connections_a_second_are_asked_for_fewer_are_no_remedy() {
    let lift = |findings: &Findings| named(findings).remedy.expect("a remedy");
    let slow = || {
        let mut findings = held(&[("connects_per_second >= 10k", Some(900.0))]);
        findings.plan.sources = 1;
        findings
    };
    let mut cases: Vec<(&str, Findings)> = vec![("latency-verdict", slow())];
    let mut add = |name, settle: fn(&mut Findings)| {
        let mut findings = slow();
        settle(&mut findings);
        cases.push((name, findings));
    };
    add("cpu-server", |f| moved(f, counter::SERVER_THROTTLED));
    add("cpu-swarm", |f| moved(f, counter::SWARM_THROTTLED));
    add("cpu-host", |f| {
        f.loads.insert(PhaseName::Ramp, load((0.76, 2.0), (1.15, 2.0), 0.0));
    });
    add("bandwidth", |f| {
        f.host.link_bits_per_second = Some(1000);
        moved(f, counter::LINK_BITS_PER_SECOND);
        f.host.link_bits_per_second = Some(900);
    });
    add("accept-queue", |f| {
        moved(f, counter::LISTEN_OVERFLOWS);
        moved(f, counter::LISTENER_DROPS);
        f.counters.insert(counter::OTHER_LISTENERS_DROPS.to_owned(), CounterChange::default());
        (f.host.backlog, f.host.somaxconn) = (Some(5), Some(4096));
    });
    for (name, findings) in &cases {
        assert_eq!(named(findings).wall, *name);
        let remedy = lift(findings);
        let text = format!("{} {:?} {:?}", remedy.summary, remedy.commands, remedy.settings);
        for slower in ["--rate", "--in-flight", "slowly"] {
            assert!(!text.contains(slower), "{name}: {text}");
        }
        assert!(!remedy.commands.is_empty(), "{name}");
    }
    // One that asks for fewer, or is about time, is helped by it.
    for expr in ["connects_per_second <= 100", "connect_p99 <= 1ms"] {
        let remedy = lift(&held(&[(expr, Some(900.0))]));
        assert!(
            remedy.summary.contains("more slowly") && remedy.commands[0].contains("--rate"),
            "{remedy:?}"
        );
    }
    // Where the plan itself begins too few that is what is to be changed.
    let mut planned = slow();
    planned.plan.rate_per_second = Some(1000);
    assert_eq!(lift(&planned).commands, ["c10k-swarm --rate 12001/s --target 1000"]);
}

#[test]
fn a_full_queue_explains_late_connects_and_no_late_echoes() {
    let overflow = |expr| {
        let mut findings = held(&[(expr, Some(1050.0))]);
        moved(&mut findings, counter::LISTEN_OVERFLOWS);
        moved(&mut findings, counter::SYN_RETRANSMITS);
        moved(&mut findings, counter::LISTENER_DROPS);
        findings.counters.insert(counter::OTHER_LISTENERS_DROPS.to_owned(), CounterChange::default());
        findings
    };
    let evidence = expect(&overflow("connect_p99 <= 100ms"), "accept-queue");
    assert!(evidence.iter().any(|text| text.starts_with("verdict: ")), "{evidence:?}");
    expect(&overflow("echo_p99 <= 100ms"), "latency-verdict");

    let mut findings = held(&[("connect_p99 <= 100ms", Some(1050.0))]);
    moved(&mut findings, counter::REQ_QUEUE_FULL_DROP);
    expect(&findings, "syn-queue");
    let mut findings = held(&[("connect_p99 <= 100ms", Some(1050.0))]);
    moved(&mut findings, counter::SOFTNET_DROPPED);
    moved(&mut findings, counter::SYN_RETRANSMITS);
    for name in [counter::LISTEN_OVERFLOWS, counter::REQ_QUEUE_FULL_DROP] {
        findings.counters.insert(name.to_owned(), CounterChange::default());
    }
    expect(&findings, "netdev-backlog");
    let mut findings = held(&[("connect_p99 <= 100ms", Some(1050.0))]);
    moved(&mut findings, counter::SYN_RETRANSMITS);
    let evidence = expect(&findings, "latency-verdict");
    assert!(evidence.iter().any(|text| text.starts_with(counter::SYN_RETRANSMITS)), "{evidence:?}");
}

#[test]
fn a_broken_verdict_that_no_wall_explains_is_unknown_and_said() {
    for (expr, value, says) in [
        ("echo_p95 <= 100ms", None, "nothing was measured"),
        ("verified < 10", Some(1000.0), "`verified < 10` does not hold"),
    ] {
        let ceiling = named(&held(&[(expr, value)]));
        assert_eq!((ceiling.wall.as_str(), ceiling.walls.len()), (UNKNOWN, 0));
        assert!(ceiling.evidence.iter().any(|evidence| evidence.text.contains(says)), "{ceiling:?}");
        assert!(ceiling.remedy.is_some(), "where to look next");
    }
}

#[test]
fn what_stops_connections_without_making_them_wait_is_not_blamed_for_lateness() {
    let mut findings = held(&[("echo_p95 <= 100ms", Some(250.0))]);
    for name in [counter::ABORT_ON_MEMORY, counter::GROUP_FAILURES, counter::SERVER_THREADS_REFUSED] {
        moved(&mut findings, name);
    }
    findings.host.max_orphans = Some(10);
    moved(&mut findings, counter::ORPHANS);
    expect(&findings, "latency-verdict");
}

#[test]
fn who_holds_all_with_every_verdict_passed_or_was_aborted_has_no_ceiling() {
    assert_eq!(diagnose(&held(&[]), None), None);
    let mut findings = held(&[("echo_p95 <= 100ms", Some(250.0))]);
    findings.aborted = true;
    assert_eq!(diagnose(&findings, None), None);
}

#[test]
fn what_was_lost_before_others_were_released_is_looked_at_too() {
    let mut findings = held(&[("held = target", Some(990.0))]);
    (findings.connections.held, findings.connections.released) = (990, 500);
    findings.connections.add_failed(Outcome::errno(24), 10);
    let ceiling = diagnose(&findings, None).expect("a verdict broke");
    assert_eq!(ceiling.wall, "nofile-swarm");
}

#[test]
fn a_prediction_is_off_by_a_number_only_where_its_wall_was_met() {
    let predicted = |wall: &str| {
        Some(Predicted { connections: TARGET + 9, wall: wall.to_owned(), uncertainty_percent: 0 })
    };
    let mut findings = held(&[("held = target", Some(990.0))]);
    (findings.connections.held, findings.connections.attempted) = (990, 1000);
    findings.connections.add_failed(Outcome::errno(24), 10);
    let off_by = |wall| diagnose(&findings, predicted(wall)).expect("short").off_by;
    assert_eq!(off_by("nofile-swarm"), Some(-19));
    assert_eq!(off_by("ports-exhausted"), None);
}

#[test]
fn every_wall_that_is_named_by_a_verdict_alone_is_soft() {
    for wall in walls().filter(|wall| wall.only_alone && wall.name.ends_with("-verdict")) {
        assert!(!wall.hard, "{}", wall.name);
    }
}
