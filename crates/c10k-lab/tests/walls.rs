//! The field guide, and what the processes say of the walls before they meet them, by the real program.

mod common;

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use c10k_record::{ServerEvent, SwarmEvent};
use common::lab;
use serde_json::Value;

/// The walls that the guide must have.
const NAMES: [&str; 41] = [
    "nofile-server",
    "nofile-swarm",
    "nr-open",
    "file-max",
    "ports-exhausted",
    "ports-reserved",
    "source-address-gone",
    "time-wait-ports",
    "accept-queue",
    "syn-queue",
    "tcp-mem",
    "orphans",
    "time-wait-buckets",
    "conntrack",
    "epoll-watches",
    "cgroup-memory",
    "netdev-backlog",
    "no-route",
    "refused",
    "firewall-drop",
    "server-stopped-accepting",
    "server-died",
    "server-max-connections",
    "threads",
    "neighbour-table",
    "bandwidth",
    "cpu-server",
    "cpu-swarm",
    "cpu-host",
    "latency-verdict",
    "error-verdict",
    "swarm-late",
    "ram",
    "server-limit",
    "proxy-ports-exhausted",
    "server-idle-limit",
    "middlebox-forgets",
    "path-lost",
    "path-loss",
    "filter-rejects",
    "rp-filter",
];

/// Those that stand for the whole host, or in a program or a machine of other people's.
const NOT_PLANTABLE: [&str; 16] = [
    "nr-open",
    "file-max",
    "tcp-mem",
    "orphans",
    "netdev-backlog",
    "epoll-watches",
    "neighbour-table",
    "cpu-host",
    "ram",
    "server-limit",
    "proxy-ports-exhausted",
    "server-idle-limit",
    "middlebox-forgets",
    "path-lost",
    "filter-rejects",
    "rp-filter",
];

/// Errors that people search for, as programs write them.
const SYMPTOMS: [&str; 6] = [
    "too many open files",
    "cannot assign requested address",
    "connection reset by peer",
    "i/o timeout",
    "network is unreachable",
    "device or resource busy",
];

#[test]
fn the_list_has_every_wall_with_its_side_and_whether_it_can_be_planted() {
    let document = lab(&["walls", "--json"]).document();
    let walls = document["walls"].as_array().expect("walls");
    for name in NAMES {
        let wall = walls.iter().find(|wall| wall["name"] == name).unwrap_or_else(|| panic!("no {name}"));
        let keys: Vec<&String> = wall.as_object().expect("an object").keys().collect();
        assert_eq!(keys, ["name", "needs", "plantable", "side", "title"]);
        assert_eq!(wall["plantable"], !NOT_PLANTABLE.contains(&name), "{name}");
        assert!(!wall["needs"].as_array().expect("a list").is_empty(), "{name}");
        assert!(["server", "swarm", "host"].contains(&wall["side"].as_str().expect("a side")));
    }
}

#[test]
fn every_wall_has_a_page_and_every_error_leads_to_one() {
    for name in NAMES {
        let ended = lab(&["walls", name]);
        ended.expect_exit(0);
        for label in ["what it is", "what you see", "how to prove", "how to lift", "do not", "source"] {
            assert!(ended.stdout.contains(&format!("  {label}")), "{name}: {label}");
        }
        let page = lab(&["walls", name, "--json"]).document();
        assert_eq!(page["name"], name);
        assert!(page["remedy"]["commands"].as_array().is_some_and(|commands| !commands.is_empty()));
    }
    for symptom in SYMPTOMS {
        lab(&["walls", symptom]).expect_exit(0);
    }
    lab(&["walls", "no-such-wall"]).expect_refused(2, &["no-such-wall"]);
}

#[test]
fn what_a_program_said_is_read_by_its_call_and_told_the_likeliest_first() {
    let names = |said: &str, key: &str| -> Vec<String> {
        let document = lab(&["walls", said, "--json"]).document();
        assert_eq!(document["symptom"], said);
        let rows = document[key].as_array().expect("a list");
        rows.iter().map(|row| row["name"].as_str().expect("a name").to_owned()).collect()
    };
    assert_eq!(names("Error: accept EMFILE", "walls"), ["nofile-server", "nr-open"]);
    assert_eq!(names("connect() failed: errno=24", "walls"), ["nofile-swarm", "nr-open"]);
    assert_eq!(names("TCP: too many orphaned sockets", "walls"), ["orphans"]);
    assert_eq!(names("listen EADDRINUSE :::3000", "others"), ["port-taken"]);
    let said = lab(&["walls", "Error: connect EADDRNOTAVAIL 127.0.0.1:9000 - Local (0.0.0.0:0)"]);
    said.expect_exit(0);
    let at =
        |name: &str| said.stdout.find(&format!("\n{name}: ")).unwrap_or_else(|| panic!("{}", said.stdout));
    assert!(at("ports-exhausted") < at("ports-reserved"), "{}", said.stdout);
    assert!(said.stdout.contains("how to prove"), "{}", said.stdout);
}

