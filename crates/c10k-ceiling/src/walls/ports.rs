//! Source ports: how many a source has to a destination, and who else holds them.

use c10k_record::{HostSnapshot, Remedy, Scope, Side, human_count};

use crate::counter;
use crate::findings::{Findings, PlanView};
use crate::wall::{Bite, Forecast, Wall, first, no_forecast, remedy, seen};

pub(super) static WALLS: &[Wall] = &[
    Wall {
        name: "ports-exhausted",
        title: "no source port is left to this destination",
        side: Side::Swarm,
        hard: true,
        only_alone: false,
        what_you_see: "EADDRNOTAVAIL (cannot assign requested address) at a round number, often 28,232; \
                       EADDRINUSE where ports are bound",
        how_to_prove: "connections per (source IP, destination IP, destination port) equal the size of \
                       net.ipv4.ip_local_port_range",
        predict: |host, plan| Some(Forecast::exact(capacity(host, plan)?, port_space(host, plan)?)),
        diagnose: |findings| {
            if waits(findings) {
                return None;
            }
            let lost = findings.lost(&NO_PORT).filter(|_| findings.connections.established > 0);
            let used_up = used_up(findings);
            if lost.is_none() && !used_up {
                return None;
            }
            let mut evidence = findings.lost_evidence(&NO_PORT);
            let (host, plan) = (&findings.host, &findings.plan);
            if let Some(capacity) = findings.capacity.or_else(|| capacity(host, plan)) {
                let mut text = format!("the sources allow {} connections", human_count(capacity));
                if let Some(space) = port_space(host, plan) {
                    text = format!("{text}: {space}");
                }
                evidence.push(seen("source ports", Side::Swarm, Some(capacity), text));
            }
            if let Some(needed) = addresses_needed(plan, plan.ports_per_pair(host)) {
                let text = format!(
                    "source addresses needed for {}: {}; used: {}",
                    human_count(plan.target),
                    human_count(needed),
                    human_count(plan.sources)
                );
                evidence.push(seen("source addresses", Side::Swarm, Some(needed), text));
            }
            Bite::proven(evidence, first(lost))
        },
        lift: lift_ports,
    },
    Wall {
        name: "time-wait-ports",
        title: "TIME_WAIT holds the source ports of connections that are gone",
        side: Side::Swarm,
        hard: true,
        only_alone: false,
        what_you_see: "EADDRNOTAVAIL on a wave of reconnects, gone after 60 s",
        how_to_prove: "sockstat `TCP: tw` plus the open connections equal the ports there are",
        predict: no_forecast,
        diagnose: |findings| {
            let lost = findings.lost(&NO_PORT)?;
            if !waits(findings) {
                return None;
            }
            let mut evidence = findings.lost_evidence(&NO_PORT);
            let text = "sockets in TIME_WAIT (sockstat tw), each holding a port for 60 s";
            evidence.extend(findings.counter_evidence(counter::TIME_WAIT, Side::Swarm, text));
            let capacity = findings.capacity.or_else(|| capacity(&findings.host, &findings.plan));
            evidence.push(seen("source ports", Side::Swarm, capacity, "connections the sources allow"));
            Bite::proven(evidence, lost.first_at_ms)
        },
        lift: |_, _| {
            remedy(
                Scope::Namespace,
                "Wait 60 s, close by RST (--close rst), add source addresses, or let new connections \
                 reuse the ports. tcp_fin_timeout does not shorten TIME_WAIT.",
                &[("sysctl.net.ipv4.tcp_tw_reuse", "1".to_owned())],
                vec!["sudo sysctl -w net.ipv4.tcp_tw_reuse=1".to_owned()],
            )
        },
    },
];

const NO_PORT: [&str; 2] = ["EADDRNOTAVAIL", "EADDRINUSE"];
/// 1024–65535, the widest window that needs no privilege.
const WIDEST: u64 = 64_512;

/// Sources × ports × destinations.
fn capacity(host: &HostSnapshot, plan: &PlanView) -> Option<u64> {
    Some(plan.ports_per_pair(host)?.saturating_mul(plan.sources).saturating_mul(plan.destinations))
}

/// The same in words.
fn port_space(host: &HostSnapshot, plan: &PlanView) -> Option<String> {
    let (low, high) = plan.source_ports.or(host.port_range)?;
    Some(format!(
        "{} source addresses × {} ports ({low}-{high}) × {} destinations (server address and port)",
        human_count(plan.sources),
        human_count(plan.ports_per_pair(host)?),
        human_count(plan.destinations)
    ))
}

/// Whether the swarm tried as many as its sources allow, and that is less than the target.
fn used_up(findings: &Findings) -> bool {
    let c = &findings.connections;
    findings.capacity.is_some_and(|capacity| capacity < c.target && c.attempted >= capacity)
}

/// Whether TIME_WAIT and not open connections took the ports: without TIME_WAIT there would be ports left.
fn waits(findings: &Findings) -> bool {
    let capacity = findings.capacity.or_else(|| capacity(&findings.host, &findings.plan));
    let (Some(capacity), Some(waiting)) = (capacity, findings.counter(counter::TIME_WAIT)) else {
        return false;
    };
    let open = findings.connections.established;
    waiting.after > 0
        && open < capacity
        && open.saturating_add(waiting.after) >= capacity.saturating_sub(capacity / 100)
        && findings.lost(&NO_PORT).is_some()
}

/// Source addresses that `target` needs with that many ports each.
fn addresses_needed(plan: &PlanView, ports: Option<u64>) -> Option<u64> {
    let each = ports?.saturating_mul(plan.destinations);
    (each > 0).then(|| plan.target.div_ceil(each))
}

fn lift_ports(host: &HostSnapshot, plan: &PlanView) -> Remedy {
    let ports = plan.ports_per_pair(host);
    let mut settings = Vec::new();
    let mut commands = Vec::new();
    let mut ways = Vec::new();
    if let Some(needed) = addresses_needed(plan, ports) {
        // Where the arithmetic says that there are enough, somebody else holds some of them.
        let needed = if needed > plan.sources { needed } else { plan.sources.saturating_add(1) };
        ways.push(format!("use {} source addresses", human_count(needed)));
        if let Some(ips) = plan.ips_for(needed) {
            commands.push(format!("c10k-swarm --ips {ips} --target {}", plan.target));
            settings.push(("--ips", ips));
        }
    }
    if ports.is_none_or(|ports| ports < WIDEST) {
        let addresses = addresses_needed(plan, Some(WIDEST)).map_or_else(String::new, |needed| {
            format!(", which leaves {} addresses needed", human_count(needed))
        });
        ways.push(format!("widen the port range to 1024-65535{addresses}"));
        if plan.explicit_ports && plan.source_ports.is_some() {
            settings.push(("--ports", "1024-65535".to_owned()));
            commands.push(format!("c10k-swarm --ports 1024-65535 --target {}", plan.target));
        } else {
            settings.push(("sysctl.net.ipv4.ip_local_port_range", "1024 65535".to_owned()));
            commands.push("sudo sysctl -w net.ipv4.ip_local_port_range=\"1024 65535\"".to_owned());
        }
    }
    ways.push("let the server listen on more ports or addresses".to_owned());
    let mut summary = ways.join(", or ");
    summary[..1].make_ascii_uppercase();
    summary.push('.');
    remedy(Scope::Namespace, summary, &settings, commands)
}
