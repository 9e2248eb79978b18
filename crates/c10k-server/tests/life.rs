//! What a server says while it runs, and how it ends.
#![allow(clippy::print_stderr, reason = "a skipped test says so")]

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use c10k_record::{ServerEvent, ServerReport};
use common::{PATIENCE, PROGRAM, Server, bare, connect, expect_echo, pattern, run, send_until_blocked};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

#[test]
fn sigquit_ends_it_in_good_order_too_unless_it_was_started_to_ignore_that() {
    // Behind a shell's `&` the tests ignore it.
    let mut command = Command::new("env");
    command.args(["--default-signal=HUP,QUIT", PROGRAM]);
    let server = Server::start_with(command, &[]);
    let stream = server.connect();
    expect_echo(&stream, b"x");
    server.signal(Signal::SIGQUIT);
    let ended = server.wait_for_end();
    assert_eq!((ended.status.code(), ended.report.drained), (Some(0), 1), "{}", ended.stderr);

    let mut command = Command::new("sh");
    command.args(["-c", "trap '' QUIT HUP; exec \"$0\" \"$@\"", PROGRAM]);
    let mut server = Server::start_with(command, &[]);
    server.signal(Signal::SIGQUIT);
    server.signal(Signal::SIGHUP);
    server.fresh_report();
    expect_echo(&server.connect(), b"still there");
    server.stop();
}

#[test]
fn asked_how_it_stands_it_says_so_at_once_and_as_often_as_it_is_asked() {
    let mut server = Server::start(&[]);
    let mut streams = Vec::new();
    for count in 1..=20 {
        let stream = server.connect();
        expect_echo(&stream, b"x");
        streams.push(stream);
        let report = server.now();
        assert_eq!((report.accepted, report.open), (count, count), "what was echoed was accepted");
    }
    server.stop();
}

#[test]
fn a_command_on_stdin_ends_it_and_others_are_answered() {
    let mut server = Server::start(&[]);
    let stream = server.connect();
    expect_echo(&stream, b"x");
    for line in ["grow 5", "verify", "dance", ""] {
        server.command(line);
    }
    server.fresh_report();
    server.command_bytes(b"\xff\xfe no text\n");
    server.command("stop");
    let ended = server.wait_for_end();
    assert_eq!((ended.status.code(), ended.report.drained), (Some(0), 1), "{}", ended.stderr);
    assert_eq!(ended.stderr.matches("a swarm's command").count(), 2, "{}", ended.stderr);
    assert!(ended.stderr.contains("'dance' is not a command"), "{}", ended.stderr);
}

#[test]
fn the_end_of_stdin_is_no_command() {
    let mut server = Server::start(&[]);
    server.close_stdin();
    server.fresh_report();
    server.fresh_report();
    expect_echo(&server.connect(), b"still there");
    server.stop();
}

