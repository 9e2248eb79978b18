//! A `c10k-lab serve` of a test, and what its clients say to it.

#![allow(dead_code, reason = "every test file uses its own part")]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use c10k_collector::far::{Ended as Account, Look};
use c10k_record::control::{Begin, Begun, Build, Client, EndRun, Token, path};
use c10k_record::{LoadPlan, Plan, Protocol, SCHEMA_VERSION};
use serde_json::json;

use crate::common::{self, Lab, PATIENCE, Running};

pub(crate) const TOKEN: &str = "0123456789abcdefghij";

/// A `serve` that is ready.
pub(crate) struct Served {
    pub(crate) running: Running,
    pub(crate) control: SocketAddr,
    pub(crate) server: SocketAddr,
}

impl Served {
    #[track_caller]
    pub(crate) fn start(lab: Lab, arguments: &[&str]) -> Self {
        let mut words = vec!["serve", "--listen", "127.0.0.1:0", "--control", "127.0.0.1:0"];
        words.extend(arguments);
        let running = lab.command(&words);
        running.wait_until_said("run --topology remote");
        let said = running.stderr();
        let word_behind = |words: &str| -> SocketAddr {
            let (_, rest) = said.split_once(words).expect("it was said");
            let end = rest.find([' ', ',']).expect("more follows");
            rest[..end].parse().expect("an address")
        };
        Self { control: word_behind("control: http://"), server: word_behind("serving "), running }
    }

    pub(crate) fn with_token(arguments: &[&str]) -> Self {
        let lab = Lab::new().with_file("token", TOKEN);
        Self::start(lab, &[&["--token-file", "token"], arguments].concat())
    }

    pub(crate) fn client(&self) -> Client {
        let token = Token::parse(TOKEN.as_bytes(), "here").expect("a token");
        Client::new(self.control, Some(token)).with_patience(PATIENCE)
    }

    /// So many connections, each with an echo.
    pub(crate) fn connect(&self, count: usize) -> Vec<TcpStream> {
        let one = |_| {
            let mut stream = TcpStream::connect(self.server).expect("connected");
            stream.set_read_timeout(Some(PATIENCE)).expect("set");
            stream.write_all(b"x").expect("sent");
            stream.read_exact(&mut [0]).expect("echoed");
            stream
        };
        (0..count).map(one).collect()
    }

    /// What is answered to these bytes, to the end of the connection.
    pub(crate) fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.control).expect("connected");
        stream.set_read_timeout(Some(PATIENCE)).expect("set");
        stream.write_all(bytes).expect("sent");
        let mut said = String::new();
        let _ = stream.read_to_string(&mut said);
        said
    }
}

pub(crate) fn plan(protocol: Protocol) -> Plan {
    let plan = json!({
        "schema_version": SCHEMA_VERSION, "profile": "stock", "topology": "remote", "protocol": protocol,
        "workload": "hold", "target": 50, "verdicts": [],
        "server": { "listen": ["127.0.0.1:9000"], "mode": "echo" }, "load": LoadPlan::default(),
    });
    serde_json::from_value(plan).expect("a plan")
}

/// The build of the program under test, as it says itself.
pub(crate) fn build() -> Build {
    static BUILD: OnceLock<Build> = OnceLock::new();
    let ask = || {
        let ended = common::lab(&["serve", "--print-build"]);
        ended.expect_exit(0);
        serde_json::from_str(&ended.stdout).expect("a build")
    };
    BUILD.get_or_init(ask).clone()
}

pub(crate) fn begin(run_id: &str, client: &str) -> Begin {
    Begin {
        run_id: run_id.to_owned(),
        build: build(),
        client: client.to_owned(),
        any_build: false,
        plan: plan(Protocol::Raw),
    }
}

#[track_caller]
pub(crate) fn begun(client: &mut Client, run_id: &str) -> Begun {
    client.post(path::RUNS, &begin(run_id, "a test")).expect("it begins")
}

/// Looks until the look is as it should be.
#[track_caller]
pub(crate) fn look_until(client: &mut Client, run_id: &str, is_so: impl Fn(&Look) -> bool) -> Look {
    let give_up = Instant::now() + PATIENCE;
    loop {
        let look: Look = client.get(&path::look(run_id)).expect("a look");
        if is_so(&look) {
            return look;
        }
        assert!(Instant::now() < give_up, "it never came: {look:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[track_caller]
pub(crate) fn end(client: &mut Client, run_id: &str) -> Account {
    client.post(&path::end(run_id), &EndRun { reason: "done".to_owned() }).expect("it ends")
}

pub(crate) fn accepted(look: &Look) -> Option<u64> {
    look.report.as_ref().filter(|_| look.report_is_fresh).map(|report| report.accepted)
}
