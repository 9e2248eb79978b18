//! A search for the most at which the verdicts hold, on one running server: connections, or so many a second of what a
//! fixed number of them does.
//!
//! Connections are added and closed from one size to the next, or the rate is another one, and the workload is carried out at
//! each; its verdicts are judged on what that try alone has shown. It ends at the least that did not do, so that the record
//! of the run is one of that try and its diagnosis names what is in the way.

use std::time::{Duration, Instant};

use c10k_record::{Condition, Connections, Outcome, Record, RunState, Verdict, WorkPlan, Worked, judge};

use crate::lead::bisect::Bisection;
use crate::lead::found::{FOUND, Found};
use crate::lead::lab::Lab;
use crate::lead::sizes::{Search, Tried, Vary, is_known};

/// What the change of size left behind is over by then.
const QUIET: Duration = Duration::from_millis(300);

impl Lab<'_> {
    /// From search to search, and then to the try that names the wall. What was tried is on the disk after each.
    pub(crate) fn search(&mut self) {
        let Some(search) = &self.course.search else { return };
        let mut search = search.clone();
        self.write_found(&search);
        let mut at = None;
        for number in 1..=search.repeat {
            let mut bisection = match search.found.last() {
                None => Bisection::fresh(search.most, search.first),
                Some(found) => Bisection::again(search.most, *found),
            };
            while let Some(value) = bisection.next() {
                let Some(tried) = self.try_at(search.vary, Some(number), value) else { break };
                bisection.note(value, tried.holds);
                at = Some((value, tried.holds));
                self.keep(&mut search, tried);
            }
            if self.is_stopped() {
                break;
            }
            search.found.push(bisection.holds());
            search.beyond = bisection.fails();
        }
        let last = search.beyond.filter(|value| at != Some((*value, false)) && !self.is_stopped());
        if let Some(tried) = last.and_then(|value| self.try_at(search.vary, None, value)) {
            self.keep(&mut search, tried);
        }
        if let Some(last) = search.tried.last() {
            self.note_last(search.vary, last);
        }
        self.course.search = Some(search);
    }

    /// One more was tried: what is said of it is on the disk by then.
    fn keep(&mut self, search: &mut Search, tried: Tried) {
        let told = tried.told(search.vary);
        search.tried.push(tried);
        self.write_found(search);
        self.printer.note(&told);
    }

    /// The record is one of this try.
    fn note_last(&mut self, vary: Vary, last: &Tried) {
        self.record.connections.target = last.connections;
        let Some(plan) = &mut self.record.plan else { return };
        plan.target = last.connections;
        let rate = last.per_second.map(|rate| rate as f64);
        let over = match vary {
            Vary::Connections => WorkPlan::default(),
            Vary::MessageRate => WorkPlan { message_rate_per_second: rate, ..WorkPlan::default() },
            Vary::Churn => WorkPlan { churn_per_second: rate, ..WorkPlan::default() },
        };
        plan.work = plan.work.with(&over);
    }

    /// A disk that takes no more is told of at the end, when it is written once more.
    fn write_found(&self, search: &Search) {
        let found = Found::of(&self.record, search, self.folder.path());
        let _ = self.folder.write_file(FOUND, found.document().as_bytes());
    }

    /// Grows or shrinks to a size, works there, and judges; `None` where the run is stopped before that.
    fn try_at(&mut self, vary: Vary, search: Option<u32>, value: u64) -> Option<Tried> {
        let (size, per_second) = match vary {
            Vary::Connections => (value, None),
            Vary::MessageRate | Vary::Churn => (self.plan.target, Some(value)),
        };
        let before = self.said.swarm.counts;
        if before.open < size {
            self.grow(size - before.open);
        } else {
            self.drain_to(size, None);
        }
        self.wait(Some(Instant::now() + QUIET), |_| false);
        let open = self.said.swarm.counts.open;
        if !self.is_stopped() && self.seen.full.as_ref().is_none_or(|full| full.open < open) {
            self.take_stock();
        }
        self.course.last_worked = None;
        self.course.tried_from_ms = self.seen.watch.samples.last().map_or(0, |row| row.elapsed_ms);
        if open > 0 {
            self.work_as_planned(self.plan.load.hold, per_second);
        }
        if self.is_stopped() {
            return None;
        }
        let mut worked = self.course.last_worked.take();
        if let (Some(worked), Some((_, cores))) = (&mut worked, self.course.server_cores.last()) {
            worked.server_cores = *cores;
        }
        let counts = self.said.swarm.counts;
        let failed = counts.failed.saturating_sub(before.failed);
        let record = self.record_of_size(size, counts.open, failed, worked.as_ref());
        let workload = self.plan.workload;
        let known = self.plan.verdicts.iter().filter(|condition| is_known(condition.metric, workload));
        let conditions: Vec<Condition> = known.cloned().collect();
        let mut verdicts = judge(&conditions, &record);
        let asked = (per_second.unwrap_or(0) as f64 * self.plan.load.hold.0.as_secs_f64()) as u64;
        let missed = worked.as_ref().and_then(|worked| vary.missed(worked, asked));
        let rate = per_second.filter(|_| missed.is_some()).and_then(|rate| vary.is_reached(rate));
        verdicts.extend(rate.map(|condition| condition.evaluate(&record)));
        let is_done = missed.is_none() && (worked.is_some() || per_second.is_none());
        let tried = Tried {
            search,
            connections: size,
            per_second,
            open: counts.open,
            failed,
            holds: is_done && !verdicts.iter().any(Verdict::is_broken),
            verdicts,
            missed,
            swarm_was_late: worked.as_ref().is_some_and(|worked| worked.own_lateness_us().is_some()),
            worked,
        };
        Some(tried)
    }

    /// What is known of one try, as a record to judge it by: a share of the lost is of those that were to be open.
    fn record_of_size(&self, size: u64, open: u64, failed: u64, worked: Option<&Worked>) -> Record {
        let of_run = &self.record;
        let (run_id, tool) = (of_run.run_id.clone(), of_run.tool.clone());
        let mut record = Record::begun(tool, run_id, of_run.topology, of_run.protocol, of_run.workload);
        record.state = RunState::Complete;
        record.connections = Connections {
            target: size,
            attempted: size,
            established: open,
            verified: self.plan.load.probe.then_some(open),
            held: open.min(size),
            ..Connections::default()
        };
        record.connections.add_failed(Outcome::aborted(), failed);
        record.work.extend(worked.cloned());
        record
    }
}
