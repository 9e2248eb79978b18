//! `c10k-lab run --ssh`: the far server is started over an ssh connection to an sshd of the test's own, on loopback in
//! namespaces that are gone with the test. Nobody's ~/.ssh is read or written.

#![allow(clippy::print_stderr, reason = "a skipped test says so")]

#[path = "../common/mod.rs"]
mod common;

use std::path::Path;
use std::process::{Command, Stdio};

use c10k_record::Topology;
use common::{Ended, Lab, Running, send};
use nix::sys::signal::Signal;

const PROGRAM: &str = env!("CARGO_BIN_EXE_c10k-lab");

/// For root: namespaces of its own.
const ROOT: [&str; 7] = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"];
/// For anybody else: the same in a user namespace in which the user stays who it is, since an sshd that is not root lets
/// in its own user alone.
const USER: [&str; 10] = [
    "unshare",
    "--user",
    "--map-current-user",
    "--keep-caps",
    "--net",
    "--mount",
    "--pid",
    "--fork",
    "--kill-child",
    "--mount-proc",
];

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Whether an sshd may be started in namespaces here; says so when not.
fn may(test: &str, as_user: bool) -> bool {
    let there = ["/usr/sbin/sshd", "/usr/bin/ssh-keygen", "/usr/bin/ssh"];
    if let Some(missing) = there.iter().find(|path| !Path::new(path).exists()) {
        eprintln!("SKIPPED {test}: there is no {missing} here");
        return false;
    }
    let enter: &[&str] = if as_user || !is_root() { &USER } else { &ROOT };
    let mut command = Command::new(enter[0]);
    command.args(&enter[1..]).args(["mount", "-t", "tmpfs", "tmpfs", "/run"]);
    if as_user && is_root() {
        std::os::unix::process::CommandExt::uid(&mut command, 65534);
        std::os::unix::process::CommandExt::gid(&mut command, 65534);
    }
    let may = command.stdin(Stdio::null()).stderr(Stdio::null()).status();
    let may = may.is_ok_and(|status| status.success());
    if !may {
        eprintln!("SKIPPED {test}: no namespaces of that kind may be made here");
    }
    may
}

/// A lab beside an sshd, with this wrong at the far end.
fn lab(wrong: &str, as_user: bool) -> Lab {
    let lab = Lab::new()
        .with_file("sandbox.sh", include_str!("sandbox.sh"))
        .with_env("C10K_FAR", wrong)
        .with_env("C10K_PROGRAM", PROGRAM);
    let lab = if as_user { lab.by_ordinary_user() } else { lab };
    let home = lab.home().display().to_string();
    let script = format!("{home}/sandbox.sh");
    let mut words = if as_user || !is_root() { USER.to_vec() } else { ROOT.to_vec() };
    words.extend(["sh", &script, &home]);
    lab.under(&words)
}

/// The words of a run over ssh.
fn start(lab: Lab, more: &[&str]) -> Running {
    let config = lab.home().join("ssh_config").display().to_string();
    let mut words = vec![
        "--topology",
        "remote",
        "--ssh",
        "far",
        "--ssh-arg",
        "-F",
        "--ssh-arg",
        &config,
        "--target",
        "300",
    ];
    words.extend(more);
    lab.start(&words)
}

#[track_caller]
fn expect_refused(ended: &Ended, words: &[&str]) {
    ended.expect_refused(3, words);
    assert!(ended.stderr.contains("the far end is empty"), "{}", ended.stderr);
}

#[test]
fn a_run_over_ssh_is_one_record_of_both_ends_and_leaves_nothing_at_the_far_end() {
    if !may("a_run_over_ssh_is_one_record_of_both_ends_and_leaves_nothing_at_the_far_end", false) {
        return;
    }
    let ended = start(lab("", false), &["--hold", "100ms"]).wait();
    let record = ended.expect_held(300);
    assert_eq!(record.topology, Topology::Remote);
    assert!(ended.stderr.contains("the far end is empty"), "{}", ended.stderr);
}

