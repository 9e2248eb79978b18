//! The swarm's way: arguments → setup → ramp, hold, verify, close → document.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use c10k_ceiling::predicted_ceiling;
use c10k_collector::{AtServer, LinkWatch, ports_kept, time_wait_towards};
use c10k_kernel::census::{Servers, SockDiag};
use c10k_kernel::cgroup::PidsGroup;
use c10k_kernel::counters::ProcRoot;
use c10k_kernel::link::device_towards;
use c10k_kernel::sysctl::SysctlRoot;
use c10k_kernel::{descriptors, process};
use c10k_profile::{InForce, Linger, put_in_force};
use c10k_record::shell::own_command;
use c10k_record::{
    CloseHow, Exit, HostSnapshot, LoadPlan, Predicted, Record, SwarmEvent, Warning, each_line, human_count,
};
use c10k_wire::raw::Probes;
use c10k_wire::ws::ClientRequest;

use crate::add_ips::{self, AddError, AddedIps};
use crate::args::SwarmArgs;
use crate::arrivals::Arrivals;
use crate::beside::Beside;
use crate::conductor::{Conductor, Course, Finding, Signals, own_rss_bytes};
use crate::crew::Crew;
use crate::document::{Background, document};
use crate::output::Output;
use crate::preflight::{refuse_few_descriptors, refuse_too_many, refuse_too_many_workers};
use crate::refusal::Refusal;
use crate::setup::{Asked, Setup, SetupError, is_here};
use crate::shared::{Fixed, Note, Shared};
use crate::undo::{PutBack, Undo};
use crate::view::{host_snapshot, plan_view};
use crate::words::words;

/// The target of a swarm that is not told one: C10K.
const DEFAULT_TARGET: u64 = 10_000;
/// Echoes awaited at one time in the last proof, whatever --in-flight says.
const MOST_PROOFS: u32 = 128;
/// At least so many failures in a row before nothing is taken to succeed any more.
const LEAST_GIVE_UP: u64 = 256;
/// So many probes of the last proof in a row without an answer, from all over a worker's connections, and it asks the
/// others no more.
const GIVE_UP_PROVING: u64 = 1024;

