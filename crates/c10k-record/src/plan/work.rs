//! What the connections do while they are held, as data: `[work]` and `[[phase]]` of a plan.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Workload, within};
use crate::{Quantity, Span};

/// The workload's own numbers. Each is `None` where the workload's default counts, or has no use for it.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WorkPlan {
    /// Every held connection proves itself again once in each such interval; `None` = never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub beat: Option<Span>,
    /// `echo`, open loop: messages a second on each connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub messages_per_second: Option<f64>,
    /// `echo`, open loop: messages a second on all connections together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_rate_per_second: Option<f64>,
    /// `echo`, closed loop: messages in flight at one time, on all connections together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_flight_messages: Option<u32>,
    /// Bytes of a message of `echo` or `fanout`; a range is drawn from evenly, by the run's seed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload: Option<Payload>,
    /// `churn`: connections that are closed, and others opened in their place, a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub churn_per_second: Option<f64>,
    /// `churn`: which end closes first, and how.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub churn_close: Option<ChurnClose>,
    /// `stream`: bits a second that the server pushes to each connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bitrate: Option<BitRate>,
    /// `fanout`: from one message to the next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fanout_every: Option<Span>,
}

impl WorkPlan {
    /// `echo`: messages a second on each connection where nothing else is said.
    pub const MESSAGES_PER_SECOND: f64 = 1.0;
    /// `echo` and `fanout`: bytes of a message where nothing else is said.
    pub const PAYLOAD: Payload = Payload { min_bytes: 64, max_bytes: 64 };
    /// `churn`: exchanges a second where nothing else is said.
    pub const CHURN_PER_SECOND: f64 = 1000.0;
    /// `churn`: who closes first where nothing else is said.
    pub const CHURN_CLOSE: ChurnClose = ChurnClose::Client;
    /// `stream`: bits a second where nothing else is said.
    pub const BITRATE: BitRate = BitRate { bits_per_second: 500_000 };
    /// `fanout`: from one message to the next where nothing else is said.
    pub const FANOUT_EVERY: Span = Span::secs(1);
    /// Messages in flight at one time.
    pub const IN_FLIGHT_MESSAGES: RangeInclusive<u32> = 1..=10_000_000;
    /// A beat shorter than this is a workload of its own: `echo`.
    pub const SHORTEST_BEAT: Span = Span(std::time::Duration::from_millis(100));

    /// Whether the numbers are such that a swarm and a server take them.
    ///
    /// # Errors
    /// One line that names the key and what was expected.
    pub fn check(&self) -> Result<(), String> {
        for (key, rate) in [
            ("messages_per_second", self.messages_per_second),
            ("message_rate_per_second", self.message_rate_per_second),
            ("churn_per_second", self.churn_per_second),
        ] {
            if let Some(rate) = rate.filter(|rate| !rate.is_finite() || *rate <= 0.0) {
                return Err(format!("{key} = {rate}: expected a number above 0"));
            }
        }
        within("in_flight_messages", self.in_flight_messages.as_ref(), &Self::IN_FLIGHT_MESSAGES)?;
        let shortest = Self::SHORTEST_BEAT;
        for (key, span) in [("beat", self.beat), ("fanout_every", self.fanout_every)] {
            if let Some(span) = span.filter(|span| *span < shortest) {
                return Err(format!("{key} = {span}: expected at least {shortest}"));
            }
        }
        let loops = [
            ("messages_per_second", self.messages_per_second.is_some()),
            ("message_rate_per_second", self.message_rate_per_second.is_some()),
            ("in_flight_messages", self.in_flight_messages.is_some()),
        ];
        let given: Vec<&str> = loops.iter().filter(|(_, given)| *given).map(|(key, _)| *key).collect();
        if given.len() > 1 {
            return Err(format!("{} contradict each other: expected one of them", given.join(" and ")));
        }
        Ok(())
    }

    /// With what the workload does where nothing is said.
    #[must_use]
    pub fn filled(&self, workload: Workload) -> Self {
        let mut all = self.clone();
        match workload {
            Workload::Hold => {}
            Workload::Echo => {
                if all.message_rate_per_second.is_none() && all.in_flight_messages.is_none() {
                    all.messages_per_second.get_or_insert(Self::MESSAGES_PER_SECOND);
                }
                all.payload.get_or_insert(Self::PAYLOAD);
            }
            Workload::Churn => {
                all.churn_per_second.get_or_insert(Self::CHURN_PER_SECOND);
                all.churn_close.get_or_insert(Self::CHURN_CLOSE);
            }
            Workload::Stream => {
                all.bitrate.get_or_insert(Self::BITRATE);
            }
            Workload::Fanout => {
                all.fanout_every.get_or_insert(Self::FANOUT_EVERY);
                all.payload.get_or_insert(Self::PAYLOAD);
            }
        }
        all
    }

