//! The way a swarm is to go.

use c10k_record::{PhaseKind, PhasePlan, Span, Steps, WorkPlan, Workload};

/// The way a swarm is to go.
pub(crate) struct Course {
    pub(crate) target: u64,
    pub(crate) steps: Option<Steps>,
    pub(crate) step_pause: Span,
    /// Connects a second; `None` = as fast as those under way allow.
    pub(crate) rate_per_second: Option<f64>,
    pub(crate) hold: Span,
    /// Connect, hold and prove only when told on stdin; `target` is what it must be ready for.
    pub(crate) commanded: bool,
    /// Workers that connect, verify or close at a time.
    pub(crate) turns: usize,
    pub(crate) probe: bool,
    pub(crate) workload: Workload,
    pub(crate) work: WorkPlan,
    /// Ports of the servers.
    pub(crate) ports: Vec<u16>,
    /// The phases that a plan names.
    pub(crate) phases: Vec<PhasePlan>,
    /// It is one of several: what is measured is kept whole.
    pub(crate) is_shard: bool,
}

impl Course {
    /// What is done while all are held; `None` = nothing.
    pub(super) fn own_work(&self) -> Option<PhasePlan> {
        let kind = PhaseKind::from(self.workload);
        let works = kind != PhaseKind::Hold || self.work.beat.is_some();
        works.then(|| PhasePlan::of(kind))
    }

    /// The gates at which shards wait for each other: before each phase that the plan names but the first, or before the
    /// hold where it names none; before the last proof; and before the close.
    pub(super) fn gates(&self) -> u32 {
        let between = self.phases.len().saturating_sub(1);
        let between = if self.has_phases() { between } else { 1 };
        u32::try_from(between + 2).unwrap_or(u32::MAX)
    }

    /// Whether a plan names phases.
    pub(super) fn has_phases(&self) -> bool {
        !self.phases.is_empty()
    }

    /// The work of this name: a phase of the plan, or the workload.
    pub(super) fn phase(&self, name: &str) -> Option<PhasePlan> {
        let named = self.works().find(|phase| phase.name == name).cloned();
        let own = || Some(PhasePlan::of(self.workload.into())).filter(|own| own.name == name);
        named.or_else(own)
    }

    /// The same with so many a second of what is done in it, on all connections together; `None` where that has no rate.
    pub(super) fn at_rate(mut phase: PhasePlan, per_second: u64) -> Option<PhasePlan> {
        let rate = Some(per_second as f64);
        let over = match phase.kind {
            PhaseKind::Echo => WorkPlan { message_rate_per_second: rate, ..WorkPlan::default() },
            PhaseKind::Churn => WorkPlan { churn_per_second: rate, ..WorkPlan::default() },
            _ => return None,
        };
        phase.work = phase.work.with(&over);
        Some(phase)
    }

    /// The names of all works.
    pub(super) fn phase_names(&self) -> Vec<String> {
        self.works().map(|phase| phase.name.clone()).chain([self.workload.to_string()]).collect()
    }

    fn works(&self) -> impl Iterator<Item = &PhasePlan> {
        self.phases.iter().filter(|phase| !matches!(phase.kind, PhaseKind::Ramp | PhaseKind::Drain))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_stands_above_every_other_way_to_say_how_many_messages() {
        for of_run in [
            WorkPlan { in_flight_messages: Some(64), ..WorkPlan::default() },
            WorkPlan { messages_per_second: Some(1.0), ..WorkPlan::default() },
        ] {
            let own = WorkPlan { in_flight_messages: Some(8), ..WorkPlan::default() };
            let phase = PhasePlan { work: own, ..PhasePlan::of(PhaseKind::Echo) };
            for phase in [PhasePlan::of(PhaseKind::Echo), phase] {
                let at_rate = Course::at_rate(phase, 200).expect("it has a rate");
                let plan = of_run.with(&at_rate.work);
                let wanted = WorkPlan { message_rate_per_second: Some(200.0), ..WorkPlan::default() };
                assert_eq!(plan, wanted, "above {of_run:?}");
            }
        }
        assert_eq!(Course::at_rate(PhasePlan::of(PhaseKind::Stream), 200), None);
    }

    #[test]
    fn shards_wait_for_each_other_between_phases_before_the_proof_and_before_the_close() {
        let course = |count: usize| Course {
            target: 1,
            steps: None,
            step_pause: Span::secs(0),
            rate_per_second: None,
            hold: Span::secs(0),
            commanded: false,
            is_shard: true,
            turns: 1,
            probe: true,
            workload: Workload::Hold,
            work: WorkPlan::default(),
            ports: Vec::new(),
            phases: vec![PhasePlan::of(PhaseKind::Ramp); count],
        };
        assert_eq!([0, 1, 2, 5].map(|phases| course(phases).gates()), [3, 2, 3, 6]);
    }
}
