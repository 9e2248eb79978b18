//! The messages of a fan-out: made once for all workers, from one reading of the clock.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use c10k_kernel::clock;
use c10k_record::Payload;
use c10k_wire::push::{Content, HEADER_BYTES, PushHeader, PushKind};

use super::Frame;

/// Messages that are kept for those who have not taken them yet; of the largest ones fewer.
const MOST_MESSAGES: usize = 8;
/// Bytes of messages that are kept, beside the newest.
const MOST_BYTES: usize = 2 << 20;

/// One message.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) sequence: u64,
    pub(crate) frame: Frame,
}

/// What all workers of a server share of it.
#[derive(Debug, Default)]
pub(crate) struct Fanout {
    messages: Mutex<VecDeque<Message>>,
    /// Of the newest message; 0 before the first.
    newest: AtomicU64,
    followers: AtomicU64,
}

impl Fanout {
    /// One more follows, or one less.
    pub(crate) fn count(&self, follows: bool) {
        if follows {
            self.followers.fetch_add(1, Relaxed)
        } else {
            self.followers.fetch_sub(1, Relaxed)
        };
    }

    /// The number of the newest message; 0 before the first.
    pub(crate) fn newest(&self) -> u64 {
        self.newest.load(Relaxed)
    }

    /// Makes the next message, if anybody follows, and says whether it did; then the workers are to be told. `begin` writes
    /// what the protocol puts before a message of so many bytes.
    pub(crate) fn make(
        &self,
        payload: Payload,
        content: &Content,
        begin: impl FnOnce(usize, &mut Vec<u8>),
    ) -> bool {
        if self.followers.load(Relaxed) == 0 {
            return false;
        }
        let sequence = self.newest() + 1;
        let size = size_of_message(payload, sequence);
        let mut bytes = Vec::with_capacity(super::MOST_HEAD_BYTES + size);
        begin(HEADER_BYTES + size, &mut bytes);
        let head_at = bytes.len();
        bytes.resize(head_at + HEADER_BYTES, 0);
        content.write_fanout(sequence, size, &mut bytes);
        let mut messages = self.messages();
        // Last of all: from here on it counts.
        let server_us = clock::monotonic_us();
        let header = PushHeader {
            kind: PushKind::Fanout,
            is_last: false,
            sequence,
            server_us,
            payload_bytes: size as u32,
        };
        bytes[head_at..head_at + HEADER_BYTES].copy_from_slice(&header.encode());
        messages.push_back(Message { sequence, frame: Frame::whole(bytes.into()) });
        bound(&mut messages);
        self.newest.store(sequence, Relaxed);
        true
    }

    /// Those that are newer than one.
    pub(crate) fn newer_than(&self, sequence: u64) -> Vec<Message> {
        self.messages().iter().filter(|message| message.sequence > sequence).cloned().collect()
    }

    fn messages(&self) -> MutexGuard<'_, VecDeque<Message>> {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Drops the oldest while there are more than are kept.
pub(super) fn bound(messages: &mut VecDeque<Message>) {
    let mut bytes: usize = messages.iter().map(|message| message.frame.bytes()).sum();
    while messages.len() > MOST_MESSAGES || messages.len() > 1 && bytes > MOST_BYTES {
        bytes -= messages.pop_front().map_or(0, |message| message.frame.bytes());
    }
}

/// Drawn evenly from the range, by the number of the message.
fn size_of_message(payload: Payload, sequence: u64) -> usize {
    let span = u64::from(payload.max_bytes - payload.min_bytes) + 1;
    let drawn = (sequence.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) % span;
    payload.min_bytes as usize + drawn as usize
}

#[cfg(test)]
mod tests {
    use c10k_wire::push::PushReader;

    use super::*;

    #[test]
    fn messages_have_numbers_in_a_row_and_sizes_of_the_range_and_only_the_newest_are_kept() {
        let (fanout, content) = (Fanout::default(), Content::default());
        let payload: Payload = "100..200000".parse().unwrap();
        assert!(!fanout.make(payload, &content, |_, _| {}), "nobody follows");
        fanout.count(true);
        let mut reader = PushReader::new(PushKind::Fanout);
        let mut sizes = Vec::new();
        for number in 1..=50 {
            let before = clock::monotonic_us();
            assert!(fanout.make(payload, &content, |_, _| {}));
            let new = fanout.newer_than(number - 1);
            assert_eq!((new.len(), fanout.newest()), (1, number));
            let (head, body) = new[0].frame.behind(0);
            assert!(head.is_empty());
            let read = reader.read(&content, body).expect("right bytes");
            let header = read.whole.expect("a whole frame");
            assert!((before..=clock::monotonic_us()).contains(&header.server_us));
            sizes.push(header.payload_bytes);
        }
        assert!(sizes.iter().all(|size| (100..=200_000).contains(size)));
        assert!(sizes.iter().any(|size| *size > 150_000) && sizes.iter().any(|size| *size < 50_000));
        let kept = fanout.newer_than(0);
        assert!(kept.len() <= MOST_MESSAGES && kept.last().is_some_and(|message| message.sequence == 50));
        fanout.count(false);
        assert!(!fanout.make(payload, &content, |_, _| {}));
    }
}
