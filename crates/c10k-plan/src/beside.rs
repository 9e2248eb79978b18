//! The run that another one is compared with.

use std::path::PathBuf;

use c10k_record::{Baseline, Condition, Record, Warning};

/// So many differences are said in one line; the record has them all.
const MOST_TOLD: usize = 6;

/// A run to compare with, and what is asked for beside it.
#[derive(Clone, Debug)]
pub struct Beside {
    /// The run.
    pub record: Record,
    /// Its record's path.
    pub path: PathBuf,
    /// What is asked for beside it.
    pub conditions: Vec<Condition>,
}

impl Beside {
    /// Notes in a record with what it is compared, and in what the two are not the same.
    pub fn note(&self, record: &mut Record) {
        let baseline = Baseline::of(&self.record, self.path.display().to_string(), record);
        if !baseline.differences.is_empty() {
            let text = format!("not the same as in the baseline: {}", few(&baseline.differences));
            record.warnings.push(Warning::new("baseline-differs", text));
        }
        record.baseline = Some(baseline);
    }
}

/// The first of them in a line.
pub fn few(all: &[String]) -> String {
    let told = all.iter().take(MOST_TOLD).map(String::as_str).collect::<Vec<_>>().join("; ");
    match all.len().saturating_sub(MOST_TOLD) {
        0 => told,
        more => format!("{told}; and {more} more"),
    }
}
