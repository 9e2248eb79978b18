//! The far end: the server that it stands beside, one run at a time, and what is said of both.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use c10k_record::control::{
    Begin, Begun, Build, FarServer, FarState, Hello, PROTOCOL, Refusal, Running, is_run_id, unix_ns,
};
use c10k_record::metrics::{Figures, SERVER, family};
use c10k_record::{Host, HostSnapshot, ProfileInRun, ServerMode, ServerReport, Warning, Workload};

use super::lease::{Began, Lease};
use super::run::{Run, Watched, Word};
use super::said::{Ended, Look, Mark, Marked, ServerEnded, Snapshot};
use crate::collector::{Collector, CollectorError, ProcessSide};
use crate::told::tell_limits;

/// Who has the far end while shards are measured.
pub(super) const BY_SHARDS: &str = "its shards";

/// How long it is waited at the beginning of a run until the kernel has taken back what earlier connections had.
const SETTLE: Duration = Duration::from_secs(1);

/// Between two looks outside of runs.
const STANDING: Duration = Duration::from_secs(1);
/// Characters of a client's words on itself.
const MOST_NAME: usize = 200;

/// What a server says of itself.
pub trait ServersWord: Send {
    /// How it stands, and whether that was said just now; `None` before it has said anything. It is waited for a moment
    /// only.
    fn report(&mut self) -> Option<(ServerReport, bool)>;
    /// How its process ended; `None` while it goes on.
    fn end(&mut self) -> Option<ServerEnded>;
}

/// What a far end is.
pub struct FarSetup {
    /// The machine.
    pub host: Host,
    /// Reads its limits as they are for the server.
    pub limits: Box<dyn Fn() -> HostSnapshot + Send>,
    /// Where the server listens.
    pub listen: Vec<SocketAddr>,
    /// The server.
    pub server: FarServer,
    /// The process in whose network namespace it stands, where that is not this one.
    pub elsewhere: Option<u32>,
    /// The profile and what of it is in force.
    pub profile: Option<ProfileInRun>,
    /// What people were told.
    pub warnings: Vec<Warning>,
    /// So long may nothing be heard of a run.
    pub lease: Duration,
    /// What the server says; `None` of a foreign one.
    pub word: Option<Box<dyn ServersWord>>,
    /// The name of this program, for its figures.
    pub program: &'static str,
}

/// The far end of runs, one after the other.
pub struct FarEnd {
    setup: FarSetup,
    build: Build,
    begun: Instant,
    begun_unix_ns: u64,
    lease: Lease,
    /// Looks outside of runs.
    standing: Collector,
    /// When it looked last.
    stood_at: Duration,
    run: Option<Run>,
    /// The account of the run that ended last, for a client that asks again.
    ended: Option<Ended>,
    /// What is still to be said, in lines for people.
    to_say: Vec<String>,
}

impl FarEnd {
    /// Begins to watch the server.
    ///
    /// # Errors
    /// When its process is not there, or cannot be watched.
    pub fn begin_to_watch(setup: FarSetup) -> Result<Self, CollectorError> {
        let standing = watched(&setup).collector()?;
        let lease = Lease::new(setup.lease);
        Ok(Self {
            build: Build::of_this(),
            begun: Instant::now(),
            begun_unix_ns: unix_ns(),
            lease,
            standing,
            stood_at: Duration::ZERO,
            run: None,
            ended: None,
            to_say: Vec::new(),
            setup,
        })
    }

    /// The time since it began, by the monotonic clock: what leases are counted by.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Who has it.
    #[must_use]
    pub fn running(&self) -> Option<Running> {
        self.lease.running(self.now())
    }

    /// Who is here.
    #[must_use]
    pub fn hello(&self) -> Hello {
        Hello {
            protocol: PROTOCOL,
            program_version: self.build.version.clone(),
            build: self.build.clone(),
            boot_id: c10k_kernel::namespace::boot_id().ok(),
            hostname: c10k_kernel::namespace::hostname(),
            host: self.host(),
            listen: self.setup.listen.clone(),
            profile: self.setup.profile.clone(),
            warnings: self.setup.warnings.clone(),
            server: self.setup.server.clone(),
            state: self.state(),
            lease_secs: self.lease.length().as_secs(),
            at_unix_ns: unix_ns(),
        }
    }

