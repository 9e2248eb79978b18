//! The collector on servers of several processes: whose connections these are.

#[path = "../../c10k-swarm/tests/foreign_servers/mod.rs"]
mod foreign_servers;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::{Duration, Instant};

use c10k_collector::{Collector, CollectorConfig, ProcessSide};
use c10k_kernel::limits;
use foreign_servers::Foreign;
use serde_json::Value;

/// So long may a collector take to say something; only a failure waits for it.
const LONGEST: Duration = Duration::from_secs(60);

/// A collector on a port, that is asked to stop by a line.
struct Watching {
    child: Child,
    people: BufReader<ChildStderr>,
    text: String,
}

impl Watching {
    fn start(port: u16) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_c10k-collector"))
            .args(["--port", &port.to_string(), "--interval", "50ms", "--json"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the collector runs");
        let people = BufReader::new(child.stderr.take().expect("piped"));
        let mut watching = Self { child, people, text: String::new() };
        watching.until(|line| line.contains("connections "));
        watching
    }

    #[track_caller]
    fn until(&mut self, is_it: impl Fn(&str) -> bool) {
        let until = Instant::now() + LONGEST;
        loop {
            assert!(Instant::now() < until, "it never said so: {}", self.text);
            let mut line = String::new();
            assert!(self.people.read_line(&mut line).expect("text") > 0, "it ended: {}", self.text);
            self.text += &line;
            if is_it(&line) {
                return;
            }
        }
    }

    /// Its document and all that it said.
    fn end(&mut self) -> (Value, String) {
        let pid = nix::unistd::Pid::from_raw(self.child.id().cast_signed());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).expect("our process");
        self.people.read_to_string(&mut self.text).expect("text");
        let mut document = Vec::new();
        self.child.stdout.take().expect("piped").read_to_end(&mut document).expect("a document");
        self.child.wait().expect("it ends");
        (serde_json::from_slice(&document).expect("one document"), self.text.clone())
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// So many connections, each echoed to once where the server echoes.
fn connect(server: &Foreign, count: usize, echoes: bool) -> Vec<TcpStream> {
    limits::raise_nofile_soft_to_hard().expect("no privilege is needed");
    let connect = |_| {
        let mut peer = TcpStream::connect(server.at()).expect("room in the queue");
        if echoes {
            peer.write_all(b"x").expect("it is open");
            peer.read_exact(&mut [0]).expect("an echo");
        }
        peer
    };
    (0..count).map(connect).collect()
}

fn status(pid: u32, key: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it is there");
    let line = text.lines().find_map(|line| line.strip_prefix(key)).expect("a line");
    line.split_whitespace().next().and_then(|number| number.parse().ok()).expect("a number")
}

fn descriptors(pid: u32) -> u64 {
    std::fs::read_dir(format!("/proc/{pid}/fd")).expect("it is ours").count() as u64
}

#[track_caller]
fn expect_within(percent: f64, what: &str, is: &Value, should: u64) {
    let is = is.as_u64().unwrap_or_else(|| panic!("{what} is {is}"));
    let off = is.abs_diff(should) as f64 * 100.0;
    assert!(off <= should as f64 * percent, "{what}: {is} for {should}");
}

#[test]
fn who_connects_from_the_port_of_a_server_that_is_gone_is_none_of_its_processes() {
    let Some(mut server) = Foreign::python_echo(64) else { return };
    let mut collector = Collector::new(CollectorConfig {
        server_pid: Some(server.pid),
        finds_holders: true,
        ports: vec![server.port],
        ..CollectorConfig::default()
    })
    .expect("it is there");
    let peers = connect(&server, 5, true);
    collector.snapshot();
    collector.tick();
    assert!(!collector.is_gone(ProcessSide::Server));
    server.kill();
    drop(peers);
    // The port is free, and this process takes it.
    let other = TcpListener::bind("127.0.0.1:0").expect("a port");
    let from = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    from.set_reuse_address(true).expect("an option");
    from.bind(&SocketAddr::from(([127, 0, 0, 1], server.port)).into()).expect("nobody listens there");
    from.connect(&other.local_addr().expect("bound").into()).expect("it listens");
    collector.snapshot();
    let seen = collector.tick();
    assert!(collector.is_gone(ProcessSide::Server), "{:?}", seen.processes);
}

/// Watches while `count` connections are made: what it says of the processes that hold them is what /proc says.
#[track_caller]
fn expect_the_sum_of(server: &Foreign, holders: usize, count: usize, echoes: bool) -> Value {
    let mut watching = Watching::start(server.port);
    let peers = connect(server, count, echoes);
    watching.until(|line| line.contains("take the connections"));
    watching.until(|line| line.contains(&format!("connections {count}  ")));
    // From now on nothing moves: a search that begins after this look sees all.
    watching.until(|line| line.contains(&format!("connections {count}  ")));
    std::thread::sleep(Duration::from_millis(2500));
    let (document, text) = watching.end();
    let last = &document["last"];
    let listed = last["processes"].as_array().expect("a list");
    let held: BTreeMap<u32, u64> = listed
        .iter()
        .filter(|one| one["connections"].as_u64() > Some(0))
        .map(|one| {
            (one["pid"].as_u64().expect("a pid") as u32, one["connections"].as_u64().expect("a count"))
        })
        .collect();
    assert_eq!(held.values().sum::<u64>(), count as u64, "{listed:#?}");
    let workers = server.workers();
    assert_eq!(workers.len(), holders);
    assert!(held.keys().all(|pid| workers.contains(pid)), "{held:?}");
    let sum = |of: &dyn Fn(u32) -> u64| workers.iter().map(|pid| of(*pid)).sum::<u64>();
    let server_seen = &last["server"];
    expect_within(5.0, "rss", &server_seen["rss_bytes"], sum(&|pid| status(pid, "VmRSS:") * 1024));
    expect_within(0.0, "descriptors", &server_seen["descriptors"]["open"], sum(&descriptors));
    expect_within(0.0, "threads", &server_seen["threads"], sum(&|pid| status(pid, "Threads:")));
    for pid in &workers {
        assert!(text.lines().any(|line| line.trim_start().starts_with(&format!("{pid} ("))), "{text}");
    }
    assert!(!text.contains("is not in"), "{text}");
    drop(peers);
    document
}

#[test]
fn four_workers_of_nginx_are_summed() {
    let Some(server) = Foreign::nginx_with(4) else { return };
    expect_the_sum_of(&server, 4, 300, false);
}

#[test]
fn the_workers_of_nodes_cluster_are_summed_and_not_the_process_that_listens() {
    for workers in [2, 4] {
        let Some(server) = Foreign::node_cluster(workers, None) else { return };
        let document = expect_the_sum_of(&server, workers as usize, 280, true);
        let listed = document["last"]["processes"].as_array().expect("a list");
        let first = listed.iter().find(|one| one["pid"] == server.pid).expect("who listens is told too");
        assert_eq!((&first["connections"], &first["is_counted"]), (&0.into(), &false.into()));
    }
}

#[test]
fn eight_processes_with_a_listener_each_are_summed() {
    let Some(server) = Foreign::several("reuseport", 8, None) else { return };
    expect_the_sum_of(&server, 8, 400, true);
}

#[test]
fn sixty_four_processes_with_few_descriptors_each_are_summed() {
    let Some(server) = Foreign::several("reuseport", 64, Some(64)) else { return };
    expect_the_sum_of(&server, 64, 800, true);
}

#[test]
fn of_two_listeners_on_one_port_the_one_at_the_address_has_the_connections() {
    let Some(server) = Foreign::several("twofold", 2, None) else { return };
    let mut watching = Watching::start(server.port);
    let peers = connect(&server, 90, true);
    watching.until(|line| line.contains("connections 90  "));
    std::thread::sleep(Duration::from_millis(2500));
    let (document, text) = watching.end();
    let listed = document["last"]["processes"].as_array().expect("a list");
    let (narrow, wide) = (server.workers()[0], server.workers()[1]);
    let of = |pid: u32| listed.iter().find(|one| one["pid"] == pid).map(|one| one["connections"].clone());
    assert_eq!(of(narrow), Some(90.into()), "{listed:#?}");
    assert!(of(wide).is_none_or(|held| held == 0), "{listed:#?}");
    // Who listens for them is the server too.
    let open = descriptors(narrow) + descriptors(wide);
    expect_within(0.0, "descriptors", &document["last"]["server"]["descriptors"]["open"], open);
    assert!(!text.contains("is not in"), "{text}");
    drop(peers);
}

#[test]
fn processes_that_come_and_go_while_they_are_looked_at_leave_the_figures_as_they_are() {
    let Some(server) = Foreign::several("restless", 3_000, None) else { return };
    let mut watching = Watching::start(server.port);
    let peers = connect(&server, 60, true);
    watching.until(|line| line.contains("connections 60  "));
    std::thread::sleep(Duration::from_millis(4000));
    let (document, text) = watching.end();
    assert_eq!(document["peak_connections"], 60, "no connection is counted for each who has it");
    let listed = document["last"]["processes"].as_array().expect("a list");
    let first = listed.iter().find(|one| one["pid"] == server.pid).expect("it is there all the time");
    assert_eq!(first["connections"], 60, "{listed:#?}");
    assert!(document["last"]["server"]["rss_bytes"].as_u64() > Some(1 << 20), "{document:#}");
    assert!(text.lines().filter(|line| line.contains("ended")).count() < 20, "a line for each: {text}");
    drop(peers);
}

#[test]
fn children_that_accept_from_their_parents_listener_are_summed() {
    let Some(server) = Foreign::several("prefork", 3, None) else { return };
    expect_the_sum_of(&server, 3, 200, true);
}

#[test]
fn processes_to_which_connections_are_handed_over_are_summed() {
    let Some(server) = Foreign::several("passing", 3, None) else { return };
    let document = expect_the_sum_of(&server, 3, 210, true);
    let user = document["memory_per_connection"]["server_user_bytes"].as_f64().expect("their memory grew");
    assert!(user > 100.0, "a socket object a connection costs more than {user} B");
}

#[test]
fn a_child_that_is_forked_in_the_middle_is_found() {
    let Some(server) = Foreign::several("late", 50, None) else { return };
    let mut watching = Watching::start(server.port);
    let peers = connect(&server, 200, true);
    watching.until(|line| line.contains("2 processes take the connections"));
    let (document, _) = watching.end();
    let listed = document["last"]["processes"].as_array().expect("a list");
    let held: Vec<(u64, u64)> =
        listed.iter().filter_map(|one| Some((one["pid"].as_u64()?, one["connections"].as_u64()?))).collect();
    let child = u64::from(server.workers()[0]);
    assert_eq!(held.len(), 2, "{listed:#?}");
    assert!(held.contains(&(u64::from(server.pid), 50)) && held.contains(&(child, 150)), "{held:?}");
    drop(peers);
}

/// Connects to itself, and leaves the server's ends to a child.
const HANDED_ON: &str = r#"
import os, socket, time
listener = socket.create_server(("127.0.0.1", 0), backlog=64)
clients = [socket.create_connection(listener.getsockname()) for _ in range(30)]
servers = [listener.accept()[0] for _ in range(30)]
if os.fork() == 0:
    for peer in clients + [listener]:
        peer.close()
    time.sleep(600)
for peer in servers:
    peer.close()
print(listener.getsockname()[1], flush=True)
time.sleep(600)
"#;

#[test]
fn a_server_in_a_network_namespace_of_its_own_is_looked_into_by_its_pid() {
    let mut command = Command::new("unshare");
    command.args(["--net", "sh", "-c", "ip link set lo up && exec python3 -c \"$0\"", HANDED_ON]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0);
    let mut child = command.spawn().expect("unshare(1) is there");
    let mut line = String::new();
    let said = BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line);
    let group = nix::unistd::Pid::from_raw(child.id().cast_signed());
    if said.is_ok_and(|bytes| bytes > 0) {
        let output = Command::new(env!("CARGO_BIN_EXE_c10k-collector"))
            .args(["--pid", &child.id().to_string(), "--port", line.trim()])
            .args(["--interval", "50ms", "--duration", "200ms", "--json"])
            .output()
            .expect("the collector runs");
        let _ = nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL);
        let document: Value = serde_json::from_slice(&output.stdout).expect("one document");
        assert_eq!(document["peak_connections"], 30, "{document:#}");
        let held = document["last"]["processes"].as_array().expect("a list");
        let held: Vec<&Value> = held.iter().filter(|one| one["connections"] == 30).collect();
        assert_eq!(held.len(), 1, "the child has them: {document:#}");
        assert_ne!(held[0]["pid"], child.id());
    } else {
        #[allow(clippy::print_stderr, reason = "what was skipped is said aloud")]
        {
            eprintln!("SKIPPED: no network namespace may be made here, or there is no python3");
        }
    }
    let _ = nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL);
    let _ = child.wait();
}

