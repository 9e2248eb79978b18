//! Two runs beside each other: whether they can be compared, and in what they differ.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{Baseline, Compared, Host, Plan, ProfileInRun, Record, human_bytes};

impl Baseline {
    /// What `record` is compared with, and in what the two are not the same.
    #[must_use]
    pub fn of(baseline: &Record, path: String, record: &Record) -> Self {
        let differences = differences(baseline, record);
        Self { run_id: baseline.run_id.clone(), path, differences, compared: Vec::new() }
    }
}

impl Record {
    /// Notes at the baseline what came of each verdict beside it.
    pub fn note_compared(&mut self) {
        let Some(baseline) = &mut self.baseline else { return };
        let beside = self.verdicts.iter().filter_map(|verdict| {
            let (had, ratio) = verdict.beside()?;
            Some(Compared { expr: verdict.expr.clone(), baseline: had, value: verdict.value, ratio })
        });
        baseline.compared = beside.collect();
    }
}

/// Why no number of `baseline` says anything of a run of this plan: what was done there was something else. Empty where the
/// two can be compared.
#[must_use]
pub fn not_comparable(baseline: &Record, plan: &Plan) -> Vec<String> {
    let Some(other) = &baseline.plan else {
        // A swarm alone has no plan: so much of one is in every record.
        return [
            ("protocol", baseline.protocol.to_string(), plan.protocol.to_string()),
            ("workload", baseline.workload.to_string(), plan.workload.to_string()),
            ("target", baseline.connections.target.to_string(), plan.target.to_string()),
        ]
        .into_iter()
        .filter_map(|(name, there, here)| unlike(name, &there, &here))
        .collect();
    };
    unlike_keys(other, plan, says_what_is_done)
}

/// The keys of a plan that say what its connections do, and how many they are.
fn says_what_is_done(key: &str) -> bool {
    ["protocol", "workload", "target"].contains(&key) || key.starts_with("work.") || key.starts_with("phase.")
}

/// The others by which numbers differ. The seed changes none, nor do the addresses, and verdicts are no part of what is
/// measured.
fn says_how_it_is_done(key: &str) -> bool {
    let is_neither = ["schema_version", "load.seed", "load.ips", "load.ports"].contains(&key);
    let is_apart = key.starts_with("verdicts.") || key.starts_with("server.listen.") || is_way_to_server(key);
    !says_what_is_done(key) && !is_neither && !is_apart
}

fn is_way_to_server(key: &str) -> bool {
    ["server.control", "server.ssh"].contains(&key) || key.starts_with("server.reached_at.")
}

/// In what two runs that can be compared are not the same.
fn differences(baseline: &Record, record: &Record) -> Vec<String> {
    let mut all = match (&baseline.plan, &record.plan) {
        (Some(there), Some(here)) => unlike_keys(there, here, says_how_it_is_done),
        (None, _) => vec!["it has no plan: how its connections were made is not known".to_owned()],
        (_, None) => Vec::new(),
    };
    all.extend(unlike_settings(&baseline.profile, &record.profile));
    match (&baseline.host, &record.host) {
        (Some(there), Some(here)) => all.extend(unlike_hosts(there, here)),
        (None, Some(_)) => all.push("its machine is not known".to_owned()),
        (_, None) => {}
    }
    let version = |record: &Record| format!("{} {}", record.tool.name, record.tool.version);
    all.extend(unlike("program", &version(baseline), &version(record)));
    all
}

fn unlike(name: &str, there: &str, here: &str) -> Option<String> {
    (there != here).then(|| format!("{name}: {there} in the baseline, {here} here"))
}

fn unlike_keys(there: &Plan, here: &Plan, is_meant: impl Fn(&str) -> bool) -> Vec<String> {
    unlike_entries(&leaves(there), &leaves(here), is_meant, "not set")
}

fn unlike_entries(
    there: &BTreeMap<String, String>,
    here: &BTreeMap<String, String>,
    is_meant: impl Fn(&str) -> bool,
    none: &str,
) -> Vec<String> {
    let only_there = there.keys().filter(|key| !here.contains_key(*key));
    let keys = here.keys().chain(only_there).filter(|key| is_meant(key));
    let text = |all: &BTreeMap<String, String>, key: &str| all.get(key).map_or(none.to_owned(), Clone::clone);
    keys.filter_map(|key| unlike(key, &text(there, key), &text(here, key))).collect()
}

