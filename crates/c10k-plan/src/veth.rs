//! The topology `veth` in a plan: which addresses stand at the two ends of the link.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use c10k_ceiling::KERNEL_PORT_RANGE;
use c10k_profile::{Profile, SysctlValue};
use c10k_record::{Plan, Topology, Warning, human_count};
use c10k_swarm::ips::{IpList, PortWindow};

use crate::say::refusal::Refusal;

/// Where the server listens unless a plan says otherwise.
pub const SERVER: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 10);
/// 192.168.1.200–230, when no more are needed.
const LEAST_SOURCES: u64 = 31;
/// What a new namespace has, whatever its parent has (net/ipv4/af_inet.c, `inet_init_net`).
const KERNEL_PORTS: PortWindow = PortWindow { first: KERNEL_PORT_RANGE.0, last: KERNEL_PORT_RANGE.1 };
/// `net.ipv4.neigh.default.gc_thresh3` of a kernel that nobody has told another (net/ipv4/arp.c).
const KERNEL_NEIGHBOURS: u64 = 1024;
/// Up to so many sources the server's end finds its neighbours by itself, as on a real network; the kernel begins to
/// throw entries out at `gc_thresh2`, 512.
pub const FEW_NEIGHBOURS: u64 = 256;

/// Fills in the sources of a plan that names none, as many as its target needs, and refuses addresses that
/// cannot stand at two ends of a link. Plans of other topologies are left as they are.
pub fn fill_in_sources(plan: &mut Plan, profile: &Profile) -> Result<(), Refusal> {
    if plan.topology != Topology::Veth {
        return Ok(());
    }
    let servers = servers_of(plan);
    if let Some(wrong) = servers.iter().find(|ip| ip.is_loopback() || ip.is_unspecified()) {
        return Err(Refusal::text(
            format!("the plan's [server] listens on {wrong}, which the swarm's namespace cannot reach"),
            format!("listen on an address of the link, such as {SERVER}:9000"),
        ));
    }
    if plan.load.ips.is_none() {
        if servers.iter().any(IpAddr::is_ipv6) {
            return Err(Refusal::text(
                "a server on an IPv6 address needs the swarm's sources to be named",
                "for example --ips fd00::200-fd00::230",
            ));
        }
        plan.load.ips = Some(default_sources(sources_needed(plan, profile)));
    }
    for ip in sources_of(plan) {
        if servers.contains(&ip) {
            return Err(Refusal::text(
                format!("{ip} is both the server's address and a source of the swarm"),
                "name other sources with --ips, such as 192.168.1.200-230",
            ));
        }
        if ip.is_loopback() || servers.iter().any(|server| is_of_the_network_itself(ip, *server)) {
            return Err(Refusal::text(
                format!("the source {ip} cannot reach the server over a link"),
                "name addresses of single machines with --ips, such as 192.168.1.200-230",
            ));
        }
    }
    Ok(())
}

/// Whether the sources of a plan outgrow the kernel's table of neighbours, and what the reader should know then.
/// `most` is `net.ipv4.neigh.default.gc_thresh3`, which only the machine's first namespace shows.
pub fn neighbour_warning(plan: &Plan, most: Option<u64>) -> Option<Warning> {
    let most = most.unwrap_or(KERNEL_NEIGHBOURS);
    let sources = sources_of(plan).len() as u64;
    (plan.topology == Topology::Veth && sources > FEW_NEIGHBOURS && sources + 1 > most).then(|| {
        Warning::new(
            "neighbours",
            format!(
                "{} source addresses on one link are more than the kernel's table of neighbours learns \
                 (net.ipv4.neigh.default.gc_thresh3 = {most}), so they are entered before the run; on a real \
                 network `sudo sysctl -w net.ipv4.neigh.default.gc_thresh3={}` makes room at the server",
                human_count(sources),
                (sources + 1).next_power_of_two() * 2
            ),
        )
    })
}

/// The addresses of the server, each once.
pub fn servers_of(plan: &Plan) -> Vec<IpAddr> {
    let mut servers: Vec<IpAddr> = plan.server.listen.iter().map(SocketAddr::ip).collect();
    servers.sort_unstable();
    servers.dedup();
    servers
}

/// The source addresses of the load.
pub fn sources_of(plan: &Plan) -> Vec<IpAddr> {
    let list = plan.load.ips.as_deref().and_then(|text| text.parse::<IpList>().ok());
    list.map_or_else(Vec::new, |list| list.addresses().to_vec())
}

