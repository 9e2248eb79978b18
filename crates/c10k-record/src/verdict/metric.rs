//! What a verdict can be about, in which unit, and which way is better.

use std::fmt;

use crate::LatencySummary;

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
    /// Connections a second, from the first connect to the last proof.
    ConnectsPerSecond,
    /// A percentile of a latency.
    Latency(LatencyKind, Percentile),
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
    /// Of the echo at the end of the hold.
    Echo,
    /// The swarm's own: from the intended start of a connect to the actual one.
    Lateness,
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

const KINDS: [(LatencyKind, &str); 6] = [
    (LatencyKind::Connect, "connect"),
    (LatencyKind::ConnectResponse, "connect_response"),
    (LatencyKind::Handshake, "handshake"),
    (LatencyKind::FirstEcho, "first_echo"),
    (LatencyKind::Echo, "echo"),
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
const OTHERS: [(Metric, &str); 5] = [
    (Metric::Held, "held"),
    (Metric::Verified, "verified"),
    (Metric::Failed, "failed"),
    (Metric::Ghosts, "ghosts"),
    (Metric::ConnectsPerSecond, "connects_per_second"),
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
            Self::Held | Self::Verified | Self::ConnectsPerSecond => Better::More,
            Self::Failed | Self::Ghosts | Self::Latency(..) => Better::Less,
        }
    }

    /// Whether it is a number of connections.
    #[must_use]
    pub fn is_a_count(self) -> bool {
        !matches!(self, Self::ConnectsPerSecond | Self::Latency(..))
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
        let others: Vec<&str> = OTHERS.iter().map(|(_, name)| *name).collect();
        let kinds = names(KINDS.iter().map(|(_, name)| *name).collect(), "or");
        let percentiles = names(PERCENTILES.iter().map(|(_, name)| *name).collect(), "or");
        format!("{}, and {kinds} with _ and {percentiles}", others.join(", "))
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
