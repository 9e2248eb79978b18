//! What a worker may begin, over which tuples, and how much room it has for it.

use std::collections::HashMap;
use std::sync::Arc;

use c10k_record::{GrowthEvidence, GrowthStop};

use super::BATCH;
use crate::arrivals::Claim;
use crate::shared::Shared;
use crate::tasks::{Orders, Task};
use crate::tuples::{Hand, Supply};

/// After so many first sends that found the connect still under way, sending waits for epoll's word.
const OPTIMISM: u32 = 8;

/// Something that may be begun, or when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due<T> {
    Now(T),
    /// Not before this time, µs since the run's epoch.
    NotBefore(u64),
    /// Nothing that is known of.
    Never,
}

/// The connections that one worker begins.
pub(super) struct Connector {
    shared: Arc<Shared>,
    /// Most connections that this worker's descriptor table has room for.
    capacity: u32,
    /// Claimed connections not yet begun: first number and how many.
    claimed: (u64, u64),
    /// Tuples for them, and those of connections that have ended.
    pub(super) hand: Hand,
    /// How late those whose connect is under way were begun, µs, by slot; nothing in a closed loop.
    begun_late: HashMap<u32, u64>,
    optimism: u32,
    /// Growth does not end where no tuple is left: one comes back.
    is_patient: bool,
}

impl Connector {
    pub(super) fn new(shared: Arc<Shared>, capacity: u32) -> Self {
        let (claimed, hand, begun_late) = ((0, 0), Hand::default(), HashMap::new());
        Self { shared, capacity, claimed, hand, begun_late, optimism: OPTIMISM, is_patient: false }
    }

    // Room ---------------------------------------------------------------------------------------------

    /// Connections for which there is room beside so many.
    pub(super) fn room(&self, used: u32) -> u32 {
        self.capacity.saturating_sub(used)
    }

    /// The kernel has no room for more than so many.
    pub(super) fn is_full_with(&mut self, used: u32) {
        self.capacity = used;
    }

    // Claims -------------------------------------------------------------------------------------------

    /// The number of the next connection to begin; at most `room` are claimed at once.
    pub(super) fn next_number(&mut self, room: u32, now_us: u64) -> Due<u64> {
        if self.claimed.1 == 0 {
            let most = u64::from(BATCH).min(u64::from(room));
            match self.shared.arrivals.claim(most, now_us) {
                Claim::Some { first, count } => self.claimed = (first, count),
                Claim::NotBefore(at_us) => return Due::NotBefore(at_us),
                Claim::Nothing => return Due::Never,
            }
        }
        if self.shared.arrivals.is_stopped() {
            self.forget_claims();
            return Due::Never;
        }
        let number = self.claimed.0;
        self.claimed = (number + 1, self.claimed.1 - 1);
        Due::Now(number)
    }

    /// The last one of [`Connector::next_number`] was not begun.
    pub(super) fn not_begun(&mut self, number: u64) {
        self.claimed = (number, self.claimed.1 + 1);
    }

    /// Nobody begins what was claimed.
    pub(super) fn forget_claims(&mut self) {
        self.shared.arrivals.forget(std::mem::take(&mut self.claimed.1));
    }

    /// Others begin what was claimed, over the tuples that were taken for it.
    pub(super) fn give_back(&mut self) {
        let (first, count) = std::mem::take(&mut self.claimed);
        self.shared.arrivals.give_back(first, count);
        self.give_back_tuples();
    }

    /// One connection is begun that is none of those that are claimed.
    pub(super) fn set_claims_aside(&mut self) -> (u64, u64) {
        self.is_patient = true;
        std::mem::take(&mut self.claimed)
    }

    /// The claims are back; whether what was begun meanwhile was begun.
    pub(super) fn take_claims_back(&mut self, claims: (u64, u64)) -> bool {
        self.is_patient = false;
        std::mem::replace(&mut self.claimed, claims).1 == 0
    }

    // Tuples -------------------------------------------------------------------------------------------

    /// A tuple for a claimed connection. Where there is none any more growth ends.
    pub(super) fn next_tuple(&mut self, now_us: u64) -> Due<u32> {
        if let Some(number) = self.hand.next() {
            return Due::Now(number);
        }
        // One for this connection, and one for each of the others that are claimed.
        let most = u32::try_from(self.claimed.1 + 1).unwrap_or(u32::MAX);
        match self.shared.tuples.take(&mut self.hand, most, now_us) {
            Supply::Given => self.hand.next().map_or(Due::Never, Due::Now),
            Supply::NotBefore(at_us) => Due::NotBefore(at_us),
            Supply::UsedUp(_) if self.is_patient => Due::Never,
            Supply::UsedUp(ports) => {
                let evidence = GrowthEvidence { ports: Some(ports), ..GrowthEvidence::default() };
                self.shared.stop_growing(GrowthStop::NoPorts, evidence);
                Due::Never
            }
        }
    }

    /// Others may have the tuples that were not tried.
    pub(super) fn give_back_tuples(&mut self) {
        self.shared.tuples.give_back(&mut self.hand, self.shared.now_us());
    }

    /// Gives back the tuples of connections that have ended. At the close nobody needs them any more.
    pub(super) fn settle_tuples(&mut self, orders: Orders) {
        if orders.has(Task::Close) || orders.has(Task::Abort) {
            self.hand = Hand::default();
        } else {
            self.shared.tuples.take_back(&mut self.hand, self.shared.now_us());
        }
    }

    // Times --------------------------------------------------------------------------------------------

