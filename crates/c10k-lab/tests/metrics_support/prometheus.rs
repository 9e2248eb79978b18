//! A real Prometheus that scrapes programs of the test: on a port that the kernel chose, with its data in a folder of
//! its own.

use std::fmt::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::super::common::PATIENCE;
use super::get;

pub(crate) struct Prometheus {
    child: Child,
    address: SocketAddr,
    folder: TempDir,
}

impl Prometheus {
    /// Starts one that scrapes these targets each second, and waits until it is ready.
    pub(crate) fn start(targets: &[SocketAddr]) -> Self {
        // Somebody else may take the port between the look and the start.
        let mut tries = (0..5).map(|_| Self::start_once(targets));
        tries.find_map(|mut started| started.is_up().then_some(started)).expect("a port of its own")
    }

    fn start_once(targets: &[SocketAddr]) -> Self {
        let folder = TempDir::new().expect("a folder");
        let mut config = "global: {scrape_interval: 1s, evaluation_interval: 1s}\n".to_owned();
        let list: Vec<String> = targets.iter().map(|target| format!("'{target}'")).collect();
        let _ = write!(
            config,
            "scrape_configs:\n  - job_name: c10k\n    static_configs: [{{targets: [{}]}}]\n",
            list.join(", ")
        );
        std::fs::write(folder.path().join("prometheus.yml"), config).expect("written");
        let address = TcpListener::bind("127.0.0.1:0").and_then(|look| look.local_addr()).expect("a port");
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", folder.path().join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--log.level=warn")
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(folder.path().join("log")).expect("made"))
            .spawn()
            .expect("prometheus");
        Self { child, address, folder }
    }

    fn is_up(&mut self) -> bool {
        let give_up = Instant::now() + PATIENCE;
        loop {
            if std::net::TcpStream::connect(self.address).is_ok()
                && get(self.address, "/-/ready").0.contains(" 200 ")
            {
                return true;
            }
            if self.child.try_wait().expect("a child of ours").is_some() {
                return false;
            }
            assert!(Instant::now() < give_up, "it is not ready: {}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    fn end(&mut self) {
        // By its pid; its data is of no use to anybody.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// The values that a query gives now; those that are no numbers left out.
    #[track_caller]
    pub(crate) fn query(&self, query: &str) -> Vec<f64> {
        let (status, body) = get(self.address, &format!("/api/v1/query?query={}", encoded(query)));
        assert!(status.contains(" 200 "), "{query}: {status}\n{body}");
        let answer: Value = serde_json::from_str(&body).expect("JSON");
        let rows = answer["data"]["result"].as_array().expect("a vector").clone();
        let values = rows.iter().filter_map(|row| row["value"][1].as_str()?.parse::<f64>().ok());
        values.filter(|value| value.is_finite()).collect()
    }

    /// Asks until a query gives data.
    #[track_caller]
    pub(crate) fn expect_data(&self, query: &str) -> Vec<f64> {
        let give_up = Instant::now() + PATIENCE;
        loop {
            let values = self.query(query);
            if !values.is_empty() {
                return values;
            }
            assert!(Instant::now() < give_up, "no data: {query}\n{}", self.log());
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        self.end();
    }
}

fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut all, byte| {
        let _ = match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => write!(all, "{}", char::from(byte)),
            _ => write!(all, "%{byte:02X}"),
        };
        all
    })
}
