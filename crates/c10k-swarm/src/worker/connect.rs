//! Connecting: from a claimed number to a connection that is up.

use std::sync::atomic::Ordering::{AcqRel, Relaxed};

use c10k_record::{GrowthEvidence, GrowthStop};
use c10k_wire::raw::ProbeId;

use super::connector::Due;
use super::output::Words;
use super::{BATCH, Worker, would_block};
use crate::maker::{BeginError, Begun, Maker};
use crate::shared::Note;
use crate::speech::Speech;
use crate::table::State;
use crate::tally::Loss;
use crate::tasks::{Orders, Task, Turn};

impl<M: Maker, S: Speech> Worker<M, S> {
    pub(super) fn connect_some(&mut self, orders: Orders) -> bool {
        let now_us = self.shared.now_us();
        for _ in 0..BATCH {
            if !self.shared.settings.open_loop
                && self.ledger.under_way(Task::Connect) >= u64::from(self.shared.settings.in_flight_per_turn)
            {
                return false;
            }
            if self.room() == 0 {
                self.hand_over();
                return false;
            }
            let number = match self.connector.next_number(self.room(), now_us) {
                Due::Now(number) => number,
                Due::NotBefore(at_us) => {
                    self.wait_until(at_us);
                    return false;
                }
                Due::Never => return false,
            };
            if !self.connect_one(orders, number) || !self.control.turn(Turn::Connect).load(Relaxed) {
                return false;
            }
        }
        true
    }

    /// Slots and descriptors still free.
    pub(super) fn room(&self) -> u32 {
        self.connector.room(self.table.used())
    }

    /// Gives the turn to another worker, and with it the claims not yet begun.
    pub(super) fn hand_over(&mut self) {
        self.connector.give_back();
        if self.control.turn(Turn::Connect).swap(false, AcqRel) {
            self.publish();
            self.shared.note(Note::TurnFree(Turn::Connect));
        }
    }

    /// Begins a connection that is none of those that are claimed; false when there is no tuple for it.
    pub(super) fn begin_apart(&mut self, orders: Orders, number: u64) -> bool {
        let claims = self.connector.set_claims_aside();
        self.connect_one(orders, number);
        self.connector.take_claims_back(claims)
    }

    /// Begins one connection; false when it has to wait for a tuple.
    fn connect_one(&mut self, orders: Orders, number: u64) -> bool {
        let mut begun_us = self.shared.now_us();
        self.ledger.attempts();
        let (tuple, begun) = loop {
            let next = self.connector.next_tuple(self.shared.now_us());
            if let Due::NotBefore(at_us) = next {
                self.wait_until(at_us);
            }
            let ends = if let Due::Now(tuple) = next { self.shared.plan.tuple(tuple.into()) } else { None };
            let (Due::Now(tuple), Some(ends)) = (next, ends) else {
                // Back to the claims, which wait, or are forgotten at once where growth has stopped.
                self.ledger.withdraws();
                self.connector.not_begun(number);
                return self.shared.arrivals.is_stopped();
            };
            self.shared.connecting_since(begun_us);
            match self.maker.begin(&ends) {
                Err(BeginError::TupleTaken(_)) => {
                    self.ledger.tuple_skipped();
                    self.connector.hand.is_taken(tuple);
                    // Looking for a tuple is this side's affair.
                    begun_us = self.shared.now_us();
                }
                // Fuller than thought: what is left is for other tables.
                Err(BeginError::TableFull(_)) if self.table.used() > 0 => {
                    self.connector.is_full_with(self.table.used());
                    self.ledger.withdraws();
                    self.connector.hand.not_tried(tuple);
                    self.connector.not_begun(number);
                    return true;
                }
                other => break (tuple, other),
            }
        };
        let late_us = self.connector.lateness_us(number, begun_us);
        let (connection, begun) = match begun {
            Ok(made) => made,
            Err(BeginError::Failed(error) | BeginError::TupleTaken(error)) => {
                self.connector.hand.is_free(tuple);
                self.ledger.not_begun(
                    orders,
                    number,
                    Loss::from_error(&error),
                    late_us,
                    self.shared.now_us(),
                );
                return true;
            }
            Err(BeginError::TableFull(error) | BeginError::NoDescriptor(error)) => {
                self.connector.hand.is_free(tuple);
                let loss = Loss::from_error(&error);
                let evidence = GrowthEvidence { errno: Some(loss.outcome()), ..GrowthEvidence::default() };
                self.ledger.not_begun(orders, number, loss, late_us, self.shared.now_us());
                self.shared.stop_growing(GrowthStop::NoDescriptors, evidence);
                return true;
            }
        };
        self.ledger.begun(late_us);
        let (index, token) = self.table.insert(connection, number as u32, tuple, begun_us as u32);
        self.connector.is_late(index, late_us);
        if self.states.len() <= index as usize {
            self.states.resize_with(index as usize + 1, S::State::default);
        }
        let established = match begun {
            Begun::Completed => {
                self.established(orders, index, self.shared.now_us());
                true
            }
            Begun::UnderWay => self.send_early(orders, index),
        };
        if self.table.find(token).is_some() {
            if !established {
                self.waits.begin(&self.table, token, State::Connecting, begun_us);
            }
            let waits = !established || self.output.waits(index);
            self.watch(orders, index, token, waits);
        }
        true
    }

