//! Pings in the hold: they find a server that has died without a word, and no other.

mod common;
mod ws_support;

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use c10k_record::PhaseName;
use c10k_wire::conformance::first;
use common::{Swarm, run, run_to_refusal};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use ws_support::{Peer, WsServer};

/// Set for [`a_server_in_a_process_of_its_own`].
const SERVER: &str = "C10K_TEST_WS_SERVER";
/// What stands in front of its address on its stdout.
const LISTENS: &str = "listens on ";

/// Not a test: a server for the test that stops it. It ends when its stdin does.
#[test]
#[ignore = "a process for another test"]
#[allow(clippy::print_stdout, reason = "its address is for the test that started it")]
fn a_server_in_a_process_of_its_own() {
    if std::env::var_os(SERVER).is_none() {
        return;
    }
    let server = WsServer::start(|_, peer| answer_all(peer, |_| {}));
    println!("\n{LISTENS}{}", server.address);
    let _ = std::io::stdin().lines().count();
}

/// Echoes messages and answers Pings and a Close; `on_ping` hears of each Ping.
fn answer_all(peer: &Peer, on_ping: impl Fn(&Peer)) {
    peer.open();
    while let Some(frame) = peer.next() {
        match frame.first {
            first::PING => {
                on_ping(peer);
                peer.send(first::PONG, &frame.payload);
            }
            first::CLOSE => {
                peer.send(first::CLOSE, &frame.payload);
                return;
            }
            first => drop(peer.send(first, &frame.payload)),
        }
    }
}

struct Process {
    child: Child,
    address: SocketAddr,
}

impl Process {
    fn start() -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "a_server_in_a_process_of_its_own", "--ignored", "--nocapture"]);
        command.env(SERVER, "1").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let address = lines.find_map(|line| line.strip_prefix(LISTENS)?.parse().ok());
        Self { child, address: address.expect("an address") }
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_server_that_was_stopped_by_a_signal_is_found_in_the_hold() {
    let server = Process::start();
    let mut swarm = Swarm::commanded(&[
        "--protocol",
        "ws",
        "--server",
        &server.address.to_string(),
        "--target",
        "40",
        "--ping-every",
        "2s",
    ]);
    swarm.command("grow 40");
    swarm.wait_for("all are open", |counts| counts.verified == 40);
    // Some rounds that are answered.
    std::thread::sleep(Duration::from_secs(5));
    assert_eq!(swarm.verify().held, 40);
    server.signal(Signal::SIGSTOP);
    swarm.wait_for("all are found dead", |counts| counts.failed == 40);
    swarm.command("stop");
    let ended = swarm.wait_for_end();
    ended.expect_failed(&[("ping-timeout", 40)]);
    assert_eq!(ended.record.broken_identity(), None, "{:?}", ended.record.connections);
    assert!(
        ended.record.failures.iter().all(|failure| failure.phase == PhaseName::Hold),
        "{:?}",
        ended.record
    );
}

#[test]
fn a_server_that_answers_is_held_and_is_pinged_about_as_often_as_was_asked_for() {
    let pings = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&pings);
    let server = WsServer::start(move |_, peer| {
        answer_all(peer, |_| {
            count.fetch_add(1, SeqCst);
        });
    });
    let ended = run(&["--url", &server.url(), "--target", "40", "--ping-every", "2s", "--hold", "5s"]);
    ended.expect_code(0).expect_counts(40, 40).expect_failed(&[]);
    server.finish();
    let pings = pings.load(SeqCst);
    assert!((40..=40 * 3).contains(&pings), "{pings} Pings to 40 in two rounds and a half");
}

#[test]
fn who_says_anything_is_alive_and_who_says_nothing_is_not() {
    let server = WsServer::start(|number, peer| {
        peer.open();
        if number % 2 == 0 {
            return peer.wait_for_end();
        }
        while peer.next().is_some_and(|frame| frame.first != first::CLOSE) {
            peer.send(first::TEXT, b"no Pong, but a word");
        }
    });
    let arguments = ["--no-probe", "--ping-every", "2s", "--hold", "7s"];
    let ended = run(&[&["--url", &server.url(), "--target", "40"], &arguments[..]].concat());
    ended.expect_code(1).expect_failed(&[("ping-timeout", 20)]);
    assert_eq!(ended.record.connections.held, 20);
    server.finish();
}

#[test]
fn nobody_is_pinged_unasked() {
    let server = WsServer::start(|_, peer| answer_all(peer, |peer| peer.fault("a Ping")));
    for arguments in [&["--hold", "1s"][..], &["--hold", "1s", "--ping-every", "0"]] {
        let ended = run(&[&["--url", &server.url(), "--target", "10"], arguments].concat());
        ended.expect_code(0).expect_failed(&[]);
    }
    server.finish();
    let (code, _, stderr) = run_to_refusal(&["--ping-every", "1s"]);
    assert_eq!(code, Some(2), "{stderr}");
    assert!(stderr.contains("--ping-every"), "{stderr}");
}
