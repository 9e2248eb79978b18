//! What happens on a connection: reading, sending back, back-pressure; what the clock brings in [`deadlines`], its end
//! in [`ending`], what is said without an input in [`pushing`].

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Instant;

use c10k_kernel::heap::FreedMemory;
use c10k_kernel::socket;
use c10k_wire::{AfterRead, Key, Left, PendingOutputs, ReadTurn, TURN_BYTES};
use mio::event::Event;
use mio::unix::SourceFd;
use mio::{Interest, Registry};

use crate::counters::{Counters, EndedAs};
use crate::push::Pushes;
use crate::reserve::Reserve;
use crate::speech::{Heard, Reply, Speech};
use crate::table::{Flag, Table, token};
use crate::timers::{Deadlines, Rounds, What};

mod deadlines;
mod ending;
#[cfg(test)]
mod orders;
mod pushing;

use ending::Ending;

/// Size of a worker's one read buffer when it starts: enough for probes, and hardly a cost where a process
/// needs hundreds of tables.
const FIRST_BUFFER_BYTES: usize = 4 << 10;

/// Its size once a read has filled it, and so the most that is ever kept for one slow reader beside a message that the
/// read completed.
const BUFFER_BYTES: usize = 64 << 10;

/// What a connection is watched for while it is read: a short read may have stopped at urgent data (see
/// [`socket::recv`]).
const INPUT: Interest = Interest::READABLE.add(Interest::PRIORITY);

/// What may stand behind a read that does not fill the buffer (see [`socket::recv`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Behind {
    Nothing,
    /// The end of the input was told.
    End,
    /// Urgent data was told, or may have been while nobody listened: more input stands behind it.
    Input,
}

impl Behind {
    pub(crate) fn of(event: &Event) -> Self {
        match (event.is_priority(), event.is_read_closed()) {
            (true, _) => Self::Input,
            (false, true) => Self::End,
            (false, false) => Self::Nothing,
        }
    }
}

/// The connections of one worker.
///
/// While output of a connection waits ([`Flag::Pending`]) nothing is read from it by any other way: the flush reads
/// on when the output is gone. Output that comes meanwhile, without an input, is kept behind it.
#[derive(Debug)]
pub(crate) struct ServedConnections<S: Speech> {
    table: Table,
    speech: S,
    /// What the speech keeps of each connection, by slot.
    states: Vec<S::State>,
    /// What peers have not taken of their answers: of each at most what one read has made, its own bytes, and with a
    /// message protocol the message that it completed. What is said without an input stands behind that.
    pending: PendingOutputs<Instant>,
    /// `None` = nothing is pushed.
    pushes: Option<Box<Pushes>>,
    /// Connections of which output waits.
    waiting: usize,
    buffer: Box<[u8]>,
    /// Connections whose input was not read to its end: an edge does not come twice.
    leftovers: Vec<Key>,
    /// How those will be counted that are over but for their last output or the peer's end.
    ends: HashMap<u32, Ending>,
    deadlines: Deadlines,
    pings: Option<Rounds>,
    freed: FreedMemory,
    /// What one connection may bring at a time before the others have their turn.
    turn_bytes: usize,
    counters: Arc<Counters>,
    /// Connections that ended since the last [`ServedConnections::take_ended`].
    ended: u32,
    draining: bool,
}

impl<S: Speech> ServedConnections<S> {
    pub(crate) fn new(speech: S, limit: u32, counters: Arc<Counters>, pushes: Option<Pushes>) -> Self {
        Self {
            table: Table::with_limit(limit),
            states: Vec::with_capacity(if size_of::<S::State>() == 0 { 0 } else { limit as usize }),
            pending: PendingOutputs::default(),
            pushes: pushes.map(Box::new),
            waiting: 0,
            buffer: vec![0; FIRST_BUFFER_BYTES].into_boxed_slice(),
            leftovers: Vec::new(),
            ends: HashMap::new(),
            deadlines: Deadlines::since(Instant::now()),
            pings: speech.ping_every().map(|every| Rounds::new(every, Instant::now())),
            speech,
            freed: FreedMemory::default(),
            turn_bytes: TURN_BYTES,
            counters,
            ended: 0,
            draining: false,
        }
    }

