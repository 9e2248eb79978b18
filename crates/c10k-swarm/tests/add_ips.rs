//! Addresses that a swarm adds for the time of its run, and every end there is. Each case is a process of its own in
//! a network namespace of its own, with a `/run` of its own: no address of this machine is ever touched.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this is its own test harness")]

mod common;

use std::io::Read as _;
use std::net::IpAddr;
use std::os::unix::process::ExitStatusExt as _;
use std::panic::catch_unwind;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use c10k_kernel::address;
use c10k_kernel::namespace::{NamespaceError, enter_new, network_inode};
use c10k_record::PhaseName;
use c10k_swarm::add_ips::{self, AddedIps};
use c10k_swarm::ips::IpList;
use common::server::{Behaviour, Server};
use common::{PATIENCE, PROGRAM, Swarm, run, run_to_refusal};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const CASE: &str = "C10K_TEST_CASE";
/// The inode of the machine's own network namespace.
const OUTSIDE: &str = "C10K_TEST_OUTSIDE";
/// The exit code of a case that could not be run here.
const SKIPPED: u8 = 77;
/// Where the journals lie, in a `/run` that only this test sees.
const JOURNALS: &str = "/run/c10k-lab";
const SERVER: &str = "192.168.1.10:0";
const DIARY: &str = "192.168.1.200-230";

const CASES: &[(&str, fn())] = &[
    ("exactly_those_that_are_missing_are_added_and_removed", missing_ones_only),
    ("addresses_of_ipv6_are_added_and_removed_too", ipv6_too),
    ("without_the_flag_a_missing_source_is_refused_as_ever", not_asked_for),
    ("a_refused_plan_adds_nothing", refused_plan),
    ("bad_text_is_refused_before_the_host_is_looked_at_for_a_place_to_write", bad_text_first),
    ("an_address_that_is_refused_takes_off_those_before_it_and_says_so", refused_in_the_middle),
    ("a_first_signal_stops_the_adding", signal_while_adding),
    ("what_cannot_be_removed_is_told_by_the_exit_code_and_stays_written_down", not_removable),
    ("a_refusal_after_the_profile_puts_its_settings_back", refused_with_a_profile),
    ("a_run_that_fails_removes_them", failed_run),
    ("a_first_signal_removes_them_at_an_orderly_end", first_signal),
    ("a_second_signal_removes_them_at_once", second_signal),
    ("a_closed_terminal_removes_them", closed_terminal),
    ("a_panic_removes_them", panicking),
    ("a_killed_swarm_is_noticed_and_undone_exactly", killed_in_the_hold),
    ("a_swarm_killed_while_adding_is_undone_whole", killed_while_adding),
    ("what_a_living_swarm_added_is_left_alone", living_swarm),
    ("what_was_left_elsewhere_is_left_alone_until_its_namespace_is_gone", left_elsewhere),
    ("without_the_capability_it_is_refused_with_the_command", not_permitted),
    ("a_device_that_is_not_here_is_refused", no_device),
    ("an_address_removed_by_somebody_else_is_no_fault", removed_by_another),
    ("an_address_that_vanishes_in_mid_run_costs_its_connections_and_no_others", vanishing),
];

