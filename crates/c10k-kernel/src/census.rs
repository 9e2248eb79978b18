//! Who is connected: TCP states and listeners by sock_diag(7), IPv4 and IPv6.
//!
//! # What a census costs
//! The kernel walks its whole table of connections: about 75 ms at 100,000 sockets and 1.5 s at 2,000,000. It is for
//! the ends of phases; [`SockDiag::listeners`] walks listeners only and is cheap enough for every tick.
//! `/proc/net/tcp` would cost twice as much and is never read.
//!
//! # Whose sockets these are
//! Those of the network namespace in which the calling thread stood at [`SockDiag::open`].

use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_sock_diag::SockDiagMessage;
use netlink_packet_sock_diag::inet::{ExtensionFlags, InetRequest, SocketId, StateFlags};
use netlink_sys::protocols::NETLINK_SOCK_DIAG;
use netlink_sys::{Socket, SocketAddr as NetlinkAddress};

mod answer;
mod ends;
mod holder;
mod outgoing;
mod side;
mod taken;
mod tcp_info;
mod whose;

pub use answer::{Progress, SocketLine, each_socket};
pub use ends::{Ends, ServerSocket, Servers};
pub use holder::{Holders, held_by, holders_of, holds};
pub use outgoing::{Destination, source_ports};
use side::{AtBothPorts, ByPorts, ConnectionEnd, Listening};
pub use taken::{PortTaken, PortUser, TakenBy};
pub use tcp_info::{Sampled, TcpInfo};
pub use whose::{Held, Holding, LookThrough, who_holds};

/// The kernel fills at most 32 KiB an answer (net/netlink/af_netlink.c, `netlink_dump`) when the reader offers it.
const ANSWER_BYTES: usize = 64 * 1024;

/// Up to so many ports are asked for one by one.
const FEW_PORTS: usize = 4;

/// The states of TCP by the kernel's names and numbers (include/net/tcp_states.h); index 0 is no state.
pub const STATE_NAMES: [&str; 13] = [
    "",
    "ESTABLISHED",
    "SYN_SENT",
    "SYN_RECV",
    "FIN_WAIT1",
    "FIN_WAIT2",
    "TIME_WAIT",
    "CLOSE",
    "CLOSE_WAIT",
    "LAST_ACK",
    "LISTEN",
    "CLOSING",
    "NEW_SYN_RECV",
];

/// A state of TCP, by the kernel's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    /// `ESTABLISHED`: open at this end.
    Established = 1,
    /// `SYN_SENT`: connecting.
    SynSent = 2,
    /// `SYN_RECV`: at a listener, not yet accepted by the kernel.
    SynRecv = 3,
    /// `FIN_WAIT1`.
    FinWait1 = 4,
    /// `FIN_WAIT2`.
    FinWait2 = 5,
    /// `TIME_WAIT`.
    TimeWait = 6,
    /// `CLOSE`.
    Close = 7,
    /// `CLOSE_WAIT`: the peer has closed, this end has not.
    CloseWait = 8,
    /// `LAST_ACK`.
    LastAck = 9,
    /// `LISTEN`.
    Listen = 10,
    /// `CLOSING`.
    Closing = 11,
}

/// A set of states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct States(u32);

impl States {
    /// Every state.
    pub const ALL: Self = Self(0x0ffe);
    /// Every state, and sockets that are bound to a port and neither listen nor are connected: since Linux 6.8 the
    /// kernel shows them under a state of their own (`TCP_BOUND_INACTIVE`, include/net/tcp_states.h), and before that
    /// to nobody.
    pub(crate) const ALL_AND_BOUND: Self = Self(Self::ALL.0 | 1 << 13);

    /// These states only.
    #[must_use]
    pub fn of(states: &[State]) -> Self {
        Self(states.iter().fold(0, |mask, state| mask | 1 << *state as u32))
    }
}

