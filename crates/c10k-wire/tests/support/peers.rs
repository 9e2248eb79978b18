//! WebSocket peers of other makers, where `scripts/interop-setup.sh` has installed them; the tests of both programs
//! include this file.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Set where all of them are there: a test that misses one fails then.
const REQUIRED: &str = "C10K_INTEROP_REQUIRED";

/// Python with this module; says so loudly when there is none.
pub(crate) fn python(module: &str) -> Option<Command> {
    let command = || Command::new(installed().join("venv/bin/python"));
    usable(command, &["-c", &format!("import {module}")], module)
}

/// Node with this module; says so loudly when there is none.
pub(crate) fn node(module: &str) -> Option<Command> {
    let command = || {
        let mut command = Command::new("node");
        command.env("NODE_PATH", installed().join("node_modules"));
        command
    };
    usable(command, &["-e", &format!("require('{module}')")], module)
}

/// Where they are installed.
fn installed() -> PathBuf {
    let usual = || Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("interop");
    std::env::var_os("C10K_INTEROP").map_or_else(usual, PathBuf::from)
}

fn usable(command: impl Fn() -> Command, check: &[&str], module: &str) -> Option<Command> {
    if command().args(check).output().is_ok_and(|output| output.status.success()) {
        return Some(command());
    }
    let place = installed();
    let what = format!("no usable {module} below {}; scripts/interop-setup.sh installs it", place.display());
    assert!(std::env::var_os(REQUIRED).is_none_or(|value| value != "1"), "{what}");
    eprintln!("SKIPPED: {what}");
    None
}
