//! What several shards did, as one record.

use std::collections::BTreeMap;

use c10k_record::shard::{HowEnded, Shard};
use c10k_record::{
    Connections, Failure, InShards, LostPart, PhaseKind, PhaseName, PhaseTimes, Record, RunState, ShardPart,
    Tool, Topology, Warning,
};

use super::clock::Times;
use super::costs;
use super::latencies::Pooled;
use super::part::{Part, parts};
use super::set::{Entry, Set};
use super::work;

/// All that the shards of a set did, not yet judged. `together_ms` is for how long they held at one time.
pub(crate) fn sum(set: &Set, times: &Times, pooled: &Pooled, together_ms: Option<u64>) -> Record {
    let parts = parts(set, times);
    let tool = Tool { name: "c10k-lab".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() };
    let is_local = |part: &Part<'_>| part.record.topology == Topology::Loopback;
    let topology =
        if !parts.is_empty() && parts.iter().all(is_local) { Topology::Loopback } else { Topology::Remote };
    let plan = &set.plan;
    let mut record = Record::begun(tool, set.run_id.clone(), topology, plan.protocol, plan.workload);
    record.command = std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
    record.plan = Some(plan.clone());
    if let Some(first) = parts.first() {
        record.profile = first.record.profile.clone();
        record.growth_evidence = parts.iter().find_map(|part| part.record.growth_evidence.clone());
        record.growth_stopped = parts.iter().find_map(|part| part.record.growth_stopped);
    }
    let gone: Vec<_> = parts.iter().filter_map(|part| part.record.sources_gone.clone()).flatten().collect();
    record.sources_gone = (!gone.is_empty()).then_some(gone);
    record.connections = connections(set, &parts);
    record.failures = failures(&parts);
    record.phases = phases(&parts);
    record.gaps = gaps(&parts);
    let is_open_loop = plan.load.rate_per_second.is_some();
    record.latency_us = pooled.of_run(plan.protocol, is_open_loop);
    record.lateness_us = is_open_loop.then(|| pooled.summary("lateness"));
    record.rate = costs::rate(&parts);
    record.memory_per_connection = costs::memory(&parts);
    record.cpu = costs::cpu(&parts);
    record.named_phases = work::named_phases(&parts);
    record.work = work::worked(&parts, pooled);
    record.rate.messages_per_second = messages_per_second(&record);
    record.met_on_the_way = costs::met(&parts);
    let state = state(set, &parts);
    record.end(state);
    (record.started_at, record.ended_at) = times_of_day(set);
    let shards = shards(set, times, together_ms);
    record.ended_because = shards.lost_in_words();
    record.shards = Some(shards);
    record.ceiling = costs::ceiling(&parts, record.connections.held);
    record.warnings = warnings(set, times, &parts);
    record
}

/// Messages a second of the last echo; of proofs, which come at different times, there is no sum.
fn messages_per_second(record: &Record) -> Option<f64> {
    record.work.iter().rev().find(|work| work.kind == PhaseKind::Echo)?.messages_per_second
}

