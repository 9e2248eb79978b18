//! Popular settings that do nothing for the number of connections, or harm, each with a run that shows it.

/// One of them.
#[derive(Clone, Copy, Debug)]
pub struct Myth {
    /// Its short name, mostly the setting's.
    pub name: &'static str,
    /// What is said.
    pub claim: &'static str,
    /// What is so.
    pub truth: &'static str,
    /// A line to paste that shows it, in a namespace of its own: nothing outside of it changes, no root is needed.
    pub run: &'static str,
    /// What that line shows.
    pub shows: &'static str,
    /// Where it is written.
    pub source: &'static str,
}

/// All of them.
pub static MYTHS: &[Myth] = &[
    Myth {
        name: "tcp_tw_recycle",
        claim: "tcp_tw_recycle = 1 gives the ports in TIME_WAIT back.",
        truth: "It is gone since Linux 4.12. While it was there it threw away connections of clients behind one \
                NAT address, because their clocks differ.",
        run: "unshare -Urn sysctl -w net.ipv4.tcp_tw_recycle=1",
        shows: "No such file or directory.",
        source: "Linux commit 4396e46187ca; ip-sysctl.rst has no such entry",
    },
    Myth {
        name: "tcp_fin_timeout",
        claim: "A small tcp_fin_timeout shortens TIME_WAIT.",
        truth: "It bounds FIN_WAIT_2 of connections that nobody owns. TIME_WAIT lasts 60 s, a constant of the \
                kernel.",
        run: "unshare -Urn sh -c 'ip link set lo up; echo 5 > /proc/sys/net/ipv4/tcp_fin_timeout; c10k-lab server \
              & sleep 1; c10k-lab swarm --target 200 --hold 1s; sleep 10; grep TCP: /proc/net/sockstat; kill $!'",
        shows: "Ten seconds after the close `tw 200` still stands.",
        source: "include/net/tcp.h: TCP_TIMEWAIT_LEN; ip-sysctl.rst: tcp_fin_timeout",
    },
    Myth {
        name: "tcp_tw_reuse",
        claim: "tcp_tw_reuse = 1 helps a server with many sockets in TIME_WAIT.",
        truth: "It is for outgoing connections only: it lets connect() take a port whose TIME_WAIT is a second \
                old. On loopback the default, 2, does that already. A server's TIME_WAIT holds no port that \
                anybody needs.",
        run: "for v in 1 2; do unshare -Urn sh -c 'ip link set lo up; echo '$v' > \
              /proc/sys/net/ipv4/tcp_tw_reuse; c10k-lab server & sleep 1; for i in 1 2; do c10k-lab swarm --ips \
              127.0.0.1 --ports 40000-40199 --target 200 --hold 0s; sleep 2; done; kill $!'; done",
        shows: "The second wave holds 200 of 200 with either value.",
        source: "ip-sysctl.rst: tcp_tw_reuse; net/ipv4/tcp_ipv4.c: tcp_twsk_unique",
    },
    Myth {
        name: "tcp_max_tw_buckets",
        claim: "Lower tcp_max_tw_buckets, and TIME_WAIT is no problem any more.",
        truth: "Beyond it connections are closed without TIME_WAIT, so that late segments of an old connection may \
                reach a new one. The documentation says: do not lower it.",
        run: "unshare -Urn sh -c 'ip link set lo up; echo 10 > /proc/sys/net/ipv4/tcp_max_tw_buckets; c10k-lab \
              server & sleep 1; c10k-lab swarm --target 200 --hold 0s; grep TCP: /proc/net/sockstat; d=$(mktemp -d); \
              NSTAT_HISTORY=$d/n nstat -az TcpExtTCPTimeWaitOverflow; rm -r $d; kill $!'",
        shows: "`tw 10`, and TCPTimeWaitOverflow 190: so many closed without the protection. As many were held as \
                before.",
        source: "ip-sysctl.rst: tcp_max_tw_buckets; net/ipv4/inet_timewait_sock.c: inet_twsk_alloc",
    },
    Myth {
        name: "tcp_rmem",
        claim: "A default of 16 MiB in tcp_rmem and tcp_wmem is good for many connections.",
        truth: "A connection without data takes no buffer, whatever stands there: it gains nothing. One with data \
                may take it all, times the number of connections, and autotuning begins where it should end.",
        run: "d=$(mktemp -d); printf 'name = \"fat\"\\nsummary = \"a default of 16 MiB\"\\n[sysctl]\\n\
              \"net.ipv4.tcp_rmem\" = [4096, 16777216, 16777216]\\n' > $d/fat.toml; for p in stock $d/fat.toml; do \
              c10k-lab run --profile $p --target 2000 --hold 1s --results $d/results; done; rm -r $d",
        shows: "The same kernel memory for a connection with both, about 4 KB at each end.",
        source: "tcp(7): tcp_rmem; net/ipv4/tcp_input.c: tcp_rcv_space_adjust",
    },
    Myth {
        name: "rmem_max",
        claim: "rmem_max and wmem_max must be raised for TCP.",
        truth: "They bound what a program asks for with SO_RCVBUF and SO_SNDBUF. TCP's own tuning goes by tcp_rmem \
                and tcp_wmem and never looks at them. They are the whole host's.",
        run: "unshare -Urn sh -c 'ip link set lo up; cat /proc/sys/net/core/rmem_max; echo \"4096 54321 999999\" > \
              /proc/sys/net/ipv4/tcp_rmem; c10k-lab server & s=$!; sleep 2; c10k-lab swarm --target 1 --hold 8s & w=$!; \
              sleep 4; ss -tmn; wait $w; kill $s' 2>/dev/null",
        shows: "skmem's rb, the receive buffer, is 54321, the default of tcp_rmem, whatever rmem_max says.",
        source: "socket(7): rmem_max; net/core/sock.c: sk_setsockopt, SO_RCVBUF",
    },
    Myth {
        name: "tcp_mem",
        claim: "tcp_mem = 16777216 16777216 16777216 gives TCP 16 MB.",
        truth: "It counts pages: that is 64 GiB, and the protection is gone. Small values out of old guides throttle \
                a large machine. It is the whole host's, and connections that sleep use none of it.",
        run: "echo $((16777216 * $(getconf PAGESIZE) / 1024 / 1024 / 1024)) GiB; unshare -Urn ls \
              /proc/sys/net/ipv4/tcp_mem; unshare -Urn sh -c 'ip link set lo up; c10k-lab server & s=$!; sleep 2; \
              c10k-lab swarm --target 2000 --hold 8s & w=$!; sleep 5; grep TCP: /proc/net/sockstat; wait $w; kill $s'",
        shows: "64 GiB; no such file in a namespace, so it is host-wide; `inuse` is above 4,000, both ends of 2,000 \
                connections, and `mem`, in pages of the whole host, a small part of that.",
        source: "tcp(7): tcp_mem; net/core/sock.c: __sk_mem_raise_allocated",
    },
    Myth {
        name: "somaxconn",
        claim: "A somaxconn of 65535 makes the accept queue that long.",
        truth: "The queue is as long as the smaller of somaxconn and what the program asks listen() for, and that is \
                read when it begins to listen.",
        run: "unshare -Urn sh -c 'ip link set lo up; echo 65535 > /proc/sys/net/core/somaxconn; c10k-lab server & \
              sleep 1; ss -ltn; kill $!'",
        shows: "Send-Q is 4096, which the program asked for.",
        source: "listen(2); net/socket.c: __sys_listen_socket",
    },
    Myth {
        name: "tcp_abort_on_overflow",
        claim: "tcp_abort_on_overflow = 1 makes a full server fail fast.",
        truth: "When the queue is full the SYN itself is dropped, before this setting is looked at: clients wait as \
                long as before. Where it does act, it turns a delay into a loss.",
        run: "d=$(mktemp -d); printf 'name = \"five\"\\nsummary = \"a backlog of five\"\\n[socket]\\nbacklog = 5\\n' \
              > $d/five.toml; for v in 0 1; do unshare -Urn sh -c 'ip link set lo up; echo '$v' > \
              /proc/sys/net/ipv4/tcp_abort_on_overflow; c10k-lab server --profile '$d'/five.toml & sleep 1; kill \
              -STOP $!; c10k-lab swarm --target 100 --no-probe --hold 0s --connect-timeout 4s; kill -CONT $!; kill \
              $!'; done; rm -r $d",
        shows: "The same losses with both, all of them connect-timeout and not ECONNRESET.",
        source: "net/ipv4/tcp_input.c: tcp_conn_request; tcp_minisocks.c: tcp_check_req",
    },
    Myth {
        name: "tcp_syncookies",
        claim: "tcp_syncookies = 0 is faster.",
        truth: "Cookies are made only when the queue of half-open connections is full; before that the setting costs \
                nothing. Without it a full queue drops SYNs instead.",
        run: "for v in 1 0; do unshare -Urn sh -c 'ip link set lo up; echo '$v' > \
              /proc/sys/net/ipv4/tcp_syncookies; c10k-lab server & sleep 1; c10k-lab swarm --target 2000 --hold 0s; \
              d=$(mktemp -d); NSTAT_HISTORY=$d/n nstat -az TcpExtSyncookiesSent TcpExtTCPReqQFullDrop; rm -r $d; kill $!'; \
              done",
        shows: "2,000 held with both and SyncookiesSent 0: nothing was there to be saved. The rates differ from one \
                try to the next more than with the setting.",
        source: "ip-sysctl.rst: tcp_syncookies; net/ipv4/tcp_input.c: tcp_conn_request",
    },
    Myth {
        name: "tcp_timestamps",
        claim: "tcp_timestamps = 0 saves processor time.",
        truth: "It saves 12 bytes a segment, and takes away the protection against old segments (PAWS) and with it \
                the reuse of ports in TIME_WAIT.",
        run: "for v in 1 0; do unshare -Urn sh -c 'ip link set lo up; echo '$v' > \
              /proc/sys/net/ipv4/tcp_timestamps; c10k-lab server & sleep 1; for i in 1 2; do c10k-lab swarm --ips \
              127.0.0.1 --ports 40000-40199 --target 200 --hold 0s; sleep 2; done; kill $!'; done",
        shows: "With 1 the second wave holds 200 of 200; with 0 it holds none: EADDRNOTAVAIL.",
        source: "net/ipv4/tcp_ipv4.c: tcp_twsk_unique; RFC 7323 section 5",
    },
    Myth {
        name: "65535",
        claim: "A server can have 65,535 connections, one for each port.",
        truth: "All connections of a server share its one port. What must differ is the four numbers together: each \
                source address has that many ports to each destination.",
        run: "d=$(mktemp -d); c10k-lab run --ports 40000-40999 --target 2000 --hold 1s --results $d; rm -r $d",
        shows: "2,000 connections to one server port out of 1,000 port numbers, with several source addresses.",
        source: "RFC 9293 section 3.3.1; net/ipv4/inet_hashtables.c: __inet_lookup_established",
    },
    Myth {
        name: "nofile-unlimited",
        claim: "Set nofile to unlimited and forget about it.",
        truth: "There is no unlimited number of descriptors: beyond fs.nr_open the kernel refuses, and a service \
                that asks for it keeps its old limit or does not start. A limit of a billion makes programs that \
                close every possible descriptor hang.",
        run: "sh -c 'ulimit -n unlimited'; cat /proc/sys/fs/nr_open",
        shows: "Operation not permitted.",
        source: "kernel/sys.c: do_prlimit; getrlimit(2)",
    },
];

/// The myth of that name.
#[must_use]
pub fn myth(name: &str) -> Option<&'static Myth> {
    MYTHS.iter().find(|myth| myth.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_myth_has_a_run_that_stays_in_a_namespace_of_its_own() {
        for myth in MYTHS {
            assert!(!myth.run.contains("sudo") && !myth.shows.is_empty(), "{}", myth.name);
            // What writes a setting does so after unshare; what loads does so over the lab's own namespace.
            for (at, _) in myth.run.match_indices("/proc/sys/") {
                let writes = myth.run[..at].trim_end().ends_with('>');
                assert!(!writes || myth.run[..at].contains("unshare -Urn"), "{}", myth.name);
            }
            // Two that are pasted at a time do not meet.
            assert!(!myth.run.contains("/tmp/"), "{}", myth.name);
            assert!(
                myth.run.matches("nstat").count() == myth.run.matches("NSTAT_HISTORY=").count(),
                "{}",
                myth.name
            );
        }
        assert!(myth("somaxconn").is_some() && myth("tcp_tw_bicycle").is_none());
    }
}
