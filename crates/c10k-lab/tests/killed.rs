//! Interrupted and killed in every phase: those that are left end within seconds, and the record says what
//! happened.

#![allow(clippy::print_stderr, reason = "a skipped test says so")]

mod common;

use std::time::{Duration, Instant};

use c10k_record::{Record, RunState};
use common::{Ended, Lab, Running, lab, send};
use nix::sys::signal::Signal::{self, SIGCONT, SIGHUP, SIGINT, SIGKILL, SIGQUIT, SIGSTOP, SIGTERM};

/// An orderly end takes half of this at most; the rest is for a busy machine.
const ORDERLY: Duration = Duration::from_secs(20);

/// A run whose ramp takes long.
fn slow_ramp() -> Running {
    let mut running = Lab::new().start(&["--target", "2000", "--rate", "100/s", "--hold", "10s", "--json"]);
    running.wait_for("ramp", |row| row.verified > Some(20));
    running
}

/// A run that stands in its hold.
fn long_hold() -> Running {
    let mut running = Lab::new().start(&["--target", "300", "--hold", "60s", "--json"]);
    running.wait_for_hold(300);
    running
}

/// A run whose last proof is not answered, since its server stands still.
fn stuck_verify() -> (Running, u32) {
    let mut running = Lab::new().start(&["--target", "300", "--hold", "1500ms", "--json"]);
    running.wait_for_hold(300);
    let server = running.server().pid;
    send(server, SIGSTOP);
    running.wait_for("verify", |_| true);
    (running, server)
}

/// Asserts the end after one signal: its exit code, and a record of a run that was stopped.
#[track_caller]
fn expect_aborted(ended: &Ended, signal: Signal, begun: Instant) -> Record {
    ended.expect_exit(if signal == SIGINT { 130 } else { 143 });
    assert!(begun.elapsed() < ORDERLY, "it took {:?}", begun.elapsed());
    let record = ended.record();
    assert_eq!(record.state, RunState::Aborted);
    let why = record.ended_because.as_deref().expect("why it ended");
    assert!(why.contains(signal.as_str()), "{why}");
    assert_eq!(record.connections.released, 0);
    // It says what was open, and judges nothing.
    let c = &record.connections;
    assert_eq!((c.held, c.failed_total(), c.stopped_total()), (0, c.attempted, c.attempted), "{c:?}");
    let open = c.open.expect("how many were open");
    assert!(record.verdicts.iter().all(|verdict| verdict.passed.is_none()), "{:?}", record.verdicts);
    assert_eq!(record.ceiling, None);
    let on_stdout: Record = serde_json::from_value(ended.document()).expect("a record");
    assert_eq!(on_stdout, record);
    let who = if signal == SIGINT { "Ctrl-C" } else { signal.as_str() };
    let at_once = ended.stderr.find(&format!("stopped by {who} with {open} open; closing them"));
    let headline = ended.stderr.find(&format!("ABORTED by {who} with {open} open\n"));
    assert!(at_once.is_some() && at_once < headline, "{}", ended.stderr);
    assert!(!ended.stderr.contains('✗') && ended.stderr.contains("not evaluated"), "{}", ended.stderr);
    record
}

#[track_caller]
fn signal_in_ramp(signal: Signal) {
    let running = slow_ramp();
    let begun = Instant::now();
    running.signal(signal);
    let record = expect_aborted(&running.wait(), signal, begun);
    let c = &record.connections;
    assert!(c.attempted >= 20 && c.attempted < 2000, "{c:?}");
    assert!(c.open >= Some(20), "{c:?}");
}

#[track_caller]
fn signal_in_hold(signal: Signal) {
    let running = long_hold();
    let begun = Instant::now();
    running.signal(signal);
    let record = expect_aborted(&running.wait(), signal, begun);
    assert_eq!((record.connections.attempted, record.connections.open), (300, Some(300)));
    assert_eq!(record.connections.accepted, Some(300));
    assert_eq!(record.connections.failed.len(), 1);
}

