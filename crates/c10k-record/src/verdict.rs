//! Verdicts: conditions on a record that hold or do not.
//!
//! A [`Condition`] is read once, where a person gives it, and from then on it is a type: a metric with its unit and
//! its better direction, an operator and a limit. A [`Verdict`] is what came of it, as the record keeps it.

mod eval;
mod gaps;
mod metric;
mod parse;
mod regression;
mod unit;
#[cfg(test)]
mod work_tests;

use serde::{Deserialize, Serialize};

pub use eval::judge;
pub use metric::{Better, LatencyKind, MemoryOf, Metric, Percentile, Seen};
pub use parse::{Condition, Limit, Operator, Severity, Unit, VerdictError};
pub use regression::{Regression, RegressionError};

/// What came of one condition.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// The condition as text, such as `failed <= 1%`.
    pub expr: String,
    /// Whether it holds; one with nothing to look at does not. `None`: it was not evaluated, since the run was stopped
    /// before its end.
    pub passed: Option<bool>,
    /// The value found, in the unit of the condition; `None` when nothing was measured, or nothing evaluated.
    pub value: Option<f64>,
    /// What it means where it does not hold.
    #[serde(default)]
    pub severity: Severity,
}

impl Verdict {
    /// The id of the warning that one does not hold which only warns.
    pub const WARNING: &str = "verdict";

    /// Whether it was evaluated and holds.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.passed == Some(true)
    }

    /// Whether it was evaluated, does not hold, and the run has failed by it.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.passed == Some(false) && self.severity == Severity::Fail
    }

    /// Whether it was evaluated and does not hold, and only warns.
    #[must_use]
    pub fn warns(&self) -> bool {
        self.passed == Some(false) && self.severity == Severity::Warn
    }

    /// The condition itself; `None` for a text that another version wrote and this one cannot read.
    #[must_use]
    pub fn condition(&self) -> Option<Condition> {
        self.expr.parse().ok()
    }

    /// What another run had and how many times as much this one has, where it compares with another run; no ratio to 0,
    /// and none of what was not measured.
    #[must_use]
    pub fn beside(&self) -> Option<(f64, Option<f64>)> {
        let had = self.condition()?.beside()?;
        Some((had, self.value.filter(|_| had > 0.0).map(|value| value / had)))
    }

    /// What it is about; `None` as for [`Verdict::condition`].
    #[must_use]
    pub fn metric(&self) -> Option<Metric> {
        Some(self.condition()?.metric)
    }
}

/// The conditions of a run that asks for none: held = target, failed ≤ 1 % of attempts, and, where connections prove
/// themselves, the 95th percentile of the echo at the end of the hold ≤ 100 ms. [`judge`] adds `ghosts = 0` where
/// ghosts are known.
#[must_use]
pub fn default_conditions(probe: bool) -> Vec<Condition> {
    let echo = probe.then_some(DEFAULT_ECHO);
    let texts = [DEFAULT_HELD, "failed <= 1%"].into_iter().chain(echo);
    texts.filter_map(|text| text.parse().ok()).collect()
}

/// The default on what is held.
pub(crate) const DEFAULT_HELD: &str = "held = target";
const DEFAULT_ECHO: &str = "echo_p95 <= 100ms";

/// Puts `more` above `conditions`: what stands on a metric (and a phase) of `more` is replaced in its place, the rest stays.
pub fn add_conditions(conditions: &mut Vec<Condition>, more: &[Condition]) {
    let mut all: Vec<Condition> = Vec::new();
    for old in conditions.drain(..) {
        if !more.iter().any(|new| new.is_on_the_same(&old)) {
            all.push(old);
        } else if !all.iter().any(|new| new.is_on_the_same(&old)) {
            all.extend(more.iter().filter(|new| new.is_on_the_same(&old)).cloned());
        }
    }
    let added: Vec<Condition> =
        more.iter().filter(|new| !all.iter().any(|old| old.is_on_the_same(new))).cloned().collect();
    all.extend(added);
    *conditions = all;
}

/// What a plan that was written with probes asks of echoes by default; without probes nobody could answer it.
pub fn drop_default_on_echoes(conditions: &mut Vec<Condition>) {
    conditions.retain(|condition| condition.to_string() != DEFAULT_ECHO);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conditions(texts: &[&str]) -> Vec<Condition> {
        texts.iter().map(|text| text.parse().expect("a condition")).collect()
    }

    #[test]
    fn the_defaults_can_be_read_and_read_back_as_they_are_written() {
        for condition in default_conditions(true) {
            assert_eq!(condition.to_string().parse(), Ok(condition));
        }
        assert_eq!((default_conditions(true).len(), default_conditions(false).len()), (3, 2));
    }

    #[test]
    fn conditions_add_to_those_below_and_replace_only_what_is_on_the_same_metric() {
        let mut all = default_conditions(true);
        add_conditions(&mut all, &conditions(&["  echo_p95<= 20ms", "connects_per_second >= 1k"]));
        let texts: Vec<String> = all.iter().map(ToString::to_string).collect();
        assert_eq!(texts, ["held = target", "failed <= 1%", "echo_p95 <= 20ms", "connects_per_second >= 1k"]);
        add_conditions(&mut all, &conditions(&["failed <= 0", "failed < 2%"]));
        let texts: Vec<String> = all.iter().map(ToString::to_string).collect();
        let expected =
            ["held = target", "failed <= 0", "failed < 2%", "echo_p95 <= 20ms", "connects_per_second >= 1k"];
        assert_eq!(texts, expected);
    }
}
