//! Facts as tables that a narrow page stacks, a profile as a diff, numbers in pairs.

use c10k_record::{ProfileInRun, Record, Scope, Tone, UNKNOWN};
use maud::{Markup, html};

use crate::facts::{Cell, Row, Section};
use crate::page::{class, command};

/// A section with its heading.
pub(super) fn section(section: &Section) -> Markup {
    html! { section { h2 { (section.title) } (rows(section)) } }
}

/// Rows of cells that follow each other are one table; texts and commands stand between.
fn rows(section: &Section) -> Markup {
    let mut groups: Vec<Vec<&Row>> = Vec::new();
    for row in &section.rows {
        let is_cells = |row: &Row| matches!(row, Row::Cells(..));
        match groups.last_mut() {
            Some(group) if is_cells(row) && group.iter().all(|row| is_cells(row)) => group.push(row),
            _ => groups.push(vec![row]),
        }
    }
    html! {
        @for group in &groups {
            @match group[0] {
                Row::Text(tone, text) => p class=[class(*tone)] { (text) },
                Row::Command(line) => (command(line)),
                Row::Cells(..) => (table(&section.header, group)),
            }
        }
    }
}

fn table(header: &[&str], rows: &[&Row]) -> Markup {
    let cells: Vec<(Tone, &[Cell])> = rows
        .iter()
        .filter_map(|row| match row {
            Row::Cells(tone, cells) => Some((*tone, cells.as_slice())),
            _ => None,
        })
        .collect();
    let first = cells.first().map(|row| row.1).unwrap_or_default();
    let number = |cell: Option<&Cell>| cell.is_some_and(|cell| cell.right).then_some("n");
    html! {
        table {
            @if !header.is_empty() {
                thead { tr { @for (n, name) in header.iter().enumerate() { th class=[number(first.get(n))] { (name) } } } }
            }
            tbody {
                @for (tone, cells) in &cells {
                    tr class=[class(*tone)] {
                        @for (n, cell) in cells.iter().enumerate() { (one(header.get(n), cell)) }
                    }
                }
            }
        }
    }
}

fn one(name: Option<&&str>, cell: &Cell) -> Markup {
    let name = name.filter(|name| !name.is_empty());
    let kind = match (cell.right, cell.text.starts_with("  ")) {
        (true, _) => Some("n"),
        (false, true) => Some("inner"),
        (false, false) => None,
    };
    html! { td class=[kind] data-name=[name] { (cell.text.trim_start()) } }
}

/// A table of texts.
pub(super) fn table_of(header: &[impl AsRef<str>], rows: &[impl AsRef<[String]>]) -> Markup {
    let name = |n: usize| header.get(n).filter(|_| n > 0).map(AsRef::as_ref);
    html! {
        table {
            thead { tr { @for name in header { th { (name.as_ref()) } } } }
            tbody {
                @for row in rows {
                    tr {
                        @for (n, text) in row.as_ref().iter().enumerate() {
                            td data-name=[name(n)] { (text) }
                        }
                    }
                }
            }
        }
    }
}

/// The profile as a diff of the settings: before with `-`, after with `+`, what could not be set with `!`.
pub(super) fn profile(record: &Record) -> Markup {
    let Some(two) = &record.two_hosts else { return one_profile(&record.profile, "") };
    html! {
        (one_profile(&two.server.profile, " at the server's host"))
        (one_profile(&record.profile, " at the clients' host"))
    }
}

fn one_profile(profile: &ProfileInRun, whose: &str) -> Markup {
    let name = if profile.name.is_empty() { UNKNOWN } else { &profile.name };
    html! {
        section {
            h2 { "Profile " (name) (whose) }
            @if profile.applied.is_empty() && profile.not_applied.is_empty() { p.gap { "Nothing was changed." } }
            @if !profile.applied.is_empty() {
                ul.diff {
                    @for setting in &profile.applied {
                        @if setting.before == setting.after {
                            li { span { "= " (setting.key) " = " (setting.after) } }
                        } @else {
                            li {
                                span.was { "- " (setting.key) " = " (setting.before) }
                                span.is { "+ " (setting.key) " = " (setting.after) }
                            }
                        }
                    }
                }
            }
            @if !profile.not_applied.is_empty() {
                h3 { "Not in force" }
                ul.diff {
                    @for setting in &profile.not_applied {
                        li {
                            span.no {
                                "! " (setting.key) " is " (setting.present.as_deref().unwrap_or(UNKNOWN)) ", wanted "
                                (setting.wanted) " (" (reach(setting.scope)) "): " (setting.why)
                            }
                        }
                    }
                }
                @for line in profile.not_applied.iter().filter_map(|setting| setting.command.as_deref()).take(40) {
                    (command(line))
                }
            }
        }
    }
}

fn reach(scope: Scope) -> &'static str {
    match scope {
        Scope::Process => "this process",
        Scope::Namespace => "this network namespace",
        Scope::Host => "the whole host",
    }
}

/// Names with their values.
pub(super) fn pairs(pairs: &[(String, String)]) -> Markup {
    html! {
        dl.pairs {
            @for (name, value) in pairs { div { dt { (name) } dd { (value) } } }
        }
    }
}
