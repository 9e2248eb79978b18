//! A shard of a set that has a record.

use c10k_record::Record;

use super::clock::Times;
use super::set::{Entry, Set};

/// A shard with a record, and its place in the set.
#[derive(Clone, Copy)]
pub(crate) struct Part<'a> {
    pub(crate) n: usize,
    pub(crate) entry: &'a Entry,
    pub(crate) record: &'a Record,
    /// When it began, ms after the first connect of all.
    pub(crate) begun_ms: u64,
}

/// The shards that have a record.
pub(crate) fn parts<'a>(set: &'a Set, times: &Times) -> Vec<Part<'a>> {
    let part = |(n, entry): (usize, &'a Entry)| {
        let record = entry.result.record.as_deref()?;
        Some(Part { n, entry, record, begun_ms: times.begun_ms(n).unwrap_or(0) })
    };
    set.entries.iter().enumerate().filter_map(part).collect()
}
