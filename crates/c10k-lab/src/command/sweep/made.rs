//! Experiments that another command puts together: the same files, runs and answers, without a word of their own at the
//! end.

use std::path::{Path, PathBuf};

use c10k_plan::experiment::arm::Arm;
use c10k_plan::experiment::file::Sweep;
use c10k_plan::experiment::measure::Measure;
use c10k_plan::experiment::order::Part;
use c10k_plan::say::printer::Printer;
use c10k_plan::say::refusal::Refusal;
use c10k_record::{Exit, Record, write_whole};
use c10k_report::stats::{Answer, paired};

use super::answer::{Answers, pairs, values};
use super::folder::Folder;
use super::going_on::Resumable as _;
use super::one_run::{self, By, Ended};
use super::runner::{Runner, no_room_for_a_trial, stopped, sweep_seconds, try_in};
use super::state::State;
use super::{standing, written};
use crate::command::plant::left::Maker;
use crate::signals::Signals;

/// A sweep whose runs are all done.
pub(crate) struct Made {
    sweep: Sweep,
    state: State,
    answers: Answers,
    pub(crate) folder: PathBuf,
}

/// Carries out the experiment in `file`; one of it in `results` that was begun is gone on with, one that is finished is
/// read.
pub(crate) fn carry_out(
    file: &Path,
    results: &Path,
    signals: &Signals,
    printer: &mut Printer,
) -> Result<Made, Refusal> {
    let sweep = Sweep::read(file)?;
    let folder = match Folder::all(results, &sweep).pop() {
        Some((path, _)) => Folder::resume(&path, &sweep)?,
        None => Folder::make(results, &sweep)?,
    };
    let mut runner = Runner { sweep: &sweep, folder, signals, maker: maker()? };
    if !runner.folder.state.is_done() {
        runner.announce(printer);
        runner.run(printer)?;
    }
    let Folder { path, state, .. } = runner.folder;
    let answers = Answers::of(&sweep, &state);
    written::write(&sweep, &path, &state, &answers).map_err(|error| Refusal {
        message: format!("the answer cannot be written into '{}': {error}", path.display()),
        hint: Some("make room on the disk".to_owned()),
        exit: Exit::Broke,
    })?;
    Ok(Made { sweep, state, answers, folder: path })
}

/// How long the experiment in `file` takes, as far as can be said before, seconds.
pub(crate) fn seconds(file: &Path) -> Result<f64, Refusal> {
    Ok(sweep_seconds(&Sweep::read(file)?))
}

/// The cases of `file` that cannot be tried on this host, each with why. `folder` is for the trials.
pub(crate) fn not_here(
    file: &Path,
    folder: &Path,
    signals: &Signals,
    printer: &mut Printer,
) -> Result<Vec<(String, String)>, Refusal> {
    let (sweep, maker) = (Sweep::read(file)?, maker()?);
    let mut not_here = Vec::new();
    for arm in sweep.arms.iter().skip(1) {
        let alone = std::slice::from_ref(arm);
        let refused = one_run::refuse_unknown(alone).and_then(|()| standing::refuse_what_stands(alone));
        if let Err(refusal) = refused {
            not_here.push((arm.label(), refusal.message));
            continue;
        }
        if !arm.is_the_hosts() {
            continue;
        }
        printer.say(&format!("trying whether this host sets {}", arm.label()));
        write_profile(folder, arm)?;
        let mut ended = try_in(folder, arm, &maker, signals)?;
        if matches!(ended, Ended::Broke { by: By::Chance, .. }) {
            ended = try_in(folder, arm, &maker, signals)?;
        }
        match ended {
            Ended::Whole(_) => {}
            Ended::Stopped => return Err(stopped(signals)),
            Ended::Broke { why, by: By::Disk } => return Err(no_room_for_a_trial(arm, &why)),
            Ended::Broke { why, .. } => not_here.push((arm.label(), why)),
        }
    }
    Ok(not_here)
}

