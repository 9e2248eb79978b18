//! When the lab's own process did not run.

use std::time::{Duration, Instant};

use c10k_kernel::pulse::{Missed, Pulse};
use c10k_record::{Gap, GapOf};

/// Watches the lab's waits.
#[derive(Debug, Default)]
pub(crate) struct Gaps {
    pulse: Pulse,
    /// The first connect, by the swarm's word.
    first_connect_at: Option<Instant>,
    seen: Vec<Gap>,
}

impl Gaps {
    /// What this process did before it waits is no gap.
    pub(crate) fn begin_to_wait(&mut self) {
        self.pulse.begin();
    }

    /// Whether a wait that was to take no longer than `expected` took so much longer that this process did not run.
    pub(crate) fn look(&mut self, expected: Duration) -> Option<Missed> {
        self.pulse.look(expected)
    }

    /// What the swarm said some time ago was said at an earlier moment than it is heard: of all first connects that follow
    /// from it the earliest is the one.
    pub(crate) fn note_first_connect(&mut self, elapsed_ms: u64) {
        let at = Instant::now().checked_sub(Duration::from_millis(elapsed_ms)).filter(|_| elapsed_ms > 0);
        self.first_connect_at = [self.first_connect_at, at].into_iter().flatten().min();
    }

    /// Keeps it, in the time of the run.
    pub(crate) fn note(&mut self, missed: &Missed) {
        let since = |at: Instant| {
            self.first_connect_at.map_or(0, |first| at.saturating_duration_since(first).as_millis() as u64)
        };
        self.seen.push(Gap {
            process: GapOf::Lab,
            from_ms: since(missed.began),
            to_ms: since(missed.began + missed.length),
            suspended_ms: missed.suspended.as_millis() as u64,
        });
    }

    /// All of them.
    pub(crate) fn take(&mut self) -> Vec<Gap> {
        std::mem::take(&mut self.seen)
    }
}
