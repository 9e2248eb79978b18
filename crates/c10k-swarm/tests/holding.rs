//! Servers that do right, and limits that the swarm lives with.

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::Duration;

use c10k_record::{PhaseName, RunState, SCHEMA_VERSION, SwarmEvent};
use common::server::{Behaviour, Server};
use common::{PROGRAM, Swarm, run, run_limited};
use nix::sys::signal::Signal;

#[test]
fn an_echo_server_holds_what_is_asked_for() {
    let server = Server::echo();
    let ended = run(&["--server", &server.at(), "--target", "300", "--close", "fin"]);
    ended.expect_code(0).expect_counts(300, 300).expect_failed(&[]);
    let record = &ended.record;
    assert_eq!((record.schema_version, record.state), (SCHEMA_VERSION, RunState::Complete));
    let c = &record.connections;
    assert_eq!(
        (c.accepted, c.at_server, c.ghosts),
        (None, Some(300), Some(0)),
        "the first is what the server reports"
    );
    assert_eq!(record.memory_per_connection.server_user_bytes, None);
    assert_eq!(record.ceiling, None);
    assert_eq!(record.latency_us.connect.count, 300);
    assert_eq!(record.latency_us.first_echo.count, 300);
    assert_eq!(record.latency_us.echo.count, 300);
    let phases: Vec<PhaseName> = record.phases.iter().map(|times| times.phase).collect();
    assert_eq!(phases, [PhaseName::Ramp, PhaseName::Hold, PhaseName::Verify, PhaseName::Close]);
    assert!(record.phases.iter().all(|times| times.to_ms.is_some_and(|to| to >= times.from_ms)));
    assert!(record.rate.connects_per_second.mean.is_some_and(|mean| mean > 0.0));
    assert_eq!(server.accepted(), 300, "what the server reports");
}

#[test]
fn one_connection_is_enough() {
    let server = Server::echo();
    for arguments in [&["--workers", "1"][..], &["--workers", "7"], &["--in-flight", "1"]] {
        let ended = run(&[&["--server", &server.at(), "--target", "1"], arguments].concat());
        ended.expect_code(0).expect_counts(1, 1);
    }
}

#[test]
fn a_server_on_ipv6_is_reached_from_ipv6() {
    let server = Server::start_at("[::1]:0", Behaviour::Echo);
    run(&["--server", &server.at(), "--target", "100"]).expect_code(0).expect_counts(100, 100);
    let ended = run(&["--server", &server.at(), "--ips", "::1", "--target", "100"]);
    ended.expect_code(0).expect_counts(100, 100);
}

#[test]
fn several_servers_share_the_connections() {
    let servers = [Server::echo(), Server::echo(), Server::echo()];
    let list = servers.iter().map(Server::at).collect::<Vec<_>>().join(",");
    let ended = run(&["--server", &list, "--target", "300"]);
    ended.expect_code(0).expect_counts(300, 300);
    // Tuples alternate between the destinations.
    assert_eq!(servers.each_ref().map(Server::accepted), [100, 100, 100], "{:?}", ended.record.warnings);
}

#[test]
fn steps_grow_one_after_the_other() {
    let server = Server::echo();
    let swarm = Swarm::start(&[
        "--server",
        &server.at(),
        "--steps",
        "50x4",
        "--step-pause",
        "600ms",
        "--hold",
        "100ms",
    ]);
    for step in 1..=3 {
        swarm.wait_for("a step", |counts| counts.verified == step * 50 && counts.in_flight == 0);
    }
    let ended = swarm.wait_for_end();
    ended.expect_code(0).expect_counts(200, 200);
    assert_eq!(ended.record.connections.target, 200);
    // Three pauses lie between the first connect and the last proof, and are no part of a ramp.
    let (rate, cpu) = (ended.record.rate.connects_per_second, ended.record.cpu);
    let (mean, without) = (rate.mean.unwrap(), rate.without_pauses.unwrap());
    let (all_us, ramp_us) = (200e6 / mean, 200e6 / without);
    assert!(all_us >= ramp_us + 1_800_000.0, "{rate:?}");
    assert!(rate.peak.unwrap() >= without, "the best step is no slower than all of them: {rate:?}");
    // Nobody was lost, so that each ramp ended with its last proof.
    assert!((cpu.ramp_us.unwrap() as f64 - ramp_us).abs() < 2.0, "{cpu:?}, {rate:?}");
    let each_us = cpu.swarm_cores.unwrap() * ramp_us / 200.0;
    assert!((cpu.swarm_us_per_connection.unwrap() - each_us).abs() < 0.01, "{cpu:?}");
}

