//! Threads, and the verdicts that break when the machine can do no more in time.

use c10k_record::shell::quoted;
use c10k_record::{Evidence, GrowthStop, HostSnapshot, Metric, Remedy, Scope, Setting, Side, human_count};

use crate::counter;
use crate::findings::{CpuLoad, Findings};
use crate::plan_view::PlanView;
use crate::verdicts::shown;
use crate::wall::{Bite, Forecast, Guide, Need, Plant, Wall, no_forecast, raise, raised, remedy, seen};

pub(super) static WALLS: &[Wall] = &[
    Wall {
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
            let each =
                [(host.server_tables, host.server_per_table), (host.swarm_tables, host.swarm_per_table)]
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
            let refused = [
                (counter::SERVER_THREADS_REFUSED, Side::Server),
                (counter::SWARM_THREADS_REFUSED, Side::Swarm),
            ];
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
        lift: lift_threads,
    },
    Wall {
        name: "cpu-server",
        title: "the server has no processor time left",
        side: Side::Server,
        process: "the server",
        hard: false,
        only_alone: false,
        outcomes: &["connect-timeout", "probe-timeout"],
        read_at: "/proc/PID/stat (utime + stime) a second; cpu.stat of its cgroup",
        formula: "a rate, not a number: connects or messages a second",
        not_there: "an errno or a queue that explains it; a server with time to spare",
        scope: Scope::Process,
        any_command_lifts: true,
        guide: Guide {
            what_it_is: "The server has no processor time left: its workers run all the time, or its cgroup \
                         holds it back. A sleeping connection costs none; arrivals and messages do.",
            what_you_see: "The rate falls, latency rises, and no errno says anything. A verdict on latency \
                           or rate breaks first.",
            how_to_prove: "top -H -p PID shows its threads at 100 %, or cpu.stat of its group counts \
                           nr_throttled; /proc/stat shows where the rest goes (softirq).",
            how_to_lift: "More processors, more workers up to one a processor, fewer messages; a larger \
                          cpu.max (version 2) or cpu.cfs_quota_us (version 1).",
            what_not_to_do: "Do not raise limits on numbers: none was met. Do not add workers beyond the \
                             processors.",
            kernel_source: "kernel/sched/fair.c: throttle_cfs_rq; /proc/PID/stat in proc(5)",
        },
        plant: Plant::with(
            &[Need::Namespace, Need::Root, Need::CpuCgroup],
            "a server in a cpu group with a few percent of a processor.",
        ),
        predict: no_forecast,
        diagnose: |findings| busy(findings, Side::Server, findings.server_cpu, counter::SERVER_THROTTLED),
        lift: |_, plan| {
            let Some(file) = &plan.server_cpu_quota else {
                return slower(plan, "Give the server more processors, or connect and send more slowly.");
            };
            // What says that there is no quota, in version 1 and in version 2.
            let none = if file.ends_with("cfs_quota_us") { "-1" } else { "max" };
            let mut remedy = slower(
                plan,
                "Take the quota away that holds the server back, or raise it; or connect and send more slowly.",
            );
            remedy.commands.insert(0, format!("echo {none} | sudo tee {}", quoted(file)));
            remedy
        },
    },
    Wall {
        name: "cpu-swarm",
        title: "the swarm has no processor time left",
        side: Side::Swarm,
        process: "the swarm",
        hard: false,
        only_alone: false,
        outcomes: &["connect-timeout", "probe-timeout"],
        read_at: "/proc/PID/stat (utime + stime) a second; cpu.stat of its cgroup",
        formula: "a rate, not a number: connects or messages a second",
        not_there: "an errno or a queue that explains it; a swarm with time to spare",
        scope: Scope::Process,
        any_command_lifts: false,
        guide: Guide {
            what_it_is: "The end that makes the load has no processor time left, and measures itself: what \
                         it calls the server's latency is its own.",
            what_you_see: "The rate stands still whatever the server does, latency rises, the server has \
                           time to spare.",
            how_to_prove: "top -H -p PID shows the swarm's threads at 100 %, or cpu.stat of its group counts \
                           nr_throttled.",
            how_to_lift: "More workers up to one a processor, a second machine for the swarm, a slower \
                          --rate.",
            what_not_to_do: "Do not report such latencies as the server's.",
            kernel_source: "kernel/sched/fair.c: throttle_cfs_rq; /proc/PID/stat in proc(5)",
        },
        plant: Plant::with(
            &[Need::Namespace, Need::Root, Need::CpuCgroup],
            "a swarm in a cpu group with a few percent of a processor.",
        ),
        predict: no_forecast,
        diagnose: |findings| busy(findings, Side::Swarm, findings.swarm_cpu, counter::SWARM_THROTTLED),
        lift: |_, plan| {
            slower(plan, "Give the swarm more processors or a machine of its own, or connect more slowly.")
        },
    },
    Wall {
        name: "latency-verdict",
        title: "answers came too late, or connections too slowly",
        side: Side::Host,
        process: "the server, as a rule",
        hard: false,
        only_alone: true,
        outcomes: &[],
        read_at: "the verdict; the latencies of the record",
        formula: "the most connections at which the verdict holds",
        not_there: "a swarm that was late itself (swarm-late); any other wall that is proven",
        scope: Scope::Process,
        any_command_lifts: false,
        guide: Guide {
            what_it_is: "The run held what it held, perhaps all, too slowly: a verdict on latency or rate \
                         does not hold, and nothing harder is proven.",
            what_you_see: "echo_p95 or connect_p99 above what was asked for; no errno, no counter.",
            how_to_prove: "The verdict itself, and the latencies over time (samples.csv, latency.hlog). The \
                           ceiling lies at or below the number that was held.",
            how_to_lift: "Connect more slowly, send less, use more processors; or a verdict that fits the \
                          purpose.",
            what_not_to_do: "Do not raise limits on numbers: none was met.",
            kernel_source: "none: this is the reader's wish, not the kernel's limit",
        },
        plant: Plant::in_a_namespace("a verdict that asks for echoes faster than any machine gives."),
        predict: no_forecast,
        diagnose: |findings| {
            let mut evidence = findings.late_at_the_server();
            if !evidence.is_empty() {
                evidence.extend(loads(findings));
                evidence.extend(resent(findings));
                evidence.extend(findings.asks_for_more_than_is_begun());
                evidence.extend(findings.lateness_beside());
            }
            Bite::proven(evidence, None)
        },
        lift: |_, plan| slower(plan, "Connect more slowly, send less, or use more processors."),
    },
    Wall {
        name: "error-verdict",
        title: "all were tried, and more were lost than the verdict allows",
        side: Side::Host,
        process: "the server, as a rule",
        hard: false,
        only_alone: true,
        outcomes: &["ECONNRESET", "closed-by-server", "short-echo"],
        read_at: "the verdict; the failures of the record by errno and phase",
        formula: "the most connections at which the verdict holds",
        not_there: "any other wall that is proven",
        scope: Scope::Process,
        any_command_lifts: false,
        guide: Guide {
            what_it_is: "All connections were tried, and more of them were lost than the verdict allows; \
                         nothing says why.",
            what_you_see: "failed or ghosts above what was asked for.",
            how_to_prove: "The verdict itself, and the failures by errno and phase.",
            how_to_lift: "Look at the errors by name and phase, and at the server's log; connect more \
                          slowly.",
            what_not_to_do: "Do not accept a few percent of failures as a success: that is how a wall stays \
                             unnamed.",
            kernel_source: "none: this is the reader's wish, not the kernel's limit",
        },
        plant: Plant::in_a_namespace(
            "one of twenty source addresses is taken away in the hold, and its connections with it.",
        ),
        predict: no_forecast,
        diagnose: |findings| {
            let c = &findings.connections;
            // Where connections could not even be tried, or none was held, the loss is not a matter of degree.
            let gave_up = findings.growth_stopped.is_some();
            let no_listener =
                findings.server_process.as_ref().is_some_and(|process| process.listens == Some(false));
            if c.held == 0 || c.attempted < c.target || gave_up || no_listener {
                return None;
            }
            let mut evidence = findings.broken(|metric| [Metric::Failed, Metric::Ghosts].contains(&metric));
            if !evidence.is_empty() {
                let names: Vec<&str> = c.failed.keys().map(c10k_record::Outcome::name).collect();
                evidence.extend(findings.lost_evidence(&names));
            }
            Bite::proven(evidence, None)
        },
        lift: |_, plan| {
            slower(
                plan,
                "Look at the errors by name and phase, and at the server's log; connect more slowly.",
            )
        },
    },
];

