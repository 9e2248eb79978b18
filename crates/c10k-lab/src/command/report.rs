//! `c10k-lab report`: a record again, or two side by side.

use std::path::Path;

use c10k_record::{Exit, Record, RunState, read_record, write_whole};

use crate::say::color::Color;
use crate::say::printer::Printer;
use clap::Args;
use std::path::PathBuf;

/// `c10k-lab report`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ReportArgs {
    /// A run's folder, or a record.json.
    pub(crate) record: PathBuf,
    /// A second one, to compare.
    pub(crate) other: Option<PathBuf>,
    /// Print the record as JSON.
    #[arg(long, conflicts_with = "other")]
    pub(crate) json: bool,
    /// Write the page with plots to this file.
    #[arg(long, value_name = "FILE", conflicts_with = "other")]
    pub(crate) html: Option<PathBuf>,
    /// Colours.
    #[arg(long, value_enum, default_value_t = Color::Auto)]
    pub(crate) color: Color,
}

/// Shows what is asked for.
pub(crate) fn report(args: &ReportArgs, printer: &mut Printer) -> Exit {
    let Some(record) = read(&args.record, printer) else { return Exit::BadText };
    if let Some(other) = &args.other {
        let Some(other) = read(other, printer) else { return Exit::BadText };
        printer.data(&c10k_report::compare(&record, &other));
        return Exit::Done;
    }
    if let Some(file) = &args.html {
        let page = c10k_report::html(&record, &samples_of(&args.record, printer));
        if let Err(error) = write_whole(file, page.as_bytes()) {
            printer.error(&format!("cannot write '{}': {error}", file.display()), None);
            return Exit::HostCannot;
        }
    }
    if args.json {
        printer.data(&serde_json::to_string(&record).unwrap_or_default());
    } else if args.html.is_none() {
        printer.data(&c10k_report::summary(&record, Some(&args.record), printer.style(true)));
    }
    if record.state == RunState::Unfinished {
        printer.say("warning: this record was never finished");
    }
    Exit::Done
}

fn read(path: &Path, printer: &mut Printer) -> Option<Record> {
    match read_record(path) {
        Ok(mut record) => {
            if record.state == RunState::Unfinished {
                c10k_report::fill_from_samples(&mut record, &samples_of(path, printer));
            }
            Some(record)
        }
        Err(error) => {
            printer.error(&error.to_string(), Some("name a run's folder below results/, or its record.json"));
            None
        }
    }
}

fn samples_of(record: &Path, printer: &mut Printer) -> Vec<c10k_record::Sample> {
    let folder = if record.is_dir() { record } else { record.parent().unwrap_or(Path::new("")) };
    let Ok(text) = std::fs::read_to_string(folder.join("samples.csv")) else { return Vec::new() };
    c10k_report::read_samples(&text).unwrap_or_else(|error| {
        printer.say(&format!("warning: samples.csv: {error}"));
        Vec::new()
    })
}
