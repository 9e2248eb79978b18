//! What a gap in somebody's ticks leaves unjudged.

use super::eval::worked;
use super::{Condition, LatencyKind, Metric};
use crate::{Gap, GapOf, PhaseName, Record, Warning};

impl Record {
    /// The gap for which a verdict on this metric says nothing of the server; `None` where there was none.
    ///
    /// What the swarm measures is late where the swarm did not run. The lab measures none of it, and a rate has no time
    /// between two steps in it. A server that did not run is what is measured.
    #[must_use]
    pub fn gap_within(&self, condition: &Condition) -> Option<Gap> {
        let metric = condition.metric;
        if let Metric::Latency(kind, _) = metric {
            let mut spans = worked(self, condition.phase.as_deref())
                .filter(|work| kind.of_work(work).is_some())
                .map(|work| (work.from_ms, Some(work.to_ms)))
                .peekable();
            if spans.peek().is_some() {
                let spans: Vec<(u64, Option<u64>)> = spans.collect();
                let falls_in = |gap: &&Gap| {
                    gap.process == GapOf::Swarm && spans.iter().any(|(from, to)| gap.overlaps(*from, *to))
                };
                return self.gaps.iter().find(falls_in).copied();
            }
        }
        let measured_in = match metric {
            Metric::Latency(LatencyKind::Echo, _) => PhaseName::Verify,
            Metric::Latency(..) | Metric::ConnectsPerSecond => PhaseName::Ramp,
            _ => return None,
        };
        let mut times = self.phases.iter().filter(move |times| times.phase == measured_in);
        let by_swarm = self.gaps.iter().filter(|gap| gap.process == GapOf::Swarm);
        times.find_map(|times| by_swarm.clone().find(|gap| gap.overlaps(times.from_ms, times.to_ms)).copied())
    }

    /// A warning for each gap, and one for each verdict that is not judged because of one.
    #[must_use]
    pub fn gap_warnings(&self) -> Vec<Warning> {
        let subject = |gap: &Gap| match gap.process {
            GapOf::Lab => "the lab's own process",
            GapOf::Swarm => "the swarm",
        };
        let gaps = self.gaps.iter().map(|gap| {
            let in_hold = self
                .hold_that_it_lengthened(*gap)
                .map_or_else(String::new, |ms| format!("; the hold took {:.1} s", ms as f64 / 1000.0));
            let text = format!(
                "{} {}{in_hold}: it was stopped, blocked, or without a processor",
                subject(gap),
                gap.words()
            );
            Warning::new("own-gap", text)
        });
        let unjudged =
            self.verdicts.iter().filter(|verdict| verdict.passed.is_none()).filter_map(|verdict| {
                let gap = self.gap_within(&verdict.condition()?)?;
                let text = format!(
                    "verdict `{}` is not judged: {} {}, within what it judges",
                    verdict.expr,
                    subject(&gap),
                    gap.words()
                );
                Some(Warning::new("not-judged", text))
            });
        gaps.chain(unjudged).collect()
    }

    /// How long the hold took that this gap fell into, ms.
    fn hold_that_it_lengthened(&self, gap: Gap) -> Option<u64> {
        let hold = self
            .phases
            .iter()
            .find(|times| times.phase == PhaseName::Hold && gap.overlaps(times.from_ms, times.to_ms))?;
        Some(hold.to_ms?.saturating_sub(hold.from_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::sample_record;
    use crate::{PhaseTimes, RunState, judge};

    fn run(gaps: &[(GapOf, u64, u64)]) -> Record {
        let mut record = sample_record();
        let phases =
            [(PhaseName::Ramp, 0, 1000), (PhaseName::Hold, 1000, 9000), (PhaseName::Verify, 9000, 9500)];
        record.phases =
            phases.map(|(phase, from_ms, to)| PhaseTimes { phase, from_ms, to_ms: Some(to) }).to_vec();
        let gap = |&(process, from_ms, to_ms)| Gap { process, from_ms, to_ms, suspended_ms: 0 };
        record.gaps = gaps.iter().map(gap).collect();
        record.state = RunState::Complete;
        record
    }

    /// Of the metrics judged here, which are.
    fn judged(record: &Record) -> [bool; 4] {
        let conditions = ["connect_p95 <= 1s", "connects_per_second >= 1", "echo_p95 <= 1s", "failed <= 1"]
            .map(|text| text.parse::<Condition>().expect("a condition"));
        let verdicts = judge(&conditions, record);
        [0, 1, 2, 3].map(|at| verdicts[at].passed.is_some())
    }

    #[test]
    fn a_gap_of_the_swarm_leaves_unjudged_what_was_measured_meanwhile_and_nothing_else() {
        use GapOf::{Lab, Swarm};
        assert_eq!(judged(&run(&[])), [true; 4]);
        assert_eq!(judged(&run(&[(Swarm, 500, 3500)])), [false, false, true, true]);
        assert_eq!(judged(&run(&[(Swarm, 2000, 5000)])), [true; 4], "nothing is measured in the hold");
        assert_eq!(judged(&run(&[(Swarm, 8000, 9200)])), [true, true, false, true]);
        assert_eq!(judged(&run(&[(Lab, 0, 9400)])), [true; 4], "the lab measures none of it");
    }

    #[test]
    fn the_lab_s_own_gap_between_two_steps_is_no_part_of_the_rate() {
        let mut record = run(&[(GapOf::Lab, 3000, 5000)]);
        record.phases.push(PhaseTimes { phase: PhaseName::Ramp, from_ms: 6000, to_ms: Some(7000) });
        assert_eq!(judged(&record), [true; 4]);
    }

    #[test]
    fn each_gap_and_each_verdict_without_a_judgement_is_told() {
        let mut record = run(&[(GapOf::Lab, 2000, 8000), (GapOf::Swarm, 8900, 9300)]);
        let conditions = [("echo_p95 <= 1s").parse::<Condition>().expect("a condition")];
        record.verdicts = judge(&conditions, &record);
        let told = record.gap_warnings();
        let ids: Vec<&str> = told.iter().map(|warning| warning.id.as_str()).collect();
        assert_eq!(ids, ["own-gap", "own-gap", "not-judged"], "{told:?}");
        assert!(told[0].text.starts_with("the lab's own process did not run for 6.0 s"), "{told:?}");
        assert!(told[0].text.contains("the hold took 8.0 s"), "{told:?}");
        assert!(told[2].text.contains("`echo_p95 <= 1s` is not judged: the swarm did not run"), "{told:?}");
    }
}
