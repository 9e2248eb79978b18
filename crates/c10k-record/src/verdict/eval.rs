//! From a condition and a record to a verdict.

use super::Verdict;
use super::metric::{Better, LatencyKind, Metric};
use super::parse::{Condition, Limit};
use crate::{LatencySummary, Record, RunState};

/// What a run that is over comes to under its conditions, and under `ghosts = 0` where ghosts are known and no
/// condition is on them. A run that was stopped before its end is not judged: what it would have held is not known; nor is a
/// time in which the one who measures it did not run.
#[must_use]
pub fn judge(conditions: &[Condition], record: &Record) -> Vec<Verdict> {
    let mut verdicts: Vec<Verdict> = conditions.iter().map(|condition| condition.evaluate(record)).collect();
    let is_on_ghosts = |condition: &Condition| condition.metric == Metric::Ghosts;
    if record.connections.ghosts.is_some() && !conditions.iter().any(is_on_ghosts) {
        verdicts.extend("ghosts = 0".parse::<Condition>().ok().map(|none| none.evaluate(record)));
    }
    verdicts
}

impl Condition {
    /// Evaluates it on a record. With nothing to look at it does not hold; on a run that was stopped before its end, and
    /// where a gap falls into what it is about ([`Record::gap_within`]), it is not evaluated.
    #[must_use]
    pub fn evaluate(&self, record: &Record) -> Verdict {
        let expr = self.to_string();
        if record.state == RunState::Aborted || record.gap_within(self.metric).is_some() {
            return Verdict { expr, passed: None, value: None };
        }
        let value = self.value(record);
        let passed = value.is_some_and(|value| self.operator.holds(value, self.limit_on(record)));
        Verdict { expr, passed: Some(passed), value }
    }

    /// The value in its unit.
    fn value(&self, record: &Record) -> Option<f64> {
        let value = self.metric.of(record)?;
        let Limit::Percent(_) = self.limit else { return Some(value) };
        let c = &record.connections;
        let whole = match self.metric.better() {
            Better::More => c.target,
            Better::Less => c.attempted,
        };
        (whole > 0).then(|| value * 100.0 / whole as f64)
    }

    fn limit_on(&self, record: &Record) -> f64 {
        match self.limit {
            Limit::Target => record.connections.target as f64,
            Limit::Percent(number) | Limit::Value(number) => number,
        }
    }
}

impl Metric {
    /// What a record says of it: connections, a second, or ms; `None` where nothing was measured.
    #[must_use]
    pub fn of(self, record: &Record) -> Option<f64> {
        let c = &record.connections;
        let count = match self {
            Self::Held => c.held,
            Self::Verified => c.verified?,
            Self::Failed => c.failed_total(),
            Self::Ghosts => c.ghosts?,
            Self::ConnectsPerSecond => return record.rate.connects_per_second.mean,
            Self::Latency(kind, percentile) => {
                return percentile.of(kind.of(record)?).map(|us| us as f64 / 1000.0);
            }
        };
        Some(count as f64)
    }
}

