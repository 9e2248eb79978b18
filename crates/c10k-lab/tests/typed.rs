//! What a stranger types is taken where it is plain what is meant, and else answered with what would be.

mod common;

use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use common::{Ended, Lab, lab, run_lab};

const PROGRAM: &str = env!("CARGO_BIN_EXE_c10k-lab");

/// Flags of a short run.
const SHORT: [&str; 4] = ["--hold", "50ms", "--verdict", "echo_p95 <= 1h"];

/// The program by the name of a link.
fn by_link(name: &str, arguments: &[&str]) -> Output {
    let folder = tempfile::tempdir().expect("a folder");
    let link = folder.path().join(name);
    symlink(PROGRAM, &link).expect("a link");
    let mut command = Command::new(link);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("started");
    // One that refused its flags reads nothing.
    let _ = child.stdin.take().expect("piped").write_all(b"stop\n");
    child.wait_with_output().expect("ended")
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A run with two connections, and the folder of its results.
fn small_run(lab: Lab) -> Ended {
    let ended = lab.run(&[&["--target", "2"], &SHORT[..]].concat());
    ended.expect_held(2);
    ended
}

fn lab_in(home: &Path, arguments: &[&str]) -> Output {
    Command::new(PROGRAM).args(arguments).current_dir(home).output().expect("started")
}

#[test]
fn a_target_is_taken_without_its_flag_by_other_names_and_in_other_spellings() {
    for arguments in [
        &["20"][..],
        &["--target", "20"],
        &["--connections", "20"],
        &["--max", "20"],
        &["-n", "20"],
        &["--target", "2e1"],
        &["0.02k"],
    ] {
        run_lab(&[arguments, &SHORT[..]].concat()).expect_held(20);
    }
    run_lab(&["1,020", "--hold", "10ms", "--verdict", "echo_p95 <= 1h"]).expect_held(1020);
    run_lab(&["20", "--target", "30"]).expect_refused(2, &["two targets"]);
    run_lab(&["20x"]).expect_refused(2, &["'20x'", "c10k-lab list"]);
    let ended = lab(&["doctor", "1,000", "--no-calibration", "--json"]);
    assert_eq!(ended.document()["target"], 1000, "{}", ended.stdout);
    for arguments in
        [&["climb", "0"][..], &["climb", "--target", "0"], &["climb", "--max", "0"], &["climb", "-n", "0"]]
    {
        lab(arguments).expect_refused(2, &["--target 0 holds nothing"]);
    }
}

#[test]
fn a_hold_is_taken_by_its_other_name_and_a_bad_one_names_the_flag() {
    let record =
        run_lab(&["--target", "2", "--duration", "50ms", "--verdict", "echo_p95 <= 1h"]).expect_held(2);
    assert_eq!(record.plan.expect("a plan").load.hold, "50ms".parse().expect("a time"));
    for (flag, value) in [("--hold", "-1s"), ("--target", "-5"), ("-n", "-5")] {
        let ended = run_lab(&[flag, value]);
        let name = if flag == "-n" { "--target" } else { flag };
        ended.expect_refused(2, &[&format!("invalid value '{value}' for '{name} <")]);
    }
}

#[test]
fn a_mistyped_command_flag_profile_or_metric_is_answered_with_the_nearest() {
    for (arguments, tip) in [
        (&["rum"][..], "run"),
        (&["profil", "list"], "profile"),
        (&["run", "--taget", "5"], "--target"),
        (&["run", "--server_port", "80"], "--server-port"),
        (&["climb", "--stat", "stock"], "--start"),
        (&["doctor", "--plane"], "--plain"),
        (&["run", "--profile", "tuend"], "did you mean tuned?"),
        (&["profile", "show", "tund"], "did you mean tuned?"),
        (&["run", "--verdict", "hled = target"], "did you mean held?"),
        (&["walls", "nofil-swarm"], "did you mean nofile-swarm?"),
        (&["walls", "ports exhausted"], "did you mean ports-exhausted?"),
        (&["walls", "plant", "nofile-swam"], "did you mean nofile-swarm?"),
        (&["walls", "myths", "somaxcon"], "did you mean somaxconn?"),
    ] {
        let ended = lab(arguments);
        // Words may name a wall at once.
        if ended.status.code() == Some(0) {
            assert!(ended.stdout.contains("ports-exhausted"), "{arguments:?}: {}", ended.stdout);
            continue;
        }
        ended.expect_exit(2);
        assert!(ended.stderr.contains(tip), "{arguments:?}: {}", ended.stderr);
    }
}

#[test]
fn an_answer_to_what_is_mistyped_is_short() {
    for arguments in [
        &["walls", "plant", "nope"][..],
        &["walls", "nope"],
        &["walls", "myths", "nope"],
        &["walls", "12345"],
    ] {
        let ended = lab(arguments);
        ended.expect_exit(2);
        assert!(ended.stderr.lines().all(|line| line.chars().count() <= 160), "{}", ended.stderr);
    }
}

#[test]
fn walls_takes_several_words_and_numbers() {
    for (arguments, says) in [
        (&["walls", "connection", "refused"][..], "nobody listens"),
        (&["walls", "timeout"], "accept-queue"),
        (&["walls", "28232"], "ports-exhausted"),
        (&["walls", "stuck at 28,225"], "28,225: most likely"),
        (&["walls", "stuck", "at", "524,273"], "524,273"),
        (&["walls", "28k"], "27,500 to 28,999"),
    ] {
        let ended = lab(arguments);
        ended.expect_exit(0);
        assert!(ended.stdout.contains(says), "{arguments:?}: {}", ended.stdout);
    }
    lab(&["walls", "28500"]).expect_refused(2, &["28,500 is no number that I know"]);
    let document = lab(&["walls", "1017", "--json"]).document();
    assert_eq!(document["causes"][0]["walls"][0], "nofile-server", "{document}");
}

#[test]
fn a_reversed_range_is_answered_with_the_right_one() {
    for (text, meant) in [
        ("192.168.1.230-200", "did you mean 192.168.1.200-230?"),
        ("127.0.0.8-127.0.0.1", "did you mean 127.0.0.1-127.0.0.8?"),
    ] {
        run_lab(&["--ips", text]).expect_refused(2, &[meant]);
    }
    run_lab(&["--ports", "5000-4000"]).expect_refused(2, &["did you mean 4000-5000?"]);
}

#[test]
fn results_that_are_a_file_are_said_to_be_one() {
    for command in [&["run", "5", "--results", "file"][..], &["climb", "5", "--results", "file"]] {
        let ended = Lab::new().with_file("file", "x").command(command).wait();
        ended.expect_refused(3, &["'file' is a file, not a folder"]);
    }
}

#[test]
fn a_folder_whose_name_is_no_utf8_takes_the_results_and_the_record_shows_the_command() {
    use std::os::unix::ffi::OsStrExt as _;
    let home = tempfile::tempdir().expect("a folder");
    let name = std::ffi::OsStr::from_bytes(b"r\xff");
    let output = Command::new(PROGRAM)
        .args(["run", "2", "--json"])
        .args(SHORT)
        .arg("--results")
        .arg(name)
        .current_dir(home.path())
        .output()
        .expect("started");
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(
        String::from_utf8_lossy(&output.stdout).contains("r\u{fffd}"),
        "the command as far as it is text"
    );
    assert!(home.path().join(name).is_dir());
}

#[test]
fn the_programs_are_had_by_the_names_of_links() {
    for (name, flag) in [("c10k-server", "--listen"), ("c10k-swarm", "--target"), ("c10k-collector", "--pid")]
    {
        let help = by_link(name, &["--help"]);
        let text = String::from_utf8_lossy(&help.stdout).into_owned();
        assert!(
            help.status.success() && text.contains(&format!("Usage: {name} ")) && text.contains(flag),
            "{text}"
        );
        let version = by_link(name, &["--version"]);
        assert!(String::from_utf8_lossy(&version.stdout).starts_with(name), "{version:?}");
        let bad = by_link(name, &["--nope"]);
        assert_eq!(bad.status.code(), Some(2), "{}", stderr(&bad));
    }
    let bare = by_link("c10k-collector", &[]);
    assert!(stderr(&bare).contains("<--pid <PID>|--port <PORT>>"), "{}", stderr(&bare));
}

#[test]
fn a_server_takes_a_port_alone() {
    for arguments in
        [&["--port", "0"][..], &["--listen", "0"], &["--listen", ":0"], &["--listen", "127.0.0.1:0"]]
    {
        let output = by_link("c10k-server", &[arguments, &["--events"]].concat());
        let ready = String::from_utf8_lossy(&output.stdout).into_owned();
        let place = if arguments[1] == ":0" { "0.0.0.0:" } else { "127.0.0.1:" };
        assert!(ready.contains(place), "{arguments:?}: {ready} {}", stderr(&output));
    }
}

/// What a line of the lab with `-h` or `--help` shows on a terminal of 80 columns.
fn help(arguments: &[&str]) -> String {
    let output = Command::new(PROGRAM).args(arguments).env("COLUMNS", "80").output().expect("started");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn the_help_of_every_command_is_a_screen_and_what_it_leaves_out_is_in_the_longer_one() {
    for command in [
        "climb",
        "sweep",
        "tune",
        "doctor",
        "serve",
        "report",
        "compare",
        "merge",
        "server",
        "swarm",
        "collector",
        "list",
        "clean",
        "walls",
        "walls plant",
        "profile",
        "profile list",
        "profile show",
        "profile diff",
        "profile apply",
        "profile rollback",
        "completions",
        "man",
        "schema",
    ] {
        let words: Vec<&str> = command.split(' ').chain(["-h"]).collect();
        let text = help(&words);
        let is_narrow = text.lines().all(|line| line.chars().count() <= 80);
        assert!((1..=45).contains(&text.lines().count()) && is_narrow, "{command}: {text}");
    }
    for (command, flag, words) in [
        ("swarm", "--in-flight ", "Connections under way at one time"),
        ("server", "--stall-timeout ", "Close a connection whose peer has taken none"),
        ("serve", "--lease ", "End a run when nothing was heard of its client"),
        ("tune", "--tables", "Begin with a descriptor table for each worker"),
    ] {
        assert!(!help(&[command, "-h"]).contains(flag), "{command}");
        let long = help(&[command, "--help"]);
        assert!(long.contains(flag) && long.contains(words), "{command}: {long}");
    }
}

#[test]
fn help_is_a_screen_in_groups_and_all_of_it_is_behind_the_longer_flag() {
    let whole = help(&["-h"]);
    assert!(whole.lines().count() <= 24 && whole.lines().all(|line| line.chars().count() <= 80), "{whole}");
    let commands = whole.split("\nCommands:\n").nth(1).expect("a list");
    assert!(
        commands.starts_with("  run ") && commands.find("\n  help ") > commands.find("\n  man "),
        "{whole}"
    );
    let run = help(&["run", "-h"]);
    assert!(run.lines().count() <= 40 && run.lines().all(|line| line.chars().count() <= 80), "{run}");
    let places: Vec<usize> = ["Load:", "Hold:", "Workload:", "Server:", "WebSocket:", "Output:"]
        .iter()
        .map(|heading| run.find(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("{heading}: {run}")))
        .collect();
    assert!(places.is_sorted(), "{run}");
    let find = help(&["find", "-h"]);
    assert!(find.lines().count() <= 45 && find.lines().all(|line| line.chars().count() <= 80), "{find}");
    for flag in ["--vary", "--up-to", "--repeat", "--target", "--workload"] {
        assert!(find.contains(flag), "{flag}: {find}");
    }
    let long = help(&["run", "--help"]);
    let examples = long.lines().skip(1).take_while(|line| line.starts_with("  c10k-lab run")).count();
    assert!(long.starts_with("Examples:\n") && examples == 5, "{long}");
    // No flag stands under WebSocket that is none of it.
    let websocket =
        long.split("\nWebSocket:\n").nth(1).and_then(|text| text.split("\nOutput:\n").next()).expect("it");
    for flag in ["--results", "--json", "--profile", "--color"] {
        assert!(!websocket.contains(flag), "{websocket}");
    }
    for program in ["server", "swarm"] {
        let text = help(&[program, "--help"]);
        let websocket = text.split("\nWebSocket:\n").nth(1).expect("a group");
        for flag in ["--profile", "--mode", "--events", "--json"] {
            assert!(
                !websocket.contains(&format!("{flag}\n")) && !websocket.contains(&format!("{flag} ")),
                "{program}: {flag}: {websocket}"
            );
        }
    }
}

#[test]
fn a_slip_has_a_tip_that_helps_and_none_that_misleads() {
    for (words, tip) in [
        (&["rnu"][..], "'run'"),
        (&["sweeep", "x"], "'sweep'"),
        (&["swarm", "--prot", "ws"], "'--protocol'"),
        (&["server", "--max-conn", "5"], "'--max-connections'"),
    ] {
        let ended = lab(words);
        ended.expect_exit(2);
        assert!(ended.stderr.contains("tip: ") && ended.stderr.contains(tip), "{words:?}: {}", ended.stderr);
    }
    for words in [
        &["climb", "-q"][..],
        &["doctor", "-q"],
        &["climb", "--hold", "1s"],
        &["walls", "-4"],
        &["report", "-q"],
    ] {
        let ended = lab(words);
        ended.expect_exit(2);
        assert!(!ended.stderr.contains("as a value"), "{words:?}: {}", ended.stderr);
    }
    lab(&["clean", "--keep", "x"]).expect_refused(2, &["'x' is no number of runs: expected a whole number"]);
}

#[test]
fn every_flag_of_a_run_that_takes_a_value_says_its_default_or_that_it_has_none() {
    let long = lab(&["run", "--help"]).stdout;
    let body = long.split("\nLoad:\n").nth(1).expect("groups");
    for part in body.split("\n      --").skip(1).chain(body.split("\n  -").skip(1)) {
        let flag = part.split_whitespace().next().unwrap_or_default();
        let takes_a_value = part.lines().next().is_some_and(|line| line.contains('<'));
        // What there is none of unless it is given.
        let optional =
            ["server-pid", "server-port", "control", "ssh", "steps", "message-rate", "in-flight-messages"]
                .contains(&flag);
        let words: String = part.split_whitespace().collect::<Vec<_>>().join(" ");
        let says = words.contains("[default")
            || words.contains("several times")
            || words.contains("[possible values");
        assert!(!takes_a_value || optional || says, "--{flag}: {words}");
    }
}

#[test]
fn completions_and_man_pages_are_made_for_all_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let ended = lab(&["completions", shell]);
        ended.expect_exit(0);
        assert!(ended.stdout.contains("c10k-lab") && ended.stdout.contains("topology"), "{shell}");
    }
    lab(&["completions", "csh"]).expect_exit(2);
    let ended = Lab::new().command(&["man", "pages"]).wait();
    ended.expect_exit(0);
    for page in
        ["c10k-lab", "c10k-lab-run", "c10k-lab-walls-plant", "c10k-server", "c10k-swarm", "c10k-collector"]
    {
        let text = std::fs::read_to_string(ended.home.path().join(format!("pages/{page}.1"))).expect(page);
        assert!(text.contains(&format!(".TH {page} 1")), "{page}: {}", &text[..200]);
        let of_a_flag = match page {
            "c10k-lab-run" => "Connections under way at one time",
            "c10k-server" => "whose peer has taken none of its pending output",
            _ => "",
        };
        assert!(text.contains(of_a_flag), "{page}: no '{of_a_flag}'");
    }
    Lab::new().with_file("pages", "x").command(&["man", "pages"]).wait().expect_refused(3, &["'pages'"]);
}

