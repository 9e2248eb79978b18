//! Threads, and the verdicts that break when the machine can do no more in time.

use c10k_record::{Evidence, Remedy, Scope, Side, Verdict, human_count};

use crate::findings::Findings;
use crate::wall::{Bite, Wall, no_forecast, remedy, seen};

pub(super) static WALLS: &[Wall] = &[
    Wall {
        name: "threads",
        title: "the limit on threads",
        side: Side::Host,
        hard: true,
        only_alone: false,
        what_you_see: "a thread cannot be started: EAGAIN (resource temporarily unavailable)",
        how_to_prove: "Threads of /proc/PID/status against RLIMIT_NPROC, pids.max of the cgroup and \
                       kernel.threads-max",
        predict: no_forecast,
        diagnose: |findings| {
            // connect(2) over TCP never says EAGAIN: it comes from the start of a thread.
            let lost = findings.lost(&["EAGAIN"])?;
            let mut evidence = findings.lost_evidence(&["EAGAIN"]);
            let limit = findings.host.nproc;
            evidence.extend(limit.map(|n| seen("RLIMIT_NPROC", Side::Host, Some(n), "the soft limit")));
            Bite::proven(evidence, lost.first_at_ms)
        },
        lift: |_, _| {
            remedy(
                Scope::Process,
                "Use fewer workers, or raise RLIMIT_NPROC (and pids.max of the cgroup).",
                &[("--workers", "1".to_owned())],
                vec!["ulimit -u".to_owned(), "cat /proc/self/cgroup".to_owned()],
            )
        },
    },
    Wall {
        name: "latency-verdict",
        title: "answers came too late, or connections too slowly",
        side: Side::Host,
        hard: false,
        only_alone: true,
        what_you_see: "a verdict on latency or rate breaks; no errno, no counter",
        how_to_prove: "the verdict itself; processor time at the limit says why",
        predict: no_forecast,
        diagnose: |findings| Bite::proven(broken(findings, |name| !COUNTS.contains(&name)), None),
        lift: |_, _| slower("Connect more slowly, send less, or use more processors."),
    },
    Wall {
        name: "error-verdict",
        title: "all were tried, and more were lost than the verdict allows",
        side: Side::Host,
        hard: false,
        only_alone: true,
        what_you_see: "a verdict on lost connections breaks; nothing says why they were lost",
        how_to_prove: "the verdict itself, and the failures by errno",
        predict: no_forecast,
        diagnose: |findings| {
            let c = &findings.connections;
            // Where connections could not even be tried, or none was held, the loss is not a matter of degree.
            if c.held == 0 || c.attempted < c.target {
                return None;
            }
            let mut evidence = broken(findings, |name| ["failed", "ghosts"].contains(&name));
            if !evidence.is_empty() {
                let names: Vec<&str> = c.failed.keys().map(c10k_record::Outcome::name).collect();
                evidence.extend(findings.lost_evidence(&names));
            }
            Bite::proven(evidence, None)
        },
        lift: |_, _| {
            slower("Look at the errors by name and phase, and at the server's log; connect more slowly.")
        },
    },
];

/// Names of verdicts that count connections.
const COUNTS: [&str; 4] = ["held", "failed", "ghosts", "verified"];

/// The verdicts over such names that were measured and do not hold. One with nothing measured proves nothing.
fn broken(findings: &Findings, names: impl Fn(&str) -> bool) -> Vec<Evidence> {
    let name = |verdict: &Verdict| -> String {
        verdict.expr.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect()
    };
    findings
        .verdicts
        .iter()
        .filter(|verdict| !verdict.passed && names(&name(verdict)))
        .filter_map(|verdict| {
            let value = verdict.value.filter(|value| value.is_finite())?;
            let text = format!("verdict `{}` does not hold: {}", verdict.expr, shown(value));
            Some(seen("verdict", Side::Swarm, None, text))
        })
        .collect()
}

fn shown(value: f64) -> String {
    if value >= 1000.0 && value < u64::MAX as f64 {
        human_count(value.round() as u64)
    } else {
        format!("{value:.2}").trim_end_matches('0').trim_end_matches('.').to_owned()
    }
}

fn slower(summary: &str) -> Remedy {
    let commands = vec!["c10k-swarm --rate 5000/s".to_owned()];
    remedy(Scope::Process, summary, &[("--rate", "5000/s".to_owned())], commands)
}
