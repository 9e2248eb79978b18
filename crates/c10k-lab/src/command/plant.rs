//! `c10k-lab walls plant`: a wall at small scale, in a private namespace, with its prediction, its diagnosis and its
//! lift.
//!
//! A plant is data: a run and what stands in its way. The diagnosis does not know that it was planted.

mod groups;
pub(crate) mod hierarchy;
pub(crate) mod left;
mod limits;
mod outcome;
mod queues;
mod together;
mod verdicts;
mod way;

use std::io;

use c10k_ceiling::{Need, Wall, wall, walls};
use c10k_plan::say::printer::Printer;
use c10k_plan::stage::{Limit, Stage, Who};
use c10k_record::{Ceiling, Exit, Record, Scope, nearest};
use clap::Args;

use crate::rerun::{Came, Setup};
use crate::signals::Signals;
use hierarchy::{Hierarchy, Made};
use left::{Folder, Maker};
use outcome::{Lifted, Outcome, page, predicted_rate};
use together::Stands;

/// One wall's plant.
struct Planted {
    wall: &'static str,
    /// How many connections the run must ask for.
    least: u64,
    stands: Stands,
    setup: fn(&Frame) -> Setup,
    /// A control group that one end is put into.
    group: Option<Group>,
    lift: Lift,
}

/// What a run is like that a plant is put into.
#[derive(Clone, Copy, Debug)]
struct Frame {
    /// How many connections it asks for.
    target: u64,
    /// Whether another plant stands in it too.
    is_shared: bool,
}

/// A control group with one limit.
struct Group {
    who: Who,
    limit: Limit,
    /// What does without it: for an ordinary user, and for root where none can be made.
    instead: Option<fn(&mut Setup)>,
}

/// How the second run passes.
enum Lift {
    /// With what the wall's remedy says.
    Remedy,
    /// Without what was planted: no setting lifts this wall.
    TakenAway(&'static str),
    /// With what else a person would do, which a run cannot be given as a setting.
    Done(fn(&mut Setup), &'static str),
}

/// A group of plants in each file.
static GROUPS: [&[Planted]; 5] =
    [limits::PLANTS, queues::PLANTS, way::PLANTS, verdicts::PLANTS, groups::PLANTS];

fn planted(name: &str) -> Option<&'static Planted> {
    GROUPS.iter().copied().flatten().find(|planted| planted.wall == name)
}

/// `c10k-lab walls plant`.
#[derive(Clone, Debug, Args)]
pub(crate) struct PlantArgs {
    /// The wall, such as ports-exhausted; a second one is planted into the same run, which is not lifted then.
    #[arg(value_name = "NAME", num_args = 1..=2, required = true)]
    names: Vec<String>,
    /// One JSON document on stdout.
    #[arg(long)]
    json: bool,
}

/// A small run that is quick to fail: its server and swarm are the lab's own, in a namespace of its own.
fn small(frame: &Frame) -> Setup {
    let mut setup = Setup { target: frame.target, ..Setup::default() };
    // Its profile is what was planted, and goes with the plant's folder: stock is what is left without.
    setup.stage.told_profile = Some("stock".to_owned());
    setup.verdicts = asked_of_all();
    for (name, value) in [("--hold", "300ms"), ("--connect-timeout", PATIENCE), ("--probe-timeout", PATIENCE)]
    {
        flag(&mut setup, name, value);
    }
    setup
}

/// How long a connect and an echo may take where a plant does not say.
const PATIENCE: &str = "2s";

/// What a plant is judged by besides the defaults: how late a busy machine is proves nothing of a wall.
fn asked_of_all() -> Vec<String> {
    vec!["echo_p95 <= 1h".to_owned()]
}

fn flag(setup: &mut Setup, name: &str, value: &str) {
    setup.flags.insert(name.to_owned(), value.to_owned());
}

/// Carries it out.
pub(crate) fn run(args: &PlantArgs, printer: &mut Printer) -> Exit {
    match carry_out(args, printer) {
        Ok(exit) => exit,
        Err(Failed::Stopped(exit, signal)) => {
            printer.say(&format!("stopped by {signal}"));
            exit
        }
        Err(Failed::Because { message, hint, exit }) => {
            printer.error(&message, hint.as_deref());
            exit
        }
    }
}

/// Why nothing came of it.
enum Failed {
    Stopped(Exit, &'static str),
    Because { message: String, hint: Option<String>, exit: Exit },
}

impl Failed {
    fn text(message: String, hint: String) -> Self {
        Self::Because { message, hint: Some(hint), exit: Exit::BadText }
    }

