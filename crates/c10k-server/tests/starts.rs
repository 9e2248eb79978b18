//! How a server starts, what refuses it, and what it sets and puts back.
#![allow(clippy::print_stderr, reason = "a skipped test says so")]

mod common;

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};

use c10k_record::{ServerEvent, ServerMode};
use common::{PROGRAM, Server, bare, connect, expect_echo, run};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

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
fn a_port_in_use_is_told_with_who_has_it() {
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
    // In a network namespace of its own, which dies with the script. A SIGHUP that the parent of the tests ignores
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
    // Where nothing can be written down nothing is changed: a server that is asked for that ends with 3.
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
