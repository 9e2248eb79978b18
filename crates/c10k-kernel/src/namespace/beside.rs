//! A second network namespace, held open by a process that stands in another one.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::process::Command;

use nix::sched::{CloneFlags, setns, unshare};

use crate::address;
use crate::sys::raw_command;

/// A network namespace beside the one this process stands in. It lives as long as this value, a process in it,
/// or one of its sockets does, and takes its devices and addresses with it.
#[derive(Debug)]
pub struct Beside {
    descriptor: OwnedFd,
    inode: u64,
}

impl Beside {
    /// Makes one, with `lo` up, in the user namespace of this process. This process stays where it is, and it
    /// may have threads: a thread that lives for a moment makes the namespace and lets go of it.
    ///
    /// # Errors
    /// EPERM without CAP_SYS_ADMIN in this user namespace, ENOSPC beyond `user.max_net_namespaces`, EAGAIN
    /// when no thread may be started.
    pub fn new() -> io::Result<Self> {
        on_a_thread_of_its_own(|| {
            unshare(CloneFlags::CLONE_NEWNET)?;
            address::set_up("lo")?;
            let file = File::open("/proc/thread-self/ns/net")?;
            let inode = file.metadata()?.ino();
            Ok(Self { descriptor: file.into(), inode })
        })?
    }

    /// That in which a process stands, as a server in a container does. To go inside takes CAP_SYS_ADMIN there.
    ///
    /// # Errors
    /// `NotFound` when the process is gone, `PermissionDenied` for another user's.
    pub fn of_process(pid: u32) -> io::Result<Self> {
        let file = File::open(format!("/proc/{pid}/ns/net"))?;
        let inode = file.metadata()?.ino();
        Ok(Self { descriptor: file.into(), inode })
    }

    /// The same namespace once more.
    ///
    /// # Errors
    /// EMFILE when the descriptor cannot be copied.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { descriptor: self.descriptor.try_clone()?, inode: self.inode })
    }

    /// The inode that names it for as long as it lives.
    #[must_use]
    pub fn inode(&self) -> u64 {
        self.inode
    }

    /// Does `work` inside, on a thread of its own: what it reads of `/proc/sys/net` and asks of netlink is
    /// about that namespace, and sockets that it opens belong there for good. (`/proc/net` is the first
    /// thread's: see `/proc/thread-self/net`.)
    ///
    /// # Errors
    /// As setns(2); EAGAIN when no thread may be started.
    ///
    /// # Panics
    /// When `work` does.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> io::Result<T> {
        on_a_thread_of_its_own(|| {
            setns(&self.descriptor, CloneFlags::CLONE_NEWNET)?;
            Ok(work())
        })?
    }

    /// Makes a child that is yet to be started stand in it: setns(2) between fork and exec.
    ///
    /// # Errors
    /// EMFILE when the descriptor cannot be copied.
    pub fn start_in(&self, command: &mut Command) -> io::Result<()> {
        let descriptor = self.descriptor.try_clone()?;
        raw_command::before_exec(command, move || Ok(setns(&descriptor, CloneFlags::CLONE_NEWNET)?));
        Ok(())
    }

    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

fn on_a_thread_of_its_own<T: Send>(work: impl FnOnce() -> T + Send) -> io::Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("namespace".to_owned()).spawn_scoped(scope, work)?;
        thread.join().or_else(|panic| std::panic::resume_unwind(panic))
    })
}
