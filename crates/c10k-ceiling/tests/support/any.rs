//! Any host, plan and findings at all.

use c10k_ceiling::{Findings, PlanView, ServerEnd, counter};
use c10k_record::{
    Connections, Failure, HostSnapshot, Latencies, LatencySummary, Outcome, PhaseName, ServerReport, Verdict,
};
use proptest::prelude::*;

use super::{change, load};

pub(crate) const OUTCOMES: [&str; 23] = [
    "EMFILE",
    "ENFILE",
    "ENOSPC",
    "EADDRNOTAVAIL",
    "EADDRINUSE",
    "ECONNRESET",
    "ECONNREFUSED",
    "ENETUNREACH",
    "EHOSTUNREACH",
    "EAGAIN",
    "EPERM",
    "ENOBUFS",
    "ETIMEDOUT",
    "connect-timeout",
    "probe-timeout",
    "corrupt",
    "closed-by-server",
    "short-echo",
    "aborted",
    "errno-4095",
    "EBUSY",
    "ENOMEM",
    "worker-lost",
];

pub(crate) const COUNTERS: [&str; 37] = [
    counter::ACCEPT_QUEUE,
    counter::LISTENER_DROPS,
    counter::OTHER_LISTENERS_DROPS,
    counter::LISTEN_OVERFLOWS,
    counter::LISTEN_DROPS,
    counter::SYN_RETRANSMITS,
    counter::REQ_QUEUE_FULL_DROP,
    counter::REQ_QUEUE_FULL_COOKIES,
    counter::ABORT_ON_MEMORY,
    counter::MEMORY_PRESSURES,
    counter::TIME_WAIT_OVERFLOW,
    counter::SOFTNET_DROPPED,
    counter::TCP_MEM_PAGES,
    counter::ORPHANS,
    counter::TIME_WAIT,
    counter::FILES_IN_USE,
    counter::CONNTRACK_COUNT,
    counter::CONNTRACK_DROPPED,
    counter::GROUP_BYTES,
    counter::GROUP_FAILURES,
    counter::GROUP_OOM_KILLS,
    counter::OOM_KILLS,
    counter::NEIGHBOURS,
    counter::NEIGHBOUR_TABLE_FULLS,
    counter::NEIGHBOURS_IPV6,
    counter::NEIGHBOUR_TABLE_FULLS_IPV6,
    counter::GROUP_HELD_BACK,
    counter::LINK_BITS_PER_SECOND,
    counter::LINK_DROPPED,
    counter::SERVER_THROTTLED,
    counter::SWARM_THROTTLED,
    counter::SWARM_THREADS_REFUSED,
    counter::ANSWER_RETRANSMITS,
    counter::DEVICE_DROPPED,
    counter::OUT_NO_ROUTES,
    counter::RETRANSMITS,
    counter::REVERSE_PATH_FILTER,
];

/// Small, middle and absurd numbers.
pub(crate) fn number() -> impl Strategy<Value = u64> {
    prop_oneof![0_u64..3, 0_u64..200_000, Just(u64::MAX)]
}

pub(crate) fn maybe() -> impl Strategy<Value = Option<u64>> {
    proptest::option::of(number())
}

prop_compose! {
    pub(crate) fn any_host()(
        a in proptest::collection::vec(maybe(), 30), range in proptest::option::of(any::<(u16, u16)>()),
        mem in proptest::option::of([number(), number(), number()]), tables in any::<(bool, bool)>(),
    ) -> HostSnapshot {
        HostSnapshot {
            server_nofile: a[0], swarm_nofile: a[1], nr_open: a[2], file_max: a[3], files_in_use: a[4],
            server_tables: tables.0, swarm_tables: tables.1,
            port_range: range, reserved_ports: a[5], somaxconn: a[6], backlog: a[6], max_orphans: a[7],
            tcp_mem_pages: mem, epoll_watches: a[8], watches_apart: tables.1, conntrack_max: a[9], memory_available_bytes: a[10],
            max_tw_buckets: a[11], server_per_table: a[12], swarm_per_table: a[13], threads_left: a[14],
            conntrack_entries: a[3], neighbours_max: a[15], link_bits_per_second: a[16], memory_total_bytes: a[17],
            cgroup_memory_bytes: a[18], cgroup_memory_used_bytes: a[19], server_connection_bytes: a[20],
            client_connection_bytes: a[21], may_raise_nofile: Some(tables.0), nofile_hard: a[0], nofile_soft: a[22],
            time_wait: a[23], tw_reuse: a[24], timestamps: a[25], netdev_max_backlog: a[26], nproc: a[27],
            nproc_hard: a[28], nproc_bypassed: tables.1, pids_max: a[29], pids_current: a[22], threads_max: a[23],
            max_syn_backlog: a[24], cgroup_memory_folder: a[25].map(|n| format!("/sys/fs/cgroup/{n}")),
            pids_folder: a[26].map(|n| format!("/sys/fs/cgroup/{n}")),
            cgroup_memory_file: a[27].map(|n| if n % 2 == 0 { "memory.high" } else { "memory.max" }.to_owned()),
            pid_max: a[29], threads_in_use: a[28], user_threads: a[27], neighbours_max_ipv6: a[15],
            ..HostSnapshot::default()
        }
    }
}

