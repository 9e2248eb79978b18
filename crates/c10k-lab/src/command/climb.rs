//! `c10k-lab climb`: run until the wall, name it, lift just that one thing, run again.
//!
//! It begins as a plain program would: one descriptor table at each end, one source address, the listener's default
//! backlog, the limits of the shell. It ends when what was asked for is held, or when what is left is the machine, or
//! cannot be lifted here.
//!
//! Each step is a run of its own: server, swarm and namespace are started anew, so that its record is as whole as that
//! of any run, and what was lifted is in force from the first connection on. That costs a second or two; beyond that a
//! step makes few connections more than its wall is predicted to allow. A step grows by pieces towards the end of
//! memory and keeps a reserve, see `headroom.rs`.

mod brake;
mod document;
mod next;
mod plain;
mod step;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use c10k_ceiling::{Lifts, MEMORY_WALLS as MEMORY, UNKNOWN};
use c10k_kernel::process;
use c10k_plan::say::color::Color;
use c10k_plan::say::printer::Printer;
use c10k_plan::say::refusal::Refusal;
use c10k_record::{
    Exit, HttpAddress, Listening, Metric, Predicted, Protocol, Quantity, Record, RunState, human_bytes,
    human_count,
};
use clap::Args;

use crate::host::headroom::{Headroom, Left};
use crate::lead::exported::listen_at;
use crate::rerun::{Came, Setup};
use crate::signals::Signals;
use brake::Brake;
use document::{Climb, Counts};
use next::{Next, path_to_paste};
use plain::{check, plain};
use step::Step;

/// More steps than there are walls.
const MOST_STEPS: usize = 24;

/// `c10k-lab climb`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ClimbArgs {
    /// The profile to begin with: a shipped one (stock, tuned, diary, c1m) or the path of one.
    #[arg(long, alias = "from", value_name = "PROFILE", default_value = "stock")]
    start: String,
    /// Connections that are enough, as --target says it too.
    #[arg(value_name = "TARGET", conflicts_with = "target")]
    enough: Option<Quantity>,
    /// Connections that are enough: 10,000, 100k, 1M [default: as many as the memory holds above a reserve].
    #[arg(long, value_name = "N", aliases = ["max", "connections"], short_alias = 'n', allow_hyphen_values = true)]
    target: Option<Quantity>,
    /// What is spoken over TCP: raw, or ws (WebSocket).
    #[arg(long, default_value = "raw", value_name = "raw|ws")]
    protocol: Protocol,
    /// Where the climb's folder is made.
    #[arg(long, value_name = "FOLDER", default_value = "results")]
    results: PathBuf,
    /// Serve the figures of the step under way to Prometheus, at http://ADDRESS:PORT/metrics; a port alone is of
    /// 127.0.0.1, port 0 lets the kernel choose [default: off].
    #[arg(long, value_name = "ADDRESS:PORT")]
    metrics: Option<HttpAddress>,
    /// One JSON document on stdout.
    #[arg(long)]
    json: bool,
    /// Colours on stderr.
    #[arg(long, value_enum, default_value_t = Color::Auto)]
    pub(crate) color: Color,
}

/// How a climb ends.
struct ClimbEnd {
    because: String,
    wall: Option<String>,
    next: Option<Next>,
    exit: Exit,
}

/// Carries it out.
pub(crate) fn run(args: &ClimbArgs, printer: &mut Printer) -> Exit {
    match climb(args, printer) {
        Ok(exit) => exit,
        Err((message, hint, exit)) => {
            printer.error(&message, Some(&hint));
            exit
        }
    }
}

type Refused = (String, String, Exit);

