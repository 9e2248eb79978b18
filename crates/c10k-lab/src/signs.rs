//! Signs of the host that belong to no connection: kills of the OOM killer, the table of neighbours, processes that
//! their cpu cgroup holds back.

use c10k_ceiling::{CounterChange, counter};
use c10k_kernel::cgroup::{CpuGroup, PidsGroup, PidsSeen};
use c10k_kernel::counters::ProcRoot;
use c10k_kernel::counters::host_wide::{neighbours, oom_kills};

/// What was read at one moment; `None` = not here, or not readable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Read {
    oom_kills: Option<u64>,
    neighbours: Option<u64>,
    neighbour_table_fulls: Option<u64>,
    server_throttled: Option<u64>,
    swarm_throttled: Option<u64>,
    server_refused: Option<u64>,
    swarm_refused: Option<u64>,
}

/// The groups of one end, found while its process lived: they outlive it.
#[derive(Debug, Default)]
struct Groups {
    cpu: Option<CpuGroup>,
    pids: Option<PidsGroup>,
}

impl Groups {
    fn of(root: &ProcRoot, pid: Option<u32>) -> Self {
        if pid.is_none() {
            return Self::default();
        }
        Self { cpu: CpuGroup::of(root, pid).ok().flatten(), pids: PidsGroup::of(root, pid).ok().flatten() }
    }

    fn throttled(&self) -> Option<u64> {
        self.cpu.as_ref()?.throttled()
    }

    fn threads(&self) -> PidsSeen {
        self.pids.as_ref().map(PidsGroup::read).unwrap_or_default()
    }
}

/// The signs since the beginning of a run.
#[derive(Debug)]
pub(crate) struct HostSigns {
    root: ProcRoot,
    server: Groups,
    swarm: Groups,
    first: Read,
    /// The most neighbours that were seen.
    most_neighbours: Option<u64>,
    /// The group of either end that had the fewest threads left, when it had.
    fewest_threads: Option<PidsSeen>,
}

impl HostSigns {
    /// Begins to look, with these processes.
    pub(crate) fn begin(server: Option<u32>, swarm: Option<u32>) -> Self {
        Self::begin_at(ProcRoot::default(), server, swarm)
    }

    pub(crate) fn begin_at(root: ProcRoot, server: Option<u32>, swarm: Option<u32>) -> Self {
        let (server, swarm) = (Groups::of(&root, server), Groups::of(&root, swarm));
        let first = Read::default();
        let mut signs = Self { root, server, swarm, first, most_neighbours: None, fewest_threads: None };
        signs.first = signs.read();
        signs
    }

    /// Looks at what goes up and down.
    pub(crate) fn look(&mut self) {
        self.most_neighbours = self.most_neighbours.max(neighbours(&self.root).map(|seen| seen.entries));
        for seen in [self.server.threads(), self.swarm.threads()] {
            let fewest = self.fewest_threads.as_ref().and_then(PidsSeen::left);
            if let Some(left) = seen.left()
                && fewest.is_none_or(|fewest| left < fewest)
            {
                self.fewest_threads = Some(seen);
            }
        }
    }

    /// The pids cgroup of the two ends that had the fewest threads left.
    pub(crate) fn fewest_threads(&self) -> Option<&PidsSeen> {
        self.fewest_threads.as_ref()
    }

    /// The file with the quota that held the server back.
    pub(crate) fn server_cpu_quota(&self) -> Option<String> {
        let (file, _) = self.server.cpu.as_ref()?.quota()?;
        let held_back = self.server.throttled() > self.first.server_throttled;
        held_back.then(|| file.display().to_string())
    }

    /// What has changed, by the names that the walls know.
    pub(crate) fn changes(&self) -> impl Iterator<Item = (String, CounterChange)> {
        let (first, last) = (self.first, self.read());
        [
            (counter::OOM_KILLS, first.oom_kills, last.oom_kills),
            (counter::NEIGHBOURS, first.neighbours, last.neighbours.max(self.most_neighbours)),
            (counter::NEIGHBOUR_TABLE_FULLS, first.neighbour_table_fulls, last.neighbour_table_fulls),
            (counter::SERVER_THROTTLED, first.server_throttled, last.server_throttled),
            (counter::SWARM_THROTTLED, first.swarm_throttled, last.swarm_throttled),
            (counter::SERVER_THREADS_REFUSED, first.server_refused, last.server_refused),
            (counter::SWARM_THREADS_REFUSED, first.swarm_refused, last.swarm_refused),
        ]
        .into_iter()
        .filter_map(|(name, before, after)| {
            Some((name.to_owned(), CounterChange { before: before?, after: after? }))
        })
    }

