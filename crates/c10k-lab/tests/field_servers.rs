//! Servers that people run, at limits of their own, in several processes, of other users and in containers: the real
//! programs, in network namespaces that the test makes.

mod field_net;

use std::path::PathBuf;

use c10k_record::{Degree, Record};
use field_net::servers::{ECHO, Nginx};
use field_net::{LAB, Net, expect, is_installed, lab_words, run_lab, skipped};

/// A patience that what is never answered does not use up.
const HURRY: [&str; 4] = ["--connect-timeout", "3s", "--probe-timeout", "3s"];

#[test]
fn nginx_at_its_worker_connections_is_looked_for_at_the_server_at_every_target() {
    let Some(mut net) = Net::new() else { return };
    if !is_installed("nginx", "-v") {
        return;
    }
    let _folder = Nginx::new(1, 256).start(&mut net);
    // So that who was turned away is told from who was under way at that moment, on a busy machine too.
    let pace = ["--protocol", "ws", "--rate", "300/s"];
    let run = |target: &str| net.lab(9000, &[&HURRY[..], &pace, &["--target", target]].concat());
    let fits = run("100");
    assert_eq!((fits.connections.held, fits.ceiling), (100, None));
    for target in ["180", "300", "900"] {
        let record = run(target);
        // Each takes one connection to the client and one to what is behind.
        assert!((120..=127).contains(&record.connections.held), "{:?}", record.connections);
        let ceiling = expect(&record, "server-limit", Degree::Likely);
        assert_eq!(ceiling.walls.len(), 1, "{ceiling:#?}");
    }
}

/// Apache before a WebSocket server of ours on port 9001, with so many threads; each connection takes one.
fn apache(net: &mut Net, threads: u32) -> Option<tempfile::TempDir> {
    let modules = PathBuf::from("/usr/lib/apache2/modules");
    if !is_installed("apache2", "-v") {
        return None;
    }
    if !modules.join("mod_proxy_wstunnel.so").exists() {
        skipped("Apache has no mod_proxy_wstunnel here");
        return None;
    }
    net.start(&[LAB, "server", "--listen", "127.0.0.1:9001", "--protocol", "ws"]);
    net.await_listener(9001);
    let folder = tempfile::tempdir().expect("a folder");
    let (place, modules) = (folder.path().display(), modules.display());
    let load = |name: &str| format!("LoadModule {name}_module {modules}/mod_{name}.so\n");
    let loaded: String =
        ["mpm_event", "authz_core", "proxy", "proxy_http", "proxy_wstunnel"].map(load).concat();
    let conf = format!(
        "ServerRoot {place}\nPidFile {place}/pid\nDefaultRuntimeDir {place}\nErrorLog {place}/error.log\nServerName \
         localhost\nListen 127.0.0.1:9000\n{loaded}ProxyPass / ws://127.0.0.1:9001/\nServerLimit 1\nStartServers \
         1\nThreadsPerChild {threads}\nThreadLimit {threads}\nMaxRequestWorkers {threads}\nMinSpareThreads \
         1\nMaxSpareThreads {threads}\nUser www-data\nGroup www-data\n"
    );
    let file = folder.path().join("apache.conf");
    std::fs::write(&file, conf).expect("written");
    net.start(&["apache2", "-DFOREGROUND", "-f", &file.display().to_string()]);
    net.await_listener(9000);
    Some(folder)
}

#[test]
fn what_apache_defers_is_not_held_by_saying_nothing() {
    let Some(mut net) = Net::new() else { return };
    let Some(_folder) = apache(&mut net, 64) else { return };
    let spoken = net.lab(9000, &["--protocol", "ws", "--target", "40"]);
    assert_eq!((spoken.connections.held, spoken.ceiling), (40, None), "{:?}", spoken.connections);
    let record = net.lab(9000, &["--target", "40", "--no-probe"]);
    let c = &record.connections;
    assert_eq!((c.established, c.held, c.at_server, c.ghosts), (40, 0, Some(0), Some(40)), "{c:?}");
    assert_eq!(record.memory_per_connection.server_kernel_bytes, None, "what is not there costs nothing");
    let ceiling = record.ceiling.expect("short");
    let remedy = ceiling.remedy.expect("where to look");
    assert!(ceiling.wall == "unknown" && remedy.summary.contains("TCP_DEFER_ACCEPT"), "{remedy:#?}");
}

