//! A meeting: the shards of one run come together at a control port, start at one time, wait for each other where the
//! plan has them wait, and hear who is lost.
//!
//! The types are what travels, and [`Meetings`] is the port's end of it: a state machine that has neither a clock nor a
//! socket. Times are passed in.
//!
//! # Who is there
//! A shard joins with its number, how many there are, its build and its plan. The first one that comes decides what the
//! others have to agree with. The start is given when all are there, once, and never without one of them. While a
//! measurement goes on nobody joins it.
//!
//! # Who is lost
//! A shard beats once a second. One that was silent for [`SILENCE`], or that says that it broke, is lost, and stays so.
//! Silence is counted by the port's monotonic clock, and not over a time in which the port itself did not run.
//!
//! # Gates
//! The places at which shards wait for each other are numbered from 1, and the same for all, since the plan is. Each
//! says the number of the last gate that it has come to. A gate opens once all that are not lost have come to it, and the
//! port has had a moment to look. The last gate stands between the proof and the close: there all that are not lost hold, and have proven, what they have.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Build;
use crate::shard::Shard;
use crate::{HostSnapshot, PhaseName};

mod meeting;
mod meetings;
mod member;
#[cfg(test)]
mod port;
mod refusal;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod walk;
mod words;

pub use meetings::Meetings;
pub use words::shards_in_words;

/// A shard that was silent for so long is lost.
pub const SILENCE: Duration = Duration::from_secs(3);
/// From the moment at which all are there to the start: so long that each hears of it, or is lost.
pub const LEAD: Duration = Duration::from_secs(3);
/// Shards of one run, at most.
pub const MOST_SHARDS: u32 = 1024;

/// A moment at the control port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Of a clock that never jumps, since any moment.
    pub mono: Duration,
    /// Of the wall clock, ns since 1970.
    pub unix_ns: u64,
}

/// What is done about a lost shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnLost {
    /// The run ends everywhere.
    #[default]
    Fail,
    /// The others go on, and the result says how many they were.
    Degrade,
}

impl std::str::FromStr for OnLost {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "fail" => Ok(Self::Fail),
            "degrade" => Ok(Self::Degrade),
            _ => Err(format!("'{text}' says not what is done about a lost shard: expected fail or degrade")),
        }
    }
}

impl std::fmt::Display for OnLost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Fail => "fail",
            Self::Degrade => "degrade",
        })
    }
}

/// Where a shard's process is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardProcess {
    /// Name of the host, `uname -n`.
    pub host: String,
    /// Its pid there.
    pub pid: u32,
    /// The kernel's random id of its boot.
    #[serde(default)]
    pub boot_id: Option<String>,
    /// The engine's job, where its environment names one: `slurm 4711.0`.
    #[serde(default)]
    pub job: Option<String>,
}

/// `POST /v1/meet/RUN/join`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Join {
    /// Its number, from 1.
    pub shard: u32,
    /// How many there are.
    pub of: u32,
    /// Differs from process to process, so that a request that is repeated is told from a second process.
    pub attempt_token: String,
    /// The build of its program.
    pub build: Build,
    /// The same for all shards of one plan, and for those of another plan a different one.
    pub plan: String,
    /// How many gates that plan has.
    pub gates: u32,
    /// What is to be done about a lost shard.
    pub on_lost: OnLost,
    /// How long it waits for the others, ms.
    pub timeout_ms: u64,
    /// Where it is.
    pub client: ShardProcess,
    /// The limits there.
    #[serde(default)]
    pub limits: HostSnapshot,
    /// The port's wall clock less the shard's, ns, as measured.
    #[serde(default)]
    pub offset_ns: Option<i64>,
    /// The shortest round trip of those measurements, ns: the offset is true to half of it.
    #[serde(default)]
    pub round_trip_ns: Option<u64>,
}

/// The answer to [`Join`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Joined {
    /// The meeting, unlike any other of this name.
    pub meeting: String,
    /// How manieth try of this shard this is, from 1.
    pub attempt: u32,
    /// The end of the last meeting of this name, in words.
    #[serde(default)]
    pub earlier: Option<String>,
}

/// `POST /v1/meet/RUN/beat`: every second, and more often where it waits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beat {
    /// The shard.
    pub shard: u32,
    /// Its [`Joined::attempt`].
    pub attempt: u32,
    /// Its [`Joined::meeting`].
    pub meeting: String,
    /// What it does; `None` before the start.
    #[serde(default)]
    pub phase: Option<PhaseName>,
    /// The last gate that it has come to; 0 before the first.
    #[serde(default)]
    pub gate: u32,
    /// Connections that are open.
    #[serde(default)]
    pub open: u64,
    /// Connections that were lost.
    #[serde(default)]
    pub failed: u64,
    /// When it began, by the port's clock as far as the shard knows it, ns since 1970.
    #[serde(default)]
    pub begun_unix_ns: Option<u64>,
    /// It takes no part any more, and why.
    #[serde(default)]
    pub broke: Option<String>,
}

/// A shard that was lost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LostShard {
    /// Its number.
    pub shard: u32,
    /// How that is known, in words: `nothing was heard of it for 3 s`.
    pub why: String,
    /// When it was found, by the port's wall clock, ns since 1970.
    pub at_unix_ns: u64,
}