/// The run went its way where one of its shards did.
fn state(set: &Set, parts: &[Part<'_>]) -> RunState {
    if set.entries.iter().any(Entry::is_counted) {
        return RunState::Complete;
    }
    let has_broken = set.entries.iter().any(|entry| entry.result.end.how == HowEnded::Broke);
    let is_stopped = |part: &Part<'_>| part.record.state == RunState::Aborted;
    if !has_broken && !parts.is_empty() && parts.iter().all(is_stopped) {
        RunState::Aborted
    } else {
        RunState::Broken
    }
}

fn connections(set: &Set, parts: &[Part<'_>]) -> Connections {
    let of = |value: &dyn Fn(&Connections) -> u64| {
        parts.iter().map(|part| value(&part.record.connections)).sum::<u64>()
    };
    // Of what one of them does not know nobody knows the sum.
    let known = |value: &dyn Fn(&Connections) -> Option<u64>| -> Option<u64> {
        let all: Option<Vec<u64>> = parts.iter().map(|part| value(&part.record.connections)).collect();
        all.filter(|all| !all.is_empty()).map(|all| all.into_iter().sum())
    };
    let mut sum = Connections {
        target: target(set, parts),
        attempted: of(&|c| c.attempted),
        established: of(&|c| c.established),
        accepted: None,
        verified: known(&|c| c.verified),
        held: of(&|c| c.held),
        at_server: known(&|c| c.at_server),
        ghosts: known(&|c| c.ghosts),
        released: of(&|c| c.released),
        open: None,
        failed: BTreeMap::new(),
    };
    if parts.iter().any(|part| part.record.connections.open.is_some()) {
        sum.open = Some(of(&|c| c.open.unwrap_or(0)));
    }
    for part in parts {
        for (outcome, count) in &part.record.connections.failed {
            sum.add_failed(outcome.clone(), *count);
        }
    }
    sum
}

/// How many were asked for: those of shards that left no record too.
fn target(set: &Set, parts: &[Part<'_>]) -> u64 {
    let plan = &set.plan;
    if plan.phases.is_empty() {
        return plan.target;
    }
    // A swarm that goes through phases lowers its target with what it releases.
    let at_end = plan.phases.iter().rev().find_map(|phase| match phase.kind {
        PhaseKind::Ramp => Some(phase.target.unwrap_or(plan.target)),
        PhaseKind::Drain => Some(phase.target.unwrap_or(0)),
        _ => None,
    });
    let is_silent = |shard: &Shard| parts.iter().all(|part| part.entry.result.shard != *shard);
    let silent = Shard::all_of(set.of).filter(is_silent).map(|shard| shard.part(at_end.unwrap_or(0)));
    parts.iter().map(|part| part.record.connections.target).chain(silent).sum()
}

fn failures(parts: &[Part<'_>]) -> Vec<Failure> {
    let mut rows: Vec<Failure> = Vec::new();
    for part in parts {
        for failure in &part.record.failures {
            let first_at_ms = part.begun_ms + failure.first_at_ms;
            match rows.iter_mut().find(|row| row.phase == failure.phase && row.outcome == failure.outcome) {
                Some(row) => {
                    row.count += failure.count;
                    row.first_at_ms = row.first_at_ms.min(first_at_ms);
                }
                None => rows.push(Failure { first_at_ms, ..failure.clone() }),
            }
        }
    }
    rows.sort_by_key(|row| (row.phase, row.first_at_ms));
    rows
}

/// Each phase from the first shard that began it to the last that ended it.
fn phases(parts: &[Part<'_>]) -> Vec<PhaseTimes> {
    let mut phases: Vec<PhaseTimes> = Vec::new();
    for name in [PhaseName::Ramp, PhaseName::Hold, PhaseName::Verify, PhaseName::Close] {
        let of = parts.iter().flat_map(|part| {
            let own = part.record.phases.iter().filter(move |times| times.phase == name);
            own.map(|times| (part.begun_ms + times.from_ms, times.to_ms.map(|to| part.begun_ms + to)))
        });
        let all: Vec<(u64, Option<u64>)> = of.collect();
        let Some(from_ms) = all.iter().map(|(from, _)| *from).min() else { continue };
        let to_ms =
            all.iter().map(|(_, to)| *to).collect::<Option<Vec<u64>>>().and_then(|all| all.into_iter().max());
        phases.push(PhaseTimes { phase: name, from_ms, to_ms });
    }
    phases
}

fn gaps(parts: &[Part<'_>]) -> Vec<c10k_record::Gap> {
    let of = |part: &Part<'_>| {
        let begun_ms = part.begun_ms;
        let shift = move |gap: &c10k_record::Gap| c10k_record::Gap {
            from_ms: begun_ms + gap.from_ms,
            to_ms: begun_ms + gap.to_ms,
            ..*gap
        };
        part.record.gaps.iter().map(shift).collect::<Vec<_>>()
    };
    let mut all: Vec<_> = parts.iter().flat_map(of).collect();
    all.sort_by_key(|gap| gap.from_ms);
    all
}

/// From the start of the first process to the end of the last, each by its own clock.
fn times_of_day(set: &Set) -> (String, Option<String>) {
    let text = |ns: u64| {
        let at = jiff::Timestamp::from_nanosecond(i128::from(ns)).unwrap_or_default();
        at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
    };
    let started = set.entries.iter().map(|entry| entry.result.started_unix_ns).min().unwrap_or(0);
    let ended = set.entries.iter().map(|entry| entry.result.ended_unix_ns).max();
    (text(started), ended.map(text))
}

fn shards(set: &Set, times: &Times, together_ms: Option<u64>) -> InShards {
    let mut lost: Vec<LostPart> = set
        .missing()
        .into_iter()
        .map(|shard| LostPart { shard, why: "it left no result".to_owned() })
        .collect();
    for entry in set.entries.iter().filter(|entry| !entry.is_counted()) {
        let end = &entry.result.end;
        let why = match &end.why {
            _ if entry.came_to_its_end() => "the others went on without it".to_owned(),
            Some(why) => why.clone(),
            None => format!("it ended with exit code {}", end.exit_code),
        };
        lost.push(LostPart { shard: entry.index(), why });
    }
    lost.sort_by_key(|lost| lost.shard);
    let part = |(n, entry): (usize, &Entry)| {
        let c = entry.result.record.as_ref().map(|record| record.connections.clone()).unwrap_or_default();
        let end = serde_json::to_value(entry.result.end.how).unwrap_or_default();
        ShardPart {
            shard: entry.index(),
            host: entry.result.host.name.clone(),
            target: entry.result.shard.target(set.plan.target, set.plan.load.steps),
            established: c.established,
            held: c.held,
            failed: c.failed_total(),
            began_after_ms: times.begun_ms(n),
            end: end.as_str().unwrap_or_default().to_owned(),
        }
    };
    InShards {
        of: set.of,
        counted: set.entries.iter().filter(|entry| entry.is_counted()).count() as u32,
        attempt: set.attempt,
        together_ms,
        clock_error_us: times.error_us(),
        lost,
        parts: set.entries.iter().enumerate().map(part).collect(),
    }
}

/// What is to be known of the set, and what the shards have warned of: what all say is said once.
fn warnings(set: &Set, times: &Times, parts: &[Part<'_>]) -> Vec<Warning> {
    let mut warnings = set.warnings.clone();
    if times.error_us().is_none() && parts.len() > 1 {
        let text = "the boxes' clocks were not compared: all times of this record stand on each box's own clock, and \
                    whether the shards held at one time is not known";
        warnings.push(Warning::new("clocks", text));
    }
    warnings.extend(super::shared::warning(parts));
    let mut said: Vec<(&Warning, Vec<u32>)> = Vec::new();
    for part in parts {
        for warning in &part.record.warnings {
            match said.iter_mut().find(|(other, _)| *other == warning) {
                Some((_, shards)) => shards.push(part.entry.index()),
                None => said.push((warning, vec![part.entry.index()])),
            }
        }
    }
    warnings.extend(said.into_iter().map(|(warning, shards)| {
        if shards.len() == parts.len() {
            return warning.clone();
        }
        let numbers: Vec<String> = shards.iter().map(ToString::to_string).collect();
        let who = if shards.len() == 1 { "shard" } else { "shards" };
        Warning::new(&warning.id, format!("{who} {} of {}: {}", numbers.join(", "), set.of, warning.text))
    }));
    warnings
}
