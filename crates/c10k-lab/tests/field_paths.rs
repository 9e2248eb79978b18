//! Ways between the ends that people meet: routers that forget, links that are gone or slow, sources without a way back,
//! in network namespaces that the test makes.

mod field_net;

use std::io::Write as _;
use std::time::{Duration, Instant};

use c10k_ceiling::{Findings, counter, diagnose};
use c10k_collector::{answers, silent_sample};
use c10k_kernel::census::SockDiag;
use c10k_kernel::counters::{NetCounters, ProcRoot};
use c10k_record::{CounterChange, Degree, Failure, Outcome, PhaseName};
use field_net::{LAB, PATIENCE, Way, expect, is_installed, lab_on_pid, skipped};

/// What a swarm would say that held so many of which nobody is answered in the proof, with what TCP knew of them.
fn silenced(count: u64, silent: c10k_record::SilentSample) -> Findings {
    let mut findings = Findings::default();
    let c = &mut findings.connections;
    (c.target, c.attempted, c.established, c.verified) = (count, count, count, Some(count));
    c.add_failed(Outcome::probe_timeout(), count);
    findings.plan.probe = true;
    findings.failures = vec![Failure {
        phase: PhaseName::Verify,
        outcome: Outcome::probe_timeout(),
        count,
        first_at_ms: 9_000,
    }];
    findings.evidence.silent = Some(silent);
    findings
}

/// Has the router translate addresses, and forget what has said nothing for two seconds.
fn forget_what_is_silent(way: &Way) {
    way.router.nft(
        "table ip n {\n chain p { type nat hook postrouting priority 100; oifname \"rs\" masquerade\n }\n chain f { type \
         filter hook forward priority 0; ct state invalid drop\n }\n}\n",
    );
    way.router.set("net.netfilter.nf_conntrack_tcp_timeout_established", "2");
    way.router.set("net.netfilter.nf_conntrack_tcp_loose", "0");
}

#[test]
fn a_router_that_forgets_what_is_silent_is_told_from_a_way_that_is_gone() {
    const COUNT: usize = 30;
    let Some(way) = Way::new() else { return };
    if !is_installed("nft", "-v") {
        return;
    }
    forget_what_is_silent(&way);
    let listener = way.listen();
    let mut pairs = way.connect(&listener, COUNT);
    let mut diag = way.client.inside(SockDiag::open).expect("sock_diag");
    // An entry whose time is over is found no more, whenever it is swept away.
    std::thread::sleep(Duration::from_millis(3_500));
    for (client, _) in &mut pairs {
        client.write_all(&[8; 64]).expect("it says ESTABLISHED");
    }
    let sent = Instant::now();
    let seen = loop {
        let seen = silent_sample(&mut diag, &[way.at], COUNT as u64, sent.elapsed()).expect("they are open");
        if seen.unacked == COUNT as u64 {
            break seen;
        }
        assert!(sent.elapsed() < PATIENCE, "{seen:?}");
        std::thread::sleep(Duration::from_millis(50));
    };
    assert!(seen.quiet_ms.is_some_and(|quiet| quiet >= 1_500), "{seen:?}");
    let name = |new_connects| {
        let silent = c10k_record::SilentSample { new_connects: Some(new_connects), ..seen };
        diagnose(&silenced(COUNT as u64, silent), None).expect("short").wall
    };
    assert_eq!(name(way.client.inside(|| answers(way.at, PATIENCE))), "middlebox-forgets");
    // The same with the link gone.
    way.router.run(&["ip", "link", "set", "rs", "down"]);
    assert_eq!(name(way.client.inside(|| answers(way.at, Duration::from_secs(1)))), "path-lost");
}

