//! `c10k-lab run`: topology → profile → server → swarm → record → ceiling → report.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use c10k_ceiling::ServerEnd;
use c10k_collector::{Collector, CollectorConfig, account};
use c10k_kernel::limits;
use c10k_kernel::namespace::Beside;
use c10k_profile::Profile;
use c10k_record::{
    Connections, Exit, HostSnapshot, LiveCounts, Outcome, PhaseName, Plan, Record, RunFolder, RunState,
    ServerEvent, ServerReport, Span, Steps, SwarmEvent, Tool, Verdict, Warning, human_bytes, human_count,
};
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::child::{Heard, Process, Who, end_in_words};
use crate::cli::RunArgs;
use crate::far::FarEnd;
use crate::findings::{findings, plan_view};
use crate::foreign::{Foreign, ServerSide};
use crate::host;
use crate::isolate::{self, Place};
use crate::plan::{Refusal, resolve};
use crate::printer::Printer;
use crate::steward::{self, HostWide, Stewarded};
use crate::veth;
use crate::watch::{Mark, Watch, cpu_between};

/// How long a process may take to come up.
const START: Duration = Duration::from_secs(20);
/// How long the swarm may take to close and say its last word after `stop`.
const LAST_WORD: Duration = Duration::from_secs(60);
/// And for each connection that it has to close.
const LONGEST_CLOSE: Duration = Duration::from_micros(100);
/// How long the server may take to drain.
const DRAIN: Duration = Duration::from_secs(10);
/// How long the swarm goes on once its server has ended.
const AFTERMATH: Duration = Duration::from_secs(1);
/// The longest sleep between two looks at signals and processes.
const NAP: Duration = Duration::from_millis(50);
/// How long the hold goes on before its memory is taken: what the ramp left behind is given back by then.
const QUIET: Duration = Duration::from_millis(400);

/// Carries out `c10k-lab run`.
pub(crate) fn run(args: &RunArgs, printer: &mut Printer) -> Exit {
    match prepare_and_go(args, printer) {
        Ok(exit) => exit,
        Err(refusal) => {
            // Empty: the process that did not start has said it on stderr.
            if !refusal.message.is_empty() {
                printer.error(&refusal.message, refusal.hint.as_deref());
            }
            refusal.exit
        }
    }
}

fn prepare_and_go(args: &RunArgs, printer: &mut Printer) -> Result<Exit, Refusal> {
    let mut plan = resolve(args)?;
    let profile =
        Profile::load(&plan.profile).map_err(|error| Refusal::text(error.to_string(), error.hint()))?;
    if let c10k_profile::Source::File(path) = &profile.source {
        // A plan that is repeated from another folder finds the same file.
        let absolute = path.canonicalize().unwrap_or_else(|_| path.clone());
        plan.profile = absolute.display().to_string();
    }
    let foreign = Foreign::of_run(args, &mut plan)?;
    veth::settle(&mut plan, &profile)?;
    // Where the run has a namespace of its own; beside a server that is not the lab's nothing is set.
    let own = foreign.is_none().then_some(&profile);
    let host_wide = match steward::host_wide(own, printer)? {
        Stewarded::Here(host_wide) => host_wide,
        Stewarded::Done(exit) => return Ok(exit),
    };
    // From the first file on, so that a signal in the start leaves a record too.
    let signals =
        Signals::watch().map_err(|error| Refusal::host(format!("cannot watch signals: {error}"), ""))?;
    let missing = missing_folders(&args.results);
    let folder = RunFolder::create(&args.results, &plan).map_err(|error| {
        remove_empty(&missing);
        Refusal::host(error.to_string(), "name a folder that can be written with --results")
    })?;
    let outcome = go(&plan, &profile, &host_wide, foreign, folder, signals, printer);
    let (record, path) = match outcome {
        Ok(done) => done,
        Err((refusal, folder)) => {
            // Nothing was run: an empty folder would only look like a run.
            let _ = std::fs::remove_dir_all(folder);
            remove_empty(&missing);
            return Err(refusal);
        }
    };
    let summary = c10k_report::summary(&record, Some(&path), printer.style(false));
    printer.say(&summary);
    if args.json {
        printer.data(&serde_json::to_string(&record).unwrap_or_default());
    }
    Ok(exit_of(&record))
}

