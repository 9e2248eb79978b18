//! What the lab would have seen of a run, in the types that it hands to the diagnosis.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::OnceLock;

use c10k_ceiling::{
    CounterChange, CpuLoad, Findings, MachineLoad, PhaseLoad, PlanView, ServerEnd, ServerProcess, counter,
};
use c10k_record::{
    Connections, Failure, HostSnapshot, Latencies, LatencySummary, Outcome, PhaseName, Protocol, Record,
    RunState, ServerReport, Tool, Topology, Workload, default_conditions, judge,
};

use crate::clock::{MS, SECOND};
use crate::scenario::Scenario;
use crate::settings::OWN_DESCRIPTORS;
use crate::sim::{Connection, Sim};

/// A second of rows: in less no load is told.
const LEAST_US: u64 = SECOND;

/// Everything that was found.
pub(crate) fn findings(sim: &Sim<'_>) -> Findings {
    let scenario = sim.scenario;
    let mut record = empty_record().clone();
    record.state = RunState::Complete;
    record.connections = connections(sim);
    record.latency_us = latencies(sim);
    record.lateness_us = scenario.settings.rate.map(|_| summary(&sim.swarm.late_us));
    let seconds = sim.swarm.last_verified_us as f64 / SECOND as f64;
    record.rate.connects_per_second.mean =
        (sim.swarm.verified > 0).then(|| sim.swarm.verified as f64 / seconds.max(1e-6));
    let mut conditions = default_conditions(true);
    let more: Vec<_> = scenario.world.verdicts.iter().filter_map(|text| text.parse().ok()).collect();
    c10k_record::add_conditions(&mut conditions, &more);
    let lost = |(phase, outcome): &(PhaseName, &str), (count, first_at_ms): &(u64, u64)| Failure {
        phase: *phase,
        outcome: Outcome::named(outcome),
        count: *count,
        first_at_ms: *first_at_ms,
    };
    Findings {
        plan: plan(scenario),
        host: host(sim),
        verdicts: judge(&conditions, &record),
        connections: record.connections,
        failures: sim.swarm.lost.iter().map(|(of, count)| lost(of, count)).collect(),
        growth_stopped: sim.swarm.growth_stopped,
        growth_evidence: sim.swarm.growth_evidence.clone(),
        capacity: Some(scenario.settings.ports() * scenario.settings.sources),
        counters: counters(sim),
        server: Some(server(sim)),
        server_max_connections: scenario.settings.max_connections,
        server_end: sim.server.end,
        accepted_stalled: sim.accepted_stalled,
        latency_us: record.latency_us,
        lateness_us: record.lateness_us,
        lowest_memory_available_bytes: Some(lowest_memory(sim)),
        loads: loads(sim),
        evidence: crate::abroad::evidence(sim),
        sources_gone: Some(sources_gone(sim)),
        ..Findings::default()
    }
}

fn sources_gone(sim: &Sim<'_>) -> Vec<IpAddr> {
    if sim.source_is_gone() { vec![IpAddr::from([127, 0, 0, 3])] } else { Vec::new() }
}

/// Everything that was found of a box with anybody's server.
pub(crate) fn all_findings(sim: &Sim<'_>) -> Findings {
    let mut found = findings(sim);
    if sim.scenario.world.abroad.is_foreign {
        as_of_a_foreign_server(&mut found, sim);
    }
    if sim.scenario.world.abroad.is_remote {
        as_of_another_machine(&mut found);
    }
    found
}

/// Of a server on another machine nothing is read but what the swarm's own kernel says.
fn as_of_another_machine(found: &mut Findings) {
    const OF_SWARM: [&str; 10] = [
        counter::SYN_RETRANSMITS,
        counter::RETRANSMITS,
        counter::SOFTNET_DROPPED,
        counter::ABORT_ON_MEMORY,
        counter::MEMORY_PRESSURES,
        counter::TCP_MEM_PAGES,
        counter::TIME_WAIT,
        counter::FILES_IN_USE,
        counter::SWARM_THREADS_REFUSED,
        counter::SWARM_THROTTLED,
    ];
    found.counters.retain(|name, _| OF_SWARM.contains(&name.as_str()));
    (found.plan.both_ends_here, found.plan.on_one_link, found.plan.server_stopped) = (false, false, false);
    (found.server_process, found.server_end, found.accepted_stalled) = (None, None, false);
    (found.evidence.listeners, found.evidence.rules, found.evidence.outgoing) = (None, None, None);
    // What is dropped there this kernel does not know of.
    let counts = found.evidence.drops.iter_mut().flat_map(|drops| drops.counted.values_mut());
    counts.for_each(|count| count.own = 0);
    (found.host.backlog, found.host.conntrack_max, found.host.server_nofile) = (None, None, None);
    found.loads.values_mut().for_each(|load| load.server = None);
}

