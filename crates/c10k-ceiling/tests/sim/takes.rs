//! Whom a server of other people's takes: its numbers, its rate, and its processes.

use crate::abroad::{OnTop, Rule};
use crate::clock::{Event, SECOND};
use crate::sim::{AtClient, AtServer, Sim};

impl Sim<'_> {
    fn process_of(&self, c: u32) -> usize {
        let spread = (u64::from(c) ^ self.scenario.seed).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33;
        (spread % self.scenario.world.abroad.processes.max(1)) as usize
    }

    /// Whether that process takes nobody, though its listener is there.
    fn is_dead(&self, process: usize) -> bool {
        self.scenario.world.abroad.one_is_dead && process == 0
    }

    /// Whether the listener that a SYN falls to, of several, has a full queue.
    pub(crate) fn its_own_queue_is_full(&self, c: u32) -> bool {
        let waiting = self.abroad.stuck.get(self.process_of(c)).copied().unwrap_or(0);
        self.scenario.world.abroad.each_listens && waiting > self.scenario.settings.queue_length()
    }

    /// Whether the server, which takes so many a second, has taken them in this one; else it takes one more.
    fn has_taken_its_share(&mut self) -> bool {
        let Some((most, _)) = self.scenario.world.abroad.takes_a_second else { return false };
        let second = self.clock.now_us / SECOND;
        let taken = &mut self.abroad.taken;
        if taken.0 != second {
            *taken = (second, 0);
        }
        let is_over = taken.1 >= most;
        taken.1 += u64::from(!is_over);
        is_over
    }

    /// A refusal of a rule, or the end that a server makes of who comes on top, is at the client.
    pub(crate) fn turned_away(&mut self, c: u32) {
        let abroad = &self.scenario.world.abroad;
        let rules = [abroad.most_of_a_source, abroad.most_a_second];
        let errno = rules.into_iter().flatten().find_map(|(_, rule)| match rule {
            Rule::Rejects(errno) => Some(errno),
            Rule::Drops => None,
        });
        match (self.connections[c as usize].at_client, self.limit_of_its_own()) {
            (AtClient::Connecting, _) => self.lose(c, errno.unwrap_or("ECONNREFUSED")),
            (AtClient::Established, Some((_, OnTop::Ends(outcome), _))) => self.lose(c, outcome),
            (AtClient::Established, _) => {
                if let Some((_, outcome)) = self.scenario.world.abroad.takes_a_second {
                    self.lose(c, outcome);
                }
            }
            _ => {}
        }
    }

    /// A number at which the server stands, what it does then, and the wall that it is.
    pub(crate) fn limit_of_its_own(&self) -> Option<(u64, OnTop, &'static str)> {
        let abroad = &self.scenario.world.abroad;
        let own = abroad.limit.map(|(most, on_top)| (most, on_top, "server-limit"));
        let on_top = if abroad.websocket { "handshake-status-502" } else { "closed-by-server" };
        let of_ports = abroad.proxy_ports.map(|ports| (ports, OnTop::Ends(on_top), "proxy-ports-exhausted"));
        own.into_iter().chain(of_ports).min_by_key(|(most, ..)| *most)
    }

    /// A server that ends who comes on top takes one from its queue, and ends it.
    pub(crate) fn ends_who_comes_on_top(&mut self, c: u32) -> bool {
        let limit = self.limit_of_its_own().filter(|(most, ..)| self.server.open >= *most);
        let wall = match limit {
            Some((_, OnTop::Ends(_), wall)) => wall,
            _ if self.has_taken_its_share() => "a rate of the server's",
            _ => return false,
        };
        self.server.accepted += 1;
        self.connections[c as usize].at_server = AtServer::Closed;
        self.refused_by(wall);
        self.clock.after(self.scenario.world.delay_us, Event::TurnedAway(c));
        true
    }

    /// How many connections each process has room for.
    fn room_of_a_process(&self) -> u64 {
        let settings = &self.scenario.settings;
        settings.nofile(settings.server_nofile).saturating_sub(crate::settings::OWN_DESCRIPTORS)
    }

    /// Whether there is no process that could take one more, of several.
    pub(crate) fn all_processes_are_full(&self) -> bool {
        let (processes, room) = (self.scenario.world.abroad.processes as usize, self.room_of_a_process());
        let full = self.abroad.of_process.iter().filter(|(open, _)| *open >= room).count();
        processes > 1 && full >= processes
    }

    /// The process that takes it; `None` where its own is full, and it stays in the queue of that one.
    pub(crate) fn goes_to_a_process(&mut self, c: u32) -> bool {
        let (processes, room) =
            (self.scenario.world.abroad.processes.max(1) as usize, self.room_of_a_process());
        self.abroad.of_process.resize(processes, (0, 0));
        let mut process = self.process_of(c);
        let is_dead = self.is_dead(process);
        if processes > 1 && (is_dead || self.abroad.of_process[process].0 >= room) {
            if self.scenario.world.abroad.each_listens {
                self.abroad.stuck.resize(processes, 0);
                self.abroad.stuck[process] += 1;
                self.refused_by(if is_dead { "server-stopped-accepting" } else { "nofile-server" });
                return false;
            }
            let has_room = |(open, _): &(u64, u64)| *open < room;
            process = self.abroad.of_process.iter().position(has_room).unwrap_or(process);
        }
        let (open, most) = &mut self.abroad.of_process[process];
        *open += 1;
        *most = (*most).max(*open);
        self.connections[c as usize].process = process as u32;
        true
    }
}