/// Runs a swarm to its end and says with which exit code the process should end.
pub fn main_with(args: &SwarmArgs) -> Exit {
    let mut output = Output::new();
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

fn swarm(args: &SwarmArgs, output: &mut Output) -> Result<Exit, Refusal> {
    if args.remove_ips {
        return remove_left_behind(output);
    }
    // Before any epoll instance: each counts for the user who made it.
    if let Some(user) = args.counted_as {
        process::be_counted_as(user).map_err(Refusal::of_host(&format!("be counted as user {user}")))?;
    }
    if let Some(parent) = args.parent {
        process::die_with_parent(process::Signal::Terminate, parent)
            .map_err(Refusal::of_host("follow the parent process"))?;
    }
    // Where the C library has no such limit it keeps what it likes.
    let _ = process::keep_little_free_memory();
    if args.events {
        output.say_events().map_err(Refusal::of_host("start the printer"))?;
    }
    let undo = Undo::default();
    let signals = undo.watch_signals().map_err(Refusal::of_host("watch signals"))?;
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

/// Reads what is asked for, applies the profile, finds the way, and goes it; what is changed on the host is in
/// `undo`.
fn lead(args: &SwarmArgs, undo: &Undo, signals: Signals, output: &mut Output) -> Result<Record, Refusal> {
    let (target, load) = args
        .load
        .resolve(&LoadPlan::default(), DEFAULT_TARGET)
        .map_err(|usage| Refusal::from(SetupError::Usage(usage)))?;
    // All that is text, before anything on the host is changed.
    let asked = Asked::read(&args.server_text()?, &load)?;
    let upgrade = args.ws.request(args.protocol(), asked.servers(), &load)?;
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
        Some(_) => asked.resolve_with_missing(&load, target)?,
        None => asked.resolve(&load, target)?,
    };
    if let Some(path) = &args.hlog {
        output.log_intervals_to(path).map_err(|error| SetupError::File { path: path.clone(), error })?;
    }
    if let Some(device) = &args.add_ips {
        add_missing(device, &setup, undo, &signals, output)?;
    }
    let way = Way { load: &load, target, setup: &setup, upgrade };
    carry_out(args, way, &in_force, signals, output)
}

/// Adds the sources that are missing, each noted in `undo` before the next, until a signal asks for the end.
fn add_missing(
    device: &str,
    setup: &Setup,
    undo: &Undo,
    signals: &Signals,
    output: &mut Output,
) -> Result<(), Refusal> {
    undo.changes().addresses = Some(AddedIps::prepare(device)?);
    for ip in &setup.missing {
        if let Some(exit) = signals.came().map(Exit::of_signal) {
            let message = AddError::Stopped.to_string();
            return Err(Refusal { message, hint: Some(AddError::Stopped.hint()), exit });
        }
        if let Some(added) = &undo.changes().addresses {
            added.add(*ip)?;
        }
    }
    let missing: Vec<_> = setup.missing.iter().copied().filter(|ip| !is_here(*ip)).collect();
    let named = setup.plan.sources().len();
    if !missing.is_empty() {
        return Err(SetupError::NotHere { missing, named }.into());
    }
    let count = undo.changes().addresses.as_ref().map_or(0, AddedIps::count);
    output.say(&format!("added {count} of {named} source {} to {device}", add_ips::addresses(named)));
    Ok(())
}

fn remove_left_behind(output: &mut Output) -> Result<Exit, Refusal> {
    let (removed, elsewhere) = add_ips::remove_left_behind()
        .map_err(Refusal::of_host("look for addresses that were left behind"))?;
    let nothing = removed.is_empty() && elsewhere.is_empty();
    let mut back = PutBack::default();
    removed.into_iter().for_each(|removed| back.take_in(&removed));
    back.said.iter().for_each(|line| output.say(line));
    for left in &elsewhere {
        output.say(&format!("left alone: {left}"));
    }
    if nothing {
        output.say("nothing was left behind");
    }
    Ok(if back.is_whole() { Exit::Done } else { Exit::Broke })
}

/// What is to be gone, with everything about it known.
struct Way<'a> {
    load: &'a LoadPlan,
    target: u64,
    setup: &'a Setup,
    upgrade: Option<ClientRequest>,
}

fn carry_out(
    args: &SwarmArgs,
    Way { load, target, setup, upgrade }: Way<'_>,
    in_force: &InForce,
    signals: Signals,
    output: &mut Output,
) -> Result<Record, Refusal> {
    let (sender, notes) = channel();
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
    let fits = refuse_too_many(args, setup, load, target, in_force, output)?;
    refuse_few_descriptors(in_force)?;
    let crew = Crew::new(Arc::clone(&shared), own_tables)
        .map_err(Refusal::of_host("make the bells of the workers"))?;
    refuse_too_many_workers(args, &crew, target)?;
    if args.events {
        read_commands(sender).map_err(Refusal::of_host("read commands"))?;
    }
    let course = course(args, load, setup, target);
    let mut conductor = Conductor::new(shared, crew, course, notes, signals, output);
    let pids = PidsGroup::of(&ProcRoot::default(), None).ok().flatten();
    let pids = pids.map(|group| (group.clone(), group.refusals()));
    conductor.start_workers(fits).map_err(Refusal::of_host("start the workers"))?;
    // A lab that leads this swarm looks for itself.
    let beside =
        (setup.server_is_here && args.parent.is_none()).then(|| Beside::begin(&setup.servers)).flatten();
    let at_server = args.parent.is_none().then(|| at_server(&setup.servers)).flatten();
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
        ..foreseen_by(in_force, setup, own_tables)
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
    conductor.look_up_ends(at_server);
    let mut background = Background {
        protocol: args.protocol(),
        setup,
        load,
        profile: in_force.in_run.clone(),
        predicted: predict(&host, setup, load, target),
        host,
        rss_ready_bytes: own_rss_bytes(),
        warnings,
        lost: None,
        again: own_command(),
        pids,
    };
    let finding: Finding = conductor.run();
    background.lost = output.end_interval_log();
    Ok(document(&finding, &background))
}

