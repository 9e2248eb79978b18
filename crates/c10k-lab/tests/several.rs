//! Runs on servers of several processes.

#[path = "../../c10k-swarm/tests/foreign_servers/mod.rs"]
mod foreign_servers;

use std::process::{Command, Stdio};

use c10k_record::{ProcessInRun, Record};
use foreign_servers::Foreign;

struct Ended {
    code: Option<i32>,
    record: Record,
    stderr: String,
}

fn run_on(server: &Foreign, arguments: &[&str]) -> Ended {
    run_on_port(server.port, arguments)
}

fn run_on_port(port: u16, arguments: &[&str]) -> Ended {
    let results = tempfile::tempdir().expect("a folder");
    let output = Command::new(env!("CARGO_BIN_EXE_c10k-lab"))
        .args(["run", "--json", "--full", "--close", "rst", "--in-flight", "16", "--results"])
        .arg(results.path())
        .args(if arguments.contains(&"--hold") { &[][..] } else { &["--hold", "1s"] })
        .args(["--server-port", &port.to_string()])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("the lab runs");
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    let record = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("no record: {stderr}"));
    Ended { code: output.status.code(), record, stderr }
}

fn resident_bytes(pids: &[u32]) -> u64 {
    let one = |pid: &u32| {
        let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).expect("it is ours");
        let line = text.lines().find_map(|line| line.strip_prefix("Rss:")).expect("a line");
        line.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok()).expect("a number") * 1024
    };
    pids.iter().map(one).sum()
}

fn holders(record: &Record) -> Vec<&ProcessInRun> {
    record.processes.iter().filter(|process| process.connections > Some(0)).collect()
}

