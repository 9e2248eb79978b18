//! The plan of a run as data: what `plan.toml` holds.

mod load;
mod pushed;
mod spread;
mod work;

use std::fmt;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Condition;

pub use load::{LoadPlan, Steps};
pub use pushed::Pushed;
pub use spread::Spread;
pub use work::{BitRate, ChurnClose, Payload, PhaseKind, PhasePlan, WorkPlan};

/// Where a server listens that is not told where, of 127.0.0.1.
pub const DEFAULT_PORT: u16 = 9000;

/// Everything a run was asked to do, resolved: `c10k-lab run plan.toml` repeats it.
#[cfg_attr(test, derive(schemars::JsonSchema))]
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
    /// What the connections do while they are held.
    #[serde(default, skip_serializing_if = "says_nothing")]
    pub work: WorkPlan,
    /// The phases by name; none = ramp, the workload for as long as is held, the last proof, close.
    #[serde(default, rename = "phase", skip_serializing_if = "Vec::is_empty")]
    pub phases: Vec<PhasePlan>,
}

fn says_nothing(work: &WorkPlan) -> bool {
    *work == WorkPlan::default()
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
        self.load.check().map_err(|message| format!("load.{message}"))?;
        self.work.check().map_err(|message| format!("work.{message}"))?;
        let own = |phase: &PhasePlan| {
            phase.work.check().map_err(|message| format!("the phase '{}': {message}", phase.name))
        };
        self.phases.iter().try_for_each(own)?;
        let works = self.phases.iter().map(|phase| &phase.work).chain([&self.work]);
        let draws =
            works.filter_map(|work| work.payload).any(|payload| payload.min_bytes < payload.max_bytes);
        match self.load.seed {
            Some(seed) if self.load.arrivals != Spread::Poisson && !draws => Err(format!(
                "load.seed = {seed} and nothing is drawn: expected arrivals = poisson or a range of payload with it"
            )),
            _ => Ok(()),
        }
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
#[cfg_attr(test, derive(schemars::JsonSchema))]
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
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// Bytes as they are.
    Raw,
    /// WebSocket, RFC 6455.
    Ws,
}

/// What the connections do.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Workload {
    /// Connect, prove, hold, prove again, close.
    Hold,
    /// While they are held, messages are echoed, and their bytes checked.
    Echo,
    /// Connections come and go while others are held.
    Churn,
    /// The server pushes to each at a bit rate.
    Stream,
    /// The server sends one message to all of them, again and again.
    Fanout,
}

/// What the server does with bytes.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ServerMode {
    /// Sends them back.
    Echo,
    /// Reads and discards them.
    Hold,
}

/// How the swarm ends its connections.
#[cfg_attr(test, derive(schemars::JsonSchema))]
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
    Workload { Hold = "hold", Echo = "echo", Churn = "churn", Stream = "stream", Fanout = "fanout" }
    ServerMode { Echo = "echo", Hold = "hold" }
    Spread { Even = "even", Burst = "burst", Poisson = "poisson" }
    CloseHow { Fin = "fin", Rst = "rst" }
    PhaseKind {
        Ramp = "ramp", Hold = "hold", Echo = "echo", Churn = "churn", Stream = "stream", Fanout = "fanout",
        Drain = "drain",
    }
    ChurnClose { Client = "client", Server = "server", Rst = "rst" }
}

/// The server's part of a plan.
#[cfg_attr(test, derive(schemars::JsonSchema))]
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
    /// The control port of the host that it stands on, in the topology `remote`: `c10k-lab serve` or `c10k-collector --serve`
    /// answers there. The token is not part of a plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control: Option<SocketAddr>,
    /// Where the server beside the control port is reached by the clients, where that is not where it says that it listens,
    /// as behind a tunnel; empty = where it says.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reached_at: Vec<SocketAddr>,
    /// The host on which `c10k-lab serve` is started over ssh for the run, in the topology `remote`, as ssh knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssh: Option<String>,
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::Span;

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
                control: None,
                reached_at: Vec::new(),
                ssh: None,
            },
            load: LoadPlan { steps: Some(Steps { size: 5000, count: 4 }), ..LoadPlan::default() },
            work: WorkPlan::default(),
            phases: Vec::new(),
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
}
