//! Whether the network namespace of a journal is still there.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use c10k_kernel::files;

use super::model::{Holder, Journal, own_user_namespace};

/// Whether a network namespace is still there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Existence {
    /// It is, and this leads into it: a process in it, or a mount of it, as `ip netns` makes them.
    Door(PathBuf),
    /// There are processes of this user's that cannot be looked at, and one of them may stand there.
    Unknown,
    /// Nothing that this user can see is in it.
    Gone,
}

/// Looks for the network namespace of a journal. From the user namespace that it was written in and from the first one,
/// all processes in it that matter can be looked at (ptrace(2), "access mode checking"), unless they are of another pid
/// namespace.
pub(crate) fn look_for_namespace(journal: &Journal) -> Existence {
    let inode = journal.net_namespace;
    let sees_all = [journal.user_namespace, FIRST_USER_NAMESPACE].contains(&own_user_namespace());
    let mut hidden = journal.holders.iter().any(Holder::is_of_another_pid_namespace);
    let Ok(processes) = files::list(Path::new("/proc")) else { return Existence::Unknown };
    for process in processes {
        let door = process.join("ns/net");
        match files::metadata(&door) {
            Ok(metadata) if metadata.ino() == inode => return Existence::Door(door),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                let owner = files::metadata(&process).map(|metadata| metadata.uid());
                hidden |= !sees_all && owner.is_ok_and(|owner| owner == c10k_kernel::limits::euid());
            }
            // It has ended meanwhile, or is no process.
            Err(error)
                if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
                    || error.raw_os_error() == Some(ESRCH) => {}
            Err(_) => hidden = true,
            Ok(_) => {}
        }
    }
    let Ok(mounts) = files::read_to_string(Path::new("/proc/self/mountinfo")) else {
        return Existence::Unknown;
    };
    // The fourth field is the root of the mount, the fifth where it is (proc_pid_mountinfo(5)).
    let name = format!("net:[{inode}]");
    let mount = mounts.lines().find_map(|line| {
        let mut fields = line.split(' ').skip(3);
        (fields.next()? == name).then_some(PathBuf::from(fields.next()?))
    });
    match mount {
        Some(mount) => Existence::Door(mount),
        None if hidden => Existence::Unknown,
        None => Existence::Gone,
    }
}

/// The inode of the machine's first user namespace (`PROC_USER_INIT_INO`, include/linux/proc_ns.h).
const FIRST_USER_NAMESPACE: u64 = 0xEFFF_FFFD;

/// What `/proc` says of a process that has just ended.
const ESRCH: i32 = 3;
