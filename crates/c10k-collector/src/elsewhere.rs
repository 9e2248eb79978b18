//! A server that stands in another network namespace of this machine, as in a container: where it listens there, and by
//! which of its addresses clients that stand here reach it.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use c10k_kernel::address::local_addresses;
use c10k_kernel::census::{PortSet, SockDiag, State, States};
use c10k_kernel::namespace::Beside;

use crate::find::{FindError, held_listeners};

/// So long may the way there take.
const PATIENCE: Duration = Duration::from_secs(1);
/// Between two looks whether a connection has come.
const NAP: Duration = Duration::from_millis(10);

/// The addresses by which process `pid`, which stands in `namespace`, is reached from the network namespace of the calling
/// thread: on `port`, or wherever it listens. One connection is made to each address, and seen to come there: the same
/// address may be somebody else's here.
///
/// # Errors
/// When the namespace may not be entered, the process does not listen there, or none of its addresses leads there.
pub fn reached_from_here(
    namespace: &Beside,
    pid: u32,
    port: Option<u16>,
) -> Result<Vec<SocketAddr>, FindError> {
    let look = || {
        let held = held_listeners(pid)?;
        let own: Vec<IpAddr> = local_addresses()?.into_iter().map(|found| found.address).collect();
        let listening = held.iter().map(|listener| listener.address);
        let wanted = listening.filter(|at| port.is_none_or(|port| at.port() == port));
        Ok::<_, FindError>((from_outside(&wanted.collect::<Vec<_>>(), &own), SockDiag::open()?))
    };
    let cannot = |error: io::Error| FindError::CannotEnter { pid, error };
    let (addresses, mut diag) = namespace.inside(look).map_err(cannot)??;
    let leads: Vec<SocketAddr> =
        addresses.iter().copied().filter(|address| leads_there(*address, &mut diag)).collect();
    if leads.is_empty() { Err(FindError::NoWay { pid, tried: addresses }) } else { Ok(leads) }
}

/// The addresses of listeners as they are seen from outside of their namespace, whose own addresses are `own`.
fn from_outside(listeners: &[SocketAddr], own: &[IpAddr]) -> Vec<SocketAddr> {
    let is_seen = |ip: &IpAddr| match ip {
        IpAddr::V4(ip) => !ip.is_loopback() && !ip.is_link_local(),
        IpAddr::V6(ip) => !ip.is_loopback() && !ip.is_unicast_link_local(),
    };
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for listener in listeners {
        let ips: Vec<IpAddr> = match listener.ip() {
            // One on all of IPv6's addresses takes IPv4 too, unless it has been told not to.
            ip if ip.is_unspecified() => {
                own.iter().copied().filter(|own| ip.is_ipv6() || own.is_ipv4()).collect()
            }
            ip => vec![ip],
        };
        let new = ips.into_iter().filter(is_seen).map(|ip| SocketAddr::new(ip, listener.port()));
        addresses.extend(new);
    }
    // IPv4 first, as for a server that stands here.
    addresses.sort_unstable_by_key(|address| (address.is_ipv6(), *address));
    addresses.dedup();
    addresses
}

/// Whether a connection from here to this address comes where `there` looks.
fn leads_there(address: SocketAddr, there: &mut SockDiag) -> bool {
    let Some(before) = clients_of(address.port(), there) else { return false };
    let Ok(_connection) = TcpStream::connect_timeout(&address, PATIENCE) else { return false };
    let until = Instant::now() + PATIENCE;
    loop {
        let Some(now) = clients_of(address.port(), there) else { return false };
        // A router may have given it another source.
        if now.difference(&before).next().is_some() {
            return true;
        }
        if Instant::now() >= until {
            return false;
        }
        std::thread::sleep(NAP);
    }
}

fn clients_of(port: u16, there: &mut SockDiag) -> Option<BTreeSet<SocketAddr>> {
    let mut clients = BTreeSet::new();
    let states = States::of(&[State::Established, State::SynRecv]);
    let add = |socket: &c10k_kernel::census::SocketLine<'_>| {
        clients.insert(socket.remote_address());
    };
    there.with_local_ports(states, &PortSet::of(&[port]), add).ok()?;
    Some(clients)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn from_outside_a_server_is_reached_by_what_is_not_loopback() {
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        let own: Vec<IpAddr> = ["127.0.0.1", "::1", "10.0.0.2", "fe80::1", "fd00::2", "169.254.0.9"]
            .map(|text| text.parse().unwrap())
            .into();
        assert_eq!(from_outside(&[at("0.0.0.0:80"), at("10.0.0.2:80")], &own), [at("10.0.0.2:80")]);
        assert_eq!(from_outside(&[at("[::]:80")], &own), [at("10.0.0.2:80"), at("[fd00::2]:80")]);
        assert_eq!(from_outside(&[at("127.0.0.1:80"), at("[::1]:80")], &own), []);
    }

    #[test]
    fn an_address_that_is_somebody_elses_here_does_not_lead_there() {
        let Ok(beside) = Beside::new() else {
            #[allow(clippy::print_stderr, reason = "what was skipped is said aloud")]
            {
                eprintln!("SKIPPED: no network namespace may be made here");
            }
            return;
        };
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut there = beside.inside(SockDiag::open).unwrap().unwrap();
        assert!(!leads_there(address, &mut there), "its namesake listens here");
        let mut here = SockDiag::open().unwrap();
        assert!(leads_there(address, &mut here));
    }
}
