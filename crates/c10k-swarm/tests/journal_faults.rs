//! Every file operation of adding and of taking away, made to fail with every error that it can give, and the process
//! killed before each: afterwards nothing of its own stands that is not told, and nothing of others is gone.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this is its own test harness")]

mod common;
mod namespaces;

use std::cell::Cell;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::rc::Rc;
use std::time::Instant;

use c10k_kernel::address;
use c10k_kernel::files::{Fault, HowFar, Operation, with_faults};
use c10k_record::PhaseName;
use c10k_swarm::add_ips::{self, AddedIps, Removed};
use common::server::{Behaviour, Server};
use common::{PATIENCE, PROGRAM, Swarm};
use namespaces::{Case, JOURNALS, SERVER, expect_nothing_left, ip, ips, journals, present, remove_ips};
use nix::sys::signal::{Signal, raise};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork};

const CASES: &[Case] = &[
    ("adding_that_fails_anywhere_leaves_nothing_and_takes_nothing_of_others", failing_to_add),
    ("taking_away_that_fails_anywhere_leaves_nothing_that_is_not_told", failing_to_take_away),
    ("what_a_swarm_killed_before_any_operation_left_is_taken_away_and_nothing_of_others", killed_anywhere),
    ("the_journal_of_a_dead_swarm_that_cannot_be_read_is_told_with_the_command", unreadable),
    ("a_line_that_was_cut_hides_no_later_one", cut_in_the_middle),
    ("an_unnamed_journal_of_a_killed_swarm_is_swept", unnamed),
    ("a_living_swarm_in_another_pid_namespace_is_left_alone", living_in_another_pid_namespace),
];

/// The second one is somebody else's.
const OURS: &str = "192.168.1.200-202";
const STRANGER: &str = "192.168.1.201";
/// ENOENT, EINTR, EIO, ENOMEM, EACCES, EINVAL, ENFILE, EMFILE, ENOSPC, EROFS, EPERM.
const ERRNOS: [i32; 11] = [2, 4, 5, 12, 13, 22, 23, 24, 28, 30, 1];
const HOW_FAR: [HowFar; 3] = [HowFar::Nowhere, HowFar::Halfway, HowFar::ToTheEnd];

fn main() -> ExitCode {
    namespaces::run_each(CASES)
}

/// Calls `check` with every way in which operation `number`, or all from it on, fail, for every `number` there is: it
/// returns how many operations there were.
fn every_case(check: impl Fn(usize, bool, Fault) -> usize) {
    for errno in ERRNOS {
        for how_far in HOW_FAR {
            for and_all_after in [false, true] {
                let mut number = 1;
                while check(number, and_all_after, Fault { errno, how_far }) >= number {
                    number += 1;
                }
                assert!(number > 3, "there are operations");
            }
        }
    }
}

fn failing<T>(number: usize, and_all_after: bool, fault: Fault, work: impl FnOnce() -> T) -> (T, usize) {
    let count = Rc::new(Cell::new(0));
    let counted = Rc::clone(&count);
    let hook = move |_: Operation, _: &Path| {
        counted.set(counted.get() + 1);
        (counted.get() == number || and_all_after && counted.get() > number).then_some(fault)
    };
    let done = with_faults(hook, work);
    (done, count.get())
}

/// Adds as a swarm does, and takes away again.
fn add_and_take_away() -> Option<Removed> {
    let added = AddedIps::prepare("lo").ok()?;
    let _ = ips(OURS).into_iter().try_for_each(|ip| added.add(ip));
    Some(added.remove())
}

fn clean() {
    let _ = fs::remove_dir_all(JOURNALS);
    for ip in present().into_iter().filter(|known| *known != ip(STRANGER)) {
        address::remove("lo", ip, 32).unwrap();
    }
}

/// A later call, with nothing failing, finds nothing of ours and takes nothing of others.
#[track_caller]
fn expect_no_claim(what: &str) {
    let (done, elsewhere) = add_ips::remove_left_behind().unwrap();
    assert!(elsewhere.is_empty(), "{what}");
    assert!(done.iter().all(|removed| removed.removed == 0), "{what}: {done:?}");
    assert_eq!(present(), [ip(STRANGER)], "{what}");
}

fn failing_to_add() {
    address::add("lo", ip(STRANGER), 32).unwrap();
    every_case(|number, and_all_after, fault| {
        let (removed, count) = failing(number, and_all_after, fault, add_and_take_away);
        let what = format!("{number} {and_all_after} {fault:?}: {removed:?}");
        assert_eq!(present(), [ip(STRANGER)], "{what}");
        assert!(removed.is_none_or(|removed| removed.is_whole()), "{what}");
        expect_no_claim(&what);
        clean();
        count
    });
}

/// What is to be taken away: the journal and the addresses of a swarm that was killed in the hold.
fn leave_behind() {
    kill_before(usize::MAX, || {
        let added = AddedIps::prepare("lo").unwrap();
        ips(OURS).into_iter().for_each(|ip| added.add(ip).unwrap());
        raise(Signal::SIGKILL).unwrap();
    });
    assert_eq!(present(), ips(OURS));
}