#[test]
fn runs_are_listed_shown_repeated_and_cleaned_by_short_names() {
    let ended = small_run(Lab::new());
    let home = ended.home.path();
    let first = ended.folder();
    let newer = ended.results.join("29991231T235959Z-tuned-raw-hold");
    copy(&first, &newer);
    std::fs::create_dir(ended.results.join("bench")).expect("a folder of somebody");
    let text = |output: &Output| String::from_utf8_lossy(&output.stdout).into_owned();
    let listed = text(&lab_in(home, &["list"]));
    let lines: Vec<&str> = listed.lines().collect();
    assert!(
        lines.len() == 2 && lines[0].starts_with("results/29991231") && lines[1].contains("HELD 2 of 2"),
        "{listed}"
    );
    for name in ["latest", "last", "results", "results/29991231T235959Z-tuned-raw-hold"] {
        let shown = lab_in(home, &["report", name]);
        assert!(shown.status.success() && text(&shown).contains("HELD 2 of 2"), "{name}: {}", stderr(&shown));
    }
    let folder = first.display().to_string();
    let again = lab_in(home, &["run", &folder, "--results", "again"]);
    assert!(again.status.success(), "{}", stderr(&again));

    let asked = lab_in(home, &["clean", "--keep", "1"]);
    assert_eq!(asked.status.code(), Some(2), "{}", stderr(&asked));
    assert!(first.exists() && stderr(&asked).contains("1 run would be deleted"), "{}", stderr(&asked));
    std::fs::write(first.join("notes.txt"), "mine").expect("written");
    let kept = lab_in(home, &["clean", "--keep", "1", "--yes"]);
    assert!(
        first.exists() && stderr(&kept).contains("'notes.txt', which no run writes"),
        "{}",
        stderr(&kept)
    );
    std::fs::remove_file(first.join("notes.txt")).expect("removed");
    let done = lab_in(home, &["clean", "--keep", "1", "--yes"]);
    assert!(done.status.success() && stderr(&done).contains("deleted 1 run"), "{}", stderr(&done));
    assert!(!first.exists() && newer.exists() && ended.results.join("bench").exists());
    let empty = lab_in(home, &["list", "nowhere"]);
    assert_eq!(empty.status.code(), Some(3), "{}", stderr(&empty));
}

