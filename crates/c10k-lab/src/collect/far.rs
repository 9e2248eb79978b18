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

    /// Adds the client end's sockets and the growth of its counters to the server end's. Where the client end cannot be
    /// read the sums are unknown: what was lost there would be missing in them.
    pub(crate) fn add_to(&mut self, seen: &mut Observation) {
        let now = self.net.read();
        add(&now, &self.first, seen);
    }

    /// Established sockets towards the server's ports, as the kernel counts them at this end.
    pub(crate) fn established(&mut self) -> Option<u64> {
        let census = self.diag.as_mut()?.census(States::of(&[State::Established]), &self.ports).ok()?;
        // Nobody listens here, so a local port that is the server's own number is a client's too.
        Some(census.client_side + census.server_side)
    }
}

/// Adds one end, as it is now and as it was at first, to what was seen of the other.
fn add(now: &NetReading, first: &NetReading, seen: &mut Observation) {
    let sockets = now.sockstat;
    let both = |near: Option<u64>, far: Option<u64>| Some(near? + far?);
    seen.sockets.in_use = both(
        seen.sockets.in_use,
        sockets.and_then(|s| s.tcp_inuse.map(|four| four + s.tcp6_inuse.unwrap_or(0))),
    );
    seen.sockets.time_wait = both(seen.sockets.time_wait, sockets.and_then(|s| s.time_wait));
    let mut grown: BTreeMap<&'static str, u64> = BTreeMap::new();
    if let (Some(now), Some(first)) = (&now.tcp, &first.tcp) {
        grown.extend(now.since(first).values.known());
    }
    if let (Some(now), Some(first)) = (&now.tcp_ext, &first.tcp_ext) {
        grown.extend(now.since(first).values.known());
    }
    seen.counters.retain(|name, near| {
        let far = grown.get(name);
        *near += far.unwrap_or(&0);
        far.is_some()
    });
    // Each namespace has a table of its own and one maximum bounds each of them: the fuller one is the one to look at.
    let tracked = now.conntrack;
    seen.conntrack_entries = match (seen.conntrack_entries, tracked.map(|tracked| tracked.count)) {
        (near, Some(far)) => near.max(Some(far)),
        // Where nothing is tracked there is nothing to read.
        (near, None) => near.filter(|_| now.tracks_nothing),
    };
    let dropped_before = first.conntrack.and_then(|tracked| tracked.dropped).unwrap_or(0);
    let dropped = match tracked {
        Some(tracked) => tracked.dropped.and_then(|dropped| dropped.checked_sub(dropped_before)),
        None => now.tracks_nothing.then_some(0),
    };
    seen.conntrack_dropped = both(seen.conntrack_dropped, dropped);
    seen.partial |= sockets.is_none() && first.sockstat.is_some();
}

#[cfg(test)]
mod tests {
    use c10k_kernel::counters::{Conntrack, Sockstat, TcpExt};

    use super::*;

    fn reading(resent: u64, tracked: Option<(u64, u64)>) -> NetReading {
        NetReading {
            sockstat: Some(Sockstat { tcp_inuse: Some(500), time_wait: Some(7), ..Sockstat::default() }),
            tcp_ext: Some(TcpExt { syn_retrans: Some(resent), ..TcpExt::default() }),
            conntrack: tracked.map(|(count, dropped)| Conntrack {
                count,
                max: Some(1000),
                dropped: Some(dropped),
            }),
            tracks_nothing: tracked.is_none(),
            ..NetReading::default()
        }
    }

    fn near(entries: Option<u64>, dropped: Option<u64>) -> Observation {
        let mut seen =
            Observation { conntrack_entries: entries, conntrack_dropped: dropped, ..Observation::default() };
        (seen.sockets.in_use, seen.sockets.time_wait) = (Some(500), Some(0));
        seen.counters.insert("TCPSynRetrans", 3);
        seen
    }

    #[test]
    fn a_table_of_tracked_connections_that_is_full_at_the_swarms_end_is_seen() {
        let mut seen = near(Some(12), Some(0));
        add(&reading(40, Some((1000, 64))), &reading(30, Some((5, 4))), &mut seen);
        assert_eq!((seen.conntrack_entries, seen.conntrack_dropped), (Some(1000), Some(60)));
        assert_eq!((seen.sockets.in_use, seen.counter("TCPSynRetrans")), (Some(1000), Some(13)));
        // One end tracks and the other does not.
        let mut seen = near(None, Some(0));
        add(&reading(0, Some((9, 0))), &reading(0, None), &mut seen);
        assert_eq!((seen.conntrack_entries, seen.conntrack_dropped), (Some(9), Some(0)));
        let mut seen = near(Some(9), Some(2));
        add(&reading(0, None), &reading(0, None), &mut seen);
        assert_eq!((seen.conntrack_entries, seen.conntrack_dropped), (Some(9), Some(2)));
    }

    #[test]
    fn of_an_end_that_cannot_be_read_nothing_is_said_to_have_stood_still() {
        let mut seen = near(Some(9), Some(0));
        add(&NetReading::default(), &reading(0, Some((1, 0))), &mut seen);
        assert_eq!((seen.conntrack_entries, seen.conntrack_dropped), (None, None));
        assert_eq!((seen.sockets.in_use, seen.counter("TCPSynRetrans")), (None, None));
        assert!(seen.partial);
    }
}
