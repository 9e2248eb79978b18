//! A process that opens connections with itself when it is told to: the test binary, run again.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use c10k_kernel::{limits, socket};

/// Set in the environment of the process that is to hold the connections.
const MARK: &str = "C10K_COLLECTOR_TEST_HOLDER";

/// The other process.
pub(crate) struct Holder {
    child: Child,
    commands: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    /// The port it listens on.
    pub(crate) port: u16,
}

impl Holder {
    /// Starts it. `entry` is the name of the test that calls [`be_holder_if_asked`].
    pub(crate) fn start(entry: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", entry, "--nocapture", "--ignored"])
            .env(MARK, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap());
        let commands = child.stdin.take();
        let mut holder = Self { child, commands, answers, port: 0 };
        holder.port = u16::try_from(holder.answer()).unwrap();
        holder
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Opens `pairs` connections, fewer when its descriptor limit does not allow them; returns how many.
    pub(crate) fn open(&mut self, pairs: u64) -> u64 {
        writeln!(self.commands.as_mut().unwrap(), "{pairs}").unwrap();
        self.answer()
    }

    /// Ends it, as if it had crashed.
    #[allow(dead_code, reason = "one of the two test binaries needs it")]
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// The next number it says, passing over what the test harness prints.
    fn answer(&mut self) -> u64 {
        let mut line = String::new();
        loop {
            line.clear();
            assert!(self.answers.read_line(&mut line).unwrap() > 0, "the holder ended");
            if let Some(at) = line.find("HOLDER ") {
                return line[at + 7..].trim().parse().unwrap();
            }
        }
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        drop(self.commands.take());
        let _ = self.child.wait();
    }
}

/// In the other process: listens, and opens as many connections as each line of stdin says, until it closes. They are
/// closed by RST and leave no TIME_WAIT behind.
pub(crate) fn be_holder_if_asked() {
    if std::env::var_os(MARK).is_none() {
        return;
    }
    let limit = limits::raise_nofile_soft_to_hard().unwrap().soft;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    say(u64::from(address.port()));
    let mut held = Vec::new();
    for line in io::stdin().lock().lines() {
        let wanted: u64 = line.unwrap().trim().parse().unwrap();
        let pairs = wanted.min(limit.saturating_sub(64) / 2);
        for _ in 0..pairs {
            let client = TcpStream::connect(address).unwrap();
            socket::set_reset_on_close(client.as_fd()).unwrap();
            held.push((client, listener.accept().unwrap()));
        }
        say(pairs);
    }
}

fn say(number: u64) {
    let mut out = io::stdout().lock();
    writeln!(out, "HOLDER {number}").unwrap();
    out.flush().unwrap();
}
