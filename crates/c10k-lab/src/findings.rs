//! What a run showed, as the walls want it.

use std::collections::BTreeMap;
use std::path::Path;

use c10k_ceiling::{CounterChange, CpuLoad, Findings, MachineLoad, PhaseLoad, PlanView, ServerEnd, counter};
use c10k_kernel::limits::{self, Resource};
use c10k_kernel::process;
use c10k_record::{
    HostSnapshot, LoadPlan, PhaseName, Plan, Protocol, Record, Sample, ServerMode, Topology,
    default_conditions, shell,
};

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
        ipv6: plan.is_ipv6(),
        probe_bytes: plan.load.probe_bytes.into(),
        websocket: plan.protocol == Protocol::Ws,
        pool: c10k_swarm::takes_more(&plan.load, &plan.server.listen).then_some(c10k_swarm::LOOPBACK_POOL),
        again: again(plan),
        rate_per_second: plan.load.rate_per_second.map(|rate| rate.ceil() as u64),
        own_server: !plan.server.foreign,
        listen: Some(plan.server.listen.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")),
        server_ports: c10k_swarm::ports_of(&plan.server.listen),
        ..PlanView::default()
    }
}

/// The words of a command for the same run, made of its plan: what is not said is the default. How long it waits and
/// holds, and how it closes, is left to the one who pastes it.
fn again(plan: &Plan) -> Vec<String> {
    let default = LoadPlan::default();
    let mut words: Vec<String> = ["c10k-lab", "run", "--profile", &plan.profile].map(str::to_owned).to_vec();
    let mut add = |flag: &str, value: Option<String>| {
        if let Some(value) = value {
            words.extend([flag.to_owned(), value]);
        }
    };
    let unless = |same: bool, value: String| (!same).then_some(value);
    add("--protocol", unless(plan.protocol == Protocol::Raw, plan.protocol.to_string()));
    match plan.server.listen.first() {
        Some(server) if plan.server.foreign => add("--server-port", Some(server.port().to_string())),
        _ => add("--topology", unless(plan.topology == Topology::Loopback, plan.topology.to_string())),
    }
    add("--mode", unless(plan.server.mode == ServerMode::Echo, "hold".to_owned()));
    add("--server-workers", plan.server.workers.map(|workers| workers.to_string()));
    add("--max-connections", plan.server.max_connections.map(|most| most.to_string()));
    let load = &plan.load;
    add("--ips", load.ips.clone());
    add("--ports", load.ports.clone());
    add("--rate", load.rate_per_second.map(|rate| format!("{}/s", rate.ceil())));
    add("--in-flight", unless(load.in_flight == default.in_flight, load.in_flight.to_string()));
    add("--probe-bytes", unless(load.probe_bytes == default.probe_bytes, load.probe_bytes.to_string()));
    add("--workers", load.workers.map(|workers| workers.to_string()));
    add("--steps", load.steps.map(|steps| steps.to_string()));
    add("--ping-every", load.ping_every.map(|every| every.to_string()));
    let defaults = default_conditions(load.probe);
    for verdict in plan.verdicts.iter().filter(|verdict| !defaults.contains(verdict)) {
        add("--verdict", Some(verdict.to_string()));
    }
    add("--path", load.path.clone());
    for (flag, values) in [("--header", &load.headers), ("--subprotocol", &load.subprotocols)] {
        values.iter().for_each(|value| add(flag, Some(value.clone())));
    }
    if !load.probe {
        words.push("--no-probe".to_owned());
    }
    words
}

