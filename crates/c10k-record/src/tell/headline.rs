//! The first line: whether the target was held, and what stopped the run.

use crate::{Ceiling, Degree, InShards, Record, RunResult, Tone, WallFound, human_count};

/// Behind a headline on connections of which only the client's end is known.
const NOT_SEEN: &str = "; the server's end was not seen";

/// Whether the target was held, in one line, and how that line is meant.
#[must_use]
pub fn headline(record: &Record) -> (Tone, String) {
    let c = &record.connections;
    let word = c.word_for_held();
    let shards = record.shards.as_ref().map(InShards::in_words);
    let by = shards.as_ref().map_or_else(String::new, |by| format!(" {by}"));
    let held = format!("{word} {} of {}{by}", human_count(c.held), human_count(c.target));
    let unit = if shards.is_some() { "" } else { connections(c.target) };
    let because = record.ended_because.as_deref().map_or_else(String::new, |why| format!("; {why}"));
    let wall = record.ceiling.as_ref().map_or_else(|| "; no wall was named".to_owned(), wall);
    let met = || if record.ceiling.is_some() { wall.as_str() } else { "" };
    match record.result() {
        RunResult::Unfinished => {
            let seen = human_count(c.established);
            let of = human_count(c.target);
            let text = "UNFINISHED: still going on, or its writer was killed; when last seen";
            let open = c.open.map_or_else(String::new, |open| format!(" and {} open", human_count(open)));
            (Tone::Bad, format!("{text}, {seen} of {of} were established{open}{because}"))
        }
        RunResult::Aborted if c.open.is_some() => (Tone::Bad, record.stopped_in_words()),
        // A record from before the open ones were told.
        RunResult::Aborted => (Tone::Bad, format!("ABORTED: {held}{because}")),
        RunResult::Broken => (Tone::Bad, format!("BROKEN: {held}{because}{}", met())),
        RunResult::Short => (Tone::Bad, format!("SHORT: {held}{because}{wall}")),
        RunResult::VerdictBroken => {
            let all = record.verdicts.len();
            let broken = record.verdicts.iter().filter(|verdict| verdict.is_broken()).count();
            let unjudged = record.verdicts.iter().filter(|verdict| verdict.passed.is_none()).count();
            let held = loudly(&held, word);
            let do_not = if broken == 1 { "does not hold" } else { "do not hold" };
            let but = match (broken, unjudged) {
                (0, _) => format!("{unjudged} of {all} verdicts could not be judged"),
                (_, 0) => format!("{broken} of {all} verdicts {do_not}"),
                _ => format!("{broken} of {all} verdicts {do_not} and {unjudged} could not be judged"),
            };
            (Tone::Bad, format!("{held}{unit}, but {but}{}", met()))
        }
        RunResult::Done => {
            // Fewer than the target where the plan asks for no more.
            let asked = record.own_word_on_held().filter(|_| !record.reached_its_target());
            let asked = asked.map_or_else(String::new, |verdict| format!(", and `{}` holds", verdict.expr));
            // A wall that cost no connection, or none that was asked for.
            let at_client = if c.is_confirmed() || c.held == 0 { "" } else { NOT_SEEN };
            let phases = through_phases(record);
            if c.target == 0 && !phases.is_empty() {
                return (Tone::Good, format!("DONE{phases}, and none is left{}", met()));
            }
            let lost = record.shards.as_ref().and_then(InShards::lost_in_words);
            let lost = lost.map_or_else(String::new, |lost| format!("; {lost}"));
            let (held, warned) = (loudly(&held, word), only_warned(record));
            (Tone::Good, format!("{held}{unit}{phases}{at_client}{asked}{lost}{warned}{}", met()))
        }
    }
}

/// How many phases a plan led through, and how many were open at the most.
fn through_phases(record: &Record) -> String {
    let phases = &record.named_phases;
    let Some(most) = phases.iter().map(|phase| phase.open).max() else { return String::new() };
    let s = if phases.len() == 1 { "" } else { "s" };
    format!(" after {} phase{s} with {} open at the most", phases.len(), human_count(most))
}