/// The same of somebody else's server: it says nothing, and its process is seen from outside.
pub(crate) fn as_of_a_foreign_server(found: &mut Findings, sim: &Sim<'_>) {
    let settings = &sim.scenario.settings;
    let is_gone = sim.server.end.is_some();
    let nofile = settings.nofile(settings.server_nofile);
    let abroad = &sim.scenario.world.abroad;
    let several = abroad.processes > 1;
    let fullest = sim.abroad.of_process.iter().map(|(_, most)| *most).max().unwrap_or(0);
    let descriptors = OWN_DESCRIPTORS + if several { fullest } else { sim.server.peak };
    found.plan.own_server = false;
    found.plan.server_max_connections = None;
    found.plan.server_stopped = sim.server.is_stopped;
    (found.server, found.server_max_connections) = (None, None);
    (found.connections.accepted, found.connections.ghosts) = (None, None);
    found.verdicts.retain(|verdict| !verdict.expr.starts_with("ghosts"));
    (found.host.server_tables, found.host.server_per_table) = (false, None);
    found.server_end = sim.server.end.map(|_| ServerEnd::Gone);
    found.counters.remove(counter::SERVER_THREADS_REFUSED);
    // Of several a full one counts where nobody takes connections in its place.
    let is_full = |(_, most): &(u64, u64)| OWN_DESCRIPTORS + most >= nofile;
    let full = sim.abroad.of_process.iter().filter(|process| is_full(process)).count();
    let is_bound = if several && !abroad.each_listens { full as u64 >= abroad.processes } else { full > 0 };
    let table_was_full = if several { is_bound } else { !settings.server_tables && descriptors >= nofile };
    let waiting = sim.server.queue.len() as u64 + sim.abroad.stuck.iter().sum::<u64>();
    found.server_process = Some(ServerProcess {
        full: (0..full as u32).map(|nth| 4711 + nth).filter(|_| several && is_bound).collect(),
        processes: several.then_some(abroad.processes),
        pid: 4711,
        most_descriptors: Some(descriptors),
        descriptor_limit: Some(nofile),
        table_was_full,
        stopped: sim.server.is_stopped,
        established: (!is_gone).then_some(sim.server.open + sim.server.queue.len() as u64),
        not_accepted: (!is_gone).then_some(waiting),
        listens: Some((!is_gone || abroad.starts_again) && sim.scenario.world.listens),
    });
}

/// A record's times are of this machine; they are in no finding.
fn empty_record() -> &'static Record {
    static EMPTY: OnceLock<Record> = OnceLock::new();
    EMPTY.get_or_init(|| {
        let tool = Tool { name: "sim".to_owned(), version: "0".to_owned() };
        Record::begun(tool, "sim".to_owned(), Topology::Loopback, Protocol::Raw, Workload::Hold)
    })
}

/// The plan as the walls see it.
pub(crate) fn plan(scenario: &Scenario) -> PlanView {
    let settings = &scenario.settings;
    PlanView {
        target: scenario.target,
        sources: settings.sources,
        source_ports: Some(settings.port_range),
        destinations: 1,
        both_ends_here: true,
        probe: true,
        server_max_connections: settings.max_connections,
        on_one_link: scenario.world.on_one_link,
        probe_bytes: 64,
        websocket: scenario.world.abroad.websocket,
        again: ["c10k-lab", "run"].map(str::to_owned).to_vec(),
        connect_timeout_ms: Some(scenario.world.connect_timeout_us / MS),
        probe_timeout_ms: Some(scenario.world.probe_timeout_us / MS),
        rate_per_second: settings.rate,
        in_flight: Some(settings.in_flight),
        own_server: true,
        listen: Some("127.0.0.1:9000".to_owned()),
        server_ports: vec![9000],
        ..PlanView::default()
    }
}

