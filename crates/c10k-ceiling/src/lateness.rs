//! Whose lateness broke a verdict: the swarm's own, or somebody else's.

use c10k_record::{
    Better, Condition, Evidence, LatencyKind, LatencySummary, Metric, Percentile, Seen, Side, Worked,
    human_count,
};

use crate::findings::Findings;
use crate::wall::seen;

impl Findings {
    /// The broken verdicts that slowness breaks and that nothing but the swarm's own lateness need have broken.
    ///
    /// - `lateness`: always.
    /// - `connect_response` is lateness and service together: where the service alone is within the limit, and where
    ///   the lateness is the larger part.
    /// - What counts from the actual start holds no lateness of the begin. A swarm that gets to its begins late gets to
    ///   the answers as late, though: where it was late by as much as what it measured, that is no measure of a server.
    /// - A rate: where the last were begun later than intended by as long as the run took too long.
    /// - The echo of the last proof, at the end of the hold: never, since nothing is intended there.
    /// - Messages a second, and messages that were not sent in time: where the swarm's own lateness is what made their
    ///   responses long.
    /// - What a server pushes: never. The swarm intends nothing there, and its lateness is that of its connects.
    /// - The messages of a workload as the connects: their response as `connect_response`, their service as what counts from
    ///   the actual start.
    pub(crate) fn late_by_the_swarm(&self) -> Vec<Evidence> {
        self.broken_where(|condition, value| self.is_the_swarms(condition, value))
    }

    /// The others.
    pub(crate) fn late_at_the_server(&self) -> Vec<Evidence> {
        self.broken_where(|condition, value| {
            condition.metric.breaks_by_slowness() && !self.is_the_swarms(condition, value)
        })
    }

    pub(crate) fn is_the_swarms(&self, condition: &Condition, value: f64) -> bool {
        let Some(limit) = condition.limit.number() else { return false };
        if condition.asks_for() != Some(condition.metric.better()) {
            return false;
        }
        match condition.metric {
            Metric::Latency(LatencyKind::Lateness, _) => return true,
            Metric::Latency(kind @ (LatencyKind::Echo | LatencyKind::Service), percentile) => {
                return self.is_late_work(condition, (kind, percentile), (value, limit));
            }
            Metric::MessagesPerSecond | Metric::Seen(Seen::MessagesNotSentInTime) => {
                return self.is_sent_late(condition);
            }
            metric if !metric.workloads().is_empty() => return false,
            _ => {}
        }
        let Some(late) = self.lateness_us else { return false };
        match condition.metric {
            Metric::Latency(kind, percentile) => {
                let in_ms = |summary: LatencySummary| percentile.of(summary).map(|us| us as f64 / 1000.0);
                let Some(late) = in_ms(late) else { return false };
                if kind != LatencyKind::ConnectResponse {
                    return late >= value;
                }
                in_ms(self.latency_us.connect)
                    .is_some_and(|service| condition.operator.holds(service, limit) || late >= service)
            }
            Metric::ConnectsPerSecond => {
                let count = self.connections.verified.unwrap_or(self.connections.established) as f64;
                let too_long_us = (count / value - count / limit) * 1e6;
                // Of the last hundredth, and with a tenth for what comes behind the last begin.
                late.p99.is_some_and(|late| too_long_us > 0.0 && late as f64 >= 0.9 * too_long_us)
            }
            _ => false,
        }
    }

    /// The same of a workload's messages: in each phase that broke the verdict the swarm was late by enough.
    fn is_late_work(
        &self,
        condition: &Condition,
        (kind, percentile): (LatencyKind, Percentile),
        (value, limit): (f64, f64),
    ) -> bool {
        let in_ms = |summary: LatencySummary| percentile.of(summary).map(|us| us as f64 / 1000.0);
        let is_meant = |work: &&Worked| condition.phase.as_ref().is_none_or(|phase| *phase == work.name);
        let broke = |work: &&Worked| {
            let measured = if kind == LatencyKind::Echo { work.response_us } else { work.service_us };
            in_ms(measured).is_some_and(|ms| !condition.operator.holds(ms, limit))
        };
        let mut broken = self.work.iter().filter(is_meant).filter(broke).peekable();
        broken.peek().is_some()
            && broken.all(|work| {
                let Some(late) = work.lateness_us.and_then(in_ms) else { return false };
                if kind == LatencyKind::Service {
                    return late >= value;
                }
                let service = in_ms(work.service_us);
                service.is_some_and(|service| condition.operator.holds(service, limit) || late >= service)
            })
    }

