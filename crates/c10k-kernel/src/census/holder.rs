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
pub(super) fn socket_inode(link: &str) -> Option<u32> {
    link.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

pub(super) fn pids(root: &ProcRoot) -> Vec<u32> {
    let Ok(processes) = fs::read_dir(root.path("proc")) else { return Vec::new() };
    processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A host on which these threads of these processes have these descriptors.
    pub(in crate::census) fn host(threads: &[(u32, u32, &[&str])]) -> tempfile::TempDir {
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
    fn the_sockets_of_one_process_are_told_as_far_as_all_of_it_was_looked_through() {
        let host =
            host(&[(11, 11, &["socket:[21]", "socket:[22]", "pipe:[23]"]), (11, 15, &["socket:[24]"])]);
        let root = ProcRoot::recorded(host.path());
        let both = held_by(&root, 11, &[21, 24, 25], 9).unwrap();
        assert_eq!(both, Some(HashSet::from([21, 24])));
        assert_eq!(held_by(&root, 11, &[21, 24, 25], 2).unwrap(), None, "not all were looked through");
    }
}
