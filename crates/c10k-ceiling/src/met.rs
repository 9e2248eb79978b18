//! Limits that a run met and recovered from: they cost time, and no connection.

use c10k_record::{Ceiling, MetOnTheWay, Warning, human_count};

use crate::counter;
use crate::diagnose::with_what_follows;
use crate::findings::Findings;
use crate::wall::{Met, Wall};
use crate::walls::walls;

/// The limits that a run met which holds all it was asked for, as its counters say, in the order of the table. Those that
/// its ceiling names are left out: they are told there.
///
/// A run that is short, was aborted, or lost its server is told of by its ceiling alone: what its counters show may be what
/// came of that.
#[must_use]
pub fn met_on_the_way(findings: &Findings, ceiling: Option<&Ceiling>) -> Vec<MetOnTheWay> {
    if findings.aborted || findings.is_short() || findings.server_end.is_some() {
        return Vec::new();
    }
    let mut settled = with_what_follows(findings);
    // What did not would hold less.
    settled.plan.server_went_on = true;
    let is_named = |wall: &Wall| {
        ceiling.is_some_and(|ceiling| ceiling.walls.iter().any(|found| found.name == wall.name))
    };
    let met = walls().filter(|wall| !is_named(wall)).filter_map(|wall| Some((wall, (wall.met)(&settled)?)));
    met.map(|(wall, met)| told(wall, met, &settled)).collect()
}

fn told(wall: &Wall, met: Met, findings: &Findings) -> MetOnTheWay {
    MetOnTheWay {
        wall: wall.name.to_owned(),
        title: wall.title.to_owned(),
        side: wall.side,
        times: met.times,
        cost: findings.latency_us.late.filter(|_| met.delays),
        evidence: findings.told_of_hosts(met.evidence),
        remedy: Some((wall.lift)(findings.host_of(wall.side), &findings.plan)),
    }
}

/// A warning of connects that took as long as a SYN which is sent again, where no limit that was met explains them;
/// `None` where the kernel has sent none again, so that they are late for another reason, such as a swarm that did not run.
#[must_use]
pub fn syns_sent_again(
    findings: &Findings,
    met: &[MetOnTheWay],
    ceiling: Option<&Ceiling>,
) -> Option<Warning> {
    let is_explained =
        met.iter().any(|met| met.cost.is_some()) || ceiling.is_some_and(|ceiling| !ceiling.walls.is_empty());
    if findings.aborted || is_explained {
        return None;
    }
    let (late, resent) = findings.waited_for_syns()?;
    let connect = findings.latency_us.connect;
    // Where half of all take long, the way is slow and the steps are none.
    let half_us = connect.p50.filter(|half_us| *half_us < c10k_record::LATE_US / 2)?;
    if findings.are_few(late.connects_at_steps.min(resent)) {
        return None;
    }
    let dropped = [
        counter::LISTEN_OVERFLOWS,
        counter::LISTEN_DROPS,
        counter::REQ_QUEUE_FULL_DROP,
        counter::SOFTNET_DROPPED,
        counter::CONNTRACK_DROPPED,
        counter::LINK_DROPPED,
    ];
    let moved =
        dropped.iter().filter_map(|name| Some(format!("{name} by {}", human_count(findings.grew(name)?))));
    let moved: Vec<String> = moved.collect();
    let whose = if moved.is_empty() {
        "no counter of drops that was read moved: look at what limits a rate or drops on the way (sudo nft list ruleset), \
         and at the listener's machine"
            .to_owned()
    } else {
        format!("{} grew, and whose drops these were is not known", moved.join(", "))
    };
    let text = format!(
        "{} of {} connects took 1, 2, 3 … s, as those do whose SYN is sent again, the longest {:.1} s (half of all took \
         {:.1} ms), and TCPSynRetrans grew by {}; {whose}",
        human_count(late.connects_at_steps),
        human_count(connect.count),
        late.longest_connect_us.unwrap_or(0) as f64 / 1e6,
        half_us as f64 / 1e3,
        human_count(resent)
    );
    Some(Warning::new("syns-sent-again", text))
}
