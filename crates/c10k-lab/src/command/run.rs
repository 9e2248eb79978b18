//! `c10k-lab run`: topology → profile → server → swarm → record → ceiling → report.

use std::path::{Path, PathBuf};

use c10k_kernel::limits;
use c10k_profile::Profile;
use c10k_record::{Exit, HostSnapshot, Plan, Record, RunFolder, Tool, shell};

use crate::host::before::Beforehand;
use crate::host::describe;
use crate::isolate::furnish::furnish;
use crate::isolate::place;
use crate::isolate::steward::{self, HostWide, Stewarded};
use crate::lead::lab::Lab;
use crate::plan::args::RunArgs;
use crate::plan::resolve::resolve;
use crate::plan::veth;
use crate::plan::view::plan_view;
use crate::processes::foreign::Foreign;
use crate::say::printer::Printer;
use crate::say::refusal::Refusal;
use crate::signals::Signals;
use crate::stage::Stage;

/// Carries out `c10k-lab run`.
pub(crate) fn run(args: &RunArgs, printer: &mut Printer) -> Exit {
    match prepare_and_go(args, printer) {
        Ok(exit) => exit,
        Err(refusal) => {
            // Empty: the process that did not start has said it on stderr.
            if !refusal.message.is_empty() {
                printer.error(&refusal.message, refusal.hint.as_deref());
            }
            refusal.exit
        }
    }
}

fn prepare_and_go(args: &RunArgs, printer: &mut Printer) -> Result<Exit, Refusal> {
    let mut plan = resolve(args)?;
    Foreign::choose_profile(args, &mut plan);
    let profile =
        Profile::load(&plan.profile).map_err(|error| Refusal::text(error.to_string(), error.hint()))?;
    if let c10k_profile::Source::File(path) = &profile.source {
        // A plan that is repeated from another folder finds the same file.
        let absolute = path.canonicalize().unwrap_or_else(|_| path.clone());
        plan.profile = absolute.display().to_string();
    }
    let foreign = Foreign::of_run(args, &mut plan)?;
    veth::settle(&mut plan, &profile)?;
    // Where the run has a namespace of its own; beside a server that is not the lab's nothing is set.
    let own = foreign.is_none().then_some(&profile);
    let host_wide = match steward::host_wide(own, printer)? {
        Stewarded::Here(host_wide) => host_wide,
        Stewarded::Done(exit) => return Ok(exit),
    };
    // From the first file on, so that a signal in the start leaves a record or no trace.
    let signals =
        Signals::watch().map_err(|error| Refusal::host(format!("cannot watch signals: {error}"), ""))?;
    let missing = missing_folders(&args.results);
    let folder = RunFolder::create(&args.results, &plan).map_err(|error| {
        remove_empty(&missing);
        Refusal::host(error.to_string(), "name a folder that can be written with --results")
    })?;
    let stage = args.stage.clone().unwrap_or_default();
    let outcome =
        go(&plan, &profile, &host_wide, (foreign, stage, args.load.force), folder, signals.clone(), printer);
    let (record, path) = match outcome {
        Ok(done) => done,
        Err((refusal, folder)) => {
            // Nothing was run: an empty folder would only look like a run.
            let _ = std::fs::remove_dir_all(folder);
            remove_empty(&missing);
            return Err(refusal);
        }
    };
    let summary = c10k_report::summary(&record, Some(&path), printer.style(false));
    printer.say(&summary);
    if args.json {
        printer.data(&serde_json::to_string(&record).unwrap_or_default());
    }
    Ok(exit_of(&record, &signals))
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
    limits: &HostSnapshot,
    force: bool,
    printer: &mut Printer,
) -> Result<(), Refusal> {
    match c10k_ceiling::too_many(limits, &plan_view(plan, limits)) {
        Some(found) if found.is_certain && !force => Err(Refusal::host(found.message(), found.hint())),
        Some(found) => {
            printer.say(&format!("warning: {}", found.message()));
            Ok(())
        }
        None => Ok(()),
    }
}

type Refused = (Refusal, PathBuf);

/// From the namespace to the finished folder.
fn go(
    plan: &Plan,
    profile: &Profile,
    host_wide: &HostWide,
    (foreign, stage, force): (Option<Foreign>, Stage, bool),
    folder: RunFolder,
    signals: Signals,
    printer: &mut Printer,
) -> Result<(Record, PathBuf), Refused> {
    let path = folder.path().to_owned();
    let refused = |refusal: Refusal| (refusal, path.clone());
    let root = limits::euid() == 0;
    let beforehand = Beforehand::look();
    // Before any thread exists: later a user namespace is EINVAL (unshare(2)).
    let place = match &foreign {
        Some(foreign) => foreign.place(plan),
        None => place::enter(plan, profile).map(|place| host_wide.settle(place)),
    };
    let place = place.map_err(refused)?;
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
    for warning in &place.warnings {
        printer.say(&format!("warning: {}", warning.text));
    }
    let mut limits = describe::snapshot(profile, root);
    beforehand.note(&mut limits);
    stage.settle(&mut limits);
    if let Some(foreign) = &foreign {
        limits = foreign.limits(&plan.load, limits);
    }
    if stage == Stage::default() {
        refuse_too_many(plan, &limits, force, printer).map_err(refused)?;
    }
    let tool = Tool { name: "c10k-lab".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() };
    let mut record = Record::begun(tool, folder.run_id(), plan.topology, plan.protocol, plan.workload);
    record.command = std::env::args().collect();
    record.plan = Some(plan.clone());
    record.profile = place.profile.clone();
    record.host = Some(describe::describe(limits.clone(), root));
    record.warnings.clone_from(&place.warnings);
    record.connections.target = plan.target;
    record.ended_because = Some(format!(
        "unfinished: it was being written by process {}; if that is gone, the lab was killed",
        std::process::id()
    ));
    folder.write_partial(&record).map_err(|error| {
        refused(Refusal::host(error.to_string(), "name a folder that can be written with --results"))
    })?;
    let mut lab = Lab::start(plan, folder, record, limits, signals, (place, foreign, stage), printer)
        .map_err(refused)?;
    lab.carry_out();
    Ok((lab.finish(), path))
}
