//! Where a server listens: addresses as they are written, and the listeners on them.

use std::collections::HashSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::str::FromStr;

use c10k_profile::SocketOptions;
use socket2::{Domain, Protocol, Socket, Type};
use thiserror::Error;

use crate::start::StartError;

/// A text that says no place to listen at.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ListenError {
    /// Not ADDRESS:PORTS.
    #[error(
        "'{0}' is no place to listen at: expected ADDRESS:PORT such as 127.0.0.1:9000, :9000-9009, [::1]:9000, or 9000 of 127.0.0.1"
    )]
    Form(String),
    /// The address is a name, or malformed.
    #[error("'{0}' is not an IP address (names are not looked up, except localhost)")]
    Address(String),
    /// The ports are no numbers of 16 bits.
    #[error(
        "'{0}' is not a port or a range of ports: expected 1-65535, FIRST-LAST, or 0 to let the kernel choose"
    )]
    Ports(String),
    /// A range that runs backwards.
    #[error("the port range {first}-{last} runs backwards: did you mean {last}-{first}?")]
    Reversed {
        /// The first port as given.
        first: u16,
        /// The last port as given.
        last: u16,
    },
    /// A range that contains port 0.
    #[error("the port range {0} starts at port 0, which is no port; 0 alone lets the kernel choose one")]
    ZeroRange(String),
    /// The same address and port twice.
    #[error("{0} is named twice")]
    Twice(SocketAddr),
}

/// Where to listen, as `--listen` takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenSpec(Vec<SocketAddr>);

impl ListenSpec {
    /// That port of this machine alone.
    pub(crate) fn here(port: u16) -> Self {
        Self(vec![(Ipv4Addr::LOCALHOST, port).into()])
    }

    /// Every address with its port; a port 0 is yet to be chosen by the kernel. Never empty.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.0
    }
}

impl FromStr for ListenSpec {
    type Err = ListenError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut addresses = Vec::new();
        let mut seen = HashSet::new();
        for part in text.split(',').map(str::trim) {
            let (ip, ports) = split_place(part)?;
            for port in parse_ports(ports)? {
                let address = SocketAddr::new(ip, port);
                if port != 0 && !seen.insert(address) {
                    return Err(ListenError::Twice(address));
                }
                addresses.push(address);
            }
        }
        Ok(Self(addresses))
    }
}

/// One listening socket, shared by the tables of one lane and open as long as the server is.
#[derive(Debug)]
pub(crate) struct Listener(Socket);

