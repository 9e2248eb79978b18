//! The swarm's way: arguments → setup → ramp, hold, verify, close → document.

use std::io::{self, BufRead};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};

use c10k_ceiling::predicted_ceiling;
use c10k_collector::{LinkWatch, time_wait_towards};
use c10k_kernel::cgroup::PidsGroup;
use c10k_kernel::counters::ProcRoot;
use c10k_kernel::link::device_towards;
use c10k_kernel::sysctl::SysctlRoot;
use c10k_kernel::{descriptors, process};
use c10k_profile::{InForce, put_in_force};
use c10k_record::shell::own_command;
use c10k_record::{
    CloseHow, Evidence, Exit, HostSnapshot, LoadPlan, Predicted, Record, RunState, SwarmEvent, Warning,
    human_count,
};
use c10k_wire::raw::Probes;
use c10k_wire::ws::ClientRequest;

use crate::add_ips::{self, AddError, AddedIps};
use crate::args::SwarmArgs;
use crate::arrivals::Arrivals;
use crate::beside::Beside;
use crate::conductor::{Conductor, Course, Finding, Signals, own_rss_bytes};
use crate::crew::Crew;
use crate::document::{Background, document, plan_view};
use crate::output::Output;
use crate::setup::{Setup, SetupError, is_here, resolve, resolve_with_missing};
use crate::shared::{Fixed, Note, Shared};
use crate::undo::Undo;

/// The target of a swarm that is not told one: C10K.
const DEFAULT_TARGET: u64 = 10_000;
/// Echoes awaited at one time in the last proof, whatever --in-flight says.
const MOST_PROOFS: u32 = 128;
/// At least so many failures in a row before nothing is taken to succeed any more.
const LEAST_GIVE_UP: u64 = 256;

/// Runs a swarm to its end and says with which exit code the process should end.
pub fn main_with(args: &SwarmArgs) -> Exit {
    let mut output = Output::new(args.events);
    match swarm(args, &mut output) {
        Ok(exit) => exit,
        Err(refusal) => {
            output.say(&format!("error: {}", refusal.message));
            if let Some(hint) = refusal.hint {
                output.say(&format!("hint: {hint}"));
            }
            refusal.exit
        }
    }
}

/// Why a swarm did not start.
struct Refusal {
    message: String,
    hint: Option<String>,
    exit: Exit,
}

impl From<SetupError> for Refusal {
    fn from(error: SetupError) -> Self {
        Self { message: error.to_string(), hint: Some(error.hint()), exit: error.exit() }
    }
}

impl From<AddError> for Refusal {
    fn from(error: AddError) -> Self {
        Self { message: error.to_string(), hint: Some(error.hint()), exit: Exit::HostCannot }
    }
}

fn swarm(args: &SwarmArgs, output: &mut Output) -> Result<Exit, Refusal> {
    if args.remove_ips {
        return remove_left_behind(output);
    }
    // Before any epoll instance: each counts for the user who made it.
    if let Some(user) = args.counted_as {
        process::be_counted_as(user).map_err(host(&format!("be counted as user {user}")))?;
    }
    if let Some(parent) = args.parent {
        process::die_with_parent(process::Signal::Terminate, parent)
            .map_err(host("follow the parent process"))?;
    }
    let undo = Undo::default();
    let signals = undo.watch_signals().map_err(host("watch signals"))?;
    let led = lead(args, &undo, signals.clone(), output);
    // Put back before the last word, so that whoever waits for it finds the host as it was.
    let back = undo.changes().put_back();
    back.said.iter().for_each(|line| output.say(line));
    let is_whole = back.is_whole();
    match led {
        Ok(mut record) => {
            record.warnings.extend(back.warnings);
            let exit = last_word(args, record, &signals, output);
            Ok(if is_whole && !output.has_lost_data() { exit } else { Exit::Broke })
        }
        Err(refusal) if is_whole => Err(refusal),
        Err(refusal) => Err(Refusal { exit: Exit::Broke, ..refusal }),
    }
}

