//! Who has a port, so that nobody else may listen on it: a listener, a socket that is bound and nothing more, a
//! connection that has the port at its own end, or what is left of one in TIME_WAIT.
//!
//! bind(2) says EADDRINUSE for each of them alike, and `ss -ltn` shows the first only. The last two come of
//! `net.ipv4.ip_local_port_range`: from it the kernel gives outgoing connections their ports, those of servers that are
//! not running at that moment included.

use std::cmp::Reverse;
use std::fmt::Write as _;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::{Query, STATE_NAMES, SockDiag, SocketLine, State, States, holders_of};
use crate::counters::ProcRoot;
use crate::process::name_of;
use crate::sysctl::SysctlRoot;

/// How somebody has a port; in the order of how surely it keeps others from listening there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TakenBy {
    /// Somebody listens on it.
    Listener,
    /// A socket is bound to it, and neither listens nor is connected.
    Bound,
    /// A connection has it at its own end.
    Connection,
    /// A connection that is over had it at its own end.
    TimeWait,
}

/// One socket that has the port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortUser {
    /// How.
    pub by: TakenBy,
    /// The kernel's name of its state.
    pub state: &'static str,
    /// Its own end.
    pub local: SocketAddr,
    /// The other end, where it has one.
    pub remote: Option<SocketAddr>,
    /// When a socket in TIME_WAIT is gone.
    pub gone_in: Option<Duration>,
    /// The process that holds it and its name, where that may be seen.
    pub process: Option<(u32, String)>,
}

/// Why an address cannot be listened on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortTaken {
    /// The address that was wanted.
    pub wanted: SocketAddr,
    /// Who has it; `None` where no socket of this network namespace shows it.
    pub user: Option<PortUser>,
    /// How many more sockets have it.
    pub others: u64,
    /// `net.ipv4.ip_local_port_range`, where the port lies within it.
    pub within: Option<(u16, u16)>,
    /// `net.ipv4.ip_local_reserved_ports` as it stands.
    pub reserved: String,
}

impl PortTaken {
    /// Looks in the network namespace of the calling thread.
    ///
    /// # Errors
    /// As [`SockDiag::open`] and [`SockDiag::census`].
    pub fn look(wanted: SocketAddr) -> io::Result<Self> {
        let users = SockDiag::open()?.users_of(wanted)?;
        let sysctl = SysctlRoot::default();
        let within = sysctl.local_port_range();
        Ok(Self {
            wanted,
            others: users.len().saturating_sub(1) as u64,
            user: users.into_iter().next().map(|(mut user, inode)| {
                user.process = process_with(inode);
                user
            }),
            within: within.filter(|(first, last)| (*first..=*last).contains(&wanted.port())),
            reserved: sysctl
                .read("net.ipv4.ip_local_reserved_ports")
                .map_or_else(|_| String::new(), |text| text.trim().to_owned()),
        })
    }

    /// Who has the port, in words that follow "the port is taken".
    #[must_use]
    pub fn by_whom(&self) -> String {
        let Some(user) = &self.user else {
            return ", and no socket of this network namespace shows by whom: one that is bound and neither listens nor \
                    is connected is shown since Linux 6.8"
                .to_owned();
        };
        let mut text = match user.by {
            TakenBy::Listener => format!(" by the listener on {}", user.local),
            TakenBy::Bound => {
                format!(" by a socket that is bound to {} and neither listens nor is connected", user.local)
            }
            TakenBy::Connection => {
                format!(" by a connection that has it at its own end, {} ({})", ends(user), user.state)
            }
            TakenBy::TimeWait => {
                format!(
                    " by what is left of a connection that had it at its own end, {} (TIME_WAIT",
                    ends(user)
                )
            }
        };
        match (user.by, user.gone_in) {
            (TakenBy::TimeWait, Some(left)) => {
                let _ = write!(text, ", for {} s more)", left.as_secs() + 1);
            }
            (TakenBy::TimeWait, None) => text.push(')'),
            _ => {}
        }
        if let Some((pid, name)) = &user.process {
            let _ = write!(text, ", of process {pid} ({name})");
        }
        match self.others {
            0 => {}
            1 => text.push_str(", and by one more socket"),
            more => {
                let _ = write!(text, ", and by {more} more sockets");
            }
        }
        text
    }

