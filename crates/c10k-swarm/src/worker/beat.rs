//! Beats: every connection proves itself once in an interval, evenly spread over it.

use std::time::Duration;

use super::Worker;
use crate::maker::Maker;
use crate::speech::Speech;
use crate::table::State;
use crate::tasks::Orders;
use crate::workload::Kind;

/// The shortest time between two looks at whose turn it is, µs.
const LEAST_WAIT_US: u64 = 500;
/// Beats between two looks at what has become ready.
const BATCH: u32 = 128;

/// Walks over all slots once in an interval and evenly. When a slot has its turn does not depend on how late others had
/// theirs: who comes late himself makes no beat due later.
#[derive(Debug)]
pub(super) struct Beats {
    every_us: u64,
    begun_us: u64,
    done: u32,
}

impl Beats {
    pub(super) fn new(every: Duration, begun_us: u64) -> Self {
        Self { every_us: (every.as_micros() as u64).max(1), begun_us, done: 0 }
    }

    /// When the next of so many slots has its turn.
    fn next_us(&self, slots: u32) -> u64 {
        let place = u128::from(self.done) + 1;
        let part_us = u128::from(self.every_us) * place / u128::from(slots.max(1));
        self.begun_us + part_us as u64
    }

    /// The next of so many slots whose turn has come, and when that was.
    fn next(&mut self, now_us: u64, slots: u32) -> Option<(u32, u64)> {
        if slots == 0 {
            return None;
        }
        if self.done >= slots {
            self.begun_us += self.every_us;
            self.done = 0;
        }
        let due_us = self.next_us(slots);
        if due_us > now_us {
            return None;
        }
        self.done += 1;
        Some((self.done - 1, due_us))
    }
}

impl<M: Maker, S: Speech> Worker<M, S> {
    /// Has those prove themselves whose turn it is; true when there are more. One whose answer to something else is
    /// awaited proves itself by that.
    pub(super) fn beat_some(&mut self, orders: Orders) -> bool {
        let slots = self.table.len();
        for _ in 0..BATCH {
            let now_us = self.shared.now_us();
            let Some(working) = &mut self.working else { return false };
            let counts = working.is_counted(Kind::Beat);
            let Some(beats) = &mut working.beats else { return false };
            let Some((index, intended_us)) = beats.next(now_us, slots) else {
                let next_us = beats.next_us(slots).max(now_us + LEAST_WAIT_US);
                self.wait_until(next_us);
                return false;
            };
            let is_quiet = matches!(self.table.peek(index).state, State::Idle | State::Proven);
            if is_quiet && !self.output.waits(index) {
                working.talked.intended += u64::from(counts);
                self.talk(orders, index, Kind::Beat, Some(intended_us));
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND_US: u64 = 1_000_000;

    #[test]
    fn each_slot_has_its_turn_once_an_interval_however_late_it_is_asked_for() {
        let mut beats = Beats::new(Duration::from_secs(1), 0);
        let mut due: Vec<Vec<u64>> = vec![Vec::new(); 8];
        for now_us in [100, 130_000, 130_001, 900_000, 5 * SECOND_US] {
            while let Some((slot, due_us)) = beats.next(now_us, 8) {
                assert!(due_us <= now_us);
                due[slot as usize].push(due_us);
            }
        }
        for (slot, times) in due.iter().enumerate() {
            let first_us = (slot as u64 + 1) * SECOND_US / 8;
            let all: Vec<u64> = (0..5).map(|round| first_us + round * SECOND_US).collect();
            assert_eq!(times, &all, "slot {slot}");
        }
    }

    #[test]
    fn where_there_is_nobody_nobody_has_a_turn() {
        let mut beats = Beats::new(Duration::from_secs(1), 0);
        assert_eq!(beats.next(9 * SECOND_US, 0), None);
    }
}
