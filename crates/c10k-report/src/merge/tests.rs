//! Sets of results: what adds up, and each fault by its name.

use std::path::Path;

use c10k_record::control::{Build, Offset};
use c10k_record::shard::{
    HowEnded, SHARD_FORMAT, Shard, ShardEnd, ShardHost, ShardIps, ShardResult, SourceRange, StoredHistogram,
};
use c10k_record::{
    Condition, Failure, HistogramBounds, LatencyHistogram, LoadPlan, Outcome, PhaseName, PhaseTimes, Plan,
    Protocol, RunResult, SCHEMA_VERSION, ServerMode, ServerPlan, Span, Tool, Topology, WorkPlan, Workload,
    default_conditions, headline, write_shard_result,
};
use tempfile::TempDir;

use super::*;

mod held_against;
mod lost;

const SECOND_NS: u64 = 1_000_000_000;
/// When the first of them begins, ns since 1970.
const BEGIN_NS: u64 = 1_800_000_000 * SECOND_NS;

fn plan() -> Plan {
    Plan {
        schema_version: SCHEMA_VERSION,
        profile: "stock".to_owned(),
        topology: Topology::Remote,
        protocol: Protocol::Raw,
        workload: Workload::Hold,
        target: 3000,
        verdicts: default_conditions(true),
        server: ServerPlan {
            listen: vec!["127.0.0.1:9000".parse().expect("an address")],
            mode: ServerMode::Echo,
            workers: None,
            max_connections: None,
            foreign: true,
            control: None,
            reached_at: Vec::new(),
            ssh: None,
        },
        load: LoadPlan::default(),
        work: WorkPlan::default(),
        phases: Vec::new(),
    }
}

/// The samples of a shard, µs: the middle one is the slowest.
fn samples(index: u32) -> impl Iterator<Item = u64> {
    let slow = if index == 2 { 7 } else { 1 };
    (0..1000).map(move |n| 200 + n * n % 977 * slow)
}

fn histogram(all_us: impl IntoIterator<Item = u64>) -> LatencyHistogram {
    let mut measured = LatencyHistogram::default();
    all_us.into_iter().for_each(|us| measured.record_us(us));
    measured
}

fn record(index: u32) -> Record {
    let tool = Tool { name: "c10k-swarm".to_owned(), version: "0".to_owned() };
    let mut record =
        Record::begun(tool, "evening".to_owned(), Topology::Remote, Protocol::Raw, Workload::Hold);
    let c = &mut record.connections;
    (c.target, c.attempted, c.established, c.verified, c.held) = (1000, 1000, 1000, Some(1000), 1000);
    record.phases = [
        (PhaseName::Ramp, 0, 1000),
        (PhaseName::Hold, 1000, 9000),
        (PhaseName::Verify, 9000, 9500),
        (PhaseName::Close, 9500, 9900),
    ]
    .map(|(phase, from_ms, to)| PhaseTimes { phase, from_ms, to_ms: Some(to) })
    .to_vec();
    record.rate.connects_per_second.mean = Some(1000.0);
    record.memory_per_connection.connections = Some(1000);
    record.memory_per_connection.client_user_bytes = Some(f64::from(index) * 10.0);
    record.latency_us.echo = histogram(samples(index)).summary();
    record.end(RunState::Complete);
    record
}

fn result(index: u32) -> ShardResult {
    let shard = Shard::new(index, 3).expect("a shard");
    ShardResult {
        format: SHARD_FORMAT.to_owned(),
        run_id: "evening".to_owned(),
        shard,
        attempt: 1,
        meeting: None,
        build: Build { version: "1".to_owned(), ..Build::default() },
        host: ShardHost {
            name: format!("box{index}"),
            boot_id: format!("boot{index}"),
            pid: index,
            ..ShardHost::default()
        },
        limits: None,
        // The clocks differ by hours; the first connects lie 200 ms apart by the server's.
        clock: vec![Offset {
            offset_ns: i64::from(index) * -3600 * SECOND_NS as i64,
            round_trip_ns: 400_000,
            at_unix_ns: BEGIN_NS,
            tries: 8,
        }],
        plan: Some(plan()),
        ips: ShardIps::Divide,
        sources: SourceRange::of(&[format!("127.0.0.{index}").parse().expect("an address")]),
        started_unix_ns: BEGIN_NS,
        first_connect_unix_ns: Some(
            BEGIN_NS + u64::from(index) * 3600 * SECOND_NS + u64::from(index - 1) * SECOND_NS / 5,
        ),
        ended_unix_ns: BEGIN_NS + 11 * SECOND_NS,
        record: Some(Box::new(record(index))),
        histograms: vec![StoredHistogram::of("echo", &histogram(samples(index)))],
        rendezvous: None,
        end: ShardEnd { how: HowEnded::Held, why: None, exit_code: 0 },
    }
}

