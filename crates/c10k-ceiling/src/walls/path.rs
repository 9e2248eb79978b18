//! The way between the ends: a box on it that forgets, a way that is gone, a rule that refuses, a route that does not lead
//! back.

use c10k_record::{Evidence, Scope, Side, SilentSample};

use crate::caps::REFUSED;
use crate::counter;
use crate::findings::{Findings, Lost, NO_ANSWER};
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
                    that work (middlebox-forgets)",
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
            if silent.new_connects != Some(false) {
                return None;
            }
            let mut evidence = silent_evidence(silent);
            let text = "a new connection to the same place was not answered either";
            evidence.push(seen("new connect", Side::Swarm, Some(0), text));
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
            let refused = refused_beside_a_listener(findings)?;
            let mut evidence = findings.cap_evidence();
            let rules = findings.evidence.rules;
            evidence.extend(rules.map(|rules| {
                let text = format!(
                    "rules of nftables here reject, of {}; {} count connections, {} look at a rate",
                    rules.all, rules.count, rules.limit
                );
                seen("firewall rules", Side::Host, Some(rules.reject), text)
            }));
            evidence.extend(findings.lost_evidence(&REFUSED));
            // A rule that rejects and one that counts are what it takes; where they cannot be read it fits.
            match rules.is_some_and(|rules| rules.reject > 0 && rules.count + rules.limit > 0) {
                true => Bite::proven(evidence, refused.first_at_ms),
                false => Bite::likely(evidence, refused.first_at_ms),
            }
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
                  machine",
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
            let dropped = findings.grew(counter::REVERSE_PATH_FILTER)?;
            let lost = findings.lost_connecting(&NO_ANSWER)?;
            let queues_stood_still =
                findings.grew(counter::LISTEN_OVERFLOWS).is_none() && !findings.accepted_stalled;
            if !queues_stood_still {
                return None;
            }
            let text = "packets dropped since the way back to their source is another one, or there is none";
            let mut evidence: Vec<Evidence> = findings
                .counter_evidence(counter::REVERSE_PATH_FILTER, Side::Server, text)
                .into_iter()
                .collect();
            evidence.extend(findings.lost_evidence(&NO_ANSWER));
            // Each SYN is sent more than once: fewer drops than losses do not explain them all.
            match dropped >= lost.count {
                true => Bite::proven(evidence, lost.first_at_ms),
                false => Bite::likely(evidence, lost.first_at_ms),
            }
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

/// Connects that were refused while others are held and live, and somebody was seen to listen.
pub(crate) fn refused_beside_a_listener(findings: &Findings) -> Option<Lost> {
    let refused = findings.lost_connecting(&REFUSED)?;
    let taken_down = findings.lost(&findings.names_taken_down()).is_some();
    let neighbours = findings.neighbours_full() == Some(true);
    (findings.held_lives() && findings.listener_lives() && !taken_down && !neighbours).then_some(refused)
}
