//! Which process is the server: by the port it listens on.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::thread;
use std::time::Duration;

use c10k_kernel::census::{Listener, SockDiag, holders_of, holds};
use c10k_kernel::counters::ProcRoot;
use c10k_kernel::processes::{Processes, now_ticks};
use thiserror::Error;

use crate::family::expected;

/// A process that is younger may be one of those that come and go: a quarter of a second.
const YOUNG: Duration = Duration::from_millis(250);
/// The same at the kernel's 100 ticks a second.
const YOUNG_TICKS: u64 = 25;

/// A server that was found by its listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerFound {
    /// Where clients of this machine reach it: a listener on all addresses is reached on the loopback device.
    pub addresses: Vec<SocketAddr>,
    /// The process that holds the listener. Where several do, as a parent and its workers do, one that is no other's
    /// parent and did not begin in this moment; `None` when its descriptors may not be seen.
    pub pid: Option<u32>,
    /// The others that hold it too.
    pub others: Vec<u32>,
    /// Those that are likely to hold its connections, before there are any: workers, and not who started them.
    pub expected: Vec<u32>,
    /// The user who made the listener.
    pub uid: u32,
    /// Processes whose descriptors this user may not see.
    pub closed_to_us: u64,
}

impl ServerFound {
    /// What the caller should know of what could not be seen; `None` when all was.
    #[must_use]
    pub fn what_is_hidden(&self) -> Option<String> {
        let address = self.addresses.first()?;
        self.pid.is_none().then(|| {
            format!(
                "the process that listens on {address} (made by user {}) cannot be told: the descriptors of {} processes \
                 may not be read here (sudo may); its memory, descriptors and processor time stay unknown",
                self.uid, self.closed_to_us
            )
        })
    }
}

/// Why a server cannot be found.
#[derive(Debug, Error)]
pub enum FindError {
    /// The plan's fault, or the server's: it is not there.
    #[error("nobody listens on port {port} in this network namespace")]
    NobodyListens {
        /// The port.
        port: u16,
    },
    /// The process is there and does not listen on TCP, or in another namespace.
    #[error("process {pid} listens on no TCP port of this network namespace")]
    NotListening {
        /// The process.
        pid: u32,
    },
    /// The process is not there.
    #[error("there is no process {pid} here")]
    NoSuchProcess {
        /// The process.
        pid: u32,
    },
    /// Its descriptors may not be seen, so its ports are not known.
    #[error("the descriptors of process {pid} may not be read by this user, so its ports cannot be told")]
    Closed {
        /// The process.
        pid: u32,
    },
    /// It stands in another network namespace, which this user may not enter.
    #[error(
        "process {pid} stands in another network namespace, which may not be entered ({error}): where it listens, and \
         what its kernel counts, cannot be seen from here"
    )]
    CannotEnter {
        /// The process.
        pid: u32,
        /// Why.
        error: io::Error,
    },
    /// It stands in another network namespace, to which none of its addresses leads from here.
    #[error("process {pid} stands in another network namespace, and from here {} there", no_way(.tried))]
    NoWay {
        /// The process.
        pid: u32,
        /// Its addresses that are no loopback.
        tried: Vec<SocketAddr>,
    },
    /// The host's fault: no sock_diag.
    #[error("the kernel's table of listeners cannot be read: {0}")]
    SockDiag(#[from] io::Error),
}

