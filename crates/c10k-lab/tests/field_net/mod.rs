//! Network namespaces that a test makes, with real programs in them, and the lab beside those.

#![allow(dead_code, reason = "every test file uses its own part of this vocabulary")]

pub(crate) mod servers;

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use c10k_kernel::census::SockDiag;
use c10k_kernel::namespace::Beside;
use c10k_kernel::{address, link};
use c10k_record::{Ceiling, Degree, Record};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

/// So long is waited for a state; only a failure waits for it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(40);

#[allow(clippy::print_stderr, reason = "what was skipped is said aloud")]
pub(crate) fn skipped(why: &str) {
    eprintln!("SKIPPED: {why}");
}

/// A network namespace, and what was started in it, which ends with this value.
pub(crate) struct Net {
    pub(crate) beside: Beside,
    pub(crate) children: Vec<Child>,
}

impl Net {
    /// `None`, said aloud, where none can be made.
    pub(crate) fn new() -> Option<Self> {
        match Beside::new() {
            Ok(beside) => Some(Self { beside, children: Vec::new() }),
            Err(error) => {
                skipped(&format!("no network namespace can be made: {error}"));
                None
            }
        }
    }

    pub(crate) fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.beside.inside(work).expect("a thread inside")
    }

    pub(crate) fn set(&self, key: &str, value: &str) {
        let file = format!("/proc/sys/{}", key.replace('.', "/"));
        self.inside(|| std::fs::write(&file, value)).unwrap_or_else(|error| panic!("{key}: {error}"));
    }

    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).stdin(Stdio::null());
        self.beside.start_in(&mut command).expect("the namespace lives");
        command
    }

    /// Starts a program that goes on; its pid.
    pub(crate) fn start(&mut self, words: &[&str]) -> u32 {
        let mut command = self.command(words);
        // What it forks ends with it.
        command.process_group(0).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().expect("it is installed");
        self.children.push(child);
        self.children[self.children.len() - 1].id()
    }

    /// Runs a program that must succeed.
    pub(crate) fn run(&self, words: &[&str]) {
        let output = self.command(words).output().expect("it is installed");
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    pub(crate) fn nft(&self, rules: &str) {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("rules.nft");
        std::fs::write(&file, rules).expect("written");
        self.run(&["nft", "-f", &file.display().to_string()]);
    }

    pub(crate) fn await_listener(&self, port: u16) {
        let until = Instant::now() + PATIENCE;
        let at = SocketAddr::from(([127, 0, 0, 1], port));
        while self.inside(|| TcpStream::connect(at)).is_err() {
            assert!(Instant::now() < until, "nobody listens on {at}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until somebody listens at this address, without a connection to it: the way there may be closed.
    pub(crate) fn listens_on(&self, at: &str) {
        let (at, until) = (at.parse::<SocketAddr>().expect("an address"), Instant::now() + PATIENCE);
        let mut diag = self.inside(SockDiag::open).expect("sock_diag");
        while !diag.listeners(at.port()).expect("sock_diag").iter().any(|listener| listener.address == at) {
            assert!(Instant::now() < until, "nobody listens on {at}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// A run of the lab on the server on this port.
    pub(crate) fn lab(&self, port: u16, arguments: &[&str]) -> Record {
        let (_results, words) = lab_words(port, "500ms", arguments);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        run_lab(&mut self.command(&words))
    }
}

/// The words of a run on the server on this port, and the folder of its results.
pub(crate) fn lab_words(port: u16, hold: &str, arguments: &[&str]) -> (tempfile::TempDir, Vec<String>) {
    let results = tempfile::tempdir().expect("a folder");
    let (folder, port) = (results.path().display().to_string(), port.to_string());
    let mut words = vec![LAB, "run", "--json", "--results", &folder, "--server-port", &port];
    words.extend(["--hold", hold, "--close", "rst", "--in-flight", "32"]);
    words.extend(arguments);
    let words = words.into_iter().map(str::to_owned).collect();
    (results, words)
}

pub(crate) fn run_lab(command: &mut Command) -> Record {
    let output = command.output().expect("the lab runs");
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("no record: {}", String::from_utf8_lossy(&output.stderr)))
}

impl Drop for Net {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = killpg(Pid::from_raw(child.id().cast_signed()), Signal::SIGKILL);
            let _ = child.wait();
        }
    }
}

pub(crate) fn is_installed(program: &str, asked: &str) -> bool {
    let mut command = Command::new(program);
    let found = command.arg(asked).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !found.is_ok_and(|status| status.success()) {
        skipped(&format!("{program} does not run here"));
        return false;
    }
    true
}

#[track_caller]
pub(crate) fn expect(record: &Record, wall: &str, degree: Degree) -> Ceiling {
    let ceiling = record.ceiling.clone().unwrap_or_else(|| panic!("no wall: {:?}", record.connections));
    assert_eq!((ceiling.wall.as_str(), ceiling.degree), (wall, Some(degree)), "{ceiling:#?}");
    ceiling
}

pub(crate) const LAB: &str = env!("CARGO_BIN_EXE_c10k-lab");

/// A client, a router and a server behind it, each in a namespace of its own.
pub(crate) struct Way {
    pub(crate) client: Net,
    pub(crate) router: Net,
    pub(crate) server: Net,
    pub(crate) at: SocketAddr,
}

impl Way {
    pub(crate) fn new() -> Option<Self> {
        let (client, router, server) = (Net::new()?, Net::new()?, Net::new()?);
        let pair = |here: &str, own: [u8; 4], there: &str, theirs: [u8; 4], other: &Net| {
            router.inside(|| {
                link::add_veth_pair(here, there, &other.beside)?;
                address::add(here, IpAddr::from(own), 24)?;
                address::set_up(here)
            })?;
            other.inside(|| {
                address::add(there, IpAddr::from(theirs), 24)?;
                address::set_up(there)
            })
        };
        let made = pair("rc", [10, 91, 0, 1], "c0", [10, 91, 0, 2], &client)
            .and_then(|()| pair("rs", [10, 92, 0, 1], "s0", [10, 92, 0, 2], &server));
        if let Err(error) = made {
            skipped(&format!("no link between namespaces can be made: {error}"));
            return None;
        }
        router.set("net.ipv4.ip_forward", "1");
        client.run(&["ip", "route", "add", "default", "via", "10.91.0.1"]);
        Some(Self { client, router, server, at: SocketAddr::from(([10, 92, 0, 2], 9000)) })
    }

    /// Waits until somebody listens at the server's end.
    pub(crate) fn server_listens(&self) {
        self.server.listens_on(&self.at.to_string());
    }

    pub(crate) fn listen(&self) -> TcpListener {
        self.server.inside(|| TcpListener::bind(self.at)).expect("its own address")
    }

    pub(crate) fn connect(&self, listener: &TcpListener, count: usize) -> Vec<(TcpStream, TcpStream)> {
        let connect = || TcpStream::connect_timeout(&self.at, PATIENCE).expect("the way is there");
        let pairs = (0..count).map(|_| {
            let mut client = self.client.inside(connect);
            let mut server = listener.accept().expect("it came").0;
            client.write_all(&[7; 64]).expect("open");
            server.read_exact(&mut [0; 64]).expect("it came");
            server.write_all(&[7; 64]).expect("open");
            client.read_exact(&mut [0; 64]).expect("it came back");
            (client, server)
        });
        pairs.collect()
    }
}

/// A run of the lab, which stands here, on the server of this process, which may stand elsewhere.
pub(crate) fn lab_on_pid(here: &Net, pid: u32, hold: &str, arguments: &[&str]) -> Record {
    let results = tempfile::tempdir().expect("a folder");
    let (folder, pid) = (results.path().display().to_string(), pid.to_string());
    let mut words = vec![LAB, "run", "--json", "--results", &folder, "--server-pid", &pid];
    words.extend(["--hold", hold, "--close", "rst", "--in-flight", "32"]);
    words.extend(arguments);
    run_lab(&mut here.command(&words))
}
