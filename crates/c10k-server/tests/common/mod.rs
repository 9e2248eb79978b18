//! A real server on a port of its own, and what tests want to know of it.

#![allow(dead_code, reason = "every test file uses its own part of this vocabulary")]
#![allow(clippy::print_stderr, reason = "a skipped test says so")]

#[path = "../../../c10k-record/tests/common/program.rs"]
mod program;

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use c10k_record::{ServerEvent, ServerReport};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Longer than anything here takes on a busy machine; only a failure waits for it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The program under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_c10k-server");

/// A running server; it is killed when the test is done with it.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    /// What it said when it was ready.
    pub(crate) ready: ServerEvent,
    stdin: Option<ChildStdin>,
    events: Receiver<ServerEvent>,
    stderr: Option<JoinHandle<String>>,
    reports: u64,
}

/// How a server ended.
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) report: ServerReport,
    pub(crate) stderr: String,
}

impl Server {
    /// Starts a server on a port of the kernel's choice of 127.0.0.1.
    #[track_caller]
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::start_with(Command::new(PROGRAM), arguments)
    }

    /// Starts a server whose descriptor limit, soft and hard, is `nofile`.
    #[track_caller]
    pub(crate) fn start_limited(nofile: u32, arguments: &[&str]) -> Self {
        Self::start_with(limited(nofile), arguments)
    }

    /// Starts a server in a way of one's own.
    #[track_caller]
    pub(crate) fn start_with(command: Command, arguments: &[&str]) -> Self {
        Self::start_on("127.0.0.1:0", command, arguments)
    }

    /// Starts a server in a way and at a place of one's own.
    #[track_caller]
    pub(crate) fn start_on(listen: &str, mut command: Command, arguments: &[&str]) -> Self {
        c10k_kernel::limits::raise_nofile_soft_to_hard().unwrap();
        command.args(["--listen", listen, "--events"]).args(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (events, stderr) = program::listen_to(&mut child);
        let Ok(ready) = events.recv_timeout(PATIENCE) else {
            let _ = child.kill();
            panic!("the server is not ready: {}", stderr.join().unwrap());
        };
        let ServerEvent::Ready { listen, .. } = &ready else { panic!("{ready:?}") };
        let address = listen[0];
        Self { stdin: child.stdin.take(), child, address, ready, events, stderr: Some(stderr), reports: 0 }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).unwrap();
    }

    /// Sends a line to its stdin.
    pub(crate) fn command(&mut self, line: &str) {
        self.command_bytes(format!("{line}\n").as_bytes());
    }

    pub(crate) fn command_bytes(&mut self, bytes: &[u8]) {
        self.stdin.as_mut().unwrap().write_all(bytes).unwrap();
    }

    pub(crate) fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// A new connection that gives up reading or writing rather than hang.
    #[track_caller]
    pub(crate) fn connect(&self) -> TcpStream {
        connect(self.address)
    }

    /// Open descriptors in all its tables.
    pub(crate) fn descriptors(&self) -> usize {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.pid())).unwrap();
        tasks.map(|task| std::fs::read_dir(task.unwrap().path().join("fd")).unwrap().count()).sum()
    }

    /// The next report that fulfils `condition`, out of those that come once a second.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, what: &str, condition: impl Fn(&ServerReport) -> bool) -> ServerReport {
        let give_up = Instant::now() + PATIENCE;
        let mut last = None;
        loop {
            match self.events.recv_timeout(give_up.saturating_duration_since(Instant::now())) {
                Ok(ServerEvent::Tick(report)) if condition(&report) => return report,
                Ok(ServerEvent::Tick(report)) => last = Some(report),
                Ok(other) => panic!("{what}: {other:?}"),
                Err(RecvTimeoutError::Timeout) => panic!("{what} never came: {last:?}"),
                Err(RecvTimeoutError::Disconnected) => panic!("{what}: the server has ended; {last:?}"),
            }
        }
    }

    /// What it answers to `now`.
    #[track_caller]
    pub(crate) fn now(&mut self) -> ServerReport {
        self.command("now");
        loop {
            match self.events.recv_timeout(PATIENCE).expect("the server says nothing more") {
                ServerEvent::Now(report) => return report,
                ServerEvent::Tick(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// The first report that begins and ends after now.
    #[track_caller]
    pub(crate) fn fresh_report(&mut self) -> ServerReport {
        while self.events.try_recv().is_ok() {}
        self.wait_for("a report", |_| true)
    }

    /// Processor time that it has used, user and system.
    pub(crate) fn cpu(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
        let behind_name = stat.rsplit_once(')').unwrap().1;
        let fields: Vec<&str> = behind_name.split_whitespace().collect();
        let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        Duration::from_millis(ticks * 10)
    }

    /// Asserts that it is idle: it uses less than a tenth of a core.
    #[track_caller]
    pub(crate) fn expect_idle(&self, when: &str) {
        let (cpu, start) = (self.cpu(), Instant::now());
        std::thread::sleep(Duration::from_secs(1));
        let (used, passed) = (self.cpu() - cpu, start.elapsed());
        assert!(used < passed / 10, "{when}: {used:?} of processor time in {passed:?}");
    }

    /// Resident memory, bytes.
    pub(crate) fn rss(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.split_whitespace().next().unwrap().parse::<u64>().unwrap() * 1024
    }

    /// Ends it by SIGTERM and checks what is true of every good end.
    #[track_caller]
    pub(crate) fn stop(self) -> Ended {
        self.signal(Signal::SIGTERM);
        let ended = self.wait_for_end();
        assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
        ended
    }

    /// Waits for its last word and its end.
    #[track_caller]
    pub(crate) fn wait_for_end(mut self) -> Ended {
        let give_up = Instant::now() + PATIENCE;
        let report = loop {
            match self.events.recv_timeout(give_up.saturating_duration_since(Instant::now())) {
                Ok(ServerEvent::Done(report)) => break report,
                Ok(_) => {}
                Err(error) => panic!("no last word ({error}): {}", self.take_stderr()),
            }
        };
        let failed: u64 = report.failed.values().sum();
        assert_eq!(report.accepted, report.open + report.closed + report.drained + failed, "{report:?}");
        let status = self.child.wait().unwrap();
        let stderr = self.take_stderr();
        Ended { status, report, stderr }
    }

    fn take_stderr(&mut self) -> String {
        let _ = self.child.kill();
        self.stderr.take().unwrap().join().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A connection that gives up reading or writing rather than hang.
#[track_caller]
pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// The program with a descriptor limit, soft and hard.
pub(crate) fn limited(nofile: u32) -> Command {
    program::limited(PROGRAM, nofile)
}

/// Runs the program to its end.
pub(crate) fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(PROGRAM).args(arguments).stdin(Stdio::null()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// Sends `bytes` and expects the same ones back.
#[track_caller]
pub(crate) fn expect_echo(mut stream: &TcpStream, bytes: &[u8]) {
    stream.write_all(bytes).unwrap();
    let mut back = vec![0; bytes.len()];
    stream.read_exact(&mut back).unwrap();
    assert!(back == bytes, "other bytes came back");
}

/// Bytes in which every place can be told from its neighbours.
pub(crate) fn pattern(length: usize) -> Vec<u8> {
    (0..length as u64).map(|at| (at.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8).collect()
}

/// Sends as much of `bytes` as the two kernels and the server take while nobody reads; how much that was.
pub(crate) fn send_until_blocked(mut stream: &TcpStream, bytes: &[u8]) -> usize {
    stream.set_nonblocking(true).unwrap();
    let mut sent = 0;
    let mut quiet_since = Instant::now();
    while sent < bytes.len() && quiet_since.elapsed() < Duration::from_millis(500) {
        match stream.write(&bytes[sent..]) {
            Ok(count) => {
                sent += count;
                quiet_since = Instant::now();
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                std::thread::sleep(Duration::from_millis(5));
            }
            // The server has given this connection up.
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
            Err(error) => panic!("{error}"),
        }
    }
    stream.set_nonblocking(false).unwrap();
    sent
}

/// Closes hard, by RST.
pub(crate) fn reset(stream: TcpStream) {
    c10k_kernel::socket::set_reset_on_close(stream.as_fd()).unwrap();
    drop(stream);
}

/// Says no more, reads to the end, and gives what came.
pub(crate) fn finish_and_read(mut stream: &TcpStream) -> Vec<u8> {
    stream.shutdown(Shutdown::Write).unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    rest
}

/// A server without the test's own thread that reads what it says.
pub(crate) fn bare(arguments: &[&str], stderr: Stdio) -> Child {
    let mut command = Command::new(PROGRAM);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(stderr);
    command.spawn().unwrap()
}
