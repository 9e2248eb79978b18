//! What of a profile is in force and what is not, in the record's words.

use c10k_kernel::sysctl;
use c10k_record::{AppliedSetting, NotApplied, ProfileInRun, Scope, Warning};

use crate::compare::{Change, Live, NotSet, Settable, diff, sysctl_command};
use crate::text::Profile;

/// The warning that a setting of the profile is not in force.
#[must_use]
pub fn not_applied_warning(not: &NotApplied) -> Warning {
    let present = not.present.as_deref().unwrap_or("absent");
    let command = not.command.as_deref().map_or_else(String::new, |it| format!("; `{it}` would set it"));
    Warning::new(
        "profile-not-applied",
        format!("{} is {present}, the profile wants {}: {}{command}", not.key, not.wanted, not.why),
    )
}

/// What was set and what was not, as the record has it. What is optional, or higher already, is no shortfall.
pub fn note(in_run: &mut ProfileInRun, set: &[Change], not_set: &[NotSet]) {
    in_run.applied.extend(set.iter().map(|change| AppliedSetting {
        key: change.key.clone(),
        before: change.before.clone(),
        after: change.after.clone(),
    }));
    in_run.not_applied.extend(not_set.iter().filter(|not| !not.optional && !not.is_met()).map(|not| {
        NotApplied {
            key: not.key.clone(),
            wanted: not.wanted.clone(),
            present: not.present.clone(),
            scope: scope_of(not.scope),
            why: not.why.to_string(),
            command: not.command.clone(),
        }
    }));
}

/// The reach of a setting in the record's words.
#[must_use]
pub fn scope_of(scope: sysctl::Scope) -> Scope {
    match scope {
        sysctl::Scope::Process => Scope::Process,
        sysctl::Scope::Namespace => Scope::Namespace,
        sysctl::Scope::Host => Scope::Host,
    }
}

/// The sysctls of the profile that do not stand, with the command that would set each; nothing is changed.
#[must_use]
pub fn not_in_force(profile: &Profile, live: &Live) -> Vec<NotApplied> {
    let rows = diff(profile, live).into_iter().filter(|row| profile.sysctl.contains_key(&row.setting));
    let missing = rows.filter(|row| !row.is_met()).filter_map(|row| {
        let (why, command) = match row.settable {
            Settable::AlreadySo => return None,
            Settable::Yes => {
                ("it was asked to apply nothing".to_owned(), Some(sysctl_command(&row.setting, &row.wanted)))
            }
            Settable::No { .. } if row.optional => return None,
            Settable::No { why, command } => (why.to_string(), command),
        };
        Some(NotApplied {
            key: row.setting,
            wanted: row.wanted,
            present: row.present,
            scope: scope_of(row.scope),
            why,
            command,
        })
    });
    missing.collect()
}
