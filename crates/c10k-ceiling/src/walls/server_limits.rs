//! Numbers at which a server of other people's stands: a limit of its own, or the source ports of a proxy towards what is
//! behind it.

use c10k_record::{Evidence, Outgoing, Remedy, Scope, Side, human_count};

use crate::findings::Findings;
use crate::plan_view::PlanView;
use crate::wall::{Bite, Guide, Plant, Wall, no_forecast, no_way_back, remedy, seen};

pub(super) static WALLS: &[Wall] = &[
    Wall {
        name: "server-limit",
        title: "the server takes so many connections and no more: a limit of its own",
        side: Side::Server,
        process: "the server",
        hard: true,
        only_alone: false,
        outcomes: &[
            "probe-timeout",
            "connect-timeout",
            "handshake-timeout",
            "closed-by-server",
            "closed-in-handshake",
            "ECONNRESET",
        ],
        read_at: "the server's own configuration and log (worker_connections, maxconn, MaxRequestWorkers, a \
                  semaphore, a pool), and those of what is behind it",
        formula: "the number at which it stands",
        not_there: "a full descriptor table (nofile-server), source ports that ran out behind it \
                    (proxy-ports-exhausted), a process that is stopped (server-stopped-accepting), connections that \
                    succeed among those that fail (a rate)",
        scope: Scope::Process,
        any_command_lifts: true,
        guide: Guide {
            what_it_is: "A number in the server's configuration or code, or in that of what it calls. It goes on \
                         serving what it has; who comes on top waits in the accept queue, or is turned away.",
            what_you_see: "The first so many connections succeed and live, and then none does: closed at once, a \
                           status such as 503, or a time-out. The number is the same at any rate.",
            how_to_prove: "Run again at a tenth of the rate: it stands at the same number. Its log names the limit \
                           (nginx: \"worker_connections are not enough\"; Apache: \"reached MaxRequestWorkers\"); its \
                           descriptors, threads and memory say that it is none of those.",
            how_to_lift: "Raise the setting, and what it was chosen for: memory, descriptors, threads. Several processes \
                          with a limit each fill unevenly: the sum is an upper bound.",
            what_not_to_do: "Do not connect more slowly and do not lengthen the backlog: neither makes it take more.",
            kernel_source: "the server's manual; accept(2)",
        },
        plant: Plant::of_others("a server that stops accepting, or closes what it accepts, at a number."),
        predict: no_forecast,
        diagnose: |findings| {
            let cap = findings.is_capped()?;
            // Ports that waited or are free again may have been what was short: then it is not known which.
            if findings.process_table_full().is_some() || findings.ports_may_have_been_used_up() {
                return None;
            }
            let mut evidence = findings.cap_evidence();
            if cap.waits {
                let text = "connections waited in its accept queue and for 2 s it took none of them";
                evidence.push(seen("accepted", Side::Server, None, text));
            }
            evidence.extend(descriptors_to_spare(findings));
            let names: Vec<&str> =
                findings.connections.failed.keys().map(c10k_record::Outcome::name).collect();
            evidence.extend(findings.lost_evidence(&names));
            Bite::likely(evidence, cap.lost.first_at_ms)
        },
        met: no_way_back,
        lift: lift_limit,
    },
    Wall {
        name: "proxy-ports-exhausted",
        title: "the server's own connections to one place have no source port left",
        side: Side::Server,
        process: "the server, as a client of what is behind it",
        hard: true,
        only_alone: false,
        outcomes: &[
            "handshake-status-502",
            "handshake-status-503",
            "closed-in-handshake",
            "closed-by-server",
        ],
        read_at: "ss -tan state all dst UPSTREAM on the proxy's machine; net.ipv4.ip_local_port_range there; its log \
                  (EADDRNOTAVAIL, \"cannot assign requested address\")",
        formula: "source addresses of the proxy × ports × addresses and ports of what is behind it",
        not_there: "ports of the range that are free between the two addresses",
        scope: Scope::Namespace,
        any_command_lifts: true,
        guide: Guide {
            what_it_is: "A proxy makes a connection of its own for each that it holds. From one address to one address \
                         and port there are only as many as the port range has: 28,232 by default.",
            what_you_see: "The first so many connections work; the others are answered with 502 or 503, or are closed. \
                           The proxy's log says: cannot assign requested address.",
            how_to_prove: "ss -tan on the proxy's machine: connections from one of its addresses to one upstream are as \
                           many as net.ipv4.ip_local_port_range has ports.",
            how_to_lift: "More upstream addresses or ports, more source addresses at the proxy (nginx: proxy_bind; \
                          HAProxy: source), or a wider range.",
            what_not_to_do: "Do not add source addresses at the clients: theirs are not short. tcp_tw_reuse does not \
                             help with connections that live.",
            kernel_source: "net/ipv4/inet_hashtables.c: __inet_hash_connect",
        },
        plant: Plant::of_others("a proxy in a namespace with a port range of a few hundred."),
        predict: no_forecast,
        diagnose: |findings| {
            let outgoing = proxys_ports(findings)?;
            let names = findings.names_taken_down();
            let waits = ["probe-timeout", "handshake-timeout", "handshake-status-504"];
            let lost = findings.lost_connecting(&[&names[..], &waits].concat())?;
            let mut evidence = vec![ports_evidence(outgoing)];
            evidence.extend(findings.cap_evidence());
            evidence.extend(findings.lost_evidence(&names));
            evidence.extend(findings.lost_evidence(&waits[..2]));
            // Who only waits may wait for something else; and where more are left than the kernel passes over, the server may
            // have met a limit of its own before.
            let are_all = outgoing.left().saturating_mul(50) <= outgoing.ports;
            let is_proof = !names.is_empty() && are_all;
            Bite::weighed(is_proof, evidence, lost.first_at_ms)
        },
        met: no_way_back,
        lift: |_, _| {
            let key = "net.ipv4.ip_local_port_range";
            let settings = [("sysctl.net.ipv4.ip_local_port_range", "1024 65535".to_owned())];
            remedy(
                Scope::Namespace,
                "Give what is behind the proxy more addresses or ports, or the proxy more source addresses (nginx: \
                 proxy_bind; HAProxy: source), or widen the range on the proxy's machine.",
                &settings,
                vec![format!("sudo sysctl -w {key}=\"1024 65535\"")],
            )
        },
    },
];

