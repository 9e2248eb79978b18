//! The processes of a server: those that listen for it, and those that hold its connections.
//!
//! # What is counted
//! Memory, descriptors and threads are summed over the processes that hold connections and their fellows, which wait for
//! some at the same listener or under the same parent; as long as there are none, over those that are expected to hold
//! them. Processor time is that of the processes that listen too: they accept. A process that ended
//! keeps its processor time in the sum and nothing else.
//!
//! # What a search costs
//! Measured at 100,000 connections of a server with seven descriptor tables, both ends here, on a busy machine of two
//! processors: 0.32 s for the sockets, which the kernel's walk over its table takes; 8 ms for the descriptors; 2 to 10 ms
//! for the lines of all processes. The next one waits a hundred times as long.
//!
//! Where the connections are held by processes that may not be looked at, and it is not known by which, the sums are
//! unknown.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::{Duration, Instant};

use c10k_kernel::census::{
    Held, Holding, LookThrough, PortSet, SockDiag, State, States, held_by, holders_of, who_holds,
};
use c10k_kernel::counters::ProcRoot;
use c10k_kernel::processes::{Processes, line_of};

use crate::family::{expected, likely};
use crate::observation::{HolderSeen, ProcessSeen};
use crate::process::{Watched, memory_of};
use crate::snapshot::{ProcessInServer, ServerMemory};
use crate::unreadable::UnreadableList;

mod ended;
mod sum;

pub use ended::EndedProcess;
use sum::Sum;

/// Two searches are at least so far apart, and at least as many times what the last one took: 1 % of a core.
const BETWEEN_SEARCHES: Duration = Duration::from_secs(1);
const LEAST_RATIO: u32 = 100;
/// Up to so many processes are read at every tick; more of them at most a twentieth of the time.
const FEW: usize = 16;
const LEAST_RATIO_OF_MANY: f64 = 20.0;
/// Processes that are watched from tick to tick; each takes two descriptors. Of more the sums are unknown.
const MOST_WATCHED: usize = 256;
/// Processes whose memory is noted at the ends of phases.
const MOST_NOTED: usize = 4096;
/// A listener is opened early.
const LOOKED_THROUGH: usize = 1 << 12;

/// The processes of one server, watched.
pub(crate) struct Serving {
    root: ProcRoot,
    /// The one that was named, or found by its listener.
    first: Option<u32>,
    /// Whether others are looked for.
    searches: bool,
    /// All processes when it began to be watched.
    begun: Processes,
    members: Vec<Member>,
    /// There has been one.
    has_members: bool,
    /// Who held connections at the last search, in the order of their pids.
    holding: Vec<Holding>,
    /// Processes of the server that may not be looked into and are taken to hold what nobody else does.
    closed: Vec<u32>,
    /// All that may not be looked into.
    closed_to_us: Vec<u32>,
    /// Others hold most of the connections, and may not be looked into.
    is_hidden: bool,
    last_search: Option<(Instant, Duration)>,
    /// Processor time of those that ended, seconds.
    ended_seconds: f64,
    /// Those that ended.
    ended: Vec<EndedProcess>,
    last_seen: Option<LastSeen>,
    /// The process of which it was said that its memory cannot be read exactly.
    told_of: Option<u32>,
}

struct LastSeen {
    at_seconds: f64,
    took_seconds: f64,
    sum: ProcessSeen,
    each: Vec<HolderSeen>,
}

struct Member {
    watched: Watched,
    started_ticks: u64,
    name: Option<String>,
    /// The inode of a listener of the server that it holds.
    listener: Option<u32>,
    /// It belongs to the sums.
    is_counted: bool,
    /// It is or was of those whose processor time is the server's.
    has_worked: bool,
    last_seconds: f64,
    /// Connections that it held at the last search which found it with some.
    last_held: Option<u64>,
}

/// What a search needs to see.
pub(crate) struct Sight<'a> {
    pub(crate) diag: &'a mut SockDiag,
    pub(crate) ports: &'a PortSet,
    /// The inodes of the server's listeners.
    pub(crate) listeners: &'a [u32],
    pub(crate) elapsed_seconds: f64,
}

impl Serving {
    /// One process, and nobody else. The error is that of the first reading.
    pub(crate) fn of_one(root: &ProcRoot, pid: u32, elapsed_seconds: f64) -> io::Result<Self> {
        let mut serving = Self::of_nobody(root);
        serving.first = Some(pid);
        serving.add(pid, None, elapsed_seconds)?;
        serving.count_only(&[pid]);
        Ok(serving)
    }

