//! `METRIC OP VALUE`, from text to a type.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

use super::metric::{Better, Metric};
use crate::{Quantity, Span, nearest};

/// A condition on a run. It reads and writes as the text that a person gives, such as `echo_p95 <= 100ms`.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    /// The phase that it is about; `None` = the run.
    pub phase: Option<String>,
    /// What it is about.
    pub metric: Metric,
    /// How it is compared.
    pub operator: Operator,
    /// With what.
    pub limit: Limit,
    /// What it means where it does not hold.
    pub severity: Severity,
    /// It ends the run once it has not held for so long; `None` = the run goes on.
    pub abort_after: Option<Span>,
    /// The limit as it was written.
    written: String,
}

/// What a broken verdict means.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The run has failed.
    #[default]
    Fail,
    /// It is said, and changes nothing.
    Warn,
}

/// How a value is compared with a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// `<=`
    AtMost,
    /// `>=`
    AtLeast,
    /// `<`
    Less,
    /// `>`
    More,
    /// `=`
    Equal,
}

/// With what a value is compared.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Limit {
    /// The target of the run, or of the phase.
    Target,
    /// As many as the plan has begun.
    Planned,
    /// A share, percent: of the target where more is better, of the attempts where less is.
    Percent(f64),
    /// In the unit of the metric: connections, so many a second, ms, bytes or cores.
    Value(f64),
    /// What another run had, in the same unit, and by how much of that it may be passed, percent: `2.5ms + 10%`.
    Beside(f64, f64),
}

/// The unit of a condition's limit and of the value that it is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Connections.
    Connections,
    /// Percent of the target.
    PercentOfTarget,
    /// Percent of the attempts.
    PercentOfAttempts,
    /// Connections a second.
    PerSecond,
    /// Milliseconds.
    Milliseconds,
    /// So many of them.
    Times,
    /// Bytes.
    Bytes,
    /// Cores.
    Cores,
    /// Microseconds.
    Microseconds,
}

/// A text that is not a verdict.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum VerdictError {
    /// It is not made of a metric, an operator and a value.
    #[error("'{0}' is not a verdict")]
    Shape(String),
    /// What stands before its colon is none of the words that may.
    #[error("'{expr}' is not a verdict: '{word}' before the colon")]
    Severity {
        /// The text.
        expr: String,
        /// The word.
        word: String,
    },
    /// It is to end a run, and is known only when that is over.
    #[error("'{expr}' cannot end a run: it is not known while the run goes on")]
    Abort {
        /// The text.
        expr: String,
    },
    /// It is about nothing that is measured.
    #[error("'{expr}' is not a verdict: there is no metric '{name}'")]
    Metric {
        /// The text.
        expr: String,
        /// What it is about.
        name: String,
    },
    /// Its limit is not what the metric is measured in.
    #[error("'{expr}' is not a verdict: '{value}' is not {expected}")]
    Value {
        /// The text.
        expr: String,
        /// Its limit.
        value: String,
        /// What a limit on this metric is.
        expected: &'static str,
    },
}

impl VerdictError {
    /// What mends it, in a line.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Shape(_) => {
                "expected METRIC OP VALUE with OP one of <= >= < > =, such as 'failed <= 1%'".to_owned()
            }
            Self::Severity { .. } => {
                "expected fail, warn, abort, or abort with a grace, such as 'warn: echo_p99 < 20ms' or 'abort 5s: failed \
                 <= 1%'"
                    .to_owned()
            }
            Self::Abort { .. } => {
                "failed, echo_p50, echo_p99, messages_per_second and server_cores are known while it goes on".to_owned()
            }
            Self::Metric { name, .. } => {
                let names: Vec<String> = Metric::all().map(|metric| metric.to_string()).collect();
                match nearest(name, names) {
                    Some(near) => format!("did you mean {near}?"),
                    None => format!("the metrics are {}", Metric::names()),
                }
            }
            Self::Value { .. } => {
                "for example 'held >= 90%', 'failed <= 1%', 'echo_p99 <= 20ms', 'connects_per_second >= 10k'"
                    .to_owned()
            }
        }
    }
}

