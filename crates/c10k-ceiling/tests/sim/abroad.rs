//! What is other people's: a server with limits of its own, a proxy, and what stands on the way and forgets, refuses or loses.

use c10k_record::{
    AgeHistogram, AgeSpread, BegunOrder, FirewallRules, Listeners, LossAges, LossOrder, Outgoing, PhaseName,
    RunEvidence, SilentSample,
};

use crate::clock::{Event, MS, SECOND};
use crate::reasons::drop_reasons;
use crate::sim::{AtClient, AtServer, Sim};

/// What a server does with who comes on top of what it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnTop {
    /// It leaves them in its queue.
    Waits,
    /// It accepts them and ends them, which the client calls so.
    Ends(&'static str),
}

/// What a rule does with a SYN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// It answers with a reset or an ICMP error, which connect(2) returns so.
    Rejects(&'static str),
    Drops,
}

impl Rule {
    fn wall(self) -> &'static str {
        match self {
            Self::Rejects(_) => "filter-rejects",
            Self::Drops => "firewall-drop",
        }
    }
}

/// Where it is known that there is no way back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoWayBack {
    /// The server's machine drops the SYNs for that, and counts it (rp_filter).
    Filtered,
    /// The server's machine finds no route for its answers, and counts that.
    AtServer,
    /// A router between the ends finds none for them.
    AtRouter,
}

/// All that may be other people's; by default nothing is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Abroad {
    /// The server says nothing itself.
    pub(crate) is_foreign: bool,
    /// It stands on another machine, of which nothing is read.
    pub(crate) is_remote: bool,
    pub(crate) websocket: bool,
    /// A limit of its own, and what it does beyond.
    pub(crate) limit: Option<(u64, OnTop)>,
    /// Processes that take its connections, each with a descriptor table; 0 for one.
    pub(crate) processes: u64,
    /// Each of them has a listener of its own (SO_REUSEPORT).
    pub(crate) each_listens: bool,
    /// The first of them takes nobody, though its listener is there.
    pub(crate) one_is_dead: bool,
    /// It takes so many a second, and ends the others, which the client calls so.
    pub(crate) takes_a_second: Option<(u64, &'static str)>,
    /// Another process listens in its place when it has ended.
    pub(crate) starts_again: bool,
    /// It makes a connection of its own for each, and has so many source ports for that.
    pub(crate) proxy_ports: Option<u64>,
    /// It closes what was silent for so long, µs.
    pub(crate) idle_us: Option<u64>,
    /// A box on the way forgets what was silent for so long, µs.
    pub(crate) forgets_us: Option<u64>,
    /// A rule on how many connections one source may have.
    pub(crate) most_of_a_source: Option<(u64, Rule)>,
    /// A rule on how many may come in a second.
    pub(crate) most_a_second: Option<(u64, Rule)>,
    /// The rules may be read.
    pub(crate) rules_are_read: bool,
    /// There is no way back to one in so many sources.
    pub(crate) no_way_back: Option<(u64, NoWayBack)>,
    /// Data that is lost on the way and sent again, of a thousand.
    pub(crate) data_lost_per_mille: u64,
    /// A packet is late by up to so long, µs, and overtaken by others.
    pub(crate) way_jitter_us: u64,
}

/// What became of it in a run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    order: Option<LossOrder>,
    proven: u64,
    /// The first that was not yet begun when one was lost for the first time.
    begun_at_loss: Option<u64>,
    /// The numbers of those that were lost in the ramp.
    lost: Vec<u64>,
    lost_after_loss: u64,
    /// The highest number that each worker of the swarm has proven.
    last_proven: [Option<u64>; WORKERS as usize],
    last_proof_us: u64,
    ramp_over_us: u64,
    since_last_byte: AgeHistogram,
    at: AgeHistogram,
    /// Connections of each source that a rule counts.
    of_source: Vec<u64>,
    /// The second, and how many came in it.
    second: (u64, u64),
    /// Connections in each process, and the most there were.
    pub(crate) of_process: Vec<(u64, u64)>,
    /// Connections in the queue of each process that takes nobody, being full or dead.
    pub(crate) stuck: Vec<u64>,
    /// The second, and how many the server took in it.
    pub(crate) taken: (u64, u64),
    pub(crate) way_is_gone: bool,
    pub(crate) reverse_path: u64,
    last_echo_us: u64,
    silent: Option<SilentSample>,
}

