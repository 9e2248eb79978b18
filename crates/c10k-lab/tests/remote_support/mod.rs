//! A far end that a test makes up: a control port on loopback that says what the test wants, beside a server of this
//! program on loopback.

#![allow(dead_code, reason = "every test file uses its own part of this vocabulary")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use c10k_collector::far::{Ended, Look, Mark, Marked, Moment};
use c10k_record::control::{
    Begin, Begun, Build, Clock, FarServer, FarState, Hello, PROTOCOL, Refused, Running,
};
use c10k_record::{
    Host, HostSnapshot, MemoryPerConnection, ProfileInRun, Protocol, Record, RunEvidence, ServerEvent,
    ServerMode, ServerReport,
};
use serde_json::Value;

pub(crate) const LAB: &str = env!("CARGO_BIN_EXE_c10k-lab");
/// What nobody may find anywhere.
pub(crate) const TOKEN: &str = "c10k-a-token-that-is-never-told";

/// A server of this program on a port of the kernel's choice of 127.0.0.1, which ends with this value.
pub(crate) struct Server {
    child: Child,
    pub(crate) at: SocketAddr,
}

impl Server {
    pub(crate) fn start() -> Self {
        let words = ["server", "--listen", "127.0.0.1:0", "--no-apply", "--events"];
        let mut command = Command::new(LAB);
        command.args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child = command.spawn().expect("the server starts");
        let mut line = String::new();
        let stdout = child.stdout.as_mut().expect("piped");
        BufReader::new(stdout).read_line(&mut line).expect("it says that it is ready");
        let ready = serde_json::from_str(&line).expect("an event");
        let ServerEvent::Ready { listen, .. } = ready else { panic!("not ready: {line}") };
        Self { child, at: listen[0] }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How the control port behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// It answers.
    Well,
    /// It takes requests and never answers.
    Silent,
    /// It answers what is no HTTP.
    Garbage,
    /// It answers HTTP whose body is none of the protocol.
    OtherJson,
    /// It ends each connection at once.
    Closes,
    /// It knows no run.
    Forgot,
    /// It answers each request with this status.
    Refuses(u16),
}

/// What it says, and when it behaves how.
#[derive(Debug)]
pub(crate) struct Says {
    pub(crate) hello: Hello,
    pub(crate) manner: Manner,
    /// From that phase of the run on it behaves so.
    pub(crate) later: Option<(Moment, Manner)>,
    /// Its clock is so far ahead, nanoseconds.
    pub(crate) ahead_ns: i64,
    /// In the hold it goes so much further ahead, nanoseconds.
    pub(crate) jumps_by_ns: i64,
    /// How many it says that it has accepted.
    pub(crate) accepted: u64,
    /// Where the limits of its kernel's counters stand.
    pub(crate) overflows: u64,
    /// Another boot id from the hold on, as of a machine that was started anew.
    pub(crate) boots_anew: bool,
    pub(crate) began: Option<Begin>,
    pub(crate) marks: Vec<Mark>,
    pub(crate) ended: Option<String>,
    pub(crate) looks: u64,
    /// What was sent as a token.
    pub(crate) tokens: Vec<String>,
}

/// A control port that is made up.
pub(crate) struct Port {
    pub(crate) at: SocketAddr,
    pub(crate) says: Arc<Mutex<Says>>,
}

impl Port {
    /// One that answers well, for this server.
    pub(crate) fn beside(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let at = listener.local_addr().expect("bound");
        let says = Arc::new(Mutex::new(Says {
            hello: hello(server),
            manner: Manner::Well,
            later: None,
            ahead_ns: 0,
            jumps_by_ns: 0,
            accepted: 0,
            overflows: 0,
            boots_anew: false,
            began: None,
            marks: Vec::new(),
            ended: None,
            looks: 0,
            tokens: Vec::new(),
        }));
        let shared = Arc::clone(&says);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || drop(serve(&stream, &shared)));
            }
        });
        Self { at, says }
    }

    pub(crate) fn says(&self) -> MutexGuard<'_, Says> {
        self.says.lock().expect("nobody panicked with it")
    }

    /// A run of the lab against it, with 16 bytes of a token and a hold of a second.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        let results = tempfile::tempdir().expect("a folder");
        let (folder, control) = (results.path().join("results"), self.at.to_string());
        let mut command = Command::new(LAB);
        command.args(["run", "--json", "--close", "rst", "--in-flight", "64", "--hold", "1s"]);
        // What is asked here is counts, and a busy machine must not break a verdict on latency.
        command.args(["--verdict", "echo_p95 <= 10s"]);
        command.args(["--control", &control, "--results"]).arg(&folder).args(arguments);
        command.env("C10K_TOKEN", TOKEN).stdin(Stdio::null());
        let began = Instant::now();
        let output = command.output().expect("the lab runs");
        Ran::of(&output, results, began)
    }
}

