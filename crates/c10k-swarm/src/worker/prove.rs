//! Proving: probes out, echoes in, and whatever else a server says.

use std::sync::atomic::Ordering::{AcqRel, Release};

use c10k_wire::raw::ProbeId;

use super::output::Words;
use super::prober::Next;
use super::waits::is_under_way;
use super::{BATCH, TURN_BYTES, Worker, would_block};
use crate::maker::{Maker, Ready};
use crate::shared::{Note, Stage};
use crate::speech::{Awaited, Progress, Speech};
use crate::table::{State, Table, Task, token};
use crate::tally::Loss;

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
    pub(super) fn probe_some(&mut self, stage: Stage, sequence: u32) -> bool {
        let round = self.shared.round();
        let in_a_row = self.shared.fixed.give_up_proving_after;
        let table = &self.table;
        self.prober.look(self.shared.now_us(), |token, sent_us| is_proving(table, token, sent_us));
        if self.prober.nobody_answers(in_a_row) {
            self.cut(stage, &Loss::Unproven);
            self.prober.give_up();
        } else if self.prober.nobody_has_answered(in_a_row) {
            // Others have the turn until these are answered, or their time is over.
            self.walked(sequence);
            return false;
        }
        for _ in 0..BATCH {
            let index = match self.prober.next(self.shared.fixed.proofs_per_turn) {
                Next::Slot(index) => index,
                Next::NotBefore(at_us) => {
                    self.wait_until_us = at_us;
                    return false;
                }
                Next::Over => {
                    self.walked(sequence);
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
                | State::Closing
                | State::Parted => false,
            };
            if !waits {
                continue;
            }
            if self.shared.fixed.probes.is_none() {
                self.prove(index);
                continue;
            }
            let now_us = self.shared.now_us();
            self.compose_probe(index, round);
            self.begin_step(index, State::Probing, round, now_us);
            self.ledger.asked(Task::Prove);
            let (table, token) = (&self.table, token(index, self.table.peek(index).number));
            self.prober.sent(token, now_us, |token, sent_us| is_proving(table, token, sent_us));
            self.say(stage, index, Words::Own);
        }
        true
    }

    /// When the probe that is awaited in `slot` was sent, if it is one of the present proof, µs.
    pub(super) fn proof_sent_us(&self, index: u32, now_us: u64) -> Option<u64> {
        let slot = self.table.peek(index);
        let is_proof = slot.state == State::Probing && slot.round != 0 && slot.round == self.shared.round();
        is_proof.then(|| now_us - u64::from((now_us as u32).wrapping_sub(slot.since_us)))
    }

    pub(super) fn walked(&mut self, sequence: u32) {
        if self.control.walked.swap(sequence, AcqRel) != sequence {
            self.control.turn.store(false, Release);
            self.shared.note(Note::TurnFree);
        }
    }

    /// There is nothing to walk over: others have the turn, also one that comes later.
    pub(super) fn need_no_turn(&self, sequence: u32) {
        self.control.walked.store(sequence, Release);
        if self.control.turn.swap(false, AcqRel) {
            self.shared.note(Note::TurnFree);
        }
    }

    pub(super) fn on_ready(&mut self, stage: Stage, event: &Ready) {
        let Some(index) = self.table.find(event.token) else { return };
        let state = self.table.get(index).state;
        if stage.hears_nothing() || (stage == Stage::Close && !state.is_ending()) {
            return;
        }
        if state == State::Connecting {
            if event.failed {
                return self.lose_by_failure(stage, index);
            }
            if !event.writable {
                return;
            }
            // Not when the wait ended: those before it in this turn had their words sent since.
            let now_us = self.shared.now_us();
            self.established(stage, index, now_us);
        }
        // What came while reading waited brings no edge of its own.
        let reads_on = state != State::Connecting && event.writable && self.flush(stage, index);
        if (event.readable || reads_on)
            && self.table.find(event.token).is_some()
            && !self.table.get(index).has_unread
            && self.output.may_read(index)
        {
            self.receive(stage, event.token, event.until_empty || reads_on);
        }
        if event.failed && self.table.find(event.token).is_some() {
            self.lose_by_failure(stage, index);
        }
    }

    /// Something has failed at a connection: it is lost under what its socket says.
    pub(super) fn lose_by_failure(&mut self, stage: Stage, index: u32) {
        let slot = self.table.get(index);
        let (state, token) = (slot.state, token(index, slot.number));
        let failure = slot.connection.as_ref().and_then(|connection| self.maker.failure(connection));
        match failure {
            Some(error) => self.lose_dead(stage, index, Loss::from_error(&error)),
            // The socket holds no error (any more): what has become of it a read says, or its time does.
            None if state != State::Connecting => self.receive(stage, token, true),
            None => {}
        }
    }

    /// Gives every connection with unread input its next turn. One that is to be closed unheard has none.
    pub(super) fn read_leftovers(&mut self, stage: Stage) {
        for token in std::mem::take(&mut self.leftovers) {
            let Some(index) = self.table.find(token) else { continue };
            let slot = self.table.get(index);
            slot.has_unread = false;
            if !stage.hears_nothing() && (stage != Stage::Close || slot.state.is_ending()) {
                self.receive(stage, token, true);
            }
        }
    }

    /// Reads until nothing is there or the turn is over. `until_empty` insists where no edge will come for what is
    /// still there.
    fn receive(&mut self, stage: Stage, token: u64, until_empty: bool) {
        let mut turn = TURN_BYTES;
        while let Some(index) = self.table.find(token) {
            let slot = self.table.get(index);
            let Some(connection) = &slot.connection else { return };
            match self.maker.receive(connection, &mut self.buffer) {
                Ok(0) => {
                    let within = slot.state == State::Probing && slot.got > 0;
                    let loss = self.speech.end_of_input(&self.states[index as usize], within);
                    return self.lose_dead(stage, index, loss);
                }
                Ok(length) => {
                    self.received(stage, index, length);
                    if !self.output.may_read(index) {
                        return;
                    }
                    // The rule of `c10k_kernel::socket::recv`.
                    if length < self.buffer.len() && !until_empty {
                        return;
                    }
                    turn = turn.saturating_sub(length);
                    if turn == 0 && self.table.find(token).is_some() {
                        self.table.get(index).has_unread = true;
                        return self.leftovers.push(token);
                    }
                }
                Err(error) if would_block(&error) => return,
                Err(error) => return self.lose_dead(stage, index, Loss::from_error(&error)),
            }
        }
    }

    pub(super) fn received(&mut self, stage: Stage, index: u32, length: usize) {
        let is_out = self.output.has_said_its_own(index);
        let slot = self.table.get(index);
        slot.is_pinged = false;
        let awaited = (slot.state == State::Probing).then(|| Awaited {
            id: ProbeId { connection: slot.identity(), round: u32::from(slot.round) },
            got: slot.got,
            is_out,
        });
        let token = token(index, slot.number);
        let (state, input) = (&mut self.states[index as usize], &mut self.buffer[..length]);
        let kept = self.speech.kept_bytes(state);
        let heard = self.speech.hear(state, awaited, input, self.output.blank());
        self.freed.add(kept.saturating_sub(self.speech.kept_bytes(state)));
        if !self.output.next().is_empty() {
            self.say(stage, index, Words::Answer);
        }
        if self.table.find(token).is_none() {
            return;
        }
        // In the order in which they came: what ends a connection takes nothing from what it was before.
        if heard.opened {
            self.opened(stage, index, heard.lost.is_some());
        }
        match heard.echo {
            Progress::Same => {}
            Progress::Partial(got) => self.table.get(index).got = got,
            Progress::Whole => self.proven(stage, index),
        }
        if let Some(loss) = heard.lost
            && self.table.find(token).is_some()
        {
            match self.table.get(index).state {
                State::Closing => self.part(index),
                _ => self.lose(stage, index, loss),
            }
        }
    }

    /// The goodbye is answered. The server is to end TCP first (RFC 6455 section 7.1.1), and so keeps TIME_WAIT;
    /// nothing else has to wait for that.
    fn part(&mut self, index: u32) {
        self.ledger.parted();
        self.begin_step(index, State::Parted, 0, self.shared.now_us());
    }

    pub(super) fn proven(&mut self, stage: Stage, index: u32) {
        let now_us = self.shared.now_us();
        let slot = self.table.get(index);
        let took_us = u64::from((now_us as u32).wrapping_sub(slot.since_us));
        if slot.round == 0 {
            self.rest(stage, index);
            self.ledger.verified(took_us, now_us);
        } else {
            self.prober.answered(now_us - took_us);
            self.prove(index);
            self.ledger.echoed(took_us);
        }
    }

    /// A connection is up and nothing is under way. A first proof that comes within the verification is as good
    /// as a second one: the walk may have passed this connection already.
    pub(super) fn rest(&mut self, stage: Stage, index: u32) {
        self.table.get(index).state = State::Idle;
        self.closer.is_idle(index);
        if matches!(stage, Stage::Verify | Stage::Cut) {
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
    is_under_way(table, token, State::Probing, sent_us).is_some()
}