/// A plan's values by their paths.
fn leaves(plan: &Plan) -> BTreeMap<String, String> {
    fn walk(value: &Value, path: &str, into: &mut BTreeMap<String, String>) {
        let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        match value {
            Value::Object(members) => {
                members.iter().for_each(|(name, value)| walk(value, &below(name), into));
            }
            Value::Array(items) => {
                items
                    .iter()
                    .enumerate()
                    .for_each(|(at, item)| walk(item, &below(&(at + 1).to_string()), into));
            }
            Value::Null => {}
            Value::String(text) => drop(into.insert(path.to_owned(), text.clone())),
            plain => drop(into.insert(path.to_owned(), plain.to_string())),
        }
    }
    let mut all = BTreeMap::new();
    walk(&serde_json::to_value(plan).unwrap_or_default(), "", &mut all);
    all
}

/// What one profile came to in two places; of two profiles the name says enough.
fn unlike_settings(there: &ProfileInRun, here: &ProfileInRun) -> Vec<String> {
    if there.name != here.name {
        return Vec::new();
    }
    let set = |profile: &ProfileInRun| -> BTreeMap<String, String> {
        profile.applied.iter().map(|one| (one.key.clone(), one.after.clone())).collect()
    };
    unlike_entries(&set(there), &set(here), |_| true, "not applied")
}

