//! Servers of other makers: right counts, and the wall named by the swarm alone, which looks at listener and process.

mod foreign_servers;

use std::process::{Command, Stdio};

use c10k_record::{Ceiling, Record};
use foreign_servers::Foreign;

/// What a swarm came to.
struct Ended {
    code: Option<i32>,
    record: Record,
    stderr: String,
}

/// Runs a swarm against `server` to its end; connections are closed by RST and leave nothing behind.
#[track_caller]
fn swarm(server: &Foreign, target: u32, arguments: &[&str]) -> Ended {
    let output = Command::new(env!("CARGO_BIN_EXE_c10k-swarm"))
        .args(["--server", &server.at(), "--target", &target.to_string(), "--json", "--close", "rst"])
        // Few at a time: what is asked here is counts, and a busy machine must not break a verdict on latency.
        .args(["--hold", "1s", "--in-flight", "64"])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("the swarm runs");
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    let record: Record =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {stderr}"));
    assert_eq!(record.broken_identity(), None, "{stderr}");
    Ended { code: output.status.code(), record, stderr }
}

impl Ended {
    #[track_caller]
    fn expect_held(&self, count: u64) {
        let c = &self.record.connections;
        assert_eq!((c.held, self.code), (count, Some(0)), "{c:?}\n{}", self.stderr);
        assert!(c.failed.is_empty() && self.record.ceiling.is_none(), "{c:?}");
        assert_eq!((c.accepted, c.ghosts), (None, None), "that would be the server's own word");
    }

    /// The ceiling, which must name this wall and no other.
    #[track_caller]
    fn expect_wall(&self, name: &str) -> &Ceiling {
        assert_eq!(self.code, Some(1), "{}", self.stderr);
        let ceiling = self.record.ceiling.as_ref().expect("short of the target");
        let names: Vec<&str> = ceiling.walls.iter().map(|wall| wall.name.as_str()).collect();
        assert_eq!((ceiling.wall.as_str(), names.as_slice()), (name, [name].as_slice()), "{}", self.stderr);
        ceiling
    }
}

#[test]
fn an_asyncio_echo_server_holds_a_thousand() {
    let Some(server) = Foreign::python_echo(1024) else { return };
    let ended = swarm(&server, 1000.min(room()), &[]);
    ended.expect_held(u64::from(1000.min(room())));
}

#[test]
fn a_server_that_forks_for_every_connection_holds_them() {
    let Some(server) = Foreign::socat(256) else { return };
    swarm(&server, 60, &[]).expect_held(60);
}

#[test]
fn a_server_that_does_not_echo_holds_them_without_probes() {
    let Some(server) = Foreign::nginx() else { return };
    let ended = swarm(&server, 500.min(room()), &["--no-probe"]);
    ended.expect_held(u64::from(500.min(room())));
    assert_eq!(ended.record.connections.verified, None);
}

#[test]
fn a_server_with_300_descriptors_is_named_by_its_limit() {
    let Some(server) = Foreign::python_echo_with(300, 1024) else { return };
    let ended = swarm(&server, 500, &["--probe-timeout", "3s"]);
    let ceiling = ended.expect_wall("nofile-server");
    let c = &ended.record.connections;
    assert!((250..300).contains(&c.held) && c.verified == Some(c.held), "{c:?}");
    let full = ceiling.evidence.iter().find(|evidence| evidence.source == "descriptors").expect("seen");
    assert_eq!(full.after, Some(300));
    assert!(full.text.contains(&format!("process {}", server.pid)), "{}", full.text);
}

#[test]
fn a_server_that_never_accepts_has_stopped_accepting() {
    let Some(server) = Foreign::deaf(5) else { return };
    let ended = swarm(&server, 50, &["--connect-timeout", "4s", "--probe-timeout", "4s"]);
    let ceiling = ended.expect_wall("server-stopped-accepting");
    let c = &ended.record.connections;
    assert!(c.established > 0, "{c:?}");
    assert_eq!((c.verified, c.held), (Some(0), 0));
    let sources: Vec<&str> = ceiling.evidence.iter().map(|evidence| evidence.source.as_str()).collect();
    assert!(sources.contains(&"not-accepted") && sources.contains(&"accept_queue"), "{:?}", ceiling.evidence);
}

#[test]
fn a_server_that_was_stopped_by_a_signal_is_named_by_its_state() {
    let Some(server) = Foreign::python_echo(1024) else { return };
    server.stop();
    let ended = swarm(&server, 20, &["--connect-timeout", "4s", "--probe-timeout", "4s"]);
    let ceiling = ended.expect_wall("server-stopped-accepting");
    assert!(
        ceiling.evidence.iter().any(|evidence| evidence.text.contains("state T")),
        "{:?}",
        ceiling.evidence
    );
    assert_eq!((ended.record.connections.established, ended.record.connections.held), (20, 0));
}

#[test]
#[ignore = "5,000 connections; run by name"]
fn stress_five_thousand_are_held_on_a_good_server() {
    let Some(server) = Foreign::python_echo(4096) else { return };
    swarm(&server, 5000, &[]).expect_held(5000);
}

/// Connections that a server of this user may take: its hard limit, some kept for itself.
fn room() -> u32 {
    let (_, hard) =
        nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE).expect("a limit");
    u32::try_from(hard.saturating_sub(50)).unwrap_or(u32::MAX)
}
