//! `c10k-lab compare`: records, or groups of records, against a reference.

use std::path::{Path, PathBuf};

use c10k_plan::say::color::Color;
use c10k_plan::say::printer::Printer;
use c10k_plan::say::refusal::Refusal;
use c10k_record::{Exit, Record, write_whole};
use c10k_report::{Against, Group, How, Wanted};
use clap::Args;

use crate::command::report::read;
use crate::command::runs::{Kind, kind_of, meant};

/// As many as there are letters to name them by.
const MOST_GROUPS: usize = 26;

/// `c10k-lab compare`.
#[derive(Clone, Debug, Args)]
pub(crate) struct CompareArgs {
    /// Records: a run's folder, a record.json, `latest`, or a folder with runs in it: the newest. With `--`, those before
    /// it are one group and those after it another.
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<PathBuf>,
    /// The runs of the second group; a further `--` begins another one. Flags stand before the first `--`.
    #[arg(last = true, value_name = "RUN")]
    others: Vec<PathBuf>,
    /// What the others are compared with: one of the runs that are named, or, without groups, a further one. [default: the
    /// first run, or the first group]
    #[arg(long, value_name = "RUN")]
    reference: Option<PathBuf>,
    /// The runs of a group belong in pairs to those of the reference, the first to the first and so on: they were made one
    /// right after the other. Their order in time is that of the records.
    #[arg(long, requires = "others")]
    pairs: bool,
    /// What is compared, by the names of verdicts: `held,echo_p95,server_kernel_bytes`, or `PHASE.METRIC`. [default: all that
    /// is known of a run and is not 0 in all of them]
    #[arg(long, value_name = "METRIC", value_delimiter = ',')]
    metrics: Vec<String>,
    /// A metric that what differs between the groups cannot change. Where it differs by more than 1 %, the machine drifted,
    /// and nothing else is proven.
    #[arg(long, value_name = "METRIC", requires = "others")]
    control: Option<String>,
    /// The group with this run was made with the reference's setting: how far it lies from the reference is shown, and where
    /// it differs, nothing is proven.
    #[arg(long, value_name = "RUN", requires = "pairs")]
    same: Option<PathBuf>,
    /// One JSON document on stdout.
    #[arg(long)]
    json: bool,
    /// Write a row for each metric to this file.
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Colours.
    #[arg(long, value_enum, default_value_t = Color::Auto)]
    pub(crate) color: Color,
}

/// Compares.
pub(crate) fn compare(args: &CompareArgs, printer: &mut Printer) -> Exit {
    match carry_out(args, printer) {
        Ok(()) => Exit::Done,
        // What cannot be read has been said where it was read.
        Err(refusal) => refusal.tell(printer),
    }
}

fn carry_out(args: &CompareArgs, printer: &mut Printer) -> Result<(), Refusal> {
    let parsed = |name: &String| {
        name.parse::<Wanted>().map_err(|error| Refusal::text(error.to_string(), error.hint()))
    };
    let wanted = args.metrics.iter().map(parsed).collect::<Result<Vec<Wanted>, Refusal>>()?;
    let control = args.control.as_ref().map(parsed).transpose()?;
    let (named, reference) = groups_of(args)?;
    let same = args.same.as_ref().map(|run| same(run, &named, reference)).transpose()?;
    let mut groups: Vec<Group> = Vec::new();
    for (letter, paths) in ('A'..='Z').zip(&named) {
        let runs: Result<Vec<Record>, Refusal> = paths.iter().map(|path| record(path, printer)).collect();
        groups.push(Group { name: letter.to_string(), runs: runs? });
    }
    check_once(&named, &groups)?;
    let against = Against::of(&groups, &How { reference, wanted, control, same, by_pairs: args.pairs });
    if let Some(file) = &args.csv {
        let text = against.csv().map_err(|error| not_written(file, &error.into()))?;
        write_whole(file, text.as_bytes()).map_err(|error| not_written(file, &error))?;
    }
    printer.data(&if args.json { against.json().to_string() } else { against.text() });
    Ok(())
}

fn not_written(file: &Path, error: &std::io::Error) -> Refusal {
    Refusal::not_written(file, error, "name a file in a folder that is there and that you may write to")
}