#[test]
fn a_rate_is_kept() {
    let server = Server::echo();
    let rate = ["--target", "400", "--rate", "500/s", "--hold", "10ms"];
    let swarm = Swarm::start(&[&["--server", &server.at()], &rate[..]].concat());
    let mut seen = Vec::new();
    loop {
        match swarm.next() {
            SwarmEvent::Tick { elapsed_ms, counts, .. } => seen.push((elapsed_ms, counts.attempted)),
            SwarmEvent::Phase { phase: PhaseName::Hold, elapsed_ms, counts } => {
                seen.push((elapsed_ms, counts.attempted));
                break;
            }
            _ => {}
        }
    }
    assert_eq!(seen.last().map(|(_, attempted)| *attempted), Some(400));
    let ended = swarm.wait_for_end();
    ended.expect_counts(400, 400).expect_failed(&[]);
    let lateness = ended.record.lateness_us.expect("an open loop");
    assert_eq!(lateness.count, 400);
    // Times count from the first connect, which may have been begun late itself; nobody is begun before it is due.
    let late_ms = lateness.max.expect("there are some") / 1000 + 1;
    for (elapsed_ms, attempted) in seen {
        let due = (elapsed_ms + late_ms) * 500 / 1000 + 1;
        assert!(attempted <= due, "{attempted} after {elapsed_ms} ms, begun up to {late_ms} ms late");
    }
}

#[test]
fn a_stall_of_the_swarm_itself_shows_in_an_open_loop() {
    let server = Server::echo();
    let swarm =
        Swarm::start(&["--server", &server.at(), "--target", "600", "--rate", "400/s", "--hold", "1ms"]);
    swarm.wait_for("the first connections", |counts| counts.verified > 0);
    swarm.signal(Signal::SIGSTOP);
    std::thread::sleep(Duration::from_millis(800));
    swarm.signal(Signal::SIGCONT);
    let ended = swarm.wait_for_end();
    ended.expect_code(0).expect_counts(600, 600);
    let lateness = ended.record.lateness_us.expect("an open loop");
    let response = ended.record.latency_us.connect_response.expect("an open loop");
    for late in [lateness, response] {
        assert!(late.max > Some(700_000), "the stall was hidden: {late:?}");
        assert!(late.p90 > Some(300_000), "only one connection paid for the stall: {late:?}");
        assert_eq!(late.count, 600);
    }
    let connect = ended.record.latency_us.connect;
    assert!(connect.p90 < lateness.p90, "the server is blamed for it: {connect:?}, {lateness:?}");
}

#[test]
fn connections_far_behind_their_intended_start_are_not_taken_for_timed_out() {
    let server = Server::echo();
    // Nobody can begin so many in time; what counts for the timeout is how long a connect really took.
    let rate = ["--rate", "50M/s", "--connect-timeout", "300ms"];
    let ended = run(&[&["--server", &server.at(), "--target", "8000", "--workers", "1"], &rate[..]].concat());
    ended.expect_code(0).expect_counts(8000, 8000).expect_failed(&[]);
    let (lateness, connect) =
        (ended.record.lateness_us.expect("an open loop"), ended.record.latency_us.connect);
    assert!(lateness.p50 > connect.p50, "{lateness:?}, {connect:?}");
}

