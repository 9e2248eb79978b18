//! Addresses that a swarm adds for the time of its run: which, and when it does not.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this is its own test harness")]

mod common;
mod namespaces;

use std::io::Read as _;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use c10k_kernel::address;
use common::server::{Behaviour, Server};
use common::{PATIENCE, PROGRAM, Swarm, run, run_to_refusal};
use namespaces::{Case, DIARY, JOURNALS, SERVER, added_by_the_journal, expect_nothing_left, ip};
use nix::mount::{MsFlags, mount};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const CASES: &[Case] = &[
    ("exactly_those_that_are_missing_are_added_and_removed", missing_ones_only),
    ("addresses_of_ipv6_are_added_and_removed_too", ipv6_too),
    ("without_the_flag_a_missing_source_is_refused_as_ever", not_asked_for),
    ("a_refused_plan_adds_nothing", refused_plan),
    ("bad_text_is_refused_before_the_host_is_looked_at_for_a_place_to_write", bad_text_first),
    ("an_address_that_is_refused_takes_off_those_before_it_and_says_so", refused_in_the_middle),
    ("a_first_signal_stops_the_adding", signal_while_adding),
    ("a_refusal_after_the_profile_puts_its_settings_back", refused_with_a_profile),
    ("a_run_that_fails_removes_them", failed_run),
    ("without_the_capability_it_is_refused_with_the_command", not_permitted),
    ("a_device_that_is_not_here_is_refused", no_device),
    ("an_address_that_vanishes_in_mid_run_costs_its_connections_and_no_others", vanishing),
];

fn main() -> ExitCode {
    namespaces::run_each(CASES)
}

fn missing_ones_only() {
    for known in ["192.168.1.205", "192.168.1.220"] {
        address::add("lo", ip(known), 32).unwrap();
    }
    let before = address::local_addresses().unwrap();
    let server = Server::start_at(SERVER, Behaviour::Echo);
    let ended = run(&["--server", &server.at(), "--target", "310", "--ips", DIARY, "--add-ips", "lo"]);
    ended.expect_code(0).expect_counts(310, 310).expect_failed(&[]);
    assert!(ended.stderr.contains("added 29 of 31 source addresses to lo"), "{}", ended.stderr);
    assert!(ended.stderr.contains("removed 29 source addresses from lo"), "{}", ended.stderr);
    assert_eq!(address::local_addresses().unwrap(), before);
    assert!(!std::path::Path::new(JOURNALS).exists());
}

fn ipv6_too() {
    if !address::is_local(ip("::1")).unwrap() {
        return println!("SKIPPED: no IPv6 here");
    }
    let server = Server::start_at("[::1]:0", Behaviour::Echo);
    let six = ["--target", "50", "--ips", "fd00::200-fd00::204", "--add-ips", "lo"];
    let ended = run(&[&["--server", &server.at()], &six[..]].concat());
    ended.expect_code(0).expect_counts(50, 50);
    assert!(ended.stderr.contains("added 5 of 5"), "{}", ended.stderr);
    expect_nothing_left();
}

fn not_asked_for() {
    let (code, _, stderr) = run_to_refusal(&["--target", "5", "--ips", DIARY]);
    assert_eq!(code, Some(3), "{stderr}");
    assert!(stderr.contains("--add-ips") && stderr.contains("ip addr add"), "{stderr}");
    expect_nothing_left();
}

fn refused_plan() {
    for (plan, code, said) in [
        (&["--target", "50", "--ips", "192.168.1.200", "--ports", "40000-40009"], 3, "the sources allow 10"),
        (&["--target", "50", "--ips", "fd00::1", "--ports", "40000-40999"], 2, "IPv6"),
    ] {
        let refused = run_to_refusal(&[&plan[..], &["--add-ips", "lo"]].concat());
        assert!(refused.0 == Some(code) && refused.2.contains(said), "{refused:?}");
        assert!(!refused.2.contains("added"), "{refused:?}");
        expect_nothing_left();
    }
}

/// Where nothing can be written down nothing may be changed, so what asks for a change of the host ends with 3.
fn bad_text_first() {
    let none: Option<&str> = None;
    for folder in ["/run", "/tmp"] {
        let read_only = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY;
        let over_itself = mount(Some(folder), folder, none, MsFlags::MS_BIND, none);
        if over_itself.and_then(|()| mount(none, folder, none, read_only, none)).is_err() {
            return println!("SKIPPED: {folder} may not be made read-only here");
        }
    }
    let ends_with = |text: &[&str]| {
        let wish = ["--profile", "tuned", "--target", "5", "--ips", DIARY, "--add-ips", "lo"];
        let output = Command::new(PROGRAM).args(wish).args(text).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, said) = ends_with(&[]);
    assert!(code == Some(3) && said.contains("no folder for the journal"), "{code:?} {said}");
    for (text, reason) in [
        (&["--protocol", "ws", "--header", "no colon"][..], "'no colon' is not a header"),
        (&["--header", "a: b"], "are WebSocket's: expected --protocol ws"),
        (&["--url", "http://127.0.0.1/"], "http://"),
        (&["--ports", "9-1"], "reversed"),
        (&["--server", "here"], "'here' is not a server"),
    ] {
        let (code, said) = ends_with(text);
        assert!(code == Some(2) && said.contains(reason), "{text:?}: {code:?} {said}");
    }
    expect_nothing_left();
}

