//! What a swarm by itself says to the person who has started it.

mod common;

use std::process::{Command, Stdio};

use common::PROGRAM;
use common::server::Server;

/// Its exit code, stdout and stderr, of ten connections towards `server`.
fn ten(server: &str, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(PROGRAM)
        .args(["--server", server, "--target", "10", "--hold", "200ms", "--no-apply", "--close", "rst"])
        .args(["--in-flight", "10"])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("the swarm runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn where_nobody_listens_none_of_ten_are_held_and_no_forecast_is_told() {
    let nobody = Server::echo().die().to_string();
    let (code, stdout, stderr) = ten(&nobody, &[]);
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stdout.starts_with("SHORT: held 0 of 10; wall: refused (proven)\n"), "{stdout}");
    assert!(stdout.contains("10 × ECONNREFUSED in the ramp"), "{stdout}");
    for word in ["predict", "forecast", "foreseen", "epoll-watches"] {
        assert!(!stdout.contains(word) && !stderr.contains(word), "{word}: {stdout}{stderr}");
    }
}

#[test]
fn the_last_line_of_how_it_stood_says_how_many_were_closed() {
    let server = Server::echo();
    let (code, stdout, stderr) = ten(&server.at(), &[]);
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    assert!(stdout.starts_with("HELD 10 of 10 connections\n"), "{stdout}");
    assert!(stderr.contains("closed 10 connections in ") && stderr.contains("; the run took "), "{stderr}");
    let (_, _, stderr) = ten(&server.at(), &["--events"]);
    assert!(!stderr.contains("closed"), "a program hears it by an event: {stderr}");
}

#[test]
fn a_quiet_swarm_says_its_headline_alone() {
    let server = Server::echo();
    for flag in ["-q", "--quiet"] {
        let said = ten(&server.at(), &[flag]);
        assert_eq!(said, (Some(0), "HELD 10 of 10 connections\n".to_owned(), String::new()));
    }
    let (code, stdout, stderr) = ten(&server.at(), &["-q", "--json"]);
    assert_eq!((code, stdout.lines().count(), stderr.as_str()), (Some(0), 1, ""));
}
