//! Looking beside the counters: in a proof that nobody answers, and after connections were lost.

use std::time::{Duration, Instant};

use c10k_collector::Abroad;
use c10k_record::{PhaseName, RunEvidence};

use super::{Conductor, Woken};

/// A proof in which nobody was answered for so long is looked into: what was sent is sent again several times by then.
const NOBODY: Duration = Duration::from_millis(1_500);

/// What is looked at, and by whom.
#[derive(Default)]
pub(super) struct Evidence {
    /// Nobody looks where a lab that leads this swarm does.
    abroad: Option<Abroad>,
    seen: RunEvidence,
}

impl Conductor<'_> {
    /// Looks into losses and silence.
    pub(crate) fn look_abroad(&mut self, abroad: Option<Abroad>) {
        self.evidence.abroad = abroad;
    }

    /// Waits for the end of the proof. When nobody is answered any more it is looked once whether what was sent is
    /// acknowledged.
    pub(super) fn await_the_proof(&mut self, until: Option<Instant>, stopping: bool) -> Woken {
        loop {
            let (echoes, since) = (self.shared.counts().messages, Instant::now());
            let next = until.map_or(since + NOBODY, |until| until.min(since + NOBODY));
            let woken = self.wait(Some(next), stopping, |c| c.shared.everybody_done());
            if woken != Woken::TimeIsUp || until.is_some_and(|until| until <= Instant::now()) {
                return woken;
            }
            let counts = self.shared.counts();
            let Evidence { abroad, seen } = &mut self.evidence;
            if counts.messages == echoes && seen.silent.is_none() {
                seen.silent = abroad.as_mut().and_then(|abroad| abroad.silent(counts.open, since.elapsed()));
            }
        }
    }

    /// Looks at the server's end before the close, where it is here and connections were lost.
    pub(super) fn look_at_servers_end(&mut self) {
        let Evidence { abroad, seen } = &mut self.evidence;
        if self.beside.is_some()
            && self.shared.counts().failed > 0
            && let Some(abroad) = abroad
        {
            abroad.servers_end(true, seen);
        }
    }

    /// All of it, when the workers have ended.
    pub(super) fn evidence(&mut self) -> RunEvidence {
        let ramp = self.phases.iter().rev().find(|phase| phase.phase == PhaseName::Ramp);
        let ramp_end_ms = ramp.and_then(|ramp| ramp.to_ms).unwrap_or(0);
        let last_proof_ms = self.shared.verified_over_us().unwrap_or(0) / 1000;
        let losses = std::mem::take(&mut *self.shared.losses());
        RunEvidence {
            order: losses.order(&self.shared.moments, ramp_end_ms.saturating_sub(last_proof_ms)),
            ages: losses.ages(),
            words: losses.words(),
            ..std::mem::take(&mut self.evidence.seen)
        }
    }
}
