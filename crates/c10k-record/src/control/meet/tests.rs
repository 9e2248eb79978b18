use serde_json::json;

use super::port::{Port, RUN, come, shard};
use super::*;
use crate::control::{Build, MOST_ANSWER_BYTES};

mod many;
mod stopped;

/// Three that have come, and the start is given.
#[track_caller]
fn all_there(port: &mut Port, on_lost: OnLost) -> Vec<Beat> {
    // The second stands on the port's own kernel.
    let boot_id = |number: u32| Some(format!("boot-{}", number - 1));
    let joins = (1..=3).map(|number| {
        let join = shard(number, 3);
        Join { on_lost, client: ShardProcess { boot_id: boot_id(number), ..join.client.clone() }, ..join }
    });
    let beats: Vec<Beat> = joins.map(|join| come(port, &join)).collect();
    for beat in &beats {
        port.beat(beat);
    }
    assert!(matches!(port.beat(&beats[0]), MeetState::Start { .. }));
    beats
}

/// The same at work.
#[track_caller]
fn going(port: &mut Port, on_lost: OnLost) -> Vec<Beat> {
    let mut beats = all_there(port, on_lost);
    for _ in 0..4 {
        port.pass(1000);
        for beat in &mut beats {
            (beat.phase, beat.open) = (Some(PhaseName::Ramp), 5000);
            port.beat(beat);
        }
    }
    assert_eq!(port.beat(&beats[0]), MeetState::Going { gate: 0, lost: Vec::new() });
    beats
}

