//! Memory: the machine's, TCP's own, and the limits that guard it.

use c10k_record::shell::quoted;
use c10k_record::{Evidence, HostSnapshot, Scope, Side, human_bytes, human_count};

use crate::counter;
use crate::facts::{end_evidence, ended_by_its_group, ended_by_the_machine};
use crate::findings::{Findings, KeptFree};
use crate::plan_view::PlanView;
use crate::wall::{
    Bite, Forecast, Guide, Met, Need, Plant, Wall, first, no_forecast, no_way_back, raise, raised, remedy,
    seen,
};

/// The walls at which a run stops by itself for the sake of memory.
pub const MEMORY_WALLS: [&str; 2] = ["ram", "cgroup-memory"];
/// Memory of one idle connection at the server's end, kernel and user space, bytes: measured on Linux 6.18.
pub const SERVER_BYTES: u64 = 4_060;
/// The same at the client's end, with the bucket of its port.
pub const CLIENT_BYTES: u64 = 4_270;
/// How far memory may be off, percent: other programs take and give back theirs.
const RAM_UNCERTAINTY: u8 = 5;
/// Names under which connections are lost when memory runs out.
const LOST_TO_MEMORY: [&str; 6] =
    ["ENOMEM", "ENOBUFS", "ECONNRESET", "closed-by-server", "ECONNREFUSED", "worker-lost"];

/// What a machine with so many bytes of RAM keeps free, bytes: below that the kernel reclaims in a hurry, and the
/// OOM killer is near (mm/page_alloc.c, the watermarks).
#[must_use]
pub fn memory_reserve_bytes(total_bytes: u64) -> u64 {
    (total_bytes / 20).clamp(64 << 20, 4 << 30)
}

/// A run that ended its own growth says with how much memory it did.
fn kept_free(kept: KeptFree, source: &str) -> Vec<Evidence> {
    let text = format!(
        "{} were left, and {} are kept in reserve: more connections, of {} B each, were not tried",
        human_bytes(kept.left_bytes),
        human_bytes(kept.reserve_bytes),
        human_count(kept.each_bytes)
    );
    vec![seen(source, Side::Host, Some(kept.left_bytes), text)]
}

/// What one connection is charged with in the group, bytes. That is less than it takes of the machine: slack of slabs
/// is nobody's, and version 1 does not charge the server's socket, which the network makes (net/core/sock.c,
/// `sk_clone`, and `inet_csk_accept`).
fn charged_each(host: &HostSnapshot, plan: &PlanView) -> u64 {
    host.cgroup_connection_bytes.filter(|bytes| *bytes > 0).unwrap_or_else(|| bytes_each(host, plan))
}

/// Memory that one connection takes of this machine, bytes.
fn bytes_each(host: &HostSnapshot, plan: &PlanView) -> u64 {
    let server = host.server_connection_bytes.unwrap_or(SERVER_BYTES);
    let client = host.client_connection_bytes.unwrap_or(CLIENT_BYTES);
    let each = match (plan.both_ends_here, plan.servers_end_alone) {
        (true, _) => server.saturating_add(client),
        (false, true) => server,
        (false, false) => client,
    };
    each.max(1)
}

