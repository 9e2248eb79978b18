//! Verdicts: expressions over a record that hold or do not.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::Record;

/// One verdict with what it found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// The expression, such as `failed <= 1%`.
    pub expr: String,
    /// Whether it holds. A verdict with nothing to look at does not.
    pub passed: bool,
    /// The value found, in the unit of the expression; `None` when nothing was measured.
    pub value: Option<f64>,
}

/// The verdicts of a run that asks for none: held = target, failed ≤ 1 % of attempts, and, where connections
/// prove themselves, the 95th percentile of the echo at the end of the hold ≤ 100 ms.
#[must_use]
pub fn default_verdicts(probe: bool) -> Vec<String> {
    let mut verdicts = vec!["held = target".to_owned(), "failed <= 1%".to_owned()];
    if probe {
        verdicts.push("echo_p95 <= 100ms".to_owned());
    }
    verdicts
}

/// A text that is not a verdict.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "'{0}' is not a verdict: expected NAME OP VALUE with NAME one of {names}, OP one of <= >= < > =, and VALUE \
     a number, a percentage of attempts, a duration or 'target'",
    names = NAMES.join(", ")
)]
pub struct VerdictError(String);

const NAMES: [&str; 14] = [
    "held",
    "failed",
    "ghosts",
    "verified",
    "connects_per_second",
    "connect_p50",
    "connect_p95",
    "connect_p99",
    "handshake_p50",
    "handshake_p95",
    "handshake_p99",
    "echo_p50",
    "echo_p95",
    "echo_p99",
];

impl Verdict {
    /// Whether `expr` can be evaluated at all.
    ///
    /// # Errors
    /// [`VerdictError`] with what was expected.
    pub fn check(expr: &str) -> Result<(), VerdictError> {
        Expression::parse(expr).map(|_| ())
    }

    /// Evaluates `expr` on a record. An expression that cannot be read does not pass.
    #[must_use]
    pub fn evaluate(expr: &str, record: &Record) -> Self {
        let failed = Self { expr: expr.to_owned(), passed: false, value: None };
        let Ok(parsed) = Expression::parse(expr) else { return failed };
        let Some(value) = parsed.value(record) else { return failed };
        let limit = match parsed.limit {
            Limit::Number(number) => number,
            Limit::Target => record.connections.target as f64,
        };
        let passed = match parsed.operator {
            "<=" => value <= limit,
            ">=" => value >= limit,
            "<" => value < limit,
            ">" => value > limit,
            _ => (value - limit).abs() < f64::EPSILON,
        };
        Self { expr: expr.to_owned(), passed, value: Some(value) }
    }
}

struct Expression<'a> {
    name: &'a str,
    operator: &'a str,
    limit: Limit,
    percent: bool,
}

enum Limit {
    Number(f64),
    Target,
}

impl<'a> Expression<'a> {
    fn parse(expr: &'a str) -> Result<Self, VerdictError> {
        let bad = || VerdictError(expr.to_owned());
        let operator =
            ["<=", ">=", "<", ">", "="].into_iter().find(|op| expr.contains(op)).ok_or_else(bad)?;
        let (name, value) = expr.split_once(operator).ok_or_else(bad)?;
        let (name, value) = (name.trim(), value.trim());
        if !NAMES.contains(&name) {
            return Err(bad());
        }
        let latency = latency_of(name).is_some();
        let rate = name == "connects_per_second";
        let percent = value.ends_with('%');
        let limit = if value == "target" && !latency && !rate {
            Limit::Target
        } else if let Some(number) = value.strip_suffix('%') {
            let number =
                number.trim().parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0);
            Limit::Number(number.filter(|_| !latency && !rate).ok_or_else(bad)?)
        } else if latency {
            Limit::Number(value.parse::<crate::Span>().map_err(|_| bad())?.0.as_secs_f64() * 1000.0)
        } else {
            Limit::Number(value.parse::<crate::Quantity>().map_err(|_| bad())?.0 as f64)
        };
        Ok(Self { name, operator, limit, percent })
    }

    /// The value in the unit of the expression: connections, percent of attempts, per second, or ms.
    fn value(&self, record: &Record) -> Option<f64> {
        let c = &record.connections;
        let count = match self.name {
            "held" => c.held,
            "failed" => c.failed_total(),
            "ghosts" => c.ghosts?,
            "verified" => c.verified?,
            "connects_per_second" => return record.rate.connects_per_second.mean,
            name => return latency_ms(name, record),
        };
        if !self.percent {
            return Some(count as f64);
        }
        (c.attempted > 0).then(|| count as f64 * 100.0 / c.attempted as f64)
    }
}