impl FromStr for Condition {
    type Err = VerdictError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let all = text.trim();
        let (words, expr) = all.split_once(':').unwrap_or(("fail", all));
        let (words, expr) = (words.trim(), expr.trim());
        let (severity, abort_after) = severity(all, words)?;
        let shape = || VerdictError::Shape(expr.to_owned());
        let at = expr.find(['<', '>', '=']).ok_or_else(shape)?;
        let (name, rest) = (expr[..at].trim(), &expr[at..]);
        let (operator, value) = Operator::ALL
            .into_iter()
            .find_map(|(operator, sign)| Some((operator, rest.strip_prefix(sign)?.trim())))
            .ok_or_else(shape)?;
        if name.is_empty() || value.is_empty() || value.starts_with(['<', '>', '=']) {
            return Err(shape());
        }
        let (phase, name) = match (name.split_once('@'), name.rsplit_once('.')) {
            (Some((name, phase)), _) | (None, Some((phase, name))) => (Some(phase.trim()), name.trim()),
            (None, None) => (None, name),
        };
        if phase.is_some_and(str::is_empty) {
            return Err(shape());
        }
        let metric = Metric::named(name)
            .ok_or_else(|| VerdictError::Metric { expr: expr.to_owned(), name: name.to_owned() })?;
        let limit = Limit::read(metric, value).ok_or_else(|| VerdictError::Value {
            expr: expr.to_owned(),
            value: value.to_owned(),
            expected: expected(metric),
        })?;
        if abort_after.is_some() && !is_known_meanwhile(metric) {
            return Err(VerdictError::Abort { expr: expr.to_owned() });
        }
        let phase = phase.map(str::to_owned);
        Ok(Self { phase, metric, operator, limit, severity, abort_after, written: value.to_owned() })
    }
}

/// The words before the colon.
fn severity(expr: &str, words: &str) -> Result<(Severity, Option<Span>), VerdictError> {
    let (mut severity, mut abort_after) = (Severity::Fail, None);
    for word in words.split(',').map(str::trim) {
        let wrong = || VerdictError::Severity { expr: expr.to_owned(), word: word.to_owned() };
        match word.split_once(' ').unwrap_or((word, "0")) {
            ("fail", "0") => severity = Severity::Fail,
            ("warn", "0") => severity = Severity::Warn,
            ("abort", grace) => abort_after = Some(grace.trim().parse().map_err(|_| wrong())?),
            _ => return Err(wrong()),
        }
    }
    Ok((severity, abort_after))
}

/// Whether it is known before the run is over.
fn is_known_meanwhile(metric: Metric) -> bool {
    use super::metric::{LatencyKind::Echo, Percentile};
    matches!(
        metric,
        Metric::Failed
            | Metric::MessagesPerSecond
            | Metric::ServerCores
            | Metric::Latency(Echo, Percentile::P50 | Percentile::P99)
    )
}

fn expected(metric: Metric) -> &'static str {
    match metric {
        Metric::Latency(..) => "a duration, such as 100ms",
        Metric::Arrivals => "a number of connections, a percentage, 'planned' or 'target'",
        Metric::Bytes(_) => "bytes, such as 24 or 4KiB",
        Metric::ServerCores | Metric::SwarmCores => "cores, such as 1.5",
        Metric::ServerTime | Metric::SwarmTime => "microseconds, such as 12.5",
        Metric::Seen(_) => "a number, such as 0",
        _ if metric.is_a_rate() => "so many a second, such as 10k",
        _ => "a number of connections, a percentage, or 'target'",
    }
}

