//! What is gone on with after an interruption: its flags, and the folder that they mean.

use std::path::{Path, PathBuf};

use c10k_plan::say::printer::Printer;
use c10k_plan::say::refusal::Refusal;
use clap::Args;

use super::state::Locked;

/// The flags of a sweep and of a tuning that say where it is.
#[derive(Clone, Debug, Args)]
pub(crate) struct GoOnArgs {
    /// Go on with this folder [the newest unfinished one]
    #[arg(
        long,
        value_name = "FOLDER",
        long_help = "Go on with what is in this folder [default: the newest like this one in --results that is not finished]"
    )]
    resume: Option<PathBuf>,
    /// Begin anew, whatever is unfinished.
    #[arg(long, conflicts_with = "resume")]
    fresh: bool,
    /// Say how long it would take, and end.
    #[arg(long, conflicts_with_all = ["resume", "fresh"])]
    pub(crate) check: bool,
    /// Where its folder is made.
    #[arg(long, value_name = "FOLDER", default_value = "results")]
    pub(crate) results: PathBuf,
}

/// A folder with what was done so far.
pub(crate) trait Resumable: Sized {
    /// What it is of.
    type Of;

    /// A new one in `results`.
    fn make(results: &Path, of: &Self::Of) -> Result<Self, Refusal>;
    /// Goes on with this one. It is refused where what it is of, program or host are not what they were.
    fn resume(path: &Path, of: &Self::Of) -> Result<Self, Refusal>;
    /// The newest one in `results` that is not finished and that no process goes on with.
    fn unfinished(results: &Path, of: &Self::Of) -> Option<PathBuf>;
}

/// Holds a folder that is to be gone on with; refused where another process does.
pub(crate) fn hold(path: &Path) -> Result<Locked, Refusal> {
    let locked = Locked::try_hold(path).map_err(|error| {
        Refusal::host(format!("{}: {error}", path.display()), "look at who may write there")
    })?;
    locked.ok_or_else(|| {
        let message = format!("'{}' is being written by another process", path.display());
        Refusal::host(message, "wait for its end, or end that one")
    })
}

impl GoOnArgs {
    /// The one that is asked for, one that is unfinished and can be gone on with, or a new one.
    pub(crate) fn folder<F: Resumable>(&self, of: &F::Of, printer: &mut Printer) -> Result<F, Refusal> {
        if let Some(path) = &self.resume {
            return F::resume(path, of);
        }
        let unfinished = if self.fresh { None } else { F::unfinished(&self.results, of) };
        if let Some(path) = unfinished {
            match F::resume(&path, of) {
                Ok(folder) => return Ok(folder),
                Err(refusal) => printer.say(&format!("note: {}; a new one is begun", refusal.message)),
            }
        }
        F::make(&self.results, of)
    }
}
