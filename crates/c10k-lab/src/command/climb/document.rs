//! What came of a climb, as `climb.json`, as `climbed.toml`, and in words.

use std::io;
use std::path::{Path, PathBuf};

use c10k_record::{Exit, Predicted, Protocol, Setting, fold, human_count, what_makes_room, write_whole};
use serde::Serialize;

use super::next::Next;
use super::step::{Step, beside_a_profile};
use super::{MEMORY, Refused};
use crate::rerun::Setup;

/// What came of a climb, as climb.json has it.
#[derive(Debug, Serialize)]
pub(super) struct Climb {
    pub(super) start: String,
    pub(super) protocol: Protocol,
    pub(super) connections: Counts,
    /// What the memory was predicted to hold above the reserve, and the wall that stands there; null where it cannot
    /// be read.
    pub(super) memory: Option<Predicted>,
    pub(super) steps: Vec<Step>,
    /// Why it ended.
    pub(super) ended_because: String,
    /// The wall that it ended at, a verdict that broke among them; `unknown` when none is proven, null when what was
    /// asked for is held.
    pub(super) wall: Option<String>,
    /// What would have to be lifted next: for an ordinary user what only root may lift.
    pub(super) next: Option<Next>,
    /// The profile with what was lifted.
    pub(super) climbed: PathBuf,
    /// A run from a fresh start with that profile, as plain as the climb was but for what no profile carries.
    pub(super) check: Option<Check>,
    pub(super) warnings: Vec<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct Counts {
    /// What was asked for; null when it was as many as the memory holds.
    pub(super) target: Option<u64>,
    /// The most that a step held.
    pub(super) held: u64,
}

#[derive(Debug, Serialize)]
pub(super) struct Check {
    pub(super) target: u64,
    pub(super) held: u64,
    /// Where its record is.
    pub(super) folder: PathBuf,
}

impl Climb {
    /// Writes what there is so far.
    pub(super) fn keep(&self, setup: &Setup, folder: &Path) -> Result<(), Refused> {
        let summary = format!("{} held in a climb from {}", human_count(self.connections.held), self.start);
        let mut profile =
            setup.profile("climbed", &summary, |setting| Some(self.needed_by(setting)?.justify()));
        let beside = self.beside_the_profile(setup);
        if !beside.is_empty() {
            profile.push_str("\n# What lifted a wall and no profile carries:\n");
            beside.iter().for_each(|line| profile.push_str(&format!("# {line}\n")));
        }
        let document = serde_json::to_string_pretty(self).unwrap_or_default();
        let name = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let page = c10k_report::page_of_climb(&name, &serde_json::to_value(self).unwrap_or_default());
        let texts = [(self.climbed.clone(), profile), (folder.join("climb.json"), document)];
        for (path, text) in texts.into_iter().chain([(folder.join("report.html"), page)]) {
            write_whole(&path, text.as_bytes())
                .map_err(|error| (format!("{}: {error}", path.display()), what_mends(&error), Exit::Broke))?;
        }
        Ok(())
    }

    /// The step whose wall was lifted with that; of several the last one.
    fn needed_by(&self, setting: &Setting) -> Option<&Step> {
        self.steps.iter().rfind(|step| step.lifted_with.iter().any(|it| it.settings.contains(setting)))
    }

    /// A line about each lift that is in force and that no profile carries.
    fn beside_the_profile(&self, setup: &Setup) -> Vec<String> {
        let lifted = |step: &Step| step.lifted_with.iter().flat_map(|it| it.settings.clone()).collect();
        let lines = self.steps.iter().flat_map(|step| {
            let settings: Vec<Setting> = lifted(step);
            settings.into_iter().filter_map(move |setting| {
                let is_last = self.needed_by(&setting).is_some_and(|last| last.number == step.number);
                let words = beside_a_profile(&setting, setup).filter(|_| is_last)?;
                Some(format!("{}: {words}", step.justify()))
            })
        });
        lines.collect()
    }

    /// The last words, for people: what is held first. In lines of `width` columns; `None` leaves them as long as they are.
    pub(super) fn told(&self, width: Option<usize>) -> String {
        let (held, target) = (Some(self.connections.held), self.connections.target);
        let headline = c10k_report::climb_headline(held, target, self.steps.len(), self.wall.as_deref());
        let mut texts = vec![format!("{headline}; {}", self.ended_because)];
        if let (Some(predicted), Some(true)) =
            (&self.memory, self.wall.as_deref().map(|w| MEMORY.contains(&w)))
        {
            texts.push(format!(
                "predicted before the first step, above that reserve: {}",
                human_count(predicted.connections)
            ));
        }
        if let Some(check) = &self.check {
            let (held, target) = (human_count(check.held), human_count(check.target));
            texts.push(format!("check: {held} of {target} held from a fresh start with climbed.toml"));
        }
        texts.push(format!("profile: {}", self.climbed.display()));
        let folded = |text: &String| width.map_or_else(|| vec![text.clone()], |width| fold(text, width));
        let mut lines: Vec<String> = texts.iter().flat_map(folded).collect();
        lines.extend(self.next.iter().flat_map(|next| next.lines(width)));
        lines.join("\n")
    }
}

/// What mends it that a file of the climb cannot be written.
fn what_mends(error: &io::Error) -> String {
    let what = what_makes_room(error).unwrap_or_else(|| match error.raw_os_error() {
        Some(libc::EACCES | libc::EPERM) => "let this user write there again",
        Some(libc::EROFS) => "mount the file system for writing again",
        Some(libc::ENOENT | libc::ENOTDIR) => "its folder was removed or moved meanwhile: leave it there",
        _ => "look at the file system with dmesg",
    });
    format!("{what}; --json still prints it all")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_pasted_line_by_line_and_ways_stand_apart_by_a_word() {
        let next = |any_suffices| Next {
            wall: "w".to_owned(),
            summary: "Do it.".to_owned(),
            commands: vec!["a".to_owned(), "b".to_owned()],
            any_suffices,
        };
        assert_eq!(next(true).lines(None).join("\n"), "next: w Do it.\n  a\nor\n  b");
        assert_eq!(next(false).lines(None).join("\n"), "next: w Do it.\n  a\n  b");
    }

    #[test]
    fn what_mends_a_file_that_cannot_be_written_fits_its_error() {
        let hint = |errno| what_mends(&io::Error::from_raw_os_error(errno));
        assert!(hint(libc::ENOSPC).contains("room on the disk") && hint(libc::EROFS).contains("mount"));
        assert!(hint(libc::EDQUOT).contains("room on the disk") && hint(libc::EFBIG).contains("ulimit -f"));
        assert!(hint(libc::EACCES).contains("let this user write") && hint(libc::ENOENT).contains("removed"));
    }
}