/// A process that used all it could, or was held back, while a verdict on latency or rate broke.
fn busy(findings: &Findings, side: Side, load: Option<CpuLoad>, throttled: &str) -> Option<Bite> {
    let late = findings.too_late();
    let held_back = findings.grew(throttled).is_some();
    let at_its_most = load.filter(|load| load.is_at_its_most());
    if late.is_empty() || (!held_back && at_its_most.is_none()) {
        return None;
    }
    let mut evidence = Vec::new();
    if held_back {
        let text = "periods in which its cpu cgroup held it back";
        evidence.extend(findings.counter_evidence(throttled, side, text));
    }
    evidence.extend(load.map(|load| load_evidence(side, load)));
    evidence.extend(late);
    Bite::proven(evidence, None)
}

/// What both ends used, where neither used all it could: then processor time is not what was short.
fn loads(findings: &Findings) -> Vec<Evidence> {
    [(Side::Server, findings.server_cpu), (Side::Swarm, findings.swarm_cpu)]
        .into_iter()
        .filter_map(|(side, load)| Some(load_evidence(side, load?)))
        .collect()
}

fn load_evidence(side: Side, load: CpuLoad) -> Evidence {
    let who = if side == Side::Server { "the server" } else { "the swarm" };
    let (used, most) = (shown(load.used_cores), shown(load.most_cores));
    let text = format!("{who} used {used} of the {most} cores it may have, where it was busiest");
    // Hundredths, so that it is a number without a fraction.
    seen("processor time (1/100 cores)", side, Some((load.used_cores.max(0.0) * 100.0) as u64), text)
}

/// SYNs that were lost make connects late without costing any.
fn resent(findings: &Findings) -> Option<Evidence> {
    findings.grew(counter::SYN_RETRANSMITS).filter(|_| !findings.late_connects().is_empty())?;
    let text = "SYNs that had to be sent again, a second or more each";
    findings.counter_evidence(counter::SYN_RETRANSMITS, Side::Swarm, text)
}

pub(super) fn slower(plan: &PlanView, summary: &str) -> Remedy {
    let (rate, line) = plan.more_slowly(5000);
    remedy(Scope::Process, summary, &[("--rate", rate)], vec![line])
}

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
            process(text, "pids.max", wanted, vec![format!("echo {wanted} | sudo tee {file}")])
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
