//! A search: what was tried, what held and what did not, and the range of its ends.

use c10k_record::{Tone, human_count};
use maud::{Markup, html};
use serde_json::Value;

use super::over_time::in_words;
use super::tables::table_of;
use super::tiles;
use crate::chart::{Axis, Chart, Look, Unit};

/// What the search has found, in the sentence of its page; `None` where none came to its end.
pub(super) fn sentence(find: &Value) -> Option<(Tone, String)> {
    let found = find["connections"]["median"].as_u64()?;
    let beyond = &find["beyond"];
    let rest = match count(&beyond["connections"]) {
        Some(at) => format!("{} does not hold at {at}{}", verdict_of(beyond), wall_of(beyond)),
        None => "they hold to the most that was tried".to_owned(),
    };
    let tone = if found > 0 { Tone::Good } else { Tone::Bad };
    Some((
        tone,
        format!("FOUND {}: the most connections at which the verdicts hold; {rest}", human_count(found)),
    ))
}

fn verdict_of(beyond: &Value) -> &str {
    beyond["verdict"].as_str().unwrap_or("a verdict")
}

fn wall_of(beyond: &Value) -> String {
    beyond["wall"].as_str().map_or_else(String::new, |wall| format!(" (wall: {wall})"))
}

/// The section of find.json; what it lacks is left out with a word.
pub(super) fn section(find: &Value) -> Markup {
    let tried: Vec<&Value> = find["tried"].as_array().into_iter().flatten().collect();
    html! {
        section {
            h2 { "The search" }
            (tiles::shown(&figures(find)))
            @if let Some(because) = find["ended_because"].as_str() { p { "It ended early: " (because) } }
            div.plots { (plot(find, &tried)) }
            @if !tried.is_empty() {
                (table_of(&["tried", "search", "connections", "open", "lost", "verdicts"], &rows(&tried)))
            }
        }
    }
}

fn count(value: &Value) -> Option<String> {
    value.as_u64().map(human_count)
}

fn figures(find: &Value) -> Vec<(String, String, String)> {
    let range = &find["connections"];
    let unknown = || "not found".to_owned();
    let ends = count(&range["lowest"]).zip(count(&range["highest"]));
    let searches = match find["searches"].as_array().map_or(0, Vec::len) {
        1 => "1 search".to_owned(),
        count => format!("{count} searches"),
    };
    let words = match ends {
        Some((lowest, highest)) if lowest != highest => {
            format!("{lowest} to {highest} in {searches}")
        }
        Some(_) => format!("in {searches}"),
        None => "no search came to its end".to_owned(),
    };
    let beyond = &find["beyond"];
    let mut figures = vec![(
        "most at which the verdicts hold".to_owned(),
        count(&range["median"]).unwrap_or_else(unknown),
        words,
    )];
    figures.push(match count(&beyond["connections"]) {
        Some(at) => ("does not hold at".to_owned(), at, format!("{}{}", verdict_of(beyond), wall_of(beyond))),
        None => {
            let most = count(&find["most"]).unwrap_or_else(unknown);
            (
                "does not hold at".to_owned(),
                "none".to_owned(),
                format!("up to {most}, which was the most to be tried"),
            )
        }
    });
    figures
}

fn plot(find: &Value, tried: &[&Value]) -> Markup {
    let title = "Sizes in the order in which they were tried";
    let of = |holds: bool| -> Vec<(f64, Option<f64>)> {
        let places = tried.iter().enumerate().filter(|(_, one)| one["holds"].as_bool() == Some(holds));
        places
            .map(|(n, one)| (n as f64 + 1.0, one["connections"].as_u64().map(|count| count as f64)))
            .collect()
    };
    if tried.is_empty() {
        return in_words(title, "find.json names no size that was tried.");
    }
    let all = tried.iter().enumerate();
    let way =
        all.map(|(n, one)| (n as f64 + 1.0, one["connections"].as_u64().map(|count| count as f64))).collect();
    let axes = (Axis::even("", Unit::Of("in this order")), Axis::even("", Unit::Of("connections")));
    let mut chart = Chart::new(title, axes.0, axes.1)
        .with("verdicts hold", Look::Dots, of(true))
        .with("one does not", Look::Dots, of(false))
        .with("the way", Look::Fit, way)
        .without_peaks();
    let range = ["median", "lowest", "highest"]
        .map(|key| find["connections"][key].as_u64().map(|count| count as f64));
    if let [Some(median), Some(lowest), Some(highest)] = range {
        let behind_all = tried.len() as f64 + 1.0;
        chart = chart.with_intervals("where the searches ended", &[(behind_all, (median, lowest, highest))]);
    }
    chart.figure()
}

fn rows(tried: &[&Value]) -> Vec<[String; 6]> {
    let unknown = || "unknown".to_owned();
    tried
        .iter()
        .take(200)
        .map(|one| {
            let verdicts = one["verdicts"].as_array().into_iter().flatten();
            let verdicts: Vec<String> = verdicts
                .map(|verdict| {
                    let sign = if verdict["passed"].as_bool() == Some(true) { "✓" } else { "✗" };
                    let value = verdict["value"]
                        .as_f64()
                        .map_or_else(String::new, |value| format!(": {}", c10k_record::number(Some(value))));
                    format!("{sign} {}{value}", verdict["expr"].as_str().unwrap_or("?"))
                })
                .collect();
            let holds = match one["holds"].as_bool() {
                Some(true) => "✓ holds",
                Some(false) => "✗ does not",
                None => "unknown",
            };
            [
                holds.to_owned(),
                one["search"]
                    .as_u64()
                    .map_or_else(|| "for the diagnosis".to_owned(), |number| number.to_string()),
                count(&one["connections"]).unwrap_or_else(unknown),
                count(&one["open"]).unwrap_or_else(unknown),
                count(&one["failed"]).unwrap_or_else(unknown),
                verdicts.join("; "),
            ]
        })
        .collect()
}
