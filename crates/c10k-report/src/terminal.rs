//! The summary on a terminal.

use std::path::Path;

use c10k_record::Record;

use crate::facts::{Cell, Row, Section, Tone, headline, sections};
use crate::text::clean;

/// How a terminal wants its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// Whether to colour it (NO_COLOR and `--color` are the caller's to obey).
    pub color: bool,
    /// Columns; text is folded to fit, lines to paste are not.
    pub width: usize,
}

impl Default for Style {
    fn default() -> Self {
        Self { color: false, width: 100 }
    }
}

/// A record as text for somebody who sees one for the first time: whether the target was held, the verdicts,
/// the counts, what was lost and why, the wall and what lifts it, what a connection cost. `path` is where the
/// record lies, told last. What the record does not know is `unknown`.
#[must_use]
pub fn summary(record: &Record, path: Option<&Path>, style: Style) -> String {
    let mut out = Writer { style, text: String::new() };
    let (tone, first) = headline(record);
    let first = out.paint(tone, true, &clean(&first));
    out.line(&first);
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
        if !self.style.color {
            return text.to_owned();
        }
        let codes = match (tone, bold) {
            (Tone::Plain, false) => return text.to_owned(),
            (Tone::Plain, true) => "1",
            (Tone::Good, false) => "32",
            (Tone::Good, true) => "1;32",
            (Tone::Bad, false) => "31",
            (Tone::Bad, true) => "1;31",
        };
        format!("\x1b[{codes}m{text}\x1b[0m")
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
                    let command = clean(command);
                    self.line(&format!("{:1$}$ {command}", "", INDENT * 2));
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

/// Folds text at spaces; a word longer than the width stands alone and whole.
fn fold(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("there is always one");
        let fits = line.chars().count() + 1 + word.chars().count() <= width;
        if line.is_empty() {
            line.push_str(word);
        } else if fits {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    #[test]
    fn a_run_that_held_its_target_says_so_first() {
        let path = Path::new("results/20260102T030405Z-tuned-raw-hold");
        insta::assert_snapshot!(summary(&fixtures::held(), Some(path), Style::default()), @"");
    }

    #[test]
    fn a_run_that_fell_short_names_its_wall_first() {
        insta::assert_snapshot!(summary(&fixtures::short(), None, Style::default()), @"");
    }

    #[test]
    fn an_aborted_run_says_what_stopped_it() {
        insta::assert_snapshot!(summary(&fixtures::aborted(), None, Style::default()), @"");
    }

    #[test]
    fn a_run_whose_writer_was_killed_is_unfinished() {
        insta::assert_snapshot!(summary(&fixtures::unfinished(), None, Style::default()), @"");
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
        assert_eq!(first, "BROKEN: held 40,500 of 100,000; the server was killed by signal 9");
        let mut record = fixtures::held();
        record.verdicts[2].passed = false;
        let text = summary(&record, None, Style::default());
        let first = text.lines().next().expect("a first line");
        assert_eq!(first, "HELD 100,000 of 100,000 connections, but 1 of 3 verdicts do not hold");
    }
}