/// `path` and those above it that are not there yet, the deepest first.
fn missing_folders(path: &Path) -> Vec<PathBuf> {
    let named = |folder: &&Path| !folder.as_os_str().is_empty() && !folder.exists();
    path.ancestors().take_while(named).map(Path::to_owned).collect()
}

/// Removes folders again that nobody has put anything into since.
fn remove_empty(folders: &[PathBuf]) {
    for folder in folders {
        let _ = std::fs::remove_dir(folder);
    }
}

fn exit_of(record: &Record) -> Exit {
    match record.state {
        RunState::Broken | RunState::Unfinished => Exit::Broke,
        RunState::Aborted if record.ended_because.as_deref().is_some_and(|why| why.contains("SIGTERM")) => {
            Exit::Terminated
        }
        RunState::Aborted => Exit::Interrupted,
        RunState::Complete if record.succeeded() => Exit::Done,
        RunState::Complete => Exit::Short,
    }
}

type Refused = (Refusal, PathBuf);

/// From the namespace to the finished folder.
fn go(
    plan: &Plan,
    profile: &Profile,
    host_wide: &HostWide,
    foreign: Option<Foreign>,
    folder: RunFolder,
    signals: Signals,
    printer: &mut Printer,
) -> Result<(Record, PathBuf), Refused> {
    let path = folder.path().to_owned();
    let refused = |refusal: Refusal| (refusal, path.clone());
    let root = limits::euid() == 0;
    // Before any thread exists: later a user namespace is EINVAL (unshare(2)).
    let place = match &foreign {
        Some(foreign) => foreign.place(plan),
        None => isolate::enter(plan, profile).map(|place| host_wide.settle(place)),
    };
    let place = place.map_err(refused)?;
    for warning in &place.warnings {
        printer.say(&format!("warning: {}", warning.text));
    }
    let mut limits = host::snapshot(profile, root);
    if let Some(foreign) = &foreign {
        limits = foreign.limits(limits);
    }
    let tool = Tool { name: "c10k-lab".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() };
    let mut record = Record::begun(tool, folder.run_id(), plan.topology, plan.protocol, plan.workload);
    record.command = std::env::args().collect();
    record.plan = Some(plan.clone());
    record.profile = place.profile.clone();
    record.host = Some(host::describe(limits.clone(), root));
    record.warnings.clone_from(&place.warnings);
    record.connections.target = plan.target;
    record.ended_because = Some(format!(
        "unfinished: it was being written by process {}; if that is gone, the lab was killed",
        std::process::id()
    ));
    folder.write_partial(&record).map_err(|error| {
        refused(Refusal::host(error.to_string(), "name a folder that can be written with --results"))
    })?;
    let mut lab =
        Lab::start(plan, folder, record, limits, signals, (place, foreign), printer).map_err(refused)?;
    lab.carry_out();
    Ok((lab.finish(), path))
}

/// Signals that have come.
struct Signals {
    stop: Arc<AtomicBool>,
    number: Arc<AtomicUsize>,
}

impl Signals {
    /// A first signal asks for an orderly end, a second one ends the lab at once, and its processes with it.
    fn watch() -> io::Result<Self> {
        let signals = Self { stop: Arc::default(), number: Arc::default() };
        for (signal, code) in [(SIGINT, 130), (SIGTERM, 143)] {
            signal_hook::flag::register_conditional_shutdown(signal, code, Arc::clone(&signals.stop))?;
            signal_hook::flag::register_usize(signal, Arc::clone(&signals.number), signal as usize)?;
            signal_hook::flag::register(signal, Arc::clone(&signals.stop))?;
        }
        Ok(signals)
    }

    fn came(&self) -> bool {
        self.stop.load(Relaxed)
    }

    fn name(&self) -> &'static str {
        if self.number.load(Relaxed) == SIGTERM as usize { "SIGTERM" } else { "SIGINT" }
    }
}

/// Why a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Woken {
    Done,
    TimeIsUp,
    /// A signal came, or something the run stands on broke.
    Stop,
}

