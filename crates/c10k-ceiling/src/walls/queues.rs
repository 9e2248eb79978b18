//! The queues a connection passes on its way in: a processor's input queue, the SYN queue, the accept queue.

use c10k_record::{CounterChange, Evidence, HostSnapshot, Remedy, Scope, Side, counted};

use crate::counter;
use crate::drops::{AT_THE_INPUT, AT_THE_LISTENER};
use crate::facts::stopped_accepting;
use crate::findings::{Findings, Lost, NO_ANSWER};
use crate::plan_view::PlanView;
use crate::wall::{
    Bite, Guide, Met, Plant, Wall, first, no_forecast, raise, raise_line, raised, remedy, seen,
};

pub(super) static WALLS: &[Wall] = &[
    Wall {
        name: "accept-queue",
        title: "the accept queue overflows: connections come faster than the server takes them",
        side: Side::Server,
        process: "the server",
        hard: true,
        only_alone: false,
        outcomes: &["connect-timeout", "ETIMEDOUT", "probe-timeout", "ECONNRESET"],
        read_at: "ss -ltn (Send-Q); /proc/sys/net/core/somaxconn",
        formula: "none: it bounds arrivals in the time that the server is away, not connections",
        not_there: "an accepted count that stands still (server-stopped-accepting), a full server, a \
                    throttled one (cpu-server); an overflow that may be another listener's",
        scope: Scope::Namespace,
        any_command_lifts: true,
        guide: Guide {
            what_it_is: "Connections that are complete and wait for accept(). Its length is the smaller of \
                         listen()'s backlog and net.core.somaxconn; when it is full, SYNs are dropped, and \
                         so is the last ACK of handshakes under way.",
            what_you_see: "Connects take 1, 2, 3 … s more, one second for each lost SYN, then time out (i/o \
                           timeout). Where the last ACK was dropped the client has a connection that the \
                           server never knew: a ghost. With tcp_abort_on_overflow = 1, ECONNRESET \
                           (connection reset by peer).",
            how_to_prove: "nstat -az TcpExtListenOverflows grows while the server goes on accepting (it is counted for \
                           all listeners of the namespace together); ss -ltn shows Recv-Q above Send-Q, ss -ltnm a \
                           growing d, what this listener dropped.",
            how_to_lift: "A larger backlog in the program and somaxconn with it (read at listen(): restart \
                          the server), faster accepting, more listeners (SO_REUSEPORT), a slower ramp.",
            what_not_to_do: "somaxconn alone does nothing when the program asks for 128; \
                             tcp_abort_on_overflow turns a delay into a loss.",
            kernel_source: "net/ipv4/tcp_ipv4.c: tcp_v4_syn_recv_sock; include/net/sock.h: \
                            sk_acceptq_is_full; listen(2)",
        },
        plant: Plant::in_a_namespace("a listener with a backlog of a few and a server that accepts slowly."),
        predict: no_forecast,
        diagnose: |findings| {
            let mut evidence = overflow_evidence(findings)?;
            let (lost, late) = (findings.unanswered(), findings.late_connects());
            if lost.is_none() && late.is_empty() {
                return None;
            }
            evidence.extend(unanswered_evidence(findings));
            evidence.extend(late);
            // Of a server that has ended nobody can ask whether it had stopped accepting before.
            Bite::weighed(findings.server_end.is_none(), evidence, first(lost))
        },
        met: |findings| {
            let evidence = overflow_evidence(findings)?;
            let counted = [counter::LISTEN_OVERFLOWS, counter::LISTEN_DROPS];
            let times = counted.iter().find_map(|name| findings.grew(name))?;
            Some(Met { times, evidence, delays: true })
        },
        lift: lift_accept_queue,
    },
    Wall {
        name: "syn-queue",
        title: "the SYN queue is full: half-open connections are dropped",
        side: Side::Server,
        process: "the server",
        hard: true,
        only_alone: false,
        outcomes: &["connect-timeout", "ETIMEDOUT"],
        read_at: "/proc/sys/net/ipv4/tcp_max_syn_backlog, the listener's backlog",
        formula: "none: it bounds handshakes under way, not connections",
        not_there: "TCPReqQFullDoCookies alone: then a cookie was sent and nothing lost",
        scope: Scope::Namespace,
        any_command_lifts: false,
        guide: Guide {
            what_it_is: "Handshakes under way: SYNs that were answered and whose ACK has not come. When \
                         there are too many and SYN cookies are off, further SYNs are dropped.",
            what_you_see: "Connects take 1, 2, 3 … s more, then time out (i/o timeout); the server sees \
                           nothing.",
            how_to_prove: "nstat -az TcpExtTCPReqQFullDrop grows, or, without cookies and at three quarters of \
                           tcp_max_syn_backlog, TcpExtListenDrops alone. ss -tan state syn-recv | wc -l stands at \
                           the limit.",
            how_to_lift: "Leave tcp_syncookies at 1, raise tcp_max_syn_backlog, backlog and somaxconn \
                          together.",
            what_not_to_do: "tcp_syncookies = 0 'for speed' takes the protection away and gains nothing; \
                             relying on cookies for legal load costs options (window scaling, SACK) where \
                             timestamps are off.",
            kernel_source: "net/ipv4/tcp_input.c: tcp_conn_request, tcp_syn_flood_action",
        },
        plant: Plant::in_a_namespace(
            "tcp_syncookies = 0, a short tcp_max_syn_backlog, and SYN-ACKs that are lost on the way back.",
        ),
        predict: no_forecast,
        diagnose: |findings| {
            let mut evidence = syn_queue_evidence(findings)?;
            let (lost, late) = waited(findings)?;
            evidence.extend(findings.lost_evidence(&NO_ANSWER));
            evidence.extend(late);
            Bite::proven(evidence, first(lost))
        },
        met: syn_queue_met,
        lift: |host, _| {
            let (key, present) = ("net.ipv4.tcp_max_syn_backlog", host.max_syn_backlog);
            let value = raised(key, 8192, present);
            remedy(
                Scope::Namespace,
                "Lengthen the SYN queue, together with backlog and somaxconn, and leave SYN cookies on.",
                &[
                    ("sysctl.net.ipv4.tcp_max_syn_backlog", value.to_string()),
                    ("sysctl.net.ipv4.tcp_syncookies", "1".to_owned()),
                ],
                vec![raise_line(key, value, present), raise_line("net.ipv4.tcp_syncookies", 1, None)],
            )
        },
    },
    Wall {
        name: "netdev-backlog",
        title: "a processor's input queue overflows, loopback's too",
        side: Side::Host,
        process: "the kernel",
        hard: true,
        only_alone: false,
        outcomes: &["connect-timeout", "ETIMEDOUT"],
        read_at: "/proc/sys/net/core/netdev_max_backlog; /proc/net/softnet_stat column 2",
        formula: "none: it bounds packets in a burst, not connections",
        not_there: "ListenOverflows, TCPReqQFullDrop: then a queue of the listener dropped them; SYNs sent again more \
                    than twice as often as packets were dropped",
        scope: Scope::Host,
        any_command_lifts: false,
        guide: Guide {
            what_it_is: "Packets that wait for a processor before TCP sees them. Loopback and veth go \
                         through it too: 1,000 packets for each processor by default.",
            what_you_see: "A slow ramp, SYNs sent again, now and then an i/o timeout; no queue of the \
                           listener is full.",
            how_to_prove: "/proc/net/softnet_stat column 2 (hexadecimal, a line a processor) grows, TcpExt \
                           TCPSynRetrans with it.",
            how_to_lift: "net.core.netdev_max_backlog for the whole host, or fewer connects under way at a \
                          time (--in-flight).",
            what_not_to_do: "Do not take column 3 (squeezed) for a drop: it only counts turns that were cut \
                             short.",
            kernel_source: "net/core/dev.c: enqueue_to_backlog",
        },
        plant: Plant::host_wide("the queue is the host's, so its evidence is replayed."),
        predict: no_forecast,
        diagnose: |findings| {
            let (lost, late) = waited(findings)?;
            if !input_queue_explains(findings) {
                return None;
            }
            let text = "packets dropped at a processor's input queue";
            let mut evidence: Vec<_> =
                findings.counter_evidence(counter::SOFTNET_DROPPED, Side::Host, text).into_iter().collect();
            let text = "SYNs that had to be sent again";
            evidence.extend(findings.counter_evidence(counter::SYN_RETRANSMITS, Side::Swarm, text));
            evidence.extend(findings.drop_evidence(&AT_THE_INPUT));
            evidence.extend(findings.lost_evidence(&NO_ANSWER));
            evidence.extend(late);
            Bite::proven(evidence, first(lost))
        },
        met: |findings| {
            let text = "packets dropped at a processor's input queue";
            let met = findings.dropped_syns(counter::SOFTNET_DROPPED, Side::Host, text)?;
            // Anybody's burst of packets drops a few on a busy machine.
            let (late, resent) = findings.waited_for_syns()?;
            let are_few = findings.are_few(late.connects.min(resent));
            (input_queue_explains(findings) && !are_few).then_some(met)
        },
        lift: |host, plan| {
            let slower = if plan.wanted_rate.is_some() { "" } else { ", or connect more slowly" };
            let text = format!("Lengthen the input queue of each processor (whole host){slower}.");
            raise(Scope::Host, text, "net.core.netdev_max_backlog", 10_000, host.netdev_max_backlog)
        },
    },
];

