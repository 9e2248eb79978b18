//! Descriptors of one table: the kernel's ceiling on them, and each end's limit.

use c10k_record::{Evidence, HostSnapshot, Remedy, Scope, Side, counted, human_count};

use crate::facts::accept_error;
use crate::findings::Findings;
use crate::plan_view::PlanView;
use crate::wall::{
    Bite, Forecast, Guide, Plant, Wall, first, no_way_back, raise, raise_line, raised, remedy, seen,
};

pub(super) static WALLS: &[Wall] = &[
    Wall {
        name: "nr-open",
        title: "the kernel's ceiling on descriptors in one table",
        side: Side::Host,
        process: "whichever has one table for all",
        hard: true,
        only_alone: false,
        outcomes: &["EMFILE"],
        read_at: "/proc/sys/fs/nr_open",
        formula: "fs.nr_open − descriptors of the process's own",
        not_there: "RLIMIT_NOFILE below fs.nr_open: then that is the wall",
        scope: Scope::Host,
        any_command_lifts: false,
        guide: Guide {
            what_it_is: "The highest number that a descriptor of any process may have, and so the highest \
                         RLIMIT_NOFILE that anybody may set. It is 1,048,576 unless somebody raised it, \
                         which is why so many servers stop just short of 1,048,576.",
            what_you_see: "EMFILE (too many open files) at about a million connections although \
                           RLIMIT_NOFILE is as high as it goes; setting a higher one is EPERM, for root too.",
            how_to_prove: "RLIMIT_NOFILE of /proc/PID/limits equals /proc/sys/fs/nr_open, and socket() or \
                           accept() says EMFILE.",
            how_to_lift: "Raise fs.nr_open first and RLIMIT_NOFILE after it, or spread the connections over \
                          several descriptor tables: more processes, or a table for each worker as \
                          c10k-server and c10k-swarm have.",
            what_not_to_do: "Do not set it to a billion 'to be safe': programs that close every possible \
                             descriptor, or keep an array with one entry for each, hang or run out of \
                             memory.",
            kernel_source: "fs/file.c: alloc_fd, sysctl_nr_open; kernel/sys.c: do_prlimit",
        },
        plant: Plant::host_wide(
            "it needs as many open descriptors as the host allows in one table, so its evidence is replayed.",
        ),
        predict: |host, plan| {
            let nr_open = host.nr_open?;
            // A swarm whose server stands elsewhere cannot know how that one uses its tables.
            let of_swarm = !plan.servers_end_alone && !host.swarm_tables;
            let of_server = (plan.both_ends_here || plan.servers_end_alone) && !host.server_tables;
            let one_table = of_swarm || of_server;
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
        met: no_way_back,
        lift: |host, plan| {
            let (wanted, enough) = more_than(plan, host.nr_open);
            let text = format!(
                "{enough}Raise fs.nr_open (whole host) and RLIMIT_NOFILE after it, or give each worker a descriptor \
                 table of its own, as c10k-server and c10k-swarm do."
            );
            if host.may_raise_nofile == Some(false) {
                // Nobody here may set the limit that would follow: more tables are what is left.
                let own = if plan.own_server { plan.again_with(&[]) } else { "c10k-server".to_owned() };
                return remedy(Scope::Host, text, &[], vec![own]);
            }
            let mut remedy = raise(Scope::Host, text, "fs.nr_open", wanted, host.nr_open);
            let pid = plan.server_pid.map_or_else(|| "$$".to_owned(), |pid| pid.to_string());
            let limit =
                [plan.server_nofile_hard, host.nofile_hard].into_iter().flatten().fold(wanted, u64::max);
            remedy.commands.push(format!("sudo prlimit --pid {pid} --nofile={limit}:{limit}"));
            remedy
        },
    },
    Wall {
        name: "nofile-server",
        title: "the server's limit on open files",
        side: Side::Server,
        process: "the server",
        hard: true,
        only_alone: false,
        outcomes: &["EMFILE", "EBUSY", "probe-timeout", "connect-timeout"],
        read_at: "/proc/PID/limits of the server, line 'Max open files'; ulimit -n",
        formula: "RLIMIT_NOFILE − descriptors that are no connections, a table; with a table for each worker \
                  it bounds no process",
        not_there: "EMFILE at the swarm; a limit of the server's own below it (server-max-connections)",
        scope: Scope::Process,
        any_command_lifts: false,
        guide: Guide {
            what_it_is: "The number of descriptors that one table of the server may have, and each \
                         connection is one. It is checked against the descriptor's number, for each table by \
                         itself: threads normally share one table.",
            what_you_see: "The client sees connections that it believes in and that nobody serves: connect() \
                           succeeds until the accept queue is full, then times out (i/o timeout). The \
                           server's log says 'too many open files'. In programs that look names up, the same \
                           shows as EBUSY (device or resource busy) out of getaddrinfo, which finds no \
                           descriptor for its files.",
            how_to_prove: "accept4() says EMFILE, or ls /proc/PID/fd | wc -l stands at 'Max open files' of \
                           /proc/PID/limits. The connections that nobody takes stay in the accept queue (ss \
                           -ltn: Recv-Q).",
            how_to_lift: "ulimit -n in the shell that starts it, LimitNOFILE= in its systemd unit, or \
                          setrlimit() in the program, up to the hard limit. Beyond the hard limit: \
                          CAP_SYS_RESOURCE, several processes, or a descriptor table for each worker \
                          (unshare(CLONE_FILES)).",
            what_not_to_do: "Do not edit /etc/security/limits.conf for a service: it is read by logins \
                             (pam_limits), not by systemd. Raising fs.file-max does nothing for EMFILE.",
            kernel_source: "fs/file.c: alloc_fd; net/socket.c: __sys_accept4; getrlimit(2)",
        },
        plant: Plant::in_a_namespace(
            "a server with one descriptor table of a few hundred, and a swarm that wants more.",
        ),
        predict: |host, _| {
            let whose = "the server's RLIMIT_NOFILE";
            super::several::forecast(host).or_else(|| {
                nofile_forecast(host.server_nofile, host.server_per_table, host.server_tables, whose)
            })
        },
        diagnose: |findings| {
            let host = &findings.host;
            if at_nr_open(host, host.server_nofile) { None } else { server_emfile(findings) }
        },
        met: no_way_back,
        lift: |host, plan| nofile_remedy(host, plan, "server"),
    },
    Wall {
        name: "nofile-swarm",
        title: "the swarm's limit on open files",
        side: Side::Swarm,
        process: "the swarm",
        hard: true,
        only_alone: false,
        outcomes: &["EMFILE", "EBUSY"],
        read_at: "/proc/PID/limits of the swarm, line 'Max open files'; ulimit -n",
        formula: "RLIMIT_NOFILE − descriptors that are no connections, a table; with a table for each worker \
                  it bounds no process",
        not_there: "accept4() failing with EMFILE at the server; ghosts",
        scope: Scope::Process,
        any_command_lifts: false,
        guide: Guide {
            what_it_is: "The same limit at the end that connects. A load generator meets it as surely as a \
                         server does, and often first: 1,024 is the usual soft limit, so it stops at about \
                         1,016.",
            what_you_see: "socket() says EMFILE (too many open files). Programs that look names up show it \
                           as EBUSY (device or resource busy), out of getaddrinfo, which finds no descriptor \
                           for its files; connect(2) itself never says EBUSY for TCP.",
            how_to_prove: "The error comes from socket() and not from connect(), and ls /proc/PID/fd | wc -l \
                           stands at 'Max open files' of /proc/PID/limits. The server has accepted all there \
                           is.",
            how_to_lift: "ulimit -n in the shell that starts it, up to the hard limit; more processes; or a \
                          descriptor table for each worker, as c10k-swarm has.",
            what_not_to_do: "Do not blame the server: it never saw these connections.",
            kernel_source: "fs/file.c: alloc_fd; net/socket.c: __sys_socket; getrlimit(2)",
        },
        plant: Plant::in_a_namespace(
            "a swarm with one descriptor table of a few hundred that is told to make more.",
        ),
        predict: |host, _| {
            let whose = "the swarm's RLIMIT_NOFILE";
            nofile_forecast(host.swarm_nofile, host.swarm_per_table, host.swarm_tables, whose)
        },
        diagnose: |findings| {
            let host = &findings.host;
            if at_nr_open(host, host.swarm_nofile) { None } else { swarm_emfile(findings) }
        },
        met: no_way_back,
        lift: |host, plan| nofile_remedy(host, plan, "swarm"),
    },
];

/// Descriptors a process has beside its connections: the standard streams, a listener, epoll, a waker, a
/// reserve and an event pipe. Where they could not be counted, the forecast is uncertain by as many.
const OWN_DESCRIPTORS: u64 = 8;

fn nofile_forecast(
    nofile: Option<u64>,
    per_table: Option<u64>,
    own_tables: bool,
    whose: &str,
) -> Option<Forecast> {
    let nofile = nofile?;
    // With a table for each worker another table is opened when one is full: the limit bounds no process.
    (!own_tables).then(|| {
        let now = format!("{whose} = {}", human_count(nofile));
        match per_table {
            Some(exact) => Forecast::exact(exact, now),
            None => {
                let percent = (OWN_DESCRIPTORS * 100).div_ceil(nofile.max(1)).min(100) as u8;
                Forecast::about(nofile.saturating_sub(OWN_DESCRIPTORS), now, percent)
            }
        }
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
        let count = human_count(open);
        let text = if findings.host.swarm_tables && findings.growth_stopped_by("EMFILE") {
            format!(
                "the swarm had no descriptor for a further worker (EMFILE) and stopped at {open} connections"
            )
        } else {
            format!("the swarm stopped at {count} connections in its one table")
        };
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
            "descriptors open in process {}: its table is full, so accept4() can only say EMFILE{}",
            process.pid,
            super::several::who_is_full(process)
        );
        seen("descriptors", Side::Server, process.most_descriptors, text)
    }));
    if let Some(server) = findings.server.as_ref().filter(|server| server.paused > 0) {
        let text = format!(
            "the server paused accepting with {} in {}",
            counted(server.peak, "connection"),
            counted(server.tables, "descriptor table")
        );
        evidence.push(seen("paused", Side::Server, Some(server.paused), text));
    }
    evidence.extend(limit_evidence(findings.host.server_nofile, Side::Server));
    Bite::proven(evidence, first(findings.unanswered()))
}

