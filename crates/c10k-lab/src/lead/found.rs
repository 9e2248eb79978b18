//! What a search has found, as find.json has it and as people hear it.

use std::path::Path;

use c10k_record::{Evidence, Protocol, Record, RunState, Verdict, Workload, human_count};
use serde::Serialize;

use crate::lead::sizes::{Search, Tried, Vary};

/// The file in the folder of the run.
pub(crate) const FOUND: &str = "find.json";

/// What was found. It is written after each try, so that one that is killed leaves what it tried.
#[derive(Debug, Serialize)]
pub(crate) struct Found<'a> {
    /// `unfinished` until the record is written.
    state: RunState,
    vary: Vary,
    workload: Workload,
    protocol: Protocol,
    /// No more than these were to be tried: connections, or so many a second.
    most: u64,
    /// The most connections at which the verdicts held; null where no search came to its end, and where a rate is varied.
    connections: Option<Range>,
    /// The most messages or exchanges a second at which they held, where a rate is varied.
    per_second: Option<Range>,
    /// Connections on which that was, where a rate is varied.
    on_connections: Option<u64>,
    /// The most by each search.
    searches: &'a [u64],
    /// The least at which one did not hold; null where they held to the last.
    beyond: Option<Beyond>,
    /// Every try in its order.
    tried: &'a [Tried],
    /// Why it ended.
    ended_because: Option<String>,
    /// Where the record is.
    folder: &'a Path,
}

/// What several searches came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Range {
    /// Of an even number of searches the lower one of the two in the middle.
    pub(crate) median: u64,
    lowest: u64,
    highest: u64,
}

/// The least that does not hold.
#[derive(Debug, Serialize)]
struct Beyond {
    connections: u64,
    per_second: Option<u64>,
    /// The first verdict that did not hold there.
    verdict: Option<String>,
    /// What stopped it; `unknown` where nothing proves a wall, null where the verdict held when that was tried again.
    wall: Option<String>,
    evidence: Vec<Evidence>,
    /// Whether the swarm itself was late there: what the server would do beyond it is not proven then.
    swarm_was_late: bool,
}

impl Range {
    fn of(searches: &[u64]) -> Option<Self> {
        let mut sorted = searches.to_vec();
        sorted.sort_unstable();
        let (lowest, highest) = (*sorted.first()?, *sorted.last()?);
        Some(Self { median: sorted[(sorted.len() - 1) / 2], lowest, highest })
    }
}

impl Beyond {
    fn of(record: &Record, search: &Search, value: u64) -> Self {
        let at_it = || search.tried.iter().filter(move |tried| tried.value() == value);
        let broken = at_it().flat_map(|tried| &tried.verdicts).find(|verdict| verdict.is_broken());
        let last = at_it().next_back();
        let swarm_was_late = last.is_some_and(|tried| tried.swarm_was_late && !tried.holds);
        let ceiling = record.ceiling.as_ref();
        let of_swarm = || swarm_was_late.then(|| "swarm-late".to_owned());
        Self {
            connections: last.map_or(record.connections.target, |tried| tried.connections),
            per_second: last.and_then(|tried| tried.per_second),
            verdict: broken.map(|verdict: &Verdict| verdict.expr.clone()),
            wall: ceiling.map(|ceiling| ceiling.wall.clone()).or_else(of_swarm),
            evidence: ceiling.map(|ceiling| ceiling.evidence.clone()).unwrap_or_default(),
            swarm_was_late,
        }
    }
}

impl<'a> Found<'a> {
    /// As far as it is known.
    pub(crate) fn of(record: &Record, search: &'a Search, folder: &'a Path) -> Self {
        let range = Range::of(&search.found);
        let varies_connections = search.vary == Vary::Connections;
        Self {
            state: record.state,
            vary: search.vary,
            workload: record.workload,
            protocol: record.protocol,
            most: search.most,
            connections: range.filter(|_| varies_connections),
            per_second: range.filter(|_| !varies_connections),
            on_connections: (!varies_connections).then_some(record.connections.target),
            searches: &search.found,
            beyond: search.beyond.map(|value| Beyond::of(record, search, value)),
            tried: &search.tried,
            ended_because: record.ended_because.clone(),
            folder,
        }
    }

    /// What the searches came to.
    pub(crate) fn range(&self) -> Option<Range> {
        self.connections.or(self.per_second)
    }

    /// For the file.
    pub(crate) fn document(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default()
    }

