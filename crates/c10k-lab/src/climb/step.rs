//! One step of a climb: how far it came, the wall that it met, and what lifts that.

use std::path::PathBuf;

use c10k_ceiling::UNKNOWN;
use c10k_kernel::limits;
use c10k_record::{Evidence, Predicted, Record, Remedy, Scope, Setting, human_count};
use serde::Serialize;

use crate::setup::Setup;

/// Above the rows.
pub(super) const HEADING: &str = "step        held  predicted  wall, and what lifts it";

/// One run.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Step {
    pub(super) number: usize,
    /// Connections that it tried to make.
    pub(super) attempted: u64,
    pub(super) held: u64,
    /// The first wall that bit; null when none is proven, or none bit.
    pub(super) wall: Option<String>,
    /// All that bit, in their order.
    pub(super) walls: Vec<String>,
    pub(super) evidence: Vec<Evidence>,
    pub(super) predicted: Option<Predicted>,
    /// Connections held beyond what was predicted for the wall that was met; null where others were met.
    pub(super) off_by: Option<i64>,
    pub(super) lifted_with: Option<Lifted>,
    /// Where its record is.
    pub(super) folder: PathBuf,
}

/// What lifted a wall.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Lifted {
    pub(super) settings: Vec<Setting>,
    pub(super) how: String,
}

impl Step {
    pub(super) fn of(number: usize, record: &Record, folder: PathBuf) -> Self {
        let ceiling = record.ceiling.as_ref();
        let walls: Vec<String> =
            ceiling.iter().flat_map(|ceiling| &ceiling.walls).map(|wall| wall.name.clone()).collect();
        let predicted = ceiling.and_then(|ceiling| ceiling.predicted.clone());
        let held = record.connections.held;
        Self {
            number,
            attempted: record.connections.attempted,
            held,
            wall: walls.first().cloned(),
            walls,
            evidence: ceiling.map(|ceiling| ceiling.evidence.clone()).unwrap_or_default(),
            predicted,
            off_by: ceiling.and_then(|ceiling| ceiling.off_by),
            lifted_with: None,
            folder,
        }
    }

    /// A line for people.
    pub(super) fn row(&self) -> String {
        let predicted =
            self.predicted.as_ref().map_or_else(|| "-".to_owned(), |first| human_count(first.connections));
        let words = match (&self.wall, &self.lifted_with) {
            (Some(wall), Some(lifted)) => format!("{wall} → {}", lifted.how),
            (Some(wall), None) => wall.clone(),
            (None, _) if self.evidence.is_empty() => "none".to_owned(),
            (None, _) => UNKNOWN.to_owned(),
        };
        let mut row = format!("{:>4}  {:>10}  {predicted:>9}  {words}", self.number, human_count(self.held));
        if let Some(evidence) = self.evidence.first() {
            row.push_str(&format!("\n{:>27}  {}: {}", "", evidence.source, evidence.text));
        }
        row
    }

    /// Why a profile has what this step's wall was lifted with.
    pub(super) fn justify(&self) -> String {
        let wall = self.wall.as_deref().unwrap_or("no wall");
        format!("step {}: {wall} at {} connections", self.number, human_count(self.held))
    }
}

/// Lifts just that wall in the next run; `None` where the lab cannot, or may not.
pub(super) fn lift(wall: &str, remedy: &Remedy, setup: &mut Setup) -> Option<Lifted> {
    if remedy.scope == Scope::Host && limits::euid() != 0 {
        return None;
    }
    let has = |key: &str| remedy.settings.iter().any(|setting| setting.key == key);
    let widest = setup.sysctls.contains_key(RANGE);
    let settings = match wall {
        // One thing at a time: the range as long as it can be widened, addresses after that.
        "ports-exhausted" if has(&format!("sysctl.{RANGE}")) && !widest => {
            setup.lift(wall, remedy, |setting| setting.key.starts_with("sysctl."))
        }
        "ports-exhausted" => setup.lift(wall, remedy, |setting| setting.key == "--ips"),
        _ => setup.lift(wall, remedy, |_| true),
    };
    if settings.is_empty() {
        return None;
    }
    let how: Vec<String> = settings
        .iter()
        .map(|setting| match (setting.key.as_str(), wall) {
            ("limits.nofile", "nofile-server") => descriptors(&setup.stage.server),
            ("limits.nofile", "nofile-swarm") => descriptors(&setup.stage.swarm),
            (key, _) => format!("{} = {}", key.trim_start_matches("sysctl."), setting.value),
        })
        .collect();
    Some(Lifted { settings, how: how.join(", ") })
}

const RANGE: &str = "net.ipv4.ip_local_port_range";

/// What [`Setup::lift`] has just made of an end.
fn descriptors(end: &crate::stage::End) -> String {
    if end.one_table {
        "the soft limit up to the hard one".to_owned()
    } else {
        "a descriptor table for each worker".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remedy(scope: Scope, keys: &[(&str, &str)]) -> Remedy {
        let setting =
            |(key, value): &(&str, &str)| Setting { key: (*key).to_owned(), value: (*value).to_owned() };
        let settings = keys.iter().map(setting).collect();
        Remedy { summary: String::new(), settings, commands: Vec::new(), scope }
    }

    #[test]
    fn ports_are_lifted_by_the_range_first_and_by_addresses_then() {
        let mut setup = Setup::default();
        let both = [("--ips", "127.0.0.1-127.0.0.4"), ("sysctl.net.ipv4.ip_local_port_range", "1024 65535")];
        let remedy = remedy(Scope::Namespace, &both);
        let first = lift("ports-exhausted", &remedy, &mut setup).expect("a wider range");
        assert_eq!(first.how, "net.ipv4.ip_local_port_range = 1024 65535");
        assert!(setup.flags.is_empty());
        let second = lift("ports-exhausted", &remedy, &mut setup).expect("more addresses");
        assert_eq!(second.how, "--ips = 127.0.0.1-127.0.0.4");
    }

    #[test]
    fn what_no_setting_lifts_is_not_lifted() {
        let none = remedy(Scope::Process, &[]);
        assert!(lift("server-died", &none, &mut Setup::default()).is_none());
    }
}
