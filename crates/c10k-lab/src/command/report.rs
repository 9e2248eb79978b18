//! `c10k-lab report`: a record again, several side by side, or a climb; as text or as a page.

use std::path::{Path, PathBuf};

use c10k_plan::say::color::Color;
use c10k_plan::say::printer::Printer;
use c10k_record::{
    Exit, FolderError, Record, RunState, human_count, partial_record_name, read_record, write_whole,
};
use clap::Args;

use crate::command::account::{AccountArgs, Accounts};
use crate::command::runs::{Found, Kind, climb_of, headline, kind_of, meant};
use crate::lead::page::Material;

/// `c10k-lab report`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ReportArgs {
    /// A run's folder, a record.json, `latest`, or a folder with runs in it: the newest.
    pub(crate) record: PathBuf,
    /// Others, to compare with it.
    pub(crate) others: Vec<PathBuf>,
    /// Print the record as JSON.
    #[arg(long, conflicts_with = "others")]
    pub(crate) json: bool,
    /// Write a page with plots to this file: of a run, of a climb, or of several runs one over the other.
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    #[command(flatten)]
    account: AccountArgs,
    /// Colours.
    #[arg(long, value_enum, default_value_t = Color::Auto)]
    pub(crate) color: Color,
}

/// Said of what is no run.
const HINT: &str = "`c10k-lab list` shows the runs; `latest` is the newest; a record.json will do too";

/// Shows what is asked for.
pub(crate) fn report(args: &ReportArgs, printer: &mut Printer) -> Exit {
    let path = meant(&args.record);
    let accounts = match args.account.accounts(args.json) {
        Ok(accounts) => accounts,
        Err(refusal) => return refusal.tell(printer),
    };
    let shown = match (kind_of(&path), args.others.is_empty()) {
        (Some(Kind::Climb), _) => climb(&path, args, printer),
        (Some(Kind::Sweep | Kind::Tuning), _) => Err(no_report(&path, printer)),
        (_, true) => one(&path, args, &accounts, printer),
        (_, false) => several(&path, args, printer),
    };
    shown.unwrap_or_else(|exit| exit)
}

fn one(path: &Path, args: &ReportArgs, accounts: &Accounts, printer: &mut Printer) -> Result<Exit, Exit> {
    let of_run = read(path, args.html.is_some(), printer)?;
    if !accounts.write(&of_run.record, path, printer) {
        return Err(Exit::HostCannot);
    }
    if let Some(file) = &args.html {
        let of_run = if lies_in(file, path) { of_run.beside() } else { of_run };
        write(file, &c10k_report::page_of_run(&of_run.shown()), printer)?;
        return Ok(if args.json { json(&of_run.record, printer) } else { finished(&of_run.record, printer) });
    }
    let record = &of_run.record;
    if args.json {
        return Ok(json(record, printer));
    }
    if accounts.is_empty() {
        printer.data(&c10k_report::summary(record, Some(path), printer.style(true)));
    }
    Ok(finished(record, printer))
}

fn json(record: &Record, printer: &mut Printer) -> Exit {
    printer.data(&serde_json::to_string(record).unwrap_or_default());
    finished(record, printer)
}

fn finished(record: &Record, printer: &mut Printer) -> Exit {
    if record.state == RunState::Unfinished {
        printer.say("warning: this record was never finished");
    }
    Exit::Done
}

fn several(path: &Path, args: &ReportArgs, printer: &mut Printer) -> Result<Exit, Exit> {
    if args.account.asks_for_any() {
        let hint = "leave out the others; `c10k-lab run --baseline` judges one beside another";
        printer.error("--summary and --junit are of one run, and several are named", Some(hint));
        return Err(Exit::BadText);
    }
    let mut runs = vec![read(path, args.html.is_some(), printer)?];
    for other in &args.others {
        let other = meant(other);
        if kind_of(&other) == Some(Kind::Climb) {
            return Err(no_comparison(&other, printer));
        }
        runs.push(read(&other, args.html.is_some(), printer)?);
    }
    if let Some(file) = &args.html {
        let shown: Vec<_> = runs.iter().map(Material::shown).collect();
        write(file, &c10k_report::page_of_several(&shown), printer)?;
        return Ok(Exit::Done);
    }
    let (first, others) = (&runs[0].record, &runs[1..]);
    let texts: Vec<String> = others.iter().map(|other| c10k_report::compare(first, &other.record)).collect();
    printer.data(&texts.join("\n"));
    Ok(Exit::Done)
}

fn no_comparison(path: &Path, printer: &mut Printer) -> Exit {
    let message = format!("'{}' is a climb, which is not compared", path.display());
    printer.error(&message, Some("name one of its steps: `c10k-lab report CLIMB/step-1`"));
    Exit::BadText
}

