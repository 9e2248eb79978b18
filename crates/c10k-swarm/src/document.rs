//! The swarm's document: a record with null where a swarm alone cannot know.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use c10k_ceiling::{CounterChange, Findings, PlanView, counter};
use c10k_collector::LinkSeen;
use c10k_kernel::address;
use c10k_kernel::cgroup::{PidsGroup, Refusals};
use c10k_record::{
    Condition, Delayed, HostSnapshot, Latencies, LoadPlan, Outcome, PhaseKind, Predicted, Protocol, Record,
    RunState, Tool, Topology, Warning, Worked, Workload, judge, latency,
};

use crate::finding::Finding;
use crate::setup::Setup;
use crate::view::plan_view;

/// What the document says besides what was found.
pub(crate) struct Background<'a> {
    /// When this swarm began, as records have it.
    pub(crate) started_at: String,
    pub(crate) protocol: Protocol,
    pub(crate) workload: Workload,
    pub(crate) setup: &'a Setup,
    pub(crate) load: &'a LoadPlan,
    /// What it is judged by.
    pub(crate) verdicts: Vec<Condition>,
    pub(crate) profile: c10k_record::ProfileInRun,
    pub(crate) host: HostSnapshot,
    /// RSS of this process before the first connect, bytes.
    pub(crate) rss_ready_bytes: Option<u64>,
    pub(crate) warnings: Vec<Warning>,
    /// What was to be written besides the record and could not be.
    pub(crate) lost: Option<Warning>,
    /// The words of the command that does the same again.
    pub(crate) again: Vec<String>,
    /// The name of the run, where it is told one.
    pub(crate) run_id: Option<String>,
    /// The pids cgroup of this process, and the threads that it had refused before the workers were started.
    pub(crate) pids: Option<(PidsGroup, Refusals)>,
    /// The first wall by the limits of this side and, on this machine, of the server's process.
    pub(crate) predicted: Option<Predicted>,
}

impl Background<'_> {
    /// Threads that the group of this process has refused since the beginning.
    fn refused_threads(&self) -> Option<(String, CounterChange)> {
        let (group, before) = self.pids.as_ref()?;
        let after = group.refusals().since(before)?;
        Some((counter::SWARM_THREADS_REFUSED.to_owned(), CounterChange { before: 0, after }))
    }
}

/// Processor time of the ramp.
fn note_processor(record: &mut Record, finding: &Finding) {
    let (cpu_us, attempted) = (finding.ramps.cpu_seconds().map(|s| s * 1e6), finding.connections.attempted);
    let cpu = &mut record.cpu;
    cpu.ramp_us = finding.ramps.took_us();
    cpu.swarm_cores = cpu_us.zip(cpu.ramp_us).map(|(cpu_us, ramp_us)| cpu_us / ramp_us as f64);
    cpu.swarm_us_per_connection = cpu_us.filter(|_| attempted > 0).map(|cpu_us| cpu_us / attempted as f64);
}

