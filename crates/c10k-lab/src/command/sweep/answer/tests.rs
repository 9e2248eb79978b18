//! Answers from states that nobody had to run for.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use c10k_plan::experiment::order::order;
use c10k_report::stats::Found;

use super::*;
use crate::command::sweep::state::{Build, HostSeen};
use crate::command::sweep::{page, tables, told};

const FILE: &str = "title = \"A <b>title</b>\"\nquestion = \"Is it so?\"\nbelieved = \"Yes.\"\n\
                    metrics = [\"connects_per_second\"]\nexpect = [\"connects_per_second: slower\"]\nseed = 5\n\
                    [base]\nprofile = \"stock\"\ntarget = 50\nhold = \"0s\"\n[vary]\nload.in_flight = [16]\n";

fn sweep() -> Sweep {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("made-up.toml");
    std::fs::write(&path, FILE).expect("written");
    Sweep::read(&path).map_err(|refusal| refusal.message).expect("a sweep")
}

/// All runs done, with these values of side, place in the order and metric.
fn state(sweep: &Sweep, value: impl Fn(usize, usize, &str) -> Option<f64>) -> State {
    let order = order(sweep.arms.len(), sweep.pairs, sweep.same_pairs, 5);
    let done = |(at, slot): (usize, &Slot)| {
        let names = sweep.measures().into_iter().map(|measure| measure.to_string());
        let values: BTreeMap<String, Option<f64>> =
            names.map(|name| (name.clone(), value(slot.arm(), at, &name))).collect();
        Done {
            started_at: "2026-01-01T00:00:00Z".to_owned(),
            wall_seconds: 2.0,
            folder: PathBuf::from(format!("runs/{at}")),
            values,
            applied: BTreeMap::new(),
        }
    };
    State {
        name: sweep.name.clone(),
        started_at: "2026-01-01T00:00:00Z".to_owned(),
        ended_at: None,
        seed: 5,
        build: Build { version: "1".to_owned(), hash: "0".to_owned() },
        host: HostSeen::now(),
        runs: order.iter().enumerate().map(done).collect(),
        order,
        broken: Vec::new(),
    }
}

/// A little that no two runs have in common.
fn noise(at: usize) -> f64 {
    1.0 + ((at * 7) % 5) as f64 * 0.001
}

fn half(side: usize, at: usize, name: &str) -> Option<f64> {
    let control = name == "kernel_bytes";
    Some(if control { 8000.0 } else { 1000.0 * noise(at) * if side == 1 { 0.5 } else { 1.0 } })
}

#[test]
fn a_side_that_is_slower_in_every_round_is_slower_as_was_expected() {
    let sweep = sweep();
    let answers = Answers::of(&sweep, &state(&sweep, half));
    assert_eq!(answers.all[0].answer.found, Found::Worse);
    assert!(answers.are_as_expected());
}

#[test]
fn where_the_control_moves_nothing_is_proven_and_nothing_is_as_expected() {
    let sweep = sweep();
    let drifts = |side: usize, at: usize, name: &str| {
        let moved = if name == "kernel_bytes" && side == 1 { 1.2 } else { 1.0 };
        half(side, at, name).map(|value| value * moved)
    };
    let answers = Answers::of(&sweep, &state(&sweep, drifts));
    assert!(matches!(answers.all[0].answer.found, Found::Unproven(_)), "{:?}", answers.all[0].answer.found);
    assert!(!answers.are_as_expected());
}

#[test]
fn rounds_without_a_value_are_left_out() {
    let sweep = sweep();
    let gaps = |side: usize, at: usize, name: &str| {
        half(side, at, name).filter(|_| at.is_multiple_of(2) || name == "kernel_bytes")
    };
    let state = state(&sweep, gaps);
    let answers = Answers::of(&sweep, &state);
    assert_eq!(answers.all[0].answer.found, Found::NoClaim);
    let nothing = Answers::of(&sweep, &State { runs: Vec::new(), ..state });
    assert!(!nothing.are_as_expected(), "of no run nothing is as expected");
}

#[test]
fn the_table_fits_80_columns_and_the_page_has_a_point_for_each_run() {
    let sweep = sweep();
    let state = state(&sweep, half);
    let answers = Answers::of(&sweep, &state);
    let text = told::told(&sweep, &answers, Path::new("results/x"), 80);
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    for words in ["question: Is it so?", "load.in_flight = 16", "  met      connects_per_second: slower"] {
        assert!(text.contains(words), "no '{words}' in:\n{text}");
    }
    assert!(text.contains("1,002 /s ->     501 /s"), "{text}");
    let page = page::page(&sweep, &state, &answers);
    // The first line of a plot has circles, the second squares, the third, the interval, a triangle and a span.
    let dots = |line: usize, sign: &str| {
        let begin = format!("<path class=\"dots f{line}\" d=\"");
        let path = page.split(&begin).nth(1).and_then(|rest| rest.split('"').next());
        path.map(|path| path.matches(sign).count())
    };
    assert_eq!((dots(0, "a3 3 0 1 0 6 0"), dots(1, "h5v5h-5z"), dots(2, "z")), (Some(6), Some(6), Some(1)));
    assert_eq!(page.matches("class=\"span s2\"").count(), 1);
    for words in ["As expected.", "1,002 /s", "501 /s", "Content-Security-Policy"] {
        assert!(page.contains(words), "no '{words}' in:\n{page}");
    }
    assert!(page.contains("A &lt;b&gt;title&lt;/b&gt;") && !page.contains("<b>title"));
    let links = |begin: &str| page.matches(begin).count();
    assert!(
        page.contains("default-src 'none'") && !page.contains(" src="),
        "it needs nothing from elsewhere"
    );
    assert_eq!(links(" href="), links(" href=\"data:"), "it leads nowhere");
}

#[test]
fn what_spans_ten_times_or_more_is_drawn_by_how_many_times_it_is() {
    let sweep = sweep();
    let far = |side: usize, at: usize, name: &str| {
        let times = if side == 1 && name != "kernel_bytes" { 0.001 } else { 1.0 };
        half(side, at, name).map(|value| value * times)
    };
    let state = state(&sweep, far);
    let page = page::page(&sweep, &state, &Answers::of(&sweep, &state));
    assert!(page.contains("× the base's median") && !page.contains("% from the base's median"), "{page}");
    for words in [">0.001<", "2,000× slower, 1,994–2,006, 6 of 6 pairs"] {
        assert!(page.contains(words), "no '{words}' in:\n{page}");
    }
    let near = self::state(&sweep, half);
    let page = page::page(&sweep, &near, &Answers::of(&sweep, &near));
    assert!(page.contains("% from the base's median") && !page.contains("× the base's median"), "{page}");
}

#[test]
fn the_tables_have_the_settings_in_columns_of_their_own() {
    let sweep = sweep();
    let state = state(&sweep, half);
    let runs = tables::runs(&sweep, &state);
    let header = "run,part,round,place,side,param.load.in_flight,connects_per_second,kernel_bytes,wall_seconds,\
                  started_at,folder";
    assert_eq!(runs.lines().next(), Some(header));
    assert_eq!(runs.lines().count(), 1 + state.runs.len());
    assert_eq!(runs.lines().filter(|line| line.contains(",load.in_flight = 16,16,")).count(), 6);
    let answers = tables::answers(&sweep, &Answers::of(&sweep, &state));
    assert!(answers.starts_with("side,param.load.in_flight,metric,runs_a,"), "{answers}");
    assert_eq!(answers.lines().count(), 2);
}
