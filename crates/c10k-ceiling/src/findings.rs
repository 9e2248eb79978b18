//! What the walls look at: all that a run showed.

use std::collections::BTreeMap;
use std::net::IpAddr;

use c10k_record::{
    Connections, CounterChange, Evidence, Failure, GrowthEvidence, GrowthStop, HostSnapshot, Latencies,
    LatencySummary, PhaseName, RunEvidence, ServerReport, Side, Verdict, Worked, counter,
};
use serde::{Deserialize, Serialize};

use crate::far::FarFindings;
use crate::loads::PhaseLoad;
use crate::plan_view::PlanView;

/// How a server ended before its swarm did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ServerEnd {
    /// It exited by itself with this code.
    Exited(i32),
    /// This signal killed it.
    Killed(i32),
    /// Its process is gone; it was not ours, so nobody was told how it ended.
    Gone,
}

/// A server's process as it was seen from outside, for a server that says nothing itself. `None` means "could not be
/// known".
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ServerProcess {
    /// Its pid.
    pub pid: u32,
    /// The most descriptors it had open in one table.
    pub most_descriptors: Option<u64>,
    /// Its soft RLIMIT_NOFILE; of a table that was full, the one at which it was.
    pub descriptor_limit: Option<u64>,
    /// Its only descriptor table was seen full.
    pub table_was_full: bool,
    /// Of a server of several processes those whose tables were full, of which `pid` is the first.
    pub full: Vec<u32>,
    /// How many processes take its connections, where they are several.
    pub processes: Option<u64>,
    /// It was seen stopped by a signal (state T).
    pub stopped: bool,
    /// ESTABLISHED sockets at the server's side, by sock_diag.
    pub established: Option<u64>,
    /// Sockets at its side that it has not accepted: they have no inode.
    pub not_accepted: Option<u64>,
    /// Whether anybody listened on its ports at the last look.
    pub listens: Option<bool>,
}

/// All that a run showed. `None`, or a counter that is missing, means "could not be known", never 0.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Findings {
    /// The plan.
    pub plan: PlanView,
    /// Limits at the start.
    pub host: HostSnapshot,
    /// The counts.
    pub connections: Connections,
    /// The lost connections by phase.
    pub failures: Vec<Failure>,
    /// Why the swarm tried no more before its target.
    pub growth_stopped: Option<GrowthStop>,
    /// What was seen when it stopped.
    pub growth_evidence: Option<GrowthEvidence>,
    /// Source addresses that were there at the start and on no device at the end; `None` where nobody looked.
    pub sources_gone: Option<Vec<IpAddr>>,
    /// How many connections the sources allowed, as the swarm planned it.
    pub capacity: Option<u64>,
    /// Counters and levels by their name in [`counter`], as read on this machine.
    pub counters: BTreeMap<String, CounterChange>,
    /// The server's last word.
    pub server: Option<ServerReport>,
    /// The most connections the server takes by its own setting.
    pub server_max_connections: Option<u64>,
    /// How the server ended, when it ended before the swarm; `None` when it outlived it or is not ours.
    pub server_end: Option<ServerEnd>,
    /// The server's process as seen from outside; `None` where the server is elsewhere or speaks for itself.
    pub server_process: Option<ServerProcess>,
    /// The server was alive, connections waited in its accept queue, and its accepted count stood still for 2 s.
    pub accepted_stalled: bool,
    /// What was looked at beside the counters.
    pub evidence: RunEvidence,
    /// Latencies, µs.
    pub latency_us: Latencies,
    /// How much later than intended the swarm began its connects, µs; `None` where it intended no start.
    pub lateness_us: Option<LatencySummary>,
    /// What came of each phase of a workload.
    pub work: Vec<Worked>,
    /// The verdicts as they were evaluated.
    pub verdicts: Vec<Verdict>,
    /// A signal or a command stopped the run.
    pub aborted: bool,
    /// `MemAvailable` at its lowest, bytes.
    pub lowest_memory_available_bytes: Option<u64>,
    /// Where the run stopped growing for the sake of memory; `None` when it did not.
    pub kept_free: Option<KeptFree>,
    /// Processor time in the phases that were long enough for it to be told.
    pub loads: BTreeMap<PhaseName, PhaseLoad>,
    /// The server's host, where that is another one and was looked at; `counters` have both hosts' together.
    pub far: Option<FarFindings>,
}

