//! The socket calls of the hot path: each function is one system call, nothing is allocated.
//!
//! All sockets are non-blocking and close-on-exec. Errors are the `errno` of the call, unchanged.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Duration;

use crate::sys::raw_socket;

/// `IP_LOCAL_PORT_RANGE`, Linux 6.3 (include/uapi/linux/in.h).
const IP_LOCAL_PORT_RANGE: libc::c_int = 51;

/// A socket address in the kernel's own layout.
#[derive(Clone, Copy)]
pub struct Address(raw_socket::RawAddress);

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self(raw_socket::RawAddress::new(address))
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Address").field("family", &self.0.family()).finish_non_exhaustive()
    }
}

/// Takes one connection from a listener's accept queue: `accept4(SOCK_NONBLOCK | SOCK_CLOEXEC)` without the
/// peer's address.
///
/// # Errors
/// As accept(2): EAGAIN when the queue is empty, EMFILE when this descriptor table is full, ENFILE when the
/// whole system is, ECONNABORTED, and the errors already pending on the new socket.
pub fn accept(listener: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    raw_socket::accept4(listener)
}

/// Makes a TCP socket of the family of `address`.
///
/// # Errors
/// As socket(2): EMFILE, ENFILE, ENOBUFS, ENOMEM, EAFNOSUPPORT.
pub fn stream_for(address: &Address) -> io::Result<OwnedFd> {
    raw_socket::stream_socket(address.0.family())
}

/// Binds a socket to a local address.
///
/// # Errors
/// As bind(2): EADDRNOTAVAIL when the address is not on this machine, EADDRINUSE when the port is taken.
pub fn bind(socket: BorrowedFd<'_>, local: &Address) -> io::Result<()> {
    raw_socket::bind(socket, &local.0)
}

/// Starts to connect. `EINPROGRESS` is the usual answer of a non-blocking socket and comes as an error.
///
/// # Errors
/// As connect(2): EADDRNOTAVAIL when no local port is free, ECONNREFUSED, ENETUNREACH, EINPROGRESS.
pub fn connect(socket: BorrowedFd<'_>, remote: &Address) -> io::Result<()> {
    raw_socket::connect(socket, &remote.0)
}

/// Reads what has arrived, at most the length of `buffer`, in bytes; 0 is the end of the stream.
///
/// # What a short read means
/// A read that does not fill the buffer has emptied the socket, and what arrives later brings an edge of its own
/// (epoll(7), question 9). Two things stand behind a short read without one, and who is told of them reads until
/// EAGAIN: the end of the stream (`EPOLLRDHUP`), and what was sent after urgent data (`EPOLLPRI`): a read stops at the
/// urgent mark (tcp(7), `tcp_recvmsg_locked` in net/ipv4/tcp.c). So a socket that is read by this rule is watched for
/// `EPOLLPRI` too. The urgent byte itself is not in the stream.
///
/// # Errors
/// As recv(2): EAGAIN, ECONNRESET, ETIMEDOUT.
pub fn recv(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    raw_socket::recv(socket, buffer)
}

/// Writes as many bytes as the send buffer takes, never raising SIGPIPE.
///
/// # Errors
/// As send(2): EAGAIN when the buffer is full, EPIPE and ECONNRESET when the peer is gone.
pub fn send(socket: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    raw_socket::send(socket, bytes)
}

/// Writes `first` and behind it `second`, as many bytes as the send buffer takes, by one sendmsg(2): nothing is copied
/// together before.
///
/// # Errors
/// As [`send`].
pub fn send_two(socket: BorrowedFd<'_>, first: &[u8], second: &[u8]) -> io::Result<usize> {
    raw_socket::send_two(socket, first, second)
}

/// Sets `IP_BIND_ADDRESS_NO_PORT` (Linux 4.2, ip(7)): a later bind to port 0 reserves no port; connect(2)
/// chooses one for the whole 4-tuple.
///
/// # Errors
/// ENOPROTOOPT on an older kernel.
pub fn set_bind_address_no_port(socket: BorrowedFd<'_>) -> io::Result<()> {
    raw_socket::setsockopt_int(socket, libc::SOL_IP, libc::IP_BIND_ADDRESS_NO_PORT, 1)
}

/// Sets `IP_LOCAL_PORT_RANGE` (Linux 6.3, ip(7)): connect(2) chooses from `low..=high`, clamped by
/// `net.ipv4.ip_local_port_range`.
///
/// # Errors
/// ENOPROTOOPT on an older kernel, EINVAL when `low > high`.
pub fn set_local_port_range(socket: BorrowedFd<'_>, low: u16, high: u16) -> io::Result<()> {
    let value = u32::from(high) << 16 | u32::from(low);
    raw_socket::setsockopt_int(socket, libc::SOL_IP, IP_LOCAL_PORT_RANGE, value.cast_signed())
}

/// Turns `TCP_QUICKACK` on (tcp(7)), as it is on a fresh connection: what arrives is acknowledged at once. A
/// connection that has answered something acknowledges with its next answer instead, or by a timer 40 ms later
/// (`TCP_DELACK_MIN`).
///
/// # Errors
/// As setsockopt(2).
pub fn acknowledge_at_once(socket: BorrowedFd<'_>) -> io::Result<()> {
    raw_socket::setsockopt_int(socket, libc::SOL_TCP, libc::TCP_QUICKACK, 1)
}

