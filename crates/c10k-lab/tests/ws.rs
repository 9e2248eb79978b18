//! WebSocket runs by the real program, and its two ends as commands of their own.

mod common;

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};

use c10k_record::{Protocol, Record, ServerEvent, ServerReport};
use common::{Ended, Lab, namespaces_allowed, run_lab};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

#[test]
fn a_websocket_run_holds_its_target_and_its_record_says_so() {
    let ended = run_lab(&["--protocol", "ws", "--target", "500", "--hold", "600ms", "--json"]);
    expect_websockets(&ended, 500);
    let on_stdout: Record = serde_json::from_value(ended.document()).expect("a record");
    assert_eq!(on_stdout, ended.record());
}

#[test]
fn an_ordinary_user_holds_websockets_over_many_tables() {
    if !namespaces_allowed("an_ordinary_user_holds_websockets_over_many_tables") {
        return;
    }
    let user = Lab::new().by_ordinary_user().with_nofile(256);
    let ended = user.run(&["--protocol", "ws", "--target", "500", "--hold", "600ms"]);
    let record = expect_websockets(&ended, 500);
    assert!(!record.host.expect("a host").root);
    assert!(record.server.expect("its word").tables >= 2, "a table holds 256");
}

#[track_caller]
fn expect_websockets(ended: &Ended, count: u64) -> Record {
    let record = ended.expect_held(count);
    assert_eq!((record.protocol, record.connections.verified), (Protocol::Ws, Some(count)));
    let name = ended.folder().file_name().expect("a name").to_string_lossy().into_owned();
    assert!(name.split('-').any(|part| part == "ws"), "{name}");
    let handshake = record.latency_us.handshake.as_ref().expect("every connection has one");
    assert_eq!((handshake.count, ended.logged("handshake")), (count, count));
    assert!(handshake.p50 > Some(0) && handshake.max >= handshake.p50, "{handshake:?}");
    for tag in ["connect", "first_echo", "echo"] {
        assert_eq!((tag, ended.logged(tag)), (tag, count));
    }
    // Both ends say good-bye: the server counts no end but good ones.
    let server = record.server.as_ref().expect("the server's word");
    assert_eq!(server.opened, Some(count), "{server:?}");
    assert!(server.failed.is_empty(), "{server:?}");
    let memory = &record.memory_per_connection;
    assert!(memory.server_user_bytes.is_some() && memory.client_user_bytes.is_some(), "{memory:?}");
    record
}

#[test]
fn a_plan_repeats_a_websocket_run() {
    let timeout = ["--handshake-timeout", "7s"];
    let first = run_lab(&[&["--protocol", "ws", "--target", "60", "--hold", "100ms"], &timeout[..]].concat());
    first.expect_held(60);
    let plan = first.folder().join("plan.toml").display().to_string();
    let again = run_lab(&[&plan]).expect_held(60);
    let load = again.plan.expect("a plan").load;
    assert_eq!((again.protocol, load.handshake_timeout.to_string()), (Protocol::Ws, "7s".to_owned()));
}

#[test]
fn a_run_asks_a_server_of_rules_for_what_it_wants_and_its_plan_does_so_again() {
    let server = Server::of_rules();
    let port = server.port.to_string();
    let to_server = ["--profile", "stock", "--protocol", "ws", "--server-port", &port, "--close", "rst"];
    let few = ["--target", "50", "--hold", "300ms", "--in-flight", "32"];
    let right = ["--path", "/chat?room=1", "--header", "Origin: https://lab.example", "--subprotocol", "b"];
    let ended = run_lab(&[&to_server[..], &few, &right, &["--ping-every", "100ms"]].concat());
    let held = |ended: &Ended| ended.record().connections.held;
    assert_eq!(held(&ended), 50, "{:?}", ended.record().connections);
    let plan = ended.folder().join("plan.toml").display().to_string();
    let again = run_lab(&[&plan]);
    assert_eq!(held(&again), 50, "{:?}", again.record().connections);
    let load = again.record().plan.expect("a plan").load;
    assert_eq!(
        (load.path.as_deref(), load.subprotocols.len(), load.headers.len()),
        (Some("/chat?room=1"), 1, 1)
    );
    assert_eq!(load.ping_every.map(|every| every.to_string()).as_deref(), Some("100ms"));
    let wrong = run_lab(&[&to_server[..], &few].concat());
    let failed = &wrong.record().connections.failed;
    let failed: Vec<_> = failed.iter().map(|(name, count)| (name.name(), *count)).collect();
    assert_eq!(failed, [("handshake-status-404", 50)]);
}

#[test]
fn without_probes_websockets_are_held_by_their_handshake() {
    let ended = run_lab(&["--protocol", "ws", "--no-probe", "--target", "200", "--hold", "300ms"]);
    ended.expect_exit(0);
    let record = ended.record();
    let c = &record.connections;
    assert_eq!((c.held, c.verified, c.accepted), (200, None, Some(200)), "{c:?}");
    assert_eq!(record.latency_us.handshake.as_ref().map(|handshake| handshake.count), Some(200));
}