    /// How it came to that, the command that shows it, and what prevents it.
    #[must_use]
    pub fn hint(&self) -> String {
        let port = self.wanted.port();
        let shows = |command: &str| format!("`{command} 'sport = :{port}'` shows it");
        let look = match self.user.as_ref().map(|user| user.by) {
            Some(TakenBy::Listener) => shows("ss -ltnp"),
            // iproute2 shows no socket that is only bound; lsof goes by descriptors.
            Some(TakenBy::Bound) => format!("`sudo lsof -nP -iTCP:{port}` shows it; ss does not"),
            Some(TakenBy::Connection | TakenBy::TimeWait) => shows("ss -tanp"),
            None => format!("`sudo lsof -nP -iTCP:{port}` may show it"),
        };
        let outgoing = matches!(
            self.user.as_ref().map(|user| user.by),
            Some(TakenBy::Connection | TakenBy::TimeWait) | None
        );
        match self.within.filter(|_| outgoing) {
            Some((first, last)) => format!(
                "{look}; the port lies within net.ipv4.ip_local_port_range ({first}-{last}), from which the kernel gives \
                 outgoing connections theirs; from now on it is kept free with \
                 `sudo sysctl -w net.ipv4.ip_local_reserved_ports={}`",
                with_port(&self.reserved, port)
            ),
            None => look,
        }
    }
}

impl SockDiag {
    /// The sockets that have the port of `wanted` on an address that overlaps with its own, each with its inode; the one
    /// that most surely keeps others from it first.
    fn users_of(&mut self, wanted: SocketAddr) -> io::Result<Vec<(PortUser, u32)>> {
        let mut found = Vec::new();
        for family in [libc::AF_INET, libc::AF_INET6] {
            let states = States::ALL_AND_BOUND;
            let query = Query { family, states, local_port: wanted.port(), ..Query::default() };
            self.dump(query, |socket| {
                let local = plain(socket.local_address());
                // The kernel filters by the port already; port 0 asks for all.
                if local.port() == wanted.port() && overlap(wanted.ip(), local.ip()) {
                    found.push((user(socket, local), socket.inode()));
                }
            })?;
        }
        // Of several in TIME_WAIT the last to go decides when the port is free.
        found.sort_by_key(|(user, _)| (user.by, Reverse(user.gone_in)));
        Ok(found)
    }
}

fn user(socket: &SocketLine<'_>, local: SocketAddr) -> PortUser {
    let state = socket.state();
    let by = match state {
        _ if state == State::Listen as u8 => TakenBy::Listener,
        _ if state == State::TimeWait as u8 => TakenBy::TimeWait,
        _ if socket.remote_port() == 0 => TakenBy::Bound,
        _ => TakenBy::Connection,
    };
    let timer = Duration::from_millis(socket.expires_ms().into());
    PortUser {
        by,
        state: STATE_NAMES.get(usize::from(state)).copied().unwrap_or("BOUND_INACTIVE"),
        local,
        remote: (socket.remote_port() != 0).then(|| plain(socket.remote_address())),
        gone_in: (by == TakenBy::TimeWait).then_some(timer),
        process: None,
    }
}

/// An address as it is written without IPv6 around it: a socket of both families shows IPv4 as `::ffff:a.b.c.d`.
fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Whether a socket on the one address keeps another from listening on the other. `::` may take in IPv4 as well.
fn overlap(one: IpAddr, other: IpAddr) -> bool {
    one == other
        || (one.is_unspecified() || other.is_unspecified()) && one.is_ipv4() == other.is_ipv4()
        || other.is_unspecified() && other.is_ipv6()
}

fn process_with(inode: u32) -> Option<(u32, String)> {
    if inode == 0 {
        return None;
    }
    let pid = *holders_of(&ProcRoot::default(), &[inode]).pids.first()?;
    Some((pid, name_of(pid).unwrap_or_else(|_| "?".to_owned())))
}