impl Operator {
    /// With their signs; the longer ones first.
    const ALL: [(Self, &'static str); 5] = [
        (Self::AtMost, "<="),
        (Self::AtLeast, ">="),
        (Self::Less, "<"),
        (Self::More, ">"),
        (Self::Equal, "="),
    ];

    /// Whether `value` and `limit` stand so.
    #[must_use]
    pub fn holds(self, value: f64, limit: f64) -> bool {
        match self {
            Self::AtMost => value <= limit,
            Self::AtLeast => value >= limit,
            Self::Less => value < limit,
            Self::More => value > limit,
            Self::Equal => (value - limit).abs() < f64::EPSILON,
        }
    }
}

impl Limit {
    fn read(metric: Metric, value: &str) -> Option<Self> {
        if let Some(beside) = Self::read_beside(metric, value) {
            return Some(beside);
        }
        if metric.is_a_count() {
            match value {
                "target" => return Some(Self::Target),
                "planned" if metric == Metric::Arrivals => return Some(Self::Planned),
                _ => {}
            }
            if let Some(percent) = value.strip_suffix('%') {
                let percent: f64 = percent.trim().parse().ok()?;
                return (percent.is_finite() && percent >= 0.0).then_some(Self::Percent(percent));
            }
        }
        number(metric, value).map(Self::Value)
    }

    fn read_beside(metric: Metric, value: &str) -> Option<Self> {
        let rest = value.strip_suffix('%')?;
        let (had, percent) = rest.split_at(rest.rfind(['+', '-'])?);
        let percent: f64 = percent.replace(' ', "").parse().ok()?;
        let is_fit = percent.is_finite() && percent >= -100.0;
        is_fit.then_some(Self::Beside(measured(metric, had.trim())?, percent))
    }

    /// The number with which a value is compared; `None` where the record has to say it.
    #[must_use]
    pub fn number(self) -> Option<f64> {
        match self {
            Self::Value(number) => Some(number),
            Self::Beside(had, percent) => Some(had * (100.0 + percent) / 100.0),
            Self::Target | Self::Planned | Self::Percent(_) => None,
        }
    }
}

/// A number as a person gives it, in the unit of the metric.
fn number(metric: Metric, text: &str) -> Option<f64> {
    Some(match metric {
        Metric::Latency(..) => text.parse::<Span>().ok()?.0.as_secs_f64() * 1000.0,
        Metric::ServerCores | Metric::SwarmCores | Metric::ServerTime | Metric::SwarmTime => {
            text.parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0)?
        }
        Metric::Bytes(_) => bytes(text)?,
        _ if metric.is_a_rate() => {
            text.strip_suffix("/s").unwrap_or(text).trim().parse::<Quantity>().ok()?.0 as f64
        }
        _ => text.parse::<Quantity>().ok()?.0 as f64,
    })
}

/// A number as it was measured: with a fraction where no person would give one.
fn measured(metric: Metric, text: &str) -> Option<f64> {
    let read = number(metric, text);
    if read.is_some() || matches!(metric, Metric::Latency(..)) {
        return read;
    }
    let plain = text.strip_suffix("/s").or_else(|| text.strip_suffix('B')).unwrap_or(text);
    plain.trim().parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0)
}

/// `24`, `24B`, `4KiB`, `1MiB`.
fn bytes(text: &str) -> Option<f64> {
    let of_1024 = [("KiB", 1024.0), ("MiB", 1024.0 * 1024.0), ("B", 1.0), ("", 1.0)];
    let (number, scale) =
        of_1024.into_iter().find_map(|(unit, scale)| Some((text.strip_suffix(unit)?, scale)))?;
    Some(number.trim().parse::<Quantity>().ok()?.0 as f64 * scale)
}

impl Condition {
    /// Without what stands before its colon.
    #[must_use]
    pub fn expr(&self) -> String {
        let sign = Operator::ALL.iter().find(|(operator, _)| *operator == self.operator);
        let phase = self.phase.as_ref().map_or_else(String::new, |phase| format!("{phase}."));
        format!("{phase}{} {} {}", self.metric, sign.map_or("", |(_, sign)| sign), self.written)
    }

    /// Whether both are on the same metric of the same phase, and both by a number of their own or both by that of another
    /// run.
    #[must_use]
    pub fn is_on_the_same(&self, other: &Self) -> bool {
        let are_alike = self.beside().is_some() == other.beside().is_some();
        self.metric == other.metric && self.phase == other.phase && are_alike
    }

