//! The journal: who set what and what stood before, on disk before the first write.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use c10k_kernel::process;
use serde::{Deserialize, Serialize};

use crate::error::JournalError;
use crate::recovery::{Pending, Recovery};

const VERSION: u32 = 2;

/// What processes set in one place, and what stood before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Journal {
    pub(crate) version: u32,
    pub(crate) boot_id: String,
    pub(crate) net_namespace: u64,
    /// The inode alone may be another namespace's later; None before Linux 5.14.
    pub(crate) net_cookie: Option<u64>,
    /// That of whoever wrote it first: from another one its processes may be hidden.
    pub(crate) user_namespace: u64,
    pub(crate) holders: Vec<Holder>,
    /// In the order of the writes.
    pub(crate) entries: Vec<Entry>,
}

/// A network namespace of one boot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Spot {
    pub(crate) boot_id: String,
    pub(crate) net_namespace: u64,
    pub(crate) net_cookie: Option<u64>,
}

/// Who wants settings to stay in force: a process as long as it lives, or `profile apply` until a roll back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Holder {
    /// Names it within its journal.
    pub id: u32,
    /// The process.
    pub pid: u32,
    /// When that process started, in clock ticks since boot: pids are used again. 0 once it has let go.
    pub start_time: u64,
    /// The run it is done for.
    pub run_id: String,
    /// The program's name.
    pub program: String,
    /// The profile.
    pub profile: String,
    /// When it was applied, RFC 3339, UTC.
    pub since: String,
    /// True when the settings outlive the process and stay until they are rolled back.
    pub kept: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) before: String,
    pub(crate) wanted: String,
    pub(crate) written: Written,
    /// Whose wish it is, by id: the value goes back with the last of them.
    pub(crate) holders: Vec<u32>,
}

/// How far one write got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Written {
    No,
    /// The write was about to be made: it may have been made, wholly, in part or not at all.
    Trying,
    Yes,
    /// It was to be put back, but somebody else had changed it meanwhile, and that was left alone.
    Drifted,
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
        // Others keep theirs here too.
        .filter(|path| path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"net-")))
        .collect();
    paths.sort();
    paths
}

impl Holder {
    /// Whether it still wants its settings: its process lives, or they are kept until a roll back.
    #[must_use]
    pub fn stands(&self) -> bool {
        self.kept || process::runs_since(self.pid, self.start_time)
    }

    pub(crate) fn let_go(&mut self) {
        (self.kept, self.start_time) = (false, 0);
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { program, pid, run_id, profile, since, .. } = self;
        if self.kept {
            write!(f, "profile {profile}, applied by `profile apply` at {since}")
        } else {
            write!(f, "profile {profile}, set by {program} (pid {pid}, run {run_id})")
        }
    }
}

