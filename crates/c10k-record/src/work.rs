//! What a workload measured: one entry for each phase in which connections did something.

use serde::{Deserialize, Serialize};

use crate::{Latencies, LatencySummary, PhaseKind};

/// What came of one phase of a workload.
///
/// Three times of a message are told apart: *lateness* (actual − intended start, as far as that is the swarm's own),
/// *service* (answer − actual start) and *response* (answer − intended start). In a closed loop nothing is intended:
/// lateness is `None`, and response is the same as service.
///
/// A connection has one message in flight. One that is due meanwhile waits for the answer, which is the server's affair
/// and no lateness: it is late only by what lies behind the moment at which that answer would have come if the swarm had
/// sent on time before. Its response counts from its intended start all the same. One that was due before the end of the
/// phase, and that the swarm did not come to, is late by its age at the end.
///
/// In a `hold` the messages are the beats.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Worked {
    /// The phase's name in the plan; the workload's where the plan names none.
    pub name: String,
    /// What was done.
    pub kind: PhaseKind,
    /// Its begin, milliseconds since the first connect.
    pub from_ms: u64,
    /// Its end.
    pub to_ms: u64,
    /// Connections open when it began.
    pub connections: u64,
    /// Messages that should have been sent in it (`echo`, open loop); `None` in a closed loop.
    pub messages_intended: Option<u64>,
    /// Messages that were sent.
    pub messages_sent: u64,
    /// Messages that were answered right, or received whole and right where the server speaks first.
    pub messages_answered: u64,
    /// Messages that were due and not sent within a second, or before the end of the phase; in `churn` exchanges that were
    /// due and not begun before the end.
    pub messages_not_sent_in_time: u64,
    /// Of these, the messages that were never sent: the phase or their connection ended before, or so many waited on their
    /// connection that those behind were given up. Each counts in `response_us` with its age then: its answer would have
    /// come no earlier.
    #[serde(default)]
    pub messages_never_sent: u64,
    /// Answers with other bytes than expected.
    pub messages_wrong: u64,
    /// Messages a second that were answered.
    pub messages_per_second: Option<f64>,
    /// From the intended start of a message to the end of its answer, or to when it was given up unsent, µs.
    pub response_us: LatencySummary,
    /// From the actual start of a message to the end of its answer, µs.
    pub service_us: LatencySummary,
    /// From the intended start of a message to the actual one, µs, without the wait for the answer before it.
    pub lateness_us: Option<LatencySummary>,
    /// The same over time, about one a second.
    pub over_time: Vec<WorkedSlice>,
    /// What came and went.
    pub churn: Option<Churned>,
    /// What was played.
    pub stream: Option<Streamed>,
    /// How the one message went to all.
    pub fanout: Option<FannedOut>,
    /// Processor time of the server in it, cores; `None` where it cannot be read.
    pub server_cores: Option<f64>,
    /// Processor time of the swarm in it, cores.
    pub swarm_cores: Option<f64>,
}

/// Less lateness than this is nobody's concern, µs.
const LATE_US: u64 = 1000;

impl Worked {
    /// Where the swarm's own lateness is what makes responses long: how late it was with one message in a hundred, and that
    /// is a half of their response or more.
    #[must_use]
    pub fn own_lateness_us(&self) -> Option<u64> {
        let (late_us, response_us) = (self.lateness_us.as_ref()?.p99?, self.response_us.p99?);
        (late_us >= LATE_US && late_us * 2 >= response_us).then_some(late_us)
    }
}

/// One phase of a plan that names its phases, as the lab led it.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NamedPhase {
    /// Its name in the plan.
    pub name: String,
    /// What was done in it.
    pub kind: PhaseKind,
    /// Its begin, milliseconds since the first connect.
    pub from_ms: u64,
    /// Its end.
    pub to_ms: u64,
    /// Connections that were to be open when it ended; `None` where the phase changes none.
    pub target: Option<u64>,
    /// Connections that were to be begun in it.
    pub arrivals_planned: u64,
    /// Connections begun in it.
    pub arrivals: u64,
    /// Connections lost in it.
    pub failed: u64,
    /// Connections open when it ended.
    pub open: u64,
    /// Connections verified (established, without probes) a second, of the time in which connecting was under way;
    /// `None` where nobody connected.
    pub connects_per_second: Option<f64>,
    /// Processor time of the server in it, cores; `None` where it cannot be read.
    pub server_cores: Option<f64>,
    /// Processor time of the swarm in it, cores.
    pub swarm_cores: Option<f64>,
}

/// One slice of a phase.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WorkedSlice {
    /// Its begin, milliseconds since the first connect.
    pub from_ms: u64,
    /// Its end.
    pub to_ms: u64,
    /// Messages answered a second in it; in `churn` new connections verified.
    pub messages_per_second: f64,
    /// Median of the response, µs.
    pub response_p50_us: Option<u64>,
    /// 99th percentile of the response, µs.
    pub response_p99_us: Option<u64>,
    /// 99th percentile of the swarm's own lateness, µs.
    pub lateness_p99_us: Option<u64>,
}

/// What `churn` saw.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Churned {
    /// Connections closed on purpose.
    pub closed: u64,
    /// Connections opened in their place and verified.
    pub reopened: u64,
    /// Of the reconnects, those that were lost before they were verified.
    pub failed: u64,
    /// Cycles a second: closed, opened again and verified.
    pub cycles_per_second: Option<f64>,
    /// Most sockets in TIME_WAIT at the swarm's end.
    pub time_wait_client_peak: Option<u64>,
    /// Most sockets in TIME_WAIT at the server's end.
    pub time_wait_server_peak: Option<u64>,
    /// Cycles that were due before the end of the phase and were not begun.
    #[serde(default)]
    pub not_begun: u64,
    /// Times that no tuple was free when one was wanted: each had to wait for TIME_WAIT.
    pub waits_for_a_port: u64,
    /// Latencies of the reconnects.
    pub latency_us: Latencies,
}

/// What `stream` saw.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Streamed {
    /// Connections that were to receive a stream.
    pub viewers: u64,
    /// Those that got all of it, in order and right.
    pub whole: u64,
    /// Those that had at least one stall: a second's worth of play-out buffer ran empty.
    pub stalled_viewers: u64,
    /// Stalls of all of them.
    pub stalls: u64,
    /// How long stalls were, µs.
    pub stall_us: LatencySummary,
    /// From the request of a stream to its first byte, µs.
    pub start_up_us: LatencySummary,
    /// Bytes received.
    pub bytes: u64,
    /// Bits a second received by all of them together.
    pub bits_per_second: Option<f64>,
    /// Streams with wrong bytes, or bytes out of order.
    pub wrong: u64,
}

/// What `fanout` saw. Times count from one reading of the clock at the server, just before its first write.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FannedOut {
    /// Messages that were sent to all.
    pub rounds: u64,
    /// Connections that were to receive each.
    pub receivers: u64,
    /// Receipts that are missing: messages × receivers − received.
    pub missing: u64,
    /// Of all receipts, µs.
    pub receipt_us: LatencySummary,
    /// Of each message its first receiver, µs.
    pub first_receiver_us: LatencySummary,
    /// Of each message its median receiver, µs.
    pub median_receiver_us: LatencySummary,
    /// Of each message the 99th of a hundred, µs.
    pub p99_receiver_us: LatencySummary,
    /// Of each message its last receiver, µs.
    pub last_receiver_us: LatencySummary,
}
