//! From arguments to a resolved setup: what the host has been asked for is known before the first connect.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::time::Duration;

use c10k_kernel::sysctl::SysctlRoot;
use c10k_kernel::{address, process, socket};
use c10k_record::{Exit, LoadPlan, human_count};
use thiserror::Error;

use crate::ips::{AddressError, IpList, PortWindow, servers_of};
use crate::sources::{PortChoice, SourcePlan, loopback_sources};
use crate::tuples::TIME_WAIT;

/// Why a swarm does not start.
#[derive(Debug, Error)]
pub enum SetupError {
    /// A text names no addresses.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// A flag's value does not fit.
    #[error("{0}")]
    Usage(String),
    /// Sources and servers are of different families.
    #[error("the source {source_ip} cannot reach {server}: one is IPv4, the other IPv6")]
    Family {
        /// The source.
        source_ip: IpAddr,
        /// The server.
        server: SocketAddr,
    },
    /// Sources that are not on this machine.
    #[error("{} of {named} source addresses {} not on this machine: {}", .missing.len(),
        if .missing.len() == 1 { "is" } else { "are" }, some_of(.missing))]
    NotHere {
        /// Which.
        missing: Vec<IpAddr>,
        /// How many were named.
        named: usize,
    },
    /// The sources allow fewer connections than are wanted.
    #[error("the sources allow {} connections, {} are wanted: {sources} source {} × {} ports × {destinations} {}",
        human_count(*.capacity), human_count(*.target), if *.sources == 1 { "address" } else { "addresses" },
        human_count(*.ports), if *.destinations == 1 { "destination" } else { "destinations" })]
    TooFew {
        /// Connections the sources allow.
        capacity: u64,
        /// Connections wanted.
        target: u64,
        /// Source addresses.
        sources: u64,
        /// Ports a source has for each destination.
        ports: u64,
        /// Destinations.
        destinations: u64,
    },
    /// The host refuses something that the swarm needs.
    #[error("{what}: {error}")]
    Host {
        /// What was tried.
        what: String,
        /// What the kernel said.
        error: std::io::Error,
    },
}

fn some_of(list: &[IpAddr]) -> String {
    let shown: Vec<String> = list.iter().take(4).map(IpAddr::to_string).collect();
    let more = if list.len() > 4 { ", …" } else { "" };
    format!("{}{more}", shown.join(", "))
}

impl SetupError {
    /// The exit code it ends with.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Address(AddressError::Unresolved { .. })
            | Self::NotHere { .. }
            | Self::TooFew { .. }
            | Self::Host { .. } => Exit::HostCannot,
            Self::Address(_) | Self::Usage(_) | Self::Family { .. } => Exit::BadText,
        }
    }

    /// What mends it: the exact command where there is one.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Address(_) | Self::Usage(_) => {
                "c10k-swarm --help shows every form with an example".to_owned()
            }
            Self::Family { .. } => "give sources of the server's family with --ips".to_owned(),
            Self::NotHere { missing, .. } => format!(
                "{}; or, as root, --add-ips lo (or another device) adds them for the time of the run",
                add_command(missing)
            ),
            Self::TooFew { capacity, target, sources, .. } => {
                let per_source = (capacity / (*sources).max(1)).max(1);
                let more = target.saturating_sub(*capacity).div_ceil(per_source);
                format!(
                    "{more} more source {} with --ips, a wider --ports (with net.ipv4.ip_local_port_range), or \
                     more server ports would do",
                    if more == 1 { "address" } else { "addresses" }
                )
            }
            Self::Host { .. } => "prlimit --nofile --nproc shows what this user may have".to_owned(),
        }
    }
}

/// The command that adds addresses, short for a run within one /24.
fn add_command(missing: &[IpAddr]) -> String {
    let last_bytes: Option<Vec<u8>> = missing
        .iter()
        .map(|ip| match (ip, missing.first()) {
            (IpAddr::V4(v4), Some(IpAddr::V4(first))) if v4.octets()[..3] == first.octets()[..3] => {
                Some(v4.octets()[3])
            }
            _ => None,
        })
        .collect();
    match (last_bytes.as_deref(), missing.first()) {
        (Some([first, .., last]), Some(IpAddr::V4(ip)))
            if usize::from(last.saturating_sub(*first)) + 1 == missing.len() =>
        {
            let [a, b, c, _] = ip.octets();
            format!("for i in $(seq {first} {last}); do ip addr add {a}.{b}.{c}.$i/32 dev lo; done")
        }
        _ => missing
            .iter()
            .take(4)
            .map(|ip| format!("ip addr add {ip}/{} dev lo", address::whole_bits(*ip)))
            .collect::<Vec<_>>()
            .join("; "),
    }
}

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
}