/// Applies the profile, finds the way, and goes it; what is changed on the host is in `undo`.
fn lead(args: &SwarmArgs, undo: &Undo, signals: Signals, output: &mut Output) -> Result<Record, Refusal> {
    let (target, load) = args
        .load
        .resolve(&LoadPlan::default(), DEFAULT_TARGET)
        .map_err(|usage| Refusal::from(SetupError::Usage(usage)))?;
    let mut in_force = {
        let mut changes = undo.changes();
        let mut in_force = put_in_force(&args.profile, "c10k-swarm", !args.no_apply).map_err(|error| {
            Refusal { message: error.to_string(), hint: error.hint(), exit: error.exit() }
        })?;
        changes.settings = in_force.guard.take();
        in_force
    };
    let left = add_ips::left_behind().unwrap_or_default();
    in_force.warnings.extend(left.iter().map(|left| Warning::new("ips-left-behind", left.to_string())));
    let setup = match args.add_ips {
        Some(_) => resolve_with_missing(&args.server_text()?, &load, target)?,
        None => resolve(&args.server_text()?, &load, target)?,
    };
    if let Some(path) = &args.hlog {
        output.log_intervals_to(path).map_err(host(&format!("write '{}'", path.display())))?;
    }
    if let Some(device) = &args.add_ips {
        let mut changes = undo.changes();
        changes.addresses = Some(add_missing(device, &setup, output)?);
    }
    carry_out(args, &load, target, &setup, &in_force, signals, output)
}

/// Adds the sources that are missing, which are removed when the result is dropped.
fn add_missing(device: &str, setup: &Setup, output: &mut Output) -> Result<AddedIps, Refusal> {
    let added = AddedIps::prepare(device)?;
    for ip in &setup.missing {
        added.add(*ip)?;
    }
    let missing: Vec<_> = setup.missing.iter().copied().filter(|ip| !is_here(*ip)).collect();
    let named = setup.plan.sources().len();
    if !missing.is_empty() {
        return Err(SetupError::NotHere { missing, named }.into());
    }
    let count = added.count();
    output.say(&format!("added {count} of {named} source {} to {device}", add_ips::addresses(named)));
    Ok(added)
}

fn remove_left_behind(output: &mut Output) -> Result<Exit, Refusal> {
    let (removed, elsewhere) =
        add_ips::remove_left_behind().map_err(host("look for addresses that were left behind"))?;
    for report in &removed {
        output.say(&report.to_string());
    }
    for left in &elsewhere {
        output.say(&format!("left alone: {left}"));
    }
    if removed.is_empty() && elsewhere.is_empty() {
        output.say("nothing was left behind");
    }
    let all = removed.iter().all(|report| report.failed.is_empty());
    Ok(if all { Exit::Done } else { Exit::Broke })
}

fn carry_out(
    args: &SwarmArgs,
    load: &LoadPlan,
    target: u64,
    setup: &Setup,
    in_force: &InForce,
    signals: Signals,
    output: &mut Output,
) -> Result<Record, Refusal> {
    let (sender, notes) = channel();
    let upgrade = args.ws.request(args.protocol(), &setup.servers, load)?;
    let fixed = fixed(load, setup, in_force, upgrade);
    let arrivals = Arrivals::new(load.rate_per_second);
    let shared = Arc::new(Shared::new(fixed, setup.plan.clone(), arrivals, sender.clone()));
    let mut warnings = in_force.warnings.clone();
    let own_tables = !args.one_table && own_tables_are_allowed(in_force.nofile.soft, &mut warnings);
    // A parent has listed what it could not set.
    for warning in warnings.iter().filter(|w| args.parent.is_none() || w.id != "profile-not-applied") {
        output.warn(&warning.text);
    }
    for (_, text) in &setup.notes {
        output.warn(text);
    }
    let crew = Crew::new(Arc::clone(&shared), own_tables).map_err(host("read RLIMIT_NOFILE"))?;
    let course = Course {
        target,
        steps: load.steps,
        step_pause: load.step_pause,
        hold: load.hold,
        commanded: args.commanded,
        turns: setup.turns,
        probe: load.probe,
    };
    if args.events {
        read_commands(sender).map_err(host("read commands"))?;
    }
    let mut conductor = Conductor::new(shared, crew, course, notes, signals, output);
    let pids = PidsGroup::of(&ProcRoot::default(), None).ok().flatten();
    let refused_before = pids.as_ref().and_then(|group| group.read().refused);
    conductor.start_workers().map_err(host("start the workers"))?;
    // A lab that leads this swarm looks for itself.
    let beside =
        (setup.server_is_here && args.parent.is_none()).then(|| Beside::begin(&setup.servers)).flatten();
    // What is open by now stays open: the rest of the table is for connections.
    let connections_per_table = conductor.connections_per_table();
    conductor.say_ready(&SwarmEvent::Ready {
        pid: std::process::id(),
        capacity: setup.plan.capacity(),
        sources: setup.plan.sources().len() as u64,
        target,
        own_tables,
        connections_per_table,
    });
    let mut host = HostSnapshot {
        swarm_per_table: Some(connections_per_table),
        time_wait: time_wait(setup),
        // Of a server elsewhere nothing bounds what this side can foresee.
        server_tables: true,
        ..host_snapshot(in_force, setup, own_tables)
    };
    if let Some(beside) = &beside {
        beside.note_limits(&mut host);
    }
    if args.parent.is_none() {
        let link = link_towards(&setup.servers);
        host.link_bits_per_second = link.narrowest().map(|link| link.bits_per_second);
        conductor.look_at_link(link);
    }
    conductor.look_beside(beside);
    // Nothing is tracked before a rule asks for it, and what is tracked is seen at once.
    let tracked = SysctlRoot::default().read("net.netfilter.nf_conntrack_count").ok();
    let tracks = tracked.and_then(|text| text.trim().parse::<u64>().ok()).is_some_and(|count| count > 0);
    let bounding = HostSnapshot { conntrack_max: host.conntrack_max.filter(|_| tracks), ..host.clone() };
    let predicted = predicted_ceiling(&bounding, &plan_view(setup, load, target));
    let background = Background {
        protocol: args.protocol(),
        setup,
        load,
        profile: in_force.in_run.clone(),
        host,
        predicted,
        rss_ready_bytes: own_rss_bytes(),
        cpu_ready_seconds: crate::own_cpu_seconds(),
        warnings,
        again: own_command(),
        pids,
        refused_before,
    };
    let finding: Finding = conductor.run();
    Ok(document(&finding, &background))
}