/// The proof that this server's accept queue overflowed while it went on accepting. A server that is full, stalled or
/// held back fills the queue too: that is the cause then.
fn overflow_evidence(findings: &Findings) -> Option<Vec<Evidence>> {
    let throttled = findings.grew(counter::SERVER_THROTTLED).is_some();
    if findings.server_full() || stopped_accepting(findings) || throttled {
        return None;
    }
    if !(overflowed(findings) && is_its_own(findings)) {
        return None;
    }
    let mut evidence = Vec::new();
    let text = "connections dropped at a full accept queue";
    evidence.extend(findings.counter_evidence(counter::LISTEN_OVERFLOWS, Side::Server, text));
    let text = "SYNs and ACKs dropped at the listener";
    evidence.extend(findings.counter_evidence(counter::LISTEN_DROPS, Side::Server, text));
    let text = "connections waited in this server's queue at the most";
    evidence.extend(findings.counter_evidence(counter::ACCEPT_QUEUE, Side::Server, text));
    let text = "packets that this server's listener dropped itself (sk_drops)";
    evidence.extend(findings.counter_evidence(counter::LISTENER_DROPS, Side::Server, text));
    evidence.extend(findings.drop_evidence(&AT_THE_LISTENER));
    evidence.extend(queue_length(&findings.host).map(|length| {
        let text = "the queue's length: the smaller of backlog and net.core.somaxconn";
        seen("backlog", Side::Server, Some(length), text)
    }));
    Some(evidence)
}

