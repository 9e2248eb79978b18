//! The processor time that the groups of a process leave it.

use std::fs;
use std::io;
use std::path::PathBuf;

use super::{CgroupVersion, Place, entry, place_of};
use crate::counters::ProcRoot;

/// The cpu cgroup of a process (Documentation/scheduler/sched-bwc.rst). A quota above it holds it back too.
#[derive(Clone, Debug)]
pub struct CpuGroup(Place);

/// How often each group on the way up was held back: nearest first, `None` for one that does not say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Throttled(Vec<Option<u64>>);

impl Throttled {
    /// Whether no group says it at all, as the root group does not.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(Option::is_none)
    }

    /// How often since an earlier look, all groups together; `None` where no group has said it both times.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Option<u64> {
        self.each_since(earlier).flatten().reduce(u64::saturating_add)
    }

    fn each_since<'a>(&'a self, earlier: &'a Self) -> impl Iterator<Item = Option<u64>> + 'a {
        self.0.iter().zip(&earlier.0).map(|(now, before)| Some((*now)?.saturating_sub((*before)?)))
    }
}

impl CpuGroup {
    /// The group of process `pid`, or of the calling process; `None` where there is no such controller.
    ///
    /// # Errors
    /// As [`super::MemoryGroups::of`].
    pub fn of(root: &ProcRoot, pid: Option<u32>) -> io::Result<Option<Self>> {
        Ok(place_of(root, pid, "cpu")?.map(Self))
    }

    /// Periods in which each group was held back by its own quota: `cpu.stat` `nr_throttled`.
    #[must_use]
    pub fn throttled(&self) -> Throttled {
        let count =
            |folder: &std::path::Path| entry(&fs::read(folder.join("cpu.stat")).ok()?, b"nr_throttled");
        Throttled(self.0.way_up().map(count).collect())
    }

    /// The file of the quota that held the process back most since an earlier look, and what is to be written into it so
    /// that none stands; `None` where none did.
    #[must_use]
    pub fn quota_that_held_back(&self, earlier: &Throttled) -> Option<(PathBuf, &'static str)> {
        let (name, none) = match self.0.version {
            CgroupVersion::V1 => ("cpu.cfs_quota_us", "-1"),
            CgroupVersion::V2 => ("cpu.max", "max"),
        };
        let now = self.throttled();
        let held_back = self.0.way_up().zip(now.each_since(earlier)).filter_map(|(folder, periods)| {
            let file = folder.join(name);
            let text = fs::read_to_string(&file).ok()?;
            let stands = !text.trim().is_empty() && !text.starts_with(none);
            Some((periods.filter(|periods| *periods > 0 && stands)?, file))
        });
        // Of equal ones the nearer: `max_by_key` would take the last.
        let most = held_back.reduce(|most, other| if other.0 > most.0 { other } else { most });
        most.map(|(_, file)| (file, none))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::record;
    use super::*;

    #[test]
    fn the_quota_that_held_back_is_named_wherever_on_the_way_up_it_stands() {
        let host = tempfile::tempdir().unwrap();
        let at = host.path();
        record(at, "proc/7/cgroup", "0::/slice/unit\n");
        record(at, "proc/self/mountinfo", "35 24 0:30 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n");
        let stat = |group: &str, periods: u64| {
            record(at, &format!("sys/fs/cgroup/{group}/cpu.stat"), &format!("nr_throttled {periods}\n"));
        };
        let quota = |group: &str, text: &str| record(at, &format!("sys/fs/cgroup/{group}/cpu.max"), text);
        stat("slice", 40);
        stat("slice/unit", 900);
        quota("slice", "50000 100000\n");
        quota("slice/unit", "200000 100000\n");
        let group = CpuGroup::of(&ProcRoot::recorded(at), Some(7)).unwrap().unwrap();
        let first = group.throttled();
        assert_eq!((group.throttled().since(&first), group.quota_that_held_back(&first)), (Some(0), None));
        // The nearest quota is generous; the one above it is what holds back.
        stat("slice", 70);
        stat("slice/unit", 902);
        assert_eq!(group.throttled().since(&first), Some(32));
        let (file, none) = group.quota_that_held_back(&first).unwrap();
        assert!(file.ends_with("slice/cpu.max") && none == "max", "{file:?}");
        // It was taken away meanwhile.
        quota("slice", "max 100000\n");
        assert!(group.quota_that_held_back(&first).unwrap().0.ends_with("unit/cpu.max"));
        fs::remove_dir_all(at.join("sys/fs/cgroup/slice")).unwrap();
        assert_eq!(group.throttled().since(&first), None, "what is gone says nothing");
    }

    #[test]
    fn in_version_1_the_quota_has_a_file_of_its_own() {
        let host = tempfile::tempdir().unwrap();
        let at = host.path();
        record(at, "proc/self/cgroup", "7:cpu,cpuacct:/box\n0::/\n");
        let mount = "33 31 0:28 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n";
        record(at, "proc/self/mountinfo", mount);
        record(at, "sys/fs/cgroup/cpu,cpuacct/box/cpu.stat", "nr_periods 9\nnr_throttled 7\n");
        record(at, "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n");
        record(at, "sys/fs/cgroup/cpu,cpuacct/box/cpu.cfs_quota_us", "1000\n");
        let cpu = CpuGroup::of(&ProcRoot::recorded(at), None).unwrap().unwrap();
        let first = cpu.throttled();
        record(at, "sys/fs/cgroup/cpu,cpuacct/box/cpu.stat", "nr_periods 12\nnr_throttled 9\n");
        assert_eq!(cpu.throttled().since(&first), Some(2));
        let (file, none) = cpu.quota_that_held_back(&first).unwrap();
        assert!(file.ends_with("box/cpu.cfs_quota_us") && none == "-1");
        record(at, "sys/fs/cgroup/cpu,cpuacct/box/cpu.cfs_quota_us", "-1\n");
        assert_eq!(cpu.quota_that_held_back(&first), None);
    }
}
