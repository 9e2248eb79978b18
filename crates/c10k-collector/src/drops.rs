//! For what reasons the kernel dropped packets: counted from the beginning of a run to its end, and gathered look by look.

use std::collections::{BTreeMap, VecDeque};

use c10k_kernel::drops::{DropCounters, NoReasons};
use c10k_record::{DropCount, DropReasons};

use crate::observation::Observation;

/// The reasons that are counted, by the kernel's names (include/net/dropreason-core.h), the most important first: what
/// may befall a SYN or its answer. A queue of the listener that is full gives none, but for the last ACK (Linux 6.15).
///
/// On a machine with many processors not all of them are counted. That no filter dropped a SYN is known only where each kind
/// of filter was, and no other counter tells of one: so they come first, and what has a counter of its own later.
pub(crate) const REASONS: [&str; 23] = [
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
    "IP_OUTNOROUTES",
    "CPU_BACKLOG",
    "TCP_LISTEN_OVERFLOW",
    "NEIGH_QUEUEFULL",
    "QDISC_OVERLIMIT",
    "QDISC_CONGESTED",
    "NEIGH_DEAD",
    "FULL_RING",
    "TCP_CSUM",
    "IP_CSUM",
    "OTHERHOST",
    QUEUE_PURGE,
];

/// A neighbour does not answer, and what waited for it is dropped.
const NEIGH_FAILED: &str = "NEIGH_FAILED";
/// A queue is thrown away whole. Where a packet comes while a neighbour's queue is dropped, that reason ends with the packet
/// before it, and the rest of the queue has this one (net/core/neighbour.c, `neigh_invalidate`; Linux 6.6). Sockets that are
/// closed have it too.
const QUEUE_PURGE: &str = "QUEUE_PURGE";

/// The counters of one host, open as long as the collector is.
#[derive(Debug)]
pub(crate) struct DropWatch {
    opened: Result<DropCounters, String>,
}

impl DropWatch {
    /// Opens them; they count from now on.
    pub(crate) fn begin() -> Self {
        let told = |why: NoReasons| match why.is_denied() {
            true => format!("{why}: the machine's root may"),
            false => why.to_string(),
        };
        let opened = DropCounters::open(&REASONS).map_err(told).and_then(|mut counters| {
            counters.read().map_err(|error| format!("perf_event_open: {error}"))?;
            Ok(counters)
        });
        Self { opened }
    }

    /// Of a recorded host none is known.
    pub(crate) fn of_a_recording() -> Self {
        Self { opened: Err("a recorded host has no counters of drops".to_owned()) }
    }

    /// Growth since they were opened; `None` where none can be counted.
    pub(crate) fn see(&mut self) -> Option<BTreeMap<String, u64>> {
        self.opened.as_mut().ok()?.read().ok()
    }

    /// Why none can be counted.
    pub(crate) fn why_not(&self) -> Option<&str> {
        self.opened.as_ref().err().map(String::as_str)
    }
}

/// So long after a SYN was sent may it, or its answer, be dropped: a neighbour that does not answer is asked three times, a
/// second apart (net.ipv4.neigh.default.mcast_solicit, retrans_time_ms).
const LATEST_MS: u64 = 4_000;

/// Looks at one host together.
///
/// # Whose drops these are
/// The counters are of the whole host. What a run loses is dropped when it has sent a SYN, the first time or again, and each
/// look says how many it has sent (`ActiveOpens`, `TCPSynRetrans`, which counts answers that are sent again too). More is
/// others', and so is all that is dropped while none was sent.
#[derive(Clone, Debug, Default)]
pub(crate) struct DropLevels {
    reasons: BTreeMap<String, Dropped>,
    purged: Purged,
    busy_ms: u64,
    quiet_ms: u64,
    /// At the last look; at the beginning nothing had been counted.
    last_ms: u64,
    last_syns: u64,
}

/// What was dropped for one reason.
#[derive(Clone, Debug, Default)]
struct Dropped {
    last: u64,
    count: DropCount,
    /// SYNs that may yet be dropped for it.
    sent: Sent,
}

/// Queues that were thrown away.
#[derive(Clone, Debug, Default)]
struct Purged {
    last: u64,
    /// In looks in which a neighbour did not answer.
    with_a_neighbour: DropCount,
    /// In other looks.
    without: u64,
    /// How many looks there were of either kind.
    looks_with: u64,
    looks_without: u64,
}

impl Purged {
    /// What was a neighbour's: all, where another look has hardly a tenth of it.
    fn of_neighbours(&self) -> DropCount {
        let DropCount { own, beyond, quiet } = self.with_a_neighbour;
        let with = u128::from(own + beyond + quiet) * u128::from(self.looks_without);
        let without = u128::from(self.without) * u128::from(self.looks_with);
        if without * 10 <= with { self.with_a_neighbour } else { DropCount::default() }
    }
}

