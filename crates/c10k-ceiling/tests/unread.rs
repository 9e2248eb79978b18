//! What was not looked at may have happened: no wall is told by the rest that a counter which was not read "did not
//! move".

mod support;

use c10k_ceiling::{Findings, ServerEnd, UNKNOWN, counter};
use c10k_record::{GrowthStop, Outcome};
use support::{change, moved, named, names, planted, short};

/// Each wall that is told by what did not happen, with the counters that it needs to have been read.
#[test]
fn a_wall_that_is_told_by_what_did_not_happen_needs_every_counter_to_have_been_read() {
    let on_one_link = |f: &mut Findings| {
        f.plan.on_one_link = true;
        f.evidence.rules = Some(c10k_record::FirewallRules { all: 2, ..Default::default() });
    };
    let narrow = |f: &mut Findings| {
        f.host.link_bits_per_second = Some(300_000_000);
        f.counters.insert(counter::LINK_BITS_PER_SECOND.to_owned(), change(0, 1_000));
        f.counters.insert(counter::LINK_DROPPED.to_owned(), change(0, 0));
    };
    let unchanged = |_: &mut Findings| {};
    type Case = (&'static str, fn(&mut Findings), Vec<&'static str>, &'static str);
    let cases: Vec<Case> = vec![
        (
            "firewall-drop",
            unchanged,
            vec![
                counter::LISTEN_OVERFLOWS,
                counter::LISTEN_DROPS,
                counter::REQ_QUEUE_FULL_DROP,
                counter::SOFTNET_DROPPED,
                counter::ABORT_ON_MEMORY,
                counter::CONNTRACK_DROPPED,
            ],
            UNKNOWN,
        ),
        ("firewall-drop", on_one_link, vec![counter::NEIGHBOUR_TABLE_FULLS], UNKNOWN),
        ("firewall-drop", narrow, vec![counter::LINK_BITS_PER_SECOND, counter::LINK_DROPPED], UNKNOWN),
        ("netdev-backlog", unchanged, vec![counter::LISTEN_OVERFLOWS, counter::REQ_QUEUE_FULL_DROP], UNKNOWN),
        ("orphans", unchanged, vec![counter::TCP_MEM_PAGES], UNKNOWN),
        ("ram", unchanged, vec![counter::GROUP_OOM_KILLS], "server-died"),
    ];
    for (wall, settle, needed, instead) in cases {
        let mut whole = planted(wall).expect("planted");
        settle(&mut whole);
        assert_eq!(names(&named(&whole)), [wall], "with all of them read");
        for name in needed {
            let mut findings = whole.clone();
            findings.counters.remove(name);
            assert_eq!(named(&findings).wall, instead, "{wall} without {name}");
        }
    }
}

#[test]
fn a_host_that_does_not_answer_has_no_route_only_where_its_neighbour_found_room() {
    let findings = |held: u64, on_one_link: bool, read: bool| {
        let mut f = short(held, "EHOSTUNREACH", 512);
        f.plan.on_one_link = on_one_link;
        if !read {
            f.counters.remove(counter::NEIGHBOUR_TABLE_FULLS);
        }
        named(&f).wall
    };
    assert_eq!(findings(0, true, true), "no-route");
    assert_eq!(findings(0, true, false), UNKNOWN);
    assert_eq!(findings(0, false, false), "no-route", "loopback has no neighbours");
    // Where 60,000 are held to the same place there is a way, and only a rule says that there is none.
    assert_eq!(findings(60_000, true, true), "filter-rejects");
    assert_eq!(findings(60_000, true, false), UNKNOWN);
    assert_eq!(findings(60_000, false, false), "filter-rejects");
    // Somebody was served there before the server ended.
    let mut f = short(0, "EHOSTUNREACH", 12);
    (f.connections.verified, f.server_end) = (Some(64), Some(ServerEnd::Killed(9)));
    assert_eq!(names(&named(&f)), ["server-died"]);
    // That there is no route at all is said by the errno alone.
    let mut f = short(0, "ENETUNREACH", 64);
    f.plan.on_one_link = true;
    f.counters.clear();
    assert_eq!(named(&f).wall, "no-route");
}

#[test]
fn a_group_of_threads_that_was_not_asked_may_be_the_one_that_refused() {
    let of = |counted: Option<u64>| {
        let mut f = short(0, "EAGAIN", 1);
        f.growth_stopped = Some(GrowthStop::NoThreads);
        (f.host.pids_max, f.host.pids_current) = (Some(100), Some(98));
        (f.host.threads_left, f.host.nproc, f.host.user_threads) = (Some(2), Some(90_000), Some(10));
        f.counters.remove(counter::SWARM_THREADS_REFUSED);
        f.counters.extend(counted.map(|n| (counter::SWARM_THREADS_REFUSED.to_owned(), change(0, n))));
        let sources = named(&f).evidence.into_iter().map(|evidence| evidence.source);
        let limits: Vec<String> =
            sources.filter(|source| ["pids.max", "RLIMIT_NPROC"].contains(&source.as_str())).collect();
        limits.join(" ")
    };
    assert_eq!(of(Some(0)), "RLIMIT_NPROC", "the group says that it was not the one");
    assert_eq!(of(Some(3)), "pids.max");
    assert_eq!(of(None), "pids.max", "least is left of it, and it did not say");
}

/// An OOM-killed server whose group is removed before anybody has looked at it again.
#[test]
fn a_group_that_went_with_its_server_is_named_by_the_hosts_count_and_what_was_charged_to_it() {
    let mut findings = planted("cgroup-memory").expect("planted");
    findings.host.memory_total_bytes = Some(24 << 30);
    findings.lowest_memory_available_bytes = Some(20 << 30);
    findings.host.cgroup_memory_file = Some("memory.high".to_owned());
    findings.counters.remove(counter::GROUP_OOM_KILLS);
    let ceiling = named(&findings);
    assert_eq!(names(&ceiling), ["cgroup-memory"]);
    let sources: Vec<&str> = ceiling.evidence.iter().map(|evidence| evidence.source.as_str()).collect();
    assert!(sources.contains(&counter::OOM_KILLS) && sources.contains(&"memory.high"), "{sources:?}");
    findings.server_end = Some(ServerEnd::Gone);
    assert_eq!(named(&findings).wall, "cgroup-memory");
    // Somebody else was killed, or the machine itself was short, or the group was nearly empty, or nothing limits it.
    let otherwise: [fn(&mut Findings); 5] = [
        |f| moved(f, counter::OOM_KILLS, 0),
        |f| f.lowest_memory_available_bytes = None,
        |f| {
            f.counters.insert(counter::GROUP_BYTES.to_owned(), change(5 << 20, 6 << 20));
        },
        |f| f.host.cgroup_memory_bytes = None,
        |f| f.server_end = Some(ServerEnd::Exited(1)),
    ];
    for otherwise in otherwise {
        let mut findings = findings.clone();
        otherwise(&mut findings);
        assert_eq!(named(&findings).wall, "server-died");
    }
}

#[test]
fn enomem_on_a_machine_without_memory_is_its_own_only_where_tcps_memory_is_known_to_have_room() {
    let mut findings = short(40_000, "ENOMEM", 64);
    findings.host.memory_total_bytes = Some(24 << 30);
    findings.lowest_memory_available_bytes = Some(100 << 20);
    assert_eq!(named(&findings).wall, "ram");
    findings.counters.remove(counter::TCP_MEM_PAGES);
    assert_eq!(named(&findings).wall, UNKNOWN);
    assert!(findings.connections.failed.contains_key(&Outcome::errno(12)));
}
