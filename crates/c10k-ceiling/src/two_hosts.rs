//! Two hosts of one run: each has its own descriptors, memory and ports, and its own walls.

use std::collections::BTreeSet;

use c10k_record::{CounterChange, Evidence, HostSnapshot, Side, human_count};

use crate::findings::Findings;
use crate::plan_view::PlanView;
use crate::predict::{Prediction, predicted};
use crate::walls::walls;

/// The walls of both hosts, the one that bites first in front. Of a limit that both have it is the lower one. `plan` is as
/// the clients' host sees it.
#[must_use]
pub fn predict_of_two(server: &HostSnapshot, client: &HostSnapshot, plan: &PlanView) -> Vec<Prediction> {
    let of = |side: Side, host: &HostSnapshot, plan: &PlanView, whose: &str| -> Vec<Prediction> {
        let here = walls().filter(|wall| [side, Side::Host].contains(&wall.side));
        let told = here.filter_map(|wall| {
            let mut prediction = predicted(wall, host, plan)?;
            prediction.now = format!("{whose} host: {}", prediction.now);
            Some(prediction)
        });
        told.collect()
    };
    let of_server = PlanView { both_ends_here: false, servers_end_alone: true, ..plan.clone() };
    let of_clients = PlanView { both_ends_here: false, servers_end_alone: false, ..plan.clone() };
    let mut all = of(Side::Server, &without_swarm(server), &of_server, "the server's");
    all.extend(of(Side::Swarm, &without_server(client), &of_clients, "the clients'"));
    all.sort_by_key(|prediction| prediction.connections);
    let mut known = BTreeSet::new();
    all.retain(|prediction| known.insert(prediction.wall.clone()));
    all
}

/// A host on which no swarm stands.
fn without_swarm(host: &HostSnapshot) -> HostSnapshot {
    HostSnapshot {
        swarm_nofile: None,
        swarm_per_table: None,
        swarm_tables: false,
        // Measured with both ends in the group.
        cgroup_connection_bytes: None,
        ..host.clone()
    }
}

/// A host on which no server stands.
fn without_server(host: &HostSnapshot) -> HostSnapshot {
    HostSnapshot {
        server_nofile: None,
        server_per_table: None,
        server_tables: false,
        server_processes: None,
        server_room: None,
        cgroup_connection_bytes: None,
        ..host.clone()
    }
}

impl Findings {
    /// The host on which what stands at that end is lifted.
    pub(crate) fn host_of(&self, side: Side) -> &HostSnapshot {
        let far = self.far.as_ref().filter(|_| side == Side::Server);
        far.map_or(&self.host, |far| &far.host)
    }

    /// Evidence of counters that both hosts have, with how much of it is the server's host's.
    pub(crate) fn told_of_hosts(&self, mut evidence: Vec<Evidence>) -> Vec<Evidence> {
        let Some(far) = &self.far else { return evidence };
        for one in &mut evidence {
            let both = self.counter(&one.source).map(CounterChange::growth).filter(|growth| *growth > 0);
            let there = far.counters.get(&one.source).map(|change| change.growth());
            let (Some(both), Some(there)) = (both, there) else { continue };
            let whose = match there {
                0 => "all of it at the clients' host".to_owned(),
                there if there >= both => "all of it at the server's host".to_owned(),
                there => format!("{} of it at the server's host", human_count(there)),
            };
            one.text = format!("{} ({whose})", one.text);
        }
        evidence
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counter;
    use crate::far::FarFindings;

    /// Two machines of different kinds.
    fn hosts() -> (HostSnapshot, HostSnapshot) {
        let server = HostSnapshot {
            server_nofile: Some(1_024),
            server_per_table: Some(1_000),
            memory_available_bytes: Some(4_060 * 7_000),
            epoll_watches: Some(9_000),
            // What stands there of a swarm that once was.
            swarm_nofile: Some(10),
            swarm_per_table: Some(10),
            ..HostSnapshot::default()
        };
        let client = HostSnapshot {
            swarm_nofile: Some(2_048),
            swarm_per_table: Some(2_000),
            server_nofile: Some(10),
            server_per_table: Some(10),
            memory_available_bytes: Some(4_270 * 6_000),
            epoll_watches: Some(8_000),
            port_range: Some((32_768, 60_999)),
            ..HostSnapshot::default()
        };
        (server, client)
    }

    #[test]
    fn each_host_bounds_its_own_end_and_neither_is_charged_with_both() {
        let (server, client) = hosts();
        let plan = PlanView { sources: 1, destinations: 1, both_ends_here: true, ..PlanView::default() };
        let found = predict_of_two(&server, &client, &plan);
        let of = |name: &str| found.iter().find(|one| one.wall == name).map(|one| one.connections);
        assert_eq!((of("nofile-server"), of("nofile-swarm")), (Some(1_000), Some(2_000)), "{found:?}");
        assert_eq!(of("ram"), Some(6_000), "the scarcer of the two, each with its own end alone");
        assert_eq!(of("epoll-watches"), Some(8_000), "one watch a connection on each");
        assert_eq!(of("ports-exhausted"), Some(28_232));
        let ram = found.iter().find(|one| one.wall == "ram").expect("foreseen");
        assert!(ram.now.starts_with("the clients' host: "), "{}", ram.now);
        let names: BTreeSet<&str> = found.iter().map(|one| one.wall.as_str()).collect();
        assert_eq!(names.len(), found.len(), "each wall once");
        assert!(found.windows(2).all(|two| two[0].connections <= two[1].connections));
    }

    #[test]
    fn what_counts_at_both_hosts_is_told_of_each() {
        let change = |after| CounterChange { before: 0, after };
        let evidence = |source: &str| Evidence {
            source: source.to_owned(),
            side: Side::Server,
            before: None,
            after: None,
            text: "seen".to_owned(),
        };
        let mut findings = Findings::default();
        findings.counters.insert(counter::LISTEN_OVERFLOWS.to_owned(), change(9));
        findings.counters.insert(counter::SYN_RETRANSMITS.to_owned(), change(5));
        let all =
            || vec![evidence(counter::LISTEN_OVERFLOWS), evidence(counter::SYN_RETRANSMITS), evidence("x")];
        let texts = |findings: &Findings| -> Vec<String> {
            findings.told_of_hosts(all()).into_iter().map(|one| one.text).collect()
        };
        assert_eq!(texts(&findings), ["seen", "seen", "seen"], "of one host there is nothing to tell");
        let (server, client) = hosts();
        (findings.host, findings.far) = (client.clone(), Some(FarFindings::default()));
        let far = findings.far.as_mut().expect("just set");
        far.host = server.clone();
        far.counters.insert(counter::LISTEN_OVERFLOWS.to_owned(), change(9));
        far.counters.insert(counter::SYN_RETRANSMITS.to_owned(), change(2));
        let told = texts(&findings);
        assert_eq!(told[0], "seen (all of it at the server's host)");
        assert_eq!((told[1].as_str(), told[2].as_str()), ("seen (2 of it at the server's host)", "seen"));
        assert_eq!((findings.host_of(Side::Server), findings.host_of(Side::Swarm)), (&server, &client));
    }
}
