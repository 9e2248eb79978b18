//! What is asked for: the goal as a plan, the profile it begins with, and how an ordinary program meets it.

use c10k_kernel::limits;
use c10k_kernel::sysctl::{SysctlRoot, is_in_the_first_namespace_alone};
use c10k_plan::args::RunArgs;
use c10k_plan::contradictions::kinds;
use c10k_plan::resolve::resolve_with_origins;
use c10k_plan::say::refusal::Refusal;
use c10k_profile::{NofileLimit, Profile, Source, what_was_meant};
use c10k_record::{LoadPlan, Metric, PhaseKind, Plan, Span, Topology, default_conditions, nearest};
use serde::{Deserialize, Serialize};

/// The goal, as it is kept in the folder: another one is another tuning.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Asked {
    /// The plan of each run, resolved.
    pub(super) plan: Plan,
    /// The name of the profile that it begins with, or its whole path.
    pub(super) begins_with: String,
    /// That profile whole, as text: what it extends may change.
    pub(super) profile: String,
    /// Whether each worker has a descriptor table of its own, as the lab's programs have; an ordinary program has one.
    pub(super) tables: bool,
    /// The soft RLIMIT_NOFILE that an ordinary program begins with; `None` where it is the hard one.
    pub(super) nofile: Option<u64>,
    /// The only settings that are tried; all that are named where it is empty.
    pub(super) only: Vec<String>,
    /// Rounds of what is measured.
    pub(super) pairs: u32,
}

/// How long a run holds where nothing else is said: a sweep makes many.
const HOLD: Span = Span(std::time::Duration::from_millis(500));
/// The same of a workload, which has to be measured.
const WORK: Span = Span(std::time::Duration::from_secs(3));
/// How long what is beyond a wall is waited for where nothing else is said.
const PATIENCE: Span = Span(std::time::Duration::from_secs(4));

impl Asked {
    /// The goal that these flags ask for.
    pub(super) fn of(
        args: &RunArgs,
        (tables, only, pairs): (bool, Vec<String>, u32),
    ) -> Result<Self, Refusal> {
        refuse_unknown(&only)?;
        let written = resolve_with_origins(args)?;
        let mut plan = written.plan;
        if plan.server.foreign {
            let message = "a server that runs already cannot be started anew with each setting";
            return Err(Refusal::text(
                message,
                "leave out [server] foreign: tune starts a server of its own",
            ));
        }
        let is_said = |key: &str| written.origins.contains_key(key);
        if !is_said("load.hold") && plan.phases.is_empty() {
            plan.load.hold = if plan.workload == c10k_record::Workload::Hold { HOLD } else { WORK };
        }
        let default = LoadPlan::default();
        if !is_said("load.connect_timeout") && plan.load.connect_timeout == default.connect_timeout {
            plan.load.connect_timeout = PATIENCE;
        }
        if !is_said("load.probe_timeout") && plan.load.probe_timeout == default.probe_timeout {
            plan.load.probe_timeout = PATIENCE;
        }
        if plan.load.ips.is_none() && plan.topology == Topology::Loopback && !tables && !plan.is_ipv6() {
            // An ordinary client has one address.
            plan.load.ips = Some("127.0.0.1".to_owned());
        }
        let profile =
            Profile::load(&plan.profile).map_err(|error| Refusal::text(error.to_string(), error.hint()))?;
        let begins_with = match &profile.source {
            Source::Shipped(name) => (*name).to_owned(),
            Source::File(path) => path.canonicalize().unwrap_or_else(|_| path.clone()).display().to_string(),
        };
        plan.profile.clone_from(&begins_with);
        let soft = limits::nofile().ok().filter(|_| !tables).map(|limit| limit.soft);
        let nofile = soft.and_then(|soft| soft_limit(&profile, soft));
        Ok(Self { plan, begins_with, profile: profile.to_toml(), tables, nofile, only, pairs })
    }

    /// Whether a setting may be tried.
    pub(super) fn wants(&self, key: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == key)
    }

    /// What is measured where all are held: by its workload, and the verdicts that are asked for.
    pub(super) fn metrics(&self) -> Vec<String> {
        let mut metrics: Vec<&str> = Vec::new();
        for kind in kinds(&self.plan) {
            metrics.extend(match kind {
                PhaseKind::Echo => &["messages_per_second", "echo_p99"][..],
                PhaseKind::Churn => &["cycles_per_second"][..],
                PhaseKind::Stream => &["start_up_p99", "stalled_viewers"][..],
                PhaseKind::Fanout => &["last_receiver_p99"][..],
                PhaseKind::Ramp | PhaseKind::Hold | PhaseKind::Drain => {
                    &["connects_per_second", "connect_p99"][..]
                }
            });
        }
        let mut metrics: Vec<String> = metrics.into_iter().map(str::to_owned).collect();
        metrics.extend(self.own_verdicts().map(|metric| metric.to_string()));
        let mut seen = std::collections::BTreeSet::new();
        metrics.retain(|metric| seen.insert(metric.clone()));
        metrics
    }

    /// What the verdicts are about that somebody has asked for, where it is a time or a rate of the whole run.
    fn own_verdicts(&self) -> impl Iterator<Item = Metric> {
        let defaults = default_conditions(self.plan.load.probe);
        let own = self.plan.verdicts.iter().filter(move |verdict| !defaults.contains(verdict));
        own.filter(|verdict| verdict.phase.is_none() && verdict.metric.is_of_time())
            .map(|verdict| verdict.metric)
    }
}