/// What an answer is lost to that has no way; the wall `no-route` is this and a way there that is missing.
pub(crate) const NO_WAY_BACK: &str = "no way back";
/// Workers of a swarm, at the most.
const WORKERS: u64 = 4;
/// Between two looks at whether anybody is answered.
const NOBODY_US: u64 = 2 * SECOND;
/// The first time that data is sent again, µs.
pub(crate) const SENT_AGAIN_US: u64 = 200 * MS;

impl Sim<'_> {
    /// The source of a connection: they take turns.
    fn source_of(&self, c: u32) -> u64 {
        u64::from(c) % self.scenario.settings.sources
    }

    /// Whether a SYN comes through what stands on the way, which may refuse it.
    pub(crate) fn passes_abroad(&mut self, c: u32) -> bool {
        let abroad = &self.scenario.world.abroad;
        if self.abroad.way_is_gone {
            self.refused_by("path-lost");
            return false;
        }
        if let Some((most, rule)) = abroad.most_a_second {
            let second = self.clock.now_us / SECOND;
            if self.abroad.second.0 != second {
                self.abroad.second = (second, 0);
            }
            if self.abroad.second.1 >= most {
                return self.stopped_by(rule, c);
            }
            self.abroad.second.1 += 1;
        }
        if let Some((most, rule)) = abroad.most_of_a_source.filter(|_| !self.connections[c as usize].is_ruled)
        {
            let source = self.source_of(c) as usize;
            self.abroad.of_source.resize(self.scenario.settings.sources as usize, 0);
            if self.abroad.of_source[source] >= most {
                return self.stopped_by(rule, c);
            }
            self.abroad.of_source[source] += 1;
            self.connections[c as usize].is_ruled = true;
        }
        if self.has_no_way_back(c, NoWayBack::Filtered) {
            self.abroad.reverse_path += 1;
            self.drops("IP_RPFILTER", 1);
            self.refused_by("rp-filter");
            return false;
        }
        true
    }

    fn stopped_by(&mut self, rule: Rule, c: u32) -> bool {
        self.refused_by(rule.wall());
        match rule {
            Rule::Rejects(_) => self.clock.after(self.scenario.world.delay_us, Event::TurnedAway(c)),
            Rule::Drops => self.drops("NETFILTER_DROP", 1),
        }
        false
    }

    /// Whether there is no way back to the source of this connection, and it is there that this is known.
    pub(crate) fn has_no_way_back(&self, c: u32, place: NoWayBack) -> bool {
        let no_way_back = self.scenario.world.abroad.no_way_back.filter(|(_, there)| *there == place);
        no_way_back.is_some_and(|(one_in, _)| self.source_of(c).is_multiple_of(one_in))
    }

    /// An answer of the server's kernel is lost for want of a way back.
    pub(crate) fn loses_the_answer(&mut self, c: u32) -> bool {
        let is_lost = self.has_no_way_back(c, NoWayBack::AtRouter);
        if is_lost {
            self.refused_by(NO_WAY_BACK);
            self.drops("IP_INNOROUTES", 1);
        }
        is_lost
    }

    /// What a connection leaves when it ends: its process, its source's count in a rule, its age, its place in the order.
    pub(crate) fn leaves(&mut self, c: u32, outcome: &str) {
        let connection = self.connections[c as usize];
        if connection.at_server == AtServer::Accepted
            && let Some((open, _)) = self.abroad.of_process.get_mut(connection.process as usize)
        {
            *open = open.saturating_sub(1);
        }
        if connection.is_ruled {
            let source = self.source_of(c) as usize;
            self.abroad.of_source[source] -= 1;
            self.connections[c as usize].is_ruled = false;
        }
        let is_the_servers = !["corrupt", "probe-timeout"].contains(&outcome);
        if is_the_servers && matches!(self.phase, PhaseName::Hold | PhaseName::Verify) {
            let now_ms = self.clock.now_us / MS;
            let seen = &mut self.abroad;
            seen.since_last_byte.add(now_ms - connection.last_byte_us / MS);
            seen.at.add(now_ms);
        }
    }

    /// The worker of the swarm that has the connection of that number.
    fn worker_of(&self, number: u64) -> usize {
        (number % (1 + self.scenario.seed % WORKERS)) as usize
    }

    /// The connection of that number is lost while connecting, or as soon as it was begun.
    pub(crate) fn lost_in_the_ramp(&mut self, number: u64) {
        if self.phase != PhaseName::Ramp {
            return;
        }
        let next = self.swarm.attempted;
        let seen = &mut self.abroad;
        seen.lost.push(number);
        seen.begun_at_loss = Some(seen.begun_at_loss.map_or(next, |least| least.min(next)));
        let is_after = u64::from(Some(number) >= seen.begun_at_loss);
        let order = seen.order.get_or_insert_default();
        order.lost_after_proof += 1;
        seen.lost_after_loss += is_after;
    }

    /// One has its first echo.
    pub(crate) fn is_proven(&mut self, c: u32) {
        let number = self.connections[c as usize].number;
        let worker = self.worker_of(number);
        let seen = &mut self.abroad;
        seen.last_proof_us = self.clock.now_us;
        seen.last_proven[worker] = seen.last_proven[worker].max(Some(number));
        seen.proven += 1;
        if let Some(order) = &mut seen.order {
            order.proven_after_loss += u64::from(Some(number) >= seen.begun_at_loss);
            order.lost_after_proof = 0;
        }
        self.hears(c);
    }

    /// Whether one had its first echo that was begun after the first that was lost.
    pub(crate) fn some_came_through_among_the_lost(&self) -> bool {
        self.abroad.order.is_some_and(|order| order.proven_after_loss > 0)
    }

    /// The order of losses and proofs in the ramp, as a swarm of several workers knows it.
    fn order(&self) -> Option<LossOrder> {
        let seen = &self.abroad;
        let after_us = seen.ramp_over_us.saturating_sub(seen.last_proof_us);
        let order = seen.order?;
        let is_behind = |number: &&u64| Some(**number) > seen.last_proven[self.worker_of(**number)];
        let begun = BegunOrder {
            proven: seen.proven,
            after_loss: order.proven_after_loss + seen.lost_after_loss,
            before_lost: seen.lost.iter().min().copied().unwrap_or(0),
            lost_behind: seen.lost.iter().filter(is_behind).count() as u64,
        };
        Some(LossOrder {
            after_proof_ms: after_us / MS,
            lost: seen.lost.len() as u64,
            begun: Some(begun),
            ..order
        })
    }

    /// An echo has come.
    pub(crate) fn hears(&mut self, c: u32) {
        let now = self.clock.now_us;
        self.connections[c as usize].last_byte_us = now;
        self.abroad.last_echo_us = now;
        if let Some(idle_us) = self.scenario.world.abroad.idle_us {
            // A server looks at its timers a few times a second.
            let tick_us = self.chance.between(0, 60 * MS);
            self.clock.after(idle_us + tick_us, Event::Idle(c));
        }
    }

    /// The server's timer for what is silent.
    pub(crate) fn idle(&mut self, c: u32) {
        let connection = self.connections[c as usize];
        let idle_us = self.scenario.world.abroad.idle_us.unwrap_or(u64::MAX);
        let is_idle = self.clock.now_us - connection.last_byte_us >= idle_us;
        if is_idle && connection.at_client == AtClient::Verified && self.server.end.is_none() {
            self.refused_by("server-idle-limit");
            self.lose(
                c,
                if self.scenario.world.abroad.websocket { "close-1001" } else { "closed-by-server" },
            );
        }
    }

    pub(crate) fn ramp_is_over(&mut self) {
        self.abroad.ramp_over_us = self.clock.now_us;
    }

    /// Whether data of the client comes through; else it is sent again and again, and nobody acknowledges it.
    pub(crate) fn data_passes(&mut self, c: u32) -> bool {
        let silent_us = self.clock.now_us - self.connections[c as usize].last_byte_us;
        let forgets = self.scenario.world.abroad.forgets_us.is_some_and(|forgets_us| silent_us > forgets_us);
        if forgets {
            self.refused_by("middlebox-forgets");
        }
        if self.abroad.way_is_gone {
            self.refused_by("path-lost");
        }
        let is_lost = forgets || self.abroad.way_is_gone;
        self.connections[c as usize].is_unacked = is_lost;
        !is_lost
    }

    /// How much later a packet is than the way alone makes it.
    pub(crate) fn late_on_the_way(&mut self) -> u64 {
        let abroad = &self.scenario.world.abroad;
        let again_us = if self.chance.per_mille(abroad.data_lost_per_mille) { SENT_AGAIN_US } else { 0 };
        self.counted.data_retransmits += u64::from(again_us > 0);
        again_us + if abroad.way_jitter_us > 0 { self.chance.between(0, abroad.way_jitter_us) } else { 0 }
    }

    /// The lab looks at TCP where nobody was answered for a while.
    pub(crate) fn look_at_the_silent(&mut self) {
        if self.phase != PhaseName::Verify {
            return;
        }
        let now = self.clock.now_us;
        self.clock.after(NOBODY_US, Event::Sample);
        let since_us = self.abroad.last_echo_us.max(self.phase_since_us);
        if now - since_us < NOBODY_US || self.abroad.silent.is_some() {
            return;
        }
        let asked = |c: &&crate::sim::Connection| c.at_client == AtClient::Asked;
        let asked: Vec<_> = self.connections.iter().filter(asked).collect();
        let unacked = |c: &&&crate::sim::Connection| c.is_unacked && now - c.asked_us > SENT_AGAIN_US;
        let unacked: Vec<_> = asked.iter().filter(unacked).collect();
        let mut quiet: Vec<u64> = unacked.iter().map(|c| (c.asked_us - c.last_byte_us) / MS).collect();
        quiet.sort_unstable();
        let tries = !unacked.is_empty();
        let answered = !self.abroad.way_is_gone
            && self.server.queue.len() as u64 <= self.scenario.settings.queue_length();
        self.abroad.silent = (!asked.is_empty()).then(|| SilentSample {
            after_ms: NOBODY_US / MS,
            sampled: asked.len() as u64,
            unacked: unacked.len() as u64,
            last_ack_ms: None,
            quiet_ms: quiet.get(quiet.len() / 2).copied(),
            rtt_us: Some(2 * self.scenario.world.delay_us),
            new_connects: tries.then_some(answered),
        });
    }
}

