//! Connections that go out from here, by where they go and from which address: each has a source port, and there are only
//! so many of them to one destination.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};

use super::{PortSet, Query, SockDiag, State, States};
use crate::sysctl::SysctlRoot;

/// Inodes of each destination that are kept, to find who holds them.
const INODES: usize = 32;
/// Destinations that are kept apart: a program that calls so many is bounded by no single one.
const DESTINATIONS: usize = 1 << 16;

/// The connections from one address of this machine to one address and port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// The address they come from.
    pub from: IpAddr,
    /// Where they go.
    pub to: SocketAddr,
    /// How many there are, in whatever state but TIME_WAIT.
    pub connections: u64,
    /// How many more are in TIME_WAIT: they keep their ports too.
    pub time_wait: u64,
    /// The inodes of some of them.
    pub inodes: Vec<u32>,
}

impl Destination {
    /// Source ports that they have.
    #[must_use]
    pub fn ports(&self) -> u64 {
        self.connections + self.time_wait
    }
}

impl SockDiag {
    /// The connections that go out from here, by destination, most first: those whose own port nobody listens on. Costs
    /// as a census does, whatever number of connections come in.
    ///
    /// # Errors
    /// As [`SockDiag::census`].
    pub fn outgoing(&mut self) -> io::Result<Vec<Destination>> {
        let listened: Vec<u16> = self.listeners(0)?.iter().map(|listener| listener.address.port()).collect();
        let listened = PortSet::of(&listened);
        let mut found: HashMap<(IpAddr, SocketAddr), Destination> = HashMap::new();
        let states = States::of(&[
            State::Established,
            State::SynSent,
            State::FinWait1,
            State::FinWait2,
            State::TimeWait,
            State::CloseWait,
            State::LastAck,
            State::Closing,
        ]);
        for family in [libc::AF_INET, libc::AF_INET6] {
            self.dump(Query { family, states, ..Query::default() }, |socket| {
                if listened.holds(socket.local_port()) {
                    return;
                }
                let from = socket.local_address().ip().to_canonical();
                let remote = socket.remote_address();
                let to = SocketAddr::new(remote.ip().to_canonical(), remote.port());
                let has_room = found.len() < DESTINATIONS;
                let destination = match found.get_mut(&(from, to)) {
                    Some(known) => known,
                    None if has_room => found.entry((from, to)).or_insert(Destination {
                        from,
                        to,
                        connections: 0,
                        time_wait: 0,
                        inodes: Vec::new(),
                    }),
                    None => return,
                };
                if socket.state() == State::TimeWait as u8 {
                    destination.time_wait += 1;
                } else {
                    destination.connections += 1;
                }
                if socket.inode() > 0 && destination.inodes.len() < INODES {
                    destination.inodes.push(socket.inode());
                }
            })?;
        }
        // What is in TIME_WAIT alone may have been a server's end, whose listener is gone.
        let mut found: Vec<Destination> =
            found.into_values().filter(|destination| destination.connections > 0).collect();
        found.sort_by_key(|destination| std::cmp::Reverse(destination.ports()));
        Ok(found)
    }
}

/// The ports from which the kernel chooses one for a connection that goes out, and how many they are, in the network
/// namespace of the calling thread; those that are reserved are left out.
#[must_use]
pub fn source_ports() -> Option<((u16, u16), u64)> {
    let settings = SysctlRoot::default();
    let (first, last) = settings.local_port_range()?;
    let all = (u64::from(last) + 1).checked_sub(u64::from(first))?;
    let reserved = settings.read("net.ipv4.ip_local_reserved_ports").unwrap_or_default();
    Some(((first, last), all.saturating_sub(reserved_within(&reserved, first, last))))
}

/// How many ports a list such as `8080,9000-9002` has between two.
fn reserved_within(list: &str, first: u16, last: u16) -> u64 {
    let ranges = list.trim().split(',').filter_map(|range| {
        let (from, to) = range.split_once('-').unwrap_or((range, range));
        Some((from.trim().parse::<u16>().ok()?.max(first), to.trim().parse::<u16>().ok()?.min(last)))
    });
    ranges.map(|(from, to)| (u64::from(to) + 1).saturating_sub(u64::from(from))).sum()
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn what_goes_out_is_counted_by_destination_and_what_comes_in_is_not() {
        let listen = || TcpListener::bind("127.0.0.1:0").unwrap();
        let (one, other) = (listen(), listen());
        let (to_one, to_other) = (one.local_addr().unwrap(), other.local_addr().unwrap());
        let pairs = |listener: &TcpListener, count: usize| -> Vec<(TcpStream, TcpStream)> {
            let at = listener.local_addr().unwrap();
            (0..count).map(|_| (TcpStream::connect(at).unwrap(), listener.accept().unwrap().0)).collect()
        };
        let (many, few) = (pairs(&one, 40), pairs(&other, 3));
        let found = SockDiag::open().unwrap().outgoing().unwrap();
        let of = |to: SocketAddr| found.iter().find(|destination| destination.to == to).unwrap();
        assert_eq!((of(to_one).connections, of(to_one).ports(), of(to_other).connections), (40, 40, 3));
        assert_eq!((of(to_one).inodes.len(), of(to_other).inodes.len()), (INODES, 3));
        assert!(found.is_sorted_by(|a, b| a.ports() >= b.ports()));
        // The servers' ends have the listener's port at their own end.
        let clients: Vec<SocketAddr> = many.iter().map(|(client, _)| client.local_addr().unwrap()).collect();
        assert!(!found.iter().any(|destination| clients.contains(&destination.to)));
        drop(few);
    }

    #[test]
    fn reserved_ports_are_none_to_choose_from() {
        let within = |list: &str| reserved_within(list, 32_768, 60_999);
        assert_eq!(
            [within(""), within("8080"), within("40000"), within("40000-40009,50000,60999-61010")],
            [0, 0, 1, 12]
        );
        let ((first, last), count) = source_ports().expect("every Linux has a range");
        assert!(first < last && count <= u64::from(last - first) + 1);
    }
}
