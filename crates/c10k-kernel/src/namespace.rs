//! Network namespaces of one's own: entering one, and looking into one without entering.

use std::ffi::{CStr, CString};
use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};

use crate::address;
use crate::files;
use crate::process::threads;
use crate::sys::{raw_fork, raw_socket};
use crate::sysctl::SysctlRoot;

mod beside;
mod fresh;
mod mark;

pub use beside::Beside;
pub use fresh::fresh_values;
pub use mark::{Mark, marks};

/// How a process was isolated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// Root, in a new network namespace.
    RootNet,
    /// Anybody, as root of a new user namespace, in a new network namespace.
    UserNet,
}

/// A step on the way into a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// unshare(2).
    Unshare,
    /// Writing `/proc/self/setgroups`, `uid_map` and `gid_map` (user_namespaces(7)).
    MapIds,
    /// Setting the loopback device up.
    LoopbackUp,
    /// Connecting over 127.0.0.1 to see that it carries traffic.
    LoopbackCarries,
    /// Forking the child that tries the way first.
    Try,
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Unshare => "making the namespace (unshare)",
            Self::MapIds => "mapping this user to root in it (uid_map, gid_map)",
            Self::LoopbackUp => "bringing `lo` up in it",
            Self::LoopbackCarries => "connecting over 127.0.0.1 in it",
            Self::Try => "forking a child that tries it first",
        })
    }
}

/// One way into a namespace, and where it was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Which way was tried.
    pub isolation: Isolation,
    /// The step that was refused.
    pub step: Step,
    /// With which `errno`.
    pub errno: Errno,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let namespace = match self.isolation {
            Isolation::RootNet => "network namespace",
            Isolation::UserNet => "user and network namespace",
        };
        write!(f, "{namespace}: {} was refused: {}", self.step, self.errno)
    }
}

/// Why no namespace was entered.
#[derive(Debug, thiserror::Error)]
pub enum NamespaceError {
    /// A process with threads cannot enter a user namespace: enter first, start threads afterwards.
    #[error("a namespace must be entered before any thread is started, but there are {threads} threads")]
    Threaded {
        /// How many threads there are.
        threads: u32,
    },
    /// Every way was refused; this process is where it was.
    #[error("no network namespace of our own: {}", list(.0))]
    Refused(Vec<Refusal>),
    /// A child could go the way, this process could not: it stands half-way and must end.
    #[error("half-way into a namespace, this process cannot go on: {0}")]
    HalfMade(Refusal),
    /// `/proc` could not be read.
    #[error("cannot tell how many threads this process has: {0}")]
    Unreadable(#[from] io::Error),
}

impl NamespaceError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Threaded { .. } => "this is a fault of the program, not of this machine",
            Self::Refused(refusals) if refusals.iter().any(|r| r.errno == Errno::ENOSPC) => {
                "raise user.max_user_namespaces and user.max_net_namespaces, or go on in 127.0.0.0/8"
            }
            Self::Refused(_) => {
                "run as root, or allow unprivileged user namespaces (kernel.unprivileged_userns_clone=1 on Debian, \
                 kernel.apparmor_restrict_unprivileged_userns=0 on Ubuntu), or go on in 127.0.0.0/8"
            }
            Self::HalfMade(_) => "start the command again",
            Self::Unreadable(_) => "mount /proc",
        }
    }
}

/// Whether a process is in the machine's first user namespace, by the text of its `/proc/PID/uid_map`: only there is
/// every id its own (user_namespaces(7)).
#[must_use]
pub fn is_map_of_first(uid_map: &str) -> bool {
    uid_map.split_whitespace().eq(["0", "0", "4294967295"])
}

/// What a fresh network namespace shows of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// It is not there.
    Absent,
    /// It is there, and nobody may write it.
    ReadOnly,
    /// It is there, with a write bit.
    Writable,
}

