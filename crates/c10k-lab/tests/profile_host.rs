//! Settings of the whole host: raised for a run by a parent that stays outside its namespace, and as they were
//! afterwards, whichever process is killed. These tests need root. They raise `fs.nr_open` and `net.core.netdev_max_backlog`
//! of the machine they run on, never lower them, and put them back whatever happens; one at a time.

#![allow(clippy::print_stderr, reason = "a skipped test says so")]

mod common;

use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};

use c10k_kernel::sysctl::SysctlRoot;
use c10k_record::{Record, RunState, Scope};
use common::{Ended, Lab, Running, lab, send};
use nix::sys::signal::Signal::{SIGINT, SIGKILL, SIGTERM};

const BACKLOG: &str = "net.core.netdev_max_backlog";
const NR_OPEN: &str = "fs.nr_open";
const PATIENCE: Duration = Duration::from_secs(60);

/// The machine's own settings, with nobody else among these tests touching them. As they were, at the latest
/// when this goes.
struct Machine {
    before: [(&'static str, String); 2],
    _alone: File,
}

impl Machine {
    /// None, loudly, for a user who may not raise host-wide settings.
    fn alone(test: &str) -> Option<Self> {
        let root = SysctlRoot::default();
        // Absent in every namespace but the machine's first one.
        if !nix::unistd::geteuid().is_root() || !root.exists(BACKLOG) {
            eprintln!("SKIPPED {test}: it needs root in the machine's first network namespace");
            return None;
        }
        if [BACKLOG, NR_OPEN].iter().any(|key| root.access(key) != c10k_kernel::sysctl::Access::ReadWrite) {
            eprintln!("SKIPPED {test}: host-wide settings may not be written here");
            return None;
        }
        let lock = File::create(Path::new(env!("CARGO_TARGET_TMPDIR")).join("host-wide.lock")).unwrap();
        lock.lock().unwrap();
        Some(Self { before: [BACKLOG, NR_OPEN].map(|key| (key, root.read(key).unwrap())), _alone: lock })
    }

    fn number(&self, key: &str) -> u64 {
        self.before.iter().find(|(known, _)| *known == key).unwrap().1.parse().unwrap()
    }

    /// A profile that raises both a little.
    fn profile(&self) -> String {
        let (backlog, nr_open) = (self.number(BACKLOG) + 1, self.number(NR_OPEN) + 64);
        format!(
            "name = 'host-test'\nsummary = 'of a test'\n[sysctl]\n'{BACKLOG}' = {backlog}\n'{NR_OPEN}' = {nr_open}\n"
        )
    }

    fn lab(&self) -> Lab {
        Lab::new().with_file("host.toml", &self.profile())
    }

    /// A run that stands in its hold, both settings raised.
    #[track_caller]
    fn long_hold(&self) -> Running {
        let mut running =
            self.lab().start(&["--profile", "./host.toml", "--target", "200", "--hold", "60s", "--json"]);
        running.wait_for_hold(200);
        self.expect_raised();
        running
    }

    #[track_caller]
    fn expect_raised(&self) {
        let root = SysctlRoot::default();
        assert_eq!(root.read(BACKLOG).unwrap(), (self.number(BACKLOG) + 1).to_string());
        assert_eq!(root.read(NR_OPEN).unwrap(), (self.number(NR_OPEN) + 64).to_string());
    }

    /// Byte for byte, and no journal of it.
    #[track_caller]
    fn expect_as_before(&self) {
        let root = SysctlRoot::default();
        for (key, before) in &self.before {
            assert_eq!(root.read(key).unwrap(), *before, "{key}");
        }
        let status = lab(&["profile", "status"]);
        assert!(!status.stdout.contains("host-test"), "{}", status.stdout);
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let root = SysctlRoot::default();
        for (key, before) in &self.before {
            if root.read(key).ok().as_ref() != Some(before) {
                let _ = root.write(key, before);
            }
        }
    }
}

/// The processes that `pid` started.
fn children_of(pid: u32) -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_string_lossy().parse::<u32>().ok());
    let is_child = |child: &u32| {
        let stat = std::fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
        let after = stat.rsplit_once(") ").map(|(_, rest)| rest.to_owned()).unwrap_or_default();
        after.split_whitespace().nth(1).is_some_and(|parent| parent == pid.to_string())
    };
    pids.filter(is_child).collect()
}

/// The process that carries the run out, beside its steward.
#[track_caller]
fn run_of(steward: &Running) -> u32 {
    let children = children_of(steward.pid());
    assert_eq!(children.len(), 1, "a steward has one child: {children:?}\n{}", steward.stderr());
    children[0]
}

