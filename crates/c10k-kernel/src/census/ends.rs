//! Both ends of connections, told apart from those of others: which sockets at the server's end belong to which at the
//! client's.

use std::collections::HashSet;
use std::io;
use std::net::{IpAddr, SocketAddr};

use super::{Query, SockDiag, SocketLine, State, States};

/// A connection by the addresses and ports of its two ends. An IPv4 address is the same in a socket of both families.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ends([u8; 36]);

impl Ends {
    /// The connection of this client to this server.
    #[must_use]
    pub fn of(client: SocketAddr, server: SocketAddr) -> Self {
        let mut bytes = [0; 36];
        for (at, address) in [(0, client), (18, server)] {
            let ip = match address.ip() {
                IpAddr::V4(ip) => ip.to_ipv6_mapped(),
                IpAddr::V6(ip) => ip,
            };
            bytes[at..at + 16].copy_from_slice(&ip.octets());
            bytes[at + 16..at + 18].copy_from_slice(&address.port().to_be_bytes());
        }
        Self(bytes)
    }
}

/// Addresses of servers, to which sockets are compared.
#[derive(Clone, Debug, Default)]
pub struct Servers {
    addresses: HashSet<(IpAddr, u16)>,
    ports: Vec<u16>,
}

impl Servers {
    /// These servers, by the addresses that clients connect to.
    #[must_use]
    pub fn at(addresses: &[SocketAddr]) -> Self {
        let mut ports: Vec<u16> = addresses.iter().map(SocketAddr::port).collect();
        ports.sort_unstable();
        ports.dedup();
        Self { addresses: addresses.iter().map(|to| (to.ip().to_canonical(), to.port())).collect(), ports }
    }

    fn have(&self, address: SocketAddr) -> bool {
        self.addresses.contains(&(address.ip().to_canonical(), address.port()))
    }
}

/// A socket at the server's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerSocket {
    /// The connection it is an end of.
    pub ends: Ends,
    /// The kernel's number of its state.
    pub state: u8,
    /// 0 as long as no process has accepted it.
    pub inode: u32,
}

impl SockDiag {
    /// The clients' ends of connections to `servers` that are ESTABLISHED here, each with the inode of its socket.
    ///
    /// # Errors
    /// As [`SockDiag::census`].
    pub fn client_ends(&mut self, servers: &Servers) -> io::Result<Vec<(Ends, u32)>> {
        let mut found = Vec::new();
        self.each_of(
            servers,
            Query { states: States::of(&[State::Established]), ..Query::default() },
            |socket| {
                let remote = socket.remote_address();
                if servers.have(remote) {
                    found.push((Ends::of(socket.local_address(), remote), socket.inode()));
                }
            },
        )?;
        Ok(found)
    }

    /// Calls `each` with every socket at the end of `servers`, in any state but those of a listener.
    ///
    /// # Errors
    /// As [`SockDiag::census`].
    pub fn server_ends(&mut self, servers: &Servers, mut each: impl FnMut(&ServerSocket)) -> io::Result<()> {
        let query = Query { states: States::ALL, at_server: true, ..Query::default() };
        self.each_of(servers, query, |socket| {
            let local = socket.local_address();
            if socket.state() != State::Listen as u8 && servers.have(local) {
                let ends = Ends::of(socket.remote_address(), local);
                each(&ServerSocket { ends, state: socket.state(), inode: socket.inode() });
            }
        })
    }

    fn each_of(
        &mut self,
        servers: &Servers,
        query: Query,
        mut each: impl FnMut(&SocketLine<'_>),
    ) -> io::Result<()> {
        self.by_port(&servers.ports, query, &mut each).map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv6Addr, TcpListener, TcpStream};

    use socket2::{Domain, Socket, Type};

    use super::*;

    #[test]
    fn the_ends_of_a_connection_are_one_however_its_sockets_write_them() {
        let of = |client: &str, server: &str| Ends::of(client.parse().unwrap(), server.parse().unwrap());
        assert_eq!(of("127.0.0.1:5", "127.0.0.1:9"), of("[::ffff:127.0.0.1]:5", "[::ffff:127.0.0.1]:9"));
        assert_ne!(of("127.0.0.1:5", "127.0.0.1:9"), of("127.0.0.1:9", "127.0.0.1:5"));
    }

    #[test]
    fn each_client_finds_its_socket_at_a_server_of_both_families() {
        let listener = Socket::new(Domain::IPV6, Type::STREAM, None).unwrap();
        listener.set_only_v6(false).unwrap();
        if listener.bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)).into()).is_err() {
            #[allow(clippy::print_stderr, reason = "what was skipped is said aloud")]
            {
                eprintln!("SKIPPED: this machine has no IPv6");
            }
            return;
        }
        listener.listen(16).unwrap();
        let listener: TcpListener = listener.into();
        let port = listener.local_addr().unwrap().port();
        let at = SocketAddr::from(([127, 0, 0, 1], port));
        let elsewhere = SocketAddr::from(([127, 0, 0, 2], port));
        let clients: Vec<TcpStream> = (0..3).map(|_| TcpStream::connect(at).unwrap()).collect();
        let _stranger = TcpStream::connect(elsewhere).unwrap();
        let _accepted = listener.accept().unwrap();

        let mut diag = SockDiag::open().unwrap();
        let servers = Servers::at(&[at]);
        let mut client_ends: Vec<Ends> =
            diag.client_ends(&servers).unwrap().iter().map(|(ends, _)| *ends).collect();
        let mut server_ends = Vec::new();
        diag.server_ends(&servers, |socket| server_ends.push(*socket)).unwrap();
        assert!(server_ends.iter().all(|socket| socket.state == State::Established as u8));
        assert_eq!(server_ends.iter().filter(|socket| socket.inode == 0).count(), 2, "one was accepted");
        let mut known: Vec<Ends> =
            clients.iter().map(|client| Ends::of(client.local_addr().unwrap(), at)).collect();
        let mut of_server: Vec<Ends> = server_ends.iter().map(|socket| socket.ends).collect();
        for ends in [&mut client_ends, &mut known, &mut of_server] {
            ends.sort_unstable();
        }
        assert_eq!((&client_ends, &of_server), (&known, &known));
    }
}
