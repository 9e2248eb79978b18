//! Sending over a worker's connections, and what comes of it.

use super::output::Words;
use super::{Worker, would_block};
use crate::maker::Maker;
use crate::speech::Speech;
use crate::table::token;
use crate::tally::Loss;
use crate::tasks::{Orders, Task};

impl<M: Maker, S: Speech> Worker<M, S> {
    /// Sends what the speech wrote, on a connection that is watched.
    pub(super) fn say(&mut self, orders: Orders, index: u32, words: Words) {
        self.send_out(orders, index, words);
        if self.output.waits(index) {
            self.watch_writable(orders, index);
        }
    }

    /// Sends what the speech wrote, behind what has not gone out yet.
    pub(super) fn send_out(&mut self, orders: Orders, index: u32, words: Words) {
        let Some(connection) = &self.table.peek(index).connection else { return };
        let (maker, shared) = (&mut self.maker, &self.shared);
        let send = |bytes: &[u8]| maker.send(connection, bytes);
        if let Err(error) = self.output.say(index, words, || shared.now_us(), send) {
            self.lose_dead(orders, index, Loss::from_error(&error));
        }
    }

    /// Sends what the speech wrote as the last words; true when the end has gone out with them, before any of the peer's.
    pub(super) fn say_last(&mut self, orders: Orders, index: u32) -> bool {
        if self.output.waits(index) {
            self.say(orders, index, Words::Own);
            return false;
        }
        let Some(connection) = &self.table.peek(index).connection else { return false };
        let size = self.output.next().len();
        let sent = match self.maker.send_last(connection, self.output.next()) {
            Ok(sent) => sent,
            Err(error) if would_block(&error) => 0,
            Err(error) => {
                self.lose_dead(orders, index, Loss::from_error(&error));
                return false;
            }
        };
        let shared = &self.shared;
        self.output.said(index, sent, Words::Own, || shared.now_us());
        if sent < size {
            self.watch_writable(orders, index);
        }
        sent == size
    }

    /// Sends more of what had no room; true when reading waited for that and may go on.
    pub(super) fn flush(&mut self, orders: Orders, index: u32) -> bool {
        let Some(connection) = &self.table.peek(index).connection else { return false };
        let (maker, shared) = (&mut self.maker, &self.shared);
        let send = |bytes: &[u8]| maker.send(connection, bytes);
        match self.output.flush(index, || shared.now_us(), send) {
            Ok(reads_on) => reads_on,
            Err(error) => {
                self.lose_dead(orders, index, Loss::from_error(&error));
                false
            }
        }
    }

    /// Fails connections whose peer has accepted nothing for as long as an echo may take. During [`Task::Close`], only
    /// those that are closing already: the others were not flushed, and what was proven stays so.
    pub(super) fn expire_unsent(&mut self, orders: Orders, now_us: u64) {
        let limit_us = self.shared.settings.probe_timeout.as_micros() as u64;
        for index in self.output.stalled(limit_us, now_us) {
            if !orders.has(Task::Close) || self.table.get(index).state.is_ending() {
                self.lose(orders, index, Loss::Named("stalled".into()));
            }
        }
    }

    /// What could not be sent at once waits for epoll's word.
    fn watch_writable(&mut self, orders: Orders, index: u32) {
        let slot = self.table.peek(index);
        let token = token(index, slot.number);
        let Some(connection) = &slot.connection else { return };
        if let Err(error) = self.maker.watch_writable(connection, token) {
            self.lose(orders, index, Loss::from_error(&error));
        }
    }
}
