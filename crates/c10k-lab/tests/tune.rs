//! Tuning by the real program, small: what is in the way is lifted and proven, what does nothing is left out.

#![allow(clippy::print_stderr, reason = "a skipped test says so")]

mod common;

use std::path::{Path, PathBuf};
use std::time::Duration;

use c10k_profile::{NofileLimit, Profile};
use common::{Ended, Lab, Running, namespaces_allowed};
use nix::sys::signal::Signal;
use serde_json::Value;

/// Longer than any of these takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(900);

/// A source with 40 ports.
const FEW_PORTS: &str = "name = 'few'\nsummary = 'few ports'\n[sysctl]\n\
                         'net.ipv4.ip_local_port_range' = [20000, 20039]\n";

#[track_caller]
fn start(lab: Lab, arguments: &[&str]) -> Running {
    let results = lab.home().join("results").display().to_string();
    lab.command(&[&["tune", "--results", &results], arguments].concat())
}

/// Sixty connections of an ordinary program that has 48 descriptors and 40 ports.
fn limited() -> Lab {
    Lab::new().with_file("few.toml", FEW_PORTS).after("ulimit -S -n 48")
}

const GOAL: [&str; 11] = [
    "60",
    "--profile",
    "few.toml",
    "--hold",
    "0s",
    "--only",
    "limits.nofile",
    "--only",
    "net.ipv4.ip_local_port_range",
    "--only",
    "net.ipv4.tcp_max_syn_backlog",
];

fn document(folder: &Path) -> Value {
    let text = std::fs::read_to_string(folder.join("tune.json")).expect("tune.json");
    serde_json::from_str(&text).expect("a document")
}

fn keys(list: &Value) -> Vec<&str> {
    list.as_array().expect("a list").iter().filter_map(|one| one["lift"]["key"].as_str()).collect()
}

#[test]
fn what_is_in_the_way_is_in_the_profile_with_its_proof_and_what_does_nothing_is_not() {
    if !namespaces_allowed("a tuning") {
        return;
    }
    let exports = ["--export", "sysctl.d", "90-my.conf", "--export", "systemd", "nofile.conf"];
    let ended =
        start(limited(), &[&GOAL[..], &exports, &["--out", "my.toml"]].concat()).wait_at_most(PATIENCE);
    ended.expect_exit(0);
    assert!(ended.stderr.contains(": about ") && ended.stderr.contains(" in all"), "{}", ended.stderr);
    let home = ended.home();
    let read = |name: &str| std::fs::read_to_string(home.join(name)).expect(name);
    let text = read("my.toml");
    let profile = Profile::load(&home.join("my.toml").display().to_string()).expect("a profile");
    assert!(matches!(profile.limits.nofile, Some(NofileLimit::AtLeast(60..))), "{text}");
    assert_eq!(profile.extends, ["few"]);
    let own: Vec<&str> =
        text.lines().filter(|line| line.starts_with('"') || line.starts_with("nofile")).collect();
    assert_eq!(own.len(), 2, "{text}");
    let lines: Vec<&str> = text.lines().collect();
    for line in own {
        let at = lines.iter().position(|other| *other == line).expect("it is there");
        assert!(lines[at - 1].starts_with("# held: ") && lines[at - 1].contains("Linux "), "{text}");
    }
    let document = document(&ended.folder());
    let outcome = &document["outcome"];
    let mut kept = keys(&outcome["kept"]);
    kept.sort_unstable();
    assert_eq!(kept, ["limits.nofile", "net.ipv4.ip_local_port_range"]);
    // What is kept of the queue would be chance, in the sweep and again in the next one.
    assert!(keys(&outcome["tried"]).contains(&"net.ipv4.tcp_max_syn_backlog"), "{outcome}");
    assert!(keys(&outcome["not_tried"]).contains(&"socket.backlog"), "{outcome}");
    assert_eq!((&document["check"]["held"], &document["check"]["is_reached"]), (&60.into(), &true.into()));
    for proof in outcome["kept"].as_array().expect("a list").iter().map(|kept| &kept["proof"]) {
        let sweep = ended.folder().join(proof["sweep"].as_str().expect("a path"));
        assert!(sweep.join("answer.json").is_file(), "{proof}");
        assert!(proof["ratio"][0].as_f64().is_some_and(|ratio| ratio > 1.0), "{proof}");
    }
    assert!(read("90-my.conf").contains("\nnet.ipv4.ip_local_port_range = "), "{}", read("90-my.conf"));
    assert!(read("nofile.conf").contains("\nLimitNOFILE="), "{}", read("nofile.conf"));

    // A plain run with it holds the goal, and the profile's own commands take it.
    let run = |arguments: &[&str]| {
        let lab = Lab::new().with_file("few.toml", FEW_PORTS);
        let text = text.replace(&home.join("few.toml").display().to_string(), "./few.toml");
        lab.with_file("my.toml", &text).command(arguments).wait()
    };
    run(&["run", "60", "--profile", "my.toml", "--ips", "127.0.0.1", "--hold", "0s"]).expect_exit(0);
    run(&["profile", "show", "my.toml"]).expect_exit(0);
    run(&["profile", "diff", "my.toml"]).expect_exit(0);

    // Nothing is written over that is there.
    let again = Lab::new().with_file("my.toml", "mine").command(&["tune", "60", "--out", "my.toml"]).wait();
    again.expect_refused(3, &["'my.toml' is there already", "--force"]);
    assert_eq!(std::fs::read_to_string(again.home().join("my.toml")).expect("it"), "mine");

    let listed = listed(home);
    assert!(listed.contains("TUNED: 60 of 60 held with 2 settings"), "{listed}");
}

