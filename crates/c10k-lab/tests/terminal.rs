//! What a person sees: the line that is written over, the screen at the end, and what pipes and files get.

#![allow(clippy::print_stderr, reason = "a skipped test says so")]

mod common;
mod tmux;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use common::{Lab, run_lab};
use nix::sys::signal::Signal;
use tmux::{Terminal, has_tmux};

const PROGRAM: &str = env!("CARGO_BIN_EXE_c10k-lab");
const SMALL: [&str; 4] = ["--target", "400", "--hold", "300ms"];

#[test]
fn on_a_terminal_the_line_never_wraps_and_the_last_screen_has_the_headline() {
    if !has_tmux("on_a_terminal_the_line_never_wraps") {
        return;
    }
    for (columns, rows) in [(80, 24), (60, 20), (200, 50)] {
        let folder = tempfile::tempdir().expect("a folder");
        let run = format!("{PROGRAM} run --target 2k --hold 2s --rate 2000/s --verdict 'echo_p95 <= 1h'");
        let command = format!("{run}; echo over; sleep 60");
        let Some(terminal) = Terminal::start(columns, rows, folder.path(), &command) else {
            eprintln!("SKIPPED on_a_terminal_the_line_never_wraps: tmux starts no session here");
            return;
        };
        let held = terminal.wait_for(" left");
        let live = held.lines().filter(|line| line.contains(" left")).count();
        assert_eq!(live, 1, "one line, written over: {held}");
        let shown = terminal.wait_for("\nover");
        // What was wrapped or scrolled would be more of them than the closing line.
        let lines = shown.lines().filter(|line| {
            ["ramp ", "hold ", "verify ", "close "].iter().any(|phase| line.starts_with(phase))
        });
        assert_eq!(lines.count(), 0, "{columns}: {shown}");
        assert_eq!(shown.matches("closed 2,000 connections in ").count(), 1, "{columns}: {shown}");
        let screen: Vec<&str> = shown.lines().rev().take(rows as usize - 1).collect();
        assert!(
            screen.iter().any(|line| line.starts_with("HELD 2,000 of 2,000 connections")),
            "{columns}: {shown}"
        );
    }
}

