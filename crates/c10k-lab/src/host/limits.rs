//! The limits of both ends of a run.

use c10k_collector::{PerEnd, host_snapshot};
use c10k_kernel::namespace::Beside;
use c10k_record::HostSnapshot;

/// The limits of both ends, of which `here` are those of this place. Those of clients that stand in another place, or of a
/// server that does, are read there.
pub(crate) fn of_ends(
    here: HostSnapshot,
    clients_place: Option<&Beside>,
    servers_place: Option<&Beside>,
) -> PerEnd<HostSnapshot> {
    let read = |place: Option<&Beside>| place.and_then(|place| place.inside(host_snapshot).ok());
    match read(servers_place) {
        None => PerEnd { server: here, client: read(clients_place) },
        Some(there) => {
            let HostSnapshot { somaxconn, max_syn_backlog, conntrack_max, conntrack_entries, .. } = there;
            let tracks = conntrack_entries.is_some_and(|entries| entries > 0);
            let mut server = HostSnapshot { somaxconn, max_syn_backlog, ..here.clone() };
            // Where the server's end alone tracks, its table is the one that fills.
            if tracks && here.conntrack_max.is_none() {
                (server.conntrack_max, server.conntrack_entries) = (conntrack_max, conntrack_entries);
            }
            PerEnd { server, client: Some(here) }
        }
    }
}

/// Both ends in one: what bounds the client alone is the client's, everything else the server's.
pub(crate) fn as_one(limits: &PerEnd<HostSnapshot>) -> HostSnapshot {
    let HostSnapshot { port_range, reserved_ports, tw_reuse, timestamps, max_tw_buckets, .. } =
        *limits.client();
    HostSnapshot { port_range, reserved_ports, tw_reuse, timestamps, max_tw_buckets, ..limits.server.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn source_ports_are_those_of_the_clients_end_and_descriptors_those_of_the_server() {
        let server = HostSnapshot {
            port_range: Some((32_768, 60_999)),
            server_nofile: Some(1_024),
            ..HostSnapshot::default()
        };
        assert_eq!(as_one(&PerEnd::one(server.clone())), server);
        let client = HostSnapshot { port_range: Some((20_000, 20_099)), ..HostSnapshot::default() };
        let one = as_one(&PerEnd { server, client: Some(client) });
        assert_eq!((one.port_range, one.server_nofile), (Some((20_000, 20_099)), Some(1_024)));
    }
}