impl Listener {
    /// Refuses new connections from now on, for every table that has a copy of this socket.
    pub(crate) fn stop(&self) {
        // The error would be that it listens no more.
        let _ = self.0.shutdown(std::net::Shutdown::Both);
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// What a listener is made with. Accepted sockets inherit all of it (`inet_csk_clone_lock`,
/// net/ipv4/inet_connection_sock.c), so a connection costs no setsockopt(2).
#[derive(Clone, Debug, Default)]
pub(crate) struct ListenerOptions {
    pub(crate) backlog: u32,
    pub(crate) socket: SocketOptions,
}

/// The listeners of every lane, and the addresses they really have.
#[derive(Debug)]
pub(crate) struct Listeners {
    pub(crate) addresses: Vec<SocketAddr>,
    /// One list a lane, in the order of the addresses.
    pub(crate) of_lane: Vec<Vec<Listener>>,
}

/// Opens one listener for each address and lane, all lanes of one address sharing its port.
///
/// # Errors
/// The first address that cannot be had; nothing stays open then.
pub(crate) fn open(
    spec: &ListenSpec,
    lanes: usize,
    options: &ListenerOptions,
) -> Result<Listeners, StartError> {
    let mut addresses = Vec::with_capacity(spec.addresses().len());
    let mut of_lane: Vec<Vec<Listener>> = (0..lanes).map(|_| Vec::new()).collect();
    for &wanted in spec.addresses() {
        let failed = |source| StartError::listen(wanted, source);
        let first = bind_alone(wanted, options).map_err(failed)?;
        let address = first.local_addr().map_err(failed)?.as_socket().unwrap_or(wanted);
        let mut first = Some(first);
        for lane in &mut of_lane {
            let socket = match first.take() {
                Some(socket) => socket,
                None => bind_beside(address, options).map_err(failed)?,
            };
            socket.listen(i32::try_from(options.backlog).unwrap_or(i32::MAX)).map_err(failed)?;
            lane.push(Listener(socket));
        }
        addresses.push(address);
    }
    Ok(Listeners { addresses, of_lane })
}

/// Binds *without* SO_REUSEPORT, which fails when anybody holds the port, and lets others in afterwards. With
/// the option from the start two servers of one user would share a port and neither would know (socket(7)).
fn bind_alone(address: SocketAddr, options: &ListenerOptions) -> io::Result<Socket> {
    let socket = new_socket(address, options)?;
    socket.bind(&address.into())?;
    socket.set_reuse_port(true)?;
    Ok(socket)
}

fn bind_beside(address: SocketAddr, options: &ListenerOptions) -> io::Result<Socket> {
    let socket = new_socket(address, options)?;
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

fn new_socket(address: SocketAddr, options: &ListenerOptions) -> io::Result<Socket> {
    // socket2 sets close-on-exec.
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // `[::]:9000` means what it says, so that `0.0.0.0:9000` may stand beside it.
        socket.set_only_v6(true)?;
    }
    // Before listen(2): the receive buffer decides the window scale (tcp(7)).
    options.socket.set_on(socket.as_fd())?;
    Ok(socket)
}

fn split_place(part: &str) -> Result<(IpAddr, &str), ListenError> {
    let form = || ListenError::Form(part.to_owned());
    // A port alone is one of this machine's loopback, as the default is: nothing is opened to others by leaving it out.
    if !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-') {
        return Ok((Ipv4Addr::LOCALHOST.into(), part));
    }
    let (host, ports) = if let Some(rest) = part.strip_prefix('[') {
        let (host, ports) = rest.split_once("]:").ok_or_else(form)?;
        let ip = host.parse().map_err(|_| ListenError::Address(host.to_owned()))?;
        return Ok((IpAddr::V6(ip), ports));
    } else {
        part.rsplit_once(':').ok_or_else(form)?
    };
    let ip = match host {
        "" | "*" => Ipv4Addr::UNSPECIFIED,
        "localhost" => Ipv4Addr::LOCALHOST,
        // An IPv6 address without brackets: which colon parts address and port is anybody's guess.
        _ if host.contains(':') => return Err(form()),
        _ => host.parse().map_err(|_| ListenError::Address(host.to_owned()))?,
    };
    Ok((IpAddr::V4(ip), ports))
}

fn parse_ports(text: &str) -> Result<std::ops::RangeInclusive<u16>, ListenError> {
    let number = |word: &str| {
        let digits_only = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
        digits_only.then(|| word.parse().ok()).flatten().ok_or_else(|| ListenError::Ports(text.to_owned()))
    };
    let Some((first, last)) = text.split_once('-') else {
        let port = number(text)?;
        return Ok(port..=port);
    };
    match (number(first)?, number(last)?) {
        (0, _) => Err(ListenError::ZeroRange(text.to_owned())),
        (first, last) if first > last => Err(ListenError::Reversed { first, last }),
        (first, last) => Ok(first..=last),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(text: &str) -> Vec<String> {
        text.parse::<ListenSpec>().unwrap().addresses().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn addresses_are_read_as_people_write_them() {
        assert_eq!(places("127.0.0.1:9000"), ["127.0.0.1:9000"]);
        assert_eq!(places(":9000-9002"), ["0.0.0.0:9000", "0.0.0.0:9001", "0.0.0.0:9002"]);
        assert_eq!(places("[::1]:9000, localhost:80"), ["[::1]:9000", "127.0.0.1:80"]);
        assert_eq!(places("9000-9001"), ["127.0.0.1:9000", "127.0.0.1:9001"]);
        assert_eq!(places("*:0,*:0"), ["0.0.0.0:0", "0.0.0.0:0"]);
        assert_eq!(places(":65535").len(), 1);
        assert_eq!(places(":1-65535,[::1]:1-65535").len(), 2 * 65535);
    }

    #[test]
    fn what_is_no_address_says_why() {
        let error = |text: &str| text.parse::<ListenSpec>().unwrap_err();
        assert_eq!(error(":9009-9000"), ListenError::Reversed { first: 9009, last: 9000 });
        assert_eq!(error(":0-0"), ListenError::ZeroRange("0-0".to_owned()));
        assert_eq!(error(":0-9"), ListenError::ZeroRange("0-9".to_owned()));
        assert_eq!(error("example.org:80"), ListenError::Address("example.org".to_owned()));
        assert_eq!(error("[127.0.0.1]:80"), ListenError::Address("127.0.0.1".to_owned()));
        assert_eq!(error(":1,:1"), ListenError::Twice("0.0.0.0:1".parse().unwrap()));
        for text in ["", "::1:9000", "127.0.0.1", "[::1]", ":9000,"] {
            assert!(matches!(error(text), ListenError::Form(_)), "{text}: {}", error(text));
        }
        for text in [":", ":x", ":65536", ":+1", ":1-2-3", ":1-"] {
            assert!(matches!(error(text), ListenError::Ports(_)), "{text}: {}", error(text));
        }
    }

    #[test]
    fn the_lanes_share_one_port_that_the_kernel_chose_and_nobody_else_gets_it() {
        let options = ListenerOptions { backlog: 16, ..ListenerOptions::default() };
        let spec: ListenSpec = "127.0.0.1:0,[::1]:0".parse().unwrap();
        let listeners = match open(&spec, 3, &options) {
            Ok(listeners) => listeners,
            Err(error) => panic!("{error}"),
        };
        assert_eq!(listeners.of_lane.iter().map(Vec::len).collect::<Vec<_>>(), [2, 2, 2]);
        let taken: ListenSpec = listeners.addresses[0].to_string().parse().unwrap();
        let error = open(&taken, 1, &options).unwrap_err();
        assert!(matches!(error, StartError::PortTaken { .. }), "{error}");
    }

    #[test]
    fn what_a_profile_says_of_sockets_reaches_the_connections_through_their_listener() {
        let text = "name = 'x'\nsummary = 'x'\n[socket]\nnodelay = true\nlinger_secs = 'reset'\n\
                    keepalive = { idle_secs = 9, interval_secs = 2, probes = 3 }\nuser_timeout_ms = 1500";
        let socket = c10k_profile::Profile::from_text(text).unwrap().socket;
        let accepted_with = |socket: SocketOptions| {
            let options = ListenerOptions { backlog: 7, socket };
            let listeners = open(&"127.0.0.1:0".parse().unwrap(), 1, &options).unwrap();
            let client = std::net::TcpStream::connect(listeners.addresses[0]).unwrap();
            listeners.of_lane[0][0].0.set_nonblocking(false).unwrap();
            let accepted = listeners.of_lane[0][0].0.accept().unwrap().0;
            drop(client);
            accepted
        };
        let accepted = accepted_with(socket);
        assert!(accepted.tcp_nodelay().unwrap() && accepted.keepalive().unwrap());
        assert_eq!(accepted.tcp_keepalive_time().unwrap().as_secs(), 9);
        assert_eq!(accepted.linger().unwrap(), Some(std::time::Duration::ZERO));
        assert_eq!(accepted.tcp_user_timeout().unwrap(), Some(std::time::Duration::from_millis(1500)));
        let plain = accepted_with(SocketOptions::default());
        assert!(!plain.tcp_nodelay().unwrap() && !plain.keepalive().unwrap());
        assert_eq!(plain.linger().unwrap(), None);
    }

    #[test]
    fn the_queue_of_a_shared_port_is_spread_over_its_lanes() {
        let options = ListenerOptions { backlog: 256, ..ListenerOptions::default() };
        let listeners = open(&"127.0.0.1:0".parse().unwrap(), 2, &options).unwrap();
        let clients: Vec<_> =
            (0..128).map(|_| std::net::TcpStream::connect(listeners.addresses[0]).unwrap()).collect();
        let taken: Vec<usize> = listeners
            .of_lane
            .iter()
            .map(|lane| std::iter::from_fn(|| c10k_kernel::socket::accept(lane[0].as_fd()).ok()).count())
            .collect();
        // 2^-127 that one lane gets them all.
        assert!(taken.iter().all(|&count| count > 0) && taken.iter().sum::<usize>() == 128, "{taken:?}");
        drop(clients);
    }
}