    /// The processes that hold these listeners, and those that are expected to hold their connections, of which others
    /// are found when there are any. `first` is one of them, where one is named or may be seen.
    pub(crate) fn of_listeners(
        root: &ProcRoot,
        first: Option<u32>,
        listeners: &[u32],
        elapsed_seconds: f64,
    ) -> io::Result<Self> {
        let mut serving = Self::of_nobody(root);
        (serving.first, serving.searches) = (first, true);
        serving.begun = Processes::look(root);
        if let Some(first) = first {
            serving.add(first, serving.listener_of(first, listeners), elapsed_seconds)?;
        }
        let mut listening = holders_of(root, listeners).pids;
        if listening.is_empty() {
            listening.extend(first);
        }
        let expected = expected(&serving.begun, &listening);
        for pid in listening.into_iter().chain(expected.iter().copied()) {
            // One that ended meanwhile is none of them.
            let _ = serving.add(pid, serving.listener_of(pid, listeners), elapsed_seconds);
        }
        serving.count_only(&expected);
        Ok(serving)
    }

    fn of_nobody(root: &ProcRoot) -> Self {
        Self {
            root: root.clone(),
            first: None,
            searches: false,
            begun: Processes::default(),
            members: Vec::new(),
            has_members: false,
            holding: Vec::new(),
            closed: Vec::new(),
            closed_to_us: Vec::new(),
            is_hidden: false,
            last_search: None,
            ended_seconds: 0.0,
            ended: Vec::new(),
            last_seen: None,
            told_of: None,
        }
    }

    /// The process that was named, or found by its listener.
    pub(crate) fn first(&self) -> Option<u32> {
        self.first
    }

    /// Whether that one ended.
    pub(crate) fn first_is_gone(&self) -> bool {
        let first = self.members.iter().find(|member| Some(member.watched.pid()) == self.first);
        first.is_some_and(|first| first.watched.is_gone())
    }

    /// Whether all of them ended.
    pub(crate) fn is_gone(&self) -> bool {
        self.has_members && self.members.iter().all(|member| member.watched.is_gone())
    }

