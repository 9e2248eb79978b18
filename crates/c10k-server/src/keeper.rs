//! The keeper: starts the workers, listens to signals, stdin and the clock, and says the last word.

use std::io::{self, BufRead, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use c10k_kernel::{descriptors, process};
use c10k_record::{Command, Exit, ServerEvent, ServerReport, Warning};
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::args::{ServerArgs, StatsForm};
use crate::counters::Counters;
use crate::host::{self, Prepared};
use crate::lane::{Lane, Slots};
use crate::listen;
use crate::printer::Printer;
use crate::report;
use crate::shared::{Note, Shared, WorkerSettings};
use crate::start::StartError;
use crate::worker;

/// Enough for a worker: its buffers are on the heap.
const STACK_BYTES: usize = 128 << 10;
/// Descriptors of a table when the limit is far away. A table costs 8 bytes of kernel memory a descriptor from
/// its start, so larger ones would be paid for before they are used, and more of them cost next to nothing.
const LARGE_TABLE: u64 = 1 << 17;
/// The same where all connections share one table.
const LARGE_ONE_TABLE: u64 = 1 << 20;
/// Descriptors of the process that are no connections, beside those counted when it starts.
const RESERVE: u64 = 16;
const TICK: Duration = Duration::from_secs(1);

/// Serves until SIGINT, SIGTERM or the command `stop`, and says how it ended.
///
/// Data goes to stdout (`--events`, `--json`, `--stats json`), what people read to stderr. Settings that the
/// profile changed on this host are put back before it returns. Workers may outlive the return when a second
/// signal cut the drain short; they end with the process.
#[must_use]
pub fn main_with(args: ServerArgs) -> Exit {
    match Keeper::start(args) {
        Ok(keeper) => keeper.run(),
        Err(error) => {
            say(&format!("error: {error}"));
            if let Some(hint) = error.hint() {
                say(&format!("hint: {hint}"));
            }
            error.exit()
        }
    }
}

struct Keeper {
    args: ServerArgs,
    shared: Arc<Shared>,
    addresses: Vec<SocketAddr>,
    prepared: Prepared,
    notes: Receiver<Note>,
    note_sender: Sender<Note>,
    /// One for each worker, and the keeper's own at the front.
    counters: Vec<Arc<Counters>>,
    printer: Option<Printer>,
    ready_at: Instant,
    last: ServerReport,
    /// Workers that serve.
    started: u64,
    /// Workers that have not ended.
    living: u64,
    per_table: u32,
    max_connections: Option<u64>,
    start_warned: bool,
    signals: u32,
    broke: bool,
}

impl Keeper {
    /// Everything up to the point where all lanes accept.
    fn start(args: ServerArgs) -> Result<Self, StartError> {
        args.check().map_err(StartError::Usage)?;
        if let Some(parent) = args.parent {
            process::die_with_parent(process::Signal::Terminate, parent)
                .map_err(|_| StartError::ParentGone(parent))?;
        }
        let (note_sender, notes) = channel();
        // Before anything is changed, so that a signal finds somebody who puts it back.
        watch_signals(note_sender.clone()).map_err(StartError::system("watch for signals"))?;
        let mut prepared = host::prepare(&args)?;
        let lanes = args.workers.map_or_else(process::cpus_allowed, |workers| workers as usize);
        let (settings, max_connections) = plan_tables(&args, lanes, &mut prepared)?;
        let listeners = listen::open(&args.listen, lanes, &prepared.listener)?;
        let made: io::Result<Vec<Lane>> = listeners.of_lane.into_iter().map(Lane::new).collect();
        let made = made.map_err(StartError::system("make the lanes"))?;
        let stdout_is_used = args.events || args.json || args.stats == Some(StatsForm::Json);
        let printer = stdout_is_used.then(|| Printer::new(io::stdout()));
        let mut keeper = Self {
            shared: Arc::new(Shared::new(made, Slots::new(max_connections), settings)),
            addresses: listeners.addresses,
            prepared,
            notes,
            note_sender,
            counters: vec![Arc::default()],
            printer: printer.transpose().map_err(StartError::system("start the printer"))?,
            ready_at: Instant::now(),
            last: ServerReport::default(),
            started: 0,
            living: 0,
            per_table: 0,
            max_connections,
            start_warned: false,
            signals: 0,
            broke: false,
            args,
        };
        keeper.start_lanes()?;
        Ok(keeper)
    }

    fn start_lanes(&mut self) -> Result<(), StartError> {
        let lanes = self.shared.lanes.len();
        for lane in 0..lanes {
            self.start_table(lane).map_err(StartError::system("start a worker"))?;
        }
        while self.started < lanes as u64 {
            let note = self.notes.recv().map_err(|_| StartError::System {
                doing: "start the workers",
                source: io::ErrorKind::BrokenPipe.into(),
            })?;
            match note {
                Note::StartFailed { error, .. } => {
                    return Err(StartError::System { doing: "start a worker", source: error });
                }
                Note::Signal => self.signals += 1,
                Note::Started { capacity } => self.count_started(capacity),
                Note::TableWanted { lane } => self.start_another(lane),
                Note::Ended { error } => {
                    let reason = error.unwrap_or_else(|| "it ended at once".to_owned());
                    return Err(StartError::System {
                        doing: "start a worker",
                        source: io::Error::other(reason),
                    });
                }
                Note::Line(_) => {}
            }
        }
        Ok(())
    }

    /// Serves until it is told to end and all workers have ended.
    fn run(mut self) -> Exit {
        self.ready();
        if self.signals > 0 || self.broke {
            self.end();
        }
        let mut next_tick = self.ready_at + TICK;
        while self.living > 0 && self.signals < 2 {
            match self.notes.recv_timeout(next_tick.saturating_duration_since(Instant::now())) {
                Ok(note) => self.hear(note),
                Err(RecvTimeoutError::Timeout) => {}
                // Never: this keeper holds a sender itself.
                Err(RecvTimeoutError::Disconnected) => break,
            }
            let now = Instant::now();
            if now >= next_tick {
                self.tick();
                next_tick += TICK;
                if next_tick < now {
                    next_tick = now + TICK;
                }
            }
        }
        self.finish()
    }

    fn ready(&mut self) {
        self.ready_at = Instant::now();
        for change in &self.prepared.changes {
            say(&format!("set {change}"));
        }
        for warning in &self.prepared.warnings {
            say(&format!("warning: {}", warning.text));
        }
        let settings = self.shared.settings;
        let per_table = settings.own_tables.then_some(self.per_table);
        say(&report::ready_line(
            &self.addresses,
            settings.mode,
            self.shared.lanes.len(),
            per_table,
            self.max_connections,
        ));
        if self.args.events {
            self.print(&ServerEvent::Ready {
                pid: std::process::id(),
                listen: self.addresses.clone(),
                mode: settings.mode,
                backlog: self.prepared.listener.backlog,
                descriptors_per_table: u64::from(settings.table_limit),
                own_tables: settings.own_tables,
                max_connections: self.max_connections,
            });
            if let Err(error) = watch_stdin(self.note_sender.clone()) {
                say(&format!("warning: commands on stdin are not heard: {error}"));
            }
        }
    }

    fn hear(&mut self, note: Note) {
        match note {
            Note::Started { capacity } => self.count_started(capacity),
            Note::StartFailed { lane, error } => self.start_has_failed(lane, &error),
            Note::TableWanted { lane } => self.start_another(lane),
            Note::Ended { error } => self.worker_ended(error),
            Note::Line(line) => self.obey(&line),
            Note::Signal => {
                self.signals += 1;
                if self.signals == 1 && !self.shared.is_ending() {
                    say(
                        "ending: no new connections, pending output is delivered (a second signal ends at once)",
                    );
                }
                self.end();
            }
        }
    }

    fn obey(&mut self, line: &str) {
        match line.parse::<Command>() {
            _ if line.trim().is_empty() => {}
            Ok(Command::Stop) => self.end(),
            Ok(Command::Grow(_) | Command::Shrink(_) | Command::Verify) => {
                say(&format!(
                    "'{}' is a swarm's command: a server takes what comes; it knows stop",
                    line.trim()
                ));
            }
            Err(error) => say(&error),
        }
    }

    fn end(&mut self) {
        if !self.shared.is_ending() {
            self.shared.end();
        }
    }

    fn count_started(&mut self, capacity: u32) {
        self.started += 1;
        self.per_table = self.per_table.max(capacity);
    }

    fn start_another(&mut self, lane: usize) {
        if self.shared.is_ending() {
            return;
        }
        if let Err(error) = self.start_table(lane) {
            self.start_has_failed(lane, &error);
        }
    }

    /// The lane goes on with the tables it has; it is tried again at the next tick when there is no other way.
    fn start_has_failed(&mut self, lane: usize, error: &io::Error) {
        if !std::mem::replace(&mut self.start_warned, true) {
            say(&format!("warning: cannot start another descriptor table: {error}"));
        }
        if self.shared.lanes[lane].start_failed() {
            self.counters[0].paused();
        }
    }

    fn worker_ended(&mut self, error: Option<String>) {
        self.living -= 1;
        if let Some(error) = error {
            say(&format!("error: {error}; its connections are lost, so the server ends"));
            self.broke = true;
            self.end();
        }
    }

    /// Starts a worker: from the keeper's table, which holds no connections, so that the worker's copy of it
    /// holds none either.
    fn start_table(&mut self, lane: usize) -> io::Result<()> {
        let counters = Arc::new(Counters::default());
        let desk = self.shared.lanes[lane].add_desk();
        let (shared, notes) = (Arc::clone(&self.shared), self.note_sender.clone());
        let in_thread = Arc::clone(&counters);
        std::thread::Builder::new()
            .name(format!("lane-{lane}.{}", desk.number))
            .stack_size(STACK_BYTES)
            .spawn(move || worker::run(lane, &shared, desk, in_thread, &notes))?;
        self.counters.push(counters);
        self.living += 1;
        Ok(())
    }

    fn tick(&mut self) {
        if !self.shared.is_ending() {
            for lane in 0..self.shared.lanes.len() {
                if self.shared.settings.own_tables && self.shared.lanes[lane].reclaim_for_new() {
                    self.start_another(lane);
                }
            }
        }
        let report = self.report();
        match self.args.stats {
            Some(StatsForm::Text) => say(&report::stats_line(&report, &self.last)),
            Some(StatsForm::Json) => self.print(&report),
            None => {}
        }
        if self.args.events {
            self.print(&ServerEvent::Tick(report.clone()));
        }
        self.last = report;
    }

    fn report(&self) -> ServerReport {
        let mut report = ServerReport {
            elapsed_ms: self.ready_at.elapsed().as_millis() as u64,
            tables: self.started,
            ..ServerReport::default()
        };
        self.counters.iter().for_each(|counters| counters.add_to(&mut report));
        report.peak = self.shared.gauge.peak().max(report.open).max(self.last.peak);
        report
    }

    /// The last word, and the host's settings as they were.
    fn finish(mut self) -> Exit {
        let report = self.report();
        let last = if self.args.events {
            Some(json(&ServerEvent::Done(report.clone())))
        } else {
            (self.args.json || self.args.stats == Some(StatsForm::Json)).then(|| json(&report))
        };
        say(&report::final_text(&report));
        if let Some(guard) = self.prepared.guard.take() {
            let had_changes = !guard.changes.is_empty();
            match guard.roll_back() {
                Ok(rolled_back) if had_changes => say(&rolled_back.to_string()),
                Ok(_) => {}
                Err(error) => say(&format!("warning: {error}")),
            }
        }
        if let Some(printer) = self.printer.take() {
            printer.finish(last);
        }
        if self.broke { Exit::Broke } else { Exit::Done }
    }

    fn print(&self, value: &impl serde::Serialize) {
        if let Some(printer) = &self.printer {
            printer.line(json(value));
        }
    }
}

/// How large a table is and whether workers have their own; `None` = no limit on connections.
fn plan_tables(
    args: &ServerArgs,
    lanes: usize,
    prepared: &mut Prepared,
) -> Result<(WorkerSettings, Option<u64>), StartError> {
    let own_tables = !args.one_table && own_tables_are_allowed(&mut prepared.warnings);
    let in_use = descriptors::open_count(std::process::id())
        .map_err(StartError::system("count this process's descriptors"))?;
    let of_lanes = lanes as u64 * (args.listen.addresses().len() as u64 + 2);
    let others = in_use + of_lanes + RESERVE + if own_tables { 1 } else { lanes as u64 };
    let asked = args.max_connections.map(|quantity| quantity.0);
    let needed = asked.unwrap_or(1).saturating_add(others);
    let soft = prepared.nofile.soft;
    let least = if own_tables { others + 1 } else { needed };
    if soft < least {
        let one_table_by_choice = args.one_table;
        return Err(StartError::Descriptors {
            needed: least,
            soft,
            hard: prepared.nofile.hard,
            one_table_by_choice,
        });
    }
    let large = if own_tables { LARGE_TABLE } else { LARGE_ONE_TABLE };
    let table_limit = match asked {
        Some(_) if own_tables => soft.min(needed).min(large),
        Some(_) => soft.min(needed),
        None => soft.min(large),
    };
    let max_connections = if own_tables { asked } else { Some(asked.unwrap_or(table_limit - others)) };
    let table_limit = u32::try_from(table_limit).unwrap_or(i32::MAX as u32);
    if !own_tables {
        descriptors::grow_table_to(table_limit - 1)
            .map_err(StartError::system("grow the descriptor table"))?;
    }
    let settings = WorkerSettings {
        mode: args.mode,
        own_tables,
        table_limit,
        stall_timeout: Some(args.stall_timeout.0).filter(|timeout| !timeout.is_zero()),
        drain: args.drain.0,
    };
    Ok((settings, max_connections))
}

/// A container's filter may refuse unshare(2): a thread that ends at once tries it.
fn own_tables_are_allowed(warnings: &mut Vec<Warning>) -> bool {
    let tried = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(descriptors::unshare_table);
    let result = tried.and_then(|thread| thread.join().unwrap_or_else(|_| Err(io::ErrorKind::Other.into())));
    if let Err(error) = &result {
        warnings.push(Warning::new(
            "one-table",
            format!(
                "workers cannot have descriptor tables of their own (unshare: {error}): \
                 all connections share one, and RLIMIT_NOFILE is their limit"
            ),
        ));
    }
    result.is_ok()
}

fn watch_signals(notes: Sender<Note>) -> io::Result<()> {
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM])?;
    std::thread::Builder::new().name("signals".to_owned()).stack_size(STACK_BYTES).spawn(move || {
        for _ in signals.forever() {
            if notes.send(Note::Signal).is_err() {
                return;
            }
        }
    })?;
    Ok(())
}

/// The end of stdin is no command: the server goes on.
fn watch_stdin(notes: Sender<Note>) -> io::Result<()> {
    std::thread::Builder::new().name("stdin".to_owned()).stack_size(STACK_BYTES).spawn(move || {
        for line in io::stdin().lock().lines() {
            let Ok(line) = line else { return };
            if notes.send(Note::Line(line)).is_err() {
                return;
            }
        }
    })?;
    Ok(())
}

fn json(value: &impl serde::Serialize) -> String {
    // Plain data with string keys: there is nothing in it that JSON could not hold.
    serde_json::to_string(value).unwrap_or_default()
}

/// A line for people. A stderr that is gone is no reason to end.
fn say(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}
