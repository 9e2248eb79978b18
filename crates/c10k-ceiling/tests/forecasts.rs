//! How many connections a wall is foreseen to allow.

mod support;

use c10k_ceiling::{PlanView, memory_reserve_bytes, predict, predicted_ceiling, wall};
use c10k_record::{HostSnapshot, Predicted};
use support::{TARGET, host, plan};

#[test]
fn ports_in_time_wait_are_predicted_where_they_are_not_used_again() {
    let of = |reuse, timestamps, pool| {
        let host = HostSnapshot {
            port_range: Some((40_000, 40_399)),
            time_wait: Some(300),
            tw_reuse: Some(reuse),
            timestamps: Some(timestamps),
            ..host()
        };
        let plan = PlanView { target: 300, sources: 1, source_ports: None, pool, ..plan() };
        let found = predict(&host, &plan).into_iter().find(|p| p.wall == "time-wait-ports");
        found.map(|found| (found.connections, found.lift.commands))
    };
    let (left, lift) = of(0, 1, None).expect("they are kept");
    assert_eq!(left, 100);
    assert_eq!(lift[0], "c10k-swarm --ips 127.0.0.1-127.0.0.2 --target 300");
    assert_eq!(lift[1..], ["sudo sysctl -w net.ipv4.tcp_tw_reuse=1"]);
    assert_eq!(of(2, 1, None), None, "on loopback that gives them out again");
    assert_eq!(of(1, 1, None), None);
    assert_eq!(of(0, 1, Some(1 << 20)), None, "there are more addresses");
    let (left, lift) = of(1, 0, None).expect("without timestamps nothing is used again");
    assert_eq!((left, lift.len()), (100, 2));
    assert_eq!(lift[1], "sudo sysctl -w net.ipv4.tcp_timestamps=1");
    let (_, lift) = of(0, 0, None).expect("without timestamps nothing is used again");
    assert_eq!(lift[1..], ["sudo sysctl -w net.ipv4.tcp_timestamps=1 net.ipv4.tcp_tw_reuse=1"]);
}

#[test]
fn the_first_wall_of_a_plain_program_is_its_descriptor_limit() {
    let mut host = host();
    (host.server_tables, host.swarm_tables) = (false, false);
    (host.server_nofile, host.swarm_nofile) = (Some(1024), Some(4096));
    let walls: Vec<(String, u64)> =
        predict(&host, &plan()).into_iter().map(|p| (p.wall, p.connections)).collect();
    assert_eq!(walls[0], ("nofile-server".to_owned(), 1016));
    assert_eq!(walls[1], ("nofile-swarm".to_owned(), 4088));
    assert!(walls.contains(&("ports-exhausted".to_owned(), 112_928)), "{walls:?}");
    assert!(walls.windows(2).all(|pair| pair[0].1 <= pair[1].1), "{walls:?}");
}

#[test]
fn tables_of_their_own_leave_ports_as_the_first_wall() {
    let first = predicted_ceiling(&host(), &plan()).expect("limits were read");
    let expected =
        Predicted { connections: 112_928, wall: "ports-exhausted".to_owned(), uncertainty_percent: 0 };
    assert_eq!(first, expected);
}

#[test]
fn sources_that_the_swarm_chooses_itself_are_a_wall_only_when_the_pool_of_them_is() {
    let of = |pool, target| {
        let plan = PlanView { pool: Some(pool), target, ..plan() };
        let ports = predict(&host(), &plan).into_iter().find(|p| p.wall == "ports-exhausted");
        ports.map(|prediction| prediction.connections)
    };
    assert_eq!(of(1 << 20, 10_000_000), None, "it takes as many as it needs");
    assert_eq!(of(10, 282_320), None);
    assert_eq!(of(10, 282_321), Some(282_320), "all of them are too few");
}

#[test]
fn what_a_group_keeps_free_is_no_room_for_connections() {
    let mut host = host();
    (host.cgroup_memory_bytes, host.cgroup_memory_used_bytes) = (Some(1 << 30), Some(0));
    let of = |host: &HostSnapshot| {
        let found = predict(host, &plan()).into_iter().find(|p| p.wall == "cgroup-memory");
        found.expect("a limit").connections
    };
    let all = of(&host);
    host.cgroup_memory_kept_bytes = Some(1 << 29);
    assert!(of(&host).abs_diff(all / 2) <= 1);
}