impl Journal {
    pub(crate) fn new(spot: &Spot) -> Self {
        Self {
            version: VERSION,
            boot_id: spot.boot_id.clone(),
            net_namespace: spot.net_namespace,
            net_cookie: spot.net_cookie,
            user_namespace: own_user_namespace(),
            holders: Vec::new(),
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
        // Asked for first: what another version writes would only look damaged.
        let version = serde_json::from_str::<serde_json::Value>(&text)
            .ok()
            .and_then(|value| value.get("version")?.as_u64())
            .filter(|&version| version != u64::from(VERSION));
        if let Some(version) = version {
            return Ok(Reading::Useless(format!("it is of version {version}, expected {VERSION}")));
        }
        let journal: Self = match serde_json::from_str(&text) {
            Ok(journal) => journal,
            Err(error) => return Ok(Reading::Useless(format!("it is damaged or cut short: {error}"))),
        };
        if journal.fresh_id().is_none() {
            return Ok(Reading::Useless(
                "it was changed: no process was given the last number there is".to_owned(),
            ));
        }
        let is_another = journal.net_cookie.zip(spot.net_cookie).is_some_and(|(theirs, ours)| theirs != ours);
        Ok(if journal.boot_id != spot.boot_id {
            Reading::Useless("it is from before the last boot, which has put everything back".to_owned())
        } else if journal.net_namespace != spot.net_namespace {
            Reading::Foreign(journal)
        } else if is_another {
            Reading::Useless("it is of a network namespace that is gone".to_owned())
        } else {
            Reading::Ours(journal)
        })
    }

    /// A number that no holder has yet; `None` when there is none above theirs, which nobody has written.
    pub(crate) fn fresh_id(&self) -> Option<u32> {
        self.holders.iter().map(|holder| holder.id).max().map_or(Some(0), |greatest| greatest.checked_add(1))
    }

    pub(crate) fn holder(&self, id: u32) -> Option<&Holder> {
        self.holders.iter().find(|holder| holder.id == id)
    }

    /// The first one that still wants this entry.
    pub(crate) fn standing_holder(&self, entry: &Entry) -> Option<&Holder> {
        entry.holders.iter().filter_map(|&id| self.holder(id)).find(|holder| holder.stands())
    }

    /// What nobody wants any more and yet may stand; None when there is nothing to be done for this sweep.
    pub(crate) fn left_over(&self, path: &Path, sweep: Sweep) -> Option<Pending> {
        let is_wanted =
            |&id: &u32| self.holder(id).is_some_and(|holder| holder.stands() && !(sweep.kept && holder.kept));
        let is_left = |entry: &&Entry| {
            (sweep.drifted || entry.written != Written::Drifted) && !entry.holders.iter().any(is_wanted)
        };
        let entries: Vec<&Entry> = self.entries.iter().filter(is_left).collect();
        let holder = entries.last()?.holders.first().and_then(|&id| self.holder(id))?.clone();
        let written = entries.iter().filter(|entry| entry.written != Written::No);
        let keys = written.map(|entry| entry.key.clone()).collect();
        Some(Pending { path: path.to_owned(), holder, keys })
    }
}

/// What a sweep takes in beyond what dead processes left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sweep {
    /// What is kept until a roll back.
    pub(crate) kept: bool,
    /// What somebody else had changed and what was left alone.
    pub(crate) drifted: bool,
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

/// Whether a network namespace is still there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Existence {
    /// It is, and this leads into it: a process in it, or a mount of it, as `ip netns` makes them.
    Door(PathBuf),
    /// There are processes of this user's that cannot be looked at, and one of them may stand there.
    Unknown,
    /// Nothing that this user can see is in it.
    Gone,
}

/// The inode of the machine's first user namespace (`PROC_USER_INIT_INO`, include/linux/proc_ns.h).
const FIRST_USER_NAMESPACE: u64 = 0xEFFF_FFFD;

/// Looks for the network namespace `inode` of a journal that was written in `user_namespace`: from that one and from
/// the first one, all processes in it that matter can be looked at (ptrace(2), "access mode checking").
pub(crate) fn look_for_namespace(inode: u64, user_namespace: u64) -> Existence {
    let sees_all = [user_namespace, FIRST_USER_NAMESPACE].contains(&own_user_namespace());
    let mut hidden = false;
    for process in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let door = process.path().join("ns/net");
        match std::fs::metadata(&door) {
            Ok(metadata) if metadata.ino() == inode => return Existence::Door(door),
            Err(error) if !sees_all && error.kind() == io::ErrorKind::PermissionDenied => {
                let owner = process.metadata().map(|metadata| metadata.uid());
                hidden |= owner.is_ok_and(|owner| owner == c10k_kernel::limits::euid());
            }
            Ok(_) | Err(_) => {}
        }
    }
    // The fourth field is the root of the mount, the fifth where it is (proc_pid_mountinfo(5)).
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let name = format!("net:[{inode}]");
    let mount = mounts.lines().find_map(|line| {
        let mut fields = line.split(' ').skip(3);
        (fields.next()? == name).then_some(PathBuf::from(fields.next()?))
    });
    match mount {
        Some(mount) => Existence::Door(mount),
        None if hidden => Existence::Unknown,
        None => Existence::Gone,
    }
}

/// 0 where it cannot be read.
fn own_user_namespace() -> u64 {
    std::fs::metadata("/proc/thread-self/ns/user").map_or(0, |metadata| metadata.ino())
}

fn remove(path: &Path) -> Result<(), JournalError> {
    let io = |error| JournalError::Io { doing: "remove the journal", path: path.to_owned(), error };
    match std::fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        removed => removed.map_err(io)?,
    }
    sync_folder_of(path).map_err(io)
}

fn sync_folder_of(path: &Path) -> io::Result<()> {
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}
