//! A look at a server that stands on the same machine, from beside it: its listener, its process and the kernel's
//! counters, so that a swarm on its own can say why it falls short. One look a second by the conductor's thread; nothing
//! here touches a connection.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use c10k_ceiling::{CounterChange, ServerEnd, ServerProcess, counter};
use c10k_collector::{
    CensusSeen, Collector, CollectorConfig, GroupSeen, LastBreath, Levels, Observation, ProcessSide,
    ServerSigns, Standstill, find_server, limits_of_processes,
};
use c10k_kernel::limits::{self, Resource};
use c10k_kernel::process::real_user;
use c10k_record::{DropReasons, HostSnapshot, LiveCounts, ProcessInRun, Warning};

/// Between two looks.
const INTERVAL: Duration = Duration::from_secs(1);
/// Connections up to which it is looked up who holds them: each costs the kernel about 3 µs.
const MOST_LOOKED_UP: u64 = 100_000;

/// What was seen of a server's process from outside, for the walls. `census` is how many connections are ESTABLISHED at
/// its side, and how many of them it has not accepted.
#[must_use]
pub fn server_process(signs: &ServerSigns, pid: u32, census: Option<(u64, u64)>) -> ServerProcess {
    ServerProcess {
        pid: signs.one_of_several().unwrap_or(pid),
        full: signs.full.clone(),
        processes: signs.processes,
        most_descriptors: signs.most_descriptors,
        descriptor_limit: signs.descriptor_limit,
        table_was_full: signs.table_was_full,
        stopped: signs.stopped,
        established: census.map(|(established, _)| established),
        not_accepted: census.map(|(_, waiting)| waiting),
        listens: signs.queue.listens,
    }
}

/// Looks at the server beside this swarm.
pub(crate) struct Beside {
    collector: Collector,
    signs: ServerSigns,
    pid: Option<u32>,
    first: Observation,
    last: Observation,
    levels: Levels,
    begun: Instant,
    last_look: Instant,
    hidden: Option<String>,
    descriptor_hard_limit: Option<u64>,
    /// Those that are likely to hold its connections.
    expected: Vec<u32>,
    /// They and those that listen, when all connections were open.
    processes: Vec<ProcessInRun>,
    /// How many echoes there had been while somebody waited.
    echoes: Standstill<u64>,
    /// How many had been proven when there was nobody echoed to any more.
    stalled_at: Option<u64>,
}

/// All that was seen from beside.
pub(crate) struct SeenBeside {
    pub(crate) counters: BTreeMap<String, CounterChange>,
    pub(crate) process: Option<ServerProcess>,
    pub(crate) end: Option<ServerEnd>,
    pub(crate) accepted_stalled: bool,
    pub(crate) descriptor_limit: Option<u64>,
    pub(crate) descriptor_hard_limit: Option<u64>,
    pub(crate) backlog: Option<u64>,
    /// The memory group of the server that had least left.
    pub(crate) memory_group: Option<GroupSeen>,
    pub(crate) lowest_memory_available_bytes: Option<u64>,
    pub(crate) time_wait_peak: Option<u64>,
    /// The file with the quota of processor time that held the server back.
    pub(crate) cpu_quota: Option<String>,
    pub(crate) processes: Vec<ProcessInRun>,
    /// For what reasons the kernel dropped packets, or why that is not known.
    pub(crate) drops: DropReasons,
    pub(crate) warnings: Vec<Warning>,
}

impl Beside {
    /// Begins to look at the server that listens on these addresses. `None` when nobody listens on them in this network
    /// namespace: what its counters say would then be of somebody else.
    pub(crate) fn begin(servers: &[SocketAddr]) -> Option<Self> {
        let mut ports: Vec<u16> = servers.iter().map(SocketAddr::port).collect();
        ports.sort_unstable();
        ports.dedup();
        let found = find_server(&ports).ok()?;
        let hidden = found.what_is_hidden();
        let config = |pid| CollectorConfig {
            server_pid: pid,
            finds_holders: true,
            ports: ports.clone(),
            ..CollectorConfig::default()
        };
        // It may end between the two steps; the listener is looked at all the same.
        let mut collector =
            Collector::new(config(found.pid)).or_else(|_| Collector::new(config(None))).ok()?;
        let mut signs = ServerSigns::default();
        let first = collector.tick();
        signs.look(&first);
        let mut beside = Self {
            pid: collector.pid(ProcessSide::Server),
            descriptor_hard_limit: collector
                .pid(ProcessSide::Server)
                .and_then(|pid| limits::of_process(pid, Resource::OpenFiles).ok())
                .map(|limit| limit.hard),
            collector,
            signs,
            last: first.clone(),
            first,
            levels: Levels::default(),
            begun: Instant::now(),
            last_look: Instant::now(),
            hidden,
            expected: found.expected,
            processes: Vec::new(),
            echoes: Standstill::default(),
            stalled_at: None,
        };
        beside.levels.look(&beside.last);
        Some(beside)
    }

