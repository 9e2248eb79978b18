//! Two records side by side.

use std::fmt::Write as _;

use c10k_record::{MemoryPerConnection, Record, RunState, clean, human_count, latency, number, with_unit};

use crate::differences::{differences, lines};

/// Two records side by side with the ratio of the second to the first: held, rate, bytes of a connection at
/// each end, latencies, processor time of a connection. A ratio of what is unknown, or to zero, is `–`.
#[must_use]
pub fn compare(a: &Record, b: &Record) -> String {
    let mut rows = vec![[String::new(), "A".to_owned(), "B".to_owned(), "B ÷ A".to_owned()]];
    rows.extend(FIGURES.iter().map(|figure| figure.row(a, b)));
    if [a, b].iter().any(|record| record.lateness_us.is_some()) {
        rows.extend(AT_A_RATE.iter().map(|figure| figure.row(a, b)));
    }
    let widths: Vec<usize> =
        (0..4).map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0)).collect();
    let mut out = String::new();
    for (name, record) in [("A", a), ("B", b)] {
        let _ = writeln!(out, "{name}: {}", one_line(record));
    }
    for line in lines(&differences(&[("A", &[a]), ("B", &[b])])) {
        let _ = writeln!(out, "{line}");
    }
    out.push('\n');
    for [name, first, second, ratio] in rows {
        let _ = writeln!(
            out,
            "  {name:<0$}  {first:>1$}  {second:>2$}  {ratio:>3$}",
            widths[0], widths[1], widths[2], widths[3]
        );
    }
    out
}

/// Which run it is, what it held, and what stopped it.
pub(crate) fn one_line(record: &Record) -> String {
    let (held, target) = (human_count(record.connections.held), human_count(record.connections.target));
    let wall = record.ceiling.as_ref().map_or(String::new(), |ceiling| format!(", wall: {}", ceiling.wall));
    format!("{} held {held} of {target}{}", clean(&record.run_id), clean(&wall))
}

/// Rows of all figures: its name, then of each record the value, with its ratio to the first behind it.
pub(crate) fn figures_of(records: &[&Record]) -> Vec<Vec<String>> {
    let Some((first, others)) = records.split_first() else { return Vec::new() };
    let at_a_rate = records.iter().any(|record| record.lateness_us.is_some());
    let figures = FIGURES.iter().chain(AT_A_RATE.iter().filter(|_| at_a_rate));
    figures
        .map(|figure| {
            let [name, of_first, ..] = figure.row(first, first);
            let mut row = vec![name, of_first];
            row.extend(others.iter().map(|other| {
                let [_, _, value, ratio] = figure.row(first, other);
                if ratio == "–" { value } else { format!("{value} (× {ratio})") }
            }));
            row
        })
        .collect()
}

struct Figure {
    name: &'static str,
    value: fn(&Record) -> Option<f64>,
    shown: fn(Option<f64>) -> String,
}

impl Figure {
    fn row(&self, a: &Record, b: &Record) -> [String; 4] {
        let (first, second) = ((self.value)(a), (self.value)(b));
        let ratio = match (first, second) {
            (Some(a), Some(b)) if a.abs() > f64::EPSILON => format!("{:.2}", b / a),
            _ => "–".to_owned(),
        };
        [self.name.to_owned(), (self.shown)(first), (self.shown)(second), ratio]
    }
}

const FIGURES: &[Figure] = &[
    Figure { name: "held", value: |r| Some(r.connections.held as f64), shown: number },
    Figure { name: "lost", value: |r| Some(lost(r) as f64), shown: number },
    Figure { name: "ghosts", value: |r| r.connections.ghosts.map(|n| n as f64), shown: number },
    Figure { name: "connects, mean", value: |r| r.rate.connects_per_second.mean, shown: per_second },
    Figure { name: "connects, peak", value: |r| r.rate.connects_per_second.peak, shown: per_second },
    Figure { name: "echoes", value: |r| r.rate.messages_per_second, shown: per_second },
    Figure { name: "server, user", value: |r| r.memory_per_connection.server_user_bytes, shown: bytes },
    Figure { name: "server, kernel", value: |r| r.memory_per_connection.server_kernel_bytes, shown: bytes },
    Figure { name: "client, user", value: |r| r.memory_per_connection.client_user_bytes, shown: bytes },
    Figure { name: "client, kernel", value: |r| r.memory_per_connection.client_kernel_bytes, shown: bytes },
    Figure { name: "all memory", value: |r| all_memory(&r.memory_per_connection), shown: bytes },
    Figure { name: "connect, p95", value: |r| us(r.latency_us.connect.p95), shown: time },
    Figure { name: "first echo, p95", value: |r| us(r.latency_us.first_echo.p95), shown: time },
    Figure { name: "echo after the hold, p95", value: |r| us(r.latency_us.echo.p95), shown: time },
    Figure { name: "server, processor", value: |r| r.cpu.server_us_per_connection, shown: microseconds },
    Figure { name: "swarm, processor", value: |r| r.cpu.swarm_us_per_connection, shown: microseconds },
    Figure { name: "TIME_WAIT, peak", value: |r| r.time_wait.peak.map(|n| n as f64), shown: number },
];