fn lost_of(state: &MeetState) -> Vec<u32> {
    match state {
        MeetState::Going { lost, .. } | MeetState::Over { lost } => {
            lost.iter().map(|lost| lost.shard).collect()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_start_is_given_once_all_are_there_and_is_one_time_for_all() {
    let mut port = Port::new();
    let first = come(&mut port, &shard(1, 3));
    let second = come(&mut port, &shard(2, 3));
    port.pass(400);
    assert_eq!(port.beat(&first), MeetState::Waiting { missing: vec![3], left_ms: 59_600 });
    port.beat(&second);
    port.pass(50);
    let third = come(&mut port, &shard(3, 3));
    // The others may be gone since they were heard last.
    assert_eq!(port.beat(&third), MeetState::Waiting { missing: vec![], left_ms: 59_550 });
    port.beat(&first);
    let MeetState::Start { at_unix_ns, in_ns } = port.beat(&second) else { panic!("no start") };
    assert_eq!(at_unix_ns, port.at().unix_ns + LEAD.as_nanos() as u64);
    assert_eq!(u128::from(in_ns), LEAD.as_nanos());
    port.pass(1000);
    for beat in [&first, &second, &third] {
        let state = port.beat(beat);
        assert_eq!(state, MeetState::Start { at_unix_ns, in_ns: in_ns - 1_000_000_000 });
    }
    let given = port.events.iter().filter(|event| matches!(event, MeetEvent::AllThere { .. })).count();
    assert_eq!(given, 1);
}

#[test]
fn a_join_that_is_sent_again_is_answered_alike() {
    let mut port = Port::new();
    let join = shard(1, 2);
    let joined = port.join(&join).expect("joined");
    assert_eq!(port.join(&join).as_ref(), Ok(&joined));
    assert_eq!((joined.attempt, joined.earlier), (1, None));
}

#[test]
fn who_does_not_come_by_the_deadline_is_named_to_all_that_came() {
    let mut port = Port::new();
    let joins = [1, 3].map(|number| Join { timeout_ms: 10_000, ..shard(number, 4) });
    let beats: Vec<Beat> = joins.iter().map(|join| come(&mut port, join)).collect();
    for _ in 0..9 {
        port.pass(1000);
        for beat in &beats {
            assert!(matches!(port.beat(beat), MeetState::Waiting { .. }));
        }
    }
    port.pass(1000);
    for beat in &beats {
        let MeetState::Failed { why, shards } = port.beat(beat) else { panic!("it goes on") };
        assert_eq!((why.as_str(), shards), ("shards 2 and 4 of 4 did not come within 10 s", vec![2, 4]));
    }
    let account = port.account().expect("it has ended");
    assert_eq!((account.start_unix_ns, account.shards.len()), (None, 2));
    // One that comes behind that opens a meeting of its own, and hears of the one before.
    let late = port.join(&shard(2, 4)).expect("it may wait");
    assert_eq!(
        late.earlier.as_deref(),
        Some("an earlier try of this run failed 0 s ago: shards 2 and 4 of 4 did not come within 10 s")
    );
    assert_ne!(late.meeting, beats[0].meeting);
}

#[test]
fn a_doubled_shard_is_refused_while_the_first_is_heard_and_takes_its_place_when_it_is_not() {
    let mut port = Port::new();
    let first = come(&mut port, &shard(1, 3));
    let second = come(&mut port, &shard(2, 3));
    let again = Join { attempt_token: "other".to_owned(), ..shard(1, 3) };
    port.pass(2000);
    port.beat(&second);
    let (status, error) = port.join(&again).expect_err("doubled");
    assert_eq!(status, 409);
    assert!(error.ends_with("is there already: host box1, pid 101, heard 2000 ms ago"), "{error}");
    port.pass(1000);
    let joined = port.join(&again).expect("its place is free");
    assert_eq!(joined.attempt, 2);
    let MeetState::Out { why } = port.beat(&first) else { panic!("it is none any more") };
    assert_eq!(why, "attempt 2 of shard 1 of 3 has taken the place of this one");
}

#[test]
fn another_build_plan_number_and_way_are_refused_with_words() {
    let mut port = Port::new();
    come(&mut port, &shard(1, 3));
    let (base, build) = (shard(2, 3), shard(2, 3).build);
    let newer = Build { version: "0.2.0".to_owned(), ..build.clone() };
    let other_bytes = Build { hash: "f".repeat(16), ..build };
    let of_job = |number, job: &str| {
        let join = shard(number, 3);
        Join { client: ShardProcess { job: Some(job.to_owned()), ..join.client.clone() }, ..join }
    };
    for (join, status, words) in [
        (
            Join { of: 4, ..base.clone() },
            422,
            "it says that there are 4 shards, the first one that came said 3",
        ),
        (Join { build: newer, ..base.clone() }, 412, "it is build c10k-swarm 0.2.0"),
        (
            Join { build: other_bytes, ..base.clone() },
            412,
            "it is build c10k-swarm 0.1.0 (x86_64, ffffffffffffffff)",
        ),
        (Join { plan: "plan-b".to_owned(), ..base.clone() }, 422, "its plan is plan-b, that of the first"),
        (Join { gates: 5, ..base.clone() }, 422, "its plan is plan-a"),
        (
            Join { on_lost: OnLost::Degrade, ..base.clone() },
            422,
            "--on-lost-shard degrade, the first one that came said fail",
        ),
        (Join { shard: 4, ..base.clone() }, 422, "there is no shard 4 of 3"),
        (Join { shard: 0, ..base.clone() }, 422, "there is no shard 0 of 3"),
        (Join { of: 1025, ..base }, 422, "N at most 1024"),
    ] {
        let (found, error) = port.join(&join).expect_err(words);
        assert_eq!(found, status, "{error}");
        assert!(error.contains(words), "{error}");
    }
    let refused = port.events.iter().filter(|event| matches!(event, MeetEvent::Refused { .. })).count();
    assert_eq!(refused, 6, "what is no join of any run is not told");
    let mut port = Port::new();
    come(&mut port, &of_job(1, "slurm 7.0"));
    come(&mut port, &of_job(2, "slurm 7.0"));
    let (status, error) = port.join(&of_job(3, "slurm 8.0")).expect_err("another job");
    assert!(
        status == 409
            && error.contains("it is of job slurm 8.0, the first one that came is of job slurm 7.0")
    );
}

#[test]
fn another_name_waits_until_this_one_is_over_and_so_does_a_run_without_a_meeting() {
    let mut port = Port::new();
    come(&mut port, &shard(1, 3));
    let body = serde_json::to_value(shard(1, 1)).expect("JSON");
    let (status, refused) = port.ask("POST", "run-2/join", &body);
    assert_eq!(status, 409);
    let error = refused["error"].as_str().expect("words");
    assert_eq!(
        error,
        "run 'run-2' cannot gather: run 'run-1' gathers here since 0 s: 1 of 3 shards are there"
    );
    let at = port.at();
    assert_eq!(port.meetings.under_way(at).map(|(run, _)| run), Some(RUN));
    let mut port = Port::new();
    port.meetings.be_busy(Some("run 'lab' of host a goes on here".to_owned()));
    let (status, error) = port.join(&shard(1, 3)).expect_err("busy");
    assert_eq!(
        (status, error.as_str()),
        (409, "run 'run-1' cannot gather: run 'lab' of host a goes on here")
    );
    port.meetings.be_busy(None);
    come(&mut port, &shard(1, 3));
}

#[test]
fn a_restarted_shard_never_joins_what_goes_on() {
    for begun in [false, true] {
        let mut port = Port::new();
        let beats =
            if begun { going(&mut port, OnLost::Degrade) } else { all_there(&mut port, OnLost::Degrade) };
        let again = Join { attempt_token: "again".to_owned(), on_lost: OnLost::Degrade, ..shard(2, 3) };
        let (status, error) = port.join(&again).expect_err("it goes on");
        assert_eq!(status, 409);
        assert!(error.contains("a restarted shard is a new attempt and never joins a running"), "{error}");
        assert!(!matches!(port.beat(&beats[1]), MeetState::Out { .. }), "the one that is there stays");
    }
}

#[test]
fn with_fail_a_shard_that_is_silent_ends_it_for_all_within_five_seconds() {
    let mut port = Port::new();
    let beats = going(&mut port, OnLost::Fail);
    let killed_ms = port.now_ms;
    let state = loop {
        port.pass(1000);
        port.beat(&beats[0]);
        match port.beat(&beats[2]) {
            MeetState::Going { .. } => {}
            state => break state,
        }
    };
    assert!(port.now_ms - killed_ms < 5000, "{} ms", port.now_ms - killed_ms);
    let MeetState::Failed { why, shards } = state else { panic!("{state:?}") };
    assert_eq!(shards, [2]);
    assert_eq!(
        why,
        "shard 2 of 3 was lost: nothing was heard of it for 3 s (in phase ramp, 5,000 open; host box2, pid 102)"
    );
    assert!(matches!(port.beat(&beats[1]), MeetState::Out { .. }), "it stays lost");
    // The results of the two are kept, and then it is written down.
    for beat in [&beats[0], &beats[2]] {
        assert!(port.account().is_none());
        assert!(matches!(port.result(beat, 3), Ok(MeetState::Failed { .. })));
    }
    let account = port.account().expect("it has ended");
    assert_eq!((account.failed.as_deref(), account.results.len()), (Some(why.as_str()), 2));
}

#[test]
fn with_degrade_the_others_go_on_and_hear_who_is_lost() {
    let mut port = Port::new();
    let mut beats = going(&mut port, OnLost::Degrade);
    for _ in 0..4 {
        port.pass(1000);
        port.beat(&beats[0]);
        port.beat(&beats[2]);
    }
    assert_eq!(lost_of(&port.beat(&beats[0])), [2]);
    let late = port.result(&beats[1], 3).expect_err("it is lost");
    assert!(late.starts_with("409 shard 2 of 3 was lost: nothing was heard"), "{late}");
    let mut through = Vec::new();
    for number in [0, 2] {
        beats[number].gate = 3;
        port.beat(&beats[number]);
        through.push(port.result(&beats[number], 3).expect("kept"));
    }
    assert_eq!(lost_of(through.last().expect("two")), [2]);
    assert_eq!(lost_of(&port.beat(&beats[0])), [2], "after its end as well");
    let account = port.account().expect("it has ended");
    assert_eq!((account.failed.as_deref(), account.lost.len(), account.results.len()), (None, 1, 2));
}

#[test]
fn one_that_says_that_it_broke_is_lost_at_once() {
    let mut port = Port::new();
    let beats = going(&mut port, OnLost::Fail);
    port.beat(&Beat { broke: Some("stopped by SIGTERM".to_owned()), ..beats[0].clone() });
    let MeetState::Failed { why, .. } = port.beat(&beats[1]) else { panic!("it goes on") };
    assert!(why.starts_with("shard 1 of 3 was lost: stopped by SIGTERM (in phase ramp"), "{why}");
}

#[test]
fn one_that_the_port_calls_off_ends_for_all() {
    let mut port = Port::new();
    let beats = going(&mut port, OnLost::Degrade);
    let at = port.at();
    port.meetings.call_off("the server has ended", at);
    let MeetState::Failed { why, shards } = port.beat(&beats[1]) else { panic!("it goes on") };
    assert_eq!((why.as_str(), shards.len()), ("the server has ended", 0));
}

#[test]
fn when_all_are_lost_it_is_over() {
    let mut port = Port::new();
    going(&mut port, OnLost::Degrade);
    port.pass(4000);
    let account = port.account().expect("it has ended");
    assert_eq!((account.lost.len(), account.results.len()), (3, 0));
    assert!(
        account.failed.as_deref().is_some_and(|why| why.starts_with("shard 3 of 3 was lost")),
        "{account:?}"
    );
}

#[test]
fn a_gate_opens_when_all_that_are_not_lost_have_come_to_it() {
    let mut port = Port::new();
    let mut beats = going(&mut port, OnLost::Degrade);
    let gate = |state: MeetState| match state {
        MeetState::Going { gate, .. } => gate,
        other => panic!("{other:?}"),
    };
    beats[0].gate = 1;
    beats[1].gate = 2;
    for (number, open) in [(0, 0), (1, 0), (2, 0)] {
        assert_eq!(gate(port.beat(&beats[number])), open);
    }
    beats[2].gate = 1;
    assert_eq!(gate(port.beat(&beats[2])), 0, "the port looks first");
    port.pass(100);
    assert_eq!(gate(port.beat(&beats[1])), 1);
    // The one that is behind is lost: the others are waited for no more.
    beats[2].gate = 3;
    port.beat(&beats[2]);
    port.beat(&Beat { broke: Some("the disk is full".to_owned()), ..beats[0].clone() });
    port.pass(100);
    assert_eq!(gate(port.beat(&beats[1])), 2);
    beats[1].gate = 9;
    port.beat(&beats[1]);
    port.pass(100);
    assert_eq!(gate(port.beat(&beats[1])), 3, "there is none behind the last");
    let told: Vec<(u32, u64, u64)> = port
        .events
        .iter()
        .filter_map(|event| match event {
            MeetEvent::AllAt { gate, open, open_here, .. } => Some((*gate, *open, *open_here)),
            _ => None,
        })
        .collect();
    assert_eq!(told, [(1, 15_000, 5000), (2, 10_000, 5000), (3, 10_000, 5000)]);
}

#[test]
fn a_result_that_does_not_come_is_waited_for_until_a_deadline() {
    let mut port = Port::new();
    let mut beats = going(&mut port, OnLost::Degrade);
    for beat in &mut beats {
        beat.gate = 3;
        port.beat(beat);
    }
    port.pass(100);
    port.result(&beats[0], 3).expect("kept");
    port.result(&beats[1], 3).expect("kept");
    for _ in 0..299 {
        port.pass(1000);
        assert!(matches!(port.beat(&beats[2]), MeetState::Going { .. }));
    }
    port.pass(1000);
    let MeetState::Out { why } = port.beat(&beats[2]) else { panic!("it is waited for") };
    assert!(why.contains("its result did not come within 300 s of the last proof"), "{why}");
    assert!(port.account().is_some());
}

#[test]
fn a_time_in_which_the_port_did_not_run_is_nobodys_silence() {
    let mut port = Port::new();
    let beats = going(&mut port, OnLost::Fail);
    port.now_ms += 60_000;
    port.pass(50);
    for beat in &beats {
        assert!(matches!(port.beat(beat), MeetState::Going { .. }));
    }
    port.pass(3000);
    assert!(
        matches!(port.beat(&beats[0]), MeetState::Failed { .. } | MeetState::Out { .. }),
        "its own time counts"
    );
}

#[test]
fn what_is_no_request_is_refused_with_what_was_expected() {
    let mut port = Port::new();
    for (method, path, body, status, words) in [
        ("POST", "run-1/join", json!({"shard": 1}), 400, "missing field `of`"),
        ("POST", "run-1/beat", json!([]), 400, "the body cannot be read"),
        (
            "POST",
            "run-1/beat",
            json!({"shard": 1, "attempt": 1, "meeting": "x"}),
            404,
            "nothing is known here of a meeting 'x'",
        ),
        ("GET", "run-1/state", json!(null), 404, "nothing is known here of a meeting of run 'run-1'"),
        ("GET", "run-1/join", json!(null), 405, "GET is not how to ask for 'join'"),
        ("POST", "run-1/there", json!(null), 404, "there is no 'there'"),
        ("POST", "../join", json!(null), 400, "'..' is not the name of a run"),
        (
            "POST",
            "run-1/result",
            json!({"run_id": "run-2", "shard": {"index": 1, "count": 1}, "attempt": 1}),
            422,
            "of run 'run-2'",
        ),
    ] {
        let (found, refused) = port.ask(method, path, &body);
        let error = refused["error"].as_str().expect("words");
        assert_eq!(found, status, "{error}");
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn results_that_are_more_than_an_answer_are_given_one_part_after_the_other() {
    const LONG: usize = MOST_ANSWER_BYTES / 2 - 1024;
    let mut port = Port::new();
    let beats = going(&mut port, OnLost::Fail);
    for Beat { shard, attempt, meeting, .. } in &beats {
        let whose = json!({"index": shard, "count": 3});
        let body = json!({"run_id": "run-1", "shard": whose, "attempt": attempt, "meeting": meeting,
            "padding": "x".repeat(LONG)});
        assert_eq!(port.ask("POST", "run-1/result", &body).0, 200);
    }
    let meeting = beats[0].meeting.clone();
    port.meetings.keep_account(&meeting, json!({"meeting": meeting}));
    let (mut path, mut shards) = ("run-1/results".to_owned(), Vec::new());
    loop {
        let (status, part) = port.ask("GET", &path, &json!(null));
        assert_eq!((status, part["meeting"].as_str()), (200, Some(meeting.as_str())));
        assert!(part.to_string().len() <= MOST_ANSWER_BYTES);
        let results = part["results"].as_array().expect("a list");
        assert_eq!(results.len(), 1);
        shards.extend(results.iter().filter_map(|it| it["shard"]["index"].as_u64()));
        assert_eq!(part["server"].is_null(), !part["next"].is_null(), "the account comes with the last");
        let Some(next) = part["next"].as_u64() else { break };
        path = format!("run-1/results/{next}");
    }
    shards.sort_unstable();
    let mut all: Vec<u64> = beats.iter().map(|beat| u64::from(beat.shard)).collect();
    all.sort_unstable();
    assert_eq!(shards, all);
    assert_eq!(port.ask("GET", "run-1/results/x", &json!(null)).0, 400);
    assert_eq!(port.ask("POST", "run-1/results/1", &json!({})).0, 405);
    assert_eq!(port.ask("GET", "run-1/result/1", &json!(null)).0, 404);
}

#[test]
fn all_results_are_given_to_one_who_asks() {
    let mut port = Port::new();
    let beats = going(&mut port, OnLost::Fail);
    for beat in &beats {
        port.result(beat, 3).expect("kept");
    }
    let (status, all) = port.ask("GET", "run-1/results", &json!(null));
    assert_eq!((status, all["state"]["state"].as_str()), (200, Some("over")));
    let held: Vec<u64> =
        all["results"].as_array().expect("a list").iter().filter_map(|it| it["held"].as_u64()).collect();
    assert_eq!(held, [7, 7, 7]);
    assert!(all["server"].is_null(), "nothing was written of it yet");
    port.meetings.keep_account(&beats[0].meeting, json!({"meeting": beats[0].meeting}));
    let (_, all) = port.ask("GET", "run-1/results", &json!(null));
    assert_eq!(all["server"]["meeting"], all["meeting"]);
}
