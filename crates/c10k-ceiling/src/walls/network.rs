//! The way between the two ends: routes, filters, and the table of tracked connections.

use c10k_record::{DEFAULT_PORT, HostSnapshot, Scope, Side, human_count};

use crate::counter;
use crate::drops::{AT_A_DEVICE, FOR_NO_NEIGHBOUR, FOR_NO_WAY};
use crate::facts::stopped_accepting;
use crate::findings::{Findings, NO_ANSWER};
use crate::plan_view::PlanView;
use crate::wall::{
    Bite, Forecast, Guide, Need, Plant, Wall, no_forecast, no_way_back, raise, raise_line, raised, remedy,
    seen,
};

pub(super) static WALLS: &[Wall] = &[
    Wall {
        name: "no-route",
        title: "there is no way from this source to the server, or none back",
        side: Side::Host,
        process: "the swarm",
        hard: true,
        only_alone: false,
        outcomes: &["ENETUNREACH", "EHOSTUNREACH", "connect-timeout", "ETIMEDOUT"],
        read_at: "ip route get SERVER from SOURCE; on the server's machine ip route get SOURCE",
        formula: "0",
        not_there: "a neighbour table that was full (neighbour-table)",
        scope: Scope::Namespace,
        any_command_lifts: false,
        guide: Guide {
            what_it_is: "The kernel finds no way from this source address to that destination, or the next \
                         machine does not answer. Or it is the answer that finds none: the server's machine, or a router, \
                         has no route back to the source.",
            what_you_see: "ENETUNREACH (network is unreachable) at once, or EHOSTUNREACH (no route to host) \
                           after some seconds. In a fresh network namespace even 127.0.0.1 is unreachable \
                           until lo is up. Without a way back, connects time out.",
            how_to_prove: "ip route get SERVER from SOURCE says unreachable; ip link shows the device down. Of the way back: \
                           on the server's machine ip route get SOURCE says unreachable, and nstat -az IpOutNoRoutes \
                           grows, TcpExtListenDrops with it; as root the kernel gives its reasons (IP_INNOROUTES, IP_OUTNOROUTES, NEIGH_FAILED).",
            how_to_lift: "ip link set lo up, add the address or the route, on the server's machine too, or use sources that \
                          reach the server.",
            what_not_to_do: "Do not turn on net.ipv4.ip_nonlocal_bind: it lets the program bind what then \
                             goes nowhere.",
            kernel_source: "net/ipv4/route.c: ip_route_output_key_hash_rcu; connect(2)",
        },
        plant: Plant::in_a_namespace("a server address to which the namespace has no route."),
        predict: no_forecast,
        diagnose: |findings| {
            // With the table of neighbours full the way is there, and only the neighbour is not known.
            // And where others were served at the only place there is, there is a way.
            let was_proven = findings.connections.verified.is_some_and(|verified| verified > 0);
            let is_there = (was_proven || findings.held_lives()) && findings.plan.destinations == 1;
            let names: &[&str] = match findings.neighbours_full() {
                Some(false) if !is_there => &["ENETUNREACH", "EHOSTUNREACH"],
                _ => &["ENETUNREACH"],
            };
            let Some(lost) = findings.lost(names) else { return no_way_found(findings) };
            // A firewall that rejects with an ICMP error says no route to host as well; and where others are held to the
            // same place, there is a way.
            let is_proof = findings.lost(&["EHOSTUNREACH"]).is_none() && !findings.held_lives();
            Bite::weighed(is_proof, findings.lost_evidence(names), lost.first_at_ms)
        },
        met: no_way_back,
        lift: |_, _| {
            remedy(
                Scope::Namespace,
                "Bring the device up, add the route, at the server's end the one back too, or use source addresses that \
                 reach the server.",
                &[],
                vec!["ip addr".to_owned(), "ip route show table all".to_owned()],
            )
        },
    },
    Wall {
        name: "conntrack",
        title: "the table of tracked connections is full",
        side: Side::Host,
        process: "the kernel",
        hard: true,
        only_alone: false,
        outcomes: &["connect-timeout", "ETIMEDOUT", "EPERM"],
        read_at: "/proc/sys/net/netfilter/nf_conntrack_max and nf_conntrack_count",
        formula: "nf_conntrack_max − entries there are in this namespace; one entry a connection, with both \
                  its ends here too, and for minutes after its end",
        not_there: "a count below the maximum with no drop counted",
        scope: Scope::Host,
        any_command_lifts: true,
        guide: Guide {
            what_it_is: "The firewall's table of connections. It is filled as soon as one rule asks for the \
                         state of a connection, as NAT, Docker and Kubernetes do. When it is full, packets \
                         of new connections are dropped.",
            what_you_see: "SYNs vanish and connects time out (i/o timeout) at one number for the whole \
                           machine, often 262,144 or 65,536. Where the packet is dropped on its way out, \
                           EPERM (operation not permitted).",
            how_to_prove: "nf_conntrack_count equals nf_conntrack_max (the count is each network namespace's \
                           own, the maximum is one number for each of them); column drop of \
                           /proc/net/stat/nf_conntrack grows; no counter of the listener moves; the kernel's \
                           log says 'nf_conntrack: table full, dropping packet'.",
            how_to_lift: "A rule that does not track these connections: notrack at priority raw, where they \
                          come in and where they go out. Or nf_conntrack_max and nf_conntrack_buckets, which \
                          are written in the machine's first namespace only, not in a container.",
            what_not_to_do: "Do not load the module just to raise its maximum: without rules nothing is \
                             tracked.",
            kernel_source: "net/netfilter/nf_conntrack_core.c: __nf_conntrack_alloc, early_drop; \
                            net/netfilter/nft_ct.c: nft_notrack_eval",
        },
        plant: Plant::with(
            &[Need::Namespace, Need::Conntrack],
            "a rule that asks for the state of connections, and so many entries of flows that are none that a \
             few hundred more fit.",
        ),
        predict: |host, _| {
            let max = host.conntrack_max?;
            let entries = host.conntrack_entries.unwrap_or(0);
            let now = format!(
                "net.netfilter.nf_conntrack_max = {}, {} of them taken here",
                human_count(max),
                human_count(entries)
            );
            Some(Forecast::exact(max.saturating_sub(entries), now))
        },
        diagnose: |findings| {
            if findings.conntrack_full() != Some(true) {
                return None;
            }
            let lost = findings.unanswered_connects().or_else(|| findings.lost(&["EPERM"]))?;
            // A table that is full to the last and has dropped nobody has cost nobody.
            let dropped = findings.moved(counter::CONNTRACK_DROPPED);
            if dropped == Some(false) {
                return None;
            }
            let mut evidence: Vec<_> = findings
                .counter_evidence(counter::CONNTRACK_COUNT, Side::Host, "connections tracked")
                .into_iter()
                .collect();
            if findings.grew(counter::CONNTRACK_DROPPED).is_some() {
                let text = "packets of new connections dropped because the table was full";
                evidence.extend(findings.counter_evidence(counter::CONNTRACK_DROPPED, Side::Host, text));
            }
            let max = findings.host.conntrack_max;
            evidence.push(seen("net.netfilter.nf_conntrack_max", Side::Host, max, "the limit"));
            evidence.extend(findings.lost_evidence(&NO_ANSWER));
            Bite::weighed(dropped == Some(true), evidence, lost.first_at_ms)
        },
        met: |findings| {
            let text = "packets of new connections dropped because the table was full";
            findings.dropped_syns(counter::CONNTRACK_DROPPED, Side::Host, text)
        },
        lift: |host, plan| {
            let needed = plan.target.saturating_add(plan.target / 10).saturating_add(1024);
            let text = "Do not track these connections (notrack, priority raw), or raise nf_conntrack_max: that is \
                        for the whole host, and written in its first namespace.";
            let key = "net.netfilter.nf_conntrack_max";
            let mut remedy = raise(Scope::Host, text, key, needed, host.conntrack_max);
            remedy.commands.push(notrack_line(plan));
            remedy
        },
    },
    Wall {
        name: "firewall-drop",
        title: "SYNs are dropped by a firewall or a filter",
        side: Side::Host,
        process: "the way between the ends",
        hard: true,
        only_alone: false,
        outcomes: &["connect-timeout", "ETIMEDOUT"],
        read_at: "nft list ruleset, iptables-save -c, tc -s qdisc",
        formula: "0, or whatever a rate limit lets through",
        not_there: "any counter of this machine that counts drops: ListenOverflows, ListenDrops, \
                    TCPReqQFullDrop, softnet, conntrack; as root, drops by a filter that are fewer than what was lost \
                    (path-loss)",
        scope: Scope::Host,
        any_command_lifts: false,
        guide: Guide {
            what_it_is: "SYNs are dropped and nobody says so: by a firewall's rule, a filter on the \
                         socket, a program of eBPF, a cloud's security group.",
            what_you_see: "Connects take 1, 2, 3 … s more, then time out (i/o timeout). The server sees \
                           nothing.",
            how_to_prove: "As root the kernel gives the reason: NETFILTER_DROP or SOCKET_FILTER as often as SYNs were lost \
                           (perf stat -e skb:kfree_skb --filter 'reason==N'). Else TcpExt TCPSynRetrans grows and no \
                           counter that counts drops moves; both ends must stand here, else the drop may be counted over \
                           there. tcpdump on the server's side shows whether the SYN arrives.",
            how_to_lift: "Find the rule and allow the server's port.",
            what_not_to_do: "Do not tune queues: none was full.",
            kernel_source: "net/netfilter/core.c: nf_hook_slow; net/core/filter.c: sk_filter_trim_cap",
        },
        plant: Plant::in_a_namespace(
            "a rule that drops what comes to the server's port, or, without nf_tables, a socket filter on the listener.",
        ),
        predict: no_forecast,
        diagnose: |findings| {
            let lost = findings.unanswered_connects()?;
            if let Some(is_proof) = findings.dropped_by_a_filter() {
                let mut evidence = findings.drop_evidence(findings.filters());
                let text = "SYNs that had to be sent again";
                evidence.extend(findings.counter_evidence(counter::SYN_RETRANSMITS, Side::Swarm, text));
                evidence.extend(findings.lost_evidence(&NO_ANSWER));
                return Bite::weighed(is_proof, evidence, lost.first_at_ms);
            }
            let innocent = findings.plan.both_ends_here
                && findings.no_counter_moved()
                && findings.server_end.is_none()
                && !findings.accepted_stalled
                && !findings.server_full()
                && !stopped_accepting(findings);
            let resent = findings.grew(counter::SYN_RETRANSMITS);
            // On a link it may be the link, unless there are rules; and where the kernel says that it was no filter, it was none.
            let may_be_another = findings.filters_are_out() || findings.found_no_route().is_some();
            let may_be_the_link = findings.plan.on_one_link && !findings.rules_may_drop();
            if !innocent || resent.is_none() || may_be_another || may_be_the_link {
                return None;
            }
            let text = "SYNs that had to be sent again";
            let mut evidence: Vec<_> =
                findings.counter_evidence(counter::SYN_RETRANSMITS, Side::Swarm, text).into_iter().collect();
            let text = "did not move: no queue of this machine dropped them";
            evidence.extend(findings.counter_evidence(counter::LISTEN_DROPS, Side::Server, text));
            evidence.extend(findings.drop_evidence(findings.filters()));
            evidence.extend(findings.lost_evidence(&NO_ANSWER));
            // Over loopback nothing but a filter is left, unless those that were counted dropped nothing. On a link the answer
            // may be what is lost: no route back.
            let is_proof = !findings.plan.on_one_link && !findings.counted_filters_dropped_too_few();
            Bite::weighed(is_proof, evidence, lost.first_at_ms)
        },
        met: no_way_back,
        lift: |_, _| {
            remedy(
                Scope::Host,
                "Find the rule that drops them (nftables, iptables, a socket or traffic filter) and allow the \
                 server's port.",
                &[],
                vec!["sudo nft list ruleset".to_owned(), "sudo iptables-save -c".to_owned()],
            )
        },
    },
    Wall {
        name: "neighbour-table",
        title: "more neighbours on one link than the kernel keeps",
        side: Side::Host,
        process: "the kernel",
        hard: true,
        only_alone: false,
        outcomes: &["connect-timeout", "ETIMEDOUT", "EHOSTUNREACH", "ENOBUFS", "EINVAL"],
        read_at: "/proc/sys/net/ipv4/neigh/default/gc_thresh3 and /proc/net/stat/arp_cache (IPv6: net/ipv6 and \
                  ndisc_cache), in the machine's first network namespace",
        formula: "(gc_thresh3 − servers) × ports × destinations, with every source a neighbour on one link",
        not_there: "a missing route (no-route)",
        scope: Scope::Host,
        any_command_lifts: false,
        guide: Guide {
            what_it_is: "The link-layer addresses that the kernel knows: 1,024 by default for IPv4, for the \
                         whole host. Each source address on one link is a neighbour of the server.",
            what_you_see: "From about the thousandth source address on connects time out (i/o timeout): the \
                           SYN-ACK finds no neighbour and is dropped, and connect() is told of no error but a \
                           refusal. Where the server cannot be resolved itself, EHOSTUNREACH (no route to \
                           host); in programs over UDP ENOBUFS (no buffer space available).",
            how_to_prove: "/proc/net/stat/arp_cache column table_fulls grows; the kernel's log says \
                           'neighbour: arp_cache: neighbor table overflow!'.",
            how_to_lift: "Raise gc_thresh1, gc_thresh2 and gc_thresh3 (whole host), or put the sources \
                          behind a router, for which one entry is enough. Loopback has no neighbours.",
            what_not_to_do: "Do not raise gc_thresh3 alone: it must stay above the other two.",
            kernel_source: "net/core/neighbour.c: neigh_alloc; net/ipv4/ip_output.c: ip_finish_output2; \
                            net/ipv4/tcp_output.c: tcp_connect",
        },
        plant: Plant::host_wide("the table is the host's, so its evidence is replayed."),
        predict: |host, plan| {
            let most = plan.neighbours_max(host).filter(|_| plan.on_one_link)?;
            let each = plan.ports_per_pair(host)?.saturating_mul(plan.destinations);
            let now = format!("{}3 = {}", plan.neighbours().keys, human_count(most));
            // One entry is the server's own.
            Some(Forecast::exact(most.saturating_sub(1).saturating_mul(each), now))
        },
        diagnose: |findings| {
            let named = ["EHOSTUNREACH", "ENOBUFS", "EINVAL"];
            let table = findings.plan.neighbours();
            let lost = findings.lost(&named).filter(|_| findings.neighbours_full() == Some(true));
            // A SYN or its answer that is dropped for it says nothing: that one found no room must have been counted.
            let is_counted =
                findings.grew(table.fulls).is_some() || findings.dropped_for(&FOR_NO_NEIGHBOUR).is_some();
            let silent = findings.unanswered_connects().filter(|_| is_counted);
            let names = [&named[..], if silent.is_some() { &NO_ANSWER } else { &[] }].concat();
            let lost = lost.map(|lost| lost.and(silent)).or(silent)?;
            let mut evidence = Vec::new();
            let text = "neighbours that found no room";
            evidence.extend(findings.counter_evidence(table.fulls, Side::Host, text));
            let text = "neighbours kept, at the most";
            evidence.extend(findings.counter_evidence(table.kept, Side::Host, text));
            let max = findings.plan.neighbours_max(&findings.host);
            let name = format!("{}3", table.keys);
            evidence.extend(max.map(|n| seen(&name, Side::Host, Some(n), "the limit")));
            evidence.extend(findings.drop_evidence(&FOR_NO_NEIGHBOUR));
            evidence.extend(findings.lost_evidence(&names));
            // A table at its most may have had room for all who came.
            let is_proof =
                findings.grew(table.fulls).is_some() || findings.dropped_for(&FOR_NO_NEIGHBOUR) == Some(true);
            Bite::weighed(is_proof, evidence, lost.first_at_ms)
        },
        met: |findings| {
            let text = "neighbours that found no room";
            let met = findings.dropped_syns(findings.plan.neighbours().fulls, Side::Host, text)?;
            // The table is the whole host's, and anybody's neighbours count.
            let (late, resent) = findings.waited_for_syns()?;
            (!findings.are_few(late.connects.min(resent))).then_some(met)
        },
        lift: |host, plan| {
            let needed = plan.sources.max(1024).saturating_add(1).checked_next_power_of_two();
            let needed = needed.map_or(u64::MAX, |needed| needed.saturating_mul(2));
            let key = |n: u8| format!("{}{n}", plan.neighbours().keys);
            let now = plan.neighbours_max(host);
            let most = raised(&key(3), needed, now);
            let values = [(1, most / 8), (2, most / 2), (3, most)];
            let settings = values.map(|(n, value)| (format!("sysctl.{}", key(n)), value.to_string()));
            let settings: Vec<(&str, String)> =
                settings.iter().map(|(k, v)| (k.as_str(), v.clone())).collect();
            // The highest first: each must stay above those below it.
            let present = |n: u8| now.filter(|_| n == 3);
            let commands = values.iter().rev().map(|(n, value)| raise_line(&key(*n), *value, present(*n)));
            let text = "Keep more neighbours (whole host), or put the sources behind a router.";
            remedy(Scope::Host, text, &settings, commands.collect())
        },
    },
    Wall {
        name: "bandwidth",
        title: "the link carries no more",
        side: Side::Host,
        process: "the link",
        hard: false,
        only_alone: false,
        outcomes: &["connect-timeout", "probe-timeout"],
        read_at: "tc -s qdisc (the rate of a tbf or htb at the root); /sys/class/net/DEVICE/speed; the switch, \
                  the cloud's table of machine types",
        formula: "connections a second = bits a second ÷ bits that one connection takes to be made; none for \
                  connections that sleep",
        not_there: "a busiest second well below what the link carries",
        scope: Scope::Process,
        any_command_lifts: false,
        guide: Guide {
            what_it_is: "What the link between the two ends carries, or what a queue on it lets through. \
                         Idle connections need nothing; a ramp, probes and messages do.",
            what_you_see: "Messages a second stand still whatever is done, latency grows with the queue, and \
                           no processor is busy. The diary's wall was here: 300 Mbit/s.",
            how_to_prove: "Bits a second over the device (ip -s link) stand at its speed or at the queue's \
                           rate for seconds; tc -s qdisc counts drops and shows a backlog; no counter of the \
                           listener moves.",
            how_to_lift: "Connect and send more slowly than the link carries (--rate), a faster link or a \
                          queue with a higher rate, fewer or smaller messages.",
            what_not_to_do: "Do not look at packets of connections that sleep: there are none but \
                             keepalives.",
            kernel_source: "net/sched/sch_tbf.c: tbf_dequeue; net/sched/sch_htb.c; net/core/dev.c: \
                            __dev_queue_xmit",
        },
        plant: Plant::with(
            &[Need::Namespace, Need::TrafficShaper],
            "a queue before lo that lets 400 kbit/s through, and connections that come five times as fast.",
        ),
        predict: no_forecast,
        diagnose: |findings| {
            let (_, carries) = findings.link_full()?;
            let lost = findings.lost(&NO_ANSWER).or_else(|| findings.lost(&["probe-timeout"]));
            let late = findings.too_late();
            if lost.is_none() && late.is_empty() {
                return None;
            }
            let mut evidence = Vec::new();
            let text = "bits over the link in its busiest second";
            evidence.extend(findings.counter_evidence(counter::LINK_BITS_PER_SECOND, Side::Host, text));
            evidence.push(seen("link", Side::Host, Some(carries), "bits a second that it carries"));
            if let Some((rate, now)) = link_rate(&findings.host, &findings.plan) {
                let text = format!("connections a second that it carries: {now}");
                evidence.push(seen("connections a second", Side::Host, Some(rate), text));
            }
            if findings.grew(counter::LINK_DROPPED).is_some() {
                let text = "packets dropped by the queue before it";
                evidence.extend(findings.counter_evidence(counter::LINK_DROPPED, Side::Host, text));
            }
            evidence.extend(findings.drop_evidence(&AT_A_DEVICE));
            evidence.extend(late);
            evidence.extend(findings.lost_evidence(&NO_ANSWER));
            // A link may be full for a second without anything that waits for it being lost, or late.
            let is_proof = findings.grew(counter::LINK_DROPPED).is_some();
            Bite::weighed(is_proof, evidence, lost.and_then(|lost| lost.first_at_ms))
        },
        met: |findings| {
            let (_, carries) = findings.link_full()?;
            let text = "packets dropped by the queue before the link";
            let mut met = findings.dropped_syns(counter::LINK_DROPPED, Side::Host, text)?;
            met.evidence.push(seen(
                "link",
                Side::Host,
                Some(carries),
                "bits a second that it carries, and carried",
            ));
            Some(met)
        },
        lift: |host, plan| {
            let look = ["tc -s qdisc show".to_owned(), "ip -s link".to_owned()];
            let wider = "use a faster link or raise the rate of its queue, or send fewer or smaller messages";
            if plan.wanted_rate.is_some() {
                let text = format!("U{}.", &wider[1..]);
                return remedy(Scope::Process, text, &[], look.to_vec());
            }
            // A fifth is left for what is sent twice.
            let most = link_rate(host, plan).map_or(5000, |(rate, _)| (rate - rate / 5).max(1));
            let rate = format!("{most}/s");
            let text = format!("Connect more slowly than the link carries, {wider}.");
            let mut commands = vec![plan.again_with(&[("--rate", &rate)])];
            commands.extend(look);
            remedy(Scope::Process, text, &[("--rate", rate)], commands)
        },
    },
];