/// A folder with these results.
fn folder(results: &[ShardResult]) -> TempDir {
    let home = TempDir::new().expect("a folder");
    for result in results {
        write_shard_result(home.path(), result).expect("written");
    }
    home
}

fn three() -> Vec<ShardResult> {
    vec![result(1), result(2), result(3)]
}

fn merge(folder: &Path) -> Result<Merged, Fault> {
    merged(folder, Wanted::default(), &[])
}

fn conditions(texts: &[&str]) -> Vec<Condition> {
    texts.iter().map(|text| text.parse().expect("a condition")).collect()
}

/// Merges what `change` has made of three results, and expects a fault that says `told`.
#[track_caller]
fn expect_fault(told: &str, exit: Exit, change: impl FnOnce(&mut Vec<ShardResult>)) {
    let mut results = three();
    change(&mut results);
    let fault = merge(folder(&results).path()).expect_err(told);
    assert!(fault.to_string().contains(told), "expected '{told}': {fault}");
    assert!(!fault.hint().is_empty());
    assert_eq!(fault.exit(), exit, "{fault}");
}

#[test]
fn the_sum_of_three_shards_is_one_run_with_one_verdict() {
    let Merged { record, exit, .. } = merge(folder(&three()).path()).expect("one run");
    let c = &record.connections;
    assert_eq!(
        (c.target, c.attempted, c.established, c.verified, c.held),
        (3000, 3000, 3000, Some(3000), 3000)
    );
    assert_eq!((record.broken_identity(), exit), (None, Exit::Done));
    assert!(
        record.verdicts.len() == 3 && record.verdicts.iter().all(c10k_record::Verdict::holds),
        "{:?}",
        record.verdicts
    );
    assert_eq!(headline(&record).1, "HELD 3,000 of 3,000 by 3 of 3 shards");
    let shards = record.shards.expect("shards");
    assert_eq!((shards.counted, shards.clock_error_us), (3, Some(200)));
    // From the end of the last ramp, 1.4 s after the first connect, to the first close.
    assert_eq!(shards.together_ms, Some(9500 - 1400));
    let begun: Vec<_> = shards.parts.iter().map(|part| part.began_after_ms).collect();
    assert_eq!(begun, [Some(0), Some(200), Some(400)]);
    let ramp = record.phases[0];
    assert_eq!((ramp.from_ms, ramp.to_ms), (0, Some(1400)));
    assert_eq!(record.memory_per_connection.client_user_bytes, Some(20.0));
    // 3,000 in the 1.4 s from the first connect to the last that was verified.
    let mean = record.rate.connects_per_second.mean.expect("a rate");
    assert!((mean - 3000.0 / 1.4).abs() < 0.01, "{mean}");
}

#[test]
fn percentiles_are_those_of_one_run_over_the_same_samples_and_verdicts_are_judged_on_them() {
    let home = folder(&three());
    let whole = histogram((1..=3).flat_map(samples)).summary();
    let each: Vec<_> = (1..=3).map(|index| histogram(samples(index)).summary()).collect();
    let record = merge(home.path()).expect("one run").record;
    assert_eq!(record.latency_us.echo, whole);
    let mean = each.iter().filter_map(|summary| summary.p95).sum::<u64>() / 3;
    assert_ne!(whole.p95, Some(mean), "the samples would not tell a mean of percentiles from a percentile");
    // Between the 95th percentile of the slowest shard alone and that of all.
    let (own, all) = (each[1].p95.expect("measured"), whole.p95.expect("measured"));
    assert!(all < own);
    let asked = conditions(&[&format!("echo_p95 <= {}us", (own + all) / 2)]);
    let of_all = merged(home.path(), Wanted::default(), &asked).expect("one run");
    assert_eq!((of_all.exit, of_all.record.verdicts.len()), (Exit::Done, 3));
    let strict = conditions(&[&format!("echo_p95 <= {}us", all - 50)]);
    let broken = merged(home.path(), Wanted::default(), &strict).expect("one run");
    assert_eq!((broken.record.result(), broken.exit), (RunResult::VerdictBroken, Exit::Short));
}

