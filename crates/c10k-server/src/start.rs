//! Why a server cannot start, whose fault that is, and what mends it.

use std::io;
use std::net::SocketAddr;

use c10k_kernel::address::whole_bits;
use c10k_kernel::census::PortTaken;
use c10k_record::{Exit, ListenError, human_count};
use thiserror::Error;

/// Why there is no server. Nothing is left open, and nothing changed but by [`StartError::NotPutBack`].
#[derive(Debug, Error)]
pub(crate) enum StartError {
    /// The command line contradicts itself.
    #[error("{0}")]
    Usage(String),
    /// The profile's text is wrong.
    #[error("{message}")]
    ProfileText {
        /// What is wrong, with line and caret where there is one.
        message: String,
        /// What mends it.
        hint: Option<String>,
    },
    /// The profile cannot be applied on this host now.
    #[error("{message}")]
    ProfileHere {
        /// Why.
        message: String,
        /// What mends it.
        hint: Option<String>,
    },
    /// Somebody has that port already: a listener, or a connection at its own end.
    #[error("cannot listen on {address}: the port is taken (EADDRINUSE){}", by_whom(taken.as_deref()))]
    PortTaken {
        /// The address.
        address: SocketAddr,
        /// Who has it; `None` where that cannot be read.
        taken: Option<Box<PortTaken>>,
    },
    /// A port that this user may not have.
    #[error("cannot listen on {address}: this user may not use that port (EACCES)")]
    PortPrivileged {
        /// The address.
        address: SocketAddr,
    },
    /// The address is another machine's.
    #[error("cannot listen on {address}: the address is not on this machine (EADDRNOTAVAIL)")]
    NotHere {
        /// The address.
        address: SocketAddr,
    },
    /// Any other refusal.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The kernel's answer.
        source: io::Error,
    },
    /// Nobody may listen where the figures are to be served.
    #[error("{0}")]
    Metrics(ListenError),
    /// The descriptor limit is below what is asked for.
    #[error(
        "{} descriptors are needed in one table, but RLIMIT_NOFILE is soft {}, hard {}",
        human_count(*needed), limit(*soft), limit(*hard)
    )]
    Descriptors {
        /// Descriptors needed.
        needed: u64,
        /// The soft limit.
        soft: u64,
        /// The hard limit.
        hard: u64,
        /// Whether the workers could have had tables of their own.
        one_table_by_choice: bool,
    },
    /// A refusal, after which a setting of the host could not be put back, which has been told.
    #[error("{0}")]
    NotPutBack(Box<StartError>),
    /// The process that started this one is gone.
    #[error("process {0}, which was to be this server's parent, has ended")]
    ParentGone(u32),
    /// The kernel refused something else.
    #[error("cannot {doing}: {source}")]
    System {
        /// What was being done.
        doing: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
}

impl StartError {
    /// Why one address cannot be had.
    pub(crate) fn listen(address: SocketAddr, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::AddrInUse => {
                // Port 0 is the kernel's choice, and nobody's.
                let look = || PortTaken::look(address).ok().map(Box::new);
                Self::PortTaken { address, taken: (address.port() != 0).then(look).flatten() }
            }
            io::ErrorKind::PermissionDenied => Self::PortPrivileged { address },
            io::ErrorKind::AddrNotAvailable => Self::NotHere { address },
            _ => Self::Listen { address, source },
        }
    }

    /// A refusal without a decision to take.
    pub(crate) fn system(doing: &'static str) -> impl Fn(io::Error) -> Self {
        move |source| Self::System { doing, source }
    }

    /// The command or the change that mends it.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Usage(_) | Self::ParentGone(_) => None,
            Self::ProfileText { hint, .. } | Self::ProfileHere { hint, .. } => hint.clone(),
            Self::PortTaken { address, taken: None } => Some(format!(
                "see who has it with `ss -tanp 'sport = :{}'`, or choose another port with --listen",
                address.port()
            )),
            Self::PortTaken { taken: Some(taken), .. } => {
                Some(format!("{}; or choose another port with --listen", taken.hint()))
            }
            Self::PortPrivileged { address } => Some(format!(
                "ports below net.ipv4.ip_unprivileged_port_start need CAP_NET_BIND_SERVICE: \
                 choose another, or `sudo sysctl -w net.ipv4.ip_unprivileged_port_start={}`",
                address.port()
            )),
            Self::NotHere { address } => {
                let ip = address.ip();
                Some(format!("add it with `sudo ip addr add {ip}/{} dev lo`", whole_bits(ip)))
            }
            Self::Listen { .. } => None,
            Self::Descriptors { needed, hard, one_table_by_choice, .. } => {
                let raise =
                    format!("`sudo prlimit --pid $$ --nofile={needed}:{needed}` raises it in this shell");
                Some(match one_table_by_choice {
                    true => format!("without --one-table no limit needs raising; {raise}"),
                    false if needed <= hard => format!("`ulimit -Sn {needed}` raises the soft limit"),
                    false => raise,
                })
            }
            Self::Metrics(error) => Some(error.hint()),
            Self::NotPutBack(error) => error.hint(),
            Self::System { .. } => None,
        }
    }

    /// The exit code that says whose fault it is.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) | Self::ProfileText { .. } => Exit::BadText,
            Self::NotPutBack(_) => Exit::Broke,
            _ => Exit::HostCannot,
        }
    }
}

fn by_whom(taken: Option<&PortTaken>) -> String {
    taken.map_or_else(String::new, PortTaken::by_whom)
}

fn limit(value: u64) -> String {
    if value == u64::MAX { "unlimited".to_owned() } else { human_count(value) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_address_names_the_command_that_mends_it() {
        let refused = |errno: nix::errno::Errno| {
            StartError::listen("192.168.1.7:80".parse().unwrap(), errno.into()).hint().unwrap()
        };
        assert!(refused(nix::errno::Errno::EADDRINUSE).contains("another port with --listen"));
        let unread = StartError::PortTaken { address: "192.168.1.7:80".parse().unwrap(), taken: None };
        assert!(unread.hint().unwrap().contains("ss -tanp 'sport = :80'"));
        assert!(refused(nix::errno::Errno::EADDRNOTAVAIL).contains("ip addr add 192.168.1.7/32 dev lo"));
        assert!(refused(nix::errno::Errno::EACCES).contains("ip_unprivileged_port_start=80"));
    }

    #[test]
    fn too_few_descriptors_name_what_is_needed_and_what_stands() {
        let error =
            StartError::Descriptors { needed: 50_010, soft: 1024, hard: 20_000, one_table_by_choice: true };
        assert_eq!(
            error.to_string(),
            "50,010 descriptors are needed in one table, but RLIMIT_NOFILE is soft 1,024, hard 20,000"
        );
        assert!(error.hint().unwrap().contains("prlimit --pid $$ --nofile=50010:50010"));
        assert_eq!(error.exit(), Exit::HostCannot);
    }
}
