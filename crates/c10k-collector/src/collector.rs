//! The collector: all sources of one host, opened once and read at every tick.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use c10k_kernel::cgroup::{MemoryGroups, PidsSeen};
use c10k_kernel::counters::host_wide::{NeighboursReader, oom_kills};
use c10k_kernel::counters::{ProcRoot, process_is_gone};
use c10k_kernel::cpu::{CpuTimes, HostCpuReader};
use c10k_kernel::memory::{MemInfoReader, SlabNames, SlabReader, page_bytes};
use c10k_kernel::process::allowed_cpus;
use c10k_record::DropReasons;
use thiserror::Error;

use crate::drops::DropWatch;
use crate::levels::Levels;
use crate::network::NetworkEnd;
use crate::observation::Observation;
use crate::per_end::PerEnd;
use crate::process::Watched;
use crate::serving::{EndedProcess, Serving, Sight};
use crate::snapshot::MemorySnapshot;
use crate::unreadable::{Unreadable, UnreadableList};

mod groups;
mod seeing;
mod sockets;

use groups::{EndGroups, InGroups, MemoryWatch};
use seeing::{NeighboursFirst, see};

/// Each CPU may keep this much of TCP's memory account to itself (include/net/sock.h, `SK_MEMORY_PCPU_RESERVE`).
const PERCPU_RESERVE_BYTES: u64 = 1 << 20;

/// How long [`Collector::settle`] waits between two looks, and how many looks without a fall it takes for quiet.
const SETTLE_PAUSE: Duration = Duration::from_millis(20);
const QUIET_LOOKS: u32 = 5;

/// What to watch.
#[derive(Clone, Debug, Default)]
pub struct CollectorConfig {
    /// The server's process.
    pub server_pid: Option<u32>,
    /// Whether the server's connections may be held by other processes than that one: then those are looked for, by the
    /// listeners and the connections of `ports`.
    pub finds_holders: bool,
    /// The swarm's process.
    pub swarm_pid: Option<u32>,
    /// The ports the server listens on; without any, no listener is watched and a census counts all sockets.
    pub ports: Vec<u16>,
    /// Where `proc/` and `sys/` stand.
    pub proc_root: ProcRoot,
    /// The process whose network namespace the counters are of; `None` for the collector's own.
    pub namespace_of: Option<u32>,
}

/// Why a collector cannot begin.
#[derive(Debug, Error)]
pub enum CollectorError {
    /// There is no such process, or it ended already: the caller's fault.
    #[error("there is no process {pid} here")]
    NoSuchProcess {
        /// The pid that was asked for.
        pid: u32,
    },
    /// The process is there but its figures cannot be read: the host's fault.
    #[error("process {pid} cannot be watched: {error}")]
    Process {
        /// The pid that was asked for.
        pid: u32,
        /// Why.
        error: io::Error,
    },
}

/// The two processes of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProcessSide {
    /// The one that accepts.
    Server,
    /// The one that connects.
    Swarm,
}

#[derive(Clone, Copy)]
enum Urgency {
    Now,
    WhenDue,
}

/// Reads all sources of one host over time.
pub struct Collector {
    root: ProcRoot,
    start: Instant,
    /// The network namespaces of both ends.
    ends: PerEnd<NetworkEnd>,
    cpu: HostCpuReader,
    cpu_first: Option<CpuTimes>,
    cpu_last: Option<(f64, CpuTimes)>,
    /// The processors that this process may run on; `None` = all of a recorded host.
    ours: Option<Vec<usize>>,
    idle_last: Option<f64>,
    cpus: u64,
    memory: MemInfoReader,
    slabs: SlabReader,
    slab_names: SlabNames,
    has_ports: bool,
    server: Option<Serving>,
    swarm: Option<Watched>,
    finds_holders: bool,
    /// Those of each of the server's processes, where it is in others than those before it.
    server_groups: Vec<EndGroups>,
    memory_groups: Vec<MemoryWatch>,
    in_groups: InGroups,
    swarm_groups: Option<EndGroups>,
    oom_kills_first: Option<u64>,
    neighbours: NeighboursReader,
    neighbours_first: NeighboursFirst,
    drops: DropWatch,
    unreadable: UnreadableList,
}

