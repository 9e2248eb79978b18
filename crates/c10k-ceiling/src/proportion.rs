//! Whether what was dropped is in proportion to what was lost.
//!
//! A counter of a network namespace is everybody's who is in it, and the kernel's reasons are the whole host's. A packet of the
//! run's that is dropped is lost or sent again, so the run has lost no more than it sent again and gave up: drops far beyond that
//! are others', and drops far below it are not what the run met.

use c10k_record::{CounterChange, DroppedFor};

use crate::counter;
use crate::findings::Findings;

/// So often is something dropped on any host in the second or two of a small run.
const SLACK: u64 = 16;
/// SYNs that one connect sends at the most where nobody has changed that: one, `tcp_syn_retries` = 6 and
/// `tcp_syn_linear_timeouts` = 4 (net/ipv4/tcp_timer.c, `tcp_write_timeout`).
const MOST_SYNS: u64 = 11;

impl Findings {
    /// SYNs, or answers to them, that were lost; `None` where it is not known how many were sent again. Where the answers are
    /// lost both ends send again, though no SYN was: the end that sends more is the one whose packets are.
    pub(crate) fn syns_lost(&self) -> Option<u64> {
        let lost = self.unanswered_connects()?.count;
        let resent = self.grew(counter::SYN_RETRANSMITS)?;
        let answers = self.grew(counter::ANSWER_RETRANSMITS).unwrap_or(0);
        Some(lost.saturating_add(answers.max(resent.saturating_sub(answers))))
    }

    /// Whether these drops explain the connects that got no answer, and whether they prove it, being as many as all that was
    /// sent again and hardly anybody else's. `None` where they are fewer than those connects, or others' for the most part: by
    /// what was dropped in quiet times, or since what the run lost is less than half of them.
    pub(crate) fn explains(&self, dropped: DroppedFor) -> Option<bool> {
        let lost = self.unanswered_connects()?.count;
        let own = dropped.own.saturating_sub(dropped.hidden);
        // An end whose kernel is not read sends answers again that are not counted here.
        let at_most = |all: u64| all.saturating_mul(2).saturating_add(SLACK);
        let most = match self.syns_lost() {
            Some(all) => at_most(all),
            None => at_most(lost.saturating_mul(MOST_SYNS)),
        };
        if own < lost || dropped.of_others >= own || own > most {
            return None;
        }
        let is_in_number =
            |all: u64| own >= all - all / 10 && dropped.of_others <= all / 10 && dropped.own <= at_most(all);
        Some(self.syns_lost().is_some_and(is_in_number))
    }

    /// Whether so many drops are enough to be what most was lost to.
    pub(crate) fn are_enough(&self, dropped: u64) -> bool {
        let lost = self.unanswered_connects().map_or(0, |lost| lost.count);
        dropped >= lost.max(1) && self.syns_lost().is_none_or(|all| dropped.saturating_mul(2) >= all)
    }

    /// As [`Findings::explains`], of a counter of the network namespaces in which the run's ends are: others that are in them
    /// count too.
    pub(crate) fn counter_explains(&self, name: &str) -> Option<bool> {
        self.growth_explains(self.grew(name)?)
    }

    fn growth_explains(&self, own: u64) -> Option<bool> {
        self.explains(DroppedFor { own, ..DroppedFor::default() })
    }

    /// The same of what the devices between the ends have lost by their own counts. They lose data too, which is sent again,
    /// and acknowledgements, which are not; what the queue before the narrowest link dropped is that link's.
    pub(crate) fn devices_explain(&self) -> Option<bool> {
        let at_the_link = self.grew(counter::LINK_DROPPED).unwrap_or(0);
        let lost = self.grew(counter::DEVICE_DROPPED)?.saturating_sub(at_the_link);
        let (all, syns) = (self.grew(counter::RETRANSMITS), self.grew(counter::SYN_RETRANSMITS));
        let data = all.unwrap_or(0).saturating_sub(syns.unwrap_or(0));
        // Of those that may be data's, as many as there is data that was sent again, and its acknowledgements.
        let of_data = data.saturating_mul(2).min(lost);
        let most_of_syns = self.syns_lost().unwrap_or(u64::MAX);
        let of_syns = lost.min(most_of_syns).max(lost - of_data);
        self.growth_explains(of_syns)
    }

