//! A run in shards: three swarms as processes against one server, and what comes of them together.

mod common;

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};

use c10k_record::{
    Exit, PhaseName, Record, RunState, ServerEvent, ServerReport, SwarmEvent, headline, read_record,
    read_shard_result,
};
use common::{PATIENCE, expect_schema, hlog, send};
use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_c10k-lab");

/// A process that says JSON lines and takes words on stdin; it is killed with the value.
struct Talking {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Talking {
    #[track_caller]
    fn start(words: &[&str], before: &str) -> Self {
        let script = format!("{before}exec \"$0\" \"$@\"");
        let mut child = Command::new("env")
            .args(["--default-signal=HUP,INT,QUIT", "sh", "-c", &script, PROGRAM])
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("started");
        let (sender, lines) = channel();
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        std::thread::spawn(move || {
            stdout.lines().map_while(Result::ok).all(|line| sender.send(line).is_ok());
        });
        let stdin = child.stdin.take();
        Self { child, stdin, lines }
    }

    /// Waits for a line of which `wanted` makes something.
    #[track_caller]
    fn wait_for<T>(&self, what: &str, wanted: impl Fn(&str) -> Option<T>) -> T {
        loop {
            let line = self.lines.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("never said {what}"));
            if let Some(it) = wanted(&line) {
                return it;
            }
        }
    }

    #[track_caller]
    fn tell(&mut self, word: &str) {
        writeln!(self.stdin.as_mut().expect("open"), "{word}").expect("it listens");
    }

    fn signal(&self, signal: Signal) {
        send(self.child.id(), signal);
    }

    /// Waits for its end: its exit code, and what it said to people.
    #[track_caller]
    fn end(mut self) -> (Option<i32>, String) {
        let mut stderr = String::new();
        let mut from = self.child.stderr.take().expect("piped");
        std::io::Read::read_to_string(&mut from, &mut stderr).expect("text");
        (self.child.wait().expect("a child of ours").code(), stderr)
    }
}

impl Drop for Talking {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A server, and where it listens.
#[track_caller]
fn server() -> (Talking, String) {
    let server = Talking::start(&["server", "--listen", "127.0.0.1:0", "--events"], "");
    let address = server.wait_for("where it listens", |line| match serde_json::from_str(line).ok()? {
        ServerEvent::Ready { listen, .. } => listen.first().map(ToString::to_string),
        _ => None,
    });
    (server, address)
}

/// One server, three swarms, and the folder of their results.
struct Three {
    home: TempDir,
    server: Talking,
    swarms: Vec<Talking>,
}

impl Three {
    /// All three hold.
    #[track_caller]
    fn holding(arguments: &[&str]) -> Self {
        let mut three = Self::start(arguments, ["", "", ""]);
        three.wait_for_hold();
        three
    }

    #[track_caller]
    fn start(arguments: &[&str], before: [&str; 3]) -> Self {
        let (server, address) = server();
        let home = TempDir::new().expect("a folder");
        let result = home.path().join("run").display().to_string();
        let swarm = |(n, before): (usize, &str)| {
            let shard = format!("{}/3", n + 1);
            let mut words = vec!["swarm", "--events", "--server", &address, "--shard", &shard];
            words.extend(["--run-id", "evening", "--result", &result, "--hold", "1h"]);
            words.extend(arguments);
            Talking::start(&words, before)
        };
        let swarms = before.into_iter().enumerate().map(swarm).collect();
        Self { home, server, swarms }
    }

    #[track_caller]
    fn wait_for_hold(&mut self) {
        for swarm in &self.swarms {
            swarm.wait_for("that it holds", |line| match serde_json::from_str(line).ok()? {
                SwarmEvent::Phase { phase: PhaseName::Hold, .. } => Some(()),
                _ => None,
            });
        }
        // Until each has told of it again, so that there are rows of a time at which all hold.
        for swarm in &self.swarms {
            while swarm.lines.try_recv().is_ok() {}
        }
        for swarm in &self.swarms {
            for _ in 0..4 {
                swarm.wait_for("that it still holds", |line| match serde_json::from_str(line).ok()? {
                    SwarmEvent::Tick { phase: PhaseName::Hold, .. } => Some(()),
                    _ => None,
                });
            }
        }
    }

