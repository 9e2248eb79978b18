//! The numbers that kernels, distributions and servers come with.

use c10k_record::human_count;

use super::fingerprint::Fingerprint;
use super::said::Said;
use crate::plan_view::KERNEL_PORTS;

pub(super) const DESCRIPTORS: &[&str] = &["nofile-server", "nofile-swarm"];
pub(super) const PORTS: &[&str] = &["ports-exhausted", "time-wait-ports", "proxy-ports-exhausted"];
pub(super) const FILES: &[&str] = &["file-max"];
pub(super) const WATCHES: &[&str] = &["epoll-watches"];
pub(super) const CONNTRACK: &[&str] = &["conntrack"];
pub(super) const THREADS: &[&str] = &["threads"];
pub(super) const QUEUE: &[&str] = &["accept-queue"];
const OWN_MAXIMUM: &[&str] = &["server-max-connections", "server-limit"];

pub(super) const WHERE_FDS: &str = "`grep 'open files' /proc/PID/limits` has the limit, `ls /proc/PID/fd | wc -l` stands at it, and the log says EMFILE";
pub(super) const WHERE_PORTS: &str = "EADDRNOTAVAIL from connect(2); `ss -tan | wc -l` at the client stands there; a \
                                      second source address (`--ips`) doubles the number";
/// Why only every other port is used.
pub(super) const EVERY_OTHER: &str = "bind(2) to port 0 takes odd ports of a range that begins with an even one, and \
                                      connect(2) the even ones first; IP_BIND_ADDRESS_NO_PORT before bind(2) gives the \
                                      whole range";
const WHERE_SETTING: &str = "the server's configuration has the number; connections beyond it wait or are closed, and \
                             no counter of the kernel grows";
pub(super) const WHERE_QUEUE: &str =
    "`ss -ltn`: Recv-Q of the listener stands one above its Send-Q, and nobody accepts";
const WHERE_THREADS: &str =
    "`grep Threads /proc/PID/status` stands there, and the log cannot create a thread";
pub(super) const WHERE_TRACKED: &str =
    "`sysctl net.netfilter.nf_conntrack_count` stands there, and `dmesg` says \"table full\"";

/// A limit that many hosts have.
struct Known {
    first: u64,
    last: u64,
    walls: &'static [&'static str],
    is: &'static str,
    prove: &'static str,
}

const fn row(
    first: u64,
    last: u64,
    walls: &'static [&'static str],
    is: &'static str,
    prove: &'static str,
) -> Known {
    Known { first, last, walls, is, prove }
}

