//! The command: from its arguments to its exit code.

use std::io::{self, Write};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Instant;

use c10k_kernel::pulse::Pulse;
use c10k_record::Exit;

use crate::args::CollectorArgs;
use crate::budget::Counting;
use crate::collector::{Collector, CollectorConfig, CollectorError, ProcessSide};
use crate::control;
use crate::cost::OwnCost;
use crate::document::Document;
use crate::exported::Exported;
use crate::find::find_server;
use crate::output::Printer;
use crate::stop::stop_or_say;

/// Watches until the time is over, a signal or `stop` comes, or the process ends. Data goes to `out`, text for people
/// to `people`.
///
/// Ends with [`Exit::Done`] after its time or a signal, and when the reader of `out` is gone; with [`Exit::Short`] when
/// the watched process ended first, [`Exit::HostCannot`] when it is not there, [`Exit::Broke`] when `out` could not be
/// written.
pub fn run(args: &CollectorArgs, out: &mut dyn Write, people: &mut dyn Write) -> Exit {
    let mut printer = Printer::new(args, out, people);
    let done = match args.serve {
        Some(address) => control::serve(args, address, &mut printer),
        None => watch(args, &mut printer),
    };
    match done {
        Ok(exit) => exit,
        // Nobody is left to be told, and nothing else is left to do.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Done,
        Err(error) => {
            printer.say(&format!("error: the output cannot be written: {error}"));
            Exit::Broke
        }
    }
}

fn watch(args: &CollectorArgs, printer: &mut Printer<'_>) -> io::Result<Exit> {
    let Some(stop) = stop_or_say(args.events, printer) else { return Ok(Exit::HostCannot) };
    let mut exported = match Exported::start(args) {
        Ok(exported) => exported,
        Err(error) => {
            printer.say(&format!("error: {error}"));
            printer.say(&format!("hint: {}", error.hint()));
            return Ok(error.exit());
        }
    };
    let mut own = OwnCost::begin();
    let (pid, mut collector) = match begin(args, printer) {
        Ok(begun) => begun,
        Err(exit) => return Ok(exit),
    };
    if let Some(exported) = &mut exported {
        exported.watches(pid);
        printer.say(&format!("metrics: {}", exported.url()));
    }
    let before = collector.snapshot();
    let mut document = Document::begin(args, pid, &mut collector);
    printer.ready(pid, &collector)?;

    own.ticks_begin();
    let start = Instant::now();
    let end = args.duration.map(|duration| start + duration.0);
    let mut next = start;
    let mut counting = Counting::default();
    // A target that ends leaves no memory to account for: the last snapshot before that would be of another moment.
    let mut after = None;
    loop {
        next += args.interval.0;
        let until = end.map_or(next, |end| end.min(next));
        let heard = wait(&stop, until, start, &mut document, printer);
        let stopped = match heard {
            Ok(()) => true,
            Err(RecvTimeoutError::Timeout) => end.is_some_and(|end| Instant::now() >= end),
            Err(RecvTimeoutError::Disconnected) => true,
        };
        // It looks for who holds the connections too, so that the last look tells that of now.
        let snapshot = stopped.then(|| collector.snapshot());
        let mut seen = collector.tick();
        if !args.ports.is_empty() {
            seen.connections = counting.look(&mut collector);
        }
        if let Some(exported) = &mut exported {
            exported.publish(&seen);
        }
        document.add(&seen);
        printer.tick(&seen, &collector)?;
        own.ticks_end();
        let has_ended = if args.pid.is_some() {
            collector.first_is_gone()
        } else {
            collector.is_gone(ProcessSide::Server)
        };
        if has_ended {
            document.target_ended = true;
            printer.say(&format!("process {} has ended", pid.unwrap_or_default()));
            break;
        }
        if stopped {
            after = snapshot;
            break;
        }
        // A machine too busy to look in time skips looks; it does not hurry after them.
        next = next.max(Instant::now());
    }
    document.finish(&mut collector, &before, after.as_ref());
    document.self_cost = own.so_far(document.ticks);
    printer.done(&document, &collector)?;
    Ok(if document.target_ended { Exit::Short } else { Exit::Done })
}

/// Waits for the next tick, or for the end, and notes when this process did not run meanwhile.
fn wait(
    stop: &Receiver<()>,
    until: Instant,
    start: Instant,
    document: &mut Document,
    printer: &mut Printer<'_>,
) -> Result<(), RecvTimeoutError> {
    let nap = until.saturating_duration_since(Instant::now());
    // Looking takes its time, and so does who reads what is printed: neither is a gap.
    let mut pulse = Pulse::default();
    let heard = stop.recv_timeout(nap);
    if let Some(missed) = pulse.look(nap) {
        let gap = document.add_gap(&missed, start);
        printer
            .say(&format!("warning: the collector did not run from {} ms to {} ms", gap.from_ms, gap.to_ms));
    }
    heard
}

/// The process to watch, and a collector that watches it. One that was found by its port and is gone meanwhile is
/// looked for again: a server may have processes that come and go.
fn begin(args: &CollectorArgs, printer: &mut Printer<'_>) -> Result<(Option<u32>, Collector), Exit> {
    const TRIES: u32 = 8;
    let mut tried = 0;
    loop {
        tried += 1;
        let pid = the_process(args, printer)?;
        let config = CollectorConfig {
            server_pid: pid,
            finds_holders: true,
            swarm_pid: args.swarm_pid,
            ports: args.ports.clone(),
            namespace_of: pid,
            ..CollectorConfig::default()
        };
        match Collector::new(config) {
            Ok(collector) => return Ok((pid, collector)),
            Err(CollectorError::NoSuchProcess { pid: gone })
                if args.pid.is_none() && pid == Some(gone) && tried < TRIES => {}
            Err(error) => {
                printer.say(&format!("error: {error}"));
                printer.say("hint: `pgrep -a NAME` shows the processes of a program with their pids");
                return Err(Exit::HostCannot);
            }
        }
    }
}

/// The process to watch: the one that was named, else the one that listens on the port. `None` when that may not be
/// seen: what needs no process is watched all the same.
fn the_process(args: &CollectorArgs, printer: &mut Printer<'_>) -> Result<Option<u32>, Exit> {
    if let Some(pid) = args.pid {
        return Ok(Some(pid));
    }
    match find_server(&args.ports) {
        Ok(found) => {
            if let Some(pid) = found.pid {
                let name = c10k_kernel::process::name_of(pid).unwrap_or_default();
                printer.say(&format!("watching process {pid} ({name})"));
            }
            if let Some(hidden) = found.what_is_hidden() {
                printer.say(&format!("note: {hidden}"));
            }
            Ok(found.pid)
        }
        Err(error) => {
            printer.say(&format!("error: {error}"));
            printer.say(
                "hint: `ss -ltn` shows who listens; a server in another namespace is watched with --pid",
            );
            Err(Exit::HostCannot)
        }
    }
}
