//! The journal: who set what and what stood before, on disk before the first write.

use std::fmt;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use c10k_kernel::files;
use c10k_kernel::process::Clock;
use serde::{Deserialize, Serialize};

use crate::error::JournalError;
use crate::life;
use crate::recovery::{Pending, Recovery};

const VERSION: u32 = 3;
/// The oldest one that is understood: it has no locks and no pid namespaces of its holders.
const OLDEST_VERSION: u32 = 2;

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
    /// The inode of the pid namespace in which `pid` names it; `None` where that could not be read, and in a journal of
    /// an older build.
    #[serde(default)]
    pub pid_namespace: Option<u64>,
    /// The inode of the time namespace in which it started then.
    #[serde(default)]
    pub time_namespace: Option<u64>,
    /// Names the file that it keeps locked as long as it lives.
    #[serde(default)]
    pub(crate) lock: Option<String>,
    /// Whether its process lived, or may have lived, when the journal was read.
    #[serde(skip)]
    pub(crate) lives: bool,
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
    /// It was made, neither the wanted value nor the one before stands, and whatever stands is of our making.
    Torn,
    /// It was to be put back, but somebody else had changed it meanwhile, and that was left alone.
    Drifted,
}

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

impl Useless {
    fn damaged(why: String) -> Reading {
        Reading::Useless(Self { why, may_stand: true })
    }

    fn over(why: &str) -> Reading {
        Reading::Useless(Self { why: why.to_owned(), may_stand: false })
    }
}

const ASIDE: &str = "journal-aside-";

pub(crate) fn journal_path(folder: &Path, net_namespace: u64) -> PathBuf {
    folder.join(format!("net-{net_namespace}.journal"))
}

pub(crate) fn lock_path(folder: &Path, net_namespace: u64) -> PathBuf {
    folder.join(format!("net-{net_namespace}.lock"))
}

/// The journals in a folder; none when the folder is gone.
pub(crate) fn journals_in(folder: &Path) -> Result<Vec<PathBuf>, JournalError> {
    // Others keep theirs here too.
    let is_one = |path: &PathBuf| {
        path.extension().is_some_and(|extension| extension == "journal")
            && path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"net-"))
    };
    match files::list(folder) {
        Ok(paths) => Ok(paths.into_iter().filter(is_one).collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(JournalError::Io { doing: "look for journals in", path: folder.to_owned(), error }),
    }
}

impl Holder {
    /// Whether it still wants its settings: its process lives, or cannot be seen to have ended, or they are kept until
    /// a roll back. As it was when the journal was read.
    #[must_use]
    pub fn stands(&self) -> bool {
        self.kept || self.lives
    }

    pub(crate) fn let_go(&mut self) {
        (self.kept, self.lives, self.start_time, self.lock) = (false, false, 0, None);
    }

    /// The namespaces that its pid and its start belong to, where it wrote them down.
    pub(crate) fn clock(&self) -> Option<Clock> {
        Some(Clock { pid_namespace: self.pid_namespace?, time_namespace: self.time_namespace })
    }

    fn is_of_another_pid_namespace(&self) -> bool {
        let own = Clock::of_this_process().map(|clock| clock.pid_namespace).ok();
        self.pid_namespace.is_some() && self.pid_namespace != own
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { program, pid, run_id, profile, since, .. } = self;
        if self.kept {
            write!(f, "profile {profile}, applied by `profile apply` at {since}")
        } else {
            let whose = if self.is_of_another_pid_namespace() { " of another pid namespace" } else { "" };
            write!(f, "profile {profile}, set by {program} (pid {pid}{whose}, run {run_id})")
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

    /// The names of its processes' locks.
    pub(crate) fn locks(&self) -> Vec<String> {
        self.holders.iter().filter_map(|holder| holder.lock.clone()).collect()
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

/// Takes a journal out of the way without losing it. Where it cannot be renamed it stays where it is.
pub(crate) fn set_aside(path: &Path, useless: Useless) -> Recovery {
    let aside = (1u32..)
        .map(|count| path.with_extension(format!("{ASIDE}{count}")))
        .find(|aside| !aside.exists())
        .unwrap_or_else(|| path.with_extension("journal-aside"));
    let Useless { mut why, may_stand } = useless;
    let lies = match files::rename(path, &aside) {
        Ok(()) => {
            // Should the machine crash now, it is found under its old name and set aside again.
            let _ = sync_folder_of(path);
            aside
        }
        Err(error) => {
            why = format!("{why} (it cannot be renamed: {error})");
            path.to_owned()
        }
    };
    Recovery::SetAside { path: lies, why, may_stand }
}

/// The journals of a network namespace that were set aside.
pub(crate) fn asides_in(folder: &Path, net_namespace: u64) -> Vec<PathBuf> {
    let prefix = format!("net-{net_namespace}.{ASIDE}");
    let is_one =
        |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&prefix));
    files::list(folder).unwrap_or_default().into_iter().filter(is_one).collect()
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
/// What `/proc` says of a process that has just ended.
const ESRCH: i32 = 3;

/// Looks for the network namespace of a journal. From the user namespace that it was written in and from the first one,
/// all processes in it that matter can be looked at (ptrace(2), "access mode checking"), unless they are of another pid
/// namespace.
pub(crate) fn look_for_namespace(journal: &Journal) -> Existence {
    let inode = journal.net_namespace;
    let sees_all = [journal.user_namespace, FIRST_USER_NAMESPACE].contains(&own_user_namespace());
    let mut hidden = journal.holders.iter().any(Holder::is_of_another_pid_namespace);
    let Ok(processes) = files::list(Path::new("/proc")) else { return Existence::Unknown };
    for process in processes {
        let door = process.join("ns/net");
        match files::metadata(&door) {
            Ok(metadata) if metadata.ino() == inode => return Existence::Door(door),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                let owner = files::metadata(&process).map(|metadata| metadata.uid());
                hidden |= !sees_all && owner.is_ok_and(|owner| owner == c10k_kernel::limits::euid());
            }
            // It has ended meanwhile, or is no process.
            Err(error)
                if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
                    || error.raw_os_error() == Some(ESRCH) => {}
            Err(_) => hidden = true,
            Ok(_) => {}
        }
    }
    let Ok(mounts) = files::read_to_string(Path::new("/proc/self/mountinfo")) else {
        return Existence::Unknown;
    };
    // The fourth field is the root of the mount, the fifth where it is (proc_pid_mountinfo(5)).
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
    files::metadata(Path::new("/proc/thread-self/ns/user")).map_or(0, |metadata| metadata.ino())
}

fn remove(path: &Path) -> Result<(), JournalError> {
    let io = |error| JournalError::Io { doing: "remove the journal", path: path.to_owned(), error };
    match files::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        removed => removed.map_err(io)?,
    }
    sync_folder_of(path).map_err(io)
}

fn sync_folder_of(path: &Path) -> io::Result<()> {
    files::sync_folder(path.parent().unwrap_or(Path::new(".")))
}
