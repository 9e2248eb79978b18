//! Processor time, and the verdicts that break when the machine can do no more in time.

use c10k_record::shell::quoted;
use c10k_record::{Evidence, Metric, Scope, Side, human_count};

use crate::counter;
use crate::findings::{Findings, REFUSED};
use crate::loads::{CpuLoad, PhaseLoad};
use crate::verdicts::shown;
use crate::wall::{Bite, Guide, Need, Plant, Wall, more_time, no_forecast, no_way_back, remedy, seen};

pub(super) static WALLS: &[Wall] = &[
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
        diagnose: |findings| busy(findings, Side::Server),
        met: no_way_back,
        lift: |_, plan| {
            let Some(file) = &plan.server_cpu_quota else {
                return more_time(plan, "Give the server more processors", "connect and send more slowly");
            };
            // What says that there is no quota, in version 1 and in version 2.
            let none = if file.ends_with("cfs_quota_us") { "-1" } else { "max" };
            let more = "Take the quota away that holds the server back, or raise it";
            let mut remedy = more_time(plan, more, "connect and send more slowly");
            if plan.outlasts_the_run(file) {
                remedy.commands.insert(0, format!("echo {none} | sudo tee {}", quoted(file)));
            }
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
        diagnose: |findings| busy(findings, Side::Swarm),
        met: no_way_back,
        lift: |_, plan| {
            let more = "Give the swarm more processors or a machine of its own";
            more_time(plan, more, "connect more slowly")
        },
    },
    Wall {
        name: "cpu-host",
        title: "the machine's processors have no time left for both ends",
        side: Side::Host,
        process: "both ends together",
        hard: false,
        only_alone: false,
        outcomes: &["connect-timeout", "probe-timeout"],
        read_at: "/proc/stat (idle), /proc/PID/stat of both ends (utime + stime) a second",
        formula: "a rate, not a number: connects or messages a second",
        not_there: "idle time; an end that has no time left by itself (cpu-server, cpu-swarm) or that its cgroup holds back",
        scope: Scope::Process,
        any_command_lifts: false,
        guide: Guide {
            what_it_is: "Both ends stand on one machine and share its processors. Neither has all of them, and together \
                         with the kernel's work for them, and with what else runs there, nothing is left.",
            what_you_see: "The rate falls, latency rises, no errno says anything, and each end by itself seems to have \
                           time to spare.",
            how_to_prove: "/proc/stat: idle and iowait stand still (top shows 0 id); the shares of the server, of the \
                           swarm and of softirq add up to the processors.",
            how_to_lift: "More processors, the two ends on two machines, fewer messages; end what else runs there.",
            what_not_to_do: "Do not report such latencies as the server's. Do not add workers beyond the processors.",
            kernel_source: "kernel/sched/cputime.c: account_process_tick; proc_stat(5)",
        },
        plant: Plant::host_wide("it takes all of the machine's time, so its evidence is replayed."),
        predict: no_forecast,
        diagnose: |findings| {
            let late = findings.too_late();
            if !findings.plan.both_ends_here || one_end_is_busy(findings) {
                return None;
            }
            let load =
                findings.loads_of_late().map(|(_, load)| load).find(|load| load.shared_out().is_some())?;
            let mut evidence = machine_evidence(load);
            evidence.extend(late);
            Bite::proven(evidence, None)
        },
        met: no_way_back,
        lift: |_, plan| {
            let more = "Give the ends more processors or a machine each, end what else runs here, send less";
            more_time(plan, more, "connect more slowly")
        },
    },
    Wall {
        name: "latency-verdict",
        title: "answers, or what was pushed, came too late, or connections too slowly",
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
            what_it_is: "The run held what it held, perhaps all, too slowly: a verdict on latency or rate, or on what \
                         a workload was for, does not hold, and nothing harder is proven.",
            what_you_see: "echo_p95 or connect_p99 above what was asked for, viewers that stalled, receipts that are \
                           missing; no errno, no counter.",
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
        met: no_way_back,
        lift: |_, plan| more_time(plan, "Send less, use more processors", "connect more slowly"),
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
            // The first so many and then none is a number, whatever the target was.
            let is_a_cap = findings.then_none() == Some(true) || findings.is_capped().is_some();
            // Who is refused while others live is refused by somebody, be it for a number or for a rate.
            let is_refused = findings.held_lives() && findings.lost_connecting(&REFUSED).is_some();
            if c.held == 0 || c.attempted < c.target || gave_up || no_listener || is_a_cap || is_refused {
                return None;
            }
            let mut evidence = findings.broken(|metric| [Metric::Failed, Metric::Ghosts].contains(&metric));
            if !evidence.is_empty() {
                let names: Vec<&str> = c.failed.keys().map(c10k_record::Outcome::name).collect();
                evidence.extend(findings.lost_evidence(&names));
            }
            Bite::proven(evidence, None)
        },
        met: no_way_back,
        lift: |_, plan| {
            let more = "Look at the errors by name and phase, and at the server's log";
            if plan.succeeded_among_losses == Some(false) {
                let text =
                    format!("{more}: they were lost once they were connected, which no slower rate changes.");
                let look = "nstat -az | grep -iE 'abort|reset|timeout'";
                return remedy(Scope::Process, text, &[], vec![look.to_owned()]);
            }
            if plan.succeeded_among_losses == Some(true) || plan.own_server {
                return more_time(plan, more, "connect more slowly");
            }
            let text = "Look at the errors by name and phase, and at the server's log. Run again at a lower rate: what is held \
                        then is more if it was the rate, and the same if it is a number.";
            remedy(Scope::Process, text, &[], vec![plan.more_slowly(5000).1])
        },
    },
];

