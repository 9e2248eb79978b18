//! The way between the ends: a box on it that forgets, a way that is gone or loses what it carries, a rule that refuses, a
//! route that does not lead back.

use c10k_record::{Evidence, PhaseName, Scope, Side, SilentSample, human_count};

use crate::counter;
use crate::drops::{ASTRAY, AT_A_DEVICE, BY_REVERSE_PATH, FOR_NO_NEIGHBOUR};
use crate::facts::stopped_accepting;
use crate::findings::{Findings, Lost, NO_ANSWER, REFUSED};
use crate::wall::{Bite, Guide, Plant, Wall, no_forecast, no_way_back, remedy, seen};

/// Outcomes of connections that were proven once and are answered no more.
const SILENCED: [&str; 4] = ["probe-timeout", "unproven", "ping-timeout", "ETIMEDOUT"];
/// A box on the way forgets no flow that was silent for less.
const LEAST_QUIET_MS: u64 = 1_000;

pub(super) static WALLS: &[Wall] = &[
    Wall {
        name: "middlebox-forgets",
        title: "something on the way has forgotten the connections that were silent",
        side: Side::Host,
        process: "a router, a firewall or a load balancer between the ends",
        hard: true,
        only_alone: false,
        outcomes: &["probe-timeout", "unproven", "ping-timeout", "ETIMEDOUT"],
        read_at: "on that box: net.netfilter.nf_conntrack_tcp_timeout_established, the idle time-out of the NAT or load \
                  balancer; here: ss -tino (unacked, backoff, lastrcv)",
        formula: "none: it forgets by time. What it can keep bounds a number too (conntrack)",
        not_there: "acknowledgements: the kernel of a server that is stopped or busy still acknowledges \
                    (server-stopped-accepting); new connects that fail too (path-lost)",
        scope: Scope::Host,
        any_command_lifts: true,
        guide: Guide {
            what_it_is: "NAT, a stateful firewall or a load balancer keeps an entry for each connection, and drops it \
                         after some time without a packet. Neither end is told: both still say ESTABLISHED.",
            what_you_see: "Connections that were silent for a while are answered no more, all of them; new ones work at \
                           once. Without probes they seem to be held.",
            how_to_prove: "ss -tino at the client: what was sent is not acknowledged (unacked) and is sent again with \
                           growing pauses (backoff). A server's kernel acknowledges even if its process is stopped.",
            how_to_lift: "Send something more often than it forgets: pings, or TCP keepalive with a time below it; or \
                          raise its time.",
            what_not_to_do: "Do not run with --no-probe: it hides that they are dead. The default tcp_keepalive_time of \
                             two hours is no help.",
            kernel_source: "net/netfilter/nf_conntrack_proto_tcp.c: tcp_timeouts; RFC 5382 (two hours and four \
                            minutes at least)",
        },
        plant: Plant::of_others(
            "NAT in a namespace between the ends, with a short time for established flows.",
        ),
        predict: no_forecast,
        diagnose: |findings| {
            let (lost, silent) = unacknowledged(findings)?;
            let was_quiet = silent.quiet_ms.is_some_and(|quiet| quiet >= LEAST_QUIET_MS);
            if silent.new_connects != Some(true) || !was_quiet {
                return None;
            }
            let mut evidence = silent_evidence(silent);
            let text = "a new connection to the same place was answered meanwhile: the way and the machine are there";
            evidence.push(seen("new connect", Side::Swarm, Some(1), text));
            evidence.extend(findings.lost_evidence(&SILENCED));
            Bite::likely(evidence, lost.first_at_ms)
        },
        met: no_way_back,
        lift: |_, plan| {
            let mut commands =
                vec!["sudo sysctl net.netfilter.nf_conntrack_tcp_timeout_established".to_owned()];
            if plan.websocket {
                commands.insert(0, plan.again_with(&[("--ping-interval", "1s")]));
            }
            remedy(
                Scope::Host,
                "First prove it: hold for a shorter time, or say something more often; then they live. Then find the box \
                 between the ends (NAT, firewall, load balancer) and raise its idle time, or have the clients ping, or set \
                 TCP keepalive, below it.",
                &[],
                commands,
            )
        },
    },
    Wall {
        name: "path-lost",
        title: "what is sent is acknowledged no more: the way to the server, or its machine, is gone",
        side: Side::Host,
        process: "the way between the ends",
        hard: true,
        only_alone: false,
        outcomes: &["probe-timeout", "unproven", "ping-timeout", "ETIMEDOUT"],
        read_at: "ss -tino (unacked, backoff); ip route get SERVER; ping SERVER",
        formula: "none",
        not_there: "acknowledgements: the kernel of a server that is stopped or busy still acknowledges; new connects \
                    that work (middlebox-forgets); only some of the SYNs lost, and connections that live (path-loss)",
        scope: Scope::Host,
        any_command_lifts: true,
        guide: Guide {
            what_it_is: "Packets to the server, or its answers, do not arrive any more, although connections are open at \
                         this end.",
            what_you_see: "Everything that was connected is answered no more, and new connects time out.",
            how_to_prove: "ss -tino at the client: unacked with backoff. The server's kernel acknowledges even if its \
                           process is stopped, so it is the way, or the whole machine.",
            how_to_lift: "Look at the link, the routes and the rules between the ends, and whether the machine is up.",
            what_not_to_do: "Do not look at the server's process: it never got what was sent.",
            kernel_source: "net/ipv4/tcp_timer.c: tcp_retransmit_timer",
        },
        plant: Plant::of_others("a link between two namespaces that is set down in the hold."),
        predict: no_forecast,
        diagnose: |findings| {
            let (lost, silent) = unacknowledged(findings)?;
            // A listener whose queue is full answers no new connection either, nor one that answered not all before.
            let has_room = !findings.accepted_stalled
                && findings.unanswered_connects().is_none()
                && findings.evidence.listeners.is_none_or(|listeners| listeners.full == 0);
            if silent.new_connects != Some(false) || !has_room {
                return None;
            }
            let mut evidence = silent_evidence(silent);
            let text = "a new connection to the same place was not answered either";
            evidence.push(seen("new connect", Side::Swarm, Some(0), text));
            evidence.extend(findings.drop_evidence(findings.filters()));
            evidence.extend(findings.lost_evidence(&SILENCED));
            Bite::likely(evidence, lost.first_at_ms)
        },
        met: no_way_back,
        lift: |_, plan| {
            let host =
                plan.listen.as_deref().and_then(|listen| listen.rsplit_once(':')).map(|(host, _)| host);
            let host = host.unwrap_or("SERVER").trim_matches(['[', ']']);
            remedy(
                Scope::Host,
                "First prove it: whether the machine answers at all. Then look at the link, the routes and the rules \
                 between the ends.",
                &[],
                vec![format!("ip route get {host}; ping -c 3 {host}")],
            )
        },
    },
    Wall {
        name: "path-loss",
        title: "SYNs or their answers are lost on the way, and no queue of either end dropped them",
        side: Side::Host,
        process: "the way between the ends",
        hard: false,
        only_alone: false,
        outcomes: &["connect-timeout", "ETIMEDOUT"],
        read_at: "ip -s link and tc -s qdisc at both ends and on what is between them; nstat -az TcpRetransSegs \
                  TcpExtTCPSynRetrans",
        formula: "none: of SYNs of which a share p is lost, p to the power of the tries time out",
        not_there: "drops at a queue of either end (accept-queue, syn-queue, netdev-backlog, bandwidth); as root, reasons that \
                    the kernel gives: a filter (firewall-drop), rp_filter (rp-filter), no route (no-route); a way that \
                    carries nothing any more (path-lost); a number beyond which none comes through",
        scope: Scope::Host,
        any_command_lifts: true,
        guide: Guide {
            what_it_is: "A link, a switch, a tunnel, a virtual network card or a machine between the ends loses some of the \
                         packets, for want of buffers in a burst, by errors on the line, or to a wrong address.",
            what_you_see: "Some connects take 1, 2, 3 … s more and some time out (i/o timeout), with others between them that \
                           succeed at once; data is sent again too.",
            how_to_prove: "TcpExt TCPSynRetrans grows, and at both ends ListenOverflows, ListenDrops, TCPReqQFullDrop and \
                           column 2 of /proc/net/softnet_stat stand still; as root the kernel names no filter as the reason of \
                           its drops. tcpdump at both ends shows a SYN that leaves and does not arrive. ip -s link on each \
                           device between them says where.",
            how_to_lift: "Find the device that counts drops or errors and mend it, or have fewer packets come at a time: a \
                          lower --rate.",
            what_not_to_do: "Do not lengthen the queues of the listener: none was full. Do not only raise the connect timeout: \
                             it hides what is lost.",
            kernel_source: "net/ipv4/tcp_timer.c: tcp_retransmit_timer; drivers/net/virtio_net.c: start_xmit; \
                            net/sched/sch_netem.c",
        },
        plant: Plant::in_a_namespace(
            "a link between two namespaces on which the answers to one of the sources go to a machine that is not there.",
        ),
        predict: no_forecast,
        diagnose: |findings| {
            let lost = findings.unanswered_connects()?;
            findings.grew(counter::SYN_RETRANSMITS)?;
            let is_the_servers = findings.server_end.is_some()
                || findings.accepted_stalled
                || findings.server_full()
                || stopped_accepting(findings);
            // What has a name of its own is that.
            let has_a_name = findings.dropped_by_a_filter().is_some()
                || findings.dropped_for(&BY_REVERSE_PATH).is_some()
                || findings.dropped_for(&FOR_NO_NEIGHBOUR).is_some()
                || findings.found_no_route().is_some();
            if is_the_servers || has_a_name {
                return None;
            }
            let is_proof = is_lost_between(findings)?;
            let mut evidence = Vec::new();
            let text = "SYNs and answers to them that had to be sent again";
            evidence.extend(findings.counter_evidence(counter::SYN_RETRANSMITS, Side::Swarm, text));
            evidence.extend(where_it_was_counted(findings));
            evidence.extend(findings.lost_evidence(&NO_ANSWER));
            Bite::weighed(is_proof, evidence, lost.first_at_ms)
        },
        met: no_way_back,
        lift: |_, plan| {
            let mut commands =
                vec!["ip -s link; tc -s qdisc show; nstat -az TcpRetransSegs TcpExtTCPSynRetrans".to_owned()];
            let slower = if plan.wanted_rate.is_some() {
                String::new()
            } else {
                let (rate, line) = plan.more_slowly(500);
                commands.push(line);
                format!(", or connect more slowly (--rate {rate}) where it loses them in bursts")
            };
            let text = format!(
                "Find the device between the ends that loses packets, by its own counts or by tcpdump at both of its \
                 sides, and mend it{slower}."
            );
            remedy(Scope::Host, text, &[], commands)
        },
    },
    Wall {
        name: "filter-rejects",
        title: "a rule on the way refuses connections, and the listener lives",
        side: Side::Host,
        process: "a firewall before the server",
        hard: true,
        only_alone: false,
        outcomes: &["ECONNREFUSED", "EHOSTUNREACH", "EPERM", "EACCES"],
        read_at: "nft list ruleset, iptables-save -c (reject, connlimit, ct count, limit)",
        formula: "the number in the rule, for each source or network that it counts by",
        not_there: "a listener that is gone (refused); a missing route (no-route); neighbours beyond the table \
                    (neighbour-table)",
        scope: Scope::Host,
        any_command_lifts: true,
        guide: Guide {
            what_it_is: "A rule answers the SYN with a reset or an ICMP error, though somebody listens: a limit on the \
                         connections of one source (connlimit, ct count), or on their rate.",
            what_you_see: "ECONNREFUSED (connection refused) or no route to host, at once, for what comes on top of a \
                           number that is held and lives; from a second source address it works.",
            how_to_prove: "The listener is there all the time (ss -ltn), and from another source address a connect \
                           succeeds. The rule's own counter grows (nft list ruleset, iptables-save -c).",
            how_to_lift: "Raise the number in the rule, or let the clients come from more addresses.",
            what_not_to_do: "Do not start the server again: it is there.",
            kernel_source: "net/ipv4/netfilter/nf_reject_ipv4.c; net/netfilter/nf_conncount.c",
        },
        plant: Plant::of_others("a rule that rejects beyond some hundred connections of one source."),
        predict: no_forecast,
        diagnose: |findings| {
            let refused = refused_by_a_rule(findings)?;
            let mut evidence = findings.cap_evidence();
            let rules = findings.evidence.rules;
            evidence.extend(rules.map(|rules| {
                let text = format!(
                    "rules of nftables here reject, of {}; {} count connections, {} look at a rate; {} do both for this \
                     server's port or for all",
                    rules.all,
                    rules.count,
                    rules.limit,
                    rules.refuse.map_or_else(|| "it is not known how many".to_owned(), human_count)
                );
                seen("firewall rules", Side::Host, Some(rules.reject), text)
            }));
            evidence.extend(findings.lost_evidence(&REFUSED));
            // One rule that counts and rejects for this port is what it takes. One for another port proves nothing, and
            // where the rules cannot be read it only fits.
            let is_proof = rules.is_some_and(|rules| rules.refuse.is_some_and(|refuse| refuse > 0));
            Bite::weighed(is_proof, evidence, refused.first_at_ms)
        },
        met: no_way_back,
        lift: |_, plan| {
            let mut commands = Vec::new();
            commands.extend(
                plan.ips_for(plan.sources.saturating_add(1)).map(|ips| plan.again_with(&[("--ips", &ips)])),
            );
            commands.push("sudo nft list ruleset".to_owned());
            remedy(
                Scope::Host,
                "First prove it: run again from one more source address; a rule that counts by source lets as many more \
                 through. Then raise the number in the rule (connlimit, ct count, limit).",
                &[],
                commands,
            )
        },
    },
    Wall {
        name: "rp-filter",
        title: "packets are dropped since the way back to their source is another one (rp_filter)",
        side: Side::Server,
        process: "the server's kernel",
        hard: true,
        only_alone: false,
        outcomes: &["connect-timeout", "ETIMEDOUT"],
        read_at: "nstat -az TcpExtIPReversePathFilter, net.ipv4.conf.all.rp_filter and that of the device, on the server's \
                  machine; as root the kernel's reason IP_RPFILTER",
        formula: "0 for sources without a route back through the same device",
        not_there: "drops at a queue; a counter that stood still",
        scope: Scope::Namespace,
        any_command_lifts: true,
        guide: Guide {
            what_it_is: "A machine with rp_filter = 1 drops a packet if its own route to the packet's source leads \
                         through another device, or if there is none.",
            what_you_see: "Connects from some source addresses time out, each of them; others work.",
            how_to_prove: "TcpExt IPReversePathFilter grows on the server's machine; ip route get SOURCE there leads \
                           through another device than the packets come in by.",
            how_to_lift: "Add a route to those sources through that device, or set rp_filter to 2 (loose).",
            what_not_to_do: "Do not tune queues or firewalls: the routing drops it before.",
            kernel_source: "net/ipv4/fib_frontend.c: fib_validate_source; net/ipv4/ip_input.c: ip_rcv_finish_core",
        },
        plant: Plant::of_others(
            "a link with rp_filter = 1 at its server's end, and sources without a route back.",
        ),
        predict: no_forecast,
        diagnose: |findings| {
            let lost = findings.unanswered_connects()?;
            let by_count = findings.counter_explains(counter::REVERSE_PATH_FILTER);
            // A router's own count is not read here; the kernel's reason is of all network namespaces of this machine.
            let by_reason = findings.dropped_for(&BY_REVERSE_PATH);
            let overflowed = findings.grew(counter::LISTEN_OVERFLOWS).is_some()
                && !findings.stood_still(counter::LISTENER_DROPS);
            let queues_stood_still = !overflowed && !findings.accepted_stalled;
            // The counter is the namespace's, and anybody's packets count. Each SYN of those that are lost would have.
            let is_proof = by_count.max(by_reason).filter(|_| queues_stood_still)?;
            let text = "packets dropped since the way back to their source is another one, or there is none";
            let mut evidence: Vec<Evidence> = findings
                .counter_evidence(counter::REVERSE_PATH_FILTER, Side::Server, text)
                .filter(|_| by_count.is_some())
                .into_iter()
                .collect();
            evidence.extend(findings.drop_evidence(&BY_REVERSE_PATH));
            evidence.extend(findings.lost_evidence(&NO_ANSWER));
            // It explains them all where it drops each SYN, those that are sent again too.
            Bite::weighed(is_proof, evidence, lost.first_at_ms)
        },
        met: no_way_back,
        lift: |_, plan| {
            let source =
                plan.ips.as_deref().and_then(|ips| ips.split([',', '-', '/']).next()).unwrap_or("SOURCE");
            remedy(
                Scope::Namespace,
                "On the server's machine, add a route back to those source addresses through the device by which they \
                 come, or let rp_filter be loose (2) there.",
                &[("sysctl.net.ipv4.conf.all.rp_filter", "2".to_owned())],
                vec![
                    format!("ip route get {source}"),
                    "sudo sysctl -w net.ipv4.conf.all.rp_filter=2".to_owned(),
                ],
            )
        },
    },
];

