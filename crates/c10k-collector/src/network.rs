//! The network namespace of one end of a run: its counters since the beginning, its sockets.

use std::collections::BTreeMap;
use std::io;

use c10k_kernel::census::{Census, Listener, PortSet, SockDiag, State, States};
use c10k_kernel::counters::{NetCounters, NetReading, ProcRoot};
use c10k_kernel::namespace::Beside;
use serde::{Deserialize, Serialize};

use crate::known;
use crate::unreadable::UnreadableList;

/// Reads the network namespace of one end.
pub struct NetworkEnd {
    net: NetCounters,
    first: NetReading,
    diag: Option<SockDiag>,
    ports: PortSet,
}

/// What was seen of one end's network namespace, or of both, at one moment. `None` is "could not be read".
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkSeen {
    /// Sockets.
    pub sockets: SocketsSeen,
    /// Growth of the kernel's counters since the collector began, by their names (`ListenOverflows`, `RetransSegs`, …).
    #[serde(deserialize_with = "known::counters")]
    pub counters: BTreeMap<&'static str, u64>,
    /// Counters that went backwards since then (wrapped or reset): their growth is unknown.
    #[serde(deserialize_with = "known::names")]
    pub went_backwards: Vec<&'static str>,
    /// Growth of `TCPSynRetrans` at the server's end alone, answers to SYNs; `None` where both ends have one namespace.
    pub answers_sent_again: Option<u64>,
    /// Packets dropped before TCP saw them, since the collector began, whole host.
    pub softnet_dropped: Option<u64>,
    /// Times the softirq gave up early, since the collector began, whole host.
    pub softnet_squeezed: Option<u64>,
    /// Files open on the whole host.
    pub files_in_use: Option<u64>,
    /// `fs.file-max`.
    pub files_max: Option<u64>,
    /// Connections tracked by the firewall in this network namespace; `None` where none are tracked.
    pub conntrack_entries: Option<u64>,
    /// `nf_conntrack_max`.
    pub conntrack_max: Option<u64>,
    /// Packets dropped, and entries thrown out early, for want of room in that table, since the collector began; 0 where
    /// this kernel tracks nothing.
    pub conntrack_dropped: Option<u64>,
    /// A file that could be read at first cannot be read any more.
    #[serde(skip)]
    pub has_vanished: bool,
}

/// Socket numbers of `/proc/net/sockstat` and `sockstat6`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SocketsSeen {
    /// TCP sockets in use, IPv4 and IPv6, this namespace.
    pub in_use: Option<u64>,
    /// In TIME_WAIT, this namespace.
    pub time_wait: Option<u64>,
    /// Held by no process, whole host.
    pub orphans: Option<u64>,
    /// TCP sockets allocated, whole host.
    pub allocated: Option<u64>,
    /// Pages of socket buffers, whole host.
    pub mem_pages: Option<u64>,
}

impl NetworkEnd {
    /// Opens the end of clients that stand in this network namespace; `ports` are the server's, which stands in another.
    #[must_use]
    pub fn of_clients_here(ports: &[u16]) -> Self {
        let mut end = Self::open(&ProcRoot::default(), None, ports);
        end.diag = SockDiag::open().ok();
        end
    }

    /// Opens the end of the clients in `namespace`, in which the process `pid` stands; `ports` are the server's.
    #[must_use]
    pub fn of_clients(namespace: &Beside, pid: u32, ports: &[u16]) -> Self {
        let mut end = Self::open(&ProcRoot::default(), Some(pid), ports);
        end.diag = namespace.inside(SockDiag::open).and_then(|opened| opened).ok();
        end
    }

    /// Opens the counters of the namespace of a process, or of this one; without sock_diag.
    pub(crate) fn open(root: &ProcRoot, namespace_of: Option<u32>, ports: &[u16]) -> Self {
        let mut net = NetCounters::open(root, namespace_of);
        let first = net.read();
        Self { net, first, diag: None, ports: PortSet::of(ports) }
    }

