//! Threads, and the verdicts that break when the machine can do no more in time.

use c10k_record::{Evidence, GrowthStop, Remedy, Scope, Side, human_count};

use crate::counter;
use crate::findings::{CpuLoad, Findings};
use crate::plan_view::PlanView;
use crate::verdicts::shown;
use crate::wall::{Bite, Forecast, Guide, Need, Plant, Wall, no_forecast, remedy, seen};

pub(super) static WALLS: &[Wall] = &[
    Wall {
        name: "threads",
        title: "the limit on threads",
        side: Side::Host,
        process: "whichever starts one more thread",
        hard: true,
        only_alone: false,
        outcomes: &["EAGAIN"],
        read_at: "ulimit -u, pids.max of the cgroup, /proc/sys/kernel/threads-max",
        formula: "threads that are left × connections a worker's table takes",
        not_there: "EMFILE: then the table is full, not the number of threads",
        scope: Scope::Process,
        guide: Guide {
            what_it_is: "The number of threads that a user, a cgroup or the machine may have. A server with \
                         a thread for each connection meets it first of all; ours need one more for each \
                         full descriptor table.",
            what_you_see: "A thread cannot be started: EAGAIN (resource temporarily unavailable).",
            how_to_prove: "Threads of /proc/PID/status against RLIMIT_NPROC (ps -eLf of that user), \
                           pids.current against pids.max, and kernel.threads-max.",
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
            let now =
                format!("{} more threads × {} connections a table", human_count(left), human_count(each));
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
                let limit = findings.host.nproc;
                evidence.extend(limit.map(|n| seen("RLIMIT_NPROC", Side::Host, Some(n), "the soft limit")));
            }
            Bite::proven(evidence, crate::wall::first(lost))
        },
        lift: |_, _| {
            remedy(
                Scope::Process,
                "Use fewer workers, or raise RLIMIT_NPROC (and pids.max of the cgroup).",
                &[("--workers", "1".to_owned())],
                vec!["prlimit --nproc".to_owned(), "cat /proc/self/cgroup".to_owned()],
            )
        },
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
        lift: |_, _| {
            remedy(
                Scope::Process,
                "Give the server more processors, or lift the quota of its cpu cgroup (cpu.max, \
                 cpu.cfs_quota_us).",
                &[("--server-workers", "2".to_owned())],
                vec!["nproc".to_owned(), "cat /proc/self/cgroup".to_owned()],
            )
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
        not_there: "any other wall that is proven",
        scope: Scope::Process,
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
            let mut evidence = findings.too_late();
            if !evidence.is_empty() {
                evidence.extend(loads(findings));
                evidence.extend(resent(findings));
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
            if c.held == 0 || c.attempted < c.target || gave_up {
                return None;
            }
            let mut evidence = findings.broken(|name| ["failed", "ghosts"].contains(&name));
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

fn slower(plan: &PlanView, summary: &str) -> Remedy {
    let commands = vec![plan.again_with("--rate 5000/s")];
    remedy(Scope::Process, summary, &[("--rate", "5000/s".to_owned())], commands)
}
