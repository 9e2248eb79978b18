//! What must be so of a seed.

use std::collections::BTreeSet;

use c10k_ceiling::{Findings, ServerEnd, UNKNOWN, diagnose};
use c10k_record::Ceiling;

use crate::abroad::{OnTop, Rule, SENT_AGAIN_US};
use crate::abroad_plants::{ABROAD, WAYS_ABROAD, make_foreign};
use crate::chance::Chance;
use crate::climb::climb;
use crate::clock::SECOND;
use crate::plants::{PLANTS, Plant, WAYS, plant};
use crate::scenario::{Fate, Scenario};
use crate::shown::{all_findings, as_of_a_foreign_server, findings};
use crate::sim::Sim;
use crate::truth::{
    Allowed, LESS_EXACT, LESS_EXACT_FROM_AFAR, NEIGHBOURS, REFUSE_NOTHING, UNSEEN, at_any, beside,
    only_what_bit, refused_at,
};

/// What a seed is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One wall.
    Planted,
    /// Two walls that each stand at a number of connections.
    Pair,
    /// Several of any kind at once.
    Crowd,
    /// One wall, and much that could not be read.
    Unread,
    /// None.
    Healthy,
    /// A healthy box with a server that does something by itself.
    ServersOwn,
    /// Several, lifted one after the other.
    Climb,
    /// One wall of a server, a proxy or a way that is other people's.
    Abroad,
    /// Several of both kinds at once, with somebody else's server.
    AbroadCrowd,
    /// None, with somebody else's server and a way that loses, delays and overtakes.
    AbroadHealthy,
}

impl Kind {
    pub(crate) fn of(seed: u64) -> Self {
        let kind = seed / 2 % 20;
        if !seed.is_multiple_of(2) {
            // Every second is of other people's.
            return match kind {
                0..=9 => Self::Abroad,
                10..=14 => Self::AbroadCrowd,
                _ => Self::AbroadHealthy,
            };
        }
        match kind {
            0..=6 => Self::Planted,
            7..=10 => Self::Pair,
            11..=12 => Self::Crowd,
            13..=14 => Self::Unread,
            15..=17 => Self::Healthy,
            18 => Self::ServersOwn,
            _ => Self::Climb,
        }
    }

    /// Checks a seed of this kind: which walls were named, or what is wrong.
    pub(crate) fn check(self, seed: u64) -> Result<BTreeSet<String>, String> {
        let mut chance = Chance::of(seed);
        match self {
            Self::Planted => planted(seed, &mut chance),
            Self::Pair => pair(seed, &mut chance),
            Self::Crowd => crowd(seed, &mut chance),
            Self::Unread => unread(seed, &mut chance),
            Self::Healthy => healthy(seed, &mut chance),
            Self::ServersOwn => servers_own(seed, &mut chance),
            Self::Climb => climbs(seed, &mut chance),
            Self::Abroad => abroad(seed, &mut chance),
            Self::AbroadCrowd => abroad_crowd(seed, &mut chance),
            Self::AbroadHealthy => abroad_healthy(seed, &mut chance),
        }
    }
}

type Checked = Result<BTreeSet<String>, String>;

/// The lowest number at which a limit is put: below that a program's own descriptors are a large share of its table.
const LOWEST: u64 = 60;

/// Each in its turn.
fn of_all(plants: &'static [Plant], ways: &'static [Plant], seed: u64) -> &'static Plant {
    let nth = (seed / 40) as usize % (plants.len() + ways.len());
    plants.get(nth).unwrap_or_else(|| &ways[nth - plants.len()])
}

/// In each fifth box the way loses, too.
fn lose_on_the_way(ways: &[Plant], scenario: &mut Scenario, chance: &mut Chance) {
    if scenario.seed.is_multiple_of(5) {
        ways[(scenario.seed / 5) as usize % ways.len()].put(scenario, chance, 0);
    }
}

fn planted(seed: u64, chance: &mut Chance) -> Checked {
    let mut scenario = Scenario::healthy(seed, chance);
    let plant = of_all(PLANTS, WAYS, seed);
    scenario.target = chance.between(LOWEST + 60, LOWEST + 160);
    let at = chance.between(LOWEST, scenario.target - 40);
    plant.put(&mut scenario, chance, at);
    first_is(&scenario, plant, None)
}

