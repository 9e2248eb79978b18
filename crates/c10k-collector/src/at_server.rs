//! Which connections of a swarm exist at the server's end: what is open at the client need not, and without an echo
//! nothing else tells.
//!
//! # What is counted
//! The swarm's connections are the clients' ends that are ESTABLISHED towards the server and were not there before the
//! swarm began; where others have come meanwhile, those whose sockets the swarm's process holds. For each the socket at
//! the server's end is looked up, by the addresses and ports of both ends. An end that leads elsewhere, by a rule of a
//! firewall or through another machine, is not seen here, and then nothing is said.

use std::collections::BTreeSet;
use std::io;
use std::time::{Duration, Instant};

use c10k_kernel::census::{Ends, Servers, SockDiag, State, held_by};
use c10k_kernel::counters::ProcRoot;
use c10k_record::AtServerEnd;

/// Descriptors of the swarm that are looked through where others connect to the same server.
const LOOKED_THROUGH: usize = 1 << 17;
/// So long may a server that is taking connections take no more of them, and so long may it go on in all.
const STANDS_STILL: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(10);

/// Looks up the server's ends of a swarm's connections.
pub struct AtServer {
    servers: Servers,
    /// Where the clients' ends are.
    clients: SockDiag,
    /// Where the server's ends are.
    here: SockDiag,
    swarm_pid: u32,
    /// Clients' ends that were there before the swarm began.
    before: BTreeSet<Ends>,
    /// An end of the swarm's connections has been seen here.
    leads_here: bool,
}

/// The server's ends of a swarm's connections at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EndsSeen {
    /// ESTABLISHED at the client.
    pub open: u64,
    /// Of those, ESTABLISHED at the server's end too, and accepted by a process.
    pub accepted: u64,
    /// Of those, ESTABLISHED at the server's end and in the accept queue.
    pub waiting: u64,
    /// Of those, SYN_RECV at the server's end: there is no connection yet.
    pub half_open: u64,
    /// The inodes of the sockets that were accepted.
    pub inodes: Vec<u32>,
}

impl EndsSeen {
    /// Open at the client, and not ESTABLISHED at the server's end.
    #[must_use]
    pub fn absent(&self) -> u64 {
        self.open.saturating_sub(self.accepted + self.waiting)
    }

    /// Open at the client, and accepted by nobody.
    #[must_use]
    pub fn missing(&self) -> u64 {
        self.open.saturating_sub(self.accepted)
    }

    /// The same as the record has it.
    #[must_use]
    pub fn counts(&self) -> AtServerEnd {
        AtServerEnd { accepted: self.accepted, waiting: self.waiting, absent: self.absent() }
    }
}

impl AtServer {
    /// Begins before the swarm's first connect. `clients` and `here` ask the network namespaces in which the clients'
    /// and the server's ends are; `swarm_pid` is the process that connects.
    ///
    /// # Errors
    /// As [`SockDiag::client_ends`].
    pub fn begin(
        servers: Servers,
        mut clients: SockDiag,
        here: SockDiag,
        swarm_pid: u32,
    ) -> io::Result<Self> {
        let before = clients.client_ends(&servers)?.into_iter().map(|(ends, _)| ends).collect();
        Ok(Self { servers, clients, here, swarm_pid, before, leads_here: false })
    }

    /// Looks now, with `open` connections by the swarm's own count. `None` where the server's ends are not here, or the
    /// swarm's cannot be told from others. Walks the kernel's table of sockets twice: for the ends of phases.
    pub fn look(&mut self, open: u64) -> Option<EndsSeen> {
        let clients = self.own_ends(open)?;
        let mut seen = EndsSeen { open: clients.len() as u64, ..EndsSeen::default() };
        let leads_here = &mut self.leads_here;
        let count = |socket: &c10k_kernel::census::ServerSocket| {
            if clients.binary_search(&socket.ends).is_err() {
                return;
            }
            *leads_here = true;
            match socket.state {
                state if state == State::Established as u8 && socket.inode == 0 => seen.waiting += 1,
                state if state == State::Established as u8 => {
                    seen.accepted += 1;
                    seen.inodes.push(socket.inode);
                }
                state if state == State::SynRecv as u8 => seen.half_open += 1,
                _ => {}
            }
        };
        self.here.server_ends(&self.servers, count).ok()?;
        (self.leads_here || seen.open == 0).then_some(seen)
    }

