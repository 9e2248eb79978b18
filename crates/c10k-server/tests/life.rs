//! How a server starts, what it says, and how it ends.
#![allow(clippy::print_stderr, reason = "a skipped test says so")]

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use c10k_record::{ServerEvent, ServerMode, ServerReport};
use common::{PROGRAM, Server, connect, expect_echo, pattern, run, send_until_blocked};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A server without the test's own thread that reads what it says.
fn bare(arguments: &[&str], stderr: Stdio) -> Child {
    let mut command = Command::new(PROGRAM);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(stderr);
    command.spawn().unwrap()
}

#[test]
fn ready_says_where_and_how() {
    let server = Server::start(&["--workers", "3", "--max-connections", "10k"]);
    let ServerEvent::Ready { pid, listen, mode, backlog, max_connections, .. } = &server.ready else {
        panic!("{:?}", server.ready)
    };
    assert_eq!((*pid, listen.len(), *mode), (server.pid(), 1, ServerMode::Echo));
    assert!(listen[0].port() != 0 && *backlog > 0);
    assert_eq!(*max_connections, Some(10_000));
    let text = server.stop().stderr;
    assert!(text.contains("echo, 3 lanes, ") && text.contains("at most 10,000"), "{text}");
}

#[test]
fn every_address_of_a_list_is_served() {
    let mut child = bare(&["--listen", "127.0.0.1:0,127.0.0.2:0,[::1]:0", "--events"], Stdio::null());
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let ready = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    let ServerEvent::Ready { listen, .. } = ready else { panic!("{ready:?}") };
    assert_eq!(listen.len(), 3);
    for &address in &listen {
        (0..10).for_each(|_| expect_echo(&connect(address), b"here too"));
    }
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_port_in_use_is_told_whoever_has_it() {
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = Server::start(&[]);
    for address in [other.local_addr().unwrap(), server.address] {
        let (code, stdout, stderr) = run(&["--listen", &address.to_string(), "--json"]);
        assert_eq!((code, stdout.as_str()), (Some(3), ""), "{stderr}");
        assert!(
            stderr.starts_with(&format!("error: cannot listen on {address}: the port is taken")),
            "{stderr}"
        );
        assert!(stderr.lines().count() == 2 && stderr.contains("hint: "), "{stderr}");
    }
    expect_echo(&server.connect(), b"undisturbed");
}

#[test]
fn a_port_that_an_outgoing_connection_has_is_told_with_what_shows_and_what_prevents_it() {
    let far = TcpListener::bind("127.0.0.1:0").unwrap();
    let outgoing = std::net::TcpStream::connect(far.local_addr().unwrap()).unwrap();
    let (accepted, _) = far.accept().unwrap();
    let address = outgoing.local_addr().unwrap();
    let expect_refusal = |listen: String, words: &[&str]| {
        let (code, _, stderr) = run(&["--listen", &listen]);
        assert_eq!((code, stderr.lines().count()), (Some(3), 2), "{stderr}");
        for word in words {
            assert!(stderr.contains(word), "{word}: {stderr}");
        }
    };
    let prevents = ["ip_local_port_range", "sysctl -w net.ipv4.ip_local_reserved_ports=", "ss -tanp 'sport"];
    let to = format!("{address} to {} (ESTABLISHED)", far.local_addr().unwrap());
    expect_refusal(address.to_string(), &[&to, prevents[0], prevents[1], prevents[2]]);
    expect_refusal(format!(":{}", address.port()), &[&to]);

    // A second one has no process any more: it waits for its time, on an address of its own.
    let client = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    client.bind(&"127.0.0.3:0".parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
    client.connect(&far.local_addr().unwrap().into()).unwrap();
    let (peer, _) = far.accept().unwrap();
    let left = client.local_addr().unwrap().as_socket().unwrap();
    drop(client);
    std::io::Read::read(&mut &peer, &mut [0]).unwrap();
    drop(peer);
    expect_refusal(left.to_string(), &["what is left of a connection", "TIME_WAIT, for", prevents[2]]);
    drop((outgoing, accepted));
}

#[test]
fn an_address_of_another_machine_is_told_with_the_command_that_adds_it() {
    let (code, _, stderr) = run(&["--listen", "192.0.2.1:0"]);
    assert_eq!(code, Some(3), "{stderr}");
    assert!(stderr.contains("hint: add it with `sudo ip addr add 192.0.2.1/32 dev lo`"), "{stderr}");
}

#[test]
fn bad_text_ends_with_code_two_and_says_what_is_wrong() {
    for (arguments, reason) in [
        (&["--listen", "127.0.0.1:9009-9000"][..], "backwards"),
        (&["--listen", ":0-0"], "port 0"),
        (&["--listen", "nowhere:9000"], "not an IP address"),
        (&["--protocol", "http"], "raw"),
        (&["--profile", "nosuch"], "nosuch"),
        (&["--profile", "./no/such.toml"], "no/such.toml"),
        (&["--stats", "json", "--json"], "both write on stdout"),
        (&["--max-connections", "0"], "at least 1"),
    ] {
        let (code, stdout, stderr) = run(arguments);
        assert_eq!((code, stdout.as_str()), (Some(2), ""), "{arguments:?}: {stderr}");
        assert!(stderr.contains(reason), "{arguments:?}: {stderr}");
    }
}

#[test]
fn an_unknown_key_of_a_profile_is_shown_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mine.toml");
    std::fs::write(&path, "name = 'mine'\nsummary = 'x'\n[socket]\nbakclog = 1\n").unwrap();
    let (code, _, stderr) = run(&["--profile", path.to_str().unwrap()]);
    assert_eq!(code, Some(2));
    assert!(stderr.contains("bakclog") && stderr.contains("line 4") && stderr.contains('^'), "{stderr}");
}

#[test]
fn no_apply_compares_and_the_socket_options_still_count() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mine.toml");
    let text = "name = 'mine'\nsummary = 'x'\n[sysctl]\n'net.core.somaxconn' = 31\n[socket]\nbacklog = 77\n";
    std::fs::write(&path, text).unwrap();
    let before = std::fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap();
    let server = Server::start(&["--no-apply", "--profile", path.to_str().unwrap()]);
    assert!(matches!(server.ready, ServerEvent::Ready { backlog: 77, .. }), "{:?}", server.ready);
    assert_eq!(std::fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap(), before);
    let text = server.stop().stderr;
    let expected = format!("warning: net.core.somaxconn is {}, the profile wants 31", before.trim());
    assert!(text.contains(&expected) && text.contains("sysctl -w"), "{text}");
}

