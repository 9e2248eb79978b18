//! What a search changes from try to try, what it has tried, and what came of each.

use c10k_record::{Condition, LatencyKind, Metric, Verdict, Worked, Workload, human_count, verdict_value};
use clap::ValueEnum;
use serde::Serialize;

/// Of what falls due just before the end of a try, so many may be left.
const LAST_FEW: u64 = 2;

/// What a search changes from one try to the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Vary {
    /// How many are connected.
    #[default]
    Connections,
    /// How many messages a second they send, all together.
    MessageRate,
    /// How many a second are closed, with others opened in their place.
    Churn,
}

impl Vary {
    /// Its name on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::MessageRate => "message-rate",
            Self::Churn => "churn",
        }
    }

    /// So many of it, in words.
    pub(crate) fn counted(self, value: u64) -> String {
        let unit = match (self, value) {
            (Self::Connections, 1) => "connection",
            (Self::Connections, _) => "connections",
            (Self::MessageRate, _) => "messages/s",
            (Self::Churn, _) => "exchanges/s",
        };
        format!("{} {unit}", human_count(value))
    }

    /// What is judged as well of such a rate where some of it was missed.
    pub(crate) fn is_reached(self, per_second: u64) -> Option<Condition> {
        let metric = match self {
            Self::Connections => return None,
            Self::MessageRate => Metric::MessagesPerSecond,
            Self::Churn => Metric::CyclesPerSecond,
        };
        // Rounded up: a try that missed too much has less.
        let least = (u128::from(per_second) * 99).div_ceil(100);
        format!("{metric} >= {least}").parse().ok()
    }

    /// Of what was due in the work of a try, how many were not done, where that is more than one in a hundred and than the
    /// last few before its end: at such a rate they are not exchanged, whatever the verdicts say of the others. No less was
    /// due than was asked for: a worker that has nobody for a moment intends nothing. `None` where connections are varied:
    /// the verdicts alone count.
    pub(crate) fn missed(self, worked: &Worked, asked: u64) -> Option<u64> {
        let (due, done) = match self {
            Self::Connections => return None,
            Self::MessageRate => (worked.messages_intended?, worked.messages_answered),
            Self::Churn => {
                let churn = worked.churn.as_ref()?;
                (churn.closed + churn.not_begun, churn.reopened)
            }
        };
        let due = due.max(asked);
        Some(due.saturating_sub(done)).filter(|missed| *missed > due / 100 + LAST_FEW)
    }
}

/// What is looked for, and what was found so far.
#[derive(Clone, Debug)]
pub(crate) struct Search {
    pub(crate) vary: Vary,
    /// No more than so much is tried: connections, or so many a second.
    pub(crate) most: u64,
    /// It begins with so much.
    pub(crate) first: u64,
    pub(crate) repeat: u32,
    pub(crate) tried: Vec<Tried>,
    /// The most that held, by each search that came to its end.
    pub(crate) found: Vec<u64>,
    /// The least that did not, in the last of them.
    pub(crate) beyond: Option<u64>,
}

impl Search {
    pub(crate) fn new(vary: Vary, (first, most): (u64, u64), repeat: u32) -> Self {
        Self { vary, most, first, repeat, tried: Vec::new(), found: Vec::new(), beyond: None }
    }

    /// What the record, which is one of the last try, is judged by beside the verdicts of the plan.
    pub(crate) fn of_last(&self) -> Option<Condition> {
        let last = self.tried.last().filter(|last| last.missed.is_some())?;
        self.vary.is_reached(last.per_second?)
    }
}

/// One size, or one rate.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Tried {
    /// In which search, from 1 on; null for the last of all, which is there for the diagnosis.
    pub(crate) search: Option<u32>,
    /// So many were to be open.
    pub(crate) connections: u64,
    /// So many messages or exchanges a second, on all of them together; null where connections are varied.
    pub(crate) per_second: Option<u64>,
    /// So many were open when the work was over.
    pub(crate) open: u64,
    /// Connections lost from the change to this size on.
    pub(crate) failed: u64,
    /// Whether no verdict broke that counts, and what was due was done.
    pub(crate) holds: bool,
    pub(crate) verdicts: Vec<Verdict>,
    /// Messages or exchanges that were due and not done, where those are more than one in a hundred.
    pub(crate) missed: Option<u64>,
    /// Whether the swarm's own lateness is what makes responses long: then this says nothing of the server.
    pub(crate) swarm_was_late: bool,
    /// What came of the work; null where nobody was open to do it.
    pub(crate) worked: Option<Worked>,
}

