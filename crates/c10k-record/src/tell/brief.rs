//! The end of a run on one screen: what was held, what it cost, what is in the way, what to type next.

use std::path::Path;

use super::headline::{degree, headline};
use super::work::{figures, worked};
use super::{Style, Tone, notes};
use crate::text::{Hanging, UNKNOWN, clean, count, fold_command, number, shell, short_count, with_unit};
use crate::{
    Ceiling, EndHost, Evidence, Outcome, Protocol, Record, Remedy, RunResult, RunState, Side, Topology,
    TwoHosts, Verdict, Workload, human_count,
};

/// Where the text of a row begins, columns.
const COLUMN: usize = 14;
/// Of the evidence of a wall, so many lines.
const MOST_EVIDENCE: usize = 4;
/// Of other lists, so many rows.
const MOST_ROWS: usize = 3;

/// The end of a run in a few lines. `path` is the run's folder; the first `told` warnings of the record were said before
/// and are left out. What the record does not know is left out too: all of it is in the full account.
#[must_use]
pub fn brief(record: &Record, path: Option<&Path>, told: usize, style: Style) -> String {
    let (tone, first) = headline(record);
    let mut out = Rows { style, text: style.headline(tone, &first) };
    out.gap();
    out.wall(record);
    out.verdicts(record);
    out.lost(record);
    out.not_seen(record);
    out.figures(record);
    let profile = record.plan.as_ref().map_or(&record.profile.name, |plan| &plan.profile);
    let is_estimated = record.memory_per_connection.estimated;
    let untold = record.warnings.iter().skip(told);
    // That a size is an estimate stands beside it, and that a verdict only warns beside that.
    let untold = untold
        .filter(|warning| (!is_estimated || warning.id != "unreadable") && warning.id != Verdict::WARNING);
    let noted = notes(&untold.cloned().collect::<Vec<_>>(), profile);
    for note in &noted {
        let (name, text) = note.split_once(": ").unwrap_or(("note", note));
        out.row(name, Tone::Plain, text);
    }
    out.where_it_is(record, path);
    out.text
}

/// The headline, and where the run is.
#[must_use]
pub fn headline_and_path(record: &Record, path: &Path, style: Style) -> String {
    let (tone, first) = headline(record);
    format!("{}{}", style.headline(tone, &first), clean(&path.display().to_string()))
}

struct Rows {
    style: Style,
    text: String,
}

impl Rows {
    fn gap(&mut self) {
        self.text.push('\n');
    }

    /// A name and its text, which goes on below itself.
    fn row(&mut self, name: &str, tone: Tone, text: &str) {
        let hanging = Hanging { column: COLUMN, width: self.style.width };
        for line in hanging.lines(&format!("  {name}"), &clean(text)) {
            let (before, text) = line.split_at(COLUMN.min(line.len()));
            self.text.push_str(before);
            self.text.push_str(&self.style.paint(tone, false, text));
            self.text.push('\n');
        }
    }

    /// A line to paste.
    fn command(&mut self, name: &str, command: &str) {
        let room = Hanging { column: COLUMN, width: self.style.width }.room();
        for (n, part) in fold_command(&clean(command), room).iter().enumerate() {
            let name = if n == 0 { format!("  {name}") } else { String::new() };
            self.text.push_str(&format!("{name:<COLUMN$}{part}\n"));
        }
    }

    fn wall(&mut self, record: &Record) {
        let Some(ceiling) = &record.ceiling else { return };
        let Some(first) = ceiling.walls.first() else {
            let unknown = format!("{}: nothing that was seen proves one", ceiling.wall);
            self.row("wall", Tone::Bad, &unknown);
            self.evidence(&ceiling.evidence);
            self.remedy(ceiling.remedy.as_ref());
            return self.foreseen(ceiling);
        };
        let text = format!("{}{}: {}, {}", first.name, degree(first), first.title, end(first.side));
        self.row("wall", Tone::Bad, &text);
        self.evidence(&first.evidence);
        if let Some(words) = record.evidence.words.first() {
            self.row("words", Tone::Plain, &format!("the server {words}"));
        }
        self.remedy(first.remedy.as_ref());
        for wall in ceiling.walls.iter().skip(1).take(MOST_ROWS) {
            self.row("then", Tone::Bad, &format!("{}{}: {}", wall.name, degree(wall), wall.title));
        }
        self.foreseen(ceiling);
    }

