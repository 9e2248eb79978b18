//! Messages to netfilter and their acknowledgements (include/uapi/linux/netfilter/nfnetlink.h, netlink(7)). By hand: a few
//! messages of which only the answer counts.

use std::io;

use netlink_packet_core::{NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST};
use netlink_sys::protocols::NETLINK_NETFILTER;
use netlink_sys::{Socket, SocketAddr};

/// Netlink's own message that says an errno, 0 for an acknowledgement.
const NLMSG_ERROR: u16 = 2;
/// Netlink's own message that ends a dump.
const NLMSG_DONE: u16 = 3;
/// `nfgenmsg`: family, version, and whom a batch is for in network order.
const GENERIC_BYTES: usize = 4;
/// `nlmsghdr`.
const HEADER_BYTES: usize = 16;
/// The bit of an attribute's type that says that others are in it.
const NLA_F_NESTED: u16 = 1 << 15;
/// Messages between these two are carried out together, or not at all.
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
/// `NFNL_SUBSYS_NFTABLES`, whom a batch is for.
pub(crate) const NFTABLES: u8 = 10;
/// `NFNL_SUBSYS_CTNETLINK`.
pub(crate) const CTNETLINK: u8 = 1;

/// One request, without its acknowledgement asked for.
pub(crate) struct Message {
    subsystem: u8,
    kind: u8,
    flags: u16,
    family: u8,
    body: Vec<u8>,
}

impl Message {
    /// A request of a subsystem, of that kind, about that protocol family (`NFPROTO_*`).
    pub(crate) fn new(subsystem: u8, kind: u8, flags: u16, family: u8, body: Vec<u8>) -> Self {
        Self { subsystem, kind, flags, family, body }
    }

    fn write(&self, to: &mut Vec<u8>, sequence: u32, acknowledged: bool) {
        let ack = if acknowledged { NLM_F_ACK } else { 0 };
        let kind = u16::from(self.subsystem) << 8 | u16::from(self.kind);
        write(to, kind, self.flags | ack, sequence, (self.family, 0), &self.body);
    }
}

/// An attribute with its bytes, padded to four.
pub(crate) fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity((4 + value.len()).next_multiple_of(4));
    bytes.extend((4 + value.len() as u16).to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// An attribute that is a name.
pub(crate) fn name(kind: u16, text: &str) -> Vec<u8> {
    attribute(kind, &[text.as_bytes(), &[0]].concat())
}

/// An attribute that holds others.
pub(crate) fn nested(kind: u16, attributes: &[Vec<u8>]) -> Vec<u8> {
    attribute(kind | NLA_F_NESTED, &attributes.concat())
}

/// The attributes in these bytes, each with its kind, without the bit that says that others are in it.
pub(crate) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let (header, _) = bytes.split_first_chunk::<4>()?;
        let length = usize::from(u16::from_ne_bytes([header[0], header[1]]));
        let value = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((u16::from_ne_bytes([header[2], header[3]]) & !NLA_F_NESTED, value))
    })
}

/// A socket to netfilter in the network namespace of the calling thread.
pub(crate) struct Netfilter {
    socket: Socket,
    sequence: u32,
}

