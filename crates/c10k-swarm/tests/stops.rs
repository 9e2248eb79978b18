//! Signals in every phase: an end in order, with all that was seen.

#![allow(clippy::print_stderr, reason = "a skipped test says so")]

mod common;

use std::process::{Command, Stdio};
use std::time::Duration;

use c10k_record::{PhaseName, RunState};
use common::server::{Behaviour, Server};
use common::{Ended, PROGRAM, Swarm};
use nix::sys::signal::Signal;

/// An orderly end may take so long: five seconds of drain and what a busy machine adds.
const ORDERLY: Duration = Duration::from_secs(15);

#[track_caller]
fn expect_aborted(ended: &Ended, code: i32, why: &str) {
    ended.expect_code(code);
    assert_eq!(ended.record.state, RunState::Aborted);
    assert_eq!(ended.record.ended_because.as_deref(), Some(why));
    assert!(ended.took < ORDERLY, "{:?}", ended.took);
    assert!(ended.record.phases.iter().all(|times| times.to_ms.is_some()), "{:?}", ended.record.phases);
    // Nothing is judged, and nothing that was open is called held, or lost under another name.
    let c = &ended.record.connections;
    assert_eq!((c.held, c.failed_total()), (0, c.attempted), "{c:?}");
    assert!(c.open.is_some_and(|open| open <= c.stopped_total()), "{c:?}");
    let judged = ended.record.verdicts.iter().filter(|v| v.passed.is_some() || v.value.is_some()).count();
    assert_eq!((judged, ended.record.ceiling.is_some()), (0, false), "{:?}", ended.record.verdicts);
}

#[test]
fn sigint_in_the_ramp_tells_what_was_open_and_proves_nothing_more() {
    let server = Server::echo();
    let swarm = Swarm::start(&["--server", &server.at(), "--target", "10k", "--rate", "100/s"]);
    swarm.wait_for("some connections", |counts| counts.verified >= 10);
    swarm.signal(Signal::SIGINT);
    let ended = swarm.wait_for_end();
    expect_aborted(&ended, 130, "stopped by SIGINT");
    let c = &ended.record.connections;
    assert!(c.open >= Some(10) && c.stopped_total() == c.attempted && c.target == 10_000, "{c:?}");
    assert!(!ended.record.succeeded());
    let phases: Vec<PhaseName> = ended.record.phases.iter().map(|times| times.phase).collect();
    assert_eq!(phases, [PhaseName::Ramp, PhaseName::Close]);
    assert!(ended.record.failures.iter().all(|failure| failure.phase == PhaseName::Ramp));
}

#[test]
fn sigint_in_a_ramp_that_waits_for_echoes_ends_in_time() {
    let server = Server::echo().accepting_only(20);
    let swarm = Swarm::start(&["--server", &server.at(), "--target", "10k"]);
    swarm.wait_for("a ramp that is stuck", |counts| counts.verified == 20 && counts.in_flight > 100);
    swarm.signal(Signal::SIGINT);
    let ended = swarm.wait_for_end();
    expect_aborted(&ended, 130, "stopped by SIGINT");
    let c = &ended.record.connections;
    ended.expect_counts(20, 0).expect_failed(&[("aborted", c.attempted)]);
}

#[test]
fn sigint_in_a_ramp_without_probes_tells_what_was_open() {
    let server = Server::start(Behaviour::Discard);
    let swarm = Swarm::start(&["--server", &server.at(), "--target", "10k", "--rate", "100/s", "--no-probe"]);
    swarm.wait_for("some connections", |counts| counts.established >= 10);
    swarm.signal(Signal::SIGINT);
    let ended = swarm.wait_for_end();
    expect_aborted(&ended, 130, "stopped by SIGINT");
    let c = &ended.record.connections;
    assert!(c.open >= Some(10) && c.verified.is_none(), "{c:?}");
}

#[test]
fn sigint_between_two_steps_ends_at_once() {
    let server = Server::echo();
    let swarm = Swarm::start(&["--server", &server.at(), "--steps", "30x3", "--step-pause", "1h"]);
    swarm.wait_for("the first step", |counts| counts.verified == 30 && counts.in_flight == 0);
    swarm.signal(Signal::SIGINT);
    let ended = swarm.wait_for_end();
    expect_aborted(&ended, 130, "stopped by SIGINT");
    ended.expect_counts(30, 0);
    assert_eq!((ended.record.connections.target, ended.record.connections.open), (90, Some(30)));
}

