//! One worker as the others see it: its turn, its room, its counts, and the bell that wakes it.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{
    AtomicBool, AtomicU32, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
    fence,
};
use std::time::Duration;

use c10k_kernel::bell::Bell;

use crate::tasks::Turn;

/// Retries of the seqlock: first spinning, then sleeping, long enough for a writer that was preempted to finish.
const QUICK_LOOKS: u32 = 100;
const MOST_LOOKS: u32 = 10_000;
const LOOK_NAP: Duration = Duration::from_micros(200);

/// What a worker shows of itself; on a cache line of its own, so that counting disturbs nobody.
#[repr(align(128))]
#[derive(Debug)]
pub(crate) struct TableControl {
    /// Rung by the conductor alone: no other table is sure to have it. Others may hear the same one.
    bell: Arc<Bell>,
    /// It is this worker's turn to connect.
    connects: AtomicBool,
    /// It is its turn to prove or close what it has.
    walks: AtomicBool,
    /// Slots still free.
    pub(crate) room: AtomicU32,
    /// Number of the last walk over all connections for which this worker needs no turn any more.
    pub(crate) walked: AtomicU32,
    /// Number of the last walk that this worker has finished.
    pub(crate) done: AtomicU32,
    /// Number of the last job that this worker has ended, all that it has to tell of it told.
    pub(crate) worked: AtomicU32,
    /// Connections this worker shall release.
    pub(crate) release: AtomicU64,
    pub(crate) alive: AtomicBool,
    /// Odd while the worker writes the counts below.
    version: AtomicU32,
    pub(crate) attempted: AtomicU64,
    pub(crate) established: AtomicU64,
    pub(crate) verified: AtomicU64,
    pub(crate) open: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) in_flight: AtomicU64,
    /// Those of them that are made: their connect, or what has to be said first, is under way.
    pub(crate) connecting: AtomicU64,
    pub(crate) messages: AtomicU64,
    pub(crate) held: AtomicU64,
    pub(crate) released: AtomicU64,
    /// Closed at the end, and counted before as what it is.
    pub(crate) closed: AtomicU64,
    /// Given up unproven, since the run was stopped.
    pub(crate) aborted: AtomicU64,
    pub(crate) tuples_skipped: AtomicU64,
    /// When a connection was verified last, µs since the run's epoch; 0 before the first.
    pub(crate) last_verified_us: AtomicU64,
}

impl TableControl {
    /// A worker that is not yet there and will hear this bell.
    pub(crate) fn hearing(bell: Arc<Bell>) -> Self {
        Self {
            bell,
            connects: AtomicBool::new(false),
            walks: AtomicBool::new(false),
            room: AtomicU32::new(0),
            walked: AtomicU32::new(0),
            done: AtomicU32::new(0),
            worked: AtomicU32::new(0),
            release: AtomicU64::new(0),
            alive: AtomicBool::new(false),
            version: AtomicU32::new(0),
            attempted: AtomicU64::new(0),
            established: AtomicU64::new(0),
            verified: AtomicU64::new(0),
            open: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            in_flight: AtomicU64::new(0),
            connecting: AtomicU64::new(0),
            messages: AtomicU64::new(0),
            held: AtomicU64::new(0),
            released: AtomicU64::new(0),
            closed: AtomicU64::new(0),
            aborted: AtomicU64::new(0),
            tuples_skipped: AtomicU64::new(0),
            last_verified_us: AtomicU64::new(0),
        }
    }

    /// The worker writes its counts, so that [`TableControl::at_one_moment`] never sees some old and some new.
    pub(crate) fn publish(&self, write: impl FnOnce()) {
        let before = self.version.load(Relaxed);
        self.version.store(before.wrapping_add(1), Relaxed);
        fence(Release);
        write();
        self.version.store(before.wrapping_add(2), Release);
    }

    /// Reads the counts as they were at one moment.
    pub(crate) fn at_one_moment<T>(&self, read: impl Fn() -> T) -> T {
        for look in 0..MOST_LOOKS {
            let before = self.version.load(Acquire);
            let counts = read();
            fence(Acquire);
            if before.is_multiple_of(2) && self.version.load(Relaxed) == before {
                return counts;
            }
            if look < QUICK_LOOKS {
                std::thread::yield_now();
            } else {
                std::thread::sleep(LOOK_NAP);
            }
        }
        read()
    }

    pub(crate) fn wake(&self) {
        self.bell.ring();
    }

    /// Wakes all of these, each bell once.
    pub(crate) fn wake_all<'a>(tables: impl IntoIterator<Item = &'a Arc<Self>>) {
        let mut rung = HashSet::new();
        for table in tables {
            if rung.insert(table.bell_number()) {
                table.wake();
            }
        }
    }

    pub(crate) fn bell_number(&self) -> std::os::fd::RawFd {
        self.bell.number()
    }

    /// Whether it is this worker's turn.
    pub(crate) fn turn(&self, turn: Turn) -> &AtomicBool {
        match turn {
            Turn::Connect => &self.connects,
            Turn::Walk => &self.walks,
        }
    }

    pub(crate) fn give_turn(&self, turn: Turn) {
        self.turn(turn).store(true, Release);
        self.wake();
    }
}

#[cfg(test)]
impl TableControl {
    /// A worker that is not yet there, with a bell of its own.
    pub(crate) fn alone() -> Self {
        Self::hearing(Arc::new(Bell::new().expect("a bell")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_that_belong_together_are_seen_together() {
        let control = TableControl::alone();
        let write = |count: u64| {
            control.publish(|| {
                control.attempted.store(count, Relaxed);
                control.open.store(count, Relaxed);
            });
        };
        std::thread::scope(|scope| {
            scope.spawn(|| (1..=200_000).for_each(write));
            let mut last = 0;
            while last < 200_000 {
                let look = || (control.attempted.load(Relaxed), control.open.load(Relaxed));
                let (attempted, open) = control.at_one_moment(look);
                assert_eq!(attempted, open);
                last = open;
            }
        });
    }
}
