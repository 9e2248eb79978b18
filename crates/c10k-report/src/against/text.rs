//! A comparison as text of at most 80 columns.

use std::fmt::Write as _;

use c10k_record::{Unit, clean, fold, human_count, latency};

use super::{Against, Group, Row};
use crate::compare::one_line;
use crate::differences::lines;
use crate::stats::{FEWEST_PAIRS, Found};

/// Columns of a line.
const WIDTH: usize = 80;

impl Against<'_> {
    /// All of it for people.
    #[must_use]
    pub fn text(&self) -> String {
        let mut out = String::new();
        for (place, group) in self.groups.iter().enumerate() {
            let role = if place == self.reference && self.groups.len() > 2 { ", the reference" } else { "" };
            push(&mut out, &format!("{}: {}{role}", group.name, said(group)));
        }
        for line in lines(&self.differences) {
            push(&mut out, &line);
        }
        for note in self.notes() {
            push(&mut out, &clean(&note));
        }
        for other in (0..self.groups.len()).filter(|other| *other != self.reference) {
            out.push('\n');
            self.table(other, &mut out);
        }
        out.push('\n');
        push(&mut out, &self.last_line());
        out
    }

    /// One group against the reference.
    fn table(&self, other: usize, out: &mut String) {
        let (reference, name) = (&self.groups[self.reference].name, &self.groups[other].name);
        let mut rows: Vec<&Row> = self.rows.iter().filter(|row| row.other == other).collect();
        // What is real first, then what is not; stable.
        rows.sort_by_key(|row| place_of(&row.answer.found));
        let mut cells = vec![[
            format!("{name} against {reference}"),
            reference.clone(),
            name.clone(),
            format!("{name} ÷ {reference}"),
        ]];
        cells.extend(rows.iter().map(|row| {
            let unit = row.wanted.metric().unit();
            let [a, b] = self.medians(row).map(|median| written(unit, median));
            let ratio =
                row.answer.ratio.map_or_else(|| "–".to_owned(), |ratio| format!("{:.3}", ratio.median));
            [format!("  {}", row.wanted), a, b, ratio]
        }));
        let widths: [usize; 4] =
            [0, 1, 2, 3].map(|column| cells.iter().map(|row| row[column].chars().count()).max().unwrap_or(0));
        for (place, [metric, a, b, ratio]) in cells.iter().enumerate() {
            let _ = writeln!(
                out,
                "{metric:<0$}  {a:>1$}  {b:>2$}  {ratio:>3$}",
                widths[0], widths[1], widths[2], widths[3]
            );
            if let Some(row) = place.checked_sub(1).map(|place| rows[place])
                && !self.is_of_single_runs()
            {
                let spread = format!("the same setting: {}; ", row.answer.spread_words());
                let spread = if self.same == Some(other) { &spread } else { "" };
                for line in fold(&format!("{spread}{}", row.answer.words()), WIDTH - 4) {
                    let _ = writeln!(out, "    {line}");
                }
            }
        }
    }

    /// The medians of both sides; of a side without values nothing.
    fn medians(&self, row: &Row) -> [Option<f64>; 2] {
        if let Some(medians) = row.answer.medians {
            return medians.map(Some);
        }
        // One side knows it, the other does not.
        [self.reference, row.other].map(|place| {
            let mut values: Vec<f64> =
                self.groups[place].counted().filter_map(|run| row.wanted.of(run)).collect();
            values.sort_by(f64::total_cmp);
            values.get(values.len().saturating_sub(1) / 2).copied()
        })
    }

    fn last_line(&self) -> String {
        if self.is_of_single_runs() {
            return format!(
                "one run each: no claim. {FEWEST_PAIRS} runs of each or more, made in turns, can prove a difference: \
                 `c10k-lab compare A… -- B…`"
            );
        }
        let judged = self.rows.iter().filter(|row| row.answer.found != Found::NoClaim).count();
        let real = self.rows.iter().filter(|row| row.answer.is_real()).count();
        match judged {
            0 => format!("no claim: a difference takes {FEWEST_PAIRS} runs of each side and more"),
            1 => "1 metric judged".to_owned(),
            _ => {
                let differ = if real == 1 { "differs" } else { "differ" };
                format!(
                    "{judged} metrics judged, {real} {differ}; by chance alone, up to 1 in 20 would seem to"
                )
            }
        }
    }
}

/// Adds a text in lines of at most so many columns.
fn push(out: &mut String, text: &str) {
    for (place, line) in fold(text, WIDTH - 2).iter().enumerate() {
        let _ = writeln!(out, "{}{line}", if place == 0 { "" } else { "  " });
    }
}

fn place_of(found: &Found) -> u8 {
    match found {
        Found::Better | Found::Worse => 0,
        Found::Unproven(_) => 1,
        Found::NoDifference => 2,
        Found::NoClaim => 3,
    }
}

/// Which runs these are.
fn said(group: &Group) -> String {
    if let [only] = group.runs.as_slice() {
        return one_line(only);
    }
    let counted: Vec<_> = group.counted().collect();
    let held = counted.iter().map(|run| run.connections.held);
    let held = match (held.clone().min(), held.max()) {
        (Some(least), Some(most)) if least == most => human_count(least),
        (Some(least), Some(most)) => format!("{}–{}", human_count(least), human_count(most)),
        _ => "nothing".to_owned(),
    };
    let mut walls: Vec<String> =
        counted.iter().filter_map(|run| run.ceiling.as_ref()).map(|ceiling| ceiling.wall.clone()).collect();
    walls.sort_unstable();
    walls.dedup();
    let wall = if walls.is_empty() { String::new() } else { format!(", wall: {}", clean(&walls.join(", "))) };
    let first = counted.first().map_or("none of them counts", |run| run.run_id.as_str());
    format!("{} runs from {} on, held {held}{wall}", counted.len(), clean(first))
}

fn written(unit: Unit, value: Option<f64>) -> String {
    match (unit, value) {
        (Unit::Milliseconds, Some(ms)) => latency(Some((ms * 1000.0).round() as u64)),
        (unit, value) => unit.written(value),
    }
}
