//! Numbers of the whole host that belong to no network namespace.

use std::fs;

use super::{ProcFile, ProcRoot, hexadecimal, lines, number, words};

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

/// One table of neighbours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Neighbours {
    /// How many the kernel keeps.
    pub entries: u64,
    /// How many found no room since boot.
    pub table_fulls: u64,
}

/// Reads the tables of neighbours, of which there is one for each family, for all network namespaces together.
///
/// `/proc/net/stat/arp_cache` and `ndisc_cache` stand in the machine's first network namespace alone
/// (net/core/neighbour.c, `neigh_table_init`). So they are opened there: a file that is open is read from any.
#[derive(Debug)]
pub struct NeighboursReader {
    ipv4: ProcFile,
    ipv6: ProcFile,
    buffer: Vec<u8>,
}

impl NeighboursReader {
    /// Opens them as the calling thread's network namespace shows them.
    #[must_use]
    pub fn open(root: &ProcRoot) -> Self {
        let table = |name: &str| ProcFile::open(root.process_path(None, &format!("net/stat/{name}")));
        Self { ipv4: table("arp_cache"), ipv6: table("ndisc_cache"), buffer: Vec::new() }
    }

    /// IPv4's; `None` where it could not be opened, or has none of these columns.
    pub fn ipv4(&mut self) -> Option<Neighbours> {
        parse_neighbours(self.ipv4.read(&mut self.buffer).ok()?)
    }

    /// IPv6's, likewise.
    pub fn ipv6(&mut self) -> Option<Neighbours> {
        parse_neighbours(self.ipv6.read(&mut self.buffer).ok()?)
    }
}

fn parse_neighbours(text: &[u8]) -> Option<Neighbours> {
    let mut lines = lines(text);
    let heading: Vec<&[u8]> = words(lines.next()?).collect();
    let rows: Vec<&[u8]> = lines.collect();
    let column = |name: &[u8]| -> Option<Vec<u64>> {
        let at = heading.iter().position(|word| *word == name)?;
        rows.iter().map(|row| hexadecimal(words(row).nth(at)?)).collect()
    };
    // Each processor's line has the one count of entries, and a count of its own of what found no room.
    Some(Neighbours {
        entries: column(b"entries")?.first().copied()?,
        table_fulls: column(b"table_fulls")?.into_iter().fold(0, u64::saturating_add),
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
        assert_eq!((oom_kills(&root), threads(&root)), (None, None));
        assert_eq!(NeighboursReader::open(&root).ipv4(), None);
        record("proc/vmstat", "nr_free_pages 9\noom_kill 2\n");
        record("proc/loadavg", "0.35 0.20 0.10 2/412 1234\n");
        record(
            "proc/self/net/stat/arp_cache",
            "entries allocs table_fulls\n00000400 9 00000028\n00000400 9 00000001\n",
        );
        assert_eq!((oom_kills(&root), threads(&root)), (Some(2), Some(412)));
        record("proc/self/net/stat/ndisc_cache", "entries table_fulls\n00000007 00000000\n");
        let mut tables = NeighboursReader::open(&root);
        assert_eq!(tables.ipv4(), Some(Neighbours { entries: 1024, table_fulls: 41 }));
        assert_eq!(tables.ipv6(), Some(Neighbours { entries: 7, table_fulls: 0 }));
    }

    #[test]
    fn what_was_opened_in_one_namespace_is_read_in_another_that_does_not_show_it() {
        let mut report = [0; 3];
        // In a child, which has one thread and may go where it likes.
        crate::sys::raw_fork::fork_and_report(&mut report, |report| {
            let root = ProcRoot::default();
            let mut before = NeighboursReader::open(&root);
            report[0] = u8::from(before.ipv4().is_some());
            if crate::namespace::enter_new().is_ok() {
                report[1] = u8::from(before.ipv4().is_some());
                report[2] = 1 + u8::from(NeighboursReader::open(&root).ipv4().is_some());
            }
        })
        .unwrap();
        let [opened, kept, inside] = report;
        // Where no namespace may be made, or this one shows no such table, there is nothing to tell.
        assert!(inside == 0 || opened == kept && inside == 1, "{report:?}");
    }
}