struct Lab<'a> {
    plan: &'a Plan,
    folder: RunFolder,
    record: Record,
    limits: HostSnapshot,
    signals: Signals,
    printer: &'a mut Printer,
    heard: Receiver<Heard>,
    server: ServerSide,
    swarm: Process,
    watch: Watch,
    /// Keeps the swarm's namespace, and what is in TIME_WAIT there, to the end.
    _place: Place,
    // What the processes said last.
    server_said: Option<ServerReport>,
    counts: LiveCounts,
    phase: Option<PhaseName>,
    holds_begun: u64,
    verified: Option<Connections>,
    swarm_record: Option<Box<Record>>,
    swarm_closed: bool,
    server_closed: bool,
    capacity: u64,
    // What broke.
    broken: Option<String>,
    server_end: Option<ServerEnd>,
    server_ended_at: Option<Instant>,
    ready: Option<Mark>,
    full: Option<Mark>,
}

impl<'a> Lab<'a> {
    /// Starts server and swarm and waits until both are ready.
    fn start(
        plan: &'a Plan,
        folder: RunFolder,
        record: Record,
        limits: HostSnapshot,
        signals: Signals,
        (place, foreign): (Place, Option<Foreign>),
        printer: &'a mut Printer,
    ) -> Result<Self, Refusal> {
        let (sender, heard) = channel();
        let (server, listen) = if let Some(foreign) = foreign {
            let listen = foreign.listen.clone();
            (ServerSide::Foreign(foreign), listen)
        } else {
            let server_arguments = server_arguments(plan, place.isolation.is_some());
            let mut server = start_process(Who::Server, &server_arguments, None, &sender)?;
            let listen = await_server(&heard, &mut server)?;
            (ServerSide::Ours(server), listen)
        };
        let swarm_arguments = swarm_arguments(plan, &listen, &folder.path().join("latency.hlog"));
        let mut swarm = start_process(Who::Swarm, &swarm_arguments, place.far.as_ref(), &sender)?;
        let capacity = await_swarm(&heard, &mut swarm)?;
        let ports: Vec<u16> = listen.iter().map(std::net::SocketAddr::port).collect();
        let far = place.far.as_ref().map(|far| FarEnd::open(far, swarm.pid(), &ports));
        let config = CollectorConfig {
            server_pid: server.pid(),
            swarm_pid: Some(swarm.pid()),
            ports,
            ..CollectorConfig::default()
        };
        let collector = Collector::new(config).map_err(|error| Refusal {
            message: error.to_string(),
            hint: None,
            exit: Exit::Broke,
        })?;
        let is_ours = server.is_ours();
        Ok(Self {
            plan,
            folder,
            record,
            limits,
            signals,
            printer,
            heard,
            server,
            swarm,
            watch: Watch::new(collector, far, !is_ours),
            _place: place,
            server_said: None,
            counts: LiveCounts::default(),
            phase: None,
            holds_begun: 0,
            verified: None,
            swarm_record: None,
            swarm_closed: false,
            server_closed: !is_ours,
            capacity,
            broken: None,
            server_end: None,
            server_ended_at: None,
            ready: None,
            full: None,
        })
    }

    /// Ramp, hold, proof, close.
    fn carry_out(&mut self) {
        self.watch.settle(Duration::from_millis(500));
        self.ready = Some(self.watch.mark());
        self.row(true);
        self.ramp();
        self.hold();
        if !self.is_stopped() && self.swarm.tell("verify") {
            self.wait(None, |lab| lab.verified.is_some());
        }
        self.swarm.tell("stop");
        let open = u32::try_from(self.counts.open).unwrap_or(u32::MAX);
        self.wait_to_the_end(LAST_WORD + LONGEST_CLOSE * open, |lab| lab.swarm_closed);
        self.row(true);
        if self.swarm_record.is_none() {
            self.swarm.wait_or_kill(Duration::from_secs(1));
        }
        self.note_ended_processes();
        self.server.tell("stop");
        // Whoever stopped the run waits for it; a server that stands still must not keep them.
        let drain = if self.signals.came() { DRAIN / 4 } else { DRAIN };
        self.wait_to_the_end(drain, |lab| lab.server_closed);
        self.swarm.wait_or_kill(Duration::from_secs(1));
        self.server.wait_or_kill(Duration::from_secs(1));
        self.row(true);
    }