    /// How many connections are open.
    pub(crate) fn open_count(&self) -> u32 {
        self.table.open_count()
    }

    /// Whether some input waits to be read without a further event.
    pub(crate) fn has_leftovers(&self) -> bool {
        !self.leftovers.is_empty()
    }

    /// Whether some output waits for its peer.
    pub(crate) fn has_waiting(&self) -> bool {
        self.waiting > 0
    }

    /// How many connections have ended since this was last asked.
    pub(crate) fn take_ended(&mut self) -> u32 {
        std::mem::take(&mut self.ended)
    }

    /// Takes in an accepted connection.
    ///
    /// # Errors
    /// As epoll_ctl(2): ENOSPC at `fs.epoll.max_user_watches`, ENOMEM, when the reserve did not help. The
    /// connection is closed then and counted as failed.
    pub(crate) fn admit(
        &mut self,
        registry: &Registry,
        socket: OwnedFd,
        reserve: &mut Reserve,
    ) -> io::Result<()> {
        self.counters.accepted();
        let key = self.table.insert(socket);
        let slot = key.slot() as usize;
        if slot >= self.states.len() {
            self.states.resize_with(slot + 1, S::State::default);
        }
        self.states[slot] = self.speech.begin();
        if let Some(timeout) = self.speech.handshake_timeout() {
            self.set_deadline(key, What::Handshake, Instant::now() + timeout);
        }
        let Some(socket) = self.table.socket(key) else { return Ok(()) };
        let socket = socket.as_raw_fd();
        let watched =
            reserve.or_with(registry, || registry.register(&mut SourceFd(&socket), token(key), INPUT));
        watched.inspect_err(|error| self.close(key, &EndedAs::Failed(copy_of(error))))
    }

    /// Serves a connection that epoll has named. Which event it was does not matter: the calls themselves say
    /// what is to be had, except of what stands `behind` a short read.
    pub(crate) fn serve(&mut self, registry: &Registry, key: Key, behind: Behind) {
        if self.table.waits(key) {
            self.flush(registry, key);
        } else if !self.table.has(key, Flag::Leftover) {
            self.read(registry, key, behind);
        }
    }

    /// Gives every connection with unread input its next turn. One with output that waits has none: its flush reads
    /// on.
    pub(crate) fn serve_leftovers(&mut self, registry: &Registry) {
        for key in std::mem::take(&mut self.leftovers) {
            if self.table.has(key, Flag::Leftover) {
                self.table.set(key, Flag::Leftover, false);
                // At the server's end the flush of a frame reads on too.
                let is_flushed = self.draining && self.table.has(key, Flag::Blocked);
                if !self.table.has(key, Flag::Pending) && !is_flushed {
                    self.read(registry, key, Behind::Input);
                }
            }
        }
    }