/// Whether SYNs are lost between the ends, and whether that is proven: `None` where they may be lost at an end.
fn is_lost_between(findings: &Findings) -> Option<bool> {
    if !findings.sees_both_ends() {
        let is_left = is_at_no_end_that_is_seen(findings) && !findings.may_hide_a_filter();
        return is_left.then_some(false);
    }
    let by_a_device = findings.devices_explain();
    // Over loopback there is nothing between the ends: what is left is a filter, unless it is known that none was.
    let is_a_way = findings.plan.on_one_link || !findings.plan.both_ends_here;
    let may_be_a_filter = findings.may_hide_a_filter()
        || !findings.filters_are_out() && (!is_a_way || findings.rules_may_drop());
    let no_queue_dropped = findings.no_queue_dropped() && findings.link_dropped_few();
    if !no_queue_dropped || may_be_a_filter && by_a_device.is_none() {
        return None;
    }
    let is_proof = by_a_device == Some(true) || findings.no_filter_dropped();
    // What loses by chance loses some of those that come. Where the first so many came through and then none, it is rather a
    // number in a rule, or the way that is gone, unless a device or the kernel says that it was no rule, or there is none.
    // The order is that of all losses: where most are of another kind, it says nothing of these.
    let is_by_chance = findings.then_none() != Some(true) && are_most_unanswered(findings);
    let is_told = by_a_device.is_some() || findings.filters_are_out() || findings.has_no_rule_anywhere();
    (is_by_chance || is_told).then_some(is_proof)
}