/// The words with which a person started this run; `None` for one that a plant or a climb started, by way of
/// /proc/self/exe.
fn as_it_was_started(record: &Record) -> Option<Vec<String>> {
    let program = record.command.first()?;
    let is_a_persons = record.command.len() > 1 && Path::new(program) != process::own_executable();
    is_a_persons.then(|| shell::named(record.command.clone()))
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
    let mut counters = watch.levels.changes();
    if let Some(link) = watch.link.narrowest() {
        let change = |after| CounterChange { before: 0, after };
        let busiest = link.busiest_bits_per_second.map(change);
        counters.extend(busiest.map(|busiest| (counter::LINK_BITS_PER_SECOND.to_owned(), busiest)));
        counters.insert(counter::LINK_DROPPED.to_owned(), change(link.dropped));
    }
    let outside = watch.outside.as_ref();
    let mut host = host.clone();
    if outside.is_some() {
        host.backlog = watch.levels.queue.backlog;
    }
    // The groups of the server, which need not be the lab's.
    if let Some(group) = watch.levels.scarcest_group() {
        host.cgroup_memory_bytes = group.limit_bytes;
        host.cgroup_memory_folder.clone_from(&group.folder);
        host.cgroup_memory_file = group.limit_file.map(str::to_owned);
    }
    // A group that refused nobody stands as it stood at the start, beside the other limits of that moment.
    let refused = [counter::SERVER_THREADS_REFUSED, counter::SWARM_THREADS_REFUSED]
        .iter()
        .any(|name| counters.get(*name).is_some_and(|change| change.growth() > 0));
    if let Some(threads) = watch.fewest_threads().filter(|_| refused) {
        (host.pids_max, host.pids_current) = (threads.max, threads.current);
        host.pids_folder = threads.folder.as_ref().map(|folder| folder.display().to_string());
    }
    let process = outside.and_then(Outside::process);
    let hard = |pid| limits::of_process(pid, Resource::OpenFiles).ok();
    Findings {
        plan: PlanView {
            again: as_it_was_started(record).unwrap_or_else(|| again(plan)),
            server_stopped: process.as_ref().is_some_and(|process| process.stopped),
            server_cpu_quota: watch.server_cpu_quota(),
            server_pid: process.as_ref().map(|process| process.pid),
            server_nofile_hard: process.as_ref().and_then(|process| Some(hard(process.pid)?.hard)),
            ..plan_view(plan, &host)
        },
        host,
        connections: record.connections.clone(),
        failures: record.failures.clone(),
        growth_stopped: record.growth_stopped,
        growth_evidence: record.growth_evidence.clone(),
        sources_gone: record.sources_gone.clone(),
        capacity,
        counters,
        server: record.server.clone(),
        server_max_connections: plan.server.max_connections,
        server_end,
        server_process: process,
        accepted_stalled: watch.accepted_stalled || outside.is_some_and(|seen| seen.signs.accepted_stalled),
        latency_us: record.latency_us,
        lateness_us: record.lateness_us,
        verdicts: record.verdicts.clone(),
        aborted,
        lowest_memory_available_bytes: watch.levels.lowest_memory_available_bytes(),
        kept_free: None,
        loads: loads(watch, plan),
    }
}

/// Rows of a phase that are enough to tell a rate from: a second.
const LEAST_ROWS: usize = 4;

/// The mean of one figure over a phase; `None` where that was too short to be told.
fn mean(watch: &Watch, phase: &str, of: fn(&Sample) -> Option<f64>) -> Option<f64> {
    let seen: Vec<f64> = watch.samples.iter().filter(|row| row.phase == phase).filter_map(of).collect();
    (seen.len() >= LEAST_ROWS).then(|| seen.iter().sum::<f64>() / seen.len() as f64)
}

/// Processor time in the phases in which something is measured.
fn loads(watch: &Watch, plan: &Plan) -> BTreeMap<PhaseName, PhaseLoad> {
    let processors = process::cpus_allowed();
    let load = |phase: PhaseName| {
        let mean = |of| mean(watch, &phase.to_string(), of);
        let end = |workers: Option<u32>, used: Option<f64>| {
            let most_cores = workers.map_or(processors as f64, |n| f64::from(n).min(processors as f64));
            used.map(|used_cores| CpuLoad { used_cores, most_cores })
        };
        let machine = mean(|row| row.idle_cores).zip(mean(|row| row.softirq_cores));
        let load = PhaseLoad {
            server: end(plan.server.workers, mean(|row| row.server_cores)),
            swarm: end(plan.load.workers, mean(|row| row.swarm_cores)),
            machine: machine.map(|(idle_cores, softirq_cores)| MachineLoad {
                processors: processors as u64,
                idle_cores,
                softirq_cores,
            }),
        };
        (phase, load)
    };
    [PhaseName::Ramp, PhaseName::Verify].map(load).into()
}

#[cfg(test)]
mod again_tests {
    use c10k_record::{Span, Steps};

    use super::again;
    use crate::cli::RunArgs;
    use crate::plan::resolve;

    #[test]
    fn the_command_for_the_same_run_makes_the_same_plan() {
        let mut args = RunArgs {
            protocol: Some(c10k_record::Protocol::Ws),
            verdicts: vec!["failed <= 0".to_owned(), "echo_p999<=1s".to_owned()],
            ..RunArgs::default()
        };
        args.load.steps = Some(Steps { size: 50, count: 3 });
        args.load.ping_every = Some(Span::secs(2));
        let words = again(&resolve(&args).expect("a plan")).join(" ");
        for flag in ["--steps 50x3", "--ping-every 2s", "--verdict failed <= 0", "--verdict echo_p999 <= 1s"]
        {
            assert!(words.contains(flag), "{flag}: {words}");
        }
        assert_eq!(words.matches("--verdict").count(), 2, "defaults need no word: {words}");
    }
}

#[cfg(test)]
mod replay;
