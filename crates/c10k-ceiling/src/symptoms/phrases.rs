//! What the kernel and programs say in words of their own.

/// A pattern, and what it means: walls and other causes by their names, the likeliest first.
pub(super) type Phrase = (&'static str, &'static [&'static str]);

const OWN_MAXIMUM: &[&str] = &["server-max-connections"];
const DESCRIPTORS: &[&str] = &["nofile-server", "nofile-swarm", "nr-open"];
const SELECT: &[&str] = &["select"];
const NAMES: &[&str] = &["names"];
const TLS: &[&str] = &["tls"];
const ANSWERED: &[&str] = &["answered"];
/// The connection stands, and the server says nothing.
const NO_ANSWER_YET: &[&str] =
    &["cpu-server", "server-stopped-accepting", "accept-queue", "nofile-server", "server-max-connections"];

/// What is exact enough to be asked before any errno. The first that is in a text counts.
pub(super) static EXACT: &[Phrase] = &[
    // The kernel's log.
    ("possible syn flooding", &["syn-queue", "accept-queue"]),
    ("conntrack .. expectation table full", &["expected-connections"]),
    ("conntrack .. table full", &["conntrack"]),
    ("conntrack table . full", &["conntrack"]),
    ("tcp out of memory", &["tcp-mem"]),
    ("martian source", &["rp-filter"]),
    ("too many orphaned sockets|tcp", &["orphans"]),
    ("out of socket memory", &["orphans", "tcp-mem"]),
    ("file max limit .. reached", &["file-max"]),
    ("neighbor|neighbour table overflow", &["neighbour-table"]),
    ("time wait bucket table overflow", &["time-wait-buckets"]),
    ("memory cgroup out of memory", &["cgroup-memory"]),
    ("constraint memcg", &["cgroup-memory"]),
    ("constraint none", &["ram"]),
    ("invoked oom killer", &["ram", "cgroup-memory"]),
    ("out of memory kill*", &["ram", "cgroup-memory"]),
    ("page allocation failure", &["ram"]),
    ("fork rejected by pids controller", &["threads"]),
    // The service manager and containers, which say that a group has ended.
    ("oom kill*|killer|killed", &["cgroup-memory", "ram"]),
    ("oomkilled", &["cgroup-memory", "ram"]),
    // The end of a process.
    ("exited|terminated|killed on|by|with signal", &["server-died"]),
    ("process exited code killed|dumped", &["server-died"]),
    ("process exited & status . failure", &["server-died"]),
    ("signal killed", &["server-died", "ram", "cgroup-memory"]),
    // 128 and the signal: SIGKILL, as the kernel sends it where memory is short, and SIGSEGV.
    ("exit|exited . code|status . 137", &["server-died", "ram", "cgroup-memory"]),
    ("exit|exited . code|status . 139", &["server-died"]),
    ("evicted & low on resource memory", &["ram", "cgroup-memory"]),
    ("segfault at", &["server-died"]),
    ("segmentation fault", &["server-died"]),
    ("core dumped", &["server-died"]),
    // Threads.
    ("create|start|spawn .. native|new|os|worker thread*", &["threads"]),
    ("max map count & low|reach*|exceed*|increas*|hit|limit", &["threads"]),
    ("create failed & pids", &["threads"]),
    // A run time's own.
    ("exceeds|exceeded * thread limit", OWN_MAXIMUM),
    ("thread exhaustion", OWN_MAXIMUM),
    // Descriptors, where a program compares its setting with its limit.
    ("fd setsize", SELECT),
    ("select & out of range", SELECT),
    ("max|maximum open files is|are|was|of", DESCRIPTORS),
    ("worker rlimit nofile", DESCRIPTORS),
    ("system fd limit", &["file-max"]),
    ("reach* . system memory limit", &["tcp-mem", "ram", "cgroup-memory"]),
    (
        "fd|nofile|descriptor*|rlimit|ulimit & limit|max|maximum & reach*|exceed*|raise|requir*|alarm|low|modify",
        DESCRIPTORS,
    ),
    ("open file|files & limit|max|maximum & reach*|exceed*|raise|requir*|low|modify", DESCRIPTORS),
    ("check|increas*|raise|requir* .. ulimit|nofile", DESCRIPTORS),
    ("nofile & low|small|increas*|exceed*|reach*", DESCRIPTORS),
    ("running|run|ran|low out|on . filedescriptors|descriptors|fds", DESCRIPTORS),
    // Source ports.
    ("no free|available|ephemeral ports", &["ports-exhausted", "time-wait-ports", "ports-reserved"]),
    (
        "ephemeral|source|local|snat ports|port & exhaust*|run|ran|no",
        &["ports-exhausted", "time-wait-ports", "ports-reserved"],
    ),
    ("admin*|administratively prohibited|filtered", &["filter-rejects"]),
    ("packet filtered", &["filter-rejects"]),
    // The listener's queue.
    ("listen|accept queue & full|overflow*", &["accept-queue"]),
    ("backlog & somaxconn|full|overflow*", &["accept-queue"]),
    ("somaxconn & lower", &["accept-queue"]),
    // A server's own maximum.
    ("too many .. connections|connected|clients|sessions|processes|users", OWN_MAXIMUM),
    ("no more connections|clients|sessions", OWN_MAXIMUM),
    ("connections|workers are not enough", OWN_MAXIMUM),
    ("connection slots .. reserved", OWN_MAXIMUM),
    ("scoreboard is full", OWN_MAXIMUM),
    ("max*|maximum number . threads & created|reach*|busy", OWN_MAXIMUM),
    ("process limit . reach*|hit|exceed*", OWN_MAXIMUM),
    ("rejected execution*", OWN_MAXIMUM),
    ("limiting connections", OWN_MAXIMUM),
    ("pool * seems busy", OWN_MAXIMUM),
    ("refused stream", OWN_MAXIMUM),
    ("max concurrent streams", OWN_MAXIMUM),
    ("enhance your calm", OWN_MAXIMUM),
    ("cx|rq overflow", OWN_MAXIMUM),
    ("cx|rq pending overflow", OWN_MAXIMUM),
    ("error system limit", OWN_MAXIMUM),
    ("reset reason overflow", OWN_MAXIMUM),
    ("circuit breaker|breakers & overflow*|open|max*|trip*|limit", OWN_MAXIMUM),
    ("system limit & process*|port*|spawn*", OWN_MAXIMUM),
    (
        "max*|limit|limits .. connection*|client*|conn|conns|session*|worker*|children|startups \
         .. reach*|exceed*|hit|full|throttl*",
        OWN_MAXIMUM,
    ),
    (
        "reach*|exceed*|hit .. max*|limit . connection*|client*|conn|conns|session*|worker*|children",
        OWN_MAXIMUM,
    ),
    ("connection*|client*|conn|conns|session*|worker* limit|maximum|max reach*|exceed*|hit", OWN_MAXIMUM),
    ("connections|clients|sessions reach*|exceed* & limit|max*", OWN_MAXIMUM),
    ("maxconn*|maxclient* .. limit|reach*|exceed*|hit", OWN_MAXIMUM),
    // A client's pool, which waits for itself; a browser's too.
    ("err insufficient resources", &["pool"]),
    ("get . resource from . pool", &["pool"]),
    (
        "queue|hikari|connection|db|jdbc pool & limit|exhaust*|full|timed|timeout|overflow|available",
        &["pool"],
    ),
];

/// What is asked when no errno is in a text; most of it is no limit of connections.
pub(super) static PLAIN: &[Phrase] = &[
    ("cannot|cant|unable|not .. fork", &["threads"]),
    ("fail*|unable .. spawn*|creat*|start* . thread*", &["threads"]),
    ("port .. already .. in use", &["port-taken"]),
    ("no such host", NAMES),
    ("host not found", NAMES),
    ("enotfound|eai|nxdomain|servfail|gaierror|getaddrinfo", NAMES),
    ("name or service not known", NAMES),
    ("failure in name resolution", NAMES),
    ("resolve host|hostname|name|address", NAMES),
    ("unknown host", NAMES),
    ("certificate|x509|cert|pkix", TLS),
    ("websocket|ws|socket handshake timeout|timed", NO_ANSWER_YET),
    ("websocket|ws & handshake", ANSWERED),
    ("handshake failure|failed|exception|error", TLS),
    ("ssl|tls . error|alert|fatal|wrong|unsupported", TLS),
    ("error|alert|fatal|wrong|unsupported . ssl|tls", TLS),
    ("wrong version number", TLS),
    ("404 not found", ANSWERED),
    ("401 unauthorized", ANSWERED),
    ("403 forbidden", ANSWERED),
    ("429|500|502|503|504 too|internal|bad|service|gateway", ANSWERED),
    ("too many requests", ANSWERED),
    ("returned error *", ANSWERED),
    ("status|response code|http 4*|5*", ANSWERED),
    ("closed|close|disconnected|code 1002|1003|1007|1008|1009|1010|1011|1012|1013", ANSWERED),
    ("client .. exceeded timeout", &["client-left"]),
    ("http|status|code|response|answered|returned 400|401|403|404|408|429|500|502|503|504", ANSWERED),
    ("no live|healthy|available upstream*|backend*", ANSWERED),
    ("backend|upstream .. no server available", ANSWERED),
    ("java heap space", &["heap"]),
    ("heap limit", &["heap"]),
    ("number of file watchers", &["file-watches"]),
    ("inotify", &["file-watches"]),
];
