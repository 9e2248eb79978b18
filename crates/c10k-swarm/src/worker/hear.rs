//! Hearing: what epoll names is read, and given to the speech.

use c10k_wire::raw::ProbeId;
use c10k_wire::{AfterRead, ReadTurn, TURN_BYTES};

use super::output::Words;
use super::{Worker, would_block};
use crate::maker::{Maker, Ready};
use crate::speech::{Awaited, Progress, Speech};
use crate::table::{State, token};
use crate::tally::Loss;
use crate::tasks::{Orders, Task};

impl<M: Maker, S: Speech> Worker<M, S> {
    pub(super) fn on_ready(&mut self, orders: Orders, event: &Ready) {
        let Some(index) = self.table.find(event.token) else { return };
        let state = self.table.get(index).state;
        if orders.hear_nothing() || (orders.has(Task::Close) && !state.is_ending()) {
            return;
        }
        if state == State::Connecting {
            if event.failed {
                return self.lose_by_failure(orders, index);
            }
            if !event.writable {
                return;
            }
            // Not when the wait ended: those before it in this turn had their words sent since.
            let now_us = self.shared.now_us();
            self.established(orders, index, now_us);
        }
        // What came while reading waited brings no edge of its own.
        let reads_on = state != State::Connecting && event.writable && self.flush(orders, index);
        if (event.readable || reads_on)
            && self.table.find(event.token).is_some()
            && !self.table.get(index).has_unread
            && self.output.may_read(index)
        {
            self.receive(orders, event.token, event.until_empty || reads_on);
        }
        if event.failed && self.table.find(event.token).is_some() {
            self.lose_by_failure(orders, index);
        }
    }

    /// Something has failed at a connection: it is lost under what its socket says.
    pub(super) fn lose_by_failure(&mut self, orders: Orders, index: u32) {
        let slot = self.table.get(index);
        let (state, token) = (slot.state, token(index, slot.number));
        let failure = slot.connection.as_ref().and_then(|connection| self.maker.failure(connection));
        match failure {
            Some(error) => self.lose_dead(orders, index, Loss::from_error(&error)),
            // The socket holds no error (any more): what has become of it a read says, or its time does.
            None if state != State::Connecting => self.receive(orders, token, true),
            None => {}
        }
    }

    /// Gives every connection with unread input its next turn. One that is to be closed unheard has none.
    pub(super) fn read_leftovers(&mut self, orders: Orders) {
        for token in std::mem::take(&mut self.leftovers) {
            let Some(index) = self.table.find(token) else { continue };
            let slot = self.table.get(index);
            slot.has_unread = false;
            if !orders.hear_nothing() && (!orders.has(Task::Close) || slot.state.is_ending()) {
                self.receive(orders, token, true);
            }
        }
    }

    /// Reads until nothing is there or the turn is over. `until_empty` insists where no edge will come for what is
    /// still there.
    fn receive(&mut self, orders: Orders, token: u64, until_empty: bool) {
        let (mut turn, mut last_length) = (ReadTurn::new(TURN_BYTES, until_empty), 0);
        while let Some(index) = self.table.find(token) {
            let slot = self.table.get(index);
            let Some(connection) = &slot.connection else { return };
            match self.maker.receive(connection, &mut self.buffer) {
                Ok(0) => {
                    let within = match slot.state {
                        State::Probing => slot.got > 0,
                        State::Talking => self.talks.is_within(slot.talk()),
                        State::Receiving | State::Leaving => {
                            let number = slot.talk();
                            self.is_within_frame(number)
                        }
                        _ => false,
                    };
                    let loss = self.speech.end_of_input(&self.states[index as usize], within);
                    self.hear_words(index, &loss, last_length);
                    return self.lose_dead(orders, index, loss);
                }
                Ok(length) => {
                    self.received(orders, index, length);
                    last_length = length;
                    if !self.output.may_read(index) {
                        return;
                    }
                    match turn.after(length, self.buffer.len()) {
                        AfterRead::Read => {}
                        AfterRead::Wait => return,
                        AfterRead::Yield => {
                            if self.table.find(token).is_some() {
                                self.table.get(index).has_unread = true;
                                self.leftovers.push(token);
                            }
                            return;
                        }
                    }
                }
                Err(error) if would_block(&error) => return,
                Err(error) => return self.lose_dead(orders, index, Loss::from_error(&error)),
            }
        }
    }

    pub(super) fn received(&mut self, orders: Orders, index: u32, length: usize) {
        let is_out = self.output.has_said_its_own(index);
        let slot = self.table.get(index);
        slot.is_pinged = false;
        let awaited = match slot.state {
            State::Probing => Some(Awaited {
                id: ProbeId { connection: slot.identity(), round: u32::from(slot.round) },
                got: slot.got,
                is_out,
            }),
            State::Talking => return self.talk_heard(orders, index, length, is_out),
            State::Receiving | State::Leaving => return self.push_heard(orders, index, length),
            _ => None,
        };
        let token = token(index, slot.number);
        let (state, input) = (&mut self.states[index as usize], &mut self.buffer[..length]);
        let kept = self.speech.kept_bytes(state);
        let heard = self.speech.hear(state, awaited, input, self.output.blank());
        self.freed.add(kept.saturating_sub(self.speech.kept_bytes(state)));
        if !self.output.next().is_empty() {
            self.say(orders, index, Words::Answer);
        }
        if self.table.find(token).is_none() {
            return;
        }
        // In the order in which they came: what ends a connection takes nothing from what it was before.
        if heard.opened {
            self.opened(orders, index, heard.lost.is_some());
        }
        match heard.echo {
            Progress::Same => {}
            Progress::Partial(got) => self.table.get(index).got = got,
            Progress::Whole => self.proven(orders, index),
        }
        if let Some(loss) = heard.lost
            && self.table.find(token).is_some()
        {
            match self.table.get(index).state {
                State::Closing => self.part(index),
                _ => {
                    self.hear_words(index, &loss, length);
                    self.lose(orders, index, loss);
                }
            }
        }
    }

    /// Keeps what the server has said in words in the last input of a connection that is about to be lost.
    pub(super) fn hear_words(&mut self, index: u32, loss: &Loss, length: usize) {
        if length == 0 || self.table.peek(index).state.is_ending() {
            return;
        }
        if let Some(words) = self.speech.words(&self.states[index as usize], loss, &self.buffer[..length]) {
            self.ledger.heard(words);
        }
    }
}