    /// What cannot be seen of the server, in words.
    pub(crate) fn hidden(&self) -> Option<&str> {
        self.hidden.as_deref()
    }

    /// Notes the limits of the server, as they are before the first connect, for the forecast. Where one process has
    /// several descriptor tables, no one limit bounds it.
    pub(crate) fn note_limits(&self, host: &mut HostSnapshot) {
        host.backlog = self.first.listener.and_then(|listener| listener.backlog);
        let holder = self.expected.first().copied().or(self.pid);
        let users = holder.map(|pid| (real_user(pid), real_user(std::process::id())));
        host.watches_apart = matches!(users, Some((Ok(server), Ok(own))) if server != own);
        if self.expected.len() > 1 {
            *host = limits_of_processes(&self.expected, std::mem::take(host));
            return;
        }
        let limit = holder.and_then(|pid| limits::of_process(pid, Resource::OpenFiles).ok());
        host.server_nofile = limit.map(|limit| limit.soft);
        if let Some(seen) = self.first.server.descriptors {
            host.server_tables = seen.tables > 1;
            host.server_per_table =
                seen.limit.filter(|_| seen.tables == 1).map(|limit| limit.saturating_sub(seen.open));
        }
    }

    /// Looks when a second has passed. `proves` says that connections are to be echoed to.
    pub(crate) fn look_if_due(&mut self, now: Instant, counts: &LiveCounts, proves: bool) {
        if now.duration_since(self.last_look) >= INTERVAL {
            self.look(now);
            // Those who wait may be somebody else's, and then no echo to this swarm tells of them.
            let echoed = (proves && counts.in_flight > 0).then_some(counts.messages);
            self.look_for_a_stall(now, echoed, counts.verified);
        }
    }

    /// Looks at the server's processes while all connections, so many, are open. Of very many it is not looked up once more
    /// who holds them.
    pub(crate) fn look_at_processes(&mut self, open: u64) {
        let memory = (open <= MOST_LOOKED_UP).then(|| self.collector.snapshot().server).flatten();
        self.look(Instant::now());
        self.processes = self.last.processes.iter().map(|process| process.in_run(memory.as_ref())).collect();
    }

    /// This process did not run for a while: what stood still meanwhile may have done so with it.
    pub(crate) fn after_a_gap(&mut self) {
        self.signs.after_a_gap();
        self.echoes = Standstill::default();
    }

    /// Other listeners of the namespace hide a server that has stopped accepting, unless its process may be seen. But
    /// all that it accepts it echoes to, as it has done before: while some wait and nobody is echoed to, nobody is
    /// accepted. Where somebody is proven later it was a pause.
    fn look_for_a_stall(&mut self, now: Instant, echoed: Option<u64>, proven: u64) {
        self.stalled_at = self.stalled_at.filter(|then| proven <= *then);
        let waits = self.last.listener.is_some_and(|listener| listener.waiting > 0);
        let echoed = echoed.filter(|echoed| waits && *echoed > 0);
        if self.echoes.look(echoed, now.duration_since(self.begun)) {
            self.stalled_at.get_or_insert(proven);
        }
    }

