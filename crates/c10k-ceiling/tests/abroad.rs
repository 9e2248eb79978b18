//! Servers, proxies and ways that are other people's: the right name, or unknown with a pointer to the right end.

mod support;

use c10k_ceiling::{Findings, UNKNOWN, counter, diagnose};
use c10k_record::{BegunOrder, Ceiling, Degree, FirewallRules, Listeners, LossOrder, PhaseName, ServerWords};
use support::abroad::{closed_at, foreign, in_turn, planted, proxy, rejected, silent, then_none};
use support::{lose, moved, named, names, verdict};

#[track_caller]
fn expect(findings: &Findings, wall: &str, degree: Degree) -> Ceiling {
    let ceiling = named(findings);
    assert_eq!((ceiling.wall.as_str(), ceiling.degree), (wall, Some(degree)), "{ceiling:#?}");
    ceiling
}

#[track_caller]
fn expect_unknown(findings: &Findings, points_to: &str) {
    let ceiling = expect(findings, UNKNOWN, Degree::Unknown);
    let summary = ceiling.remedy.expect("where to look").summary;
    assert!(summary.contains(points_to), "{summary}");
}

#[track_caller]
fn says(ceiling: &Ceiling, source: &str, text: &str) {
    let found = ceiling.evidence.iter().find(|evidence| evidence.source == source);
    let found = found.unwrap_or_else(|| panic!("nothing of {source} in {ceiling:#?}"));
    assert!(found.text.contains(text), "{found:?}");
}

fn targeted(mut findings: Findings, target: u64) -> Findings {
    (findings.plan.target, findings.connections.target) = (target, target);
    findings
}

#[test]
fn a_cap_has_one_name_whatever_the_target_was_and_never_a_slower_rate_for_a_remedy() {
    for (target, outcome) in [
        (900, "closed-in-handshake"),
        (2_000, "closed-in-handshake"),
        (20_000, "handshake-status-503"),
        (530, "closed-by-server"),
        (900, "ECONNRESET"),
    ] {
        let mut f = targeted(foreign(510, outcome, target - 510), target);
        f.verdicts.push(verdict("failed <= 1%", false));
        then_none(&mut f, target - 510);
        let ceiling = expect(&f, "server-limit", Degree::Likely);
        assert_eq!(ceiling.connections, 510);
        says(&ceiling, "held", "still echoed");
        let remedy = ceiling.remedy.expect("a remedy");
        assert!(remedy.summary.starts_with("First prove it: "), "{}", remedy.summary);
        assert!(!remedy.summary.contains("connect more slowly"), "{}", remedy.summary);
    }
}

#[test]
fn who_turns_others_away_in_words_is_an_echo_server_all_the_same() {
    let mut f = foreign(50, "corrupt", 30);
    then_none(&mut f, 30);
    assert_eq!(named(&f).wall, "not-an-echo-server", "other bytes came back, and they were no words");
    f.evidence.words = vec![ServerWords { text: "ERR max number of clients".to_owned(), count: 30 }];
    let ceiling = expect(&f, "server-limit", Degree::Likely);
    assert_eq!(names(&ceiling), ["server-limit"]);
    // One that echoes to nobody and answers each in words is none.
    (f.connections.held, f.connections.verified) = (0, Some(0));
    assert_eq!(named(&f).wall, "not-an-echo-server");
}

