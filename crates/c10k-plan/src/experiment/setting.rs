//! One setting of a sweep: what it is called, what it may be, and what it makes of a plan, a profile or an end.

use std::net::SocketAddr;
use std::ops::Range;

use c10k_profile::{Profile, ProfileError};
use c10k_record::{Plan, Quantity, Topology, nearest};
use toml_edit::Value;

use super::hint::HINT;
use crate::file::{Given, Key, Layer, TABLES};
use crate::say::refusal::Refusal;
use crate::stage::Who;

/// A setting with the value that it is to have.
#[derive(Clone, Debug)]
pub struct Setting {
    /// Its name as it stands in the file.
    pub key: String,
    /// Its value in one line, as it is told.
    pub told: String,
    /// What it acts on.
    pub acts_on: ActsOn,
    /// Where the value stands in the file.
    pub place: Option<Range<usize>>,
}

/// What it acts on.
#[derive(Clone, Debug)]
pub enum ActsOn {
    /// A key of the plan.
    Plan(&'static Key, Value),
    /// So many source addresses.
    Sources(u8),
    /// So many ports on which the server listens.
    ListenPorts(u16),
    /// A key of the run's profile, by its table.
    Profile(&'static str, String, Value),
    /// RLIMIT_NOFILE of one end, soft and hard.
    Nofile(Who, u64),
    /// One descriptor table for all connections of one end, as an ordinary program has, or one for each worker.
    OneTable(Who, bool),
    /// How the server's workers are scheduled: a flag of `c10k-server`.
    Server(&'static str, String),
    /// Processor time of one end: microseconds of each 100 ms.
    Cpus(Who, u32),
    /// Memory of one end, bytes.
    Memory(Who, u64),
}

/// The names beside those of a plan and a profile.
const OWN: [&str; 12] = [
    "sources",
    "listen_ports",
    "server.cpus",
    "server.memory",
    "server.nofile",
    "server.one_table",
    "server.scheduling",
    "server.burn",
    "swarm.cpus",
    "swarm.memory",
    "swarm.nofile",
    "swarm.one_table",
];

/// What the names of sysctls begin with.
const SYSCTL_TREES: [&str; 4] = ["net.", "fs.", "kernel.", "vm."];

/// A key and one of its values, as they stand in a file.
pub(crate) struct Leaf<'a> {
    /// Its name.
    pub name: String,
    /// Where it stands in the file.
    pub place: Option<Range<usize>>,
    /// One value, or a list.
    pub value: &'a Value,
}

impl Leaf<'_> {
    /// The setting, with `value` for one of the leaf's values.
    pub(crate) fn setting(&self, layer: &Layer, value: &Value) -> Result<Setting, Refusal> {
        let place = value.span().or_else(|| self.place.clone());
        let wrong =
            |message: String| layer.file.wrong(&format!("{}: {message}", self.name), place.clone(), HINT);
        let is_empty = value.as_str().is_some_and(|text| text.trim().is_empty())
            || value.as_array().is_some_and(toml_edit::Array::is_empty);
        if is_empty {
            return Err(wrong("a value without anything in it: expected one that can be set".to_owned()));
        }
        let acts_on = match own(&self.name, value).map_err(wrong)? {
            Some(own) => own,
            None => self.of_plan_or_profile(layer, value)?,
        };
        Ok(Setting { key: self.name.clone(), told: told(value), acts_on, place })
    }

    fn of_plan_or_profile(&self, layer: &Layer, value: &Value) -> Result<ActsOn, Refusal> {
        let name = self.name.as_str();
        if let Some((table, key)) = in_profile(name) {
            let acts_on = ActsOn::Profile(table, key.to_owned(), value.clone());
            return match Profile::from_text(&alone(table, key, value)) {
                Ok(_) => Ok(acts_on),
                Err(error) => Err(self.not_for_a_profile(layer, value, &error)),
            };
        }
        let key = match name.split_once('.') {
            Some((table, key)) if TABLES.contains(&table) => Key::find(Some(table), key),
            Some(_) => None,
            None => Key::find(None, name),
        };
        let Some(key) = key else {
            let known = Key::names(None).map(str::to_owned).chain(OWN.map(str::to_owned));
            let of_tables = TABLES
                .iter()
                .flat_map(|table| Key::names(Some(table)).map(move |key| format!("{table}.{key}")));
            let others = [
                "limits.nofile",
                "socket.backlog",
                "socket.keepalive",
                "namespace.ehash_entries",
                "namespace.initcwnd",
            ];
            let known = known.chain(of_tables).chain(others.map(str::to_owned));
            let hint = match nearest(name, known) {
                Some(near) => format!("did you mean {near}?"),
                None => "a key of a plan, a sysctl such as net.ipv4.tcp_rmem, limits.nofile, socket.backlog, sources, \
                         listen_ports, server.cpus or server.memory; docs/experiments.md lists them"
                    .to_owned(),
            };
            return Err(layer.file.wrong(&format!("unknown setting `{name}`"), self.place.clone(), hint));
        };
        Ok(ActsOn::Plan(key, value.clone()))
    }

    fn not_for_a_profile(&self, layer: &Layer, value: &Value, error: &ProfileError) -> Refusal {
        let text = error.to_string();
        let last = text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default().trim();
        // Whether the name or the value is wrong, the last line says.
        let is_the_name = last.starts_with("unknown field") || last.contains("is no sysctl");
        let place = if is_the_name { self.place.clone() } else { value.span() };
        let message = format!("{}: {last}", self.name);
        layer.file.wrong(&message, place.or_else(|| self.place.clone()), error.hint())
    }
}

/// A value in one line: a list as sysctl(8) takes it.
pub fn told(value: &Value) -> String {
    match value {
        Value::String(text) => text.value().clone(),
        Value::Array(all) => all.iter().map(told).collect::<Vec<_>>().join(" "),
        other => {
            let mut other = other.clone();
            other.decor_mut().clear();
            other.to_string()
        }
    }
}

/// The table and the key of a profile that a name means.
fn in_profile(name: &str) -> Option<(&'static str, &str)> {
    if SYSCTL_TREES.iter().any(|tree| name.starts_with(tree)) {
        return Some(("sysctl", name));
    }
    let (table, key) = name.split_once('.')?;
    let table = ["limits", "socket", "namespace"].into_iter().find(|known| *known == table)?;
    Some((table, key))
}

/// A profile with this setting alone.
fn alone(table: &str, key: &str, value: &Value) -> String {
    let mut value = value.clone();
    value.decor_mut().clear();
    format!("name = \"x\"\nsummary = \"x\"\n[{table}]\n\"{key}\" = {value}\n")
}

/// What is a sweep's own; nothing where the name is not.
fn own(name: &str, value: &Value) -> Result<Option<ActsOn>, String> {
    let given = Given(value);
    let of_end = |name: &str| match name.split_once('.') {
        Some(("swarm", _)) => Who::Swarm,
        _ => Who::Server,
    };
    Ok(Some(match name {
        "sources" => match given.small::<u8>()? {
            0 => return Err("0 sources connect to nothing: expected 1 to 50".to_owned()),
            count @ 1..=50 => ActsOn::Sources(count),
            more => return Err(format!("{more} sources: expected 1 to 50")),
        },
        "listen_ports" => match given.small::<u16>()? {
            count @ 1..=100 => ActsOn::ListenPorts(count),
            other => return Err(format!("{other} ports: expected 1 to 100")),
        },
        "server.cpus" | "swarm.cpus" => {
            let cpus = match value {
                Value::Integer(whole) => *whole.value() as f64,
                Value::Float(part) => *part.value(),
                _ => return Err("expected processors, such as 0.5".to_owned()),
            };
            // The kernel takes no less than a hundredth.
            if !(0.01..=1024.0).contains(&cpus) {
                return Err(format!("{cpus} processors: expected 0.01 to 1024"));
            }
            ActsOn::Cpus(of_end(name), (cpus * 100_000.0).round() as u32)
        }
        "server.memory" | "swarm.memory" => ActsOn::Memory(of_end(name), bytes(value)?),
        "server.nofile" | "swarm.nofile" => match given.count()? {
            0..=15 => return Err("fewer than 16 descriptors start no program".to_owned()),
            count => ActsOn::Nofile(of_end(name), count),
        },
        "server.one_table" | "swarm.one_table" => ActsOn::OneTable(of_end(name), given.boolean()?),
        "server.scheduling" => match given.text()? {
            policy @ ("batch" | "other") => ActsOn::Server("--scheduling", policy.to_owned()),
            other => return Err(format!("'{other}' is not known: expected batch or other")),
        },
        // Of a test: time burnt for each connection, ns.
        "server.burn" => ActsOn::Server("--burn-ns", given.count()?.to_string()),
        _ => return Ok(None),
    }))
}

/// Bytes: `500MB`, `4MiB`, or a number.
fn bytes(value: &Value) -> Result<u64, String> {
    let expected = || "expected bytes, such as 500000000, \"500MB\" or \"512MiB\"".to_owned();
    let least =
        |bytes: u64| if bytes < 1 << 20 { Err("expected at least 1MiB".to_owned()) } else { Ok(bytes) };
    if let Some(number) = value.as_integer() {
        return least(u64::try_from(number).map_err(|_| expected())?);
    }
    let text = value.as_str().ok_or_else(expected)?.trim();
    let split = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let unit = match unit {
        "" | "B" => 1,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(expected()),
    };
    let Quantity(number) = number.trim().parse().map_err(|_| expected())?;
    least(number.saturating_mul(unit))
}

impl Setting {
    /// Changes the plan, where it acts on one. Topologies come first: sources and listeners stand on them.
    pub fn change(&self, plan: &mut Plan) -> Result<(), String> {
        match &self.acts_on {
            ActsOn::Plan(key, value) => change_key(plan, key, value),
            ActsOn::Sources(count) => {
                plan.load.ips = Some(sources(plan.topology, *count));
                Ok(())
            }
            ActsOn::ListenPorts(count) => listen_on(plan, *count),
            _ => Ok(()),
        }
    }

