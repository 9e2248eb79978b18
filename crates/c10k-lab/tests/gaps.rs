//! A lab or a swarm that was stopped for a while says so, and judges nothing by what it measured meanwhile. A server that was
//! stopped is what is measured.

mod common;

use std::time::Duration;

use c10k_record::{Gap, GapOf, PhaseName, Record, Verdict, Warning};
use common::{Lab, Running, send};
use nix::sys::signal::Signal::{SIGCONT, SIGSTOP};

/// So long is a process stopped: longer than any scheduling, shorter than the run's patience.
const STOPPED: Duration = Duration::from_millis(2500);

fn stop_for_a_while(pid: u32) {
    send(pid, SIGSTOP);
    std::thread::sleep(STOPPED);
    send(pid, SIGCONT);
}

fn start(flags: &[&str]) -> Running {
    let patience = ["--connect-timeout", "60s", "--probe-timeout", "60s"];
    Lab::new().start(&[flags, &patience].concat())
}

fn lasted(gap: &Gap) -> Duration {
    Duration::from_millis(gap.to_ms - gap.from_ms)
}

#[track_caller]
fn only_gap(record: &Record, of: GapOf) -> Gap {
    let gaps: Vec<&Gap> = record.gaps.iter().filter(|gap| lasted(gap) > STOPPED / 2).collect();
    assert_eq!(gaps.len(), 1, "{:?}", record.gaps);
    assert_eq!(gaps[0].process, of);
    *gaps[0]
}

#[track_caller]
fn verdict<'a>(record: &'a Record, on: &str) -> &'a Verdict {
    let all = &record.verdicts;
    all.iter().find(|verdict| verdict.expr.starts_with(on)).unwrap_or_else(|| panic!("{all:?}"))
}

fn told<'a>(record: &'a Record, id: &'a str) -> impl Iterator<Item = &'a Warning> {
    record.warnings.iter().filter(move |warning| warning.id == id)
}

#[test]
fn a_lab_that_was_stopped_in_the_hold_says_when_and_how_long_and_how_long_the_hold_was() {
    let mut run = start(&["--target", "300", "--hold", "1500ms"]);
    run.wait_for_hold(300);
    stop_for_a_while(run.pid());
    let ended = run.wait();
    let record = ended.expect_exit(0).record();
    let gap = only_gap(&record, GapOf::Lab);
    assert!(lasted(&gap) >= STOPPED - Duration::from_millis(100), "{gap:?}");
    let hold = record.phases.iter().find(|times| times.phase == PhaseName::Hold).expect("it held");
    let held_ms = hold.to_ms.expect("it ended") - hold.from_ms;
    assert!(held_ms > 2400 && hold.from_ms <= gap.from_ms, "{hold:?} {gap:?}");
    let said: Vec<&Warning> = told(&record, "own-gap").collect();
    assert!(said[0].text.starts_with("the lab's own process did not run for"), "{said:?}");
    assert!(said[0].text.contains("the hold took"), "{said:?}");
    // It measures none of what is judged.
    assert!(record.verdicts.iter().all(Verdict::holds), "{:?}", record.verdicts);
    assert!(ended.told().contains("warning the lab's own process did not run for"), "{}", ended.told());
}

#[test]
fn a_swarm_that_was_stopped_in_the_ramp_judges_no_time_of_connecting_and_blames_nobody() {
    let rate = ["--target", "600", "--rate", "300", "--hold", "300ms"];
    let verdicts = [
        "--verdict",
        "connect_response_p99 <= 1s",
        "--verdict",
        "connects_per_second >= 250",
        "--verdict",
        "echo_p95 <= 1h",
    ];
    let mut run = start(&[&rate[..], &verdicts].concat());
    run.wait_for("ramp", |row| row.established >= Some(100));
    stop_for_a_while(run.swarm().pid);
    let ended = run.wait();
    let record = ended.expect_exit(1).record();
    only_gap(&record, GapOf::Swarm);
    for on in ["connect_response_p99", "connects_per_second"] {
        assert_eq!((verdict(&record, on).passed, verdict(&record, on).value), (None, None), "{on}");
    }
    for on in ["held", "failed", "echo_p95"] {
        assert!(verdict(&record, on).holds(), "{on}: {:?}", record.verdicts);
    }
    assert_eq!(told(&record, "not-judged").count(), 2, "{:?}", record.warnings);
    assert_eq!(
        (record.ceiling.as_ref(), record.met_on_the_way.len()),
        (None, 0),
        "no limit is blamed for it"
    );
    let told = ended.told();
    assert!(told.contains("HELD 600 of 600 connections, but 2 of 6 verdicts could not be judged"), "{told}");
}

#[test]
fn a_server_that_was_stopped_hides_behind_no_gap() {
    let flags = ["--target", "300", "--hold", "2s", "--verdict", "echo_p95 <= 1s"];
    let mut run = start(&flags);
    run.wait_for_hold(300);
    let server = run.server().pid;
    send(server, SIGSTOP);
    // Until the proof waits for it.
    run.wait_for("verify", |_| true);
    std::thread::sleep(STOPPED);
    send(server, SIGCONT);
    let record = run.wait().expect_exit(1).record();
    let echo = verdict(&record, "echo_p95");
    assert!(echo.is_broken() && echo.value.is_some_and(|ms| ms > 1000.0), "{:?}", record.verdicts);
    assert_eq!((record.gaps.len(), told(&record, "not-judged").count()), (0, 0), "{:?}", record.warnings);
}

/// As a machine that was suspended, or Ctrl-Z, which stops the lab and its processes together.
#[test]
fn where_all_were_stopped_at_once_the_server_is_not_blamed() {
    let verdicts = ["--verdict", "connect_response_p99 <= 1s", "--verdict", "echo_p95 <= 1h"];
    let mut run = start(&[&["--target", "600", "--rate", "300", "--hold", "300ms"][..], &verdicts].concat());
    run.wait_for("ramp", |row| row.established >= Some(100));
    let all = [run.pid(), run.swarm().pid, run.server().pid];
    all.iter().for_each(|pid| send(*pid, SIGSTOP));
    std::thread::sleep(STOPPED);
    all.iter().rev().for_each(|pid| send(*pid, SIGCONT));
    let record = run.wait().expect_exit(1).record();
    let whose: Vec<GapOf> =
        record.gaps.iter().filter(|gap| lasted(gap) > STOPPED / 2).map(|gap| gap.process).collect();
    assert!(whose.len() == 2 && whose[0] != whose[1], "{:?}", record.gaps);
    assert_eq!(verdict(&record, "connect_response_p99").passed, None, "{:?}", record.verdicts);
    assert!(verdict(&record, "echo_p95").holds(), "{:?}", record.verdicts);
    assert_eq!((record.ceiling.as_ref(), record.met_on_the_way.len()), (None, 0), "{record:#?}");
}
