//! The folders of runs, climbs, sweeps and tunings that there are, and which one is meant by `latest`.

mod experiments;

use std::path::{Path, PathBuf};

use c10k_record::{Record, partial_record_name, read_record};
use serde_json::Value;

use crate::command::sweep::state::STATE as SWEEP;
use crate::command::tune::folder::DOCUMENT as TUNING;

/// What a run writes into its folder; a folder with anything else in it is not deleted.
const OF_A_RUN: [&str; 8] = [
    "plan.toml",
    "record.json",
    "record.partial.json",
    "samples.csv",
    "ramp.csv",
    "latency.hlog",
    "report.html",
    "find.json",
];
/// What a climb writes into its own, beside the folders of its steps.
const OF_A_CLIMB: [&str; 3] = ["climb.json", "climbed.toml", "report.html"];

/// What a folder holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One run.
    Run,
    /// A climb: a run for each step.
    Climb,
    /// A sweep: many runs, and an answer.
    Sweep,
    /// A tuning: runs and sweeps, and a profile.
    Tuning,
}

impl Kind {
    /// Its name in data.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Climb => "climb",
            Self::Sweep => "sweep",
            Self::Tuning => "tuning",
        }
    }
}

/// Below a folder of results, where `scripts/run-sweeps.sh` makes them.
const SWEEPS: &str = "sweeps";

/// A folder of ours.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) path: PathBuf,
    pub(crate) kind: Kind,
}

/// What is of ours in a folder, and in `sweeps` below it, newest first: a name begins with the time.
///
/// # Errors
/// As reading the folder.
pub(crate) fn all_in(results: &Path) -> std::io::Result<Vec<Found>> {
    let mut found = runs_in(results)?;
    found.extend(runs_in(&results.join(SWEEPS)).unwrap_or_default());
    sort(&mut found);
    Ok(found)
}

/// The newest first.
fn sort(found: &mut [Found]) {
    found.sort_by(|one, other| other.path.file_name().cmp(&one.path.file_name()));
}

/// What is of ours in a folder itself, newest first.
///
/// # Errors
/// As reading the folder.
pub(crate) fn runs_in(results: &Path) -> std::io::Result<Vec<Found>> {
    let mut found: Vec<Found> = std::fs::read_dir(results)?
        .filter_map(Result::ok)
        // What a link leads to is somewhere else, and perhaps somebody else's.
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .filter_map(|entry| {
            let path = entry.path();
            let is_ours = begins_with_a_time(&entry.file_name().to_string_lossy());
            kind_of(&path).filter(|_| is_ours).map(|kind| Found { path, kind })
        })
        .collect();
    sort(&mut found);
    Ok(found)
}

/// What a folder is, by what lies in it.
pub(crate) fn kind_of(path: &Path) -> Option<Kind> {
    let has = |name: &str| path.join(name).is_file();
    if has("climb.json") {
        return Some(Kind::Climb);
    }
    if has(TUNING) {
        return Some(Kind::Tuning);
    }
    if has(SWEEP) {
        return Some(Kind::Sweep);
    }
    (has("plan.toml") && (has("record.json") || has("record.partial.json"))).then_some(Kind::Run)
}

/// `20261129T120224Z…`
fn begins_with_a_time(name: &str) -> bool {
    let bytes = name.as_bytes();
    bytes.len() > 16
        && bytes[..16].iter().enumerate().all(|(at, byte)| match at {
            8 => *byte == b'T',
            15 => *byte == b'Z',
            _ => byte.is_ascii_digit(),
        })
}

/// Which record is meant: `latest` or `last`, a folder with runs in it (the newest), a run's folder, a file.
pub(crate) fn meant(path: &Path) -> PathBuf {
    let is_word = !path.exists() && (path == Path::new("latest") || path == Path::new("last"));
    let folder = if is_word { Path::new("results") } else { path };
    if !folder.is_dir() || kind_of(folder).is_some() {
        return path.to_owned();
    }
    let has_a_record = |found: &Found| matches!(found.kind, Kind::Run | Kind::Climb);
    let newest = runs_in(folder).unwrap_or_default().into_iter().find(has_a_record);
    newest.map_or_else(|| path.to_owned(), |found| found.path)
}

