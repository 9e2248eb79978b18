//! One worker as the others see it: its turn, its room, its counts, and the bell that wakes it.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Release};

use c10k_kernel::bell::Bell;

/// What a worker shows of itself; on a cache line of its own, so that counting disturbs nobody.
#[repr(align(128))]
#[derive(Debug)]
pub(crate) struct TableControl {
    /// Rung by the conductor alone: no other table is sure to have it.
    bell: Bell,
    /// It is this worker's turn to connect, verify or close.
    pub(crate) turn: AtomicBool,
    /// Slots still free.
    pub(crate) room: AtomicU32,
    /// The last stage (by its sequence number) whose connections this worker has all begun to treat.
    pub(crate) walked: AtomicU32,
    /// The last stage that this worker has finished.
    pub(crate) done: AtomicU32,
    /// Connections this worker shall release.
    pub(crate) release: AtomicU64,
    pub(crate) alive: AtomicBool,
    pub(crate) attempted: AtomicU64,
    pub(crate) established: AtomicU64,
    pub(crate) verified: AtomicU64,
    pub(crate) open: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) in_flight: AtomicU64,
    pub(crate) messages: AtomicU64,
    pub(crate) held: AtomicU64,
    pub(crate) released: AtomicU64,
    pub(crate) tuples_skipped: AtomicU64,
}

impl TableControl {
    /// A worker that is not yet there.
    ///
    /// # Errors
    /// As [`Bell::new`].
    pub(crate) fn new() -> std::io::Result<Self> {
        Ok(Self {
            bell: Bell::new()?,
            turn: AtomicBool::new(false),
            room: AtomicU32::new(0),
            walked: AtomicU32::new(0),
            done: AtomicU32::new(0),
            release: AtomicU64::new(0),
            alive: AtomicBool::new(false),
            attempted: AtomicU64::new(0),
            established: AtomicU64::new(0),
            verified: AtomicU64::new(0),
            open: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            in_flight: AtomicU64::new(0),
            messages: AtomicU64::new(0),
            held: AtomicU64::new(0),
            released: AtomicU64::new(0),
            tuples_skipped: AtomicU64::new(0),
        })
    }

    pub(crate) fn wake(&self) {
        self.bell.ring();
    }

    pub(crate) fn bell_number(&self) -> std::os::fd::RawFd {
        self.bell.number()
    }

    pub(crate) fn give_turn(&self) {
        self.turn.store(true, Release);
        self.wake();
    }
}
