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