/// What was looked at beside the counters, at the server's end where connections were lost.
pub(crate) fn evidence(sim: &Sim<'_>) -> RunEvidence {
    let seen = &sim.abroad;
    let spread = |ages: &AgeHistogram| -> Option<AgeSpread> { ages.spread() };
    let ages = spread(&seen.at).map(|at| LossAges {
        since_connect: None,
        since_last_byte: spread(&seen.since_last_byte),
        at: Some(at),
    });
    let is_looked_at = !sim.swarm.lost.is_empty();
    RunEvidence {
        ages,
        order: sim.order(),
        silent: seen.silent,
        outgoing: outgoing(sim).filter(|_| is_looked_at),
        listeners: is_looked_at.then(|| listeners(sim)),
        rules: rules(sim).filter(|_| is_looked_at),
        drops: Some(drop_reasons(sim)),
        words: Vec::new(),
    }
}

fn outgoing(sim: &Sim<'_>) -> Option<Outgoing> {
    let ports = sim.scenario.world.abroad.proxy_ports?;
    Some(Outgoing {
        pid: 4711,
        from: "10.0.0.1".to_owned(),
        to: "10.0.0.2:9001".to_owned(),
        ports_in_use: sim.server.open.min(ports),
        ports_waiting: 0,
        ports,
        first_port: 20_000,
        last_port: (20_000 + ports - 1) as u16,
    })
}