impl LatencyKind {
    fn of(self, record: &Record) -> Option<LatencySummary> {
        let all = &record.latency_us;
        match self {
            Self::Connect => Some(all.connect),
            Self::ConnectResponse => all.connect_response,
            Self::Handshake => all.handshake,
            Self::FirstEcho => Some(all.first_echo),
            Self::Echo => Some(all.echo),
            Self::Lateness => record.lateness_us,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::sample_record;

    fn evaluate(text: &str, record: &Record) -> Verdict {
        text.parse::<Condition>().expect("a condition").evaluate(record)
    }

    #[test]
    fn a_verdict_with_nothing_to_look_at_does_not_pass() {
        let verdict = evaluate("echo_p95 <= 100ms", &sample_record());
        assert!(verdict.is_broken() && verdict.value.is_none(), "{verdict:?}");
    }

    #[test]
    fn held_is_compared_with_the_target_and_its_share_is_of_the_target() {
        let mut record = sample_record();
        (record.connections.target, record.connections.attempted) = (10, 20);
        record.connections.held = 9;
        assert!(evaluate("held = target", &record).is_broken());
        let share = evaluate("held >= 90%", &record);
        assert_eq!((share.passed, share.value), (Some(true), Some(90.0)));
        record.connections.held = 10;
        assert!(evaluate("held = target", &record).holds());
    }

    #[test]
    fn failed_in_percent_is_a_share_of_the_attempts() {
        let mut record = sample_record();
        record.connections.attempted = 200;
        record.connections.add_failed(crate::Outcome::aborted(), 3);
        let verdict = evaluate("failed <= 1%", &record);
        assert_eq!((verdict.passed, verdict.value), (Some(false), Some(1.5)));
    }

    #[test]
    fn ghosts_are_judged_where_they_are_known_and_as_the_plan_says() {
        let mut record = sample_record();
        let told = |record: &Record, texts: &[&str]| -> Vec<(String, Option<bool>)> {
            let conditions: Vec<Condition> =
                texts.iter().map(|text| text.parse().expect("a condition")).collect();
            judge(&conditions, record).into_iter().map(|verdict| (verdict.expr, verdict.passed)).collect()
        };
        assert!(told(&record, &[]).is_empty(), "nobody knows of ghosts");
        record.connections.attempted = 100;
        record.connections.ghosts = Some(1);
        assert_eq!(told(&record, &[]), [("ghosts = 0".to_owned(), Some(false))]);
        assert_eq!(told(&record, &["ghosts <= 1%"]), [("ghosts <= 1%".to_owned(), Some(true))]);
        record.connections.ghosts = Some(0);
        assert_eq!(told(&record, &[]), [("ghosts = 0".to_owned(), Some(true))]);
    }

    #[test]
    fn a_run_that_was_stopped_early_is_not_judged() {
        let mut record = sample_record();
        record.state = RunState::Aborted;
        for text in ["held = target", "failed <= 1%", "echo_p95 <= 100ms"] {
            let verdict = evaluate(text, &record);
            assert_eq!((verdict.passed, verdict.value), (None, None), "{text}");
            assert!(!verdict.holds() && !verdict.is_broken());
        }
    }

    #[test]
    fn every_latency_that_is_measured_can_be_judged_by_its_percentiles() {
        let mut record = sample_record();
        let summary = |us: u64| LatencySummary {
            p50: Some(us),
            p90: Some(us + 500),
            p95: Some(us + 1000),
            p99: Some(us + 2000),
            p999: Some(us + 3000),
            max: Some(us + 4000),
            count: 1,
        };
        record.latency_us.connect = summary(1000);
        record.latency_us.echo = summary(2000);
        record.latency_us.first_echo = summary(4000);
        for expr in ["handshake_p95 <= 1s", "connect_response_p50 <= 1s", "lateness_p99 <= 1s"] {
            let verdict = evaluate(expr, &record);
            assert!(
                verdict.value.is_none() && verdict.is_broken(),
                "of raw TCP in a closed loop: {verdict:?}"
            );
        }
        record.latency_us.handshake = Some(summary(3000));
        record.latency_us.connect_response = Some(summary(6000));
        record.lateness_us = Some(summary(7000));
        for (expr, value, passed) in [
            ("connect_p99 <= 3ms", 3.0, true),
            ("handshake_p50 < 3ms", 3.0, false),
            ("handshake_p95 <= 4ms", 4.0, true),
            ("handshake_p99 <= 4ms", 5.0, false),
            ("echo_p50 <= 2ms", 2.0, true),
            ("echo_p90 <= 2ms", 2.5, false),
            ("echo_p95 <= 2ms", 3.0, false),
            ("echo_p999 <= 5ms", 5.0, true),
            ("echo_max < 6ms", 6.0, false),
            ("first_echo_p50 > 3ms", 4.0, true),
            ("connect_response_p99 <= 8ms", 8.0, true),
            ("lateness_p95 < 8ms", 8.0, false),
        ] {
            let expected = Verdict { expr: expr.to_owned(), passed: Some(passed), value: Some(value) };
            assert_eq!(evaluate(expr, &record), expected);
        }
    }
}
