//! Which processes hold a socket: its inode from sock_diag, looked for among the descriptors of every process.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::Path;

use crate::counters::ProcRoot;
use crate::sys::raw_kcmp::compare_tables;
use crate::tables::TablesReader;

/// Descriptors that are looked through in one table: a listener is opened early and has a low number, and a table of a
/// million connections would take seconds to read.
const LOOKED_THROUGH: usize = 1024;

/// The processes that hold some sockets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holders {
    /// Those found, in the order of their pids.
    pub pids: Vec<u32>,
    /// Processes whose descriptors this user may not see: one of them may hold it too.
    pub closed_to_us: u64,
}

/// The processes that hold a socket with one of these inodes among the first descriptors of any of their tables. Reads
/// links of every process: for once, not for every tick.
#[must_use]
pub fn holders_of(root: &ProcRoot, inodes: &[u32]) -> Holders {
    let mut holders = Holders::default();
    let wanted: Vec<String> = inodes.iter().map(|inode| format!("socket:[{inode}]")).collect();
    for pid in pids(root) {
        match holds_one(root, pid, &wanted) {
            Ok(true) => holders.pids.push(pid),
            Ok(false) => {}
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => holders.closed_to_us += 1,
            // It ended meanwhile.
            Err(_) => {}
        }
    }
    holders.pids.sort_unstable();
    holders
}

/// Whether process `pid` holds a socket with one of these inodes, as [`holders_of`] looks.
///
/// # Errors
/// `PermissionDenied` for another user's process, `NotFound` when it is gone.
pub fn holds(root: &ProcRoot, pid: u32, inodes: &[u32]) -> io::Result<bool> {
    let wanted: Vec<String> = inodes.iter().map(|inode| format!("socket:[{inode}]")).collect();
    holds_one(root, pid, &wanted)
}

