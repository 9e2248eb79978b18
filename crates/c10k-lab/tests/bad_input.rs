//! What cannot be done is refused in one line with a hint, by its own exit code, and leaves nothing behind.

mod common;

use common::{Lab, lab, run_lab};

const BAD_TEXT: i32 = 2;
const HOST_CANNOT: i32 = 3;

/// Each row is refused with this exit code and all of these words.
#[track_caller]
fn all_refused(code: i32, rows: &[(&[&str], &[&str])]) {
    for (arguments, words) in rows {
        run_lab(arguments).expect_refused(code, words);
    }
}

/// A profile in a file is refused.
#[track_caller]
fn profile_refused(code: i32, text: &str, words: &[&str]) {
    let ended = Lab::new().with_file("p.toml", text).run(&["--target", "5", "--profile", "p.toml"]);
    ended.expect_refused(code, words);
}

/// A plan that is right.
const PLAN: &str = r#"schema_version = 1
profile = "tuned"
topology = "loopback"
protocol = "raw"
workload = "hold"
target = 5
verdicts = []
[server]
listen = ["127.0.0.1:9000"]
mode = "echo"
[load]
in_flight = 512
step_pause = "1s"
hold = "50ms"
connect_timeout = "5s"
probe_timeout = "5s"
probe_bytes = 64
probe = true
close = "fin"
"#;

/// A plan that was changed is refused.
#[track_caller]
fn plan_refused(code: i32, from: &str, to: &str, words: &[&str]) {
    assert!(PLAN.contains(from), "{from} is no part of the plan");
    let ended = Lab::new().with_file("plan.toml", &PLAN.replace(from, to)).run(&["plan.toml"]);
    ended.expect_refused(code, words);
}

#[test]
fn source_addresses_that_are_none_are_told_with_their_text() {
    all_refused(
        BAD_TEXT,
        &[
            (&["--ips", "1.2.3"], &["'1.2.3' is not a list of addresses", "192.168.1.200-230"]),
            (&["--ips", "localhost"], &["'localhost' is not a list of addresses"]),
            (&["--ips", ""], &["'' is not a list of addresses"]),
            (&["--ips", "127.0.0.9-3"], &["'127.0.0.9-3' is reversed", "127.0.0.3"]),
            (&["--ips", "10.0.0.0/8"], &["'10.0.0.0/8'", "65,536"]),
            (&["--ips", "::1"], &["::1 cannot reach 127.0.0.1:9000", "IPv6"]),
            (&["--ips", "127.0.0.1,::1"], &["::1 cannot reach 127.0.0.1:9000"]),
            (&["--ips", "0.0.0.0"], &["0.0.0.0"]),
            (&["--ips", "224.0.0.1"], &["224.0.0.1"]),
        ],
    );
}

#[test]
fn source_ports_that_are_none_are_told_with_their_text() {
    all_refused(
        BAD_TEXT,
        &[
            (&["--ports", "0-0"], &["'0-0' is not a range of ports", "1 to 65535"]),
            (&["--ports", "0"], &["'0' is not a range of ports"]),
            (&["--ports", "1024-70000"], &["'1024-70000' is not a range of ports"]),
            (&["--ports", "many"], &["'many' is not a range of ports"]),
            (&["--ports", "5000-4000"], &["'5000-4000' is reversed"]),
        ],
    );
}

#[test]
fn a_target_that_makes_no_sense_is_refused() {
    all_refused(
        BAD_TEXT,
        &[
            (&["--target", "0"], &["--target 0", "expected at least 1"]),
            (&["--target", "many"], &["'many' is not a count", "100k"]),
            (&["--target", "-5"], &["-5"]),
            (&["--target", "99999999999"], &["--target 99999999999", "4294967295"]),
            (&["--steps", "10x2", "--target", "7"], &["--target 7", "--steps 10x2", "20"]),
            (&["--steps", "10"], &["'10' is not a list of steps", "5000x4"]),
            (&["--max-connections", "0"], &["--max-connections 0", "expected at least 1"]),
        ],
    );
}

#[test]
fn a_target_beyond_what_the_sources_allow_is_told_with_what_is_missing() {
    let sources = ["--ips", "127.0.0.1", "--ports", "40000-40999", "--target"];
    let with = |target| [&sources[..], &[target]].concat();
    all_refused(
        HOST_CANNOT,
        &[
            (&with("1001"), &["allow 1,000 connections, 1,001 are wanted", "hint: 1 more source address "]),
            (&with("4500"), &["allow 1,000 connections, 4,500 are wanted", "hint: 4 more source addresses "]),
        ],
    );
    run_lab(&[&with("1000")[..], &["--hold", "50ms"]].concat()).expect_held(1000);
}

