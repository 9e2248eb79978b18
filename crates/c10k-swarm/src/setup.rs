//! From arguments to a resolved setup: what the host has been asked for is known before the first connect.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::time::Duration;

use c10k_kernel::link::device_towards;
use c10k_kernel::sysctl::SysctlRoot;
use c10k_kernel::{address, process, socket};
use c10k_record::LoadPlan;

use crate::ips::{IpList, PortWindow, servers_of};
use crate::names::{Here, Note, listens_elsewhere};
use crate::sources::{PortChoice, SourcePlan, loopback_sources_after};
use crate::tuples::TIME_WAIT;

mod error;

pub use error::SetupError;

/// A resolved setup.
#[derive(Debug)]
pub struct Setup {
    /// The servers.
    pub servers: Vec<SocketAddr>,
    /// The tuples.
    pub plan: SourcePlan,
    /// The window the ports come from.
    pub window: PortWindow,
    /// Whether the server's address is on this machine.
    pub server_is_here: bool,
    /// Workers that connect at a time.
    pub turns: usize,
    /// How long the kernel keeps a tuple from a new connection after the swarm's own FIN.
    pub time_wait: Duration,
    /// Sources that are not on this machine yet; empty unless the caller will add them.
    pub missing: Vec<IpAddr>,
    /// What the reader should know, each with its id.
    pub notes: Vec<(&'static str, String)>,
}

/// What the texts of a command line ask for: read, and not yet compared with this host.
#[derive(Debug)]
pub struct Asked {
    servers: Vec<SocketAddr>,
    window: Option<PortWindow>,
    sources: Option<Vec<IpAddr>>,
    /// Of swarms that take sources of the same pool before this one.
    targets_before: Vec<u64>,
    notes: Vec<Note>,
}

impl Asked {
    /// Reads servers, sources and ports. Nothing on this host is looked at but the names of servers; where one has several
    /// addresses, those of the sources' family are tried.
    ///
    /// # Errors
    /// [`SetupError`] for a text that names nothing, or for sources and servers of different families.
    pub fn read(server: &str, load: &LoadPlan) -> Result<Self, SetupError> {
        let list: Option<IpList> = load.ips.as_deref().map(str::parse).transpose()?;
        let source = list.as_ref().and_then(|list| list.addresses().first().copied());
        let (servers, notes) = servers_of(server, &Here, source)?;
        let first = servers[0];
        if let Some(other) = servers.iter().find(|other| other.is_ipv4() != first.is_ipv4()) {
            return Err(SetupError::Family { source_ip: first.ip(), server: *other });
        }
        let window = load.ports.as_deref().map(str::parse).transpose()?;
        let sources = list.map(|list| of_one_family(list.addresses(), first)).transpose()?;
        Ok(Self { servers, window, sources, targets_before: Vec::new(), notes })
    }

    /// The same for a swarm that takes source addresses behind those of others with these targets, where it chooses them
    /// itself.
    #[must_use]
    pub fn after(self, targets_before: Vec<u64>) -> Self {
        Self { targets_before, ..self }
    }

    /// The servers; never empty.
    #[must_use]
    pub fn servers(&self) -> &[SocketAddr] {
        &self.servers
    }

    /// Resolves sources and ports, and checks them against this host.
    ///
    /// # Errors
    /// [`SetupError`]; nothing has been changed or connected then.
    pub fn resolve(self, load: &LoadPlan, target: u64) -> Result<Setup, SetupError> {
        let setup = self.resolve_with_missing(load, target)?;
        if setup.missing.is_empty() {
            return Ok(setup);
        }
        let device = device_towards(setup.servers[0].ip()).ok();
        Err(SetupError::NotHere { missing: setup.missing, named: setup.plan.sources().len(), device })
    }