/// The record of a swarm that has come to its end.
pub(crate) fn document(finding: &Finding, background: &Background<'_>) -> Record {
    let topology = if background.setup.server_is_here { Topology::Loopback } else { Topology::Remote };
    let tool = Tool { name: "c10k-swarm".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() };
    let run_id = background.run_id.clone().unwrap_or_else(|| format!("swarm-{}", std::process::id()));
    let mut record = Record::begun(tool, run_id, topology, background.protocol, background.workload);
    record.started_at.clone_from(&background.started_at);
    record.command = std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
    record.profile = background.profile.clone();
    record.connections = finding.connections.clone();
    record.failures = finding.failures.clone();
    if let Some((why, evidence)) = &finding.growth_stop {
        record.growth_stopped = Some(*why);
        record.growth_evidence = Some(evidence.clone());
    }
    record.rate.connects_per_second = finding.rate;
    record.work.clone_from(&finding.worked);
    record.rate.messages_per_second = messages_per_second(finding);
    let is_open_loop = background.load.rate_per_second.is_some();
    let from_intended = is_open_loop.then(|| finding.measured.from_intended.clone().unwrap_or_default());
    record.lateness_us = from_intended.as_ref().map(|measured| measured.lateness.summary());
    record.latency_us = Latencies {
        connect: finding.measured.connect.summary(),
        connect_response: from_intended.as_ref().map(|measured| measured.connect_response.summary()),
        handshake: (background.protocol == Protocol::Ws).then(|| finding.measured.handshake.summary()),
        echo: finding.measured.echo.summary(),
        first_echo: finding.measured.first_echo.summary(),
        late: Some(Delayed::of(&finding.measured.connect, &finding.measured.first_echo)),
    };
    record.sources_gone = sources_gone(&record, background.setup);
    record.phases.clone_from(&finding.phases);
    record.named_phases.clone_from(&finding.named);
    record.gaps.clone_from(&finding.gaps);
    record.evidence = finding.evidence.clone();
    let of_own_end = finding.own_end.as_ref().map(|seen| &seen.drops);
    record.evidence.drops = finding.beside.as_ref().map(|seen| &seen.drops).or(of_own_end).cloned();
    record.processes = finding.beside.as_ref().map_or_else(Vec::new, |seen| seen.processes.clone());
    record.warnings = warnings(finding, background);
    record.time_wait.peak = finding.beside.as_ref().and_then(|seen| seen.time_wait_peak);
    note_memory(&mut record, background.rss_ready_bytes, finding.rss_full);
    note_processor(&mut record, finding);
    // From here on it is judged as what it is: complete, or stopped early.
    record.end(finding.state);
    if let Some((seen, at_ms)) = &finding.ends {
        record.confirm(seen.counts(), *at_ms);
    }
    let unconfirmed = record.unconfirmed();
    record.warnings.extend(unconfirmed);
    record.verdicts = judge(&background.verdicts, &record);
    let gaps = record.gap_warnings();
    record.warnings.extend(gaps);
    if finding.state == RunState::Aborted && finding.signal.is_none() {
        record.ended_because = Some("stopped by a command".to_owned());
    }
    if let Some(number) = finding.signal {
        record.ended_because = Some(match signal_hook::low_level::signal_name(number) {
            Some(name) => format!("stopped by {name}"),
            None => format!("stopped by signal {number}"),
        });
    }
    let found = findings(&record, finding, background);
    record.ceiling = c10k_ceiling::diagnose(&found, background.predicted.clone());
    record.wall_ahead = wall_ahead(&record, background.predicted.as_ref());
    record.met_on_the_way = c10k_ceiling::met_on_the_way(&found, record.ceiling.as_ref());
    let unexplained = c10k_ceiling::syns_sent_again(&found, &record.met_on_the_way, record.ceiling.as_ref());
    record.warnings.extend(unexplained);
    if c10k_kernel::limits::euid() == 0 {
        record.make_remedies_roots();
    }
    if let Some(lost) = &background.lost {
        record.warnings.push(lost.clone());
        if record.state == RunState::Complete {
            record.state = RunState::Broken;
            record.ended_because = Some(lost.text.clone());
        }
    }
    record
}

/// What a connection costs this process: the growth of its RSS until so many were open.
fn note_memory(record: &mut Record, ready: Option<u64>, full: Option<(u64, u64)>) {
    if let (Some(ready), Some((full, open))) = (ready, full)
        && open > 0
    {
        let memory = &mut record.memory_per_connection;
        memory.connections = Some(open);
        memory.client_user_bytes = Some(full.saturating_sub(ready) as f64 / open as f64);
    }
}

/// The first wall that was predicted, where the run came to its end below it and met none.
fn wall_ahead(record: &Record, predicted: Option<&Predicted>) -> Option<Predicted> {
    let lies_ahead = |predicted: &&Predicted| predicted.connections > record.connections.held;
    let went_well = record.ceiling.is_none() && record.state == RunState::Complete;
    predicted.filter(lies_ahead).filter(|_| went_well).cloned()
}

/// Which sources are here no more. One errno says that an address is not here and that no port is free, so where it came
/// each address is asked for.
fn sources_gone(record: &Record, setup: &Setup) -> Option<Vec<IpAddr>> {
    let errno = Outcome::errno(libc::EADDRNOTAVAIL);
    record.connections.failed.contains_key(&errno).then(|| {
        let is_gone = |ip: &&IpAddr| matches!(address::is_local(**ip), Ok(false));
        setup.plan.sources().iter().filter(is_gone).copied().collect()
    })
}

