//! The conductor: leads a swarm through ramp, hold, verification and close.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use c10k_ceiling::TAKEN_DOWN;
use c10k_collector::{AtServer, LastBreath, LinkWatch};
use c10k_record::{
    Command, ConnectRate, Connections, LatencyHistogram, LiveCounts, NamedPhase, PhaseName, PhaseTimes,
    RunState, Steps, SwarmEvent, Worked,
};

use crate::beside::Beside;
use crate::crew::Crew;
use crate::finding::Finding;
use crate::measured::Measured;
use crate::meet::Together;
use crate::output::Output;
use crate::own_end::OwnEnd;
use crate::own_rss_bytes;
use crate::ramps::Ramps;
use crate::shared::{Note, Shared};
use crate::signals::Signals;
use crate::tally::Loss;
use crate::tasks::{Task, Turn};

mod abroad;
mod course;
mod ends;
mod gaps;
mod gates;
mod growing;
mod holding;
mod over_time;
mod peak;
mod phases;
mod telling;
mod waiting;
mod works;

pub(crate) use course::Course;
use over_time::unix_ns_before;
use peak::Peak;

/// Between two ticks.
const TICK: Duration = Duration::from_millis(250);
/// After a signal: so long for what is under way and for the last proof.
const DRAIN: Duration = Duration::from_secs(5);
/// How long closing one connection may take, all of them one after the other.
const LONGEST_CLOSE: Duration = Duration::from_micros(60);
/// The longest sleep between two looks at signals.
const NAP: Duration = Duration::from_millis(50);

/// Why a wait ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Woken {
    Done,
    TimeIsUp,
    Stop,
    Command,
}

pub(crate) struct Conductor<'a> {
    shared: Arc<Shared>,
    crew: Crew,
    course: Course,
    notes: Receiver<Note>,
    signals: Signals,
    output: &'a mut Output,
    commands: VecDeque<Command>,
    told_to_stop: bool,
    /// Nothing is to be proven any more.
    told_to_abort: bool,
    phases: Vec<PhaseTimes>,
    named: Vec<NamedPhase>,
    measured: Measured,
    target: u64,
    peak: Peak,
    ramps: Ramps,
    messages_per_second: Option<f64>,
    /// The job under way, and what came of those before.
    underway: Option<works::Underway>,
    worked: Vec<Worked>,
    work_measured: Vec<(String, LatencyHistogram)>,
    job_number: u32,
    last_tick: (Instant, LiveCounts),
    gaps: gaps::Gaps,
    /// Whether the last proof is younger than the last growth.
    is_proven: bool,
    rss_full: Option<(u64, u64)>,
    beside: Option<Beside>,
    own_end: Option<OwnEnd>,
    at_server: Option<AtServer>,
    link: LinkWatch,
    evidence: abroad::Evidence,
    /// The other shards, and when all begin.
    meeting: Option<(Together, Instant)>,
}

impl<'a> Conductor<'a> {
    pub(crate) fn new(
        shared: Arc<Shared>,
        crew: Crew,
        course: Course,
        notes: Receiver<Note>,
        signals: Signals,
        output: &'a mut Output,
    ) -> Self {
        let target = if course.commanded || course.has_phases() { 0 } else { course.target };
        Self {
            shared,
            crew,
            course,
            notes,
            signals,
            output,
            commands: VecDeque::new(),
            told_to_stop: false,
            told_to_abort: false,
            phases: Vec::new(),
            named: Vec::new(),
            measured: Measured::default(),
            target,
            peak: Peak::begin(Instant::now()),
            ramps: Ramps::default(),
            messages_per_second: None,
            underway: None,
            worked: Vec::new(),
            work_measured: Vec::new(),
            job_number: 0,
            last_tick: (Instant::now(), LiveCounts::default()),
            gaps: gaps::Gaps::default(),
            is_proven: false,
            rss_full: None,
            beside: None,
            own_end: None,
            at_server: None,
            link: LinkWatch::default(),
            evidence: abroad::Evidence::default(),
            meeting: None,
        }
    }

    /// Looks at this end alone, once a second.
    pub(crate) fn look_at_own_end(&mut self, own_end: Option<OwnEnd>) {
        self.own_end = own_end;
    }

    /// Looks at the server from beside it, once a second.
    pub(crate) fn look_beside(&mut self, beside: Option<Beside>) {
        if let Some(hidden) = beside.as_ref().and_then(Beside::hidden) {
            self.output.warn(hidden);
        }
        self.beside = beside;
    }

    /// Looks up the server's ends of the connections where these phases end.
    pub(crate) fn look_up_ends(&mut self, at_server: Option<AtServer>) {
        self.at_server = at_server;
    }

    /// Looks at the link towards the server.
    pub(crate) fn look_at_link(&mut self, link: LinkWatch) {
        self.link = link;
    }

