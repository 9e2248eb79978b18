//! A page made of parts by somebody who knows what stands on it: the frame, tables, tiles and plots are ours.

use c10k_record::Tone;
use maud::{Markup, html};

use super::tables::table_of;
use super::tiles;
use crate::chart::Chart;
use crate::page::{Head, class, command, framed};

/// One part of a page, from its top to its end.
#[derive(Clone, Debug)]
pub enum Part {
    /// A heading: what follows it belongs to it.
    Heading(String),
    /// A paragraph.
    Text(Tone, String),
    /// A line to paste, with a button that copies it.
    Command(String),
    /// Figures that are read first: name, value, a few words.
    Tiles(Vec<(String, String, String)>),
    /// A table: the names of its columns, then its rows. A narrow page stacks it.
    Table(Vec<String>, Vec<Vec<String>>),
    /// Plots beside each other.
    Plots(Vec<Chart>),
}

/// What stands at the top of such a page.
#[derive(Clone, Copy, Debug)]
pub struct Top<'a> {
    /// What it is of.
    pub name: &'a str,
    /// How the sentence is meant.
    pub tone: Tone,
    /// What a reader takes along who reads no more.
    pub sentence: &'a str,
    /// When, where, by what: one line.
    pub about: &'a str,
}

/// The page: one file that loads nothing, light or dark as the reader's system is. All text is escaped.
#[must_use]
pub fn page_of_parts(top: &Top<'_>, parts: &[Part]) -> String {
    let main = html! { @for part in parts { (shown(part)) } };
    let Top { name, tone, sentence, about } = *top;
    framed(&Head { name, tone, sentence, about }, &main)
}

fn shown(part: &Part) -> Markup {
    match part {
        Part::Heading(text) => html! { h2 { (text) } },
        Part::Text(tone, text) => html! { p class=[class(*tone)] { (text) } },
        Part::Command(line) => command(line),
        Part::Tiles(of) => tiles::shown(of),
        Part::Table(header, rows) => table_of(header, rows),
        Part::Plots(charts) => html! { div.plots { @for chart in charts { (chart.figure()) } } },
    }
}