#[test]
fn a_server_that_takes_nobody_more_and_echoes_to_what_it_has_stands_at_a_limit() {
    let mut f = foreign(300, "probe-timeout", 128);
    lose(&mut f, PhaseName::Ramp, "connect-timeout", 80, 18_000);
    f.accepted_stalled = true;
    moved(&mut f, counter::LISTEN_OVERFLOWS, 400);
    moved(&mut f, counter::LISTEN_DROPS, 400);
    moved(&mut f, counter::LISTENER_DROPS, 400);
    moved(&mut f, counter::OTHER_LISTENERS_DROPS, 0);
    let ceiling = expect(&f, "server-limit", Degree::Likely);
    assert_eq!(names(&ceiling), ["server-limit"], "the full queue is what came of it");
    says(&ceiling, "descriptors", "of 20,000");
    // One that echoes to nobody any more has stopped.
    let mut dead = f.clone();
    dead.connections.held = 0;
    lose(&mut dead, PhaseName::Verify, "probe-timeout", 300, 20_000);
    expect(&dead, "server-stopped-accepting", Degree::Likely);
    dead.evidence.silent = silent(0, None).evidence.silent;
    expect(&dead, "server-stopped-accepting", Degree::Proven);
    // What it held is lost to the way, and it may stand at a limit all the same.
    dead.evidence.silent = silent(100, Some(true)).evidence.silent;
    expect(&dead, "server-stopped-accepting", Degree::Likely);
    // Who served nobody ever stands at no number.
    let mut deaf = f.clone();
    (deaf.connections.held, deaf.connections.verified) = (0, Some(0));
    expect(&deaf, "server-stopped-accepting", Degree::Proven);
    let mut stopped = f.clone();
    stopped.server_process.as_mut().expect("seen").stopped = true;
    assert_eq!(named(&stopped).wall, "server-stopped-accepting");
    let mut held_back = f.clone();
    moved(&mut held_back, counter::SERVER_THROTTLED, 40);
    assert_ne!(named(&held_back).wall, "server-limit", "its group holds it back");
    // One that goes on accepting is slow.
    let mut slow = f.clone();
    slow.accepted_stalled = false;
    assert_eq!(named(&slow).wall, "accept-queue");
    // One whose table is full is that.
    let process = f.server_process.as_mut().expect("seen");
    (process.table_was_full, process.descriptor_limit) = (true, Some(320));
    assert_eq!(names(&named(&f)), ["nofile-server"]);
}

#[test]
fn who_was_proven_before_was_not_turned_away_for_a_limit() {
    let wall = |verified| {
        let mut f = foreign(300, "closed-by-server", 100);
        then_none(&mut f, 100);
        f.connections.verified = Some(verified);
        named(&f).wall
    };
    assert_eq!(wall(300), "server-limit");
    assert_eq!(wall(399), "server-limit", "one of them was");
    assert_eq!(wall(400), UNKNOWN, "all had been served");
}

#[test]
fn a_server_that_goes_on_taking_others_beside_those_that_wait_has_one_listener_that_nobody_empties() {
    let of = |before_lost, lost_behind, waited_at| {
        let mut f = foreign(1_750, "probe-timeout", 0);
        lose(&mut f, PhaseName::Ramp, "probe-timeout", 250, 6_000);
        (f.accepted_stalled, f.plan.in_flight) = (true, Some(300));
        let begun = BegunOrder { proven: 1_750, after_loss: 0, before_lost, lost_behind };
        let order = LossOrder { lost: 250, lost_after_proof: 250, ..LossOrder::default() };
        f.evidence.order = Some(LossOrder { begun: Some(begun), ..order });
        f.evidence.listeners =
            Some(Listeners { count: 8, waited_at, longest: 250, full: 1, least_backlog: 128 });
        f
    };
    let ceiling = expect(&of(7, 1, 1), "server-stopped-accepting", Degree::Likely);
    says(&ceiling, "listeners", "connections waited at 1");
    // The order alone says so as well, and so do the listeners.
    expect(&of(7, 1, 8), "server-stopped-accepting", Degree::Likely);
    let mut full = of(1_750, 250, 1);
    full.accepted_stalled = false;
    expect(&full, "server-stopped-accepting", Degree::Likely);
    // All that wait came after all that were taken, or after all but some that were under way: a number.
    expect(&of(1_750, 250, 8), "server-limit", Degree::Likely);
    expect(&of(1_700, 200, 8), "server-limit", Degree::Likely);
}

#[test]
fn who_is_told_of_too_many_requests_is_turned_away_by_a_rate() {
    let mut f = foreign(510, "handshake-status-429", 0);
    lose(&mut f, PhaseName::Ramp, "handshake-status-429", 1_490, 900);
    then_none(&mut f, 1_490);
    expect_unknown(&f, "it answered 429 (too many requests)");
    lose(&mut f, PhaseName::Ramp, "handshake-status-503", 3_000, 900);
    expect(&f, "server-limit", Degree::Likely);
}

#[test]
fn errors_among_successes_are_no_cap() {
    let mut f = foreign(90_000, "ECONNRESET", 10_000);
    f.verdicts.push(verdict("failed <= 1%", false));
    in_turn(&mut f, 10_000);
    assert_eq!(named(&f).wall, "error-verdict");
    f.evidence.order = None;
    assert_eq!(named(&f).wall, "error-verdict", "in which order is not known");
}

