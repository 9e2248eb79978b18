//! Several runs on one page: in what they differ first, then their figures, then their plots one over the other.

use std::collections::{BTreeMap, BTreeSet};

use c10k_record::{Host, Record, Sample, Tone, UNKNOWN, headline, human_count, shell};
use serde_json::Value;

use super::latency::distribution;
use super::over_time::{SECONDS, points};
use super::parts::{Part, Top, page_of_parts};
use super::{Shown, in_words, told};
use crate::chart::{Axis, Chart, Look, Unit};
use crate::compare::figures_of;

/// Runs side by side: differences of plan, profile and host, figures with their ratio to the first, plots overlaid.
#[must_use]
pub fn page_of_several(runs: &[Shown<'_>]) -> String {
    let records: Vec<&Record> = runs.iter().map(|run| run.record).collect();
    let held: Vec<String> =
        named(&records).map(|(name, record)| format!("{name} {}", in_short(record))).collect();
    let sentence = held.join("; ");
    let about = named(&records)
        .map(|(name, record)| format!("{name} {}", record.run_id))
        .collect::<Vec<_>>()
        .join(" · ");
    let mut parts = Vec::new();
    for (n, run) in runs.iter().enumerate() {
        let told = run.missing.iter().map(|text| Part::Text(Tone::Bad, format!("{}: {text}", letter(n))));
        parts.extend(told);
    }
    parts.extend(differences(&records));
    parts.extend([Part::Heading("Figures".to_owned()), figures(&records)]);
    parts.push(Part::Heading("One over the other".to_owned()));
    parts.push(Part::Plots(overlaid(runs)));
    parts.push(Part::Heading("What each came to".to_owned()));
    for (name, record) in named(&records) {
        let (tone, text) = headline(record);
        parts.push(Part::Text(tone, format!("{name}: {text}")));
        if !record.command.is_empty() {
            parts.push(Part::Command(shell::line(&shell::named(record.command.clone()))));
        }
    }
    let top = Top { name: "runs side by side", tone: Tone::Plain, sentence: &sentence, about: &about };
    page_of_parts(&top, &parts)
}

/// A, B, C …
fn letter(n: usize) -> String {
    let at = u8::try_from(n % 26).unwrap_or(0);
    let more = if n >= 26 { (n / 26).to_string() } else { String::new() };
    format!("{}{more}", char::from(b'A' + at))
}

fn named<'a>(records: &'a [&'a Record]) -> impl Iterator<Item = (String, &'a Record)> {
    records.iter().enumerate().map(|(n, record)| (letter(n), *record))
}

fn in_short(record: &Record) -> String {
    let c = &record.connections;
    let wall =
        record.ceiling.as_ref().map_or_else(String::new, |ceiling| format!(", wall: {}", ceiling.wall));
    format!("{} {} of {}{wall}", c.word_for_held(), human_count(c.held), human_count(c.target))
}

/// A run's name without its time, which stands at the top.
fn kind(run_id: &str) -> &str {
    let (time, kind) = run_id.split_once('-').unwrap_or(("", run_id));
    if time.starts_with(|c: char| c.is_ascii_digit()) { kind } else { run_id }
}

fn header(first: &str, runs: usize) -> Vec<String> {
    std::iter::once(first.to_owned()).chain((0..runs).map(letter)).collect()
}

/// Values of a record by their names.
type Values = fn(&Record) -> BTreeMap<String, String>;

/// Of plan, profile and host what is not the same in all of them.
fn differences(records: &[&Record]) -> Vec<Part> {
    let kinds: [(&str, Values); 3] = [("Plan", of_plan), ("Profile", of_profile), ("Host", of_host)];
    let mut parts = vec![Part::Heading("In what they differ".to_owned())];
    for (kind, of) in kinds {
        let all: Vec<BTreeMap<String, String>> = records.iter().map(|record| of(record)).collect();
        let keys: BTreeSet<&String> = all.iter().flat_map(BTreeMap::keys).collect();
        let mut rows = Vec::new();
        for key in keys {
            let value =
                |one: &BTreeMap<String, String>| one.get(key).cloned().unwrap_or_else(|| "–".to_owned());
            let values: Vec<String> = all.iter().map(value).collect();
            if values.iter().any(|value| *value != values[0]) {
                rows.push(std::iter::once(key.clone()).chain(values).collect());
            }
        }
        if rows.is_empty() {
            parts.push(Part::Text(Tone::Plain, format!("{kind}: no difference that the records show.")));
        } else {
            // A narrow page shows no head of a table.
            parts.push(Part::Text(Tone::Plain, format!("{kind}:")));
            parts.push(Part::Table(header("", records.len()), rows));
        }
    }
    parts
}

/// A document's values by their path.
fn flat(path: &str, value: &Value, into: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(entries) => {
            for (key, value) in entries {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                flat(&path, value, into);
            }
        }
        Value::Null => {}
        Value::String(text) => {
            into.insert(path.to_owned(), text.clone());
        }
        other => {
            into.insert(path.to_owned(), other.to_string());
        }
    }
}

fn of_plan(record: &Record) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    if let Some(plan) = record.plan.as_ref().and_then(|plan| serde_json::to_value(plan).ok()) {
        flat("", &plan, &mut all);
    }
    // Where the kernel chose the port it is no part of what was asked for.
    all.remove("server.listen");
    all.insert("topology".to_owned(), record.topology.to_string());
    all.insert("protocol".to_owned(), record.protocol.to_string());
    all.insert("workload".to_owned(), record.workload.to_string());
    all.insert("target".to_owned(), human_count(record.connections.target));
    all
}

