//! The journal: what stood before, on disk before the first write, and how it comes back.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use c10k_kernel::sysctl::SysctlRoot;
use serde::{Deserialize, Serialize};

use crate::change::{Change, sysctl_command};
use crate::error::JournalError;
use crate::here::{Drift, Progress};
use crate::judge::one_line;
use crate::value::{Comparison, SysctlValue};

const VERSION: u32 = 1;

/// What one process set, and what stood before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Journal {
    pub(crate) version: u32,
    pub(crate) boot_id: String,
    pub(crate) net_namespace: u64,
    pub(crate) pid: u32,
    pub(crate) start_time: u64,
    pub(crate) run_id: String,
    pub(crate) program: String,
    pub(crate) profile: String,
    pub(crate) entries: Vec<Entry>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) before: String,
    pub(crate) wanted: String,
    pub(crate) written: Written,
}

/// How far one write got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Written {
    No,
    /// The write was about to be made: it may have been made, wholly, in part or not at all.
    Trying,
    Yes,
}

/// Settings that a process which is gone has left behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// The journal.
    pub path: PathBuf,
    /// Who set them.
    pub program: String,
    /// Its process.
    pub pid: u32,
    /// Its run.
    pub run_id: String,
    /// Its profile.
    pub profile: String,
    /// The keys that may have been changed.
    pub keys: Vec<String>,
}

/// What was found of earlier processes, and what was done about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recovery {
    /// A process that died had left settings; this is what became of them.
    Restored {
        /// Whose they were.
        pending: Pending,
        /// What was put back.
        roll_back: RollBack,
    },
    /// A journal that says nothing about this place was renamed and not acted upon.
    SetAside {
        /// Where it lies now.
        path: PathBuf,
        /// Why it was not acted upon.
        why: String,
    },
    /// A journal of another network namespace that still exists was left for a command inside that one.
    Elsewhere {
        /// Whose it is.
        pending: Pending,
        /// The inode of that namespace.
        net_namespace: u64,
    },
}

/// What came of putting old values back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RollBack {
    /// What was put back, in the order of the writes.
    pub restored: Vec<Change>,
    /// What somebody else had changed meanwhile.
    pub drifted: Vec<Drifted>,
    /// What could not be put back: key, value before, what went wrong.
    pub failed: Vec<(String, String, String)>,
}

/// A setting that somebody else changed while it was ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drifted {
    /// Its key.
    pub key: String,
    /// What we had set.
    pub expected: String,
    /// What stood there.
    pub found: String,
    /// What had stood before us.
    pub before: String,
    /// True when `before` was put back all the same, because that was asked for.
    pub overwritten: bool,
}

/// What a journal file turns out to be.
pub(crate) enum Reading {
    Nothing,
    Ours(Journal),
    /// Of another network namespace of this boot.
    Foreign(Journal),
    Useless(String),
}

pub(crate) fn journal_path(folder: &Path, net_namespace: u64) -> PathBuf {
    folder.join(format!("net-{net_namespace}.journal"))
}

pub(crate) fn lock_path(folder: &Path, net_namespace: u64) -> PathBuf {
    folder.join(format!("net-{net_namespace}.lock"))
}

/// The journals in a folder.
pub(crate) fn journals_in(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "journal"))
        .collect();
    paths.sort();
    paths
}

impl Journal {
    pub(crate) fn new(version_of: (String, u64), pid: u32, start_time: u64) -> Self {
        Self {
            version: VERSION,
            boot_id: version_of.0,
            net_namespace: version_of.1,
            pid,
            start_time,
            run_id: String::new(),
            program: String::new(),
            profile: String::new(),
            entries: Vec::new(),
        }
    }

    /// Writes the journal so that after a crash either the old or the new one is whole on disk: a new file,
    /// synced, renamed over the old one, and the folder synced.
    pub(crate) fn store(&self, path: &Path) -> Result<(), JournalError> {
        let fresh = path.with_extension("journal.new");
        let write = || -> io::Result<()> {
            let mut file =
                OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
            serde_json::to_writer(&mut file, self)?;
            file.write_all(b"\n")?;
            file.sync_all()?;
            std::fs::rename(&fresh, path)?;
            sync_folder_of(path)
        };
        write().map_err(|error| JournalError::Io { doing: "write the journal", path: path.to_owned(), error })
    }

