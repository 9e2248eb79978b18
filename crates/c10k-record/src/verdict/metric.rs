//! What a verdict can be about, in which unit, and which way is better.

use std::fmt;

use crate::{LatencySummary, PhaseKind};

/// What a verdict is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    /// Connections held.
    Held,
    /// Connections verified.
    Verified,
    /// Connections lost, under any outcome.
    Failed,
    /// Connections established at the client that the server never accepted.
    Ghosts,
    /// Connections begun.
    Arrivals,
    /// Connections a second, of the time in which connecting was under way: without the pauses between steps and
    /// phases.
    ConnectsPerSecond,
    /// A percentile of a latency.
    Latency(LatencyKind, Percentile),
    /// Messages of a workload that were answered a second; without a workload the echoes of the last proof.
    MessagesPerSecond,
    /// Cycles of `churn` a second: closed, opened again and verified.
    CyclesPerSecond,
    /// How often something of a workload was seen.
    Seen(Seen),
    /// Memory of one connection, bytes.
    Bytes(MemoryOf),
    /// Processor time of the server, cores: in a workload's phase, the most of them; without a workload in the ramp.
    ServerCores,
    /// The same of the swarm.
    SwarmCores,
    /// Processor time of the server in the ramp, for each connection that it accepted, µs.
    ServerTime,
    /// The same of the swarm, for each that it attempted.
    SwarmTime,
}

/// What is counted of a workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Answers with other bytes than expected.
    MessagesWrong,
    /// Messages that were due and not sent in time.
    MessagesNotSentInTime,
    /// `churn`: reconnects that were lost.
    ChurnFailed,
    /// `churn`: times that no port was free.
    WaitsForAPort,
    /// `stream`: viewers with a stall.
    StalledViewers,
    /// `stream`: stalls of all viewers.
    Stalls,
    /// `stream`: viewers that got all of it.
    WholeViewers,
    /// `stream`: streams with wrong bytes.
    StreamsWrong,
    /// `fanout`: receipts that are missing.
    ReceiptsMissing,
}

/// Whose memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryOf {
    /// The server's process.
    ServerUser,
    /// The kernel's, at the server's end.
    ServerKernel,
    /// The swarm's process.
    ClientUser,
    /// The kernel's, at the swarm's end.
    ClientKernel,
}

/// Which latency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LatencyKind {
    /// To connect, from the actual start.
    Connect,
    /// To connect, from the intended start.
    ConnectResponse,
    /// Of the protocol's handshake.
    Handshake,
    /// Of the first echo, right after connecting.
    FirstEcho,
    /// Of an echo: the response of the workload's messages, from their intended start, where there are any; else of the
    /// last proof, at the end of the hold.
    Echo,
    /// Of the workload's messages from their actual start.
    Service,
    /// The swarm's own: from the intended start of a connect or of a message to the actual one, whichever was later.
    Lateness,
    /// `stream`: to the first byte.
    StartUp,
    /// `stream`: of a stall.
    Stall,
    /// `fanout`: of every receipt.
    Receipt,
    /// `fanout`: of the first receiver of a message.
    FirstReceiver,
    /// `fanout`: of the median receiver.
    MedianReceiver,
    /// `fanout`: of the 99th receiver of a hundred.
    P99Receiver,
    /// `fanout`: of the last receiver.
    LastReceiver,
}

/// Which part of all measured values a percentile is above.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Percentile {
    /// The median.
    P50,
    /// 90 %.
    P90,
    /// 95 %.
    P95,
    /// 99 %.
    P99,
    /// 99.9 %.
    P999,
    /// The largest value.
    Max,
}

/// Which way a metric is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    /// The more, the better.
    More,
    /// The less, the better.
    Less,
}