fn course(args: &SwarmArgs, load: &LoadPlan, setup: &Setup, target: u64) -> Course {
    Course {
        target,
        steps: load.steps,
        step_pause: load.step_pause,
        hold: load.hold,
        commanded: args.commanded,
        turns: setup.turns,
        probe: load.probe,
    }
}

/// This host as far as a swarm can foresee by it: of a server elsewhere nothing bounds that.
fn foreseen_by(in_force: &InForce, setup: &Setup, own_tables: bool) -> HostSnapshot {
    HostSnapshot {
        time_wait: time_wait(setup),
        server_tables: true,
        ..host_snapshot(in_force, setup, own_tables)
    }
}

/// The first wall that this host foresees. Nothing is tracked before a rule asks for it, and what is tracked is seen at
/// once.
fn predict(host: &HostSnapshot, setup: &Setup, load: &LoadPlan, target: u64) -> Option<Predicted> {
    let tracked = SysctlRoot::default().read("net.netfilter.nf_conntrack_count").ok();
    let tracks = tracked.and_then(|text| text.trim().parse::<u64>().ok()).is_some_and(|count| count > 0);
    let bounding = HostSnapshot { conntrack_max: host.conntrack_max.filter(|_| tracks), ..host.clone() };
    predicted_ceiling(&bounding, &plan_view(setup, load, target))
}

/// Looks up the ends of these servers in this network namespace; nothing where sock_diag cannot be had.
fn at_server(servers: &[SocketAddr]) -> Option<AtServer> {
    let (clients, here) = (SockDiag::open().ok()?, SockDiag::open().ok()?);
    AtServer::begin(Servers::at(servers), clients, here, std::process::id()).ok()
}

/// The device by which the swarm sends to the first server; nothing where no route leads there.
fn link_towards(servers: &[SocketAddr]) -> LinkWatch {
    let device = servers.first().and_then(|server| device_towards(server.ip()).ok());
    LinkWatch::begin(device.into_iter().map(|device| (device, None)).collect())
}

fn last_word(args: &SwarmArgs, record: Record, signals: &Signals, output: &mut Output) -> Exit {
    let exit = record.result().exit(signals.came());
    if args.json {
        output.document(&record);
    }
    if args.events {
        output.last_event(&SwarmEvent::Done { record: Box::new(record) });
    } else {
        output.say(&words(&record));
    }
    exit
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
        time_wait: match in_force.profile.socket.linger {
            // Every close is a reset then (socket(7), SO_LINGER).
            Some(Linger::Reset | Linger::Secs(0)) => Duration::ZERO,
            _ => setup.time_wait,
        },
        socket_options: in_force.profile.socket,
        give_up_after: u64::from(load.in_flight).max(LEAST_GIVE_UP),
        give_up_proving_after: GIVE_UP_PROVING,
    }
}

/// Sockets in TIME_WAIT that keep ports of the plan.
fn time_wait(setup: &Setup) -> Option<u64> {
    let ports: Vec<u16> = setup.servers.iter().map(SocketAddr::port).collect();
    let window = (setup.window.first, setup.window.last);
    Some(ports_kept(&time_wait_towards(&ports)?, window, Some(setup.plan.sources())))
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
        each_line(io::stdin().lock(), |line| {
            line.trim().is_empty() || notes.send(Note::Line(line.trim().to_owned())).is_ok()
        });
    })?;
    Ok(())
}
