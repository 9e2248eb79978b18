//! Why a profile is not applied, and what mends it.

use std::io;

use crate::compare::{NotSet, Why};
use crate::journal::{Holder, JournalError, RollBack};

/// Why a profile was not applied. What had been written by then was put back, or is named with its command.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The profile names sysctls that this kernel does not have. Nothing was changed.
    #[error("profile {profile}: this kernel has no {}", keys.join(", "))]
    UnknownKeys {
        /// The profile.
        profile: String,
        /// The keys.
        keys: Vec<String>,
        /// What became of them, which module brings them, or what may have been meant.
        hint: String,
    },
    /// The profile's values do not have the shape of the kernel's. Nothing was changed.
    #[error("profile {profile}: {}", list(not_set))]
    BadValues {
        /// The profile.
        profile: String,
        /// The values, and what was expected.
        not_set: Vec<NotSet>,
    },
    /// The policy wants all or nothing, and not all can be set. Nothing was changed.
    #[error("profile {profile} cannot be applied here: {}", list(not_set))]
    Unsettable {
        /// The profile.
        profile: String,
        /// What cannot be set.
        not_set: Vec<NotSet>,
    },
    /// The kernel refused a value in the middle. What had been written before was put back, as `rolled_back` tells.
    #[error("profile {profile}: {key} = {wanted}: {why}; {rolled_back}")]
    Refused {
        /// The profile.
        profile: String,
        /// The key.
        key: String,
        /// The value.
        wanted: String,
        /// What the kernel said.
        why: Box<Why>,
        /// What was put back.
        rolled_back: Box<RollBack>,
    },
    /// The journal could not be kept in the middle. What had been written before was put back, as `rolled_back` tells.
    #[error("profile {profile}: {error}; {rolled_back}")]
    Interrupted {
        /// The profile.
        profile: String,
        /// What could not be done.
        error: Box<JournalError>,
        /// What was put back.
        rolled_back: Box<RollBack>,
    },
    /// Other processes hold settings of this network namespace, and their journal cannot be seen from here.
    #[error(
        "profile {profile}: settings of this network namespace are held by {}, and the journal of them cannot be seen \
         from here: another mount namespace, or another user's", others.join(", ")
    )]
    HeldOutOfSight {
        /// The profile asked for.
        profile: String,
        /// Program and pid of each.
        others: Vec<String>,
    },
    /// Another live process, or `profile apply`, has applied other values.
    #[error("profile {profile} wants other values than those in force ({key}): {holder}")]
    HeldBy {
        /// The profile asked for.
        profile: String,
        /// The first setting that both name.
        key: String,
        /// Who wants what is in force.
        holder: Box<Holder>,
    },
    /// What a dead process left behind could not be put back, so nothing new is set on top of it.
    #[error("settings left by a process that died could not be put back: {0}")]
    NotRecovered(Box<RollBack>),
    /// Without a journal nothing is set.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// `/proc` cannot be read.
    #[error("cannot read what this process may do: {0}")]
    Host(#[from] io::Error),
}

impl ApplyError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::UnknownKeys { hint, .. } => hint.clone(),
            Self::BadValues { not_set, .. } => match not_set.first() {
                Some(first) => format!("sysctl {}", first.key),
                None => String::new(),
            },
            Self::Unsettable { not_set, .. } => {
                let commands: Vec<&str> = not_set.iter().filter_map(|n| n.command.as_deref()).collect();
                if commands.is_empty() { "choose another profile".to_owned() } else { commands.join(" && ") }
            }
            Self::Refused { rolled_back, .. } | Self::Interrupted { rolled_back, .. }
                if !rolled_back.is_complete() =>
            {
                rolled_back.commands().join(" && ")
            }
            Self::Refused { key, .. } => format!("sysctl {key}"),
            Self::Interrupted { error, .. } => error.hint(),
            Self::HeldOutOfSight { .. } => {
                "end them first, or start this where they were started, or use --no-apply".to_owned()
            }
            Self::HeldBy { holder, .. } if holder.kept => {
                let held = &holder.profile;
                format!("`c10k-lab profile rollback` takes it off; or use --profile {held}, or --no-apply")
            }
            Self::HeldBy { holder, .. } => {
                format!("use --profile {}, or --no-apply, or end process {}", holder.profile, holder.pid)
            }
            Self::NotRecovered(rolled_back) => rolled_back.commands().join(" && "),
            Self::Journal(error) => error.hint(),
            Self::Host(_) => "mount /proc".to_owned(),
        }
    }
}

fn list(not_set: &[NotSet]) -> String {
    not_set.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
