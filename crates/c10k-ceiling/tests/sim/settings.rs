//! What can be set: the limits of the box and the flags of the two programs, under the names that a remedy gives them.

use c10k_record::HostSnapshot;

/// Descriptors that a program has beside its connections.
pub(crate) const OWN_DESCRIPTORS: u64 = 8;
/// The hard limit on descriptors of everybody on this box.
pub(crate) const HARD_NOFILE: u64 = 20_000;

/// All that is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) server_nofile: u64,
    pub(crate) swarm_nofile: u64,
    pub(crate) server_tables: bool,
    pub(crate) swarm_tables: bool,
    pub(crate) nr_open: u64,
    pub(crate) file_max: u64,
    pub(crate) port_range: (u16, u16),
    /// Ports of the range that are kept for others.
    pub(crate) reserved_ports: u64,
    /// Source addresses.
    pub(crate) sources: u64,
    pub(crate) somaxconn: u64,
    pub(crate) backlog: u64,
    pub(crate) max_syn_backlog: u64,
    pub(crate) syncookies: bool,
    pub(crate) max_tw_buckets: u64,
    pub(crate) tw_reuse: u64,
    pub(crate) netdev_max_backlog: u64,
    pub(crate) tcp_mem_pages: [u64; 3],
    pub(crate) max_orphans: u64,
    pub(crate) epoll_watches: u64,
    pub(crate) conntrack_max: Option<u64>,
    /// The limit of the memory group that the server is in.
    pub(crate) group_bytes: Option<u64>,
    pub(crate) pids_max: Option<u64>,
    pub(crate) neighbours_max: u64,
    pub(crate) link_bits_per_second: Option<u64>,
    /// `--max-connections` of the server.
    pub(crate) max_connections: Option<u64>,
    /// `--rate` of the swarm.
    pub(crate) rate: Option<u64>,
    /// `--in-flight` of the swarm.
    pub(crate) in_flight: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            server_nofile: HARD_NOFILE,
            swarm_nofile: HARD_NOFILE,
            server_tables: false,
            swarm_tables: false,
            nr_open: 1 << 20,
            file_max: 2_000_000,
            port_range: (32_768, 60_999),
            reserved_ports: 0,
            sources: 4,
            somaxconn: 4096,
            backlog: 4096,
            max_syn_backlog: 2048,
            syncookies: true,
            max_tw_buckets: 131_072,
            tw_reuse: 0,
            netdev_max_backlog: 1000,
            tcp_mem_pages: [287_901, 383_868, 575_802],
            max_orphans: 131_072,
            epoll_watches: 5_000_000,
            conntrack_max: None,
            group_bytes: None,
            pids_max: None,
            neighbours_max: 1024,
            link_bits_per_second: None,
            max_connections: None,
            rate: None,
            in_flight: 32,
        }
    }
}

impl Settings {
    /// The length of the accept queue: listen(2) takes the smaller of the two.
    pub(crate) fn queue_length(&self) -> u64 {
        self.backlog.min(self.somaxconn)
    }

    /// Ports of one source to the server.
    pub(crate) fn ports(&self) -> u64 {
        let (first, last) = self.port_range;
        (u64::from(last) + 1).saturating_sub(u64::from(first)).saturating_sub(self.reserved_ports)
    }

    /// What the kernel makes of a limit on descriptors, with the highest number that it lets any table have.
    pub(crate) fn nofile(&self, soft: u64) -> u64 {
        soft.min(self.nr_open)
    }

    /// Gives a limit that a remedy names; false where this box does not know it, or where it stands so already.
    pub(crate) fn set(&mut self, wall: &str, key: &str, value: &str) -> bool {
        let before = self.clone();
        self.write(wall, key, value);
        *self != before
    }

