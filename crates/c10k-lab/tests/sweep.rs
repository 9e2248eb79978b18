//! Sweeps by the real program, small: exact ceilings, what is refused, a kill in the middle.

#![allow(clippy::print_stderr, reason = "a skipped test says so")]

mod common;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use common::{Ended, Lab, Running, has_group, namespaces_allowed};
use nix::sys::signal::Signal;
use serde_json::Value;

/// Ceilings of a source with few ports: two runs of each side, and five of the base.
const PORTS: &str = r#"
title = "Few ports"
metrics = ["held"]
pairs = 2
same_pairs = 1
control = "none"
seed = 11

[base]
profile = "stock"
target = 90
hold = "0s"
connect_timeout = "3s"

[base.load]
ips = "127.0.0.1"

[vary]
net.ipv4.ip_local_port_range = [[20000, 20039], [20000, 20059]]

[[expect]]
case = "base"
that = "held = 90"

[[expect]]
value = [20000, 20039]
that = "held = 40"

[[expect]]
value = [20000, 20059]
that = "held = 60"
"#;

/// Longer than any of these sweeps takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(300);

#[track_caller]
fn start(lab: Lab, arguments: &[&str]) -> Running {
    let results = lab.home().join("results").display().to_string();
    lab.command(&[&["sweep", "ports.toml", "--results", &results], arguments].concat())
}

#[track_caller]
fn sweep(text: &str, arguments: &[&str]) -> Ended {
    start(Lab::new().with_file("ports.toml", text), arguments).wait_at_most(PATIENCE)
}

#[test]
fn each_range_holds_as_many_as_it_has_ports() {
    if !namespaces_allowed("a sweep") {
        return;
    }
    let ended = sweep(PORTS, &["--json"]);
    ended.expect_exit(0);
    let document = ended.document();
    let answers = document["answers"].as_array().expect("a list");
    let medians: Vec<(&Value, &Value)> = answers
        .iter()
        .map(|answer| (&answer["params"]["net.ipv4.ip_local_port_range"], &answer["metric"]))
        .collect();
    assert_eq!(medians, [(&"20000 20039".into(), &"held".into()), (&"20000 20059".into(), &"held".into())]);
    assert!(
        document["expected"].as_array().expect("a list").iter().all(|one| one["is_met"] == true),
        "{document}"
    );
    let folder = ended.folder();
    let table = std::fs::read_to_string(folder.join("runs.csv")).expect("runs.csv");
    let held = |label: &str| {
        let rows = table.lines().filter(|row| row.contains(",pairs,") && row.contains(label));
        rows.filter_map(|row| row.split(',').nth(6)?.parse().ok()).collect::<Vec<u64>>()
    };
    assert_eq!(
        (held("20039"), held("20059"), held(",base,")),
        (vec![40; 2], vec![60; 2], vec![90; 2]),
        "{table}"
    );
    assert!(std::fs::read_to_string(folder.join("sweep.html")).expect("the page").contains("<svg"));
    let state = state(&folder);
    assert_eq!(state["runs"].as_array().map(Vec::len), Some(9));
    for run in state["runs"].as_array().expect("a list") {
        let record = c10k_record::read_record(&folder.join(run["folder"].as_str().expect("a path")));
        let record = record.expect("each run's record is kept");
        assert_eq!(run["values"]["held"], record.connections.held as f64);
    }
    let read_back = |side: u64| {
        let at = state["order"]
            .as_array()?
            .iter()
            .position(|slot| slot["part"] == "pairs" && slot["side"] == side)?;
        state["runs"][at]["applied"]["net.ipv4.ip_local_port_range"].as_str().map(str::to_owned)
    };
    assert_eq!((read_back(0), read_back(1)), (None, Some("20000 20039".to_owned())));
}

#[test]
fn a_prediction_that_is_not_met_ends_it_with_1() {
    if !namespaces_allowed("a sweep") {
        return;
    }
    let ended = sweep(&PORTS.replace("held = 60", "held = 61"), &[]);
    ended.expect_exit(1);
    assert!(ended.told().contains("NOT MET held = 61"), "{}", ended.stdout);
}

