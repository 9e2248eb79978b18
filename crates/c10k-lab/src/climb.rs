//! `c10k-lab climb`: run until the wall, name it, lift just that one thing, run again.
//!
//! It begins as a plain program would: one descriptor table at each end, one source address, the listener's default
//! backlog, the limits of the shell. It ends when what was asked for is held, or when what is left is the machine, or
//! cannot be lifted here.

mod memory;
mod step;

use std::path::{Path, PathBuf};

use c10k_ceiling::{UNKNOWN, memory_reserve_bytes};
use c10k_kernel::limits;
use c10k_profile::Profile;
use c10k_record::{Exit, Protocol, Quantity, Remedy, human_bytes, human_count};
use clap::Args;
use serde::Serialize;

use crate::cli::Color;
use crate::printer::Printer;
use crate::run::Signals;
use crate::setup::{Came, Setup};
use memory::{Guard, group, memory, room};
use step::{Step, lift};

/// How long a connect and an echo may take. What is beyond a wall waits for so long in each step.
const PATIENCE: &str = "4s";
/// How long each step holds.
const HOLD: &str = "500ms";
/// More steps than there are walls.
const MOST_STEPS: usize = 24;

/// `c10k-lab climb`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ClimbArgs {
    /// The profile to begin with: a shipped one (stock, tuned, diary, c1m) or the path of one.
    #[arg(long, alias = "from", value_name = "PROFILE", default_value = "stock")]
    start: String,
    /// Connections that are enough: 100k, 1M [default: as many as the memory holds].
    #[arg(long, value_name = "N")]
    max: Option<Quantity>,
    /// What is spoken over TCP: raw, or ws (WebSocket).
    #[arg(long, default_value = "raw", value_name = "raw|ws")]
    protocol: Protocol,
    /// Where the climb's folder is made.
    #[arg(long, value_name = "FOLDER", default_value = "results")]
    results: PathBuf,
    /// One JSON document on stdout.
    #[arg(long)]
    json: bool,
    /// Colours on stderr.
    #[arg(long, value_enum, default_value_t = Color::Auto)]
    pub(crate) color: Color,
}

/// What came of a climb, as climb.json has it.
#[derive(Debug, Serialize)]
struct Climb {
    start: String,
    protocol: Protocol,
    connections: Counts,
    steps: Vec<Step>,
    /// Why it ended.
    ended_because: String,
    /// The wall that it ended at, a verdict that broke among them; `unknown` when none is proven, null when what was
    /// asked for is held.
    wall: Option<String>,
    /// What would have to be lifted next, and by whom; null when nothing would.
    next: Option<Next>,
    /// The profile with what was lifted.
    climbed: PathBuf,
    /// A run from a fresh start with that profile.
    check: Option<Check>,
}

#[derive(Debug, Serialize)]
struct Counts {
    /// What was asked for, or what the memory allows.
    target: u64,
    /// The most that a step held.
    held: u64,
}

