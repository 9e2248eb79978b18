//! The swarm against servers of other makers. `scripts/interop-setup.sh` installs them.
#![allow(clippy::print_stderr, reason = "a skipped test says so")]

mod common;
#[path = "../../c10k-wire/tests/support/interop.rs"]
mod interop;

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};

use common::{Ended, run};
use serde_json::Value;

/// Connections of each run.
const COUNT: u64 = 200;

/// A foreign server.
struct Foreign {
    child: Child,
    stdout: BufReader<ChildStdout>,
    port: u16,
}

#[test]
fn pythons_websockets_holds_them_and_hears_1000_from_each() {
    let Some(server) = Foreign::websockets("echo") else { return };
    expect_held(server, &[]);
}

#[test]
fn nodes_ws_holds_them_and_hears_1000_from_each() {
    let Some(server) = Foreign::ws("echo") else { return };
    expect_held(server, &[]);
}

#[test]
fn a_subprotocol_is_agreed_on() {
    for server in [Foreign::websockets("echo"), Foreign::ws("echo")].into_iter().flatten() {
        let seen = expect_held(server, &["--subprotocol", "chat"]);
        assert_eq!(seen["subprotocols"][0], "chat", "{seen}");
    }
}

#[test]
fn refusals_of_foreign_servers_are_counted_by_their_status() {
    for server in [Foreign::websockets("refuse"), Foreign::ws("refuse")].into_iter().flatten() {
        let ended = server.swarm(&[]);
        ended.expect_code(1).expect_failed(&[("handshake-status-429", COUNT)]);
    }
}

#[test]
fn a_probe_that_is_too_big_for_a_foreign_server_is_counted_by_its_code() {
    for server in [Foreign::websockets("small"), Foreign::ws("small")].into_iter().flatten() {
        let ended = server.swarm(&["--probe-bytes", "64"]);
        ended.expect_code(1).expect_failed(&[("close-1009", COUNT)]);
    }
}

#[test]
fn a_foreign_server_that_does_not_echo_is_found_out_or_held_without_probes() {
    for server in [Foreign::websockets("wrong"), Foreign::ws("wrong")].into_iter().flatten() {
        let ended = server.swarm(&[]);
        ended.expect_code(1).expect_failed(&[("corrupt", COUNT)]);
        let ended = server.swarm(&["--no-probe"]);
        ended.expect_code(0).expect_failed(&[]);
        assert_eq!((ended.record.connections.held, ended.record.connections.verified), (COUNT, None));
    }
}

/// All are verified, held and closed with 1000, and nothing was compressed.
#[track_caller]
fn expect_held(server: Foreign, arguments: &[&str]) -> Value {
    let ended = server.swarm(&[&["--close", "fin"], arguments].concat());
    ended.expect_code(0).expect_counts(COUNT, COUNT).expect_failed(&[]);
    let handshake = ended.record.latency_us.handshake.as_ref().map(|handshake| handshake.count);
    assert_eq!(handshake, Some(COUNT));
    let seen = server.finish();
    assert_eq!(seen["closes"], serde_json::json!({ "1000": COUNT }), "{seen}");
    assert_eq!(seen["extensions"], 0, "{seen}");
    assert!(seen["pongs"].as_u64().is_some_and(|pongs| pongs >= COUNT), "{seen}");
    seen
}

impl Foreign {
    fn websockets(how: &str) -> Option<Self> {
        interop::python("websockets").map(|python| Self::start(python, "websockets_server.py", how))
    }

    fn ws(how: &str) -> Option<Self> {
        interop::node("ws").map(|node| Self::start(node, "ws_server.cjs", how))
    }

    fn start(mut command: Command, script: &str, how: &str) -> Self {
        command.arg(interop::script(script)).arg(how).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let port = line.trim().parse().unwrap_or_else(|_| panic!("{script} {how} says '{line}'"));
        Self { child, stdout, port }
    }

    #[track_caller]
    fn swarm(&self, arguments: &[&str]) -> Ended {
        let url = format!("ws://127.0.0.1:{}/", self.port);
        let count = COUNT.to_string();
        run(&[&["--url", &url, "--target", &count, "--hold", "500ms", "--in-flight", "32"], arguments]
            .concat())
    }

    /// Ends it and gives its last word.
    #[track_caller]
    fn finish(mut self) -> Value {
        drop(self.child.stdin.take());
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        assert!(self.child.wait().unwrap().success());
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: '{line}'"))
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