    /// Fewer messages than were asked for: in each phase that is meant the swarm's own lateness is what made responses long.
    fn is_sent_late(&self, condition: &Condition) -> bool {
        let is_meant = |work: &&Worked| condition.phase.as_ref().is_none_or(|phase| *phase == work.name);
        let mut meant = self.work.iter().filter(is_meant).peekable();
        meant.peek().is_some() && meant.all(|work| work.own_lateness_us().is_some())
    }

    /// How late the swarm was, where that could have had a part in what broke at the server: not in the echo at the end.
    pub(crate) fn lateness_beside(&self) -> Option<Evidence> {
        let is_of_ramp = |metric: Metric| {
            metric.breaks_by_slowness() && !matches!(metric, Metric::Latency(LatencyKind::Echo, _))
        };
        let broken = self.broken_where(|condition, value| {
            is_of_ramp(condition.metric) && !self.is_the_swarms(condition, value)
        });
        self.lateness_evidence().filter(|_| !broken.is_empty())
    }

    /// How late the swarm was; nothing where nothing was intended, or nothing begun.
    pub(crate) fn lateness_evidence(&self) -> Option<Evidence> {
        let of_connects = self.lateness_us.map(|late| ("its connects".to_owned(), late));
        let of_work = self.work.iter().filter_map(|work| {
            Some((format!("the messages of its phase '{}'", work.name), work.lateness_us?))
        });
        let all = of_work.chain(of_connects).filter(|(_, late)| late.p95.is_some());
        let (what, late) = all.max_by_key(|(_, late)| late.p95)?;
        let [half, most, longest] = [late.p50?, late.p95?, late.max?].map(human_count);
        let text = format!(
            "the swarm began {what} later than intended: by {half} µs (p50), {most} µs (p95), {longest} µs (max)"
        );
        Some(seen("lateness (µs)", Side::Swarm, late.p95, text))
    }

    /// A verdict that asks for more connects a second than the plan begins.
    pub(crate) fn asks_for_more_than_is_begun(&self) -> Option<Evidence> {
        let rate = self.plan.rate_per_second?;
        let asks = |condition: &Condition, _| {
            condition.metric == Metric::ConnectsPerSecond
                && condition.asks_for() == Some(Better::More)
                && condition.limit.number().is_some_and(|limit| limit > rate as f64)
        };
        (!self.broken_where(asks).is_empty()).then(|| {
            let text = format!("the plan begins {} a second: no server could have more", human_count(rate));
            seen("--rate", Side::Swarm, Some(rate), text)
        })
    }
}

#[cfg(test)]
mod tests {
    use c10k_record::{Connections, Latencies, Severity, Verdict};

    use super::*;
    use crate::plan_view::PlanView;

    fn all(us: u64) -> LatencySummary {
        let us = Some(us);
        LatencySummary { p50: us, p90: us, p95: us, p99: us, p999: us, max: us, count: 1000 }
    }

    /// A run of 1,000 at 1,000/s whose swarm was late by so much, and whose connects took so long, µs.
    fn run(late_us: u64, connect_us: u64) -> Findings {
        Findings {
            plan: PlanView { rate_per_second: Some(1000), ..PlanView::default() },
            connections: Connections { verified: Some(1000), ..Connections::default() },
            latency_us: Latencies { connect: all(connect_us), ..Latencies::default() },
            lateness_us: Some(all(late_us)),
            ..Findings::default()
        }
    }

    fn is_the_swarms(findings: &Findings, condition: &str, value: f64) -> bool {
        findings.is_the_swarms(&condition.parse().expect("a condition"), value)
    }

