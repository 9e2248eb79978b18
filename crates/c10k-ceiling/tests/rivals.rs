//! Evidence that fits two walls goes to the one that was met, and of two that were met to the first.

mod support;

use c10k_ceiling::{Findings, UNKNOWN, counter};
use c10k_record::{Degree, GrowthStop, PhaseName, PortsInPlan};
use support::{change, lose, moved, named, names, out_of_ports, planted, server, short, verdict};

#[test]
fn a_few_ports_in_time_wait_explain_no_plan_that_had_too_few_with_them_too() {
    let wall = |target, planned, taken| {
        let mut findings =
            out_of_ports(PortsInPlan { planned, in_use: planned - taken, time_wait: 0, taken });
        findings.host.time_wait = Some(taken);
        (findings.plan.target, findings.connections.target) = (target, target);
        named(&findings).wall
    };
    assert_eq!(wall(140, 75, 3), "ports-exhausted");
    assert_eq!(wall(140, 75, 50), "time-wait-ports", "without them twice as many would be held");
    assert_eq!(wall(140, 150, 30), "time-wait-ports", "without them all would be");
}

/// A run whose server took nobody any more while its queue was full.
fn stalled() -> Findings {
    let mut findings = short(48, "probe-timeout", 60);
    findings.connections.established = 108;
    findings.connections.ghosts = Some(60);
    findings.accepted_stalled = true;
    moved(&mut findings, counter::LISTEN_OVERFLOWS, 200);
    moved(&mut findings, counter::LISTEN_DROPS, 200);
    moved(&mut findings, counter::LISTENER_DROPS, 200);
    findings
}

#[test]
fn a_server_that_finds_no_room_has_not_stopped_accepting() {
    assert_eq!(names(&named(&stalled())), ["server-stopped-accepting"]);
    let mut no_watch = stalled();
    server(&mut no_watch).accept_errors.insert("ENOSPC".to_owned(), 40);
    assert_eq!(names(&named(&no_watch)), ["epoll-watches"]);
    let mut no_thread = stalled();
    moved(&mut no_thread, counter::SERVER_THREADS_REFUSED, 9);
    assert_eq!(names(&named(&no_thread)), ["threads"]);
    let mut no_memory = stalled();
    server(&mut no_memory).accept_errors.insert("ENOBUFS".to_owned(), 9);
    assert_eq!(named(&no_memory).wall, UNKNOWN);
}