    /// Whether it is the topology, on which others stand.
    pub(crate) fn is_topology(&self) -> bool {
        matches!(&self.acts_on, ActsOn::Plan(key, _) if key.path == "topology")
    }

    /// Whether only this host can say if it may be set.
    pub fn is_the_hosts(&self) -> bool {
        match &self.acts_on {
            ActsOn::Plan(key, _) => key.path == "topology" || key.path == "profile",
            ActsOn::Sources(_) | ActsOn::ListenPorts(_) | ActsOn::Server(..) | ActsOn::OneTable(..) => false,
            ActsOn::Profile(..) | ActsOn::Nofile(..) | ActsOn::Cpus(..) | ActsOn::Memory(..) => true,
        }
    }
}

fn change_key(plan: &mut Plan, key: &'static Key, value: &Value) -> Result<(), String> {
    let topology = plan.topology;
    let below = std::mem::take(&mut plan.work);
    let changed = (key.set)(plan, Given(value));
    let own = std::mem::replace(&mut plan.work, below);
    changed?;
    plan.work = plan.work.with(&own);
    match key.path {
        "topology" if plan.topology != topology => crate::resolve::move_to(plan.topology, plan, false),
        // Of target and steps one replaces the other, and all at once is no growth in steps.
        "target" => plan.load.steps = None,
        "load.arrivals" if plan.load.arrivals == c10k_record::Spread::Burst => {
            (plan.load.steps, plan.load.rate_per_second) = (None, None);
        }
        "load.steps" => {
            plan.target = plan.load.steps.map_or(plan.target, |steps| steps.total());
            plan.load.arrivals = c10k_record::Spread::Even;
        }
        _ => {}
    }
    Ok(())
}

/// The first so many addresses from which a topology's clients come.
fn sources(topology: Topology, count: u8) -> String {
    let (network, first) = match topology {
        Topology::Loopback | Topology::Remote => ("127.0.0", 1),
        Topology::Veth => ("192.168.1", 200),
    };
    format!("{network}.{first}-{network}.{}", first + count - 1)
}

/// Listens on so many ports one after the other, from the first one on.
fn listen_on(plan: &mut Plan, count: u16) -> Result<(), String> {
    let Some(first) = plan.server.listen.first().copied() else {
        return Err("the base listens nowhere".to_owned());
    };
    let last = first.port().checked_add(count - 1);
    let last = last.ok_or_else(|| format!("there are no {count} ports from {} on", first.port()))?;
    plan.server.listen = (first.port()..=last).map(|port| SocketAddr::new(first.ip(), port)).collect();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> Value {
        text.parse().expect(text)
    }

    #[test]
    fn a_value_is_told_in_one_line_as_a_sysctl_is_written() {
        let told_as = |text: &str| told(&value(text));
        assert_eq!(told_as("[4096, 8192 , 16384]"), "4096 8192 16384");
        assert_eq!(
            (told_as("\"10s\""), told_as("0.5"), told_as("7")),
            ("10s".into(), "0.5".into(), "7".into())
        );
    }

    #[test]
    fn limits_of_a_group_have_units_and_bounds() {
        assert!(matches!(own("server.cpus", &value("0.5")), Ok(Some(ActsOn::Cpus(Who::Server, 50_000)))));
        let memory = |text: &str| match own("swarm.memory", &value(text)) {
            Ok(Some(ActsOn::Memory(Who::Swarm, bytes))) => Some(bytes),
            _ => None,
        };
        assert_eq!(memory("\"500MB\""), Some(500_000_000));
        assert_eq!(memory("\"4 MiB\""), Some(4 << 20));
        assert_eq!((memory("4"), memory("\"5 parsecs\""), memory("true")), (None, None, None));
        assert!(own("server.cpus", &value("0")).is_err() && own("sources", &value("51")).is_err());
        assert!(matches!(own("net.core.somaxconn", &value("5")), Ok(None)));
    }

    #[test]
    fn sources_and_listeners_stand_on_the_topology() {
        assert_eq!(sources(Topology::Loopback, 3), "127.0.0.1-127.0.0.3");
        assert_eq!(sources(Topology::Veth, 1), "192.168.1.200-192.168.1.200");
        let mut plan = crate::resolve::default_plan();
        listen_on(&mut plan, 3).expect("ports");
        assert_eq!(plan.server.listen.iter().map(SocketAddr::port).collect::<Vec<_>>(), [9000, 9001, 9002]);
    }
}
