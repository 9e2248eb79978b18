//! Two namespaces with real addresses and a link between them, as root and as an ordinary user.

#![allow(clippy::print_stderr, reason = "a skipped test says so")]

mod common;

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::process::Command;

use c10k_record::{Record, Topology};
use common::{Ended, Found, Lab, Running, namespaces_allowed};
use nix::sys::signal::Signal::{SIGINT, SIGKILL};

/// 500 connections over veth.
const VETH: [&str; 4] = ["--topology", "veth", "--target", "500"];

/// Whether veth is there at all; says so loudly when not.
fn veth_allowed(test: &str) -> bool {
    let pair = "ip link add name end0 type veth peer name end1";
    let tried =
        Command::new("unshare").args(["--user", "--map-root-user", "--net", "sh", "-c", pair]).output();
    let allowed = tried.is_ok_and(|tried| tried.status.success()) && namespaces_allowed(test);
    if !allowed {
        eprintln!("SKIPPED {test}: no pair of veth devices can be made here");
    }
    allowed
}

/// The remote addresses of a server's connections, from the text that the kernel shows of its namespace.
fn clients_of(server: &Found) -> BTreeSet<Ipv4Addr> {
    const ESTABLISHED: &str = "01";
    let text = std::fs::read_to_string(format!("/proc/{}/net/tcp", server.pid)).expect("its sockets");
    let connections = text.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    connections
        .filter(|words| words[3] == ESTABLISHED && words[1].ends_with(":2328"))
        .map(|words| u32::from_str_radix(&words[2][..8], 16).expect("an address in hexadecimal"))
        .map(|bits| Ipv4Addr::from(bits.to_ne_bytes()))
        .collect()
}

/// Asserts a whole success over veth, and that both ends were seen.
#[track_caller]
fn expect_held_over_veth(ended: &Ended, count: u64) -> Record {
    let record = ended.expect_held(count);
    assert_eq!(record.topology, Topology::Veth);
    // sock_diag in both namespaces agrees with the swarm.
    assert!(!record.warnings.iter().any(|warning| warning.id == "census"), "{:?}", record.warnings);
    record
}

/// Holds over veth, looks at both ends meanwhile, and asserts that nothing is left.
#[track_caller]
fn held_between_two_namespaces(lab: Lab) {
    let devices = || std::fs::read_dir("/sys/class/net").map_or(0, Iterator::count);
    let before = devices();
    let mut running = lab.start(&[&VETH[..], &["--hold", "1s", "--json"]].concat());
    running.wait_for_hold(500);
    let (server, swarm) = (running.server(), running.swarm());
    assert_ne!(server.network, swarm.network, "each stands in its own namespace");
    let clients = clients_of(&server);
    assert!(!clients.is_empty(), "the server sees who connects");
    assert!(
        clients.iter().all(|ip| (200..=230).contains(&ip.octets()[3]) && ip.octets()[..3] == [192, 168, 1])
    );
    assert_eq!(devices(), before, "this namespace has no new device");
    let ended = running.wait();
    let record = expect_held_over_veth(&ended, 500);
    server.expect_its_namespace_gone();
    swarm.expect_its_namespace_gone();
    assert!(record.profile.applied.iter().any(|setting| setting.key == "net.core.somaxconn"));
    // The client closes first, so TIME_WAIT stays at its end, which the server's namespace does not show.
    assert!(record.time_wait.peak >= Some(450), "{:?}", record.time_wait);
    assert!(record.memory_per_connection.client_user_bytes.is_some());
    let plan = record.plan.expect("its plan");
    assert_eq!(plan.server.listen, [([192, 168, 1, 10], 9000).into()]);
    assert_eq!(plan.load.ips.as_deref(), Some("192.168.1.200-230"));
}

#[test]
fn five_hundred_are_held_between_two_namespaces_and_nothing_is_left() {
    if veth_allowed("five_hundred_are_held_between_two_namespaces_and_nothing_is_left") {
        held_between_two_namespaces(Lab::new());
    }
}

#[test]
fn an_ordinary_user_holds_five_hundred_between_two_namespaces() {
    if veth_allowed("an_ordinary_user_holds_five_hundred_between_two_namespaces") {
        held_between_two_namespaces(Lab::new().by_ordinary_user());
    }
}

#[test]
fn its_plan_repeats_it_and_another_topology_moves_it() {
    if !veth_allowed("its_plan_repeats_it_and_another_topology_moves_it") {
        return;
    }
    let small = ["--topology", "veth", "--target", "62", "--hold", "100ms", "--close", "rst"];
    let first = Lab::new().run(&small);
    expect_held_over_veth(&first, 62);
    let plan = first.folder().join("plan.toml").display().to_string();
    expect_held_over_veth(&Lab::new().run(&[&plan]), 62);
    let moved = Lab::new().run(&[&plan, "--topology", "loopback"]).expect_held(62);
    assert_eq!(moved.topology, Topology::Loopback);
}

