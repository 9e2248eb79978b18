//! What the kernel says of the packets that it dropped, weighed: each wall by its own reason, in the number of what was lost.

mod support;

use c10k_ceiling::{Findings, UNKNOWN, counter, diagnose};
use c10k_record::{BegunOrder, Ceiling, Degree, DropCount, FirewallRules, LossOrder, PhaseName};
use support::abroad::{dropping, in_turn, lossy, then_none};
use support::{change, lose, moved, named, names, planted, short};

/// Lost SYNs on a link: 400 connects without an answer, and 9,000 that were sent again.
const ALL: u64 = 9_400;

#[track_caller]
fn expect(f: &Findings, wall: &str, degree: Degree) -> Ceiling {
    let ceiling = named(f);
    assert_eq!((names(&ceiling), ceiling.degree), (vec![wall], Some(degree)), "{ceiling:#?}");
    ceiling
}

fn says(ceiling: &Ceiling, source: &str) -> bool {
    ceiling.evidence.iter().any(|evidence| evidence.source == source)
}

#[test]
fn each_reason_names_its_wall_where_it_befell_as_many_as_were_lost() {
    for (reason, wall) in [
        ("NETFILTER_DROP", "firewall-drop"),
        ("SOCKET_FILTER", "firewall-drop"),
        ("TC_INGRESS", "firewall-drop"),
        ("IP_RPFILTER", "rp-filter"),
        ("IP_INNOROUTES", "no-route"),
        ("NEIGH_FAILED", "no-route"),
        ("NEIGH_CREATEFAIL", "neighbour-table"),
    ] {
        let mut f = lossy();
        dropping(&mut f, &[(reason, ALL)]);
        let ceiling = expect(&f, wall, Degree::Proven);
        assert!(says(&ceiling, reason), "{ceiling:#?}");
        // Some of what was lost was lost elsewhere.
        dropping(&mut f, &[(reason, ALL / 2)]);
        expect(&f, wall, Degree::Likely);
        // A few are somebody else's, and the way is what is left.
        dropping(&mut f, &[(reason, 30)]);
        expect(&f, "path-loss", Degree::Proven);
    }
}

#[test]
fn a_way_that_loses_is_proven_by_the_counters_of_both_ends_and_by_what_the_kernel_did_not_drop() {
    let ceiling = expect(&lossy(), "path-loss", Degree::Proven);
    assert!(
        !ceiling.hard && says(&ceiling, counter::LISTEN_DROPS) && says(&ceiling, "filters"),
        "{ceiling:#?}"
    );
    // A frame that went astray, or was lost by a queue between the ends.
    for reason in ["OTHERHOST", "QDISC_DROP"] {
        let mut f = lossy();
        f.evidence.rules = None;
        dropping(&mut f, &[(reason, ALL)]);
        let ceiling = expect(&f, "path-loss", Degree::Proven);
        assert!(says(&ceiling, reason), "{ceiling:#?}");
    }
    // Nobody knows of rules, nor of reasons.
    let mut f = lossy();
    f.evidence.rules = None;
    expect(&f, "path-loss", Degree::Likely);
    // With rules there it may be one of them.
    f.evidence.rules = Some(FirewallRules { all: 3, ..FirewallRules::default() });
    expect(&f, "firewall-drop", Degree::Likely);
    // A device says that it was the one.
    moved(&mut f, counter::DEVICE_DROPPED, ALL);
    let ceiling = expect(&f, "path-loss", Degree::Proven);
    assert!(says(&ceiling, counter::DEVICE_DROPPED));
}