#[test]
fn sigint_in_the_ramp_ends_in_good_order() {
    signal_in_ramp(SIGINT);
}

#[test]
fn sigterm_in_the_ramp_ends_in_good_order() {
    signal_in_ramp(SIGTERM);
}

#[test]
fn sigint_in_the_hold_ends_in_good_order() {
    signal_in_hold(SIGINT);
}

#[test]
fn sigterm_in_the_hold_ends_in_good_order() {
    signal_in_hold(SIGTERM);
}

#[test]
fn a_terminal_that_is_closed_ends_it_in_good_order_unless_it_was_started_to_ignore_that() {
    for signal in [SIGHUP, SIGQUIT] {
        signal_in_hold(signal);
    }
    let ignoring = Lab::new().after("trap '' HUP QUIT");
    let mut running = ignoring.start(&["--target", "100", "--hold", "60s", "--json"]);
    running.wait_for_hold(100);
    running.signal(SIGHUP);
    running.signal(SIGQUIT);
    let later = running.wait_for("hold", |_| true).elapsed_ms + 500;
    running.wait_for("hold", |row| row.elapsed_ms > later);
    let begun = Instant::now();
    running.signal(SIGTERM);
    expect_aborted(&running.wait(), SIGTERM, begun);
}

#[test]
fn sigint_in_the_start_leaves_a_record_or_nothing() {
    for delay in (0..320).step_by(20) {
        let running = Lab::new().start(&["--target", "100", "--hold", "30s", "--json"]);
        std::thread::sleep(Duration::from_millis(delay));
        running.signal(SIGINT);
        let ended = running.wait();
        if ended.folders().is_empty() {
            // Before it had done anything, the kernel's own way to end it.
            assert!(ended.status.code().is_none_or(|code| code == 130), "{delay} ms: {:?}", ended.status);
            ended.expect_nothing_left();
            continue;
        }
        ended.expect_exit(130);
        let record = ended.record();
        assert_eq!(record.state, RunState::Aborted, "{delay} ms");
        assert_eq!(record.connections.stopped_total(), record.connections.attempted, "{delay} ms");
    }
}

/// Keeps a process whose first argument is `C10K_NEVER_READY` from ever beginning.
const NEVER_READY: &str = r#"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

__attribute__((constructor)) static void wait_for_ever(int count, char **words) {
    while (count > 1 && strcmp(words[1], getenv("C10K_NEVER_READY")) == 0) pause();
}
"#;

#[test]
fn a_signal_ends_the_wait_for_a_process_that_is_never_ready() {
    let folder = tempfile::tempdir().unwrap();
    let (source, shim) = (folder.path().join("shim.c"), folder.path().join("shim.so"));
    std::fs::write(&source, NEVER_READY).unwrap();
    let compiled =
        std::process::Command::new("cc").args(["-shared", "-fPIC", "-o"]).args([&shim, &source]).output();
    if !compiled.is_ok_and(|output| output.status.success()) {
        eprintln!("SKIPPED: no C compiler, with which a process is kept from starting");
        return;
    }
    for (who, signal, code) in [("server", SIGINT, 130), ("swarm", SIGTERM, 143)] {
        let lab = Lab::new().with_env("LD_PRELOAD", &shim).with_env("C10K_NEVER_READY", who);
        let running = lab.start(&["--target", "100", "--json"]);
        running.wait_for_start_of(who);
        running.signal(signal);
        let ended = running.wait();
        ended.expect_exit(code);
        assert!(ended.stderr.contains(&format!("before the {who} was ready")), "{}", ended.stderr);
        assert!(ended.folders().is_empty(), "{:?}", ended.folders());
        ended.expect_nothing_left();
    }
}

#[test]
fn sigint_in_the_last_proof_ends_in_good_order() {
    let (running, server) = stuck_verify();
    let begun = Instant::now();
    running.signal(SIGINT);
    std::thread::sleep(Duration::from_millis(200));
    send(server, SIGCONT);
    let record = expect_aborted(&running.wait(), SIGINT, begun);
    assert_eq!(record.connections.attempted, 300);
}

