//! The server: it accepts, echoes, and is full, stopped or gone.

use c10k_ceiling::ServerEnd;

use crate::abroad::OnTop;
use crate::clock::Event;
use crate::scenario::{Answer, Fate};
use crate::settings::OWN_DESCRIPTORS;
use crate::sim::{AtClient, AtServer, Sim, Whose};

/// What the OOM killer signs with.
const SIGKILL: i32 = 9;

impl Sim<'_> {
    /// Somebody is in the queue, or there is room again.
    pub(crate) fn wake_server(&mut self) {
        let server = &mut self.server;
        if !server.is_woken && !server.is_stopped && server.end.is_none() && !server.queue.is_empty() {
            server.is_woken = true;
            let at_us = server.worker.free_at_us.max(server.looks_again_us);
            self.clock.at(at_us, Event::Accept);
        }
    }

    /// The server takes one from its queue.
    pub(crate) fn accept(&mut self) {
        self.server.is_woken = false;
        if self.server.is_stopped || self.server.end.is_some() || self.server.queue.is_empty() {
            return;
        }
        if let Some((limit, errno)) = self.cannot_accept() {
            if let Some(errno) = errno {
                *self.server.accept_errors.entry(errno).or_default() += 1;
            }
            if !self.server.is_paused {
                self.server.paused += 1;
            }
            self.server.is_paused = true;
            return self.refused_by(limit);
        }
        self.server.is_paused = false;
        let Some(c) = self.server.queue.pop_front() else { return };
        if self.ends_who_comes_on_top(c) || !self.goes_to_a_process(c) {
            return self.wake_server();
        }
        let done_us = self.work(Whose::Server, self.scenario.world.server_us);
        self.server.looks_again_us = self.clock.now_us + self.scenario.world.accept_pause_us;
        self.take(c);
        if self.server.end.is_none() {
            self.clock.at(done_us, Event::ProbeAtServer(c));
            self.fates_of_accepting();
        }
        self.wake_server();
    }

    fn take(&mut self, c: u32) {
        let server = &mut self.server;
        server.accepted += 1;
        if self.connections[c as usize].at_client == AtClient::Lost {
            // It is closed as soon as it is read.
            self.connections[c as usize].at_server = AtServer::Closed;
            return;
        }
        server.open += 1;
        server.peak = server.peak.max(server.open);
        self.connections[c as usize].at_server = AtServer::Accepted;
        self.files += 1;
        self.watches += 1;
        self.counted.files = self.counted.files.max(self.files);
        self.charge_group();
        self.take_memory();
    }

    /// What keeps the server from accepting now: the limit, and what accept(2) or epoll_ctl(2) says.
    fn cannot_accept(&mut self) -> Option<(&'static str, Option<&'static str>)> {
        let (settings, world) = (&self.scenario.settings, &self.scenario.world);
        if settings.max_connections.is_some_and(|most| self.server.open >= most) {
            return Some(("server-max-connections", None));
        }
        let waits =
            |(most, on_top, _): &(u64, OnTop, _)| *on_top == OnTop::Waits && self.server.open >= *most;
        if let Some((_, _, wall)) = self.limit_of_its_own().filter(waits) {
            return Some((wall, None));
        }
        if self.files >= settings.file_max {
            return Some(("file-max", Some("ENFILE")));
        }
        if self.watches >= settings.epoll_watches {
            return Some(("epoll-watches", Some("ENOSPC")));
        }
        if world.abroad.processes > 1 {
            let is_full = !world.abroad.each_listens && self.all_processes_are_full();
            return is_full.then_some(("nofile-server", Some("EMFILE")));
        }
        let nofile = settings.nofile(settings.server_nofile);
        let room = nofile.saturating_sub(OWN_DESCRIPTORS) * self.server.tables;
        if self.server.open < room {
            return None;
        }
        if settings.server_tables {
            if self.starts_thread() {
                self.server.tables += 1;
                return None;
            }
            self.counted.server_threads_refused += 1;
            return Some(("threads", None));
        }
        let limit = if settings.server_nofile >= settings.nr_open { "nr-open" } else { "nofile-server" };
        Some((limit, (!world.server_is_careful).then_some("EMFILE")))
    }

    /// Whether the kernel starts one more thread in the group of both ends.
    pub(crate) fn starts_thread(&mut self) -> bool {
        if self.scenario.settings.pids_max.is_some_and(|most| self.pids >= most) {
            self.refused_by("threads");
            return false;
        }
        self.pids += 1;
        true
    }

    /// Why the queue is not being emptied; `None` for a server that accepts as fast as it can.
    pub(crate) fn why_nobody_accepts(&mut self) -> Option<&'static str> {
        if self.server.is_stopped {
            return Some("server-stopped-accepting");
        }
        if !self.server.is_paused {
            return None;
        }
        self.cannot_accept().map(|(limit, _)| limit)
    }

    /// An accepted socket is charged to the group of who accepts it.
    fn charge_group(&mut self) {
        let Some(limit) = self.scenario.settings.group_bytes else { return };
        let charged = self.counted.group_bytes + self.scenario.world.connection_bytes;
        if charged <= limit {
            self.counted.group_bytes = charged;
            return;
        }
        (self.counted.group_bytes, self.counted.group_failures) = (limit, self.counted.group_failures + 1);
        self.counted.group_oom_kills += 1;
        self.counted.oom_kills += 1;
        self.refused_by("cgroup-memory");
        self.end_server(ServerEnd::Killed(SIGKILL));
    }

    /// One more socket of either end in the machine's memory.
    pub(crate) fn take_memory(&mut self) {
        let world = &self.scenario.world;
        self.memory_bytes += world.connection_bytes;
        if self.memory_bytes > world.memory_bytes && self.server.end.is_none() {
            self.counted.oom_kills += 1;
            self.refused_by("ram");
            self.end_server(ServerEnd::Killed(SIGKILL));
        }
    }

    /// The accepted connection is read: its probe goes back, or whatever this server says.
    pub(crate) fn probe_at_server(&mut self, c: u32) {
        let world = &self.scenario.world;
        let is_there = self.connections[c as usize].at_server == AtServer::Accepted;
        if self.server.is_stopped || self.server.end.is_some() || !is_there || world.answer == Answer::Nothing
        {
            return;
        }
        let done_us = self.work(Whose::Server, world.server_us);
        let late_us = self.late_on_the_way();
        self.clock.at(done_us + world.delay_us + late_us, Event::EchoAtClient(c));
    }

    /// Its process ends: what it had is closed, and what waits in its queue is reset.
    pub(crate) fn end_server(&mut self, how: ServerEnd) {
        self.server.end = Some(how);
        let delay_us = self.scenario.world.delay_us;
        for c in 0..self.connections.len() as u32 {
            let at_server = &mut self.connections[c as usize].at_server;
            if matches!(at_server, AtServer::Accepted | AtServer::Queued | AtServer::HalfOpen) {
                // A connection whose probe is unread is reset (tcp_close); so is the one in the queue.
                let is_orderly = *at_server == AtServer::Accepted;
                *at_server = AtServer::Closed;
                self.clock.after(delay_us, Event::ResetAtClient(c));
                if is_orderly && self.connections[c as usize].at_client == AtClient::Verified {
                    self.lose(c, "closed-by-server");
                }
            }
        }
        self.server.open = 0;
        self.server.queue.clear();
    }

    /// The server's side of a connection that the client has closed.
    pub(crate) fn peer_closed(&mut self, c: u32) {
        if self.connections[c as usize].at_server != AtServer::Accepted || self.server.end.is_some() {
            return;
        }
        self.connections[c as usize].at_server = AtServer::Closed;
        self.server.open -= 1;
        self.files -= 1;
        self.watches -= 1;
        self.memory_bytes -= self.scenario.world.connection_bytes;
        if self.scenario.settings.group_bytes.is_some() {
            self.counted.group_bytes -= self.scenario.world.connection_bytes;
        }
        self.wake_server();
    }

    /// Something happens.
    pub(crate) fn meet(&mut self, fate: Fate) {
        match fate {
            Fate::Ends { how, .. } | Fate::EndsInHold { how } => {
                self.refused_by("server-died");
                self.end_server(how);
            }
            Fate::Stops { .. } | Fate::StopsInHold => {
                self.refused_by("server-stopped-accepting");
                self.server.is_stopped = true;
            }
            Fate::AddressesGo { one_in } => self.lose_some(one_in, "ETIMEDOUT"),
            Fate::Closes { one_in, in_good_order } => {
                self.lose_some(one_in, if in_good_order { "closed-by-server" } else { "ECONNRESET" });
            }
            Fate::ClosesWithData { count } => self.close_with_data(count),
            Fate::Buffers { pages_each } => self.buffer(pages_each),
            Fate::WayGoes => self.abroad.way_is_gone = true,
            Fate::Renews { count } => self.renew(count),
        }
    }

    fn lose_some(&mut self, one_in: u64, outcome: &'static str) {
        let some: Vec<u32> = self.open_ones().step_by(one_in as usize).collect();
        for c in some {
            self.refused_by("error-verdict");
            self.lose(c, outcome);
        }
    }

    /// Sockets that are closed with data unsent are orphans until that is acknowledged. Above the limit they are reset.
    fn close_with_data(&mut self, count: u64) {
        let max = self.scenario.settings.max_orphans;
        let open: Vec<u32> = self.open_ones().take(count as usize).collect();
        for c in open {
            // Another program closes as well.
            self.counted.orphans += 9;
            if self.counted.orphans > max {
                self.counted.orphans = max;
                self.counted.abort_on_memory += 9;
                self.refused_by("orphans");
                self.lose(c, "ECONNRESET");
            } else {
                self.lose(c, "closed-by-server");
            }
        }
    }

    /// Peers that read slowly: what is sent to them stays in buffers.
    fn buffer(&mut self, pages_each: u64) {
        let [_, pressure, most] = self.scenario.settings.tcp_mem_pages;
        let open: Vec<u32> = self.open_ones().collect();
        for c in open {
            let pages = self.counted.tcp_mem_pages + pages_each;
            if self.counted.tcp_mem_pages <= pressure && pages > pressure {
                self.counted.memory_pressures += 1;
            }
            if pages > most {
                self.counted.abort_on_memory += 1;
                self.refused_by("tcp-mem");
                self.lose(c, "ECONNRESET");
            } else {
                self.counted.tcp_mem_pages = pages;
            }
        }
    }

    pub(crate) fn open_ones(&self) -> impl Iterator<Item = u32> + '_ {
        let is_open = |connection: &crate::sim::Connection| connection.at_client == AtClient::Verified;
        (0..self.connections.len() as u32).filter(move |c| is_open(&self.connections[*c as usize]))
    }
}