/// Names that no setting has: they would leave everything out.
fn refuse_unknown(only: &[String]) -> Result<(), Refusal> {
    const OTHERS: [&str; 5] =
        ["limits.nofile", "socket.backlog", "namespace.ehash_entries", "namespace.initcwnd", "--ips"];
    const TREES: [&str; 4] = ["net.", "fs.", "kernel.", "vm."];
    let root = SysctlRoot::default();
    let is_sysctl = |key: &str| TREES.iter().any(|tree| key.starts_with(tree));
    // In a network namespace those of the whole host are not to be seen.
    let is_here = |key: &str| root.exists(key) || is_in_the_first_namespace_alone(key);
    if let Some(unknown) = only.iter().find(|key| is_sysctl(key) && !is_here(key)) {
        let hint = what_was_meant(unknown, &root).unwrap_or_else(|| "correct the name".to_owned());
        return Err(Refusal::host(format!("--only '{unknown}': this kernel does not have it"), hint));
    }
    let Some(unknown) = only.iter().find(|key| !OTHERS.contains(&key.as_str()) && !is_sysctl(key)) else {
        return Ok(());
    };
    let hint = match nearest(unknown, OTHERS) {
        Some(near) => format!("did you mean {near}?"),
        None => format!("expected a sysctl such as net.core.somaxconn, or one of {}", OTHERS.join(", ")),
    };
    Err(Refusal::text(format!("--only '{unknown}' is no setting that is tried"), hint))
}

/// The descriptor limit of an ordinary program with this profile that would have `soft` without it, where that is below the
/// hard one.
pub(super) fn soft_limit(profile: &Profile, soft: u64) -> Option<u64> {
    let hard = limits::nofile().ok()?.hard;
    let soft = match profile.limits.nofile {
        None => soft,
        Some(NofileLimit::AtLeast(wanted)) => wanted.max(soft),
        Some(NofileLimit::Hard) => hard,
    };
    Some(soft).filter(|soft| *soft < hard)
}

#[cfg(test)]
mod tests {
    use c10k_record::{Quantity, Workload};
    use c10k_swarm::{LoadArgs, WorkArgs};

    use super::*;

    fn asked(change: impl FnOnce(&mut RunArgs)) -> Asked {
        let mut args = RunArgs { profile: Some("stock".to_owned()), ..RunArgs::default() };
        args.load = LoadArgs { target: Some(Quantity(900)), ..LoadArgs::default() };
        change(&mut args);
        Asked::of(&args, (false, Vec::new(), 6)).expect("a goal")
    }

    #[test]
    fn a_goal_is_that_of_an_ordinary_program_and_its_runs_are_short() {
        let asked = asked(|_| ());
        assert_eq!((asked.plan.target, asked.plan.load.hold), (900, HOLD));
        assert_eq!(asked.plan.load.ips.as_deref(), Some("127.0.0.1"));
        assert_eq!(asked.plan.load.connect_timeout, PATIENCE);
        assert_eq!(asked.begins_with, "stock");
        assert_eq!(asked.metrics(), ["connects_per_second", "connect_p99"]);
    }

    #[test]
    fn what_is_said_stays() {
        let asked = asked(|args| {
            args.load.hold = Some(Span::secs(7));
            args.load.ips = Some("127.0.0.1-127.0.0.3".to_owned());
            args.verdicts = vec!["first_echo_p99 <= 50ms".to_owned(), "failed <= 2%".to_owned()];
        });
        assert_eq!(asked.plan.load.hold, Span::secs(7));
        assert_eq!(asked.plan.load.ips.as_deref(), Some("127.0.0.1-127.0.0.3"));
        assert_eq!(asked.metrics(), ["connects_per_second", "connect_p99", "first_echo_p99"]);
    }

    #[test]
    fn a_workload_is_measured_by_what_it_does() {
        let asked = asked(|args| {
            let bitrate = "1Mbit/s".parse().ok();
            args.work = WorkArgs { workload: Some(Workload::Stream), bitrate, ..WorkArgs::default() };
        });
        assert_eq!(asked.plan.load.hold, WORK);
        assert!(asked.metrics().iter().any(|metric| metric == "start_up_p99"), "{:?}", asked.metrics());
        let only = Asked { only: vec!["net.core.somaxconn".to_owned()], ..asked };
        assert!(only.wants("net.core.somaxconn") && !only.wants("socket.backlog"));
    }
}