#[test]
fn a_program_that_is_not_there_is_copied_once_and_not_again() {
    if !may("a_program_that_is_not_there_is_copied_once_and_not_again", false) {
        return;
    }
    let ended = start(lab("no-program", false), &["--push", "--hold", "100ms"]).wait();
    ended.expect_held(300);
    let copy = |ended: &Ended| {
        let copy = ended.home().join("far/.cache/c10k-lab/c10k-lab");
        let found = std::fs::metadata(&copy).unwrap_or_else(|error| panic!("{}: {error}", copy.display()));
        (std::os::unix::fs::MetadataExt::ino(&found), found.len())
    };
    assert_eq!(copy(&ended).1, std::fs::metadata(PROGRAM).expect("it").len());
    // The same build lies on the PATH: nothing is copied.
    let ended = start(lab("", false), &["--push", "--hold", "100ms"]).wait();
    ended.expect_held(300);
    assert!(!ended.home().join("far/.cache").exists());
}

#[test]
fn an_ordinary_user_runs_over_ssh_with_a_copy() {
    if !may("an_ordinary_user_runs_over_ssh_with_a_copy", true) {
        return;
    }
    let ended = start(lab("no-program", true), &["--push", "--hold", "100ms"]).wait();
    ended.expect_held(300);
}

#[test]
fn what_is_wrong_with_the_way_to_the_far_end_is_named_with_a_hint() {
    if !may("what_is_wrong_with_the_way_to_the_far_end_is_named_with_a_hint", false) {
        return;
    }
    for (wrong, words) in [
        ("host-key-unknown", ["error: the host key of far is not known here", "fingerprint"]),
        ("host-key-changed", ["error: the host key of far is not the one that is known here", "both keys"]),
        ("denied", ["error: far does not let you in: ", "ssh-copy-id"]),
        ("refused", ["error: no ssh connection to far: ", "Connection refused"]),
        ("no-program", ["error: there is no c10k-lab on far", "--push"]),
        ("no-forwarding", ["error: far does not let its control port be forwarded", "AllowTcpForwarding"]),
        ("no-ssh", ["error: there is no ssh program here", "openssh-client"]),
    ] {
        expect_refused(&start(lab(wrong, false), &[]).wait(), &words);
    }
}

#[test]
fn no_list_of_processes_shows_the_token() {
    if !may("no_list_of_processes_shows_the_token", false) {
        return;
    }
    let mut running = start(lab("", false), &["--hold", "2s"]);
    running.wait_for_hold(300);
    let network = running.process("run").network.expect("its namespace");
    let secret = secret_in(&network).expect("a far server with a token");
    let shown = all_processes().filter(|pid| {
        let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&words).contains(&secret)
    });
    assert_eq!(shown.collect::<Vec<_>>(), Vec::<u32>::new());
    running.wait().expect_held(300);
}

#[test]
fn the_far_server_ends_with_a_lab_that_is_killed() {
    if !may("the_far_server_ends_with_a_lab_that_is_killed", false) {
        return;
    }
    let mut running = start(lab("", false), &["--hold", "1h"]);
    running.wait_for_hold(300);
    let lab = running.process("run");
    send(lab.pid, Signal::SIGKILL);
    let ended = running.wait();
    ended.expect_exit(137);
    assert!(ended.stderr.contains("the far end is empty"), "{}", ended.stderr);
}

#[test]
fn a_connection_that_is_cut_in_the_hold_ends_the_run_and_the_far_server() {
    if !may("a_connection_that_is_cut_in_the_hold_ends_the_run_and_the_far_server", false) {
        return;
    }
    let mut running = start(lab("", false), &["--hold", "1h"]);
    running.wait_for_hold(300);
    // The one that keeps the connection.
    send(running.process("-M").pid, Signal::SIGKILL);
    let ended = running.wait();
    ended.expect_exit(4);
    assert!(ended.stderr.contains("the far end is empty"), "{}", ended.stderr);
}

/// The token in the environment of the server that was started in this network namespace.
fn secret_in(network: &str) -> Option<String> {
    all_processes().find_map(|pid| {
        let words = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        words.split(|byte| *byte == 0).nth(1).filter(|word| *word == b"serve")?;
        let stands_in = std::fs::read_link(format!("/proc/{pid}/ns/net")).ok()?;
        let environment = std::fs::read(format!("/proc/{pid}/environ")).ok()?;
        let text = String::from_utf8_lossy(&environment).into_owned();
        let token = text.split('\0').find_map(|word| word.strip_prefix("C10K_TOKEN="))?;
        (stands_in.to_string_lossy() == network).then(|| token.to_owned())
    })
}

fn all_processes() -> impl Iterator<Item = u32> {
    let all = std::fs::read_dir("/proc").expect("/proc").flatten();
    all.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}