/// Whether of those that were lost while connecting half at least got no answer.
fn are_most_unanswered(findings: &Findings) -> bool {
    let in_ramp = findings.failures.iter().filter(|row| row.phase == PhaseName::Ramp);
    let all = in_ramp.fold(0_u64, |sum, row| sum.saturating_add(row.count));
    findings.unanswered_connects().is_some_and(|lost| lost.count.saturating_mul(2) >= all)
}

/// Of a server whose counters are not read: others are served all the time, nobody was left in a queue there, data is lost
/// too, and no queue here dropped anything.
fn is_at_no_end_that_is_seen(findings: &Findings) -> bool {
    /// Of the data of a connection, a probe each time, a way loses as large a share as of its SYNs; what loses SYNs alone is a
    /// rule or a queue.
    const SYNS_FOR_DATA: u64 = 4;
    let resent = findings.grew(counter::RETRANSMITS).zip(findings.grew(counter::SYN_RETRANSMITS));
    let is_of_data = |(all, syns): (u64, u64)| all.saturating_sub(syns).saturating_mul(SYNS_FOR_DATA) >= syns;
    let never_answered = findings.lost_connecting(&["probe-timeout", "handshake-timeout"]);
    resent.is_some_and(is_of_data)
        && findings.was_served()
        && findings.then_none() == Some(false)
        && never_answered.is_none()
        && findings.stood_still(counter::SOFTNET_DROPPED)
        && findings.grew(counter::LINK_DROPPED).is_none()
}

