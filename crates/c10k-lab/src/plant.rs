//! `c10k-lab walls plant`: a wall at small scale, in a private namespace, with its prediction, its diagnosis and its
//! lift.
//!
//! A plant is data: a run and what stands in its way. The diagnosis does not know that it was planted.

mod groups;
mod limits;
mod queues;
mod verdicts;
mod way;

use std::path::{Path, PathBuf};

use c10k_ceiling::{Need, Wall, predict_rate, wall, walls};
use c10k_record::{Ceiling, Exit, Predicted, Record, Scope, Setting};
use clap::Args;
use serde::Serialize;

use crate::findings::plan_view;
use crate::printer::Printer;
use crate::setup::{Came, Setup};
use crate::stage::Stage;
use groups::{Group, Made};

/// One wall's plant.
struct Planted {
    wall: &'static str,
    setup: fn() -> Setup,
    /// A control group that one end is put into.
    group: Option<Group>,
    lift: Lift,
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

/// What came of it.
#[derive(Debug, Serialize)]
struct Outcome {
    name: String,
    /// Planted into the same run.
    with: Option<String>,
    /// The first wall that the limits predicted; what is no number of connections is not predicted.
    predicted: Option<Predicted>,
    /// How fast connections can be made, where a limit says it.
    predicted_rate: Option<PredictedRate>,
    ceiling: Option<Ceiling>,
    /// Whether the diagnosis names what was planted.
    named: bool,
    /// Whether it names nothing else.
    only: bool,
    lifted: Option<Lifted>,
}

/// A wall that bounds a rate.
#[derive(Debug, Serialize)]
struct PredictedRate {
    wall: String,
    connections_per_second: u64,
    uncertainty_percent: u8,
    /// Of what it is reckoned.
    now: String,
}

/// The second run.
#[derive(Debug, Serialize)]
struct Lifted {
    /// The settings of the wall's remedy that were applied; empty where none lifts it.
    settings: Vec<Setting>,
    /// What was done, in words.
    applied: String,
    held: u64,
    target: u64,
    /// The walls that this run names; none, when it is healthy.
    walls: Vec<String>,
}

/// A small run that is quick to fail: its server and swarm are the lab's own, in a namespace of its own.
fn small(target: u64) -> Setup {
    let mut setup = Setup { target, ..Setup::default() };
    setup.verdicts = vec!["held = target".to_owned(), "failed <= 1%".to_owned()];
    for (name, value) in [("--hold", "300ms"), ("--connect-timeout", "2s"), ("--probe-timeout", "2s")] {
        flag(&mut setup, name, value);
    }
    setup
}

fn flag(setup: &mut Setup, name: &str, value: &str) {
    setup.flags.insert(name.to_owned(), value.to_owned());
}

/// Carries it out.
pub(crate) fn run(args: &PlantArgs, printer: &mut Printer) -> Exit {
    let mut plants = Vec::new();
    for name in &args.names {
        match find(name) {
            Ok(found) => plants.push(found),
            Err((message, hint, exit)) => {
                printer.error(&message, Some(&hint));
                return exit;
            }
        }
    }
    groups::remove_left_behind();
    let folder = match Folder::make() {
        Ok(folder) => folder,
        Err(error) => {
            printer.error(&format!("no folder for the run's record: {error}"), Some("set TMPDIR"));
            return Exit::HostCannot;
        }
    };
    match plant(&plants, &folder.0, printer) {
        Ok(outcome) => {
            if args.json {
                printer.data(&serde_json::to_string(&outcome).unwrap_or_default());
            } else {
                printer.data(&page(&outcome));
            }
            if outcome.named && outcome.only { Exit::Done } else { Exit::Short }
        }
        Err((message, code)) => {
            printer.error(&format!("the wall could not be planted: {message}"), None);
            if code == Some(3) { Exit::HostCannot } else { Exit::Broke }
        }
    }
}

/// The wall and its plant, or why it is not planted.
fn find(name: &str) -> Result<(&'static Wall, &'static Planted), (String, String, Exit)> {
    let Some(wall) = wall(name) else {
        let known: Vec<&str> = walls().map(|wall| wall.name).collect();
        let hint = format!("the walls are {}", known.join(", "));
        return Err((format!("'{name}' is not a wall"), hint, Exit::BadText));
    };
    match planted(name).filter(|_| wall.plant.plantable) {
        Some(planted) => Ok((wall, planted)),
        None => {
            let needs: Vec<&str> = wall.plant.needs.iter().map(|need| need.name()).collect();
            let hint = format!(
                "`c10k-lab walls {name}` explains it; in the repository `{}` replays the evidence that proves it",
                replayed_by(wall)
            );
            let message =
                format!("{name} is not planted here: {} (it takes: {})", wall.plant.how, needs.join(", "));
            Err((message, hint, Exit::HostCannot))
        }
    }
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

type Nothing = (String, Option<i32>);

fn plant(
    plants: &[(&'static Wall, &'static Planted)],
    folder: &Path,
    printer: &mut Printer,
) -> Result<Outcome, Nothing> {
    let names: Vec<&str> = plants.iter().map(|(wall, _)| wall.name).collect();
    let mut setup = plants.iter().map(|(_, planted)| (planted.setup)()).reduce(both).unwrap_or_default();
    let groups = plants.iter().filter_map(|(_, planted)| planted.group.as_ref());
    let groups = groups.filter(|group| group.is_needed());
    let made: Vec<Made> =
        groups.map(|group| group.make(&mut setup.stage)).collect::<Result<_, String>>().map_err(cannot)?;
    printer.say(&format!("planting {}: {}", names.join(" and "), plants[0].0.plant.how));
    let record = held(&setup, folder)?;
    drop(made);
    let ceiling = record.ceiling.clone().map(|ceiling| without_lines_of(folder, ceiling));
    let found: Vec<&str> =
        ceiling.iter().flat_map(|ceiling| &ceiling.walls).map(|found| found.name.as_str()).collect();
    let named = names.iter().all(|name| found.contains(name));
    let only = found.iter().all(|name| names.contains(name));
    let lifted = match (plants, &ceiling) {
        ([(wall, planted)], Some(ceiling)) if named => {
            Some(lift(wall, planted, setup, ceiling, folder, printer)?)
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
        ceiling,
        lifted,
    })
}

fn lift(
    wall: &Wall,
    planted: &Planted,
    mut setup: Setup,
    ceiling: &Ceiling,
    folder: &Path,
    printer: &mut Printer,
) -> Result<Lifted, Nothing> {
    let (settings, applied) = match (&planted.lift, &ceiling.remedy) {
        (Lift::Remedy, Some(remedy)) => {
            let settings = setup.lift(wall.name, remedy, |_| remedy.scope != Scope::Host);
            let words: Vec<String> = settings.iter().map(|s| format!("{} = {}", s.key, s.value)).collect();
            (settings, words.join(", "))
        }
        (Lift::Remedy, None) => (Vec::new(), String::new()),
        (Lift::TakenAway(words), _) => {
            setup.stage = Stage::default();
            setup.verdicts = small(0).verdicts;
            (Vec::new(), (*words).to_owned())
        }
        (Lift::Done(change, words), _) => {
            change(&mut setup);
            (Vec::new(), (*words).to_owned())
        }
    };
    printer.say(&format!("again, lifted: {applied}"));
    let record = held(&setup, folder)?;
    let walls = record.ceiling.iter().flat_map(|ceiling| &ceiling.walls).map(|found| found.name.clone());
    Ok(Lifted {
        settings,
        applied,
        held: record.connections.held,
        target: record.connections.target,
        walls: walls.collect(),
    })
}

/// From the limits at the start of the run.
fn predicted_rate(record: &Record) -> Option<PredictedRate> {
    let limits = &record.host.as_ref()?.limits;
    let rate = predict_rate(limits, &plan_view(record.plan.as_ref()?, limits))?;
    Some(PredictedRate {
        wall: rate.wall,
        connections_per_second: rate.connections_per_second,
        uncertainty_percent: rate.uncertainty_percent,
        now: rate.now,
    })
}

fn cannot(why: String) -> Nothing {
    (why, Some(3))
}

fn held(setup: &Setup, folder: &Path) -> Result<Box<c10k_record::Record>, Nothing> {
    match setup.carry_out(folder, || false) {
        Came::Record(record) => Ok(record),
        Came::Nothing(why, code) => Err((why, code)),
    }
}

/// Two plants in one run: what both want, and of numbers the larger target and the second one's other values.
fn both(mut one: Setup, other: Setup) -> Setup {
    one.target = one.target.max(other.target);
    one.flags.extend(other.flags);
    one.sysctls.extend(other.sysctls);
    one.backlog = one.backlog.or(other.backlog);
    let (stage, more) = (&mut one.stage, other.stage);
    for (end, more) in [(&mut stage.server, more.server), (&mut stage.swarm, more.swarm)] {
        end.one_table |= more.one_table;
        end.nofile = end.nofile.or(more.nofile);
        end.more_threads = end.more_threads.or(more.more_threads);
        end.flags.extend(more.flags);
        end.groups.extend(more.groups);
    }
    stage.place.extend(more.place);
    stage.towards = stage.towards.or(more.towards);
    stage.noise.extend(more.noise);
    stage.acts.extend(more.acts);
    one
}

/// The ceiling with lines that do not name the plant's own folder and group, which are gone when anybody pastes them:
/// the run's profile was what was planted, and stock is what is left without.
fn without_lines_of(folder: &Path, mut ceiling: Ceiling) -> Ceiling {
    let folder = folder.display().to_string();
    let profile = format!(" --profile {folder}/profile.toml");
    let walls = ceiling.walls.iter_mut().flat_map(|wall| &mut wall.remedy);
    for remedy in ceiling.remedy.iter_mut().chain(walls) {
        for command in &mut remedy.commands {
            *command = command.replace(&profile, " --profile stock");
        }
        remedy.commands.retain(|command| !command.contains(&folder) && !command.contains(groups::PREFIX));
    }
    ceiling
}

/// For people.
fn page(outcome: &Outcome) -> String {
    let mut lines = Vec::new();
    let planted = outcome.with.iter().fold(outcome.name.clone(), |all, with| format!("{all} and {with}"));
    lines.push(format!("planted    {planted}"));
    let rate = outcome.predicted_rate.as_ref();
    lines.extend(rate.map(|rate| {
        let PredictedRate { wall, connections_per_second, uncertainty_percent, now } = rate;
        format!(
            "predicted  {connections_per_second} connections a second, {wall} (± {uncertainty_percent} %: {now})"
        )
    }));
    lines.push(match &outcome.predicted {
        Some(first) => format!("predicted  {} connections, {}", first.connections, first.wall),
        None => "predicted  nothing: no limit that is known before a run".to_owned(),
    });
    match &outcome.ceiling {
        None => lines.push("named      nothing: the run reached its target".to_owned()),
        Some(ceiling) => {
            let names: Vec<&str> = ceiling.walls.iter().map(|found| found.name.as_str()).collect();
            let names = if names.is_empty() { ceiling.wall.clone() } else { names.join(", ") };
            lines.push(format!("named      {names}, {} connections held", ceiling.connections));
            for evidence in ceiling.walls.iter().flat_map(|found| &found.evidence) {
                lines.push(format!("           {}: {}", evidence.source, evidence.text));
            }
            if let Some(remedy) = &ceiling.remedy {
                lines.push(format!("remedy     {}", remedy.summary));
                lines.extend(remedy.commands.iter().map(|command| format!("           {command}")));
            }
        }
    }
    lines.push(match &outcome.lifted {
        Some(lifted) => {
            format!("lifted     {}: {} of {} held", lifted.applied, lifted.held, lifted.target)
        }
        None => "lifted     not tried".to_owned(),
    });
    lines.join("\n")
}

/// A folder that is gone when the plant is done.
struct Folder(PathBuf);

impl Folder {
    fn make() -> std::io::Result<Self> {
        let path = std::env::temp_dir().join(format!("c10k-plant-{}", std::process::id()));
        std::os::unix::fs::DirBuilderExt::mode(&mut std::fs::DirBuilder::new(), 0o700).create(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
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

    #[test]
    fn two_plants_in_one_run_keep_what_each_needs() {
        let of = |name| (planted(name).expect("a plant").setup)();
        let run = both(of("ports-exhausted"), of("server-died"));
        assert_eq!(run.target, 600);
        assert!(run.sysctls.contains_key("net.ipv4.ip_local_port_range"));
        assert_eq!(run.stage.acts.len(), 1);
        assert_eq!(run.stage.swarm.flags["--target"], "1");
    }
}
