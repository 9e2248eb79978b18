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
}

#[test]
fn sigint_in_the_ramp_keeps_and_proves_what_is_there() {
    let server = Server::echo();
    let swarm = Swarm::start(&["--server", &server.at(), "--target", "10k", "--rate", "100/s"]);
    swarm.wait_for("some connections", |counts| counts.verified >= 10);
    swarm.signal(Signal::SIGINT);
    let ended = swarm.wait_for_end();
    expect_aborted(&ended, 130, "stopped by SIGINT");
    let c = &ended.record.connections;
    assert!(c.held >= 10 && c.held == c.attempted && c.target == 10_000, "{c:?}");
    assert!(!ended.record.succeeded());
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
    ended.expect_counts(20, 20).expect_failed(&[("aborted", c.attempted - 20)]);
}

#[test]
fn connections_that_answer_only_after_the_signal_are_counted_too() {
    let server = Server::echo();
    server.freeze();
    let swarm = Swarm::start(&["--server", &server.at(), "--target", "200", "--workers", "1"]);
    swarm.wait_for("all under way", |counts| counts.in_flight == 200);
    swarm.signal(Signal::SIGINT);
    // Behind the drain of the ramp, in the middle of the last proof.
    swarm.wait_for_phase(PhaseName::Verify);
    server.thaw();
    let ended = swarm.wait_for_end();
    expect_aborted(&ended, 130, "stopped by SIGINT");
    ended.expect_counts(200, 200).expect_failed(&[]);
}

#[test]
fn sigint_in_a_ramp_without_probes_holds_what_is_open() {
    let server = Server::start(Behaviour::Discard);
    let swarm = Swarm::start(&["--server", &server.at(), "--target", "10k", "--rate", "100/s", "--no-probe"]);
    swarm.wait_for("some connections", |counts| counts.established >= 10);
    swarm.signal(Signal::SIGINT);
    let ended = swarm.wait_for_end();
    expect_aborted(&ended, 130, "stopped by SIGINT");
    let c = &ended.record.connections;
    assert!(c.held == c.attempted && c.verified.is_none(), "{c:?}");
}

#[test]
fn sigint_between_two_steps_ends_at_once() {
    let server = Server::echo();
    let swarm = Swarm::start(&["--server", &server.at(), "--steps", "30x3", "--step-pause", "1h"]);
    swarm.wait_for("the first step", |counts| counts.verified == 30 && counts.in_flight == 0);
    swarm.signal(Signal::SIGINT);
    let ended = swarm.wait_for_end();
    expect_aborted(&ended, 130, "stopped by SIGINT");
    ended.expect_counts(30, 30);
    assert_eq!(ended.record.connections.target, 90);
}

#[test]
fn a_signal_in_the_hold_still_proves_all() {
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
        let ended = swarm.wait_for_end();
        expect_aborted(&ended, code, why);
        ended.expect_counts(200, 200).expect_failed(&[]);
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
    ended.expect_counts(50, 50);
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
