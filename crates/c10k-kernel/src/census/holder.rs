//! Which processes hold a socket: its inode from sock_diag, looked for among the descriptors of every process.

use std::cmp::Ordering;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::Path;

use crate::counters::ProcRoot;
use crate::sys::raw_kcmp::compare_tables;

/// The processes that hold some sockets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holders {
    /// Those found, in the order of their pids.
    pub pids: Vec<u32>,
    /// Processes whose descriptors this user may not see: one of them may hold it too.
    pub closed_to_us: u64,
}

/// The processes that hold a socket with one of these inodes. Reads the link of every descriptor of every process: for
/// once, not for every tick.
#[must_use]
pub fn holders_of(root: &ProcRoot, inodes: &[u32]) -> Holders {
    let mut holders = Holders::default();
    let wanted: Vec<String> = inodes.iter().map(|inode| format!("socket:[{inode}]")).collect();
    let Ok(processes) = fs::read_dir(root.path("proc")) else { return holders };
    for entry in processes.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        match holds(&entry.path(), &wanted, root.is_live()) {
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

/// Whether a process holds one of the sockets in the table of any of its threads.
fn holds(process: &Path, wanted: &[String], is_live: bool) -> io::Result<bool> {
    if any_link(&process.join("fd"), wanted)? {
        return Ok(true);
    }
    // A worker thread with a table of its own shows its descriptors only below its own folder.
    let first = process.file_name();
    let number =
        |name: Option<&OsStr>| name.and_then(OsStr::to_str).and_then(|name| name.parse().ok()).unwrap_or(0);
    for task in fs::read_dir(process.join("task"))?.flatten() {
        let name = task.file_name();
        let is_first = Some(name.as_os_str()) == first;
        let shares = is_first
            || is_live && matches!(compare_tables(number(first), number(Some(&name))), Ok(Ordering::Equal));
        if !shares && any_link(&task.path().join("fd"), wanted)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn any_link(folder: &Path, wanted: &[String]) -> io::Result<bool> {
    for entry in fs::read_dir(folder)?.flatten() {
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
