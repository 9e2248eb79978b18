//! What ends a collector before its time: a signal, or a line on stdin.

use std::io;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use c10k_kernel::process::is_ignored;
use c10k_record::{Exit, each_line};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::output::Printer;

/// A channel that says `()` at SIGINT, SIGTERM, SIGHUP, SIGQUIT or, if `commands`, at the line `stop` on stdin. A
/// second signal ends the process at once. SIGHUP and SIGQUIT that were ignored when it was started (nohup(1)) stay so.
///
/// # Errors
/// As sigaction(2) and pipe(2); EAGAIN where no thread can be started.
fn stop_signals(commands: bool) -> io::Result<Receiver<()>> {
    let (send, receive) = mpsc::channel();
    let unless_ignored = [SIGHUP, SIGQUIT].into_iter().filter(|signal| !is_ignored(*signal));
    let mut signals = Signals::new([SIGINT, SIGTERM].into_iter().chain(unless_ignored))?;
    let by_signal = send.clone();
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        let mut is_first = true;
        for signal in &mut signals {
            if !std::mem::take(&mut is_first) {
                signal_hook::low_level::exit(Exit::of_signal(signal).code().into());
            }
            // When nobody receives any more the collector is about to end.
            let _ = by_signal.send(());
        }
    })?;
    if commands {
        thread::Builder::new().name("stdin".to_owned()).spawn(move || stop_command(&send))?;
    }
    Ok(receive)
}

/// As [`stop_signals`]; `None` where that cannot be, which is said.
pub(crate) fn stop_or_say(commands: bool, printer: &mut Printer<'_>) -> Option<Receiver<()>> {
    stop_signals(commands)
        .inspect_err(|error| {
            printer.say(&format!("error: cannot watch for signals: {error}"));
            printer.say("hint: `prlimit --nproc` shows how many threads this user may have");
        })
        .ok()
}

fn stop_command(send: &Sender<()>) {
    each_line(io::stdin().lock(), |line| {
        // Anything else is no command of a collector; a closed stdin is no command at all.
        let is_stop = line.trim() == "stop";
        if is_stop {
            // When nobody receives any more the collector has ended already.
            let _ = send.send(());
        }
        !is_stop
    });
}