/// The memory at which a run stopped growing, so that the OOM killer had no reason to act.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct KeptFree {
    /// Whether it is the limit of a memory group that it was close to; else it is the machine's memory.
    pub in_a_group: bool,
    /// What was left then, page cache included, bytes.
    pub left_bytes: u64,
    /// What was to be kept, bytes.
    pub reserve_bytes: u64,
    /// What the next connections were to be counted at each, bytes.
    pub each_bytes: u64,
}

/// Connections lost under some names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lost {
    /// How many, at least 1.
    pub(crate) count: u64,
    /// Milliseconds after the first connect at which the first was lost, where known: of those that waited in vain, when
    /// it began to wait.
    pub(crate) first_at_ms: Option<u64>,
}

impl Lost {
    /// The earlier of two, with both counts.
    pub(crate) fn and(self, other: Option<Self>) -> Self {
        let Some(other) = other else { return self };
        Self {
            count: self.count.saturating_add(other.count),
            first_at_ms: [self.first_at_ms, other.first_at_ms].into_iter().flatten().min(),
        }
    }
}

/// Outcomes of a SYN that got no answer.
pub(crate) const NO_ANSWER: [&str; 2] = ["connect-timeout", "ETIMEDOUT"];
/// Outcomes of a connection that a rule on the way, or a host without a listener, refuses.
pub(crate) const REFUSED: [&str; 4] = ["ECONNREFUSED", "EHOSTUNREACH", "EPERM", "EACCES"];
/// Outcomes of a connection that the other end took down.
pub const TAKEN_DOWN: [&str; 4] = ["ECONNRESET", "EPIPE", "closed-by-server", "short-echo"];

impl Findings {
    /// Whether the run fell short of its target.
    pub(crate) fn is_short(&self) -> bool {
        // What a command or a phase released is no part of the target any more: a swarm lowers that with it.
        let planned = self.plan.target.saturating_sub(self.connections.released);
        self.connections.held < self.connections.target.max(planned)
    }

    /// Whether the run reached its target and every verdict passed.
    pub(crate) fn is_unharmed(&self) -> bool {
        !self.is_short() && self.all_verdicts_hold()
    }

    /// Connections lost under one of `names`, in any phase; `None` when there were none.
    pub(crate) fn lost(&self, names: &[&str]) -> Option<Lost> {
        self.lost_where(names, |_| true)
    }

    /// The same while connecting.
    pub(crate) fn lost_connecting(&self, names: &[&str]) -> Option<Lost> {
        self.lost_where(names, |phase| phase == PhaseName::Ramp)
    }

    /// The same after they were connected and proven.
    pub(crate) fn lost_later(&self, names: &[&str]) -> Option<Lost> {
        let later = |phase| matches!(phase, PhaseName::Hold | PhaseName::Verify);
        (!self.failures.is_empty()).then(|| self.lost_where(names, later)).flatten()
    }

    fn lost_where(&self, names: &[&str], phase: impl Fn(PhaseName) -> bool) -> Option<Lost> {
        let named = |outcome: &c10k_record::Outcome| names.contains(&outcome.name());
        if self.failures.is_empty() {
            let count = sum(self.connections.failed.iter().filter(|(o, _)| named(o)).map(|(_, n)| *n));
            return (count > 0).then_some(Lost { count, first_at_ms: None });
        }
        let rows = || self.failures.iter().filter(|row| named(&row.outcome) && phase(row.phase));
        let count = sum(rows().map(|row| row.count));
        let all_begun_ms = self.all_begun_ms().unwrap_or(u64::MAX);
        let since = |row: &Failure| match self.plan.waited_ms(row.outcome.name()) {
            0 => row.first_at_ms,
            waited => row.first_at_ms.saturating_sub(waited).min(all_begun_ms),
        };
        (count > 0).then(|| Lost { count, first_at_ms: rows().map(since).min() })
    }

