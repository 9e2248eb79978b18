//! The plan as far as it matters to the walls.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use c10k_record::{HostSnapshot, counter, shell};
use serde::{Deserialize, Serialize};

/// The part of a plan that decides which wall stands first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PlanView {
    /// How many connections are asked for.
    pub target: u64,
    /// How many source addresses the swarm uses.
    pub sources: u64,
    /// The window of source ports really used, first and last; `None` = the kernel's `ip_local_port_range`.
    pub source_ports: Option<(u16, u16)>,
    /// Server addresses × server ports.
    pub destinations: u64,
    /// Whether both ends stand on this machine: then each connection costs it twice.
    pub both_ends_here: bool,
    /// Whether only the server's end stands on this machine.
    pub servers_end_alone: bool,
    /// Whether connections prove themselves by an echo.
    pub probe: bool,
    /// Whether the swarm binds ports itself rather than let the kernel choose.
    pub explicit_ports: bool,
    /// The source addresses as they were given to `--ips`; `None` = addresses of 127.0.0.0/8.
    pub ips: Option<String>,
    /// The most connections the server takes by its own setting, where that is known.
    pub server_max_connections: Option<u64>,
    /// Ports of the window that no connection can have: those the server listens on, and those reserved where
    /// the kernel chooses. `None` = [`HostSnapshot::reserved_ports`], where the kernel chooses.
    pub ports_left_out: Option<u64>,
    /// Whether the sources are neighbours on one link (veth, Ethernet), which loopback's are not.
    pub on_one_link: bool,
    /// Whether a server that had stopped accepting did so again.
    pub server_went_on: bool,
    /// Whether the server's addresses are of IPv6.
    pub ipv6: bool,
    /// Bytes of one probe.
    pub probe_bytes: u64,
    /// Whether each connection is a WebSocket one.
    pub websocket: bool,
    /// How many source addresses the swarm can take by itself when it needs them; `None` = those in `sources` and no
    /// more.
    pub pool: Option<u64>,
    /// The words of the command that does the same again, in which a remedy changes flags; empty = `c10k-swarm`.
    pub again: Vec<String>,
    /// Connections a second that are begun, where there is a bound; rounded up.
    pub rate_per_second: Option<u64>,
    /// The most connections that are under way at a time, where that is known.
    pub in_flight: Option<u64>,
    /// How long connections are held, milliseconds, where that is known.
    pub hold_ms: Option<u64>,
    /// How long a connect waits for its answer, milliseconds, where that is known.
    pub connect_timeout_ms: Option<u64>,
    /// How long a connection waits for its echo, milliseconds, where that is known.
    pub probe_timeout_ms: Option<u64>,
    /// How long a connection waits for the answer to its WebSocket handshake, milliseconds, where that is known.
    pub handshake_timeout_ms: Option<u64>,
    /// Connections a second that a verdict asks for and that there were not: to connect more slowly is no remedy then.
    pub wanted_rate: Option<u64>,
    /// Whether all that came too late did so while connections were held: to connect more slowly is no remedy then.
    pub late_while_held: bool,
    /// Whether connections succeeded among those that were lost; `None` where that is not known. Only then is to connect
    /// more slowly a remedy.
    pub succeeded_among_losses: Option<bool>,
    /// Whether the same command starts the server too, so that flags and a profile reach it.
    pub own_server: bool,
    /// Where the server listens, as a flag takes it.
    pub listen: Option<String>,
    /// The ports of the server.
    pub server_ports: Vec<u16>,
    /// The process of a server that runs already and that nobody here started, where it may be seen.
    pub server_pid: Option<u32>,
    /// Its hard RLIMIT_NOFILE.
    pub server_nofile_hard: Option<u64>,
    /// Whether it was seen stopped by a signal (state T).
    pub server_stopped: bool,
    /// Control groups (folders) that were made for this run alone: nothing that is pasted later finds them.
    pub passing_groups: Vec<String>,
    /// The file with the quota of processor time that holds the server back.
    pub server_cpu_quota: Option<String>,
}