/// The device by which the swarm sends to the first server; nothing where no route leads there.
fn link_towards(servers: &[SocketAddr]) -> LinkWatch {
    let device = servers.first().and_then(|server| device_towards(server.ip()).ok());
    LinkWatch::begin(device.into_iter().map(|device| (device, None)).collect())
}

fn last_word(args: &SwarmArgs, record: Record, signals: &Signals, output: &mut Output) -> Exit {
    let exit = match record.state {
        RunState::Aborted => Exit::of_signal(signals.number()),
        _ if record.succeeded() => Exit::Done,
        _ => Exit::Short,
    };
    if args.json {
        output.document(&record);
    }
    if args.events {
        output.event(&SwarmEvent::Done { record: Box::new(record) });
    } else {
        output.say(&words(&record));
    }
    exit
}

/// The end of a run in a few lines: the verdict first, then the counts, then what was lost.
fn words(record: &Record) -> String {
    let c = &record.connections;
    let mut lines = Vec::new();
    let first = match (c.held >= c.target, record.verdicts.iter().all(|verdict| verdict.passed)) {
        (true, true) => "held",
        (true, false) => "HELD, but a verdict does not hold",
        (false, _) => "SHORT",
    };
    lines.push(format!("{first}: held {} of {} connections", human_count(c.held), human_count(c.target)));
    if let Some(why) = &record.ended_because {
        lines.push(why.clone());
    }
    let verified = c.verified.map_or_else(|| "unknown (no probes)".to_owned(), human_count);
    lines.push(format!(
        "attempted {}, established {}, verified {verified}, held {}",
        human_count(c.attempted),
        human_count(c.established),
        human_count(c.held)
    ));
    for failure in &record.failures {
        lines.push(format!(
            "lost in {}: {} × {} ({})",
            failure.phase,
            human_count(failure.count),
            failure.outcome,
            failure.outcome.meaning()
        ));
    }
    if let Some(mean) = record.rate.connects_per_second.mean {
        lines.push(format!("{} connections a second", human_count(mean as u64)));
    }
    if let Some(ceiling) = &record.ceiling {
        lines.push(format!("wall: {}", ceiling.wall));
        lines.extend(ceiling.predicted.as_ref().map(|predicted| foreseen(predicted, ceiling.off_by)));
        lines.extend(ceiling.evidence.iter().map(evidence_line));
        if let Some(remedy) = &ceiling.remedy {
            lines.push(format!("hint: {}", remedy.summary));
            lines.extend(remedy.commands.iter().map(|command| format!("  {command}")));
        }
    }
    for verdict in &record.verdicts {
        let value =
            verdict.value.map_or_else(|| "nothing measured".to_owned(), |value| format!("{value:.3}"));
        lines.push(format!(
            "{} {} ({value})",
            if verdict.passed { "passed" } else { "FAILED" },
            verdict.expr
        ));
    }
    lines.join("\n")
}

