//! The wall in a few lines, and what to type next.

use c10k_record::{
    Ceiling, Degree, Evidence, Record, Remedy, RunResult, Side, human_count, shell, what_is_higher,
};
use maud::{Markup, html};

use crate::page::command;

/// Lines of evidence: all of it stands further down.
const FEW: usize = 3;

pub(super) fn section(record: &Record) -> Markup {
    html! {
        @if let Some(ceiling) = &record.ceiling { (wall(ceiling)) }
        section { h2 { "What to type next" } (lines(record)) }
    }
}

fn wall(ceiling: &Ceiling) -> Markup {
    let first = ceiling.walls.first();
    let sure = match first.and_then(|wall| wall.degree).or(ceiling.degree) {
        Some(Degree::Proven) => {
            "Proven: an errno, a counter of the kernel or what a process said of itself shows it."
        }
        Some(Degree::Likely) => "Likely: it fits all that was seen, and nothing contradicts it.",
        Some(Degree::Unknown) => "Unknown: nothing that was seen proves a wall.",
        None if first.is_none() => "Unknown: nothing that was seen proves a wall.",
        None => "",
    };
    html! {
        section {
            h2 { "What stopped it" }
            @match first {
                Some(first) => p { b.bad { (first.name) } ": " (first.title) " (" (end(first.side)) ")" },
                None => p { b.bad { (ceiling.wall) } },
            }
            @if !sure.is_empty() { p { (sure) } }
            ul {
                @for evidence in first.map_or(&ceiling.evidence, |first| &first.evidence).iter().take(FEW) {
                    li { (told(evidence)) }
                }
            }
            @if ceiling.walls.len() > 1 {
                p { "After it: " (ceiling.walls[1..].iter().map(|wall| wall.name.as_str()).collect::<Vec<_>>().join(", ")) }
            }
        }
    }
}

fn end(side: Side) -> &'static str {
    match side {
        Side::Swarm => "at the end that connects",
        Side::Server => "at the server",
        Side::Host => "of the machine, or of the way between the ends",
    }
}

fn told(evidence: &Evidence) -> String {
    let value = match (evidence.before, evidence.after) {
        (Some(before), Some(after)) => format!(" {} → {}", human_count(before), human_count(after)),
        (before, after) => {
            after.or(before).map_or_else(String::new, |value| format!(" {}", human_count(value)))
        }
    };
    format!("{}{value}: {}", evidence.source, evidence.text)
}

fn lines(record: &Record) -> Markup {
    let ceiling = record.ceiling.as_ref();
    let first = ceiling.and_then(|ceiling| ceiling.walls.first());
    let remedy = first
        .and_then(|wall| wall.remedy.as_ref())
        .or_else(|| ceiling.and_then(|ceiling| ceiling.remedy.as_ref()));
    let again = (!record.command.is_empty()).then(|| shell::line(&shell::named(record.command.clone())));
    html! {
        @if let Some(remedy) = remedy { (lift(remedy)) }
        @match (record.result(), first) {
            (RunResult::Done, _) => @if let Some(higher) = higher(record) {
                p { "Higher:" }
                (command(&higher))
            },
            (RunResult::Short | RunResult::VerdictBroken, Some(wall)) => {
                p { "What this wall is, and how it is told from others:" }
                (command(&format!("c10k-lab walls {}", shell::quoted(&wall.name))))
            },
            (RunResult::Short | RunResult::VerdictBroken, None) => {
                p { "What this machine allows, wall by wall:" }
                (command("c10k-lab doctor"))
            },
            _ => @if let Some(again) = &again { p { "The same again:" } (command(again)) },
        }
    }
}

fn higher(record: &Record) -> Option<String> {
    what_is_higher(record, &format!("results/{}", record.run_id))
}

fn lift(remedy: &Remedy) -> Markup {
    html! {
        p { (remedy.summary) }
        @for line in &remedy.commands { (command(line)) }
    }
}