    /// By when all connections had begun, milliseconds, where the swarm's only descriptor table was then full and it began
    /// none after that. Timers are late: what waited in vain would else seem to have begun after it.
    fn all_begun_ms(&self) -> Option<u64> {
        let is_full = self.growth_stopped == Some(GrowthStop::NoDescriptors) && !self.host.swarm_tables;
        let is_its_word = |row: &&Failure| row.phase == PhaseName::Ramp && row.outcome.name() == "EMFILE";
        let full_at_ms = self.failures.iter().filter(is_its_word).map(|row| row.first_at_ms).min();
        full_at_ms.filter(|_| is_full).map(|at| at.saturating_sub(1))
    }

    /// Connects that got no answer, and connections that the server never knew. One that was answered once and is not
    /// any more is none of them.
    pub(crate) fn unanswered(&self) -> Option<Lost> {
        let ghosts = self.connections.ghosts.filter(|ghosts| *ghosts > 0);
        let silent = self.lost_connecting(&["probe-timeout", "handshake-timeout"]);
        let untimed = |count| Lost { count, first_at_ms: self.all_begun_ms() };
        let ghosts = ghosts.map(|count| silent.unwrap_or_else(|| untimed(count))).or(silent);
        match self.unanswered_connects() {
            Some(lost) => Some(lost.and(ghosts)),
            None => ghosts,
        }
    }

    /// Connects that got no answer. ETIMEDOUT is also what an open connection says whose data is not acknowledged: where as
    /// many were established as were tried, none of it is a connect's.
    pub(crate) fn unanswered_connects(&self) -> Option<Lost> {
        let c = &self.connections;
        let never_open = c.attempted > c.established;
        self.lost_connecting(if never_open { &NO_ANSWER } else { &NO_ANSWER[..1] })
    }

    /// What was read under that name.
    pub(crate) fn counter(&self, name: &str) -> Option<CounterChange> {
        self.counters.get(name).copied()
    }

    /// The growth of a counter when it grew.
    pub(crate) fn grew(&self, name: &str) -> Option<u64> {
        self.counter(name).map(CounterChange::growth).filter(|growth| *growth > 0)
    }

    /// Whether a counter moved; `None` where it was not read. A wall that is told by what did *not* happen asks for
    /// `Some(false)`: what was not looked at may have happened.
    pub(crate) fn moved(&self, name: &str) -> Option<bool> {
        self.counter(name).map(|change| change.growth() > 0)
    }

    /// Whether a counter was read and did not grow.
    pub(crate) fn stood_still(&self, name: &str) -> bool {
        self.moved(name) == Some(false)
    }

    /// How often accept(2) failed at the server with that errno.
    pub(crate) fn accept_errors(&self, errno: &str) -> Option<u64> {
        self.server.as_ref()?.accept_errors.get(errno).copied().filter(|count| *count > 0)
    }

    /// The server's own limit on connections.
    pub(crate) fn server_max(&self) -> Option<u64> {
        self.server_max_connections.or(self.plan.server_max_connections)
    }

    /// Whether the server held as many as it takes by its own setting.
    pub(crate) fn server_at_max(&self) -> bool {
        match (self.server_max(), &self.server) {
            (Some(max), Some(server)) => server.peak >= max && !self.max_is_the_descriptor_limit(max),
            _ => false,
        }
    }

    /// Whether a server with one descriptor table took its limit on connections from the size of that table:
    /// nobody asked for it, and it stands just below RLIMIT_NOFILE.
    fn max_is_the_descriptor_limit(&self, max: u64) -> bool {
        let near = |nofile: u64| max.saturating_add(spare(nofile)) >= nofile;
        self.plan.server_max_connections.is_none()
            && !self.host.server_tables
            && self.host.server_nofile.is_some_and(near)
    }

    /// Whether the server paused with its descriptor tables full, without a setting of its own to blame.
    pub(crate) fn server_tables_full(&self) -> bool {
        let (Some(server), Some(nofile)) = (&self.server, self.host.server_nofile) else { return false };
        let tables = if self.host.server_tables { server.tables.max(1) } else { 1 };
        let is_room_for = |each: u64| server.peak < tables.saturating_mul(each);
        // Where it met another limit as well, what it reports says that they were full, to the last.
        // One that makes a table more when one is full, as long as it can, does not pause for it.
        let is_elsewhere = self.server_found_no_room()
            && (self.host.server_tables || self.host.server_per_table.is_none_or(is_room_for));
        server.paused > 0
            && !self.server_at_max()
            && !is_elsewhere
            // The limit bounds no server that starts a table more, as long as it can.
            && self.grew(counter::SERVER_THREADS_REFUSED).is_none()
            && !is_room_for(nofile.saturating_sub(spare(nofile)))
    }

