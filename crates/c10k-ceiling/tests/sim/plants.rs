//! What can be put into the way, each so that it stands at a number of connections or breaks what it breaks.

use c10k_ceiling::ServerEnd;

use crate::chance::Chance;
use crate::clock::MS;
use crate::scenario::{Answer, Fate, Scenario};
use crate::settings::{HARD_NOFILE, OWN_DESCRIPTORS};
use crate::way::bits_to_connect;

/// One limit.
#[derive(Clone, Copy)]
pub(crate) struct Plant {
    /// The wall that it is.
    pub(crate) wall: &'static str,
    /// What it needs for itself: two that need the same are not put into one box.
    needs: &'static [&'static str],
    /// Whether it stands at a number of connections, so that of two the lower one is met first.
    pub(crate) counts: bool,
    /// Whether a setting that its remedy names lifts it.
    pub(crate) lifts: bool,
    /// Whether its proof is that nothing else moved: what others do on the box hides it.
    is_told_by_silence: bool,
    /// Puts it into the box, at that number.
    put: fn(&mut Scenario, &mut Chance, u64),
}

impl Plant {
    pub(crate) fn put(&self, scenario: &mut Scenario, chance: &mut Chance, at: u64) {
        if self.is_told_by_silence {
            let world = &mut scenario.world;
            (world.others_overflow, world.others_dropped, world.lost_per_mille) = (0, 0, 0);
            world.others_filtered_per_second = 0;
        }
        (self.put)(scenario, chance, at);
        let at = if self.counts { format!(" at {at}") } else { String::new() };
        scenario.words = format!("{}{at}, {}", self.wall, scenario.words);
    }

    pub(crate) fn goes_with(&self, other: &Self) -> bool {
        !self.needs.iter().any(|need| other.needs.contains(need))
    }
}

pub(crate) const fn counting(
    wall: &'static str,
    needs: &'static [&'static str],
    put: fn(&mut Scenario, &mut Chance, u64),
) -> Plant {
    Plant { wall, needs, counts: true, lifts: true, is_told_by_silence: false, put }
}

pub(crate) const fn other(wall: &'static str, put: fn(&mut Scenario, &mut Chance, u64)) -> Plant {
    Plant { wall, needs: &[], counts: false, lifts: false, is_told_by_silence: false, put }
}

pub(crate) const fn silent(plant: Plant) -> Plant {
    Plant { is_told_by_silence: true, ..plant }
}

const fn lifted(plant: Plant) -> Plant {
    Plant { lifts: true, ..plant }
}

const fn needs(needs: &'static [&'static str], plant: Plant) -> Plant {
    Plant { needs, ..plant }
}

pub(crate) const fn for_good(plant: Plant) -> Plant {
    Plant { lifts: false, ..plant }
}

