//! Colour and width.

use std::os::fd::AsFd;

use crate::text::{clean, fold};

/// Columns of text that is read on no terminal.
const NO_TERMINAL: usize = 80;
/// A line of text is no longer than that, however wide the terminal, columns.
const WIDEST: usize = 100;

/// How many columns the terminal of this stream has now, which a resize changes; `None` where it is no terminal.
#[must_use]
pub fn columns(stream: &impl AsFd) -> Option<usize> {
    terminal_size::terminal_size_of(stream).map(|(width, _)| usize::from(width.0)).filter(|width| *width > 0)
}

/// The columns of text on this stream.
#[must_use]
pub fn text_width(stream: &impl AsFd) -> usize {
    columns(stream).map_or(NO_TERMINAL, |columns| columns.min(WIDEST))
}

/// How a line is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// As it is.
    Plain,
    /// As it should be.
    Good,
    /// Not as it should be.
    Bad,
}

/// How a terminal wants its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// Whether to colour it (NO_COLOR and `--color` are the caller's to obey).
    pub color: bool,
    /// Columns; text is folded to fit.
    pub width: usize,
}

impl Default for Style {
    fn default() -> Self {
        Self { color: false, width: 100 }
    }
}

impl Style {
    /// The text in the colour of its meaning, where colours are wanted.
    #[must_use]
    pub fn paint(&self, tone: Tone, bold: bool, text: &str) -> String {
        if !self.color {
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

    /// A headline, folded: what does not fit stands indented below it.
    #[must_use]
    pub fn headline(&self, tone: Tone, text: &str) -> String {
        let text = clean(text);
        let whole = fold(&text, self.width);
        let Some((first, others)) = whole.split_first() else { return "\n".to_owned() };
        let below = fold(&others.join(" "), self.width.saturating_sub(2));
        let below = below.iter().filter(|part| !part.is_empty()).map(|part| ("  ", part));
        let lines = std::iter::once(("", first)).chain(below);
        let lines = lines.map(|(before, part)| format!("{before}{}\n", self.paint(tone, true, part)));
        lines.collect()
    }
}
