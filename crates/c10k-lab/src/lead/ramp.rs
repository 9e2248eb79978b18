//! The ramp of a run: how many connections are asked for, in what steps, and when that ends.

use std::time::Instant;

use c10k_ceiling::MEMORY_WALLS as MEMORY;
use c10k_plan::view::plan_view;
use c10k_record::{Span, Steps};

use crate::host::headroom::{Headroom, Pieces};
use crate::host::limits::as_one;
use crate::lead::lab::Lab;
use crate::lead::wait::Woken;

impl Lab<'_> {
    /// Grows to the target, in the plan's steps.
    pub(crate) fn ramp(&mut self) {
        if self.way.stage.keeps_a_reserve {
            return self.ramp_to_the_reserve();
        }
        let steps = self.plan.load.steps.unwrap_or(Steps { size: self.as_many_as_make_sense(), count: 1 });
        for step in 0..steps.count {
            if step > 0 {
                let Span(pause) = self.plan.load.step_pause;
                self.wait(Some(Instant::now() + pause), |_| false);
            }
            if !self.grow(steps.size) {
                return;
            }
            let wanted = steps.size * (step + 1);
            if self.said.swarm.counts.attempted < wanted {
                // It stopped growing: more steps would only find the same.
                return;
            }
        }
    }

    /// False where it is not to go on.
    pub(crate) fn grow(&mut self, more: u64) -> bool {
        let before = self.look_at_both();
        if self.is_stopped() || !self.pair.swarm.tell(&format!("grow {more}")) {
            return false;
        }
        let over = self.course.ramps_over();
        let woken = self.wait(None, move |lab| lab.course.ramps_over() > over);
        let after = self.look_at_both();
        self.seen.ramp_cpu.add(&before, &after);
        woken == Woken::Done
    }

    /// As many as make sense, by pieces, as long as there is memory above the reserve.
    fn ramp_to_the_reserve(&mut self) {
        let mut memory = Headroom::open(&as_one(&self.limits), self.plan.is_ipv6());
        let (wanted, mut pieces) = (self.as_many_as_make_sense(), Pieces::default());
        let mut asked = 0;
        while asked < wanted {
            let more = match memory.left() {
                Some(left) => {
                    let (more, left) = pieces.next(wanted, self.said.swarm.counts.open, left);
                    if more == 0 {
                        self.way.kept_free = Some(left.kept());
                        return;
                    }
                    more
                }
                None => wanted - asked,
            };
            asked += more;
            if !self.grow(more) || self.said.swarm.counts.attempted < asked {
                // It stopped growing: more would only find the same.
                return;
            }
        }
    }

    /// The target; in a climb little more than the first wall is predicted to allow.
    fn as_many_as_make_sense(&self) -> u64 {
        let target = self.plan.target;
        let limits = as_one(&self.limits);
        let wall = c10k_ceiling::predicted_ceiling(&limits, &plan_view(self.plan, &limits));
        match wall.filter(|_| self.way.stage.only_to_the_wall) {
            // Of memory it is seen as it goes how much there is.
            Some(wall) if self.way.stage.keeps_a_reserve && MEMORY.contains(&wall.wall.as_str()) => target,
            Some(wall) => {
                wall.connections.saturating_add(wall.connections / 100).saturating_add(64).min(target)
            }
            None => target,
        }
    }
}
