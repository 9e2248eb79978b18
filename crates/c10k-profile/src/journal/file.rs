//! A journal on the disk: whole after a crash, and read with what it says of who lives.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use c10k_kernel::files;

use super::error::JournalError;
use super::life;
use super::model::{Journal, Spot, VERSION};

/// The oldest one that is understood: it has no locks and no pid namespaces of its holders.
const OLDEST_VERSION: u32 = 2;

/// What a journal file turns out to be.
pub(crate) enum Reading {
    Nothing,
    Ours(Journal),
    /// Of another network namespace of this boot.
    Foreign(Journal),
    Useless(Useless),
}

/// Why a journal is not acted upon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Useless {
    pub(crate) why: String,
    /// Whether what it is about may stand: false where a boot or the end of its namespace has put everything back.
    pub(crate) may_stand: bool,
}

impl Journal {
    /// Writes the journal so that after a crash either the old or the new one is whole on disk: a new file,
    /// synced, renamed over the old one, and the folder synced.
    pub(crate) fn store(&self, path: &Path) -> Result<(), JournalError> {
        let fresh = path.with_extension("journal.new");
        let write = || -> io::Result<()> {
            let text = serde_json::to_string(self)? + "\n";
            let mut file =
                files::open(&fresh, OpenOptions::new().write(true).create(true).truncate(true).mode(0o600))?;
            file.write_all(text.as_bytes())?;
            file.sync()?;
            files::rename(&fresh, path)?;
            sync_folder_of(path)
        };
        write().map_err(|error| {
            let _ = files::remove_file(&fresh);
            JournalError::Io { doing: "write the journal", path: path.to_owned(), error }
        })
    }

    /// Stores what is left to be done, or removes the file when nothing is; true when it is gone.
    pub(crate) fn store_or_remove(&self, path: &Path) -> Result<bool, JournalError> {
        if self.entries.is_empty() {
            remove(path)?;
            return Ok(true);
        }
        self.store(path)?;
        Ok(false)
    }

    /// Reads a journal and tells whether it speaks of this boot and this network namespace.
    pub(crate) fn read(path: &Path, spot: &Spot) -> Result<Reading, JournalError> {
        let text = match files::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Reading::Nothing),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                return Ok(Useless::damaged("it is no text".to_owned()));
            }
            Err(error) => {
                return Err(JournalError::Io { doing: "read the journal", path: path.to_owned(), error });
            }
        };
        // Asked for first: what another version writes would only look damaged.
        let version = serde_json::from_str::<serde_json::Value>(&text)
            .ok()
            .and_then(|value| value.get("version")?.as_u64())
            .filter(|&version| !(u64::from(OLDEST_VERSION)..=u64::from(VERSION)).contains(&version));
        if let Some(version) = version {
            return Ok(Useless::damaged(format!("it is of version {version}, expected {VERSION}")));
        }
        let mut journal: Self = match serde_json::from_str(&text) {
            Ok(journal) => journal,
            Err(error) => return Ok(Useless::damaged(format!("it is damaged or cut short: {error}"))),
        };
        if journal.fresh_id().is_none() {
            return Ok(Useless::damaged(
                "it was changed: no process was given the last number there is".to_owned(),
            ));
        }
        journal.version = VERSION;
        journal.look_who_lives(path);
        let is_another = journal.net_cookie.zip(spot.net_cookie).is_some_and(|(theirs, ours)| theirs != ours);
        Ok(if journal.boot_id != spot.boot_id {
            Useless::over("it is from before the last boot, which has put everything back")
        } else if journal.net_namespace != spot.net_namespace {
            Reading::Foreign(journal)
        } else if is_another {
            Useless::over("it is of a network namespace that is gone")
        } else {
            Reading::Ours(journal)
        })
    }

    /// Looks again whose processes live.
    pub(crate) fn look_who_lives(&mut self, path: &Path) {
        let folder = path.parent().unwrap_or(Path::new("."));
        for holder in &mut self.holders {
            holder.lives = life::may_live(folder, self.net_namespace, holder);
        }
    }
}

impl Useless {
    fn damaged(why: String) -> Reading {
        Reading::Useless(Self { why, may_stand: true })
    }

    fn over(why: &str) -> Reading {
        Reading::Useless(Self { why: why.to_owned(), may_stand: false })
    }
}

fn remove(path: &Path) -> Result<(), JournalError> {
    let io = |error| JournalError::Io { doing: "remove the journal", path: path.to_owned(), error };
    match files::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        removed => removed.map_err(io)?,
    }
    sync_folder_of(path).map_err(io)
}

pub(super) fn sync_folder_of(path: &Path) -> io::Result<()> {
    files::sync_folder(path.parent().unwrap_or(Path::new(".")))
}