    /// The folder of the results.
    fn folder(&self) -> PathBuf {
        self.home.path().join("run")
    }

    /// Has those end in order that still run, and waits for all: their exit codes, and what they said.
    #[track_caller]
    fn stop(&mut self) -> Vec<(Option<i32>, String)> {
        for swarm in &mut self.swarms {
            if swarm.child.try_wait().expect("a child of ours").is_none() {
                swarm.tell("stop");
            }
        }
        self.swarms.drain(..).map(Talking::end).collect()
    }

    /// Ends the server and writes its own count beside the results.
    #[track_caller]
    fn keep_servers_count(&self) -> ServerReport {
        self.server.signal(Signal::SIGTERM);
        let report = self.server.wait_for("its last word", |line| match serde_json::from_str(line).ok()? {
            ServerEvent::Done(report) => Some(report),
            _ => None,
        });
        let text = serde_json::to_string(&report).expect("plain data");
        std::fs::write(self.folder().join("server.json"), text).expect("written");
        report
    }
}

#[track_caller]
fn merge(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(PROGRAM);
    command.arg("merge").arg(folder).args(arguments).stdin(Stdio::null());
    command.output().expect("the lab runs")
}

/// The record of a merged run, as it must be.
#[track_caller]
fn merged(folder: &Path) -> Record {
    let folder = folder.join("merged");
    let text = std::fs::read_to_string(folder.join("record.json")).expect("a record");
    expect_schema(&serde_json::from_str(&text).expect("JSON"));
    let record = read_record(&folder).expect("a record");
    assert_eq!(record.broken_identity(), None);
    record
}

#[test]
fn three_shards_hold_together_what_is_asked_for_and_the_server_counts_the_same() {
    let mut three = Three::holding(&["--target", "1000", "--rate", "2000/s"]);
    for (code, stderr) in three.stop() {
        assert_eq!(code, Some(0), "{stderr}");
    }
    let report = three.keep_servers_count();
    let folder = three.folder();
    let output = merge(&folder, &["--verdict", "echo_p95 <= 1h", "--verdict", "failed = 0"]);
    let (stdout, stderr) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr).into_owned());
    assert_eq!(output.status.code(), Some(0), "{stdout}{stderr}");
    assert!(stdout.starts_with("HELD 1,000 of 1,000 by 3 of 3 shards\n"), "{stdout}{stderr}");
    let record = merged(&folder);
    let c = &record.connections;
    assert_eq!(
        (c.target, c.attempted, c.established, c.verified, c.held),
        (1000, 1000, 1000, Some(1000), 1000)
    );
    assert_eq!((c.accepted, c.ghosts, report.accepted), (Some(1000), Some(0), 1000));
    // Each has its part: a third of the target, of the rate, and of the addresses.
    let mut seen = Vec::new();
    for (index, part) in [(1, 333), (2, 333), (3, 334)] {
        let result = read_shard_result(&folder.join(format!("shard-{index}-of-3.json"))).expect("a result");
        let own = result.record.expect("a record").connections;
        assert_eq!((own.target, own.held), (part, part), "shard {index}");
        assert_eq!(result.plan.expect("the plan of all").target, 1000);
        seen.extend(result.sources);
    }
    for (n, one) in seen.iter().enumerate() {
        assert!(seen[n + 1..].iter().all(|other| one.common_with(other).is_none()), "{seen:?}");
    }
    let shards = record.shards.as_ref().expect("shards");
    assert!(shards.together_ms.is_some() && shards.clock_error_us == Some(0), "{shards:?}");
    expect_pooled(&folder, &record);
    expect_a_runs_folder(&folder);
}