/// Whether packets of a processor's input queue were dropped that explain the SYNs sent again: its counter is the whole
/// host's, and anybody's packets count; and a full queue of the listener says more.
fn input_queue_explains(findings: &Findings) -> bool {
    let (Some(dropped), Some(resent)) =
        (findings.grew(counter::SOFTNET_DROPPED), findings.grew(counter::SYN_RETRANSMITS))
    else {
        return false;
    };
    dropped.saturating_mul(2) >= resent
        && findings.stood_still(counter::LISTEN_OVERFLOWS)
        && findings.stood_still(counter::REQ_QUEUE_FULL_DROP)
}

/// The SYN queue was full: SYNs were dropped, or cookies sent in their place, by which nothing is lost. Who waits for room in
/// the accept queue stays in this one, so that where that one overflowed it says nothing of its own.
fn syn_queue_met(findings: &Findings) -> Option<Met> {
    if !findings.stood_still(counter::LISTEN_OVERFLOWS) {
        return None;
    }
    let dropped = findings.grew(counter::REQ_QUEUE_FULL_DROP);
    // Of cookies no listener counts its own: they are this server's where the namespace is the run's.
    let cookies = findings.grew(counter::REQ_QUEUE_FULL_COOKIES).filter(|_| findings.plan.own_server);
    if dropped.is_some() && findings.grew(counter::LISTENER_DROPS).is_none() {
        return None;
    }
    let mut evidence = Vec::new();
    for (grew, name, text) in [
        (dropped, counter::REQ_QUEUE_FULL_DROP, "SYNs dropped because the SYN queue was full"),
        (
            cookies,
            counter::REQ_QUEUE_FULL_COOKIES,
            "times it was full and a cookie was sent: nothing is lost by that",
        ),
    ] {
        evidence.extend(grew.and_then(|_| findings.counter_evidence(name, Side::Server, text)));
    }
    let times = dropped.unwrap_or(0).saturating_add(cookies.unwrap_or(0));
    (times > 0).then_some(Met { times, evidence, delays: dropped.is_some() })
}