    /// As [`Asked::resolve`], for a caller who will add the sources that are missing.
    ///
    /// # Errors
    /// As [`Asked::resolve`], but for [`SetupError::NotHere`].
    pub fn resolve_with_missing(self, load: &LoadPlan, target: u64) -> Result<Setup, SetupError> {
        let Self { servers, window, sources, targets_before, mut notes } = self;
        let first = servers[0];
        let server_is_here = is_here(first.ip());
        let sysctl = SysctlRoot::default();
        let range = local_port_range(&sysctl);
        let window = window.unwrap_or(range);
        if server_is_here {
            notes.extend(listens_elsewhere(&Here, first));
        }
        let choice = choose(window, range, &mut notes);
        let left_out = left_out(&sysctl, &servers, server_is_here, choice);
        let ports = window.len() - left_out.iter().filter(|port| window.contains(**port)).count() as u64;
        let per_source = ports * servers.len() as u64;
        let missing = sources.iter().flatten().copied().filter(|ip| !is_here(*ip)).collect();
        let sources = sources.unwrap_or_else(|| default_sources(first, &targets_before, target, per_source));
        let plan = SourcePlan::new(sources, window, &left_out, &servers, choice);
        if plan.capacity() < target {
            return Err(SetupError::TooFew {
                capacity: plan.capacity(),
                target,
                sources: plan.sources().len() as u64,
                ports,
                destinations: servers.len() as u64,
                reserved: reserved_of(&sysctl, window, choice),
            });
        }
        let turns = load.workers.map_or_else(process::cpus_allowed, |workers| workers as usize).max(1);
        let time_wait = time_wait(&sysctl, &servers);
        Ok(Setup { servers, plan, window, server_is_here, turns, time_wait, missing, notes })
    }
}

/// `net.ipv4.ip_local_port_range` of this namespace; the kernel's default where it cannot be read.
fn local_port_range(sysctl: &SysctlRoot) -> PortWindow {
    let (first, last) = sysctl.local_port_range().unwrap_or((32768, 60999));
    PortWindow { first, last }
}

/// How long TIME_WAIT keeps a tuple from a new connection. A port is used again after `tcp_tw_reuse_delay` (a second
/// before Linux 6.14) where `tcp_tw_reuse` and `tcp_timestamps` allow it; 2, the default, does so on loopback alone, by
/// the addresses (net/ipv4/tcp_ipv4.c, `tcp_twsk_unique`).
fn time_wait(sysctl: &SysctlRoot, servers: &[SocketAddr]) -> Duration {
    /// The peer's FIN, which begins TIME_WAIT, may come a little after ours.
    const PEERS_FIN: Duration = Duration::from_millis(100);
    let number = |key: &str| sysctl.read(key).ok().and_then(|text| text.trim().parse::<u64>().ok());
    let on_loopback = servers.iter().all(|server| server.ip().to_canonical().is_loopback());
    let is_used_again = match number("net.ipv4.tcp_tw_reuse").unwrap_or(2) {
        0 => false,
        2 => on_loopback,
        _ => true,
    };
    if !is_used_again || number("net.ipv4.tcp_timestamps") == Some(0) {
        return TIME_WAIT;
    }
    Duration::from_millis(number("net.ipv4.tcp_tw_reuse_delay").unwrap_or(1000)) + PEERS_FIN
}

/// One-port ranges wherever the kernel has them and the window lies within its own range: they reserve nothing
/// for other sources. Explicit ports otherwise.
fn choose(window: PortWindow, range: PortWindow, notes: &mut Vec<(&'static str, String)>) -> PortChoice {
    if !range.contains(window.first) || !range.contains(window.last) {
        notes.push((
            "explicit-ports",
            format!(
                "--ports {}-{} reaches beyond net.ipv4.ip_local_port_range ({} {}), so every port is bound \
                 explicitly; kernel-chosen connects of other programs in this namespace find those ports closed",
                window.first, window.last, range.first, range.last
            ),
        ));
        return PortChoice::Explicit;
    }
    let try_it = || {
        let any = socket::Address::from(SocketAddr::from(([127, 0, 0, 1], 0)));
        let socket = socket::stream_for(&any)?;
        socket::set_local_port_range(socket.as_fd(), window.first, window.first)
    };
    if try_it().is_ok() {
        return PortChoice::OnePortRange;
    }
    notes.push((
        "explicit-ports",
        "this kernel has no IP_LOCAL_PORT_RANGE (Linux 6.3): ports are bound explicitly".into(),
    ));
    PortChoice::Explicit
}

/// Ports that no connection can have: those the servers here listen on, and, for the kernel's choice, those
/// that `net.ipv4.ip_local_reserved_ports` keeps.
fn left_out(sysctl: &SysctlRoot, servers: &[SocketAddr], here: bool, choice: PortChoice) -> Vec<u16> {
    let mut ports: Vec<u16> = if here { servers.iter().map(SocketAddr::port).collect() } else { Vec::new() };
    if choice == PortChoice::OnePortRange {
        ports.extend(reserved_ports(sysctl));
    }
    ports.sort_unstable();
    ports.dedup();
    ports
}

fn reserved_ports(sysctl: &SysctlRoot) -> Vec<u16> {
    let reserved = sysctl.read("net.ipv4.ip_local_reserved_ports").unwrap_or_default();
    let windows = reserved.split(',').filter_map(|part| part.trim().parse::<PortWindow>().ok());
    windows.flat_map(|window| window.first..=window.last).collect()
}

/// How many ports of the window are reserved.
fn reserved_of(sysctl: &SysctlRoot, window: PortWindow, choice: PortChoice) -> u64 {
    match choice {
        PortChoice::OnePortRange => {
            reserved_ports(sysctl).iter().filter(|port| window.contains(**port)).count() as u64
        }
        PortChoice::Explicit => 0,
    }
}

fn of_one_family(sources: &[IpAddr], server: SocketAddr) -> Result<Vec<IpAddr>, SetupError> {
    if let Some(other) = sources.iter().find(|ip| ip.is_ipv4() != server.is_ipv4()) {
        return Err(SetupError::Family { source_ip: *other, server });
    }
    Ok(sources.to_vec())
}

pub(crate) fn is_here(ip: IpAddr) -> bool {
    address::is_local(ip).unwrap_or(false)
}

/// 127.0.0.0/8 for a server on it; else the address that this machine would use towards the server.
fn default_sources(server: SocketAddr, before: &[u64], target: u64, per_source: u64) -> Vec<IpAddr> {
    match server.ip() {
        IpAddr::V4(ip) if ip.is_loopback() => loopback_sources_after(before, target, per_source),
        ip => vec![source_towards(server).unwrap_or(match ip {
            IpAddr::V4(_) => IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(_) => IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED),
        })],
    }
}

/// The source address of the route to `server`: a connected UDP socket knows it, and nothing is sent.
fn source_towards(server: SocketAddr) -> Option<IpAddr> {
    let any: SocketAddr = if server.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0_u16; 8], 0).into() };
    let socket = UdpSocket::bind(any).ok()?;
    socket.connect(server).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

