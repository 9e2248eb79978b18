//! The browser as a WebSocket peer of the server: a page, opened from disk, that talks and closes with a code.

use std::io::{BufRead as _, BufReader, Lines};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use c10k_record::{ServerEvent, ServerReport};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::chromium::browser;
use crate::common::{PATIENCE, send};
use crate::page::Page;

/// A server of WebSocket connections on a port of the kernel's choice.
struct Server {
    child: Child,
    events: Lines<BufReader<ChildStdout>>,
    url: String,
}

impl Server {
    fn start(more: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_c10k-lab"));
        command.args(["server", "--listen", "127.0.0.1:0", "--no-apply", "--events", "--protocol", "ws"]);
        command.args(more).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("a server");
        let mut events = BufReader::new(child.stdout.take().expect("piped")).lines();
        let ready = events.next().expect("a line").expect("text");
        let ready: ServerEvent = serde_json::from_str(&ready).expect("an event");
        let ServerEvent::Ready { listen, .. } = ready else { panic!("{ready:?}") };
        Self { child, events, url: format!("ws://{}/", listen[0]) }
    }

    /// Ends it by SIGTERM; what it says at the end.
    fn stop(mut self) -> ServerReport {
        send(self.child.id(), Signal::SIGTERM);
        let mut events = self.events.by_ref().map_while(Result::ok);
        let last = events.find_map(|line| match serde_json::from_str(&line).expect("an event") {
            ServerEvent::Done(report) => Some(report),
            _ => None,
        });
        last.expect("its last word")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Opens the page of the peer, which begins at once.
#[track_caller]
fn open(page: &mut Page<'_>, server: &Server, task: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser/peer.html");
    let file = file.canonicalize().expect("it is beside this file");
    page.go_to(&format!("file://{}#do={task}&url={}", file.display(), server.url));
}

/// The page has asked for the socket and for nothing else, and its console is quiet.
#[track_caller]
fn expect_quiet(page: &mut Page<'_>, server: &Server) {
    assert_eq!(page.said(), [format!("request: {}", server.url)]);
}

#[test]
fn a_browser_opens_sends_text_and_binary_gets_its_echo_and_closes_with_a_code() {
    let Some(browser) = browser("a browser's WebSocket") else { return };
    let server = Server::start(&["--subprotocol", "chat"]);
    let mut page = Page::new(browser);
    open(&mut page, &server, "talk");
    let told = page.evaluate("told");
    // It offers permessage-deflate, which the server does not take. Of a close the server gives back the code.
    let expected = json!({
        "open": { "is": "open", "protocol": "chat", "extensions": "" },
        "sent": 26,
        "equal": 26,
        "close": { "is": "close", "code": 4001, "reason": "", "wasClean": true },
    });
    assert_eq!(told, expected);
    expect_quiet(&mut page, &server);
    let report = server.stop();
    assert_eq!((report.accepted, report.closed, report.open), (1, 1, 0), "{report:?}");
    assert!(report.failed.is_empty(), "{report:?}");
}

#[test]
fn a_browser_is_told_1001_when_the_server_goes_and_nothing_is_left_of_a_tab_that_is_closed() {
    let Some(browser) = browser("a browser whose server goes") else { return };
    let server = Server::start(&[]);
    let mut page = Page::new(browser);
    open(&mut page, &server, "stay");
    let until = Instant::now() + PATIENCE;
    while page.evaluate("document.title") != json!("open") {
        assert!(Instant::now() < until, "it never opened");
        std::thread::sleep(Duration::from_millis(20));
    }
    // A tab that is closed says so too: 1001, "going away".
    let mut closed_tab = Page::new(browser);
    open(&mut closed_tab, &server, "stay");
    while closed_tab.evaluate("document.title") != json!("open") {
        assert!(Instant::now() < until, "it never opened");
        std::thread::sleep(Duration::from_millis(20));
    }
    drop(closed_tab);
    let url = server.url.clone();
    let report = server.stop();
    let close: Value = page.evaluate("told")["close"].clone();
    assert_eq!((&close["code"], &close["wasClean"]), (&json!(1001), &json!(true)), "{close}");
    assert_eq!(page.said(), [format!("request: {url}")]);
    assert_eq!((report.accepted, report.open), (2, 0), "{report:?}");
    assert_eq!(report.closed + report.drained + report.failed.values().sum::<u64>(), 2, "{report:?}");
    assert!(report.failed.is_empty(), "{report:?}");
}
