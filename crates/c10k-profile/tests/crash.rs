//! A process killed between any two steps leaves a journal from which everything comes back byte for byte.

mod common;

use std::path::Path;
use std::process::Command;

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
    guard.roll_back().unwrap();
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
