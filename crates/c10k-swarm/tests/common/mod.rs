//! A real swarm, and servers of every kind to set it against.

#![allow(dead_code, reason = "every test file uses its own part of this vocabulary")]

#[path = "../../../c10k-record/tests/common/program.rs"]
mod program;
pub(crate) mod pusher;
pub(crate) mod server;

use std::io::Write;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::Receiver;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use c10k_record::{LiveCounts, PhaseName, PortsInPlan, Record, SwarmEvent, Verdict, Worked};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Longer than anything here takes on a busy machine; only a failure waits for it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(40);

/// The program under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_c10k-swarm");

/// How a swarm ended that printed a document.
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) record: Record,
    pub(crate) stderr: String,
    pub(crate) took: Duration,
}

impl Ended {
    /// How many were lost under `outcome`.
    pub(crate) fn failed(&self, outcome: &str) -> u64 {
        let failed = &self.record.connections.failed;
        failed.iter().filter(|(name, _)| name.name() == outcome).map(|(_, count)| count).sum()
    }

    /// Asserts the code, and that nothing was counted twice or not at all. A machine so busy that echoes take
    /// longer than their verdict allows is no fault of the swarm.
    #[track_caller]
    pub(crate) fn expect_code(&self, code: i32) -> &Self {
        let slow = |verdict: &Verdict| verdict.expr.starts_with("echo_p95") && verdict.value.is_some();
        let only_slow = self.record.verdicts.iter().all(|verdict| verdict.holds() || slow(verdict));
        let found = if self.code == Some(1) && code == 0 && only_slow { Some(0) } else { self.code };
        assert_eq!(found, Some(code), "{:?}\n{}", self.record.connections, self.stderr);
        assert_eq!(self.record.broken_identity(), None, "{:?}", self.record);
        assert!(!self.stderr.contains("panicked"), "{}", self.stderr);
        self
    }

    /// Asserts verified and held.
    #[track_caller]
    pub(crate) fn expect_counts(&self, verified: u64, held: u64) -> &Self {
        let c = &self.record.connections;
        assert_eq!((c.verified, c.held), (Some(verified), held), "{c:?}\n{}", self.stderr);
        self
    }

    /// Asserts that exactly these were lost.
    #[track_caller]
    pub(crate) fn expect_failed(&self, expected: &[(&str, u64)]) -> &Self {
        let failed = &self.record.connections.failed;
        let found: Vec<(&str, u64)> = failed.iter().map(|(name, count)| (name.name(), *count)).collect();
        assert_eq!(found, expected, "{}", self.stderr);
        self
    }

    /// What the server said in words, and on how many connections.
    pub(crate) fn said(&self) -> Vec<(&str, u64)> {
        self.record.evidence.words.iter().map(|words| (words.text.as_str(), words.count)).collect()
    }

    /// Whether there is a warning with this id.
    pub(crate) fn warns(&self, id: &str) -> bool {
        self.record.warnings.iter().any(|warning| warning.id == id)
    }

    /// The wall that the document names.
    pub(crate) fn wall(&self) -> Option<&str> {
        self.record.ceiling.as_ref().map(|ceiling| ceiling.wall.as_str())
    }

    /// How the tuples of the plan stood when growth stopped for want of one.
    #[track_caller]
    pub(crate) fn ports_used_up(&self) -> PortsInPlan {
        let evidence = self.record.growth_evidence.as_ref();
        evidence.and_then(|evidence| evidence.ports).expect("growth stopped for want of ports")
    }

    /// Asserts that the wall is the ports. Where TIME_WAIT of others in this namespace is as large as these few
    /// ports, it is named instead of them.
    #[track_caller]
    pub(crate) fn expect_ports_wall(&self) {
        let wall = self.wall();
        let others = self.record.time_wait.peak.is_some_and(|count| count > 0);
        assert!(
            wall == Some("ports-exhausted") || (others && wall == Some("time-wait-ports")),
            "{:?}",
            self.record.ceiling
        );
    }
}

/// Runs the swarm with `--json` to its end.
#[track_caller]
pub(crate) fn run(arguments: &[&str]) -> Ended {
    run_by(Command::new(PROGRAM), arguments)
}

/// Runs the swarm with `--json` and a descriptor limit, soft and hard.
#[track_caller]
pub(crate) fn run_limited(nofile: u32, arguments: &[&str]) -> Ended {
    run_by(limited(nofile), arguments)
}

/// Runs the swarm with `--json` and holds for a moment only.
#[track_caller]
fn run_by(mut command: Command, arguments: &[&str]) -> Ended {
    let begun = Instant::now();
    let output = command
        .args(["--no-apply", "--json"])
        .args(if arguments.contains(&"--hold") { &[][..] } else { &["--hold", "100ms"] })
        .args(close_by_rst(arguments))
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let (stdout, stderr) = (text(output.stdout), text(output.stderr));
    let record = one_document(&stdout).unwrap_or_else(|why| panic!("{why}: '{stdout}'\n{stderr}"));
    Ended { code: output.status.code(), record, stderr, took: begun.elapsed() }
}

/// Asserts that every connection is counted once, at every sample: as open, as ended in one way, or as under way.
#[track_caller]
fn expect_all_counted(event: &SwarmEvent) {
    if let SwarmEvent::Tick { counts, .. } | SwarmEvent::Phase { counts, .. } = event {
        let settled = counts.open + counts.failed + counts.released + counts.closed;
        let within = settled..=settled + counts.in_flight;
        assert!(within.contains(&counts.attempted), "{event:?}");
    }
}

/// Leaves no TIME_WAIT behind, which would take tuples from the next test that gets the same port.
fn close_by_rst<'a>(arguments: &[&str]) -> &'a [&'a str] {
    if arguments.contains(&"--close") { &[] } else { &["--close", "rst"] }
}

