//! How long what is awaited of a server may take.

use std::time::Duration;

use c10k_wire::Wheel;

use crate::settings::RunSettings;
use crate::table::{State, Table};

/// How long a server may take to answer the goodbye.
pub(super) const GOODBYE: Duration = Duration::from_secs(5);
/// How long it may take then to end TCP; there are servers that leave that to their clients.
pub(super) const PARTING: Duration = Duration::from_secs(2);

/// All that one worker waits for: connections by their tokens, and when the time of their step is over, µs since the
/// run's epoch.
#[derive(Debug)]
pub(super) struct Waits {
    limits: Limits,
    wheel: Wheel<u64>,
}

/// How long each step may take, µs.
#[derive(Clone, Copy, Debug)]
struct Limits {
    connecting_us: u64,
    opening_us: u64,
    probing_us: u64,
}

impl Limits {
    /// How long a connection may stay in a state in which something of its server is awaited.
    fn of(self, state: State) -> Option<u64> {
        match state {
            State::Connecting => Some(self.connecting_us),
            State::Opening => Some(self.opening_us),
            State::Probing | State::Talking | State::Leaving => Some(self.probing_us),
            State::Closing => Some(GOODBYE.as_micros() as u64),
            State::Parted => Some(PARTING.as_micros() as u64),
            State::Free | State::Idle | State::Proven | State::Receiving => None,
        }
    }

    /// Whether the step under way on the connection of this token has its time until `at_us`. One that is probed again
    /// has a timer for each probe: only the one of the present probe counts.
    fn end_at<C>(self, table: &Table<C>, token: u64, at_us: u64) -> bool {
        table.find(token).is_some_and(|index| {
            let slot = table.peek(index);
            let limit_us = self.of(slot.state);
            limit_us.is_some_and(|limit_us| slot.since_us == at_us.wrapping_sub(limit_us) as u32)
        })
    }
}

impl Waits {
    pub(super) fn new(settings: &RunSettings) -> Self {
        let limits = Limits {
            connecting_us: settings.connect_timeout.as_micros() as u64,
            opening_us: settings.handshake_timeout.as_micros() as u64,
            probing_us: settings.probe_timeout.as_micros() as u64,
        };
        Self { limits, wheel: Wheel::default() }
    }

    /// What is awaited in `state` has its time from `begun_us`.
    pub(super) fn begin<C>(&mut self, table: &Table<C>, token: u64, state: State, begun_us: u64) {
        let limits = self.limits;
        if let Some(limit_us) = limits.of(state) {
            self.wheel.push(token, begun_us + limit_us, |token, at_us| limits.end_at(table, token, at_us));
        }
    }

    /// A slot that has waited for too long, and in which state.
    pub(super) fn next_overdue<C>(&mut self, table: &Table<C>, now_us: u64) -> Option<(u32, State)> {
        let limits = self.limits;
        let (token, _) = self.wheel.due(now_us, |token, at_us| limits.end_at(table, token, at_us))?;
        let index = table.find(token)?;
        Some((index, table.peek(index).state))
    }

    /// When it has to be looked at for the sake of what is awaited.
    pub(super) fn next_look_us<C>(&mut self, table: &Table<C>) -> Option<u64> {
        let limits = self.limits;
        self.wheel.next(|token, at_us| limits.end_at(table, token, at_us))
    }

    /// Timers that there is memory for.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.wheel.capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::testing::{TIMEOUT, shared_of};

    #[test]
    fn each_step_has_its_own_time() {
        let (shared, _notes) = shared_of(None, 50, None);
        let (mut waits, mut table) = (Waits::new(&shared.settings), Table::new());
        for (state, limit) in [
            (State::Parted, PARTING),
            (State::Closing, GOODBYE),
            (State::Connecting, TIMEOUT),
            (State::Opening, TIMEOUT),
            (State::Probing, TIMEOUT),
            (State::Talking, TIMEOUT),
            (State::Leaving, TIMEOUT),
        ] {
            let (index, token) = table.insert('c', 1, 0, 7);
            table.get(index).state = state;
            waits.begin(&table, token, state, 7);
            let over_us = 7 + limit.as_micros() as u64;
            assert_eq!(waits.next_overdue(&table, over_us - 1), None, "{state:?}");
            assert!(waits.next_look_us(&table).is_some_and(|at_us| at_us <= over_us));
            assert_eq!(waits.next_overdue(&table, over_us), Some((index, state)));
            table.remove(index);
            assert_eq!((waits.next_look_us(&table), waits.next_overdue(&table, over_us)), (None, None));
        }
    }

    #[test]
    fn a_step_that_is_over_or_has_begun_anew_is_not_overdue() {
        let (shared, _notes) = shared_of(None, 50, None);
        let (mut waits, mut table) = (Waits::new(&shared.settings), Table::new());
        let (index, token) = table.insert('c', 1, 0, 7);
        table.get(index).state = State::Probing;
        waits.begin(&table, token, State::Probing, 7);
        table.get(index).since_us = 9;
        waits.begin(&table, token, State::Probing, 9);
        let long_us = TIMEOUT.as_micros() as u64;
        assert_eq!(waits.next_overdue(&table, 8 + long_us), None, "the second probe has its own time");
        table.get(index).state = State::Idle;
        assert_eq!(waits.next_overdue(&table, 9 + 2 * long_us), None);
        // Nothing is awaited of an idle connection.
        waits.begin(&table, token, State::Idle, 9);
        assert_eq!(waits.next_overdue(&table, 9 + 2 * long_us), None);
    }
}