/// What only a run at a rate has.
const AT_A_RATE: &[Figure] = &[
    Figure {
        name: "connect, from due time, p95",
        value: |r| us(r.latency_us.connect_response.and_then(|response| response.p95)),
        shown: time,
    },
    Figure {
        name: "lateness of the swarm, p95",
        value: |r| us(r.lateness_us.and_then(|lateness| lateness.p95)),
        shown: time,
    },
];

fn lost(record: &Record) -> u64 {
    let c = &record.connections;
    let all = c.failed.values().fold(0_u64, |sum, count| sum.saturating_add(*count));
    if record.state == RunState::Aborted { all - c.stopped_total() } else { all }
}

/// Both ends, user and kernel; unknown as soon as one of them is.
fn all_memory(m: &MemoryPerConnection) -> Option<f64> {
    Some(m.server_user_bytes? + m.server_kernel_bytes? + m.client_user_bytes? + m.client_kernel_bytes?)
}

fn us(value: Option<u64>) -> Option<f64> {
    value.map(|us| us as f64)
}

fn per_second(value: Option<f64>) -> String {
    with_unit(value, "/s")
}

fn bytes(value: Option<f64>) -> String {
    with_unit(value, "B")
}

fn microseconds(value: Option<f64>) -> String {
    with_unit(value, "µs")
}

fn time(value: Option<f64>) -> String {
    latency(value.map(|us| us as u64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    #[test]
    fn two_records_stand_side_by_side_with_their_ratios() {
        insta::assert_snapshot!(compare(&fixtures::held(), &fixtures::short()), @r#"
        A: 20260102T030405Z-tuned-raw-hold held 100,000 of 100,000
        B: 20260102T040405Z-stock-raw-hold held 59,980 of 100,000, wall: ports-exhausted
        not the same: profile (A tuned, B stock)
        not the same: fs.file-max (A 2466177 (not applied), B not set)
        not the same: net.core.somaxconn (A 65535, B not set)

                                             A           B  B ÷ A
          held                         100,000      59,980   0.60
          lost                               0         532      –
          ghosts                             0     unknown      –
          connects, mean             38,412 /s   38,412 /s   1.00
          connects, peak             44,100 /s   44,100 /s   1.00
          echoes                    101,000 /s  101,000 /s   1.00
          server, user                  16.4 B     unknown      –
          server, kernel               4,012 B     unknown      –
          client, user                  24.1 B        31 B   1.29
          client, kernel               4,210 B     unknown      –
          all memory                   8,263 B     unknown      –
          connect, p95                  1.9 ms      1.9 ms   1.00
          first echo, p95               2.4 ms      2.4 ms   1.00
          echo after the hold, p95      1.9 ms      1.9 ms   1.00
          server, processor             8.6 µs      8.6 µs   1.00
          swarm, processor             15.2 µs     15.2 µs   1.00
          TIME_WAIT, peak                    0           0      –
        "#);
    }

    #[test]
    fn what_a_run_at_a_rate_has_stands_beside_one_without() {
        let text = compare(&fixtures::at_a_rate(), &fixtures::held());
        let rows: Vec<&str> =
            text.lines().filter(|line| line.contains("late") || line.contains("due")).collect();
        assert_eq!(
            rows.iter().map(|row| row.split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>(),
            ["connect, from due time, p95 2 ms unknown –", "lateness of the swarm, p95 80 µs unknown –"]
        );
    }

    #[test]
    fn a_ratio_to_nothing_is_not_a_number() {
        let empty = fixtures::unfinished();
        let text = compare(&empty, &empty);
        assert!(!text.contains("NaN") && !text.contains("inf"), "{text}");
        assert!(text.contains("unknown"), "{text}");
    }
}
