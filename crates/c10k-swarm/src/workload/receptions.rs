//! Connections that a server pushes to: a place for each while it does.

use c10k_wire::push::{Content, PushHeader, PushKind, PushReader, Wrong};

use super::pushed::Pushed;
use crate::speech::Piece;

/// What a viewer has in reserve when it begins to play, and again after each stall, µs.
const RESERVE_US: u64 = 1_000_000;
/// Places that are kept when nothing is received.
const SPARE: usize = 1024;

/// One connection's. Times are µs of CLOCK_MONOTONIC.
#[derive(Clone, Debug)]
struct Reception {
    reader: PushReader,
    asked_us: u64,
    /// When the first byte came.
    first_us: Option<u64>,
    /// When the first byte of the stream is played, or would have been, so that the next one is in time.
    plays_from_us: u64,
    /// Bytes of payloads.
    bytes: u64,
    has_stalled: bool,
    /// It has asked the server to push no more: the answer to that is the last frame, whatever comes before it.
    is_leaving: bool,
    end: Option<ReceptionEnd>,
}

/// How a reception has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReceptionEnd {
    /// The last frame has come.
    Over,
    Wrong(Wrong),
}

/// Those of one worker, named by numbers that are used again.
#[derive(Debug)]
pub(crate) struct Receptions {
    kind: PushKind,
    content: Content,
    /// Of a stream.
    bits_per_second: u64,
    /// Whether the server's clock is this machine's.
    has_one_clock: bool,
    places: Vec<Reception>,
    free: Vec<u32>,
}

impl Receptions {
    pub(crate) fn new(kind: PushKind, bits_per_second: u64, has_one_clock: bool) -> Self {
        let (places, free) = (Vec::new(), Vec::new());
        Self { kind, content: Content::default(), bits_per_second, has_one_clock, places, free }
    }

    pub(crate) fn kind(&self) -> PushKind {
        self.kind
    }

    /// Whether nothing is received on any connection.
    pub(crate) fn is_empty(&self) -> bool {
        self.free.len() == self.places.len()
    }

    /// A connection has asked.
    pub(crate) fn begin(&mut self, now_us: u64, pushed: &mut Pushed) -> u32 {
        pushed.asked += 1;
        pushed.first_asked_us.get_or_insert(now_us);
        let reception = Reception {
            reader: PushReader::new(self.kind),
            asked_us: now_us,
            first_us: None,
            plays_from_us: 0,
            bytes: 0,
            has_stalled: false,
            is_leaving: false,
            end: None,
        };
        match self.free.pop() {
            Some(number) => {
                self.places[number as usize] = reception;
                number
            }
            None => {
                self.places.push(reception);
                (self.places.len() - 1) as u32
            }
        }
    }

    /// Whether a frame has begun that is not whole.
    pub(crate) fn is_within(&self, number: u32) -> bool {
        !self.places[number as usize].reader.is_between_frames()
    }

    /// A piece of what the server pushes has come. Says how many frames it has made whole.
    pub(crate) fn hear(&mut self, number: u32, piece: &Piece<'_>, now_us: u64, pushed: &mut Pushed) -> u64 {
        let has_one_clock = self.has_one_clock;
        let reception = &mut self.places[number as usize];
        let mut rest = piece.bytes;
        let mut frames = 0;
        while !rest.is_empty() && !matches!(reception.end, Some(ReceptionEnd::Wrong(_))) {
            let read = match reception.reader.read(&self.content, rest) {
                Ok(read) => read,
                Err(wrong) => {
                    reception.end = Some(ReceptionEnd::Wrong(wrong));
                    pushed.wrong += 1;
                    pushed.trouble.get_or_insert(wrong);
                    return frames;
                }
            };
            rest = &rest[read.taken..];
            pushed.last_byte_us = now_us;
            pushed.bytes += read.payload_bytes as u64;
            let is_first = reception.first_us.is_none();
            if is_first {
                reception.first_us = Some(now_us);
                reception.plays_from_us = now_us + RESERVE_US;
                pushed.start_up.record_us(now_us.saturating_sub(reception.asked_us));
            }
            if self.kind == PushKind::Stream && read.payload_bytes > 0 {
                reception.plays_on(now_us, self.bits_per_second, pushed);
                reception.bytes += read.payload_bytes as u64;
            }
            if let Some(header) = read.whole {
                frames += u64::from(header.payload_bytes > 0);
                reception.has_whole(&header, now_us, has_one_clock, pushed);
            }
        }
        frames
    }

