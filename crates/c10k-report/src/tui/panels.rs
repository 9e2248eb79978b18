//! The panels of the full screen: what each says, line by line, in a given width.

use c10k_record::{Sample, bytes, count, human_count, latency, number, short_count};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};

use crate::tui::view::View;

/// The heights of a column of a plot.
const LEVELS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// Columns of a name.
const NAME: usize = 12;

/// A titled block of lines.
pub(crate) struct Panel {
    pub(crate) title: String,
    pub(crate) lines: Vec<Line<'static>>,
}

impl Panel {
    fn of(title: impl Into<String>, lines: Vec<Line<'static>>) -> Self {
        Self { title: title.into(), lines }
    }

    /// Rows that it takes, its title included.
    pub(crate) fn height(&self) -> u16 {
        1 + self.lines.len() as u16
    }
}

/// The counts over time, each with a plot whose full height is the target, and the rate.
pub(crate) fn counts(view: &View, width: usize) -> Panel {
    type Of = fn(&Sample) -> Option<u64>;
    let rows: [(&str, Of); 4] = [
        ("attempted", |row| row.attempted),
        ("established", |row| row.established),
        ("accepted", |row| row.accepted),
        ("verified", |row| row.verified),
    ];
    let last = view.last();
    let plot = width.saturating_sub(NAME + 14);
    let mut lines: Vec<Line<'static>> = rows
        .iter()
        .map(|(name, of)| {
            let values: Vec<Option<u64>> = view.rows.iter().map(of).collect();
            Line::from(format!(
                "{name:<NAME$} {:>11}  {}",
                count(of(&last)),
                spark(&values, view.target, plot)
            ))
        })
        .collect();
    let rates: Vec<Option<u64>> =
        view.rows.iter().map(|row| row.connects_per_second.map(|rate| rate as u64)).collect();
    let peak = rates.iter().flatten().copied().max().unwrap_or(0);
    let now = last.connects_per_second.map(|rate| rate as u64);
    lines.push(Line::from(format!(
        "{:<NAME$} {:>11}  {}",
        "connects/s",
        count(now),
        spark(&rates, peak, plot)
    )));
    Panel::of(
        format!(
            "Connections over time; full height: target {}, rate {}/s",
            human_count(view.target),
            human_count(peak)
        ),
        lines,
    )
}

/// Sockets and the accept queue.
pub(crate) fn sockets(view: &View, width: usize) -> Panel {
    let half = width / 2;
    let mut lines: Vec<Line<'static>> = view
        .sockets
        .chunks(2)
        .map(|two| {
            let cells = two.iter().map(|(name, value)| {
                let room = half.saturating_sub(name.chars().count() + 3);
                format!("{name} {:>room$}  ", count(*value))
            });
            Line::from(cells.collect::<String>())
        })
        .collect();
    let (queue, most) = view.accept_queue;
    let text = format!("{:<NAME$} {} of {} ", "accept queue", count(queue), count(most));
    let part = queue.zip(most).map_or(0.0, |(queue, most)| queue as f64 / most.max(1) as f64);
    let mark = if part >= 1.0 { " FULL" } else { "" };
    let room = width.saturating_sub(text.chars().count() + mark.len() + 1);
    lines.push(alarming(format!("{text}{}{mark}", bar(part, room)), part >= 1.0));
    Panel::of("Sockets", lines)
}

/// Losses by errno.
pub(crate) fn losses(view: &View, width: usize) -> Panel {
    /// Rows of causes.
    const ROWS: usize = 3;
    let all: u64 = view.lost.iter().map(|(_, count)| count).sum();
    let room = width.saturating_sub(13);
    let mut lines: Vec<Line<'static>> = view
        .lost
        .iter()
        .take(ROWS)
        .map(|(name, lost)| alarming(format!("! {name:<room$.room$} {:>10}", human_count(*lost)), true))
        .collect();
    let shown: u64 = view.lost.iter().take(ROWS).map(|(_, count)| count).sum();
    if lines.is_empty() {
        lines.push(Line::from("none"));
    } else if all > shown {
        lines.push(Line::from(format!("{:<room$}   {:>10}", "others", human_count(all - shown))));
    }
    Panel::of("Lost", lines)
}

/// Memory of a connection by part.
pub(crate) fn memory(view: &View, width: usize) -> Panel {
    /// Rows of parts.
    const ROWS: usize = 4;
    let all: f64 = view.memory.iter().map(|(_, part)| part).sum();
    let mut parts = view.memory.clone();
    parts.sort_by(|one, other| other.1.total_cmp(&one.1));
    if parts.len() > ROWS {
        let rest = parts.split_off(ROWS - 1).iter().map(|(_, part)| part).sum();
        parts.push(("the rest".to_owned(), rest));
    }
    let room = width.saturating_sub(NAME + 14);
    let line = |(name, part): &(String, f64)| {
        let share = if all > 0.0 { part / all } else { 0.0 };
        let size = bytes(Some(part.round() as u64));
        Line::from(format!("{name:<14.14} {size:>9} {}", bar(share, room)))
    };
    let lines = match parts.is_empty() {
        true => vec![Line::from("not known before 500 are open")],
        false => parts.iter().map(line).collect(),
    };
    let title = match all > 0.0 {
        true => format!("Memory of a connection: {}", bytes(Some(all.round() as u64))),
        false => "Memory of a connection".to_owned(),
    };
    Panel::of(title, lines)
}

