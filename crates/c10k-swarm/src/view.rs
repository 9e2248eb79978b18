//! The plan and the host as the walls see them.

use std::net::{IpAddr, SocketAddr};

use c10k_ceiling::PlanView;
use c10k_profile::InForce;
use c10k_record::{HostSnapshot, LoadPlan};

use crate::setup::Setup;
use crate::sources::{LOOPBACK_POOL, PortChoice};

/// The plan as the walls see it: how many sources, ports and destinations there are.
pub fn plan_view(setup: &Setup, load: &LoadPlan, target: u64) -> PlanView {
    PlanView {
        target,
        sources: setup.plan.sources().len() as u64,
        source_ports: Some((setup.window.first, setup.window.last)),
        destinations: setup.servers.len() as u64,
        both_ends_here: setup.server_is_here,
        ipv6: setup.servers.first().is_some_and(SocketAddr::is_ipv6),
        probe: load.probe,
        explicit_ports: setup.plan.choice() == PortChoice::Explicit,
        ips: load.ips.clone(),
        ports_left_out: Some(ports_left_out(setup)),
        pool: takes_more(load, &setup.servers).then_some(LOOPBACK_POOL),
        probe_bytes: load.probe_bytes.into(),
        in_flight: Some(load.in_flight.into()),
        hold_ms: u64::try_from(load.hold.0.as_millis()).ok(),
        connect_timeout_ms: u64::try_from(load.connect_timeout.0.as_millis()).ok(),
        probe_timeout_ms: u64::try_from(load.probe_timeout.0.as_millis()).ok(),
        handshake_timeout_ms: u64::try_from(load.handshake_timeout.0.as_millis()).ok(),
        rate_per_second: load.rate_per_second.map(|rate| rate.ceil() as u64),
        server_ports: ports_of(&setup.servers),
        ..PlanView::default()
    }
}

/// The ports of some servers, each once.
pub fn ports_of(servers: &[SocketAddr]) -> Vec<u16> {
    let mut ports: Vec<u16> = servers.iter().map(SocketAddr::port).collect();
    ports.sort_unstable();
    ports.dedup();
    ports
}

/// Whether the swarm takes further source addresses by itself: of 127.0.0.0/8, where none were named.
pub fn takes_more(load: &LoadPlan, servers: &[SocketAddr]) -> bool {
    let loopback = |server: &SocketAddr| matches!(server.ip(), IpAddr::V4(ip) if ip.is_loopback());
    load.ips.is_none() && servers.first().is_some_and(loopback)
}

/// Ports of the window that the plan does without.
fn ports_left_out(setup: &Setup) -> u64 {
    let destinations = (setup.servers.len() as u64).max(1);
    setup.window.len().saturating_sub(setup.plan.capacity_of_one_source() / destinations)
}

/// The host with the limits that are in force for this process.
pub(crate) fn host_snapshot(in_force: &InForce, setup: &Setup, own_tables: bool) -> HostSnapshot {
    HostSnapshot {
        swarm_nofile: Some(in_force.nofile.soft),
        nofile_hard: Some(in_force.nofile.hard),
        swarm_tables: own_tables,
        port_range: Some((setup.window.first, setup.window.last)),
        ..c10k_collector::host_snapshot()
    }
}
