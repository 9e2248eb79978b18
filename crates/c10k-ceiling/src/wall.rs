//! What a wall is: a value, with its formula, its proof and its remedy.

use c10k_record::{Evidence, HostSnapshot, Remedy, Scope, Setting, Side};

use crate::findings::{Findings, Lost, PlanView};

/// One limit that can stop the next connection.
#[derive(Clone, Copy, Debug)]
pub struct Wall {
    /// Its short name, such as `ports-exhausted`.
    pub name: &'static str,
    /// Its title in plain words.
    pub title: &'static str,
    /// At which end it stands.
    pub side: Side,
    /// Whether an errno, a kernel counter or a process's own word names it; false for a broken verdict.
    pub hard: bool,
    /// Whether it is named only where no other wall is proven: it can be seen without having stopped anything.
    pub only_alone: bool,
    /// What somebody who runs into it sees.
    pub what_you_see: &'static str,
    /// Where to look to be sure.
    pub how_to_prove: &'static str,
    /// How many connections it allows under a plan; `None` where that depends on more than limits.
    pub predict: fn(&HostSnapshot, &PlanView) -> Option<Forecast>,
    /// Whether the findings prove that it bit.
    pub diagnose: fn(&Findings) -> Option<Bite>,
    /// What lifts it for this plan.
    pub lift: fn(&HostSnapshot, &PlanView) -> Remedy,
}

/// How many connections a wall allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forecast {
    /// Connections.
    pub connections: u64,
    /// The setting and what it is now.
    pub now: String,
    /// How far the number may be off either way, percent; 0 where it is a count.
    pub uncertainty_percent: u8,
}

impl Forecast {
    pub(crate) fn exact(connections: u64, now: String) -> Self {
        Self { connections, now, uncertainty_percent: 0 }
    }
}

/// The proof that a wall bit.
#[derive(Clone, Debug, PartialEq)]
pub struct Bite {
    /// What proves it, at least one piece.
    pub evidence: Vec<Evidence>,
    /// Milliseconds after the first connect at which it first cost a connection, where known.
    pub first_at_ms: Option<u64>,
}

impl Bite {
    /// A bite with its evidence; none without evidence.
    pub(crate) fn proven(
        evidence: impl IntoIterator<Item = Evidence>,
        first_at_ms: Option<u64>,
    ) -> Option<Self> {
        let evidence: Vec<Evidence> = evidence.into_iter().collect();
        (!evidence.is_empty()).then_some(Self { evidence, first_at_ms })
    }
}

/// Evidence with a value and no value before.
pub(crate) fn seen(source: &str, side: Side, value: Option<u64>, text: impl Into<String>) -> Evidence {
    Evidence { source: source.to_owned(), side, before: None, after: value, text: text.into() }
}

/// When the first of some lost connections was lost.
pub(crate) fn first(lost: Option<Lost>) -> Option<u64> {
    lost.and_then(|lost| lost.first_at_ms)
}

/// A remedy from its parts.
pub(crate) fn remedy(
    scope: Scope,
    summary: impl Into<String>,
    settings: &[(&str, String)],
    commands: Vec<String>,
) -> Remedy {
    let setting = |(key, value): &(&str, String)| Setting { key: (*key).to_owned(), value: value.clone() };
    Remedy { summary: summary.into(), settings: settings.iter().map(setting).collect(), commands, scope }
}

/// A remedy that is one sysctl.
pub(crate) fn sysctl(scope: Scope, summary: impl Into<String>, key: &str, value: &impl ToString) -> Remedy {
    let value = value.to_string();
    let command = if value.contains(' ') {
        format!("sudo sysctl -w {key}=\"{value}\"")
    } else {
        format!("sudo sysctl -w {key}={value}")
    };
    remedy(scope, summary, &[(&format!("sysctl.{key}"), value)], vec![command])
}

/// For walls whose number depends on more than limits.
pub(crate) fn no_forecast(_: &HostSnapshot, _: &PlanView) -> Option<Forecast> {
    None
}
