//! The phases that a plan names, gone through by a swarm that nobody leads.

use std::time::{Duration, Instant};

use c10k_record::{NamedPhase, PhaseKind, PhasePlan};

use super::{Conductor, Woken};
use crate::own_cpu_seconds;

/// Between two pieces of a drain that has a rate.
const PIECE: Duration = Duration::from_millis(100);

impl Conductor<'_> {
    /// From the first phase to the last, or until somebody wants the end or no more can be connected.
    pub(super) fn go_through(&mut self) {
        for (gate, phase) in (0..).zip(self.course.phases.clone()) {
            if gate > 0 {
                self.wait_at(gate);
            }
            if self.must_stop() || self.shared.growth_stop().is_some() {
                break;
            }
            self.go_through_one(&phase);
        }
        self.end_work();
    }

    fn go_through_one(&mut self, phase: &PhasePlan) {
        let (begun, from_ms, cpu) = (Instant::now(), self.elapsed_ms(), own_cpu_seconds());
        let (before, ramps) = (self.shared.counts(), self.ramps);
        let (mut target, mut planned) = (None, 0);
        match phase.kind {
            PhaseKind::Ramp => {
                let wanted = phase.target.unwrap_or(self.course.target);
                planned = wanted.saturating_sub(before.open);
                target = Some(wanted);
                self.ramp_by(planned, phase.rate_per_second);
            }
            PhaseKind::Drain => {
                let wanted = phase.target.unwrap_or(0);
                target = Some(wanted);
                self.drain_to(wanted, phase.rate_per_second);
            }
            _ => self.work_in(phase, begun),
        }
        if let (Some(_), Some(long)) = (target, phase.duration) {
            self.rest(begun + long.0, |_| false);
        }
        let (after, seconds) = (self.shared.counts(), begun.elapsed().as_secs_f64());
        let cpu_seconds = cpu.zip(own_cpu_seconds()).map(|(before, after)| (after - before).max(0.0));
        self.named.push(NamedPhase {
            name: phase.name.clone(),
            kind: phase.kind,
            from_ms,
            to_ms: self.elapsed_ms(),
            target,
            arrivals_planned: planned,
            arrivals: after.attempted.saturating_sub(before.attempted),
            failed: after.failed.saturating_sub(before.failed),
            open: after.open,
            connects_per_second: self.ramps.per_second_since(&ramps),
            server_cores: None,
            swarm_cores: cpu_seconds.filter(|_| seconds > 0.0).map(|cpu| cpu / seconds),
        });
    }

    fn ramp_by(&mut self, more: u64, rate: Option<f64>) {
        if more == 0 {
            return;
        }
        let rate = rate.or(self.course.rate_per_second);
        self.shared.arrivals.pace(rate.map(|rate| rate.ceil() as u64));
        self.target += more;
        self.ramp(more);
        if self.must_stop() {
            return;
        }
        self.hold_on();
        self.learn_where_they_lead();
    }

    /// Closes connections until so many are open, at a rate where there is one.
    fn drain_to(&mut self, wanted: u64, rate: Option<f64>) {
        let begun = Instant::now();
        let all = self.shared.counts().open.saturating_sub(wanted);
        let mut told = 0;
        while told < all && !self.must_stop() {
            let due = rate.map_or(all, |rate| (rate * (begun.elapsed() + PIECE).as_secs_f64()) as u64);
            let fewer = due.min(all).saturating_sub(told);
            if fewer > 0 {
                self.shrink(fewer);
                told += fewer;
            }
            if told < all {
                self.rest(Instant::now() + PIECE, |_| false);
            }
        }
    }

    /// What is done while all are held. A hold without beats of its own only lasts.
    fn work_in(&mut self, phase: &PhasePlan, begun: Instant) {
        let until = begun + phase.duration.unwrap_or(self.course.hold).0;
        let works = phase.kind != PhaseKind::Hold || phase.work.beat.is_some();
        if works {
            self.work_as_told(&phase.name, None);
        }
        let until = self.work_until().unwrap_or(until);
        if self.rest(until, |c| c.shared.counts().open == 0) != Woken::Stop && works {
            self.end_work_as_told();
        }
    }

    /// Waits so long. The plan leads: of commands only those that end the run are carried out.
    fn rest(&mut self, until: Instant, done: impl Fn(&Self) -> bool) -> Woken {
        loop {
            match self.wait(Some(until), false, &done) {
                Woken::Command => {
                    self.commands.pop_front();
                    self.output.warn(
                        "a swarm that goes through the phases of its plan is told to stop, abort or now only",
                    );
                }
                other => return other,
            }
        }
    }
}
