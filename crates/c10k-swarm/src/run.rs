//! The swarm's way: arguments → setup → ramp, hold, verify, close → document.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};

use c10k_ceiling::predicted_ceiling;
use c10k_collector::{Abroad, AtServer, LinkWatch, PerEnd, ports_kept, time_wait_towards};
use c10k_kernel::census::{Servers, SockDiag};
use c10k_kernel::cgroup::{PidsGroup, Refusals};
use c10k_kernel::counters::ProcRoot;
use c10k_kernel::link::device_towards;
use c10k_kernel::process;
use c10k_kernel::sysctl::SysctlRoot;
use c10k_profile::{InForce, own_tables_are_allowed, put_in_force};
use c10k_record::shell::own_command;
use c10k_record::{
    Condition, Exit, HostSnapshot, LoadPlan, PhasePlan, Plan, Predicted, Record, Spread, SwarmEvent, Warning,
    WorkPlan, Workload, brief, each_line, headline, utc_now,
};
use c10k_wire::ws::ClientRequest;

use crate::add_ips::{self, AddError, AddedIps};
use crate::args::{Freeze, SwarmArgs};
use crate::arrivals::Arrivals;
use crate::base;
use crate::beside::Beside;
use crate::conductor::{Conductor, Course};
use crate::crew::Crew;
use crate::document::{Background, document};
use crate::makers::KernelMakers;
use crate::output::Output;
use crate::own_end::OwnEnd;
use crate::own_rss_bytes;
use crate::preflight::{refuse_few_descriptors, refuse_too_many, refuse_too_many_workers};
use crate::refusal::Refusal;
use crate::settings::RunSettings;
use crate::setup::{Asked, Setup, SetupError, is_here};
use crate::shard::Own;
use crate::shared::{Note, Shared};
use crate::signals::Signals;
use crate::undo::{PutBack, Undo};
use crate::view::{host_snapshot, plan_view};

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
    if args.quiet {
        output.be_quiet();
    }
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
    let mut own = Own::of(args)?;
    // Which attempt it is one that meets the others hears there.
    own.as_ref().filter(|own| !own.meets()).map_or(Ok(()), Own::prepare)?;
    let led = lead(args, own.as_mut(), &undo, signals.clone(), output);
    // Put back before the last word, so that one who waits for it finds the host as it was.
    let back = undo.changes().put_back();
    let is_whole = back.is_whole();
    let tell = if is_whole { Output::note } else { Output::say };
    back.said.iter().for_each(|line| tell(output, line));
    match led {
        Ok(mut record) => {
            record.warnings.extend(back.warnings);
            let whole = is_whole && !output.has_lost_data();
            let mut exit = if whole { record.result().exit(signals.came()) } else { Exit::Broke };
            let is_left = own.is_none_or(|mut own| {
                exit = own.bring(&mut record, exit, &signals, output);
                own.leave(&own.result_of(&record, exit), Some(&mut record), output)
            });
            last_word(args, record, output);
            Ok(if is_whole && is_left && !output.has_lost_data() { exit } else { Exit::Broke })
        }
        Err(refusal) => {
            let refusal = if is_whole { refusal } else { Refusal { exit: Exit::Broke, ..refusal } };
            // A text that is wrong was never a shard; of one that was refused where the shards meet another one may be
            // there.
            if let Some(own) = own.filter(|own| refusal.exit != Exit::BadText && !own.meets()) {
                own.leave(&own.result_of_refusal(&refusal), None, output);
            }
            Err(refusal)
        }
    }
}