#[test]
fn a_server_that_stands_still_acknowledges_all_the_same() {
    let Some(way) = Way::new() else { return };
    way.server.run(&["ip", "route", "add", "default", "via", "10.92.0.1"]);
    let listener = way.listen();
    let mut pairs = way.connect(&listener, 10);
    let mut diag = way.client.inside(SockDiag::open).expect("sock_diag");
    for (client, _) in &mut pairs {
        client.write_all(&[8; 64]).expect("open");
    }
    // Nobody reads it: as with a process that is stopped.
    let sent = Instant::now();
    std::thread::sleep(Duration::from_millis(700));
    let seen = silent_sample(&mut diag, &[way.at], 10, sent.elapsed()).expect("they are open");
    assert_eq!((seen.sampled, seen.unacked), (10, 0), "{seen:?}");
    let ceiling = diagnose(&silenced(10, seen), None).expect("short");
    assert_eq!(ceiling.wall, "unknown");
    assert!(ceiling.remedy.is_some_and(|remedy| remedy.summary.contains("is stopped (state T)")));
}

#[test]
fn a_source_without_a_way_back_is_told_by_the_counter_at_the_servers_end() {
    let Some(mut way) = Way::new() else { return };
    // The router forwards what it knows no way back for; the server's kernel drops it.
    way.router.set("net.ipv4.conf.all.rp_filter", "0");
    way.router.set("net.ipv4.conf.rc.rp_filter", "0");
    way.server.set("net.ipv4.conf.all.rp_filter", "1");
    way.server.set("net.ipv4.conf.s0.rp_filter", "1");
    way.server.run(&["ip", "route", "add", "10.91.0.0/24", "via", "10.92.0.1"]);
    let pid = way.server.start(&["sleep", "600"]);
    let _listener = way.listen();
    let mut counters = NetCounters::open(&ProcRoot::default(), Some(pid));
    let mut read = || counters.read().tcp_ext.and_then(|ext| ext.reverse_path_filter).expect("it is counted");
    let before = read();
    assert!(way.client.inside(|| answers(way.at, PATIENCE)), "with a way back it is answered");
    assert_eq!(read(), before);
    way.client.run(&["ip", "address", "add", "10.93.0.9/32", "dev", "c0"]);
    way.client.run(&["ip", "route", "replace", "default", "via", "10.91.0.1", "src", "10.93.0.9"]);
    assert!(!way.client.inside(|| answers(way.at, Duration::from_millis(1_500))));
    let after = read();
    assert!(after > before, "{before} {after}");
    let mut findings = Findings::default();
    let outcome = Outcome::connect_timeout();
    (findings.connections.target, findings.connections.attempted) = (1, 1);
    findings.connections.add_failed(outcome.clone(), 1);
    findings.failures = vec![Failure { phase: PhaseName::Ramp, outcome, count: 1, first_at_ms: 15_000 }];
    findings.counters.insert(counter::REVERSE_PATH_FILTER.to_owned(), CounterChange { before, after });
    assert_eq!(diagnose(&findings, None).expect("short").wall, "rp-filter");
}

/// An echo server behind the router; its pid.
fn serve(way: &mut Way) -> u32 {
    let pid = way.server.start(&[LAB, "server", "--listen", "10.92.0.2:9000"]);
    let until = Instant::now() + PATIENCE;
    while way.server.inside(|| std::net::TcpStream::connect(way.at)).is_err() {
        assert!(Instant::now() < until, "nobody listens");
        std::thread::sleep(Duration::from_millis(20));
    }
    pid
}

const HURRY: [&str; 4] = ["--connect-timeout", "4s", "--probe-timeout", "4s"];

#[test]
fn a_run_through_a_router_that_forgets_what_is_silent_names_it() {
    let Some(mut way) = Way::new() else { return };
    if !is_installed("nft", "-v") {
        return;
    }
    forget_what_is_silent(&way);
    let pid = serve(&mut way);
    let record = lab_on_pid(&way.client, pid, "4s", &[&HURRY[..], &["--target", "100"]].concat());
    let ceiling = expect(&record, "middlebox-forgets", Degree::Likely);
    assert_eq!(ceiling.walls.len(), 1, "{ceiling:#?}");
    // Who is never silent for so long is not forgotten.
    let short = lab_on_pid(&way.client, pid, "200ms", &["--target", "100"]);
    assert_eq!((short.connections.held, short.ceiling), (100, None), "{:?}", short.connections);
    // Nobody says anything without probes: what is held is not known to be reached, and that is told.
    let mute = lab_on_pid(&way.client, pid, "4s", &["--target", "100", "--no-probe"]);
    let c = &mute.connections;
    assert_eq!((c.held, c.verified, c.ghosts, &mute.ceiling), (100, None, None, &None), "{c:?}");
    let told = mute.warnings.iter().find(|warning| warning.id == "held-unconfirmed").expect("it is told");
    assert!(told.text.contains("held is what is open at the client"), "{}", told.text);
}

