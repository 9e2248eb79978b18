//! Servers in network namespaces of their own, as containers have them, which the lab is told of by their pids.

mod field_net;

use std::process::Stdio;

use c10k_record::Degree;
use field_net::servers::ECHO;
use field_net::{LAB, Way, expect, is_installed, lab_on_pid, run_lab};

/// A server in namespaces of its own for processes, mounts and the network, with so many descriptors; its pid here.
fn container(way: &mut Way, descriptors: u32) -> u32 {
    let limit = format!("--nofile={descriptors}:{descriptors}");
    let words = [
        "unshare",
        "--pid",
        "--mount",
        "--fork",
        "--mount-proc",
        "prlimit",
        &limit,
        "python3",
        "-c",
        ECHO,
        "0.0.0.0",
    ];
    let outer = way.server.start(&words);
    way.server.await_listener(9000);
    let children = std::fs::read_to_string(format!("/proc/{outer}/task/{outer}/children"));
    children.expect("it lives").trim().parse().expect("one child")
}

#[test]
fn a_server_in_a_container_is_looked_at_where_it_stands() {
    let Some(mut way) = Way::new() else { return };
    if !is_installed("python3", "--version") || !is_installed("unshare", "--version") {
        return;
    }
    way.server.run(&["ip", "route", "add", "default", "via", "10.92.0.1"]);
    let pid = container(&mut way, 160);
    let fits = lab_on_pid(&way.client, pid, "500ms", &["--target", "100"]);
    let c = &fits.connections;
    assert_eq!((c.held, c.at_server, c.ghosts, &fits.ceiling), (100, Some(100), Some(0), &None), "{c:?}");
    assert!(!fits.warnings.iter().any(|warning| warning.id == "census"), "{:?}", fits.warnings);
    let server = fits.processes.iter().find(|process| process.pid == pid).expect("it is told of");
    assert_eq!((server.connections, server.nofile), (Some(100), Some(160)), "{server:?}");
    assert!(fits.memory_per_connection.server_user_bytes.is_some_and(|bytes| bytes > 500.0));
    let patience = ["--connect-timeout", "3s", "--probe-timeout", "3s"];
    let record = lab_on_pid(&way.client, pid, "500ms", &[&patience[..], &["--target", "300"]].concat());
    let ceiling = expect(&record, "nofile-server", Degree::Proven);
    assert!(format!("{:?}", ceiling.walls).contains(&format!("process {pid}")), "{ceiling:#?}");
}

#[test]
fn a_plan_whose_server_stood_elsewhere_is_repeated_by_the_process_that_it_has_now() {
    let Some(mut way) = Way::new() else { return };
    if !is_installed("python3", "--version") || !is_installed("unshare", "--version") {
        return;
    }
    way.server.run(&["ip", "route", "add", "default", "via", "10.92.0.1"]);
    let pid = container(&mut way, 160).to_string();
    // Somebody listens on the same port where the lab stands: nobody means him.
    way.client.start(&[LAB, "server", "--listen", "127.0.0.1:9000"]);
    way.client.await_listener(9000);
    let results = tempfile::tempdir().expect("a folder");
    let folder = results.path().display().to_string();
    let run = |words: &[&str]| {
        let all = [&[LAB, "run", "--json", "--results", &folder][..], words].concat();
        way.client.command(&all).output().expect("the lab runs")
    };
    let words = ["--server-pid", &pid, "--target", "20", "--hold", "100ms", "--close", "rst"];
    assert_eq!(run(&words).status.code(), Some(0), "as it stands");
    let first = std::fs::read_dir(&folder).expect("results").next().expect("one run").expect("read");
    let plan = first.path().join("plan.toml").display().to_string();
    let refused = run(&[&plan]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!((refused.status.code(), said.lines().count()), (Some(3), 2), "{said}");
    assert!(said.contains("stood on 10.92.0.2:9000, in another network namespace"), "{said}");
    assert!(said.contains(&format!("hint: c10k-lab run {plan} --server-pid PID")), "{said}");
    let again = run(&[&plan, "--server-pid", &pid]);
    let record: c10k_record::Record = serde_json::from_slice(&again.stdout).expect("a record");
    let held = record.processes.iter().find(|process| process.pid.to_string() == pid);
    assert_eq!(held.and_then(|process| process.connections), Some(20), "{:?}", record.processes);
}

#[test]
fn a_server_that_is_not_reached_from_here_or_may_not_be_looked_at_is_refused_in_one_line() {
    let Some(mut way) = Way::new() else { return };
    let pid = way.server.start(&[LAB, "server", "--listen", "127.0.0.1:9000"]);
    way.server.await_listener(9000);
    let refused = |command: &mut std::process::Command| {
        let output = command.stdin(Stdio::null()).output().expect("the lab runs");
        assert_eq!(output.status.code(), Some(3), "{output:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let pid = pid.to_string();
    let words = [LAB, "run", "--server-pid", &pid, "--target", "10"];
    let said = refused(&mut way.client.command(&words));
    assert!(said.contains("only its own loopback leads there") && said.contains("nsenter"), "{said}");
    let mut ordinary = vec!["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    ordinary.extend(words);
    // A user who may not even run the program here has nothing to say.
    if let Some(true) = way
        .client
        .command(&["setpriv", "--reuid=65534", "test", "-x", LAB])
        .status()
        .ok()
        .map(|s| s.success())
    {
        let said = refused(&mut way.client.command(&ordinary));
        assert!(said.contains("error: ") && said.lines().count() <= 2, "{said}");
    }
    let record = run_lab(
        way.server.command(&words).args(["--json", "--hold", "100ms"]).current_dir(std::env::temp_dir()),
    );
    assert_eq!(record.connections.held, 10, "where it stands it is met");
}
