//! One side of a comparison: the base, or the base with settings of its own, as plan, profile, limits and groups.

use c10k_profile::{Profile, Source};
use c10k_record::{Plan, Topology};
use toml_edit::{DocumentMut, value};

use super::setting::{ActsOn, Setting};
use crate::say::refusal::Refusal;
use crate::stage::Limit;
use crate::stage::{Stage, Who};

/// One side of a comparison.
#[derive(Clone, Debug)]
pub struct Arm {
    /// Its folder: `base`, `arm-1`.
    pub name: String,
    /// The name of a case; nothing where a list of values makes it.
    pub case: Option<String>,
    /// What differs from the base; empty for the base.
    pub settings: Vec<Setting>,
    /// What all sides have, the base too.
    common: Vec<Setting>,
    /// The plan of its runs.
    pub plan: Plan,
    /// Its profile as text that stands alone.
    pub profile: String,
}

impl Arm {
    /// The base with these settings above those that all sides have. What is wrong is told with the setting that is.
    pub fn of(
        name: String,
        case: Option<String>,
        (base, common): (&Plan, &[Setting]),
        settings: Vec<Setting>,
    ) -> Result<Self, (String, Option<Box<Setting>>)> {
        let mut plan = base.clone();
        let (first, then): (Vec<&Setting>, Vec<&Setting>) =
            common.iter().chain(&settings).partition(|setting| setting.is_topology());
        for setting in first.into_iter().chain(then) {
            setting.change(&mut plan).map_err(|message| (message, Some(Box::new(setting.clone()))))?;
        }
        let any = || settings.first().or(common.first()).cloned().map(Box::new);
        plan.check().map_err(|message| (message, any()))?;
        if plan.target == 0 {
            return Err(("target = 0 holds nothing: expected at least 1".to_owned(), any()));
        }
        if plan.server.foreign || plan.topology == Topology::Remote {
            let message = "a sweep starts both ends of each run on this machine".to_owned();
            return Err((message, any()));
        }
        let refused = |refusal: Refusal| {
            let hint = refusal.hint.filter(|hint| !hint.is_empty());
            (hint.map_or(refusal.message.clone(), |hint| format!("{} ({hint})", refusal.message)), any())
        };
        crate::resolve::check_sources(&plan).map_err(refused)?;
        crate::contradictions::refuse(&plan).map_err(refused)?;
        let all: Vec<&Setting> = common.iter().chain(&settings).collect();
        let profile = profile(&name, &plan.profile, &all).map_err(|message| (message, any()))?;
        Ok(Self { name, case, settings, common: common.to_vec(), plan, profile })
    }

    /// What differs from the base, for people.
    pub fn label(&self) -> String {
        match (&self.case, self.settings.as_slice()) {
            (Some(case), _) => case.clone(),
            (None, []) => "base".to_owned(),
            (None, settings) => {
                let each: Vec<String> =
                    settings.iter().map(|setting| format!("{} = {}", setting.key, setting.told)).collect();
                each.join(", ")
            }
        }
    }

    /// The value of a setting, where this side or all sides have one by the sweep.
    pub fn value_of(&self, key: &str) -> Option<&str> {
        let mut own_first = self.settings.iter().chain(&self.common);
        own_first.find(|setting| setting.key == key).map(|setting| setting.told.as_str())
    }

    /// All that is set in its runs.
    pub fn all(&self) -> impl Iterator<Item = &Setting> {
        self.common.iter().chain(&self.settings)
    }

    /// What stands around its runs, without its groups.
    pub fn stage(&self) -> Stage {
        let mut stage = Stage::default();
        if self.plan.load.ips.is_some() {
            // With sources that are named the swarm would count its ports and refuse: here it is to meet their end.
            stage.swarm.flags.insert("--target".to_owned(), "1".to_owned());
        }
        for setting in self.all() {
            match &setting.acts_on {
                ActsOn::Nofile(who, nofile) => stage.end_mut(*who).nofile = Some(*nofile),
                ActsOn::OneTable(who, one_table) => stage.end_mut(*who).one_table = *one_table,
                ActsOn::Server(flag, value) => {
                    stage.server.flags.insert((*flag).to_owned(), value.clone());
                }
                _ => {}
            }
        }
        stage
    }

