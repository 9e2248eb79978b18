//! What happens on a connection: reading, sending back, back-pressure, the end.

use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use c10k_kernel::socket;
use c10k_record::ServerMode;
use mio::unix::SourceFd;
use mio::{Interest, Registry};
use socket2::SockRef;

use crate::counters::{Counters, End};
use crate::pending::PendingOutputs;
use crate::table::{Flag, Key, Table};

/// Size of a worker's one read buffer when it starts: enough for probes, and hardly a cost where a process
/// needs hundreds of tables.
const FIRST_BUFFER_BYTES: usize = 4 << 10;

/// Its size once a read has filled it, and so the most that is ever kept for one slow reader.
const BUFFER_BYTES: usize = 64 << 10;

/// What one connection may bring at a time before the others have their turn.
const TURN_BYTES: usize = 256 << 10;

/// The connections of one worker.
#[derive(Debug)]
pub(crate) struct Streams {
    table: Table,
    pending: PendingOutputs,
    buffer: Box<[u8]>,
    /// Connections whose input was not read to its end: an edge does not come twice.
    leftovers: Vec<Key>,
    mode: ServerMode,
    counters: Arc<Counters>,
    /// Connections that ended since the last [`Streams::take_ended`].
    ended: u32,
    draining: bool,
}

impl Streams {
    pub(crate) fn new(mode: ServerMode, limit: u32, counters: Arc<Counters>) -> Self {
        Self {
            table: Table::with_limit(limit),
            pending: PendingOutputs::default(),
            buffer: vec![0; FIRST_BUFFER_BYTES].into_boxed_slice(),
            leftovers: Vec::new(),
            mode,
            counters,
            ended: 0,
            draining: false,
        }
    }

    /// How many connections are open.
    pub(crate) fn open(&self) -> u32 {
        self.table.open()
    }

    /// Whether some input waits to be read without a further event.
    pub(crate) fn has_leftovers(&self) -> bool {
        !self.leftovers.is_empty()
    }

    /// Whether some output waits for its peer.
    pub(crate) fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// How many connections have ended since this was last asked.
    pub(crate) fn take_ended(&mut self) -> u32 {
        std::mem::take(&mut self.ended)
    }

    /// Takes in an accepted connection.
    ///
    /// # Errors
    /// As epoll_ctl(2): ENOSPC at `fs.epoll.max_user_watches`, ENOMEM. The connection is closed then and
    /// counted as failed.
    pub(crate) fn admit(&mut self, registry: &Registry, socket: OwnedFd) -> io::Result<()> {
        self.counters.accepted();
        let key = self.table.insert(socket);
        let Some(socket) = self.table.socket(key) else { return Ok(()) };
        let watched = registry.register(&mut SourceFd(&socket.as_raw_fd()), key.token(), Interest::READABLE);
        watched.inspect_err(|error| self.close(key, &End::Failed(copy_of(error))))
    }

    /// Serves a connection that epoll has named. Which event it was does not matter: the calls themselves say
    /// what is to be had, except that `read_closed` means more than one read may be needed to see the end.
    pub(crate) fn serve(&mut self, registry: &Registry, key: Key, read_closed: bool) {
        if self.table.has(key, Flag::Pending) {
            self.flush(registry, key);
        } else if !self.table.has(key, Flag::Leftover) {
            self.read(registry, key, read_closed);
        }
    }

    /// Gives every connection with unread input its next turn.
    pub(crate) fn serve_leftovers(&mut self, registry: &Registry) {
        for key in std::mem::take(&mut self.leftovers) {
            if self.table.has(key, Flag::Leftover) {
                self.table.set(key, Flag::Leftover, false);
                self.read(registry, key, true);
            }
        }
    }

    /// Closes those whose peers have taken nothing of their output for `limit`.
    pub(crate) fn close_stalled(&mut self, now: Instant, limit: Duration) {
        for slot in self.pending.stalled(now, limit) {
            if let Some(key) = self.table.key_in(slot) {
                self.abort(key, &End::Stalled);
            }
        }
    }

    /// Serves what has arrived and closes all that are then idle. Those in the middle of something are closed
    /// once they have their output and have seen the end of it (see [`Streams::say_last`]).
    pub(crate) fn drain(&mut self, registry: &Registry) {
        self.draining = true;
        for key in self.keys() {
            if self.table.has(key, Flag::Pending) || self.table.has(key, Flag::Leftover) {
                self.table.set(key, Flag::Busy, true);
            } else {
                self.read(registry, key, true);
            }
        }
    }

    /// Closes all that are left, whatever they are owed.
    pub(crate) fn abort_all(&mut self) {
        for key in self.keys() {
            if self.table.has(key, Flag::Shut) {
                self.close(key, &End::Drained);
            } else {
                self.abort(key, &End::Undelivered);
            }
        }
    }

