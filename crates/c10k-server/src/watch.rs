//! Threads that wait for signals and for lines on stdin, and pass them on to the keeper.

use std::io;
use std::sync::mpsc::Sender;

use c10k_kernel::process;
use c10k_record::each_line;
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::shared::{Note, STACK_BYTES};

/// SIGHUP and SIGQUIT are signals to end too, since settings must be put back when the terminal is closed or
/// somebody loses patience, unless the one who started it (nohup(1), a shell in the background) has asked for them
/// to be ignored.
pub(crate) fn watch_signals(notes: Sender<Note>) -> io::Result<()> {
    let unless_ignored = [SIGHUP, SIGQUIT].into_iter().filter(|signal| !process::is_ignored(*signal));
    let mut signals = Signals::new([SIGINT, SIGTERM].into_iter().chain(unless_ignored))?;
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
        each_line(io::stdin().lock(), |line| notes.send(Note::Line(line.to_owned())).is_ok());
    })?;
    Ok(())
}
