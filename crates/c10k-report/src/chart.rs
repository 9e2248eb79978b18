//! A plot as data: its axes, its lines, what is marked on it.
//!
//! `scale` turns values into places, `thin` keeps the number of points fixed, `draw` makes the figure. By hand, since each
//! plot has marks, phases and walls on it, and its page must stay small and stand without a script.

mod bars;
mod draw;
mod scale;
mod thin;

pub(crate) use bars::Bars;
pub(crate) use draw::{LETTER, WIDTH};

/// What an axis counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A plain number of something.
    Of(&'static str),
    /// Bytes, shown in the unit that fits.
    Bytes,
    /// Seconds, shown as seconds, minutes or hours.
    Seconds,
    /// Microseconds, shown in the unit that fits.
    Micros,
}

/// One axis.
#[derive(Clone, Copy, Debug)]
pub struct Axis {
    pub(crate) name: &'static str,
    pub(crate) unit: Unit,
    pub(crate) is_log: bool,
}

impl Axis {
    /// An axis whose marks stand at even distances; it has 0 on it.
    #[must_use]
    pub const fn even(name: &'static str, unit: Unit) -> Self {
        Self { name, unit, is_log: false }
    }

    /// One on which ten times as much is always as far away; what is not above 0 has no place on it.
    #[must_use]
    pub const fn log(name: &'static str, unit: Unit) -> Self {
        Self { name, unit, is_log: true }
    }
}

/// How the points of a line are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// Joined, with a gap where a value is missing.
    Line,
    /// Each value stays until the next one.
    Steps,
    /// Each by itself.
    Dots,
    /// What was computed and not measured: joined by a dotted line.
    Fit,
}

/// A value at a place; `None` is what could not be read.
pub(crate) type Point = (f64, Option<f64>);

/// One line of a plot.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) look: Look,
    pub(crate) points: Vec<Point>,
    /// The least and the greatest that belong to each point; empty where there are none.
    pub(crate) intervals: Vec<(f64, f64)>,
}

/// A plot.
#[derive(Clone, Debug)]
pub struct Chart {
    title: String,
    x: Axis,
    y: Axis,
    lines: Vec<Line>,
    levels: Vec<(String, f64)>,
    marks: Vec<(f64, String)>,
    notes: Vec<String>,
    /// Lines that may lie on each other: the first is the widest.
    is_nested: bool,
    /// Whether the greatest value of a line says something.
    has_peaks: bool,
}

impl Chart {
    /// A plot with nothing on it yet.
    #[must_use]
    pub fn new(title: impl Into<String>, x: Axis, y: Axis) -> Self {
        let has_peaks = !x.is_log;
        Self {
            title: title.into(),
            x,
            y,
            lines: Vec::new(),
            levels: Vec::new(),
            marks: Vec::new(),
            notes: Vec::new(),
            is_nested: false,
            has_peaks,
        }
    }

    /// With one more line.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, look: Look, points: Vec<(f64, Option<f64>)>) -> Self {
        self.lines.push(Line { name: name.into(), look, points, intervals: Vec::new() });
        self
    }

    /// With points that have each a least and a greatest: `(place, (value, least, greatest))`.
    #[must_use]
    pub fn with_intervals(mut self, name: impl Into<String>, points: &[(f64, (f64, f64, f64))]) -> Self {
        self.lines.push(Line {
            name: name.into(),
            look: Look::Dots,
            points: points.iter().map(|(at, (value, ..))| (*at, Some(*value))).collect(),
            intervals: points.iter().map(|(_, (_, least, greatest))| (*least, *greatest)).collect(),
        });
        self
    }

    /// With a level line across the plot, such as a target.
    #[must_use]
    pub fn level(mut self, name: impl Into<String>, value: f64) -> Self {
        self.levels.push((name.into(), value));
        self
    }

    /// With marks at places of the horizontal axis, such as the begin of each phase.
    #[must_use]
    pub fn marks(mut self, marks: &[(f64, String)]) -> Self {
        self.marks.extend(marks.iter().cloned());
        self
    }

    /// With a sentence below it.
    #[must_use]
    pub fn note(mut self, text: impl Into<String>) -> Self {
        self.notes.push(text.into());
        self
    }

    /// Its lines may lie on each other, and are all to be seen.
    #[must_use]
    pub(crate) fn nested(mut self) -> Self {
        self.is_nested = true;
        self
    }

    /// The greatest value of a line says nothing.
    #[must_use]
    pub(crate) fn without_peaks(mut self) -> Self {
        self.has_peaks = false;
        self
    }

    /// Whether there is a value on it.
    #[must_use]
    pub(crate) fn has_values(&self) -> bool {
        self.lines.iter().any(|line| line.points.iter().any(|point| point.1.is_some()))
    }
}

/// A file's name made of a title: letters and digits, with `-` between words.
pub(crate) fn slug(title: &str) -> String {
    let words = title.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_ascii_lowercase).collect::<Vec<_>>().join("-")
}
