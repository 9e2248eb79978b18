//! Peers of other makers, installed by `scripts/interop-setup.sh`. The tests of server and swarm include this file.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Set to 1 where all of them are installed: a test that misses one fails then.
const REQUIRED: &str = "C10K_INTEROP_REQUIRED";

/// A script of the test's own.
pub(crate) fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop").join(name)
}

/// Python with this module; says so loudly when there is none.
pub(crate) fn python(module: &str) -> Option<Command> {
    usable(module, &["-c", &format!("import {module}")], || Command::new(installed().join("venv/bin/python")))
}

/// Node with this module; says so loudly when there is none.
pub(crate) fn node(module: &str) -> Option<Command> {
    usable(module, &["-e", &format!("require('{module}')")], || {
        let mut command = Command::new("node");
        command.env("NODE_PATH", installed().join("node_modules"));
        command
    })
}

fn installed() -> PathBuf {
    let usual = || Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("interop");
    std::env::var_os("C10K_INTEROP").map_or_else(usual, PathBuf::from)
}

fn usable(module: &str, check: &[&str], program: impl Fn() -> Command) -> Option<Command> {
    if program().args(check).output().is_ok_and(|output| output.status.success()) {
        return Some(program());
    }
    let place = installed();
    let what = format!("no usable {module} below {}; scripts/interop-setup.sh installs it", place.display());
    assert!(std::env::var_os(REQUIRED).is_none_or(|value| value != "1"), "{what}");
    eprintln!("SKIPPED: {what}");
    None
}