    /// Those whose figures are the server's.
    pub(crate) fn counted(&self) -> impl Iterator<Item = u32> + '_ {
        self.members.iter().filter(|member| member.is_counted).map(|member| member.watched.pid())
    }

    fn listener_of(&self, pid: u32, listeners: &[u32]) -> Option<u32> {
        let held = held_by(&self.root, pid, listeners, LOOKED_THROUGH).ok()??;
        held.into_iter().min()
    }

    fn add(&mut self, pid: u32, listener: Option<u32>, elapsed_seconds: f64) -> io::Result<()> {
        if self.members.iter().any(|member| member.watched.pid() == pid) || self.members.len() >= MOST_WATCHED
        {
            return Ok(());
        }
        let mut watched = Watched::new(&self.root, pid, elapsed_seconds)?;
        let line = line_of(&self.root, pid).unwrap_or_default();
        if self.last_search.is_some() {
            // It was there before it was known, or has begun since.
            watched.count_from(self.begun.same(pid, &line).map_or(0.0, |then| then.cpu_seconds));
        }
        self.members.push(Member {
            watched,
            started_ticks: line.started_ticks,
            name: Some(line.name).filter(|name| !name.is_empty()),
            listener,
            is_counted: false,
            has_worked: listener.is_some(),
            last_seconds: 0.0,
            last_held: None,
        });
        self.members.sort_by_key(|member| member.watched.pid());
        self.has_members = true;
        self.last_seen = None;
        Ok(())
    }

    fn count_only(&mut self, pids: &[u32]) {
        for member in &mut self.members {
            member.is_counted = pids.contains(&member.watched.pid());
            member.has_worked |= member.is_counted;
        }
        self.last_seen = None;
    }

    // Searching ----------------------------------------------------------------------------------------

    /// Whether who holds the connections was not looked for of late.
    pub(crate) fn is_search_due(&self, now: Instant) -> bool {
        self.searches
            && self
                .last_search
                .is_none_or(|(at, took)| now.duration_since(at) >= BETWEEN_SEARCHES.max(took * LEAST_RATIO))
    }

    /// Looks for who holds the connections.
    pub(crate) fn search(&mut self, sight: &mut Sight<'_>, unreadable: &mut UnreadableList) {
        let begun = Instant::now();
        if let Some(inodes) = accepted(sight) {
            if inodes.is_empty() {
                // Who held them stays the server.
                self.holding.clear();
                self.closed.clear();
                self.closed_to_us.clear();
            } else {
                let all = Processes::look(&self.root);
                let known: Vec<u32> = self.members.iter().map(|member| member.watched.pid()).collect();
                let likely = likely(&all, &known);
                let mut held = who_holds(&self.root, &inodes, &likely, LookThrough::default());
                // Nobody accepts for a server without a listener, and its port may be one that others connect from.
                if sight.listeners.is_empty() {
                    held.by.retain(|holding| likely.contains(&holding.pid));
                }
                if is_short(held.unseen, inodes.len() as u64) {
                    held.unseen = still_there(held.unseen, &inodes, sight);
                }
                self.take(held, inodes.len() as u64, &all, sight, unreadable);
            }
        }
        self.last_search = Some((begun, begun.elapsed()));
    }

    fn take(
        &mut self,
        held: Held,
        accepted: u64,
        all: &Processes,
        sight: &Sight<'_>,
        unreadable: &mut UnreadableList,
    ) {
        let mut counted: Vec<u32> = held.by.iter().map(|holding| holding.pid).collect();
        self.holding = held.by;
        let is_short = is_short(held.unseen, accepted);
        self.closed.clear();
        if is_short {
            self.closed = self.closed_of_ours(&held.closed_to_us, all);
            counted.extend(&self.closed);
        }
        self.is_hidden = is_short && self.closed.is_empty() && !held.closed_to_us.is_empty();
        if counted.is_empty() {
            counted.extend(self.counted());
        }
        if is_short {
            let (unseen, source) = (held.unseen, "the descriptors of other users' processes");
            let unknown = match (self.is_hidden, held.closed_to_us.is_empty()) {
                (true, _) => format!(
                    "who holds {unseen} of {accepted} connections, and so memory, descriptors and processor time of the \
                     server (sudo may)"
                ),
                (false, false) => {
                    format!(
                        "how many of {unseen} connections each of the server's processes holds (sudo may)"
                    )
                }
                // As io_uring's direct descriptors are.
                (false, true) => {
                    format!("who holds {unseen} of {accepted} connections: no table of any process has them")
                }
            };
            unreadable.note(source, None, &unknown);
        }
        // A worker that has none yet is as much the server's as its fellows.
        let fellows = self.expected_now(all);
        if fellows.iter().any(|pid| counted.contains(pid)) {
            counted.extend(fellows);
            counted.sort_unstable();
            counted.dedup();
        }
        let known: Vec<u32> = self.members.iter().map(|member| member.watched.pid()).collect();
        self.closed_to_us = held.closed_to_us;
        for pid in counted.iter().filter(|pid| !known.contains(pid)) {
            let listener = self.listener_of(*pid, sight.listeners);
            // One that ended meanwhile holds nothing any more.
            let _ = self.add(*pid, listener, sight.elapsed_seconds);
        }
        if counted.len() > MOST_WATCHED {
            unreadable.note(
                format!("/proc of more than {MOST_WATCHED} processes that hold connections"),
                None,
                "memory, descriptors and processor time of the server from look to look",
            );
        }
        self.count_only(&counted);
        for member in &mut self.members {
            let holds = |holding: &&Holding| holding.pid == member.watched.pid();
            let found = self.holding.iter().find(holds).map(|holding| holding.sockets);
            member.last_held = found.or(member.last_held);
        }
    }

    fn expected_now(&self, all: &Processes) -> Vec<u32> {
        let listening = self.members.iter().filter(|one| one.listener.is_some() && !one.watched.is_gone());
        let listening: Vec<u32> = listening.map(|one| one.watched.pid()).collect();
        expected(all, &listening)
    }

    /// Of the processes that may not be looked into, the server's own; a parent hands on what it accepts.
    fn closed_of_ours(&self, closed: &[u32], all: &Processes) -> Vec<u32> {
        let known: Vec<u32> = self.members.iter().map(|member| member.watched.pid()).collect();
        let descendants = all.descendants(&known, &[]);
        let ours: BTreeSet<u32> =
            closed.iter().filter(|pid| known.contains(pid) || descendants.contains(pid)).copied().collect();
        let parents: BTreeSet<u32> =
            ours.iter().filter_map(|pid| all.by_pid.get(pid).map(|line| line.parent)).collect();
        ours.into_iter().filter(|pid| !parents.contains(pid)).collect()
    }

    // Seeing -------------------------------------------------------------------------------------------

    /// What can be seen of them now, together and each. Sets `partial` when one of them vanished since the last look.
    pub(crate) fn see(
        &mut self,
        seconds: f64,
        partial: &mut bool,
        unreadable: &mut UnreadableList,
    ) -> (ProcessSeen, Vec<HolderSeen>) {
        if let Some(last) = self.last_seen.as_ref().filter(|_| self.members.len() > FEW)
            && seconds - last.at_seconds < last.took_seconds * LEAST_RATIO_OF_MANY
        {
            return (last.sum, last.each.clone());
        }
        let begun = Instant::now();
        let mut each = Vec::with_capacity(self.members.len());
        let mut sum = Sum::default();
        for member in &mut self.members {
            let seen = member.watched.see(seconds, partial, unreadable);
            if member.watched.is_gone() {
                continue;
            }
            member.last_seconds = seen.cpu_seconds.unwrap_or(member.last_seconds);
            if member.is_counted {
                sum.add(&seen);
            }
            if member.has_worked {
                sum.add_time(&seen);
            }
            each.push(member.shown(&self.holding, &self.closed_to_us, self.last_search.is_some(), seen));
        }
        self.note_those_that_ended(seconds);
        self.drop_those_that_ended();
        let is_whole = !self.is_hidden && self.holding.len() + self.closed.len() <= MOST_WATCHED;
        let sum = if is_whole { sum.all(self.ended_seconds) } else { ProcessSeen::default() };
        let took_seconds = begun.elapsed().as_secs_f64();
        self.last_seen = Some(LastSeen { at_seconds: seconds, took_seconds, sum, each: each.clone() });
        (sum, each)
    }

    /// The memory of all that are or may be of the server.
    pub(crate) fn snapshot(&mut self, unreadable: &mut UnreadableList) -> ServerMemory {
        let mut memory = ServerMemory { is_hidden: self.is_hidden, ..ServerMemory::default() };
        for member in self.members.iter_mut().filter(|member| !member.watched.is_gone()) {
            let pid = member.watched.pid();
            // What is true of one of a user's processes is true of its fellows, and said once.
            let is_told = self.told_of.is_some_and(|told| told != pid);
            let known = unreadable.all().len();
            let Some(seen) = member.watched.snapshot((!is_told).then_some(&mut *unreadable)) else {
                continue;
            };
            if unreadable.all().len() > known {
                self.told_of = Some(pid);
            }
            let holding = self.holding.iter().find(|holding| holding.pid == pid);
            let connections = holding.map(|holding| holding.sockets);
            let one = ProcessInServer { memory: seen, is_counted: member.is_counted, connections };
            memory.processes.insert((pid, member.started_ticks), one);
        }
        if self.searches {
            self.note_others(&mut memory);
        }
        memory
    }

    /// Those that are not watched: they may turn out to hold connections later.
    fn note_others(&self, memory: &mut ServerMemory) {
        let all = Processes::look(&self.root);
        let known: Vec<u32> = self.members.iter().map(|member| member.watched.pid()).collect();
        let beyond = self.holding.iter().map(|holding| holding.pid).filter(|pid| !known.contains(pid));
        let wanted: BTreeSet<u32> = beyond.chain(all.descendants(&known, &[])).take(MOST_NOTED).collect();
        let holding: BTreeMap<u32, u64> = self.holding.iter().map(|one| (one.pid, one.sockets)).collect();
        for pid in wanted.into_iter().filter(|pid| !known.contains(pid)) {
            let (Some(line), Some(seen)) = (all.by_pid.get(&pid), memory_of(&self.root, pid)) else {
                continue;
            };
            let connections = holding.get(&pid).copied();
            let one = ProcessInServer { memory: seen, is_counted: connections.is_some(), connections };
            memory.processes.insert((pid, line.started_ticks), one);
        }
        memory.rss_bytes_of_all =
            all.by_pid.iter().map(|(pid, line)| ((*pid, line.started_ticks), line.rss_bytes)).collect();
    }
}

