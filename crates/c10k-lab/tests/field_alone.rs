//! What a swarm that nobody leads, and a lab that may not look at the server, make of servers that people have.

mod field_net;

use std::process::Stdio;
use std::time::Duration;

use c10k_record::{Degree, Record};
use field_net::servers::{ECHO, Nginx};
use field_net::{LAB, Net, expect, is_installed};

/// nginx before a WebSocket server of ours, in a namespace with these ports.
fn nginx(ports: &str) -> Option<(Net, tempfile::TempDir)> {
    let mut net = Net::new()?;
    if !is_installed("nginx", "-v") {
        return None;
    }
    net.set("net.ipv4.ip_local_port_range", ports);
    let folder = Nginx::new(2, 2000).start(&mut net);
    Some((net, folder))
}

#[test]
fn a_swarm_alone_names_the_source_ports_of_a_proxy_at_every_target() {
    let Some((net, _folder)) = nginx("20000 20199") else { return };
    let run = |target: &str| {
        // Over loopback a port in TIME_WAIT may be taken again when it is a second old (tcp_tw_reuse = 2).
        std::thread::sleep(Duration::from_millis(2_100));
        let url = "ws://127.0.0.1:9000/";
        let mut words = vec![LAB, "swarm", "--json", "--url", url, "--ips", "127.0.0.2-127.0.0.9"];
        words.extend(["--close", "rst", "--in-flight", "32", "--hold", "500ms", "--target", target]);
        let output = net.command(&words).output().expect("the swarm runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        serde_json::from_slice::<Record>(&output.stdout).unwrap_or_else(|_| panic!("no record: {said}"))
    };
    let fits = run("100");
    assert_eq!((fits.connections.held, fits.ceiling), (100, None));
    for target in ["220", "600"] {
        let record = run(target);
        assert_eq!(record.connections.held, 200, "{:?}", record.connections);
        let ceiling = expect(&record, "proxy-ports-exhausted", Degree::Proven);
        assert_eq!(ceiling.walls.len(), 1, "{ceiling:#?}");
        assert!(ceiling.evidence.iter().any(|evidence| evidence.text.contains("127.0.0.1:9001")));
    }
}

#[test]
fn of_a_healthy_server_of_another_user_what_cannot_be_read_is_null_and_said_once() {
    let Some(mut net) = Net::new() else { return };
    if !is_installed("python3", "--version") || !is_installed("setpriv", "--version") {
        return;
    }
    net.start(&["python3", "-c", ECHO, "127.0.0.1"]);
    net.await_listener(9000);
    let folder = tempfile::tempdir().expect("a folder");
    let program = folder.path().join("c10k-lab");
    std::fs::copy(LAB, &program).expect("copied");
    std::os::unix::fs::chown(folder.path(), Some(65_534), Some(65_534)).expect("given away");
    let (program, results) = (program.display().to_string(), folder.path().join("results"));
    let results = results.display().to_string();
    let mut words = vec!["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", &program, "run"];
    words.extend(["--json", "--full", "--results", &results, "--server-port", "9000", "--hold", "1s"]);
    words.extend(["--close", "rst", "--in-flight", "32", "--target", "80"]);
    let output = net.command(&words).stdin(Stdio::null()).output().expect("the lab runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{said}");
    let record: Record = serde_json::from_slice(&output.stdout).expect("a record");
    let c = &record.connections;
    assert_eq!((c.held, c.accepted, &record.ceiling), (80, None, &None), "{c:?}");
    // Of its sockets the kernel tells anybody.
    assert_eq!((c.at_server, c.ghosts), (Some(80), Some(0)), "{c:?}");
    assert_eq!(record.memory_per_connection.server_user_bytes, None);
    assert_eq!((record.cpu.server_cores, &record.server), (None, &None));
    assert!(
        record.processes.iter().all(|one| one.connections.is_none() && !one.counted),
        "{:?}",
        record.processes
    );
    let limits = &record.host.as_ref().expect("described").limits;
    assert_eq!((limits.server_nofile, limits.server_processes, limits.server_room), (None, None, None));
    let notes: Vec<_> = record.warnings.iter().filter(|warning| warning.id == "server-hidden").collect();
    assert_eq!(notes.len(), 1, "{:#?}", record.warnings);
    assert_eq!(said.matches(&notes[0].text).count(), 1, "{said}");
    let run = std::fs::read_dir(&results).expect("results").flatten().find(|run| run.path().is_dir());
    let samples = std::fs::read_to_string(run.expect("one run").path().join("samples.csv")).expect("samples");
    let mut rows = samples.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let head = rows.next().expect("a head");
    let of_server: Vec<usize> = (0..head.len()).filter(|at| head[*at].starts_with("server_")).collect();
    assert!(!of_server.is_empty(), "{head:?}");
    for row in rows {
        assert!(of_server.iter().all(|at| row[*at].is_empty()), "{head:?}\n{row:?}");
    }
}
