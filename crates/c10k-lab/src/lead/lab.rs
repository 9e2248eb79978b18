//! Leading a run: ramp, hold, proof and close, over two processes that are told and heard by lines.

use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use c10k_ceiling::{KeptFree, MEMORY_WALLS as MEMORY, ServerEnd};
use c10k_collector::{Collector, CollectorConfig, LinkWatch};
use c10k_kernel::limits::{Resource, of_process};
use c10k_record::{
    Connections, Cpu, Exit, HostSnapshot, LiveCounts, PhaseName, Plan, Record, RunFolder, ServerEvent,
    ServerReport, Span, Steps, SwarmEvent,
};

use crate::collect::abroad::Abroad;
use crate::collect::cpu::RampCpu;
use crate::collect::ends::ServerEnds;
use crate::collect::far::FarEnd;
use crate::collect::gaps::Gaps;
use crate::collect::watch::{Mark, Watch};
use crate::host::headroom::{Headroom, Pieces};
use crate::isolate::place::Place;
use crate::isolate::veth;
use crate::lead::moment::Moment;
use crate::plan::view::plan_view;
use crate::processes::acts::Acting;
use crate::processes::child::{Heard, Process, end_in_words};
use crate::processes::foreign::Foreign;
use crate::processes::noise::make_noise;
use crate::processes::server::ServerSide;
use crate::processes::start::Starting;
use crate::say::printer::Printer;
use crate::say::refusal::Refusal;
use crate::signals::Signals;
use crate::stage::Stage;
use crate::stage::Who;

/// How often a server says how it stands.
const SERVER_TICK: Duration = Duration::from_secs(1);
/// How long the swarm goes on once its server has ended.
const AFTERMATH: Duration = Duration::from_secs(1);
/// A swarm that says nothing for so long stands still.
const SILENCE: Duration = Duration::from_secs(30);
/// The longest sleep between two looks at signals and processes.
const NAP: Duration = Duration::from_millis(50);
/// How long the hold goes on before its memory is taken: what the ramp left behind is given back by then.
const QUIET: Duration = Duration::from_millis(400);

/// Why a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Woken {
    Done,
    TimeIsUp,
    /// A signal came, or something the run stands on broke.
    Stop,
}

/// A run under way.
pub(crate) struct Lab<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) folder: RunFolder,
    pub(crate) record: Record,
    pub(crate) limits: HostSnapshot,
    pub(crate) signals: Signals,
    pub(crate) printer: &'a mut Printer,
    pub(crate) heard: Receiver<Heard>,
    pub(crate) server: ServerSide,
    pub(crate) swarm: Process,
    pub(crate) watch: Watch,
    /// Keeps the swarm's namespace, and what is in TIME_WAIT there, to the end.
    pub(crate) _place: Place,
    // What the processes said last.
    pub(crate) server_said: Option<ServerReport>,
    /// How often it has said how it stands.
    server_words: u64,
    /// It has said its last word.
    pub(crate) server_is_done: bool,
    /// What the server said after the proof and before the close, where it did: what is queued is accepted once there is
    /// room again.
    pub(crate) server_at_proof: Option<ServerReport>,
    pub(crate) counts: LiveCounts,
    /// How both ends stand at the moment of a row.
    pub(crate) moment: Moment,
    pub(crate) phase: Option<PhaseName>,
    pub(crate) holds_begun: u64,
    pub(crate) verified: Option<Connections>,
    /// When it had verified, ms after the first connect.
    pub(crate) verified_at_ms: u64,
    pub(crate) ends: ServerEnds,
    pub(crate) abroad: Abroad,
    pub(crate) swarm_record: Option<Box<Record>>,
    /// It ended without a last word.
    pub(crate) swarm_record_is_lost: bool,
    pub(crate) swarm_closed: bool,
    /// When the swarm was last heard; it ticks a few times a second.
    swarm_word_at: Instant,
    /// When this process did not run.
    pub(crate) gaps: Gaps,
    pub(crate) server_closed: bool,
    pub(crate) capacity: u64,
    // What broke.
    pub(crate) broken: Option<String>,
    pub(crate) server_end: Option<ServerEnd>,
    pub(crate) server_ended_at: Option<Instant>,
    /// Open connections when the close began.
    pub(crate) closing_from: Option<u64>,
    /// Somebody wanted the end before the last proof was over.
    pub(crate) is_stopped_early: bool,
    /// The swarm has been told to give everything up.
    pub(crate) is_aborting: bool,
    pub(crate) ramp_cpu: RampCpu,
    /// The swarm's own word of it.
    pub(crate) cpu_said: Option<Cpu>,
    pub(crate) ready: Option<Mark>,
    pub(crate) full: Option<Mark>,
    // What stands in the way.
    pub(crate) stage: Stage,
    pub(crate) acting: Acting,
    /// Where growth ended for the sake of memory.
    pub(crate) kept_free: Option<KeptFree>,
}

