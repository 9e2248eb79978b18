//! Descriptors: a table's, the kernel's, the host's, and epoll's watches.

use c10k_record::{Evidence, HostSnapshot, Remedy, Scope, Side, human_count};

use crate::counter;
use crate::findings::{Findings, PlanView};
use crate::wall::{Bite, Forecast, Wall, first, remedy, seen, sysctl};

pub(super) static WALLS: &[Wall] = &[
    Wall {
        name: "nr-open",
        title: "the kernel's ceiling on descriptors in one table",
        side: Side::Host,
        hard: true,
        only_alone: false,
        what_you_see: "EMFILE although RLIMIT_NOFILE was raised as far as it goes; a higher one is EPERM",
        how_to_prove: "RLIMIT_NOFILE equals /proc/sys/fs/nr_open, and socket() or accept() says EMFILE",
        predict: |host, plan| {
            let nr_open = host.nr_open?;
            // A swarm whose server stands elsewhere cannot know how that one uses its tables.
            let one_table = !host.swarm_tables || (plan.both_ends_here && !host.server_tables);
            let now = || format!("fs.nr_open = {}", human_count(nr_open));
            one_table.then(|| Forecast::exact(nr_open.saturating_sub(OWN_DESCRIPTORS), now()))
        },
        diagnose: |findings| {
            let host = &findings.host;
            let swarm = at_nr_open(host, host.swarm_nofile).then(|| swarm_emfile(findings)).flatten();
            let server = at_nr_open(host, host.server_nofile).then(|| server_emfile(findings)).flatten();
            let mut bite = match (swarm, server) {
                (Some(mut swarm), Some(server)) => {
                    swarm.evidence.extend(server.evidence);
                    swarm
                }
                (swarm, server) => swarm.or(server)?,
            };
            bite.evidence.push(seen("fs.nr_open", Side::Host, host.nr_open, "RLIMIT_NOFILE stands at it"));
            Some(bite)
        },
        lift: |host, plan| {
            let wanted = wanted(plan).max(host.nr_open.unwrap_or(0).saturating_add(1));
            let text = "Raise fs.nr_open (whole host) and RLIMIT_NOFILE after it, or give each worker a \
                        descriptor table of its own, as c10k-server and c10k-swarm do.";
            sysctl(Scope::Host, text, "fs.nr_open", &wanted)
        },
    },
    Wall {
        name: "nofile-server",
        title: "the server's limit on open files",
        side: Side::Server,
        hard: true,
        only_alone: false,
        what_you_see: "connects go through but are never served: ghosts, probe timeouts, then connect timeouts",
        how_to_prove: "accept4() says EMFILE; descriptors in /proc/PID/fd stand at 'Max open files' of \
                       /proc/PID/limits",
        predict: |host, _| {
            nofile_forecast(host.server_nofile, host.server_tables, "the server's RLIMIT_NOFILE")
        },
        diagnose: |findings| {
            let host = &findings.host;
            if at_nr_open(host, host.server_nofile) { None } else { server_emfile(findings) }
        },
        lift: |host, plan| nofile_remedy(host, plan, "server"),
    },
    Wall {
        name: "nofile-swarm",
        title: "the swarm's limit on open files",
        side: Side::Swarm,
        hard: true,
        only_alone: false,
        what_you_see: "socket() says EMFILE (too many open files) at the end that connects",
        how_to_prove: "descriptors in /proc/PID/fd stand at 'Max open files' of /proc/PID/limits",
        predict: |host, _| nofile_forecast(host.swarm_nofile, host.swarm_tables, "the swarm's RLIMIT_NOFILE"),
        diagnose: |findings| {
            let host = &findings.host;
            if at_nr_open(host, host.swarm_nofile) { None } else { swarm_emfile(findings) }
        },
        lift: |host, plan| nofile_remedy(host, plan, "swarm"),
    },
    Wall {
        name: "file-max",
        title: "the whole host's limit on open files",
        side: Side::Host,
        hard: true,
        only_alone: false,
        what_you_see: "ENFILE (too many open files in system) from socket() or accept()",
        how_to_prove: "/proc/sys/fs/file-nr column 1 at column 3; the kernel's log says 'file-max limit reached'",
        predict: |host, plan| {
            let (max, used) = (host.file_max?, host.files_in_use.unwrap_or(0));
            (!host.file_max_bypassed).then(|| {
                let now = format!("fs.file-max = {}, {} in use", human_count(max), human_count(used));
                Forecast::exact(max.saturating_sub(used) / plan.ends_here(), now)
            })
        },
        diagnose: |findings| {
            let lost = findings.lost(&["ENFILE"]);
            let at_server = findings.accept_errors("ENFILE");
            if lost.is_none() && at_server.is_none() {
                return None;
            }
            let mut evidence = findings.lost_evidence(&["ENFILE"]);
            evidence.extend(at_server.map(|count| accept_error("ENFILE", count)));
            let text = "files open on the whole host (file-nr column 1)";
            evidence.extend(findings.counter_evidence(counter::FILES_IN_USE, Side::Host, text));
            let limit = findings.host.file_max;
            evidence.extend(limit.map(|max| seen("fs.file-max", Side::Host, Some(max), "the limit")));
            Bite::proven(evidence, first(lost.or_else(|| findings.unanswered())))
        },
        lift: |host, plan| {
            let used = host.files_in_use.unwrap_or(10_000);
            let needed = plan.target.saturating_mul(plan.ends_here()).saturating_add(used);
            let value = needed.saturating_add(needed / 10).max(host.file_max.unwrap_or(0).saturating_add(1));
            sysctl(Scope::Host, "Raise fs.file-max (whole host).", "fs.file-max", &value)
        },
    },
    Wall {
        name: "epoll-watches",
        title: "this user's limit on epoll registrations",
        side: Side::Host,
        hard: true,
        only_alone: false,
        what_you_see: "epoll_ctl(EPOLL_CTL_ADD) says ENOSPC",
        how_to_prove: "no counter tells it: the program's registrations stand at fs.epoll.max_user_watches",
        predict: |host, plan| {
            let watches = host.epoll_watches?;
            let now = format!("fs.epoll.max_user_watches = {}", human_count(watches));
            Some(Forecast::exact(watches / plan.ends_here(), now))
        },
        diagnose: |findings| {
            let lost = findings.lost(&["ENOSPC"]);
            let server = findings.server.as_ref();
            let at_server = findings
                .accept_errors("ENOSPC")
                .or_else(|| server?.failed.get("ENOSPC").copied().filter(|count| *count > 0));
            if lost.is_none() && at_server.is_none() {
                return None;
            }
            let mut evidence = findings.lost_evidence(&["ENOSPC"]);
            evidence.extend(at_server.map(|count| {
                let text = format!("the server could not register {} connections", human_count(count));
                seen("ENOSPC", Side::Server, Some(count), text)
            }));
            let limit = findings.host.epoll_watches;
            evidence
                .extend(limit.map(|n| seen("fs.epoll.max_user_watches", Side::Host, Some(n), "the limit")));
            Bite::proven(evidence, first(lost))
        },
        lift: |host, plan| {
            let needed = plan.target.saturating_mul(plan.ends_here()).saturating_add(1024);
            let value = needed.max(host.epoll_watches.unwrap_or(0).saturating_add(1));
            sysctl(Scope::Host, "Raise fs.epoll.max_user_watches.", "fs.epoll.max_user_watches", &value)
        },
    },
];