/// Connects that got no answer since a SYN, or its answer, found no way: by the count of the machine that found none, or by
/// the kernel's reason.
fn no_way_found(findings: &Findings) -> Option<Bite> {
    let lost = findings.unanswered_connects()?;
    let is_proof = findings.found_no_route()?;
    let mut evidence = Vec::new();
    if findings.answers_found_no_route().is_some() {
        let text = "packets of its own, answers to SYNs among them, for which the server's machine found no route: there is \
                    no way back";
        evidence.extend(findings.counter_evidence(counter::OUT_NO_ROUTES, Side::Host, text));
    }
    evidence.extend(findings.drop_evidence(&FOR_NO_WAY));
    evidence.extend(findings.lost_evidence(&NO_ANSWER));
    Bite::weighed(is_proof, evidence, lost.first_at_ms)
}

/// How far [`link_rate`] may be off, percent: acknowledgements may travel with data, and SYNs be sent twice.
pub(crate) const LINK_UNCERTAINTY: u8 = 10;

/// Connections a second that the link carries, and how that is reckoned.
pub(crate) fn link_rate(host: &HostSnapshot, plan: &PlanView) -> Option<(u64, String)> {
    let carries = host.link_bits_per_second.filter(|bits| *bits > 0)?;
    let bytes = bytes_to_connect(plan);
    let now = format!(
        "the link carries {} bit/s ÷ {} bytes a connection",
        human_count(carries),
        human_count(bytes)
    );
    Some((carries / 8 / bytes, now))
}

