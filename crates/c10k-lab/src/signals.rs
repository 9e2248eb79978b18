//! The signals that end a command in good order.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use c10k_record::Exit;
use signal_hook::consts::{SIGINT, SIGTERM};

/// Signals that have come; a clone hears the same.
#[derive(Clone)]
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
        Exit::of_signal(self.number())
    }

    pub(crate) fn name(&self) -> &'static str {
        if self.number() == SIGTERM { "SIGTERM" } else { "SIGINT" }
    }

    fn number(&self) -> i32 {
        self.number.load(Relaxed) as i32
    }
}