    /// Reads until nothing is there, the output does not get away, or the turn is over.
    ///
    /// By the rule of [`socket::recv`] no second read is made for an EAGAIN where nothing stands `behind` a short one.
    fn read(&mut self, registry: &Registry, key: Key, behind: Behind) {
        // At the server's end what is there is read to its end, since nothing is said before that.
        let mut turn = ReadTurn::new(self.turn_bytes, behind != Behind::Nothing || self.draining);
        loop {
            let Some(socket) = self.table.socket(key) else { return };
            let shut = self.table.has(key, Flag::Shut);
            let count = match socket::recv(socket, &mut self.buffer) {
                Ok(0) if shut => {
                    let end = self.end_of(key, EndedAs::Drained);
                    return self.close(key, &end);
                }
                Ok(0) => {
                    let end = self.speech.end_of_input(&self.states[key.slot() as usize]);
                    return self.close(key, &end);
                }
                Ok(count) => count,
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock if self.draining => return self.say_last(registry, key),
                    io::ErrorKind::WouldBlock => return,
                    io::ErrorKind::Interrupted => continue,
                    _ => {
                        let end = self.end_of(key, EndedAs::Failed(error));
                        return self.close(key, &end);
                    }
                },
            };
            let next = turn.after(count, self.buffer.len());
            self.counters.read(count);
            if shut && self.has_said_too_much(key, count) {
                let end = self.end_of(key, EndedAs::Drained);
                return self.abort(key, &end);
            }
            if !shut && !self.hear(registry, key, count, behind) {
                return;
            }
            if count == self.buffer.len() {
                self.grow_buffer();
            }
            match next {
                AfterRead::Read => {}
                AfterRead::Wait => return,
                AfterRead::Yield => {
                    self.table.set(key, Flag::Leftover, true);
                    self.note_busy(key);
                    return self.leftovers.push(key);
                }
            }
        }
    }

    /// Gives what was read to the speech; true when there may be more to read.
    fn hear(&mut self, registry: &Registry, key: Key, count: usize, behind: Behind) -> bool {
        let state = &mut self.states[key.slot() as usize];
        let kept = self.speech.kept_bytes(state);
        let mut heard = self.speech.hear(state, &mut self.buffer[..count]);
        if kept > 0 {
            self.freed.add(kept.saturating_sub(self.speech.kept_bytes(state)));
        }
        if self.pings.is_some() {
            self.table.set(key, Flag::Pinged, false);
        }
        self.time_message(key, heard.finished);
        let asks = std::mem::take(&mut heard.asks);
        let mut reads_on = self.answer(registry, key, heard, count, behind);
        for ask in asks {
            self.asked(registry, key, ask);
            reads_on &= self.table.socket(key).is_some() && !self.table.has(key, Flag::Pending);
        }
        reads_on
    }

    /// Sends what is said without an input.
    fn say(&mut self, registry: &Registry, key: Key, heard: Heard) {
        self.answer(registry, key, heard, 0, Behind::Nothing);
    }

    /// Sends an answer, or keeps it behind the output that waits, and ends what is over; true when there may be more to
    /// read.
    fn answer(&mut self, registry: &Registry, key: Key, heard: Heard, count: usize, behind: Behind) -> bool {
        if heard.opened {
            self.counters.opened();
        }
        let rest = match self.send_reply(key, heard.reply, count) {
            Ok(rest) => rest,
            Err(error) => {
                self.speech.forget_output();
                let end = heard.over.map_or(EndedAs::Failed(error), |over| over.end);
                self.close(key, &end);
                return false;
            }
        };
        self.speech.forget_output();
        if heard.over.is_some() {
            self.stop_pushing(key);
        }
        match (rest, heard.over) {
            // A frame that has begun goes out before.
            (None, Some(over)) if self.table.has(key, Flag::Blocked) => {
                self.table.set(key, Flag::Last, true);
                self.ends.insert(key.slot(), self.and_unread(over, count, behind).into());
                false
            }
            (None, None) => !self.table.has(key, Flag::Pending),
            (None, Some(over)) => {
                self.conclude(key, self.and_unread(over, count, behind));
                self.table.has(key, Flag::Shut)
            }
            (Some(rest), over) => {
                if let Some(over) = over {
                    self.table.set(key, Flag::Last, true);
                    self.ends.insert(key.slot(), self.and_unread(over, count, behind).into());
                }
                self.hold_back(registry, key, rest);
                false
            }
        }
    }

    /// Sends what the peer takes and gives back a copy of the rest; of a connection whose output waits that is all.
    fn send_reply(&self, key: Key, reply: Reply, count: usize) -> io::Result<Option<Box<[u8]>>> {
        let bytes = match reply {
            Reply::Nothing => return Ok(None),
            Reply::Input => &self.buffer[..count],
            Reply::Output => self.speech.output(),
        };
        self.send_bytes(key, bytes)
    }

    fn send_bytes(&self, key: Key, bytes: &[u8]) -> io::Result<Option<Box<[u8]>>> {
        let Some(socket) = self.table.socket(key) else { return Ok(None) };
        let sent = if self.table.waits(key) { 0 } else { send(socket, bytes)? };
        self.counters.wrote(sent);
        Ok((sent < bytes.len()).then(|| bytes[sent..].into()))
    }

    fn grow_buffer(&mut self) {
        if self.buffer.len() < BUFFER_BYTES {
            self.buffer = vec![0; BUFFER_BYTES].into_boxed_slice();
        }
    }

    /// Keeps what the peer has no room for, and stops reading from it until it has.
    fn hold_back(&mut self, registry: &Registry, key: Key, rest: Box<[u8]>) {
        if !self.table.has(key, Flag::Pending)
            && let Err(error) = self.watch(registry, key, Interest::WRITABLE)
        {
            let end = self.end_of(key, EndedAs::Failed(error));
            return self.close(key, &end);
        }
        self.table.set(key, Flag::RoomWatched, false);
        self.pending.keep(key.slot(), rest, Instant::now());
        self.set_waiting(key, Flag::Pending, true);
        self.note_busy(key);
    }

    /// Output of the connection waits, or no longer does.
    fn set_waiting(&mut self, key: Key, flag: Flag, on: bool) {
        let before = self.table.waits(key);
        self.table.set(key, flag, on);
        match (before, self.table.waits(key)) {
            (false, true) => self.waiting += 1,
            (true, false) => self.waiting -= 1,
            _ => return,
        }
        self.counters.set_pressured(self.waiting);
    }

    /// Sends what was held back, and when all is gone reads on: what came meanwhile brings no new edge.
    fn flush(&mut self, registry: &Registry, key: Key) {
        if self.table.has(key, Flag::Blocked) && !self.push_rest(key) {
            // While nothing else waits behind a frame its input is read.
            let reads_on = !self.table.has(key, Flag::Last) && !self.draining;
            if reads_on && !self.table.has(key, Flag::Pending) && !self.table.has(key, Flag::Leftover) {
                self.read(registry, key, Behind::Input);
            }
            return;
        }
        if self.table.has(key, Flag::Pending) && !self.flush_pending(registry, key) {
            return;
        }
        if self.table.has(key, Flag::Last)
            && let Some(over) = self.take_end(key.slot())
        {
            self.table.set(key, Flag::Last, false);
            self.conclude(key, over);
            if !self.table.has(key, Flag::Shut) {
                return;
            }
        }
        self.push_on(registry, key);
        // A connection in the list of those with unread input has its turn by that.
        if !self.table.has(key, Flag::Leftover) && !self.table.has(key, Flag::Pending) {
            self.read(registry, key, Behind::Input);
        }
    }

    /// Sends the answers that were held back; true when they are out and the connection is open.
    fn flush_pending(&mut self, registry: &Registry, key: Key) -> bool {
        loop {
            let (Some(socket), Some(pending)) = (self.table.socket(key), self.pending.of_mut(key.slot()))
            else {
                return false;
            };
            let sent = match send(socket, pending.next()) {
                Ok(sent) => sent,
                Err(error) => {
                    let end = self.end_of(key, EndedAs::Failed(error));
                    self.close(key, &end);
                    return false;
                }
            };
            self.counters.wrote(sent);
            match pending.advance(sent, Instant::now()) {
                Left::Part => return false,
                Left::More => {}
                Left::Nothing => break,
            }
        }
        self.freed.add(self.pending.forget(key.slot()));
        self.set_waiting(key, Flag::Pending, false);
        self.renew_message(key);
        let watched = self.watch(registry, key, INPUT);
        if let Err(error) = watched {
            let end = self.end_of(key, EndedAs::Failed(error));
            self.close(key, &end);
            return false;
        }
        true
    }

    fn watch(&self, registry: &Registry, key: Key, interest: Interest) -> io::Result<()> {
        let Some(socket) = self.table.socket(key) else { return Ok(()) };
        registry.reregister(&mut SourceFd(&socket.as_raw_fd()), token(key), interest)
    }
}

/// Sends what the kernel takes; 0 when it has no room. A short count means that the room is used up.
fn send(socket: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    loop {
        match socket::send(socket.as_fd(), bytes) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(0),
            result => return result,
        }
    }
}

pub(crate) fn copy_of(error: &io::Error) -> io::Error {
    error.raw_os_error().map_or_else(|| error.kind().into(), io::Error::from_raw_os_error)
}
