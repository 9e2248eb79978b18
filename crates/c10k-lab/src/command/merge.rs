//! `c10k-lab merge`: what several shards did, as one run with one verdict.

use std::path::{Path, PathBuf};

use c10k_plan::say::color::Color;
use c10k_plan::say::printer::Printer;
use c10k_plan::say::refusal::Refusal;
use c10k_record::control::run_id;
use c10k_record::{Condition, Exit, Record, Sample, VerdictError, brief, headline_and_path, write_whole};
use c10k_report::merge::{Merged, OverTime, Wanted, merged};
use clap::Args;

use crate::command::account::AccountArgs;
use crate::lead::page::page;

mod fetch;

use fetch::FetchArgs;

/// The folder of the merged run in that of the results.
const MERGED: &str = "merged";

/// `c10k-lab merge`.
#[derive(Clone, Debug, Args)]
pub(crate) struct MergeArgs {
    /// The folder with the results of the shards (shard-1-of-3.json …) and, where there is one, the server's account
    /// (server.json, or the document of `c10k-server --json`).
    dir: PathBuf,
    /// Of several runs in the folder the one of this name.
    #[arg(long, value_name = "ID", value_parser = run_id)]
    run_id: Option<String>,
    /// Add results of different builds too, and say so.
    #[arg(long)]
    any_build: bool,
    /// A verdict on the whole run, such as 'echo_p99 <= 20ms'; may be given several times. It is added to those of the plan
    /// and replaces the one on the same metric.
    #[arg(long = "verdict", value_name = "EXPR")]
    verdicts: Vec<String>,
    #[command(flatten)]
    fetch: FetchArgs,
    #[command(flatten)]
    account: AccountArgs,
    /// Print the record as one JSON document on stdout.
    #[arg(long)]
    json: bool,
    /// All that the record has to say, instead of the few lines at the end.
    #[arg(long)]
    full: bool,
    /// Only the headline and the path of the record.
    #[arg(short, long, conflicts_with = "full")]
    quiet: bool,
    /// Colours.
    #[arg(long, value_enum, default_value_t = Color::Auto)]
    pub(crate) color: Color,
}

/// Merges.
pub(crate) fn run(args: &MergeArgs, printer: &mut Printer) -> Exit {
    if args.quiet {
        printer.be_quiet();
    }
    carry_out(args, printer).unwrap_or_else(|refusal| refusal.tell(printer))
}

fn carry_out(args: &MergeArgs, printer: &mut Printer) -> Result<Exit, Refusal> {
    let accounts = args.account.accounts(args.json)?;
    let asked: Vec<Condition> = args
        .verdicts
        .iter()
        .map(|text| text.parse())
        .collect::<Result<_, _>>()
        .map_err(|error: VerdictError| Refusal::text(error.to_string(), error.hint()))?;
    args.fetch.bring(&args.dir, args.run_id.as_deref())?;
    let wanted = Wanted { run_id: args.run_id.as_deref(), any_build: args.any_build };
    let Merged { record, over_time, exit } = merged(&args.dir, wanted, &asked)?;
    let folder = args.dir.join(MERGED);
    write(&folder, &record, &over_time)?;
    tell(args, &record, &folder, accounts.take_stdout(), printer);
    let are_written = accounts.write(&record, &folder, printer);
    Ok(if are_written { exit } else { Exit::Broke })
}

fn not_written(path: &Path, error: &std::io::Error) -> Refusal {
    Refusal::not_written(path, error, "give this user the right to write there")
}

/// Writes the folder of the merged run, the record last.
fn write(folder: &Path, record: &Record, over_time: &OverTime) -> Result<(), Refusal> {
    std::fs::create_dir_all(folder).map_err(|error| not_written(folder, &error))?;
    let write = |name: &str, text: &[u8]| {
        let path = folder.join(name);
        write_whole(&path, text).map_err(|error| not_written(&path, &error))
    };
    let plan = record.plan.as_ref().and_then(|plan| plan.to_toml().ok()).unwrap_or_default();
    write("plan.toml", plan.as_bytes())?;
    let rows = over_time.samples.iter().map(|row| row.csv_row() + "\n");
    let samples: String = std::iter::once(Sample::csv_header() + "\n").chain(rows).collect();
    write("samples.csv", samples.as_bytes())?;
    write("latency.hlog", over_time.latencies.as_bytes())?;
    write("report.html", page(record, &over_time.samples, &[], &over_time.missing, folder).as_bytes())?;
    let mut json = serde_json::to_vec_pretty(record).unwrap_or_default();
    json.push(b'\n');
    write("record.json", &json)
}

fn tell(args: &MergeArgs, record: &Record, folder: &Path, is_stdout_taken: bool, printer: &mut Printer) {
    let is_stdout_free = !args.json && !is_stdout_taken;
    let style = printer.style(is_stdout_free);
    let text = match (args.quiet, args.full) {
        (true, _) => headline_and_path(record, folder, style),
        (_, true) => c10k_report::summary(record, Some(folder), style),
        _ => brief(record, Some(folder), 0, style),
    };
    if is_stdout_free {
        return printer.data(&text);
    }
    printer.note(&text);
    if args.json {
        printer.data(&serde_json::to_string(record).unwrap_or_default());
    }
}
