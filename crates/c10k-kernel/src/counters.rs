//! The kernel's counters about sockets, connections and packets.
//!
//! # Whose figures these are
//! `snmp`, `netstat`, and of sockstat `inuse` and `tw`, belong to one network namespace: that of the process whose
//! `/proc/PID/net` is read; so does conntrack's count. Of sockstat `sockets used` too is per namespace, but `orphan`,
//! `alloc` and `mem` are of the whole host, and so are softnet_stat and file-nr.

use std::io;

pub mod host_wide;
mod named;
mod proc_file;

pub use named::{Change, IpCounters, TcpCounters, TcpExt};
pub use proc_file::{ProcFile, ProcRoot, process_is_gone};

pub(crate) use proc_file::{ThreadState, kilobyte_line, lines, number, words};

/// One reading of all network counters. What could not be read is `None`, never 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetReading {
    /// `/proc/net/sockstat` and `sockstat6`.
    pub sockstat: Option<Sockstat>,
    /// `/proc/net/snmp`, the `Tcp:` lines.
    pub tcp: Option<TcpCounters>,
    /// `/proc/net/snmp`, the `Ip:` lines.
    pub ip: Option<IpCounters>,
    /// `/proc/net/netstat`, the `TcpExt:` lines.
    pub tcp_ext: Option<TcpExt>,
    /// `/proc/net/softnet_stat`, summed over the CPUs.
    pub softnet: Option<Softnet>,
    /// `/proc/sys/fs/file-nr`.
    pub files: Option<FileNumbers>,
    /// `/proc/PID/net/stat/nf_conntrack` and `/proc/sys/net/netfilter/nf_conntrack_max`; `None` where nothing is
    /// tracked, and where that cannot be read.
    pub conntrack: Option<Conntrack>,
    /// This kernel has no connection tracking loaded, so nothing is tracked anywhere.
    pub tracks_nothing: bool,
}

/// Socket numbers (net/ipv4/proc.c, `sockstat_seq_show`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sockstat {
    /// Sockets of every kind in this namespace.
    pub sockets_used: Option<u64>,
    /// IPv4 TCP sockets of this namespace, TIME_WAIT left out.
    pub tcp_inuse: Option<u64>,
    /// IPv6 TCP sockets of this namespace; `None` without IPv6.
    pub tcp6_inuse: Option<u64>,
    /// TIME_WAIT sockets of this namespace, of both families.
    pub time_wait: Option<u64>,
    /// Sockets that no process holds any more, on the whole host.
    pub orphan: Option<u64>,
    /// TCP sockets allocated on the whole host.
    pub alloc: Option<u64>,
    /// Pages of socket buffers on the whole host; zero for idle connections.
    pub mem_pages: Option<u64>,
}

/// What the packet backlog lost, on the whole host (net/core/net-procfs.c, `softnet_seq_show`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Softnet {
    /// Packets dropped because a CPU's backlog was full (`netdev_max_backlog`).
    pub dropped: u64,
    /// Times the softirq gave up before its work was done (`netdev_budget`).
    pub squeezed: u64,
}

/// Open files of the whole host (fs/file_table.c, proc_sys_fs(5)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileNumbers {
    /// Open file descriptions.
    pub in_use: u64,
    /// `fs.file-max`.
    pub max: u64,
}

/// Tracked connections of one namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Conntrack {
    /// Entries now.
    pub count: u64,
    /// `nf_conntrack_max`.
    pub max: Option<u64>,
    /// Packets dropped for want of an entry since boot, with entries that were thrown out early to make room:
    /// `drop` and `early_drop` of `/proc/PID/net/stat/nf_conntrack`; `None` in a kernel without that file.
    pub dropped: Option<u64>,
}

/// A file that could not be read, and the errno.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unread {
    /// The file's path.
    pub path: String,
    /// The errno of open(2) or read(2).
    pub errno: i32,
}

impl Unread {
    /// What is to be said of `file` when reading it gave `error`.
    #[must_use]
    pub fn new(file: &ProcFile, error: &io::Error) -> Self {
        Self { path: file.path().display().to_string(), errno: error.raw_os_error().unwrap_or(libc::EIO) }
    }
}

/// Reads all network counters of one network namespace, each file opened once.
#[derive(Debug)]
pub struct NetCounters {
    sockstat: ProcFile,
    sockstat6: ProcFile,
    snmp: ProcFile,
    netstat: ProcFile,
    softnet: ProcFile,
    file_nr: ProcFile,
    conntrack_stat: ProcFile,
    conntrack_count: ProcFile,
    /// Whether the calling process is known to stand in the namespace that is read.
    is_own: bool,
    conntrack_max: ProcFile,
    buffer: Vec<u8>,
    unread: Vec<Unread>,
}