#[test]
fn what_a_table_holds_beside_connections_is_counted_or_is_an_uncertainty() {
    let mut host = host();
    (host.server_tables, host.server_nofile, host.server_per_table) = (false, Some(256), Some(249));
    let first = |host: &HostSnapshot| predicted_ceiling(host, &plan()).expect("a limit");
    assert_eq!((first(&host).connections, first(&host).uncertainty_percent), (249, 0));
    host.server_per_table = None;
    assert_eq!((first(&host).connections, first(&host).uncertainty_percent), (248, 4));
}

#[test]
fn a_limit_that_could_not_be_read_predicts_nothing() {
    let plan = PlanView { source_ports: None, ..plan() };
    assert_eq!(predicted_ceiling(&HostSnapshot::default(), &plan), None);
}

#[test]
fn two_users_have_the_watches_of_epoll_each_for_themselves() {
    let forecast = |host: &HostSnapshot, plan: &PlanView| {
        let all = predict(host, plan);
        all.into_iter().find(|wall| wall.wall == "epoll-watches").expect("the limit was read")
    };
    let words = |line: &str| line.split(' ').map(str::to_owned).collect();
    let (one, swarm) = (host(), PlanView { again: words("c10k-swarm --server a:1"), ..plan() });
    let found = forecast(&one, &swarm);
    assert_eq!((found.connections, found.uncertainty_percent), (5_491_511 / 2, 0));
    let line = format!("sudo -u nobody c10k-swarm --server a:1 --target {TARGET}");
    assert_eq!(found.lift.commands.last(), Some(&line));
    assert!(wall("epoll-watches").expect("a wall").any_command_lifts && found.lift.commands.len() == 2);
    let lab = PlanView { again: words("c10k-lab run"), own_server: true, ..plan() };
    assert_eq!(forecast(&one, &lab).lift.commands.len(), 1, "the lab starts both ends as one user");
    let beside = PlanView { again: words("c10k-lab run --server-port 80"), ..plan() };
    assert_eq!(forecast(&one, &beside).lift.commands.len(), 1, "another user may not write its results");
    let own = PlanView { again: words("c10k-lab swarm --server a:1"), ..plan() };
    assert_eq!(forecast(&one, &own).lift.commands.len(), 2);
    let two = HostSnapshot { watches_apart: true, ..one.clone() };
    assert_eq!(forecast(&two, &swarm).connections, 5_491_511);
    assert_eq!(forecast(&two, &swarm).lift.commands.len(), 1, "they are two users already");
    let remote = PlanView { both_ends_here: false, ..swarm };
    assert_eq!(forecast(&one, &remote).connections, 5_491_511);
}

#[test]
fn memory_is_predicted_with_its_uncertainty() {
    let predictions = predict(&host(), &plan());
    let ram = predictions.iter().find(|p| p.wall == "ram").expect("memory was read");
    assert_eq!((ram.connections, ram.uncertainty_percent), ((20 << 30) / 8_330, 5));
    let mut host = host();
    host.memory_total_bytes = Some(24 << 30);
    (host.server_connection_bytes, host.client_connection_bytes) = (Some(4_000), Some(4_000));
    (host.cgroup_memory_bytes, host.cgroup_memory_used_bytes) = (Some(1 << 30), Some(1 << 20));
    let predictions = predict(&host, &plan());
    let of = |name: &str| predictions.iter().find(|p| p.wall == name).map(|p| p.connections);
    assert_eq!(of("ram"), Some(((20 << 30) - memory_reserve_bytes(24 << 30)) / 8_000));
    assert_eq!(of("cgroup-memory"), Some(((1 << 30) - (1 << 20)) / 8_000));
    host.cgroup_connection_bytes = Some(5_600);
    let charged = predict(&host, &plan()).into_iter().find(|p| p.wall == "cgroup-memory").expect("a group");
    assert_eq!(charged.connections, ((1 << 30) - (1 << 20)) / 5_600);
}
