//! `c10k-lab tune`: from a goal and this host to a profile in which each line has its proof.
//!
//! First from wall to wall, as a climb: what is said to lift a wall is swept, alone and together, and only what was needed
//! is kept. Then what may make the goal faster is swept in one go, and what looks better once more. The profile that comes of
//! it is run from a fresh start. Each step is a folder, so that a tuning that was interrupted goes on where it was.

mod asked;
mod bench;
mod counts;
mod export;
pub(crate) mod folder;
mod kept;
mod lift;
mod profile;
mod rates;
mod told;

use std::path::{Path, PathBuf};

use c10k_kernel::{files, limits};
use c10k_plan::args::RunArgs;
use c10k_plan::say::color::Color;
use c10k_plan::say::printer::Printer;
use c10k_plan::say::refusal::Refusal;
use c10k_profile::Profile;
use c10k_record::{Exit, Protocol, Quantity, Record, Span, Topology, human_count, shell, whole, write_whole};
use c10k_report::stats::FEWEST_PAIRS;
use c10k_swarm::{LoadArgs, WorkArgs};
use clap::Args;
use serde_json::json;

use crate::command::sweep::going_on::GoOnArgs;
use crate::command::sweep::state::now;
use crate::signals::Signals;
use asked::{Asked, soft_limit};
use bench::{Bench, Case, Question};
use export::Export;
use folder::{Check, Document, Folder};
use lift::Lift;
use told::{again_with, beside_the_profile, headline, span};

/// The profile of a tuning in its own folder, with which it is checked.
const PROFILE: &str = "profile.toml";

/// `c10k-lab tune`.
#[derive(Clone, Debug, Args)]
pub(crate) struct TuneArgs {
    /// The goal: a plan file, or a target such as 20k.
    #[arg(value_name = "PLAN|TARGET")]
    plan: Option<PathBuf>,
    /// The profile to begin with [stock]
    #[arg(
        long,
        value_name = "PROFILE",
        long_help = "The profile to begin with: a shipped one (stock, tuned, diary, c1m) or the path of one [default: stock]"
    )]
    profile: Option<String>,
    /// Connections to hold: 5000, 10,000, 100k, 1M.
    #[arg(long, value_name = "N", short_alias = 'n', aliases = ["connections", "max"], allow_hyphen_values = true)]
    target: Option<Quantity>,
    /// loopback, or veth (two namespaces) [loopback]
    #[arg(
        long,
        value_name = "TOPOLOGY",
        long_help = "Where the two ends stand: loopback, or veth (two namespaces of this machine) [default: loopback]"
    )]
    topology: Option<Topology>,
    /// raw, or ws (WebSocket) [raw]
    #[arg(
        long,
        value_name = "raw|ws",
        long_help = "What is spoken over TCP: raw, or ws (WebSocket) [default: raw]"
    )]
    protocol: Option<Protocol>,
    /// A verdict of the goal: 'connect_p99 <= 20ms'; repeatable
    #[arg(
        long = "verdict",
        value_name = "EXPR",
        long_help = "A verdict of the goal, such as 'connect_p99 <= 20ms'; may be given several times. It is added to the \
            defaults of `c10k-lab run`, or replaces the one on the same metric"
    )]
    verdicts: Vec<String>,
    /// Source addresses [default: 127.0.0.1, as an ordinary client has one].
    #[arg(hide_short_help = true, long, value_name = "LIST")]
    ips: Option<String>,
    /// How long each run holds [500ms, or 3s of a workload]
    #[arg(
        long,
        value_name = "DURATION",
        allow_hyphen_values = true,
        long_help = "How long each run holds [default: 500ms, and 3s of a workload]"
    )]
    hold: Option<Span>,
    #[command(flatten)]
    work: WorkArgs,
    /// Begin with a descriptor table for each worker at both ends, as the lab's programs have, and with as many sources as
    /// are needed; without it the goal is that of an ordinary program, with one table and the limit of the shell.
    #[arg(hide_short_help = true, long)]
    tables: bool,
    /// Try this setting alone: net.core.somaxconn; repeatable
    #[arg(
        long,
        value_name = "SETTING",
        allow_hyphen_values = true,
        long_help = "Try this setting and no other: net.core.somaxconn, limits.nofile, socket.backlog, --ips; may be given \
            several times"
    )]
    only: Vec<String>,
    /// Rounds of what differs from run to run.
    #[arg(long, value_name = "N", default_value_t = FEWEST_PAIRS as u32,
        value_parser = whole(FEWEST_PAIRS as u32..=100))]
    pairs: u32,
    /// Where the profile is written.
    #[arg(long, value_name = "FILE", default_value = "tuned-here.toml")]
    out: PathBuf,
    /// What must outlive a run: sysctl.d FILE, a file of sysctl.d(5), or systemd FILE, a drop-in with LimitNOFILE; may be given
    /// for both.
    #[arg(hide_short_help = true, long, num_args = 2, value_names = ["sysctl.d|systemd", "FILE"])]
    export: Vec<String>,
    /// Write over files that are there.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    go_on: GoOnArgs,
    /// What came of it as one JSON document on stdout
    #[arg(long, long_help = "What came of it as one JSON document on stdout")]
    json: bool,
    /// Colours on stderr.
    #[arg(hide_short_help = true, long, value_enum, default_value_t = Color::Auto)]
    pub(crate) color: Color,
}

