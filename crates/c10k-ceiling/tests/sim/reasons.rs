//! The reasons that the kernel gives for packets that it drops, and those of others on the same host.

use c10k_record::{DropCount, DropReasons, PhaseName};

use crate::clock::{MS, SECOND};
use crate::sim::Sim;

/// Reasons that this kernel knows, the most important first. A SYN that finds no room at the listener has none.
const KNOWN: [&str; 13] = [
    "NETFILTER_DROP",
    "SOCKET_FILTER",
    "IP_RPFILTER",
    "IP_INNOROUTES",
    "TC_INGRESS",
    "TC_EGRESS",
    "XDP",
    "BPF_CGROUP_EGRESS",
    "NEIGH_FAILED",
    "NEIGH_CREATEFAIL",
    "QDISC_DROP",
    "CPU_BACKLOG",
    "TCP_LISTEN_OVERFLOW",
];
/// So many of them are counted on a host of 128 processors.
const FEW: usize = 4;
/// The lab looks for so long before the first connect, µs.
const BEFORE_US: u64 = SECOND;

impl Sim<'_> {
    /// A packet is dropped for this reason.
    pub(crate) fn drops(&mut self, reason: &'static str, count: u64) {
        *self.counted.dropped.entry(reason).or_default() += count;
    }
}

/// What the counters say, where they may be had.
pub(crate) fn drop_reasons(sim: &Sim<'_>) -> DropReasons {
    let world = &sim.scenario.world;
    if !world.reasons_are_read {
        return DropReasons::unknown("not for this user");
    }
    let ramp_us = sim.loads.get(&PhaseName::Ramp).map_or(sim.clock.now_us, |load| load[3]);
    let of_others = |us: u64| world.others_filtered_per_second * us / SECOND;
    let count = |reason: &&'static str| {
        let own = sim.counted.dropped.get(reason).copied().unwrap_or(0);
        let is_a_rules = *reason == "NETFILTER_DROP";
        let (busy, quiet) = if is_a_rules { (of_others(ramp_us), of_others(BEFORE_US)) } else { (0, 0) };
        // No more than it has sent is taken for its own.
        let most = (sim.swarm.attempted + sim.counted.syn_retransmits).max(own);
        let taken = (own + busy).min(most);
        ((*reason).to_owned(), DropCount { own: taken, beyond: own + busy - taken, quiet })
    };
    let counted = if world.few_reasons_are_counted { &KNOWN[..FEW] } else { &KNOWN };
    DropReasons {
        counted: counted.iter().map(count).collect(),
        busy_ms: ramp_us / MS,
        quiet_ms: BEFORE_US / MS,
        why_not: None,
    }
}