const KINDS: [(LatencyKind, &str); 14] = [
    (LatencyKind::Connect, "connect"),
    (LatencyKind::ConnectResponse, "connect_response"),
    (LatencyKind::Handshake, "handshake"),
    (LatencyKind::FirstEcho, "first_echo"),
    (LatencyKind::Echo, "echo"),
    (LatencyKind::Service, "service"),
    (LatencyKind::StartUp, "start_up"),
    (LatencyKind::Stall, "stall"),
    (LatencyKind::Receipt, "receipt"),
    (LatencyKind::FirstReceiver, "first_receiver"),
    (LatencyKind::MedianReceiver, "median_receiver"),
    (LatencyKind::P99Receiver, "p99_receiver"),
    (LatencyKind::LastReceiver, "last_receiver"),
    (LatencyKind::Lateness, "lateness"),
];
const PERCENTILES: [(Percentile, &str); 6] = [
    (Percentile::P50, "p50"),
    (Percentile::P90, "p90"),
    (Percentile::P95, "p95"),
    (Percentile::P99, "p99"),
    (Percentile::P999, "p999"),
    (Percentile::Max, "max"),
];
const OTHERS: [(Metric, &str); 25] = [
    (Metric::Held, "held"),
    (Metric::Verified, "verified"),
    (Metric::Failed, "failed"),
    (Metric::Ghosts, "ghosts"),
    (Metric::Arrivals, "arrivals"),
    (Metric::ConnectsPerSecond, "connects_per_second"),
    (Metric::MessagesPerSecond, "messages_per_second"),
    (Metric::CyclesPerSecond, "cycles_per_second"),
    (Metric::Seen(Seen::MessagesWrong), "messages_wrong"),
    (Metric::Seen(Seen::MessagesNotSentInTime), "messages_not_sent_in_time"),
    (Metric::Seen(Seen::ChurnFailed), "churn_failed"),
    (Metric::Seen(Seen::WaitsForAPort), "waits_for_a_port"),
    (Metric::Seen(Seen::StalledViewers), "stalled_viewers"),
    (Metric::Seen(Seen::Stalls), "stalls"),
    (Metric::Seen(Seen::WholeViewers), "whole_viewers"),
    (Metric::Seen(Seen::StreamsWrong), "streams_wrong"),
    (Metric::Seen(Seen::ReceiptsMissing), "receipts_missing"),
    (Metric::Bytes(MemoryOf::ServerUser), "server_user_bytes"),
    (Metric::Bytes(MemoryOf::ServerKernel), "server_kernel_bytes"),
    (Metric::Bytes(MemoryOf::ClientUser), "client_user_bytes"),
    (Metric::Bytes(MemoryOf::ClientKernel), "client_kernel_bytes"),
    (Metric::ServerCores, "server_cores"),
    (Metric::SwarmCores, "swarm_cores"),
    (Metric::ServerTime, "server_us_per_connection"),
    (Metric::SwarmTime, "swarm_us_per_connection"),
];

impl Metric {
    /// All there are.
    pub fn all() -> impl Iterator<Item = Self> {
        let latencies = KINDS.iter().flat_map(|(kind, _)| {
            PERCENTILES.iter().map(|(percentile, _)| Self::Latency(*kind, *percentile))
        });
        OTHERS.iter().map(|(metric, _)| *metric).chain(latencies)
    }

