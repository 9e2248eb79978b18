//! What really happened in a run, against which names are held.

use c10k_ceiling::counter;
use c10k_record::{Ceiling, Degree, WallFound};

use crate::abroad::{NO_WAY_BACK, NoWayBack};
use crate::clock::MS;
use crate::settings::OWN_DESCRIPTORS;
use crate::sim::Sim;

/// Walls at which nothing is refused, or not by a limit.
pub(crate) const REFUSE_NOTHING: [&str; 7] =
    ["refused", "no-route", "cpu-server", "cpu-swarm", "cpu-host", "latency-verdict", "swarm-late"];
/// What only says that a verdict does not hold.
const VERDICTS: [&str; 2] = ["latency-verdict", "error-verdict"];

/// What is not seen from outside of a server that says nothing: unknown, or what a verdict says.
pub(crate) const UNSEEN: [&str; 5] =
    ["threads", "server-max-connections", "not-an-echo-server", "file-max", "epoll-watches"];

/// Where what tells them apart was not read, a name that says less is right too: the table was full, the ports were all taken,
/// the server ended.
pub(crate) const LESS_EXACT: [(&str, &str); 6] = [
    ("nr-open", "nofile-server"),
    ("nr-open", "nofile-swarm"),
    ("ports-reserved", "ports-exhausted"),
    ("time-wait-ports", "ports-exhausted"),
    ("ram", "server-died"),
    ("cgroup-memory", "server-died"),
];
/// A neighbour of which nothing that was read tells the wall: netfilter drops for either.
pub(crate) const NEIGHBOURS: [(&str, &str); 1] = [("conntrack", "firewall-drop")];

/// What stands beside a wall in such a list.
pub(crate) fn beside(list: &[(&str, &'static str)], wall: &str) -> Vec<&'static str> {
    list.iter().filter(|(of, _)| *of == wall).map(|(_, instead)| *instead).collect()
}

/// Where a server's own machine is not seen, a name that says less is right too.
pub(crate) const LESS_EXACT_FROM_AFAR: [(&str, &str); 2] =
    [("proxy-ports-exhausted", "server-limit"), ("nofile-server", "server-limit")];

/// What may be named beside what refused something.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Allowed<'a> {
    /// At any degree: it is so, or says less and is true.
    pub(crate) at_any: &'a [&'a str],
    /// As likely alone: what tells it apart was not read.
    pub(crate) as_likely: &'a [&'a str],
}