/// The limits as they stood before the run.
pub(crate) fn host_of(scenario: &Scenario) -> HostSnapshot {
    let (settings, world) = (&scenario.settings, &scenario.world);
    HostSnapshot {
        files_in_use: Some(world.files_used),
        time_wait: Some(world.time_wait),
        conntrack_entries: settings.conntrack_max.map(|_| world.conntrack_used),
        memory_total_bytes: Some(world.memory_bytes),
        memory_available_bytes: Some(world.memory_bytes.saturating_sub(world.memory_used_bytes)),
        cgroup_memory_used_bytes: settings.group_bytes.map(|_| world.group_used_bytes),
        cgroup_connection_bytes: settings.group_bytes.map(|_| world.connection_bytes),
        server_connection_bytes: Some(world.connection_bytes),
        client_connection_bytes: Some(world.connection_bytes),
        pids_current: settings.pids_max.map(|_| world.pids_used + 2),
        threads_left: settings.pids_max.map(|most| most.saturating_sub(world.pids_used + 2)),
        ..settings.snapshot()
    }
}

fn host(sim: &Sim<'_>) -> HostSnapshot {
    let refused = sim.counted.server_threads_refused + sim.counted.swarm_threads_refused > 0;
    let mut host = host_of(sim.scenario);
    if refused {
        host.pids_current = host.pids_max;
    }
    host
}

fn connections(sim: &Sim<'_>) -> Connections {
    let swarm = &sim.swarm;
    let mut connections = Connections {
        target: sim.scenario.target,
        attempted: swarm.attempted,
        established: swarm.established,
        accepted: Some(sim.server.accepted),
        verified: Some(swarm.verified),
        held: swarm.held,
        released: swarm.released,
        ..Connections::default()
    };
    for ((_, outcome), (count, _)) in &swarm.lost {
        connections.add_failed(Outcome::named(outcome), *count);
    }
    connections.settle_ghosts();
    connections
}

fn server(sim: &Sim<'_>) -> ServerReport {
    let server = &sim.server;
    ServerReport {
        accepted: server.accepted,
        open: server.open,
        peak: server.peak,
        accept_errors: server
            .accept_errors
            .iter()
            .map(|(errno, count)| ((*errno).to_owned(), *count))
            .collect(),
        paused: server.paused,
        tables: server.tables,
        ..ServerReport::default()
    }
}

/// MemAvailable counts in the inodes and names of sockets, a quarter of what a connection takes.
fn lowest_memory(sim: &Sim<'_>) -> u64 {
    let world = &sim.scenario.world;
    let at_most = |c: &Connection| u64::from(c.at_server != crate::sim::AtServer::Unknown) + 1;
    let sockets: u64 = sim.connections.iter().map(at_most).sum();
    let taken = sockets * world.connection_bytes * 3 / 4;
    world.memory_bytes.saturating_sub(world.memory_used_bytes).saturating_sub(taken)
}

