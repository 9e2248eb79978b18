//! Addresses and devices of the calling thread's network namespace, over rtnetlink (rtnetlink(7)).

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};

use netlink_packet_core::{NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL};
use netlink_packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressMessage, AddressProtocol};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use crate::rtnetlink::{ask, index_of};

/// An address, its prefix length and the device that carries it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressOnDevice {
    /// The address.
    pub address: IpAddr,
    /// Length of the network prefix, bits.
    pub prefix: u8,
    /// Name of the device.
    pub device: String,
}

/// All addresses of the calling thread's network namespace.
///
/// # Errors
/// As socket(2) for netlink, or the kernel's answer.
pub fn local_addresses() -> io::Result<Vec<AddressOnDevice>> {
    let names: BTreeMap<u32, String> =
        links()?.into_iter().map(|link| (link.header.index, name_of(&link).unwrap_or_default())).collect();
    let answers = ask(RouteNetlinkMessage::GetAddress(AddressMessage::default()), NLM_F_DUMP)?;
    let addresses = answers.into_iter().filter_map(|answer| match answer {
        RouteNetlinkMessage::NewAddress(message) => Some(AddressOnDevice {
            address: address_of(&message)?,
            prefix: message.header.prefix_len,
            device: names.get(&message.header.index).cloned().unwrap_or_default(),
        }),
        _ => None,
    });
    Ok(addresses.collect())
}

/// Whether a socket may be bound to `ip` here: all of 127.0.0.0/8 when `lo` is up, and the addresses of the
/// devices. It is found out by binding a throwaway socket to a port of the kernel's choice.
///
/// # Errors
/// As socket(2) and bind(2); an address that is not here is no error but `false`.
pub fn is_local(ip: IpAddr) -> io::Result<bool> {
    if ip.is_unspecified() {
        return Ok(false);
    }
    let address = SocketAddr::new(ip, 0);
    let domain = socket2::Domain::for_address(address);
    let bound = socket2::Socket::new(domain, socket2::Type::STREAM, None)
        .and_then(|socket| socket.bind(&address.into()));
    match bound.as_ref().map_err(io::Error::raw_os_error) {
        // The address is looked at first, and then for a port: one whose ports are all taken is here all the same.
        Ok(()) | Err(Some(libc::EADDRINUSE)) => Ok(true),
        Err(Some(libc::EADDRNOTAVAIL | libc::EAFNOSUPPORT)) => Ok(false),
        Err(_) => bound.map(|()| true),
    }
}

/// Bits of the whole address: the prefix of a network that is this address alone.
#[must_use]
pub fn whole_bits(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { 32 } else { 128 }
}

/// Adds an address to a device.
///
/// # Errors
/// EEXIST when it is there already, ENODEV without such a device, EPERM without CAP_NET_ADMIN in the user
/// namespace that owns the network namespace, EINVAL for a prefix that the family does not have.
pub fn add(device: &str, ip: IpAddr, prefix: u8) -> io::Result<()> {
    let message = RouteNetlinkMessage::NewAddress(address_message(device, ip, prefix)?);
    ask(message, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL).map(drop)
}

/// Adds an address as [`add`] does, with the mark `origin` (IFA_PROTO), which [`origins`] shows. Before Linux 5.18 the
/// kernel takes no notice of the mark.
///
/// # Errors
/// As [`add`].
pub fn add_marked(device: &str, ip: IpAddr, prefix: u8, origin: u8) -> io::Result<()> {
    let mut message = address_message(device, ip, prefix)?;
    message.attributes.push(AddressAttribute::Protocol(AddressProtocol::from(origin)));
    ask(RouteNetlinkMessage::NewAddress(message), NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL).map(drop)
}

/// An address with the number of its device and the mark of who added it (IFA_PROTO), where it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The address.
    pub address: IpAddr,
    /// Length of the network prefix, bits.
    pub prefix: u8,
    /// The number of its device.
    pub device_index: u32,
    /// The mark: the kernel's own are 1 to 3.
    pub origin: Option<u8>,
}

/// All addresses of this network namespace with their marks.
///
/// # Errors
/// As socket(2) for netlink, or the kernel's answer.
pub fn origins() -> io::Result<Vec<Origin>> {
    let answers = ask(RouteNetlinkMessage::GetAddress(AddressMessage::default()), NLM_F_DUMP)?;
    let marked = answers.into_iter().filter_map(|answer| match answer {
        RouteNetlinkMessage::NewAddress(message) => Some(Origin {
            address: address_of(&message)?,
            prefix: message.header.prefix_len,
            device_index: message.header.index,
            origin: message.attributes.iter().find_map(|attribute| match attribute {
                AddressAttribute::Protocol(origin) => Some(u8::from(*origin)),
                _ => None,
            }),
        }),
        _ => None,
    });
    Ok(marked.collect())
}

/// Takes an address off a device.
///
/// # Errors
/// EADDRNOTAVAIL when it is not there, ENODEV without such a device, EPERM as for [`add`].
pub fn remove(device: &str, ip: IpAddr, prefix: u8) -> io::Result<()> {
    let message = RouteNetlinkMessage::DelAddress(address_message(device, ip, prefix)?);
    ask(message, NLM_F_ACK).map(drop)
}

