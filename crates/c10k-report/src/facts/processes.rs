//! The processes of a server, where there are several.

use c10k_record::{ProcessInRun, Record, UNKNOWN, count, human_bytes, with_unit};

use super::{Row, Section, cells, left, line, right};

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;
    use crate::terminal::summary;
    use c10k_record::Style;

    #[test]
    fn several_processes_are_a_table_and_one_is_none() {
        let one = |pid, connections, counted| ProcessInRun {
            pid,
            name: Some("nginx".to_owned()),
            listens: true,
            counted,
            connections,
            estimated: connections > Some(1024),
            rss_bytes: Some(5 << 20),
            descriptors: Some(20),
            nofile: Some(1024),
            threads: Some(1),
            ..ProcessInRun::default()
        };
        let mut record = fixtures::held();
        record.processes = vec![one(10, Some(0), false), one(11, Some(60_000), true), one(12, None, true)];
        let text = summary(&record, None, Style::default());
        let table = text.split_once("Processes of the server\n").expect("a section").1;
        let lines: Vec<&str> = table.lines().take(4).collect();
        assert!(lines[1].ends_with("only listens") && lines[1].contains("5.0 MiB  unknown  20 of 1,024"));
        assert!(lines[2].contains("≈ 60,000"), "{lines:#?}");
        assert!(lines[3].trim_start().starts_with("12  nginx      unknown"), "{lines:#?}");
        record.processes.truncate(1);
        assert!(!summary(&record, None, Style::default()).contains("Processes of the server"));
    }
}