/// The paths of each group, and which group is the reference.
fn groups_of(args: &CompareArgs) -> Result<(Vec<Vec<PathBuf>>, usize), Refusal> {
    let is_grouped = !args.others.is_empty();
    let mut groups: Vec<Vec<PathBuf>> = if is_grouped {
        let mut groups = vec![args.runs.clone()];
        groups.extend(args.others.split(|path| path == Path::new("--")).map(<[PathBuf]>::to_vec));
        groups
    } else {
        args.runs.iter().map(|path| vec![path.clone()]).collect()
    };
    let mut reference = 0;
    if let Some(wanted) = &args.reference {
        match place_of(wanted, &groups) {
            Some(place) => reference = place,
            None if is_grouped => {
                return Err(Refusal::text(
                    format!("the reference '{}' is in none of the groups", wanted.display()),
                    "name one of the runs: the group that it is in is the reference",
                ));
            }
            None => groups.insert(0, vec![wanted.clone()]),
        }
    }
    check_shape(&groups, reference, args)?;
    Ok((groups, reference))
}

/// The group that a run is in.
fn place_of(run: &Path, groups: &[Vec<PathBuf>]) -> Option<usize> {
    groups.iter().position(|group| group.iter().any(|path| is_same(path, run)))
}

/// The group that has the reference's setting.
fn same(run: &Path, groups: &[Vec<PathBuf>], reference: usize) -> Result<usize, Refusal> {
    place_of(run, groups).filter(|place| *place != reference).ok_or_else(|| {
        Refusal::text(
            format!("'{}' of --same is in no group beside the reference", run.display()),
            "name a run of the group that was made with the reference's setting",
        )
    })
}

fn check_shape(groups: &[Vec<PathBuf>], reference: usize, args: &CompareArgs) -> Result<(), Refusal> {
    let flag = args
        .others
        .iter()
        .find(|path| path.as_os_str().len() > 2 && path.to_string_lossy().starts_with("--"));
    if let Some(flag) = flag.filter(|flag| !flag.exists()) {
        return Err(Refusal::text(
            format!("'{}' stands after --, where only runs may stand", flag.display()),
            "flags come first: `c10k-lab compare --json A1 A2 -- B1 B2`",
        ));
    }
    if groups.iter().any(Vec::is_empty) {
        return Err(Refusal::text("a group has no runs", "`c10k-lab compare A1 A2 -- B1 B2`"));
    }
    if groups.len() < 2 {
        return Err(Refusal::text(
            "one run is compared with nothing: expected two or more",
            "`c10k-lab list` shows the runs; `c10k-lab report RUN` shows one",
        ));
    }
    if groups.len() > MOST_GROUPS {
        return Err(Refusal::text(
            format!("{} are to be compared: expected at most {MOST_GROUPS}", groups.len()),
            "put runs of the same setting into one group: `c10k-lab compare A… -- B…`",
        ));
    }
    let count = groups[reference].len();
    match groups.iter().find(|group| args.pairs && group.len() != count) {
        None => Ok(()),
        Some(other) => Err(Refusal::text(
            format!("--pairs has {} runs beside {count} of the reference: expected as many", other.len()),
            "leave --pairs out, or name the runs that belong together in the same order in each group",
        )),
    }
}

fn is_same(one: &Path, other: &Path) -> bool {
    let whole = |path: &Path| meant(path).canonicalize().ok();
    one == other || whole(one).is_some_and(|path| Some(path) == whole(other))
}

fn record(path: &Path, printer: &mut Printer) -> Result<Record, Refusal> {
    let path = meant(path);
    if kind_of(&path) == Some(Kind::Climb) {
        return Err(Refusal::text(
            format!("'{}' is a climb, which is not compared", path.display()),
            "name one of its steps: `CLIMB/step-1`",
        ));
    }
    let read = read(&path, false, printer).map(|material| material.record);
    // What is wrong has been said.
    read.map_err(|exit| Refusal { message: String::new(), hint: None, exit })
}

/// A run that is named twice would count twice.
fn check_once(named: &[Vec<PathBuf>], groups: &[Group]) -> Result<(), Refusal> {
    let mut seen: Vec<(&Record, &PathBuf)> = Vec::new();
    for (paths, group) in named.iter().zip(groups) {
        for (path, run) in paths.iter().zip(&group.runs) {
            // Two folders of results may each have a run of that name, begun in one second.
            if let Some((_, first)) = seen.iter().find(|(other, _)| **other == *run) {
                return Err(Refusal::text(
                    format!("'{}' and '{}' are one run, {}", first.display(), path.display(), run.run_id),
                    "a run that is named twice proves nothing more: name each once",
                ));
            }
            seen.push((run, path));
        }
    }
    Ok(())
}
