//! What makes the goal faster: all candidates in one sweep, and what looks better in it once more, above what is kept.

use c10k_plan::say::printer::Printer;
use c10k_plan::say::refusal::Refusal;
use c10k_plan::view::plan_view;
use c10k_record::Record;

use super::bench::{Bench, Case, Question};
use super::kept::{Outcome, Proof, control_moved, is_better};
use super::lift::{Lift, for_speed};
use crate::command::sweep::made::Made;

/// Tries what may make the goal faster. `last` is the last run with what is kept so far.
pub(super) fn make_faster(
    bench: &Bench<'_>,
    outcome: &mut Outcome,
    last: &Record,
    printer: &mut Printer,
) -> Result<(), Refusal> {
    let metrics = bench.asked.metrics();
    let lifts = candidates(bench, outcome, last);
    let lifts = those_here(bench, outcome, ("faster", &metrics), lifts, printer)?;
    if lifts.is_empty() {
        return Ok(());
    }
    let screened = sweep(bench, outcome, ("faster", &metrics), &lifts, printer)?;
    let mut left: Vec<(Lift, String)> = Vec::new();
    for lift in lifts {
        match helped(&screened, &lift, &metrics) {
            Ok(metric) => {
                let words = words(&screened, &lift, &metric);
                left.push((lift, format!("{metric}: {words}")));
            }
            Err(why) => outcome.leave_out(&lift, why),
        }
    }
    // Of so many settings one looks better by chance: what is kept has to be so again, with new runs.
    let mut round = 0;
    while !left.is_empty() {
        round += 1;
        let name = format!("faster-again-{round}");
        let lifts: Vec<Lift> = left.iter().map(|(lift, _)| lift.clone()).collect();
        let made = sweep(bench, outcome, (&name, &metrics), &lifts, printer)?;
        let mut helping: Vec<(Lift, String, String)> = Vec::new();
        for (lift, before) in std::mem::take(&mut left) {
            match helped(&made, &lift, &metrics) {
                Ok(metric) => helping.push((lift, metric, before)),
                Err(why) => outcome.leave_out(&lift, format!("{why}; in an earlier sweep {before}")),
            }
        }
        let gain = |(lift, metric, _): &(Lift, String, String)| gain(&made, lift, metric);
        let best = helping.iter().map(gain).enumerate().max_by(|(_, one), (_, other)| one.total_cmp(other));
        let Some((best, _)) = best else { break };
        let (lift, metric, before) = helping.remove(best);
        if let Some(answer) = made.side(&lift.name()).and_then(|side| made.of(side, &metric)) {
            let proof = Proof::of(&made, &metric, answer, Some(before));
            printer.say(&format!("kept: {}: {}", lift.name(), proof.line()));
            outcome.keep(&lift, proof);
        }
        left = helping.into_iter().map(|(lift, _, before)| (lift, before)).collect();
    }
    Ok(())
}

/// What is named, wanted and not settled.
fn candidates(bench: &Bench<'_>, outcome: &mut Outcome, last: &Record) -> Vec<Lift> {
    let Some((host, plan)) = last.host.as_ref().zip(last.plan.as_ref()) else { return Vec::new() };
    let named = for_speed(&bench.asked.plan, &host.limits, &plan_view(plan, &host.limits));
    let mut wanted = Vec::new();
    for lift in named {
        if outcome.knows(&lift) {
            continue;
        }
        if !bench.asked.wants(&lift.key) {
            outcome.do_not_try(lift, "--only leaves it out");
        } else if stands_in(last, &lift) {
            outcome.do_not_try(lift, "it is so already");
        } else {
            wanted.push(lift);
        }
    }
    wanted
}

/// Whether a run had this value anyway.
fn stands_in(last: &Record, lift: &Lift) -> bool {
    let applied = last.profile.applied.iter().find(|applied| applied.key == lift.key);
    if let Some(applied) = applied {
        return applied.after == lift.value;
    }
    if !lift.is_sysctl() {
        return false;
    }
    let fresh = c10k_kernel::namespace::fresh_values(&[lift.key.as_str()]);
    let present = fresh.and_then(|values| values.into_iter().next().flatten());
    present.is_some_and(|present| present.split_whitespace().eq(lift.value.split_whitespace()))
}

