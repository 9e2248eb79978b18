//! Evidence that fits two walls goes to the one that was met, and of two that were met to the first.

mod support;

use c10k_ceiling::{Findings, UNKNOWN, counter};
use c10k_record::{GrowthStop, PhaseName, PortsInPlan};
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
        // By its own word the tables were full, and it met the other limit later.
        let both = paused(&|f| {
            refused(f, "ENFILE");
            f.host.server_per_table = Some(peak / if own_tables { 2 } else { 1 });
        });
        assert_eq!(both, ["nofile-server", "file-max"]);
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