#[test]
fn a_server_that_stands_still_does_not_keep_a_stopped_lab() {
    let (running, server) = stuck_verify();
    let begun = Instant::now();
    running.signal(SIGTERM);
    let ended = running.wait();
    let record = expect_aborted(&ended, SIGTERM, begun);
    assert_eq!((record.connections.attempted, record.connections.held), (300, 0));
    send(server, SIGKILL);
}

#[test]
fn a_second_signal_ends_it_at_once_with_its_own_code() {
    for (signal, code) in [(SIGINT, 130), (SIGHUP, 143)] {
        let (running, server) = stuck_verify();
        running.signal(signal);
        std::thread::sleep(Duration::from_millis(300));
        let begun = Instant::now();
        running.signal(signal);
        // A process that stands still hears nothing; the others end with the lab.
        send(server, SIGCONT);
        let ended = running.wait();
        ended.expect_exit(code);
        assert!(begun.elapsed() < ORDERLY, "it took {:?}", begun.elapsed());
        expect_unfinished(&ended);
        // The server, which goes on at the same moment, may have its own last word behind it.
        let last = ended.stderr.lines().rfind(|line| !line.starts_with("ending: ")).expect("a last word");
        let folder = ended.folder().display().to_string();
        assert!(last.starts_with("ended at once by a second signal") && last.ends_with(&folder), "{last}");
    }
}

#[test]
fn a_signal_in_the_close_takes_nothing_from_a_run_that_is_over() {
    let ws = ["--target", "3000", "--protocol", "ws", "--hold", "300ms", "--verdict", "echo_p95 <= 1h"];
    let mut running = Lab::new().start(&ws);
    running.wait_for("close", |_| true);
    running.signal(SIGINT);
    let record = running.wait().expect_held(3000);
    assert_eq!(record.connections.open, None);
}

/// Asserts what a lab leaves that could not write its record to the end.
#[track_caller]
fn expect_unfinished(ended: &Ended) {
    let folder = ended.folder();
    assert!(!folder.join("record.json").exists());
    let text = std::fs::read_to_string(folder.join("record.partial.json")).expect("the partial record");
    common::expect_schema(&serde_json::from_str(&text).expect("JSON"));
    let shown = lab(&["report", &folder.display().to_string()]);
    shown.expect_exit(0);
    assert!(shown.stdout.to_lowercase().contains("unfinished"), "{}", shown.stdout);
    assert!(shown.stderr.contains("never finished"), "{}", shown.stderr);
    // It tells what the last row of samples.csv tells.
    let json = lab(&["report", &folder.display().to_string(), "--json"]).document();
    let samples = ended.samples();
    let last = samples.iter().rfind(|row| row.attempted.is_some()).expect("a row");
    // A server that stands still says nothing any more in the last rows.
    let accepted = samples.iter().rev().find_map(|row| row.accepted);
    for (name, value) in [
        ("attempted", last.attempted),
        ("established", last.established),
        ("accepted", accepted),
        ("verified", last.verified),
        ("open", last.open),
    ] {
        assert_eq!(json["connections"][name].as_u64(), value, "{name}: {json}");
    }
    let (of, open) = (&json["connections"]["target"], last.open.unwrap_or_default());
    let established = last.established.unwrap_or_default();
    let headline = shown.told().replace(',', "");
    assert!(
        headline.contains(&format!("{established} of {of} were established and {open} open")),
        "{headline}"
    );
    assert_eq!(json["state"], "unfinished");
    assert!(json["ended_because"].as_str().is_some_and(|why| why.contains("the lab was killed")), "{json}");
}

/// Asserts that the run broke because `who` was killed in `phase`.
#[track_caller]
fn expect_broken(ended: &Ended, who: &str, phase: &str) -> Record {
    ended.expect_exit(4);
    let record = ended.record();
    assert_eq!(record.state, RunState::Broken);
    let why = record.ended_because.as_deref().expect("why it ended");
    assert_eq!(why, format!("the {who} was killed by signal 9 in the {phase}"));
    assert!(ended.stderr.contains(why), "{}", ended.stderr);
    assert_eq!(record.connections.held, 0);
    let on_stdout: Record = serde_json::from_value(ended.document()).expect("a record");
    assert_eq!(on_stdout, record);
    record
}

