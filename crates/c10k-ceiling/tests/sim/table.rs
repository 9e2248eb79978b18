//! What the diagnosis says of many situations, as a table in the repository: a name that changes shows in its diff.
//!
//! Every row is a run over the simulated box, at its caps with three targets each, over raw TCP and over WebSocket.
//! `C10K_RENEW=1` writes the table anew.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use c10k_ceiling::diagnose;
use c10k_record::Degree;

use crate::abroad::{Abroad, NoWayBack, OnTop, Rule};
use crate::abroad_plants::{ABROAD, WAYS_ABROAD};
use crate::chance::Chance;
use crate::clock::{MS, SECOND};
use crate::plants::{PLANTS, WAYS, plant};
use crate::scenario::{Fate, Scenario};
use crate::shown::all_findings;
use crate::sim::Sim;
use crate::situations::{Right, situations};

/// The number at which caps stand.
pub(crate) const CAP: u64 = 100;
/// A little beyond it, twice as many, ten times as many.
const TARGETS: [u64; 3] = [CAP + CAP / 20, 2 * CAP, 10 * CAP];
/// Words of the evidence that are shown.
const WORDS: usize = 12;
/// So many situations at least.
const LEAST: usize = 220;

/// Walls that were put there together, the one that is met first, first.
const PAIRS: [(&str, &str); 14] = [
    ("nofile-server", "nofile-swarm"),
    ("nofile-swarm", "nofile-server"),
    ("nofile-server", "conntrack"),
    ("conntrack", "nofile-server"),
    ("ports-exhausted", "nofile-server"),
    ("file-max", "ports-exhausted"),
    ("epoll-watches", "conntrack"),
    ("server-max-connections", "ports-exhausted"),
    ("firewall-drop", "ports-exhausted"),
    ("cgroup-memory", "ports-exhausted"),
    ("server-died", "conntrack"),
    ("time-wait-ports", "conntrack"),
    ("threads", "conntrack"),
    ("ports-reserved", "server-max-connections"),
];

/// One line of the table.
struct Row {
    situation: String,
    target: u64,
    names: Vec<String>,
    text: String,
    hint: String,
    is_healthy: bool,
    right: Option<Right>,
}

/// Compares the table with the one that is kept: what is wrong.
pub(crate) fn check() -> Vec<String> {
    let rows = rows();
    let mut wrong: Vec<String> = rows
        .iter()
        .filter(|row| row.is_healthy && !row.names.is_empty())
        .map(|row| format!("'{}' is healthy and has a name: {:?}", row.situation, row.names))
        .collect();
    wrong.extend(rows.iter().filter_map(|row| {
        let wrong = row.right?.against(&row.names, &row.hint)?;
        Some(format!("'{}': {wrong}", row.situation))
    }));
    let mut by_situation: BTreeMap<&str, Vec<&Row>> = BTreeMap::new();
    for row in &rows {
        by_situation.entry(&row.situation).or_default().push(row);
    }
    if by_situation.len() < LEAST {
        wrong.push(format!("{} situations are fewer than {LEAST}", by_situation.len()));
    }
    // The same server gets the same name, whatever the target was; or none, where too few came on top.
    for (situation, rows) in &by_situation {
        let firsts: Vec<&String> = rows.iter().filter_map(|row| row.names.first()).collect();
        if firsts.windows(2).any(|two| two[0] != two[1]) {
            wrong.push(format!("'{situation}' has several names: {firsts:?}"));
        }
        let unnamed = rows.iter().filter(|row| row.target > TARGETS[0] && row.names.is_empty()).count();
        if !firsts.is_empty() && unnamed > 0 {
            wrong.push(format!(
                "'{situation}' is {} at one target and has no name at a higher one",
                firsts[0]
            ));
        }
    }
    let header = "situation | target | degree | walls | evidence | remedy\n";
    let table = rows.iter().fold(header.to_owned(), |mut table, row| {
        let _ = writeln!(table, "{}", row.text);
        table
    });
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sim/names.txt");
    if std::env::var_os("C10K_RENEW").is_some() {
        std::fs::write(&path, &table).expect("the repository is writable");
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    let lines: Vec<(&str, &str)> = kept.lines().zip(table.lines()).filter(|(old, new)| old != new).collect();
    wrong.extend(lines.iter().take(9).map(|(old, new)| format!("was: {old}\n     is:  {new}")));
    if kept.lines().count() != table.lines().count() {
        wrong.push(format!("{} lines were {}", table.lines().count(), kept.lines().count()));
    }
    if kept != table {
        wrong.push("C10K_RENEW=1 cargo test -p c10k-ceiling --test sim table writes it anew".to_owned());
    }
    wrong
}

fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for (situation, change) in healthy() {
        rows.push(run(situation, 120, true, change));
    }
    for plant in PLANTS.iter().chain(WAYS) {
        let targets: &[u64] = if plant.counts { &TARGETS } else { &[160] };
        for (websocket, words) in [(false, ""), (true, ", WebSocket")] {
            for target in targets {
                rows.push(run(&format!("{}{words}", plant.wall), *target, false, |s, chance| {
                    s.world.abroad.websocket = websocket;
                    plant.put(s, chance, CAP);
                }));
            }
        }
        let situation = format!("{}, somebody else's server", plant.wall);
        rows.push(run(&situation, 200, false, |s, chance| {
            s.world.abroad.is_foreign = true;
            plant.put(s, chance, CAP);
        }));
    }
    for (lower, higher) in PAIRS {
        let of = |name: &str| plant(name).expect("a plant of that name");
        rows.push(run(&format!("{lower}, then {higher}"), 240, false, |s, chance| {
            of(higher).put(s, chance, CAP + 60);
            of(lower).put(s, chance, CAP);
        }));
    }
    for (nth, plant) in ABROAD.iter().chain(WAYS_ABROAD).enumerate() {
        for (websocket, words) in [(false, "raw"), (true, "WebSocket")] {
            for (is_remote, place) in [(false, "here"), (true, "elsewhere")] {
                let targets: &[u64] = if plant.counts { &TARGETS } else { &[160] };
                let situation = format!("abroad {nth}: {}, {words}, {place}", plant.wall);
                for target in targets {
                    rows.push(run(&situation, *target, false, |s, chance| {
                        s.world.abroad = Abroad { websocket, is_remote, ..foreign() };
                        plant.put(s, chance, CAP);
                    }));
                }
            }
        }
    }
    for (situation, change) in others() {
        rows.push(run(situation, 200, false, change));
    }
    for (situation, right, change) in situations() {
        let row = run(situation, 200, false, change);
        rows.push(Row { right: Some(right), ..row });
    }
    rows
}

