//! In what runs differ beside what was measured, so that nobody takes one cause for another.

use std::collections::BTreeMap;

use c10k_record::{Host, Record, UNKNOWN, clean, human_bytes, human_count};
use serde_json::Value;

/// Something that is not the same in all groups of runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Difference {
    /// What it is.
    pub(crate) what: String,
    /// What each group has, with its name; a group whose runs differ has several.
    pub(crate) values: Vec<(String, Vec<String>)>,
    /// Whether it is a setting that a profile applies.
    is_setting: bool,
}

impl Difference {
    /// "profile (A tuned, B stock)".
    pub(crate) fn words(&self) -> String {
        let groups: Vec<String> =
            self.values.iter().map(|(name, values)| format!("{name} {}", values.join(" or "))).collect();
        clean(&format!("{} ({})", self.what, groups.join(", ")))
    }
}

/// Settings that are told one by one; further ones are counted.
const MOST_SETTINGS: usize = 6;

/// Differences as lines; where many settings differ, as with two profiles, not each of them.
pub(crate) fn lines(differences: &[Difference]) -> Vec<String> {
    let settings = differences.iter().filter(|difference| difference.is_setting).count();
    let told = if settings > MOST_SETTINGS { MOST_SETTINGS - 1 } else { settings };
    let mut seen = 0;
    let mut lines = Vec::new();
    for difference in differences {
        seen += usize::from(difference.is_setting);
        if !difference.is_setting || seen <= told {
            lines.push(format!("not the same: {}", difference.words()));
        } else if seen == told + 1 {
            let left = settings - told;
            lines.push(format!(
                "not the same: {left} further settings (`c10k-lab compare --json` lists them)"
            ));
        }
    }
    lines
}

/// What is not the same in all runs of these groups, what decides most first: plan, settings, host, program.
pub(crate) fn differences(groups: &[(&str, &[&Record])]) -> Vec<Difference> {
    // A swarm by itself has no plan: that is one difference, and not each of a plan's values.
    let have_plans = groups.iter().flat_map(|(_, runs)| *runs).all(|run| run.plan.is_some());
    let facts: Vec<(String, Vec<Facts>)> = groups
        .iter()
        .map(|(name, runs)| ((*name).to_owned(), runs.iter().map(|run| facts_of(run, have_plans)).collect()))
        .collect();
    let mut names: Vec<(Part, &String)> = Vec::new();
    for name in facts.iter().flat_map(|(_, runs)| runs).flat_map(BTreeMap::keys) {
        if !names.contains(&(name.0, &name.1)) {
            names.push((name.0, &name.1));
        }
    }
    names.sort();
    let found = names.into_iter().filter_map(|(part, name)| {
        let key = (part, name.clone());
        let values = facts.iter().map(|(group, runs)| {
            let mut of_group: Vec<String> = Vec::new();
            for run in runs {
                let value = run.get(&key).map_or_else(|| part.missing().to_owned(), Clone::clone);
                if !of_group.contains(&value) {
                    of_group.push(value);
                }
            }
            (group.clone(), of_group)
        });
        let values: Vec<(String, Vec<String>)> =
            values.filter(|(_, of_group)| !of_group.is_empty()).collect();
        let first = values.first().map(|(_, of_group)| of_group.clone());
        let is_one =
            values.iter().all(|(_, of_group)| of_group.len() == 1 && Some(of_group) == first.as_ref());
        let is_setting = part == Part::Setting;
        (!is_one).then(|| Difference { what: name.clone(), values, is_setting })
    });
    found.collect()
}

/// What a run was, by the part of it and a name.
type Facts = BTreeMap<(Part, String), String>;

/// Where a fact comes from, in the order in which they are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    /// What a plan begins with.
    Head,
    /// The rest of the plan.
    Plan,
    /// A setting that was applied.
    Setting,
    /// The machine.
    Host,
    /// The programs.
    Program,
}

impl Part {
    /// What stands for a value that a run has not.
    fn missing(self) -> &'static str {
        match self {
            Self::Plan => "none",
            Self::Setting => "not set",
            Self::Head | Self::Host | Self::Program => UNKNOWN,
        }
    }
}

fn facts_of(record: &Record, have_plans: bool) -> Facts {
    let mut facts = Facts::new();
    let mut add = |part: Part, name: &str, value: String| {
        facts.insert((part, name.to_owned()), value);
    };
    add(Part::Head, "profile", record.profile.name.clone());
    add(Part::Head, "topology", record.topology.to_string());
    add(Part::Head, "protocol", record.protocol.to_string());
    add(Part::Head, "workload", record.workload.to_string());
    add(Part::Head, "target", human_count(record.connections.target));
    let plan = if record.plan.is_some() { "in the record" } else { "none in the record" };
    add(Part::Head, "plan", plan.to_owned());
    for (name, value) in plan_of(record).into_iter().filter(|_| have_plans) {
        add(Part::Plan, &name, value);
    }
    for setting in &record.profile.applied {
        add(Part::Setting, &setting.key, setting.after.clone());
    }
    for setting in &record.profile.not_applied {
        let present = setting.present.as_deref().unwrap_or(UNKNOWN);
        add(Part::Setting, &setting.key, format!("{present} (not applied)"));
    }
    if let Some(host) = &record.host {
        for (name, value) in host_of(host) {
            add(Part::Host, name, value);
        }
    }
    if let Some(two) = &record.two_hosts {
        for (name, value) in two.server.host.iter().flat_map(host_of) {
            add(Part::Host, &format!("{name} (server's host)"), value);
        }
        for setting in &two.server.profile.applied {
            add(Part::Setting, &format!("{} (server's host)", setting.key), setting.after.clone());
        }
    }
    add(Part::Program, "program", record.tool.name.clone());
    add(Part::Program, "version", record.tool.version.clone());
    let mut servers: Vec<&str> = record
        .processes
        .iter()
        .filter(|process| process.counted)
        .filter_map(|process| process.name.as_deref())
        .collect();
    servers.sort_unstable();
    servers.dedup();
    if !servers.is_empty() {
        add(Part::Program, "server", servers.join(" and "));
    }
    facts
}

