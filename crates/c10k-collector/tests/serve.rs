//! `c10k-collector --serve`: the far end of a run beside a server that somebody else started.

mod common;

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use c10k_collector::far::{Ended, Look, Mark, Marked, Moment};
use c10k_record::control::meet::{Beat, Join, Joined, MeetState, OnLost, ShardProcess};
use c10k_record::control::{Begin, Begun, Build, Client, ControlError, EndRun, Token, path};
use c10k_record::{HostSnapshot, LoadPlan, SCHEMA_VERSION};
use common::Holder;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

const TOKEN: &str = "0123456789abcdefghij";
/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// A collector that serves; killed with this value.
struct Served {
    child: Child,
    control: SocketAddr,
}

impl Served {
    fn start(words: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_c10k-collector"))
            .args(["--serve", "127.0.0.1:0", "--events"])
            .args(words)
            .env("C10K_TOKEN", TOKEN)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(ready["event"], "ready", "{line}");
        let control = ready["control"].as_str().unwrap().parse().unwrap();
        Self { child, control }
    }

    fn client(&self) -> Client {
        let token = Token::parse(TOKEN.as_bytes(), "here").unwrap();
        Client::new(self.control, Some(token)).with_patience(PATIENCE)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn begin(run_id: &str) -> Begin {
    let plan = json!({
        "schema_version": SCHEMA_VERSION, "profile": "stock", "topology": "remote", "protocol": "raw",
        "workload": "hold", "target": 40, "verdicts": [],
        "server": { "listen": ["127.0.0.1:9000"], "mode": "echo" }, "load": LoadPlan::default(),
    });
    Begin {
        run_id: run_id.to_owned(),
        // Another program: its version is what is compared.
        build: Build { version: env!("CARGO_PKG_VERSION").to_owned(), ..Build::default() },
        client: "a test".to_owned(),
        any_build: false,
        plan: serde_json::from_value(plan).unwrap(),
    }
}

#[test]
#[ignore = "the process that holds the connections, started by the tests below"]
fn holder() {
    common::be_holder_if_asked();
}

#[test]
fn beside_any_server_a_run_is_watched_as_beside_one_of_ours_but_for_what_only_that_could_say() {
    let mut holder = Holder::start("holder");
    let served = Served::start(&["--port", &holder.port.to_string()]);
    let mut client = served.client();
    let hello = client.hello().unwrap();
    assert_eq!((hello.server.foreign, hello.server.pid), (true, Some(holder.pid())));
    assert_eq!((hello.server.protocol, hello.profile), (None, None));
    assert_eq!(hello.listen, [SocketAddr::from(([127, 0, 0, 1], holder.port))]);
    let begun: Begun = client.post(path::RUNS, &begin("r")).unwrap();
    assert_eq!(begun.open_before, Some(0));
    let pairs = holder.open(40);
    let mark = Mark { moment: Moment::Hold, connections: pairs, clients_here: pairs, settle_ms: 100 };
    let hold: Marked = client.post(&path::mark("r"), &mark).unwrap();
    assert_eq!((hold.established, hold.not_accepted), (Some(pairs), Some(0)));
    assert!(hold.look.report.is_none() && !hold.look.report_is_fresh, "nobody counts what it accepted");
    assert_eq!(hold.memory.and_then(|memory| memory.connections), Some(pairs));
    let look: Look = client.get(&path::look("r")).unwrap();
    assert!(look.seen.counter("PassiveOpens").unwrap() >= pairs, "since the run began");
    assert_eq!(look.seen.listener.map(|listener| listener.listeners), Some(1));
    holder.kill();
    let give_up = Instant::now() + PATIENCE;
    while client.get::<Look>(&path::look("r")).unwrap().server_end.is_none() {
        assert!(Instant::now() < give_up, "its end is seen");
        std::thread::sleep(Duration::from_millis(50));
    }
    let ended: Ended = client.post(&path::end("r"), &EndRun { reason: "done".to_owned() }).unwrap();
    assert!(ended.look.server_end.is_some_and(|end| end.words.contains(&holder.pid().to_string())));
    // Without its server there is nothing to serve for.
    let mut served = served;
    assert_eq!(served.child.wait().unwrap().code(), Some(1));
}

#[test]
fn one_that_is_stopped_tells_the_shards_that_gather_there_why() {
    let holder = Holder::start("holder");
    let mut served = Served::start(&["--port", &holder.port.to_string()]);
    let mut client = served.client();
    let join = Join {
        shard: 1,
        of: 2,
        attempt_token: "one".to_owned(),
        build: Build::default(),
        plan: "'a plan'".to_owned(),
        gates: 3,
        on_lost: OnLost::Fail,
        timeout_ms: 60_000,
        client: ShardProcess::default(),
        limits: HostSnapshot::default(),
        offset_ns: None,
        round_trip_ns: None,
    };
    let Joined { meeting, attempt, .. } = client.post(&path::meet("r", "join"), &join).unwrap();
    let beat = Beat { shard: 1, attempt, meeting, ..Beat::default() };
    kill(Pid::from_raw(served.child.id() as i32), Signal::SIGTERM).unwrap();
    let why = loop {
        match client.post(&path::meet("r", "beat"), &beat).unwrap() {
            MeetState::Waiting { .. } => std::thread::sleep(Duration::from_millis(20)),
            MeetState::Failed { why, .. } => break why,
            state => panic!("{state:?}"),
        }
    };
    assert_eq!(why, "the host of this meeting was stopped: the collector at the server was ended");
    assert_eq!(served.child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_token_is_asked_for_and_a_server_that_is_not_there_is_named() {
    let holder = Holder::start("holder");
    let served = Served::start(&["--pid", &holder.pid().to_string()]);
    let mut without = Client::new(served.control, None).with_patience(PATIENCE);
    assert!(matches!(without.hello(), Err(ControlError::Token { had_one: false, .. })));
    assert!(served.client().hello().is_ok());
    for (words, exit, said) in [
        (&["--port", "1", "--serve", "127.0.0.1:0"][..], 3, "nobody listens on port 1"),
        (&["--port", "1", "--serve", "0.0.0.0:0"], 2, "no token is given"),
        (&["--port", "1", "--serve", "127.0.0.1:0", "--json"], 2, "cannot be used with"),
        (&["--port", "1", "--token-file", "x"], 2, "--serve <ADDRESS:PORT>"),
        (
            &["--port", "1", "--serve", "127.0.0.1:0", "--results", "/dev/null/x"],
            3,
            "error: results cannot be written into '/dev/null/x': '/dev/null' is a file",
        ),
        (
            &["--port", "1", "--serve", "127.0.0.1:0", "--results", "/dev/null/x"],
            3,
            "hint: name a folder that can be written with --results",
        ),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_c10k-collector"))
            .args(words)
            .env_remove("C10K_TOKEN")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let heard = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(exit), "{words:?}: {heard}");
        assert!(heard.contains(said), "{words:?}: {heard}");
    }
}
