//! The swarm: it connects, asks for an echo, waits no longer than it was told, and asks again at the end.

use c10k_record::{GrowthEvidence, GrowthStop, Outcome, PhaseName, PortsInPlan};

use crate::clock::{Event, SECOND};
use crate::scenario::{Answer, Fate};
use crate::settings::OWN_DESCRIPTORS;
use crate::sim::{AtClient, AtServer, Connection, Sim, Whose};

/// So many lost in a row end the growth.
const GIVE_UP_AFTER: u64 = 64;

impl Sim<'_> {
    /// The next connect, if it is time for one.
    pub(crate) fn arrive(&mut self) {
        let (settings, now) = (&self.scenario.settings, self.clock.now_us);
        if self.phase != PhaseName::Ramp {
            return;
        }
        if self.swarm.growth_stopped.is_some() || self.swarm.attempted >= self.swarm.target {
            return self.settle_ramp();
        }
        if self.swarm.in_flight >= settings.in_flight && settings.rate.is_none() {
            self.swarm.is_waiting = true;
            return;
        }
        let (since_us, before) = self.swarm.paced_since;
        let intended = |rate: u64| since_us + (self.swarm.attempted - before) * SECOND / rate.max(1);
        let intended_us = settings.rate.map(intended);
        if let Some(intended_us) = intended_us.filter(|intended_us| *intended_us > now) {
            self.clock.at(intended_us, Event::Arrive);
            return;
        }
        if let Some(why) = self.cannot_begin() {
            self.stop_growing(why);
            return self.settle_ramp();
        }
        let done_us = self.work(Whose::Swarm, self.scenario.world.swarm_us);
        self.begin(intended_us);
        self.clock.at(done_us + self.scenario.world.begin_late_us, Event::Arrive);
    }

    fn begin(&mut self, intended_us: Option<u64>) {
        let now = self.clock.now_us;
        self.swarm.attempted += 1;
        self.swarm.late_us.extend(intended_us.map(|intended_us| now - intended_us));
        if let Some((limit, errno)) = self.refuses_socket() {
            self.refused_by(limit);
            self.count_lost(errno, self.swarm.attempted - 1);
            if errno == "EMFILE" || errno == "ENFILE" {
                self.stop_growing((GrowthStop::NoDescriptors, Some(errno)));
            }
            return;
        }
        self.files += 1;
        self.watches += 1;
        self.counted.files = self.counted.files.max(self.files);
        self.take_memory();
        let c = self.connections.len() as u32;
        self.connections.push(Connection {
            number: self.swarm.attempted - 1,
            at_client: AtClient::Connecting,
            at_server: AtServer::Unknown,
            begun_us: now,
            intended_us: intended_us.unwrap_or(now),
            asked_us: 0,
            tries: 0,
            is_tracked: false,
            was_lost_before: false,
            last_byte_us: now,
            is_unacked: false,
            is_ruled: false,
            process: 0,
        });
        self.swarm.open += 1;
        self.swarm.in_flight += 1;
        self.clock.after(self.scenario.world.connect_timeout_us, Event::ConnectTimeout(c));
        self.send_syn(c);
    }

    /// What the kernel says to socket(2), epoll_ctl(2) or connect(2) at once.
    fn refuses_socket(&self) -> Option<(&'static str, &'static str)> {
        let settings = &self.scenario.settings;
        let nofile = settings.nofile(settings.swarm_nofile);
        let is_full = self.swarm.open + OWN_DESCRIPTORS >= nofile;
        if !settings.swarm_tables && is_full {
            return Some((self.swarm_limit(), "EMFILE"));
        }
        if self.files >= settings.file_max {
            return Some(("file-max", "ENFILE"));
        }
        if self.watches >= settings.epoll_watches {
            return Some(("epoll-watches", "ENOSPC"));
        }
        if self.scenario.world.swarm_memory_at.is_some_and(|most| self.swarm.open >= most) {
            return Some(("the swarm's memory group", "ENOMEM"));
        }
        // The sources take turns.
        let is_of_the_first = self.swarm.attempted.is_multiple_of(settings.sources);
        if self.source_is_gone() && is_of_the_first {
            return Some(("source-address-gone", "EADDRNOTAVAIL"));
        }
        (!self.scenario.world.has_route).then_some(("no-route", "ENETUNREACH"))
    }

    /// Whether one of the sources was taken away.
    pub(crate) fn source_is_gone(&self) -> bool {
        let goes_now = self.scenario.world.source_goes_after.is_some_and(|after| self.swarm.open >= after);
        goes_now || self.refusals.contains_key("source-address-gone")
    }

    /// The limit on the swarm's one table: its own, or where that stands as high as it may, the kernel's.
    fn swarm_limit(&self) -> &'static str {
        let settings = &self.scenario.settings;
        if settings.swarm_nofile >= settings.nr_open { "nr-open" } else { "nofile-swarm" }
    }

    /// What the swarm knows itself before it tries.
    fn cannot_begin(&mut self) -> Option<(GrowthStop, Option<&'static str>)> {
        let (settings, world) = (&self.scenario.settings, &self.scenario.world);
        let per_table = settings.nofile(settings.swarm_nofile).saturating_sub(OWN_DESCRIPTORS);
        let open = self.swarm.open;
        if settings.swarm_tables && open >= per_table * self.swarm.tables {
            if !self.starts_thread() {
                self.counted.swarm_threads_refused += 1;
                return Some((GrowthStop::NoThreads, Some("EAGAIN")));
            }
            self.swarm.tables += 1;
        }
        if !settings.swarm_tables && world.swarm_is_careful && open >= per_table {
            self.refused_by(self.swarm_limit());
            return Some((GrowthStop::NoDescriptors, None));
        }
        let ports = self.ports();
        if ports.in_use + ports.time_wait + ports.taken < ports.planned {
            return None;
        }
        let (reserved, sources) = (settings.reserved_ports * settings.sources, settings.sources);
        let waiting = ports.taken + ports.time_wait;
        // Without those there are as many as are asked for, or twice as many.
        let is_enough = ports.planned >= self.swarm.target;
        let limit = if waiting > 0 && (is_enough || waiting * 2 >= ports.planned) {
            "time-wait-ports"
        } else if reserved > 0
            && ports.planned < self.scenario.target
            && ports.planned + reserved >= self.scenario.target
        {
            "ports-reserved"
        } else {
            debug_assert!(sources > 0);
            "ports-exhausted"
        };
        self.refused_by(limit);
        self.swarm.growth_evidence = Some(GrowthEvidence { ports: Some(ports), ..GrowthEvidence::default() });
        Some((GrowthStop::NoPorts, None))
    }

    /// How the tuples of the plan stand.
    fn ports(&self) -> PortsInPlan {
        let (settings, world) = (&self.scenario.settings, &self.scenario.world);
        let is_loopback = !world.on_one_link;
        let is_used_again = settings.tw_reuse == 1 || settings.tw_reuse == 2 && is_loopback;
        let planned = settings.ports() * settings.sources;
        PortsInPlan {
            planned,
            in_use: self.swarm.open,
            time_wait: if is_used_again { 0 } else { self.swarm.closed_by_fin },
            taken: if is_used_again { 0 } else { world.time_wait.min(planned) },
        }
    }

    fn stop_growing(&mut self, (why, errno): (GrowthStop, Option<&'static str>)) {
        if self.swarm.growth_stopped.is_none() {
            self.swarm.growth_stopped = Some(why);
            let at_ms = self.clock.now_us / 1000;
            let errno = errno.map(Outcome::named);
            let evidence = self.swarm.growth_evidence.take().unwrap_or_default();
            self.swarm.growth_evidence = Some(GrowthEvidence { at_ms, errno, ..evidence });
        }
    }

    pub(crate) fn syn_ack_at_client(&mut self, c: u32) {
        let connection = &mut self.connections[c as usize];
        if connection.at_client != AtClient::Connecting {
            return;
        }
        let now = self.clock.now_us;
        connection.at_client = AtClient::Established;
        connection.tries = 0;
        connection.asked_us = now;
        self.swarm.established += 1;
        self.swarm.connect_us.push(now - connection.begun_us);
        self.swarm.response_us.push(now - connection.intended_us);
        let world = &self.scenario.world;
        self.clock.after(world.probe_timeout_us, Event::ProbeTimeout(c));
        self.clock.after(world.delay_us, Event::AckAtListener(c));
    }

    pub(crate) fn echo_at_client(&mut self, c: u32) {
        let now = self.clock.now_us;
        let connection = self.connections[c as usize];
        if !matches!(connection.at_client, AtClient::Established | AtClient::Asked) {
            return;
        }
        if self.scenario.world.answer == Answer::SomethingElse {
            self.refused_by("not-an-echo-server");
            return self.lose(c, "corrupt");
        }
        // It is read when the swarm gets to it.
        let read_us = self.work(Whose::Swarm, self.scenario.world.swarm_us);
        let took_us = read_us.max(now) - connection.asked_us;
        self.swarm.failed_in_a_row = 0;
        if connection.at_client == AtClient::Asked {
            self.connections[c as usize].at_client = AtClient::Held;
            self.swarm.held += 1;
            self.swarm.echo_us.push(took_us);
            self.hears(c);
            self.ask_next();
        } else {
            self.connections[c as usize].at_client = AtClient::Verified;
            self.swarm.verified += 1;
            self.swarm.first_echo_us.push(took_us);
            self.swarm.last_verified_us = now;
            self.is_proven(c);
            self.landed();
        }
    }

    /// One less is under way.
    fn landed(&mut self) {
        self.swarm.in_flight -= 1;
        if std::mem::take(&mut self.swarm.is_waiting) {
            self.clock.after(0, Event::Arrive);
        } else {
            self.settle_ramp();
        }
    }

    pub(crate) fn reset_at_client(&mut self, c: u32) {
        match self.connections[c as usize].at_client {
            AtClient::Connecting => self.lose(c, "ECONNREFUSED"),
            AtClient::Established | AtClient::Verified | AtClient::Asked => self.lose(c, "ECONNRESET"),
            AtClient::Held | AtClient::Lost | AtClient::Released => {}
        }
    }

    pub(crate) fn connect_timeout(&mut self, c: u32) {
        if self.connections[c as usize].at_client == AtClient::Connecting {
            self.lose(c, "connect-timeout");
        }
    }

    pub(crate) fn probe_timeout(&mut self, c: u32) {
        let connection = self.connections[c as usize];
        let waited = self.clock.now_us - connection.asked_us >= self.scenario.world.probe_timeout_us;
        if waited && matches!(connection.at_client, AtClient::Established | AtClient::Asked) {
            if self.scenario.world.answer == Answer::Nothing {
                self.refused_by("not-an-echo-server");
            }
            self.lose(c, "probe-timeout");
        }
    }

    /// A connection is lost under that name, and closed.
    pub(crate) fn lose(&mut self, c: u32, outcome: &'static str) {
        let was = self.connections[c as usize].at_client;
        self.connections[c as usize].at_client = AtClient::Lost;
        self.swarm.open -= 1;
        self.files -= 1;
        self.watches -= 1;
        self.memory_bytes -= self.scenario.world.connection_bytes;
        self.leaves(c, outcome);
        self.count_lost(outcome, self.connections[c as usize].number);
        // What does not come through is not heard at the other end.
        if !self.connections[c as usize].is_unacked {
            self.peer_closed(c);
        }
        match was {
            AtClient::Connecting | AtClient::Established => self.landed(),
            AtClient::Asked => self.ask_next(),
            _ => {}
        }
    }

    fn count_lost(&mut self, outcome: &'static str, number: u64) {
        let at_ms = self.clock.now_us / 1000;
        self.lost_in_the_ramp(number);
        self.swarm.lost.entry((self.phase, outcome)).or_insert((0, at_ms)).0 += 1;
        self.swarm.failed_in_a_row += 1;
        let gives_up = GIVE_UP_AFTER.max(self.scenario.settings.in_flight);
        if self.phase == PhaseName::Ramp && self.swarm.failed_in_a_row >= gives_up {
            self.stop_growing((GrowthStop::NothingSucceeds, None));
        }
    }

    /// The ramp is over when nothing is under way and nothing more is begun.
    fn settle_ramp(&mut self) {
        let is_all = self.swarm.growth_stopped.is_some() || self.swarm.attempted >= self.swarm.target;
        if self.phase != PhaseName::Ramp || !is_all || self.swarm.in_flight > 0 {
            return;
        }
        self.ramp_is_over();
        let is_first = !self.loads.contains_key(&PhaseName::Hold);
        self.enter(PhaseName::Hold);
        let world = &self.scenario.world;
        self.clock.after(world.hold_us, Event::Verify);
        for (number, fate) in world.fates.iter().enumerate() {
            if is_first && !matches!(fate, Fate::Ends { .. } | Fate::Stops { .. }) {
                self.clock.after(world.hold_us / 2, Event::Fate(number));
            }
        }
    }

    /// Some are closed by the client, in good order, and as many are made anew.
    pub(crate) fn renew(&mut self, count: u64) {
        let all: Vec<u32> = self.open_ones().take(count as usize).collect();
        for c in all {
            self.connections[c as usize].at_client = AtClient::Released;
            self.swarm.released += 1;
            self.swarm.open -= 1;
            self.files -= 1;
            self.watches -= 1;
            self.memory_bytes -= self.scenario.world.connection_bytes;
            self.peer_closed(c);
            self.swarm.target += 1;
            if self.counted.time_wait >= self.scenario.settings.max_tw_buckets {
                self.counted.time_wait_overflow += 1;
                self.refused_by("time-wait-buckets");
            } else {
                self.counted.time_wait += 1;
                self.swarm.closed_by_fin += 1;
            }
        }
        self.enter(PhaseName::Ramp);
        self.swarm.paced_since = (self.clock.now_us, self.swarm.attempted);
        self.clock.after(0, Event::Arrive);
    }

    /// All that are open are asked once more, no more at a time than are made at a time.
    pub(crate) fn begin_to_verify(&mut self) {
        if self.phase != PhaseName::Hold {
            return;
        }
        self.enter(PhaseName::Verify);
        self.clock.after(2 * SECOND, Event::Sample);
        for _ in 0..self.scenario.settings.in_flight {
            self.ask_next();
        }
        self.close_when_all_are_asked();
    }

    fn ask_next(&mut self) {
        while let Some(connection) = self.connections.get(self.swarm.next_to_ask) {
            let c = self.swarm.next_to_ask as u32;
            let is_open = connection.at_client == AtClient::Verified;
            self.swarm.next_to_ask += 1;
            if is_open {
                self.ask(c);
                return;
            }
        }
        self.close_when_all_are_asked();
    }

    fn ask(&mut self, c: u32) {
        let world = &self.scenario.world;
        self.connections[c as usize].at_client = AtClient::Asked;
        self.connections[c as usize].asked_us = self.clock.now_us;
        self.clock.after(world.probe_timeout_us, Event::ProbeTimeout(c));
        let sent_us = self.work(Whose::Swarm, world.swarm_us);
        if self.data_passes(c) {
            self.clock.at(sent_us + world.delay_us, Event::ProbeAtServer(c));
        }
    }

    fn close_when_all_are_asked(&mut self) {
        let is_under_way = |connection: &Connection| connection.at_client == AtClient::Asked;
        let is_over = self.swarm.next_to_ask >= self.connections.len();
        if self.phase == PhaseName::Verify && is_over && !self.connections.iter().any(is_under_way) {
            self.enter(PhaseName::Close);
        }
    }
}