    /// What `over` says above what this says.
    #[must_use]
    pub fn with(&self, over: &Self) -> Self {
        // Of the three ways to say how many messages one replaces the others.
        let says_how_many = over.messages_per_second.is_some()
            || over.message_rate_per_second.is_some()
            || over.in_flight_messages.is_some();
        let below = if says_how_many { &Self::default() } else { self };
        Self {
            beat: over.beat.or(self.beat),
            messages_per_second: over.messages_per_second.or(below.messages_per_second),
            message_rate_per_second: over.message_rate_per_second.or(below.message_rate_per_second),
            in_flight_messages: over.in_flight_messages.or(below.in_flight_messages),
            payload: over.payload.or(self.payload),
            churn_per_second: over.churn_per_second.or(self.churn_per_second),
            churn_close: over.churn_close.or(self.churn_close),
            bitrate: over.bitrate.or(self.bitrate),
            fanout_every: over.fanout_every.or(self.fanout_every),
        }
    }
}

/// One phase of a plan that names its phases.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PhasePlan {
    /// What it is called in samples, plots, record and verdicts: letters, digits, `_` and `-`, once in a plan.
    pub name: String,
    /// What is done in it.
    pub kind: PhaseKind,
    /// Connections that are open when it ends (`ramp`, `drain`); `None` = the plan's target, or none for `drain`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<u64>,
    /// Connects, or closes, a second (`ramp`, `drain`); `None` = the plan's, or as fast as it goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_per_second: Option<f64>,
    /// How long it lasts; a `ramp` or `drain` without one ends when it is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<Span>,
    /// What is different from the plan's `[work]`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub work: WorkPlan,
}

impl PhasePlan {
    /// A phase that is called what is done in it, and differs in nothing from the plan.
    #[must_use]
    pub fn of(kind: PhaseKind) -> Self {
        Self {
            name: kind.to_string(),
            kind,
            target: None,
            rate_per_second: None,
            duration: None,
            work: WorkPlan::default(),
        }
    }
}

fn is_default(work: &WorkPlan) -> bool {
    *work == WorkPlan::default()
}

/// What is done in a phase.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PhaseKind {
    /// Connections are opened.
    Ramp,
    /// They are held, and say nothing but beats.
    Hold,
    /// Messages are echoed.
    Echo,
    /// Connections come and go.
    Churn,
    /// The server pushes at a bit rate.
    Stream,
    /// One message to every connection, again and again.
    Fanout,
    /// Connections are closed.
    Drain,
}

impl PhaseKind {
    /// The workload that does this; `None` where connections are opened or closed.
    #[must_use]
    pub fn workload(self) -> Option<Workload> {
        match self {
            Self::Ramp | Self::Drain => None,
            Self::Hold => Some(Workload::Hold),
            Self::Echo => Some(Workload::Echo),
            Self::Churn => Some(Workload::Churn),
            Self::Stream => Some(Workload::Stream),
            Self::Fanout => Some(Workload::Fanout),
        }
    }
}

impl From<Workload> for PhaseKind {
    fn from(workload: Workload) -> Self {
        match workload {
            Workload::Hold => Self::Hold,
            Workload::Echo => Self::Echo,
            Workload::Churn => Self::Churn,
            Workload::Stream => Self::Stream,
            Workload::Fanout => Self::Fanout,
        }
    }
}

/// Which end of a connection closes first in `churn`, and how.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChurnClose {
    /// The client, in good order: TIME_WAIT stays at its end and keeps the port.
    Client,
    /// The server, in good order: TIME_WAIT stays at its end.
    Server,
    /// The client, by RST: no TIME_WAIT.
    Rst,
}

/// Bytes of a message: `64`, `1KiB`, `32..1024`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payload {
    /// The least.
    pub min_bytes: u32,
    /// The most.
    pub max_bytes: u32,
}

impl Payload {
    /// A message has room for its number and what tells its connection, and is checked in a worker's one buffer.
    pub const BYTES: RangeInclusive<u32> = 8..=1 << 20;
}

impl FromStr for Payload {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || {
            format!(
                "'{text}' is not a size: expected bytes from 8 to 1MiB, or a range, such as 1KiB or 32..1024"
            )
        };
        let (min, max) = text.split_once("..").unwrap_or((text, text));
        let (min_bytes, max_bytes) = (bytes(min).ok_or_else(bad)?, bytes(max).ok_or_else(bad)?);
        let fits = Self::BYTES.contains(&min_bytes) && Self::BYTES.contains(&max_bytes);
        if fits && min_bytes <= max_bytes { Ok(Self { min_bytes, max_bytes }) } else { Err(bad()) }
    }
}

