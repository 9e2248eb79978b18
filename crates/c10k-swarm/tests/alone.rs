//! What a swarm that nobody leads learns of servers of other makers, as the lab does: their processes, the age of what they
//! end, and whether the server or the way is silent.

mod foreign_servers;

use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use c10k_kernel::census::{PortSet, SockDiag, State, States};
use c10k_kernel::namespace::Beside;
use c10k_record::{Ceiling, Degree, Record};
use foreign_servers::Foreign;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

/// So long is waited for a state; only a failure waits for it.
const PATIENCE: Duration = Duration::from_secs(40);
const SWARM: &str = env!("CARGO_BIN_EXE_c10k-swarm");

#[allow(clippy::print_stderr, reason = "what was skipped is said aloud")]
fn skipped(why: &str) {
    eprintln!("SKIPPED: {why}");
}

fn swarm(command: &mut Command, at: &str, arguments: &[&str]) -> Child {
    command
        .args(["--server", at, "--json", "--close", "rst", "--in-flight", "32"])
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the swarm runs")
}

fn record_of(swarm: Child) -> Record {
    let output = swarm.wait_with_output().expect("it ends");
    serde_json::from_slice(&output.stdout).expect("a record")
}

fn run(at: &str, arguments: &[&str]) -> Record {
    record_of(swarm(&mut Command::new(SWARM), at, arguments))
}

#[track_caller]
fn expect<'a>(record: &'a Record, wall: &str, degree: Degree) -> &'a Ceiling {
    let ceiling = record.ceiling.as_ref().unwrap_or_else(|| panic!("no wall: {:?}", record.connections));
    assert_eq!((ceiling.wall.as_str(), ceiling.degree), (wall, Some(degree)), "{ceiling:#?}");
    ceiling
}

#[test]
fn the_processes_of_nodes_cluster_are_told() {
    let Some(server) = Foreign::node_cluster(2, Some(400)) else { return };
    let record = run(&server.at(), &["--target", "560", "--hold", "2500ms"]);
    assert_eq!((record.connections.held, &record.ceiling), (560, &None));
    let held: Vec<_> = record.processes.iter().filter(|process| process.connections > Some(0)).collect();
    let pids: Vec<u32> = held.iter().map(|process| process.pid).collect();
    assert_eq!(pids, server.workers(), "{:?}", record.processes);
    assert_eq!(held.iter().filter_map(|process| process.connections).sum::<u64>(), 560);
    assert!(held.iter().all(|process| process.counted && process.rss_bytes > Some(20 << 20)), "{held:?}");
    assert!(held.iter().all(|process| process.private_bytes.is_some() && process.nofile == Some(400)));
}

#[test]
fn the_limits_of_several_processes_are_foreseen_and_the_one_that_is_full_is_named() {
    let Some(server) = Foreign::several("reuseport", 8, Some(136)) else { return };
    let record = run(
        &server.at(),
        &["--target", "1100", "--hold", "1s", "--probe-timeout", "3s", "--connect-timeout", "3s"],
    );
    let ceiling = record.ceiling.as_ref().expect("short");
    assert_eq!(ceiling.wall, "nofile-server", "{ceiling:#?}");
    let predicted = ceiling.predicted.as_ref().expect("the limits are known");
    assert_eq!(predicted.wall, "nofile-server");
    assert!((900..=1088).contains(&predicted.connections), "{predicted:?}");
    assert!(record.processes.iter().filter(|process| process.counted).count() == 8, "{:?}", record.processes);
}

/// Ends a connection three seconds after its last byte.
const FORGETS: &str = r#"
import asyncio

async def serve(reader, writer):
    try:
        while data := await asyncio.wait_for(reader.read(65536), 3):
            writer.write(data)
    except (ConnectionError, asyncio.TimeoutError):
        pass
    writer.close()

async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()

asyncio.run(main())
"#;

