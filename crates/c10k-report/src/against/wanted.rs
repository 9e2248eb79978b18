//! Which figures are compared.

use std::fmt;
use std::str::FromStr;

use c10k_record::{LatencyKind, MemoryOf, Metric, Percentile, Record, nearest};
use thiserror::Error;

/// A metric of a run, or of one of its phases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    phase: Option<String>,
    metric: Metric,
}

/// A text that names no metric.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("there is no metric '{name}'")]
pub struct WantedError {
    name: String,
    nearest: Option<String>,
}

impl WantedError {
    /// What mends it, in a line.
    #[must_use]
    pub fn hint(&self) -> String {
        match &self.nearest {
            Some(near) => format!("did you mean {near}?"),
            None => "names are those of verdicts, such as held, connects_per_second, echo_p95, server_kernel_bytes, or \
                     PHASE.METRIC"
                .to_owned(),
        }
    }
}

impl Wanted {
    /// The metric.
    pub(super) fn metric(&self) -> Metric {
        self.metric
    }

    /// What a run says of it. Kernel memory of 0 is not known: what others gave back meanwhile has hidden it, since no
    /// connection is without its sockets.
    pub(super) fn of(&self, run: &Record) -> Option<f64> {
        let is_of_kernel =
            matches!(self.metric, Metric::Bytes(MemoryOf::ServerKernel | MemoryOf::ClientKernel));
        self.metric.of(run, self.phase.as_deref()).filter(|value| !is_of_kernel || *value > 0.0)
    }

    /// Those of a comparison that asks for none. Of a latency its median, 95th and 99th percentile: the others need more
    /// values than most runs have.
    pub(super) fn defaults() -> impl Iterator<Item = Self> {
        let is_default = |metric: &Metric| match metric {
            Metric::Verified | Metric::Arrivals => false,
            Metric::Latency(LatencyKind::Lateness, percentile) => *percentile == Percentile::P95,
            Metric::Latency(_, percentile) => {
                matches!(percentile, Percentile::P50 | Percentile::P95 | Percentile::P99)
            }
            _ => true,
        };
        Metric::all().filter(is_default).map(|metric| Self { phase: None, metric })
    }
}

impl FromStr for Wanted {
    type Err = WantedError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        let (phase, name) = match text.rsplit_once('.') {
            Some((phase, name)) if !phase.is_empty() => (Some(phase.to_owned()), name),
            _ => (None, text),
        };
        let metric = Metric::named(name).ok_or_else(|| WantedError {
            name: name.to_owned(),
            nearest: nearest(name, Metric::all().map(|metric| metric.to_string())),
        })?;
        Ok(Self { phase, metric })
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(phase) = &self.phase {
            write!(f, "{phase}.")?;
        }
        write!(f, "{}", self.metric)
    }
}
