//! Proving: probes out, and what their echoes mean.

use std::sync::atomic::Ordering::{AcqRel, Release};

use super::output::Words;
use super::prober::Next;
use super::{BATCH, Worker};
use crate::maker::Maker;
use crate::shared::Note;
use crate::speech::Speech;
use crate::table::{State, Table, token};
use crate::tally::Loss;
use crate::tasks::{Orders, Task, Turn};

impl<M: Maker, S: Speech> Worker<M, S> {
    /// A handshake, a probe, a goodbye or the wait behind it begins: its answer is awaited from now on.
    pub(super) fn begin_step(&mut self, index: u32, state: State, round: u16, now_us: u64) {
        let slot = self.table.get(index);
        self.ledger.holds_no_more(slot.state);
        slot.got = 0;
        slot.round = round;
        slot.state = state;
        slot.since_us = now_us as u32;
        let token = token(index, slot.number);
        self.waits.begin(&self.table, token, state, now_us);
    }

    /// Proves a batch of connections once more; true when there is more to do at once.
    pub(super) fn probe_some(&mut self, orders: Orders) -> bool {
        let round = self.shared.round();
        let in_a_row = self.shared.settings.give_up_proving_after;
        let table = &self.table;
        self.prober.look(self.shared.now_us(), |token, sent_us| is_proving(table, token, sent_us));
        if self.prober.nobody_answers(in_a_row) {
            self.cut(orders, &Loss::Unproven);
            self.prober.give_up();
        } else if self.prober.nobody_has_answered(in_a_row) {
            // Others have the turn until these are answered, or their time is over.
            self.walked(orders.walk);
            return false;
        }
        for _ in 0..BATCH {
            let index = match self.prober.next(self.shared.settings.proofs_per_turn) {
                Next::Slot(index) => index,
                Next::NotBefore(at_us) => {
                    at_us.into_iter().for_each(|at_us| self.wait_until(at_us));
                    return false;
                }
                Next::Over => {
                    self.walked(orders.walk);
                    return false;
                }
            };
            let slot = self.table.get(index);
            let waits = match slot.state {
                State::Idle => true,
                State::Proven => slot.round != round,
                State::Free
                | State::Connecting
                | State::Opening
                | State::Probing
                | State::Talking
                | State::Receiving
                | State::Leaving
                | State::Closing
                | State::Parted => false,
            };
            if !waits {
                continue;
            }
            if self.shared.settings.probes.is_none() {
                self.prove(index);
                continue;
            }
            let now_us = self.shared.now_us();
            self.compose_probe(index, round);
            self.begin_step(index, State::Probing, round, now_us);
            self.ledger.asked(Task::Prove);
            let (table, token) = (&self.table, token(index, self.table.peek(index).number));
            self.prober.sent(token, now_us, |token, sent_us| is_proving(table, token, sent_us));
            self.say(orders, index, Words::Own);
        }
        true
    }

    /// When the probe that is awaited in `slot` was sent, if it is one of the present proof, µs.
    pub(super) fn proof_sent_us(&self, index: u32, now_us: u64) -> Option<u64> {
        let slot = self.table.peek(index);
        let is_proof = slot.state == State::Probing && slot.round != 0 && slot.round == self.shared.round();
        is_proof.then(|| now_us - u64::from((now_us as u32).wrapping_sub(slot.since_us)))
    }

    pub(super) fn walked(&mut self, walk: u32) {
        if self.control.walked.swap(walk, AcqRel) != walk {
            self.control.turn(Turn::Walk).store(false, Release);
            self.shared.note(Note::TurnFree(Turn::Walk));
        }
    }

    /// There is nothing to walk over: others have the turn, also one that comes later.
    pub(super) fn need_no_turn(&self, walk: u32) {
        self.control.walked.store(walk, Release);
        if self.control.turn(Turn::Walk).swap(false, AcqRel) {
            self.shared.note(Note::TurnFree(Turn::Walk));
        }
    }

    /// The goodbye is answered. The server is to end TCP first (RFC 6455 section 7.1.1), and so keeps TIME_WAIT;
    /// nothing else has to wait for that.
    pub(super) fn part(&mut self, index: u32) {
        self.ledger.parted();
        let round = self.table.peek(index).round;
        self.begin_step(index, State::Parted, round, self.shared.now_us());
    }

    pub(super) fn proven(&mut self, orders: Orders, index: u32) {
        let now_us = self.shared.now_us();
        let slot = self.table.get(index);
        let took_us = u64::from((now_us as u32).wrapping_sub(slot.since_us));
        if slot.round == 0 {
            let number = slot.number;
            self.rest(orders, index);
            self.ledger.verified(number, took_us, now_us);
        } else {
            if let Some(sent_us) = self.proof_sent_us(index, now_us) {
                self.prober.answered(sent_us);
            }
            self.prove(index);
            self.ledger.echoed(took_us);
        }
    }

    /// A connection is up and nothing is under way. A first proof that comes within the verification is as good
    /// as a second one: the walk may have passed this connection already.
    pub(super) fn rest(&mut self, orders: Orders, index: u32) {
        self.table.get(index).state = State::Idle;
        self.closer.is_idle(index);
        if orders.prove() {
            self.prove(index);
        }
    }

    /// A connection is proven in the present round.
    pub(super) fn prove(&mut self, index: u32) {
        let slot = self.table.get(index);
        self.ledger.holds(slot.state);
        self.closer.is_idle(index);
        slot.state = State::Proven;
        slot.round = self.shared.round();
    }
}

/// Whether the probe that was sent on this token then is still awaited.
fn is_proving<C>(table: &Table<C>, token: u64, sent_us: u64) -> bool {
    let slot = table.find(token).map(|index| table.peek(index));
    slot.is_some_and(|slot| slot.state == State::Probing && slot.since_us == sent_us as u32)
}
