//! What a run showed, as the walls want it.

use std::collections::BTreeMap;

use c10k_ceiling::{CounterChange, CpuLoad, Findings, PlanView, ServerEnd, counter};
use c10k_collector::{GroupSeen, Observation};
use c10k_kernel::limits::{self, Resource};
use c10k_kernel::process;
use c10k_record::{HostSnapshot, Plan, Protocol, Record, Sample, Topology};

use crate::foreign::Outside;
use crate::watch::Watch;

/// The plan as the walls see it, before the swarm has planned its sources.
pub(crate) fn plan_view(plan: &Plan, host: &HostSnapshot) -> PlanView {
    let window = plan.load.ports.as_deref().and_then(|text| text.parse::<c10k_swarm::ips::PortWindow>().ok());
    let ports = window.map(|window| (window.first, window.last)).or(host.port_range);
    let destinations = plan.server.listen.len() as u64;
    let within = |(first, last): (u16, u16), (low, high): (u16, u16)| low <= first && last <= high;
    let explicit_ports = ports.zip(host.port_range).is_some_and(|(window, range)| !within(window, range));
    // What the swarm leaves out: ports that the server has at this end, and reserved ones where the kernel chooses.
    let mut taken: Vec<u16> = plan.server.listen.iter().map(std::net::SocketAddr::port).collect();
    taken.retain(|port| {
        plan.topology == Topology::Loopback
            && ports.is_some_and(|(first, last)| (first..=last).contains(port) && *port != 0)
    });
    taken.sort_unstable();
    taken.dedup();
    let reserved = if explicit_ports { 0 } else { host.reserved_ports.unwrap_or(0) };
    let left_out = taken.len() as u64 + reserved;
    let named = plan.load.ips.as_deref().and_then(|text| text.parse::<c10k_swarm::ips::IpList>().ok());
    // Without a list the swarm takes as many of 127.0.0.0/8 as it needs.
    let each = ports.map_or(1, |(first, last)| {
        (u64::from(last.saturating_sub(first)) + 1).saturating_sub(left_out).max(1) * destinations
    });
    let sources = named.map_or(plan.target.div_ceil(each.max(1)) + 1, |list| list.addresses().len() as u64);
    PlanView {
        target: plan.target,
        sources,
        source_ports: ports,
        destinations,
        both_ends_here: true,
        probe: plan.load.probe,
        explicit_ports,
        ips: plan.load.ips.clone(),
        server_max_connections: plan.server.max_connections,
        ports_left_out: ports.is_some().then_some(left_out),
        on_one_link: plan.topology == Topology::Veth,
        probe_bytes: plan.load.probe_bytes.into(),
        websocket: plan.protocol == Protocol::Ws,
        pool: c10k_swarm::takes_more(&plan.load, &plan.server.listen).then_some(c10k_swarm::LOOPBACK_POOL),
        again: Some(again(plan)),
        ..PlanView::default()
    }
}

/// The command of the same run, without its load.
fn again(plan: &Plan) -> String {
    let mut line = format!("c10k-lab run --profile {}", quoted(&plan.profile));
    if plan.protocol != Protocol::Raw {
        line.push_str(&format!(" --protocol {}", plan.protocol));
    }
    match plan.server.listen.first() {
        Some(server) if plan.server.foreign => line.push_str(&format!(" --server-port {}", server.port())),
        _ if plan.topology != Topology::Loopback => line.push_str(&format!(" --topology {}", plan.topology)),
        _ => {}
    }
    line
}

/// A word of a shell's line.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:,@%+=".contains(c);
    if word.chars().all(plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', "'\\''")) }
}

