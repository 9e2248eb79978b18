//! Output that a peer has not read yet, at both ends. A connection has an entry here only while there is some.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};

/// Beyond so many places an empty index is given back.
const KEPT_PLACES: usize = 64;

/// The outputs that wait, by slot: a queue for each connection, in the order in which they were said. A queue is bounded
/// by its owner, who reads no more from a connection whose answers wait. Times are of the owner's clock; `Mark` is what
/// that keeps beside each queue.
#[derive(Debug)]
pub struct PendingOutputs<Time, Mark = ()>(HashMap<u32, Pending<Time, Mark>>);

/// What one peer has still to take: in pieces, as they were said.
#[derive(Debug)]
pub struct Pending<Time, Mark = ()> {
    /// The owner's.
    pub mark: Mark,
    /// Never empty, and no piece of it is.
    pieces: VecDeque<Box<[u8]>>,
    /// What of the first one is gone.
    sent: usize,
    /// Bytes of the pieces before it.
    gone: usize,
    moved_at: Time,
}

/// What stands at the front of a queue once something of it has gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// The kernel has no room for more of the first piece.
    Part,
    /// Another piece.
    More,
    /// All of the queue has gone.
    Nothing,
}

impl<Time, Mark> Pending<Time, Mark> {
    /// What is to be sent next; never empty.
    #[must_use]
    pub fn next(&self) -> &[u8] {
        self.pieces.front().map_or(&[], |piece| &piece[self.sent..])
    }

    /// Its peer could not have taken any of it before.
    pub fn moves_from(&mut self, now: Time) {
        self.moved_at = now;
    }

    /// How many bytes are still to be sent.
    #[must_use]
    pub fn left(&self) -> usize {
        self.pieces.iter().map(|piece| piece.len()).sum::<usize>() - self.sent
    }

    /// All that is still to be sent.
    #[must_use]
    pub fn rest(&self) -> Vec<u8> {
        self.pieces.iter().flatten().skip(self.sent).copied().collect()
    }

    /// Counts `sent` more bytes of what was next as gone and says what is left; `forget` is for when that is nothing.
    pub fn advance(&mut self, sent: usize, now: Time) -> Left {
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

impl<Time, Mark> Default for PendingOutputs<Time, Mark> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<Time: Copy, Mark: Default> PendingOutputs<Time, Mark> {
    /// Keeps `bytes`, of which there are some, for the connection in `slot`, behind what waits for it already.
    pub fn keep(&mut self, slot: u32, bytes: Box<[u8]>, now: Time) -> &mut Pending<Time, Mark> {
        match self.0.entry(slot) {
            Entry::Vacant(place) => place.insert(Pending {
                mark: Mark::default(),
                pieces: VecDeque::from([bytes]),
                sent: 0,
                gone: 0,
                moved_at: now,
            }),
            Entry::Occupied(place) => {
                let pending = place.into_mut();
                pending.pieces.push_back(bytes);
                pending
            }
        }
    }

    /// What waits for the connection in `slot`.
    #[must_use]
    pub fn of(&self, slot: u32) -> Option<&Pending<Time, Mark>> {
        // Where nothing waits no number is hashed: each message of an end that keeps up asks.
        if self.0.is_empty() { None } else { self.0.get(&slot) }
    }

    /// As [`PendingOutputs::of`], to send of it.
    pub fn of_mut(&mut self, slot: u32) -> Option<&mut Pending<Time, Mark>> {
        if self.0.is_empty() { None } else { self.0.get_mut(&slot) }
    }

    /// Gives the memory back, and says how many bytes that is: all was sent, or the connection is gone.
    pub fn forget(&mut self, slot: u32) -> usize {
        if self.0.is_empty() {
            return 0;
        }
        let bytes = self.0.remove(&slot).map_or(0, |pending| pending.gone + pending.sent + pending.left());
        if self.0.is_empty() && self.0.capacity() > KEPT_PLACES {
            self.0 = HashMap::new();
        }
        bytes
    }

    /// How many connections have output that waits.
    #[cfg(test)]
    fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether no output waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The slots of those whose peers have taken nothing since a time that is `too_long` ago.
    pub fn stalled(&self, too_long: impl Fn(Time) -> bool) -> Vec<u32> {
        self.0.iter().filter(|(_, pending)| too_long(pending.moved_at)).map(|(&slot, _)| slot).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Outputs = PendingOutputs<u64>;

    #[test]
    fn output_leaves_in_order_and_its_memory_is_given_back() {
        let start = 7;
        let mut outputs = Outputs::default();
        outputs.keep(7, (*b"abcdef").into(), start);
        let pending = outputs.of_mut(7).unwrap();
        assert_eq!(pending.advance(2, start), Left::Part);
        assert_eq!((pending.next(), &pending.rest()[..]), (&b"cdef"[..], &b"cdef"[..]));
        assert_eq!(pending.advance(4, start), Left::Nothing);
        outputs.forget(7);
        assert!(outputs.is_empty() && outputs.of(7).is_none());
    }

    #[test]
    fn what_comes_while_output_waits_is_kept_behind_it() {
        let start = 7;
        let mut outputs = Outputs::default();
        outputs.keep(7, (*b"abcdef").into(), start);
        outputs.of_mut(7).unwrap().advance(4, start);
        outputs.keep(7, (*b"gh").into(), start);
        assert_eq!((outputs.len(), &outputs.of(7).unwrap().rest()[..]), (1, &b"efgh"[..]));
        let pending = outputs.of_mut(7).unwrap();
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
        let (start, second) = (7, 1_000_000);
        let mut outputs = Outputs::default();
        outputs.keep(1, (*b"abc").into(), start);
        outputs.keep(2, (*b"abc").into(), start);
        outputs.of_mut(1).unwrap().advance(1, start + 50 * second);
        outputs.of_mut(2).unwrap().advance(0, start + 50 * second);
        assert_eq!(outputs.stalled(|at| start + 59 * second >= at + 60 * second), [0_u32; 0]);
        assert_eq!(outputs.stalled(|at| start + 60 * second >= at + 60 * second), [2]);
    }

    #[test]
    fn after_a_crowd_of_slow_readers_the_index_is_small_again() {
        let now = 7;
        let mut outputs = Outputs::default();
        for slot in 0..10_000 {
            outputs.keep(slot, (*b"x").into(), now);
        }
        assert_eq!(outputs.len(), 10_000);
        (0..10_000).for_each(|slot| assert_eq!(outputs.forget(slot), 1));
        assert_eq!(outputs.0.capacity(), 0);
    }
}
