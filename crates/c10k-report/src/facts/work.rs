//! What the connections did while they were held, phase by phase.

use c10k_record::{Record, Worked, human_count, worked};

use super::{Row, Section, latency, line};

/// `None` where they did nothing.
pub(super) fn section(record: &Record) -> Option<Section> {
    let rows: Vec<Row> = record.work.iter().flat_map(rows).collect();
    (!rows.is_empty()).then(|| Section::new("Work", rows))
}

/// What the brief says of it, with how many connections it was and the longest response.
fn rows(work: &Worked) -> Vec<Row> {
    let longest = work.response_us.max.map(|us| format!("  longest response {}", latency(Some(us))));
    let connections = human_count(work.connections);
    let heading = format!("{} ({}): {connections} connections", work.name, work.kind);
    let rows = worked(work).into_iter().map(|row| format!("  {row}"));
    std::iter::once(heading).chain(rows).chain(longest).map(line).collect()
}
