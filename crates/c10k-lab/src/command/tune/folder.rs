//! The folder of a tuning: a new one, or one that is gone on with; and its document.

use std::path::{Path, PathBuf};

use c10k_plan::say::refusal::Refusal;
use c10k_record::{Exit, write_whole};
use serde::{Deserialize, Serialize};

use super::asked::Asked;
use super::kept::Outcome;
use crate::command::sweep::folder::{begun_in, drawn, not_written};
use crate::command::sweep::going_on::{Resumable, hold};
use crate::command::sweep::state::{Build, HostSeen, Locked, now};

/// Its document, which a folder must have to be one of a tuning.
pub(crate) const DOCUMENT: &str = "tune.json";

/// What was asked for and what came of it, as `tune.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Document {
    pub(super) asked: Asked,
    /// What the order of all runs is drawn from.
    pub(super) seed: u64,
    /// RFC 3339, UTC.
    pub(super) started_at: String,
    /// Null while steps are missing.
    pub(super) ended_at: Option<String>,
    build: Build,
    host: HostSeen,
    pub(super) outcome: Outcome,
    /// The run with what was written; null before it.
    pub(super) check: Option<Check>,
    /// The profile that was written; null before it.
    pub(super) profile: Option<PathBuf>,
}

/// A fresh start with the profile that was written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Check {
    pub(super) held: u64,
    pub(super) target: u64,
    /// The verdicts that do not hold.
    pub(super) broken: Vec<String>,
    /// Whether the goal is held.
    pub(super) is_reached: bool,
}

/// A folder with its document.
pub(super) struct Folder {
    pub(super) path: PathBuf,
    pub(super) document: Document,
    pub(super) is_resumed: bool,
    _locked: Locked,
}

impl Resumable for Folder {
    type Of = Asked;

    fn make(results: &Path, asked: &Asked) -> Result<Self, Refusal> {
        let (path, build) = begun_in(results, &END[1..])?;
        let document = Document {
            asked: asked.clone(),
            seed: drawn(),
            started_at: now(),
            ended_at: None,
            build,
            host: HostSeen::now(),
            outcome: Outcome::default(),
            check: None,
            profile: None,
        };
        let locked = match Locked::try_hold(&path) {
            Ok(Some(locked)) => locked,
            Ok(None) => return Err(not_written(&path, &std::io::ErrorKind::WouldBlock.into())),
            Err(error) => return Err(not_written(&path, &error)),
        };
        let folder = Self { path, document, is_resumed: false, _locked: locked };
        folder.write()?;
        Ok(folder)
    }

    fn resume(path: &Path, asked: &Asked) -> Result<Self, Refusal> {
        let document = read(path).map_err(|why| {
            Refusal::text(format!("no tuning to go on with: {why}"), "name the folder of a tuning")
        })?;
        let locked = hold(path)?;
        if let Some(changed) = document.changed(asked) {
            let message = format!("'{}' cannot be gone on with: {changed}", path.display());
            return Err(Refusal::host(message, "--fresh begins anew"));
        }
        Ok(Self { path: path.to_owned(), document, is_resumed: true, _locked: locked })
    }

    fn unfinished(results: &Path, asked: &Asked) -> Option<PathBuf> {
        let entries = std::fs::read_dir(results).ok()?.flatten().map(|entry| entry.path());
        let mut paths: Vec<PathBuf> = entries
            .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().ends_with(END)))
            .filter(|path| {
                read(path).is_ok_and(|document| document.ended_at.is_none() && document.asked == *asked)
            })
            .filter(|path| Locked::try_hold(path).is_ok_and(|locked| locked.is_some()))
            .collect();
        paths.sort();
        paths.pop()
    }
}

impl Folder {
    /// Writes the document, whole or not at all.
    pub(super) fn write(&self) -> Result<(), Refusal> {
        let text = serde_json::to_string_pretty(&self.document).unwrap_or_default();
        let path = self.path.join(DOCUMENT);
        write_whole(&path, text.as_bytes()).map_err(|error| Refusal {
            message: format!("how far it has come can no longer be written: {}: {error}", path.display()),
            hint: Some("make room on the disk".to_owned()),
            exit: Exit::Broke,
        })
    }
}

impl Document {
    /// What is not as it was when it began.
    fn changed(&self, asked: &Asked) -> Option<String> {
        if self.asked != *asked {
            return Some("it has another goal, or another profile to begin with".to_owned());
        }
        match Build::now() {
            Ok(build) if build == self.build => HostSeen::now().changed_since(&self.host),
            _ => Some(format!(
                "this program is another build than the {} it was begun with",
                self.build.version
            )),
        }
    }
}

fn read(folder: &Path) -> Result<Document, String> {
    let path = folder.join(DOCUMENT);
    let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))
}

/// The end of a folder's name.
const END: &str = "-tune";

#[cfg(test)]
mod tests {
    use c10k_record::Quantity;
    use c10k_swarm::LoadArgs;

    use super::*;
    use c10k_plan::args::RunArgs;

    fn asked(target: u64) -> Asked {
        let load = LoadArgs { target: Some(Quantity(target)), ..LoadArgs::default() };
        let args = RunArgs { profile: Some("stock".to_owned()), load, ..RunArgs::default() };
        Asked::of(&args, (false, Vec::new(), 6)).expect("a goal")
    }

    #[test]
    fn a_tuning_is_gone_on_with_where_its_goal_is_the_same_and_nobody_writes_it() {
        let results = tempfile::tempdir().expect("a folder");
        let folder = Folder::make(results.path(), &asked(300)).expect("made");
        let path = folder.path.clone();
        assert_eq!(Folder::unfinished(results.path(), &asked(300)), None, "this one writes it");
        let busy = Folder::resume(&path, &asked(300)).map(drop).expect_err("busy");
        assert!(busy.message.contains("by another process"), "{}", busy.message);
        let seed = folder.document.seed;
        drop(folder);
        assert_eq!(Folder::unfinished(results.path(), &asked(300)), Some(path.clone()));
        assert_eq!(Folder::unfinished(results.path(), &asked(301)), None, "another goal");
        let other = Folder::resume(&path, &asked(301)).map(drop).expect_err("another goal");
        assert!(other.message.contains("another goal"), "{}", other.message);
        let mut again = Folder::resume(&path, &asked(300)).expect("gone on with");
        assert!(again.is_resumed && again.document.seed == seed);
        again.document.ended_at = Some(now());
        again.write().expect("written");
        drop(again);
        assert_eq!(Folder::unfinished(results.path(), &asked(300)), None, "it is finished");
    }
}