#[test]
fn a_queue_of_either_end_that_dropped_is_no_path_that_loses() {
    for name in [
        counter::LISTEN_DROPS,
        counter::SOFTNET_DROPPED,
        counter::CONNTRACK_DROPPED,
        counter::ABORT_ON_MEMORY,
        counter::NEIGHBOUR_TABLE_FULLS,
    ] {
        let mut f = lossy();
        moved(&mut f, name, 4_500);
        assert!(!names(&named(&f)).contains(&"path-loss"), "{name}");
        f.counters.remove(name);
        assert_eq!(named(&f).wall, UNKNOWN, "{name} may have moved");
    }
    // Nothing was sent again: nothing was lost on the way.
    let mut f = lossy();
    moved(&mut f, counter::SYN_RETRANSMITS, 0);
    assert_eq!(named(&f).wall, UNKNOWN);
    // A run that holds all has lost nobody.
    let mut healthy = support::healthy();
    (healthy.plan.on_one_link, healthy.evidence) = (true, lossy().evidence);
    moved(&mut healthy, counter::SYN_RETRANSMITS, 9_000);
    assert_eq!(diagnose(&healthy, None), None);
    dropping(&mut healthy, &[("NETFILTER_DROP", 9_000), ("IP_RPFILTER", 9_000), ("NEIGH_FAILED", 9_000)]);
    assert_eq!(diagnose(&healthy, None), None);
}

#[test]
fn over_loopback_it_is_a_filter_unless_the_kernel_says_that_none_dropped() {
    let mut f = planted("firewall-drop").expect("planted");
    expect(&f, "firewall-drop", Degree::Proven);
    dropping(&mut f, &[]);
    expect(&f, "path-loss", Degree::Proven);
    dropping(&mut f, &[("NETFILTER_DROP", 1_512)]);
    let ceiling = expect(&f, "firewall-drop", Degree::Proven);
    assert_eq!(ceiling.evidence[0].source, "NETFILTER_DROP");
}

#[test]
fn what_a_firewall_drops_of_others_all_the_time_proves_nothing_of_this_run() {
    let mut f = lossy();
    dropping(&mut f, &[]);
    let drops = f.evidence.drops.as_mut().expect("counted");
    // 600 a second, before the run as in it.
    drops.counted.insert("NETFILTER_DROP".to_owned(), DropCount { own: 9_000, beyond: 0, quiet: 1_200 });
    let ceiling = expect(&f, "path-loss", Degree::Likely);
    assert!(says(&ceiling, "filters"));
}

#[test]
fn a_server_that_has_no_route_back_is_named_by_its_own_count_and_not_taken_for_a_full_queue() {
    let mut f = lossy();
    f.host.other.insert("net.ipv4.tcp_syncookies".to_owned(), "0".to_owned());
    for name in [counter::LISTEN_DROPS, counter::LISTENER_DROPS, counter::OUT_NO_ROUTES] {
        moved(&mut f, name, ALL);
    }
    let ceiling = expect(&f, "no-route", Degree::Proven);
    assert!(says(&ceiling, counter::OUT_NO_ROUTES));
    assert!(ceiling.remedy.expect("a remedy").summary.contains("the one back too"));
    // Drops of a SYN queue that have nothing to do with it.
    moved(&mut f, counter::OUT_NO_ROUTES, 3);
    expect(&f, "syn-queue", Degree::Proven);
}

/// A server on another machine, of which nothing is known.
fn elsewhere() -> Findings {
    let mut f = short(99_600, "connect-timeout", 400);
    let of_this_end = [counter::SYN_RETRANSMITS, counter::SOFTNET_DROPPED, counter::CONNTRACK_DROPPED];
    f.counters.retain(|name, _| of_this_end.contains(&name.as_str()));
    moved(&mut f, counter::SYN_RETRANSMITS, 9_000);
    moved(&mut f, counter::RETRANSMITS, 13_000);
    (f.plan.both_ends_here, f.server) = (false, None);
    (f.connections.accepted, f.connections.ghosts) = (None, None);
    let begun = BegunOrder { proven: 99_600, after_loss: 60_000, before_lost: 40_000, lost_behind: 1 };
    f.evidence.order = Some(LossOrder {
        proven_after_loss: 59_600,
        lost_after_proof: 1,
        after_proof_ms: 3,
        lost: 400,
        begun: Some(begun),
    });
    f
}

