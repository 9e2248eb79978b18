//! The way of a SYN to the listener and of its answer back, with all that may drop it.

use crate::abroad::{NO_WAY_BACK, NoWayBack};
use crate::clock::{Event, SECOND};
use crate::sim::{AtClient, AtServer, Sim};

/// When a SYN without an answer is sent again, seconds after the one before (tcp_syn_linear_timeouts = 4).
const SYN_TIMEOUTS_SECS: [u64; 7] = [1, 1, 1, 1, 1, 2, 4];
/// The first time that data without an acknowledgement is sent again, µs (TCP_RTO_MIN); doubled each time.
const DATA_TIMEOUT_US: u64 = SECOND / 5;

/// Bits that a connect with its proof takes of a line: counted at lo with both directions, or of a link with two ends the
/// direction that has more.
pub(crate) const fn bits_to_connect(on_one_link: bool) -> u64 {
    if on_one_link { 336 * 8 } else { 606 * 8 }
}

impl Sim<'_> {
    /// A SYN leaves the client.
    pub(crate) fn send_syn(&mut self, c: u32) {
        let tries = self.connections[c as usize].tries as usize;
        self.connections[c as usize].tries += 1;
        if let Some(secs) = SYN_TIMEOUTS_SECS.get(tries) {
            self.clock.after(secs * SECOND, Event::SynAgain(c));
        }
        if let Some(at_us) = self.goes_through(c) {
            self.clock.at(at_us, Event::SynAtListener(c));
        }
    }

    /// The timer of the client for its SYN.
    pub(crate) fn syn_again(&mut self, c: u32) {
        if self.connections[c as usize].at_client == AtClient::Connecting {
            self.counted.syn_retransmits += 1;
            self.send_syn(c);
        }
    }

    /// When a SYN is at the listener; `None` where it is dropped on its way.
    fn goes_through(&mut self, c: u32) -> Option<u64> {
        let world = &self.scenario.world;
        if !self.is_tracked(c) {
            return None;
        }
        let is_filtered =
            self.swarm.established >= world.filtered_after && self.chance.per_mille(world.filtered_per_mille);
        if is_filtered {
            self.refused_by("firewall-drop");
            self.drops("NETFILTER_DROP", 1);
            return None;
        }
        if !self.passes_abroad(c) {
            return None;
        }
        let world = &self.scenario.world;
        if world.path_lost_per_mille > 0 && self.chance.per_mille(world.path_lost_per_mille) {
            self.refused_by("path-loss");
            return None;
        }
        let connection = &mut self.connections[c as usize];
        if connection.was_lost_before {
            connection.was_lost_before = false;
        } else if self.chance.per_mille(world.lost_per_mille) {
            connection.was_lost_before = true;
            return None;
        }
        let at_us = self.over_the_link()?;
        self.through_the_input_queue(at_us).map(|at_us| at_us + world.delay_us)
    }

    /// The table of tracked connections has an entry for it, or room for one.
    fn is_tracked(&mut self, c: u32) -> bool {
        let Some(max) = self.scenario.settings.conntrack_max else { return true };
        if self.connections[c as usize].is_tracked {
            return true;
        }
        if self.counted.conntrack >= max {
            self.counted.conntrack_dropped += 1;
            self.drops("NETFILTER_DROP", 1);
            self.refused_by("conntrack");
            return false;
        }
        self.counted.conntrack += 1;
        self.connections[c as usize].is_tracked = true;
        true
    }

    /// A link carries one after the other, and a queue before it holds what it can.
    fn over_the_link(&mut self) -> Option<u64> {
        let now = self.clock.now_us;
        let Some(rate) = self.scenario.settings.link_bits_per_second else { return Some(now) };
        let bits = bits_to_connect(self.scenario.world.on_one_link);
        let lasts = bits * SECOND / rate;
        let begins = self.link_free_at_us.max(now);
        if begins - now + lasts > self.scenario.world.link_queue_us {
            self.counted.link_dropped += 1;
            self.drops("QDISC_DROP", 1);
            self.refused_by("bandwidth");
            return None;
        }
        self.link_free_at_us = begins + lasts;
        if self.link_free_at_us / SECOND != self.link_second {
            (self.link_second, self.link_bits) = (self.link_free_at_us / SECOND, 0);
        }
        self.link_bits += bits;
        self.counted.link_busiest_bits = self.counted.link_busiest_bits.max(self.link_bits);
        Some(self.link_free_at_us)
    }

    /// A processor takes one packet after the other from its input queue.
    fn through_the_input_queue(&mut self, at_us: u64) -> Option<u64> {
        let (settings, world) = (&self.scenario.settings, &self.scenario.world);
        let begins = self.softirq.free_at_us.max(at_us);
        let waiting = (begins - at_us) / world.softirq_us.max(1);
        if waiting >= settings.netdev_max_backlog {
            let dropped = 1 + world.packets_beside;
            self.counted.softnet_dropped += dropped;
            self.drops("CPU_BACKLOG", dropped);
            self.refused_by("netdev-backlog");
            return None;
        }
        let lasts = world.softirq_us * (1 + world.packets_beside);
        self.softirq.free_at_us = begins + lasts;
        self.softirq.used_us += lasts;
        Some(begins + world.softirq_us)
    }

    /// tcp_conn_request() of net/ipv4/tcp_input.c.
    pub(crate) fn syn_at_listener(&mut self, c: u32) {
        let (settings, world) = (&self.scenario.settings, &self.scenario.world);
        if !world.listens || self.server.end.is_some() {
            self.clock.after(world.delay_us, Event::ResetAtClient(c));
            return;
        }
        if self.connections[c as usize].at_server == AtServer::HalfOpen {
            return self.send_syn_ack(c);
        }
        let queue_length = settings.queue_length();
        if self.server.half_open >= queue_length && !settings.syncookies {
            self.counted.req_queue_full_drop += 1;
            return self.drop_at_listener("syn-queue");
        }
        if self.server.half_open >= queue_length {
            self.counted.req_queue_full_cookies += 1;
        }
        if self.server.queue.len() as u64 > queue_length {
            return self.overflow();
        }
        if self.its_own_queue_is_full(c) {
            self.counted.listen_overflows += 1;
            return self.drop_at_listener("server-stopped-accepting");
        }
        if self.has_no_way_back(c, NoWayBack::AtServer) {
            self.counted.out_no_routes += 1;
            return self.drop_at_listener(NO_WAY_BACK);
        }
        let left = settings.max_syn_backlog.saturating_sub(self.server.half_open);
        if !settings.syncookies && left < settings.max_syn_backlog / 4 {
            return self.drop_at_listener("syn-queue");
        }
        self.connections[c as usize].at_server = AtServer::HalfOpen;
        self.server.half_open += 1;
        self.send_syn_ack(c);
    }

    fn overflow(&mut self) {
        self.counted.listen_overflows += 1;
        let why = self.why_nobody_accepts().unwrap_or("accept-queue");
        self.drop_at_listener(why);
    }

    /// Whatever the listener drops is counted at its socket and in `ListenDrops`.
    fn drop_at_listener(&mut self, limit: &'static str) {
        self.counted.listen_drops += 1;
        self.counted.listener_drops += 1;
        self.refused_by(limit);
    }

    fn send_syn_ack(&mut self, c: u32) {
        if self.finds_neighbour(c) && !self.loses_the_answer(c) {
            self.clock.after(self.scenario.world.delay_us, Event::SynAckAtClient(c));
        }
    }

    /// On a link each source address is a neighbour of the server.
    fn finds_neighbour(&mut self, c: u32) -> bool {
        let source = c as usize % self.neighbours.len();
        if !self.scenario.world.on_one_link || self.neighbours[source] {
            return true;
        }
        if self.counted.neighbours >= self.scenario.settings.neighbours_max {
            self.counted.table_fulls += 1;
            self.drops("NEIGH_CREATEFAIL", 1);
            self.refused_by("neighbour-table");
            return false;
        }
        self.counted.neighbours += 1;
        self.neighbours[source] = true;
        true
    }

    /// The last ACK, or data in its place: tcp_v4_syn_recv_sock() of net/ipv4/tcp_ipv4.c.
    pub(crate) fn ack_at_listener(&mut self, c: u32) {
        if self.server.end.is_some() {
            self.clock.after(self.scenario.world.delay_us, Event::ResetAtClient(c));
            return;
        }
        let connection = self.connections[c as usize];
        if connection.at_server != AtServer::HalfOpen || connection.at_client == AtClient::Lost {
            return;
        }
        if self.server.queue.len() as u64 > self.scenario.settings.queue_length() {
            self.overflow();
            self.drops("TCP_LISTEN_OVERFLOW", 1);
            self.counted.data_retransmits += 1;
            let wait_us = DATA_TIMEOUT_US << (connection.tries.min(6));
            self.connections[c as usize].tries += 1;
            self.clock.after(wait_us, Event::AckAtListener(c));
            return;
        }
        self.server.half_open -= 1;
        self.connections[c as usize].at_server = AtServer::Queued;
        self.server.queue.push_back(c);
        self.wake_server();
    }
}
