//! One time for the boxes of a run: each has a clock of its own.

use c10k_record::PhaseName;

use super::fault::Fault;
use super::set::{Entry, Set};

/// When each shard began, by one clock.
#[derive(Debug)]
pub(crate) struct Times {
    /// Of each entry of the set: its first connect, ns after the first of all; `None` where it began none.
    begun_ns: Vec<Option<u64>>,
    /// What is added to each entry's clock, ns.
    offsets_ns: Vec<i128>,
    /// The first connect of all, ns since 1970 by the common clock.
    first_unix_ns: i128,
    /// How wrong the times may be, µs; `None` where the clocks were not compared.
    error_us: Option<u64>,
}

impl Times {
    /// By the offsets that the shards measured to the server's clock, or by their one clock where they stood on one box.
    pub(crate) fn of(set: &Set) -> Self {
        let begun = |entry: &&Entry| entry.result.first_connect_unix_ns.is_some();
        let all: Vec<&Entry> = set.entries.iter().filter(begun).collect();
        let boot_id = all.first().map_or("", |entry| entry.result.host.boot_id.as_str());
        let on_one_box = !boot_id.is_empty() && all.iter().all(|entry| entry.result.host.boot_id == boot_id);
        let are_measured = !all.is_empty() && all.iter().all(|entry| entry.result.offset().is_some());
        let error_us = if on_one_box {
            Some(0)
        } else if are_measured {
            let half =
                |entry: &&Entry| entry.result.offset().map(|offset| offset.round_trip_ns.div_ceil(2000));
            all.iter().filter_map(half).max()
        } else {
            None
        };
        let offset_ns = |entry: &Entry| {
            let measured = entry.result.offset().filter(|_| are_measured && !on_one_box);
            measured.map_or(0, |offset| i128::from(offset.offset_ns))
        };
        let offsets_ns: Vec<i128> = set.entries.iter().map(offset_ns).collect();
        let at = |(entry, offset): (&Entry, &i128)| {
            entry.result.first_connect_unix_ns.map(|ns| i128::from(ns) + offset)
        };
        let at: Vec<Option<i128>> = set.entries.iter().zip(&offsets_ns).map(at).collect();
        let first_unix_ns = at.iter().flatten().copied().min().unwrap_or(0);
        let begun_ns = at.iter().map(|at| at.map(|at| (at - first_unix_ns) as u64)).collect();
        Self { begun_ns, offsets_ns, first_unix_ns, error_us }
    }

    /// When the `n`-th entry of the set began, ms after the first of all.
    pub(crate) fn begun_ms(&self, n: usize) -> Option<u64> {
        self.begun_ns[n].map(|ns| ns / 1_000_000)
    }

    /// A time of the `n`-th entry that is given since 1970, seconds, as seconds after the first connect of all; below 0
    /// before that.
    pub(crate) fn after_first_seconds(&self, n: usize, unix_seconds: f64) -> f64 {
        unix_seconds + (self.offsets_ns[n] - self.first_unix_ns) as f64 / 1e9
    }

    /// How wrong they may be, µs; `None` where the clocks were not compared.
    pub(crate) fn error_us(&self) -> Option<u64> {
        self.error_us
    }

    /// For how long all that are counted held at one time, ms. `None` where that cannot be told.
    ///
    /// # Errors
    /// [`Fault::NeverTogether`] where they never did by clocks that were compared.
    pub(crate) fn together_ms(&self, set: &Set) -> Result<Option<u64>, Fault> {
        let counted = set.entries.iter().enumerate().filter(|(_, entry)| entry.is_counted());
        let hold = |(n, entry): (usize, &Entry)| {
            let (from, to) = self.hold_ms(n, entry)?;
            Some((entry.index(), from, to))
        };
        let holds: Option<Vec<(u32, u64, u64)>> = counted.map(hold).collect();
        let (Some(holds), Some(error_us)) = (holds.filter(|holds| !holds.is_empty()), self.error_us) else {
            return Ok(None);
        };
        let last_begun = holds.iter().max_by_key(|(_, from, _)| *from).copied().unwrap_or_default();
        let first_over = holds.iter().min_by_key(|(_, _, to)| *to).copied().unwrap_or_default();
        let (from, to) = (last_begun.1, first_over.2);
        if from > to + error_us.div_ceil(1000) {
            return Err(Fault::NeverTogether(format!(
                "shard {}/{of} had all its connections {} s after the first connect, and shard {}/{of} closed its own from \
                 {} s on",
                last_begun.0,
                from as f64 / 1000.0,
                first_over.0,
                to as f64 / 1000.0,
                of = set.of,
            )));
        }
        Ok(Some(to.saturating_sub(from)))
    }

    /// From when to when the `n`-th entry had all its connections, ms after the first connect of all.
    fn hold_ms(&self, n: usize, entry: &Entry) -> Option<(u64, u64)> {
        let begun = self.begun_ms(n)?;
        let phases = &entry.result.record.as_ref()?.phases;
        let ramp = phases.iter().rfind(|phase| phase.phase == PhaseName::Ramp)?;
        let close = phases.iter().find(|phase| phase.phase == PhaseName::Close)?;
        Some((begun + ramp.to_ms?, begun + close.from_ms))
    }
}