/// What was counted at the ends and between them.
fn where_it_was_counted(findings: &Findings) -> Vec<Evidence> {
    let mut evidence = Vec::new();
    let text = "did not move: it was not this queue that dropped them";
    for (name, side) in [
        (counter::LISTEN_OVERFLOWS, Side::Server),
        (counter::LISTEN_DROPS, Side::Server),
        (counter::SOFTNET_DROPPED, Side::Host),
    ] {
        evidence.extend(findings.counter_evidence(name, side, text).filter(|_| findings.stood_still(name)));
    }
    if findings.grew(counter::DEVICE_DROPPED).is_some() {
        let text =
            "packets that the devices between the ends, or the queues before them, lost by their own counts";
        evidence.extend(findings.counter_evidence(counter::DEVICE_DROPPED, Side::Host, text));
    }
    evidence.extend(findings.drop_evidence(&AT_A_DEVICE));
    evidence.extend(findings.drop_evidence(&ASTRAY));
    evidence.extend(findings.filters_beside());
    if !findings.sees_both_ends() {
        let text = "the counters of the server's end are not known: ListenOverflows and ListenDrops must stand still there";
        evidence.push(seen("far end", Side::Server, None, text));
    }
    evidence
}

/// Connections that were proven once and lost without an answer, where TCP says that what was sent on them was not
/// acknowledged, by half of them at least.
fn unacknowledged(findings: &Findings) -> Option<(Lost, SilentSample)> {
    let silent = findings.evidence.silent?;
    let lost = findings.lost_later(&SILENCED)?;
    let is_silent = silent.unacked > 0 && silent.unacked.saturating_mul(2) >= silent.sampled;
    // On a way this slow nothing could have been acknowledged yet.
    let waited_ms = silent.rtt_us.unwrap_or(0) / 1_000 * 4;
    (is_silent && silent.after_ms > waited_ms && findings.server_end.is_none()).then_some((lost, silent))
}