impl Collector {
    /// Opens all sources and takes the first reading, against which later ones are compared.
    ///
    /// # Errors
    /// When one of the processes is not there. Any other source that cannot be read is named by
    /// [`Collector::unreadable`], and what it would tell stays `None`.
    pub fn new(config: CollectorConfig) -> Result<Self, CollectorError> {
        let root = config.proc_root;
        let mut unreadable = UnreadableList::default();
        let network = NetworkEnd::open(&root, config.namespace_of, &config.ports);
        let mut cpu = HostCpuReader::open(&root);
        let host = cpu.read().ok();
        let slab_names = SlabNames::read(&root).unwrap_or_else(|error| {
            unreadable.note(
                root.path("sys/kernel/slab").display().to_string(),
                error.raw_os_error(),
                "which slab caches are merged with each other",
            );
            SlabNames::default()
        });
        let mut neighbours = NeighboursReader::open(&root);
        let mut collector = Self {
            start: Instant::now(),
            ends: PerEnd::one(network),
            cpu,
            cpu_first: host.as_ref().map(|host| host.total),
            cpu_last: host.as_ref().map(|host| (0.0, host.total)),
            ours: if root.is_live() { allowed_cpus().ok() } else { None },
            idle_last: None,
            cpus: host.as_ref().map_or(0, |host| host.per_cpu.len() as u64),
            memory: MemInfoReader::open(&root),
            slabs: SlabReader::open(&root),
            slab_names,
            has_ports: !config.ports.is_empty(),
            server: None,
            swarm: None,
            finds_holders: config.finds_holders && !config.ports.is_empty(),
            server_groups: Vec::new(),
            memory_groups: Vec::new(),
            in_groups: InGroups::default(),
            swarm_groups: None,
            oom_kills_first: oom_kills(&root),
            neighbours_first: NeighboursFirst::of(&mut neighbours),
            neighbours,
            drops: if root.is_live() { DropWatch::begin() } else { DropWatch::of_a_recording() },
            unreadable,
            root,
        };
        collector.idle_last = host.as_ref().map(|host| collector.idle_seconds(host));
        collector.open_diag(config.namespace_of);
        if config.server_pid.is_none() {
            collector.open_memory_groups(None);
        }
        if config.server_pid.is_some() || collector.finds_holders {
            collector.watch_server(config.server_pid)?;
        }
        if let Some(pid) = config.swarm_pid {
            collector.watch_swarm(pid)?;
        }
        Ok(collector)
    }

    fn watch_swarm(&mut self, pid: u32) -> Result<(), CollectorError> {
        let elapsed = self.start.elapsed().as_secs_f64();
        self.swarm = Some(Watched::new(&self.root, pid, elapsed).map_err(|error| refused(pid, error))?);
        self.swarm_groups = Some(EndGroups::of(&self.root, pid));
        Ok(())
    }

    fn watch_server(&mut self, pid: Option<u32>) -> Result<(), CollectorError> {
        let elapsed = self.start.elapsed().as_secs_f64();
        let listeners = if self.finds_holders { self.listener_inodes() } else { None };
        let serving = match (listeners, pid) {
            (Some(listeners), pid) => Serving::of_listeners(&self.root, pid, &listeners, elapsed),
            (None, Some(pid)) => Serving::of_one(&self.root, pid, elapsed),
            (None, None) => return Ok(()),
        };
        self.server = Some(serving.map_err(|error| refused(pid.unwrap_or_default(), error))?);
        if let Some(pid) = pid {
            self.look_for_groups_of(pid);
        }
        self.look_for_groups();
        Ok(())
    }

    /// The groups of processes that have come to hold connections.
    fn look_for_groups(&mut self) {
        let counted: Vec<u32> = self.server.iter().flat_map(Serving::counted).collect();
        for pid in counted {
            self.look_for_groups_of(pid);
        }
    }

    fn look_for_groups_of(&mut self, pid: u32) {
        if self.in_groups.is_new(&self.root, pid) {
            self.server_groups.push(EndGroups::of(&self.root, pid));
            self.open_memory_groups(Some(pid));
        }
    }

    /// Looks at the clients' end too, which stands in a network namespace of its own.
    pub fn watch_clients_end(&mut self, end: NetworkEnd) {
        self.ends.client = Some(end);
    }

    /// Whether the clients stand in another network namespace than the server.
    #[must_use]
    pub fn is_of_two_places(&self) -> bool {
        self.ends.client.is_some()
    }

