//! The table of connections: eight bytes each, indexed by descriptor number.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use c10k_wire::Key;
use mio::Token;

/// Bits of [`Entry::mark`] that are flags; the generation stands above them.
const FLAG_BITS: u32 = 12;
const GENERATION_MASK: u32 = u32::MAX >> FLAG_BITS;

/// A connection's key as the token of its events.
pub(crate) fn token(key: Key) -> Token {
    Token(key.token() as usize)
}

/// The key in an event's token.
pub(crate) fn key_of(token: Token) -> Key {
    Key::from_token(token.0 as u64)
}

/// What the table may know of a connection beside its socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flag {
    /// Output waits for the peer to read.
    Pending = 1,
    /// Its input was not read to the end and waits for its next turn.
    Leftover = 2,
    /// It was in the middle of something when the server came to its end.
    Busy = 4,
    /// The server has said its last on it, and waits for the peer to do so.
    Shut = 8,
    /// It is over once its output is gone.
    Last = 16,
    /// It was pinged and nothing has come from it since.
    Pinged = 32,
    /// A deadline for a message of it is under way.
    Timed = 64,
    /// The timed message finished (or reading was blocked by output), so the deadline must be restarted, not enforced.
    Renewed = 128,
    /// Something is pushed to it without being asked for each time.
    Pushed = 256,
    /// It is in the middle of a frame that was pushed, and has no room for the rest.
    Blocked = 512,
    /// It is watched for room as well as for input.
    RoomWatched = 1024,
}

/// The flags of which any means that output waits.
const WAITS: u32 = Flag::Pending as u32 | Flag::Blocked as u32;

/// One place. The kernel's own state of the connection is a thousand times as large.
#[derive(Debug, Default)]
struct Entry {
    socket: Option<OwnedFd>,
    mark: u32,
}

const _: () = assert!(size_of::<Entry>() <= 8, "every byte here is paid for by every connection");

/// All connections of one worker. The kernel gives the lowest free descriptor, so the table is dense.
#[derive(Debug, Default)]
pub(crate) struct Table {
    entries: Vec<Entry>,
    open: u32,
}

impl Table {
    /// A table that will not be moved while descriptors stay below `limit`; memory is taken as it is used.
    pub(crate) fn with_limit(limit: u32) -> Self {
        Self { entries: Vec::with_capacity(limit as usize), open: 0 }
    }

    /// How many connections it holds.
    pub(crate) fn open_count(&self) -> u32 {
        self.open
    }

    /// Takes a connection in.
    pub(crate) fn insert(&mut self, socket: OwnedFd) -> Key {
        let slot = socket.as_raw_fd().cast_unsigned();
        let place = slot as usize;
        if place >= self.entries.len() {
            self.entries.resize_with(place + 1, Entry::default);
        }
        let entry = &mut self.entries[place];
        debug_assert!(entry.socket.is_none(), "two owners of descriptor {slot}");
        entry.socket = Some(socket);
        let generation = ((entry.mark >> FLAG_BITS) + 1) & GENERATION_MASK;
        entry.mark = generation << FLAG_BITS;
        self.open += 1;
        Key::new(slot, generation)
    }

    /// The connection's socket; `None` when that connection is gone, whichever has its descriptor now.
    pub(crate) fn socket(&self, key: Key) -> Option<BorrowedFd<'_>> {
        self.entry(key)?.socket.as_ref().map(AsFd::as_fd)
    }

    /// Whether the connection is there and has the flag.
    pub(crate) fn has(&self, key: Key, flag: Flag) -> bool {
        self.entry(key).is_some_and(|entry| entry.mark & flag as u32 != 0)
    }

    /// Whether the connection is there and output of it waits for room: nothing else may be sent now.
    pub(crate) fn waits(&self, key: Key) -> bool {
        self.entry(key).is_some_and(|entry| entry.mark & WAITS != 0)
    }

    /// Sets or clears a flag of a connection that is there.
    pub(crate) fn set(&mut self, key: Key, flag: Flag, on: bool) {
        if let Some(entry) = self.entries.get_mut(key.slot() as usize).filter(|entry| entry.is(key)) {
            if on { entry.mark |= flag as u32 } else { entry.mark &= !(flag as u32) }
        }
    }

    /// Takes a connection out; dropping what comes back closes it.
    pub(crate) fn remove(&mut self, key: Key) -> Option<OwnedFd> {
        let entry = self.entries.get_mut(key.slot() as usize).filter(|entry| entry.is(key))?;
        let socket = entry.socket.take()?;
        self.open -= 1;
        Some(socket)
    }

    /// The connection in a slot.
    pub(crate) fn key_in(&self, slot: u32) -> Option<Key> {
        let entry = self.entries.get(slot as usize)?;
        entry.socket.as_ref().map(|_| Key::new(slot, entry.mark >> FLAG_BITS))
    }

    /// One more than the greatest slot ever used.
    pub(crate) fn slots(&self) -> u32 {
        self.entries.len() as u32
    }

    fn entry(&self, key: Key) -> Option<&Entry> {
        self.entries.get(key.slot() as usize).filter(|entry| entry.is(key))
    }
}

impl Entry {
    fn is(&self, key: Key) -> bool {
        self.socket.is_some() && self.mark >> FLAG_BITS == key.generation()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    fn socket() -> OwnedFd {
        UnixStream::pair().unwrap().0.into()
    }

    #[test]
    fn an_event_of_a_closed_connection_does_not_reach_the_next_owner_of_its_descriptor() {
        let mut table = Table::with_limit(64);
        let first = table.insert(socket());
        let stale = key_of(token(first));
        assert_eq!(stale, first);
        let descriptor = table.remove(first).unwrap();
        // The same descriptor number again, as the kernel would give it.
        let second = table.insert(descriptor);
        assert_eq!(second.slot(), first.slot());
        assert!(table.socket(stale).is_none(), "data would go to the wrong peer");
        assert!(table.remove(stale).is_none(), "the wrong peer would be closed");
        table.set(stale, Flag::Pending, true);
        assert!(!table.has(second, Flag::Pending));
        assert!(table.socket(second).is_some());
        assert_eq!(table.open_count(), 1);
    }

    #[test]
    fn flags_stand_beside_the_generation_and_start_clear() {
        let mut table = Table::with_limit(64);
        let key = table.insert(socket());
        table.set(key, Flag::Pending, true);
        table.set(key, Flag::Leftover, true);
        table.set(key, Flag::Pending, false);
        assert!(table.has(key, Flag::Leftover) && !table.has(key, Flag::Pending));
        assert_eq!(table.key_in(key.slot()), Some(key));
        let again = table.remove(key).unwrap();
        assert_eq!(table.key_in(key.slot()), None);
        let key = table.insert(again);
        assert!(!table.has(key, Flag::Leftover));
    }

    #[test]
    fn the_generation_wraps_without_touching_the_flags() {
        let mut table = Table::with_limit(64);
        let key = table.insert(socket());
        table.entries[key.slot() as usize].mark = u32::MAX;
        let key = Key::new(key.slot(), GENERATION_MASK);
        let socket = table.remove(key).unwrap();
        let next = table.insert(socket);
        assert_eq!(next.generation(), 0);
        assert!(!table.has(next, Flag::Pending) && !table.has(next, Flag::Leftover));
    }
}
