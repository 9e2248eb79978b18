//! The swarm against servers of other makers. `scripts/interop-setup.sh` installs them.
#![allow(clippy::print_stderr, reason = "a skipped test says so")]

mod common;
#[path = "../../c10k-wire/tests/support/interop.rs"]
mod interop;

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};

use common::{Ended, expect_few_unsent, run};
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

/// Messages, beats, and connections that come and go, whichever end is to close first.
#[track_caller]
fn expect_all_three(server: &Foreign) {
    let work = |arguments: &[&str]| {
        let all = ["--hold", "1s", "--workers", "1", "--target", "40"];
        server.swarm_as_told(&[&all, arguments].concat())
    };
    let ended = work(&["--workload", "echo", "--messages", "5/s", "--payload", "8..2KiB"]);
    ended.expect_code(0).expect_counts(40, 40).expect_failed(&[]);
    expect_few_unsent(&ended.record.work[0], 200);
    let ended = work(&["--beat", "200ms"]);
    ended.expect_code(0).expect_counts(40, 40).expect_failed(&[]);
    let beats = &ended.record.work[0];
    assert!(beats.messages_answered >= 160 && beats.messages_answered == beats.messages_sent, "{beats:?}");
    for close in ["client", "server", "rst"] {
        let ended = work(&["--workload", "churn", "--churn", "50/s", "--churn-close", close]);
        let churn = ended.record.work[0].churn.as_ref().expect("what came and went");
        assert!((40..=50).contains(&churn.closed), "{close}: {churn:?}");
        assert_eq!((churn.reopened, churn.failed), (churn.closed, 0), "{close}: {churn:?}");
        ended.expect_code(0).expect_counts(40 + churn.closed, 40).expect_failed(&[]);
    }
}

#[test]
fn pythons_websockets_does_the_workloads() {
    if let Some(server) = Foreign::websockets("echo") {
        expect_all_three(&server);
    }
}

#[test]
fn nodes_ws_does_the_workloads() {
    if let Some(server) = Foreign::ws("echo") {
        expect_all_three(&server);
    }
}

#[test]
fn refusals_of_foreign_servers_are_counted_by_their_status() {
    for server in [Foreign::websockets("refuse"), Foreign::ws("refuse")].into_iter().flatten() {
        let ended = server.swarm(&[]);
        ended.expect_code(1).expect_failed(&[("handshake-status-429", COUNT)]);
        let said = ended.said();
        assert!(said.iter().all(|(text, _)| text.starts_with("HTTP/1.1 429 Too Many Requests")), "{said:?}");
        assert_eq!(said.iter().map(|(_, count)| count).sum::<u64>(), COUNT, "{said:?}");
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
fn the_reason_for_which_a_foreign_server_closes_is_quoted() {
    for server in [Foreign::websockets("full"), Foreign::ws("full")].into_iter().flatten() {
        let ended = server.swarm(&[]);
        ended.expect_code(1).expect_failed(&[("close-1013", COUNT)]);
        assert_eq!(ended.said(), [("Close 1013: this room is full", COUNT)]);
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
        let count = COUNT.to_string();
        self.swarm_as_told(&[&["--target", &count, "--hold", "500ms"], arguments].concat())
    }

    #[track_caller]
    fn swarm_as_told(&self, arguments: &[&str]) -> Ended {
        let url = format!("ws://127.0.0.1:{}/", self.port);
        run(&[&["--url", &url, "--in-flight", "32"], arguments].concat())
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
