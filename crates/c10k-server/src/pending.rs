//! Output that a peer has not read yet. A connection has an entry here only while there is some.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::time::{Duration, Instant};

/// The outputs that wait, by slot. Each is at most what one read has made: its own bytes, and with a message protocol
/// the message that it completed; and behind it what is said without an input, once: a last word. Nothing more is read
/// from a connection until its output is gone.
#[derive(Debug, Default)]
pub(crate) struct PendingOutputs(HashMap<u32, Pending>);

/// What one peer has still to take.
#[derive(Debug)]
pub(crate) struct Pending {
    bytes: Box<[u8]>,
    sent: usize,
    moved_at: Instant,
}

impl Pending {
    /// The bytes still to be sent; never empty.
    pub(crate) fn rest(&self) -> &[u8] {
        &self.bytes[self.sent..]
    }

    /// Counts `sent` more bytes as gone and says whether that was all.
    pub(crate) fn advance(&mut self, sent: usize, now: Instant) -> bool {
        self.sent += sent;
        if sent > 0 {
            self.moved_at = now;
        }
        self.sent >= self.bytes.len()
    }
}

impl PendingOutputs {
    /// Keeps `bytes` for the connection in `slot`, behind what waits for it already.
    pub(crate) fn keep(&mut self, slot: u32, bytes: Box<[u8]>, now: Instant) {
        match self.0.entry(slot) {
            Entry::Vacant(place) => {
                place.insert(Pending { bytes, sent: 0, moved_at: now });
            }
            Entry::Occupied(mut place) => {
                let pending = place.get_mut();
                pending.bytes = [pending.rest(), &bytes].concat().into_boxed_slice();
                pending.sent = 0;
            }
        }
    }

    /// What waits for the connection in `slot`.
    pub(crate) fn of(&mut self, slot: u32) -> Option<&mut Pending> {
        self.0.get_mut(&slot)
    }

    /// Gives the memory back, and says how many bytes that is: all was sent, or the connection is gone.
    pub(crate) fn forget(&mut self, slot: u32) -> usize {
        let bytes = self.0.remove(&slot).map_or(0, |pending| pending.bytes.len());
        if self.0.is_empty() && self.0.capacity() > 64 {
            self.0 = HashMap::new();
        }
        bytes
    }

    /// How many connections have output that waits.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether no output waits.
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
        assert!(!pending.advance(2, start));
        assert_eq!(pending.rest(), b"cdef");
        assert!(pending.advance(4, start));
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
        assert_eq!((outputs.len(), outputs.of(7).unwrap().rest()), (1, &b"efgh"[..]));
        assert_eq!(outputs.forget(7), 4);
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
