//! Numbers of the whole host that belong to no network namespace.

use std::fs;

use super::{ProcRoot, lines, number, words};

/// Processes that the OOM killer has ended since boot, those of groups included: `/proc/vmstat` `oom_kill`.
#[must_use]
pub fn oom_kills(root: &ProcRoot) -> Option<u64> {
    let text = fs::read(root.path("proc/vmstat")).ok()?;
    lines(&text).find_map(|line| {
        let mut line = words(line);
        (line.next()? == b"oom_kill").then(|| number(line.next()?))?
    })
}

/// Threads that there are on the whole host: `/proc/loadavg`, behind the slash.
#[must_use]
pub fn threads(root: &ProcRoot) -> Option<u64> {
    let text = fs::read_to_string(root.path("proc/loadavg")).ok()?;
    text.split('/').nth(1)?.split(' ').next()?.parse().ok()
}

/// The table of neighbours of IPv4, `/proc/net/stat/arp_cache`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Neighbours {
    /// How many the kernel keeps.
    pub entries: u64,
    /// How many found no room since boot.
    pub table_fulls: u64,
}

/// Reads it; `None` where it cannot be read, or has none of these columns.
#[must_use]
pub fn neighbours(root: &ProcRoot) -> Option<Neighbours> {
    let text = fs::read_to_string(root.path("proc/net/stat/arp_cache")).ok()?;
    let mut lines = text.lines();
    let heading: Vec<&str> = lines.next()?.split_whitespace().collect();
    let rows: Vec<&str> = lines.collect();
    let column = |name: &str| -> Option<Vec<u64>> {
        let at = heading.iter().position(|word| *word == name)?;
        rows.iter().map(|row| u64::from_str_radix(row.split_whitespace().nth(at)?, 16).ok()).collect()
    };
    // Each processor's line has the one count of entries, and a count of its own of what found no room.
    Some(Neighbours {
        entries: column("entries")?.first().copied()?,
        table_fulls: column("table_fulls")?.into_iter().fold(0, u64::saturating_add),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recorded_host_tells_its_kills_its_threads_and_its_neighbours() {
        let host = tempfile::tempdir().unwrap();
        let record = |below: &str, text: &str| {
            let path = host.path().join(below);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let root = ProcRoot::recorded(host.path());
        assert_eq!((oom_kills(&root), threads(&root), neighbours(&root)), (None, None, None));
        record("proc/vmstat", "nr_free_pages 9\noom_kill 2\n");
        record("proc/loadavg", "0.35 0.20 0.10 2/412 1234\n");
        record(
            "proc/net/stat/arp_cache",
            "entries allocs table_fulls\n00000400 9 00000028\n00000400 9 00000001\n",
        );
        assert_eq!((oom_kills(&root), threads(&root)), (Some(2), Some(412)));
        assert_eq!(neighbours(&root), Some(Neighbours { entries: 1024, table_fulls: 41 }));
    }
}