    /// Whether the server's machine found no route for its answers. A SYN whose answer has none is dropped at the listener and
    /// counted there too (net/ipv4/tcp_input.c, `tcp_conn_request`), in the place of a queue that was full: where the listener
    /// dropped fewer, or that was not read, it may have been no answer that found none. Of its own machine connect(2) says so
    /// itself (ENETUNREACH).
    pub(crate) fn answers_found_no_route(&self) -> Option<bool> {
        // Ip OutNoRoutes, and IPv6 counts its own.
        if !self.sees_both_ends() || self.plan.ipv6 {
            return None;
        }
        let at_server = |name: &str| match &self.far {
            Some(far) => far.counters.get(name).copied(),
            None => self.counter(name),
        };
        let growth = |name: &str| at_server(name).map(CounterChange::growth);
        let is_proof = self.growth_explains(growth(counter::OUT_NO_ROUTES)?)?;
        let lost = self.unanswered_connects()?.count;
        let for_want_of_room =
            growth(counter::LISTEN_OVERFLOWS)?.saturating_add(growth(counter::REQ_QUEUE_FULL_DROP)?);
        let at_listeners = growth(counter::LISTEN_DROPS)?.saturating_sub(for_want_of_room);
        let at_its_own = growth(counter::LISTENER_DROPS).unwrap_or(at_listeners);
        (at_listeners.min(at_its_own) >= lost).then_some(is_proof)
    }
}

#[cfg(test)]
mod tests {
    use c10k_record::{Failure, Outcome, PhaseName};

    use super::*;
    use crate::far::FarFindings;

    /// Ten connects that got no answer, and forty SYNs that were sent again: of both ends the counters are read.
    fn lost() -> Findings {
        let mut findings = Findings::default();
        findings.plan.both_ends_here = true;
        let outcome = Outcome::connect_timeout();
        (findings.connections.target, findings.connections.attempted) = (10, 10);
        findings.connections.add_failed(outcome.clone(), 10);
        findings.failures = vec![Failure { phase: PhaseName::Ramp, outcome, count: 10, first_at_ms: 15_000 }];
        moved(&mut findings, counter::SYN_RETRANSMITS, 40);
        findings
    }

    fn moved(findings: &mut Findings, name: &str, growth: u64) {
        findings.counters.insert(name.to_owned(), CounterChange { before: 3, after: 3 + growth });
    }

    #[test]
    fn a_counter_that_others_moved_far_beyond_what_the_run_lost_explains_nothing() {
        let explains = |growth| {
            let mut findings = lost();
            moved(&mut findings, counter::REVERSE_PATH_FILTER, growth);
            findings.counter_explains(counter::REVERSE_PATH_FILTER)
        };
        assert_eq!((explains(0), explains(9)), (None, None), "fewer than were lost");
        assert_eq!(
            (explains(10), explains(44)),
            (Some(false), Some(false)),
            "others of them were lost elsewhere"
        );
        assert_eq!((explains(45), explains(50), explains(116)), (Some(true), Some(true), Some(true)));
        assert_eq!((explains(117), explains(1_000), explains(u64::MAX - 3)), (None, None, None));
        assert_eq!(lost().counter_explains(counter::REVERSE_PATH_FILTER), None, "nobody has looked");
    }

