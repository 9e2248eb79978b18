//! Every wall is named by its own evidence and by nothing else; a healthy run names none.

mod support;

use std::collections::BTreeSet;

use c10k_ceiling::{Findings, KeptFree, UNKNOWN, counter, diagnose, predicted_ceiling, wall, walls};
use c10k_record::{GrowthEvidence, GrowthStop, Outcome, PhaseName, PortsInPlan, Verdict};
use proptest::prelude::*;
use support::any::any_findings;
use support::{change, healthy, lose, moved, named, names, out_of_ports, planted, server, short, verdict};

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
    findings.failures[0].first_at_ms = 4_000;
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

/// An errno of bind(2) or connect(2) that the swarm counted is of a source that is not on this machine: of a tuple that
/// somebody else holds it takes the next one.
#[test]
fn an_address_error_is_not_called_exhaustion() {
    for established in [0, 20_000] {
        let mut findings = short(established, "EADDRNOTAVAIL", 64);
        findings.capacity = Some(28_232);
        let ceiling = named(&findings);
        assert_eq!(ceiling.wall, UNKNOWN);
        assert!(ceiling.remedy.is_some_and(|remedy| remedy.commands.contains(&"ip addr".to_owned())));
    }
}

#[test]
fn a_plan_that_is_used_up_is_told_with_what_became_of_its_tuples() {
    let text = |source: &str, ports| {
        let ceiling = named(&out_of_ports(ports));
        assert_eq!(ceiling.wall, "ports-exhausted");
        let found = ceiling.evidence.into_iter().find(|evidence| evidence.source == source)?;
        Some((found.after, found.text))
    };
    let all = PortsInPlan { planned: 150, in_use: 150, ..PortsInPlan::default() };
    let (count, said) = text("source ports", all).expect("said");
    assert_eq!(count, Some(150));
    assert!(said.starts_with("the plan's 150 tuples are all in use: 4 source addresses × "), "{said}");
    let others = PortsInPlan { planned: 150, in_use: 120, taken: 30, ..PortsInPlan::default() };
    let (_, said) = text("source ports", others).expect("said");
    assert!(said.starts_with("of the plan's 150 tuples 120 are in use"), "{said}");
    assert_eq!(text("ports taken", others).expect("said").0, Some(30));
    assert_eq!(text("ports taken", all), None);
}

#[test]
fn tuples_in_time_wait_are_named_where_they_are_most_of_what_is_missing() {
    let wall = |target, (time_wait, taken, before)| {
        let ports = PortsInPlan { planned: 150, in_use: 150 - time_wait - taken, time_wait, taken };
        let mut findings = out_of_ports(ports);
        findings.host.time_wait = Some(before);
        (findings.plan.target, findings.connections.target) = (target, target);
        named(&findings).wall
    };
    // The swarm's own closes, those of others before it began, and a few of them beside other holders.
    for tuples in [(50, 0, 0), (1, 0, 0), (0, 50, 50), (20, 20, 0)] {
        assert_eq!(wall(150, tuples), "time-wait-ports", "{tuples:?}");
    }
    for tuples in [(0, 50, 0), (5, 45, 5), (0, 0, 90)] {
        assert_eq!(wall(151, tuples), "ports-exhausted", "{tuples:?}");
    }
}

#[test]
fn a_run_that_was_short_after_connections_were_released_is_short() {
    let mut findings = out_of_ports(PortsInPlan { planned: 150, in_use: 50, time_wait: 0, taken: 100 });
    let c = &mut findings.connections;
    (c.target, c.attempted, c.held, c.released) = (100, 150, 50, 100);
    findings.plan.target = 100;
    let ceiling = named(&findings);
    assert_eq!((ceiling.wall.as_str(), ceiling.hard), ("ports-exhausted", true));
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
    // That the table stands at its limit does not prove that somebody found no room in it, nor that nobody did.
    findings.counters.remove(counter::NEIGHBOUR_TABLE_FULLS);
    findings.host.neighbours_max = Some(1024);
    findings.counters.insert(counter::NEIGHBOURS.to_owned(), change(3, 1_024));
    assert_eq!(named(&findings).wall, UNKNOWN);
    // Of the other family's table nothing is learnt of this one's.
    findings.counters.remove(counter::NEIGHBOURS);
    moved(&mut findings, counter::NEIGHBOUR_TABLE_FULLS, 512);
    findings.plan.ipv6 = true;
    assert_eq!(named(&findings).wall, UNKNOWN);
    moved(&mut findings, counter::NEIGHBOUR_TABLE_FULLS_IPV6, 512);
    let ceiling = named(&findings);
    assert_eq!(names(&ceiling), ["neighbour-table"]);
    assert!(ceiling.remedy.is_some_and(|remedy| remedy.commands[0].contains("net.ipv6.neigh.default")));
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
    // A worker that could not open its epoll instance: one errno of two is the whole host's.
    for (errno, wall) in [("EMFILE", "nofile-swarm"), ("ENFILE", "file-max")] {
        let mut findings = short(958, "aborted", 0);
        findings.growth_stopped = Some(GrowthStop::NoDescriptors);
        let errno = Some(Outcome::named(errno));
        findings.growth_evidence = Some(GrowthEvidence { errno, ..GrowthEvidence::default() });
        assert_eq!(names(&named(&findings)), [wall]);
    }
    for why in [GrowthStop::NothingSucceeds, GrowthStop::NoTables, GrowthStop::WorkersLost] {
        let ceiling = stopped(why);
        assert_eq!(ceiling.wall, UNKNOWN);
        let said = ceiling.evidence.iter().find(|evidence| evidence.source == "growth_stopped");
        assert!(said.is_some_and(|said| said.text.contains(&why.to_string())), "{ceiling:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_findings_make_it_panic_or_name_a_wall_without_evidence(findings in any_findings()) {
        let predicted = predicted_ceiling(&findings.host, &findings.plan);
        let short = findings.connections.held < findings.connections.target.max(findings.plan.target);
        let broken = findings.verdicts.iter().any(Verdict::is_broken);
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
        findings.loads.clear();
        let text = serde_json::to_string(&findings).expect("plain data");
        let again: Findings = serde_json::from_str(&text).expect("what we wrote");
        prop_assert_eq!(again.connections, findings.connections);
        prop_assert_eq!(again.counters, findings.counters);
    }
}
