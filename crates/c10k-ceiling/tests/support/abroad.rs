//! Runs on servers and over ways that are other people's, as data.

use c10k_ceiling::{Findings, ServerProcess, counter};
use c10k_record::{
    AgeHistogram, AgeSpread, DropCount, DropReasons, FirewallRules, Listeners, LossAges, LossOrder, Outgoing,
    PhaseName, SilentSample,
};

use super::{change, healthy, lose, moved, short};

/// A run on a server that says nothing itself, holds `held` and is seen to live.
pub(crate) fn foreign(held: u64, outcome: &str, count: u64) -> Findings {
    let mut f = short(held, outcome, count);
    f.server = None;
    (f.connections.accepted, f.connections.ghosts) = (None, None);
    f.server_process = Some(ServerProcess {
        pid: 77,
        most_descriptors: Some(held + 20),
        descriptor_limit: Some(20_000),
        listens: Some(true),
        ..ServerProcess::default()
    });
    f.evidence.listeners = Some(Listeners { count: 1, least_backlog: 128, ..Listeners::default() });
    f
}

/// The first so many succeeded, and then none.
pub(crate) fn then_none(f: &mut Findings, lost: u64) {
    f.evidence.order = Some(LossOrder {
        proven_after_loss: 0,
        lost_after_proof: lost,
        after_proof_ms: 3_000,
        ..LossOrder::default()
    });
}

/// Successes and losses in turn.
pub(crate) fn in_turn(f: &mut Findings, lost: u64) {
    f.evidence.order = Some(LossOrder {
        proven_after_loss: lost * 9,
        lost_after_proof: 1,
        after_proof_ms: 3,
        ..LossOrder::default()
    });
}

pub(crate) fn spread(ages: impl IntoIterator<Item = u64>) -> Option<AgeSpread> {
    let mut histogram = AgeHistogram::default();
    ages.into_iter().for_each(|age| histogram.add(age));
    histogram.spread()
}

/// A server that closes what it holds, 200 of them, at these ages and moments.
pub(crate) fn closed_at(ages: &dyn Fn(u64) -> u64, moments: &dyn Fn(u64) -> u64, outcome: &str) -> Findings {
    let mut f = foreign(0, outcome, 0);
    f.connections.established = 200;
    f.connections.verified = Some(200);
    lose(&mut f, PhaseName::Hold, outcome, 200, 3_500);
    f.evidence.ages = Some(LossAges {
        since_last_byte: spread((0..200).map(ages)),
        at: spread((0..200).map(moments)),
        since_connect: None,
    });
    f
}

/// Connections that were silent for 8 s and are answered no more; `unacked` of 100 are not acknowledged.
pub(crate) fn silent(unacked: u64, new_connects: Option<bool>) -> Findings {
    let mut f = foreign(0, "probe-timeout", 0);
    f.plan.both_ends_here = false;
    f.server_process = None;
    f.evidence.listeners = None;
    f.connections.established = 300;
    f.connections.verified = Some(300);
    lose(&mut f, PhaseName::Verify, "probe-timeout", 300, 13_000);
    f.evidence.silent = Some(SilentSample {
        after_ms: 2_000,
        sampled: 100,
        unacked,
        last_ack_ms: Some(8_000),
        quiet_ms: Some(8_000),
        rtt_us: Some(400),
        new_connects,
    });
    f
}

/// A proxy with `used` of 1,000 source ports in use towards what is behind it.
pub(crate) fn proxy(used: u64, target: u64) -> Findings {
    let mut f = foreign(used.min(1_000), "handshake-status-502", target - used.min(1_000));
    (f.plan.target, f.connections.target, f.plan.websocket) = (target, target, true);
    f.evidence.outgoing = Some(Outgoing {
        pid: 77,
        from: "127.0.0.1".to_owned(),
        to: "127.0.0.1:9001".to_owned(),
        ports_in_use: used,
        ports_waiting: 0,
        ports: 1_000,
        first_port: 20_000,
        last_port: 20_999,
    });
    then_none(&mut f, target - used.min(1_000));
    f
}

/// A rule that rejects beyond 400 of one source.
pub(crate) fn rejected(outcome: &str) -> Findings {
    let mut f = foreign(400, outcome, 600);
    then_none(&mut f, 600);
    f
}

/// A link between two namespaces that loses a few SYNs of many, and no rule at the server's end; no reasons are given.
pub(crate) fn lossy() -> Findings {
    let mut f = short(99_600, "connect-timeout", 400);
    f.plan.on_one_link = true;
    moved(&mut f, counter::SYN_RETRANSMITS, 9_000);
    f.evidence.drops = Some(DropReasons::unknown("the machine's root may"));
    f.evidence.rules = Some(FirewallRules { refuse: Some(0), ..FirewallRules::default() });
    f
}

/// The kernel gives its reasons, and these many packets were dropped for them while SYNs were sent; before that it was
/// quiet for two seconds.
pub(crate) fn dropping(f: &mut Findings, drops: &[(&str, u64)]) {
    let filters = ["NETFILTER_DROP", "SOCKET_FILTER", "TC_INGRESS", "TC_EGRESS", "XDP", "BPF_CGROUP_EGRESS"];
    let others = ["IP_RPFILTER", "IP_INNOROUTES", "NEIGH_FAILED", "QDISC_DROP"];
    let none = filters.iter().chain(&others).map(|name| (*name, 0));
    let counted = none.chain(drops.iter().copied());
    let counted = counted.map(|(name, own)| (name.to_owned(), DropCount { own, ..DropCount::default() }));
    f.evidence.drops =
        Some(DropReasons { counted: counted.collect(), busy_ms: 15_000, quiet_ms: 2_000, why_not: None });
}

/// What a run looks like into which that wall alone was put.
pub(crate) fn planted(name: &str) -> Option<Findings> {
    Some(match name {
        "server-limit" => {
            let mut f = foreign(510, "closed-in-handshake", 1_490);
            then_none(&mut f, 1_490);
            f
        }
        "proxy-ports-exhausted" => proxy(1_000, 2_000),
        "server-idle-limit" => closed_at(&|n| 60_000 + n % 90, &|n| 60_000 + n * 50, "closed-by-server"),
        "middlebox-forgets" => silent(100, Some(true)),
        "path-lost" => silent(100, Some(false)),
        "path-loss" => lossy(),
        "filter-rejects" => {
            let mut f = rejected("ECONNREFUSED");
            f.evidence.rules = Some(FirewallRules { all: 2, reject: 1, count: 1, limit: 0, refuse: Some(1) });
            f
        }
        "rp-filter" => {
            let mut f = healthy();
            (f.connections.held, f.connections.established, f.connections.verified) = (500, 500, Some(500));
            (f.connections.accepted, f.connections.attempted) = (Some(500), 500);
            f.server = None;
            f.verdicts.clear();
            lose(&mut f, PhaseName::Ramp, "connect-timeout", 500, 15_000);
            moved(&mut f, counter::SYN_RETRANSMITS, 2_000);
            f.counters.insert(counter::REVERSE_PATH_FILTER.to_owned(), change(3, 2_503));
            f
        }
        _ => return None,
    })
}
