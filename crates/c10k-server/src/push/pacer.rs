//! Streams: when each viewer is due how much, from one timer wheel.
//!
//! A stream is frames of equal size, each due one interval behind the other; the first at once, and those behind it at a
//! place in the interval that is each viewer's own, so that viewers who came together are not served together. A viewer
//! that has no room is not timed: it keeps its position, and when it has room again it gets what has become due since, up
//! to the bit rate and not beyond.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use c10k_kernel::clock;
use c10k_record::BitRate;
use c10k_wire::push::{Content, MOST_STREAM_BYTES, PushHeader, PushKind};
use c10k_wire::{Key, Wheel};

use super::{Frame, shrink};

/// Of a slow stream a frame is what it plays in so long: what a viewer waits for at the least.
const FRAMES_PER_SECOND: u64 = 10;
/// Times are whole multiples of this, so that one wake serves all that is due within it.
const GRID_US: u64 = 250;

/// All viewers of one worker. Times are µs of CLOCK_MONOTONIC.
#[derive(Debug)]
pub(crate) struct Pacer {
    content: Content,
    bits_per_second: u64,
    /// Of a stream, from its first to its last.
    total_bytes: u64,
    /// Of a frame; the last one of a stream may be shorter.
    frame_bytes: u64,
    viewers: HashMap<u32, Viewer>,
    wheel: Wheel<Key>,
    /// One moment by both clocks.
    epoch: (Instant, u64),
}

#[derive(Debug)]
struct Viewer {
    key: Key,
    begun_us: u64,
    /// Frames that were made.
    frames: u64,
    /// When the wheel is to say that the next one is due; `None` = the viewer is not timed.
    armed_us: Option<u64>,
}

impl Pacer {
    pub(crate) fn new(bitrate: BitRate, duration: Duration, content: Content, now: Instant) -> Self {
        let bytes_per_second = bitrate.bits_per_second / 8;
        let total = u128::from(bitrate.bits_per_second) * duration.as_millis() / 8000;
        Self {
            content,
            bits_per_second: bitrate.bits_per_second,
            total_bytes: u64::try_from(total).unwrap_or(u64::MAX).max(1),
            frame_bytes: (bytes_per_second / FRAMES_PER_SECOND).clamp(1, MOST_STREAM_BYTES as u64),
            viewers: HashMap::new(),
            wheel: Wheel::default(),
            epoch: (now, clock::monotonic_us()),
        }
    }

    /// A viewer has asked; false when it has a stream already.
    pub(crate) fn begin(&mut self, key: Key, now: Instant) -> bool {
        if self.viewers.contains_key(&key.slot()) {
            return false;
        }
        let viewer = Viewer { key, begun_us: self.us(now), frames: 0, armed_us: None };
        self.viewers.insert(key.slot(), viewer);
        true
    }

    pub(crate) fn leave(&mut self, slot: u32) {
        self.viewers.remove(&slot);
        shrink(&mut self.viewers);
    }

    /// How many frames a viewer has been given: the number of the next one.
    pub(crate) fn frames_of(&self, slot: u32) -> u64 {
        self.viewers.get(&slot).map_or(0, |viewer| viewer.frames)
    }

    /// The next frame of a viewer that has room for one, if it is due; else the viewer is timed. With the last one the
    /// viewer is forgotten.
    pub(crate) fn next(
        &mut self,
        slot: u32,
        now: Instant,
        begin: impl FnOnce(usize, &mut Vec<u8>),
        scratch: &mut Vec<u8>,
    ) -> Option<Frame> {
        let now_us = self.us(now);
        let due_us = self.due_us(self.viewers.get(&slot)?);
        let viewer = self.viewers.get_mut(&slot)?;
        if due_us > now_us {
            if viewer.armed_us != Some(due_us) {
                viewer.armed_us = Some(due_us);
                let (key, viewers) = (viewer.key, &self.viewers);
                self.wheel.push(key, due_us, |key, at_us| is_timed(viewers, key, at_us));
            }
            return None;
        }
        viewer.armed_us = None;
        let position = viewer.frames * self.frame_bytes;
        let bytes = (self.total_bytes - position).min(self.frame_bytes);
        let header = PushHeader {
            kind: PushKind::Stream,
            is_last: position + bytes == self.total_bytes,
            sequence: viewer.frames,
            server_us: clock::monotonic_us(),
            payload_bytes: bytes as u32,
        };
        viewer.frames += 1;
        let range = self.content.of_stream(position, bytes as usize);
        let frame = Frame::of(&header, self.content.bytes(), range, begin, scratch);
        if header.is_last {
            self.leave(slot);
        }
        Some(frame)
    }

    /// A viewer that has become due by now.
    pub(crate) fn due(&mut self, now: Instant) -> Option<Key> {
        let now_us = self.us(now);
        let viewers = &self.viewers;
        let (key, _) = self.wheel.due(now_us, |key, at_us| is_timed(viewers, key, at_us))?;
        if let Some(viewer) = self.viewers.get_mut(&key.slot()) {
            viewer.armed_us = None;
        }
        Some(key)
    }

    /// When the clock is next to be looked at.
    pub(crate) fn next_due(&mut self) -> Option<Instant> {
        let viewers = &self.viewers;
        let at_us = self.wheel.next(|key, at_us| is_timed(viewers, key, at_us))?;
        Some(self.epoch.0 + Duration::from_micros(at_us.saturating_sub(self.epoch.1)))
    }

    /// All streams end where they are.
    pub(crate) fn end(&mut self) {
        self.viewers = HashMap::new();
        self.wheel = Wheel::default();
    }

