//! Searches for the most connections, scaled down by small limits, by the real program.

#![allow(clippy::print_stderr, reason = "a skipped test says so")]

mod common;

use common::{Ended, Lab, namespaces_allowed};
use nix::sys::signal::Signal;
use serde_json::Value;

/// A machine that is busy makes echoes late; how late is not what these look at.
const PATIENT: [&str; 8] =
    ["find", "--workload", "echo", "--messages", "5/s", "--verdict", "echo_p95 <= 100s", "--json"];

#[test]
fn it_finds_how_many_a_server_takes_and_names_what_stops_it() {
    if !namespaces_allowed("a search") {
        return;
    }
    let flags = ["--max", "320", "--max-connections", "150", "--repeat", "2", "--hold", "200ms"];
    let arguments = [&PATIENT[..], &flags, &["--probe-timeout", "2s"]].concat();
    let ended = Lab::new().command(&arguments).wait();
    ended.expect_exit(0);
    let document = ended.document();
    let searches = document["searches"].as_array().expect("both searches");
    assert_eq!(searches.len(), 2, "{document}");
    for held in searches {
        assert!((148..=150).contains(&held.as_u64().expect("a number")), "{document}");
    }
    let tried = document["tried"].as_array().expect("sizes");
    for size in tried {
        let connections = size["connections"].as_u64().expect("a number");
        assert_eq!(size["holds"], connections <= 150, "{size}");
        assert_eq!(size["open"], connections.min(150), "{size}");
        assert_eq!(size["worked"]["connections"], connections.min(150), "judged on its own numbers: {size}");
    }
    let beyond = &document["beyond"];
    assert_eq!(
        (&beyond["verdict"], &beyond["wall"]),
        (&"held = target".into(), &"server-max-connections".into())
    );
    let text = std::fs::read_to_string(ended.folder().join("find.json")).expect("find.json");
    assert_eq!(serde_json::from_str::<Value>(&text).expect("a document"), document);
    // One server has seen them all, and the record is one of the size beyond.
    assert_eq!(ended.folders().len(), 1);
    let record = c10k_record::read_record(&ended.folder()).expect("a record");
    assert_eq!(
        (record.connections.target, record.connections.held),
        (beyond["connections"].as_u64().unwrap_or(0), 150)
    );
    assert_eq!(record.work.len(), 1);
    assert!(record.connections.released > 0, "none was closed on the way from size to size");
}

#[test]
fn a_verdict_that_no_size_holds_ends_it_with_0_and_one_that_all_hold_with_the_most() {
    if !namespaces_allowed("a search") {
        return;
    }
    let with = |flags: &[&str]| {
        let arguments = [&PATIENT[..], &["--hold", "200ms", "--max", "40"], flags].concat();
        Lab::new().command(&arguments).wait()
    };
    let never = with(&["--verdict", "messages_per_second >= 1M"]);
    never.expect_exit(1);
    let document = never.document();
    assert_eq!(
        (&document["connections"]["median"], &document["beyond"]["connections"]),
        (&0.into(), &1.into())
    );
    assert_eq!(document["beyond"]["verdict"], "messages_per_second >= 1M");
    let always = with(&[]);
    always.expect_exit(0);
    let document = always.document();
    assert_eq!((&document["connections"]["median"], &document["beyond"]), (&40.into(), &Value::Null));
}

/// What lies in find.json.
#[track_caller]
fn on_disk(ended: &Ended) -> Value {
    let text = std::fs::read_to_string(ended.folder().join("find.json")).expect("find.json");
    serde_json::from_str(&text).expect("a document")
}

#[test]
fn a_signal_ends_it_and_what_was_tried_is_written() {
    if !namespaces_allowed("a search") {
        return;
    }
    let running = Lab::new().command(&[&PATIENT[..], &["--max", "320", "--hold", "500ms"]].concat());
    running.wait_until_said("search 1: 20 connections: holds");
    running.signal(Signal::SIGINT);
    let ended = running.wait();
    ended.expect_exit(130);
    let document = ended.document();
    assert_eq!((&document["connections"], &document["beyond"]), (&Value::Null, &Value::Null), "{document}");
    assert_eq!((&document["tried"][0]["connections"], &document["state"]), (&20.into(), &"aborted".into()));
    assert_eq!(on_disk(&ended), document);
}

