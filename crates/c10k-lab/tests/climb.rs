//! Climbs, scaled down by small limits, by the real program.

#![allow(clippy::print_stderr, reason = "a skipped test says so")]

mod common;

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use c10k_profile::{NofileLimit, Profile, SocketOptions};
use common::{Ended, Lab, PATIENCE, namespaces_allowed};
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

/// What a step held; below a thousand it is written as people write it.
#[track_caller]
fn held_in(step: usize, document: &Value) -> u64 {
    document["steps"][step - 1]["held"].as_u64().expect("a number")
}

/// The text of its climbed.toml.
#[track_caller]
fn climbed(ended: &Ended, document: &Value) -> String {
    let path = ended.home().join(document["climbed"].as_str().expect("a path"));
    std::fs::read_to_string(path).expect("a profile")
}

/// How many connections the check of a climb holds when `lab` carries it out once more, on the same terms and with
/// another profile.
#[track_caller]
fn checked_with(profile: &str, lab: Lab, ended: &Ended, document: &Value) -> u64 {
    let folder = ended.home().join(document["check"]["folder"].as_str().expect("a path"));
    let mut runs = std::fs::read_dir(folder).expect("its run").flatten();
    let record = c10k_record::read_record(&runs.next().expect("a run").path()).expect("a record");
    let mut words = record.command.into_iter().skip(1).collect::<Vec<String>>();
    for (flag, value) in [("--profile", profile), ("--results", "results")] {
        let at = words.iter().position(|word| word == flag).expect("it has the flag");
        words[at + 1] = value.to_owned();
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let again = lab.command(&words).wait();
    again.document()["connections"]["held"].as_u64().expect("a number")
}

/// The words of a line as a shell reads them.
#[track_caller]
fn words_of(line: &str) -> Vec<String> {
    let script = format!("for word in {line}; do printf '%s\\n' \"$word\"; done");
    let read = std::process::Command::new("sh").args(["-c", &script]).output().expect("a shell");
    assert!(read.status.success(), "{line}");
    String::from_utf8(read.stdout).expect("text").lines().map(str::to_owned).collect()
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
    let text = climbed(&ended, &document);
    let lab = || Lab::new().with_nofile(400).with_file("climbed.toml", &text).with_file("tiny.toml", TINY);
    assert_eq!(checked_with("climbed.toml", lab(), &ended, &document), 1500);
    let without = checked_with("tiny.toml", lab(), &ended, &document);
    assert!((1..1500).contains(&without), "what was lifted was not needed: {without}");
    let again = Lab::new().with_file("alone.toml", &text);
    let again = again.run(&["--profile", "alone.toml", "--target", "1500", "--hold", "300ms", "--json"]);
    assert_eq!(again.document()["connections"]["held"], 1500, "{}", again.stderr);
}

#[test]
fn the_profile_of_a_climb_has_what_was_lifted_with_its_step_and_nothing_else() {
    if !namespaces_allowed("a climb from a soft limit") {
        return;
    }
    let lab = || Lab::new().after("ulimit -Sn 256; ulimit -Hn 400");
    let ended = lab().command(&["climb", "--json", "--max", "350"]).wait();
    ended.expect_exit(0);
    let document = ended.document();
    // Of its table the server keeps more for itself than the swarm does of its own.
    assert_eq!(walls(&document), ["nofile-server", "nofile-swarm"], "{}", ended.stderr);
    let text = climbed(&ended, &document);
    let profile = Profile::from_text(&text).expect("a profile");
    assert_eq!(profile.limits.nofile, Some(NofileLimit::Hard), "{text}");
    assert!(profile.sysctl.is_empty() && profile.socket == SocketOptions::default(), "{text}");
    let held = held_in(2, &document);
    let reason = format!("# step 2: nofile-swarm at {held} connections\nnofile = \"hard\"");
    assert!(text.contains(&reason) && text.matches('#').count() == 1, "{text}");
    assert_eq!(document["check"]["held"], 350);
    let lab = || lab().with_file("climbed.toml", &text);
    assert_eq!(checked_with("climbed.toml", lab(), &ended, &document), 350);
    // The lab's own server and swarm go up to the hard limit by themselves: what the check keeps from them is in its
    // stage, which follows from the profile that it checks.
    let stock = lab().command(&["climb", "--json", "--max", "350", "--start", "climbed.toml"]).wait();
    assert_eq!(walls(&stock.document()), [""; 0], "from there nothing is left to lift: {}", stock.stderr);
}

#[test]
fn what_no_profile_carries_stands_in_it_as_words_with_its_step_and_flag() {
    if !namespaces_allowed("a climb to more tables") {
        return;
    }
    let lab = || Lab::new().after("ulimit -Sn 256; ulimit -Hn 400");
    let ended = lab().command(&["climb", "--json", "--max", "500"]).wait();
    ended.expect_exit(0);
    let document = ended.document();
    let met = walls(&document);
    assert_eq!(met.len(), 4, "{}", ended.stderr);
    let text = climbed(&ended, &document);
    // Both ends have one limit: which of them meets it first is chance.
    let is_server_first = met[2] == "nofile-server";
    let ends = if is_server_first { ["server", "swarm"] } else { ["swarm", "server"] };
    for (step, end) in (3..).zip(ends) {
        let held = held_in(step, &document);
        let words = format!("a descriptor table for each worker of c10k-{end}: no --one-table");
        let line = format!("\n# step {step}: nofile-{end} at {held} connections: {words}\n");
        assert!(text.contains(&line), "no {line} in {text}");
    }
    assert!(text.contains("nofile = \"hard\""), "{text}");
    let again = lab().with_file("climbed.toml", &text);
    let again = again.run(&["--profile", "climbed.toml", "--target", "500", "--hold", "300ms", "--json"]);
    assert_eq!(again.document()["connections"]["held"], 500, "{}", again.stderr);
}

#[test]
fn the_last_lines_of_a_climb_can_be_pasted() {
    if !namespaces_allowed("a climb with a next wall") {
        return;
    }
    let lab = Lab::new().with_nofile(400).with_file("tiny.toml", TINY);
    // A folder whose name a shell must be given between quotes.
    let arguments = ["climb", "--json", "--start", "tiny.toml", "--max", "700", "--results", "it's results"];
    let ended = lab.command(&arguments).wait();
    ended.expect_exit(0);
    let document = ended.document();
    let commands = document["next"]["commands"].as_array().expect("commands");
    let commands: Vec<&str> = commands.iter().map(|command| command.as_str().expect("a line")).collect();
    let is_root = nix::unistd::geteuid().is_root();
    assert!(!commands.is_empty() && commands.iter().all(|line| !is_root || !line.contains("sudo ")));
    let between = if document["next"]["any_suffices"] == true { "\nor\n  " } else { "\n  " };
    let block = format!("\n  {}\n", commands.join(between));
    assert!(ended.stderr.ends_with(&block), "no {block} in {}", ended.stderr);
    assert!(!commands.concat().contains("&&") && !commands.concat().contains("profile.toml"), "{commands:?}");
    let Some(run) = commands.iter().find(|line| line.starts_with("c10k-lab run ")) else {
        // What an ordinary user meets next is the host's.
        assert!(!is_root, "{commands:?}");
        return;
    };
    // From another folder, and with fewer connections than it is for.
    let words = words_of(run);
    let mut words: Vec<&str> = words.iter().map(String::as_str).skip(1).collect();
    let target = words.iter().position(|word| *word == "--target").expect("a target");
    words[target + 1] = "50";
    words.extend(["--hold", "300ms", "--json"]);
    let again = Lab::new().command(&words).wait();
    assert_eq!(again.document()["connections"]["held"], 50, "{run}\n{}", again.stderr);
}

/// Starts a climb, does `harm` to its folder after the first step, and asserts that what it found is printed all the
/// same, with a hint of these words.
#[track_caller]
fn expect_told_in_spite_of(harm: fn(&Path), lab: Lab, hint: &str) {
    let lab = lab.with_nofile(400).with_file("tiny.toml", TINY);
    let running = lab.command(&["climb", "--json", "--start", "tiny.toml", "--max", "1500"]);
    running.wait_until_said("\n   1 ");
    let mut folders = std::fs::read_dir(running.home().join("results")).expect("results").flatten();
    harm(&folders.next().expect("a climb").path());
    let ended = running.wait();
    ended.expect_exit(4);
    let document = ended.document();
    assert!(!document["steps"].as_array().expect("steps").is_empty(), "{document}");
    assert_eq!(document["check"], Value::Null);
    assert!(ended.line("hint: ").contains(hint), "{}", ended.stderr);
    assert!(ended.line("SHORT: climbed to ").contains(" of 1,500 connections "), "{}", ended.stderr);
}

#[test]
fn a_climb_whose_folder_goes_away_or_is_closed_still_prints_what_it_found() {
    if !namespaces_allowed("a climb whose folder goes away") {
        return;
    }
    let moved: fn(&Path) = |folder| {
        std::fs::rename(folder, folder.with_file_name("elsewhere")).expect("moved");
    };
    expect_told_in_spite_of(moved, Lab::new(), "removed or moved");
    let closed: fn(&Path) = |folder| {
        std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o555)).expect("closed");
    };
    // Root would write there all the same.
    expect_told_in_spite_of(closed, Lab::new().by_ordinary_user(), "let this user write");
}

