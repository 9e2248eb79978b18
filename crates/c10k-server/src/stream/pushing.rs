//! What is said without an input: streams and messages of a fan-out, in whole frames.
//!
//! Order on a connection: the frame that it is in the middle of ([`Flag::Blocked`]), then what answers its inputs
//! ([`Flag::Pending`]), then new frames. While only a frame waits its input is read; the first answer that has to wait
//! behind it stops that, as any output that waits does.

use std::io;
use std::time::{Duration, Instant};

use c10k_kernel::socket;
use c10k_wire::Key;
use c10k_wire::push::{Ask, PushHeader};
use mio::{Interest, Registry};

use super::{INPUT, ServedConnections, send};
use crate::counters::EndedAs;
use crate::push::{Frame, Rest, Work};
use crate::speech::Speech;
use crate::table::Flag;

/// Viewers that are served between two looks at events.
const PACE_BATCH: u32 = 512;
/// Slots that are gone over with a message between two looks at events.
const WALK_BATCH: u32 = 256;

impl<S: Speech> ServedConnections<S> {
    /// Whether something is timed more finely than epoll_wait(2) can wait.
    pub(crate) fn is_pacing(&self) -> bool {
        matches!(self.pushes.as_deref().map(|pushes| &pushes.work), Some(Work::Stream(_)))
    }

    /// Whether a message is being carried to those who follow.
    pub(crate) fn has_messages(&self) -> bool {
        matches!(self.pushes.as_deref().map(|pushes| &pushes.work), Some(Work::Fanout(f)) if f.is_walking())
    }

    /// The bell has rung: there may be a new message. At the server's end connections have heard the last word.
    pub(crate) fn hear_messages(&mut self) {
        if self.draining {
            return;
        }
        if let Some(Work::Fanout(follows)) = self.pushes.as_deref_mut().map(|pushes| &mut pushes.work) {
            follows.catch_up();
        }
    }

    /// When a viewer is next due.
    pub(super) fn next_push(&mut self) -> Option<Instant> {
        match self.pushes.as_deref_mut().map(|pushes| &mut pushes.work) {
            Some(Work::Stream(pacer)) => pacer.next_due(),
            _ => None,
        }
    }

    /// Serves viewers that are due: some of them.
    pub(super) fn pace(&mut self, registry: &Registry, now: Instant) {
        for _ in 0..PACE_BATCH {
            let Some(Work::Stream(pacer)) = self.pushes.as_deref_mut().map(|pushes| &mut pushes.work) else {
                return;
            };
            let Some(key) = pacer.due(now) else { return };
            self.push_on(registry, key);
        }
    }

    /// Carries a message to some of those who follow.
    pub(crate) fn carry(&mut self, registry: &Registry) {
        let slots = self.table.slots();
        let Some(Work::Fanout(follows)) = self.pushes.as_deref_mut().map(|pushes| &mut pushes.work) else {
            return;
        };
        let Some((message, range)) = follows.next(WALK_BATCH, slots) else { return };
        for slot in range {
            let Some(key) = self.table.key_in(slot).filter(|key| self.table.has(*key, Flag::Pushed)) else {
                continue;
            };
            if !self.table.waits(key) {
                self.push(registry, key, &message.frame);
            } else if let Some(Work::Fanout(follows)) =
                self.pushes.as_deref_mut().map(|pushes| &mut pushes.work)
            {
                follows.is_late_for(slot, message.sequence);
            }
        }
    }

    /// Does what a client has asked for.
    pub(super) fn asked(&mut self, registry: &Registry, key: Key, ask: Ask) {
        let is_over = self.table.has(key, Flag::Shut) || self.table.has(key, Flag::Last);
        if self.table.socket(key).is_none() || self.draining || is_over {
            return;
        }
        let Some(pushes) = self.pushes.as_deref_mut() else { return };
        match (ask, &mut pushes.work) {
            // Who asks again while it lasts gets no second one.
            (Ask::Begin, _) if self.table.has(key, Flag::Pushed) => {}
            (Ask::Begin, Work::Stream(pacer)) => {
                self.table.set(key, Flag::Pushed, pacer.begin(key, Instant::now()));
                self.push_on(registry, key);
            }
            (Ask::Begin, Work::Fanout(follows)) => {
                follows.begin();
                self.table.set(key, Flag::Pushed, true);
            }
            (Ask::Leave, work) => {
                let sequence = match work {
                    Work::Stream(pacer) => pacer.frames_of(key.slot()),
                    Work::Fanout(follows) => follows.newest_at(key.slot()),
                };
                self.stop_pushing(key);
                self.say_left(registry, key, sequence);
            }
        }
    }

    /// Answers `leave`: an empty frame that is the last, behind what waits.
    fn say_left(&mut self, registry: &Registry, key: Key, sequence: u64) {
        let Some(pushes) = self.pushes.as_deref_mut() else { return };
        let server_us = c10k_kernel::clock::monotonic_us();
        let header = PushHeader { kind: pushes.kind(), is_last: true, sequence, server_us, payload_bytes: 0 };
        let head = header.encode();
        pushes.scratch.clear();
        self.speech.begin_frame(head.len(), &mut pushes.scratch);
        pushes.scratch.extend_from_slice(&head);
        let bytes = std::mem::take(&mut pushes.scratch);
        match self.send_bytes(key, &bytes) {
            Ok(None) => {}
            Ok(Some(rest)) => self.hold_back(registry, key, rest),
            Err(error) => self.close(key, &EndedAs::Failed(error)),
        }
        if let Some(pushes) = self.pushes.as_deref_mut() {
            pushes.scratch = bytes;
        }
    }

