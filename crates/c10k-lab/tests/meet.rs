//! Shards that meet at `c10k-lab serve`: what it says of them, what it leaves of their run, and what comes of a shard or of
//! itself that is killed or stopped.

mod common;
mod served;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use c10k_collector::far::Snapshot;
use c10k_record::control::meet::{Beat, Join, Joined, MeetState, OnLost, ShardProcess};
use c10k_record::control::{Client, EndRun, path};
use c10k_record::shard::ShardResult;
use c10k_record::{HostSnapshot, Record};
use common::{Ended, Lab, PATIENCE, Running};
use nix::sys::signal::Signal::{SIGKILL, SIGTERM};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use served::{Served, build};

impl Served {
    /// One at which shards meet.
    #[track_caller]
    fn for_shards() -> Self {
        Self::start(Lab::new(), &["--results", "met"])
    }

    /// A shard that connects to `server`, with its result in `out` of its own folder.
    #[track_caller]
    fn shard_to(&self, server: SocketAddr, shard: &str, more: &str) -> Running {
        let words = format!(
            "swarm --no-apply --json --close rst --run-id noon --result out --server {server} --rendezvous {} --shard \
             {shard} {more}",
            self.control
        );
        Lab::new().command(&words.split_whitespace().collect::<Vec<_>>())
    }

    #[track_caller]
    fn shards(&self, of: u32, more: &str) -> Vec<Running> {
        (1..=of).map(|number| self.shard_to(self.server, &format!("{number}/{of}"), more)).collect()
    }

