//! What the two processes of a run have said.

use std::collections::BTreeMap;
use std::time::Instant;

use c10k_record::metrics::LatencyFigures;
use c10k_record::{
    Connections, Cpu, LiveCounts, Outcome, PhaseName, Record, ServerEvent, ServerReport, SwarmEvent, WorkTick,
};

use crate::lead::moment::Moment;

/// What both ends have said so far.
pub(crate) struct Said {
    /// How both stand at the moment of a row.
    pub(crate) moment: Moment,
    pub(crate) server: ServerSaid,
    pub(crate) swarm: SwarmSaid,
}

/// The server's word.
#[derive(Default)]
pub(crate) struct ServerSaid {
    /// How it stands, as it said last.
    pub(crate) last: Option<ServerReport>,
    /// How often it has said how it stands.
    pub(crate) words: u64,
    /// It has said its last word.
    pub(crate) is_done: bool,
    /// What it said after the proof and before the close, where it did: what is queued is accepted once there is room
    /// again.
    pub(crate) at_proof: Option<ServerReport>,
}

/// The swarm's word.
pub(crate) struct SwarmSaid {
    pub(crate) counts: LiveCounts,
    pub(crate) phase: Option<PhaseName>,
    /// Those lost so far, by cause.
    pub(crate) lost: BTreeMap<Outcome, u64>,
    /// What its workload came to between its last two ticks; `None` where there is none under way.
    pub(crate) work: Option<WorkTick>,
    /// What it has measured so far.
    pub(crate) latencies: LatencyFigures,
    pub(crate) verified: Option<Connections>,
    /// When it had verified, ms after the first connect.
    pub(crate) verified_at_ms: u64,
    /// Its last word.
    pub(crate) record: Option<Box<Record>>,
    /// It ended without a last word.
    pub(crate) record_is_lost: bool,
    /// What it says of its processor time.
    pub(crate) cpu: Option<Cpu>,
    /// When it was last heard; it ticks a few times a second.
    pub(crate) heard_at: Instant,
}

/// What of it the rest of the lab has to act on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Nothing,
    /// So many ms have passed since the first connect.
    Elapsed(u64),
    /// The swarm has begun to close with so many open.
    Closing(u64),
}

impl Said {
    /// Before anybody has said anything.
    pub(crate) fn nothing() -> Self {
        Self {
            moment: Moment::default(),
            server: ServerSaid::default(),
            swarm: SwarmSaid {
                counts: LiveCounts::default(),
                phase: None,
                lost: BTreeMap::new(),
                work: None,
                latencies: LatencyFigures::default(),
                verified: None,
                verified_at_ms: 0,
                record: None,
                record_is_lost: false,
                cpu: None,
                heard_at: Instant::now(),
            },
        }
    }

    /// The server says something.
    pub(crate) fn by_server(&mut self, event: ServerEvent) {
        match event {
            ServerEvent::Now(report) => {
                self.moment.server_says(&report);
                self.server.words += 1;
                self.server.last = Some(report);
            }
            ServerEvent::Tick(report) => {
                self.server.words += 1;
                self.server.last = Some(report);
            }
            ServerEvent::Done(report) => {
                self.server.is_done = true;
                self.server.last = Some(report);
            }
            ServerEvent::Ready { .. } => {}
        }
    }

    /// The swarm says something.
    pub(crate) fn by_swarm(&mut self, event: SwarmEvent) -> Told {
        let swarm = &mut self.swarm;
        swarm.heard_at = Instant::now();
        match event {
            SwarmEvent::Ready { .. } => {}
            SwarmEvent::Phase { phase, counts, .. } => {
                (swarm.phase, swarm.counts) = (Some(phase), counts);
                if phase == PhaseName::Close {
                    return Told::Closing(counts.open);
                }
            }
            SwarmEvent::Now { phase, counts, elapsed_ms } => {
                self.moment.swarm_says(phase, counts);
                (swarm.phase, swarm.counts) = (Some(phase), counts);
                return Told::Elapsed(elapsed_ms);
            }
            SwarmEvent::Tick { phase, counts, elapsed_ms, lost, work, latencies } => {
                (swarm.phase, swarm.counts) = (Some(phase), counts);
                (swarm.lost, swarm.work) = (lost, work);
                if let Some(latencies) = latencies {
                    swarm.latencies = *latencies;
                }
                return Told::Elapsed(elapsed_ms);
            }
            SwarmEvent::Verified { connections, elapsed_ms } => {
                (swarm.verified, swarm.verified_at_ms) = (Some(connections), elapsed_ms);
            }
            // The record has it.
            SwarmEvent::Worked { .. } => {}
            SwarmEvent::Done { record } => swarm.record = Some(record),
        }
        Told::Nothing
    }
}

impl SwarmSaid {
    /// The phase in which it is, in words.
    pub(crate) fn phase_in_words(&self) -> String {
        self.phase.map_or_else(|| "the start".to_owned(), |phase| format!("the {phase}"))
    }
}
