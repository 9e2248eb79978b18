//! What happened over time, from `samples.csv` and `ramp.csv`.

use std::collections::BTreeSet;

use c10k_record::{RampRow, Record, Sample, human_count};
use maud::{Markup, html};

use super::Shown;
use crate::chart::{Axis, Chart, Look, Unit};

pub(super) const SECONDS: Axis = Axis::even("since the start", Unit::Seconds);

/// What a sample has to say on something.
pub(super) type Read = fn(&Sample) -> Option<f64>;

macro_rules! read {
    ($($name:literal: $field:ident),* $(,)?) => {
        &[$(($name, (|sample: &Sample| sample.$field.map(|value| value as f64)) as Read)),*]
    };
}

/// Values over time; what is no number of something is not known.
pub(super) fn points(samples: &[Sample], read: impl Fn(&Sample) -> Option<f64>) -> Vec<(f64, Option<f64>)> {
    samples
        .iter()
        .map(|sample| (secs(sample.elapsed_ms), read(sample).filter(|value| value.is_finite())))
        .collect()
}

pub(super) fn secs(ms: u64) -> f64 {
    ms as f64 / 1000.0
}

/// Where each phase begins, by the name that the plan has for it.
pub(super) fn phases(samples: &[Sample]) -> Vec<(f64, String)> {
    let name = |sample: &Sample| match sample.phase_name.is_empty() {
        true => sample.phase.clone(),
        false => sample.phase_name.clone(),
    };
    let mut marks: Vec<(f64, String)> = Vec::new();
    let mut before = String::new();
    for sample in samples {
        let now = name(sample);
        if now != before && !now.is_empty() {
            marks.push((secs(sample.elapsed_ms), now.clone()));
        }
        before = now;
    }
    // More than that could not be read.
    marks.truncate(24);
    marks
}

/// A title with a sentence in the place of a plot.
pub(super) fn in_words(title: &str, text: &str) -> Markup {
    html! { figure.plot { figcaption { (title) } p.gap { (text) } } }
}

pub(super) fn plots(shown: &Shown<'_>) -> Markup {
    let samples = shown.samples;
    if samples.is_empty() {
        return html! {
            p.gap { "There are no samples of this run: samples.csv is missing or has no row that can be read." }
        };
    }
    html! {
        div.plots {
            (connections(shown).figure())
            (rate(shown).figure())
            (accept_queue(shown))
            (drops(samples))
            (losses(shown))
            (echoes(samples))
            (time_wait(shown))
            (processors(samples).figure())
        }
    }
}

/// With lines of these columns.
fn lines(mut chart: Chart, samples: &[Sample], columns: &[(&str, Read)]) -> Chart {
    for (name, read) in columns {
        chart = chart.with(*name, Look::Line, points(samples, read));
    }
    chart.marks(&phases(samples))
}

fn connections(shown: &Shown<'_>) -> Chart {
    let (record, samples) = (shown.record, shown.samples);
    let columns = read! {
        "attempted": attempted, "established": established, "accepted": accepted, "verified": verified,
        "lost": failed, "open": open,
    };
    let chart = Chart::new("Connections over time", SECONDS, Axis::even("", Unit::Of("connections")));
    let mut chart = lines(chart, samples, columns).nested();
    if record.connections.target > 0 {
        chart = chart.level("target", record.connections.target as f64);
    }
    let predicted = record.ceiling.as_ref().and_then(|ceiling| ceiling.predicted.as_ref());
    if let Some(predicted) = predicted.or(record.wall_ahead.as_ref()) {
        chart = chart.level(format!("predicted wall: {}", predicted.wall), predicted.connections as f64);
    }
    chart.note("Lines that lie on each other are drawn one inside the other.")
}

fn rate(shown: &Shown<'_>) -> Chart {
    let samples = shown.samples;
    let mut chart = Chart::new("Connects a second", SECONDS, Axis::even("", Unit::Of("a second")));
    if shown.ramp.len() > 2 {
        chart = chart.with("in the ramp, row by row", Look::Line, ramp_rates(shown.ramp));
    }
    let read = |sample: &Sample| sample.connects_per_second;
    chart.with("between two samples", Look::Line, points(samples, read)).marks(&phases(samples))
}

/// Connects a second between the rows of the ramp. Rows so close to each other that the clock decides are taken together.
fn ramp_rates(ramp: &[RampRow]) -> Vec<(f64, Option<f64>)> {
    const LEAST_MS: u64 = 15;
    let mut rates = Vec::new();
    let mut rows = ramp.iter();
    let Some(mut before) = rows.next() else { return rates };
    for row in rows {
        let Some(ms) = row.elapsed_ms.checked_sub(before.elapsed_ms).filter(|ms| *ms >= LEAST_MS) else {
            continue;
        };
        let connects = row.established.saturating_sub(before.established);
        rates.push((secs(row.elapsed_ms), Some(connects as f64 * 1000.0 / ms as f64)));
        before = row;
    }
    rates
}