fn holds_one(root: &ProcRoot, pid: u32, wanted: &[String]) -> io::Result<bool> {
    if any_link(&root.process_path(Some(pid), "fd"), wanted)? {
        return Ok(true);
    }
    // A worker thread with a table of its own shows its descriptors only below its own folder.
    for task in fs::read_dir(root.process_path(Some(pid), "task"))?.flatten() {
        let Some(tid) = task.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let shares = tid == pid || root.is_live() && matches!(compare_tables(pid, tid), Ok(Ordering::Equal));
        if !shares && any_link(&task.path().join("fd"), wanted)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn any_link(folder: &Path, wanted: &[String]) -> io::Result<bool> {
    for entry in fs::read_dir(folder)?.take(LOOKED_THROUGH).flatten() {
        let Ok(target) = fs::read_link(entry.path()) else { continue };
        if target.to_str().is_some_and(|target| wanted.iter().any(|socket| socket == target)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// How many descriptors are looked through for the sockets of connections, of one process and of all. Each costs the
/// kernel about a microsecond, and about a KiB of caches that it gives back when memory is short.
#[derive(Clone, Copy, Debug)]
pub struct LookThrough {
    /// Of one process.
    pub of_one: usize,
    /// Of all together.
    pub of_all: usize,
}

impl Default for LookThrough {
    fn default() -> Self {
        Self { of_one: 1 << 16, of_all: 1 << 17 }
    }
}

/// What of some sockets one process holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holding {
    /// The process.
    pub pid: u32,
    /// How many of the sockets it was seen to hold, at least 1.
    pub sockets: u64,
    /// Whether all its descriptors were looked through: otherwise it may hold more.
    pub is_whole: bool,
}

/// Who holds the sockets of connections.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// The processes that hold any, in the order of their pids.
    pub by: Vec<Holding>,
    /// Sockets that no process was seen to hold.
    pub unseen: u64,
    /// Processes whose descriptors this user may not see.
    pub closed_to_us: u64,
    /// Some descriptors were not looked through, since there are too many.
    pub cut_short: bool,
}

/// Finds who holds the sockets with these inodes: first `likely` processes, then, as long as some are not found, all
/// others. A socket that several processes hold, as a parent and its child may, counts for each that was looked at. For
/// once, not for every tick.
#[must_use]
pub fn who_holds(root: &ProcRoot, inodes: &[u32], likely: &[u32], most: LookThrough) -> Held {
    let mut held = Held::default();
    let wanted: HashSet<u32> = inodes.iter().copied().filter(|inode| *inode > 0).collect();
    let mut left = wanted.clone();
    let mut budget = most.of_all;
    let others = pids(root).into_iter().filter(|pid| !likely.contains(pid));
    for (pid, is_likely) in likely.iter().map(|pid| (*pid, true)).chain(others.map(|pid| (pid, false))) {
        if left.is_empty() && !is_likely {
            break;
        }
        let may = most.of_one.min(budget);
        match sockets_of(root, pid, &wanted, may) {
            Ok(seen) => {
                budget -= seen.looked_at.min(budget);
                held.cut_short |= !seen.is_whole;
                left.retain(|inode| !seen.inodes.contains(inode));
                if !seen.inodes.is_empty() {
                    let sockets = seen.inodes.len() as u64;
                    held.by.push(Holding { pid, sockets, is_whole: seen.is_whole });
                }
            }
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => held.closed_to_us += 1,
            // It ended meanwhile.
            Err(_) => {}
        }
    }
    held.unseen = left.len() as u64;
    held.by.sort_by_key(|holding| holding.pid);
    held
}

/// Which of the sockets with these inodes process `pid` holds; `None` where it has more than `most` descriptors, so that
/// not all were looked through.
///
/// # Errors
/// `PermissionDenied` for another user's process, `NotFound` when it is gone.
pub fn held_by(root: &ProcRoot, pid: u32, inodes: &[u32], most: usize) -> io::Result<Option<HashSet<u32>>> {
    let seen = sockets_of(root, pid, &inodes.iter().copied().collect(), most)?;
    Ok(seen.is_whole.then_some(seen.inodes))
}

struct SocketsOfOne {
    inodes: HashSet<u32>,
    looked_at: usize,
    is_whole: bool,
}

/// The sockets among `wanted` that a process has in any of its tables.
fn sockets_of(root: &ProcRoot, pid: u32, wanted: &HashSet<u32>, most: usize) -> io::Result<SocketsOfOne> {
    let mut seen = SocketsOfOne { inodes: HashSet::new(), looked_at: 0, is_whole: true };
    for tid in TablesReader::new(root, pid).one_thread_of_each()? {
        for entry in fs::read_dir(root.process_path(Some(pid), &format!("task/{tid}/fd")))? {
            if seen.looked_at >= most {
                seen.is_whole = false;
                return Ok(seen);
            }
            let Ok(entry) = entry else { continue };
            seen.looked_at += 1;
            let Ok(target) = fs::read_link(entry.path()) else { continue };
            if let Some(inode) = target.to_str().and_then(socket_inode).filter(|inode| wanted.contains(inode))
            {
                seen.inodes.insert(inode);
            }
        }
    }
    Ok(seen)
}

/// The inode in `socket:[N]`.
fn socket_inode(link: &str) -> Option<u32> {
    link.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

fn pids(root: &ProcRoot) -> Vec<u32> {
    let Ok(processes) = fs::read_dir(root.path("proc")) else { return Vec::new() };
    processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A host on which these threads of these processes have these descriptors.
    fn host(threads: &[(u32, u32, &[&str])]) -> tempfile::TempDir {
        let host = tempfile::tempdir().unwrap();
        for (pid, tid, targets) in threads {
            let process = host.path().join(format!("proc/{pid}"));
            fs::create_dir_all(process.join("fd")).unwrap();
            let task = process.join(format!("task/{tid}"));
            fs::create_dir_all(task.join("fd")).unwrap();
            fs::write(task.join("status"), format!("FDSize:\t{tid}\n")).unwrap();
            for (fd, target) in targets.iter().enumerate() {
                symlink(target, task.join(format!("fd/{fd}"))).unwrap();
                if tid == pid {
                    symlink(target, process.join(format!("fd/{fd}"))).unwrap();
                }
            }
        }
        host
    }

    #[test]
    fn a_socket_is_found_in_any_thread_of_a_recorded_process() {
        let host = host(&[
            (7, 7, &["socket:[41]"]),
            (7, 9, &["socket:[42]"]),
            (8, 8, &["socket:[42]"]),
            (3, 3, &["pipe:[42]"]),
        ]);
        let found = holders_of(&ProcRoot::recorded(host.path()), &[42]);
        assert_eq!((found.pids, found.closed_to_us), (vec![7, 8], 0));
    }

    #[test]
    fn the_connections_of_a_server_are_counted_by_the_process_that_holds_them() {
        let host = host(&[
            (10, 10, &["socket:[1]"]),
            (11, 11, &["socket:[21]", "socket:[22]", "pipe:[23]"]),
            (11, 15, &["socket:[24]"]),
            (12, 12, &["socket:[25]", "socket:[99]"]),
        ]);
        let root = ProcRoot::recorded(host.path());
        let holding = |pid, sockets| Holding { pid, sockets, is_whole: true };
        let all = who_holds(&root, &[21, 22, 23, 24, 25, 26, 0], &[10], LookThrough::default());
        assert_eq!(all.by, [holding(11, 3), holding(12, 1)], "a table of a thread's own too, and no pipe");
        assert_eq!((all.unseen, all.closed_to_us, all.cut_short), (2, 0, false));
        // Where all are found nobody else is looked at.
        let few = who_holds(&root, &[25], &[12], LookThrough::default());
        assert_eq!((few.by, few.unseen), (vec![holding(12, 1)], 0));
        let both = held_by(&root, 11, &[21, 24, 25], 9).unwrap();
        assert_eq!(both, Some(HashSet::from([21, 24])));
        assert_eq!(held_by(&root, 11, &[21, 24, 25], 2).unwrap(), None, "not all were looked through");
        let bounded = who_holds(&root, &[21, 22, 25], &[11], LookThrough { of_one: 1, of_all: 9 });
        assert!(
            bounded.cut_short && bounded.by.iter().all(|one| one.sockets == 1 && !one.is_whole),
            "{bounded:?}"
        );
    }
}
