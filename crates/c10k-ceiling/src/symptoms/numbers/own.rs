//! The numbers that the limits of the host at hand give.

use c10k_record::{HostSnapshot, human_count};

use super::fingerprint::Fingerprint;
use super::known::{
    CONNTRACK, DESCRIPTORS, EVERY_OTHER, FILES, PORTS, QUEUE, THREADS, WATCHES, WHERE_FDS, WHERE_PORTS,
    WHERE_QUEUE, WHERE_TRACKED,
};
use super::said::Said;

/// More sources than this nobody has by chance.
const MOST_SOURCES: u64 = 256;
/// A limit beyond this bounds no connections.
const NO_LIMIT: u64 = 1 << 32;

/// A limit that each connection takes one of, or two, or four.
struct Own {
    name: &'static str,
    value: Option<u64>,
    /// How many of it are taken by other things, at the most.
    others: u64,
    walls: &'static [&'static str],
    prove: &'static str,
    /// Who takes two a connection, and four; empty where nobody does.
    two: &'static str,
    four: &'static str,
}

/// What gives this number here.
pub(super) fn of_this_host(said: &Said, host: &HostSnapshot) -> Vec<Fingerprint> {
    let limits = limits(host);
    let mut found: Vec<Fingerprint> = limits.iter().filter_map(|limit| whole(said, limit)).collect();
    found.extend(ports(said, host));
    found.extend(limits.iter().filter_map(|limit| part(said, limit)));
    found
}

fn limits(host: &HostSnapshot) -> Vec<Own> {
    let mut limits = descriptors(host);
    limits.extend(kernel_tables(host));
    limits.extend(threads(host));
    limits.extend(accept_queue(host));
    limits.retain(|limit| limit.value.is_some_and(|value| value > 64 && value < NO_LIMIT));
    limits
}

/// A limit of which a connection takes one, and other things nothing.
const fn plain(
    name: &'static str,
    value: Option<u64>,
    walls: &'static [&'static str],
    prove: &'static str,
) -> Own {
    Own { name, value, others: 0, walls, prove, two: "", four: "" }
}

const BOTH_ENDS: &str = "a connection takes two with both ends on this host";

fn descriptors(host: &HostSnapshot) -> Vec<Own> {
    let nofile = |name, value| Own {
        others: few(value),
        two: "a connection takes two: a proxy's two legs, or both ends in one process",
        four: "a connection takes four: a proxy's two legs and the pipe of splice(2) between them",
        ..plain(name, value, DESCRIPTORS, WHERE_FDS)
    };
    let files = "`sysctl fs.file-nr`: the first number stands at the last";
    vec![
        nofile("the soft RLIMIT_NOFILE here", host.nofile_soft),
        nofile("the hard RLIMIT_NOFILE here", host.nofile_hard),
        nofile("the server's RLIMIT_NOFILE", host.server_nofile),
        nofile("the swarm's RLIMIT_NOFILE", host.swarm_nofile),
        // It bounds what RLIMIT_NOFILE may be, so nothing takes two of it.
        Own { others: few(host.nr_open), ..plain("fs.nr_open here", host.nr_open, &["nr-open"], WHERE_FDS) },
        Own {
            others: host.files_in_use.unwrap_or(0).max(few(host.file_max)),
            two: BOTH_ENDS,
            four: "a connection takes four where a proxy stands between two ends on this host",
            ..plain("fs.file-max here", host.file_max, FILES, files)
        },
    ]
}

fn kernel_tables(host: &HostSnapshot) -> Vec<Own> {
    let watches = "ENOSPC from epoll_ctl(2): `strace -f -e trace=epoll_ctl -p PID`";
    let buckets = "`ss -s` shows as many in timewait, and TCPTimeWaitOverflow of `nstat -az` grows";
    let neighbours = "`ip neigh | wc -l`, and table_fulls of `nstat -az`";
    let neighbour_table: &[&str] = &["neighbour-table"];
    vec![
        Own {
            others: few(host.epoll_watches),
            two: BOTH_ENDS,
            four: "a connection takes four where both ends watch each socket in two epoll instances",
            ..plain("fs.epoll.max_user_watches here", host.epoll_watches, WATCHES, watches)
        },
        Own {
            others: few(host.conntrack_max),
            two: "a connection takes two: a proxy's two legs",
            ..plain("nf_conntrack_max here", host.conntrack_max, CONNTRACK, WHERE_TRACKED)
        },
        plain("net.ipv4.tcp_max_tw_buckets here", host.max_tw_buckets, &["time-wait-buckets"], buckets),
        plain(
            "net.ipv4.tcp_max_orphans here",
            host.max_orphans,
            &["orphans"],
            "`ss -s` shows as many orphaned",
        ),
        plain("the neighbour table's gc_thresh3 here", host.neighbours_max, neighbour_table, neighbours),
    ]
}