#[test]
fn a_profile_is_applied_where_the_server_runs_and_put_back_at_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mine.toml");
    let text = "name = 'mine'\nsummary = 'x'\n[sysctl]\n'net.core.somaxconn' = 31\n[socket]\nbacklog = 77\n";
    std::fs::write(&path, text).unwrap();
    // In a network namespace of its own, which dies with the script. A SIGHUP that whoever started the tests ignores
    // (nohup(1)) would be ignored by the server too.
    let script = "env --default-signal=HUP \"$0\" --profile \"$1\" --listen 127.0.0.1:0 & server=$!
        key=/proc/sys/net/core/somaxconn
        tries=0; while [ $(cat $key) != 31 ] && [ $tries -lt 300 ]; do sleep 0.1; tries=$((tries + 1)); done
        sleep 0.5; echo during $(cat $key); kill -HUP $server; wait $server; echo code $?; echo after $(cat $key)";
    let may_unshare = |arguments: &[&str]| {
        Command::new("unshare")
            .args(arguments)
            .arg("true")
            .output()
            .is_ok_and(|output| output.status.success())
    };
    let Some(arguments) = [&["-n"][..], &["-Urn"]].into_iter().find(|arguments| may_unshare(arguments))
    else {
        eprintln!("SKIPPED: no network namespace may be made here");
        return;
    };
    // Whatever goes wrong, it ends.
    let output = Command::new("timeout")
        .args(["--signal=KILL", "120", "unshare"])
        .args(arguments)
        .args(["sh", "-c", script, PROGRAM, path.to_str().unwrap()])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let (said, heard) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert_eq!(said, "during 31\ncode 0\nafter 4096\n", "{heard}");
    assert!(heard.contains("set net.core.somaxconn: 4096 -> 31"), "{heard}");
    assert!(heard.contains("a backlog of 77 is cut to 31"), "{heard}");
}

/// What a script says on stdout and stderr that has the program as $0 and namespaces of the network and of mounts of
/// its own, which die with it; `None` where none may be made.
fn in_own_namespaces(script: &str, arguments: &[&Path]) -> Option<(String, String)> {
    let root = nix::unistd::geteuid().is_root();
    let output = Command::new("unshare")
        .args([if root { "-nm" } else { "-Urnm" }, "sh", "-c", script, PROGRAM])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let [said, heard] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    if said.is_empty() {
        eprintln!("SKIPPED: no namespaces of network and mounts may be made here: {heard}");
        return None;
    }
    Some((said, heard))
}