fn unlike_hosts(there: &Host, here: &Host) -> Vec<String> {
    let known = |text: &Option<String>| text.clone().unwrap_or_else(|| "not known".to_owned());
    let virtual_in = |host: &Host| host.virtualization.clone().unwrap_or_else(|| "none".to_owned());
    let user = |host: &Host| if host.root { "root" } else { "an ordinary user" }.to_owned();
    let rows = [
        unlike("kernel", &known(&there.kernel), &known(&here.kernel)),
        unlike("system", &known(&there.os), &known(&here.os)),
        unlike("processor", &known(&there.cpu), &known(&here.cpu)),
        unlike("processors", &there.cpus.to_string(), &here.cpus.to_string()),
        unlike("memory", &human_bytes(there.memory_bytes), &human_bytes(here.memory_bytes)),
        unlike("virtualization", &virtual_in(there), &virtual_in(here)),
        unlike("user", &user(there), &user(here)),
    ];
    rows.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::sample_record;
    use crate::{AppliedSetting, Condition, RunState, judge};

    fn plan(change: impl Fn(&mut Plan)) -> Plan {
        let text = r#"schema_version = 1
            profile = "tuned"
            topology = "loopback"
            protocol = "raw"
            workload = "echo"
            target = 1000
            verdicts = ["held = target"]
            [server]
            listen = ["127.0.0.1:9000"]
            mode = "echo"
            [load]
            in_flight = 512
            step_pause = "1s"
            hold = "10s"
            connect_timeout = "5s"
            probe_timeout = "5s"
            probe_bytes = 64
            probe = true
            close = "fin"
            [work]
            messages_per_second = 1.0
            [[phase]]
            name = "talk"
            kind = "echo"
            duration = "5s""#;
        let mut plan: Plan = toml::from_str(text).expect("a plan");
        change(&mut plan);
        plan
    }

    fn run(change: impl Fn(&mut Plan)) -> Record {
        let mut record = sample_record();
        record.plan = Some(plan(change));
        record.host = Some(Host::default());
        record.profile.name = "tuned".to_owned();
        record
    }

    fn compared(there: &Record, here: &Record) -> Vec<String> {
        Baseline::of(there, "before".to_owned(), here).differences
    }

    #[test]
    fn two_runs_of_one_plan_can_be_compared_and_do_not_differ() {
        let before = run(|_| {});
        assert_eq!(not_comparable(&before, &plan(|_| {})), [] as [String; 0]);
        assert_eq!(compared(&before, &run(|_| {})), [] as [String; 0]);
        // By which it is judged, and where it listens, changes nothing of what is measured.
        let here = run(|plan| {
            plan.verdicts.clear();
            plan.load.seed = Some(7);
            plan.server.listen = vec![([127, 0, 0, 1], 9100).into()];
            plan.server.reached_at = vec![([127, 0, 0, 1], 9100).into()];
        });
        assert_eq!(compared(&before, &here), [] as [String; 0]);
    }

    #[test]
    fn what_was_done_there_has_to_be_what_is_done_here() {
        let before = run(|_| {});
        let refused = |change: fn(&mut Plan)| not_comparable(&before, &plan(change));
        assert_eq!(refused(|plan| plan.target = 2000), ["target: 1000 in the baseline, 2000 here"]);
        assert_eq!(
            refused(|plan| plan.protocol = crate::Protocol::Ws),
            ["protocol: raw in the baseline, ws here"]
        );
        assert_eq!(
            refused(|plan| plan.workload = crate::Workload::Churn),
            ["workload: echo in the baseline, churn here"]
        );
        let of_work = refused(|plan| plan.work.messages_per_second = None);
        assert_eq!(of_work, ["work.messages_per_second: 1.0 in the baseline, not set here"]);
        let of_phase = refused(|plan| plan.phases[0].duration = Some(crate::Span::secs(6)));
        assert_eq!(of_phase, ["phase.1.duration: 5s in the baseline, 6s here"]);
        assert_eq!(refused(|plan| plan.load.hold = crate::Span::secs(1)), [] as [String; 0]);
    }

    #[test]
    fn a_swarm_alone_is_compared_by_what_its_record_has() {
        let mut before = sample_record();
        before.connections.target = 1000;
        let refused = not_comparable(&before, &plan(|_| {}));
        assert_eq!(refused, ["workload: hold in the baseline, echo here"]);
        assert!(compared(&before, &run(|_| {})).contains(&"its machine is not known".to_owned()));
    }

    #[test]
    fn another_load_profile_setting_machine_or_program_is_told() {
        let before = run(|_| {});
        let told = |change: &dyn Fn(&mut Record)| {
            let mut here = run(|_| {});
            change(&mut here);
            compared(&before, &here)
        };
        let by_plan = told(&|here| here.plan = Some(plan(|plan| plan.load.in_flight = 64)));
        assert_eq!(by_plan, ["load.in_flight: 512 in the baseline, 64 here"]);
        let by_profile = told(&|here| {
            here.plan = Some(plan(|plan| plan.profile = "stock".to_owned()));
            here.profile.name = "stock".to_owned();
            here.profile.applied.clear();
        });
        assert_eq!(by_profile, ["profile: tuned in the baseline, stock here"]);
        let applied = AppliedSetting {
            key: "net.core.somaxconn".to_owned(),
            before: "128".to_owned(),
            after: "4096".to_owned(),
        };
        let by_setting = told(&|here| here.profile.applied = vec![applied.clone()]);
        assert_eq!(by_setting, ["net.core.somaxconn: not applied in the baseline, 4096 here"]);
        let by_host = told(&|here| {
            let host = here.host.as_mut().expect("a host");
            (host.cpus, host.kernel, host.root) = (4, Some("6.18.0".to_owned()), true);
        });
        assert_eq!(
            by_host,
            [
                "kernel: not known in the baseline, 6.18.0 here",
                "processors: 0 in the baseline, 4 here",
                "user: an ordinary user in the baseline, root here",
            ]
        );
        let by_version = told(&|here| here.tool.version = "9".to_owned());
        assert_eq!(by_version, ["program: c10k-lab 0 in the baseline, c10k-lab 9 here"]);
    }

    #[test]
    fn the_record_has_the_ratio_of_each_verdict_beside_the_baseline() {
        let mut record = run(|_| {});
        record.state = RunState::Complete;
        record.connections.held = 900;
        record.baseline = Some(Baseline::of(&run(|_| {}), "before".to_owned(), &record));
        let conditions =
            ["held = target", "held >= 1000 - 5%"].map(|text| text.parse().expect("a condition"));
        record.verdicts = judge(&conditions as &[Condition], &record);
        record.note_compared();
        let compared = record.baseline.expect("it").compared;
        let expected = Compared {
            expr: "held >= 1000 - 5%".to_owned(),
            baseline: 1000.0,
            value: Some(900.0),
            ratio: Some(0.9),
        };
        assert_eq!(compared, [expected]);
    }
}