#[test]
fn what_links_lead_to_and_what_is_being_written_stay() {
    let ended = small_run(Lab::new());
    let (home, run) = (ended.home.path(), ended.folder());
    let elsewhere = home.join("elsewhere");
    std::fs::rename(&run, &elsewhere).expect("moved");
    symlink(&elsewhere, &run).expect("a link");
    let live = ended.results.join("20200101T000000Z-tuned-raw-hold");
    copy(&elsewhere, &live);
    let record = std::fs::read_to_string(live.join("record.json")).expect("a record");
    let mut record: serde_json::Value = serde_json::from_str(&record).expect("JSON");
    record["ended_because"] =
        format!("unfinished: it was being written by process {}; x", std::process::id()).into();
    std::fs::write(live.join("record.partial.json"), record.to_string()).expect("written");
    std::fs::remove_file(live.join("record.json")).expect("removed");
    let done = lab_in(home, &["clean", "--keep", "0", "--yes"]);
    assert!(done.status.success() && elsewhere.exists() && live.exists(), "{}", stderr(&done));
    assert!(stderr(&done).contains("is writing it"), "{}", stderr(&done));
}

#[test]
fn a_climb_is_shown_by_its_folder() {
    let climb = r#"{"connections": {"target": 5000, "held": 4065}, "steps": [{"number": 1, "held": 993, "wall": "nofile-swarm"}], "wall": "nofile-swarm"}"#;
    let lab = Lab::new().after("mkdir -p results/20260101T000000Z-climb").with_file("climb.json", climb);
    let lab = lab.after("cp climb.json results/20260101T000000Z-climb/");
    let ended = lab.command(&["report", "results"]).wait();
    ended.expect_exit(0);
    assert!(
        ended.stdout.contains("SHORT: climbed to 4,065 of 5,000 connections in 1 step; wall: nofile-swarm"),
        "{}",
        ended.stdout
    );
    assert!(ended.stdout.contains("step 1: held 993, nofile-swarm"), "{}", ended.stdout);
}

#[test]
fn a_profile_is_shown_with_its_reasons_and_applied_by_root_alone() {
    let shown = lab(&["profile", "show", "c1m"]).stdout;
    assert!(shown.contains("# A million arrivals take half a minute"), "{shown}");
    assert!(shown.contains("# A listener that closes hands its queue"), "of the one it extends: {shown}");
    let plain = lab(&["profile", "show", "stock"]).stdout;
    assert!(!plain.contains("[namespace]") && !plain.contains("extends"), "{plain}");
    let ended = Lab::new().by_ordinary_user().command(&["profile", "apply", "tuned"]).wait();
    if ended.stderr.contains("needs root") {
        ended.expect_refused(3, &["hint: sudo c10k-lab profile apply tuned"]);
        assert!(ended.stderr.lines().all(|line| line.len() < 120), "{}", ended.stderr);
    } else {
        // In a namespace of its own this user may.
        ended.expect_exit(0);
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("listed").flatten() {
        std::fs::copy(entry.path(), to.join(entry.file_name())).expect("copied");
    }
}
