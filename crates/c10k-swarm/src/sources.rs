//! The source plan: which 4-tuples the swarm may use, known before the first connect.
//!
//! A connection is a (source IP, source port, destination IP, destination port); the plan numbers all that
//! the sources, the port window and the destinations allow, and hands the numbers out in order, so that each
//! tuple is tried once and no search in the kernel grows with the fill.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::ips::PortWindow;

/// How the local port of a connection is fixed. The two are never mixed in one run: an explicitly bound port
/// is closed to kernel-chosen connects from every other source (net/ipv4/inet_hashtables.c, the bind bucket).
///
/// Neither makes the kernel search, so neither slows down as the ports fill, and side by side they cost the same
/// within a few per cent (`scripts/bench-port-choice.sh`). The one-port range is taken wherever the kernel has it:
/// an explicit bind needs no wider `ip_local_port_range`, but closes its port to everybody else's connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortChoice {
    /// `IP_BIND_ADDRESS_NO_PORT` and `IP_LOCAL_PORT_RANGE` narrowed to one port (Linux 6.3): the kernel
    /// chooses at connect time, for the whole 4-tuple, from exactly that port.
    OnePortRange,
    /// `SO_REUSEADDR` and an explicit bind to the port.
    Explicit,
}

/// One 4-tuple of the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tuple {
    /// Source address.
    pub source: IpAddr,
    /// Source port.
    pub port: u16,
    /// Destination address and port.
    pub server: SocketAddr,
}

/// All tuples of a run, numbered from 0.
#[derive(Clone, Debug)]
pub struct SourcePlan {
    sources: Vec<IpAddr>,
    servers: Vec<SocketAddr>,
    ports: Vec<u16>,
    choice: PortChoice,
}

impl SourcePlan {
    /// The plan over these sources, this window and these destinations. Ports in `left_out` are skipped from
    /// the window: those that somebody listens on.
    #[must_use]
    pub fn new(
        sources: Vec<IpAddr>,
        window: PortWindow,
        left_out: &[u16],
        destinations: &[SocketAddr],
        choice: PortChoice,
    ) -> Self {
        let left_out: HashSet<u16> = left_out.iter().copied().collect();
        let ports = (window.first..=window.last).filter(|port| !left_out.contains(port)).collect();
        Self { sources, servers: destinations.to_vec(), ports, choice }
    }

    /// How many connections the plan allows.
    #[must_use]
    pub fn capacity(&self) -> u64 {
        (self.sources.len() * self.servers.len()) as u64 * self.ports.len() as u64
    }

    /// How many connections one source allows, to all destinations together.
    #[must_use]
    pub fn capacity_of_one_source(&self) -> u64 {
        self.servers.len() as u64 * self.ports.len() as u64
    }

    /// The source addresses.
    #[must_use]
    pub fn sources(&self) -> &[IpAddr] {
        &self.sources
    }

    /// How local ports are fixed.
    #[must_use]
    pub fn choice(&self) -> PortChoice {
        self.choice
    }

    /// The tuple with this number; `None` past the last. Destinations alternate fastest, then ports, then
    /// sources.
    #[must_use]
    pub fn tuple(&self, number: u64) -> Option<Tuple> {
        let servers = self.servers.len() as u64;
        let ports = self.ports.len() as u64;
        let rest = number.checked_div(servers)?;
        let port = self.ports[usize::try_from(rest.checked_rem(ports)?).ok()?];
        let source = *self.sources.get(usize::try_from(rest / ports).ok()?)?;
        let server = self.servers[(number % servers) as usize];
        Some(Tuple { source, port, server })
    }
}

/// The most addresses of 127.0.0.0/8 that a swarm takes by itself.
pub const LOOPBACK_POOL: u64 = 1 << 20;