    /// How much later than intended this connection is begun; nothing in a closed loop.
    pub(super) fn lateness_us(&self, number: u64, begun_us: u64) -> Option<u64> {
        let intended_us = || self.shared.arrivals.intended_us(number, begun_us);
        self.shared.settings.open_loop.then(|| begun_us.saturating_sub(intended_us()))
    }

    /// The connect in `slot` is under way, begun so late.
    pub(super) fn is_late(&mut self, slot: u32, late_us: Option<u64>) {
        if let Some(late_us) = late_us {
            self.begun_late.insert(slot, late_us);
        }
    }

    /// How late it was begun: it is under way no more.
    pub(super) fn take_lateness(&mut self, slot: u32) -> Option<u64> {
        if self.begun_late.is_empty() { None } else { self.begun_late.remove(&slot) }
    }

    /// Of how many connects it is kept how late they were begun.
    #[cfg(test)]
    pub(super) fn kept_latenesses(&self) -> usize {
        self.begun_late.len()
    }

    // The first words ----------------------------------------------------------------------------------

    /// Whether the first words are sent right behind the connect.
    pub(super) fn sends_early(&self) -> bool {
        self.optimism > 0
    }

    /// They were, and whether they went out.
    pub(super) fn has_sent_early(&mut self, went_out: bool) {
        self.optimism = if went_out { OPTIMISM } else { self.optimism - 1 };
    }
}

#[cfg(test)]
mod tests {
    use c10k_record::PortsInPlan;

    use super::*;
    use crate::shared::testing::shared_of;

    /// A connector with room for ten, of a run over twenty tuples that wants so many connections.
    fn connector(wanted: u64, rate: Option<f64>) -> Connector {
        let (shared, _notes) = shared_of(None, 50, rate);
        shared.arrivals.grow(wanted, 0);
        Connector::new(shared, 10)
    }

    #[test]
    fn numbers_come_in_order_and_one_that_was_not_begun_comes_again() {
        let mut connector = connector(3, None);
        assert_eq!(connector.next_number(10, 0), Due::Now(0));
        assert_eq!(connector.next_number(10, 0), Due::Now(1));
        connector.not_begun(1);
        assert_eq!(connector.next_number(10, 0), Due::Now(1));
        assert_eq!(connector.next_number(10, 0), Due::Now(2));
        assert_eq!(connector.next_number(10, 0), Due::Never);
    }

    #[test]
    fn what_is_given_back_others_begin_over_the_same_tuples() {
        let mut connector = connector(5, None);
        assert_eq!(connector.next_number(10, 0), Due::Now(0));
        assert_eq!(connector.next_tuple(0), Due::Now(0));
        connector.give_back();
        let mut other = Connector::new(Arc::clone(&connector.shared), 10);
        let begun: Vec<Due<u64>> = (0..5).map(|_| other.next_number(10, 0)).collect();
        assert_eq!(begun, [Due::Now(1), Due::Now(2), Due::Now(3), Due::Now(4), Due::Never]);
        let tuples: Vec<Due<u32>> = (0..19).map(|_| other.next_tuple(0)).collect();
        assert!(tuples.contains(&Due::Now(1)) && !tuples.contains(&Due::Now(0)), "{tuples:?}");
    }

    #[test]
    fn where_no_tuple_is_left_growth_ends_and_claims_are_forgotten() {
        let mut connector = connector(30, None);
        for number in 0..20 {
            assert_eq!(connector.next_number(30, 0), Due::Now(number));
            assert_eq!(connector.next_tuple(0), Due::Now(number as u32));
        }
        assert_eq!(connector.next_number(30, 0), Due::Now(20));
        assert_eq!(connector.next_tuple(0), Due::Never);
        let (why, evidence) = connector.shared.why_growth_stopped().expect("it has stopped");
        let ports = PortsInPlan { planned: 20, in_use: 20, time_wait: 0, taken: 0 };
        assert_eq!((why, evidence.ports), (GrowthStop::NoPorts, Some(ports)));
        connector.not_begun(20);
        assert_eq!(connector.next_number(30, 0), Due::Never);
        assert_eq!(connector.shared.arrivals.taken(), 20);
    }

    #[test]
    fn in_an_open_loop_it_is_kept_how_late_a_connect_was_begun_while_it_is_under_way() {
        let mut connector = connector(5, Some(10.0));
        assert_eq!(connector.next_number(10, 0), Due::Now(0));
        assert_eq!(connector.next_number(10, 0), Due::NotBefore(100_000));
        assert_eq!(connector.next_number(10, 150_000), Due::Now(1));
        let late_us = connector.lateness_us(1, 150_000);
        connector.is_late(4, late_us);
        assert_eq!((connector.take_lateness(3), connector.take_lateness(4)), (None, Some(50_000)));
        assert_eq!(connector.take_lateness(4), None);
    }

    #[test]
    fn the_first_words_wait_where_they_have_found_the_connect_under_way_again_and_again() {
        let mut connector = connector(0, None);
        for _ in 0..OPTIMISM - 1 {
            connector.has_sent_early(false);
        }
        connector.has_sent_early(true);
        for _ in 0..OPTIMISM {
            assert!(connector.sends_early());
            connector.has_sent_early(false);
        }
        assert!(!connector.sends_early());
    }

    #[test]
    fn a_table_that_is_fuller_than_thought_has_no_room_beside_what_it_holds() {
        let mut connector = connector(0, None);
        assert_eq!((connector.room(4), connector.room(10), connector.room(11)), (6, 0, 0));
        connector.is_full_with(7);
        assert_eq!((connector.room(6), connector.room(7)), (1, 0));
    }
}
