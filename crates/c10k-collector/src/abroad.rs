//! What can be looked at beside the counters once connections are lost or silent: TCP_INFO of a sample, the server's own
//! connections, its listeners, the rules of a firewall. Each is looked at once, and not at every tick.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use c10k_kernel::census::{Destination, SockDiag, TcpInfo, held_by, holders_of, source_ports};
use c10k_kernel::counters::ProcRoot;
use c10k_kernel::namespace::Beside;
use c10k_kernel::rules;
use c10k_kernel::sysctl::SysctlRoot;
use c10k_record::{FirewallRules, Listeners, Outgoing, RunEvidence, SilentSample};

use crate::per_end::PerEnd;

/// Connections of which TCP_INFO is looked at.
const SAMPLE: usize = 256;
/// So many of them that were asked something are enough to judge by.
const ENOUGH: u64 = 16;
/// Who was asked just before the time that is counted from.
const SLACK_MS: u64 = 300;
/// Descriptors of one process that are looked through for a socket of its own.
const LOOKED_THROUGH: usize = 1 << 17;
/// Destinations that are looked at: the first has most connections.
const DESTINATIONS: usize = 16;

/// So long may a new connection take to be answered, where others are silent.
const PATIENCE: Duration = Duration::from_secs(2);

/// Looks beside the counters of one run: from the swarm's end and from the server's, each where it stands.
pub struct Abroad {
    servers: Vec<SocketAddr>,
    /// The namespaces of both ends, where they are not this one.
    places: PerEnd<Option<Beside>>,
    clients: Option<SockDiag>,
}

impl Abroad {
    /// Begins; each end stands in its place or, without one, here.
    #[must_use]
    pub fn begin(servers: &[SocketAddr], places: PerEnd<Option<&Beside>>) -> Self {
        let clients = match places.client() {
            Some(place) => place.inside(SockDiag::open).and_then(|opened| opened),
            None => SockDiag::open(),
        };
        let own = |place: Option<&Beside>| place.and_then(|place| place.try_clone().ok());
        let places = PerEnd { server: own(places.server), client: Some(own(*places.client())) };
        Self { servers: servers.to_vec(), places, clients: clients.ok() }
    }

    /// What TCP knows of the swarm's ends, of which `open` are open, so long after they began to say something that
    /// nobody answers. It takes up to two seconds, for a new connection is tried where they are silent.
    pub fn silent(&mut self, open: u64, after: Duration) -> Option<SilentSample> {
        let mut seen = silent_sample(self.clients.as_mut()?, &self.servers, open, after)?;
        if let Some(first) = self.servers.first().copied().filter(|_| seen.unacked > 0) {
            let tried = || answers(first, PATIENCE);
            seen.new_connects = match self.places.client() {
                Some(place) => place.inside(tried).ok(),
                None => Some(tried()),
            };
        }
        Some(seen)
    }

    /// Looks at the server's end, where connections were lost; at a server's own connections only where it is not ours.
    pub fn servers_end(&self, is_foreign: bool, evidence: &mut RunEvidence) {
        let mut ports: Vec<u16> = self.servers.iter().map(SocketAddr::port).collect();
        ports.sort_unstable();
        ports.dedup();
        let look = || {
            let outgoing = is_foreign.then(|| outgoing_of_listeners(&ports)).flatten();
            (listeners_on(&ports), firewall_rules(&ports), outgoing)
        };
        let seen = match &self.places.server {
            Some(place) => place.inside(look).unwrap_or_default(),
            None => look(),
        };
        (evidence.listeners, evidence.rules, evidence.outgoing) = seen;
        // The clients' end has rules of its own where it stands elsewhere.
        let rules_there = || firewall_rules(&ports);
        let clients = match (&self.places.client, &self.places.server) {
            (Some(Some(place)), _) => Some(place.inside(rules_there).ok().flatten()),
            (_, Some(_)) => Some(rules_there()),
            _ => None,
        };
        if let Some(clients) = clients {
            evidence.rules = evidence.rules.zip(clients).map(|(one, other)| one.and(other));
        }
    }
}

/// What TCP knows of the clients' ends of connections to `servers`, of which `open` are open: of those on which data was
/// sent in the time `after` until now. `None` where it cannot be read, or there are none.
pub fn silent_sample(
    clients: &mut SockDiag,
    servers: &[SocketAddr],
    open: u64,
    after: Duration,
) -> Option<SilentSample> {
    // Few of many may have been asked: then all are looked at, which takes as long as a census.
    let some = summary(&infos(clients, servers, open, SAMPLE)?, after);
    match some {
        Some(seen) if seen.sampled >= ENOUGH || open <= SAMPLE as u64 => Some(seen),
        some => summary(&infos(clients, servers, open, usize::MAX)?, after).or(some),
    }
}

