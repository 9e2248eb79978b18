//! A run beside an earlier one: what is asked of it, and why the two cannot be compared.

use std::path::{Path, PathBuf};

use c10k_plan::args::RunArgs;
use c10k_plan::beside::{Beside, few};
use c10k_plan::resolve::resolve;
use c10k_plan::say::refusal::Refusal;
use c10k_record::{
    Condition, Record, Regression, RegressionError, RunState, headline, not_comparable, read_record,
};
use clap::Args;

use crate::command::runs::{Kind, kind_of, meant};

/// With what a run is compared.
#[derive(Clone, Debug, Args)]
pub(crate) struct BaselineArgs {
    /// An earlier run to compare with: its folder, its record.json, or `latest`. Its protocol, workload and target have to
    /// be those of this run; another machine, profile or load is told as a warning [default: none].
    #[arg(long, value_name = "RUN", requires = "max_regression")]
    baseline: Option<PathBuf>,
    /// By how much a metric may be worse than in the baseline, such as 'echo_p99 10%' or 'warn: held 1%'; may be given
    /// several times. A latency may not rise by more, a rate and what is held may not fall by more. It is a verdict of the
    /// run with the baseline's number in it, such as `echo_p99 <= 2.5ms + 10%`, beside all others.
    #[arg(long, value_name = "METRIC PERCENT", requires = "baseline")]
    max_regression: Vec<String>,
}

impl BaselineArgs {
    /// The flags of a run with what is asked for beside the baseline; as they are where none is named.
    pub(crate) fn beside(&self, run: &RunArgs) -> Result<RunArgs, Refusal> {
        let mut run = run.clone();
        let Some(named) = &self.baseline else { return Ok(run) };
        let read = |text: &String| {
            text.parse().map_err(|error: RegressionError| {
                Refusal::text(format!("--max-regression {error}"), error.hint())
            })
        };
        let regressions: Vec<Regression> = self.max_regression.iter().map(read).collect::<Result<_, _>>()?;
        let path = meant(named);
        let record = baseline(&path)?;
        let unlike = not_comparable(&record, &resolve(&run)?);
        if !unlike.is_empty() {
            return Err(Refusal::text(
                format!("the baseline '{}' is another kind of run: {}", path.display(), few(&unlike)),
                format!("name a run of this kind, or repeat that one: c10k-lab run {}", path.display()),
            ));
        }
        let conditions = regressions.iter().map(|regression| condition(regression, &record, &path));
        let conditions = conditions.collect::<Result<_, _>>()?;
        run.beside = Some(Beside { record, path, conditions });
        Ok(run)
    }
}

/// What a regression comes to beside this baseline.
fn condition(regression: &Regression, baseline: &Record, path: &Path) -> Result<Condition, Refusal> {
    regression.beside(baseline).ok_or_else(|| {
        let phase = regression.phase.as_ref().map_or_else(String::new, |phase| format!("{phase}."));
        let (what, path) = (format!("{phase}{}", regression.metric), path.display());
        Refusal::text(
            format!("the baseline '{path}' has measured nothing of {what}"),
            format!("`c10k-lab report {path}` shows what it has; leave out {what}"),
        )
    })
}

/// A record with which a run can be compared.
fn baseline(path: &Path) -> Result<Record, Refusal> {
    if kind_of(path) == Some(Kind::Climb) {
        return Err(Refusal::text(
            format!("the baseline '{}' is a climb, and a run is compared with a run", path.display()),
            "name one of its steps: CLIMB/step-1",
        ));
    }
    let record = read_record(path).map_err(|error| {
        Refusal::text(
            format!("the baseline: {error}"),
            "`c10k-lab list` shows the runs; `latest` is the newest; a record.json will do too",
        )
    })?;
    if record.state == RunState::Complete {
        return Ok(record);
    }
    Err(Refusal::text(
        format!("the baseline '{}' did not come to its end: {}", path.display(), headline(&record).1),
        "name a run that did: `c10k-lab list` shows what came of each",
    ))
}
