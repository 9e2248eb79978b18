//! Threads: the limits of a user, of a cgroup and of the machine.

use c10k_record::shell::quoted;
use c10k_record::{Evidence, GrowthStop, HostSnapshot, Remedy, Scope, Setting, Side, human_count};

use crate::counter;
use crate::findings::Findings;
use crate::plan_view::PlanView;
use crate::wall::{Bite, Forecast, Guide, Need, Plant, Wall, no_way_back, raise, raised, seen};

pub(super) static WALLS: &[Wall] = &[Wall {
    name: "threads",
    title: "the limit on threads",
    side: Side::Host,
    process: "whichever starts one more thread",
    hard: true,
    only_alone: false,
    outcomes: &["EAGAIN"],
    read_at: "ulimit -u, pids.max of the cgroup, /proc/sys/kernel/threads-max and pid_max",
    formula: "threads that are left × connections a worker's table takes",
    not_there: "EMFILE: then the table is full, not the number of threads",
    scope: Scope::Process,
    any_command_lifts: false,
    guide: Guide {
        what_it_is: "The number of threads that a user, a cgroup or the machine may have. A server with \
                         a thread for each connection meets it first of all; ours need one more for each \
                         full descriptor table.",
        what_you_see: "A thread cannot be started: EAGAIN (resource temporarily unavailable).",
        how_to_prove: "Threads of /proc/PID/status against RLIMIT_NPROC (ps -eLf of that user), \
                           pids.current against pids.max, kernel.threads-max, and kernel.pid_max.",
        how_to_lift: "ulimit -u, TasksMax= of the unit, docker run --pids-limit; or fewer workers with \
                          larger tables.",
        what_not_to_do: "Do not test it as root: RLIMIT_NPROC does not bind root.",
        kernel_source: "kernel/fork.c: copy_process; kernel/cgroup/pids.c: pids_can_fork; getrlimit(2)",
    },
    plant: Plant::with(
        &[Need::Namespace],
        "a swarm with a small RLIMIT_NPROC (of root, whom that does not bind, in a group with a small pids.max), and \
             descriptor tables so small that it needs more workers.",
    ),
    predict: |host, plan| {
        let left = host.threads_left?;
        // One table for all needs no more threads than there are processors.
        let each = [(host.server_tables, host.server_per_table), (host.swarm_tables, host.swarm_per_table)]
            .into_iter()
            .filter_map(|(own, each)| each.filter(|_| own))
            .min()?;
        let now = format!(
            "{} more threads ({}) × {} connections a table",
            human_count(left),
            what_binds(host).in_words(host),
            human_count(each)
        );
        Some(Forecast::about((left / plan.ends_here()).saturating_mul(each), now, 5))
    },
    diagnose: |findings| {
        // connect(2) over TCP never says EAGAIN: it comes from the start of a thread.
        let lost = findings.lost(&["EAGAIN"]);
        let mut evidence = findings.lost_evidence(&["EAGAIN"]);
        let refused =
            [(counter::SERVER_THREADS_REFUSED, Side::Server), (counter::SWARM_THREADS_REFUSED, Side::Swarm)];
        for (name, side) in refused {
            if findings.grew(name).is_some() {
                let text = "threads that could not be started (EAGAIN)";
                evidence.extend(findings.counter_evidence(name, side, text));
            }
        }
        if findings.growth_stopped == Some(GrowthStop::NoThreads) {
            let workers = "the swarm could start no further worker (EAGAIN) and stopped growing";
            evidence.push(seen("growth_stopped", Side::Swarm, None, workers));
        }
        if !evidence.is_empty() {
            evidence.extend(thread_limit(&findings.host));
        }
        Bite::proven(evidence, crate::wall::first(lost))
    },
    met: no_way_back,
    lift: lift_threads,
}];

/// The limit on threads that stands first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ThreadLimit {
    /// `pids.max` of a cgroup.
    Pids,
    /// RLIMIT_NPROC of the user.
    Nproc,
    /// `kernel.threads-max`.
    Threads,
    /// `kernel.pid_max`.
    Numbers,
}

