//! What the doctor looks at before it enters a namespace: what only the machine's first one shows, and what this user
//! and this machine may do at all.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};

use c10k_ceiling::PlanView;
use c10k_collector::ports_kept;
use c10k_kernel::limits::{self, Limit};
use c10k_kernel::shaper;
use c10k_kernel::sysctl::Scope;
use c10k_profile::{Live, Profile, Settable, diff};
use c10k_record::{DEFAULT_PORT, HostSnapshot, as_root};
use c10k_swarm::ips::IpList;

use crate::host::before::Beforehand;
use crate::host::describe::{conntrack_count, forget_conntrack_unless};

/// The host as it is, and what a run of this user would make of it.
#[derive(Clone, Debug)]
pub(crate) struct Outside {
    /// Limits of the namespace that this process was started in.
    pub(crate) host: HostSnapshot,
    /// RLIMIT_NOFILE as the shell has it: what an ordinary program gets.
    pub(crate) nofile: Option<Limit>,
    /// Whether this is root.
    pub(crate) root: bool,
    /// The ends here of what waits in TIME_WAIT towards the port of a server that is not told another.
    time_wait: Vec<SocketAddr>,
    /// Host-wide settings of the profile that a run by this user would raise, with their values.
    raised: Vec<(String, String)>,
}

impl Outside {
    /// Looks. Starts no thread: this process may still want to enter a namespace.
    pub(crate) fn look(profile: &Profile) -> Self {
        let root = limits::euid() == 0;
        let mut host = c10k_collector::host_snapshot();
        host.file_max_bypassed &= root;
        Beforehand::look().note(&mut host);
        // Both ends are here, so all goes over it.
        host.link_bits_per_second = shaper::line("lo").ok().flatten().map(|line| line.bits_per_second);
        crate::host::describe::complete(&mut host);
        forget_conntrack_unless(tracks_connections(), &mut host);
        Self {
            host,
            nofile: limits::nofile().ok(),
            root,
            time_wait: c10k_collector::time_wait_towards(&[DEFAULT_PORT]).unwrap_or_default(),
            raised: raised(profile),
        }
    }

    /// How many of the ports of a program that runs here, with the sources of this plan or with one, are in TIME_WAIT.
    pub(crate) fn time_wait_of(&self, view: &PlanView) -> Option<u64> {
        let window = view.source_ports.or(self.host.port_range)?;
        let named = view.ips.as_deref().and_then(|text| text.parse::<IpList>().ok());
        let one = [IpAddr::V4(Ipv4Addr::LOCALHOST)];
        let sources = named.as_ref().map_or(&one[..], |list| list.addresses());
        Some(ports_kept(&self.time_wait, window, Some(sources)))
    }

    /// The limits of a run under the profile, of which `inside` was read in the namespace of that run.
    pub(crate) fn with_profile(&self, inside: &HostSnapshot, isolated: bool) -> HostSnapshot {
        let mut host = HostSnapshot {
            // What belongs to a namespace.
            port_range: inside.port_range,
            reserved_ports: inside.reserved_ports,
            somaxconn: inside.somaxconn,
            max_syn_backlog: inside.max_syn_backlog,
            max_tw_buckets: inside.max_tw_buckets,
            tw_reuse: inside.tw_reuse,
            timestamps: inside.timestamps,
            ..self.host.clone()
        };
        // A namespace of one's own has a link of its own too, and no queue before it.
        host.link_bits_per_second = host.link_bits_per_second.filter(|_| !isolated);
        // It has no rules, and tracks nothing.
        forget_conntrack_unless(!isolated, &mut host);
        for (key, value) in &self.raised {
            let first = value.split_whitespace().next().and_then(|word| word.parse::<u64>().ok());
            let field = match key.as_str() {
                "fs.nr_open" => &mut host.nr_open,
                "fs.file-max" => &mut host.file_max,
                "fs.epoll.max_user_watches" => &mut host.epoll_watches,
                "net.ipv4.tcp_max_orphans" => &mut host.max_orphans,
                "net.core.netdev_max_backlog" => &mut host.netdev_max_backlog,
                "net.ipv4.neigh.default.gc_thresh3" => &mut host.neighbours_max,
                "net.ipv6.neigh.default.gc_thresh3" => &mut host.neighbours_max_ipv6,
                "kernel.pid_max" => &mut host.pid_max,
                "kernel.threads-max" => &mut host.threads_max,
                "net.netfilter.nf_conntrack_max" => &mut host.conntrack_max,
                _ => continue,
            };
            if field.is_some() {
                *field = (*field).max(first);
            }
        }
        host
    }

