//! The threads that the groups of a process leave it, and those that were refused.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{Place, entry, number, place_of};
use crate::counters::ProcRoot;

/// The pids cgroup of a process (Documentation/admin-guide/cgroup-v1/pids.rst, cgroup-v2.rst). A process is bound by
/// its own group and by every group above it.
#[derive(Clone, Debug)]
pub struct PidsGroup(Place);

/// What a pids cgroup says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PidsSeen {
    /// `pids.max` of the group, on the way up, that has least left; `None` where none has a limit.
    pub max: Option<u64>,
    /// `pids.current` of that group: threads, those of its processes and of the groups below it.
    pub current: Option<u64>,
    /// The folder of that group.
    pub folder: Option<PathBuf>,
}

impl PidsSeen {
    /// How many threads it leaves.
    #[must_use]
    pub fn left(&self) -> Option<u64> {
        Some(self.max?.saturating_sub(self.current?))
    }
}

/// Threads that were refused (EAGAIN), by the group that counted them: nearest first, `None` for one that does not say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refusals(Vec<Option<u64>>);

impl Refusals {
    /// Whether no group says it at all, as the root group does not.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(Option::is_none)
    }

    /// How many since an earlier look, by the group that counted most; `None` where none has said it both times.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Option<u64> {
        let grown = |(now, before): (&Option<u64>, &Option<u64>)| Some((*now)?.saturating_sub((*before)?));
        self.0.iter().zip(&earlier.0).filter_map(grown).max()
    }
}

impl PidsGroup {
    /// The group of process `pid`, or of the calling process; `None` where there is no such controller.
    ///
    /// # Errors
    /// As [`super::MemoryGroups::of`].
    pub fn of(root: &ProcRoot, pid: Option<u32>) -> io::Result<Option<Self>> {
        Ok(place_of(root, pid, "pids")?.map(Self))
    }

    /// Reads it now. Nothing of it can be read any more when the group is gone.
    #[must_use]
    pub fn read(&self) -> PidsSeen {
        let read = |folder: &Path, name: &str| number(&fs::read(folder.join(name)).ok()?);
        let tightest = self
            .0
            .way_up()
            .filter_map(|folder| {
                let (max, current) = (read(folder, "pids.max")?, read(folder, "pids.current")?);
                Some((max.saturating_sub(current), max, current, folder))
            })
            .min_by_key(|(left, ..)| *left);
        PidsSeen {
            max: tightest.map(|(_, max, ..)| max),
            current: tightest.map(|(_, _, current, _)| current),
            folder: tightest.map(|(.., folder)| folder.to_owned()),
        }
    }

    /// The threads of this process, and of those beside it, that were refused so far.
    ///
    /// # Where they are counted
    /// In version 1, and in version 2 before Linux 6.11, `pids.events` of the group *in which the thread was to be*,
    /// whichever group's limit was hit (kernel/cgroup/pids.c, `pids_event`): that is the own group. Since then version 2
    /// counts in the group that refused, wherever it stands above, in `pids.events.local`; its `pids.events` has the
    /// refusals of everybody below it too.
    #[must_use]
    pub fn refusals(&self) -> Refusals {
        let most = |folder: &Path, name: &str| entry(&fs::read(folder.join(name)).ok()?, b"max");
        let refused = |(up, folder): (usize, &Path)| {
            let by_itself = most(folder, "pids.events.local");
            by_itself.or_else(|| if up == 0 { most(folder, "pids.events") } else { None })
        };
        Refusals(self.0.way_up().enumerate().map(refused).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::record;
    use super::*;

    fn group(at: &Path) -> PidsGroup {
        PidsGroup::of(&ProcRoot::recorded(at), Some(7)).unwrap().unwrap()
    }

    fn version_2() -> tempfile::TempDir {
        let host = tempfile::tempdir().unwrap();
        let at = host.path();
        record(at, "proc/7/cgroup", "0::/shop/web\n");
        record(at, "proc/self/mountinfo", "35 24 0:30 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n");
        record(at, "sys/fs/cgroup/shop/pids.max", "100\n");
        record(at, "sys/fs/cgroup/shop/pids.current", "98\n");
        record(at, "sys/fs/cgroup/shop/web/pids.max", "50\n");
        record(at, "sys/fs/cgroup/shop/web/pids.current", "20\n");
        host
    }

    #[test]
    fn the_group_that_has_least_left_binds_wherever_it_stands_on_the_way_up() {
        let host = version_2();
        let at = host.path();
        let seen = group(at).read();
        assert_eq!((seen.max, seen.current, seen.left()), (Some(100), Some(98), Some(2)));
        assert!(seen.folder.unwrap().ends_with("shop"));
        record(at, "sys/fs/cgroup/shop/pids.max", "max\n");
        let seen = group(at).read();
        assert_eq!((seen.max, seen.left()), (Some(50), Some(30)));
    }

    #[test]
    fn what_the_group_above_refused_is_found_where_the_kernel_counts_it() {
        let host = version_2();
        let at = host.path();
        let write = |web: u64, shop: u64| {
            record(at, "sys/fs/cgroup/shop/web/pids.events", &format!("max {web}\n"));
            record(at, "sys/fs/cgroup/shop/pids.events", &format!("max {shop}\n"));
        };
        let group = group(at);
        // Before Linux 6.11: in the group of the thread, though it is the one above that is full.
        write(0, 5);
        let first = group.refusals();
        write(3, 9);
        assert_eq!(group.refusals().since(&first), Some(3), "what the group above has more is of others");
        // Since then: in the group that refused, and there each group has its own.
        let local = |web: u64, shop: u64| {
            record(at, "sys/fs/cgroup/shop/web/pids.events.local", &format!("max {web}\n"));
            record(at, "sys/fs/cgroup/shop/pids.events.local", &format!("max {shop}\n"));
        };
        local(0, 2);
        let first = group.refusals();
        write(3, 90);
        assert_eq!(
            group.refusals().since(&first),
            Some(0),
            "a neighbour of this group met a limit of its own"
        );
        local(0, 6);
        assert_eq!(group.refusals().since(&first), Some(4));
        fs::remove_dir_all(at.join("sys/fs/cgroup/shop")).unwrap();
        assert_eq!(group.refusals().since(&first), None, "what is gone says nothing");
    }

    #[test]
    fn version_1_counts_its_refusals_in_the_group_of_the_thread() {
        let host = tempfile::tempdir().unwrap();
        let at = host.path();
        record(at, "proc/7/cgroup", "8:pids:/box/in\n0::/\n");
        let mount = "32 31 0:29 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n";
        record(at, "proc/self/mountinfo", mount);
        record(at, "sys/fs/cgroup/pids/box/pids.max", "5\n");
        record(at, "sys/fs/cgroup/pids/box/pids.current", "5\n");
        record(at, "sys/fs/cgroup/pids/box/pids.events", "max 0\n");
        record(at, "sys/fs/cgroup/pids/box/in/pids.max", "max\n");
        record(at, "sys/fs/cgroup/pids/box/in/pids.events", "max 0\n");
        let group = group(at);
        let first = group.refusals();
        record(at, "sys/fs/cgroup/pids/box/in/pids.events", "max 3\n");
        let seen = group.read();
        assert_eq!((seen.max, seen.left(), group.refusals().since(&first)), (Some(5), Some(0), Some(3)));
    }
}
