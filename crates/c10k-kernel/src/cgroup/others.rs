//! The pids and cpu cgroups of a process: how many threads it may still start, and how often it was held back.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{CgroupVersion, entry, number, place_of};
use crate::counters::ProcRoot;

/// The pids cgroup of a process (Documentation/admin-guide/cgroup-v1/pids.rst, cgroup-v2.rst). A process is bound by
/// its own group and by every group above it.
#[derive(Clone, Debug)]
pub struct PidsGroup {
    own: PathBuf,
    top: PathBuf,
    events: PathBuf,
}

/// What a pids cgroup says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PidsSeen {
    /// `pids.max` of the group, on the way up, that has least left; `None` where none has a limit.
    pub max: Option<u64>,
    /// `pids.current` of that group: threads, those of its processes and of the groups below it.
    pub current: Option<u64>,
    /// The folder of that group.
    pub folder: Option<PathBuf>,
    /// Threads that were refused (EAGAIN): `pids.events` `max` (kernel/cgroup/pids.c, `pids_event`).
    pub refused: Option<u64>,
}

impl PidsSeen {
    /// How many threads it leaves.
    #[must_use]
    pub fn left(&self) -> Option<u64> {
        Some(self.max?.saturating_sub(self.current?))
    }
}

impl PidsGroup {
    /// The group of process `pid`, or of the calling process; `None` where there is no such controller.
    ///
    /// # Errors
    /// As [`super::MemoryGroup::limiting`].
    pub fn of(root: &ProcRoot, pid: Option<u32>) -> io::Result<Option<Self>> {
        let Some((version, top, own)) = place_of(root, pid, "pids")? else { return Ok(None) };
        let mut group = Self { events: own.join("pids.events"), own, top };
        // Version 1 counts a refusal where the thread was to be, version 2 in the group that refused it.
        if version == CgroupVersion::V2
            && let Some(folder) = group.read().folder
        {
            group.events = folder.join("pids.events");
        }
        Ok(Some(group))
    }

    /// Reads it now. Nothing of it can be read any more when the group is gone.
    #[must_use]
    pub fn read(&self) -> PidsSeen {
        let read = |folder: &Path, name: &str| number(&fs::read(folder.join(name)).ok()?);
        let groups = self.own.ancestors().take_while(|folder| folder.starts_with(&self.top));
        let tightest = groups
            .filter_map(|folder| {
                let (max, current) = (read(folder, "pids.max")?, read(folder, "pids.current")?);
                Some((max.saturating_sub(current), max, current, folder))
            })
            .min_by_key(|(left, ..)| *left);
        PidsSeen {
            max: tightest.map(|(_, max, ..)| max),
            current: tightest.map(|(_, _, current, _)| current),
            folder: tightest.map(|(.., folder)| folder.to_owned()),
            refused: fs::read(&self.events).ok().and_then(|text| entry(&text, b"max")),
        }
    }
}

/// The cpu cgroup of a process (Documentation/scheduler/sched-bwc.rst). A quota above it holds it back too.
#[derive(Clone, Debug)]
pub struct CpuGroup {
    version: CgroupVersion,
    own: PathBuf,
    top: PathBuf,
}

impl CpuGroup {
    /// The group of process `pid`, or of the calling process; `None` where there is no such controller.
    ///
    /// # Errors
    /// As [`super::MemoryGroup::limiting`].
    pub fn of(root: &ProcRoot, pid: Option<u32>) -> io::Result<Option<Self>> {
        let place = place_of(root, pid, "cpu")?;
        Ok(place.map(|(version, top, own)| Self { version, own, top }))
    }

    /// Periods in which it was held back, by a quota of its own or by one above it: `cpu.stat` `nr_throttled`.
    #[must_use]
    pub fn throttled(&self) -> Option<u64> {
        let counts = self.way_up().filter_map(|folder| {
            let text = fs::read(folder.join("cpu.stat")).ok()?;
            entry(&text, b"nr_throttled")
        });
        counts.reduce(u64::saturating_add)
    }

