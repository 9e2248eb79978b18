//! From wall to wall: a run, the wall that it met, a sweep of what is said to lift it; until the goal is held, or nothing
//! that may be set lifts what is left.

use c10k_ceiling::UNKNOWN;
use c10k_plan::say::printer::Printer;
use c10k_plan::say::refusal::Refusal;
use c10k_record::{Metric, Record, Remedy, human_count};
use c10k_report::stats::FEWEST_PAIRS;

use super::bench::{Bench, Case, Question};
use super::kept::{Outcome, Proof, is_better, is_worse};
use super::lift::{Lift, of_remedy};
use crate::command::sweep::made::Made;

/// More walls than there are.
const MOST_WALLS: usize = 16;
/// All settings of a wall's remedy.
const WHOLE: &str = "all of them";

/// Lifts what is in the way, and returns the last run.
pub(super) fn lift_walls(
    bench: &Bench<'_>,
    outcome: &mut Outcome,
    printer: &mut Printer,
) -> Result<Box<Record>, Refusal> {
    for number in 1..=MOST_WALLS {
        let record = bench.run(&format!("run-{number}"), &outcome.lifts())?;
        let held = human_count(record.connections.held);
        if record.succeeded() {
            printer.say(&format!("run {number}: {held} held, all verdicts hold"));
            return Ok(record);
        }
        let metric = fell_short_in(&record);
        let mut lifted = false;
        for (wall, remedy) in walls_of(&record) {
            printer.say(&format!(
                "run {number}: {held} held of {}; {wall}",
                human_count(bench.asked.plan.target)
            ));
            let lifts = lifts_of(bench, outcome, &wall, &remedy);
            if !lifts.is_empty() && try_all(bench, outcome, (number, &wall, &metric), lifts, printer)? {
                lifted = true;
                break;
            }
        }
        if !lifted {
            return Ok(record);
        }
    }
    Err(Refusal::host(
        format!("{MOST_WALLS} walls are more than there are"),
        "c10k-lab climb goes one by one",
    ))
}

/// What the goal lacks: connections, or the metric of the first verdict that is broken.
fn fell_short_in(record: &Record) -> String {
    let broken = record.verdicts.iter().filter(|verdict| verdict.is_broken());
    let metric = broken.filter_map(c10k_record::Verdict::metric).find(|metric| *metric != Metric::Held);
    match metric.filter(|_| record.reached_its_target()) {
        Some(metric) => metric.to_string(),
        None => Metric::Held.to_string(),
    }
}

/// The walls that a run met, each with its remedy: those that cost connections first.
fn walls_of(record: &Record) -> Vec<(String, Remedy)> {
    let ceiling = record.ceiling.iter();
    let bitten = ceiling.flat_map(|ceiling| &ceiling.walls).map(|wall| (&wall.name, &wall.remedy));
    let met = record.met_on_the_way.iter().map(|met| (&met.wall, &met.remedy));
    let mut walls: Vec<(String, Remedy)> = Vec::new();
    for (name, remedy) in bitten.chain(met) {
        let is_new = name != UNKNOWN && !walls.iter().any(|(known, _)| known == name);
        if let Some(remedy) = remedy.as_ref().filter(|_| is_new) {
            walls.push((name.clone(), remedy.clone()));
        }
    }
    walls
}

/// What is left to try of a wall's remedy.
fn lifts_of(bench: &Bench<'_>, outcome: &mut Outcome, wall: &str, remedy: &Remedy) -> Vec<Lift> {
    let (lifts, not) = of_remedy(wall, remedy);
    for (lift, why) in not {
        outcome.do_not_try(lift, why);
    }
    let mut left = Vec::new();
    for lift in lifts {
        let stands =
            outcome.kept.iter().any(|kept| kept.lift.key == lift.key && kept.lift.value == lift.value);
        let in_vain =
            outcome.tried.iter().any(|left| left.lift.key == lift.key && left.lift.value == lift.value);
        if !bench.asked.wants(&lift.key) {
            outcome.do_not_try(lift, "--only leaves it out");
        } else if !stands && !in_vain {
            left.push(lift);
        }
    }
    left
}

/// Sweeps of these settings, alone and together, until each that is left is needed; whether any helped.
fn try_all(
    bench: &Bench<'_>,
    outcome: &mut Outcome,
    (number, wall, metric): (usize, &str, &str),
    mut lifts: Vec<Lift>,
    printer: &mut Printer,
) -> Result<bool, Refusal> {
    let mut named = format!("wall-{number}-{wall}");
    loop {
        let Some(made) = swept(bench, outcome, (&named, metric), &mut lifts, printer)? else {
            return Ok(false);
        };
        let needed = needed(&made, metric, &lifts);
        if needed.len() > 1 && needed.len() < lifts.len() {
            for lift in lifts.iter().filter(|lift| !needed.contains(lift)) {
                outcome.leave_out(lift, format!("{metric}: as good without it, beside the others"));
            }
            lifts = needed;
            named.push_str("-again");
            continue;
        }
        for lift in &lifts {
            match proof(&made, metric, lift, &needed) {
                Some(proof) => {
                    printer.say(&format!("kept: {}: {}", lift.name(), proof.line()));
                    outcome.keep(lift, proof);
                }
                None => {
                    let words = made.side(&lift.name()).and_then(|side| made.of(side, metric));
                    let words = words.map_or_else(|| "not measured".to_owned(), |answer| answer.words());
                    outcome.leave_out(lift, format!("{metric}: {words}"));
                }
            }
        }
        return Ok(!needed.is_empty());
    }
}