/// How a meeting stands: the answer to a beat, and to `GET /v1/meet/RUN/state`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum MeetState {
    /// Not all are there.
    Waiting {
        /// Those who are not.
        missing: Vec<u32>,
        /// How long they are waited for, ms.
        left_ms: u64,
    },
    /// All are there, and begin at this time.
    Start {
        /// By the port's wall clock, ns since 1970.
        at_unix_ns: u64,
        /// From this answer on, ns.
        in_ns: u64,
    },
    /// They have begun.
    Going {
        /// The last gate that is open.
        gate: u32,
        /// Those who were lost.
        lost: Vec<LostShard>,
    },
    /// It ended for all before its end.
    Failed {
        /// In words, with the shards' names.
        why: String,
        /// Those who did not come, or were lost.
        shards: Vec<u32>,
    },
    /// The one that asks takes no part in it any more.
    Out {
        /// In words.
        why: String,
    },
    /// All that were not lost have brought their results.
    Over {
        /// Those who were lost.
        lost: Vec<LostShard>,
    },
}

/// What of a result the meeting has to know: whose it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResultHead {
    /// The meeting's run.
    pub run_id: String,
    /// The shard.
    pub shard: Shard,
    /// Its attempt.
    pub attempt: u32,
    /// The meeting.
    #[serde(default)]
    pub meeting: Option<String>,
}

/// What happened in a meeting, in its order.
#[derive(Clone, Debug, PartialEq)]
pub enum MeetEvent {
    /// A shard has come.
    Came {
        /// Its run.
        run: String,
        /// Its number.
        shard: u32,
        /// How many there are to be.
        of: u32,
        /// Where it is.
        client: ShardProcess,
        /// Which try.
        attempt: u32,
        /// Those who are still missing.
        missing: Vec<u32>,
    },
    /// One that waited was heard no more, and its place is free again.
    Left {
        /// Its run.
        run: String,
        /// Its number.
        shard: u32,
        /// How many there are to be.
        of: u32,
    },
    /// One that wanted to come was refused.
    Refused {
        /// Its run.
        run: String,
        /// Its [`Join::attempt_token`].
        process: String,
        /// In words.
        why: String,
    },
    /// All are there.
    AllThere {
        /// Their run.
        run: String,
        /// The start, by the port's wall clock, ns since 1970.
        at_unix_ns: u64,
    },
    /// The time of the start has come.
    Begun {
        /// Their run.
        run: String,
        /// How many they are.
        of: u32,
    },
    /// All that are not lost have come to a gate. It opens when the port looks at the time next after this was taken: until
    /// then all hold still.
    AllAt {
        /// Their run.
        run: String,
        /// Which.
        gate: u32,
        /// The last one.
        gates: u32,
        /// Connections that they have open together.
        open: u64,
        /// Those of them whose other ends stand on the port's own kernel.
        open_here: u64,
    },
    /// A shard is lost.
    Lost {
        /// Its run.
        run: String,
        /// How many there were.
        of: u32,
        /// Which, and why.
        lost: LostShard,
        /// What is done about it.
        on_lost: OnLost,
    },
    /// It ends for all before its end.
    Failed {
        /// Its run.
        run: String,
        /// In words, with the shards' names.
        why: String,
    },
    /// Nothing more comes of it: its account can be written.
    Ended(Box<MeetingAccount>),
}

/// A meeting as it is written down at its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MeetingAccount {
    /// Its run.
    pub run_id: String,
    /// The meeting, unlike any other of this name.
    pub meeting: String,
    /// How many shards it was to have.
    pub of: u32,
    /// The build of the first that came; those of the others are like it.
    pub build: Build,
    /// What was to be done about a lost shard.
    pub on_lost: OnLost,
    /// When the first one came, by the port's wall clock, ns since 1970.
    pub opened_unix_ns: u64,
    /// The start; `None` where it never came to one.
    pub start_unix_ns: Option<u64>,
    /// Its end.
    pub ended_unix_ns: u64,
    /// Why it ended before its end, in words; `None` where it did not.
    pub failed: Option<String>,
    /// Those who were there, in the order of their numbers.
    pub shards: Vec<ShardAccount>,
    /// Those who were lost.
    pub lost: Vec<LostShard>,
    /// What the shards have brought, each as it came; not written here, since each has a file of its own.
    #[serde(skip)]
    pub results: Vec<(u32, String)>,
}

/// One shard of a meeting at its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardAccount {
    /// Its number.
    pub shard: u32,
    /// Which try.
    pub attempt: u32,
    /// Where it was.
    pub client: ShardProcess,
    /// The port's wall clock less the shard's, ns, as measured before it came.
    pub offset_ns: Option<i64>,
    /// The shortest round trip of those measurements, ns.
    pub round_trip_ns: Option<u64>,
    /// When it began, by the port's clock as far as the shard knows it, ns since 1970.
    pub begun_unix_ns: Option<u64>,
    /// Whether it has brought its result.
    pub has_result: bool,
}

/// A shard's own account of the meeting, for its result.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Met {
    /// Where the rendezvous was.
    pub rendezvous: String,
    /// The meeting, unlike any other of this name.
    pub meeting: String,
    /// Which try of this shard it was.
    pub attempt: u32,
    /// The start that was given, by the port's wall clock, ns since 1970.
    pub start_unix_ns: Option<u64>,
    /// How much later than that the shard began, µs.
    pub begun_late_us: Option<u64>,
    /// Those who were lost, as far as this shard has heard.
    pub lost: Vec<LostShard>,
    /// The rendezvous went away, and how that was seen.
    pub gone: Option<String>,
    /// Clocks that jumped, in words.
    pub jumped: Vec<String>,
}
