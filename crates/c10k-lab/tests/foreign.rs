//! Runs on servers that the lab did not start.

#[path = "../../c10k-swarm/tests/foreign_servers/mod.rs"]
mod foreign_servers;

use std::process::{Command, Stdio};

use c10k_record::{Record, RunState};
use foreign_servers::Foreign;
use tempfile::TempDir;

/// A run's end.
struct Ended {
    code: Option<i32>,
    record: Option<Record>,
    stderr: String,
    results: TempDir,
}

fn run_lab(arguments: &[&str]) -> Ended {
    run_in(tempfile::tempdir().expect("a folder"), &[arguments, &["--hold", "1s"]].concat())
}

/// Few at a time: what is asked here is counts, and a busy machine must not break a verdict on latency.
fn run_in(results: TempDir, arguments: &[&str]) -> Ended {
    let output = Command::new(env!("CARGO_BIN_EXE_c10k-lab"))
        .args(["run", "--json", "--close", "rst", "--in-flight", "64", "--results"])
        .arg(results.path())
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("the lab runs");
    Ended {
        code: output.status.code(),
        record: serde_json::from_slice(&output.stdout).ok(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        results,
    }
}

impl Ended {
    #[track_caller]
    fn record(&self) -> &Record {
        self.record.as_ref().unwrap_or_else(|| panic!("no record: {}", self.stderr))
    }
}

#[test]
fn a_server_found_by_its_port_is_collected_on_and_left_as_it_was() {
    let Some(server) = Foreign::python_echo(1024) else { return };
    let ended =
        run_lab(&["--profile", "stock", "--server-port", &server.port.to_string(), "--target", "400"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let record = ended.record();
    let c = &record.connections;
    assert_eq!((c.held, c.verified), (400, Some(400)));
    assert_eq!((c.accepted, record.server.is_none()), (None, true), "what it would report is not known");
    assert_eq!((c.at_server, c.ghosts), (Some(400), Some(0)), "the kernel knows");
    let user = record.memory_per_connection.server_user_bytes.expect("its memory may be seen");
    assert!(user > 500.0, "a coroutine a connection costs more than {user} B");
    assert!(record.profile.applied.is_empty(), "nothing is set where it stands");
    let told = record.warnings.iter().find(|warning| warning.id == "foreign-server").expect("told");
    assert!(told.text.contains(&server.pid.to_string()), "{}", told.text);

    // Its plan finds it again, and it is there after all that.
    let folder =
        std::fs::read_dir(ended.results.path()).expect("results").next().expect("one run").expect("read");
    let plan = folder.path().join("plan.toml").display().to_string();
    let again = run_lab(&[&plan]);
    assert_eq!(again.code, Some(0), "{}", again.stderr);
    assert_eq!(again.record().connections.held, 400);
}

#[test]
fn what_a_server_never_heard_of_is_not_held_and_costs_nothing_there() {
    let Some(server) = Foreign::deferred() else { return };
    let port = server.port.to_string();
    let run = || run_lab(&["--server-port", &port, "--target", "200", "--no-probe"]);
    let mut ended = run();
    // The kernel's memory is the whole machine's: a run during which others gave more of it back than this one took has no
    // figure, and is made again.
    for _ in 0..4 {
        if ended.record().memory_per_connection.client_kernel_bytes.is_some() {
            break;
        }
        ended = run();
    }
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    let record = ended.record();
    let c = &record.connections;
    assert_eq!((c.established, c.held, c.at_server, c.ghosts), (200, 0, Some(0), Some(200)), "{c:?}");
    let cost = &record.memory_per_connection;
    assert_eq!((cost.server_kernel_bytes, cost.server_user_bytes), (None, None), "{cost:?}");
    let client = cost.client_kernel_bytes.expect("the client's end is there");
    assert!(cost.parts.values().all(|part| part.server_bytes.is_none()), "{:?}", cost.parts);
    assert!(client > 0.0, "{cost:?}");
    assert!(
        ended.stderr.starts_with("warning: ") && ended.stderr.contains("SHORT: held 0 of 200"),
        "{}",
        ended.stderr
    );
    // With a word it is there.
    let spoken = run_lab(&["--server-port", &port, "--target", "200"]);
    assert_eq!((spoken.code, spoken.record().connections.held), (Some(0), 200), "{}", spoken.stderr);
    assert_eq!(spoken.record().connections.ghosts, Some(0));
}

#[test]
fn settings_that_nobody_asked_for_are_not_listed_as_missing() {
    let Some(server) = Foreign::python_echo(1024) else { return };
    let port = server.port.to_string();
    let ended = run_lab(&["--server-port", &port, "--target", "20"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let record = ended.record();
    assert!(record.profile.not_applied.is_empty(), "{:?}", record.profile);
    assert!(!record.warnings.iter().any(|warning| warning.id == "profile-not-applied"), "{}", ended.stderr);
    let notes = record.warnings.iter().filter(|warning| warning.text.contains("no profile was asked for"));
    assert_eq!(notes.count(), 1, "one note");
    assert!(!ended.stderr.contains("not in force"), "{}", ended.stderr);
    // Who asks is told in one line how many there are, and each of them in the full account.
    let asked = run_lab(&["--profile", "tuned", "--server-port", &port, "--target", "20", "--full"]);
    let missing = &asked.record().profile.not_applied;
    let note = format!("note: {} settings of the profile are not in force (", missing.len());
    assert_eq!(asked.stderr.matches(&note).count(), usize::from(missing.len() > 1), "{}", asked.stderr);
    for setting in missing {
        assert!(asked.stderr.contains(&format!("{} ", setting.key)), "{}", asked.stderr);
    }
    assert!(!asked.stderr.contains("profile-not-applied"), "they stand in the section of the profile");
}

#[test]
fn a_server_named_by_its_pid_is_told_its_own_limit() {
    let Some(server) = Foreign::python_echo_with(300, 1024) else { return };
    let pid = server.pid.to_string();
    let ended =
        run_lab(&["--profile", "stock", "--server-pid", &pid, "--target", "500", "--probe-timeout", "3s"]);
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    let record = ended.record();
    let ceiling = record.ceiling.as_ref().expect("short");
    let names: Vec<&str> = ceiling.walls.iter().map(|wall| wall.name.as_str()).collect();
    assert_eq!(names, ["nofile-server"], "{}", ended.stderr);
    assert!((250..300).contains(&record.connections.held), "{:?}", record.connections);
    let limits = &record.host.as_ref().expect("described").limits;
    assert_eq!((limits.server_nofile, limits.server_tables), (Some(300), false));
    assert!(ceiling.predicted.as_ref().is_some_and(|predicted| predicted.wall == "nofile-server"));
}

#[test]
fn a_server_that_ends_in_the_run_breaks_it() {
    let Some(mut server) = Foreign::python_echo(1024) else { return };
    let results = tempfile::tempdir().expect("a folder");
    let path = results.path().to_owned();
    let port = server.port.to_string();
    let lab = std::thread::spawn(move || {
        run_in(results, &["--server-port", &port, "--target", "100", "--hold", "60s"])
    });
    // The hold has begun when a row says so.
    let holding = |text: &str| text.lines().any(|line| line.split(',').nth(1) == Some("hold"));
    let rows = || {
        let run = std::fs::read_dir(&path).ok()?.next()?.ok()?;
        std::fs::read_to_string(run.path().join("samples.csv")).ok()
    };
    let began = (0..600).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(50));
        rows().is_some_and(|text| holding(&text))
    });
    server.kill();
    let ended = lab.join().expect("the lab ended");
    assert!(began, "{}", ended.stderr);
    assert_eq!(ended.code, Some(4), "{}", ended.stderr);
    let record = ended.record();
    assert_eq!(record.state, RunState::Broken);
    assert!(record.ended_because.as_deref().is_some_and(|why| why.contains(&server.pid.to_string())));
    assert_eq!(record.ceiling.as_ref().map(|ceiling| ceiling.wall.as_str()), Some("server-died"));
}

#[test]
fn a_server_whose_end_is_seen_behind_that_of_its_connections_breaks_the_run_too() {
    for (milliseconds, helped) in [(0, false), (150, false), (400, false), (150, true)] {
        let Some(server) = Foreign::python_that_lingers(60, milliseconds, helped) else { return };
        let results = tempfile::tempdir().expect("a folder");
        let arguments = ["--server-port", &server.port.to_string(), "--target", "60", "--hold", "60s"];
        let ended = run_in(results, &arguments);
        let what = format!("{milliseconds} ms, {helped}: {}", ended.stderr);
        assert_eq!(ended.code, Some(4), "{what}");
        let record = ended.record();
        let why = record.ended_because.as_deref().unwrap_or_default();
        assert!(record.state == RunState::Broken && why.contains(&server.pid.to_string()), "{why}; {what}");
        let wall = record.ceiling.as_ref().map(|ceiling| ceiling.wall.as_str());
        assert_eq!(wall, Some("server-died"), "{what}");
    }
}

#[test]
fn a_server_that_closes_all_and_lives_breaks_nothing() {
    let Some(server) = Foreign::python_that_lingers(60, 60_000, false) else { return };
    let results = tempfile::tempdir().expect("a folder");
    let ended =
        run_in(results, &["--server-port", &server.port.to_string(), "--target", "60", "--hold", "60s"]);
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    let record = ended.record();
    assert_eq!((record.state, record.connections.held), (RunState::Complete, 0), "{}", ended.stderr);
    let wall = record.ceiling.as_ref().map(|ceiling| ceiling.wall.as_str());
    assert_ne!(wall, Some("server-died"), "{}", ended.stderr);
}

#[test]
fn a_server_that_is_not_there_is_refused_before_anything_is_written() {
    let gone = Foreign::python_echo(8).map(|server| (server.pid, server.port));
    let Some((pid, port)) = gone else { return };
    for arguments in [["--server-pid", &pid.to_string()], ["--server-port", &port.to_string()]] {
        let ended = run_lab(&arguments);
        assert_eq!(ended.code, Some(3), "{arguments:?}: {}", ended.stderr);
        assert!(ended.stderr.contains("hint: "), "{}", ended.stderr);
        assert_eq!(std::fs::read_dir(ended.results.path()).expect("there").count(), 0);
    }
}

#[test]
fn a_process_and_a_port_that_do_not_belong_together_are_refused() {
    let (Some(one), Some(other)) = (Foreign::python_echo(8), Foreign::python_echo(8)) else { return };
    let ended = run_lab(&["--server-pid", &one.pid.to_string(), "--server-port", &other.port.to_string()]);
    assert_eq!(ended.code, Some(3), "{}", ended.stderr);
    assert!(ended.stderr.contains("does not listen on port"), "{}", ended.stderr);
}

#[test]
fn what_only_a_server_of_the_labs_own_can_be_told_is_bad_usage() {
    for flag in
        [["--mode", "hold"], ["--topology", "veth"], ["--max-connections", "5"], ["--server-workers", "2"]]
    {
        let ended = run_lab(&[&["--server-port", "9"][..], &flag].concat());
        assert_eq!(ended.code, Some(2), "{flag:?}: {}", ended.stderr);
    }
}