fn main() -> ExitCode {
    if let Ok(case) = std::env::var(CASE) {
        return run_case(&case);
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
    for (name, _) in CASES.iter().filter(|(name, _)| wanted(name)) {
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

fn run_case(name: &str) -> ExitCode {
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
    let (_, case) = CASES.iter().find(|(known, _)| *known == name).unwrap();
    case();
    ExitCode::SUCCESS
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn ips(text: &str) -> Vec<IpAddr> {
    text.parse::<IpList>().unwrap().addresses().to_vec()
}

/// The addresses of `lo` that could be sources.
fn present() -> Vec<IpAddr> {
    let all = address::local_addresses().unwrap();
    let mut present: Vec<IpAddr> = all
        .into_iter()
        .filter(|on| on.device == "lo" && !on.address.is_loopback() && on.address != ip("192.168.1.10"))
        .map(|on| on.address)
        .collect();
    present.sort_unstable();
    present
}

fn journals() -> usize {
    std::fs::read_dir(JOURNALS).map_or(0, Iterator::count)
}

#[track_caller]
fn expect_nothing_left() {
    assert_eq!(present(), [] as [IpAddr; 0]);
    assert!(!std::path::Path::new(JOURNALS).exists(), "{} journals", journals());
}

/// Holds 310 connections from the diary's sources until it is told to stop.
fn held_swarm(server: &Server) -> Swarm {
    let at = server.at();
    let plan = ["--server", &at, "--target", "310", "--hold", "10m", "--ips", DIARY, "--add-ips", "lo"];
    let swarm = Swarm::start(&plan);
    swarm.wait_for_phase(PhaseName::Hold);
    assert_eq!(present(), ips(DIARY));
    swarm
}

fn remove_ips() -> (Option<i32>, String) {
    let (code, stdout, stderr) = run_to_refusal(&["--remove-ips"]);
    assert_eq!(stdout, "");
    (code, stderr)
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
        while present().len() < 100 && Instant::now() < give_up {
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

/// Root of a user namespace of its own may not touch this network namespace.
fn not_removable() {
    let server = Server::start_at(SERVER, Behaviour::Echo);
    let swarm = held_swarm(&server);
    swarm.signal(Signal::SIGKILL);
    swarm.wait_for_death();
    let mut stranger = Command::new("unshare");
    stranger.args(["--user", "--map-root-user", PROGRAM, "--remove-ips"]);
    let refused = stranger.output().unwrap();
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(4), "{said}");
    assert!(said.contains("error: removed 0 source addresses from lo; 31 could not be removed"), "{said}");
    assert!(said.contains("hint: c10k-swarm --remove-ips"), "{said}");
    assert_eq!((present(), journals()), (ips(DIARY), 1));
    assert_eq!(remove_ips().0, Some(0));
    expect_nothing_left();
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

fn first_signal() {
    let server = Server::start_at(SERVER, Behaviour::Echo);
    for (signal, code) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143)] {
        let swarm = held_swarm(&server);
        swarm.signal(signal);
        let ended = swarm.wait_for_end();
        // A run that is stopped is not judged: what was open is told, and nothing is held.
        ended.expect_code(code).expect_counts(310, 0);
        assert_eq!(ended.record.connections.open, Some(310));
        expect_nothing_left();
    }
}

fn second_signal() {
    // The orderly end takes a moment, in which the second signal comes or just does not.
    let server = Server::start_at(SERVER, Behaviour::Echo);
    let swarm = held_swarm(&server);
    server.freeze();
    swarm.signal(Signal::SIGINT);
    swarm.signal(Signal::SIGTERM);
    let code = swarm.wait_for_death().code();
    assert!([Some(130), Some(143)].contains(&code), "{code:?}");
    expect_nothing_left();
}

fn closed_terminal() {
    let server = Server::start_at(SERVER, Behaviour::Echo);
    let swarm = held_swarm(&server);
    swarm.signal(Signal::SIGHUP);
    swarm.wait_for_end().expect_code(143).expect_counts(310, 0);
    expect_nothing_left();
}

fn panicking() {
    // This one is meant: it needs no trace.
    std::panic::set_hook(Box::new(|_| {}));
    let panicked = catch_unwind(|| {
        let added = AddedIps::prepare("lo").unwrap();
        ips(DIARY).into_iter().for_each(|ip| added.add(ip).unwrap());
        assert_eq!((present(), journals()), (ips(DIARY), 1));
        panic!("as if by a fault of the program");
    });
    let _ = std::panic::take_hook();
    assert!(panicked.is_err());
    expect_nothing_left();
}

fn killed_in_the_hold() {
    address::add("lo", ip("192.168.1.205"), 32).unwrap();
    let server = Server::start_at(SERVER, Behaviour::Echo);
    let swarm = held_swarm(&server);
    swarm.signal(Signal::SIGKILL);
    assert_eq!(swarm.wait_for_death().signal(), Some(9));
    assert_eq!((present(), journals()), (ips(DIARY), 1));

    // The next one finds them, uses them, and does not take for its own what it did not add.
    let plan = ["--target", "62", "--ips", "192.168.1.200-231", "--add-ips", "lo"];
    let ended = run(&[&["--server", &server.at()], &plan[..]].concat());
    ended.expect_code(0).expect_counts(62, 62);
    assert!(ended.warns("ips-left-behind"), "{:?}", ended.record.warnings);
    assert!(ended.stderr.contains("left 30 source addresses on lo"), "{}", ended.stderr);
    assert!(ended.stderr.contains("c10k-swarm --remove-ips"), "{}", ended.stderr);
    assert!(ended.stderr.contains("added 1 of 32 source addresses"), "{}", ended.stderr);
    assert_eq!((present(), journals()), (ips(DIARY), 1));

    let (code, said) = remove_ips();
    assert!(code == Some(0) && said.contains("removed 30 source addresses from lo"), "{said}");
    assert_eq!(present(), ips("192.168.1.205"), "it was there before");
    assert!(!std::path::Path::new(JOURNALS).exists());
    let (code, said) = remove_ips();
    assert!(code == Some(0) && said.contains("nothing was left behind"), "{said}");
}

fn killed_while_adding() {
    let mut most = 0;
    for enough in [1, 100, 1000] {
        let mut swarm = Command::new(PROGRAM)
            .args(["--no-apply", "--target", "5", "--ips", "10.0.0.0-10.0.200.0", "--add-ips", "lo"])
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let give_up = Instant::now() + PATIENCE;
        while present().len() < enough && Instant::now() < give_up {}
        swarm.kill().unwrap();
        swarm.wait().unwrap();
        most = most.max(present().len());
        assert!((enough..51_201).contains(&present().len()), "{} are there", present().len());
        let (code, said) = remove_ips();
        assert_eq!(code, Some(0), "{said}");
        expect_nothing_left();
    }
    assert!(most >= 1000);
}

fn living_swarm() {
    let server = Server::start_at(SERVER, Behaviour::Echo);
    let swarm = held_swarm(&server);
    let (code, said) = remove_ips();
    assert!(code == Some(0) && said.contains("nothing was left behind"), "{said}");
    assert_eq!(add_ips::left_behind().unwrap(), []);
    assert_eq!((present(), journals()), (ips(DIARY), 1));
    swarm.signal(Signal::SIGTERM);
    swarm.wait_for_end().expect_code(143);
    expect_nothing_left();
}

fn left_elsewhere() {
    let server = Server::start_at(SERVER, Behaviour::Echo);
    let swarm = held_swarm(&server);
    swarm.signal(Signal::SIGKILL);
    swarm.wait_for_death();
    // Beside it a namespace with the same addresses, which belong to somebody else.
    let script = "ip link set lo up && ip addr add 192.168.1.200/32 dev lo && \"$0\" --remove-ips; ip -o addr show dev lo";
    let other = Command::new("unshare").args(["--net", "sh", "-c", script, PROGRAM]).output().unwrap();
    let (shown, said) = (String::from_utf8_lossy(&other.stdout), String::from_utf8_lossy(&other.stderr));
    assert!(shown.contains("192.168.1.200/32"), "{shown}{said}");
    assert!(said.contains("left alone") && said.contains("left 31 source addresses"), "{said}");
    assert_eq!(present(), ips(DIARY));
    assert_eq!(remove_ips().0, Some(0));
    expect_nothing_left();

    // One whose namespace died with it leaves nothing but a file, which is forgotten.
    let mut beside = Command::new("unshare");
    beside.args(["--net", "sh", "-c", "ip link set lo up && exec \"$0\" \"$@\"", PROGRAM]);
    let plan = ["--commanded", "--target", "5", "--ips", "192.168.1.200", "--add-ips", "lo"];
    let swarm = Swarm::start_by(beside, &plan);
    swarm.signal(Signal::SIGKILL);
    assert_eq!(swarm.wait_for_death().signal(), Some(9));
    assert_eq!(journals(), 1);
    let (code, said) = remove_ips();
    assert!(code == Some(0) && said.contains("nothing was left behind"), "{said}");
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

fn removed_by_another() {
    let server = Server::start_at(SERVER, Behaviour::Echo);
    let swarm = held_swarm(&server);
    address::remove("lo", ip("192.168.1.230"), 32).unwrap();
    address::add("lo", ip("192.168.1.99"), 32).unwrap();
    swarm.signal(Signal::SIGINT);
    let ended = swarm.wait_for_end();
    assert!(
        ended.stderr.contains("removed 30 source addresses from lo; 1 had gone before"),
        "{}",
        ended.stderr
    );
    assert_eq!(present(), ips("192.168.1.99"), "another's address stays");
    assert!(!std::path::Path::new(JOURNALS).exists());
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
