//! Work: a worker's part of a job, from its begin to its end.

use std::sync::Arc;
use std::sync::atomic::Ordering::Release;

use super::Worker;
use super::beat::Beats;
use super::churn::Exchange;
use super::receive::Receiving;
use crate::maker::Maker;
use crate::shared::Note;
use crate::speech::Speech;
use crate::table::{State, Table};
use crate::tasks::{Orders, Task};
use crate::workload::{Connections, Due, Job, Kind, Share, Stands, Talked, Workload};

/// Messages that are begun between two looks at what has become ready.
const BATCH: u32 = 128;
/// Between two sleeps that end because a message is due, µs: what is due meanwhile is sent together. Waking for each one
/// takes the processor from who answers, and from the other workers: with some 50,000 messages a second on two
/// processors the 99th of a hundred was 2 to 6 ms late without this rest, and is 0.8 ms late with it
/// (scripts/bench-echo.sh).
const REST_US: u64 = 200;
/// Between two looks at how many of all connections are here, and at what was measured, µs.
const LOOK_US: u64 = 50_000;

/// What one worker has to do of a job.
pub(super) struct Working {
    pub(super) job: Arc<Job>,
    pub(super) workload: Workload,
    pub(super) beats: Option<Beats>,
    pub(super) exchange: Exchange,
    /// What the server pushes; `None` = nothing.
    pub(super) receiving: Option<Receiving>,
    /// What came of it and was not yet told.
    pub(super) talked: Box<Talked>,
    looked_us: u64,
    /// Nothing is begun any more.
    is_ending: bool,
    /// Whether this worker is still to stand still, for a test.
    is_to_freeze: bool,
}

impl<C> Connections for Table<C> {
    fn slots(&self) -> u32 {
        self.len()
    }

    fn stands(&self, slot: u32) -> Stands {
        match self.peek(slot).state {
            State::Idle | State::Proven => Stands::Quiet,
            State::Talking | State::Receiving | State::Leaving => Stands::Busy,
            State::Free
            | State::Connecting
            | State::Opening
            | State::Probing
            | State::Closing
            | State::Parted => Stands::Absent,
        }
    }
}

impl<M: Maker, S: Speech> Worker<M, S> {
    /// A job begins, where one is ordered that is not under way.
    pub(super) fn begin_to_work(&mut self, orders: Orders) {
        let Some(job) = self.shared.job() else { return };
        if !orders.has(Task::Work) && !orders.has(Task::Beat) {
            // A job that was over before this worker saw it is not waited for.
            if self.working.is_none() {
                self.control.worked.store(job.number, Release);
                self.shared.note(Note::LookAgain);
            }
            return;
        }
        if self.working.as_ref().is_some_and(|working| working.job.number == job.number) {
            return;
        }
        self.give_up_earlier_work(orders);
        self.tell();
        self.control.worked.store(job.number.wrapping_sub(1), Release);
        let now_us = self.shared.now_us();
        let tables = self.shared.tables();
        let share = Share::of(&self.control, &tables);
        let is_first = tables.first().is_some_and(|first| Arc::ptr_eq(first, &self.control));
        let beat = job.plan.beat.filter(|_| orders.has(Task::Beat));
        self.working = Some(Box::new(Working {
            workload: Workload::of(&job, &share),
            exchange: self.begin_exchange(),
            receiving: Receiving::of(&job, self.shared.settings.has_one_clock),
            beats: beat.map(|every| {
                // A worker that is started within a job begins with it.
                let is_new = now_us.saturating_sub(job.from_us) > every.0.as_micros() as u64 / 8;
                Beats::new(every.0, if is_new { now_us } else { job.from_us })
            }),
            job,
            talked: Box::default(),
            looked_us: now_us,
            is_ending: false,
            is_to_freeze: is_first && self.shared.settings.freeze.is_some(),
        }));
    }

    /// Does some of the work; true when there is more to do at once.
    pub(super) fn work_on(&mut self, orders: Orders) -> bool {
        let now_us = self.shared.now_us();
        if !orders.has(Task::Work) && !orders.has(Task::Beat) {
            self.leave_some(orders, now_us);
            return self.end_work(orders);
        }
        self.freeze(now_us);
        let Some(working) = &mut self.working else { return false };
        let is_churn = working.job.is_churn();
        if now_us >= working.looked_us + LOOK_US {
            working.looked_us = now_us;
            working.workload.has(&Share::of(&self.control, &self.shared.tables()), now_us);
            self.tell();
        }
        let mut more = false;
        if orders.has(Task::Work) {
            more |= if is_churn { self.exchange_some(orders) } else { self.say_some(orders) };
        }
        if orders.has(Task::Beat) {
            more |= self.beat_some(orders);
        }
        // What was measured is told, and shares are looked at, also where nothing else happens.
        self.wait_until(now_us + LOOK_US);
        more
    }