#[test]
fn the_line_follows_a_resize_of_its_terminal() {
    const TEST: &str = "the_line_follows_a_resize_of_its_terminal";
    if !has_tmux(TEST) {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let command = format!("{PROGRAM} run --target 600 --hold 60s --verdict 'echo_p95 <= 1h'");
    let Some(terminal) = Terminal::start(60, 20, folder.path(), &command) else {
        eprintln!("SKIPPED {TEST}: tmux starts no session here");
        return;
    };
    let longest = |shown: &str| {
        let lines = shown.lines().filter(|line| line.contains(" left"));
        lines.map(|line| line.chars().count()).max().unwrap_or(0)
    };
    let narrow = terminal.wait_for(" left");
    assert!((1..60).contains(&longest(&narrow)), "{narrow}");
    terminal.resize(120, 20);
    let give_up = Instant::now() + Duration::from_secs(50);
    loop {
        let shown = terminal.shown();
        if (61..120).contains(&longest(&shown)) {
            break;
        }
        assert!(Instant::now() < give_up, "never longer than it was: {shown}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_verdict_that_only_warns_is_told_by_a_sign_and_a_word_of_its_own() {
    let warn = ["--verdict", "echo_p95 <= 1h", "--verdict", "warn: connects_per_second > 10M"];
    let ended = run_lab(&[&SMALL[..], &warn].concat());
    ended.expect_exit(0);
    let headline = "HELD 400 of 400 connections; 1 of 5 verdicts only warns\n";
    assert!(ended.stdout.starts_with(headline), "{}", ended.stdout);
    let line = ended.stdout.lines().find(|line| line.contains("connects_per_second > 10M")).expect("told");
    assert!(line.contains("! connects_per_second") && line.ends_with("/s, only warns"), "{line}");
    assert!(!ended.stdout.contains('✗') && !ended.stdout.contains("does not hold"), "{}", ended.stdout);
}

#[test]
fn a_file_gets_the_summary_and_stderr_the_line() {
    let ended = run_lab(&SMALL);
    ended.expect_held(400);
    assert!(ended.stdout.starts_with("HELD 400 of 400 connections\n"), "{}", ended.stdout);
    let lines = ended.stdout.lines().count();
    assert!((12..=17).contains(&lines), "{lines} lines: {}", ended.stdout);
    assert!(!ended.stderr.contains("HELD"), "{}", ended.stderr);
    assert!(
        !ended.stderr.contains('\r') && ended.stderr.contains("closed 400 connections in "),
        "{}",
        ended.stderr
    );
    assert!(ended.stderr.lines().all(|line| line.chars().count() <= 80), "{}", ended.stderr);
}

#[test]
fn a_quiet_run_says_its_headline_and_its_path_alone() {
    for flag in ["-q", "--quiet"] {
        let ended = run_lab(&[&SMALL[..], &[flag]].concat());
        ended.expect_held(400);
        let folder = ended.folder().display().to_string();
        let lines: Vec<&str> = ended.stdout.lines().collect();
        assert_eq!(lines, ["HELD 400 of 400 connections", &folder], "{}", ended.stdout);
        assert_eq!(ended.stderr, "");
    }
}

#[test]
fn a_full_account_has_what_the_few_lines_leave_out_and_a_document_stands_alone() {
    let full = run_lab(&[&SMALL[..], &["--full"]].concat());
    full.expect_held(400);
    for section in ["\nConnections\n", "\nCost of a connection\n", "\nRun\n"] {
        assert!(full.stdout.contains(section), "{section}: {}", full.stdout);
    }
    let json = run_lab(&[&SMALL[..], &["--json"]].concat());
    json.expect_held(400);
    assert_eq!(json.document()["connections"]["held"], 400);
    let quiet = run_lab(&[&SMALL[..], &["--json", "-q"]].concat());
    assert_eq!((quiet.document()["connections"]["held"].as_u64(), quiet.stderr.as_str()), (Some(400), ""));
}

#[test]
fn a_reader_of_the_first_lines_gets_them_and_nobody_panics() {
    let folder = tempfile::tempdir().expect("a folder");
    let script = format!("{PROGRAM} run --target 400 --hold 300ms --verdict 'echo_p95 <= 1h' | head -5");
    let output =
        Command::new("sh").args(["-c", &script]).current_dir(folder.path()).output().expect("sh is there");
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(stdout.starts_with("HELD 400 of 400 connections\n") && stdout.lines().count() == 5, "{stdout}");
    assert!(!stderr.contains("panicked") && !stderr.contains("error"), "{stderr}");
}

#[test]
fn a_dumb_terminal_gets_whole_lines() {
    let ended = Lab::new().with_env("TERM", "dumb").run(&SMALL);
    ended.expect_held(400);
    assert!(!ended.stderr.contains('\r') && !ended.stderr.contains('\x1b'), "{}", ended.stderr);
}

/// The full screen of a long hold, and the pid of its lab. Behind it `over CODE` and how the terminal is set are shown.
fn full_screen(folder: &Path) -> Option<(Terminal, u32)> {
    let lab = format!("exec {PROGRAM} run --tui --target 400 --hold 60s --verdict 'echo_p95 <= 1h'");
    let script = folder.join("lab.sh");
    std::fs::write(&script, format!("echo $$ > pid\n{lab}\n")).expect("a file");
    let command = "sh lab.sh; echo over $?; stty -a | grep -ow -e -icanon -e icanon; echo end; sleep 60";
    let terminal = Terminal::start(80, 24, folder, command)?;
    terminal.wait_for("[hold]");
    // The last part of the first frame of the hold.
    let shown = terminal.wait_for("Next walls");
    assert!(shown.contains("attempted            400"), "{shown}");
    let pid = std::fs::read_to_string(folder.join("pid")).expect("written by the script");
    Some((terminal, pid.trim().parse().expect("a pid")))
}

/// The server below this lab: its first child, or that of the lab which it has started and waits for.
fn server_below(lab: u32) -> u32 {
    let children = std::fs::read_to_string(format!("/proc/{lab}/task/{lab}/children")).expect("Linux");
    let first = children.split_whitespace().next().expect("the server is started first");
    let first: u32 = first.parse().expect("a pid");
    let command = std::fs::read_to_string(format!("/proc/{first}/cmdline")).expect("Linux");
    if command.split('\0').nth(1) == Some("server") { first } else { server_below(first) }
}

#[test]
fn a_full_screen_ends_in_order_by_a_key_or_a_signal_and_gives_the_terminal_back() {
    const TEST: &str = "a_full_screen_ends_in_order";
    if !has_tmux(TEST) {
        return;
    }
    for by in ["q", "C-c", "SIGTERM", "twice"] {
        let folder = tempfile::tempdir().expect("a folder");
        let Some((terminal, pid)) = full_screen(folder.path()) else {
            eprintln!("SKIPPED {TEST}: tmux starts no session here");
            return;
        };
        match by {
            "SIGTERM" => common::send(pid, Signal::SIGTERM),
            "twice" => {
                common::send(pid, Signal::SIGTERM);
                std::thread::sleep(Duration::from_millis(20));
                // It may have ended by then.
                common::send(pid, Signal::SIGTERM);
            }
            keys => terminal.press(keys),
        }
        let shown = terminal.wait_for("\nend");
        assert!(!shown.contains("[hold]") && shown.contains("\nicanon\n"), "{by}: {shown}");
        let code = if by.contains('T') || by == "twice" { 143 } else { 130 };
        assert!(shown.contains(&format!("over {code}")), "{by}: {shown}");
        if by != "twice" {
            for words in ["ABORTED by ", "closed 400 connections in ", "report      results/"] {
                assert!(shown.contains(words), "{by}: '{words}': {shown}");
            }
        }
    }
}

#[test]
fn a_full_screen_outlives_no_run_that_broke() {
    if !has_tmux("a_full_screen_outlives_no_run_that_broke") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let Some((terminal, pid)) = full_screen(folder.path()) else {
        eprintln!("SKIPPED a_full_screen_outlives_no_run_that_broke: tmux starts no session here");
        return;
    };
    common::send(server_below(pid), Signal::SIGKILL);
    let shown = terminal.wait_for("\nend");
    assert!(shown.contains("over 4\nicanon\n"), "{shown}");
    assert!(shown.contains("warning: the server was killed by signal 9 in the hold"), "{shown}");
}

#[test]
fn a_full_screen_is_refused_where_nobody_sees_it() {
    for (flags, why) in [
        (&["--tui"][..], "stdout and stderr are to be a terminal for it"),
        (&["--tui", "-q"], "-q says nothing but the headline"),
        (&["--tui", "--json"], "--json is for programs"),
    ] {
        let ended = run_lab(&[&SMALL[..], flags].concat());
        assert_eq!(ended.stderr, format!("error: --tui shows a full screen: {why}\n"));
        assert_eq!((ended.status.code(), ended.stdout.as_str()), (Some(2), ""));
    }
}