pub(super) static WALLS: &[Wall] = &[
    Wall {
        name: "ram",
        title: "this machine's memory",
        side: Side::Host,
        process: "every process",
        hard: true,
        only_alone: false,
        outcomes: &["ENOMEM", "ENOBUFS", "worker-lost"],
        read_at: "/proc/meminfo; /proc/slabinfo for the sizes of the objects",
        formula: "(memory that is left − a reserve) ÷ (bytes at the server's end + bytes at the client's \
                  end, of those that stand here)",
        not_there: "an OOM kill of a memory group (cgroup-memory)",
        scope: Scope::Host,
        any_command_lifts: false,
        guide: Guide {
            what_it_is: "An idle connection takes about 4 KB of kernel memory at each end, in slabs: the \
                         socket, its inode, its file, its epoll item. It cannot be swapped out or reclaimed.",
            what_you_see: "Everything slows down, then the OOM killer ends a process, most often the one \
                           with the connections.",
            how_to_prove: "Slab of /proc/meminfo takes most of the memory, MemFree and the page cache are \
                           near zero; the kernel's log says 'Out of memory'.",
            how_to_lift: "More memory, or the two ends on two machines. Buffers that hold no data cost \
                          nothing, so smaller ones gain nothing for connections that sleep.",
            what_not_to_do: "Do not trust MemAvailable to the end: it counts socket inodes and dentries as \
                             reclaimable, which they are not while the connection lives. Do not let the OOM \
                             killer be the end of a measurement.",
            kernel_source: "net/core/sock.c: sk_prot_alloc; mm/oom_kill.c",
        },
        plant: Plant {
            plantable: false,
            needs: &[Need::OwnHost],
            how: "it would take the whole machine; the same arithmetic is proven by cgroup-memory.",
        },
        predict: |host, plan| {
            let available = host.memory_available_bytes?;
            let reserve = host.memory_total_bytes.map_or(0, memory_reserve_bytes);
            let each = bytes_each(host, plan);
            let now = format!(
                "{} available − {} kept free ÷ {} B a connection",
                human_bytes(available),
                human_bytes(reserve),
                human_count(each)
            );
            Some(Forecast::about(available.saturating_sub(reserve) / each, now, RAM_UNCERTAINTY))
        },
        diagnose: |findings| {
            if ended_by_its_group(findings) {
                return None;
            }
            if let Some(kept) = findings.kept_free.filter(|kept| !kept.in_a_group) {
                return Bite::proven(kept_free(kept, "MemFree + page cache"), None);
            }
            let killed = findings.grew(counter::OOM_KILLS);
            let lost = findings.lost(&LOST_TO_MEMORY);
            // Of a machine that is nearly empty of memory an ENOMEM is believed.
            let empty = match (findings.host.memory_total_bytes, findings.lowest_memory_available_bytes) {
                (Some(total), Some(lowest)) => total > 0 && lowest < total / 50,
                _ => false,
            };
            let refused = findings.lost(&["ENOMEM", "ENOBUFS"]).is_some()
                && empty
                && findings.tcp_mem_reached() == Some(false);
            if !(refused || ended_by_the_machine(findings)) {
                return None;
            }
            let mut evidence = Vec::new();
            let text = "processes of this machine that the OOM killer ended";
            evidence.extend(
                findings.counter_evidence(counter::OOM_KILLS, Side::Host, text).filter(|_| killed.is_some()),
            );
            evidence.extend(findings.server_end.map(end_evidence));
            if let Some(lowest) = findings.lowest_memory_available_bytes {
                let text = format!("MemAvailable at its lowest: {}", human_bytes(lowest));
                evidence.push(seen("MemAvailable", Side::Host, Some(lowest), text));
            }
            evidence.extend(findings.lost_evidence(&["ENOMEM", "ENOBUFS"]));
            Bite::proven(evidence, first(lost))
        },
        met: no_way_back,
        lift: |host, plan| {
            let needed = plan.target.saturating_mul(bytes_each(host, plan));
            let reserve = host.memory_total_bytes.map_or(0, memory_reserve_bytes);
            let text = format!(
                "{} of free memory are needed for the connections and {} to keep; nothing but memory, or a second \
                 machine for the swarm, lifts this.",
                human_bytes(needed),
                human_bytes(reserve)
            );
            remedy(Scope::Host, text, &[], vec!["free -h".to_owned()])
        },
    },
    Wall {
        name: "cgroup-memory",
        title: "the memory limit of the group that the processes run in",
        side: Side::Host,
        process: "every process of the group",
        hard: true,
        only_alone: false,
        outcomes: &["ENOMEM", "ENOBUFS", "worker-lost"],
        read_at: "memory.max (version 2) or memory.limit_in_bytes (version 1) of the group and of those \
                  above it",
        formula: "(limit − what is charged, page cache left out, − what the run keeps free) ÷ (what the ends \
                  that stand in the group are charged)",
        not_there: "an OOM kill outside of the group (ram); a failure count that stands still",
        scope: Scope::Process,
        any_command_lifts: false,
        guide: Guide {
            what_it_is: "A limit on the memory of a group of processes, as containers and systemd units \
                         have. Kernel memory of sockets is charged to the group that makes or accepts them.",
            what_you_see: "The OOM killer ends a process of the group while the machine has memory left: all \
                           its connections are reset at once (connection reset by peer). docker inspect says \
                           OOMKilled.",
            how_to_prove: "memory.events (version 2: max, oom_kill) or memory.failcnt and memory.oom_control \
                           (version 1) moved; look from outside the group.",
            how_to_lift: "Raise memory.max or memory.limit_in_bytes, docker run --memory, MemoryMax= of the \
                          unit.",
            what_not_to_do: "Do not look at free -h in a container: it shows the machine's memory.",
            kernel_source: "mm/memcontrol.c: try_charge_memcg; Documentation/admin-guide/cgroup-v2.rst",
        },
        plant: Plant::with(
            &[Need::Namespace, Need::Root, Need::MemoryCgroup],
            "a server in a group with a few tens of MiB; the lab watches from outside.",
        ),
        predict: |host, plan| {
            let limit = host.cgroup_memory_bytes?;
            let used = host.cgroup_memory_used_bytes.unwrap_or(0);
            let kept = host.cgroup_memory_kept_bytes.unwrap_or(0);
            let each = charged_each(host, plan);
            let reserve =
                if kept > 0 { format!(" − {} kept free", human_bytes(kept)) } else { String::new() };
            let now = format!(
                "{} of {} left in the group{reserve} ÷ {} B a connection",
                human_bytes(limit.saturating_sub(used)),
                human_bytes(limit),
                human_count(each)
            );
            let left = limit.saturating_sub(used).saturating_sub(kept);
            Some(Forecast::about(left / each, now, RAM_UNCERTAINTY))
        },
        diagnose: |findings| {
            let killed = findings.grew(counter::GROUP_OOM_KILLS).is_some();
            let ended = ended_by_its_group(findings);
            if let Some(kept) = findings.kept_free.filter(|kept| kept.in_a_group && !ended) {
                let mut evidence = kept_free(kept, "the group's limit − charged + page cache");
                evidence.extend(limit_of_the_group(&findings.host));
                return Bite::proven(evidence, None);
            }
            let refused = findings.grew(counter::GROUP_FAILURES).is_some()
                && findings.lost(&["ENOMEM", "ENOBUFS"]).is_some();
            if !ended && !refused {
                return None;
            }
            let mut evidence = Vec::new();
            let text = "processes of the group that the OOM killer ended";
            evidence.extend(
                findings.counter_evidence(counter::GROUP_OOM_KILLS, Side::Host, text).filter(|_| killed),
            );
            if ended && !killed {
                let text = "processes that the OOM killer ended on a machine that had memory left; the server's group \
                            was gone before it could be asked";
                evidence.extend(findings.counter_evidence(counter::OOM_KILLS, Side::Host, text));
            }
            let text = "times the limit of the group was hit";
            evidence.extend(findings.counter_evidence(counter::GROUP_FAILURES, Side::Host, text));
            let text = "bytes charged to the group, the most that was seen";
            evidence.extend(findings.counter_evidence(counter::GROUP_BYTES, Side::Host, text));
            evidence.extend(limit_of_the_group(&findings.host));
            evidence.extend(findings.server_end.map(end_evidence));
            evidence.extend(findings.lost_evidence(&["ENOMEM", "ENOBUFS"]));
            Bite::proven(evidence, first(findings.lost(&LOST_TO_MEMORY)))
        },
        met: |findings| {
            let times = findings.grew(counter::GROUP_HELD_BACK)?;
            let text = "times who asked for memory was put to sleep at memory.high";
            let mut evidence: Vec<_> =
                findings.counter_evidence(counter::GROUP_HELD_BACK, Side::Host, text).into_iter().collect();
            evidence.extend(limit_of_the_group(&findings.host));
            Some(Met { times, evidence, delays: false })
        },
        lift: |host, plan| {
            let needed = plan.target.saturating_mul(charged_each(host, plan));
            let needed = needed.saturating_add(needed / 5).saturating_add(64 << 20);
            let wanted = raised("memory.max", needed, host.cgroup_memory_bytes);
            let text = format!(
                "Give the group {}: memory.max (cgroup version 2), memory.limit_in_bytes (version 1), --memory of a \
                 container, MemoryMax= of a unit.",
                human_bytes(wanted)
            );
            let setting = [("memory.max", wanted.to_string())];
            let folder = host.cgroup_memory_folder.as_deref().unwrap_or_default();
            let line = plan.outlasts_the_run(folder).then(|| raise_group_line(host, plan, wanted));
            remedy(Scope::Process, text, &setting, line.into_iter().collect())
        },
    },
    Wall {
        name: "tcp-mem",
        title: "the limit on the memory of TCP's buffers",
        side: Side::Host,
        process: "the kernel",
        hard: true,
        only_alone: false,
        outcomes: &["ENOBUFS", "ENOMEM", "ECONNRESET"],
        read_at: "/proc/sys/net/ipv4/tcp_mem (pages), /proc/net/sockstat `TCP: mem`",
        formula: "none for connections that sleep: it bounds buffered bytes",
        not_there: "sockstat `mem` below the second value (orphans)",
        scope: Scope::Host,
        any_command_lifts: false,
        guide: Guide {
            what_it_is: "The memory of all TCP buffers of the host, in pages: below the first value TCP does \
                         as it likes, above the second it saves, above the third it refuses. Idle \
                         connections use none of it.",
            what_you_see: "Stalls, tiny windows, ECONNRESET (connection reset by peer) while data flows.",
            how_to_prove: "sockstat `TCP: mem` at a value of tcp_mem; TcpExt TCPMemoryPressures or \
                           TCPAbortOnMemory grows; the kernel's log says 'out of memory -- consider tuning \
                           tcp_mem'.",
            how_to_lift: "Raise tcp_mem (whole host), or lower the maxima of tcp_rmem and tcp_wmem.",
            what_not_to_do: "Do not give it bytes: 16777216 pages are 64 GiB, and the protection is gone. Do \
                             not copy values of a smaller machine either: they throttle this one.",
            kernel_source: "net/ipv4/tcp.c: tcp_out_of_resources via tcp_timer.c; net/core/sock.c: \
                            __sk_mem_raise_allocated; tcp(7)",
        },
        plant: Plant::host_wide("the three values are the host's, so its evidence is replayed."),
        predict: no_forecast,
        diagnose: |findings| {
            let names = ["ENOBUFS", "ENOMEM"];
            // Under pressure TCP saves, which makes answers late and costs no connection.
            let late = findings.broken_where(|condition, value| {
                let metric = condition.metric;
                metric.breaks_by_slowness()
                    && !metric.is_of_connecting()
                    && !findings.is_the_swarms(condition, value)
            });
            let bitten = findings.grew(counter::ABORT_ON_MEMORY).is_some()
                || findings.grew(counter::MEMORY_PRESSURES).is_some() && !late.is_empty()
                || findings.lost(&names).is_some();
            if !bitten || findings.tcp_mem_reached() != Some(true) {
                return None;
            }
            let mut evidence = Vec::new();
            let text = "pages of TCP memory in use, at the highest";
            evidence.extend(findings.counter_evidence(counter::TCP_MEM_PAGES, Side::Host, text));
            let limits = findings.host.tcp_mem_pages.map(|pages| pages[1]);
            evidence.push(seen("net.ipv4.tcp_mem", Side::Host, limits, "pages at which pressure begins"));
            let text = "connections reset for want of TCP memory";
            evidence.extend(findings.counter_evidence(counter::ABORT_ON_MEMORY, Side::Host, text));
            let text = "times TCP entered memory pressure";
            evidence.extend(findings.counter_evidence(counter::MEMORY_PRESSURES, Side::Host, text));
            evidence.extend(findings.lost_evidence(&names));
            // Too many orphans are reset under the same counter.
            let may_be_orphans = findings.lost(&names).is_none()
                && findings.grew(counter::MEMORY_PRESSURES).is_none()
                && orphans_reached(findings) == Some(true);
            Bite::weighed(!may_be_orphans, evidence, first(findings.lost(&names)))
        },
        met: |findings| {
            let times = findings.grew(counter::MEMORY_PRESSURES)?;
            let text = "times TCP went over the second value of tcp_mem and began to save";
            let evidence = findings.counter_evidence(counter::MEMORY_PRESSURES, Side::Host, text);
            Some(Met { times, evidence: evidence.into_iter().collect(), delays: false })
        },
        lift: |host, _| {
            let text = "Raise net.ipv4.tcp_mem (pages, not bytes; whole host), or lower the maxima of tcp_rmem \
                        and tcp_wmem.";
            let Some(now) = host.tcp_mem_pages else {
                // Where it cannot be seen from here, the line doubles what it finds.
                let doubled = "sudo sysctl -w net.ipv4.tcp_mem=\"$(sysctl -n net.ipv4.tcp_mem | awk '{print 2*$1, 2*$2, \
                               2*$3}')\"";
                return remedy(Scope::Host, text, &[], vec![doubled.to_owned()]);
            };
            let value = now.map(|pages| raised("net.ipv4.tcp_mem", 0, Some(pages)).to_string()).join(" ");
            let command = format!("sudo sysctl -w net.ipv4.tcp_mem=\"{value}\"");
            remedy(Scope::Host, text, &[("sysctl.net.ipv4.tcp_mem", value)], vec![command])
        },
    },
    Wall {
        name: "orphans",
        title: "too many closed connections that no process owns any more",
        side: Side::Host,
        process: "the kernel",
        hard: true,
        only_alone: false,
        outcomes: &["ECONNRESET"],
        read_at: "/proc/sys/net/ipv4/tcp_max_orphans, /proc/net/sockstat `orphan`",
        formula: "none: it bounds connections that nobody owns any more",
        not_there: "sockstat `mem` at tcp_mem (tcp-mem)",
        scope: Scope::Host,
        any_command_lifts: false,
        guide: Guide {
            what_it_is: "Connections that a process has closed and that TCP still has to end. A process that \
                         dies with a million open connections leaves as many.",
            what_you_see: "Connections end with RST instead of FIN: the peer sees ECONNRESET (connection \
                           reset by peer).",
            how_to_prove: "sockstat `orphan` near tcp_max_orphans, TcpExt TCPAbortOnMemory grows; the \
                           kernel's log says 'too many orphaned sockets'.",
            how_to_lift: "Raise tcp_max_orphans (whole host) to the number of connections, or close more \
                          slowly.",
            what_not_to_do: "Never lower it: the documentation says so, and it only turns an orderly end \
                             into a reset.",
            kernel_source: "net/ipv4/tcp.c: tcp_check_oom, tcp_close; include/net/tcp.h: \
                            tcp_too_many_orphans",
        },
        plant: Plant::host_wide("the count is the host's, so its evidence is replayed."),
        predict: no_forecast,
        diagnose: |findings| {
            findings.grew(counter::ABORT_ON_MEMORY)?;
            if orphans_reached(findings) != Some(true) || findings.tcp_mem_reached() != Some(false) {
                return None;
            }
            let max = findings.host.max_orphans?;
            let mut evidence = Vec::new();
            let text = "orphans at the highest";
            evidence.extend(findings.counter_evidence(counter::ORPHANS, Side::Host, text));
            evidence.push(seen("net.ipv4.tcp_max_orphans", Side::Host, Some(max), "the limit"));
            let text = "connections reset because of it";
            evidence.extend(findings.counter_evidence(counter::ABORT_ON_MEMORY, Side::Host, text));
            Bite::proven(evidence, None)
        },
        met: no_way_back,
        lift: |host, plan| {
            let text = "Raise net.ipv4.tcp_max_orphans (whole host), at least to the number of connections.";
            raise(Scope::Host, text, "net.ipv4.tcp_max_orphans", plan.target, host.max_orphans)
        },
    },
    Wall {
        name: "time-wait-buckets",
        title: "the limit on sockets in TIME_WAIT",
        side: Side::Host,
        process: "the kernel",
        // It makes the kernel skip TIME_WAIT and stops no connection.
        hard: false,
        only_alone: true,
        outcomes: &[],
        read_at: "/proc/sys/net/ipv4/tcp_max_tw_buckets, /proc/net/sockstat `tw`",
        formula: "none: it bounds connections closed in 60 s; beyond it they close without TIME_WAIT",
        not_there: "a target that was missed or a verdict that broke: it stops no connection and makes none late; \
                    what overflows while a run is closed at its end",
        scope: Scope::Namespace,
        any_command_lifts: false,
        guide: Guide {
            what_it_is: "How many sockets may be in TIME_WAIT in one network namespace, at 256 bytes each. \
                         Beyond it the end that closes first forgets the connection at once. No connection is \
                         lost by that, but what TIME_WAIT is for (RFC 9293, 3.6.1): for 60 s nobody gets the \
                         same four numbers, so that late segments do not reach a new connection, and a last \
                         ACK that was lost can be sent again.",
            what_you_see: "Nothing, as a rule: a run holds all it is asked for. sockstat `tw` stands at one \
                           number during a mass close. Where a last ACK is lost the other end gets ECONNRESET \
                           (connection reset by peer) instead of an orderly close.",
            how_to_prove: "TcpExt TCPTimeWaitOverflow grows; the kernel's log says 'TCP: time wait bucket table \
                           overflow'.",
            how_to_lift: "Raise tcp_max_tw_buckets (of this network namespace); 256 MB are a million of them. \
                          Or let the other end close first.",
            what_not_to_do: "Never lower it 'against TIME_WAIT': late segments of old connections then reach \
                             new ones.",
            kernel_source: "net/ipv4/inet_timewait_sock.c: inet_twsk_alloc; net/ipv4/tcp_minisocks.c: \
                            tcp_time_wait; ip-sysctl.rst",
        },
        plant: Plant::in_a_namespace(
            "a limit of 100, and a run that closes 800 of its connections from the client's side and makes as \
             many new ones.",
        ),
        predict: no_forecast,
        diagnose: |findings| {
            findings.grew(counter::TIME_WAIT_OVERFLOW)?;
            // What a run lost, or was late by, had another reason.
            if !findings.is_unharmed() {
                return None;
            }
            let mut evidence = Vec::new();
            let text = "times TIME_WAIT was skipped before the run's own end";
            evidence.extend(findings.counter_evidence(counter::TIME_WAIT_OVERFLOW, Side::Host, text));
            let limit = findings.host.max_tw_buckets;
            evidence
                .extend(limit.map(|n| seen("net.ipv4.tcp_max_tw_buckets", Side::Host, Some(n), "the limit")));
            Bite::proven(evidence, None)
        },
        met: no_way_back,
        lift: |host, plan| {
            let text = "Raise net.ipv4.tcp_max_tw_buckets; never lower it.";
            raise(Scope::Namespace, text, "net.ipv4.tcp_max_tw_buckets", plan.target, host.max_tw_buckets)
        },
    },
];

