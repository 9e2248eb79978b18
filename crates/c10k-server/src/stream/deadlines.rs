//! What the clock brings: handshakes and messages that took too long, peers that do not close, pings, memory.

use std::time::{Duration, Instant};

use c10k_kernel::socket;
use mio::Registry;

use super::{Streams, is_handshaking};
use crate::counters::End;
use crate::speech::{Heard, Reply, Speech};
use crate::table::{Flag, Key};
use crate::timers::Rounds;

/// Connections pinged between two looks at events.
const PING_BATCH: u32 = 256;

impl<S: Speech> Streams<S> {
    /// When the clock is next to be looked at for the sake of a connection; `None` = nothing waits for it.
    pub(crate) fn next_deadline(&mut self) -> Option<Instant> {
        let table = &self.table;
        let states = &self.states;
        let speech = &self.speech;
        let handshaking = self.handshakes.next(|key| is_handshaking(table, states, speech, key));
        let message = self.messages.next(|key| table.has(key, Flag::Timed));
        let lingering = self.lingering.next(|key| table.has(key, Flag::Shut));
        let ping = self.pings.as_ref().map(Rounds::due_at).filter(|_| self.table.open() > 0);
        [handshaking, message, lingering, ping, self.freed.due_at()].into_iter().flatten().min()
    }

    /// Does what is due: gives up slow handshakes, slow messages and peers that do not close, pings, gives memory
    /// back.
    pub(crate) fn look_at_deadlines(&mut self, registry: &Registry, now: Instant) {
        while let Some(key) = self.handshakes.due(now) {
            self.give_up(registry, key, S::give_up);
        }
        while let Some(key) = self.messages.due(now) {
            self.message_is_due(registry, key, now);
        }
        while let Some(key) = self.lingering.due(now) {
            if self.table.has(key, Flag::Shut) {
                let end = self.end_of(key, End::Drained);
                self.abort(key, &end);
            }
        }
        if let Some(slots) =
            self.pings.as_mut().and_then(|pings| pings.next(now, PING_BATCH, self.table.slots()))
        {
            for slot in slots {
                self.ping(registry, slot);
            }
        }
        self.freed.give_back(now);
    }

    /// Notes after an input when a message that has begun is to be whole. `finished` says that one that was under way
    /// before is.
    ///
    /// A connection has one entry at a time in the queue, however many messages it sends in pieces: when that comes up
    /// and its message has long been whole, the one under way then is given the whole time again. So a message has that
    /// time at least, and twice that at most where its peer takes what it is sent: while output waits nothing is read,
    /// and when that is gone a message that had begun before has its time anew.
    pub(super) fn time_message(&mut self, key: Key, finished: bool) {
        let is_within = self.speech.is_within_message(&self.states[key.slot() as usize]);
        if !is_within && self.messages.is_empty() {
            return;
        }
        if finished {
            self.renew_message(key);
        }
        if !self.table.has(key, Flag::Timed)
            && let Some(timeout) = self.speech.message_timeout().filter(|_| is_within)
        {
            self.time_from(key, Instant::now(), timeout);
        }
    }

    /// A deadline that is under way gives the message that is under way when it comes up the whole time again.
    pub(super) fn renew_message(&mut self, key: Key) {
        if self.table.has(key, Flag::Timed) {
            self.table.set(key, Flag::Renewed, true);
        }
    }

    fn time_from(&mut self, key: Key, now: Instant, timeout: Duration) {
        self.table.set(key, Flag::Timed, true);
        self.table.set(key, Flag::Renewed, false);
        let table = &self.table;
        self.messages.push(key, now + timeout, table.open(), |key| table.has(key, Flag::Timed));
    }

    fn message_is_due(&mut self, registry: &Registry, key: Key, now: Instant) {
        if !self.table.has(key, Flag::Timed) {
            return;
        }
        self.table.set(key, Flag::Timed, false);
        let is_within = self.speech.is_within_message(&self.states[key.slot() as usize]);
        let Some(timeout) = self.speech.message_timeout().filter(|_| is_within) else { return };
        // What a peer sends behind output that it does not take is not read: that is the stall's affair.
        if self.table.has(key, Flag::Renewed) || self.table.has(key, Flag::Pending) {
            return self.time_from(key, now, timeout);
        }
        self.give_up(registry, key, S::give_up_message);
    }

    /// Ends what took too long, if it is still under way.
    fn give_up(
        &mut self,
        registry: &Registry,
        key: Key,
        give_up: fn(&mut S, &mut S::State) -> Option<Heard>,
    ) {
        if self.table.socket(key).is_none() || self.table.has(key, Flag::Shut) {
            return;
        }
        let state = &mut self.states[key.slot() as usize];
        let kept = self.speech.kept_bytes(state);
        let Some(heard) = give_up(&mut self.speech, state) else { return };
        self.freed.add(kept.saturating_sub(self.speech.kept_bytes(state)));
        self.answer(registry, key, heard, 0);
    }

    /// A peer that has said nothing since its last ping is taken for dead; others are pinged. The time for the answer
    /// counts from when the ping has left: behind output that the peer takes slowly it has not come to it yet.
    fn ping(&mut self, registry: &Registry, slot: u32) {
        let Some(key) = self.table.key_in(slot) else { return };
        // A peer that takes nothing is the stall's affair, and how one that is to close is counted is decided.
        if self.table.has(key, Flag::Pending) || self.table.has(key, Flag::Shut) {
            return;
        }
        if self.table.has(key, Flag::Pinged) {
            if !self.is_taking_output(key) {
                self.abort(key, &End::Named("ping-timeout".into()));
            }
            return;
        }
        if !self.speech.ping(&self.states[slot as usize]) {
            return;
        }
        self.answer(registry, key, Heard { reply: Reply::Output, ..Heard::default() }, 0);
        let has_left = !self.table.has(key, Flag::Pending);
        self.table.set(key, Flag::Pinged, has_left);
    }

    /// Whether a ping may still wait in the kernel behind what the peer takes bit by bit.
    fn is_taking_output(&self, key: Key) -> bool {
        let every = self.speech.ping_every().unwrap_or_default();
        let outgoing = self.table.socket(key).and_then(|socket| socket::outgoing(socket).ok());
        outgoing.is_some_and(|outgoing| outgoing.moves_within(every))
    }
}