    /// The server's process when its only descriptor table was seen full from outside, and that may have cost somebody: who
    /// comes to a server without a descriptor waits in its queue before any SYN is dropped.
    pub(crate) fn process_table_full(&self) -> Option<&ServerProcess> {
        let nobody_waits = self.evidence.listeners.is_some_and(|seen| seen.count > 0 && seen.waited_at == 0);
        let nobody_waited =
            nobody_waits || self.counter(counter::ACCEPT_QUEUE).is_some_and(|queue| queue.after == 0);
        // A SYN that is refused, or gets no answer, and what was held and lost later, never came to it for a descriptor.
        let never_came = |name: &str| NO_ANSWER.contains(&name) || REFUSED.contains(&name);
        let is_left_over = |row: &Failure| ["not-accepted", "not-at-server"].contains(&row.outcome.name());
        let nobody_came = match &self.failures[..] {
            [] => self.connections.failed.keys().all(|outcome| never_came(outcome.name())),
            rows => rows.iter().all(|row| {
                never_came(row.outcome.name()) || row.phase != PhaseName::Ramp && !is_left_over(row)
            }),
        };
        let cost_nobody = nobody_waited && nobody_came;
        self.server_process.as_ref().filter(|process| process.table_was_full && !cost_nobody)
    }

    /// Whether the server is somebody else's, its listener was seen on this machine and its descriptors may not be
    /// read: then a full table cannot be told from a server that does not call accept.
    pub(crate) fn server_is_hidden(&self) -> bool {
        let hidden = |process: &ServerProcess| process.most_descriptors.is_none();
        self.server.is_none()
            && self.server_end.is_none()
            && self.plan.both_ends_here
            && self.counter(counter::ACCEPT_QUEUE).is_some()
            && self.server_process.as_ref().is_none_or(hidden)
    }

    /// Whether the swarm stopped short of its target with its one descriptor table full.
    pub(crate) fn swarm_table_full(&self) -> bool {
        // ENFILE stops it too, and is the whole host's.
        if self.growth_stopped == Some(GrowthStop::NoDescriptors)
            && self.lost(&["ENFILE"]).is_none()
            && !self.growth_stopped_by("ENFILE")
        {
            return true;
        }
        let c = &self.connections;
        // Established were all that ever were: a swarm that says why it stopped is believed.
        let full = |nofile: u64| c.established >= nofile.saturating_sub(spare(nofile));
        self.growth_stopped.is_none()
            && !self.host.swarm_tables
            && c.attempted < c.target
            && self.host.swarm_nofile.is_some_and(full)
    }

    /// Whether a system call of the swarm returned this errno and so stopped its growth.
    pub(crate) fn growth_stopped_by(&self, errno: &str) -> bool {
        let evidence = self.growth_evidence.as_ref();
        evidence.and_then(|evidence| evidence.errno.as_ref()).is_some_and(|found| found.name() == errno)
    }

    /// Whether it was no descriptor of its own that the server found none of: a file of the host, a watch or memory.
    fn server_found_no_room(&self) -> bool {
        ["ENFILE", "ENOSPC", "ENOBUFS", "ENOMEM"].iter().any(|errno| self.accept_errors(errno).is_some())
    }

    /// Whether the server said itself that it could take no more: what its accept queue then shows is a
    /// consequence and not a wall of its own.
    pub(crate) fn server_full(&self) -> bool {
        self.accept_errors("EMFILE").is_some()
            || self.server_found_no_room()
            // A table more takes a thread more.
            || self.grew(counter::SERVER_THREADS_REFUSED).is_some()
            || self.server_tables_full()
            || self.server_at_max()
            || self.process_table_full().is_some()
            || self.is_capped().is_some()
            || self.shares_what_is_full()
    }

    /// Whether a server that says nothing stands on this machine, where the swarm found no file or no watch: it found none
    /// either.
    fn shares_what_is_full(&self) -> bool {
        self.server.is_none() && self.plan.both_ends_here && self.lost(&["ENFILE", "ENOSPC"]).is_some()
    }