    /// Asks of sockets by this one from now on.
    pub(crate) fn ask_by(&mut self, diag: SockDiag) {
        self.diag = Some(diag);
    }

    pub(crate) fn ports(&self) -> &PortSet {
        &self.ports
    }

    /// What asks of sockets, and the ports to ask of.
    pub(crate) fn diag_and_ports(&mut self) -> Option<(&mut SockDiag, &PortSet)> {
        self.diag.as_mut().map(|diag| (diag, &self.ports))
    }

    /// All listeners here; `None` without sock_diag.
    pub(crate) fn listeners(&mut self) -> Option<io::Result<Vec<Listener>>> {
        Some(self.diag.as_mut()?.listeners(0))
    }

    /// Pages of socket buffers on the whole host.
    pub(crate) fn socket_buffer_pages(&mut self) -> Option<u64> {
        self.net.read().sockstat.and_then(|seen| seen.mem_pages)
    }

    /// Counts the sockets of the server's ports in these states.
    ///
    /// # Errors
    /// As [`SockDiag::census`]; ENOTSUP without sock_diag.
    pub(crate) fn census(&mut self, states: States) -> io::Result<Census> {
        match &mut self.diag {
            Some(diag) => diag.census(states, &self.ports),
            None => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// ESTABLISHED sockets at an end where nobody listens: a local port that is the server's own number is a client's.
    pub(crate) fn established(&mut self) -> Option<u64> {
        let census = self.census(States::of(&[State::Established])).ok()?;
        Some(census.client_side + census.server_side)
    }

    /// What is seen now; files that cannot be read are noted.
    pub(crate) fn see(&mut self, unreadable: Option<&mut UnreadableList>) -> NetworkSeen {
        let now = self.net.read();
        if let Some(unreadable) = unreadable {
            for unread in self.net.unread() {
                unreadable.note(unread.path.clone(), Some(unread.errno), "the counters in this file");
            }
        }
        seen(&now, &self.first)
    }
}

/// What one reading shows beside the first one.
fn seen(now: &NetReading, first: &NetReading) -> NetworkSeen {
    let mut seen = NetworkSeen { has_vanished: vanished(first, now), ..NetworkSeen::default() };
    if let Some(sockstat) = now.sockstat {
        seen.sockets = SocketsSeen {
            in_use: sockstat.tcp_inuse.map(|ipv4| ipv4 + sockstat.tcp6_inuse.unwrap_or(0)),
            time_wait: sockstat.time_wait,
            orphans: sockstat.orphan,
            allocated: sockstat.alloc,
            mem_pages: sockstat.mem_pages,
        };
    }
    if let (Some(now), Some(first)) = (&now.tcp, &first.tcp) {
        let change = now.since(first);
        seen.counters.extend(change.values.known());
        seen.went_backwards.extend(change.went_backwards);
    }
    if let (Some(now), Some(first)) = (&now.ip, &first.ip) {
        let change = now.since(first);
        seen.counters.extend(change.values.known());
        seen.went_backwards.extend(change.went_backwards);
    }
    if let (Some(now), Some(first)) = (&now.tcp_ext, &first.tcp_ext) {
        let change = now.since(first);
        seen.counters.extend(change.values.known());
        seen.went_backwards.extend(change.went_backwards);
    }
    if let (Some(now), Some(first)) = (now.softnet, first.softnet) {
        seen.softnet_dropped = now.dropped.checked_sub(first.dropped);
        seen.softnet_squeezed = now.squeezed.checked_sub(first.squeezed);
    }
    seen.files_in_use = now.files.map(|files| files.in_use);
    seen.files_max = now.files.map(|files| files.max);
    seen.conntrack_entries = now.conntrack.map(|tracked| tracked.count);
    seen.conntrack_max = now.conntrack.and_then(|tracked| tracked.max);
    let dropped = |reading: &NetReading| reading.conntrack.and_then(|tracked| tracked.dropped);
    // A table that appeared in the middle of a run has dropped nothing before; without one nothing is dropped for it.
    let dropped_now = dropped(now).or(now.tracks_nothing.then_some(0));
    seen.conntrack_dropped = dropped_now.and_then(|now| now.checked_sub(dropped(first).unwrap_or(0)));
    seen
}

impl NetworkSeen {
    /// The server's end with the clients' in another namespace of the same host. Where the clients' end cannot be read the
    /// sums are unknown: what was lost there would be missing in them.
    pub(crate) fn with_clients(&mut self, client: &Self) {
        let both = |one: Option<u64>, other: Option<u64>| Some(one? + other?);
        self.sockets.in_use = both(self.sockets.in_use, client.sockets.in_use);
        self.sockets.time_wait = both(self.sockets.time_wait, client.sockets.time_wait);
        self.answers_sent_again = self.counter("TCPSynRetrans");
        self.counters.retain(|name, growth| {
            let there = client.counters.get(name);
            *growth += there.unwrap_or(&0);
            there.is_some()
        });
        // Each namespace has a table of its own and one maximum bounds each of them: the fuller one is the one to look at.
        self.conntrack_entries = match (self.conntrack_entries, client.conntrack_entries) {
            (here, Some(there)) => here.max(Some(there)),
            // Where nothing is tracked there is nothing to read, and nothing is dropped.
            (here, None) => here.filter(|_| client.conntrack_dropped.is_some()),
        };
        self.conntrack_dropped = both(self.conntrack_dropped, client.conntrack_dropped);
        self.has_vanished |= client.has_vanished;
    }

    /// Growth of a kernel counter since the collector began, by the kernel's name.
    #[must_use]
    pub fn counter(&self, kernel_name: &str) -> Option<u64> {
        self.counters.get(kernel_name).copied()
    }
}

/// Whether a source that could be read at first cannot be read any more.
fn vanished(first: &NetReading, now: &NetReading) -> bool {
    first.sockstat.is_some() && now.sockstat.is_none()
        || first.tcp.is_some() && now.tcp.is_none()
        || first.tcp_ext.is_some() && now.tcp_ext.is_none()
        || first.softnet.is_some() && now.softnet.is_none()
        || first.files.is_some() && now.files.is_none()
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

    fn server(entries: Option<u64>, dropped: Option<u64>) -> NetworkSeen {
        let mut seen =
            NetworkSeen { conntrack_entries: entries, conntrack_dropped: dropped, ..NetworkSeen::default() };
        (seen.sockets.in_use, seen.sockets.time_wait) = (Some(500), Some(0));
        seen.counters.insert("TCPSynRetrans", 3);
        seen
    }

    #[test]
    fn a_table_of_tracked_connections_that_is_full_at_the_clients_end_is_seen() {
        let mut both = server(Some(12), Some(0));
        both.with_clients(&seen(&reading(40, Some((1000, 64))), &reading(30, Some((5, 4)))));
        assert_eq!((both.conntrack_entries, both.conntrack_dropped), (Some(1000), Some(60)));
        assert_eq!((both.sockets.in_use, both.counter("TCPSynRetrans")), (Some(1000), Some(13)));
        assert_eq!(both.answers_sent_again, Some(3));
        // One end tracks and the other does not.
        let mut both = server(None, Some(0));
        both.with_clients(&seen(&reading(0, Some((9, 0))), &reading(0, None)));
        assert_eq!((both.conntrack_entries, both.conntrack_dropped), (Some(9), Some(0)));
        let mut both = server(Some(9), Some(2));
        both.with_clients(&seen(&reading(0, None), &reading(0, None)));
        assert_eq!((both.conntrack_entries, both.conntrack_dropped), (Some(9), Some(2)));
    }

    #[test]
    fn of_an_end_that_cannot_be_read_nothing_is_said_to_have_stood_still() {
        let mut both = server(Some(9), Some(0));
        both.with_clients(&seen(&NetReading::default(), &reading(0, Some((1, 0)))));
        assert_eq!((both.conntrack_entries, both.conntrack_dropped), (None, None));
        assert_eq!((both.sockets.in_use, both.counter("TCPSynRetrans")), (None, None));
        assert!(both.has_vanished);
    }
}