/// Everything that was found.
pub(crate) fn findings(
    record: &Record,
    plan: &Plan,
    host: &HostSnapshot,
    watch: &Watch,
    capacity: Option<u64>,
    server_end: Option<ServerEnd>,
    aborted: bool,
) -> Findings {
    let levels = &watch.levels;
    let mut counters = BTreeMap::new();
    if let (Some(first), Some(last)) = (&watch.first, &watch.last) {
        // A run that is closed at its end may well fill a table: it is nothing that it met on its way.
        let open = watch.before_close.as_ref().unwrap_or(last);
        for name in counter::GROWING {
            let seen = if name == counter::TIME_WAIT_OVERFLOW { open } else { last };
            if let (Some(before), Some(after)) = (first.counter(name), seen.counter(name)) {
                counters.insert(name.to_owned(), CounterChange { before, after });
            }
        }
        let level =
            |before: Option<u64>, after: Option<u64>| Some(CounterChange { before: before?, after: after? });
        let rows = [
            (counter::SOFTNET_DROPPED, level(first.softnet_dropped, last.softnet_dropped)),
            (counter::TCP_MEM_PAGES, level(first.sockets.mem_pages, levels.tcp_mem_pages)),
            (counter::ORPHANS, level(first.sockets.orphans, levels.orphans)),
            (counter::TIME_WAIT, level(first.sockets.time_wait, levels.time_wait)),
            (counter::FILES_IN_USE, level(first.files_in_use, levels.files_in_use)),
            (counter::CONNTRACK_COUNT, level(first.conntrack_entries, levels.conntrack)),
            (counter::CONNTRACK_DROPPED, level(first.conntrack_dropped, last.conntrack_dropped)),
            (counter::GROUP_BYTES, level(group(first).usage_bytes, group(last).usage_bytes)),
            (counter::GROUP_FAILURES, level(group(first).failures, group(last).failures)),
            (counter::GROUP_OOM_KILLS, level(group(first).oom_kills, group(last).oom_kills)),
        ];
        counters.extend(rows.into_iter().filter_map(|(name, change)| Some((name.to_owned(), change?))));
    }
    if let Some(link) = watch.link.narrowest() {
        let change = |after| CounterChange { before: 0, after };
        let busiest = link.busiest_bits_per_second.map(change);
        counters.extend(busiest.map(|busiest| (counter::LINK_BITS_PER_SECOND.to_owned(), busiest)));
        counters.insert(counter::LINK_DROPPED.to_owned(), change(link.dropped));
    }
    counters.extend(watch.signs.changes());
    let outside = watch.outside.as_ref();
    let mut host = host.clone();
    if let Some(outside) = outside {
        host.backlog = outside.signs.backlog;
        if let Some(longest) = outside.signs.longest_queue {
            let change = CounterChange { before: 0, after: longest };
            counters.insert(counter::ACCEPT_QUEUE.to_owned(), change);
        }
    }
    let process = outside.and_then(Outside::process);
    let hard = |pid| limits::of_process(pid, Resource::OpenFiles).ok();
    Findings {
        plan: PlanView {
            server_pid: process.as_ref().map(|process| process.pid),
            server_nofile_hard: process.as_ref().and_then(|process| Some(hard(process.pid)?.hard)),
            ..plan_view(plan, &host)
        },
        host,
        connections: record.connections.clone(),
        failures: record.failures.clone(),
        growth_stopped: record.growth_stopped,
        capacity,
        counters,
        server: record.server.clone(),
        server_max_connections: plan.server.max_connections,
        server_end,
        server_process: process,
        accepted_stalled: levels.accepted_stalled || outside.is_some_and(|seen| seen.signs.accepted_stalled),
        latency_us: record.latency_us,
        verdicts: record.verdicts.clone(),
        aborted,
        lowest_memory_available_bytes: levels.lowest_memory_available,
        kept_free: None,
        server_cpu: load(watch, plan.server.workers, |row| row.server_cores),
        swarm_cpu: load(watch, plan.load.workers, |row| row.swarm_cores),
    }
}

fn group(seen: &Observation) -> GroupSeen {
    seen.cgroup.unwrap_or_default()
}

/// Processor time of one end in the phase in which it used most, ramp or proof; `None` where both were too short to be
/// told.
fn load(watch: &Watch, workers: Option<u32>, cores: fn(&Sample) -> Option<f64>) -> Option<CpuLoad> {
    /// A second.
    const LEAST_ROWS: usize = 4;
    let mean = |phase: &str| {
        let rows = watch.samples.iter().filter(|row| row.phase == phase);
        let used: Vec<f64> = rows.filter_map(cores).collect();
        (used.len() >= LEAST_ROWS).then(|| used.iter().sum::<f64>() / used.len() as f64)
    };
    let used_cores = [mean("ramp"), mean("verify")].into_iter().flatten().reduce(f64::max)?;
    let processors = process::cpus_allowed() as f64;
    let most_cores = workers.map_or(processors, |workers| f64::from(workers).min(processors));
    Some(CpuLoad { used_cores, most_cores })
}

#[cfg(test)]
mod replay;
