//! Settings that are tried: what names them, how a sweep sets them, and which line of a profile they are.

use c10k_ceiling::{PlanView, walls};
use c10k_kernel::limits;
use c10k_record::{HostSnapshot, Plan, Remedy, Setting, Workload};
use serde::{Deserialize, Serialize};
use toml_edit::Value;

use crate::rerun::toml_value;

/// One setting with the value that it is tried with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Lift {
    /// `net.core.somaxconn`, `limits.nofile`, `socket.backlog`, `namespace.initcwnd`, or a flag such as `--ips`.
    pub(super) key: String,
    /// As it would be written: numbers with spaces between them, or a text.
    pub(super) value: String,
    /// Who names it: a wall, or the workload.
    pub(super) named_by: String,
}

/// Sysctls that nothing here depends on: one that seems to matter says that the machine drifts. Connections without
/// keepalive never look at it.
pub(super) const CONTROL: &str = "net.ipv4.tcp_keepalive_time";

impl Lift {
    pub(super) fn new(key: &str, value: &str, named_by: &str) -> Self {
        Self { key: key.to_owned(), value: value.to_owned(), named_by: named_by.to_owned() }
    }

    /// The setting that must not matter.
    pub(super) fn control() -> Self {
        Self::new(CONTROL, "7201", "the negative control")
    }

    /// Its name as a case, and for people.
    pub(super) fn name(&self) -> String {
        match self.value.as_str() {
            "" => self.key.clone(),
            value => format!("{} = {value}", self.key),
        }
    }

    /// The settings of a sweep that set it, each with its value in TOML.
    pub(super) fn settings(&self) -> Vec<(String, Value)> {
        match self.key.as_str() {
            "limits.nofile" => ["server.nofile", "swarm.nofile"]
                .map(|key| (key.to_owned(), toml_value(&self.value)))
                .to_vec(),
            "--ips" => vec![("load.ips".to_owned(), self.value.as_str().into())],
            key => vec![(key.to_owned(), toml_value(&self.value))],
        }
    }

    /// Its table in a profile, its key there, and its value; `None` for what no profile carries.
    pub(super) fn of_profile(&self) -> Option<(&str, &str, Value)> {
        if self.key.starts_with("--") {
            return None;
        }
        let value = toml_value(&self.value);
        match self.key.split_once('.') {
            Some((table @ ("limits" | "socket" | "namespace"), key)) => Some((table, key, value)),
            _ => Some(("sysctl", self.key.as_str(), value)),
        }
    }

    /// Whether it is a sysctl.
    pub(super) fn is_sysctl(&self) -> bool {
        self.of_profile().is_some_and(|(table, ..)| table == "sysctl")
    }
}

/// What a wall's remedy offers, the settings of a profile first; and what of it is not tried, each with why.
pub(super) fn of_remedy(wall: &str, remedy: &Remedy) -> (Vec<Lift>, Vec<(Lift, String)>) {
    let (mut lifts, mut not) = (Vec::new(), Vec::new());
    for setting in &remedy.settings {
        match of_setting(wall, setting) {
            Ok(lift) => lifts.push(lift),
            Err((lift, why)) => not.push((lift, why)),
        }
    }
    lifts.sort_by_key(|lift| lift.of_profile().is_none());
    (lifts, not)
}

fn of_setting(wall: &str, setting: &Setting) -> Result<Lift, (Lift, String)> {
    let Setting { key, value } = setting;
    let lift = Lift::new(key.trim_start_matches("sysctl."), value, wall);
    let not = |lift: Lift, why: &str| Err((lift, why.to_owned()));
    match key.as_str() {
        key if key.starts_with("sysctl.") && value.trim().is_empty() => {
            not(lift, "it takes away what somebody has set")
        }
        key if key.starts_with("sysctl.") || key == "socket.backlog" || key == "--ips" => Ok(lift),
        "limits.nofile" => Ok(Lift { value: within_the_hard_limit(value), ..lift }),
        key if key.starts_with("--") => not(lift, "it changes the load, and that is the goal"),
        _ => not(lift, "it belongs to the program and its process, and no profile carries it"),
    }
}

/// A limit that this process may give to another: root raises the hard one, anybody else goes up to it.
fn within_the_hard_limit(value: &str) -> String {
    let (wanted, hard) = (value.parse::<u64>(), limits::nofile().map(|limit| limit.hard));
    match (wanted, hard) {
        (Ok(wanted), Ok(hard)) if limits::euid() != 0 => wanted.min(hard).to_string(),
        _ => value.to_owned(),
    }
}