#[track_caller]
fn expect_rolled_back_by_hand(machine: &Machine) {
    machine.expect_raised();
    let noticing = lab(&["profile", "list"]);
    assert!(noticing.stderr.contains("c10k-lab profile rollback"), "{}", noticing.stderr);
    assert!(noticing.stderr.contains(BACKLOG) && noticing.stderr.contains(NR_OPEN), "{}", noticing.stderr);
    let rolled_back = lab(&["profile", "rollback", "--json"]);
    rolled_back.expect_exit(0);
    let document: serde_json::Value = serde_json::from_str(&rolled_back.stdout).unwrap();
    assert_eq!(document["restored"].as_array().map(Vec::len), Some(2), "{document}");
    machine.expect_as_before();
    let again = lab(&["profile", "rollback"]);
    again.expect_exit(0);
    assert!(again.stderr.contains("nothing to roll back"), "{}", again.stderr);
    assert!(!lab(&["profile", "list"]).stderr.contains("rollback"), "nobody is nagged any more");
}

#[track_caller]
fn expect_both_applied(record: &Record) {
    let applied: Vec<&str> = record.profile.applied.iter().map(|set| set.key.as_str()).collect();
    assert_eq!(applied, [NR_OPEN, BACKLOG]);
    assert!(record.profile.not_applied.is_empty(), "{:?}", record.profile.not_applied);
    assert!(
        !record.warnings.iter().any(|warning| warning.id == "profile-not-applied"),
        "{:?}",
        record.warnings
    );
}

