//! What the clock brings: handshakes and messages that took too long, peers that do not close, pings, memory.

use std::time::{Duration, Instant};

use c10k_kernel::socket;
use c10k_wire::Key;
use mio::Registry;

use super::ServedConnections;
use crate::counters::EndedAs;
use crate::speech::{Heard, Reply, Speech};
use crate::table::{Flag, Table};
use crate::timers::{Rounds, What};

/// Connections pinged between two looks at events.
const PING_BATCH: u32 = 256;

impl<S: Speech> ServedConnections<S> {
    /// When the clock is next to be looked at for the sake of a connection; `None` = nothing waits for it.
    pub(crate) fn next_deadline(&mut self) -> Option<Instant> {
        let matters = matters(&self.table, &self.states, &self.speech);
        let next = self.deadlines.next(matters);
        let ping = self.pings.as_ref().map(Rounds::due_at).filter(|_| self.table.open_count() > 0);
        [next, ping, self.freed.due_at(), self.next_push()].into_iter().flatten().min()
    }

    /// The connection has until then.
    pub(super) fn set_deadline(&mut self, key: Key, what: What, at: Instant) {
        let matters = matters(&self.table, &self.states, &self.speech);
        self.deadlines.push(key, what, at, matters);
    }

    /// Does what is due: gives up slow handshakes, slow messages and peers that do not close, pings, gives memory
    /// back.
    pub(crate) fn look_at_deadlines(&mut self, registry: &Registry, now: Instant) {
        while let Some((key, what)) =
            self.deadlines.due(now, matters(&self.table, &self.states, &self.speech))
        {
            match what {
                What::Handshake => self.give_up(registry, key, S::give_up),
                What::Message => self.message_is_due(registry, key, now),
                What::Parting => {
                    let end = self.end_of(key, EndedAs::Drained);
                    self.abort(key, &end);
                }
            }
        }
        if let Some(slots) =
            self.pings.as_mut().and_then(|pings| pings.next(now, PING_BATCH, self.table.slots()))
        {
            for slot in slots {
                self.ping(registry, slot);
            }
        }
        self.pace(registry, now);
        self.freed.give_back(now);
    }

    /// Starts a deadline if input left a message unfinished. Each connection has at most one queued; if its message
    /// completed meanwhile (`finished`), the deadline is restarted for the current one. A message thus gets between one
    /// and two timeouts. While output waits nothing is read; when it is gone, a message in progress gets a full timeout.
    pub(super) fn time_message(&mut self, key: Key, finished: bool) {
        let is_within = self.speech.is_within_message(&self.states[key.slot() as usize]);
        if !is_within && self.deadlines.is_empty() {
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

    /// Marks the running deadline: when it fires, the message then in progress gets a full timeout.
    pub(super) fn renew_message(&mut self, key: Key) {
        if self.table.has(key, Flag::Timed) {
            self.table.set(key, Flag::Renewed, true);
        }
    }

    fn time_from(&mut self, key: Key, now: Instant, timeout: Duration) {
        self.table.set(key, Flag::Timed, true);
        self.table.set(key, Flag::Renewed, false);
        self.set_deadline(key, What::Message, now + timeout);
    }

    fn message_is_due(&mut self, registry: &Registry, key: Key, now: Instant) {
        self.table.set(key, Flag::Timed, false);
        let is_within = self.speech.is_within_message(&self.states[key.slot() as usize]);
        let Some(timeout) = self.speech.message_timeout().filter(|_| is_within) else { return };
        // Input behind output that waits, or behind a turn that is over, is not read yet: the message may be whole.
        let is_unread = self.table.has(key, Flag::Pending) || self.table.has(key, Flag::Leftover);
        if self.table.has(key, Flag::Renewed) || is_unread {
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
        // The end of one that is shut, or over but for its last output, is decided.
        let is_over = self.table.has(key, Flag::Shut) || self.table.has(key, Flag::Last);
        if self.table.socket(key).is_none() || is_over {
            return;
        }
        let state = &mut self.states[key.slot() as usize];
        let kept = self.speech.kept_bytes(state);
        let Some(heard) = give_up(&mut self.speech, state) else { return };
        self.freed.add(kept.saturating_sub(self.speech.kept_bytes(state)));
        self.say(registry, key, heard);
    }

    /// A peer that has said nothing since its last ping is taken for dead; others are pinged. The time for the answer
    /// counts from when the ping has left: behind output that the peer takes slowly it has not come to it yet.
    fn ping(&mut self, registry: &Registry, slot: u32) {
        let Some(key) = self.table.key_in(slot) else { return };
        // Output that waits is the stall's concern; what is shut has its end decided; unread input is a sign of life.
        if [Flag::Pending, Flag::Blocked, Flag::Shut, Flag::Leftover]
            .into_iter()
            .any(|flag| self.table.has(key, flag))
        {
            return;
        }
        if self.table.has(key, Flag::Pinged) {
            if !self.is_taking_output(key) {
                self.abort(key, &EndedAs::Named("ping-timeout".into()));
            }
            return;
        }
        if !self.speech.ping(&self.states[slot as usize]) {
            return;
        }
        self.say(registry, key, Heard { reply: Reply::Output, ..Heard::default() });
        let has_left = !self.table.waits(key);
        self.table.set(key, Flag::Pinged, has_left);
    }

    /// Whether a ping may still wait in the kernel behind what the peer takes bit by bit.
    fn is_taking_output(&self, key: Key) -> bool {
        let every = self.speech.ping_every().unwrap_or_default();
        let outgoing = self.table.socket(key).and_then(|socket| socket::outgoing(socket).ok());
        outgoing.is_some_and(|outgoing| outgoing.moves_within(every))
    }
}

/// Says of a deadline whether what it was set for goes on.
fn matters<S: Speech>(table: &Table, states: &[S::State], speech: &S) -> impl Fn(Key, What) -> bool {
    |key, what| match what {
        What::Handshake => table.socket(key).is_some() && speech.is_handshaking(&states[key.slot() as usize]),
        What::Message => table.has(key, Flag::Timed),
        What::Parting => table.has(key, Flag::Shut),
    }
}