/// Sets `SO_REUSEADDR` (socket(7)).
///
/// # Errors
/// As setsockopt(2).
pub fn set_reuse_address(socket: BorrowedFd<'_>) -> io::Result<()> {
    raw_socket::setsockopt_int(socket, libc::SOL_SOCKET, libc::SO_REUSEADDR, 1)
}

/// Makes the later close send RST and leave no TIME_WAIT: `SO_LINGER` on with zero seconds (socket(7)).
///
/// # Errors
/// As setsockopt(2).
pub fn set_reset_on_close(socket: BorrowedFd<'_>) -> io::Result<()> {
    raw_socket::setsockopt_linger(socket, libc::linger { l_onoff: 1, l_linger: 0 })
}

/// What a TCP connection's peer has still to take, and how that goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// Bytes that the peer's kernel has not acknowledged, sent or not.
    pub bytes: u64,
    /// Time since data was last sent. A probe of a closed window is none.
    pub since_sent: Duration,
    /// Time since the peer's kernel last acknowledged anything.
    pub since_acknowledged: Duration,
}

impl Outgoing {
    /// Whether the peer has taken a part of it within this time, with more to come.
    #[must_use]
    pub fn moves_within(&self, time: Duration) -> bool {
        self.bytes > 0 && self.since_sent < time && self.since_acknowledged < time
    }
}

/// Bytes that the peer's kernel has not acknowledged: `SIOCOUTQ` (tcp(7)).
///
/// # Errors
/// As ioctl(2).
pub fn unacknowledged_bytes(socket: BorrowedFd<'_>) -> io::Result<u64> {
    raw_socket::unacknowledged(socket).map(|bytes| u64::try_from(bytes).unwrap_or(0))
}

/// What is on its way to the peer: `SIOCOUTQ` and `TCP_INFO` (tcp(7)).
///
/// # Errors
/// As getsockopt(2) and ioctl(2).
pub fn outgoing(socket: BorrowedFd<'_>) -> io::Result<Outgoing> {
    let info = raw_socket::tcp_info(socket)?;
    Ok(Outgoing {
        bytes: unacknowledged_bytes(socket)?,
        since_sent: Duration::from_millis(info.tcpi_last_data_sent.into()),
        since_acknowledged: Duration::from_millis(info.tcpi_last_ack_recv.into()),
    })
}

/// Writes as many bytes as the send buffer takes, and if that is all of them a FIN in the same segment as the last: no
/// peer can answer before it. What the peer sends can still be read.
///
/// # Errors
/// As [`send`]; as shutdown(2), where bytes were sent: ENOTCONN when the connection is gone.
pub fn send_last(socket: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    let shared = socket2::SockRef::from(&socket);
    // The kernel waits for more, and gets the end.
    let sent = shared.send_with_flags(bytes, libc::MSG_MORE | libc::MSG_NOSIGNAL)?;
    if sent == bytes.len() {
        shared.shutdown(std::net::Shutdown::Write)?;
    }
    Ok(sent)
}

/// The error waiting on a socket, taken off it: `SO_ERROR` (socket(7)).
///
/// # Errors
/// As getsockopt(2).
pub fn take_error(socket: BorrowedFd<'_>) -> io::Result<Option<io::Error>> {
    socket2::SockRef::from(&socket).take_error()
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd as _;

    use super::*;

    #[test]
    fn the_last_bytes_come_with_the_end_and_the_answer_can_be_read() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        assert_eq!(send_last(client.as_fd(), b"goodbye").unwrap(), 7);
        let mut said = String::new();
        server.read_to_string(&mut said).unwrap();
        assert_eq!(said, "goodbye");
        server.write_all(b"you too").unwrap();
        drop(server);
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "you too");
    }

    #[test]
    fn what_a_peer_takes_slowly_moves_and_what_it_does_not_take_does_not() {
        const MOMENT: Duration = Duration::from_millis(200);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let mut socket = listener.accept().unwrap().0;
        assert_eq!(outgoing(socket.as_fd()).unwrap().bytes, 0);

        socket.set_nonblocking(true).unwrap();
        let mut sent = 0;
        // Until the kernels have no more room, which takes a few rounds on the way.
        for _ in 0..20 {
            while let Ok(count) = socket.write(&[0; 64 << 10]) {
                sent += count;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        std::thread::sleep(2 * MOMENT);
        let stuck = outgoing(socket.as_fd()).unwrap();
        assert!(stuck.bytes > 0 && !stuck.moves_within(MOMENT), "{stuck:?}");

        let mut taken = vec![0; sent / 2];
        peer.read_exact(&mut taken).unwrap();
        let moved = outgoing(socket.as_fd()).unwrap();
        assert!(moved.since_sent < stuck.since_sent, "{moved:?} after {stuck:?}");
        peer.read_exact(&mut taken).unwrap();
        drop(taken);
        let emptied = (0..1000).any(|_| {
            std::thread::sleep(Duration::from_millis(1));
            outgoing(socket.as_fd()).unwrap().bytes == 0
        });
        assert!(emptied, "the peer has read all");
        assert!(!outgoing(socket.as_fd()).unwrap().moves_within(Duration::from_secs(60)));
    }
}