/// Whether orphans were so many that the kernel resets them; `None` where that is not known. It counts one of an idle peer
/// double (net/ipv4/tcp_timer.c, tcp_out_of_resources), hence the half.
fn orphans_reached(findings: &Findings) -> Option<bool> {
    let (max, level) = (findings.host.max_orphans?, findings.counter(counter::ORPHANS)?);
    Some(max > 0 && level.after >= max / 2)
}

/// The walls that are met without a connection lost or late: they are told of a run that reached its target too.
pub(crate) const COST_NO_CONNECTION: [&str; 1] = ["time-wait-buckets"];

/// The limit of the group that had least left, by the name of its file.
fn limit_of_the_group(host: &HostSnapshot) -> Option<Evidence> {
    let file = host.cgroup_memory_file.as_deref().unwrap_or("memory.max");
    let limit = host.cgroup_memory_bytes?;
    Some(seen(file, Side::Host, Some(limit), "the limit of the group"))
}

/// The line that raises the limit of the group: of the one that was found to limit, else of the process's own.
fn raise_group_line(host: &HostSnapshot, plan: &PlanView, wanted: u64) -> String {
    if let Some(folder) = &host.cgroup_memory_folder {
        if let Some(file) = &host.cgroup_memory_file {
            return format!("echo {wanted} | sudo tee {}", quoted(&format!("{folder}/{file}")));
        }
        // One of the two files is there: version 2's or version 1's.
        return format!(
            "for f in {folder}/memory.max {folder}/memory.limit_in_bytes; do [ ! -e \"$f\" ] || echo {wanted} | sudo \
             tee \"$f\"; done",
            folder = quoted(folder)
        );
    }
    let process = plan.server_pid.map_or_else(|| "self".to_owned(), |pid| pid.to_string());
    // Not known to limit: it is looked at first, so as not to lower it.
    format!(
        "g=$(sed -n 's/^0:://p' /proc/{process}/cgroup); f=/sys/fs/cgroup$g/memory.max; [ -e \"$f\" ] || \
         f=/sys/fs/cgroup/memory$(sed -n 's/^[0-9]*:memory://p' /proc/{process}/cgroup)/memory.limit_in_bytes; \
         [ \"$(cat \"$f\")\" = max ] || [ \"$(cat \"$f\")\" -ge {wanted} ] || echo {wanted} | sudo tee \"$f\""
    )
}