    /// Starts the workers that so many connections need; others are started when they are full.
    ///
    /// # Errors
    /// EAGAIN when no more threads may be started, or what a worker met when it made its table.
    pub(crate) fn start_workers(&mut self, connections: u64) -> io::Result<()> {
        let tables = self.crew.tables_for(connections).max(self.course.turns as u64);
        for started in 0..tables {
            match self.crew.start_one() {
                Ok(()) => {}
                // The threads that could be started hold what they can.
                Err(_) if started > 0 => break,
                Err(error) => return Err(error),
            }
        }
        let mut deferred = Vec::new();
        let started = self.crew.await_start(&self.notes, &mut deferred);
        deferred.into_iter().for_each(|note| self.on_note(note));
        if self.crew.is_anybody_there() { Ok(()) } else { started }
    }

    /// Connections that one descriptor table takes.
    pub(crate) fn connections_per_table(&self) -> u64 {
        self.crew.connections_per_table()
    }

    /// The plan stands and nothing has been connected yet.
    pub(crate) fn say_ready(&mut self, ready: &SwarmEvent) {
        self.output.event(ready);
    }

    /// Goes the whole way.
    pub(crate) fn run(mut self) -> Finding {
        if self.course.has_phases() && !self.course.commanded {
            self.go_through();
        } else {
            self.go_up();
            self.wait_at(1);
            self.hold();
        }
        let gates = self.course.gates();
        self.wait_at(gates - 1);
        if !self.is_proven && !self.is_aborted() {
            self.verify();
        }
        self.wait_at(gates);
        self.close()
    }

    /// Step by step to the target.
    fn go_up(&mut self) {
        let steps = self.course.steps.unwrap_or(Steps { size: self.course.target, count: 1 });
        // A commanded swarm begins with nothing: `grow N` is its only way up.
        let count = if self.course.commanded { 0 } else { steps.count };
        for step in 0..count {
            if step > 0 && self.pause(self.course.step_pause.0) == Woken::Stop {
                break;
            }
            self.ramp(steps.size);
            if self.must_stop() || self.shared.growth_stop().is_some() {
                break;
            }
        }
    }

    fn must_stop(&self) -> bool {
        self.told_to_stop || self.is_aborted()
    }

    /// Whether somebody wants the end and no more proofs.
    fn is_aborted(&self) -> bool {
        self.told_to_abort
            || self.signals.stop.load(Relaxed)
            || self.is_called_off()
            || self.commands.contains(&Command::Abort)
    }

    // Phases -------------------------------------------------------------------------------------------

    fn grow(&mut self, more: u64) {
        self.is_proven = false;
        self.begin_to_connect();
        self.shared.arrivals.grow(more, self.shared.now_us());
        let given = (0..self.course.turns).filter(|_| self.shared.pass_on(Turn::Connect)).count();
        if given == 0 {
            // All tables are full, so nobody will say so.
            self.add_table();
        }
        let woken = self.wait(None, false, |c| {
            let counts = c.shared.counts();
            c.shared.arrivals.is_exhausted()
                && counts.attempted >= c.shared.arrivals.taken()
                && c.shared.sum(|table| &table.connecting) == 0
        });
        if woken == Woken::Stop {
            self.shared.arrivals.stop();
            if self.is_aborted() {
                return;
            }
            let until = Instant::now() + DRAIN / 2;
            self.wait(Some(until), true, |c| c.shared.sum(|table| &table.connecting) == 0);
        }
    }

    fn pause(&mut self, long: Duration) -> Woken {
        let until = Instant::now() + long;
        loop {
            match self.wait(Some(until), false, |_| false) {
                Woken::Command => {}
                other => return other,
            }
        }
    }

    /// Proves every connection once more, unless somebody wants the end meanwhile.
    fn verify(&mut self) {
        let open = self.shared.counts().open;
        self.beside.iter_mut().for_each(|beside| beside.look_at_processes(open));
        self.rss_full = own_rss_bytes().map(|bytes| (bytes, self.shared.counts().open));
        let begun = Instant::now();
        let before = self.shared.counts().messages;
        self.enter(Task::Prove);
        self.give_turns();
        let stopping = self.must_stop();
        let until = stopping.then(|| begun + DRAIN / 2);
        let woken = self.await_the_proof(until, stopping);
        if self.is_aborted() && !self.shared.everybody_done() {
            return;
        }
        if woken == Woken::Stop {
            let done = |c: &Self| c.shared.everybody_done() || c.is_aborted();
            self.wait(Some(Instant::now() + DRAIN), true, done);
        }
        if !self.shared.everybody_done() {
            self.shared.cut(Loss::Aborted);
            self.wait(Some(Instant::now() + DRAIN), true, |c| c.shared.everybody_done());
        }
        let answered = self.shared.counts().messages - before;
        let seconds = begun.elapsed().as_secs_f64();
        self.messages_per_second =
            (self.course.probe && answered > 0 && seconds > 0.0).then(|| answered as f64 / seconds);
        self.is_proven = true;
    }

