//! The processes of a server, where there are several.

use c10k_record::{ProcessInRun, Record, human_bytes};

use super::{Row, Section, cells, left, line, right};
use crate::text::{UNKNOWN, count, with_unit};

/// More are only counted.
const MOST_SHOWN: usize = 16;

pub(super) fn section(record: &Record) -> Option<Section> {
    let processes = &record.processes;
    if processes.len() < 2 {
        return None;
    }
    let mut rows: Vec<Row> = processes.iter().take(MOST_SHOWN).map(row).collect();
    if processes.len() > MOST_SHOWN {
        rows.push(line(format!("and {} more, in the record", processes.len() - MOST_SHOWN)));
    }
    let header = ["pid", "name", "connections", "RSS", "own", "descriptors", "threads", "processor", ""];
    Some(Section::table("Processes of the server", &header, rows))
}

fn row(process: &ProcessInRun) -> Row {
    let bytes = |bytes: Option<u64>| right(bytes.map_or(UNKNOWN.to_owned(), human_bytes));
    let about = if process.estimated { "≈ " } else { "" };
    let words = match (process.counted, process.listens) {
        (false, true) => "only listens",
        (false, false) => "not counted",
        (true, _) => "",
    };
    cells(vec![
        right(process.pid.to_string()),
        left(process.name.as_deref().unwrap_or(UNKNOWN)),
        right(format!("{about}{}", count(process.connections))),
        bytes(process.rss_bytes),
        bytes(process.private_bytes),
        right(format!("{} of {}", count(process.descriptors), count(process.nofile))),
        right(count(process.threads)),
        right(with_unit(process.cpu_seconds, "s")),
        left(words),
    ])
}