/// What goes over a line while one connection is made and proves itself, bytes with their link-layer headers: over
/// loopback both directions, of a link with two ends the one towards the server, which has more. Counted at `lo` on
/// Linux 6.18: 606 with probes of 64 bytes in 7 packets, 1,094 with WebSocket in 10.
fn bytes_to_connect(plan: &PlanView) -> u64 {
    /// Ethernet 14, IPv4 20, TCP with timestamps 32.
    const HEADERS: u64 = 66;
    /// With the options of a SYN (RFC 9293, 3.2; RFC 7323).
    const SYN: u64 = 74;
    let probe = if plan.probe { plan.probe_bytes } else { 0 };
    // SYN, ACK; SYN-ACK.
    let (mut to_server, mut to_client) = (SYN + HEADERS, SYN);
    if plan.probe {
        // Each way a probe, and the acknowledgement of the other's.
        to_server += HEADERS + probe + HEADERS;
        to_client += HEADERS + probe + HEADERS;
    }
    if plan.websocket {
        // The request and an acknowledgement; the answer; the headers of two frames.
        to_server += HEADERS + 153 + HEADERS + 6;
        to_client += HEADERS + 129 + 2;
    }
    let shares = plan.both_ends_here && !plan.on_one_link;
    if shares { to_server.saturating_add(to_client) } else { to_server }
}

/// A table of its own, so that it can be taken away again by its name.
fn notrack_line(plan: &PlanView) -> String {
    let ports: Vec<String> = plan.server_ports.iter().map(u16::to_string).collect();
    let ports = match &ports[..] {
        [] => DEFAULT_PORT.to_string(),
        [one] => one.clone(),
        several => format!("{{ {} }}", several.join(", ")),
    };
    let chain = |name: &str, hook: &str| {
        let rule = |end: &str| format!("add rule inet untracked {name} tcp {end} {ports} notrack");
        let (to, from) = (rule("dport"), rule("sport"));
        format!("add chain inet untracked {name} {{ type filter hook {hook} priority raw; }}; {to}; {from}")
    };
    let chains = [chain("in", "prerouting"), chain("out", "output")].join("; ");
    format!("sudo nft 'add table inet untracked; {chains}'")
}
