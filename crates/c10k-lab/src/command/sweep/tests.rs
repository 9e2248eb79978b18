//! The sweeps that ship.

use c10k_plan::experiment::file::Sweep;

use super::one_run::refuse_unknown;
use super::runner::sweep_seconds;

/// Those that ship, by their names.
fn shipped() -> Vec<(String, Sweep)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../profiles/sweeps");
    let mut paths: Vec<_> =
        std::fs::read_dir(folder).expect("listed").flatten().map(|entry| entry.path()).collect();
    paths.sort();
    let read = |path: &std::path::PathBuf| match Sweep::read(path) {
        Ok(sweep) => (path.display().to_string(), sweep),
        Err(refusal) => panic!("{}", refusal.message),
    };
    paths.iter().map(read).collect()
}

#[test]
fn every_sweep_that_ships_asks_a_question_expects_an_answer_and_takes_at_most_ten_minutes() {
    let all = shipped();
    assert!(all.len() >= 14, "{}", all.len());
    for (path, sweep) in &all {
        let texts = [&sweep.question, &sweep.believed, &sweep.title];
        assert!(texts.iter().all(|text| text.len() > 15), "{path}");
        assert!(!sweep.predictions.is_empty(), "{path}");
        let says_why = sweep.text.lines().any(|line| line.starts_with("control = \"none\" # "));
        assert!(sweep.control.is_some() || says_why, "{path}");
        let seconds = sweep_seconds(sweep);
        assert!(seconds <= 600.0, "{path}: {seconds} s");
        if let Err(refusal) = refuse_unknown(&sweep.arms) {
            panic!("{path}: {}", refusal.message);
        }
    }
}