/// As many of 127.0.0.0/8 as `target` needs when one source allows `per_source`, and one more, for ports that turn out to
/// be taken; behind those that swarms with the targets `before` take.
#[must_use]
pub(crate) fn loopback_sources_after(before: &[u64], target: u64, per_source: u64) -> Vec<IpAddr> {
    /// Addresses of 127.0.0.0/8 from 127.0.0.1 on, without the last, which is the broadcast address.
    const ALL: u64 = (1 << 24) - 2;
    let needed = |target: u64| (target.div_ceil(per_source.max(1)) + 1).min(LOOPBACK_POOL);
    let taken: u64 = before.iter().map(|target| needed(*target)).sum();
    let first = u32::from(Ipv4Addr::LOCALHOST);
    (taken..(taken + needed(target)).min(ALL)).map(|n| IpAddr::V4(Ipv4Addr::from(first + n as u32))).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn plan(sources: &[&str], window: (u16, u16), left_out: &[u16], destinations: &[&str]) -> SourcePlan {
        SourcePlan::new(
            sources.iter().map(|ip| ip.parse().expect("an address")).collect(),
            PortWindow { first: window.0, last: window.1 },
            left_out,
            &destinations.iter().map(|to| to.parse().expect("a server")).collect::<Vec<_>>(),
            PortChoice::OnePortRange,
        )
    }

    #[test]
    fn one_source_and_one_destination_have_the_default_range_and_no_more() {
        let plan = plan(&["127.0.0.1"], (32768, 60999), &[], &["127.0.0.1:9000"]);
        assert_eq!(plan.capacity(), 28_232);
    }

    #[test]
    fn sources_and_destinations_multiply_and_listening_ports_are_left_out() {
        let plan =
            plan(&["127.0.0.1", "127.0.0.2"], (8999, 9001), &[9000], &["127.0.0.1:9000", "127.0.0.1:9001"]);
        assert_eq!(plan.capacity(), 2 * 2 * 2);
    }

    #[test]
    fn every_tuple_is_handed_out_once() {
        let plan = plan(&["127.0.0.1", "127.0.0.2"], (5000, 5009), &[5005], &["127.0.0.1:1", "127.0.0.1:2"]);
        let tuple = |number| plan.tuple(number).expect("within the capacity");
        let ends = |of: Tuple| (of.source, of.port, of.server);
        let tuples: BTreeSet<_> = (0..plan.capacity()).map(|number| ends(tuple(number))).collect();
        assert_eq!((plan.capacity(), tuples.len()), (36, 36));
        let ports: BTreeSet<u16> = tuples.iter().map(|(_, port, _)| *port).collect();
        assert_eq!(ports.len(), 9);
        let first = [0, 1, 2].map(|number| ends(tuple(number)));
        let at = |port, server: &str| (plan.sources()[0], port, server.parse().expect("a server"));
        assert_eq!(first, [at(5000, "127.0.0.1:1"), at(5000, "127.0.0.1:2"), at(5001, "127.0.0.1:1")]);
        assert!(plan.tuple(plan.capacity()).is_none());
    }

    #[test]
    fn a_plan_without_ports_has_no_tuples() {
        let plan = plan(&["127.0.0.1"], (9000, 9000), &[9000], &["127.0.0.1:9000"]);
        assert_eq!(plan.capacity(), 0);
        assert!(plan.tuple(0).is_none());
    }

    #[test]
    fn the_default_sources_are_as_many_as_the_target_needs_and_one_spare() {
        assert_eq!(loopback_sources_after(&[], 28_232, 28_232).len(), 2);
        let all = loopback_sources_after(&[], 100_000, 28_232);
        assert_eq!((all.len(), all[0]), (5, IpAddr::V4(Ipv4Addr::LOCALHOST)));
        let behind = loopback_sources_after(&[28_232, 28_233], 28_232, 28_232);
        assert_eq!(behind, ["127.0.0.6", "127.0.0.7"].map(|ip| ip.parse::<IpAddr>().expect("an address")));
    }
}