    fn ramp(&mut self) {
        let steps = self.plan.load.steps.unwrap_or(Steps { size: self.plan.target, count: 1 });
        for step in 0..steps.count {
            if step > 0 {
                let Span(pause) = self.plan.load.step_pause;
                self.wait(Some(Instant::now() + pause), |_| false);
            }
            if self.is_stopped() || !self.swarm.tell(&format!("grow {}", steps.size)) {
                return;
            }
            let holds = self.holds_begun;
            self.wait(None, move |lab| lab.holds_begun > holds);
            let wanted = steps.size * (step + 1);
            if self.counts.attempted < wanted {
                // It stopped growing: more steps would only find the same.
                return;
            }
        }
    }

    fn hold(&mut self) {
        if self.is_stopped() {
            return;
        }
        let Span(hold) = self.plan.load.hold;
        let until = Instant::now() + hold;
        self.wait(Some(Instant::now() + QUIET.min(hold)), |_| false);
        self.full = Some(self.watch.mark());
        self.compare_with_census();
        let _ = self.folder.write_partial(&self.record);
        self.wait(Some(until), |lab| lab.counts.open == 0);
    }

    /// Both sides' sockets as the kernel counts them, beside what the swarm says.
    fn compare_with_census(&mut self) {
        let (server_side, client_side) = self.watch.established();
        let open = self.counts.open;
        let shown = |seen: Option<u64>| seen.map_or_else(|| "an unknown number".to_owned(), human_count);
        if [server_side, client_side].into_iter().flatten().any(|seen| seen != open) {
            self.record.warnings.push(Warning::new(
                "census",
                format!(
                    "in the hold the swarm had {} connections open, sock_diag saw {} ESTABLISHED at the client and {} \
                     at the server",
                    human_count(open),
                    shown(client_side),
                    shown(server_side)
                ),
            ));
        }
    }

    fn is_stopped(&self) -> bool {
        let alone = self.server_ended_at.is_some_and(|ended| ended.elapsed() >= AFTERMATH);
        self.signals.came() || self.broken.is_some() || self.swarm_closed || alone
    }

    // Waiting ------------------------------------------------------------------------------------------

    fn wait(&mut self, until: Option<Instant>, done: impl Fn(&Self) -> bool) -> Woken {
        loop {
            if done(self) {
                return Woken::Done;
            }
            if self.is_stopped() {
                return Woken::Stop;
            }
            if until.is_some_and(|until| until <= Instant::now()) {
                return Woken::TimeIsUp;
            }
            self.hear(until);
        }
    }

    /// As [`Lab::wait`], but only the time ends it early.
    fn wait_to_the_end(&mut self, longest: Duration, done: impl Fn(&Self) -> bool) {
        let until = Instant::now() + longest;
        while !done(self) && Instant::now() < until {
            self.hear(Some(until));
        }
    }

    fn hear(&mut self, until: Option<Instant>) {
        let nap = until.map_or(NAP, |until| NAP.min(until.saturating_duration_since(Instant::now())));
        match self.heard.recv_timeout(nap) {
            Ok(heard) => self.on_heard(heard),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
        }
        self.note_ended_processes();
        if self.watch.is_due(Instant::now()) {
            self.row(false);
        }
    }

    fn on_heard(&mut self, heard: Heard) {
        match heard {
            Heard::Server(ServerEvent::Tick(report) | ServerEvent::Done(report)) => {
                self.server_said = Some(report);
            }
            Heard::Server(ServerEvent::Ready { .. }) => {}
            Heard::Swarm(event) => match *event {
                SwarmEvent::Ready { .. } => {}
                SwarmEvent::Phase { phase, counts, .. } => {
                    self.phase = Some(phase);
                    self.counts = counts;
                    self.holds_begun += u64::from(phase == PhaseName::Hold);
                }
                SwarmEvent::Tick { phase, counts, .. } => {
                    self.phase = Some(phase);
                    self.counts = counts;
                }
                SwarmEvent::Verified { connections, .. } => self.verified = Some(connections),
                SwarmEvent::Done { record } => self.swarm_record = Some(record),
            },
            Heard::Ended(Who::Server) => self.server_closed = true,
            Heard::Ended(Who::Swarm) => self.swarm_closed = true,
        }
    }

