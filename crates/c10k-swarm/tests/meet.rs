//! Swarms that meet: one start, gates, lost shards, clocks that are wrong, and a rendezvous that goes away.

#![allow(clippy::print_stderr, reason = "a failed test says what the swarms said")]

mod common;
mod rendezvous;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread::JoinHandle;
use std::time::Duration;

use c10k_record::control::meet::{Beat, Join, Joined, MeetEvent, MeetState, OnLost, ShardProcess};
use c10k_record::control::{Build, Client, path};
use c10k_record::shard::ShardResult;
use c10k_record::{PhaseName, Record, RunState};
use common::server::Server;
use common::{Ended, PATIENCE, Swarm, run_to_refusal};
use nix::sys::signal::Signal;
use rendezvous::{RUN, Rendezvous};
use tempfile::TempDir;

/// What shards of one test have in common.
struct Group {
    rendezvous: Rendezvous,
    server: Server,
    results: TempDir,
    words: Vec<String>,
}

impl Group {
    fn new(rendezvous: Rendezvous, words: &str) -> Self {
        Self {
            rendezvous,
            server: Server::echo(),
            results: TempDir::new().expect("a folder"),
            words: words.split_whitespace().map(str::to_owned).collect(),
        }
    }

    fn arguments(&self, shard: &str, more: &str) -> Vec<String> {
        let (at, results) = (self.rendezvous.address, self.results.path().display());
        let own = format!(
            "--close rst --server {} --shard {shard} --run-id {RUN} --rendezvous {at} --result {results} {more}",
            self.server.at()
        );
        own.split_whitespace().map(str::to_owned).chain(self.words.iter().cloned()).collect()
    }