impl Netfilter {
    /// Opens it.
    ///
    /// # Errors
    /// As socket(2); EPROTONOSUPPORT in a kernel without nfnetlink.
    pub(crate) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_NETFILTER)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Self { socket, sequence: 0 })
    }

    /// Carries out all of them or none.
    ///
    /// # Errors
    /// The first errno in the kernel's answers.
    pub(crate) fn transact(&mut self, messages: &[Message]) -> io::Result<()> {
        let mut bytes = Vec::new();
        write(&mut bytes, BATCH_BEGIN, NLM_F_REQUEST, 0, (0, NFTABLES), &[]);
        for message in messages {
            self.sequence += 1;
            message.write(&mut bytes, self.sequence, true);
        }
        write(&mut bytes, BATCH_END, NLM_F_REQUEST, 0, (0, NFTABLES), &[]);
        self.socket.send(&bytes, 0)?;
        self.await_acknowledgement(self.sequence)
    }

    /// Carries out one after the other, in one datagram, and asks for the acknowledgement of the last.
    ///
    /// # Errors
    /// The first errno in the kernel's answers; those before it are done.
    pub(crate) fn send_all(&mut self, messages: &[Message]) -> io::Result<()> {
        let mut bytes = Vec::new();
        for (at, message) in messages.iter().enumerate() {
            self.sequence += 1;
            message.write(&mut bytes, self.sequence, at + 1 == messages.len());
        }
        if bytes.is_empty() {
            return Ok(());
        }
        self.socket.send(&bytes, 0)?;
        self.await_acknowledgement(self.sequence)
    }

    /// Asks for all that there is of that kind, and calls `each` with the attributes of every answer.
    ///
    /// # Errors
    /// The errno in the kernel's answer: EPERM without CAP_NET_ADMIN.
    pub(crate) fn dump(&mut self, subsystem: u8, kind: u8, mut each: impl FnMut(&[u8])) -> io::Result<()> {
        self.sequence += 1;
        let mut bytes = Vec::new();
        let flags = NLM_F_DUMP;
        Message::new(subsystem, kind, flags, 0, Vec::new()).write(&mut bytes, self.sequence, false);
        self.socket.send(&bytes, 0)?;
        loop {
            let (datagram, _) = self.socket.recv_from_full()?;
            let mut rest = &datagram[..];
            while let Some((length, kind, sequence, errno)) = answer(rest) {
                let message = rest.get(..length).unwrap_or(rest);
                rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
                if sequence != self.sequence {
                    continue;
                }
                match kind {
                    NLMSG_ERROR if errno != 0 => return Err(io::Error::from_raw_os_error(errno)),
                    NLMSG_ERROR | NLMSG_DONE => return Ok(()),
                    _ => each(message.get(HEADER_BYTES + GENERIC_BYTES..).unwrap_or_default()),
                }
            }
        }
    }

    fn await_acknowledgement(&self, of: u32) -> io::Result<()> {
        loop {
            let (datagram, _) = self.socket.recv_from_full()?;
            let mut rest = &datagram[..];
            while let Some((length, kind, sequence, errno)) = answer(rest) {
                if kind == NLMSG_ERROR && errno != 0 {
                    return Err(io::Error::from_raw_os_error(errno));
                }
                if kind == NLMSG_ERROR && sequence == of {
                    return Ok(());
                }
                rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
            }
        }
    }
}

/// Length, type, sequence number and errno of the first message in these bytes.
fn answer(bytes: &[u8]) -> Option<(usize, u16, u32, i32)> {
    let word = |at: usize| Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    let length = (word(0)? as usize).max(HEADER_BYTES);
    let kind = u16::from_ne_bytes(bytes.get(4..6)?.try_into().ok()?);
    let errno = match word(HEADER_BYTES) {
        Some(errno) => errno.cast_signed().checked_neg().unwrap_or(libc::EIO),
        // Its errno is missing: no acknowledgement.
        None if kind == NLMSG_ERROR => libc::EBADMSG,
        None => 0,
    };
    Some((length, kind, word(8)?, errno))
}

fn write(to: &mut Vec<u8>, kind: u16, flags: u16, sequence: u32, (family, resource): (u8, u8), body: &[u8]) {
    to.extend(((HEADER_BYTES + GENERIC_BYTES + body.len()) as u32).to_ne_bytes());
    to.extend(kind.to_ne_bytes());
    to.extend((flags | NLM_F_REQUEST).to_ne_bytes());
    to.extend(sequence.to_ne_bytes());
    to.extend(0_u32.to_ne_bytes());
    to.extend([family, 0, 0, resource]);
    to.extend(body);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attribute_is_padded_and_says_its_length_without_the_padding() {
        assert_eq!(
            attribute(3, &[9])[..],
            [5_u16.to_ne_bytes(), 3_u16.to_ne_bytes(), [9, 0], [0, 0]].concat()
        );
        assert_eq!(nested(1, &[attribute(2, &[])]).len(), 8);
        assert_eq!(name(1, "abc").len(), 8);
    }

    #[test]
    fn an_errno_is_read_from_an_answer_and_a_short_one_is_none() {
        let mut bytes = Vec::new();
        write(&mut bytes, NLMSG_ERROR, 0, 7, (0, 0), &[]);
        bytes[16..20].copy_from_slice(&(-libc::EPERM).to_ne_bytes());
        assert_eq!(answer(&bytes), Some((20, NLMSG_ERROR, 7, libc::EPERM)));
        assert_eq!(answer(&bytes[..11]), None);
        let cut_short = Some((20, NLMSG_ERROR, 7, libc::EBADMSG));
        assert_eq!(answer(&bytes[..18]), cut_short, "without its errno it acknowledges nothing");
    }
}