    /// The control groups that its runs have.
    pub fn groups(&self) -> Vec<(Who, Limit)> {
        let groups = self.all().filter_map(|setting| match setting.acts_on {
            ActsOn::Cpus(who, us_of_100_ms) => Some((who, Limit::Processor(us_of_100_ms))),
            ActsOn::Memory(who, bytes) => Some((who, Limit::Memory(bytes))),
            _ => None,
        });
        groups.collect()
    }

    /// Whether this host has to be asked if it can be set.
    pub fn is_the_hosts(&self) -> bool {
        self.all().any(Setting::is_the_hosts)
    }

    /// Its plan as its folder holds it: the profile lies beside it.
    pub fn plan_text(&self) -> Result<String, String> {
        let plan = Plan { profile: PROFILE.to_owned(), ..self.plan.clone() };
        plan.to_toml().map_err(|error| error.to_string())
    }

    /// A plan that sets what this one sets, and holds one connection for a moment.
    pub fn trial(&self) -> Result<String, String> {
        let mut plan = Plan { profile: PROFILE.to_owned(), ..self.plan.clone() };
        (plan.target, plan.workload) = (1, c10k_record::Workload::Hold);
        (plan.phases, plan.verdicts) = (Vec::new(), Vec::new());
        plan.work = c10k_record::WorkPlan::default();
        plan.load.hold = c10k_record::Span::secs(0);
        (plan.load.steps, plan.load.rate_per_second) = (None, None);
        plan.load.arrivals = c10k_record::Spread::Even;
        plan.to_toml().map_err(|error| error.to_string())
    }
}

/// The file of a side's profile, beside its plan.
pub const PROFILE: &str = "./profile.toml";

/// A side's profile: that of its plan, with its settings above it, as text that stands alone.
fn profile(name: &str, of_plan: &str, settings: &[&Setting]) -> Result<String, String> {
    let below = Profile::load(of_plan).map_err(|error| error.to_string())?;
    let mut text = DocumentMut::new();
    text["name"] = value(format!("{}-{name}", below.name));
    text["summary"] = value(format!("{} of a sweep, above {}", name, below.name));
    text["extends"] = value(match &below.source {
        Source::Shipped(name) => (*name).to_owned(),
        Source::File(path) => {
            let absolute = path.canonicalize().map_err(|error| format!("{}: {error}", path.display()))?;
            absolute.display().to_string()
        }
    });
    for setting in settings {
        let ActsOn::Profile(table, key, wanted) = &setting.acts_on else { continue };
        let table = text.entry(table).or_insert_with(toml_edit::table);
        let Some(table) = table.as_table_mut() else { continue };
        let mut wanted = wanted.clone();
        wanted.decor_mut().clear();
        table.insert(key, value(wanted));
    }
    let whole = Profile::from_text(&text.to_string()).map_err(|error| error.to_string())?;
    Ok(whole.to_toml())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resolve::default_plan;

    fn setting(key: &str, acts_on: ActsOn) -> Setting {
        Setting { key: key.to_owned(), told: "5".to_owned(), acts_on, place: None }
    }

    #[test]
    fn a_sides_profile_stands_alone_with_its_settings_above_the_plans() {
        let key = "net.core.somaxconn";
        let settings = vec![
            setting(key, ActsOn::Profile("sysctl", key.to_owned(), 5.into())),
            setting("server.nofile", ActsOn::Nofile(Who::Server, 300)),
            setting("server.cpus", ActsOn::Cpus(Who::Swarm, 50_000)),
        ];
        let arm = Arm::of("arm-1".to_owned(), None, (&default_plan(), &[]), settings).expect("a side");
        let profile = Profile::from_text(&arm.profile).expect("a profile");
        assert_eq!(profile.sysctl[key].value.to_string(), "5");
        assert_eq!(profile.socket.backlog, Some(16_384), "of tuned");
        assert!(!arm.profile.contains("extends"), "{}", arm.profile);
        assert_eq!(arm.stage().server.nofile, Some(300));
        assert_eq!(arm.groups(), [(Who::Swarm, Limit::Processor(50_000))]);
        assert!(arm.is_the_hosts() && arm.label().starts_with("net.core.somaxconn = 5, "));
        assert!(arm.plan_text().expect("plain data").contains("profile = \"./profile.toml\""));
    }

    #[test]
    fn the_base_differs_in_nothing() {
        let base = Arm::of("base".to_owned(), None, (&default_plan(), &[]), Vec::new()).expect("the base");
        assert_eq!((base.label(), base.is_the_hosts()), ("base".to_owned(), false));
        assert_eq!(base.stage(), Stage::default());
    }
}
