//! A machine made of files, to apply profiles to.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use c10k_kernel::namespace::Seen;
use c10k_kernel::sysctl::{Scopes, SysctlRoot};
use c10k_profile::{AppliedGuard, Applier, ApplyError, Here, Live, Policy, Profile};
use tempfile::TempDir;

/// Keys of a machine as it comes, with what a fresh network namespace shows of each.
const KEYS: &[(&str, &str, Seen)] = &[
    ("fs.file-max", "2466177", Seen::Writable),
    ("fs.nr_open", "1048576", Seen::Writable),
    ("net.core.netdev_max_backlog", "1000", Seen::Absent),
    ("net.core.rmem_max", "212992", Seen::ReadOnly),
    ("net.core.somaxconn", "4096", Seen::Writable),
    ("net.ipv4.ip_local_port_range", "32768\t60999", Seen::Writable),
    ("net.ipv4.ip_local_reserved_ports", "", Seen::Writable),
    ("net.ipv4.ip_unprivileged_port_start", "1024", Seen::Writable),
    ("net.ipv4.tcp_congestion_control", "cubic", Seen::Writable),
    ("net.ipv4.tcp_mem", "287901\t383868\t575802", Seen::Absent),
    ("net.ipv4.tcp_rmem", "4096\t131072\t6291456", Seen::Writable),
    ("net.ipv4.tcp_wmem", "4096\t16384\t4194304", Seen::Writable),
];

pub(crate) struct Machine {
    folder: TempDir,
}

impl Machine {
    pub(crate) fn new() -> Self {
        Self::with(tempfile::tempdir().unwrap())
    }

    /// On a filesystem where fsync(2) takes no time, if there is one: for tests of thousands of machines.
    pub(crate) fn in_memory() -> Self {
        Self::with(tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap())
    }

    fn with(folder: TempDir) -> Self {
        let machine = Self { folder };
        for (key, value, _) in KEYS {
            machine.set(key, value);
        }
        machine
    }

    /// The same machine seen from a network namespace that is not its first.
    pub(crate) fn in_a_child_namespace() -> Self {
        let machine = Self::new();
        machine.leave_the_first_namespace();
        machine
    }

    /// From now on it is seen from a network namespace that is not its first.
    pub(crate) fn leave_the_first_namespace(&self) {
        for (key, _, seen) in KEYS {
            if *seen == Seen::Absent {
                std::fs::remove_file(self.root().path(key).unwrap()).unwrap();
            }
        }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn root(&self) -> SysctlRoot {
        root_in(self.folder())
    }

    /// The folder of the settings.
    pub(crate) fn settings(&self) -> PathBuf {
        self.root().folder().to_owned()
    }

    pub(crate) fn journal_folder(&self) -> PathBuf {
        self.folder().join("journal")
    }

    pub(crate) fn set(&self, key: &str, value: &str) {
        let path = self.root().path(key).unwrap();
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, format!("{value}\n")).unwrap();
    }

    pub(crate) fn value(&self, key: &str) -> String {
        self.root().read(key).unwrap()
    }

    /// Every file below the root, byte for byte.
    pub(crate) fn snapshot(&self) -> BTreeMap<String, Vec<u8>> {
        KEYS.iter()
            .filter_map(|(key, _, _)| {
                Some(((*key).to_owned(), std::fs::read(self.root().path(key).ok()?).ok()?))
            })
            .collect()
    }

    pub(crate) fn here(&self) -> Here {
        here_in(self.folder())
    }

    pub(crate) fn live(&self) -> Live {
        Live::at(self.root(), scopes()).unwrap()
    }

    pub(crate) fn apply(&self, profile: &Profile) -> Result<AppliedGuard, ApplyError> {
        self.here().apply(profile, &applier("first"), Policy::default())
    }

    /// The journals and what was set aside, by name; locks do not count.
    pub(crate) fn journals(&self) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.journal_folder()) else { return Vec::new() };
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.contains("journal"))
            .collect();
        names.sort();
        names
    }
}

pub(crate) fn root_in(folder: &Path) -> SysctlRoot {
    SysctlRoot::at(folder.join("sys"))
}

pub(crate) fn here_in(folder: &Path) -> Here {
    Here::at(root_in(folder), scopes(), folder.join("journal")).unwrap()
}

pub(crate) fn scopes() -> Scopes {
    let keys: Vec<&str> = KEYS.iter().map(|(key, _, _)| *key).collect();
    let seen: Vec<Seen> = KEYS.iter().map(|(_, _, seen)| *seen).collect();
    Scopes::from_listing(&keys, Some(&seen))
}

pub(crate) fn applier(run_id: &str) -> Applier {
    Applier { run_id: run_id.to_owned(), pid: std::process::id(), program: "c10k-test".to_owned() }
}

/// A profile named `test` with these lines under `[sysctl]`.
#[track_caller]
pub(crate) fn profile(sysctls: &str) -> Profile {
    Profile::from_text(&format!("name = 'test'\nsummary = 'of a test'\n[sysctl]\n{sysctls}")).unwrap()
}
