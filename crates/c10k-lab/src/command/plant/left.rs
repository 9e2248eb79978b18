//! What a plant makes outside of its run's namespace, under names that nobody else has, and what plants that were
//! killed have left of it.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use c10k_kernel::{limits, process};

/// What all names of plants begin with.
pub(super) const PREFIX: &str = "c10k-plant-";

/// Who made something: a pid alone is used again, and means somebody else in another pid namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Maker {
    /// Inode of the pid namespace in which the pid is one.
    namespace: u64,
    pid: u32,
    /// In clock ticks since boot.
    started: u64,
}

impl Maker {
    /// This process.
    pub(crate) fn this() -> io::Result<Self> {
        let pid = std::process::id();
        let namespace = std::fs::metadata("/proc/self/ns/pid")?.ino();
        Ok(Self { namespace, pid, started: process::start_time(pid)? })
    }

    /// What the names of all that it makes begin with.
    pub(crate) fn name(&self) -> String {
        format!("{PREFIX}{}-{}-{}", self.pid, self.started, self.namespace)
    }

    /// Who made what has this name.
    fn of(name: &str) -> Option<Self> {
        let mut numbers = name.strip_prefix(PREFIX)?.split('-');
        let mut next = || numbers.next()?.parse().ok();
        let (pid, started, namespace): (u64, _, _) = (next()?, next()?, next()?);
        Some(Self { namespace, pid: pid.try_into().ok()?, started })
    }

    /// Whether it has ended, seen from this process; of another pid namespace it cannot be said.
    fn is_gone(&self, seen_by: &Self) -> bool {
        self.namespace == seen_by.namespace
            && match process::start_time(self.pid) {
                Ok(started) => started != self.started,
                Err(error) => error.kind() == io::ErrorKind::NotFound,
            }
    }
}

/// The folders in `parent` that this user's plants have made which are gone.
pub(super) fn left_in(parent: &Path, here: &Maker) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(parent).into_iter().flatten().flatten();
    let left = entries.filter(|entry| {
        let maker = entry.file_name().to_str().and_then(Maker::of);
        let is_ours = || entry.metadata().is_ok_and(|found| found.is_dir() && found.uid() == limits::euid());
        maker.is_some_and(|maker| maker.is_gone(here)) && is_ours()
    });
    left.map(|entry| entry.path()).collect()
}

/// A folder for the runs of a plant, which is gone when the plant is done.
pub(super) struct Folder(PathBuf);

impl Folder {
    /// Makes it in `parent`, and removes there what plants that were killed have left.
    pub(super) fn make_in(parent: &Path, maker: &Maker) -> io::Result<Self> {
        for left in left_in(parent, maker) {
            // Its run may still be about to end.
            let _ = std::fs::remove_dir_all(left);
        }
        Ok(Self(nix::unistd::mkdtemp(&parent.join(format!("{}-XXXXXX", maker.name())))?))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// One that has ended.
    pub(in super::super) fn gone() -> Maker {
        let mut child = std::process::Command::new("true").spawn().expect("true(1)");
        child.wait().expect("it ends");
        Maker { pid: child.id(), started: 1, ..Maker::this().expect("/proc") }
    }

    #[test]
    fn who_made_something_is_read_from_its_name() {
        let maker = Maker { namespace: 4_026_531_836, pid: 77, started: 12_345 };
        assert_eq!(Maker::of(&format!("{}-aBc123", maker.name())), Some(maker));
        for name in ["c10k-plant-7", "c10k-plant-7-x-9-server", "other-1-2-3-server"] {
            assert_eq!(Maker::of(name), None, "{name}");
        }
    }

    #[test]
    fn a_pid_that_is_used_again_does_not_keep_what_its_first_owner_left() {
        let here = Maker::this().expect("/proc");
        assert!(!here.is_gone(&here));
        assert!(Maker { started: here.started + 1, ..here }.is_gone(&here));
        let elsewhere = Maker { namespace: here.namespace + 1, ..gone() };
        assert!(gone().is_gone(&here) && !elsewhere.is_gone(&here));
    }

    #[test]
    fn the_next_plant_removes_the_folders_of_those_that_are_gone_and_no_others() {
        let parent = tempfile::tempdir().expect("a folder");
        let here = Maker::this().expect("/proc");
        let path = |name: String| parent.path().join(name);
        let (left, target) = (path(format!("{}-aaaaaa", gone().name())), path("of-somebody".to_owned()));
        let kept =
            [path(format!("{}-bbbbbb", here.name())), path("c10k-plant-mine".to_owned()), target.clone()];
        for folder in kept.iter().chain([&left]) {
            std::fs::create_dir(folder).expect("made");
            std::fs::write(folder.join("record.json"), "{}").expect("written");
        }
        let link = path(format!("{}-cccccc", gone().name()));
        std::os::unix::fs::symlink(&target, &link).expect("linked");
        let (one, two) = (Folder::make_in(parent.path(), &here), Folder::make_in(parent.path(), &here));
        let (one, two) = (one.expect("made"), two.expect("made"));
        assert!(!left.exists() && one.path() != two.path());
        assert!(kept.iter().all(|folder| folder.join("record.json").exists()), "{kept:?}");
        assert!(link.symlink_metadata().is_ok());
        let path = one.path().to_owned();
        drop(one);
        assert!(!path.exists() && two.path().exists());
    }
}
