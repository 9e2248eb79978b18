//! Under which settings, with what to mind, and what it was that ran.

use c10k_record::{
    ClockLook, Host, ProfileInRun, Record, Scope, Tone, TwoHosts, UNKNOWN, bytes, human_count, latency,
};

use super::{Row, Section, cells, left, line};

/// The settings of the run; of two hosts each end's.
pub(super) fn profiles(record: &Record) -> Vec<Section> {
    let Some(two) = &record.two_hosts else { return vec![profile(&record.profile, "")] };
    vec![
        profile(&record.profile, " at the clients' host"),
        profile(&two.server.profile, " at the server's host"),
    ]
}

fn profile(profile: &ProfileInRun, whose: &str) -> Section {
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
    Section::new(&format!("Profile {name}{whose}"), rows)
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

/// What the run cannot show.
pub(crate) fn notes(record: &Record) -> Option<Section> {
    let rows: Vec<Row> =
        record.notes.iter().map(|note| cells(vec![left(&note.id), left(&note.text)])).collect();
    (!rows.is_empty()).then(|| Section::new("What this run cannot show", rows))
}

pub(super) fn run(record: &Record) -> Section {
    let row = |name: &str, text: String| cells(vec![left(name), left(text)]);
    let ended = record.ended_at.as_deref().unwrap_or(UNKNOWN);
    let mut rows = vec![
        row("run", record.run_id.clone()),
        row("from, to", format!("{} – {ended}", record.started_at)),
        row("what", format!("{} {} over {}", record.protocol, record.workload, record.topology)),
    ];
    match (&record.two_hosts, &record.host) {
        (Some(two), _) => rows.extend(hosts(two, &record.clock)),
        (None, Some(host)) => {
            rows.push(row("host", in_words(host)));
            rows.extend(host.virtualization.clone().map(|name| row("inside of", name)));
        }
        (None, None) => {}
    }
    if !record.command.is_empty() {
        rows.push(row("command", record.command.join(" ")));
    }
    rows.push(row("written by", format!("{} {}", record.tool.name, record.tool.version)));
    Section::new("Run", rows)
}

/// A machine in one line.
fn in_words(host: &Host) -> String {
    let or_unknown = |text: &Option<String>| text.clone().unwrap_or_else(|| UNKNOWN.to_owned());
    let memory = bytes(Some(host.memory_bytes));
    let (os, kernel, cpu) = (or_unknown(&host.os), or_unknown(&host.kernel), or_unknown(&host.cpu));
    let who = if host.root { "as root" } else { "as an ordinary user" };
    format!("{os}, Linux {kernel}, {} × {cpu}, {memory}, {who}", host.cpus)
}

/// Who the two hosts are, and how their clocks stood to each other.
fn hosts(two: &TwoHosts, clock: &[ClockLook]) -> Vec<Row> {
    let row = |name: &str, text: String| cells(vec![left(name), left(text)]);
    let mut rows = Vec::new();
    for (whose, end) in [("server's host", &two.server), ("clients' host", &two.client)] {
        let name = end.name.as_deref().unwrap_or(UNKNOWN);
        let machine = end.host.as_ref().map_or_else(|| UNKNOWN.to_owned(), in_words);
        rows.push(row(whose, format!("{name}: {machine}")));
        let inside = end.host.as_ref().and_then(|host| host.virtualization.clone());
        rows.extend(inside.map(|inside| row("  inside of", inside)));
        rows.extend(end.build.clone().map(|build| row("  program", build)));
    }
    if two.one_machine {
        rows.push(row(
            "one machine",
            "both ends stand on one kernel, and share what is the machine's".to_owned(),
        ));
    }
    let missed = match two.looks_missed {
        0 => String::new(),
        missed => format!(", {} more in vain", human_count(missed)),
    };
    rows.push(row(
        "control port",
        format!("{}, looked at {} times{missed}", two.control, human_count(two.looks)),
    ));
    rows.extend(two.lost_because.as_ref().map(|why| {
        let at = two.lost_at_ms.unwrap_or(0) as f64 / 1e3;
        row("lost", format!("{at:.1} s into the run: {why}"))
    }));
    rows.extend(clock.iter().map(|look| row("clock", clock_in_words(look))));
    rows
}

/// How far the server's clock was ahead.
fn clock_in_words(look: &ClockLook) -> String {
    let (Some(offset), Some(round_trip)) = (look.offset_ns, look.round_trip_ns) else {
        return format!("{}: not measured", look.at);
    };
    let ahead = latency(Some(offset.unsigned_abs() / 1_000));
    let where_to = if offset < 0 { "behind" } else { "ahead" };
    let (right_to, round_trip) = (latency(Some(round_trip / 2_000)), latency(Some(round_trip / 1_000)));
    format!("{}: the server's is {ahead} {where_to}, right to {right_to} (round trip {round_trip})", look.at)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use c10k_record::{Style, brief};

    use crate::{fixtures, summary};

    #[test]
    fn what_a_run_cannot_show_stands_in_the_full_account_alone() {
        let mut record = fixtures::held();
        let note = "a hold of 10 s cannot show idle limits above 10 s";
        let before = summary(&record, None, Style::default());
        record.notes = vec![c10k_record::Warning::new("hold-is-short", note)];
        let short = brief(&record, Some(Path::new("results/a")), 0, Style::default());
        let full = summary(&record, None, Style::default());
        assert!(!short.contains(note) && full.contains("What this run cannot show"), "{full}");
        assert!(full.contains(note) && !before.contains("What this run cannot show"), "{full}");
    }

    #[test]
    fn a_run_of_two_hosts_tells_both_with_each_account_and_the_clocks() {
        let record = fixtures::on_two_hosts();
        let full = summary(&record, None, Style { width: 200, ..Style::default() });
        for text in [
            "server's host  serverbox: Debian 12, Linux 6.1.0, 2 × Some CPU, 24.0 GiB, as root",
            "clients' host  clientbox: Debian 13, Linux 6.18.0",
            "control port   192.168.1.10:9900, looked at 40 times, 2 more in vain",
            "start: the server's is 10 s ahead, right to 100 µs (round trip 200 µs)",
            "end: not measured",
            "Profile tuned at the server's host",
            "Server's host: free memory fell by 4,120 B a connection; unexplained of that: 1.2 %.",
            "Clients' host: free memory fell by 4,310 B a connection; unexplained of that: 0.6 %.",
        ] {
            assert!(full.contains(text), "{text}: {full}");
        }
        let short = brief(&record, None, 0, Style { width: 200, ..Style::default() });
        assert!(
            short.contains("server on serverbox (Linux 6.1.0), clients on clientbox (Linux 6.18.0)"),
            "{short}"
        );
        let one = summary(&fixtures::held(), None, Style::default());
        assert!(!one.contains("clients' host") && !one.contains("clock"), "{one}");
    }
}
