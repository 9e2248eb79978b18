//! The end of a run: closing, in its order or because somebody stops it before its end.

use std::time::{Duration, Instant};

use c10k_collector::LastBreath;
use c10k_record::human_count;

use crate::lead::lab::Lab;
use crate::processes::peer::Peer;

/// How long the swarm may take to close and say its last word after `stop`.
const LAST_WORD: Duration = Duration::from_secs(60);
/// And for each connection that it has to close.
const LONGEST_CLOSE: Duration = Duration::from_micros(100);
/// How long the server may take to drain.
const DRAIN: Duration = Duration::from_secs(10);

impl Lab<'_> {
    /// Closes all connections, ends both processes and hears their last words.
    pub(crate) fn close(&mut self) {
        self.await_the_servers_end();
        self.seen.watch.close_begins();
        self.broke.is_closing = true;
        self.broke.closing_from = Some(self.said.swarm.counts.open);
        // A signal before the last proof is over: the run is not judged.
        self.broke.is_stopped_early = self.signals.came() && self.said.swarm.verified.is_none();
        if self.broke.is_stopped_early {
            self.abort();
        } else {
            self.pair.swarm.tell("stop");
        }
        // A swarm that stands still keeps nobody who waits for its end.
        self.wait_to_the_end(self.longest_close(), |lab| lab.pair.swarm_closed || lab.swarm_is_silent(2));
        self.row(true);
        if self.said.swarm.record.is_none() {
            self.pair.swarm.wait_or_kill(Duration::from_secs(1));
        }
        self.note_ended_processes();
        self.way.acting.wake(self.pair.server.pid());
        self.pair.server.tell("stop");
        // The one who stopped the run waits for it; a server that stands still must not keep them.
        let drain = self.pair.server.far().map_or(DRAIN, Peer::longest_end);
        let drain = if self.signals.came() { drain / 4 } else { drain };
        self.wait_to_the_end(drain, |lab| lab.pair.server_closed);
        self.pair.swarm.wait_or_kill(Duration::from_secs(1));
        self.pair.server.wait_or_kill(Duration::from_secs(1));
        self.row(true);
        self.say_closed();
    }

    /// Whether it is the server's end that has cost all connections: it is seen some time behind theirs.
    fn await_the_servers_end(&mut self) {
        self.note_ended_processes();
        let counts = &self.said.swarm.counts;
        let are_lost = counts.established > 0 && counts.open == 0 && counts.failed > 0;
        if !are_lost || self.pair.server.far().is_some() {
            return;
        }
        let mut breath = LastBreath::begin(true);
        while self.broke.server.is_none() && !self.signals.came() {
            let seen = self.seen.watch.look();
            self.note_the_servers_end(self.seen.watch.server_is_over(&breath, &seen));
            if !breath.goes_on(&seen) {
                return;
            }
        }
    }

    pub(crate) fn longest_close(&self) -> Duration {
        LAST_WORD + LONGEST_CLOSE * u32::try_from(self.said.swarm.counts.open).unwrap_or(u32::MAX)
    }

    /// Has the swarm give everything up; once.
    fn abort(&mut self) {
        if !std::mem::replace(&mut self.broke.is_aborting, true) {
            self.pair.swarm.tell("abort");
        }
    }

    /// The swarm has begun to close with so many open. Where somebody stops the run they hear it at once, since closing
    /// takes its time.
    pub(crate) fn say_closing(&mut self, open: u64) {
        self.broke.closing_from = Some(open);
        if self.broke.is_stopped_early {
            let folder = self.folder.path().display();
            self.printer.say(&format!(
                "stopped by {} with {} open; closing them. A second signal ends it at once: until here the run is in \
                 {folder}",
                self.signals.in_words(),
                human_count(open),
            ));
        }
    }

    /// As [`Lab::wait`], but only the time ends it early, and a signal makes the close quick.
    fn wait_to_the_end(&mut self, longest: Duration, done: impl Fn(&mut Self) -> bool) {
        let until = Instant::now() + longest;
        self.seen.gaps.begin_to_wait();
        while !done(self) && Instant::now() < until {
            if self.signals.came() {
                self.abort();
            }
            self.listen(Some(until));
        }
    }
}
