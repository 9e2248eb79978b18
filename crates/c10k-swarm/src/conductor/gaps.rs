//! When the swarm did not run.

use std::time::Duration;

use c10k_kernel::pulse::Pulse;
use c10k_record::{Gap, GapOf};

use super::Conductor;

/// Watches the conductor's waits.
#[derive(Default)]
pub(super) struct Gaps {
    pulse: Pulse,
    pub(super) seen: Vec<Gap>,
}

impl Conductor<'_> {
    /// What the conductor did before it waits is no gap.
    pub(super) fn begin_to_wait(&mut self) {
        self.gaps.pulse.begin();
    }

    /// Notes when this process did not run: what it measured meanwhile is its own.
    pub(super) fn look_for_a_gap(&mut self, nap: Duration) {
        let Some(missed) = self.gaps.pulse.look(nap) else { return };
        let to_ms = self.elapsed_ms();
        let from_ms = to_ms.saturating_sub(missed.length.as_millis() as u64);
        let suspended_ms = missed.suspended.as_millis() as u64;
        if let Some(beside) = &mut self.beside {
            beside.after_a_gap();
        }
        self.gaps.seen.push(Gap { process: GapOf::Swarm, from_ms, to_ms, suspended_ms });
    }
}
