//! What server and swarm say while they work, and what they can be told: JSON lines out, command lines in.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::metrics::LatencyFigures;
use crate::{Connections, Outcome, PhaseKind, PhaseName, Quantity, Record, ServerMode, ServerReport, Worked};

/// A line a server prints on stdout with `--events`.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum ServerEvent {
    /// It listens on all its addresses.
    Ready {
        /// Its process id.
        pid: u32,
        /// The addresses, with the ports the kernel chose.
        listen: Vec<SocketAddr>,
        /// What it does with bytes.
        mode: ServerMode,
        /// The backlog it asked listen(2) for; the kernel caps it at `net.core.somaxconn`.
        backlog: u32,
        /// Descriptors a worker's table may hold.
        descriptors_per_table: u64,
        /// Whether workers have descriptor tables of their own.
        own_tables: bool,
        /// Most connections it takes; `None` = no limit of its own.
        max_connections: Option<u64>,
    },
    /// How it stands, about once a second.
    Tick(ServerReport),
    /// How it stands, as the answer to `now`.
    Now(ServerReport),
    /// Its last word.
    Done(ServerReport),
}

/// A line a swarm prints on stdout with `--events`.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum SwarmEvent {
    /// Its plan stands and nothing has been connected yet.
    Ready {
        /// Its process id.
        pid: u32,
        /// How many connections its sources allow.
        capacity: u64,
        /// How many source addresses it uses.
        sources: u64,
        /// How many connections it will try.
        target: u64,
        /// Whether workers have descriptor tables of their own.
        #[serde(default)]
        own_tables: bool,
        /// Connections that one descriptor table takes beside what is open in it already; exact where all workers share
        /// one table.
        #[serde(default)]
        connections_per_table: u64,
    },
    /// A phase begins.
    Phase {
        /// Which.
        phase: PhaseName,
        /// Milliseconds since the first connect.
        elapsed_ms: u64,
        /// The counts at that moment.
        counts: LiveCounts,
    },
    /// How it stands, a few times a second.
    Tick {
        /// The phase it is in.
        phase: PhaseName,
        /// Milliseconds since the first connect.
        elapsed_ms: u64,
        /// The counts.
        counts: LiveCounts,
        /// Those lost so far, by errno or name; empty where none are.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        lost: BTreeMap<Outcome, u64>,
        /// What the connections did since the last tick; `None` where there is no workload.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        work: Option<WorkTick>,
        /// What was measured from the first connect on; `None` where nothing was since the last tick.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        latencies: Option<Box<LatencyFigures>>,
    },
    /// How it stands, as the answer to `now`, in whatever phase it is.
    Now {
        /// The phase it is in.
        phase: PhaseName,
        /// Milliseconds since the first connect.
        elapsed_ms: u64,
        /// The counts.
        counts: LiveCounts,
    },
    /// Every connection has been proven once more (or not); sent after `verify` in commanded runs.
    Verified {
        /// Milliseconds since the first connect.
        elapsed_ms: u64,
        /// The counts of the record, final but for what the close adds.
        connections: Connections,
    },
    /// Work has ended that `work NAME` began.
    Worked {
        /// What came of it.
        worked: Box<Worked>,
    },
    /// Its last word: a document in the record's shape, null where a swarm cannot know.
    Done {
        /// The document.
        record: Box<Record>,
    },
}

/// A swarm's counts while it works, all of one moment for each worker.
///
/// attempted − (open + failed + released + closed) are those whose connect is under way: no more than `in_flight`.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveCounts {
    /// Connections begun.
    pub attempted: u64,
    /// `connect()` completed.
    pub established: u64,
    /// Echoed their first probe.
    pub verified: u64,
    /// Open and counted now.
    pub open: u64,
    /// Lost.
    pub failed: u64,
    /// Closed because a command asked for it.
    #[serde(default)]
    pub released: u64,
    /// Closed at the end of the run, proven or, where somebody stopped it, as they were.
    #[serde(default)]
    pub closed: u64,
    /// Connecting or waiting for an echo now.
    pub in_flight: u64,
    /// Echoes received, ever.
    pub messages: u64,
}

/// What a workload came to between two ticks.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WorkTick {
    /// What is done: it says what is counted here. Older programs do not say it.
    #[serde(default)]
    pub kind: Option<PhaseKind>,
    /// Messages answered right; for `churn` connections that were opened in the place of others.
    pub answered: u64,
    /// The same, a second.
    pub messages_per_second: f64,
    /// Median of the response, µs; `None` where nothing was answered.
    pub p50_us: Option<u64>,
    /// 99th percentile of the response, µs.
    pub p99_us: Option<u64>,
}

