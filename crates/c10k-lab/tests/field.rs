//! Situations that people meet with servers, proxies and ways of their own, against the real programs, in network
//! namespaces that the test makes.

#[path = "../../c10k-swarm/tests/foreign_servers/mod.rs"]
mod foreign_servers;

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use c10k_ceiling::{Findings, counter, diagnose};
use c10k_collector::{answers, silent_sample};
use c10k_kernel::census::{PortSet, SockDiag, State, States};
use c10k_kernel::counters::{NetCounters, ProcRoot};
use c10k_kernel::namespace::Beside;
use c10k_kernel::{address, link};
use c10k_record::{Ceiling, CounterChange, Degree, Failure, Outcome, PhaseName, Record};
use foreign_servers::Foreign;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

/// So long is waited for a state; only a failure waits for it.
const PATIENCE: Duration = Duration::from_secs(40);

#[allow(clippy::print_stderr, reason = "what was skipped is said aloud")]
fn skipped(why: &str) {
    eprintln!("SKIPPED: {why}");
}

/// A network namespace, and what was started in it, which ends with this value.
struct Net {
    beside: Beside,
    children: Vec<Child>,
}

impl Net {
    /// `None`, said aloud, where none can be made.
    fn new() -> Option<Self> {
        match Beside::new() {
            Ok(beside) => Some(Self { beside, children: Vec::new() }),
            Err(error) => {
                skipped(&format!("no network namespace can be made: {error}"));
                None
            }
        }
    }

    fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.beside.inside(work).expect("a thread inside")
    }

    fn set(&self, key: &str, value: &str) {
        let file = format!("/proc/sys/{}", key.replace('.', "/"));
        self.inside(|| std::fs::write(&file, value)).unwrap_or_else(|error| panic!("{key}: {error}"));
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).stdin(Stdio::null());
        self.beside.start_in(&mut command).expect("the namespace lives");
        command
    }

    /// Starts a program that goes on; its pid.
    fn start(&mut self, words: &[&str]) -> u32 {
        let mut command = self.command(words);
        // What it forks ends with it.
        command.process_group(0).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().expect("it is installed");
        self.children.push(child);
        self.children[self.children.len() - 1].id()
    }

    /// Runs a program that must succeed.
    fn run(&self, words: &[&str]) {
        let output = self.command(words).output().expect("it is installed");
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn nft(&self, rules: &str) {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("rules.nft");
        std::fs::write(&file, rules).expect("written");
        self.run(&["nft", "-f", &file.display().to_string()]);
    }

    fn await_listener(&self, port: u16) {
        let until = Instant::now() + PATIENCE;
        let at = SocketAddr::from(([127, 0, 0, 1], port));
        while self.inside(|| TcpStream::connect(at)).is_err() {
            assert!(Instant::now() < until, "nobody listens on {at}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// A run of the lab on the server on this port.
    fn lab(&self, port: u16, arguments: &[&str]) -> Record {
        let (_results, words) = lab_words(port, "500ms", arguments);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        run_lab(&mut self.command(&words))
    }
}

/// The words of a run on the server on this port, and the folder of its results.
fn lab_words(port: u16, hold: &str, arguments: &[&str]) -> (tempfile::TempDir, Vec<String>) {
    let results = tempfile::tempdir().expect("a folder");
    let (folder, port) = (results.path().display().to_string(), port.to_string());
    let mut words = vec![LAB, "run", "--json", "--results", &folder, "--server-port", &port];
    words.extend(["--hold", hold, "--close", "rst", "--in-flight", "32"]);
    words.extend(arguments);
    let words = words.into_iter().map(str::to_owned).collect();
    (results, words)
}

fn run_lab(command: &mut Command) -> Record {
    let output = command.output().expect("the lab runs");
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("no record: {}", String::from_utf8_lossy(&output.stderr)))
}

impl Drop for Net {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = killpg(Pid::from_raw(child.id().cast_signed()), Signal::SIGKILL);
            let _ = child.wait();
        }
    }
}

fn is_installed(program: &str, asked: &str) -> bool {
    let mut command = Command::new(program);
    let found = command.arg(asked).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !found.is_ok_and(|status| status.success()) {
        skipped(&format!("{program} does not run here"));
        return false;
    }
    true
}

#[track_caller]
fn expect(record: &Record, wall: &str, degree: Degree) -> Ceiling {
    let ceiling = record.ceiling.clone().unwrap_or_else(|| panic!("no wall: {:?}", record.connections));
    assert_eq!((ceiling.wall.as_str(), ceiling.degree), (wall, Some(degree)), "{ceiling:#?}");
    ceiling
}

