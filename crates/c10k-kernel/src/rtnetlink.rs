//! One question to rtnetlink and its answers (rtnetlink(7)).

use std::io;

use netlink_packet_core::{NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};

/// Sends one request, in the network namespace of the calling thread, and gathers the answers until the dump
/// is done or the request is acknowledged.
///
/// # Errors
/// As socket(2), or the `errno` in the kernel's answer.
pub(crate) fn ask(message: RouteNetlinkMessage, flags: u16) -> io::Result<Vec<RouteNetlinkMessage>> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;

    let mut request = NetlinkMessage::from(message);
    request.header.flags = NLM_F_REQUEST | flags;
    request.header.sequence_number = 1;
    request.finalize();
    let mut bytes = vec![0; request.buffer_len()];
    request.serialize(&mut bytes);
    socket.send(&bytes, 0)?;

    let mut answers = Vec::new();
    loop {
        let (datagram, _) = socket.recv_from_full()?;
        let mut rest = &datagram[..];
        while !rest.is_empty() {
            let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
            // Messages in one datagram are aligned to four bytes (netlink(7)).
            let length = (answer.header.length as usize).next_multiple_of(4);
            match answer.payload {
                NetlinkPayload::Done(_) => return Ok(answers),
                NetlinkPayload::Error(error) if error.code.is_none() => return Ok(answers),
                NetlinkPayload::Error(error) => {
                    return Err(io::Error::from_raw_os_error(error.raw_code().abs()));
                }
                NetlinkPayload::InnerMessage(message) => answers.push(message),
                _ => {}
            }
            rest = rest.get(length.max(16)..).unwrap_or_default();
        }
    }
}

/// The number of a device in the calling thread's network namespace.
///
/// # Errors
/// ENODEV without such a device.
pub(crate) fn index_of(device: &str) -> io::Result<u32> {
    nix::net::if_::if_nametoindex(device).map_err(|_| io::Error::from_raw_os_error(libc::ENODEV))
}