    /// Nothing new is pushed to the connection.
    pub(super) fn stop_pushing(&mut self, key: Key) {
        if self.table.has(key, Flag::Pushed) {
            self.table.set(key, Flag::Pushed, false);
            if let Some(pushes) = self.pushes.as_deref_mut() {
                pushes.leave(key.slot());
            }
        }
    }

    /// The server ends: nothing new is pushed to anybody; frames that have begun go out.
    pub(super) fn end_pushes(&mut self) {
        match self.pushes.as_deref_mut().map(|pushes| &mut pushes.work) {
            Some(Work::Stream(pacer)) => pacer.end(),
            Some(Work::Fanout(follows)) => follows.end(),
            None => {}
        }
    }

    /// Gives a connection with room what it is due.
    pub(super) fn push_on(&mut self, registry: &Registry, key: Key) {
        while self.table.has(key, Flag::Pushed) && !self.table.waits(key) {
            let Some(frame) = self.next_frame(key) else { return };
            let is_open = self.push(registry, key, &frame);
            if is_open && frame.is_last {
                self.table.set(key, Flag::Pushed, false);
            }
        }
    }

    fn next_frame(&mut self, key: Key) -> Option<Frame> {
        let pushes = self.pushes.as_deref_mut()?;
        let speech = &self.speech;
        match &mut pushes.work {
            Work::Stream(pacer) => pacer.next(
                key.slot(),
                Instant::now(),
                |bytes, out| speech.begin_frame(bytes, out),
                &mut pushes.scratch,
            ),
            Work::Fanout(follows) => follows.missed(key.slot()),
        }
    }

    /// Sends a frame on a connection on which nothing waits; what it has no room for waits. False when it is closed.
    fn push(&mut self, registry: &Registry, key: Key, frame: &Frame) -> bool {
        let Some(socket) = self.table.socket(key) else { return false };
        let (head, body) = frame.behind(0);
        let sent = match send_both(socket, head, body) {
            Ok(sent) => sent,
            Err(error) => {
                self.close(key, &EndedAs::Failed(error));
                return false;
            }
        };
        self.counters.wrote(sent);
        if sent == frame.bytes() {
            return true;
        }
        if let Some(pushes) = self.pushes.as_deref_mut() {
            pushes.rests.insert(key.slot(), Rest::new(frame.clone(), sent, Instant::now()));
        }
        self.set_waiting(key, Flag::Blocked, true);
        self.note_busy(key);
        if let Err(error) = self.watch_room(registry, key) {
            self.close(key, &EndedAs::Failed(error));
            return false;
        }
        true
    }

    /// Watches for room as well as for input, from now on.
    fn watch_room(&mut self, registry: &Registry, key: Key) -> io::Result<()> {
        if !self.table.has(key, Flag::RoomWatched) {
            self.watch(registry, key, INPUT.add(Interest::WRITABLE))?;
            self.table.set(key, Flag::RoomWatched, true);
        }
        Ok(())
    }

    /// Sends more of the frame that waits; true when it is out and the connection is open.
    pub(super) fn push_rest(&mut self, key: Key) -> bool {
        let (Some(socket), Some(pushes)) = (self.table.socket(key), self.pushes.as_deref_mut()) else {
            return false;
        };
        let Some(rest) = pushes.rests.get_mut(&key.slot()) else { return false };
        let (head, body) = rest.frame.behind(rest.sent);
        let sent = match send_both(socket, head, body) {
            Ok(sent) => sent,
            Err(error) => {
                let end = self.end_of(key, EndedAs::Failed(error));
                self.close(key, &end);
                return false;
            }
        };
        self.counters.wrote(sent);
        let now = Instant::now();
        if !rest.advance(sent, now) {
            return false;
        }
        pushes.forget_rest(key.slot());
        self.set_waiting(key, Flag::Blocked, false);
        // Its time to be taken begins now.
        if let Some(pending) = self.pending.of_mut(key.slot()) {
            pending.moves_from(now);
        }
        true
    }

    /// The slots of those whose peers have taken nothing of what waits for `limit`.
    pub(super) fn stalled(&self, now: Instant, limit: Duration) -> Vec<u32> {
        let Some(pushes) = self.pushes.as_deref() else { return self.stalled_answers(now, limit) };
        // What waits behind a frame has not had its turn.
        let pending = self.stalled_answers(now, limit).into_iter();
        let mut slots: Vec<u32> = pending.filter(|slot| !pushes.rests.contains_key(slot)).collect();
        slots.extend(pushes.stalled(now, limit));
        slots
    }

    /// The same of answers alone.
    fn stalled_answers(&self, now: Instant, limit: Duration) -> Vec<u32> {
        self.pending.stalled(|moved_at| now.saturating_duration_since(moved_at) >= limit)
    }

    /// The connection is gone.
    pub(super) fn forget_pushes(&mut self, slot: u32, follows: bool) {
        if let Some(pushes) = self.pushes.as_deref_mut() {
            pushes.forget_rest(slot);
            if follows {
                pushes.leave(slot);
            }
        }
    }
}

/// Sends what the kernel takes of a head and a body, as one.
fn send_both(socket: std::os::fd::BorrowedFd<'_>, head: &[u8], body: &[u8]) -> io::Result<usize> {
    if head.is_empty() {
        return send(socket, body);
    }
    loop {
        match socket::send_two(socket, head, body) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(0),
            result => return result,
        }
    }
}