fn silent_evidence(silent: SilentSample) -> Vec<Evidence> {
    let text = format!(
        "of {} sampled connections have data that was sent again and is not acknowledged, {:.1} s after it was sent; a \
         server's kernel acknowledges even if its process is stopped",
        silent.sampled,
        silent.after_ms as f64 / 1e3
    );
    let mut evidence = vec![seen("TCP_INFO unacked", Side::Swarm, Some(silent.unacked), text)];
    evidence.extend(silent.quiet_ms.map(|quiet| {
        let text = format!("before that nothing had come on them for {:.1} s", quiet as f64 / 1e3);
        seen("TCP_INFO last_data_recv", Side::Swarm, Some(quiet), text)
    }));
    evidence
}

/// Connects that were refused while others are held and live, and somebody was seen to listen; or that got an error by ICMP,
/// which no listener sends, from the one place where the others live.
pub(crate) fn refused_by_a_rule(findings: &Findings) -> Option<Lost> {
    let refused = findings.lost_connecting(&REFUSED)?;
    let is_reset = findings.lost(&["ECONNREFUSED"]).is_some();
    let taken_down = is_reset && findings.lost(&findings.names_taken_down()).is_some();
    let neighbours = findings.neighbours_full() == Some(true);
    let is_by_icmp = findings.lost_connecting(&["EHOSTUNREACH"]).is_some() && !is_reset;
    let is_seen = findings.listener_lives()
        || is_by_icmp && findings.plan.destinations == 1 && findings.neighbours_full() == Some(false);
    (findings.was_served() && is_seen && !taken_down && !neighbours).then_some(refused)
}