const LAB: &str = env!("CARGO_BIN_EXE_c10k-lab");

#[test]
fn nginx_without_source_ports_to_what_is_behind_it_has_one_name_at_every_target() {
    let Some(mut net) = Net::new() else { return };
    if !is_installed("nginx", "-v") {
        return;
    }
    net.set("net.ipv4.ip_local_port_range", "20000 20299");
    net.start(&[LAB, "server", "--listen", "127.0.0.1:9001", "--protocol", "ws"]);
    net.await_listener(9001);
    let folder = tempfile::tempdir().expect("a folder");
    let place = folder.path().display();
    let conf = format!(
        "user root;\ndaemon off;\nworker_processes 2;\npid {place}/pid;\nevents {{ worker_connections 2000; }}\n\
         http {{\n access_log off;\n client_body_temp_path {place}/body;\n proxy_temp_path {place}/proxy;\n \
         fastcgi_temp_path {place}/fastcgi;\n uwsgi_temp_path {place}/uwsgi;\n scgi_temp_path {place}/scgi;\n \
         server {{ listen 127.0.0.1:9000 backlog=1024; location / {{ proxy_pass http://127.0.0.1:9001; \
         proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade; }} }}\n}}\n"
    );
    std::fs::write(folder.path().join("nginx.conf"), conf).expect("written");
    net.start(&["nginx", "-p", &place.to_string(), "-c", "nginx.conf", "-e", "error.log"]);
    net.await_listener(9000);
    let run = |target: &str| {
        // Over loopback a port in TIME_WAIT may be taken again when it is a second old (tcp_tw_reuse = 2).
        std::thread::sleep(Duration::from_millis(2_100));
        net.lab(9000, &["--protocol", "ws", "--ips", "127.0.0.2-127.0.0.9", "--target", target])
    };
    let fits = run("100");
    assert_eq!((fits.connections.held, fits.ceiling), (100, None));
    for target in ["305", "400", "900"] {
        let record = run(target);
        assert_eq!(record.connections.held, 300, "{:?}", record.connections);
        let ceiling = expect(&record, "proxy-ports-exhausted", Degree::Proven);
        assert!(ceiling.evidence.iter().any(|evidence| evidence.text.contains("127.0.0.1:9001")));
    }
    let fits = run("100");
    assert_eq!((fits.connections.held, fits.ceiling), (100, None));
}

#[test]
fn a_proof_that_nobody_answers_is_looked_into_whether_the_server_or_the_way_is_silent() {
    let Some(mut net) = Net::new() else { return };
    if !is_installed("nft", "-v") {
        return;
    }
    let pid = net.start(&[LAB, "server", "--listen", "127.0.0.1:9000"]);
    net.await_listener(9000);
    let mut diag = net.inside(SockDiag::open).expect("sock_diag");
    let mut run = |silence: &dyn Fn()| {
        let patience = ["--connect-timeout", "4s", "--probe-timeout", "4s", "--target", "100"];
        let (_results, words) = lab_words(9000, "3s", &patience);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let lab = net.command(&words).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it runs");
        let until = Instant::now() + PATIENCE;
        let held = |diag: &mut SockDiag| {
            let census = diag.census(States::of(&[State::Established]), &PortSet::of(&[9000]));
            census.expect("sock_diag").client_side
        };
        while held(&mut diag) < 100 {
            assert!(Instant::now() < until, "they do not come");
            std::thread::sleep(Duration::from_millis(10));
        }
        // The last of them has its first echo.
        std::thread::sleep(Duration::from_millis(500));
        silence();
        let output = lab.wait_with_output().expect("it ends");
        serde_json::from_slice::<Record>(&output.stdout).expect("a record")
    };
    let signal = |name: &str| net.run(&["kill", name, &pid.to_string()]);
    let stopped = run(&|| signal("-STOP"));
    signal("-CONT");
    expect(&stopped, "server-stopped-accepting", Degree::Proven);
    assert_eq!(stopped.evidence.silent.expect("looked at").unacked, 0, "its kernel answers");
    let dropped = run(&|| {
        net.nft("table ip f {\n chain i { type filter hook input priority 0; tcp dport 9000 drop\n }\n}\n");
    });
    let ceiling = expect(&dropped, "path-lost", Degree::Likely);
    assert_eq!(ceiling.walls.len(), 1, "{ceiling:#?}");
}

