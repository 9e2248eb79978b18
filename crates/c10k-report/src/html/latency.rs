//! Latencies: how they are spread, and how they went over time, with the swarm's own lateness beside them.

use c10k_record::{LatencySummary, human_count, latency};
use hdrhistogram::Histogram;
use maud::{Markup, html};

use super::Shown;
use super::over_time::{in_words, secs};
use crate::chart::{Axis, Chart, Look, Unit};
use crate::hlog::{LatencyLog, Tagged};

const MICROS: Axis = Axis::log("", Unit::Micros);
const LOGGED: Axis = Axis::even("since the swarm began to log", Unit::Seconds);

/// The tags of the log in words, in the order in which they are told. Those of a workload begin with a phase's name.
const TAGS: [(&str, &str); 6] = [
    ("connect", "connect"),
    ("connect_response", "connect, from due time"),
    ("handshake", "handshake"),
    ("first_echo", "first echo"),
    ("echo", "echo after the hold"),
    ("lateness", "lateness of the swarm"),
];

/// The plots.
pub(super) fn plots(shown: &Shown<'_>) -> Markup {
    let log = shown.latencies;
    if log.tags.is_empty() {
        return html! {
            p.gap {
                "There is no latency.hlog of this run that can be read: how latencies are spread, and how they went over "
                "time, is not known. The figures below are of the record."
            }
        };
    }
    html! {
        div.plots {
            (spread(log).figure())
            @for part in over_time(log) { (part) }
        }
        @if log.unreadable > 0 {
            p.note.bad { (log.unreadable) " lines of latency.hlog could not be read and are left out." }
        }
    }
}

fn words(tag: &str) -> String {
    let known = TAGS.iter().find(|(name, _)| *name == tag);
    known.map_or_else(|| tag.replace('.', ": "), |(_, words)| (*words).to_owned())
}

/// Tags in the order in which they are told.
fn ordered(log: &LatencyLog) -> Vec<(&str, &Tagged)> {
    let place = |tag: &str| TAGS.iter().position(|(name, _)| *name == tag).unwrap_or(TAGS.len());
    let mut tags: Vec<(&str, &Tagged)> =
        log.tags.iter().map(|(tag, tagged)| (tag.as_str(), tagged)).collect();
    tags.sort_by_key(|(tag, _)| (place(tag), *tag));
    tags
}

fn spread(log: &LatencyLog) -> Chart {
    let share = Axis::even("no longer than that", Unit::Of("% of all"));
    let mut chart = Chart::new("How latencies are spread", MICROS, share);
    for (tag, tagged) in ordered(log).into_iter().take(8) {
        chart = chart.with(words(tag), Look::Line, distribution(&tagged.whole));
    }
    chart
}

/// The cumulative distribution: µs, and how many in a hundred took no longer.
pub(super) fn distribution(histogram: &Histogram<u64>) -> Vec<(f64, Option<f64>)> {
    if histogram.is_empty() {
        return Vec::new();
    }
    let quantile = |percent: f64| (histogram.value_at_quantile(percent / 100.0) as f64, Some(percent));
    let tail = [99.5, 99.9, 99.99, 100.0];
    let mut points: Vec<(f64, Option<f64>)> = (0..=99).map(f64::from).chain(tail).map(quantile).collect();
    // Of one latency the last, which is the most that took no longer.
    points.dedup_by(|later, earlier| {
        let is_same = later.0 == earlier.0;
        if is_same {
            earlier.1 = later.1;
        }
        is_same
    });
    points
}

/// A summary's figure of each part of the time.
fn of_slices(tagged: &Tagged, figure: fn(&LatencySummary) -> Option<u64>) -> Vec<(f64, Option<f64>)> {
    let slices = tagged.over_time.iter();
    slices.map(|slice| (secs(slice.at_ms), figure(&slice.summary).map(|us| us as f64))).collect()
}

fn over_time(log: &LatencyLog) -> Vec<Markup> {
    let mut figures = Vec::new();
    for (tag, tagged) in ordered(log) {
        let (phase, kind) = tag.rsplit_once('.').unwrap_or(("", tag));
        let late = match (phase, kind) {
            (_, "lateness" | "service") => continue,
            ("", "connect_response") => log.tags.get("lateness"),
            ("", _) => None,
            (phase, _) => log.tags.get(&format!("{phase}.lateness")),
        };
        let title = format!("{} over time", upper(&words(tag)));
        if tagged.over_time.len() < 2 && late.is_none() {
            figures.push(in_words(&title, &told(tagged.over_time.first().map(|slice| slice.summary))));
            continue;
        }
        let mut chart = Chart::new(title, LOGGED, MICROS)
            .with("p50", Look::Line, of_slices(tagged, |summary| summary.p50))
            .with("p99", Look::Line, of_slices(tagged, |summary| summary.p99))
            .with("longest", Look::Line, of_slices(tagged, |summary| summary.max));
        if let Some(late) = late {
            chart =
                chart.with("lateness of the swarm, p99", Look::Line, of_slices(late, |summary| summary.p99));
            chart = chart.note("What the swarm was late by is no word on the server.");
        }
        figures.push(chart.figure());
    }
    figures
}

fn told(summary: Option<LatencySummary>) -> String {
    let Some(summary) = summary else { return "Nothing was measured.".to_owned() };
    format!(
        "All {} were measured in one interval of the log: p50 {}, p99 {}, longest {}.",
        human_count(summary.count),
        latency(summary.p50),
        latency(summary.p99),
        latency(summary.max)
    )
}

fn upper(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;
    use crate::hlog::read_latency_log;

    #[test]
    fn a_distribution_rises_to_a_hundred_and_has_each_latency_once() {
        let log = read_latency_log(&fixtures::latency_log());
        let points = distribution(&log.tags["connect"].whole);
        assert!(points.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 < pair[1].1), "{points:?}");
        assert_eq!(points.last().and_then(|point| point.1), Some(100.0));
        assert!(points.len() <= 104);
    }

    #[test]
    fn lateness_stands_beside_the_response_of_its_phase() {
        let log = read_latency_log(&fixtures::latency_log());
        let all: String = over_time(&log).into_iter().map(Markup::into_string).collect();
        assert!(
            all.contains("Echo: response over time") && all.contains("lateness of the swarm, p99"),
            "{all}"
        );
        assert!(!all.contains("Echo: lateness over time"), "it stands beside, and not alone");
    }
}