    /// A counter or a level as evidence.
    pub(crate) fn counter_evidence(&self, name: &str, side: Side, text: &str) -> Option<Evidence> {
        let change = self.counter(name)?;
        Some(Evidence {
            source: name.to_owned(),
            side,
            before: Some(change.before),
            after: Some(change.after),
            text: text.to_owned(),
        })
    }

    /// Connections lost under one of `names`, a piece of evidence for each.
    pub(crate) fn lost_evidence(&self, names: &[&str]) -> Vec<Evidence> {
        names
            .iter()
            .filter_map(|name| {
                let lost = self.lost(&[name])?;
                let meaning = meaning(name, self);
                let text = format!("{} lost: {meaning}", c10k_record::counted(lost.count, "connection"));
                Some(Evidence {
                    source: (*name).to_owned(),
                    side: Side::Swarm,
                    before: None,
                    after: Some(lost.count),
                    text,
                })
            })
            .collect()
    }

    /// What the link carried in its busiest second when that is nearly all it can, and what it can, bits a second.
    pub(crate) fn link_full(&self) -> Option<(u64, u64)> {
        let carries = self.host.link_bits_per_second.filter(|bits| *bits > 0)?;
        let busiest = self.counter(counter::LINK_BITS_PER_SECOND)?.after;
        (busiest >= carries - carries / 20).then_some((busiest, carries))
    }

    /// Whether it was; `None` where it was watched for less than a second.
    pub(crate) fn link_is_full(&self) -> Option<bool> {
        if self.host.link_bits_per_second.is_none_or(|bits| bits == 0) {
            return Some(false);
        }
        self.counter(counter::LINK_BITS_PER_SECOND).map(|_| self.link_full().is_some())
    }

    /// Whether the table of tracked connections was full; `None` where that is not known.
    pub(crate) fn conntrack_full(&self) -> Option<bool> {
        let (max, count) = (self.host.conntrack_max, self.counter(counter::CONNTRACK_COUNT));
        let at_its_most = max.filter(|max| *max > 0).zip(count).map(|(max, count)| count.after >= max);
        match (self.moved(counter::CONNTRACK_DROPPED), at_its_most) {
            (Some(true), _) | (_, Some(true)) => Some(true),
            (dropped, at_its_most) => dropped.or(at_its_most),
        }
    }

    /// Whether the table of neighbours was full; `None` where that is not known. Loopback has none.
    pub(crate) fn neighbours_full(&self) -> Option<bool> {
        let table = self.plan.neighbours();
        if self.moved(table.fulls) == Some(true) {
            return Some(true);
        }
        let most = self.plan.neighbours_max(&self.host).filter(|most| *most > 0);
        let kept = self.counter(table.kept);
        if most.zip(kept).is_some_and(|(most, kept)| kept.after >= most) {
            return Some(true);
        }
        let has_none = self.plan.both_ends_here && !self.plan.on_one_link;
        if has_none {
            Some(false)
        } else {
            self.moved(table.fulls).or_else(|| self.every_neighbour_found_room())
        }
    }

    /// Whether TCP's memory reached the value at which pressure begins; `None` where that is not known.
    pub(crate) fn tcp_mem_reached(&self) -> Option<bool> {
        let [_, pressure, _] = self.host.tcp_mem_pages?;
        let level = self.counter(counter::TCP_MEM_PAGES)?;
        Some(pressure > 0 && level.after >= pressure)
    }
}

fn sum(counts: impl Iterator<Item = u64>) -> u64 {
    counts.fold(0, u64::saturating_add)
}

/// Descriptors of a table that hold no connection: listeners, epoll, wakers, a reserve, the standard streams.
fn spare(nofile: u64) -> u64 {
    (nofile / 8).min(64)
}

/// What it means; in the ramp where some were lost there.
fn meaning(name: &str, findings: &Findings) -> &'static str {
    let rows = || findings.failures.iter().filter(|row| row.outcome.name() == name);
    let in_ramp = rows().find(|row| row.phase == PhaseName::Ramp);
    if let Some(row) = in_ramp.or_else(|| rows().next()) {
        return row.outcome.meaning_in(row.phase);
    }
    let mut known = findings.connections.failed.keys();
    known.find(|outcome| outcome.name() == name).map_or("", |outcome| outcome.meaning())
}