    /// Waits until its server has so many connections.
    #[track_caller]
    fn wait_for_open(&self, open: u64) {
        let mut client = Client::new(self.control, None).with_patience(PATIENCE);
        let give_up = Instant::now() + PATIENCE;
        loop {
            let snapshot: Snapshot = client.get(path::SNAPSHOT).expect("a snapshot");
            if snapshot.look.report.is_some_and(|report| report.open == open) {
                return;
            }
            assert!(Instant::now() < give_up, "{}", self.running.stderr());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The folder of the only meeting, once it is written.
    #[track_caller]
    fn folder(&self) -> PathBuf {
        self.running.wait_until_said("adds them up");
        let entries = std::fs::read_dir(self.running.home().join("met")).expect("its folder");
        let folders: Vec<PathBuf> = entries.map(|entry| entry.expect("listed").path()).collect();
        assert_eq!(folders.len(), 1, "{folders:?}");
        folders.into_iter().next().expect("one")
    }
}

fn account(folder: &Path) -> Value {
    let text = std::fs::read_to_string(folder.join("server.json")).expect("the server's account");
    serde_json::from_str(&text).expect("JSON")
}

fn files(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("listed").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// The open connections of the server at a look of this name.
fn open_at(account: &Value, name: &str) -> Option<u64> {
    let looks = account["looks"].as_array().expect("looks");
    looks.iter().find(|look| look["at"] == name)?["look"]["report"]["open"].as_u64()
}

/// The record of a shard that came to its end. A machine so busy that echoes take longer than their verdict allows is no
/// fault of the shard.
#[track_caller]
fn held(ended: &Ended, count: u64) -> Record {
    let record: Record = serde_json::from_str(&ended.stdout).unwrap_or_else(|_| panic!("{}", ended.stderr));
    let is_only_slow =
        record.verdicts.iter().all(|verdict| verdict.holds() || verdict.expr.starts_with("echo_p95"));
    let code = ended.status.code();
    assert!(code == Some(0) || code == Some(1) && is_only_slow, "{code:?}: {}", ended.stderr);
    assert_eq!(record.connections.held, count, "{}", ended.stderr);
    record
}

fn result(ended: &Ended, shard: u32) -> ShardResult {
    let path = ended.home.path().join(format!("out/shard-{shard}-of-3.json"));
    serde_json::from_slice(&std::fs::read(path).expect("a result")).expect("a result")
}

#[test]
fn three_shards_are_counted_together_by_the_server_and_their_results_are_written_beside_its_account() {
    let served = Served::for_shards();
    let shards = served.shards(3, "--target 300 --hold 500ms");
    let ended: Vec<Ended> = shards.into_iter().map(Running::wait).collect();
    for (number, ended) in (1..).zip(&ended) {
        held(ended, 100);
        assert_eq!(result(ended, number).rendezvous.expect("they met").lost.len(), 0);
    }
    let folder = served.folder();
    let names = ["server.json", "shard-1-of-3.json", "shard-2-of-3.json", "shard-3-of-3.json"];
    assert_eq!(files(&folder), names);
    let account = account(&folder);
    assert_eq!((&account["format"], &account["run_id"]), (&"c10k-meeting/1".into(), &"noon".into()));
    assert_eq!((account["failed"].is_null(), account["lost"].as_array().map(Vec::len)), (true, Some(0)));
    // At this moment each has proven what it has, and none has begun to close.
    assert_eq!((open_at(&account, "all-proven"), open_at(&account, "all-hold")), (Some(300), Some(300)));
    assert_eq!(account["server"]["look"]["report"]["accepted"], 300);
    let brought: Value =
        Client::new(served.control, None).get(&path::meet("noon", "results")).expect("results");
    assert_eq!(brought["results"].as_array().map(Vec::len), Some(3));
    assert_eq!(brought["server"]["meeting"], account["meeting"]);
    served.running.signal(SIGTERM);
    let said = served.running.wait();
    said.expect_exit(0);
    for words in ["shard 2 of 3 has come from host ", "all are there", "all 3 shards begin", "3 of 3 results"]
    {
        assert!(said.stderr.contains(words), "{words}: {}", said.stderr);
    }
}

#[test]
fn results_that_cannot_be_written_are_said_and_end_serve_with_4() {
    let served = Served::for_shards();
    // What could be written when it began is no folder now.
    std::fs::write(served.running.home().join("met"), "").expect("written");
    held(&served.shard_to(served.server, "1/1", "--target 20 --hold 100ms").wait(), 20);
    served.running.wait_until_said("cannot be written into met/");
    served.running.signal(SIGTERM);
    served.running.wait().expect_exit(4);
}

#[test]
fn of_a_run_without_results_merge_says_why_there_are_none() {
    let served = Served::for_shards();
    let alone = served.shard_to(served.server, "1/2", "--target 20 --hold 100ms --rendezvous-timeout 1s");
    alone.wait().expect_exit(1);
    let control = served.control.to_string();
    let merge = |run_id: &str| {
        Lab::new().command(&["merge", "fetched", "--run-id", run_id, "--control", &control]).wait()
    };
    let never_began = merge("noon");
    never_began.expect_exit(1);
    for words in ["no shard of the run 'noon' has brought a result to", "did not come within 1 s", "hint: "] {
        assert!(never_began.stderr.contains(words), "{words}: {}", never_began.stderr);
    }
    let unknown = merge("morning");
    unknown.expect_exit(3);
    assert!(unknown.stderr.contains("nothing is known here of a meeting"), "{}", unknown.stderr);
    let unnamed = merge("a b");
    unnamed.expect_exit(2);
    assert!(unnamed.stderr.contains("'a b' cannot name a run"), "{}", unnamed.stderr);
}

#[test]
fn a_shard_that_is_killed_is_named_and_the_others_end_or_go_on_as_they_were_told() {
    for on_lost in ["fail", "degrade"] {
        let served = Served::for_shards();
        let hold = if on_lost == "fail" { "10m" } else { "6s" };
        let mut shards = served.shards(3, &format!("--target 300 --hold {hold} --on-lost-shard {on_lost}"));
        served.wait_for_open(300);
        let killed = shards.remove(1);
        killed.signal(SIGKILL);
        killed.wait();
        for shard in shards {
            let ended = shard.wait();
            if on_lost == "degrade" {
                let record = held(&ended, 100);
                assert!(
                    record
                        .warnings
                        .iter()
                        .any(|it| it.id == "shard-lost" && it.text.starts_with("2 of 3 shards"))
                );
                continue;
            }
            ended.expect_exit(1);
            let record: Record = serde_json::from_str(&ended.stdout).expect("a record");
            let why = record.ended_because.expect("it is said");
            assert!(why.starts_with("shard 2 of 3 was lost: nothing was heard of it for 3 s"), "{why}");
        }
        let folder = served.folder();
        let account = account(&folder);
        assert_eq!(account["lost"][0]["shard"], 2);
        assert_eq!(account["failed"].is_null(), on_lost == "degrade", "{}", account["failed"]);
        assert_eq!(files(&folder), ["server.json", "shard-1-of-3.json", "shard-3-of-3.json"]);
        if on_lost == "degrade" {
            assert_eq!(open_at(&account, "all-proven"), Some(200));
        }
        assert!(
            served.running.stderr().contains("2 of 3 results, shard 2 of 3 lost"),
            "{}",
            served.running.stderr()
        );
    }
}

#[test]
fn a_serve_that_is_killed_in_mid_run_leaves_each_shard_its_own_result() {
    // A server that stays when the rendezvous goes.
    let server = Served::for_shards();
    for on_lost in ["fail", "degrade"] {
        let served = Served::for_shards();
        let more = format!("--target 300 --hold 8s --on-lost-shard {on_lost}");
        let numbers = ["1/3", "2/3", "3/3"];
        let shards: Vec<Running> =
            numbers.iter().map(|number| served.shard_to(server.server, number, &more)).collect();
        server.wait_for_open(300);
        // All are told that they hold.
        std::thread::sleep(Duration::from_millis(1500));
        served.running.signal(SIGKILL);
        served.running.wait();
        for (number, shard) in (1..).zip(shards) {
            let ended = shard.wait();
            assert!(ended.stderr.contains(" is gone: "), "{}", ended.stderr);
            let result = result(&ended, number);
            assert!(result.rendezvous.is_some_and(|met| met.gone.is_some()));
            if on_lost == "degrade" {
                held(&ended, 100);
            } else {
                ended.expect_exit(4);
                assert_eq!(result.end.exit_code, 4);
            }
        }
        server.wait_for_open(0);
    }
}

/// What shards are told whose host was stopped by SIGTERM.
const STOPPED: &str = "the host of this meeting was stopped: serve was ended by SIGTERM";

#[test]
fn a_serve_that_is_stopped_tells_a_shard_that_waits_why() {
    let served = Served::for_shards();
    let waits = served.shard_to(served.server, "1/3", "--target 300");
    served.running.wait_until_said("shard 1 of 3 has come from host ");
    served.running.signal(SIGTERM);
    let ended = waits.wait();
    ended.expect_exit(1);
    assert!(
        ended.stderr.contains(&format!("error: {STOPPED}\nhint: start all shards again")),
        "{}",
        ended.stderr
    );
    served.running.wait().expect_exit(0);
}

#[test]
fn a_serve_that_is_stopped_in_mid_run_tells_the_shards_why_and_writes_down_what_there_is() {
    let served = Served::for_shards();
    let shards = served.shards(3, "--target 300 --hold 10m --on-lost-shard degrade");
    served.wait_for_open(300);
    served.running.signal(SIGTERM);
    for (number, shard) in (1..).zip(shards) {
        let ended = shard.wait();
        ended.expect_exit(1);
        let record: Record = serde_json::from_str(&ended.stdout).expect("a record");
        assert_eq!(record.ended_because.as_deref(), Some(STOPPED), "{}", ended.stderr);
        assert_eq!(result(&ended, number).end.why.as_deref(), Some(STOPPED));
    }
    let account = account(&served.folder());
    assert_eq!((&account["failed"], account["lost"].as_array().map(Vec::len)), (&STOPPED.into(), Some(0)));
    served.running.wait().expect_exit(0);
}

/// A client that has one connection and no other.
struct OnOne(BufReader<TcpStream>);

impl OnOne {
    #[track_caller]
    fn connect(control: SocketAddr) -> Self {
        let stream = TcpStream::connect(control).expect("connected");
        stream.set_read_timeout(Some(PATIENCE)).expect("set");
        Self(BufReader::new(stream))
    }

    #[track_caller]
    fn ask(&mut self, path: &str, body: &impl Serialize) {
        let body = serde_json::to_string(body).expect("JSON");
        let request = format!("POST {path} HTTP/1.1\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        self.0.get_mut().write_all(request.as_bytes()).expect("asked");
    }

    #[track_caller]
    fn answer<T: DeserializeOwned>(&mut self) -> T {
        let mut length = 0;
        loop {
            let mut line = String::new();
            assert!(self.0.read_line(&mut line).expect("a line") > 0, "its connection was ended");
            match line.trim_end().split_once(": ") {
                Some(("Content-Length", value)) => length = value.parse().expect("a length"),
                None if line == "\r\n" => break,
                _ => {}
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).expect("a body");
        serde_json::from_slice(&body).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&body)))
    }
}

#[test]
fn three_hundred_shards_begin_together_each_on_the_connection_that_it_came_with() {
    const OF: u32 = 300;
    let served = Served::for_shards();
    let mut shards: Vec<OnOne> = (0..OF).map(|_| OnOne::connect(served.control)).collect();
    let join = |shard| Join {
        shard,
        of: OF,
        attempt_token: format!("process-{shard}"),
        build: build(),
        plan: "'a plan'".to_owned(),
        gates: 3,
        on_lost: OnLost::Fail,
        timeout_ms: 60_000,
        client: ShardProcess { host: "here".to_owned(), pid: shard, ..ShardProcess::default() },
        limits: HostSnapshot::default(),
        offset_ns: None,
        round_trip_ns: None,
    };
    for (number, shard) in (1..).zip(&mut shards) {
        shard.ask(&path::meet("noon", "join"), &join(number));
    }
    let beats: Vec<Beat> = (1..)
        .zip(&mut shards)
        .map(|(number, shard)| {
            let Joined { meeting, attempt, .. } = shard.answer();
            Beat { shard: number, attempt, meeting, ..Beat::default() }
        })
        .collect();
    let give_up = Instant::now() + PATIENCE;
    loop {
        for (shard, beat) in shards.iter_mut().zip(&beats) {
            shard.ask(&path::meet("noon", "beat"), beat);
        }
        let states: Vec<MeetState> = shards.iter_mut().map(OnOne::answer).collect();
        if states.iter().all(|state| matches!(state, MeetState::Start { .. })) {
            break;
        }
        let goes_on =
            |state: &MeetState| matches!(state, MeetState::Waiting { .. } | MeetState::Start { .. });
        assert!(states.iter().all(goes_on) && Instant::now() < give_up, "{states:?}");
    }
}

#[test]
fn a_lab_that_begins_a_run_and_shards_that_meet_are_kept_apart() {
    let served = Served::for_shards();
    let shards = served.shards(2, "--target 200 --hold 10m");
    served.running.wait_until_said("all 2 shards begin");
    let other = "swarm --no-apply --shard 1/1 --run-id other --rendezvous-timeout 1s --server";
    let (server, control) = (served.server.to_string(), served.control.to_string());
    let words: Vec<&str> =
        other.split(' ').chain([server.as_str(), "--rendezvous", control.as_str()]).collect();
    let refused = common::lab(&words);
    refused.expect_exit(3);
    assert!(
        refused.stderr.contains("run 'other' cannot gather: run 'noon' is being measured"),
        "{}",
        refused.stderr
    );
    let hello = Client::new(served.control, None).with_patience(PATIENCE).hello().expect("hello");
    assert!(
        matches!(hello.state, c10k_record::control::FarState::Running(running) if running.run_id == "noon")
    );
    // Who is none of the shards does not end their run.
    let mut stranger = Client::new(served.control, None).with_patience(PATIENCE);
    let end = EndRun { reason: "done".to_owned() };
    let refused = stranger.post::<Value>(&path::end("noon"), &end).expect_err("it is of shards");
    assert!(refused.to_string().contains("the run noon is of shards that meet here"), "{refused}");
    for shard in &shards {
        shard.signal(SIGTERM);
    }
    for shard in shards {
        let ended = shard.wait();
        assert!(matches!(ended.status.code(), Some(143 | 1)), "{}", ended.stderr);
    }
    served.running.signal(SIGTERM);
    served.running.wait().expect_exit(0);
}