/// Carries it out.
pub(crate) fn run(args: &TuneArgs, printer: &mut Printer) -> Exit {
    tune(args, printer).unwrap_or_else(|refusal| refusal.tell(printer))
}

fn tune(args: &TuneArgs, printer: &mut Printer) -> Result<Exit, Refusal> {
    let exports = Export::read(&args.export)
        .map_err(|message| Refusal::text(message, "for example --export sysctl.d 90-tuned.conf"))?;
    let asked = asked_by(args)?;
    let signals =
        Signals::watch().map_err(|error| Refusal::host(format!("cannot watch signals: {error}"), ""))?;
    if args.go_on.check {
        let scratch = std::env::temp_dir().join(format!("c10k-lab-tune-{}", std::process::id()));
        std::fs::create_dir_all(&scratch).map_err(|error| disk(&scratch, &error))?;
        let bench = Bench { asked: &asked, folder: &scratch, seed: 0, signals: &signals };
        let seconds = bench.lay_out().and_then(|()| estimate(&bench));
        let _ = std::fs::remove_dir_all(&scratch);
        let seconds = seconds?;
        printer.data(&match args.json {
            true => json!({ "estimated_seconds": seconds.round() as u64 }).to_string(),
            false => format!("about {}, more for each setting that helps", span(seconds)),
        });
        return Ok(Exit::Done);
    }
    refuse_what_is_there(args, &exports)?;
    // The runs that watch both ends want more than the shell's limit, which the goal has by now.
    let _ = limits::raise_nofile_soft_to_hard();
    let mut folder: Folder = args.go_on.folder(&asked, printer)?;
    let words = shell::without(&shell::own_command(), &[("--resume", true), ("--fresh", false)]);
    let place = shell::quoted(&folder.path.display().to_string());
    let go_on = format!("{} --resume {place}", shell::line(&words));
    let _ = signals.say_at_the_second(format!("ended at once by a second signal; to go on: {go_on}"));
    match steps(&mut folder, &signals, args, printer) {
        Ok(()) => {}
        Err(refusal) => {
            // What is finished is kept, and nothing of it is made again.
            let hint = refusal.hint.filter(|hint| !hint.is_empty());
            let hint = hint.map_or_else(String::new, |hint| format!("{hint}; "));
            return Err(Refusal { hint: Some(format!("{hint}to go on: {go_on}")), ..refusal });
        }
    }
    finished(args, &exports, &mut folder, printer)
}

/// The goal that the flags ask for.
fn asked_by(args: &TuneArgs) -> Result<Asked, Refusal> {
    let load =
        LoadArgs { target: args.target, ips: args.ips.clone(), hold: args.hold, ..LoadArgs::default() };
    let of_file = args.plan.as_ref().is_some_and(|path| path.exists());
    // A plan's own profile is what it begins with.
    let profile = args.profile.clone().or_else(|| (!of_file).then(|| "stock".to_owned()));
    let run = RunArgs {
        plan: args.plan.clone(),
        profile,
        topology: args.topology,
        protocol: args.protocol,
        verdicts: args.verdicts.clone(),
        load,
        work: args.work.clone(),
        ..RunArgs::default()
    };
    Asked::of(&run, (args.tables, args.only.clone(), args.pairs)).map_err(|refusal| Refusal {
        hint: refusal.hint.map(|hint| hint.replace("c10k-lab run --help", "c10k-lab tune --help")),
        ..refusal
    })
}

