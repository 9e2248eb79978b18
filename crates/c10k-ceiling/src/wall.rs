//! What a wall is: a value, with its formula, its proof and its remedy.

use c10k_record::{Degree, Evidence, HostSnapshot, Remedy, Scope, Setting, Side, human_count};

use crate::findings::{Findings, Lost};
use crate::plan_view::PlanView;

/// One limit that can stop the next connection.
#[derive(Clone, Copy, Debug)]
pub struct Wall {
    /// Its short name, such as `ports-exhausted`.
    pub name: &'static str,
    /// Its title in plain words.
    pub title: &'static str,
    /// At which end it stands.
    pub side: Side,
    /// Which process meets it.
    pub process: &'static str,
    /// Whether an errno, a kernel counter or a process's report names it; false for a broken verdict.
    pub hard: bool,
    /// Whether it is named only where no other wall is proven: it can be seen without having stopped anything.
    pub only_alone: bool,
    /// The outcomes under which connections are lost to it: errno names (errno(3)) and names of ours.
    pub outcomes: &'static [&'static str],
    /// Where its limit is read.
    pub read_at: &'static str,
    /// How many connections it allows, in words; [`Wall::predict`] is the same as a function.
    pub formula: &'static str,
    /// What must not be there for it to be the one that bit.
    pub not_there: &'static str,
    /// What its remedy reaches at least.
    pub scope: Scope,
    /// Whether the commands of its remedy are ways of which one suffices, and not steps of one way.
    pub any_command_lifts: bool,
    /// What a person should know of it.
    pub guide: Guide,
    /// How it is reproduced at small scale.
    pub plant: Plant,
    /// How many connections it allows under a plan; `None` where that depends on more than limits.
    pub predict: fn(&HostSnapshot, &PlanView) -> Option<Forecast>,
    /// Whether the findings prove that it bit.
    pub diagnose: fn(&Findings) -> Option<Bite>,
    /// Whether the findings of a run that holds all it was asked for prove that it was met, and recovered from.
    pub met: fn(&Findings) -> Option<Met>,
    /// What lifts it for this plan.
    pub lift: fn(&HostSnapshot, &PlanView) -> Remedy,
}

/// A wall's page in the field guide.
#[derive(Clone, Copy, Debug)]
pub struct Guide {
    /// What it is.
    pub what_it_is: &'static str,
    /// What somebody who runs into it sees.
    pub what_you_see: &'static str,
    /// Where to look to be sure.
    pub how_to_prove: &'static str,
    /// How it is lifted.
    pub how_to_lift: &'static str,
    /// What does not help, or harms.
    pub what_not_to_do: &'static str,
    /// The kernel's own file and function, or the manual page.
    pub kernel_source: &'static str,
}

/// How a wall is reproduced at small scale, without a change to the host.
#[derive(Clone, Copy, Debug)]
pub struct Plant {
    /// Whether it can be.
    pub plantable: bool,
    /// What that takes; for a wall that cannot be planted, what it would take.
    pub needs: &'static [Need],
    /// How, in one sentence; for a wall that cannot be planted, how it is proven instead.
    pub how: &'static str,
}

impl Plant {
    /// A wall that any user plants in a user and network namespace of their own.
    pub(crate) const fn in_a_namespace(how: &'static str) -> Self {
        Self { plantable: true, needs: &[Need::Namespace], how }
    }

    /// A wall that needs more than a namespace.
    pub(crate) const fn with(needs: &'static [Need], how: &'static str) -> Self {
        Self { plantable: true, needs, how }
    }

    /// A wall of another program or of another machine: it is proven against those.
    pub(crate) const fn of_others(how: &'static str) -> Self {
        Self { plantable: false, needs: &[Need::OtherProgram], how }
    }

    /// A wall that stands for the whole host: its proof is evidence that was recorded, replayed.
    pub(crate) const fn host_wide(how: &'static str) -> Self {
        Self { plantable: false, needs: &[Need::OwnHost], how }
    }
}

