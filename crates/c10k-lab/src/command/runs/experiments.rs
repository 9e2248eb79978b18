//! The folders of sweeps and tunings: in a line, and whether they may be deleted.

use std::path::Path;

use serde_json::Value;

use super::{SWEEP, TUNING, kept_run, names_in, runs_in};
use crate::command::sweep::state::Locked;

/// What a sweep writes into its folder, beside `arms` and `runs`.
const OF_A_SWEEP: [&str; 7] =
    ["lock", SWEEP, "sweep.toml", "answer.json", "answers.csv", "runs.csv", "sweep.html"];
/// What a tuning writes into its own, beside the files and folders of its steps.
const OF_A_TUNING: [&str; 3] = ["lock", TUNING, "profile.toml"];

/// A sweep in a line.
pub(super) fn sweep_in_a_line(path: &Path) -> String {
    let Some(state) = document(&path.join(SWEEP)) else { return "a sweep that cannot be read".to_owned() };
    let count = |key: &str| state[key].as_array().map_or(0, Vec::len);
    let name = state["name"].as_str().unwrap_or("?");
    let runs = format!("SWEEP {name}: {} of {} runs", count("runs"), count("order"));
    let Some(answer) = document(&path.join("answer.json")).filter(|_| !state["ended_at"].is_null()) else {
        return format!("{runs}; unfinished");
    };
    let expected = answer["expected"].as_array().map_or(&[][..], Vec::as_slice);
    let unmet = expected.iter().filter(|one| one["is_met"] != true).count();
    match (expected.len(), unmet) {
        (0, _) => runs,
        (_, 0) => format!("{runs}; as expected"),
        (all, unmet) => format!("{runs}; not as expected: {unmet} of {all}"),
    }
}

/// A tuning in a line.
pub(super) fn tuning_in_a_line(path: &Path) -> String {
    let Some(document) = document(&path.join(TUNING)) else {
        return "a tuning that cannot be read".to_owned();
    };
    let number = |value: &Value| value.as_u64().map_or_else(|| "?".to_owned(), c10k_record::human_count);
    let target = number(&document["asked"]["plan"]["target"]);
    let check = &document["check"];
    if document["ended_at"].is_null() || check.is_null() {
        return format!("TUNING for {target}: unfinished");
    }
    let kept = document["outcome"]["kept"].as_array().map_or(0, Vec::len);
    let settings = if kept == 1 { "setting" } else { "settings" };
    format!("TUNED: {} of {target} held with {kept} {settings}", number(&check["held"]))
}

fn document(path: &Path) -> Option<Value> {
    serde_json::from_str(&std::fs::read_to_string(path).ok()?).ok()
}

/// Why a sweep's folder is not to be deleted.
pub(super) fn kept_sweep(path: &Path) -> Option<String> {
    if is_held(path) {
        return Some("another process is writing it".to_owned());
    }
    let strange = |name: &str| Some(format!("it holds '{name}', which no sweep writes"));
    for name in names_in(path) {
        let below = path.join(&name);
        let is_known = match name.as_str() {
            "arms" | "runs" => below.is_dir(),
            name => OF_A_SWEEP.contains(&name),
        };
        if !is_known {
            return strange(&name);
        }
    }
    for arm in names_in(&path.join("arms")) {
        let known = ["plan.toml", "profile.toml", "trial.toml", "trial"];
        let other =
            names_in(&path.join("arms").join(&arm)).into_iter().find(|name| !known.contains(&name.as_str()));
        if let Some(other) = other {
            return strange(&format!("arms/{arm}/{other}"));
        }
    }
    names_in(&path.join("runs")).into_iter().find_map(|run| only_runs(&path.join("runs").join(run), strange))
}

/// Why a tuning's folder is not to be deleted.
pub(super) fn kept_tuning(path: &Path) -> Option<String> {
    if is_held(path) {
        return Some("another process is writing it".to_owned());
    }
    let strange = |name: &str| Some(format!("it holds '{name}', which no tuning writes"));
    for name in names_in(path) {
        let below = path.join(&name);
        if below.is_dir() {
            let why = if name == "check" { only_steps(&below) } else { of_a_step(&below) };
            if why.is_some() {
                return why;
            }
        } else if !OF_A_TUNING.contains(&name.as_str()) && !is_of_a_step(&name) {
            return strange(&name);
        }
    }
    None
}

/// A file beside the steps: a sweep's text, or what cannot be tried here.
fn is_of_a_step(name: &str) -> bool {
    name.ends_with(".toml") || name.ends_with(".not-here.json")
}

fn only_steps(path: &Path) -> Option<String> {
    names_in(path).into_iter().find_map(|name| match path.join(&name) {
        below if below.is_dir() => of_a_step(&below),
        _ if is_of_a_step(&name) => None,
        _ => Some(format!("it holds 'check/{name}', which no tuning writes")),
    })
}