/// The proof that the SYN queue was full: its counter, or where there is none, what is left.
///
/// Without cookies no SYN is taken from three quarters of `tcp_max_syn_backlog` on, and that has no counter of its own
/// (net/ipv4/tcp_input.c, `tcp_conn_request`): only `ListenDrops` and the listener's own drops grow.
///
/// Both counters are the namespace's: a listener that dropped nothing itself has lost nobody by them.
fn syn_queue_evidence(findings: &Findings) -> Option<Vec<Evidence>> {
    if findings.stood_still(counter::LISTENER_DROPS) {
        return None;
    }
    let counted = |name, text| findings.counter_evidence(name, Side::Server, text);
    if findings.grew(counter::REQ_QUEUE_FULL_DROP).is_some() {
        let text = "SYNs dropped because the SYN queue was full";
        return Some(counted(counter::REQ_QUEUE_FULL_DROP, text).into_iter().collect());
    }
    let cookies = findings.host.other.get(SYNCOOKIES)?;
    // A SYN whose answer has no route is dropped at the listener too.
    let had_a_way = findings.grew(counter::OUT_NO_ROUTES) < findings.grew(counter::LISTEN_DROPS);
    let is_alone = findings.stood_still(counter::LISTEN_OVERFLOWS)
        && findings.stood_still(counter::REQ_QUEUE_FULL_DROP)
        && findings.grew(counter::LISTEN_DROPS).is_some()
        && findings.grew(counter::LISTENER_DROPS).is_some();
    if cookies != "0" || !is_alone || !had_a_way {
        return None;
    }
    let mut evidence =
        vec![seen(SYNCOOKIES, Side::Server, Some(0), "no cookies are sent in the place of room")];
    let text = "SYNs dropped at the listener, while its accept queue did not overflow";
    evidence.extend(counted(counter::LISTEN_DROPS, text));
    let text = "of them by this server's listener (sk_drops)";
    evidence.extend(counted(counter::LISTENER_DROPS, text));
    let most = findings.host.max_syn_backlog;
    let text = "of it a quarter is kept for peers that are known already";
    evidence.extend(most.map(|most| seen("net.ipv4.tcp_max_syn_backlog", Side::Server, Some(most), text)));
    Some(evidence)
}

const SYNCOOKIES: &str = "net.ipv4.tcp_syncookies";

/// The connects that got no answer, and the broken verdicts on connecting: one of them is there.
fn waited(findings: &Findings) -> Option<(Option<Lost>, Vec<Evidence>)> {
    let (lost, late) = (findings.unanswered_connects(), findings.late_connects());
    (lost.is_some() || !late.is_empty()).then_some((lost, late))
}

/// Whether the accept queue overflowed. `ListenDrops` also counts what the SYN queue drops, which has a counter for some
/// of it alone: it is taken for an overflow only where `ListenOverflows` was not read, that one stood still and the accept
/// queue was seen full.
fn overflowed(findings: &Findings) -> bool {
    match findings.counter(counter::LISTEN_OVERFLOWS) {
        Some(change) => change.growth() > 0,
        None => {
            findings.grew(counter::LISTEN_DROPS).is_some()
                && findings.stood_still(counter::REQ_QUEUE_FULL_DROP)
                && was_full(findings)
        }
    }
}

