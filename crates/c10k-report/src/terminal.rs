//! The summary on a terminal.

use std::path::Path;

use c10k_record::{Hanging, Record, Style, Tone, clean, fold, fold_command, headline};

use crate::facts::{Cell, Row, Section, sections};

/// A record as text for somebody who sees one for the first time: whether the target was held, the verdicts,
/// the counts, what was lost and why, the wall and what lifts it, what a connection cost. `path` is where the
/// record lies, told last. What the record does not know is `unknown`.
#[must_use]
pub fn summary(record: &Record, path: Option<&Path>, style: Style) -> String {
    let mut out = Writer { style, text: String::new() };
    let (tone, first) = headline(record);
    out.text.push_str(&style.headline(tone, &first));
    for section in sections(record) {
        out.section(&section);
    }
    if let Some(path) = path {
        out.line("");
        out.line(&format!("Record: {}", clean(&path.display().to_string())));
    }
    out.text
}

struct Writer {
    style: Style,
    text: String,
}

/// Spaces before a line of a section.
const INDENT: usize = 2;
/// Least room for a last column, however narrow the terminal.
const LEAST: usize = 24;

impl Writer {
    fn line(&mut self, text: &str) {
        self.text.push_str(text.trim_end());
        self.text.push('\n');
    }

    fn paint(&self, tone: Tone, bold: bool, text: &str) -> String {
        self.style.paint(tone, bold, text)
    }

    fn section(&mut self, section: &Section) {
        self.line("");
        let title = self.paint(Tone::Plain, true, &clean(&section.title));
        self.line(&title);
        let widths = widths(section);
        if !section.header.is_empty() {
            let rights = rights(section);
            let header: Vec<Cell> = section
                .header
                .iter()
                .enumerate()
                .map(|(column, text)| Cell {
                    text: (*text).to_owned(),
                    right: rights.get(column) == Some(&true),
                })
                .collect();
            self.cells(Tone::Plain, &header, &widths);
        }
        for row in &section.rows {
            match row {
                Row::Cells(tone, cells) => self.cells(*tone, cells, &widths),
                Row::Text(tone, text) => {
                    let room = self.style.width.saturating_sub(INDENT).max(LEAST);
                    for part in fold(&clean(text), room) {
                        let part = self.paint(*tone, false, &part);
                        self.line(&format!("{:INDENT$}{part}", ""));
                    }
                }
                Row::Command(command) => {
                    let hanging = Hanging { column: INDENT * 2 + 2, width: self.style.width };
                    for (n, part) in fold_command(&clean(command), hanging.room()).iter().enumerate() {
                        let mark = if n == 0 { "$ " } else { "  " };
                        self.line(&format!("{:1$}{mark}{part}", "", INDENT * 2));
                    }
                }
            }
        }
    }

    fn cells(&mut self, tone: Tone, cells: &[Cell], widths: &[usize]) {
        let mut before = " ".repeat(INDENT);
        let Some((last, others)) = cells.split_last() else { return };
        for (cell, width) in others.iter().zip(widths) {
            before.push_str(&padded(cell, *width));
            before.push_str("  ");
        }
        let column = before.chars().count();
        let last = if last.right {
            vec![padded(last, widths.get(cells.len() - 1).copied().unwrap_or(0))]
        } else {
            fold(&clean(&last.text), self.style.width.saturating_sub(column).max(LEAST))
        };
        for (n, part) in last.iter().enumerate() {
            let text = if n == 0 { format!("{before}{part}") } else { format!("{:column$}{part}", "") };
            let text = self.paint(tone, false, text.trim_end());
            self.line(&text);
        }
    }
}

fn padded(cell: &Cell, width: usize) -> String {
    let text = clean(&cell.text);
    if cell.right { format!("{text:>width$}") } else { format!("{text:<width$}") }
}

/// The widest cell of each column.
fn widths(section: &Section) -> Vec<usize> {
    let mut widths: Vec<usize> = section.header.iter().map(|text| text.chars().count()).collect();
    for row in &section.rows {
        if let Row::Cells(_, cells) = row {
            widths.resize(widths.len().max(cells.len()), 0);
            for (width, cell) in widths.iter_mut().zip(cells) {
                *width = (*width).max(cell.text.chars().count());
            }
        }
    }
    widths
}

