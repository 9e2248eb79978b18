//! How much worse than in another run something may be: `echo_p99 10%`, and the condition that comes of it.

use std::str::FromStr;

use thiserror::Error;

use super::metric::{Better, Metric};
use super::parse::{Condition, Severity};
use crate::{Record, nearest};

/// By how much a metric may be worse than in another run. Which way is worse is the metric's own: a latency may not rise
/// beyond it, a rate and what is held may not fall.
#[derive(Clone, Debug, PartialEq)]
pub struct Regression {
    /// The phase that it is about; `None` = the run.
    pub phase: Option<String>,
    /// What it is about.
    pub metric: Metric,
    /// Percent of what the other run had.
    pub percent: f64,
    /// What it means where it is worse by more.
    pub severity: Severity,
}

/// A text that is no such thing.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RegressionError {
    /// It is not made of a metric and a percentage.
    #[error("'{0}' does not say by how much a metric may be worse")]
    Shape(String),
    /// It is about nothing that is measured.
    #[error("'{text}': there is no metric '{name}'")]
    Metric {
        /// The text.
        text: String,
        /// What it is about.
        name: String,
    },
    /// Its end is no percentage, or one by which nothing can fall.
    #[error("'{text}': '{percent}' is not a percentage by which {metric} may be worse")]
    Percent {
        /// The text.
        text: String,
        /// What should be one.
        percent: String,
        /// What it is about.
        metric: String,
    },
}

impl RegressionError {
    /// What mends it, in a line.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Shape(_) => {
                "expected METRIC PERCENT, such as 'echo_p99 10%', 'talk.echo_p99 10%' or 'warn: held 1%'"
                    .to_owned()
            }
            Self::Metric { name, .. } => {
                let names: Vec<String> = Metric::all().map(|metric| metric.to_string()).collect();
                match nearest(name, names) {
                    Some(near) => format!("did you mean {near}?"),
                    None => format!("the metrics are {}", Metric::names()),
                }
            }
            Self::Percent { .. } => {
                "expected such as 10%, 2.5% or 0%; what may not fall cannot fall by more than 100%".to_owned()
            }
        }
    }
}

impl FromStr for Regression {
    type Err = RegressionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let shape = || RegressionError::Shape(text.trim().to_owned());
        let (word, rest) = text.split_once(':').unwrap_or(("fail", text));
        let severity = match word.trim() {
            "fail" => Severity::Fail,
            "warn" => Severity::Warn,
            _ => return Err(shape()),
        };
        let (name, percent) = rest.trim().split_once(char::is_whitespace).ok_or_else(shape)?;
        let (phase, name) = match (name.split_once('@'), name.rsplit_once('.')) {
            (Some((name, phase)), _) | (None, Some((phase, name))) => (Some(phase), name),
            (None, None) => (None, name),
        };
        if phase.is_some_and(str::is_empty) {
            return Err(shape());
        }
        let metric = Metric::named(name)
            .ok_or_else(|| RegressionError::Metric { text: text.trim().to_owned(), name: name.to_owned() })?;
        let most = if metric.better() == Better::More { 100.0 } else { f64::MAX };
        let read = percent.trim().strip_suffix('%').and_then(|number| number.trim().parse::<f64>().ok());
        let percent =
            read.filter(|number| (0.0..=most).contains(number)).ok_or_else(|| RegressionError::Percent {
                text: text.trim().to_owned(),
                percent: percent.trim().to_owned(),
                metric: metric.to_string(),
            })?;
        Ok(Self { phase: phase.map(str::to_owned), metric, percent, severity })
    }
}

impl Regression {
    /// The condition that a run has to meet beside that one; `None` where nothing of it was measured there.
    ///
    /// It has the other run's number in it, so that a plan with it can be repeated without that run.
    #[must_use]
    pub fn beside(&self, baseline: &Record) -> Option<Condition> {
        let had = self.metric.of(baseline, self.phase.as_deref()).filter(|had| had.is_finite())?;
        let (sign, way) = match self.metric.better() {
            Better::Less => ("<=", '+'),
            Better::More => (">=", '-'),
        };
        let word = if self.severity == Severity::Warn { "warn: " } else { "" };
        let phase = self.phase.as_ref().map_or_else(String::new, |phase| format!("{phase}."));
        let (metric, had) = (self.metric, written(self.metric, had));
        let text = format!("{word}{phase}{metric} {sign} {had} {way} {}%", self.percent);
        text.parse().ok()
    }
}