    /// A line as this user pastes it.
    pub(crate) fn line(&self, command: &str) -> String {
        line(self.root, command)
    }
}

/// A line as this user pastes it who has this program alone: root needs no sudo, and may not even have it.
pub(crate) fn line(root: bool, command: &str) -> String {
    let other = |from: &str, to: &str| command.strip_prefix(from).map(|rest| format!("{to}{rest}"));
    let own = other("c10k-server", "c10k-lab server").or_else(|| other("c10k-swarm", "c10k-lab swarm"));
    let line = own.unwrap_or_else(|| command.to_owned());
    if root { as_root(&line) } else { line }
}

/// The settings of the whole host that a run as this user raises (and puts back).
fn raised(profile: &Profile) -> Vec<(String, String)> {
    if profile.sysctl.is_empty() {
        return Vec::new();
    }
    let Ok(live) = Live::here(profile) else { return Vec::new() };
    let host_wide = |row: &c10k_profile::DiffRow| row.scope == Scope::Host && row.settable == Settable::Yes;
    diff(profile, &live).into_iter().filter(host_wide).map(|row| (row.setting, row.wanted)).collect()
}

/// Whether a connection of this namespace takes an entry: nothing is tracked before a rule asks for it.
fn tracks_connections() -> bool {
    let Some(before) = conntrack_count() else { return false };
    let probe = || -> std::io::Result<(TcpListener, TcpStream)> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let stream = TcpStream::connect(listener.local_addr()?)?;
        Ok((listener, stream))
    };
    let Ok(_both) = probe() else { return false };
    before > 0 || conntrack_count().is_some_and(|after| after > before)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outside(root: bool, raised: &[(&str, &str)]) -> Outside {
        let host = HostSnapshot {
            nr_open: Some(1 << 20),
            file_max: Some(9_000_000),
            conntrack_max: Some(262_144),
            port_range: Some((32_768, 60_999)),
            ..HostSnapshot::default()
        };
        let raised = raised.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Outside { host, nofile: None, root, time_wait: Vec::new(), raised }
    }

    #[test]
    fn a_profile_changes_what_its_namespace_has_and_what_its_user_may_raise() {
        let outside = outside(true, &[("fs.nr_open", "2097152"), ("fs.file-max", "4194304")]);
        let inside = HostSnapshot { port_range: Some((1024, 65_535)), ..HostSnapshot::default() };
        let host = outside.with_profile(&inside, true);
        assert_eq!(host.port_range, Some((1024, 65_535)));
        assert_eq!(host.nr_open, Some(1 << 21));
        assert_eq!(host.file_max, Some(9_000_000), "a host-wide limit is never lowered");
        assert_eq!(host.conntrack_max, None, "a fresh namespace tracks nothing");
    }

    #[test]
    fn a_line_is_one_that_this_user_can_paste() {
        let line = |root, command| outside(root, &[]).line(command);
        assert_eq!(line(true, "sudo sysctl -w a.b=1"), "sysctl -w a.b=1");
        assert_eq!(line(false, "sudo sysctl -w a.b=1"), "sudo sysctl -w a.b=1");
        assert_eq!(line(true, "c10k-server"), "c10k-lab server");
        assert_eq!(line(true, "c10k-swarm --target 5"), "c10k-lab swarm --target 5");
    }
}