/// The sweep of these settings; those that cannot be tried here are taken out of them. A count that differs from run to
/// run is judged as a rate is.
fn swept(
    bench: &Bench<'_>,
    outcome: &mut Outcome,
    (name, metric): (&str, &str),
    lifts: &mut Vec<Lift>,
    printer: &mut Printer,
) -> Result<Option<Made>, Refusal> {
    let is_count = metric == Metric::Held.to_string();
    let metrics = [metric.to_owned()];
    let kept = outcome.lifts();
    let mut pairs = if is_count { 1 } else { bench.asked.pairs };
    let mut name = name.to_owned();
    loop {
        let title = format!("What lifts {name}?");
        let cases = cases(lifts);
        let question = Question { name: &name, title, kept: &kept, cases: &cases, metrics: &metrics, pairs };
        let not_here = bench.not_here(&question, printer)?;
        let alone = |lift: &Lift| not_here.iter().find(|(case, _)| *case == lift.name());
        let refused: Vec<(Lift, String)> =
            lifts.iter().filter_map(|lift| alone(lift).map(|(_, why)| (lift.clone(), why.clone()))).collect();
        if refused.is_empty() {
            let made = bench.sweep(&question, printer)?;
            if pairs as usize >= FEWEST_PAIRS || made.is_steady(metric) {
                return Ok(Some(made));
            }
            pairs = bench.asked.pairs;
            name.push_str("-measured");
            continue;
        }
        // A sweep without them: what they were part of would be refused with them.
        for (lift, why) in refused {
            lifts.retain(|other| *other != lift);
            outcome.do_not_try(lift, why);
        }
        if lifts.is_empty() {
            return Ok(None);
        }
        name.push_str("-less");
    }
}

/// Each setting alone, all together, and, where that is another thing, all but one.
fn cases(lifts: &[Lift]) -> Vec<Case> {
    let mut cases: Vec<Case> = lifts.iter().map(Case::of).collect();
    if lifts.len() > 1 {
        cases.push(Case { name: WHOLE.to_owned(), lifts: lifts.to_vec() });
    }
    if lifts.len() > 2 {
        cases.extend(lifts.iter().map(|left_out| Case {
            name: without(left_out),
            lifts: lifts.iter().filter(|lift| *lift != left_out).cloned().collect(),
        }));
    }
    cases
}

fn without(lift: &Lift) -> String {
    format!("all but {}", lift.name())
}

/// The fewest of the settings that do as much as all of them.
fn needed(made: &Made, metric: &str, lifts: &[Lift]) -> Vec<Lift> {
    let helps = |name: &str| made.side(name).filter(|side| is_better(made, *side, metric));
    let alone: Vec<(&Lift, usize)> =
        lifts.iter().filter_map(|lift| Some((lift, helps(&lift.name())?))).collect();
    let Some(whole) = helps(WHOLE) else {
        // Together they are of no use; the best of those that are alone.
        let is_best = |side: usize| {
            !alone.iter().any(|(_, other)| *other != side && is_worse(made, side, *other, metric))
        };
        return alone
            .iter()
            .find(|(_, side)| is_best(*side))
            .map(|(lift, _)| vec![(*lift).clone()])
            .unwrap_or_default();
    };
    if let Some((lift, _)) = alone.iter().find(|(_, side)| !is_worse(made, *side, whole, metric)) {
        return vec![(*lift).clone()];
    }
    let superfluous = lifts.iter().find(|lift| {
        let side = helps(&without(lift));
        side.is_some_and(|side| !is_worse(made, side, whole, metric))
    });
    lifts.iter().filter(|lift| Some(*lift) != superfluous).cloned().collect()
}

/// What proves a setting that is needed: alone by itself, beside others by what is lost without it.
fn proof(made: &Made, metric: &str, lift: &Lift, needed: &[Lift]) -> Option<Proof> {
    if !needed.contains(lift) {
        return None;
    }
    let answer = match needed {
        [_] => made.of(made.side(&lift.name())?, metric)?.clone(),
        [one, other] => {
            let rest = if one == lift { other } else { one };
            made.against(made.side(&rest.name())?, made.side(WHOLE)?, metric)?
        }
        _ => made.against(made.side(&without(lift))?, made.side(WHOLE)?, metric)?,
    };
    Some(Proof::of(made, metric, &answer, None))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lift(key: &str) -> Lift {
        Lift { key: key.to_owned(), value: "1".to_owned(), named_by: "x".to_owned() }
    }

    #[test]
    fn settings_are_tried_alone_and_together_and_of_three_without_each() {
        let names = |lifts: &[Lift]| cases(lifts).into_iter().map(|case| case.name).collect::<Vec<_>>();
        assert_eq!(names(&[lift("a")]), ["a = 1"]);
        assert_eq!(names(&[lift("a"), lift("b")]), ["a = 1", "b = 1", WHOLE]);
        let three = [lift("a"), lift("b"), lift("c")];
        assert_eq!(
            names(&three),
            ["a = 1", "b = 1", "c = 1", WHOLE, "all but a = 1", "all but b = 1", "all but c = 1"]
        );
        assert_eq!(cases(&three)[5].lifts, [lift("a"), lift("c")]);
    }
}