fn counters(sim: &Sim<'_>) -> BTreeMap<String, CounterChange> {
    let (seen, world) = (&sim.counted, &sim.scenario.world);
    let before = 7;
    let grew = |by: u64| CounterChange { before, after: before + by };
    let rose = |from: u64, to: u64| CounterChange { before: from, after: to };
    let mut all = vec![
        (counter::LISTEN_OVERFLOWS, grew(seen.listen_overflows)),
        (counter::LISTEN_DROPS, grew(seen.listen_drops)),
        (counter::REVERSE_PATH_FILTER, grew(sim.abroad.reverse_path)),
        (counter::OUT_NO_ROUTES, grew(seen.out_no_routes + world.others_without_route)),
        (counter::LISTENER_DROPS, grew(seen.listener_drops)),
        (counter::OTHER_LISTENERS_DROPS, grew(world.others_overflow)),
        (counter::SYN_RETRANSMITS, grew(seen.syn_retransmits)),
        (counter::RETRANSMITS, grew(seen.syn_retransmits + seen.data_retransmits)),
        (counter::REQ_QUEUE_FULL_DROP, grew(seen.req_queue_full_drop)),
        (counter::REQ_QUEUE_FULL_COOKIES, grew(seen.req_queue_full_cookies)),
        (counter::SOFTNET_DROPPED, grew(seen.softnet_dropped)),
        (counter::ABORT_ON_MEMORY, grew(seen.abort_on_memory)),
        (counter::MEMORY_PRESSURES, grew(seen.memory_pressures)),
        (counter::TIME_WAIT_OVERFLOW, grew(seen.time_wait_overflow)),
        (counter::NEIGHBOUR_TABLE_FULLS, grew(seen.table_fulls)),
        (counter::OOM_KILLS, grew(seen.oom_kills)),
        (counter::SERVER_THREADS_REFUSED, grew(seen.server_threads_refused)),
        (counter::SWARM_THREADS_REFUSED, grew(seen.swarm_threads_refused)),
        (counter::SERVER_THROTTLED, grew(sim.server.worker.throttled)),
        (counter::SWARM_THROTTLED, grew(sim.swarm.worker.throttled)),
        (counter::GROUP_HELD_BACK, grew(0)),
        (counter::TCP_MEM_PAGES, rose(2, seen.tcp_mem_pages.max(2))),
        (counter::ORPHANS, rose(0, seen.orphans)),
        (counter::TIME_WAIT, rose(world.time_wait, seen.time_wait)),
        (counter::FILES_IN_USE, rose(world.files_used, seen.files)),
        (counter::ACCEPT_QUEUE, rose(0, seen.accept_queue)),
        (counter::NEIGHBOURS, rose(world.neighbours_used, seen.neighbours)),
    ];
    if sim.scenario.settings.conntrack_max.is_some() {
        all.push((counter::CONNTRACK_COUNT, rose(world.conntrack_used, seen.conntrack)));
        all.push((counter::CONNTRACK_DROPPED, grew(seen.conntrack_dropped)));
    } else {
        all.push((counter::CONNTRACK_DROPPED, grew(0)));
    }
    if sim.scenario.settings.group_bytes.is_some() {
        all.push((counter::GROUP_BYTES, rose(world.group_used_bytes, seen.group_bytes)));
        all.push((counter::GROUP_FAILURES, grew(seen.group_failures)));
    }
    // A group that is gone with its server says nothing any more.
    if !(world.group_goes && seen.group_oom_kills > 0) {
        all.push((counter::GROUP_OOM_KILLS, grew(seen.group_oom_kills)));
    }
    if sim.scenario.settings.link_bits_per_second.is_some() {
        all.push((counter::LINK_BITS_PER_SECOND, rose(0, seen.link_busiest_bits)));
        all.push((counter::LINK_DROPPED, rose(0, seen.link_dropped)));
    }
    all.into_iter().map(|(name, change)| (name.to_owned(), change)).collect()
}

fn latencies(sim: &Sim<'_>) -> Latencies {
    let swarm = &sim.swarm;
    Latencies {
        connect: summary(&swarm.connect_us),
        connect_response: sim.scenario.settings.rate.map(|_| summary(&swarm.response_us)),
        first_echo: summary(&swarm.first_echo_us),
        echo: summary(&swarm.echo_us),
        ..Latencies::default()
    }
}

fn summary(all_us: &[u64]) -> LatencySummary {
    let mut sorted = all_us.to_vec();
    sorted.sort_unstable();
    let at = |share: f64| {
        let rank = (sorted.len() as f64 * share).ceil() as usize;
        sorted.get(rank.max(1) - 1).copied()
    };
    LatencySummary {
        p50: at(0.5),
        p90: at(0.9),
        p95: at(0.95),
        p99: at(0.99),
        p999: at(0.999),
        max: sorted.last().copied(),
        count: sorted.len() as u64,
    }
}

/// Each end has one worker.
fn loads(sim: &Sim<'_>) -> BTreeMap<PhaseName, PhaseLoad> {
    let processors = if sim.scenario.world.one_processor { 1 } else { sim.scenario.world.processors };
    let load = |phase: PhaseName| {
        let [server, swarm, softirq, lasted] = *sim.loads.get(&phase)?;
        if lasted < LEAST_US {
            return None;
        }
        let cores = |used_us: u64| used_us as f64 / lasted as f64;
        let end = |used_us| Some(CpuLoad { used_cores: cores(used_us), most_cores: 1.0 });
        let machine = MachineLoad {
            processors,
            idle_cores: (processors as f64 - cores(server + swarm + softirq)).max(0.0),
            softirq_cores: cores(softirq),
        };
        Some((phase, PhaseLoad { server: end(server), swarm: end(swarm), machine: Some(machine) }))
    };
    [PhaseName::Ramp, PhaseName::Verify].into_iter().filter_map(load).collect()
}