#[test]
fn probes_larger_than_the_windows_are_sent_in_parts() {
    let server = Server::echo_with_tiny_window();
    let folder = tempfile::tempdir().unwrap();
    let profile = folder.path().join("small.toml");
    std::fs::write(
        &profile,
        "name = 'small'\nsummary = 'x'\n[socket]\nsndbuf_bytes = 4608\nrcvbuf_bytes = 4608\n",
    )
    .unwrap();
    let profile = profile.to_str().unwrap();
    let ended = run(&[
        "--server",
        &server.at(),
        "--target",
        "20",
        "--probe-bytes",
        "32768",
        "--profile",
        profile,
        "--probe-timeout",
        "30s",
    ]);
    assert_eq!(ended.record.broken_identity(), None);
    // The echo may take longer than the verdict allows, but every byte of it comes.
    ended.expect_counts(20, 20).expect_failed(&[]);
}

#[test]
fn probes_of_every_allowed_size_come_back() {
    let server = Server::echo();
    for size in ["8", "9", "1024", "32767", "32768"] {
        let ended = run(&["--server", &server.at(), "--target", "20", "--probe-bytes", size]);
        ended.expect_code(0).expect_counts(20, 20);
    }
}

#[test]
fn without_probes_a_server_that_discards_is_held() {
    for behaviour in [Behaviour::Discard, Behaviour::Silent, Behaviour::GreetAndDiscard] {
        let server = Server::start(behaviour);
        let ended = run(&["--server", &server.at(), "--target", "100", "--no-probe"]);
        ended.expect_code(0).expect_failed(&[]);
        let c = &ended.record.connections;
        assert_eq!((c.verified, c.established, c.held), (None, 100, 100), "{behaviour:?}");
        assert_eq!(ended.record.latency_us.echo.count, 0);
    }
}

#[test]
fn a_low_descriptor_limit_is_passed_by_many_tables() {
    let server = Server::echo();
    let ended = run_limited(64, &["--server", &server.at(), "--target", "500"]);
    ended.expect_code(0).expect_counts(500, 500).expect_failed(&[]);
    // More tables than a table has descriptors: no worker takes a descriptor of every other one.
    let ended = run_limited(64, &["--server", &server.at(), "--target", "2500"]);
    ended.expect_code(0).expect_counts(2500, 2500).expect_failed(&[]);
    // One table at a time, each begun when the one before is full.
    let ended = run_limited(64, &["--server", &server.at(), "--target", "200", "--workers", "1"]);
    ended.expect_code(0).expect_counts(200, 200);
}

#[test]
fn connections_closed_by_rst_leave_no_time_wait() {
    let server = Server::echo();
    let ports = free_ports(64);
    // The same tuples twice: with TIME_WAIT in the way the second run would find them taken.
    for _ in 0..2 {
        let ended = run(&[
            "--server",
            &server.at(),
            "--ips",
            "127.77.1.1",
            "--ports",
            &ports.text,
            "--target",
            "40",
            "--close",
            "rst",
        ]);
        ended.expect_code(0).expect_counts(40, 40);
        assert_eq!(server_ports_in_time_wait(&ports), 0);
    }
}

#[test]
fn taken_ports_are_skipped_and_said() {
    let server = Server::echo();
    let ports = free_ports(60);
    let taken: Vec<TcpListener> =
        (0..10).map(|n| TcpListener::bind(("127.0.0.1", ports.first + 3 * n)).unwrap()).collect();
    let ended =
        run(&["--server", &server.at(), "--ips", "127.0.0.1", "--ports", &ports.text, "--target", "30"]);
    ended.expect_code(0).expect_counts(30, 30).expect_failed(&[]);
    assert!(ended.warns("ports-taken"), "{:?}", ended.record.warnings);
    drop(taken);
}