prop_compose! {
    pub(crate) fn any_plan()(
        n in proptest::collection::vec(number(), 3), window in proptest::option::of(any::<(u16, u16)>()),
        flags in any::<(bool, bool, bool)>(), max in maybe(), left_out in maybe(),
        ips in proptest::option::of("[0-9.,/:-]{0,20}"),
    ) -> PlanView {
        PlanView {
            target: n[0], sources: n[1], destinations: n[2], source_ports: window, both_ends_here: flags.0,
            probe: flags.1, explicit_ports: flags.2, ips, server_max_connections: max, ports_left_out: left_out,
            on_one_link: flags.0, ipv6: flags.1, probe_bytes: n[0] % 65_536, websocket: flags.1, pool: max,
            server_pid: left_out.map(|n| n as u32), server_nofile_hard: max, own_server: flags.2,
            rate_per_second: left_out, server_stopped: flags.0,
            ..PlanView::default()
        }
    }
}

prop_compose! {
    pub(crate) fn any_server()(n in proptest::collection::vec(number(), 4), errno in 0..OUTCOMES.len()) -> ServerReport {
        ServerReport {
            accepted: n[0], peak: n[1], paused: n[2], tables: n[3],
            accept_errors: [(OUTCOMES[errno].to_owned(), n[0])].into(), ..ServerReport::default()
        }
    }
}

/// Any text, and some that are verdicts.
pub(crate) fn any_verdict() -> impl Strategy<Value = String> {
    prop_oneof![
        ".{0,20}",
        "(connect|connect_response|lateness|first_echo|echo)_(p95|p99|max) [<>]=? [0-9]{1,3}(us|ms|s)",
        "connects_per_second [<>]=? [0-9]{1,6}",
    ]
}

pub(crate) fn any_failure() -> impl Strategy<Value = (usize, usize, u64, u64)> {
    (0..OUTCOMES.len(), 0_usize..4, number(), number())
}

prop_compose! {
    pub(crate) fn any_findings()(
        plan in any_plan(), host in any_host(), server in proptest::option::of(any_server()),
        counts in proptest::collection::vec(number(), 7), lost in proptest::collection::vec(any_failure(), 0..5),
        detail in any::<bool>(), capacity in maybe(), stalled in any::<bool>(),
        counters in proptest::collection::vec((0..COUNTERS.len(), number(), number()), 0..6),
        end in proptest::option::of(any::<(bool, i32)>()),
        cores in proptest::option::of(any::<(f64, f64)>()), lowest in maybe(),
        verdicts in proptest::collection::vec((any_verdict(), proptest::option::of(any::<bool>()), proptest::option::of(any::<f64>())), 0..3),
    ) -> Findings {
        let mut connections = Connections {
            target: counts[0], attempted: counts[1], established: counts[2], accepted: Some(counts[3]),
            verified: Some(counts[4]), held: counts[5], ghosts: Some(counts[6]),
            ..Connections::default()
        };
        let mut failures = Vec::new();
        for (outcome, phase, count, first_at_ms) in lost {
            let outcome: Outcome = serde_json::from_value(OUTCOMES[outcome].into()).expect("a name");
            let phase = [PhaseName::Ramp, PhaseName::Hold, PhaseName::Verify, PhaseName::Close][phase];
            connections.failed.insert(outcome.clone(), count);
            if detail {
                failures.push(Failure { phase, outcome, count, first_at_ms });
            }
        }
        let late = LatencySummary { p50: lowest, p95: lowest, p99: capacity, max: capacity, ..LatencySummary::default() };
        Findings {
            lateness_us: (!stalled).then_some(late),
            latency_us: Latencies { connect: late, ..Latencies::default() },
            plan, host, connections, failures, capacity, server,
            counters: counters.into_iter().map(|(n, a, b)| (COUNTERS[n].to_owned(), change(a, b))).collect(),
            server_end: end.map(|(killed, n)| if killed { ServerEnd::Killed(n) } else { ServerEnd::Exited(n) }),
            accepted_stalled: stalled,
            loads: cores.map(|(a, b)| (PhaseName::Ramp, load((a, b), (b, a), a))).into_iter().collect(),
            lowest_memory_available_bytes: lowest,
            verdicts: verdicts.into_iter().map(|(expr, passed, value)| Verdict { expr, passed, value, severity: c10k_record::Severity::Fail }).collect(),
            ..Findings::default()
        }
    }
}