#[test]
fn one_that_is_killed_leaves_what_it_tried() {
    if !namespaces_allowed("a search") {
        return;
    }
    let running = Lab::new().command(&[&PATIENT[..], &["--max", "320", "--hold", "500ms"]].concat());
    running.wait_until_said("search 1: 40 connections: holds");
    // The next is under way for half a second; what is written is whole at every moment.
    running.signal(Signal::SIGKILL);
    let ended = running.wait();
    let left = on_disk(&ended);
    assert_eq!(
        (&left["state"], &left["searches"]),
        (&"unfinished".into(), &Value::Array(Vec::new())),
        "{left}"
    );
    let tried: Vec<u64> = left["tried"].as_array().expect("tries").iter().filter_map(connections).collect();
    assert!(tried.starts_with(&[20, 40]), "{left}");
    assert!(left["ended_because"].as_str().is_some_and(|why| why.contains("the lab was killed")), "{left}");
    assert!(!ended.folder().join("record.json").exists());
}

fn connections(tried: &Value) -> Option<u64> {
    tried["connections"].as_u64()
}

/// A search for a rate that a busy machine does not make fail.
const RATE: [&str; 7] =
    ["find", "--workload", "echo", "--vary", "message-rate", "--verdict", "echo_p95 <= 1h"];

#[test]
fn it_finds_how_many_messages_a_second_the_verdicts_bear_on_a_fixed_number() {
    if !namespaces_allowed("a search") {
        return;
    }
    let flags = ["--target", "20", "--hold", "500ms", "--repeat", "2", "--json"];
    let verdict = ["--verdict", "messages_per_second <= 400"];
    let ended = Lab::new().command(&[&RATE[..], &flags, &verdict].concat()).wait();
    ended.expect_exit(0);
    let document = ended.document();
    assert_eq!((&document["vary"], &document["on_connections"]), (&"message-rate".into(), &20.into()));
    assert_eq!(document["connections"], Value::Null);
    // The phase is a little longer than it was to be, which makes the rate that is measured a little lower.
    let searches = document["searches"].as_array().expect("both searches");
    assert_eq!(searches.len(), 2, "{document}");
    assert!(
        searches.iter().all(|rate| rate.as_u64().is_some_and(|rate| (380..=600).contains(&rate))),
        "{document}"
    );
    for tried in document["tried"].as_array().expect("tries") {
        let rate = tried["per_second"].as_u64().expect("a rate");
        let intended = tried["worked"]["messages_intended"].as_u64().expect("an open loop");
        assert!(intended.abs_diff(rate / 2) <= 2 + rate / 50, "its own rate: {tried}");
        assert_eq!((&tried["connections"], &tried["open"]), (&20.into(), &20.into()), "{tried}");
    }
    let beyond = &document["beyond"];
    assert_eq!(beyond["verdict"], "messages_per_second <= 400", "{document}");
    assert_eq!(on_disk(&ended), document);
    // The record is one of the rate beyond.
    let record = c10k_record::read_record(&ended.folder()).expect("a record");
    let work = &record.plan.expect("its plan").work;
    assert_eq!(work.message_rate_per_second, beyond["per_second"].as_f64());
    assert_eq!((record.connections.target, record.connections.held, record.work.len()), (20, 20, 1));
    let said = &ended.line("FIND: ");
    assert!(said.contains(" messages/s on 20 connections ("), "{said}");
}

