//! Where such a server listens.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::{AsFd as _, OwnedFd};
use std::str::FromStr;

use thiserror::Error;

use crate::Exit;

/// An address and a port: `127.0.0.1:9464`, `[::1]:9464`; a port alone, and a port behind a colon, are of 127.0.0.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HttpAddress(SocketAddr);

impl FromStr for HttpAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let here = |port: &str| {
            let port = port.parse::<u16>().ok()?;
            Some(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
        };
        let address = match text.strip_prefix("localhost:").or(text.strip_prefix(':')) {
            Some(port) => here(port),
            None => text.parse().ok().or_else(|| here(text)),
        };
        address.map(Self).ok_or_else(|| {
            format!(
                "'{text}' is not an address with a port: expected 127.0.0.1:9464, [::1]:9464, or 9464 alone for 127.0.0.1"
            )
        })
    }
}

/// Why nothing is served.
#[derive(Debug, Error)]
pub enum ListenError {
    /// Nobody may listen there.
    #[error("cannot serve {what} on {address}: {}", in_words(.source))]
    Address {
        /// What was to be served, which is also the name of the flag.
        what: &'static str,
        /// Where.
        address: SocketAddr,
        /// The kernel's answer.
        source: io::Error,
    },
    /// What was handed on is no socket that listens.
    #[error("cannot serve {what} on stdin: {source}")]
    Inherited {
        /// What was to be served.
        what: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
    /// No thread could be started.
    #[error("cannot start the thread that serves {what}: {source}")]
    Thread {
        /// What was to be served.
        what: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
}

impl ListenError {
    /// What mends it.
    #[must_use]
    pub fn hint(&self) -> String {
        let Self::Address { what, address, source } = self else {
            return "`prlimit --nproc --nofile` shows how many threads and descriptors this user may have"
                .to_owned();
        };
        let port = address.port();
        match source.kind() {
            io::ErrorKind::AddrInUse => {
                format!(
                    "see who has it with `ss -ltnp 'sport = :{port}'`, or choose another port with --{what}"
                )
            }
            io::ErrorKind::PermissionDenied => format!(
                "ports below net.ipv4.ip_unprivileged_port_start need CAP_NET_BIND_SERVICE: choose a higher one with --{what}"
            ),
            io::ErrorKind::AddrNotAvailable => {
                format!("`ip -br addr` shows the addresses of this machine; --{what} {port} is 127.0.0.1")
            }
            _ => format!("choose another address with --{what}"),
        }
    }

    /// The exit code that says whose fault it is: this host's.
    #[must_use]
    pub fn exit(&self) -> Exit {
        Exit::HostCannot
    }
}

fn in_words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => "the port is taken (EADDRINUSE)".to_owned(),
        io::ErrorKind::PermissionDenied => "this user may not use that port (EACCES)".to_owned(),
        io::ErrorKind::AddrNotAvailable => "the address is not on this machine (EADDRNOTAVAIL)".to_owned(),
        _ => error.to_string(),
    }
}

/// A socket that listens. Clients wait in its queue until it is served, by this process or by one that it is handed on
/// to.
#[derive(Debug)]
pub struct Listening {
    pub(super) socket: TcpListener,
    what: &'static str,
    address: SocketAddr,
}

impl Listening {
    /// Listens for those who want `what`, which is also the name of the flag that said where.
    ///
    /// # Errors
    /// As bind(2) and listen(2).
    pub fn open(HttpAddress(address): HttpAddress, what: &'static str) -> Result<Self, ListenError> {
        let refused = |source| ListenError::Address { what, address, source };
        let socket = TcpListener::bind(address).map_err(refused)?;
        let address = socket.local_addr().map_err(refused)?;
        Ok(Self { socket, what, address })
    }

    /// The socket that another process handed on as stdin, see [`Listening::handed_on`].
    ///
    /// # Errors
    /// When stdin is no socket that listens.
    pub fn inherited(what: &'static str) -> Result<Self, ListenError> {
        let refused = |source| ListenError::Inherited { what, source };
        let stdin = io::stdin().as_fd().try_clone_to_owned().map_err(refused)?;
        let socket = TcpListener::from(stdin);
        let address = socket.local_addr().map_err(refused)?;
        Ok(Self { socket, what, address })
    }

    /// The socket for a process that is started: as its stdin.
    ///
    /// # Errors
    /// EMFILE.
    pub fn handed_on(&self) -> io::Result<OwnedFd> {
        self.socket.as_fd().try_clone_to_owned()
    }

    /// Where it listens, with the port that the kernel chose.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn refused(&self, source: io::Error) -> ListenError {
        ListenError::Address { what: self.what, address: self.address, source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_alone_is_of_this_machine_and_an_address_is_what_it_says() {
        for (text, address) in [
            ("9464", "127.0.0.1:9464"),
            (":9464", "127.0.0.1:9464"),
            ("0", "127.0.0.1:0"),
            (":0", "127.0.0.1:0"),
            ("localhost:1", "127.0.0.1:1"),
            ("0.0.0.0:9464", "0.0.0.0:9464"),
            ("[::1]:9464", "[::1]:9464"),
        ] {
            assert_eq!(text.parse(), Ok(HttpAddress(address.parse().unwrap())), "{text}");
        }
        for text in
            ["", ":", "x", "127.0.0.1", "127.0.0.1:", "127.0.0.1:70000", "::1", "-1", "a.example:80", "1:2"]
        {
            let error = text.parse::<HttpAddress>().expect_err(text);
            assert!(error.starts_with(&format!("'{text}' is not an address with a port")), "{error}");
        }
    }

    #[test]
    fn a_port_that_is_taken_is_told_with_who_could_have_it() {
        let first = Listening::open("0".parse().unwrap(), "metrics").unwrap();
        let address = first.address();
        let error = Listening::open(HttpAddress(address), "metrics").unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("cannot serve metrics on {address}: the port is taken (EADDRINUSE)")
        );
        assert!(error.hint().contains(&format!("'sport = :{}'", address.port())), "{}", error.hint());
        assert_eq!(error.exit(), Exit::HostCannot);
        let error = Listening::open("192.0.2.1:1".parse().unwrap(), "metrics").unwrap_err();
        assert!(error.hint().contains("--metrics 1 is 127.0.0.1"), "{}", error.hint());
    }
}