#[test]
fn a_proxy_without_source_ports_is_named_by_its_own_connections() {
    for target in [1_010, 1_500, 2_000, 60_000] {
        let ceiling = expect(&proxy(1_000, target), "proxy-ports-exhausted", Degree::Proven);
        assert_eq!(names(&ceiling), ["proxy-ports-exhausted"]);
        says(
            &ceiling,
            "source ports of the server",
            "process 77 has in use from 127.0.0.1 to 127.0.0.1:9001",
        );
    }
    // With more left than the kernel passes over it may have met a limit of its own before.
    for (in_use, degree) in [(98, Degree::Proven), (97, Degree::Likely)] {
        let mut few = proxy(1_000, 2_000);
        let outgoing = few.evidence.outgoing.as_mut().expect("looked at");
        (outgoing.ports_in_use, outgoing.ports) = (in_use, 100);
        expect(&few, "proxy-ports-exhausted", degree);
    }
    // With half of them free it is another number of its own, unless they were given back since.
    expect(&proxy(510, 2_000), "server-limit", Degree::Likely);
    let mut released = proxy(510, 2_000);
    released.connections.released = 490;
    assert_eq!(named(&released).wall, UNKNOWN);
    let mut again = proxy(10, 2_000);
    again.evidence.outgoing.as_mut().expect("a proxy").ports_waiting = 990;
    expect_unknown(&again, "with those in TIME_WAIT");
    // Thirty were free again when they were counted: as many were lost in the hold.
    let mut lost_since = proxy(970, 2_000);
    lose(&mut lost_since, PhaseName::Ramp, "handshake-status-502", 1_000, 900);
    expect(&lost_since, "server-limit", Degree::Likely);
    lose(&mut lost_since, PhaseName::Hold, "ECONNRESET", 30, 3_000);
    expect_unknown(&lost_since, "those of connections that were lost before they were counted");
    let mut healthy = support::healthy();
    healthy.evidence.outgoing = proxy(1_000, 2_000).evidence.outgoing;
    assert_eq!(diagnose(&healthy, None), None, "all ports in use and nobody lost");
}

#[test]
fn a_rule_that_rejects_beside_a_listener_is_no_missing_server() {
    for outcome in ["ECONNREFUSED", "EHOSTUNREACH", "EPERM"] {
        let mut f = rejected(outcome);
        let ceiling = expect(&f, "filter-rejects", Degree::Likely);
        assert_eq!(names(&ceiling), ["filter-rejects"]);
        let remedy = ceiling.remedy.expect("a remedy");
        assert!(remedy.summary.starts_with("First prove it: run again from one more source"));
        let rules = FirewallRules { all: 4, reject: 1, count: 1, limit: 0, refuse: Some(1) };
        f.evidence.rules = Some(rules);
        expect(&f, "filter-rejects", Degree::Proven);
        // One that counts for another port, or apart from one that rejects, proves nothing; nor does an older record.
        for refuse in [Some(0), None] {
            f.evidence.rules = Some(FirewallRules { refuse, ..rules });
            expect(&f, "filter-rejects", Degree::Likely);
        }
    }
    // Where nobody was seen to listen it may be a server that closes its listener.
    let mut f = rejected("ECONNREFUSED");
    (f.server_process, f.evidence.listeners) = (None, None);
    expect_unknown(&f, "who refuses while others are held");
    // And where the listener is gone nobody listens.
    let mut f = rejected("ECONNREFUSED");
    f.server_process.as_mut().expect("seen").listens = Some(false);
    assert_eq!(named(&f).wall, "refused");
}