    fn host(&self) -> Host {
        Host { limits: (self.setup.limits)(), ..self.setup.host.clone() }
    }

    fn state(&self) -> FarState {
        self.lease.state(self.now())
    }

    /// Begins a run that asks for it, or says again that it has begun.
    ///
    /// # Errors
    /// 400 for a name that is none, 409 while another one goes on, 412 for another build, 422 for a server that speaks
    /// something else, 503 where the server has ended or cannot be watched.
    pub fn begin(&mut self, begin: &Begin) -> Result<Begun, Refusal> {
        let Begin { run_id, build, client, any_build, plan } = begin;
        let client: String = c10k_record::clean(client).chars().take(MOST_NAME).collect();
        self.refuse_while_held(run_id, &client)?;
        if !any_build && !self.build.is_like(build) {
            let error = format!("here is {}, and the client is {build}", self.build);
            let hint = "use the same binary at both ends, or say any_build";
            let mut refusal = Refusal::new(412, error, hint);
            refusal.why.build = Some(self.build.clone());
            return Err(refusal);
        }
        let server = &self.setup.server;
        let other = |what: &str, here: String, there: String| {
            Refusal::new(
                422,
                format!("the server's {what} is {here}, and the plan's {there}"),
                "start the server as the plan says, or say in the plan what the server does",
            )
        };
        if let Some(here) = server.protocol.filter(|here| *here != plan.protocol) {
            return Err(other("protocol", here.to_string(), plan.protocol.to_string()));
        }
        let is_silent = server.mode == Some(ServerMode::Hold) && plan.server.mode == ServerMode::Echo;
        if let Some(here) = server.mode.filter(|_| is_silent) {
            return Err(other("mode", here.to_string(), plan.server.mode.to_string()));
        }
        let wants = Some(plan.workload).filter(|it| matches!(it, Workload::Stream | Workload::Fanout));
        if let Some(wants) = wants.filter(|wants| !server.foreign && server.pushes != Some(*wants)) {
            let pushes = server.pushes.map_or_else(|| "none".to_owned(), |pushes| pushes.to_string());
            return Err(other("workload", pushes, wants.to_string()));
        }
        self.begin_anew_or_again(run_id, &client)
    }

    /// Begins a run of this name, asked for by `by`, or says again that it has begun.
    ///
    /// # Errors
    /// As [`FarEnd::begin`], without those of the build and the plan.
    pub fn begin_by(&mut self, run_id: &str, by: &str) -> Result<Begun, Refusal> {
        self.refuse_while_held(run_id, by)?;
        self.begin_anew_or_again(run_id, by)
    }

    /// The same, where nobody else has the far end.
    fn begin_anew_or_again(&mut self, run_id: &str, by: &str) -> Result<Begun, Refusal> {
        let word = self.word();
        if let Some(end) = &word.end {
            let hint = "start `c10k-lab serve` again";
            return Err(Refusal::new(503, format!("the server has ended: {}", end.words), hint));
        }
        let now = self.now();
        if self.lease.begin(run_id, by, now) == Ok(Began::New) {
            match Run::begin(watched(&self.setup), self.host(), &word, SETTLE) {
                Ok(run) => self.run = Some(run),
                Err(error) => {
                    self.lease.take_back();
                    return Err(Refusal::new(
                        503,
                        format!("the server cannot be watched: {error}"),
                        "look at what `serve` says on its machine",
                    ));
                }
            }
            self.ended = None;
            self.to_say.push(format!("the run {run_id} has begun, for {by}"));
            self.lease.renew(run_id, self.begun.elapsed());
        }
        let run = self.run.as_ref();
        Ok(Begun {
            run_id: run_id.to_owned(),
            at_unix_ns: run.map_or(0, |run| run.begun_unix_ns),
            open_before: run.and_then(|run| run.open_before),
            unsettled: run.is_some_and(|run| run.is_unsettled),
            build: self.build.clone(),
        })
    }