#[test]
fn what_is_no_limit_of_connections_is_told_so_and_what_is_unknown_has_no_name() {
    let said = lab(&["walls", "getaddrinfo ENOTFOUND nosuch.example"]);
    said.expect_exit(0);
    assert!(
        said.stdout.contains("no limit of connections") && said.stdout.contains("getent"),
        "{}",
        said.stdout
    );
    for unknown in ["the emfiles module was loaded", "24 connections held"] {
        lab(&["walls", unknown]).expect_refused(2, &[unknown, "nstat"]);
    }
}

#[test]
fn every_myth_has_a_line_to_paste() {
    let document = lab(&["walls", "myths", "--json"]).document();
    let myths = document["myths"].as_array().expect("myths");
    for name in [
        "tcp_tw_recycle",
        "tcp_fin_timeout",
        "tcp_rmem",
        "tcp_mem",
        "somaxconn",
        "tcp_max_tw_buckets",
        "tcp_abort_on_overflow",
        "tcp_syncookies",
        "tcp_timestamps",
        "65535",
    ] {
        let myth = myths.iter().find(|myth| myth["name"] == name).unwrap_or_else(|| panic!("no {name}"));
        assert!(myth["run"].as_str().is_some_and(|run| !run.is_empty()) && myth["shows"].is_string());
    }
    let one = lab(&["walls", "myths", "somaxconn"]);
    assert!(one.stdout.contains("Send-Q") && !one.stdout.contains("tcp_rmem"), "{}", one.stdout);
    lab(&["walls", "myths", "no-such-myth"])
        .expect_refused(2, &["no-such-myth", "`c10k-lab walls myths` lists them"]);
}

