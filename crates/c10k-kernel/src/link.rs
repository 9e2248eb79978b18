//! Devices that join two network namespaces, and the routes over them, over rtnetlink (rtnetlink(7), veth(4)).

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::fd::AsRawFd as _;
use std::time::{Duration, Instant};

use netlink_packet_core::{NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::link::{InfoData, InfoKind, InfoVeth, LinkAttribute, LinkInfo, LinkMessage};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourHeader, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::route::{
    RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use crate::namespace::Beside;
use crate::rtnetlink::{ask, index_of};

/// Makes a pair of devices: what is sent into one comes out of the other. `here` stands in the calling
/// thread's network namespace, `there` in `other`. Both are down and without addresses; both go when either of
/// the namespaces does.
///
/// # Errors
/// EEXIST when a name is taken, EPERM without CAP_NET_ADMIN over both namespaces, EOPNOTSUPP in a kernel
/// without veth.
pub fn add_veth_pair(here: &str, there: &str, other: &Beside) -> io::Result<()> {
    let mut peer = LinkMessage::default();
    peer.attributes =
        vec![LinkAttribute::IfName(there.to_owned()), LinkAttribute::NetNsFd(other.descriptor().as_raw_fd())];
    let mut pair = LinkMessage::default();
    pair.attributes = vec![
        LinkAttribute::IfName(here.to_owned()),
        LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Veth),
            LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
        ]),
    ];
    ask(RouteNetlinkMessage::NewLink(pair), NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL).map(drop)
}

/// The device by which packets to an address leave the calling thread's network namespace; `lo` for one of its own.
///
/// # Errors
/// ENETUNREACH or EHOSTUNREACH where none leads there; as socket(2) for netlink.
pub fn device_towards(ip: IpAddr) -> io::Result<String> {
    let mut question = RouteMessage::default();
    question.header.address_family = if ip.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    question.header.destination_prefix_length = if ip.is_ipv4() { 32 } else { 128 };
    question.attributes = vec![RouteAttribute::Destination(ip.into())];
    let answers = ask(RouteNetlinkMessage::GetRoute(question), NLM_F_ACK)?;
    let index = answers.into_iter().find_map(|answer| match answer {
        RouteNetlinkMessage::NewRoute(route) => {
            route.attributes.into_iter().find_map(|attribute| match attribute {
                RouteAttribute::Oif(index) => Some(index),
                _ => None,
            })
        }
        _ => None,
    });
    let index = index.ok_or_else(|| io::Error::from_raw_os_error(libc::ENETUNREACH))?;
    let name = nix::net::if_::if_indextoname(index)?;
    Ok(name.to_string_lossy().into_owned())
}

/// Takes a device away, and its peer with it.
///
/// # Errors
/// ENODEV without such a device, EPERM without CAP_NET_ADMIN, EOPNOTSUPP for one of hardware.
pub fn remove(device: &str) -> io::Result<()> {
    let mut message = LinkMessage::default();
    message.header.index = index_of(device)?;
    ask(RouteNetlinkMessage::DelLink(message), NLM_F_ACK).map(drop)
}

/// Makes everything of `family_of`'s address family that no other route leads to be looked for on the link of
/// `device` itself: what a pair of namespaces wants whose addresses lie in no common network.
///
/// # Errors
/// ENODEV without such a device, ENETDOWN while it is down, EEXIST when there is such a route, EPERM without
/// CAP_NET_ADMIN.
pub fn add_default_route_on_link(device: &str, family_of: IpAddr) -> io::Result<()> {
    let mut message = RouteMessage::default();
    message.header = RouteHeader {
        address_family: if family_of.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 },
        table: RouteHeader::RT_TABLE_MAIN,
        protocol: RouteProtocol::Boot,
        scope: if family_of.is_ipv4() { RouteScope::Link } else { RouteScope::Universe },
        kind: RouteType::Unicast,
        ..RouteHeader::default()
    };
    message.attributes = vec![RouteAttribute::Oif(index_of(device)?)];
    ask(RouteNetlinkMessage::NewRoute(message), NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL).map(drop)
}

/// The hardware address of a device.
///
/// # Errors
/// ENODEV without such a device, EOPNOTSUPP for one without such an address.
pub fn hardware_address(device: &str) -> io::Result<Vec<u8>> {
    let index = index_of(device)?;
    let answers = ask(RouteNetlinkMessage::GetLink(LinkMessage::default()), NLM_F_DUMP)?;
    let links = answers.into_iter().filter_map(|answer| match answer {
        RouteNetlinkMessage::NewLink(link) if link.header.index == index => Some(link),
        _ => None,
    });
    let address = links.flat_map(|link| link.attributes).find_map(|attribute| match attribute {
        LinkAttribute::Address(address) => Some(address),
        _ => None,
    });
    address.ok_or_else(|| io::Error::from_raw_os_error(libc::EOPNOTSUPP))
}

/// Tells a device where a neighbour is, for good: nobody needs to ask for it, and the kernel does not count it
/// among those of which it keeps `net.ipv4.neigh.default.gc_thresh3` at most (Linux 5.0, net/core/neighbour.c,
/// `exempt_from_gc`).
///
/// # Errors
/// ENODEV without such a device, ENETDOWN while it is down, EPERM without CAP_NET_ADMIN.
pub fn add_permanent_neighbour(device: &str, ip: IpAddr, hardware_address: &[u8]) -> io::Result<()> {
    let (family, destination) = match ip {
        IpAddr::V4(v4) => (AddressFamily::Inet, NeighbourAddress::Inet(v4)),
        IpAddr::V6(v6) => (AddressFamily::Inet6, NeighbourAddress::Inet6(v6)),
    };
    let mut message = NeighbourMessage::default();
    message.header = NeighbourHeader {
        family,
        ifindex: index_of(device)?,
        state: NeighbourState::Permanent,
        ..NeighbourHeader::default()
    };
    message.attributes = vec![
        NeighbourAttribute::Destination(destination),
        NeighbourAttribute::LinkLayerAddress(hardware_address.to_vec()),
    ];
    let flags = NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE;
    ask(RouteNetlinkMessage::NewNeighbour(message), flags).map(drop)
}

/// Connects from `client`, an address in `other`, to `server`, an address in the calling thread's network
/// namespace, and sees it accepted: only then is a pair of devices known to carry traffic. Its two ends become
/// of use some moments after they are set up, so it is tried again until `longest` has passed. The connection
/// ends by RST and leaves no TIME_WAIT and no port taken.
///
/// # Errors
/// As bind(2) and connect(2); TimedOut when nothing came through in time.
pub fn carries(server: IpAddr, client: IpAddr, other: &Beside, longest: Duration) -> io::Result<()> {
    const TRY: Duration = Duration::from_millis(200);
    let listener = TcpListener::bind((server, 0))?;
    let to = listener.local_addr()?.into();
    let end = Instant::now() + longest;
    let connected = other.inside(|| {
        loop {
            let socket = socket2::Socket::new(
                socket2::Domain::for_address(SocketAddr::new(client, 0)),
                socket2::Type::STREAM,
                None,
            )?;
            socket.set_linger(Some(Duration::ZERO))?;
            socket.bind(&SocketAddr::new(client, 0).into())?;
            match socket.connect_timeout(&to, TRY) {
                Ok(()) => return Ok(socket),
                Err(_) if Instant::now() < end => {}
                Err(error) => return Err(error),
            }
        }
    })??;
    let (accepted, from) = listener.accept()?;
    drop((accepted, connected));
    if from.ip() == client { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
}