fn pair(seed: u64, chance: &mut Chance) -> Checked {
    let mut scenario = Scenario::healthy(seed, chance);
    let counting: Vec<&Plant> = PLANTS.iter().filter(|plant| plant.counts).collect();
    let (lower, higher) = loop {
        let (one, other) = (chance.one_of(&counting), chance.one_of(&counting));
        if one.goes_with(other) {
            break (one, other);
        }
    };
    // What comes between them takes longer than the way, so that the lower one is met first.
    let world = &mut scenario.world;
    (world.delay_us, world.swarm_us, world.jitter_per_mille) =
        (chance.between(20, 200), chance.between(150, 300), 0);
    (world.server_us, world.accept_pause_us) = (chance.between(15, 100), 0);
    let at = chance.between(LOWEST, LOWEST + 30);
    let beyond = at + chance.between(30, 70);
    scenario.target = beyond + chance.between(40, 80);
    higher.put(&mut scenario, chance, beyond);
    lower.put(&mut scenario, chance, at);
    first_is(&scenario, lower, Some(higher))
}

/// The wall of that plant is named first, and no other that was not met.
///
/// A server that the higher one ends takes those with it who waited in vain at the lower one, before their wait was over:
/// then its end may be what is named.
fn first_is(scenario: &Scenario, plant: &Plant, higher: Option<&Plant>) -> Checked {
    let sim = Sim::run(scenario);
    let ceiling = diagnose(&findings(&sim), None);
    let told = || format!("{scenario}\n    {}", told(&sim, ceiling.as_ref()));
    let refuses_nothing = REFUSE_NOTHING.contains(&plant.wall);
    if !sim.refusals.contains_key(plant.wall) && !refuses_nothing {
        return Err(format!("the model: {} did not bite: {}", plant.wall, told()));
    }
    let Some(named) = &ceiling else { return Err(format!("no wall is named: {}", told())) };
    let ended = higher.filter(|higher| sim.server.end.is_some() && ENDS.contains(&higher.wall));
    let is_end = ended.is_some_and(|higher| higher.wall == named.wall);
    if named.wall != plant.wall && !is_end {
        return Err(format!("'{}' is named and not '{}': {}", named.wall, plant.wall, told()));
    }
    let put: &[&str] = if refuses_nothing { &[plant.wall] } else { &[] };
    only_what_bit(&sim, named, at_any(put)).map_err(|wrong| format!("{wrong}: {}", told()))?;
    Ok(named.walls.iter().map(|wall| wall.name.clone()).collect())
}

/// Walls that end a server.
const ENDS: [&str; 3] = ["ram", "cgroup-memory", "server-died"];
/// Several at once, as they come: whatever is named was met.
fn crowd(seed: u64, chance: &mut Chance) -> Checked {
    let mut scenario = Scenario::healthy(seed, chance);
    scenario.target = chance.between(LOWEST + 60, LOWEST + 160);
    let mut put = Vec::new();
    for _ in 0..chance.between(2, 5) {
        let plant = &PLANTS[chance.between(0, PLANTS.len() as u64 - 1) as usize];
        if !put.contains(&plant.wall) {
            let at = chance.between(LOWEST, scenario.target - 40);
            plant.put(&mut scenario, chance, at);
            put.push(plant.wall);
        }
    }
    lose_on_the_way(WAYS, &mut scenario, chance);
    // What is put there and not met may not be named either.
    put.retain(|wall| REFUSE_NOTHING.contains(wall));
    whatever_is_named_was_met(&scenario, at_any(&put), |_, _| {}, chance)
}

/// One, and much that nobody could read: it may be unknown, and never another one.
fn unread(seed: u64, chance: &mut Chance) -> Checked {
    let mut scenario = Scenario::healthy(seed, chance);
    let plant = of_all(PLANTS, WAYS, seed);
    scenario.target = chance.between(LOWEST + 60, LOWEST + 160);
    let at = chance.between(LOWEST, scenario.target - 40);
    plant.put(&mut scenario, chance, at);
    if chance.per_mille(400) {
        return foreign(&scenario, plant);
    }
    let may_be = [&beside(&LESS_EXACT, plant.wall)[..], &[plant.wall]].concat();
    let allowed = Allowed { at_any: &may_be, as_likely: &beside(&NEIGHBOURS, plant.wall) };
    whatever_is_named_was_met(&scenario, allowed, forget, chance)
}