fn threads(host: &HostSnapshot) -> [Own; 4] {
    let prove = "`ps -eLf | wc -l` stands there";
    let threads = |name, value| Own { others: 400, ..plain(name, value, THREADS, prove) };
    [
        threads("RLIMIT_NPROC here", host.nproc),
        threads("pids.max of the control group here", host.pids_max),
        threads("kernel.threads-max here", host.threads_max),
        threads("kernel.pid_max here", host.pid_max),
    ]
}

/// The kernel takes one more than the backlog (`sk_acceptq_is_full`, include/net/sock.h).
fn accept_queue(host: &HostSnapshot) -> Option<Own> {
    let most = host.somaxconn?;
    let waiting = host.backlog.map_or(most, |asked| asked.min(most));
    let name = "an accept queue here, with one above its backlog,";
    Some(plain(name, Some(waiting.saturating_add(1)), QUEUE, WHERE_QUEUE))
}

/// Descriptors that a program has open beside its connections.
fn few(limit: Option<u64>) -> u64 {
    (limit.unwrap_or(0) / 32).min(64)
}

fn whole(said: &Said, limit: &Own) -> Option<Fingerprint> {
    let value = limit.value?;
    let low = value.saturating_sub(limit.others);
    said.touches(low, value).then(|| {
        let less = value.saturating_sub(said.number());
        let is = match less {
            less if less == 0 || !said.is_exact() => format!("{} is {}", limit.name, human_count(value)),
            less => format!(
                "{} is {}: the number is {} less, which other things have",
                limit.name,
                human_count(value),
                human_count(less)
            ),
        };
        fingerprint(limit.walls, is, limit.prove)
    })
}

/// A half or a quarter of a limit.
fn part(said: &Said, limit: &Own) -> Option<Fingerprint> {
    let value = limit.value?;
    [(2, "half", limit.two), (4, "a quarter", limit.four)].into_iter().find_map(|(each, share, why)| {
        let (low, high) = (value.saturating_sub(limit.others) / each, value / each);
        (!why.is_empty() && said.touches(low, high)).then(|| {
            let is = format!("{} is {}, and this is {share} of it: {why}", limit.name, human_count(value));
            fingerprint(limit.walls, is, limit.prove)
        })
    })
}

/// The ports of this host's range: all of one source, of several, or every other one.
fn ports(said: &Said, host: &HostSnapshot) -> Option<Fingerprint> {
    /// Ports of each source that something else has: listeners, other programs.
    const TAKEN: u64 = 32;
    const TAKEN_OF_MANY: u64 = 2;
    let (first, last) = host.port_range?;
    let reserved = host.reserved_ports.unwrap_or(0);
    let ports = (u64::from(last) + 1).saturating_sub(u64::from(first)).saturating_sub(reserved);
    if ports < 64 {
        return None;
    }
    let kept = match reserved {
        0 => String::new(),
        reserved => format!(" less the {} reserved ones (ip_local_reserved_ports)", human_count(reserved)),
    };
    let range = format!("the port range here is {first}-{last}{kept}: {} ports", human_count(ports));
    if said.touches(ports.saturating_sub(TAKEN.min(ports / 32)), ports) {
        let is = format!("{range}, which is what one source address has to one server address and port");
        return Some(fingerprint(PORTS, is, WHERE_PORTS));
    }
    let sources =
        (2..=MOST_SOURCES).find(|n| said.touches(n * ports.saturating_sub(TAKEN_OF_MANY), n * ports));
    if let Some(sources) = sources {
        let is = format!(
            "{range}, and this is {sources} times that: {sources} pairs of source address and server"
        );
        return Some(fingerprint(PORTS, is, WHERE_PORTS));
    }
    said.touches((ports / 2).saturating_sub(TAKEN / 2), ports.div_ceil(2)).then(|| {
        let is = format!("{range}, and this is half of it: {EVERY_OTHER}");
        fingerprint(PORTS, is, WHERE_PORTS)
    })
}

fn fingerprint(walls: &'static [&'static str], is: String, prove: &str) -> Fingerprint {
    Fingerprint { walls, is, prove: prove.to_owned(), of_this_host: true }
}
