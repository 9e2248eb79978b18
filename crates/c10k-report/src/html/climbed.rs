//! The page of a climb: a staircase of walls, each with its evidence and what lifted it.

use c10k_record::{Tone, counted, human_count};
use maud::{Markup, html};
use serde_json::Value;

use super::over_time::in_words;
use super::tiles;
use crate::chart::{Axis, Bars, Chart, Look, Unit};
use crate::page::{Head, command, framed};

/// What became of a climb, in a line: the same on the terminal, in a list and on its page.
#[must_use]
pub fn climb_headline(held: Option<u64>, target: Option<u64>, steps: usize, wall: Option<&str>) -> String {
    let climbed = match target.zip(held) {
        Some((target, held)) if held < target => "SHORT: climbed to",
        _ => "CLIMBED to",
    };
    let held = held.map_or_else(|| "an unknown number of".to_owned(), human_count);
    let of = target.map_or_else(String::new, |target| format!(" of {}", human_count(target)));
    let steps = counted(steps as u64, "step");
    let wall = wall.map_or_else(String::new, |wall| format!("; wall: {wall}"));
    format!("{climbed} {held}{of} connections in {steps}{wall}")
}

/// The same of a climb's document (climb.json).
#[must_use]
pub fn headline_of_climb(climb: &Value) -> String {
    let count = |name: &str| climb["connections"][name].as_u64();
    let steps = climb["steps"].as_array().map_or(0, Vec::len);
    climb_headline(count("held"), count("target"), steps, climb["wall"].as_str())
}

/// A climb's document (climb.json) as a page. Keys that it lacks, or that hold something else, are told as unknown.
#[must_use]
pub fn page_of_climb(name: &str, climb: &Value) -> String {
    let steps: Vec<&Value> = climb["steps"].as_array().into_iter().flatten().collect();
    let because = climb["ended_because"].as_str().unwrap_or("why it ended is not in its document");
    let sentence = format!("{}; {because}", headline_of_climb(climb));
    let start = climb["start"].as_str().unwrap_or("an unknown profile");
    let about =
        format!("{name} · from {start}, {}", climb["protocol"].as_str().unwrap_or("an unknown protocol"));
    let warnings: Vec<&str> = texts(&climb["warnings"]).collect();
    let main = html! {
        (tiles::shown(&figures(climb, &steps)))
        (next(climb))
        section {
            h2 { "From wall to wall" }
            div.plots { (staircase(climb, &steps)) (held_and_predicted(&steps)) }
            @if steps.is_empty() { p.gap { "No step came to its end." } }
            ol.steps { @for step in &steps { (one(step)) } }
        }
        (check(climb))
        @if !warnings.is_empty() { section { h2 { "Warnings" } ul { @for text in warnings { li { (text) } } } } }
        section {
            h2 { "The same again, from what was lifted" }
            @match climb["climbed"].as_str() {
                Some(profile) => (command(&format!("c10k-lab run --profile {}", c10k_record::shell::quoted(profile)))),
                None => p.gap { "The document does not say where its profile is." },
            }
        }
    };
    framed(
        &Head {
            name,
            tone: if steps.is_empty() { Tone::Bad } else { Tone::Plain },
            sentence: &sentence,
            about: &about,
        },
        &main,
    )
}

fn count(value: &Value) -> Option<String> {
    value.as_u64().map(human_count)
}

fn texts(value: &Value) -> impl Iterator<Item = &str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str)
}

fn figures(climb: &Value, steps: &[&Value]) -> Vec<(String, String, String)> {
    let unknown = || "unknown".to_owned();
    let of = count(&climb["connections"]["target"])
        .map_or_else(|| "as many as the memory holds".to_owned(), |of| format!("of {of}"));
    let lifted = steps.iter().filter(|step| step["lifted_with"].is_object()).count();
    let mut figures = vec![
        ("held".to_owned(), count(&climb["connections"]["held"]).unwrap_or_else(unknown), of),
        ("walls lifted".to_owned(), lifted.to_string(), format!("in {} steps", steps.len())),
        ("ended at".to_owned(), climb["wall"].as_str().unwrap_or("no wall").to_owned(), String::new()),
    ];
    if let Some(memory) = count(&climb["memory"]["connections"]) {
        figures.push((
            "predicted of memory".to_owned(),
            memory,
            climb["memory"]["wall"].as_str().unwrap_or("").to_owned(),
        ));
    }
    figures
}

