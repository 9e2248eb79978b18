//! Rates, memory, processor time and walls of several boxes.

use c10k_record::{Ceiling, ConnectRate, Cpu, MemoryPerConnection, MetOnTheWay, Rate};

use super::part::Part;

/// How many a shard has connected, as its rate counts them.
fn connected(part: &Part<'_>) -> f64 {
    let c = &part.record.connections;
    c.verified.unwrap_or(c.established) as f64
}

/// All connections over the time from the first connect of all to the last that was verified.
pub(crate) fn rate(parts: &[Part<'_>]) -> Rate {
    let until = |part: &Part<'_>| {
        let mean = part.record.rate.connects_per_second.mean.filter(|mean| *mean > 0.0)?;
        Some(part.begun_ms as f64 / 1000.0 + connected(part) / mean)
    };
    let last = parts.iter().filter_map(until).reduce(f64::max).filter(|seconds| *seconds > 0.0);
    let mean = last.map(|seconds| parts.iter().map(connected).sum::<f64>() / seconds);
    let has_pauses = |part: &Part<'_>| {
        let rate = part.record.rate.connects_per_second;
        rate.without_pauses.zip(rate.mean).is_some_and(|(without, mean)| without > mean * 1.001)
    };
    let has_pauses = parts.iter().any(has_pauses);
    // Pauses of several boxes are not at one time. The peak is found in the counts over time.
    let without_pauses = mean.filter(|_| !has_pauses);
    Rate { connects_per_second: ConnectRate { mean, without_pauses, peak: mean }, messages_per_second: None }
}

/// The mean over all connections.
pub(crate) fn memory(parts: &[Part<'_>]) -> MemoryPerConnection {
    let known = |part: &Part<'_>| {
        let memory = &part.record.memory_per_connection;
        Some((memory.connections?, memory.client_user_bytes?))
    };
    let all: Vec<(u64, f64)> = parts.iter().filter_map(known).collect();
    let connections: u64 = all.iter().map(|(connections, _)| connections).sum();
    if connections == 0 {
        return MemoryPerConnection::default();
    }
    let bytes: f64 = all.iter().map(|(connections, bytes)| *connections as f64 * bytes).sum();
    MemoryPerConnection {
        connections: Some(connections),
        client_user_bytes: Some(bytes / connections as f64),
        ..MemoryPerConnection::default()
    }
}

/// Processor time of all swarms: cores of all boxes together, over the longest ramp.
pub(crate) fn cpu(parts: &[Part<'_>]) -> Cpu {
    let us = |part: &Part<'_>| {
        let per_connection = part.record.cpu.swarm_us_per_connection?;
        Some(per_connection * part.record.connections.attempted as f64)
    };
    let ramp_us = parts.iter().filter_map(|part| part.record.cpu.ramp_us).max();
    let attempted: u64 = parts.iter().map(|part| part.record.connections.attempted).sum();
    let all_us: Option<f64> = parts.iter().map(us).sum();
    let all_us = all_us.filter(|_| attempted > 0);
    Cpu {
        ramp_us,
        swarm_cores: all_us.zip(ramp_us.filter(|us| *us > 0)).map(|(us, ramp_us)| us / ramp_us as f64),
        swarm_us_per_connection: all_us.map(|us| us / attempted as f64),
        ..Cpu::default()
    }
}

/// The wall that the shard met which lost the most by one.
pub(crate) fn ceiling(parts: &[Part<'_>], held: u64) -> Option<Ceiling> {
    let met = parts.iter().filter_map(|part| Some((part, part.record.ceiling.as_ref()?)));
    let lost = |part: &Part<'_>| part.record.connections.target.saturating_sub(part.record.connections.held);
    let (_, ceiling) = met.max_by_key(|(part, _)| lost(part))?;
    // What one box foresaw is no prediction of the whole.
    Some(Ceiling { connections: held, predicted: None, off_by: None, ..ceiling.clone() })
}

/// Limits that were met, each once.
pub(crate) fn met(parts: &[Part<'_>]) -> Vec<MetOnTheWay> {
    let mut all: Vec<MetOnTheWay> = Vec::new();
    for met in parts.iter().flat_map(|part| &part.record.met_on_the_way) {
        match all.iter_mut().find(|other| other.wall == met.wall) {
            Some(other) => {
                other.times += met.times;
                other.cost = None;
            }
            None => all.push(met.clone()),
        }
    }
    all
}
