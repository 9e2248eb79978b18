//! One run over the box: its state, and which of its parts each event is for.
//!
//! The box refuses by its settings alone and notes each time under the name of the limit ([`Sim::refused_by`]): that is
//! what really happened, against which the diagnosis is held. It knows nothing of what the diagnosis asks for.

use std::collections::{BTreeMap, VecDeque};

use c10k_ceiling::ServerEnd;
use c10k_record::{GrowthEvidence, GrowthStop, PhaseName};

use crate::abroad::Seen;
use crate::chance::Chance;
use crate::clock::{Clock, Event, MS};
use crate::scenario::{Fate, Scenario};

/// Between two rows of the lab.
const ROW_US: u64 = 250 * MS;
/// So long must a full queue stand still to be told as a stall: the collector's, which makes that finding.
const STALL_US: u64 = 2_000 * MS;

/// Where a connection stands at the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AtClient {
    Connecting,
    Established,
    Verified,
    /// Asked once more at the end.
    Asked,
    Held,
    Lost,
    Released,
}

/// Where it stands at the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AtServer {
    Unknown,
    HalfOpen,
    Queued,
    Accepted,
    Closed,
}

/// One connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Connection {
    /// Connections that were begun before it.
    pub(crate) number: u64,
    pub(crate) at_client: AtClient,
    pub(crate) at_server: AtServer,
    pub(crate) begun_us: u64,
    pub(crate) intended_us: u64,
    pub(crate) asked_us: u64,
    /// SYNs sent, and after them the last ACK.
    pub(crate) tries: u32,
    pub(crate) is_tracked: bool,
    pub(crate) was_lost_before: bool,
    /// When its last echo came.
    pub(crate) last_byte_us: u64,
    /// What was sent last is not acknowledged.
    pub(crate) is_unacked: bool,
    /// A rule counts it.
    pub(crate) is_ruled: bool,
    /// The process of the server that has it.
    pub(crate) process: u32,
}

/// A thread that does one thing after the other.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Worker {
    pub(crate) free_at_us: u64,
    /// Processor time used in this phase, µs.
    pub(crate) used_us: u64,
    /// Periods of 100 ms in which a quota held it back.
    pub(crate) throttled: u64,
}

/// The kernel's counters, and the levels at their highest.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counted {
    pub(crate) listen_overflows: u64,
    pub(crate) listen_drops: u64,
    pub(crate) listener_drops: u64,
    pub(crate) syn_retransmits: u64,
    pub(crate) req_queue_full_drop: u64,
    pub(crate) req_queue_full_cookies: u64,
    pub(crate) softnet_dropped: u64,
    pub(crate) conntrack_dropped: u64,
    pub(crate) out_no_routes: u64,
    pub(crate) conntrack: u64,
    pub(crate) table_fulls: u64,
    pub(crate) neighbours: u64,
    pub(crate) link_dropped: u64,
    pub(crate) link_busiest_bits: u64,
    pub(crate) abort_on_memory: u64,
    pub(crate) memory_pressures: u64,
    pub(crate) tcp_mem_pages: u64,
    pub(crate) orphans: u64,
    pub(crate) time_wait: u64,
    pub(crate) time_wait_overflow: u64,
    pub(crate) group_bytes: u64,
    pub(crate) group_failures: u64,
    pub(crate) group_oom_kills: u64,
    pub(crate) oom_kills: u64,
    pub(crate) files: u64,
    pub(crate) accept_queue: u64,
    pub(crate) server_threads_refused: u64,
    pub(crate) swarm_threads_refused: u64,
    /// Data of the client that was sent again.
    pub(crate) data_retransmits: u64,
    /// Packets by the kernel's reason.
    pub(crate) dropped: BTreeMap<&'static str, u64>,
}

/// The server's side.
#[derive(Clone, Debug, Default)]
pub(crate) struct Server {
    pub(crate) worker: Worker,
    pub(crate) queue: VecDeque<u32>,
    pub(crate) half_open: u64,
    pub(crate) accepted: u64,
    pub(crate) open: u64,
    pub(crate) peak: u64,
    pub(crate) tables: u64,
    pub(crate) paused: u64,
    pub(crate) is_paused: bool,
    /// An event for the next accept is due.
    pub(crate) is_woken: bool,
    pub(crate) is_stopped: bool,
    /// Not before then does it go to its queue.
    pub(crate) looks_again_us: u64,
    pub(crate) end: Option<ServerEnd>,
    pub(crate) accept_errors: BTreeMap<&'static str, u64>,
}