#[test]
fn of_another_users_workers_what_may_not_be_read_is_null_and_said_once() {
    if !nix::unistd::geteuid().is_root() {
        #[allow(clippy::print_stderr, reason = "what was skipped is said aloud")]
        {
            eprintln!("SKIPPED: it takes root to be two users");
        }
        return;
    }
    let Some(server) = Foreign::several("prefork", 3, None) else { return };
    let peers = connect(&server, 60, true);
    let open_to_all = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    let folder = tempfile::Builder::new().permissions(open_to_all).tempdir().expect("a folder");
    let program = folder.path().join("c10k-collector");
    std::fs::copy(env!("CARGO_BIN_EXE_c10k-collector"), &program).expect("copied");
    let look = |arguments: &[&str]| {
        let mut command = Command::new(&program);
        command.uid(65_534).gid(65_534).args(arguments).args(["--port", &server.port.to_string()]);
        let output =
            command.args(["--interval", "50ms", "--duration", "300ms", "--json"]).output().expect("it runs");
        let document: Value = serde_json::from_slice(&output.stdout).expect("one document");
        (document["last"].clone(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (last, text) = look(&["--pid", &server.pid.to_string()]);
    let listed = last["processes"].as_array().expect("a list");
    assert_eq!(listed.len(), 4, "{listed:#?}");
    assert!(
        listed.iter().all(|one| one["connections"].is_null()),
        "nobody's tables may be read: {listed:#?}"
    );
    let sum: u64 = server.workers().iter().map(|pid| status(*pid, "VmRSS:") * 1024).sum();
    expect_within(5.0, "rss", &last["server"]["rss_bytes"], sum);
    assert_eq!(text.matches("smaps_rollup").count(), 1, "{text}");
    assert_eq!(text.matches("other users' processes").count(), 1, "{text}");
    // Nor is it known who listens.
    let (last, text) = look(&[]);
    assert!(
        last["server"]["rss_bytes"].is_null() && last["processes"] == Value::Array(Vec::new()),
        "{last:#}"
    );
    assert_eq!(text.matches("who holds 60 of 60 connections").count(), 1, "{text}");
    drop(peers);
}