    fn refuse_while_held(&self, run_id: &str, by: &str) -> Result<(), Refusal> {
        if !is_run_id(run_id) {
            let error = format!(
                "'{}' is no name of a run: expected 1 to 128 letters, digits, '-', '_' or '.', and no dot at first",
                c10k_record::clean(run_id)
            );
            return Err(Refusal::new(400, error, "a name such as evening-1"));
        }
        match self.running().filter(|running| (running.run_id.as_str(), running.by.as_str()) != (run_id, by))
        {
            None => Ok(()),
            Some(running) => {
                let error = format!("the run {} of {} is under way", running.run_id, running.by);
                let hint = format!(
                    "wait until it has ended; without a word from its client it is ended after {} s",
                    self.lease.length().as_secs_f64()
                );
                let mut refusal = Refusal::new(409, error, &hint);
                refusal.why.running = Some(running);
                Err(refusal)
            }
        }
    }

    /// Something was heard of a run.
    ///
    /// # Errors
    /// 404 where it is not under way.
    pub fn renew(&mut self, run_id: &str) -> Result<(), Refusal> {
        let now = self.now();
        if self.lease.renew(run_id, now) && self.run.is_some() {
            Ok(())
        } else {
            Err(self.no_such_run(run_id))
        }
    }

    fn no_such_run(&self, run_id: &str) -> Refusal {
        let run_id = c10k_record::clean(run_id);
        let error = match self.state() {
            FarState::Ended { run_id: last, reason } if last == run_id => {
                format!("the run {run_id} has ended: {reason}")
            }
            FarState::Running(running) => {
                format!("there is no run {run_id} here: {} is under way", running.run_id)
            }
            _ => format!("there is no run {run_id} here: none is under way"),
        };
        Refusal::new(404, error, "POST /v1/runs begins one")
    }

    /// What is seen now of a run.
    ///
    /// # Errors
    /// As [`FarEnd::hear`].
    pub fn look(&mut self, run_id: &str) -> Result<Look, Refusal> {
        self.renew(run_id)?;
        let word = self.word();
        let look = self.run.as_mut().map(|run| run.look(&word));
        look.ok_or_else(|| self.no_such_run(run_id))
    }

    /// Looks closer at a run.
    ///
    /// # Errors
    /// As [`FarEnd::hear`].
    pub fn mark(&mut self, run_id: &str, mark: &Mark) -> Result<Marked, Refusal> {
        self.renew(run_id)?;
        let word = self.word();
        let marked = self.run.as_mut().map(|run| run.mark(mark, &word));
        // It took its time, which is none of the client's silence.
        self.renew(run_id)?;
        marked.ok_or_else(|| self.no_such_run(run_id))
    }

    /// Ends a run and gives its whole account; of the run that ended last, once more.
    ///
    /// # Errors
    /// 404 for any other.
    pub fn end(&mut self, run_id: &str, reason: &str) -> Result<Ended, Refusal> {
        if self.renew(run_id).is_ok() {
            return self.close(run_id, reason).ok_or_else(|| self.no_such_run(run_id));
        }
        let again = self.ended.as_ref().filter(|ended| ended.run_id == run_id);
        again.cloned().ok_or_else(|| self.no_such_run(run_id))
    }

    fn close(&mut self, run_id: &str, reason: &str) -> Option<Ended> {
        let word = self.word();
        self.lease.end(reason);
        let mut run = self.run.take()?;
        let look = run.look(&word);
        let limits_at_end = (self.setup.limits)();
        let ended = Ended {
            run_id: run_id.to_owned(),
            reason: reason.to_owned(),
            began_unix_ns: run.begun_unix_ns,
            ended_unix_ns: unix_ns(),
            elapsed_ms: run.elapsed().as_millis() as u64,
            host: run.host.clone(),
            limits_at_end,
            profile: self.setup.profile.clone(),
            open_before: run.open_before,
            samples_every_ms: run.rows.every_ms(),
            samples: run.rows.take(),
            counters: run.levels.changes(),
            lowest_memory_available_bytes: run.levels.lowest_memory_available_bytes(),
            scarcest_group: run.levels.scarcest_group().cloned(),
            fewest_threads: run.fewest_threads(),
            server_cpu_quota: run.server_cpu_quota(),
            accepted_stalled: run.accepted_stalled,
            unreadable: run.unreadable(),
            warnings: self.setup.warnings.clone(),
            marks: run.marks.into_values().collect(),
            look,
        };
        self.ended = Some(ended.clone());
        self.to_say.push(format!("the run {run_id} has ended: {reason}"));
        Some(ended)
    }