impl Member {
    fn shown(&self, holding: &[Holding], closed: &[u32], is_known: bool, seen: ProcessSeen) -> HolderSeen {
        let pid = self.watched.pid();
        let held = holding.iter().find(|holding| holding.pid == pid);
        let is_known = is_known && !closed.contains(&pid);
        HolderSeen {
            pid,
            name: self.name.clone(),
            listener: self.listener,
            is_counted: self.is_counted,
            connections: held.map(|holding| holding.sockets).or(is_known.then_some(0)),
            estimated: held.is_some_and(|holding| holding.estimated),
            seen,
        }
    }
}

/// The inodes of the connections that a process has accepted.
fn accepted(sight: &mut Sight<'_>) -> Option<Vec<u32>> {
    let mut inodes = Vec::new();
    let add = |socket: &c10k_kernel::census::SocketLine<'_>| inodes.push(socket.inode());
    sight.diag.with_local_ports(States::of(&[State::Established]), sight.ports, add).ok()?;
    inodes.retain(|inode| *inode > 0);
    Some(inodes)
}

/// Whether more connections are held by nobody who was seen than are closed or handed on while one looks.
fn is_short(unseen: u64, accepted: u64) -> bool {
    unseen * 20 > accepted
}

/// Of so many that nobody was seen to hold, how many have not just been closed.
fn still_there(unseen: u64, inodes: &[u32], sight: &mut Sight<'_>) -> u64 {
    let now: BTreeSet<u32> = accepted(sight).unwrap_or_default().into_iter().collect();
    let closed = inodes.iter().filter(|inode| !now.contains(inode)).count() as u64;
    unseen.saturating_sub(closed)
}