/// A step is one run, or a sweep.
fn of_a_step(path: &Path) -> Option<String> {
    let strange = |name: &str| Some(format!("it holds '{name}', which no tuning writes"));
    let sweeps: Vec<_> = runs_in(path).unwrap_or_default();
    let sweeps: Vec<_> = sweeps.iter().filter(|found| found.path.join(SWEEP).is_file()).collect();
    match sweeps.as_slice() {
        [] => only_runs(path, strange),
        sweeps => {
            let own = |name: &String| sweeps.iter().any(|sweep| sweep.path.ends_with(name));
            let other = names_in(path).into_iter().find(|name| !own(name));
            other
                .and_then(|name| strange(&name))
                .or_else(|| sweeps.iter().find_map(|sweep| kept_sweep(&sweep.path)))
        }
    }
}

/// A folder that holds runs, with the plan and the profile of one.
fn only_runs(path: &Path, strange: impl Fn(&str) -> Option<String>) -> Option<String> {
    let runs = runs_in(path).unwrap_or_default();
    for name in names_in(path) {
        if let Some(run) = runs.iter().find(|run| run.path.ends_with(&name)) {
            if let Some(why) = kept_run(&run.path) {
                return Some(why);
            }
        } else if !["plan.toml", "profile.toml", "trial.toml", "trial"].contains(&name.as_str()) {
            return strange(&name);
        }
    }
    None
}

/// Whether somebody writes it at the moment.
fn is_held(path: &Path) -> bool {
    path.join("lock").exists() && Locked::try_hold(path).is_ok_and(|held| held.is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(folder: &Path, name: &str, text: &str) {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().expect("below the folder")).expect("made");
        std::fs::write(path, text).expect("written");
    }

    #[test]
    fn a_sweep_is_told_in_a_line_by_how_far_it_is_and_by_what_was_expected() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path();
        assert_eq!(sweep_in_a_line(path), "a sweep that cannot be read");
        write(path, SWEEP, r#"{"name": "ports", "ended_at": null, "order": [1, 2, 3], "runs": [1]}"#);
        assert_eq!(sweep_in_a_line(path), "SWEEP ports: 1 of 3 runs; unfinished");
        write(path, SWEEP, r#"{"name": "ports", "ended_at": "x", "order": [1], "runs": [1]}"#);
        write(path, "answer.json", r#"{"expected": [{"is_met": true}, {"is_met": false}]}"#);
        assert_eq!(sweep_in_a_line(path), "SWEEP ports: 1 of 1 runs; not as expected: 1 of 2");
        write(path, "answer.json", r#"{"expected": [{"is_met": true}]}"#);
        assert_eq!(sweep_in_a_line(path), "SWEEP ports: 1 of 1 runs; as expected");
    }

    #[test]
    fn a_folder_with_what_no_sweep_writes_or_that_is_written_stays() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path();
        for name in
            ["lock", SWEEP, "sweep.toml", "answer.json", "arms/base/plan.toml", "arms/base/profile.toml"]
        {
            write(path, name, "");
        }
        write(path, "runs/001/20261129T120224Z-stock-raw-hold/plan.toml", "");
        write(path, "runs/001/20261129T120224Z-stock-raw-hold/record.json", "");
        assert_eq!(kept_sweep(path), None);
        let held = Locked::try_hold(path).expect("opened");
        assert_eq!(kept_sweep(path).as_deref(), Some("another process is writing it"));
        drop(held);
        write(path, "runs/001/notes.txt", "");
        assert_eq!(kept_sweep(path).as_deref(), Some("it holds 'notes.txt', which no sweep writes"));
        std::fs::remove_file(path.join("runs/001/notes.txt")).expect("removed");
        write(path, "arms/base/notes.txt", "");
        assert!(kept_sweep(path).is_some_and(|why| why.contains("'arms/base/notes.txt'")));
    }

    #[test]
    fn a_tuning_is_told_in_a_line_and_stays_where_it_holds_what_is_somebodys() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path();
        let begun = r#"{"asked": {"plan": {"target": 20000}}, "ended_at": null, "outcome": {"kept": []}, "check": null}"#;
        write(path, TUNING, begun);
        assert_eq!(tuning_in_a_line(path), "TUNING for 20,000: unfinished");
        let ended = begun.replace("\"ended_at\": null", "\"ended_at\": \"x\"");
        let ended = ended.replace("\"check\": null", "\"check\": {\"held\": 20000}").replace("[]", "[1]");
        write(path, TUNING, &ended);
        assert_eq!(tuning_in_a_line(path), "TUNED: 20,000 of 20,000 held with 1 setting");
        write(path, "run-1/profile.toml", "");
        write(path, "run-1/20261129T120224Z-stock-raw-hold/plan.toml", "");
        write(path, "run-1/20261129T120224Z-stock-raw-hold/record.json", "");
        write(path, "wall-1-ports-exhausted/20261129T120224Z-sweep-x/sweep.json", "");
        write(path, "wall-1-ports-exhausted.not-here.json", "[]");
        write(path, "check/base.toml", "");
        write(path, "check/run/profile.toml", "");
        assert_eq!(kept_tuning(path), None);
        write(path, "wall-1-ports-exhausted/notes.txt", "");
        assert!(kept_tuning(path).is_some_and(|why| why.contains("'notes.txt'")));
    }
}
