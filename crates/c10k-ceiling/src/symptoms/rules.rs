//! What an error means by the call that failed and by who says so.

use super::phrases::Phrase;
use super::text::Text;

/// Calls and speakers, by their words.
const ACCEPT: &str = "accept|accept4|accept0|accepting|acceptor";
const LISTEN: &str = "listen|listens|listening|listener|bind|binding|bound";
const CONNECT: &str = "connect|connecting|connectex|connector|connected|dial|dialing|dialer|reconnect*";
const READ: &str = "read|reading|readv|recv*|receiv*|response*|awaiting|headers|reply";
const WRITE: &str = "write|writing|written|send*|open|file|log|flush";
const MOVE: &str = "read|reading|readv|recv*|receiv*|write|writing|writev|send*|accept|accept4";
const FORK: &str = "fork*|clone|clone3|pthread*|spawn*|vfork";
const NEW_THREAD: &str = "creat*|start*|new & thread*";
/// Programs that connect to others for their clients: all of it is the server's.
const PROXY: &str = "nginx|upstream|haproxy|proxy|frontend|envoy|httpd|ah0*";
const SERVER: &str = "kestrel|gunicorn|uvicorn|uwsgi|puma|unicorn|ranch|cowboy|tomcat|jetty|undertow|redis|mysqld|\
                      postgres|memcached|mosquitto|emqx|rabbitmq|kafka|mongod|cassandra|squid|bind9|server|daemon";
const CLIENT: &str = "curl|wrk|wrk2|ab|k6|locust|hey|h2load|siege|sock|httperf|vegeta|oha|jmeter|gatling|urllib3|\
                      requests|httpx|aiohttp|client|wget|psql|swarm";
/// It is a client that a server speaks of.
const OF_A_CLIENT: &str = "from|to client";
const OF_A_REQUEST: &str = "while reading|waiting client|for client|request*";
const LOOKUP: &str = "lookup|resolv*|getaddrinfo|hostname|dns";

const OF_SERVER: &[&str] = &["nofile-server", "nr-open"];
const OF_CLIENT: &[&str] = &["nofile-swarm", "nr-open"];
const PORTS: &[&str] = &["ports-exhausted", "time-wait-ports", "ports-reserved", "source-address-gone"];
const NO_HANDSHAKE: &[&str] = &[
    "accept-queue",
    "syn-queue",
    "firewall-drop",
    "conntrack",
    "server-stopped-accepting",
    "neighbour-table",
    "netdev-backlog",
    "path-loss",
    "rp-filter",
    "path-lost",
];
const LATE: &[&str] = &[
    "cpu-server",
    "server-stopped-accepting",
    "accept-queue",
    "nofile-server",
    "server-max-connections",
    "cpu-swarm",
    "server-limit",
    "middlebox-forgets",
    "path-lost",
    "cpu-host",
    "bandwidth",
];
/// What resets a connection: the likeliest first. The ages and the order of the losses tell them apart: all at once, each at
/// one age, the first so many and then none.
const RESET: &[&str] = &[
    "server-died",
    "server-limit",
    "server-idle-limit",
    "orphans",
    "tcp-mem",
    "accept-queue",
    "proxy-ports-exhausted",
    "middlebox-forgets",
    "filter-rejects",
    "error-verdict",
];
/// What closes one in good order, or before its answer.
const CLOSED: &[&str] =
    &["server-died", "server-max-connections", "server-limit", "server-idle-limit", "proxy-ports-exhausted"];
/// What refuses a connect at once.
const REFUSING: &[&str] = &["refused", "server-died", "filter-rejects", "server-limit"];
/// What says that there is no way.
const NO_WAY: &[&str] = &["no-route", "filter-rejects", "neighbour-table", "path-lost"];
/// What leaves data without an ACK until the kernel gives up.
const NOT_ACKNOWLEDGED: &[&str] = &["path-lost", "middlebox-forgets", "path-loss"];
/// What makes a peer miss its own sign of life.
const SILENT_PEER: &[&str] =
    &["middlebox-forgets", "path-lost", "cpu-server", "cpu-swarm", "server-idle-limit", "path-loss"];
