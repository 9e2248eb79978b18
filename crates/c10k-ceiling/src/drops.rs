//! What was dropped on the way, held against what was lost: by the counters of both ends, and by the reasons that the kernel
//! gives.
//!
//! The reasons are the whole host's. What somebody else lost proves nothing, so only drops count that are as many as what was
//! lost (`proportion.rs`), and in the time in which it was: each SYN, and each answer to one, that is lost is sent again, but for
//! the last of a connect that got no answer. Where the counters of the run's own namespaces tell of most of what was lost, they
//! say more. Where others lose so many that the run's own losses are few beside them, the kernel says neither that a filter
//! dropped these nor that none did.

use c10k_record::{DroppedFor, Evidence, Side, human_count};

use crate::counter;
use crate::findings::Findings;
use crate::wall::seen;

/// Filters of this host.
const BY_A_FILTER: [&str; 6] =
    ["NETFILTER_DROP", "SOCKET_FILTER", "TC_INGRESS", "TC_EGRESS", "XDP", "BPF_CGROUP_EGRESS"];
/// The check of the way back.
pub(crate) const BY_REVERSE_PATH: [&str; 1] = ["IP_RPFILTER"];
/// No route, or a next machine that does not answer.
pub(crate) const FOR_NO_WAY: [&str; 5] =
    ["IP_INNOROUTES", "IP_OUTNOROUTES", "NEIGH_FAILED", "NEIGH_QUEUEFULL", "NEIGH_DEAD"];
/// A table of neighbours without room.
pub(crate) const FOR_NO_NEIGHBOUR: [&str; 1] = ["NEIGH_CREATEFAIL"];
/// A processor's input queue.
pub(crate) const AT_THE_INPUT: [&str; 1] = ["CPU_BACKLOG"];
/// A full accept queue, of which the last ACK alone has a reason.
pub(crate) const AT_THE_LISTENER: [&str; 1] = ["TCP_LISTEN_OVERFLOW"];
/// A queue before a device, or one of a device.
pub(crate) const AT_A_DEVICE: [&str; 4] = ["QDISC_DROP", "QDISC_OVERLIMIT", "QDISC_CONGESTED", "FULL_RING"];
/// What a way does to packets that it does not lose: they come to somebody else, or changed.
pub(crate) const ASTRAY: [&str; 3] = ["OTHERHOST", "TCP_CSUM", "IP_CSUM"];

/// Less time tells nothing of what others lose, milliseconds.
const LEAST_QUIET_MS: u64 = 50;

impl Findings {
    /// Whether the kernel dropped packets for these reasons that explain the connects without an answer, as
    /// [`Findings::explains`].
    pub(crate) fn dropped_for(&self, reasons: &[&str]) -> Option<bool> {
        let drops = self.evidence.drops.as_ref()?;
        let is_proof = self.explains(drops.for_any_of(reasons))?;
        Some(is_proof && drops.quiet_ms >= LEAST_QUIET_MS)
    }

    /// The same of filters. What the counters of the run's own namespaces tell of, no filter has dropped; a full table of
    /// tracked connections drops as a rule does, and has such a counter.
    pub(crate) fn dropped_by_a_filter(&self) -> Option<bool> {
        let is_proof = self.dropped_for(self.filters())?;
        let counted = [counter::LISTEN_DROPS, counter::REVERSE_PATH_FILTER, counter::CONNTRACK_DROPPED];
        let counted =
            counted.iter().fold(0, |sum: u64, name| sum.saturating_add(self.grew(name).unwrap_or(0)));
        let is_told = self.syns_lost().is_some_and(|all| counted.saturating_mul(2) >= all);
        match self.conntrack_full() {
            _ if is_told => None,
            Some(true) => None,
            // Where the table was not looked at it may have been the one.
            is_full => Some(is_proof && is_full == Some(false)),
        }
    }

