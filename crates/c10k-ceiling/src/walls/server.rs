//! The server's own doing: not there, gone, full by its own setting, or asleep.

use c10k_record::{Remedy, Scope, Side, human_bytes, human_count};

use crate::findings::{Findings, Lost, ServerEnd, TAKEN_DOWN};
use crate::wall::{Bite, Forecast, Wall, first, no_forecast, remedy, seen};

pub(super) static WALLS: &[Wall] = &[
    Wall {
        name: "server-max-connections",
        title: "the server's own setting for the most connections",
        side: Side::Server,
        hard: true,
        only_alone: false,
        what_you_see: "the server stays at one count; further connects become ghosts or time out",
        how_to_prove: "the server's own word: its peak equals --max-connections",
        predict: |_, plan| {
            let max = plan.server_max_connections?;
            Some(Forecast::exact(max, format!("--max-connections {max}")))
        },
        diagnose: |findings| {
            if !findings.server_at_max() {
                return None;
            }
            let peak = findings.server.as_ref().map(|server| server.peak);
            let evidence = [
                seen("peak", Side::Server, peak, "most connections the server held at one time"),
                seen("max_connections", Side::Server, findings.server_max(), "the most it takes"),
            ];
            Bite::proven(evidence, first(findings.unanswered()))
        },
        lift: |_, plan| {
            let value = plan.target.to_string();
            let command = format!("c10k-server --max-connections {value}");
            let text = "Let the server take more connections.";
            remedy(Scope::Process, text, &[("--max-connections", value)], vec![command])
        },
    },
    Wall {
        name: "server-died",
        title: "the server ended in the middle of the run",
        side: Side::Server,
        hard: true,
        only_alone: false,
        what_you_see: "ECONNRESET on all open connections at once, then ECONNREFUSED",
        how_to_prove: "the process is gone: its exit code or signal; the kernel's log where the OOM killer was it",
        predict: no_forecast,
        diagnose: |findings| {
            let mut evidence = findings.server_end.map(end_evidence).into_iter().collect::<Vec<_>>();
            if evidence.is_empty() {
                // Not our process: connections it had taken were taken down, and nobody listens any more.
                taken_down_and_refused(findings)?;
            }
            evidence.extend(findings.lost_evidence(&TAKEN_DOWN));
            evidence.extend(findings.lost_evidence(&["ECONNREFUSED"]));
            if let Some(lowest) = findings.lowest_memory_available_bytes {
                let text = format!("MemAvailable at its lowest: {}", human_bytes(lowest));
                evidence.push(seen("MemAvailable", Side::Host, Some(lowest), text));
            }
            let lost = findings.lost(&TAKEN_DOWN).or_else(|| findings.lost(&["ECONNREFUSED"]));
            Bite::proven(evidence, first(lost))
        },
        lift: |_, _| {
            remedy(
                Scope::Process,
                "Find out why it ended (its own log, and the kernel's, where the OOM killer signs with signal \
                 9), mend that, start it again.",
                &[],
                vec!["sudo dmesg -T | grep -i -E 'out of memory|killed process'".to_owned()],
            )
        },
    },
    Wall {
        name: "refused",
        title: "nobody listens there",
        side: Side::Server,
        hard: true,
        only_alone: false,
        what_you_see: "connect() says ECONNREFUSED at once",
        how_to_prove: "`ss -ltn` on the server's machine shows no listener on that address and port",
        predict: no_forecast,
        diagnose: |findings| {
            let lost = findings.lost(&["ECONNREFUSED"])?;
            if findings.server_end.is_some() || taken_down_and_refused(findings).is_some() {
                return None;
            }
            Bite::proven(findings.lost_evidence(&["ECONNREFUSED"]), lost.first_at_ms)
        },
        lift: |_, _| {
            remedy(
                Scope::Process,
                "Start the server, or give the swarm the address and port it really listens on.",
                &[],
                vec!["ss -ltn".to_owned(), "c10k-server --listen 127.0.0.1:9000".to_owned()],
            )
        },
    },
    Wall {
        name: "server-stopped-accepting",
        title: "the server is alive but has stopped accepting",
        side: Side::Server,
        hard: true,
        only_alone: false,
        what_you_see: "established grows by the length of the accept queue and stops; connect timeouts follow",
        how_to_prove: "connections wait in the accept queue (ss -ltn: Recv-Q, full when above Send-Q) and the \
                       accepted count stands still for 2 s while the process lives; or its state is T (stopped)",
        predict: no_forecast,
        diagnose: |findings| {
            if !stopped_accepting(findings) {
                return None;
            }
            let mut evidence = Vec::new();
            if findings.accepted_stalled {
                let accepted = findings.connections.accepted;
                let text = accepted.map_or_else(
                    || "for 2 s connections waited in its accept queue and it took none".to_owned(),
                    |count| format!("accepted stood at {} for 2 s with the queue full", human_count(count)),
                );
                evidence.push(seen("accepted", Side::Server, accepted, text));
            }
            if let Some(process) = &findings.server_process {
                if process.stopped {
                    let text = format!("process {} is stopped by a signal (state T)", process.pid);
                    evidence.push(seen("state", Side::Server, None, text));
                }
                let waiting = process.not_accepted.filter(|waiting| *waiting > 0);
                evidence.extend(waiting.map(|waiting| {
                    let text =
                        format!("{} connections at its side were never accepted", human_count(waiting));
                    seen("not-accepted", Side::Server, Some(waiting), text)
                }));
            }
            let queue = findings.counter(crate::counter::ACCEPT_QUEUE).map(|change| change.after);
            evidence.extend(queue.filter(|length| *length > 0).map(|length| {
                let backlog =
                    findings.host.backlog.map_or_else(String::new, |most| format!(" (backlog {most})"));
                let text = format!("connections in its accept queue at the most{backlog}");
                seen(crate::counter::ACCEPT_QUEUE, Side::Server, Some(length), text)
            }));
            let text = "connections dropped at the full accept queue";
            let name = crate::counter::LISTEN_OVERFLOWS;
            evidence.extend(
                findings.counter_evidence(name, Side::Server, text).filter(|_| findings.grew(name).is_some()),
            );
            Bite::proven(evidence, first(findings.unanswered()))
        },
        lift: |_, _| -> Remedy {
            remedy(
                Scope::Process,
                "Wake or mend the server: it is stopped (state T), busy elsewhere, or does not call accept. A \
                 longer backlog only hides it for a while.",
                &[],
                vec!["ss -ltnp".to_owned(), "ps -eo pid,state,wchan,comm | awk '$2 ~ /[TD]/'".to_owned()],
            )
        },
    },
    Wall {
        name: "not-an-echo-server",
        title: "the server does not send back what it gets",
        side: Side::Server,
        hard: true,
        only_alone: false,
        what_you_see: "connections are accepted, but probes come back wrong or never",
        how_to_prove: "corrupt echoes, or every probe unanswered although the server accepted all connections",
        predict: no_forecast,
        diagnose: |findings| {
            let corrupt = findings.lost(&["corrupt"]);
            let silent = findings.lost(&["probe-timeout"]).filter(|_| never_echoed(findings));
            let lost = corrupt.map(|lost| lost.and(silent)).or(silent)?;
            let mut evidence = findings.lost_evidence(&["corrupt"]);
            if silent.is_some() {
                evidence.extend(findings.lost_evidence(&["probe-timeout"]));
                let text = "the server has all that connected, and echoed none";
                evidence.push(seen("accepted", Side::Server, findings.connections.accepted, text));
            }
            Bite::proven(evidence, lost.first_at_ms)
        },
        lift: |_, plan| {
            remedy(
                Scope::Process,
                "Run the server in echo mode, or connect without probes to a server that does not echo.",
                &[("--no-probe", "true".to_owned())],
                vec![format!("c10k-swarm --no-probe --target {}", plan.target)],
            )
        },
    },
];

