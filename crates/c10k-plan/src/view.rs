//! A plan as the walls see it.

use c10k_ceiling::{PlanView, Prediction, predict, predict_of_two};
use c10k_record::{HostSnapshot, Plan, Predicted, Protocol, Record, Topology};

use crate::flags::again;

/// What each wall would allow, as the limits and the plan of a record say; nothing where it lacks one of the two.
pub fn ladder(record: &Record) -> Vec<Predicted> {
    let (Some(host), Some(plan)) = (&record.host, &record.plan) else { return Vec::new() };
    let of_server =
        record.two_hosts.as_ref().and_then(|two| Some((&two.server.host.as_ref()?.limits, two.one_machine)));
    let walls = foreseen(plan, &host.limits, of_server).into_iter();
    let told = walls.map(|wall| Predicted {
        connections: wall.connections,
        wall: wall.wall,
        uncertainty_percent: wall.uncertainty_percent,
    });
    told.collect()
}

/// The walls under a plan, the lowest in front: of this host, and, where the server's is another one, of that too. `host` has
/// this host's limits with what bounds the server's end; `there` those of the server's host, and whether it is this machine
/// all the same.
pub fn foreseen(plan: &Plan, host: &HostSnapshot, there: Option<(&HostSnapshot, bool)>) -> Vec<Prediction> {
    let view = plan_view(plan, host);
    match there {
        Some((there, false)) => predict_of_two(there, host, &view),
        Some((_, true)) => predict(host, &PlanView { both_ends_here: true, ..view }),
        None => predict(host, &view),
    }
}

/// The plan as the walls see it, before the swarm has planned its sources.
pub fn plan_view(plan: &Plan, host: &HostSnapshot) -> PlanView {
    let window = plan.load.ports.as_deref().and_then(|text| text.parse::<c10k_swarm::ips::PortWindow>().ok());
    let ports = window.map(|window| (window.first, window.last)).or(host.port_range);
    let destinations = plan.server.listen.len() as u64;
    let within = |(first, last): (u16, u16), (low, high): (u16, u16)| low <= first && last <= high;
    let explicit_ports = ports.zip(host.port_range).is_some_and(|(window, range)| !within(window, range));
    // What the swarm leaves out: ports that the server has at this end, and reserved ones where the kernel chooses.
    let mut taken: Vec<u16> = plan.server.listen.iter().map(std::net::SocketAddr::port).collect();
    taken.retain(|port| {
        plan.topology == Topology::Loopback
            && ports.is_some_and(|(first, last)| (first..=last).contains(port) && *port != 0)
    });
    taken.sort_unstable();
    taken.dedup();
    let reserved = if explicit_ports { 0 } else { host.reserved_ports.unwrap_or(0) };
    let left_out = taken.len() as u64 + reserved;
    let named = plan.load.ips.as_deref().and_then(|text| text.parse::<c10k_swarm::ips::IpList>().ok());
    // Without a list the swarm takes as many of 127.0.0.0/8 as it needs.
    let each = ports.map_or(1, |(first, last)| {
        (u64::from(last.saturating_sub(first)) + 1).saturating_sub(left_out).max(1) * destinations
    });
    let sources = named.map_or(plan.target.div_ceil(each.max(1)) + 1, |list| list.addresses().len() as u64);
    PlanView {
        target: plan.target,
        sources,
        source_ports: ports,
        destinations,
        both_ends_here: plan.topology != Topology::Remote,
        probe: plan.load.probe,
        explicit_ports,
        ips: plan.load.ips.clone(),
        server_max_connections: plan.server.max_connections,
        ports_left_out: ports.is_some().then_some(left_out),
        on_one_link: plan.topology == Topology::Veth,
        ipv6: plan.is_ipv6(),
        probe_bytes: plan.load.probe_bytes.into(),
        websocket: plan.protocol == Protocol::Ws,
        pool: c10k_swarm::takes_more(&plan.load, &plan.server.listen).then_some(c10k_swarm::LOOPBACK_POOL),
        again: again(plan),
        in_flight: Some(plan.load.in_flight.into()),
        hold_ms: u64::try_from(plan.load.hold.0.as_millis()).ok(),
        connect_timeout_ms: u64::try_from(plan.load.connect_timeout.0.as_millis()).ok(),
        probe_timeout_ms: u64::try_from(plan.load.probe_timeout.0.as_millis()).ok(),
        handshake_timeout_ms: u64::try_from(plan.load.handshake_timeout.0.as_millis()).ok(),
        rate_per_second: plan.load.rate_per_second.map(|rate| rate.ceil() as u64),
        own_server: !plan.server.foreign && plan.topology != Topology::Remote,
        listen: Some(plan.server.listen.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")),
        server_ports: c10k_swarm::ports_of(&plan.server.listen),
        ..PlanView::default()
    }
}