/// Processors by who takes their time.
pub(crate) fn processors(view: &View, width: usize) -> Panel {
    let room = width.saturating_sub(NAME + 7);
    let line = |(name, cores): &(&'static str, Option<f64>)| {
        let share = cores.map_or(0.0, |cores| cores / view.cpus.max(1) as f64);
        let cores = cores.map_or_else(|| number(None), |cores| format!("{cores:.2}"));
        Line::from(format!("{name:<9} {cores:>7} {}", bar(share, room)))
    };
    Panel::of(format!("Processors, of {}", human_count(view.cpus)), view.cores.iter().map(line).collect())
}

/// How far the next walls are.
pub(crate) fn walls(view: &View, width: usize) -> Panel {
    /// From so many on a number is told in two digits.
    const MANY: u64 = 10_000_000;
    let room = width.saturating_sub(26);
    let told = |count| if count < MANY { human_count(count) } else { short_count(count) };
    let line = |(name, connections): &(String, u64)| {
        let left = format!("{} to go", told(connections.saturating_sub(view.open)));
        Line::from(format!("{name:<room$.room$} {:>9} {left:>15}", told(*connections)))
    };
    let lines = match view.walls.is_empty() {
        true => vec![Line::from("no limit is known to lie ahead")],
        false => view.walls.iter().map(line).collect(),
    };
    Panel::of("Next walls", lines)
}

/// What a workload, or a proof, comes to.
pub(crate) fn workload(view: &View) -> Panel {
    let lines = match view.live.messages {
        None => vec![Line::from("no workload is under way")],
        Some(said) => vec![
            Line::from(format!("{:<NAME$} {:>11}/s", "answered", human_count(said.per_second as u64))),
            Line::from(format!("{:<NAME$} {:>11}", "p50", latency(said.p50_us))),
            Line::from(format!("{:<NAME$} {:>11}", "p99", latency(said.p99_us))),
        ],
    };
    Panel::of("Workload", lines)
}

/// The phases, with the one it is in marked.
pub(crate) fn phases(view: &View) -> Line<'static> {
    let mut spans = Vec::new();
    for phase in ["start", "ramp", "hold", "verify", "close"] {
        if !spans.is_empty() {
            spans.push(Span::raw(" > "));
        }
        spans.push(match phase == view.live.phase {
            true => Span::styled(format!("[{phase}]"), Style::new().add_modifier(Modifier::BOLD)),
            false => Span::raw(phase),
        });
    }
    spans.push(Span::raw(format!("   {}", view.title)));
    Line::from(spans)
}

/// A line that says something is wrong; its text says so too, colours or not.
fn alarming(text: String, is_wrong: bool) -> Line<'static> {
    let style = if is_wrong { Style::new().fg(Color::Red) } else { Style::new() };
    Line::styled(text, style)
}

/// A bar of `cells`, of which `part` (0 to 1) are full.
fn bar(part: f64, cells: usize) -> String {
    let full = ((part.clamp(0.0, 1.0) * cells as f64).round() as usize).min(cells);
    format!("{}{}", "█".repeat(full), "░".repeat(cells - full))
}

/// Values over time in at most `width` columns; `most` has the full height. What is not known is a gap.
fn spark(values: &[Option<u64>], most: u64, width: usize) -> String {
    let columns = width.min(values.len());
    (0..columns)
        .map(|column| {
            // The last value of its stretch of time.
            let at = (column + 1) * values.len() / columns - 1;
            let Some(value) = values[at] else { return ' ' };
            let level = u128::from(value.min(most)) * 8;
            LEVELS[level.div_ceil(u128::from(most.max(1))) as usize]
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plot_has_the_last_of_each_stretch_and_any_value_above_nothing_is_seen() {
        let values: Vec<Option<u64>> = (0..=8).map(Some).collect();
        assert_eq!(spark(&values, 8, 80), " ▁▂▃▄▅▆▇█");
        assert_eq!(spark(&values, 8, 3), "▂▅█");
        assert_eq!(spark(&[Some(1), None, Some(u64::MAX)], 1_000_000, 9), "▁ █");
        assert_eq!((spark(&values, 0, 2), spark(&[], 5, 9)), ("  ".to_owned(), String::new()));
    }

    #[test]
    fn a_bar_is_never_longer_than_its_cells() {
        for (part, shown) in [(0.0, "░░░░"), (0.5, "██░░"), (7.0, "████"), (f64::NAN, "░░░░"), (-1.0, "░░░░")]
        {
            assert_eq!(bar(part, 4), shown, "{part}");
        }
    }
}