#[track_caller]
fn expect_server_died(running: Running, phase: &str) -> Record {
    let begun = Instant::now();
    send(running.server().pid, SIGKILL);
    let ended = running.wait();
    assert!(begun.elapsed() < ORDERLY, "it took {:?}", begun.elapsed());
    let record = expect_broken(&ended, "server", phase);
    let ceiling = record.ceiling.clone().expect("a ceiling");
    assert_eq!((ceiling.connections, ceiling.wall.as_str()), (0, "server-died"));
    assert_eq!(record.connections.accepted, None, "it could not say any more");
    assert!(record.warnings.iter().any(|warning| warning.id == "server-silent"), "{:?}", record.warnings);
    record
}

#[test]
fn a_server_killed_in_the_ramp_ends_the_run_and_is_named() {
    expect_server_died(slow_ramp(), "ramp");
}

#[test]
fn a_server_killed_in_a_very_slow_ramp_does_not_keep_the_run() {
    let mut running = Lab::new().start(&["--target", "2000", "--rate", "5/s", "--hold", "1s", "--json"]);
    running.wait_for("ramp", |row| row.verified > Some(5));
    expect_server_died(running, "ramp");
}

#[test]
fn a_server_killed_in_the_hold_ends_the_run_and_is_named() {
    let record = expect_server_died(long_hold(), "hold");
    let c = &record.connections;
    assert_eq!((c.attempted, c.verified, c.failed_total()), (300, Some(300), 300), "{c:?}");
    assert!(
        record.failures.iter().all(|failure| failure.phase.to_string() == "hold"),
        "{:?}",
        record.failures
    );
}

#[track_caller]
fn expect_swarm_died(running: Running, phase: &str) {
    let begun = Instant::now();
    send(running.swarm().pid, SIGKILL);
    let ended = running.wait();
    assert!(begun.elapsed() < ORDERLY, "it took {:?}", begun.elapsed());
    let record = expect_broken(&ended, "swarm", phase);
    let c = &record.connections;
    assert_eq!(c.failed.len(), 1, "{c:?}");
    // What it had at its last tick and what the server had at its end are of two moments.
    assert_eq!((c.accepted.is_some(), c.ghosts), (true, None), "{c:?}");
    let told = record.warnings.iter().find(|warning| warning.id == "ghosts-unknown").expect("why");
    assert!(told.text.contains("last tick"), "{}", told.text);
    assert!(record.verdicts.iter().all(|verdict| verdict.expr != "ghosts = 0"), "{:?}", record.verdicts);
    assert!(c.attempted > 0 && record.ceiling.is_some_and(|ceiling| ceiling.connections == 0));
}

#[test]
fn a_swarm_killed_in_the_ramp_ends_the_run_and_is_named() {
    expect_swarm_died(slow_ramp(), "ramp");
}

#[test]
fn a_swarm_killed_in_the_hold_ends_the_run_and_is_named() {
    expect_swarm_died(long_hold(), "hold");
}

#[track_caller]
fn expect_lab_died(running: Running) {
    let (server, begun) = (running.server(), Instant::now());
    running.signal(SIGKILL);
    // The end asserts that the server and the swarm are gone too.
    let ended = running.wait();
    assert!(begun.elapsed() < ORDERLY, "it took {:?}", begun.elapsed());
    assert_eq!(ended.status.code(), None, "{:?}", ended.status);
    expect_unfinished(&ended);
    assert!(!ended.samples().is_empty());
    server.expect_its_namespace_gone();
}

#[test]
fn a_lab_killed_in_the_ramp_leaves_a_record_that_says_so_and_no_process() {
    expect_lab_died(slow_ramp());
}