    /// A shard that is ready and comes.
    #[track_caller]
    fn start(&self, shard: &str) -> Swarm {
        let arguments = self.arguments(shard, "");
        Swarm::start(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
    }

    #[track_caller]
    fn start_all(&self, of: u32) -> Vec<Swarm> {
        (1..=of).map(|number| self.start(&format!("{number}/{of}"))).collect()
    }

    /// One that is refused: its code and what it said.
    fn refused(&self, shard: &str, more: &str) -> (Option<i32>, String) {
        let arguments = self.arguments(shard, more);
        let (code, _, stderr) = run_to_refusal(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
        (code, stderr)
    }

    fn result(&self, shard: u32, of: u32) -> ShardResult {
        let path = self.results.path().join(format!("shard-{shard}-of-{of}.json"));
        let text = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        serde_json::from_slice(&text).expect("a result")
    }

    fn client(&self) -> Client {
        Client::new(self.rendezvous.address, None).with_patience(PATIENCE)
    }
}

/// Asserts that the record names the shard that was lost.
#[track_caller]
fn expect_ended_by(ended: &Ended, words: &str) {
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    let Record { state, ended_because, .. } = &ended.record;
    assert_eq!(*state, RunState::Aborted, "{}", ended.stderr);
    assert!(ended_because.as_ref().is_some_and(|why| why.starts_with(words)), "{ended_because:?}");
}

#[test]
fn three_begin_at_one_time_hold_together_and_bring_their_results() {
    let group = Group::new(Rendezvous::start(), "--target 301 --hold 300ms");
    let swarms = group.start_all(3);
    let ended: Vec<Ended> = swarms.into_iter().map(Swarm::wait_for_end).collect();
    let account = group.rendezvous.account();
    assert_eq!((account.failed.as_deref(), account.lost.len(), account.results.len()), (None, 0, 3));
    for (number, ended) in (1..).zip(&ended) {
        ended.expect_code(0);
        let held = ended.record.connections.held;
        assert_eq!(held, if number == 3 { 101 } else { 100 });
        let result = group.result(number, 3);
        let met = result.rendezvous.expect("they met");
        assert_eq!(met.start_unix_ns, account.start_unix_ns);
        assert_eq!((met.meeting.as_str(), met.attempt), (account.meeting.as_str(), 1));
        assert!(met.begun_late_us.is_some() && met.jumped.is_empty() && met.gone.is_none(), "{met:?}");
        assert!(result.clock.len() >= 2, "{:?}", result.clock);
    }
    let (gates, open) = group.rendezvous.wait_for("the last gate", |event| match event {
        MeetEvent::AllAt { gate: 3, gates, open, .. } => Some((*gates, *open)),
        _ => None,
    });
    assert_eq!((gates, open), (3, 301), "all hold at one moment what each has proven");
    // What was brought is what each has kept, but for what came after that.
    for (number, brought) in &account.results {
        let brought: ShardResult = serde_json::from_str(brought).expect("a result");
        assert_eq!(
            brought.record.map(|record| record.connections),
            group.result(*number, 3).record.map(|record| record.connections)
        );
    }
}

#[test]
fn one_that_comes_late_is_waited_for_and_those_who_do_not_come_are_named() {
    let group = Group::new(Rendezvous::start(), "--target 20 --hold 100ms");
    let early = group.start("1/2");
    group.rendezvous.wait_for("the first", |event| matches!(event, MeetEvent::Came { .. }).then_some(()));
    let late = group.start("2/2");
    for ended in [early.wait_for_end(), late.wait_for_end()] {
        ended.expect_code(0).expect_counts(10, 10);
    }
    let alone = Group::new(Rendezvous::start(), "--target 20 --hold 100ms");
    let (code, said) = alone.refused("3/4", "--rendezvous-timeout 1s");
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("error: shards 1, 2 and 4 of 4 did not come within 1 s"), "{said}");
    let left = std::fs::read_dir(alone.results.path()).expect("its folder").count();
    assert_eq!(left, 0, "what never began leaves no result");
}

#[test]
fn a_shard_that_is_killed_ends_all_with_fail_in_the_ramp_and_in_the_hold() {
    for (words, phase) in [("--target 300 --rate 30/s", PhaseName::Ramp), ("--target 300", PhaseName::Hold)] {
        let group = Group::new(Rendezvous::start(), &format!("{words} --hold 10m"));
        let mut swarms = group.start_all(3);
        swarms.iter().for_each(|swarm| swarm.wait_for_phase(phase));
        if phase == PhaseName::Hold {
            group.rendezvous.wait_for("the gate before the hold", |event| {
                matches!(event, MeetEvent::AllAt { gate: 1, .. }).then_some(())
            });
        }
        swarms[1].signal(Signal::SIGKILL);
        swarms.remove(1).wait_for_death();
        for swarm in swarms {
            let ended = swarm.wait_for_end();
            expect_ended_by(&ended, "shard 2 of 3 was lost: nothing was heard of it for 3 s (");
            let why = ended.record.ended_because.as_ref().expect("it is said");
            assert_eq!(why.contains("(in phase hold, 100 open; host "), phase == PhaseName::Hold, "{why}");
        }
        let account = group.rendezvous.account();
        assert_eq!((account.lost.len(), account.results.len()), (1, 2));
        assert_eq!(account.lost[0].shard, 2);
        assert_eq!(group.result(1, 3).end.exit_code, 1);
    }
}

#[test]
fn with_degrade_the_others_hold_to_the_end_and_a_shard_that_is_started_again_does_not_join_them() {
    let group = Group::new(Rendezvous::start(), "--target 300 --hold 9s --on-lost-shard degrade");
    let mut swarms = group.start_all(3);
    swarms.iter().for_each(|swarm| swarm.wait_for_phase(PhaseName::Hold));
    swarms[1].signal(Signal::SIGKILL);
    swarms.remove(1).wait_for_death();
    let (code, said) = group.refused("2/3", "");
    assert_eq!(code, Some(3), "{said}");
    assert!(
        said.contains("a restarted shard is a new attempt and never joins a running measurement"),
        "{said}"
    );
    for swarm in swarms {
        let ended = swarm.wait_for_end();
        ended.expect_code(0).expect_counts(100, 100);
        let warning = ended.record.warnings.iter().find(|warning| warning.id == "shard-lost");
        let text = &warning.expect("it is told").text;
        assert!(
            text.starts_with("2 of 3 shards came to the end: shard 2 of 3 lost (nothing was heard"),
            "{text}"
        );
    }
    let account = group.rendezvous.account();
    assert_eq!((account.failed.as_deref(), account.lost[0].shard, account.results.len()), (None, 2, 2));
    assert_eq!(group.result(3, 3).rendezvous.expect("they met").lost, account.lost);
}

#[test]
fn one_that_a_signal_stops_is_lost_at_once_and_one_that_waits_ends_at_once() {
    let group = Group::new(Rendezvous::start(), "--target 200 --hold 10m");
    let (one, other) = (group.start("1/2"), group.start("2/2"));
    one.wait_for_phase(PhaseName::Hold);
    one.signal(Signal::SIGTERM);
    let ended = one.wait_for_end();
    assert_eq!(ended.code, Some(143), "{}", ended.stderr);
    expect_ended_by(&other.wait_for_end(), "shard 1 of 2 was lost: stopped by SIGTERM");
    let waits = group.start("1/2");
    group
        .rendezvous
        .wait_for("it to come", |event| matches!(event, MeetEvent::Came { attempt: 2, .. }).then_some(()));
    waits.signal(Signal::SIGINT);
    assert_eq!(waits.wait_for_death().code(), Some(130));
    group
        .rendezvous
        .wait_for("it to go", |event| matches!(event, MeetEvent::Left { shard: 1, .. }).then_some(()));
}

#[test]
fn a_rendezvous_that_is_gone_ends_with_fail_and_leaves_each_its_own_part_with_degrade() {
    for (on_lost, code) in [("fail", 4), ("degrade", 0)] {
        let words = format!("--target 200 --hold 7s --on-lost-shard {on_lost}");
        let group = Group::new(Rendezvous::start(), &words);
        let swarms = group.start_all(2);
        swarms.iter().for_each(|swarm| swarm.wait_for_phase(PhaseName::Hold));
        // Both are told that the gate before the hold is open.
        std::thread::sleep(Duration::from_millis(1500));
        group.rendezvous.fall_silent();
        for (number, swarm) in (1..).zip(swarms) {
            let ended = swarm.wait_for_end();
            ended.expect_code(code);
            let said = format!("the rendezvous {} is gone: ", group.rendezvous.address);
            assert!(ended.stderr.contains(&said), "{}", ended.stderr);
            assert!(ended.warns("rendezvous-gone"), "{:?}", ended.record.warnings);
            let result = group.result(number, 2);
            assert_eq!(i32::from(result.end.exit_code), ended.code.expect("a code"));
            assert!(result.rendezvous.is_some_and(|met| met.gone.is_some()));
            if on_lost == "degrade" {
                ended.expect_counts(100, 100);
            }
        }
    }
}

#[test]
fn a_clock_that_is_ten_seconds_off_begins_with_the_others_and_one_that_is_set_meanwhile_is_named() {
    const TEN: Duration = Duration::from_secs(10);
    for (ahead, jumps_by) in [(TEN, Duration::ZERO), (Duration::ZERO, TEN)] {
        let group = Group::new(Rendezvous::with_clock(ahead, jumps_by), "--target 20 --hold 100ms");
        let swarms = group.start_all(2);
        let begins_ns = group.rendezvous.wait_for("the start", |event| match event {
            MeetEvent::AllThere { at_unix_ns, .. } => Some(*at_unix_ns),
            _ => None,
        });
        for (number, swarm) in (1..).zip(swarms) {
            let ended = swarm.wait_for_end();
            ended.expect_code(0);
            let result = group.result(number, 2);
            let offset_ns = result.clock[0].offset_ns;
            assert!((offset_ns.unsigned_abs() as f64 / 1e9 - ahead.as_secs_f64()).abs() < 1.0, "{offset_ns}");
            // By the clock of the rendezvous as it is at the start.
            let first = result.first_connect_unix_ns.expect("it began");
            let far = (ahead + jumps_by).as_nanos() as i128 + i128::from(first);
            let late_ns = far - i128::from(begins_ns);
            assert!((-100_000_000..5_000_000_000).contains(&late_ns), "{late_ns} ns late\n{}", ended.stderr);
            let named = "the clock of the rendezvous was set forward by 10.0 s";
            assert_eq!(ended.stderr.contains(named), !jumps_by.is_zero(), "{}", ended.stderr);
            assert_eq!(ended.warns("clock-set"), !jumps_by.is_zero(), "{:?}", ended.record.warnings);
        }
    }
}

/// A join as a shard of the program under test would send it, of another process.
fn join(of: u32) -> Join {
    Join {
        shard: 1,
        of,
        attempt_token: "forged".to_owned(),
        build: Build {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            program: "other".to_owned(),
            ..Build::default()
        },
        plan: "'another plan'".to_owned(),
        gates: 3,
        on_lost: OnLost::Fail,
        timeout_ms: 60_000,
        client: ShardProcess { host: "elsewhere".to_owned(), pid: 7, ..ShardProcess::default() },
        limits: c10k_record::HostSnapshot::default(),
        offset_ns: None,
        round_trip_ns: None,
    }
}

/// A shard that has come and is heard until it is dropped.
struct Forged {
    ends: Arc<AtomicBool>,
    beats: Option<JoinHandle<()>>,
}

impl Forged {
    #[track_caller]
    fn come(group: &Group, join: &Join) -> Self {
        let mut client = group.client();
        let Joined { meeting, attempt, .. } =
            client.post(&path::meet(RUN, "join"), join).expect("the first may come");
        let beat = Beat { shard: join.shard, attempt, meeting, ..Beat::default() };
        let ends = Arc::new(AtomicBool::new(false));
        let end = Arc::clone(&ends);
        let beats = std::thread::spawn(move || {
            while !end.load(SeqCst) {
                let _: MeetState = client.post(&path::meet(RUN, "beat"), &beat).expect("it is heard");
                std::thread::sleep(Duration::from_millis(200));
            }
        });
        Self { ends, beats: Some(beats) }
    }
}

impl Drop for Forged {
    fn drop(&mut self) {
        self.ends.store(true, SeqCst);
        self.beats.take().map(JoinHandle::join);
    }
}

#[test]
fn a_doubled_shard_and_one_of_another_build_plan_or_number_are_refused_with_words() {
    let of_build = |version: &str| Build { version: version.to_owned(), ..join(2).build };
    for (first, code, words) in [
        (Join { build: of_build("9.9.9"), ..join(2) }, 3, "it is build "),
        (join(3), 2, "it says that there are 2 shards, the first one that came said 3"),
        (join(2), 2, "that of the first one that came is 'another plan'"),
    ] {
        let group = Group::new(Rendezvous::start(), "--target 20");
        let _first = Forged::come(&group, &first);
        let (found, said) = group.refused("2/2", "");
        assert_eq!(found, Some(code), "{said}");
        let refused =
            format!("error: the rendezvous {} refuses this shard: shard 2 of 2", group.rendezvous.address);
        assert!(said.contains(&refused) && said.contains(words) && said.contains("\nhint: "), "{said}");
    }
    let group = Group::new(Rendezvous::start(), "--target 20 --hold 100ms");
    let first = group.start("1/2");
    group.rendezvous.wait_for("the first", |event| matches!(event, MeetEvent::Came { .. }).then_some(()));
    let (code, said) = group.refused("1/2", "");
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("shard 1 of 2 of run 'evening-1' is there already: host "), "{said}");
    let second = group.start("2/2");
    for swarm in [first, second] {
        swarm.wait_for_end().expect_code(0).expect_counts(10, 10);
    }
}

