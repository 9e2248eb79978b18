//! Ending: what is lost, what took too long, what is closed.

use std::sync::atomic::Ordering::AcqRel;

use c10k_record::ChurnClose;

use super::output::Words;
use super::{BATCH, Worker};
use crate::maker::Maker;
use crate::speech::Speech;
use crate::table::State;
use crate::tally::Loss;
use crate::tasks::{Orders, Task};

/// Connections that are given up between two looks at the clock and at the orders.
const ABORTED_AT_ONCE: u32 = 1024;

/// The round of a connection that says goodbye and was the first to end TCP.
const SHUT: u16 = 1;

/// What a connection leaves behind at this end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leaves {
    /// Its tuple may be used again at once.
    Nothing,
    /// This end sends the first FIN, so the kernel keeps the tuple for a while.
    TimeWait,
}

impl<M: Maker, S: Speech> Worker<M, S> {
    /// Loses a connection that its peer has not ended: it is closed as `--close` says.
    pub(super) fn lose(&mut self, orders: Orders, index: u32, loss: Loss) {
        let reset = self.shared.settings.reset_on_close;
        // A connect under way is given up without a word.
        let state = self.table.get(index).state;
        let leaves = if reset || state == State::Connecting { Leaves::Nothing } else { Leaves::TimeWait };
        self.lose_leaving(orders, index, loss, leaves);
    }

    /// Loses a connection that has failed, or whose peer has closed: TIME_WAIT, if there is one, is the peer's.
    pub(super) fn lose_dead(&mut self, orders: Orders, index: u32, loss: Loss) {
        self.lose_leaving(orders, index, loss, Leaves::Nothing);
    }

    fn lose_leaving(&mut self, orders: Orders, index: u32, loss: Loss, leaves: Leaves) {
        let was = self.table.get(index).standing();
        let now_us = self.shared.now_us();
        if let Some(sent_us) = self.proof_sent_us(index, now_us) {
            self.prober.ended(sent_us);
        }
        let Some(connection) = self.remove(index, leaves) else { return };
        // After a goodbye nothing is left but the end that was asked for: a RST would take the peer's TIME_WAIT away.
        self.maker.end(connection, self.shared.settings.reset_on_close && !was.state.is_ending());
        self.ledger.loses(orders, was, loss, now_us);
    }

    /// Takes a connection out of the table, with all that is kept of it, and gives its tuple back.
    fn remove(&mut self, index: u32, leaves: Leaves) -> Option<M::Connection> {
        self.output.forget(index);
        self.connector.take_lateness(index);
        let state = std::mem::take(&mut self.states[index as usize]);
        self.freed.add(self.speech.kept_bytes(&state));
        let slot = self.table.get(index);
        let tuple = slot.tuple;
        let leaves = if slot.state.is_ending() && slot.round == SHUT { Leaves::TimeWait } else { leaves };
        let (state, number) = (slot.state, slot.talk());
        match state {
            State::Talking => self.end_talk(number),
            State::Receiving | State::Leaving => self.end_reception(number),
            _ => {}
        }
        let connection = self.table.remove(index)?;
        match leaves {
            Leaves::Nothing => self.connector.hand.is_free(tuple),
            Leaves::TimeWait => self.connector.hand.waits(tuple),
        }
        Some(connection)
    }

    /// Loses what has been under way for too long.
    pub(super) fn expire(&mut self, orders: Orders, now_us: u64) {
        while let Some((index, state)) = self.waits.next_overdue(&self.table, now_us) {
            if let Some(sent_us) = self.proof_sent_us(index, now_us) {
                self.prober.is_overdue(sent_us);
            }
            let loss = match state {
                State::Connecting => Loss::ConnectTimeout,
                State::Opening => Loss::HandshakeTimeout,
                _ => Loss::ProbeTimeout,
            };
            self.lose(orders, index, loss);
        }
        self.expire_unsent(orders, now_us);
    }

