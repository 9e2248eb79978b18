//! Servers of other makers: right counts, and the wall named by the swarm alone, which looks at listener and process.

mod foreign_servers;

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use c10k_record::{Ceiling, Outcome, PhaseName, Record, SwarmEvent};
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
    swarm_by(&mut Command::new(env!("CARGO_BIN_EXE_c10k-swarm")), server, target, arguments)
}

/// The same by this command.
#[track_caller]
fn swarm_by(command: &mut Command, server: &Foreign, target: u32, arguments: &[&str]) -> Ended {
    let output = command
        .args(["--server", &server.at(), "--target", &target.to_string(), "--json"])
        .args(if arguments.contains(&"--close") { &[][..] } else { &["--close", "rst"] })
        // Few at a time: what is asked here is counts, and a busy machine must not break a verdict on latency.
        .args(if arguments.contains(&"--in-flight") { &[][..] } else { &["--in-flight", "64"] })
        .args(if arguments.contains(&"--hold") { &[][..] } else { &["--hold", "1s"] })
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

/// Runs a swarm to its end; each of its events goes to `hear` as it comes.
#[track_caller]
fn swarm_heard(
    server: &Foreign,
    target: u32,
    arguments: &[&str],
    mut hear: impl FnMut(&SwarmEvent),
) -> Ended {
    let mut child = Command::new(env!("CARGO_BIN_EXE_c10k-swarm"))
        .args(["--server", &server.at(), "--target", &target.to_string(), "--events", "--close", "rst"])
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the swarm runs");
    let mut last = None;
    for line in BufReader::new(child.stdout.take().expect("piped")).lines() {
        let line = line.expect("text");
        let event = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        hear(&event);
        last = Some(event);
    }
    let output = child.wait_with_output().expect("it ends");
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    let Some(SwarmEvent::Done { record }) = last else { panic!("no last word: {stderr}") };
    assert_eq!(record.broken_identity(), None, "{stderr}");
    Ended { code: output.status.code(), record: *record, stderr }
}

impl Ended {
    #[track_caller]
    fn expect_held(&self, count: u64) {
        let c = &self.record.connections;
        assert_eq!((c.held, self.code), (count, Some(0)), "{c:?}\n{}", self.stderr);
        assert!(c.failed.is_empty() && self.record.ceiling.is_none(), "{c:?}");
        assert_eq!((c.accepted, c.ghosts), (None, Some(0)), "the first would be the server's report");
        assert_eq!(c.at_server, Some(count), "the kernel has them at its end");
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
fn what_a_server_hears_of_only_when_it_speaks_is_not_held_by_saying_nothing() {
    let Some(server) = Foreign::deferred() else { return };
    let ended = swarm(&server, 200, &["--no-probe"]);
    let c = &ended.record.connections;
    assert_eq!(
        (c.established, c.held, c.at_server, c.ghosts),
        (200, 0, Some(0), Some(200)),
        "{}",
        ended.stderr
    );
    assert_eq!((c.failed.get(&Outcome::not_at_server()), ended.code), (Some(&200), Some(1)), "{c:?}");
    let ceiling = ended.record.ceiling.as_ref().expect("short of the target");
    let look = &ceiling.remedy.as_ref().expect("where to look").summary;
    assert!(ceiling.wall == "unknown" && look.contains("TCP_DEFER_ACCEPT"), "{}: {look}", ceiling.wall);
    // A server that speaks is there at once.
    swarm(&server, 200, &[]).expect_held(200);
}

#[test]
fn what_waits_in_the_accept_queue_is_told_from_what_is_held() {
    let Some(server) = Foreign::python_that_takes_no_more_than(40) else { return };
    let ended = swarm(&server, 100, &["--no-probe"]);
    let c = &ended.record.connections;
    assert_eq!(
        (c.established, c.held, c.at_server, c.ghosts),
        (100, 40, Some(40), Some(60)),
        "{}",
        ended.stderr
    );
    assert_eq!(c.failed.get(&Outcome::not_accepted()), Some(&60), "{c:?}");
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
}

#[test]
fn a_server_that_takes_its_time_is_waited_for_at_the_end() {
    let Some(server) = Foreign::slow(30) else { return };
    let ended = swarm(&server, 60, &["--no-probe", "--hold", "0s"]);
    ended.expect_held(60);
}

#[test]
fn a_server_with_300_descriptors_is_named_by_its_limit() {
    // asyncio tries as often as its backlog is long before it waits a second, and writes of each; a short one leaves it
    // time to echo on a busy machine.
    let Some(server) = Foreign::python_echo_with(300, 100) else { return };
    let ended = swarm(&server, 500, &["--connect-timeout", "4s", "--probe-timeout", "8s"]);
    let ceiling = ended.expect_wall("nofile-server");
    let c = &ended.record.connections;
    assert!((250..300).contains(&c.held) && c.verified == Some(c.held), "{c:?}");
    let full = ceiling.evidence.iter().find(|evidence| evidence.source == "descriptors").expect("seen");
    assert_eq!(full.after, Some(300));
    assert!(full.text.contains(&format!("process {}", server.pid)), "{}", full.text);
    let predicted = ceiling.predicted.as_ref().expect("its process may be seen");
    assert_eq!((predicted.wall.as_str(), predicted.uncertainty_percent), ("nofile-server", 0));
    assert_eq!((ceiling.off_by, predicted.connections), (Some(0), c.held), "{}", ended.stderr);
}

#[test]
fn what_lifts_a_soft_limit_of_a_running_server_works_as_it_was_printed() {
    let Some(server) = Foreign::python_echo(1024) else { return };
    if room() < 500 {
        return;
    }
    let limited = Command::new("prlimit")
        .args(["--pid", &server.pid.to_string(), "--nofile=300:"])
        .stdin(Stdio::null())
        .status();
    if !limited.is_ok_and(|status| status.success()) {
        return say_skipped("prlimit does not run here");
    }
    let ended = swarm(&server, 400, &["--connect-timeout", "4s", "--probe-timeout", "3s"]);
    let remedy = ended.expect_wall("nofile-server").remedy.as_ref().expect("it can be lifted");
    assert!(remedy.commands.iter().all(|line| line.starts_with("prlimit --pid")), "{remedy:?}");
    for line in &remedy.commands {
        assert!(Command::new("sh").args(["-c", line]).status().expect("a shell").success(), "{line}");
    }
    swarm(&server, 400, &[]).expect_held(400);
}

#[test]
fn a_server_that_never_accepts_has_stopped_accepting() {
    let Some(server) = Foreign::deaf(5) else { return };
    // By FIN those that are lost stay in the server's queue; a reset would take them out of it.
    let times = ["--connect-timeout", "4s", "--probe-timeout", "4s"];
    let ended = swarm(&server, 50, &[&times[..], &["--close", "fin"]].concat());
    let ceiling = ended.expect_wall("server-stopped-accepting");
    let c = &ended.record.connections;
    assert!(c.established > 0, "{c:?}");
    assert_eq!((c.verified, c.held), (Some(0), 0));
    let sources: Vec<&str> = ceiling.evidence.iter().map(|evidence| evidence.source.as_str()).collect();
    assert!(sources.contains(&"not-accepted") && sources.contains(&"accept_queue"), "{:?}", ceiling.evidence);
    let remedy = ceiling.remedy.as_ref().expect("where to look");
    assert!(remedy.commands.iter().any(|line| line.contains(&server.pid.to_string())), "{remedy:?}");
}

#[test]
fn a_server_that_is_stopped_in_the_hold_is_named_and_its_queue_is_not() {
    let Some(server) = Foreign::python_echo(1024) else { return };
    let pid = nix::unistd::Pid::from_raw(server.pid.cast_signed());
    let stopper = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_secs(3));
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGSTOP).expect("our process");
    });
    let ended = swarm(&server, 20, &["--hold", "8s", "--probe-timeout", "3s"]);
    stopper.join().expect("no panic");
    let ceiling = ended.expect_wall("server-stopped-accepting");
    assert_eq!(ended.record.connections.verified, Some(20), "it served them all before");
    let lost = ceiling.evidence.iter().find(|evidence| evidence.source == "probe-timeout");
    assert!(lost.is_some_and(|lost| lost.after == Some(20)), "{:?}", ceiling.evidence);
    assert!(!ceiling.evidence.iter().any(|e| e.source == "ListenOverflows"), "{:?}", ceiling.evidence);
}

