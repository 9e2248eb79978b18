//! What a swarm has changed on its host, and puts back however it ends.

use std::io;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use c10k_kernel::process::is_ignored;
use c10k_profile::AppliedGuard;
use c10k_record::Warning;
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};

use crate::add_ips::AddedIps;
use crate::conductor::Signals;

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

    /// Watches signals: a first SIGINT or SIGTERM asks for an orderly end; a second one, SIGHUP and SIGQUIT put
    /// everything back and end the process there and then. To be called before anything is changed.
    ///
    /// # Errors
    /// As sigaction(2) and pipe(2), or when no thread can be started.
    pub(crate) fn watch_signals(&self) -> io::Result<Signals> {
        let watched = [SIGINT, SIGTERM, SIGQUIT].into_iter().chain((!is_ignored(SIGHUP)).then_some(SIGHUP));
        let mut coming = signal_hook::iterator::Signals::new(watched)?;
        let signals = Signals::default();
        // The changes and not this value: the thread outlives its owner, and must not keep it from being dropped.
        let (changes, told) = (Arc::clone(&self.0), signals.clone());
        std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
            for signal in coming.forever() {
                if matches!(signal, SIGINT | SIGTERM) && !told.stop.load(Relaxed) {
                    told.number.store(signal as usize, Relaxed);
                    told.stop.store(true, Relaxed);
                    continue;
                }
                // Held until the process is gone: nobody changes anything any more.
                let mut changes = lock(&changes);
                changes.put_back();
                signal_hook::low_level::exit(128 + signal);
            }
        })?;
        Ok(signals)
    }
}

impl Drop for Undo {
    fn drop(&mut self) {
        self.changes().put_back();
    }
}

fn lock(changes: &Mutex<Changes>) -> MutexGuard<'_, Changes> {
    changes.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Changes {
    /// Puts everything back: what to say of it, and what the reader of the record should know.
    pub(crate) fn put_back(&mut self) -> (Vec<String>, Vec<Warning>) {
        let (mut said, mut warnings) = (Vec::new(), Vec::new());
        if let Some(added) = self.addresses.take() {
            let removed = added.remove();
            if removed.failed.is_empty() {
                said.push(removed.to_string());
            } else {
                warnings.push(Warning::new("add-ips", removed.to_string()));
            }
        }
        match self.settings.take().map(AppliedGuard::roll_back) {
            Some(Ok(rolled)) if !rolled.drifted.is_empty() || !rolled.failed.is_empty() => {
                warnings.push(Warning::new("rollback", rolled.to_string()));
            }
            Some(Err(error)) => warnings.push(Warning::new("rollback", error.to_string())),
            Some(Ok(_)) | None => {}
        }
        (said, warnings)
    }
}
