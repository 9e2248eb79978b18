//! `c10k-lab run`: topology → profile → server → swarm → record → ceiling → report.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use c10k_kernel::limits;
use c10k_plan::args::RunArgs;
use c10k_plan::beside::Beside;
use c10k_plan::file::{Origin, Written};
use c10k_plan::flags::serve_words;
use c10k_plan::print::print_plan;
use c10k_plan::resolve::{check_sources, resolve_with_origins};
use c10k_plan::say::printer::Printer;
use c10k_plan::say::refusal::Refusal;
use c10k_plan::say::words::left_as_it_was;
use c10k_plan::stage::Stage;
use c10k_plan::veth;
use c10k_plan::view::foreseen;
use c10k_profile::Profile;
use c10k_record::{
    DEFAULT_PORT, Exit, HostSnapshot, Listening, Plan, Record, RunFolder, Tool, brief, headline_and_path,
    shell,
};
use clap::Args;

use crate::command::account::AccountArgs;
use crate::command::beside::BaselineArgs;
use crate::command::serve::put_back;
use crate::host::before::Beforehand;
use crate::host::describe;
use crate::host::limits::{as_one, of_ends};
use crate::isolate::furnish::furnish;
use crate::isolate::place::{self, Place};
use crate::isolate::steward::{self, HostWide, Stewarded};
use crate::lead::exported;
use crate::lead::lab::Lab;
use crate::lead::sizes::Search;
use crate::processes::far::{Far, Reached};
use crate::processes::foreign::Foreign;
use crate::processes::server::Found;
use crate::signals::Signals;
use crate::ssh::far::Tunnel;

/// `c10k-lab run`.
#[derive(Clone, Debug, Args)]
pub(crate) struct RunCommand {
    #[command(flatten)]
    pub(crate) run: RunArgs,
    #[command(flatten)]
    beside: BaselineArgs,
    #[command(flatten)]
    account: AccountArgs,
}

/// Carries out `c10k-lab run`.
pub(crate) fn run(args: &RunCommand, printer: &mut Printer) -> Exit {
    prepare_and_go(args, printer).unwrap_or_else(|refusal| refusal.tell(printer))
}

fn prepare_and_go(args: &RunCommand, printer: &mut Printer) -> Result<Exit, Refusal> {
    let accounts = args.account.accounts(args.run.json)?;
    let ran = match carry_out(&args.beside.beside(&args.run)?, None, printer)? {
        Carried::Out(ran) => ran,
        Carried::Elsewhere(exit) => return Ok(exit),
    };
    let is_stdout_free = !args.run.json && !accounts.take_stdout();
    show(&args.run, &ran.record, &ran.path, (ran.told, is_stdout_free), printer);
    let exit = left_as_it_was(exit_of(&ran.record, &ran.signals), ran.is_put_back);
    Ok(if accounts.write(&ran.record, &ran.path, printer) { exit } else { Exit::Broke })
}

/// A run that is over.
pub(crate) struct Ran {
    pub(crate) record: Record,
    pub(crate) path: PathBuf,
    /// So many of its warnings were said before.
    told: usize,
    pub(crate) search: Option<Search>,
    pub(crate) signals: Signals,
    /// What was set on this machine stands as it did before.
    pub(crate) is_put_back: bool,
}

/// Whether this process has carried it out.
pub(crate) enum Carried {
    Out(Box<Ran>),
    /// There was nothing to carry out, or another process has done it, and said what came of it.
    Elsewhere(Exit),
}

/// The search that a plan is good for. It may ask more of the plan than was written.
type ToSearch<'a> = dyn Fn(&mut Written) -> Result<Search, Refusal> + 'a;

/// What is to be carried out, with nothing made yet.
struct Prepared {
    plan: Plan,
    profile: Profile,
    found: Option<Found>,
    /// The far server that was started over ssh, and the signals that were watched from then on.
    tunnel: Option<(Tunnel, Signals)>,
    search: Option<Search>,
}

