//! The verdicts that do not hold, by what they are about.

use c10k_record::{
    Better, Condition, Evidence, LatencyKind, Metric, PhaseName, Side, Unit, Verdict, human_count,
};

use crate::findings::Findings;
use crate::loads::PhaseLoad;
use crate::wall::seen;

impl Findings {
    /// The broken verdicts on latency and rate, and on what of a workload did not come in time.
    pub(crate) fn too_late(&self) -> Vec<Evidence> {
        self.broken(|metric| metric.breaks_by_slowness())
    }

    /// Those of them that are about connecting, and not the swarm's own doing: the SYNs that a full queue drops make a
    /// connect wait, and no echo.
    pub(crate) fn late_connects(&self) -> Vec<Evidence> {
        self.broken_where(|condition, value| {
            condition.metric.is_of_connecting() && !self.is_the_swarms(condition, value)
        })
    }

    /// The verdicts on such metrics that were measured and do not hold. One with nothing measured proves nothing.
    pub(crate) fn broken(&self, is_meant: impl Fn(Metric) -> bool) -> Vec<Evidence> {
        self.broken_where(|condition, _| is_meant(condition.metric))
    }

    /// The same by the whole condition and the value that was found.
    pub(crate) fn broken_where(&self, is_meant: impl Fn(&Condition, f64) -> bool) -> Vec<Evidence> {
        self.verdicts
            .iter()
            .filter(|verdict| verdict.is_broken())
            .filter_map(|verdict| {
                let value = verdict.value.filter(|value| value.is_finite())?;
                let condition = verdict.condition().filter(|condition| is_meant(condition, value))?;
                let (is, unit) = (shown(value), words(condition.unit()));
                let text = format!("verdict `{}` does not hold: {is}{unit}", verdict.expr);
                Some(seen("verdict", Side::Swarm, None, text))
            })
            .collect()
    }

    /// The phases in which something was measured that such a broken verdict is about, with their processor time, as far as it
    /// is known.
    pub(crate) fn loads_of_late(&self) -> impl Iterator<Item = (PhaseName, &PhaseLoad)> {
        let works = !self.work.is_empty();
        let measured_in = move |phase: PhaseName| {
            let is_meant =
                move |metric: Metric| metric.breaks_by_slowness() && phase_of(metric, works) == phase;
            !self.broken(is_meant).is_empty()
        };
        self.loads.iter().map(|(phase, load)| (*phase, load)).filter(move |(phase, _)| measured_in(*phase))
    }

    /// The most connections a second that a broken verdict asks for; `None` where none asks for more than there were.
    pub(crate) fn wanted_rate(&self) -> Option<u64> {
        let broken = self.verdicts.iter().filter(|verdict| verdict.is_broken());
        let wanted = broken.filter_map(|verdict| {
            let condition = verdict.condition().filter(|of| of.metric == Metric::ConnectsPerSecond)?;
            let limit = condition.limit.number()?;
            let asks_for_more = match condition.asks_for() {
                Some(way) => way == Better::More,
                None => verdict.value? < limit,
            };
            asks_for_more.then_some(limit.ceil() as u64)
        });
        wanted.max()
    }

    /// Whether something came too late, and all of that while connections were held and did what a workload has them do.
    pub(crate) fn is_late_while_held_alone(&self) -> bool {
        let works = !self.work.is_empty();
        let in_hold = |metric: Metric| phase_of(metric, works) == PhaseName::Hold;
        let late = self.too_late();
        !late.is_empty()
            && late.len() == self.broken(|metric| metric.breaks_by_slowness() && in_hold(metric)).len()
    }

    /// Whether every verdict holds, as far as they were evaluated.
    pub(crate) fn all_verdicts_hold(&self) -> bool {
        !self.verdicts.iter().any(Verdict::is_broken)
    }
}

/// In which phase a latency or a rate is measured.
fn phase_of(metric: Metric, works: bool) -> PhaseName {
    match metric {
        Metric::Latency(LatencyKind::Echo | LatencyKind::Service, _) if works => PhaseName::Hold,
        Metric::MessagesPerSecond if works => PhaseName::Hold,
        _ if !metric.workloads().is_empty() => PhaseName::Hold,
        Metric::Latency(LatencyKind::Echo, _) => PhaseName::Verify,
        _ => PhaseName::Ramp,
    }
}

fn words(unit: Unit) -> &'static str {
    match unit {
        Unit::Connections | Unit::Times => "",
        Unit::PercentOfTarget => " % of the target",
        Unit::PercentOfAttempts => " % of the attempts",
        Unit::PerSecond => " a second",
        Unit::Milliseconds => " ms",
        Unit::Bytes => " B",
        Unit::Cores => " cores",
        Unit::Microseconds => " µs",
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

/// What came of a phase 'talk' whose messages were answered after so long.
#[cfg(test)]
pub(crate) fn work(response_us: u64) -> c10k_record::Worked {
    let us = Some(response_us);
    let all =
        c10k_record::LatencySummary { p50: us, p90: us, p95: us, p99: us, p999: us, max: us, count: 1000 };
    c10k_record::Worked {
        name: "talk".to_owned(),
        kind: c10k_record::PhaseKind::Echo,
        from_ms: 0,
        to_ms: 1000,
        connections: 1,
        messages_intended: Some(1000),
        messages_sent: 1000,
        messages_answered: 1000,
        messages_not_sent_in_time: 0,
        messages_never_sent: 0,
        messages_wrong: 0,
        messages_per_second: None,
        response_us: all,
        service_us: all,
        lateness_us: None,
        over_time: Vec::new(),
        churn: None,
        stream: None,
        fanout: None,
        server_cores: None,
        swarm_cores: None,
    }
}

#[cfg(test)]
mod tests {
    use c10k_record::Severity;

    use super::*;

    fn broken(expr: &str, value: Option<f64>) -> Verdict {
        Verdict { expr: expr.to_owned(), passed: Some(false), value, severity: Severity::Fail }
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
            broken("  first_echo_p999<=1ms", Some(6.0)),
            broken("speed <= 1ms", Some(7.0)),
        ];
        let findings = Findings { verdicts, ..Findings::default() };
        let late: Vec<String> = findings.too_late().into_iter().map(|evidence| evidence.text).collect();
        assert_eq!(late.len(), 4, "{late:?}");
        assert!(late[0].contains("`echo_p95 <= 1ms` does not hold: 3 ms"), "{late:?}");
        assert!(late[3].ends_with("does not hold: 6 ms"), "a blank in front changes nothing: {late:?}");
        assert_eq!(findings.late_connects().len(), 2);
    }

    #[test]
    fn a_value_is_shown_in_as_many_digits_as_say_something() {
        assert_eq!([0.0, 0.0213, 12.5, 12.0, 4321.4].map(shown), ["0", "0.0213", "12.5", "12", "4,321"]);
    }
}