/// These at any degree.
pub(crate) fn at_any<'a>(names: &'a [&'a str]) -> Allowed<'a> {
    Allowed { at_any: names, as_likely: &[] }
}

/// No wall is named at which nothing was refused and which nobody put there. What is proven is so; a neighbour may be likely
/// where nothing that was read tells it from what was met.
pub(crate) fn only_what_bit(sim: &Sim<'_>, ceiling: &Ceiling, allowed: Allowed<'_>) -> Result<(), String> {
    for wall in &ceiling.walls {
        let name = wall.name.as_str();
        let is_likely = wall.degree == Some(Degree::Likely);
        let is_refused = refused_at(sim, name) > 0 && (is_likely || is_of_weight(sim, name));
        let is_so = is_refused && says_which_way(sim, wall)
            || allowed.at_any.contains(&name)
            || VERDICTS.contains(&name)
            || is_so_as_well(sim, name)
            || is_out_of_time(sim, name)
            || is_likely && (allowed.as_likely.contains(&name) || fits_as_well(sim, name));
        if !is_so {
            let degree = if is_likely { "likely" } else { "proven" };
            return Err(format!("'{name}' is named as {degree}, and is not so"));
        }
    }
    Ok(())
}

/// How often something was refused at that wall.
pub(crate) fn refused_at(sim: &Sim<'_>, wall: &str) -> u64 {
    let times = |limit: &str| sim.refusals.get(limit).map_or(0, |(_, times)| *times);
    match wall {
        // No way there, or none back.
        "no-route" => times(wall) + times(NO_WAY_BACK),
        _ => times(wall),
    }
}

/// What drops SYNs, or their answers, on their way from one end to the other, each by the wall that it is.
const ON_THE_WAY: [&str; 8] = [
    "firewall-drop",
    "path-loss",
    "no-route",
    "rp-filter",
    "conntrack",
    "bandwidth",
    "netdev-backlog",
    "neighbour-table",
];
/// Those that are told from each other by how many were dropped for them.
const BY_NUMBER: [&str; 4] = ["firewall-drop", "path-loss", "no-route", "rp-filter"];

/// Whether what such a wall dropped is the most of what was dropped on the way.
fn is_of_weight(sim: &Sim<'_>, wall: &str) -> bool {
    let all: u64 = ON_THE_WAY.iter().map(|one| refused_at(sim, one)).sum();
    !BY_NUMBER.contains(&wall) || 2 * refused_at(sim, wall) >= all
}

/// Whether a way that is said to be missing is the one that was: where all found a way there and some none back, it is by what
/// was dropped for that.
fn says_which_way(sim: &Sim<'_>, wall: &WallFound) -> bool {
    let is_of_the_way_back = |source: &str| [counter::OUT_NO_ROUTES, "IP_INNOROUTES"].contains(&source);
    wall.name != "no-route"
        || sim.refusals.contains_key("no-route")
        || wall.evidence.iter().any(|evidence| is_of_the_way_back(&evidence.source))
}

/// Whether this is so, though it refused nothing.
fn is_so_as_well(sim: &Sim<'_>, wall: &str) -> bool {
    let settings = &sim.scenario.settings;
    match wall {
        // It held as many as it takes when it ended.
        "server-max-connections" => settings.max_connections.is_some_and(|most| sim.server.peak >= most),
        // Its table was full to the last when it met another limit.
        "nofile-server" | "nr-open" => {
            let each = settings.nofile(settings.server_nofile).saturating_sub(OWN_DESCRIPTORS);
            let is_full = |(_, most): &(u64, u64)| *most >= each;
            let of_processes =
                sim.scenario.world.abroad.processes > 1 && sim.abroad.of_process.iter().any(is_full);
            of_processes || sim.server.paused > 0 && sim.server.peak >= each * sim.server.tables
        }
        // TCP saved memory, and answers were late, or connections reset for too many orphans, which has the same counter.
        "tcp-mem" => {
            let was_late = sim.swarm.echo_us.iter().any(|us| *us > 100 * MS);
            sim.counted.memory_pressures > 0 && (was_late || sim.counted.abort_on_memory > 0)
        }
        // All its ports were in use when another limit was met, but for one in fifty: so many the kernel passes over.
        "proxy-ports-exhausted" => {
            let ports = sim.scenario.world.abroad.proxy_ports;
            ports.is_some_and(|ports| sim.server.peak * 50 >= ports * 49)
        }
        // Its group is gone, and the machine was nearly full as well.
        "server-died" => sim.server.end.is_some(),
        _ => false,
    }
}

/// Whether what was read fits this wall as well as what was met: nobody can tell them apart from outside.
fn fits_as_well(sim: &Sim<'_>, wall: &str) -> bool {
    let (settings, world) = (&sim.scenario.settings, &sim.scenario.world);
    // The kernel of the machine on which it is dropped says why.
    let is_told = world.reasons_are_read && !world.abroad.is_remote;
    let was_met = |wall: &str| refused_at(sim, wall) > 0;
    match wall {
        // To somebody whom nobody ever answered a rule says the same as a host on which nobody listens, or to which there is no
        // way.
        "refused" | "no-route" => sim.swarm.verified == 0 && was_met("filter-rejects"),
        // For a second the link carried all it can, and others were late meanwhile.
        "bandwidth" => {
            settings.link_bits_per_second.is_some_and(|most| sim.counted.link_busiest_bits * 10 >= most * 9)
        }
        // The last entry was taken by the last that was tried.
        "conntrack" => settings.conntrack_max.is_some_and(|most| sim.counted.conntrack >= most),
        // It overflowed while the server was stopped, which nobody could ask any more when it had ended.
        "accept-queue" => sim.counted.listener_drops > 0 && sim.server.end.is_some(),
        // All its ports but a few were in use when another limit was met.
        "proxy-ports-exhausted" => world.abroad.proxy_ports.is_some_and(|ports| sim.server.peak + 4 >= ports),
        // SYNs are lost on a way that is gone, or one that loses, where the kernel does not say what filters drop.
        "firewall-drop" => was_met("path-lost") || !is_told && was_met("path-loss"),
        // SYNs or their answers are lost on a way that is gone, or, where the kernel does not say so, by a rule on it that lets
        // others through, or since the answers have no way.
        "path-loss" => {
            let is_a_way = world.on_one_link || world.abroad.is_remote;
            let by_its_own_count = matches!(world.abroad.no_way_back, Some((_, NoWayBack::AtServer)));
            let is_back_untold = was_met(NO_WAY_BACK) && (world.abroad.is_remote || !by_its_own_count);
            let by_a_rule = was_met("firewall-drop") && sim.some_came_through_among_the_lost();
            is_a_way && (was_met("path-lost") || !is_told && (by_a_rule || is_back_untold))
        }
        // What a server that says nothing found none of is not seen: it takes so many and no more.
        "server-limit" | "server-stopped-accepting" => world.abroad.is_foreign && sim.server.paused > 0,
        _ => false,
    }
}

/// Whether that end, or the processor that both share, had hardly any time left in a phase.
fn is_out_of_time(sim: &Sim<'_>, wall: &str) -> bool {
    sim.loads.values().any(|[server, swarm, softirq, lasted]| {
        let used = match wall {
            "cpu-server" => *server,
            "cpu-swarm" => *swarm,
            "cpu-host" if sim.scenario.world.one_processor => server + swarm + softirq,
            _ => return false,
        };
        used * 100 >= lasted * 85
    })
}
