//! Sending: what the kernel has no room for is kept until it has, within bounds.

use std::time::Duration;

use super::{Worker, would_block};
use crate::maker::Maker;
use crate::shared::Stage;
use crate::speech::Speech;
use crate::table::token;
use crate::tally::Loss;

/// Between two looks for what does not move, µs.
const STALL_CHECK_US: u64 = 100_000;

/// What is to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Words {
    /// What the connection says of its own accord, such as its probe.
    Own,
    /// What the server's words have brought about, such as Pongs.
    Answer,
}

/// What a connection has still to send; never empty.
#[derive(Debug)]
pub(super) struct Unsent {
    bytes: Vec<u8>,
    /// How many of them there are up to the end of its own words; what stands behind those are answers.
    own: usize,
    /// When the kernel last took any, µs.
    moved_us: u64,
}

impl<M: Maker, S: Speech> Worker<M, S> {
    /// Sends what the speech wrote, on a connection that is watched.
    pub(super) fn say(&mut self, stage: Stage, index: u32, words: Words) {
        self.send_out(stage, index, words);
        if !self.unsent.is_empty() {
            self.watch_if_unsent(stage, index);
        }
    }

    /// Sends what the speech wrote, behind what has not gone out yet.
    pub(super) fn send_out(&mut self, stage: Stage, index: u32, words: Words) {
        if let Some(waiting) = self.unsent.get_mut(&index) {
            waiting.bytes.append(&mut self.out);
            if words == Words::Own {
                waiting.own = waiting.bytes.len();
            }
            return;
        }
        let slot = self.table.get(index);
        let Some(connection) = &slot.connection else { return };
        match self.maker.send(connection, &self.out) {
            Ok(sent) => self.keep_unsent(index, sent, words),
            Err(error) if would_block(&error) => self.keep_unsent(index, 0, words),
            Err(error) => self.lose_dead(stage, index, Loss::from_error(&error)),
        }
    }

    pub(super) fn keep_unsent(&mut self, index: u32, sent: usize, words: Words) {
        if sent < self.out.len() {
            let bytes = self.out.split_off(sent);
            let own = if words == Words::Own { bytes.len() } else { 0 };
            self.unsent.insert(index, Unsent { bytes, own, moved_us: self.shared.now_us() });
        }
        self.out.clear();
    }

    /// Whether all that the connection has to say of its own accord has gone out.
    pub(super) fn has_said_its_own(&self, index: u32) -> bool {
        self.unsent.get(&index).is_none_or(|unsent| unsent.own == 0)
    }

    /// Whether more may be read: not while answers wait, since more input would bring about more of them. A server may
    /// send an echo back before it has all of the probe, though, and wait with the rest until that is read.
    pub(super) fn may_read(&self, index: u32) -> bool {
        self.unsent.is_empty()
            || self.unsent.get(&index).is_none_or(|unsent| unsent.bytes.len() == unsent.own)
    }

    /// Sends more of what had no room; true when reading waited for that and may go on.
    pub(super) fn flush(&mut self, stage: Stage, index: u32) -> bool {
        let could_read = self.may_read(index);
        let slot = self.table.get(index);
        let (Some(connection), Some(unsent)) = (&slot.connection, self.unsent.get_mut(&index)) else {
            return false;
        };
        match self.maker.send(connection, &unsent.bytes) {
            Ok(sent) if sent >= unsent.bytes.len() => drop(self.unsent.remove(&index)),
            Ok(sent) => {
                unsent.bytes.drain(..sent);
                unsent.own = unsent.own.saturating_sub(sent);
                unsent.moved_us = self.shared.now_us();
            }
            Err(error) if would_block(&error) => {}
            Err(error) => {
                self.lose_dead(stage, index, Loss::from_error(&error));
                return false;
            }
        }
        !could_read && self.may_read(index)
    }

    /// Fails connections whose peer has accepted nothing for `limit`. During [`Stage::Close`], only those that are closing
    /// already: the others were not flushed, and what was proven stays so.
    pub(super) fn expire_unsent(&mut self, stage: Stage, limit: Duration, now_us: u64) {
        if self.unsent.is_empty() || now_us < self.stalls_checked_us + STALL_CHECK_US {
            return;
        }
        self.stalls_checked_us = now_us;
        let is_stalled =
            |unsent: &Unsent| u128::from(now_us.saturating_sub(unsent.moved_us)) >= limit.as_micros();
        let stalled: Vec<u32> =
            self.unsent.iter().filter(|(_, unsent)| is_stalled(unsent)).map(|(&index, _)| index).collect();
        for index in stalled {
            if stage != Stage::Close || self.table.get(index).state.is_ending() {
                self.lose(stage, index, Loss::Named("stalled".into()));
            }
        }
    }

    /// The server is offered from now on what it was not offered for a while.
    pub(super) fn give_unsent_its_time(&mut self, index: u32, now_us: u64) {
        if let Some(unsent) = self.unsent.get_mut(&index) {
            unsent.moved_us = now_us;
        }
    }

    /// What could not be sent at once waits for epoll's word.
    fn watch_if_unsent(&mut self, stage: Stage, index: u32) {
        if !self.unsent.contains_key(&index) {
            return;
        }
        let slot = self.table.get(index);
        let token = token(index, slot.number);
        let Some(connection) = &slot.connection else { return };
        if let Err(error) = self.maker.watch_writable(connection, token) {
            self.lose(stage, index, Loss::from_error(&error));
        }
    }
}