fn held(step: &Value) -> Option<f64> {
    step["held"].as_u64().map(|held| held as f64)
}

fn wall(step: &Value) -> &str {
    step["wall"].as_str().unwrap_or("no wall")
}

fn staircase(climb: &Value, steps: &[&Value]) -> Markup {
    let title = "The staircase";
    let place = |n: usize| n as f64 + 1.0;
    let all = steps.iter().enumerate();
    let mut stairs: Vec<(f64, Option<f64>)> = all.clone().map(|(n, step)| (place(n), held(step))).collect();
    if let Some(last) = stairs.last().copied() {
        // Its tread too.
        stairs.push((last.0 + 0.8, last.1));
    }
    let predicted =
        all.map(|(n, step)| (place(n), step["predicted"]["connections"].as_u64().map(|count| count as f64)));
    let marks: Vec<(f64, String)> =
        steps.iter().enumerate().map(|(n, step)| (place(n), wall(step).to_owned())).collect();
    let least =
        stairs.iter().filter_map(|step| step.1).filter(|held| *held > 0.0).fold(f64::INFINITY, f64::min);
    let most = stairs.iter().filter_map(|step| step.1).fold(0.0, f64::max);
    let of = Unit::Of("connections held");
    let y = if most > least * 20.0 { Axis::log("", of) } else { Axis::even("", of) };
    let mut chart = Chart::new(title, Axis::even("", Unit::Of("step")), y)
        .with("held", Look::Steps, stairs)
        .with("predicted", Look::Dots, predicted.collect())
        .without_peaks()
        .marks(&marks);
    if let Some(target) = climb["connections"]["target"].as_u64() {
        chart = chart.level("target", target as f64);
    }
    if let Some(memory) = climb["memory"]["connections"].as_u64() {
        chart = chart.level("what the memory was predicted to hold", memory as f64);
    }
    chart.figure()
}

fn held_and_predicted(steps: &[&Value]) -> Markup {
    let title = "Each step and its wall";
    if steps.is_empty() {
        return in_words(title, "No step came to its end.");
    }
    let mut bars = Bars::new(title, Axis::even("", Unit::Of("connections held")));
    for (n, step) in steps.iter().enumerate().take(24) {
        let style = match (step["wall"].is_string(), step["lifted_with"].is_object()) {
            (true, true) => 2,
            (true, false) => 4,
            (false, _) => 0,
        };
        bars = bars.bar(format!("{}: {}", n + 1, wall(step)), held(step), style);
    }
    bars = bars.note("Green: its wall was lifted; red: it was not; blue: no wall was proven.");
    bars.figure()
}

fn one(step: &Value) -> Markup {
    let predicted = count(&step["predicted"]["connections"]);
    let evidence: Vec<&Value> = step["evidence"].as_array().into_iter().flatten().collect();
    html! {
        li {
            p {
                b { (count(&step["held"]).unwrap_or_else(|| "unknown".to_owned())) " held" }
                @if let Some(predicted) = predicted { ", " (predicted) " predicted" }
                @match step["wall"].as_str() {
                    Some(wall) => { "; " b.bad { (wall) } },
                    None => "; no wall is proven",
                }
            }
            @for evidence in evidence.iter().take(4) {
                p.sub { (evidence["source"].as_str().unwrap_or("seen")) ": " (evidence["text"].as_str().unwrap_or("unknown")) }
            }
            @match step["lifted_with"]["how"].as_str() {
                Some(how) => p.good { "Lifted with: " (how) },
                None => @if step["wall"].is_string() { p { "Not lifted." } },
            }
            @if let Some(folder) = step["folder"].as_str() { p.sub { "Its run: " (folder) } }
        }
    }
}

fn next(climb: &Value) -> Markup {
    let next = &climb["next"];
    html! {
        section {
            h2 { "What to type next" }
            @match next["summary"].as_str() {
                Some(summary) => { p { b { (next["wall"].as_str().unwrap_or("")) } " " (summary) } },
                None => p { "Nothing is known that would have to be lifted next." },
            }
            @for line in texts(&next["commands"]) { (command(line)) }
        }
    }
}

fn check(climb: &Value) -> Markup {
    let check = &climb["check"];
    html! {
        section {
            h2 { "Check from a fresh start" }
            @match count(&check["held"]).zip(count(&check["target"])) {
                Some((held, target)) => p { (held) " of " (target) " held with the profile that the climb has left." },
                None => p.gap { "No check was made, or it came to nothing." },
            }
        }
    }
}