#[test]
fn when_all_ports_are_taken_the_wall_is_named() {
    let server = Server::echo();
    let ports = free_ports(30);
    let taken: Vec<TcpListener> =
        (0..10).map(|n| TcpListener::bind(("127.0.0.1", ports.first + 3 * n)).unwrap()).collect();
    let ended =
        run(&["--server", &server.at(), "--ips", "127.0.0.1", "--ports", &ports.text, "--target", "30"]);
    ended.expect_code(1);
    let c = &ended.record.connections;
    assert!(c.held <= 20 && c.held > 0, "{c:?}");
    ended.expect_failed(&[]);
    let ports = ended.ports_used_up();
    assert_eq!((ports.planned, ports.in_use + ports.taken), (30, 30), "{ports:?}");
    assert!(ports.in_use == c.held && ports.taken >= 10, "{ports:?}");
    ended.expect_ports_wall();
    assert!(ended.warns("ports-taken") && ended.warns("growth-stopped"), "{:?}", ended.record.warnings);
    drop(taken);
}

#[test]
fn a_reader_of_its_events_that_is_gone_does_not_end_it() {
    let server = Server::echo();
    let mut child = Command::new(PROGRAM)
        .args([
            "--no-apply",
            "--events",
            "--server",
            &server.at(),
            "--target",
            "50",
            "--no-probe",
            "--hold",
            "600ms",
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    assert!(line.contains("ready"), "{line}");
    drop(stdout);
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), stderr.contains("panicked")), (Some(0), false), "{stderr}");
    assert_eq!(server.accepted(), 50);
}