/// All of them.
pub(crate) static PLANTS: &[Plant] = &[
    counting("nr-open", &["server-table", "swarm-table"], nr_open),
    counting("nofile-server", &["server-table"], |s, _, at| {
        (s.settings.server_tables, s.settings.server_nofile) = (false, at + OWN_DESCRIPTORS);
    }),
    counting("nofile-swarm", &["swarm-table"], |s, _, at| {
        (s.settings.swarm_tables, s.settings.swarm_nofile) = (false, at + OWN_DESCRIPTORS);
    }),
    counting("file-max", &["files"], |s, _, at| s.settings.file_max = s.world.files_used + 2 * at),
    counting("epoll-watches", &["watches"], |s, _, at| s.settings.epoll_watches = 2 + 2 * at),
    counting("ports-exhausted", &["ports"], |s, chance, at| {
        s.settings.sources = chance.between(1, 2);
        // There are too few without those that TIME_WAIT holds.
        s.world.time_wait = s.world.time_wait.min(20);
        window(s, (at + s.world.time_wait).div_ceil(s.settings.sources));
    }),
    counting("ports-reserved", &["ports"], |s, _, at| {
        (s.settings.sources, s.world.time_wait) = (1, s.world.time_wait.min(20));
        window(s, s.target + 20);
        s.settings.reserved_ports = s.target + 20 - at - s.world.time_wait;
    }),
    counting("time-wait-ports", &["ports"], |s, chance, at| {
        (s.settings.sources, s.world.time_wait) = (1, s.target + chance.between(5, 60));
        s.settings.tw_reuse = if s.world.on_one_link { chance.one_of(&[0, 2]) } else { 0 };
        window(s, at + s.world.time_wait);
    }),
    counting("server-max-connections", &["max"], |s, _, at| s.settings.max_connections = Some(at)),
    for_good(counting("server-died", &["fate"], |s, chance, after| {
        let how = chance.one_of(&[ServerEnd::Killed(9), ServerEnd::Killed(11), ServerEnd::Exited(1)]);
        s.world.fates.push(Fate::Ends { after, how });
    })),
    for_good(counting("server-stopped-accepting", &["fate", "queue"], |s, chance, after| {
        s.world.fates.push(Fate::Stops { after });
        s.settings.backlog = chance.between(4, 12);
        s.settings.in_flight = chance.between(24, 48);
        // Until then it accepts quickly enough for so short a queue.
        (s.world.jitter_per_mille, s.world.accept_pause_us) = (0, 0);
        s.world.swarm_us = s.world.swarm_us.max(2 * s.world.server_us);
    })),
    for_good(other("refused", |s, _, _| s.world.listens = false)),
    other("not-an-echo-server", |s, chance, _| {
        s.world.answer = chance.one_of(&[Answer::Nothing, Answer::SomethingElse]);
    }),
    for_good(counting("source-address-gone", &["ports"], |s, chance, after| {
        s.settings.sources = chance.between(2, 6);
        s.world.source_goes_after = Some(after);
        // A connect whose SYN is lost by chance waits from before the address went, for what stands in the way later.
        s.world.lost_per_mille = 0;
    })),
    needs(
        &["rate", "queue"],
        lifted(other("accept-queue", |s, chance, _| {
            (s.settings.backlog, s.settings.in_flight) = (chance.between(1, 4), chance.between(24, 48));
            s.settings.rate = None;
            if chance.coin() {
                s.settings.somaxconn = s.settings.backlog;
                s.settings.backlog = 4096;
            }
            (s.world.accept_pause_us, s.world.lost_per_mille) = (chance.between(30, 60) * MS, 0);
            s.world.verdicts.push("connect_p99 <= 500ms");
        })),
    ),
    lifted(silent(other("syn-queue", syn_queue))),
    needs(
        &["rate"],
        lifted(silent(other("netdev-backlog", |s, chance, _| {
            (s.settings.netdev_max_backlog, s.settings.in_flight) =
                (chance.between(2, 6), chance.between(24, 48));
            (s.world.softirq_us, s.settings.rate) = (chance.between(3, 6) * MS, None);
            s.world.verdicts.push("connect_p95 <= 500ms");
        }))),
    ),
    other("no-route", |s, _, _| {
        s.world.has_route = false;
    }),
    counting("conntrack", &["way"], |s, _, at| {
        s.settings.conntrack_max = Some(s.world.conntrack_used + at);
    }),
    silent(for_good(counting("firewall-drop", &["way"], |s, _, at| {
        (s.world.filtered_per_mille, s.world.filtered_after) = (1000, at);
        // On a link it is the kernel's reason that tells a rule from the link; over loopback it may be hidden by those of others.
        s.world.reasons_are_read |= s.world.on_one_link;
        if !s.world.on_one_link && s.seed.is_multiple_of(3) {
            s.world.others_filtered_per_second = 500;
        }
    }))),
    lifted(other("neighbour-table", |s, chance, _| {
        (s.world.on_one_link, s.settings.sources) = (true, chance.between(8, 24));
        s.settings.neighbours_max = s.world.neighbours_used + chance.between(2, s.settings.sources - 2);
    })),
    needs(
        &["rate"],
        lifted(other("bandwidth", |s, chance, _| {
            let carries = chance.between(20, 50);
            s.settings.link_bits_per_second = Some(carries * bits_to_connect(s.world.on_one_link));
            (s.settings.rate, s.target) = (Some(5 * carries), s.target.max(4 * carries));
            s.world.lost_per_mille = 0;
            s.world.verdicts.push("connect_p95 <= 500ms");
        })),
    ),
    for_good(counting("ram", &["memory"], |s, _, at| {
        s.world.memory_used_bytes = 2 * at * s.world.connection_bytes / 4;
        s.world.memory_bytes = s.world.memory_used_bytes + 2 * at * s.world.connection_bytes;
    })),
    counting("cgroup-memory", &["memory"], |s, _, at| {
        s.world.group_used_bytes = at * s.world.connection_bytes / 3;
        s.settings.group_bytes = Some(s.world.group_used_bytes + at * s.world.connection_bytes);
    }),
    lifted(other("tcp-mem", |s, chance, _| {
        let (each, fit) = (chance.between(4, 40), chance.between(s.target / 4, s.target / 2));
        s.world.fates.push(Fate::Buffers { pages_each: each });
        s.settings.tcp_mem_pages = [each * fit / 2, each * fit * 3 / 4, each * fit];
    })),
    other("orphans", |s, chance, _| {
        let count = chance.between(s.target / 4, s.target / 2);
        s.world.fates.push(Fate::ClosesWithData { count });
        s.settings.max_orphans = 9 * count / 2;
    }),
    needs(
        &["rate"],
        lifted(other("time-wait-buckets", |s, chance, _| {
            let count = chance.between(10, s.target / 2);
            s.world.fates.push(Fate::Renews { count });
            s.settings.max_tw_buckets = s.world.time_wait + chance.between(0, count - 2);
        })),
    ),
    counting("threads", &["server-table", "swarm-table"], |s, chance, at| {
        (s.settings.server_tables, s.settings.swarm_tables) = (true, true);
        // Small tables, or two that are full at that number.
        let per_table = if chance.coin() { chance.between(16, 24) } else { at.div_ceil(2) };
        let nofile = per_table + OWN_DESCRIPTORS;
        (s.settings.server_nofile, s.settings.swarm_nofile) = (nofile, nofile);
        s.settings.pids_max = Some(s.world.pids_used + 2 + 2 * (at.div_ceil(per_table) - 1));
    }),
    other("cpu-server", |s, chance, _| {
        (s.settings.in_flight, s.target) = (chance.between(32, 48), chance.between(150, 200));
        s.world.server_us = chance.between(8, 14) * MS;
        if chance.coin() {
            (s.world.server_us, s.world.server_quota) = (s.world.server_us / 10, Some(10));
        }
    }),
    other("cpu-swarm", |s, chance, _| {
        (s.settings.in_flight, s.target) = (chance.between(32, 48), chance.between(150, 200));
        s.world.swarm_us = chance.between(8, 14) * MS;
        if chance.coin() {
            (s.world.swarm_us, s.world.swarm_quota) = (s.world.swarm_us / 10, Some(10));
        }
    }),
    other("cpu-host", |s, chance, _| {
        (s.settings.in_flight, s.target) = (chance.between(32, 48), chance.between(150, 200));
        s.world.one_processor = true;
        s.world.swarm_us = chance.between(3, 5) * MS;
        s.world.server_us = s.world.swarm_us * chance.between(1, 3);
        s.world.jitter_per_mille = 0;
    }),
    other("latency-verdict", |s, chance, _| s.world.delay_us = chance.between(55, 300) * MS),
    other("error-verdict", |s, chance, _| {
        s.world.fates.push(Fate::AddressesGo { one_in: chance.between(3, 30) });
    }),
    other("swarm-late", |s, chance, _| {
        s.settings.rate = Some(chance.between(500, 3_000));
        s.world.begin_late_us = chance.between(4, 40) * MS;
        (s.world.delay_us, s.world.jitter_per_mille, s.world.lost_per_mille) =
            (chance.between(20, 300), 0, 0);
        s.world.verdicts.push(chance.one_of(&["connect_response_p95 <= 5ms", "lateness_p99 <= 2ms"]));
    }),
];