#[cfg(test)]
mod tests {
    use c10k_record::Exit;

    use super::*;

    fn resolve(server: &str, load: &LoadPlan, target: u64) -> Result<Setup, SetupError> {
        Asked::read(server, load)?.resolve(load, target)
    }

    #[test]
    fn sources_that_allow_too_few_are_told_how_many_more_it_takes() {
        let load = LoadPlan {
            ips: Some("127.0.0.1".to_owned()),
            ports: Some("40000-40999".to_owned()),
            ..LoadPlan::default()
        };
        let error = resolve("127.0.0.1:9", &load, 2500).expect_err("too few");
        assert!(matches!(error, SetupError::TooFew { capacity: 1000, .. }), "{error}");
        assert_eq!(error.exit(), Exit::HostCannot);
        assert!(error.hint().starts_with("2 more source addresses"), "{}", error.hint());
    }

    #[test]
    fn a_source_that_is_not_here_is_named_with_the_command_that_adds_it() {
        let load = LoadPlan { ips: Some("192.0.2.7".to_owned()), ..LoadPlan::default() };
        let error = resolve("127.0.0.1:9", &load, 1).expect_err("not here");
        assert!(error.to_string().contains("192.0.2.7"), "{error}");
        assert!(error.hint().contains("ip addr add 192.0.2.7/32"), "{}", error.hint());
    }

    #[test]
    fn families_must_fit() {
        let load = LoadPlan { ips: Some("::1".to_owned()), ..LoadPlan::default() };
        let error = resolve("127.0.0.1:9", &load, 1).expect_err("families");
        assert!(matches!(error, SetupError::Family { .. }) && error.exit() == Exit::BadText, "{error}");
    }

    #[test]
    fn a_window_beyond_the_kernels_range_is_bound_explicitly_and_said() {
        let load = LoadPlan { ports: Some("1024-65535".to_owned()), ..LoadPlan::default() };
        let mut notes = Vec::new();
        let window = load.ports.as_deref().expect("given").parse().expect("a window");
        let choice = choose(window, PortWindow { first: 32768, last: 60999 }, &mut notes);
        assert_eq!((choice, notes.len()), (PortChoice::Explicit, 1));
    }
}