/// The same of somebody else's server, which is seen from outside alone.
fn foreign(scenario: &Scenario, plant: &Plant) -> Checked {
    let sim = Sim::run(scenario);
    let mut found = findings(&sim);
    as_of_a_foreign_server(&mut found, &sim);
    let ceiling = diagnose(&found, None);
    let told = |wrong: String| {
        format!("{wrong}: somebody else's server: {scenario}\n    {}", told(&sim, ceiling.as_ref()))
    };
    let Some(named) = &ceiling else { return Err(told("no wall is named".to_owned())) };
    if named.wall != plant.wall && !UNSEEN.contains(&plant.wall) {
        return Err(told(format!("'{}' is named and not '{}'", named.wall, plant.wall)));
    }
    only_what_bit(&sim, named, at_any(&[plant.wall])).map_err(told)?;
    Ok(BTreeSet::new())
}

/// Makes some of what was read unknown.
fn forget(found: &mut Findings, chance: &mut Chance) {
    found.counters.retain(|_, _| !chance.per_mille(300));
    let host = &mut found.host;
    let limits: [&mut Option<u64>; 14] = [
        &mut host.nr_open,
        &mut host.file_max,
        &mut host.reserved_ports,
        &mut host.somaxconn,
        &mut host.backlog,
        &mut host.max_orphans,
        &mut host.epoll_watches,
        &mut host.conntrack_max,
        &mut host.cgroup_memory_bytes,
        &mut host.pids_max,
        &mut host.pids_current,
        &mut host.neighbours_max,
        &mut host.memory_total_bytes,
        &mut host.time_wait,
    ];
    for limit in limits {
        if chance.per_mille(200) {
            *limit = None;
        }
    }
    if chance.per_mille(200) {
        host.tcp_mem_pages = None;
    }
    if chance.per_mille(200) {
        found.lowest_memory_available_bytes = None;
    }
    if chance.per_mille(200) {
        found.loads.clear();
    }
    if chance.per_mille(200) {
        host.other.clear();
    }
    if chance.per_mille(200) {
        found.evidence.drops = None;
    }
    // Somebody else's server says nothing.
    if chance.per_mille(150) {
        found.server = None;
        found.connections.accepted = None;
        found.connections.ghosts = None;
    }
}

fn whatever_is_named_was_met(
    scenario: &Scenario,
    allowed: Allowed<'_>,
    change: impl Fn(&mut Findings, &mut Chance),
    chance: &mut Chance,
) -> Checked {
    let sim = Sim::run(scenario);
    let mut found = findings(&sim);
    change(&mut found, chance);
    let Some(ceiling) = diagnose(&found, None) else { return Ok(BTreeSet::new()) };
    only_what_bit(&sim, &ceiling, allowed)
        .map_err(|wrong| format!("{wrong}: {scenario}\n    {}", told(&sim, Some(&ceiling))))?;
    // What was not read is no proof that the mark is reached.
    Ok(BTreeSet::new())
}

fn healthy(seed: u64, chance: &mut Chance) -> Checked {
    let scenario = Scenario::healthy(seed, chance);
    let sim = Sim::run(&scenario);
    let found = findings(&sim);
    match diagnose(&found, None) {
        None if found.connections.held == scenario.target => Ok(BTreeSet::new()),
        ceiling => Err(format!("a healthy box: {scenario}\n    {}", told(&sim, ceiling.as_ref()))),
    }
}

fn servers_own(seed: u64, chance: &mut Chance) -> Checked {
    let mut scenario = Scenario::healthy(seed, chance);
    let (fate, right) = match chance.between(0, 3) {
        0 => (Fate::EndsInHold { how: ServerEnd::Killed(9) }, "server-died"),
        1 => (Fate::StopsInHold, UNKNOWN),
        _ => {
            let (one_in, in_good_order) = (chance.between(2, 40), chance.coin());
            (Fate::Closes { one_in, in_good_order }, "error-verdict")
        }
    };
    scenario.words = format!("{fate:?}, {}", scenario.words);
    scenario.world.fates.push(fate);
    let sim = Sim::run(&scenario);
    let ceiling = diagnose(&findings(&sim), None);
    if ceiling.as_ref().is_some_and(|ceiling| ceiling.wall == right) {
        return Ok(BTreeSet::new());
    }
    Err(format!("the server's own doing is '{right}': {scenario}\n    {}", told(&sim, ceiling.as_ref())))
}

