//! The page of a run: the sentence, the figures, what to type next, then plots and facts, in one file that loads nothing.

mod climbed;
mod latency;
mod memory;
mod next;
mod over_time;
mod parts;
mod several;
mod tables;
mod tiles;
mod tried;
mod walls;
mod work;

use c10k_record::{EndHost, Host, Predicted, RampRow, Record, Sample, UNKNOWN, headline, human_bytes, shell};
use maud::{Markup, html};

use crate::facts;
use crate::hlog::LatencyLog;
use crate::page::{Head, command, framed};

pub use climbed::{climb_headline, headline_of_climb, page_of_climb};
pub use parts::{Part, Top, page_of_parts};
pub use several::page_of_several;

/// What the page of a run is made of. Only the record has to be there.
#[derive(Clone, Copy)]
pub struct Shown<'a> {
    /// The record.
    pub record: &'a Record,
    /// The rows of samples.csv.
    pub samples: &'a [Sample],
    /// The rows of ramp.csv.
    pub ramp: &'a [RampRow],
    /// latency.hlog.
    pub latencies: &'a LatencyLog,
    /// What each limit of the host and the plan would allow.
    pub ladder: &'a [Predicted],
    /// find.json, where the run was a search.
    pub find: Option<&'a serde_json::Value>,
    /// What is missing or could not be read, each in a sentence.
    pub missing: &'a [String],
    /// Files that lie beside the page, which leads to them.
    pub files: &'a [&'a str],
}

/// A run as one page: nothing is loaded from elsewhere, all text of the record is escaped, and it is light or dark as the
/// reader's system is. What is not known has a word in its place, never an empty plot.
#[must_use]
pub fn page_of_run(shown: &Shown<'_>) -> String {
    let record = shown.record;
    let found = shown.find.and_then(tried::sentence);
    let (tone, sentence) = found.unwrap_or_else(|| headline(record));
    let about = about(record);
    let main = html! {
        (missing(shown.missing))
        @if let Some(find) = shown.find { (tried::section(find)) }
        (tiles::tiles(record))
        (next::section(record))
        div.columns {
            (tables::section(&facts::verdicts(record)))
            (tables::section(&facts::losses(record)))
        }
        section {
            h2 { "Over time" }
            p.sub { "Beside each name stands the greatest value; pointing at a plot shows the values there." }
            (over_time::plots(shown))
        }
        section { h2 { "What a connection costs" } (memory::plots(record, shown.samples)) }
        section { h2 { "Latency" } (latency::plots(shown)) }
        @if let Some(work) = work::section(record) { (work) }
        section { h2 { "Walls" } div.plots { (walls::ladder(shown)) } }
        div.columns {
            (walls::evidence(shown))
            @for section in facts::figures(record) { (tables::section(&section)) }
            (tables::profile(record))
            @for section in facts::remarks(record) { (tables::section(&section)) }
        }
        (plan(record))
        (host(record))
        section { h2 { "The same again" } (again(record)) }
        @if !shown.files.is_empty() {
            p.sub {
                "Beside this page: "
                @for (n, file) in shown.files.iter().enumerate() { @if n > 0 { ", " } a href=(file) { (file) } }
            }
        }
    };
    let head = Head { name: &record.run_id, tone, sentence: &sentence, about: &about };
    framed(&head, &main)
}

fn missing(missing: &[String]) -> Markup {
    html! {
        @if !missing.is_empty() {
            div.missing {
                p { b { "Not all of this run could be read." } }
                ul { @for text in missing.iter().take(40) { li { (text) } } }
                @if missing.len() > 40 { p { "and " (missing.len() - 40) " more" } }
            }
        }
    }
}

/// When, what, where: one line.
fn about(record: &Record) -> String {
    let mut parts = vec![
        record.run_id.clone(),
        record.started_at.clone(),
        format!("{} {} over {}", record.protocol, record.workload, record.topology),
    ];
    if !record.profile.name.is_empty() {
        parts.push(format!("profile {}", record.profile.name));
    }
    if let Some(two) = &record.two_hosts {
        let name = |end: &EndHost| end.name.clone().unwrap_or_else(|| UNKNOWN.to_owned());
        parts.push(format!("server on {}, clients on {}", name(&two.server), name(&two.client)));
    }
    if let Some(host) = &record.host {
        let cpu = host.cpu.as_deref().unwrap_or("processors");
        parts.push(format!("{} × {cpu}", host.cpus));
        parts.extend(host.kernel.as_ref().map(|kernel| format!("Linux {kernel}")));
    }
    parts.join(" · ")
}

fn plan(record: &Record) -> Markup {
    let Some(plan) = &record.plan else {
        return html! {
            section { h2 { "Plan" } p.gap { "The record has no plan: what was asked for stands in its command line." } }
        };
    };
    let text = plan.to_toml().unwrap_or_else(|error| error.to_string());
    html! { section { h2 { "Plan" } (command(text.trim_end())) } }
}

fn host(record: &Record) -> Markup {
    let run = facts::run(record);
    let of = |host: Option<&Host>| host.map(limits).unwrap_or_default();
    let all = match &record.two_hosts {
        None => vec![("the host", of(record.host.as_ref()))],
        Some(two) => vec![
            ("the server's host", of(two.server.host.as_ref())),
            ("the clients' host", of(two.client.host.as_ref())),
        ],
    };
    html! {
        (tables::section(&run))
        @for (whose, limits) in &all {
            @if limits.is_empty() {
                p.gap { "The limits of " (whose) " are not in the record." }
            } @else {
                section { h2 { "Limits of " (whose) " before the run" } (tables::pairs(limits)) }
            }
        }
    }
}

/// What is known of a host's limits.
fn limits(host: &Host) -> Vec<(String, String)> {
    let limits = serde_json::to_value(&host.limits).ok();
    limits
        .iter()
        .filter_map(serde_json::Value::as_object)
        .flatten()
        .filter(|(name, value)| !value.is_null() && *name != "other")
        .map(|(name, value)| in_words(name, value))
        .collect()
}

/// A field of a document for people: its name in words, and its value in the unit that the name ends in.
fn in_words(name: &str, value: &serde_json::Value) -> (String, String) {
    let bytes = name.strip_suffix("_bytes").zip(value.as_u64());
    let (name, value) = match bytes {
        Some((name, bytes)) => (name, human_bytes(bytes)),
        None => (name, told(value)),
    };
    (name.replace('_', " "), value)
}

/// A value of JSON in words.
fn told(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::Number(number) => {
            number.as_u64().map_or_else(|| number.to_string(), c10k_record::human_count)
        }
        serde_json::Value::Bool(true) => "yes".to_owned(),
        serde_json::Value::Bool(false) => "no".to_owned(),
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Array(values) => values.iter().map(told).collect::<Vec<_>>().join(" "),
        other => other.to_string(),
    }
}

fn again(record: &Record) -> Markup {
    html! {
        @if record.command.is_empty() {
            p.gap { "The record does not say by which command it was made; its plan.toml does: c10k-lab run plan.toml" }
        } @else {
            (command(&shell::line(&shell::named(record.command.clone()))))
        }
    }
}

#[cfg(test)]
mod tests;