#[test]
fn the_figures_of_nodes_cluster_are_those_of_its_workers() {
    let limit = 400;
    let Some(server) = Foreign::node_cluster(2, Some(limit)) else { return };
    let workers = server.workers();
    let before = resident_bytes(&workers);
    let free: u64 = workers
        .iter()
        .map(|pid| {
            u64::from(limit) - std::fs::read_dir(format!("/proc/{pid}/fd")).expect("ours").count() as u64
        })
        .sum();
    let ended = run_on(&server, &["--target", "560"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let record = &ended.record;
    assert_eq!(record.connections.held, 560);
    let held = holders(record);
    let pids: Vec<u32> = held.iter().map(|process| process.pid).collect();
    assert_eq!(pids, workers, "{:?}", record.processes);
    assert_eq!(held.iter().filter_map(|process| process.connections).sum::<u64>(), 560);
    for process in &held {
        let (open, connections) = (process.descriptors.expect("read"), process.connections.expect("read"));
        assert!(open >= connections && open < connections + 40, "{process:?}");
        assert_eq!(process.nofile, Some(u64::from(limit)));
        assert!(process.rss_bytes > Some(20 << 20) && process.threads > Some(4), "{process:?}");
        assert!(process.counted && !process.estimated && process.name.as_deref() == Some("node"));
    }
    let first = record.processes.iter().find(|process| process.pid == server.pid).expect("told too");
    assert!(first.listens && !first.counted && first.connections == Some(0), "{first:?}");
    let cost = record.memory_per_connection.server_user_bytes.expect("their memory may be seen") * 560.0;
    let in_hold: u64 = held.iter().filter_map(|process| process.rss_bytes).sum();
    let grown = in_hold as f64 - before as f64;
    assert!(cost > 500_000.0 && (cost - grown).abs() < 2e6, "{cost} B, and by hand {grown} B");
    assert!(record.cpu.server_us_per_connection.is_some_and(|us| us > 5.0), "{:?}", record.cpu);
    let limits = &record.host.as_ref().expect("described").limits;
    assert_eq!((limits.server_processes, limits.server_nofile), (Some(2), Some(u64::from(limit))));
    let room = limits.server_room.expect("counted");
    assert!(room.abs_diff(free) <= 4, "{room} for {free}");
    assert!(ended.stderr.contains("Processes of the server"), "{}", ended.stderr);
}

#[test]
fn of_processes_with_a_listener_each_the_one_that_is_full_is_named() {
    let Some(server) = Foreign::several("reuseport", 8, Some(136)) else { return };
    // More than all of them have room for.
    let ended = run_on(&server, &["--target", "1100", "--probe-timeout", "3s", "--connect-timeout", "3s"]);
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    let ceiling = ended.record.ceiling.as_ref().expect("short");
    assert_eq!(ceiling.wall, "nofile-server", "{}", ended.stderr);
    let evidence = ceiling.walls.first().map(|wall| format!("{:?}", wall.evidence)).unwrap_or_default();
    let full: Vec<_> =
        ended.record.processes.iter().filter(|process| process.descriptors >= process.nofile).collect();
    assert!(full.iter().any(|process| evidence.contains(&format!("process {}:", process.pid))), "{evidence}");
    assert!(evidence.contains("processes"), "{evidence}");
    let predicted = ceiling.predicted.as_ref().expect("the limits are known");
    assert_eq!(predicted.wall, "nofile-server");
    assert!((900..=1088).contains(&predicted.connections), "{predicted:?}");
}

#[test]
fn of_sixty_four_processes_the_one_that_is_full_is_named() {
    let Some(server) = Foreign::several("reuseport", 64, Some(24)) else { return };
    let fits = run_on(&server, &["--target", "250"]);
    assert_eq!((fits.code, fits.record.connections.held), (Some(0), 250), "{}", fits.stderr);
    assert_eq!(holders(&fits.record).iter().filter_map(|one| one.connections).sum::<u64>(), 250);
    let ended = run_on(&server, &["--target", "1500", "--probe-timeout", "3s", "--connect-timeout", "3s"]);
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    let ceiling = ended.record.ceiling.as_ref().expect("short");
    assert_eq!(ceiling.wall, "nofile-server", "{}", ended.stderr);
    let full: Vec<u32> = ended
        .record
        .processes
        .iter()
        .filter(|one| one.descriptors.is_some() && one.descriptors >= one.nofile)
        .map(|one| one.pid)
        .collect();
    let evidence = format!("{:?}", ceiling.walls[0].evidence);
    assert!(full.iter().any(|pid| evidence.contains(&format!("process {pid}:"))), "{full:?}: {evidence}");
    assert!(ended.record.processes.iter().all(|one| one.nofile.is_none_or(|limit| limit == 24)));
}

#[test]
fn processes_that_come_and_go_are_no_news_and_no_wall() {
    let Some(server) = Foreign::several("restless", 3_000, None) else { return };
    let ended = run_on(&server, &["--target", "150", "--hold", "4s"]);
    assert_eq!((ended.code, ended.record.connections.held), (Some(0), 150), "{}", ended.stderr);
    assert_eq!(ended.record.connections.at_server, Some(150), "none is counted twice");
    let first = holders(&ended.record).into_iter().find(|one| one.pid == server.pid).expect("it holds all");
    assert_eq!(first.connections, Some(150), "{first:?}");
    assert!(ended.record.warnings.len() < 12, "{:#?}", ended.record.warnings);
}

#[test]
fn connections_that_are_handed_over_cost_who_gets_them() {
    let Some(server) = Foreign::several("passing", 3, None) else { return };
    let ended = run_on(&server, &["--target", "300"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let held = holders(&ended.record);
    assert_eq!(held.iter().map(|process| process.pid).collect::<Vec<_>>(), server.workers());
    assert!(held.iter().all(|process| process.connections == Some(100)), "{held:?}");
    let user = ended.record.memory_per_connection.server_user_bytes.expect("their memory may be seen");
    assert!(user > 100.0, "a socket object a connection costs more than {user} B");
}

#[test]
fn a_child_that_is_forked_in_the_middle_is_one_of_them() {
    let Some(server) = Foreign::several("late", 40, None) else { return };
    let ended = run_on(&server, &["--target", "240"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let mut held: Vec<Option<u64>> =
        holders(&ended.record).iter().map(|process| process.connections).collect();
    held.sort_unstable();
    assert_eq!(held, [Some(40), Some(200)], "{:?}", ended.record.processes);
}

/// A server of ours that was started by somebody else: one process with a table for each worker.
struct Own {
    child: std::process::Child,
    port: u16,
}

impl Own {
    fn start() -> Self {
        let mut command = Command::new("sh");
        command
            .args(["-c", "ulimit -n 300; exec \"$0\" server --listen 127.0.0.1:0 --profile stock --events"]);
        command.arg(env!("CARGO_BIN_EXE_c10k-lab")).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.stderr(Stdio::null()).spawn().expect("sh is there");
        let mut line = String::new();
        let mut said = std::io::BufReader::new(child.stdout.take().expect("piped"));
        std::io::BufRead::read_line(&mut said, &mut line).expect("a line");
        let ready: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        let port = ready["listen"][0].as_str().and_then(|at| at.rsplit_once(':')?.1.parse().ok());
        // It goes on talking; somebody must listen.
        std::thread::spawn(move || std::io::Read::read_to_end(&mut said, &mut Vec::new()));
        Self { child, port: port.expect("an address") }
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn one_process_with_many_tables_is_one_process() {
    let own = Own::start();
    let ended = run_on_port(own.port, &["--target", "700"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let [process] = &ended.record.processes[..] else { panic!("{:?}", ended.record.processes) };
    assert_eq!((process.pid, process.connections), (own.child.id(), Some(700)), "{process:?}");
    assert!(process.listens && process.counted && process.descriptors > Some(700), "{process:?}");
    assert_eq!(process.nofile, Some(300), "of each table");
    let limits = &ended.record.host.as_ref().expect("described").limits;
    assert_eq!((limits.server_processes, limits.server_tables), (None, true));
    assert!(!ended.stderr.contains("Processes of the server"), "{}", ended.stderr);
}

#[test]
fn a_worker_that_dies_in_the_middle_is_told_of_with_its_pid_and_its_time() {
    let Some(server) = Foreign::several("reuseport", 4, None) else { return };
    let victim = server.workers()[1];
    let results = tempfile::tempdir().expect("a folder");
    let path = results.path().to_owned();
    let port = server.port.to_string();
    let lab = std::thread::spawn(move || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_c10k-lab"));
        command.args([
            "run",
            "--json",
            "--server-port",
            &port,
            "--target",
            "200",
            "--hold",
            "8s",
            "--results",
        ]);
        command.arg(results.path()).args(["--close", "rst", "--in-flight", "32"]).stdin(Stdio::null());
        command.output().expect("the lab runs")
    });
    let rows = || {
        let run = std::fs::read_dir(&path).ok()?.next()?.ok()?;
        std::fs::read_to_string(run.path().join("samples.csv")).ok()
    };
    // Four seconds into the hold its holders have been looked for, on a busy machine too.
    let holding =
        |text: &str| text.lines().filter(|line| line.split(',').nth(1) == Some("hold")).count() > 16;
    let began = (0..600).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(50));
        rows().is_some_and(|text| holding(&text))
    });
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(victim.cast_signed()),
        nix::sys::signal::Signal::SIGKILL,
    )
    .expect("a child of our server");
    let output = lab.join().expect("the lab ended");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(began, "{said}");
    let record: Record = serde_json::from_slice(&output.stdout).expect("a record");
    let told: Vec<_> =
        record.warnings.iter().filter(|warning| warning.id == "server-process-ended").collect();
    assert_eq!(told.len(), 1, "{:?}", record.warnings);
    let words = ["python3) of the server ended", "s into the run, in the hold; it had "];
    assert!(told[0].text.starts_with(&format!("process {victim} (")), "{}", told[0].text);
    assert!(words.iter().all(|word| told[0].text.contains(word)) && said.contains(&told[0].text), "{said}");
    assert_ne!(record.ceiling.map(|ceiling| ceiling.wall).as_deref(), Some("server-died"), "the others live");
}