/// Moves this process into a new network namespace with `lo` up: as root straight away, otherwise (or when
/// that is refused) as root of a new user namespace. Success means that 127.0.0.1 carries traffic, not only
/// that unshare(2) returned.
///
/// Each way is tried in a forked child first, since one that fails half-way would leave this process in a
/// namespace that is of no use.
///
/// # Errors
/// See [`NamespaceError`]; in all cases but `HalfMade` the process stands where it stood.
pub fn enter_new() -> Result<Isolation, NamespaceError> {
    let threads = threads()?;
    if threads != 1 {
        return Err(NamespaceError::Threaded { threads });
    }
    let root_first = [Isolation::RootNet, Isolation::UserNet];
    let ways = if nix::unistd::geteuid().is_root() { &root_first[..] } else { &root_first[1..] };
    let mut refusals = Vec::new();
    for &isolation in ways {
        match try_in_a_child(isolation) {
            Ok(()) => {
                enter(isolation)
                    .map_err(|(step, errno)| NamespaceError::HalfMade(Refusal { isolation, step, errno }))?;
                return Ok(isolation);
            }
            Err((step, errno)) => refusals.push(Refusal { isolation, step, errno }),
        }
    }
    Err(NamespaceError::Refused(refusals))
}

/// What a fresh network namespace shows of `keys` under `/proc/sys`, in their order; None when none may be
/// made here. A forked child looks and ends; threads of the caller do not matter.
#[must_use]
pub fn scratch_listing(keys: &[&str]) -> Option<Vec<Seen>> {
    let root = SysctlRoot::default();
    let paths: Vec<Option<CString>> = keys
        .iter()
        .map(|key| CString::new(root.path(key).ok()?.into_os_string().into_encoded_bytes()).ok())
        .collect();
    // One byte for "entered", then one for each key.
    let mut report = vec![0; 1 + keys.len()];
    // In the child: system calls only, nothing allocated.
    raw_fork::fork_and_report(&mut report, |report| {
        let both = CloneFlags::CLONE_NEWUSER.union(CloneFlags::CLONE_NEWNET);
        if unshare(CloneFlags::CLONE_NEWNET).or_else(|_| unshare(both)).is_err() {
            return;
        }
        report[0] = 1;
        for (seen, path) in report[1..].iter_mut().zip(&paths) {
            *seen = path.as_deref().map_or(0, |path: &CStr| match raw_fork::mode_of(path) {
                None => 0,
                Some(mode) if mode & 0o222 == 0 => 1,
                Some(_) => 2,
            });
        }
    })
    .ok()?;
    let (&entered, seen) = report.split_first()?;
    (entered == 1).then(|| {
        let name = |byte: &u8| match byte {
            0 => Seen::Absent,
            1 => Seen::ReadOnly,
            _ => Seen::Writable,
        };
        seen.iter().map(name).collect()
    })
}

/// The inode that names the calling thread's network namespace for as long as it lives.
///
/// # Errors
/// When `/proc` cannot be read.
pub fn network_inode() -> io::Result<u64> {
    Ok(files::metadata(Path::new("/proc/thread-self/ns/net"))?.ino())
}

/// The number of the calling thread's network namespace that no other one has until the next boot, unlike
/// [`network_inode`], which a later namespace may get again (SO_NETNS_COOKIE, include/net/net_namespace.h,
/// `net_cookie`).
///
/// # Errors
/// ENOPROTOOPT before Linux 5.14.
pub fn network_cookie() -> io::Result<u64> {
    let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::DGRAM, None)?;
    raw_socket::getsockopt_u64(socket.as_fd(), libc::SOL_SOCKET, libc::SO_NETNS_COOKIE)
}

/// Whether a process stands in the network namespace with this inode or a mount keeps it, as far as this user may see.
#[must_use]
pub fn may_exist(inode: u64) -> bool {
    let name = format!("net:[{inode}]");
    let Ok(mounts) = std::fs::read_to_string("/proc/self/mountinfo") else { return true };
    let Ok(processes) = std::fs::read_dir("/proc") else { return true };
    let is_there = |pid: &str| match std::fs::read_link(format!("/proc/{pid}/ns/net")) {
        Ok(link) => link.as_os_str() == name.as_str(),
        // Root sees all that processes of its own could stand in; another user may be shut out even of its own.
        Err(error) => error.kind() == io::ErrorKind::PermissionDenied && crate::limits::euid() != 0,
    };
    mounts.contains(&name)
        || processes
            .flatten()
            .filter_map(|entry| entry.file_name().to_str().map(str::to_owned))
            .any(|name| name.bytes().all(|byte| byte.is_ascii_digit()) && is_there(&name))
}