/// Finds the server that listens on these ports in the network namespace of the calling thread.
///
/// # Errors
/// When nobody listens on one of them, or the listeners cannot be read. That its process may not be seen is no error.
pub fn find_server(ports: &[u16]) -> Result<ServerFound, FindError> {
    let mut diag = SockDiag::open()?;
    let mut listeners = Vec::new();
    for port in ports {
        let on_port = diag.listeners(*port)?;
        if on_port.is_empty() {
            return Err(FindError::NobodyListens { port: *port });
        }
        listeners.extend(on_port);
    }
    let root = ProcRoot::default();
    let inodes: Vec<u32> = listeners.iter().map(|listener| listener.inode).collect();
    let look = || (holders_of(&root, &inodes), Processes::look(&root));
    let (mut holders, mut all) = look();
    let now = now_ticks(&root);
    let is_young = |_, started| now.is_some_and(|now| now < started + YOUNG_TICKS);
    let mut pid = the_server(&all, &holders.pids, is_young);
    let started = pid.and_then(|pid| all.by_pid.get(&pid)).map(|line| line.started_ticks);
    if holders.pids.len() > 1 && started.is_some_and(|started| is_young(0, started)) {
        // They all are. Who is still there a moment later does not come and go.
        thread::sleep(YOUNG);
        let before = all;
        (holders, all) = look();
        pid = the_server(&all, &holders.pids, |pid, started| {
            before.by_pid.get(&pid).is_none_or(|line| line.started_ticks != started)
        });
    }
    Ok(ServerFound {
        addresses: reachable(&listeners),
        pid,
        expected: expected(&all, &holders.pids),
        others: holders.pids.into_iter().filter(|other| Some(*other) != pid).collect(),
        uid: listeners.first().map_or(0, |listener| listener.uid),
        closed_to_us: holders.closed_to_us,
    })
}

/// Finds where process `pid` listens, in the network namespace of the calling thread.
///
/// # Errors
/// When it is not there, may not be seen, or does not listen here.
pub fn find_listeners(pid: u32) -> Result<Vec<SocketAddr>, FindError> {
    held_listeners(pid).map(|held| reachable(&held))
}

/// The listeners of process `pid`, in the network namespace of the calling thread; the error is as for
/// [`find_listeners`].
pub(crate) fn held_listeners(pid: u32) -> Result<Vec<Listener>, FindError> {
    let root = ProcRoot::default();
    if !root.process_path(Some(pid), "stat").exists() {
        return Err(FindError::NoSuchProcess { pid });
    }
    let listeners = SockDiag::open()?.listeners(0)?;
    match fs::read_dir(root.process_path(Some(pid), "fd")) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            return Err(FindError::Closed { pid });
        }
        Err(_) => return Err(FindError::NoSuchProcess { pid }),
    }
    let held: Vec<Listener> = listeners
        .into_iter()
        .filter(|listener| holds(&root, pid, &[listener.inode]).unwrap_or(false))
        .collect();
    if held.is_empty() { Err(FindError::NotListening { pid }) } else { Ok(held) }
}

fn no_way(tried: &[SocketAddr]) -> String {
    if tried.is_empty() {
        return "only its own loopback leads".to_owned();
    }
    let tried: Vec<String> = tried.iter().map(ToString::to_string).collect();
    format!("a connection to {} does not come", tried.join(" or "))
}

/// The addresses of some listeners, each once, as a client of this machine would write them.
fn reachable(listeners: &[Listener]) -> Vec<SocketAddr> {
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for listener in listeners {
        let ip = match listener.address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
            ip => ip,
        };
        let address = SocketAddr::new(ip, listener.address.port());
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    // IPv4 first: it has as many sources as it takes.
    addresses.sort_by_key(SocketAddr::is_ipv6);
    addresses
}

