//! What the page of a run is made of, as it lies in the run's folder.

use std::path::Path;

use c10k_plan::view::ladder;
use c10k_record::{Predicted, RampRow, Record, RunState, Sample};
use c10k_report::{LatencyLog, Shown, page_of_run, read_latency_log, read_ramp, read_what_can_be_read};
use serde_json::Value;

/// The file of a run's finer rows.
pub(crate) const RAMP: &str = "ramp.csv";
/// What a page in the run's folder leads to.
const BESIDE: [&str; 5] = ["record.json", "samples.csv", RAMP, "latency.hlog", "plan.toml"];

/// A run with what lies beside its record.
#[derive(Debug)]
pub(crate) struct Material {
    pub(crate) record: Record,
    samples: Vec<Sample>,
    ramp: Vec<RampRow>,
    latencies: LatencyLog,
    ladder: Vec<Predicted>,
    find: Option<Value>,
    missing: Vec<String>,
    broken_samples: Option<String>,
    is_beside: bool,
}

impl Material {
    /// Reads what lies in the folder of a record. What is missing there, or cannot be read, is told on the page; `missing`
    /// is what is known of that already.
    pub(crate) fn read(mut record: Record, folder: &Path, mut missing: Vec<String>) -> Self {
        let text = |name: &str| std::fs::read_to_string(folder.join(name));
        let (samples, error) = match text("samples.csv") {
            Ok(text) => read_what_can_be_read(&text),
            Err(_) => (Vec::new(), None),
        };
        let broken_samples = error.map(|error| format!("samples.csv: {error}"));
        missing.extend(
            broken_samples.as_ref().map(|error| format!("{error}: only what stands before it is shown.")),
        );
        if record.state == RunState::Unfinished {
            c10k_report::fill_from_samples(&mut record, &samples);
            missing
                .push("The record was never finished: the run goes on, or its writer was killed.".to_owned());
        }
        let find = text("find.json").ok().map(|text| serde_json::from_str(&text));
        if matches!(find, Some(Err(_))) {
            missing.push("find.json cannot be read.".to_owned());
        }
        Self {
            samples,
            ramp: text(RAMP).map(|text| read_ramp(&text)).unwrap_or_default(),
            latencies: latencies(folder),
            ladder: ladder(&record),
            find: find.and_then(Result::ok),
            missing,
            broken_samples,
            is_beside: false,
            record,
        }
    }

    /// The same for a page that lies beside it.
    pub(crate) fn beside(mut self) -> Self {
        self.is_beside = true;
        self
    }

    /// What is wrong with samples.csv.
    pub(crate) fn broken_samples(&self) -> Option<&str> {
        self.broken_samples.as_deref()
    }

    pub(crate) fn shown(&self) -> Shown<'_> {
        Shown {
            record: &self.record,
            samples: &self.samples,
            ramp: &self.ramp,
            latencies: &self.latencies,
            ladder: &self.ladder,
            find: self.find.as_ref(),
            missing: &self.missing,
            files: if self.is_beside { &BESIDE } else { &[] },
        }
    }
}

/// The page of a run that has just ended, whose record is still to be written; `missing` is what could not be read.
pub(crate) fn page(
    record: &Record,
    samples: &[Sample],
    ramp: &[RampRow],
    missing: &[String],
    folder: &Path,
) -> String {
    page_of_run(&Shown {
        record,
        samples,
        ramp,
        latencies: &latencies(folder),
        ladder: &ladder(record),
        find: None,
        missing,
        files: &BESIDE,
    })
}

fn latencies(folder: &Path) -> LatencyLog {
    read_latency_log(&std::fs::read_to_string(folder.join("latency.hlog")).unwrap_or_default())
}
