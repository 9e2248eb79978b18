//! The wall: what speaks for it and what against, and the ladder of all walls with what was reached.

use c10k_record::{Ceiling, Degree, GapOf, Record, Sample, human_count, latency};
use maud::{Markup, html};

use super::Shown;
use super::over_time::{dropped, in_words};
use super::tables::{section, table_of};
use crate::chart::{Axis, Bars, Unit};
use crate::facts;

/// Walls on the ladder.
const MOST_WALLS: usize = 14;

/// What each limit allows, on a scale of powers of ten, with what was reached.
pub(super) fn ladder(shown: &Shown<'_>) -> Markup {
    let title = "The walls, and what was reached";
    let record = shown.record;
    let mut walls: Vec<(String, u64)> =
        shown.ladder.iter().map(|wall| (wall.wall.clone(), wall.connections)).collect();
    let foreseen = record.ceiling.iter().filter_map(|ceiling| ceiling.predicted.as_ref());
    for wall in foreseen.chain(record.wall_ahead.as_ref()) {
        if !walls.iter().any(|(name, _)| *name == wall.wall) {
            walls.push((wall.wall.clone(), wall.connections));
        }
    }
    walls.retain(|(_, connections)| *connections > 0);
    walls.sort_by_key(|(_, connections)| *connections);
    if walls.is_empty() {
        return in_words(
            title,
            "No limit of that host is in the record: what the walls would allow is not known.",
        );
    }
    let c = &record.connections;
    let more = walls.len().saturating_sub(MOST_WALLS);
    let mut bars = Bars::new(title, Axis::log("", Unit::Of("connections")));
    let met =
        |name: &str| record.ceiling.iter().flat_map(|ceiling| &ceiling.walls).any(|wall| wall.name == name);
    for (name, connections) in walls.iter().take(MOST_WALLS) {
        let (name, style) = if met(name) { (format!("✗ {name}: met"), 4) } else { (name.clone(), 5) };
        bars = bars.bar(name, Some(*connections as f64), style);
    }
    let reached = [("held", c.held), ("target", c.target)].into_iter().filter(|(_, count)| *count > 0);
    for (name, count) in reached {
        bars = bars.level(name, count as f64);
    }
    if more > 0 {
        bars = bars.note(format!("{more} more stand above these."));
    }
    bars.note("As the limits of the host and the plan allow: `c10k-lab doctor` shows how each is computed.")
        .figure()
}

/// The sections on walls; nothing of a run that met none and has none ahead.
pub(super) fn evidence(shown: &Shown<'_>) -> Markup {
    let record = shown.record;
    let against =
        record.ceiling.as_ref().map(|ceiling| against(record, ceiling, shown.samples)).unwrap_or_default();
    html! {
        @if let Some(ceiling) = facts::ceiling(record) { (section(&ceiling)) }
        @if !against.is_empty() {
            section {
                h2 { "What speaks against another cause" }
                (table_of(&["looked at", "seen", "so"], &against))
            }
        }
        @if let Some(met) = facts::met(record) { (section(&met)) }
    }
}

/// What was looked at and does not fit another wall, or weakens this one: what it was, what was seen, what follows.
fn against(record: &Record, ceiling: &Ceiling, samples: &[Sample]) -> Vec<[String; 3]> {
    let mut rows = Vec::new();
    let mut row = |what: &str, seen: String, so: &str| rows.push([what.to_owned(), seen, so.to_owned()]);
    for wall in ceiling.walls.iter().filter(|wall| wall.degree == Some(Degree::Likely)) {
        row(
            &wall.name,
            "likely".to_owned(),
            "no errno and no counter proves it: it fits, and nothing contradicts it",
        );
    }
    let is_met = |name: &str| ceiling.walls.iter().any(|wall| wall.name == name);
    if let Some(predicted) = ceiling.predicted.as_ref().filter(|predicted| !is_met(&predicted.wall)) {
        let so = "the wall that was predicted is not the one that was met";
        row(&predicted.wall, format!("predicted at {}", human_count(predicted.connections)), so);
    }
    let still: Vec<&str> =
        dropped(samples).into_iter().filter(|(_, most)| *most == 0).map(|(name, _)| name).collect();
    if !still.is_empty() {
        row(&still.join(", "), "stayed 0".to_owned(), "the kernel counted no drop of theirs");
    }
    if record.connections.ghosts == Some(0) {
        row("ghosts", "0".to_owned(), "the server accepted each that was established");
    }
    for verdict in record.verdicts.iter().filter(|verdict| verdict.holds()) {
        row(&verdict.expr, c10k_record::verdict_value(verdict), "it holds: that is not what broke");
    }
    for gap in record.gaps.iter().take(4) {
        let whose = if gap.process == GapOf::Swarm { "the swarm" } else { "the lab" };
        let seen = format!("did not run for {} ms", human_count(gap.to_ms.saturating_sub(gap.from_ms)));
        row(whose, seen, "what was late or lost then may be its own doing");
    }
    if let Some(p99) = record.lateness_us.as_ref().and_then(|late| late.p99).filter(|p99| *p99 >= 10_000) {
        row("lateness of the swarm", format!("p99 {}", latency(Some(p99))), "late for a reason of its own");
    }
    rows
}