/// The place to which the server has no source port left.
fn proxys_ports(findings: &Findings) -> Option<&Outgoing> {
    findings.evidence.outgoing.as_ref().filter(|outgoing| outgoing.is_used_up())
}

fn ports_evidence(outgoing: &Outgoing) -> Evidence {
    let text = format!(
        "source ports that process {} has in use from {} to {}, of {} in ip_local_port_range ({}-{})",
        outgoing.pid,
        outgoing.from,
        outgoing.to,
        human_count(outgoing.ports),
        outgoing.first_port,
        outgoing.last_port
    );
    seen("source ports of the server", Side::Server, Some(outgoing.ports_in_use), text)
}

/// What of the server is not short.
fn descriptors_to_spare(findings: &Findings) -> Option<Evidence> {
    let process = findings.server_process.as_ref()?;
    let (most, limit) = (process.most_descriptors?, process.descriptor_limit?);
    let text =
        format!("descriptors of process {} in its fullest table, of {}", process.pid, human_count(limit));
    Some(seen("descriptors", Side::Server, Some(most), text))
}

fn lift_limit(_: &c10k_record::HostSnapshot, plan: &PlanView) -> Remedy {
    let (_, again) = plan.more_slowly(u64::from(u32::MAX));
    let again = match plan.rate_per_second {
        Some(_) => again,
        None => plan.again_with(&[("--rate", "100/s")]),
    };
    let mut commands = vec![again];
    commands.extend(plan.server_pid.map(|pid| format!("tr '\\0' ' ' < /proc/{pid}/cmdline")));
    remedy(
        Scope::Process,
        "First prove it: run again at a lower rate; a limit of the server's own stands at the same number, a limit on the \
         rate does not. Then look for that number in its configuration and its log, and in those of what is behind it, and \
         raise it there.",
        &[],
        commands,
    )
}
