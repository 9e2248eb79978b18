//! Why a swarm does not start, whose fault that is, and what mends it.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use c10k_kernel::address;
use c10k_record::{Exit, human_count, shell, short_count};
use thiserror::Error;

use crate::ips::AddressError;

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
        /// The device by which the server is reached; `None` where that is not known.
        device: Option<String>,
    },
    /// The sources allow fewer connections than are wanted.
    #[error("the sources allow {} connections, {} are wanted: {sources} source {} × {} ports × {destinations} {}{}",
        human_count(*.capacity), human_count(*.target), if *.sources == 1 { "address" } else { "addresses" },
        human_count(*.ports), if *.destinations == 1 { "destination" } else { "destinations" }, kept(*.reserved))]
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
        /// Ports of the window that `net.ipv4.ip_local_reserved_ports` keeps from the swarm.
        reserved: u64,
    },
    /// The descriptor limit is too low for anything.
    #[error(
        "{} descriptors are needed in one table, but RLIMIT_NOFILE is soft {}, hard {}",
        human_count(*.needed), human_limit(*.soft), human_limit(*.hard)
    )]
    Descriptors {
        /// Descriptors needed.
        needed: u64,
        /// The soft limit.
        soft: u64,
        /// The hard limit.
        hard: u64,
    },
    /// More workers are needed than this process can have.
    #[error("{} connections need {} workers, and {} fit (vm.max_map_count): about {} connections",
        human_count(*.target), human_count(*.needed), human_count(*.most), human_count(*.fits))]
    Workers {
        /// Connections wanted.
        target: u64,
        /// Workers that they need.
        needed: u64,
        /// Workers that this process can have.
        most: u64,
        /// Connections of those.
        fits: u64,
    },
    /// A file cannot be written.
    #[error("cannot write '{}': {error}", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the kernel said.
        error: std::io::Error,
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

/// What is said of reserved ports.
fn kept(reserved: u64) -> String {
    match reserved {
        0 => String::new(),
        1 => "; 1 more port is reserved (net.ipv4.ip_local_reserved_ports)".to_owned(),
        reserved => {
            let reserved = human_count(reserved);
            format!("; {reserved} more ports are reserved (net.ipv4.ip_local_reserved_ports)")
        }
    }
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
            | Self::Descriptors { .. }
            | Self::Workers { .. }
            | Self::File { .. }
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
            Self::NotHere { missing, device, .. } => {
                let device = device.as_deref().unwrap_or("lo");
                format!(
                    "{}; or, as root, --add-ips {device} adds them for the time of the run",
                    add_command(missing, device)
                )
            }
            Self::TooFew { capacity, target, sources, .. } => {
                let per_source = (capacity / (*sources).max(1)).max(1);
                let more = target.saturating_sub(*capacity).div_ceil(per_source);
                format!(
                    "{more} more source {} with --ips, a wider --ports (with net.ipv4.ip_local_port_range), or \
                     more server ports would do",
                    if more == 1 { "address" } else { "addresses" }
                )
            }
            Self::Descriptors { needed, hard, .. } if needed <= hard => {
                format!("`ulimit -Sn {needed}` raises the soft limit")
            }
            Self::Descriptors { needed, .. } => {
                format!("`sudo prlimit --pid $$ --nofile={needed}:{needed}` raises it in this shell")
            }
            Self::Workers { fits, .. } => format!(
                "--target {}, or a larger table for each worker (`ulimit -n`), or --force to meet the wall",
                short_count(*fits)
            ),
            Self::File { path, error } => file_hint(path, error),
            Self::Host { error, .. } => host_hint(error),
        }
    }
}

fn human_limit(limit: u64) -> String {
    if limit == u64::MAX { "unlimited".to_owned() } else { human_count(limit) }
}

fn file_hint(path: &Path, error: &std::io::Error) -> String {
    let shown = shell::quoted(&path.display().to_string());
    match error.kind() {
        ErrorKind::FileTooLarge => "`ulimit -f` shows how long a file may be here".to_owned(),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            format!("`df -h {shown}` shows what is left there; another path has room")
        }
        ErrorKind::NotFound => format!("its folder is not there: `mkdir -p \"$(dirname {shown})\"`"),
        ErrorKind::IsADirectory => "give the path of a file".to_owned(),
        _ => "give a path that this user may write".to_owned(),
    }
}

