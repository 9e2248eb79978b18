//! What is told of earlier processes, and of putting old values back.

use std::fmt;
use std::path::PathBuf;

use super::model::Holder;
use crate::compare::{Change, sysctl_command};
use crate::text::one_line;

/// Settings that a process which is gone has left behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// The journal.
    pub path: PathBuf,
    /// Who set them; the last one, when there were several.
    pub holder: Holder,
    /// The keys that may have been changed.
    pub keys: Vec<String>,
}

/// What was found of earlier processes, and what was done about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recovery {
    /// Settings that nobody wants any more were put back; this is what became of them.
    Restored {
        /// Whose they were.
        pending: Pending,
        /// What was put back.
        roll_back: RollBack,
    },
    /// A journal of another network namespace, or one that cannot be understood, was renamed and not acted upon.
    SetAside {
        /// Where it lies now.
        path: PathBuf,
        /// Why it was not acted upon.
        why: String,
        /// Whether settings that it was about may stand: false where a boot or the end of its namespace has put them
        /// back.
        may_stand: bool,
    },
    /// A journal of another network namespace that still exists was left for a command inside that one.
    Elsewhere {
        /// Whose it is.
        pending: Pending,
        /// The inode of that namespace.
        net_namespace: u64,
        /// A path that leads into it, for nsenter(1).
        door: PathBuf,
    },
}

/// What came of putting old values back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RollBack {
    /// What was put back, last write first.
    pub restored: Vec<Change>,
    /// What somebody else had changed meanwhile.
    pub drifted: Vec<Drifted>,
    /// What could not be put back: key, value before, what went wrong.
    pub failed: Vec<(String, String, String)>,
    /// What stays because others rely on it: key, and who does.
    pub still_held: Vec<(String, Holder)>,
    /// What could not be read or written of the journal. Values were put back without it.
    pub journal_faults: Vec<String>,
}

/// A setting that somebody else changed while it was ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drifted {
    /// Its key.
    pub key: String,
    /// What we had set.
    pub expected: String,
    /// What stood there.
    pub found: String,
    /// What had stood before us.
    pub before: String,
    /// True when `before` was put back all the same, because that was asked for.
    pub overwritten: bool,
}

impl RollBack {
    /// True when nothing had to be done, and nothing went wrong.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        *self == Self::default()
    }

    /// True when everything is as it was before, or as somebody else wants it.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.failed.is_empty()
    }

    /// The commands that put back by hand what could not be put back.
    #[must_use]
    pub fn commands(&self) -> Vec<String> {
        self.failed.iter().map(|(key, before, _)| sysctl_command(key, &one_line(before))).collect()
    }
}

impl fmt::Display for RollBack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.restored.len() {
            0 => f.write_str("nothing had to be put back")?,
            1 => f.write_str("1 setting put back")?,
            count => write!(f, "{count} settings put back")?,
        }
        for drifted in &self.drifted {
            write!(f, "; {drifted}")?;
        }
        for (key, before, what) in &self.failed {
            write!(f, "; {key} could not be put back to {}: {what}", one_line(before))?;
        }
        if let Some((_, holder)) = self.still_held.first() {
            let keys: Vec<&str> = self.still_held.iter().map(|(key, _)| key.as_str()).collect();
            let stay = if keys.len() == 1 { "stays" } else { "stay" };
            write!(f, "; {} {stay} as long as somebody relies on it: {holder}", keys.join(", "))?;
        }
        for fault in &self.journal_faults {
            write!(f, "; {fault}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Drifted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, expected, found, before, overwritten } = self;
        write!(f, "{key} was changed by somebody else: expected {expected}, found {found}; ")?;
        if *overwritten {
            write!(f, "{before} was put back as asked")
        } else {
            write!(f, "left alone (before: {before})")
        }
    }
}

impl fmt::Display for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.holder.fmt(f)
    }
}

impl fmt::Display for Recovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Restored { pending, roll_back } if pending.holder.kept => {
                write!(f, "{pending}: {roll_back}")
            }
            Self::Restored { pending, roll_back } => write!(f, "{pending}, which died: {roll_back}"),
            Self::SetAside { path, why, .. } => {
                write!(f, "a journal of settings was not acted upon: {why}; it is kept as {}", path.display())
            }
            Self::Elsewhere { pending, net_namespace, door } => write!(
                f,
                "{pending}, was left in another network namespace (net:[{net_namespace}]) and can be undone only \
                 from inside it: nsenter --net={} c10k-lab profile rollback",
                door.display()
            ),
        }
    }
}
