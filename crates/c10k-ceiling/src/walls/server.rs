//! The server's own doing: not there, gone, full by its own setting, or asleep.

use c10k_record::{DEFAULT_PORT, Remedy, Scope, Side, counted, human_bytes, human_count};

use crate::counter;
use crate::facts::{SILENT, end_evidence, ended_by_memory, stopped_accepting};
use crate::findings::{Findings, Lost, TAKEN_DOWN};
use crate::wall::{
    Bite, Forecast, Guide, Met, Plant, Wall, first, no_forecast, no_way_back, raised, remedy, seen,
};

pub(super) static WALLS: &[Wall] = &[
    Wall {
        name: "server-max-connections",
        title: "the server's own setting for the most connections",
        side: Side::Server,
        process: "the server",
        hard: true,
        only_alone: false,
        outcomes: &["probe-timeout", "connect-timeout"],
        read_at: "the server's own configuration (--max-connections, worker_connections, MaxClients, \
                  maxconn)",
        formula: "the setting",
        not_there: "EMFILE at the server; a setting nobody made, taken from the size of its descriptor table \
                    (nofile-server)",
        scope: Scope::Process,
        any_command_lifts: false,
        guide: Guide {
            what_it_is: "A limit that the server sets itself. It goes on living at that number, and what \
                         comes on top waits in the accept queue or is turned away.",
            what_you_see: "The server stays at one count, often a round one; further connects become ghosts, \
                           then time out (i/o timeout), or are closed at once.",
            how_to_prove: "The server reports a peak that equals its setting.",
            how_to_lift: "Raise the setting, and what it was chosen for: memory, descriptors, threads.",
            what_not_to_do: "Do not lengthen the backlog instead: those in the queue are not served.",
            kernel_source: "the server's manual; accept(2)",
        },
        plant: Plant::in_a_namespace("a server with --max-connections of a few hundred."),
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
        met: no_way_back,
        lift: |_, plan| {
            let value = raised("--max-connections", plan.target, plan.server_max_connections).to_string();
            let command = if plan.own_server {
                plan.again_with(&[("--max-connections", &value)])
            } else {
                format!("c10k-server --max-connections {value}")
            };
            let text = "Let the server take more connections.";
            remedy(Scope::Process, text, &[("--max-connections", value)], vec![command])
        },
    },
    Wall {
        name: "server-died",
        title: "the server ended in the middle of the run",
        side: Side::Server,
        process: "the server",
        hard: true,
        only_alone: false,
        outcomes: &["ECONNRESET", "closed-by-server", "ECONNREFUSED", "EPIPE"],
        read_at: "its exit code or signal; the kernel's log",
        formula: "none: it can happen at any number",
        not_there: "an OOM kill of its memory group (cgroup-memory) or of the host (ram), which are named \
                    instead; a process that lives and has only closed its listener",
        scope: Scope::Process,
        any_command_lifts: false,
        guide: Guide {
            what_it_is: "The server's process ended while connections were open.",
            what_you_see: "ECONNRESET (connection reset by peer) or an orderly close on all connections at \
                           once, then ECONNREFUSED for new ones.",
            how_to_prove: "The process is gone: its exit code, its signal, its core file, its log.",
            how_to_lift: "Find out why it ended and mend that; start it again.",
            what_not_to_do: "Do not have it restarted automatically while you measure: the run then counts \
                             two servers as one.",
            kernel_source: "kernel/exit.c; net/ipv4/tcp.c: tcp_close",
        },
        plant: Plant::in_a_namespace("a server that is killed in the middle of the ramp."),
        predict: no_forecast,
        diagnose: |findings| {
            // The OOM killer's doing is the memory's.
            if ended_by_memory(findings) {
                return None;
            }
            let mut evidence = findings.server_end.map(end_evidence).into_iter().collect::<Vec<_>>();
            if evidence.is_empty() {
                // Not our process, and none that can be seen: what it had taken was taken down, all of it, and nobody
                // listens any more.
                taken_down_and_refused(findings)?;
                let is_seen = findings.server.is_some() || findings.server_process.is_some();
                if is_seen || findings.connections.held > 0 {
                    return None;
                }
            }
            evidence.extend(findings.lost_evidence(&TAKEN_DOWN));
            evidence.extend(findings.lost_evidence(&["ECONNREFUSED"]));
            if let Some(lowest) = findings.lowest_memory_available_bytes {
                let text = format!("MemAvailable at its lowest: {}", human_bytes(lowest));
                evidence.push(seen("MemAvailable", Side::Host, Some(lowest), text));
            }
            let lost = findings.lost(&TAKEN_DOWN).or_else(|| findings.lost(&["ECONNREFUSED"]));
            // Whose process nobody saw may have closed all and live, or a box before it may have.
            Bite::weighed(findings.server_end.is_some(), evidence, first(lost))
        },
        met: no_way_back,
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
        process: "the server",
        hard: true,
        only_alone: false,
        outcomes: &["ECONNREFUSED"],
        read_at: "ss -ltn on the server's machine",
        formula: "0",
        not_there: "connections that were open before (server-died)",
        scope: Scope::Process,
        any_command_lifts: false,
        guide: Guide {
            what_it_is: "The other machine answered a SYN with RST: it is there, and nobody listens on that \
                         address and port. A firewall that rejects says the same.",
            what_you_see: "ECONNREFUSED (connection refused) at once, for every connect.",
            how_to_prove: "ss -ltn on the server's machine shows no listener there; TcpExt and snmp OutRsts \
                           grow there.",
            how_to_lift: "Start the server, or use the address and port that it really listens on: 127.0.0.1 \
                          is not reachable from outside.",
            what_not_to_do: "Do not retry in a loop without a pause: each try costs both machines.",
            kernel_source: "net/ipv4/tcp_ipv4.c: tcp_v4_rcv → tcp_v4_send_reset",
        },
        plant: Plant::in_a_namespace("a swarm towards a port on which nobody listens."),
        predict: no_forecast,
        diagnose: |findings| {
            let lost = findings.lost(&["ECONNREFUSED"])?;
            let is_gone = findings.server_process.as_ref().is_some_and(|of| of.listens == Some(false));
            // Where others are held and live, somebody listens, or did until now: it is refused by another.
            let lives = findings.was_served() && !is_gone;
            if findings.server_end.is_some() || taken_down_and_refused(findings).is_some() || lives {
                return None;
            }
            let mut evidence = findings.lost_evidence(&["ECONNREFUSED"]);
            // Somebody listens on that port, be it at another address: then a rule may refuse as well. So may one on the way
            // to another machine.
            let listens = findings.listener_lives();
            evidence.extend(findings.listeners_evidence().filter(|_| listens));
            Bite::weighed(!listens && findings.plan.both_ends_here, evidence, lost.first_at_ms)
        },
        met: no_way_back,
        lift: |_, plan| {
            let listen = plan.listen.clone().unwrap_or_else(|| format!("127.0.0.1:{DEFAULT_PORT}"));
            remedy(
                Scope::Process,
                "Start the server, or give the swarm the address and port it really listens on.",
                &[],
                vec!["ss -ltn".to_owned(), format!("c10k-server --listen {listen}")],
            )
        },
    },
    Wall {
        name: "server-stopped-accepting",
        title: "the server is alive but has stopped accepting",
        side: Side::Server,
        process: "the server",
        hard: true,
        only_alone: false,
        outcomes: &["connect-timeout", "ETIMEDOUT", "probe-timeout"],
        read_at: "ss -ltn (Recv-Q against Send-Q), /proc/PID/stat (state), the server's accepted count",
        formula: "what it had accepted + the length of the accept queue + 1",
        not_there: "an accepted count that moves (accept-queue); a server that is full (nofile-server, \
                    server-max-connections)",
        scope: Scope::Process,
        any_command_lifts: false,
        guide: Guide {
            what_it_is: "The server lives and does not call accept(): it is stopped by a signal, blocked in \
                         something else, or its accepting thread is gone. The kernel goes on completing \
                         handshakes until the queue is full.",
            what_you_see: "Established connections grow by the length of the accept queue, plus one, and \
                           stop; connects then time out (i/o timeout). What is connected gets no answer.",
            how_to_prove: "Connections wait in the accept queue (Recv-Q) and the accepted count stands still \
                           for 2 s while the process lives; or its state is T.",
            how_to_lift: "kill -CONT for a stopped one; a stack (gdb -p, /proc/PID/stack) for a blocked one.",
            what_not_to_do: "Do not lengthen the backlog: it only hides it for a while.",
            kernel_source: "net/ipv4/tcp_minisocks.c: tcp_check_req; net/ipv4/inet_connection_sock.c: \
                            inet_csk_accept",
        },
        plant: Plant::in_a_namespace(
            "a listener with a backlog of a few that never accepts, or a server that is stopped by SIGSTOP.",
        ),
        predict: no_forecast,
        diagnose: |findings| {
            if !stopped_accepting(findings) {
                return None;
            }
            // One of several listeners, and so one of the processes; of which the others took who came.
            let is_one_of_several = findings.waits_at_some_of_several();
            let mut evidence = Vec::new();
            evidence.extend(findings.listeners_evidence().filter(|_| is_one_of_several));
            if findings.accepted_stalled {
                let accepted = findings.connections.accepted;
                let alive = findings.server_process.as_ref().map_or_else(
                    || "it".to_owned(),
                    |process| format!("process {}, which is alive,", process.pid),
                );
                let text = accepted.map_or_else(
                    || format!("for 2 s connections waited in its accept queue and {alive} took none"),
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
                        format!("{} at its side that it never accepted", counted(waiting, "connection"));
                    seen("not-accepted", Side::Server, Some(waiting), text)
                }));
            }
            let queue = findings.counter(counter::ACCEPT_QUEUE).map(|change| change.after);
            evidence.extend(queue.filter(|length| *length > 0).map(|length| {
                let backlog =
                    findings.host.backlog.map_or_else(String::new, |most| format!(" (backlog {most})"));
                let waited = counted(length, "connection");
                let text = format!("{waited} waited in its accept queue at the most{backlog}");
                seen(counter::ACCEPT_QUEUE, Side::Server, Some(length), text)
            }));
            let text = "connections dropped at the full accept queue";
            let name = counter::LISTEN_OVERFLOWS;
            // Before a process was stopped its queue may have been full for another reason.
            let overflowed = findings.accepted_stalled && findings.grew(name).is_some();
            evidence.extend(findings.counter_evidence(name, Side::Server, text).filter(|_| overflowed));
            evidence.extend(findings.lost_evidence(&[
                "connect-timeout",
                "ETIMEDOUT",
                "probe-timeout",
                "unproven",
            ]));
            if findings.server_is_hidden() {
                let text = "its descriptors may not be read by this user: it may be that it calls accept and its \
                            descriptor table is full (nofile-server)";
                evidence.push(seen("not readable", Side::Server, None, text));
            }
            let lost = findings.unanswered().or_else(|| findings.lost(&SILENT));
            let is_stopped = findings.server_process.as_ref().is_some_and(|process| process.stopped);
            // Who says nothing, and served some before, may stand at a limit of its own, unless its kernel acknowledges what it
            // does not answer any more: those that it had may be gone for another reason.
            let is_silent =
                findings.evidence.silent.is_some_and(|seen| seen.sampled > 0 && seen.unacked == 0);
            let may_be_a_limit = findings.server.is_none() && findings.was_served() && !is_silent;
            let is_proven = !findings.server_is_hidden() && !is_one_of_several && !may_be_a_limit;
            Bite::weighed(is_stopped || is_proven, evidence, first(lost))
        },
        met: |findings| {
            if !(findings.accepted_stalled && stopped_accepting(findings)) {
                return None;
            }
            let text = "for 2 s or longer its accept queue was full and it took nobody, then it went on";
            let mut evidence = vec![seen("accepted", Side::Server, None, text)];
            let overflowed = findings.grew(counter::LISTEN_OVERFLOWS).is_some();
            let counted = [
                (counter::LISTEN_OVERFLOWS, "connections dropped at the full accept queue"),
                (counter::ACCEPT_QUEUE, "connections waited in its accept queue at the most"),
            ];
            for (name, text) in counted {
                let is_said = name != counter::LISTEN_OVERFLOWS || overflowed;
                evidence.extend(findings.counter_evidence(name, Side::Server, text).filter(|_| is_said));
            }
            Some(Met { times: 1, evidence, delays: true })
        },
        lift: |_, plan| -> Remedy {
            if plan.server_went_on {
                let text = "Find out what kept the server from accepting for a while: a signal that stopped it, a pause \
                            of its own, a call that blocked. A backlog that is long enough for who comes meanwhile \
                            spares them the SYNs that are sent again, and no wait for an answer.";
                let look = "ps -eo pid,state,wchan:24,comm | awk '$2 ~ /[TD]/'";
                return remedy(Scope::Process, text, &[], vec!["ss -ltn".to_owned(), look.to_owned()]);
            }
            let commands = match plan.server_pid {
                Some(pid) if plan.server_stopped => vec![format!("kill -CONT {pid}")],
                Some(pid) => vec![
                    format!("ps -L -o tid,state,wchan:24,comm -p {pid}"),
                    format!("sudo cat /proc/{pid}/stack"),
                ],
                None => vec![
                    "sudo ss -ltnp".to_owned(),
                    "ps -eo pid,state,wchan:24,comm | awk '$2 ~ /[TD]/'".to_owned(),
                ],
            };
            let text = match (plan.server_pid, plan.server_stopped) {
                (_, true) => "Wake the server: it is stopped by a signal (state T).",
                (Some(_), false) => {
                    "Mend the server: it is not stopped, and is busy elsewhere or does not call accept; where it waits \
                     its stack says. A longer backlog only hides it for a while."
                }
                (None, false) => {
                    "Wake or mend the server: it is stopped (state T; kill -CONT wakes it), busy elsewhere, or does not \
                     call accept. A longer backlog only hides it for a while."
                }
            };
            remedy(Scope::Process, text, &[], commands)
        },
    },
    Wall {
        name: "not-an-echo-server",
        title: "the server does not send back what it gets",
        side: Side::Server,
        process: "the server",
        hard: true,
        only_alone: false,
        outcomes: &["corrupt", "probe-timeout", "short-echo"],
        read_at: "the server's manual",
        formula: "none",
        not_there: "ghosts: connections that it never accepted",
        scope: Scope::Process,
        any_command_lifts: false,
        guide: Guide {
            what_it_is: "The swarm proves a connection by an echo. A server that speaks first, answers \
                         something else or says nothing cannot be proven that way.",
            what_you_see: "All connections are accepted, and probes come back wrong or never.",
            how_to_prove: "printf 'hello\n' | nc SERVER PORT does not print hello.",
            how_to_lift: "Run the swarm with --no-probe: held then means open at the end, and in the census \
                          of the kernel. c10k-server echoes with --mode echo, its default.",
            what_not_to_do: "Do not take established connections for served ones.",
            kernel_source: "RFC 862",
        },
        plant: Plant::in_a_namespace("a server in the mode hold, and a swarm that probes."),
        predict: no_forecast,
        diagnose: |findings| {
            let corrupt = findings.lost(&["corrupt"]).filter(|_| !findings.was_told_why());
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
        met: no_way_back,
        lift: |_, plan| {
            remedy(
                Scope::Process,
                "Run the server in echo mode, or connect without probes to a server that does not echo.",
                &[("--no-probe", "true".to_owned())],
                vec![plan.again_with(&[("--no-probe", "")])],
            )
        },
    },
];

/// What comes within so long is of one moment: a refusal is known at once, and a reset is read when its connection has
/// its turn.
const ONE_MOMENT_MS: u64 = 50;

/// Open connections were taken down and new ones refused: the listener is gone, and perhaps its process.
fn taken_down_and_refused(findings: &Findings) -> Option<Lost> {
    let refused = findings.lost(&["ECONNREFUSED"])?;
    let taken = findings.lost(&TAKEN_DOWN)?;
    // Who was refused before anything was taken down was refused by another.
    let is_in_order = refused
        .first_at_ms
        .zip(taken.first_at_ms)
        .is_none_or(|(refused, taken)| taken.saturating_sub(ONE_MOMENT_MS) <= refused);
    (is_in_order && findings.connections.established > 0).then(|| taken.and(Some(refused)))
}

fn never_echoed(findings: &Findings) -> bool {
    let c = &findings.connections;
    c.verified == Some(0) && c.established > 0 && c.accepted.is_some_and(|accepted| accepted >= c.established)
}