#[test]
fn an_idle_limit_is_told_by_the_age_that_all_lost_ones_have() {
    let started = Command::new("python3")
        .args(["-c", FORGETS])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let Ok(mut server) = started else { return skipped("python3 does not run here") };
    let mut port = String::new();
    BufReader::new(server.stdout.take().expect("piped")).read_line(&mut port).expect("a line");
    let at = format!("127.0.0.1:{}", port.trim());
    // One after the other for a second: what they have in common is an age, and not a moment.
    let record = run(&at, &["--target", "200", "--rate", "200/s", "--hold", "5s"]);
    let _ = (server.kill(), server.wait());
    assert_eq!((record.connections.verified, record.connections.held), (Some(200), 0));
    let ages = record.evidence.ages.as_ref().expect("they were ended");
    let age = ages.since_last_byte.as_ref().expect("it is known");
    assert!(age.count == 200 && age.is_one_age() && age.p50_ms.abs_diff(3_000) < 400, "{age:?}");
    let moments = ages.at.as_ref().expect("it is known");
    assert!(moments.width_ms() > age.width_ms(), "{ages:?}");
    let ceiling = expect(&record, "server-idle-limit", Degree::Proven);
    assert_eq!(ceiling.walls.len(), 1, "{ceiling:#?}");
}

#[test]
fn a_way_that_drops_what_is_sent_is_told_from_a_server_that_is_stopped() {
    let beside = match Beside::new() {
        Ok(beside) => beside,
        Err(error) => return skipped(&format!("no network namespace can be made: {error}")),
    };
    let command = |words: &[&str]| {
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        // What it forks ends with it.
        command.process_group(0);
        beside.start_in(&mut command).expect("the namespace lives");
        command
    };
    let rule = "add table ip f; add chain ip f i { type filter hook input priority 0; }; add rule ip f i tcp dport 9000 drop";
    let is_installed = Command::new("nft").arg("-v").output().is_ok_and(|output| output.status.success());
    let started = command(&["socat", "TCP-LISTEN:9000,bind=127.0.0.1,fork,backlog=256", "EXEC:cat"]).spawn();
    let (true, Ok(mut server)) = (is_installed, started) else {
        return skipped("nft or socat does not run here");
    };
    let at = SocketAddr::from(([127, 0, 0, 1], 9000));
    let until = Instant::now() + PATIENCE;
    while beside.inside(|| TcpStream::connect(at)).expect("a thread inside").is_err() {
        assert!(Instant::now() < until, "nobody listens");
        std::thread::sleep(Duration::from_millis(20));
    }
    let patience = ["--connect-timeout", "4s", "--probe-timeout", "4s", "--hold", "3s", "--target", "60"];
    let swarm = swarm(&mut command(&[SWARM]), "127.0.0.1:9000", &patience);
    let mut diag = beside.inside(SockDiag::open).expect("a thread inside").expect("sock_diag");
    let mut held = || {
        let census = diag.census(States::of(&[State::Established]), &PortSet::of(&[9000]));
        census.expect("sock_diag").client_side
    };
    while held() < 60 {
        assert!(Instant::now() < until, "they do not come");
        std::thread::sleep(Duration::from_millis(10));
    }
    // The last of them has its first echo.
    std::thread::sleep(Duration::from_millis(700));
    assert!(command(&["nft", rule]).status().expect("nft runs").success());
    let record = record_of(swarm);
    let _ = (killpg(Pid::from_raw(server.id().cast_signed()), Signal::SIGKILL), server.wait());
    assert_eq!((record.connections.verified, record.connections.held), (Some(60), 0));
    let silent = record.evidence.silent.expect("it was looked at");
    assert!(silent.unacked > 0 && silent.new_connects == Some(false), "{silent:?}");
    assert!(record.evidence.rules.is_some_and(|rules| rules.all > 0), "{:?}", record.evidence.rules);
    expect(&record, "path-lost", Degree::Likely);
}