/// Whether it is known of each try under that workload, and not of the whole run alone.
pub(crate) fn is_known(metric: Metric, workload: Workload) -> bool {
    match metric {
        Metric::Held
        | Metric::Failed
        | Metric::MessagesPerSecond
        | Metric::CyclesPerSecond
        | Metric::Seen(_)
        | Metric::ServerCores
        | Metric::SwarmCores => true,
        Metric::Verified
        | Metric::Ghosts
        | Metric::Arrivals
        | Metric::ConnectsPerSecond
        | Metric::ServerTime
        | Metric::SwarmTime
        | Metric::Bytes(_) => false,
        Metric::Latency(kind, _) => match kind {
            LatencyKind::Echo | LatencyKind::Service | LatencyKind::Lateness => workload == Workload::Echo,
            LatencyKind::Connect
            | LatencyKind::ConnectResponse
            | LatencyKind::Handshake
            | LatencyKind::FirstEcho => false,
            _ => true,
        },
    }
}

impl Tried {
    /// What was varied in it.
    pub(crate) fn value(&self) -> u64 {
        self.per_second.unwrap_or(self.connections)
    }

    /// A line for people.
    pub(crate) fn told(&self, vary: Vary) -> String {
        let place = self.search.map_or_else(|| "beyond".to_owned(), |number| format!("search {number}"));
        let on = match self.per_second {
            Some(_) => format!(" on {}", Vary::Connections.counted(self.connections)),
            None => String::new(),
        };
        let word = if self.holds { "holds" } else { "does not hold" };
        let is_shown = |verdict: &&Verdict| self.holds || verdict.is_broken();
        let shown = self.verdicts.iter().filter(is_shown);
        let mut shown: Vec<String> =
            shown.map(|verdict| format!("{}: {}", verdict.expr, verdict_value(verdict))).collect();
        shown.extend(self.missed.map(|missed| format!("{} of what was due not done", human_count(missed))));
        if self.swarm_was_late && !self.holds {
            shown.push("the swarm was late, unproven".to_owned());
        }
        format!("{place}: {}{on}: {word} ({})", vary.counted(self.value()), shown.join("; "))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use c10k_record::{Churned, LatencySummary, PhaseKind, Protocol, Record, Tool, Topology};

    use super::*;

    /// A work of two seconds in which so many were intended and answered, or closed and opened again.
    pub(crate) fn worked(kind: PhaseKind, (due, done): (u64, u64)) -> Worked {
        let is_churn = kind == PhaseKind::Churn;
        let churn = Churned {
            closed: due,
            reopened: done,
            cycles_per_second: Some(done as f64 / 2.0),
            ..Churned::default()
        };
        Worked {
            name: kind.to_string(),
            kind,
            from_ms: 0,
            to_ms: 2000,
            connections: 10,
            messages_intended: (!is_churn).then_some(due),
            messages_sent: done,
            messages_answered: done,
            messages_not_sent_in_time: 0,
            messages_never_sent: due - done,
            messages_wrong: 0,
            messages_per_second: (!is_churn).then_some(done as f64 / 2.0),
            response_us: LatencySummary::default(),
            service_us: LatencySummary::default(),
            lateness_us: None,
            over_time: Vec::new(),
            churn: is_churn.then_some(churn),
            stream: None,
            fanout: None,
            server_cores: None,
            swarm_cores: None,
        }
    }

    /// A record of no work yet.
    pub(crate) fn record(workload: Workload) -> Record {
        let tool = Tool { name: "c10k-lab".to_owned(), version: "0".to_owned() };
        Record::begun(tool, "x".to_owned(), Topology::Loopback, Protocol::Raw, workload)
    }

    #[test]
    fn a_rate_that_was_missed_has_a_verdict_that_broke() {
        for (vary, kind) in [(Vary::MessageRate, PhaseKind::Echo), (Vary::Churn, PhaseKind::Churn)] {
            for per_second in (1..300).chain([12_345, 99_999]) {
                let due = per_second * 2;
                let first =
                    (0..=due).rev().find(|done| vary.missed(&worked(kind, (due, *done)), due).is_some());
                let Some(done) = first else { continue };
                let mut record = record(Workload::Echo);
                record.work.push(worked(kind, (due, done)));
                let verdict = vary.is_reached(per_second).expect("a condition").evaluate(&record);
                assert!(verdict.is_broken(), "{done} of {due}: {verdict:?}");
            }
        }
    }

    #[test]
    fn what_was_asked_for_was_due_also_where_nobody_was_there_to_intend_it() {
        let (echo, churn) = (PhaseKind::Echo, PhaseKind::Churn);
        assert_eq!(Vary::Churn.missed(&worked(churn, (40, 40)), 2000), Some(1960));
        assert_eq!(Vary::MessageRate.missed(&worked(echo, (40, 40)), 2000), Some(1960));
        assert_eq!(Vary::MessageRate.missed(&worked(echo, (2000, 1500)), 40), Some(500));
        assert_eq!(Vary::MessageRate.missed(&worked(echo, (1990, 1990)), 2000), None, "one in a hundred");
        assert_eq!(Vary::Churn.missed(&worked(churn, (3, 1)), 3), None, "the last few");
        assert_eq!(Vary::Connections.missed(&worked(echo, (2000, 0)), 0), None);
    }
}