    /// A process that ends before it is told to breaks the run. The swarm goes on for a moment without a server:
    /// it counts what becomes of its connections.
    fn note_ended_processes(&mut self) {
        if self.server_end.is_none()
            && !self.swarm_closed
            && let Some((end, words)) = self.server.end(self.watch.server_is_gone())
        {
            self.server_end = Some(end);
            self.server_ended_at = Some(Instant::now());
            let phase = self.phase.map_or_else(|| "the start".to_owned(), |phase| format!("the {phase}"));
            self.record.ended_because = Some(format!("{words} in {phase}"));
            self.printer.say(&format!("warning: {words} in {phase}"));
        }
        if self.swarm_closed
            && self.swarm_record.is_none()
            && self.broken.is_none()
            && let Some(status) = self.swarm.ended()
        {
            let phase = self.phase.map_or_else(|| "the start".to_owned(), |phase| format!("the {phase}"));
            self.broken = Some(format!("{} in {phase}", end_in_words(Who::Swarm, status)));
        }
    }

    /// A row of samples.csv, and the progress line.
    fn row(&mut self, important: bool) {
        let phase = self.phase.map(|phase| phase.to_string()).unwrap_or_default();
        let row = self.watch.tick(&phase, &self.counts, self.server_said.as_ref());
        if self.broken.is_none()
            && let Err(error) = self.folder.append_sample(&row)
        {
            self.broken = Some(format!("the record could not be written on: {error}"));
        }
        if important && self.phase.is_none() {
            return;
        }
        let line = self.progress_line(&phase);
        self.printer.progress(&line, important);
    }

    fn progress_line(&self, phase: &str) -> String {
        let c = &self.counts;
        let rows = &self.watch.samples;
        let rate = rows.last().and_then(|row| row.connects_per_second).unwrap_or(0.0);
        let each = |of: fn(&c10k_record::Sample) -> Option<u64>| {
            let (first, last) = (of(rows.first()?)?, of(rows.last()?)?);
            last.saturating_sub(first).checked_div(c.open)
        };
        let cost = match (each(|row| row.server_rss_bytes), each(|row| row.slab_bytes)) {
            (Some(user), Some(kernel)) => {
                format!("  server {} + kernel {} a pair", human_bytes(user), human_bytes(kernel))
            }
            _ => String::new(),
        };
        let accepted =
            self.server_said.as_ref().map_or_else(|| "?".to_owned(), |said| human_count(said.accepted));
        format!(
            "{phase:<6} attempted {}  established {}  accepted {accepted}  verified {} of {}  failed {}  {}/s{cost}",
            human_count(c.attempted),
            human_count(c.established),
            human_count(c.verified),
            human_count(self.plan.target),
            human_count(c.failed),
            human_count(rate as u64),
        )
    }

    // The record ---------------------------------------------------------------------------------------

    /// Puts together what was seen and writes it.
    fn finish(mut self) -> Record {
        self.take_over_the_swarms_word();
        let server_is_done = self.server_said.clone();
        self.record.server = server_is_done;
        let c = &mut self.record.connections;
        c.accepted = self.record.server.as_ref().map(|server| server.accepted);
        // A server that was killed could not say how many it had accepted since its last tick.
        if self.server_end.is_some() {
            c.accepted = None;
        }
        c.settle_ghosts();
        self.costs();
        self.record.time_wait.peak = self.watch.levels.time_wait;
        self.record.time_wait.at_end = self.watch.last.as_ref().and_then(|seen| seen.sockets.time_wait);
        for unreadable in self.watch.unreadable() {
            self.record.warnings.push(Warning::new("unreadable", unreadable));
        }
        self.record.verdicts =
            self.plan.verdicts.iter().map(|expr| Verdict::evaluate(expr, &self.record)).collect();
        self.name_the_end();
        let aborted = self.record.state == RunState::Aborted;
        let predicted = c10k_ceiling::predicted_ceiling(&self.limits, &plan_view(self.plan, &self.limits));
        let found = findings(
            &self.record,
            self.plan,
            &self.limits,
            &self.watch,
            Some(self.capacity),
            self.server_end,
            aborted,
        );
        self.record.ceiling = c10k_ceiling::diagnose(&found, predicted);
        if let Some(broken) = self.record.broken_identity() {
            self.record.warnings.push(Warning::new("identity", broken));
        }
        self.write();
        self.record
    }