    /// A connection has asked the server to push no more.
    pub(crate) fn leaves(&mut self, number: u32) {
        self.places[number as usize].is_leaving = true;
    }

    /// How it has ended, if it has.
    pub(crate) fn end_of(&self, number: u32) -> Option<ReceptionEnd> {
        self.places[number as usize].end
    }

    /// It is over, or its connection is gone: a viewer that waits for bytes by then has stalled.
    pub(crate) fn end(&mut self, number: u32, now_us: u64, pushed: &mut Pushed) {
        let reception = &mut self.places[number as usize];
        let is_waiting = self.kind == PushKind::Stream && reception.end.is_none();
        if is_waiting && reception.first_us.is_some() {
            reception.plays_on(now_us, self.bits_per_second, pushed);
        }
        self.free.push(number);
        if self.is_empty() && self.places.capacity() > SPARE {
            (self.places, self.free) = (Vec::new(), Vec::new());
        }
    }
}

impl Reception {
    /// The next byte of the stream is there by now: was it in time?
    fn plays_on(&mut self, now_us: u64, bits_per_second: u64, pushed: &mut Pushed) {
        let played_us = u128::from(self.bytes) * 8_000_000 / u128::from(bits_per_second.max(1));
        let wanted_us = self.plays_from_us.saturating_add(u64::try_from(played_us).unwrap_or(u64::MAX));
        let Some(late_us) = now_us.checked_sub(wanted_us).filter(|late_us| *late_us > 0) else { return };
        pushed.stall.record_us(late_us);
        pushed.stalled_viewers += u64::from(!std::mem::replace(&mut self.has_stalled, true));
        self.plays_from_us += late_us + RESERVE_US;
    }

