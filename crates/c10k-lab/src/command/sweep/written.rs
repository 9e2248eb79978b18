//! The files of an answer, in the sweep's folder.

use std::io;
use std::path::Path;

use c10k_plan::experiment::file::Sweep;
use c10k_record::write_whole;

use super::answer::Answers;
use super::state::State;
use super::{page, tables, told};

const ANSWER: &str = "answer.json";
const RUNS: &str = "runs.csv";
const ANSWERS: &str = "answers.csv";

/// Writes them, each whole or not at all.
pub(super) fn write(sweep: &Sweep, folder: &Path, state: &State, answers: &Answers) -> io::Result<()> {
    let document = serde_json::to_string_pretty(&answers.json(sweep, state)).unwrap_or_default();
    let files = [
        (ANSWER, document),
        (RUNS, tables::runs(sweep, state)),
        (ANSWERS, tables::answers(sweep, answers)),
        (told::PAGE, page::page(sweep, state, answers)),
    ];
    files.iter().try_for_each(|(name, text)| write_whole(&folder.join(name), text.as_bytes()))
}
