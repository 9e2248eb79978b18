//! `METRIC OP VALUE`, from text to a type.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

use super::metric::{Better, Metric};
use crate::{Quantity, Span, nearest};

/// A condition on a run. It reads and writes as the text that a person gives, such as `echo_p95 <= 100ms`.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    /// What it is about.
    pub metric: Metric,
    /// How it is compared.
    pub operator: Operator,
    /// With what.
    pub limit: Limit,
    /// The limit as it was written.
    written: String,
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
    /// The target of the run.
    Target,
    /// A share, percent: of the target where more is better, of the attempts where less is.
    Percent(f64),
    /// Connections, connections a second, or ms.
    Value(f64),
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
}

/// A text that is not a verdict.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum VerdictError {
    /// It is not made of a metric, an operator and a value.
    #[error("'{0}' is not a verdict")]
    Shape(String),
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
        let expr = text.trim();
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
        let metric = Metric::named(name)
            .ok_or_else(|| VerdictError::Metric { expr: expr.to_owned(), name: name.to_owned() })?;
        let limit = Limit::read(metric, value).ok_or_else(|| VerdictError::Value {
            expr: expr.to_owned(),
            value: value.to_owned(),
            expected: expected(metric),
        })?;
        Ok(Self { metric, operator, limit, written: value.to_owned() })
    }
}

fn expected(metric: Metric) -> &'static str {
    match metric {
        Metric::ConnectsPerSecond => "connections a second, such as 10k",
        Metric::Latency(..) => "a duration, such as 100ms",
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
        if metric.is_a_count() {
            if value == "target" {
                return Some(Self::Target);
            }
            if let Some(percent) = value.strip_suffix('%') {
                let percent: f64 = percent.trim().parse().ok()?;
                return (percent.is_finite() && percent >= 0.0).then_some(Self::Percent(percent));
            }
        }
        let number = match metric {
            Metric::Latency(..) => value.parse::<Span>().ok()?.0.as_secs_f64() * 1000.0,
            _ => value.parse::<Quantity>().ok()?.0 as f64,
        };
        Some(Self::Value(number))
    }
}

impl Condition {
    /// The unit of its limit and of its value.
    #[must_use]
    pub fn unit(&self) -> Unit {
        match (self.metric, self.limit) {
            (Metric::ConnectsPerSecond, _) => Unit::PerSecond,
            (Metric::Latency(..), _) => Unit::Milliseconds,
            (metric, Limit::Percent(_)) => match metric.better() {
                Better::More => Unit::PercentOfTarget,
                Better::Less => Unit::PercentOfAttempts,
            },
            _ => Unit::Connections,
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
        let sign = Operator::ALL.iter().find(|(operator, _)| *operator == self.operator);
        write!(f, "{} {} {}", self.metric, sign.map_or("", |(_, sign)| sign), self.written)
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