    fn take_over_the_swarms_word(&mut self) {
        if let Some(said) = self.swarm_record.take() {
            let target = self.record.connections.target;
            self.record.connections = Connections { target, ..said.connections };
            self.record.failures = said.failures;
            self.record.rate = said.rate;
            self.record.latency_us = said.latency_us;
            self.record.phases = said.phases;
            // What of the profile is not in force was listed when the place was made.
            let known = &self.record.warnings;
            let is_new = |w: &Warning| w.id != "profile-not-applied" && !known.contains(w);
            let new: Vec<Warning> = said.warnings.into_iter().filter(is_new).collect();
            self.record.warnings.extend(new);
            return;
        }
        // The swarm is gone without a last word: what it had is lost, and counted as such.
        let c = &mut self.record.connections;
        c.attempted = self.counts.attempted;
        c.established = self.counts.established;
        c.verified = self.plan.load.probe.then_some(self.counts.verified);
        c.held = 0;
        c.add_failed(Outcome::worker_lost(), self.counts.attempted);
        if self.counts.attempted > 0 {
            self.record.failures = vec![c10k_record::Failure {
                phase: self.phase.unwrap_or(PhaseName::Ramp),
                outcome: Outcome::worker_lost(),
                count: self.counts.attempted,
                first_at_ms: 0,
            }];
        }
    }

    fn costs(&mut self) {
        let (Some(ready), Some(full)) = (&self.ready, &self.full) else { return };
        let c = &self.record.connections;
        self.record.cpu = cpu_between(ready, full, c.accepted, c.attempted);
        if c.held > 0 {
            self.record.memory_per_connection = account(&ready.memory, &full.memory, c.held, true);
        }
    }

    fn name_the_end(&mut self) {
        if let Some(broken) = self.broken.take() {
            self.record.ended_because = Some(broken);
            return self.record.end(RunState::Broken);
        }
        if self.server_end.is_some() {
            return self.record.end(RunState::Broken);
        }
        if self.signals.came() {
            self.record.ended_because = Some(format!("stopped by {}", self.signals.name()));
            return self.record.end(RunState::Aborted);
        }
        self.record.ended_because = None;
        self.record.end(RunState::Complete);
    }

    fn write(&mut self) {
        let page = c10k_report::html(&self.record, &self.watch.samples);
        let written = self
            .folder
            .write_file("report.html", page.as_bytes())
            .and_then(|()| self.folder.finish(&self.record));
        if let Err(error) = written {
            self.record.state = RunState::Broken;
            self.record.ended_because = Some(format!("the record could not be written: {error}"));
            self.printer
                .error(&error.to_string(), Some("make room on the disk; --json still prints the record"));
        }
    }
}

// Starting ---------------------------------------------------------------------------------------------

fn start_process(
    who: Who,
    arguments: &[String],
    namespace: Option<&Beside>,
    sender: &Sender<Heard>,
) -> Result<Process, Refusal> {
    Process::start(who, arguments, namespace, sender.clone()).map_err(|error| {
        Refusal::host(
            format!("cannot start the {who:?} process: {error}"),
            "ulimit -u shows how many this user may have",
        )
    })
}

