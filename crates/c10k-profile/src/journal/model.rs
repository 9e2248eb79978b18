//! The journal: who set what and what stood before, on disk before the first write.

use std::fmt;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use c10k_kernel::files;
use c10k_kernel::process::Clock;
use serde::{Deserialize, Serialize};

pub(super) const VERSION: u32 = 3;

/// What processes set in one network namespace, and what stood before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Journal {
    pub(crate) version: u32,
    pub(crate) boot_id: String,
    pub(crate) net_namespace: u64,
    /// The inode alone may be another namespace's later; None before Linux 5.14.
    pub(crate) net_cookie: Option<u64>,
    /// The user namespace of the process that began this journal. From another one its holders may be hidden.
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
    /// The ids of those who want it. The old value is put back when the last of them gives up.
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
    /// The write was made and cut short: neither the wanted value nor the one before stands, and what stands is ours.
    Torn,
    /// It was to be put back, but somebody else had changed it meanwhile, and that was left alone.
    Drifted,
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
}

impl Holder {
    /// Whether it still wants its settings: its process lives, or cannot be seen to have ended, or they are kept until
    /// a roll back. As it was when the journal was read.
    #[must_use]
    pub fn stands(&self) -> bool {
        self.kept || self.lives
    }

    pub(crate) fn give_up(&mut self) {
        (self.kept, self.lives, self.start_time, self.lock) = (false, false, 0, None);
    }

    /// The namespaces that its pid and its start belong to, where it wrote them down.
    pub(crate) fn clock(&self) -> Option<Clock> {
        Some(Clock { pid_namespace: self.pid_namespace?, time_namespace: self.time_namespace })
    }

    pub(super) fn is_of_another_pid_namespace(&self) -> bool {
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

/// 0 where it cannot be read.
pub(super) fn own_user_namespace() -> u64 {
    files::metadata(Path::new("/proc/thread-self/ns/user")).map_or(0, |metadata| metadata.ino())
}
