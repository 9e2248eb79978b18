//! What TCP knows of single connections (`TCP_INFO`, by sock_diag), for a sample of them.
//!
//! # What a sample costs
//! The kernel walks its whole table, but fills an answer for those alone whose client's port lies in one of some narrow
//! windows, spread over all ports. At 150,000 connections with both ends here a sample of 221 took a quarter of what a
//! census took beside it (`cargo run --release -p c10k-kernel --example sample -- SERVER:PORT 150000`): it is for the
//! moment at which connections are silent, or after it, not for every tick.

use std::io;
use std::net::SocketAddr;

use netlink_packet_sock_diag::inet::ExtensionFlags;

use super::{Query, SockDiag, SocketLine, State, States, request};

/// `INET_DIAG_INFO`: the attribute with `struct tcp_info` (include/uapi/linux/inet_diag.h).
const INET_DIAG_INFO: u16 = 2;
/// `INET_DIAG_REQ_BYTECODE`: the attribute of a request with the filter.
const BYTECODE: u16 = 1;
/// Where the flags of the extensions stand in a request: behind the header, family and protocol.
const EXTENSIONS_AT: usize = 16 + 2;
/// Windows of ports over which a sample is spread.
const WINDOWS: u32 = 64;
const PORTS: u32 = 1 << 16;

/// A part of `struct tcp_info` (include/uapi/linux/tcp.h). A field that the kernel's structure is too short for is
/// `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpInfo {
    /// `tcpi_state`: the kernel's number.
    pub state: u8,
    /// `tcpi_retransmits`: how often the oldest segment was sent again by the timer, since the last ACK of anything new.
    pub retransmits: u8,
    /// `tcpi_backoff`: how often the timer was doubled.
    pub backoff: u8,
    /// `tcpi_unacked`: segments of ours that the other end has not acknowledged.
    pub unacked: u32,
    /// `tcpi_lost`: segments taken for lost.
    pub lost: u32,
    /// `tcpi_retrans`: segments that were sent again and are not acknowledged yet.
    pub retrans: u32,
    /// `tcpi_last_data_sent`: milliseconds since data was sent last, sent again included.
    pub last_data_sent_ms: u32,
    /// `tcpi_last_data_recv`: milliseconds since data came in last; since the connection was made, where none came.
    pub last_data_recv_ms: u32,
    /// `tcpi_last_ack_recv`: milliseconds since an ACK came in last.
    pub last_ack_recv_ms: u32,
    /// `tcpi_rtt`: smoothed time of a round trip, µs; 0 where none was measured.
    pub rtt_us: u32,
    /// `tcpi_bytes_acked`: bytes that the other end has acknowledged (Linux 4.1).
    pub bytes_acked: Option<u64>,
    /// `tcpi_bytes_received`: bytes of the other end that were taken in (Linux 4.1).
    pub bytes_received: Option<u64>,
}

impl TcpInfo {
    /// Reads it, as far as the kernel filled it; `None` where it is shorter than any kernel's since 2.6.
    fn read(bytes: &[u8]) -> Option<Self> {
        let word = |at: usize| Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?));
        let long = |at: usize| Some(u64::from_ne_bytes(*bytes.get(at..)?.first_chunk()?));
        Some(Self {
            state: *bytes.first()?,
            retransmits: *bytes.get(2)?,
            backoff: *bytes.get(4)?,
            unacked: word(24)?,
            lost: word(32)?,
            retrans: word(36)?,
            last_data_sent_ms: word(44)?,
            last_data_recv_ms: word(52)?,
            last_ack_recv_ms: word(56)?,
            rtt_us: word(68)?,
            bytes_acked: long(120),
            bytes_received: long(128),
        })
    }
}

/// One connection of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sampled {
    /// Address and port at this end.
    pub local: SocketAddr,
    /// Address and port at the other end.
    pub remote: SocketAddr,
    /// What TCP knows of it.
    pub info: TcpInfo,
}