const CLIENT_LEFT: &[&str] = &["client-left"];
const MEMORY: &[&str] = &["ram", "cgroup-memory", "tcp-mem"];

/// A rule of one error: the first whose pattern is in the text counts.
type Rule = (&'static str, &'static [Phrase]);

static RULES: &[Rule] = &[
    (
        "EMFILE",
        &[
            ("inotify|watch*", &["file-watches"]),
            (ACCEPT, OF_SERVER),
            (PROXY, OF_SERVER),
            (CONNECT, OF_CLIENT),
            (LISTEN, OF_SERVER),
            (SERVER, OF_SERVER),
            (CLIENT, OF_CLIENT),
            ("socket failed|too|emfile", &["nofile-swarm", "nofile-server", "nr-open"]),
            ("", &["nofile-server", "nofile-swarm", "nr-open"]),
        ],
    ),
    ("ENFILE", &[("", &["file-max"])]),
    ("EADDRNOTAVAIL", &[(CONNECT, PORTS), (CLIENT, PORTS), (LISTEN, &["address-not-here"]), ("", PORTS)]),
    (
        "EADDRINUSE",
        &[
            (CONNECT, PORTS),
            (LISTEN, &["port-taken"]),
            (SERVER, &["port-taken"]),
            (PROXY, &["port-taken"]),
            ("port .. already .. in use", &["port-taken"]),
            ("", &["port-taken", "ports-exhausted", "time-wait-ports"]),
        ],
    ),
    (
        "ECONNRESET",
        &[
            (CONNECT, &["accept-queue", "server-died", "filter-rejects", "server-limit"]),
            (OF_A_CLIENT, CLIENT_LEFT),
            (OF_A_REQUEST, CLIENT_LEFT),
            ("idle*|keepalive|heartbeat", &["server-idle-limit", "middlebox-forgets", "server-died"]),
            ("", RESET),
        ],
    ),
    (
        "EPIPE",
        &[
            (OF_A_CLIENT, CLIENT_LEFT),
            (OF_A_REQUEST, CLIENT_LEFT),
            ("", &["server-died", "server-idle-limit", "server-limit"]),
        ],
    ),
    (
        "closed",
        &[
            (OF_A_CLIENT, CLIENT_LEFT),
            (OF_A_REQUEST, CLIENT_LEFT),
            ("idle*|keepalive|heartbeat|inactiv*", &["server-idle-limit"]),
            ("", CLOSED),
        ],
    ),
    ("ECONNABORTED", &[(ACCEPT, &["gone-before"]), ("", &["server-died"])]),
    (
        "ETIMEDOUT",
        &[
            (LOOKUP, &["names"]),
            // By errno: data that was sent is acknowledged by nobody. A program's own patience has other words.
            ("read|recv*|readv etimedout", NOT_ACKNOWLEDGED),
            ("read|recv*|readv connection timed out", NOT_ACKNOWLEDGED),
            ("connection timed out read", NOT_ACKNOWLEDGED),
            ("ping|pong|keepalive|heartbeat|heartbeats", SILENT_PEER),
            // The connection stands by then.
            ("tls|ssl|websocket & handshake", LATE),
            (CONNECT, NO_HANDSHAKE),
            ("client timed", CLIENT_LEFT),
            (OF_A_CLIENT, CLIENT_LEFT),
            (OF_A_REQUEST, CLIENT_LEFT),
            (READ, LATE),
            ("request|operation|elapsing|elapsed|query|context", LATE),
            (
                "",
                &[
                    "accept-queue",
                    "syn-queue",
                    "firewall-drop",
                    "conntrack",
                    "server-stopped-accepting",
                    "cpu-server",
                    "neighbour-table",
                    "netdev-backlog",
                    "path-loss",
                    "rp-filter",
                    "path-lost",
                    "middlebox-forgets",
                ],
            ),
        ],
    ),
    ("ECONNREFUSED", &[("", REFUSING)]),
    (
        "connect-failed",
        &[("", &["refused", "nofile-swarm", "ports-exhausted", "accept-queue", "firewall-drop", "no-route"])],
    ),
    (
        "connects-failed",
        &[(
            "",
            &["nofile-swarm", "ports-exhausted", "time-wait-ports", "refused", "accept-queue", "no-route"],
        )],
    ),
    ("ENETDOWN", &[("", &["no-route"])]),
    ("ENETUNREACH", &[("", &["no-route"])]),
    ("EHOSTUNREACH", &[("", NO_WAY)]),
    // The resolver of the C library calls a full table of descriptors so; a device that is busy is another matter.
    (
        "EBUSY",
        &[
            (LOOKUP, &["nofile-swarm", "nofile-server"]),
            ("^ ebusy $", &["nofile-swarm", "nofile-server"]),
            ("^ device or resource busy $", &["nofile-swarm", "nofile-server"]),
        ],
    ),
    (
        "EAGAIN",
        &[
            (FORK, &["threads"]),
            (NEW_THREAD, &["threads"]),
            // A user who has no process left may not become somebody else or start a program (RLIMIT_NPROC).
            ("setuid|setresuid|setreuid|exec|execve", &["threads"]),
            (CONNECT, &["accept-queue"]),
            (MOVE, &["wait-again"]),
            ("would block", &["wait-again"]),
            ("", &["threads", "wait-again"]),
        ],
    ),
    (
        "ENOBUFS",
        &[
            (CONNECT, &["neighbour-table", "tcp-mem", "ram", "cgroup-memory"]),
            ("", &["tcp-mem", "ram", "cgroup-memory", "neighbour-table"]),
        ],
    ),
    (
        "ENOMEM",
        &[("heap out|space|limit", &["heap"]), (FORK, &["ram", "cgroup-memory", "threads"]), ("", MEMORY)],
    ),
    (
        "ENOSPC",
        &[
            ("inotify|watch*", &["file-watches"]),
            ("epoll*", &["epoll-watches"]),
            (WRITE, &["disk"]),
            ("/", &["disk"]),
            ("", &["epoll-watches", "disk"]),
        ],
    ),
    (
        "EPERM",
        &[
            ("setrlimit|rlimit|ulimit|limit", &["nofile-server", "nofile-swarm", "nr-open"]),
            ("send*|sendto|connect|dial*|ping|write", &["conntrack", "filter-rejects", "permission"]),
            (LISTEN, &["privileged-port"]),
            ("open|file|chown|chmod|mount|setuid|exec*|kill", &["permission"]),
            // Of a call of its own nothing is known: it may be a packet that was sent.
            ("^ operation", &["conntrack", "permission"]),
            ("^ eperm", &["conntrack", "permission"]),
            ("", &["permission"]),
        ],
    ),
    ("EACCES", &[(LISTEN, &["privileged-port"]), ("", &["permission"])]),
    ("EINVAL", &[("send*", &["neighbour-table"])]),
];

/// What an error means in this text; nothing where it is none of a connection's.
pub(super) fn meaning(error: &str, text: &Text) -> &'static [&'static str] {
    let rules = RULES.iter().find(|(name, _)| *name == error).map_or(&[][..], |(_, rules)| rules);
    rules.iter().find(|(pattern, _)| text.has(pattern)).map_or(&[], |(_, answers)| answers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::symptoms::kernel::COUNTERS;
    use crate::symptoms::others::other_cause;
    use crate::symptoms::phrases::{EXACT, PLAIN};

    #[test]
    fn every_answer_is_a_wall_or_another_cause_and_every_rule_can_be_reached() {
        let ruled = RULES.iter().flat_map(|(_, rules)| rules.iter());
        for (pattern, answers) in ruled.chain(COUNTERS).chain(EXACT).chain(PLAIN) {
            assert!(!answers.is_empty(), "{pattern}");
            for name in *answers {
                assert!(crate::walls::wall(name).is_some() || other_cause(name).is_some(), "{name}");
            }
        }
        for (error, rules) in RULES {
            let catch_all = rules.iter().position(|(pattern, _)| pattern.is_empty());
            assert!(catch_all.is_none_or(|at| at + 1 == rules.len()), "{error}");
        }
    }
}
