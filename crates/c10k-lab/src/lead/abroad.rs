//! Looking beside the counters: in a proof that nobody answers, and after it.

use std::time::{Duration, Instant};

use crate::lead::lab::Lab;
use crate::lead::wait::Woken;

/// A proof in which nobody was answered for so long is looked into: what was sent is sent again several times by then.
const NOBODY: Duration = Duration::from_millis(1_500);

impl Lab<'_> {
    /// Waits for the end of the proof. When nobody is answered any more it is looked once whether what was sent is
    /// acknowledged.
    pub(crate) fn await_the_proof(&mut self, limit: Instant) -> Woken {
        loop {
            let (echoes, since) = (self.said.swarm.counts.messages, Instant::now());
            let woken = self.wait(Some(limit.min(since + NOBODY)), |lab| lab.said.swarm.verified.is_some());
            if woken != Woken::TimeIsUp || Instant::now() >= limit {
                return woken;
            }
            if self.said.swarm.counts.messages == echoes && self.record.evidence.silent.is_none() {
                self.record.evidence.silent =
                    self.seen.abroad.silent(self.said.swarm.counts.open, since.elapsed());
            }
        }
    }

    /// Looks at the server's end before the close, where connections were lost.
    pub(crate) fn look_abroad(&mut self) {
        if self.pair.server.far().is_some() {
            // In any case: what is met from now on is the close's.
            self.look_from_far();
        } else if self.said.swarm.counts.failed > 0 {
            self.seen.abroad.servers_end(!self.pair.server.is_ours(), &mut self.record.evidence);
        }
    }
}