#[test]
fn a_lab_killed_in_the_hold_leaves_a_record_that_says_so_and_no_process() {
    expect_lab_died(long_hold());
}

#[test]
fn a_disk_that_is_full_at_the_start_is_told_before_anything_runs() {
    let ended = Lab::new().with_file_blocks(1).run(&["--target", "10", "--hold", "100ms"]);
    ended.expect_refused(3, &["samples.csv", "--results"]);
}

/// Asserts that a run broke for want of room, that its document was printed, and that no half record stands
/// under the whole one's name.
#[track_caller]
fn expect_no_room(ended: &Ended) {
    ended.expect_exit(4);
    assert!(ended.line("error: ").contains("cannot write"), "{}", ended.stderr);
    assert_eq!(ended.stderr.matches("hint: ").count(), 1, "{}", ended.stderr);
    let document = ended.document();
    common::expect_schema(&document);
    assert_eq!((&document["state"], &document["connections"]["held"]), (&"broken".into(), &50.into()));
    assert!(document["ended_because"].as_str().is_some_and(|why| why.contains("could not be written")));
}

#[test]
fn a_disk_that_is_full_at_the_end_breaks_the_run_and_the_document_is_still_printed() {
    // The partial record and the rows fit, the page does not.
    let ended = Lab::new().with_file_blocks(14).run(&["--target", "50", "--hold", "300ms", "--json"]);
    expect_no_room(&ended);
    assert!(!ended.folder().join("record.json").exists());
}

/// From now on no file of this process may grow beyond a few hundred bytes.
#[track_caller]
fn leave_no_room_to(pid: u32) {
    let limit = ["--pid", &pid.to_string(), "--fsize=512:512"];
    assert!(std::process::Command::new("prlimit").args(limit).status().expect("prlimit").success());
}

#[test]
fn latencies_that_could_not_be_written_break_the_run_whose_record_is_whole() {
    let lab = Lab::new().after("trap '' XFSZ");
    let mut running = lab.start(&["--target", "50", "--hold", "3s", "--json"]);
    running.wait_for_hold(50);
    leave_no_room_to(running.swarm().pid);
    let ended = running.wait();
    ended.expect_exit(4);
    let document = ended.document();
    assert_eq!((&document["state"], &document["connections"]["held"]), (&"broken".into(), &50.into()));
    let why = document["ended_because"].as_str().expect("a reason");
    assert!(why.contains("latency.hlog could not be written whole"), "{why}");
    let warnings = document["warnings"].as_array().expect("a list");
    assert!(warnings.iter().any(|warning| warning["id"] == "output-lost"), "{warnings:?}");
    assert!(ended.folder().join("record.json").exists());
}

#[test]
fn a_disk_that_fills_up_in_the_hold_ends_the_run() {
    let lab = Lab::new().after("trap '' XFSZ");
    let mut running = lab.start(&["--target", "50", "--hold", "60s", "--json"]);
    running.wait_for_hold(50);
    let begun = Instant::now();
    leave_no_room_to(running.pid());
    let ended = running.wait();
    assert!(begun.elapsed() < ORDERLY, "it took {:?}", begun.elapsed());
    expect_no_room(&ended);
}

#[test]
fn a_file_system_without_room_breaks_the_run() {
    if !common::namespaces_allowed("a_file_system_without_room_breaks_the_run") {
        return;
    }
    let lab = Lab::new()
        .by_ordinary_user()
        .under(&["unshare", "--user", "--map-root-user", "--mount"])
        .after("mkdir results && mount -t tmpfs -o size=32k none results");
    let ended = lab.run(&["--target", "50", "--hold", "300ms", "--json"]);
    expect_no_room(&ended);
    assert!(ended.stderr.contains("No space left"), "{}", ended.stderr);
}

#[test]
fn an_ordinary_users_lab_killed_leaves_no_process() {
    let mut running = Lab::new().by_ordinary_user().start(&["--target", "50", "--hold", "60s"]);
    running.wait_for_hold(50);
    running.signal(SIGKILL);
    expect_unfinished(&running.wait());
}
