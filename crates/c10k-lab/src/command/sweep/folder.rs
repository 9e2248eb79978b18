//! The folder of a sweep: a new one, or one that is gone on with.

use std::path::{Path, PathBuf};

use c10k_plan::experiment::arm::Arm;
use c10k_plan::experiment::file::Sweep;
use c10k_plan::experiment::order::order;
use c10k_plan::say::refusal::Refusal;
use c10k_record::{Exit, write_whole};

use super::going_on::{Resumable, hold};
use super::state::{Build, FILE, HostSeen, Locked, STATE, State, now};

/// Where a sweep is kept.
pub(super) struct Folder {
    pub(super) path: PathBuf,
    pub(super) state: State,
    /// Whether it was begun before.
    pub(super) is_resumed: bool,
    _locked: Locked,
}

/// The plans and profiles of the sides.
const ARMS: &str = "arms";
/// The folders of the runs.
const RUNS: &str = "runs";

impl Resumable for Folder {
    type Of = Sweep;

    /// With the plan and profile of each side.
    fn make(results: &Path, sweep: &Sweep) -> Result<Self, Refusal> {
        let (path, build) = begun_in(results, &format!("sweep-{}", sweep.name))?;
        let seed = sweep.seed.unwrap_or_else(drawn);
        let state = State {
            name: sweep.name.clone(),
            started_at: now(),
            ended_at: None,
            seed,
            build,
            host: HostSeen::now(),
            order: order(sweep.arms.len(), sweep.pairs, sweep.same_pairs, seed),
            runs: Vec::new(),
            broken: Vec::new(),
        };
        let written = write_all(&path, sweep, &state);
        let locked = written.and_then(|()| Locked::try_hold(&path));
        match locked {
            Ok(Some(locked)) => Ok(Self { path, state, is_resumed: false, _locked: locked }),
            Ok(None) => Err(not_written(&path, &std::io::ErrorKind::WouldBlock.into())),
            Err(error) => {
                // Nothing was run: an empty folder would only look like a sweep.
                let _ = std::fs::remove_dir_all(&path);
                Err(not_written(&path, &error))
            }
        }
    }

    fn resume(path: &Path, sweep: &Sweep) -> Result<Self, Refusal> {
        let state = State::read(path).map_err(|error| {
            Refusal::text(format!("no sweep to go on with: {error}"), "name the folder of a sweep")
        })?;
        if state.name != sweep.name {
            let message = format!(
                "'{}' is of the sweep {}, and the file is {}",
                path.display(),
                state.name,
                sweep.name
            );
            return Err(Refusal::text(message, "name its own file, or leave out --resume to begin anew"));
        }
        let locked = hold(path)?;
        // A finished one is only told again: by any build, on any host, whatever its plans are now.
        let changed = match state.is_done() {
            true => changed_file(path, sweep),
            false => changed(path, &state, sweep),
        };
        if let Some(changed) = changed {
            return Err(Refusal {
                message: format!("'{}' cannot be gone on with: {changed}", path.display()),
                hint: Some(
                    "runs from before and after would be compared: leave out --resume to begin anew"
                        .to_owned(),
                ),
                exit: Exit::HostCannot,
            });
        }
        if let Some(damaged) = damaged(&state, sweep) {
            let message = format!("no sweep to go on with: {}: {damaged}", path.join(STATE).display());
            return Err(Refusal::text(message, "leave out --resume to begin anew"));
        }
        Ok(Self { path: path.to_owned(), state, is_resumed: true, _locked: locked })
    }

    fn unfinished(results: &Path, sweep: &Sweep) -> Option<PathBuf> {
        let is_free = |path: &PathBuf| Locked::try_hold(path).is_ok_and(|locked| locked.is_some());
        let unfinished = Self::all(results, sweep).into_iter().filter(|(_, state)| !state.is_done());
        unfinished.map(|(path, _)| path).rfind(is_free)
    }
}

impl Folder {
    /// Those in `results` of this sweep, the newest last.
    pub(super) fn all(results: &Path, sweep: &Sweep) -> Vec<(PathBuf, State)> {
        let end = format!("-sweep-{}", sweep.name);
        let entries = std::fs::read_dir(results).into_iter().flatten().flatten();
        let mut found: Vec<(PathBuf, State)> = entries
            .filter(|entry| entry.file_name().to_string_lossy().ends_with(&end))
            .filter_map(|entry| Some((entry.path(), State::read(&entry.path()).ok()?)))
            .filter(|(_, state)| state.name == sweep.name)
            .collect();
        found.sort_by(|(one, _), (other, _)| one.cmp(other));
        found
    }