fn run(situation: &str, target: u64, is_healthy: bool, change: impl Fn(&mut Scenario, &mut Chance)) -> Row {
    let seed = situation.bytes().fold(7_u64, |seed, byte| seed.wrapping_mul(31) + u64::from(byte));
    let mut chance = Chance::of(seed);
    let mut scenario = Scenario::plain(seed);
    scenario.target = target;
    change(&mut scenario, &mut chance);
    let sim = Sim::run(&scenario);
    let ceiling = diagnose(&all_findings(&sim), None);
    let degree = ceiling.as_ref().map_or("-", |ceiling| match ceiling.degree {
        Some(Degree::Proven) => "proven",
        Some(Degree::Likely) => "likely",
        _ => "unknown",
    });
    let names: Vec<String> =
        ceiling.iter().flat_map(|ceiling| &ceiling.walls).map(|wall| wall.name.clone()).collect();
    let first = ceiling.as_ref().and_then(|ceiling| ceiling.evidence.first());
    let evidence = first.map_or_else(String::new, |first| {
        let words: Vec<&str> = first.text.split_whitespace().take(WORDS).collect();
        format!("{}: {}", first.source, words.join(" "))
    });
    let walls = match &ceiling {
        None => "-".to_owned(),
        Some(_) if names.is_empty() => "unknown".to_owned(),
        Some(_) => names.join(" + "),
    };
    let has_remedy = ceiling.as_ref().and_then(|ceiling| ceiling.remedy.as_ref());
    let remedy =
        has_remedy.map_or("-", |remedy| if remedy.settings.is_empty() { "words" } else { "settings" });
    let target = scenario.target;
    let text = format!("{situation} | {target} | {degree} | {walls} | {evidence} | {remedy}");
    let hint = has_remedy.map(|remedy| remedy.summary.clone()).unwrap_or_default();
    Row { situation: situation.to_owned(), target, names, text, hint, is_healthy, right: None }
}

pub(crate) fn foreign() -> Abroad {
    Abroad { is_foreign: true, rules_are_read: true, ..Abroad::default() }
}

pub(crate) type Change = fn(&mut Scenario, &mut Chance);

