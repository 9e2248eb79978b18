//! Whether what a stage says of the two ends is in force, as the kernel shows it.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use c10k_kernel::census::SockDiag;
use c10k_kernel::counters::ProcRoot;
use c10k_kernel::limits::{Resource, of_process};
use c10k_kernel::processes::scheduling_policies;
use c10k_plan::say::refusal::Refusal;
use c10k_plan::stage::{Stage, Who};
use c10k_record::HostSnapshot;

/// `SCHED_BATCH` (sched(7)).
const BATCH: u64 = 3;
/// A worker asks for it when it begins, which may be a moment after its server is ready.
const MOMENT: Duration = Duration::from_secs(2);
const NAP: Duration = Duration::from_millis(10);

/// Looks at both ends; `limits` is what they have said of themselves. The first thing that is not as it was asked for is
/// told.
pub(crate) fn check(
    stage: &Stage,
    listen: &[SocketAddr],
    (server, swarm): (Option<u32>, u32),
    limits: &HostSnapshot,
) -> Result<(), Refusal> {
    let ends = [(Who::Server, server, limits.server_tables), (Who::Swarm, Some(swarm), limits.swarm_tables)];
    for (who, pid, has_tables) in ends {
        let end = stage.end(who);
        if let (Some(wanted), Some(pid)) = (end.nofile, pid) {
            let limit = of_process(pid, Resource::OpenFiles)
                .map_err(|error| unread(&format!("RLIMIT_NOFILE of the {}", who.command()), &error))?;
            if limit.soft != wanted {
                return Err(differs(&format!("{}.nofile", who.command()), wanted, limit.soft));
            }
        }
        if end.one_table && has_tables {
            return Err(differs(&format!("{}.one_table", who.command()), true, false));
        }
    }
    if let (Some(wanted), Some(pid)) = (stage.server.flags.get("--scheduling"), server) {
        scheduling(wanted, pid)?;
    }
    backlog(listen, limits)
}

/// Whether any thread waits for its turn, as `wanted` says.
fn scheduling(wanted: &str, pid: u32) -> Result<(), Refusal> {
    let until = Instant::now() + MOMENT;
    loop {
        let policies = scheduling_policies(&ProcRoot::default(), pid)
            .map_err(|error| unread("the scheduling of the server's threads", &error))?;
        if policies.contains(&BATCH) == (wanted == "batch") {
            return Ok(());
        }
        if Instant::now() >= until {
            let seen: BTreeSet<u64> = policies.into_iter().collect();
            return Err(differs("server.scheduling", wanted, format!("{seen:?} (sched(7))")));
        }
        std::thread::sleep(NAP);
    }
}

/// Each listener's queue is as long as the smaller of what the server asks for and `net.core.somaxconn` (listen(2)).
fn backlog(listen: &[SocketAddr], limits: &HostSnapshot) -> Result<(), Refusal> {
    let (Some(asked), Some(most)) = (limits.backlog, limits.somaxconn) else { return Ok(()) };
    let ports: BTreeSet<u16> = listen.iter().map(SocketAddr::port).collect();
    let mut diag = SockDiag::open().map_err(|error| unread("the listeners", &error))?;
    for port in ports {
        let listeners = diag.listeners(port).map_err(|error| unread("the listeners", &error))?;
        let other = listeners.iter().find(|listener| u64::from(listener.backlog) != asked.min(most));
        if let Some(other) = other {
            return Err(differs("socket.backlog", asked.min(most), other.backlog));
        }
    }
    Ok(())
}

fn differs(key: &str, wanted: impl std::fmt::Display, seen: impl std::fmt::Display) -> Refusal {
    Refusal::host(format!("{key} = {wanted} is not in force: {seen} was read back"), "")
}

fn unread(what: &str, error: &std::io::Error) -> Refusal {
    Refusal::host(format!("{what} cannot be read back: {error}"), "mount /proc")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stage(change: impl FnOnce(&mut Stage)) -> Stage {
        let mut stage = Stage::default();
        change(&mut stage);
        stage
    }

    /// Both ends are this process.
    fn check_here(stage: &Stage, limits: &HostSnapshot) -> Result<(), String> {
        let own = std::process::id();
        check(stage, &[], (Some(own), own), limits).map_err(|refusal| refusal.message)
    }

    #[test]
    fn a_limit_that_a_process_does_not_have_is_told_with_what_it_has() {
        let soft = c10k_kernel::limits::nofile().expect("a limit").soft;
        let none = HostSnapshot::default();
        assert_eq!(check_here(&stage(|stage| stage.server.nofile = Some(soft)), &none), Ok(()));
        let told =
            check_here(&stage(|stage| stage.swarm.nofile = Some(soft - 1)), &none).expect_err("another");
        assert_eq!(told, format!("swarm.nofile = {} is not in force: {soft} was read back", soft - 1));
    }

    #[test]
    fn an_end_with_a_table_for_each_worker_has_not_one() {
        let one = stage(|stage| stage.server.one_table = true);
        let with = |server_tables| HostSnapshot { server_tables, ..HostSnapshot::default() };
        assert_eq!(check_here(&one, &with(false)), Ok(()));
        assert!(check_here(&one, &with(true)).expect_err("tables").starts_with("server.one_table = true"));
    }

    #[test]
    fn a_queue_of_another_length_than_the_smaller_of_both_is_told() {
        // The listener of the standard library asks for 128 or, since Rust 1.70, for as many as the kernel allows.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        let found = SockDiag::open().expect("sock_diag").listeners(address.port()).expect("listed");
        let long = u64::from(found[0].backlog);
        let of = |backlog, somaxconn| HostSnapshot {
            backlog: Some(backlog),
            somaxconn: Some(somaxconn),
            ..HostSnapshot::default()
        };
        assert!(
            backlog(&[address], &of(long, long + 7)).is_ok()
                && backlog(&[address], &of(long + 7, long)).is_ok()
        );
        let told = backlog(&[address], &of(long + 7, long + 9)).expect_err("shorter").message;
        assert_eq!(told, format!("socket.backlog = {} is not in force: {long} was read back", long + 7));
    }
}
