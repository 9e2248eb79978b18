//! Pings in the hold, which find servers that died without a word.

use std::ops::Range;
use std::time::Duration;

use super::Worker;
use super::output::Words;
use crate::maker::Maker;
use crate::speech::Speech;
use crate::table::State;
use crate::tally::Loss;
use crate::tasks::Orders;

/// The shortest time between two looks at whose turn it is, µs.
const LEAST_WAIT_US: u64 = 10_000;

/// Walks over all slots once in a period and evenly: as much of them is behind it as of the period.
#[derive(Debug)]
pub(super) struct Rounds {
    every_us: u64,
    begun_us: u64,
    done: u32,
}

impl Rounds {
    pub(super) fn new(every: Duration, now_us: u64) -> Self {
        Self { every_us: (every.as_micros() as u64).max(1), begun_us: now_us, done: 0 }
    }

    /// Begins anew at the first slot.
    fn restart(&mut self, now_us: u64) {
        (self.begun_us, self.done) = (now_us, 0);
    }

    /// The slots whose turn it is by now.
    fn next(&mut self, now_us: u64, slots: u32) -> Range<u32> {
        // Who comes late himself gives all that follow as much more time: between two turns of a slot lies a period.
        let late_us = now_us.saturating_sub(self.turn_us(slots));
        if late_us > self.every_us / 8 {
            self.begun_us += late_us;
        }
        let passed_us = now_us.saturating_sub(self.begun_us);
        let due = u128::from(slots) * u128::from(passed_us) / u128::from(self.every_us);
        let due = u32::try_from(due).map_or(slots, |due| due.min(slots));
        let turns = self.done.min(due)..due;
        self.done = due;
        if passed_us >= self.every_us {
            self.restart(now_us);
        }
        turns
    }

    /// When the next slot has its turn; the end of the period when all have had theirs.
    fn turn_us(&self, slots: u32) -> u64 {
        let place = u128::from(self.done.saturating_add(1).min(slots).max(1));
        let part_us = u128::from(self.every_us) * place / u128::from(slots.max(1));
        self.begun_us + part_us as u64
    }
}

impl<M: Maker, S: Speech> Worker<M, S> {
    /// A hold begins: what was pinged in an earlier one has had other things to answer since.
    pub(super) fn begin_to_ping(&mut self) {
        let Some(pings) = &mut self.pings else { return };
        pings.restart(self.shared.now_us());
        (0..self.table.len()).for_each(|index| self.table.get(index).is_pinged = false);
    }

    /// Pings those whose turn it is.
    pub(super) fn ping_some(&mut self, orders: Orders) {
        let slots = self.table.len();
        if slots == 0 {
            return;
        }
        let now_us = self.shared.now_us();
        let Some(pings) = &mut self.pings else { return };
        let turns = pings.next(now_us, slots);
        let next_us = pings.turn_us(slots).max(now_us + LEAST_WAIT_US);
        self.wait_until(next_us);
        for index in turns {
            self.ping(orders, index);
        }
    }

    /// A server that has said nothing on a connection since its last ping is taken for dead; others are pinged. The
    /// time for the answer counts from when the ping has left.
    pub(super) fn ping(&mut self, orders: Orders, index: u32) {
        let slot = self.table.get(index);
        // One with unread input has said something.
        if !matches!(slot.state, State::Idle | State::Proven) || slot.has_unread {
            return;
        }
        // One that takes nothing is the stall's affair.
        if self.output.waits(index) {
            return;
        }
        if slot.is_pinged {
            return self.lose(orders, index, Loss::Named("ping-timeout".into()));
        }
        if self.speech.ping(&self.states[index as usize], self.output.blank()) {
            self.say(orders, index, Words::Own);
            let now_us = self.shared.now_us();
            let slot = self.table.get(index);
            slot.is_pinged = !self.output.waits(index);
            slot.since_us = now_us as u32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND_US: u64 = 1_000_000;

    #[test]
    fn a_round_visits_each_slot_once_and_evenly() {
        let mut rounds = Rounds::new(Duration::from_secs(1), 0);
        assert_eq!(rounds.next(0, 100), 0..0);
        assert_eq!(rounds.turn_us(100), SECOND_US / 100);
        assert_eq!(rounds.next(SECOND_US / 100, 100), 0..1);
        let mut visited = 1;
        for percent in (10..=100).step_by(10) {
            let turns = rounds.next(percent * SECOND_US / 100, 100);
            assert_eq!((turns.start, turns.end), (visited, percent as u32));
            visited = turns.end;
        }
        assert_eq!(rounds.next(SECOND_US, 100), 0..0, "the next period has begun");
        assert_eq!(rounds.next(SECOND_US + SECOND_US / 100, 100), 0..1);
    }

    #[test]
    fn between_two_turns_of_a_slot_lies_a_period_however_late_it_was() {
        let mut rounds = Rounds::new(Duration::from_secs(1), 0);
        let mut visited_us = [None::<u64>; 7];
        let mut now_us = 0;
        for step in 0..4000_u64 {
            // Now and then nobody looks for a while, once for longer than a period.
            now_us += match step {
                100 => 700_000,
                1000 => 3_000_000,
                2000 => 300_000,
                _ => 10_000,
            };
            for slot in rounds.next(now_us, 7) {
                let last = visited_us[slot as usize].replace(now_us);
                let passed = last.map_or(SECOND_US, |last| now_us - last);
                assert!(passed >= SECOND_US * 7 / 8, "slot {slot} at {now_us}: {passed} µs");
            }
        }
        assert!(
            visited_us.iter().all(|at| at.is_some_and(|at| now_us - at < 2 * SECOND_US)),
            "{visited_us:?}"
        );
    }
}