/// Addresses as one flag takes them.
fn listen(servers: &[SocketAddr]) -> String {
    servers.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

/// What was seen of the link, by the names that the walls know.
fn of_link(link: &LinkSeen) -> impl Iterator<Item = (String, CounterChange)> {
    [
        (counter::LINK_BITS_PER_SECOND, link.busiest_bits_per_second),
        (counter::LINK_DROPPED, Some(link.dropped)),
    ]
    .into_iter()
    .filter_map(|(name, after)| Some((name.to_owned(), CounterChange { before: 0, after: after? })))
}

fn findings(record: &Record, finding: &Finding, background: &Background<'_>) -> Findings {
    let beside = finding.beside.as_ref();
    let mut host = background.host.clone();
    // What it was predicted by, and what it has by now where somebody raised it.
    host.server_nofile = beside.and_then(|seen| seen.descriptor_limit).or(host.server_nofile);
    host.backlog = beside.and_then(|seen| seen.backlog);
    if let Some(group) = beside.and_then(|seen| seen.memory_group.as_ref()) {
        host.cgroup_memory_bytes = group.limit_bytes;
        host.cgroup_memory_folder.clone_from(&group.folder);
        host.cgroup_memory_file.clone_from(&group.limit_file);
    }
    let mut counters = beside.map_or_else(BTreeMap::new, |seen| seen.counters.clone());
    counters.extend(finding.own_end.iter().flat_map(|seen| seen.counters.clone()));
    counters.extend(finding.link.as_ref().into_iter().flat_map(of_link));
    counters.extend(background.refused_threads());
    Findings {
        plan: PlanView {
            again: background.again.clone(),
            listen: background.setup.server_is_here.then(|| listen(&background.setup.servers)),
            server_pid: beside.and_then(|seen| Some(seen.process.as_ref()?.pid)),
            server_stopped: beside.is_some_and(|seen| seen.process.as_ref().is_some_and(|of| of.stopped)),
            server_cpu_quota: beside.and_then(|seen| seen.cpu_quota.clone()),
            server_nofile_hard: beside.and_then(|seen| seen.descriptor_hard_limit),
            websocket: background.protocol == Protocol::Ws,
            ..plan_view(background.setup, background.load, record.connections.target)
        },
        host,
        connections: record.connections.clone(),
        failures: record.failures.clone(),
        growth_stopped: record.growth_stopped,
        growth_evidence: record.growth_evidence.clone(),
        sources_gone: record.sources_gone.clone(),
        capacity: Some(background.setup.plan.capacity()),
        counters,
        server: None,
        server_max_connections: None,
        server_end: beside.and_then(|seen| seen.end),
        server_process: beside.and_then(|seen| seen.process.clone()),
        accepted_stalled: beside.is_some_and(|seen| seen.accepted_stalled),
        evidence: record.evidence.clone(),
        latency_us: record.latency_us,
        lateness_us: record.lateness_us,
        work: record.work.clone(),
        verdicts: record.verdicts.clone(),
        aborted: finding.state == RunState::Aborted,
        lowest_memory_available_bytes: beside.and_then(|seen| seen.lowest_memory_available_bytes),
        ..Findings::default()
    }
}

fn warnings(finding: &Finding, background: &Background<'_>) -> Vec<Warning> {
    let mut warnings = background.warnings.clone();
    warnings.extend(finding.beside.iter().flat_map(|seen| seen.warnings.iter().cloned()));
    warnings.extend(background.setup.notes.iter().map(|(id, text)| Warning::new(id, text.clone())));
    if finding.tuples_skipped > 0 {
        warnings.push(Warning::new(
            "ports-taken",
            format!(
                "{} source ports were taken by somebody else and skipped (a listener, another program, or \
                 TIME_WAIT)",
                finding.tuples_skipped
            ),
        ));
    }
    warnings.extend(finding.worked.iter().filter_map(late));
    if let Some((why, _)) = &finding.growth_stop {
        let at = finding.connections.attempted;
        warnings.push(Warning::new(
            "growth-stopped",
            format!("the swarm stopped growing after {at} attempts: {why}"),
        ));
    }
    if finding.connections.failed.contains_key(&Outcome::worker_lost()) {
        warnings.push(Warning::new("worker-lost", "a worker of the swarm ended on its own; see worker-lost"));
    }
    warnings
}

/// Those of the last echo; of the last proof where there was none.
fn messages_per_second(finding: &Finding) -> Option<f64> {
    let of_work = finding.worked.iter().rev().find(|worked| worked.kind == PhaseKind::Echo);
    of_work.map_or(finding.messages_per_second, |worked| worked.messages_per_second)
}

/// The swarm's own lateness, where that is what makes responses long.
fn late(worked: &Worked) -> Option<Warning> {
    let late_us = worked.own_lateness_us()?;
    let text = format!(
        "{}: the swarm itself sent one message in a hundred {} late or more: the response (p99 {}) says that, and not what \
         the server does; see the service time",
        worked.name,
        latency(Some(late_us)),
        latency(worked.response_us.p99)
    );
    Some(Warning::new("swarm-late", text))
}