#[test]
fn apache_with_all_its_threads_busy_stands_at_a_limit_of_its_own() {
    for target in ["70", "200"] {
        let Some(mut net) = Net::new() else { return };
        let Some(_folder) = apache(&mut net, 50) else { return };
        let patience = ["--handshake-timeout", "3s", "--protocol", "ws", "--target", target];
        let record = net.lab(9000, &[&HURRY[..], &patience].concat());
        assert!((40..=50).contains(&record.connections.held), "{:?}", record.connections);
        expect(&record, "server-limit", Degree::Likely);
    }
}

/// A Socket.IO server that closes a client that does not answer its heartbeat: after 2.5 s it asks, and a second later it closes.
const HEARTBEAT: &str = r#"
const { Server } = require("socket.io");
const http = require("node:http").createServer();
new Server(http, { pingInterval: 2500, pingTimeout: 1000, transports: ["websocket"] });
http.listen(9000, "127.0.0.1", 1024);
"#;

#[test]
fn a_heartbeat_of_socket_io_that_nobody_answers_is_an_idle_limit() {
    let Some(mut net) = Net::new() else { return };
    let peers = std::env::var_os("C10K_INTEROP").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target/interop"),
        PathBuf::from,
    );
    let modules = peers.join("node_modules");
    if !is_installed("node", "--version") || !modules.join("socket.io").exists() {
        assert!(std::env::var_os("C10K_INTEROP_REQUIRED").is_none(), "no socket.io in {}", modules.display());
        return skipped("scripts/interop-setup.sh installs socket.io");
    }
    let program = format!("module.paths.push({:?});{HEARTBEAT}", modules.display().to_string());
    net.start(&["node", "-e", &program]);
    net.await_listener(9000);
    let path = ["--protocol", "ws", "--path", "/socket.io/?EIO=4&transport=websocket", "--no-probe"];
    let run = |hold: &str| {
        let (_results, words) = lab_words(9000, hold, &[&path[..], &["--target", "60"]].concat());
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        run_lab(&mut net.command(&words))
    };
    let short = run("1s");
    assert_eq!((short.connections.held, short.ceiling), (60, None), "{:?}", short.connections);
    let record = run("6s");
    assert_eq!(record.connections.held, 0, "{:?}", record.connections);
    let ceiling = record.ceiling.expect("short");
    assert_eq!(ceiling.wall, "server-idle-limit", "{ceiling:#?}");
}

#[test]
fn of_a_proxy_before_a_proxy_the_one_that_is_at_its_limit_is_behind() {
    let Some(mut net) = Net::new() else { return };
    if !is_installed("haproxy", "-v") {
        return;
    }
    net.start(&[LAB, "server", "--listen", "127.0.0.1:9002"]);
    net.await_listener(9002);
    let folder = tempfile::tempdir().expect("a folder");
    let mut proxy = |name: &str, port: u16, maxconn: u32, behind: u16| {
        let conf = format!(
            "global\n maxconn {maxconn}\ndefaults\n mode tcp\n retries 0\n timeout connect 5s\n timeout client 1m\n \
             timeout server 1m\nlisten l\n bind 127.0.0.1:{port} backlog 1000\n server s 127.0.0.1:{behind}\n"
        );
        let file = folder.path().join(name);
        std::fs::write(&file, conf).expect("written");
        net.start(&["haproxy", "-db", "-f", &file.display().to_string()]);
        net.await_listener(port);
    };
    proxy("behind.cfg", 9001, 80, 9002);
    proxy("before.cfg", 9000, 4_000, 9001);
    let fits = net.lab(9000, &["--target", "60"]);
    assert_eq!((fits.connections.held, fits.ceiling), (60, None), "{:?}", fits.connections);
    for target in ["110", "250"] {
        let record = net.lab(9000, &[&HURRY[..], &["--target", target]].concat());
        assert_eq!(record.connections.held, 80, "{:?}", record.connections);
        // The first one takes them all; which of those behind it does not is not seen from here.
        let ceiling = record.ceiling.as_ref().expect("short");
        let look = ceiling.remedy.as_ref().map_or("", |remedy| &remedy.summary);
        let is_right = ceiling.wall == "server-limit"
            || ceiling.wall == "unknown" && look.contains("what is behind the server");
        assert!(is_right && ceiling.degree != Some(Degree::Proven), "{ceiling:#?}");
    }
}

