//! Limits that were met and recovered from are told of a run that holds all, and nothing is of a healthy one.

mod support;

use c10k_ceiling::{Findings, counter, diagnose, met_on_the_way, syns_sent_again, walls};
use c10k_record::{Delayed, LatencySummary, MetOnTheWay, ServerReport, Warning};
use support::{change, healthy, moved, planted, verdict};

/// A run that holds all, of which so many connects took as long as a SYN that is sent again.
fn late(at_steps: u64) -> Findings {
    let mut findings = healthy();
    findings.plan.own_server = true;
    let us = |us| Some(us);
    findings.latency_us.connect = LatencySummary {
        p50: us(400),
        p95: us(2_000_000),
        max: us(4_100_000),
        count: 100_000,
        ..LatencySummary::default()
    };
    findings.latency_us.late = Some(Delayed {
        connects: at_steps,
        connects_at_steps: at_steps,
        longest_connect_us: us(4_100_000),
        first_echoes: 0,
        longest_first_echo_us: us(3_000),
    });
    moved(&mut findings, counter::SYN_RETRANSMITS, at_steps);
    findings
}

fn of_listener(findings: &mut Findings, name: &str, times: u64) {
    moved(findings, name, times);
    findings.counters.insert(counter::LISTENER_DROPS.to_owned(), change(0, times));
    findings.counters.insert(counter::OTHER_LISTENERS_DROPS.to_owned(), change(0, 0));
}

#[track_caller]
fn met(findings: &Findings) -> Vec<MetOnTheWay> {
    let ceiling = diagnose(findings, None);
    assert_eq!(ceiling, None, "a run that holds all and breaks no verdict has no ceiling");
    met_on_the_way(findings, None)
}

fn names(met: &[MetOnTheWay]) -> Vec<(&str, u64)> {
    met.iter().map(|met| (met.wall.as_str(), met.times)).collect()
}

fn warning(findings: &Findings) -> Option<Warning> {
    syns_sent_again(findings, &met(findings), None)
}

#[test]
fn a_healthy_run_met_nothing_and_is_warned_of_nothing() {
    let findings = healthy();
    assert_eq!(met(&findings), []);
    assert_eq!(warning(&findings), None);
    // Late by its own scheduling, and nothing was sent again.
    let mut busy = late(40);
    busy.counters.insert(counter::SYN_RETRANSMITS.to_owned(), change(7, 7));
    assert_eq!((met(&busy), warning(&busy)), (Vec::new(), None));
}

#[test]
fn an_accept_queue_that_overflowed_is_told_with_what_it_cost_and_what_lifts_it() {
    let mut findings = late(900);
    of_listener(&mut findings, counter::LISTEN_OVERFLOWS, 8_926);
    let met = met(&findings);
    assert_eq!(names(&met), [("accept-queue", 8_926)]);
    assert_eq!(
        met[0].cost.map(|cost| (cost.connects, cost.longest_connect_us)),
        Some((900, Some(4_100_000)))
    );
    assert!(met[0].evidence.iter().any(|evidence| evidence.source == counter::LISTEN_OVERFLOWS));
    assert!(met[0].remedy.as_ref().is_some_and(|remedy| !remedy.commands.is_empty()));
    assert_eq!(warning(&findings), None, "it is explained");
}

#[test]
fn an_overflow_that_may_be_another_listeners_is_not_called_this_server_s() {
    let mut findings = late(900);
    of_listener(&mut findings, counter::LISTEN_OVERFLOWS, 8_926);
    findings.counters.insert(counter::OTHER_LISTENERS_DROPS.to_owned(), change(0, 5));
    assert_eq!(met(&findings), []);
    let said = warning(&findings).expect("connects were late").text;
    assert!(
        said.contains("ListenOverflows by 8,926 grew, and whose drops these were is not known"),
        "{said}"
    );
}

#[test]
fn a_server_that_stood_still_for_a_while_is_told_and_not_the_queue_that_filled_meanwhile() {
    let mut findings = late(900);
    of_listener(&mut findings, counter::LISTEN_OVERFLOWS, 8_926);
    findings.accepted_stalled = true;
    let met = met(&findings);
    assert_eq!(names(&met), [("server-stopped-accepting", 1)]);
    assert!(met[0].evidence.iter().any(|of| of.source == counter::LISTEN_OVERFLOWS), "{met:?}");
}

#[test]
fn each_counter_of_drops_names_its_own_limit_and_no_other_one() {
    let told = |change_it: &dyn Fn(&mut Findings)| {
        let mut findings = late(300);
        change_it(&mut findings);
        names(&met(&findings)).iter().map(|(name, times)| ((*name).to_owned(), *times)).collect::<Vec<_>>()
    };
    let one = |name: &str, times| vec![(name.to_owned(), times)];
    assert_eq!(told(&|f| of_listener(f, counter::REQ_QUEUE_FULL_DROP, 300)), one("syn-queue", 300));
    assert_eq!(told(&|f| moved(f, counter::SOFTNET_DROPPED, 300)), one("netdev-backlog", 300));
    assert_eq!(told(&|f| moved(f, counter::CONNTRACK_DROPPED, 300)), one("conntrack", 300));
    let neighbours = |f: &mut Findings| {
        f.plan.on_one_link = true;
        moved(f, counter::NEIGHBOUR_TABLE_FULLS, 12);
    };
    assert_eq!(told(&neighbours), one("neighbour-table", 12));
    let link = |f: &mut Findings| {
        f.host.link_bits_per_second = Some(1_000_000);
        f.counters.insert(counter::LINK_BITS_PER_SECOND.to_owned(), change(0, 990_000));
        moved(f, counter::LINK_DROPPED, 40);
    };
    assert_eq!(told(&link), one("bandwidth", 40));
}

