//! Climbs, scaled down by small limits, by the real program.

#![allow(clippy::print_stderr, reason = "a skipped test says so")]

mod common;

use std::path::PathBuf;

use common::{Ended, Lab, namespaces_allowed};
use nix::sys::signal::Signal;
use serde_json::Value;

/// A machine whose ranges and queues are small.
const TINY: &str = "name = \"tiny\"\nsummary = \"few ports\"\n[sysctl]\n\
                    \"net.ipv4.ip_local_port_range\" = [20000, 20599]\n";

/// The walls of the steps, in their order.
fn walls(document: &Value) -> Vec<&str> {
    let steps = document["steps"].as_array().expect("steps");
    steps.iter().filter_map(|step| step["wall"].as_str()).collect()
}

/// A lab that may have few descriptors in one table, climbing into a folder of its own.
fn climb(more: &[&str]) -> Ended {
    let lab = Lab::new().with_nofile(400).with_file("tiny.toml", TINY);
    let mut arguments = vec!["climb", "--json", "--start", "tiny.toml"];
    arguments.extend(more);
    lab.command(&arguments).wait()
}

#[test]
fn a_climb_meets_one_wall_after_another_and_its_profile_repeats_what_it_held() {
    if !namespaces_allowed("a climb") {
        return;
    }
    let ended = climb(&["--max", "1500"]);
    ended.expect_exit(0);
    let document = ended.document();
    assert_eq!(document["connections"]["held"], 1500, "{}", ended.stderr);
    let met = walls(&document);
    let place =
        |wall: &str| met.iter().position(|met| *met == wall).unwrap_or_else(|| panic!("{wall}: {met:?}"));
    assert!(place("nofile-swarm") < place("ports-exhausted"), "{met:?}");
    assert!(place("nofile-server") < place("ports-exhausted"), "{met:?}");
    for step in document["steps"].as_array().expect("steps") {
        assert!(step["off_by"].is_null() || step["off_by"] == 0, "{step}");
    }
    assert_eq!(document["check"]["held"], 1500);
    let climbed = PathBuf::from(document["climbed"].as_str().expect("a path"));
    let text = std::fs::read_to_string(ended.home().join(climbed)).expect("a profile");
    assert!(text.contains("# step") && text.contains("[1024, 65535]"), "{text}");
    let again = Lab::new().with_file("climbed.toml", &text).with_file("tiny.toml", TINY);
    let again = again.run(&["--profile", "climbed.toml", "--target", "1500", "--hold", "300ms", "--json"]);
    assert_eq!(again.document()["connections"]["held"], 1500, "{}", again.stderr);
}

#[test]
fn an_ordinary_user_climbs_too() {
    if !namespaces_allowed("a climb by an ordinary user") {
        return;
    }
    let lab = Lab::new().by_ordinary_user().with_nofile(400).with_file("tiny.toml", TINY);
    let ended = lab.command(&["climb", "--json", "--start", "tiny.toml", "--max", "1000"]).wait();
    assert_eq!(ended.document()["connections"]["held"], 1000, "{}", ended.stderr);
}

#[test]
fn a_climb_speaks_websocket_and_its_profile_repeats_it() {
    if !namespaces_allowed("a climb in WebSocket") {
        return;
    }
    let ended = climb(&["--max", "1000", "--protocol", "ws"]);
    ended.expect_exit(0);
    let document = ended.document();
    assert_eq!((&document["protocol"], &document["check"]["held"]), (&"ws".into(), &1000.into()));
    for step in document["steps"].as_array().expect("steps") {
        assert!(step["off_by"].is_null() || step["off_by"] == 0, "{step}");
    }
}

/// What a lift could not set is not in the profile, and the next way to lift is tried: more addresses.
#[test]
fn where_a_setting_cannot_be_made_the_wall_is_lifted_in_another_way() {
    if !namespaces_allowed("a climb that may make no namespace") {
        return;
    }
    let few = "ip link set lo up; echo 20000 20599 > /proc/sys/net/ipv4/ip_local_port_range
               echo 0 > /proc/sys/user/max_net_namespaces";
    let lab =
        Lab::new().with_nofile(4000).under(&["unshare", "--user", "--map-root-user", "--net"]).after(few);
    let ended = lab.command(&["climb", "--json", "--max", "1000"]).wait();
    ended.expect_exit(0);
    let document = ended.document();
    assert_eq!(document["connections"]["held"], 1000, "{}", ended.stderr);
    assert_eq!(walls(&document), ["ports-exhausted", "ports-exhausted"], "{}", ended.stderr);
    let climbed = PathBuf::from(document["climbed"].as_str().expect("a path"));
    let text = std::fs::read_to_string(ended.home().join(climbed)).expect("a profile");
    assert!(!text.contains("ip_local_port_range"), "{text}");
}

/// A control group (version 1) of a test's own; it goes with it.
struct Group(PathBuf);

impl Group {
    fn with_memory(bytes: u64) -> Option<Self> {
        let above = std::path::Path::new("/sys/fs/cgroup/memory");
        if !nix::unistd::geteuid().is_root() || !above.join("memory.limit_in_bytes").exists() {
            eprintln!("SKIPPED: it takes root and memory groups of version 1");
            return None;
        }
        let path = above.join(format!("c10k-climb-{}-{bytes}", std::process::id()));
        std::fs::create_dir(&path).expect("made");
        std::fs::write(path.join("memory.limit_in_bytes"), bytes.to_string()).expect("limited");
        Some(Self(path))
    }