/// How many sockets stood in each state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Sockets at the server's ends, listeners left out, by the kernel's number of their state; names in
    /// [`STATE_NAMES`]. Where no ports were asked for, all sockets.
    pub states: [u64; 13],
    /// ESTABLISHED sockets whose *local* port is one of the ports asked for: the server's ends.
    pub server_side: u64,
    /// ESTABLISHED sockets whose *remote* port is one of the ports asked for: the clients' ends. A socket with one at
    /// either end is the server's where somebody listens at its own address, and else the client's, which had that port
    /// to connect from.
    pub client_side: u64,
    /// Sockets at the server's ends, ESTABLISHED or closed by the client already (CLOSE_WAIT), that no process has
    /// accepted: they have no inode.
    pub not_accepted: u64,
    /// The table changed under the dump (NLM_F_DUMP_INTR): the numbers may be off.
    pub interrupted: bool,
    /// What the census took, in microseconds.
    pub duration_us: u64,
}

impl Census {
    /// The sockets in one state.
    #[must_use]
    pub fn count(&self, state: State) -> u64 {
        self.states[state as usize]
    }

    /// All sockets.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.states.iter().sum()
    }

    /// The states that have sockets, with their kernel names.
    pub fn by_name(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        STATE_NAMES.iter().copied().zip(self.states).filter(|(_, count)| *count > 0)
    }

    /// Counts one socket; gives it back where it has a port that was asked for at either end.
    fn add(&mut self, socket: &SocketLine<'_>, ports: &PortSet) -> Option<AtBothPorts> {
        let end = match ByPorts::of(socket, ports) {
            _ if ports.is_everything() => None,
            ByPorts::Either => return Some(AtBothPorts::of(socket)),
            ByPorts::At(end) => Some(end),
            ByPorts::Elsewhere => return None,
        };
        self.count_one(socket.state(), socket.inode(), end);
        None
    }

    /// Counts one at this end; at none where no ports were asked for.
    fn count_one(&mut self, state: u8, inode: u32, end: Option<ConnectionEnd>) {
        let is_counted = end.is_none() || end == Some(ConnectionEnd::Server) && state != State::Listen as u8;
        if let Some(count) = self.states.get_mut(usize::from(state)).filter(|_| is_counted) {
            *count += 1;
        }
        let open = [State::Established as u8, State::CloseWait as u8].contains(&state);
        self.not_accepted += u64::from(open && end == Some(ConnectionEnd::Server) && inode == 0);
        if state == State::Established as u8 {
            self.server_side += u64::from(end == Some(ConnectionEnd::Server));
            self.client_side += u64::from(end == Some(ConnectionEnd::Client));
        }
    }
}

/// A listening socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Where it listens.
    pub address: SocketAddr,
    /// Connections that wait to be accepted (`idiag_rqueue`; Recv-Q of ss(8)).
    pub accept_queue: u32,
    /// The most that may wait (`idiag_wqueue`; Send-Q of ss(8)): the backlog after `somaxconn`.
    pub backlog: u32,
    /// Packets that it dropped: its queues had no room, or a filter on it did not let them through (`sk_drops`, d of
    /// skmem of ss(8)). `None` where the kernel does not say.
    pub drops: Option<u32>,
    /// The inode of its socket, by which the process that holds it can be found.
    pub inode: u32,
    /// The user who made it.
    pub uid: u32,
}

/// A set of ports; the empty one stands for all sockets.
#[derive(Clone)]
pub struct PortSet {
    bits: Box<[u64; 1024]>,
    is_empty: bool,
}

impl PortSet {
    /// These ports.
    #[must_use]
    pub fn of(ports: &[u16]) -> Self {
        let mut bits = Box::new([0; 1024]);
        for port in ports {
            bits[usize::from(port / 64)] |= 1 << (port % 64);
        }
        Self { bits, is_empty: ports.is_empty() }
    }

    /// Whether the set holds this port.
    #[must_use]
    pub fn holds(&self, port: u16) -> bool {
        self.bits[usize::from(port / 64)] & 1 << (port % 64) != 0
    }

    /// The ports, in their order.
    pub fn iter(&self) -> impl Iterator<Item = u16> + '_ {
        (1..=u16::MAX).filter(|port| self.holds(*port))
    }

    fn is_everything(&self) -> bool {
        self.is_empty
    }
}

/// A sock_diag socket and the buffer its answers are read into.
pub struct SockDiag {
    socket: Socket,
    buffer: Vec<u8>,
    sequence: u32,
}