    /// Answers that found no route, with what the listeners dropped, and this server's own.
    fn without_a_route(growth: u64, at_listeners: Option<u64>, at_its_own: Option<u64>) -> Findings {
        let mut findings = lost();
        moved(&mut findings, counter::OUT_NO_ROUTES, growth);
        moved(&mut findings, counter::LISTEN_OVERFLOWS, 0);
        moved(&mut findings, counter::REQ_QUEUE_FULL_DROP, 0);
        for (name, growth) in [(counter::LISTEN_DROPS, at_listeners), (counter::LISTENER_DROPS, at_its_own)] {
            if let Some(growth) = growth {
                moved(&mut findings, name, growth);
            }
        }
        findings
    }

    #[test]
    fn answers_without_a_route_are_told_by_the_servers_count_where_its_listener_dropped_as_many() {
        let of = |growth, at_listeners, at_its_own| {
            without_a_route(growth, at_listeners, at_its_own).answers_found_no_route()
        };
        assert_eq!(of(50, Some(50), Some(50)), Some(true));
        assert_eq!(of(50, Some(50), None), Some(true));
        assert_eq!(of(50, None, Some(50)), None, "what the listeners dropped was not read");
        assert_eq!(of(20, Some(20), Some(20)), Some(false), "others of them were lost elsewhere");
        // Another program that sends to where there is no route.
        assert_eq!((of(50, Some(0), None), of(50, Some(9), None)), (None, None));
        assert_eq!(of(50, Some(50), Some(0)), None, "another listener's answers");
        assert_eq!(of(5_000, Some(50), Some(50)), None, "the run's own are few beside them");
    }

    #[test]
    fn what_a_listener_dropped_for_want_of_room_had_a_route() {
        for name in [counter::LISTEN_OVERFLOWS, counter::REQ_QUEUE_FULL_DROP] {
            let mut findings = without_a_route(50, Some(50), Some(50));
            moved(&mut findings, name, 40);
            assert_eq!(findings.answers_found_no_route(), Some(true), "{name}: ten are left");
            moved(&mut findings, name, 41);
            assert_eq!(findings.answers_found_no_route(), None, "{name}");
            findings.counters.remove(name);
            assert_eq!(findings.answers_found_no_route(), None, "{name} was not read");
        }
    }

    #[test]
    fn only_the_count_of_the_servers_own_kernel_and_of_ipv4_says_that_answers_found_no_route() {
        let mut findings = without_a_route(50, Some(50), Some(50));
        findings.plan.ipv6 = true;
        assert_eq!(findings.answers_found_no_route(), None, "IPv6 counts its own");
        findings.plan.ipv6 = false;
        findings.plan.both_ends_here = false;
        assert_eq!(findings.answers_found_no_route(), None, "this machine's own connects are told at once");
        // Of two hosts it is the server's: the sum has what the clients' host found none for.
        findings.far = Some(FarFindings::default());
        assert_eq!(findings.answers_found_no_route(), None);
        let of_both = findings.counters.clone();
        findings.far = Some(FarFindings { counters: of_both, ..FarFindings::default() });
        assert_eq!(findings.answers_found_no_route(), Some(true));
    }

    #[test]
    fn devices_lose_data_beside_syns_and_the_queue_before_the_link_is_the_links() {
        let explains = |lost_by_devices, at_the_link, resent| {
            let mut findings = lost();
            moved(&mut findings, counter::DEVICE_DROPPED, lost_by_devices);
            moved(&mut findings, counter::LINK_DROPPED, at_the_link);
            moved(&mut findings, counter::RETRANSMITS, resent);
            findings.devices_explain()
        };
        assert_eq!(explains(50, 0, 40), Some(true));
        assert_eq!(explains(9, 0, 40), None);
        // 200 of data, and as many acknowledgements.
        assert_eq!((explains(450, 0, 240), explains(5_000, 0, 240)), (Some(true), None));
        assert_eq!((explains(50, 50, 40), explains(60, 50, 40)), (None, Some(false)));
        assert_eq!(lost().devices_explain(), None, "nobody has looked");
    }
}