/// Descriptors a process has beside its connections: the standard streams, a listener, epoll, a waker, a
/// reserve and an event pipe.
const OWN_DESCRIPTORS: u64 = 8;

fn nofile_forecast(nofile: Option<u64>, own_tables: bool, whose: &str) -> Option<Forecast> {
    let nofile = nofile?;
    // With a table for each worker another table is opened when one is full: the limit bounds no process.
    (!own_tables).then(|| {
        Forecast::exact(nofile.saturating_sub(OWN_DESCRIPTORS), format!("{whose} = {}", human_count(nofile)))
    })
}

/// Whether a limit stands as high as the kernel lets any: then not the limit is the wall.
fn at_nr_open(host: &HostSnapshot, nofile: Option<u64>) -> bool {
    matches!((nofile, host.nr_open), (Some(nofile), Some(nr_open)) if nofile >= nr_open)
}

fn swarm_emfile(findings: &Findings) -> Option<Bite> {
    let lost = findings.lost(&["EMFILE"]);
    let mut evidence = findings.lost_evidence(&["EMFILE"]);
    if findings.swarm_table_full() {
        let open = findings.connections.established;
        let text = format!("the swarm stopped at {} connections in its one table", human_count(open));
        evidence.push(seen("descriptors", Side::Swarm, Some(open), text));
    }
    if !evidence.is_empty() {
        evidence.extend(limit_evidence(findings.host.swarm_nofile, Side::Swarm));
    }
    Bite::proven(evidence, first(lost))
}

