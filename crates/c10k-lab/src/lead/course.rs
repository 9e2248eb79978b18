//! The course of a run: ramp, hold, proof and close, over two processes that are told and heard by lines.

use std::time::{Duration, Instant};

use c10k_collector::far::Moment;

use crate::lead::lab::Lab;
use crate::lead::wait::Woken;

/// How often a server says how it stands.
const SERVER_TICK: Duration = Duration::from_secs(1);

impl Lab<'_> {
    /// Ramp, hold, proof, close.
    pub(crate) fn carry_out(&mut self) {
        self.mark_far(Moment::Ready);
        self.seen.watch.await_quiet(Duration::from_millis(500));
        self.seen.ready = Some(self.seen.watch.mark(self.said.swarm.counts.open));
        self.await_far_mark(Moment::Ready);
        self.row(true);
        self.go_through();
        // One that a verdict has ended goes to its close, which proves what is open.
        if !self.course.ends() && !self.is_stopped() && self.pair.swarm.tell("verify") {
            let limit = Instant::now() + self.longest_proof();
            if self.await_the_proof(limit) == Woken::TimeIsUp {
                self.broke.why = Some("the swarm did not come to the end of its last proof".to_owned());
            }
            self.look_up_ends();
            self.look_abroad();
            if self.has_heard_of_ghosts() {
                self.said.server.at_proof = self.said.server.last.clone();
            }
        }
        self.close();
    }

    /// Has the server say once more how it stands, where it may have connections of which it knows nothing: when the
    /// swarm closes it has room again, and takes them. False where it said nothing more: its last word is of before.
    fn has_heard_of_ghosts(&mut self) -> bool {
        let accepted = self.said.server.last.as_ref().map_or(0, |said| said.accepted);
        let known = if self.plan.load.probe { self.said.swarm.counts.verified } else { accepted };
        let may_have = self.pair.server.is_ours()
            && known < self.said.swarm.counts.established
            && !self.pair.server_closed;
        let words = self.said.server.words;
        if may_have {
            self.pair.server.tell("now");
        }
        let until = Instant::now() + 2 * SERVER_TICK;
        !may_have || self.wait(Some(until), |lab| lab.said.server.words > words) == Woken::Done
    }

    /// Proofs that nobody answers end the swarm's patience after a few rounds of them; a million that are answered
    /// take what the server takes.
    fn longest_proof(&self) -> Duration {
        4 * self.plan.load.probe_timeout.0 + self.longest_close()
    }
}