#[test]
fn a_shard_that_left_no_result_is_named_and_nothing_is_made_up_for_it() {
    let home = folder(&[result(1), result(3)]);
    let Merged { record, exit, .. } = merge(home.path()).expect("what is left");
    assert_eq!((record.connections.target, record.connections.held, exit), (3000, 2000, Exit::Short));
    let told = "SHORT: held 2,000 of 3,000 by 2 of 3 shards; shard 2/3 was lost: it left no result; no wall was named";
    assert_eq!(headline(&record).1, told);
    assert_eq!(record.latency_us.echo, histogram(samples(1).chain(samples(3))).summary());
}

#[test]
fn a_shard_that_was_stopped_holds_nothing_and_what_it_tried_counts() {
    let mut stopped = result(2);
    let its = stopped.record.as_mut().expect("a record");
    its.connections.held = 0;
    its.connections.add_failed(Outcome::aborted(), 1000);
    its.failures =
        vec![Failure { phase: PhaseName::Hold, outcome: Outcome::aborted(), count: 1000, first_at_ms: 5000 }];
    its.state = RunState::Aborted;
    stopped.end =
        ShardEnd { how: HowEnded::Stopped, why: Some("stopped by SIGTERM".to_owned()), exit_code: 143 };
    let merged = merge(folder(&[result(1), stopped.clone(), result(3)]).path()).expect("what is left");
    let record = merged.record;
    assert_eq!((record.connections.attempted, record.connections.held), (3000, 2000));
    assert_eq!((record.broken_identity(), merged.exit), (None, Exit::Short));
    assert_eq!(record.failures[0].first_at_ms, 5200, "by the time of all");
    assert!(headline(&record).1.contains("by 2 of 3 shards; shard 2/3 was lost: stopped by SIGTERM"));
    // All of them: the run was stopped, and is not judged.
    let all: Vec<ShardResult> = (1..=3)
        .map(|index| ShardResult { shard: Shard::new(index, 3).expect("a shard"), ..stopped.clone() })
        .collect();
    let merged = merge(folder(&all).path()).expect("a run that was stopped");
    assert_eq!((merged.record.state, merged.exit), (RunState::Aborted, Exit::Terminated));
    assert!(merged.record.verdicts.iter().all(|verdict| verdict.passed.is_none()));
    // Stopped because another was lost: no signal came.
    let told: Vec<ShardResult> = all
        .into_iter()
        .map(|mut result| {
            result.end.exit_code = 1;
            result
        })
        .collect();
    assert_eq!(merge(folder(&told).path()).expect("a run that failed").exit, Exit::Short);
}

#[test]
fn what_is_no_set_of_results_is_named() {
    let home = TempDir::new().expect("a folder");
    let told = |path: &Path| merge(path).expect_err("no results");
    let empty = told(home.path());
    assert!(
        empty.to_string().contains("holds no result of a shard") && empty.to_string().contains("it is empty")
    );
    assert_eq!(empty.exit(), Exit::BadText);
    std::fs::write(home.path().join("notes.txt"), "x").expect("written");
    assert!(told(home.path()).to_string().contains("it holds notes.txt"));
    let gone = told(&home.path().join("gone"));
    assert!(matches!(gone, Fault::Folder(_)) && gone.exit() == Exit::BadText, "{gone}");
    assert!(matches!(told(&home.path().join("notes.txt")), Fault::Folder(_)));
}

#[test]
fn a_result_that_is_cut_or_unreadable_is_named_and_so_is_each_of_several() {
    for length in [0, 10, 500] {
        let home = folder(&three());
        for index in [1, 3] {
            let path = home.path().join(format!("shard-{index}-of-3.json"));
            let whole = std::fs::read(&path).expect("read");
            std::fs::write(&path, &whole[..length]).expect("cut");
        }
        let fault = merge(home.path()).expect_err("cut");
        let text = fault.to_string();
        assert!(text.contains("shard-1-of-3.json") && text.contains("shard-3-of-3.json"), "{text}");
        assert_eq!(fault.exit(), Exit::Broke);
    }
    let home = folder(&three());
    let path = home.path().join("shard-2-of-3.json");
    std::fs::remove_file(&path).expect("removed");
    std::fs::create_dir(&path).expect("a folder in its place");
    let fault = merge(home.path()).expect_err("a folder");
    assert!(fault.to_string().contains("cannot read") && fault.exit() == Exit::Broke, "{fault}");
}