    /// A frame is whole and right.
    fn has_whole(&mut self, header: &PushHeader, now_us: u64, has_one_clock: bool, pushed: &mut Pushed) {
        if header.is_last && self.is_leaving && header.payload_bytes > 0 {
            // It has ended by itself, and the server answers all the same.
            self.reader = PushReader::new(header.kind);
        } else if header.is_last {
            self.end = Some(ReceptionEnd::Over);
        }
        if header.payload_bytes == 0 {
            return;
        }
        match header.kind {
            PushKind::Stream => pushed.whole += u64::from(header.is_last),
            PushKind::Fanout => {
                let receipt_us = has_one_clock.then(|| now_us.saturating_sub(header.server_us));
                pushed.rounds.received(header.sequence, header.server_us, receipt_us);
                if self.bytes == 0 {
                    pushed.rounds.follows_from(header.server_us);
                }
                self.bytes += u64::from(header.payload_bytes);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use c10k_wire::push::HEADER_BYTES;

    use super::*;

    const SECOND_US: u64 = 1_000_000;

    /// Frames of a stream of so many bytes each, the last one marked.
    fn frames(count: usize, bytes: usize) -> Vec<Vec<u8>> {
        let content = Content::default();
        let frame = |number: usize| {
            let header = PushHeader {
                kind: PushKind::Stream,
                is_last: number + 1 == count,
                sequence: number as u64,
                server_us: 0,
                payload_bytes: bytes as u32,
            };
            let mut frame = header.encode().to_vec();
            frame.extend(&content.bytes()[content.of_stream((number * bytes) as u64, bytes)]);
            frame
        };
        (0..count).map(frame).collect()
    }

    /// What a viewer of 8,000 bit/s sees of frames of 100 ms that come at these times.
    fn seen(times_us: &[u64]) -> Pushed {
        let mut pushed = Pushed::default();
        let mut receptions = Receptions::new(PushKind::Stream, 8000, true);
        let number = receptions.begin(0, &mut pushed);
        for (frame, now_us) in frames(times_us.len(), 100).iter().zip(times_us) {
            let piece = Piece { bytes: frame, is_message: false, is_binary: true };
            receptions.hear(number, &piece, *now_us, &mut pushed);
        }
        assert_eq!(receptions.end_of(number), Some(ReceptionEnd::Over));
        receptions.end(number, 100 * SECOND_US, &mut pushed);
        assert!(receptions.is_empty());
        pushed
    }

    #[test]
    fn a_stream_that_is_late_by_less_than_a_second_does_not_stall() {
        let in_time: Vec<u64> = (0..30).map(|number| 50_000 + number * 100_000).collect();
        let pushed = seen(&in_time);
        assert_eq!((pushed.whole, pushed.stalled_viewers, pushed.stall.count()), (1, 0, 0));
        assert_eq!((pushed.bytes, pushed.start_up.summary().count), (3000, 1));
        let late: Vec<u64> = in_time
            .iter()
            .enumerate()
            .map(|(number, us)| us + if number > 9 { 990_000 } else { 0 })
            .collect();
        assert_eq!(seen(&late).stall.count(), 0);
    }

    #[test]
    fn a_gap_of_more_than_the_reserve_is_one_stall_and_is_as_long_as_nothing_played() {
        let times: Vec<u64> =
            (0..30).map(|number| number * 100_000 + if number > 9 { 3 * SECOND_US } else { 0 }).collect();
        let pushed = seen(&times);
        let stall = pushed.stall.summary();
        assert_eq!((pushed.stalled_viewers, stall.count, pushed.whole), (1, 1, 1));
        assert!(stall.max.is_some_and(|us| (1_980_000..=2_020_000).contains(&us)), "{stall:?}");
    }

    #[test]
    fn a_viewer_that_still_waits_at_the_end_has_stalled_and_is_not_whole() {
        let mut pushed = Pushed::default();
        let mut receptions = Receptions::new(PushKind::Stream, 8000, true);
        let number = receptions.begin(0, &mut pushed);
        let piece = Piece { bytes: &frames(9, 100)[0], is_message: true, is_binary: true };
        assert_eq!(receptions.hear(number, &piece, 10, &mut pushed), 1);
        assert!(!receptions.is_within(number));
        receptions.end(number, 5 * SECOND_US, &mut pushed);
        assert_eq!((pushed.whole, pushed.stalled_viewers, pushed.wrong), (0, 1, 0));
        // One that never began has no stall, and is not whole either.
        let number = receptions.begin(0, &mut pushed);
        receptions.end(number, 5 * SECOND_US, &mut pushed);
        assert_eq!((pushed.asked, pushed.whole, pushed.stalled_viewers), (2, 0, 1));
    }

    #[test]
    fn wrong_bytes_and_an_echo_of_the_word_are_named_once() {
        let mut pushed = Pushed::default();
        let mut receptions = Receptions::new(PushKind::Stream, 8000, true);
        let (echoed, wrong) = (receptions.begin(0, &mut pushed), receptions.begin(0, &mut pushed));
        let mut piece = |number, bytes: &[u8]| {
            let piece = Piece { bytes, is_message: false, is_binary: true };
            receptions.hear(number, &piece, 10, &mut pushed);
            receptions.end_of(number)
        };
        assert_eq!(piece(echoed, b"play\n"), Some(ReceptionEnd::Wrong(Wrong::Echoed("play"))));
        assert_eq!(piece(echoed, b"more"), Some(ReceptionEnd::Wrong(Wrong::Echoed("play"))));
        let mut bytes = frames(1, 100).remove(0);
        bytes[HEADER_BYTES + 5] ^= 1;
        assert_eq!(piece(wrong, &bytes), Some(ReceptionEnd::Wrong(Wrong::Content { sequence: 0, at: 5 })));
        assert_eq!((pushed.wrong, pushed.trouble), (2, Some(Wrong::Echoed("play"))));
    }

    #[test]
    fn who_leaves_as_the_stream_ends_by_itself_awaits_the_answer_behind_it() {
        let mut pushed = Pushed::default();
        let mut receptions = Receptions::new(PushKind::Stream, 8000, true);
        let number = receptions.begin(0, &mut pushed);
        receptions.leaves(number);
        let kind = PushKind::Stream;
        let answer = PushHeader { kind, is_last: true, sequence: 1, server_us: 0, payload_bytes: 0 }.encode();
        let mut ends = [&frames(1, 100)[0][..], &answer[..]].map(|bytes| {
            receptions.hear(number, &Piece { bytes, is_message: false, is_binary: true }, 10, &mut pushed);
            receptions.end_of(number)
        });
        ends.reverse();
        assert_eq!((ends, pushed.whole, pushed.wrong), ([Some(ReceptionEnd::Over), None], 1, 0));
    }
}