/// What `list` says of the results below a folder.
fn listed(home: &Path) -> String {
    let results = home.join("results").display().to_string();
    common::lab(&["list", &results]).stdout
}

#[test]
fn a_tuning_that_was_interrupted_goes_on_and_makes_nothing_again() {
    if !namespaces_allowed("a tuning") {
        return;
    }
    let only_ports =
        ["60", "--profile", "few.toml", "--hold", "0s", "--only", "net.ipv4.ip_local_port_range"];
    let running = start(Lab::new().with_file("few.toml", FEW_PORTS), &only_ports);
    running.wait_until_said("run 1: 40 held of 60");
    running.wait_until_said("run 2 of ");
    running.signal(Signal::SIGINT);
    let ended = running.wait_at_most(PATIENCE);
    ended.expect_exit(130);
    assert!(
        ended.stderr.contains("to go on: c10k-lab tune ") && ended.stderr.contains(" --resume "),
        "{}",
        ended.stderr
    );
    let folder = ended.folder();
    let before = runs_below(&folder);
    assert!(!before.is_empty() && !ended.home().join("tuned-here.toml").exists());
    let home = ended.home().display().to_string();
    let again = Lab::new().after(&format!("cd {home}"));
    let results = ended.home().join("results").display().to_string();
    let again =
        again.command(&[&["tune", "--results", &results], &only_ports[..]].concat()).wait_at_most(PATIENCE);
    again.expect_exit(0);
    assert!(
        again.stderr.contains("going on with ") && again.stderr.contains("run 1: 40 held of 60"),
        "{}",
        again.stderr
    );
    let after = runs_below(&folder);
    assert!(before.iter().all(|run| after.contains(run)), "{before:?} {after:?}");
    assert!(ended.home().join("tuned-here.toml").is_file());
    let kept = document(&folder)["outcome"]["kept"].clone();
    assert_eq!(keys(&kept), ["net.ipv4.ip_local_port_range"]);
}

/// The records of all runs below a folder.
fn runs_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.path() {
            path if path.is_dir() => found.extend(runs_below(&path)),
            path if path.ends_with("record.json") => found.push(path),
            _ => {}
        }
    }
    found
}

#[test]
fn bad_input_is_refused_in_a_line_before_anything_is_made() {
    let table: [(&[&str], i32, &str); 10] = [
        (&["0"], 2, "0"),
        (&["60", "--only", "limits.nofil"], 2, "--only 'limits.nofil' is no setting that is tried"),
        (&["60", "--export", "yaml", "x"], 2, "--export 'yaml' is not known"),
        (&["60", "--profile", "nothing"], 2, "there is no profile `nothing`"),
        (&["60", "--verdict", "speed > 3"], 2, "speed"),
        (&["60", "--only", "net.core.somaxcon"], 3, "did you mean net.core.somaxconn?"),
        (
            &["60", "--out", "a.toml", "--export", "sysctl.d", "./a.toml"],
            2,
            "'a.toml' and './a.toml' are one file",
        ),
        (&["60", "--profile", "few.toml", "--out", "few.toml", "--force"], 2, "are one file"),
        (&["60", "--out", "no-such/my.toml"], 3, "has no folder 'no-such'"),
        (&["60", "--resume", "nowhere"], 2, "no tuning to go on with"),
    ];
    for (arguments, code, words) in table {
        let ended: Ended = start(Lab::new().with_file("few.toml", FEW_PORTS), arguments).wait();
        ended.expect_refused(code, &[words]);
    }
    // Root may write everywhere.
    if !nix::unistd::geteuid().is_root() {
        let ended = start(Lab::new(), &["60", "--out", "/my.toml"]).wait();
        ended.expect_refused(3, &["'/my.toml' cannot be written", "who may write in its folder"]);
    }
}

#[test]
fn how_long_it_would_take_is_told_without_a_run() {
    let ended = start(Lab::new(), &["60", "--check"]).wait();
    ended.expect_exit(0);
    assert!(ended.stdout.starts_with("about "), "{}", ended.stdout);
    ended.expect_nothing_left();
}
