//! The sum of the shards against the server's own count.

use super::*;

/// Merges three shards with this account of the server.
fn with_account(account: &serde_json::Value) -> Result<Merged, Fault> {
    let home = folder(&three());
    std::fs::write(home.path().join("server.json"), account.to_string()).expect("written");
    merge(home.path())
}

/// The server's own counts.
fn report(accepted: u64, peak: u64, open: u64) -> serde_json::Value {
    let report = c10k_record::ServerReport { accepted, peak, open, ..c10k_record::ServerReport::default() };
    serde_json::to_value(report).expect("plain data")
}

#[test]
fn the_sum_is_held_against_the_servers_own_count() {
    let same = with_account(&report(3000, 3000, 0)).expect("one run");
    assert_eq!((same.record.connections.accepted, same.record.connections.ghosts), (Some(3000), Some(0)));
    assert_eq!(
        (same.record.verdicts.len(), same.exit),
        (4, Exit::Done),
        "ghosts are judged where they are known"
    );
    let ghosts = with_account(&report(2990, 3000, 0)).expect("one run");
    assert_eq!((ghosts.record.connections.ghosts, ghosts.exit), (Some(10), Exit::Short));
    let more = with_account(&report(3010, 3000, 0)).expect("one run");
    assert_eq!(more.record.connections.ghosts, None);
    assert!(more.record.warnings.iter().any(|warning| warning.id == "ghosts-unknown"));
    let fewer = with_account(&report(3000, 2999, 0)).expect("one run");
    assert_eq!((fewer.record.state, fewer.exit), (RunState::Broken, Exit::Broke));
    assert!(headline(&fewer.record).1.contains("the server never had more than 2,999 open"));
}

#[test]
fn a_look_at_the_start_is_no_account_of_the_run() {
    let account = serde_json::json!({
        "format": "c10k-meeting/1", "run_id": "evening", "of": 3, "server": null,
        "looks": [{ "at": "start", "look": { "report": report(6, 6, 6) } }],
    });
    let merged = with_account(&account).expect("one run");
    assert_eq!((merged.record.state, merged.exit), (RunState::Complete, Exit::Done));
    let c = &merged.record.connections;
    assert_eq!((c.held, c.accepted, c.ghosts), (3000, None, None));
    let told = merged.record.warnings.iter().find(|warning| warning.id == "ghosts-unknown").expect("why");
    assert!(told.text.contains("no counts of after the beginning"), "{}", told.text);
}

#[test]
fn the_account_of_a_meeting_names_the_lost_and_is_refused_where_it_is_of_another_run() {
    let mut account = serde_json::json!({
        "format": "c10k-meeting/1", "run_id": "evening", "meeting": "m1", "of": 3,
        "lost": [{ "shard": 2, "why": "nothing was heard of it for 3 s", "at_unix_ns": 1 }],
        "looks": [{ "at": "all-proven", "look": { "report": report(2000, 2000, 2000) } }],
        "server": { "report": report(2000, 2000, 0) },
    });
    let home = folder(&[result(1), result(3)]);
    let path = home.path().join("server.json");
    let merge_with = |account: &serde_json::Value| {
        std::fs::write(&path, account.to_string()).expect("written");
        merge(home.path())
    };
    let record = merge_with(&account).expect("what is left").record;
    let told = "shard 2/3 was lost: it left no result; nothing was heard of it for 3 s";
    assert!(headline(&record).1.contains(told), "{}", headline(&record).1);
    assert_eq!(record.connections.accepted, Some(2000));
    account["looks"][0]["look"]["report"]["open"] = 1999.into();
    assert_eq!(merge_with(&account).expect("what is left").exit, Exit::Broke);
    for (key, value, told) in [
        ("of", serde_json::json!(4), "it is of 4 shards, and the results are of 3"),
        (
            "run_id",
            serde_json::json!("morning"),
            "it is of the run 'morning', and the results are of 'evening'",
        ),
    ] {
        let mut other = account.clone();
        other[key] = value;
        let fault = merge_with(&other).expect_err(told);
        assert!(fault.to_string().contains(told), "{fault}");
    }
    for text in ["{", "[]", "{}"] {
        std::fs::write(&path, text).expect("written");
        let fault = merge(home.path()).expect_err(text);
        assert!(matches!(fault, Fault::Account { .. }) && fault.exit() == Exit::Broke, "{fault}");
    }
}