impl SockDiag {
    /// Opens a sock_diag socket in the network namespace of the calling thread. No privilege is needed.
    ///
    /// # Errors
    /// As socket(2): EPROTONOSUPPORT in a kernel without sock_diag.
    pub fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_SOCK_DIAG)?;
        socket.bind_auto()?;
        socket.connect(&NetlinkAddress::new(0, 0))?;
        Ok(Self { socket, buffer: Vec::with_capacity(ANSWER_BYTES), sequence: 0 })
    }

    /// Counts the TCP sockets in `states` that have one of `ports` at either end, each end by itself; all of them when
    /// `ports` is empty.
    ///
    /// # Errors
    /// The errno that the kernel answers: EINVAL, ENOMEM, ENOENT without `inet_diag`; EBADMSG for an answer that
    /// makes no sense.
    pub fn census(&mut self, states: States, ports: &PortSet) -> io::Result<Census> {
        let start = Instant::now();
        let mut census = Census::default();
        let mut at_both = Vec::new();
        for family in [libc::AF_INET, libc::AF_INET6] {
            let query = Query { family, states, ..Query::default() };
            let interrupted = self.dump(query, |socket| at_both.extend(census.add(socket, ports)))?;
            census.interrupted |= interrupted;
        }
        if !at_both.is_empty() {
            let listening = Listening::of(self, ports)?;
            for AtBothPorts { local, state, inode } in at_both {
                census.count_one(state, inode, Some(listening.end_of(local)));
            }
        }
        census.duration_us = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
        Ok(census)
    }

    /// Calls `each` with every socket in `states` that has one of `ports` at its own end, and is no client's end that has
    /// one of them to connect from. The kernel leaves the others
    /// out, so that this costs a small part of a census where most sockets are somebody else's. True when the dump was
    /// interrupted.
    ///
    /// # Errors
    /// As [`SockDiag::census`].
    pub fn with_local_ports(
        &mut self,
        states: States,
        ports: &PortSet,
        mut each: impl FnMut(&SocketLine<'_>),
    ) -> io::Result<bool> {
        let asked: Vec<u16> = ports.iter().collect();
        let listening = Listening::of(self, ports)?;
        self.by_port(&asked, Query { states, at_server: true, ..Query::default() }, &mut |socket| {
            if ByPorts::of(socket, ports).end(socket, &listening) == Some(ConnectionEnd::Server) {
                each(socket);
            }
        })
    }

    /// Asks for the sockets of `query` with each of `ports`, in both families. Each dump walks the whole table, so with
    /// many ports one walk that copies all is cheaper: `each` may see sockets with other ports.
    fn by_port(
        &mut self,
        ports: &[u16],
        query: Query,
        each: &mut impl FnMut(&SocketLine<'_>),
    ) -> io::Result<bool> {
        let asked = if ports.len() <= FEW_PORTS { ports } else { &[0] };
        let mut interrupted = false;
        for port in asked {
            for family in [libc::AF_INET, libc::AF_INET6] {
                let mut query = Query { family, ..query };
                if query.at_server {
                    query.local_port = *port;
                } else {
                    query.remote_port = *port;
                }
                interrupted |= self.dump(query, &mut *each)?;
            }
        }
        Ok(interrupted)
    }

    /// The listeners on a port, of any address; several when they share it by SO_REUSEPORT.
    ///
    /// # Errors
    /// As [`SockDiag::census`].
    pub fn listeners(&mut self, port: u16) -> io::Result<Vec<Listener>> {
        let mut found = Vec::new();
        for family in [libc::AF_INET, libc::AF_INET6] {
            let states = States::of(&[State::Listen]);
            let query = Query { family, states, local_port: port, with_memory: true, ..Query::default() };
            self.dump(query, |socket| {
                // The kernel filters by the port already; port 0 asks for all.
                if port == 0 || socket.local_port() == port {
                    found.push(Listener {
                        address: socket.local_address(),
                        accept_queue: socket.receive_queue(),
                        backlog: socket.send_queue(),
                        drops: socket.drops(),
                        inode: socket.inode(),
                        uid: socket.uid(),
                    });
                }
            })?;
        }
        Ok(found)
    }

    /// The addresses and ports at this end of the sockets in TIME_WAIT towards one of `ports`: each keeps its port from
    /// a new connection to the same place. Costs as a census does.
    ///
    /// # Errors
    /// As [`SockDiag::census`].
    pub fn time_wait_towards(&mut self, ports: &PortSet) -> io::Result<Vec<SocketAddr>> {
        let mut found = Vec::new();
        for family in [libc::AF_INET, libc::AF_INET6] {
            let states = States::of(&[State::TimeWait]);
            self.dump(Query { family, states, ..Query::default() }, |socket| {
                if socket.state() == State::TimeWait as u8 && ports.holds(socket.remote_port()) {
                    found.push(socket.local_address());
                }
            })?;
        }
        Ok(found)
    }

    /// How many sockets in TIME_WAIT there are here towards one of `ports`, and how many at one of them: the ends of
    /// those that closed first, as clients and as servers. Costs as a census does.
    ///
    /// # Errors
    /// As [`SockDiag::census`].
    pub fn time_wait_by_end(&mut self, ports: &PortSet) -> io::Result<(u64, u64)> {
        let (mut clients, mut servers, mut at_both) = (0, 0, Vec::new());
        for family in [libc::AF_INET, libc::AF_INET6] {
            let states = States::of(&[State::TimeWait]);
            self.dump(Query { family, states, ..Query::default() }, |socket| {
                if socket.state() == State::TimeWait as u8 {
                    match ByPorts::of(socket, ports) {
                        ByPorts::Either => at_both.push(socket.local_address()),
                        ByPorts::At(ConnectionEnd::Server) => servers += 1,
                        ByPorts::At(ConnectionEnd::Client) => clients += 1,
                        ByPorts::Elsewhere => {}
                    }
                }
            })?;
        }
        if !at_both.is_empty() {
            let listening = Listening::of(self, ports)?;
            let of_servers =
                at_both.iter().filter(|local| listening.end_of(**local) == ConnectionEnd::Server).count()
                    as u64;
            servers += of_servers;
            clients += at_both.len() as u64 - of_servers;
        }
        Ok((clients, servers))
    }

    /// Asks for sockets and calls `each` with every one. True when the dump was interrupted.
    fn dump(&mut self, query: Query, mut each: impl FnMut(&SocketLine<'_>)) -> io::Result<bool> {
        self.sequence = self.sequence.wrapping_add(1);
        self.converse(&request(self.sequence, query), &mut each)
    }

    /// Sends a request for a dump and calls `each` with every socket in its answers.
    fn converse(&mut self, request: &[u8], mut each: impl FnMut(&SocketLine<'_>)) -> io::Result<bool> {
        self.socket.send(request, 0)?;
        let mut interrupted = false;
        loop {
            self.buffer.clear();
            match self.socket.recv(&mut self.buffer, libc::MSG_TRUNC) {
                Ok(length) if length > self.buffer.len() => {
                    return Err(io::Error::from_raw_os_error(libc::EMSGSIZE));
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            let progress = each_socket(&self.buffer, self.sequence, &mut each)?;
            interrupted |= progress.interrupted;
            if progress.done {
                return Ok(interrupted);
            }
        }
    }
}

/// Which sockets a dump is to tell of.
#[derive(Clone, Copy)]
struct Query {
    family: i32,
    states: States,
    /// 0 for any.
    local_port: u16,
    /// 0 for any.
    remote_port: u16,
    /// Of a port that is asked for: whether it is the one at the sockets' own end.
    at_server: bool,
    /// Whether the memory of each is asked for too, and so what it dropped.
    with_memory: bool,
}

impl Default for Query {
    fn default() -> Self {
        Self {
            family: libc::AF_INET,
            states: States::ALL,
            local_port: 0,
            remote_port: 0,
            at_server: false,
            with_memory: false,
        }
    }
}

/// The bytes of one `inet_diag_req_v2` dump request.
fn request(sequence: u32, query: Query) -> Vec<u8> {
    let id = if query.family == libc::AF_INET6 { SocketId::new_v6() } else { SocketId::new_v4() };
    let (source_port, destination_port) = (query.local_port, query.remote_port);
    let message = SockDiagMessage::InetRequest(InetRequest {
        family: query.family as u8,
        protocol: libc::IPPROTO_TCP as u8,
        extensions: if query.with_memory { ExtensionFlags::SKMEMINFO } else { ExtensionFlags::empty() },
        states: StateFlags::from_bits_retain(query.states.0),
        socket_id: SocketId { source_port, destination_port, ..id },
    });
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    header.sequence_number = sequence;
    header.message_type = message.message_type();
    let mut packet = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(message));
    packet.finalize();
    let mut bytes = vec![0; packet.buffer_len()];
    packet.serialize(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests;