    fn evidence(&mut self, evidence: &[Evidence]) {
        for (n, evidence) in evidence.iter().take(MOST_EVIDENCE).enumerate() {
            let value = match (evidence.before, evidence.after) {
                (Some(before), Some(after)) => format!(" {} → {}", human_count(before), human_count(after)),
                (before, after) => {
                    after.or(before).map_or_else(String::new, |n| format!(" {}", human_count(n)))
                }
            };
            let name = if n == 0 { "evidence" } else { "" };
            self.row(name, Tone::Plain, &format!("{}{value}: {}", evidence.source, evidence.text));
        }
    }

    fn remedy(&mut self, remedy: Option<&Remedy>) {
        let Some(remedy) = remedy else { return };
        self.row("lift", Tone::Plain, &remedy.summary);
        for command in &remedy.commands {
            self.command("", command);
        }
    }

    /// What was predicted, where the run could have met it.
    fn foreseen(&mut self, ceiling: &Ceiling) {
        let (Some(predicted), Some(off)) = (&ceiling.predicted, ceiling.off_by) else { return };
        let how = match off {
            0 => "exactly".to_owned(),
            off if off > 0 => format!("{} more were held", human_count(off.unsigned_abs())),
            off => format!("{} fewer were held", human_count(off.unsigned_abs())),
        };
        let text = format!("{} by {}; {how}", human_count(predicted.connections), predicted.wall);
        self.row("predicted", Tone::Plain, &text);
    }

    fn verdicts(&mut self, record: &Record) {
        let widest = record.verdicts.iter().map(|verdict| verdict.expr.chars().count()).max().unwrap_or(0);
        for (n, verdict) in record.verdicts.iter().enumerate() {
            let (tone, mark) = mark(verdict);
            let name = if n == 0 { "verdicts" } else { "" };
            let value = verdict_value(verdict);
            let text = format!("{mark} {:<widest$}  {value}", clean(&verdict.expr));
            if COLUMN + text.chars().count() > self.style.width {
                self.row(name, tone, &text);
                continue;
            }
            // The values stand below each other, which folding would undo.
            let (before, line) = (format!("  {name}"), self.style.paint(tone, false, &text));
            self.text.push_str(&format!("{before:<COLUMN$}{line}\n"));
        }
    }

    fn lost(&mut self, record: &Record) {
        let is_lost = |outcome: &Outcome| record.state != RunState::Aborted || *outcome != Outcome::aborted();
        let lost: Vec<_> = record.failures.iter().filter(|failure| is_lost(&failure.outcome)).collect();
        let told = lost.iter().take(MOST_ROWS).map(|failure| {
            let since = with_unit(Some(failure.first_at_ms as f64 / 1000.0), "s");
            format!(
                "{} × {} in the {} from {since} on",
                human_count(failure.count),
                failure.outcome,
                failure.phase
            )
        });
        let mut told: Vec<String> = told.collect();
        if let Some(more) = lost.len().checked_sub(MOST_ROWS).filter(|more| *more > 0) {
            told.push(format!("and {} more", human_count(more as u64)));
        }
        if !told.is_empty() {
            self.row("lost", Tone::Plain, &told.join(", "));
        }
    }

    fn not_seen(&mut self, record: &Record) {
        let c = &record.connections;
        if record.state == RunState::Complete && !c.is_confirmed() && c.held > 0 {
            self.row("not seen", Tone::Plain, "the server's end: whether it has them is not known");
        }
    }

    fn figures(&mut self, record: &Record) {
        if let Some(text) = record.two_hosts.as_ref().map(hosts) {
            self.row("hosts", Tone::Plain, &text);
        }
        if let Some(text) = memory(record) {
            self.row("memory", Tone::Plain, &text);
        }
        let connects = &record.rate.connects_per_second;
        if let Some(mean) = connects.mean {
            let pauses = connects.without_pauses.filter(|without| *without > mean * 1.001);
            let between =
                if record.named_phases.is_empty() { "the pauses between steps" } else { "what lies between" };
            let pauses = pauses.map(|rate| format!(", {}/s without {between}", number(Some(rate))));
            let best = connects.peak.map(|peak| format!(", at best {}/s", number(Some(peak))));
            let text = format!(
                "{} connects/s{}{}",
                number(Some(mean)),
                pauses.unwrap_or_default(),
                best.unwrap_or_default()
            );
            self.row("rate", Tone::Plain, &text);
        }
        if let Some(text) = latencies(record) {
            self.row("latency", Tone::Plain, &text);
        }
        if let Some(text) = record.lateness_us.as_ref().and_then(|late| figures("the swarm's own", late)) {
            self.row("lateness", Tone::Plain, &text);
        }
        for work in &record.work {
            for (n, text) in worked(work).iter().enumerate() {
                self.row(if n == 0 { &work.name } else { "" }, Tone::Plain, text);
            }
        }
        for met in record.met_on_the_way.iter().take(MOST_ROWS) {
            let times =
                if met.times == 1 { "once".to_owned() } else { format!("{} times", human_count(met.times)) };
            self.row("met", Tone::Plain, &format!("{}, {times}, and no connection was lost by it", met.wall));
        }
        if let Some(ahead) = &record.wall_ahead {
            let about = if ahead.uncertainty_percent == 0 { "" } else { "about " };
            let at = human_count(ahead.connections);
            self.row("wall ahead", Tone::Plain, &format!("{} at {about}{at} connections", ahead.wall));
        }
    }

