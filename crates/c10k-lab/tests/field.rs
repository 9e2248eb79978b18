//! Situations that people meet with servers and proxies of their own, against the real programs, in network namespaces
//! that the test makes.

#[path = "../../c10k-swarm/tests/foreign_servers/mod.rs"]
mod foreign_servers;

mod field_net;

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use c10k_kernel::census::{PortSet, SockDiag, State, States};
use c10k_record::{Degree, Record};
use field_net::servers::Nginx;
use field_net::{LAB, Net, PATIENCE, expect, is_installed, lab_words, run_lab};
use foreign_servers::Foreign;

#[test]
fn nginx_without_source_ports_to_what_is_behind_it_has_one_name_at_every_target() {
    let Some(mut net) = Net::new() else { return };
    if !is_installed("nginx", "-v") {
        return;
    }
    net.set("net.ipv4.ip_local_port_range", "20000 20299");
    let _folder = Nginx::new(2, 2000).start(&mut net);
    let run = |target: &str| {
        // Over loopback a port in TIME_WAIT may be taken again when it is a second old (tcp_tw_reuse = 2).
        std::thread::sleep(Duration::from_millis(2_100));
        net.lab(9000, &["--protocol", "ws", "--ips", "127.0.0.2-127.0.0.9", "--target", target])
    };
    let fits = run("100");
    assert_eq!((fits.connections.held, fits.ceiling), (100, None));
    for target in ["305", "400", "900"] {
        let record = run(target);
        assert_eq!(record.connections.held, 300, "{:?}", record.connections);
        let ceiling = expect(&record, "proxy-ports-exhausted", Degree::Proven);
        assert!(ceiling.evidence.iter().any(|evidence| evidence.text.contains("127.0.0.1:9001")));
    }
    let fits = run("100");
    assert_eq!((fits.connections.held, fits.ceiling), (100, None));
}

#[test]
fn a_proof_that_nobody_answers_is_looked_into_whether_the_server_or_the_way_is_silent() {
    let Some(mut net) = Net::new() else { return };
    if !is_installed("nft", "-v") {
        return;
    }
    let pid = net.start(&[LAB, "server", "--listen", "127.0.0.1:9000"]);
    net.await_listener(9000);
    let mut diag = net.inside(SockDiag::open).expect("sock_diag");
    let mut run = |silence: &dyn Fn()| {
        let patience = ["--connect-timeout", "4s", "--probe-timeout", "4s", "--target", "100"];
        let (_results, words) = lab_words(9000, "3s", &patience);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let lab = net.command(&words).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it runs");
        let until = Instant::now() + PATIENCE;
        let held = |diag: &mut SockDiag| {
            let census = diag.census(States::of(&[State::Established]), &PortSet::of(&[9000]));
            census.expect("sock_diag").client_side
        };
        while held(&mut diag) < 100 {
            assert!(Instant::now() < until, "they do not come");
            std::thread::sleep(Duration::from_millis(10));
        }
        // The last of them has its first echo.
        std::thread::sleep(Duration::from_millis(500));
        silence();
        let output = lab.wait_with_output().expect("it ends");
        serde_json::from_slice::<Record>(&output.stdout).expect("a record")
    };
    let signal = |name: &str| net.run(&["kill", name, &pid.to_string()]);
    let stopped = run(&|| signal("-STOP"));
    signal("-CONT");
    expect(&stopped, "server-stopped-accepting", Degree::Proven);
    assert_eq!(stopped.evidence.silent.expect("looked at").unacked, 0, "its kernel answers");
    let dropped = run(&|| {
        net.nft("table ip f {\n chain i { type filter hook input priority 0; tcp dport 9000 drop\n }\n}\n");
    });
    let ceiling = expect(&dropped, "path-lost", Degree::Likely);
    assert_eq!(ceiling.walls.len(), 1, "{ceiling:#?}");
}

/// HAProxy before a server of ours, with so many connections at the most; `None`, said aloud, where it cannot be.
fn haproxy(maxconn: u32, ports: &str) -> Option<(Net, tempfile::TempDir)> {
    let mut net = Net::new()?;
    if !is_installed("haproxy", "-v") {
        return None;
    }
    net.set("net.ipv4.ip_local_port_range", ports);
    net.start(&[LAB, "server", "--listen", "127.0.0.1:9001"]);
    net.await_listener(9001);
    let folder = tempfile::tempdir().expect("a folder");
    let conf = format!(
        "global\n maxconn {maxconn}\ndefaults\n mode tcp\n retries 0\n timeout connect 5s\n timeout client 1m\n timeout \
         server 1m\nlisten l\n bind 127.0.0.1:9000 backlog 1000\n server s 127.0.0.1:9001\n"
    );
    let file = folder.path().join("haproxy.cfg");
    std::fs::write(&file, conf).expect("written");
    net.start(&["haproxy", "-db", "-f", &file.display().to_string()]);
    net.await_listener(9000);
    Some((net, folder))
}