#[test]
fn both_ends_as_commands_close_in_the_protocols_order_or_by_rst() {
    let server = Server::start(&["--protocol", "ws"]);
    let record = server.swarm(&["--close", "fin", "--protocol", "ws"], 0);
    assert_eq!((record.connections.held, record.connections.accepted), (300, None));
    let record = server.swarm(&["--close", "fin", "--no-probe", "--url", &server.url()], 0);
    assert_eq!((record.connections.held, record.protocol), (300, Protocol::Ws));
    let report = server.stop();
    assert_eq!((report.accepted, report.closed, report.opened), (600, 600, Some(600)), "{report:?}");
    assert!(report.failed.is_empty(), "{report:?}");

    let server = Server::start(&["--protocol", "ws"]);
    server.swarm(&["--close", "rst", "--protocol", "ws"], 0);
    let report = server.stop();
    assert_eq!(report.failed.get("ECONNRESET"), Some(&300), "{report:?}");
}

#[test]
fn two_ends_that_speak_different_protocols_find_out_at_once() {
    let server = Server::start(&["--protocol", "ws"]);
    let record = server.swarm(&["--protocol", "raw"], 1);
    assert_eq!((record.connections.held, record.connections.verified), (0, Some(0)));
    let report = server.stop();
    let refused: u64 = report.failed.values().sum();
    assert_eq!((report.accepted, refused, report.opened), (300, 300, Some(0)), "{report:?}");
    assert!(report.failed.keys().all(|name| name.starts_with("handshake-")), "{report:?}");

    let server = Server::start(&["--protocol", "raw"]);
    let record = server.swarm(&["--protocol", "ws"], 1);
    let failed: Vec<_> =
        record.connections.failed.iter().map(|(name, count)| (name.name(), *count)).collect();
    assert_eq!(failed, [("handshake-not-http", 300)]);
}

#[test]
fn a_server_that_is_full_of_rules_is_met_with_the_right_words() {
    let server = Server::of_rules();
    let url = format!("{}chat", server.url());
    let origin = "Origin: https://lab.example";
    server.swarm(&["--url", &url, "--header", origin, "--subprotocol", "a", "--subprotocol", "b"], 0);
    for (arguments, status) in [
        (&["--url", &server.url(), "--header", origin][..], "handshake-status-404"),
        (&["--url", &url, "--header", "Origin: https://evil.example"], "handshake-status-403"),
    ] {
        let record = server.swarm(arguments, 1);
        let failed: Vec<_> = record.connections.failed.iter().map(|(name, n)| (name.name(), *n)).collect();
        assert_eq!(failed, [(status, 300)]);
    }
}

/// `c10k-lab server`, killed when the test is done with it.
struct Server {
    child: Child,
    lines: BufReader<std::process::ChildStdout>,
    port: u16,
}

impl Server {
    /// One that takes one path, one origin and one subprotocol.
    #[track_caller]
    fn of_rules() -> Self {
        let rules = ["--path", "/chat", "--origin", "https://lab.example", "--subprotocol", "b"];
        Self::start(&[&["--protocol", "ws"][..], &rules].concat())
    }

    #[track_caller]
    fn start(arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_c10k-lab"));
        command.args(["server", "--no-apply", "--events", "--listen", "127.0.0.1:0"]).args(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("started");
        let mut lines = BufReader::new(child.stdout.take().expect("piped"));
        let mut line = String::new();
        lines.read_line(&mut line).expect("a line");
        let ready: ServerEvent =
            serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let ServerEvent::Ready { listen, .. } = ready else { panic!("{ready:?}") };
        Self { child, lines, port: listen[0].port() }
    }

    fn url(&self) -> String {
        format!("ws://127.0.0.1:{}/", self.port)
    }

    /// `c10k-lab swarm` with 300 connections to its end, which must be with this code.
    #[track_caller]
    fn swarm(&self, arguments: &[&str], code: i32) -> Record {
        let at = format!("127.0.0.1:{}", self.port);
        let mut command = Command::new(env!("CARGO_BIN_EXE_c10k-lab"));
        command.args([
            "swarm",
            "--no-apply",
            "--json",
            "--target",
            "300",
            "--hold",
            "200ms",
            "--server",
            &at,
        ]);
        let close = if arguments.contains(&"--close") { &[][..] } else { &["--close", "rst"] };
        let output = command.args(close).args(arguments).stdin(Stdio::null()).output().expect("run");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{stderr}");
        let record: Record =
            serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {stderr}"));
        assert_eq!(record.broken_identity(), None, "{:?}", record.connections);
        record
    }

    /// Ends it by SIGTERM and gives its last word.
    #[track_caller]
    fn stop(mut self) -> ServerReport {
        kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGTERM).expect("it runs");
        let mut rest = String::new();
        self.lines.read_to_string(&mut rest).expect("text");
        assert_eq!(self.child.wait().expect("ended").code(), Some(0));
        let last = rest.lines().last().expect("a last word");
        let ServerEvent::Done(report) = serde_json::from_str(last).expect("an event") else {
            panic!("{last}")
        };
        let failed: u64 = report.failed.values().sum();
        assert_eq!(report.accepted, report.open + report.closed + report.drained + failed, "{report:?}");
        report
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