#[test]
fn bad_text_is_refused_before_anything_would_be_changed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mine.toml");
    std::fs::write(&path, "name = 'mine'\nsummary = 'x'\n[sysctl]\n'net.core.somaxconn' = 31\n").unwrap();
    // Where nothing can be written down nothing is changed: whoever asks for that ends with 3.
    let script = "unset XDG_RUNTIME_DIR; mount -t tmpfs -o ro none /run || exit 77
        mount --bind /tmp /tmp && mount -o remount,bind,ro /tmp || exit 77
        set -- --profile \"$1\" --listen 127.0.0.1:0 --protocol ws
        \"$0\" \"$@\"; echo code $?; \"$0\" \"$@\" --path 'no path'; echo code $?";
    let Some((said, heard)) = in_own_namespaces(script, &[&path]) else { return };
    assert_eq!(said, "code 3\ncode 2\n", "{heard}");
    assert!(heard.contains("no folder for the journal") && heard.contains("path \"no path\""), "{heard}");
}

#[test]
fn a_setting_that_cannot_be_put_back_is_told_with_the_command_and_by_the_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mine.toml");
    let text = "name = 'mine'\nsummary = 'x'\n[sysctl]\n'net.core.somaxconn' = 31\n";
    std::fs::write(&path, text).unwrap();
    // Namespaces of its own, which die with the script: of the network, and of mounts, so that the settings can
    // be made read-only under the server and its journal lies where nobody finds it.
    let script = "mount -t tmpfs none /run || exit 77; mount --bind /proc/sys /proc/sys || exit 77
        \"$0\" --profile \"$1\" --listen 127.0.0.1:0 & server=$!; key=/proc/sys/net/core/somaxconn
        tries=0; while [ $(cat $key) != 31 ] && [ $tries -lt 300 ]; do sleep 0.1; tries=$((tries + 1)); done
        sleep 0.5; mount -o remount,bind,ro /proc/sys || exit 77; kill $server; wait $server; echo code $?";
    let Some((said, heard)) = in_own_namespaces(script, &[&path]) else { return };
    assert_eq!(said, "code 4\n", "{heard}");
    assert!(heard.contains("error: ") && heard.contains("could not be put back to 4096"), "{heard}");
    assert!(heard.contains("hint: ") && heard.contains("net.core.somaxconn=4096"), "{heard}");
}

/// Makes the settings read-only and refuses, where a server would bind its listener.
const REFUSE: &str = r#"
#include <errno.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

int bind(int fd, const struct sockaddr *address, socklen_t size) {
    /* Its mark in the namespace is no listener. */
    if (address->sa_family == AF_UNIX) return syscall(SYS_bind, fd, address, size);
    mount("none", "/proc/sys", 0, MS_REMOUNT | MS_BIND | MS_RDONLY, 0);
    errno = EADDRINUSE;
    return -1;
}
"#;

#[test]
fn a_server_that_is_refused_and_cannot_put_its_settings_back_says_both() {
    let folder = tempfile::tempdir().unwrap();
    let [path, source, shim] = ["mine.toml", "shim.c", "shim.so"].map(|name| folder.path().join(name));
    std::fs::write(&path, "name = 'mine'\nsummary = 'x'\n[sysctl]\n'net.core.somaxconn' = 31\n").unwrap();
    std::fs::write(&source, REFUSE).unwrap();
    let compiled = Command::new("cc").args(["-shared", "-fPIC", "-o"]).args([&shim, &source]).output();
    if !compiled.is_ok_and(|output| output.status.success()) {
        eprintln!("SKIPPED: no C compiler, with which a refusal is made");
        return;
    }
    let script = "mount -t tmpfs none /run || exit 77; mount --bind /proc/sys /proc/sys || exit 77
        LD_PRELOAD=\"$2\" \"$0\" --profile \"$1\" --listen 127.0.0.1:9; echo code $?
        cat /proc/sys/net/core/somaxconn";
    let Some((said, heard)) = in_own_namespaces(script, &[&path, &shim]) else { return };
    assert_eq!(said, "code 4\n31\n", "{heard}");
    assert!(heard.contains("could not be put back to 4096"), "{heard}");
    assert!(heard.contains("error: cannot listen on 127.0.0.1:9"), "{heard}");
}

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
    assert!(!text.contains("panicked") && text.contains("accepted 1 connections"), "{text}");
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
