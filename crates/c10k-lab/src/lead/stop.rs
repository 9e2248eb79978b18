//! The end of a run: closing, in its order or because somebody stops it before its end.

use std::time::{Duration, Instant};

use c10k_record::human_count;

use crate::lead::lab::Lab;

/// How long the swarm may take to close and say its last word after `stop`.
const LAST_WORD: Duration = Duration::from_secs(60);
/// And for each connection that it has to close.
const LONGEST_CLOSE: Duration = Duration::from_micros(100);
/// How long the server may take to drain.
const DRAIN: Duration = Duration::from_secs(10);

impl Lab<'_> {
    /// Closes all connections, ends both processes and hears their last words.
    pub(crate) fn close(&mut self) {
        self.watch.close_begins();
        self.closing_from = Some(self.counts.open);
        // A signal before the last proof is over: the run is not judged.
        self.is_stopped_early = self.signals.came() && self.verified.is_none();
        if self.is_stopped_early {
            self.abort();
        } else {
            self.swarm.tell("stop");
        }
        self.wait_to_the_end(self.longest_close(), |lab| lab.swarm_closed);
        self.row(true);
        if self.swarm_record.is_none() {
            self.swarm.wait_or_kill(Duration::from_secs(1));
        }
        self.note_ended_processes();
        self.acting.wake(self.server.pid());
        self.server.tell("stop");
        // Whoever stopped the run waits for it; a server that stands still must not keep them.
        let drain = if self.signals.came() { DRAIN / 4 } else { DRAIN };
        self.wait_to_the_end(drain, |lab| lab.server_closed);
        self.swarm.wait_or_kill(Duration::from_secs(1));
        self.server.wait_or_kill(Duration::from_secs(1));
        self.row(true);
    }

    pub(crate) fn longest_close(&self) -> Duration {
        LAST_WORD + LONGEST_CLOSE * u32::try_from(self.counts.open).unwrap_or(u32::MAX)
    }

    /// Has the swarm give everything up; once.
    fn abort(&mut self) {
        if !std::mem::replace(&mut self.is_aborting, true) {
            self.swarm.tell("abort");
        }
    }

    /// The swarm has begun to close with so many open. Where somebody stops the run they hear it at once, since closing
    /// takes its time.
    pub(crate) fn say_closing(&mut self, open: u64) {
        self.closing_from = Some(open);
        if self.is_stopped_early {
            let folder = self.folder.path().display();
            self.printer.say(&format!(
                "stopped by {} with {} open; closing them. A second signal ends it at once: until here the run is in \
                 {folder}",
                self.signals.in_words(),
                human_count(open),
            ));
        }
    }

    /// The progress line of the close.
    pub(crate) fn closing_line(&self) -> Option<String> {
        let from = self.closing_from?;
        let left = human_count(self.counts.open.min(from));
        Some(format!("close  {left} of {} connections still open", human_count(from)))
    }

    /// As [`Lab::wait`], but only the time ends it early, and a signal makes the close quick.
    fn wait_to_the_end(&mut self, longest: Duration, done: impl Fn(&Self) -> bool) {
        let until = Instant::now() + longest;
        self.gaps.begin_to_wait();
        while !done(self) && Instant::now() < until {
            // A swarm that stands still keeps nobody who waits for its end.
            if !self.swarm_closed && self.swarm_is_silent(2) {
                break;
            }
            if self.signals.came() {
                self.abort();
            }
            self.hear(Some(until));
        }
    }
}
