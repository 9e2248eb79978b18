//! What ends a step early, and what is waited for between two of them.
//!
//! A step ends its own growth while the reserve is still whole. The brake is for what nobody foresaw: another program
//! that takes memory meanwhile, or the check at the end, which keeps no reserve.

use std::time::{Duration, Instant};

use crate::host::headroom::{Headroom, Left};
use crate::signals::Signals;

/// Between two looks at the memory that is left.
const LOOK: Duration = Duration::from_millis(100);
/// The longest that memory of a step that is over is waited for: a million sockets take the kernel seconds to free.
const LONGEST_RETURN: Duration = Duration::from_secs(30);

/// What ends a run early: a signal, or memory that comes to its end.
pub(super) struct Brake<'a> {
    signals: &'a Signals,
    memory: Headroom,
    /// Before the first step.
    at_start: Option<Left>,
    last: Option<Instant>,
    /// What was left when it was too little.
    low: Option<Left>,
}

impl<'a> Brake<'a> {
    pub(super) fn new(signals: &'a Signals, mut memory: Headroom) -> Self {
        let at_start = memory.left();
        Self { signals, memory, at_start, last: None, low: None }
    }

    /// A signal came, or half of the reserve is gone.
    pub(super) fn says_stop(&mut self) -> bool {
        if self.last.is_none_or(|last| last.elapsed() >= LOOK) {
            self.last = Some(Instant::now());
            self.low = self.low.or_else(|| self.memory.left().filter(is_low));
        }
        self.low.is_some() || self.came()
    }

    /// What was left when memory was what stopped it.
    pub(super) fn was_low(&self) -> Option<Left> {
        self.low
    }

    /// The reserve, bytes.
    pub(super) fn reserve_bytes(&self) -> u64 {
        self.at_start.map_or(0, |left| left.reserve_bytes)
    }

    pub(super) fn came(&self) -> bool {
        self.signals.came()
    }

    pub(super) fn name(&self) -> &'static str {
        self.signals.name()
    }

    /// Lets go, and waits until the memory of the step before is back: the kernel frees sockets and namespaces after their
    /// processes have ended.
    pub(super) fn await_memory(&mut self) {
        self.low = None;
        let Some(at_start) = self.at_start.map(|left| left.bytes) else { return };
        let now = self.memory.left().map_or(at_start, |left| left.bytes);
        // What a small step has taken is in nobody's way.
        if now > at_start - at_start / 10 {
            return;
        }
        let wanted = at_start - at_start / 100;
        let (until, mut most, mut since) = (Instant::now() + LONGEST_RETURN, 0, Instant::now());
        while !self.came() && Instant::now() < until {
            let Some(left) = self.memory.left() else { return };
            if left.bytes > most + most / 500 {
                (most, since) = (left.bytes, Instant::now());
            }
            // What does not come back any more is somebody else's now.
            if left.bytes >= wanted || since.elapsed() > LONGEST_RETURN / 10 {
                return;
            }
            std::thread::sleep(LOOK);
        }
    }
}

fn is_low(left: &Left) -> bool {
    left.bytes < left.reserve_bytes / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_brake_is_for_the_second_half_of_the_reserve() {
        let left = |bytes| Left { in_a_group: false, bytes, reserve_bytes: 1_000, each_bytes: 1 };
        assert!(!is_low(&left(999)) && !is_low(&left(500)) && is_low(&left(499)));
    }
}
