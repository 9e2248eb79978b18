//! The source plan: which 4-tuples the swarm may use, known before the first connect.
//!
//! A connection is a (source IP, source port, destination IP, destination port); the plan numbers all that
//! the sources, the port window and the destinations allow, and hands the numbers out in order, so that each
//! tuple is tried once and no search in the kernel grows with the fill.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use c10k_kernel::socket::Address;

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
#[derive(Clone, Copy, Debug)]
pub struct Tuple {
    /// Source address and port.
    pub local: Address,
    /// Source port.
    pub port: u16,
    /// Destination address and port.
    pub remote: Address,
}

/// All tuples of a run, numbered from 0.
#[derive(Clone, Debug)]
pub struct SourcePlan {
    sources: Vec<IpAddr>,
    local: Vec<Address>,
    remote: Vec<Address>,
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
        let local = sources.iter().map(|ip| Address::from(SocketAddr::new(*ip, 0))).collect();
        let remote = destinations.iter().copied().map(Address::from).collect();
        Self { sources, local, remote, ports, choice }
    }

    /// How many connections the plan allows.
    #[must_use]
    pub fn capacity(&self) -> u64 {
        (self.local.len() * self.remote.len()) as u64 * self.ports.len() as u64
    }

    /// How many connections one source allows, to all destinations together.
    #[must_use]
    pub fn capacity_of_one_source(&self) -> u64 {
        self.remote.len() as u64 * self.ports.len() as u64
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
        let remotes = self.remote.len() as u64;
        let ports = self.ports.len() as u64;
        let rest = number.checked_div(remotes)?;
        let port = self.ports[usize::try_from(rest.checked_rem(ports)?).ok()?];
        let local = *self.local.get(usize::try_from(rest / ports).ok()?)?;
        let remote = self.remote[(number % remotes) as usize];
        Some(Tuple { local, port, remote })
    }
}

/// The most addresses of 127.0.0.0/8 that a swarm takes by itself.
pub const LOOPBACK_POOL: u64 = 1 << 20;

/// As many of 127.0.0.0/8 as `target` needs when one source allows `per_source`, and one more, for ports that
/// turn out to be taken.
#[must_use]
pub fn loopback_sources(target: u64, per_source: u64) -> Vec<IpAddr> {
    let needed = target.div_ceil(per_source.max(1)) + 1;
    let first = u32::from(Ipv4Addr::LOCALHOST);
    (0..needed.min(LOOPBACK_POOL)).map(|n| IpAddr::V4(Ipv4Addr::from(first + n as u32))).collect()
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
        let mut ports = BTreeSet::new();
        for number in 0..plan.capacity() {
            ports.insert(plan.tuple(number).expect("within the capacity").port);
        }
        assert_eq!(ports.len(), 9);
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
        assert_eq!(loopback_sources(28_232, 28_232).len(), 2);
        assert_eq!(loopback_sources(100_000, 28_232).len(), 5);
    }
}
