//! The swarm's end when it stands in a network namespace of its own: what the collector, which stands in the
//! server's, cannot see.

use std::collections::BTreeMap;

use c10k_collector::Observation;
use c10k_kernel::census::{PortSet, SockDiag, State, States};
use c10k_kernel::counters::{NetCounters, NetReading, ProcRoot};
use c10k_kernel::namespace::Beside;

/// Reads the counters of the swarm's namespace.
pub(crate) struct FarEnd {
    net: NetCounters,
    first: NetReading,
    diag: Option<SockDiag>,
    ports: PortSet,
}

impl FarEnd {
    /// Opens them: `/proc/PID/net` of the swarm, and sock_diag inside its namespace.
    pub(crate) fn open(namespace: &Beside, swarm_pid: u32, ports: &[u16]) -> Self {
        let mut net = NetCounters::open(&ProcRoot::default(), Some(swarm_pid));
        let first = net.read();
        let diag = namespace.inside(SockDiag::open).and_then(|opened| opened).ok();
        Self { net, first, diag, ports: PortSet::of(ports) }
    }

    /// Adds this end to what was seen of the other: sockets in use and in TIME_WAIT, of which the sum is not known
    /// where this end is not, and the growth of the kernel's counters, which is that of the server's end then.
    pub(crate) fn add_to(&mut self, seen: &mut Observation) {
        let now = self.net.read();
        let sockets = now.sockstat;
        let both = |near: Option<u64>, far: Option<u64>| Some(near? + far?);
        seen.sockets.in_use = both(
            seen.sockets.in_use,
            sockets.and_then(|s| s.tcp_inuse.map(|four| four + s.tcp6_inuse.unwrap_or(0))),
        );
        seen.sockets.time_wait = both(seen.sockets.time_wait, sockets.and_then(|s| s.time_wait));
        let mut grown: BTreeMap<&'static str, u64> = BTreeMap::new();
        if let (Some(now), Some(first)) = (&now.tcp, &self.first.tcp) {
            grown.extend(now.since(first).values.known());
        }
        if let (Some(now), Some(first)) = (&now.tcp_ext, &self.first.tcp_ext) {
            grown.extend(now.since(first).values.known());
        }
        for (name, near) in &mut seen.counters {
            *near += grown.get(name).unwrap_or(&0);
        }
        seen.partial |= sockets.is_none() && self.first.sockstat.is_some();
    }

    /// Established sockets towards the server's ports, as the kernel counts them at this end.
    pub(crate) fn established(&mut self) -> Option<u64> {
        let census = self.diag.as_mut()?.census(States::of(&[State::Established]), &self.ports).ok()?;
        // Nobody listens here, so a local port that is the server's own number is a client's too.
        Some(census.client_side + census.server_side)
    }
}