/// Those that can be tried here.
fn those_here(
    bench: &Bench<'_>,
    outcome: &mut Outcome,
    (name, metrics): (&str, &[String]),
    lifts: Vec<Lift>,
    printer: &mut Printer,
) -> Result<Vec<Lift>, Refusal> {
    if lifts.is_empty() {
        return Ok(lifts);
    }
    let cases: Vec<Case> = lifts.iter().map(Case::of).collect();
    let (kept, pairs) = (outcome.lifts(), bench.asked.pairs);
    let question = Question { name, title: title(), kept: &kept, cases: &cases, metrics, pairs };
    let not_here = bench.not_here(&question, printer)?;
    let mut here = Vec::new();
    for lift in lifts {
        match not_here.iter().find(|(case, _)| *case == lift.name()) {
            Some((_, why)) => outcome.do_not_try(lift, why.clone()),
            None => here.push(lift),
        }
    }
    Ok(here)
}

fn sweep(
    bench: &Bench<'_>,
    outcome: &Outcome,
    (name, metrics): (&str, &[String]),
    lifts: &[Lift],
    printer: &mut Printer,
) -> Result<Made, Refusal> {
    let cases: Vec<Case> = lifts.iter().map(Case::of).collect();
    let (kept, pairs) = (outcome.lifts(), bench.asked.pairs);
    bench.sweep(&Question { name, title: title(), kept: &kept, cases: &cases, metrics, pairs }, printer)
}

fn title() -> String {
    "What makes it faster?".to_owned()
}

/// The metric in which a setting helped most, where it harmed in none; else why it is not kept.
fn helped(made: &Made, lift: &Lift, metrics: &[String]) -> Result<String, String> {
    let side = made.side(&lift.name()).ok_or("not measured")?;
    let harmed = |metric: &&String| {
        made.of(side, metric).is_some_and(|answer| answer.found == c10k_report::stats::Found::Worse)
    };
    if let Some(harmed) = metrics.iter().find(harmed) {
        return Err(format!("{harmed}: {}", words(made, lift, harmed)));
    }
    let better = metrics.iter().filter(|metric| is_better(made, side, metric));
    let best = better.max_by(|one, other| gain(made, lift, one).total_cmp(&gain(made, lift, other)));
    best.cloned().ok_or_else(|| {
        let each: Vec<String> =
            metrics.iter().map(|metric| format!("{metric}: {}", words(made, lift, metric))).collect();
        each.join("; ")
    })
}

/// How far the ratio lies from 1, whichever way; 0 where there is none.
fn gain(made: &Made, lift: &Lift, metric: &str) -> f64 {
    let answer = made.side(&lift.name()).and_then(|side| made.of(side, metric));
    let ratio = answer.and_then(|answer| answer.ratio).map(|ratio| ratio.median.ln().abs());
    ratio.filter(|gain| gain.is_finite()).unwrap_or(0.0)
}

fn words(made: &Made, lift: &Lift, metric: &str) -> String {
    if control_moved(made, metric) {
        return "unproven: the setting that must not matter moved it too".to_owned();
    }
    let answer = made.side(&lift.name()).and_then(|side| made.of(side, metric));
    answer.map_or_else(|| "not measured".to_owned(), |answer| answer.words())
}

/// How many settings may be tried for speed, before a run: for the time that it takes.
pub(super) fn expected_candidates(bench: &Bench<'_>) -> usize {
    let host = c10k_collector::host_snapshot();
    let lifts = for_speed(&bench.asked.plan, &host, &plan_view(&bench.asked.plan, &host));
    lifts.iter().filter(|lift| bench.asked.wants(&lift.key)).count()
}

/// How many walls are foreseen below the goal.
pub(super) fn expected_walls(bench: &Bench<'_>) -> usize {
    let asked = bench.asked;
    let mut host = c10k_collector::host_snapshot();
    if asked.nofile.is_some() {
        (host.server_nofile, host.swarm_nofile) = (asked.nofile, asked.nofile);
    }
    (host.server_tables, host.swarm_tables) = (asked.tables, asked.tables);
    let walls = c10k_ceiling::predict(&host, &plan_view(&asked.plan, &host));
    walls.iter().filter(|wall| wall.connections < asked.plan.target).count()
}
