//! Connections come and go while the others are held: each that is closed makes room for a new one.

use c10k_record::{ChurnClose, WorkPlan};

use super::echo::next_of;
use super::pace::Pace;
use super::{Connections, Due, Job, Share, Stands, Unsent};
use crate::walk::Walk;

/// One worker's part.
#[derive(Debug)]
pub(crate) struct Churn {
    per_second: f64,
    pace: Pace,
    until_us: u64,
    walk: Walk,
    /// Who closes first, and how.
    pub(crate) close: ChurnClose,
}

impl Churn {
    pub(crate) fn new(job: &Job, share: &Share) -> Self {
        let per_second = job.plan.churn_per_second.unwrap_or(WorkPlan::CHURN_PER_SECOND);
        Self {
            per_second,
            pace: Pace::new(share.of_rate(per_second), job.from_us, share.place()),
            until_us: job.until_us,
            walk: Walk::default(),
            close: job.plan.churn_close.unwrap_or(WorkPlan::CHURN_CLOSE),
        }
    }

    pub(crate) fn has(&mut self, share: &Share, now_us: u64) {
        // Behind the end nothing is due of anybody.
        self.pace.change(share.of_rate(self.per_second), now_us.min(self.until_us));
    }

    pub(crate) fn next(&mut self, now_us: u64, connections: &impl Connections) -> Due {
        let Some(intended_us) = self.pace.next_us().filter(|next_us| *next_us < self.until_us) else {
            return Due::Nobody;
        };
        if intended_us > now_us {
            return Due::NotBefore(intended_us);
        }
        let is_quiet = |stands| stands == Stands::Quiet;
        match next_of(&mut self.walk, connections, connections.slots(), is_quiet) {
            Some(slot) => {
                self.pace.take();
                Due::Say { slot, intended_us: Some(intended_us) }
            }
            None => Due::Nobody,
        }
    }

    pub(crate) fn left(&self, now_us: u64) -> Option<Unsent> {
        self.pace.left(self.until_us.min(now_us))
    }
}