/// Nothing is written over that somebody has made.
fn refuse_what_is_there(args: &TuneArgs, exports: &[Export]) -> Result<(), Refusal> {
    let all = [&args.out].into_iter().chain(exports.iter().map(|export| &export.path));
    let read = [args.profile.as_ref().map(PathBuf::from), args.plan.clone()];
    let read: Vec<PathBuf> = read.into_iter().flatten().filter(|path| path.is_file()).collect();
    let mut named: Vec<&Path> = read.iter().map(PathBuf::as_path).collect();
    for path in all {
        if let Some(other) = named.iter().find(|other| is_one_file(other, path)) {
            let message = format!("'{}' and '{}' are one file", other.display(), path.display());
            return Err(Refusal::text(message, "name another file for each that is written"));
        }
        named.push(path);
        if path.is_dir() {
            let message = format!("'{}' is a folder, not a file", path.display());
            return Err(Refusal::host(message, "name a file"));
        }
        if path.exists() && !args.force {
            let message = format!("'{}' is there already", path.display());
            return Err(Refusal::host(message, "--force writes over it, --out names another file"));
        }
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
            let message = format!("'{}' has no folder '{}' to be in", path.display(), folder.display());
            return Err(Refusal::host(message, "make it, or name a file in another one"));
        }
        // Each is written beside its place, and moved there.
        if let Err(error) = files::may_write(folder.unwrap_or(Path::new("."))) {
            let message = format!("'{}' cannot be written: {error}", path.display());
            return Err(Refusal::host(message, "look at who may write in its folder"));
        }
    }
    Ok(())
}

/// Whether two names are of one file, be it there or not.
fn is_one_file(one: &Path, other: &Path) -> bool {
    let whole = |path: &Path| {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new(".")).canonicalize().ok()?;
        path.canonicalize().ok().or_else(|| Some(folder.join(path.file_name()?)))
    };
    whole(one).is_some_and(|path| whole(other) == Some(path))
}

/// All steps that are missing.
fn steps(
    folder: &mut Folder,
    signals: &Signals,
    args: &TuneArgs,
    printer: &mut Printer,
) -> Result<(), Refusal> {
    let (path, asked) = (folder.path.clone(), folder.document.asked.clone());
    let bench = Bench { asked: &asked, folder: &path, seed: folder.document.seed, signals };
    bench.lay_out()?;
    if folder.is_resumed {
        printer.say(&format!("going on with {}", path.display()));
    }
    printer.say(&format!(
        "{} connections, {} {} over {}, from the profile {}: about {} in all, more for each setting that helps",
        human_count(asked.plan.target),
        asked.plan.protocol,
        asked.plan.workload,
        asked.plan.topology,
        asked.begins_with,
        span(estimate(&bench)?)
    ));
    // Steps that are there are read, so it begins with nothing each time.
    let mut outcome = kept::Outcome::default();
    let last = counts::lift_walls(&bench, &mut outcome, printer)?;
    folder.document.outcome = outcome.clone();
    folder.write()?;
    if last.connections.held > 0 {
        rates::make_faster(&bench, &mut outcome, &last, printer)?;
    }
    outcome.note_unmet(&asked.only);
    folder.document.outcome = outcome;
    folder.write()?;
    let text = text_of(folder, &args.out)?;
    let own = path.join(PROFILE);
    write_whole(&own, text.as_bytes()).map_err(|error| disk(&own, &error))?;
    folder.document.check = Some(check(&bench, &own, folder, printer)?);
    folder.write()
}