/// Runs the swarm to an end without a document: code, stdout, stderr.
pub(crate) fn run_to_refusal(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output =
        Command::new(PROGRAM).arg("--no-apply").args(arguments).stdin(Stdio::null()).output().unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// The program with a descriptor limit, soft and hard.
pub(crate) fn limited(nofile: u32) -> Command {
    program::limited(PROGRAM, nofile)
}

fn one_document(stdout: &str) -> Result<Record, String> {
    if stdout.lines().count() != 1 {
        return Err("not exactly one document".to_owned());
    }
    serde_json::from_str(stdout).map_err(|error| error.to_string())
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

/// A swarm that runs with `--events`; it is killed when the test is done with it.
pub(crate) struct Swarm {
    child: Child,
    stdin: Option<ChildStdin>,
    events: Receiver<SwarmEvent>,
    /// As it said when it was ready.
    pub(crate) connections_per_table: u64,
    stderr: Option<JoinHandle<String>>,
    begun: Instant,
}

impl Swarm {
    #[track_caller]
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::start_by(Command::new(PROGRAM), arguments)
    }

    /// A swarm that does only what it is told.
    #[track_caller]
    pub(crate) fn commanded(arguments: &[&str]) -> Self {
        Self::start_by(Command::new(PROGRAM), &[&["--commanded"], arguments].concat())
    }

    #[track_caller]
    pub(crate) fn start_by(mut command: Command, arguments: &[&str]) -> Self {
        command.args(["--no-apply", "--events"]).args(close_by_rst(arguments)).args(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (events, stderr) = program::listen_to(&mut child);
        let stdin = child.stdin.take();
        let begun = Instant::now();
        let mut swarm = Self { child, stdin, events, connections_per_table: 0, stderr: Some(stderr), begun };
        match swarm.next() {
            SwarmEvent::Ready { connections_per_table, .. } => {
                swarm.connections_per_table = connections_per_table;
            }
            other => panic!("{other:?}"),
        }
        swarm
    }

    /// The next line it says.
    #[track_caller]
    pub(crate) fn next(&self) -> SwarmEvent {
        let event = self.events.recv_timeout(PATIENCE).expect("the swarm says nothing more");
        expect_all_counted(&event);
        event
    }

    /// Waits until it enters a phase.
    #[track_caller]
    pub(crate) fn wait_for_phase(&self, wanted: PhaseName) {
        loop {
            match self.next() {
                SwarmEvent::Phase { phase, .. } if phase == wanted => return,
                SwarmEvent::Done { record } => panic!("no phase {wanted} before the end: {record:?}"),
                _ => {}
            }
        }
    }

    /// Waits for counts that fulfil `condition`.
    #[track_caller]
    pub(crate) fn wait_for(&self, what: &str, condition: impl Fn(&LiveCounts) -> bool) -> LiveCounts {
        let give_up = Instant::now() + PATIENCE;
        loop {
            let (SwarmEvent::Tick { counts, .. } | SwarmEvent::Phase { counts, .. }) = self.next() else {
                continue;
            };
            if condition(&counts) {
                return counts;
            }
            assert!(Instant::now() < give_up, "{what} never came: {counts:?}");
        }
    }

    /// Has it prove all connections and gives the counts.
    #[track_caller]
    pub(crate) fn verify(&mut self) -> c10k_record::Connections {
        self.command("verify");
        loop {
            match self.next() {
                SwarmEvent::Verified { connections, .. } => return connections,
                SwarmEvent::Done { record } => panic!("not verified before the end: {record:?}"),
                _ => {}
            }
        }
    }

    /// Sends a line to its stdin.
    #[track_caller]
    pub(crate) fn command(&mut self, line: &str) {
        self.command_bytes(format!("{line}\n").as_bytes());
    }

    #[track_caller]
    pub(crate) fn command_bytes(&mut self, bytes: &[u8]) {
        let stdin = self.stdin.as_mut().unwrap();
        stdin.write_all(bytes).and_then(|()| stdin.flush()).unwrap();
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).unwrap();
    }

    /// Resident memory, bytes.
    pub(crate) fn rss(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.split_whitespace().next().unwrap().parse::<u64>().unwrap() * 1024
    }

    /// Its threads.
    pub(crate) fn threads(&self) -> u64 {
        std::fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap().count() as u64
    }

    /// Waits for its last word and its end.
    #[track_caller]
    pub(crate) fn wait_for_end(mut self) -> Ended {
        let record = loop {
            match self.events.recv_timeout(PATIENCE) {
                Ok(SwarmEvent::Done { record }) => break *record,
                Ok(event) => expect_all_counted(&event),
                Err(error) => {
                    let _ = self.child.kill();
                    panic!("no last word ({error}): {}", self.stderr.take().unwrap().join().unwrap());
                }
            }
        };
        let code = self.child.wait().unwrap().code();
        let stderr = self.stderr.take().unwrap().join().unwrap();
        Ended { code, record, stderr, took: self.begun.elapsed() }
    }

    /// Waits for an end without a last word.
    pub(crate) fn wait_for_death(mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }
}

impl Drop for Swarm {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asserts that so many messages were intended, and each was answered or is known to be unsent: the few at the most that a
/// busy machine does not come to before the end. Gives how many those are.
#[track_caller]
pub(crate) fn expect_few_unsent(worked: &Worked, intended: u64) -> u64 {
    let never = worked.messages_never_sent;
    assert_eq!(worked.messages_intended, Some(intended), "{worked:?}");
    assert_eq!((worked.messages_answered + never, worked.messages_wrong), (intended, 0), "{worked:?}");
    assert!(never <= (intended / 100).max(2), "{worked:?}");
    never
}