fn host_of(host: &Host) -> Vec<(&'static str, String)> {
    let text = |text: &Option<String>| text.clone().unwrap_or_else(|| UNKNOWN.to_owned());
    vec![
        ("system", text(&host.os)),
        ("kernel", text(&host.kernel)),
        ("processor", text(&host.cpu)),
        ("processors", host.cpus.to_string()),
        ("memory", human_bytes(host.memory_bytes)),
        ("made by root", if host.root { "yes" } else { "no" }.to_owned()),
        ("virtualization", host.virtualization.clone().unwrap_or_else(|| "none seen".to_owned())),
    ]
}

/// The plan's values by the names that its file has, without those that stand at its head.
fn plan_of(record: &Record) -> Vec<(String, String)> {
    const AT_THE_HEAD: [&str; 6] =
        ["schema_version", "profile", "topology", "protocol", "workload", "target"];
    let mut values = Vec::new();
    if let Some(Value::Object(plan)) = record.plan.as_ref().and_then(|plan| serde_json::to_value(plan).ok()) {
        for (name, value) in plan.iter().filter(|(name, _)| !AT_THE_HEAD.contains(&name.as_str())) {
            flatten(name, value, &mut values);
        }
    }
    values
}

fn flatten(name: &str, value: &Value, into: &mut Vec<(String, String)>) {
    match value {
        Value::Object(fields) => {
            for (field, value) in fields {
                flatten(&format!("{name}.{field}"), value, into);
            }
        }
        Value::Array(items) if items.iter().any(Value::is_object) => {
            for (number, item) in items.iter().enumerate() {
                let own = item.get("name").and_then(Value::as_str).map(str::to_owned);
                flatten(&format!("{name}.{}", own.unwrap_or_else(|| number.to_string())), item, into);
            }
        }
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(plain).collect();
            into.push((name.to_owned(), items.join(", ")));
        }
        Value::Null => {}
        value => into.push((name.to_owned(), plain(value))),
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    fn told(groups: &[(&str, &[&Record])]) -> Vec<String> {
        differences(groups).iter().map(Difference::words).collect()
    }

    #[test]
    fn runs_that_are_alike_differ_in_nothing() {
        let run = fixtures::held();
        assert_eq!(told(&[("A", &[&run]), ("B", &[&run, &run])]), [""; 0]);
    }

    #[test]
    fn a_setting_the_host_and_the_program_are_told_after_the_plan() {
        let (a, mut b) = (fixtures::held(), fixtures::held());
        let host = b.host.as_mut().expect("a host");
        (host.cpus, host.kernel) = (8, None);
        b.tool.version = "0.2.0".to_owned();
        b.connections.target = 5_000;
        b.profile.applied[0].after = "7".to_owned();
        let key = b.profile.applied[0].key.clone();
        let was = a.profile.applied[0].after.clone();
        assert_eq!(
            told(&[("A", &[&a]), ("B", &[&b])]),
            [
                "target (A 100,000, B 5,000)".to_owned(),
                format!("{key} (A {was}, B 7)"),
                "kernel (A 6.18.0, B unknown)".to_owned(),
                "processors (A 2, B 8)".to_owned(),
                "version (A 0.1.0, B 0.2.0)".to_owned(),
            ]
        );
    }

    #[test]
    fn of_many_settings_the_first_few_are_told_and_the_others_counted() {
        let (mut a, mut b) = (fixtures::held(), fixtures::held());
        for run in [&mut a, &mut b] {
            run.profile.not_applied.clear();
        }
        let one = a.profile.applied[0].clone();
        a.profile.applied = (0..9)
            .map(|number| {
                let mut setting = one.clone();
                setting.key = format!("net.key_{number}");
                setting
            })
            .collect();
        b.profile.applied.clear();
        let lines = lines(&differences(&[("A", &[&a]), ("B", &[&b])]));
        assert_eq!(lines.len(), 6, "{lines:?}");
        assert_eq!(lines[5], "not the same: 4 further settings (`c10k-lab compare --json` lists them)");
        assert!(lines[0].starts_with("not the same: net.key_0 (A "), "{lines:?}");
    }

    #[test]
    fn runs_of_one_group_that_differ_are_told_too() {
        let (a, mut b) = (fixtures::held(), fixtures::held());
        b.connections.target = 5_000;
        assert_eq!(told(&[("A", &[&a, &b]), ("B", &[&a])]), ["target (A 100,000 or 5,000, B 100,000)"]);
    }
}