#[test]
fn a_signal_in_the_hold_ends_it_without_another_proof_and_tells_all_that_are_open() {
    for (signal, code, why) in [
        (Signal::SIGINT, 130, "stopped by SIGINT"),
        (Signal::SIGTERM, 143, "stopped by SIGTERM"),
        (Signal::SIGHUP, 143, "stopped by SIGHUP"),
        (Signal::SIGQUIT, 143, "stopped by SIGQUIT"),
    ] {
        let server = Server::echo();
        let swarm = Swarm::start(&["--server", &server.at(), "--target", "200", "--hold", "1h"]);
        swarm.wait_for_phase(PhaseName::Hold);
        swarm.signal(signal);
        let closing = swarm.wait_for("the close", |counts| counts.open == 200 || counts.closed > 0);
        assert_eq!(closing.open, 200, "it tells how many are open before it closes any");
        let ended = swarm.wait_for_end();
        expect_aborted(&ended, code, why);
        ended.expect_counts(200, 0).expect_failed(&[("aborted", 200)]);
        let record = &ended.record;
        assert_eq!(record.connections.open, Some(200));
        assert!(record.failures.iter().all(|failure| failure.phase == PhaseName::Hold));
        assert!(record.phases.iter().all(|times| times.phase != PhaseName::Verify), "{:?}", record.phases);
    }
}

#[test]
fn sigint_in_a_verification_that_nobody_answers_ends_in_time() {
    let server = Server::echo();
    let swarm = Swarm::start(&["--server", &server.at(), "--target", "100", "--hold", "500ms"]);
    swarm.wait_for_phase(PhaseName::Hold);
    server.freeze();
    swarm.wait_for_phase(PhaseName::Verify);
    swarm.signal(Signal::SIGINT);
    let ended = swarm.wait_for_end();
    expect_aborted(&ended, 130, "stopped by SIGINT");
    ended.expect_counts(100, 0).expect_failed(&[("aborted", 100)]);
}

#[test]
fn a_signal_behind_the_last_proof_takes_nothing_from_it() {
    let server = Server::echo();
    let mut swarm = Swarm::commanded(&["--server", &server.at(), "--target", "80"]);
    swarm.command("grow 80");
    swarm.wait_for("all of them", |counts| counts.verified == 80 && counts.in_flight == 0);
    assert_eq!(swarm.verify().held, 80);
    swarm.signal(Signal::SIGINT);
    let ended = swarm.wait_for_end();
    assert_eq!((ended.record.state, ended.record.connections.open), (RunState::Complete, None));
    ended.expect_code(0).expect_counts(80, 80).expect_failed(&[]);
}

