//! Before the first accept and around it: a port that this user may not have, peers that are gone by then.

#![allow(clippy::print_stderr, reason = "a skipped test says so")]

mod common;

use std::net::TcpStream;
use std::process::{Command, Stdio};

use common::{PROGRAM, Server, expect_echo, reset};
use nix::sys::signal::Signal;

#[test]
fn peers_that_reset_while_they_wait_in_the_queue_are_counted_and_leave_nothing_behind() {
    let mut server = Server::start(&[]);
    let queue = std::fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap();
    let given_up = 3000.min(queue.trim().parse::<u64>().unwrap() / 2);
    let before = server.connect();
    expect_echo(&before, b"it serves");
    // By its first report all its threads have been started.
    server.fresh_report();
    let descriptors = server.descriptors();
    server.signal(Signal::SIGSTOP);
    // The kernel completes each connect without the server, and each RST finds its connection in the queue.
    for _ in 0..given_up {
        reset(TcpStream::connect(server.address).unwrap());
    }
    server.signal(Signal::SIGCONT);
    expect_echo(&server.connect(), b"it goes on");
    let report = server.wait_for("all of them are over", |report| {
        let failed: u64 = report.failed.values().sum();
        report.open == 1 && failed + report.closed >= given_up
    });
    assert_eq!(report.accepted, given_up + 2, "{report:?}");
    assert_eq!(report.failed.get("ECONNRESET"), Some(&given_up), "{report:?}");
    assert_eq!(server.descriptors(), descriptors);
    expect_echo(&before, b"those who were there are still served");
    server.stop();
}

#[test]
fn a_port_below_those_that_anybody_may_have_is_refused_with_the_setting_that_opens_it() {
    let root = nix::unistd::geteuid().is_root();
    // In a network namespace of its own, as nobody, or where there is no other user as one without capabilities.
    let nobody = if root {
        "--reuid 65534 --regid 65534 --clear-groups"
    } else {
        "--inh-caps -all --bounding-set -all"
    };
    let script = format!(
        "ip link set lo up && exec setpriv {nobody} \"$0\" --listen 127.0.0.1:80,127.0.0.1:1080 --json"
    );
    let output = Command::new("unshare")
        .args([if root { "-n" } else { "-Urn" }, "sh", "-c", &script, PROGRAM])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    if !stderr.contains("error: ") {
        eprintln!("SKIPPED: no namespace may be made here, or nobody may not read the program: {stderr}");
        return;
    }
    assert_eq!((output.status.code(), output.stdout.len()), (Some(3), 0), "{stderr}");
    let reason = "error: cannot listen on 127.0.0.1:80: this user may not use that port (EACCES)";
    assert!(stderr.starts_with(reason), "{stderr}");
    assert!(
        stderr.contains("hint: ") && stderr.contains("net.ipv4.ip_unprivileged_port_start=80"),
        "{stderr}"
    );
}
