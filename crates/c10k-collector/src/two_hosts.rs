//! What was seen of a run whose ends stand on two hosts, as one: each host is looked at by a collector of its own.
//!
//! # Whose a figure is
//! What the server has is that of its host, what the swarm has that of the clients': processes, listeners, connections.
//! Counters are the sums of both ends, as between two network namespaces of one machine. Memory, slabs, files and
//! processor time are those of the clients' host: of the server's host they stand beside it, in the far end's own
//! observation. Of what is a level (`tcp_mem`, orphans, neighbours) it is the higher one.
//!
//! Where the far end is not known, neither is what it is a part of.

use std::collections::BTreeMap;

use crate::observation::{NeighboursSeen, Observation};

/// Both ends as one. `near` is of the clients' host; `far` of the server's, `None` where it is not known now. Both may be
/// one machine, by two collectors of its own: then it is not counted twice.
#[must_use]
pub fn of_two_hosts(near: &Observation, far: Option<&Observation>, is_one_machine: bool) -> Observation {
    let unknown = Observation::default();
    let there = far.unwrap_or(&unknown);
    let both = |one: Option<u64>, other: Option<u64>| match is_one_machine {
        true => one.max(other).filter(|_| one.is_some() && other.is_some()),
        false => Some(one? + other?),
    };
    let higher = |one: Option<u64>, other: Option<u64>| one.max(other);
    let mut seen = Observation {
        server: there.server,
        processes: there.processes.clone(),
        listener: there.listener,
        connections: there.connections,
        cgroup: match (near.cgroup.clone(), there.cgroup.clone()) {
            (Some(near), Some(there)) => Some(there.scarcer(near)),
            // What a group that cannot be read has refused is not known.
            _ => None,
        },
        oom_kills: both(near.oom_kills, there.oom_kills),
        // Where that host is not seen now the sum would fall, and rise again with the next look.
        drops: far.and_then(|far| dropped(near, far, is_one_machine)),
        neighbours: fuller(near.neighbours, there.neighbours, is_one_machine),
        neighbours_ipv6: fuller(near.neighbours_ipv6, there.neighbours_ipv6, is_one_machine),
        partial: near.partial || far.is_none_or(|far| far.partial),
        ..near.clone()
    };
    let mut network = there.network.clone();
    network.with_clients(&near.network);
    network.softnet_dropped = both(near.network.softnet_dropped, there.network.softnet_dropped);
    network.softnet_squeezed = both(near.network.softnet_squeezed, there.network.softnet_squeezed);
    (network.files_in_use, network.files_max) = (near.network.files_in_use, near.network.files_max);
    network.sockets.orphans = higher(near.network.sockets.orphans, there.network.sockets.orphans);
    network.sockets.mem_pages = higher(near.network.sockets.mem_pages, there.network.sockets.mem_pages);
    network.sockets.allocated = near.network.sockets.allocated;
    // Of its own end it stays known what the other end does not say.
    network.sockets.time_wait = network.sockets.time_wait.or(near.network.sockets.time_wait);
    network.has_vanished = near.network.has_vanished;
    seen.network = network;
    seen
}

/// What both kernels dropped, by the reason; of one of them where the other cannot count, or is the same.
fn dropped(near: &Observation, there: &Observation, is_one_machine: bool) -> Option<BTreeMap<String, u64>> {
    let (mut all, far) = match (near.drops.clone(), &there.drops) {
        (Some(near), Some(far)) if !is_one_machine => (near, far),
        (near, far) => return near.or_else(|| far.clone()),
    };
    for (reason, count) in far {
        *all.entry(reason.clone()).or_default() += count;
    }
    Some(all)
}

