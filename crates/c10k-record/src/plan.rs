//! The plan of a run as data: what `plan.toml` holds.

use std::fmt;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{Condition, Quantity, QuantityError, Span};

/// Where a server listens that is not told where, of 127.0.0.1.
pub const DEFAULT_PORT: u16 = 9000;

/// Everything a run was asked to do, resolved: `c10k-lab run plan.toml` repeats it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Version of this file's shape, [`crate::SCHEMA_VERSION`].
    pub schema_version: u32,
    /// A shipped profile's name, or the path of a profile file.
    pub profile: String,
    /// Where the two ends stand.
    pub topology: Topology,
    /// What is spoken over TCP.
    pub protocol: Protocol,
    /// What the connections do.
    pub workload: Workload,
    /// How many connections to hold.
    pub target: u64,
    /// What the run is judged by.
    pub verdicts: Vec<Condition>,
    /// The server's part.
    pub server: ServerPlan,
    /// The swarm's part.
    pub load: LoadPlan,
}

impl Plan {
    /// Whether the server's addresses are of IPv6.
    #[must_use]
    pub fn is_ipv6(&self) -> bool {
        self.server.listen.first().is_some_and(std::net::SocketAddr::is_ipv6)
    }

    /// Whether server and swarm take its numbers.
    ///
    /// # Errors
    /// One line that names the key and what was expected.
    pub fn check(&self) -> Result<(), String> {
        let server = &self.server;
        within("server.workers", server.workers.as_ref(), &WORKERS)?;
        within("server.max_connections", server.max_connections.as_ref(), &(1..=u64::MAX))?;
        self.load.check().map_err(|message| format!("load.{message}"))
    }
}

/// What server and swarm take as their workers.
const WORKERS: RangeInclusive<u32> = 1..=1024;

fn within<T: PartialOrd + fmt::Display>(
    key: &str,
    value: Option<&T>,
    range: &RangeInclusive<T>,
) -> Result<(), String> {
    match value.filter(|value| !range.contains(value)) {
        Some(value) => Err(format!("{key} = {value}: expected {} to {}", range.start(), range.end())),
        None => Ok(()),
    }
}

/// Where the two ends of the connections stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Topology {
    /// Both on the loopback device of one namespace.
    Loopback,
    /// In two network namespaces joined by a veth pair.
    Veth,
    /// On two machines.
    Remote,
}

/// What is spoken over TCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// Bytes as they are.
    Raw,
    /// WebSocket, RFC 6455.
    Ws,
}

/// What the connections do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Workload {
    /// Connect, prove, hold, prove again, close.
    Hold,
}

/// What the server does with bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ServerMode {
    /// Sends them back.
    Echo,
    /// Reads and discards them.
    Hold,
}

/// How the swarm ends its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CloseHow {
    /// In good order; the end that closes first keeps TIME_WAIT for 60 s.
    Fin,
    /// By RST (`SO_LINGER` 0): no TIME_WAIT, ports are free at once.
    Rst,
}

macro_rules! lowercase_names {
    ($($kind:ident { $($variant:ident = $name:literal),* $(,)? })*) => {$(
        impl fmt::Display for $kind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$variant => $name),* })
            }
        }

        impl FromStr for $kind {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match text {
                    $($name => Ok(Self::$variant),)*
                    _ => Err(format!("'{text}' is not known: expected one of {}", [$($name),*].join(", "))),
                }
            }
        }
    )*};
}

lowercase_names! {
    Topology { Loopback = "loopback", Veth = "veth", Remote = "remote" }
    Protocol { Raw = "raw", Ws = "ws" }
    Workload { Hold = "hold" }
    ServerMode { Echo = "echo", Hold = "hold" }
    CloseHow { Fin = "fin", Rst = "rst" }
}

/// The server's part of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerPlan {
    /// Where it listens.
    pub listen: Vec<SocketAddr>,
    /// What it does with bytes.
    pub mode: ServerMode,
    /// Accepting workers; `None` = one a core.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workers: Option<u32>,
    /// The most connections it takes; `None` = as many as the host allows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_connections: Option<u64>,
    /// It runs already at the first address of `listen`: the lab does not start one, and sets nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub foreign: bool,
}