/// What loses on the way: each of these stands beside what others there are.
pub(crate) static WAYS: &[Plant] = &[silent(for_good(other("path-loss", |s, chance, _| {
    (s.world.on_one_link, s.world.path_lost_per_mille) = (true, chance.between(650, 850));
})))];

/// The plant of that wall.
pub(crate) fn plant(wall: &str) -> Option<&'static Plant> {
    PLANTS.iter().find(|plant| plant.wall == wall)
}

pub(crate) fn window(s: &mut Scenario, ports: u64) {
    s.settings.port_range = (40_000, 40_000 + ports as u16 - 1);
}

/// One end has one table, as large as the kernel lets any be; the other one as many as it needs.
fn nr_open(s: &mut Scenario, chance: &mut Chance, at: u64) {
    let is_server = chance.coin();
    (s.settings.server_tables, s.settings.swarm_tables) = (!is_server, is_server);
    s.settings.nr_open = at + OWN_DESCRIPTORS;
    (s.settings.server_nofile, s.settings.swarm_nofile) = (HARD_NOFILE, HARD_NOFILE);
}

/// The queue is as long as the backlog, and without cookies no longer than three quarters of its own limit.
fn syn_queue(s: &mut Scenario, chance: &mut Chance, _: u64) {
    s.settings.syncookies = false;
    // A SYN whose answer has no route is dropped at the listener too.
    s.world.others_without_route = 0;
    if chance.coin() {
        s.settings.backlog = chance.between(16, 64);
        s.world.half_open = s.settings.backlog + chance.between(0, 40);
    } else {
        s.settings.max_syn_backlog = chance.between(64, 256);
        s.world.half_open = s.settings.max_syn_backlog;
    }
}
