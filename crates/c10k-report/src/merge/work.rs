//! Phases and work of several boxes, by their names.

use c10k_record::{
    Churned, FannedOut, Latencies, NamedPhase, PhaseKind, Record, Streamed, Worked, WorkedSlice,
};

use super::latencies::Pooled;
use super::part::Part;

/// One stretch of time in what is told over time, ms.
pub(crate) const SLICE_MS: u64 = 1000;

/// The phases that the plan names, in its order.
pub(crate) fn named_phases(parts: &[Part<'_>]) -> Vec<NamedPhase> {
    let mut all: Vec<NamedPhase> = Vec::new();
    for part in parts {
        for own in &part.record.named_phases {
            let (from_ms, to_ms) = (part.begun_ms + own.from_ms, part.begun_ms + own.to_ms);
            let Some(phase) = all.iter_mut().find(|phase| phase.name == own.name) else {
                all.push(NamedPhase { from_ms, to_ms, ..own.clone() });
                continue;
            };
            phase.from_ms = phase.from_ms.min(from_ms);
            phase.to_ms = phase.to_ms.max(to_ms);
            phase.target = phase.target.zip(own.target).map(|(one, other)| one + other);
            phase.arrivals_planned += own.arrivals_planned;
            phase.arrivals += own.arrivals;
            phase.failed += own.failed;
            phase.open += own.open;
            // They may not have connected at one time.
            phase.connects_per_second = None;
            phase.swarm_cores = phase.swarm_cores.zip(own.swarm_cores).map(|(one, other)| one + other);
        }
    }
    all
}

/// What came of each phase in which connections did something.
pub(crate) fn worked(parts: &[Part<'_>], pooled: &Pooled) -> Vec<Worked> {
    let mut names: Vec<(&str, PhaseKind)> = Vec::new();
    for own in parts.iter().flat_map(|part| &part.record.work) {
        if !names.iter().any(|(name, _)| *name == own.name) {
            names.push((&own.name, own.kind));
        }
    }
    let one_of = |(name, kind)| one(name, kind, &named(parts, name), pooled);
    names.into_iter().map(one_of).collect()
}

/// The phase of that name of each shard, with when the shard began, ms after the first connect of all.
fn named<'a>(parts: &[Part<'a>], name: &str) -> Vec<(u64, &'a Worked)> {
    let mut all = Vec::new();
    for part in parts {
        let record: &'a Record = part.record;
        all.extend(record.work.iter().filter(|work| work.name == name).map(|work| (part.begun_ms, work)));
    }
    all
}

/// One phase: each part of it with when its shard began, ms after the first connect of all.
fn one(name: &str, kind: PhaseKind, all: &[(u64, &Worked)], pooled: &Pooled) -> Worked {
    let of = |value: &dyn Fn(&Worked) -> u64| all.iter().map(|(_, work)| value(work)).sum::<u64>();
    let known =
        |value: &dyn Fn(&Worked) -> Option<f64>| all.iter().map(|(_, work)| value(work)).sum::<Option<f64>>();
    let from_ms = all.iter().map(|(begun, work)| begun + work.from_ms).min().unwrap_or(0);
    let to_ms = all.iter().map(|(begun, work)| begun + work.to_ms).max().unwrap_or(0);
    let seconds = to_ms.saturating_sub(from_ms) as f64 / 1000.0;
    let per_second = |count: u64| (seconds > 0.0).then(|| count as f64 / seconds);
    let latency = |of: &str| pooled.summary(&format!("{name}.{of}"));
    let intended: Option<u64> = all.iter().map(|(_, work)| work.messages_intended).sum();
    let answered = of(&|work| work.messages_answered);
    let has_rate = all.iter().any(|(_, work)| work.messages_per_second.is_some());
    let is_late = all.iter().any(|(_, work)| work.lateness_us.is_some());
    // Without a workload the messages are the beats.
    let response = pooled.measured(&format!("{name}.response"));
    Worked {
        name: name.to_owned(),
        kind,
        from_ms,
        to_ms,
        connections: of(&|work| work.connections),
        messages_intended: intended.filter(|_| !all.is_empty()),
        messages_sent: of(&|work| work.messages_sent),
        messages_answered: answered,
        messages_not_sent_in_time: of(&|work| work.messages_not_sent_in_time),
        messages_never_sent: of(&|work| work.messages_never_sent),
        messages_wrong: of(&|work| work.messages_wrong),
        messages_per_second: per_second(answered).filter(|_| has_rate),
        response_us: response.unwrap_or_default(),
        service_us: latency("service"),
        lateness_us: is_late.then(|| latency("lateness")),
        over_time: over_time(all, from_ms, to_ms),
        churn: churned(all, pooled, name, &per_second),
        stream: streamed(all, pooled, name, &per_second),
        fanout: fanned_out(all, pooled, name),
        server_cores: None,
        swarm_cores: known(&|work| work.swarm_cores),
    }
}

