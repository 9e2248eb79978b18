//! Which processes hold a socket: its inode from sock_diag, looked for among the descriptors of every process.

use std::cmp::Ordering;
use std::fs;
use std::io;
use std::path::Path;

use crate::counters::ProcRoot;
use crate::sys::raw_kcmp::compare_tables;

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
    let Ok(processes) = fs::read_dir(root.path("proc")) else { return holders };
    for entry in processes.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_socket_is_found_in_any_thread_of_a_recorded_process() {
        let host = tempfile::tempdir().unwrap();
        for (pid, tid, target) in
            [(7, 7, "socket:[41]"), (7, 9, "socket:[42]"), (8, 8, "socket:[42]"), (3, 3, "pipe:[42]")]
        {
            let process = host.path().join(format!("proc/{pid}"));
            fs::create_dir_all(process.join("fd")).unwrap();
            let task = process.join(format!("task/{tid}/fd"));
            fs::create_dir_all(&task).unwrap();
            symlink(target, task.join("5")).unwrap();
            if tid == pid {
                symlink(target, process.join("fd/5")).unwrap();
            }
        }
        let found = holders_of(&ProcRoot::recorded(host.path()), &[42]);
        assert_eq!((found.pids, found.closed_to_us), (vec![7, 8], 0));
    }
}