/// The load of one end.
fn of_end(load: &PhaseLoad, side: Side) -> Option<CpuLoad> {
    if side == Side::Server { load.server } else { load.swarm }
}

/// A process that used all it could, or was held back, while a verdict on latency or rate broke. What the swarm's own
/// lateness broke says nothing of a server.
fn busy(findings: &Findings, side: Side) -> Option<Bite> {
    let (late, throttled) = match side {
        Side::Server => (findings.late_at_the_server(), counter::SERVER_THROTTLED),
        _ => (findings.too_late(), counter::SWARM_THROTTLED),
    };
    let held_back = findings.grew(throttled).is_some();
    let loads = || findings.loads_of_late().filter_map(|(_, load)| of_end(load, side));
    let at_its_most = loads().find(|load| load.is_at_its_most());
    if late.is_empty() || (!held_back && at_its_most.is_none()) {
        return None;
    }
    let mut evidence = Vec::new();
    if held_back {
        let text = "periods in which its cpu cgroup held it back";
        evidence.extend(findings.counter_evidence(throttled, side, text));
    }
    evidence.extend(at_its_most.or_else(|| loads().next()).map(|load| load_evidence(side, load)));
    evidence.extend(late);
    Bite::proven(evidence, None)
}

/// Whether one end had no time left whatever the other one did.
fn one_end_is_busy(findings: &Findings) -> bool {
    let at_its_most = |(_, load): (_, &PhaseLoad)| {
        [load.server, load.swarm].into_iter().flatten().any(CpuLoad::is_at_its_most)
    };
    findings.loads_of_late().any(at_its_most)
        || [counter::SERVER_THROTTLED, counter::SWARM_THROTTLED]
            .iter()
            .any(|name| findings.grew(name).is_some())
}

/// Who had the time of the machine's processors.
fn machine_evidence(load: &PhaseLoad) -> Vec<Evidence> {
    let Some(machine) = load.machine else { return Vec::new() };
    let processors = machine.processors as f64;
    let share = |side, cores: f64, text: String| {
        // Hundredths, so that it is a number without a fraction.
        seen("processor time (1/100 cores)", side, Some((cores.max(0.0) * 100.0) as u64), text)
    };
    let idle =
        format!("{} of {} processors were idle", shown(machine.idle_cores), human_count(machine.processors));
    let mut evidence = vec![share(Side::Host, machine.idle_cores, idle)];
    for side in [Side::Server, Side::Swarm] {
        evidence.extend(of_end(load, side).map(|load| load_evidence(side, load)));
    }
    let softirq = machine.softirq_cores;
    let text = format!("softirq used {} cores, some of which may be counted at an end too", shown(softirq));
    evidence.push(share(Side::Host, softirq, text));
    let others = load.of_both_ends().map(|ends| processors - machine.idle_cores - ends);
    evidence.extend(others.filter(|others| *others > 0.1 * processors).map(|others| {
        share(Side::Host, others, format!("the kernel and other programs used {} cores", shown(others)))
    }));
    evidence
}

/// What was used, where no end used all it could: then its processor time is not what was short.
fn loads(findings: &Findings) -> Vec<Evidence> {
    let loads = findings.loads_of_late().map(|(_, load)| load);
    let scarce = |load: &PhaseLoad| {
        load.machine.is_some_and(|machine| machine.idle_cores <= 0.05 * machine.processors as f64)
    };
    loads
        .flat_map(|load| match scarce(load) {
            true => machine_evidence(load),
            false => [Side::Server, Side::Swarm]
                .into_iter()
                .filter_map(|side| Some(load_evidence(side, of_end(load, side)?)))
                .collect(),
        })
        .collect()
}

fn load_evidence(side: Side, load: CpuLoad) -> Evidence {
    let who = if side == Side::Server { "the server" } else { "the swarm" };
    let (used, most) = (shown(load.used_cores), shown(load.most_cores));
    let text = format!("{who} used {used} of the {most} cores it may have");
    seen("processor time (1/100 cores)", side, Some((load.used_cores.max(0.0) * 100.0) as u64), text)
}

/// SYNs that were lost make connects late without costing any.
fn resent(findings: &Findings) -> Option<Evidence> {
    findings.grew(counter::SYN_RETRANSMITS).filter(|_| !findings.late_connects().is_empty())?;
    let text = "SYNs that had to be sent again, a second or more each";
    findings.counter_evidence(counter::SYN_RETRANSMITS, Side::Swarm, text)
}
