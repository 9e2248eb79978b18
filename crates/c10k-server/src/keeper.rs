//! The keeper: starts the workers, listens to signals, stdin and the clock, and says the last word.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use c10k_kernel::sysctl::SysctlRoot;
use c10k_kernel::{limits, process};
use c10k_profile::AppliedGuard;
use c10k_record::{Command, Exit, Printer, ServerEvent, ServerReport, Warning, notes, printable};

use nix::errno::Errno;

use crate::args::{ServerArgs, StatsForm};
use crate::counters::Counters;
use crate::exported::Exported;
use crate::host::{self, Prepared};
use crate::lane::Lane;
use crate::listen;
use crate::plan::plan_tables;
use crate::push::PushPlan;
use crate::report;
use crate::shared::{Language, Note, STACK_BYTES, Shared, WorkerPart};
use crate::slots::Slots;
use crate::start::StartError;
use crate::watch::{watch_signals, watch_stdin};
use crate::worker;

/// What bounds the watches of one user's epoll instances, epoll(7).
const WATCHES: &str = "fs.epoll.max_user_watches";
const TICK: Duration = Duration::from_secs(1);
/// At the end: how long the reader of stdout may take nothing.
const LAST_WAIT: Duration = Duration::from_secs(2);

/// Serves until SIGINT, SIGTERM, SIGHUP, SIGQUIT or the command `stop`, and says how it ended.
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
    /// What was meant for workers that could not start, by lane.
    spares: Vec<(usize, WorkerPart)>,
    printer: Option<Printer>,
    exported: Option<Exported>,
    ready_at: Instant,
    last: ServerReport,
    /// Workers that serve.
    started: u64,
    /// Workers that have not ended.
    living: u64,
    per_table: u32,
    max_connections: Option<u64>,
    start_warned: bool,
    watches_warned: bool,
    signals: u32,
    broke: bool,
}

impl Keeper {
    /// Everything up to the point where all lanes accept.
    fn start(args: ServerArgs) -> Result<Self, StartError> {
        let args = args.over_plan()?;
        args.check().map_err(StartError::Usage)?;
        // All that is text, before anything on the host is changed.
        let language = args.language()?;
        let push = args.push.plan(args.mode()).map_err(StartError::Usage)?;
        // Where the C library has no such limit it keeps what it likes.
        let _ = process::keep_little_free_memory();
        if let Some(parent) = args.parent {
            process::die_with_parent(process::Signal::Terminate, parent)
                .map_err(|_| StartError::ParentGone(parent))?;
        }
        let (note_sender, notes) = channel();
        // Before anything is changed, so that a signal finds somebody who puts it back.
        watch_signals(note_sender.clone()).map_err(StartError::system("watch for signals"))?;
        let exported = Exported::start(&args)?;
        let mut prepared = host::prepare(&args)?;
        let guard = prepared.guard.take();
        match Self::start_prepared(args, (language, push), prepared, notes, note_sender) {
            Ok(mut keeper) => {
                (keeper.prepared.guard, keeper.exported) = (guard, exported);
                Ok(keeper)
            }
            Err(error) if put_back(guard) => Err(error),
            Err(error) => Err(StartError::NotPutBack(Box::new(error))),
        }
    }

