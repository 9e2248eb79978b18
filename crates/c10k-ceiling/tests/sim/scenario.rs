//! What a seed stands for: a box with its settings, what no setting changes, and what is put into the way.

use std::fmt;

use c10k_ceiling::ServerEnd;

use crate::abroad::Abroad;
use crate::chance::Chance;
use crate::clock::{MS, SECOND};
use crate::settings::Settings;

/// How a server answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Echo,
    Nothing,
    SomethingElse,
}

/// What happens to the server or to the box, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// The server ends so when it has accepted so many.
    Ends { after: u64, how: ServerEnd },
    /// The server is stopped by a signal when it has accepted so many.
    Stops { after: u64 },
    /// In the hold, the server ends so.
    EndsInHold { how: ServerEnd },
    /// In the hold, the server is stopped by a signal.
    StopsInHold,
    /// In the hold, the addresses of one in so many connections are taken away.
    AddressesGo { one_in: u64 },
    /// In the hold, the server closes one in so many for a reason of its own, in good order or not.
    Closes { one_in: u64, in_good_order: bool },
    /// In the hold, the server closes so many connections that have unsent data, and another program of the box as
    /// many times 8.
    ClosesWithData { count: u64 },
    /// In the hold, so many pages of every connection are buffered.
    Buffers { pages_each: u64 },
    /// In the hold, the way between the ends is gone.
    WayGoes,
    /// In the hold, so many connections are closed by the client and made anew.
    Renews { count: u64 },
}

/// What no setting changes.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) processors: u64,
    /// Both ends share one processor.
    pub(crate) one_processor: bool,
    /// Processor time of the server to accept, and as much for an echo, µs.
    pub(crate) server_us: u64,
    /// Processor time of the swarm to begin a connect, and as much for a probe and its echo, µs.
    pub(crate) swarm_us: u64,
    /// The server waits so long before it goes to its queue again, and uses no processor, µs.
    pub(crate) accept_pause_us: u64,
    /// The swarm's begins alone take so much longer, µs: it waits for a processor that others have.
    pub(crate) begin_late_us: u64,
    /// One way between the ends, µs.
    pub(crate) delay_us: u64,
    /// The scheduler holds an end back for up to so long, now and then, µs.
    pub(crate) jitter_us: u64,
    /// How often, of a thousand.
    pub(crate) jitter_per_mille: u64,
    /// A quota that holds the server's group to so many percent of a processor.
    pub(crate) server_quota: Option<u64>,
    /// The same for the swarm's.
    pub(crate) swarm_quota: Option<u64>,
    /// SYNs that a rule drops without counting, of a thousand, once so many connections are there.
    pub(crate) filtered_per_mille: u64,
    pub(crate) filtered_after: u64,
    /// SYNs that are lost on the way by chance, never twice in a row, of a thousand.
    pub(crate) lost_per_mille: u64,
    /// SYNs that a link loses, of a thousand, as often as they are sent.
    pub(crate) path_lost_per_mille: u64,
    /// The kernel's reasons of drops may be counted.
    pub(crate) reasons_are_read: bool,
    /// The host has so many processors that only the first few reasons are counted.
    pub(crate) few_reasons_are_counted: bool,
    /// Packets of others that a rule on this host drops, a second.
    pub(crate) others_filtered_per_second: u64,
    /// Packets of others for which the server's machine finds no route.
    pub(crate) others_without_route: u64,
    /// A packet's time in a processor's input queue, µs.
    pub(crate) softirq_us: u64,
    /// Packets that each connect brings with it from others to that queue.
    pub(crate) packets_beside: u64,
    /// The ends are neighbours on a link and not on loopback.
    pub(crate) on_one_link: bool,
    /// The link's queue holds so much, µs of its rate.
    pub(crate) link_queue_us: u64,
    pub(crate) has_route: bool,
    /// The swarm's own memory group lets it have so many sockets.
    pub(crate) swarm_memory_at: Option<u64>,
    /// One of the sources is taken from its device once so many connections are open.
    pub(crate) source_goes_after: Option<u64>,
    pub(crate) listens: bool,
    pub(crate) answer: Answer,
    /// Half-open requests of others in the listener's SYN queue.
    pub(crate) half_open: u64,
    pub(crate) files_used: u64,
    pub(crate) conntrack_used: u64,
    pub(crate) neighbours_used: u64,
    /// TIME_WAIT that holds ports towards the server from before.
    pub(crate) time_wait: u64,
    pub(crate) pids_used: u64,
    pub(crate) memory_bytes: u64,
    /// Memory that is not to be had.
    pub(crate) memory_used_bytes: u64,
    /// What a connection takes at each end.
    pub(crate) connection_bytes: u64,
    pub(crate) group_used_bytes: u64,
    /// The group of the server is removed as soon as the server is gone.
    pub(crate) group_goes: bool,
    /// The server pauses before its table is full, and meets no EMFILE.
    pub(crate) server_is_careful: bool,
    /// The swarm does so.
    pub(crate) swarm_is_careful: bool,
    /// Another listener of the namespace overflows, so many times.
    pub(crate) others_overflow: u64,
    /// Packets of others that a processor's queue drops.
    pub(crate) others_dropped: u64,
    pub(crate) connect_timeout_us: u64,
    pub(crate) probe_timeout_us: u64,
    pub(crate) hold_us: u64,
    /// Verdicts beside the default ones.
    pub(crate) verdicts: Vec<&'static str>,
    pub(crate) fates: Vec<Fate>,
    /// What is other people's.
    pub(crate) abroad: Abroad,
}

