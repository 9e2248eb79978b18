//! The verdicts that do not hold, by what they are about.

use c10k_record::{Evidence, Side, Verdict, human_count};

use crate::findings::Findings;
use crate::wall::seen;

impl Findings {
    /// The broken verdicts on latency and rate.
    pub(crate) fn too_late(&self) -> Vec<Evidence> {
        self.broken(|name| {
            ["echo_", "handshake_"].iter().any(|kind| name.starts_with(kind)) || is_of_connects(name)
        })
    }

    /// Those of them that are about connecting: the SYNs that a full queue drops make a connect wait, and no echo.
    pub(crate) fn late_connects(&self) -> Vec<Evidence> {
        self.broken(is_of_connects)
    }

    /// The verdicts over such names that were measured and do not hold. One with nothing measured proves nothing.
    pub(crate) fn broken(&self, names: impl Fn(&str) -> bool) -> Vec<Evidence> {
        self.verdicts
            .iter()
            .filter(|verdict| !verdict.passed && names(&subject(verdict)))
            .filter_map(|verdict| {
                let value = verdict.value.filter(|value| value.is_finite())?;
                let (is, unit) = (shown(value), unit(verdict));
                let text = format!("verdict `{}` does not hold: {is}{unit}", verdict.expr);
                Some(seen("verdict", Side::Swarm, None, text))
            })
            .collect()
    }
}

fn is_of_connects(name: &str) -> bool {
    name == "connects_per_second" || name.starts_with("connect_")
}

/// What a verdict is about: `echo_p95` of `echo_p95 <= 100ms`.
fn subject(verdict: &Verdict) -> String {
    verdict.expr.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect()
}

fn unit(verdict: &Verdict) -> &'static str {
    match subject(verdict).as_str() {
        "connects_per_second" => " a second",
        name if ["_p50", "_p95", "_p99"].iter().any(|percentile| name.ends_with(percentile)) => " ms",
        _ if verdict.expr.trim_end().ends_with('%') => " % of the attempts",
        _ => "",
    }
}

/// A value in as many digits as say something.
pub(crate) fn shown(value: f64) -> String {
    if value >= 1000.0 && value < u64::MAX as f64 {
        human_count(value.round() as u64)
    } else if value != 0.0 && value.abs() < 0.1 {
        format!("{value:.4}")
    } else {
        let text = format!("{value:.2}");
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(expr: &str, value: Option<f64>) -> Verdict {
        Verdict { expr: expr.to_owned(), passed: false, value }
    }

    #[test]
    fn only_verdicts_that_were_measured_and_are_about_time_are_late() {
        let verdicts = vec![
            broken("held = target", Some(9.0)),
            broken("ghosts <= 1%", Some(2.0)),
            broken("echo_p95 <= 1ms", Some(3.0)),
            broken("echo_p99 <= 1ms", None),
            broken("connect_p99 <= 1ms", Some(4.0)),
            broken("connects_per_second > 1M", Some(5.0)),
        ];
        let findings = Findings { verdicts, ..Findings::default() };
        let late: Vec<String> = findings.too_late().into_iter().map(|evidence| evidence.text).collect();
        assert_eq!(late.len(), 3, "{late:?}");
        assert!(late[0].contains("`echo_p95 <= 1ms` does not hold: 3 ms"), "{late:?}");
        assert_eq!(findings.late_connects().len(), 2);
    }

    #[test]
    fn a_value_is_shown_in_as_many_digits_as_say_something() {
        assert_eq!([0.0, 0.0213, 12.5, 12.0, 4321.4].map(shown), ["0", "0.0213", "12.5", "12", "4,321"]);
    }
}