#[test]
fn results_of_two_runs_are_named_and_one_of_them_can_be_chosen() {
    let mut other = result(3);
    other.run_id = "morning".to_owned();
    let home = folder(&[result(1), result(2), other]);
    let fault = merge(home.path()).expect_err("two runs");
    let told = "holds results of 2 runs: 'evening' (shard-1-of-3.json, shard-2-of-3.json); 'morning' (shard-3-of-3.json)";
    assert!(fault.to_string().contains(told), "{fault}");
    assert_eq!(fault.exit(), Exit::BadText);
    let evening = Wanted { run_id: Some("evening"), ..Wanted::default() };
    let chosen = merged(home.path(), evening, &[]).expect("one of them");
    assert_eq!(chosen.record.shards.expect("shards").counted, 2);
    let night = Wanted { run_id: Some("night"), ..Wanted::default() };
    let fault = merged(home.path(), night, &[]).expect_err("none of that name");
    assert!(fault.to_string().contains("no result of the run 'night': it has evening, morning"), "{fault}");
}

#[test]
fn results_that_do_not_belong_together_are_named_one_fault_at_a_time() {
    let is_of_4 = |all: &mut Vec<ShardResult>| all[1].shard = Shard::new(2, 4).expect("a shard");
    expect_fault("shard-1-of-3.json' is one of 3, and", Exit::Broke, is_of_4);
    let other_build = |all: &mut Vec<ShardResult>| all[2].build.version = "2".to_owned();
    expect_fault("the shards of a run are of one build", Exit::Broke, other_build);
    let other_hold = |all: &mut Vec<ShardResult>| {
        all[1].plan.as_mut().expect("a plan").load.hold = Span::secs(77);
    };
    expect_fault(
        "are of two plans: load.hold is \"10s\" in one and \"1m17s\" in the other",
        Exit::Broke,
        other_hold,
    );
    let other_target = |all: &mut Vec<ShardResult>| all[2].plan.as_mut().expect("a plan").target = 2999;
    expect_fault("are of two plans: target is 3000 in one and 2999 in the other", Exit::Broke, other_target);
    let other_list = |all: &mut Vec<ShardResult>| {
        all[2].plan.as_mut().expect("a plan").load.ips = Some("127.0.0.9".to_owned());
    };
    expect_fault("are of two plans: load.ips", Exit::Broke, other_list);
    let two_meetings = |all: &mut Vec<ShardResult>| {
        let meetings = ["m1", "m1", "m2"].map(|meeting| Some(meeting.to_owned()));
        all.iter_mut().zip(meetings).for_each(|(result, meeting)| result.meeting = meeting);
    };
    expect_fault(
        "are of two runs of one name: their shards met at two meetings, m1 and m2",
        Exit::Broke,
        two_meetings,
    );
    let other_bounds = |all: &mut Vec<ShardResult>| {
        let bounds = HistogramBounds { lowest_us: 1, highest_us: 1000, digits: 3 };
        all[1].histograms[0].bounds = bounds;
    };
    expect_fault("'echo' has the bounds 1 to 1000 µs with 3 digits", Exit::Broke, other_bounds);
    let cut_histogram = |all: &mut Vec<ShardResult>| all[1].histograms[0].v2_deflate.truncate(16);
    expect_fault("the histogram 'echo' cannot be read", Exit::Broke, cut_histogram);
    let no_histogram = |all: &mut Vec<ShardResult>| all[1].histograms.clear();
    expect_fault("its histogram of echo has 0 values, and its record ", Exit::Broke, no_histogram);
    let doubled = |all: &mut Vec<ShardResult>| {
        let twice = all[2].histograms[0].clone();
        all[2].histograms.push(twice);
    };
    expect_fault("its histogram of echo is there twice", Exit::Broke, doubled);
    let is_late = |all: &mut Vec<ShardResult>| {
        all[2].first_connect_unix_ns = all[2].first_connect_unix_ns.map(|ns| ns + 60 * SECOND_NS);
    };
    expect_fault(
        "never held at one time: shard 3/3 had all its connections 61.4 s after",
        Exit::Broke,
        is_late,
    );
    let nobody_began = |all: &mut Vec<ShardResult>| {
        for result in all {
            (result.record, result.plan, result.histograms) = (None, None, Vec::new());
            result.end = ShardEnd::refused("the profile cannot be applied".to_owned(), Exit::HostCannot);
        }
    };
    expect_fault("no shard began: shard 1/3: the profile cannot be applied;", Exit::Short, nobody_began);
}

#[test]
fn lists_that_are_each_shards_own_may_differ_and_so_may_ports_and_workers() {
    let mut all = three();
    for (result, index) in all.iter_mut().zip(1_u16..) {
        let plan = result.plan.as_mut().expect("a plan");
        plan.load.ips = Some(format!("10.0.{index}.1-10.0.{index}.9"));
        plan.load.ports = Some(format!("{}-{}", index * 1000, index * 2000));
        plan.load.workers = Some(index.into());
        result.ips = ShardIps::Own;
    }
    assert_eq!(merge(folder(&all).path()).expect("one run").exit, Exit::Done);
}