fn limit_evidence(nofile: Option<u64>, side: Side) -> Option<Evidence> {
    nofile.map(|limit| seen("RLIMIT_NOFILE", side, Some(limit), "the limit of one descriptor table"))
}

/// Descriptors one table needs for all connections of the plan.
fn wanted(plan: &PlanView) -> u64 {
    plan.target.saturating_add(plan.target / 100).saturating_add(64)
}

/// More descriptors for a plan than there are: what it needs, and where so much stands already, twice that.
fn more_than(plan: &PlanView, present: Option<u64>) -> (u64, String) {
    let needed = wanted(plan);
    let enough = present.filter(|present| *present >= needed);
    let words = enough.map_or_else(String::new, |present| {
        format!("{} are enough for {}. For more: ", human_count(present), human_count(plan.target))
    });
    (raised("limits.nofile", needed, present), words)
}

/// A process that runs already can be given more without a restart (prlimit(1)).
fn running_server_remedy(host: &HostSnapshot, plan: &PlanView, pid: u32) -> Remedy {
    let (wanted, enough) = more_than(plan, host.server_nofile);
    let settings = [("limits.nofile", wanted.to_string())];
    let Some(hard) = plan.server_nofile_hard else {
        let text = format!("{enough}Raise the limit of process {pid}; what it is could not be read.");
        return remedy(Scope::Process, text, &settings, vec![format!("sudo prlimit --pid {pid} --nofile")]);
    };
    let mut commands = Vec::new();
    if hard < wanted && host.may_raise_nofile == Some(false) {
        let text = format!(
            "{enough}Process {pid} may have {} descriptors and nobody may raise that here (no CAP_SYS_RESOURCE): start \
             the server in a shell with a higher hard limit, or as several processes, or use one with a descriptor \
             table for each worker, as c10k-server has.",
            human_count(hard)
        );
        if host.server_nofile.is_some_and(|soft| soft < hard) {
            commands.push(format!("prlimit --pid {pid} --nofile={hard}:"));
        }
        commands.push("c10k-server".to_owned());
        return remedy(Scope::Process, text, &settings, commands);
    }
    let text = if hard >= wanted {
        commands.push(format!("prlimit --pid {pid} --nofile={wanted}:"));
        "its hard limit allows it"
    } else {
        commands.extend(nr_open_line(host, wanted));
        commands.push(format!("sudo prlimit --pid {pid} --nofile={wanted}:{wanted}"));
        "that is above its hard limit and needs root"
    };
    let text = format!(
        "{enough}Raise the limit of process {pid} while it runs ({text}), and where it is started (ulimit -n, \
         LimitNOFILE= of its unit), so that it lasts; a server that has sized itself by the old limit must be restarted."
    );
    remedy(Scope::Process, text, &settings, commands)
}