    fn close(mut self) -> Finding {
        let signal = self.signals.came();
        self.count_lost_workers();
        let ends = self.server_ends();
        self.look_at_servers_end();
        let missing = ends.as_ref().filter(|_| !self.course.probe).map_or(0, |(seen, _)| seen.missing());
        let held = self.shared.sum(|table| &table.held);
        let short = held.saturating_sub(missing) < self.target;
        let is_its_doing = |name: &str| TAKEN_DOWN.contains(&name) || name == "ECONNREFUSED";
        let taken_down = self.shared.tally().failures().iter().any(|row| is_its_doing(row.outcome.name()));
        let breath = taken_down.then(|| LastBreath::begin(self.shared.counts().open == 0));
        let beside = self.beside.take().map(|beside| beside.end(short, breath));
        let own_end = self.own_end.take().map(OwnEnd::end);
        // What closing sends is no part of what it was for.
        self.link.look();
        let link = std::mem::take(&mut self.link).narrowest();
        // Waiting for the word to stop, after the proof, is no phase of its own.
        if let [.., PhaseTimes { phase: PhaseName::Verify, .. }, PhaseTimes { phase: PhaseName::Hold, .. }] =
            self.phases[..]
        {
            self.phases.pop();
            if let Some(proof) = self.phases.last_mut() {
                proof.to_ms = None;
            }
        }
        let (open, begun) = (self.shared.counts().open, Instant::now());
        let stopped_with = self.close_all();
        self.say_closed(open, begun.elapsed());
        // From the close on nobody counts losses any more, so that the counts and the tally agree.
        let (connections, failures) = self.connections();
        let connections = Connections { open: stopped_with, ..connections };
        self.take_measured();
        let at_ms = self.elapsed_ms();
        self.end_phase(at_ms);
        self.shared.enter(Task::End);
        self.crew.join();
        let evidence = self.evidence();
        let mean = self
            .shared
            .verified_over_us()
            .map(|us| connections.verified.unwrap_or(connections.established) as f64 * 1e6 / us as f64);
        // Where connections came and went, the last of them was no part of the ramp.
        let exchanged = self.worked.iter().any(|worked| worked.churn.is_some());
        let mean = if exchanged { self.ramps.per_second() } else { mean };
        Finding {
            connections,
            failures,
            // A ramp shorter than a tick has its peak within one: no interval is slower than a whole one.
            rate: ConnectRate {
                mean,
                without_pauses: self.ramps.per_second(),
                peak: [self.peak.per_second(), mean, self.ramps.best_per_second()]
                    .into_iter()
                    .flatten()
                    .reduce(f64::max),
            },
            ramps: self.ramps,
            messages_per_second: self.messages_per_second,
            worked: self.worked,
            work_measured: self.work_measured,
            first_connect_unix_ns: self.shared.first_connect_ago().and_then(unix_ns_before),
            phases: self.phases,
            named: self.named,
            gaps: self.gaps.seen,
            state: if stopped_with.is_some() { RunState::Aborted } else { RunState::Complete },
            signal,
            growth_stop: self.shared.why_growth_stopped(),
            tuples_skipped: self.shared.sum(|table| &table.tuples_skipped),
            measured: self.measured,
            rss_full: self.rss_full,
            beside,
            own_end,
            ends,
            link,
            evidence,
        }
    }
}

impl Conductor<'_> {
    /// Closes everything. Where the run is stopped before all is proven it says at once how many are open, and gives
    /// that number. Where all is proven, a signal only makes the close quick.
    fn close_all(&mut self) -> Option<u64> {
        let open = u32::try_from(self.shared.counts().open).unwrap_or(u32::MAX);
        let until = Some(Instant::now() + 2 * DRAIN + LONGEST_CLOSE * open);
        let mut stopped_with = None;
        if self.is_aborted() && !self.is_proven {
            stopped_with = Some(self.abort());
        } else {
            self.enter(Task::Close);
            self.give_turns();
            self.wait(until, true, |c| c.shared.everybody_done() || c.is_aborted());
            if !self.shared.everybody_done() && self.is_aborted() {
                self.abort();
            }
        }
        self.wait(until, true, |c| c.shared.everybody_done());
        stopped_with
    }

    /// Gives everything up, and says how many were open.
    fn abort(&mut self) -> u64 {
        let phase = self.phases.last().map_or(PhaseName::Ramp, |last| last.phase);
        let counts = self.shared.counts();
        self.say_stopped(counts.open);
        self.begin_phase(PhaseName::Close);
        self.shared.abort(phase, self.is_proven);
        self.say_phase(PhaseName::Close, counts);
        self.give_turns();
        counts.open
    }

    fn give_turns(&self) {
        for _ in 0..self.course.turns {
            self.shared.pass_on(Turn::Walk);
        }
    }
}

#[cfg(test)]
mod tests;
