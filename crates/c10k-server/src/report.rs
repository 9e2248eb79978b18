//! What a server says for people.

use std::net::SocketAddr;

use c10k_record::{ServerMode, ServerReport, human_bytes, human_count};

use crate::push::PushPlan;

/// The line that says it is ready.
pub(crate) fn ready_line(
    addresses: &[SocketAddr],
    mode: ServerMode,
    push: Option<&PushPlan>,
    lanes: usize,
    per_table: Option<u32>,
    max_connections: Option<u64>,
) -> String {
    let table = match per_table {
        Some(connections) => format!("{} connections a table", human_count(u64::from(connections))),
        None => "one table for all".to_owned(),
    };
    let most = max_connections.map_or_else(String::new, |max| format!(", at most {}", human_count(max)));
    let plural = if lanes == 1 { "lane" } else { "lanes" };
    let push = push.map_or_else(String::new, |push| format!(" and {push}"));
    format!("listening on {}, {mode}{push}, {lanes} {plural}, {table}{most}", places(addresses))
}

/// One line of `--stats text`, with the connections accepted since the report before.
pub(crate) fn stats_line(report: &ServerReport, before: &ServerReport) -> String {
    let mut line = format!(
        "{:>5.0} s: {} open, {} accepted (+{}), {} closed, {} failed",
        report.elapsed_ms as f64 / 1000.0,
        human_count(report.open),
        human_count(report.accepted),
        human_count(report.accepted.saturating_sub(before.accepted)),
        human_count(report.closed),
        human_count(report.failed.values().sum()),
    );
    if report.back_pressured > 0 {
        line += &format!(", {} under back-pressure", human_count(report.back_pressured));
    }
    if report.paused > before.paused {
        line += ", accepting paused";
    }
    line
}

/// The last report, several lines, the last one without its end.
pub(crate) fn final_text(report: &ServerReport) -> String {
    let mut lines = vec![format!(
        "accepted {} in {:.1} s, {} at most at one time: {} closed by the peer, {} drained, {} failed",
        counted(report.accepted, "connection", "connections"),
        report.elapsed_ms as f64 / 1000.0,
        human_count(report.peak),
        human_count(report.closed),
        human_count(report.drained),
        human_count(report.failed.values().sum()),
    )];
    if report.open > 0 {
        let were = if report.open == 1 { "was" } else { "were" };
        lines.push(format!("{} {were} still open", human_count(report.open)));
    }
    lines.push(format!(
        "{} in, {} out, {}",
        human_bytes(report.bytes_in),
        human_bytes(report.bytes_out),
        counted(report.tables, "descriptor table", "descriptor tables"),
    ));
    for (name, count) in &report.failed {
        lines.push(format!("failed: {} {name}", human_count(*count)));
    }
    for (name, count) in &report.accept_errors {
        lines.push(format!("accept: {} {name}", human_count(*count)));
    }
    if report.paused > 0 {
        lines.push(format!(
            "accepting paused {} for want of a descriptor, a watch or a slot",
            counted(report.paused, "time", "times")
        ));
    }
    lines.join("\n")
}

/// So many of them, by the name for one or for several.
fn counted(count: u64, one: &str, several: &str) -> String {
    format!("{} {}", human_count(count), if count == 1 { one } else { several })
}

fn places(addresses: &[SocketAddr]) -> String {
    match addresses {
        [first, second, third, rest @ ..] if !rest.is_empty() => {
            format!("{first}, {second}, {third} and {} more", rest.len())
        }
        _ => addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ready_line_says_where_and_how_much() {
        let nine: Vec<SocketAddr> = (9000..9009).map(|port| ([127, 0, 0, 1], port).into()).collect();
        assert_eq!(
            ready_line(&nine[..1], ServerMode::Echo, None, 2, Some(19_984), None),
            "listening on 127.0.0.1:9000, echo, 2 lanes, 19,984 connections a table"
        );
        assert_eq!(
            ready_line(&nine, ServerMode::Hold, None, 1, None, Some(100_000)),
            "listening on 127.0.0.1:9000, 127.0.0.1:9001, 127.0.0.1:9002 and 6 more, hold, 1 lane, \
             one table for all, at most 100,000"
        );
    }

    #[test]
    fn the_final_report_names_every_failure_and_every_pause() {
        let report = ServerReport {
            elapsed_ms: 12_340,
            accepted: 100_000,
            peak: 99_000,
            closed: 99_990,
            failed: [("ECONNRESET".to_owned(), 10)].into(),
            accept_errors: [("EMFILE".to_owned(), 3)].into(),
            paused: 2,
            bytes_in: 64,
            bytes_out: 64,
            tables: 6,
            ..ServerReport::default()
        };
        assert_eq!(
            final_text(&report),
            "accepted 100,000 connections in 12.3 s, 99,000 at most at one time: \
             99,990 closed by the peer, 0 drained, 10 failed\n\
             64 B in, 64 B out, 6 descriptor tables\n\
             failed: 10 ECONNRESET\n\
             accept: 3 EMFILE\n\
             accepting paused 2 times for want of a descriptor, a watch or a slot"
        );
    }

    #[test]
    fn of_one_it_is_told_in_the_singular() {
        let report =
            ServerReport { accepted: 1, open: 1, peak: 1, paused: 1, tables: 1, ..ServerReport::default() };
        assert_eq!(
            final_text(&report),
            "accepted 1 connection in 0.0 s, 1 at most at one time: 0 closed by the peer, 0 drained, 0 failed\n\
             1 was still open\n\
             0 B in, 0 B out, 1 descriptor table\n\
             accepting paused 1 time for want of a descriptor, a watch or a slot"
        );
    }

    #[test]
    fn a_line_of_statistics_shows_what_is_new() {
        let before = ServerReport { accepted: 1000, ..ServerReport::default() };
        let report = ServerReport {
            elapsed_ms: 2000,
            accepted: 41_000,
            open: 41_000,
            back_pressured: 1,
            ..ServerReport::default()
        };
        assert_eq!(
            stats_line(&report, &before),
            "    2 s: 41,000 open, 41,000 accepted (+40,000), 0 closed, 0 failed, 1 under back-pressure"
        );
    }
}