fn ends(user: &PortUser) -> String {
    user.remote.map_or_else(|| user.local.to_string(), |remote| format!("{} to {remote}", user.local))
}

/// The list of reserved ports with one more: what is written replaces the whole list.
fn with_port(reserved: &str, port: u16) -> String {
    if reserved.is_empty() { port.to_string() } else { format!("{reserved},{port}") }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[track_caller]
    fn taken(wanted: SocketAddr) -> (PortTaken, PortUser) {
        let taken = PortTaken::look(wanted).unwrap();
        let user = taken.user.clone().unwrap_or_else(|| panic!("nobody has it: {taken:?}"));
        (taken, user)
    }

    #[test]
    fn a_listener_is_told_with_its_process() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (taken, user) = taken(listener.local_addr().unwrap());
        assert_eq!((user.by, user.local), (TakenBy::Listener, listener.local_addr().unwrap()));
        assert!(taken.by_whom().starts_with(" by the listener on 127.0.0.1:"), "{}", taken.by_whom());
        assert!(taken.hint().contains("ss -ltnp") && !taken.hint().contains("reserved"), "{}", taken.hint());
    }

    #[test]
    fn an_outgoing_connection_is_told_from_a_listener_and_so_is_its_time_wait() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, _) = listener.accept().unwrap();
        let own = client.local_addr().unwrap();
        let (seen, user) = taken(own);
        assert_eq!((user.by, user.remote), (TakenBy::Connection, Some(listener.local_addr().unwrap())));
        assert!(seen.hint().contains("ss -tanp 'sport = :"), "{}", seen.hint());
        let reserves = format!("ip_local_reserved_ports={}", with_port(&seen.reserved, own.port()));
        assert!(seen.hint().contains(&reserves), "the kernel chose the port: {}", seen.hint());
        let holds = user.process.expect("it is this process, or a child between fork and exec");
        assert!(seen.by_whom().contains(&format!("of process {} (", holds.0)), "{}", seen.by_whom());

        // Who closes first keeps the port for a minute.
        drop(client);
        std::io::Read::read(&mut &server, &mut [0]).unwrap();
        drop(server);
        let tries = (0..500).any(|_| {
            std::thread::sleep(Duration::from_millis(10));
            PortTaken::look(own).unwrap().user.is_some_and(|user| user.by == TakenBy::TimeWait)
        });
        assert!(tries, "{:?}", PortTaken::look(own));
        let (seen, user) = taken(own);
        let left = user.gone_in.expect("it has a timer");
        assert!(left > Duration::from_secs(20) && left <= Duration::from_secs(60), "{left:?}");
        assert!(seen.by_whom().contains("TIME_WAIT, for "), "{}", seen.by_whom());
        assert!(seen.hint().contains("ip_local_port_range"), "{}", seen.hint());
    }

    #[test]
    fn a_socket_that_is_only_bound_is_seen_where_the_kernel_shows_it() {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        let own = socket.local_addr().unwrap().as_socket().unwrap();
        let seen = PortTaken::look(own).unwrap();
        match &seen.user {
            Some(user) => {
                assert_eq!((user.by, user.remote), (TakenBy::Bound, None));
                assert!(seen.hint().contains("lsof"), "{}", seen.hint());
            }
            None => assert!(seen.by_whom().contains("since Linux 6.8"), "{}", seen.by_whom()),
        }
    }

    #[test]
    fn addresses_that_keep_each_other_from_a_port_are_told_from_those_that_do_not() {
        let overlap = |one: &str, other: &str| overlap(one.parse().unwrap(), other.parse().unwrap());
        for (wanted, has) in [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "10.0.0.1"), ("10.0.0.1", "0.0.0.0")] {
            assert!(overlap(wanted, has), "{wanted} {has}");
        }
        assert!(overlap("127.0.0.1", "::"), "a socket of both families");
        assert!(!overlap("127.0.0.1", "127.0.0.2") && !overlap("::", "127.0.0.1"));
        assert_eq!((with_port("", 7).as_str(), with_port("1-3,5", 7).as_str()), ("7", "1-3,5,7"));
    }
}