/// Whether the accept queue was seen full.
fn was_full(findings: &Findings) -> bool {
    let longest = findings.counter(counter::ACCEPT_QUEUE).map(|change| change.after);
    longest.zip(queue_length(&findings.host)).is_some_and(|(longest, most)| most > 0 && longest >= most)
}

/// Whether the overflow was of this server's listener and not of another one of the namespace, for which the counter
/// stands too: its queue was seen full, or it dropped packets and no other listener did.
fn is_its_own(findings: &Findings) -> bool {
    let dropped = findings.counter(counter::LISTENER_DROPS).map(CounterChange::growth);
    if dropped == Some(0) {
        return false;
    }
    was_full(findings) || dropped.is_some() && findings.stood_still(counter::OTHER_LISTENERS_DROPS)
}

fn queue_length(host: &HostSnapshot) -> Option<u64> {
    [host.backlog, host.somaxconn].into_iter().flatten().min()
}

/// Timeouts while connecting, and ghosts.
fn unanswered_evidence(findings: &Findings) -> Vec<c10k_record::Evidence> {
    let mut evidence = findings.lost_evidence(&NO_ANSWER);
    evidence.extend(findings.lost_evidence(&["probe-timeout"]));
    evidence.extend(findings.connections.ghosts.filter(|ghosts| *ghosts > 0).map(|ghosts| {
        let text = format!("{} that the client has and the server never had", counted(ghosts, "connection"));
        seen("ghosts", Side::Swarm, Some(ghosts), text)
    }));
    evidence
}

fn lift_accept_queue(host: &HostSnapshot, plan: &PlanView) -> Remedy {
    let now = queue_length(host).unwrap_or(0);
    let value = now.saturating_mul(4).clamp(16_384, 65_535).max(host.somaxconn.unwrap_or(0)).max(now);
    let settings = [("sysctl.net.core.somaxconn", value.to_string()), ("socket.backlog", value.to_string())];
    // Who has no more under way than the queue is long never fills it, whatever server it is.
    let under_way = now.max(1).to_string();
    // Without a proof a connection is under way no longer than until it is in the queue.
    let way = if plan.wanted_rate.is_some() {
        // Fewer connections a second are not what is asked for.
        None
    } else if plan.probe {
        let line = plan.again_with(&[("--in-flight", &under_way)]);
        let words = "Have no more connections under way than the queue takes";
        Some((line, format!("{words} (--in-flight {under_way}), or ")))
    } else {
        let (rate, line) = plan.more_slowly(500);
        Some((line, format!("Connect more slowly (--rate {rate}), or ")))
    };
    let mut commands: Vec<String> = way.iter().map(|(line, _)| line.clone()).collect();
    let mut text = way.map_or_else(String::new, |(_, words)| words);
    let by_program = host.backlog.zip(host.somaxconn).is_some_and(|(backlog, most)| backlog < most);
    if by_program {
        text.push_str(&format!(
            "lengthen the queue: the program itself asks listen() for {now}, below net.core.somaxconn, which \
             therefore changes nothing. It is the program's backlog that must grow, to {value} or so ([socket] backlog \
             in a profile of c10k-server), and it is read when the program begins to listen"
        ));
    } else {
        commands.push(raise_line("net.core.somaxconn", value, host.somaxconn));
        text.push_str(&format!(
            "lengthen the queue to {value}: net.core.somaxconn, which bounds it, and the backlog that the program \
             asks for; both are read when the program begins to listen, so start it again"
        ));
    }
    text.push_str("; or accept with more workers.");
    text[..1].make_ascii_uppercase();
    if commands.is_empty() {
        // Whose queue it is, and how long.
        commands.push("ss -ltnp".to_owned());
    }
    remedy(Scope::Namespace, text, &settings, commands)
}
