//! Threads that wait for signals and for lines on stdin, and pass them on to the keeper.

use std::io::{self, BufRead};
use std::sync::mpsc::Sender;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::keeper::STACK_BYTES;
use crate::shared::Note;

/// SIGHUP is a signal to end too, since settings must be put back when the terminal is closed, unless somebody
/// (nohup(1)) has asked for it to be ignored.
pub(crate) fn watch_signals(notes: Sender<Note>) -> io::Result<()> {
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM])?;
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    if !is_ignored(SIGHUP, &status) {
        signals.add_signal(SIGHUP)?;
    }
    std::thread::Builder::new().name("signals".to_owned()).stack_size(STACK_BYTES).spawn(move || {
        for _ in signals.forever() {
            if notes.send(Note::Signal).is_err() {
                return;
            }
        }
    })?;
    Ok(())
}

/// The end of stdin is no command: the server goes on.
pub(crate) fn watch_stdin(notes: Sender<Note>) -> io::Result<()> {
    std::thread::Builder::new().name("stdin".to_owned()).stack_size(STACK_BYTES).spawn(move || {
        for line in io::stdin().lock().lines() {
            let Ok(line) = line else { return };
            if notes.send(Note::Line(line)).is_err() {
                return;
            }
        }
    })?;
    Ok(())
}

/// Whether the process whose `/proc/PID/status` this is ignores a signal (proc_pid_status(5), SigIgn).
fn is_ignored(signal: i32, status: &str) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(0);
    mask >> (signal - 1) & 1 == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_that_is_ignored_is_found_in_the_mask() {
        let status = "Name:\tserver\nSigIgn:\t0000000000001001\nSigCgt:\t0000000000004002\n";
        assert!(is_ignored(SIGHUP, status));
        assert!(!is_ignored(SIGINT, status) && !is_ignored(SIGTERM, status));
        assert!(!is_ignored(SIGHUP, ""));
    }
}
