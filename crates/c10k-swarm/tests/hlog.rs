//! latency.hlog, read by a reader that is not ours: Python's `hdrhistogram`, a port of the Java one.
#![allow(clippy::print_stderr, reason = "a skipped test says so")]

mod common;
#[allow(dead_code, reason = "this reader is Python's alone")]
#[path = "../../c10k-wire/tests/support/interop.rs"]
mod interop;

use c10k_record::LatencySummary;
use common::run;
use common::server::Server;
use serde_json::Value;

/// Asserts that the reader found what the record says. Both tell a value to 1 %, and count ranks by a rule of their own: in
/// a thin tail they may mean two neighbours.
#[track_caller]
fn expect_same(found: &Value, tag: &str, own: &LatencySummary) {
    let read = &found["tags"][tag];
    assert_eq!(read["count"].as_u64(), Some(own.count), "{tag}: {found}");
    let read = |name: &str| read[name].as_f64().expect("a number");
    let [p50, p95, max] = [own.p50, own.p95, own.max].map(|us| us.expect("it was measured") as f64);
    let is_dense = own.count > 500;
    for (name, own) in [("p50", p50), ("max", max)].into_iter().filter(|(name, _)| *name == "max" || is_dense)
    {
        assert!((read(name) - own).abs() <= 0.03 * own + 2.0, "{tag} {name}: {} for {own}", read(name));
    }
    let p99 = read("p99");
    assert!((0.97 * p95..=1.03 * max + 2.0).contains(&p99), "{tag} p99: {p99} for {own:?}");
}

#[test]
fn a_foreign_reader_finds_in_the_interval_log_what_the_record_says() {
    let Some(mut python) = interop::python("hdrh") else { return };
    let server = Server::echo();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("latency.hlog");
    let log = ["--hlog", path.to_str().unwrap(), "--rate", "500/s"];
    let work = ["--workload", "echo", "--messages", "20/s", "--hold", "2s", "--beat", "200ms"];
    let ended = run(&[&["--server", &server.at(), "--target", "50"], &work[..], &log].concat());
    ended.expect_counts(50, 50);
    let text = std::fs::read_to_string(&path).unwrap();
    // The format's own names: HistogramLogWriter and HistogramLogScanner of HdrHistogram in Java.
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("#[Histogram log format version 1.3]"), "{text}");
    assert!(text.contains("\n#[StartTime: "), "{text}");
    let legend = "\"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\"Interval_Compressed_Histogram\"";
    assert!(text.lines().any(|line| line == legend), "{text}");
    let output = python.arg(interop::script("read_hlog.py")).arg(&path).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    let found: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {stderr}"));
    assert!(found["start_s"].as_f64().is_some_and(|start| start > 1.7e9), "{found}");
    let intervals = text.lines().filter(|line| line.starts_with("Tag=")).count() as u64;
    let tags = found["tags"].as_object().expect("tags");
    let read: u64 = tags.values().filter_map(|tag| tag["intervals"].as_u64()).sum();
    assert!(intervals > 5 && read == intervals, "{read} of {intervals} lines were read: {found}");
    let worked = &ended.record.work[0];
    expect_same(&found, "echo.response", &worked.response_us);
    expect_same(&found, "echo.service", &worked.service_us);
    expect_same(&found, "echo.lateness", &worked.lateness_us.expect("an open loop"));
    expect_same(&found, "connect", &ended.record.latency_us.connect);
    expect_same(&found, "lateness", &ended.record.lateness_us.expect("connects at a rate"));
    assert!(tags.contains_key("echo.beat"), "{found}");
}