    /// Says what is due.
    fn say_some(&mut self, orders: Orders) -> bool {
        for _ in 0..BATCH {
            let Some(working) = &mut self.working else { return false };
            let now_us = self.shared.now_us();
            match working.workload.next(now_us, self.talks.of_work(), &self.table) {
                Due::Say { slot, intended_us } => {
                    working.talked.intended += u64::from(intended_us.is_some());
                    let slot_now = self.table.peek(slot);
                    match (slot_now.state, intended_us) {
                        (State::Talking, Some(intended_us)) => self.talks.wait(slot_now.talk(), intended_us),
                        _ if working.receiving.is_some() => self.ask_for(orders, slot),
                        _ => self.talk(orders, slot, Kind::Work, intended_us),
                    }
                }
                Due::NotBefore(at_us) => {
                    // What is due just before the end is sent at the end.
                    let until_us = working.job.until_us;
                    self.wait_until(at_us.max((now_us + REST_US).min(until_us)));
                    return false;
                }
                Due::Nobody => return false,
            }
        }
        true
    }

    /// Nothing is begun any more. What is under way is awaited, and told of as it comes.
    fn end_work(&mut self, orders: Orders) -> bool {
        let Some(working) = &mut self.working else { return false };
        if !working.is_ending {
            working.is_ending = true;
            self.say_the_last(orders);
            self.give_up_what_is_left();
        }
        let is_whole = self.end_exchange(orders);
        self.tell();
        let is_receiving = self.working.as_ref().and_then(|working| working.receiving.as_ref());
        if is_whole
            && is_receiving.is_none_or(Receiving::is_empty)
            && self.talks.is_empty()
            && let Some(working) = self.working.take()
        {
            self.publish();
            self.control.worked.store(working.job.number, Release);
            self.shared.note(Note::LookAgain);
        }
        false
    }

    /// Who slept over the end says what was due by then: it did not fall behind. Of a phase that is stopped before its end
    /// there is none.
    fn say_the_last(&mut self, orders: Orders) {
        let Some(working) = &self.working else { return };
        let is_at_its_end = self.shared.now_us() >= working.job.until_us;
        if is_at_its_end && matches!(working.workload, Workload::Echo(_)) {
            self.say_some(orders);
        }
    }

    /// What is due and was not sent is not sent in time.
    fn give_up_what_is_left(&mut self) {
        let Some(working) = &mut self.working else { return };
        // Who was stopped before the end of the phase intended nothing behind that.
        let now_us = self.shared.now_us();
        let left = working.workload.left(now_us);
        working.workload = Workload::Hold;
        working.beats = None;
        let is_churn = working.job.is_churn();
        let talked = &mut working.talked;
        if let Some(left) = left {
            talked.intended += left.count;
            match is_churn {
                true => talked.not_sent_in_time += left.count,
                false => talked.give_up_as_late(left, now_us),
            }
        }
        self.talks.forget_waiting(|unsent| talked.give_up(unsent, now_us));
    }

    /// What was to come in the place of what is gone comes; true when that is over.
    fn end_exchange(&mut self, orders: Orders) -> bool {
        if orders.need_a_walk() || orders.has(Task::Cut) || orders.has(Task::End) {
            self.forget_waiting_connects();
        }
        let is_begun = self.begin_waiting(orders);
        let is_churn = self.working.as_ref().is_some_and(|working| working.job.is_churn());
        is_begun && !(is_churn && self.ledger.under_way(Task::Connect) > 0)
    }

    /// Adds what came of the work to the run's.
    pub(super) fn tell(&mut self) {
        let churned = self.exchanged();
        let Some(working) = &mut self.working else { return };
        if let Some(churned) = churned {
            working.talked.churned.add(churned);
            self.ledger.flush_measured();
        }
        if !working.talked.is_empty() {
            self.shared.talked().add(&working.talked);
            working.talked.clear();
        }
    }

    /// Stands still, once, where a test wants that.
    fn freeze(&mut self, now_us: u64) {
        let Some((after, long)) = self.shared.settings.freeze else { return };
        let Some(working) = &mut self.working else { return };
        if working.is_to_freeze && now_us >= working.job.from_us + after.as_micros() as u64 {
            working.is_to_freeze = false;
            std::thread::sleep(long);
        }
    }
}

impl Working {
    /// Whether these messages are those that the job is for. Beside a workload beats are not.
    pub(super) fn is_counted(&self, kind: Kind) -> bool {
        kind == Kind::Work || self.job.is_hold()
    }

    /// Whether starts are intended at times.
    pub(super) fn has_times(&self) -> bool {
        self.job.is_open_loop()
    }
}