    fn where_it_is(&mut self, record: &Record, path: Option<&Path>) {
        let Some(path) = path else { return };
        let page = path.join("report.html");
        self.command("report", &page.display().to_string());
        self.command("all of it", &format!("c10k-lab report {}", shell::quoted(&path.display().to_string())));
        let walls = record.ceiling.iter().flat_map(|ceiling| &ceiling.walls);
        let next = match record.result() {
            RunResult::Done => what_is_higher(record, &path.display().to_string()),
            RunResult::Short | RunResult::VerdictBroken => Some(
                walls
                    .map(|wall| format!("c10k-lab walls {}", wall.name))
                    .next()
                    .unwrap_or("c10k-lab doctor".to_owned()),
            ),
            RunResult::Broken | RunResult::Aborted | RunResult::Unfinished => None,
        };
        if let Some(next) = next {
            self.command("next", &next);
        }
    }
}

/// The command that goes on from a run that held all, whose folder is `folder`: from wall to wall with a server of ours that
/// only holds, else the same with twice as many. Nothing of shards, which one command does not start.
#[must_use]
pub fn what_is_higher(record: &Record, folder: &str) -> Option<String> {
    let Some(plan) = record.plan.as_ref() else { return Some("c10k-lab climb".to_owned()) };
    if record.shards.is_some() {
        return None;
    }
    let times = |factor: u64| short_count(plan.target.saturating_mul(factor));
    let is_ours = !plan.server.foreign && plan.topology != Topology::Remote;
    if is_ours && plan.workload == Workload::Hold {
        let protocol = match plan.protocol {
            Protocol::Raw => "",
            Protocol::Ws => " --protocol ws",
        };
        return Some(format!("c10k-lab climb {}{protocol}", times(10)));
    }
    Some(format!("c10k-lab run {} --target {}", shell::quoted(folder), times(2)))
}

fn mark(verdict: &Verdict) -> (Tone, &'static str) {
    match verdict.passed {
        Some(true) => (Tone::Good, "✓"),
        Some(false) if verdict.warns() => (Tone::Plain, "!"),
        Some(false) => (Tone::Bad, "✗"),
        None => (Tone::Plain, "–"),
    }
}

/// What was measured for a verdict, in the unit of its expression, beside what another run had where it compares with that,
/// and whether it only warns.
#[must_use]
pub fn verdict_value(verdict: &Verdict) -> String {
    let measured = verdict_measured(verdict);
    if verdict.warns() { format!("{measured}, only warns") } else { measured }
}

/// The same without the word on what comes of it.
#[must_use]
pub fn verdict_measured(verdict: &Verdict) -> String {
    let Some(value) = verdict.value else {
        let why = if verdict.passed.is_none() { "not evaluated" } else { "nothing was measured" };
        return why.to_owned();
    };
    let unit = verdict.condition().map(|condition| condition.unit());
    let in_unit = |value| unit.map_or_else(|| number(Some(value)), |unit| unit.written(Some(value)));
    let is = in_unit(value);
    match verdict.beside() {
        None => is,
        Some((had, Some(ratio))) => format!("{is}, {ratio:.2} × the baseline's {}", in_unit(had)),
        Some((had, None)) => format!("{is}, the baseline has {}", in_unit(had)),
    }
}

fn end(side: Side) -> &'static str {
    match side {
        Side::Swarm => "at the swarm",
        Side::Server => "at the server",
        Side::Host => "of the host",
    }
}

