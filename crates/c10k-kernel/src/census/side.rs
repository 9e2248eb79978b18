//! Which end of a connection a socket is. Its ports tell, but where both are a server's: a client that has the whole range
//! to connect from has that port too.

use std::io;
use std::net::{IpAddr, SocketAddr};

use super::{FEW_PORTS, PortSet, SockDiag, SocketLine};

/// One end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ConnectionEnd {
    Server,
    Client,
}

/// Which end of a connection a socket is, as far as its ports tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ByPorts {
    At(ConnectionEnd),
    /// Both ports are a server's.
    Either,
    /// Neither is.
    Elsewhere,
}

impl ByPorts {
    pub(super) fn of(socket: &SocketLine<'_>, servers: &PortSet) -> Self {
        match (servers.holds(socket.local_port()), servers.holds(socket.remote_port())) {
            (true, true) => Self::Either,
            (true, false) => Self::At(ConnectionEnd::Server),
            (false, true) => Self::At(ConnectionEnd::Client),
            (false, false) => Self::Elsewhere,
        }
    }

    /// The end of this socket; `None` where it is none of a server that is asked about.
    pub(super) fn end(self, socket: &SocketLine<'_>, listening: &Listening) -> Option<ConnectionEnd> {
        match self {
            Self::At(end) => Some(end),
            Self::Either => Some(listening.end_of(socket.local_address())),
            Self::Elsewhere => None,
        }
    }
}

/// A socket whose ports do not tell which end it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct AtBothPorts {
    pub(super) local: SocketAddr,
    pub(super) state: u8,
    pub(super) inode: u32,
}

impl AtBothPorts {
    pub(super) fn of(socket: &SocketLine<'_>) -> Self {
        Self { local: socket.local_address(), state: socket.state(), inode: socket.inode() }
    }
}

/// Where somebody listens.
pub(super) struct Listening(Vec<SocketAddr>);

impl Listening {
    /// At these ports.
    pub(super) fn of(diag: &mut SockDiag, ports: &PortSet) -> io::Result<Self> {
        let few: Vec<u16> = ports.iter().take(FEW_PORTS + 1).collect();
        // One walk over all listeners is cheaper than many.
        let asked = if few.len() <= FEW_PORTS { &few[..] } else { &[0] };
        let mut found = Vec::new();
        for port in asked {
            found.extend(diag.listeners(*port)?.into_iter().map(|listener| listener.address));
        }
        Ok(Self(found))
    }

    /// The end at which a socket of this address stands whose ports are both a server's: the server's where somebody
    /// listens there.
    pub(super) fn end_of(&self, local: SocketAddr) -> ConnectionEnd {
        let ip = local.ip().to_canonical();
        let takes = |listener: &SocketAddr| match listener.ip().to_canonical() {
            _ if listener.port() != local.port() => false,
            // It takes IPv4 too, unless it was told not to, which nobody can see here.
            IpAddr::V6(at) if at.is_unspecified() => true,
            IpAddr::V4(at) if at.is_unspecified() => ip.is_ipv4(),
            at => at == ip,
        };
        if self.0.iter().any(takes) { ConnectionEnd::Server } else { ConnectionEnd::Client }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use socket2::{Domain, Socket, Type};

    use super::*;
    use crate::census::{State, States};

    #[test]
    fn the_end_is_the_server_s_where_somebody_listens() {
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        let end_of = |listener: &str, local: &str| Listening(vec![at(listener)]).end_of(at(local));
        assert_eq!(end_of("127.0.0.1:9", "127.0.0.1:9"), ConnectionEnd::Server);
        assert_eq!(end_of("127.0.0.1:9", "127.0.0.2:9"), ConnectionEnd::Client);
        assert_eq!(end_of("127.0.0.1:8", "127.0.0.1:9"), ConnectionEnd::Client);
        assert_eq!(end_of("0.0.0.0:9", "10.0.0.1:9"), ConnectionEnd::Server);
        assert_eq!(end_of("0.0.0.0:9", "[fd00::1]:9"), ConnectionEnd::Client);
        assert_eq!(end_of("[::]:9", "[::ffff:10.0.0.1]:9"), ConnectionEnd::Server);
        assert_eq!(Listening(Vec::new()).end_of(at("127.0.0.1:9")), ConnectionEnd::Client);
    }

    #[test]
    fn a_client_that_connects_from_the_server_s_port_is_counted_at_its_own_end() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = listener.local_addr().unwrap();
        let client = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        client.bind(&SocketAddr::from(([127, 0, 0, 2], to.port())).into()).unwrap();
        client.connect(&to.into()).unwrap();
        let _other = TcpStream::connect(to).unwrap();
        let _accepted = [listener.accept().unwrap(), listener.accept().unwrap()];

        let mut diag = SockDiag::open().unwrap();
        let ports = PortSet::of(&[to.port()]);
        let census = diag.census(States::ALL, &ports).unwrap();
        assert_eq!((census.server_side, census.client_side, census.total()), (2, 2, 2));
        let mut at_server = 0;
        diag.with_local_ports(States::of(&[State::Established]), &ports, |_| at_server += 1).unwrap();
        assert_eq!(at_server, 2);
    }
}