    /// Looks at the tables of neighbours by files that were opened where they are shown, which is the machine's first
    /// network namespace alone.
    pub fn look_at_neighbours_by(&mut self, mut opened: NeighboursReader) {
        self.neighbours_first = NeighboursFirst::of(&mut opened);
        self.neighbours = opened;
    }

    /// Reads all cheap sources now. Its cost does not grow with the number of connections, but for sockstat's few
    /// microseconds for a thousand sockets.
    pub fn tick(&mut self) -> Observation {
        self.tick_at(self.start.elapsed())
    }

    /// As [`Collector::tick`], at a given time since the collector began: for recorded hosts.
    pub fn tick_at(&mut self, elapsed: Duration) -> Observation {
        let begun = Instant::now();
        let seconds = elapsed.as_secs_f64();
        let mut partial = false;
        let mut seen = Observation {
            elapsed_ms: millis(elapsed),
            swarm: see(&mut self.swarm, seconds, &mut partial, &mut self.unreadable),
            cgroup: self.see_memory_groups(),
            oom_kills: oom_kills(&self.root).and_then(|now| now.checked_sub(self.oom_kills_first?)),
            memory: self.see_memory(&mut partial),
            slabs: self.see_slabs(),
            cpu: self.see_cpu(seconds, &mut partial),
            listener: self.see_listeners(&mut partial),
            drops: self.drops.see(),
            ..Observation::default()
        };
        self.look_for_holders(Urgency::WhenDue, seconds);
        if let Some(server) = &mut self.server {
            (seen.server, seen.processes) = server.see(seconds, &mut partial, &mut self.unreadable);
        }
        let network = self.see_network();
        seen.partial |= network.has_vanished;
        seen.network = network;
        self.see_neighbours(&mut seen);
        self.see_groups_of_ends(&mut seen);
        seen.partial |= partial;
        seen.tick_us = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        seen
    }

    /// Waits until the kernel has given back what earlier connections left behind: sockets, inodes and files are freed
    /// some milliseconds after their close (RCU), and a snapshot taken before is too high. False when `longest` passed
    /// and memory was still coming back.
    pub fn await_quiet(&mut self, longest: Duration) -> bool {
        let end = Instant::now() + longest;
        let mut last = self.kernel_use();
        let mut quiet = 0;
        while quiet < QUIET_LOOKS {
            if Instant::now() >= end {
                return false;
            }
            thread::sleep(SETTLE_PAUSE);
            let now = self.kernel_use();
            quiet = if now < last { 0 } else { quiet + 1 };
            last = now;
        }
        true
    }

    /// A figure that falls while the kernel gives sockets back: objects in the caches of sockets, else bytes of slabs.
    fn kernel_use(&mut self) -> u64 {
        let Ok(slabs) = self.slabs.read() else {
            return self.memory.read().ok().and_then(|memory| memory.slab_bytes).unwrap_or(0);
        };
        let objects = |name| self.slab_names.find(&slabs, name).map_or(0, |slab| slab.active_objects);
        objects("TCP") + objects("TCPv6") + objects("sock_inode_cache") + objects("filp")
    }

    /// The memory of the host and of both processes now, as exactly as this user may know it. Costs up to some
    /// milliseconds and walks the page tables of both processes: for the ends of phases.
    pub fn snapshot(&mut self) -> MemorySnapshot {
        self.look_for_holders(Urgency::Now, self.start.elapsed().as_secs_f64());
        let slabs = self.slabs.read().ok();
        let percpu_free_bytes = self.memory.read_percpu_free_bytes().ok();
        MemorySnapshot {
            server: self.server.as_mut().map(|server| server.snapshot(&mut self.unreadable)),
            swarm: self.swarm.as_mut().and_then(|process| process.snapshot(Some(&mut self.unreadable))),
            slabs,
            slab_names: self.slab_names.clone(),
            socket_buffer_bytes: self.ends.server.socket_buffer_pages().map(|pages| pages * page_bytes()),
            socket_buffer_slack_bytes: self.cpus * PERCPU_RESERVE_BYTES,
            meminfo: self.memory.read().ok(),
            percpu_free_bytes,
        }
    }