    #[test]
    fn a_response_is_the_swarms_where_the_service_is_within_the_limit_or_the_smaller_part() {
        for (late_us, connect_us, is_its) in [
            (12_000, 300, true),
            // Either alone is within it.
            (3_000, 4_000, true),
            (12_000, 11_000, true),
            (1_000, 300_000, false),
            (100, 9_000, false),
        ] {
            let value = (late_us + connect_us) as f64 / 1000.0;
            let findings = run(late_us, connect_us);
            assert_eq!(
                is_the_swarms(&findings, "connect_response_p95 <= 5ms", value),
                is_its,
                "{late_us} {connect_us}"
            );
        }
    }

    #[test]
    fn what_counts_from_the_actual_start_is_the_swarms_where_it_was_late_by_as_much() {
        for kind in ["connect", "first_echo", "handshake"] {
            let condition = format!("{kind}_p99 <= 5ms");
            assert!(is_the_swarms(&run(20_000, 0), &condition, 12.0), "{kind}");
            assert!(!is_the_swarms(&run(11_000, 0), &condition, 12.0), "{kind}");
        }
        assert!(!is_the_swarms(&run(90_000, 0), "echo_p95 <= 5ms", 12.0), "nothing is intended there");
        assert!(is_the_swarms(&run(90, 0), "lateness_max <= 50us", 0.09));
    }

    #[test]
    fn a_message_is_the_swarms_where_it_was_sent_as_late_as_it_was_answered() {
        let worked = |late_us: u64, service_us: u64| {
            let mut work = crate::verdicts::work(late_us + service_us);
            (work.service_us, work.lateness_us) = (all(service_us), Some(all(late_us)));
            Findings { work: vec![work], ..run(0, 0) }
        };
        for (late_us, service_us, response_is, service_is) in
            [(12_000, 300, true, false), (20_000, 9_000, true, true), (100, 9_000, false, false)]
        {
            let findings = worked(late_us, service_us);
            let value = (late_us + service_us) as f64 / 1000.0;
            let told = is_the_swarms(&findings, "echo_p99 < 5ms", value);
            assert_eq!(told, response_is, "{late_us} {service_us}");
            let told = is_the_swarms(&findings, "talk.service_p99 < 5ms", service_us as f64 / 1000.0);
            assert_eq!(told, service_is, "{late_us} {service_us}");
            assert!(!is_the_swarms(&findings, "other.echo_p99 < 5ms", value));
        }
        for (late_us, service_us, is_its) in [(12_000, 300, true), (100, 9_000, false), (900, 10, false)] {
            let told = is_the_swarms(&worked(late_us, service_us), "messages_per_second >= 500", 400.0);
            assert_eq!(told, is_its, "{late_us} {service_us}");
        }
        let evidence = worked(12_000, 300).lateness_evidence().expect("it was late");
        assert!(evidence.text.contains("the messages of its phase 'talk'"), "{}", evidence.text);
    }

    #[test]
    fn a_rate_is_the_swarms_where_the_last_were_begun_as_late_as_the_run_was_long() {
        // 1,000 in 2 s and not in 1.25 s.
        assert!(is_the_swarms(&run(1_000_000, 0), "connects_per_second >= 800", 500.0));
        assert!(!is_the_swarms(&run(500_000, 0), "connects_per_second >= 800", 500.0));
        assert!(!is_the_swarms(&run(0, 0), "connects_per_second >= 800", 500.0));
    }

    #[test]
    fn a_closed_loop_and_a_verdict_that_asks_for_the_worse_are_nobodys_lateness() {
        let closed = Findings { lateness_us: None, ..run(0, 9_000) };
        assert!(!is_the_swarms(&closed, "connect_p95 <= 5ms", 9.0));
        assert!(!is_the_swarms(&run(9_000, 1), "connect_p95 > 5ms", 0.001));
    }

    #[test]
    fn a_verdict_above_the_planned_rate_is_told_as_such() {
        let broken = |expr: &str| Findings {
            verdicts: vec![Verdict {
                expr: expr.to_owned(),
                passed: Some(false),
                value: Some(990.0),
                severity: Severity::Fail,
            }],
            ..run(0, 9)
        };
        let evidence =
            broken("connects_per_second >= 5k").asks_for_more_than_is_begun().expect("more than 1,000");
        assert_eq!((evidence.source.as_str(), evidence.after), ("--rate", Some(1000)));
        assert_eq!(broken("connects_per_second >= 1k").asks_for_more_than_is_begun(), None);
    }
}
