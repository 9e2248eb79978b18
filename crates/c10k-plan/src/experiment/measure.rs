//! What is compared: the metrics of verdicts, and a few that only a comparison asks for.

use c10k_record::{Better, LatencyKind, Metric, PhaseKind, Plan, Protocol, Record, Unit};
use c10k_report::stats::{Asked, Wording};

use crate::contradictions::{has_intended_connects, has_intended_times, kinds};

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// A metric that a verdict may be on.
    Known(Metric),
    /// Kernel memory of a connection, both ends together, bytes.
    KernelBytes,
    /// The most sockets in TIME_WAIT that were seen.
    TimeWaitPeak,
    /// Sockets in TIME_WAIT after the close.
    TimeWaitAtEnd,
}

const OWN: [(Measure, &str); 3] = [
    (Measure::KernelBytes, "kernel_bytes"),
    (Measure::TimeWaitPeak, "time_wait_peak"),
    (Measure::TimeWaitAtEnd, "time_wait_at_end"),
];

impl Measure {
    /// The one of this name.
    pub fn named(name: &str) -> Option<Self> {
        let own = OWN.iter().find(|(_, known)| *known == name).map(|(measure, _)| *measure);
        own.or_else(|| Metric::named(name).map(Self::Known))
    }

    /// The names of all there are.
    pub fn names() -> impl Iterator<Item = String> {
        Metric::all().map(|metric| metric.to_string()).chain(OWN.iter().map(|(_, name)| (*name).to_owned()))
    }

    /// What a record says of it; nothing where it was not measured.
    pub fn of(self, record: &Record) -> Option<f64> {
        let memory = &record.memory_per_connection;
        match self {
            Self::Known(metric) => metric.of(record, None),
            Self::KernelBytes => Some(memory.server_kernel_bytes? + memory.client_kernel_bytes?),
            Self::TimeWaitPeak => record.time_wait.peak.map(|count| count as f64),
            Self::TimeWaitAtEnd => record.time_wait.at_end.map(|count| count as f64),
        }
    }

    /// Which way is better.
    pub fn better(self) -> Better {
        match self {
            Self::Known(metric) => metric.better(),
            _ => Better::Less,
        }
    }

    /// Whether a bound fixes it: how many connections there is room for. What else is counted, such as losses, stalls
    /// and sockets in TIME_WAIT, differs from run to run as a rate does.
    pub fn is_exact(self) -> bool {
        matches!(self, Self::Known(Metric::Held | Metric::Verified))
    }

    /// A value with its unit, for people.
    pub fn written(self, value: Option<f64>) -> String {
        self.unit().written(value)
    }

    /// Its unit on an axis.
    pub fn axis_unit(self) -> c10k_report::Unit {
        match self.unit() {
            Unit::Bytes => c10k_report::Unit::Bytes,
            unit => c10k_report::Unit::Of(unit.sign()),
        }
    }

    fn unit(self) -> Unit {
        match self {
            Self::Known(metric) => metric.unit(),
            Self::KernelBytes => Unit::Bytes,
            Self::TimeWaitPeak | Self::TimeWaitAtEnd => Unit::Times,
        }
    }

    /// The kinds of phase in which it is measured; empty where that needs no workload.
    pub(crate) fn workloads(self) -> &'static [PhaseKind] {
        match self {
            Self::Known(metric) => metric.workloads(),
            _ => &[],
        }
    }

    /// What a plan lacks for it: how it would be, and how it is.
    pub(crate) fn lacking(self, plan: &Plan) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Known(metric) => lacks(metric, plan),
            _ => None,
        }
    }

    /// How it is asked for.
    pub fn asked(self, seed: u64) -> Asked {
        let mut asked = match self {
            Self::Known(metric) => Asked::of(metric, seed),
            _ => Asked { better: self.better(), wording: Wording::Amount, is_exact: false, seed },
        };
        asked.is_exact = self.is_exact();
        asked
    }
}

/// What a plan must have, and has not, for this metric to be measured whatever its workload is: how it would be, and how it is.
fn lacks(metric: Metric, plan: &Plan) -> Option<(&'static str, &'static str)> {
    use LatencyKind::{ConnectResponse, Echo, FirstEcho, Handshake, Lateness};
    let Metric::Latency(kind, _) = metric else { return None };
    let echoes = plan.work.beat.is_some() || kinds(plan).contains(&PhaseKind::Echo);
    match kind {
        Handshake if plan.protocol == Protocol::Raw => Some(("over WebSocket", "of raw TCP")),
        Lateness if !has_intended_times(plan) => Some((
            "where connects or messages have an intended time (load.rate, an open loop)",
            "without one",
        )),
        ConnectResponse if !has_intended_connects(plan) => Some(("at a rate (load.rate)", "without one")),
        FirstEcho if !plan.load.probe => Some(("with a probe", "without one")),
        Echo if !plan.load.probe && !echoes => Some(("with a probe", "without one")),
        _ => None,
    }
}

impl std::fmt::Display for Measure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Known(metric) => metric.fmt(f),
            own => f.write_str(OWN.iter().find(|(known, _)| known == own).map_or("", |(_, name)| name)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_measure_is_found_by_its_name() {
        for name in Measure::names() {
            assert_eq!(Measure::named(&name).map(|measure| measure.to_string()), Some(name));
        }
        assert_eq!(Measure::named("speed"), None);
        let mut names: Vec<String> = Measure::names().collect();
        names.sort();
        assert!(names.windows(2).all(|two| two[0] != two[1]), "two measures of one name: {names:?}");
    }

    #[test]
    fn ceilings_alone_are_exact() {
        let exact: Vec<String> = Measure::names()
            .filter(|name| Measure::named(name).is_some_and(|measure| measure.asked(1).is_exact))
            .collect();
        assert_eq!(exact, ["held", "verified"]);
    }
}
