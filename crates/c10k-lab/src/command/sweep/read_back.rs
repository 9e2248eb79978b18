//! How what a sweep sets is read back from the kernel before it counts as set.

use std::collections::BTreeMap;

use c10k_plan::experiment::arm::Arm;
use c10k_plan::experiment::file::Sweep;
use c10k_plan::experiment::setting::{ActsOn, Setting};

/// Where a setting is read back; `None` for what is given to a run and read back by nobody: its load, and time that is
/// burnt for a test.
fn source(setting: &Setting) -> Option<&'static str> {
    match &setting.acts_on {
        ActsOn::Profile("sysctl", ..) => Some("/proc/sys of the run's namespace"),
        ActsOn::Profile("limits", ..) => Some("RLIMIT_NOFILE of both ends"),
        ActsOn::Profile("namespace", key, _) if key == "initcwnd" => {
            Some("the routes between the ends, by rtnetlink")
        }
        ActsOn::Profile("namespace", ..) => Some("net.ipv4.tcp_ehash_entries of the run's namespace"),
        ActsOn::Profile("socket", key, _) if key == "backlog" => {
            Some("Send-Q of the listeners, by sock_diag")
        }
        ActsOn::Profile("socket", ..) => Some("getsockopt(2) of a socket in the run's namespace"),
        ActsOn::Nofile(..) => Some("/proc/PID/limits"),
        ActsOn::OneTable(..) => Some("what the process says of its tables"),
        ActsOn::Server("--scheduling", _) => Some("/proc/PID/task/TID/stat"),
        ActsOn::Cpus(..) | ActsOn::Memory(..) => Some("the group's own file"),
        ActsOn::Profile(..) | ActsOn::Server(..) => None,
        ActsOn::Plan(..) | ActsOn::Sources(_) | ActsOn::ListenPorts(_) => None,
    }
}

/// Whether the run itself has to look at its two ends for that.
pub(super) fn is_by_the_run(arm: &Arm) -> bool {
    arm.all().any(|setting| match &setting.acts_on {
        ActsOn::Nofile(..) | ActsOn::OneTable(..) | ActsOn::Server("--scheduling", _) => true,
        ActsOn::Profile("socket", key, _) => key == "backlog",
        _ => false,
    })
}

/// Each setting of a sweep, by its name, with where it is read back.
pub(super) fn sources(sweep: &Sweep) -> BTreeMap<&str, Option<&'static str>> {
    let all = sweep.arms.iter().flat_map(Arm::all);
    all.map(|setting| (setting.key.as_str(), source(setting))).collect()
}

/// The same in a line for people.
pub(super) fn words(sweep: &Sweep) -> String {
    let sources = sources(sweep);
    let read: Vec<String> =
        sources.iter().filter_map(|(key, source)| Some(format!("{key} ({})", (*source)?))).collect();
    let not: Vec<&str> = sources.iter().filter(|(_, source)| source.is_none()).map(|(key, _)| *key).collect();
    let with = |before: &str, all: String| if all.is_empty() { None } else { Some(format!("{before}{all}")) };
    let parts = [with("read back: ", read.join(", ")), with("not read back: ", not.join(", "))];
    parts.into_iter().flatten().collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting(key: &str, acts_on: ActsOn) -> Setting {
        Setting { key: key.to_owned(), told: "1".to_owned(), acts_on, place: None }
    }

    #[test]
    fn of_each_kind_of_setting_it_is_known_who_reads_it_back() {
        use c10k_plan::stage::Who;
        let of = |acts_on| source(&setting("x", acts_on));
        let profile = |table: &'static str, key: &str| of(ActsOn::Profile(table, key.to_owned(), 1.into()));
        assert!(profile("socket", "backlog").is_some_and(|source| source.contains("sock_diag")));
        assert!(profile("socket", "nodelay").is_some_and(|source| source.contains("getsockopt")));
        assert!(profile("namespace", "initcwnd").is_some_and(|source| source.contains("rtnetlink")));
        for (table, key) in
            [("sysctl", "net.core.somaxconn"), ("limits", "nofile"), ("namespace", "ehash_entries")]
        {
            assert!(profile(table, key).is_some(), "{table}.{key}");
        }
        assert!(of(ActsOn::Cpus(Who::Server, 1)).is_some() && of(ActsOn::Memory(Who::Swarm, 1)).is_some());
        assert!(of(ActsOn::Server("--scheduling", "other".to_owned())).is_some());
        for acts_on in
            [ActsOn::Sources(2), ActsOn::ListenPorts(2), ActsOn::Server("--burn-ns", "1".to_owned())]
        {
            assert_eq!(of(acts_on), None);
        }
    }
}
