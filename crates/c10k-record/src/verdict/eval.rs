//! From a condition and a record to a verdict.

use super::Verdict;
use super::metric::{Better, LatencyKind, MemoryOf, Metric, Seen};
use super::parse::{Condition, Limit};
use crate::{LatencySummary, NamedPhase, PhaseKind, Record, RunState, Warning, Worked};

/// What a run that is over comes to under its conditions, and under `ghosts = 0` where ghosts are known and no
/// condition is on them. A run that was stopped before its end is not judged: what it would have held is not known; nor is a
/// time in which the one who measures it did not run.
#[must_use]
pub fn judge(conditions: &[Condition], record: &Record) -> Vec<Verdict> {
    let mut verdicts: Vec<Verdict> = conditions.iter().map(|condition| condition.evaluate(record)).collect();
    let is_on_ghosts =
        |condition: &Condition| condition.metric == Metric::Ghosts && condition.beside().is_none();
    if record.connections.ghosts.is_some() && !conditions.iter().any(is_on_ghosts) {
        verdicts.extend("ghosts = 0".parse::<Condition>().ok().map(|none| none.evaluate(record)));
    }
    verdicts
}

impl Record {
    /// A warning for each verdict that does not hold and only warns.
    #[must_use]
    pub fn verdict_warnings(&self) -> Vec<Warning> {
        let warn = |verdict: &Verdict| {
            let text = format!("the verdict `{}` does not hold, and only warns", verdict.expr);
            Warning::new(Verdict::WARNING, text)
        };
        self.verdicts.iter().filter(|verdict| verdict.warns()).map(warn).collect()
    }
}

impl Condition {
    /// Evaluates it on a record. With nothing to look at it does not hold; on a run that was stopped before its end, and
    /// where a gap falls into what it is about ([`Record::gap_within`]), it is not evaluated.
    #[must_use]
    pub fn evaluate(&self, record: &Record) -> Verdict {
        let (expr, severity) = (self.expr(), self.severity);
        if record.state == RunState::Aborted || record.gap_within(self).is_some() {
            return Verdict { expr, passed: None, value: None, severity };
        }
        let value = self.value(record);
        let passed =
            value.zip(self.limit_on(record)).is_some_and(|(is, limit)| self.operator.holds(is, limit));
        Verdict { expr, passed: Some(passed), value, severity }
    }

    /// The value in its unit.
    fn value(&self, record: &Record) -> Option<f64> {
        let value = self.metric.of(record, self.phase.as_deref())?;
        let Limit::Percent(_) = self.limit else { return Some(value) };
        let (target, attempted) = match &self.phase {
            Some(name) => {
                let phase = named(record, name)?;
                (phase.target.unwrap_or(0), phase.arrivals)
            }
            None => (record.connections.target, record.connections.attempted),
        };
        let whole = match self.metric.better() {
            Better::More => target,
            Better::Less => attempted,
        };
        (whole > 0).then(|| value * 100.0 / whole as f64)
    }

    fn limit_on(&self, record: &Record) -> Option<f64> {
        let phase = self.phase.as_ref().map(|name| named(record, name));
        Some(match (self.limit, phase) {
            (Limit::Target, None) => record.connections.target as f64,
            (Limit::Target, Some(phase)) => phase?.target? as f64,
            (Limit::Planned, None) if record.named_phases.is_empty() => record.connections.target as f64,
            (Limit::Planned, None) => {
                record.named_phases.iter().map(|phase| phase.arrivals_planned).sum::<u64>() as f64
            }
            (Limit::Planned, Some(phase)) => phase?.arrivals_planned as f64,
            (Limit::Percent(number), _) => number,
            (limit @ (Limit::Value(_) | Limit::Beside(..)), _) => limit.number()?,
        })
    }
}

fn named<'a>(record: &'a Record, name: &str) -> Option<&'a NamedPhase> {
    record.named_phases.iter().find(|phase| phase.name == name)
}

