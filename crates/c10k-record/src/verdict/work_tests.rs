use super::*;
use crate::record::sample_record;
use crate::{FannedOut, LatencySummary, NamedPhase, PhaseKind, Record, RunState, Streamed, Worked};

fn read(text: &str) -> Condition {
    text.parse().unwrap_or_else(|error: VerdictError| panic!("{error}"))
}

fn evaluate(text: &str, record: &Record) -> (Option<bool>, Option<f64>) {
    let verdict = read(text).evaluate(record);
    (verdict.passed, verdict.value)
}

fn all(us: u64) -> LatencySummary {
    let us = Some(us);
    LatencySummary { p50: us, p90: us, p95: us, p99: us, p999: us, max: us, count: 9 }
}

fn worked(name: &str, kind: PhaseKind, response_us: u64) -> Worked {
    Worked {
        name: name.to_owned(),
        kind,
        from_ms: 1000,
        to_ms: 2000,
        connections: 5,
        messages_intended: Some(9),
        messages_sent: 9,
        messages_answered: 9,
        messages_not_sent_in_time: 1,
        messages_never_sent: 0,
        messages_wrong: 2,
        messages_per_second: Some(response_us as f64),
        response_us: all(response_us),
        service_us: all(response_us / 2),
        lateness_us: Some(all(response_us / 4)),
        over_time: Vec::new(),
        churn: None,
        stream: None,
        fanout: None,
        server_cores: Some(1.5),
        swarm_cores: None,
    }
}

fn phase(name: &str, open: u64) -> NamedPhase {
    NamedPhase {
        name: name.to_owned(),
        kind: PhaseKind::Ramp,
        from_ms: 0,
        to_ms: 9,
        target: Some(10),
        arrivals_planned: 10,
        arrivals: 10,
        failed: 10 - open,
        open,
        connects_per_second: Some(100.0),
        server_cores: None,
        swarm_cores: Some(0.5),
    }
}

/// Two phases of echo, one of which is faster.
fn run() -> Record {
    let mut record = sample_record();
    record.state = RunState::Complete;
    record.latency_us.echo = all(77_000);
    record.work = vec![worked("calm", PhaseKind::Echo, 4_000), worked("peak", PhaseKind::Echo, 8_000)];
    record.named_phases = vec![phase("up", 10), phase("more", 9)];
    record
}

#[test]
fn a_phase_is_named_before_a_dot_or_behind_an_at() {
    assert_eq!(read("echo_p95@peak <= 1ms"), read("peak.echo_p95 <= 1ms"));
    assert_eq!(read("echo_p95@peak <= 1ms").to_string(), "peak.echo_p95 <= 1ms");
    for text in [".echo_p95 <= 1ms", "echo_p95@ <= 1ms", "peak. <= 1ms"] {
        assert!(text.parse::<Condition>().is_err(), "{text}");
    }
}

#[test]
fn what_stands_before_the_colon_says_what_a_broken_one_means() {
    let condition = read("warn: echo_p99 < 20ms");
    assert_eq!((condition.severity, condition.abort_after), (Severity::Warn, None));
    let condition = read("abort 5s:failed <= 1%");
    assert_eq!((condition.severity, condition.abort_after), (Severity::Fail, Some(crate::Span::secs(5))));
    for text in
        ["warn, abort: failed <= 3", "warn: held = target", "abort 5s: peak.failed <= 1%", "held = target"]
    {
        let written = read(text).to_string();
        assert_eq!(read(&written), read(text), "{text}: {written}");
    }
    assert_eq!(read("warn: held = 3").expr(), "held = 3");
    for (text, hint) in [
        ("wran: held = 3", "expected fail, warn"),
        ("abort: held = 3", "known while"),
        ("abort x: failed = 3", "grace"),
    ] {
        let error = text.parse::<Condition>().expect_err(text);
        assert!(error.hint().contains(hint), "{text}: {}", error.hint());
    }
}