#[test]
fn drops_that_made_nobody_wait_are_not_told_where_they_may_be_anybody_s() {
    for name in [counter::SOFTNET_DROPPED, counter::CONNTRACK_DROPPED, counter::NEIGHBOUR_TABLE_FULLS] {
        let mut findings = healthy();
        moved(&mut findings, name, 900);
        assert_eq!(met(&findings), [], "{name}");
    }
    // Seen on a busy machine: 24 packets of a burst, and one SYN among them.
    for late_connects in [1, 9, 99] {
        let mut findings = late(late_connects);
        moved(&mut findings, counter::SOFTNET_DROPPED, 240);
        assert_eq!((met(&findings), warning(&findings)), (Vec::new(), None), "{late_connects}");
    }
    // Late by a swarm that did not run, while one SYN of all was sent again.
    let mut stopped = late(900);
    moved(&mut stopped, counter::SYN_RETRANSMITS, 1);
    moved(&mut stopped, counter::SOFTNET_DROPPED, 24);
    assert_eq!((met(&stopped), warning(&stopped)), (Vec::new(), None));
    // Too few to explain what was sent again.
    let mut findings = late(900);
    moved(&mut findings, counter::SOFTNET_DROPPED, 3);
    assert_eq!(met(&findings), []);
}

#[test]
fn what_makes_no_connection_wait_is_told_without_a_cost() {
    for (name, wall) in [
        (counter::REQ_QUEUE_FULL_COOKIES, "syn-queue"),
        (counter::MEMORY_PRESSURES, "tcp-mem"),
        (counter::GROUP_HELD_BACK, "cgroup-memory"),
    ] {
        let mut findings = healthy();
        findings.plan.own_server = true;
        moved(&mut findings, name, 5);
        let met = met(&findings);
        assert_eq!(names(&met), [(wall, 5)]);
        assert_eq!(met[0].cost, None);
    }
}

#[test]
fn a_server_that_was_refused_a_file_and_went_on_says_so() {
    let mut findings = healthy();
    let errors = [("ENFILE".to_owned(), 30)].into();
    findings.server = Some(ServerReport { accept_errors: errors, ..findings.server.take().expect("ours") });
    assert_eq!(names(&met(&findings)), [("file-max", 30)]);
}

#[test]
fn late_connects_that_no_counter_explains_are_a_warning_with_their_number_and_no_name() {
    let said = warning(&late(900)).expect("SYNs were sent again");
    assert_eq!(said.id, "syns-sent-again");
    for part in
        ["900 of 100,000 connects", "the longest 4.1 s", "half of all took 0.4 ms", "grew by 900", "nft"]
    {
        assert!(said.text.contains(part), "{part}: {}", said.text);
    }
    assert_eq!(warning(&late(99)), None, "fewer than one in a thousand are a link's own loss");
    let mut slow = late(900);
    slow.latency_us.connect.p50 = Some(1_200_000);
    assert_eq!(warning(&slow), None, "where half of all are late the steps are none");
}

#[test]
fn what_the_ceiling_names_is_not_told_twice() {
    let mut findings = late(900);
    of_listener(&mut findings, counter::LISTEN_OVERFLOWS, 8_926);
    findings.verdicts.push(verdict("connect_p95 <= 100ms", false));
    findings.verdicts.last_mut().expect("one").value = Some(2_000.0);
    let ceiling = diagnose(&findings, None).expect("a verdict broke");
    assert_eq!(ceiling.wall, "accept-queue");
    assert_eq!(met_on_the_way(&findings, Some(&ceiling)), []);
    assert_eq!(syns_sent_again(&findings, &[], Some(&ceiling)), None);
}

#[test]
fn a_run_that_is_short_or_was_stopped_is_told_of_by_its_ceiling_alone() {
    for wall in walls().filter(|wall| !wall.only_alone && wall.name != "latency-verdict") {
        let findings = planted(wall.name).expect("every wall has a run");
        let ceiling = diagnose(&findings, None);
        let met = met_on_the_way(&findings, ceiling.as_ref());
        let is_short = findings.connections.held < findings.connections.target;
        assert!(!is_short || met.is_empty(), "{}: {met:?}", wall.name);
    }
    let mut findings = late(900);
    of_listener(&mut findings, counter::LISTEN_OVERFLOWS, 8_926);
    findings.aborted = true;
    assert_eq!(met_on_the_way(&findings, None), []);
}