/// The swarm's side.
#[derive(Clone, Debug, Default)]
pub(crate) struct Swarm {
    pub(crate) worker: Worker,
    pub(crate) attempted: u64,
    pub(crate) established: u64,
    pub(crate) verified: u64,
    pub(crate) held: u64,
    pub(crate) released: u64,
    /// Open at the client.
    pub(crate) open: u64,
    pub(crate) in_flight: u64,
    pub(crate) tables: u64,
    pub(crate) is_waiting: bool,
    /// When connects began to be paced by the rate, and how many had been tried before.
    pub(crate) paced_since: (u64, u64),
    pub(crate) failed_in_a_row: u64,
    pub(crate) lost: BTreeMap<(PhaseName, &'static str), (u64, u64)>,
    pub(crate) growth_stopped: Option<GrowthStop>,
    pub(crate) growth_evidence: Option<GrowthEvidence>,
    /// Closed by its FIN, and so in TIME_WAIT.
    pub(crate) closed_by_fin: u64,
    pub(crate) connect_us: Vec<u64>,
    pub(crate) response_us: Vec<u64>,
    pub(crate) first_echo_us: Vec<u64>,
    pub(crate) echo_us: Vec<u64>,
    pub(crate) late_us: Vec<u64>,
    pub(crate) last_verified_us: u64,
    /// The next to be asked in the proof at the end.
    pub(crate) next_to_ask: usize,
    pub(crate) target: u64,
}

/// A run.
#[derive(Debug)]
pub(crate) struct Sim<'a> {
    pub(crate) scenario: &'a Scenario,
    pub(crate) chance: Chance,
    pub(crate) clock: Clock,
    pub(crate) phase: PhaseName,
    pub(crate) connections: Vec<Connection>,
    pub(crate) counted: Counted,
    pub(crate) server: Server,
    pub(crate) swarm: Swarm,
    pub(crate) softirq: Worker,
    pub(crate) link_free_at_us: u64,
    pub(crate) link_bits: u64,
    pub(crate) link_second: u64,
    pub(crate) files: u64,
    pub(crate) watches: u64,
    pub(crate) pids: u64,
    pub(crate) memory_bytes: u64,
    /// Sources that have an entry in the table of neighbours.
    pub(crate) neighbours: Vec<bool>,
    /// Since when the full queue has had the same count accepted.
    pub(crate) stall: Option<(u64, u64)>,
    /// The collector calls no shorter pause a stall.
    patience_us: u64,
    pub(crate) accepted_stalled: bool,
    /// What each phase used: server, swarm, softirq, and how long it was, µs.
    pub(crate) loads: BTreeMap<PhaseName, [u64; 4]>,
    pub(crate) phase_since_us: u64,
    /// Which limit refused or dropped something, when first, and how often.
    pub(crate) refusals: BTreeMap<&'static str, (u64, u64)>,
    /// What is other people's, as it went.
    pub(crate) abroad: Seen,
}

impl<'a> Sim<'a> {
    fn new(scenario: &'a Scenario) -> Self {
        let world = &scenario.world;
        Self {
            scenario,
            chance: Chance::of(scenario.seed ^ 0x5eed),
            clock: Clock::default(),
            phase: PhaseName::Ramp,
            connections: Vec::with_capacity(scenario.target as usize),
            counted: Counted {
                time_wait: world.time_wait,
                listen_overflows: world.others_overflow,
                listen_drops: world.others_overflow,
                softnet_dropped: world.others_dropped,
                ..Counted::default()
            },
            server: Server { tables: 1, ..Server::default() },
            swarm: Swarm { tables: 1, target: scenario.target, ..Swarm::default() },
            softirq: Worker::default(),
            link_free_at_us: 0,
            link_bits: 0,
            link_second: 0,
            files: world.files_used,
            watches: 2,
            pids: world.pids_used + 2,
            memory_bytes: world.memory_used_bytes,
            neighbours: vec![false; scenario.settings.sources as usize],
            stall: None,
            patience_us: 0,
            accepted_stalled: false,
            loads: BTreeMap::new(),
            phase_since_us: 0,
            refusals: BTreeMap::new(),
            abroad: Seen::default(),
        }
    }

    /// Carries it out to its end.
    pub(crate) fn run(scenario: &'a Scenario) -> Self {
        let mut sim = Self::new(scenario);
        sim.server.half_open = scenario.world.half_open;
        sim.counted.neighbours = scenario.world.neighbours_used;
        sim.counted.conntrack = scenario.world.conntrack_used;
        sim.counted.group_bytes = scenario.world.group_used_bytes;
        sim.clock.at(0, Event::Arrive);
        sim.clock.at(ROW_US, Event::Tick);
        // The last look is before the close.
        while let Some(event) = sim.clock.next().filter(|_| sim.phase != PhaseName::Close) {
            sim.carry_out(event);
        }
        sim
    }