/// What came of a run of the lab.
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) record: Option<Record>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) results: tempfile::TempDir,
    pub(crate) took_secs: u64,
}

impl Ran {
    pub(crate) fn of(output: &Output, results: tempfile::TempDir, began: Instant) -> Self {
        Self {
            code: output.status.code(),
            record: serde_json::from_slice(&output.stdout).ok(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            results,
            took_secs: began.elapsed().as_secs(),
        }
    }

    #[track_caller]
    pub(crate) fn record(&self) -> &Record {
        self.record.as_ref().unwrap_or_else(|| panic!("no record: {}", self.stderr))
    }

    #[track_caller]
    pub(crate) fn has_warning(&self, id: &str) -> String {
        let warnings = &self.record().warnings;
        let found = warnings.iter().find(|warning| warning.id == id);
        found.unwrap_or_else(|| panic!("no {id}: {warnings:?}")).text.clone()
    }

    /// That it was refused before it began, with these words, and has left nothing.
    #[track_caller]
    pub(crate) fn expect_refused(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, Some(code), "{}", self.stderr);
        for word in words {
            assert!(self.stderr.contains(word), "no '{word}' in {}", self.stderr);
        }
        assert!(self.stderr.contains("hint: "), "{}", self.stderr);
        assert!(!self.results.path().join("results").exists(), "a run that never was has left a folder");
        assert!(!self.stderr.contains(TOKEN) && !self.stdout.contains(TOKEN));
    }
}

pub(crate) fn own_build() -> Build {
    let output = Command::new(LAB).args(["serve", "--print-build"]).output().expect("it runs");
    let told = serde_json::from_slice(&output.stdout);
    // Of the version alone, where it does not say.
    told.unwrap_or_else(|_| Build {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        program: "other".to_owned(),
        arch: std::env::consts::ARCH.to_owned(),
        hash: String::new(),
    })
}

fn hello(server: SocketAddr) -> Hello {
    Hello {
        protocol: PROTOCOL,
        program_version: env!("CARGO_PKG_VERSION").to_owned(),
        build: own_build(),
        boot_id: Some("11111111-2222-3333-4444-555555555555".to_owned()),
        hostname: Some("serverbox".to_owned()),
        host: Host {
            os: Some("Debian 12".to_owned()),
            kernel: Some("6.1.0-far".to_owned()),
            cpus: 4,
            memory_bytes: 8 << 30,
            limits: HostSnapshot {
                server_nofile: Some(65_536),
                server_tables: true,
                server_per_table: Some(65_000),
                somaxconn: Some(4_096),
                memory_available_bytes: Some(4 << 30),
                ..HostSnapshot::default()
            },
            ..Host::default()
        },
        listen: vec![server],
        profile: Some(ProfileInRun { name: "tuned".to_owned(), ..ProfileInRun::default() }),
        warnings: Vec::new(),
        server: FarServer {
            foreign: false,
            pid: Some(4711),
            name: Some("c10k-server".to_owned()),
            workers: Some(2),
            protocol: Some(Protocol::Raw),
            mode: Some(ServerMode::Echo),
            backlog: Some(4_096),
            max_connections: None,
            pushes: None,
            command: Vec::new(),
        },
        state: FarState::Idle,
        lease_secs: 15,
        at_unix_ns: 0,
    }
}

