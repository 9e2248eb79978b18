//! Signs of the host that belong to no connection: kills of the OOM killer, the table of neighbours, processes that
//! their cpu cgroup holds back.

use std::path::{Path, PathBuf};

use c10k_ceiling::{CounterChange, counter};

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

/// The signs since the beginning of a run.
#[derive(Debug)]
pub(crate) struct HostSigns {
    root: PathBuf,
    /// Found while the processes lived: their groups outlive them.
    server_group: Option<PathBuf>,
    swarm_group: Option<PathBuf>,
    server_threads: Option<PathBuf>,
    swarm_threads: Option<PathBuf>,
    first: Read,
    /// The most neighbours that were seen.
    most_neighbours: Option<u64>,
}

impl HostSigns {
    /// Begins to look, with these processes.
    pub(crate) fn begin(server: Option<u32>, swarm: Option<u32>) -> Self {
        Self::begin_at(Path::new("/"), server, swarm)
    }

    pub(crate) fn begin_at(root: &Path, server: Option<u32>, swarm: Option<u32>) -> Self {
        let group = |pid: Option<u32>| cpu_stat_of(root, pid?);
        let threads = |pid: Option<u32>| group_file(root, pid?, "pids", "pids.events");
        let mut signs = Self {
            root: root.to_owned(),
            server_group: group(server),
            swarm_group: group(swarm),
            server_threads: threads(server),
            swarm_threads: threads(swarm),
            first: Read::default(),
            most_neighbours: None,
        };
        signs.first = signs.read();
        signs
    }

    /// Looks at what goes up and down.
    pub(crate) fn look(&mut self) {
        self.most_neighbours = self.most_neighbours.max(self.read().neighbours);
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
        let text = |below: &str| std::fs::read_to_string(self.root.join(below)).ok();
        let neighbours = text("proc/net/stat/arp_cache");
        let column = |name| neighbours.as_deref().and_then(|text| hex_column(text, name));
        Read {
            oom_kills: text("proc/vmstat").and_then(|text| line_value(&text, "oom_kill")),
            // Each processor's line has the one count of entries, and a count of its own of what found no room.
            neighbours: column("entries").and_then(|rows| rows.first().copied()),
            neighbour_table_fulls: column("table_fulls").map(|rows| rows.iter().sum()),
            server_throttled: throttled(self.server_group.as_deref()),
            swarm_throttled: throttled(self.swarm_group.as_deref()),
            server_refused: refused(self.server_threads.as_deref()),
            swarm_refused: refused(self.swarm_threads.as_deref()),
        }
    }
}

fn throttled(group: Option<&Path>) -> Option<u64> {
    line_value(&std::fs::read_to_string(group?).ok()?, "nr_throttled")
}

/// Threads that a pids cgroup has refused (EAGAIN; kernel/cgroup/pids.c, `pids_event`).
fn refused(events: Option<&Path>) -> Option<u64> {
    line_value(&std::fs::read_to_string(events?).ok()?, "max")
}

/// `cpu.stat` of the cpu cgroup of a process, version 1 or 2.
fn cpu_stat_of(root: &Path, pid: u32) -> Option<PathBuf> {
    group_file(root, pid, "cpu", "cpu.stat")
}

/// A file of the cgroup that a process has under a controller, version 1 or 2.
fn group_file(root: &Path, pid: u32, controller: &str, file: &str) -> Option<PathBuf> {
    let groups = std::fs::read_to_string(root.join(format!("proc/{pid}/cgroup"))).ok()?;
    let find = |wanted: &str| {
        groups.lines().find_map(|line| {
            let mut parts = line.splitn(3, ':');
            let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
            let named = controllers.split(',').any(|controller| controller == wanted);
            named.then(|| path.trim_start_matches('/').to_owned())
        })
    };
    let file = |mount: &str, group: String| {
        let path = root.join("sys/fs/cgroup").join(mount).join(group).join(file);
        path.exists().then_some(path)
    };
    let first = find(controller)
        .and_then(|group| file(controller, group.clone()).or_else(|| file("cpu,cpuacct", group)));
    first.or_else(|| file("", find("")?))
}

/// The value of a line such as `oom_kill 3`.
fn line_value(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        (words.next()? == name).then(|| words.next()?.parse().ok())?
    })
}

/// The hexadecimal values under a heading, a line a processor.
fn hex_column(text: &str, heading: &str) -> Option<Vec<u64>> {
    let mut lines = text.lines();
    let at = lines.next()?.split_whitespace().position(|word| word == heading)?;
    lines.map(|line| u64::from_str_radix(line.split_whitespace().nth(at)?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
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
        let mut signs = HostSigns::begin_at(root, Some(7), Some(8));
        write(root, "proc/net/stat/arp_cache", &neighbours(1024, 40));
        signs.look();
        write(root, "proc/net/stat/arp_cache", &neighbours(5, 40));
        write(root, "proc/vmstat", "oom_kill 3\n");
        write(root, "sys/fs/cgroup/cpu/box/cpu.stat", "nr_throttled 11\n");
        write(root, "sys/fs/cgroup/pids/box/pids.events", "max 4\n");
        std::fs::remove_file(root.join("proc/7/cgroup")).expect("the process is gone");
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
        assert_eq!(HostSigns::begin_at(host.path(), Some(7), None).changes().count(), 0);
    }
}