    /// The file of the nearest quota that stands, and what is to be written into it so that none does.
    #[must_use]
    pub fn quota(&self) -> Option<(PathBuf, &'static str)> {
        let (name, none) = match self.version {
            CgroupVersion::V1 => ("cpu.cfs_quota_us", "-1"),
            CgroupVersion::V2 => ("cpu.max", "max"),
        };
        let file = self.way_up().map(|folder| folder.join(name)).find(|file| {
            fs::read_to_string(file).is_ok_and(|text| !text.trim().is_empty() && !text.starts_with(none))
        })?;
        Some((file, none))
    }

    fn way_up(&self) -> impl Iterator<Item = &Path> {
        self.own.ancestors().take_while(|folder| folder.starts_with(&self.top))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::record;
    use super::*;

    #[test]
    fn the_group_that_has_least_left_binds_wherever_it_stands_on_the_way_up() {
        let host = tempfile::tempdir().unwrap();
        let at = host.path();
        record(at, "proc/7/cgroup", "0::/shop/web\n");
        record(at, "proc/self/mountinfo", "35 24 0:30 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n");
        record(at, "sys/fs/cgroup/shop/pids.max", "100\n");
        record(at, "sys/fs/cgroup/shop/pids.current", "98\n");
        record(at, "sys/fs/cgroup/shop/pids.events", "max 4\n");
        record(at, "sys/fs/cgroup/shop/web/pids.max", "50\n");
        record(at, "sys/fs/cgroup/shop/web/pids.current", "20\n");
        record(at, "sys/fs/cgroup/shop/web/pids.events", "max 0\n");
        let seen = PidsGroup::of(&ProcRoot::recorded(at), Some(7)).unwrap().unwrap().read();
        assert_eq!(
            (seen.max, seen.current, seen.left(), seen.refused),
            (Some(100), Some(98), Some(2), Some(4))
        );
        assert!(seen.folder.unwrap().ends_with("shop"));
        record(at, "sys/fs/cgroup/shop/pids.max", "max\n");
        let seen = PidsGroup::of(&ProcRoot::recorded(at), Some(7)).unwrap().unwrap().read();
        assert_eq!((seen.max, seen.left(), seen.refused), (Some(50), Some(30), Some(0)));
    }

    #[test]
    fn version_1_counts_its_refusals_in_the_group_of_the_thread() {
        let host = tempfile::tempdir().unwrap();
        let at = host.path();
        record(at, "proc/self/cgroup", "8:pids:/box/in\n7:cpu,cpuacct:/box\n0::/\n");
        record(
            at,
            "proc/self/mountinfo",
            "32 31 0:29 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n\
             33 31 0:28 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n",
        );
        record(at, "sys/fs/cgroup/pids/box/pids.max", "5\n");
        record(at, "sys/fs/cgroup/pids/box/pids.current", "5\n");
        record(at, "sys/fs/cgroup/pids/box/in/pids.max", "max\n");
        record(at, "sys/fs/cgroup/pids/box/in/pids.events", "max 3\n");
        let root = ProcRoot::recorded(at);
        let seen = PidsGroup::of(&root, None).unwrap().unwrap().read();
        assert_eq!((seen.max, seen.left(), seen.refused), (Some(5), Some(0), Some(3)));
        record(at, "sys/fs/cgroup/cpu,cpuacct/box/cpu.stat", "nr_periods 9\nnr_throttled 7\n");
        record(at, "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n");
        record(at, "sys/fs/cgroup/cpu,cpuacct/box/cpu.cfs_quota_us", "1000\n");
        let cpu = CpuGroup::of(&root, None).unwrap().unwrap();
        assert_eq!(cpu.throttled(), Some(7));
        let (file, none) = cpu.quota().unwrap();
        assert!(file.ends_with("box/cpu.cfs_quota_us") && none == "-1");
        record(at, "sys/fs/cgroup/cpu,cpuacct/box/cpu.cfs_quota_us", "-1\n");
        assert_eq!(cpu.quota(), None);
    }
}