    /// In one line.
    pub(crate) fn line(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The last words, for people.
    pub(crate) fn told(&self) -> String {
        let folder = self.folder.display();
        let Some(Range { median, lowest, highest }) = self.range() else {
            let because = self.ended_because.as_deref().unwrap_or("the run came to no end");
            let most = self.tried.iter().filter(|tried| tried.holds).map(Tried::value).max();
            let most = self.vary.counted(most.unwrap_or(0));
            return format!("FIND: no search came to its end: {because}; {most} did\nrecord: {folder}");
        };
        let count = self.searches.len();
        let searches = if count == 1 { "search" } else { "searches" };
        let range = match lowest == highest {
            true => format!("{count} {searches}"),
            false => format!("{}-{} in {count} {searches}", human_count(lowest), human_count(highest)),
        };
        let on = self.on_connections.map_or_else(String::new, |connections| {
            format!(" on {}", Vary::Connections.counted(connections))
        });
        let rest = match &self.beyond {
            None => {
                let most = match self.vary {
                    Vary::Connections => human_count(self.most),
                    rate => rate.counted(self.most),
                };
                format!("all verdicts hold to the most that was asked for, {most}")
            }
            Some(beyond) => self.told_beyond(beyond),
        };
        format!("FIND: {}{on} ({range}); {rest}\nrecord: {folder}", self.vary.counted(median))
    }

    fn told_beyond(&self, beyond: &Beyond) -> String {
        let verdict = beyond.verdict.as_deref().unwrap_or("a verdict");
        let wall = match &beyond.wall {
            Some(wall) if beyond.swarm_was_late => format!("wall: {wall}; the swarm was late, unproven"),
            Some(wall) => format!("wall: {wall}"),
            None if self.tried.last().is_some_and(|last| last.holds) => {
                "no wall: it held when that was tried again".to_owned()
            }
            None => "nothing that was seen proves a wall".to_owned(),
        };
        format!("beyond it {verdict} does not hold ({wall})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_searches_give_a_range_and_the_one_in_the_middle() {
        assert_eq!(Range::of(&[]), None);
        let range = |median, lowest, highest| Some(Range { median, lowest, highest });
        assert_eq!(Range::of(&[12_400]), range(12_400, 12_400, 12_400));
        assert_eq!(Range::of(&[12_700, 12_100, 12_400]), range(12_400, 12_100, 12_700));
        assert_eq!(Range::of(&[4, 1, 3, 2]), range(2, 1, 4));
    }

    fn found(beyond: Option<Beyond>) -> Found<'static> {
        Found {
            state: RunState::Complete,
            vary: Vary::Connections,
            workload: Workload::Echo,
            protocol: Protocol::Raw,
            most: 20_000,
            connections: Range::of(&[12_700, 12_100, 12_400]),
            per_second: None,
            on_connections: None,
            searches: &[12_700, 12_100, 12_400],
            beyond,
            tried: &[],
            ended_because: None,
            folder: Path::new("results/x"),
        }
    }

    fn beyond() -> Option<Beyond> {
        Some(Beyond {
            connections: 12_600,
            per_second: None,
            verdict: Some("echo_p95 <= 100ms".to_owned()),
            wall: Some("cpu-server".to_owned()),
            evidence: Vec::new(),
            swarm_was_late: false,
        })
    }

    #[test]
    fn the_last_words_say_how_many_and_what_does_not_hold_beyond() {
        let mut found = found(beyond());
        let first = "FIND: 12,400 connections (12,100-12,700 in 3 searches); beyond it echo_p95 <= 100ms does not hold \
                     (wall: cpu-server)";
        assert_eq!(found.told().lines().next(), Some(first));
        (found.beyond, found.connections, found.searches) = (None, Range::of(&[20_000]), &[20_000]);
        let first =
            "FIND: 20,000 connections (1 search); all verdicts hold to the most that was asked for, 20,000";
        assert_eq!(found.told().lines().next(), Some(first));
    }

    #[test]
    fn of_a_rate_they_say_on_how_many_connections_and_where_the_swarm_was_late() {
        let mut found = found(beyond());
        (found.vary, found.per_second, found.connections) = (Vary::MessageRate, Range::of(&[50_000]), None);
        (found.on_connections, found.searches) = (Some(1000), &[50_000]);
        let last = found.beyond.as_mut().expect("what is beyond");
        (last.wall, last.swarm_was_late) = (Some("swarm-late".to_owned()), true);
        let first = "FIND: 50,000 messages/s on 1,000 connections (1 search); beyond it echo_p95 <= 100ms does not hold \
                     (wall: swarm-late; the swarm was late, unproven)";
        assert_eq!(found.told().lines().next(), Some(first));
        let last = found.beyond.as_mut().expect("what is beyond");
        (last.swarm_was_late, last.wall) = (false, None);
        let first = "FIND: 50,000 messages/s on 1,000 connections (1 search); beyond it echo_p95 <= 100ms does not hold \
                     (nothing that was seen proves a wall)";
        assert_eq!(found.told().lines().next(), Some(first));
    }
}