fn once(arguments: &[&'static str]) -> Vec<&'static str> {
    [&["--profile", "./host.toml", "--target", "200", "--hold", "1s", "--json"], arguments].concat()
}

#[test]
fn a_run_raises_host_wide_settings_while_it_lasts_and_its_record_says_so() {
    let Some(machine) = Machine::alone("a run that raises host-wide settings") else { return };
    let mut running = machine.lab().start(&once(&[]));
    running.wait_for_hold(200);
    machine.expect_raised();
    let ended = running.wait();
    let record = ended.expect_held(200);
    expect_both_applied(&record);
    let before = |key: &str| record.profile.applied.iter().find(|set| set.key == key).unwrap().before.clone();
    assert_eq!(before(NR_OPEN), machine.number(NR_OPEN).to_string());
    assert!(ended.stderr.contains("2 settings put back"), "{}", ended.stderr);
    machine.expect_as_before();
}

#[test]
fn a_killed_steward_takes_the_run_along_and_a_roll_back_finds_its_journal() {
    let Some(machine) = Machine::alone("a steward killed by SIGKILL") else { return };
    let running = machine.long_hold();
    run_of(&running);
    running.signal(SIGKILL);
    // Waits for all processes of the run, and fails when one stays.
    let ended = running.wait();
    assert_eq!(ended.record().state, RunState::Aborted, "the run's own process had time for its record");
    expect_rolled_back_by_hand(&machine);
}

#[test]
fn a_killed_run_is_cleared_away_by_its_steward() {
    let Some(machine) = Machine::alone("a run killed below its steward") else { return };
    let running = machine.long_hold();
    send(run_of(&running), SIGKILL);
    let ended = running.wait();
    ended.expect_exit(4);
    assert!(ended.stderr.contains("killed by signal 9"), "{}", ended.stderr);
    machine.expect_as_before();
}

#[test]
fn all_processes_killed_at_once_leave_what_a_roll_back_mends() {
    let Some(machine) = Machine::alone("everything killed at once") else { return };
    let running = machine.long_hold();
    let run = run_of(&running);
    let mut all = children_of(run);
    assert_eq!(all.len(), 2, "server and swarm");
    all.extend([run, running.pid()]);
    all.iter().rev().for_each(|&pid| send(pid, SIGKILL));
    running.wait();
    expect_rolled_back_by_hand(&machine);
}

#[test]
fn signals_reach_the_run_once_and_its_exit_code_comes_back() {
    let Some(machine) = Machine::alone("signals to a steward") else { return };
    for (signal, code) in [(SIGINT, 130), (SIGTERM, 143)] {
        let running = machine.long_hold();
        running.signal(signal);
        let ended = running.wait();
        ended.expect_exit(code);
        let record = ended.record();
        assert_eq!(record.state, RunState::Aborted);
        assert!(record.ended_because.is_some_and(|why| why.contains(signal.as_str())));
        machine.expect_as_before();
    }
}

#[test]
fn two_runs_share_what_one_raised_until_the_last_of_them_ends() {
    let Some(machine) = Machine::alone("two runs at once") else { return };
    let first = machine.long_hold();
    let second = machine.long_hold();
    first.signal(SIGINT);
    let ended = first.wait();
    assert!(ended.stderr.contains("as long as somebody relies on it"), "{}", ended.stderr);
    machine.expect_raised();

    // Somebody with other wishes is told who is in the way.
    let other = machine.profile().replace(
        &format!("'{NR_OPEN}' = {}", machine.number(NR_OPEN) + 64),
        &format!("'{NR_OPEN}' = {}", machine.number(NR_OPEN) + 128),
    );
    let refused = Lab::new().with_file("host.toml", &other).run(&once(&[]));
    refused.expect_refused(3, &["c10k-lab run", &format!("pid {}", second.pid()), NR_OPEN]);
    machine.expect_raised();

    second.signal(SIGINT);
    second.wait();
    machine.expect_as_before();
}

#[test]
fn what_profile_apply_raised_stays_for_runs_and_after_them_until_it_is_rolled_back() {
    let Some(machine) = Machine::alone("profile apply --host-wide") else { return };
    let apply = |arguments: &[&str]| -> Ended {
        machine.lab().command(&[&["profile", "apply", "./host.toml"], arguments].concat()).wait()
    };
    let without = apply(&[]);
    without.expect_exit(0);
    assert!(without.stderr.contains("--host-wide"), "{}", without.stderr);
    machine.expect_as_before();

    let applied = apply(&["--host-wide", "--json"]);
    applied.expect_exit(0);
    let document: serde_json::Value = serde_json::from_str(&applied.stdout).unwrap();
    assert_eq!(document["applied"].as_array().map(Vec::len), Some(2), "{document}");
    machine.expect_raised();
    machine.lab().run(&once(&[])).expect_held(200);
    machine.expect_raised();
    let rolled_back = lab(&["profile", "rollback"]);
    rolled_back.expect_exit(0);
    machine.expect_as_before();
}

#[test]
fn without_anything_to_raise_there_is_no_steward() {
    let Some(machine) = Machine::alone("no steward without need") else { return };
    let low =
        format!("name = 'low'\nsummary = 'of a test'\n[sysctl]\n'{NR_OPEN}' = 4096\n'{BACKLOG}' = 10\n");
    let mut running = Lab::new().with_file("low.toml", &low).start(&[
        "--profile",
        "./low.toml",
        "--target",
        "100",
        "--hold",
        "60s",
        "--json",
    ]);
    running.wait_for_hold(100);
    assert_eq!(children_of(running.pid()).len(), 2, "server and swarm");
    machine.expect_as_before();
    running.signal(SIGINT);
    let record = running.wait().record();
    assert!(
        record.profile.applied.is_empty() && record.profile.not_applied.is_empty(),
        "{:?}",
        record.profile
    );
}

#[test]
fn an_ordinary_user_is_told_what_was_not_raised_and_by_which_command() {
    // The others may raise theirs meanwhile, but not so far.
    let wanted = 1_073_741_816;
    let text = format!("name = 'user'\nsummary = 'of a test'\n[sysctl]\n'{NR_OPEN}' = {wanted}\n");
    let ended = Lab::new().with_file("user.toml", &text).by_ordinary_user().run(&[
        "--profile",
        "./user.toml",
        "--target",
        "100",
        "--hold",
        "200ms",
        "--json",
    ]);
    let record = ended.expect_held(100);
    let [not] = &record.profile.not_applied[..] else { panic!("{:?}", record.profile) };
    assert_eq!((not.key.as_str(), not.scope), (NR_OPEN, Scope::Host));
    assert_eq!(not.command, Some(format!("sudo sysctl -w '{NR_OPEN}={wanted}'")));
    assert_ne!(SysctlRoot::default().read(NR_OPEN).unwrap(), wanted.to_string());
    assert_eq!(ended.stderr.matches("warning: fs.nr_open").count(), 1, "once, and not by each process");
}

#[test]
fn a_steward_killed_at_any_moment_of_a_run_leaves_what_a_roll_back_mends() {
    let Some(machine) = Machine::alone("a steward killed at any moment") else { return };
    let mut kills_with_something_raised = 0;
    for delay_ms in [0, 2, 5, 10, 20, 40, 80, 160, 320] {
        let running = machine.lab().start(&once(&[]));
        let begun = Instant::now();
        // From the first write on, so that the moments lie in the apply as well as after it.
        while SysctlRoot::default().read(NR_OPEN).unwrap() == machine.number(NR_OPEN).to_string() {
            assert!(begun.elapsed() < PATIENCE, "never raised: {}", running.stderr());
            std::thread::sleep(Duration::from_micros(200));
        }
        std::thread::sleep(Duration::from_millis(delay_ms));
        running.signal(SIGKILL);
        running.wait();
        let is_raised = lab(&["profile", "status"]).stdout.contains("host-test");
        kills_with_something_raised += u32::from(is_raised);
        lab(&["profile", "rollback"]).expect_exit(0);
        machine.expect_as_before();
    }
    assert!(kills_with_something_raised > 0);
}