impl SockDiag {
    /// The ESTABLISHED clients' ends of connections to this server's address family and port, or at most `most` of them,
    /// spread over all source ports, where `open` are open.
    ///
    /// # Errors
    /// As [`SockDiag::census`].
    pub fn sample_clients(&mut self, server: SocketAddr, open: u64, most: usize) -> io::Result<Vec<Sampled>> {
        // One and a half times as many as are wanted: windows of ports are not filled alike.
        let wanted = (most as u64).saturating_mul(3) / 2;
        let share = (wanted as f64 / open.max(1) as f64).min(1.0);
        let mut width = ((f64::from(PORTS / WINDOWS) * share).round() as u32).max(1);
        loop {
            let found = self.clients_in(server, width)?;
            // Few addresses with few ports may lie between the windows.
            if !found.is_empty() || width >= PORTS / WINDOWS {
                return Ok(spread(found, most));
            }
            width = width.saturating_mul(8).min(PORTS / WINDOWS);
        }
    }

    /// Those whose own ports lie in the windows of that width.
    fn clients_in(&mut self, server: SocketAddr, width: u32) -> io::Result<Vec<Sampled>> {
        let mut found = Vec::new();
        let family = if server.is_ipv6() { libc::AF_INET6 } else { libc::AF_INET };
        let states = States::of(&[State::Established]);
        self.sequence = self.sequence.wrapping_add(1);
        let query = Query { family, states, remote_port: server.port(), ..Query::default() };
        let mut bytes = request(self.sequence, query);
        bytes[EXTENSIONS_AT] |= ExtensionFlags::INFO.bits();
        if width < PORTS / WINDOWS {
            append(&mut bytes, BYTECODE, &windows(width));
        }
        self.converse(&bytes, |socket| found.extend(sampled(socket)))?;
        Ok(found)
    }
}

fn sampled(socket: &SocketLine<'_>) -> Option<Sampled> {
    let info = TcpInfo::read(socket.attribute(INET_DIAG_INFO)?)?;
    Some(Sampled { local: socket.local_address(), remote: socket.remote_address(), info })
}

/// At most `most` of them, evenly spread.
fn spread(found: Vec<Sampled>, most: usize) -> Vec<Sampled> {
    let step = found.len().div_ceil(most.max(1)).max(1);
    found.into_iter().step_by(step).collect()
}

