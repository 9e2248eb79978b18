//! The swarm's part of a plan: how its connections come and prove themselves.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{CloseHow, Spread, WORKERS, within};
use crate::{Quantity, QuantityError, Span};

/// The swarm's part of a plan.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoadPlan {
    /// Source addresses as they were given (`192.168.1.200-230`); `None` = as many of 127.0.0.0/8 as needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ips: Option<String>,
    /// Source ports as they were given (`1024-65535`); `None` = the kernel's `ip_local_port_range`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ports: Option<String>,
    /// Connects a second (open loop); `None` = as fast as `in_flight` allows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_per_second: Option<f64>,
    /// How connects are spread over time.
    #[serde(default, skip_serializing_if = "Spread::is_even")]
    pub arrivals: Spread,
    /// What random gaps between connects are made of; `None` = 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Steps of growth; `None` = all at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<Steps>,
    /// Pause after each step but the last.
    pub step_pause: Span,
    /// How long to hold.
    pub hold: Span,
    /// Connects that may be under way at one time.
    pub in_flight: u32,
    /// How long a connect may take.
    pub connect_timeout: Span,
    /// How long the handshake of the protocol may take once connected; plans from before it was told apart from
    /// connecting do not have it.
    #[serde(default = "handshake_timeout")]
    pub handshake_timeout: Span,
    /// How long an echo may take.
    pub probe_timeout: Span,
    /// Between two Pings of a WebSocket in the hold; `None` = nobody is pinged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ping_every: Option<Span>,
    /// Size of a probe, bytes.
    pub probe_bytes: u16,
    /// Whether connections prove themselves by an echo.
    pub probe: bool,
    /// Connecting workers; `None` = one a core.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workers: Option<u32>,
    /// How connections are ended.
    pub close: CloseHow,
    /// Path and query that a WebSocket's request asks for; `None` = `/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Further headers of that request, `Name: value`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<String>,
    /// The subprotocols that it offers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subprotocols: Vec<String>,
}

impl LoadPlan {
    /// Connects under way at one time.
    pub const IN_FLIGHT: RangeInclusive<u32> = 1..=1_000_000;
    /// Bytes of a probe.
    pub const PROBE_BYTES: RangeInclusive<u16> = 8..=32_768;
    /// A step under way is timed in 32 bits of microseconds.
    pub const LONGEST_TIMEOUT: Span = Span::secs(30 * 60);
    /// A server that has not answered by the next ping is taken for dead: less is no time for an answer.
    pub const SHORTEST_PING_EVERY: Span = Span(Duration::from_millis(100));

    /// Whether a swarm takes its numbers.
    ///
    /// # Errors
    /// One line that names the key and what was expected.
    pub fn check(&self) -> Result<(), String> {
        if let Some(rate) =
            self.rate_per_second.filter(|rate| rate.is_nan() || *rate < 1.0 || rate.fract() != 0.0)
        {
            return Err(format!("rate_per_second = {rate}: expected a whole number of at least 1"));
        }
        match (self.arrivals, self.rate_per_second) {
            (Spread::Poisson, None) => {
                return Err("arrivals = poisson needs a mean: expected a rate with it".to_owned());
            }
            (Spread::Burst, Some(rate)) => {
                return Err(format!(
                    "arrivals = burst and a rate of {rate}/s contradict each other: expected one of them"
                ));
            }
            _ => {}
        }
        within("in_flight", Some(&self.in_flight), &Self::IN_FLIGHT)?;
        within("probe_bytes", Some(&self.probe_bytes), &Self::PROBE_BYTES)?;
        within("workers", self.workers.as_ref(), &WORKERS)?;
        for (key, span) in [
            ("connect_timeout", self.connect_timeout),
            ("handshake_timeout", self.handshake_timeout),
            ("probe_timeout", self.probe_timeout),
        ] {
            if span > Self::LONGEST_TIMEOUT {
                let longest = Self::LONGEST_TIMEOUT;
                return Err(format!(
                    "{key} = {span} is longer than a step is timed: expected at most {longest}"
                ));
            }
        }
        let shortest = Self::SHORTEST_PING_EVERY;
        if let Some(every) = self.ping_every.filter(|every| !every.0.is_zero() && *every < shortest) {
            return Err(format!(
                "ping_every = {every} leaves a server no time to answer: expected at least {shortest}, or 0 for no \
                 pings"
            ));
        }
        Ok(())
    }
}

impl Default for LoadPlan {
    fn default() -> Self {
        Self {
            ips: None,
            ports: None,
            rate_per_second: None,
            arrivals: Spread::Even,
            seed: None,
            steps: None,
            step_pause: Span::secs(1),
            hold: Span::secs(10),
            in_flight: 512,
            connect_timeout: Span::secs(15),
            handshake_timeout: handshake_timeout(),
            probe_timeout: Span::secs(15),
            ping_every: None,
            probe_bytes: 64,
            probe: true,
            workers: None,
            close: CloseHow::Fin,
            path: None,
            headers: Vec::new(),
            subprotocols: Vec::new(),
        }
    }
}

/// As long as the server gives a handshake by default.
fn handshake_timeout() -> Span {
    Span::secs(10)
}

/// Growth in steps, written `5000x4`: four steps of 5,000.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Steps {
    /// Connections a step, at least 1.
    pub size: u64,
    /// How many steps, at least 1.
    pub count: u64,
}

impl Steps {
    /// Connections after the last step.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.size.saturating_mul(self.count)
    }
}

impl FromStr for Steps {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || format!("'{text}' is not a list of steps: expected SIZExCOUNT, such as 5000x4");
        let (size, count) = text.split_once(['x', 'X', '×']).ok_or_else(bad)?;
        let number = |part: &str| part.parse::<Quantity>().map_err(|_: QuantityError| bad());
        let (Quantity(size), Quantity(count)) = (number(size)?, number(count)?);
        if size == 0 || count == 0 || size.checked_mul(count).is_none() {
            return Err(bad());
        }
        Ok(Self { size, count })
    }
}

impl fmt::Display for Steps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.size, self.count)
    }
}

impl Serialize for Steps {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Steps {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_need_a_size_and_a_count() {
        assert_eq!("5000x4".parse::<Steps>().map(|steps| steps.total()), Ok(20_000));
        for text in ["", "5000", "0x4", "5000x0", "x4", "5000x-1"] {
            assert!(text.parse::<Steps>().is_err(), "{text}");
        }
    }
}
