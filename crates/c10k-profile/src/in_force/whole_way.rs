//! What a server or a swarm does with its `--profile`: the whole way, from the name to the settings in force.

use std::io;

use c10k_kernel::limits::{self, Limit};
use c10k_kernel::sysctl::SysctlRoot;
use c10k_record::{Exit, ProfileInRun, Warning};
use thiserror::Error;

use super::limits::apply_limits;
use super::told::{not_applied_warning, not_in_force, note};
use crate::compare::{Live, ehash_not_set};
use crate::hold::{AppliedGuard, Applier, ApplyError, apply_here, pending_journal};
use crate::journal::Policy;
use crate::text::{NofileLimit, Profile, ProfileError};
use crate::write::Applied;

/// The environment variable by which a parent that looks after a profile tells its children its pid. They skip the list
/// of what is not in force: the parent printed it, and may see more than they do.
pub const LISTED_BY: &str = "C10K_PROFILE_LISTED_BY";

/// A profile in force for this process, as far as it may be.
#[derive(Debug)]
pub struct InForce {
    /// The profile.
    pub profile: Profile,
    /// Puts the host's settings back when it is dropped; None when nothing was to be applied.
    pub guard: Option<AppliedGuard>,
    /// RLIMIT_NOFILE as it stands now, descriptors.
    pub nofile: Limit,
    /// What was set and what was not, for the record.
    pub in_run: ProfileInRun,
    /// What people should know, in the order of its becoming known.
    pub warnings: Vec<Warning>,
}

/// Why a profile is not in force.
#[derive(Debug, Error)]
pub enum InForceError {
    /// It cannot be used as it is written.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// It cannot be applied here and now.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// This process's limits cannot be read.
    #[error("cannot read this process's limits: {0}")]
    Limits(#[from] io::Error),
}

impl InForceError {
    /// What mends it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Profile(error) => Some(error.hint()),
            Self::Apply(error) => Some(error.hint()),
            Self::Limits(_) => None,
        }
    }

    /// The exit code that says whose fault it is: the profile's text, this host, or, where what was changed could not be
    /// put back, nobody's: then it broke.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Profile(_) | Self::Apply(ApplyError::BadValues { .. }) => Exit::BadText,
            Self::Apply(
                ApplyError::Refused { rolled_back, .. } | ApplyError::Interrupted { rolled_back, .. },
            ) if !rolled_back.is_complete() => Exit::Broke,
            Self::Apply(ApplyError::NotRecovered(_)) => Exit::Broke,
            Self::Apply(_) | Self::Limits(_) => Exit::HostCannot,
        }
    }
}

/// Loads a profile and puts it in force for the process `program`: with `apply`, its sysctls where they may be
/// set, journalled, rolled back when the result is dropped; without, they are only compared. The process's own
/// descriptor limit is nobody else's affair and is raised in any case.
///
/// # Errors
/// [`InForceError`] says whether the text or the host is at fault; nothing has been changed then.
pub fn put_in_force(name_or_path: &str, program: &str, apply: bool) -> Result<InForce, InForceError> {
    let profile = Profile::load(name_or_path)?;
    let mut in_run = ProfileInRun { name: profile.name.clone(), ..ProfileInRun::default() };
    let mut warnings = Vec::new();
    let parent = std::env::var(LISTED_BY).ok().and_then(|pid| pid.parse().ok());
    let is_listed = !apply && parent == Some(std::os::unix::process::parent_id());
    let guard = if apply {
        let pid = std::process::id();
        let who = Applier { run_id: format!("{program}-{pid}"), pid, program: program.to_owned() };
        let guard = apply_here(&profile, &who, Policy::default())?;
        warnings.extend(guard.recovered.iter().map(|it| Warning::new("recovered", it.to_string())));
        note(&mut in_run, &guard.changes, &guard.not_set);
        Some(guard)
    } else {
        if !is_listed {
            warnings.extend(left_over_notice().map(|notice| Warning::new("left-over", notice)));
            compare(&profile, &mut in_run)?;
        }
        None
    };
    let Applied { set, mut not_set } = apply_limits(&profile);
    if !is_listed {
        not_set.extend(ehash_not_set(&profile, &SysctlRoot::default()));
    }
    note(&mut in_run, &set, &not_set);
    let nofile = match profile.limits.nofile {
        Some(NofileLimit::AtLeast(_)) => limits::nofile()?,
        Some(NofileLimit::Hard) | None => limits::raise_nofile_soft_to_hard()?,
    };
    warnings.extend(in_run.not_applied.iter().map(not_applied_warning));
    Ok(InForce { profile, guard, nofile, in_run, warnings })
}

/// What to tell people once, at the start of any command, when a process that was killed left settings behind
/// where this one runs. `None` when nothing is left over, or when the journals cannot be read.
#[must_use]
pub fn left_over_notice() -> Option<String> {
    let pending = pending_journal().ok()??;
    Some(format!(
        "a process that is gone left settings in force here ({pending}): {}; `c10k-lab profile rollback` puts back \
         what stood before",
        pending.keys.join(", ")
    ))
}

fn compare(profile: &Profile, in_run: &mut ProfileInRun) -> Result<(), InForceError> {
    if !profile.sysctl.is_empty() {
        in_run.not_applied.extend(not_in_force(profile, &Live::here(profile)?));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::Why;
    use crate::journal::RollBack;

    #[test]
    fn a_profile_that_changes_nothing_is_in_force_without_a_warning() {
        let in_force = put_in_force("stock", "test", false).expect("stock fits everywhere");
        assert!(in_force.in_run.applied.is_empty() && in_force.warnings.is_empty(), "{in_force:?}");
        assert!(in_force.guard.is_none() && in_force.nofile.soft > 0);
    }

    #[test]
    fn a_profile_that_is_not_there_is_bad_text() {
        let error = put_in_force("no-such-profile", "test", false).expect_err("not there");
        assert!(error.exit() == Exit::BadText && error.hint().is_some(), "{error}");
    }

    #[test]
    fn a_refusal_after_which_the_host_is_not_as_it_was_is_no_refusal_any_more() {
        let refused = |failed: &[&str]| {
            let failed = failed.iter().map(|key| ((*key).to_owned(), "5".to_owned(), "EROFS".to_owned()));
            let rolled_back = RollBack { failed: failed.collect(), ..RollBack::default() };
            InForceError::from(ApplyError::Refused {
                profile: "mine".to_owned(),
                key: "net.core.somaxconn".to_owned(),
                wanted: "9".to_owned(),
                why: Box::new(Why::NotWritable),
                rolled_back: Box::new(rolled_back),
            })
        };
        assert_eq!(refused(&[]).exit(), Exit::HostCannot);
        assert_eq!(refused(&["net.core.rmem_max"]).exit(), Exit::Broke);
    }

    #[test]
    fn what_is_only_compared_is_listed_with_its_command() {
        let in_force = put_in_force("tuned", "test", false).expect("tuned");
        let backlog =
            in_force.in_run.not_applied.iter().find(|not| not.key == "net.ipv4.ip_local_port_range");
        // On a host that is tuned already there is nothing to list.
        if let Some(row) = backlog {
            assert!(row.command.is_some(), "{row:?}");
            assert!(in_force.warnings.iter().any(|warning| warning.text.contains(&row.key)));
        }
    }
}