/// In a namespace of its own the lab has every port; elsewhere the kernel chooses a free one.
fn server_arguments(plan: &Plan, isolated: bool) -> Vec<String> {
    let listen: Vec<String> = plan
        .server
        .listen
        .iter()
        .map(|address| {
            let mut address = *address;
            if !isolated {
                address.set_port(0);
            }
            address.to_string()
        })
        .collect();
    let mut arguments = vec![
        "--listen".to_owned(),
        listen.join(","),
        "--profile".to_owned(),
        plan.profile.clone(),
        "--no-apply".to_owned(),
        "--protocol".to_owned(),
        plan.protocol.to_string(),
        "--mode".to_owned(),
        plan.server.mode.to_string(),
    ];
    let mut option = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            arguments.extend([name.to_owned(), value]);
        }
    };
    option("--workers", plan.server.workers.map(|n| n.to_string()));
    option("--max-connections", plan.server.max_connections.map(|n| n.to_string()));
    arguments
}

fn swarm_arguments(plan: &Plan, listen: &[std::net::SocketAddr], hlog: &Path) -> Vec<String> {
    let load = &plan.load;
    let servers: Vec<String> = listen.iter().map(ToString::to_string).collect();
    let mut arguments: Vec<String> = [
        ("--server", servers.join(",")),
        ("--protocol", plan.protocol.to_string()),
        ("--profile", plan.profile.clone()),
        ("--target", plan.target.to_string()),
        ("--in-flight", load.in_flight.to_string()),
        ("--connect-timeout", load.connect_timeout.to_string()),
        ("--probe-timeout", load.probe_timeout.to_string()),
        ("--probe-bytes", load.probe_bytes.to_string()),
        ("--close", load.close.to_string()),
        ("--hlog", hlog.display().to_string()),
    ]
    .into_iter()
    .flat_map(|(name, value)| [name.to_owned(), value])
    .collect();
    arguments.extend(["--no-apply".to_owned(), "--commanded".to_owned()]);
    if !load.probe {
        arguments.push("--no-probe".to_owned());
    }
    let mut option = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            arguments.extend([name.to_owned(), value]);
        }
    };
    option("--ips", load.ips.clone());
    option("--ports", load.ports.clone());
    option("--rate", load.rate_per_second.map(|rate| (rate as u64).to_string()));
    option("--workers", load.workers.map(|n| n.to_string()));
    arguments
}

/// Waits for `ready`; a process that ends before it has said on stderr why.
fn await_server(heard: &Receiver<Heard>, server: &mut Process) -> Result<Vec<std::net::SocketAddr>, Refusal> {
    match await_ready(heard, server)? {
        Heard::Server(ServerEvent::Ready { listen, .. }) => Ok(listen),
        _ => Err(not_ready(Who::Server, None)),
    }
}

fn await_swarm(heard: &Receiver<Heard>, swarm: &mut Process) -> Result<u64, Refusal> {
    loop {
        match await_ready(heard, swarm)? {
            Heard::Swarm(event) => match *event {
                SwarmEvent::Ready { capacity, .. } => return Ok(capacity),
                _ => return Err(not_ready(Who::Swarm, None)),
            },
            Heard::Server(_) => {}
            Heard::Ended(who) => return Err(not_ready(who, None)),
        }
    }
}

fn await_ready(heard: &Receiver<Heard>, process: &mut Process) -> Result<Heard, Refusal> {
    match heard.recv_timeout(START) {
        Ok(Heard::Ended(who)) if who != process.who => Err(Refusal {
            message: format!("the {} ended before the {} was ready", who.command(), process.who.command()),
            hint: None,
            exit: Exit::Broke,
        }),
        Ok(Heard::Ended(who)) => Err(not_ready(who, process.wait_or_kill(Duration::from_secs(1)))),
        Ok(heard) => Ok(heard),
        Err(_) => Err(not_ready(process.who, None)),
    }
}

/// A process that refuses to start says why on stderr, which is the lab's too, and its exit code is the lab's.
fn not_ready(who: Who, status: Option<ExitStatus>) -> Refusal {
    let exit = match status.and_then(|status| status.code()) {
        Some(2) => Some(Exit::BadText),
        Some(3) => Some(Exit::HostCannot),
        _ => None,
    };
    let message = match (exit, status) {
        (Some(_), _) => String::new(),
        (None, Some(status)) => format!("{} before it was ready", end_in_words(who, status)),
        (None, None) => format!("the {} was not ready in {} s", who.command(), START.as_secs()),
    };
    Refusal { message, hint: None, exit: exit.unwrap_or(Exit::Broke) }
}
