//! A swarm that panics behind a full screen. It is its own harness: where `C10K_TEST_IS_THE_LAB` is set it is the lab, whose
//! swarm panics as soon as there is a file `panic` where it runs.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this is its own test harness")]

mod tmux;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;
use std::sync::mpsc;
use std::time::Duration;

use tmux::{Terminal, has_tmux};

const NAME: &str = "a_swarm_that_panics_behind_a_full_screen_leaves_the_terminal_as_it_was";
const IS_THE_LAB: &str = "C10K_TEST_IS_THE_LAB";

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let is_the_lab = std::env::var_os(IS_THE_LAB).is_some();
    match arguments.get(1).and_then(|word| word.to_str()) {
        Some("swarm") if is_the_lab => swarm(arguments),
        _ if is_the_lab => c10k_lab::main_of(arguments).into(),
        Some(filter) if !filter.starts_with('-') && !NAME.contains(filter) => ExitCode::SUCCESS,
        _ => {
            the_terminal_is_given_back();
            println!("test {NAME} ... ok");
            ExitCode::SUCCESS
        }
    }
}

/// The swarm, until it ends or panics.
fn swarm(arguments: Vec<OsString>) -> ExitCode {
    let (said, ended) = mpsc::channel();
    std::thread::spawn(move || said.send(c10k_lab::main_of(arguments)));
    loop {
        if let Ok(exit) = ended.recv_timeout(Duration::from_millis(20)) {
            return exit.into();
        }
        assert!(!Path::new("panic").exists(), "a fault of the swarm");
    }
}

fn the_terminal_is_given_back() {
    if !has_tmux(NAME) {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let program = std::env::current_exe().expect("this program");
    let run = format!(
        "{IS_THE_LAB}=1 '{}' run --tui --target 400 --hold 60s --verdict 'echo_p95 <= 1h'; echo over $?",
        program.display()
    );
    let command = format!("{run}; stty -a | grep -ow -e -icanon -e icanon; echo end; sleep 60");
    let Some(terminal) = Terminal::start(80, 24, folder.path(), &command) else {
        eprintln!("SKIPPED {NAME}: tmux starts no session here");
        return;
    };
    terminal.wait_for("[hold]");
    std::fs::write(folder.path().join("panic"), "").expect("a file");
    let shown = terminal.wait_for("\nend");
    assert!(!shown.contains("[hold]"), "the screen is gone: {shown}");
    assert!(shown.contains("over 4\nicanon\n"), "{shown}");
    // What was said meanwhile is said now, before the summary.
    let at = |words: &str| shown.find(words).unwrap_or_else(|| panic!("'{words}': {shown}"));
    let summary = at("BROKEN: held 0 of 400; the swarm ended by itself with exit code 101 in the hold");
    assert!(at("a fault of the swarm") < summary, "{shown}");
}
