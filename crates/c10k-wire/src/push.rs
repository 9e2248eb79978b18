//! What a server pushes without being asked for each message: streams and fan-out, framed and checked.
//!
//! A client asks once ([`Ask`]); from then on the server sends frames. Each begins with a [`PushHeader`] of
//! [`HEADER_BYTES`], behind which stand the bytes of its payload. Over TCP alone frames follow one another in the stream
//! of bytes; over WebSocket each is one binary message.
//!
//! The bytes of a payload are those of one [`Content`] that all connections share: of a stream those at its position, of
//! fan-out those at a place that the sequence number gives. So the server keeps one buffer for all of them, and the
//! client can say of each byte whether it is the right one.

use std::sync::Arc;

mod reader;

pub use reader::{PushReader, Read, Wrong};

/// Bytes of a header.
pub const HEADER_BYTES: usize = 32;
/// The first bytes of each.
const MAGIC: [u8; 4] = *b"c10k";
/// The bit of the flags that says: nothing comes behind this frame.
const LAST: u8 = 1;
/// The most bytes of payload in a frame.
pub const MOST_PAYLOAD_BYTES: u32 = 1 << 20;
/// After so many bytes the content begins anew: a prime number, so that no part that is lost or sent twice, of a round
/// size, leaves the same bytes behind it.
const PERIOD_BYTES: usize = 65_521;
/// The most bytes of a stream in one frame: so much of the content lies in one piece at each of its places.
pub const MOST_STREAM_BYTES: usize = 16 << 10;
/// From one message of a fan-out to the next the place in the content goes on by so much.
const STEP_BYTES: u64 = 40_503;

/// What a client asks for, and which frames it then gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PushKind {
    /// Bytes at a bit rate, for a time.
    Stream = 1,
    /// One message to all that follow, again and again.
    Fanout = 2,
}

/// What a client may ask a server that pushes: one message of one word, over TCP alone a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Begin: a stream to play, or messages to follow.
    Begin,
    /// End it: the server answers with a frame that is the last.
    Leave,
}

impl Ask {
    /// What a server of this kind is asked in so many words. Over TCP alone a line end stands behind it.
    #[must_use]
    pub fn of(kind: PushKind, word: &[u8]) -> Option<Self> {
        [Self::Begin, Self::Leave].into_iter().find(|ask| ask.word(kind).as_bytes() == word)
    }

    /// The word itself.
    #[must_use]
    pub fn word(self, kind: PushKind) -> &'static str {
        match (self, kind) {
            (Self::Begin, PushKind::Stream) => "play",
            (Self::Begin, PushKind::Fanout) => "follow",
            (Self::Leave, _) => "leave",
        }
    }
}

/// What stands before each payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PushHeader {
    /// Of what it is a frame.
    pub kind: PushKind,
    /// Whether nothing comes behind it.
    pub is_last: bool,
    /// Its number: in a stream from 0, one more each time; in a fan-out that of the message, the same for all receivers.
    pub sequence: u64,
    /// The server's CLOCK_MONOTONIC, µs: of a stream when the frame was made, of a fan-out one reading just before the
    /// message was first written.
    pub server_us: u64,
    /// Bytes behind the header.
    pub payload_bytes: u32,
}

/// Why bytes are no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadHeader {
    Magic,
    Kind(u8),
    Flags(u8),
    Size(u32),
}

impl PushHeader {
    /// As it is sent: big endian; bytes that mean nothing yet are 0.
    #[must_use]
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4] = self.kind as u8;
        bytes[5] = if self.is_last { LAST } else { 0 };
        bytes[8..16].copy_from_slice(&self.sequence.to_be_bytes());
        bytes[16..24].copy_from_slice(&self.server_us.to_be_bytes());
        bytes[24..28].copy_from_slice(&self.payload_bytes.to_be_bytes());
        bytes
    }

    /// Reads a header. Reserved bytes may be anything: a later version may use them.
    pub(crate) fn parse(bytes: &[u8; HEADER_BYTES]) -> Result<Self, BadHeader> {
        let [m0, m1, m2, m3, kind, flags, _, _, rest @ ..] = bytes;
        if [*m0, *m1, *m2, *m3] != MAGIC {
            return Err(BadHeader::Magic);
        }
        let kind = match kind {
            1 => PushKind::Stream,
            2 => PushKind::Fanout,
            other => return Err(BadHeader::Kind(*other)),
        };
        if flags & !LAST != 0 {
            return Err(BadHeader::Flags(*flags));
        }
        let (sequence, rest) = rest.split_at(8);
        let (server_us, rest) = rest.split_at(8);
        let payload_bytes = number(&rest[..4]) as u32;
        if payload_bytes > MOST_PAYLOAD_BYTES {
            return Err(BadHeader::Size(payload_bytes));
        }
        Ok(Self {
            kind,
            is_last: flags & LAST != 0,
            sequence: number(sequence),
            server_us: number(server_us),
            payload_bytes,
        })
    }
}