    /// The filters that may have dropped something of this run. Where both ends stand in namespaces of the lab's own, with
    /// nothing between them, and there is no rule, what netfilter drops on this host is somebody else's.
    pub(crate) fn filters(&self) -> &'static [&'static str] {
        if self.has_no_rule_anywhere() { &BY_A_FILTER[1..] } else { &BY_A_FILTER }
    }

    /// Whether both ends stand in namespaces of the lab's own, with nothing between them, and there is no rule.
    pub(crate) fn has_no_rule_anywhere(&self) -> bool {
        let is_direct = self.plan.own_server && self.plan.both_ends_here;
        is_direct && self.evidence.rules.is_some_and(|rules| rules.all == 0)
    }

    /// What filters of this host dropped, those of others among it; `None` where it is known of none of them.
    fn filtered(&self) -> Option<DroppedFor> {
        let drops = self.evidence.drops.as_ref()?;
        let is_counted = self.filters().iter().any(|name| drops.knows(name));
        is_counted.then(|| drops.for_any_of(self.filters()))
    }

    /// Whether each filter that may have dropped something of this run was counted: of one that was not nothing is known.
    fn filters_are_counted(&self) -> bool {
        let drops = self.evidence.drops.as_ref();
        drops.is_some_and(|drops| self.filters().iter().all(|name| drops.knows(name)))
    }

    /// Whether the filters that were counted dropped too little to be the ones, be all of it the run's.
    pub(crate) fn counted_filters_dropped_too_few(&self) -> bool {
        self.filtered().is_some_and(|dropped| !self.are_enough(dropped.own))
    }

    /// Whether the kernel says that no filter of this host is the one that dropped what was lost. Where others lose as many
    /// by filters as the run lost, that they are others' is not known of any of them, and the kernel says nothing of this run.
    pub(crate) fn filters_are_out(&self) -> bool {
        self.filters_are_counted() && self.counted_filters_dropped_too_few()
    }

    /// Whether there are rules at the server's end, and the kernel does not say that they dropped too few.
    pub(crate) fn rules_may_drop(&self) -> bool {
        let are_counted = self.evidence.drops.as_ref().is_some_and(|drops| drops.knows(BY_A_FILTER[0]));
        let are_out = are_counted && self.counted_filters_dropped_too_few();
        !are_out && self.evidence.rules.is_some_and(|rules| rules.all > 0)
    }

    /// Whether filters dropped as many more than all the time as the run lost, though others lose by them too much for a name.
    pub(crate) fn may_hide_a_filter(&self) -> bool {
        self.filtered().is_some_and(|dropped| self.are_enough(dropped.own.saturating_sub(dropped.hidden)))
    }

    /// Whether there is no filter at either end that could have dropped what was lost: the kernel says that hardly anything
    /// was dropped by one, or there is no rule at the server's end, and what it does say is no more.
    pub(crate) fn no_filter_dropped(&self) -> bool {
        let lost = self.unanswered_connects().map_or(0, |lost| lost.count);
        let are_few = self.filtered().is_none_or(|dropped| dropped.own <= lost / 10);
        // A filter on the listener is no rule: what it drops the listener counts.
        let has_none = self.evidence.rules.is_some_and(|rules| rules.all == 0)
            && self.grew(counter::LISTENER_DROPS).is_none();
        are_few && (self.filters_are_counted() || has_none)
    }

    /// What filters dropped, beside a name that is none of theirs.
    pub(crate) fn filters_beside(&self) -> Option<Evidence> {
        let Some(dropped) = self.filtered() else {
            let why = self.evidence.drops.as_ref()?.why_not.as_ref()?;
            let text = format!("for what reason the kernel drops is not known: {why}");
            return Some(seen("filters", Side::Host, None, text));
        };
        let whose = match (self.filters_are_out(), self.counted_filters_dropped_too_few()) {
            (true, _) => "not these",
            (_, true) => "not these, and not every kind of filter was counted",
            _ => "whose they were is not known, others lose by them too",
        };
        let text =
            format!("packets that a filter of this machine dropped meanwhile (skb:kfree_skb): {whose}");
        Some(seen("filters", Side::Host, Some(dropped.own), text))
    }

    /// Whether the server's machine, or one between the ends, has no route by which what was lost would have gone: as
    /// [`Findings::explains`].
    pub(crate) fn found_no_route(&self) -> Option<bool> {
        // The namespaces of two ends of the lab's own count what found no route there: more of it is other namespaces'.
        let is_direct = self.plan.own_server && self.plan.both_ends_here && !self.plan.ipv6;
        let reasons = if is_direct { &FOR_NO_WAY[2..] } else { &FOR_NO_WAY[..] };
        self.answers_found_no_route().max(self.dropped_for(reasons))
    }

    /// Whether no packet was dropped for want of room in the table of neighbours, where the kernel would say so: `Some(false)` as
    /// that it was not full, `None` where it may have been.
    pub(crate) fn every_neighbour_found_room(&self) -> Option<bool> {
        let drops = self.evidence.drops.as_ref()?;
        let is_known = FOR_NO_NEIGHBOUR.iter().all(|reason| drops.knows(reason));
        (is_known && drops.for_any_of(&FOR_NO_NEIGHBOUR).own == 0).then_some(false)
    }

    /// Whether the counters of both ends were read: here, or by the other host's own collector.
    pub(crate) fn sees_both_ends(&self) -> bool {
        self.plan.both_ends_here || self.far.is_some()
    }

    /// Whether each queue at either end that can have no room for a SYN was looked at, and none dropped any.
    pub(crate) fn no_queue_dropped(&self) -> bool {
        let witnesses = [
            counter::LISTEN_OVERFLOWS,
            counter::LISTEN_DROPS,
            counter::REQ_QUEUE_FULL_DROP,
            counter::SOFTNET_DROPPED,
            counter::ABORT_ON_MEMORY,
        ];
        witnesses.iter().all(|name| self.stood_still(name))
            && self.conntrack_full() == Some(false)
            && self.link_is_full() == Some(false)
            && self.neighbours_full() == Some(false)
            && self.grew(counter::REVERSE_PATH_FILTER).is_none()
    }

    /// Whether the queue before a link that says what it carries dropped too few to be the one, where there is such a link.
    pub(crate) fn link_dropped_few(&self) -> bool {
        let lost = self.unanswered_connects().map_or(0, |lost| lost.count);
        self.host.link_bits_per_second.is_none_or(|bits| bits == 0)
            || self.counter(counter::LINK_DROPPED).is_some_and(|change| change.growth() <= lost / 10)
    }

    /// Whether a SYN lost on this machine would have left a trace here, and none did: each place that can drop it was
    /// looked at.
    pub(crate) fn no_counter_moved(&self) -> bool {
        // A link that says no limit has no queue that is known to drop.
        let the_link_did_not =
            self.host.link_bits_per_second.is_none() || self.stood_still(counter::LINK_DROPPED);
        self.no_queue_dropped() && the_link_did_not && self.grew(counter::DEVICE_DROPPED).is_none()
    }

    /// What was dropped for these reasons, a piece of evidence for each.
    pub(crate) fn drop_evidence(&self, reasons: &[&str]) -> Vec<Evidence> {
        let Some(drops) = &self.evidence.drops else { return Vec::new() };
        let told = |reason: &&str| {
            let dropped = drops.for_any_of(&[*reason]);
            let others = match dropped.of_others {
                0 => String::new(),
                some => format!(", and about {} of others", human_count(some)),
            };
            let text = format!("packets dropped {}{others} (skb:kfree_skb, the whole host)", meaning(reason));
            let own = dropped.own - dropped.hidden;
            (own > 0).then(|| seen(reason, Side::Host, Some(own), text))
        };
        reasons.iter().filter_map(told).collect()
    }

    /// All that was dropped, whatever the reason.
    pub(crate) fn all_drop_evidence(&self) -> Vec<Evidence> {
        let drops = self.evidence.drops.iter();
        let reasons: Vec<&str> = drops.flat_map(|drops| drops.counted.keys()).map(String::as_str).collect();
        self.drop_evidence(&reasons)
    }
}