fn failing_to_take_away() {
    address::add("lo", ip(STRANGER), 32).unwrap();
    every_case(|number, and_all_after, fault| {
        leave_behind();
        let (done, count) = failing(number, and_all_after, fault, add_ips::remove_left_behind);
        let what = format!("{number} {and_all_after} {fault:?}: {done:?}");
        let standing: Vec<IpAddr> = present().into_iter().filter(|known| *known != ip(STRANGER)).collect();
        assert!(present().contains(&ip(STRANGER)), "{what}");
        // ENOENT is what a file says that its owner has just removed, and EACCES and EPERM a folder of another user.
        let is_silent = [libc::ENOENT, libc::EACCES, libc::EPERM].contains(&fault.errno);
        if let Ok((done, _)) = &done
            && !standing.is_empty()
            && !is_silent
        {
            assert!(done.iter().any(|removed| !removed.is_whole()), "{what}");
            let hints: String = done.iter().map(Removed::hint).collect();
            for ip in &standing {
                assert!(hints.contains(&format!("sudo ip addr del {ip}/32 dev ")), "{what}: {hints}");
            }
        }
        // The next one does what is left.
        add_ips::remove_left_behind().unwrap();
        assert_eq!(present(), [ip(STRANGER)], "{what}");
        clean();
        count
    });
}

/// Calls `work` in a child that is killed before its operation `number`. Whether it was.
fn kill_before(number: usize, work: impl FnOnce()) -> bool {
    // SAFETY: this process has one thread.
    #[allow(clippy::exit, reason = "the child is done there and must run none of its parent's cases")]
    #[allow(unsafe_code, reason = "fork(2) is how a process is had that can be killed at a step")]
    match unsafe { fork() }.unwrap() {
        ForkResult::Child => {
            let mut count = 0;
            let hook = move |_: Operation, _: &Path| {
                count += 1;
                if count == number {
                    raise(Signal::SIGKILL).unwrap();
                }
                None
            };
            with_faults(hook, work);
            std::process::exit(0);
        }
        ForkResult::Parent { child } => {
            matches!(waitpid(child, None).unwrap(), WaitStatus::Signaled(_, Signal::SIGKILL, _))
        }
    }
}

fn killed_anywhere() {
    address::add("lo", ip(STRANGER), 32).unwrap();
    let mut number = 1;
    while kill_before(number, || drop(add_and_take_away())) {
        add_ips::remove_left_behind().unwrap();
        assert_eq!(present(), [ip(STRANGER)], "killed before operation {number}");
        assert!(!Path::new(JOURNALS).exists(), "killed before operation {number}");
        number += 1;
    }
    assert!(number > 15, "{number} operations");
}

fn the_journal() -> PathBuf {
    fs::read_dir(JOURNALS).unwrap().next().unwrap().unwrap().path()
}

fn unreadable() {
    for forged in [&b""[..], b"{\"version\":2,\"pi", b"\xff\xfe\n", b"{\"version\":1}\n"] {
        address::add("lo", ip(STRANGER), 32).unwrap();
        leave_behind();
        let path = the_journal();
        fs::write(&path, forged).unwrap();
        let told = add_ips::left_behind().unwrap();
        assert!(told.len() == 1 && told[0].to_string().contains(path.to_str().unwrap()), "{told:?}");
        let (code, said) = remove_ips();
        assert_eq!(code, Some(4), "{said}");
        assert!(said.contains("error: cannot read which addresses a killed swarm left"), "{said}");
        for ip in ["192.168.1.200", "192.168.1.202"] {
            assert!(said.contains(&format!("sudo ip addr del {ip}/32 dev ")), "{said}");
        }
        assert!(
            !said.contains(&format!("del {STRANGER}/")) && said.contains(path.to_str().unwrap()),
            "{said}"
        );
        assert_eq!(present(), ips(OURS), "nothing is removed on a guess");
        clean();
        address::remove("lo", ip(STRANGER), 32).unwrap();
    }
}

fn cut_in_the_middle() {
    leave_behind_with(|text| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.insert(1, "{\"add\":\"192.1".to_owned());
        lines.join("\n") + "\n{\"ours\":\"19"
    });
    let (code, said) = remove_ips();
    assert!(code == Some(0) && said.contains("removed 3 source addresses from lo"), "{said}");
    expect_nothing_left();
}

fn leave_behind_with(change: impl Fn(&str) -> String) {
    leave_behind();
    let path = the_journal();
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, change(&text)).unwrap();
}

fn unnamed() {
    let mut number = 1;
    let is_unnamed = || {
        let left = fs::read_dir(JOURNALS).map(|entries| entries.flatten().collect::<Vec<_>>());
        left.unwrap_or_default().iter().any(|entry| entry.file_name().as_encoded_bytes().starts_with(b"."))
    };
    while !is_unnamed() {
        assert!(kill_before(number, || drop(AddedIps::prepare("lo"))), "{number}");
        number += 1;
    }
    let (code, said) = remove_ips();
    assert!(code == Some(0) && said.contains("nothing was left behind"), "{said}");
    expect_nothing_left();
}

fn living_in_another_pid_namespace() {
    let server = Server::start_at(SERVER, Behaviour::Echo);
    let mut beside = Command::new("unshare");
    beside.args(["--pid", "--fork", "--kill-child", "--mount-proc", PROGRAM]);
    let at = server.at();
    let swarm = Swarm::start_by(
        beside,
        &["--server", &at, "--target", "30", "--hold", "10m", "--ips", OURS, "--add-ips", "lo"],
    );
    swarm.wait_for_phase(PhaseName::Hold);
    let (code, said) = remove_ips();
    assert!(code == Some(0) && said.contains("nothing was left behind"), "{said}");
    assert_eq!((present(), journals()), (ips(OURS), 1));
    // It ends with the one that made its pid namespace, and that a moment later.
    swarm.signal(Signal::SIGKILL);
    swarm.wait_for_death();
    let give_up = Instant::now() + PATIENCE;
    while !present().is_empty() && Instant::now() < give_up {
        assert_eq!(remove_ips().0, Some(0));
    }
    expect_nothing_left();
}