/// Real, effective, saved.
fn users(pid: u32) -> Vec<String> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it lives");
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:")).expect("a line");
    line.split_whitespace().take(3).map(str::to_owned).collect()
}

/// Where the other user is not known, as in a user namespace of one's own, the climb hears that its lift is refused.
#[test]
fn a_swarm_that_cannot_be_counted_for_another_user_is_refused() {
    if !namespaces_allowed("a swarm that cannot be counted for another user") {
        return;
    }
    let staged = ["--stage", "{\"watches_apart\":true}", "--profile", "stock", "--target", "30"];
    let lab = Lab::new().under(&["unshare", "--user", "--map-root-user"]);
    lab.run(&staged).expect_refused(3, &["cannot be counted as user 65534"]);
}

#[test]
fn a_swarm_that_is_counted_for_another_user_holds_and_is_led_like_any_other() {
    if !nix::unistd::geteuid().is_root() || !namespaces_allowed("a swarm counted for another user") {
        eprintln!("SKIPPED: a swarm is counted for another user by root alone");
        return;
    }
    let staged = ["--stage", "{\"watches_apart\":true}", "--profile", "stock", "--target", "300"];
    let start = |hold| Lab::new().start(&[&staged[..], &["--hold", hold]].concat());
    let mut running = start("3s");
    running.wait_for_hold(300);
    assert_eq!(users(running.swarm().pid), ["65534", "0", "0"]);
    assert_eq!(users(running.server().pid), ["0", "0", "0"]);
    let own = std::fs::read_link("/proc/self/ns/net").expect("a namespace");
    assert_ne!(running.swarm().network.as_deref(), own.to_str());
    let ended = running.wait();
    let record = ended.expect_held(300);
    assert!(record.host.expect("a host").limits.watches_apart);
    assert_eq!(ended.logged("connect"), 300);
    let c = record.memory_per_connection;
    assert!(c.client_user_bytes.is_some() && record.cpu.swarm_us_per_connection.is_some(), "it can be read");
    // It ends with its lab, which waiting for it makes sure of, and by the lab's word.
    for (signal, code) in [(Signal::SIGKILL, None), (Signal::SIGTERM, Some(143))] {
        let mut running = start("1m");
        running.wait_for_hold(300);
        running.signal(signal);
        assert_eq!(running.wait().status.code(), code);
    }
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
    let text = climbed(&ended, &document);
    assert!(!text.contains("ip_local_port_range"), "{text}");
    let held = held_in(2, &document);
    let line = format!("\n# step 2: ports-exhausted at {held} connections: --ips 127.0.0.1-127.0.0.2\n");
    assert!(text.contains(&line), "no {line} in {text}");
}

#[test]
fn a_climb_that_is_interrupted_within_a_step_keeps_it_and_leaves_nothing_behind() {
    if !namespaces_allowed("a climb interrupted within a step") {
        return;
    }
    let lab = Lab::new().with_nofile(400).with_file("tiny.toml", TINY);
    let running = lab.command(&["climb", "--json", "--start", "tiny.toml", "--max", "1500"]);
    let give_up = Instant::now() + PATIENCE;
    // The second step is under way once its record has begun.
    let begun = |home: &Path| {
        let steps = std::fs::read_dir(home.join("results")).ok()?.flatten().next()?.path().join("step-2");
        std::fs::read_dir(steps).ok()?.flatten().find(|run| run.path().join("record.partial.json").exists())
    };
    while begun(running.home()).is_none() {
        assert!(Instant::now() < give_up, "{}", running.stderr());
        std::thread::sleep(Duration::from_millis(5));
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
    running.wait_until_said("\n   2 ");
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
    running.wait_until_said("\n   1 ");
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
    for (max, words) in [("0", "holds nothing"), ("5000M", "at most 4294967295")] {
        Lab::new().command(&["climb", "--max", max]).wait().expect_refused(2, &[words]);
    }
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