    /// Looks for the last time, before the connections are closed. With `short` the sockets of the server are counted
    /// too, which takes the kernel less than 1 µs for each socket on this machine. One that has taken connections down may
    /// be about to end, and is waited for with `breath`.
    pub(crate) fn end(mut self, short: bool, breath: Option<LastBreath>) -> SeenBeside {
        self.look(Instant::now());
        let gone = self.has_ended(breath);
        let census = short.then(|| self.collector.census().ok()).flatten();
        let census = census.as_ref().map(CensusSeen::from);
        SeenBeside {
            drops: self.collector.drop_reasons(&self.levels),
            counters: self.levels.changes(),
            process: self.pid.map(|pid| {
                let census = census.as_ref().map(|census| (census.server_side, census.not_accepted));
                server_process(&self.signs, pid, census)
            }),
            end: gone.then_some(ServerEnd::Gone),
            accepted_stalled: self.signs.accepted_stalled || self.stalled_at.is_some(),
            descriptor_limit: self.signs.descriptor_limit,
            descriptor_hard_limit: self.descriptor_hard_limit,
            backlog: self.signs.queue.backlog,
            memory_group: self.levels.scarcest_group().cloned(),
            lowest_memory_available_bytes: self.levels.lowest_memory_available_bytes(),
            cpu_quota: self.collector.server_cpu_quota(),
            processes: self.processes,
            time_wait_peak: self.levels.highest(counter::TIME_WAIT),
            warnings: self.hidden.into_iter().map(|text| Warning::new("server-hidden", text)).collect(),
        }
    }

    /// Whether the server has ended, in the end.
    fn has_ended(&mut self, breath: Option<LastBreath>) -> bool {
        let Some(mut breath) = breath.filter(|_| self.pid.is_some()) else {
            return self.collector.is_gone(ProcessSide::Server);
        };
        while !breath.is_over(&self.collector, &self.last) && breath.goes_on(&self.last) {
            self.last = self.collector.tick();
            self.levels.look(&self.last);
        }
        breath.is_over(&self.collector, &self.last)
    }

    fn look(&mut self, now: Instant) {
        self.last_look = now;
        self.last = self.collector.tick();
        self.signs.look(&self.last);
        self.levels.look(&self.last);
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_listener_of_this_very_process_is_seen_with_what_waits_in_it() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        let beside = Beside::begin(&[address]).expect("somebody listens");
        let mut host = HostSnapshot::default();
        beside.note_limits(&mut host);
        assert!(!host.watches_apart && host.server_nofile.is_some(), "it is of the same user");
        let clients: Vec<TcpStream> =
            (0..3).map(|_| TcpStream::connect(address).expect("room in the queue")).collect();
        let seen = beside.end(true, Some(LastBreath::begin(true)));
        assert_eq!(seen.counters.get(counter::LISTEN_OVERFLOWS).map(|change| change.before), Some(0));
        let process = seen.process.expect("its own process may be seen");
        assert_eq!((process.established, process.not_accepted), (Some(3), Some(3)));
        assert!(process.most_descriptors > Some(3) && seen.backlog.is_some());
        assert!(seen.end.is_none() && !seen.accepted_stalled);
        assert_eq!(process.listens, Some(true));
        drop(clients);
    }

    #[test]
    fn who_waits_at_a_server_is_no_sign_of_a_stall_while_this_swarm_waits_for_nothing() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        let mut beside = Beside::begin(&[address]).expect("somebody listens");
        let _somebody_else = TcpStream::connect(address).expect("room in the queue");
        let mut seconds = 0_u32;
        let mut stalls = |counts: LiveCounts, proves: bool| {
            for _ in 0..4 {
                seconds += 1;
                beside.look_if_due(Instant::now() + seconds * INTERVAL, &counts, proves);
            }
            beside.stalled_at.is_some()
        };
        let counts = LiveCounts { in_flight: 0, messages: 7, ..LiveCounts::default() };
        assert!(!stalls(counts, true), "it holds, and nothing of it is under way");
        let counts = LiveCounts { in_flight: 1, ..counts };
        assert!(!stalls(counts, false), "it asks for no echo");
        assert!(stalls(counts, true));
        assert!(stalls(LiveCounts { messages: 8, ..counts }, true), "an echo to who is held says nothing");
        let goes_on = LiveCounts { verified: 1, messages: 9, ..counts };
        assert!(!stalls(goes_on, false), "somebody was taken after it");
        assert!(stalls(goes_on, true), "and then nobody again");
    }

    #[test]
    fn where_nobody_listens_nothing_is_said() {
        let address =
            TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
        assert!(Beside::begin(&[address]).is_none());
    }
}