    /// Tries to send the first words right behind the connect; true when the connect has completed.
    ///
    /// On loopback the handshake is over before connect(2) returns, so a wake-up is saved. Over a real way the
    /// first sends find EAGAIN, and then nobody tries any more.
    pub(super) fn send_early(&mut self, orders: Orders, index: u32) -> bool {
        if !self.connector.sends_early() {
            return false;
        }
        // Between connect and send: where the one ends the other begins.
        let now_us = self.shared.now_us();
        let Some(state) = self.compose_first(index) else { return false };
        let slot = self.table.get(index);
        let Some(connection) = &slot.connection else { return false };
        match self.maker.send(connection, self.output.next()) {
            Ok(sent) => {
                self.connector.has_sent_early(true);
                self.mark_established(index, now_us);
                self.begin_step(index, state, 0, now_us);
                let shared = &self.shared;
                self.output.said(index, sent, Words::Own, || shared.now_us());
                true
            }
            Err(error) if would_block(&error) => {
                self.connector.has_sent_early(false);
                false
            }
            Err(error) => {
                self.lose_dead(orders, index, Loss::from_error(&error));
                true
            }
        }
    }

    /// Writes what is said first, and says what is awaited then; `None` when nothing is said.
    pub(super) fn compose_first(&mut self, index: u32) -> Option<State> {
        if let Some(state) = self.speech.begin_handshake(self.output.blank()) {
            self.states[index as usize] = state;
            return Some(State::Opening);
        }
        self.shared.settings.probes?;
        self.compose_probe(index, 0);
        Some(State::Probing)
    }

    pub(super) fn compose_probe(&mut self, index: u32, round: u16) {
        let connection = self.table.get(index).identity();
        self.speech.probe(ProbeId { connection, round: u32::from(round) }, self.output.blank());
    }

    pub(super) fn watch(&mut self, orders: Orders, index: u32, token: u64, writable: bool) {
        let slot = self.table.get(index);
        let Some(connection) = &slot.connection else { return };
        if let Err(error) = self.maker.watch(connection, token, writable) {
            self.lose(orders, index, Loss::from_error(&error));
        }
    }

    pub(super) fn mark_established(&mut self, index: u32, now_us: u64) {
        let slot = self.table.get(index);
        let took_us = u64::from((now_us as u32).wrapping_sub(slot.since_us));
        let late_us = self.connector.take_lateness(index);
        self.ledger.established(took_us, late_us.map(|late_us| late_us.saturating_add(took_us)));
    }

    /// The connect has completed by `now_us`, which was read just now: the first words go out, or the connection is done
    /// when there are none.
    pub(super) fn established(&mut self, orders: Orders, index: u32, now_us: u64) {
        self.mark_established(index, now_us);
        match self.compose_first(index) {
            Some(state) => {
                self.begin_step(index, state, 0, now_us);
                self.send_out(orders, index, Words::Own);
            }
            None => self.leave_unproven(orders, index, now_us),
        }
    }

    /// A connection is up, and no probe is to prove it.
    pub(super) fn leave_unproven(&mut self, orders: Orders, index: u32, now_us: u64) {
        self.rest(orders, index);
        self.ledger.up(self.table.peek(index).number, now_us);
    }

    /// The handshake of the protocol is complete: the probe goes out, or the connection is done. One that `is_over` with
    /// the same input is sent nothing more.
    pub(super) fn opened(&mut self, orders: Orders, index: u32, is_over: bool) {
        let now_us = self.shared.now_us();
        let took_us = (now_us as u32).wrapping_sub(self.table.get(index).since_us);
        self.ledger.opened(took_us.into());
        if self.shared.settings.probes.is_none() {
            return self.leave_unproven(orders, index, now_us);
        }
        if is_over {
            return;
        }
        self.compose_probe(index, 0);
        self.begin_step(index, State::Probing, 0, now_us);
        self.say(orders, index, Words::Own);
        // To the kernel this looks like a talk now, in which the next answer acknowledges. None follows the echo: a
        // timer would do it 40 ms later, with both sockets out of the processor's caches by then.
        if let Some(connection) = &self.table.get(index).connection {
            self.maker.will_not_answer(connection);
        }
    }

    /// Tells the conductor when this worker has nothing under way and nothing to begin.
    pub(super) fn settle_ramp(&mut self, turn: bool) {
        if self.ledger.under_way(Task::Connect) == 0 {
            if self.shared.arrivals.is_exhausted() {
                self.ledger.flush_measured();
                if self.control.connecting.load(Relaxed) != 0 {
                    self.publish();
                    self.shared.note(Note::LookAgain);
                }
            } else if !turn {
                self.ledger.flush_measured();
            }
        }
    }
}