fn of_profile(record: &Record) -> BTreeMap<String, String> {
    let profile = &record.profile;
    let applied = profile.applied.iter().map(|setting| (setting.key.clone(), setting.after.clone()));
    let not_applied = profile.not_applied.iter().map(|setting| {
        let present = setting.present.as_deref().unwrap_or(UNKNOWN);
        (setting.key.clone(), format!("{present} (wanted {})", setting.wanted))
    });
    std::iter::once(("profile".to_owned(), profile.name.clone())).chain(applied).chain(not_applied).collect()
}

fn of_host(record: &Record) -> BTreeMap<String, String> {
    let mut all =
        BTreeMap::from([("written by".to_owned(), format!("{} {}", record.tool.name, record.tool.version))]);
    all.extend(record.host.iter().flat_map(|host| of_one_host(host, "")));
    let there = record.two_hosts.as_ref().and_then(|two| two.server.host.as_ref());
    all.extend(there.iter().flat_map(|host| of_one_host(host, " (server's host)")));
    all
}

/// What differs from minute to minute on one machine is no difference of it.
const CHANGING: [&str; 10] = [
    "memory_available_bytes",
    "files_in_use",
    "threads_in_use",
    "user_threads",
    "pids_current",
    "time_wait",
    "threads_left",
    "cgroup_memory_used_bytes",
    "conntrack_entries",
    "server_room",
];

/// What one host is and what its limits are, in words.
fn of_one_host(host: &Host, whose: &str) -> Vec<(String, String)> {
    let Ok(Value::Object(mut fields)) = serde_json::to_value(host) else { return Vec::new() };
    let limits = fields.remove("limits");
    let mut limits = limits.and_then(|limits| limits.as_object().cloned()).unwrap_or_default();
    limits.retain(|name, _| !CHANGING.contains(&name.as_str()));
    let is_known = |(_, value): &(&String, &Value)| !value.is_null() && !value.is_object();
    let known = fields.iter().chain(&limits).filter(is_known).map(|(name, value)| in_words(name, value));
    // By the kernel's own names.
    let others = limits.get("other").and_then(Value::as_object).into_iter().flatten();
    let others = others.map(|(name, value)| (name.clone(), told(value)));
    known.chain(others).map(|(name, value)| (format!("{name}{whose}"), value)).collect()
}

fn figures(records: &[&Record]) -> Part {
    let rows = figures_of(records);
    Part::Table(header("", records.len()), rows)
}

fn overlaid(runs: &[Shown<'_>]) -> Vec<Chart> {
    let name = |n: usize, run: &Shown<'_>| format!("{}: {}", letter(n), kind(&run.record.run_id));
    let over_time = |title: &str, unit: Unit, read: fn(&Sample) -> Option<f64>, is_growth: bool| {
        let mut chart = Chart::new(title, SECONDS, Axis::even("", unit));
        for (n, run) in runs.iter().enumerate() {
            let first = if is_growth { run.samples.iter().find_map(read).unwrap_or(0.0) } else { 0.0 };
            let line = points(run.samples, |sample| Some(read(sample)? - first));
            chart = chart.with(name(n, run), Look::Line, line);
        }
        chart
    };
    let mut charts = vec![
        over_time("Open connections", Unit::Of("connections"), |s| s.open.map(|n| n as f64), false),
        over_time("Connects a second", Unit::Of("a second"), |s| s.connects_per_second, false),
        over_time("Lost", Unit::Of("connections"), |s| s.failed.map(|n| n as f64), false),
        over_time("Server, growth of RSS", Unit::Bytes, |s| s.server_rss_bytes.map(|n| n as f64), true),
        over_time("Slab of the host, growth", Unit::Bytes, |s| s.slab_bytes.map(|n| n as f64), true),
        over_time("Processors of the server", Unit::Of("cores"), |s| s.server_cores, false),
        over_time("Accept queue", Unit::Of("connections"), |s| s.accept_queue.map(|n| n as f64), false),
    ];
    let tags: BTreeSet<&String> = runs.iter().flat_map(|run| run.latencies.tags.keys()).collect();
    let axes = (Axis::log("", Unit::Micros), Axis::even("no longer than that", Unit::Of("% of all")));
    for tag in tags.into_iter().take(8) {
        let mut chart = Chart::new(format!("Latency: {}", tag.replace('.', ", ")), axes.0, axes.1);
        for (n, run) in runs.iter().enumerate() {
            let tagged = run.latencies.tags.get(tag);
            let line = tagged.map(|tagged| distribution(&tagged.whole)).unwrap_or_default();
            chart = chart.with(name(n, run), Look::Line, line);
        }
        charts.push(chart);
    }
    charts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;
    use crate::hlog::LatencyLog;

    #[test]
    fn what_differs_stands_first_and_what_is_the_same_is_left_out() {
        let (held, short) = (fixtures::held(), fixtures::short());
        let (samples, latencies) = (fixtures::samples(), LatencyLog::default());
        let shown = |record| Shown {
            record,
            samples: &samples,
            ramp: &[],
            latencies: &latencies,
            ladder: &[],
            find: None,
            missing: &[],
            files: &[],
        };
        let page = page_of_several(&[shown(&held), shown(&short), shown(&held)]);
        let first = page.find("In what they differ").expect("differences");
        assert!(first < page.find("Figures").expect("figures"));
        let table = &page[first..page.find("Figures").expect("figures")];
        assert!(table.contains("net.core.somaxconn") && table.contains("stock"), "{table}");
        assert!(!table.contains("topology") && table.contains("Host: no difference"), "{table}");
        assert!(page.contains("C: tuned-raw-hold"), "three lines a plot");
    }

    #[test]
    fn no_run_and_many_runs_have_letters() {
        assert_eq!([0, 1, 25, 26].map(letter), ["A", "B", "Z", "A1"]);
        assert!(page_of_several(&[]).contains("In what they differ"));
    }
}
