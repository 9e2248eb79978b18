//! Watching a run: ticks, samples, the marks between which costs are counted.

use std::time::{Duration, Instant};

use c10k_collector::{Collector, Levels, LinkWatch, MemorySnapshot, Observation, Side, Standstill};
use c10k_kernel::cgroup::PidsSeen;
use c10k_kernel::counters::host_wide::NeighboursReader;
use c10k_record::{LiveCounts, Sample, ServerReport};

use crate::collect::far::FarEnd;
use crate::collect::outside::Outside;

/// Between two rows of samples.csv.
pub(crate) const TICK: Duration = Duration::from_millis(250);

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
    /// The swarm's end, when the collector does not see it.
    far: Option<FarEnd>,
    begun: Instant,
    last_tick: Option<Instant>,
    /// Echoes received until the last row.
    messages: u64,
    pub(crate) samples: Vec<Sample>,
    pub(crate) last: Option<Observation>,
    pub(crate) levels: Levels,
    /// What lies between the ends; nothing until it is known.
    pub(crate) link: LinkWatch,
    is_closing: bool,
    /// What a server that is not ours shows from outside.
    pub(crate) outside: Option<Outside>,
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
    pub(crate) counts: &'a LiveCounts,
    /// By the server's own word at the same moment.
    pub(crate) accepted: Option<u64>,
}

impl Watch {
    pub(crate) fn new(collector: Collector, far: Option<FarEnd>, is_foreign: bool) -> Self {
        Self {
            collector,
            far,
            link: LinkWatch::default(),
            is_closing: false,
            begun: Instant::now(),
            last_tick: None,
            messages: 0,
            samples: Vec::new(),
            last: None,
            levels: Levels::default(),
            outside: is_foreign.then(Outside::default),
            stall: Standstill::default(),
            accepted_stalled: false,
        }
    }

    /// Looks at the tables of neighbours by files that were opened before this process entered a namespace, in which they
    /// are not shown.
    pub(crate) fn look_at_neighbours_by(&mut self, opened: NeighboursReader) {
        self.collector.look_at_neighbours_by(opened);
    }

    /// How long until the next row is due; nothing when it is.
    pub(crate) fn due_in(&self, now: Instant) -> Duration {
        self.last_tick.map_or(Duration::ZERO, |last| (last + TICK).saturating_duration_since(now))
    }

    /// Takes a row: the counts as they were said at its moment, and what is seen now. `server` is what the server said
    /// last, of this moment or of an earlier one.
    pub(crate) fn tick(&mut self, counted: &Counted<'_>, server: Option<&ServerReport>) -> Sample {
        let Counted { at: now, phase, counts, accepted } = *counted;
        let seen = self.look();
        let mut row = Sample {
            elapsed_ms: now.duration_since(self.begun).as_millis() as u64,
            phase: phase.to_owned(),
            attempted: Some(counts.attempted),
            established: Some(counts.established),
            accepted,
            verified: Some(counts.verified),
            open: Some(counts.open),
            failed: Some(counts.failed),
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
        self.levels.look(&seen);
        match &mut self.outside {
            // What it does when the close makes room for who waits is nothing that the run met.
            Some(_) if self.is_closing => {}
            // What such a server has accepted is told by its signs.
            Some(outside) => outside.look(&seen, self.collector.pid(Side::Server)),
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
        self.is_closing = true;
    }

    /// Looks beside the ticks, at what may be gone by the next: the groups of a server that has just ended.
    pub(crate) fn look_at_what_is_left(&mut self) {
        let seen = self.look();
        self.levels.look(&seen);
    }

    fn look_for_a_stall(&mut self, seen: &Observation, server: Option<&ServerReport>, now: Instant) {
        let full =
            seen.listener.is_some_and(|l| l.backlog.is_some_and(|most| most > 0 && l.accept_queue >= most));
        let accepted = full.then(|| server.map_or(0, |server| server.accepted));
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
        Mark { open, memory: self.collector.snapshot(), seen: self.look() }
    }

    /// Looks beside the rows.
    pub(crate) fn look(&mut self) -> Observation {
        let mut seen = self.collector.tick();
        if let Some(far) = &mut self.far {
            far.add_to(&mut seen);
        }
        seen
    }

    pub(crate) fn settle(&mut self, longest: Duration) {
        self.collector.settle(longest);
    }

    /// Established sockets at the server's side and at the client's, by sock_diag; either is `None` where it
    /// cannot be seen.
    pub(crate) fn established(&mut self) -> (Option<u64>, Option<u64>) {
        let near = self.collector.census().ok();
        let client_side = match &mut self.far {
            Some(far) => far.established(),
            None => near.as_ref().map(|census| census.client_side),
        };
        if let (Some(outside), Some(census)) = (&mut self.outside, &near) {
            outside.census = Some((census.server_side, census.not_accepted));
        }
        (near.map(|census| census.server_side), client_side)
    }

    /// The pids cgroup of the two ends that had the fewest threads left.
    pub(crate) fn fewest_threads(&self) -> Option<&PidsSeen> {
        self.collector.fewest_threads()
    }

    /// The file with the quota that held the server back.
    pub(crate) fn server_cpu_quota(&self) -> Option<String> {
        self.collector.server_cpu_quota()
    }

    /// Whether the server's process was found to have ended.
    pub(crate) fn server_is_gone(&self) -> bool {
        self.collector.is_gone(Side::Server)
    }

    /// What cannot be read here, in words.
    pub(crate) fn unreadable(&self) -> Vec<String> {
        self.collector.unreadable().iter().map(ToString::to_string).collect()
    }
}