/// Reads what is asked for, applies the profile, finds the way, and goes it; what is changed on the host is in
/// `undo`.
fn lead(
    args: &SwarmArgs,
    mut own: Option<&mut Own>,
    undo: &Undo,
    signals: Signals,
    output: &mut Output,
) -> Result<Record, Refusal> {
    let usage = |usage| Refusal::from(SetupError::Usage(usage));
    let plan = args.plan.as_deref().map(Plan::load).transpose()?;
    let args = &plan.as_ref().map_or_else(|| args.clone(), |plan| args.over(plan));
    let whole = base::whole(args, plan).map_err(usage)?;
    let part = match own.as_deref_mut() {
        Some(own) => own.part(&whole)?,
        None => whole,
    };
    let Plan { target, load, workload, work, phases, verdicts, .. } = part;
    // All that is text, before anything on the host is changed.
    let mut asked = Asked::read(&args.server_text()?, &load)?;
    if let Some(own) = own.as_deref_mut() {
        own.connects_to(asked.servers());
        asked = asked.after(own.targets_before());
    }
    let upgrade = args.ws.request(args.protocol(), asked.servers(), &load)?;
    if let Some(address) = args.metrics {
        output.serve_metrics(address, !args.one_table)?;
    }
    let mut in_force = {
        let mut changes = undo.changes();
        let mut in_force = put_in_force(args.profile(), "c10k-swarm", !args.no_apply).map_err(|error| {
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
    let way = Way { load: &load, workload, work, phases, verdicts, target, setup: &setup, upgrade };
    carry_out(args, way, &in_force, own, signals, output)
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
        return Err(SetupError::NotHere { missing, named, device: Some(device.to_owned()) }.into());
    }
    let count = undo.changes().addresses.as_ref().map_or(0, AddedIps::count);
    output.note(&format!("added {count} of {named} source {} to {device}", add_ips::addresses(named)));
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
    workload: Workload,
    work: WorkPlan,
    phases: Vec<PhasePlan>,
    verdicts: Vec<Condition>,
    target: u64,
    setup: &'a Setup,
    upgrade: Option<ClientRequest>,
}

fn carry_out(
    args: &SwarmArgs,
    Way { load, workload, work, phases, verdicts, target, setup, upgrade }: Way<'_>,
    in_force: &InForce,
    mut own: Option<&mut Own>,
    signals: Signals,
    output: &mut Output,
) -> Result<Record, Refusal> {
    let (sender, notes) = channel();
    let is_timed = load.rate_per_second.is_some() || works(workload, &work, &phases);
    let freeze = args.freeze_worker.map(|Freeze { after, long }| (after.0, long.0));
    let settings = RunSettings { is_timed, freeze, ..RunSettings::of(load, setup, in_force, upgrade) };
    let shared = Arc::new(Shared::new(settings, setup.plan.clone(), arrivals(load), sender.clone()));
    let mut warnings = in_force.warnings.clone();
    let own_tables = !args.one_table && own_tables_are_allowed(in_force.nofile.soft, &mut warnings);
    say_warnings(args, &warnings, setup, output);
    let fits = refuse_too_many(args, setup, load, target, in_force, output)?;
    refuse_few_descriptors(in_force)?;
    let makers = KernelMakers::new(&shared, own_tables).map_err(Refusal::of_host("read its own limits"))?;
    let crew = Crew::new(Arc::clone(&shared), makers);
    refuse_too_many_workers(args, &crew, target)?;
    if args.events {
        read_commands(sender).map_err(Refusal::of_host("read commands"))?;
    }
    let course = Course { workload, work, phases, ..course(args, load, setup, target) };
    let mut conductor = Conductor::new(shared, crew, course, notes, signals, output);
    let pids = pids();
    conductor.start_workers(fits).map_err(Refusal::of_host("start the workers"))?;
    // A lab that leads this swarm looks for itself.
    let beside =
        (setup.server_is_here && args.parent.is_none()).then(|| Beside::begin(&setup.servers)).flatten();
    let own_end = (!setup.server_is_here && args.parent.is_none()).then(OwnEnd::begin).flatten();
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
    let host = HostSnapshot {
        swarm_per_table: Some(connections_per_table),
        ..foreseen_by(in_force, setup, own_tables)
    };
    let host = look_around(args, setup, host, (beside, own_end, at_server), &mut conductor);
    let mut background = Background {
        started_at: utc_now(),
        protocol: args.protocol(),
        workload,
        setup,
        load,
        verdicts,
        profile: in_force.in_run.clone(),
        predicted: predict(&host, setup, load, target),
        host,
        rss_ready_bytes: own_rss_bytes(),
        warnings,
        lost: None,
        again: own_command(),
        run_id: args.shard.run_id.clone(),
        pids,
    };
    if let Some(own) = own.as_deref_mut() {
        own.stands_on(setup, &background.host);
        conductor.meet(own)?;
        let kept = own.prepare().and_then(|()| {
            Ok(conductor.keep_over_time(own).map_err(|(path, error)| SetupError::File { path, error })?)
        });
        conductor.begin_with_the_others(kept)?;
    }
    let finding = conductor.run();
    if let Some(own) = own {
        own.keep(&finding);
    }
    background.lost = output.end_over_time();
    Ok(document(&finding, &background))
}

/// Has the conductor look at the server and at the way there, and gives what the host's limits are by that.
fn look_around(
    args: &SwarmArgs,
    setup: &Setup,
    mut host: HostSnapshot,
    (beside, own_end, at_server): (Option<Beside>, Option<OwnEnd>, Option<AtServer>),
    conductor: &mut Conductor<'_>,
) -> HostSnapshot {
    if let Some(beside) = &beside {
        beside.note_limits(&mut host);
    }
    if args.parent.is_none() {
        let link = link_towards(&setup.servers);
        host.link_bits_per_second = link.narrowest().map(|link| link.bits_per_second);
        conductor.look_at_link(link);
    }
    conductor.look_beside(beside);
    conductor.look_at_own_end(own_end);
    conductor.look_up_ends(at_server);
    conductor.look_abroad(args.parent.is_none().then(|| Abroad::begin(&setup.servers, PerEnd::one(None))));
    host
}

/// Whether connections do something while they are held.
fn works(workload: Workload, work: &WorkPlan, phases: &[PhasePlan]) -> bool {
    workload != Workload::Hold || work.beat.is_some() || !phases.is_empty()
}

/// What is to be known before anything is begun.
fn say_warnings(args: &SwarmArgs, warnings: &[Warning], setup: &Setup, output: &mut Output) {
    // A parent has listed what it could not set.
    let told = warnings.iter().filter(|w| args.parent.is_none() || w.id != "profile-not-applied");
    let told: Vec<Warning> = told.cloned().collect();
    c10k_record::notes(&told, args.profile()).iter().for_each(|line| output.note(line));
    for (_, text) in &setup.notes {
        output.warn(text);
    }
}

/// The pids cgroup of this process, and the threads that it has refused by now.
fn pids() -> Option<(PidsGroup, Refusals)> {
    let group = PidsGroup::of(&ProcRoot::default(), None).ok().flatten()?;
    let refusals = group.refusals();
    Some((group, refusals))
}

/// When connects are begun.
fn arrivals(load: &LoadPlan) -> Arrivals {
    let arrivals = Arrivals::new(load.rate_per_second);
    match load.arrivals {
        Spread::Poisson => arrivals.at_random(load.seed.unwrap_or(1)),
        Spread::Even | Spread::Burst => arrivals,
    }
}

fn course(args: &SwarmArgs, load: &LoadPlan, setup: &Setup, target: u64) -> Course {
    Course {
        target,
        steps: load.steps,
        step_pause: load.step_pause,
        rate_per_second: load.rate_per_second,
        hold: load.hold,
        commanded: args.commanded,
        turns: setup.turns,
        probe: load.probe,
        workload: Workload::Hold,
        work: WorkPlan::default(),
        phases: Vec::new(),
        is_shard: false,
        ports: setup.servers.iter().map(SocketAddr::port).collect(),
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

fn last_word(args: &SwarmArgs, record: Record, output: &mut Output) {
    if args.json {
        output.document(&record);
    }
    if args.events {
        output.last_event(&SwarmEvent::Done { record: Box::new(record) });
    } else {
        // The warnings of its start were said then, and the others are of what it says anyway.
        let style = output.style(!args.json);
        let text = match args.quiet {
            true => {
                let (tone, text) = headline(&record);
                style.headline(tone, &text)
            }
            false => brief(&record, None, record.warnings.len(), style),
        };
        if args.json { output.note(text.trim_end()) } else { output.text(text.trim_end()) }
    }
}

/// Sockets in TIME_WAIT that keep ports of the plan.
fn time_wait(setup: &Setup) -> Option<u64> {
    let ports: Vec<u16> = setup.servers.iter().map(SocketAddr::port).collect();
    let window = (setup.window.first, setup.window.last);
    Some(ports_kept(&time_wait_towards(&ports)?, window, Some(setup.plan.sources())))
}

fn read_commands(notes: Sender<Note>) -> io::Result<()> {
    std::thread::Builder::new().name("stdin".to_owned()).spawn(move || {
        each_line(io::stdin().lock(), |line| {
            line.trim().is_empty() || notes.send(Note::Line(line.trim().to_owned())).is_ok()
        });
    })?;
    Ok(())
}