    fn read(&self) -> Read {
        let neighbours = neighbours(&self.root);
        Read {
            oom_kills: oom_kills(&self.root),
            neighbours: neighbours.map(|seen| seen.entries),
            neighbour_table_fulls: neighbours.map(|seen| seen.table_fulls),
            server_throttled: self.server.throttled(),
            swarm_throttled: self.swarm.throttled(),
            server_refused: self.server.threads().refused,
            swarm_refused: self.swarm.threads().refused,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn write(root: &Path, below: &str, text: &str) {
        let path = root.join(below);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::write(path, text).expect("written");
    }

    #[test]
    fn what_has_changed_since_the_beginning_is_told_by_name() {
        let host = tempfile::tempdir().expect("a folder");
        let root = host.path();
        let neighbours = |entries, fulls| {
            format!(
                "entries  allocs table_fulls\n{entries:08x} 00000009 {fulls:08x}\n{entries:08x} 00000009 00000001\n"
            )
        };
        write(root, "proc/vmstat", "nr_free_pages 9\noom_kill 2\n");
        write(root, "proc/net/stat/arp_cache", &neighbours(3, 0));
        write(root, "proc/7/cgroup", "4:cpu,cpuacct:/box\n3:pids:/box\n0::/\n");
        write(root, "sys/fs/cgroup/pids/box/pids.events", "max 0\n");
        write(root, "sys/fs/cgroup/cpu/box/cpu.stat", "nr_periods 5\nnr_throttled 0\n");
        write(root, "sys/fs/cgroup/cpu/box/cpu.cfs_quota_us", "1000\n");
        write(root, "sys/fs/cgroup/pids/box/pids.max", "9\n");
        write(root, "sys/fs/cgroup/pids/box/pids.current", "9\n");
        write(
            root,
            "proc/self/mountinfo",
            "32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n\
             33 31 0:28 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n",
        );
        let mut signs = HostSigns::begin_at(ProcRoot::recorded(root), Some(7), Some(8));
        assert_eq!(signs.server_cpu_quota(), None, "it has not been held back yet");
        write(root, "proc/net/stat/arp_cache", &neighbours(1024, 40));
        signs.look();
        write(root, "proc/net/stat/arp_cache", &neighbours(5, 40));
        write(root, "proc/vmstat", "oom_kill 3\n");
        write(root, "sys/fs/cgroup/cpu/box/cpu.stat", "nr_throttled 11\n");
        write(root, "sys/fs/cgroup/pids/box/pids.events", "max 4\n");
        std::fs::remove_file(root.join("proc/7/cgroup")).expect("the process is gone");
        assert!(signs.server_cpu_quota().is_some_and(|file| file.ends_with("cpu/box/cpu.cfs_quota_us")));
        let threads = signs.fewest_threads().expect("a limit");
        assert_eq!((threads.max, threads.left()), (Some(9), Some(0)));
        let changes: Vec<(String, u64, u64)> =
            signs.changes().map(|(name, change)| (name, change.before, change.after)).collect();
        assert_eq!(
            changes,
            [
                (counter::OOM_KILLS.to_owned(), 2, 3),
                (counter::NEIGHBOURS.to_owned(), 3, 1024),
                (counter::NEIGHBOUR_TABLE_FULLS.to_owned(), 1, 41),
                (counter::SERVER_THROTTLED.to_owned(), 0, 11),
                (counter::SERVER_THREADS_REFUSED.to_owned(), 0, 4),
            ]
        );
    }

    #[test]
    fn a_host_that_says_nothing_has_changed_nothing() {
        let host = tempfile::tempdir().expect("a folder");
        assert_eq!(HostSigns::begin_at(ProcRoot::recorded(host.path()), Some(7), None).changes().count(), 0);
    }
}
