//! What server and swarm say while they work, and what they can be told: JSON lines out, command lines in.

use std::net::SocketAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Connections, PhaseName, Quantity, Record, ServerMode, ServerReport};

/// A line a server prints on stdout with `--events`.
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
    /// Its last word: a document in the record's shape, null where a swarm cannot know.
    Done {
        /// The document.
        record: Box<Record>,
    },
}

/// A swarm's counts while it works, all of one moment for each worker.
///
/// attempted − (open + failed + released + closed) are those whose connect is under way: no more than `in_flight`.
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

/// A command, one line on stdin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// `grow N`: N more connections.
    Grow(u64),
    /// `shrink N`: close N connections.
    Shrink(u64),
    /// `verify`: prove every connection once more.
    Verify,
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
        let bad =
            || format!("'{line}' is not a command: expected grow N, shrink N, verify, stop, abort or now");
        let mut words = line.split_whitespace();
        let command = match (words.next(), words.next()) {
            (Some("grow"), Some(n)) => Self::Grow(n.parse::<Quantity>().map_err(|_| bad())?.0),
            (Some("shrink"), Some(n)) => Self::Shrink(n.parse::<Quantity>().map_err(|_| bad())?.0),
            (Some("verify"), None) => Self::Verify,
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
        for line in ["", "grow", "grow x", "verify now", "halt"] {
            assert!(line.parse::<Command>().is_err(), "{line}");
        }
    }

    #[test]
    fn an_event_reads_back_as_it_was_written() {
        let tick = SwarmEvent::Tick {
            phase: PhaseName::Hold,
            elapsed_ms: 5,
            counts: LiveCounts { open: 3, ..LiveCounts::default() },
        };
        let line = serde_json::to_string(&tick).expect("plain data");
        assert!(line.contains("\"event\":\"tick\"") && line.contains("\"phase\":\"hold\""), "{line}");
        assert_eq!(serde_json::from_str::<SwarmEvent>(&line).expect("what we wrote"), tick);
    }
}