/// The kind of latency and the percentile in the name of a verdict.
fn latency_of(name: &str) -> Option<(&str, &str)> {
    name.rsplit_once('_').filter(|(_, percentile)| ["p50", "p95", "p99"].contains(percentile))
}

/// In ms; `None` when none of the kind was measured.
fn latency_ms(name: &str, record: &Record) -> Option<f64> {
    let (kind, percentile) = latency_of(name)?;
    let all = &record.latency_us;
    let summary = match kind {
        "connect" => all.connect,
        "handshake" => all.handshake?,
        _ => all.echo,
    };
    let us = match percentile {
        "p50" => summary.p50,
        "p95" => summary.p95,
        _ => summary.p99,
    };
    us.map(|us| us as f64 / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LatencySummary;
    use crate::record::sample_record;

    #[test]
    fn the_default_verdicts_can_be_read() {
        for expr in default_verdicts(true) {
            assert_eq!(Verdict::check(&expr), Ok(()), "{expr}");
        }
    }

    #[test]
    fn a_verdict_with_nothing_to_look_at_does_not_pass() {
        let record = sample_record();
        let verdict = Verdict::evaluate("echo_p95 <= 100ms", &record);
        assert!(!verdict.passed && verdict.value.is_none(), "{verdict:?}");
    }

    #[test]
    fn held_is_compared_with_the_target() {
        let mut record = sample_record();
        record.connections.target = 10;
        record.connections.held = 9;
        assert!(!Verdict::evaluate("held = target", &record).passed);
        record.connections.held = 10;
        assert!(Verdict::evaluate("held = target", &record).passed);
    }

    #[test]
    fn failed_in_percent_is_a_share_of_the_attempts() {
        let mut record = sample_record();
        record.connections.attempted = 200;
        record.connections.add_failed(crate::Outcome::aborted(), 3);
        let verdict = Verdict::evaluate("failed <= 1%", &record);
        assert_eq!((verdict.passed, verdict.value), (false, Some(1.5)));
    }

    #[test]
    fn texts_that_are_no_verdicts_are_refused() {
        for expr in [
            "",
            "held",
            "held = many",
            "speed > 3",
            "echo_p95 <= 1%",
            "echo_p95 <= 100",
            "echo_p95 <= target",
            "first_p50 <= 1ms",
            "failed <= NaN%",
            "failed <= inf%",
            "failed <= -1%",
            "failed <= %",
            "connects_per_second >= target",
            "connects_per_second >= 1%",
        ] {
            assert!(Verdict::check(expr).is_err(), "{expr}");
            assert!(!Verdict::evaluate(expr, &sample_record()).passed, "{expr}");
        }
    }

    #[test]
    fn every_latency_that_is_measured_can_be_judged_by_its_percentiles() {
        let mut record = sample_record();
        let summary = |us: u64| LatencySummary {
            p50: Some(us),
            p95: Some(us + 1000),
            p99: Some(us + 2000),
            ..LatencySummary::default()
        };
        record.latency_us.connect = summary(1000);
        record.latency_us.echo = summary(2000);
        assert_eq!(Verdict::evaluate("handshake_p95 <= 1s", &record).value, None, "of raw TCP there is none");
        record.latency_us.handshake = Some(summary(3000));
        for (expr, value, passed) in [
            ("connect_p99 <= 3ms", 3.0, true),
            ("handshake_p50 < 3ms", 3.0, false),
            ("handshake_p95 <= 4ms", 4.0, true),
            ("handshake_p99 <= 4ms", 5.0, false),
            ("echo_p50 <= 2ms", 2.0, true),
            ("echo_p95 <= 2ms", 3.0, false),
        ] {
            let expected = Verdict { expr: expr.to_owned(), passed, value: Some(value) };
            assert_eq!(Verdict::evaluate(expr, &record), expected);
        }
    }
}