    /// The same with the host prepared.
    fn start_prepared(
        args: ServerArgs,
        (language, push): (Language, Option<PushPlan>),
        mut prepared: Prepared,
        notes: Receiver<Note>,
        note_sender: Sender<Note>,
    ) -> Result<Self, StartError> {
        let lanes = args.workers.map_or_else(process::cpus_allowed, |workers| workers as usize);
        let (settings, max_connections) = plan_tables(&args, lanes, &mut prepared)?;
        let listeners = listen::open(&args.listen(), lanes, &prepared.listener)?;
        let made: io::Result<Vec<Lane>> = listeners.of_lane.into_iter().map(Lane::new).collect();
        let made = made.map_err(StartError::system("make the lanes"))?;
        let stdout_is_used = args.events || args.json || args.stats == Some(StatsForm::Json);
        let printer = stdout_is_used.then(|| Printer::new(io::stdout()));
        let mut keeper = Self {
            shared: Arc::new(Shared::new(made, Slots::new(max_connections), settings, language, push)),
            addresses: listeners.addresses,
            prepared,
            notes,
            note_sender,
            counters: vec![Arc::default()],
            spares: Vec::new(),
            printer: printer.transpose().map_err(StartError::system("start the printer"))?,
            exported: None,
            ready_at: Instant::now(),
            last: ServerReport::default(),
            started: 0,
            living: 0,
            per_table: 0,
            max_connections,
            start_warned: false,
            watches_warned: false,
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
                Note::NoWatch { error } => self.warn_of_watches(&error),
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
        let messages_every = self.shared.messages_every();
        let mut next_message = messages_every.map(|every| self.ready_at + every);
        while self.living > 0 && self.signals < 2 {
            let next = next_message.map_or(next_tick, |next| next.min(next_tick));
            match self.notes.recv_timeout(next.saturating_duration_since(Instant::now())) {
                Ok(note) => self.take_note(note),
                Err(RecvTimeoutError::Timeout) => {}
                // Never: this keeper holds a sender itself.
                Err(RecvTimeoutError::Disconnected) => break,
            }
            let now = Instant::now();
            next_message = next_message.filter(|_| !self.shared.is_ending()).map(|next| {
                if now < next {
                    return next;
                }
                self.shared.make_message();
                after(next, messages_every.unwrap_or(TICK), now)
            });
            if now >= next_tick {
                self.tick();
                next_tick = after(next_tick, TICK, now);
            }
        }
        self.finish()
    }

    fn ready(&mut self) {
        self.ready_at = Instant::now();
        for change in &self.prepared.changes {
            say(&format!("set {change}"));
        }
        // A parent has listed what it could not set, and shows people how it stands.
        let alone = self.args.parent.is_none();
        let told = self.prepared.warnings.iter().filter(|w| alone || w.id != "profile-not-applied");
        let told: Vec<Warning> = told.cloned().collect();
        notes(&told, self.args.profile()).iter().for_each(|line| say(line));
        let settings = self.shared.settings;
        let per_table = settings.own_tables.then_some(self.per_table);
        if alone {
            say(&report::ready_line(
                &self.addresses,
                settings.mode,
                self.shared.push.as_ref().map(|push| &push.plan),
                self.shared.lanes.len(),
                per_table,
                self.max_connections,
            ));
        }
        let report = self.report();
        if let Some(exported) = &mut self.exported {
            exported.publish(&report);
            say(&format!("metrics: {}", exported.url()));
        }
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

    fn take_note(&mut self, note: Note) {
        match note {
            Note::Started { capacity } => self.count_started(capacity),
            Note::StartFailed { lane, part, error } => {
                self.spares.push((lane, part));
                self.start_has_failed(lane, &error);
            }
            Note::TableWanted { lane } => self.start_another(lane),
            Note::Ended { error } => self.worker_ended(error),
            Note::NoWatch { error } => self.warn_of_watches(&error),
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
            Ok(Command::Now) => self.print(&ServerEvent::Now(self.report())),
            Ok(
                Command::Grow(_)
                | Command::Shrink(_)
                | Command::Pace(_)
                | Command::Verify
                | Command::Work { .. }
                | Command::Abort,
            ) => {
                say(&format!(
                    "'{}' is a swarm's command: a server takes what comes; it knows stop and now",
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

    /// Told once: which limit it is that accept(2) does not know.
    fn warn_of_watches(&mut self, error: &io::Error) {
        if std::mem::replace(&mut self.watches_warned, true) {
            return;
        }
        say(&format!(
            "warning: epoll has no room for another connection ({error}): accepting pauses until a watch is free"
        ));
        if error.raw_os_error() == Some(Errno::ENOSPC as i32) {
            let now = SysctlRoot::default().read(WATCHES).unwrap_or_else(|_| "unknown".to_owned());
            say(&format!(
                "hint: {WATCHES} is {now}: sysctl -w {WATCHES}=NUMBER raises it, for all of this user"
            ));
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
        let part = self.part_for(lane);
        let (shared, notes) = (Arc::clone(&self.shared), self.note_sender.clone());
        let in_thread = part.clone();
        let thread = std::thread::Builder::new()
            .name(format!("lane-{lane}.{}", part.lane_table.number))
            .stack_size(STACK_BYTES);
        let spawned = limits::room_for_thread(self.living)
            .and_then(|()| thread.spawn(move || worker::run(lane, &shared, in_thread, &notes)));
        match spawned {
            Ok(_) => self.living += 1,
            Err(error) => {
                self.spares.push((lane, part));
                return Err(error);
            }
        }
        Ok(())
    }

    /// Reuses the part of a worker that failed to start (retried every second), else makes one.
    fn part_for(&mut self, lane: usize) -> WorkerPart {
        if let Some(at) = self.spares.iter().position(|(of, _)| *of == lane) {
            return self.spares.swap_remove(at).1;
        }
        let part = WorkerPart { lane_table: self.shared.lanes[lane].add_table(), counters: Arc::default() };
        self.counters.push(Arc::clone(&part.counters));
        part
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
        self.exported.iter_mut().for_each(|exported| exported.publish(&report));
        match self.args.stats {
            Some(StatsForm::Text) => say(&report::stats_line(&report, &self.last)),
            Some(StatsForm::Json) => self.tell(&report),
            None => {}
        }
        if self.args.events {
            self.tell(&ServerEvent::Tick(report.clone()));
        }
        self.last = report;
    }

    fn report(&self) -> ServerReport {
        let has_handshakes = self.args.protocol() == c10k_record::Protocol::Ws;
        let mut report = ServerReport {
            opened: has_handshakes.then_some(0),
            elapsed_ms: self.ready_at.elapsed().as_millis() as u64,
            tables: if self.shared.settings.own_tables { self.started } else { 1 },
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
        if self.args.parent.is_none() {
            say(&report::final_text(&report));
        }
        self.broke |= !put_back(self.prepared.guard.take());
        // A reader that has stopped reading is no fault of the server's.
        if let Some(printer) = self.printer.take()
            && let Err(error) = printer.finish(last, LAST_WAIT)
            && error.kind() != io::ErrorKind::TimedOut
        {
            say(&format!("error: the output cannot be written: {error}"));
            self.broke = true;
        }
        if self.broke { Exit::Broke } else { Exit::Done }
    }

    fn print(&self, value: &impl serde::Serialize) {
        if let Some(printer) = &self.printer {
            printer.line(json(value));
        }
    }

    /// The same for what comes once a second.
    fn tell(&self, value: &impl serde::Serialize) {
        if let Some(printer) = &self.printer {
            printer.tick(json(value));
        }
    }
}

/// The time behind `last` in a row of times that are `every` apart; one that has passed too is left out.
fn after(last: Instant, every: Duration, now: Instant) -> Instant {
    if last + every < now { now + every } else { last + every }
}

/// Puts the host's settings back; false when one of them could not be. What somebody else has changed meanwhile is
/// left to them and only told.
fn put_back(guard: Option<AppliedGuard>) -> bool {
    let Some(guard) = guard else { return true };
    let holds_settings = guard.holds_settings();
    let rolled_back = guard.roll_back();
    if !rolled_back.is_complete() {
        say(&format!("error: {rolled_back}"));
        say(&format!("hint: {}", rolled_back.commands().join(" && ")));
        return false;
    }
    if holds_settings {
        say(&rolled_back.to_string());
    }
    true
}

fn json(value: &impl serde::Serialize) -> String {
    // Plain data with string keys: there is nothing in it that JSON could not hold.
    serde_json::to_string(value).unwrap_or_default()
}

/// A line for people. A stderr that is gone is no reason to end.
fn say(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{}", printable(text));
}
