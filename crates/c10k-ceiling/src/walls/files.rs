//! What the whole host, or one user of it, may have: open files, and epoll's watches.

use c10k_record::{HostSnapshot, Scope, Side, counted, human_count};

use crate::counter;
use crate::facts::accept_error;
use crate::plan_view::PlanView;
use crate::wall::{Bite, Forecast, Guide, Met, Plant, Wall, first, no_way_back, raise, seen};

pub(super) static WALLS: &[Wall] = &[
    Wall {
        name: "file-max",
        title: "the whole host's limit on open files",
        side: Side::Host,
        process: "any process without CAP_SYS_ADMIN",
        hard: true,
        only_alone: false,
        outcomes: &["ENFILE"],
        read_at: "/proc/sys/fs/file-max, and /proc/sys/fs/file-nr column 1 for what is in use",
        formula: "(fs.file-max − files open) ÷ ends on this machine",
        not_there: "EMFILE: that is the limit of one table",
        scope: Scope::Host,
        any_command_lifts: false,
        guide: Guide {
            what_it_is: "The number of open files on the whole host, all users together. The kernel sets it \
                         to about a tenth of the memory at boot, so on a large machine it is far away and on \
                         a small one near.",
            what_you_see: "ENFILE (too many open files in system) from socket() or accept(), in unrelated \
                           programs too.",
            how_to_prove: "/proc/sys/fs/file-nr column 1 at column 3; the kernel's log says 'VFS: file-max \
                           limit N reached'.",
            how_to_lift: "sysctl fs.file-max, for the whole host. Root with CAP_SYS_ADMIN passes it.",
            what_not_to_do: "Do not raise it against EMFILE: the two have nothing to do with each other.",
            kernel_source: "fs/file_table.c: alloc_empty_file",
        },
        plant: Plant::host_wide("it would starve the whole host of files, so its evidence is replayed."),
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
            let at_worker = findings.growth_stopped_by("ENFILE");
            if lost.is_none() && at_server.is_none() && !at_worker {
                return None;
            }
            let mut evidence = findings.lost_evidence(&["ENFILE"]);
            if at_worker && lost.is_none() {
                let text = "the swarm could start no further worker (ENFILE) and stopped growing";
                evidence.push(seen("growth_stopped", Side::Swarm, None, text));
            }
            evidence.extend(at_server.map(|count| accept_error("ENFILE", count)));
            let text = "files open on the whole host (file-nr column 1)";
            evidence.extend(findings.counter_evidence(counter::FILES_IN_USE, Side::Host, text));
            let limit = findings.host.file_max;
            evidence.extend(limit.map(|max| seen("fs.file-max", Side::Host, Some(max), "the limit")));
            Bite::proven(evidence, first(lost.or_else(|| findings.unanswered())))
        },
        met: |findings| {
            let times = findings.accept_errors("ENFILE")?;
            let mut evidence = vec![accept_error("ENFILE", times)];
            let limit = findings.host.file_max;
            evidence.extend(limit.map(|max| seen("fs.file-max", Side::Host, Some(max), "the limit")));
            Some(Met { times, evidence, delays: true })
        },
        lift: |host, plan| {
            let used = host.files_in_use.unwrap_or(10_000);
            let needed = plan.target.saturating_mul(plan.ends_here()).saturating_add(used);
            let needed = needed.saturating_add(needed / 10);
            raise(Scope::Host, "Raise fs.file-max (whole host).", "fs.file-max", needed, host.file_max)
        },
    },
    Wall {
        name: "epoll-watches",
        title: "this user's limit on epoll registrations",
        side: Side::Host,
        process: "any process of the user",
        hard: true,
        only_alone: false,
        outcomes: &["ENOSPC"],
        read_at: "/proc/sys/fs/epoll/max_user_watches",
        formula: "fs.epoll.max_user_watches ÷ ends on this machine that are of one user",
        not_there: "a full disk, which says ENOSPC too, but not to epoll_ctl()",
        scope: Scope::Host,
        any_command_lifts: true,
        guide: Guide {
            what_it_is: "How many descriptors all epoll instances of one user may watch together. The kernel \
                         sets it to about 4 % of the low memory at boot, at some 160 bytes a watch.",
            what_you_see: "epoll_ctl(EPOLL_CTL_ADD) says ENOSPC (no space left on device). In most programs \
                           the connection exists and is deaf; c10k-server pauses, and it waits in the accept \
                           queue.",
            how_to_prove: "No counter tells it: the registrations of all programs of this user stand at the \
                           sysctl.",
            how_to_lift: "sysctl fs.epoll.max_user_watches, or run the two ends as two users: each has the whole \
                          limit for itself. It goes by the real user of the process that made the epoll instance.",
            what_not_to_do: "Do not look for a full disk.",
            kernel_source: "fs/eventpoll.c: ep_insert, ep_eventpoll_init; epoll(7)",
        },
        plant: Plant::host_wide("it is one number for each user of the host, so its evidence is replayed."),
        predict: |host, plan| {
            let watches = host.epoll_watches?;
            let each = if host.watches_apart { " for each of two users" } else { "" };
            let now = format!("fs.epoll.max_user_watches = {}{each}", human_count(watches));
            Some(Forecast::exact(watches / ends_of_one_user(host, plan), now))
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
                let text = format!("the server found no room for a watch {}", counted(count, "time"));
                seen("ENOSPC", Side::Server, Some(count), text)
            }));
            let limit = findings.host.epoll_watches;
            evidence
                .extend(limit.map(|n| seen("fs.epoll.max_user_watches", Side::Host, Some(n), "the limit")));
            Bite::proven(evidence, first(lost))
        },
        met: no_way_back,
        lift: |host, plan| {
            let ends = ends_of_one_user(host, plan);
            let needed = plan.target.saturating_mul(ends).saturating_add(1024);
            let text = match ends {
                1 => "Raise fs.epoll.max_user_watches (whole host).",
                _ => {
                    "Raise fs.epoll.max_user_watches (whole host), or run the two ends as two users: each has the \
                     whole limit for itself."
                }
            };
            let key = "fs.epoll.max_user_watches";
            let mut remedy = raise(Scope::Host, text, key, needed, host.epoll_watches);
            // A run of the lab is one user's with both ends, and writes its results where that user may.
            if ends > 1 && plan.is_a_swarms() {
                remedy.commands.push(format!("sudo -u nobody {}", plan.again_with(&[])));
            }
            remedy
        },
    },
];

/// How many watches of one user a connection takes.
fn ends_of_one_user(host: &HostSnapshot, plan: &PlanView) -> u64 {
    if host.watches_apart { 1 } else { plan.ends_here() }
}
