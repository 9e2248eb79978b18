//! The receiving end of what is pushed: reads frames out of any pieces, and checks each byte.

use thiserror::Error;

use super::{BadHeader, Content, HEADER_BYTES, MAGIC, PushHeader, PushKind, place_of};

/// Reads the frames of one connection and checks their order and their bytes. It keeps no payload.
#[derive(Clone, Debug)]
pub struct PushReader {
    kind: PushKind,
    header: [u8; HEADER_BYTES],
    /// Bytes of the header that are there.
    header_bytes: u8,
    /// Bytes of the payload that are there.
    payload_bytes: u32,
    /// The number that the next frame has, or is greater than in a fan-out, once one has come.
    expected: Option<u64>,
    /// Where the next byte stands in the stream.
    position: u64,
    is_over: bool,
}

/// What came of some bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Read {
    /// How many of them belong to the frame.
    pub taken: usize,
    /// Of these, bytes of its payload.
    pub payload_bytes: usize,
    /// The frame's header, when it is whole: all of its payload has come and is right.
    pub whole: Option<PushHeader>,
    /// In a fan-out: messages before this one that never came.
    pub skipped: u64,
}

/// What is wrong with what was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Wrong {
    /// The server does not know what it was asked: it sends it back.
    #[error("the server sends '{0}' back: it does not push")]
    Echoed(&'static str),
    /// The bytes are no frame.
    #[error("no frame begins at byte {at} of a header: {found:#04x}")]
    NoFrame {
        /// Where in the header.
        at: u8,
        /// What stands there.
        found: u8,
    },
    /// The frame is of something that was not asked for.
    #[error("a frame of another kind than was asked for")]
    Kind,
    /// A frame is longer than any may be.
    #[error("a frame of {0} bytes")]
    Size(u32),
    /// A frame came again, too late, or one before it is missing.
    #[error("frame {found} came where {expected} was expected")]
    Order {
        /// The number that the next one should have, at least.
        expected: u64,
        /// The number that it has.
        found: u64,
    },
    /// A byte of a payload is not the right one.
    #[error("byte {at} of frame {sequence} is not the right one")]
    Content {
        /// The frame's number.
        sequence: u64,
        /// Where in its payload.
        at: u32,
    },
    /// Something came behind the last frame.
    #[error("bytes behind the last frame")]
    BehindLast,
}

impl PushReader {
    /// For a connection that has asked for this.
    #[must_use]
    pub fn new(kind: PushKind) -> Self {
        Self {
            kind,
            header: [0; HEADER_BYTES],
            header_bytes: 0,
            payload_bytes: 0,
            expected: None,
            position: 0,
            is_over: false,
        }
    }