    fn carry_out(&mut self, event: Event) {
        match event {
            Event::Arrive => self.arrive(),
            Event::SynAgain(c) => self.syn_again(c),
            Event::SynAtListener(c) => self.syn_at_listener(c),
            Event::SynAckAtClient(c) => self.syn_ack_at_client(c),
            Event::AckAtListener(c) => self.ack_at_listener(c),
            Event::ResetAtClient(c) => self.reset_at_client(c),
            Event::Accept => self.accept(),
            Event::ProbeAtServer(c) => self.probe_at_server(c),
            Event::EchoAtClient(c) => self.echo_at_client(c),
            Event::ConnectTimeout(c) => self.connect_timeout(c),
            Event::ProbeTimeout(c) => self.probe_timeout(c),
            Event::TurnedAway(c) => self.turned_away(c),
            Event::Idle(c) => self.idle(c),
            Event::Sample => self.look_at_the_silent(),
            Event::Fate(n) => self.meet(self.scenario.world.fates[n]),
            Event::Tick => self.tick(),
            Event::Verify => self.begin_to_verify(),
        }
    }

    /// Notes that this limit refused or dropped something.
    pub(crate) fn refused_by(&mut self, limit: &'static str) {
        let refusal = self.refusals.entry(limit).or_insert((self.clock.now_us, 0));
        refusal.1 += 1;
    }

    /// A row of the lab's: levels are seen when they are looked at.
    fn tick(&mut self) {
        let queue = self.server.queue.len() as u64;
        let stuck: u64 = self.abroad.stuck.iter().sum();
        self.counted.accept_queue = self.counted.accept_queue.max(queue + stuck);
        // A server that says nothing stands still where anybody waits.
        let is_foreign = self.scenario.world.abroad.is_foreign;
        let enough = if is_foreign { 1 } else { self.scenario.settings.queue_length() };
        let is_full = queue + stuck >= enough && self.server.end.is_none();
        let (now, accepted) = (self.clock.now_us, self.server.accepted);
        self.stall = match self.stall {
            Some((since, then)) if is_full && then == accepted => Some((since, then)),
            was => {
                // Who goes on after a pause is slow, and has not stopped until one is three times as long.
                if let Some((since, _)) = was.filter(|(since, _)| now - since >= STALL_US) {
                    self.patience_us = self.patience_us.max(3 * (now - since));
                    self.accepted_stalled = false;
                }
                is_full.then_some((now, accepted))
            }
        };
        let lasts = |(since, _): (u64, u64)| now - since >= self.patience_us.max(STALL_US);
        self.accepted_stalled |= self.stall.is_some_and(lasts);
        if self.phase != PhaseName::Close {
            self.clock.after(ROW_US, Event::Tick);
        }
    }

    /// The next phase, with what this one used.
    pub(crate) fn enter(&mut self, phase: PhaseName) {
        let now = self.clock.now_us;
        let used = |worker: &mut Worker| std::mem::take(&mut worker.used_us);
        let load = [
            used(&mut self.server.worker),
            used(&mut self.swarm.worker),
            used(&mut self.softirq),
            now - self.phase_since_us,
        ];
        self.loads.insert(self.phase, load);
        (self.phase, self.phase_since_us) = (phase, now);
    }

    /// What is to happen once the server has accepted so many.
    pub(crate) fn fates_of_accepting(&mut self) {
        for (number, fate) in self.scenario.world.fates.iter().enumerate() {
            if let Fate::Ends { after, .. } | Fate::Stops { after } = fate
                && *after == self.server.accepted
            {
                self.clock.after(0, Event::Fate(number));
            }
        }
    }

    /// One thing after another: when this worker has done so much more, with the scheduler's share.
    pub(crate) fn work(&mut self, whose: Whose, work_us: u64) -> u64 {
        let world = &self.scenario.world;
        let held_back = if self.chance.per_mille(world.jitter_per_mille) {
            self.chance.between(0, world.jitter_us)
        } else {
            0
        };
        let now = self.clock.now_us;
        let (worker, quota) = match whose {
            Whose::Server => (&mut self.server.worker, world.server_quota),
            Whose::Swarm => (&mut self.swarm.worker, world.swarm_quota),
        };
        let lasts = quota.map_or(work_us, |percent| work_us * 100 / percent);
        let begins = worker.free_at_us.max(now);
        worker.free_at_us = begins + lasts + held_back;
        worker.used_us += work_us;
        if quota.is_some() {
            worker.throttled += worker.free_at_us / (100 * MS) - begins / (100 * MS);
        }
        let done = worker.free_at_us;
        if world.one_processor {
            // What one end uses the other one waits for.
            let other = match whose {
                Whose::Server => &mut self.swarm.worker,
                Whose::Swarm => &mut self.server.worker,
            };
            other.free_at_us = other.free_at_us.max(done);
        }
        done
    }
}

/// Which end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    Server,
    Swarm,
}