#[test]
fn flags_that_contradict_each_other_or_are_unknown_are_refused() {
    all_refused(
        BAD_TEXT,
        &[
            (&["--mode", "hold"], &["--mode hold", "--no-probe"]),
            (&["--mode", "shout"], &["'shout'", "echo"]),
            (&["--rate", "fast"], &["'fast' is not a rate", "5000/s"]),
            (&["--rate", "0/s"], &["'0/s' is not a rate"]),
            (&["--hold", "long"], &["'long'", "--hold"]),
            (&["--in-flight", "0"], &["'0'", "--in-flight"]),
            (&["--probe-bytes", "4"], &["'4'", "--probe-bytes"]),
            (&["--close", "softly"], &["'softly'", "fin"]),
            (&["--topology", "moon"], &["'moon'", "loopback"]),
            (&["--topology", "remote"], &["remote", "--control ADDRESS:PORT", "--ssh USER@HOST"]),
            (&["--colour", "red"], &["--colour"]),
        ],
    );
}

#[test]
fn a_verdict_that_cannot_be_read_is_refused_with_what_is_expected() {
    all_refused(
        BAD_TEXT,
        &[
            (
                &["--verdict", "speed > 3"],
                &["'speed > 3' is not a verdict: there is no metric 'speed'", "hint: the metrics are held,"],
            ),
            (&["--verdict", "echo_p95 > 3"], &["'3' is not a duration, such as 100ms"]),
            (&["--verdict", "ecoh_p999 <= 1ms"], &["hint: did you mean echo_p999?"]),
            (&["--verdict", "held"], &["'held' is not a verdict"]),
            (&["--verdict", ""], &["'' is not a verdict"]),
        ],
    );
}

#[test]
fn a_profile_that_cannot_be_understood_is_told_with_line_and_caret() {
    all_refused(
        BAD_TEXT,
        &[
            (&["--profile", "nosuch"], &["`nosuch`", "tuned", "c10k-lab profile list"]),
            (&["--profile", "./nosuch.toml"], &["./nosuch.toml", "No such file"]),
        ],
    );
    let head = "name = \"p\"\nsummary = \"s\"\n";
    profile_refused(
        BAD_TEXT,
        &format!("{head}[socket]\nbacklogg = 5\n"),
        &["p.toml", "line 4, column 1", "4 | backlogg = 5\n  | ^^^^^^^^", "unknown field `backlogg`"],
    );
    profile_refused(
        BAD_TEXT,
        &format!("{head}[socket]\nbacklog = \"many\"\n"),
        &["line 4", "^^^^^^", "many"],
    );
    profile_refused(
        BAD_TEXT,
        &format!("{head}[sysctl]\n\"net.ipv4.tcp_rmem\" = [1, \"a\", 3]\n"),
        &["line 4"],
    );
    profile_refused(BAD_TEXT, &format!("{head}extends = \"nobody\"\n"), &["`nobody`", "p.toml"]);
    profile_refused(BAD_TEXT, &format!("{head}extends = \"p.toml\"\n"), &["circle", "p.toml extends p.toml"]);
    profile_refused(BAD_TEXT, "", &["p.toml", "name"]);
}

#[test]
fn settings_that_this_kernel_does_not_have_are_listed() {
    let text = "name = \"p\"\nsummary = \"s\"\n[sysctl]\n\"net.ipv4.no_such\" = 5\n\"net.core.nor_this\" = \
                1\n\"net.core.somaxconn\" = 4096\n";
    profile_refused(HOST_CANNOT, text, &["net.ipv4.no_such", "net.core.nor_this", "optional = true"]);
}

#[test]
fn a_plan_that_is_not_right_is_told_with_its_place() {
    Lab::new().with_file("plan.toml", PLAN).run(&["plan.toml"]).expect_held(5);
    plan_refused(
        BAD_TEXT,
        "in_flight",
        "in_flightt",
        &["'plan.toml'", "line 12", "^^^^^^^^^^", "in_flightt"],
    );
    plan_refused(BAD_TEXT, "schema_version = 1", "schema_version = 7", &["'plan.toml'", "schema_version 7"]);
    plan_refused(BAD_TEXT, "schema_version = 1", "schema_version = 7\nnew = 1", &["schema_version 7"]);
    plan_refused(BAD_TEXT, "target = 5", "target = \"x\"", &["'plan.toml'", "line 6"]);
    plan_refused(BAD_TEXT, "target = 5", "target = 0", &["--target 0"]);
    plan_refused(BAD_TEXT, "[\"127.0.0.1:9000\"]", "[]", &["listen"]);
    plan_refused(
        BAD_TEXT,
        "in_flight = 512",
        "in_flight = 0",
        &["'plan.toml'", "load.in_flight = 0: expected 1"],
    );
    plan_refused(
        BAD_TEXT,
        "probe_bytes = 64",
        "probe_bytes = 7",
        &["load.probe_bytes = 7: expected 8 to 32768"],
    );
    plan_refused(
        BAD_TEXT,
        "connect_timeout = \"5s\"",
        "connect_timeout = \"2h\"",
        &["2h is longer", "at most 30m"],
    );
    plan_refused(BAD_TEXT, "mode = \"echo\"", "mode = \"echo\"\nworkers = 0", &["server.workers = 0"]);
    plan_refused(BAD_TEXT, "\"tuned\"", "\"nosuch\"", &["`nosuch`"]);
    plan_refused(BAD_TEXT, "schema_version", "[[[", &["'plan.toml'", "line 1"]);
    run_lab(&["./no/plan.toml"]).expect_refused(BAD_TEXT, &["'./no/plan.toml'", "No such file"]);
}

