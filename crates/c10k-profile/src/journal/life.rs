//! Whether a process that wants settings still lives, as it shows from other pid and time namespaces too.
//!
//! A process keeps a file of its own locked as long as it lives, and the kernel releases the lock when it ends. A pid
//! and a start time say the same only within their own namespaces. They are used where that file cannot be looked at.

use super::error::JournalError;
use super::model::Holder;
use c10k_kernel::files::{self, OpenFile};
use c10k_kernel::process::{self, Clock};
use std::fs::{OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

const MIDDLE: &str = ".holder-";

/// The lock that says that this process lives.
#[derive(Debug)]
pub(crate) struct LifeLock {
    file: OpenFile,
    path: PathBuf,
    /// Names it among all of this network namespace's.
    pub(crate) token: String,
}

impl LifeLock {
    /// To be called with the lock of `folder` held: until the new file is locked, others would take it for a dead process's.
    pub(crate) fn take(folder: &Path, net_namespace: u64) -> Result<Self, JournalError> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let count = COUNT.fetch_add(1, Relaxed);
        let token = format!("{}-{}-{count}", std::process::id(), since.as_nanos());
        let path = path_of(folder, net_namespace, &token);
        // Held open for reading: one that is open for writing would keep its filesystem from being made read-only.
        let taken = files::open(&path, OpenOptions::new().write(true).create_new(true).mode(0o600))
            .and_then(|_| files::open(&path, OpenOptions::new().read(true)))
            .and_then(|file| file.try_lock().map_err(io::Error::from).map(|()| file));
        match taken {
            Ok(file) => Ok(Self { file, path, token }),
            Err(error) => {
                let _ = files::remove_file(&path);
                Err(JournalError::Io {
                    doing: "make the lock that lives as long as this process,",
                    path,
                    error,
                })
            }
        }
    }
}

impl Drop for LifeLock {
    fn drop(&mut self) {
        // What cannot be removed is found unlocked by the next command.
        let _ = files::remove_file(&self.path);
        let _ = self.file.unlock();
    }
}

fn path_of(folder: &Path, net_namespace: u64, token: &str) -> PathBuf {
    folder.join(format!("net-{net_namespace}{MIDDLE}{token}"))
}

/// Whether the process of a holder lives, or may live.
pub(crate) fn may_live(folder: &Path, net_namespace: u64, holder: &Holder) -> bool {
    if let Some(token) = &holder.lock {
        match is_locked(&path_of(folder, net_namespace, token)) {
            Ok(is_locked) => return is_locked,
            // Somebody took the file away, or it cannot be looked at.
            Err(_) if holder.start_time == 0 => return true,
            Err(_) => {}
        }
    } else if holder.start_time == 0 {
        return false;
    }
    let Some(theirs) = holder.clock() else {
        // Of a build that did not write its namespaces down: as that one judged.
        return process::runs_since(holder.pid, holder.start_time);
    };
    match Clock::of_this_process() {
        Ok(ours) if ours == theirs => !process::is_gone(holder.pid, holder.start_time),
        Ok(_) | Err(_) => true,
    }
}

fn is_locked(path: &Path) -> io::Result<bool> {
    let file = files::open(path, OpenOptions::new().read(true))?;
    match file.try_lock_shared() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// With the lock of the folder held: removes the files of processes that are gone and that no journal names.
pub(crate) fn remove_dead(folder: &Path, net_namespace: u64, named: &[String]) {
    let prefix = format!("net-{net_namespace}{MIDDLE}");
    for path in files::list(folder).unwrap_or_default() {
        let token =
            path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_prefix(&prefix));
        if token.is_some_and(|token| !named.iter().any(|known| known == token))
            && is_locked(&path).is_ok_and(|is_locked| !is_locked)
        {
            let _ = files::remove_file(&path);
        }
    }
}
