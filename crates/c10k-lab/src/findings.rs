//! What a run showed, as the walls want it.

use std::collections::BTreeMap;
use std::path::Path;

use c10k_ceiling::{CounterChange, CpuLoad, Findings, MachineLoad, PhaseLoad, PlanView, ServerEnd, counter};
use c10k_kernel::limits::{self, Resource};
use c10k_kernel::process;
use c10k_record::{HostSnapshot, PhaseName, Plan, Record, Sample, shell};

use crate::collect::outside::Outside;
use crate::collect::watch::Watch;
use crate::plan::flags::again;
use crate::plan::view::plan_view;

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
        evidence: record.evidence.clone(),
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

mod order;
#[cfg(test)]
mod replay;

pub(crate) use order::order;