/// Ports of one source to one destination where nobody has changed `net.ipv4.ip_local_port_range`.
pub const KERNEL_PORT_RANGE: (u16, u16) = (32_768, 60_999);
/// How many that are: 28,232.
pub const KERNEL_PORTS: u64 = (KERNEL_PORT_RANGE.1 - KERNEL_PORT_RANGE.0) as u64 + 1;

impl PlanView {
    /// Source ports one source address has to one destination; `None` where the range is not known.
    #[must_use]
    pub fn ports_per_pair(&self, host: &HostSnapshot) -> Option<u64> {
        let count = |(first, last): (u16, u16)| (u64::from(last) + 1).saturating_sub(u64::from(first));
        self.source_ports
            .or(host.port_range)
            .map(|window| count(window).saturating_sub(self.ports_left_out.unwrap_or(self.reserved(host))))
    }

    /// Ports that `net.ipv4.ip_local_reserved_ports` takes from this plan: none where ports are bound explicitly.
    pub(crate) fn reserved(&self, host: &HostSnapshot) -> u64 {
        if self.explicit_ports { 0 } else { host.reserved_ports.unwrap_or(0) }
    }

    /// The table of neighbours of the plan's family.
    pub(crate) fn neighbours(&self) -> NeighbourTable {
        if self.ipv6 { NEIGHBOURS_IPV6 } else { NEIGHBOURS_IPV4 }
    }

    /// The most that this table keeps.
    pub(crate) fn neighbours_max(&self, host: &HostSnapshot) -> Option<u64> {
        if self.ipv6 { host.neighbours_max_ipv6 } else { host.neighbours_max }
    }

    /// How many times one connection costs this machine: 2 with both ends here, else 1.
    #[must_use]
    pub fn ends_here(&self) -> u64 {
        if self.both_ends_here { 2 } else { 1 }
    }

    /// Whether a control group, or a file in it, is there after the run.
    pub(crate) fn outlasts_the_run(&self, path: &str) -> bool {
        !self.passing_groups.iter().any(|group| Path::new(path).starts_with(group))
    }

    /// How long a connection had waited that is lost under this name, milliseconds: it was in vain from its beginning.
    pub(crate) fn waited_ms(&self, outcome: &str) -> u64 {
        let waited = match outcome {
            "connect-timeout" => self.connect_timeout_ms,
            "probe-timeout" => self.probe_timeout_ms,
            "handshake-timeout" => self.handshake_timeout_ms,
            _ => None,
        };
        waited.unwrap_or(0)
    }

    /// Whether the line that does the same again names a file with a plan.
    pub(crate) fn repeats_a_plan(&self) -> bool {
        let before = std::iter::once("").chain(self.again.iter().map(String::as_str));
        let mut words = self.again.iter().zip(before);
        words.any(|(word, before)| word.ends_with(".toml") && !word.starts_with('-') && before != "--profile")
    }

    /// The line that does the same again with these flags in the place of those it had; a flag without a value has an
    /// empty one.
    pub(crate) fn again_with(&self, changed: &[(&str, &str)]) -> String {
        let mut words = self.again.clone();
        if words.is_empty() {
            words.push("c10k-swarm".to_owned());
        }
        // Steps and a plan that is repeated have a target of their own.
        let has_its_own = self.repeats_a_plan()
            || words.iter().any(|word| word == "--steps" || word.starts_with("--steps="))
            || changed.iter().any(|(flag, _)| *flag == "--target");
        let target = self.target.to_string();
        let target = ("--target", target.as_str());
        let changed: Vec<(&str, &str)> =
            changed.iter().copied().chain((!has_its_own).then_some(target)).collect();
        let old: Vec<(&str, bool)> = changed.iter().map(|(flag, value)| (*flag, !value.is_empty())).collect();
        words = shell::without(&words, &old);
        for (flag, value) in changed {
            words.push(flag.to_owned());
            words.extend((!value.is_empty()).then(|| value.to_owned()));
        }
        shell::line(&words)
    }

    /// Whether that line starts a swarm alone, beside a server that somebody else started.
    pub(crate) fn is_a_swarms(&self) -> bool {
        let mut words = self.again.iter().map(String::as_str);
        match words.next() {
            None | Some("c10k-swarm") => true,
            Some("c10k-lab") => words.next() == Some("swarm"),
            _ => false,
        }
    }