#[test]
fn after_sigterm_peers_see_the_end_and_new_ones_are_refused() {
    let server = Server::start(&[]);
    let address = server.address;
    let streams: Vec<TcpStream> = (0..100).map(|_| server.connect()).collect();
    streams.iter().for_each(|stream| expect_echo(stream, b"x"));
    let report = server.stop().report;
    assert_eq!((report.drained, report.open), (100, 0));
    for mut stream in streams {
        assert_eq!(stream.read(&mut [0]).unwrap(), 0, "not an end in good order");
    }
    assert_eq!(TcpStream::connect(address).unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
}

#[test]
fn pending_output_is_delivered_before_the_end() {
    let mut server = Server::start(&["--drain", "30s"]);
    let mut stream = server.connect();
    let bytes = pattern(64 << 20);
    let sent = send_until_blocked(&stream, &bytes);
    server.wait_for("back-pressure", |report| report.back_pressured == 1);
    // Until nothing moves any more: on a busy machine a send that waits may only be late.
    let mut taken = server.fresh_report().bytes_in;
    loop {
        let report = server.fresh_report();
        if report.bytes_in == std::mem::replace(&mut taken, report.bytes_in) && report.back_pressured == 1 {
            break;
        }
    }
    server.signal(Signal::SIGTERM);
    let mut back = Vec::new();
    stream.read_to_end(&mut back).unwrap();
    drop(stream);
    let report = server.wait_for_end().report;
    assert!(back == bytes[..back.len()] && back.len() <= sent, "other bytes came back");
    assert_eq!(back.len() as u64, report.bytes_out, "{report:?}");
    assert_eq!((report.drained, report.failed.len()), (1, 0), "{report:?}");
}

/// The server has read and written all there was, and knows of nothing that waits: it is the kernel that still has it.
#[test]
fn what_the_peer_has_not_taken_survives_what_it_says_meanwhile() {
    let server = Server::start(&["--drain", "20s", "--workers", "1"]);
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(2048).unwrap();
    socket.connect(&server.address.into()).unwrap();
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let bytes = pattern(30_000);
    stream.write_all(&bytes).unwrap();
    let idle = server.connect();
    expect_echo(&idle, b"behind it");
    server.signal(Signal::SIGTERM);
    // All that is idle is closed at once, and the other one has been looked at before.
    assert_eq!((&idle).read(&mut [0]).unwrap(), 0);
    let mut back = vec![0; 100];
    stream.read_exact(&mut back).unwrap();
    let _ = stream.write_all(b"more of it");
    std::thread::sleep(Duration::from_millis(100));
    stream.read_to_end(&mut back).unwrap();
    drop(stream);
    let ended = server.wait_for_end();
    assert!(back == bytes, "{} of {} bytes came back", back.len(), bytes.len());
    assert_eq!((ended.report.drained, ended.report.failed.len()), (2, 0), "{:?}", ended.report);
}

#[test]
fn what_nobody_takes_is_given_up_when_the_drain_is_over() {
    let mut server = Server::start(&["--drain", "200ms"]);
    let stream = server.connect();
    send_until_blocked(&stream, &pattern(64 << 20));
    server.wait_for("back-pressure", |report| report.back_pressured == 1);
    let report = server.stop().report;
    assert_eq!(report.failed.get("undelivered"), Some(&1), "{report:?}");
}

#[test]
fn a_second_signal_ends_at_once() {
    let mut server = Server::start(&["--drain", "1h", "--stall-timeout", "0"]);
    let stream = server.connect();
    send_until_blocked(&stream, &pattern(64 << 20));
    server.wait_for("back-pressure", |report| report.back_pressured == 1);
    server.signal(Signal::SIGTERM);
    server.fresh_report();
    server.signal(Signal::SIGINT);
    let ended = server.wait_for_end();
    assert_eq!((ended.status.code(), ended.report.open), (Some(0), 1), "{}", ended.stderr);
}

#[test]
fn json_is_one_document_at_the_end() {
    let child = bare(&["--listen", "127.0.0.1:0", "--json", "--stats", "text"], Stdio::piped());
    std::thread::sleep(Duration::from_millis(2500));
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let report: ServerReport = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((report.accepted, report.tables > 0), (0, true));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(
        text.contains("listening on 127.0.0.1:") && text.contains(" s: 0 open, 0 accepted (+0)"),
        "{text}"
    );
}

#[test]
fn statistics_come_as_json_lines() {
    let mut child = bare(&["--listen", "127.0.0.1:0", "--stats", "json"], Stdio::null());
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for _ in 0..2 {
        serde_json::from_str::<ServerReport>(&lines.next().unwrap().unwrap()).unwrap();
    }
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_reader_of_its_events_that_is_gone_does_not_end_it() {
    let mut child = bare(&["--listen", "127.0.0.1:0", "--events"], Stdio::piped());
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    let ServerEvent::Ready { listen, .. } = serde_json::from_str(&line).unwrap() else { panic!("{line}") };
    drop(stdout);
    std::thread::sleep(Duration::from_millis(2200));
    expect_echo(&connect(listen[0]), b"nobody listens to my ticks");
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(!text.contains("panicked") && text.contains("accepted 1 connection in"), "{text}");
}

#[test]
fn it_ends_with_the_process_that_started_it() {
    let script = "\"$0\" --listen 127.0.0.1:0 --events --parent $$ & wait";
    let mut shell = Command::new("sh")
        .args(["-c", script, PROGRAM])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdout = BufReader::new(shell.stdout.take().unwrap());
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    assert!(line.contains("ready"), "{line}");
    shell.kill().unwrap();
    shell.wait().unwrap();
    // The end of stdout comes when the server has ended too.
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("\"event\":\"done\""), "{rest}");
}

#[test]
fn without_the_process_that_started_it_it_does_not_start() {
    let (code, _, stderr) = run(&["--listen", "127.0.0.1:0", "--parent", "4194304"]);
    assert_eq!(code, Some(3), "{stderr}");
    assert!(stderr.contains("has ended"), "{stderr}");
}

#[test]
fn a_server_whose_events_nobody_reads_still_hears_signals() {
    let mut child = Command::new(PROGRAM)
        .args(["--listen", "127.0.0.1:0", "--events"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_secs(1));
    writeln!(child.stdin.as_mut().unwrap(), "stop").unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_last_word_that_cannot_be_written_is_told_and_is_no_success() {
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let mut command = Command::new(PROGRAM);
    command.args(["--listen", "127.0.0.1:0", "--json"]).stdin(Stdio::null()).stdout(full);
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    stderr.read_line(&mut line).unwrap();
    assert!(line.starts_with("listening on "), "{line}");
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM).unwrap();
    let mut rest = String::new();
    stderr.read_to_string(&mut rest).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(4), "{rest}");
    assert!(rest.contains("error: the output cannot be written: No space left on device"), "{rest}");
}