#[test]
fn of_a_server_elsewhere_a_way_that_loses_is_likely_where_data_is_lost_too_and_nobody_waits_there() {
    let ceiling = expect(&elsewhere(), "path-loss", Degree::Likely);
    assert!(says(&ceiling, "far end"));
    assert!(ceiling.remedy.expect("a remedy").summary.starts_with("First prove it:"));
    let unknown = |change: &dyn Fn(&mut Findings)| {
        let mut f = elsewhere();
        change(&mut f);
        assert_eq!(named(&f).wall, UNKNOWN, "{f:#?}");
    };
    // SYNs alone: a queue of the listener, or a rule.
    unknown(&|f| moved(f, counter::RETRANSMITS, 9_900));
    unknown(&|f| {
        f.counters.remove(counter::RETRANSMITS);
    });
    // Somebody has a connection that the server does not answer: its queue was full.
    unknown(&|f| lose(f, PhaseName::Ramp, "probe-timeout", 20, 2_000));
    // The first so many and then none: a number, of a rule or of the server.
    unknown(&|f| f.evidence.order = None);
    unknown(&|f| f.counters.extend([(counter::SOFTNET_DROPPED.to_owned(), change(0, 50))]));
    // A filter of this machine drops what goes there, and the kernel says so.
    let mut f = elsewhere();
    dropping(&mut f, &[("NETFILTER_DROP", ALL)]);
    expect(&f, "firewall-drop", Degree::Proven);
}

#[test]
fn with_the_counters_of_the_far_end_a_way_between_two_machines_that_loses_is_proven() {
    let mut f = lossy();
    (f.plan.both_ends_here, f.plan.on_one_link) = (false, false);
    f.far = Some(c10k_ceiling::FarFindings::default());
    expect(&f, "path-loss", Degree::Proven);
    // What the far end's listener dropped is in the sum of both.
    let mut at_the_queue = f.clone();
    moved(&mut at_the_queue, counter::LISTEN_DROPS, 9_000);
    assert!(!names(&named(&at_the_queue)).contains(&"path-loss"));
    f.far = None;
    assert_eq!(named(&f).wall, UNKNOWN, "nobody has looked there");
}

/// Another program of this host loses 2,000 packets a second by a filter, before the run as in it.
fn beside_what_others_lose(f: &mut Findings) {
    dropping(f, &[]);
    let drops = f.evidence.drops.as_mut().expect("counted");
    let of_others = DropCount { own: 5_000, beyond: 25_000, quiet: 4_000 };
    drops.counted.insert("NETFILTER_DROP".to_owned(), of_others);
}

#[test]
fn beside_another_program_whose_packets_are_dropped_the_reasons_say_nothing_of_this_run() {
    // Over loopback nothing but a filter is left, as where nobody may ask.
    let mut f = planted("firewall-drop").expect("planted");
    beside_what_others_lose(&mut f);
    let ceiling = expect(&f, "firewall-drop", Degree::Proven);
    assert_eq!(ceiling.evidence[0].source, counter::SYN_RETRANSMITS);
    // The filters that were counted dropped nothing; one that was not may have been it.
    dropping(&mut f, &[]);
    f.evidence.drops.as_mut().expect("counted").counted.remove("XDP");
    expect(&f, "firewall-drop", Degree::Likely);
    // On a link it may be the link: with rules at its ends it is rather one of them.
    let mut f = lossy();
    beside_what_others_lose(&mut f);
    expect(&f, "path-loss", Degree::Likely);
    f.evidence.rules = Some(FirewallRules { all: 3, ..FirewallRules::default() });
    expect(&f, "firewall-drop", Degree::Likely);
}

#[test]
fn where_filters_drop_as_many_more_than_before_as_the_run_lost_it_is_no_path_that_loses() {
    let mut f = lossy();
    beside_what_others_lose(&mut f);
    let drops = f.evidence.drops.as_mut().expect("counted");
    let with_its_own = DropCount { own: 9_400, beyond: 30_000, quiet: 4_000 };
    drops.counted.insert("NETFILTER_DROP".to_owned(), with_its_own);
    let ceiling = named(&f);
    assert_eq!(ceiling.wall, UNKNOWN);
    let look = ceiling.remedy.expect("a hint").summary;
    assert!(look.contains("firewall rules") && look.contains("no other program of this host"), "{look}");
    // A device between the ends says that it was the one.
    moved(&mut f, counter::DEVICE_DROPPED, ALL);
    expect(&f, "path-loss", Degree::Proven);
    // Of a server elsewhere the same, by this end alone.
    let mut f = elsewhere();
    dropping(&mut f, &[("NETFILTER_DROP", 5 * ALL)]);
    assert_eq!(named(&f).wall, UNKNOWN);
}

