//! Receiving what a server pushes: asking for it, hearing it, leaving.

use c10k_kernel::clock;
use c10k_wire::push::{Ask, PushKind, Wrong};

use super::Worker;
use super::output::Words;
use crate::maker::Maker;
use crate::speech::Speech;
use crate::table::{State, token};
use crate::tally::Loss;
use crate::tasks::{Orders, Task};
use crate::workload::{Job, Pushed, ReceptionEnd, Receptions, Workload};

/// How long what was pushed before the end of a phase may take to come, µs: then the connections leave.
pub(crate) const GRACE_US: u64 = 2_000_000;
/// Connections that leave between two looks at what has become ready.
const BATCH: u32 = 256;

/// What is received in a job.
#[derive(Debug)]
pub(super) struct Receiving {
    pub(super) receptions: Receptions,
    /// When those that are still pushed to leave, µs since the run's epoch; `None` while the job lasts.
    leave_us: Option<u64>,
    /// Slots below this one have left.
    left: u32,
}

impl Receiving {
    /// `None` where a job has nobody pushed to.
    pub(super) fn of(job: &Job, has_one_clock: bool) -> Option<Self> {
        let (kind, bits_per_second) = job.pushes()?;
        let receptions = Receptions::new(kind, bits_per_second, has_one_clock);
        Some(Self { receptions, leave_us: None, left: 0 })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.receptions.is_empty()
    }
}

impl<M: Maker, S: Speech> Worker<M, S> {
    /// Asks the server to push on a connection that is silent.
    pub(super) fn ask_for(&mut self, orders: Orders, index: u32) {
        let Some(working) = &mut self.working else { return };
        let Some(receiving) = &mut working.receiving else { return };
        working.talked.sent += 1;
        let pushed = working.talked.pushed.get_or_insert_default();
        let number = receiving.receptions.begin(clock::monotonic_us(), pushed);
        self.speech.ask(Ask::Begin.word(receiving.receptions.kind()), self.output.blank());
        self.begin_step(index, State::Receiving, 0, self.shared.now_us());
        self.table.get(index).set_talk(number);
        self.ledger.asked(Task::Work);
        self.say(orders, index, Words::Own);
    }

    /// Whether a frame has begun to come that is not whole.
    pub(super) fn is_within_frame(&self, number: u32) -> bool {
        let receiving = self.working.as_ref().and_then(|working| working.receiving.as_ref());
        receiving.is_some_and(|receiving| receiving.receptions.is_within(number))
    }

    /// Bytes have arrived on a connection that is pushed to.
    pub(super) fn push_heard(&mut self, orders: Orders, index: u32, length: usize) {
        let slot = self.table.get(index);
        let (number, token) = (slot.talk(), token(index, slot.number));
        let Some(working) = &mut self.working else { return };
        let Some(receiving) = &mut working.receiving else { return };
        let (receptions, now_us) = (&mut receiving.receptions, clock::monotonic_us());
        let pushed = working.talked.pushed.get_or_insert_default();
        let (state, input) = (&mut self.states[index as usize], &mut self.buffer[..length]);
        let kept = self.speech.kept_bytes(state);
        let mut frames = 0;
        let lost = self.speech.listen(state, input, self.output.blank(), |piece| {
            frames += receptions.hear(number, &piece, now_us, pushed);
        });
        self.freed.add(kept.saturating_sub(self.speech.kept_bytes(state)));
        working.talked.answered += frames;
        let end = receptions.end_of(number);
        if !self.output.next().is_empty() {
            self.say(orders, index, Words::Answer);
        }
        if self.table.find(token).is_none() {
            return;
        }
        match end {
            None => {}
            Some(ReceptionEnd::Over) => {
                self.end_reception(number);
                self.ledger.talked();
                self.rest(orders, index);
            }
            Some(ReceptionEnd::Wrong(wrong)) => return self.lose_wrong(orders, index, wrong),
        }
        if let Some(loss) = lost
            && self.table.find(token).is_some()
        {
            self.hear_words(index, &loss, length);
            self.lose(orders, index, loss);
        }
    }

    fn lose_wrong(&mut self, orders: Orders, index: u32, wrong: Wrong) {
        let Some(working) = &mut self.working else { return };
        working.talked.wrong += 1;
        let loss = match (wrong, &mut working.workload) {
            (Wrong::Echoed(_), Workload::Push(push)) => {
                push.is_refused();
                Loss::Named("does-not-push".into())
            }
            (Wrong::Echoed(_), _) => Loss::Named("does-not-push".into()),
            _ => Loss::Corrupt,
        };
        self.lose(orders, index, loss);
    }

    /// A reception is over, or its connection is gone.
    pub(super) fn end_reception(&mut self, number: u32) {
        let Some(working) = &mut self.working else { return };
        if let Some(receiving) = &mut working.receiving {
            let pushed: &mut Pushed = working.talked.pushed.get_or_insert_default();
            receiving.receptions.end(number, clock::monotonic_us(), pushed);
        }
    }

    /// The job is over. What was pushed before that has its time to come, and then those that are still pushed to leave.
    pub(super) fn leave_some(&mut self, orders: Orders, now_us: u64) {
        let slots = self.table.len();
        let Some(receiving) = self.working.as_mut().and_then(|working| working.receiving.as_mut()) else {
            return;
        };
        if receiving.is_empty() {
            return;
        }
        let leave_us = *receiving.leave_us.get_or_insert(now_us + GRACE_US);
        if now_us < leave_us {
            return self.wait_until(leave_us);
        }
        let range = receiving.left..receiving.left.saturating_add(BATCH).min(slots);
        receiving.left = range.end;
        let kind: PushKind = receiving.receptions.kind();
        for index in range {
            let slot = self.table.peek(index);
            if slot.state == State::Receiving {
                let number = slot.talk();
                if let Some(receiving) = self.working.as_mut().and_then(|working| working.receiving.as_mut())
                {
                    receiving.receptions.leaves(number);
                }
                self.speech.ask(Ask::Leave.word(kind), self.output.blank());
                self.begin_step(index, State::Leaving, 0, now_us);
                self.table.get(index).set_talk(number);
                self.say(orders, index, Words::Own);
            }
        }
        if self.working.as_ref().and_then(|w| w.receiving.as_ref()).is_some_and(|r| r.left < slots) {
            self.wait_until(now_us);
        }
    }

    /// Another job begins: what the one before left under way is lost, and nobody begins what still waits.
    pub(super) fn give_up_earlier_work(&mut self, orders: Orders) {
        self.forget_waiting_connects();
        if self.working.as_ref().and_then(|w| w.receiving.as_ref()).is_none_or(Receiving::is_empty) {
            return;
        }
        for index in 0..self.table.len() {
            if matches!(self.table.peek(index).state, State::Receiving | State::Leaving) {
                self.lose(orders, index, Loss::ProbeTimeout);
            }
        }
    }
}
