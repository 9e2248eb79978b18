//! What an error means by the call that failed and by who says so.

use super::phrases::Phrase;
use super::text::Text;

/// Calls and speakers, by their words.
const ACCEPT: &str = "accept*";
const LISTEN: &str = "listen*|bind*|binding|make|bound";
const CONNECT: &str = "connect|connecting|connectex|connector|connected|dial*|reconnect*";
const READ: &str = "read*|recv*|receiv*|response*|awaiting|headers|reply";
const THREAD: &str = "fork*|clone*|pthread*|thread*|spawn*|vfork";
const WRITE: &str = "write*|send*|sendto|open|file|log|flush";
const MOVE: &str = "read*|recv*|receiv*|write*|send*|accept*";
const SERVER: &str = "nginx|upstream|haproxy|proxy|httpd|ah0*|envoy|kestrel|gunicorn|uvicorn|uwsgi|puma|unicorn|ranch|\
                      cowboy|tomcat|jetty|undertow|redis|mysqld|postgres|acceptor|listener|frontend|server|daemon";
const CLIENT: &str = "curl|wrk|wrk2|ab|k6|locust|hey|h2load|siege|sock|httperf|vegeta|oha|jmeter|gatling|urllib3|requests|\
                      httpx|aiohttp|client|wget|psql|swarm|dial*|connect|connecting|connector";
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
];
const LATE: &[&str] = &[
    "cpu-server",
    "server-stopped-accepting",
    "accept-queue",
    "nofile-server",
    "server-max-connections",
    "cpu-swarm",
    "cpu-host",
    "bandwidth",
];
const MEMORY: &[&str] = &["ram", "cgroup-memory", "tcp-mem"];

/// A rule of one error: the first whose pattern is in the text counts.
type Rule = (&'static str, &'static [Phrase]);

static RULES: &[Rule] = &[
    (
        "EMFILE",
        &[
            ("inotify|watch*", &["file-watches"]),
            (ACCEPT, OF_SERVER),
            (SERVER, OF_SERVER),
            (LISTEN, OF_SERVER),
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
            ("port .. already .. in use", &["port-taken"]),
            ("", &["port-taken", "ports-exhausted", "time-wait-ports"]),
        ],
    ),
    (
        "ECONNRESET",
        &[
            (CONNECT, &["accept-queue", "server-died"]),
            ("", &["server-died", "orphans", "tcp-mem", "accept-queue", "error-verdict"]),
        ],
    ),
    ("EPIPE", &[("", &["server-died"])]),
    ("closed", &[("", &["server-died", "server-max-connections"])]),
    ("ECONNABORTED", &[(ACCEPT, &["gone-before"]), ("", &["server-died"])]),
    (
        "ETIMEDOUT",
        &[
            (LOOKUP, &["names"]),
            (CONNECT, NO_HANDSHAKE),
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
                ],
            ),
        ],
    ),
    ("ECONNREFUSED", &[("", &["refused", "server-died"])]),
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
    ("ENETUNREACH", &[("", &["no-route"])]),
    ("EHOSTUNREACH", &[("", &["no-route", "neighbour-table"])]),
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
            (THREAD, &["threads"]),
            (CONNECT, &["accept-queue"]),
            (MOVE, &["wait-again"]),
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
    ("ENOMEM", &[("heap", &["heap"]), (THREAD, &["ram", "cgroup-memory", "threads"]), ("", MEMORY)]),
    (
        "ENOSPC",
        &[
            ("inotify|watch*", &["file-watches"]),
            ("epoll*", &["epoll-watches"]),
            (WRITE, &["disk"]),
            ("", &["epoll-watches", "disk"]),
        ],
    ),
    (
        "EPERM",
        &[
            ("setrlimit|rlimit|ulimit|limit", &["nofile-server", "nofile-swarm", "nr-open"]),
            ("send*|sendto|connect|dial|ping", &["conntrack", "permission"]),
            (LISTEN, &["privileged-port"]),
            ("open|file|chown|chmod|mount|setuid|exec*|kill", &["permission"]),
            ("", &["conntrack", "permission"]),
        ],
    ),
    ("EACCES", &[(LISTEN, &["privileged-port"]), ("", &["permission"])]),
    ("EINVAL", &[("send*|connect", &["neighbour-table"])]),
];

/// What an error means in this text; nothing where it is none of a connection's.
pub(super) fn meaning(error: &str, text: &Text) -> &'static [&'static str] {
    let rules = RULES.iter().find(|(name, _)| *name == error).map_or(&[][..], |(_, rules)| rules);
    rules.iter().find(|(pattern, _)| text.has(pattern)).map_or(&[], |(_, answers)| answers)
}
