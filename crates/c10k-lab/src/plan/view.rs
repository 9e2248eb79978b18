//! A plan as the walls see it.

use c10k_ceiling::PlanView;
use c10k_record::{HostSnapshot, Plan, Protocol, Topology};

use crate::plan::flags::again;

/// The plan as the walls see it, before the swarm has planned its sources.
pub(crate) fn plan_view(plan: &Plan, host: &HostSnapshot) -> PlanView {
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
        both_ends_here: true,
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
        connect_timeout_ms: u64::try_from(plan.load.connect_timeout.0.as_millis()).ok(),
        probe_timeout_ms: u64::try_from(plan.load.probe_timeout.0.as_millis()).ok(),
        rate_per_second: plan.load.rate_per_second.map(|rate| rate.ceil() as u64),
        own_server: !plan.server.foreign,
        listen: Some(plan.server.listen.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")),
        server_ports: c10k_swarm::ports_of(&plan.server.listen),
        ..PlanView::default()
    }
}