#[test]
fn a_sweep_that_was_killed_goes_on_where_it_was_and_makes_no_run_again() {
    if !namespaces_allowed("a sweep") {
        return;
    }
    let running = start(Lab::new().with_file("ports.toml", PORTS), &[]);
    running.wait_until_said("run 3 of 9");
    let folder = running.folder().expect("its folder");
    let (done, kept) = (state(&folder)["runs"].clone(), running.home().to_owned());
    let before = done.as_array().map(Vec::len).expect("a list");
    running.signal(Signal::SIGKILL);
    // Its files are to outlive the one that is killed.
    let saved = tempfile::tempdir().expect("a folder");
    wait_until_unlocked(&folder);
    copy(&kept, saved.path());
    let again = Lab::new().with_file("ports.toml", PORTS);
    copy(saved.path(), again.home());
    let ended = start(again, &[]).wait_at_most(PATIENCE);
    ended.expect_exit(0);
    assert!(
        ended.stderr.contains("going on with") && !ended.stderr.contains("run 1 of 9"),
        "{}",
        ended.stderr
    );
    let after = state(&ended.folder())["runs"].clone();
    assert_eq!(after.as_array().map(Vec::len), Some(9));
    assert_eq!(after.as_array().map(|runs| &runs[..before]), done.as_array().map(|runs| &runs[..before]));
    expect_told_again_as_it_was(&ended.folder());
}

/// A finished sweep is told with its own file, and with a state that makes sense.
#[track_caller]
fn expect_told_again_as_it_was(finished: &Path) {
    let again = |text: &str, change: fn(&mut Value)| {
        let lab = Lab::new().with_file("ports.toml", text);
        let place = lab.home().join("results").join(finished.file_name().expect("a name"));
        copy(finished, &place);
        let mut changed = state(&place);
        change(&mut changed);
        std::fs::write(place.join("sweep.json"), changed.to_string()).expect("written");
        start(lab, &["--resume", &place.display().to_string()]).wait_at_most(PATIENCE)
    };
    again(PORTS, |_| ()).expect_exit(0);
    let edited = again(&PORTS.replace("held = 60", "held = 61"), |_| ());
    edited.expect_exit(3);
    assert!(edited.stderr.contains("the sweep's file is another one"), "{}", edited.stderr);
    type Damage = fn(&mut Value);
    let damages: [(Damage, &str); 4] = [
        (|state| state["order"][5]["side"] = 99.into(), "it has a side too many"),
        (|state| state["order"] = Value::Array(Vec::new()), "it has no run to make"),
        (
            |state| {
                let run = state["runs"][0].clone();
                state["runs"].as_array_mut().expect("a list").push(run);
            },
            "it has more runs than there are to make",
        ),
        (|state| state["seed"] = 12.into(), "its order is not the one that its seed draws"),
    ];
    for (damage, told) in damages {
        let refused = again(PORTS, damage);
        refused.expect_exit(2);
        for words in ["no sweep to go on with", told, "hint: leave out --resume"] {
            assert!(refused.stderr.contains(words), "{words}: {}", refused.stderr);
        }
    }
}

#[test]
fn the_groups_of_a_killed_sweep_are_gone_when_it_is_gone_on_with() {
    if !namespaces_allowed("a sweep with a control group") {
        return;
    }
    if !nix::unistd::geteuid().is_root() || !has_group("cpu") {
        eprintln!("SKIPPED a killed sweep with a control group: it takes root and a cpu cgroup");
        return;
    }
    let text = PORTS.replace("[vary]", "[set]\nserver.cpus = 0.5\n[vary]");
    let running = start(Lab::new().with_file("ports.toml", &text), &[]);
    running.wait_until_said("run 1 of 9");
    let (pid, folder) = (running.pid(), running.folder().expect("its folder"));
    let give_up = Instant::now() + PATIENCE;
    while groups_of(pid).is_empty() {
        assert!(Instant::now() < give_up, "no group was made");
        std::thread::sleep(Duration::from_millis(5));
    }
    running.signal(Signal::SIGKILL);
    let saved = tempfile::tempdir().expect("a folder");
    wait_until_unlocked(&folder);
    copy(running.home(), saved.path());
    running.wait();
    let again = Lab::new().with_file("ports.toml", &text);
    copy(saved.path(), again.home());
    let ended = start(again, &[]).wait_at_most(PATIENCE);
    ended.expect_exit(0);
    assert!(ended.stderr.contains("going on with"), "{}", ended.stderr);
    assert_eq!(groups_of(pid), [] as [PathBuf; 0]);
}

/// The control groups that the process `pid` has made.
fn groups_of(pid: u32) -> Vec<PathBuf> {
    let trees = ["", "cpu"].map(|tree| Path::new("/sys/fs/cgroup").join(tree));
    let all = trees.iter().flat_map(|tree| std::fs::read_dir(tree).into_iter().flatten().flatten());
    let begin = format!("c10k-plant-{pid}-");
    let of_it = all.filter(|entry| entry.file_name().to_string_lossy().starts_with(&begin));
    of_it.map(|entry| entry.path()).collect()
}

