//! What would have to be lifted next.

use std::path::Path;

use c10k_ceiling::{self as ceiling, Prediction, predict};
use c10k_kernel::limits;
use c10k_plan::view::plan_view;
use c10k_record::{Hanging, Plan, Record, Remedy, Scope, fold, fold_command, human_count};
use serde::Serialize;

#[derive(Clone, Debug, Serialize)]
pub(super) struct Next {
    pub(super) wall: String,
    pub(super) summary: String,
    pub(super) commands: Vec<String>,
    /// Whether one of the commands suffices; else they are the steps of one way.
    pub(super) any_suffices: bool,
}

impl Next {
    /// What lifts a wall of a step, to be pasted by this user after the climb.
    pub(super) fn of(wall: &str, mut remedy: Remedy) -> Self {
        if limits::euid() == 0 {
            remedy.make_roots();
        }
        Self {
            wall: wall.to_owned(),
            summary: remedy.summary,
            commands: remedy.commands,
            any_suffices: ceiling::wall(wall).is_some_and(|wall| wall.any_command_lifts),
        }
    }

    /// Words, and each command on a line of its own; in lines of `width` columns, which can still be pasted.
    pub(super) fn lines(&self, width: Option<usize>) -> Vec<String> {
        let words = format!("next: {} {}", self.wall, self.summary);
        let mut lines = width.map_or_else(|| vec![words.clone()], |width| fold(&words, width));
        for (n, command) in self.commands.iter().enumerate() {
            if n > 0 && self.any_suffices {
                lines.push("or".to_owned());
            }
            let parts = width.map_or_else(
                || vec![command.clone()],
                |width| fold_command(command, Hanging { column: 2, width }.room()),
            );
            lines.extend(parts.iter().map(|part| format!("  {part}")));
        }
        lines
    }

    /// The wall that is predicted to stand next beyond what a run held; `None` where no limit can be read.
    pub(super) fn beyond(held: u64, record: &Record, climbed: &Path) -> Option<Self> {
        let host = &record.host.as_ref()?.limits;
        let profile = path_to_paste(climbed);
        let plan = Plan { profile, ..record.plan.clone()? };
        let of = |target| predict(host, &plan_view(&Plan { target, ..plan.clone() }, host));
        let wall = Self::first_beyond(of(held), held, limits::euid() == 0)?;
        // So that what is pasted is worth its while.
        let far = of(wall.connections.saturating_mul(2)).into_iter().find(|other| other.wall == wall.wall);
        let lift = far.map_or(wall.lift, |far| far.lift);
        let mut next = Self::of(&wall.wall, lift);
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

/// The whole path of a file, for a user who stands in another folder.
pub(super) fn path_to_paste(path: &Path) -> String {
    let whole = std::path::absolute(path);
    whole.as_deref().unwrap_or(path).display().to_string()
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
