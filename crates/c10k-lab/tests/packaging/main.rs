//! What packaging/ has is what the programs take: units that systemd accepts, an image whose files are there, flags that
//! `--help` knows, ports that agree, settings that are the profile's.

#![allow(clippy::print_stderr, reason = "a skipped test says so, and a score is told")]

mod compose;
mod dockerfile;
mod kubernetes;
mod units;
mod yaml;

use std::path::{Path, PathBuf};
use std::process::Command;

const PROGRAM: &str = env!("CARGO_BIN_EXE_c10k-lab");

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the workspace")
}

#[track_caller]
fn text(name: &str) -> String {
    std::fs::read_to_string(top().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// What `--help` says of one of the programs: `server`, `swarm`, `collector`, `profile apply`.
fn help(program: &[&str]) -> String {
    let output = Command::new(PROGRAM).args(program).arg("--help").output().expect("started");
    assert!(output.status.success(), "{program:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Whether a flag stands in a text of `--help` by itself.
fn knows(help: &str, flag: &str) -> bool {
    let ends = |rest: &str| !rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '-');
    help.match_indices(flag).any(|(at, _)| ends(&help[at + flag.len()..]))
}

/// Asserts that a program knows each flag of its words.
#[track_caller]
fn known_flags(program: &[&str], words: &[&str]) {
    let help = help(program);
    for flag in words.iter().filter(|word| word.starts_with("--")) {
        assert!(knows(&help, flag), "{program:?} has no {flag}");
    }
}

/// The value behind a flag.
fn value<'a>(words: &[&'a str], flag: &str) -> Option<&'a str> {
    words.iter().position(|word| *word == flag).and_then(|at| words.get(at + 1)).copied()
}

#[test]
fn a_flag_is_known_by_its_whole_name_alone() {
    let help = "  --no-apply\n  --listen <ADDRESSES>\n";
    assert!(knows(help, "--no-apply") && knows(help, "--listen"));
    assert!(!knows(help, "--no") && !knows(help, "--list") && !knows(help, "--metrics"));
}