impl<'a> Lab<'a> {
    /// Starts server and swarm and waits until both are ready.
    pub(crate) fn start(
        plan: &'a Plan,
        folder: RunFolder,
        mut record: Record,
        mut limits: HostSnapshot,
        signals: Signals,
        (mut place, foreign, stage): (Place, Option<Foreign>, Stage),
        printer: &'a mut Printer,
    ) -> Result<Self, Refusal> {
        let mut starting = Starting::new(plan, &stage, &signals, &mut limits);
        let (server, listen) = starting.server(foreign, place.isolation.is_some())?;
        let noise = make_noise(&stage, &listen).map_err(|error| {
            Refusal::host(format!("what the wall is planted with cannot be made: {error}"), "")
        })?;
        let towards = stage.towards.map_or_else(|| listen.clone(), |other| vec![other]);
        let hlog = folder.path().join("latency.hlog");
        let (swarm, capacity) = starting.swarm(&towards, &hlog, place.far.as_ref())?;
        let heard = starting.heard;
        limits.nproc = of_process(swarm.pid(), Resource::Processes).ok().map(|limit| limit.soft);
        let link = LinkWatch::begin(veth::devices(place.far.as_ref()));
        limits.link_bits_per_second = link.narrowest().map(|link| link.bits_per_second);
        if let Some(host) = &mut record.host {
            host.limits.clone_from(&limits);
        }
        // Of port 0 the kernel has made another one, and so has the lab where it has no namespace of its own.
        if let Some(plan) = &mut record.plan {
            plan.server.listen.clone_from(&listen);
        }
        let mut watch = watch(&mut place, &server, swarm.pid(), &listen)?;
        watch.link = link;
        let is_ours = server.is_ours();
        let ends = ServerEnds::begin(&towards, place.far.as_ref(), swarm.pid());
        let abroad = Abroad::begin(&towards, place.far.as_ref());
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
            watch,
            _place: place,
            server_said: None,
            server_words: 0,
            server_is_done: false,
            server_at_proof: None,
            counts: LiveCounts::default(),
            moment: Moment::default(),
            phase: None,
            holds_begun: 0,
            verified: None,
            verified_at_ms: 0,
            ends,
            abroad,
            swarm_record: None,
            swarm_record_is_lost: false,
            swarm_closed: false,
            swarm_word_at: Instant::now(),
            gaps: Gaps::default(),
            server_closed: !is_ours,
            capacity,
            broken: None,
            server_end: None,
            server_ended_at: None,
            closing_from: None,
            is_stopped_early: false,
            is_aborting: false,
            ramp_cpu: RampCpu::default(),
            cpu_said: None,
            ready: None,
            full: None,
            acting: Acting::new(&stage, noise),
            kept_free: None,
            stage,
        })
    }

    /// Ramp, hold, proof, close.
    pub(crate) fn carry_out(&mut self) {
        self.watch.settle(Duration::from_millis(500));
        self.ready = Some(self.watch.mark(self.counts.open));
        self.row(true);
        self.ramp();
        self.hold();
        if !self.is_stopped() && self.swarm.tell("verify") {
            let limit = Instant::now() + self.longest_proof();
            if self.await_the_proof(limit) == Woken::TimeIsUp {
                self.broken = Some("the swarm did not come to the end of its last proof".to_owned());
            }
            self.look_up_ends();
            self.look_abroad();
            if self.has_heard_of_ghosts() {
                self.server_at_proof = self.server_said.clone();
            }
        }
        self.close();
    }

    /// Has the server say once more how it stands, where it may have connections of which it knows nothing: when the
    /// swarm closes it has room again, and takes them. False where it said nothing more: its last word is of before.
    fn has_heard_of_ghosts(&mut self) -> bool {
        let accepted = self.server_said.as_ref().map_or(0, |said| said.accepted);
        let known = if self.plan.load.probe { self.counts.verified } else { accepted };
        let may_have = self.server.is_ours() && known < self.counts.established && !self.server_closed;
        let words = self.server_words;
        if may_have {
            self.server.tell("now");
        }
        let until = Instant::now() + 2 * SERVER_TICK;
        !may_have || self.wait(Some(until), |lab| lab.server_words > words) == Woken::Done
    }

    /// Proofs that nobody answers end the swarm's patience after a few rounds of them; a million that are answered
    /// take what the server takes.
    fn longest_proof(&self) -> Duration {
        4 * self.plan.load.probe_timeout.0 + self.longest_close()
    }

    fn ramp(&mut self) {
        if self.stage.keeps_a_reserve {
            return self.ramp_to_the_reserve();
        }
        let steps = self.plan.load.steps.unwrap_or(Steps { size: self.as_many_as_make_sense(), count: 1 });
        for step in 0..steps.count {
            if step > 0 {
                let Span(pause) = self.plan.load.step_pause;
                self.wait(Some(Instant::now() + pause), |_| false);
            }
            if !self.grow(steps.size) {
                return;
            }
            let wanted = steps.size * (step + 1);
            if self.counts.attempted < wanted {
                // It stopped growing: more steps would only find the same.
                return;
            }
        }
    }

    /// False where it is not to go on.
    fn grow(&mut self, more: u64) -> bool {
        let before = self.watch.look();
        if self.is_stopped() || !self.swarm.tell(&format!("grow {more}")) {
            return false;
        }
        let holds = self.holds_begun;
        let woken = self.wait(None, move |lab| lab.holds_begun > holds);
        let after = self.watch.look();
        self.ramp_cpu.add(&before, &after);
        woken == Woken::Done
    }

    /// As many as make sense, by pieces, as long as there is memory above the reserve.
    fn ramp_to_the_reserve(&mut self) {
        let mut memory = Headroom::open(&self.limits, self.plan.is_ipv6());
        let (wanted, mut pieces) = (self.as_many_as_make_sense(), Pieces::default());
        let mut asked = 0;
        while asked < wanted {
            let more = match memory.left() {
                Some(left) => {
                    let (more, left) = pieces.next(wanted, self.counts.open, left);
                    if more == 0 {
                        self.kept_free = Some(left.kept());
                        return;
                    }
                    more
                }
                None => wanted - asked,
            };
            asked += more;
            if !self.grow(more) || self.counts.attempted < asked {
                // It stopped growing: more would only find the same.
                return;
            }
        }
    }

    /// The target; in a climb little more than the first wall is predicted to allow.
    fn as_many_as_make_sense(&self) -> u64 {
        let target = self.plan.target;
        let wall = c10k_ceiling::predicted_ceiling(&self.limits, &plan_view(self.plan, &self.limits));
        match wall.filter(|_| self.stage.only_to_the_wall) {
            // Of memory it is seen as it goes how much there is.
            Some(wall) if self.stage.keeps_a_reserve && MEMORY.contains(&wall.wall.as_str()) => target,
            Some(wall) => {
                wall.connections.saturating_add(wall.connections / 100).saturating_add(64).min(target)
            }
            None => target,
        }
    }

    fn hold(&mut self) {
        if self.is_stopped() {
            return;
        }
        let Span(hold) = self.plan.load.hold;
        let until = Instant::now() + hold;
        self.wait(Some(Instant::now() + QUIET.min(hold)), |_| false);
        self.full = Some(self.watch.mark(self.counts.open));
        self.compare_with_census();
        self.note_how_it_stands();
        let _ = self.folder.write_partial(&self.record);
        self.wait(Some(until), |lab| lab.counts.open == 0);
    }

    pub(crate) fn is_stopped(&self) -> bool {
        let alone = self.server_ended_at.is_some_and(|ended| ended.elapsed() >= AFTERMATH);
        self.signals.came() || self.broken.is_some() || self.swarm_closed || alone
    }

    // Waiting ------------------------------------------------------------------------------------------

    pub(crate) fn wait(&mut self, until: Option<Instant>, done: impl Fn(&Self) -> bool) -> Woken {
        self.gaps.begin_to_wait();
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
            if self.swarm_is_silent(1) {
                self.broken = Some(format!("the swarm said nothing for {} s", SILENCE.as_secs()));
                return Woken::Stop;
            }
            self.hear(until);
        }
    }

    /// Whether the swarm has said nothing for a part of the longest silence.
    pub(crate) fn swarm_is_silent(&self, part: u32) -> bool {
        self.swarm_word_at.elapsed() > SILENCE / part
    }

    pub(crate) fn hear(&mut self, until: Option<Instant>) {
        let now = Instant::now();
        let mut nap = until.map_or(NAP, |until| NAP.min(until.saturating_duration_since(now)));
        if !self.moment.is_open() {
            nap = nap.min(self.watch.due_in(now));
        }
        let first = self.heard.recv_timeout(nap);
        let missed = self.gaps.look(nap);
        if let Ok(heard) = first {
            self.on_heard(heard);
        }
        if let Some(missed) = missed {
            // What the others said meanwhile is heard before anything is made of their silence, or of the time.
            while let Ok(heard) = self.heard.try_recv() {
                self.on_heard(heard);
            }
            self.swarm_word_at = Instant::now();
            self.gaps.note(&missed);
            self.watch.after_a_gap();
        }
        self.note_ended_processes();
        for command in self.acting.go_on(self.server.pid(), self.phase, &self.counts) {
            self.swarm.tell(&command);
        }
        self.row_if_due(Instant::now());
    }

    fn on_heard(&mut self, heard: Heard) {
        if matches!(heard, Heard::Swarm(_)) {
            self.swarm_word_at = Instant::now();
        }
        match heard {
            Heard::Server(ServerEvent::Now(report)) => {
                self.moment.server_says(&report);
                self.server_words += 1;
                self.server_said = Some(report);
            }
            Heard::Server(ServerEvent::Tick(report)) => {
                self.server_words += 1;
                self.server_said = Some(report);
            }
            Heard::Server(ServerEvent::Done(report)) => {
                self.server_is_done = true;
                self.server_said = Some(report);
            }
            Heard::Server(ServerEvent::Ready { .. }) => {}
            Heard::Swarm(event) => match *event {
                SwarmEvent::Ready { .. } => {}
                SwarmEvent::Phase { phase, counts, .. } => {
                    self.phase = Some(phase);
                    self.counts = counts;
                    self.holds_begun += u64::from(phase == PhaseName::Hold);
                    if phase == PhaseName::Close {
                        self.say_closing(counts.open);
                    }
                }
                SwarmEvent::Now { phase, counts, elapsed_ms } => {
                    self.gaps.note_first_connect(elapsed_ms);
                    self.moment.swarm_says(phase, counts);
                    self.phase = Some(phase);
                    self.counts = counts;
                }
                SwarmEvent::Tick { phase, counts, elapsed_ms } => {
                    self.gaps.note_first_connect(elapsed_ms);
                    self.phase = Some(phase);
                    self.counts = counts;
                }
                SwarmEvent::Verified { connections, elapsed_ms } => {
                    (self.verified, self.verified_at_ms) = (Some(connections), elapsed_ms);
                }
                SwarmEvent::Done { record } => self.swarm_record = Some(record),
            },
            Heard::Ended(Who::Server) => self.server_closed = true,
            Heard::Ended(Who::Swarm) => self.swarm_closed = true,
        }
    }

    /// A process that ends before it is told to breaks the run. The swarm goes on for a moment without a server:
    /// it counts what becomes of its connections.
    pub(crate) fn note_ended_processes(&mut self) {
        if self.server_end.is_none()
            && !self.swarm_closed
            && let Some((end, words)) = self.server.end(self.watch.server_is_gone())
        {
            self.watch.look_at_what_is_left();
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
}

/// Watches both ends, from outside of their processes.
fn watch(
    place: &mut Place,
    server: &ServerSide,
    swarm_pid: u32,
    listen: &[std::net::SocketAddr],
) -> Result<Watch, Refusal> {
    let ports: Vec<u16> = listen.iter().map(std::net::SocketAddr::port).collect();
    let far = place.far.as_ref().map(|far| FarEnd::open(far, swarm_pid, &ports));
    let config = CollectorConfig {
        server_pid: server.pid(),
        // A server of ours is one process.
        finds_holders: !server.is_ours(),
        swarm_pid: Some(swarm_pid),
        ports,
        ..CollectorConfig::default()
    };
    let collector = Collector::new(config).map_err(|error| Refusal {
        message: error.to_string(),
        hint: None,
        exit: Exit::Broke,
    })?;
    let mut watch = Watch::new(collector, far, !server.is_ours());
    if let Some(neighbours) = place.neighbours.take() {
        watch.look_at_neighbours_by(neighbours);
    }
    Ok(watch)
}
