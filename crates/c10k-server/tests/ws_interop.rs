//! Clients of other makers against the server. `scripts/interop-setup.sh` installs them.
#![allow(clippy::print_stderr, reason = "a skipped test says so")]

mod common;
#[path = "../../c10k-wire/tests/support/interop.rs"]
mod interop;
mod ws_support;

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};

use interop::{node, python, script};
use ws_support::start;

#[test]
fn pythons_websockets_is_served() {
    let Some(python) = python("websockets") else { return };
    expect_served(python, "websockets_client.py", 102, &[("ws-frame-too-big", 1)]);
}

#[test]
fn pythons_aiohttp_is_served_and_plain_http_is_told_what_this_is() {
    let Some(python) = python("aiohttp") else { return };
    expect_served(python, "aiohttp_client.py", 104, &[("handshake-method", 1), ("handshake-no-upgrade", 1)]);
}

#[test]
fn nodes_ws_is_served() {
    let Some(node) = node("ws") else { return };
    expect_served(node, "ws_client.cjs", 102, &[("ws-frame-too-big", 1)]);
}

#[test]
fn a_foreign_client_is_told_1001_at_the_end() {
    let Some(mut python) = python("websockets") else { return };
    let server = start(&[]);
    python.arg(script("wait_for_close.py")).arg(format!("ws://{}/", server.address));
    let mut child = python.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    assert_eq!(line, "open\n");
    let report = server.stop().report;
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(rest, "1001\n");
    assert_eq!((report.drained, report.failed.len()), (1, 0), "{report:?}");
}

#[test]
fn pythons_websockets_plays_a_stream_and_follows_messages() {
    for (word, flags) in [
        ("play", ["--workload", "stream", "--stream-duration", "1s"]),
        ("follow", ["--workload", "fanout", "--fanout-every", "50ms"]),
    ] {
        let Some(mut python) = python("websockets") else { return };
        let server = start(&flags);
        let output = python
            .arg(script("push_client.py"))
            .args([&format!("ws://{}/", server.address), word])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let (stdout, stderr) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success() && stdout.trim() == "ok", "{word}: {stdout}\n{stderr}");
        let report = server.stop().report;
        assert_eq!((report.closed + report.drained, report.failed.len()), (1, 0), "{report:?}");
    }
}

/// Runs a script against a server, and checks what the server says of it: `closed` in good order, and these failed.
#[track_caller]
fn expect_served(mut program: Command, name: &str, closed: u64, failed: &[(&str, u64)]) {
    let mut server = start(&["--subprotocol", "chat"]);
    let output = program
        .arg(script(name))
        .arg(format!("ws://{}/", server.address))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && stdout.trim() == "ok", "{name}: {stdout}\n{stderr}");
    server.wait_for("all are gone", |report| report.open == 0);
    let report = server.stop().report;
    let found: Vec<(&str, u64)> = report.failed.iter().map(|(name, &count)| (name.as_str(), count)).collect();
    assert_eq!((found.as_slice(), report.closed), (failed, closed), "{report:?}");
}
