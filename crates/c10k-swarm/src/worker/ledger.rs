//! What has become of a worker's connections: counts, losses, latencies.
//!
//! Kept as plain numbers and published once a turn of the loop.

use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, Release};

use c10k_record::PhaseName;

use crate::control::TableControl;
use crate::losses::Notes;
use crate::measured::{FromIntended, Measured};
use crate::shared::Shared;
use crate::table::{Standing, State};
use crate::tally::{Loss, Tally};
use crate::tasks::{Orders, Task};

/// How many latencies a worker keeps to itself before it adds them to the run's.
const UNSHARED_LATENCIES: u64 = 4096;

#[derive(Debug, Default)]
struct Counts {
    attempted: u64,
    established: u64,
    verified: u64,
    open: u64,
    failed: u64,
    messages: u64,
    /// Connections that stand in [`State::Proven`].
    held: u64,
    released: u64,
    /// Closed at the end, and counted before as what it is.
    closed: u64,
    /// Given up unproven, since the run was stopped.
    aborted: u64,
    tuples_skipped: u64,
    last_verified_us: u64,
}

/// The counts of one worker, which it alone writes.
pub(super) struct Ledger {
    shared: Arc<Shared>,
    control: Arc<TableControl>,
    counts: Counts,
    /// What each task has under way.
    under_way: [u64; Task::COUNT],
    /// Goodbyes that are answered: the server is to end TCP. Nothing else has to wait for that.
    parting: u64,
    /// What was lost since the counts were published.
    lost: Tally,
    notes: Notes,
    measured: Option<Box<Measured>>,
}

impl Ledger {
    pub(super) fn new(shared: Arc<Shared>, control: Arc<TableControl>) -> Self {
        Self {
            shared,
            control,
            counts: Counts::default(),
            under_way: [0; Task::COUNT],
            parting: 0,
            lost: Tally::default(),
            notes: Notes::default(),
            measured: None,
        }
    }

    /// What this task has under way.
    pub(super) fn under_way(&self, task: Task) -> u64 {
        self.under_way[task as usize]
    }

    /// What all of them have under way.
    pub(super) fn in_flight(&self) -> u64 {
        self.under_way.iter().sum()
    }

    /// Connections whose goodbye is answered, and that the server is to end.
    pub(super) fn parting(&self) -> u64 {
        self.parting
    }

    fn begins(&mut self, task: Task) {
        self.under_way[task as usize] += 1;
    }

    fn ends(&mut self, task: Task) {
        self.under_way[task as usize] -= 1;
    }

    // Connecting ---------------------------------------------------------------------------------------

    /// A tuple was skipped, since somebody else holds it.
    pub(super) fn tuple_skipped(&mut self) {
        self.counts.tuples_skipped += 1;
    }

    /// A connection is about to be begun: whatever comes of that, it counts.
    pub(super) fn attempts(&mut self) {
        self.counts.attempted += 1;
    }

    /// It was not tried after all: somebody else begins it.
    pub(super) fn withdraws(&mut self) {
        self.counts.attempted -= 1;
    }

    /// It was begun, so much later than intended; nothing in a closed loop.
    pub(super) fn begun(&mut self, late_us: Option<u64>) {
        self.begins(Task::Connect);
        self.late(late_us);
    }

    /// The connection of this number could not be begun.
    pub(super) fn not_begun(
        &mut self,
        orders: Orders,
        number: u64,
        loss: Loss,
        late_us: Option<u64>,
        now_us: u64,
    ) {
        self.late(late_us);
        self.lost(orders, number as u32, loss, now_us);
    }

    fn late(&mut self, late_us: Option<u64>) {
        if let Some(late_us) = late_us {
            self.measured_from_intended().lateness.record_us(late_us);
        }
    }

    /// A connect has completed; `response_us` counts from when it was intended.
    pub(super) fn established(&mut self, took_us: u64, response_us: Option<u64>) {
        self.counts.established += 1;
        self.counts.open += 1;
        self.measured().connect.record_us(took_us);
        if let Some(response_us) = response_us {
            self.measured_from_intended().connect_response.record_us(response_us);
        }
    }