/// What a plant takes beside this program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// A network namespace of its own: root, or unprivileged user namespaces.
    Namespace,
    /// Root.
    Root,
    /// A memory cgroup in which a limit can be set.
    MemoryCgroup,
    /// A cpu cgroup in which a quota can be set.
    CpuCgroup,
    /// Connection tracking in the kernel (nf_conntrack).
    Conntrack,
    /// A queueing discipline that limits a rate (sch_tbf).
    TrafficShaper,
    /// A machine of one's own: the limit is the whole host's.
    OwnHost,
    /// A server, a router or a firewall that is none of this program's.
    OtherProgram,
}

impl Need {
    /// Its name in data.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Namespace => "namespace",
            Self::Root => "root",
            Self::MemoryCgroup => "memory-cgroup",
            Self::CpuCgroup => "cpu-cgroup",
            Self::Conntrack => "conntrack",
            Self::TrafficShaper => "traffic-shaper",
            Self::OwnHost => "own-host",
            Self::OtherProgram => "other-program",
        }
    }
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

    pub(crate) fn about(connections: u64, now: String, uncertainty_percent: u8) -> Self {
        Self { connections, now, uncertainty_percent }
    }
}

/// The proof that a wall bit.
#[derive(Clone, Debug, PartialEq)]
pub struct Bite {
    /// What proves it, at least one piece.
    pub evidence: Vec<Evidence>,
    /// How sure it is.
    pub degree: Degree,
    /// Milliseconds after the first connect at which it first cost a connection, where known.
    pub first_at_ms: Option<u64>,
}

/// The proof that a limit was met which cost no connection.
#[derive(Clone, Debug, PartialEq)]
pub struct Met {
    /// How often, at least 1.
    pub times: u64,
    /// What proves it, at least one piece.
    pub evidence: Vec<Evidence>,
    /// Whether it makes connections wait: what was late is its cost.
    pub delays: bool,
}

impl Bite {
    /// A bite with its evidence; none without evidence.
    pub(crate) fn proven(
        evidence: impl IntoIterator<Item = Evidence>,
        first_at_ms: Option<u64>,
    ) -> Option<Self> {
        let evidence: Vec<Evidence> = evidence.into_iter().collect();
        (!evidence.is_empty()).then_some(Self { evidence, degree: Degree::Proven, first_at_ms })
    }

    /// A bite that fits its evidence, which nothing contradicts; none without evidence.
    pub(crate) fn likely(
        evidence: impl IntoIterator<Item = Evidence>,
        first_at_ms: Option<u64>,
    ) -> Option<Self> {
        Some(Self { degree: Degree::Likely, ..Self::proven(evidence, first_at_ms)? })
    }

