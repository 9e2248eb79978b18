//! One run of one side: a process and namespaces of its own, by `c10k-lab run`.

use std::path::Path;
use std::process::Command;

use c10k_kernel::process::own_executable;
use c10k_kernel::sysctl::SysctlRoot;
use c10k_plan::experiment::arm::Arm;
use c10k_plan::experiment::setting::ActsOn;
use c10k_plan::say::refusal::Refusal;
use c10k_plan::stage::Stage;
use c10k_profile::{Profile, hint_for_unknown, unknown_keys};
use c10k_record::{Exit, NO_ROOM, Record, RunState};

use super::read_back;
use crate::command::plant::hierarchy::{Hierarchy, Made};
use crate::command::plant::left::Maker;
use crate::rerun::{self, Came};
use crate::signals::Signals;

/// What came of a run.
pub(super) enum Ended {
    /// It went its way to the end.
    Whole(Box<Record>),
    /// It came to nothing: why, and by what.
    Broke { why: String, by: By },
    /// A signal came.
    Stopped,
}

/// What a run came to nothing by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    /// This host cannot do it.
    Host,
    /// The run refuses what it was asked for.
    Text,
    /// The disk is full, or a file may not grow any more.
    Disk,
    /// Something that may go well another time.
    Chance,
}

impl By {
    fn of(why: &str, code: Option<i32>) -> Self {
        let is = |exit: Exit| code == Some(exit.code().into());
        // A run that finds no room where its folder would be says of itself that this host cannot make it.
        let errors = NO_ROOM.map(std::io::Error::from_raw_os_error);
        match () {
            () if errors.iter().any(|error| why.contains(&error.to_string())) => Self::Disk,
            () if is(Exit::HostCannot) => Self::Host,
            () if is(Exit::BadText) => Self::Text,
            () => Self::Chance,
        }
    }

    /// The exit code of a command that ends by it.
    pub(super) fn exit(self) -> Exit {
        match self {
            Self::Host => Exit::HostCannot,
            Self::Text => Exit::BadText,
            Self::Disk | Self::Chance => Exit::Broke,
        }
    }
}

/// Carries out the plan in `plan`, and puts its record below `results`.
pub(super) fn carry_out(arm: &Arm, plan: &Path, results: &Path, maker: &Maker, signals: &Signals) -> Ended {
    let mut stage = arm.stage();
    let made = match groups(arm, maker, &mut stage) {
        Ok(made) => made,
        Err(why) => return Ended::Broke { why, by: By::Host },
    };
    let mut command = Command::new(own_executable());
    command.arg("run").arg(plan).args(["--json", "--force", "--results"]).arg(results);
    stage.read_back = read_back::is_by_the_run(arm);
    if stage != Stage::default() {
        command.arg("--stage").arg(serde_json::to_string(&stage).unwrap_or_default());
    }
    let came = rerun::carry_out(command, &mut || signals.came());
    drop(made);
    if signals.came() {
        return Ended::Stopped;
    }
    match came {
        Came::Record(record) if record.state == RunState::Complete => match not_set(arm, &record) {
            None => Ended::Whole(record),
            Some(why) => Ended::Broke { why, by: By::Host },
        },
        Came::Record(record) => {
            let why = record.ended_because.unwrap_or_else(|| "it did not come to its end".to_owned());
            Ended::Broke { by: By::of(&why, None), why }
        }
        Came::Nothing(why, code) => Ended::Broke { by: By::of(&why, code), why },
    }
}

fn groups(arm: &Arm, maker: &Maker, stage: &mut Stage) -> Result<Vec<Made>, String> {
    let mut made = Vec::new();
    for (who, limit) in arm.groups() {
        let group = Hierarchy::default().make(who, limit, maker, stage);
        made.push(group.map_err(|why| match why.hint.as_str() {
            "" => why.message,
            hint => format!("{} ({hint})", why.message),
        })?);
    }
    Ok(made)
}

/// A setting of this side that the run read back as something else, and why.
fn not_set(arm: &Arm, record: &Record) -> Option<String> {
    if let Some(why) = not_noted(arm, record) {
        return Some(why);
    }
    let mut wanted = arm.all().filter_map(|setting| match &setting.acts_on {
        ActsOn::Profile(..) => Some(setting.key.as_str()),
        _ => None,
    });
    let bare = |key: &str| key.trim_start_matches("sysctl.").to_owned();
    wanted.find_map(|key| {
        let not = record.profile.not_applied.iter().find(|not| bare(&not.key) == bare(key))?;
        let command = not.command.as_ref().map_or_else(String::new, |command| format!(" ({command})"));
        Some(format!("{key} = {} is not set: {}{command}", not.wanted, not.why))
    })
}

/// That something of this side's namespace is not noted as set: of a hash, because the namespace had as large a one, which
/// is no shortfall of a run alone, and no side of a comparison.
fn not_noted(arm: &Arm, record: &Record) -> Option<String> {
    let of_namespace =
        arm.all().filter(|setting| matches!(setting.acts_on, ActsOn::Profile("namespace", ..)));
    let is_noted = |key: &str| {
        record.profile.applied.iter().any(|made| made.key == key)
            || record.profile.not_applied.iter().any(|not| not.key == key)
    };
    let missing = of_namespace.map(|setting| setting.key.as_str()).find(|key| !is_noted(key))?;
    let why = if missing == "namespace.ehash_entries" {
        "its namespace has as large a hash already"
    } else {
        "the run has no namespace of its own"
    };
    Some(format!("{missing} is not set: {why}"))
}

/// Settings that this kernel does not have: told before anything is made.
pub(super) fn refuse_unknown(arms: &[Arm]) -> Result<(), Refusal> {
    for arm in arms {
        let Ok(profile) = Profile::from_text(&arm.profile) else { continue };
        let root = SysctlRoot::default();
        let unknown = unknown_keys(&profile, &root);
        if !unknown.is_empty() {
            let message =
                format!("this kernel does not have {}, which {} sets", unknown.join(", "), arm.label());
            return Err(Refusal::host(message, hint_for_unknown(&unknown, &root)));
        }
    }
    Ok(())
}
