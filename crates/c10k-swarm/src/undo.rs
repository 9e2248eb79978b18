//! What a swarm has changed on its host, and puts back however it ends.

use std::io::{self, Write as _};
use std::sync::atomic::Ordering::{Relaxed, Release};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use c10k_kernel::process::is_ignored;
use c10k_profile::AppliedGuard;
use c10k_record::{Exit, Warning};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};

use crate::add_ips::{AddedIps, Removed};
use crate::signals::Signals;

/// Settings and addresses of this process: put back when it is dropped, however its owner returns, and first of all
/// by a signal that ends the process at once.
#[derive(Default)]
pub(crate) struct Undo(Arc<Mutex<Changes>>);

/// What there is to put back.
#[derive(Default)]
pub(crate) struct Changes {
    pub(crate) settings: Option<AppliedGuard>,
    pub(crate) addresses: Option<AddedIps>,
}

impl Undo {
    /// Locks it while something is changed, so that a signal waits until what was changed is known here.
    pub(crate) fn changes(&self) -> MutexGuard<'_, Changes> {
        lock(&self.0)
    }

    /// Watches SIGINT, SIGTERM, SIGHUP and SIGQUIT: the first one asks for an orderly end; a second one puts
    /// everything back and ends the process there and then, with [`Exit::Broke`] if that failed. SIGHUP and SIGQUIT
    /// are left ignored where the one who started it has asked for that. To be called before anything is changed.
    ///
    /// # Errors
    /// As sigaction(2) and pipe(2), or when no thread can be started.
    pub(crate) fn watch_signals(&self) -> io::Result<Signals> {
        let unless_ignored = [SIGHUP, SIGQUIT].into_iter().filter(|signal| !is_ignored(*signal));
        let watched = [SIGINT, SIGTERM].into_iter().chain(unless_ignored);
        let mut coming = signal_hook::iterator::Signals::new(watched)?;
        let signals = Signals::default();
        // The changes and not this value: the thread outlives its owner, and must not keep it from being dropped.
        let (changes, told) = (Arc::clone(&self.0), signals.clone());
        std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
            for signal in coming.forever() {
                if !told.stop.load(Relaxed) {
                    told.number.store(signal as usize, Relaxed);
                    told.stop.store(true, Release);
                    continue;
                }
                // Held until the process is gone: nobody changes anything any more.
                let mut changes = lock(&changes);
                let back = changes.put_back();
                let exit = if back.is_whole() { Exit::of_signal(signal) } else { Exit::Broke };
                let mut stderr = io::stderr().lock();
                // A stderr that is gone is no reason to stay.
                let _ = back.said.iter().try_for_each(|line| writeln!(stderr, "{line}"));
                signal_hook::low_level::exit(exit.code().into());
            }
        })?;
        Ok(signals)
    }
}

impl Drop for Undo {
    fn drop(&mut self) {
        // For a panic only: a run that returns has put everything back and told what came of it.
        self.changes().put_back();
    }
}

fn lock(changes: &Mutex<Changes>) -> MutexGuard<'_, Changes> {
    changes.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Changes {
    /// Puts everything back and tells what came of it.
    pub(crate) fn put_back(&mut self) -> PutBack {
        let mut back = PutBack::default();
        if let Some(added) = self.addresses.take() {
            back.take_in(&added.remove());
        }
        match self.settings.take().map(AppliedGuard::roll_back) {
            Some(rolled) if !rolled.is_complete() => {
                back.leave("rollback", rolled.to_string(), &rolled.commands().join(" && "));
            }
            // Somebody else has changed them meanwhile: they are theirs. A journal that could not be written says more
            // than is so.
            Some(rolled) if !rolled.drifted.is_empty() || !rolled.journal_faults.is_empty() => {
                back.said.push(format!("warning: {rolled}"));
                back.warnings.push(Warning::new("rollback", rolled.to_string()));
            }
            Some(_) | None => {}
        }
        back
    }
}

/// What came of putting everything back.
#[derive(Default)]
pub(crate) struct PutBack {
    /// What to say of it, line by line.
    pub(crate) said: Vec<String>,
    /// What the reader of the record should know.
    pub(crate) warnings: Vec<Warning>,
    is_broken: bool,
}

impl PutBack {
    /// Whether the host is as it was, or as somebody else wants it.
    pub(crate) fn is_whole(&self) -> bool {
        !self.is_broken
    }

    /// Takes in what came of removing addresses.
    pub(crate) fn take_in(&mut self, removed: &Removed) {
        if !removed.is_whole() {
            self.leave("add-ips", removed.to_string(), &removed.hint());
        } else if !removed.journal_faults.is_empty() {
            self.said.push(format!("warning: {removed}"));
            self.warnings.push(Warning::new("add-ips", removed.to_string()));
        } else {
            self.said.push(removed.to_string());
        }
    }

    /// Something stays as it was not before.
    fn leave(&mut self, id: &str, text: String, by_hand: &str) {
        self.said.extend([format!("error: {text}"), format!("hint: {by_hand}")]);
        self.warnings.push(Warning::new(id, text));
        self.is_broken = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_stays_is_told_with_the_command_and_kept_for_the_record() {
        let mut back = PutBack::default();
        back.take_in(&Removed { device: "lo".to_owned(), removed: 2, ..Removed::default() });
        assert!(back.is_whole() && back.warnings.is_empty());
        assert_eq!(back.said, ["removed 2 source addresses from lo"]);
        let refused = ("192.0.2.7".parse().expect("an address"), io::Error::from_raw_os_error(libc::EPERM));
        back.take_in(&Removed { device: "lo".to_owned(), failed: vec![refused], ..Removed::default() });
        assert!(!back.is_whole());
        let hint = "hint: c10k-swarm --remove-ips tries again; by hand: sudo ip addr del 192.0.2.7/32 dev lo";
        assert_eq!(back.said.last().map(String::as_str), Some(hint));
        assert!(back.warnings.iter().all(|warning| warning.id == "add-ips") && back.warnings.len() == 1);
    }
}