    fn host(message: String, hint: String) -> Self {
        Self::Because { message, hint: Some(hint), exit: Exit::HostCannot }
    }
}

fn carry_out(args: &PlantArgs, printer: &mut Printer) -> Result<Exit, Failed> {
    let mut plants = args.names.iter().map(|name| find(name)).collect::<Result<Vec<_>, _>>()?;
    together::sort(&mut plants)?;
    // Before anything is made, so that a signal finds who takes it away again.
    let signals = Signals::watch().map_err(|error| failed_to("watch signals", &error, "try again"))?;
    let maker =
        Maker::this().map_err(|error| failed_to("tell this process from others", &error, "mount /proc"))?;
    Hierarchy::default().remove_left_behind(&maker);
    let folder = Folder::make_in(&std::env::temp_dir(), &maker)
        .map_err(|error| failed_to("make a folder for the run's record", &error, "set TMPDIR"))?;
    let field = Field { folder, maker, signals };
    let outcome = field.plant(&plants, printer)?;
    if args.json {
        printer.data(&serde_json::to_string(&outcome).unwrap_or_default());
    } else {
        printer.data(&page(&outcome));
    }
    Ok(if outcome.in_order { Exit::Done } else { Exit::Short })
}

fn failed_to(what: &str, error: &io::Error, hint: &str) -> Failed {
    Failed::host(format!("cannot {what}: {error}"), hint.to_owned())
}

/// The wall and its plant, or why it is not planted.
fn find(name: &str) -> Result<(&'static Wall, &'static Planted), Failed> {
    let Some(wall) = wall(name) else {
        let hint = match nearest(name, walls().map(|wall| wall.name)) {
            Some(near) => format!("did you mean {near}?"),
            None => "`c10k-lab walls` lists them; those marked plantable can be planted".to_owned(),
        };
        return Err(Failed::text(format!("'{name}' is not a wall"), hint));
    };
    planted(name).filter(|_| wall.plant.plantable).map(|planted| (wall, planted)).ok_or_else(|| {
        let needs: Vec<&str> = wall.plant.needs.iter().map(|need| need.name()).collect();
        let hint = format!(
            "`c10k-lab walls {name}` explains it; in the repository `{}` replays the evidence that proves it",
            replayed_by(wall)
        );
        let message =
            format!("{name} is not planted here: {} (it takes: {})", wall.plant.how, needs.join(", "));
        Failed::host(message, hint)
    })
}

/// The test that proves a wall which is not planted: from the bytes of `/proc` that such a run leaves, or, where those
/// do not tell it, from what the whole run showed.
pub(crate) fn replayed_by(wall: &Wall) -> &'static str {
    if wall.plant.needs.contains(&Need::OwnHost) && wall.name != "ram" {
        "cargo test -p c10k-lab --lib what_the_whole_host_shows_names_its_walls_and_only_them"
    } else {
        "cargo test -p c10k-ceiling --test walls every_wall_is_named_by_its_own_evidence_and_by_nothing_else"
    }
}

/// Where plants are put: a folder for their runs, and what ends them early.
struct Field {
    folder: Folder,
    maker: Maker,
    signals: Signals,
}

impl Field {
    fn plant(
        &self,
        plants: &[(&'static Wall, &'static Planted)],
        printer: &mut Printer,
    ) -> Result<Outcome, Failed> {
        let names: Vec<&str> = plants.iter().map(|(wall, _)| wall.name).collect();
        let all: Vec<&'static Planted> = plants.iter().map(|(_, planted)| *planted).collect();
        let mut setup = together::setup(&all);
        let groups: Vec<&Group> = plants.iter().filter_map(|(_, planted)| planted.group.as_ref()).collect();
        let mut made: Vec<Option<Made>> = Vec::new();
        for group in &groups {
            let is_alone = groups.iter().filter(|other| other.who == group.who).count() == 1;
            made.push(self.make(group, is_alone, &mut setup, printer)?);
        }
        let how: Vec<&str> = plants.iter().map(|(wall, _)| wall.plant.how.trim_end_matches('.')).collect();
        printer.say(&format!("planting {}: {}", names.join(" and "), how.join("; and ")));
        let record = self.held(&setup)?;
        drop(made);
        let ceiling = record.ceiling.clone();
        let found: Vec<&str> =
            ceiling.iter().flat_map(|ceiling| &ceiling.walls).map(|found| found.name.as_str()).collect();
        let named = names.iter().all(|name| found.contains(name));
        let only = found.iter().all(|name| names.contains(name));
        let in_order = found == names;
        let lifted = match (plants, &ceiling) {
            ([(wall, planted)], Some(ceiling)) if named => {
                Some(self.lift(wall, planted, setup, ceiling, printer)?)
            }
            _ => None,
        };
        Ok(Outcome {
            name: names[0].to_owned(),
            with: names.get(1).map(|name| (*name).to_owned()),
            predicted: ceiling.as_ref().and_then(|ceiling| ceiling.predicted.clone()),
            predicted_rate: predicted_rate(&record),
            named,
            only,
            in_order,
            ceiling,
            lifted,
        })
    }

