//! The command as it is typed: exit codes, streams, signals.

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Output, Stdio};

use common::{Holder, be_holder_if_asked};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

#[test]
#[ignore = "the process that is watched, started by the tests below"]
fn holder() {
    be_holder_if_asked();
}

fn collector(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_c10k-collector"));
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn output(args: &[&str]) -> Output {
    collector(args).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_pid_that_is_nobodys_is_a_clear_error_with_code_3() {
    // Above the largest pid Linux gives (include/linux/threads.h, PID_MAX_LIMIT).
    let output = output(&["--pid", "4194305"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(text(&output.stderr).contains("there is no process 4194305"), "{}", text(&output.stderr));
    assert!(output.stdout.is_empty());
}

#[test]
fn bad_usage_is_code_2_and_says_what_was_wrong() {
    let own = std::process::id().to_string();
    for (args, told) in [
        (vec![], "--pid"),
        (vec!["--swarm-pid", &own], "--pid"),
        (vec!["--pid", "abc"], "abc"),
        (vec!["--pid", "-1"], "-1"),
        (vec!["--pid", &own, "--port", "0"], "0"),
        (vec!["--pid", &own, "--port", "70000"], "70000"),
        (vec!["--pid", &own, "--interval", "0s"], "10ms"),
        (vec!["--pid", &own, "--interval", "1 parsec"], "parsec"),
        (vec!["--pid", &own, "--json", "--events"], "--events"),
    ] {
        let output = output(&args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(text(&output.stderr).contains(told), "{args:?}: {}", text(&output.stderr));
        assert!(output.stdout.is_empty(), "{args:?}");
    }
}

#[test]
fn json_is_one_document_with_the_account_of_what_came_meanwhile() {
    let mut holder = Holder::start("holder");
    let (pid, port) = (holder.pid().to_string(), holder.port.to_string());
    let mut child =
        collector(&["--pid", &pid, "--port", &port, "--interval", "50ms", "--json"]).spawn().unwrap();
    // The first line for people comes after the first snapshot.
    let mut people = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("connections 0") {
        line.clear();
        assert!(people.read_line(&mut line).unwrap() > 0);
    }
    // So many that what others give back meanwhile is less.
    let opened = holder.open(900);
    while !line.contains(&format!("connections {opened}  ")) {
        line.clear();
        assert!(
            people.read_line(&mut line).unwrap() > 0,
            "the clients' ends and the listener are not counted"
        );
    }
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let document: Value = serde_json::from_slice(&output.stdout).expect("exactly one document");
    assert_eq!(document["schema_version"], 1);
    assert_eq!(document["peak_connections"], opened);
    assert_eq!(document["census_at_start"]["server_side"], 0);
    assert_eq!(document["census_at_end"]["server_side"], opened);
    assert_eq!(document["census_at_end"]["states"], serde_json::json!({ "ESTABLISHED": opened }));
    assert!(document["memory_per_connection"]["server_kernel_bytes"].is_number());
    assert!(document["last"]["swarm"]["rss_bytes"].is_null(), "what was not watched is null, not 0");
    drop(holder);
}

#[test]
fn events_are_json_lines_from_ready_to_done_and_stop_ends_it() {
    let holder = Holder::start("holder");
    let pid = holder.pid().to_string();
    let mut child =
        collector(&["--pid", &pid, "--interval", "20ms", "--events"]).stdin(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next =
        || -> Option<Value> { lines.next().map(|line| serde_json::from_str(&line.unwrap()).unwrap()) };
    assert_eq!(next().unwrap()["event"], "ready");
    let tick = next().unwrap();
    assert_eq!(tick["event"], "tick");
    assert!(tick["server"]["rss_bytes"].as_u64().unwrap() > 0);
    child.stdin.as_mut().unwrap().write_all(b"what is this\n\xff\xfe\nstop\n").unwrap();
    let mut last = tick;
    while let Some(event) = next() {
        last = event;
    }
    assert_eq!(last["event"], "done");
    assert_eq!(last["target_ended"], false);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_collector_that_was_stopped_says_when_it_did_not_look() {
    let own = std::process::id().to_string();
    let mut child = collector(&["--pid", &own, "--interval", "700ms", "--events"])
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = move || -> Value { serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap() };
    while next()["event"] != "tick" {}
    let pid = Pid::from_raw(child.id().cast_signed());
    // It waits for its next tick when it sleeps; a stop in the middle of its work is none of a wait.
    let sleeps = || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        stat.rsplit_once(") ").unwrap().1.starts_with('S')
    };
    while !(0..10).all(|_| {
        std::thread::sleep(std::time::Duration::from_millis(10));
        sleeps()
    }) {}
    kill(pid, Signal::SIGSTOP).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(2500));
    kill(pid, Signal::SIGCONT).unwrap();
    while next()["event"] != "tick" {}
    child.stdin.as_mut().unwrap().write_all(b"stop\n").unwrap();
    let mut last = next();
    while last["event"] != "done" {
        last = next();
    }
    let gaps = last["gaps"].as_array().unwrap();
    assert_eq!(gaps.len(), 1, "{gaps:?}");
    let ms = |name: &str| gaps[0][name].as_u64().unwrap();
    assert!((1_500..60_000).contains(&(ms("to_ms") - ms("from_ms"))), "{gaps:?}");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_target_that_dies_ends_it_with_code_1_and_a_word() {
    let mut holder = Holder::start("holder");
    let pid = holder.pid().to_string();
    let mut child = collector(&["--pid", &pid, "--interval", "20ms", "--json"]).spawn().unwrap();
    let mut people = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("sockets") {
        line.clear();
        assert!(people.read_line(&mut line).unwrap() > 0);
    }
    holder.kill();
    let mut rest = String::new();
    people.read_to_string(&mut rest).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(rest.contains(&format!("process {pid} has ended")), "{rest}");
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["target_ended"], true);
    assert!(document["memory_per_connection"].is_null());
}

#[test]
fn a_duration_ends_it_with_code_0_also_at_sigint() {
    let own = std::process::id().to_string();
    let timed = output(&["--pid", &own, "--interval", "20ms", "--duration", "50ms"]);
    assert_eq!(timed.status.code(), Some(0), "{}", text(&timed.stderr));
    assert!(timed.stdout.is_empty(), "people read stderr");

    let mut child = collector(&["--pid", &own, "--interval", "1h", "--events"]).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    assert!(line.contains("ready"), "{line}");
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT).unwrap();
    let mut rest = String::new();
    out.read_to_string(&mut rest).unwrap();
    assert!(rest.lines().last().unwrap().contains("\"done\""), "{rest}");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_reader_that_is_gone_ends_it_without_a_word_and_a_full_disk_with_code_4() {
    let own = std::process::id().to_string();
    for format in ["--events", "--json"] {
        let args = ["--pid", &own, "--interval", "20ms", "--duration", "200ms", format];
        let mut child = collector(&args).spawn().unwrap();
        drop(child.stdout.take());
        let gone = child.wait_with_output().unwrap();
        assert_eq!(gone.status.code(), Some(0), "{}", text(&gone.stderr));
        let complains = text(&gone.stderr).lines().any(|line| line.starts_with("error"));
        assert!(!complains, "{}", text(&gone.stderr));

        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let full = collector(&args).stdout(full).output().unwrap();
        assert_eq!(full.status.code(), Some(4), "{}", text(&full.stderr));
        assert!(text(&full.stderr).contains("cannot be written"), "{}", text(&full.stderr));
    }
}

#[test]
fn a_closed_terminal_ends_it_in_good_order_unless_it_was_started_to_ignore_that() {
    let own = std::process::id().to_string();
    for (before, signals) in [
        ("", &[Signal::SIGHUP][..]),
        ("", &[Signal::SIGQUIT]),
        ("trap '' HUP QUIT; ", &[Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGTERM]),
    ] {
        let mut child = Command::new("env")
            .args(["--default-signal=HUP,QUIT", "sh", "-c", &format!("{before}exec \"$0\" \"$@\"")])
            .arg(env!("CARGO_BIN_EXE_c10k-collector"))
            .args(["--pid", &own, "--interval", "20ms", "--events"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut next = || lines.next().map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
        assert_eq!(next().unwrap()["event"], "ready");
        for signal in signals {
            assert_eq!(next().unwrap()["event"], "tick", "{signals:?}: it goes on until {signal}");
            kill(Pid::from_raw(child.id().cast_signed()), *signal).unwrap();
        }
        let mut last = None;
        while let Some(event) = next() {
            last = Some(event);
        }
        assert_eq!(last.unwrap()["event"], "done", "{signals:?}");
        assert_eq!(child.wait().unwrap().code(), Some(0), "{signals:?}");
    }
}

/// RLIMIT_NPROC binds everybody but root.
#[test]
fn where_no_thread_can_be_started_it_says_so_with_code_3() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("collector");
    std::fs::copy(env!("CARGO_BIN_EXE_c10k-collector"), &program).unwrap();
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let own = std::process::id().to_string();
    let mut words = vec!["prlimit", "--nproc=1"];
    if nix::unistd::geteuid().is_root() {
        words.extend(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]);
    }
    let output = Command::new(words[0])
        .args(&words[1..])
        .arg(&program)
        .args(["--pid", &own, "--duration", "50ms"])
        .stdin(Stdio::null())
        .output();
    let Ok(output) = output else { return skipped("no prlimit here") };
    let people = text(&output.stderr);
    // The kernel refuses to start a program by who has too many already.
    if people.contains("failed to execute") {
        return skipped("this user has other processes, so that none can be started");
    }
    assert_eq!(output.status.code(), Some(3), "{people}");
    assert!(people.contains("cannot watch for signals") && people.contains("hint: "), "{people}");
}

#[test]
fn a_port_alone_leads_to_the_process_and_the_document_says_what_watching_cost() {
    let mut holder = Holder::start("holder");
    let (pid, port) = (holder.pid(), holder.port.to_string());
    let opened = holder.open(200);
    let args = ["--port", &port, "--interval", "20ms", "--duration", "300ms", "--json", "--self-cost"];
    let output = output(&args);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let people = text(&output.stderr);
    assert!(people.contains(&format!("watching process {pid}")), "{people}");
    assert!(people.contains(" % of one core"), "{people}");
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["pid"], pid);
    let descriptors = &document["last"]["server"]["descriptors"];
    assert!(descriptors["open"].as_u64().unwrap() >= 2 * opened, "{descriptors}");
    assert_eq!((&descriptors["tables"], &descriptors["exact"]), (&1.into(), &true.into()));
    assert!(descriptors["limit"].as_u64().unwrap() > 0);
    assert_eq!(document["census_at_end"]["not_accepted"], 0);
    let cost = &document["self_cost"];
    assert!(cost["cpu_seconds"].as_f64().unwrap() > 0.0 && cost["share_of_one_core"].as_f64().unwrap() > 0.0);
}

#[test]
fn a_port_on_which_nobody_listens_is_a_clear_error_with_code_3() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let output = output(&["--port", &port]);
    assert_eq!(output.status.code(), Some(3));
    assert!(
        text(&output.stderr).contains(&format!("nobody listens on port {port}")),
        "{}",
        text(&output.stderr)
    );
}

/// Only root can be watched by somebody else without further ado.
#[test]
fn another_users_process_is_watched_as_far_as_it_may_be_seen_and_the_rest_is_named_and_null() {
    if !nix::unistd::geteuid().is_root() {
        return skipped("only root can give up its rights");
    }
    let holder = Holder::start("holder");
    // The program is copied to where another user may run it.
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("collector");
    std::fs::copy(env!("CARGO_BIN_EXE_c10k-collector"), &program).unwrap();
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let run = |arguments: &[&str]| {
        Command::new("setpriv")
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .arg(&program)
            .args(["--interval", "20ms", "--duration", "60ms", "--json"])
            .args(arguments)
            .stdin(Stdio::null())
            .output()
    };
    let (pid, port) = (holder.pid().to_string(), holder.port.to_string());
    let Ok(by_pid) = run(&["--pid", &pid, "--port", &port]) else { return skipped("no setpriv here") };
    assert_eq!(by_pid.status.code(), Some(0), "{}", text(&by_pid.stderr));
    let document: Value = serde_json::from_slice(&by_pid.stdout).unwrap();
    let server = &document["last"]["server"];
    assert!(
        server["rss_bytes"].as_u64().unwrap() > 0 && server["descriptors"]["limit"].is_number(),
        "{server}"
    );
    assert_eq!(server["descriptors"]["exact"], false, "which threads share a table may not be asked");
    let people = text(&by_pid.stderr);
    assert_eq!(people.matches("smaps_rollup").count(), 1, "named once: {people}");
    assert_eq!(people.matches("proc/slabinfo").count(), 1, "named once: {people}");
    assert!(document["last"]["slabs"].is_null());

    let by_port = run(&["--port", &port]).unwrap();
    assert_eq!(by_port.status.code(), Some(0), "{}", text(&by_port.stderr));
    let document: Value = serde_json::from_slice(&by_port.stdout).unwrap();
    assert!(document["pid"].is_null() && document["last"]["server"]["rss_bytes"].is_null());
    assert!(document["last"]["listener"]["backlog"].is_number(), "the listener may be seen");
    assert!(text(&by_port.stderr).contains("cannot be told"), "{}", text(&by_port.stderr));
}

/// A memory group of this test's own, version 1 or 2, as root may make one.
#[test]
fn a_process_in_a_limited_memory_group_shows_limit_and_use() {
    let roots = ["/sys/fs/cgroup/memory", "/sys/fs/cgroup"];
    let limit_name =
        |root: &str| if root.ends_with("memory") { "memory.limit_in_bytes" } else { "memory.max" };
    let own = format!("c10k-collector-test-{}", std::process::id());
    let group = roots.iter().find_map(|root| {
        let group = std::path::Path::new(root).join(&own);
        std::fs::create_dir(&group).ok()?;
        if std::fs::write(group.join(limit_name(root)), "268435456").is_ok() {
            return Some(group);
        }
        std::fs::remove_dir(&group).ok();
        None
    });
    let Some(group) = group else { return skipped("no memory group may be made here") };
    let holder = Holder::start("holder");
    std::fs::write(group.join("cgroup.procs"), holder.pid().to_string()).unwrap();
    let output =
        output(&["--pid", &holder.pid().to_string(), "--interval", "20ms", "--duration", "50ms", "--json"]);
    drop(holder);
    // It can be removed once its last process is gone for good.
    let removed = (0..200).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(10));
        std::fs::remove_dir(&group).is_ok()
    });
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    let seen = &document["last"]["cgroup"];
    assert_eq!(seen["limit_bytes"], 268_435_456_u64, "{seen}");
    assert!(seen["usage_bytes"].is_number() && seen["failures"] == 0 && seen["oom_kills"] == 0, "{seen}");
    assert!(text(&output.stderr).contains("of 256.0 MiB"), "{}", text(&output.stderr));
    assert!(removed, "{} is left", group.display());
}

#[allow(clippy::print_stderr, reason = "what was skipped is said aloud")]
fn skipped(why: &str) {
    eprintln!("SKIPPED: {why}");
}
