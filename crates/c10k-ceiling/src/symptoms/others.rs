//! Causes that programs speak of in much the same words and that are no limit of connections.

/// One of them.
#[derive(Clone, Copy, Debug)]
pub struct OtherCause {
    /// Its short name.
    pub name: &'static str,
    /// What it is.
    pub title: &'static str,
    /// What shows it, and where to look next.
    pub look: &'static str,
}

static OTHER_CAUSES: &[OtherCause] = &[
    OtherCause {
        name: "port-taken",
        title: "another socket listens on this address and port, or did a moment ago",
        look: "`ss -ltnp` shows who listens, `ss -tanp 'sport = :PORT'` who else has the port: a client that the kernel \
               gave it to, which net.ipv4.ip_local_reserved_ports keeps from it, or a server that was just ended and left \
               TIME_WAIT, which one that sets SO_REUSEADDR does not mind.",
    },
    OtherCause {
        name: "address-not-here",
        title: "the address to listen on is none of this host",
        look: "`ip addr` lists the addresses of this network namespace; in a container 0.0.0.0 is the address to \
               listen on.",
    },
    OtherCause {
        name: "privileged-port",
        title: "this user may not listen there",
        look: "`sysctl net.ipv4.ip_unprivileged_port_start`: a port below it needs CAP_NET_BIND_SERVICE.",
    },
    OtherCause {
        name: "permission",
        title: "a permission is missing",
        look: "`ls -l` of the file or the Unix socket and `id` of the process; for a packet, `nft list ruleset`.",
    },
    OtherCause {
        name: "names",
        title: "a name was not resolved: no connection was tried",
        look: "`getent hosts NAME`, and the same run with an address in place of the name.",
    },
    OtherCause {
        name: "tls",
        title: "TLS was refused after the connection stood",
        look: "`openssl s_client -connect HOST:PORT` shows what each end wants.",
    },
    OtherCause {
        name: "answered",
        title: "the server answered: the connection stood, and the request was refused",
        look: "the server's log at that time; a proxy that answers 502, 503 or 504 has an error of its own \
               connection in its log, and that text says more.",
    },
    OtherCause {
        name: "disk",
        title: "a file system is full",
        look: "`df -h` and `df -i` of the path. epoll_ctl(2) says the same words for its own limit.",
    },
    OtherCause {
        name: "file-watches",
        title: "the limit on watches of files",
        look: "`sysctl fs.inotify.max_user_watches fs.inotify.max_user_instances`.",
    },
    OtherCause {
        name: "heap",
        title: "the program's own limit on its heap",
        look: "the setting of the run time: `node --max-old-space-size`, `java -Xmx`. The machine may have memory \
               left: `free -m`.",
    },
    OtherCause {
        name: "pool",
        title: "the client's own pool of connections is used up",
        look: "the pool's size and how long each user keeps a connection; `ss -tn state established` counts those \
               that stand. The box may hold many more.",
    },
    OtherCause {
        name: "expected-connections",
        title: "the table in which helpers of FTP, SIP and others keep what they expect is full",
        look: "`sysctl net.netfilter.nf_conntrack_expect_max` and `wc -l /proc/net/nf_conntrack_expect`. It bounds no \
               connections but those that such a helper opens.",
    },
    OtherCause {
        name: "select",
        title: "select(2) takes no descriptor from 1,024 on, whatever the limits are (FD_SETSIZE)",
        look: "`strace -f -e trace=select,pselect6 -p PID` shows whether the program calls it; one that uses poll(2) \
               or epoll(7) has no such end.",
    },
    OtherCause {
        name: "socket-buffer",
        title: "the receive buffer of single sockets was full: their program reads too slowly",
        look: "`ss -tmn` shows Recv-Q and the buffer of each, whose size net.ipv4.tcp_rmem bounds. It is no queue of \
               a listener: see accept-queue for that.",
    },
    OtherCause {
        name: "wait-again",
        title: "a non-blocking call has nothing to do yet, or a receive timeout ended",
        look: "`strace -f -e trace=network -p PID`: where epoll_wait follows, it is no error.",
    },
    OtherCause {
        name: "client-left",
        title: "a client went away or fell silent: the server only says so",
        look: "what the client says at that time, and its timeouts; where many leave at one moment, a NAT or a \
               balancer between them may have forgotten them.",
    },
    OtherCause {
        name: "gone-before",
        title: "the other end went away before the connection was taken",
        look: "`ss -ltn`: where Recv-Q stays near Send-Q, connections wait too long: see accept-queue.",
    },
    OtherCause {
        name: "not-linux",
        title: "an error of Windows, which has other limits",
        look: "`netsh int ipv4 show dynamicport tcp` there. This guide is of Linux: if the other end is Linux, look \
               there at the same time.",
    },
];

/// The cause of that name.
pub(super) fn other_cause(name: &str) -> Option<&'static OtherCause> {
    OTHER_CAUSES.iter().find(|cause| cause.name == name)
}