impl Asked {
    /// Reads servers, sources and ports. Nothing on this host is looked at but the names of servers.
    ///
    /// # Errors
    /// [`SetupError`] for a text that names nothing, or for sources and servers of different families.
    pub fn read(server: &str, load: &LoadPlan) -> Result<Self, SetupError> {
        let servers = servers_of(server)?;
        let first = servers[0];
        if let Some(other) = servers.iter().find(|other| other.is_ipv4() != first.is_ipv4()) {
            return Err(SetupError::Family { source_ip: first.ip(), server: *other });
        }
        let window = load.ports.as_deref().map(str::parse).transpose()?;
        let sources = load.ips.as_deref().map(|text| named_sources(text, first)).transpose()?;
        Ok(Self { servers, window, sources })
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
        Err(SetupError::NotHere { missing: setup.missing, named: setup.plan.sources().len() })
    }

    /// As [`Asked::resolve`], for a caller who will add the sources that are missing.
    ///
    /// # Errors
    /// As [`Asked::resolve`], but for [`SetupError::NotHere`].
    pub fn resolve_with_missing(self, load: &LoadPlan, target: u64) -> Result<Setup, SetupError> {
        let Self { servers, window, sources } = self;
        let first = servers[0];
        let server_is_here = is_here(first.ip());
        let sysctl = SysctlRoot::default();
        let range = local_port_range(&sysctl);
        let window = window.unwrap_or(range);
        let mut notes = Vec::new();
        let choice = choose(window, range, &mut notes);
        let left_out = left_out(&sysctl, &servers, server_is_here, choice);
        let ports = window.len() - left_out.iter().filter(|port| window.contains(**port)).count() as u64;
        let per_source = ports * servers.len() as u64;
        let missing = sources.iter().flatten().copied().filter(|ip| !is_here(*ip)).collect();
        let sources = sources.unwrap_or_else(|| default_sources(first, target, per_source));
        let plan = SourcePlan::new(sources, window, &left_out, &servers, choice);
        if plan.capacity() < target {
            return Err(SetupError::TooFew {
                capacity: plan.capacity(),
                target,
                sources: plan.sources().len() as u64,
                ports,
                destinations: servers.len() as u64,
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
        let reserved = sysctl.read("net.ipv4.ip_local_reserved_ports").unwrap_or_default();
        for part in reserved.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            if let Ok(window) = part.parse::<PortWindow>() {
                ports.extend(window.first..=window.last);
            }
        }
    }
    ports.sort_unstable();
    ports.dedup();
    ports
}

fn named_sources(text: &str, server: SocketAddr) -> Result<Vec<IpAddr>, SetupError> {
    let list: IpList = text.parse()?;
    let sources = list.addresses().to_vec();
    if let Some(other) = sources.iter().find(|ip| ip.is_ipv4() != server.is_ipv4()) {
        return Err(SetupError::Family { source_ip: *other, server });
    }
    Ok(sources)
}

pub(crate) fn is_here(ip: IpAddr) -> bool {
    address::is_local(ip).unwrap_or(false)
}

/// 127.0.0.0/8 for a server on it; else the address that this machine would use towards the server.
fn default_sources(server: SocketAddr, target: u64, per_source: u64) -> Vec<IpAddr> {
    match server.ip() {
        IpAddr::V4(ip) if ip.is_loopback() => loopback_sources(target, per_source),
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
    use super::*;

    fn resolve(server: &str, load: &LoadPlan, target: u64) -> Result<Setup, SetupError> {
        Asked::read(server, load)?.resolve(load, target)
    }

    fn ips(text: &str) -> Vec<IpAddr> {
        text.parse::<IpList>().expect("a list").addresses().to_vec()
    }

    #[test]
    fn the_hint_for_a_run_of_missing_addresses_is_one_loop() {
        let hint = add_command(&ips("192.168.1.200-230"));
        assert_eq!(hint, "for i in $(seq 200 230); do ip addr add 192.168.1.$i/32 dev lo; done");
        assert_eq!(add_command(&ips("192.168.1.7")), "ip addr add 192.168.1.7/32 dev lo");
        assert_eq!(
            add_command(&ips("10.0.0.1,10.0.0.9")),
            "ip addr add 10.0.0.1/32 dev lo; ip addr add 10.0.0.9/32 dev lo"
        );
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