    /// What another run had, where it is compared with that.
    #[must_use]
    pub fn beside(&self) -> Option<f64> {
        let Limit::Beside(had, _) = self.limit else { return None };
        Some(had)
    }

    /// The unit of its limit and of its value.
    #[must_use]
    pub fn unit(&self) -> Unit {
        match (self.limit, self.metric.better()) {
            (Limit::Percent(_), Better::More) => Unit::PercentOfTarget,
            (Limit::Percent(_), Better::Less) => Unit::PercentOfAttempts,
            _ => self.metric.unit(),
        }
    }

    /// Whether more of its metric would make it hold, or less: the direction in which a broken one has to be mended.
    /// `None` for `=`.
    #[must_use]
    pub fn asks_for(&self) -> Option<Better> {
        match self.operator {
            Operator::AtLeast | Operator::More => Some(Better::More),
            Operator::AtMost | Operator::Less => Some(Better::Less),
            Operator::Equal => None,
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let warns = (self.severity == Severity::Warn).then(|| "warn".to_owned());
        let aborts = self.abort_after.map(|grace| match grace {
            Span(Duration::ZERO) => "abort".to_owned(),
            grace => format!("abort {grace}"),
        });
        let words: Vec<String> = warns.into_iter().chain(aborts).collect();
        if !words.is_empty() {
            write!(f, "{}: ", words.join(", "))?;
        }
        f.write_str(&self.expr())
    }
}

impl Serialize for Condition {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Condition {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse()
            .map_err(|error: VerdictError| serde::de::Error::custom(format!("{error}; {}", error.hint())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Condition {
        text.parse().unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn blanks_make_no_difference() {
        for text in ["echo_p95<=100ms", "  echo_p95  <=  100ms ", "\techo_p95 <=100ms"] {
            assert_eq!(read(text).to_string(), "echo_p95 <= 100ms", "{text:?}");
            assert_eq!(read(text), read("echo_p95 <= 100ms"));
        }
    }

    #[test]
    fn a_condition_knows_its_unit_and_its_direction() {
        for (text, unit, asks_for) in [
            ("held = target", Unit::Connections, None),
            ("held >= 90%", Unit::PercentOfTarget, Some(Better::More)),
            ("verified > 90 %", Unit::PercentOfTarget, Some(Better::More)),
            ("failed <= 1%", Unit::PercentOfAttempts, Some(Better::Less)),
            ("ghosts < 3", Unit::Connections, Some(Better::Less)),
            ("connects_per_second >= 10k", Unit::PerSecond, Some(Better::More)),
            ("echo_p999 <= 1ms", Unit::Milliseconds, Some(Better::Less)),
            ("first_echo_max < 1s", Unit::Milliseconds, Some(Better::Less)),
        ] {
            assert_eq!((read(text).unit(), read(text).asks_for()), (unit, asks_for), "{text}");
        }
    }

    #[test]
    fn texts_that_are_no_verdicts_are_refused() {
        for expr in [
            "",
            "held",
            "held =",
            "= target",
            "held == target",
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
            assert!(expr.parse::<Condition>().is_err(), "{expr}");
        }
    }

    #[test]
    fn an_unknown_metric_is_told_with_the_nearest_one_in_a_short_line() {
        for (text, meant) in [
            ("ecoh_p95 <= 1ms", "did you mean echo_p95?"),
            ("conects_per_second > 3", "did you mean connects_per_second?"),
            ("Held = target", "did you mean held?"),
        ] {
            let error = text.parse::<Condition>().expect_err(text);
            assert_eq!(error.hint(), meant, "{text}");
        }
        let error = "speed > 3".parse::<Condition>().expect_err("no metric");
        assert!(error.hint().contains("connects_per_second") && error.hint().contains("or lateness with _"));
        assert!(error.hint().len() < 200 && error.to_string().len() < 80, "{error}; {}", error.hint());
    }
}