/// A run, or a search on a server that runs, from the flags to the finished folder.
pub(crate) fn carry_out(
    args: &RunArgs,
    search: Option<&ToSearch<'_>>,
    printer: &mut Printer,
) -> Result<Carried, Refusal> {
    let Some(prepared) = prepare(args, search, printer)? else {
        return Ok(Carried::Elsewhere(Exit::Done));
    };
    let Prepared { plan, profile, found, tunnel, search } = prepared;
    // Where the run has a namespace of its own; beside a server that is not the lab's nothing is set.
    let own = found.is_none().then_some(&profile);
    let host_wide = match steward::host_wide(own, printer)? {
        Stewarded::Here(host_wide) => host_wide,
        Stewarded::Done(exit) => return Ok(Carried::Elsewhere(exit)),
    };
    let metrics = exported::listen(args, printer)?;
    // From the first file on, so that a signal in the start leaves a record or no trace.
    let (tunnel, signals) = match tunnel {
        Some((tunnel, signals)) => (Some(tunnel), signals),
        None => (None, watch_signals()?),
    };
    let missing = missing_folders(&args.results);
    let folder = RunFolder::create(&args.results, &plan).map_err(|error| {
        remove_empty(&missing);
        Refusal::host(error.to_string(), "name a folder that can be written with --results")
    })?;
    let stage = args.stage.clone().unwrap_or_default();
    let outcome = go(
        &plan,
        &profile,
        &host_wide,
        (found, stage, (args.load.force, args.tui), search, (metrics, args.beside.as_ref())),
        folder,
        signals,
        printer,
    );
    // The run is ended there by now.
    if let Some(trouble) = tunnel.and_then(Tunnel::close) {
        printer.say(&format!("warning: {trouble}"));
    }
    match outcome {
        Ok(ran) => Ok(Carried::Out(Box::new(ran))),
        Err((refusal, folder)) => {
            // Nothing was run: an empty folder would only look like a run.
            let _ = std::fs::remove_dir_all(folder);
            remove_empty(&missing);
            Err(refusal)
        }
    }
}

/// Leaves the default profile out where the server is none of this run.
fn choose_profile(args: &RunArgs, written: &mut Written) {
    let before = written.plan.profile.clone();
    Foreign::choose_profile(args, &mut written.plan);
    Far::choose_profile(args, &mut written.plan);
    if written.plan.profile != before {
        let why = "nobody asked for one, and the server is not this run's";
        written.origins.insert("profile".to_owned(), Origin::Because(why));
    }
}

fn load_profile(name: &str) -> Result<Profile, Refusal> {
    Profile::load(name).map_err(|error| Refusal::text(error.to_string(), error.hint()))
}

/// From the flags to what is to be carried out; `None` where the plan was only to be printed.
fn prepare(
    args: &RunArgs,
    search: Option<&ToSearch<'_>>,
    printer: &mut Printer,
) -> Result<Option<Prepared>, Refusal> {
    if args.quiet {
        printer.be_quiet();
    }
    if args.tui {
        refuse_the_screen(args, printer)?;
    }
    let mut written = resolve_with_origins(args)?;
    let search = search.map(|search| search(&mut written)).transpose()?;
    choose_profile(args, &mut written);
    if args.print_plan {
        load_profile(&written.plan.profile)?;
        Foreign::note_in(args, &mut written);
        let text = print_plan(&written).map_err(|error| Refusal::text(error, ""))?;
        printer.data(text.trim_end());
        return Ok(None);
    }
    let mut plan = written.plan;
    let profile = load_profile(&plan.profile)?;
    if let c10k_profile::Source::File(path) = &profile.source {
        // A plan that is repeated from another folder finds the same file.
        let absolute = path.canonicalize().unwrap_or_else(|_| path.clone());
        plan.profile = absolute.display().to_string();
    }
    let tunnel = open_tunnel(args, &plan)?;
    let reached = match &tunnel {
        Some((tunnel, _)) => Some(Reached::by_tunnel(tunnel, args)),
        None => Reached::of_run(args, &plan)?,
    };
    let found = match reached {
        Some(reached) => {
            let far = Far::reach(reached, args, &mut plan)?;
            printer.say(&far.in_words());
            Some(Found::Far(Box::new(far)))
        }
        None => Foreign::of_run(args, &mut plan)?.map(Found::Foreign),
    };
    // Its server has an address of its own by now.
    check_sources(&plan)?;
    veth::fill_in_sources(&mut plan, &profile)?;
    Ok(Some(Prepared { plan, profile, found, tunnel, search }))
}