/// What was predicted before the first connect.
fn foreseen(predicted: &Predicted, off_by: Option<i64>) -> String {
    let met = match off_by {
        None => ", which was not met".to_owned(),
        Some(0) => ", exactly".to_owned(),
        Some(off) if off > 0 => format!(", {} more were held", human_count(off.unsigned_abs())),
        Some(off) => format!(", {} fewer were held", human_count(off.unsigned_abs())),
    };
    let about = match predicted.uncertainty_percent {
        0 => String::new(),
        percent => format!(" (± {percent} %)"),
    };
    format!("predicted: {}{about} by {}{met}", human_count(predicted.connections), predicted.wall)
}

/// What was looked at, from what to what, and what that means.
fn evidence_line(evidence: &Evidence) -> String {
    let value = match (evidence.before, evidence.after) {
        (Some(before), Some(after)) => format!(" {} → {}", human_count(before), human_count(after)),
        (before, after) => after.or(before).map_or_else(String::new, |n| format!(" {}", human_count(n))),
    };
    format!("  {}{value}: {}", evidence.source, evidence.text)
}

fn fixed(load: &LoadPlan, setup: &Setup, in_force: &InForce, upgrade: Option<ClientRequest>) -> Fixed {
    // The seed only has to differ from run to run, so that bytes left over from another run are never taken
    // for an echo of this one.
    let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let seed = clock.as_nanos() as u64 ^ u64::from(std::process::id()) << 40;
    let turns = u32::try_from(setup.turns).unwrap_or(u32::MAX);
    Fixed {
        in_flight_per_turn: load.in_flight.div_ceil(turns).max(1),
        proofs_per_turn: load.in_flight.min(MOST_PROOFS).div_ceil(turns).max(1),
        open_loop: load.rate_per_second.is_some(),
        connect_timeout: load.connect_timeout.0,
        handshake_timeout: load.handshake_timeout.0,
        probe_timeout: load.probe_timeout.0,
        ping_every: load.ping_every.map(|every| every.0),
        probes: if load.probe { Probes::new(seed, load.probe_bytes) } else { None },
        upgrade,
        reset_on_close: load.close == CloseHow::Rst,
        socket_options: in_force.profile.socket,
        give_up_after: u64::from(load.in_flight).max(LEAST_GIVE_UP),
        give_up_proving_after: LEAST_GIVE_UP,
    }
}

fn host_snapshot(in_force: &InForce, setup: &Setup, own_tables: bool) -> HostSnapshot {
    HostSnapshot {
        swarm_nofile: Some(in_force.nofile.soft),
        nofile_hard: Some(in_force.nofile.hard),
        swarm_tables: own_tables,
        port_range: Some((setup.window.first, setup.window.last)),
        ..c10k_collector::host_snapshot()
    }
}

/// Sockets in TIME_WAIT that keep ports of the plan.
fn time_wait(setup: &Setup) -> Option<u64> {
    let ports: Vec<u16> = setup.servers.iter().map(SocketAddr::port).collect();
    let (sources, window) = (setup.plan.sources(), setup.window);
    let of_plan = |end: &SocketAddr| window.contains(end.port()) && sources.contains(&end.ip());
    Some(time_wait_towards(&ports)?.iter().filter(|end| of_plan(end)).count() as u64)
}

fn own_tables_are_allowed(soft_nofile: u64, warnings: &mut Vec<Warning>) -> bool {
    let allowed = descriptors::own_tables_possible();
    if let Err(error) = &allowed {
        let soft = human_count(soft_nofile);
        let text = format!(
            "workers cannot have descriptor tables of their own ({error}), so all share one of {soft}"
        );
        warnings.push(Warning::new("one-table", text));
    }
    allowed.is_ok()
}

fn read_commands(notes: Sender<Note>) -> io::Result<()> {
    std::thread::Builder::new().name("stdin".to_owned()).spawn(move || {
        let mut stdin = io::stdin().lock();
        let mut line = Vec::new();
        // A line that is no text is a wrong command like any other, and not the end of all commands.
        while matches!(stdin.read_until(b'\n', &mut line), Ok(length) if length > 0) {
            let text = String::from_utf8_lossy(&line).trim().to_owned();
            line.clear();
            if !text.is_empty() && notes.send(Note::Line(text)).is_err() {
                return;
            }
        }
    })?;
    Ok(())
}

fn host(what: &str) -> impl Fn(io::Error) -> Refusal {
    let what = format!("cannot {what}");
    move |error| SetupError::Host { what: what.clone(), error }.into()
}