    /// Whether the last frame has come.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.is_over
    }

    /// Whether no frame has begun that is not whole.
    #[must_use]
    pub fn is_between_frames(&self) -> bool {
        self.header_bytes == 0
    }

    /// Reads what of `bytes` belongs to one frame: up to its end, or all of them.
    ///
    /// # Errors
    /// The first byte that is wrong, as soon as it is there; after that the reader is of no use any more.
    pub fn read(&mut self, content: &Content, bytes: &[u8]) -> Result<Read, Wrong> {
        if bytes.is_empty() {
            return Ok(Read::default());
        }
        if self.is_over {
            return Err(Wrong::BehindLast);
        }
        let mut read = Read::default();
        let have = usize::from(self.header_bytes);
        if have < HEADER_BYTES {
            read.taken = bytes.len().min(HEADER_BYTES - have);
            self.header[have..have + read.taken].copy_from_slice(&bytes[..read.taken]);
            self.header_bytes += read.taken as u8;
            self.check_magic()?;
            if usize::from(self.header_bytes) < HEADER_BYTES {
                return Ok(read);
            }
            read.skipped = self.begin()?;
        }
        let header = self.parsed()?;
        let rest = &bytes[read.taken..];
        let missing = (header.payload_bytes - self.payload_bytes) as usize;
        let payload = &rest[..rest.len().min(missing)];
        self.check_payload(content, &header, payload)?;
        read.taken += payload.len();
        read.payload_bytes = payload.len();
        if self.payload_bytes == header.payload_bytes {
            (self.header_bytes, self.payload_bytes) = (0, 0);
            self.is_over = header.is_last;
            read.whole = Some(header);
        }
        Ok(read)
    }

    /// Says it with the first byte: a server that only echoes sends no whole header.
    fn check_magic(&self) -> Result<(), Wrong> {
        let there = &self.header[..usize::from(self.header_bytes).min(MAGIC.len())];
        let Some(at) = there.iter().zip(MAGIC).position(|(found, expected)| *found != expected) else {
            return Ok(());
        };
        let word = super::Ask::Begin.word(self.kind);
        let all = &self.header[..usize::from(self.header_bytes).min(word.len())];
        if self.expected.is_none() && word.as_bytes().starts_with(all) {
            return Err(Wrong::Echoed(word));
        }
        Err(Wrong::NoFrame { at: at as u8, found: there[at] })
    }

    /// The header is whole: says how many messages of a fan-out are missing before it.
    fn begin(&mut self) -> Result<u64, Wrong> {
        let header = self.parsed()?;
        if header.kind != self.kind {
            return Err(Wrong::Kind);
        }
        let expected = match (self.expected, self.kind) {
            (Some(expected), _) => expected,
            (None, PushKind::Stream) => 0,
            (None, PushKind::Fanout) => header.sequence,
        };
        let skipped = header.sequence.checked_sub(expected);
        let is_right = match self.kind {
            PushKind::Stream => skipped == Some(0),
            PushKind::Fanout => skipped.is_some(),
        };
        // The frame that answers `leave` is no message: it has the number of the last one that was sent.
        let is_answer = header.is_last && header.payload_bytes == 0;
        if !is_right && !is_answer {
            return Err(Wrong::Order { expected, found: header.sequence });
        }
        if is_answer {
            return Ok(0);
        }
        self.expected = Some(header.sequence.wrapping_add(1));
        Ok(skipped.unwrap_or(0))
    }

    fn parsed(&self) -> Result<PushHeader, Wrong> {
        PushHeader::parse(&self.header).map_err(|bad| match bad {
            BadHeader::Magic => Wrong::NoFrame { at: 0, found: self.header[0] },
            BadHeader::Kind(found) => Wrong::NoFrame { at: 4, found },
            BadHeader::Flags(found) => Wrong::NoFrame { at: 5, found },
            BadHeader::Size(bytes) => Wrong::Size(bytes),
        })
    }

    fn check_payload(&mut self, content: &Content, header: &PushHeader, payload: &[u8]) -> Result<(), Wrong> {
        let from = match self.kind {
            PushKind::Stream => place_of(self.kind, self.position),
            PushKind::Fanout => {
                (place_of(self.kind, header.sequence) + self.payload_bytes as usize) % super::PERIOD_BYTES
            }
        };
        let right = content.agrees(from, payload);
        if right < payload.len() {
            let at = self.payload_bytes + right as u32;
            return Err(Wrong::Content { sequence: header.sequence, at });
        }
        self.payload_bytes += payload.len() as u32;
        self.position += payload.len() as u64;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A stream of frames of these sizes, the last one marked.
    fn stream(sizes: &[usize]) -> Vec<u8> {
        let (content, mut bytes, mut position) = (Content::default(), Vec::new(), 0);
        for (number, &size) in sizes.iter().enumerate() {
            let header = PushHeader {
                kind: PushKind::Stream,
                is_last: number + 1 == sizes.len(),
                sequence: number as u64,
                server_us: 5,
                payload_bytes: size as u32,
            };
            bytes.extend(header.encode());
            bytes.extend(&content.bytes()[content.of_stream(position, size)]);
            position += size as u64;
        }
        bytes
    }

    fn message(sequence: u64, size: usize, is_last: bool) -> Vec<u8> {
        let header = PushHeader {
            kind: PushKind::Fanout,
            is_last,
            sequence,
            server_us: 1,
            payload_bytes: size as u32,
        };
        let mut bytes = header.encode().to_vec();
        Content::default().write_fanout(sequence, size, &mut bytes);
        bytes
    }

    /// Gives all of it in pieces; the headers of whole frames, and messages that were missing.
    fn read_all(
        reader: &mut PushReader,
        bytes: &[u8],
        piece: usize,
    ) -> Result<(Vec<PushHeader>, u64), Wrong> {
        let content = Content::default();
        let (mut whole, mut skipped) = (Vec::new(), 0);
        for mut rest in bytes.chunks(piece) {
            while !rest.is_empty() {
                let read = reader.read(&content, rest)?;
                assert!(read.taken > 0 && read.payload_bytes <= read.taken);
                whole.extend(read.whole);
                skipped += read.skipped;
                rest = &rest[read.taken..];
            }
        }
        Ok((whole, skipped))
    }

    proptest! {
        #[test]
        fn a_stream_in_any_pieces_is_whole(
            sizes in prop::collection::vec(0..9000_usize, 1..20),
            piece in 1..5000_usize,
        ) {
            let mut reader = PushReader::new(PushKind::Stream);
            let (whole, skipped) = read_all(&mut reader, &stream(&sizes), piece).expect("all is right");
            prop_assert!(reader.is_over() && reader.is_between_frames());
            prop_assert_eq!((whole.len(), skipped), (sizes.len(), 0));
            prop_assert_eq!(reader.position, sizes.iter().sum::<usize>() as u64);
        }

        #[test]
        fn a_wrong_byte_anywhere_is_found(
            sizes in prop::collection::vec(1..900_usize, 1..10),
            at in any::<prop::sample::Index>(),
            flip in 1_u8..,
        ) {
            let mut bytes = stream(&sizes);
            let at = at.index(bytes.len());
            let in_frame = {
                let mut start = 0;
                for size in &sizes {
                    if at < start + HEADER_BYTES + size { break; }
                    start += HEADER_BYTES + size;
                }
                at - start
            };
            bytes[at] ^= flip;
            let mut reader = PushReader::new(PushKind::Stream);
            let result = read_all(&mut reader, &bytes, 100);
            // The server's time may be any, reserved bytes too; a flag moves the end, a length what comes behind it.
            let may_be_any = (6..8).contains(&in_frame) || (16..24).contains(&in_frame) || (28..32).contains(&in_frame);
            let says_otherwise = result.is_err() || !reader.is_over() || !reader.is_between_frames();
            prop_assert_eq!(says_otherwise, !may_be_any);
        }

        #[test]
        fn messages_of_any_size_are_checked_and_those_that_are_missing_counted(
            first in 0..1_000_000_u64,
            gaps in prop::collection::vec(0..3_u64, 1..8),
            size in 8..200_000_usize,
        ) {
            let (mut bytes, mut sequence, mut missing) = (Vec::new(), first, 0);
            for (number, gap) in gaps.iter().enumerate() {
                if number > 0 {
                    sequence += 1 + gap;
                    missing += gap;
                }
                bytes.extend(message(sequence, size, false));
            }
            let mut reader = PushReader::new(PushKind::Fanout);
            let (whole, skipped) = read_all(&mut reader, &bytes, 7000).expect("all is right");
            prop_assert_eq!((whole.len(), skipped), (gaps.len(), missing));
            bytes = message(sequence, 0, true);
            prop_assert!(read_all(&mut reader, &bytes, 5).is_ok() && reader.is_over());
        }
    }

    #[test]
    fn frames_in_another_order_again_or_of_another_kind_are_named() {
        let mut frames = stream(&[10, 10]);
        let second = frames.split_off(HEADER_BYTES + 10);
        let mut reader = PushReader::new(PushKind::Stream);
        assert_eq!(read_all(&mut reader, &second, 99), Err(Wrong::Order { expected: 0, found: 1 }));
        let mut reader = PushReader::new(PushKind::Stream);
        let twice = [&frames[..], &frames].concat();
        assert_eq!(read_all(&mut reader, &twice, 99), Err(Wrong::Order { expected: 1, found: 0 }));
        let mut reader = PushReader::new(PushKind::Fanout);
        assert_eq!(read_all(&mut reader, &frames, 99), Err(Wrong::Kind));
        let again = [message(7, 8, false), message(7, 8, false)].concat();
        let mut reader = PushReader::new(PushKind::Fanout);
        assert_eq!(read_all(&mut reader, &again, 99), Err(Wrong::Order { expected: 8, found: 7 }));
        let mut reader = PushReader::new(PushKind::Stream);
        let behind = [stream(&[4]), vec![1]].concat();
        assert_eq!(read_all(&mut reader, &behind, 99), Err(Wrong::BehindLast));
    }

    #[test]
    fn a_server_that_only_echoes_is_told_from_one_that_sends_something_else() {
        for (kind, echo) in [(PushKind::Stream, &b"play\n"[..]), (PushKind::Fanout, b"follow\n")] {
            let word = std::str::from_utf8(&echo[..echo.len() - 1]).unwrap();
            for piece in [1, 99] {
                let mut reader = PushReader::new(kind);
                assert_eq!(read_all(&mut reader, echo, piece), Err(Wrong::Echoed(word)), "{piece}");
            }
        }
        let mut reader = PushReader::new(PushKind::Stream);
        let other = read_all(&mut reader, b"HTTP/1.1 400 Bad Request", 99);
        assert_eq!(other, Err(Wrong::NoFrame { at: 0, found: b'H' }));
        let mut reader = PushReader::new(PushKind::Stream);
        assert_eq!(read_all(&mut reader, b"c11k", 1), Err(Wrong::NoFrame { at: 2, found: b'1' }));
    }
}
