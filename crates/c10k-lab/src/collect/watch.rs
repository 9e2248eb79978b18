//! Watching a run: ticks, samples, the marks between which costs are counted.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use c10k_collector::{
    Collector, EndedProcess, LastBreath, Levels, LinkWatch, MemorySnapshot, Observation, PerEnd, ProcessSide,
    Standstill,
};
use c10k_kernel::cgroup::PidsSeen;
use c10k_kernel::counters::host_wide::NeighboursReader;
use c10k_record::{DropReasons, LiveCounts, Outcome, RampRow, Sample, ServerReport};

use crate::collect::outside::Outside;
use crate::collect::source::FarSource;

/// Between two rows of samples.csv.
pub(crate) const TICK: Duration = Duration::from_millis(250);
/// Between two rows of ramp.csv: the swarm alone is asked for its counts, and nothing else is looked at.
const RAMP_TICK: Duration = Duration::from_millis(25);
/// More rows of a ramp are not taken: it is long enough then for those of samples.csv.
const MOST_RAMP_ROWS: usize = 2_400;

/// A moment whose memory and processor time are kept.
pub(crate) struct Mark {
    /// Connections that the swarm had open then.
    pub(crate) open: u64,
    pub(crate) memory: MemorySnapshot,
    pub(crate) seen: Observation,
}

/// What has been seen of a run.
pub(crate) struct Watch {
    collector: Collector,
    begun: Instant,
    last_tick: Option<Instant>,
    /// Echoes received until the last row.
    messages: u64,
    pub(crate) samples: Vec<Sample>,
    /// The swarm's counts in the ramp.
    pub(crate) ramp: Vec<RampRow>,
    asked_in_ramp: Option<Instant>,
    /// It has not answered yet, and is not asked again before it does.
    is_awaited_in_ramp: bool,
    pub(crate) last: Option<Observation>,
    pub(crate) levels: Levels,
    /// What lies between the ends; nothing until it is known.
    pub(crate) link: LinkWatch,
    is_closing: bool,
    /// What a server that is not ours shows from outside.
    pub(crate) outside: Option<Outside>,
    /// The server's host, where that is another one.
    pub(crate) far: Option<FarSource>,
    /// How many the server had accepted while its queue was full.
    stall: Standstill<u64>,
    /// Accepted stood still with the queue full.
    pub(crate) accepted_stalled: bool,
}

/// The counts of a row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counted<'a> {
    /// When they were asked for.
    pub(crate) at: Instant,
    pub(crate) phase: &'a str,
    /// Of a plan that names its phases.
    pub(crate) phase_name: &'a str,
    pub(crate) counts: &'a LiveCounts,
    /// As the server reports at the same moment.
    pub(crate) accepted: Option<u64>,
    /// Those lost so far, by cause, as the swarm said last.
    pub(crate) lost: &'a BTreeMap<Outcome, u64>,
}

impl Watch {
    pub(crate) fn new(collector: Collector, is_foreign: bool) -> Self {
        Self {
            collector,
            link: LinkWatch::default(),
            is_closing: false,
            begun: Instant::now(),
            last_tick: None,
            messages: 0,
            samples: Vec::new(),
            ramp: Vec::new(),
            asked_in_ramp: None,
            is_awaited_in_ramp: false,
            last: None,
            levels: Levels::default(),
            outside: is_foreign.then(Outside::default),
            far: None,
            stall: Standstill::default(),
            accepted_stalled: false,
        }
    }

    /// Looks at the tables of neighbours by files that were opened before this process entered a namespace, in which they
    /// are not shown.
    pub(crate) fn look_at_neighbours_by(&mut self, opened: NeighboursReader) {
        self.collector.look_at_neighbours_by(opened);
    }

    /// A moment in the time of samples.csv, milliseconds.
    pub(crate) fn ms_at(&self, at: Instant) -> u64 {
        at.saturating_duration_since(self.begun).as_millis() as u64
    }

    /// How long until the next row is due; nothing when it is.
    pub(crate) fn due_in(&self, now: Instant) -> Duration {
        self.last_tick.map_or(Duration::ZERO, |last| (last + TICK).saturating_duration_since(now))
    }