/// From small to large. What is written beside `is` is where the number comes from.
static KNOWN: &[Known] = &[
    row(
        97,
        97,
        OWN_MAXIMUM,
        "PostgreSQL's max_connections 100 less the 3 that are kept for superusers",
        WHERE_SETTING,
    ),
    row(
        128,
        129,
        QUEUE,
        "net.core.somaxconn before Linux 5.4 is 128, and the queue takes one more",
        WHERE_QUEUE,
    ),
    row(
        151,
        152,
        OWN_MAXIMUM,
        "MySQL's max_connections is 151, and one more for an administrator",
        WHERE_SETTING,
    ),
    row(256, 256, OWN_MAXIMUM, "Apache's MaxRequestWorkers of the prefork MPM is 256", WHERE_SETTING),
    row(
        400,
        400,
        OWN_MAXIMUM,
        "Apache's MaxRequestWorkers of the worker and event MPMs is 400",
        WHERE_SETTING,
    ),
    row(500, 512, OWN_MAXIMUM, "nginx's worker_connections is 512, its listeners among them", WHERE_SETTING),
    row(
        756,
        768,
        OWN_MAXIMUM,
        "Debian's nginx.conf has worker_connections 768, listeners among them",
        WHERE_SETTING,
    ),
    row(819, 819, DESCRIPTORS, "eight tenths of 1,024 descriptors, as MongoDB takes them", WHERE_FDS),
    row(
        992,
        1_024,
        DESCRIPTORS,
        "the soft RLIMIT_NOFILE of most shells is 1,024, less what a process has open",
        WHERE_FDS,
    ),
    row(
        2_016,
        2_048,
        DESCRIPTORS,
        "half of 4,096 descriptors: a proxy's two legs, or both ends in one process",
        WHERE_FDS,
    ),
    row(
        3_976,
        3_976,
        &[],
        "the port range 1025-5000 of old Windows clients has 3,976 ports",
        "`netsh int ipv4 show dynamicport tcp` at the client",
    ),
    row(
        4_001,
        4_095,
        DESCRIPTORS,
        "the hard RLIMIT_NOFILE of many hosts is 4,096, less what a process has open",
        WHERE_FDS,
    ),
    row(
        4_096,
        4_097,
        QUEUE,
        "net.core.somaxconn since Linux 5.4 is 4,096, and the queue takes one more",
        WHERE_QUEUE,
    ),
    row(4_096, 4_096, DESCRIPTORS, "the hard RLIMIT_NOFILE of many hosts is 4,096", WHERE_FDS),
    row(
        4_880,
        4_915,
        THREADS,
        "systemd's TasksMax is 15 % of 32,768: 4,915 threads of one service",
        WHERE_THREADS,
    ),
    row(
        8_128,
        8_192,
        DESCRIPTORS,
        "RLIMIT_NOFILE 8,192, a common setting, less what a process has open",
        WHERE_FDS,
    ),
    row(
        9_968,
        10_000,
        OWN_MAXIMUM,
        "Redis' maxclients is 10,000; a descriptor limit of 10,032 goes with it",
        WHERE_SETTING,
    ),
    row(
        14_100,
        14_116,
        PORTS,
        "half of 28,232: every other port of the kernel's range 32768-60999",
        WHERE_PORTS,
    ),
    row(
        16_320,
        16_384,
        PORTS,
        "the range 49152-65535 (IANA, Windows, macOS, BSD) has 16,384 ports; RLIMIT_NOFILE 16,384 gives the same",
        WHERE_PORTS,
    ),
    row(
        19_936,
        20_000,
        DESCRIPTORS,
        "RLIMIT_NOFILE 20,000, a common hard limit of containers, less what a process has open",
        WHERE_FDS,
    ),
    row(
        28_200,
        28_233,
        PORTS,
        "the kernel's range 32768-60999 has 28,232 ports (28,233 before Linux 4.2), less those that others have",
        WHERE_PORTS,
    ),
    row(32_200, 32_256, PORTS, "half of 64,512: every other port of the range 1024-65535", WHERE_PORTS),
    row(
        32_300,
        32_768,
        THREADS,
        "kernel.pid_max 32,768, or vm.max_map_count 65,530 at two mappings a thread: a thread for each connection",
        WHERE_THREADS,
    ),
    row(45_990, 46_001, PORTS, "the range 15000-61000 of many tuning guides has 46,001 ports", WHERE_PORTS),
    row(50_520, 50_536, PORTS, "the range 15000-65535 of many tuning guides has 50,536 ports", WHERE_PORTS),
    row(55_520, 55_536, PORTS, "the range 10000-65535 of many tuning guides has 55,536 ports", WHERE_PORTS),
    row(
        64_500,
        64_512,
        PORTS,
        "the range 1024-65535 has 64,512 ports, less those that others have",
        WHERE_PORTS,
    ),
    row(
        65_472,
        65_536,
        DESCRIPTORS,
        "RLIMIT_NOFILE 65,535 or 65,536, the setting of most guides, less what a process has open",
        WHERE_FDS,
    ),
    row(65_536, 65_536, CONNTRACK, "nf_conntrack_max of hosts with 1 to 4 GiB is 65,536", WHERE_TRACKED),
    row(
        131_072,
        131_072,
        CONNTRACK,
        "nf_conntrack_max as kube-proxy sets it at the least is 131,072",
        WHERE_TRACKED,
    ),
    row(
        131_008,
        131_072,
        DESCRIPTORS,
        "RLIMIT_NOFILE 131,072, a common setting, less what a process has open",
        WHERE_FDS,
    ),
    row(
        262_144,
        262_144,
        CONNTRACK,
        "nf_conntrack_max of hosts with more than 4 GiB is 262,144",
        WHERE_TRACKED,
    ),
    row(
        262_080,
        262_144,
        DESCRIPTORS,
        "half of 524,288, or RLIMIT_NOFILE 262,144, less what a process has open",
        WHERE_FDS,
    ),
    row(
        524_200,
        524_288,
        DESCRIPTORS,
        "systemd's hard RLIMIT_NOFILE is 524,288, less what a process has open",
        WHERE_FDS,
    ),
    row(
        1_048_500,
        1_048_576,
        &["nr-open", "nofile-server", "nofile-swarm"],
        "fs.nr_open is 1,048,576, the most that RLIMIT_NOFILE may be, less what a process has open",
        WHERE_FDS,
    ),
];

/// The known numbers that this one is.
pub(super) fn known(said: &Said) -> impl Iterator<Item = Fingerprint> {
    let rows = KNOWN.iter().filter(|known| said.touches(known.first, known.last)).map(|known| {
        let is = match known.is.strip_prefix("half of ") {
            Some(_) if known.walls == PORTS => format!("{}: {EVERY_OTHER}", known.is),
            _ => known.is.to_owned(),
        };
        Fingerprint { walls: known.walls, is, prove: known.prove.to_owned(), of_this_host: false }
    });
    rows.chain(several_sources(said))
}

/// All ports of several sources.
fn several_sources(said: &Said) -> Option<Fingerprint> {
    const RANGES: [(&str, u64); 2] = [("32768-60999", KERNEL_PORTS), ("1024-65535", 64_512)];
    /// Ports of each source that something else has.
    const TAKEN: u64 = 2;
    const MOST_SOURCES: u64 = 64;
    if !said.is_exact() {
        return None;
    }
    let found = RANGES.into_iter().find_map(|(range, ports)| {
        let sources = (2..=MOST_SOURCES).find(|n| said.touches(n * (ports - TAKEN), n * ports))?;
        Some((range, ports, sources))
    });
    found.map(|(range, ports, sources)| Fingerprint {
        walls: PORTS,
        is: format!(
            "{sources} times {}, the ports of {range}: {sources} pairs of source address and server",
            human_count(ports)
        ),
        prove: WHERE_PORTS.to_owned(),
        of_this_host: false,
    })
}