fn climb(args: &ClimbArgs, printer: &mut Printer) -> Result<Exit, Refused> {
    let most = u64::from(u32::MAX);
    let asked = args.target.or(args.enough);
    let bad_max = |why: String, hint: String| Err((why, hint, Exit::BadText));
    match asked {
        Some(Quantity(0)) => {
            return bad_max("--target 0 holds nothing".to_owned(), "expected at least 1".to_owned());
        }
        Some(Quantity(max)) if max > most => {
            let why = format!("--target {max} is more than one box can number");
            return bad_max(why, format!("expected at most {most}"));
        }
        _ => {}
    }
    let mut setup = Setup { metrics: metrics(args, printer)?, ..plain(args)? };
    let mut host = c10k_collector::host_snapshot();
    crate::host::describe::complete(&mut host);
    // It climbs over 127.0.0.0/8.
    let mut memory = Headroom::open(&host, false);
    let left = memory.left();
    setup.target = match (asked, left) {
        (Some(Quantity(max)), _) => max,
        // A little more than fits: it is the memory that says where this ends.
        (None, Some(left)) => (left.pairs() + left.pairs() / 20).clamp(1, most),
        (None, None) => {
            let message = "it cannot be read how much memory is left".to_owned();
            return Err((message, "say with --target how far to climb".to_owned(), Exit::HostCannot));
        }
    };
    let folder = folder(&args.results)?;
    let signals = Signals::watch()
        .map_err(|error| (format!("cannot watch signals: {error}"), String::new(), Exit::HostCannot))?;
    let mut climb = Climb {
        start: args.start.clone(),
        protocol: args.protocol,
        connections: Counts { target: asked.map(|Quantity(max)| max), held: 0 },
        memory: left.map(foreseen),
        steps: Vec::new(),
        ended_because: "unfinished".to_owned(),
        wall: None,
        next: None,
        climbed: folder.join("climbed.toml"),
        check: None,
        warnings: warnings(),
    };
    // A step has a profile of its own; the climb leaves one that has the same and says why.
    setup.stage.told_profile = Some(path_to_paste(&climb.climbed));
    for warning in &climb.warnings {
        printer.say(&format!("warning: {warning}"));
    }
    let mut brake = Brake::new(&signals, memory);
    printer.say(step::HEADING);
    let end = up(&mut climb, &mut setup, &folder, &mut brake, printer);
    climb.ended_because = end.because;
    climb.wall = end.wall;
    climb.next = end.next;
    let mut unkept = climb.keep(&setup, &folder).err();
    let is_checked = unkept.is_none() && !signals.came() && climb.connections.held > 0;
    if is_checked {
        brake.await_memory();
        climb.check = check(&climb, &setup, &folder, &mut brake, printer);
        unkept = climb.keep(&setup, &folder).err();
    }
    if let Some((message, hint, _)) = &unkept {
        printer.error(message, Some(hint));
    }
    if args.json {
        printer.say(&climb.told(None));
        printer.data(&serde_json::to_string(&climb).unwrap_or_default());
    } else {
        printer.data(&climb.told(Some(printer.style(true).width)));
    }
    let is_repeated = climb.check.as_ref().is_some_and(|check| check.held >= check.target);
    Ok(match end.exit {
        _ if signals.came() => signals.exit(),
        _ if unkept.is_some() => Exit::Broke,
        Exit::Done if is_checked && !is_repeated => Exit::Short,
        exit => exit,
    })
}

/// One socket for the figures of all steps.
fn metrics(args: &ClimbArgs, printer: &mut Printer) -> Result<Option<Arc<Listening>>, Refused> {
    let Some(address) = args.metrics else { return Ok(None) };
    let refused = |Refusal { message, hint, exit }| (message, hint.unwrap_or_default(), exit);
    Ok(Some(Arc::new(listen_at(address, printer).map_err(refused)?)))
}

/// What this user may not know, and what could not be arranged.
fn warnings() -> Vec<String> {
    let mut warnings = Vec::new();
    if crate::host::object_bytes::object_bytes(false).is_none() {
        warnings.push(
            "/proc/slabinfo may not be read by this user: what a connection takes is known as a total alone, and not \
             from the sizes of this kernel's objects"
                .to_owned(),
        );
    }
    // Kernel memory belongs to no process: without that the OOM killer would look for a victim elsewhere.
    if let Err(error) = process::offer_to_the_oom_killer() {
        warnings.push(format!("the OOM killer cannot be told to take this climb before others: {error}"));
    }
    warnings
}

