//! Pages of figures: scraped, read, and checked by Prometheus's own tool.

#![allow(dead_code, reason = "every test file uses its own part of this")]
#![allow(clippy::print_stderr, reason = "a skipped test says so")]

pub(crate) mod prometheus;

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::common::{PATIENCE, Running};

/// The repository's folder.
pub(crate) fn top() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the workspace")
}

/// A page that was answered: its status line and its body.
pub(crate) fn get(address: SocketAddr, path: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).unwrap_or_else(|error| panic!("{address}: {error}"));
    stream.set_read_timeout(Some(PATIENCE)).expect("set");
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").expect("asked");
    let mut said = String::new();
    stream.read_to_string(&mut said).expect("answered");
    let (head, body) = said.split_once("\r\n\r\n").unwrap_or((&said, ""));
    (head.lines().next().unwrap_or_default().to_owned(), body.to_owned())
}

/// The figures that are served at one moment.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) text: String,
    figures: BTreeMap<String, f64>,
}

impl Page {
    #[track_caller]
    pub(crate) fn scrape(address: SocketAddr) -> Self {
        let (status, text) = get(address, "/metrics");
        assert_eq!(status, "HTTP/1.1 200 OK", "{text}");
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let figures = lines.map(|line| {
            let (name, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
            (name.to_owned(), value.parse().unwrap_or_else(|error| panic!("{line}: {error}")))
        });
        Self { figures: figures.collect(), text }
    }

    /// Scrapes until a page is as wanted.
    #[track_caller]
    pub(crate) fn wait_for(address: SocketAddr, wanted: impl Fn(&Self) -> bool) -> Self {
        let give_up = Instant::now() + PATIENCE;
        loop {
            let page = Self::scrape(address);
            if wanted(&page) {
                return page;
            }
            assert!(Instant::now() < give_up, "never as wanted:\n{}", page.text);
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// A figure by its name and labels, as the page has them.
    pub(crate) fn get(&self, series: &str) -> Option<f64> {
        self.figures.get(series).copied()
    }

    /// The names of the families.
    pub(crate) fn families(&self) -> Vec<String> {
        let types = self.text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        types.filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
    }

    /// Has Prometheus's tool read it; nothing where there is none.
    #[track_caller]
    pub(crate) fn expect_checked(&self) {
        if !has("promtool") {
            return;
        }
        let mut tool = Command::new("promtool")
            .args(["check", "metrics"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("promtool");
        tool.stdin.take().expect("piped").write_all(self.text.as_bytes()).expect("read");
        let output = tool.wait_with_output().expect("ended");
        let said =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.is_empty(), "{said}\n{}", self.text);
    }
}

/// Whether a program of Prometheus is here; says so where it is not.
pub(crate) fn has(program: &str) -> bool {
    let is_here =
        Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    if !is_here {
        eprintln!(
            "SKIPPED: no {program} here (Debian's package prometheus), so what it would check is not checked"
        );
    }
    is_here
}

/// Where a program says that its figures are.
#[track_caller]
pub(crate) fn metrics_of(running: &Running) -> SocketAddr {
    running.wait_until_said("/metrics\n");
    after(&running.stderr(), "metrics: http://").trim_end_matches("/metrics").parse().expect("an address")
}

/// The word after these words.
#[track_caller]
pub(crate) fn after(said: &str, words: &str) -> String {
    let rest = said.split(words).nth(1).unwrap_or_else(|| panic!("'{words}' was not said: {said}"));
    rest.split([' ', '\n', ',']).next().unwrap_or_default().to_owned()
}
