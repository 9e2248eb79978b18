//! A swarm that asks for WebSockets where there are none says so.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};

const PROGRAM: &str = env!("CARGO_BIN_EXE_c10k-lab");

#[test]
fn an_answer_that_is_no_upgrade_is_said_to_be_one_of_plain_http() {
    let mut server = Command::new(PROGRAM)
        .args(["server", "--listen", "127.0.0.1:0", "--protocol", "ws", "--path", "/chat", "--events"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("a server");
    let mut lines = BufReader::new(server.stdout.take().expect("piped"));
    let mut ready = String::new();
    lines.read_line(&mut ready).expect("a line");
    let port = ready.split("127.0.0.1:").nth(1).and_then(|rest| rest.split('"').next()).expect("an address");
    let url = format!("ws://127.0.0.1:{port}/other");
    let output = Command::new(PROGRAM)
        .args(["swarm", "--url", &url, "--target", "3", "--hold", "50ms"])
        .stdin(Stdio::null())
        .output()
        .expect("a swarm");
    server.stdin.take().expect("piped").write_all(b"stop\n").expect("told");
    // Its last lines have somewhere to go until it has ended.
    let mut rest = String::new();
    while lines.read_line(&mut rest).is_ok_and(|length| length > 0) {}
    assert!(server.wait().expect("ended").success());
    // The summary is on stdout, for there is no document.
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(said.contains("answered HTTP 404, not 101: no WebSocket at this path?"), "{said}");
}