/// One wall of a server, a proxy or a way that is other people's, by its name; of a server on another machine it may be
/// unknown.
fn abroad(seed: u64, chance: &mut Chance) -> Checked {
    let mut scenario = Scenario::healthy(seed, chance);
    make_foreign(&mut scenario, chance);
    scenario.target = chance.between(LOWEST + 60, LOWEST + 160);
    let plant = of_all(ABROAD, WAYS_ABROAD, seed);
    let at = chance.between(LOWEST, scenario.target - 40);
    plant.put(&mut scenario, chance, at);
    let sim = Sim::run(&scenario);
    let found = all_findings(&sim);
    let ceiling = diagnose(&found, None);
    let is_remote = scenario.world.abroad.is_remote;
    let place = if is_remote { "on another machine" } else { "on this machine" };
    let told = |wrong: String| {
        format!("{wrong}: a server {place}: {scenario}\n    {}", told(&sim, ceiling.as_ref()))
    };
    if refused_at(&sim, plant.wall) == 0 {
        return Err(told(format!("the model: {} did not bite", plant.wall)));
    }
    let Some(named) = &ceiling else { return Err(told("no wall is named".to_owned())) };
    if named.wall != plant.wall && !is_remote {
        return Err(told(format!("'{}' is named and not '{}'", named.wall, plant.wall)));
    }
    let less = beside(if is_remote { &LESS_EXACT_FROM_AFAR } else { &[] }, plant.wall);
    only_what_bit(&sim, named, at_any(&[&less[..], &[plant.wall]].concat())).map_err(told)?;
    Ok(named.walls.iter().map(|wall| wall.name.clone()).collect())
}

/// Several of both kinds: whatever is named was met.
fn abroad_crowd(seed: u64, chance: &mut Chance) -> Checked {
    let mut scenario = Scenario::healthy(seed, chance);
    make_foreign(&mut scenario, chance);
    scenario.target = chance.between(LOWEST + 60, LOWEST + 160);
    let mut put: Vec<&str> = Vec::new();
    for nth in 0..chance.between(2, 4) {
        let plants = if nth == 0 || chance.coin() { ABROAD } else { PLANTS };
        let plant = &plants[chance.between(0, plants.len() as u64 - 1) as usize];
        if !put.contains(&plant.wall) {
            let at = chance.between(LOWEST, scenario.target - 40);
            plant.put(&mut scenario, chance, at);
            put.push(plant.wall);
        }
    }
    let abroad = &mut scenario.world.abroad;
    if chance.per_mille(200) {
        (abroad.processes, abroad.each_listens) = (chance.between(2, 8), true);
        abroad.one_is_dead = true;
    }
    lose_on_the_way(WAYS_ABROAD, &mut scenario, chance);
    put.retain(|wall| REFUSE_NOTHING.contains(wall));
    if scenario.world.abroad.is_remote {
        put.extend(LESS_EXACT_FROM_AFAR.map(|(_, instead)| instead));
    }
    let sim = Sim::run(&scenario);
    let Some(ceiling) = diagnose(&all_findings(&sim), None) else { return Ok(BTreeSet::new()) };
    only_what_bit(&sim, &ceiling, at_any(&put)).map_err(|wrong| {
        format!("{wrong}: somebody else's server: {scenario}\n    {}", told(&sim, Some(&ceiling)))
    })?;
    Ok(BTreeSet::new())
}

fn abroad_healthy(seed: u64, chance: &mut Chance) -> Checked {
    let mut scenario = Scenario::healthy(seed, chance);
    make_foreign(&mut scenario, chance);
    // Rules, limits and timers that nobody meets.
    let (abroad, target) = (&mut scenario.world.abroad, scenario.target);
    let is_there = |chance: &mut Chance| chance.per_mille(400);
    abroad.limit = is_there(chance).then_some((target + 1, OnTop::Waits));
    abroad.proxy_ports = is_there(chance).then_some(target);
    abroad.idle_us = is_there(chance).then_some(60 * SECOND);
    abroad.forgets_us = is_there(chance).then_some(60 * SECOND);
    abroad.most_of_a_source = is_there(chance).then_some((target, Rule::Rejects("ECONNREFUSED")));
    let sim = Sim::run(&scenario);
    let found = all_findings(&sim);
    match diagnose(&found, None) {
        None if found.connections.held == scenario.target => Ok(BTreeSet::new()),
        // A way that loses more than one in twenty by chance makes them late: the verdict that says so is true.
        Some(ceiling) if ceiling.wall == "latency-verdict" && ceiling.walls.len() == 1 && is_late(&sim) => {
            Ok(BTreeSet::new())
        }
        ceiling => Err(format!(
            "a healthy box, somebody else's server: {scenario}\n    {}",
            told(&sim, ceiling.as_ref())
        )),
    }
}