    /// Reads a journal and tells whether it speaks of this boot and this network namespace.
    pub(crate) fn read(path: &Path, boot_id: &str, net_namespace: u64) -> Result<Reading, JournalError> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Reading::Nothing),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                return Ok(Reading::Useless("it is no text".to_owned()));
            }
            Err(error) => {
                return Err(JournalError::Io { doing: "read the journal", path: path.to_owned(), error });
            }
        };
        let journal: Self = match serde_json::from_str(&text) {
            Ok(journal) => journal,
            Err(error) => return Ok(Reading::Useless(format!("it is damaged or cut short: {error}"))),
        };
        Ok(if journal.version != VERSION {
            Reading::Useless(format!("it is of version {}, expected {VERSION}", journal.version))
        } else if journal.boot_id != boot_id {
            Reading::Useless("it is from before the last boot, which has put everything back".to_owned())
        } else if journal.net_namespace != net_namespace {
            Reading::Foreign(journal)
        } else {
            Reading::Ours(journal)
        })
    }

    pub(crate) fn pending(&self, path: &Path) -> Pending {
        let touched = self.entries.iter().filter(|entry| entry.written != Written::No);
        Pending {
            path: path.to_owned(),
            program: self.program.clone(),
            pid: self.pid,
            run_id: self.run_id.clone(),
            profile: self.profile.clone(),
            keys: touched.map(|entry| entry.key.clone()).collect(),
        }
    }

    /// Puts back what was written, last write first. What somebody else changed meanwhile is reported and,
    /// unless `drift` says otherwise, left alone. It can be done again after it was cut short.
    pub(crate) fn roll_back(
        &self,
        root: &SysctlRoot,
        drift: Drift,
        progress: &mut dyn FnMut(Progress),
    ) -> RollBack {
        let mut done = RollBack::default();
        for (at, entry) in self.entries.iter().enumerate().rev() {
            if entry.written == Written::No {
                continue;
            }
            let failed = |what: String| (entry.key.clone(), entry.before.clone(), what);
            let present = match root.read(&entry.key) {
                Ok(present) => present,
                Err(error) => {
                    done.failed.push(failed(error.to_string()));
                    continue;
                }
            };
            if present == entry.before {
                continue;
            }
            if !entry.left(&present) {
                let overwritten = drift == Drift::Restore;
                done.drifted.push(Drifted {
                    key: entry.key.clone(),
                    expected: entry.wanted.clone(),
                    found: one_line(&present),
                    before: one_line(&entry.before),
                    overwritten,
                });
                if !overwritten {
                    continue;
                }
            }
            let written = root.write(&entry.key, &entry.before);
            match (written, root.read(&entry.key)) {
                (_, Ok(now)) if now == entry.before => done.restored.push(Change {
                    key: entry.key.clone(),
                    before: one_line(&present),
                    after: one_line(&now),
                }),
                (Err(error), _) | (Ok(()), Err(error)) => done.failed.push(failed(error.to_string())),
                (Ok(()), Ok(now)) => {
                    done.failed.push(failed(format!("the kernel made {} of it", one_line(&now))));
                }
            }
            progress(Progress::Restored(at));
        }
        done
    }
}

impl Entry {
    /// Whether `present` is what our write left: the wanted value or, when it may have been cut short or refused
    /// half-way, a mixture of the fields of both.
    fn left(&self, present: &str) -> bool {
        let wanted = SysctlValue::from_kernel(&self.key, &self.wanted);
        if wanted.compare(present) == Comparison::Same {
            return true;
        }
        let fields = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let (now, before, wanted) = (fields(present), fields(&self.before), fields(&self.wanted));
        let is_mixture = now.len() == before.len()
            && now.len() == wanted.len()
            && now
                .iter()
                .zip(before.iter().zip(&wanted))
                .all(|(now, (before, wanted))| now == before || now == wanted);
        self.written == Written::Trying && is_mixture
    }
}

impl RollBack {
    /// True when everything is as it was before, or as somebody else wants it.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.failed.is_empty()
    }

    /// The commands that put back by hand what could not be put back.
    #[must_use]
    pub fn commands(&self) -> Vec<String> {
        self.failed.iter().map(|(key, before, _)| sysctl_command(key, &one_line(before))).collect()
    }
}

impl fmt::Display for RollBack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.restored.len() {
            0 => f.write_str("nothing had to be put back")?,
            count => write!(f, "{count} setting(s) put back")?,
        }
        for drifted in &self.drifted {
            write!(f, "; {drifted}")?;
        }
        for (key, before, what) in &self.failed {
            write!(f, "; {key} could not be put back to {}: {what}", one_line(before))?;
        }
        Ok(())
    }
}

impl fmt::Display for Drifted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, expected, found, before, overwritten } = self;
        write!(f, "{key} was changed by somebody else: expected {expected}, found {found}; ")?;
        if *overwritten {
            write!(f, "{before} was put back as asked")
        } else {
            write!(f, "left alone (before: {before})")
        }
    }
}

impl fmt::Display for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { program, pid, run_id, profile, .. } = self;
        write!(f, "profile {profile}, set by {program} (pid {pid}, run {run_id})")
    }
}

impl fmt::Display for Recovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Restored { pending, roll_back } => write!(f, "{pending}, which died: {roll_back}"),
            Self::SetAside { path, why } => {
                write!(f, "a journal of settings was not acted upon: {why}; it is kept as {}", path.display())
            }
            Self::Elsewhere { pending, net_namespace } => write!(
                f,
                "{pending}, was left in another network namespace (net:[{net_namespace}]) and can be undone only \
                 from inside it"
            ),
        }
    }
}

/// Takes a journal out of the way without losing it.
pub(crate) fn set_aside(path: &Path, why: String) -> Result<Recovery, JournalError> {
    let io = |error| JournalError::Io { doing: "set aside the journal", path: path.to_owned(), error };
    let aside = (1u32..)
        .map(|count| path.with_extension(format!("journal-aside-{count}")))
        .find(|aside| !aside.exists())
        .unwrap_or_else(|| path.with_extension("journal-aside"));
    std::fs::rename(path, &aside).map_err(io)?;
    sync_folder_of(path).map_err(io)?;
    Ok(Recovery::SetAside { path: aside, why })
}

pub(crate) fn remove(path: &Path) -> Result<(), JournalError> {
    let io = |error| JournalError::Io { doing: "remove the journal", path: path.to_owned(), error };
    std::fs::remove_file(path).map_err(io)?;
    sync_folder_of(path).map_err(io)
}

/// Whether a network namespace still exists, as far as this user can see: some process is in it, or it is
/// mounted where `ip netns` mounts its own.
pub(crate) fn namespace_exists(inode: u64) -> bool {
    let is_it = |path: PathBuf| std::fs::metadata(path).is_ok_and(|metadata| metadata.ino() == inode);
    let folder = |path: &str| std::fs::read_dir(path).into_iter().flatten().flatten();
    folder("/proc").any(|entry| is_it(entry.path().join("ns/net")))
        || folder("/run/netns").any(|entry| is_it(entry.path()))
}

fn sync_folder_of(path: &Path) -> io::Result<()> {
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}