#[test]
fn a_results_folder_that_cannot_be_made_is_told_before_anything_runs() {
    let lab = Lab::new().with_file("taken", "a file");
    let path = lab.home().join("taken");
    let ended = lab.with_results(path.join("below")).run(&["--target", "5"]);
    ended.expect_refused(HOST_CANNOT, &["taken/below", "--results"]);
    assert_eq!(std::fs::read_to_string(ended.home().join("taken")).expect("still there"), "a file");

    let lab = Lab::new().with_file("taken", "a file");
    let path = lab.home().join("taken");
    let ended = lab.with_results(path).run(&["--target", "5"]);
    ended.expect_exit(HOST_CANNOT);
    assert!(ended.line("error: ").contains("taken"), "{}", ended.stderr);
}

#[test]
fn results_that_an_ordinary_user_may_not_write_are_told_before_anything_runs() {
    let lab = Lab::new().by_ordinary_user().after("mkdir -m 555 closed");
    let path = lab.home().join("closed/results");
    lab.with_results(path).run(&["--target", "5"]).expect_refused(HOST_CANNOT, &["closed/results", "denied"]);
}

#[test]
fn folders_that_were_there_stay_and_get_nothing_from_a_refused_run() {
    let lab = Lab::new().after("mkdir results");
    let ended = lab.run(&["--target", "10", "--ips", "127.0.0.1", "--ports", "40000"]);
    ended.expect_exit(HOST_CANNOT);
    assert_eq!(ended.folders(), [] as [std::path::PathBuf; 0]);
    assert!(ended.results.exists(), "it was there before");
}

#[test]
fn a_record_that_cannot_be_shown_is_told_with_its_path() {
    let words: &[(&str, &[&str])] =
        &[("nowhere", &["'nowhere", "No such file"]), ("text.json", &["'text.json'"])];
    for (path, words) in words {
        let ended =
            Lab::new().with_file("text.json", "{\"schema_version\": 9}").command(&["report", path]).wait();
        ended.expect_refused(BAD_TEXT, words);
    }
}

#[test]
fn a_command_that_is_none_is_refused() {
    lab(&["walk"]).expect_exit(BAD_TEXT);
    lab(&[]).expect_exit(BAD_TEXT);
}

#[test]
fn an_answer_that_cannot_be_written_is_told_and_is_no_success() {
    for command in [&["schema"][..], &["walls"], &["walls", "--json"]] {
        let full = std::fs::File::options().write(true).open("/dev/full").expect("a full device");
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_c10k-lab"))
            .args(command)
            .stdout(full)
            .output()
            .expect("the lab");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(4), "{command:?}: {stderr}");
        assert_eq!(stderr.matches("error: the output cannot be written").count(), 1, "{command:?}: {stderr}");
    }
}

#[test]
fn a_reader_that_is_gone_is_no_error() {
    for command in [&["schema"][..], &["walls", "--json"]] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_c10k-lab"))
            .args(command)
            .stdout(writer)
            .output()
            .expect("the lab");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{command:?}: {stderr}");
        assert!(!stderr.contains("error"), "{command:?}: {stderr}");
    }
}

#[test]
fn a_target_that_this_machine_is_known_not_to_hold_is_refused_in_a_line_unless_it_is_to_be_tried() {
    // Far beyond any memory, and beyond epoll's watches, which are a share of it.
    for target in ["1G", "4G"] {
        let ended = Lab::new().run(&["--target", target, "--hold", "100ms"]);
        ended
            .expect_refused(3, &[&format!("{target} does not fit: about "), "hint: --target ", "or --force"]);
        assert_eq!(ended.stderr.lines().count(), 2, "{}", ended.stderr);
    }
    Lab::new()
        .run(&["--target", "50", "--hold", "100ms", "--force", "--verdict", "echo_p95 <= 1h"])
        .expect_held(50);
}

#[test]
fn flags_of_another_host_are_refused_where_there_is_none() {
    all_refused(
        BAD_TEXT,
        &[
            (
                &["--token-file", "t"],
                &["--token-file is of a server on another host", "leave out --token-file"],
            ),
            (&["--any-build"], &["--any-build is of a server on another host", "--control ADDRESS:PORT"]),
            (&["--control-timeout", "9s"], &["--control-timeout is of a server on another host"]),
            (&["--control-timeout", "0s"], &["'0s' is no time to wait for an answer: expected 1s to 5m"]),
        ],
    );
}
