//! The way between the two ends: routes, filters, and the table of tracked connections.

use c10k_record::{Scope, Side, human_count};

use crate::counter;
use crate::findings::NO_ANSWER;
use crate::wall::{Bite, Forecast, Wall, no_forecast, remedy, seen, sysctl};

pub(super) static WALLS: &[Wall] = &[
    Wall {
        name: "no-route",
        title: "there is no way from this source to the server",
        side: Side::Host,
        hard: true,
        only_alone: false,
        what_you_see: "connect() says ENETUNREACH (network is unreachable) or EHOSTUNREACH (no route to host)",
        how_to_prove: "`ip route get SERVER from SOURCE` says unreachable",
        predict: no_forecast,
        diagnose: |findings| {
            let names = ["ENETUNREACH", "EHOSTUNREACH"];
            let lost = findings.lost(&names)?;
            Bite::proven(findings.lost_evidence(&names), lost.first_at_ms)
        },
        lift: |_, _| {
            remedy(
                Scope::Namespace,
                "Bring the device up, add the route, or use source addresses that reach the server.",
                &[],
                vec!["ip addr".to_owned(), "ip route show table all".to_owned()],
            )
        },
    },
    Wall {
        name: "conntrack",
        title: "the table of tracked connections is full",
        side: Side::Host,
        hard: true,
        only_alone: false,
        what_you_see: "SYNs vanish, connects time out; the kernel's log says 'table full, dropping packet'",
        how_to_prove: "net.netfilter.nf_conntrack_count equals nf_conntrack_max",
        predict: |host, _| {
            let max = host.conntrack_max?;
            Some(Forecast::exact(max, format!("net.netfilter.nf_conntrack_max = {}", human_count(max))))
        },
        diagnose: |findings| {
            if !findings.conntrack_full() {
                return None;
            }
            let lost = findings.lost_connecting(&NO_ANSWER).or_else(|| findings.lost(&["EPERM"]))?;
            let mut evidence: Vec<_> = findings
                .counter_evidence(counter::CONNTRACK_COUNT, Side::Host, "connections tracked")
                .into_iter()
                .collect();
            let max = findings.host.conntrack_max;
            evidence.push(seen("net.netfilter.nf_conntrack_max", Side::Host, max, "the limit"));
            evidence.extend(findings.lost_evidence(&NO_ANSWER));
            Bite::proven(evidence, lost.first_at_ms)
        },
        lift: |host, plan| {
            let needed = plan.target.saturating_add(plan.target / 10).saturating_add(1024);
            let value = needed.max(host.conntrack_max.unwrap_or(0).saturating_mul(2));
            let text = "Raise nf_conntrack_max (whole host), or do not track these connections (NOTRACK).";
            sysctl(Scope::Host, text, "net.netfilter.nf_conntrack_max", &value)
        },
    },
    Wall {
        name: "firewall-drop",
        title: "SYNs are lost on the way: a firewall, a filter or a broken link",
        side: Side::Host,
        hard: true,
        only_alone: false,
        what_you_see: "connects slow down in steps of 1, 2, 3 s, then time out; the server sees nothing",
        how_to_prove: "SYNs are sent again (TCPSynRetrans) while no counter of this machine that counts drops \
                       moves; both ends must stand here, else the drop may be counted over there",
        predict: no_forecast,
        diagnose: |findings| {
            let lost = findings.lost_connecting(&NO_ANSWER)?;
            let innocent = findings.plan.both_ends_here
                && findings.no_counter_moved()
                && findings.server_end.is_none()
                && !findings.accepted_stalled
                && !findings.server_full();
            let resent = findings.grew(counter::SYN_RETRANSMITS);
            if !innocent || resent.is_none() {
                return None;
            }
            let text = "SYNs that had to be sent again";
            let mut evidence: Vec<_> =
                findings.counter_evidence(counter::SYN_RETRANSMITS, Side::Swarm, text).into_iter().collect();
            let text = "did not move: no queue of this machine dropped them";
            evidence.extend(findings.counter_evidence(counter::LISTEN_DROPS, Side::Server, text));
            evidence.extend(findings.lost_evidence(&NO_ANSWER));
            Bite::proven(evidence, lost.first_at_ms)
        },
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
];