#[test]
fn ctrl_c_ends_it_in_good_order_and_says_how_to_go_on() {
    if !namespaces_allowed("a sweep") {
        return;
    }
    let running = start(Lab::new().with_file("ports.toml", PORTS), &[]);
    running.wait_until_said("run 2 of 9");
    running.signal(Signal::SIGINT);
    let ended = running.wait_at_most(PATIENCE);
    ended.expect_exit(130);
    assert!(ended.stderr.contains("error: stopped by Ctrl-C"), "{}", ended.stderr);
    assert!(ended.stderr.contains("to go on: c10k-lab sweep ports.toml --resume "), "{}", ended.stderr);
    let runs = state(&ended.folder())["runs"].as_array().map(Vec::len).expect("a list");
    assert!(ended.stderr.contains(&format!("hint: {runs} of 9 runs are kept")), "{}", ended.stderr);
    // What breaks now costs nothing of what is done: no file grows beyond 6 KiB, as on a disk that is full.
    let full = Lab::new().with_file("ports.toml", PORTS).with_file_blocks(12);
    let place = full.home().join("results").join(ended.folder().file_name().expect("a name"));
    copy(&ended.folder(), &place);
    let broken = start(full, &["--resume", &place.display().to_string()]).wait_at_most(PATIENCE);
    assert_eq!(broken.status.code(), Some(4), "{}", broken.stderr);
    assert!(broken.stderr.contains("broke: "), "{}", broken.stderr);
    assert!(broken.stderr.contains(&format!("hint: {runs} of 9 runs are kept")), "{}", broken.stderr);
    assert_eq!(state(&place)["runs"], state(&ended.folder())["runs"]);
    // With another file it is not gone on with.
    let other = Lab::new().with_file("ports.toml", &PORTS.replace("Few", "Some"));
    let results = other.home().join("results");
    std::fs::create_dir_all(&results).expect("made");
    let folder = results.join(ended.folder().file_name().expect("a name"));
    copy(&ended.folder(), &folder);
    let ended = start(other, &["--resume", &folder.display().to_string()]).wait();
    ended.expect_exit(3);
    assert!(ended.stderr.contains("the sweep's file is another one"), "{}", ended.stderr);
}

#[test]
fn what_cannot_be_set_here_is_told_before_the_first_run() {
    let varied = "net.ipv4.ip_local_port_range = [[20000, 20039], [20000, 20059]]";
    let absent = PORTS.replace(varied, "net.ipv4.tcp_tw_recycle = [1]");
    let absent = absent.split("[[expect]]").next().expect("its begin").to_owned();
    let ended = sweep(&absent, &[]);
    ended.expect_refused(3, &["this kernel does not have net.ipv4.tcp_tw_recycle"]);
    if !namespaces_allowed("what a host refuses") {
        return;
    }
    // The kernel reads it, and takes no such value.
    let refused =
        absent.replace("net.ipv4.tcp_tw_recycle", "net.ipv4.tcp_syn_retries").replace("[1]", "[4000]");
    let ended = sweep(&refused, &[]);
    ended.expect_refused(3, &["net.ipv4.tcp_syn_retries = 4000 cannot be set on this host"]);
}

#[test]
fn what_a_side_sets_is_read_back_and_the_answer_says_from_where() {
    if !namespaces_allowed("a sweep") {
        return;
    }
    let varied = "net.ipv4.ip_local_port_range = [[20000, 20039], [20000, 20059]]";
    let sides = "namespace.initcwnd = [30]\nsocket.backlog = [7]\nsocket.rcvbuf_bytes = [8192]\n\
                 server.scheduling = [\"other\"]\nserver.one_table = [true]\nserver.nofile = [300]\nsources = [1]";
    let text = PORTS.replace(varied, sides).replace("pairs = 2", "pairs = 1");
    let text = text.split("[[expect]]").next().expect("its begin").to_owned();
    let ended = sweep(&text, &["--json"]);
    ended.expect_exit(0);
    let read_back = &ended.document()["read_back"];
    for (key, from) in [
        ("namespace.initcwnd", "rtnetlink"),
        ("socket.backlog", "sock_diag"),
        ("socket.rcvbuf_bytes", "getsockopt"),
        ("server.scheduling", "/task/"),
        ("server.one_table", "tables"),
        ("server.nofile", "/proc/PID/limits"),
    ] {
        assert!(read_back[key].as_str().is_some_and(|source| source.contains(from)), "{key}: {read_back}");
    }
    assert!(read_back["sources"].is_null(), "{read_back}");
    let told: String = ended.told().split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(told.contains("not read back: sources"), "{told}");
    let runs = state(&ended.folder())["runs"].clone();
    let windows: Vec<&Value> =
        runs.as_array().expect("a list").iter().map(|run| &run["applied"]["namespace.initcwnd"]).collect();
    assert_eq!(windows.iter().filter(|window| ***window == "30").count(), 1, "{windows:?}");
    // The kernel bounds a buffer without an error, so it would be a side that is none.
    let beyond = text.replace("socket.rcvbuf_bytes = [8192]", "socket.rcvbuf_bytes = [1073741823]");
    sweep(&beyond, &[]).expect_refused(3, &["socket.rcvbuf_bytes = 1073741823", "the kernel keeps "]);
}