/// How many verdicts do not hold and only warn.
fn only_warned(record: &Record) -> String {
    let (warn, all) =
        (record.verdicts.iter().filter(|verdict| verdict.warns()).count(), record.verdicts.len());
    let warns = if warn == 1 { "warns" } else { "warn" };
    if warn == 0 { String::new() } else { format!("; {warn} of {all} verdicts only {warns}") }
}

fn connections(count: u64) -> &'static str {
    if count == 1 { " connection" } else { " connections" }
}

/// The first wall with how sure it is, and those that came after it.
fn wall(ceiling: &Ceiling) -> String {
    let Some((first, others)) = ceiling.walls.split_first() else {
        return format!("; wall: {}", ceiling.wall);
    };
    let others: String = others.iter().map(|wall| format!(", then {}", wall.name)).collect();
    format!("; wall: {}{}{others}", ceiling.wall, degree(first))
}

/// How sure a wall is, in parentheses; nothing of a record that does not say it.
pub(super) fn degree(wall: &WallFound) -> &'static str {
    match wall.degree {
        Some(Degree::Proven) => " (proven)",
        Some(Degree::Likely) => " (likely)",
        Some(Degree::Unknown) => " (unknown)",
        None => "",
    }
}

/// The counts of a headline with their word in capitals.
fn loudly(counts: &str, word: &str) -> String {
    counts.replacen(word, &word.to_uppercase(), 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{NamedPhase, PhaseKind, RunState};

    #[test]
    fn a_run_in_shards_says_how_many_of_them_held_and_which_were_lost() {
        let mut record = crate::record::sample_record();
        record.end(RunState::Complete);
        (record.connections.target, record.connections.held) = (30_000, 30_000);
        record.connections.verified = Some(30_000);
        record.shards = Some(InShards { of: 3, counted: 3, attempt: 1, ..InShards::default() });
        assert_eq!(headline(&record).1, "HELD 30,000 of 30,000 by 3 of 3 shards");
        let lost = vec![crate::LostPart { shard: 2, why: "it left no result".to_owned() }];
        let shards = InShards { of: 3, counted: 2, attempt: 1, lost, ..InShards::default() };
        record.ended_because = shards.lost_in_words();
        record.shards = Some(shards);
        record.connections.held = 20_000;
        let short = "SHORT: held 20,000 of 30,000 by 2 of 3 shards; shard 2/3 was lost: it left no result; no wall was named";
        assert_eq!(headline(&record).1, short);
        record.verdicts = crate::judge(&["held >= 60%".parse().expect("a condition")], &record);
        let told = headline(&record).1;
        assert!(
            told.starts_with("HELD 20,000 of 30,000 by 2 of 3 shards, and `held >= 60%` holds; shard 2/3"),
            "{told}"
        );
    }

    #[test]
    fn a_run_through_phases_that_leave_nobody_says_how_many_were_there() {
        let mut record = crate::record::sample_record();
        record.end(RunState::Complete);
        let phase = |name: &str, kind, open| NamedPhase {
            name: name.to_owned(),
            kind,
            from_ms: 0,
            to_ms: 1,
            target: None,
            arrivals_planned: 0,
            arrivals: 0,
            failed: 0,
            open,
            connects_per_second: None,
            server_cores: None,
            swarm_cores: None,
        };
        record.named_phases = vec![phase("come", PhaseKind::Ramp, 2000), phase("leave", PhaseKind::Drain, 0)];
        assert_eq!(headline(&record).1, "DONE after 2 phases with 2,000 open at the most, and none is left");
        (record.connections.target, record.connections.held) = (7, 7);
        record.connections.verified = Some(7);
        let (_, text) = headline(&record);
        assert!(text.starts_with("HELD 7 of 7 connections"), "{text}");
        assert!(text.ends_with("after 2 phases with 2,000 open at the most"), "{text}");
    }
}