/// The far server of a plan that starts one over ssh. Signals are watched from the first moment on: what was begun there
/// is ended in order.
fn open_tunnel(args: &RunArgs, plan: &Plan) -> Result<Option<(Tunnel, Signals)>, Refusal> {
    let Some(host) = &plan.server.ssh else { return Ok(None) };
    let destination = host.parse().map_err(|error: String| Refusal::text(error, "server.ssh of the plan"))?;
    let words = serve_words(plan).map_err(|error| {
        Refusal::text(error, "name a shipped profile, or start `c10k-lab serve` there and use --control")
    })?;
    let port = plan.server.listen.first().map_or(DEFAULT_PORT, SocketAddr::port);
    let signals = watch_signals()?;
    let tunnel = Tunnel::open(&args.ssh, &destination, (port, &words), &signals)?;
    Ok(Some((tunnel, signals)))
}

fn watch_signals() -> Result<Signals, Refusal> {
    Signals::watch().map_err(|error| Refusal::host(format!("cannot watch signals: {error}"), ""))
}

/// A full screen is for who looks at it.
fn refuse_the_screen(args: &RunArgs, printer: &Printer) -> Result<(), Refusal> {
    let why = match (args.quiet, args.json) {
        (true, _) => Some("-q says nothing but the headline"),
        (_, true) => Some("--json is for programs"),
        _ => printer.why_no_screen(),
    };
    why.map_or(Ok(()), |why| Err(Refusal::text(format!("--tui shows a full screen: {why}"), "")))
}

/// The end of the run on stdout; where that is for a document, on stderr. The first `told` warnings were said before.
fn show(
    args: &RunArgs,
    record: &Record,
    path: &Path,
    (told, is_stdout_free): (usize, bool),
    printer: &mut Printer,
) {
    let style = printer.style(is_stdout_free);
    let text = match (args.quiet, args.full) {
        (true, _) => headline_and_path(record, path, style),
        (_, true) => c10k_report::summary(record, Some(path), style),
        _ => brief(record, Some(path), told, style),
    };
    if is_stdout_free {
        return printer.data(&text);
    }
    printer.note(&text);
    if args.json {
        printer.data(&serde_json::to_string(record).unwrap_or_default());
    }
}

/// `path` and those above it that are not there yet, the deepest first.
fn missing_folders(path: &Path) -> Vec<PathBuf> {
    let named = |folder: &&Path| !folder.as_os_str().is_empty() && !folder.exists();
    path.ancestors().take_while(named).map(Path::to_owned).collect()
}

/// Removes folders again that nobody has put anything into since.
fn remove_empty(folders: &[PathBuf]) {
    for folder in folders {
        let _ = std::fs::remove_dir(folder);
    }
}

fn exit_of(record: &Record, signals: &Signals) -> Exit {
    record.result().exit(signals.came().then(|| signals.number()))
}

/// What `doctor` would say: a target that this machine is known not to hold is refused, unless it is to be tried.
fn refuse_too_many(
    plan: &Plan,
    (limits, there): (&HostSnapshot, Option<(&HostSnapshot, bool)>),
    force: bool,
    printer: &mut Printer,
) -> Result<(), Refusal> {
    match c10k_ceiling::too_many(&foreseen(plan, limits, there), plan.target) {
        Some(found) if found.is_certain && !force => Err(Refusal::host(found.message(), found.hint())),
        Some(found) => {
            printer.say(&format!("warning: {}", found.message()));
            Ok(())
        }
        None => Ok(()),
    }
}

type Refused = (Refusal, PathBuf);