/// The first that is not the parent of another: a parent that hands its listener to workers holds no connections. But no
/// process that is new, by its pid and its start, while another is not: a server may start processes that come and go,
/// and such a one is gone before it can be looked at.
fn the_server(all: &Processes, pids: &[u32], is_new: impl Fn(u32, u64) -> bool) -> Option<u32> {
    let lives: Vec<(u32, u64)> =
        pids.iter().filter_map(|pid| Some((*pid, all.by_pid.get(pid)?.started_ticks))).collect();
    let parents: Vec<u32> = lives.iter().map(|(pid, _)| all.by_pid[pid].parent).collect();
    let has_old = lives.iter().any(|(pid, started)| !is_new(*pid, *started));
    let mut stays = lives.iter().filter(|(pid, started)| !has_old || !is_new(*pid, *started));
    let first = stays
        .find(|(pid, _)| !parents.contains(pid))
        .or_else(|| lives.iter().min_by_key(|(_, started)| *started));
    first.map(|(pid, _)| *pid).or_else(|| pids.first().copied())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use c10k_kernel::processes::ProcessLine;

    use super::*;

    #[test]
    fn a_listener_leads_to_its_process_and_the_process_to_its_listener() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let found = find_server(&[address.port()]).unwrap();
        let own = std::process::id();
        assert_eq!(found.addresses, [address]);
        assert!(found.pid == Some(own) || found.others.contains(&own), "{found:?}");
        assert!(find_listeners(own).unwrap().contains(&address));
        drop(listener);
        // A child that another test forked in this moment keeps a copy of the listener until it executes its program.
        let is_gone = || matches!(find_server(&[address.port()]), Err(FindError::NobodyListens { .. }));
        let tries = std::iter::repeat_with(|| {
            std::thread::sleep(std::time::Duration::from_millis(20));
            is_gone()
        });
        assert!(tries.take(250).any(|gone| gone), "{address}");
    }

    #[test]
    fn a_listener_on_all_addresses_is_reached_on_loopback() {
        let listener = |text: &str| Listener {
            address: text.parse().unwrap(),
            accept_queue: 0,
            backlog: 1,
            drops: None,
            inode: 1,
            uid: 0,
        };
        let all =
            [listener("[::]:80"), listener("0.0.0.0:80"), listener("0.0.0.0:80"), listener("192.0.2.1:81")];
        let text: Vec<String> = reachable(&all).iter().map(ToString::to_string).collect();
        assert_eq!(text, ["127.0.0.1:80", "192.0.2.1:81", "[::1]:80"]);
    }

    #[test]
    fn of_a_parent_and_its_workers_a_worker_is_the_server() {
        let line = |parent, started_ticks| ProcessLine { parent, started_ticks, ..ProcessLine::default() };
        let all = |lines: &[(u32, u32, u64)]| Processes {
            by_pid: lines.iter().map(|(pid, parent, began)| (*pid, line(*parent, *began))).collect(),
        };
        let forked_before = all(&[(10, 1, 1000), (11, 10, 1001), (12, 10, 1001)]);
        let server =
            |all: &Processes, new: &[u32]| the_server(all, &[10, 11, 12], |pid, _| new.contains(&pid));
        assert_eq!(server(&forked_before, &[]), Some(11));
        assert_eq!(server(&forked_before, &[10, 11, 12]), Some(11), "all of them are new");
        let comes_and_goes = all(&[(10, 1, 1000), (12, 10, 4999)]);
        assert_eq!(server(&comes_and_goes, &[12]), Some(10), "11 is gone already, and 12 will be");
        let one_is_old = all(&[(10, 1, 1000), (11, 10, 4999), (12, 10, 1001)]);
        assert_eq!(server(&one_is_old, &[11]), Some(12));
        assert_eq!(the_server(&forked_before, &[11, 12], |_, _| false), Some(11));
        assert_eq!(the_server(&all(&[]), &[10, 11], |_, _| false), Some(10), "all are gone");
        assert_eq!(the_server(&forked_before, &[], |_, _| false), None);
    }

    #[test]
    fn what_may_not_be_seen_is_said() {
        let hidden = ServerFound {
            addresses: vec!["127.0.0.1:80".parse().unwrap()],
            pid: None,
            others: Vec::new(),
            expected: Vec::new(),
            uid: 33,
            closed_to_us: 70,
        };
        let text = hidden.what_is_hidden().unwrap();
        assert!(text.contains("user 33") && text.contains("70 processes"), "{text}");
        let seen = ServerFound { pid: Some(5), ..hidden };
        assert_eq!(seen.what_is_hidden(), None);
    }

    #[test]
    fn a_process_that_does_not_listen_and_one_that_is_not_there_are_told_apart() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let pid = child.id();
        assert!(matches!(find_listeners(pid), Err(FindError::NotListening { .. })));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(matches!(find_listeners(pid), Err(FindError::NoSuchProcess { .. })));
    }
}
