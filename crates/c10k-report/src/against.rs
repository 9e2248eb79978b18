//! Runs, or groups of runs, against a reference: what differs beside the figures, and what the figures prove.

mod tabled;
#[cfg(test)]
mod tests;
mod text;
mod wanted;

use c10k_record::{Record, RunState};

use crate::differences::{Difference, differences};
use crate::stats::{self, Answer, Asked, Doubt, Pair, PairSide};

pub use wanted::{Wanted, WantedError};

/// What the bootstrap's draws come from: the same runs give the same answer.
const SEED: u64 = 1;

/// Runs of one and the same thing.
#[derive(Clone, Debug)]
pub struct Group {
    /// A letter.
    pub name: String,
    /// Its runs; at least one.
    pub runs: Vec<Record>,
}

impl Group {
    /// The runs that count: those that went their way to the end. A single run is shown as it is.
    fn counted(&self) -> impl Iterator<Item = &Record> {
        self.runs.iter().filter(|run| self.counts(run))
    }

    fn counts(&self, run: &Record) -> bool {
        self.runs.len() == 1 || run.state == RunState::Complete
    }
}

/// How groups are compared.
#[derive(Clone, Debug, Default)]
pub struct How {
    /// The place of the group that the others are compared with.
    pub reference: usize,
    /// In which metrics; in all that are known where none is named.
    pub wanted: Vec<Wanted>,
    /// A metric that what differs between the groups cannot change. Where it differs, nothing else is proven.
    pub control: Option<Wanted>,
    /// The place of a group that has the reference's setting: where it differs in a metric, nothing of that is proven.
    pub same: Option<usize>,
    /// The first run of a group belongs to the first of the reference, and so on.
    pub by_pairs: bool,
}

/// One metric of one group against the reference.
struct Row {
    /// The group, by its place.
    other: usize,
    wanted: Wanted,
    answer: Answer,
}

/// Groups of runs against one of them.
pub struct Against<'a> {
    groups: &'a [Group],
    /// The reference's place.
    reference: usize,
    same: Option<usize>,
    by_pairs: bool,
    differences: Vec<Difference>,
    rows: Vec<Row>,
}

impl<'a> Against<'a> {
    /// Compares each group with the reference.
    #[must_use]
    pub fn of(groups: &'a [Group], how: &How) -> Self {
        let runs: Vec<(&str, Vec<&Record>)> =
            groups.iter().map(|group| (group.name.as_str(), group.runs.iter().collect())).collect();
        let runs: Vec<(&str, &[&Record])> =
            runs.iter().map(|(name, runs)| (*name, runs.as_slice())).collect();
        let differences = differences(&runs);
        let mut wanted = if how.wanted.is_empty() { known(groups) } else { how.wanted.clone() };
        wanted.extend(how.control.clone().filter(|control| !wanted.contains(control)));
        let mut rows = Vec::new();
        for other in (0..groups.len()).filter(|other| *other != how.reference) {
            let judged = |wanted: &Wanted, other: usize| {
                judged(&groups[how.reference], &groups[other], wanted, how.by_pairs)
            };
            let control = how.control.as_ref();
            let moved =
                control.and_then(|control| judged(control, other).doubt_as_control(&control.to_string()));
            rows.extend(wanted.iter().map(|wanted| {
                let mut answer = judged(wanted, other);
                if how.same != Some(other) && control != Some(wanted) {
                    let differs = how.same.and_then(|same| judged(wanted, same).doubt_as_same());
                    let doubts: Vec<Doubt> = moved.iter().cloned().chain(differs).collect();
                    answer = answer.under(&doubts);
                }
                Row { other, wanted: wanted.clone(), answer }
            }));
        }
        Self { groups, reference: how.reference, same: how.same, by_pairs: how.by_pairs, differences, rows }
    }

    /// Whether a single run stands on each side of every comparison.
    fn is_of_single_runs(&self) -> bool {
        self.groups.iter().all(|group| group.runs.len() == 1)
    }

    /// What a reader should know before the figures.
    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        for group in self.groups {
            for run in group.runs.iter().filter(|run| run.state != RunState::Complete) {
                let what = if group.counts(run) { "careful with" } else { "left out of" };
                notes.push(format!("{what} {}: {} {}", group.name, run.run_id, ending(run)));
            }
            let short = group.counted().filter(|run| run.connections.held < run.connections.target).count();
            let all = group.counted().count();
            if group.runs.len() > 1 && short > 0 {
                notes.push(format!(
                    "{}: {short} of {all} runs held fewer than their target, so that their rates and latencies are of \
                     fewer connections",
                    group.name
                ));
            }
        }
        notes.extend(self.groups.iter().enumerate().filter_map(|(other, group)| {
            let reference = &self.groups[self.reference];
            let is_apart = other != self.reference && !self.by_pairs && group.runs.len() > 1;
            let (first, last) = in_one_go(reference, group).filter(|_| is_apart)?;
            Some(format!(
                "all runs of {first} began before those of {last}: where the machine has changed meanwhile, that looks the \
                 same as a difference"
            ))
        }));
        notes
    }
}

/// The metrics that a comparison has by default and that some run knows, and of which some run has seen any.
fn known(groups: &[Group]) -> Vec<Wanted> {
    let is_seen = |wanted: &Wanted| {
        groups
            .iter()
            .flat_map(|group| &group.runs)
            .any(|run| wanted.of(run).is_some_and(|value| value != 0.0))
    };
    Wanted::defaults().filter(is_seen).collect()
}

/// What two groups prove of one metric.
fn judged(a: &Group, b: &Group, wanted: &Wanted, by_pairs: bool) -> Answer {
    let asked = Asked::of(wanted.metric(), SEED);
    if !by_pairs {
        let values =
            |group: &Group| -> Vec<f64> { group.counted().filter_map(|run| wanted.of(run)).collect() };
        return stats::groups(&values(a), &values(b), asked);
    }
    let both = a.runs.iter().zip(&b.runs).filter(|(one, other)| a.counts(one) && b.counts(other));
    let pairs: Vec<Pair> = both
        .filter_map(|(one, other)| {
            // RFC 3339 in UTC: the order of the text is that of time.
            let first = if one.started_at <= other.started_at { PairSide::A } else { PairSide::B };
            Some(Pair::new(wanted.of(one)?, wanted.of(other)?, first))
        })
        .collect();
    stats::paired(&pairs, asked)
}

/// How a run ended that did not go its way to the end.
fn ending(run: &Record) -> String {
    let how = match run.state {
        RunState::Unfinished => "was never finished",
        RunState::Aborted => "was stopped early",
        RunState::Broken => "broke",
        RunState::Complete => "is complete",
    };
    run.ended_because.as_ref().map_or_else(|| how.to_owned(), |because| format!("{how}: {because}"))
}

/// Which of two groups had all of its runs begin before any of the other's did.
fn in_one_go<'a>(a: &'a Group, b: &'a Group) -> Option<(&'a str, &'a str)> {
    let begins = |group: &Group| {
        let times = || group.counted().map(|run| run.started_at.clone());
        times().min().zip(times().max())
    };
    let ((first_a, last_a), (first_b, last_b)) = (begins(a)?, begins(b)?);
    if last_a < first_b {
        Some((&a.name, &b.name))
    } else if last_b < first_a {
        Some((&b.name, &a.name))
    } else {
        None
    }
}