impl ThreadLimit {
    fn in_words(self, host: &HostSnapshot) -> String {
        let number = |value: Option<u64>| value.map_or_else(|| "unknown".to_owned(), human_count);
        match self {
            Self::Pids => {
                format!("pids.max = {}, {} there", number(host.pids_max), number(host.pids_current))
            }
            Self::Nproc => format!("RLIMIT_NPROC = {}", number(host.nproc)),
            Self::Threads => format!("kernel.threads-max = {}", number(host.threads_max)),
            Self::Numbers => format!("kernel.pid_max = {}", number(host.pid_max)),
        }
    }
}

/// The one of which least is left. A run's findings have the cgroup as its refusals say: [`settle_threads`].
fn what_binds(host: &HostSnapshot) -> ThreadLimit {
    let left = |most: Option<u64>, now: Option<u64>| Some(most?.saturating_sub(now?));
    let of_user = host.nproc.filter(|limit| !host.nproc_bypassed && *limit != u64::MAX);
    // How many threads the user has may not be known; then it is their limit that leaves the least there is.
    let users = left(of_user, host.user_threads).or(of_user.and(host.threads_left));
    if of_user.is_some() && users.is_none() {
        return ThreadLimit::Nproc;
    }
    let lefts = [
        (ThreadLimit::Pids, pids_left(host)),
        (ThreadLimit::Nproc, users),
        (ThreadLimit::Threads, left(host.threads_max, host.threads_in_use)),
        (ThreadLimit::Numbers, left(host.pid_max, host.threads_in_use)),
    ];
    // Of equal ones the first.
    let known = lefts.into_iter().filter_map(|(limit, left)| Some((left?, limit)));
    let scarcest = known.min_by_key(|(left, _)| *left);
    // Where less is left than any of these leaves, it is by the one of which that is not known.
    let least = scarcest.filter(|(left, _)| host.threads_left.is_none_or(|least| *left <= least));
    least.map_or(ThreadLimit::Threads, |(_, limit)| limit)
}

fn pids_left(host: &HostSnapshot) -> Option<u64> {
    Some(host.pids_max?.saturating_sub(host.pids_current?))
}

/// Which limit refused, decided once for evidence and remedy: a cgroup counts its refusals itself, so that one that
/// counted some is the limit, and one that was read and counted none is not. The end that was refused is the swarm where it
/// says so itself, else either.
pub(crate) fn settle_threads(findings: &mut Findings) {
    let of_swarm =
        findings.lost(&["EAGAIN"]).is_some() || findings.growth_stopped == Some(GrowthStop::NoThreads);
    let both = [counter::SWARM_THREADS_REFUSED, counter::SERVER_THREADS_REFUSED];
    let refusals = if of_swarm { &both[..1] } else { &both[..] };
    let refused = both.iter().any(|name| findings.grew(name).is_some());
    let counted_none = refusals.iter().all(|name| findings.stood_still(name));
    let host = &mut findings.host;
    if refused {
        host.pids_current = host.pids_current.or(host.pids_max);
        (host.threads_left, host.user_threads, host.threads_in_use) = (pids_left(host), None, None);
    } else if counted_none {
        // What it leaves was the least, perhaps, and is none of what the others leave.
        host.threads_left = host.threads_left.filter(|left| pids_left(host) != Some(*left));
        (host.pids_max, host.pids_current, host.pids_folder) = (None, None, None);
    }
}