    /// What is seen now, of no run.
    pub fn snapshot(&mut self) -> Snapshot {
        let word = self.word();
        let seen = self.standing.tick();
        let look = Look {
            at_unix_ns: unix_ns(),
            elapsed_ms: self.now().as_millis() as u64,
            seen,
            report: word.report,
            report_is_fresh: word.is_fresh,
            link: None,
            server_end: word.end,
            ended_processes: self.standing.ended_processes().to_vec(),
        };
        Snapshot { look, unreadable: self.standing.unreadable().iter().map(ToString::to_string).collect() }
    }

    /// The figures for Prometheus.
    pub(super) fn figures(&mut self) -> Figures {
        let mut figures = Figures::default();
        tell_limits(&(self.setup.limits)(), self.setup.elsewhere.is_none(), &mut figures);
        let snapshot = self.snapshot();
        if let Some(report) = &snapshot.look.report {
            figures.tell_server(report);
        } else {
            let established = self.standing.connections().ok();
            figures.count(&family::CONNECTIONS, &[SERVER, "established"], established);
        }
        snapshot.look.seen.tell(&mut figures);
        figures
    }

    /// The program and when it began, for its figures.
    pub(super) fn program(&self) -> (&'static str, Duration) {
        (self.setup.program, Duration::from_nanos(self.begun_unix_ns))
    }

    /// Takes a row where one is due, and ends a run of which nothing is heard. Gives what was done since the last time, in
    /// lines for people.
    pub fn tick(&mut self) -> Vec<String> {
        if self.run.as_ref().is_some_and(Run::is_due) {
            let word = self.word();
            self.run.iter_mut().for_each(|run| drop(run.look(&word)));
        }
        let now = self.now();
        // Whether a server that says nothing itself is there is seen by looks alone.
        if self.run.is_none() && now.saturating_sub(self.stood_at) >= STANDING {
            self.standing.tick();
            self.stood_at = now;
        }
        if let Some((run_id, reason)) = self.lease.is_over(now) {
            self.close(&run_id, &reason);
        }
        std::mem::take(&mut self.to_say)
    }

    /// Ends the run that is under way, if one is.
    pub fn give_up(&mut self, reason: &str) {
        if let Some(running) = self.running() {
            self.close(&running.run_id, reason);
        }
    }

    /// How the server ended; `None` while it goes on.
    pub fn server_end(&mut self) -> Option<ServerEnded> {
        match &mut self.setup.word {
            Some(word) => word.end(),
            None => {
                let pid = self.setup.server.pid?;
                let gone =
                    || ServerEnded { words: format!("process {pid} has ended"), ..ServerEnded::default() };
                let is_gone =
                    self.standing.is_gone(ProcessSide::Server) || self.run.as_ref().is_some_and(Run::is_gone);
                is_gone.then(gone)
            }
        }
    }

    fn word(&mut self) -> Word {
        let end = self.server_end();
        let said = self.setup.word.as_mut().and_then(|word| word.report());
        let (report, is_fresh) = said.map_or((None, false), |(report, is_fresh)| (Some(report), is_fresh));
        Word { report, is_fresh, end }
    }
}

fn watched(setup: &FarSetup) -> Watched {
    Watched {
        pid: setup.server.pid,
        is_foreign: setup.server.foreign,
        listen: setup.listen.clone(),
        elsewhere: setup.elsewhere,
    }
}