/// The percentiles of the record are those of all recorded samples together.
#[track_caller]
fn expect_pooled(folder: &Path, record: &Record) {
    let logs: Vec<_> =
        (1..=3).map(|index| hlog::read(&folder.join(format!("shard-{index}-of-3.hlog")))).collect();
    let latency = &record.latency_us;
    let response = latency.connect_response.expect("a rate intends a time");
    let lateness = record.lateness_us.expect("a rate intends a time");
    for (tag, told) in [
        ("connect", latency.connect),
        ("first_echo", latency.first_echo),
        ("echo", latency.echo),
        ("connect_response", response),
        ("lateness", lateness),
    ] {
        let mut all = logs[0][tag].clone();
        logs[1..].iter().for_each(|log| all.add(&log[tag]).expect("of one kind"));
        assert_eq!(told.count, 1000, "{tag}");
        let quantiles = [0.5, 0.9, 0.95, 0.99, 0.999].map(|q| Some(all.value_at_quantile(q)));
        assert_eq!([told.p50, told.p90, told.p95, told.p99, told.p999], quantiles, "{tag}");
        assert_eq!(told.max, Some(all.max()), "{tag}");
    }
    let merged = hlog::read(&folder.join("merged/latency.hlog"));
    assert_eq!(merged["connect"].len(), 1000, "over time it is all of them too");
}

/// What has been written is the folder of a run, for all that reads one.
#[track_caller]
fn expect_a_runs_folder(folder: &Path) {
    let merged = folder.join("merged");
    let text = std::fs::read_to_string(merged.join("samples.csv")).expect("rows");
    let rows = c10k_report::read_samples(&text).expect("rows");
    assert!(rows.iter().any(|row| row.phase == "hold" && row.open == Some(1000)), "{text}");
    let page = std::fs::read_to_string(merged.join("report.html")).expect("a page");
    assert!(page.contains("by 3 of 3 shards") && !page.contains("Not all of this run"), "{page}");
    let output =
        Command::new(PROGRAM).arg("report").arg(&merged).stdin(Stdio::null()).output().expect("runs");
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && told.contains("by 3 of 3 shards"), "{told}");
    let json = merge(folder, &["--json"]);
    let record: Value = serde_json::from_slice(&json.stdout).expect("one document");
    assert_eq!(record["connections"]["held"], 1000);
}

