//! Resource limits and capabilities: what this process, or another, may do.

use std::io;

use nix::sys::resource::{Resource as NixResource, getrlimit, setrlimit};

use crate::process::{status_field, status_of_this_thread};

/// Soft and hard value of a resource limit (getrlimit(2)); `u64::MAX` is "unlimited".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// What is enforced now.
    pub soft: u64,
    /// Up to where the process may raise `soft` itself.
    pub hard: u64,
}

/// A limit that `/proc/PID/limits` tells of any process (proc_pid_limits(5)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// RLIMIT_NOFILE: one more than the greatest descriptor number.
    OpenFiles,
    /// RLIMIT_NPROC: threads of the real user.
    Processes,
}

impl Resource {
    fn label(self) -> &'static str {
        match self {
            Self::OpenFiles => "Max open files",
            Self::Processes => "Max processes",
        }
    }
}

/// A capability that decides what the lab may set (capabilities(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cap {
    /// Make namespaces; go beyond `fs.file-max`.
    SysAdmin,
    /// Raise hard resource limits.
    SysResource,
}

impl Cap {
    /// Bit number (include/uapi/linux/capability.h).
    fn bit(self) -> u32 {
        match self {
            Self::SysAdmin => 21,
            Self::SysResource => 24,
        }
    }
}

/// RLIMIT_NOFILE of this process. It bounds the descriptor *number* in each descriptor table.
///
/// # Errors
/// As getrlimit(2).
pub fn nofile() -> io::Result<Limit> {
    limit_of_this_process(NixResource::RLIMIT_NOFILE)
}

/// Sets RLIMIT_NOFILE of this process.
///
/// # Errors
/// EPERM when `hard` is above the present hard limit without CAP_SYS_RESOURCE, or above `fs.nr_open`;
/// EINVAL when `soft` is above `hard` (setrlimit(2)).
pub fn set_nofile(soft: u64, hard: u64) -> io::Result<()> {
    Ok(setrlimit(NixResource::RLIMIT_NOFILE, soft, hard)?)
}

/// Raises the soft RLIMIT_NOFILE to the hard one, which needs no privilege, and returns what then stands.
///
/// # Errors
/// As getrlimit(2) and setrlimit(2).
pub fn raise_nofile_soft_to_hard() -> io::Result<Limit> {
    let limit = nofile()?;
    if limit.soft < limit.hard {
        set_nofile(limit.hard, limit.hard)?;
    }
    nofile()
}

/// RLIMIT_NPROC of this process: how many threads the real user may have.
///
/// # Errors
/// As getrlimit(2).
pub fn nproc() -> io::Result<Limit> {
    limit_of_this_process(NixResource::RLIMIT_NPROC)
}

/// Sets the soft RLIMIT_NPROC of this process, which its children inherit: how many threads the real user may have in
/// this user namespace. It binds nobody with CAP_SYS_RESOURCE or CAP_SYS_ADMIN in the first one, nor root
/// (kernel/fork.c, `copy_process`).
///
/// # Errors
/// EINVAL when it is above the hard limit (setrlimit(2)).
pub fn set_nproc_soft(soft: u64) -> io::Result<()> {
    let hard = nproc()?.hard;
    Ok(setrlimit(NixResource::RLIMIT_NPROC, soft, hard)?)
}

/// Mappings that a thread with tables and buffers of its own may take of `vm.max_map_count`: its stack, the one of its
/// signal handlers, a guard before each, and what it allocates.
pub const MAPPINGS_OF_A_THREAD: u64 = 8;

/// Whether this process, which has about so many threads, has mappings left for one more. Without them a thread that has
/// just started cannot make its second stack and aborts the process (Rust's std, stack_overflow.rs).
///
/// # Errors
/// Where it has not. It is looked at only where threads are many, since that takes the longer the more there are.
pub fn room_for_thread(threads: u64) -> io::Result<()> {
    const MANY: u64 = 1000;
    if threads < MANY || mappings_left()? >= MAPPINGS_OF_A_THREAD * MANY / 10 {
        return Ok(());
    }
    Err(io::Error::other("vm.max_map_count leaves no room for the stack of one more thread"))
}

/// How many more mappings this process may have: `vm.max_map_count` less those that it has.
///
/// # Errors
/// When `/proc` cannot be read.
pub fn mappings_left() -> io::Result<u64> {
    let most = std::fs::read_to_string("/proc/sys/vm/max_map_count")?;
    let most: u64 = most.trim().parse().map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
    let present = std::fs::read("/proc/self/maps")?.iter().filter(|byte| **byte == b'\n').count();
    Ok(most.saturating_sub(present as u64))
}

