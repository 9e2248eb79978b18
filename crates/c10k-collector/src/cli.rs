//! The command: its line, its loop, and the one place that writes.

use std::io::{self, Write};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use c10k_record::{Exit, Span, each_line, human_bytes};
use clap::Args;
use serde::Serialize;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::account::account;
use crate::collector::{Collector, CollectorConfig, Side};
use crate::document::{CensusSeen, Document, SelfCost};
use crate::find::find_server;
use crate::observation::Observation;
use crate::snapshot::MemorySnapshot;

const SHORTEST_INTERVAL: Duration = Duration::from_millis(10);
const DOCUMENT_VERSION: u32 = 1;

/// Watches a process that holds connections, and the kernel below it, from outside.
#[derive(Args, Clone, Debug)]
pub struct CollectorArgs {
    /// The process that holds the connections [default: the one that listens on --port]
    #[arg(long, value_name = "PID", required_unless_present = "ports")]
    pub pid: Option<u32>,
    /// The process that made them, if it runs on this machine
    #[arg(long, value_name = "PID")]
    pub swarm_pid: Option<u32>,
    /// Ports the process listens on; without any, all TCP sockets are counted
    #[arg(long = "port", value_name = "PORT", value_delimiter = ',', value_parser = clap::value_parser!(u16).range(1..))]
    pub ports: Vec<u16>,
    /// Time between two looks, at least 10ms
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = interval)]
    pub interval: Span,
    /// End after this time; without it, at Ctrl-C or when the process ends
    #[arg(long, value_name = "TIME")]
    pub duration: Option<Span>,
    /// Write JSON lines on stdout (ready, tick, done) and take the command `stop` on stdin
    #[arg(long, conflicts_with = "json")]
    pub events: bool,
    /// Write one JSON document on stdout at the end
    #[arg(long)]
    pub json: bool,
    /// Say at the end what watching cost, as a share of one core; the document has it always
    #[arg(long)]
    pub self_cost: bool,
}

/// Watches until the time is over, a signal or `stop` comes, or the process ends. Data goes to `out`, text for people
/// to `people`.
///
/// Ends with [`Exit::Done`] after its time or a signal, [`Exit::Short`] when the watched process ended first,
/// [`Exit::HostCannot`] when it is not there, [`Exit::Broke`] when `out` could not be written.
pub fn run(args: &CollectorArgs, out: &mut dyn Write, people: &mut dyn Write) -> Exit {
    let mut printer = Printer { args, out, people, told: 0 };
    match watch(args, &mut printer) {
        Ok(exit) => exit,
        Err(error) => {
            printer.say(&format!("error: the output cannot be written: {error}"));
            Exit::Broke
        }
    }
}

