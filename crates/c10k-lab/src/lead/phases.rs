//! The phases that a plan names, the workload of one that names none, and the verdicts that end a run early.

use std::time::{Duration, Instant};

use c10k_collector::Observation;
use c10k_collector::far::Moment;
use c10k_record::{
    Condition, LatencyKind, Limit, LiveCounts, Metric, NamedPhase, Percentile, PhaseKind, PhasePlan, Span,
    Workload,
};

use crate::lead::lab::Lab;
use crate::lead::wait::Woken;

/// How long the hold goes on before its memory is taken: what the ramp left behind is given back by then.
const QUIET: Duration = Duration::from_millis(400);
/// Between two pieces of a drain that has a rate.
const PIECE: Duration = Duration::from_millis(100);
/// Beside its time and that of its answers: how long a workload may take to come to its end.
const MARGIN: Duration = Duration::from_secs(20);

/// What stood when a phase began.
struct Before {
    counts: LiveCounts,
    at: Instant,
    from_ms: u64,
    seen: Observation,
}

impl Lab<'_> {
    /// From the first connect to the last word of the workload.
    pub(crate) fn go_through(&mut self) {
        if self.course.search.is_some() {
            return self.search();
        }
        self.course.is_watched = true;
        self.course.broken_since = vec![None; self.plan.verdicts.len()];
        let plan = self.plan;
        if plan.phases.is_empty() {
            self.ramp();
            self.hold();
        }
        for phase in &plan.phases {
            if self.is_stopped() || self.course.is_ended() {
                break;
            }
            self.go_through_one(phase);
        }
    }

    fn hold(&mut self) {
        if self.is_stopped() || self.course.is_ended() {
            return;
        }
        let Span(hold) = self.plan.load.hold;
        let until = Instant::now() + hold;
        self.wait(Some(Instant::now() + QUIET.min(hold)), |_| false);
        self.take_stock();
        match self.plan.workload {
            Workload::Hold => {
                self.work_as_planned(Span(until.saturating_duration_since(Instant::now())), None);
            }
            _ => self.work_as_planned(Span(hold), None),
        }
    }

    /// Keeps how it stands with all connected: memory, and what the kernel has at both ends.
    pub(crate) fn take_stock(&mut self) {
        self.mark_far(Moment::Hold);
        self.seen.full = Some(self.seen.watch.mark(self.said.swarm.counts.open));
        self.await_far_mark(Moment::Hold);
        self.compare_far_clock();
        self.compare_with_census();
        self.note_how_it_stands();
        let _ = self.folder.write_partial(&self.record);
    }

    fn go_through_one(&mut self, phase: &PhasePlan) {
        self.course.name = Some(phase.name.clone());
        let before = Before {
            counts: self.said.swarm.counts,
            at: Instant::now(),
            from_ms: self.course.now_ms(),
            seen: self.look_at_both(),
        };
        let (mut target, mut planned, mut per_second) = (None, 0, None);
        match phase.kind {
            PhaseKind::Ramp => {
                let wanted = phase.target.unwrap_or(self.plan.target);
                planned = wanted.saturating_sub(self.said.swarm.counts.open);
                target = Some(wanted);
                per_second = self.ramp_by(phase, planned);
            }
            PhaseKind::Drain => {
                let wanted = phase.target.unwrap_or(0);
                target = Some(wanted);
                self.drain_to(wanted, phase.rate_per_second);
            }
            _ => self.work(phase, phase.duration.unwrap_or(self.plan.load.hold), None),
        }
        if let (PhaseKind::Ramp | PhaseKind::Drain, Some(Span(long))) = (phase.kind, phase.duration) {
            self.wait(Some(before.at + long), |_| false);
        }
        let after = self.look_at_both();
        let seconds = before.at.elapsed().as_secs_f64();
        let cores = |from: Option<f64>, to: Option<f64>| {
            from.zip(to).filter(|_| seconds > 0.0).map(|(from, to)| (to - from).max(0.0) / seconds)
        };
        self.course.named.push(NamedPhase {
            name: phase.name.clone(),
            kind: phase.kind,
            from_ms: before.from_ms,
            to_ms: self.course.now_ms(),
            target,
            arrivals_planned: planned,
            arrivals: self.said.swarm.counts.attempted.saturating_sub(before.counts.attempted),
            failed: self.said.swarm.counts.failed.saturating_sub(before.counts.failed),
            open: self.said.swarm.counts.open,
            connects_per_second: per_second,
            server_cores: cores(before.seen.server.cpu_seconds, after.server.cpu_seconds),
            swarm_cores: cores(before.seen.swarm.cpu_seconds, after.swarm.cpu_seconds),
        });
    }

    /// Opens `more` connections and says how many a second were made while that went on.
    fn ramp_by(&mut self, phase: &PhasePlan, more: u64) -> Option<f64> {
        let rate = phase.rate_per_second.or(self.plan.load.rate_per_second);
        let pace = rate.map_or_else(|| "pace none".to_owned(), |rate| format!("pace {rate}/s"));
        if more == 0 || !self.pair.swarm.tell(&pace) {
            return None;
        }
        let before = self.said.swarm.counts;
        if !self.grow(more) {
            return None;
        }
        let as_far = |counts: &LiveCounts| {
            if self.plan.load.probe { counts.verified } else { counts.established }
        };
        let made = as_far(&self.said.swarm.counts).saturating_sub(as_far(&before));
        let per_second =
            (made > 0 && self.course.ramp_ms > 0).then(|| made as f64 * 1000.0 / self.course.ramp_ms as f64);
        if self.seen.full.as_ref().is_none_or(|full| full.open < self.said.swarm.counts.open) {
            self.wait(Some(Instant::now() + QUIET), |_| false);
            self.take_stock();
        }
        per_second
    }

    /// Closes connections until so many are open, at a rate where there is one.
    pub(crate) fn drain_to(&mut self, wanted: u64, rate: Option<f64>) {
        let begun = Instant::now();
        let from = self.said.swarm.counts.open;
        let all = from.saturating_sub(wanted);
        let mut told = 0;
        while told < all && !self.is_stopped() && !self.course.is_ended() {
            let due = rate.map_or(all, |rate| (rate * (begun.elapsed() + PIECE).as_secs_f64()) as u64);
            let fewer = due.min(all).saturating_sub(told);
            if fewer > 0 && !self.pair.swarm.tell(&format!("shrink {fewer}")) {
                return;
            }
            told += fewer;
            if told < all {
                self.wait(Some(Instant::now() + PIECE), |_| false);
            }
        }
        let limit = Instant::now() + self.longest_close();
        self.wait(Some(limit), move |lab| lab.said.swarm.counts.open <= from - told);
    }

    /// What is done while all are held, for so long; with so many a second of it, where that is not as planned.
    pub(crate) fn work_as_planned(&mut self, long: Span, per_second: Option<u64>) {
        self.work(&PhasePlan::of(self.plan.workload.into()), long, per_second);
    }

    fn work(&mut self, phase: &PhasePlan, Span(long): Span, per_second: Option<u64>) {
        let begun = Instant::now();
        if phase.kind == PhaseKind::Hold && phase.work.beat.is_none() {
            self.wait(Some(begun + long), |lab| lab.said.swarm.counts.open == 0);
            return;
        }
        let (worked, before) = (self.course.worked, self.seen.watch.look());
        let rate = per_second.map_or_else(String::new, |rate| format!(" {rate}/s"));
        if self.is_stopped() || !self.pair.swarm.tell(&format!("work {}{rate}", phase.name)) {
            return;
        }
        let load = &self.plan.load;
        // What comes in the place of what is gone has its whole way before it.
        let anew = load.connect_timeout.0 + load.handshake_timeout.0;
        let anew = if phase.kind == PhaseKind::Churn { anew } else { Duration::ZERO };
        let limit = begun + long + anew + 2 * load.probe_timeout.0 + MARGIN;
        let woken = self.wait(Some(limit), |lab| lab.course.worked > worked);
        self.said.swarm.work = None;
        let (after, seconds) = (self.seen.watch.look(), begun.elapsed().as_secs_f64());
        let spent = before.server.cpu_seconds.zip(after.server.cpu_seconds);
        let cores = spent.filter(|_| seconds > 0.0).map(|(from, to)| (to - from).max(0.0) / seconds);
        self.course.server_cores.push((phase.name.clone(), cores));
        // A hold in which no beat fell due has nothing to say.
        if woken == Woken::TimeIsUp && phase.kind != PhaseKind::Hold {
            self.broke.why = Some(format!("the swarm did not come to the end of its work '{}'", phase.name));
        }
    }

    // Verdicts that end the run ------------------------------------------------------------------------

    /// Ends what is to be measured once a verdict with `abort` has not held for its grace.
    pub(crate) fn look_for_a_broken_verdict(&mut self) {
        if !self.course.is_watched || self.course.ended_by.is_some() {
            return;
        }
        let plan = self.plan;
        for (at, condition) in plan.verdicts.iter().enumerate() {
            let Some(Span(grace)) = condition.abort_after else { continue };
            let is_meant =
                condition.phase.as_ref().is_none_or(|name| Some(name) == self.course.name.as_ref());
            let broken = is_meant && self.holds_now(condition) == Some(false);
            let Some(since) = self.course.broken_since.get_mut(at) else { continue };
            if !broken {
                *since = None;
                continue;
            }
            if since.get_or_insert_with(Instant::now).elapsed() >= grace {
                self.course.ended_by = Some(condition.expr());
                self.printer.say(&format!("the verdict `{}` does not hold: the run ends", condition.expr()));
                return;
            }
        }
    }

    /// Whether a condition holds at this moment; `None` where nothing is measured now.
    fn holds_now(&self, condition: &Condition) -> Option<bool> {
        let ms = |us: Option<u64>| us.map(|us| us as f64 / 1000.0);
        let tick = self.said.swarm.work.as_ref();
        let value = match condition.metric {
            Metric::Failed => self.said.swarm.counts.failed as f64,
            Metric::Latency(LatencyKind::Echo, Percentile::P50) => ms(tick?.p50_us)?,
            Metric::Latency(LatencyKind::Echo, Percentile::P99) => ms(tick?.p99_us)?,
            Metric::MessagesPerSecond => tick?.messages_per_second,
            Metric::ServerCores => self.seen.watch.samples.last()?.server_cores?,
            _ => return None,
        };
        let limit = match condition.limit {
            limit @ (Limit::Value(_) | Limit::Beside(..)) => limit.number()?,
            Limit::Percent(percent) => percent / 100.0 * self.said.swarm.counts.attempted as f64,
            Limit::Target | Limit::Planned => self.plan.target as f64,
        };
        (self.said.swarm.counts.attempted > 0).then(|| condition.operator.holds(value, limit))
    }
}
