//! How long what is awaited of a server may take.

use std::time::Duration;

use super::Deadlines;
use crate::shared::Fixed;
use crate::table::{State, Table};

/// How long a server may take to answer the goodbye.
pub(super) const GOODBYE: Duration = Duration::from_secs(5);
/// How long it may take then to end TCP; there are servers that leave that to their clients.
pub(super) const PARTING: Duration = Duration::from_secs(2);

/// Connections of which one step is awaited, by their tokens. Times are µs since the run's epoch.
#[derive(Debug, Default)]
struct Waiting {
    limit_us: u64,
    deadlines: Deadlines,
}

impl Waiting {
    fn for_at_most(limit: Duration) -> Self {
        Self { limit_us: limit.as_micros() as u64, deadlines: Deadlines::default() }
    }
}

/// All that one worker waits for, by the state in which a connection waits.
#[derive(Debug)]
pub(super) struct Waits {
    connecting: Waiting,
    opening: Waiting,
    closing: Waiting,
    parting: Waiting,
    probing: Waiting,
}

impl Waits {
    pub(super) fn new(fixed: &Fixed) -> Self {
        Self {
            connecting: Waiting::for_at_most(fixed.connect_timeout),
            opening: Waiting::for_at_most(fixed.handshake_timeout),
            closing: Waiting::for_at_most(GOODBYE),
            parting: Waiting::for_at_most(PARTING),
            probing: Waiting::for_at_most(fixed.probe_timeout),
        }
    }

    /// What is awaited in `state` has its time from `begun_us`.
    pub(super) fn begin<C>(&mut self, table: &Table<C>, token: u64, state: State, begun_us: u64) {
        let Some(Waiting { limit_us, deadlines }) = self.of(state) else { return };
        let limit_us = *limit_us;
        let matters = |token, at_us: u64| is_under_way(table, token, state, at_us - limit_us).is_some();
        deadlines.push(token, begun_us + limit_us, matters);
    }

    /// A slot that has waited for too long, and in which state. Entries whose step is over are dropped on the way.
    pub(super) fn next_overdue<C>(&mut self, table: &Table<C>, now_us: u64) -> Option<(u32, State)> {
        [State::Connecting, State::Opening, State::Closing, State::Parted, State::Probing]
            .into_iter()
            .find_map(|state| {
                let Waiting { limit_us, deadlines } = self.of(state)?;
                let limit_us = *limit_us;
                let matters =
                    |token, at_us: u64| is_under_way(table, token, state, at_us - limit_us).is_some();
                deadlines.next(matters)?;
                Some((table.find(deadlines.due(now_us)?)?, state))
            })
    }

    /// Entries that there is memory for.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        let all = [&self.connecting, &self.opening, &self.closing, &self.parting, &self.probing];
        all.into_iter().map(|waiting| waiting.deadlines.capacity()).sum()
    }

    fn of(&mut self, state: State) -> Option<&mut Waiting> {
        match state {
            State::Connecting => Some(&mut self.connecting),
            State::Opening => Some(&mut self.opening),
            State::Probing => Some(&mut self.probing),
            State::Closing => Some(&mut self.closing),
            State::Parted => Some(&mut self.parting),
            State::Free | State::Idle | State::Proven => None,
        }
    }
}

/// The slot of this token if it is still in the step that began then. A connection that is probed again has an entry for
/// each probe: only the one of the present probe counts.
pub(super) fn is_under_way<C>(table: &Table<C>, token: u64, state: State, begun_us: u64) -> Option<u32> {
    let index = table.find(token)?;
    let slot = table.peek(index);
    (slot.state == state && slot.since_us == begun_us as u32).then_some(index)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::testing::{TIMEOUT, shared_of};

    #[test]
    fn each_step_has_its_own_time() {
        let (shared, _notes) = shared_of(None, 50, None);
        let (mut waits, mut table) = (Waits::new(&shared.fixed), Table::new());
        for (state, limit) in [
            (State::Connecting, TIMEOUT),
            (State::Opening, TIMEOUT),
            (State::Probing, TIMEOUT),
            (State::Closing, GOODBYE),
            (State::Parted, PARTING),
        ] {
            let (index, token) = table.insert('c', 1, 0, 7);
            table.get(index).state = state;
            waits.begin(&table, token, state, 7);
            let over_us = 7 + limit.as_micros() as u64;
            assert_eq!(waits.next_overdue(&table, over_us - 1), None, "{state:?}");
            assert_eq!(waits.next_overdue(&table, over_us), Some((index, state)));
            table.remove(index);
            assert_eq!(waits.next_overdue(&table, u64::MAX), None);
        }
    }

    #[test]
    fn a_step_that_is_over_or_has_begun_anew_is_not_overdue() {
        let (shared, _notes) = shared_of(None, 50, None);
        let (mut waits, mut table) = (Waits::new(&shared.fixed), Table::new());
        let (index, token) = table.insert('c', 1, 0, 7);
        table.get(index).state = State::Probing;
        waits.begin(&table, token, State::Probing, 7);
        table.get(index).since_us = 9;
        waits.begin(&table, token, State::Probing, 9);
        let long_us = TIMEOUT.as_micros() as u64;
        assert_eq!(waits.next_overdue(&table, 8 + long_us), None, "the second probe has its own time");
        table.get(index).state = State::Idle;
        assert_eq!(waits.next_overdue(&table, u64::MAX), None);
        // Nothing is awaited of an idle connection.
        waits.begin(&table, token, State::Idle, 9);
        assert_eq!(waits.next_overdue(&table, u64::MAX), None);
    }
}