    /// Proven where nothing else could show the same, likely where it could.
    pub(crate) fn weighed(
        is_proof: bool,
        evidence: impl IntoIterator<Item = Evidence>,
        first_at_ms: Option<u64>,
    ) -> Option<Self> {
        if is_proof { Self::proven(evidence, first_at_ms) } else { Self::likely(evidence, first_at_ms) }
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

/// A value that raises the limit of this name: what is needed, and where so much stands already, twice that; no more
/// than the kernel takes, and never less than what stands.
pub(crate) fn raised(name: &str, needed: u64, present: Option<u64>) -> u64 {
    let wanted = match present {
        Some(present) if present >= needed => present.saturating_mul(2),
        _ => needed,
    };
    wanted.min(highest(name)).max(present.unwrap_or(0))
}

/// The highest value that the kernel takes for the limit of this name; with a higher one the write is EINVAL.
fn highest(name: &str) -> u64 {
    /// An int in the kernel.
    const INT: u64 = i32::MAX as u64;
    match name {
        // fs/file.c: sysctl_nr_open_max, whole words of the bitmap of descriptors.
        "fs.nr_open" | "limits.nofile" => INT & !63,
        // include/linux/threads.h: PID_MAX_LIMIT; kernel/cgroup/pids.c: pids_max_write.
        "pids.max" | "kernel.pid_max" => 4 << 20,
        // kernel/fork.c: MAX_THREADS, which is FUTEX_TID_MASK.
        "kernel.threads-max" => 0x3fff_ffff,
        // Those of net/ that raise() is given; tcp_mem is a long.
        name if name.starts_with("net.") && name != "net.ipv4.tcp_mem" => INT,
        _ => i64::MAX as u64,
    }
}

/// A remedy that raises one sysctl.
pub(crate) fn raise(
    scope: Scope,
    summary: impl Into<String>,
    key: &str,
    needed: u64,
    present: Option<u64>,
) -> Remedy {
    let value = raised(key, needed, present);
    let settings = [(format!("sysctl.{key}"), value.to_string())];
    let settings = settings.each_ref().map(|(key, value)| (key.as_str(), value.clone()));
    remedy(scope, summary, &settings, vec![raise_line(key, value, present)])
}

/// The line that raises one sysctl. Where its present value is not known the line looks for itself, so as not to lower
/// it.
pub(crate) fn raise_line(key: &str, value: u64, present: Option<u64>) -> String {
    let set = format!("sudo sysctl -w {key}={value}");
    match present {
        Some(_) => set,
        None => format!("[ \"$(sysctl -n {key})\" -ge {value} ] || {set}"),
    }
}

/// More time, or fewer connections a second; but these never where a verdict asks for more of them, and where all was late
/// that connections did while they were held, fewer of them.
pub(crate) fn more_time(plan: &PlanView, more: &str, slower: &str) -> Remedy {
    if plan.late_while_held {
        let half = (plan.target / 2).max(1).to_string();
        let text = format!("{more}, or hold fewer connections, or have them send and receive less.");
        if plan.repeats_a_plan() {
            // Its phases may have targets of their own.
            return remedy(Scope::Process, text, &[], Vec::new());
        }
        let again = plan.again_with(&[("--target", &half)]);
        return remedy(Scope::Process, text, &[("--target", half)], vec![again]);
    }
    let Some(wanted) = plan.wanted_rate else {
        let (rate, line) = plan.more_slowly(5000);
        return remedy(Scope::Process, format!("{more}, or {slower}."), &[("--rate", rate)], vec![line]);
    };
    let own = plan.rate_per_second.filter(|rate| *rate <= wanted);
    let Some(own) = own else {
        let look = "top -b -H -n 1 | head -n 20";
        return remedy(Scope::Process, format!("{more}."), &[], vec![look.to_owned()]);
    };
    let rate = format!("{}/s", wanted.saturating_add(wanted / 5).saturating_add(1));
    let text = format!(
        "Begin more connections a second (--rate {rate}): the plan begins {} and the verdict asks for {}. {more}.",
        human_count(own),
        human_count(wanted)
    );
    remedy(Scope::Process, text, &[("--rate", rate.clone())], vec![plan.again_with(&[("--rate", &rate)])])
}

/// For walls that cost connections or break a verdict where they are met, or whose evidence is there in healthy runs too.
pub(crate) fn no_way_back(_: &Findings) -> Option<Met> {
    None
}

/// For walls whose number depends on more than limits.
pub(crate) fn no_forecast(_: &HostSnapshot, _: &PlanView) -> Option<Forecast> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_limit_is_raised_beyond_what_the_kernel_takes() {
        // What systemd leaves of fs.nr_open.
        let of_systemd = Some(1_073_741_816);
        for name in ["fs.nr_open", "limits.nofile"] {
            assert_eq!(raised(name, 5_000, of_systemd), 2_147_483_584, "{name}");
        }
        for name in ["net.ipv4.tcp_max_orphans", "net.ipv4.tcp_max_tw_buckets", "net.core.somaxconn"] {
            assert_eq!(raised(name, 5_000, of_systemd), 2_147_483_632, "{name}");
            assert_eq!(raised(name, 5_000, Some(2_000_000_000)), 2_147_483_647, "{name}");
            assert_eq!(raised(name, u64::MAX, None), 2_147_483_647, "{name}");
        }
        assert_eq!(raised("pids.max", 3 << 20, Some(3 << 20)), 4_194_304);
        assert_eq!(raised("kernel.threads-max", 5_000, of_systemd), 1_073_741_823);
        assert_eq!(raised("net.ipv4.tcp_mem", 0, of_systemd), 2_147_483_632, "pages are counted in a long");
        assert_eq!(raised("fs.file-max", 5_000, Some(i64::MAX as u64)), i64::MAX as u64, "that is no limit");
    }

    #[test]
    fn what_stands_is_never_lowered() {
        for present in [0, 70_000, 2_147_483_647, u64::MAX] {
            assert!(raised("fs.nr_open", 70_000, Some(present)) >= present.max(70_000), "{present}");
        }
    }
}