/// What came of it, in a line.
pub(crate) fn headline(found: &Found) -> String {
    match found.kind {
        Kind::Run => match read_record(&found.path) {
            Ok(record) => c10k_record::headline(&record).1,
            Err(error) => format!("cannot be read: {error}"),
        },
        Kind::Climb => climb_of(&found.path).map_or_else(
            || "a climb that cannot be read".to_owned(),
            |climb| c10k_report::headline_of_climb(&climb),
        ),
        Kind::Sweep => experiments::sweep_in_a_line(&found.path),
        Kind::Tuning => experiments::tuning_in_a_line(&found.path),
    }
}

/// A climb's document.
pub(crate) fn climb_of(folder: &Path) -> Option<Value> {
    serde_json::from_str(&std::fs::read_to_string(folder.join("climb.json")).ok()?).ok()
}

/// Why a folder is not to be deleted; nothing where it may be.
pub(crate) fn kept_because(found: &Found) -> Option<String> {
    match found.kind {
        Kind::Run => kept_run(&found.path),
        Kind::Climb => kept_climb(&found.path),
        Kind::Sweep => experiments::kept_sweep(&found.path),
        Kind::Tuning => experiments::kept_tuning(&found.path),
    }
}

fn kept_run(path: &Path) -> Option<String> {
    let strange = names_in(path).into_iter().find(|name| !OF_A_RUN.contains(&name.as_str()));
    if let Some(name) = strange {
        return Some(format!("it holds '{name}', which no run writes"));
    }
    if path.join("record.json").exists() {
        return None;
    }
    let record = match read_record(path) {
        Ok(record) => record,
        // Somebody may be writing it, or may want to look at what is left of it.
        Err(_) if path.join(partial_record_name()).exists() => {
            return Some("its unfinished record cannot be read".to_owned());
        }
        Err(_) => return None,
    };
    let pid = writer_of(&record)?;
    Path::new("/proc").join(pid.to_string()).exists().then(|| format!("process {pid} is writing it"))
}

fn kept_climb(path: &Path) -> Option<String> {
    for name in names_in(path) {
        let below = path.join(&name);
        if !below.is_dir() {
            if !OF_A_CLIMB.contains(&name.as_str()) {
                return Some(format!("it holds '{name}', which no climb writes"));
            }
            continue;
        }
        if !(name.starts_with("step-") || name == "check") {
            return Some(format!("it holds '{name}', which no climb writes"));
        }
        let runs = runs_in(&below).unwrap_or_default();
        let known: Vec<String> = runs
            .iter()
            .filter_map(|run| run.path.file_name().map(|name| name.to_string_lossy().into_owned()))
            .collect();
        let strange = names_in(&below)
            .into_iter()
            .find(|name| !known.contains(name) && name != "profile.toml" && !name.ends_with(".toml"));
        if let Some(other) = strange {
            return Some(format!("it holds '{name}/{other}', which no climb writes"));
        }
        if let Some(why) = runs.iter().find_map(|run| kept_run(&run.path)) {
            return Some(why);
        }
    }
    None
}

fn names_in(path: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(path).into_iter().flatten().filter_map(Result::ok);
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// The process that an unfinished record is being written by.
fn writer_of(record: &Record) -> Option<u32> {
    let said = record.ended_because.as_deref()?.split("by process ").nth(1)?;
    said.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_name_that_begins_with_a_time_is_ours() {
        assert!(begins_with_a_time("20261129T120224Z-tuned-raw-hold"));
        assert!(begins_with_a_time("20261129T120224Z.2-tuned-raw-hold"));
        for name in
            ["bench", "20261129T120224", "2026-11-29-tuned-raw", "x20261129T120224Z-a", "20261129T120224Z"]
        {
            assert!(!begins_with_a_time(name), "{name}");
        }
    }
}