/// What may make a plan faster: what lifts the walls that bound arrivals and no number, and what its workload depends on.
pub(super) fn for_speed(plan: &Plan, host: &HostSnapshot, view: &PlanView) -> Vec<Lift> {
    let mut lifts: Vec<Lift> = Vec::new();
    let without_a_number = walls().filter(|wall| QUEUES.contains(&wall.name));
    for wall in without_a_number {
        for lift in of_remedy(wall.name, &(wall.lift)(host, view)).0 {
            if lift.of_profile().is_some() && !lifts.iter().any(|other| other.key == lift.key) {
                lifts.push(lift);
            }
        }
    }
    let of_workload: &[(&str, &str)] = match plan.workload {
        Workload::Echo | Workload::Stream => {
            &[("net.ipv4.tcp_slow_start_after_idle", "0"), ("namespace.initcwnd", "30")]
        }
        Workload::Fanout => &[("namespace.initcwnd", "30")],
        Workload::Churn => &[("net.ipv4.tcp_tw_reuse", "1")],
        Workload::Hold => &[],
    };
    let named_by = format!("the workload {}", plan.workload);
    lifts.extend(of_workload.iter().map(|(key, value)| Lift::new(key, value, &named_by)));
    lifts.push(Lift::new(
        "namespace.ehash_entries",
        &hash_of(plan.target).to_string(),
        "the size of the goal",
    ));
    lifts
}

/// The walls that bound how fast connections come, and not how many there are.
const QUEUES: [&str; 3] = ["accept-queue", "syn-queue", "netdev-backlog"];

/// Buckets for so many connections, two ends each: a power of two as the kernel wants it, no more than it takes.
fn hash_of(target: u64) -> u64 {
    target.saturating_mul(2).clamp(1 << 10, 1 << 24).next_power_of_two()
}

#[cfg(test)]
mod tests {
    use c10k_record::Scope;

    use super::*;

    fn remedy(settings: &[(&str, &str)]) -> Remedy {
        let setting =
            |(key, value): &(&str, &str)| Setting { key: (*key).to_owned(), value: (*value).to_owned() };
        let settings = settings.iter().map(setting).collect();
        Remedy { summary: String::new(), settings, commands: Vec::new(), scope: Scope::Namespace }
    }

    #[test]
    fn a_remedy_offers_settings_and_what_is_the_load_or_takes_away_is_not_tried() {
        let (lifts, not) = of_remedy(
            "ports-exhausted",
            &remedy(&[
                ("--ips", "127.0.0.1-127.0.0.4"),
                ("sysctl.net.ipv4.ip_local_port_range", "1024 65535"),
                ("sysctl.net.ipv4.ip_local_reserved_ports", ""),
                ("--rate", "500/s"),
                ("tables", "server"),
            ]),
        );
        let names: Vec<String> = lifts.iter().map(Lift::name).collect();
        assert_eq!(names, ["net.ipv4.ip_local_port_range = 1024 65535", "--ips = 127.0.0.1-127.0.0.4"]);
        assert_eq!(
            not.iter().map(|(lift, _)| lift.key.as_str()).collect::<Vec<_>>(),
            ["net.ipv4.ip_local_reserved_ports", "--rate", "tables"]
        );
        assert!(not[1].1.contains("the load"), "{not:?}");
    }

    #[test]
    fn a_setting_is_a_line_of_a_profile_and_a_setting_of_a_sweep() {
        let lift = |key: &str, value: &str| Lift::new(key, value, "x");
        let range = lift("net.ipv4.ip_local_port_range", "1024 65535");
        let (table, key, value) = range.of_profile().expect("a sysctl");
        assert_eq!(
            (table, key, value.to_string().as_str()),
            ("sysctl", "net.ipv4.ip_local_port_range", "[1024, 65535]")
        );
        assert!(range.is_sysctl() && !lift("socket.backlog", "9").is_sysctl());
        let nofile = lift("limits.nofile", "5000");
        assert_eq!(nofile.of_profile().map(|(table, key, _)| (table, key)), Some(("limits", "nofile")));
        let keys: Vec<String> = nofile.settings().into_iter().map(|(key, _)| key).collect();
        assert_eq!(keys, ["server.nofile", "swarm.nofile"]);
        assert!(lift("--ips", "127.0.0.2").of_profile().is_none());
        let window = lift("namespace.initcwnd", "30");
        assert_eq!(window.of_profile().map(|(table, key, _)| (table, key)), Some(("namespace", "initcwnd")));
    }

    #[test]
    fn what_may_be_faster_depends_on_the_workload_and_names_each_setting_once() {
        let mut plan = c10k_plan::resolve::default_plan();
        plan.target = 20_000;
        let keys = |plan: &Plan| -> Vec<String> {
            let lifts = for_speed(plan, &HostSnapshot::default(), &PlanView::default());
            lifts.into_iter().map(|lift| lift.key).collect()
        };
        let held = keys(&plan);
        for key in [
            "net.core.somaxconn",
            "socket.backlog",
            "net.ipv4.tcp_max_syn_backlog",
            "namespace.ehash_entries",
        ] {
            assert_eq!(held.iter().filter(|other| *other == key).count(), 1, "{key}: {held:?}");
        }
        assert!(!held.iter().any(|key| key.starts_with("--") || key.contains("initcwnd")), "{held:?}");
        plan.workload = Workload::Stream;
        assert!(keys(&plan).iter().any(|key| key == "namespace.initcwnd"));
        assert_eq!((hash_of(20_000), hash_of(1), hash_of(u64::MAX)), (65_536, 1 << 10, 1 << 24));
    }
}