#[test]
fn losses_of_one_age_are_a_limit_on_it_and_all_at_one_moment_are_only_where_the_server_lives() {
    // People came over ten seconds, and each was closed a minute after its last byte.
    let spread_out = closed_at(&|n| 60_000 + n % 90, &|n| 60_000 + n * 50, "close-1001");
    let ceiling = expect(&spread_out, "server-idle-limit", Degree::Proven);
    says(&ceiling, "age", "60.0 s after the last byte");
    // A reset may be a box's on the way.
    let reset = closed_at(&|n| 350_000 + n % 90, &|n| 350_000 + n * 50, "ECONNRESET");
    expect(&reset, "server-idle-limit", Degree::Likely);
    // All at once, and the same process listens.
    let mut at_once = closed_at(&|n| 3_500 + n % 40, &|n| 3_550 + n % 40, "closed-by-server");
    expect(&at_once, "server-idle-limit", Degree::Likely);
    (at_once.server_process, at_once.evidence.listeners) = (None, None);
    expect_unknown(&at_once, "a heartbeat or idle limit");
    // They began over 160 ms, and all ended within two: what ended them was no timer of each.
    let event = closed_at(&|n| 3_500 + n % 160, &|n| 3_700 + n % 2, "closed-by-server");
    expect_unknown(&event, "or one event");
    // One by one as they came: no age.
    let one_by_one = closed_at(&|n| 100 + n * 50, &|n| 5_000 + n * 9, "closed-by-server");
    expect_unknown(&one_by_one, "it closed connections that it had taken");
    // A few of many.
    let mut few = closed_at(&|n| 60_000 + n % 90, &|n| 60_000 + n * 50, "closed-by-server");
    lose(&mut few, PhaseName::Hold, "ECONNRESET", 800, 100);
    expect_unknown(&few, "log");
}

#[test]
fn what_is_not_acknowledged_is_the_ways_and_what_is_acknowledged_is_the_servers() {
    let ceiling = expect(&silent(100, Some(true)), "middlebox-forgets", Degree::Likely);
    says(&ceiling, "TCP_INFO unacked", "a server's kernel acknowledges even if its process is stopped");
    says(&ceiling, "TCP_INFO last_data_recv", "8.0 s");
    expect(&silent(100, Some(false)), "path-lost", Degree::Likely);
    expect_unknown(&silent(100, None), "the way to the server");
    expect_unknown(&silent(0, Some(true)), "is stopped (state T)");
    // A few that are sent again are a way that loses some.
    expect_unknown(&silent(3, Some(true)), "the way to the server");
    // Nothing had been silent: it forgot nothing.
    let mut busy = silent(100, Some(true));
    busy.evidence.silent.as_mut().expect("sampled").quiet_ms = Some(20);
    expect_unknown(&busy, "the way to the server");
    // So long a way had no time to acknowledge.
    let mut far = silent(100, Some(false));
    far.evidence.silent.as_mut().expect("sampled").rtt_us = Some(600_000);
    expect_unknown(&far, "the way to the server");
}

#[test]
fn sources_without_a_way_back_are_told_by_the_kernels_own_counter() {
    let mut f = planted("rp-filter").expect("planted");
    expect(&f, "rp-filter", Degree::Proven);
    f.counters.get_mut(counter::REVERSE_PATH_FILTER).expect("read").after = 1_003;
    expect(&f, "rp-filter", Degree::Likely);
    // Somebody else's packets: each SYN that was lost would have been counted, and those that were sent again too.
    f.counters.get_mut(counter::REVERSE_PATH_FILTER).expect("read").after = 20;
    f.plan.on_one_link = true;
    expect_unknown(&f, "route back");
    f.plan.on_one_link = false;
    f.counters.get_mut(counter::REVERSE_PATH_FILTER).expect("read").after = 3;
    assert_eq!(named(&f).wall, "firewall-drop");
    // The counter of another machine is not read here.
    f.counters.remove(counter::REVERSE_PATH_FILTER);
    f.plan.both_ends_here = false;
    expect_unknown(&f, "route back");
}

#[test]
fn a_text_of_unknown_does_not_contradict_what_was_seen() {
    // Echoes there were, so the server is one that echoes.
    let mut f = foreign(0, "probe-timeout", 0);
    f.connections.verified = Some(300);
    lose(&mut f, PhaseName::Verify, "probe-timeout", 300, 13_000);
    let ceiling = named(&f);
    let summary = ceiling.remedy.expect("where to look").summary;
    assert!(!summary.contains("--no-probe"), "{summary}");
}

#[test]
fn a_healthy_run_has_no_name_whatever_was_looked_at() {
    for name in [
        "server-limit",
        "proxy-ports-exhausted",
        "server-idle-limit",
        "middlebox-forgets",
        "path-lost",
        "filter-rejects",
        "rp-filter",
    ] {
        let mut healthy = support::healthy();
        let planted = planted(name).expect("planted");
        healthy.evidence = planted.evidence;
        healthy.counters.extend(planted.counters);
        healthy.server_process = planted.server_process;
        assert_eq!(diagnose(&healthy, None), None, "{name}");
        healthy.server = None;
        assert_eq!(diagnose(&healthy, None), None, "{name}");
    }
}
