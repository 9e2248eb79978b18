//! The host a run took place on.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The machine, for the record's header.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// Distribution and its version.
    pub os: Option<String>,
    /// Kernel release, `uname -r`.
    pub kernel: Option<String>,
    /// The processor's name.
    pub cpu: Option<String>,
    /// Processors this process may use.
    pub cpus: u64,
    /// RAM, bytes.
    pub memory_bytes: u64,
    /// Whether the run was made by root.
    pub root: bool,
    /// Hypervisor or container, where one is seen.
    pub virtualization: Option<String>,
    /// Limits at the start of the run.
    pub limits: HostSnapshot,
}

/// The limits that decide how many connections fit, read once before a run. `None`: could not be read here.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HostSnapshot {
    /// Soft RLIMIT_NOFILE of the server, descriptors a table.
    pub server_nofile: Option<u64>,
    /// Soft RLIMIT_NOFILE of the swarm, descriptors a table.
    pub swarm_nofile: Option<u64>,
    /// Hard RLIMIT_NOFILE here.
    pub nofile_hard: Option<u64>,
    /// Soft RLIMIT_NOFILE here: of the shell from which the run was started, or of the process that asked.
    pub nofile_soft: Option<u64>,
    /// Whether the server gives each worker a descriptor table of its own (`unshare(CLONE_FILES)`), so that
    /// RLIMIT_NOFILE bounds a worker and not the process.
    pub server_tables: bool,
    /// The same for the swarm.
    pub swarm_tables: bool,
    /// `fs.nr_open`.
    pub nr_open: Option<u64>,
    /// `fs.file-max`.
    pub file_max: Option<u64>,
    /// Files open on the whole host, `/proc/sys/fs/file-nr` column 1.
    pub files_in_use: Option<u64>,
    /// Whether CAP_SYS_ADMIN lets this process pass `fs.file-max`.
    pub file_max_bypassed: bool,
    /// `net.ipv4.ip_local_port_range`, first and last port.
    pub port_range: Option<(u16, u16)>,
    /// How many ports of that range `net.ipv4.ip_local_reserved_ports` takes out.
    pub reserved_ports: Option<u64>,
    /// `net.core.somaxconn`.
    pub somaxconn: Option<u64>,
    /// The backlog the server asks for.
    pub backlog: Option<u64>,
    /// `net.ipv4.tcp_max_syn_backlog`.
    pub max_syn_backlog: Option<u64>,
    /// `net.ipv4.tcp_max_tw_buckets`.
    pub max_tw_buckets: Option<u64>,
    /// Sockets in TIME_WAIT towards the server's ports, at the start.
    pub time_wait: Option<u64>,
    /// `net.ipv4.tcp_tw_reuse`: 0 never, 1 everywhere, 2 on loopback alone.
    pub tw_reuse: Option<u64>,
    /// `net.ipv4.tcp_timestamps`, without which no port in TIME_WAIT is used again.
    pub timestamps: Option<u64>,
    /// `net.core.netdev_max_backlog`.
    pub netdev_max_backlog: Option<u64>,
    /// `net.ipv4.tcp_mem`, pages: minimum, pressure, maximum.
    pub tcp_mem_pages: Option<[u64; 3]>,
    /// `net.ipv4.tcp_max_orphans`.
    pub max_orphans: Option<u64>,
    /// `fs.epoll.max_user_watches`.
    pub epoll_watches: Option<u64>,
    /// Whether the two ends' watches are counted for two users, of whom each has that limit.
    pub watches_apart: bool,
    /// `net.netfilter.nf_conntrack_max`, where connections are tracked.
    pub conntrack_max: Option<u64>,
    /// `net.netfilter.nf_conntrack_count` of this namespace at the start, where connections are tracked.
    pub conntrack_entries: Option<u64>,
    /// `MemAvailable`, bytes.
    pub memory_available_bytes: Option<u64>,
    /// Limit of the memory cgroup, bytes, where there is one: of several on the way up that of which least is left.
    pub cgroup_memory_bytes: Option<u64>,
    /// The folder of that group, where its limit is written.
    pub cgroup_memory_folder: Option<String>,
    /// The file with that limit: `memory.max`, `memory.high`, `memory.limit_in_bytes`.
    pub cgroup_memory_file: Option<String>,
    /// Soft RLIMIT_NPROC.
    pub nproc: Option<u64>,
    /// Hard RLIMIT_NPROC.
    pub nproc_hard: Option<u64>,
    /// Whether RLIMIT_NPROC does not bind this user: root, and a process with CAP_SYS_RESOURCE or CAP_SYS_ADMIN.
    pub nproc_bypassed: bool,
    /// `pids.max` of the pids cgroup that has least left: the own one or one above it.
    pub pids_max: Option<u64>,
    /// `pids.current` of that group.
    pub pids_current: Option<u64>,
    /// The folder of that group.
    pub pids_folder: Option<String>,
    /// `kernel.threads-max`.
    pub threads_max: Option<u64>,
    /// `kernel.pid_max`: each thread has a number below it.
    pub pid_max: Option<u64>,
    /// Threads of the whole host at the start.
    pub threads_in_use: Option<u64>,
    /// Threads that RLIMIT_NPROC counted of this user at the start.
    pub user_threads: Option<u64>,
    /// Connections that one descriptor table of the server takes beside what else it holds, as the server reports.
    pub server_per_table: Option<u64>,
    /// Processes that are expected to hold the connections of a server that is not ours, where there are several.
    pub server_processes: Option<u64>,
    /// Descriptors that all of them together may still open: each has a table, and each meets its own limit.
    pub server_room: Option<u64>,
    /// The same as `server_per_table` for the swarm.
    pub swarm_per_table: Option<u64>,
    /// Whether someone on this machine may raise hard descriptor limits (there is CAP_SYS_RESOURCE here).
    pub may_raise_nofile: Option<bool>,
    /// Threads that may still be started here: what RLIMIT_NPROC, `pids.max`, `kernel.threads-max` and `kernel.pid_max`
    /// leave.
    pub threads_left: Option<u64>,
    /// `net.ipv4.neigh.default.gc_thresh3`, the most neighbours of IPv4 that the kernel keeps.
    pub neighbours_max: Option<u64>,
    /// `net.ipv6.neigh.default.gc_thresh3`, the same of IPv6.
    pub neighbours_max_ipv6: Option<u64>,
    /// What the way between the ends carries, bits a second, where a device or a queue on it says so.
    pub link_bits_per_second: Option<u64>,
    /// RAM, bytes.
    pub memory_total_bytes: Option<u64>,
    /// What is charged to the limited memory cgroup, bytes.
    pub cgroup_memory_used_bytes: Option<u64>,
    /// What is kept free of that group's limit, bytes, in a run that stops growing for its sake.
    pub cgroup_memory_kept_bytes: Option<u64>,
    /// What one idle connection is charged with in that group, with the ends that stand in it, bytes.
    pub cgroup_connection_bytes: Option<u64>,
    /// Memory of one idle connection at the server's end, kernel and user space, bytes, as this kernel's object sizes
    /// and a calibration say.
    pub server_connection_bytes: Option<u64>,
    /// The same at the client's end.
    pub client_connection_bytes: Option<u64>,
    /// Any other setting, by its kernel name.
    pub other: BTreeMap<String, String>,
}
