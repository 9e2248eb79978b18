//! A lab that has ended: what it said, what it left, and what must be true of both.

use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use c10k_record::{Record, RunState, Sample, Verdict, read_record};
use serde_json::Value;
use tempfile::TempDir;

use super::{faults, hlog};

/// How a lab ended.
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) results: PathBuf,
    pub(crate) home: TempDir,
}

impl Ended {
    /// Asserts the exit code.
    #[track_caller]
    pub(crate) fn expect_exit(&self, code: i32) -> &Self {
        assert_eq!(self.status.code(), Some(code), "{:?}\n{}", self.status.signal(), self.stderr);
        self
    }

    /// Asserts a whole success: `count` connections held, a folder with all its files, a record that is what
    /// its schema says and whose identities hold.
    #[track_caller]
    pub(crate) fn expect_held(&self, count: u64) -> Record {
        self.expect_exit(0);
        let record = self.record();
        let c = &record.connections;
        assert_eq!((c.target, c.attempted, c.established, c.held), (count, count, count, count), "{c:?}");
        assert!(c.failed.is_empty() && record.failures.is_empty(), "{c:?}");
        assert_eq!((c.accepted, c.ghosts), (Some(count), Some(0)), "{c:?}");
        assert_eq!((record.state, record.ended_because.as_deref()), (RunState::Complete, None));
        assert!(record.verdicts.iter().all(Verdict::holds), "{:?}", record.verdicts);
        assert_eq!(record.ceiling, None);
        // A processor's input queue is the whole host's, which other tests fill.
        let met = record.met_on_the_way.iter().filter(|met| met.wall != "netdev-backlog");
        assert_eq!(met.count(), 0, "a healthy run met nothing: {:#?}", record.met_on_the_way);
        assert_eq!(self.stderr.matches("error:").count(), 0, "{}", self.stderr);
        record
    }

    /// The record of its only run, from record.json, checked as every finished record must be.
    #[track_caller]
    pub(crate) fn record(&self) -> Record {
        let folder = self.folder();
        let mut files: Vec<String> = std::fs::read_dir(&folder)
            .expect("its folder")
            .map(|entry| entry.expect("listed").file_name().to_string_lossy().into_owned())
            .collect();
        files.sort();
        let whole = ["latency.hlog", "plan.toml", "ramp.csv", "record.json", "report.html", "samples.csv"];
        assert_eq!(files, whole, "{}", self.stderr);
        let text = std::fs::read_to_string(folder.join("record.json")).expect("the record");
        expect_schema(&serde_json::from_str(&text).expect("JSON"));
        let record = read_record(&folder).expect("a record");
        assert_eq!(record.broken_identity(), None);
        assert_eq!(record.run_id, folder.file_name().expect("a name").to_string_lossy());
        assert!(!record.warnings.iter().any(|warning| warning.id == "identity"), "{:?}", record.warnings);
        record
    }

    /// The folder of its only run.
    #[track_caller]
    pub(crate) fn folder(&self) -> PathBuf {
        let mut folders = self.folders();
        assert_eq!(folders.len(), 1, "{folders:?}\n{}", self.stderr);
        folders.remove(0)
    }

    pub(crate) fn folders(&self) -> Vec<PathBuf> {
        let Ok(entries) = std::fs::read_dir(&self.results) else { return Vec::new() };
        entries.map(|entry| entry.expect("listed").path()).collect()
    }

    /// The rows of samples.csv.
    #[track_caller]
    pub(crate) fn samples(&self) -> Vec<Sample> {
        let text = std::fs::read_to_string(self.folder().join("samples.csv")).expect("samples");
        c10k_report::read_samples(&text).expect("rows")
    }

    /// How many latencies the interval log has under `tag`.
    #[track_caller]
    pub(crate) fn logged(&self, tag: &str) -> u64 {
        let log = hlog::read(&self.folder().join("latency.hlog"));
        log.get(tag).map_or(0, hdrhistogram::Histogram::len)
    }

    /// The one document on stdout, and nothing else there.
    #[track_caller]
    pub(crate) fn document(&self) -> Value {
        let mut documents = serde_json::Deserializer::from_str(&self.stdout).into_iter();
        let first: Value = documents.next().expect("a document on stdout").expect("JSON");
        assert!(documents.next().is_none(), "more than one document: {}", self.stdout);
        assert_eq!(self.stdout.lines().count(), 1, "{}", self.stdout);
        first
    }

    /// Asserts a refusal: this exit code, one error line with all of `words`, one hint, nothing on stdout, and
    /// nothing left of a run.
    #[track_caller]
    pub(crate) fn expect_refused(&self, code: i32, words: &[&str]) {
        self.expect_exit(code);
        let errors = self.stderr.lines().filter(|line| line.starts_with("error:")).count();
        assert_eq!(errors, 1, "{}", self.stderr);
        for word in words {
            assert!(self.stderr.contains(word), "no '{word}' in: {}", self.stderr);
        }
        let hint = self.stderr.lines().filter(|line| line.starts_with("hint: ") && line.len() > 12).count();
        // The parser of the command line has its own way to say the same.
        let tip = self.stderr.matches("For more information, try '--help'").count();
        assert_eq!(hint + tip, 1, "{}", self.stderr);
        assert_eq!(self.stdout, "");
        self.expect_nothing_left();
    }

    /// Asserts that no results folder was left where there was none.
    #[track_caller]
    pub(crate) fn expect_nothing_left(&self) {
        assert!(!self.results.exists(), "{} was left", self.results.display());
    }

    /// A line of what it said to people, on either stream, that starts so.
    #[track_caller]
    pub(crate) fn line(&self, start: &str) -> &str {
        let found = self.stderr.lines().chain(self.stdout.lines()).find(|line| line.starts_with(start));
        found.unwrap_or_else(|| panic!("no line '{start}…' in: {}", self.stderr))
    }

    /// All that it said to people, on both streams, with nothing folded.
    pub(crate) fn told(&self) -> String {
        let all = [&self.stdout[..], &self.stderr].concat();
        all.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// The path of a file in the lab's own folder.
    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }
}

/// Asserts that a record is what its schema says.
#[track_caller]
pub(crate) fn expect_schema(record: &Value) {
    let schema: Value = serde_json::from_str(c10k_report::RECORD_SCHEMA).expect("the schema is JSON");
    let mut found = Vec::new();
    faults(&schema, &schema, record, "record", &mut found);
    assert_eq!(found, [] as [String; 0]);
}