#[test]
fn two_results_of_one_shard_are_named_with_who_left_them() {
    let home = folder(&three());
    let mut twin = result(2);
    twin.host.pid = 4711;
    let doubled = write_shard_result(home.path(), &twin).expect_err("there is one");
    assert!(doubled.to_string().contains("two of one name"), "{doubled}");
    let fault = merge(home.path()).expect_err("doubled");
    let text = fault.to_string();
    assert!(text.contains("shard 2/3 left two results of attempt 1"), "{text}");
    assert!(text.contains("process 2 on box2") && text.contains("process 4711 on box2"), "{text}");
}

#[test]
fn another_build_is_added_where_that_is_wanted_and_said() {
    let mut all = three();
    all[2].build.version = "2".to_owned();
    let home = folder(&all);
    let any = Wanted { any_build: true, ..Wanted::default() };
    let record = merged(home.path(), any, &[]).expect("one run").record;
    assert!(record.warnings.iter().any(|warning| warning.id == "other-build"), "{:?}", record.warnings);
}

#[test]
fn the_last_attempt_counts_where_all_shards_belong_to_it_and_no_two_are_mixed() {
    let again = |index: u32| ShardResult { attempt: 2, ..result(index) };
    let attempt_of = |results: &[ShardResult]| {
        let merged = merge(folder(results).path()).expect("one run");
        let said = merged.record.warnings.iter().any(|warning| warning.id == "other-attempt");
        let shards = merged.record.shards.expect("shards");
        (shards.attempt, shards.counted, said)
    };
    let all_again = [result(1), result(2), again(1), again(2), again(3)];
    assert_eq!(attempt_of(&all_again), (2, 3, true));
    // One that an engine started again alone.
    assert_eq!(attempt_of(&[result(1), result(2), result(3), again(2)]), (1, 3, true));
    assert_eq!(attempt_of(&[result(1), result(3), again(2)]), (1, 2, true));
    assert_eq!(attempt_of(&[result(1), again(2)]), (2, 1, true));
}

#[test]
fn shards_that_met_are_of_one_attempt_whichever_try_of_each_it_was() {
    let met = |index: u32, attempt: u32, meeting: &str| ShardResult {
        attempt,
        meeting: Some(meeting.to_owned()),
        ..result(index)
    };
    // The second was started again while the others waited for it.
    let all = [met(1, 1, "m1"), met(2, 2, "m1"), met(3, 1, "m1")];
    let shards = merge(folder(&all).path()).expect("one run").record.shards.expect("shards");
    assert_eq!((shards.counted, shards.lost.len(), shards.attempt), (3, 0, 2));
    // A run that failed, and the same again.
    let again = [met(1, 1, "m1"), met(3, 1, "m1"), met(1, 2, "m2"), met(2, 1, "m2"), met(3, 2, "m2")];
    let record = merge(folder(&again).path()).expect("one run").record;
    assert_eq!(record.shards.expect("shards").counted, 3);
    assert!(record.warnings.iter().any(|warning| warning.id == "other-attempt"), "{:?}", record.warnings);
}

#[test]
fn where_clocks_were_not_compared_that_is_said_and_nothing_stands_on_them() {
    let mut all = three();
    all[1].clock.clear();
    all[2].first_connect_unix_ns = Some(BEGIN_NS + 999_999 * SECOND_NS);
    let record = merge(folder(&all).path()).expect("one run").record;
    let shards = record.shards.as_ref().expect("shards");
    assert_eq!((shards.together_ms, shards.clock_error_us), (None, None));
    assert!(record.warnings.iter().any(|warning| warning.id == "clocks"), "{:?}", record.warnings);
    // On one box there is one clock.
    let mut all = three();
    for result in &mut all {
        result.clock.clear();
        result.host.boot_id = "one".to_owned();
        result.first_connect_unix_ns = Some(BEGIN_NS);
    }
    let shards = merge(folder(&all).path()).expect("one run").record.shards.expect("shards");
    assert_eq!((shards.together_ms, shards.clock_error_us), (Some(8500), Some(0)));
}

#[test]
fn one_address_of_two_shards_is_told() {
    let mut all = three();
    let of_first = all[0].sources.clone();
    all[2].sources = of_first;
    let record = merge(folder(&all).path()).expect("one run").record;
    let told = record.warnings.iter().find(|warning| warning.id == "sources-shared").expect("told");
    assert!(told.text.contains("shards 1 and 3 both connected from 127.0.0.1"), "{}", told.text);
}