fn accept_queue(shown: &Shown<'_>) -> Markup {
    let title = "Accept queue";
    let longest = shown.samples.iter().filter_map(|sample| sample.accept_queue).max();
    if longest == Some(0) {
        return in_words(title, "Empty whenever it was looked at: the server accepted what came at once.");
    }
    let chart = Chart::new(title, SECONDS, Axis::even("", Unit::Of("connections")));
    let mut chart = lines(chart, shown.samples, read! { "longest of all listeners": accept_queue });
    let limits = shown.record.host.as_ref().map(|host| &host.limits);
    let backlog = limits.and_then(|limits| Some(limits.backlog?.min(limits.somaxconn.unwrap_or(u64::MAX))));
    if let Some(backlog) = backlog {
        chart = chart.level("backlog", backlog as f64);
    }
    chart.figure()
}

const DROPS: &[(&str, Read)] = read! {
    "ListenOverflows": listen_overflows, "ListenDrops": listen_drops, "SYN queue full": syn_queue_full,
    "TCPSynRetrans": syn_retransmits, "softnet dropped": softnet_dropped,
};

/// The counters of [`DROPS`] with what they came to; those that could not be read are left out.
pub(super) fn dropped(samples: &[Sample]) -> Vec<(&'static str, u64)> {
    let most = |read: &Read| samples.iter().filter_map(read).reduce(f64::max);
    DROPS.iter().filter_map(|(name, read)| Some((*name, most(read)? as u64))).collect()
}

fn drops(samples: &[Sample]) -> Markup {
    let title = "Dropped, and sent again";
    let known = dropped(samples);
    if !known.is_empty() && known.iter().all(|(_, most)| *most == 0) {
        let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
        return in_words(title, &format!("Nothing: {} stayed 0.", names.join(", ")));
    }
    lines(Chart::new(title, SECONDS, Axis::even("", Unit::Of("times"))), samples, DROPS).figure()
}

/// `ECONNRESET=3;EADDRNOTAVAIL=512`
fn lost_in(sample: &Sample) -> impl Iterator<Item = (&str, f64)> {
    sample.lost.split(';').filter_map(|part| {
        let (name, count) = part.rsplit_once('=')?;
        Some((name, count.parse::<u64>().ok()? as f64))
    })
}

fn losses(shown: &Shown<'_>) -> Markup {
    let title = "Lost, by errno or name";
    let (samples, failures) = (shown.samples, &shown.record.failures);
    let most = samples.iter().filter_map(|sample| sample.failed).max();
    if most.unwrap_or(0) == 0 && failures.is_empty() && most.is_some() {
        return in_words(title, "No connection was lost.");
    }
    let mut chart = Chart::new(title, SECONDS, Axis::even("", Unit::Of("connections")));
    let names: BTreeSet<&str> = samples.iter().flat_map(lost_in).map(|(name, _)| name).collect();
    for name in names.iter().take(8) {
        let of_name = |sample: &Sample| {
            let told = !sample.lost.is_empty() || sample.failed == Some(0);
            told.then(|| lost_in(sample).find(|(lost, _)| lost == name).map_or(0.0, |(_, count)| count))
        };
        let mut steps = points(samples, of_name);
        // Names come a moment after the number.
        steps.retain(|point| point.1.is_some());
        chart = chart.with(*name, Look::Steps, steps);
    }
    if names.is_empty() {
        let read = |sample: &Sample| sample.failed.map(|count| count as f64);
        chart = chart.with("all of them", Look::Steps, points(samples, read));
    }
    for failure in failures.iter().take(8) {
        chart = chart.note(format!(
            "{} × {} in the {}, the first {:.2} s after the first connect",
            human_count(failure.count),
            failure.outcome,
            failure.phase,
            secs(failure.first_at_ms)
        ));
    }
    chart.marks(&phases(samples)).figure()
}

fn echoes(samples: &[Sample]) -> Markup {
    let title = "Echoes a second";
    let most = samples.iter().filter_map(|sample| sample.messages_per_second).reduce(f64::max);
    if most == Some(0.0) {
        return in_words(title, "None: no probe was echoed.");
    }
    let chart = Chart::new(title, SECONDS, Axis::even("", Unit::Of("a second")));
    lines(chart, samples, read! { "echoes": messages_per_second }).figure()
}

fn time_wait(shown: &Shown<'_>) -> Markup {
    let title = "TIME_WAIT";
    if shown.samples.iter().filter_map(|sample| sample.time_wait).max() == Some(0) {
        return in_words(title, "No socket was in TIME_WAIT when it was looked at.");
    }
    let chart = Chart::new(title, SECONDS, Axis::even("", Unit::Of("sockets")));
    let mut chart = lines(chart, shown.samples, read! { "TIME_WAIT": time_wait });
    if let Some(most) = buckets(shown.record) {
        chart = chart.level("tcp_max_tw_buckets", most as f64);
    }
    chart.figure()
}

fn buckets(record: &Record) -> Option<u64> {
    record.host.as_ref()?.limits.max_tw_buckets
}

fn processors(samples: &[Sample]) -> Chart {
    let columns = read! {
        "server": server_cores, "swarm": swarm_cores, "softirq, whole host": softirq_cores, "idle": idle_cores,
    };
    let there = read! {
        "softirq, server's host": far_softirq_cores, "idle, server's host": far_idle_cores,
    };
    let is_known = |read: &Read| samples.iter().any(|sample| read(sample).is_some());
    let there: Vec<(&str, Read)> = there.iter().filter(|(_, read)| is_known(read)).copied().collect();
    let columns = [columns, &there[..]].concat();
    lines(Chart::new("Processors", SECONDS, Axis::even("", Unit::Of("cores"))), samples, &columns)
}
