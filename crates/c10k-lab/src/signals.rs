//! The signals that end a command in good order.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use c10k_kernel::process::is_ignored;
use c10k_record::Exit;
use signal_hook::SigId;
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};

use crate::say::color::Color;
use crate::say::printer::Printer;

/// The signals that end a command in good order: SIGHUP and SIGQUIT too, unless whoever started it has asked for them to
/// be ignored, as nohup(1) does.
pub(crate) fn ending_signals() -> impl Iterator<Item = i32> {
    let unless_ignored = [SIGHUP, SIGQUIT].into_iter().filter(|signal| !is_ignored(*signal));
    [SIGINT, SIGTERM].into_iter().chain(unless_ignored)
}

/// Signals that have come; a clone hears the same.
#[derive(Clone)]
pub(crate) struct Signals {
    stop: Arc<AtomicBool>,
    number: Arc<AtomicUsize>,
    /// What ends the lab at once when a second one comes.
    at_once: Vec<SigId>,
}

impl Signals {
    /// A first signal asks for an orderly end, a second one ends the lab at once, and its processes with it.
    pub(crate) fn watch() -> io::Result<Self> {
        let mut signals = Self { stop: Arc::default(), number: Arc::default(), at_once: Vec::new() };
        for signal in ending_signals() {
            signals.at_once.push(signal_hook::flag::register_conditional_shutdown(
                signal,
                Exit::of_signal(signal).code().into(),
                Arc::clone(&signals.stop),
            )?);
            signal_hook::flag::register_usize(signal, Arc::clone(&signals.number), signal as usize)?;
            signal_hook::flag::register(signal, Arc::clone(&signals.stop))?;
        }
        Ok(signals)
    }

    /// From now on a second signal says these words before it ends the lab at once: nobody else is left to say them.
    /// It takes a thread, and so comes after the lab has entered its namespace.
    pub(crate) fn say_at_the_second(&self, words: String) -> io::Result<()> {
        let mut came = self.came();
        let mut coming = signal_hook::iterator::Signals::new(ending_signals())?;
        std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
            for signal in coming.forever() {
                if std::mem::replace(&mut came, true) {
                    Printer::new(Color::Never).say(&words);
                    signal_hook::low_level::exit(Exit::of_signal(signal).code().into());
                }
            }
        })?;
        for id in &self.at_once {
            signal_hook::low_level::unregister(*id);
        }
        Ok(())
    }

    pub(crate) fn came(&self) -> bool {
        self.stop.load(Relaxed)
    }

    /// The exit code of who is stopped by it.
    pub(crate) fn exit(&self) -> Exit {
        Exit::of_signal(self.number())
    }

    pub(crate) fn name(&self) -> &'static str {
        let named = [(SIGINT, "SIGINT"), (SIGHUP, "SIGHUP"), (SIGQUIT, "SIGQUIT")];
        named.iter().find(|(signal, _)| *signal == self.number()).map_or("SIGTERM", |(_, name)| name)
    }

    /// Its name as people know it.
    pub(crate) fn in_words(&self) -> &'static str {
        if self.number() == SIGINT { "Ctrl-C" } else { self.name() }
    }

    pub(crate) fn number(&self) -> i32 {
        self.number.load(Relaxed) as i32
    }
}