/// A limit of any process, from `/proc/PID/limits`.
///
/// # Errors
/// `NotFound` when the process is gone; `InvalidData` when the kernel's table does not have the line.
pub fn of_process(pid: u32, resource: Resource) -> io::Result<Limit> {
    let table = std::fs::read_to_string(format!("/proc/{pid}/limits"))?;
    parse_limits(&table, resource).ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("/proc/{pid}/limits has no readable line `{}`", resource.label()),
        )
    })
}

/// Whether the calling thread has `cap` in effect. Inside a user namespace of its own this speaks of that
/// namespace: host-wide settings and hard limits stay closed even when it says yes.
///
/// # Errors
/// When `/proc` cannot be read.
pub fn has_capability(cap: Cap) -> io::Result<bool> {
    let status = status_of_this_thread()?;
    let effective = status_field(&status, "CapEff")
        .and_then(|hex| u64::from_str_radix(hex, 16).ok())
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no CapEff in /proc/thread-self/status"))?;
    Ok(effective & (1 << cap.bit()) != 0)
}

/// Whether the bounding set of a process still has `cap`, by the text of its `/proc/PID/status`: what it has lost
/// nothing gives back, neither sudo nor a file (capabilities(7)). `None` where the text does not say.
#[must_use]
pub fn is_in_bounding_set(status: &str, cap: Cap) -> Option<bool> {
    let bounding = u64::from_str_radix(status_field(status, "CapBnd")?, 16).ok()?;
    Some(bounding & (1 << cap.bit()) != 0)
}

/// The effective user id; 0 is root (of the user namespace this process is in).
#[must_use]
pub fn euid() -> u32 {
    nix::unistd::geteuid().as_raw()
}

fn limit_of_this_process(resource: NixResource) -> io::Result<Limit> {
    let (soft, hard) = getrlimit(resource)?;
    Ok(Limit { soft, hard })
}

fn parse_limits(table: &str, resource: Resource) -> Option<Limit> {
    let rest = table.lines().find_map(|line| line.strip_prefix(resource.label()))?;
    let mut words = rest.split_whitespace();
    let mut next = || match words.next()? {
        "unlimited" => Some(u64::MAX),
        number => number.parse().ok(),
    };
    Some(Limit { soft: next()?, hard: next()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
Limit                     Soft Limit           Hard Limit           Units     \n\
Max processes             95000                unlimited            processes \n\
Max open files            1024                 20000                files     \n";

    #[test]
    fn the_kernels_table_is_read_with_unlimited_as_the_greatest_number() {
        assert_eq!(parse_limits(TABLE, Resource::OpenFiles), Some(Limit { soft: 1024, hard: 20000 }));
        assert_eq!(parse_limits(TABLE, Resource::Processes), Some(Limit { soft: 95000, hard: u64::MAX }));
        assert_eq!(parse_limits("", Resource::OpenFiles), None);
    }

    #[test]
    fn a_capability_is_in_the_bounding_set_or_has_been_lost() {
        let status = |set: &str| format!("Name:\tx\nCapEff:\t0\nCapBnd:\t{set}\n");
        let has = |set: &str| is_in_bounding_set(&status(set), Cap::SysResource);
        assert_eq!((has("000001ffffffffff"), has("000001fffeffffff")), (Some(true), Some(false)));
        assert_eq!((has("of mice"), is_in_bounding_set("Name:\tx\n", Cap::SysAdmin)), (None, None));
    }

    #[test]
    fn the_two_sources_agree_about_this_process() {
        assert_eq!(of_process(std::process::id(), Resource::OpenFiles).unwrap(), nofile().unwrap());
        assert_eq!(of_process(std::process::id(), Resource::Processes).unwrap(), nproc().unwrap());
    }

    #[test]
    fn a_thread_takes_fewer_mappings_than_a_table_of_threads_counts_with() {
        let before = mappings_left().unwrap();
        assert!(before > 0);
        let barrier = std::sync::Barrier::new(51);
        let taken = std::thread::scope(|scope| {
            for _ in 0..50 {
                scope.spawn(|| {
                    barrier.wait();
                    barrier.wait();
                });
            }
            barrier.wait();
            let taken = before.saturating_sub(mappings_left().unwrap());
            barrier.wait();
            taken
        });
        // Other tests start threads and map files meanwhile.
        assert!((50..50 * MAPPINGS_OF_A_THREAD).contains(&taken), "{taken}");
    }

    #[test]
    fn a_process_that_is_gone_is_an_error() {
        let error = of_process(u32::MAX, Resource::OpenFiles).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_soft_limit_above_the_hard_one_is_refused() {
        let limit = nofile().unwrap();
        if limit.hard == u64::MAX {
            return;
        }
        let error = set_nofile(limit.hard + 1, limit.hard).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
        assert_eq!(nofile().unwrap(), limit);
    }
}