#[test]
fn a_server_that_closes_what_comes_on_top_stands_at_a_limit_of_its_own() {
    let Some(server) = Foreign::python_echo_that_takes(100) else { return };
    // By one worker, which alone begins them in the order of their numbers: two claim these in blocks.
    let ended = swarm(&server, 600, &["--workers", "1", "--in-flight", "1"]);
    let ceiling = ended.expect_wall("server-limit");
    assert_eq!(ended.record.connections.held, 100, "{}", ended.stderr);
    let order = ended.record.evidence.order.expect("some were lost");
    let begun = order.begun.expect("the swarm knows it");
    assert_eq!(
        (order.lost, begun.proven, begun.before_lost),
        (ended.record.connections.failed_total(), 100, 100)
    );
    assert!(ceiling.evidence.iter().any(|e| e.source == "order"), "{:?}", ceiling.evidence);
}

#[test]
fn a_server_that_closed_its_listener_and_lives_has_not_died() {
    let Some(server) = Foreign::python_that_closes_its_listener_after(100) else { return };
    let ended = swarm(&server, 300, &[]);
    let ceiling = ended.record.ceiling.as_ref().expect("short of the target");
    assert_eq!((ceiling.wall.as_str(), ended.record.connections.held), ("unknown", 50), "{}", ended.stderr);
    let said = ceiling.evidence.iter().find(|evidence| evidence.source == "process").expect("it is seen");
    assert_eq!(said.text, format!("its listener is gone, process {} lives", server.pid));
}