    /// The same, with fewer connections begun a second than there were, and at most so many.
    pub(crate) fn more_slowly(&self, most_per_second: u64) -> (String, String) {
        let rate = self.rate_per_second.map_or(most_per_second, |rate| most_per_second.min(rate / 2)).max(1);
        let rate = format!("{rate}/s");
        let line = self.again_with(&[("--rate", &rate)]);
        (rate, line)
    }

    /// A range for `--ips` with `count` addresses that begins like the present one; `None` where that cannot
    /// be told (IPv6, or a remote server and no address given).
    #[must_use]
    pub fn ips_for(&self, count: u64) -> Option<String> {
        let first = match &self.ips {
            None if self.both_ends_here => Ipv4Addr::new(127, 0, 0, 1),
            None => return None,
            Some(text) => first_address(text)?,
        };
        let more = u32::try_from(count.checked_sub(1)?).ok()?;
        let last = Ipv4Addr::from(u32::from(first).checked_add(more)?);
        if first.is_loopback() && last.is_loopback() {
            return Some(range(first, last));
        }
        if first.is_loopback() {
            return None;
        }
        ranges_of_machines(first, count)
    }
}

/// The names of one table of neighbours.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NeighbourTable {
    /// The level of how many it has.
    pub(crate) kept: &'static str,
    /// The counter of those that found no room.
    pub(crate) fulls: &'static str,
    /// Its sysctls, without the number of the threshold.
    pub(crate) keys: &'static str,
}

const NEIGHBOURS_IPV4: NeighbourTable = NeighbourTable {
    kept: counter::NEIGHBOURS,
    fulls: counter::NEIGHBOUR_TABLE_FULLS,
    keys: "net.ipv4.neigh.default.gc_thresh",
};
const NEIGHBOURS_IPV6: NeighbourTable = NeighbourTable {
    kept: counter::NEIGHBOURS_IPV6,
    fulls: counter::NEIGHBOUR_TABLE_FULLS_IPV6,
    keys: "net.ipv6.neigh.default.gc_thresh",
};

/// More than this many ranges are not written into one flag.
const MOST_RANGES: usize = 32;

/// Addresses from `first` on without those that end in 0 or 255, which a network of 256 has for itself and for all.
fn ranges_of_machines(first: Ipv4Addr, mut count: u64) -> Option<String> {
    let mut ranges = Vec::new();
    let mut first = u32::from(first);
    while count > 0 {
        if first & 0xff == 0xff {
            first = first.checked_add(2)?;
        }
        first = first.max(first & !0xff | 1);
        let here = count.min(u64::from(0xff - (first & 0xff)));
        let last = first.checked_add(u32::try_from(here).ok()?.checked_sub(1)?)?;
        ranges.push(range(first.into(), last.into()));
        if ranges.len() > MOST_RANGES {
            return None;
        }
        count -= here;
        first = last.checked_add(1)?;
    }
    (!ranges.is_empty()).then(|| ranges.join(","))
}

fn range(first: Ipv4Addr, last: Ipv4Addr) -> String {
    if first == last { first.to_string() } else { format!("{first}-{last}") }
}