    /// Loses all that the present round has not proven.
    pub(super) fn cut(&mut self, orders: Orders, loss: &Loss) {
        let round = self.shared.round();
        for index in 0..self.table.len() {
            let slot = self.table.get(index);
            // What was proven in an earlier round only is not proven.
            if slot.state != State::Free && (slot.state != State::Proven || slot.round != round) {
                self.lose(orders, index, loss.clone());
            }
        }
    }

    /// Closes as many as are to be released.
    pub(super) fn release_some(&mut self, orders: Orders) {
        let mut wanted = self.control.release.swap(0, AcqRel);
        while wanted > 0 {
            let Some(index) = self.closer.next_to_release() else {
                // Those that talk are released when they are silent again.
                if !self.talks.is_empty() {
                    self.control.release.fetch_add(wanted, AcqRel);
                }
                return;
            };
            let was = self.table.get(index).standing();
            if matches!(was.state, State::Idle | State::Proven) {
                self.ledger.releases(was);
                self.end_in_good_order(orders, index);
                wanted -= 1;
            }
        }
    }

    pub(super) fn close_some(&mut self, orders: Orders) -> bool {
        for _ in 0..BATCH {
            let is_full =
                self.ledger.under_way(Task::Close) >= u64::from(self.shared.settings.in_flight_per_turn);
            if is_full && !self.closer.is_over() {
                return false;
            }
            let Some(index) = self.closer.next() else {
                self.walked(orders.walk);
                return false;
            };
            let was = self.table.get(index).standing();
            match was.state {
                State::Free | State::Closing | State::Parted => {}
                State::Proven => {
                    self.ledger.closes(was);
                    self.end_in_good_order(orders, index);
                }
                // The end came before its proof did.
                State::Connecting
                | State::Opening
                | State::Probing
                | State::Idle
                | State::Talking
                | State::Receiving
                | State::Leaving => {
                    self.lose(orders, index, Loss::Aborted);
                }
            }
        }
        true
    }

    /// Closes a batch by RST, and hears nothing more of anybody: the run is stopped.
    pub(super) fn abort_some(&mut self, orders: Orders) -> bool {
        let stopped = self.shared.aborted();
        let now_us = self.shared.now_us();
        for _ in 0..ABORTED_AT_ONCE {
            let Some(index) = self.closer.next() else { break };
            let was = self.table.get(index).standing();
            let Some(connection) = self.remove(index, Leaves::Nothing) else { continue };
            self.maker.end(connection, true);
            self.ledger.gives_up(was, stopped, now_us);
        }
        let more = !self.closer.is_over();
        if !more {
            self.walked(orders.walk);
        }
        more
    }

    /// Closes a connection that has been counted, after the goodbye of the protocol where it has one and good
    /// order is wanted.
    fn end_in_good_order(&mut self, orders: Orders, index: u32) {
        let close = if self.shared.settings.reset_on_close { ChurnClose::Rst } else { ChurnClose::Server };
        self.end_as(orders, index, close);
    }

    /// The same, by who is to end TCP first. Without a goodbye that is this end.
    pub(super) fn end_as(&mut self, orders: Orders, index: u32, close: ChurnClose) {
        let reset = close == ChurnClose::Rst;
        if !reset && self.speech.goodbye(&mut self.states[index as usize], self.output.blank()) {
            // What it was is counted, and the goodbye takes nothing from that.
            self.table.get(index).state = State::Idle;
            let now_us = self.shared.now_us();
            self.begin_step(index, State::Closing, 0, now_us);
            self.ledger.asked(Task::Close);
            self.output.begin_to_count(index, now_us);
            if close != ChurnClose::Client {
                self.say(orders, index, Words::Own);
            } else if self.say_last(orders, index) {
                self.table.get(index).round = SHUT;
            }
        } else {
            let leaves = if reset { Leaves::Nothing } else { Leaves::TimeWait };
            if let Some(connection) = self.remove(index, leaves) {
                self.maker.end(connection, reset);
            }
        }
    }
}
