//! What the workloads came to: messages over time, stalls, receivers of a fan-out, what came and went.

use c10k_record::{LatencySummary, Record, Tone, Worked, WorkedSlice, latency, worked};
use maud::{Markup, html};

use super::over_time::{in_words, secs};
use crate::chart::{Axis, Bars, Chart, Look, Unit};
use crate::page::class;

const SINCE: Axis = Axis::even("since the first connect", Unit::Seconds);

/// `None` where connections were only held.
pub(super) fn section(record: &Record) -> Option<Markup> {
    if record.work.is_empty() {
        return None;
    }
    Some(html! {
        section {
            h2 { "What the connections did" }
            @for work in &record.work {
                h3 { (work.name) }
                @for row in worked(work) {
                    p class=[class(if row.contains("WRONG") || row.contains("MISSING") { Tone::Bad } else { Tone::Plain })] {
                        (row)
                    }
                }
                div.plots {
                    (speed(work).figure())
                    (response(work).figure())
                    (churned(work))
                    (streamed(work))
                    (fanned_out(work))
                }
            }
        }
    })
}

fn slices(work: &Worked, value: impl Fn(&WorkedSlice) -> Option<f64>) -> Vec<(f64, Option<f64>)> {
    work.over_time.iter().map(|slice| (secs(slice.from_ms / 2 + slice.to_ms / 2), value(slice))).collect()
}

fn speed(work: &Worked) -> Chart {
    let what = if work.churn.is_some() { "New connections a second" } else { "Messages a second" };
    let points = slices(work, |slice| Some(slice.messages_per_second));
    Chart::new(format!("{what}: {}", work.name), SINCE, Axis::even("", Unit::Of("a second"))).with(
        if work.churn.is_some() { "verified" } else { "answered, or received whole" },
        Look::Line,
        points,
    )
}

fn response(work: &Worked) -> Chart {
    let us = |value: Option<u64>| value.map(|us| us as f64);
    let mut chart =
        Chart::new(format!("Response over time: {}", work.name), SINCE, Axis::log("", Unit::Micros))
            .with("p50", Look::Line, slices(work, |slice| us(slice.response_p50_us)))
            .with("p99", Look::Line, slices(work, |slice| us(slice.response_p99_us)));
    if work.lateness_us.is_some() {
        let late = slices(work, |slice| us(slice.lateness_p99_us));
        chart = chart.with("lateness of the swarm, p99", Look::Line, late);
    }
    chart.note(format!(
        "All of it: p50 {}, p99 {}.",
        latency(work.response_us.p50),
        latency(work.response_us.p99)
    ))
}

/// The percentiles of some latencies, each a line over the percentiles.
fn figures(title: String, of: &[(&str, &LatencySummary)]) -> Markup {
    let known: Vec<&(&str, &LatencySummary)> = of.iter().filter(|(_, summary)| summary.count > 0).collect();
    if known.is_empty() {
        return in_words(&title, "Nothing of it was measured.");
    }
    let share = Axis::even("no longer than that", Unit::Of("% of all"));
    let mut chart = Chart::new(title, Axis::log("", Unit::Micros), share).without_peaks();
    for (name, summary) in known {
        let pairs = [
            (summary.p50, 50.0),
            (summary.p90, 90.0),
            (summary.p95, 95.0),
            (summary.p99, 99.0),
            (summary.p999, 99.9),
            (summary.max, 100.0),
        ];
        let points = pairs.into_iter().filter_map(|(us, percent)| Some((us? as f64, Some(percent))));
        chart = chart.with(*name, Look::Line, points.collect());
        chart = chart.note(format!(
            "{name}: p50 {}, p99 {}, longest {}",
            latency(summary.p50),
            latency(summary.p99),
            latency(summary.max)
        ));
    }
    chart.figure()
}

/// A bar for each count.
fn counts(title: String, rows: &[(&str, Option<u64>)]) -> Markup {
    let mut bars = Bars::new(title, Axis::even("", Unit::Of("")));
    for (n, (name, count)) in rows.iter().enumerate() {
        bars = bars.bar(*name, count.map(|count| count as f64), n);
    }
    bars.figure()
}

fn churned(work: &Worked) -> Markup {
    let Some(churn) = &work.churn else { return html! {} };
    html! {
        (counts(format!("Came, went and waited: {}", work.name), &[
            ("closed", Some(churn.closed)),
            ("opened in their place", Some(churn.reopened)),
            ("lost", Some(churn.failed)),
            ("not begun in time", Some(churn.not_begun)),
            ("waits for a port", Some(churn.waits_for_a_port)),
            ("TIME_WAIT at the swarm, most", churn.time_wait_client_peak),
            ("TIME_WAIT at the server, most", churn.time_wait_server_peak),
        ]))
        (figures(format!("Reconnects: {}", work.name), &[
            ("connect", &churn.latency_us.connect), ("first echo", &churn.latency_us.first_echo),
        ]))
    }
}

fn streamed(work: &Worked) -> Markup {
    let Some(stream) = &work.stream else { return html! {} };
    html! {
        (counts(format!("Stalls over viewers: {}", work.name), &[
            ("viewers", Some(stream.viewers)),
            ("got all of it", Some(stream.whole)),
            ("stalled at least once", Some(stream.stalled_viewers)),
            ("stalls of all of them", Some(stream.stalls)),
            ("wrong", Some(stream.wrong)),
        ]))
        (figures(format!("Start and stalls: {}", work.name), &[
            ("start-up", &stream.start_up_us), ("stall", &stream.stall_us),
        ]))
    }
}

fn fanned_out(work: &Worked) -> Markup {
    let Some(fanout) = &work.fanout else { return html! {} };
    figures(
        format!("Receivers of each message: {}", work.name),
        &[
            ("first", &fanout.first_receiver_us),
            ("median", &fanout.median_receiver_us),
            ("99th of a hundred", &fanout.p99_receiver_us),
            ("last", &fanout.last_receiver_us),
        ],
    )
}