/// The first address of a text such as `192.168.1.200-230`, `10.0.0.0/24` or `127.0.0.1,127.0.0.9`.
fn first_address(text: &str) -> Option<Ipv4Addr> {
    let end = text.find([',', '-', '/']).unwrap_or(text.len());
    match text[..end].trim().parse().ok()? {
        // The first address of a network is the network itself and cannot be a source.
        IpAddr::V4(first) if text[end..].starts_with('/') && first.octets()[3] == 0 => {
            Some(Ipv4Addr::from(u32::from(first) + 1))
        }
        IpAddr::V4(first) => Some(first),
        IpAddr::V6(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_port_range_has_28232_ports() {
        assert_eq!(KERNEL_PORTS, 28_232);
        let host = HostSnapshot { port_range: Some((32768, 60999)), ..HostSnapshot::default() };
        assert_eq!(PlanView::default().ports_per_pair(&host), Some(28_232));
        let plan = PlanView { source_ports: Some((1024, 65535)), ..PlanView::default() };
        assert_eq!(plan.ports_per_pair(&host), Some(64_512));
        let plan = PlanView { ports_left_out: Some(1), ..plan };
        assert_eq!(plan.ports_per_pair(&host), Some(64_511), "the server's own port is in the window");
        let plan = PlanView { source_ports: Some((9, 8)), ..PlanView::default() };
        assert_eq!(plan.ports_per_pair(&host), Some(0));
    }

    #[test]
    fn the_same_again_keeps_every_word_but_those_that_change() {
        let of = |line: &str, target: u64| PlanView {
            again: line.split(' ').map(str::to_owned).collect(),
            target,
            ..PlanView::default()
        };
        assert_eq!(PlanView { target: 7, ..PlanView::default() }.again_with(&[]), "c10k-swarm --target 7");
        let run = "c10k-lab run --mode hold --no-probe --ips=127.0.0.1 --target 900 --profile a.toml";
        assert_eq!(
            of(run, 900).again_with(&[("--ips", "127.0.0.1-127.0.0.2")]),
            "c10k-lab run --mode hold --no-probe --profile a.toml --ips 127.0.0.1-127.0.0.2 --target 900"
        );
        let steps = of("c10k-swarm --steps 100x3", 300);
        assert_eq!(steps.again_with(&[("--no-probe", "")]), "c10k-swarm --steps 100x3 --no-probe");
        let plan = of("c10k-lab run results/x/plan.toml --json", 300);
        assert_eq!(
            plan.again_with(&[("--rate", "5/s")]),
            "c10k-lab run results/x/plan.toml --json --rate 5/s"
        );
        assert_eq!(
            of("c10k-lab run --profile=a.toml", 9).again_with(&[]),
            "c10k-lab run --profile=a.toml --target 9"
        );
        let mut header = of("c10k-swarm --one-table --no-apply", 5);
        header.again.extend(["--header".to_owned(), "X-Who: it's me".to_owned()]);
        assert_eq!(
            header.again_with(&[]),
            "c10k-swarm --one-table --no-apply --header 'X-Who: it'\\''s me' --target 5"
        );
    }

    #[test]
    fn more_slowly_is_never_faster_than_it_was() {
        let of = |rate_per_second| PlanView { rate_per_second, ..PlanView::default() }.more_slowly(5000).0;
        assert_eq!(
            [of(None), of(Some(400)), of(Some(90_000)), of(Some(1))],
            ["5000/s", "200/s", "5000/s", "1/s"]
        );
    }

    #[test]
    fn the_range_of_addresses_begins_like_the_present_one() {
        let local = PlanView { both_ends_here: true, ..PlanView::default() };
        assert_eq!(local.ips_for(4).as_deref(), Some("127.0.0.1-127.0.0.4"));
        assert_eq!(local.ips_for(300).as_deref(), Some("127.0.0.1-127.0.1.44"));
        assert_eq!(local.ips_for(0), None);
        assert_eq!(local.ips_for(u64::MAX), None);
        let given = |ips: &str| PlanView { ips: Some(ips.to_owned()), ..PlanView::default() };
        assert_eq!(given("192.168.1.200-230").ips_for(2).as_deref(), Some("192.168.1.200-192.168.1.201"));
        assert_eq!(given("10.0.0.0/24").ips_for(1).as_deref(), Some("10.0.0.1"));
        assert_eq!(given("::1").ips_for(2), None);
        assert_eq!(given("127.255.255.250").ips_for(9), None, "beyond 127.0.0.0/8");
        // No network of 256 has its own address or its broadcast address for a machine.
        assert_eq!(
            given("192.168.1.200-230").ips_for(100).as_deref(),
            Some("192.168.1.200-192.168.1.254,192.168.2.1-192.168.2.45")
        );
        assert_eq!(given("10.0.0.255").ips_for(1).as_deref(), Some("10.0.1.1"));
        assert_eq!(given("10.0.0.1").ips_for(254 * 33), None, "more than fits into a line");
        assert_eq!(given("255.255.255.250").ips_for(9), None);
        assert_eq!(PlanView::default().ips_for(2), None);
    }
}
