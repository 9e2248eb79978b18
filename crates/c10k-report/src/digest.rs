//! A run in one short JSON document, for programs that do not want the whole record.

use std::path::Path;

use c10k_record::{Record, RunResult, Unit, Verdict, headline};
use serde_json::{Value, json};

/// The version of its shape.
const VERSION: u32 = 1;

/// What came of a run, in one document; `path` is the run's folder. Units are in the names, and what is not known is null.
#[must_use]
pub fn digest(record: &Record, path: Option<&Path>) -> Value {
    let c = &record.connections;
    let m = &record.memory_per_connection;
    let first = record.ceiling.as_ref().and_then(|ceiling| ceiling.walls.first());
    json!({
        "summary_version": VERSION,
        "run_id": record.run_id,
        "folder": path.map(|path| path.display().to_string()),
        "started_at": record.started_at,
        "ended_at": record.ended_at,
        "result": result(record.result()),
        "headline": headline(record).1,
        "profile": record.profile.name,
        "topology": record.topology,
        "protocol": record.protocol,
        "workload": record.workload,
        "connections": {
            "target": c.target,
            "attempted": c.attempted,
            "established": c.established,
            "accepted": c.accepted,
            "verified": c.verified,
            "held": c.held,
            "ghosts": c.ghosts,
            "failed": c.failed_total(),
        },
        "verdicts": record.verdicts.iter().map(verdict).collect::<Vec<_>>(),
        "baseline": record.baseline.as_ref().map(|baseline| json!({
            "run_id": baseline.run_id,
            "path": baseline.path,
            "differences": baseline.differences,
        })),
        "wall": record.ceiling.as_ref().map(|ceiling| json!({
            "name": ceiling.wall,
            "degree": ceiling.degree,
            "side": first.map(|wall| wall.side),
            "remedy": ceiling.remedy.as_ref().map(|remedy| &remedy.summary),
        })),
        "wall_ahead": record.wall_ahead,
        "connects_per_second": record.rate.connects_per_second.mean,
        "messages_per_second": record.rate.messages_per_second,
        "latency_us": {
            "connect": record.latency_us.connect,
            "first_echo": record.latency_us.first_echo,
            "echo": record.latency_us.echo,
        },
        "bytes_per_connection": {
            "server_user": m.server_user_bytes,
            "server_kernel": m.server_kernel_bytes,
            "client_user": m.client_user_bytes,
            "client_kernel": m.client_kernel_bytes,
        },
        "warnings": record.warnings,
    })
}

fn verdict(verdict: &Verdict) -> Value {
    let condition = verdict.condition();
    let beside = verdict.beside();
    json!({
        "expr": verdict.expr,
        "severity": verdict.severity,
        "passed": verdict.passed,
        "value": verdict.value,
        "unit": condition.as_ref().map(|condition| unit(condition.unit())),
        "limit": condition.and_then(|condition| condition.limit.number()),
        "baseline": beside.map(|(had, _)| had),
        "ratio": beside.and_then(|(_, ratio)| ratio),
    })
}

fn result(result: RunResult) -> &'static str {
    match result {
        RunResult::Done => "done",
        RunResult::Short => "short",
        RunResult::VerdictBroken => "verdict-broken",
        RunResult::Broken => "broken",
        RunResult::Aborted => "aborted",
        RunResult::Unfinished => "unfinished",
    }
}

fn unit(unit: Unit) -> &'static str {
    match unit {
        Unit::Connections => "connections",
        Unit::PercentOfTarget => "percent-of-target",
        Unit::PercentOfAttempts => "percent-of-attempts",
        Unit::PerSecond => "per-second",
        Unit::Milliseconds => "ms",
        Unit::Times => "times",
        Unit::Bytes => "bytes",
        Unit::Cores => "cores",
        Unit::Microseconds => "us",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    #[test]
    fn each_way_a_run_can_end_has_a_word_of_its_own() {
        let word = |record: &Record| digest(record, None)["result"].as_str().map(str::to_owned);
        assert_eq!(word(&fixtures::held()).as_deref(), Some("done"));
        assert_eq!(word(&fixtures::short()).as_deref(), Some("short"));
        assert_eq!(word(&fixtures::aborted()).as_deref(), Some("aborted"));
        assert_eq!(word(&fixtures::unfinished()).as_deref(), Some("unfinished"));
        let mut broken = fixtures::held();
        broken.verdicts[2].passed = Some(false);
        assert_eq!(word(&broken).as_deref(), Some("verdict-broken"));
    }

    #[test]
    fn a_verdict_has_its_limit_and_unit_and_one_beside_a_baseline_the_ratio() {
        let mut record = fixtures::held();
        record.verdicts[2].expr = "echo_p95 <= 2ms + 10%".to_owned();
        let found = digest(&record, Some(Path::new("results/a")));
        let of = |at: usize, key: &str| found["verdicts"][at][key].clone();
        assert_eq!(of(2, "unit"), json!("ms"));
        assert_eq!(of(2, "baseline"), json!(2.0));
        assert_eq!(of(2, "ratio"), json!(0.95));
        assert_eq!(of(2, "limit").as_f64().map(|limit| (limit * 1000.0).round()), Some(2200.0));
        assert_eq!(of(1, "unit"), json!("percent-of-attempts"));
        assert_eq!(
            (of(0, "limit"), of(0, "baseline"), of(0, "ratio")),
            (Value::Null, Value::Null, Value::Null)
        );
        assert_eq!(found["folder"], json!("results/a"));
    }

    #[test]
    fn what_is_not_known_is_null_and_never_0() {
        let found = digest(&fixtures::short(), None);
        for place in
            ["/connections/accepted", "/connections/ghosts", "/bytes_per_connection/server_kernel", "/folder"]
        {
            assert_eq!(found.pointer(place), Some(&Value::Null), "{place}");
        }
        assert_eq!(found["wall"]["name"], json!("ports-exhausted"));
    }
}