    /// `is_alone`: no other plant has a group for the same end.
    fn make(
        &self,
        group: &Group,
        is_alone: bool,
        setup: &mut Setup,
        printer: &mut Printer,
    ) -> Result<Option<Made>, Failed> {
        // Whom a limit of their own binds needs no group.
        if group.instead.is_some() && c10k_kernel::limits::euid() != 0 {
            return Ok(None);
        }
        let made = Hierarchy::default().make(group.who, group.limit, &self.maker, &mut setup.stage);
        match (made, group.instead) {
            (Ok(made), _) => Ok(Some(made)),
            (Err(why), Some(_)) if !is_alone => Err(Failed::host(
                format!(
                    "the wall could not be planted: {}, and a user's limit does not stand in its place beside another \
                     group of the {}",
                    why.message,
                    group.who.command()
                ),
                "plant each by itself".to_owned(),
            )),
            (Err(why), Some(instead)) => {
                printer
                    .say(&format!("{}; a limit of an ordinary user's process takes its place", why.message));
                instead(setup);
                Ok(None)
            }
            (Err(why), None) => Err(Failed::Because {
                message: format!("the wall could not be planted: {}", why.message),
                hint: Some(why.hint).filter(|hint| !hint.is_empty()),
                exit: Exit::HostCannot,
            }),
        }
    }

    fn lift(
        &self,
        wall: &Wall,
        planted: &Planted,
        mut setup: Setup,
        ceiling: &Ceiling,
        printer: &mut Printer,
    ) -> Result<Lifted, Failed> {
        let (settings, applied) = match (&planted.lift, &ceiling.remedy) {
            (Lift::Remedy, Some(remedy)) => {
                let settings = setup.take_settings(wall.name, remedy, |_| remedy.scope != Scope::Host);
                let words: Vec<String> =
                    settings.iter().map(|s| format!("{} = {}", s.key, s.value)).collect();
                (settings, words.join(", "))
            }
            (Lift::Remedy, None) => (Vec::new(), String::new()),
            (Lift::TakenAway(words), _) => {
                setup.stage = Stage::default();
                setup.verdicts = asked_of_all();
                (Vec::new(), (*words).to_owned())
            }
            (Lift::Done(change, words), _) => {
                change(&mut setup);
                (Vec::new(), (*words).to_owned())
            }
        };
        printer.say(&format!("again, lifted: {applied}"));
        let record = self.held(&setup)?;
        let walls = record.ceiling.iter().flat_map(|ceiling| &ceiling.walls).map(|found| found.name.clone());
        Ok(Lifted {
            settings,
            applied,
            held: record.connections.held,
            target: record.connections.target,
            walls: walls.collect(),
        })
    }

    /// One run, to its end or to a signal.
    fn held(&self, setup: &Setup) -> Result<Box<Record>, Failed> {
        let came = setup.carry_out(self.folder.path(), || self.signals.came());
        if self.signals.came() {
            return Err(Failed::Stopped(self.signals.exit(), self.signals.name()));
        }
        match came {
            Came::Record(record) => Ok(record),
            Came::Nothing(why, code) => Err(Failed::Because {
                message: format!("the wall could not be planted: {why}"),
                hint: None,
                exit: if code == Some(3) { Exit::HostCannot } else { Exit::Broke },
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_wall_that_says_it_can_be_planted_has_a_plant_and_no_other_one_has() {
        for wall in walls() {
            assert_eq!(wall.plant.plantable, planted(wall.name).is_some(), "{}", wall.name);
        }
        let all = GROUPS.iter().copied().flatten();
        assert!(all.into_iter().all(|planted| wall(planted.wall).is_some()));
    }
}
