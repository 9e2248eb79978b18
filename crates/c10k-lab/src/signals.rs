//! The signals that end a command in good order.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use c10k_kernel::process::is_ignored;
use c10k_plan::say::color::Color;
use c10k_plan::say::printer::Printer;
use c10k_record::Exit;
use nix::sys::signal::{SigSet, SigmaskHow, pthread_sigmask};
use signal_hook::SigId;
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};

use c10k_report::tui;

/// The signals that end a command in good order: SIGHUP and SIGQUIT too, unless its parent has asked for them to
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

/// Signals that come meanwhile are delivered to this thread afterwards.
struct HeldBack(SigSet);

impl HeldBack {
    fn begin() -> io::Result<Self> {
        let mut before = SigSet::empty();
        pthread_sigmask(SigmaskHow::SIG_BLOCK, Some(&SigSet::all()), Some(&mut before))?;
        Ok(Self(before))
    }
}

impl Drop for HeldBack {
    fn drop(&mut self) {
        let _ = pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&self.0), None);
    }
}

impl Signals {
    /// A first signal asks for an orderly end, a second one ends the lab at once, and its processes with it.
    pub(crate) fn watch() -> io::Result<Self> {
        let mut signals = Self { stop: Arc::default(), number: Arc::default(), at_once: Vec::new() };
        // Three actions answer one signal. One that comes between them would find only the first, and be lost.
        let _held_back = HeldBack::begin()?;
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
                    tui::restore();
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

#[cfg(test)]
mod tests {
    use signal_hook::consts::SIGWINCH;

    use super::*;

    #[test]
    fn a_signal_that_comes_while_signals_are_held_back_is_heard_afterwards() {
        let heard = Arc::new(AtomicBool::new(false));
        signal_hook::flag::register(SIGWINCH, Arc::clone(&heard)).expect("registered");
        let held_back = HeldBack::begin().expect("held back");
        // To this thread alone: another one of the test's process does not hold it back.
        signal_hook::low_level::raise(SIGWINCH).expect("raised");
        assert!(!heard.load(Relaxed));
        drop(held_back);
        assert!(heard.load(Relaxed));
    }
}
