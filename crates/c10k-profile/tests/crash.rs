//! A process killed between any two steps leaves a journal from which everything comes back byte for byte.

mod common;

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use c10k_profile::{Drift, Policy, Progress};
use common::{Machine, applier, here_in, profile};

const FOLDER: &str = "C10K_TEST_CRASH_FOLDER";
const STEP: &str = "C10K_TEST_CRASH_STEP";
const WISHES: &str = "'net.core.somaxconn' = 16384\n'net.ipv4.tcp_rmem' = [4096, 131072, 1048576]\n\
                      'net.ipv4.ip_local_port_range' = [500, 65535]\n'net.ipv4.ip_unprivileged_port_start' = 500\n\
                      'net.ipv4.ip_local_reserved_ports' = '9000-9010'\n'fs.nr_open' = 2097152";

/// Applies and rolls back, and is killed after the given step of all steps on the way.
fn be_killed_at(step: usize, folder: &Path) {
    let mut steps = 0;
    let here = here_in(folder).with_progress(move |_: Progress| {
        steps += 1;
        if steps == step {
            kill_this_process();
        }
    });
    let guard = here.apply(&profile(WISHES), &applier("killed"), Policy::default()).unwrap();
    guard.roll_back();
}

/// Applies until a roll back, rolls back, and is killed after the given step of all steps on the way.
fn be_killed_at_keeping(step: usize, folder: &Path) {
    let steps = Arc::new(AtomicUsize::new(0));
    let here = || {
        let steps = Arc::clone(&steps);
        here_in(folder).with_progress(move |_: Progress| {
            if steps.fetch_add(1, Relaxed) + 1 == step {
                kill_this_process();
            }
        })
    };
    here().apply_until_roll_back(&profile(WISHES), &applier("killed"), Policy::default()).unwrap();
    here().roll_back(Drift::Report).unwrap();
}

/// SIGKILL, so that nothing of this process runs any more.
fn kill_this_process() {
    let status = Command::new("sh").args(["-c", "kill -9 $PPID"]).status();
    unreachable!("still alive after {status:?}");
}

#[test]
fn a_process_killed_at_any_step_leaves_nothing_that_recovery_does_not_put_back() {
    if let (Some(folder), Ok(step)) = (std::env::var_os(FOLDER), std::env::var(STEP)) {
        return be_killed_at(step.parse().unwrap(), Path::new(&folder));
    }
    let mut kills_before_the_end = 0;
    let mut kills_with_something_changed = 0;
    for step in 1.. {
        let machine = Machine::new();
        let before = machine.snapshot();
        let status = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "a_process_killed_at_any_step_leaves_nothing_that_recovery_does_not_put_back"])
            .env(FOLDER, machine.folder())
            .env(STEP, step.to_string())
            .output()
            .unwrap()
            .status;
        if status.success() {
            break;
        }
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9), "killed, not failed");
        kills_before_the_end += 1;
        kills_with_something_changed += usize::from(machine.snapshot() != before);
        machine.here().recover(Drift::Report).unwrap();
        assert_eq!(machine.snapshot(), before, "killed after step {step}");
        assert_eq!(machine.journals(), [] as [&str; 0], "killed after step {step}");
    }
    // One journal, two steps for each of six writes, one last mark, six restored, one journal removed.
    assert_eq!(kills_before_the_end, 1 + 2 * 6 + 1 + 6 + 1);
    assert_eq!(kills_with_something_changed, (2 * 6 - 1) + 1 + 5);
}

#[test]
fn keeping_and_rolling_back_killed_at_any_step_are_undone_by_another_roll_back() {
    if let (Some(folder), Ok(step)) = (std::env::var_os(FOLDER), std::env::var(STEP)) {
        return be_killed_at_keeping(step.parse().unwrap(), Path::new(&folder));
    }
    let mut kills = 0;
    for step in 1.. {
        let machine = Machine::new();
        let before = machine.snapshot();
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "keeping_and_rolling_back_killed_at_any_step_are_undone_by_another_roll_back"])
            .env(FOLDER, machine.folder())
            .env(STEP, step.to_string())
            .output()
            .unwrap();
        if output.status.success() {
            break;
        }
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&output.status), Some(9), "{output:?}");
        kills += 1;
        // Killed while it set them, it has left them behind; killed while it put them back, they were kept before.
        let is_left_behind = machine.here().pending().unwrap().is_some();
        let is_kept = machine.here().standing().unwrap().iter().any(|s| s.holders.iter().any(|h| h.kept));
        assert_eq!(is_left_behind, (2..=14).contains(&step), "killed after step {step}");
        assert_eq!(is_kept, (15..=20).contains(&step), "killed after step {step}");
        machine.here().roll_back(Drift::Report).unwrap();
        assert_eq!(machine.snapshot(), before, "killed after step {step}");
        assert_eq!(machine.journals(), [] as [&str; 0], "killed after step {step}");
    }
    assert_eq!(kills, 1 + 2 * 6 + 1 + 6 + 1);
}
