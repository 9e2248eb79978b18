//! What was set, what was not, and why.

use std::fmt;

use c10k_kernel::sysctl::Scope;
use c10k_record::shell::apostrophes;

use super::more::ValueKind;

/// A setting that was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Its key, `net.core.somaxconn`, or `limits.nofile`.
    pub key: String,
    /// Its value before.
    pub before: String,
    /// Its value after, as read back.
    pub after: String,
}

/// A setting that a profile wants and that was not, or cannot be, set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotSet {
    /// Its key, `net.core.somaxconn`, or `limits.nofile`.
    pub key: String,
    /// The value that is wanted.
    pub wanted: String,
    /// The value that stands; None where it cannot be read.
    pub present: Option<String>,
    /// How far a change would reach.
    pub scope: Scope,
    /// Why it is not set.
    pub why: Why,
    /// The command that would set it; None where none would.
    pub command: Option<String>,
    /// True when the profile can do without it.
    pub optional: bool,
}

impl NotSet {
    /// Whether what stands gives all that was asked for, and more: a limit that is higher already.
    #[must_use]
    pub fn is_met(&self) -> bool {
        matches!(self.why, Why::MoreStands(_))
    }
}

impl fmt::Display for NotSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {} is not set: {}", self.key, self.wanted, self.why)?;
        if let Some(present) = &self.present {
            write!(f, " (present value: {present})")?;
        }
        Ok(())
    }
}

/// Why a setting is not set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// The kernel has no such key.
    UnknownKey,
    /// The key is absent in this network namespace; where it exists, it is the whole host's.
    NotInThisNamespace,
    /// It would change the whole host, and this is not the place for that.
    HostWide,
    /// What stands, on the whole host, gives all that the profile wants and more.
    MoreStands(ValueKind),
    /// What stands, on the whole host, gives something that the profile's value does not, and the other way round, or it
    /// cannot be said which of the two is more: nothing host-wide is taken away.
    WouldTakeAway(ValueKind),
    /// This user may not write it, or it is read-only here.
    NotWritable,
    /// It cannot be read, so it could not be put back.
    Unreadable(String),
    /// The kernel's value has another number of fields.
    WrongCount {
        /// Fields of the kernel's value.
        present: usize,
        /// Fields of the profile's value.
        wanted: usize,
    },
    /// The kernel's value is of another kind: what it is, in words.
    WrongKind(&'static str),
    /// The kernel refused the value; what stood before was put back.
    Refused(String),
    /// The kernel took the value and keeps another; what stood before was put back.
    NotKept {
        /// What the kernel made of it.
        after: String,
    },
    /// The kernel took the value of a socket option and keeps another.
    Keeps(String),
    /// Neither the new value stands nor could the old one be put back.
    Torn {
        /// What went wrong.
        fault: String,
        /// What stands now, where it can be read.
        now: Option<String>,
    },
    /// This process stands in the machine's first network namespace, where nothing is set without a journal.
    FirstNamespace,
    /// A namespace has it from its making on.
    AtItsMaking,
    /// It stands on the routes of a network namespace.
    OnItsRoutes,
    /// Above the hard limit, which this process may not raise.
    AboveHardLimit {
        /// The hard limit.
        hard: u64,
    },
    /// Above `fs.nr_open`, the ceiling of every descriptor limit.
    AboveNrOpen {
        /// `fs.nr_open`.
        nr_open: u64,
    },
}

impl Why {
    /// True when the profile's text asks for what this key cannot be.
    pub(crate) fn is_a_bad_value(&self) -> bool {
        matches!(self, Self::WrongCount { .. } | Self::WrongKind(_))
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownKey => f.write_str("this kernel has no such setting"),
            Self::NotInThisNamespace => {
                f.write_str("absent in this network namespace: global, needs the machine's first one")
            }
            Self::HostWide => f.write_str(
                "global: it would change the whole host, and needs the machine's first network namespace",
            ),
            Self::MoreStands(ValueKind::Range) => {
                f.write_str("the present range is already wider, left alone")
            }
            Self::MoreStands(ValueKind::Ports) => {
                f.write_str("the present list has these ports already, left alone")
            }
            Self::MoreStands(ValueKind::Limit | ValueKind::Choice) => {
                f.write_str("present value is already higher, left alone")
            }
            Self::WouldTakeAway(kind) => {
                let has = match kind {
                    ValueKind::Limit => "some of the present numbers are higher",
                    ValueKind::Range => "the present range has ports that the wanted one has not",
                    ValueKind::Ports => "the present list has ports that the wanted one has not",
                    ValueKind::Choice => "what stands is higher",
                };
                write!(f, "{has}, and nothing is taken away from what is, or may be, the whole host's")
            }
            Self::NotWritable => f.write_str("may not be written here by this user"),
            Self::Unreadable(error) => write!(f, "cannot be read, so it could not be put back: {error}"),
            Self::WrongCount { present, wanted } => {
                write!(f, "expected {present} field(s) as the kernel has, the profile gives {wanted}")
            }
            Self::WrongKind(kind) => write!(f, "the kernel's value is {kind}"),
            Self::Refused(error) => write!(f, "the kernel refused it: {error}"),
            Self::NotKept { after } => write!(f, "the kernel made {after} of it, so it was put back"),
            Self::Keeps(after) => write!(f, "the kernel keeps {after}"),
            Self::Torn { fault, now: Some(now) } => {
                write!(f, "{fault}, and the value before could not be put back: it is {now} now")
            }
            Self::Torn { fault, now: None } => {
                write!(f, "{fault}, and the value before could not be put back")
            }
            Self::FirstNamespace => f.write_str(
                "this is the machine's first network namespace: nothing is set here without a journal",
            ),
            Self::AtItsMaking => {
                f.write_str("a network namespace has it from its making on, and `c10k-lab run` makes one")
            }
            Self::OnItsRoutes => f.write_str(
                "it stands on the routes of a network namespace, and `c10k-lab run` sets it on those of its own",
            ),
            Self::AboveHardLimit { hard } => {
                write!(f, "above the hard limit of {hard}, which takes CAP_SYS_RESOURCE to raise")
            }
            Self::AboveNrOpen { nr_open } => write!(f, "above fs.nr_open, which is {nr_open}"),
        }
    }
}

/// The command that sets a sysctl.
pub(crate) fn sysctl_command(key: &str, value: &str) -> String {
    format!("sudo sysctl -w {}", apostrophes(&format!("{key}={value}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_hands_its_value_over_as_it_is_and_runs_nothing_of_it() {
        let value = "a'; touch /tmp/x; '$(id)";
        let line = sysctl_command("kernel.core_pattern", value).replace("sudo sysctl -w", "printf %s");
        let output = std::process::Command::new("sh").args(["-c", &line]).output().expect("a shell");
        assert_eq!(output.stdout, format!("kernel.core_pattern={value}").as_bytes(), "{line}");
        assert_eq!(sysctl_command("a.b", "1 2"), "sudo sysctl -w 'a.b=1 2'");
    }
}