/// HAProxy before a server of ours, with so many connections at the most; `None`, said aloud, where it cannot be.
fn haproxy(maxconn: u32, ports: &str) -> Option<(Net, tempfile::TempDir)> {
    let mut net = Net::new()?;
    if !is_installed("haproxy", "-v") {
        return None;
    }
    net.set("net.ipv4.ip_local_port_range", ports);
    net.start(&[LAB, "server", "--listen", "127.0.0.1:9001"]);
    net.await_listener(9001);
    let folder = tempfile::tempdir().expect("a folder");
    let conf = format!(
        "global\n maxconn {maxconn}\ndefaults\n mode tcp\n retries 0\n timeout connect 5s\n timeout client 1m\n timeout \
         server 1m\nlisten l\n bind 127.0.0.1:9000 backlog 1000\n server s 127.0.0.1:9001\n"
    );
    let file = folder.path().join("haproxy.cfg");
    std::fs::write(&file, conf).expect("written");
    net.start(&["haproxy", "-db", "-f", &file.display().to_string()]);
    net.await_listener(9000);
    Some((net, folder))
}

#[test]
fn haproxy_at_its_maxconn_stands_at_a_limit_of_its_own_whatever_was_asked_for() {
    for target in ["140", "300"] {
        let Some((net, _folder)) = haproxy(100, "20000 29999") else { return };
        let patience = ["--connect-timeout", "4s", "--probe-timeout", "4s", "--target", target];
        let record = net.lab(9000, &patience);
        assert_eq!(record.connections.held, 100, "{:?}", record.connections);
        let ceiling = expect(&record, "server-limit", Degree::Likely);
        assert_eq!(ceiling.walls.len(), 1, "{ceiling:#?}");
    }
}

#[test]
fn haproxy_without_source_ports_is_named_just_so_over_raw_connections() {
    let Some((net, _folder)) = haproxy(5_000, "20000 20199") else { return };
    let record = net.lab(9000, &["--ips", "127.0.0.2-127.0.0.9", "--target", "500"]);
    assert!(record.connections.held <= 200, "{:?}", record.connections);
    expect(&record, "proxy-ports-exhausted", Degree::Proven);
}

#[test]
fn a_rule_that_rejects_beyond_a_number_of_one_source_is_no_missing_server() {
    let Some(mut net) = Net::new() else { return };
    if !is_installed("nft", "-v") {
        return;
    }
    net.start(&[LAB, "server", "--listen", "127.0.0.1:9000"]);
    net.await_listener(9000);
    for reject in ["reject with tcp reset", "reject with icmp port-unreachable"] {
        net.nft(&format!(
            "flush ruleset\ntable ip f {{\n set s {{ type ipv4_addr; size 65535; flags dynamic; }}\n chain i {{ type filter \
             hook input priority 0;\n  tcp dport 9000 ct state new add @s {{ ip saddr ct count over 200 }} {reject}\n }}\n}}\n"
        ));
        let record = net.lab(9000, &["--ips", "127.0.0.2", "--target", "400"]);
        assert_eq!(record.connections.held, 200, "{:?}", record.connections);
        expect(&record, "filter-rejects", Degree::Proven);
        let fits = net.lab(9000, &["--ips", "127.0.0.3", "--target", "150"]);
        assert_eq!((fits.connections.held, fits.ceiling), (150, None));
    }
}

#[test]
fn a_server_that_closes_what_comes_on_top_stands_at_a_limit_whatever_was_asked_for() {
    for target in ["320", "600"] {
        let Some(server) = Foreign::python_echo_that_takes(300) else { return };
        let words = lab_words(server.port, "500ms", &["--target", target, "--rate", "400/s"]);
        let mut command = Command::new(LAB);
        let record = run_lab(command.args(&words.1[1..]).stdin(Stdio::null()));
        assert_eq!(record.connections.held, 300, "{:?}", record.connections);
        let ceiling = expect(&record, "server-limit", Degree::Likely);
        assert!(ceiling.remedy.is_some_and(|remedy| remedy.summary.starts_with("First prove it")));
    }
}

/// Echoes, and blocks for a while with each that it accepts, as a handler does that asks a database.
const BLOCKS: &str = r#"
import asyncio, sys, time

async def serve(reader, writer):
    time.sleep(0.03)
    try:
        while data := await reader.read(65536):
            writer.write(data)
    except ConnectionError:
        pass

