//! Signals that have come.

use std::sync::Arc;
use std::sync::atomic::{
    AtomicBool, AtomicUsize,
    Ordering::{Acquire, Relaxed},
};

/// Signals that have come, as set by the handlers.
#[derive(Clone, Default)]
pub(crate) struct Signals {
    pub(crate) stop: Arc<AtomicBool>,
    pub(crate) number: Arc<AtomicUsize>,
}

impl Signals {
    /// The first signal that asked for the end.
    pub(crate) fn came(&self) -> Option<i32> {
        self.stop.load(Acquire).then(|| self.number.load(Relaxed) as i32)
    }
}