/// The table that has more entries, with what found no room in either.
fn fuller(
    near: Option<NeighboursSeen>,
    there: Option<NeighboursSeen>,
    is_one_machine: bool,
) -> Option<NeighboursSeen> {
    let (near, there) = (near?, there?);
    let table_fulls = match is_one_machine {
        true => near.table_fulls.max(there.table_fulls),
        false => near.table_fulls + there.table_fulls,
    };
    Some(NeighboursSeen { entries: near.entries.max(there.entries), table_fulls })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::{GroupSeen, ListenerSeen};

    fn end(rss: u64, resent: u64, group_left: u64) -> Observation {
        let mut seen = Observation {
            oom_kills: Some(1),
            neighbours: Some(NeighboursSeen { entries: rss, table_fulls: 2 }),
            cgroup: Some(GroupSeen {
                left_bytes: Some(group_left),
                failures: Some(1),
                ..GroupSeen::default()
            }),
            ..Observation::default()
        };
        (seen.server.rss_bytes, seen.swarm.rss_bytes) = (Some(rss), Some(rss + 1));
        seen.memory.free_bytes = Some(rss);
        seen.network.counters.insert("TCPSynRetrans", resent);
        seen.network.softnet_dropped = Some(resent);
        (seen.network.sockets.in_use, seen.network.sockets.orphans) = (Some(5), Some(rss));
        seen
    }

    #[test]
    fn each_end_has_its_own_and_what_both_count_is_summed() {
        let (near, mut far) = (end(100, 3, 50), end(700, 4, 20));
        far.listener = Some(ListenerSeen { accept_queue: 9, ..ListenerSeen::default() });
        let seen = of_two_hosts(&near, Some(&far), false);
        assert_eq!((seen.server.rss_bytes, seen.swarm.rss_bytes), (Some(700), Some(101)));
        assert_eq!((seen.counter("TCPSynRetrans"), seen.network.softnet_dropped), (Some(7), Some(7)));
        assert_eq!((seen.network.sockets.in_use, seen.network.sockets.orphans), (Some(10), Some(700)));
        assert_eq!((seen.memory.free_bytes, seen.oom_kills), (Some(100), Some(2)));
        assert_eq!(seen.listener.map(|listener| listener.accept_queue), Some(9));
        assert_eq!(seen.neighbours, Some(NeighboursSeen { entries: 700, table_fulls: 4 }));
        assert_eq!(seen.cgroup.and_then(|group| group.left_bytes), Some(20));
        assert!(!seen.partial);
    }

    #[test]
    fn of_one_machine_what_is_the_whole_hosts_is_not_counted_twice() {
        let seen = of_two_hosts(&end(1, 3, 50), Some(&end(1, 3, 50)), true);
        assert_eq!((seen.network.softnet_dropped, seen.oom_kills), (Some(3), Some(1)));
        assert_eq!(seen.counter("TCPSynRetrans"), Some(6), "each counts in a network namespace of its own");
    }

    #[test]
    fn what_both_kernels_dropped_is_summed_by_the_reason_and_one_that_cannot_count_takes_nothing_away() {
        let counting = |count| {
            let drops = [("NETFILTER_DROP".to_owned(), count), ("XDP".to_owned(), 1)];
            Observation { drops: Some(drops.into()), ..Observation::default() }
        };
        let filtered = |near: &Observation, far: &Observation, is_one| {
            of_two_hosts(near, Some(far), is_one).drops.map(|drops| drops["NETFILTER_DROP"])
        };
        let blind = Observation::default();
        assert_eq!(filtered(&counting(3), &counting(4), false), Some(7));
        assert_eq!(filtered(&counting(3), &counting(4), true), Some(3));
        assert_eq!(filtered(&blind, &counting(4), false), Some(4));
        assert_eq!(filtered(&counting(3), &blind, false), Some(3));
        assert_eq!(filtered(&blind, &blind, false), None);
    }

    #[test]
    fn without_the_far_end_nothing_is_said_of_it_nor_of_both() {
        let mut near = end(100, 3, 50);
        near.network.sockets.time_wait = Some(6);
        let seen = of_two_hosts(&near, None, false);
        assert_eq!((seen.server.rss_bytes, seen.swarm.rss_bytes), (None, Some(101)));
        assert_eq!((seen.counter("TCPSynRetrans"), seen.network.softnet_dropped), (None, None));
        assert_eq!((seen.oom_kills, seen.cgroup, seen.neighbours), (None, None, None));
        assert_eq!((seen.memory.free_bytes, seen.network.sockets.time_wait), (Some(100), Some(6)));
        assert!(seen.partial);
    }
}