#[test]
fn shards_that_are_stopped_or_killed_are_named_and_the_others_count() {
    let mut three = Three::holding(&["--target", "300"]);
    three.swarms[0].signal(Signal::SIGTERM);
    three.swarms[2].signal(Signal::SIGKILL);
    let stopped = three.swarms.remove(0).end();
    assert_eq!(stopped.0, Some(143), "{}", stopped.1);
    let killed = three.swarms.remove(1).end();
    assert_eq!(killed.0, None);
    let ended = three.stop();
    assert_eq!(ended[0].0, Some(0), "{}", ended[0].1);
    let folder = three.folder();
    let result = read_shard_result(&folder.join("shard-1-of-3.json")).expect("a stopped one leaves a result");
    assert_eq!((result.end.exit_code, result.end.why.as_deref()), (143, Some("stopped by SIGTERM")));
    assert!(!folder.join("shard-3-of-3.json").exists());
    let output = merge(&folder, &["--verdict", "echo_p95 <= 1h"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let record = merged(&folder);
    assert_eq!(
        (record.state, record.connections.target, record.connections.held),
        (RunState::Complete, 300, 100)
    );
    let told = "SHORT: held 100 of 300 by 1 of 3 shards; shard 1/3 was lost: stopped by SIGTERM; shard 3/3 was lost: it \
                left no result";
    assert!(headline(&record).1.starts_with(told), "{}", headline(&record).1);
}

#[test]
fn a_result_that_cannot_be_written_breaks_its_shard_and_is_said() {
    // As on a disk that is full: no file grows beyond a block.
    let small = "trap '' XFSZ; ulimit -f 8 || exit 99\n";
    let mut three = Three::start(&["--target", "300"], ["", small, ""]);
    three.wait_for_hold();
    let ended = three.stop();
    let codes: Vec<_> = ended.iter().map(|(code, _)| *code).collect();
    let broke = Some(i32::from(Exit::Broke.code()));
    assert_eq!(codes, [Some(0), broke, Some(0)], "{ended:?}");
    assert!(ended[1].1.contains("error: cannot write the shard's result"), "{}", ended[1].1);
    assert!(ended[1].1.contains("hint: "), "{}", ended[1].1);
    let names: Vec<_> = std::fs::read_dir(three.folder())
        .expect("a folder")
        .map(|entry| entry.expect("listed").file_name().to_string_lossy().into_owned())
        .filter(|name| name.contains("shard-2-of-3") && name.contains(".json"))
        .collect();
    assert!(names.is_empty(), "no half of it is left: {names:?}");
}

#[track_caller]
fn swarm(arguments: &[&str], environment: &[(&str, &str)]) -> (Option<i32>, String) {
    let output = Command::new(PROGRAM)
        .args(["swarm", "--json", "--hold", "0s", "--target", "300"])
        .args(arguments)
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .output()
        .expect("the swarm runs");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn flags_of_a_shard_that_say_nothing_or_too_much_are_refused_with_what_was_expected() {
    let home = TempDir::new().expect("a folder");
    let folder = home.path().join("new").display().to_string();
    let cases: [(&[&str], &str); 12] = [
        (&["--shard", "0/3"], "there is no shard 0 of 3"),
        (&["--shard", "4/3"], "there is no shard 4 of 3"),
        (&["--shard", "1"], "is not a shard: expected I/N"),
        (&["--shard-from", "A_B"], "does not name two variables"),
        (&["--shard-from", "NOT_SET_HERE/3"], "has no variable NOT_SET_HERE"),
        (&["--shard", "1/3", "--shard-from", "A/B"], "cannot be used with"),
        (&["--result", &folder, "--run-id", "a"], "--result is of a swarm that is one of several"),
        (&["--result", &folder, "--shard", "1/3"], "--run-id"),
        (&["--shard", "1/3", "--run-id", "a/b"], "'a/b' cannot name a run"),
        (&["--shard", "1/3", "--rate", "2/s"], "--rate of 2 divided by 3 shards leaves shard 1/3 nothing"),
        (&["--shard", "1/3", "--ips", "127.0.0.1-127.0.0.2"], "names 2 source addresses for 3 shards"),
        (&["--shard", "1/3", "--shard-ips", "mine"], "expected divide or own"),
    ];
    for (arguments, told) in cases {
        let (code, stderr) = swarm(arguments, &[]);
        assert_eq!(code, Some(2), "{arguments:?}: {stderr}");
        assert!(stderr.contains(told), "{arguments:?}: {stderr}");
    }
    assert!(!home.path().join("new").exists(), "nothing is made for a text that is refused");
    let variables = [("INDEX", "3"), ("COUNT", "3")];
    let (code, stderr) = swarm(&["--shard-from", "INDEX/COUNT"], &variables);
    assert!(
        code == Some(2) && stderr.contains("INDEX is 3, and there are 3 shards: expected 0 to 2"),
        "{stderr}"
    );
}

#[test]
fn no_result_is_written_over_another_and_who_cannot_begin_leaves_one() {
    let (_server, address) = server();
    let home = TempDir::new().expect("a folder");
    let folder = home.path().display().to_string();
    let with = ["--server", &address, "--shard-from", "INDEX/2", "--run-id", "a", "--result", &folder];
    let first = [("INDEX", "0")];
    let (code, stderr) = swarm(&with, &first);
    assert_eq!(code, Some(0), "{stderr}");
    let before = std::fs::read(home.path().join("shard-1-of-2.json")).expect("a result");
    let (code, stderr) = swarm(&with, &first);
    assert!(code == Some(3) && stderr.contains("is there already"), "{code:?} {stderr}");
    assert_eq!(std::fs::read(home.path().join("shard-1-of-2.json")).expect("a result"), before);
    let not_here = [&with[..], &["--ips", "198.51.100.1-198.51.100.2"]].concat();
    let (code, stderr) = swarm(&not_here, &[("INDEX", "1")]);
    assert_eq!(code, Some(3), "{stderr}");
    let result = read_shard_result(&home.path().join("shard-2-of-2.json")).expect("a result");
    assert!(result.record.is_none() && result.end.exit_code == 3, "{:?}", result.end);
    assert!(result.end.why.is_some_and(|why| why.contains("198.51.100.2")));
    // Under a file no folder can be made.
    let below = home.path().join("shard-1-of-2.json/x").display().to_string();
    let (code, stderr) = swarm(&["--shard", "1/2", "--run-id", "a", "--result", &below], &[]);
    assert!(code == Some(3) && stderr.contains("cannot write the shard's result"), "{code:?} {stderr}");
}
