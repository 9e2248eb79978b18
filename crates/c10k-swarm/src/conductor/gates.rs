//! Among other shards: the start, the gates at which they wait for each other, and what is heard of them.

use c10k_record::{LiveCounts, PhaseName};

use super::{Conductor, Woken};
use crate::meet::Together;
use crate::refusal::Refusal;
use crate::shard::Own;
use crate::tasks::Task;

impl Conductor<'_> {
    /// Meets the other shards, where this one is to, and is told when to begin.
    ///
    /// # Errors
    /// See [`Together::gather`].
    pub(crate) fn meet(&mut self, own: &mut Own) -> Result<(), Refusal> {
        let Some(appointment) = own.appointment(self.course.gates()) else { return Ok(()) };
        let output = &mut *self.output;
        let (together, begin) = Together::gather(appointment, &self.signals, |words| output.note(words))?;
        own.together = Some(together.clone());
        own.take_account();
        self.meeting = Some((together, begin));
        Ok(())
    }

    /// Waits for the start that all were given. Where this shard cannot begin after all, the others hear it at once.
    ///
    /// # Errors
    /// Why it cannot begin; see [`Together::await_start`] as well.
    pub(crate) fn begin_with_the_others(&mut self, can_begin: Result<(), Refusal>) -> Result<(), Refusal> {
        let Some((together, begin)) = &self.meeting else { return can_begin };
        if let Err(refusal) = &can_begin {
            together.break_off(refusal.message.clone());
        }
        can_begin?;
        together.await_start(*begin, &self.signals)
    }

    /// Tells the others how it stands, and people what was heard of the others.
    pub(super) fn tell_the_others(&mut self, phase: PhaseName, counts: &LiveCounts) {
        let Some((together, _)) = &self.meeting else { return };
        together.tell(phase, counts);
        together.words().iter().for_each(|words| self.output.note(words));
    }

    /// Whether the meeting has ended before its end.
    pub(super) fn is_called_off(&self) -> bool {
        self.meeting.as_ref().is_some_and(|(together, _)| together.has_ended())
    }

    /// Why it has, in words.
    pub(super) fn called_off_because(&self) -> Option<String> {
        let (together, _) = self.meeting.as_ref()?;
        Some(together.end()?.why)
    }

    /// Holds until all shards have come to this gate.
    pub(super) fn wait_at(&mut self, gate: u32) {
        let Some((together, _)) = self.meeting.clone() else { return };
        if self.must_stop() {
            return;
        }
        if self.shared.counts().attempted > 0 {
            self.enter(Task::Ping);
        }
        // What it says as it comes is true of this moment.
        let counts = self.shared.counts();
        together.tell(self.shared.orders().phase, &counts);
        together.come_to(gate);
        loop {
            match self.wait(None, false, |_| together.is_open(gate)) {
                Woken::Command => {
                    self.commands.pop_front();
                    self.output.warn("a swarm that waits for others is told to stop, abort or now only");
                }
                _ => return,
            }
        }
    }
}
