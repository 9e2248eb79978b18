//! Where a run stands among the phases that its plan names, by what the swarm has said.

use std::time::Instant;

use c10k_record::{NamedPhase, PhaseKind, PhaseName, Record, SwarmEvent, Worked};

use crate::lead::sizes::Search;

/// Where a run stands among its phases.
#[derive(Debug, Default)]
pub(crate) struct Course {
    /// The named phase under way.
    pub(crate) name: Option<String>,
    /// When the swarm said last how long it is since the first connect, ms.
    elapsed: Option<(Instant, u64)>,
    /// When its ramp began and how long it took, by the swarm's clock.
    ramp_from_ms: Option<u64>,
    pub(crate) ramp_ms: u64,
    /// How many ramps are over.
    ramps_over: u64,
    /// How often the swarm has said that work is over.
    pub(crate) worked: u64,
    /// What came of the last work, in a search.
    pub(crate) last_worked: Option<Worked>,
    pub(crate) search: Option<Search>,
    /// When the last try of a search began to work, in the time of samples.csv.
    pub(crate) tried_from_ms: u64,
    /// Processor time of the server in each work, by name and in order.
    pub(crate) server_cores: Vec<(String, Option<f64>)>,
    pub(crate) named: Vec<NamedPhase>,
    /// Since when a verdict that may end the run has not held; one for each condition.
    pub(crate) broken_since: Vec<Option<Instant>>,
    /// The verdict that has ended the run.
    pub(crate) ended_by: Option<String>,
    pub(crate) is_watched: bool,
}

impl Course {
    pub(crate) fn name(&self) -> &str {
        self.name.as_deref().unwrap_or_default()
    }

    /// The swarm says something.
    pub(crate) fn take_event(&mut self, event: &SwarmEvent) {
        match event {
            SwarmEvent::Phase { phase, elapsed_ms, .. } => self.note_phase(*phase, *elapsed_ms),
            SwarmEvent::Now { elapsed_ms, .. } | SwarmEvent::Tick { elapsed_ms, .. } => {
                self.note_elapsed(*elapsed_ms);
            }
            SwarmEvent::Worked { worked } => {
                self.worked += 1;
                self.last_worked = self.search.is_some().then(|| worked.as_ref().clone());
            }
            SwarmEvent::Ready { .. } | SwarmEvent::Verified { .. } | SwarmEvent::Done { .. } => {}
        }
    }

    fn note_elapsed(&mut self, elapsed_ms: u64) {
        self.elapsed = Some((Instant::now(), elapsed_ms));
    }

    fn note_phase(&mut self, phase: PhaseName, elapsed_ms: u64) {
        self.note_elapsed(elapsed_ms);
        match phase {
            PhaseName::Ramp => self.ramp_from_ms = Some(elapsed_ms),
            // It also holds again when work is over.
            PhaseName::Hold => {
                if let Some(from_ms) = self.ramp_from_ms.take() {
                    self.ramp_ms = elapsed_ms.saturating_sub(from_ms);
                    self.ramps_over += 1;
                }
            }
            _ => {}
        }
    }

    /// How many ramps are over, by what the swarm has said.
    pub(crate) fn ramps_over(&self) -> u64 {
        self.ramps_over
    }

    pub(crate) fn now_ms(&self) -> u64 {
        self.elapsed.map_or(0, |(at, ms)| if ms == 0 { 0 } else { ms + at.elapsed().as_millis() as u64 })
    }

    /// Whether a verdict has ended what is to be measured.
    pub(crate) fn is_ended(&self) -> bool {
        self.is_watched && self.ended_by.is_some()
    }

    /// From now on the run goes to its end in order; true where a verdict brought it there.
    pub(crate) fn ends(&mut self) -> bool {
        self.is_watched = false;
        self.name = None;
        self.ended_by.is_some()
    }

    /// Which verdict ended the run, in words.
    pub(crate) fn ended_in_words(&self) -> Option<String> {
        self.ended_by.as_ref().map(|expr| format!("ended early by its verdict `{expr}`"))
    }

    /// Puts what the lab has seen of the phases into the record.
    pub(crate) fn note(&mut self, record: &mut Record) {
        record.named_phases = std::mem::take(&mut self.named);
        if let Some(search) = &self.search {
            // The record is one of the last try; what came of the others stands in the search. Beats beside it are none.
            let kind = PhaseKind::from(record.workload);
            record.work.retain(|work| work.kind == kind);
            // Where nobody was open in the last try there is none.
            let is_idle = search.tried.last().is_some_and(|last| last.worked.is_none());
            let own = usize::from(!is_idle);
            record.work.drain(..record.work.len().saturating_sub(own));
            self.server_cores.drain(..self.server_cores.len().saturating_sub(own));
        }
        for work in &mut record.work {
            if let Some(at) = self.server_cores.iter().position(|(name, _)| *name == work.name) {
                work.server_cores = self.server_cores.remove(at).1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use c10k_record::Workload;

    use super::*;
    use crate::lead::sizes::tests::{record, worked};
    use crate::lead::sizes::{Tried, Vary};

    #[test]
    fn the_record_of_a_search_has_the_work_of_its_last_try_or_none() {
        let work = |done| worked(PhaseKind::Echo, (done, done));
        for (last, wanted) in [(Some(work(30)), vec![30]), (None, vec![])] {
            let mut search = Search::new(Vary::Connections, (1, 10), 1);
            search.tried.push(Tried {
                search: None,
                connections: 10,
                per_second: None,
                open: 0,
                failed: 0,
                holds: false,
                verdicts: Vec::new(),
                missed: None,
                swarm_was_late: false,
                worked: last,
            });
            let mut course = Course { search: Some(search), ..Course::default() };
            let mut record = record(Workload::Echo);
            record.work.extend([work(20), worked(PhaseKind::Hold, (5, 5)), work(30)]);
            course.server_cores = vec![("echo".to_owned(), Some(0.5)), ("echo".to_owned(), Some(0.75))];
            course.note(&mut record);
            let answered: Vec<u64> = record.work.iter().map(|work| work.messages_answered).collect();
            assert_eq!(answered, wanted);
            assert!(record.work.iter().all(|work| work.server_cores == Some(0.75)), "{:?}", record.work);
        }
    }
}