fn no_report(path: &Path, printer: &mut Printer) -> Exit {
    let message = format!("'{}' is of many runs, and has no record of its own", path.display());
    let hint =
        "a sweep's answer is its sweep.html, a tuning's its profile.toml; `c10k-lab list` shows the runs";
    printer.error(&message, Some(hint));
    Exit::BadText
}

/// A climb: its line, its steps, and where each is.
fn climb(path: &Path, args: &ReportArgs, printer: &mut Printer) -> Result<Exit, Exit> {
    if args.account.asks_for_any() {
        let message = format!("'{}' is a climb, which has no summary of its own", path.display());
        printer.error(&message, Some("name one of its steps: `c10k-lab report CLIMB/step-1`"));
        return Err(Exit::BadText);
    }
    if !args.others.is_empty() {
        return Err(no_comparison(path, printer));
    }
    let Some(climb) = climb_of(path) else {
        let message = format!("'{}' cannot be read", path.join("climb.json").display());
        printer.error(&message, Some("each of its steps is a run: `c10k-lab report CLIMB/step-1`"));
        return Err(Exit::BadText);
    };
    if let Some(file) = &args.html {
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
        write(file, &c10k_report::page_of_climb(&name, &climb), printer)?;
    }
    if args.json {
        printer.data(&climb.to_string());
        return Ok(Exit::Done);
    }
    if args.html.is_some() {
        return Ok(Exit::Done);
    }
    let found = Found { path: path.to_owned(), kind: Kind::Climb };
    printer.data(&headline(&found));
    for step in climb["steps"].as_array().into_iter().flatten() {
        let number = step["number"].as_u64().unwrap_or_default();
        let held = step["held"].as_u64().map_or_else(|| "?".to_owned(), human_count);
        let wall = step["wall"].as_str().unwrap_or("no wall");
        printer.data(&format!("  step {number}: held {held}, {wall}"));
    }
    printer.say(&format!("hint: `c10k-lab report {}/step-1` shows a step", path.display()));
    Ok(Exit::Done)
}

fn write(file: &Path, page: &str, printer: &mut Printer) -> Result<(), Exit> {
    write_whole(file, page.as_bytes()).map_err(|error| {
        let hint = "name a file in a folder that is there and that this user may write in";
        printer.error(&format!("cannot write '{}': {error}", file.display()), Some(hint));
        Exit::HostCannot
    })
}

fn folder_of(path: &Path) -> &Path {
    if path.is_dir() { path } else { path.parent().unwrap_or(Path::new("")) }
}

/// Whether a page lies in the folder of its run.
fn lies_in(file: &Path, path: &Path) -> bool {
    let whole = |folder: &Path| {
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        folder.canonicalize().ok()
    };
    let (of_page, of_run) = (whole(file.parent().unwrap_or(Path::new(""))), whole(folder_of(path)));
    of_page.is_some() && of_page == of_run
}

/// Reads a run. For a page (`as_far`) a record that is damaged or of another version will do, as far as it can be read.
pub(crate) fn read(path: &Path, as_far: bool, printer: &mut Printer) -> Result<Material, Exit> {
    let (record, missing) = match read_record(path) {
        Ok(record) => (record, Vec::new()),
        Err(error @ (FolderError::NotARecord { .. } | FolderError::Version { .. })) if as_far => {
            match what_is_there(path) {
                Ok((record, mut missing)) => {
                    printer.say(&format!("warning: {error}: what can be read is shown"));
                    if missing.is_empty() {
                        missing.push(error.to_string());
                    }
                    (record, missing)
                }
                Err(why) => {
                    printer.error(&format!("{error}: {why}"), Some(HINT));
                    return Err(Exit::BadText);
                }
            }
        }
        Err(error) => {
            printer.error(&error.to_string(), Some(HINT));
            return Err(Exit::BadText);
        }
    };
    let of_run = Material::read(record, folder_of(path), missing);
    if let Some(error) = of_run.broken_samples() {
        printer.say(&format!("warning: {error}"));
    }
    Ok(of_run)
}

fn what_is_there(path: &Path) -> Result<(Record, Vec<String>), String> {
    let file = match path.is_dir() {
        true => [path.join("record.json"), path.join(partial_record_name())]
            .into_iter()
            .find(|file| file.exists()),
        false => Some(path.to_owned()),
    };
    let text = file
        .ok_or("there is no record.json")
        .and_then(|file| std::fs::read_to_string(file).map_err(|_| "it cannot be read as text"))?;
    c10k_report::read_what_is_there(&text)
}