    /// How long until the swarm is to be asked for a row of ramp.csv; `None` when enough have been taken. Shortly before a row
    /// of samples.csv it is not asked: that row has its answer.
    pub(crate) fn due_in_ramp(&self, now: Instant) -> Option<Duration> {
        let due = self
            .asked_in_ramp
            .map_or(Duration::ZERO, |last| (last + RAMP_TICK).saturating_duration_since(now));
        let is_before_a_row = self.due_in(now) < RAMP_TICK;
        let is_enough = self.ramp.len() >= MOST_RAMP_ROWS;
        (!is_enough && !is_before_a_row && !self.is_awaited_in_ramp).then_some(due)
    }

    /// The swarm has been asked.
    pub(crate) fn asked_in_ramp(&mut self, now: Instant) {
        self.asked_in_ramp = Some(now);
        self.is_awaited_in_ramp = true;
    }

    /// The swarm has answered: with its counts in the ramp, or when that is over.
    pub(crate) fn note_in_ramp(&mut self, now: Instant, counts: Option<&LiveCounts>) {
        self.is_awaited_in_ramp = false;
        if let Some(counts) = counts.filter(|_| self.ramp.len() < MOST_RAMP_ROWS) {
            let LiveCounts { attempted, established, verified, open, failed, .. } = *counts;
            let elapsed_ms = now.duration_since(self.begun).as_millis() as u64;
            self.ramp.push(RampRow { elapsed_ms, attempted, established, verified, open, failed });
        }
    }

    /// Takes a row: the counts as they were said at its moment, and what is seen now. `server` is what the server said
    /// last, of this moment or of an earlier one.
    pub(crate) fn tick(&mut self, counted: &Counted<'_>, server: Option<&ServerReport>) -> Sample {
        let Counted { at: now, phase, phase_name, counts, accepted, lost } = *counted;
        let seen = self.look();
        let mut row = Sample {
            elapsed_ms: now.duration_since(self.begun).as_millis() as u64,
            phase: phase.to_owned(),
            phase_name: phase_name.to_owned(),
            attempted: Some(counts.attempted),
            established: Some(counts.established),
            accepted,
            verified: Some(counts.verified),
            open: Some(counts.open),
            failed: Some(counts.failed),
            lost: in_a_cell(lost),
            ..Sample::default()
        };
        if let (Some(before), Some(last)) = (self.samples.last(), self.last_tick) {
            let seconds = now.duration_since(last).as_secs_f64().max(1e-3);
            let echoes = counts.messages.saturating_sub(self.messages);
            row.messages_per_second = Some(echoes as f64 / seconds);
            row.connects_per_second =
                before.established.map(|then| counts.established.saturating_sub(then) as f64 / seconds);
        }
        self.messages = counts.messages;
        seen.fill(&mut row);
        if let Some(far) = &self.far {
            far.fill(&mut row);
        }
        self.levels.look(&seen);
        match &mut self.outside {
            // What it does when the close makes room for who waits is nothing that the run met.
            Some(_) if self.is_closing => {}
            // What such a server has accepted is told by its signs.
            Some(outside) => {
                let far = self.far.as_ref().and_then(|far| far.server_pid);
                outside.look(&seen, self.collector.pid(ProcessSide::Server).or(far));
            }
            None => self.look_for_a_stall(&seen, server, now),
        }
        if !self.is_closing {
            self.link.look();
        }
        self.last_tick = Some(now);
        self.last = Some(seen);
        self.samples.push(row.clone());
        row
    }

    /// From now on the run closes its connections.
    pub(crate) fn close_begins(&mut self) {
        let seen = self.look();
        self.levels.look(&seen);
        self.levels.close_begins();
        if let Some(far) = &mut self.far {
            far.close_begins();
        }
        self.link.look_at_losses();
        self.is_closing = true;
    }

    /// Looks beside the ticks, at what may be gone by the next: the groups of a server that has just ended.
    pub(crate) fn look_at_what_is_left(&mut self) {
        let seen = self.look();
        self.levels.look(&seen);
    }

