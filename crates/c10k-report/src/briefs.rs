//! The few lines at the end of a run, as they stand on a terminal of 80 columns.

use std::path::Path;

use c10k_record::{
    NotApplied, Predicted, Protocol, Record, RunState, Scope, Style, Warning, brief, headline_and_path,
};

use crate::fixtures;

fn shown_at(record: &Record, told: usize, width: usize) -> String {
    let path = Path::new("results/20260102T030405Z-tuned-raw-hold");
    let text = brief(record, Some(path), told, Style { width, color: false });
    for line in text.lines() {
        // A path and its command are one word each, which stands whole.
        let is_a_path = line.contains("results/") || line.contains("c10k-lab report");
        assert!(is_a_path && width < 80 || line.chars().count() <= width, "{width}: {line}");
    }
    text
}

fn shown(record: &Record) -> String {
    shown_at(record, 0, 80)
}

fn held() -> Record {
    let mut record = fixtures::held();
    let ahead =
        Predicted { connections: 2_745_755, wall: "epoll-watches".to_owned(), uncertainty_percent: 0 };
    record.wall_ahead = Some(ahead);
    record
}

#[test]
fn a_success_is_told_in_fifteen_lines_with_all_that_a_newcomer_needs() {
    let text = shown(&held());
    assert!((12..=15).contains(&text.lines().count()), "{text}");
    insta::assert_snapshot!("success", text);
}

#[test]
fn a_shortfall_names_its_wall_its_degree_its_evidence_and_what_lifts_it() {
    let mut record = fixtures::short();
    record.verdicts[2].passed = None;
    insta::assert_snapshot!("shortfall", shown(&record));
    let ceiling = record.ceiling.as_mut().expect("a wall");
    (ceiling.walls, ceiling.wall) = (Vec::new(), "unknown".to_owned());
    insta::assert_snapshot!("shortfall_unknown", shown(&record));
}

#[test]
fn an_aborted_run_is_not_judged() {
    insta::assert_snapshot!("aborted", shown(&fixtures::aborted()));
}

#[test]
fn a_broken_run_says_what_broke() {
    let mut record = fixtures::aborted();
    record.state = RunState::Broken;
    record.ended_because = Some("the server was killed by signal 9".to_owned());
    insta::assert_snapshot!("broken", shown(&record));
}

/// A run where no namespace may be made.
fn without_namespace() -> Record {
    let mut record = held();
    let why = "no network namespace could be made: EPERM";
    record.warnings = vec![Warning::new("not-isolated", why)];
    for n in 0..10 {
        record
            .warnings
            .push(Warning::new("profile-not-applied", format!("key{n} is 1 and was not set to 2")));
        record.profile.not_applied.push(NotApplied {
            key: format!("key{n}"),
            wanted: "2".to_owned(),
            present: Some("1".to_owned()),
            scope: Scope::Namespace,
            why: "the run has no namespace of its own".to_owned(),
            command: None,
        });
    }
    record
}

#[test]
fn a_success_without_a_namespace_is_told_in_twenty_lines_with_one_note() {
    let text = shown(&without_namespace());
    assert!(text.lines().count() <= 20, "{text}");
    insta::assert_snapshot!("no_namespace", text);
    let told = without_namespace().warnings.len();
    assert_eq!(
        shown_at(&without_namespace(), told, 80),
        shown(&held()),
        "what was said before is not said again"
    );
}

#[test]
fn of_another_s_server_only_what_is_known_is_told() {
    let mut record = held();
    (record.connections.accepted, record.connections.ghosts) = (None, None);
    (record.connections.verified, record.connections.at_server) = (None, None);
    let memory = &mut record.memory_per_connection;
    (memory.server_user_bytes, memory.server_kernel_bytes) = (None, None);
    record.wall_ahead = None;
    insta::assert_snapshot!("foreign", shown(&record));
}

#[test]
fn what_to_type_after_a_success_fits_the_server_and_what_was_done() {
    let next = |change: fn(&mut serde_json::Value)| {
        let mut plan = serde_json::json!({
            "schema_version": c10k_record::SCHEMA_VERSION, "profile": "stock", "topology": "loopback", "protocol": "raw",
            "workload": "hold", "target": 20_000, "verdicts": [], "load": c10k_record::LoadPlan::default(),
            "server": { "listen": ["127.0.0.1:9000"], "mode": "echo" },
        });
        change(&mut plan);
        let record = Record { plan: Some(serde_json::from_value(plan).expect("a plan")), ..held() };
        c10k_record::what_is_higher(&record, "results/a b").expect("something")
    };
    assert_eq!(next(|_| ()), "c10k-lab climb 200k");
    assert_eq!(next(|plan| plan["protocol"] = "ws".into()), "c10k-lab climb 200k --protocol ws");
    let again = "c10k-lab run 'results/a b' --target 40k";
    assert_eq!(next(|plan| plan["server"]["foreign"] = true.into()), again);
    assert_eq!(next(|plan| plan["topology"] = "remote".into()), again);
    assert_eq!(next(|plan| plan["workload"] = "echo".into()), again);
}

#[test]
fn a_websocket_run_tells_its_handshake() {
    let mut record = held();
    record.protocol = Protocol::Ws;
    record.latency_us.handshake = Some(record.latency_us.connect);
    insta::assert_snapshot!("websocket", shown(&record));
}

#[test]
fn it_fits_every_width() {
    for width in [40, 60, 80, 100] {
        for record in [held(), fixtures::short(), fixtures::aborted(), without_namespace()] {
            shown_at(&record, 0, width);
        }
    }
}

#[test]
fn headline_and_path_are_all_that_a_quiet_run_says() {
    let path = Path::new("results/a");
    let style = Style { width: 80, color: false };
    assert_eq!(headline_and_path(&held(), path, style), "HELD 100,000 of 100,000 connections\nresults/a");
}