fn infos(clients: &mut SockDiag, servers: &[SocketAddr], open: u64, most: usize) -> Option<Vec<TcpInfo>> {
    let mut infos = Vec::new();
    for server in servers.iter().take(SAMPLE) {
        let share = (open / servers.len() as u64).max(1);
        let found = clients.sample_clients(*server, share, (most / servers.len()).max(1)).ok()?;
        let to_it = |remote: SocketAddr| {
            remote.ip().to_canonical() == server.ip().to_canonical() || server.ip().is_unspecified()
        };
        infos.extend(found.iter().filter(|one| to_it(one.remote)).map(|one| one.info));
    }
    Some(infos)
}

fn summary(infos: &[TcpInfo], after: Duration) -> Option<SilentSample> {
    let after_ms = after.as_millis() as u64;
    // The others were not asked yet.
    let infos: Vec<&TcpInfo> =
        infos.iter().filter(|info| u64::from(info.last_data_sent_ms) <= after_ms + SLACK_MS).collect();
    // Sent again at least once: what has only just been sent has had no time.
    let unacked: Vec<&&TcpInfo> =
        infos.iter().filter(|info| info.unacked > 0 && info.retransmits.max(info.backoff) > 0).collect();
    let mut quiet: Vec<u64> =
        unacked.iter().map(|info| u64::from(info.last_data_recv_ms).saturating_sub(after_ms)).collect();
    let mut rtts: Vec<u64> =
        infos.iter().map(|info| u64::from(info.rtt_us)).filter(|rtt_us| *rtt_us > 0).collect();
    (!infos.is_empty()).then(|| SilentSample {
        after_ms,
        sampled: infos.len() as u64,
        unacked: unacked.len() as u64,
        last_ack_ms: unacked.iter().map(|info| u64::from(info.last_ack_recv_ms)).min(),
        quiet_ms: median(&mut quiet),
        rtt_us: median(&mut rtts),
        new_connects: None,
    })
}

fn median(values: &mut [u64]) -> Option<u64> {
    values.sort_unstable();
    values.get(values.len() / 2).copied()
}

/// Whether a new connection to `server` is answered, be it by a refusal, from the network namespace of the calling thread.
#[must_use]
pub fn answers(server: SocketAddr, within: Duration) -> bool {
    match TcpStream::connect_timeout(&server, within) {
        Ok(_) => true,
        Err(error) => error.kind() == io::ErrorKind::ConnectionRefused,
    }
}

/// The place to which the processes that listen on `ports` have most connections of their own. `None` where they have
/// none, or it may not be seen.
fn outgoing_of_listeners(ports: &[u16]) -> Option<Outgoing> {
    let root = ProcRoot::default();
    let mut diag = SockDiag::open().ok()?;
    let mut inodes = Vec::new();
    for port in ports {
        inodes.extend(diag.listeners(*port).ok()?.iter().map(|listener| listener.inode));
    }
    let pids = holders_of(&root, &inodes).pids;
    let to_itself = |destination: &Destination| ports.contains(&destination.to.port());
    let mut destinations = diag.outgoing().ok()?;
    destinations.retain(|destination| !to_itself(destination));
    destinations.truncate(DESTINATIONS);
    let ((first_port, last_port), count) = source_ports()?;
    destinations.iter().find_map(|destination| {
        let holds = |pid: &u32| {
            held_by(&root, *pid, &destination.inodes, LOOKED_THROUGH)
                .is_ok_and(|held| held.is_some_and(|held| !held.is_empty()))
        };
        let pid = pids.iter().copied().find(|pid| holds(pid))?;
        let takes_again = time_wait_is_taken_again(destination.from);
        Some(Outgoing {
            pid,
            from: destination.from.to_string(),
            to: destination.to.to_string(),
            ports_in_use: if takes_again { destination.connections } else { destination.ports() },
            ports_waiting: if takes_again { destination.time_wait } else { 0 },
            ports: count,
            first_port,
            last_port,
        })
    })
}

/// Whether a new connection from there may take a port in TIME_WAIT that is a second old (net/ipv4/tcp_ipv4.c,
/// `tcp_twsk_unique`).
fn time_wait_is_taken_again(from: IpAddr) -> bool {
    let number = |key| SysctlRoot::default().read(key).ok().and_then(|text| text.trim().parse::<u64>().ok());
    match number("net.ipv4.tcp_tw_reuse").unwrap_or(2) {
        _ if number("net.ipv4.tcp_timestamps") == Some(0) => false,
        0 => false,
        2 => from.is_loopback(),
        _ => true,
    }
}