    /// The handshake of the protocol is complete.
    pub(super) fn opened(&mut self, took_us: u64) {
        self.measured().handshake.record_us(took_us);
    }

    /// A connection is up for good, and no probe is to prove it.
    pub(super) fn up(&mut self, number: u32, now_us: u64) {
        self.ends(Task::Connect);
        self.succeeded(number, now_us);
    }

    /// The first probe of the connection of this number is answered.
    pub(super) fn verified(&mut self, number: u32, took_us: u64, now_us: u64) {
        self.ends(Task::Connect);
        self.counts.messages += 1;
        self.counts.verified += 1;
        self.measured().first_echo.record_us(took_us);
        self.succeeded(number, now_us);
    }

    fn succeeded(&mut self, number: u32, now_us: u64) {
        self.counts.last_verified_us = now_us;
        self.notes.proven(&self.shared.moments, number);
        self.shared.answered();
    }

    /// Connections that were begun, and of these that were verified, ever.
    pub(super) fn made(&self) -> (u64, u64) {
        (self.counts.attempted, self.counts.verified)
    }

    // Proving and closing ------------------------------------------------------------------------------

    /// A proof, or a goodbye, is under way.
    pub(super) fn asked(&mut self, task: Task) {
        self.begins(task);
    }

    /// The probe of a proof is answered.
    pub(super) fn echoed(&mut self, took_us: u64) {
        self.ends(Task::Prove);
        self.counts.messages += 1;
        self.measured().echo.record_us(took_us);
    }

    /// A message is answered.
    pub(super) fn talked(&mut self) {
        self.ends(Task::Work);
        self.counts.messages += 1;
    }

    /// A goodbye is answered.
    pub(super) fn parted(&mut self) {
        self.ends(Task::Close);
        self.parting += 1;
    }

    /// A connection that stood in `was` is held from now on.
    pub(super) fn holds(&mut self, was: State) {
        self.counts.held += u64::from(was != State::Proven);
    }

    /// One that stood in `was` is not held before it proves itself again.
    pub(super) fn holds_no_more(&mut self, was: State) {
        self.counts.held -= u64::from(was == State::Proven);
    }

    // Ending -------------------------------------------------------------------------------------------

    fn leaves(&mut self, was: Standing) {
        if let Some(task) = was.task {
            self.ends(task);
        }
        self.counts.open -= u64::from(was.state.is_open());
        self.parting -= u64::from(was.state == State::Parted);
    }

    /// A connection that stood like this is lost. One that was ending has been counted.
    pub(super) fn loses(&mut self, orders: Orders, was: Standing, loss: Loss, now_us: u64) {
        self.leaves(was);
        if was.state.is_ending() {
            return;
        }
        self.holds_no_more(was.state);
        let is_held = matches!(orders.phase, PhaseName::Hold | PhaseName::Verify) && was.was_proven();
        if is_held && loss.is_the_servers() {
            // Of a later moment it is not known how often the slot's time has wrapped.
            let is_known = u32::try_from(now_us).is_ok();
            let age_ms = u64::from((now_us as u32).wrapping_sub(was.since_us)) / 1000;
            let at_ms = self.shared.since_first_connect_ms(now_us);
            self.notes.ended(is_known.then_some(age_ms), at_ms);
        }
        self.lost(orders, was.number, loss, now_us);
    }

    /// The server has said this on a connection that it ends.
    pub(super) fn heard(&mut self, words: String) {
        self.notes.heard(words);
    }

    fn lost(&mut self, orders: Orders, number: u32, loss: Loss, now_us: u64) {
        self.counts.failed += 1;
        self.lost.add(orders.phase, loss, 1, self.shared.since_first_connect_ms(now_us));
        if orders.phase == PhaseName::Ramp {
            self.notes.lost_in_ramp(&self.shared.moments, number, self.shared.arrivals.next());
        }
        self.shared.has_failed(orders, now_us);
    }

    /// One that nothing was awaited of is closed, since a command asked for it.
    pub(super) fn releases(&mut self, was: Standing) {
        self.leaves(was);
        self.holds_no_more(was.state);
        self.counts.released += 1;
    }