impl NetCounters {
    /// Opens the counters of the namespace of process `pid`, or of the calling process.
    ///
    /// # Errors
    /// None: a file that cannot be opened is named by [`NetCounters::unread`] after a read.
    #[must_use]
    pub fn open(root: &ProcRoot, pid: Option<u32>) -> Self {
        let net = |name: &str| ProcFile::open(root.living_path(pid, &format!("net/{name}")));
        Self {
            sockstat: net("sockstat"),
            sockstat6: net("sockstat6"),
            snmp: net("snmp"),
            netstat: net("netstat"),
            softnet: net("softnet_stat"),
            file_nr: ProcFile::open(root.path("proc/sys/fs/file-nr")),
            conntrack_stat: ProcFile::appearing(root.living_path(pid, "net/stat/nf_conntrack")),
            is_own: pid.is_none_or(|pid| root.shares_network_namespace(pid) == Some(true)),
            conntrack_count: ProcFile::appearing(root.path("proc/sys/net/netfilter/nf_conntrack_count")),
            conntrack_max: ProcFile::appearing(root.path("proc/sys/net/netfilter/nf_conntrack_max")),
            buffer: Vec::new(),
            unread: Vec::new(),
        }
    }

    /// Reads everything once.
    pub fn read(&mut self) -> NetReading {
        self.unread.clear();
        let mut take = Take { buffer: &mut self.buffer, unread: &mut self.unread };
        let mut sockstat = take.of(&mut self.sockstat, |text| Some(parse_sockstat(text)));
        // Without IPv6 in the kernel there is no sockstat6, and nothing is wrong.
        if let (Some(sockstat), Ok(text)) = (&mut sockstat, self.sockstat6.read(take.buffer)) {
            sockstat.tcp6_inuse = tagged(text, b"TCP6:", b"inuse");
        }
        let mut ip = None;
        let tcp = take.of(&mut self.snmp, |text| {
            let (mut of_ip, mut values) = (IpCounters::default(), TcpCounters::default());
            ip = each_pair(text, b"Ip:", |name, value| of_ip.set(name, value)).then_some(of_ip);
            each_pair(text, b"Tcp:", |name, value| values.set(name, value)).then_some(values)
        });
        let tcp_ext = take.of(&mut self.netstat, |text| {
            let mut values = TcpExt::default();
            each_pair(text, b"TcpExt:", |name, value| values.set(name, value)).then_some(values)
        });
        let softnet = take.of(&mut self.softnet, parse_softnet);
        let files = take.of(&mut self.file_nr, parse_file_nr);
        let conntrack = self.read_conntrack();
        let tracks_nothing = conntrack.is_none() && self.has_no_conntrack();
        NetReading { sockstat, tcp, ip, tcp_ext, softnet, files, conntrack, tracks_nothing }
    }

    /// The file of the namespace first; below `/proc/sys/net` stands what the *reading* process's namespace has.
    fn read_conntrack(&mut self) -> Option<Conntrack> {
        let by_cpu = self.conntrack_stat.read(&mut self.buffer).ok().and_then(parse_conntrack);
        let (count, dropped) = match by_cpu {
            Some((count, dropped)) => (count, Some(dropped)),
            None if self.is_own => (self.conntrack_count.read(&mut self.buffer).ok().and_then(number)?, None),
            None => return None,
        };
        // One for the whole host, and shown in every namespace.
        let max = self.conntrack_max.read(&mut self.buffer).ok().and_then(number);
        Some(Conntrack { count, max, dropped })
    }

    /// Whether all that says how many connections are tracked is absent, and not merely closed to this user: the maximum
    /// is shown in every namespace once the module is there.
    fn has_no_conntrack(&self) -> bool {
        [&self.conntrack_stat, &self.conntrack_count, &self.conntrack_max]
            .iter()
            .all(|file| file.open_errno() == Some(libc::ENOENT))
    }

    /// Any counter of `/proc/net/netstat` or `/proc/net/snmp` by its group and kernel name, such as
    /// `("TcpExt", "TCPRcvCoalesce")` or `("Ip", "OutNoRoutes")`, read now.
    pub fn by_name(&mut self, group: &str, kernel_name: &str) -> Option<u64> {
        let prefix = format!("{group}:");
        let mut found = None;
        for file in [&mut self.netstat, &mut self.snmp] {
            let Ok(text) = file.read(&mut self.buffer) else { continue };
            each_pair(text, prefix.as_bytes(), |name, value| {
                if name == kernel_name.as_bytes() {
                    found = value;
                }
            });
            if found.is_some() {
                return found;
            }
        }
        None
    }