/// Messages a second of all of them together; percentiles are put in from the interval log.
fn over_time(all: &[(u64, &Worked)], from_ms: u64, to_ms: u64) -> Vec<WorkedSlice> {
    let at = |middle_ms: u64| {
        let of = |(begun, work): &(u64, &Worked)| {
            let within =
                |slice: &&WorkedSlice| (begun + slice.from_ms..begun + slice.to_ms).contains(&middle_ms);
            work.over_time.iter().find(within).map_or(0.0, |slice| slice.messages_per_second)
        };
        all.iter().map(of).sum::<f64>()
    };
    let count = to_ms.saturating_sub(from_ms) / SLICE_MS;
    let slice = |n: u64| {
        let from_ms = from_ms + n * SLICE_MS;
        WorkedSlice {
            from_ms,
            to_ms: from_ms + SLICE_MS,
            messages_per_second: at(from_ms + SLICE_MS / 2),
            ..WorkedSlice::default()
        }
    };
    (0..count).map(slice).collect()
}

type PerSecond<'a> = &'a dyn Fn(u64) -> Option<f64>;

fn churned(
    all: &[(u64, &Worked)],
    pooled: &Pooled,
    name: &str,
    per_second: PerSecond<'_>,
) -> Option<Churned> {
    let parts: Vec<&Churned> = all.iter().filter_map(|(_, work)| work.churn.as_ref()).collect();
    let of = |value: &dyn Fn(&Churned) -> u64| parts.iter().map(|churn| value(churn)).sum::<u64>();
    let latency = |of: &str| pooled.measured(&format!("{name}.{of}"));
    let reopened = of(&|churn| churn.reopened);
    (!parts.is_empty()).then(|| Churned {
        closed: of(&|churn| churn.closed),
        reopened,
        failed: of(&|churn| churn.failed),
        cycles_per_second: per_second(reopened),
        // Of one box: what is kept there keeps no port of another.
        time_wait_client_peak: parts.iter().filter_map(|churn| churn.time_wait_client_peak).max(),
        time_wait_server_peak: parts.iter().filter_map(|churn| churn.time_wait_server_peak).max(),
        not_begun: of(&|churn| churn.not_begun),
        waits_for_a_port: of(&|churn| churn.waits_for_a_port),
        latency_us: Latencies {
            connect: latency("connect").unwrap_or_default(),
            handshake: latency("handshake"),
            first_echo: latency("first_echo").unwrap_or_default(),
            ..Latencies::default()
        },
    })
}

fn streamed(
    all: &[(u64, &Worked)],
    pooled: &Pooled,
    name: &str,
    per_second: PerSecond<'_>,
) -> Option<Streamed> {
    let parts: Vec<&Streamed> = all.iter().filter_map(|(_, work)| work.stream.as_ref()).collect();
    let of = |value: &dyn Fn(&Streamed) -> u64| parts.iter().map(|stream| value(stream)).sum::<u64>();
    let bytes = of(&|stream| stream.bytes);
    (!parts.is_empty()).then(|| Streamed {
        viewers: of(&|stream| stream.viewers),
        whole: of(&|stream| stream.whole),
        stalled_viewers: of(&|stream| stream.stalled_viewers),
        stalls: of(&|stream| stream.stalls),
        stall_us: pooled.summary(&format!("{name}.stall")),
        start_up_us: pooled.summary(&format!("{name}.start_up")),
        bytes,
        bits_per_second: per_second(bytes * 8),
        wrong: of(&|stream| stream.wrong),
    })
}

/// Who was the first and who the last of all boxes to receive a message nobody has seen: of each box it is known, and the
/// numbers of messages are not.
fn fanned_out(all: &[(u64, &Worked)], pooled: &Pooled, name: &str) -> Option<FannedOut> {
    let parts: Vec<&FannedOut> = all.iter().filter_map(|(_, work)| work.fanout.as_ref()).collect();
    (!parts.is_empty()).then(|| FannedOut {
        rounds: parts.iter().map(|fanout| fanout.rounds).max().unwrap_or(0),
        receivers: parts.iter().map(|fanout| fanout.receivers).sum(),
        missing: parts.iter().map(|fanout| fanout.missing).sum(),
        receipt_us: pooled.summary(&format!("{name}.receipt")),
        ..FannedOut::default()
    })
}