#[test]
fn a_person_reads_at_once_how_many_were_open_and_no_word_of_losses() {
    let server = Server::echo();
    let mut swarm = Command::new(PROGRAM)
        .args(["--no-apply", "--server", &server.at(), "--target", "150", "--hold", "1h"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let give_up = std::time::Instant::now() + common::PATIENCE;
    while server.open() < 150 {
        assert!(std::time::Instant::now() < give_up, "{} are open", server.open());
        std::thread::sleep(Duration::from_millis(5));
    }
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(swarm.id().cast_signed()), Signal::SIGINT).unwrap();
    let mut said = String::new();
    std::io::Read::read_to_string(&mut swarm.stderr.take().unwrap(), &mut said).unwrap();
    // How it ended stands on stdout.
    std::io::Read::read_to_string(&mut swarm.stdout.take().unwrap(), &mut said).unwrap();
    assert_eq!(swarm.wait().unwrap().code(), Some(130));
    let told = |beginning: &str, end: &str| {
        let line = said.lines().find(|line| line.starts_with(beginning)).expect(&said);
        line[beginning.len()..].split(end).next().expect("a first part").parse::<u64>().expect(line)
    };
    let at_once = told("stopped by Ctrl-C with ", " open; closing them");
    assert_eq!(told("ABORTED by Ctrl-C with ", " open"), at_once, "{said}");
    assert!(at_once > 0 && at_once <= 150 && !said.contains("lost"), "{said}");
    let is_of_held = |line: &&str| line.contains("held = target");
    let verdict = said.lines().find(is_of_held).expect(&said);
    assert!(verdict.ends_with("not evaluated") && !said.contains('✗'), "{said}");
}

#[test]
fn a_command_to_abort_closes_all_at_once_and_says_by_whom() {
    let server = Server::echo();
    let mut swarm = Swarm::commanded(&["--server", &server.at(), "--target", "60"]);
    swarm.command("grow 60");
    swarm.wait_for("all of them", |counts| counts.verified == 60 && counts.in_flight == 0);
    swarm.command("abort");
    let ended = swarm.wait_for_end();
    expect_aborted(&ended, 130, "stopped by a command");
    assert_eq!(ended.record.connections.open, Some(60));
}

#[test]
fn a_second_signal_ends_at_once() {
    for (first, second, code) in
        [(Signal::SIGINT, Signal::SIGINT, 130), (Signal::SIGHUP, Signal::SIGTERM, 143)]
    {
        let server = Server::start(Behaviour::Silent);
        let swarm = Swarm::start(&["--server", &server.at(), "--target", "100"]);
        swarm.wait_for("a ramp that is stuck", |counts| counts.in_flight == 100);
        swarm.signal(first);
        // Signals of one kind that come at the same time are one.
        std::thread::sleep(Duration::from_millis(300));
        swarm.signal(second);
        assert_eq!(swarm.wait_for_death().code(), Some(code));
    }
}

#[test]
fn a_signal_that_was_ignored_when_it_started_stays_ignored() {
    let server = Server::echo();
    let mut background = Command::new("sh");
    background.args(["-c", "trap '' HUP QUIT; exec \"$0\" \"$@\"", PROGRAM]);
    let load = ["--server", &server.at(), "--target", "50", "--hold", "1h"];
    let swarm = Swarm::start_by(background, &load);
    swarm.wait_for_phase(PhaseName::Hold);
    swarm.signal(Signal::SIGHUP);
    swarm.signal(Signal::SIGQUIT);
    swarm.signal(Signal::SIGTERM);
    expect_aborted(&swarm.wait_for_end(), 143, "stopped by SIGTERM");
}

#[test]
fn a_swarm_that_waits_for_commands_ends_on_a_signal() {
    let server = Server::echo();
    let mut swarm = Swarm::commanded(&["--server", &server.at(), "--target", "50"]);
    swarm.command("grow 50");
    swarm.wait_for("all of them", |counts| counts.verified == 50);
    swarm.signal(Signal::SIGTERM);
    let ended = swarm.wait_for_end();
    expect_aborted(&ended, 143, "stopped by SIGTERM");
    ended.expect_counts(50, 0);
}

#[test]
fn a_setting_that_cannot_be_put_back_is_told_with_the_command_and_by_the_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    let profile = folder.path().join("mine.toml");
    std::fs::write(&profile, "name = 'mine'\nsummary = 'x'\n[sysctl]\n'net.core.somaxconn' = 31\n").unwrap();
    // Namespaces of its own, which die with the script: of the network, and of mounts, so that the settings can
    // be made read-only under the swarm and its journal lies where nobody finds it. A shell starts what it does not wait
    // for with SIGQUIT ignored.
    let script = "mount -t tmpfs none /run || exit 77; mount --bind /proc/sys /proc/sys || exit 77
        ip link set lo up || exit 77; key=/proc/sys/net/core/somaxconn; ends_by=$1; profile=$2
        mkfifo /run/hears; env --default-signal=QUIT \"$0\" --profile \"$profile\" --server 127.0.0.1:9 --target 5 --events --commanded \\
            </run/hears >/run/said & swarm=$!; exec 9>/run/hears
        tries=0; while ! grep -q ready /run/said && [ $tries -lt 300 ]; do sleep 0.1; tries=$((tries + 1)); done
        echo during $(cat $key); mount -o remount,bind,ro /proc/sys || exit 77
        case $ends_by in stop) echo stop >&9;; *) kill -$ends_by $swarm;; esac
        wait $swarm; echo code $?; grep -c rollback /run/said";
    let root = nix::unistd::geteuid().is_root();
    for ends_by in ["stop", "TERM", "HUP", "QUIT"] {
        let output = Command::new("unshare")
            .args([if root { "-nm" } else { "-Urnm" }, "sh", "-c", script, PROGRAM, ends_by])
            .arg(&profile)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let (said, heard) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        if said.is_empty() {
            eprintln!("SKIPPED: no namespaces of network and mounts may be made here: {heard}");
            return;
        }
        assert_eq!(said, "during 31\ncode 4\n1\n", "{ends_by}: {heard}");
        assert!(heard.contains("error: ") && heard.contains("could not be put back to 4096"), "{heard}");
        assert!(heard.contains("hint: ") && heard.contains("net.core.somaxconn=4096"), "{heard}");
    }
}