#[test]
fn the_end_is_on_stdout_in_the_words_of_the_lab() {
    let server = Server::echo();
    let mut child = Command::new(PROGRAM)
        .args(["--no-apply", "--server", &server.at(), "--target", "50", "--hold", "50ms", "--rate", "500/s"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = String::new();
    child.stdout.take().unwrap().read_to_string(&mut stdout).unwrap();
    let stderr = String::from_utf8(child.wait_with_output().unwrap().stderr).unwrap();
    assert!(stdout.starts_with("HELD 50 of 50 connections\n"), "{stdout}");
    assert!(stdout.contains("\n  lateness    the swarm's own p50 "), "{stdout}");
    assert!(stdout.lines().all(|line| line.chars().count() <= 80), "{stdout}");
    assert!(!stderr.contains("HELD") && !stderr.contains("lateness"), "{stderr}");
    assert!(![&stdout, &stderr].iter().any(|text| text.contains("\x1b[")), "no colours where nobody looks");
}

#[test]
fn the_interval_log_holds_every_kind_of_latency() {
    let server = Server::echo();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("latency.hlog");
    let log = path.to_str().unwrap();
    let logged = |rate: &[&str]| {
        run(&[&["--server", &server.at(), "--target", "50", "--hlog", log], rate].concat()).expect_code(0);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("#[Histogram log format version"), "{text}");
        text
    };
    let text = logged(&["--rate", "1000/s"]);
    for tag in ["connect", "first_echo", "echo", "connect_response", "lateness"] {
        assert!(text.contains(&format!("Tag={tag},")), "{tag}: {text}");
    }
    let text = logged(&[]);
    assert!(!text.contains("Tag=lateness,"), "nothing was intended: {text}");
    let nowhere = folder.path().join("no/such/folder");
    let (code, _, stderr) =
        common::run_to_refusal(&["--server", &server.at(), "--hlog", nowhere.to_str().unwrap()]);
    assert!(code == Some(3) && stderr.starts_with("error: cannot write"), "{code:?} {stderr}");
}

#[test]
fn it_ends_with_the_process_that_started_it() {
    let server = Server::echo();
    let script = "\"$0\" --no-apply --events --server \"$1\" --target 20 --hold 1h --parent $$ & wait";
    let mut shell = Command::new("sh")
        .args(["-c", script, PROGRAM, &server.at()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdout = BufReader::new(shell.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains("\"phase\":\"hold\"") {
        line.clear();
        assert!(stdout.read_line(&mut line).unwrap() > 0, "it ended before the hold");
    }
    shell.kill().unwrap();
    shell.wait().unwrap();
    // The end of stdout comes when the swarm has ended too.
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("\"event\":\"done\"") && rest.contains("\"aborted\""), "{rest}");
}

struct Ports {
    first: u16,
    last: u16,
    text: String,
}

/// So many ports in a row that nobody has at this moment, within what the kernel gives out itself.
fn free_ports(count: u16) -> Ports {
    let seed = std::process::id() as u16 % 97 * 100;
    for round in 0..100 {
        let first = 34_000 + (seed + round * 257) % 24_000;
        let all: Result<Vec<TcpListener>, _> =
            (first..first + count).map(|port| TcpListener::bind(("0.0.0.0", port))).collect();
        if all.is_ok() {
            let last = first + count - 1;
            return Ports { first, last, text: format!("{first}-{last}") };
        }
    }
    panic!("no {count} free ports in a row");
}

fn server_ports_in_time_wait(ports: &Ports) -> usize {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let time_wait = |line: &&str| line.split_whitespace().nth(3) == Some("06");
    let here = |line: &&str| {
        let local = line.split_whitespace().nth(1).and_then(|local| local.split_once(':')).unwrap();
        // 127.77.1.1 in the kernel's byte order.
        local.0 == "01014D7F"
            && (ports.first..=ports.last).contains(&u16::from_str_radix(local.1, 16).unwrap())
    };
    table.lines().skip(1).filter(time_wait).filter(here).count()
}

#[test]
fn an_unread_stdin_is_left_alone() {
    // Without --events commands are not read: a user who pipes something in sees no surprise.
    let server = Server::echo();
    let mut child = Command::new(PROGRAM)
        .args(["--no-apply", "--server", &server.at(), "--target", "20", "--no-probe", "--hold", "300ms"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"stop\n").unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_document_that_cannot_be_written_is_told_and_is_no_success() {
    let server = Server::echo();
    for form in ["--json", "--events"] {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let output = Command::new(PROGRAM)
            .args(["--no-apply", "--server", &server.at(), "--target", "20", "--hold", "50ms", form])
            .stdin(Stdio::null())
            .stdout(full)
            .output()
            .unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(4), "{form}: {stderr}");
        assert_eq!(stderr.matches("error: the output cannot be written").count(), 1, "{form}: {stderr}");
    }
}

#[test]
fn an_interval_log_that_finds_no_room_is_told_by_the_record_and_by_the_exit_code() {
    let server = Server::echo();
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("latency.hlog");
    for form in ["--json", "--events"] {
        // A file may have so many blocks, and what goes beyond is an error instead of a signal (setrlimit(2)): the
        // head of the log fits, the latencies do not.
        let script = "trap '' XFSZ; ulimit -f 1; exec \"$0\" \"$@\"";
        let output = Command::new("sh")
            .args(["-c", script, PROGRAM, "--no-apply", "--server", &server.at(), "--target", "200"])
            .args(["--hold", "600ms", "--close", "rst", form, "--hlog"])
            .arg(&log)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let (stdout, stderr) =
            (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
        assert_eq!(output.status.code(), Some(4), "{form}: {stderr}");
        assert_eq!(stderr.matches("error: the interval log").count(), 1, "{form}: {stderr}");
        let last: serde_json::Value = serde_json::from_str(stdout.lines().last().unwrap()).unwrap();
        let record = last.get("record").unwrap_or(&last);
        assert_eq!((&record["state"], &record["connections"]["held"]), (&"broken".into(), &200.into()));
        let why = record["ended_because"].as_str().unwrap();
        assert!(why.contains("latency.hlog could not be written whole: File too large"), "{form}: {why}");
        let warnings = record["warnings"].as_array().unwrap();
        assert!(warnings.iter().any(|warning| warning["id"] == "output-lost"), "{form}: {warnings:?}");
    }
}