/// What a reason means, behind "packets dropped".
fn meaning(reason: &str) -> &'static str {
    match reason {
        "NETFILTER_DROP" => "by a rule of netfilter (nftables, iptables)",
        "SOCKET_FILTER" => "by a filter on a socket",
        "TC_INGRESS" | "TC_EGRESS" => "by a traffic filter (tc)",
        "XDP" => "by an XDP program",
        "BPF_CGROUP_EGRESS" => "by a program of a control group",
        "IP_RPFILTER" => "since the way back to their source is another one, or there is none (rp_filter)",
        "IP_INNOROUTES" => "on their way in or through, for want of a route to where they go",
        "IP_OUTNOROUTES" => "on their way out, for want of a route",
        "NEIGH_FAILED" | "NEIGH_DEAD" => "since the next machine on the link does not answer",
        "NEIGH_QUEUEFULL" => "while the next machine on the link was asked for",
        "NEIGH_CREATEFAIL" => "because the table of neighbours had no room",
        "CPU_BACKLOG" => "because a processor's input queue was full",
        "TCP_LISTEN_OVERFLOW" => "because an accept queue was full",
        "QDISC_DROP" | "QDISC_OVERLIMIT" | "QDISC_CONGESTED" => "by the queue before a device (tc -s qdisc)",
        "FULL_RING" => "because the queue of a tun or tap device was full",
        "TCP_CSUM" | "IP_CSUM" => "with a wrong checksum",
        "OTHERHOST" => "since they were addressed to another machine on the link",
        _ => "by the kernel",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use c10k_record::{CounterChange, DropCount, DropReasons, Failure, FirewallRules, Outcome, PhaseName};

    use super::*;

    /// Ten connects that got no answer, and forty SYNs that were sent again.
    fn lost() -> Findings {
        let mut findings = Findings::default();
        findings.counters.insert(counter::CONNTRACK_DROPPED.to_owned(), moved(0));
        let outcome = Outcome::connect_timeout();
        (findings.connections.target, findings.connections.attempted) = (10, 10);
        findings.connections.add_failed(outcome.clone(), 10);
        findings.failures = vec![Failure { phase: PhaseName::Ramp, outcome, count: 10, first_at_ms: 15_000 }];
        findings.counters.insert(counter::SYN_RETRANSMITS.to_owned(), CounterChange { before: 3, after: 43 });
        findings
    }

    fn dropping(own: u64, beyond: u64, quiet: u64) -> Findings {
        let mut findings = lost();
        let mut counted = BTreeMap::from(BY_A_FILTER.map(|name| (name.to_owned(), DropCount::default())));
        counted.insert("NETFILTER_DROP".to_owned(), DropCount { own, beyond, quiet });
        findings.evidence.drops =
            Some(DropReasons { counted, busy_ms: 10_000, quiet_ms: 2_000, why_not: None });
        findings
    }

    fn moved(after: u64) -> CounterChange {
        CounterChange { before: 0, after }
    }

    #[test]
    fn drops_prove_something_in_the_number_of_what_was_lost_alone() {
        let proves = |own, beyond, quiet| dropping(own, beyond, quiet).dropped_by_a_filter();
        assert_eq!(proves(50, 0, 0), Some(true), "each SYN, and each that was sent again");
        assert_eq!(proves(45, 0, 0), Some(true));
        assert_eq!(proves(44, 0, 0), Some(false), "others of them were lost elsewhere");
        assert_eq!(proves(9, 0, 0), None, "fewer than the connects that got no answer");
        // Five a second are somebody else's: as many as were lost.
        assert_eq!(proves(50, 0, 10), None);
        assert_eq!(proves(60, 0, 2), Some(false), "ten of them are");
        assert_eq!(proves(54, 0, 1), Some(true), "five are");
        // More than the run had sent.
        assert_eq!((proves(50, 5, 0), proves(50, 6, 0)), (Some(true), Some(false)));
        assert_eq!(proves(50, 50, 0), None, "most are others'");
        // A SYN of the run's that is dropped is lost or sent again: beside so many its own losses are few.
        assert_eq!((proves(116, 0, 0), proves(117, 0, 0), proves(5_000, 0, 0)), (Some(true), None, None));
        let mut hurried = dropping(50, 0, 0);
        hurried.evidence.drops.as_mut().expect("counted").quiet_ms = 0;
        assert_eq!(hurried.dropped_by_a_filter(), Some(false), "nobody has looked at others");
        let unread = |own| {
            let mut unread = dropping(own, 0, 0);
            unread.counters.remove(counter::SYN_RETRANSMITS);
            unread.dropped_by_a_filter()
        };
        assert_eq!(unread(50), Some(false), "how many were lost is not known");
        assert_eq!((unread(236), unread(237)), (Some(false), None), "no ten connects send so many SYNs");
    }

    #[test]
    fn where_the_answers_are_lost_the_syns_that_were_sent_again_were_not() {
        let mut findings = dropping(40, 0, 0);
        assert_eq!(findings.dropped_by_a_filter(), Some(false), "of 50");
        findings.counters.insert(counter::ANSWER_RETRANSMITS.to_owned(), moved(28));
        assert_eq!(findings.dropped_by_a_filter(), Some(true), "of 38 answers, whatever 12 SYNs are");
        findings.counters.insert(counter::ANSWER_RETRANSMITS.to_owned(), moved(0));
        assert_eq!(findings.dropped_by_a_filter(), Some(false));
    }

    #[test]
    fn what_counters_of_the_run_s_own_namespaces_tell_of_no_rule_has_dropped() {
        for name in [counter::CONNTRACK_DROPPED, counter::LISTEN_DROPS, counter::REVERSE_PATH_FILTER] {
            let mut findings = dropping(50, 0, 0);
            findings.counters.insert(name.to_owned(), moved(25));
            assert_eq!(findings.dropped_by_a_filter(), None, "{name}");
            findings.counters.insert(name.to_owned(), moved(0));
            assert_eq!(findings.dropped_by_a_filter(), Some(true), "{name}");
        }
        let mut findings = dropping(50, 0, 0);
        findings.counters.remove(counter::CONNTRACK_DROPPED);
        assert_eq!(findings.dropped_by_a_filter(), Some(false), "nobody has looked at the table");
        findings.host.conntrack_max = Some(100);
        findings.counters.insert(counter::CONNTRACK_COUNT.to_owned(), moved(100));
        assert_eq!(findings.dropped_by_a_filter(), None, "how many it dropped is not known");
    }

    #[test]
    fn between_namespaces_of_the_labs_own_that_have_no_rule_netfilter_drops_somebody_elses() {
        let mut findings = dropping(50, 0, 0);
        (findings.plan.own_server, findings.plan.both_ends_here) = (true, true);
        assert_eq!(findings.dropped_by_a_filter(), Some(true), "rules may be there");
        findings.evidence.rules = Some(FirewallRules::default());
        assert!(findings.dropped_by_a_filter().is_none() && findings.no_filter_dropped());
        findings.plan.own_server = false;
        assert_eq!(findings.dropped_by_a_filter(), Some(true), "a router of somebody else's may be between");
    }

    #[test]
    fn a_filter_is_excluded_by_reasons_that_stood_still_or_where_there_is_no_rule() {
        assert!(dropping(0, 0, 0).no_filter_dropped() && !dropping(2, 0, 0).no_filter_dropped());
        let mut findings = lost();
        assert!(!findings.no_filter_dropped(), "nobody has looked");
        findings.evidence.drops = Some(DropReasons::unknown("not for this user"));
        findings.evidence.rules = Some(FirewallRules::default());
        assert!(findings.no_filter_dropped() && !findings.filters_are_out());
        // No rule there: but by some filter of this host so many were dropped.
        let mut findings = dropping(40, 0, 8);
        findings.evidence.rules = Some(FirewallRules::default());
        assert!(!findings.no_filter_dropped());
    }

    #[test]
    fn filters_are_out_where_each_of_them_was_counted_and_all_together_dropped_too_few() {
        assert!(dropping(24, 0, 0).filters_are_out(), "less than half of 50 that were lost");
        assert!(!dropping(25, 0, 0).filters_are_out());
        for one in BY_A_FILTER {
            let mut findings = dropping(0, 0, 0);
            let drops = findings.evidence.drops.as_mut().expect("counted");
            drops.counted.insert(one.to_owned(), DropCount { own: 50, ..DropCount::default() });
            assert_eq!(findings.dropped_by_a_filter(), Some(true), "{one}");
            // On a machine with many processors not all are counted.
            findings.evidence.drops.as_mut().expect("counted").counted.remove(one);
            assert!(findings.counted_filters_dropped_too_few(), "{one}");
            assert!(!findings.filters_are_out() && !findings.no_filter_dropped(), "{one}");
            let told = findings.filters_beside().expect("some were counted").text;
            assert!(told.ends_with("not these, and not every kind of filter was counted"), "{told}");
        }
    }

    #[test]
    fn beside_what_others_lose_by_filters_the_kernel_says_nothing_of_what_the_run_lost() {
        // 200 a second are others', and the run lost 50.
        let findings = dropping(90, 1_960, 400);
        assert_eq!(findings.dropped_by_a_filter(), None);
        assert!(!findings.filters_are_out() && !findings.no_filter_dropped());
        assert!(findings.may_hide_a_filter(), "as many more than before as were lost");
        assert!(findings.filters_beside().is_some_and(|told| told.text.contains("is not known")));
        // As many as before.
        let findings = dropping(90, 1_910, 400);
        assert!(!findings.may_hide_a_filter() && !findings.filters_are_out());
        // Others lose few beside the run.
        let findings = dropping(20, 0, 4);
        assert!(findings.filters_are_out() && !findings.may_hide_a_filter());
        assert!(findings.filters_beside().is_some_and(|told| told.text.ends_with(": not these")));
    }

    #[test]
    fn every_reason_that_a_wall_looks_at_has_a_meaning() {
        let all = [
            &BY_A_FILTER[..],
            &BY_REVERSE_PATH,
            &FOR_NO_WAY,
            &FOR_NO_NEIGHBOUR,
            &AT_THE_INPUT,
            &AT_THE_LISTENER,
            &AT_A_DEVICE,
            &ASTRAY,
        ];
        for reason in all.concat() {
            assert_ne!(meaning(reason), meaning("ANOTHER_ONE"), "{reason}");
        }
        let told = dropping(50, 0, 2).all_drop_evidence();
        assert_eq!(told.len(), 1, "what did not happen is no evidence");
        assert_eq!((told[0].source.as_str(), told[0].after), ("NETFILTER_DROP", Some(40)));
        assert!(told[0].text.contains("and about 10 of others"), "{}", told[0].text);
    }
}
