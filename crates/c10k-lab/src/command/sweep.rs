//! `c10k-lab sweep`: one thing changed, enough times, and an honest answer.
//!
//! An experiment is a file: a base plan, what is changed of it, what is compared, and what its author expects. Each run
//! is one of `c10k-lab run`, in a process and namespaces of its own. How far it has come is on the disk after each run.

mod answer;
pub(crate) mod experiments;
pub(crate) mod folder;
pub(crate) mod going_on;
pub(crate) mod made;
mod one_run;
mod page;
mod read_back;
mod runner;
mod standing;
pub(crate) mod state;
mod tables;
#[cfg(test)]
mod tests;
mod told;
mod written;

use std::path::PathBuf;

use c10k_plan::experiment::file::Sweep;
use c10k_plan::say::color::Color;
use c10k_plan::say::printer::Printer;
use c10k_plan::say::refusal::Refusal;
use c10k_record::{Exit, Span, shell};
use clap::Args;
use serde_json::json;

use crate::command::plant::hierarchy::Hierarchy;
use crate::command::plant::left::Maker;
use crate::signals::Signals;
use answer::Answers;
use folder::Folder;
use going_on::GoOnArgs;
use runner::{Runner, sweep_seconds};

/// `c10k-lab sweep`.
#[derive(Clone, Debug, Args)]
pub(crate) struct SweepArgs {
    /// The experiment: a file such as profiles/sweeps/port-range.toml.
    file: PathBuf,
    #[command(flatten)]
    go_on: GoOnArgs,
    /// The answer as one JSON document on stdout.
    #[arg(long)]
    json: bool,
    /// Colours on stderr.
    #[arg(long, value_enum, default_value_t = Color::Auto)]
    pub(crate) color: Color,
}

/// Carries it out.
pub(crate) fn run(args: &SweepArgs, printer: &mut Printer) -> Exit {
    sweep(args, printer).unwrap_or_else(|refusal| refusal.tell(printer))
}

fn sweep(args: &SweepArgs, printer: &mut Printer) -> Result<Exit, Refusal> {
    let sweep = Sweep::read(&args.file)?;
    one_run::refuse_unknown(&sweep.arms)?;
    standing::refuse_what_stands(&sweep.arms)?;
    if args.go_on.check {
        let seconds = sweep_seconds(&sweep).round() as u64;
        printer.data(&match args.json {
            true => json!({ "name": sweep.name, "estimated_seconds": seconds }).to_string(),
            false => format!("{}: about {}", sweep.name, Span(std::time::Duration::from_secs(seconds))),
        });
        return Ok(Exit::Done);
    }
    let host = |what: &str, error: std::io::Error| Refusal::host(format!("cannot {what}: {error}"), "");
    let signals = Signals::watch().map_err(|error| host("watch signals", error))?;
    let maker = Maker::this().map_err(|error| host("tell this process from others", error))?;
    // A sweep that was killed has left its groups, whether it is gone on with or another one is begun.
    Hierarchy::default().remove_left_behind(&maker);
    let was_there = args.go_on.results.exists();
    let folder: Folder = args.go_on.folder(&sweep, printer)?;
    let go_on = go_on_with(args, &folder);
    let _ = signals.say_at_the_second(format!("ended at once by a second signal; to go on: {go_on}"));
    let mut runner = Runner { sweep: &sweep, folder, signals: &signals, maker };
    runner.announce(printer);
    // One that was ended before its first run has perhaps not tried all of them.
    if runner.folder.state.runs.is_empty()
        && let Err(refusal) = runner.try_settings(printer)
    {
        // Nothing was run: a folder would only look like a sweep.
        let _ = std::fs::remove_dir_all(&runner.folder.path);
        if !was_there {
            let _ = std::fs::remove_dir(&args.go_on.results);
        }
        return Err(refusal);
    }
    if let Err(refusal) = runner.run(printer) {
        let (done, all) = (runner.folder.state.runs.len(), runner.folder.state.order.len());
        let hint = format!("{done} of {all} runs are kept; to go on: {go_on}");
        return Err(Refusal { hint: Some(hint), ..refusal });
    }
    answered(args, &runner, printer)
}

/// The command that goes on with it.
fn go_on_with(args: &SweepArgs, folder: &Folder) -> String {
    let file = shell::quoted(&args.file.display().to_string());
    format!("c10k-lab sweep {file} --resume {}", shell::quoted(&folder.path.display().to_string()))
}

/// Works the answer out, writes and tells it.
fn answered(args: &SweepArgs, runner: &Runner<'_>, printer: &mut Printer) -> Result<Exit, Refusal> {
    let (sweep, folder) = (runner.sweep, &runner.folder);
    let answers = Answers::of(sweep, &folder.state);
    let written = written::write(sweep, &folder.path, &folder.state, &answers);
    let text = told::told(sweep, &answers, &folder.path, printer.style(!args.json).width.min(80));
    if args.json {
        printer.say(&text);
        printer.data(&answers.json(sweep, &folder.state).to_string());
    } else {
        printer.data(&text);
    }
    written.map_err(|error| Refusal {
        message: format!("the answer cannot be written into '{}': {error}", folder.path.display()),
        hint: Some(format!("make room on the disk; {}", go_on_with(args, folder))),
        exit: Exit::Broke,
    })?;
    Ok(if answers.are_as_expected() { Exit::Done } else { Exit::Short })
}
