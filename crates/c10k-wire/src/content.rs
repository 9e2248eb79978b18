//! The bytes of messages: computed from the run's seed, the connection and the message's number, so that nobody keeps
//! a copy, at the cost of a copy in memory and no more.
//!
//! A message begins with a word of eight bytes that no other message of its connection has; the rest is a stretch of
//! one pool of random bytes, from a place that this word says. The pool's length is a prime: no block of a power of two
//! within a message is like another.

/// Bytes of the pool: the largest prime below 64 KiB, so that it stays in a processor's cache.
const POOL_BYTES: usize = 65_521;
/// Bytes of the word at the start.
const WORD_BYTES: usize = 8;

/// Makes and checks the messages of one run.
#[derive(Clone, Debug)]
pub struct Contents {
    seed: u64,
    pool: Box<[u8]>,
}

/// Which message: of which connection, and which of its messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageId {
    /// What tells the connection from all others of the run.
    pub connection: u64,
    /// Another one for each message of a connection.
    pub number: u32,
}

impl Contents {
    /// Contents of a run with this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut state = seed;
        let mut pool = vec![0; POOL_BYTES].into_boxed_slice();
        for chunk in pool.chunks_mut(WORD_BYTES) {
            state = state.wrapping_add(GOLDEN);
            chunk.copy_from_slice(&mixed(state).to_le_bytes()[..chunk.len()]);
        }
        Self { seed, pool }
    }

    /// Writes a message over all of `out`.
    pub fn fill(&self, id: MessageId, out: &mut [u8]) {
        let word = self.word(id);
        let head = WORD_BYTES.min(out.len());
        let (start, mut rest) = out.split_at_mut(head);
        start.copy_from_slice(&word.to_le_bytes()[..head]);
        let mut at = place(word, 0);
        while !rest.is_empty() {
            let length = rest.len().min(POOL_BYTES - at);
            let (now, later) = rest.split_at_mut(length);
            now.copy_from_slice(&self.pool[at..at + length]);
            (rest, at) = (later, 0);
        }
    }

    /// Whether `bytes` are those of the message from `offset` on.
    #[must_use]
    pub fn check(&self, id: MessageId, offset: usize, bytes: &[u8]) -> bool {
        let word = self.word(id);
        let head = WORD_BYTES.saturating_sub(offset).min(bytes.len());
        let (start, mut rest) = bytes.split_at(head);
        if head > 0 && start != &word.to_le_bytes()[offset..offset + head] {
            return false;
        }
        let mut at = place(word, (offset + head).saturating_sub(WORD_BYTES));
        while !rest.is_empty() {
            let length = rest.len().min(POOL_BYTES - at);
            let (now, later) = rest.split_at(length);
            if now != &self.pool[at..at + length] {
                return false;
            }
            (rest, at) = (later, 0);
        }
        true
    }

    /// Different for each number of a connection: an odd factor loses no bit.
    fn word(&self, id: MessageId) -> u64 {
        mixed(self.seed ^ id.connection).wrapping_add(u64::from(id.number).wrapping_mul(GOLDEN))
    }
}

/// Where in the pool the byte stands that is so far behind the word.
fn place(word: u64, behind: usize) -> usize {
    ((mixed(word) % POOL_BYTES as u64) as usize + behind) % POOL_BYTES
}

/// The step and the mixing of SplitMix64 (Steele, Lea, Flood 2014).
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

fn mixed(word: u64) -> u64 {
    let mut z = word;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ID: MessageId = MessageId { connection: 77, number: 5 };

    fn message(contents: &Contents, id: MessageId, size: usize) -> Vec<u8> {
        let mut bytes = vec![0; size];
        contents.fill(id, &mut bytes);
        bytes
    }

    #[test]
    fn the_shortest_message_tells_its_connection_and_its_number() {
        let contents = Contents::new(9);
        let mut seen = std::collections::BTreeSet::new();
        for connection in 0..1000 {
            for number in 0..10 {
                assert!(seen.insert(message(&contents, MessageId { connection, number }, 8)));
            }
        }
    }

    #[test]
    fn another_run_another_connection_and_an_older_message_are_told_apart() {
        let contents = Contents::new(9);
        let bytes = message(&contents, ID, 300);
        assert!(contents.check(ID, 0, &bytes));
        assert!(!Contents::new(10).check(ID, 0, &bytes));
        for other in [MessageId { number: 4, ..ID }, MessageId { connection: 78, ..ID }] {
            assert!(!contents.check(other, 0, &bytes), "{other:?}");
            assert!(!contents.check(other, 8, &bytes[8..]), "{other:?}: behind the word as well");
        }
    }

    #[test]
    fn blocks_in_another_order_are_wrong() {
        let contents = Contents::new(9);
        for block in [512, 4096, 65_536] {
            let mut bytes = message(&contents, ID, 8 * block);
            let (first, second) = bytes.split_at_mut(4 * block);
            first[block..2 * block].swap_with_slice(&mut second[..block]);
            assert!(!contents.check(ID, 0, &bytes), "{block}");
        }
    }

    proptest! {
        #[test]
        fn an_echo_split_anywhere_is_right_and_one_wrong_byte_is_found(
            size in 8_usize..200_000, cut in 0_usize..200_000, at in 0_usize..200_000, flip in 1_u8..,
        ) {
            let contents = Contents::new(9);
            let mut bytes = message(&contents, ID, size);
            let (cut, at) = (cut % size, at % size);
            prop_assert!(contents.check(ID, 0, &bytes[..cut]) && contents.check(ID, cut, &bytes[cut..]));
            bytes[at] ^= flip;
            let (first, second) = bytes.split_at(cut);
            prop_assert!(!(contents.check(ID, 0, first) && contents.check(ID, cut, second)));
        }
    }
}