/// SYNs that were sent lately, by the look that told of them, and how many of them may yet be dropped: each is one packet.
#[derive(Clone, Debug, Default)]
struct Sent(VecDeque<(u64, u64)>);

impl Sent {
    fn add(&mut self, now_ms: u64, syns: u64) {
        if syns > 0 {
            self.0.push_back((now_ms, syns));
        }
        while self.0.front().is_some_and(|(then, _)| then + LATEST_MS < now_ms) {
            self.0.pop_front();
        }
    }

    /// Whether none was sent lately. One that was dropped was sent all the same.
    fn is_none(&self) -> bool {
        self.0.is_empty()
    }

    /// Counts drops: as the run's as far as it sent as many.
    fn count(&mut self, drops: u64, count: &mut DropCount) {
        if self.is_none() {
            count.quiet += drops;
            return;
        }
        let own = self.take(drops);
        count.own += own;
        count.beyond += drops - own;
    }

    /// Takes so many, or those that there are: how many that was.
    fn take(&mut self, wanted: u64) -> u64 {
        let mut missing = wanted;
        for (_, left) in &mut self.0 {
            let taken = missing.min(*left);
            (*left, missing) = (*left - taken, missing - taken);
        }
        wanted - missing
    }
}

impl DropLevels {
    /// Takes in one look.
    pub(crate) fn look(&mut self, seen: &Observation) {
        let Some(drops) = &seen.drops else { return };
        let counted = [seen.counter("ActiveOpens"), seen.counter("TCPSynRetrans")];
        // How many were sent is not known where that cannot be read: any number may have been.
        let syns = counted.into_iter().sum::<Option<u64>>();
        let more = syns.map_or(u64::MAX, |syns| syns.saturating_sub(self.last_syns));
        let now_ms = seen.elapsed_ms;
        let mut is_quiet = true;
        for (name, now) in drops.iter().filter(|(name, _)| *name != QUEUE_PURGE) {
            let dropped = self.reasons.entry(name.clone()).or_default();
            let growth = now.saturating_sub(dropped.last);
            dropped.last = *now;
            dropped.sent.add(now_ms, more);
            is_quiet &= dropped.sent.is_none();
            dropped.sent.count(growth, &mut dropped.count);
            if name == NEIGH_FAILED {
                let purges = drops.get(QUEUE_PURGE).copied().unwrap_or(0);
                let purged = purges.saturating_sub(std::mem::replace(&mut self.purged.last, purges));
                if growth == 0 {
                    self.purged.without += purged;
                    self.purged.looks_without += 1;
                } else {
                    dropped.sent.count(purged, &mut self.purged.with_a_neighbour);
                    self.purged.looks_with += 1;
                }
            }
        }
        let passed_ms = now_ms.saturating_sub(self.last_ms);
        *(if is_quiet { &mut self.quiet_ms } else { &mut self.busy_ms }) += passed_ms;
        (self.last_ms, self.last_syns) = (now_ms, syns.unwrap_or(self.last_syns));
    }