#[test]
fn packets_of_others_for_which_there_was_no_route_are_no_way_back_that_is_missing() {
    for growth in [ALL, 100 * ALL] {
        let mut f = lossy();
        moved(&mut f, counter::OUT_NO_ROUTES, growth);
        expect(&f, "path-loss", Degree::Proven);
        let mut f = planted("firewall-drop").expect("planted");
        moved(&mut f, counter::OUT_NO_ROUTES, growth);
        expect(&f, "firewall-drop", Degree::Proven);
        let mut f = planted("accept-queue").expect("planted");
        moved(&mut f, counter::OUT_NO_ROUTES, growth);
        expect(&f, "accept-queue", Degree::Proven);
    }
    // Beside so many it is not known whether the answers were among them.
    let mut f = lossy();
    for (name, growth) in [(counter::LISTEN_DROPS, ALL), (counter::OUT_NO_ROUTES, 100 * ALL)] {
        moved(&mut f, name, growth);
    }
    assert_eq!(named(&f).wall, UNKNOWN);
}

#[test]
fn a_queue_before_the_link_that_dropped_in_bursts_is_no_path_that_loses() {
    let narrow = |dropped: u64| {
        let mut f = lossy();
        f.host.link_bits_per_second = Some(300_000_000);
        f.counters.insert(counter::LINK_BITS_PER_SECOND.to_owned(), change(0, 100_000_000));
        moved(&mut f, counter::LINK_DROPPED, dropped);
        moved(&mut f, counter::DEVICE_DROPPED, dropped);
        f
    };
    expect(&narrow(0), "path-loss", Degree::Proven);
    expect(&narrow(40), "path-loss", Degree::Proven);
    let ceiling = named(&narrow(ALL));
    assert_eq!(ceiling.wall, UNKNOWN);
    assert!(ceiling.remedy.expect("a hint").summary.contains("the queue before the link"));
    // A device loses as many beside it.
    let mut f = narrow(40);
    moved(&mut f, counter::DEVICE_DROPPED, ALL + 40);
    expect(&f, "path-loss", Degree::Proven);
    let mut unread = narrow(0);
    unread.counters.remove(counter::LINK_DROPPED);
    assert_eq!(named(&unread).wall, UNKNOWN, "it may have dropped any number");
}

#[test]
fn a_way_that_loses_by_chance_loses_not_all_behind_the_first() {
    let capped = |f: &mut Findings| then_none(f, 400);
    let mut f = lossy();
    capped(&mut f);
    // No rule stands at the server's end; one between the ends may let so many through.
    let ceiling = named(&f);
    assert_eq!(ceiling.wall, UNKNOWN);
    assert!(ceiling.remedy.expect("a hint").summary.contains("firewall rules on the way"));
    dropping(&mut f, &[]);
    expect(&f, "path-loss", Degree::Proven);
    f.evidence.drops = lossy().evidence.drops;
    moved(&mut f, counter::DEVICE_DROPPED, ALL);
    expect(&f, "path-loss", Degree::Proven);
    let mut f = lossy();
    in_turn(&mut f, 400);
    expect(&f, "path-loss", Degree::Proven);
    // The order is rather that of others, which the server left waiting.
    lose(&mut f, PhaseName::Ramp, "probe-timeout", 400, 3_000);
    expect(&f, "path-loss", Degree::Proven);
    lose(&mut f, PhaseName::Ramp, "probe-timeout", 1, 3_000);
    assert_eq!(named(&f).wall, UNKNOWN);
}