/// `1024`, `1KiB`, `64k` (1,000 each), `1MiB`.
fn bytes(text: &str) -> Option<u32> {
    let text = text.trim();
    let of_1024 = [("KiB", 1_u64 << 10), ("MiB", 1 << 20)];
    let (number, scale) = of_1024
        .into_iter()
        .find_map(|(unit, scale)| Some((text.strip_suffix(unit)?, scale)))
        .unwrap_or((text.strip_suffix('B').unwrap_or(text), 1));
    let Quantity(number) = number.trim().parse().ok()?;
    u32::try_from(number.checked_mul(scale)?).ok()
}

impl fmt::Display for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { min_bytes, max_bytes } = self;
        if min_bytes == max_bytes { write!(f, "{min_bytes}") } else { write!(f, "{min_bytes}..{max_bytes}") }
    }
}

/// Bits a second: `500kbit/s`, `4Mbit/s`, `64000`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BitRate {
    /// Bits a second.
    pub bits_per_second: u64,
}

impl BitRate {
    /// Below a byte a second nothing is a stream, and no link of one connection is faster.
    const BITS: RangeInclusive<u64> = 8..=100_000_000_000;
}

impl FromStr for BitRate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || {
            format!(
                "'{text}' is not a bit rate: expected bits a second from 8 to 100G, such as 500kbit/s or 4Mbit/s"
            )
        };
        let number = text.trim().strip_suffix("/s").unwrap_or(text.trim());
        let number = number.strip_suffix("bit").unwrap_or(number);
        let Quantity(bits_per_second) = number.trim().parse().map_err(|_| bad())?;
        if Self::BITS.contains(&bits_per_second) { Ok(Self { bits_per_second }) } else { Err(bad()) }
    }
}

impl fmt::Display for BitRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = self.bits_per_second;
        let scales = [(1_000_000_000, "G"), (1_000_000, "M"), (1_000, "k"), (1, "")];
        let scale = scales.into_iter().find(|(scale, _)| bits.is_multiple_of(*scale)).unwrap_or((1, ""));
        write!(f, "{}{}bit/s", bits / scale.0, scale.1)
    }
}

macro_rules! written_as_text {
    ($($kind:ty),*) => {$(
        impl Serialize for $kind {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $kind {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}

written_as_text!(Payload, BitRate);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_reads_back_as_it_is_written() {
        for (text, min_bytes, max_bytes) in
            [("64", 64, 64), ("1KiB", 1024, 1024), ("32..1024", 32, 1024), ("8 .. 1MiB", 8, 1 << 20)]
        {
            let payload: Payload = text.parse().expect(text);
            assert_eq!(payload, Payload { min_bytes, max_bytes });
            assert_eq!(payload.to_string().parse(), Ok(payload));
        }
        for text in ["", "7", "1024..32", "2MiB", "x", "..", "-1"] {
            assert!(text.parse::<Payload>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_bit_rate_reads_back_as_it_is_written() {
        for (text, bits_per_second) in
            [("500kbit/s", 500_000), ("4Mbit/s", 4_000_000), ("64000", 64_000), ("1.5M", 1_500_000), ("9", 9)]
        {
            let rate: BitRate = text.parse().expect(text);
            assert_eq!(rate, BitRate { bits_per_second });
            assert_eq!(rate.to_string().parse(), Ok(rate));
        }
        for text in ["", "0", "7", "fast", "200Gbit/s"] {
            assert!(text.parse::<BitRate>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_phase_changes_what_it_names_and_one_way_of_saying_how_many_replaces_the_others() {
        let plan =
            WorkPlan { beat: Some(Span::secs(60)), messages_per_second: Some(1.0), ..WorkPlan::default() };
        let over = WorkPlan { in_flight_messages: Some(64), ..WorkPlan::default() };
        let both = plan.with(&over);
        assert_eq!((both.beat, both.messages_per_second), (plan.beat, None));
        assert_eq!(both.in_flight_messages, Some(64));
        assert_eq!(plan.with(&WorkPlan::default()), plan);
    }

    #[test]
    fn numbers_that_nobody_can_carry_out_are_named() {
        let bad = [
            WorkPlan { messages_per_second: Some(0.0), ..WorkPlan::default() },
            WorkPlan { message_rate_per_second: Some(f64::NAN), ..WorkPlan::default() },
            WorkPlan { in_flight_messages: Some(0), ..WorkPlan::default() },
            WorkPlan { beat: Some(Span(std::time::Duration::from_millis(1))), ..WorkPlan::default() },
        ];
        for plan in bad {
            assert!(plan.check().is_err_and(|error| error.contains("expected")), "{plan:?}");
        }
        let both =
            WorkPlan { messages_per_second: Some(1.0), in_flight_messages: Some(1), ..WorkPlan::default() };
        assert!(both.check().is_err_and(|error| error.contains("contradict")));
        assert_eq!(WorkPlan::default().check(), Ok(()));
    }
}
