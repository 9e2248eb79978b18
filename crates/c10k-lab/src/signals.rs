//! The signals that end a command in good order.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use c10k_record::Exit;
use signal_hook::consts::{SIGINT, SIGTERM};

/// Signals that have come.
pub(crate) struct Signals {
    stop: Arc<AtomicBool>,
    number: Arc<AtomicUsize>,
}

impl Signals {
    /// A first signal asks for an orderly end, a second one ends the lab at once, and its processes with it.
    pub(crate) fn watch() -> io::Result<Self> {
        let signals = Self { stop: Arc::default(), number: Arc::default() };
        for (signal, code) in [(SIGINT, 130), (SIGTERM, 143)] {
            signal_hook::flag::register_conditional_shutdown(signal, code, Arc::clone(&signals.stop))?;
            signal_hook::flag::register_usize(signal, Arc::clone(&signals.number), signal as usize)?;
            signal_hook::flag::register(signal, Arc::clone(&signals.stop))?;
        }
        Ok(signals)
    }

    pub(crate) fn came(&self) -> bool {
        self.stop.load(Relaxed)
    }

    /// The exit code of who is stopped by it.
    pub(crate) fn exit(&self) -> Exit {
        if self.number.load(Relaxed) == SIGTERM as usize { Exit::Terminated } else { Exit::Interrupted }
    }

    pub(crate) fn name(&self) -> &'static str {
        if self.number.load(Relaxed) == SIGTERM as usize { "SIGTERM" } else { "SIGINT" }
    }
}