/// The random id that the kernel took at boot.
///
/// # Errors
/// When `/proc` cannot be read.
pub fn boot_id() -> io::Result<String> {
    Ok(files::read_to_string(Path::new("/proc/sys/kernel/random/boot_id"))?.trim().to_owned())
}

/// The machine's name, `uname -n`; `None` where it has none or `/proc` cannot be read.
#[must_use]
pub fn hostname() -> Option<String> {
    let name = files::read_to_string(Path::new("/proc/sys/kernel/hostname")).ok()?;
    Some(name.trim().to_owned()).filter(|name| !name.is_empty())
}

fn list(refusals: &[Refusal]) -> String {
    refusals.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

fn try_in_a_child(isolation: Isolation) -> Result<(), (Step, Errno)> {
    // One byte for the step that failed, four for its errno; 0 is success, 255 what the child never overwrote.
    let mut report = [255; 5];
    let forked = raw_fork::fork_and_report(&mut report, |report| {
        let (step, errno) = match enter(isolation) {
            Ok(()) => (0, 0),
            Err((step, errno)) => (step_number(step), errno as i32),
        };
        report[0] = step;
        report[1..].copy_from_slice(&errno.to_ne_bytes());
    });
    forked.map_err(|error| (Step::Try, errno_of(&error)))?;
    let [number, errno @ ..] = report;
    let errno = Errno::from_raw(i32::from_ne_bytes(errno));
    match STEPS.get(usize::from(number).wrapping_sub(1)) {
        None if number == 0 => Ok(()),
        None => Err((Step::Try, Errno::EIO)),
        Some(&step) => Err((step, errno)),
    }
}

const STEPS: [Step; 4] = [Step::Unshare, Step::MapIds, Step::LoopbackUp, Step::LoopbackCarries];

fn step_number(step: Step) -> u8 {
    STEPS.iter().zip(1..).find(|(known, _)| **known == step).map_or(255, |(_, number)| number)
}

fn enter(isolation: Isolation) -> Result<(), (Step, Errno)> {
    let at = |step| move |error: io::Error| (step, errno_of(&error));
    match isolation {
        Isolation::RootNet => {
            unshare(CloneFlags::CLONE_NEWNET).map_err(|errno| (Step::Unshare, errno))?;
        }
        Isolation::UserNet => {
            // Read before: afterwards both are the overflow id until the maps are written.
            let (user, group) = (nix::unistd::geteuid(), nix::unistd::getegid());
            let both = CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET;
            unshare(both).map_err(|errno| (Step::Unshare, errno))?;
            map_ids(user.as_raw(), group.as_raw()).map_err(at(Step::MapIds))?;
        }
    }
    address::set_up("lo").map_err(at(Step::LoopbackUp))?;
    if !address::is_up("lo").map_err(at(Step::LoopbackUp))? {
        return Err((Step::LoopbackUp, Errno::ENETDOWN));
    }
    connect_over_loopback().map_err(at(Step::LoopbackCarries))
}

/// The one map that an unprivileged process may write: itself, and only after giving up setgroups(2).
fn map_ids(user: u32, group: u32) -> io::Result<()> {
    std::fs::write("/proc/self/setgroups", "deny")?;
    std::fs::write("/proc/self/uid_map", format!("0 {user} 1"))?;
    std::fs::write("/proc/self/gid_map", format!("0 {group} 1"))
}

fn connect_over_loopback() -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    TcpStream::connect(listener.local_addr()?)?;
    listener.accept()?;
    Ok(())
}

fn errno_of(error: &io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}

#[cfg(test)]
mod tests;
