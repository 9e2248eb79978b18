//! Output that a peer has not read yet. A connection has an entry here only while there is some.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

/// The outputs that wait, by slot: a queue for each connection. Of what inputs have brought about it has at most what one
/// read has made: its own bytes, and with a message protocol the message that it completed; nothing more is read from
/// the connection until its output is gone. What is said without an input stands behind that, and copies nothing of it.
#[derive(Debug, Default)]
pub(crate) struct PendingOutputs(HashMap<u32, Pending>);

/// What one peer has still to take: in pieces, as they were said.
#[derive(Debug)]
pub(crate) struct Pending {
    /// Never empty, and no piece of it is.
    pieces: VecDeque<Box<[u8]>>,
    /// What of the first one is gone.
    sent: usize,
    /// Bytes of the pieces before it.
    gone: usize,
    moved_at: Instant,
}

/// What stands at the front of a queue once something of it has gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    /// The kernel has no room for more of the first piece.
    Part,
    /// Another piece.
    More,
    Nothing,
}

impl Pending {
    /// What is to be sent next; never empty.
    pub(crate) fn next(&self) -> &[u8] {
        self.pieces.front().map_or(&[], |piece| &piece[self.sent..])
    }

    /// Its peer could not have taken any of it before.
    pub(crate) fn moves_from(&mut self, now: Instant) {
        self.moved_at = now;
    }

    /// All that is still to be sent.
    #[cfg(test)]
    pub(crate) fn rest(&self) -> Vec<u8> {
        self.pieces.iter().flatten().skip(self.sent).copied().collect()
    }

    /// Counts `sent` more bytes of what was next as gone and says what is left; `forget` is for when that is nothing.
    pub(crate) fn advance(&mut self, sent: usize, now: Instant) -> Left {
        self.sent += sent;
        if sent > 0 {
            self.moved_at = now;
        }
        if self.pieces.front().is_some_and(|piece| self.sent < piece.len()) {
            return Left::Part;
        }
        if self.pieces.len() <= 1 {
            return Left::Nothing;
        }
        self.gone += self.pieces.pop_front().map_or(0, |piece| piece.len());
        self.sent = 0;
        Left::More
    }
}

impl PendingOutputs {
    /// Keeps `bytes` for the connection in `slot`, behind what waits for it already.
    pub(crate) fn keep(&mut self, slot: u32, bytes: Box<[u8]>, now: Instant) {
        match self.0.entry(slot) {
            Entry::Vacant(place) => {
                place.insert(Pending { pieces: VecDeque::from([bytes]), sent: 0, gone: 0, moved_at: now });
            }
            Entry::Occupied(mut place) => place.get_mut().pieces.push_back(bytes),
        }
    }

    /// What waits for the connection in `slot`.
    pub(crate) fn of(&mut self, slot: u32) -> Option<&mut Pending> {
        self.0.get_mut(&slot)
    }

    /// Gives the memory back, and says how many bytes that is: all was sent, or the connection is gone.
    pub(crate) fn forget(&mut self, slot: u32) -> usize {
        let whole =
            |pending: Pending| pending.gone + pending.pieces.iter().map(|piece| piece.len()).sum::<usize>();
        let bytes = self.0.remove(&slot).map_or(0, whole);
        if self.0.is_empty() && self.0.capacity() > 64 {
            self.0 = HashMap::new();
        }
        bytes
    }

    /// How many connections have output that waits.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether no output waits.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The slots of those whose peers have taken nothing for `limit` or longer.
    pub(crate) fn stalled(&self, now: Instant, limit: Duration) -> Vec<u32> {
        let stuck = |pending: &Pending| now.saturating_duration_since(pending.moved_at) >= limit;
        self.0.iter().filter(|(_, pending)| stuck(pending)).map(|(&slot, _)| slot).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_leaves_in_order_and_its_memory_is_given_back() {
        let start = Instant::now();
        let mut outputs = PendingOutputs::default();
        outputs.keep(7, (*b"abcdef").into(), start);
        let pending = outputs.of(7).unwrap();
        assert_eq!(pending.advance(2, start), Left::Part);
        assert_eq!((pending.next(), &pending.rest()[..]), (&b"cdef"[..], &b"cdef"[..]));
        assert_eq!(pending.advance(4, start), Left::Nothing);
        outputs.forget(7);
        assert!(outputs.is_empty() && outputs.of(7).is_none());
    }

    #[test]
    fn what_comes_while_output_waits_is_kept_behind_it() {
        let start = Instant::now();
        let mut outputs = PendingOutputs::default();
        outputs.keep(7, (*b"abcdef").into(), start);
        outputs.of(7).unwrap().advance(4, start);
        outputs.keep(7, (*b"gh").into(), start);
        assert_eq!((outputs.len(), &outputs.of(7).unwrap().rest()[..]), (1, &b"efgh"[..]));
        let pending = outputs.of(7).unwrap();
        for (next, sent, left) in
            [(&b"ef"[..], 2, Left::More), (b"gh", 1, Left::Part), (b"h", 1, Left::Nothing)]
        {
            assert_eq!(pending.next(), next);
            assert_eq!(pending.advance(sent, start), left);
        }
        assert_eq!(outputs.forget(7), 8);
    }

    #[test]
    fn only_an_output_that_has_not_moved_at_all_is_stalled() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let mut outputs = PendingOutputs::default();
        outputs.keep(1, (*b"abc").into(), start);
        outputs.keep(2, (*b"abc").into(), start);
        outputs.of(1).unwrap().advance(1, start + 50 * second);
        outputs.of(2).unwrap().advance(0, start + 50 * second);
        assert_eq!(outputs.stalled(start + 59 * second, 60 * second), [0_u32; 0]);
        assert_eq!(outputs.stalled(start + 60 * second, 60 * second), [2]);
    }

    #[test]
    fn after_a_crowd_of_slow_readers_the_index_is_small_again() {
        let now = Instant::now();
        let mut outputs = PendingOutputs::default();
        (0..10_000).for_each(|slot| outputs.keep(slot, (*b"x").into(), now));
        assert_eq!(outputs.len(), 10_000);
        (0..10_000).for_each(|slot| assert_eq!(outputs.forget(slot), 1));
        assert_eq!(outputs.0.capacity(), 0);
    }
}