fn refused_in_the_middle() {
    if !address::is_local(ip("::1")).unwrap() {
        return println!("SKIPPED: no IPv6 here");
    }
    let plan =
        ["--server", "[::1]:9", "--target", "5", "--ips", "fd00::200-fd00::202,ff02::1", "--add-ips", "lo"];
    let (code, _, said) = run_to_refusal(&plan);
    assert!(code == Some(3) && said.contains("error: cannot add ff02::1 to 'lo'"), "{code:?} {said}");
    assert!(said.contains("removed 3 source addresses from lo"), "{said}");
    expect_nothing_left();
}

fn signal_while_adding() {
    for (signal, code) in [(Signal::SIGINT, 130), (Signal::SIGQUIT, 143)] {
        let mut swarm = Command::new(PROGRAM)
            .args(["--no-apply", "--target", "5", "--ips", "10.0.0.0-10.0.200.0", "--add-ips", "lo"])
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let give_up = Instant::now() + PATIENCE;
        while added_by_the_journal() < 100 && Instant::now() < give_up {
            std::thread::sleep(Duration::from_millis(5));
        }
        kill(Pid::from_raw(swarm.id().cast_signed()), signal).unwrap();
        let mut said = String::new();
        swarm.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert_eq!(swarm.wait().unwrap().code(), Some(code), "{said}");
        assert!(said.contains("stopped by a signal while addresses were being added"), "{said}");
        assert!(said.contains("removed ") && !said.contains("added 5"), "{said}");
        expect_nothing_left();
    }
}

/// In this case's own namespace the profile may really be applied.
fn refused_with_a_profile() {
    let range = || std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap();
    let before = range();
    let command = ["--profile", "tuned", "--target", "5", "--ips", DIARY];
    let refused =
        std::process::Command::new(env!("CARGO_BIN_EXE_c10k-swarm")).args(command).output().unwrap();
    assert_eq!(refused.status.code(), Some(3), "{}", String::from_utf8_lossy(&refused.stderr));
    assert_eq!(range(), before);
    expect_nothing_left();
}

fn failed_run() {
    let server = Server::start_at(SERVER, Behaviour::Echo);
    let nobody = server.die().to_string();
    let ended = run(&["--server", &nobody, "--target", "31", "--ips", DIARY, "--add-ips", "lo"]);
    ended.expect_code(1);
    assert!(ended.failed("ECONNREFUSED") > 0, "{:?}", ended.record.connections);
    expect_nothing_left();
    let broken = ["--hlog", "/nowhere/at/all", "--target", "31", "--ips", DIARY, "--add-ips", "lo"];
    assert_eq!(run_to_refusal(&broken).0, Some(3));
    expect_nothing_left();
}

fn not_permitted() {
    // Root of a user namespace below the one that this network namespace belongs to.
    let refused = Command::new("unshare")
        .args(["--user", "--map-root-user", PROGRAM, "--no-apply", "--target", "5", "--ips", DIARY])
        .args(["--add-ips", "lo"])
        .env("XDG_RUNTIME_DIR", "/run")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(3), "{said}");
    assert!(said.contains("EPERM") || said.contains("Operation not permitted"), "{said}");
    assert!(said.contains("hint: adding addresses takes CAP_NET_ADMIN: run it with sudo"), "{said}");
    expect_nothing_left();
}

fn no_device() {
    let (code, _, said) = run_to_refusal(&["--target", "5", "--ips", DIARY, "--add-ips", "nosuch0"]);
    assert!(code == Some(3) && said.contains("no device 'nosuch0'") && said.contains("hint:"), "{said}");
    let (code, _, said) = run_to_refusal(&["--target", "5", "--add-ips", "lo"]);
    assert!(code == Some(2) && said.contains("--ips"), "{said}");
    expect_nothing_left();
}

fn vanishing() {
    let server = Server::start_at(SERVER, Behaviour::Echo);
    let (at, ports) = (server.at(), "20000-20499");
    // The first source is full after 500 connections; the second goes when it has had about 100 of its own.
    let plan = ["--server", &at, "--ports", ports, "--ips", "192.168.1.200-201", "--add-ips", "lo"];
    let load = ["--target", "1000", "--rate", "1000/s", "--hold", "200ms", "--probe-timeout", "1s"];
    let swarm = Swarm::start(&[&plan[..], &load[..]].concat());
    let at_removal = swarm.wait_for("the second source", |counts| counts.verified >= 600).verified;
    address::remove("lo", ip("192.168.1.201"), 32).unwrap();
    let ended = swarm.wait_for_end();
    ended.expect_code(1);
    let c = &ended.record.connections;
    assert!(c.held >= 500, "those from the other source are held: {c:?}");
    assert!(c.held < at_removal, "those from this one are not: {c:?}");
    assert!(ended.failed("EADDRNOTAVAIL") > 0, "{c:?}");
    assert_eq!(ended.record.sources_gone, Some(vec![ip("192.168.1.201")]));
    assert_eq!(ended.record.ceiling.as_ref().map(|of| of.wall.as_str()), Some("source-address-gone"));
    assert_eq!(c.attempted, c.held + c.failed.values().sum::<u64>(), "{c:?}");
    expect_nothing_left();
}