#[test]
fn sources_outside_of_the_servers_network_reach_it_over_the_link() {
    if !veth_allowed("sources_outside_of_the_servers_network_reach_it_over_the_link") {
        return;
    }
    let far = ["--ips", "10.7.0.1-10.7.0.20,192.168.1.240", "--ports", "30000-30009"];
    let load = ["--topology", "veth", "--target", "210", "--hold", "100ms", "--close", "rst"];
    expect_held_over_veth(&Lab::new().run(&[&load[..], &far].concat()), 210);
}

#[test]
fn more_sources_than_the_kernel_learns_neighbours_are_entered_before_and_said() {
    if !veth_allowed("more_sources_than_the_kernel_learns_neighbours_are_entered_before_and_said") {
        return;
    }
    let many = ["--ips", "10.0.0.0-10.0.7.207", "--ports", "30000", "--connect-timeout", "5s"];
    let load = ["--topology", "veth", "--target", "1500", "--hold", "100ms", "--close", "rst"];
    let record = expect_held_over_veth(&Lab::new().run(&[&load[..], &many].concat()), 1500);
    let most = std::fs::read_to_string("/proc/sys/net/ipv4/neigh/default/gc_thresh3").ok();
    if most.is_some_and(|most| most.trim() == "1024") {
        assert!(record.warnings.iter().any(|warning| warning.id == "neighbours"), "{:?}", record.warnings);
    }
}

#[test]
fn the_settings_stand_in_both_namespaces() {
    if !veth_allowed("the_settings_stand_in_both_namespaces") || !nix::unistd::geteuid().is_root() {
        return eprintln!("SKIPPED the_settings_stand_in_both_namespaces: only root enters them");
    }
    let mut running = Lab::new().start(&[&VETH[..], &["--hold", "10s"]].concat());
    running.wait_for_hold(500);
    for process in [running.server(), running.swarm()] {
        let shown = Command::new("nsenter")
            .args([&format!("--net=/proc/{}/ns/net", process.pid), "cat"])
            .args(["ip_local_port_range", "tcp_retries2"].map(|key| format!("/proc/sys/net/ipv4/{key}")))
            .output()
            .expect("nsenter");
        let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
        assert_eq!(shown.split_whitespace().collect::<Vec<_>>(), ["1024", "65535", "8"], "{process:?}");
    }
    running.signal(SIGINT);
    running.wait().expect_exit(130);
}

/// A run that stands in its hold.
fn long_hold() -> Running {
    let mut running = Lab::new().start(&[&VETH[..], &["--hold", "60s", "--json"]].concat());
    running.wait_for_hold(500);
    running
}

#[test]
fn both_namespaces_go_with_a_lab_that_is_killed() {
    if !veth_allowed("both_namespaces_go_with_a_lab_that_is_killed") {
        return;
    }
    let running = long_hold();
    let (server, swarm) = (running.server(), running.swarm());
    running.signal(SIGKILL);
    // Waits for every process that came from it.
    running.wait();
    server.expect_its_namespace_gone();
    swarm.expect_its_namespace_gone();
}

#[test]
fn a_server_killed_at_the_other_end_of_the_link_is_noticed_and_every_connection_counted() {
    if !veth_allowed("a_server_killed_at_the_other_end_of_the_link_is_noticed_and_every_connection_counted") {
        return;
    }
    let running = long_hold();
    common::send(running.server().pid, SIGKILL);
    let ended = running.wait();
    ended.expect_exit(4);
    let c = ended.record().connections;
    assert_eq!((c.attempted, c.held), (500, 0), "{c:?}");
    assert_eq!(c.failed.values().sum::<u64>(), 500, "{c:?}");
}

#[test]
fn where_namespaces_are_forbidden_it_is_refused_and_nothing_else_is_done_instead() {
    if !veth_allowed("where_namespaces_are_forbidden_it_is_refused_and_nothing_else_is_done_instead") {
        return;
    }
    let forbidden = Lab::new()
        .by_ordinary_user()
        .under(&["unshare", "--user", "--map-root-user"])
        .after("echo 0 > /proc/sys/user/max_net_namespaces");
    forbidden
        .run(&VETH)
        .expect_refused(3, &["--topology veth needs two network namespaces", "--topology loopback"]);
}

#[test]
fn addresses_that_cannot_stand_at_two_ends_are_bad_text() {
    for (ips, word) in [
        ("127.0.0.1", "cannot reach"),
        ("192.168.1.10", "both the server's"),
        ("192.168.1.255", "cannot reach"),
    ] {
        Lab::new().run(&[&VETH[..], &["--ips", ips]].concat()).expect_refused(2, &[word]);
    }
}

/// `C10K_STRESS_CONNECTIONS` sizes it (100,000 without).
#[test]
#[ignore = "holds 100,000 connections"]
fn stress_a_hundred_thousand_over_veth_as_root_and_as_an_ordinary_user() {
    if !veth_allowed("stress_a_hundred_thousand_over_veth_as_root_and_as_an_ordinary_user") {
        return;
    }
    let count = std::env::var("C10K_STRESS_CONNECTIONS").ok().and_then(|n| n.parse().ok()).unwrap_or(100_000);
    for lab in [Lab::new(), Lab::new().by_ordinary_user()] {
        let target = count.to_string();
        let ended = lab.run(&["--topology", "veth", "--target", &target, "--hold", "2s", "--json"]);
        expect_held_over_veth(&ended, count);
    }
}