#[test]
fn a_run_from_a_source_without_a_way_back_is_told_where_it_is_dropped() {
    let Some(mut way) = Way::new() else { return };
    for (net, device) in [(&way.router, "rc"), (&way.client, "c0")] {
        net.set("net.ipv4.conf.all.rp_filter", "0");
        net.set(&format!("net.ipv4.conf.{device}.rp_filter"), "0");
    }
    way.server.set("net.ipv4.conf.all.rp_filter", "1");
    way.server.set("net.ipv4.conf.s0.rp_filter", "1");
    way.server.run(&["ip", "route", "add", "10.91.0.0/24", "via", "10.92.0.1"]);
    way.client.run(&["ip", "address", "add", "10.93.0.9/32", "dev", "c0"]);
    let pid = serve(&mut way);
    let record = lab_on_pid(
        &way.client,
        pid,
        "200ms",
        &[&HURRY[..], &["--target", "20", "--ips", "10.93.0.9"]].concat(),
    );
    assert_eq!(record.connections.held, 0, "{:?}", record.connections);
    expect(&record, "rp-filter", Degree::Proven);
    // Without the filter the answer has nowhere to go: the router has no way to that source.
    way.server.set("net.ipv4.conf.all.rp_filter", "0");
    way.server.set("net.ipv4.conf.s0.rp_filter", "0");
    let record = lab_on_pid(
        &way.client,
        pid,
        "200ms",
        &[&HURRY[..], &["--target", "20", "--ips", "10.93.0.9"]].concat(),
    );
    let ceiling = record.ceiling.expect("short");
    let look = ceiling.remedy.as_ref().map_or("", |remedy| &remedy.summary);
    assert!(ceiling.wall != "unknown" || look.contains("route back to each source"), "{ceiling:#?}");
    for wrong in ["server-stopped-accepting", "accept-queue", "syn-queue", "server-limit", "rp-filter"] {
        assert_ne!(ceiling.wall, wrong, "{ceiling:#?}");
    }
    let way_back = lab_on_pid(&way.client, pid, "200ms", &["--target", "20"]);
    assert_eq!((way_back.connections.held, way_back.ceiling), (20, None), "{:?}", way_back.connections);
}

/// A way on which packets are lost, or late, is slow and nothing else.
fn expect_no_name(way: &mut Way) {
    way.server.run(&["ip", "route", "add", "default", "via", "10.92.0.1"]);
    let pid = serve(way);
    let record = lab_on_pid(&way.client, pid, "3s", &["--target", "300", "--verdict", "echo_p95 <= 10s"]);
    let c = &record.connections;
    assert_eq!((c.held, &record.ceiling), (300, &None), "{c:?}");
    assert_eq!(record.met_on_the_way, Vec::new(), "nothing was met");
}

#[test]
fn a_way_that_loses_one_packet_in_a_hundred_has_no_name() {
    let Some(mut way) = Way::new() else { return };
    if !is_installed("nft", "-v") {
        return;
    }
    way.router.nft(
        "table ip l {\n chain f { type filter hook forward priority 0; numgen random mod 100 < 1 drop\n }\n}\n",
    );
    expect_no_name(&mut way);
}

#[test]
fn a_way_with_delay_jitter_and_loss_has_no_name() {
    let Some(mut way) = Way::new() else { return };
    for device in ["rc", "rs"] {
        let words =
            ["tc", "qdisc", "add", "dev", device, "root", "netem", "delay", "20ms", "8ms", "loss", "1%"];
        if !way.router.command(&words).output().is_ok_and(|output| output.status.success()) {
            return skipped("this kernel has no netem (sch_netem)");
        }
    }
    expect_no_name(&mut way);
}
