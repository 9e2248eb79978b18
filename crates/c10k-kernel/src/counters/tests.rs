use std::fs;
use std::path::Path;

use super::*;

fn record(folder: &Path, below: &str, text: &str) {
    let path = folder.join(below);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// A host as it was seen on Linux 6.18, two CPUs, shortened.
fn recorded_host() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    record(
        at,
        "proc/self/net/sockstat",
        "sockets: used 200121\nTCP: inuse 200003 orphan 2 tw 17 alloc 200103 mem 166\nUDP: inuse 0 mem 0\n",
    );
    record(at, "proc/self/net/sockstat6", "TCP6: inuse 4\nUDP6: inuse 0\n");
    record(
        at,
        "proc/self/net/snmp",
        "Ip: Forwarding DefaultTTL\nIp: 1 64\n\
         Tcp: RtoAlgorithm RtoMin RtoMax MaxConn ActiveOpens PassiveOpens AttemptFails EstabResets CurrEstab InSegs OutSegs RetransSegs InErrs OutRsts InCsumErrors\n\
         Tcp: 1 200 120000 -1 100000 99990 10 3 199990 400000 400100 12 0 7 0\n",
    );
    record(
        at,
        "proc/self/net/netstat",
        "TcpExt: SyncookiesSent ListenOverflows ListenDrops TCPSynRetrans TCPFutureCounter\n\
         TcpExt: 0 5 6 70 99\nIpExt: InNoRoutes\nIpExt: 3\n",
    );
    record(
        at,
        "proc/self/net/softnet_stat",
        "001903ce 0000000a 00000001 00000000\n00199e85 00000008 00000011 00000000\n",
    );
    record(at, "proc/sys/fs/file-nr", "200362\t0\t2466177\n");
    folder
}

#[test]
fn a_recorded_host_is_read_field_by_field() {
    let host = recorded_host();
    let mut counters = NetCounters::open(&ProcRoot::recorded(host.path()), None);
    let reading = counters.read();
    assert_eq!(
        reading.sockstat.unwrap(),
        Sockstat {
            sockets_used: Some(200_121),
            tcp_inuse: Some(200_003),
            tcp6_inuse: Some(4),
            time_wait: Some(17),
            orphan: Some(2),
            alloc: Some(200_103),
            mem_pages: Some(166),
        }
    );
    let tcp = reading.tcp.unwrap();
    assert_eq!((tcp.active_opens, tcp.curr_estab, tcp.out_rsts), (Some(100_000), Some(199_990), Some(7)));
    let extended = reading.tcp_ext.unwrap();
    assert_eq!((extended.listen_overflows, extended.listen_drops), (Some(5), Some(6)));
    assert_eq!(extended.abort_on_memory, None, "a counter this kernel does not have is unknown");
    assert_eq!(reading.softnet.unwrap(), Softnet { dropped: 18, squeezed: 18 });
    assert_eq!(reading.files.unwrap(), FileNumbers { in_use: 200_362, max: 2_466_177 });
    assert_eq!(reading.conntrack, None);
    assert!(counters.unread().is_empty(), "{:?}", counters.unread());
    assert_eq!(counters.by_name("TcpExt", "TCPFutureCounter"), Some(99));
    assert_eq!(counters.by_name("IpExt", "InNoRoutes"), Some(3));
    assert_eq!(counters.by_name("Tcp", "MaxConn"), None, "-1 means without limit, not a count");
}

#[test]
fn a_missing_or_broken_file_is_unknown_and_named_never_zero() {
    let host = recorded_host();
    fs::remove_file(host.path().join("proc/self/net/netstat")).unwrap();
    fs::write(host.path().join("proc/self/net/softnet_stat"), "what?\n").unwrap();
    fs::write(host.path().join("proc/sys/fs/file-nr"), "12").unwrap();
    let mut counters = NetCounters::open(&ProcRoot::recorded(host.path()), None);
    let reading = counters.read();
    assert_eq!((reading.tcp_ext, reading.softnet, reading.files), (None, None, None));
    assert!(reading.sockstat.is_some());
    let errnos: Vec<i32> = counters.unread().iter().map(|unread| unread.errno).collect();
    assert_eq!(errnos, [libc::ENOENT, libc::EBADMSG, libc::EBADMSG]);
}

#[test]
fn conntrack_that_appears_later_is_read_then() {
    let host = recorded_host();
    let mut counters = NetCounters::open(&ProcRoot::recorded(host.path()), None);
    assert_eq!(counters.read().conntrack, None);
    record(host.path(), "proc/sys/net/netfilter/nf_conntrack_count", "17\n");
    record(host.path(), "proc/sys/net/netfilter/nf_conntrack_max", "262144\n");
    assert_eq!(counters.read().conntrack, Some(Conntrack { count: 17, max: Some(262_144), dropped: None }));
    record(
        host.path(),
        "proc/self/net/stat/nf_conntrack",
        "entries  clashres found insert_failed drop early_drop icmp_error\n\
         00000020  00000000 00000001 00000000 0000000a 00000001 00000000\n\
         00000020  00000000 00000001 00000000 00000002 00000000 00000000\n",
    );
    assert_eq!(
        counters.read().conntrack,
        Some(Conntrack { count: 32, max: Some(262_144), dropped: Some(13) })
    );
}

#[test]
fn the_running_kernel_has_all_of_them() {
    let mut counters = NetCounters::open(&ProcRoot::default(), None);
    let reading = counters.read();
    assert!(counters.unread().is_empty(), "{:?}", counters.unread());
    assert!(reading.sockstat.unwrap().tcp_inuse.is_some());
    assert!(reading.tcp.unwrap().curr_estab.is_some());
    assert!(reading.tcp_ext.unwrap().listen_overflows.is_some());
    assert!(reading.files.unwrap().in_use > 0);
}