/// One box with a plan.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    pub(crate) seed: u64,
    pub(crate) target: u64,
    pub(crate) settings: Settings,
    pub(crate) world: World,
    /// In words, what was put into the way.
    pub(crate) words: String,
}

impl Scenario {
    /// A box with nothing in the way, as slow or quick, quiet or noisy as chance has it.
    pub(crate) fn healthy(seed: u64, chance: &mut Chance) -> Self {
        let settings = Settings {
            server_tables: chance.coin(),
            swarm_tables: chance.coin(),
            sources: chance.between(1, 6),
            in_flight: chance.between(8, 48),
            conntrack_max: chance.coin().then_some(65_536),
            pids_max: chance.coin().then_some(4_000),
            group_bytes: chance.coin().then_some(8 << 30),
            rate: chance.per_mille(250).then(|| chance.between(200, 3_000)),
            ..Settings::default()
        };
        let noisy = chance.coin();
        let some = |chance: &mut Chance, most: u64| if noisy { chance.between(0, most) } else { 0 };
        let world = World {
            processors: chance.between(2, 8),
            one_processor: false,
            server_us: chance.between(15, 300),
            swarm_us: chance.between(15, 200),
            accept_pause_us: if chance.per_mille(200) { chance.between(1, 12) * MS } else { 0 },
            begin_late_us: 0,
            delay_us: chance.between(20, 3 * MS),
            jitter_us: some(chance, 10 * MS),
            jitter_per_mille: some(chance, 15),
            server_quota: None,
            swarm_quota: None,
            filtered_per_mille: 0,
            filtered_after: 0,
            lost_per_mille: some(chance, 15),
            path_lost_per_mille: 0,
            reasons_are_read: (seed / 3).is_multiple_of(2),
            few_reasons_are_counted: (seed / 6).is_multiple_of(5),
            others_filtered_per_second: if noisy { seed % 20 } else { 0 },
            others_without_route: if noisy { seed / 9 % 4 * 60 } else { 0 },
            softirq_us: chance.between(1, 4),
            packets_beside: 0,
            on_one_link: chance.coin(),
            link_queue_us: 200 * MS,
            has_route: true,
            swarm_memory_at: None,
            source_goes_after: None,
            listens: true,
            answer: Answer::Echo,
            half_open: some(chance, 40),
            files_used: chance.between(500, 9_000),
            conntrack_used: chance.between(0, 900),
            neighbours_used: chance.between(1, 20),
            time_wait: some(chance, 200),
            pids_used: chance.between(20, 300),
            memory_bytes: chance.between(1, 64) << 30,
            memory_used_bytes: 300 << 20,
            connection_bytes: chance.between(4_000, 9_000),
            group_used_bytes: 10 << 20,
            group_goes: chance.coin(),
            server_is_careful: chance.coin(),
            swarm_is_careful: chance.coin(),
            others_overflow: some(chance, 60),
            others_dropped: some(chance, 2),
            connect_timeout_us: chance.between(3_500, 9_000) * MS,
            probe_timeout_us: chance.between(3_500, 6_000) * MS,
            hold_us: chance.between(500, 2_000) * MS,
            verdicts: Vec::new(),
            fates: Vec::new(),
            abroad: Abroad::default(),
        };
        let target = chance.between(60, 200);
        let words = if noisy { "a noisy box" } else { "a quiet box" }.to_owned();
        Self { seed, target, settings, world, words }
    }
}

impl Scenario {
    /// A quiet box with nothing in the way, the same for every seed.
    pub(crate) fn plain(seed: u64) -> Self {
        let mut plain = Self::healthy(seed, &mut Chance::of(1));
        plain.settings = Settings { sources: 4, in_flight: 32, ..Settings::default() };
        let world = &mut plain.world;
        (world.processors, world.server_us, world.swarm_us, world.delay_us) = (4, 100, 80, 200);
        (world.accept_pause_us, world.jitter_per_mille, world.lost_per_mille, world.softirq_us) =
            (0, 0, 0, 2);
        (world.half_open, world.time_wait, world.others_overflow, world.others_dropped) = (0, 0, 0, 0);
        (world.reasons_are_read, world.few_reasons_are_counted) = (false, false);
        (world.others_filtered_per_second, world.others_without_route) = (0, 0);
        (world.files_used, world.conntrack_used, world.neighbours_used, world.pids_used) =
            (1_000, 100, 4, 50);
        (world.memory_bytes, world.connection_bytes, world.on_one_link) = (16 << 30, 6_000, false);
        (world.server_is_careful, world.swarm_is_careful, world.group_goes) = (false, false, false);
        (world.connect_timeout_us, world.probe_timeout_us) = (6 * SECOND, 6 * SECOND);
        world.hold_us = SECOND;
        plain.words = "a plain box".to_owned();
        plain
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (set, world) = (&self.settings, &self.world);
        write!(
            f,
            "{}: {} connections from {} sources, {} in flight; server {} µs, swarm {} µs, way {} µs",
            self.words,
            self.target,
            set.sources,
            set.in_flight,
            world.server_us,
            world.swarm_us,
            world.delay_us
        )
    }
}