impl Metric {
    /// What a record says of it, or of one of its phases, in its [`Metric::unit`]; `None` where nothing was measured. Of several phases of a run the worst counts, and of what is counted the sum.
    #[must_use]
    pub fn of(self, record: &Record, phase: Option<&str>) -> Option<f64> {
        let c = &record.connections;
        let of_phase = phase.map(|name| named(record, name));
        let worked = || worked(record, phase);
        let worst = |values: Vec<f64>| match self.better() {
            Better::More => values.into_iter().reduce(f64::min),
            Better::Less => values.into_iter().reduce(f64::max),
        };
        let of_work = |value: &dyn Fn(&Worked) -> Option<f64>| worst(worked().filter_map(value).collect());
        let count = match (self, of_phase) {
            (Self::Held, Some(phase)) => phase?.open,
            (Self::Failed, Some(phase)) => phase?.failed,
            (Self::Arrivals, Some(phase)) => phase?.arrivals,
            (Self::ConnectsPerSecond, Some(phase)) => return phase?.connects_per_second,
            (Self::Verified | Self::Ghosts | Self::Bytes(_), Some(_)) => return None,
            (Self::ServerTime | Self::SwarmTime, Some(_)) => return None,
            (Self::ServerTime, None) => return record.cpu.server_us_per_connection,
            (Self::SwarmTime, None) => return record.cpu.swarm_us_per_connection,
            (Self::Held, None) => c.held,
            (Self::Verified, None) => c.verified?,
            (Self::Failed, None) => c.failed_total(),
            (Self::Ghosts, None) => c.ghosts?,
            (Self::Arrivals, None) => c.attempted,
            (Self::ConnectsPerSecond, None) => {
                let rate = record.rate.connects_per_second;
                return rate.without_pauses.or(rate.mean);
            }
            (Self::Bytes(of), None) => {
                let memory = &record.memory_per_connection;
                return match of {
                    MemoryOf::ServerUser => memory.server_user_bytes,
                    MemoryOf::ServerKernel => memory.server_kernel_bytes,
                    MemoryOf::ClientUser => memory.client_user_bytes,
                    MemoryOf::ClientKernel => memory.client_kernel_bytes,
                };
            }
            (Self::MessagesPerSecond, _) => {
                let of_proof = record.rate.messages_per_second.filter(|_| phase.is_none());
                return of_work(&|work| work.messages_per_second).or(of_proof);
            }
            (Self::CyclesPerSecond, _) => return of_work(&|work| work.churn.as_ref()?.cycles_per_second),
            (Self::ServerCores, _) => {
                let known = of_phase.flatten().and_then(|phase| phase.server_cores);
                let of_ramp = record.cpu.server_cores.filter(|_| phase.is_none());
                return of_work(&|work| work.server_cores).or(known).or(of_ramp);
            }
            (Self::SwarmCores, _) => {
                let known = of_phase.flatten().and_then(|phase| phase.swarm_cores);
                let of_ramp = record.cpu.swarm_cores.filter(|_| phase.is_none());
                return of_work(&|work| work.swarm_cores).or(known).or(of_ramp);
            }
            (Self::Seen(what), _) => {
                let all: Vec<u64> = worked().filter_map(|work| what.of(work)).collect();
                return (!all.is_empty()).then(|| all.into_iter().sum::<u64>() as f64);
            }
            (Self::Latency(kind, percentile), _) => {
                let in_ms = |summary| percentile.of(summary).map(|us| us as f64 / 1000.0);
                let of_work = of_work(&|work| in_ms(kind.of_work(work)?));
                let of_run = || in_ms(kind.of(record)?).filter(|_| phase.is_none());
                return match kind {
                    // Connects and messages are both the swarm's to begin in time.
                    LatencyKind::Lateness => [of_work, of_run()].into_iter().flatten().reduce(f64::max),
                    _ => of_work.or_else(of_run),
                };
            }
        };
        Some(count as f64)
    }
}

/// What came of the phases of that name; of all, without one.
pub(super) fn worked<'a>(record: &'a Record, phase: Option<&'a str>) -> impl Iterator<Item = &'a Worked> {
    record.work.iter().filter(move |work| phase.is_none_or(|name| work.name == name))
}

impl Seen {
    fn of(self, work: &Worked) -> Option<u64> {
        let (churn, stream, fanout) = (work.churn.as_ref(), work.stream.as_ref(), work.fanout.as_ref());
        match self {
            Self::MessagesWrong => Some(work.messages_wrong),
            Self::MessagesNotSentInTime => Some(work.messages_not_sent_in_time),
            Self::ChurnFailed => churn.map(|churn| churn.failed),
            Self::WaitsForAPort => churn.map(|churn| churn.waits_for_a_port),
            Self::StalledViewers => stream.map(|stream| stream.stalled_viewers),
            Self::Stalls => stream.map(|stream| stream.stalls),
            Self::WholeViewers => stream.map(|stream| stream.whole),
            Self::StreamsWrong => stream.map(|stream| stream.wrong),
            Self::ReceiptsMissing => fanout.map(|fanout| fanout.missing),
        }
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
            _ => None,
        }
    }

    /// What a phase of a workload says of it.
    pub(super) fn of_work(self, work: &Worked) -> Option<LatencySummary> {
        let fanout = work.fanout.as_ref();
        match self {
            Self::Echo => Some(work.response_us).filter(|_| work.kind == PhaseKind::Echo),
            Self::Service => Some(work.service_us).filter(|_| work.kind == PhaseKind::Echo),
            Self::Lateness => work.lateness_us,
            Self::StartUp => work.stream.as_ref().map(|stream| stream.start_up_us),
            Self::Stall => work.stream.as_ref().map(|stream| stream.stall_us),
            Self::Receipt => fanout.map(|fanout| fanout.receipt_us),
            Self::FirstReceiver => fanout.map(|fanout| fanout.first_receiver_us),
            Self::MedianReceiver => fanout.map(|fanout| fanout.median_receiver_us),
            Self::P99Receiver => fanout.map(|fanout| fanout.p99_receiver_us),
            Self::LastReceiver => fanout.map(|fanout| fanout.last_receiver_us),
            Self::Connect | Self::ConnectResponse | Self::Handshake | Self::FirstEcho => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Severity;
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
    fn of_verdicts_that_do_not_hold_those_are_warned_of_that_only_warn() {
        let mut record = sample_record();
        (record.connections.target, record.connections.attempted) = (10, 20);
        let texts = ["warn: held >= 10", "held >= 10", "warn: held >= 0"];
        record.verdicts = texts.map(|text| evaluate(text, &record)).to_vec();
        let text = "the verdict `held >= 10` does not hold, and only warns";
        assert_eq!(record.verdict_warnings(), [Warning::new(Verdict::WARNING, text)]);
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
            let expected = Verdict {
                expr: expr.to_owned(),
                passed: Some(passed),
                value: Some(value),
                severity: Severity::Fail,
            };
            assert_eq!(evaluate(expr, &record), expected);
        }
    }
}
