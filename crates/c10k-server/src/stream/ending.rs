//! How connections end: closed, given time to go, drained, or cut.

use std::collections::HashMap;
use std::net::Shutdown;
use std::time::{Duration, Instant};

use c10k_kernel::socket;
use c10k_wire::Key;
use mio::Registry;
use socket2::SockRef;

use super::{Behind, ServedConnections};
use crate::counters::EndedAs;
use crate::speech::{Heard, Over, Reply, Speech};
use crate::table::Flag;
use crate::timers::What;

/// How long a peer that was in the middle of saying more may take to read the last word and close.
const LINGER: Duration = Duration::from_secs(2);

/// What it may say meanwhile, all of which is thrown away.
const LINGER_BYTES: usize = 64 << 20;

/// A connection that is over.
#[derive(Debug)]
pub(super) struct Ending {
    over: Over,
    /// What its peer may still say.
    bytes_left: usize,
}

#[cfg(test)]
impl Ending {
    pub(super) fn end(&self) -> &EndedAs {
        &self.over.end
    }
}

impl From<Over> for Ending {
    fn from(over: Over) -> Self {
        Self { over, bytes_left: LINGER_BYTES }
    }
}

impl<S: Speech> ServedConnections<S> {
    /// Closes those whose peers have taken nothing of their output for `limit`.
    pub(crate) fn close_stalled(&mut self, now: Instant, limit: Duration) {
        for slot in self.stalled(now, limit) {
            if let Some(key) = self.table.key_in(slot) {
                let end = self.end_of(key, EndedAs::Stalled);
                self.abort(key, &end);
            }
        }
    }

    /// Serves what has arrived and closes all that are then idle. Those in the middle of something are closed
    /// once they have their output and have seen the end of it (see [`ServedConnections::say_last`]).
    pub(crate) fn drain(&mut self, registry: &Registry) {
        self.draining = true;
        self.end_pushes();
        for key in self.keys() {
            if self.table.waits(key) || self.table.has(key, Flag::Leftover) {
                self.table.set(key, Flag::Busy, true);
            } else {
                self.read(registry, key, Behind::Input);
            }
        }
    }

    /// Closes all that are left, whatever they are owed.
    pub(crate) fn abort_all(&mut self) {
        for key in self.keys() {
            if self.table.has(key, Flag::Shut) {
                let end = self.end_of(key, EndedAs::Drained);
                self.close(key, &end);
                continue;
            }
            let awaits_goodbye = self.speech.awaits_goodbye(&self.states[key.slot() as usize]);
            let end = self.end_of(key, if awaits_goodbye { EndedAs::Drained } else { EndedAs::Undelivered });
            self.abort(key, &end);
        }
    }

    /// The connection is over and has its last output: it is closed, now or when the peer has closed too.
    pub(super) fn conclude(&mut self, key: Key, over: Over) {
        if !over.linger {
            // At the server's end a peer that closes in good order has done what was asked for.
            let end = match over.end {
                EndedAs::Closed if self.draining => EndedAs::Drained,
                end => end,
            };
            return self.close(key, &end);
        }
        let Some(socket) = self.table.socket(key) else { return };
        // ENOTCONN: the peer has reset it, which the next read tells.
        let _ = SockRef::from(&socket).shutdown(Shutdown::Write);
        self.table.set(key, Flag::Shut, true);
        self.ends.insert(key.slot(), over.into());
        self.set_deadline(key, What::Parting, Instant::now() + LINGER);
    }

    /// How the connection is to be counted: as was decided before, else as `otherwise`.
    pub(super) fn end_of(&mut self, key: Key, otherwise: EndedAs) -> EndedAs {
        if self.ends.is_empty() || self.table.socket(key).is_none() {
            return otherwise;
        }
        self.take_end(key.slot()).map_or(otherwise, |over| over.end)
    }