#[derive(Clone, Debug, Serialize)]
struct Next {
    wall: String,
    summary: String,
    commands: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Check {
    target: u64,
    held: u64,
}

/// How a climb ends.
struct End {
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
    let mut setup = plain(args)?;
    let memory = memory();
    let room = memory.as_ref().and_then(|memory| room(memory, &group()));
    setup.target = match (args.max, room) {
        (Some(Quantity(0)), _) => {
            return Err((
                "--max 0 holds nothing".to_owned(),
                "expected at least 1".to_owned(),
                Exit::BadText,
            ));
        }
        (Some(Quantity(max)), _) => max,
        (None, Some((room, _))) => room,
        (None, None) => {
            let message = "it cannot be read how much memory is left".to_owned();
            return Err((message, "say with --max how far to climb".to_owned(), Exit::HostCannot));
        }
    };
    let reserve = memory.and_then(|memory| memory.total_bytes).map_or(0, memory_reserve_bytes);
    // More than the memory holds is not tried: the OOM killer is not the lab's to call.
    let bounded_by_memory = room.filter(|(room, _)| *room <= setup.target);
    setup.target = bounded_by_memory.map_or(setup.target, |(room, _)| room).max(1);
    let folder = folder(&args.results)?;
    let signals = Signals::watch()
        .map_err(|error| (format!("cannot watch signals: {error}"), String::new(), Exit::HostCannot))?;
    let mut climb = Climb {
        start: args.start.clone(),
        protocol: args.protocol,
        connections: Counts { target: setup.target, held: 0 },
        steps: Vec::new(),
        ended_because: "unfinished".to_owned(),
        wall: None,
        next: None,
        climbed: folder.join("climbed.toml"),
        check: None,
    };
    let mut guard = Guard { signals: &signals, reserve, last: None, low: false };
    printer.say(step::HEADING);
    let end = up(&mut climb, &mut setup, &folder, &mut guard, printer);
    climb.ended_because = end.because;
    climb.wall = end.wall;
    climb.next = end.next;
    if let (Some((room, reserve)), None, Exit::Done) = (bounded_by_memory, &climb.wall, end.exit) {
        climb.wall = Some("ram".to_owned());
        climb.ended_because = format!(
            "{} are what the memory holds with a reserve of {} kept: more is not tried",
            human_count(room),
            human_bytes(reserve)
        );
        climb.next = Some(Next {
            wall: "ram".to_owned(),
            summary: "More memory, or the two ends on two machines.".to_owned(),
            commands: Vec::new(),
        });
    }
    climb.keep(&setup, &folder)?;
    if !signals.came() && climb.connections.held > 0 {
        climb.check = check(&climb, &folder, &mut guard, printer);
        climb.keep(&setup, &folder)?;
    }
    climb.tell(printer);
    if args.json {
        printer.data(&serde_json::to_string(&climb).unwrap_or_default());
    }
    Ok(match (signals.came(), &climb.check) {
        (true, _) if signals.name() == "SIGTERM" => Exit::Terminated,
        (true, _) => Exit::Interrupted,
        (false, Some(check)) if check.held < check.target && end.exit == Exit::Done => Exit::Short,
        (false, _) => end.exit,
    })
}

/// From wall to wall.
fn up(
    climb: &mut Climb,
    setup: &mut Setup,
    folder: &Path,
    guard: &mut Guard<'_>,
    printer: &mut Printer,
) -> End {
    let ended = |because: String, exit| End { because, wall: None, next: None, exit };
    for number in 1..=MOST_STEPS {
        if guard.signals.came() {
            return ended(format!("stopped by {}", guard.signals.name()), Exit::Interrupted);
        }
        let place = folder.join(format!("step-{number}"));
        if let Err(error) = std::fs::create_dir(&place) {
            return ended(format!("{}: {error}", place.display()), Exit::Broke);
        }
        let record = match setup.carry_out(&place, || guard.says_stop()) {
            Came::Record(record) => record,
            Came::Nothing(..) if guard.signals.came() => return stopped_early(guard),
            Came::Nothing(why, code) => {
                let exit = if code == Some(3) { Exit::HostCannot } else { Exit::Broke };
                return ended(format!("the run of step {number} came to nothing: {why}"), exit);
            }
        };
        let mut step = Step::of(number, &record, place);
        climb.connections.held = climb.connections.held.max(step.held);
        if guard.signals.came() || guard.low {
            climb.steps.push(step);
            return stopped_early(guard);
        }
        let all = human_count(setup.target);
        let broken = record.verdicts.iter().find(|verdict| !verdict.passed);
        if step.held >= setup.target && broken.is_none() {
            printer.say(&step.row());
            climb.steps.push(step);
            return ended(format!("{all} are held"), Exit::Done);
        }
        let too_late = broken
            .filter(|_| step.held >= setup.target)
            .map(|broken| format!("{all} are held, but `{}` does not hold", broken.expr));
        let Some(wall) = step.wall.clone() else {
            // It went only as far as a wall was predicted, and there was none.
            let again = too_late.is_none() && std::mem::take(&mut setup.stage.only_to_the_wall);
            if again {
                step.evidence.clear();
            }
            printer.say(&step.row());
            climb.steps.push(step);
            if again {
                continue;
            }
            let nothing = "nothing that was seen proves a wall";
            let because =
                too_late.map_or_else(|| nothing.to_owned(), |broken| format!("{broken}, and {nothing}"));
            let remedy = record.ceiling.and_then(|ceiling| ceiling.remedy);
            let next = remedy.map(|remedy| Next::of(UNKNOWN, remedy));
            return End { because, wall: Some(UNKNOWN.to_owned()), next, exit: Exit::Short };
        };
        // Lifted before, and no further than then.
        let tried = climb.steps.iter().any(|before| {
            before.wall.as_ref() == Some(&wall) && before.held >= step.held && before.lifted_with.is_some()
        });
        let remedy = record.ceiling.as_ref().and_then(|ceiling| ceiling.remedy.clone());
        let lifted = if tried { None } else { remedy.as_ref().and_then(|remedy| lift(&wall, remedy, setup)) };
        let is_lifted = lifted.is_some();
        step.lifted_with = lifted;
        printer.say(&step.row());
        climb.steps.push(step);
        if !is_lifted {
            let why = if tried { "its own lift did not lift it" } else { "it is not the lab's to lift here" };
            let next = remedy.map(|remedy| Next::of(&wall, remedy));
            let because = too_late.unwrap_or_else(|| format!("{wall}: {why}"));
            return End { because, wall: Some(wall), next, exit: Exit::Short };
        }
        setup.stage.only_to_the_wall = true;
    }
    ended(format!("{MOST_STEPS} steps are more than there are walls"), Exit::Broke)
}

fn stopped_early(guard: &Guard<'_>) -> End {
    if guard.signals.came() {
        let because = format!("stopped by {}", guard.signals.name());
        return End { because, wall: None, next: None, exit: Exit::Interrupted };
    }
    let because = format!("stopped with {} of memory left", human_bytes(guard.reserve));
    let summary = "More memory, or the two ends on two machines.".to_owned();
    let next = Next { wall: "ram".to_owned(), summary, commands: Vec::new() };
    End { because, wall: Some("ram".to_owned()), next: Some(next), exit: Exit::Short }
}

/// The run of a plain program.
fn plain(args: &ClimbArgs) -> Result<Setup, Refused> {
    let profile =
        Profile::load(&args.start).map_err(|error| (error.to_string(), error.hint(), Exit::BadText))?;
    let extends = match &profile.source {
        c10k_profile::Source::File(path) => {
            Some(path.canonicalize().unwrap_or_else(|_| path.clone()).display().to_string())
        }
        _ if args.start == "stock" => None,
        _ => Some(args.start.clone()),
    };
    let mut setup = Setup { extends, ..Setup::default() };
    let soft = limits::nofile().ok().filter(|limit| limit.soft < limit.hard).map(|limit| limit.soft);
    for end in [&mut setup.stage.server, &mut setup.stage.swarm] {
        end.one_table = true;
        end.nofile = soft;
    }
    // It does not count its ports beforehand.
    setup.stage.swarm.flags.insert("--target".to_owned(), "1".to_owned());
    setup.stage.only_to_the_wall = true;
    let protocol = args.protocol.to_string();
    for (flag, value) in [
        ("--ips", "127.0.0.1"),
        ("--hold", HOLD),
        ("--connect-timeout", PATIENCE),
        ("--probe-timeout", PATIENCE),
        ("--protocol", &protocol),
        ("--close", "rst"),
    ] {
        setup.flags.insert(flag.to_owned(), value.to_owned());
    }
    Ok(setup)
}

/// A folder for this climb.
fn folder(results: &Path) -> Result<PathBuf, Refused> {
    let refused = |path: &Path, error: std::io::Error| {
        let hint = "name a folder that can be written with --results".to_owned();
        (format!("{}: {error}", path.display()), hint, Exit::HostCannot)
    };
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

/// A fresh start with the profile that was written, as anybody would run it.
fn check(climb: &Climb, folder: &Path, guard: &mut Guard<'_>, printer: &mut Printer) -> Option<Check> {
    let target = climb.connections.held;
    printer.say(&format!("check: {} from a fresh start with climbed.toml", human_count(target)));
    let mut command = std::process::Command::new(c10k_kernel::process::own_executable());
    command.args(["run", "--json", "--hold", HOLD, "--profile"]).arg(&climb.climbed);
    command.arg("--results").arg(folder).args(["--target", &target.to_string()]);
    command.args(["--protocol", &climb.protocol.to_string()]);
    match crate::setup::carry_out(command, &mut || guard.says_stop()) {
        Came::Record(record) => Some(Check { target, held: record.connections.held }),
        Came::Nothing(why, _) => {
            printer.say(&format!("warning: the check came to nothing: {why}"));
            None
        }
    }
}

impl Climb {
    /// Writes what there is so far.
    fn keep(&self, setup: &Setup, folder: &Path) -> Result<(), Refused> {
        let summary = format!("{} held in a climb from {}", human_count(self.connections.held), self.start);
        let justify = |key: &str| {
            let step = self.steps.iter().find(|step| {
                step.lifted_with.iter().flat_map(|lifted| &lifted.settings).any(|setting| setting.key == key)
            })?;
            Some(step.justify())
        };
        let profile = setup.profile("climbed", &summary, justify);
        let document = serde_json::to_string_pretty(self).unwrap_or_default();
        for (path, text) in [(self.climbed.clone(), profile), (folder.join("climb.json"), document)] {
            std::fs::write(&path, text).map_err(|error| {
                (format!("{}: {error}", path.display()), "make room on the disk".to_owned(), Exit::Broke)
            })?;
        }
        Ok(())
    }

    /// The last words, for people.
    fn tell(&self, printer: &mut Printer) {
        let wall = self.wall.as_ref().map_or_else(String::new, |wall| format!(", {wall}"));
        printer.say(&format!(
            "held {} of {}{wall}: {}",
            human_count(self.connections.held),
            human_count(self.connections.target),
            self.ended_because
        ));
        if let Some(check) = &self.check {
            printer.say(&format!(
                "check: {} of {} held with climbed.toml alone",
                human_count(check.held),
                human_count(check.target)
            ));
        }
        printer.say(&format!("profile: {}", self.climbed.display()));
        if let Some(next) = &self.next {
            let line = next.commands.first().map_or_else(String::new, |command| format!(": {command}"));
            printer.say(&format!("next: {} {}{line}", next.wall, next.summary));
        }
    }
}

impl Next {
    fn of(wall: &str, remedy: Remedy) -> Self {
        Self { wall: wall.to_owned(), summary: remedy.summary, commands: remedy.commands }
    }
}
