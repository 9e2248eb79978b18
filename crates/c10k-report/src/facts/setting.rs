//! Under which settings, with what to mind, and what it was that ran.

use c10k_record::{Record, Scope};

use super::{Row, Section, Tone, cells, left, line};
use crate::text::{UNKNOWN, bytes};

pub(super) fn profile(record: &Record) -> Section {
    let profile = &record.profile;
    let mut rows = Vec::new();
    for setting in &profile.applied {
        let change = format!("{} → {}", setting.before, setting.after);
        rows.push(cells(vec![left("applied"), left(&setting.key), left(change)]));
    }
    for setting in &profile.not_applied {
        let present = setting.present.as_deref().unwrap_or(UNKNOWN);
        let scope = match setting.scope {
            Scope::Process => "this process",
            Scope::Namespace => "this network namespace",
            Scope::Host => "the whole host",
        };
        let words = format!("wanted {}, is {present} ({scope}): {}", setting.wanted, setting.why);
        let row = vec![left("not applied"), left(&setting.key), left(words)];
        rows.push(Row::Cells(Tone::Bad, row));
        rows.extend(setting.command.iter().cloned().map(Row::Command));
    }
    if rows.is_empty() {
        rows.push(line("nothing was changed"));
    }
    let name = if profile.name.is_empty() { UNKNOWN } else { &profile.name };
    Section::new(&format!("Profile {name}"), rows)
}

pub(super) fn warnings(record: &Record) -> Option<Section> {
    // What of the profile is not in force stands in its own section.
    let is_told = |warning: &&c10k_record::Warning| {
        warning.id == "profile-not-applied" && !record.profile.not_applied.is_empty()
    };
    let rest = record.warnings.iter().filter(|warning| !is_told(warning));
    let rows: Vec<Row> = rest.map(|warning| cells(vec![left(&warning.id), left(&warning.text)])).collect();
    (!rows.is_empty()).then(|| Section::new("Warnings", rows))
}

pub(super) fn run(record: &Record) -> Section {
    let row = |name: &str, text: String| cells(vec![left(name), left(text)]);
    let ended = record.ended_at.as_deref().unwrap_or(UNKNOWN);
    let mut rows = vec![
        row("run", record.run_id.clone()),
        row("from, to", format!("{} – {ended}", record.started_at)),
        row("what", format!("{} {} over {}", record.protocol, record.workload, record.topology)),
    ];
    if let Some(host) = &record.host {
        let or_unknown = |text: &Option<String>| text.clone().unwrap_or_else(|| UNKNOWN.to_owned());
        let memory = bytes(Some(host.memory_bytes));
        let (os, kernel, cpu) = (or_unknown(&host.os), or_unknown(&host.kernel), or_unknown(&host.cpu));
        let who = if host.root { "as root" } else { "as an ordinary user" };
        rows.push(row("host", format!("{os}, Linux {kernel}, {} × {cpu}, {memory}, {who}", host.cpus)));
        rows.extend(host.virtualization.clone().map(|name| row("inside of", name)));
    }
    if !record.command.is_empty() {
        rows.push(row("command", record.command.join(" ")));
    }
    rows.push(row("written by", format!("{} {}", record.tool.name, record.tool.version)));
    Section::new("Run", rows)
}
