//! Output that no input has asked for message by message: what a worker pushes, and what of it waits.
//!
//! A connection that is pushed nothing has no entry in here, and where no workload is given there is no [`Pushes`] at all.
//! The bytes of a payload are shared: of a stream one buffer for all of them, of a fan-out one frame for each message. What
//! a peer does not take is not copied: at most one frame a connection waits ([`Rest`]), by its place in what is shared.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use c10k_record::{BitRate, Payload, Span};
use c10k_wire::push::{Content, HEADER_BYTES, PushHeader, PushKind};

mod fanout;
mod follows;
mod pacer;

pub(crate) use fanout::Fanout;
pub(crate) use follows::Follows;
pub(crate) use pacer::Pacer;

/// The longest header of a server's WebSocket frame (RFC 6455 section 5.2), and a header of ours.
const MOST_HEAD_BYTES: usize = 10 + HEADER_BYTES;

/// What a server pushes, and how much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PushPlan {
    /// To each who asks: bytes at this rate, for this time.
    Stream { bitrate: BitRate, duration: Span },
    /// To all who follow: one message so often.
    Fanout { every: Span, payload: Payload },
}

impl PushPlan {
    pub(crate) fn kind(&self) -> PushKind {
        match self {
            Self::Stream { .. } => PushKind::Stream,
            Self::Fanout { .. } => PushKind::Fanout,
        }
    }
}

impl std::fmt::Display for PushPlan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Stream { bitrate, duration } => write!(f, "stream of {bitrate} for {duration}"),
            Self::Fanout { every, payload } => write!(f, "fanout of {payload} B every {every}"),
        }
    }
}

/// One frame as it is sent: a head of its own, and bytes that are shared.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    head: [u8; MOST_HEAD_BYTES],
    head_bytes: u8,
    body: Arc<[u8]>,
    from: u32,
    to: u32,
    /// Nothing comes behind it.
    pub(crate) is_last: bool,
}

impl Frame {
    /// A frame of `range` of `body`; `begin` writes what the protocol puts before a message of so many bytes.
    pub(crate) fn of(
        header: &PushHeader,
        body: &Arc<[u8]>,
        range: std::ops::Range<usize>,
        begin: impl FnOnce(usize, &mut Vec<u8>),
        scratch: &mut Vec<u8>,
    ) -> Self {
        scratch.clear();
        begin(HEADER_BYTES + range.len(), scratch);
        scratch.extend_from_slice(&header.encode());
        let mut head = [0; MOST_HEAD_BYTES];
        head[..scratch.len()].copy_from_slice(scratch);
        Self {
            head,
            head_bytes: scratch.len() as u8,
            body: Arc::clone(body),
            from: range.start as u32,
            to: range.end as u32,
            is_last: header.is_last,
        }
    }

    /// A frame that is shared as a whole.
    pub(crate) fn whole(bytes: Arc<[u8]>) -> Self {
        let to = bytes.len() as u32;
        Self { head: [0; MOST_HEAD_BYTES], head_bytes: 0, body: bytes, from: 0, to, is_last: false }
    }

    /// Bytes of it.
    pub(crate) fn bytes(&self) -> usize {
        usize::from(self.head_bytes) + (self.to - self.from) as usize
    }

    /// What is still to be sent when so much has gone: of the head, and of what is shared.
    pub(crate) fn behind(&self, sent: usize) -> (&[u8], &[u8]) {
        let head = &self.head[..usize::from(self.head_bytes)];
        let body = &self.body[self.from as usize..self.to as usize];
        match sent.checked_sub(head.len()) {
            None => (&head[sent..], body),
            Some(of_body) => (&[], &body[of_body..]),
        }
    }
}

/// The frame that a connection is in the middle of.
#[derive(Debug)]
pub(crate) struct Rest {
    pub(crate) frame: Frame,
    pub(crate) sent: usize,
    moved_at: Instant,
}

impl Rest {
    pub(crate) fn new(frame: Frame, sent: usize, now: Instant) -> Self {
        Self { frame, sent, moved_at: now }
    }

    /// Counts `sent` more bytes as gone; whether that was all.
    pub(crate) fn advance(&mut self, sent: usize, now: Instant) -> bool {
        self.sent += sent;
        if sent > 0 {
            self.moved_at = now;
        }
        self.sent == self.frame.bytes()
    }
}