/// Answers on one connection until it ends.
fn serve(stream: &TcpStream, says: &Mutex<Says>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let (mut line, mut length, mut token) = (String::new(), 0, String::new());
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        loop {
            let mut header = String::new();
            reader.read_line(&mut header)?;
            let Some((name, value)) = header.split_once(':') else { break };
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.trim().parse().unwrap_or(0),
                "authorization" => value.trim().clone_into(&mut token),
                _ => {}
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let path = line.split_whitespace().nth(1).unwrap_or_default().to_owned();
        let manner = {
            let mut says = says.lock().expect("nobody panicked with it");
            says.tokens.push(token);
            says.manner
        };
        let mut stream = stream;
        let (status, answer) = match manner {
            Manner::Well => answer(&path, &body, &mut says.lock().expect("nobody panicked with it")),
            Manner::Silent => {
                // Until the other end gives up.
                let _ = reader.read(&mut [0]);
                return Ok(());
            }
            Manner::Garbage => {
                stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n")?;
                return Ok(());
            }
            Manner::OtherJson => (200, "{\"protocol\":1,\"of\":\"somebody else\"}".to_owned()),
            Manner::Closes => return Ok(()),
            Manner::Forgot => match path.as_str() {
                "/v1/hello" => answer(&path, &body, &mut says.lock().expect("nobody panicked with it")),
                _ => (404, refused("no such run here", None)),
            },
            // Whether somebody else has begun a run shows at the beginning.
            Manner::Refuses(409) if path == "/v1/hello" || path == "/v1/clock" => {
                answer(&path, &body, &mut says.lock().expect("nobody panicked with it"))
            }
            Manner::Refuses(status) => {
                let running = Running {
                    run_id: "other".to_owned(),
                    by: "c10k-lab on elsewhere".to_owned(),
                    since_ms: 5,
                };
                (status, refused("the run other of c10k-lab on elsewhere is under way", Some(running)))
            }
        };
        let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n", answer.len());
        stream.write_all(head.as_bytes())?;
        stream.write_all(answer.as_bytes())?;
    }
}

fn refused(error: &str, running: Option<Running>) -> String {
    let refused = Refused { error: error.to_owned(), running, ..Refused::default() };
    told(&refused)
}

fn told(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("plain data")
}

fn now(says: &Says) -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    (since.as_nanos() as u64).saturating_add_signed(says.ahead_ns)
}

fn look(says: &mut Says) -> Look {
    says.looks += 1;
    let mut look = Look { at_unix_ns: now(says), report_is_fresh: true, ..Look::default() };
    look.report =
        Some(ServerReport { accepted: says.accepted, peak: says.accepted, ..ServerReport::default() });
    look.seen.server.rss_bytes = Some(50 << 20);
    look.seen.server.cores = Some(0.25);
    look.seen.memory.free_bytes = Some(3 << 30);
    look.seen.memory.available_bytes = Some(4 << 30);
    look.seen.memory.slab_bytes = Some(100 << 20);
    look.seen.network.counters.insert("ListenOverflows", says.overflows);
    look.seen.network.counters.insert("ListenDrops", says.overflows);
    look
}

fn answer(path: &str, body: &[u8], says: &mut Says) -> (u16, String) {
    match path {
        "/v1/hello" => {
            let mut hello = says.hello.clone();
            hello.at_unix_ns = now(says);
            if says.boots_anew && says.began.is_some() {
                hello.boot_id = Some("99999999-2222-3333-4444-555555555555".to_owned());
            }
            (200, told(&hello))
        }
        path if path.starts_with("/v1/clock") => {
            let at = now(says);
            (200, told(&Clock { received_unix_ns: at, sent_unix_ns: at }))
        }
        "/v1/runs" => {
            let begin: Begin = serde_json::from_slice(body).expect("what a lab sends");
            let begun = Begun {
                run_id: begin.run_id.clone(),
                at_unix_ns: now(says),
                open_before: Some(0),
                unsettled: false,
                build: says.hello.build.clone(),
            };
            says.began = Some(begin);
            (201, told(&begun))
        }
        path if path.ends_with("/look") => (200, told(&look(says))),
        path if path.ends_with("/mark") => {
            let mark: Mark = serde_json::from_slice(body).expect("what a lab sends");
            says.marks.push(mark);
            if mark.moment == Moment::Hold {
                says.ahead_ns += says.jumps_by_ns;
            }
            let marked = Marked {
                moment: mark.moment,
                look: look(says),
                established: Some(mark.connections),
                not_accepted: Some(0),
                memory: (mark.moment == Moment::Hold).then(|| memory(mark.connections)),
                processes: Vec::new(),
                evidence: RunEvidence::default(),
            };
            if let Some((moment, manner)) = says.later
                && moment == mark.moment
            {
                says.manner = manner;
            }
            (200, told(&marked))
        }
        path if path.ends_with("/end") => {
            let reason: Value = serde_json::from_slice(body).expect("what a lab sends");
            says.ended = reason["reason"].as_str().map(str::to_owned);
            let ended = Ended { host: says.hello.host.clone(), look: look(says), ..Ended::default() };
            (200, told(&ended))
        }
        _ => (404, refused("no such path", None)),
    }
}

fn memory(connections: u64) -> MemoryPerConnection {
    MemoryPerConnection {
        connections: Some(connections),
        server_user_bytes: Some(17.0),
        server_kernel_bytes: Some(4_013.0),
        free_memory_bytes: Some(4_100.0),
        unexplained_ratio: Some(0.015),
        ..MemoryPerConnection::default()
    }
}
