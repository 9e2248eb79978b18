//! Memory that a thread's connections have given back, on its way to the kernel.

use std::time::{Duration, Instant};

use crate::process;

/// Decides when memory that connections have given back is worth giving back to the kernel.
#[derive(Debug, Default)]
pub struct FreedMemory {
    bytes: usize,
    due_at: Option<Instant>,
}

impl FreedMemory {
    /// Pieces below this are soon used again.
    const SMALL_BYTES: usize = 1 << 10;
    /// Less than this is not worth the walk through the heap.
    const WORTH_BYTES: usize = 1 << 20;
    /// How long to wait for more.
    const AFTER: Duration = Duration::from_secs(1);

    /// A connection kept so many bytes and does not any more.
    pub fn add(&mut self, bytes: usize) {
        if bytes < Self::SMALL_BYTES {
            return;
        }
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes >= Self::WORTH_BYTES && self.due_at.is_none() {
            self.due_at = Some(Instant::now() + Self::AFTER);
        }
    }

    /// When there is something to do.
    #[must_use]
    pub fn due_at(&self) -> Option<Instant> {
        self.due_at
    }

    /// Gives it back if that is due, and counts from nothing again.
    pub fn give_back(&mut self, now: Instant) {
        if self.take(now) {
            process::give_back_free_memory();
        }
    }

    fn take(&mut self, now: Instant) -> bool {
        let is_due = self.due_at.is_some_and(|at| at <= now);
        if is_due {
            *self = Self::default();
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn freed_memory_is_given_back_once_when_it_is_much() {
        let mut freed = FreedMemory::default();
        (0..10_000).for_each(|_| freed.add(FreedMemory::SMALL_BYTES - 1));
        freed.add(FreedMemory::WORTH_BYTES - 1);
        assert_eq!(freed.due_at(), None);
        freed.add(FreedMemory::SMALL_BYTES);
        let due = freed.due_at().unwrap();
        freed.add(FreedMemory::WORTH_BYTES);
        assert_eq!(freed.due_at(), Some(due), "more of it does not put it off");
        assert!(!freed.take(due - Duration::from_millis(1)));
        assert!(freed.take(due) && !freed.take(due) && freed.due_at().is_none());
    }
}
