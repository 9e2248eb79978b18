//! A swarm's document as people read it.

use c10k_record::{Evidence, LatencySummary, Outcome, Predicted, Record, RunResult, RunState, human_count};

/// The end of a run in a few lines: the verdict first, then the counts, then what was lost.
pub(crate) fn words(record: &Record) -> String {
    let c = &record.connections;
    let mut lines = Vec::new();
    let word = c.word_for_held();
    let held = format!("{word} {} of {} connections", human_count(c.held), human_count(c.target));
    lines.push(match record.result() {
        RunResult::Done => format!("{word}: {held}"),
        RunResult::VerdictBroken => format!("{}, but a verdict does not hold: {held}", word.to_uppercase()),
        RunResult::Short => format!("SHORT: {held}"),
        RunResult::Aborted => record.stopped_in_words(),
        RunResult::Broken | RunResult::Unfinished => format!("BROKEN: {held}"),
    });
    if !c.is_confirmed() && c.held > 0 {
        lines.push(
            "the server's end cannot be seen from here: whether the server has them is not known".to_owned(),
        );
    }
    if let Some(why) = record.ended_because.as_ref().filter(|_| record.state != RunState::Aborted) {
        lines.push(why.clone());
    }
    let verified = c.verified.map_or_else(|| "unknown (no probes)".to_owned(), human_count);
    let at_server =
        c.at_server.map_or_else(String::new, |seen| format!(", at the server's end {}", human_count(seen)));
    lines.push(format!(
        "attempted {}, established {}, verified {verified}, {word} {}{at_server}",
        human_count(c.attempted),
        human_count(c.established),
        human_count(c.held)
    ));
    let stopped = Outcome::aborted();
    let is_lost = |outcome: &Outcome| record.state != RunState::Aborted || *outcome != stopped;
    for failure in record.failures.iter().filter(|failure| is_lost(&failure.outcome)) {
        lines.push(format!(
            "lost in {} from {:.2} s on: {} × {} ({})",
            failure.phase,
            failure.first_at_ms as f64 / 1000.0,
            human_count(failure.count),
            failure.outcome,
            failure.outcome.meaning()
        ));
    }
    if let Some(mean) = record.rate.connects_per_second.mean {
        let without =
            record.rate.connects_per_second.without_pauses.filter(|without| *without > mean * 1.001);
        let without = without.map_or_else(String::new, |without| {
            format!(", {} without the pauses between the steps", human_count(without as u64))
        });
        lines.push(format!("{} connections a second{without}", human_count(mean as u64)));
    }
    lines.extend(record.lateness_us.as_ref().and_then(lateness));
    if let Some(ceiling) = &record.ceiling {
        lines.push(format!("wall: {}", ceiling.wall));
        let could_be_met = |it: &&Predicted| ceiling.off_by.is_some() || it.is_near(c.target);
        let predicted = ceiling.predicted.as_ref().filter(could_be_met);
        lines.extend(predicted.map(|predicted| foreseen(predicted, ceiling.off_by)));
        lines.extend(ceiling.evidence.iter().map(evidence_line));
        if let Some(remedy) = &ceiling.remedy {
            lines.push(format!("hint: {}", remedy.summary));
            lines.extend(remedy.commands.iter().map(|command| format!("  {command}")));
        }
    }
    for verdict in &record.verdicts {
        let value =
            verdict.value.map_or_else(|| "nothing measured".to_owned(), |value| format!("{value:.3}"));
        lines.push(match verdict.passed {
            Some(true) => format!("passed {} ({value})", verdict.expr),
            Some(false) => format!("FAILED {} ({value})", verdict.expr),
            None => format!("not evaluated: {}", verdict.expr),
        });
    }
    lines.join("\n")
}

/// By how much the swarm itself came late; nothing where nothing was begun.
fn lateness(late: &LatencySummary) -> Option<String> {
    let [half, most, longest] = [late.p50?, late.p95?, late.max?].map(human_count);
    Some(format!(
        "lateness: the swarm began its connects after they were due, by {half} µs (p50), {most} µs (p95), {longest} µs \
         (max)"
    ))
}

/// What was predicted before the first connect.
fn foreseen(predicted: &Predicted, off_by: Option<i64>) -> String {
    let met = match off_by {
        None => ", which was not met".to_owned(),
        Some(0) => ", exactly".to_owned(),
        Some(off) if off > 0 => format!(", {} more were held", human_count(off.unsigned_abs())),
        Some(off) => format!(", {} fewer were held", human_count(off.unsigned_abs())),
    };
    let about = match predicted.uncertainty_percent {
        0 => String::new(),
        percent => format!(" (± {percent} %)"),
    };
    format!("predicted: {}{about} by {}{met}", human_count(predicted.connections), predicted.wall)
}

/// What was looked at, from what to what, and what that means.
fn evidence_line(evidence: &Evidence) -> String {
    let value = match (evidence.before, evidence.after) {
        (Some(before), Some(after)) => format!(" {} → {}", human_count(before), human_count(after)),
        (before, after) => after.or(before).map_or_else(String::new, |n| format!(" {}", human_count(n))),
    };
    format!("  {}{value}: {}", evidence.source, evidence.text)
}

#[cfg(test)]
mod tests {
    use c10k_record::{Ceiling, Failure, Outcome, PhaseName, Protocol, Tool, Topology, Workload};

    use super::*;

    fn record() -> Record {
        let tool = Tool { name: "c10k-swarm".to_owned(), version: "0".to_owned() };
        let mut record =
            Record::begun(tool, "test".to_owned(), Topology::Loopback, Protocol::Raw, Workload::Hold);
        record.connections.target = 300;
        record
    }

    #[test]
    fn what_was_lost_is_told_with_when_that_began() {
        let mut record = record();
        let outcome = Outcome::errno(libc::ECONNRESET);
        record.failures = vec![Failure { phase: PhaseName::Hold, outcome, count: 40, first_at_ms: 4120 }];
        assert!(
            words(&record).contains("\nlost in hold from 4.12 s on: 40 × ECONNRESET ("),
            "{}",
            words(&record)
        );
    }

    #[test]
    fn a_wall_far_beyond_the_target_is_foreseen_in_silence() {
        let foreseen_at = |connections, off_by| {
            let mut record = record();
            record.ceiling = Some(Ceiling {
                connections: 0,
                wall: "unknown".to_owned(),
                walls: Vec::new(),
                hard: false,
                evidence: Vec::new(),
                degree: None,
                remedy: None,
                predicted: Some(Predicted { connections, wall: "memory".to_owned(), uncertainty_percent: 0 }),
                off_by,
            });
            words(&record)
        };
        assert!(foreseen_at(900, None).contains("predicted: 900 by memory"));
        assert!(!foreseen_at(28_232, None).contains("predicted"));
        assert!(foreseen_at(28_232, Some(-5)).contains("5 fewer were held"), "it was met");
    }
}