/// A fresh start with the profile that is about to be written, of which no setting is given in another way; as an ordinary
/// program meets it.
fn check(
    bench: &Bench<'_>,
    profile: &Path,
    folder: &Folder,
    printer: &mut Printer,
) -> Result<Check, Refusal> {
    let written = Profile::load(&profile.display().to_string())
        .map_err(|error| Refusal::text(error.to_string(), error.hint()))?;
    let profile = profile.canonicalize().unwrap_or_else(|_| profile.to_owned()).display().to_string();
    let mut asked = bench.asked.clone();
    asked.plan.profile.clone_from(&profile);
    asked.begins_with = profile;
    asked.nofile = asked.nofile.and_then(|soft| soft_limit(&written, soft));
    let place = folder.path.join("check");
    std::fs::create_dir_all(&place).map_err(|error| disk(&place, &error))?;
    let alone = Bench { asked: &asked, folder: &place, ..*bench };
    alone.lay_out()?;
    // What no profile carries is a part of the goal by now.
    let beside: Vec<Lift> = beside_the_profile(&folder.document);
    let record = alone.run("run", &beside)?;
    let check = Check {
        held: record.connections.held,
        target: asked.plan.target,
        broken: broken(&record),
        is_reached: record.succeeded(),
    };
    printer.say(&format!("check: {}", headline(&check)));
    Ok(check)
}

fn broken(record: &Record) -> Vec<String> {
    record.verdicts.iter().filter(|verdict| verdict.is_broken()).map(|verdict| verdict.expr.clone()).collect()
}

fn text_of(folder: &Folder, out: &Path) -> Result<String, Refusal> {
    let Document { asked, outcome, check, .. } = &folder.document;
    let headline = check.as_ref().map_or_else(|| "It was not checked yet.".to_owned(), headline);
    profile::text(asked, outcome, out, &headline).map_err(|error| Refusal {
        message: error,
        hint: None,
        exit: Exit::Broke,
    })
}

/// Writes profile and exports, and says what came of it.
fn finished(
    args: &TuneArgs,
    exports: &[Export],
    folder: &mut Folder,
    printer: &mut Printer,
) -> Result<Exit, Refusal> {
    let text = text_of(folder, &args.out)?;
    let mut lines = Vec::new();
    write_whole(&args.out, text.as_bytes()).map_err(|error| disk(&args.out, &error))?;
    lines.push(format!("profile: {}", args.out.display()));
    for export in exports {
        match export.text(&folder.document.outcome) {
            Ok(text) => {
                write_whole(&export.path, text.as_bytes()).map_err(|error| disk(&export.path, &error))?;
                lines.push(format!("exported: {}", export.path.display()));
            }
            Err(why) => lines.push(format!("not exported: {}: {why}", export.path.display())),
        }
    }
    folder.document.profile = Some(args.out.clone());
    folder.document.ended_at = Some(now());
    folder.write()?;
    lines.push(format!("again: {}", again_with(&folder.document, args.plan.as_deref(), &args.out)));
    let told = told::told(&folder.document, &lines, printer.style(!args.json).width.min(100));
    if args.json {
        printer.say(&told);
        printer.data(&serde_json::to_string(&folder.document).unwrap_or_default());
    } else {
        printer.data(&told);
    }
    let is_reached = folder.document.check.as_ref().is_some_and(|check| check.is_reached);
    Ok(if is_reached { Exit::Done } else { Exit::Short })
}

/// How long all steps take, as far as can be said before the first, seconds.
fn estimate(bench: &Bench<'_>) -> Result<f64, Refusal> {
    let dummy = |count: usize| -> Vec<Case> {
        let case = |number: usize| Case { name: format!("x{number}"), lifts: vec![Lift::control()] };
        (0..count).map(case).collect()
    };
    let held = ["held".to_owned()];
    let seconds = |cases: usize, metrics: &[String], pairs: u32| {
        let cases = dummy(cases);
        bench.seconds(&Question {
            name: "time",
            title: "Time".to_owned(),
            kept: &[],
            cases: &cases,
            metrics,
            pairs,
        })
    };
    let walls = rates::expected_walls(bench) as f64;
    let for_walls = if walls > 0.0 { walls * seconds(3, &held, 1)? } else { 0.0 };
    let candidates = rates::expected_candidates(bench);
    let for_speed = match candidates {
        0 => 0.0,
        count => seconds(count + 1, &bench.asked.metrics(), bench.asked.pairs)?,
    };
    // A run before the first wall, after each, and with what was written.
    let runs = (walls + 2.0) * seconds(1, &held, 1)? / 5.0;
    Ok(for_walls + for_speed + runs)
}

fn disk(path: &Path, error: &std::io::Error) -> Refusal {
    Refusal::host(
        format!("{}: {error}", path.display()),
        "look at the room on the disk and at who may write there",
    )
}