#[test]
fn a_side_that_would_run_as_the_base_does_is_told_before_the_first_run() {
    let varied = "net.ipv4.ip_local_port_range = [[20000, 20039], [20000, 20059]]";
    let begin = |vary: &str| {
        let text = PORTS.replace(varied, vary);
        text.split("[[expect]]").next().expect("its begin").to_owned()
    };
    // 2^20 where nobody has raised or lowered it.
    let ended = sweep(&begin("fs.nr_open = [1024]"), &[]);
    ended.expect_refused(3, &["fs.nr_open = 1024 cannot be tried: more stands already, "]);
    if Path::new("/proc/sys/net/ipv4/tcp_ehash_entries").exists() {
        let ended = sweep(&begin("namespace.ehash_entries = [1]"), &["--check"]);
        ended
            .expect_refused(3, &["namespace.ehash_entries = 1 is never made: a namespace on this host has "]);
    } else {
        eprintln!("SKIPPED: the hash of a namespace of its own takes Linux 6.1");
    }
}

#[test]
fn what_is_wrong_in_the_file_is_told_with_line_and_caret() {
    let table = [
        ("metrics = [\"held\"]", "metrics = [\"speed\"]", "unknown metric `speed`"),
        ("metrics = [\"held\"]", "metrics = [\"stalls\"]", "stalls is measured in stream"),
        ("seed = 11", "sead = 11", "unknown key `sead`"),
        ("[[20000, 20039], [20000, 20059]]", "[]", "a list without a value"),
        ("target = 90", "targit = 90", "unknown key `targit`"),
    ];
    for (from, to, words) in table {
        let ended = sweep(&PORTS.replace(from, to), &[]);
        ended.expect_refused(2, &[words, "--> ports.toml:", "^"]);
    }
    // What a file says steers no terminal.
    let steering =
        PORTS.replace("seed = 11", r#""\u001b[2Jsead\u0007" = 11"#).replace("Few ports", r"\u001b]0;x\u0007");
    let ended = sweep(&steering, &[]);
    ended.expect_refused(2, &["sead"]);
    let told = sweep(&PORTS.replace("Few ports", r"Few \u001b[2Jports"), &["--check"]);
    told.expect_exit(0);
    for said in [&ended.stderr, &told.stderr, &told.stdout] {
        assert!(!said.contains(['\u{1b}', '\u{7}']), "{said:?}");
    }
    let ended = Lab::new().command(&["sweep", "nothing.toml"]).wait();
    ended.expect_refused(2, &["cannot read the sweep 'nothing.toml'"]);
}

#[test]
fn how_long_it_would_take_is_told_without_a_run() {
    let ended = sweep(PORTS, &["--check"]);
    ended.expect_exit(0);
    assert!(ended.stdout.starts_with("ports: about "), "{}", ended.stdout);
    ended.expect_nothing_left();
}

#[track_caller]
fn state(folder: &Path) -> Value {
    let text = std::fs::read_to_string(folder.join("sweep.json")).expect("sweep.json");
    serde_json::from_str(&text).expect("a document")
}

/// The kernel lets go of a lock when its holder is gone.
#[track_caller]
fn wait_until_unlocked(folder: &Path) {
    let give_up = Instant::now() + Duration::from_secs(60);
    let file = std::fs::File::open(folder.join("lock")).expect("the lock");
    while file.try_lock().is_err() {
        assert!(Instant::now() < give_up, "it is still held");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("made");
    for entry in std::fs::read_dir(from).expect("listed").flatten() {
        let place: PathBuf = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &place);
        } else {
            std::fs::copy(entry.path(), place).expect("copied");
        }
    }
}