    /// The metric of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::all().find(|metric| metric.to_string() == name)
    }

    /// Which way is better.
    #[must_use]
    pub fn better(self) -> Better {
        match self {
            Self::Held | Self::Verified | Self::Arrivals | Self::Seen(Seen::WholeViewers) => Better::More,
            Self::ConnectsPerSecond | Self::MessagesPerSecond | Self::CyclesPerSecond => Better::More,
            Self::Failed | Self::Ghosts | Self::Latency(..) | Self::Seen(_) => Better::Less,
            Self::Bytes(_) | Self::ServerCores | Self::SwarmCores => Better::Less,
            Self::ServerTime | Self::SwarmTime => Better::Less,
        }
    }

    /// Whether it is a number of connections.
    #[must_use]
    pub fn is_a_count(self) -> bool {
        matches!(self, Self::Held | Self::Verified | Self::Failed | Self::Ghosts | Self::Arrivals)
    }

    /// Whether it is a latency or a rate: a machine that is too slow breaks it.
    #[must_use]
    pub fn is_of_time(self) -> bool {
        self.is_a_rate() || matches!(self, Self::Latency(..))
    }

    /// Whether a machine that is too slow breaks it: a latency, a rate, and what of a workload did not come in time.
    #[must_use]
    pub fn breaks_by_slowness(self) -> bool {
        self.is_of_time()
            || matches!(
                self,
                Self::Seen(
                    Seen::StalledViewers
                        | Seen::Stalls
                        | Seen::WholeViewers
                        | Seen::ReceiptsMissing
                        | Seen::MessagesNotSentInTime
                )
            )
    }

    /// Whether it is so many a second.
    #[must_use]
    pub fn is_a_rate(self) -> bool {
        matches!(self, Self::ConnectsPerSecond | Self::MessagesPerSecond | Self::CyclesPerSecond)
    }

    /// The kinds of phase in which it is measured; empty where that needs no workload.
    #[must_use]
    pub fn workloads(self) -> &'static [PhaseKind] {
        use LatencyKind as L;
        use PhaseKind::{Churn, Echo, Fanout, Stream};
        match self {
            Self::CyclesPerSecond | Self::Seen(Seen::ChurnFailed | Seen::WaitsForAPort) => &[Churn],
            Self::Seen(Seen::MessagesWrong) => &[Echo, Fanout],
            Self::Seen(Seen::MessagesNotSentInTime) | Self::Latency(L::Service, _) => &[Echo],
            Self::Seen(Seen::ReceiptsMissing) => &[Fanout],
            Self::Seen(_) | Self::Latency(L::StartUp | L::Stall, _) => &[Stream],
            Self::Latency(
                L::Receipt | L::FirstReceiver | L::MedianReceiver | L::P99Receiver | L::LastReceiver,
                _,
            ) => &[Fanout],
            _ => &[],
        }
    }

    /// Whether it is known of one phase alone.
    #[must_use]
    pub fn is_known_by_phase(self) -> bool {
        use LatencyKind as L;
        !matches!(
            self,
            Self::Verified
                | Self::Ghosts
                | Self::Bytes(_)
                | Self::ServerTime
                | Self::SwarmTime
                | Self::Latency(L::Connect | L::ConnectResponse | L::Handshake | L::FirstEcho, _)
        )
    }

    /// Whether it is about connecting, and not about what comes after.
    #[must_use]
    pub fn is_of_connecting(self) -> bool {
        matches!(
            self,
            Self::ConnectsPerSecond | Self::Latency(LatencyKind::Connect | LatencyKind::ConnectResponse, _)
        )
    }

    /// The names in a few words.
    pub(super) fn names() -> String {
        let names = |list: Vec<&str>, last: &str| match list.split_last() {
            Some((end, rest)) => format!("{} {last} {end}", rest.join(", ")),
            None => String::new(),
        };
        // Those of every run first; what a workload or the box has beside them is in the documentation.
        let is_of_all = |metric: Self| metric.workloads().is_empty();
        let is_first = |metric: Self| metric.is_a_count() || metric == Self::ConnectsPerSecond;
        let others = OTHERS.iter().filter(|(metric, _)| is_first(*metric) && *metric != Self::Arrivals);
        let others: Vec<&str> = others.map(|(_, name)| *name).collect();
        let of_all = |kind: LatencyKind| is_of_all(Self::Latency(kind, Percentile::P50));
        let kinds = KINDS.iter().filter(|(kind, _)| of_all(*kind)).map(|(_, name)| *name);
        let kinds = names(kinds.collect(), "or");
        let percentiles = names(PERCENTILES.iter().map(|(_, name)| *name).collect(), "or");
        format!("{}, {kinds} with _ and {percentiles}; docs/workloads.md", others.join(", "))
    }
}

impl Percentile {
    /// Its value in a summary, µs.
    #[must_use]
    pub fn of(self, summary: LatencySummary) -> Option<u64> {
        match self {
            Self::P50 => summary.p50,
            Self::P90 => summary.p90,
            Self::P95 => summary.p95,
            Self::P99 => summary.p99,
            Self::P999 => summary.p999,
            Self::Max => summary.max,
        }
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Self::Latency(kind, percentile) = self {
            let kind = KINDS.iter().find(|(known, _)| known == kind).map_or("", |(_, name)| name);
            let percentile =
                PERCENTILES.iter().find(|(known, _)| known == percentile).map_or("", |(_, name)| name);
            return write!(f, "{kind}_{percentile}");
        }
        f.write_str(OTHERS.iter().find(|(known, _)| known == self).map_or("", |(_, name)| name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_has_a_name_of_its_own_and_is_found_by_it() {
        let all: Vec<Metric> = Metric::all().collect();
        assert_eq!(all.len(), OTHERS.len() + KINDS.len() * PERCENTILES.len());
        for metric in all {
            assert!(!metric.to_string().is_empty());
            assert_eq!(Metric::named(&metric.to_string()), Some(metric));
        }
        assert_eq!(Metric::named(""), None);
    }
}