    /// When the next frame of a viewer is due.
    fn due_us(&self, viewer: &Viewer) -> u64 {
        let Some(behind_first) = viewer.frames.checked_sub(1) else { return viewer.begun_us };
        let bytes_us = |bytes: u64| {
            let us = u128::from(bytes) * 8_000_000 / u128::from(self.bits_per_second);
            u64::try_from(us).unwrap_or(u64::MAX)
        };
        let interval_us = bytes_us(self.frame_bytes).max(1);
        // Fibonacci hashing (Knuth, The Art of Computer Programming 3, 6.4): neighbours are far apart.
        let place = u64::from(viewer.key.slot()).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
        let phase_us = ((place * interval_us) >> 24) + 1;
        let at_us = viewer.begun_us + bytes_us(behind_first * self.frame_bytes).saturating_add(phase_us);
        at_us.div_ceil(GRID_US) * GRID_US
    }

    fn us(&self, at: Instant) -> u64 {
        self.epoch.1 + at.saturating_duration_since(self.epoch.0).as_micros() as u64
    }
}

/// Whether a timer is the one that its viewer waits for.
fn is_timed(viewers: &HashMap<u32, Viewer>, key: Key, at_us: u64) -> bool {
    viewers.get(&key.slot()).is_some_and(|viewer| viewer.key == key && viewer.armed_us == Some(at_us))
}

#[cfg(test)]
mod tests {
    use c10k_wire::push::PushReader;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn pacer(bits_per_second: u64, duration: Duration, now: Instant) -> Pacer {
        Pacer::new(BitRate { bits_per_second }, duration, Content::default(), now)
    }

    fn key(slot: u32) -> Key {
        Key::new(slot, 0)
    }

    fn next(pacer: &mut Pacer, slot: u32, now: Instant) -> Option<Frame> {
        pacer.next(slot, now, |_, _| {}, &mut Vec::new())
    }

    fn bytes_of(frame: &Frame) -> Vec<u8> {
        let (head, body) = frame.behind(0);
        [head, body].concat()
    }

    #[test]
    fn a_stream_is_whole_after_its_time_and_never_ahead_of_its_rate_by_more_than_two_frames() {
        let start = Instant::now();
        let mut pacer = pacer(500_000, 1050 * MS, start);
        assert!(pacer.begin(key(7), start) && !pacer.begin(key(7), start));
        let mut reader = PushReader::new(PushKind::Stream);
        let (content, mut bytes) = (Content::default(), 0);
        for ms in 0..=1050 {
            let now = start + ms * MS;
            while pacer.due(now).is_some() {}
            while let Some(frame) = next(&mut pacer, 7, now) {
                let read = reader.read(&content, &bytes_of(&frame)).expect("right bytes");
                bytes += read.payload_bytes as u64;
            }
            let rated = u64::from(ms) * 500_000 / 8000;
            assert!(bytes <= rated + 2 * 6250 && bytes + 62 >= rated.min(65_625), "{bytes} after {ms} ms");
        }
        assert!(reader.is_over() && bytes == 65_625);
        assert!(pacer.viewers.is_empty() && pacer.next_due().is_none());
    }

    #[test]
    fn a_viewer_without_room_is_not_timed_and_gets_what_has_become_due_when_it_has() {
        let start = Instant::now();
        let mut pacer = pacer(80_000, Duration::from_secs(10), start);
        pacer.begin(key(1), start);
        assert!(next(&mut pacer, 1, start).is_some());
        assert!(pacer.next_due().is_none(), "nobody has asked for the next one");
        let later = start + Duration::from_secs(3);
        let frames = std::iter::from_fn(|| next(&mut pacer, 1, later)).count();
        assert!((30..=31).contains(&frames), "{frames} frames of a tenth of a second");
        assert!(pacer.next_due().is_some_and(|due| due <= later + 101 * MS), "it is timed again");
        assert_eq!(pacer.due(later), None);
        assert_eq!(pacer.due(later + 101 * MS), Some(key(1)));
    }

    #[test]
    fn viewers_who_came_together_are_spread_over_the_interval() {
        let start = Instant::now();
        let mut pacer = pacer(500_000, Duration::from_secs(10), start);
        for slot in 0..1000 {
            pacer.begin(key(slot), start);
            assert!(next(&mut pacer, slot, start).is_some() && next(&mut pacer, slot, start).is_none());
        }
        for tenth in 1..=10 {
            let now = start + 10 * tenth * MS;
            let due = std::iter::from_fn(|| pacer.due(now)).count();
            assert!((90..=110).contains(&due), "{due} in the tenth no. {tenth}");
        }
    }

    #[test]
    fn a_timer_of_a_viewer_that_left_is_nobodys() {
        let start = Instant::now();
        let mut pacer = pacer(500_000, Duration::from_secs(10), start);
        pacer.begin(key(3), start);
        next(&mut pacer, 3, start);
        assert!(next(&mut pacer, 3, start).is_none() && pacer.next_due().is_some());
        pacer.leave(3);
        assert!(pacer.next_due().is_none() && pacer.due(start + Duration::from_secs(1)).is_none());
    }

    #[test]
    fn the_slowest_and_the_fastest_stream_have_frames_too() {
        let start = Instant::now();
        let mut slow = pacer(8, Duration::from_millis(1), start);
        slow.begin(key(1), start);
        let frame = next(&mut slow, 1, start).expect("one byte");
        assert!(frame.is_last && frame.bytes() == 33);
        let mut fast = pacer(100_000_000_000, Duration::from_secs(10_000_000), start);
        fast.begin(key(1), start);
        let frames = (0..100).filter(|_| next(&mut fast, 1, start + MS).is_some()).count();
        assert_eq!(frames, 100);
    }
}