    fn write(&mut self, wall: &str, key: &str, value: &str) {
        let numbers: Vec<u64> = value.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        let first = numbers.first().copied();
        let mut number = |field: fn(&mut Self) -> &mut u64| {
            if let Some(value) = first {
                *field(self) = value;
            }
        };
        match key.strip_prefix("sysctl.").unwrap_or(key) {
            "fs.nr_open" => number(|s| &mut s.nr_open),
            "fs.file-max" => number(|s| &mut s.file_max),
            "fs.epoll.max_user_watches" => number(|s| &mut s.epoll_watches),
            "net.core.somaxconn" => number(|s| &mut s.somaxconn),
            "net.core.netdev_max_backlog" => number(|s| &mut s.netdev_max_backlog),
            "net.ipv4.tcp_max_syn_backlog" => number(|s| &mut s.max_syn_backlog),
            "net.ipv4.tcp_max_tw_buckets" => number(|s| &mut s.max_tw_buckets),
            "net.ipv4.tcp_max_orphans" => number(|s| &mut s.max_orphans),
            "net.ipv4.tcp_tw_reuse" => number(|s| &mut s.tw_reuse),
            "net.ipv4.neigh.default.gc_thresh3" => number(|s| &mut s.neighbours_max),
            "socket.backlog" => number(|s| &mut s.backlog),
            "--in-flight" => number(|s| &mut s.in_flight),
            "net.ipv4.tcp_syncookies" => self.syncookies = first == Some(1),
            "net.ipv4.ip_local_reserved_ports" => self.reserved_ports = 0,
            "net.ipv4.ip_local_port_range" => {
                if let [low, high] = numbers[..] {
                    self.port_range = (low as u16, high as u16);
                }
            }
            "net.ipv4.tcp_mem" => self.tcp_mem_pages = [numbers[0], numbers[1], numbers[2]],
            "net.netfilter.nf_conntrack_max" => self.conntrack_max = first,
            "memory.max" => self.group_bytes = first,
            "pids.max" => self.pids_max = first,
            "limits.nofile" => self.raise_descriptors(wall, first),
            "--max-connections" => self.max_connections = first,
            // More slowly is what a climb does for a link alone, as the lab's does.
            "--rate" if wall == "bandwidth" => self.rate = value.trim_end_matches("/s").parse().ok(),
            "--ips" => self.sources = addresses(value),
            _ => {}
        }
    }

    /// The soft limit goes up to what is asked for, as far as the hard one allows; where it stands there, each worker
    /// has a table of its own.
    fn raise_descriptors(&mut self, wall: &str, wanted: Option<u64>) {
        let (limit, tables) = match wall {
            "nofile-server" => (&mut self.server_nofile, &mut self.server_tables),
            "nofile-swarm" => (&mut self.swarm_nofile, &mut self.swarm_tables),
            _ => return,
        };
        let allowed = wanted.unwrap_or(HARD_NOFILE).min(HARD_NOFILE);
        if *limit < allowed {
            *limit = allowed;
        } else {
            *tables = true;
        }
    }

    /// What the lab reads before a run.
    pub(crate) fn snapshot(&self) -> HostSnapshot {
        let per_table = |soft| self.nofile(soft).saturating_sub(OWN_DESCRIPTORS);
        HostSnapshot {
            server_nofile: Some(self.nofile(self.server_nofile)),
            swarm_nofile: Some(self.nofile(self.swarm_nofile)),
            nofile_hard: Some(HARD_NOFILE.min(self.nr_open)),
            server_tables: self.server_tables,
            swarm_tables: self.swarm_tables,
            server_per_table: Some(per_table(self.server_nofile)),
            swarm_per_table: Some(per_table(self.swarm_nofile)),
            may_raise_nofile: Some(true),
            nr_open: Some(self.nr_open),
            file_max: Some(self.file_max),
            port_range: Some(self.port_range),
            reserved_ports: Some(self.reserved_ports),
            somaxconn: Some(self.somaxconn),
            backlog: Some(self.queue_length()),
            max_syn_backlog: Some(self.max_syn_backlog),
            max_tw_buckets: Some(self.max_tw_buckets),
            tw_reuse: Some(self.tw_reuse),
            timestamps: Some(1),
            netdev_max_backlog: Some(self.netdev_max_backlog),
            tcp_mem_pages: Some(self.tcp_mem_pages),
            max_orphans: Some(self.max_orphans),
            epoll_watches: Some(self.epoll_watches),
            conntrack_max: self.conntrack_max,
            cgroup_memory_bytes: self.group_bytes,
            cgroup_memory_file: self.group_bytes.map(|_| "memory.max".to_owned()),
            pids_max: self.pids_max,
            neighbours_max: Some(self.neighbours_max),
            link_bits_per_second: self.link_bits_per_second,
            other: [("net.ipv4.tcp_syncookies".to_owned(), u64::from(self.syncookies).to_string())].into(),
            ..HostSnapshot::default()
        }
    }
}

/// How many addresses a flag such as `127.0.0.1-127.0.0.4,127.0.1.1` names.
fn addresses(text: &str) -> u64 {
    let number = |text: &str| text.parse::<std::net::Ipv4Addr>().map(|ip| u64::from(u32::from(ip))).ok();
    let of_range = |range: &str| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        Some(number(last)? + 1 - number(first)?)
    };
    text.split(',').filter_map(of_range).sum()
}