    /// Whether a watched end was found to have ended: of a server, all its processes. False for an end that is not
    /// watched.
    #[must_use]
    pub fn is_gone(&self, side: ProcessSide) -> bool {
        match side {
            ProcessSide::Server => self.server.as_ref().is_some_and(Serving::is_gone),
            ProcessSide::Swarm => self.swarm.as_ref().is_some_and(Watched::is_gone),
        }
    }

    /// Whether the server's process that was named was found to have ended, whatever others go on.
    pub(crate) fn first_is_gone(&self) -> bool {
        self.server.as_ref().is_some_and(Serving::first_is_gone)
    }

    /// Processes of the server that ended while they were watched, in the order in which that was seen.
    #[must_use]
    pub fn ended_processes(&self) -> &[EndedProcess] {
        self.server.as_ref().map_or(&[], Serving::ended)
    }

    /// The file with the quota of processor time that held the server back most since it began to be watched.
    #[must_use]
    pub fn server_cpu_quota(&self) -> Option<String> {
        let held_back = self.server_groups.iter().max_by_key(|groups| groups.throttled())?;
        held_back.quota()
    }

    /// The pids cgroup of the two ends that had the fewest threads left at some tick, as it was then.
    #[must_use]
    pub fn fewest_threads(&self) -> Option<&PidsSeen> {
        let ends = self.server_groups.iter().chain(&self.swarm_groups);
        ends.filter_map(EndGroups::fewest_threads).min_by_key(|seen| seen.left())
    }

    /// The pid that is watched on a side; of a server, the one that was named.
    #[must_use]
    pub fn pid(&self, side: ProcessSide) -> Option<u32> {
        match side {
            ProcessSide::Server => self.server.as_ref().and_then(Serving::first),
            ProcessSide::Swarm => self.swarm.as_ref().map(Watched::pid),
        }
    }

    /// What cannot be read here, each source once, and what stays unknown without it. The list grows as sources are
    /// tried: ask again after a tick and after a snapshot.
    #[must_use]
    pub fn unreadable(&self) -> &[Unreadable] {
        self.unreadable.all()
    }

    /// For what reasons the kernel dropped packets by these looks, or why that is not known.
    #[must_use]
    pub fn drop_reasons(&self, levels: &Levels) -> DropReasons {
        let why_not = || self.drops.why_not().unwrap_or("nobody has looked");
        levels.drop_reasons().unwrap_or_else(|| DropReasons::unknown(why_not()))
    }

    fn may_run_on(&self, cpu: u32) -> bool {
        self.ours.as_ref().is_none_or(|ours| ours.contains(&(cpu as usize)))
    }

    /// Looks for who holds the server's connections, where others than the one that was named may.
    fn look_for_holders(&mut self, urgency: Urgency, elapsed_seconds: f64) {
        let is_due = |server: &Serving| match urgency {
            Urgency::Now => true,
            Urgency::WhenDue => server.is_search_due(Instant::now()),
        };
        if !self.finds_holders || !self.server.as_ref().is_some_and(is_due) {
            return;
        }
        let Some(listeners) = self.listener_inodes() else { return };
        let Some(server) = &mut self.server else { return };
        let Some((diag, ports)) = self.ends.server.diag_and_ports() else { return };
        let mut sight = Sight { diag, ports, listeners: &listeners, elapsed_seconds };
        server.search(&mut sight, &mut self.unreadable);
        self.look_for_groups();
    }

    /// The memory groups of the server, or of this process; what they had refused before is not the run's.
    fn open_memory_groups(&mut self, pid: Option<u32>) {
        let watch = match MemoryGroups::of(&self.root, pid) {
            Ok(groups) => MemoryWatch::begin(groups),
            Err(error) if process_is_gone(&error) => MemoryWatch::Unknown,
            Err(error) => {
                let source = self.root.process_path(pid, "cgroup").display().to_string();
                let unknown = "the memory groups of this process and their limits";
                self.unreadable.note(source, error.raw_os_error(), unknown);
                MemoryWatch::Unknown
            }
        };
        self.memory_groups.push(watch);
    }
}

fn refused(pid: u32, error: io::Error) -> CollectorError {
    if process_is_gone(&error) {
        CollectorError::NoSuchProcess { pid }
    } else {
        CollectorError::Process { pid, error }
    }
}

fn millis(elapsed: Duration) -> u64 {
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
