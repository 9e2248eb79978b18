//! How far a sweep has come, as `sweep.json`: written whole after each run, so that whatever ends it nothing is lost.

use std::collections::BTreeMap;
use std::fs::File;
use std::hash::{DefaultHasher, Hasher as _};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use c10k_kernel::process::own_executable;
use c10k_plan::experiment::order::Slot;
use c10k_record::write_whole;
use serde::{Deserialize, Serialize};

/// The state's own file in a sweep's folder.
pub(crate) const STATE: &str = "sweep.json";
/// The sweep's file as it was when the sweep began.
pub(super) const FILE: &str = "sweep.toml";
/// Held locked as long as somebody writes the folder.
const LOCK: &str = "lock";

/// How far a sweep has come.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct State {
    /// Of the file, and the folder's.
    pub(super) name: String,
    /// RFC 3339, UTC.
    pub(super) started_at: String,
    /// When the last run was done; null while runs are missing.
    pub(super) ended_at: Option<String>,
    /// What the order of the runs was drawn from, and the intervals.
    pub(super) seed: u64,
    /// The program.
    pub(super) build: Build,
    /// The machine.
    pub(super) host: HostSeen,
    /// All runs in their order.
    pub(super) order: Vec<Slot>,
    /// Those that are done: as many of `order`, from its begin.
    pub(super) runs: Vec<Done>,
    /// Runs that broke, and were made again.
    pub(super) broken: Vec<Broken>,
}

/// The program that carries a sweep out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Build {
    pub(crate) version: String,
    /// Of the executable's bytes.
    pub(super) hash: String,
}

/// What of a machine must stay the same from the first run to the last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HostSeen {
    pub(super) name: String,
    /// `uname -r`.
    pub(crate) kernel: String,
    /// Since it was started.
    pub(super) boot: String,
    pub(super) cpus: usize,
    /// RAM, in the kernel's words.
    pub(super) memory_total: String,
    pub(super) user: u32,
}

/// A run that is done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Done {
    /// RFC 3339, UTC.
    pub(super) started_at: String,
    pub(super) wall_seconds: f64,
    /// The run's folder, from the sweep's.
    pub(super) folder: PathBuf,
    /// What was measured, by the metric; null where there was nothing to measure.
    pub(super) values: BTreeMap<String, Option<f64>>,
    /// The settings that were applied, as they were read back.
    pub(super) applied: BTreeMap<String, String>,
}

/// A run that came to nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Broken {
    /// Its place in the order, from 0.
    pub(super) at: usize,
    pub(super) why: String,
}

impl State {
    /// Reads that of a folder.
    pub(super) fn read(folder: &Path) -> Result<Self, String> {
        let path = folder.join(STATE);
        let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))
    }

    /// Writes it, whole or not at all.
    pub(super) fn write(&self, folder: &Path) -> io::Result<()> {
        let text = serde_json::to_string_pretty(self).map_err(io::Error::other)?;
        write_whole(&folder.join(STATE), text.as_bytes())
    }

    /// Whether all runs are done.
    pub(super) fn is_done(&self) -> bool {
        self.runs.len() == self.order.len()
    }

    /// The runs that are done, each with its place.
    pub(super) fn done(&self) -> impl Iterator<Item = (&Slot, &Done)> {
        self.order.iter().zip(&self.runs)
    }
}

impl Build {
    /// This program.
    pub(crate) fn now() -> io::Result<Self> {
        let mut file = File::open(own_executable())?;
        let (mut hasher, mut buffer) = (DefaultHasher::new(), vec![0; 1 << 20]);
        loop {
            match file.read(&mut buffer)? {
                0 => break,
                length => hasher.write(&buffer[..length]),
            }
        }
        let hash = format!("{:016x}", hasher.finish());
        Ok(Self { version: env!("CARGO_PKG_VERSION").to_owned(), hash })
    }
}

impl HostSeen {
    /// This machine; what cannot be read is empty, and stays so.
    pub(crate) fn now() -> Self {
        let line = |path: &str| std::fs::read_to_string(path).unwrap_or_default().trim().to_owned();
        let memory = line("/proc/meminfo");
        let total = memory.lines().find_map(|line| line.strip_prefix("MemTotal:"));
        Self {
            name: line("/proc/sys/kernel/hostname"),
            kernel: line("/proc/sys/kernel/osrelease"),
            boot: line("/proc/sys/kernel/random/boot_id"),
            cpus: c10k_kernel::process::cpus_allowed(),
            memory_total: total.unwrap_or_default().trim().to_owned(),
            user: c10k_kernel::limits::euid(),
        }
    }

    /// What is not as it was, in words.
    pub(crate) fn changed_since(&self, before: &Self) -> Option<String> {
        let rows = [
            ("the machine", &before.name, &self.name),
            ("the kernel", &before.kernel, &self.kernel),
            ("the boot (the machine was started anew)", &before.boot, &self.boot),
            ("the memory", &before.memory_total, &self.memory_total),
        ];
        let text = rows.iter().find(|(_, before, now)| before != now);
        let number = || {
            let rows = [
                ("the number of processors", before.cpus as u64, self.cpus as u64),
                ("the user", before.user.into(), self.user.into()),
            ];
            let changed = rows.into_iter().find(|(_, before, now)| before != now);
            changed.map(|(what, before, now)| format!("{what} was {before} and is {now}"))
        };
        text.map(|(what, before, now)| format!("{what} was {before} and is {now}")).or_else(number)
    }
}

/// Keeps others from writing the same folder; it ends with the process, however that ends.
pub(crate) struct Locked {
    _file: File,
}

impl Locked {
    /// Nothing where somebody else holds it.
    pub(crate) fn try_hold(folder: &Path) -> io::Result<Option<Self>> {
        let file = File::options().create(true).truncate(false).write(true).open(folder.join(LOCK))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self { _file: file })),
            Err(std::fs::TryLockError::WouldBlock) => Ok(None),
            Err(std::fs::TryLockError::Error(error)) => Err(error),
        }
    }
}

/// Now, RFC 3339, UTC.
pub(crate) fn now() -> String {
    c10k_record::utc_now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_that_changed_is_told_with_what_changed() {
        let before = HostSeen::now();
        assert_eq!(HostSeen::now().changed_since(&before), None);
        let more = HostSeen { cpus: before.cpus + 1, ..before.clone() };
        assert!(
            more.changed_since(&before).is_some_and(|text| text.starts_with("the number of processors was"))
        );
        let again = HostSeen { boot: "x".to_owned(), ..before.clone() };
        assert!(again.changed_since(&before).is_some_and(|text| text.contains("started anew")));
    }

    #[test]
    fn a_folder_is_written_by_one_at_a_time() {
        let folder = tempfile::tempdir().expect("a folder");
        let held = Locked::try_hold(folder.path()).expect("opened").expect("free");
        assert!(Locked::try_hold(folder.path()).expect("opened").is_none());
        drop(held);
        assert!(Locked::try_hold(folder.path()).expect("opened").is_some());
    }
}