/// The limit that refused.
fn thread_limit(host: &HostSnapshot) -> Vec<Evidence> {
    let limit = |name: &str, value: Option<u64>, text: &str| {
        value.filter(|value| *value != u64::MAX).map(|value| seen(name, Side::Host, Some(value), text))
    };
    let found = match what_binds(host) {
        ThreadLimit::Pids => {
            let folder = host.pids_folder.as_deref().unwrap_or("its cgroup");
            let text = format!("the most threads that {folder} may have");
            let there = "threads there were in it when that was looked up";
            [limit("pids.max", host.pids_max, &text), limit("pids.current", host.pids_current, there)]
        }
        ThreadLimit::Nproc => {
            [limit("RLIMIT_NPROC", host.nproc, "the most threads that this user may have"), None]
        }
        // Where it is not known how many there are, it is evidence only beside no other limit.
        ThreadLimit::Threads if host.threads_in_use.is_none() && host.pids_max.is_some() => [None, None],
        ThreadLimit::Threads => {
            let text = "the most threads of the whole host";
            [limit("kernel.threads-max", host.threads_max, text), in_use(host)]
        }
        ThreadLimit::Numbers => {
            let text = "the most numbers for processes and threads";
            [limit("kernel.pid_max", host.pid_max, text), in_use(host)]
        }
    };
    found.into_iter().flatten().collect()
}

fn in_use(host: &HostSnapshot) -> Option<Evidence> {
    let text = "threads of the whole host when that was looked up";
    host.threads_in_use.map(|now| seen("threads", Side::Host, Some(now), text))
}

fn lift_threads(host: &HostSnapshot, plan: &PlanView) -> Remedy {
    let tables = [(host.server_tables, host.server_per_table), (host.swarm_tables, host.swarm_per_table)];
    let each = tables.into_iter().filter_map(|(own, each)| each.filter(|each| own && *each > 0)).min();
    let workers = each.map_or(0, |each| plan.target.div_ceil(each).saturating_mul(plan.ends_here()));
    let beside = 64;
    let fewer = "larger descriptor tables (ulimit -n), of which fewer workers hold as many";
    let process = |summary: String, key: &str, value: u64, commands: Vec<String>| Remedy {
        summary,
        settings: vec![Setting { key: key.to_owned(), value: value.to_string() }],
        commands,
        scope: Scope::Process,
    };
    match what_binds(host) {
        ThreadLimit::Pids => {
            let now = host.pids_current.unwrap_or(0);
            let needed = now.saturating_add(workers).saturating_add(beside);
            let wanted = raised("pids.max", needed, host.pids_max);
            let folder = host.pids_folder.as_deref().unwrap_or("/sys/fs/cgroup");
            let text = format!(
                "Raise pids.max of {folder} (TasksMax= of a unit, --pids-limit of a container), or {fewer}."
            );
            let file = quoted(&format!("{folder}/pids.max"));
            let line = plan.outlasts_the_run(folder).then(|| format!("echo {wanted} | sudo tee {file}"));
            process(text, "pids.max", wanted, line.into_iter().collect())
        }
        ThreadLimit::Nproc => {
            let needed = host.nproc.unwrap_or(0).saturating_add(workers).saturating_add(beside);
            let wanted = raised("limits.nproc", needed, host.nproc);
            let (line, text) = if host.nproc_hard.is_some_and(|hard| hard >= wanted) {
                (format!("prlimit --pid $$ --nproc={wanted}:"), "the hard limit allows it")
            } else {
                (
                    format!("sudo prlimit --pid $$ --nproc={wanted}:{wanted}"),
                    "that is above the hard limit and needs root",
                )
            };
            let text = format!("Raise RLIMIT_NPROC of the shell that starts it ({text}), or {fewer}.");
            process(text, "limits.nproc", wanted, vec![line])
        }
        ThreadLimit::Threads | ThreadLimit::Numbers => {
            let (key, present) = match what_binds(host) {
                ThreadLimit::Numbers => ("kernel.pid_max", host.pid_max),
                _ => ("kernel.threads-max", host.threads_max),
            };
            let needed = host.threads_in_use.unwrap_or(0).saturating_add(workers).saturating_add(beside);
            raise(Scope::Host, format!("Raise {key} (whole host), or {fewer}."), key, needed, present)
        }
    }
}
