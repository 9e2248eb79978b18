//! The topology `veth`: the server in the lab's own network namespace, the swarm in a second one, a pair of
//! devices with real addresses between them.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use c10k_kernel::namespace::Beside;
use c10k_kernel::{address, link};
use c10k_plan::say::refusal::Refusal;
use c10k_plan::veth::{FEW_NEIGHBOURS, network_bits, servers_of, share_a_network, sources_of};
use c10k_record::Plan;

/// The device at the server's end.
pub(crate) const SERVER_DEVICE: &str = "c10k-server";
/// The device at the swarm's end.
const SWARM_DEVICE: &str = "c10k-swarm";
/// Both ends are set up by then.
const JOINED: Duration = Duration::from_secs(5);

/// Makes the swarm's namespace beside this one, which is the server's, and the link between them, and sees
/// that it carries traffic.
pub(crate) fn join(plan: &Plan) -> Result<Beside, Refusal> {
    let servers = servers_of(plan);
    let sources = sources_of(plan);
    let far = Beside::new().map_err(cannot("make a second network namespace"))?;
    link::add_veth_pair(SERVER_DEVICE, SWARM_DEVICE, &far)
        .map_err(cannot("make a pair of devices (veth)"))?;
    add_all(SERVER_DEVICE, &servers, &servers)?;
    far.inside(|| add_all(SWARM_DEVICE, &sources, &servers))
        .map_err(cannot("enter the swarm's namespace"))??;
    let outside = |ip: &IpAddr| !servers.iter().any(|server| share_a_network(*ip, *server));
    if let Some(stranger) = sources.iter().copied().find(outside) {
        let route = |device: &str| {
            link::add_default_route_on_link(device, stranger).map_err(cannot("add a route over the link"))
        };
        route(SERVER_DEVICE)?;
        far.inside(|| route(SWARM_DEVICE)).map_err(cannot("enter the swarm's namespace"))??;
    }
    if sources.len() as u64 > FEW_NEIGHBOURS {
        // The kernel has one table for all namespaces, and connects beyond its size are lost without an errno:
        // it is the server that cannot answer.
        let at = far
            .inside(|| link::hardware_address(SWARM_DEVICE))
            .map_err(cannot("enter the swarm's namespace"))?
            .map_err(cannot("find the swarm's device"))?;
        for source in &sources {
            link::add_permanent_neighbour(SERVER_DEVICE, *source, &at)
                .map_err(cannot(&format!("enter {source} as a neighbour")))?;
        }
    }
    for server in &servers {
        if let Some(source) = sources.first() {
            link::carries(*server, *source, &far, JOINED)
                .map_err(cannot(&format!("connect from {source} to {server} over the link")))?;
        }
    }
    Ok(far)
}

/// The devices over which the ends of a run send to each other, with their namespaces: without a second one `lo`.
pub(crate) fn devices(far: Option<&Beside>) -> Vec<(String, Option<Beside>)> {
    match far {
        None => vec![("lo".to_owned(), None)],
        Some(far) => {
            let swarm = far.try_clone().ok().map(|far| (SWARM_DEVICE.to_owned(), Some(far)));
            [Some((SERVER_DEVICE.to_owned(), None)), swarm].into_iter().flatten().collect()
        }
    }
}

fn cannot(what: &str) -> impl Fn(io::Error) -> Refusal {
    let what = format!("cannot {what} for --topology veth");
    move |error| {
        let hint = if error.raw_os_error() == Some(libc::EOPNOTSUPP) {
            "this kernel has no veth devices: `sudo modprobe veth`, or use --topology loopback"
        } else {
            "--topology loopback needs one namespace and no devices"
        };
        Refusal::host(format!("{what}: {error}"), hint)
    }
}

/// Adds addresses to a device of the calling thread's namespace and sets it up.
fn add_all(device: &str, addresses: &[IpAddr], servers: &[IpAddr]) -> Result<(), Refusal> {
    for ip in addresses {
        let in_network = servers.iter().any(|server| share_a_network(*ip, *server));
        let prefix = if in_network { network_bits(*ip) } else { address::whole_bits(*ip) };
        address::add(device, *ip, prefix).map_err(cannot(&format!("add the address {ip}")))?;
    }
    address::set_up(device).map_err(cannot(&format!("set {device} up")))
}