#[test]
fn a_rate_that_nobody_can_exchange_does_not_hold_whatever_the_verdicts_say() {
    if !namespaces_allowed("a search") {
        return;
    }
    let flags = ["--target", "4", "--hold", "200ms", "--server-workers", "1", "--workers", "1", "--json"];
    let ended = Lab::new().command(&[&RATE[..], &flags].concat()).wait();
    ended.expect_exit(0);
    let document = ended.document();
    let most = document["per_second"]["median"].as_u64().expect("a rate");
    assert!((4..4_000_000).contains(&most), "{document}");
    let tried = document["tried"].as_array().expect("tries");
    let beyond = &document["beyond"]["per_second"];
    let of_it = tried.iter().find(|tried| tried["per_second"] == *beyond).expect("a try at the rate beyond");
    assert_eq!(of_it["holds"], false, "{of_it}");
    assert!(of_it["missed"].as_u64() > Some(0), "{of_it}");
    assert!(of_it["worked"]["messages_never_sent"].as_u64() > Some(0), "{of_it}");
}

#[test]
fn it_finds_how_many_exchanges_a_second_are_borne() {
    if !namespaces_allowed("a search") {
        return;
    }
    let churn = ["find", "--workload", "churn", "--churn-close", "rst", "--vary", "churn", "--target", "40"];
    let flags = ["--hold", "1s", "--up-to", "80/s", "--json"];
    let ended = Lab::new().command(&[&churn[..], &flags].concat()).wait();
    ended.expect_exit(0);
    let document = ended.document();
    let found = document["per_second"]["median"].as_u64().expect("a rate");
    assert!((2..=80).contains(&found), "{document}");
    let first = &document["tried"][0];
    assert_eq!(first["per_second"], 2);
    assert!(first["worked"]["churn"]["reopened"].as_u64().is_some_and(|count| count <= 3), "{first}");
}

#[test]
fn what_it_cannot_search_is_refused() {
    let refused = |flags: &[&str], words: &[&str]| {
        Lab::new().command(&[&["find", "--max", "100"], flags].concat()).wait().expect_refused(2, words);
    };
    refused(&[], &["workload is hold", "--workload echo", "climb"]);
    refused(&["--workload", "echo", "--verdict", "ghosts = 0"], &["'ghosts = 0'", "each try"]);
    refused(&["--workload", "echo", "--verdict", "connect_p99 <= 1s"], &["'connect_p99 <= 1s'", "each try"]);
    refused(
        &["--workload", "echo", "--up-to", "5/s"],
        &["--up-to 5/s is of a rate", "--target says how many connections"],
    );
    let rate =
        |flags: &[&str], words: &[&str]| refused(&[&["--vary", "message-rate"], flags].concat(), words);
    rate(&[], &["--vary message-rate is a rate of the workload echo, and the workload is hold"]);
    rate(&["--workload", "churn"], &["the workload is churn", "add --workload echo"]);
    for (flag, value, told) in [
        ("--messages", "1/s", "--messages 1/s is given"),
        ("--message-rate", "50k/s", "--message-rate 50000/s is given"),
        ("--in-flight-messages", "64", "--in-flight-messages 64 is given"),
    ] {
        rate(&["--workload", "echo", flag, value], &[told, &format!("leave out {flag}")]);
    }
    rate(&["--workload", "echo", "--up-to", "0"], &["'0' is not a rate"]);
    let churn = ["--workload", "churn", "--vary", "churn", "--churn", "5/s"];
    refused(&churn, &["--vary churn chooses the rate", "--churn 5/s is given"]);
    refused(&["--vary", "bitrate", "--workload", "stream"], &["'bitrate'", "--vary"]);
    let without_a_number = ["find", "--workload", "echo", "--vary", "message-rate"];
    let words = ["fixed number of connections, and none is named", "--target 10k"];
    Lab::new().command(&without_a_number).wait().expect_refused(2, &words);
    let of_a_file = Lab::new().with_file("my.toml", "workload = \"echo\"\nmessages = 3\ntarget = 9\n");
    let words = ["--messages 3/s is given"];
    of_a_file.command(&["find", "my.toml", "--vary", "message-rate"]).wait().expect_refused(2, &words);
}