/// Source addresses that the target takes, and one to spare.
fn sources_needed(plan: &Plan, profile: &Profile) -> u64 {
    let named = plan.load.ports.as_deref().and_then(|text| text.parse::<PortWindow>().ok());
    let of_profile = || {
        let SysctlValue::Integers(ports) = &profile.sysctl.get("net.ipv4.ip_local_port_range")?.value else {
            return None;
        };
        let [first, last] = ports[..] else { return None };
        Some(PortWindow { first: first.try_into().ok()?, last: last.try_into().ok()? })
    };
    let window = named.or_else(of_profile).unwrap_or(KERNEL_PORTS);
    let per_source = window.len().max(1) * plan.server.listen.len() as u64;
    (plan.target.div_ceil(per_source) + 1).max(LEAST_SOURCES)
}

/// 192.168.1.200 and on; when those up to .254 are too few, the others of the network behind the server, and
/// then whole networks behind it.
fn default_sources(count: u64) -> String {
    const FIRST: u64 = 55;
    const SECOND: u64 = 189;
    if count <= FIRST {
        return format!("192.168.1.200-{}", 199 + count);
    }
    let rest = count - FIRST;
    if rest <= SECOND {
        return format!("192.168.1.200-254,192.168.1.11-{}", 10 + rest);
    }
    let last =
        u32::from(Ipv4Addr::new(192, 168, 2, 0)).saturating_add((rest - SECOND - 1).min(0xffff) as u32);
    format!("192.168.1.200-254,192.168.1.11-199,192.168.2.0-{}", Ipv4Addr::from(last))
}

/// Length of the prefix of an address's network.
pub fn network_bits(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { 24 } else { 64 }
}

/// Whether both are of one network.
pub fn share_a_network(one: IpAddr, other: IpAddr) -> bool {
    match (one, other) {
        (IpAddr::V4(one), IpAddr::V4(other)) => one.octets()[..3] == other.octets()[..3],
        (IpAddr::V6(one), IpAddr::V6(other)) => one.octets()[..8] == other.octets()[..8],
        _ => false,
    }
}

/// The first and the last address of an IPv4 network mean the network and everybody in it.
fn is_of_the_network_itself(ip: IpAddr, server: IpAddr) -> bool {
    matches!(ip, IpAddr::V4(v4) if share_a_network(ip, server) && matches!(v4.octets()[3], 0 | 255))
}

#[cfg(test)]
mod tests {
    use crate::args::RunArgs;
    use crate::resolve::resolve;

    use super::*;

    fn plan(ips: Option<&str>, target: u64) -> Plan {
        let args = RunArgs { topology: Some(Topology::Veth), ..RunArgs::default() };
        let mut plan = resolve(&args).expect("a plan");
        plan.load.ips = ips.map(str::to_owned);
        plan.target = target;
        plan
    }

    fn with_sources(ips: Option<&str>, target: u64, profile: &str) -> Result<Plan, Refusal> {
        let mut plan = plan(ips, target);
        fill_in_sources(&mut plan, &Profile::load(profile).expect("a shipped profile"))?;
        Ok(plan)
    }

    #[test]
    fn the_sources_are_the_diarys_unless_the_target_needs_more() {
        let ips = |target, profile| {
            with_sources(None, target, profile).expect("a plan").load.ips.expect("filled in")
        };
        assert_eq!(ips(100_000, "tuned"), "192.168.1.200-230");
        assert_eq!(ips(800_000, "stock"), "192.168.1.200-230");
        assert_eq!(ips(1_000_000, "stock"), "192.168.1.200-236");
        assert_eq!(ips(2_500_000, "tuned"), "192.168.1.200-239");
    }

    #[test]
    fn the_sources_grow_over_the_network_and_beyond_and_each_is_there_once() {
        for count in [1, 31, 55, 56, 244, 245, 600, 20_000] {
            let list: IpList = default_sources(count).parse().expect("a list");
            assert_eq!(list.addresses().len() as u64, count);
            assert!(!list.addresses().contains(&SERVER.into()));
        }
    }

    #[test]
    fn addresses_that_cannot_stand_at_the_other_end_of_a_link_are_refused() {
        for ips in ["127.0.0.1", "192.168.1.10", "192.168.1.0", "192.168.1.250-255"] {
            let refusal = with_sources(Some(ips), 5, "tuned").expect_err(ips);
            assert_eq!(refusal.exit, c10k_record::Exit::BadText);
        }
        let mut six = plan(None, 5);
        six.server.listen = vec!["[fd00::10]:9000".parse().expect("an address")];
        assert!(fill_in_sources(&mut six, &Profile::load("tuned").expect("tuned")).is_err());
    }

    #[test]
    fn more_sources_than_the_kernel_keeps_neighbours_are_warned_of() {
        assert_eq!(neighbour_warning(&plan(Some("192.168.1.200-230"), 5), None), None);
        let many = plan(Some("10.0.0.0-10.0.4.0"), 5);
        let warning = neighbour_warning(&many, None).expect("1,025 sources");
        assert!(warning.text.contains("gc_thresh3 = 1024"), "{}", warning.text);
        assert_eq!(neighbour_warning(&many, Some(4096)), None);
    }
}
