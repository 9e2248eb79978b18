//! What a ceiling, its wall, the evidence and the remedy look like as data.

use serde::{Deserialize, Serialize};

/// The end of the box, or of what the plan allowed: null in a record whose target was reached with every verdict
/// passed.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ceiling {
    /// Connections held when it was met. Where all were held and a verdict broke, the ceiling lies at or below this.
    pub connections: u64,
    /// The first wall that was met, or `unknown`.
    pub wall: String,
    /// All walls that were met, in their order.
    pub walls: Vec<WallFound>,
    /// True when an errno or a kernel counter names the wall, false when a verdict broke first: always where all
    /// were held.
    pub hard: bool,
    /// What proves the first wall, or what was seen when none is proven.
    pub evidence: Vec<Evidence>,
    /// How sure the first wall is; `None` in older records.
    #[serde(default)]
    pub degree: Option<Degree>,
    /// What lifts the first wall.
    pub remedy: Option<Remedy>,
    /// What was predicted before the run.
    pub predicted: Option<Predicted>,
    /// Connections held beyond what was predicted, negative where fewer; null where nothing was predicted, or the
    /// wall that was predicted is not among those that were met.
    #[serde(default)]
    pub off_by: Option<i64>,
}

impl Remedy {
    /// Makes its lines those that root pastes.
    pub fn make_roots(&mut self) {
        for command in &mut self.commands {
            *command = as_root(command);
        }
    }
}

/// A line as root pastes it: root needs no sudo, and may not even have it.
#[must_use]
pub fn as_root(line: &str) -> String {
    // As another user is what runuser(1) is for.
    line.replace("sudo -u nobody ", "runuser -u nobody -- ").replace("sudo ", "")
}

/// One wall that was met.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WallFound {
    /// Its short name, such as `ports-exhausted`.
    pub name: String,
    /// Its title in plain words.
    pub title: String,
    /// At which end it stands.
    pub side: Side,
    /// Whether an errno or a kernel counter names it.
    pub hard: bool,
    /// What proves it.
    pub evidence: Vec<Evidence>,
    /// How sure it is; `None` in older records.
    #[serde(default)]
    pub degree: Option<Degree>,
    /// What lifts it.
    pub remedy: Option<Remedy>,
}

/// How sure a wall is.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Degree {
    /// An errno, a kernel counter or the report of a process says so, which can mean nothing else.
    Proven,
    /// It fits all that was seen, and nothing contradicts it.
    Likely,
    /// Nothing that was seen proves a wall.
    Unknown,
}

/// At which end of a connection something stands.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// The end that connects.
    Swarm,
    /// The end that accepts.
    Server,
    /// The machine both stand on, or the way between them.
    Host,
}

/// One piece of evidence.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// What was looked at: an errno name, a counter (`ListenOverflows`), a limit (`RLIMIT_NOFILE`).
    pub source: String,
    /// At which end.
    pub side: Side,
    /// Its value before, where it has one.
    pub before: Option<u64>,
    /// Its value after, or how often it happened.
    pub after: Option<u64>,
    /// The same in words.
    pub text: String,
}

/// A wall foreseen.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Predicted {
    /// How many connections the plan can hold before it.
    pub connections: u64,
    /// The wall's name.
    pub wall: String,
    /// How far the number may be off either way, percent; 0 where it is a count.
    #[serde(default)]
    pub uncertainty_percent: u8,
}

impl Predicted {
    /// Whether a run of this target comes near enough to meet it: who tries 300 connections is not told of a wall at a
    /// million.
    #[must_use]
    pub fn is_near(&self, target: u64) -> bool {
        self.connections <= target.saturating_mul(3)
    }
}

/// What lifts a wall: settings as data, and lines to paste.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remedy {
    /// One sentence.
    pub summary: String,
    /// The settings a profile would carry.
    pub settings: Vec<Setting>,
    /// Commands to paste.
    pub commands: Vec<String>,
    /// What the remedy reaches.
    pub scope: Scope,
}

/// One setting of a profile, as data.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    /// `sysctl.net.core.somaxconn`, `limits.nofile`, `socket.backlog`, or a flag such as `--ips`.
    pub key: String,
    /// The value, as it would be written.
    pub value: String,
}

/// What a setting reaches.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// This process and its children.
    Process,
    /// This network namespace.
    Namespace,
    /// The whole host.
    Host,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wall_beyond_three_times_the_target_is_none_that_a_run_could_meet() {
        let at = |connections| Predicted { connections, wall: "x".to_owned(), uncertainty_percent: 0 };
        assert!(at(900).is_near(300) && !at(901).is_near(300) && at(0).is_near(0));
    }

    #[test]
    fn root_pastes_the_same_without_sudo() {
        assert_eq!(as_root("sudo sysctl -w a.b=1"), "sysctl -w a.b=1");
        assert_eq!(as_root("sudo -u nobody c10k-swarm"), "runuser -u nobody -- c10k-swarm");
    }
}