/// Boxes, servers and ways with nothing in the way.
fn healthy() -> Vec<(&'static str, Change)> {
    vec![
        ("healthy, own server", |_, _| {}),
        ("healthy, WebSocket", |s, _| s.world.abroad.websocket = true),
        ("healthy, own server, open loop", |s, _| s.settings.rate = Some(500)),
        ("healthy, 1 % of all packets are lost", |s, _| {
            (s.world.lost_per_mille, s.world.abroad.data_lost_per_mille) = (10, 10);
        }),
        ("healthy, packets are late by up to 30 ms and overtaken", |s, _| {
            s.world.abroad.way_jitter_us = 30 * MS;
        }),
        ("healthy, a way of 40 ms", |s, _| s.world.delay_us = 20 * MS),
        ("healthy, somebody else's server", |s, _| s.world.abroad = foreign()),
        ("healthy, somebody else's server elsewhere", |s, _| {
            s.world.abroad = Abroad { is_remote: true, ..foreign() };
        }),
        ("healthy, a server that blocks 20 ms with each", |s, _| {
            (s.world.abroad, s.world.accept_pause_us) = (foreign(), 20 * MS);
        }),
        ("healthy, eight processes with a listener each", |s, _| {
            s.world.abroad = Abroad { processes: 8, each_listens: true, ..foreign() };
        }),
        ("healthy, a proxy with as many source ports as are needed", |s, _| {
            s.world.abroad = Abroad { proxy_ports: Some(120), ..foreign() };
        }),
        ("healthy, a rule that nobody meets", |s, _| {
            s.world.abroad =
                Abroad { most_of_a_source: Some((120, Rule::Rejects("ECONNREFUSED"))), ..foreign() };
        }),
        ("healthy, an idle limit longer than the hold", |s, _| {
            s.world.abroad = Abroad { idle_us: Some(60 * SECOND), ..foreign() };
        }),
        ("healthy, a box that forgets later than the hold", |s, _| {
            s.world.abroad = Abroad { forgets_us: Some(60 * SECOND), ..foreign() };
        }),
        ("healthy, another listener overflows", |s, _| s.world.others_overflow = 50),
        ("healthy, a noisy scheduler", |s, _| {
            (s.world.jitter_us, s.world.jitter_per_mille) = (10 * MS, 15);
        }),
    ]
}

/// Situations of other people's that are no plant.
fn others() -> Vec<(&'static str, Change)> {
    vec![
        ("a server stopped in the hold", |s, _| s.world.fates.push(Fate::StopsInHold)),
        ("somebody else's server stopped in the hold", |s, _| {
            s.world.abroad = foreign();
            s.world.fates.push(Fate::StopsInHold);
        }),
        ("every tenth is closed in good order in the hold", |s, _| {
            s.world.fates.push(Fate::Closes { one_in: 10, in_good_order: true });
        }),
        ("somebody else's server resets every tenth in the hold", |s, _| {
            s.world.abroad = foreign();
            s.world.fates.push(Fate::Closes { one_in: 10, in_good_order: false });
        }),
        ("somebody else's server closes all at one moment", |s, _| {
            s.world.abroad = foreign();
            s.world.fates.push(Fate::Closes { one_in: 1, in_good_order: true });
        }),
        ("own server closes all at one moment", |s, _| {
            s.world.fates.push(Fate::Closes { one_in: 1, in_good_order: true });
        }),
        ("sources without a way back, and no counter for it", |s, _| {
            (s.world.on_one_link, s.settings.sources) = (true, 4);
            s.world.abroad = Abroad { no_way_back: Some((2, NoWayBack::AtRouter)), ..foreign() };
        }),
        ("a rule that drops beyond 20 a second", |s, _| {
            (s.settings.rate, s.world.abroad) =
                (Some(100), Abroad { most_a_second: Some((20, Rule::Drops)), ..foreign() });
        }),
        ("a rule that may not be read rejects beyond 25 of a source", |s, _| {
            let rule = Some((25, Rule::Rejects("ECONNREFUSED")));
            s.world.abroad = Abroad { most_of_a_source: rule, rules_are_read: false, ..foreign() };
        }),
        ("a server at its limit behind a rule that rejects later", |s, _| {
            let rule = Some((30, Rule::Rejects("ECONNREFUSED")));
            let limit = Some((CAP, OnTop::Ends("closed-by-server")));
            s.world.abroad = Abroad { limit, most_of_a_source: rule, ..foreign() };
        }),
        ("a limit that waits, on a way that loses 1 %", |s, _| {
            let limit = Some((CAP, OnTop::Waits));
            s.world.lost_per_mille = 10;
            s.world.abroad = Abroad { limit, data_lost_per_mille: 10, ..foreign() };
        }),
        ("a limit that closes, with packets late by up to 30 ms", |s, _| {
            let limit = Some((CAP, OnTop::Ends("closed-by-server")));
            s.world.abroad = Abroad { limit, way_jitter_us: 30 * MS, ..foreign() };
        }),
        ("a way that goes while a box on it forgets", |s, _| {
            (s.world.abroad, s.world.hold_us) =
                (Abroad { forgets_us: Some(5 * SECOND), ..foreign() }, 12 * SECOND);
            s.world.fates.push(Fate::WayGoes);
        }),
    ]
}
