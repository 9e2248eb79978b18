//! The lock that lets one process at a time change settings and the journal.

use std::fs::{OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use c10k_kernel::files::{self, OpenFile};
use serde::{Deserialize, Serialize};

use super::error::JournalError;
use super::folder::lock_path;
use crate::state_folder;

/// How often a folder that others take away is made again.
const MOST_TRIES: u32 = 1000;

/// How long another process may take to write its settings or to put them back.
const PATIENCE: Duration = Duration::from_secs(10);

/// Which process has the lock, as it says itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Locker {
    pub(crate) pid: u32,
    pub(crate) program: String,
}

/// The held lock. On drop it is released and its file removed.
#[derive(Debug)]
pub(crate) struct Lock {
    file: OpenFile,
    path: PathBuf,
}

/// Takes the lock of a folder for one network namespace, or says which process has it.
pub(crate) fn lock(folder: &Path, net_namespace: u64, locker: &Locker) -> Result<Lock, JournalError> {
    let path = lock_path(folder, net_namespace);
    match Lock::take(&path, locker, PATIENCE)? {
        Locking::Got(lock) => Ok(lock),
        Locking::Held(Locker { pid, program }) => Err(JournalError::Busy { path, pid, program }),
    }
}

pub(crate) enum Locking {
    Got(Lock),
    Held(Locker),
}

impl Lock {
    /// Takes the lock file at `path`, or says who has it. Everybody has it only while settings are written or
    /// put back, so a held lock is asked for again for as long as `patience` lasts.
    pub(crate) fn take(path: &Path, locker: &Locker, patience: Duration) -> Result<Locking, JournalError> {
        let io = |doing| move |error| JournalError::Io { doing, path: path.to_owned(), error };
        let (until, mut made) = (Instant::now() + patience, 0);
        loop {
            let opened = files::open(
                path,
                OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600),
            );
            let mut file = match (opened, path.parent()) {
                // The one before has just taken the empty folder away.
                (Err(error), Some(folder))
                    if error.kind() == io::ErrorKind::NotFound && made < MOST_TRIES =>
                {
                    made += 1;
                    state_folder::make(folder).map_err(io("make the folder of the lock"))?;
                    continue;
                }
                (opened, _) => opened.map_err(io("open the lock"))?,
            };
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) if Instant::now() < until => {
                    std::thread::sleep(Duration::from_millis(10));
                    continue;
                }
                Err(TryLockError::WouldBlock) => {
                    // Who has it may not have been able to write that down.
                    let text = file.read_to_string().unwrap_or_default();
                    return Ok(Locking::Held(serde_json::from_str(&text).unwrap_or_default()));
                }
                Err(TryLockError::Error(error)) => return Err(io("lock")(error)),
            }
            // The one before may have removed the file between our open and our lock.
            match (files::metadata(path), file.metadata()) {
                (Ok(there), Ok(ours)) if there.ino() == ours.ino() => {}
                (Ok(_), Ok(_)) => continue,
                (Err(error), _) if error.kind() == io::ErrorKind::NotFound && made < MOST_TRIES => {
                    made += 1;
                    continue;
                }
                (Err(error), _) | (_, Err(error)) => return Err(io("look at the lock")(error)),
            }
            // The lock is had whether or not its file can say by whom: it must not need room on a disk that is full.
            let text = serde_json::to_string(locker).unwrap_or_default();
            let _ = file.truncate().and_then(|()| file.write_all(text.as_bytes()));
            return Ok(Locking::Got(Self { file, path: path.to_owned() }));
        }
    }

    /// The lock itself, which another thread's descriptor table may hold a copy of: closing is not enough.
    fn give_back(&self) {
        let _ = files::remove_file(&self.path);
        let _ = self.file.unlock();
        if let Some(folder) = self.path.parent() {
            // Only an empty folder goes.
            let _ = files::remove_folder(folder);
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        self.give_back();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn locker() -> Locker {
        Locker { pid: 7, program: "a".into() }
    }

    const MOMENT: Duration = Duration::from_millis(50);
    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn a_second_one_learns_who_has_the_lock_and_gets_it_when_it_is_given_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let Locking::Got(lock) = Lock::take(&path, &locker(), MOMENT).unwrap() else {
            panic!("must be free")
        };
        let Locking::Held(known) = Lock::take(&path, &locker(), MOMENT).unwrap() else {
            panic!("must be held")
        };
        assert_eq!(known, locker());
        drop(lock);
        assert!(!path.exists(), "the file goes with the lock");
        assert!(matches!(Lock::take(&path, &locker(), MOMENT).unwrap(), Locking::Got(_)));
    }

    #[test]
    fn many_at_once_never_hold_it_together() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c10k-lab").join("lock");
        let inside = std::sync::atomic::AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..20 {
                        let Locking::Got(lock) = Lock::take(&path, &locker(), LONG).unwrap() else {
                            panic!("nobody keeps it for long");
                        };
                        assert_eq!(inside.fetch_add(1, std::sync::atomic::Ordering::SeqCst), 0);
                        inside.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
                        drop(lock);
                    }
                });
            }
        });
    }
}