/// The server that runs already; what is in the way; whether it is forced, and shown on a full screen; the search; where
/// figures are served, and the run to compare with.
type Given<'a> =
    (Option<Found>, Stage, (bool, bool), Option<Search>, (Option<Listening>, Option<&'a Beside>));

/// A record of a run that begins in this place.
fn begun(plan: &Plan, folder: &RunFolder, place: &Place) -> Record {
    let tool = Tool { name: "c10k-lab".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() };
    let mut record = Record::begun(tool, folder.run_id(), plan.topology, plan.protocol, plan.workload);
    record.command = std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
    record.plan = Some(plan.clone());
    record.profile = place.profile.clone();
    record.warnings.clone_from(&place.warnings);
    record.connections.target = plan.target;
    record.ended_because = Some(format!(
        "unfinished: it was being written by process {}; if that is gone, the lab was killed",
        std::process::id()
    ));
    record
}

/// From the namespace to the finished folder, and how many of the warnings were said.
fn go(
    plan: &Plan,
    profile: &Profile,
    host_wide: &HostWide,
    (found, stage, (force, tui), search, (metrics, beside)): Given<'_>,
    folder: RunFolder,
    signals: Signals,
    printer: &mut Printer,
) -> Result<Ran, Refused> {
    let path = folder.path().to_owned();
    let refused = |refusal: Refusal| (refusal, path.clone());
    let root = limits::euid() == 0;
    let beforehand = Beforehand::look();
    // Before any thread exists: later a user namespace is EINVAL (unshare(2)).
    let place = match &found {
        Some(found) => found.place(plan),
        None => place::enter(plan, profile).map(|place| host_wide.complete(place)),
    };
    let mut place = place.map_err(refused)?;
    let in_force = place.in_force.take();
    if place.isolation.is_none() && stage.needs_a_namespace() {
        return Err(refused(Refusal::host(
            "what is in the way of this run is only put into a namespace of its own, and none may be made here",
            "run it as root, or where user namespaces are allowed",
        )));
    }
    // The children of a lab end with it; what it had written so far is all that there will be.
    let _ = signals.say_at_the_second(format!(
        "ended at once by a second signal; the run until then: c10k-lab report {}",
        shell::quoted(&path.display().to_string())
    ));
    furnish(&stage).map_err(|error| {
        refused(Refusal::host(format!("what the wall is planted with cannot be made: {error}"), ""))
    })?;
    let told = printer.notes(&place.warnings, &plan.profile);
    let mut limits = describe::snapshot(profile, root);
    beforehand.note(&mut limits);
    stage.bound(&mut limits);
    let two_hosts =
        found.as_ref().and_then(|found| found.two_hosts(describe::describe(limits.clone(), root)));
    if let Some(found) = &found {
        limits = found.limits(&plan.load, limits);
    }
    if stage == Stage::default() {
        let there = found.as_ref().and_then(Found::limits_there);
        refuse_too_many(plan, (&limits, there), force, printer).map_err(refused)?;
    }
    let limits = of_ends(limits, place.far.as_ref(), found.as_ref().and_then(Found::elsewhere));
    let mut record = begun(plan, &folder, &place);
    record.host = Some(describe::describe(as_one(&limits), root));
    record.two_hosts = two_hosts;
    beside.iter().for_each(|beside| beside.note(&mut record));
    folder.write_partial(&record).map_err(|error| {
        refused(Refusal::host(error.to_string(), "name a folder that can be written with --results"))
    })?;
    if tui {
        printer
            .open_screen(steward::is_stewarded())
            .map_err(|error| refused(Refusal::host(format!("no full screen can be shown: {error}"), "")))?;
    }
    let started = Lab::start(plan, folder, record, limits, signals.clone(), (place, found, stage), printer);
    let done = started.and_then(|mut lab| {
        metrics.map(|listening| lab.serve_metrics(listening)).transpose()?;
        lab.course.search = search;
        lab.carry_out();
        lab.printer.close_screen();
        Ok(lab.finish())
    });
    // Of a start that was refused, before the refusal is said.
    printer.close_screen();
    let is_put_back = in_force.is_none_or(|guard| put_back(guard, printer));
    let (record, search) = done.map_err(refused)?;
    Ok(Ran { record, path, told, search, signals, is_put_back })
}