    fn look_for_a_stall(&mut self, seen: &Observation, server: Option<&ServerReport>, now: Instant) {
        let is_full = seen.listener.is_some_and(|listener| listener.is_full());
        let accepted = is_full.then(|| server.map_or(0, |server| server.accepted));
        self.accepted_stalled |= self.stall.look(accepted, now.duration_since(self.begun));
    }

    /// This process did not run for a while: what stood still meanwhile may have done so with it.
    pub(crate) fn after_a_gap(&mut self) {
        self.stall = Standstill::default();
        if let Some(outside) = &mut self.outside {
            outside.signs.after_a_gap();
        }
    }

    /// Keeps this moment: memory as exactly as this user may know it, and the processor time so far.
    pub(crate) fn mark(&mut self, open: u64) -> Mark {
        let memory = self.collector.snapshot();
        let seen = self.look();
        if !self.is_closing {
            self.levels.look_at_drops(&seen);
        }
        Mark { open, memory, seen }
    }

    /// Looks beside the rows.
    pub(crate) fn look(&mut self) -> Observation {
        let here = self.collector.tick();
        match &mut self.far {
            Some(far) => far.with(&here),
            None => here,
        }
    }

    pub(crate) fn await_quiet(&mut self, longest: Duration) {
        self.collector.await_quiet(longest);
    }

    /// Established sockets at the server's side and at the client's, by sock_diag; either is `None` where it
    /// cannot be seen.
    pub(crate) fn established(&mut self) -> PerEnd<Option<u64>> {
        let (established, census) = self.collector.established();
        if let Some(far) = &self.far {
            let (server, not_accepted) = far.established();
            if let Some(outside) = &mut self.outside {
                outside.census = server.zip(not_accepted);
            }
            return PerEnd { server, client: Some(*established.client()) };
        }
        if let (Some(outside), Some(census)) = (&mut self.outside, &census) {
            outside.census = Some((census.server_side, census.not_accepted));
        }
        established
    }

    /// Whether the two ends stand in network namespaces of their own.
    pub(crate) fn is_of_two_places(&self) -> bool {
        self.collector.is_of_two_places()
    }

    /// The pids cgroup of the two ends that had the fewest threads left.
    pub(crate) fn fewest_threads(&self) -> Option<&PidsSeen> {
        self.collector.fewest_threads()
    }

    /// The file with the quota that held the server back.
    pub(crate) fn server_cpu_quota(&self) -> Option<String> {
        self.collector.server_cpu_quota()
    }

    /// Processes of the server that were found to have ended before the close, beyond so many that are known.
    pub(crate) fn ended_beyond(&self, known: usize) -> &[EndedProcess] {
        if self.is_closing {
            return &[];
        }
        if let Some(far) = &self.far {
            return far.ended_beyond(known);
        }
        self.collector.ended_processes().get(known..).unwrap_or_default()
    }

    /// Whether the server's process was found to have ended.
    pub(crate) fn server_is_gone(&self) -> bool {
        self.collector.is_gone(ProcessSide::Server)
    }

    /// Whether a server that has lost all its connections has ended, as was `seen` last.
    pub(crate) fn server_is_over(&self, breath: &LastBreath, seen: &Observation) -> bool {
        breath.is_over(&self.collector, seen)
    }

    /// For what reasons the kernel dropped packets before the close, or why that is not known.
    pub(crate) fn drop_reasons(&self) -> DropReasons {
        self.collector.drop_reasons(&self.levels)
    }

    /// What cannot be read here, in words.
    pub(crate) fn unreadable(&self) -> Vec<String> {
        self.collector.unreadable().iter().map(ToString::to_string).collect()
    }
}

/// `ECONNRESET=3;EMFILE=512`: names of errnos and ours have none of the two signs.
fn in_a_cell(lost: &BTreeMap<Outcome, u64>) -> String {
    let parts: Vec<String> = lost.iter().map(|(outcome, count)| format!("{outcome}={count}")).collect();
    parts.join(";")
}