    /// One is closed at the end, and counts as what it was.
    pub(super) fn closes(&mut self, was: Standing) {
        self.leaves(was);
        self.counts.closed += 1;
    }

    /// One is given up, since the run is stopped in `phase`; it counts as what it was where `all_are_proven`.
    pub(super) fn gives_up(
        &mut self,
        was: Standing,
        (phase, all_are_proven): (PhaseName, bool),
        now_us: u64,
    ) {
        if was.state.is_ending() {
            return self.leaves(was);
        }
        if all_are_proven && was.state == State::Proven {
            return self.closes(was);
        }
        self.leaves(was);
        self.holds_no_more(was.state);
        self.counts.aborted += 1;
        self.lost.add(phase, Loss::Aborted, 1, self.shared.since_first_connect_ms(now_us));
    }

    // Telling ------------------------------------------------------------------------------------------

    fn measured(&mut self) -> &mut Measured {
        self.measured.get_or_insert_default()
    }

    fn measured_from_intended(&mut self) -> &mut FromIntended {
        self.measured().from_intended.get_or_insert_default()
    }

    /// What was measured and not yet added to the run's.
    #[cfg(test)]
    pub(super) fn unshared(&self) -> Option<&Measured> {
        self.measured.as_deref()
    }

    /// Adds this worker's latencies to the run's and gives the memory back.
    pub(super) fn flush_measured(&mut self) {
        if let Some(mine) = self.measured.take() {
            self.shared.measured().add(&mine);
        }
    }

    /// Adds them and keeps the memory, when they have become many.
    pub(super) fn share_measured(&mut self) {
        if let Some(mine) = &mut self.measured
            && mine.connect.count() + mine.echo.count() >= UNSHARED_LATENCIES
        {
            self.shared.measured().add(mine);
            mine.clear();
        }
    }

    /// Adds what was noted of lost connections to the run's, when the worker ends.
    pub(super) fn flush_notes(&mut self) {
        self.shared.losses().add(self.notes.take());
    }

