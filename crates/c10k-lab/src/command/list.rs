//! `c10k-lab list` and `clean`: the runs, climbs, sweeps and tunings that there are, and fewer of them.

use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};

use c10k_plan::say::printer::Printer;
use c10k_record::{Exit, human_count};
use clap::Args;
use serde_json::json;

use crate::command::runs::{Found, all_in, headline, kept_because};

/// `c10k-lab list`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ListArgs {
    /// The folder with the folders of runs.
    #[arg(default_value = "results", value_name = "FOLDER")]
    results: PathBuf,
    /// One JSON document on stdout.
    #[arg(long)]
    json: bool,
}

fn how_many(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| format!("'{text}' is no number of runs: expected a whole number, such as 20"))
}

/// `c10k-lab clean`.
#[derive(Clone, Debug, Args)]
pub(crate) struct CleanArgs {
    /// How many of the newest stay, sweeps in the folder `sweeps` below it among them.
    #[arg(long, value_name = "N", value_parser = how_many)]
    keep: u32,
    /// The folder with the folders of runs.
    #[arg(long, default_value = "results", value_name = "FOLDER")]
    results: PathBuf,
    /// Do not ask.
    #[arg(long, short = 'y')]
    yes: bool,
}

/// Lists the runs, newest first.
pub(crate) fn list(args: &ListArgs, printer: &mut Printer) -> Exit {
    let found = match all_in(&args.results) {
        Ok(found) => found,
        Err(error) => return unread(&args.results, &error, printer),
    };
    if args.json {
        let rows: Vec<_> = found
            .iter()
            .map(|one| json!({ "path": one.path, "kind": one.kind.name(), "headline": headline(one) }))
            .collect();
        printer.data(&json!({ "runs": rows }).to_string());
        return Exit::Done;
    }
    for one in &found {
        printer.data(&format!("{}  {}", one.path.display(), headline(one)));
    }
    if found.is_empty() {
        printer.say(&format!("no runs in {}", args.results.display()));
        printer.say("hint: `c10k-lab run` makes one");
    }
    Exit::Done
}

fn unread(results: &Path, error: &io::Error, printer: &mut Printer) -> Exit {
    let shown = results.display();
    let hint = match error.kind() {
        io::ErrorKind::NotFound => {
            "`c10k-lab run` makes runs in results/; another folder is named as it was to the run"
        }
        _ => "name a folder with runs in it",
    };
    printer.error(&format!("cannot list '{shown}': {error}"), Some(hint));
    Exit::HostCannot
}

/// Deletes all but the newest.
pub(crate) fn clean(args: &CleanArgs, printer: &mut Printer) -> Exit {
    let found = match all_in(&args.results) {
        Ok(found) => found,
        Err(error) => return unread(&args.results, &error, printer),
    };
    let mut old: Vec<Found> = Vec::new();
    for one in found.into_iter().skip(args.keep as usize) {
        match kept_because(&one) {
            Some(why) => printer.say(&format!("kept {}: {why}", one.path.display())),
            None => old.push(one),
        }
    }
    if old.is_empty() {
        printer.say("nothing to delete");
        return Exit::Done;
    }
    let count = human_count(old.len() as u64);
    let runs = if old.len() == 1 { "run" } else { "runs" };
    if !args.yes {
        for one in &old {
            printer.say(&format!("{}  {}", one.path.display(), headline(one)));
        }
        if !io::stdin().is_terminal() {
            let message = format!("{count} {runs} would be deleted, and nobody can be asked");
            printer.error(&message, Some("--yes deletes them without a question"));
            return Exit::BadText;
        }
        printer.say(&format!("delete {count} {runs}? [y/N]"));
        let mut answer = String::new();
        let is_yes = io::stdin().read_line(&mut answer).is_ok()
            && ["y", "yes"].contains(&answer.trim().to_lowercase().as_str());
        if !is_yes {
            printer.say("nothing was deleted");
            return Exit::Done;
        }
    }
    for one in &old {
        if let Err(error) = std::fs::remove_dir_all(&one.path) {
            printer.error(
                &format!("cannot delete '{}': {error}", one.path.display()),
                Some("its owner may, or root"),
            );
            return Exit::HostCannot;
        }
    }
    printer.say(&format!("deleted {count} {runs}"));
    Exit::Done
}