    /// The clients' ends of the swarm's connections, sorted.
    fn own_ends(&mut self, open: u64) -> Option<Vec<Ends>> {
        let mut ends = self.clients.client_ends(&self.servers).ok()?;
        ends.retain(|(ends, _)| !self.before.contains(ends));
        if ends.len() as u64 > open {
            // Somebody else connects to the same server.
            let inodes: Vec<u32> = ends.iter().map(|(_, inode)| *inode).collect();
            let own = held_by(&ProcRoot::default(), self.swarm_pid, &inodes, LOOKED_THROUGH).ok()??;
            ends.retain(|(_, inode)| own.contains(inode));
        }
        let mut ends: Vec<Ends> = ends.into_iter().map(|(ends, _)| ends).collect();
        ends.sort_unstable();
        Some(ends)
    }
}

/// How long it is worth waiting for a server that is still taking connections.
#[derive(Debug)]
pub struct Patience {
    begun: Instant,
    grew_at: Instant,
    most: u64,
}

impl Patience {
    /// Begins now.
    #[must_use]
    pub fn begin(now: Instant) -> Self {
        Self { begun: now, grew_at: now, most: 0 }
    }

    /// Whether to look once more: not all are accepted, and within the last second there were more than before.
    pub fn goes_on(&mut self, seen: &EndsSeen, now: Instant) -> bool {
        if seen.accepted > self.most {
            (self.most, self.grew_at) = (seen.accepted, now);
        }
        let is_all = seen.accepted >= seen.open;
        !is_all && now.duration_since(self.grew_at) < STANDS_STILL && now.duration_since(self.begun) < LONGEST
    }
}

#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, TcpListener, TcpStream};

    use super::*;

    fn begin(servers: &[SocketAddr]) -> AtServer {
        let diag = || SockDiag::open().unwrap();
        AtServer::begin(Servers::at(servers), diag(), diag(), std::process::id()).unwrap()
    }

    #[test]
    fn a_connection_that_waits_is_told_from_one_that_was_accepted_and_a_stranger_is_neither() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let _stranger = TcpStream::connect(at).unwrap();
        let _its_end = listener.accept().unwrap();
        let mut ends = begin(&[at]);
        assert_eq!(ends.look(0), Some(EndsSeen::default()));
        let _clients: Vec<TcpStream> = (0..5).map(|_| TcpStream::connect(at).unwrap()).collect();
        let _accepted: Vec<_> = (0..3).map(|_| listener.accept().unwrap()).collect();
        let seen = ends.look(5).unwrap();
        assert_eq!((seen.open, seen.accepted, seen.waiting, seen.absent()), (5, 3, 2, 0));
        assert_eq!(seen.inodes.len(), 3);
    }

    #[test]
    fn who_comes_later_is_told_from_the_swarm_by_its_process() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let mut swarm = begin(&[at]);
        // This process is the stranger here: the swarm is another one, and holds none of these.
        swarm.swarm_pid = std::os::unix::process::parent_id();
        let _clients: Vec<TcpStream> = (0..3).map(|_| TcpStream::connect(at).unwrap()).collect();
        let seen = swarm.look(2);
        assert!(seen.is_none_or(|seen| seen.open == 0), "none is its own");
    }

    #[test]
    fn ends_that_lead_elsewhere_are_not_taken_for_missing() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let Ok(Ok(empty)) = c10k_kernel::namespace::Beside::new().and_then(|it| it.inside(SockDiag::open))
        else {
            #[allow(clippy::print_stderr, reason = "what was skipped is said aloud")]
            {
                eprintln!("SKIPPED: no network namespace may be made here");
            }
            return;
        };
        // What a rule that sends connections on would leave here: the clients' ends alone.
        let mut ends = AtServer { here: empty, ..begin(&[at]) };
        let _clients: Vec<TcpStream> = (0..3).map(|_| TcpStream::connect(at).unwrap()).collect();
        assert_eq!(ends.look(3), None);
        ends.leads_here = true;
        assert_eq!(ends.look(3).map(|seen| seen.absent()), Some(3), "once an end was here, they are missing");
    }

    #[test]
    fn a_server_that_goes_on_is_waited_for_and_one_that_stands_still_is_not() {
        let begun = Instant::now();
        let after = |ms: u64| begun + Duration::from_millis(ms);
        let seen = |accepted| EndsSeen { open: 10, accepted, ..EndsSeen::default() };
        let mut patience = Patience::begin(begun);
        assert!(patience.goes_on(&seen(0), after(10)) && patience.goes_on(&seen(4), after(900)));
        assert!(patience.goes_on(&seen(4), after(1800)), "it grew 0.9 s ago");
        assert!(!patience.goes_on(&seen(4), after(1900)) && !patience.goes_on(&seen(10), after(1950)));
        let mut slow = Patience::begin(begun);
        assert!(
            (1..=9).all(|n| slow.goes_on(&seen(n), after(n * 900))) && !slow.goes_on(&seen(9), after(10_001))
        );
    }
}