#[test]
fn flags_that_name_no_rendezvous_are_refused_before_anything_is_asked() {
    let run = |arguments: &str| {
        let (code, _, stderr) = run_to_refusal(&arguments.split_whitespace().collect::<Vec<_>>());
        assert!(!Path::new("results").exists());
        (code, stderr)
    };
    for (arguments, code, words) in [
        ("--run-id a --rendezvous 127.0.0.1:1", 2, "--rendezvous is of a swarm that is one of several"),
        ("--shard 1/2 --rendezvous 127.0.0.1:1", 2, "--run-id"),
        ("--shard 1/2 --run-id a --rendezvous 127.0.0.1", 2, "expected HOST:PORT"),
        ("--shard 1/2 --run-id a --rendezvous 127.0.0.1:1 --rendezvous-timeout 0s", 2, "expected 1s to"),
        (
            "--shard 1/2 --run-id a --rendezvous 127.0.0.1:1 --on-lost-shard wait",
            2,
            "expected fail or degrade",
        ),
        ("--shard 1/1025 --target 2k --run-id a --rendezvous 127.0.0.1:1", 2, "expected 1024 at most"),
        (
            "--shard 1/2 --run-id a --rendezvous 127.0.0.1:1 --token-file /nowhere",
            3,
            "cannot read the token file",
        ),
        ("--shard 1/2 --on-lost-shard fail", 2, "--rendezvous"),
    ] {
        let (found, said) = run(arguments);
        assert_eq!(found, Some(code), "{arguments}: {said}");
        assert!(said.contains(words), "{arguments}: {said}");
    }
    let closed = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound");
    let (code, said) = run(&format!("--shard 1/2 --run-id a --rendezvous {closed} --rendezvous-timeout 1s"));
    assert_eq!(code, Some(3), "{said}");
    assert!(
        said.contains(&format!("error: no rendezvous within 1 s: the control port {closed} cannot be")),
        "{said}"
    );
}
