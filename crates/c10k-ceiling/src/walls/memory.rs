//! Memory: the machine's, TCP's own, and the limits that guard it.

use c10k_record::{Scope, Side, human_bytes, human_count};

use crate::counter;
use crate::findings::Findings;
use crate::wall::{Bite, Forecast, Wall, first, no_forecast, remedy, seen, sysctl};

/// Kernel memory of one idle connection with both ends on one machine, bytes: measured on Linux 6.18 with a
/// million pairs.
const PAIR_BYTES: u64 = 8_300;
/// The same for one end of it.
const END_BYTES: u64 = 4_100;

pub(super) static WALLS: &[Wall] = &[
    Wall {
        name: "ram",
        title: "this machine's memory",
        side: Side::Host,
        hard: true,
        only_alone: false,
        what_you_see: "everything slows down, then the OOM killer ends a process",
        how_to_prove: "MemFree and page cache near zero, Slab large; 'Out of memory' in the kernel's log",
        predict: |host, plan| {
            let each = if plan.both_ends_here { PAIR_BYTES } else { END_BYTES };
            let free = [host.memory_available_bytes, host.cgroup_memory_bytes].into_iter().flatten().min()?;
            let now = format!("{} available ÷ {} B a connection", human_bytes(free), human_count(each));
            Some(Forecast { connections: free / each, now, uncertainty_percent: 10 })
        },
        // What an exhausted memory does is seen as a server that died; no counter names the memory itself.
        diagnose: |_| None,
        lift: |_, plan| {
            let each = if plan.both_ends_here { PAIR_BYTES } else { END_BYTES };
            let needed = plan.target.saturating_mul(each);
            let text =
                format!("{} of free memory are needed for the connections alone.", human_bytes(needed));
            remedy(Scope::Host, text, &[], vec!["free -h".to_owned()])
        },
    },
    Wall {
        name: "tcp-mem",
        title: "the limit on the memory of TCP's buffers",
        side: Side::Host,
        hard: true,
        only_alone: false,
        what_you_see: "stalls, tiny windows, resets while data flows; idle connections do not feel it",
        how_to_prove: "sockstat `TCP: mem` at a value of net.ipv4.tcp_mem (pages), TCPAbortOnMemory or \
                       TCPMemoryPressures grows",
        predict: no_forecast,
        diagnose: |findings| {
            let names = ["ENOBUFS", "ENOMEM"];
            let bitten = findings.grew(counter::ABORT_ON_MEMORY).is_some()
                || findings.grew(counter::MEMORY_PRESSURES).is_some()
                || findings.lost(&names).is_some();
            if !bitten || !tcp_mem_reached(findings) {
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
            Bite::proven(evidence, first(findings.lost(&names)))
        },
        lift: |host, _| {
            let text = "Raise net.ipv4.tcp_mem (pages, not bytes; whole host), or lower the maxima of tcp_rmem \
                        and tcp_wmem.";
            let Some(now) = host.tcp_mem_pages else {
                return remedy(Scope::Host, text, &[], vec!["sysctl net.ipv4.tcp_mem".to_owned()]);
            };
            let value = now.map(|pages| pages.saturating_mul(2).to_string()).join(" ");
            sysctl(Scope::Host, text, "net.ipv4.tcp_mem", &value)
        },
    },
    Wall {
        name: "orphans",
        title: "too many closed connections that no process owns any more",
        side: Side::Host,
        hard: true,
        only_alone: false,
        what_you_see: "connections end with RST instead of FIN when many are closed at once",
        how_to_prove: "sockstat `TCP: orphan` near net.ipv4.tcp_max_orphans, TCPAbortOnMemory grows, tcp_mem is \
                       not reached",
        predict: no_forecast,
        diagnose: |findings| {
            findings.grew(counter::ABORT_ON_MEMORY)?;
            let (max, level) = (findings.host.max_orphans?, findings.counter(counter::ORPHANS)?);
            // The kernel counts an orphan of an idle peer double (tcp_out_of_resources), hence the half.
            if max == 0 || level.after < max / 2 || tcp_mem_reached(findings) {
                return None;
            }
            let mut evidence = Vec::new();
            let text = "orphans at the highest";
            evidence.extend(findings.counter_evidence(counter::ORPHANS, Side::Host, text));
            evidence.push(seen("net.ipv4.tcp_max_orphans", Side::Host, Some(max), "the limit"));
            let text = "connections reset because of it";
            evidence.extend(findings.counter_evidence(counter::ABORT_ON_MEMORY, Side::Host, text));
            Bite::proven(evidence, None)
        },
        lift: |host, plan| {
            let value = plan.target.max(host.max_orphans.unwrap_or(0).saturating_mul(2));
            let text = "Raise net.ipv4.tcp_max_orphans (whole host) to the number of connections.";
            sysctl(Scope::Host, text, "net.ipv4.tcp_max_orphans", &value)
        },
    },
    Wall {
        name: "time-wait-buckets",
        title: "the limit on sockets in TIME_WAIT",
        side: Side::Host,
        hard: true,
        // It makes the kernel skip TIME_WAIT and stops no connection by itself.
        only_alone: true,
        what_you_see: "nothing: further connections are closed without TIME_WAIT",
        how_to_prove: "TcpExt TCPTimeWaitOverflow grows, sockstat `TCP: tw` stands at tcp_max_tw_buckets",
        predict: no_forecast,
        diagnose: |findings| {
            findings.grew(counter::TIME_WAIT_OVERFLOW)?;
            let mut evidence = Vec::new();
            let text = "times TIME_WAIT was skipped";
            evidence.extend(findings.counter_evidence(counter::TIME_WAIT_OVERFLOW, Side::Host, text));
            let limit = findings.host.max_tw_buckets;
            evidence
                .extend(limit.map(|n| seen("net.ipv4.tcp_max_tw_buckets", Side::Host, Some(n), "the limit")));
            Bite::proven(evidence, None)
        },
        lift: |host, plan| {
            let value = plan.target.max(host.max_tw_buckets.unwrap_or(0).saturating_mul(2));
            let text = "Raise net.ipv4.tcp_max_tw_buckets; never lower it.";
            sysctl(Scope::Namespace, text, "net.ipv4.tcp_max_tw_buckets", &value)
        },
    },
];

/// Whether TCP's memory reached the value at which pressure begins.
fn tcp_mem_reached(findings: &Findings) -> bool {
    match (findings.host.tcp_mem_pages, findings.counter(counter::TCP_MEM_PAGES)) {
        (Some([_, pressure, _]), Some(level)) => pressure > 0 && level.after >= pressure,
        _ => false,
    }
}