/// A server that echoes at an address, with so many descriptors.
fn echo(net: &mut Net, at: &str, descriptors: u32) -> u32 {
    let limit = format!("--nofile={descriptors}:{descriptors}");
    let pid = net.start(&["prlimit", &limit, "python3", "-c", ECHO, at]);
    net.await_listener(9000);
    pid
}

fn holder(record: &Record, pid: u32) -> Option<u64> {
    record.processes.iter().find(|process| process.pid == pid).and_then(|process| process.connections)
}

#[test]
fn of_two_servers_on_one_port_the_one_that_is_met_is_the_one_that_is_told_of() {
    let Some(mut net) = Net::new() else { return };
    if !is_installed("python3", "--version") {
        return;
    }
    let all = echo(&mut net, "0.0.0.0", 1_000);
    let one = echo(&mut net, "127.0.0.1", 100);
    let until = std::time::Instant::now() + field_net::PATIENCE;
    let both = || {
        let listening = net.inside(|| c10k_collector::listeners_on(&[9000]));
        listening.is_some_and(|listening| listening.count == 2)
    };
    while !both() {
        assert!(std::time::Instant::now() < until, "one of them does not listen");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let fits = net.lab(9000, &["--target", "50"]);
    assert_eq!((fits.connections.held, &fits.ceiling), (50, &None), "{:?}", fits.connections);
    assert_eq!((holder(&fits, one), holder(&fits, all).unwrap_or(0)), (Some(50), 0), "{:?}", fits.processes);
    let record = net.lab(9000, &[&HURRY[..], &["--target", "150"]].concat());
    let ceiling = expect(&record, "nofile-server", Degree::Proven);
    let evidence = format!("{:?}", ceiling.walls);
    assert!(evidence.contains(&format!("process {one}")), "{one}: {evidence}");
}

#[test]
fn a_server_of_another_user_is_told_of_as_far_as_it_may_be_seen() {
    let Some(mut net) = Net::new() else { return };
    if !is_installed("python3", "--version") || !is_installed("setpriv", "--version") {
        return;
    }
    let pid = echo(&mut net, "127.0.0.1", 100);
    let folder = tempfile::tempdir().expect("a folder");
    let program = folder.path().join("c10k-lab");
    std::fs::copy(LAB, &program).expect("copied");
    std::os::unix::fs::chown(folder.path(), Some(65_534), Some(65_534)).expect("given away");
    let (program, results) = (program.display().to_string(), folder.path().join("results"));
    let results = results.display().to_string();
    let run = |target: &str| {
        let mut words = vec!["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", &program, "run"];
        words.extend(["--json", "--results", &results, "--server-port", "9000", "--hold", "500ms"]);
        words.extend(["--close", "rst", "--in-flight", "32", "--target", target]);
        words.extend(HURRY);
        run_lab(&mut net.command(&words))
    };
    let fits = run("50");
    assert_eq!((fits.connections.held, &fits.ceiling), (50, &None), "{:?}", fits.connections);
    let cost = &fits.memory_per_connection;
    assert_eq!((cost.server_user_bytes, fits.cpu.server_cores), (None, None), "of whom it is not known");
    assert!(fits.warnings.iter().any(|warning| warning.id == "server-hidden"), "{:?}", fits.warnings);
    let record = run("150");
    let ceiling = record.ceiling.expect("short");
    // Its descriptors may not be counted: a limit of its own is what is left, and no number of anybody else's.
    assert!(["server-limit", "server-stopped-accepting"].contains(&ceiling.wall.as_str()), "{ceiling:#?}");
    assert_ne!(ceiling.degree, Some(Degree::Proven), "{ceiling:#?}");
    assert!(!format!("{:?}", ceiling.walls).contains(&format!("process {pid}:")), "{ceiling:#?}");
}