/// Which columns stand to the right.
fn rights(section: &Section) -> Vec<bool> {
    section
        .rows
        .iter()
        .find_map(|row| match row {
            Row::Cells(_, cells) => Some(cells.iter().map(|cell| cell.right).collect()),
            _ => None,
        })
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    /// A summary up to the section of this title.
    fn until<'a>(text: &'a str, title: &str) -> &'a str {
        let end = text.find(&format!("\n\n{title}\n")).unwrap_or_else(|| panic!("no '{title}' in {text}"));
        &text[..end]
    }

    /// The sections from one title up to another.
    fn between<'a>(text: &'a str, from: &str, to: &str) -> &'a str {
        let text = until(text, to);
        let begin = text.find(&format!("\n\n{from}\n")).unwrap_or_else(|| panic!("no '{from}' in {text}"));
        &text[begin + 2..]
    }

    #[test]
    fn a_run_that_held_its_target_says_so_first() {
        let path = Path::new("results/20260102T030405Z-tuned-raw-hold");
        insta::assert_snapshot!(summary(&fixtures::held(), Some(path), Style::default()), @r#"
        HELD 100,000 of 100,000 connections

        Verdicts
          ✓  held = target      100,000
          ✓  failed <= 1%       0 %
          ✓  echo_p95 <= 100ms  1.9 ms

        Connections
          target       100,000  asked for
          attempted    100,000  begun
          established  100,000  connect() completed at the client
          accepted     100,000  the server says that it has it
          verified     100,000  the server echoed its probe
          held         100,000  still verified at the end of the hold
          ghosts             0  established at the client, never accepted
          lost               0  under their errno or name, below

        Lost
          none

        Cost of a connection
                          server   client
          user memory     16.4 B   24.1 B  growth of RSS
          kernel memory  4,012 B  4,210 B
          together       4,028 B  4,234 B  8,263 B for both ends
            epoll          192 B    192 B  estimated from known object sizes
            socket       2,520 B  2,520 B
          Free memory fell by 8,310 B a connection; unexplained of that: 0.6 %.

        Rate
          connects, mean   38,412 /s  from the first connect to the last proof
          connects, peak   44,100 /s  the best interval between two samples, or step
          echoes          101,000 /s  during the last proof of all connections

        Latency
                                  p50     p95     p99     max  measured
          connect              410 µs  1.9 ms  2.6 ms  8.8 ms   100,000
          first echo           620 µs  2.4 ms  3.1 ms  9.9 ms   100,000
          echo after the hold  510 µs  1.9 ms  2.5 ms    7 ms   100,000

        Processors in the ramp, and TIME_WAIT
          server     0.42 cores  8.6 µs a connection
          swarm      0.97 cores  15.2 µs a connection
          softirq    0.31 cores  whole host
          TIME_WAIT           0  at the peak
                              0  after the close

        Profile tuned
          applied      net.core.somaxconn  4096 → 65535
          not applied  fs.file-max         wanted 4000000, is 2466177 (the whole host): it reaches the whole
                                           host and this is not root
            $ sudo sysctl -w fs.file-max=4000000

        Run
          run         20260102T030405Z-tuned-raw-hold
          from, to    2026-01-02T03:04:05Z – 2026-01-02T03:04:32Z
          what        raw hold over loopback
          host        Debian 13, Linux 6.18.0, 2 × Some CPU, 24.0 GiB, as an ordinary user
          command     c10k-lab run --target 100k
          written by  c10k-lab 0.1.0

        Record: results/20260102T030405Z-tuned-raw-hold
        "#);
    }

    #[test]
    fn what_is_open_at_the_client_alone_is_not_called_held() {
        let first_line = |at_server| {
            let mut record = fixtures::held();
            record.connections.verified = None;
            record.connections.accepted = None;
            record.connections.at_server = at_server;
            let text = summary(&record, None, Style::default());
            let kept = text.lines().find(|line| line.starts_with("  held")).map(str::to_owned);
            (text.lines().next().map(str::to_owned), kept.unwrap_or_default())
        };
        let (unseen, kept) = first_line(None);
        let wanted = "OPEN AT THE CLIENT 100,000 of 100,000 connections; the server's end was not seen";
        assert_eq!(unseen.as_deref(), Some(wanted));
        assert!(kept.contains("the server's end was not seen"), "{kept}");
        let (seen, kept) = first_line(Some(100_000));
        assert_eq!(seen.as_deref(), Some("HELD 100,000 of 100,000 connections"));
        assert!(kept.contains("at both ends"), "{kept}");
    }

    #[test]
    fn a_run_that_fell_short_names_its_wall_first() {
        let text = summary(&fixtures::short(), None, Style::default());
        insta::assert_snapshot!(until(&text, "Rate"), @r#"
        SHORT: held 59,980 of 100,000; wall: ports-exhausted (proven)

        Verdicts
          ✗  held = target      59,980
          ✓  failed <= 1%       0.88 %
          ✗  echo_p95 <= 100ms  nothing was measured

        Connections
          target       100,000  asked for
          attempted     60,512  begun
          established   60,000  connect() completed at the client
          accepted     unknown  the server says that it has it
          verified      60,000  the server echoed its probe
          held          59,980  still verified at the end of the hold
          ghosts       unknown  established at the client, never accepted
          lost             532  under their errno or name, below

        Lost
          name           count  phase  first at  meaning
          EADDRNOTAVAIL    512  ramp     1.61 s  cannot assign requested address: the source is not on this
                                                 machine (bind), or no local port is free (connect)
          ECONNRESET        20  hold      4.1 s  connection reset by peer: the other end closed it hard

        Ceiling
          ports-exhausted — no source port is left to this destination (at the swarm, hard)
          EADDRNOTAVAIL     512  512 connections lost: cannot assign requested address
          source ports   60,000  the sources allow 60,000 connections
          What lifts it: Use 4 source addresses, or let the server listen on more ports or addresses.
            $ c10k-swarm --ips 127.0.0.1-127.0.0.4 --target 100000
          Predicted: 60,000 by ports-exhausted; held: 59,980, 20 fewer.

        Cost of a connection
                          server   client
          user memory    unknown     31 B  growth of RSS
          kernel memory  unknown  unknown
          together       unknown  unknown  unknown for both ends
          Free memory fell by unknown a connection; unexplained of that: unknown.
          The kernel's slabs could not be read: parts stand on known object sizes.
        "#);
        let held = summary(&fixtures::held(), None, Style::default());
        assert_eq!(between(&text, "Rate", "Profile stock"), between(&held, "Rate", "Profile tuned"));
        insta::assert_snapshot!(between(&text, "Profile stock", "Run"), @r#"
        Profile stock
          nothing was changed

        Warnings
          not-isolated  no network namespace could be made: EPERM
        "#);
    }

    #[test]
    fn a_run_at_a_rate_tells_the_swarm_s_lateness_apart() {
        let text = summary(&fixtures::at_a_rate(), None, Style::default());
        insta::assert_snapshot!(between(&text, "Latency", "Processors in the ramp, and TIME_WAIT"), @r#"
        Latency
                                     p50     p95     p99     max  measured
          connect                 410 µs  1.9 ms  2.6 ms  8.8 ms   100,000
          first echo              620 µs  2.4 ms  3.1 ms  9.9 ms   100,000
          echo after the hold     510 µs  1.9 ms  2.5 ms    7 ms   100,000
          connect, from due time  460 µs    2 ms  2.7 ms    9 ms   100,000
          lateness of the swarm    55 µs   80 µs  130 µs  900 µs   100,000
        "#);
    }

    #[test]
    fn an_aborted_run_says_what_stopped_it() {
        insta::assert_snapshot!(summary(&fixtures::aborted(), None, Style::default()), @r#"
        ABORTED by Ctrl-C with 40,600 open

        Verdicts
          –  held = target  not evaluated

        Connections
          target       100,000  asked for
          attempted     41,000  begun
          established   40,600  connect() completed at the client
          accepted      40,590  the server says that it has it
          verified      40,500  the server echoed its probe
          held         unknown  still verified at the end of the hold
          ghosts            10  established at the client, never accepted
          open          40,600  when the run was stopped
          given up      41,000  open or under way when the run was stopped, and not judged
          lost               0  under their errno or name, below

        Lost
          none

        Cost of a connection
                          server   client
          user memory    unknown  unknown  growth of RSS
          kernel memory  unknown  unknown
          together       unknown  unknown  unknown for both ends
          Free memory fell by unknown a connection; unexplained of that: unknown.

        Rate
          connects, mean  unknown  from the first connect to the last proof
          connects, peak  unknown  the best interval between two samples, or step
          echoes          unknown  during the last proof of all connections

        Latency
                                   p50      p95      p99      max  measured
          connect              unknown  unknown  unknown  unknown         0
          first echo           unknown  unknown  unknown  unknown         0
          echo after the hold  unknown  unknown  unknown  unknown         0

        Processors in the ramp, and TIME_WAIT
          server     unknown  unknown a connection
          swarm      unknown  unknown a connection
          softirq    unknown  whole host
          TIME_WAIT  unknown  at the peak
                     unknown  after the close

        Profile tuned
          nothing was changed

        Run
          run         20260102T050405Z-tuned-raw-hold
          from, to    2026-01-02T03:04:05Z – 2026-01-02T05:04:07Z
          what        raw hold over loopback
          written by  c10k-lab 0.1.0
        "#);
    }

    #[test]
    fn a_run_whose_writer_was_killed_is_unfinished() {
        let text = summary(&fixtures::unfinished(), None, Style::default());
        insta::assert_snapshot!(until(&text, "Cost of a connection"), @r#"
        UNFINISHED: still going on, or its writer was killed; when last seen, 30,000 of 100,000 were
          established

        Verdicts
          none was evaluated

        Connections
          target       100,000  asked for
          attempted     30,500  begun
          established   30,000  connect() completed at the client
          accepted     unknown  the server says that it has it
          verified     unknown  the server echoed its probe
          held         unknown  still there at the end of the hold
          ghosts       unknown  established at the client, never accepted
          lost               0  under their errno or name, below

        Lost
          none
        "#);
        let aborted = summary(&fixtures::aborted(), None, Style::default());
        let cost = "Cost of a connection";
        assert_eq!(between(&text, cost, "Run"), between(&aborted, cost, "Run"), "nothing of it is known");
        assert!(text.contains("from, to    2026-01-02T03:04:05Z – unknown"), "{text}");
    }

    #[test]
    fn text_is_folded_to_the_width_of_the_terminal() {
        let style = Style { width: 72, ..Style::default() };
        for line in summary(&fixtures::short(), None, style).lines().skip(1) {
            let command = line.trim_start().starts_with("$ ");
            assert!(command || line.chars().count() <= 72, "{line}");
        }
    }

    #[test]
    fn colour_changes_nothing_but_colour() {
        let plain = summary(&fixtures::short(), None, Style::default());
        let coloured = summary(&fixtures::short(), None, Style { color: true, ..Style::default() });
        assert!(!plain.contains('\u{1b}') && coloured.contains('\u{1b}'));
        let mut bare = coloured;
        for code in ["0", "1", "31", "32", "1;31", "1;32"] {
            bare = bare.replace(&format!("\u{1b}[{code}m"), "");
        }
        assert_eq!(bare, plain);
    }

    #[test]
    fn a_stranger_s_text_cannot_steer_the_terminal() {
        let mut record = fixtures::aborted();
        record.ended_because = Some("\u{1b}]0;owned\u{7}\nHELD".to_owned());
        let text = summary(&record, None, Style::default());
        assert!(!text.contains('\u{1b}') && !text.contains('\u{7}'));
        assert!(text.lines().next().is_some_and(|first| first.contains("HELD")), "one line stays one line");
    }

    #[test]
    fn a_broken_run_tells_what_broke_and_a_broken_verdict_spoils_the_success() {
        let mut record = fixtures::aborted();
        record.state = c10k_record::RunState::Broken;
        record.ended_because = Some("the server was killed by signal 9".to_owned());
        let text = summary(&record, None, Style::default());
        let first = text.lines().next().expect("a first line");
        assert_eq!(first, "BROKEN: held 0 of 100,000; the server was killed by signal 9");
        let mut record = fixtures::held();
        record.verdicts[2].passed = Some(false);
        let text = summary(&record, None, Style::default());
        let first = text.lines().next().expect("a first line");
        assert_eq!(first, "HELD 100,000 of 100,000 connections, but 1 of 3 verdicts does not hold");
        record.ceiling = fixtures::short().ceiling;
        let text = summary(&record, None, Style::default());
        assert!(text.lines().next().is_some_and(|first| first.contains("; wall: ")), "{text}");
        assert!(text.contains("the ceiling lies at or below 100,000"), "{text}");
    }
}