fn host_hint(error: &std::io::Error) -> String {
    let hint = match error.raw_os_error() {
        Some(libc::EMFILE | libc::EAGAIN) => "`prlimit --nofile --nproc` shows what this user may have",
        Some(libc::ENFILE) => "`sysctl fs.file-nr` shows how many files the whole machine has open",
        Some(libc::EPERM) => "it takes root",
        Some(libc::EINVAL) => "a user must be known in this user namespace: /proc/self/uid_map",
        Some(libc::ESRCH) => "start it from a process that lives as long as it is to run",
        Some(libc::ENOMEM) => "`free -h` shows what memory is left",
        _ => "errno(3) says more of the kernel's reason",
    };
    hint.to_owned()
}

/// The command that adds addresses, short for a run within one /24.
fn add_command(missing: &[IpAddr], device: &str) -> String {
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
            format!("for i in $(seq {first} {last}); do ip addr add {a}.{b}.{c}.$i/32 dev {device}; done")
        }
        _ => missing
            .iter()
            .take(4)
            .map(|ip| format!("ip addr add {ip}/{} dev {device}", address::whole_bits(*ip)))
            .collect::<Vec<_>>()
            .join("; "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ips::IpList;

    fn ips(text: &str) -> Vec<IpAddr> {
        text.parse::<IpList>().expect("a list").addresses().to_vec()
    }

    #[test]
    fn the_hint_for_a_run_of_missing_addresses_is_one_loop() {
        let hint = add_command(&ips("192.168.1.200-230"), "eth7");
        assert_eq!(hint, "for i in $(seq 200 230); do ip addr add 192.168.1.$i/32 dev eth7; done");
        assert_eq!(add_command(&ips("192.168.1.7"), "eth7"), "ip addr add 192.168.1.7/32 dev eth7");
        assert_eq!(
            add_command(&ips("10.0.0.1,10.0.0.9"), "eth7"),
            "ip addr add 10.0.0.1/32 dev eth7; ip addr add 10.0.0.9/32 dev eth7"
        );
    }

    #[test]
    fn ports_that_are_reserved_are_said_where_they_are_missed() {
        let few = |reserved| {
            let (capacity, target, sources, ports, destinations) = (1000, 2000, 1, 1000, 1);
            SetupError::TooFew { capacity, target, sources, ports, destinations, reserved }.to_string()
        };
        let said = few(1000);
        assert!(
            said.ends_with("; 1,000 more ports are reserved (net.ipv4.ip_local_reserved_ports)"),
            "{said}"
        );
        assert!(!few(0).contains("reserved"));
    }

    #[test]
    fn missing_sources_are_added_to_the_device_that_leads_to_the_server() {
        let missing = ips("192.0.2.7");
        let hint = SetupError::NotHere { missing, named: 1, device: Some("eth7".to_owned()) }.hint();
        assert!(hint.contains("192.0.2.7/32 dev eth7") && hint.contains("--add-ips eth7"), "{hint}");
    }

    fn errno(number: i32) -> std::io::Error {
        std::io::Error::from_raw_os_error(number)
    }

    #[test]
    fn a_file_that_cannot_be_written_is_told_with_what_helps_there() {
        let hint = |path: &str, number| SetupError::File { path: path.into(), error: errno(number) }.hint();
        for (number, helps) in [
            (libc::ENOSPC, "df -h '/my logs/x'"),
            (libc::EDQUOT, "df -h '/my logs/x'"),
            (libc::EFBIG, "ulimit -f"),
            (libc::ENOENT, "mkdir -p"),
            (libc::EISDIR, "path of a file"),
            (libc::EACCES, "may write"),
            (libc::EROFS, "may write"),
        ] {
            let hint = hint("/my logs/x", number);
            assert!(hint.contains(helps) && !hint.contains("prlimit"), "{number}: {hint}");
        }
    }

    #[test]
    fn a_limit_is_hinted_at_only_where_it_is_one() {
        let hint = |number| SetupError::Host { what: "x".to_owned(), error: errno(number) }.hint();
        for (number, is_a_limit) in
            [(libc::EMFILE, true), (libc::EAGAIN, true), (libc::ENOMEM, false), (libc::EIO, false)]
        {
            assert_eq!(hint(number).contains("prlimit"), is_a_limit, "{number}");
        }
    }
}