/// Where the two ends stand.
fn hosts(two: &TwoHosts) -> String {
    let of = |end: &EndHost| {
        let name = end.name.as_deref().unwrap_or(UNKNOWN);
        let kernel = end.host.as_ref().and_then(|host| host.kernel.as_deref()).unwrap_or(UNKNOWN);
        format!("{name} (Linux {kernel})")
    };
    let shared = if two.one_machine { ", one machine" } else { "" };
    format!("server on {}, clients on {}{shared}", of(&two.server), of(&two.client))
}

/// What a connection takes at each end; nothing where neither is known.
fn memory(record: &Record) -> Option<String> {
    let m = &record.memory_per_connection;
    let sum = |user: Option<f64>, kernel: Option<f64>| Some(user? + kernel?);
    let server = sum(m.server_user_bytes, m.server_kernel_bytes);
    let client = sum(m.client_user_bytes, m.client_kernel_bytes);
    let end = |all: Option<f64>, user: Option<f64>, kernel: Option<f64>| match (all, user, kernel) {
        (Some(all), ..) => with_unit(Some(all), "B"),
        (None, Some(user), _) => format!("{} in user space", with_unit(Some(user), "B")),
        (None, None, kernel) => kernel
            .map_or_else(|| count(None), |kernel| format!("{} in the kernel", with_unit(Some(kernel), "B"))),
    };
    let known = [m.server_user_bytes, m.server_kernel_bytes, m.client_user_bytes, m.client_kernel_bytes];
    known.iter().any(Option::is_some).then(|| {
        let both = sum(server, client).map(|both| format!(", both ends {}", with_unit(Some(both), "B")));
        format!(
            "server {}, client {}{} a connection{}",
            end(server, m.server_user_bytes, m.server_kernel_bytes),
            end(client, m.client_user_bytes, m.client_kernel_bytes),
            both.unwrap_or_default(),
            if m.estimated { ", estimated" } else { "" }
        )
    })
}

fn latencies(record: &Record) -> Option<String> {
    let l = &record.latency_us;
    let handshake = l.handshake.as_ref().and_then(|summary| figures("handshake", summary));
    let echo = figures("echo", &l.echo).or_else(|| figures("first echo", &l.first_echo));
    let all: Vec<String> = [figures("connect", &l.connect), handshake, echo].into_iter().flatten().collect();
    (!all.is_empty()).then(|| all.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Severity, Warning};

    fn judged(severity: Severity) -> Record {
        let mut record = crate::record::sample_record();
        record.end(RunState::Complete);
        let verdict = |expr: &str, passed, value, severity| Verdict {
            expr: expr.to_owned(),
            passed: Some(passed),
            value: Some(value),
            severity,
        };
        record.verdicts = vec![
            verdict("held = target", true, 0.0, Severity::Fail),
            verdict("echo_p99 <= 1ms", false, 1.9, severity),
        ];
        record
    }

    #[test]
    fn a_verdict_that_only_warns_has_a_sign_and_a_word_of_its_own() {
        let mut record = judged(Severity::Warn);
        let text = "the verdict `echo_p99 <= 1ms` does not hold, and only warns";
        record.warnings = vec![Warning::new(Verdict::WARNING, text), Warning::new("own-gap", "stood still")];
        let style = Style { color: false, width: 80 };
        let said = brief(&record, None, 0, style);
        assert!(said.starts_with("HELD 0 of 0 connections; 1 of 2 verdicts only warns\n"), "{said}");
        assert!(said.contains("\n              ! echo_p99 <= 1ms  1.9 ms, only warns\n"), "{said}");
        assert!(!said.contains('✗') && !said.contains("does not hold"), "{said}");
        assert!(said.contains("stood still"), "{said}");
        let said = brief(&judged(Severity::Fail), None, 0, style);
        assert!(
            said.contains("\n              ✗ echo_p99 <= 1ms  1.9 ms\n") && !said.contains('!'),
            "{said}"
        );
        assert!(said.contains("but 1 of 2 verdicts does not hold"), "{said}");
    }

    #[test]
    fn of_one_connection_nothing_is_said_in_the_plural() {
        let mut record = judged(Severity::Warn);
        (record.connections.target, record.connections.held) = (1, 1);
        (record.connections.verified, record.connections.attempted) = (Some(1), 1);
        let said = brief(&record, None, 0, Style { color: false, width: 80 });
        assert!(said.starts_with("HELD 1 of 1 connection; "), "{said}");
    }
}