#[test]
fn a_server_whose_end_is_seen_behind_that_of_its_connections_has_died() {
    for (milliseconds, helped) in [(150, false), (400, false), (150, true)] {
        let Some(server) = Foreign::python_that_lingers(60, milliseconds, helped) else { return };
        swarm(&server, 60, &["--hold", "30s"]).expect_wall("server-died");
    }
}

#[test]
fn a_server_that_dies_of_its_limit_has_died_every_time() {
    for _ in 0..5 {
        let Some(server) = Foreign::python_that_dies_of_its_limit(200) else { return };
        swarm(&server, 500, &[]).expect_wall("server-died");
    }
}

#[test]
fn a_limit_that_is_lowered_in_the_ramp_is_named_with_what_stood_then() {
    let Some(server) = Foreign::python_echo(1024) else { return };
    let pid = server.pid.to_string();
    let limit = |most: u32| {
        let argument = format!("--nofile={most}:");
        let mut prlimit = Command::new("prlimit");
        prlimit.args(["--pid", &pid, &argument]).stdin(Stdio::null()).status().is_ok_and(|s| s.success())
    };
    if !limit(room()) {
        return say_skipped("prlimit does not run here");
    }
    // Of 200 connections it takes 80; then it may have no more than 60, and from the hold on as many as ever.
    let (mut is_lowered, mut is_raised) = (false, false);
    let flags = ["--rate", "100/s", "--hold", "3s", "--connect-timeout", "3s", "--probe-timeout", "3s"];
    let ended = swarm_heard(&server, 200, &flags, |event| match event {
        SwarmEvent::Tick { counts, .. } if counts.verified >= 80 && !is_lowered => is_lowered = limit(60),
        SwarmEvent::Phase { phase: PhaseName::Hold, .. } => is_raised = is_lowered && limit(room()),
        _ => {}
    });
    assert!(is_lowered && is_raised, "prlimit failed");
    let ceiling = ended.expect_wall("nofile-server");
    let limit = ceiling.evidence.iter().find(|evidence| evidence.source == "RLIMIT_NOFILE").expect("told");
    assert_eq!(limit.after, Some(60), "{:?}", ceiling.evidence);
    assert!((60..200).contains(&ended.record.connections.held), "{:?}", ended.record.connections);
}

#[test]
fn what_may_not_be_read_of_another_user_s_server_is_said() {
    if !nix::unistd::geteuid().is_root() {
        return say_skipped("it takes root to be two users");
    }
    let Some(server) = Foreign::python_echo_with(300, 64) else { return };
    let folder = tempfile::Builder::new().permissions(open_to_all()).tempdir().expect("a folder");
    let program = folder.path().join("c10k-swarm");
    std::fs::copy(env!("CARGO_BIN_EXE_c10k-swarm"), &program).expect("copied");
    let mut command = Command::new(&program);
    std::os::unix::process::CommandExt::gid(
        std::os::unix::process::CommandExt::uid(&mut command, 65_534),
        65_534,
    );
    let limits = ["--connect-timeout", "4s", "--probe-timeout", "4s"];
    let ended = swarm_by(&mut command, &server, 500, &limits);
    let ceiling = ended.expect_wall("server-limit");
    let said = ceiling.evidence.iter().find(|evidence| evidence.source == "not readable").expect("said");
    assert!(said.text.contains("nofile-server"), "{}", said.text);
    assert!(ended.record.warnings.iter().any(|warning| warning.id == "server-hidden"), "{}", ended.stderr);
    let foreseen = ceiling.predicted.as_ref().map(|predicted| predicted.wall.as_str());
    assert_ne!(foreseen, Some("nofile-server"), "it could not be read");
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

fn open_to_all() -> std::fs::Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(0o755)
}

#[allow(clippy::print_stderr, reason = "what was skipped is said aloud")]
fn say_skipped(why: &str) {
    eprintln!("SKIPPED: {why}");
}

/// Connections that a server of this user may take: its hard limit, some kept for itself.
fn room() -> u32 {
    let (_, hard) =
        nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE).expect("a limit");
    u32::try_from(hard.saturating_sub(50)).unwrap_or(u32::MAX)
}