/// Whether more than one echo in twenty was sent again on the way, and so came too late for the default verdict.
fn is_late(sim: &Sim<'_>) -> bool {
    let echoes = &sim.swarm.echo_us;
    echoes.iter().filter(|us| **us > SENT_AGAIN_US).count() * 20 > echoes.len()
}

/// Walls in whose place none comes by what lifts another one.
const FOR_GOOD: [&str; 2] = ["ram", "not-an-echo-server"];

fn climbs(seed: u64, chance: &mut Chance) -> Checked {
    let mut scenario = Scenario::healthy(seed, chance);
    scenario.target = chance.between(LOWEST + 100, LOWEST + 160);
    let lifted: Vec<&Plant> = PLANTS.iter().filter(|plant| plant.lifts).collect();
    let mut put: Vec<&Plant> = Vec::new();
    for _ in 0..chance.between(2, 5) {
        let plant = chance.one_of(&lifted);
        if put.iter().all(|other| other.goes_with(plant) && other.wall != plant.wall) {
            let at = chance.between(LOWEST, scenario.target - 30);
            plant.put(&mut scenario, chance, at);
            put.push(plant);
        }
    }
    // In some boxes the last one is one that nothing lifts.
    let last = chance.per_mille(200).then(|| plant(chance.one_of(&FOR_GOOD))).flatten();
    let last = last.filter(|last| put.iter().all(|other| other.goes_with(last)));
    if let Some(last) = last {
        let at = scenario.target - 20;
        last.put(&mut scenario, chance, at);
    }
    let climbed = climb(&scenario);
    let steps: Vec<String> = climbed.steps.iter().map(|(wall, held)| format!("{wall} at {held}")).collect();
    let told = |what: &str| format!("{what}: {scenario}\n    steps: {}", steps.join(", "));
    if climbed.is_endless {
        return Err(told("the climb does not end"));
    }
    if let Some(wrong) = &climbed.wrong {
        return Err(told(wrong));
    }
    match (last, &climbed.last) {
        (None, None) if climbed.held >= scenario.target => {}
        (Some(last), Some(ceiling)) if ceiling.wall == last.wall => {}
        (_, end) => {
            let end = end.as_ref().map_or("nothing", |ceiling| ceiling.wall.as_str());
            return Err(told(&format!("the climb ended at {} with {end}", climbed.held)));
        }
    }
    repeats(&climbed.top, climbed.held).map_err(|wrong| told(&wrong))?;
    Ok(climbed.steps.into_iter().map(|(wall, _)| wall).collect())
}

/// What was lifted holds as much in another run, on another day.
fn repeats(top: &Scenario, held: u64) -> Result<(), String> {
    let again = Scenario { seed: top.seed ^ 0xa6a1, ..top.clone() };
    let found = findings(&Sim::run(&again));
    (found.connections.held == held)
        .then_some(())
        .ok_or_else(|| format!("its settings held {held}, and {} the next time", found.connections.held))
}

/// A line about what happened and what was said of it.
fn told(sim: &Sim<'_>, ceiling: Option<&Ceiling>) -> String {
    let names: Vec<&str> = ceiling.iter().flat_map(|c| &c.walls).map(|wall| wall.name.as_str()).collect();
    let lost: Vec<String> = sim
        .swarm
        .lost
        .iter()
        .map(|((phase, what), (count, at))| format!("{count} {what} in {phase} from {at} ms"))
        .collect();
    let bit: Vec<String> = sim
        .refusals
        .iter()
        .map(|(limit, (at_us, times))| format!("{limit} {times}× from {} ms", at_us / 1000))
        .collect();
    let broken =
        |ceiling: &Ceiling| ceiling.evidence.iter().map(|e| e.text.clone()).collect::<Vec<_>>().join("; ");
    format!(
        "held {} of {}, stop {:?}; named {names:?}; bit: {}; lost: {}; evidence: {}",
        sim.swarm.held,
        sim.scenario.target,
        sim.swarm.growth_stopped,
        bit.join(", "),
        lost.join(", "),
        ceiling.map(broken).unwrap_or_default()
    )
}