/// What one worker pushes.
#[derive(Debug)]
pub(crate) struct Pushes {
    /// By slot: the connections that are in the middle of a frame for want of room.
    pub(crate) rests: HashMap<u32, Rest>,
    pub(crate) work: Work,
    /// Where a frame's head is put together.
    pub(crate) scratch: Vec<u8>,
}

/// Of what kind it is.
#[derive(Debug)]
pub(crate) enum Work {
    Stream(Pacer),
    Fanout(Follows),
}

impl Pushes {
    pub(crate) fn new(plan: PushPlan, content: &Content, fanout: &Arc<Fanout>) -> Self {
        let work = match plan {
            PushPlan::Stream { bitrate, duration } => {
                Work::Stream(Pacer::new(bitrate, duration.0, content.clone(), Instant::now()))
            }
            PushPlan::Fanout { .. } => Work::Fanout(Follows::new(Arc::clone(fanout))),
        };
        Self { rests: HashMap::new(), work, scratch: Vec::new() }
    }

    pub(crate) fn kind(&self) -> PushKind {
        match self.work {
            Work::Stream(_) => PushKind::Stream,
            Work::Fanout(_) => PushKind::Fanout,
        }
    }

    /// The slots of those whose peers have taken nothing of a frame for `limit` or longer.
    pub(crate) fn stalled(&self, now: Instant, limit: Duration) -> Vec<u32> {
        let stuck = |rest: &Rest| now.saturating_duration_since(rest.moved_at) >= limit;
        self.rests.iter().filter(|(_, rest)| stuck(rest)).map(|(&slot, _)| slot).collect()
    }

    /// Nothing more is pushed to a connection: but the frame that it is in the middle of goes out.
    pub(crate) fn leave(&mut self, slot: u32) {
        match &mut self.work {
            Work::Stream(pacer) => pacer.leave(slot),
            Work::Fanout(follows) => follows.leave(slot),
        }
    }
}

/// After a crowd a map gives its memory back.
fn shrink<V>(map: &mut HashMap<u32, V>) {
    if map.is_empty() && map.capacity() > 64 {
        *map = HashMap::new();
    }
}

impl Pushes {
    /// The frame is out, or its connection is gone.
    pub(crate) fn forget_rest(&mut self, slot: u32) {
        self.rests.remove(&slot);
        shrink(&mut self.rests);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_goes_on_where_it_stopped_in_its_head_or_in_what_is_shared() {
        let content = Content::default();
        let header = PushHeader {
            kind: PushKind::Stream,
            is_last: false,
            sequence: 1,
            server_us: 2,
            payload_bytes: 100,
        };
        let range = content.of_stream(7, 100);
        let begin = |bytes: usize, out: &mut Vec<u8>| out.extend_from_slice(&[0x82, bytes as u8]);
        let frame = Frame::of(&header, content.bytes(), range.clone(), begin, &mut Vec::new());
        let mut all = vec![0x82, 132];
        all.extend(header.encode());
        all.extend(&content.bytes()[range]);
        assert_eq!(frame.bytes(), all.len());
        for sent in 0..=all.len() {
            let (head, body) = frame.behind(sent);
            assert_eq!([head, body].concat(), all[sent..], "{sent}");
        }
    }

    #[test]
    fn a_rest_is_stalled_when_none_of_it_has_gone_for_so_long() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let frame = Frame::whole((*b"0123456789").into());
        let mut rest = Rest::new(frame, 3, start);
        assert!(!rest.advance(0, start + 5 * second) && !rest.advance(2, start + 9 * second));
        let plan = PushPlan::Stream { bitrate: BitRate { bits_per_second: 8000 }, duration: Span::secs(1) };
        let fanout = Arc::new(Fanout::default());
        let mut pushes = Pushes::new(plan, &Content::default(), &fanout);
        pushes.rests.insert(4, rest);
        assert_eq!(pushes.stalled(start + 18 * second, 10 * second), [0_u32; 0]);
        assert_eq!(pushes.stalled(start + 19 * second, 10 * second), [4]);
        assert!(pushes.rests.get_mut(&4).is_some_and(|rest| rest.advance(5, start)));
        pushes.forget_rest(4);
        assert!(pushes.rests.is_empty());
    }
}