/// Sets a device up.
///
/// # Errors
/// ENODEV without such a device, EPERM as for [`add`].
pub fn set_up(device: &str) -> io::Result<()> {
    let mut message = LinkMessage::default();
    message.header.index = index_of(device)?;
    message.header.flags = LinkFlags::Up;
    message.header.change_mask = LinkFlags::Up;
    ask(RouteNetlinkMessage::SetLink(message), NLM_F_ACK).map(drop)
}

/// Whether a device is set up (IFF_UP).
///
/// # Errors
/// ENODEV without such a device.
pub fn is_up(device: &str) -> io::Result<bool> {
    let link = links()?.into_iter().find(|link| name_of(link).as_deref() == Some(device));
    let link = link.ok_or_else(|| io::Error::from_raw_os_error(libc::ENODEV))?;
    Ok(link.header.flags.contains(LinkFlags::Up))
}

/// The number of a device, which no other device of this network namespace has while it is there.
///
/// # Errors
/// ENODEV without such a device.
pub fn device_index(device: &str) -> io::Result<u32> {
    index_of(device)
}

fn links() -> io::Result<Vec<LinkMessage>> {
    let answers = ask(RouteNetlinkMessage::GetLink(LinkMessage::default()), NLM_F_DUMP)?;
    let links = answers.into_iter().filter_map(|answer| match answer {
        RouteNetlinkMessage::NewLink(message) => Some(message),
        _ => None,
    });
    Ok(links.collect())
}

fn name_of(link: &LinkMessage) -> Option<String> {
    link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => Some(name.clone()),
        _ => None,
    })
}

/// `Local` is the device's own address; on a point-to-point link `Address` is the other end's.
fn address_of(message: &AddressMessage) -> Option<IpAddr> {
    let local = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Local(address) => Some(*address),
        _ => None,
    });
    local.or_else(|| {
        message.attributes.iter().find_map(|attribute| match attribute {
            AddressAttribute::Address(address) => Some(*address),
            _ => None,
        })
    })
}

fn address_message(device: &str, ip: IpAddr, prefix: u8) -> io::Result<AddressMessage> {
    if prefix > if ip.is_ipv4() { 32 } else { 128 } {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    let mut message = AddressMessage::default();
    message.header.family = if ip.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    message.header.prefix_len = prefix;
    message.header.index = index_of(device)?;
    // An IPv6 address is of no use before duplicate detection ends, and in a namespace of our own there is no other.
    message.header.flags = if ip.is_ipv6() { AddressHeaderFlags::Nodad } else { AddressHeaderFlags::empty() };
    message.attributes = vec![AddressAttribute::Local(ip), AddressAttribute::Address(ip)];
    Ok(message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn the_loopback_device_and_its_address_are_found() {
        if !is_up("lo").unwrap() {
            return;
        }
        let addresses = local_addresses().unwrap();
        let loopback =
            AddressOnDevice { address: Ipv4Addr::LOCALHOST.into(), prefix: 8, device: "lo".to_owned() };
        assert!(addresses.contains(&loopback), "{addresses:?}");
        assert!(is_local(Ipv4Addr::new(127, 200, 3, 9).into()).unwrap());
    }

    #[test]
    fn an_address_that_is_not_here_is_not_local_and_no_error() {
        // TEST-NET-1, RFC 5737: no machine has it.
        assert!(!is_local(Ipv4Addr::new(192, 0, 2, 77).into()).unwrap());
        assert!(!is_local(Ipv4Addr::UNSPECIFIED.into()).unwrap());
        assert!(!is_local("2001:db8::7".parse().unwrap()).unwrap());
    }

    #[test]
    #[allow(clippy::print_stderr, reason = "what was skipped is said aloud")]
    fn an_address_whose_ports_are_all_taken_is_local_all_the_same() {
        let beside = match crate::namespace::Beside::new() {
            Ok(beside) => beside,
            Err(error) => return eprintln!("SKIPPED: no network namespace can be made: {error}"),
        };
        let work = || {
            std::fs::write("/proc/sys/net/ipv4/ip_local_port_range", "30000 30001")?;
            let ip = Ipv4Addr::LOCALHOST;
            let _taken = [(ip, 30_000), (ip, 30_001)].map(|at| std::net::TcpListener::bind(at).unwrap());
            assert_eq!(
                std::net::TcpListener::bind((ip, 0)).unwrap_err().raw_os_error(),
                Some(libc::EADDRINUSE)
            );
            is_local(ip.into())
        };
        assert!(beside.inside(work).unwrap().unwrap());
    }

    #[test]
    fn a_device_that_is_not_here_is_an_error() {
        let nothing = "nosuchdevice0";
        for error in [
            is_up(nothing).unwrap_err(),
            set_up(nothing).unwrap_err(),
            add(nothing, Ipv4Addr::LOCALHOST.into(), 8).unwrap_err(),
        ] {
            assert_eq!(error.raw_os_error(), Some(libc::ENODEV));
        }
    }

    #[test]
    fn a_prefix_longer_than_the_address_is_refused_before_the_kernel_sees_it() {
        let error = add("lo", Ipv4Addr::new(192, 0, 2, 1).into(), 33).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
    }
}
