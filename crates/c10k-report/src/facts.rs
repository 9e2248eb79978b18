//! What there is to tell of a record, in the order in which a reader wants it: the terminal and the page
//! show the same facts.

mod ceiling;
mod cost;
mod met;
mod processes;
mod setting;
mod work;

use c10k_record::{
    LatencySummary, Outcome, Record, RunState, Tone, UNKNOWN, count, human_count, latency, verdict_value,
    with_unit,
};

/// One cell of a table.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    pub(crate) text: String,
    /// Numbers stand to the right.
    pub(crate) right: bool,
}

/// One line of a section.
#[derive(Clone, Debug)]
pub(crate) enum Row {
    Cells(Tone, Vec<Cell>),
    Text(Tone, String),
    /// A line to paste.
    Command(String),
}

/// Facts that belong together.
#[derive(Clone, Debug)]
pub(crate) struct Section {
    pub(crate) title: String,
    pub(crate) header: Vec<&'static str>,
    pub(crate) rows: Vec<Row>,
}

impl Section {
    fn new(title: &str, rows: Vec<Row>) -> Self {
        Self { title: title.to_owned(), header: Vec::new(), rows }
    }

    fn table(title: &str, header: &[&'static str], rows: Vec<Row>) -> Self {
        Self { title: title.to_owned(), header: header.to_vec(), rows }
    }
}

fn left(text: impl Into<String>) -> Cell {
    Cell { text: text.into(), right: false }
}

fn right(text: impl Into<String>) -> Cell {
    Cell { text: text.into(), right: true }
}

fn cells(cells: Vec<Cell>) -> Row {
    Row::Cells(Tone::Plain, cells)
}

fn line(text: impl Into<String>) -> Row {
    Row::Text(Tone::Plain, text.into())
}

/// All sections.
pub(crate) fn sections(record: &Record) -> Vec<Section> {
    let mut sections = vec![verdicts(record), connections(record), losses(record)];
    sections.extend(ceiling::section(record));
    sections.extend(met::section(record));
    sections.extend(work::section(record));
    sections.push(cost::section(record));
    sections.extend(processes::section(record));
    sections.extend([speed(record), latencies(record), load(record)]);
    sections.extend(setting::profiles(record));
    sections.extend(setting::warnings(record));
    sections.extend(setting::notes(record));
    sections.push(setting::run(record));
    sections
}

/// The wall with its evidence, what lifts it and what was predicted; `None` where none was met.
pub(crate) fn ceiling(record: &Record) -> Option<Section> {
    ceiling::section(record)
}

/// What was met on the way; `None` where nothing was.
pub(crate) fn met(record: &Record) -> Option<Section> {
    met::section(record)
}

/// Counts and figures as tables.
pub(crate) fn figures(record: &Record) -> Vec<Section> {
    let mut sections =
        vec![connections(record), cost::section(record), speed(record), latencies(record), load(record)];
    sections.extend(processes::section(record));
    sections
}

/// Warnings, and what the run cannot show.
pub(crate) fn remarks(record: &Record) -> Vec<Section> {
    setting::warnings(record).into_iter().chain(setting::notes(record)).collect()
}

/// What ran, when and where.
pub(crate) fn run(record: &Record) -> Section {
    setting::run(record)
}

/// What the run was judged by.
pub(crate) fn verdicts(record: &Record) -> Section {
    let mut rows: Vec<Row> = record
        .verdicts
        .iter()
        .map(|verdict| {
            let (tone, mark) = match verdict.passed {
                Some(false) if verdict.warns() => (Tone::Bad, "!"),
                Some(true) => (Tone::Good, "✓"),
                Some(false) => (Tone::Bad, "✗"),
                None => (Tone::Plain, "–"),
            };
            Row::Cells(tone, vec![left(mark), left(&verdict.expr), left(verdict_value(verdict))])
        })
        .collect();
    if rows.is_empty() {
        rows.push(line("none was evaluated"));
    }
    Section::new("Verdicts", rows)
}

fn connections(record: &Record) -> Section {
    let c = &record.connections;
    let row = |name: &str, value: Option<u64>, words: &str| {
        cells(vec![left(name), right(count(value)), left(words)])
    };
    // What was not proven at its end is not known to have been held.
    let has_an_end = ![RunState::Unfinished, RunState::Aborted].contains(&record.state);
    let held = (has_an_end || c.held > 0).then_some(c.held);
    let kept = match (c.verified, c.at_server.or(c.accepted)) {
        (Some(_), _) => "still verified at the end of the hold",
        (None, Some(_)) => "still there at both ends at the end of the hold",
        (None, None) if held.is_none() => "still there at the end of the hold",
        (None, None) => "open at the client at the end of the hold; the server's end was not seen",
    };
    let mut rows = vec![
        row("target", Some(c.target), "asked for"),
        row("attempted", Some(c.attempted), "begun"),
        row("established", Some(c.established), "connect() completed at the client"),
        row("accepted", c.accepted, "the server says that it has it"),
        row("verified", c.verified, "the server echoed its probe"),
        row("held", held, kept),
        row("ghosts", c.ghosts, "established at the client, never accepted"),
    ];
    if c.released > 0 {
        rows.push(row("released", Some(c.released), "closed because a command asked for it"));
    }
    if let Some(open) = c.open {
        let when = if is_stopped(record) { "when the run was stopped" } else { "when it was last seen" };
        rows.push(row("open", Some(open), when));
    }
    let stopped = if is_stopped(record) { c.stopped_total() } else { 0 };
    if stopped > 0 {
        rows.push(row(
            "given up",
            Some(stopped),
            "open or under way when the run was stopped, and not judged",
        ));
    }
    let all = c.failed.values().fold(0_u64, |sum, count| sum.saturating_add(*count));
    let lost = all - stopped;
    rows.push(row("lost", Some(lost), "under their errno or name, below"));
    Section::new("Connections", rows)
}

/// Whether what was given up at its end was so by somebody's will, and is no loss.
fn is_stopped(record: &Record) -> bool {
    record.state == RunState::Aborted
}

/// What was lost, by errno or name.
pub(crate) fn losses(record: &Record) -> Section {
    let is_lost = |outcome: &Outcome| !is_stopped(record) || *outcome != Outcome::aborted();
    let mut rows: Vec<Row> = record
        .failures
        .iter()
        .filter(|failure| is_lost(&failure.outcome))
        .map(|failure| {
            cells(vec![
                left(failure.outcome.name()),
                right(human_count(failure.count)),
                left(failure.phase.to_string()),
                right(with_unit(Some(failure.first_at_ms as f64 / 1000.0), "s")),
                left(failure.outcome.meaning_in(failure.phase)),
            ])
        })
        .collect();
    if rows.is_empty() {
        let failed = record.connections.failed.iter().filter(|(outcome, _)| is_lost(outcome));
        rows.extend(failed.map(|(outcome, count)| {
            cells(vec![
                left(outcome.name()),
                right(human_count(*count)),
                left(UNKNOWN),
                right(UNKNOWN),
                left(outcome.meaning()),
            ])
        }));
    }
    if rows.is_empty() {
        return Section::new("Lost", vec![line("none")]);
    }
    Section::table("Lost", &["name", "count", "phase", "first at", "meaning"], rows)
}

fn speed(record: &Record) -> Section {
    let rate = &record.rate;
    let row =
        |name: &str, value, words: &str| cells(vec![left(name), right(with_unit(value, "/s")), left(words)]);
    let connects = &rate.connects_per_second;
    let mut rows = vec![row("connects, mean", connects.mean, "from the first connect to the last proof")];
    let pauses = connects.mean.zip(connects.without_pauses).filter(|(mean, without)| *without > mean * 1.001);
    rows.extend(pauses.map(|(_, without)| {
        row("connects, in steps", Some(without), "the same without the pauses between the steps")
    }));
    rows.extend([
        row("connects, peak", connects.peak, "the best interval between two samples, or step"),
        row("echoes", rate.messages_per_second, "during the last proof of all connections"),
    ]);
    Section::new("Rate", rows)
}

fn latencies(record: &Record) -> Section {
    let l = &record.latency_us;
    let row = |name: &str, summary: &LatencySummary| {
        let figures = [summary.p50, summary.p95, summary.p99, summary.max].map(|us| right(latency(us)));
        let mut row = vec![left(name)];
        row.extend(figures);
        row.push(right(human_count(summary.count)));
        cells(row)
    };
    let mut rows = vec![row("connect", &l.connect)];
    rows.extend(l.handshake.as_ref().map(|handshake| row("handshake", handshake)));
    rows.extend([row("first echo", &l.first_echo), row("echo after the hold", &l.echo)]);
    rows.extend(l.connect_response.as_ref().map(|response| row("connect, from due time", response)));
    rows.extend(record.lateness_us.as_ref().map(|lateness| row("lateness of the swarm", lateness)));
    Section::table("Latency", &["", "p50", "p95", "p99", "max", "measured"], rows)
}

fn load(record: &Record) -> Section {
    let (cpu, tw) = (&record.cpu, &record.time_wait);
    let row = |name: &str, cores, each: Option<String>| {
        let mut row = vec![left(name), right(with_unit(cores, "cores"))];
        row.extend(each.map(left));
        cells(row)
    };
    let each = |us| Some(format!("{} a connection", with_unit(us, "µs")));
    let rows = vec![
        row("server", cpu.server_cores, each(cpu.server_us_per_connection)),
        row("swarm", cpu.swarm_cores, each(cpu.swarm_us_per_connection)),
        row("softirq", cpu.softirq_cores, Some("whole host".to_owned())),
        cells(vec![left("TIME_WAIT"), right(count(tw.peak)), left("at the peak")]),
        cells(vec![left(""), right(count(tw.at_end)), left("after the close")]),
    ];
    Section::new("Processors in the ramp, and TIME_WAIT", rows)
}