/// A command, one line on stdin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// `grow N`: N more connections.
    Grow(u64),
    /// `shrink N`: close N connections.
    Shrink(u64),
    /// `pace N/s`: from now on so many connects a second; `pace none`: as fast as those under way allow.
    Pace(Option<u64>),
    /// `verify`: prove every connection once more.
    Verify,
    /// `work NAME`: do the work of this name, a phase of the plan or the workload, for its time.
    /// `work NAME N/s`: the same with so many a second on all connections together, of messages or of exchanges.
    Work {
        /// The phase's name, or the workload's.
        name: String,
        /// So many a second; `None` = as the plan says.
        per_second: Option<u64>,
    },
    /// `stop`: prove what is not proven, close, say the last word, end.
    Stop,
    /// `abort`: close all at once by RST, say the last word, end. Nothing is proven any more.
    Abort,
    /// `now`: say at once how it stands, whatever else is going on.
    Now,
}

impl FromStr for Command {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, Self::Err> {
        let bad = || {
            format!(
                "'{line}' is not a command: expected grow N, shrink N, pace N/s, verify, work NAME, work NAME N/s, stop, \
                 abort or now"
            )
        };
        let rate = |text: &str| {
            let number = text.strip_suffix("/s").unwrap_or(text).parse::<Quantity>().ok();
            number.map(|Quantity(rate)| rate).filter(|rate| *rate > 0).ok_or_else(bad)
        };
        let mut words = line.split_whitespace();
        let command = match (words.next(), words.next()) {
            (Some("grow"), Some(n)) => Self::Grow(n.parse::<Quantity>().map_err(|_| bad())?.0),
            (Some("shrink"), Some(n)) => Self::Shrink(n.parse::<Quantity>().map_err(|_| bad())?.0),
            (Some("pace"), Some("none")) => Self::Pace(None),
            (Some("pace"), Some(text)) => Self::Pace(Some(rate(text)?)),
            (Some("verify"), None) => Self::Verify,
            (Some("work"), Some(name)) => {
                Self::Work { name: name.to_owned(), per_second: words.next().map(rate).transpose()? }
            }
            (Some("stop"), None) => Self::Stop,
            (Some("abort"), None) => Self::Abort,
            (Some("now"), None) => Self::Now,
            _ => return Err(bad()),
        };
        if words.next().is_some() { Err(bad()) } else { Ok(command) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_read_from_their_line() {
        assert_eq!("grow 5k".parse(), Ok(Command::Grow(5000)));
        assert_eq!(" stop ".parse(), Ok(Command::Stop));
        assert_eq!("abort".parse(), Ok(Command::Abort));
        assert_eq!("now".parse(), Ok(Command::Now));
        assert_eq!("pace 2k/s".parse(), Ok(Command::Pace(Some(2000))));
        assert_eq!("pace none".parse(), Ok(Command::Pace(None)));
        assert!("pace 0/s".parse::<Command>().is_err() && "pace fast".parse::<Command>().is_err());
        let work = |per_second| Ok(Command::Work { name: "echo".to_owned(), per_second });
        assert_eq!("work echo".parse(), work(None));
        assert_eq!("work echo 5k/s".parse(), work(Some(5000)));
        for line in [
            "",
            "work",
            "work a b",
            "work echo 0/s",
            "work echo 5/s now",
            "grow",
            "grow x",
            "verify now",
            "halt",
        ] {
            assert!(line.parse::<Command>().is_err(), "{line}");
        }
    }

    #[test]
    fn an_event_reads_back_as_it_was_written() {
        let tick = SwarmEvent::Tick {
            phase: PhaseName::Hold,
            elapsed_ms: 5,
            counts: LiveCounts { open: 3, ..LiveCounts::default() },
            lost: BTreeMap::from([(Outcome::connect_timeout(), 2)]),
            work: Some(WorkTick {
                kind: Some(PhaseKind::Churn),
                answered: 5,
                messages_per_second: 20.0,
                p50_us: Some(80),
                p99_us: None,
            }),
            latencies: None,
        };
        let line = serde_json::to_string(&tick).expect("plain data");
        assert!(line.contains("\"event\":\"tick\"") && line.contains("\"phase\":\"hold\""), "{line}");
        assert_eq!(serde_json::from_str::<SwarmEvent>(&line).expect("what we wrote"), tick);
    }
}
