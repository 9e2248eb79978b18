//! What a swarm has changed is put back at every end there is, or told.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this is its own test harness")]

mod common;
mod namespaces;

use std::io::Read as _;
use std::os::unix::process::ExitStatusExt as _;
use std::panic::catch_unwind;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use c10k_kernel::address;
use c10k_record::Record;
use c10k_swarm::add_ips::{self, AddedIps};
use common::server::{Behaviour, Server};
use common::{PATIENCE, PROGRAM, Swarm, run};
use namespaces::{
    Case, DIARY, JOURNALS, SERVER, added_by_the_journal, expect_nothing_left, held_swarm, ip, ips, journals,
    present, remove_ips,
};
use nix::mount::{MsFlags, mount};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const CASES: &[Case] = &[
    ("what_cannot_be_removed_is_told_by_the_exit_code_and_stays_written_down", not_removable),
    ("a_first_signal_removes_them_at_an_orderly_end", first_signal),
    ("a_second_signal_removes_them_at_once", second_signal),
    ("a_closed_terminal_removes_them", closed_terminal),
    ("a_panic_removes_them", panicking),
    ("a_killed_swarm_is_noticed_and_undone_exactly", killed_in_the_hold),
    ("a_swarm_killed_while_adding_is_undone_whole", killed_while_adding),
    ("what_a_living_swarm_added_is_left_alone", living_swarm),
    ("what_was_left_elsewhere_is_left_alone_until_its_namespace_is_gone", left_elsewhere),
    ("an_address_removed_by_somebody_else_is_no_fault", removed_by_another),
    ("settings_that_cannot_be_put_back_are_told_by_the_exit_code_and_with_the_command", settings_that_stay),
    ("settings_that_a_second_signal_cannot_put_back_are_told_too", settings_that_stay_at_once),
];

fn main() -> ExitCode {
    namespaces::run_each(CASES)
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
    assert!(said.contains("hint: c10k-swarm --remove-ips tries again"), "{said}");
    for ip in ips(DIARY) {
        assert!(said.contains(&format!("sudo ip addr del {ip}/32 dev lo")), "{ip}: {said}");
    }
    assert_eq!((present(), journals()), (ips(DIARY), 1));
    assert_eq!(remove_ips().0, Some(0));
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
        // The kernel cannot list addresses in peace while they are being added.
        while added_by_the_journal() < enough && Instant::now() < give_up {}
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

/// A swarm in the hold whose profile is in force, and then nothing below /proc/sys can be written any more.
fn swarm_with_settings_that_stay(server: &Server) -> Option<Child> {
    let somaxconn = || std::fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap();
    let before = somaxconn();
    let mut swarm = Command::new(PROGRAM)
        .args(["--profile", "tuned", "--target", "20", "--hold", "10m", "--json", "--server", &server.at()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let give_up = Instant::now() + PATIENCE;
    while server.open() < 20 && Instant::now() < give_up {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_ne!(somaxconn(), before, "the profile is in force");
    let (none, folder) = (None::<&str>, "/proc/sys");
    let read_only = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY;
    let over_itself = mount(Some(folder), folder, none, MsFlags::MS_BIND, none);
    if over_itself.and_then(|()| mount(none, folder, none, read_only, none)).is_err() {
        println!("SKIPPED: {folder} may not be made read-only here");
        swarm.kill().and_then(|()| swarm.wait()).unwrap();
        return None;
    }
    Some(swarm)
}

#[track_caller]
fn expect_told(said: &str) {
    assert!(said.contains("error: ") && said.contains("net.core.somaxconn"), "{said}");
    assert!(said.contains("hint: ") && said.contains("sysctl -w"), "{said}");
}

fn settings_that_stay() {
    let server = Server::start_at("127.0.0.1:0", Behaviour::Echo);
    let Some(swarm) = swarm_with_settings_that_stay(&server) else { return };
    kill(Pid::from_raw(swarm.id().cast_signed()), Signal::SIGINT).unwrap();
    let output = swarm.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(4), "{said}");
    expect_told(&said);
    let record: Record = serde_json::from_slice(&output.stdout).unwrap();
    assert!(record.warnings.iter().any(|warning| warning.id == "rollback"), "{:?}", record.warnings);
}

fn settings_that_stay_at_once() {
    let server = Server::start_at("127.0.0.1:0", Behaviour::Echo);
    let Some(mut swarm) = swarm_with_settings_that_stay(&server) else { return };
    let swarm_is = Pid::from_raw(swarm.id().cast_signed());
    // It hears the second one whether its orderly end has come that far or not.
    kill(swarm_is, Signal::SIGINT).unwrap();
    let _ = kill(swarm_is, Signal::SIGTERM);
    let mut said = String::new();
    swarm.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(swarm.wait().unwrap().code(), Some(4), "{said}");
    expect_told(&said);
}
