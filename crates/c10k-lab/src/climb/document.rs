//! What came of a climb, as `climb.json`, as `climbed.toml`, and in words.

use std::path::{Path, PathBuf};

use c10k_ceiling::{Prediction, predict};
use c10k_kernel::limits;
use c10k_record::{Exit, Plan, Predicted, Protocol, Record, Remedy, Scope, human_count};
use serde::Serialize;

use super::step::Step;
use super::{MEMORY, Refused};
use crate::findings::plan_view;
use crate::printer::Printer;
use crate::setup::Setup;

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
    /// A run from a fresh start with that profile.
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

#[derive(Clone, Debug, Serialize)]
pub(super) struct Next {
    pub(super) wall: String,
    pub(super) summary: String,
    pub(super) commands: Vec<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct Check {
    pub(super) target: u64,
    pub(super) held: u64,
}

impl Climb {
    /// Writes what there is so far.
    pub(super) fn keep(&self, setup: &Setup, folder: &Path) -> Result<(), Refused> {
        let summary = format!("{} held in a climb from {}", human_count(self.connections.held), self.start);
        let justify = |key: &str| {
            let step = self.steps.iter().find(|step| {
                step.lifted_with.iter().flat_map(|lifted| &lifted.settings).any(|setting| setting.key == key)
            })?;
            Some(step.justify())
        };
        let profile = setup.profile("climbed", &summary, justify);
        let document = serde_json::to_string_pretty(self).unwrap_or_default();
        for (path, text) in [(self.climbed.clone(), profile), (folder.join("climb.json"), document)] {
            std::fs::write(&path, text).map_err(|error| {
                (format!("{}: {error}", path.display()), "make room on the disk".to_owned(), Exit::Broke)
            })?;
        }
        Ok(())
    }

    /// The last words, for people.
    pub(super) fn tell(&self, printer: &mut Printer) {
        let wall = self.wall.as_ref().map_or_else(String::new, |wall| format!(", {wall}"));
        let of = self.connections.target.map_or_else(String::new, |n| format!(" of {}", human_count(n)));
        let held = human_count(self.connections.held);
        printer.say(&format!("held {held}{of}{wall}: {}", self.ended_because));
        if let (Some(predicted), Some(true)) =
            (&self.memory, self.wall.as_deref().map(|w| MEMORY.contains(&w)))
        {
            printer.say(&format!(
                "predicted before the first step, above that reserve: {}",
                human_count(predicted.connections)
            ));
        }
        if let Some(check) = &self.check {
            printer.say(&format!(
                "check: {} of {} held with climbed.toml alone",
                human_count(check.held),
                human_count(check.target)
            ));
        }
        printer.say(&format!("profile: {}", self.climbed.display()));
        if let Some(next) = &self.next {
            let (wall, summary, commands) = (&next.wall, &next.summary, next.commands.join(" && "));
            let line = if commands.is_empty() { String::new() } else { format!(": {commands}") };
            printer.say(&format!("next: {wall} {}{line}", summary.trim_end_matches('.')));
        }
    }
}

impl Next {
    pub(super) fn of(wall: &str, remedy: Remedy) -> Self {
        Self { wall: wall.to_owned(), summary: remedy.summary, commands: remedy.commands }
    }

    /// The wall that is predicted to stand next beyond what a run held; `None` where no limit can be read.
    pub(super) fn beyond(held: u64, record: &Record) -> Option<Self> {
        let host = &record.host.as_ref()?.limits;
        let plan = record.plan.as_ref()?;
        let of = |target| predict(host, &plan_view(&Plan { target, ..plan.clone() }, host));
        let wall = Self::first_beyond(of(held), held, limits::euid() == 0)?;
        // So that what is pasted is worth its while.
        let far = of(wall.connections.saturating_mul(2)).into_iter().find(|other| other.wall == wall.wall);
        let mut next = Self::of(&wall.wall, far.map_or(wall.lift, |far| far.lift));
        next.summary =
            format!("(predicted at {}, {}) {}", human_count(wall.connections), wall.now, next.summary);
        Some(next)
    }

    /// An ordinary user climbs over all that is their own: what is left is the host's.
    fn first_beyond(walls: Vec<Prediction>, held: u64, is_root: bool) -> Option<Prediction> {
        walls.into_iter().find(|wall| {
            wall.connections >= held && (is_root || wall.lift.scope == Scope::Host && wall.wall != "ram")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wall(name: &str, connections: u64, scope: Scope) -> Prediction {
        let lift = Remedy { summary: String::new(), settings: Vec::new(), commands: Vec::new(), scope };
        let (wall, now) = (name.to_owned(), String::new());
        Prediction { wall, connections, now, lift, uncertainty_percent: 0 }
    }

    #[test]
    fn next_is_what_this_user_meets_and_for_an_ordinary_one_what_root_would_lift() {
        let walls = [
            wall("nofile-server", 50, Scope::Process),
            wall("ports-exhausted", 200, Scope::Namespace),
            wall("ram", 250, Scope::Host),
            wall("file-max", 300, Scope::Host),
        ];
        let next = |is_root| Next::first_beyond(walls.to_vec(), 100, is_root).expect("a wall").wall;
        assert_eq!((next(true).as_str(), next(false).as_str()), ("ports-exhausted", "file-max"));
        assert!(Next::first_beyond(walls.to_vec(), 301, true).is_none());
    }
}