/// Whether the queue filled because nobody accepts, and not because the server could take no more.
pub(super) fn stopped_accepting(findings: &Findings) -> bool {
    let asleep = || {
        let stopped = findings.server_process.as_ref().is_some_and(|process| process.stopped);
        // A process may be stopped for a moment and go on: what counts is that connections got no answer.
        stopped && (findings.unanswered().is_some() || findings.lost(&["unproven"]).is_some())
    };
    (findings.accepted_stalled || asleep()) && findings.server_end.is_none() && !findings.server_full()
}

/// Open connections were taken down and new ones refused: there is neither process nor listener any more.
fn taken_down_and_refused(findings: &Findings) -> Option<Lost> {
    let refused = findings.lost(&["ECONNREFUSED"])?;
    let taken = findings.lost(&TAKEN_DOWN)?;
    (findings.connections.established > 0).then(|| taken.and(Some(refused)))
}

fn never_echoed(findings: &Findings) -> bool {
    let c = &findings.connections;
    c.verified == Some(0) && c.established > 0 && c.accepted.is_some_and(|accepted| accepted >= c.established)
}

fn end_evidence(end: ServerEnd) -> c10k_record::Evidence {
    let (source, value, text) = match end {
        ServerEnd::Exited(code) => ("exit code", Some(code), format!("the server exited with code {code}")),
        ServerEnd::Killed(signal) => {
            ("signal", Some(signal), format!("the server was killed by signal {signal}"))
        }
        ServerEnd::Gone => ("process", None, "the server's process is gone".to_owned()),
    };
    seen(source, Side::Server, value.and_then(|value| u64::try_from(value).ok()), text)
}