/// From wall to wall.
fn up(
    climb: &mut Climb,
    setup: &mut Setup,
    folder: &Path,
    brake: &mut Brake<'_>,
    printer: &mut Printer,
) -> ClimbEnd {
    let ended = |because: String, exit| ClimbEnd { because, wall: None, next: None, exit };
    let mut lifts = Lifts::default();
    for number in 1..=MOST_STEPS {
        if number > 1 {
            brake.await_memory();
        }
        if brake.came() {
            return stopped_early(brake);
        }
        let place = folder.join(format!("step-{number}"));
        if let Err(error) = std::fs::create_dir(&place) {
            return ended(format!("{}: {error}", place.display()), Exit::Broke);
        }
        let record = match setup.carry_out(&place, || brake.says_stop()) {
            Came::Record(record) => record,
            Came::Nothing(..) if brake.came() || brake.was_low().is_some() => return stopped_early(brake),
            Came::Nothing(why, code) => {
                let exit = match code {
                    Some(2) => Exit::BadText,
                    Some(3) => Exit::HostCannot,
                    _ => Exit::Broke,
                };
                // It is what was lifted last that this place does not take.
                if exit == Exit::HostCannot
                    && let Some(step) = climb.steps.last_mut()
                    && let Some(wall) = lifts.take_back(setup)
                {
                    printer.say(&format!("warning: {why}"));
                    step.lifted_with = lifts.another(setup);
                    if step.lifted_with.is_some() {
                        printer.say(&step.row(printer.style(false).width));
                        continue;
                    }
                    let because = format!("what lifts it cannot be set here: {why}");
                    return ClimbEnd {
                        because,
                        wall: Some(wall),
                        next: step.next.clone(),
                        exit: Exit::Short,
                    };
                }
                return ended(format!("the run of step {number} came to nothing: {why}"), exit);
            }
        };
        let mut step = Step::of(number, &record, place);
        climb.connections.held = climb.connections.held.max(step.held);
        let end = after(&mut step, &record, climb, setup, &mut lifts, brake);
        printer.say(&step.row(printer.style(false).width));
        climb.steps.push(step);
        if let Some(end) = end {
            return end;
        }
        // So that a climb that is killed has told how far it came.
        if let Err((error, _, exit)) = climb.keep(setup, folder) {
            return ended(format!("what was found can no longer be written: {error}"), exit);
        }
    }
    ended(format!("{MOST_STEPS} steps are more than there are walls"), Exit::Broke)
}

/// What follows from a step: the end of the climb, or another setup.
fn after(
    step: &mut Step,
    record: &Record,
    climb: &Climb,
    setup: &mut Setup,
    lifts: &mut Lifts<Setup>,
    brake: &Brake<'_>,
) -> Option<ClimbEnd> {
    if brake.came() || brake.was_low().is_some() {
        return Some(stopped_early(brake));
    }
    let (all, is_all) = (human_count(setup.target), step.held >= setup.target);
    // Of its target the memory says more than a verdict does.
    let broken =
        record.verdicts.iter().find(|verdict| verdict.is_broken() && verdict.metric() != Some(Metric::Held));
    let broken = broken.map(|verdict| format!("but `{}` does not hold", verdict.expr));
    if is_all && broken.is_none() {
        if climb.connections.target.is_some() {
            let next = Next::beyond(step.held, record, &climb.climbed);
            return Some(ClimbEnd { because: format!("{all} are held"), wall: None, next, exit: Exit::Done });
        }
        // A connection takes less here than was known.
        setup.target = (setup.target + setup.target / 2).min(u32::MAX.into());
        return None;
    }
    let too_late = broken.as_ref().filter(|_| is_all).map(|broken| format!("{all} are held, {broken}"));
    let Some(wall) = step.wall.clone() else {
        // It went only as far as a wall was predicted, and there was none.
        if too_late.is_none() && std::mem::take(&mut setup.stage.only_to_the_wall) {
            step.evidence.clear();
            return None;
        }
        let nothing = "nothing that was seen proves a wall";
        let because =
            too_late.map_or_else(|| nothing.to_owned(), |broken| format!("{broken}, and {nothing}"));
        let remedy = record.ceiling.as_ref().and_then(|ceiling| ceiling.remedy.clone());
        let next = remedy.map(|remedy| Next::of(UNKNOWN, remedy));
        return Some(ClimbEnd { because, wall: Some(UNKNOWN.to_owned()), next, exit: Exit::Short });
    };
    let remedy = record.ceiling.as_ref().and_then(|ceiling| ceiling.remedy.clone());
    step.next = remedy.clone().map(|remedy| Next::of(&wall, remedy));
    if MEMORY.contains(&wall.as_str()) && record.state == RunState::Complete {
        return Some(full(climb, step, wall, broken, brake));
    }
    step.lifted_with = remedy.as_ref().and_then(|remedy| lifts.lift(&wall, step.held, remedy, setup));
    if step.lifted_with.is_some() {
        setup.stage.only_to_the_wall = true;
        return None;
    }
    let why = if lifts.were_tried(&wall) {
        "what is said to lift it did not"
    } else {
        "it is not the lab's to lift here"
    };
    Some(ClimbEnd {
        because: too_late.unwrap_or_else(|| format!("{wall}: {why}")),
        wall: Some(wall),
        next: step.next.clone(),
        exit: Exit::Short,
    })
}