    /// Reads until nothing is there, the output does not get away, or the turn is over.
    ///
    /// A read that does not fill the buffer has emptied the socket, and what comes later comes with an edge of
    /// its own; so no second read is made for an EAGAIN. Only where an edge may have gone by already, a FIN's
    /// or one that came while reading was stopped, does `until_empty` insist.
    fn read(&mut self, registry: &Registry, key: Key, until_empty: bool) {
        let mut turn = TURN_BYTES;
        loop {
            let Some(socket) = self.table.socket(key) else { return };
            let count = match socket::recv(socket, &mut self.buffer) {
                Ok(0) if self.is_shut(key) => return self.close(key, &End::Drained),
                Ok(0) => return self.close(key, &End::Closed),
                Ok(count) => count,
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock if self.draining => return self.say_last(key),
                    io::ErrorKind::WouldBlock => return,
                    io::ErrorKind::Interrupted => continue,
                    _ => return self.close(key, &End::Failed(error)),
                },
            };
            self.counters.read(count);
            if self.mode == ServerMode::Echo && !self.is_shut(key) {
                let sent = match send(socket, &self.buffer[..count]) {
                    Ok(sent) => sent,
                    Err(error) => return self.close(key, &End::Failed(error)),
                };
                self.counters.wrote(sent);
                if sent < count {
                    return self.hold_back(registry, key, sent..count);
                }
            }
            if count == self.buffer.len() {
                self.grow_buffer();
            } else if !until_empty && !self.draining {
                return;
            }
            turn = turn.saturating_sub(count);
            if turn == 0 {
                self.table.set(key, Flag::Leftover, true);
                self.note_busy(key);
                self.leftovers.push(key);
                return;
            }
        }
    }

    fn grow_buffer(&mut self) {
        if self.buffer.len() < BUFFER_BYTES {
            self.buffer = vec![0; BUFFER_BYTES].into_boxed_slice();
        }
    }

    /// Keeps what the peer has no room for, and stops reading from it until it has.
    fn hold_back(&mut self, registry: &Registry, key: Key, rest: std::ops::Range<usize>) {
        let watched = self.watch(registry, key, Interest::WRITABLE);
        if let Err(error) = watched {
            return self.close(key, &End::Failed(error));
        }
        self.pending.keep(key.slot(), &self.buffer[rest], Instant::now());
        self.table.set(key, Flag::Pending, true);
        self.note_busy(key);
        self.counters.set_pressured(self.pending.len());
    }

    /// Sends what was held back, and when all is gone reads on: what came meanwhile brings no new edge.
    fn flush(&mut self, registry: &Registry, key: Key) {
        let (Some(socket), Some(pending)) = (self.table.socket(key), self.pending.of(key.slot())) else {
            return;
        };
        let sent = match send(socket, pending.rest()) {
            Ok(sent) => sent,
            Err(error) => return self.close(key, &End::Failed(error)),
        };
        self.counters.wrote(sent);
        if !pending.advance(sent, Instant::now()) {
            return;
        }
        self.pending.forget(key.slot());
        self.table.set(key, Flag::Pending, false);
        self.counters.set_pressured(self.pending.len());
        match self.watch(registry, key, Interest::READABLE) {
            Ok(()) => self.read(registry, key, true),
            Err(error) => self.close(key, &End::Failed(error)),
        }
    }

    /// At the server's end, with all input served: an idle connection is closed. On a busy one more may be on its
    /// way, and closing then makes the kernel answer it with RST and throw away what the peer has not taken yet
    /// (`tcp_rcv_state_process`, net/ipv4/tcp_input.c). So it gets a FIN, what still comes is discarded, and it
    /// is closed when the peer has said its last too.
    fn say_last(&mut self, key: Key) {
        if !self.table.has(key, Flag::Busy) {
            return self.close(key, &End::Drained);
        }
        let Some(socket) = self.table.socket(key) else { return };
        if !self.table.has(key, Flag::Shut) {
            // ENOTCONN: the peer has reset it, which the next event tells.
            let _ = SockRef::from(&socket).shutdown(Shutdown::Write);
            self.table.set(key, Flag::Shut, true);
        }
    }

    fn note_busy(&mut self, key: Key) {
        if self.draining {
            self.table.set(key, Flag::Busy, true);
        }
    }

    fn is_shut(&self, key: Key) -> bool {
        self.draining && self.table.has(key, Flag::Shut)
    }

    fn watch(&self, registry: &Registry, key: Key, interest: Interest) -> io::Result<()> {
        let Some(socket) = self.table.socket(key) else { return Ok(()) };
        registry.reregister(&mut SourceFd(&socket.as_raw_fd()), key.token(), interest)
    }

    /// Closes with RST: the peer does not read, so a FIN would wait behind its output as an orphan.
    fn abort(&mut self, key: Key, end: &End) {
        if let Some(socket) = self.table.socket(key) {
            // Without it the kernel gives the orphan up later, by tcp_orphan_retries.
            let _ = socket::set_reset_on_close(socket);
        }
        self.close(key, end);
    }

    /// Closing takes the connection out of epoll: no other table has a copy of its descriptor.
    fn close(&mut self, key: Key, end: &End) {
        let pending = self.table.has(key, Flag::Pending);
        let Some(socket) = self.table.remove(key) else { return };
        drop(socket);
        if pending {
            self.pending.forget(key.slot());
            self.counters.set_pressured(self.pending.len());
        }
        self.counters.ended(end);
        self.ended += 1;
    }

    fn keys(&self) -> Vec<Key> {
        (0..self.table.slots()).filter_map(|slot| self.table.key_in(slot)).collect()
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

fn copy_of(error: &io::Error) -> io::Error {
    error.raw_os_error().map_or_else(|| error.kind().into(), io::Error::from_raw_os_error)
}