fn watch(args: &CollectorArgs, printer: &mut Printer<'_>) -> io::Result<Exit> {
    let stop = stop_signals(args.events)?;
    let mut own = OwnCost::begin();
    let pid = match the_process(args, printer) {
        Ok(pid) => pid,
        Err(exit) => return Ok(exit),
    };
    let config = CollectorConfig {
        server_pid: pid,
        swarm_pid: args.swarm_pid,
        ports: args.ports.clone(),
        namespace_of: pid,
        ..CollectorConfig::default()
    };
    let mut collector = match Collector::new(config) {
        Ok(collector) => collector,
        Err(error) => {
            printer.say(&format!("error: {error}"));
            printer.say("hint: `pgrep -a NAME` shows the processes of a program with their pids");
            return Ok(Exit::HostCannot);
        }
    };
    let before = collector.snapshot();
    let mut document = Document::begin(args, pid, &mut collector);
    printer.ready(args, pid, &collector)?;

    own.ticks_begin();
    let start = Instant::now();
    let end = args.duration.map(|duration| start + duration.0);
    let mut next = start;
    // A target that ends leaves no memory to account for: the last snapshot before that would be of another moment.
    let mut after = None;
    loop {
        next += args.interval.0;
        let until = end.map_or(next, |end| end.min(next));
        let stopped = match stop.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(()) => true,
            Err(RecvTimeoutError::Timeout) => end.is_some_and(|end| Instant::now() >= end),
            Err(RecvTimeoutError::Disconnected) => true,
        };
        let seen = collector.tick();
        document.add(&seen);
        printer.tick(&seen, &collector)?;
        own.ticks_end();
        if collector.is_gone(Side::Server) {
            document.target_ended = true;
            printer.say(&format!("process {} has ended", pid.unwrap_or_default()));
            break;
        }
        if stopped {
            after = Some(collector.snapshot());
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

/// What the collector itself takes of the processor.
struct OwnCost {
    begun: Moment,
    ticking: Option<Moment>,
    ticked: Option<Moment>,
}

#[derive(Clone, Copy)]
struct Moment {
    at: Instant,
    cpu_seconds: f64,
}

impl Moment {
    fn now() -> Self {
        Self { at: Instant::now(), cpu_seconds: own_cpu_seconds() }
    }

    /// Processor time and its share of the time that passed since `earlier`.
    fn since(self, earlier: Self) -> (f64, f64) {
        let cpu_seconds = (self.cpu_seconds - earlier.cpu_seconds).max(0.0);
        let elapsed = self.at.duration_since(earlier.at).as_secs_f64();
        (cpu_seconds, if elapsed > 0.0 { cpu_seconds / elapsed } else { 0.0 })
    }
}

impl OwnCost {
    fn begin() -> Self {
        Self { begun: Moment::now(), ticking: None, ticked: None }
    }

    /// From here on there are ticks only.
    fn ticks_begin(&mut self) {
        self.ticking = Some(Moment::now());
    }

    /// The last tick is taken.
    fn ticks_end(&mut self) {
        self.ticked = Some(Moment::now());
    }

    fn so_far(&self, ticks: u64) -> SelfCost {
        let (cpu_seconds, share_of_one_core) = Moment::now().since(self.begun);
        let steady = self.ticking.zip(self.ticked).map(|(first, last)| last.since(first));
        let (ticking_seconds, steady_share_of_one_core) = steady.unwrap_or_default();
        let cpu_us_per_tick = if ticks > 0 { Some(ticking_seconds * 1e6 / ticks as f64) } else { None };
        SelfCost { cpu_seconds, share_of_one_core, steady_share_of_one_core, cpu_us_per_tick }
    }
}

/// 0 where getrusage(2) fails, which it does not for the calling process.
fn own_cpu_seconds() -> f64 {
    c10k_kernel::cpu::own().map_or(0.0, |cpu| cpu.seconds())
}

/// A channel that says `()` at SIGINT, SIGTERM or, if `commands`, at the line `stop` on stdin.
fn stop_signals(commands: bool) -> io::Result<Receiver<()>> {
    let (send, receive) = mpsc::channel();
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let by_signal = send.clone();
    thread::spawn(move || {
        for _ in &mut signals {
            if by_signal.send(()).is_err() {
                return;
            }
        }
    });
    if commands {
        thread::spawn(move || stop_command(&send));
    }
    Ok(receive)
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

/// The parser of `--interval`.
fn interval(text: &str) -> Result<Span, String> {
    let span: Span = text.parse().map_err(|error: c10k_record::QuantityError| error.to_string())?;
    if span.0 < SHORTEST_INTERVAL {
        return Err(format!("'{text}' is too short: a look needs at least 10ms"));
    }
    Ok(span)
}

impl Document {
    fn begin(args: &CollectorArgs, pid: Option<u32>, collector: &mut Collector) -> Self {
        Self {
            schema_version: DOCUMENT_VERSION,
            tool_version: env!("CARGO_PKG_VERSION"),
            pid,
            swarm_pid: args.swarm_pid,
            ports: args.ports.clone(),
            elapsed_ms: 0,
            ticks: 0,
            partial_ticks: 0,
            longest_tick_us: 0,
            target_ended: false,
            peak_sockets_in_use: None,
            peak_time_wait: None,
            peak_accept_queue: None,
            peak_descriptors: None,
            peak_conntrack: None,
            last: None,
            census_at_start: collector.census().ok().as_ref().map(CensusSeen::from),
            census_at_end: None,
            memory_per_connection: None,
            self_cost: SelfCost::default(),
            unreadable: Vec::new(),
        }
    }

    fn add(&mut self, seen: &Observation) {
        self.elapsed_ms = seen.elapsed_ms;
        self.ticks += 1;
        self.partial_ticks += u64::from(seen.partial);
        self.longest_tick_us = self.longest_tick_us.max(seen.tick_us);
        self.peak_sockets_in_use = self.peak_sockets_in_use.max(seen.sockets.in_use);
        self.peak_time_wait = self.peak_time_wait.max(seen.sockets.time_wait);
        self.peak_accept_queue =
            self.peak_accept_queue.max(seen.listener.map(|listener| listener.accept_queue));
        self.peak_descriptors = self.peak_descriptors.max(seen.server.descriptors.map(|open| open.open));
        self.peak_conntrack = self.peak_conntrack.max(seen.conntrack_entries);
        self.last = Some(seen.clone());
    }

    fn finish(&mut self, collector: &mut Collector, before: &MemorySnapshot, after: Option<&MemorySnapshot>) {
        self.census_at_end = collector.census().ok().as_ref().map(CensusSeen::from);
        self.unreadable = collector.unreadable().to_vec();
        let (Some(start), Some(end), Some(after)) = (&self.census_at_start, &self.census_at_end, after)
        else {
            return;
        };
        let added = end.server_side.saturating_sub(start.server_side);
        let clients_here = end.client_side.saturating_sub(start.client_side) * 2 > added;
        if added > 0 {
            self.memory_per_connection = Some(account(before, after, added, clients_here));
        }
    }
}

/// One JSON line of `--events`.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "lowercase")]
enum Event<'a> {
    Ready { pid: Option<u32>, ports: &'a [u16], unreadable: &'a [crate::Unreadable] },
    Tick(&'a Observation),
    Done(&'a Document),
}

/// The only writer of the command.
struct Printer<'a> {
    args: &'a CollectorArgs,
    out: &'a mut dyn Write,
    people: &'a mut dyn Write,
    /// How many unreadable sources have been told.
    told: usize,
}

impl Printer<'_> {
    /// A line for people. That nobody listens to stderr is no reason to end.
    fn say(&mut self, line: &str) {
        let _ = writeln!(self.people, "{line}");
    }

    fn ready(&mut self, args: &CollectorArgs, pid: Option<u32>, collector: &Collector) -> io::Result<()> {
        self.tell_unreadable(collector);
        self.event(&Event::Ready { pid, ports: &args.ports, unreadable: collector.unreadable() })
    }

    fn tick(&mut self, seen: &Observation, collector: &Collector) -> io::Result<()> {
        self.tell_unreadable(collector);
        if !self.args.events {
            self.say(&line(seen));
        }
        self.event(&Event::Tick(seen))
    }

    fn done(&mut self, document: &Document, collector: &Collector) -> io::Result<()> {
        self.tell_unreadable(collector);
        self.event(&Event::Done(document))?;
        if self.args.self_cost {
            let cost = &document.self_cost;
            self.say(&format!(
                "watching took {:.2} % of one core; {:.2} % between its first look and its last ({:.0} us a look)",
                cost.share_of_one_core * 100.0,
                cost.steady_share_of_one_core * 100.0,
                cost.cpu_us_per_tick.unwrap_or_default()
            ));
        }
        if self.args.json {
            self.json(document)?;
        } else if let Some(memory) = &document.memory_per_connection
            && !self.args.events
        {
            let bytes =
                |bytes: Option<f64>| bytes.map_or("unknown".to_owned(), |bytes| format!("{bytes:.0} B"));
            self.say(&format!(
                "a connection: kernel {} at the server, {} at the client; user {} at the server; {}",
                bytes(memory.server_kernel_bytes),
                bytes(memory.client_kernel_bytes),
                bytes(memory.server_user_bytes),
                memory.unexplained_ratio.map_or("unexplained: unknown".to_owned(), |ratio| {
                    format!("unexplained: {:.1} % of the fall in free memory", ratio * 100.0)
                }),
            ));
        }
        Ok(())
    }

    fn tell_unreadable(&mut self, collector: &Collector) {
        for unreadable in &collector.unreadable()[self.told..] {
            let _ = writeln!(self.people, "note: {unreadable}");
        }
        self.told = collector.unreadable().len();
    }

    fn event(&mut self, event: &Event<'_>) -> io::Result<()> {
        if self.args.events { self.json(event) } else { Ok(()) }
    }

    fn json(&mut self, value: &impl Serialize) -> io::Result<()> {
        let mut text = serde_json::to_vec(value)?;
        text.push(b'\n');
        self.out.write_all(&text)?;
        self.out.flush()
    }
}

/// One tick for people. What is unknown is a question mark; what does not exist here is left out.
fn line(seen: &Observation) -> String {
    let count = |value: Option<u64>| value.map_or("?".to_owned(), |value| value.to_string());
    let bytes = |value: Option<u64>| value.map_or("?".to_owned(), human_bytes);
    let cores = |value: Option<f64>| value.map_or("?".to_owned(), |value| format!("{value:.2}"));
    let mut line = format!(
        "{:>6.1}s  sockets {}  tw {}  queue {}  overflows {}  rss {}  slab {}  free {}  cores {} (softirq {})",
        seen.elapsed_ms as f64 / 1000.0,
        count(seen.sockets.in_use),
        count(seen.sockets.time_wait),
        count(seen.listener.map(|listener| listener.accept_queue)),
        count(seen.counter("ListenOverflows")),
        bytes(seen.server.rss_bytes),
        bytes(seen.memory.slab_bytes),
        bytes(seen.memory.free_bytes),
        cores(seen.server.cores),
        cores(seen.cpu.softirq_cores),
    );
    if let Some(descriptors) = seen.server.descriptors {
        let at_least = if descriptors.exact { "" } else { ">=" };
        let tables =
            if descriptors.tables == 1 { String::new() } else { format!(" x {}", descriptors.tables) };
        line += &format!("  fds {at_least}{} of {}{tables}", descriptors.open, count(descriptors.limit));
    }
    if let Some(entries) = seen.conntrack_entries {
        line += &format!("  conntrack {entries} of {}", count(seen.conntrack_max));
    }
    if let Some(group) = seen.cgroup {
        line += &format!("  cgroup {} of {}", bytes(group.usage_bytes), bytes(group.limit_bytes));
    }
    if let Some('T' | 't') = seen.server.state {
        line += "  STOPPED";
    }
    if seen.partial {
        line += "  (partial)";
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::{DescriptorsSeen, GroupSeen};

    #[test]
    fn an_interval_of_nothing_is_refused() {
        assert!(interval("0").is_err());
        assert!(interval("1us").is_err());
        assert!(interval("abc").is_err());
        assert_eq!(interval("1s").unwrap(), Span::secs(1));
    }

    #[test]
    fn a_line_shows_what_is_unknown_as_unknown() {
        let text = line(&Observation { elapsed_ms: 1500, partial: true, ..Observation::default() });
        assert!(text.starts_with("   1.5s  sockets ?  tw ?"), "{text}");
        assert!(text.ends_with("(partial)"), "{text}");
        assert!(!text.contains("conntrack") && !text.contains("cgroup"), "{text}");
    }

    #[test]
    fn a_line_shows_tables_tracking_and_the_group_where_there_are_any() {
        let mut seen = Observation {
            conntrack_entries: Some(5),
            conntrack_max: Some(9),
            cgroup: Some(GroupSeen {
                usage_bytes: Some(1 << 20),
                limit_bytes: Some(1 << 30),
                ..GroupSeen::default()
            }),
            ..Observation::default()
        };
        seen.server.state = Some('T');
        let descriptors =
            DescriptorsSeen { open: 600, tables: 2, fullest: 300, limit: Some(300), exact: true };
        seen.server.descriptors = Some(descriptors);
        let text = line(&seen);
        for part in ["fds 600 of 300 x 2", "conntrack 5 of 9", "cgroup 1.0 MiB of 1.0 GiB", "STOPPED"] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}