    /// The folder of a side.
    pub(super) fn arm(&self, arm: &Arm) -> PathBuf {
        self.path.join(ARMS).join(&arm.name)
    }

    /// The folder for the run at that place of the order, empty.
    pub(super) fn run(&self, at: usize) -> std::io::Result<PathBuf> {
        let path = self.path.join(RUNS).join(format!("{:03}", at + 1));
        match std::fs::remove_dir_all(&path) {
            // What an interrupted run left.
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        std::fs::create_dir_all(&path)?;
        Ok(path)
    }
}

/// What of the state of this sweep makes no sense.
fn damaged(state: &State, sweep: &Sweep) -> Option<&'static str> {
    let is_drawn = || order(sweep.arms.len(), sweep.pairs, sweep.same_pairs, state.seed) == state.order;
    let is_of_this_build = || Build::now().is_ok_and(|build| build == state.build);
    match () {
        () if state.order.is_empty() => Some("it has no run to make"),
        () if state.runs.len() > state.order.len() => Some("it has more runs than there are to make"),
        () if state.order.iter().any(|slot| slot.arm() >= sweep.arms.len()) => Some("it has a side too many"),
        // Another build may draw another one.
        () if is_of_this_build() && !is_drawn() => Some("its order is not the one that its seed draws"),
        () => None,
    }
}

fn is_same(file: &Path, text: &str) -> bool {
    std::fs::read_to_string(file).is_ok_and(|was| was == text)
}

/// That the file is not as it was when the sweep began.
fn changed_file(path: &Path, sweep: &Sweep) -> Option<String> {
    let is_another = !is_same(&path.join(FILE), &sweep.text);
    is_another.then(|| "the sweep's file is another one than it was begun with".to_owned())
}

/// What is not as it was when the sweep began.
fn changed(path: &Path, state: &State, sweep: &Sweep) -> Option<String> {
    if let Some(changed) = changed_file(path, sweep) {
        return Some(changed);
    }
    for arm in &sweep.arms {
        let folder = path.join(ARMS).join(&arm.name);
        if !is_same(&folder.join("plan.toml"), &arm.plan_text().unwrap_or_default()) {
            return Some(format!("the plan of {} is another one than it was begun with", arm.label()));
        }
        if !is_same(&folder.join("profile.toml"), &arm.profile) {
            return Some(format!("the profile of {} is another one than it was begun with", arm.label()));
        }
    }
    match Build::now() {
        Ok(build) if build == state.build => {}
        _ => {
            return Some(format!(
                "this program is another build than the {} it was begun with",
                state.build.version
            ));
        }
    }
    HostSeen::now().changed_since(&state.host)
}

fn write_all(path: &Path, sweep: &Sweep, state: &State) -> std::io::Result<()> {
    write_whole(&path.join(FILE), sweep.text.as_bytes())?;
    for arm in &sweep.arms {
        let folder = path.join(ARMS).join(&arm.name);
        std::fs::create_dir_all(&folder)?;
        let plan = arm.plan_text().map_err(std::io::Error::other)?;
        write_whole(&folder.join("plan.toml"), plan.as_bytes())?;
        write_whole(&folder.join("profile.toml"), arm.profile.as_bytes())?;
    }
    state.write(path)
}

/// A folder that cannot be made or written.
pub(crate) fn not_written(path: &Path, error: &std::io::Error) -> Refusal {
    Refusal::not_written(path, error, "name a folder that can be written with --results")
}

/// A new folder below `results` for what takes long, and by which program it is begun.
pub(crate) fn begun_in(results: &Path, what: &str) -> Result<(PathBuf, Build), Refusal> {
    let build = Build::now().map_err(|error| {
        Refusal::host(format!("cannot read this program's own file: {error}"), "mount /proc")
    })?;
    let made = std::fs::create_dir_all(results).and_then(|()| new_folder(results, what));
    Ok((made.map_err(|error| not_written(results, &error))?, build))
}

/// A new folder, named after the time and `what`.
fn new_folder(results: &Path, what: &str) -> std::io::Result<PathBuf> {
    let time = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ");
    for number in 1..100 {
        let more = if number == 1 { String::new() } else { format!(".{number}") };
        let path = results.join(format!("{time}{more}-{what}"));
        match std::fs::create_dir(&path) {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(std::io::ErrorKind::AlreadyExists.into())
}

/// A number that no other sweep or tuning is likely to have, and that every reader of JSON takes: below 2^53.
pub(crate) fn drawn() -> u64 {
    let nanoseconds = jiff::Timestamp::now().as_nanosecond();
    ((nanoseconds as u64) ^ u64::from(std::process::id())) % (1 << 53)
}