/// Big endian.
fn number(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

/// The bytes of all payloads, in one buffer.
#[derive(Clone, Debug)]
pub struct Content(Arc<[u8]>);

impl Default for Content {
    fn default() -> Self {
        let mut state = 0x00c1_0c10_u64;
        let mut bytes: Vec<u8> = Vec::with_capacity(PERIOD_BYTES + MOST_STREAM_BYTES);
        while bytes.len() < PERIOD_BYTES {
            state = crate::raw::next_word(state);
            bytes.extend_from_slice(&state.to_le_bytes());
        }
        bytes.truncate(PERIOD_BYTES);
        bytes.extend_from_within(..MOST_STREAM_BYTES);
        Self(bytes.into())
    }
}

impl Content {
    /// The bytes of a stream from a position on: where they stand in [`Content::bytes`].
    ///
    /// # Panics
    /// When they are more than [`MOST_STREAM_BYTES`].
    #[must_use]
    pub fn of_stream(&self, position: u64, bytes: usize) -> std::ops::Range<usize> {
        assert!(bytes <= MOST_STREAM_BYTES, "{bytes} bytes of a stream in one frame");
        let from = place_of(PushKind::Stream, position);
        from..from + bytes
    }

    /// All of it: shared, never copied.
    #[must_use]
    pub fn bytes(&self) -> &Arc<[u8]> {
        &self.0
    }

    /// Appends the payload of a message of a fan-out.
    pub fn write_fanout(&self, sequence: u64, bytes: usize, out: &mut Vec<u8>) {
        let mut at = place_of(PushKind::Fanout, sequence);
        let end = out.len() + bytes;
        while out.len() < end {
            let piece = (end - out.len()).min(PERIOD_BYTES - at);
            out.extend_from_slice(&self.0[at..at + piece]);
            at = (at + piece) % PERIOD_BYTES;
        }
    }

    /// How many of `bytes` are those from a place on.
    fn agrees(&self, mut at: usize, bytes: &[u8]) -> usize {
        let mut right = 0;
        while right < bytes.len() {
            let piece = (bytes.len() - right).min(PERIOD_BYTES - at);
            let (expected, found) = (&self.0[at..at + piece], &bytes[right..right + piece]);
            if expected != found {
                return right + expected.iter().zip(found).take_while(|(a, b)| a == b).count();
            }
            right += piece;
            at = (at + piece) % PERIOD_BYTES;
        }
        right
    }
}

/// Where in the content a payload begins: by the position in its stream, or by the number of its message.
fn place_of(kind: PushKind, number: u64) -> usize {
    let at = match kind {
        PushKind::Stream => number,
        PushKind::Fanout => (number % PERIOD_BYTES as u64) * STEP_BYTES,
    };
    (at % PERIOD_BYTES as u64) as usize
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn header() -> impl Strategy<Value = PushHeader> {
        let kind = prop_oneof![Just(PushKind::Stream), Just(PushKind::Fanout)];
        let numbers = (any::<u64>(), any::<u64>(), 0..=MOST_PAYLOAD_BYTES);
        (kind, any::<bool>(), numbers).prop_map(|(kind, is_last, (sequence, server_us, payload_bytes))| {
            PushHeader { kind, is_last, sequence, server_us, payload_bytes }
        })
    }

    proptest! {
        #[test]
        fn a_header_reads_back_as_it_was_written(header in header()) {
            prop_assert_eq!(PushHeader::parse(&header.encode()), Ok(header));
        }

        #[test]
        fn a_header_with_another_byte_is_another_one_or_none(header in header(), at in 0..28_usize, flip in 1_u8..) {
            let mut bytes = header.encode();
            bytes[at] ^= flip;
            let reserved = (6..8).contains(&at);
            prop_assert_eq!(PushHeader::parse(&bytes) == Ok(header), reserved);
        }
    }

    #[test]
    fn a_header_has_its_bytes_where_the_description_says() {
        let header = PushHeader {
            kind: PushKind::Fanout,
            is_last: true,
            sequence: 0x0102,
            server_us: 0x0304_0506,
            payload_bytes: 7,
        };
        let bytes = header.encode();
        assert_eq!(&bytes[..8], b"c10k\x02\x01\0\0");
        assert_eq!(&bytes[8..16], &[0, 0, 0, 0, 0, 0, 1, 2]);
        assert_eq!(&bytes[16..24], &[0, 0, 0, 0, 3, 4, 5, 6]);
        assert_eq!(&bytes[24..], &[0, 0, 0, 7, 0, 0, 0, 0]);
    }

    #[test]
    fn a_server_of_streams_knows_other_words_than_one_that_fans_out() {
        use PushKind::{Fanout, Stream};
        assert_eq!(Ask::of(Stream, b"play"), Some(Ask::Begin));
        assert_eq!(Ask::of(Fanout, b"follow"), Some(Ask::Begin));
        assert_eq!(
            (Ask::of(Stream, b"leave"), Ask::of(Fanout, b"leave")),
            (Some(Ask::Leave), Some(Ask::Leave))
        );
        for (kind, word) in [(Stream, &b"follow"[..]), (Fanout, b"play"), (Stream, b"play\n"), (Stream, b"")]
        {
            assert_eq!(Ask::of(kind, word), None, "{kind:?}");
        }
    }

    #[test]
    fn a_stream_that_lost_a_round_number_of_bytes_has_other_bytes_behind_it() {
        let content = Content::default();
        let at = |position| &content.bytes()[content.of_stream(position, 64)];
        for lost in [1, 512, 1024, 1460, 4096, 16_384, 65_536, 1 << 20] {
            assert_ne!(at(100_000), at(100_000 + lost), "{lost}");
        }
        assert_eq!(at(5), at(5 + PERIOD_BYTES as u64));
    }
}
