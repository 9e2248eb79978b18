//! What the server of a plan says by itself.

use super::{PhaseKind, Plan, WorkPlan};
use crate::Span;

/// What a server pushes to those who ask; one server pushes one thing.
#[derive(Clone, Debug, PartialEq)]
pub struct Pushed {
    /// `Stream` or `Fanout`.
    pub kind: PhaseKind,
    /// Of its numbers those that say how it is pushed.
    pub work: WorkPlan,
    /// How long a stream plays; `None` for `Fanout`.
    pub duration: Option<Span>,
}

impl Plan {
    /// What its server pushes by its workload, or in its phases; `None` = nothing.
    ///
    /// # Errors
    /// One line where two phases need a server that pushes differently.
    pub fn pushed(&self) -> Result<Option<Pushed>, String> {
        let own = self.pushed_as(self.workload.into(), &self.work, None);
        if own.is_some() {
            return Ok(own);
        }
        let mut all = self.phases.iter().filter_map(|phase| {
            let pushed = self.pushed_as(phase.kind, &self.work.with(&phase.work), phase.duration)?;
            Some((&phase.name, pushed))
        });
        let Some((first, pushed)) = all.next() else { return Ok(None) };
        match all.find(|(_, other)| *other != pushed) {
            None => Ok(Some(pushed)),
            Some((other, _)) => Err(format!(
                "the phases '{first}' and '{other}' want different things of one server: expected one stream or one \
                 fanout, with the same numbers in all phases"
            )),
        }
    }

    fn pushed_as(&self, kind: PhaseKind, work: &WorkPlan, duration: Option<Span>) -> Option<Pushed> {
        let WorkPlan { bitrate, fanout_every, payload, .. } = *work;
        let none = WorkPlan::default();
        match kind {
            PhaseKind::Stream => {
                let duration = Some(duration.unwrap_or(self.load.hold));
                Some(Pushed { kind, work: WorkPlan { bitrate, ..none }, duration })
            }
            PhaseKind::Fanout => {
                Some(Pushed { kind, work: WorkPlan { fanout_every, payload, ..none }, duration: None })
            }
            _ => None,
        }
    }
}