/// One run of the base of the experiment in `file`: plan, profile and record are put into `folder`.
pub(crate) fn run_base(file: &Path, folder: &Path, signals: &Signals) -> Result<Box<Record>, Refusal> {
    let (sweep, maker) = (Sweep::read(file)?, maker()?);
    let arm = &sweep.arms[0];
    write_profile(folder, arm)?;
    let plan = folder.join("plan.toml");
    let text = arm.plan_text().map_err(|error| Refusal::text(error, ""))?;
    write_whole(&plan, text.as_bytes()).map_err(|error| disk(&plan, &error))?;
    match one_run::carry_out(arm, &plan, folder, &maker, signals) {
        Ended::Whole(record) => Ok(record),
        Ended::Stopped => Err(stopped(signals)),
        Ended::Broke { why, by } => {
            Err(Refusal { message: format!("the run broke: {why}"), hint: None, exit: by.exit() })
        }
    }
}

fn write_profile(folder: &Path, arm: &Arm) -> Result<(), Refusal> {
    std::fs::create_dir_all(folder).map_err(|error| disk(folder, &error))?;
    let path = folder.join("profile.toml");
    write_whole(&path, arm.profile.as_bytes()).map_err(|error| disk(&path, &error))
}

fn disk(path: &Path, error: &std::io::Error) -> Refusal {
    let hint = "look at the room on the disk".to_owned();
    Refusal { message: format!("{}: {error}", path.display()), hint: Some(hint), exit: Exit::Broke }
}

fn maker() -> Result<Maker, Refusal> {
    Maker::this().map_err(|error| Refusal::host(format!("cannot tell this process from others: {error}"), ""))
}

impl Made {
    /// The number of the side that is the case of this name; 0 is the base.
    pub(crate) fn side(&self, case: &str) -> Option<usize> {
        self.sweep.arms.iter().position(|arm| arm.case.as_deref() == Some(case))
    }

    /// What a metric of a side says against the base, the doubts of the sweep included.
    pub(crate) fn of(&self, side: usize, metric: &str) -> Option<&Answer> {
        let measure = Measure::named(metric)?;
        let found = self.answers.all.iter().find(|all| all.arm == side && all.measure == measure);
        found.map(|found| &found.answer)
    }

    /// What a metric says of `side` against `other`, neither of which has to be the base.
    pub(crate) fn against(&self, other: usize, side: usize, metric: &str) -> Option<Answer> {
        let measure = Measure::named(metric)?;
        let pairs = pairs(&self.state, Part::Pairs, (other, side), measure);
        Some(paired(&pairs, measure.asked(self.state.seed)))
    }

    /// The base against itself.
    pub(crate) fn same(&self, metric: &str) -> Option<&Answer> {
        let measure = Measure::named(metric)?;
        self.answers.same.iter().find(|(other, _)| *other == measure).map(|(_, answer)| answer)
    }

    /// Whether a metric had one value in all runs of the base, those against itself included.
    pub(crate) fn is_steady(&self, metric: &str) -> bool {
        let Some(measure) = Measure::named(metric) else { return false };
        let of_pairs = values(&self.state, 0, measure);
        let of_same = pairs(&self.state, Part::Same, (0, 1), measure).into_iter();
        let all: Vec<Option<f64>> =
            of_pairs.chain(of_same.flat_map(|pair| pair.values().map(Some))).collect();
        all.first().is_some_and(|first| first.is_some() && all.iter().all(|other| other == first))
    }

    /// When its last run was done, RFC 3339, UTC.
    pub(crate) fn ended_at(&self) -> &str {
        self.state.ended_at.as_deref().unwrap_or_default()
    }

    /// `uname -r` of the machine it was made on.
    pub(crate) fn kernel(&self) -> &str {
        &self.state.host.kernel
    }

    /// Rounds of all sides.
    pub(crate) fn pairs(&self) -> u32 {
        self.sweep.pairs
    }
}
