//! The queues a connection passes on its way in: a processor's input queue, the SYN queue, the accept queue.

use c10k_record::{HostSnapshot, Remedy, Scope, Side, human_count};

use super::server::stopped_accepting;
use crate::counter;
use crate::findings::{Findings, NO_ANSWER};
use crate::wall::{Bite, Wall, no_forecast, remedy, seen, sysctl};

pub(super) static WALLS: &[Wall] = &[
    Wall {
        name: "accept-queue",
        title: "the accept queue overflows: connections come faster than the server takes them",
        side: Side::Server,
        hard: true,
        only_alone: false,
        what_you_see: "connects slow down in steps of 1, 2, 3 s, then time out; some are ghosts",
        how_to_prove: "TcpExt ListenOverflows grows while the server goes on accepting",
        predict: no_forecast,
        diagnose: |findings| {
            // A server that is full, stalled or at its own limit fills the queue too: that is the cause then.
            if findings.server_full() || stopped_accepting(findings) || !overflowed(findings) {
                return None;
            }
            let lost = findings.unanswered()?;
            let mut evidence = Vec::new();
            let text = "connections dropped at a full accept queue";
            evidence.extend(findings.counter_evidence(counter::LISTEN_OVERFLOWS, Side::Server, text));
            let text = "SYNs and ACKs dropped at the listener";
            evidence.extend(findings.counter_evidence(counter::LISTEN_DROPS, Side::Server, text));
            evidence.extend(queue_length(&findings.host).map(|length| {
                let text = "the queue's length: the smaller of backlog and net.core.somaxconn";
                seen("backlog", Side::Server, Some(length), text)
            }));
            evidence.extend(unanswered_evidence(findings));
            Bite::proven(evidence, lost.first_at_ms)
        },
        lift: lift_accept_queue,
    },
    Wall {
        name: "syn-queue",
        title: "the SYN queue is full: half-open connections are dropped",
        side: Side::Server,
        hard: true,
        only_alone: false,
        what_you_see: "slow connects, then connect timeouts; nothing at the server",
        how_to_prove: "TcpExt TCPReqQFullDrop grows (TCPReqQFullDoCookies alone loses nothing)",
        predict: no_forecast,
        diagnose: |findings| {
            findings.grew(counter::REQ_QUEUE_FULL_DROP)?;
            let lost = findings.lost_connecting(&NO_ANSWER)?;
            let text = "SYNs dropped because the SYN queue was full";
            let mut evidence: Vec<_> = findings
                .counter_evidence(counter::REQ_QUEUE_FULL_DROP, Side::Server, text)
                .into_iter()
                .collect();
            evidence.extend(findings.lost_evidence(&NO_ANSWER));
            Bite::proven(evidence, lost.first_at_ms)
        },
        lift: |host, _| {
            let value = host.max_syn_backlog.unwrap_or(0).saturating_mul(4).clamp(8192, 262_144).to_string();
            remedy(
                Scope::Namespace,
                "Lengthen the SYN queue, together with backlog and somaxconn, and leave SYN cookies on.",
                &[
                    ("sysctl.net.ipv4.tcp_max_syn_backlog", value.clone()),
                    ("sysctl.net.ipv4.tcp_syncookies", "1".to_owned()),
                ],
                vec![
                    format!("sudo sysctl -w net.ipv4.tcp_max_syn_backlog={value}"),
                    "sudo sysctl -w net.ipv4.tcp_syncookies=1".to_owned(),
                ],
            )
        },
    },
    Wall {
        name: "netdev-backlog",
        title: "a processor's input queue overflows, loopback's too",
        side: Side::Host,
        hard: true,
        only_alone: false,
        what_you_see: "SYNs sent again, a slow ramp, connect timeouts",
        how_to_prove: "/proc/net/softnet_stat column 2 grows",
        predict: no_forecast,
        diagnose: |findings| {
            findings.grew(counter::SOFTNET_DROPPED)?;
            let lost = findings.lost_connecting(&NO_ANSWER)?;
            let text = "packets dropped at a processor's input queue";
            let mut evidence: Vec<_> =
                findings.counter_evidence(counter::SOFTNET_DROPPED, Side::Host, text).into_iter().collect();
            let text = "SYNs that had to be sent again";
            evidence.extend(findings.counter_evidence(counter::SYN_RETRANSMITS, Side::Swarm, text));
            evidence.extend(findings.lost_evidence(&NO_ANSWER));
            Bite::proven(evidence, lost.first_at_ms)
        },
        lift: |_, _| {
            let text = "Lengthen the input queue of each processor (whole host), or connect more slowly.";
            sysctl(Scope::Host, text, "net.core.netdev_max_backlog", &10_000)
        },
    },
];

/// Whether the accept queue overflowed. `ListenDrops` also counts what the SYN queue drops: it is taken for
/// an overflow only where `ListenOverflows` was not read and the SYN queue stood still.
fn overflowed(findings: &Findings) -> bool {
    match findings.counter(counter::LISTEN_OVERFLOWS) {
        Some(change) => change.growth() > 0,
        None => {
            findings.grew(counter::LISTEN_DROPS).is_some()
                && findings.stood_still(counter::REQ_QUEUE_FULL_DROP)
        }
    }
}

fn queue_length(host: &HostSnapshot) -> Option<u64> {
    [host.backlog, host.somaxconn].into_iter().flatten().min()
}

/// Timeouts while connecting, and ghosts.
fn unanswered_evidence(findings: &Findings) -> Vec<c10k_record::Evidence> {
    let mut evidence = findings.lost_evidence(&NO_ANSWER);
    evidence.extend(findings.lost_evidence(&["probe-timeout"]));
    evidence.extend(findings.connections.ghosts.filter(|ghosts| *ghosts > 0).map(|ghosts| {
        let text =
            format!("{} connections that the client has and the server never had", human_count(ghosts));
        seen("ghosts", Side::Swarm, Some(ghosts), text)
    }));
    evidence
}

fn lift_accept_queue(host: &HostSnapshot, _: &crate::findings::PlanView) -> Remedy {
    let now = queue_length(host).unwrap_or(0);
    let value = now.saturating_mul(4).clamp(16_384, 65_535).to_string();
    remedy(
        Scope::Namespace,
        format!(
            "Lengthen the accept queue to {value} (the listener's backlog and somaxconn, which is read when the \
             server starts to listen), connect more slowly, or accept with more workers."
        ),
        &[("sysctl.net.core.somaxconn", value.clone()), ("socket.backlog", value.clone())],
        vec![format!("sudo sysctl -w net.core.somaxconn={value}"), "c10k-server --profile tuned".to_owned()],
    )
}
