//! What a run showed, as the walls want it.

use std::collections::BTreeMap;
use std::path::Path;

use c10k_ceiling::{CounterChange, CpuLoad, Findings, MachineLoad, PhaseLoad, PlanView, ServerEnd, counter};
use c10k_kernel::limits::{self, Resource};
use c10k_kernel::process;
use c10k_plan::args::RunArgs;
use c10k_plan::flags::again;
use c10k_plan::view::plan_view;
use c10k_record::{HostSnapshot, PhaseName, Plan, Quantity, Record, Sample, shell};
use clap::Args as _;

use crate::collect::outside::Outside;
use crate::collect::watch::Watch;

/// The words with which a person started this run; `None` for one that a plant or a climb started, by way of
/// /proc/self/exe.
fn as_it_was_started(record: &Record) -> Option<Vec<String>> {
    let program = record.command.first()?;
    let is_a_persons = record.command.len() > 1 && Path::new(program) != process::own_executable();
    is_a_persons.then(|| with_target_flag(shell::named(record.command.clone())))
}

/// The words of `c10k-lab run` with a target that stands alone behind its flag, so that another one takes its place.
fn with_target_flag(mut words: Vec<String>) -> Vec<String> {
    let run = RunArgs::augment_args(clap::Command::new("run"));
    let stands_alone = |word: &str| {
        let mut switches = run.get_arguments().filter(|arg| !arg.get_action().takes_values());
        switches.any(|arg| {
            let long = arg.get_long().map(|long| format!("--{long}"));
            let short = arg.get_short().map(|short| format!("-{short}"));
            [long, short].into_iter().flatten().any(|name| name == word)
        })
    };
    let mut is_value = false;
    let target = words.iter().skip(2).position(|word| {
        let is_free = !std::mem::take(&mut is_value) && !word.starts_with('-');
        is_value = word.starts_with('-') && !word.contains('=') && !stands_alone(word);
        is_free && word.parse::<Quantity>().is_ok()
    });
    if let Some(target) = target {
        words.insert(2 + target, "--target".to_owned());
    }
    words
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
    counters.extend(
        watch
            .link
            .lost()
            .map(|after| (counter::DEVICE_DROPPED.to_owned(), CounterChange { before: 0, after })),
    );
    let outside = watch.outside.as_ref();
    let host = as_watched(watch, host, &counters);
    let process = outside.and_then(Outside::process);
    let hard = |pid| limits::of_process(pid, Resource::OpenFiles).ok();
    // The pid of a process of another host is somebody else's here.
    let is_here = watch.far.is_none();
    Findings {
        plan: PlanView {
            again: as_it_was_started(record).unwrap_or_else(|| again(plan)),
            server_stopped: process.as_ref().is_some_and(|process| process.stopped),
            // A server that stands elsewhere is not met over loopback.
            on_one_link: watch.is_of_two_places(),
            server_cpu_quota: watch.server_cpu_quota(),
            server_pid: process.as_ref().map(|process| process.pid),
            server_nofile_hard: process.as_ref().filter(|_| is_here).and_then(|it| Some(hard(it.pid)?.hard)),
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
        work: record.work.clone(),
        verdicts: record.verdicts.clone(),
        aborted,
        lowest_memory_available_bytes: watch.levels.lowest_memory_available_bytes(),
        kept_free: None,
        loads: loads(watch, plan, 0),
        far: None,
    }
}

/// The limits of a host at its start, with what was seen of them while the run went on.
fn as_watched(
    watch: &Watch,
    host: &HostSnapshot,
    counters: &BTreeMap<String, CounterChange>,
) -> HostSnapshot {
    let mut host = host.clone();
    if watch.outside.is_some() {
        host.backlog = watch.levels.queue.backlog;
    }
    // The groups of the server, which need not be the lab's.
    if let Some(group) = watch.levels.scarcest_group() {
        host.cgroup_memory_bytes = group.limit_bytes;
        host.cgroup_memory_folder.clone_from(&group.folder);
        host.cgroup_memory_file.clone_from(&group.limit_file);
    }
    // A group that refused nobody stands as it stood at the start, beside the other limits of that moment.
    let refused = [counter::SERVER_THREADS_REFUSED, counter::SWARM_THREADS_REFUSED]
        .iter()
        .any(|name| counters.get(*name).is_some_and(|change| change.growth() > 0));
    if let Some(threads) = watch.fewest_threads().filter(|_| refused) {
        (host.pids_max, host.pids_current) = (threads.max, threads.current);
        host.pids_folder = threads.folder.as_ref().map(|folder| folder.display().to_string());
    }
    host
}

/// Rows of a phase that are enough to tell a rate from: a second.
const LEAST_ROWS: usize = 4;

/// The mean of one figure over a phase, behind a moment; `None` where that was too short to be told.
fn mean(watch: &Watch, (phase, from_ms): (&str, u64), of: fn(&Sample) -> Option<f64>) -> Option<f64> {
    let is_meant = |row: &&Sample| row.phase == phase && (from_ms == 0 || row.elapsed_ms > from_ms);
    let seen: Vec<f64> = watch.samples.iter().filter(is_meant).filter_map(of).collect();
    (seen.len() >= LEAST_ROWS).then(|| seen.iter().sum::<f64>() / seen.len() as f64)
}

/// Processor time in the phases in which something is measured; of the hold behind a moment of
/// samples.csv alone.
pub(crate) fn loads(watch: &Watch, plan: &Plan, hold_from_ms: u64) -> BTreeMap<PhaseName, PhaseLoad> {
    let processors = process::cpus_allowed();
    let at_server = watch.far.as_ref().map_or(processors as f64, |far| far.processors as f64);
    let load = |phase: PhaseName| {
        let from_ms = if phase == PhaseName::Hold { hold_from_ms } else { 0 };
        let mean = |of| mean(watch, (&phase.to_string(), from_ms), of);
        let end = |processors: f64, workers: Option<u32>, used: Option<f64>| {
            let most_cores = workers.map_or(processors, |n| f64::from(n).min(processors));
            used.map(|used_cores| CpuLoad { used_cores, most_cores })
        };
        let machine = mean(|row| row.idle_cores).zip(mean(|row| row.softirq_cores));
        let load =
            PhaseLoad {
                server: end(at_server, plan.server.workers, mean(|row| row.server_cores)),
                swarm: end(processors as f64, plan.load.workers, mean(|row| row.swarm_cores)),
                // Two machines have no time in common.
                machine: machine.filter(|_| watch.far.is_none()).map(|(idle_cores, softirq_cores)| {
                    MachineLoad { processors: processors as u64, idle_cores, softirq_cores }
                }),
            };
        (phase, load)
    };
    [PhaseName::Ramp, PhaseName::Hold, PhaseName::Verify].map(load).into()
}

mod order;
#[cfg(test)]
mod replay;

pub(crate) use order::order;