#[test]
fn an_echo_is_the_workloads_where_there_is_one_and_of_several_phases_the_worst() {
    let record = run();
    assert_eq!(evaluate("echo_p95 <= 8ms", &record), (Some(true), Some(8.0)));
    assert_eq!(evaluate("calm.echo_p95 <= 5ms", &record), (Some(true), Some(4.0)));
    assert_eq!(evaluate("peak.service_p50 <= 5ms", &record), (Some(true), Some(4.0)));
    assert_eq!(evaluate("lateness_p99 < 2ms", &record), (Some(false), Some(2.0)));
    assert_eq!(evaluate("messages_per_second >= 5k", &record), (Some(false), Some(4000.0)), "the slower one");
    assert_eq!(evaluate("messages_wrong = 0", &record), (Some(false), Some(4.0)), "of both together");
    assert_eq!(evaluate("server_cores < 1.5", &record), (Some(false), Some(1.5)));
    let hold = Record { work: Vec::new(), ..record };
    assert_eq!(evaluate("echo_p95 <= 80ms", &hold), (Some(true), Some(77.0)), "the last proof");
}

#[test]
fn what_was_not_measured_does_not_hold() {
    let record = run();
    for text in [
        "stalled_viewers = 0",
        "last_receiver_p99 < 200ms",
        "cycles_per_second >= 1",
        "nobody.echo_p95 <= 1s",
        "server_user_bytes <= 24",
        "peak.held = target",
    ] {
        assert_eq!(evaluate(text, &record), (Some(false), None), "{text}");
    }
}

#[test]
fn each_workload_has_its_own_metrics() {
    let mut record = run();
    record.work[0].stream =
        Some(Streamed { viewers: 5, stalled_viewers: 1, start_up_us: all(3000), ..Streamed::default() });
    record.work[1].fanout =
        Some(FannedOut { missing: 3, last_receiver_us: all(9000), ..FannedOut::default() });
    record.memory_per_connection.server_user_bytes = Some(16.5);
    for (text, passed, value) in [
        ("stalled_viewers = 0", false, 1.0),
        ("start_up_p95 <= 3ms", true, 3.0),
        ("receipts_missing <= 3", true, 3.0),
        ("last_receiver_p99 < 200ms", true, 9.0),
        ("server_user_bytes <= 24", true, 16.5),
    ] {
        assert_eq!(evaluate(text, &record), (Some(passed), Some(value)), "{text}");
    }
}

#[test]
fn a_named_phase_has_counts_of_its_own() {
    let mut record = run();
    record.connections.attempted = 19;
    for (text, passed, value) in [
        ("up.held = target", true, 10.0),
        ("more.held = target", false, 9.0),
        ("more.failed <= 1%", false, 10.0),
        ("up.arrivals = planned", true, 10.0),
        ("arrivals = planned", false, 19.0),
        ("up.connects_per_second >= 100/s", true, 100.0),
        ("up.swarm_cores < 1", true, 0.5),
    ] {
        assert_eq!(evaluate(text, &record), (Some(passed), Some(value)), "{text}");
    }
}

#[test]
fn a_warning_that_breaks_leaves_the_run_as_it_is() {
    let mut record = run();
    record.connections.attempted = 0;
    record.verdicts = judge(&[read("warn: echo_p95 <= 1ms")], &record);
    assert!(record.verdicts[0].warns() && !record.verdicts[0].is_broken());
    assert!(record.succeeded(), "{:?}", record.result());
    record.verdicts = judge(&[read("echo_p95 <= 1ms")], &record);
    assert!(!record.succeeded());
}

#[test]
fn one_on_a_phase_replaces_only_one_on_the_same_phase() {
    let mut all = vec![read("echo_p95 <= 100ms")];
    add_conditions(&mut all, &[read("peak.echo_p95 <= 9ms"), read("warn: echo_p95 <= 50ms")]);
    let texts: Vec<String> = all.iter().map(ToString::to_string).collect();
    assert_eq!(texts, ["warn: echo_p95 <= 50ms", "peak.echo_p95 <= 9ms"]);
}