#[test]
fn haproxy_at_its_maxconn_stands_at_a_limit_of_its_own_whatever_was_asked_for() {
    for target in ["140", "300"] {
        let Some((net, _folder)) = haproxy(100, "20000 29999") else { return };
        let patience = ["--connect-timeout", "4s", "--probe-timeout", "4s", "--target", target];
        let record = net.lab(9000, &patience);
        assert_eq!(record.connections.held, 100, "{:?}", record.connections);
        let ceiling = expect(&record, "server-limit", Degree::Likely);
        assert_eq!(ceiling.walls.len(), 1, "{ceiling:#?}");
    }
}

#[test]
fn haproxy_without_source_ports_is_named_just_so_over_raw_connections() {
    let Some((net, _folder)) = haproxy(5_000, "20000 20199") else { return };
    let record = net.lab(9000, &["--ips", "127.0.0.2-127.0.0.9", "--target", "500"]);
    assert!(record.connections.held <= 200, "{:?}", record.connections);
    expect(&record, "proxy-ports-exhausted", Degree::Proven);
}

#[test]
fn a_rule_that_rejects_beyond_a_number_of_one_source_is_no_missing_server() {
    let Some(mut net) = Net::new() else { return };
    if !is_installed("nft", "-v") {
        return;
    }
    net.start(&[LAB, "server", "--listen", "127.0.0.1:9000"]);
    net.await_listener(9000);
    for reject in ["reject with tcp reset", "reject with icmp port-unreachable"] {
        net.nft(&format!(
            "flush ruleset\ntable ip f {{\n set s {{ type ipv4_addr; size 65535; flags dynamic; }}\n chain i {{ type filter \
             hook input priority 0;\n  tcp dport 9000 ct state new add @s {{ ip saddr ct count over 200 }} {reject}\n }}\n}}\n"
        ));
        let record = net.lab(9000, &["--ips", "127.0.0.2", "--target", "400"]);
        assert_eq!(record.connections.held, 200, "{:?}", record.connections);
        expect(&record, "filter-rejects", Degree::Proven);
        let fits = net.lab(9000, &["--ips", "127.0.0.3", "--target", "150"]);
        assert_eq!((fits.connections.held, fits.ceiling), (150, None));
    }
}

#[test]
fn a_server_that_closes_what_comes_on_top_stands_at_a_limit_whatever_was_asked_for() {
    for target in ["320", "600"] {
        let Some(server) = Foreign::python_echo_that_takes(300) else { return };
        let words = lab_words(server.port, "500ms", &["--target", target, "--rate", "400/s"]);
        let mut command = Command::new(LAB);
        let record = run_lab(command.args(&words.1[1..]).stdin(Stdio::null()));
        assert_eq!(record.connections.held, 300, "{:?}", record.connections);
        let ceiling = expect(&record, "server-limit", Degree::Likely);
        assert!(ceiling.remedy.is_some_and(|remedy| remedy.summary.starts_with("First prove it")));
    }
}

/// Echoes, and blocks for a while with each that it accepts, as a handler does that asks a database.
const BLOCKS: &str = r#"
import asyncio, sys, time

async def serve(reader, writer):
    time.sleep(0.03)
    try:
        while data := await reader.read(65536):
            writer.write(data)
    except ConnectionError:
        pass

async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 9000, backlog=16)
    await server.serve_forever()

asyncio.run(main())
"#;

#[test]
fn a_server_that_accepts_slowly_throughout_has_neither_stopped_nor_a_limit() {
    let Some(mut net) = Net::new() else { return };
    if !is_installed("python3", "--version") {
        return;
    }
    net.start(&["python3", "-c", BLOCKS]);
    net.await_listener(9000);
    let hurry = ["--connect-timeout", "3s", "--probe-timeout", "400ms"];
    let record = net.lab(9000, &[&hurry[..], &["--target", "400"]].concat());
    let c = &record.connections;
    assert!(c.held > 0 && c.held < 400, "{c:?}");
    let ceiling = record.ceiling.as_ref().expect("it is short");
    for wrong in ["server-stopped-accepting", "server-limit", "not-an-echo-server", "firewall-drop"] {
        assert!(!ceiling.walls.iter().any(|wall| wall.name == wrong), "{ceiling:#?}");
    }
}

#[test]
fn a_rule_that_limits_a_rate_is_no_limit_of_the_server() {
    if !is_installed("nft", "-v") {
        return;
    }
    for (then, wall) in [("drop", "firewall-drop"), ("reject with tcp reset", "filter-rejects")] {
        let Some(mut net) = Net::new() else { return };
        net.start(&[LAB, "server", "--listen", "127.0.0.1:9000"]);
        net.await_listener(9000);
        net.nft(&format!(
            "table ip f {{\n chain i {{ type filter hook input priority 0;\n  tcp dport 9000 ct state new limit rate over \
             50/second burst 20 packets {then}\n }}\n}}\n"
        ));
        let patience = ["--connect-timeout", "2500ms", "--probe-timeout", "2500ms"];
        let record = net.lab(9000, &[&patience[..], &["--rate", "150/s", "--target", "300"]].concat());
        let c = &record.connections;
        assert!(c.held > 50 && c.held < 300, "{c:?}");
        let ceiling = expect(&record, wall, Degree::Proven);
        assert_eq!(ceiling.walls.len(), 1, "{ceiling:#?}");
    }
}