/// What a line of a myth said, on stdout and stderr together.
#[track_caller]
fn paste(name: &str) -> String {
    let document = lab(&["walls", "myths", name, "--json"]).document();
    let line = document["myths"][0]["run"].as_str().expect("a line").to_owned();
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_c10k-lab"));
    let path = std::env::var("PATH").unwrap_or_default();
    let output = Command::new("sh")
        .args(["-c", &format!("{{ {line}\n}} 2>&1")])
        .env("PATH", format!("{}:{path}", program.parent().expect("a folder").display()))
        .stdin(Stdio::null())
        .output()
        .expect("a shell");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What stands behind a word, such as 4096 behind `rb`.
fn number_behind(text: &str, word: &str) -> Option<u64> {
    let (_, rest) = text.split_once(word)?;
    let digits: String = rest.trim_start().chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

/// What the line of a myth has to say for its text to be true.
type Shown = (&'static str, fn(&str) -> bool);

fn expect_shown(myths: &[Shown]) {
    for (name, is_shown) in myths {
        let said = paste(name);
        assert!(is_shown(&said), "{name}: {said}");
    }
}

#[test]
fn the_lines_of_the_myths_that_take_seconds_show_what_they_say() {
    if !common::namespaces_allowed("the_lines_of_the_myths_that_take_seconds_show_what_they_say") {
        return;
    }
    std::thread::scope(|scope| {
        scope.spawn(|| {
            expect_shown(&[
                ("tcp_tw_recycle", |said| said.contains("No such file or directory")),
                ("nofile-unlimited", |said| said.contains("Operation not permitted")),
                ("somaxconn", |said| {
                    let listener = said.lines().find(|line| line.starts_with("LISTEN"));
                    listener.is_some_and(|line| line.split_whitespace().any(|word| word == "4096"))
                }),
                ("tcp_max_tw_buckets", |said| {
                    number_behind(said, " tw ") == Some(10)
                        && number_behind(said, "TcpExtTCPTimeWaitOverflow") == Some(190)
                }),
            ]);
        });
        scope.spawn(|| {
            expect_shown(&[("tcp_mem", |said| {
                said.contains("64 GiB")
                    && said.contains("No such file or directory")
                    && number_behind(said, "inuse ").is_some_and(|both_ends| both_ends > 4000)
            })]);
        });
        scope.spawn(|| {
            expect_shown(&[
                ("rmem_max", |said| said.contains("rb54321")),
                ("65535", |said| said.contains("HELD 2,000 of 2,000")),
            ]);
        });
    });
}

#[test]
#[ignore = "the lines of the myths that wait for TIME_WAIT or for timeouts take a minute"]
fn stress_the_lines_of_the_other_myths_show_what_they_say() {
    let held_200 = |said: &str| said.matches("held 200 of 200").count();
    assert!(paste("tcp_fin_timeout").contains("tw 200"));
    assert_eq!(held_200(&paste("tcp_tw_reuse")), 4);
    assert_eq!(held_200(&paste("tcp_timestamps")), 3);
    let said = paste("tcp_syncookies");
    assert_eq!(said.matches("held 2,000 of 2,000").count(), 2, "{said}");
    assert!(!said.lines().any(|line| line.contains("SyncookiesSent") && !line.contains(" 0 ")), "{said}");
    let said = paste("tcp_abort_on_overflow");
    assert!(said.matches("connect-timeout").count() >= 2 && !said.contains("ECONNRESET"), "{said}");
    assert_eq!(paste("tcp_rmem").matches("HELD 2,000 of 2,000").count(), 2);
}

// The word of the processes ------------------------------------------------------------------------------

/// A server or a swarm that ends with the test.
struct Process {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Process {
    /// Starts it with a descriptor limit of `nofile`.
    fn start(nofile: u32, arguments: &[&str]) -> Self {
        let mut child = Command::new("sh")
            .args([
                "-c",
                &format!("ulimit -n {nofile} && exec \"$0\" \"$@\""),
                env!("CARGO_BIN_EXE_c10k-lab"),
            ])
            .args(arguments)
            .arg("--events")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("started");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        Self { child, lines }
    }

    fn tell(&mut self, line: &str) {
        writeln!(self.child.stdin.as_mut().expect("piped"), "{line}").expect("it listens");
    }

    /// The next line that `choose` wants.
    #[track_caller]
    fn wait_for<T>(&mut self, choose: impl Fn(Value) -> Option<T>) -> T {
        for line in self.lines.by_ref() {
            if let Some(found) = choose(serde_json::from_str(&line.expect("text")).expect("JSON")) {
                return found;
            }
        }
        panic!("it ended before it said that");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn server(nofile: u32) -> (Process, String, Option<u64>) {
    let mut server = Process::start(nofile, &["server", "--one-table", "--listen", "127.0.0.1:0"]);
    let ready = server.wait_for(|line| serde_json::from_value::<ServerEvent>(line).ok());
    let ServerEvent::Ready { listen, max_connections, own_tables: false, .. } = ready else {
        panic!("{ready:?}")
    };
    (server, listen[0].to_string(), max_connections)
}

#[test]
fn a_swarm_with_one_table_holds_exactly_what_it_said() {
    // As the lab starts it: a swarm of its own also looks at the server, and its descriptors come and go.
    let parent = std::process::id().to_string();
    for workers in ["1", "2", "3"] {
        let (_server, address, _) = server(1_000);
        let mut swarm = Process::start(
            200,
            &[
                "swarm",
                "--one-table",
                "--commanded",
                "--target",
                "400",
                "--workers",
                workers,
                "--parent",
                &parent,
                "--server",
                &address,
            ],
        );
        let ready = swarm.wait_for(|line| serde_json::from_value::<SwarmEvent>(line).ok());
        let SwarmEvent::Ready { own_tables: false, connections_per_table: said, .. } = ready else {
            panic!("{ready:?}")
        };
        swarm.tell("grow 400");
        swarm.tell("verify");
        let held = swarm
            .wait_for(|line| (line["event"] == "verified").then(|| line["connections"]["held"].as_u64()));
        assert_eq!(held, Some(said), "{workers} workers");
    }
}

#[test]
fn a_server_with_one_table_holds_exactly_what_it_said() {
    let (mut server, address, said) = server(200);
    let mut swarm = Process::start(
        1_000,
        &["swarm", "--commanded", "--target", "400", "--probe-timeout", "1s", "--server", &address],
    );
    swarm.wait_for(|line| (line["event"] == "ready").then_some(()));
    swarm.tell("grow 400");
    swarm.tell("verify");
    let held =
        swarm.wait_for(|line| (line["event"] == "verified").then(|| line["connections"]["held"].as_u64()));
    assert_eq!(held, said);
    std::thread::sleep(Duration::from_millis(10));
    server.tell("stop");
}
