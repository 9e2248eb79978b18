//! What the conductor and the workers of one swarm share.

use std::sync::atomic::{
    AtomicU16, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use c10k_record::{Failure, GrowthEvidence, GrowthStop, LiveCounts, PhaseName};

use crate::arrivals::Arrivals;
use crate::control::TableControl;
use crate::losses::{Losses, Moments};
use crate::measured::Measured;
use crate::ramps::Ramp;
use crate::settings::RunSettings;
use crate::sources::SourcePlan;
use crate::tally::{Loss, Tally};
use crate::tasks::{Orders, Task, Turn};
use crate::tuples::Tuples;
use crate::workload::{Job, Talked};

/// After so many failures in a row each further handful pauses the arrivals for a while.
const BACKOFF_AFTER: u64 = 32;
/// The longest such pause.
const LONGEST_BACKOFF_US: u64 = 250_000;

/// What a worker tells the conductor.
#[derive(Debug)]
pub(crate) enum Note {
    /// A worker is up and waits for work.
    Started,
    /// A worker could not start.
    StartFailed(std::io::Error),
    /// Something may have come to its end.
    LookAgain,
    /// A worker has given its turn back: another one may have it.
    TurnFree(Turn),
    /// A command line on stdin, as it was read.
    Line(String),
}

/// What is counted at one moment.
pub(crate) struct Counted {
    pub(crate) live: LiveCounts,
    /// Proven in the present round.
    pub(crate) held: u64,
    /// What was lost, by phase and cause.
    pub(crate) failures: Vec<Failure>,
}

/// What all share.
pub(crate) struct Shared {
    pub(crate) settings: RunSettings,
    pub(crate) plan: SourcePlan,
    pub(crate) arrivals: Arrivals,
    pub(crate) tuples: Tuples,
    /// See [`Orders::to_word`].
    orders: AtomicU64,
    round: AtomicU16,
    epoch: Instant,
    /// Time that tests have let pass, µs.
    #[cfg(test)]
    skipped_us: AtomicU64,
    first_connect_us: AtomicU64,
    /// Of the present ramp.
    ramp_first_us: AtomicU64,
    /// When a connection was lost last in a ramp.
    last_lost_us: AtomicU64,
    failures_in_a_row: AtomicU64,
    pub(crate) moments: Moments,
    losses: Mutex<Losses>,
    growth_stop: Mutex<Option<(GrowthStop, GrowthEvidence)>>,
    cut_as: Mutex<Loss>,
    /// In which phase the run was stopped, and whether what is proven stays so.
    aborted: Mutex<(PhaseName, bool)>,
    tables: Mutex<Vec<Arc<TableControl>>>,
    tally: Mutex<Tally>,
    measured: Mutex<Measured>,
    /// What connections are to do while they are held.
    job: Mutex<Option<Arc<Job>>>,
    talked: Mutex<Talked>,
    notes: Sender<Note>,
}

impl Shared {
    pub(crate) fn new(
        settings: RunSettings,
        plan: SourcePlan,
        arrivals: Arrivals,
        notes: Sender<Note>,
    ) -> Self {
        Self {
            tuples: Tuples::new(plan.capacity(), settings.time_wait),
            settings,
            plan,
            arrivals,
            orders: AtomicU64::new(Orders::FIRST.to_word()),
            round: AtomicU16::new(0),
            epoch: Instant::now(),
            #[cfg(test)]
            skipped_us: AtomicU64::new(0),
            first_connect_us: AtomicU64::new(u64::MAX),
            ramp_first_us: AtomicU64::new(u64::MAX),
            last_lost_us: AtomicU64::new(0),
            failures_in_a_row: AtomicU64::new(0),
            moments: Moments::default(),
            losses: Mutex::default(),
            growth_stop: Mutex::new(None),
            cut_as: Mutex::new(Loss::Aborted),
            aborted: Mutex::new((PhaseName::Ramp, false)),
            tables: Mutex::new(Vec::new()),
            tally: Mutex::default(),
            measured: Mutex::default(),
            job: Mutex::default(),
            talked: Mutex::default(),
            notes,
        }
    }

    /// µs since the swarm was made, from CLOCK_MONOTONIC.
    pub(crate) fn now_us(&self) -> u64 {
        let now_us = self.epoch.elapsed().as_micros() as u64;
        #[cfg(test)]
        let now_us = now_us + self.skipped_us.load(Relaxed);
        now_us
    }

    /// Lets time pass.
    #[cfg(test)]
    pub(crate) fn skip(&self, long: Duration) {
        self.skipped_us.fetch_add(long.as_micros() as u64, Relaxed);
    }

    pub(crate) fn note(&self, note: Note) {
        // The conductor outlives the workers; a lost note means that it is gone and nobody waits.
        let _ = self.notes.send(note);
    }

    // Tasks --------------------------------------------------------------------------------------------

    pub(crate) fn orders(&self) -> Orders {
        Orders::from_word(self.orders.load(Acquire))
    }

    /// Has this task carried out from now on, and no other. Turns are given by [`Shared::pass_on`].
    pub(crate) fn enter(&self, task: Task) {
        self.order(self.orders().only(task));
    }

    /// Has other orders carried out: takes back the turns for what is done no more, or begins anew, and wakes everybody.
    pub(crate) fn order(&self, orders: Orders) {
        let before = self.orders();
        if orders.has(Task::Prove) && orders.walk != before.walk {
            // 0 is the round of the first proof, whatever number of others has come.
            self.round.store(self.round().checked_add(1).unwrap_or(1), Relaxed);
        }
        self.failures_in_a_row.store(0, Relaxed);
        let tables = self.tables();
        for table in &tables {
            if !(before.has(Task::Connect) && orders.has(Task::Connect)) {
                table.turn(Turn::Connect).store(false, Relaxed);
            }
            if orders.walk != before.walk || !orders.need_a_walk() {
                table.turn(Turn::Walk).store(false, Relaxed);
            }
        }
        self.orders.store(orders.to_word(), Release);
        TableControl::wake_all(&tables);
    }

    /// Whether every worker has finished the present walk.
    pub(crate) fn everybody_done(&self) -> bool {
        let walk = self.orders().walk;
        self.tables().iter().all(|t| t.done.load(Acquire) == walk || !t.alive.load(Acquire))
    }

    pub(crate) fn round(&self) -> u16 {
        self.round.load(Relaxed)
    }

    // Turns --------------------------------------------------------------------------------------------

    pub(crate) fn tables(&self) -> Vec<Arc<TableControl>> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn add_table(&self, table: Arc<TableControl>) {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner).push(table);
    }

    /// Gives a turn to the next worker that can use one; false when there is none. For the conductor alone, since it
    /// wakes.
    pub(crate) fn pass_on(&self, turn: Turn) -> bool {
        let orders = self.orders();
        let tables = self.tables();
        let can_use_it = |table: &TableControl| match turn {
            Turn::Connect => orders.has(Task::Connect) && table.room.load(Relaxed) > 0,
            Turn::Walk => orders.need_a_walk() && table.walked.load(Relaxed) != orders.walk,
        };
        let next = tables
            .iter()
            .find(|table| table.alive.load(Acquire) && !table.turn(turn).load(Relaxed) && can_use_it(table));
        if let Some(table) = next {
            table.give_turn(turn);
        }
        next.is_some()
    }

    /// Whether some worker has such a turn.
    pub(crate) fn has_turns(&self, turn: Turn) -> bool {
        self.tables().iter().any(|table| table.alive.load(Acquire) && table.turn(turn).load(Relaxed))
    }

    // Work ---------------------------------------------------------------------------------------------

    /// Sets what is done from now on where [`Task::Work`] or [`Task::Beat`] is ordered.
    pub(crate) fn set_job(&self, job: Arc<Job>) {
        *self.job.lock().unwrap_or_else(PoisonError::into_inner) = Some(job);
    }

    /// What was set last.
    pub(crate) fn job(&self) -> Option<Arc<Job>> {
        self.job.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What workers have said of their work since it was last taken.
    pub(crate) fn talked(&self) -> MutexGuard<'_, Talked> {
        self.talked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether every worker has ended this job.
    pub(crate) fn everybody_has_worked(&self, number: u32) -> bool {
        self.tables().iter().all(|t| t.worked.load(Acquire) == number || !t.alive.load(Acquire))
    }

    // Growth -------------------------------------------------------------------------------------------

    /// Ends the growth; the first reason stands. Of `evidence` its time is set here.
    pub(crate) fn stop_growing(&self, why: GrowthStop, evidence: GrowthEvidence) {
        self.arrivals.stop();
        let at_ms = self.since_first_connect_ms(self.now_us());
        let evidence = GrowthEvidence { at_ms, ..evidence };
        self.growth_stop.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert((why, evidence));
        self.note(Note::LookAgain);
    }

    /// A command asks for more: what stopped the growth before is tried anew.
    pub(crate) fn forget_growth_stop(&self) {
        *self.growth_stop.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    pub(crate) fn growth_stop(&self) -> Option<GrowthStop> {
        self.why_growth_stopped().map(|(why, _)| why)
    }

    /// Why the growth stopped, and what was seen then.
    pub(crate) fn why_growth_stopped(&self) -> Option<(GrowthStop, GrowthEvidence)> {
        self.growth_stop.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A connection has succeeded: whatever failed before it, not everything fails.
    pub(crate) fn answered(&self) {
        if self.failures_in_a_row.load(Relaxed) != 0 {
            self.failures_in_a_row.store(0, Relaxed);
        }
    }

    /// What becomes of connections that are cut off.
    pub(crate) fn cut_as(&self) -> Loss {
        self.cut_as.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Enters [`Task::Cut`]: what is not proven is lost under `loss`.
    pub(crate) fn cut(&self, loss: Loss) {
        *self.cut_as.lock().unwrap_or_else(PoisonError::into_inner) = loss;
        self.enter(Task::Cut);
    }

    /// Enters [`Task::Abort`]. What is not proven is given up in `phase`; what is stays so where all of it is.
    pub(crate) fn abort(&self, phase: PhaseName, all_are_proven: bool) {
        *self.aborted.lock().unwrap_or_else(PoisonError::into_inner) = (phase, all_are_proven);
        self.enter(Task::Abort);
    }

    /// In which phase the run was stopped, and whether what is proven stays so.
    pub(crate) fn aborted(&self) -> (PhaseName, bool) {
        *self.aborted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection was lost: while connections are begun, many in a row first slow the arrivals down and then end them.
    pub(crate) fn has_failed(&self, orders: Orders, now_us: u64) {
        if !orders.has(Task::Connect) {
            return;
        }
        let in_a_row = self.failures_in_a_row.fetch_add(1, Relaxed) + 1;
        self.last_lost_us.fetch_max(now_us, Relaxed);
        if in_a_row >= self.settings.give_up_after {
            self.stop_growing(GrowthStop::NothingSucceeds, GrowthEvidence::default());
        } else if in_a_row.is_multiple_of(BACKOFF_AFTER) {
            let doubled = 1000_u64 << (in_a_row / BACKOFF_AFTER).min(20);
            // A little of the clock's own noise as jitter keeps workers from coming back in step.
            let jitter = now_us % 997 * doubled / 2000;
            self.arrivals
                .pause_until(now_us + doubled.min(LONGEST_BACKOFF_US) / 2 + jitter.min(LONGEST_BACKOFF_US));
        }
    }

    /// Publishes counts by `publish`, and with them what was lost since the last time: [`Shared::counted`] sees both or
    /// none.
    pub(crate) fn publish(&self, lost: &mut Tally, publish: impl FnOnce()) {
        if lost.is_empty() {
            return publish();
        }
        let mut tally = self.tally();
        publish();
        tally.take_over(lost);
    }

    pub(crate) fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // Times --------------------------------------------------------------------------------------------

    pub(crate) fn connecting_since(&self, now_us: u64) {
        // The first of a ramp is never earlier than the first of all.
        if self.ramp_first_us.load(Relaxed) > now_us {
            self.ramp_first_us.fetch_min(now_us, Relaxed);
            self.first_connect_us.fetch_min(now_us, Relaxed);
        }
    }

    /// What is connected from now on is another ramp.
    pub(crate) fn begin_ramp(&self) {
        self.ramp_first_us.store(u64::MAX, Relaxed);
    }

    /// The times of the present ramp; `None` where nothing was begun in it.
    pub(crate) fn ramp(&self) -> Option<Ramp> {
        let first_us = Some(self.ramp_first_us.load(Relaxed)).filter(|first| *first < u64::MAX)?;
        let last_verified_us = self.last_verified_us();
        let last_settled_us = last_verified_us.max(self.last_lost_us.load(Relaxed));
        Some(Ramp { first_us, last_verified_us, last_settled_us, verified: 0, cpu_seconds: None })
    }

    fn last_verified_us(&self) -> u64 {
        self.tables().iter().map(|table| table.last_verified_us.load(Relaxed)).max().unwrap_or(0)
    }

    pub(crate) fn since_first_connect_ms(&self, now_us: u64) -> u64 {
        now_us.saturating_sub(self.first_connect_us.load(Relaxed)) / 1000
    }

    /// How long ago the first connect was begun; `None` where none was.
    pub(crate) fn first_connect_ago(&self) -> Option<Duration> {
        let first_us = Some(self.first_connect_us.load(Relaxed)).filter(|first| *first < u64::MAX)?;
        Some(Duration::from_micros(self.now_us().saturating_sub(first_us)))
    }

    /// µs from the first connect to the last verified one.
    pub(crate) fn verified_over_us(&self) -> Option<u64> {
        let first = self.first_connect_us.load(Relaxed);
        self.last_verified_us().checked_sub(first).filter(|us| *us > 0)
    }

    // Figures ------------------------------------------------------------------------------------------

    pub(crate) fn measured(&self) -> MutexGuard<'_, Measured> {
        self.measured.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What workers that have ended have noted of what they lost.
    pub(crate) fn losses(&self) -> MutexGuard<'_, Losses> {
        self.losses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn counts(&self) -> LiveCounts {
        self.counts_and_held().0
    }

    /// What is counted, and what was lost of it, at one moment.
    pub(crate) fn counted(&self) -> Counted {
        // Held while the counts are read: a worker publishes its losses under it.
        let tally = self.tally();
        let (live, held) = self.counts_and_held();
        Counted { live, held, failures: tally.failures() }
    }

    fn counts_and_held(&self) -> (LiveCounts, u64) {
        let (mut counts, mut held) = (LiveCounts::default(), 0);
        for table in self.tables() {
            let (of_table, held_there) = table.at_one_moment(|| {
                let counts = LiveCounts {
                    attempted: table.attempted.load(Acquire),
                    established: table.established.load(Relaxed),
                    verified: table.verified.load(Relaxed),
                    open: table.open.load(Relaxed),
                    failed: table.failed.load(Relaxed),
                    released: table.released.load(Relaxed),
                    closed: table.closed.load(Relaxed) + table.aborted.load(Relaxed),
                    in_flight: table.in_flight.load(Relaxed),
                    messages: table.messages.load(Relaxed),
                };
                (counts, table.held.load(Relaxed))
            });
            held += held_there;
            counts.attempted += of_table.attempted;
            counts.established += of_table.established;
            counts.verified += of_table.verified;
            counts.open += of_table.open;
            counts.failed += of_table.failed;
            counts.released += of_table.released;
            counts.closed += of_table.closed;
            counts.in_flight += of_table.in_flight;
            counts.messages += of_table.messages;
        }
        (counts, held)
    }

    pub(crate) fn sum(&self, of: impl Fn(&TableControl) -> &AtomicU64) -> u64 {
        self.tables().iter().map(|table| of(table).load(Relaxed)).sum()
    }
}

#[cfg(test)]
pub(crate) mod testing;

#[cfg(test)]
mod tests {
    use super::testing::shared_of;
    use super::*;

    #[test]
    fn what_is_held_and_what_was_lost_are_seen_at_one_moment() {
        const COUNT: u64 = 20_000;
        let (shared, _notes) = shared_of(None, 50, None);
        let control = Arc::new(TableControl::alone());
        control.held.store(COUNT, Relaxed);
        shared.add_table(Arc::clone(&control));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut lost = Tally::default();
                for count in 1..=COUNT {
                    lost.add(PhaseName::Verify, Loss::ProbeTimeout, 1, 0);
                    shared.publish(&mut lost, || {
                        control.publish(|| {
                            control.failed.store(count, Relaxed);
                            control.held.store(COUNT - count, Relaxed);
                        });
                    });
                }
            });
            let mut failed = 0;
            while failed < COUNT {
                let seen = shared.counted();
                failed = seen.failures.iter().map(|row| row.count).sum();
                assert_eq!((seen.held, seen.live.failed), (COUNT - failed, failed));
            }
        });
    }
}
