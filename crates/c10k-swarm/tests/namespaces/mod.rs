//! Cases that are a process of their own in a network namespace of their own, with a `/run` of their own: no address
//! and no setting of this machine is ever touched.

#![allow(dead_code, reason = "every test file uses its own part of this vocabulary")]

use std::net::IpAddr;
use std::process::{Command, ExitCode};

use c10k_kernel::address;
use c10k_kernel::namespace::{NamespaceError, enter_new, network_inode};
use c10k_record::PhaseName;
use c10k_swarm::ips::IpList;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use crate::common::server::Server;
use crate::common::{Swarm, run_to_refusal};

const CASE: &str = "C10K_TEST_CASE";
/// The inode of the machine's own network namespace.
const OUTSIDE: &str = "C10K_TEST_OUTSIDE";
/// The exit code of a case that could not be run here.
const SKIPPED: u8 = 77;
/// Where the journals lie, in a `/run` that only this test sees.
pub(crate) const JOURNALS: &str = "/run/c10k-lab";
pub(crate) const SERVER: &str = "192.168.1.10:0";
pub(crate) const DIARY: &str = "192.168.1.200-230";

/// A test: its name, which is a sentence, and what it does.
pub(crate) type Case = (&'static str, fn());

/// Runs those of `cases` that the command line names, each by itself.
pub(crate) fn run_each(cases: &[Case]) -> ExitCode {
    if let Ok(case) = std::env::var(CASE) {
        return run_case(cases, &case);
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--list" || argument == "--ignored") {
        return ExitCode::SUCCESS;
    }
    let wanted = |name: &str| {
        let mut filters = arguments.iter().filter(|argument| !argument.starts_with('-')).peekable();
        filters.peek().is_none() || filters.any(|filter| name.contains(filter.as_str()))
    };
    let before = address::local_addresses().unwrap();
    let mut failed = 0;
    for (name, _) in cases.iter().filter(|(name, _)| wanted(name)) {
        let status = Command::new("/proc/self/exe")
            .env(CASE, name)
            .env(OUTSIDE, network_inode().unwrap().to_string())
            .env_remove("XDG_RUNTIME_DIR")
            .status()
            .unwrap();
        let result = match status.code() {
            Some(0) => "ok",
            Some(code) if code == i32::from(SKIPPED) => "SKIPPED: no namespaces may be made here",
            _ => {
                failed += 1;
                "FAILED"
            }
        };
        println!("test {name} ... {result}");
    }
    assert_eq!(address::local_addresses().unwrap(), before);
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run_case(cases: &[Case], name: &str) -> ExitCode {
    match enter_new() {
        Ok(_) => {}
        Err(NamespaceError::Refused(_)) => return ExitCode::from(SKIPPED),
        Err(error) => panic!("{error}"),
    }
    assert_ne!(network_inode().unwrap().to_string(), std::env::var(OUTSIDE).unwrap());
    let none: Option<&str> = None;
    let own_run = unshare(CloneFlags::CLONE_NEWNS)
        .and_then(|()| mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none))
        .and_then(|()| mount(Some("tmpfs"), "/run", Some("tmpfs"), MsFlags::empty(), none));
    if own_run.is_err() {
        return ExitCode::from(SKIPPED);
    }
    address::add("lo", ip("192.168.1.10"), 32).unwrap();
    let (_, case) = cases.iter().find(|(known, _)| *known == name).unwrap();
    case();
    ExitCode::SUCCESS
}

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub(crate) fn ips(text: &str) -> Vec<IpAddr> {
    text.parse::<IpList>().unwrap().addresses().to_vec()
}

/// How many addresses a swarm says in its journal that it has added. The kernel cannot list them in peace meanwhile.
pub(crate) fn added_by_the_journal() -> usize {
    let entries = std::fs::read_dir(JOURNALS).into_iter().flatten().flatten();
    let texts = entries.filter_map(|entry| std::fs::read_to_string(entry.path()).ok());
    texts.map(|text| text.matches("\"ours\"").count()).sum()
}

/// The addresses of `lo` that could be sources.
pub(crate) fn present() -> Vec<IpAddr> {
    let all = address::local_addresses().unwrap();
    let mut present: Vec<IpAddr> = all
        .into_iter()
        .filter(|on| on.device == "lo" && !on.address.is_loopback() && on.address != ip("192.168.1.10"))
        .map(|on| on.address)
        .collect();
    present.sort_unstable();
    present
}

pub(crate) fn journals() -> usize {
    std::fs::read_dir(JOURNALS).map_or(0, Iterator::count)
}

#[track_caller]
pub(crate) fn expect_nothing_left() {
    assert_eq!(present(), [] as [IpAddr; 0]);
    assert!(!std::path::Path::new(JOURNALS).exists(), "{} journals", journals());
}

/// Holds 310 connections from the diary's sources until it is told to stop.
pub(crate) fn held_swarm(server: &Server) -> Swarm {
    let at = server.at();
    let plan = ["--server", &at, "--target", "310", "--hold", "10m", "--ips", DIARY, "--add-ips", "lo"];
    let swarm = Swarm::start(&plan);
    swarm.wait_for_phase(PhaseName::Hold);
    assert_eq!(present(), ips(DIARY));
    swarm
}

pub(crate) fn remove_ips() -> (Option<i32>, String) {
    let (code, stdout, stderr) = run_to_refusal(&["--remove-ips"]);
    assert_eq!(stdout, "");
    (code, stderr)
}