/// `fs.nr_open` bounds every RLIMIT_NOFILE.
fn nr_open_line(host: &HostSnapshot, wanted: u64) -> Option<String> {
    host.nr_open.filter(|nr_open| wanted > *nr_open)?;
    Some(raise_line("fs.nr_open", wanted, host.nr_open))
}

fn nofile_remedy(host: &HostSnapshot, plan: &PlanView, who: &str) -> Remedy {
    if let Some(pid) = plan.server_pid.filter(|_| who == "server") {
        return running_server_remedy(host, plan, pid);
    }
    let again = match who {
        "server" if !plan.own_server => "c10k-server".to_owned(),
        _ => plan.again_with(&[]),
    };
    let of_end = if who == "server" { host.server_nofile } else { host.swarm_nofile };
    // An end that was started with less than this shell has.
    if let (Some(end), Some(shell)) = (of_end, host.nofile_soft)
        && end < wanted(plan)
        && shell >= wanted(plan)
    {
        let text = format!(
            "Start the {who} with the limit of this shell, {}: it had {}.",
            human_count(shell),
            human_count(end)
        );
        return remedy(Scope::Process, text, &[("limits.nofile", shell.to_string())], vec![again]);
    }
    let present = of_end.max(host.nofile_soft);
    let (wanted, enough) = more_than(plan, present);
    let settings = [("limits.nofile", wanted.to_string())];
    let Some(hard) = host.nofile_hard else {
        let text = format!("{enough}Raise the limit of the shell that starts the {who}.");
        return remedy(Scope::Process, text, &settings, vec![format!("ulimit -Sn {wanted}")]);
    };
    if hard >= wanted {
        let text = format!(
            "{enough}Raise the soft limit of the shell that starts the {who}; the hard one allows it."
        );
        return remedy(Scope::Process, text, &settings, vec![format!("ulimit -Sn {wanted}")]);
    }
    let mut commands = Vec::new();
    if host.may_raise_nofile == Some(false) {
        if present.is_some_and(|soft| soft < hard) {
            commands.push(format!("ulimit -Sn {hard}"));
        }
        commands.push(again);
        let text = format!(
            "{enough}The hard limit is {} and nobody may raise it here (no CAP_SYS_RESOURCE). c10k-server and c10k-swarm \
             pass it with a descriptor table for each worker; another program needs {} processes.",
            human_count(hard),
            human_count(wanted.div_ceil(hard.max(1)))
        );
        return remedy(Scope::Process, text, &settings, commands);
    }
    commands.extend(nr_open_line(host, wanted));
    commands.push(format!("sudo prlimit --pid $$ --nofile={wanted}:{wanted}"));
    let text = format!(
        "{enough}Raise the hard limit of the shell that starts the {who} (needs root), then start it again; or give \
         each worker a descriptor table of its own, as c10k-server and c10k-swarm do."
    );
    remedy(Scope::Process, text, &settings, commands)
}
