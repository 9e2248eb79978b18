//! A hook between fork and exec.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

/// Runs `hook` in the child between fork and exec.
///
/// `hook` must keep to async-signal-safe calls (signal-safety(7)): no allocation, no locks.
pub(crate) fn before_exec(
    command: &mut Command,
    hook: impl FnMut() -> io::Result<()> + Send + Sync + 'static,
) {
    // SAFETY: the only callers pass hooks that make system calls and allocate nothing.
    unsafe { command.pre_exec(hook) };
}