    /// Lets the others see how it stands; `room` is how many connections more this worker can have.
    pub(super) fn publish(&mut self, room: u32) {
        let (to, counts, in_flight) = (&self.control, &self.counts, self.in_flight());
        let connecting = self.under_way(Task::Connect);
        let write = || {
            to.in_flight.store(in_flight, Relaxed);
            to.connecting.store(connecting, Relaxed);
            to.established.store(counts.established, Relaxed);
            to.verified.store(counts.verified, Relaxed);
            to.open.store(counts.open, Relaxed);
            to.failed.store(counts.failed, Relaxed);
            to.messages.store(counts.messages, Relaxed);
            to.held.store(counts.held, Relaxed);
            to.released.store(counts.released, Relaxed);
            to.closed.store(counts.closed, Relaxed);
            to.aborted.store(counts.aborted, Relaxed);
            to.tuples_skipped.store(counts.tuples_skipped, Relaxed);
            to.last_verified_us.store(counts.last_verified_us, Relaxed);
            to.room.store(room, Relaxed);
            // Last: a reader who sees these attempts sees what is under way of them.
            to.attempted.store(counts.attempted, Release);
        };
        self.shared.publish(&mut self.lost, || to.publish(write));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::testing::shared_of;

    fn standing(state: State, task: Option<Task>) -> Standing {
        Standing { state, task, number: 0, since_us: 0 }
    }

    /// A ledger with one connection in each state that is counted.
    fn one_of_each() -> (Ledger, [Standing; 6]) {
        let (shared, _notes) = shared_of(None, 50, None);
        let control = Arc::new(TableControl::alone());
        shared.add_table(Arc::clone(&control));
        let mut ledger = Ledger::new(shared, control);
        (0..6).for_each(|_| ledger.attempts());
        (0..6).for_each(|_| ledger.begun(None));
        (0..5).for_each(|_| ledger.established(10, None));
        (0..4).for_each(|number| ledger.verified(number, 10, 1));
        ledger.asked(Task::Prove);
        ledger.holds(State::Idle);
        ledger.holds(State::Proven);
        ledger.closes(standing(State::Idle, None));
        ledger.asked(Task::Close);
        let each = [
            standing(State::Connecting, Some(Task::Connect)),
            standing(State::Probing, Some(Task::Connect)),
            standing(State::Probing, Some(Task::Prove)),
            standing(State::Idle, None),
            standing(State::Proven, None),
            standing(State::Closing, Some(Task::Close)),
        ];
        (ledger, each)
    }

    fn seen(ledger: &mut Ledger) -> (u64, u64, u64, u64) {
        ledger.publish(0);
        let counted = ledger.shared.counted();
        let lost = counted.failures.iter().map(|row| row.count).sum();
        (counted.live.open, counted.held, counted.live.in_flight, lost)
    }

    #[test]
    fn whatever_state_a_connection_was_lost_in_it_is_counted_once_and_nothing_is_left() {
        let (mut ledger, each) = one_of_each();
        assert_eq!(seen(&mut ledger), (4, 1, 4, 0));
        for was in each {
            ledger.loses(Orders::FIRST, was, Loss::ProbeTimeout, 1);
        }
        // The one that was ending has been closed before.
        assert_eq!(seen(&mut ledger), (0, 0, 0, 5));
        assert_eq!(ledger.shared.counts().closed, 1);
    }

    #[test]
    fn what_is_given_up_is_lost_or_where_all_are_proven_closed() {
        for all_are_proven in [false, true] {
            let (mut ledger, each) = one_of_each();
            for was in each {
                ledger.gives_up(was, (PhaseName::Hold, all_are_proven), 1);
            }
            let held = u64::from(all_are_proven);
            assert_eq!(seen(&mut ledger), (0, held, 0, 5 - held));
        }
    }

    #[test]
    fn each_task_counts_what_it_has_under_way_by_itself() {
        let (mut ledger, _) = one_of_each();
        let tasks = [Task::Connect, Task::Prove, Task::Close];
        assert_eq!(tasks.map(|task| ledger.under_way(task)), [2, 1, 1]);
        ledger.echoed(5);
        assert_eq!(tasks.map(|task| ledger.under_way(task)), [2, 0, 1]);
        ledger.parted();
        ledger.up(4, 9);
        assert_eq!(tasks.map(|task| ledger.under_way(task)), [1, 0, 0]);
    }

    #[test]
    fn the_age_is_kept_of_what_was_held_and_the_server_has_ended() {
        let hold = Orders::FIRST.only(Task::Ping);
        let second_us = 1_000_000;
        let (mut ledger, each) = one_of_each();
        for was in each {
            let was = Standing { since_us: 500_000, ..was };
            ledger.loses(hold, was, Loss::ClosedByServer, 4 * second_us);
        }
        ledger.flush_notes();
        let ages = ledger.shared.losses().ages().expect("some were ended");
        let spread = ages.since_last_byte.expect("it is known");
        assert_eq!((spread.count, spread.min_ms, spread.max_ms), (3, 3_500, 3_500));
        // A timeout is the swarm's own, a loss in the ramp none of what was held.
        for (orders, loss) in [(hold, Loss::ProbeTimeout), (Orders::FIRST, Loss::ClosedByServer)] {
            let (mut ledger, each) = one_of_each();
            ledger.loses(orders, each[3], loss, 4 * second_us);
            ledger.flush_notes();
            assert!(ledger.shared.losses().ages().is_none());
        }
        // After 71 minutes the moment alone is known.
        let (mut ledger, each) = one_of_each();
        ledger.loses(hold, each[3], Loss::Errno(libc::ECONNRESET), 5_000 * second_us);
        ledger.flush_notes();
        let ages = ledger.shared.losses().ages().expect("one was ended");
        assert!(ages.since_last_byte.is_none() && ages.at.is_some());
    }

    #[test]
    fn latencies_are_added_to_the_run_s_once() {
        let (mut ledger, _) = one_of_each();
        ledger.share_measured();
        assert_eq!(ledger.shared.measured().connect.count(), 0, "they are few");
        ledger.flush_measured();
        ledger.flush_measured();
        assert_eq!(ledger.shared.measured().connect.count(), 5);
        assert!(ledger.unshared().is_none());
    }
}