/// The memory is full but for its reserve.
fn full(climb: &Climb, step: &Step, wall: String, broken: Option<String>, brake: &Brake<'_>) -> ClimbEnd {
    let reserve = human_bytes(brake.reserve_bytes());
    let held = human_count(step.held);
    let exit = if climb.connections.target.is_some() || broken.is_some() { Exit::Short } else { Exit::Done };
    let broken = broken.map_or_else(String::new, |broken| format!(", {broken}"));
    let because = format!(
        "{held} are what the memory holds with a reserve of {reserve} kept: more is not tried{broken}"
    );
    let next = step
        .next
        .clone()
        .map(|next| Next { summary: format!("(with a reserve of {reserve} kept) {}", next.summary), ..next });
    ClimbEnd { because, wall: Some(wall), next, exit }
}

fn stopped_early(brake: &Brake<'_>) -> ClimbEnd {
    if brake.came() {
        let because = format!("stopped by {}", brake.name());
        return ClimbEnd { because, wall: None, next: None, exit: Exit::Interrupted };
    }
    let left = brake.was_low();
    let because = format!(
        "stopped with {} of a reserve of {} left: something else took memory meanwhile",
        human_bytes(left.map_or(0, |left| left.bytes)),
        human_bytes(left.map_or(0, |left| left.reserve_bytes))
    );
    let wall = left.map_or("ram", |left| left.wall()).to_owned();
    let summary = "End what else takes memory here, or give --target.".to_owned();
    let commands = vec!["ps aux --sort=-rss | head".to_owned()];
    let next = Next { wall: wall.clone(), summary, commands, any_suffices: false };
    ClimbEnd { because, wall: Some(wall), next: Some(next), exit: Exit::Short }
}

/// What the memory is foreseen to hold above the reserve.
fn foreseen(left: Left) -> Predicted {
    // The uncertainty is as the walls say of memory: other programs take and give back theirs.
    Predicted { connections: left.pairs(), wall: left.wall().to_owned(), uncertainty_percent: 5 }
}

/// A folder for this climb.
fn folder(results: &Path) -> Result<PathBuf, Refused> {
    let refused = |path: &Path, error: std::io::Error| {
        let hint = "name a folder that can be written with --results".to_owned();
        (format!("{}: {error}", path.display()), hint, Exit::HostCannot)
    };
    if results.is_file() {
        let hint = "name a folder with --results".to_owned();
        return Err((format!("'{}' is a file, not a folder", results.display()), hint, Exit::HostCannot));
    }
    std::fs::create_dir_all(results).map_err(|error| refused(results, error))?;
    let time = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ");
    for number in 1..100 {
        let more = if number == 1 { String::new() } else { format!("-{number}") };
        let path = results.join(format!("{time}-climb{more}"));
        match std::fs::create_dir(&path) {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(refused(&path, error)),
        }
    }
    Err(refused(results, std::io::ErrorKind::AlreadyExists.into()))
}
