//! The bytes of a sock_diag answer, read in place: nothing is allocated for a socket.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// `struct nlmsghdr` (include/uapi/linux/netlink.h).
const HEADER_BYTES: usize = 16;
/// `struct inet_diag_msg` without attributes (include/uapi/linux/inet_diag.h).
const SOCKET_BYTES: usize = 72;

const NLMSG_NOOP: u16 = 1;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLM_F_DUMP_INTR: u16 = 0x10;

/// What one buffer of answers said about the dump itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The dump is complete.
    pub done: bool,
    /// The kernel's table changed between two answers.
    pub interrupted: bool,
}

/// `INET_DIAG_SKMEMINFO`: the attribute with the memory of a socket, and in it the place of `SK_MEMINFO_DROPS`
/// (include/uapi/linux/inet_diag.h, sock_diag.h).
const SKMEMINFO: u16 = 7;
const SKMEMINFO_DROPS: usize = 8;

/// One socket of a dump: a view of its `struct inet_diag_msg` and of the attributes behind it.
#[derive(Clone, Copy)]
pub struct SocketLine<'a>(&'a [u8; SOCKET_BYTES], &'a [u8]);

impl SocketLine<'_> {
    /// The kernel's number of its state.
    #[must_use]
    pub fn state(&self) -> u8 {
        self.0[1]
    }

    /// The port at this end.
    #[must_use]
    pub fn local_port(&self) -> u16 {
        u16::from_be_bytes([self.0[4], self.0[5]])
    }

    /// The port at the other end; 0 for a listener.
    #[must_use]
    pub fn remote_port(&self) -> u16 {
        u16::from_be_bytes([self.0[6], self.0[7]])
    }

    /// The address and port at this end.
    #[must_use]
    pub fn local_address(&self) -> SocketAddr {
        SocketAddr::new(self.address_at(8), self.local_port())
    }

    /// The address and port at the other end; of a socket that is not connected both are nothing.
    #[must_use]
    pub fn remote_address(&self) -> SocketAddr {
        SocketAddr::new(self.address_at(24), self.remote_port())
    }

    /// `idiag_expires`: in how many milliseconds its timer runs out; of a socket in TIME_WAIT, until it is gone.
    #[must_use]
    pub fn expires_ms(&self) -> u32 {
        u32::from_ne_bytes(self.part(52))
    }

    /// `idiag_rqueue`: bytes not yet read, or at a listener the connections that wait to be accepted.
    #[must_use]
    pub fn receive_queue(&self) -> u32 {
        u32::from_ne_bytes(self.part(56))
    }

    /// `idiag_wqueue`: bytes not yet acknowledged, or at a listener its backlog.
    #[must_use]
    pub fn send_queue(&self) -> u32 {
        u32::from_ne_bytes(self.part(60))
    }

    /// The user who made the socket.
    #[must_use]
    pub fn uid(&self) -> u32 {
        u32::from_ne_bytes(self.part(64))
    }

    /// The inode of the socket; 0 for one that no process has: not accepted yet, or closed.
    #[must_use]
    pub fn inode(&self) -> u32 {
        u32::from_ne_bytes(self.part(68))
    }

    /// Packets that the socket itself dropped (`sk_drops`), where they were asked for. At a listener these are the SYNs
    /// and last ACKs for which a queue had no room (net/ipv4/tcp_ipv4.c, `tcp_listendrop`), and what a filter on the
    /// socket did not let through.
    #[must_use]
    pub fn drops(&self) -> Option<u32> {
        let bytes = self.attribute(SKMEMINFO)?.get(4 * SKMEMINFO_DROPS..)?.first_chunk::<4>()?;
        Some(u32::from_ne_bytes(*bytes))
    }

    /// The value of the attribute of this kind behind the socket.
    pub(super) fn attribute(&self, kind: u16) -> Option<&[u8]> {
        let mut rest = self.1;
        // `struct rtattr`: length with these four bytes, type; the next one begins at a multiple of four.
        while let Some((header, _)) = rest.split_first_chunk::<4>() {
            let length = usize::from(u16::from_ne_bytes([header[0], header[1]]));
            let value = rest.get(4..length)?;
            if u16::from_ne_bytes([header[2], header[3]]) == kind {
                return Some(value);
            }
            rest = rest.get(length.next_multiple_of(4)..)?;
        }
        None
    }

    fn address_at(&self, at: usize) -> IpAddr {
        let octets: [u8; 16] = self.part(at);
        if i32::from(self.0[0]) == libc::AF_INET6 {
            IpAddr::V6(Ipv6Addr::from(octets))
        } else {
            IpAddr::V4(Ipv4Addr::new(octets[0], octets[1], octets[2], octets[3]))
        }
    }

    fn part<const N: usize>(&self, at: usize) -> [u8; N] {
        std::array::from_fn(|byte| self.0[at + byte])
    }
}

/// Calls `each` with every socket in one buffer of netlink answers to request `sequence`. Answers to other requests
/// are passed over.
///
/// # Errors
/// The errno in an error message or at the end of a dump; EBADMSG for bytes that are no netlink messages.
pub fn each_socket(
    bytes: &[u8],
    sequence: u32,
    each: &mut impl FnMut(&SocketLine<'_>),
) -> io::Result<Progress> {
    let mut progress = Progress::default();
    let mut rest = bytes;
    while !rest.is_empty() {
        let Some((header, _)) = rest.split_first_chunk::<HEADER_BYTES>() else { return Err(bad_message()) };
        let length = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]) as usize;
        let kind = u16::from_ne_bytes([header[4], header[5]]);
        let flags = u16::from_ne_bytes([header[6], header[7]]);
        let answers = u32::from_ne_bytes([header[8], header[9], header[10], header[11]]);
        if length < HEADER_BYTES || length > rest.len() {
            return Err(bad_message());
        }
        let body = &rest[HEADER_BYTES..length];
        // Messages begin at multiples of four bytes.
        rest = &rest[length.next_multiple_of(4).min(rest.len())..];
        if answers != sequence {
            continue;
        }
        progress.interrupted |= flags & NLM_F_DUMP_INTR != 0;
        match kind {
            SOCK_DIAG_BY_FAMILY => {
                let (socket, attributes) =
                    body.split_first_chunk::<SOCKET_BYTES>().ok_or_else(bad_message)?;
                each(&SocketLine(socket, attributes));
            }
            NLMSG_DONE => {
                // A dump that failed on its way tells so in its last message.
                fail_with(body)?;
                progress.done = true;
            }
            NLMSG_ERROR => {
                fail_with(body)?;
                progress.done = true;
            }
            NLMSG_NOOP => {}
            _ => return Err(bad_message()),
        }
    }
    Ok(progress)
}

/// The negative errno at the start of an error or done message, when it is one.
fn fail_with(body: &[u8]) -> io::Result<()> {
    match body.first_chunk::<4>().map(|bytes| i32::from_ne_bytes(*bytes)) {
        Some(errno) if errno < 0 => Err(io::Error::from_raw_os_error(-errno)),
        _ => Ok(()),
    }
}

fn bad_message() -> io::Error {
    io::Error::from_raw_os_error(libc::EBADMSG)
}