#[test]
fn a_server_that_paused_for_want_of_something_else_has_not_filled_its_tables() {
    // Two tables with room for 56 each, both full, or one that is nearly so.
    for (own_tables, nofile, peak) in [(true, 64, 112), (false, 129, 120)] {
        let paused = |change: &dyn Fn(&mut Findings)| {
            let mut findings = short(peak, "probe-timeout", 55);
            (findings.host.server_tables, findings.host.server_nofile) = (own_tables, Some(nofile));
            (server(&mut findings).paused, server(&mut findings).tables) = (1, 2);
            change(&mut findings);
            names(&named(&findings)).into_iter().map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(paused(&|_| ()), ["nofile-server"]);
        assert_eq!(paused(&|f| moved(f, counter::SERVER_THREADS_REFUSED, 9)), ["threads"]);
        let refused = |f: &mut Findings, errno: &str| {
            server(f).accept_errors.insert(errno.to_owned(), 9);
        };
        assert_eq!(paused(&|f| refused(f, "ENOSPC")), ["epoll-watches"]);
        assert_eq!(paused(&|f| refused(f, "ENFILE")), ["file-max"]);
        // As it reports, its one table was full, and it met the other limit later; one that makes a table more when one is
        // full did not pause for that.
        let both = paused(&|f| {
            refused(f, "ENFILE");
            f.host.server_per_table = Some(peak / if own_tables { 2 } else { 1 });
        });
        let expected: &[&str] = if own_tables { &["file-max"] } else { &["nofile-server", "file-max"] };
        assert_eq!(both, expected);
    }
}

#[test]
fn who_waited_in_vain_was_cost_when_the_wait_began() {
    let first = |probe_timeout_ms| {
        let mut findings = planted("nofile-server").expect("planted");
        findings.failures.clear();
        findings.connections.failed.clear();
        findings.plan.probe_timeout_ms = probe_timeout_ms;
        // The swarm's own table is full 10 ms after the server's.
        lose(&mut findings, PhaseName::Ramp, "probe-timeout", 40, 5_020);
        lose(&mut findings, PhaseName::Ramp, "EMFILE", 1, 30);
        named(&findings).wall
    };
    assert_eq!(first(Some(5_000)), "nofile-server");
    assert_eq!(first(Some(4_000)), "nofile-swarm", "a second later");
    assert_eq!(first(None), "nofile-swarm", "how long they waited is not known");

    let first = |connect_timeout_ms| {
        let mut findings = planted("conntrack").expect("planted");
        findings.failures.clear();
        findings.plan.connect_timeout_ms = Some(connect_timeout_ms);
        lose(&mut findings, PhaseName::Ramp, "connect-timeout", 40, 5_020);
        lose(&mut findings, PhaseName::Ramp, "EAGAIN", 1, 30);
        named(&findings).wall
    };
    assert_eq!((first(5_000).as_str(), first(4_000).as_str()), ("conntrack", "threads"));
}

#[test]
fn nobody_began_to_wait_after_the_swarm_s_only_table_was_full() {
    // The server's table was full first; the timer of who waited in vain is 2 ms late.
    let first = |outcome: Option<&str>, change: &dyn Fn(&mut Findings)| {
        let mut findings = planted("nofile-server").expect("planted");
        findings.failures.clear();
        findings.connections.failed.clear();
        findings.plan.probe_timeout_ms = Some(5_000);
        findings.plan.handshake_timeout_ms = Some(5_000);
        findings.growth_stopped = Some(GrowthStop::NoDescriptors);
        findings.host.swarm_tables = false;
        if let Some(outcome) = outcome {
            lose(&mut findings, PhaseName::Ramp, outcome, 40, 5_032);
        }
        lose(&mut findings, PhaseName::Ramp, "EMFILE", 1, 30);
        change(&mut findings);
        named(&findings).wall
    };
    let as_it_is = |_: &mut Findings| ();
    for outcome in [Some("probe-timeout"), Some("handshake-timeout"), None] {
        assert_eq!(first(outcome, &as_it_is), "nofile-server", "{outcome:?}");
        // With a table for each worker others go on when one is full.
        assert_eq!(first(outcome, &|f| f.host.swarm_tables = true), "nofile-swarm", "{outcome:?}");
        assert_eq!(first(outcome, &|f| f.growth_stopped = None), "nofile-swarm", "{outcome:?}");
    }
    assert_eq!(
        first(Some("ECONNRESET"), &as_it_is),
        "nofile-server",
        "nobody knows since when the others wait"
    );
}

#[test]
fn of_a_server_that_has_ended_nobody_can_ask_whether_it_had_stopped_accepting() {
    let degree = |end| {
        let mut findings = planted("accept-queue").expect("planted");
        findings.server_end = end;
        let ceiling = named(&findings);
        ceiling.walls.iter().find(|wall| wall.name == "accept-queue").and_then(|wall| wall.degree)
    };
    assert_eq!(degree(None), Some(Degree::Proven));
    assert_eq!(degree(Some(c10k_ceiling::ServerEnd::Killed(11))), Some(Degree::Likely));
}

/// SYNs dropped at the listener without a word of the accept queue or of the SYN queue.
fn dropped_at_the_listener(cookies: Option<&str>) -> Findings {
    let mut findings = short(60_000, "connect-timeout", 4_000);
    for name in [counter::LISTEN_DROPS, counter::LISTENER_DROPS, counter::SYN_RETRANSMITS] {
        moved(&mut findings, name, 9_000);
    }
    findings.counters.insert(counter::OTHER_LISTENERS_DROPS.to_owned(), change(0, 0));
    let of_host = |value: &str| ("net.ipv4.tcp_syncookies".to_owned(), value.to_owned());
    findings.host.other.extend(cookies.map(of_host));
    findings
}

#[test]
fn a_syn_queue_without_cookies_is_told_by_what_the_listener_drops_alone() {
    assert_eq!(names(&named(&dropped_at_the_listener(Some("0")))), ["syn-queue"]);
    assert_eq!(named(&dropped_at_the_listener(Some("1"))).wall, UNKNOWN, "with cookies it drops none");
    assert_eq!(named(&dropped_at_the_listener(None)).wall, UNKNOWN);
    for name in [counter::LISTENER_DROPS, counter::LISTEN_OVERFLOWS, counter::REQ_QUEUE_FULL_DROP] {
        let mut findings = dropped_at_the_listener(Some("0"));
        findings.counters.remove(name);
        assert_eq!(named(&findings).wall, UNKNOWN, "{name} was not read");
    }
}

#[test]
fn drops_at_the_listener_are_an_overflow_only_where_its_queue_was_seen_full() {
    let mut findings = dropped_at_the_listener(None);
    findings.counters.remove(counter::LISTEN_OVERFLOWS);
    assert_eq!(named(&findings).wall, UNKNOWN);
    findings.counters.insert(counter::ACCEPT_QUEUE.to_owned(), change(0, 4096));
    assert_eq!(names(&named(&findings)), ["accept-queue"]);
}

#[test]
fn a_swarm_whose_connections_were_lost_again_has_not_filled_its_table() {
    let mut findings = short(0, "corrupt", 1_100);
    findings.connections.established = 1_100;
    (findings.host.swarm_tables, findings.host.swarm_nofile) = (false, Some(1_024));
    findings.growth_stopped = Some(GrowthStop::NothingSucceeds);
    assert_eq!(names(&named(&findings)), ["not-an-echo-server"]);
}

#[test]
fn pressure_on_tcp_memory_that_made_no_answer_late_costs_no_connection() {
    let with_pressure = |broken: &str| {
        let mut findings = planted("conntrack").expect("planted");
        moved(&mut findings, counter::MEMORY_PRESSURES, 1);
        findings.counters.insert(counter::TCP_MEM_PAGES.to_owned(), change(100, 400_000));
        findings.verdicts.push(verdict(broken, false));
        names(&named(&findings)).into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(with_pressure("connect_p99 <= 5ms"), ["conntrack"]);
    assert_eq!(with_pressure("echo_p95 <= 5ms"), ["conntrack", "tcp-mem"]);
}

#[test]
fn what_something_else_could_show_as_well_is_only_likely_and_says_first_how_to_prove_it() {
    let weighed = |name: &str, change: &dyn Fn(&mut Findings)| {
        let mut findings = planted(name).expect("planted");
        change(&mut findings);
        let ceiling = named(&findings);
        let remedy = ceiling.remedy.expect("a remedy").summary;
        assert_eq!(
            remedy.starts_with("First prove it: "),
            ceiling.degree == Some(Degree::Likely),
            "{remedy}"
        );
        (ceiling.wall, ceiling.degree.expect("a degree"))
    };
    let likely = |name: &str, change: &dyn Fn(&mut Findings)| {
        assert_eq!(weighed(name, &|_| ()), (name.to_owned(), Degree::Proven), "{name} as it is planted");
        assert_eq!(weighed(name, change), (name.to_owned(), Degree::Likely), "{name}");
    };
    // A firewall says no route to host as well.
    likely("no-route", &|f| {
        f.failures.clear();
        f.connections.failed.clear();
        lose(f, PhaseName::Ramp, "EHOSTUNREACH", 64, 1_000);
    });
    // Another machine may stand behind a firewall that resets.
    likely("refused", &|f| f.plan.both_ends_here = false);
    // On a link the answers may be what is lost.
    likely("firewall-drop", &|f| {
        f.plan.on_one_link = true;
        f.evidence.rules = Some(c10k_record::FirewallRules { all: 2, ..Default::default() });
    });
    // Who looked on could not see whether its descriptors were short.
    likely("server-stopped-accepting", &|f| {
        f.server = None;
        f.connections.held = 0;
        moved(f, counter::ACCEPT_QUEUE, 100);
    });
    likely("bandwidth", &|f| {
        f.counters.remove(counter::LINK_DROPPED);
    });
    likely("neighbour-table", &|f| {
        f.counters.remove(counter::NEIGHBOUR_TABLE_FULLS);
    });
    likely("conntrack", &|f| {
        f.counters.remove(counter::CONNTRACK_DROPPED);
    });
    // A table that has dropped nobody has cost nobody, however full.
    let still = |f: &mut Findings| moved(f, counter::CONNTRACK_DROPPED, 0);
    assert_eq!(weighed("conntrack", &still).0, UNKNOWN);
    // TCP's memory was short, and orphans were too many: both are reset under one counter.
    let orphans = |count| {
        move |f: &mut Findings| {
            f.counters.insert(counter::ORPHANS.to_owned(), change(0, count));
        }
    };
    assert_eq!(weighed("tcp-mem", &orphans(9)).1, Degree::Proven);
    assert_eq!(weighed("tcp-mem", &orphans(131_073)).1, Degree::Likely);
    // Nobody saw its process.
    likely("server-died", &|f| (f.server_end, f.server) = (None, None));
    // The SYN queue of another listener: this one dropped nothing.
    let others = |f: &mut Findings| moved(f, counter::LISTENER_DROPS, 0);
    assert_ne!(weighed("syn-queue", &others).0, "syn-queue");
    // Open connections that the kernel gives up are no connects without an answer.
    let opened = |f: &mut Findings| {
        f.failures.clear();
        f.connections.failed.clear();
        lose(f, PhaseName::Ramp, "ETIMEDOUT", 4_000, 1_000);
        f.connections.established = f.connections.attempted;
    };
    assert_ne!(weighed("netdev-backlog", &opened).0, "netdev-backlog");
}