fn listeners(sim: &Sim<'_>) -> Listeners {
    let is_gone = sim.server.end.is_some() && !sim.scenario.world.abroad.starts_again;
    if is_gone || !sim.scenario.world.listens {
        return Listeners::default();
    }
    let abroad = &sim.scenario.world.abroad;
    let backlog = sim.scenario.settings.queue_length();
    let shared = sim.server.queue.len() as u64;
    // Where each process has a listener, those that wait are spread over all.
    let queues = if abroad.each_listens { abroad.processes.max(1) } else { 1 };
    let waiting: Vec<u64> = (0..queues)
        .map(|nth| {
            let stuck = sim.abroad.stuck.get(nth as usize).copied().unwrap_or(0);
            stuck + shared / queues + u64::from(nth < shared % queues)
        })
        .filter(|waiting| *waiting > 0)
        .collect();
    Listeners {
        count: if abroad.each_listens { abroad.processes } else { 1 },
        waited_at: waiting.len() as u64,
        full: waiting.iter().filter(|waiting| **waiting > backlog).count() as u64,
        longest: waiting.iter().max().copied().unwrap_or(0),
        least_backlog: backlog,
    }
}

/// A rule of this run that rejects, and those of others that are for other ports.
fn rules(sim: &Sim<'_>) -> Option<FirewallRules> {
    let abroad = &sim.scenario.world.abroad;
    let own = [abroad.most_of_a_source, abroad.most_a_second].into_iter().flatten();
    let own = own.filter(|(_, rule)| matches!(rule, Rule::Rejects(_))).count() as u64;
    abroad.rules_are_read.then_some(FirewallRules {
        all: 3 + own,
        reject: 1 + own,
        count: 1 + own,
        limit: 0,
        refuse: Some(own),
    })
}
