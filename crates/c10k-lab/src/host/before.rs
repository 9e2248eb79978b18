//! What only a process that has not entered a namespace yet can see.

use c10k_kernel::counters::ProcRoot;
use c10k_kernel::counters::host_wide;
use c10k_kernel::process;
use c10k_kernel::sysctl::SysctlRoot;
use c10k_record::HostSnapshot;

fn number(key: &str) -> Option<u64> {
    SysctlRoot::default().read(key).ok()?.split_whitespace().next()?.parse().ok()
}

/// What only a process that has not entered a namespace yet can see.
#[derive(Clone, Debug)]
pub(crate) struct Beforehand {
    /// All limits as they are seen from the first namespace, where the host-wide ones are.
    host: HostSnapshot,
    threads: Threads,
    neighbours_max: Option<u64>,
    neighbours_max_ipv6: Option<u64>,
}

impl Beforehand {
    /// Looks.
    pub(crate) fn look() -> Self {
        Self {
            host: c10k_collector::host_snapshot(),
            threads: Threads::look(),
            neighbours_max: number("net.ipv4.neigh.default.gc_thresh3"),
            neighbours_max_ipv6: number("net.ipv6.neigh.default.gc_thresh3"),
        }
    }

    pub(crate) fn note(self, host: &mut HostSnapshot) {
        let before = self.host;
        // In a user namespace of its own everybody seems to have every capability.
        host.may_raise_nofile = before.may_raise_nofile;
        host.nproc_bypassed = before.nproc_bypassed;
        // What is the whole host's is absent in there.
        host.tcp_mem_pages = host.tcp_mem_pages.or(before.tcp_mem_pages);
        host.max_orphans = host.max_orphans.or(before.max_orphans);
        host.netdev_max_backlog = host.netdev_max_backlog.or(before.netdev_max_backlog);
        host.threads_left = self.threads.left(&before);
        (host.pid_max, host.threads_in_use) = (self.threads.pid_max, self.threads.in_use);
        host.user_threads = self.threads.of_user;
        (host.neighbours_max, host.neighbours_max_ipv6) = (self.neighbours_max, self.neighbours_max_ipv6);
    }
}

/// How many threads there are, and may be.
#[derive(Clone, Copy, Debug)]
struct Threads {
    /// On the whole host.
    in_use: Option<u64>,
    /// Of this user.
    of_user: Option<u64>,
    pid_max: Option<u64>,
}

impl Threads {
    fn look() -> Self {
        Self {
            in_use: host_wide::threads(&ProcRoot::default()),
            of_user: process::threads_in_user_namespace().ok(),
            pid_max: number("kernel.pid_max"),
        }
    }

    /// What kernel.threads-max, kernel.pid_max, `pids.max` of the own cgroups and, for whom it binds, RLIMIT_NPROC leave.
    fn left(&self, host: &HostSnapshot) -> Option<u64> {
        let left = |most: Option<u64>, now: Option<u64>| Some(most?.saturating_sub(now?));
        let of_user = host.nproc.filter(|soft| !host.nproc_bypassed && *soft != u64::MAX);
        let lefts = [
            left(host.threads_max, self.in_use),
            left(self.pid_max, self.in_use),
            left(of_user, self.of_user),
            left(host.pids_max, host.pids_current),
        ];
        lefts.into_iter().flatten().min()
    }
}