/// Adds an attribute to a message that is complete, and its bytes to the message's length.
fn append(message: &mut Vec<u8>, kind: u16, value: &[u8]) {
    message.extend((4 + value.len() as u16).to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend(value);
    let length = message.len() as u32;
    message[..4].copy_from_slice(&length.to_ne_bytes());
}

/// The filter that lets sockets pass whose own port lies in one of the windows: `struct inet_diag_bc_op`, carried out by
/// net/ipv4/inet_diag.c, `inet_diag_bc_run`. Who arrives exactly at its end passes.
fn windows(width: u32) -> Vec<u8> {
    const JUMP: u8 = 1;
    const AT_LEAST: u8 = 2;
    const AT_MOST: u8 = 3;
    /// Two comparisons of two words each, and the jump.
    const BLOCK: u32 = 20;
    let mut bytes = Vec::new();
    let mut word = |code: u8, yes: u8, no: u32| {
        bytes.extend([code, yes]);
        bytes.extend((no as u16).to_ne_bytes());
    };
    for window in 0..WINDOWS {
        let first = window * (PORTS / WINDOWS);
        let left = (WINDOWS - window) * BLOCK;
        // From the last one on to behind the end: it does not pass.
        let next = |passed: u32| if window + 1 == WINDOWS { left - passed + 4 } else { BLOCK - passed };
        word(AT_LEAST, 8, next(0));
        word(0, 0, first);
        word(AT_MOST, 8, next(8));
        word(0, 0, first + width - 1);
        word(JUMP, 4, left - 16);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_structure_of_any_length_is_read_as_far_as_it_goes() {
        let mut bytes = vec![0_u8; 136];
        bytes[0] = 1;
        bytes[2] = 5;
        bytes[24..28].copy_from_slice(&3_u32.to_ne_bytes());
        bytes[52..56].copy_from_slice(&8_000_u32.to_ne_bytes());
        bytes[120..128].copy_from_slice(&77_u64.to_ne_bytes());
        let info = TcpInfo::read(&bytes).unwrap();
        assert_eq!((info.state, info.retransmits, info.unacked), (1, 5, 3));
        assert_eq!(
            (info.last_data_recv_ms, info.bytes_acked, info.bytes_received),
            (8_000, Some(77), Some(0))
        );
        // Linux 2.6 ends behind tcpi_total_retrans.
        let short = TcpInfo::read(&bytes[..104]).unwrap();
        assert_eq!((short.unacked, short.bytes_acked, short.bytes_received), (3, None, None));
        assert_eq!(TcpInfo::read(&bytes[..40]), None);
        assert_eq!(TcpInfo::read(&[]), None);
    }

    /// Connections of one listener, each with a byte there and back.
    fn pairs(at: &str, count: usize) -> Option<(SocketAddr, Vec<(TcpStream, TcpStream)>)> {
        let Ok(listener) = TcpListener::bind(at) else {
            #[allow(clippy::print_stderr, reason = "what was skipped is said aloud")]
            {
                eprintln!("SKIPPED: nobody can listen on {at}");
            }
            return None;
        };
        let address = listener.local_addr().unwrap();
        let pairs = (0..count).map(|_| {
            let mut client = TcpStream::connect(address).unwrap();
            let mut server = listener.accept().unwrap().0;
            client.write_all(&[7]).unwrap();
            server.read_exact(&mut [0]).unwrap();
            server.write_all(&[8]).unwrap();
            client.read_exact(&mut [0]).unwrap();
            (client, server)
        });
        Some((address, pairs.collect()))
    }

    #[test]
    fn what_tcp_knows_of_a_connection_is_read_in_both_families() {
        for at in ["127.0.0.1:0", "[::1]:0"] {
            let Some((server, pairs)) = pairs(at, 3) else { continue };
            std::thread::sleep(Duration::from_millis(30));
            let found = SockDiag::open().unwrap().sample_clients(server, 3, 256).unwrap();
            let mut ends: Vec<_> = found.iter().map(|one| one.local).collect();
            let mut known: Vec<_> = pairs.iter().map(|(client, _)| client.local_addr().unwrap()).collect();
            ends.sort_unstable();
            known.sort_unstable();
            assert_eq!(ends, known, "the clients' ends and no other");
            for one in &found {
                let info = one.info;
                assert_eq!(one.remote, server);
                assert_eq!((info.state, info.unacked, info.retransmits, info.backoff), (1, 0, 0, 0));
                assert_eq!((info.bytes_received, info.lost), (Some(1), 0));
                // The SYN counts as a byte that was acknowledged.
                assert!(info.bytes_acked.is_some_and(|acked| (1..=2).contains(&acked)), "{info:?}");
                assert!(info.last_data_recv_ms >= 20 && info.last_data_sent_ms >= 20, "{info:?}");
                assert!(info.rtt_us > 0 && info.last_ack_recv_ms < 600_000, "{info:?}");
            }
        }
    }

    #[test]
    fn of_many_connections_a_bounded_part_is_told_and_the_kernel_leaves_the_others_out() {
        // Twice 600 descriptors are more than a shell's soft limit of 1,024; other tests open some meanwhile.
        crate::limits::raise_nofile_soft_to_hard().unwrap();
        let Some((server, pairs)) = pairs("127.0.0.1:0", 600) else { return };
        let mut diag = SockDiag::open().unwrap();
        let all = diag.sample_clients(server, 600, 1_000).unwrap();
        assert_eq!(all.len(), pairs.len());
        let some = diag.sample_clients(server, 600, 32).unwrap();
        assert!((1..=32).contains(&some.len()), "{}", some.len());
        // By the filter alone, without what is left out here.
        let filtered = diag.clients_in(server, 512).unwrap();
        assert!(filtered.len() < pairs.len(), "{}", filtered.len());
        let inside = |one: &Sampled| u32::from(one.local.port()) % 1024 < 512;
        assert!(filtered.iter().all(inside));
        let expected =
            pairs.iter().filter(|(client, _)| u32::from(client.local_addr().unwrap().port()) % 1024 < 512);
        assert_eq!(filtered.len(), expected.count());
        // A few ports that lie between the windows are found all the same.
        assert!(!diag.sample_clients(server, 60_000_000, 8).unwrap().is_empty());
    }
}
