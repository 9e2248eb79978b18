//! Waiting, and hearing the processes meanwhile.

use std::time::{Duration, Instant};

use c10k_plan::stage::Who;
use c10k_record::{PhaseName, SwarmEvent};

use crate::lead::lab::Lab;
use crate::lead::said::Told;
use crate::processes::child::{Heard, end_in_words};

/// A swarm that says nothing for so long stands still.
const SILENCE: Duration = Duration::from_secs(30);
/// The longest sleep between two looks at signals and processes.
const NAP: Duration = Duration::from_millis(50);

/// Why a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Woken {
    Done,
    TimeIsUp,
    /// A signal came, or something the run stands on broke.
    Stop,
}

impl Lab<'_> {
    pub(crate) fn wait(&mut self, until: Option<Instant>, done: impl Fn(&Self) -> bool) -> Woken {
        self.seen.gaps.begin_to_wait();
        loop {
            if done(self) {
                return Woken::Done;
            }
            self.look_for_a_broken_verdict();
            if self.is_stopped() || self.course.is_ended() {
                return Woken::Stop;
            }
            if until.is_some_and(|until| until <= Instant::now()) {
                return Woken::TimeIsUp;
            }
            if self.swarm_is_silent(1) {
                self.broke.why = Some(format!("the swarm said nothing for {} s", SILENCE.as_secs()));
                return Woken::Stop;
            }
            self.listen(until);
        }
    }

    /// Whether the swarm has said nothing for a part of the longest silence. What it said while the lab itself was busy, as
    /// with a row on a host that stands still, is heard first.
    pub(crate) fn swarm_is_silent(&mut self, part: u32) -> bool {
        if self.said.swarm.heard_at.elapsed() > SILENCE / part {
            self.hear_what_was_said();
        }
        self.said.swarm.heard_at.elapsed() > SILENCE / part
    }

    /// Hears all that was said and not heard yet.
    fn hear_what_was_said(&mut self) {
        while let Ok(heard) = self.pair.heard.try_recv() {
            self.on_heard(heard);
        }
    }

    pub(crate) fn listen(&mut self, until: Option<Instant>) {
        let now = Instant::now();
        let mut nap = until.map_or(NAP, |until| NAP.min(until.saturating_duration_since(now)));
        if !self.said.moment.is_open() {
            nap = nap.min(self.seen.watch.due_in(now));
        }
        nap = self.due_in_ramp(now).map_or(nap, |due| nap.min(due));
        let first = self.pair.heard.recv_timeout(nap);
        let missed = self.seen.gaps.look(nap);
        if let Ok(heard) = first {
            self.on_heard(heard);
        }
        if let Some(missed) = missed {
            // What the others said meanwhile is heard before anything is made of their silence, or of the time.
            self.hear_what_was_said();
            self.said.swarm.heard_at = Instant::now();
            self.seen.gaps.note(&missed);
            self.seen.watch.after_a_gap();
        }
        let swarm = &self.said.swarm;
        for command in self.way.acting.go_on(self.pair.server.pid(), swarm.phase, &swarm.counts) {
            self.pair.swarm.tell(&command);
        }
        self.note_far_end();
        self.row_if_due(Instant::now());
        self.ramp_row_if_due(Instant::now());
        // A row may have shown that one of another's server ended.
        self.note_ended_processes();
        self.note_ended_workers();
    }

    fn on_heard(&mut self, heard: Heard) {
        match heard {
            Heard::Server(event) => self.said.by_server(event),
            Heard::Swarm(event) => {
                self.course.take_event(&event);
                if let SwarmEvent::Now { phase, counts, .. } = &*event {
                    let counts = Some(counts).filter(|_| *phase == PhaseName::Ramp);
                    self.seen.watch.note_in_ramp(Instant::now(), counts);
                }
                match self.said.by_swarm(*event) {
                    Told::Nothing => {}
                    Told::Elapsed(ms) => self.seen.gaps.note_first_connect(ms),
                    Told::Closing(open) => self.say_closing(open),
                }
            }
            Heard::Ended(Who::Server) => self.pair.server_closed = true,
            Heard::Ended(Who::Swarm) => self.pair.swarm_closed = true,
        }
    }

    /// A process that ends before it is told to breaks the run. The swarm goes on for a moment without a server:
    /// it counts what becomes of its connections.
    pub(crate) fn note_ended_processes(&mut self) {
        let may_end = self.pair.swarm_closed && self.broke.is_closing;
        if !may_end {
            self.note_the_servers_end(self.seen.watch.server_is_gone());
        }
        if self.pair.swarm_closed
            && self.said.swarm.record.is_none()
            && self.broke.why.is_none()
            && let Some(status) = self.pair.swarm.ended()
        {
            let phase = self.said.swarm.phase_in_words();
            self.broke.why = Some(format!("{} in {phase}", end_in_words(Who::Swarm, status)));
        }
    }

    /// The server has ended, as one of ours says itself, and as another one's processes show that are `gone`.
    pub(crate) fn note_the_servers_end(&mut self, gone: bool) {
        if self.broke.server.is_none()
            && let Some((end, words)) = self.pair.server.end(gone)
        {
            self.seen.watch.look_at_what_is_left();
            self.broke.server = Some((end, Instant::now()));
            let phase = self.said.swarm.phase_in_words();
            self.record.ended_because = Some(format!("{words} in {phase}"));
            self.printer.say(&format!("warning: {words} in {phase}"));
        }
    }
}