/// The swarm's part of a plan.
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

    fn plan() -> Plan {
        Plan {
            schema_version: crate::SCHEMA_VERSION,
            profile: "tuned".to_owned(),
            topology: Topology::Loopback,
            protocol: Protocol::Raw,
            workload: Workload::Hold,
            target: 20_000,
            verdicts: crate::default_conditions(true),
            server: ServerPlan {
                listen: vec!["127.0.0.1:9000".parse().expect("an address")],
                mode: ServerMode::Echo,
                workers: None,
                max_connections: None,
                foreign: false,
            },
            load: LoadPlan { steps: Some(Steps { size: 5000, count: 4 }), ..LoadPlan::default() },
        }
    }

    #[test]
    fn a_plan_reads_back_as_it_was_written() {
        let text = toml::to_string(&plan()).expect("a plan is plain data");
        assert_eq!(toml::from_str::<Plan>(&text).expect("what we wrote"), plan(), "{text}");
    }

    #[test]
    fn a_plan_from_before_handshakes_had_a_timeout_has_the_default() {
        let text = toml::to_string(&plan()).expect("plain data");
        let old: String = text.split_inclusive('\n').filter(|line| !line.starts_with("handshake_")).collect();
        assert_ne!(text, old);
        assert_eq!(toml::from_str::<Plan>(&old).expect("a plan"), plan());
    }

    #[test]
    fn a_number_that_server_or_swarm_would_not_take_is_named_with_what_was_expected() {
        type Change = fn(&mut Plan);
        let changes: [(&str, Change); 12] = [
            ("load.in_flight = 0: expected 1 to 1000000", |plan| plan.load.in_flight = 0),
            ("load.in_flight = 1000001", |plan| plan.load.in_flight = 1_000_001),
            ("load.probe_bytes = 7: expected 8 to 32768", |plan| plan.load.probe_bytes = 7),
            ("load.probe_bytes = 32769", |plan| plan.load.probe_bytes = 32_769),
            ("load.workers = 0", |plan| plan.load.workers = Some(0)),
            ("load.connect_timeout = 2h is longer", |plan| plan.load.connect_timeout = Span::secs(7200)),
            ("load.handshake_timeout = 2h", |plan| plan.load.handshake_timeout = Span::secs(7200)),
            ("load.probe_timeout = 2h", |plan| plan.load.probe_timeout = Span::secs(7200)),
            ("load.ping_every = 99ms leaves", |plan| {
                plan.load.ping_every = Some(Span(Duration::from_millis(99)));
            }),
            ("load.rate_per_second = 0.5", |plan| plan.load.rate_per_second = Some(0.5)),
            ("server.workers = 1025", |plan| plan.server.workers = Some(1025)),
            ("server.max_connections = 0", |plan| plan.server.max_connections = Some(0)),
        ];
        assert_eq!(plan().check(), Ok(()));
        for every in [Span::secs(0), LoadPlan::SHORTEST_PING_EVERY] {
            let mut plan = plan();
            plan.load.ping_every = Some(every);
            assert_eq!(plan.check(), Ok(()));
        }
        for (told, change) in changes {
            let mut plan = plan();
            change(&mut plan);
            let message = plan.check().expect_err(told);
            assert!(message.starts_with(told), "{message}");
        }
    }

    #[test]
    fn an_unknown_key_of_a_plan_is_an_error_with_its_line() {
        let text = format!("colour = 1\n{}", toml::to_string(&plan()).expect("plain data"));
        let error = toml::from_str::<Plan>(&text).expect_err("an unknown key").to_string();
        assert!(error.contains("colour") && error.contains("line 1"), "{error}");
    }

    #[test]
    fn steps_need_a_size_and_a_count() {
        assert_eq!("5000x4".parse::<Steps>().map(|steps| steps.total()), Ok(20_000));
        for text in ["", "5000", "0x4", "5000x0", "x4", "5000x-1"] {
            assert!(text.parse::<Steps>().is_err(), "{text}");
        }
    }
}