    /// All of it; `None` where nothing was counted.
    pub(crate) fn reasons(&self) -> Option<DropReasons> {
        let counted = self.reasons.iter().map(|(name, dropped)| {
            let DropCount { mut own, mut beyond, mut quiet } = dropped.count;
            if name == NEIGH_FAILED {
                let purged = self.purged.of_neighbours();
                (own, beyond, quiet) = (own + purged.own, beyond + purged.beyond, quiet + purged.quiet);
            }
            (name.clone(), DropCount { own, beyond, quiet })
        });
        (!self.reasons.is_empty()).then(|| DropReasons {
            counted: counted.collect(),
            busy_ms: self.busy_ms,
            quiet_ms: self.quiet_ms,
            why_not: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(elapsed_ms: u64, opens: Option<u64>, resent: u64, filtered: u64) -> Observation {
        let drops = [("NETFILTER_DROP".to_owned(), filtered), ("XDP".to_owned(), 0)];
        let mut seen = Observation { elapsed_ms, drops: Some(drops.into()), ..Observation::default() };
        seen.network.counters.extend(opens.map(|opens| ("ActiveOpens", opens)));
        seen.network.counters.insert("TCPSynRetrans", resent);
        seen
    }

    fn of(looks: &[Observation]) -> (DropCount, u64, u64) {
        let mut levels = DropLevels::default();
        assert_eq!(levels.reasons(), None);
        looks.iter().for_each(|seen| levels.look(seen));
        let seen = levels.reasons().expect("it was counted");
        assert_eq!((seen.counted["XDP"], &seen.why_not), (DropCount::default(), &None));
        (seen.counted["NETFILTER_DROP"], seen.busy_ms, seen.quiet_ms)
    }

    #[test]
    fn drops_are_the_runs_where_it_has_just_sent_as_many_syns_and_others_else() {
        let looks = [
            look(250, Some(0), 0, 2),
            look(500, Some(40), 0, 43),
            look(750, Some(40), 0, 44),
            look(1_500, Some(40), 40, 84),
            look(5_500, Some(40), 40, 85),
            look(5_750, Some(40), 40, 88),
        ];
        let (count, busy_ms, quiet_ms) = of(&looks);
        assert_eq!(count, DropCount { own: 80, beyond: 3, quiet: 5 });
        assert_eq!((busy_ms, quiet_ms), (5_250, 500));
    }

    #[test]
    fn a_time_in_which_all_that_was_sent_was_dropped_is_not_quiet() {
        let looks = [look(250, Some(10), 0, 10), look(500, Some(10), 0, 11), look(4_500, Some(10), 0, 12)];
        let (count, busy_ms, quiet_ms) = of(&looks);
        assert_eq!(count, DropCount { own: 10, beyond: 1, quiet: 1 });
        assert_eq!((busy_ms, quiet_ms), (500, 4_000));
    }

    #[test]
    fn where_few_reasons_are_counted_each_kind_of_filter_is_among_them() {
        // 512 counters on 64 processors.
        for filter in
            ["NETFILTER_DROP", "SOCKET_FILTER", "TC_INGRESS", "TC_EGRESS", "XDP", "BPF_CGROUP_EGRESS"]
        {
            assert!(REASONS[..8].contains(&filter), "{filter}");
        }
    }

    #[test]
    fn what_is_dropped_some_seconds_after_it_was_sent_is_the_runs_too() {
        let (count, ..) =
            of(&[look(250, Some(30), 0, 0), look(3_500, Some(30), 0, 30), look(4_000, Some(30), 0, 35)]);
        assert_eq!(count, DropCount { own: 30, beyond: 5, quiet: 0 });
    }

    #[test]
    fn a_queue_that_is_thrown_away_as_a_neighbour_fails_was_the_neighbours() {
        let failed = |looks: &[(u64, u64, u64, u64)]| {
            let mut levels = DropLevels::default();
            for (elapsed_ms, opens, failed, purged) in looks {
                let mut seen = look(*elapsed_ms, Some(*opens), 0, 0);
                let drops = [(NEIGH_FAILED, *failed), (QUEUE_PURGE, *purged)];
                seen.drops = Some(drops.map(|(name, count)| (name.to_owned(), count)).into());
                levels.look(&seen);
            }
            let seen = levels.reasons().expect("it was counted");
            assert_eq!(seen.counted.keys().collect::<Vec<_>>(), [NEIGH_FAILED]);
            seen.counted[NEIGH_FAILED]
        };
        let own = |own| DropCount { own, beyond: 0, quiet: 0 };
        assert_eq!(failed(&[(250, 100, 0, 0), (3_250, 100, 1, 99)]), own(100));
        assert_eq!(failed(&[(250, 100, 0, 9), (3_250, 100, 1, 99)]), own(91), "a closed socket's");
        assert_eq!(
            failed(&[(250, 100, 0, 50), (3_250, 100, 1, 149)]),
            own(1),
            "sockets are closed all the time"
        );
        let now_and_then = [(250, 100, 0, 0), (500, 100, 0, 20), (750, 100, 0, 20), (3_250, 100, 1, 110)];
        assert_eq!(failed(&now_and_then), own(91), "some are closed now and then");
        let beyond = DropCount { own: 100, beyond: 50, quiet: 0 };
        assert_eq!(failed(&[(250, 100, 0, 0), (3_250, 100, 1, 149)]), beyond);
    }

    #[test]
    fn a_look_that_does_not_say_whether_syns_were_sent_is_not_quiet() {
        let mut levels = DropLevels::default();
        levels.look(&look(250, None, 0, 7));
        levels.look(&Observation { elapsed_ms: 400, ..Observation::default() });
        let seen = levels.reasons().expect("it was counted");
        assert_eq!(seen.counted["NETFILTER_DROP"], DropCount { own: 7, beyond: 0, quiet: 0 });
        assert_eq!((seen.busy_ms, seen.quiet_ms), (250, 0));
    }

    #[test]
    fn a_host_either_counts_or_says_why_not() {
        let mut watch = DropWatch::begin();
        match watch.see() {
            Some(seen) => {
                assert!(watch.why_not().is_none() && seen.contains_key("NETFILTER_DROP"), "{seen:?}");
            }
            None => assert!(watch.why_not().is_some_and(|why| !why.is_empty())),
        }
        let mut recorded = DropWatch::of_a_recording();
        assert!(recorded.see().is_none() && recorded.why_not().is_some());
    }
}