/// A number of a metric with its unit, in three decimals at the most.
fn written(metric: Metric, value: f64) -> String {
    let unit = match metric {
        Metric::Latency(..) => "ms",
        Metric::Bytes(_) => "B",
        _ if metric.is_a_rate() => "/s",
        _ => "",
    };
    let number = format!("{value:.3}");
    format!("{}{unit}", number.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::sample_record;
    use crate::{LatencySummary, RunState, Verdict};

    fn regression(text: &str) -> Regression {
        text.parse().unwrap_or_else(|error| panic!("{error}"))
    }

    fn run(echo_us: u64, held: u64, rate: f64) -> Record {
        let mut record = sample_record();
        record.state = RunState::Complete;
        let us = Some(echo_us);
        record.latency_us.echo =
            LatencySummary { p50: us, p90: us, p95: us, p99: us, p999: us, max: us, count: 9 };
        (record.connections.target, record.connections.held) = (10_000, held);
        record.rate.connects_per_second.mean = Some(rate);
        record
    }

    fn beside(text: &str, before: &Record) -> Condition {
        regression(text).beside(before).expect("it was measured")
    }

    fn judged(text: &str, before: &Record, now: &Record) -> Verdict {
        beside(text, before).evaluate(now)
    }

    #[test]
    fn the_condition_names_what_the_other_run_had_and_reads_back_as_it_is_written() {
        let before = run(2501, 9990, 38_412.4);
        for (asked, text) in [
            ("echo_p99 10%", "echo_p99 <= 2.501ms + 10%"),
            ("warn:  echo_p99   2.5 %", "warn: echo_p99 <= 2.501ms + 2.5%"),
            ("held 1%", "held >= 9990 - 1%"),
            ("connects_per_second 0%", "connects_per_second >= 38412.4/s - 0%"),
            ("failed 50%", "failed <= 0 + 50%"),
        ] {
            let condition = beside(asked, &before);
            assert_eq!(condition.to_string(), text);
            assert_eq!(text.parse(), Ok(condition), "{text}");
        }
    }

    #[test]
    fn each_metric_is_worse_in_its_own_direction_and_by_no_more_than_was_said() {
        let before = run(2000, 10_000, 1000.0);
        for (text, now, passed) in [
            ("echo_p99 10%", run(2200, 10_000, 1000.0), true),
            ("echo_p99 10%", run(2201, 10_000, 1000.0), false),
            ("echo_p99 0%", run(2000, 10_000, 1000.0), true),
            ("echo_p99 0%", run(1, 10_000, 1000.0), true),
            ("held 1%", run(2000, 9900, 1000.0), true),
            ("held 1%", run(2000, 9899, 1000.0), false),
            ("connects_per_second 25%", run(2000, 10_000, 750.0), true),
            ("connects_per_second 25%", run(2000, 10_000, 749.9), false),
            ("connects_per_second 25%", run(2000, 10_000, 9000.0), true),
        ] {
            let verdict = judged(text, &before, &now);
            assert_eq!(verdict.passed, Some(passed), "{text}: {verdict:?}");
        }
    }

    #[test]
    fn a_verdict_beside_another_run_has_its_value_and_the_ratio() {
        let before = run(2000, 10_000, 1000.0);
        let verdict = judged("echo_p99 10%", &before, &run(2500, 10_000, 1000.0));
        assert_eq!(verdict.beside(), Some((2.0, Some(1.25))));
        assert_eq!(crate::verdict_value(&verdict), "2.5 ms, 1.25 × the baseline's 2 ms");
        let mut now = run(2000, 10_000, 1000.0);
        now.connections.add_failed(crate::Outcome::aborted(), 1);
        let of_nothing = judged("failed 50%", &before, &now);
        assert_eq!((of_nothing.passed, of_nothing.beside()), (Some(false), Some((0.0, None))));
        assert_eq!(crate::verdict_value(&of_nothing), "1, the baseline has 0");
        assert_eq!("held = target".parse::<Condition>().expect("one").evaluate(&now).beside(), None);
    }

    #[test]
    fn it_stands_beside_what_is_asked_of_the_same_metric_and_takes_the_place_of_an_older_one() {
        let mut all = vec!["echo_p99 <= 20ms".parse().expect("a condition")];
        crate::add_conditions(&mut all, &[beside("echo_p99 10%", &run(2000, 1, 1.0))]);
        crate::add_conditions(&mut all, &[beside("echo_p99 10%", &run(3000, 1, 1.0))]);
        let texts: Vec<String> = all.iter().map(ToString::to_string).collect();
        assert_eq!(texts, ["echo_p99 <= 20ms", "echo_p99 <= 3ms + 10%"]);
    }

    #[test]
    fn what_was_not_measured_there_cannot_be_compared() {
        assert_eq!(regression("cycles_per_second 5%").beside(&run(1, 1, 1.0)), None);
        assert_eq!(regression("talk.echo_p99 5%").beside(&run(1, 1, 1.0)), None);
    }

    #[test]
    fn texts_that_say_no_percentage_of_a_metric_are_refused_with_what_mends_them() {
        for (text, hint) in [
            ("", "METRIC PERCENT"),
            ("echo_p99", "METRIC PERCENT"),
            ("abort: echo_p99 10%", "METRIC PERCENT"),
            (".echo_p99 10%", "METRIC PERCENT"),
            ("echo_p98 10%", "did you mean echo_p9"),
            ("conects_per_second 5%", "did you mean connects_per_second?"),
            ("speed 5%", "the metrics are"),
            ("echo_p99 10", "such as 10%"),
            ("echo_p99 -1%", "such as 10%"),
            ("echo_p99 NaN%", "such as 10%"),
            ("echo_p99 inf%", "such as 10%"),
            ("held 101%", "more than 100%"),
        ] {
            let error = text.parse::<Regression>().expect_err(text);
            assert!(error.hint().contains(hint), "{text}: {error}; {}", error.hint());
        }
    }
}
