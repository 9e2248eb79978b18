//! Plants that a signal ends: nothing of them is left outside of the run's namespace.

#![allow(clippy::print_stderr, reason = "a skipped test says so")]

mod common;

use std::path::{Path, PathBuf};
use std::time::Duration;

use common::{Ended, Lab, Running, has_group, namespaces_allowed};
use nix::sys::signal::Signal::{self, SIGHUP, SIGINT, SIGKILL, SIGTERM};
use tempfile::TempDir;

/// What plants have made in the folder for temporary files, and as control groups while the process `pid` made them.
fn left(temporary: &Path, pid: u32) -> Vec<PathBuf> {
    let groups = ["", "cpu", "memory", "pids"].map(|tree| Path::new("/sys/fs/cgroup").join(tree));
    let entries = |folder: &Path| std::fs::read_dir(folder).into_iter().flatten().flatten();
    let name = |path: &PathBuf| path.file_name().expect("a name").to_string_lossy().into_owned();
    let is_of_a_plant = |path: &PathBuf| name(path).starts_with("c10k-plant-");
    let of_pid = |path: &PathBuf| is_of_a_plant(path) && name(path).contains(&format!("-{pid}-"));
    let folders = entries(temporary).map(|entry| entry.path()).filter(is_of_a_plant);
    folders
        .chain(groups.iter().flat_map(|tree| entries(tree)).map(|entry| entry.path()).filter(of_pid))
        .collect()
}

fn plant(names: &[&str], temporary: &Path) -> Running {
    let mut arguments = vec!["walls", "plant"];
    arguments.extend(names);
    Lab::new().with_env("TMPDIR", temporary).command(&arguments)
}

/// Plants `wall`, lets `words` be said and `ms` milliseconds pass, and sends a signal.
#[track_caller]
fn signalled(wall: &str, (words, ms): (&str, u64), signal: Signal, temporary: &Path) -> (Ended, u32) {
    let running = plant(&[wall], temporary);
    running.wait_until_said(words);
    std::thread::sleep(Duration::from_millis(ms));
    let pid = running.pid();
    running.signal(signal);
    (running.wait(), pid)
}

/// A wall that takes seconds, and for root one with a control group.
fn walls() -> Vec<&'static str> {
    let has_groups = nix::unistd::geteuid().is_root() && has_group("cpu");
    if !has_groups {
        eprintln!("SKIPPED plants with a control group: it takes root and a cpu cgroup");
    }
    ["server-stopped-accepting"].into_iter().chain(has_groups.then_some("cpu-server")).collect()
}

#[test]
fn a_signal_at_any_moment_of_a_plant_ends_it_and_leaves_nothing() {
    if !namespaces_allowed("a signal at a plant") {
        return;
    }
    let temporary = TempDir::new().expect("a folder");
    let moments = [("planting", 0), ("planting", 120), ("planting", 700), ("again, lifted", 0)];
    for wall in walls() {
        for (at, moment) in moments.into_iter().enumerate() {
            let (signal, code) = [(SIGTERM, 143), (SIGINT, 130), (SIGTERM, 143), (SIGHUP, 143)][at];
            let (ended, pid) = signalled(wall, moment, signal, temporary.path());
            assert_eq!(ended.status.code(), Some(code), "{wall}, {moment:?}: {}", ended.stderr);
            assert!(ended.stderr.contains(&format!("stopped by {signal}")), "{}", ended.stderr);
            assert!(ended.stdout.is_empty(), "{}", ended.stdout);
            assert_eq!(left(temporary.path(), pid), [] as [PathBuf; 0], "{wall}, {moment:?}");
        }
    }
}

#[test]
fn what_a_killed_plant_has_left_is_gone_after_the_next_one() {
    if !namespaces_allowed("a killed plant") {
        return;
    }
    let temporary = TempDir::new().expect("a folder");
    for wall in walls() {
        for moment in [("planting", 0), ("planting", 300)] {
            let (ended, pid) = signalled(wall, moment, SIGKILL, temporary.path());
            assert_eq!(ended.status.code(), None, "{}", ended.stderr);
            assert!(!left(temporary.path(), pid).is_empty(), "{wall}, {moment:?}: it was to leave something");
            plant(&["refused"], temporary.path()).wait().expect_exit(0);
            assert_eq!(left(temporary.path(), pid), [] as [PathBuf; 0], "{wall}, {moment:?}");
        }
    }
}

#[test]
fn two_plants_at_a_time_leave_each_other_alone() {
    if !namespaces_allowed("two plants at a time") {
        return;
    }
    let temporary = TempDir::new().expect("a folder");
    let (one, two) = (plant(&["server-died"], temporary.path()), plant(&["refused"], temporary.path()));
    let pids = [one.pid(), two.pid()];
    one.wait().expect_exit(0);
    two.wait().expect_exit(0);
    pids.iter().for_each(|pid| assert_eq!(left(temporary.path(), *pid), [] as [PathBuf; 0]));
}