/// All listeners on these ports, in the network namespace of the calling thread.
#[must_use]
pub fn listeners_on(ports: &[u16]) -> Option<Listeners> {
    let mut diag = SockDiag::open().ok()?;
    let mut seen = Listeners { least_backlog: u64::MAX, ..Listeners::default() };
    for port in ports {
        for listener in diag.listeners(*port).ok()? {
            let (waiting, backlog) = (u64::from(listener.accept_queue), u64::from(listener.backlog));
            seen.count += 1;
            seen.waited_at += u64::from(waiting > 0);
            // One more than the backlog is let in (net/ipv4/inet_connection_sock.c, sk_acceptq_is_full).
            seen.full += u64::from(waiting > backlog);
            seen.longest = seen.longest.max(waiting);
            seen.least_backlog = seen.least_backlog.min(backlog);
        }
    }
    if seen.count == 0 {
        seen.least_backlog = 0;
    }
    Some(seen)
}

/// The rules of nftables in the network namespace of the calling thread, with what they say of these ports. `None` without
/// the right to read them. Of iptables' older tables it is only known that they are there: each counts as a rule.
fn firewall_rules(ports: &[u16]) -> Option<FirewallRules> {
    let rules::Rules { all, reject, count, limit, refuse } = rules::look(ports).ok()?;
    let all = all + rules::older_tables();
    Some(FirewallRules { all, reject, count, limit, refuse: Some(refuse) })
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn info(unacked: u32, retransmits: u8, last_data_recv_ms: u32) -> TcpInfo {
        TcpInfo { unacked, retransmits, last_data_recv_ms, rtt_us: 300, ..TcpInfo::default() }
    }

    #[test]
    fn only_what_was_sent_again_and_not_acknowledged_is_silent() {
        let idle = TcpInfo { last_data_sent_ms: 8_000, ..info(0, 0, 8_000) };
        let infos = [info(1, 3, 10_000), info(1, 0, 10_000), info(0, 0, 5), info(2, 1, 9_000), idle, idle];
        let seen = summary(&infos, Duration::from_secs(2)).expect("sampled");
        assert_eq!((seen.sampled, seen.unacked, seen.after_ms), (4, 2, 2_000));
        assert_eq!((seen.quiet_ms, seen.rtt_us, seen.new_connects), (Some(8_000), Some(300), None));
        assert_eq!((summary(&[], Duration::ZERO), summary(&[idle], Duration::ZERO)), (None, None));
    }

    #[test]
    fn connections_that_are_acknowledged_are_not_silent_although_nobody_reads() {
        use std::io::Write;
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let at = listener.local_addr().expect("bound");
        let mut clients: Vec<TcpStream> =
            (0..8).map(|_| TcpStream::connect(at).expect("room in the queue")).collect();
        for client in &mut clients {
            client.write_all(&[1; 64]).expect("it is open");
        }
        let mut diag = SockDiag::open().expect("sock_diag");
        let seen = silent_sample(&mut diag, &[at], 8, Duration::from_secs(1)).expect("they are open");
        assert_eq!((seen.sampled, seen.unacked), (8, 0), "nobody has accepted them, and the kernel answers");
        let queues = listeners_on(&[at.port()]).expect("sock_diag");
        assert_eq!((queues.count, queues.waited_at, queues.full, queues.longest), (1, 1, 0, 8));
        assert!(answers(at, Duration::from_secs(5)));
        drop((clients, listener));
        assert!(answers(at, Duration::from_secs(5)), "a refusal is an answer");
        assert_eq!(listeners_on(&[at.port()]), Some(Listeners::default()));
    }

    #[test]
    fn what_a_process_that_listens_has_of_its_own_is_told_with_its_ports() {
        let behind = TcpListener::bind("127.0.0.1:0").expect("a port");
        let proxy = TcpListener::bind("127.0.0.1:0").expect("a port");
        let to = behind.local_addr().expect("bound");
        let own: Vec<TcpStream> = (0..300)
            .map(|_| {
                let stream = TcpStream::connect(to).expect("room");
                let _ = behind.accept().expect("it came");
                stream
            })
            .collect();
        let port = proxy.local_addr().expect("bound").port();
        let found = outgoing_of_listeners(&[port]).expect("it has connections");
        assert_eq!(found.pid, std::process::id());
        assert!(found.ports > 0 && !found.is_used_up() && found.first_port < found.last_port);
        assert!(found.ports_in_use >= 1, "{found:?}");
        drop(own);
        assert_eq!(outgoing_of_listeners(&[]), None);
    }
}