    /// After a read that filled the buffer, or that may have stopped at urgent data, more may be unread; closing then
    /// sends RST and can destroy our Close frame, so linger. `count` is what the read before the end brought, and
    /// `behind` what may stand behind a short one.
    pub(super) fn and_unread(&self, over: Over, count: usize, behind: Behind) -> Over {
        Over { linger: over.linger || count == self.buffer.len() || behind == Behind::Input, ..over }
    }

    /// Counts what a peer says on a connection that is over; whether that is more than it may.
    pub(super) fn has_said_too_much(&mut self, key: Key, count: usize) -> bool {
        let Some(ending) = self.ends.get_mut(&key.slot()) else { return false };
        ending.bytes_left = ending.bytes_left.saturating_sub(count);
        ending.bytes_left == 0
    }

    /// Takes out how a connection is to be counted; after a crowd of them the memory is given back.
    pub(super) fn take_end(&mut self, slot: u32) -> Option<Over> {
        let ending = self.ends.remove(&slot);
        if self.ends.is_empty() && self.ends.capacity() > 64 {
            self.ends = HashMap::new();
        }
        ending.map(|ending| ending.over)
    }

    /// At the server's end, with all input served: an idle connection is closed. On a busy one, and on one whose peer
    /// has not taken all of its output, more may be on its way, and closing then makes the kernel answer it with RST
    /// and throw away what the peer has not taken yet (`tcp_rcv_state_process`, net/ipv4/tcp_input.c). So it gets a
    /// FIN, what still comes is discarded, and it is closed when the peer has said its last too. Where the protocol
    /// has a goodbye, that is said first.
    pub(super) fn say_last(&mut self, registry: &Registry, key: Key) {
        let state = &mut self.states[key.slot() as usize];
        if self.table.has(key, Flag::Shut) || self.speech.awaits_goodbye(state) {
            return;
        }
        if self.speech.say_goodbye(state) {
            self.say(registry, key, Heard { reply: Reply::Output, ..Heard::default() });
            return;
        }
        let Some(socket) = self.table.socket(key) else { return };
        let has_taken_all = || socket::unacknowledged_bytes(socket).is_ok_and(|bytes| bytes == 0);
        if !self.table.has(key, Flag::Busy) && has_taken_all() {
            return self.close(key, &EndedAs::Drained);
        }
        // ENOTCONN: the peer has reset it, which the next event tells.
        let _ = SockRef::from(&socket).shutdown(Shutdown::Write);
        self.table.set(key, Flag::Shut, true);
    }

    pub(super) fn note_busy(&mut self, key: Key) {
        if self.draining {
            self.table.set(key, Flag::Busy, true);
        }
    }

    /// Closes with RST: the peer does not read, so a FIN would wait behind its output as an orphan.
    pub(super) fn abort(&mut self, key: Key, end: &EndedAs) {
        if let Some(socket) = self.table.socket(key) {
            // Without it the kernel gives the orphan up later, by tcp_orphan_retries.
            let _ = socket::set_reset_on_close(socket);
        }
        self.close(key, end);
    }

    /// Closing takes the connection out of epoll: no other table has a copy of its descriptor.
    pub(super) fn close(&mut self, key: Key, end: &EndedAs) {
        let (pending, waits) = (self.table.has(key, Flag::Pending), self.table.waits(key));
        let is_pushed = self.table.has(key, Flag::Pushed);
        let Some(socket) = self.table.remove(key) else { return };
        drop(socket);
        let slot = key.slot();
        self.freed.add(self.speech.kept_bytes(&self.states[slot as usize]));
        self.states[slot as usize] = S::State::default();
        if !self.ends.is_empty() {
            self.take_end(slot);
        }
        if pending {
            self.freed.add(self.pending.forget(slot));
        }
        if waits {
            self.waiting -= 1;
            self.counters.set_pressured(self.waiting);
        }
        if is_pushed || waits {
            self.forget_pushes(slot, is_pushed);
        }
        self.counters.ended(end);
        self.ended += 1;
    }

    fn keys(&self) -> Vec<Key> {
        (0..self.table.slots()).filter_map(|slot| self.table.key_in(slot)).collect()
    }
}