async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 9000, backlog=16)
    await server.serve_forever()

asyncio.run(main())
"#;

#[test]
fn a_server_that_accepts_slowly_throughout_has_neither_stopped_nor_a_limit() {
    let Some(mut net) = Net::new() else { return };
    if !is_installed("python3", "--version") {
        return;
    }
    net.start(&["python3", "-c", BLOCKS]);
    net.await_listener(9000);
    let hurry = ["--connect-timeout", "3s", "--probe-timeout", "400ms"];
    let record = net.lab(9000, &[&hurry[..], &["--target", "400"]].concat());
    let c = &record.connections;
    assert!(c.held > 0 && c.held < 400, "{c:?}");
    let ceiling = record.ceiling.as_ref().expect("it is short");
    for wrong in ["server-stopped-accepting", "server-limit", "not-an-echo-server", "firewall-drop"] {
        assert!(!ceiling.walls.iter().any(|wall| wall.name == wrong), "{ceiling:#?}");
    }
}

/// A client, a router and a server behind it, each in a namespace of its own.
struct Way {
    client: Net,
    router: Net,
    server: Net,
    at: SocketAddr,
}

impl Way {
    fn new() -> Option<Self> {
        let (client, router, server) = (Net::new()?, Net::new()?, Net::new()?);
        let pair = |here: &str, own: [u8; 4], there: &str, theirs: [u8; 4], other: &Net| {
            router.inside(|| {
                link::add_veth_pair(here, there, &other.beside)?;
                address::add(here, IpAddr::from(own), 24)?;
                address::set_up(here)
            })?;
            other.inside(|| {
                address::add(there, IpAddr::from(theirs), 24)?;
                address::set_up(there)
            })
        };
        let made = pair("rc", [10, 91, 0, 1], "c0", [10, 91, 0, 2], &client)
            .and_then(|()| pair("rs", [10, 92, 0, 1], "s0", [10, 92, 0, 2], &server));
        if let Err(error) = made {
            skipped(&format!("no link between namespaces can be made: {error}"));
            return None;
        }
        router.set("net.ipv4.ip_forward", "1");
        client.run(&["ip", "route", "add", "default", "via", "10.91.0.1"]);
        Some(Self { client, router, server, at: SocketAddr::from(([10, 92, 0, 2], 9000)) })
    }

    fn listen(&self) -> TcpListener {
        self.server.inside(|| TcpListener::bind(self.at)).expect("its own address")
    }

    fn connect(&self, listener: &TcpListener, count: usize) -> Vec<(TcpStream, TcpStream)> {
        let connect = || TcpStream::connect_timeout(&self.at, PATIENCE).expect("the way is there");
        let pairs = (0..count).map(|_| {
            let mut client = self.client.inside(connect);
            let mut server = listener.accept().expect("it came").0;
            client.write_all(&[7; 64]).expect("open");
            server.read_exact(&mut [0; 64]).expect("it came");
            server.write_all(&[7; 64]).expect("open");
            client.read_exact(&mut [0; 64]).expect("it came back");
            (client, server)
        });
        pairs.collect()
    }
}

/// What a swarm would say that held so many of which nobody is answered in the proof, with what TCP knew of them.
fn silenced(count: u64, silent: c10k_record::SilentSample) -> Findings {
    let mut findings = Findings::default();
    let c = &mut findings.connections;
    (c.target, c.attempted, c.established, c.verified) = (count, count, count, Some(count));
    c.add_failed(Outcome::probe_timeout(), count);
    findings.plan.probe = true;
    findings.failures = vec![Failure {
        phase: PhaseName::Verify,
        outcome: Outcome::probe_timeout(),
        count,
        first_at_ms: 9_000,
    }];
    findings.evidence.silent = Some(silent);
    findings
}

