//! The names under which what was counted in a run is handed from who reads it to who makes sense of it.
//!
//! Kernel names where the kernel has one. A *counter* only grows, and its growth is the evidence; a *level*
//! goes up and down: its `after` is the highest that was seen. What is not in the list was not read, which is not the
//! same as "did not move".

use serde::{Deserialize, Serialize};

/// A value before the run and after it. For a level `after` is the highest seen.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CounterChange {
    /// At the start of the run.
    pub before: u64,
    /// At its end, or the highest.
    pub after: u64,
}

impl CounterChange {
    /// How much it grew; 0 where a counter was reset in between.
    #[must_use]
    pub fn growth(self) -> u64 {
        self.after.saturating_sub(self.before)
    }
}

/// Counter: an accept queue was full. TcpExt, net/ipv4/tcp_ipv4.c and tcp_input.c.
pub const LISTEN_OVERFLOWS: &str = "ListenOverflows";
/// Counter: a SYN or a final ACK to a listener was dropped, for whatever reason. TcpExt.
pub const LISTEN_DROPS: &str = "ListenDrops";
/// Counter: SYNs and SYN-ACKs that had to be sent again. TcpExt.
pub const SYN_RETRANSMITS: &str = "TCPSynRetrans";
/// Counter: the SYN queue was full and the SYN was dropped. TcpExt, `tcp_syn_flood_action`.
pub const REQ_QUEUE_FULL_DROP: &str = "TCPReqQFullDrop";
/// Counter: the SYN queue was full and a cookie was sent instead; nothing is lost by that. TcpExt.
pub const REQ_QUEUE_FULL_COOKIES: &str = "TCPReqQFullDoCookies";
/// Counter: a connection was reset for want of TCP memory or because of too many orphans. TcpExt,
/// `tcp_out_of_resources`.
pub const ABORT_ON_MEMORY: &str = "TCPAbortOnMemory";
/// Counter: TCP entered memory pressure, `tcp_mem`'s second value. TcpExt.
pub const MEMORY_PRESSURES: &str = "TCPMemoryPressures";
/// Counter: TIME_WAIT was skipped because `tcp_max_tw_buckets` was reached. TcpExt. Its `after` is what it was before the
/// run was closed.
pub const TIME_WAIT_OVERFLOW: &str = "TCPTimeWaitOverflow";
/// Counter: packets dropped because the route back to where they say they come from is another one, or none (`rp_filter`).
/// TcpExt, net/ipv4/fib_frontend.c and ip_input.c.
pub const REVERSE_PATH_FILTER: &str = "IPReversePathFilter";
/// Counter: those of `TCPSynRetrans` that the server's end has sent again, answers to SYNs, where each end has counters of its
/// own.
pub const ANSWER_RETRANSMITS: &str = "TCPSynRetrans_of_server";
/// Counter: segments sent again, SYNs and SYN-ACKs among them. /proc/net/snmp, Tcp.
pub const RETRANSMITS: &str = "RetransSegs";
/// Counter: packets of this machine's own for which no route was found, answers to SYNs among them. /proc/net/snmp, Ip.
pub const OUT_NO_ROUTES: &str = "OutNoRoutes";
/// Counter: packets dropped because a processor's input queue was full, /proc/net/softnet_stat column 2.
pub const SOFTNET_DROPPED: &str = "softnet_dropped";
/// Level: sockstat `TCP: mem`, pages.
pub const TCP_MEM_PAGES: &str = "tcp_mem_pages";
/// Level: sockstat `TCP: orphan`.
pub const ORPHANS: &str = "orphans";
/// Level: sockstat `TCP: tw`, this namespace.
pub const TIME_WAIT: &str = "time_wait";
/// Level: /proc/sys/fs/file-nr column 1.
pub const FILES_IN_USE: &str = "files_in_use";
/// Level: connections in the longest accept queue of the server (Recv-Q of ss(8)); it is full above the backlog.
pub const ACCEPT_QUEUE: &str = "accept_queue";
/// Counter: packets that the server's listeners dropped themselves, `sk_drops` of sock_diag: SYNs and last ACKs for which a
/// queue had no room, and what a filter on the socket did not let through.
pub const LISTENER_DROPS: &str = "listener_drops";
/// Counter: the same of all other listeners of the namespace, whose overflows count in `ListenOverflows` too.
pub const OTHER_LISTENERS_DROPS: &str = "other_listeners_drops";
/// Level: net.netfilter.nf_conntrack_count.
pub const CONNTRACK_COUNT: &str = "conntrack_count";
/// Counter: packets of new connections dropped because the table of tracked connections was full,
/// /proc/net/stat/nf_conntrack `drop` and `early_drop`.
pub const CONNTRACK_DROPPED: &str = "conntrack_dropped";
/// Level: what is charged to the limited memory cgroup, bytes.
pub const GROUP_BYTES: &str = "group_bytes";
/// Counter: times the limit of a memory cgroup on the way up was hit: `memory.failcnt`, `memory.events.local` max.
pub const GROUP_FAILURES: &str = "group_failures";
/// Counter: processes of the server's memory cgroup that the OOM killer ended: `memory.oom_control`, `memory.events`
/// oom_kill. 0 where nothing limits it.
pub const GROUP_OOM_KILLS: &str = "group_oom_kills";
/// Counter: times that who asked for memory was put to sleep at `memory.high`: `memory.events.local` high.
pub const GROUP_HELD_BACK: &str = "group_held_back";
/// Counter: processes that the OOM killer ended on the whole host, those of groups included: /proc/vmstat oom_kill.
pub const OOM_KILLS: &str = "oom_kill";
/// Level: neighbours of IPv4 that the kernel keeps, /proc/net/stat/arp_cache entries.
pub const NEIGHBOURS: &str = "neighbours";
/// Counter: neighbours of IPv4 that found no room, /proc/net/stat/arp_cache table_fulls.
pub const NEIGHBOUR_TABLE_FULLS: &str = "table_fulls";
/// Level: neighbours of IPv6, /proc/net/stat/ndisc_cache entries.
pub const NEIGHBOURS_IPV6: &str = "neighbours_ipv6";
/// Counter: neighbours of IPv6 that found no room, /proc/net/stat/ndisc_cache table_fulls.
pub const NEIGHBOUR_TABLE_FULLS_IPV6: &str = "table_fulls_ipv6";
/// Level: bits a second over the narrowest line between the ends, in its busiest second.
pub const LINK_BITS_PER_SECOND: &str = "link_bits_per_second";
/// Counter: packets dropped by the queue before that link.
pub const LINK_DROPPED: &str = "link_dropped";
/// Counter: packets that the devices between the ends have lost by their own counts, /proc/net/dev errs and drop, and the
/// queues before them, tc(8) dropped.
pub const DEVICE_DROPPED: &str = "device_dropped";
/// Counter: periods in which the server's cpu cgroup was held back: cpu.stat nr_throttled.
pub const SERVER_THROTTLED: &str = "server_nr_throttled";
/// Counter: the same for the swarm's.
pub const SWARM_THROTTLED: &str = "swarm_nr_throttled";
/// Counter: workers of the server that could not be started (EAGAIN).
pub const SERVER_THREADS_REFUSED: &str = "server_threads_refused";
/// Counter: workers of the swarm that could not be started (EAGAIN).
pub const SWARM_THREADS_REFUSED: &str = "swarm_threads_refused";

/// The kernel's counters among these, which only grow.
pub const GROWING: [&str; 11] = [
    LISTEN_OVERFLOWS,
    LISTEN_DROPS,
    SYN_RETRANSMITS,
    REQ_QUEUE_FULL_DROP,
    REQ_QUEUE_FULL_COOKIES,
    ABORT_ON_MEMORY,
    MEMORY_PRESSURES,
    TIME_WAIT_OVERFLOW,
    REVERSE_PATH_FILTER,
    RETRANSMITS,
    OUT_NO_ROUTES,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_that_was_reset_did_not_grow() {
        assert_eq!(CounterChange { before: 9, after: 3 }.growth(), 0);
    }
}