fn server_emfile(findings: &Findings) -> Option<Bite> {
    let errors = findings.accept_errors("EMFILE");
    let full = findings.server_tables_full();
    let seen_full = findings.process_table_full();
    if errors.is_none() && !full && seen_full.is_none() {
        return None;
    }
    let mut evidence: Vec<Evidence> = errors.map(|count| accept_error("EMFILE", count)).into_iter().collect();
    evidence.extend(seen_full.map(|process| {
        let text = format!(
            "descriptors open in process {}: its table is full, so accept4() can only say EMFILE",
            process.pid
        );
        seen("descriptors", Side::Server, process.most_descriptors, text)
    }));
    if let Some(server) = findings.server.as_ref().filter(|server| server.paused > 0) {
        let text = format!(
            "the server paused accepting with {} connections in {} descriptor tables",
            human_count(server.peak),
            human_count(server.tables)
        );
        evidence.push(seen("paused", Side::Server, Some(server.paused), text));
    }
    evidence.extend(limit_evidence(findings.host.server_nofile, Side::Server));
    Bite::proven(evidence, first(findings.unanswered()))
}

fn accept_error(errno: &str, count: u64) -> Evidence {
    let text = format!("accept4() failed {} times with {errno}", human_count(count));
    seen(errno, Side::Server, Some(count), text)
}

fn limit_evidence(nofile: Option<u64>, side: Side) -> Option<Evidence> {
    nofile.map(|limit| seen("RLIMIT_NOFILE", side, Some(limit), "the limit of one descriptor table"))
}

/// Descriptors one table needs for all connections of the plan.
fn wanted(plan: &PlanView) -> u64 {
    plan.target.saturating_add(plan.target / 100).saturating_add(OWN_DESCRIPTORS)
}

fn nofile_remedy(host: &HostSnapshot, plan: &PlanView, who: &str) -> Remedy {
    let wanted = wanted(plan);
    let settings = [("limits.nofile", wanted.to_string())];
    let mut commands = Vec::new();
    if host.nr_open.is_some_and(|nr_open| wanted > nr_open) {
        commands.push(format!("sudo sysctl -w fs.nr_open={wanted}"));
    }
    let summary = if host.nofile_hard.is_some_and(|hard| hard >= wanted) {
        commands.push(format!("ulimit -n {wanted}"));
        format!("Raise the soft limit of the shell that starts the {who}; the hard one allows it.")
    } else {
        commands.push(format!("sudo prlimit --pid $$ --nofile={wanted}:{wanted}"));
        format!("Raise the hard limit of the shell that starts the {who} (needs root), then start it again.")
    };
    remedy(Scope::Process, summary, &settings, commands)
}