    fn ooms(&self) -> String {
        let text = std::fs::read_to_string(self.0.join("memory.oom_control")).expect("read");
        text.lines().find(|line| line.starts_with("oom_kill ")).expect("a count").to_owned()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // The kernel lets go of the last process of a group a moment after its end (EBUSY).
        for _ in 0..100 {
            if std::fs::remove_dir(&self.0).is_ok() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }
}

#[test]
fn without_a_number_a_climb_ends_at_the_memory_above_its_reserve_and_nobody_is_killed() {
    // Of these 64 MiB are the reserve.
    let Some(group) = Group::with_memory(128 << 20) else { return };
    if !namespaces_allowed("a climb in a memory group") {
        return;
    }
    let ended = Lab::new()
        .after(&format!("echo $$ > {}/cgroup.procs", group.0.display()))
        .command(&["climb", "--json"]);
    let ended = ended.wait();
    assert_eq!(group.ooms(), "oom_kill 0", "{}", ended.stderr);
    ended.expect_exit(0);
    let document = ended.document();
    assert_eq!(document["wall"], "cgroup-memory", "{}", ended.stderr);
    let held = document["connections"]["held"].as_u64().expect("a number");
    assert!((2_000..14_000).contains(&held), "{held}");
    assert_eq!(document["check"]["held"], held, "{}", ended.stderr);
    let last = ended.stderr.lines().last().expect("words");
    assert!(last.starts_with("next: cgroup-memory") && last.contains("reserve of 64"), "{last}");
}

#[test]
fn a_climb_that_is_interrupted_within_a_step_keeps_it_and_leaves_nothing_behind() {
    if !namespaces_allowed("a climb interrupted within a step") {
        return;
    }
    let lab = Lab::new().with_nofile(400).with_file("tiny.toml", TINY);
    let running = lab.command(&["climb", "--json", "--start", "tiny.toml", "--max", "1500"]);
    let give_up = std::time::Instant::now() + common::PATIENCE;
    // The second step is under way once its record has begun.
    let begun = |home: &std::path::Path| {
        let steps = std::fs::read_dir(home.join("results")).ok()?.flatten().next()?.path().join("step-2");
        std::fs::read_dir(steps).ok()?.flatten().find(|run| run.path().join("record.partial.json").exists())
    };
    while begun(running.home()).is_none() {
        assert!(std::time::Instant::now() < give_up, "{}", running.stderr());
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    running.signal(Signal::SIGTERM);
    // It also waits until no process of it is left.
    let ended = running.wait();
    ended.expect_exit(143);
    let document = ended.document();
    assert!(document["ended_because"].as_str().expect("a reason").contains("SIGTERM"));
    assert_eq!(document["check"], Value::Null);
    assert!(!document["steps"].as_array().expect("steps").is_empty());
}

#[test]
fn a_climb_that_is_killed_has_kept_its_steps_and_its_processes_end_with_it() {
    if !namespaces_allowed("a climb that is killed") {
        return;
    }
    let lab = Lab::new().with_nofile(400).with_file("tiny.toml", TINY);
    let running = lab.command(&["climb", "--start", "tiny.toml", "--max", "1500"]);
    let give_up = std::time::Instant::now() + common::PATIENCE;
    while !running.stderr().contains("\n   2 ") {
        assert!(std::time::Instant::now() < give_up, "{}", running.stderr());
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    running.signal(Signal::SIGKILL);
    // It also waits until no process of it is left.
    let ended = running.wait();
    let mut folders = std::fs::read_dir(ended.home().join("results")).expect("results");
    let kept = folders.next().expect("a climb").expect("read").path().join("climb.json");
    let document: Value = serde_json::from_str(&std::fs::read_to_string(kept).expect("kept")).expect("JSON");
    assert_eq!(document["ended_because"], "unfinished");
    assert!(!walls(&document).is_empty(), "{document}");
}

#[test]
fn a_climb_that_is_interrupted_keeps_what_it_has() {
    if !namespaces_allowed("an interrupted climb") {
        return;
    }
    let lab = Lab::new().with_nofile(400).with_file("tiny.toml", TINY);
    let running = lab.command(&["climb", "--json", "--start", "tiny.toml", "--max", "1500"]);
    let give_up = std::time::Instant::now() + common::PATIENCE;
    while !running.stderr().contains("\n   1 ") {
        assert!(std::time::Instant::now() < give_up, "{}", running.stderr());
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    running.signal(Signal::SIGINT);
    let ended = running.wait();
    ended.expect_exit(130);
    let document = ended.document();
    assert!(!document["steps"].as_array().expect("steps").is_empty());
    assert!(document["ended_because"].as_str().expect("a reason").contains("SIGINT"));
    let folder = PathBuf::from(document["climbed"].as_str().expect("a path"));
    let kept = ended.home().join(folder.with_file_name("climb.json"));
    assert!(kept.exists(), "{}", kept.display());
}

#[test]
fn a_climb_that_cannot_write_or_is_asked_nonsense_does_not_begin() {
    let lab = Lab::new().with_file("results", "a file and no folder");
    lab.command(&["climb", "--max", "100"]).wait().expect_exit(3);
    Lab::new().command(&["climb", "--max", "0"]).wait().expect_exit(2);
    Lab::new().command(&["climb", "--start", "no-such-profile"]).wait().expect_exit(2);
}

#[test]
#[ignore = "a hundred thousand connections, several times"]
fn stress_a_climb_from_stock_holds_a_hundred_thousand() {
    let ended = Lab::new().command(&["climb", "--max", "100k", "--json"]).wait();
    ended.expect_exit(0);
    let document = ended.document();
    assert_eq!(document["connections"]["held"], 100_000, "{}", ended.stderr);
    assert_eq!(document["check"]["held"], 100_000, "{}", ended.stderr);
}