    /// The files that the last [`NetCounters::read`] could not read or make sense of.
    #[must_use]
    pub fn unread(&self) -> &[Unread] {
        &self.unread
    }
}

/// Reads one file and notes what cannot be read.
struct Take<'a> {
    buffer: &'a mut Vec<u8>,
    unread: &'a mut Vec<Unread>,
}

impl Take<'_> {
    fn of<T>(&mut self, file: &mut ProcFile, parse: impl FnOnce(&[u8]) -> Option<T>) -> Option<T> {
        let error = match file.read(self.buffer) {
            Ok(text) => match parse(text) {
                Some(value) => return Some(value),
                None => io::Error::from_raw_os_error(libc::EBADMSG),
            },
            Err(error) => error,
        };
        self.unread.push(Unread::new(file, &error));
        None
    }
}

fn parse_sockstat(text: &[u8]) -> Sockstat {
    Sockstat {
        sockets_used: tagged(text, b"sockets:", b"used"),
        tcp_inuse: tagged(text, b"TCP:", b"inuse"),
        tcp6_inuse: None,
        time_wait: tagged(text, b"TCP:", b"tw"),
        orphan: tagged(text, b"TCP:", b"orphan"),
        alloc: tagged(text, b"TCP:", b"alloc"),
        mem_pages: tagged(text, b"TCP:", b"mem"),
    }
}

/// The number after `key` on the line that starts with `prefix`.
fn tagged(text: &[u8], prefix: &[u8], key: &[u8]) -> Option<u64> {
    let line = lines(text).find(|line| line.starts_with(prefix))?;
    let mut line_words = words(&line[prefix.len()..]);
    while let Some(word) = line_words.next() {
        let value = line_words.next()?;
        if word == key {
            return number(value);
        }
    }
    None
}

/// Calls `each` with every name and value of the pair of lines that starts with `prefix` (`Tcp: names` and below it
/// `Tcp: values`). False when there is no such pair.
fn each_pair(text: &[u8], prefix: &[u8], mut each: impl FnMut(&[u8], Option<u64>)) -> bool {
    let mut of_group = lines(text).filter(|line| line.starts_with(prefix));
    let (Some(names), Some(values)) = (of_group.next(), of_group.next()) else { return false };
    for (name, value) in words(names).zip(words(values)).skip(1) {
        each(name, number(value));
    }
    true
}

fn parse_softnet(text: &[u8]) -> Option<Softnet> {
    let mut sum = Softnet::default();
    let mut cpus = 0;
    for line in lines(text) {
        let mut columns = words(line).skip(1);
        sum.dropped += hexadecimal(columns.next()?)?;
        sum.squeezed += hexadecimal(columns.next()?)?;
        cpus += 1;
    }
    (cpus > 0).then_some(sum)
}

/// Entries, and the sum of `drop` and `early_drop` over the CPUs. Each CPU's line says all entries
/// (net/netfilter/nf_conntrack_standalone.c, `ct_cpu_seq_show`).
fn parse_conntrack(text: &[u8]) -> Option<(u64, u64)> {
    let mut all = lines(text);
    let names: Vec<&[u8]> = words(all.next()?).collect();
    let column = |name: &[u8]| names.iter().position(|known| *known == name);
    let (entries, drop, early) = (column(b"entries")?, column(b"drop")?, column(b"early_drop")?);
    let (mut count, mut dropped) = (None, 0_u64);
    for line in all {
        let values: Vec<Option<u64>> = words(line).map(hexadecimal).collect();
        let value = |at: usize| values.get(at).copied().flatten();
        count = count.max(Some(value(entries)?));
        dropped = dropped.saturating_add(value(drop)?).saturating_add(value(early)?);
    }
    Some((count?, dropped))
}

fn hexadecimal(word: &[u8]) -> Option<u64> {
    u64::from_str_radix(std::str::from_utf8(word).ok()?, 16).ok()
}

fn parse_file_nr(text: &[u8]) -> Option<FileNumbers> {
    let mut columns = words(text).map(number);
    let (allocated, free, max) = (columns.next()??, columns.next()??, columns.next()??);
    Some(FileNumbers { in_use: allocated.saturating_sub(free), max })
}

#[cfg(test)]
mod tests;
