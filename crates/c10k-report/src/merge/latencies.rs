//! Latencies of all shards together: added as histograms, never as percentiles.

use std::collections::BTreeMap;

use c10k_record::{Delayed, Latencies, LatencyHistogram, LatencySummary, Protocol};

use super::fault::Fault;
use super::set::Set;

/// The histograms of a run by their names.
#[derive(Debug, Default)]
pub(crate) struct Pooled(BTreeMap<String, LatencyHistogram>);

/// How many values a shard's own record says that each of its histograms has.
fn said_of(latencies: &Latencies) -> Vec<(&'static str, u64)> {
    let some = |name, summary: &Option<LatencySummary>| Some((name, summary.as_ref()?.count));
    let all = [
        Some(("connect", latencies.connect.count)),
        some("connect_response", &latencies.connect_response),
        some("handshake", &latencies.handshake),
        Some(("echo", latencies.echo.count)),
        Some(("first_echo", latencies.first_echo.count)),
    ];
    all.into_iter().flatten().collect()
}

impl Pooled {
    /// Adds up what the shards of a set have measured.
    ///
    /// # Errors
    /// [`Fault::Histogram`] names the file with one that cannot be added, [`Fault::Latencies`] that with one too many, or
    /// with other ones than its record tells of.
    pub(crate) fn of(set: &Set) -> Result<Self, Fault> {
        let mut all: BTreeMap<String, LatencyHistogram> = BTreeMap::new();
        for entry in &set.entries {
            let mut counted: BTreeMap<&str, u64> = BTreeMap::new();
            for stored in &entry.result.histograms {
                let measured =
                    stored.read().map_err(|error| Fault::Histogram { path: entry.path.clone(), error })?;
                if counted.insert(&stored.name, measured.summary().count).is_some() {
                    let why = format!("its histogram of {} is there twice", stored.name);
                    return Err(Fault::Latencies { path: entry.path.clone(), why });
                }
                all.entry(stored.name.clone()).or_default().add(&measured);
            }
            let Some(record) = &entry.result.record else { continue };
            for (name, said) in said_of(&record.latency_us) {
                let has = counted.get(name).copied().unwrap_or(0);
                if has != said {
                    let why = format!("its histogram of {name} has {has} values, and its record {said}");
                    return Err(Fault::Latencies { path: entry.path.clone(), why });
                }
            }
        }
        Ok(Self(all))
    }

    /// The figures of one; those of nothing where nobody has measured it.
    pub(crate) fn summary(&self, name: &str) -> LatencySummary {
        self.measured(name).unwrap_or_default()
    }

    /// The figures of one that somebody has measured.
    pub(crate) fn measured(&self, name: &str) -> Option<LatencySummary> {
        self.0.get(name).map(LatencyHistogram::summary)
    }

    /// All latencies of a run; `is_open_loop` where connects were intended at a time.
    pub(crate) fn of_run(&self, protocol: Protocol, is_open_loop: bool) -> Latencies {
        let none = LatencyHistogram::default();
        let whole = |name: &str| self.0.get(name).unwrap_or(&none);
        Latencies {
            connect: self.summary("connect"),
            connect_response: is_open_loop.then(|| self.summary("connect_response")),
            handshake: (protocol == Protocol::Ws).then(|| self.summary("handshake")),
            echo: self.summary("echo"),
            first_echo: self.summary("first_echo"),
            late: Some(Delayed::of(whole("connect"), whole("first_echo"))),
        }
    }
}