#[test]
fn a_router_that_forgets_what_is_silent_is_told_from_a_way_that_is_gone() {
    const COUNT: usize = 30;
    let Some(way) = Way::new() else { return };
    if !is_installed("nft", "-v") {
        return;
    }
    way.router.nft(
        "table ip n {\n chain p { type nat hook postrouting priority 100; oifname \"rs\" masquerade\n }\n chain f { type \
         filter hook forward priority 0; ct state invalid drop\n }\n}\n",
    );
    way.router.set("net.netfilter.nf_conntrack_tcp_timeout_established", "2");
    way.router.set("net.netfilter.nf_conntrack_tcp_loose", "0");
    let listener = way.listen();
    let mut pairs = way.connect(&listener, COUNT);
    let mut diag = way.client.inside(SockDiag::open).expect("sock_diag");
    // An entry whose time is over is found no more, whenever it is swept away.
    std::thread::sleep(Duration::from_millis(3_500));
    for (client, _) in &mut pairs {
        client.write_all(&[8; 64]).expect("it says ESTABLISHED");
    }
    let sent = Instant::now();
    let seen = loop {
        let seen = silent_sample(&mut diag, &[way.at], COUNT as u64, sent.elapsed()).expect("they are open");
        if seen.unacked == COUNT as u64 {
            break seen;
        }
        assert!(sent.elapsed() < PATIENCE, "{seen:?}");
        std::thread::sleep(Duration::from_millis(50));
    };
    assert!(seen.quiet_ms.is_some_and(|quiet| quiet >= 1_500), "{seen:?}");
    let name = |new_connects| {
        let silent = c10k_record::SilentSample { new_connects: Some(new_connects), ..seen };
        diagnose(&silenced(COUNT as u64, silent), None).expect("short").wall
    };
    assert_eq!(name(way.client.inside(|| answers(way.at, PATIENCE))), "middlebox-forgets");
    // The same with the link gone.
    way.router.run(&["ip", "link", "set", "rs", "down"]);
    assert_eq!(name(way.client.inside(|| answers(way.at, Duration::from_secs(1)))), "path-lost");
}

#[test]
fn a_server_that_stands_still_acknowledges_all_the_same() {
    let Some(way) = Way::new() else { return };
    way.server.run(&["ip", "route", "add", "default", "via", "10.92.0.1"]);
    let listener = way.listen();
    let mut pairs = way.connect(&listener, 10);
    let mut diag = way.client.inside(SockDiag::open).expect("sock_diag");
    for (client, _) in &mut pairs {
        client.write_all(&[8; 64]).expect("open");
    }
    // Nobody reads it: as with a process that is stopped.
    let sent = Instant::now();
    std::thread::sleep(Duration::from_millis(700));
    let seen = silent_sample(&mut diag, &[way.at], 10, sent.elapsed()).expect("they are open");
    assert_eq!((seen.sampled, seen.unacked), (10, 0), "{seen:?}");
    let ceiling = diagnose(&silenced(10, seen), None).expect("short");
    assert_eq!(ceiling.wall, "unknown");
    assert!(ceiling.remedy.is_some_and(|remedy| remedy.summary.contains("is stopped (state T)")));
}

#[test]
fn a_source_without_a_way_back_is_told_by_the_counter_at_the_servers_end() {
    let Some(mut way) = Way::new() else { return };
    // The router forwards what it knows no way back for; the server's kernel drops it.
    way.router.set("net.ipv4.conf.all.rp_filter", "0");
    way.router.set("net.ipv4.conf.rc.rp_filter", "0");
    way.server.set("net.ipv4.conf.all.rp_filter", "1");
    way.server.set("net.ipv4.conf.s0.rp_filter", "1");
    way.server.run(&["ip", "route", "add", "10.91.0.0/24", "via", "10.92.0.1"]);
    let pid = way.server.start(&["sleep", "600"]);
    let _listener = way.listen();
    let mut counters = NetCounters::open(&ProcRoot::default(), Some(pid));
    let mut read = || counters.read().tcp_ext.and_then(|ext| ext.reverse_path_filter).expect("it is counted");
    let before = read();
    assert!(way.client.inside(|| answers(way.at, PATIENCE)), "with a way back it is answered");
    assert_eq!(read(), before);
    way.client.run(&["ip", "address", "add", "10.93.0.9/32", "dev", "c0"]);
    way.client.run(&["ip", "route", "replace", "default", "via", "10.91.0.1", "src", "10.93.0.9"]);
    assert!(!way.client.inside(|| answers(way.at, Duration::from_millis(1_500))));
    let after = read();
    assert!(after > before, "{before} {after}");
    let mut findings = Findings::default();
    let outcome = Outcome::connect_timeout();
    (findings.connections.target, findings.connections.attempted) = (1, 1);
    findings.connections.add_failed(outcome.clone(), 1);
    findings.failures = vec![Failure { phase: PhaseName::Ramp, outcome, count: 1, first_at_ms: 15_000 }];
    findings.counters.insert(counter::REVERSE_PATH_FILTER.to_owned(), CounterChange { before, after });
    assert_eq!(diagnose(&findings, None).expect("short").wall, "rp-filter");
}
