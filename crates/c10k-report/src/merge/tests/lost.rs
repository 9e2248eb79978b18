//! Shards that are not counted: what they held is lost, and all counts add up.

use super::*;

/// Of a row of failures its phase, outcome, count and first time, ms.
fn rows(record: &Record) -> Vec<(PhaseName, String, u64, u64)> {
    let row = |row: &Failure| (row.phase, row.outcome.name().to_owned(), row.count, row.first_at_ms);
    record.failures.iter().map(row).collect()
}

#[track_caller]
fn expect_two_of_three(record: &Record) {
    let c = &record.connections;
    assert_eq!((c.target, c.attempted, c.verified, c.held), (3000, 3000, Some(3000), 2000));
    assert_eq!(c.failed, [(Outcome::aborted(), 1000)].into());
    assert_eq!(record.broken_identity(), None);
    let shards = record.shards.as_ref().expect("shards");
    let parts: Vec<_> = shards.parts.iter().map(|part| (part.shard, part.held, part.failed)).collect();
    assert_eq!((shards.counted, parts), (2, vec![(1, 1000, 0), (2, 0, 1000), (3, 1000, 0)]));
}

#[test]
fn what_a_shard_held_that_broke_at_its_end_is_given_up_and_not_held() {
    let mut broken = result(2);
    broken.end = ShardEnd {
        how: HowEnded::Broke,
        why: Some("the rendezvous 10.0.0.5:9900 is gone".to_owned()),
        exit_code: 4,
    };
    let merged = merge(folder(&[result(1), broken, result(3)]).path()).expect("what is left");
    expect_two_of_three(&merged.record);
    assert_eq!(
        rows(&merged.record),
        [(PhaseName::Close, "aborted".to_owned(), 1000, 9700)],
        "by the time of all"
    );
    assert_eq!(merged.exit, Exit::Short);
    let told = "SHORT: held 2,000 of 3,000 by 2 of 3 shards; shard 2/3 was lost: the rendezvous 10.0.0.5:9900 is gone";
    assert!(headline(&merged.record).1.starts_with(told), "{}", headline(&merged.record).1);
}

#[test]
fn where_all_broke_the_run_broke() {
    let mut all = three();
    for result in &mut all {
        result.record.as_mut().expect("a record").state = RunState::Aborted;
        result.end = ShardEnd { how: HowEnded::Broke, why: Some("it is gone".to_owned()), exit_code: 4 };
    }
    let merged = merge(folder(&all).path()).expect("what is left");
    assert_eq!((merged.record.state, merged.exit), (RunState::Broken, Exit::Broke));
}

#[test]
fn what_is_given_up_is_one_row_with_what_was_given_up_before() {
    let mut stopped = result(2);
    let its = stopped.record.as_mut().expect("a record");
    (its.connections.held, its.state) = (700, RunState::Aborted);
    its.connections.add_failed(Outcome::aborted(), 300);
    its.phases.truncate(2);
    its.failures =
        vec![Failure { phase: PhaseName::Hold, outcome: Outcome::aborted(), count: 300, first_at_ms: 5000 }];
    stopped.end = ShardEnd { how: HowEnded::Stopped, why: None, exit_code: 143 };
    let record = merge(folder(&[result(1), stopped, result(3)]).path()).expect("what is left").record;
    expect_two_of_three(&record);
    assert_eq!(rows(&record), [(PhaseName::Hold, "aborted".to_owned(), 1000, 5200)]);
}

#[test]
fn one_that_the_server_took_for_lost_is_not_counted_although_it_held_alone() {
    let home = folder(&three());
    let account = serde_json::json!({
        "format": "c10k-meeting/1", "run_id": "evening", "meeting": "m1", "of": 3,
        "lost": [{ "shard": 2, "why": "nothing was heard of it for 3 s", "at_unix_ns": 1 }],
    });
    std::fs::write(home.path().join("server.json"), account.to_string()).expect("written");
    let merged = merge(home.path()).expect("what is left");
    expect_two_of_three(&merged.record);
    let told = "by 2 of 3 shards; shard 2/3 was lost: the others went on without it; nothing was heard of it for 3 s";
    assert!(headline(&merged.record).1.contains(told), "{}", headline(&merged.record).1);
}
