//! Putting old values back, and what is told of it.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;

use c10k_kernel::sysctl::SysctlRoot;

use crate::change::{Change, sysctl_command};
use crate::here::{Drift, Progress};
use crate::journal::{Entry, Holder, Journal, Written};
use crate::judge::one_line;
use crate::value::{Comparison, SysctlValue};

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
    /// A journal that says nothing about this place, or cannot be understood, was renamed and not acted upon.
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
    /// What of the journal could not be read or written, and was done without.
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

impl Journal {
    /// Puts back what nobody wants any more, last write first. What somebody else changed meanwhile is reported
    /// and, unless `drift` says otherwise, left alone. What was put back leaves the journal; what failed or was
    /// left alone stays in it, and what was left alone earlier is touched only with `again`. It can be done again
    /// after it was cut short.
    pub(crate) fn settle(
        &mut self,
        root: &SysctlRoot,
        drift: Drift,
        again: bool,
        progress: &mut dyn FnMut(Progress),
    ) -> RollBack {
        let standing: BTreeSet<u32> =
            self.holders.iter().filter(|holder| holder.stands()).map(|holder| holder.id).collect();
        let mut done = RollBack::default();
        let mut at = self.entries.len();
        while at > 0 {
            at -= 1;
            let entry = &mut self.entries[at];
            if entry.holders.iter().any(|id| standing.contains(id)) {
                entry.holders.retain(|id| standing.contains(id));
                continue;
            }
            let is_done = if entry.written == Written::Drifted && !again {
                root.read(&entry.key).is_ok_and(|present| present == entry.before)
            } else {
                entry.put_back(root, drift, &mut done, &mut || progress(Progress::Restored(at)))
            };
            if is_done {
                self.entries.remove(at);
            }
        }
        let Self { holders, entries, .. } = self;
        holders.retain(|holder| entries.iter().any(|entry| entry.holders.contains(&holder.id)));
        done
    }
}

impl Entry {
    /// True when nothing is left to be done about it.
    fn put_back(
        &mut self,
        root: &SysctlRoot,
        drift: Drift,
        done: &mut RollBack,
        tried: &mut dyn FnMut(),
    ) -> bool {
        if self.written == Written::No {
            return true;
        }
        let failed = |what: String| (self.key.clone(), self.before.clone(), what);
        let present = match root.read(&self.key) {
            Ok(present) => present,
            Err(error) => {
                done.failed.push(failed(error.to_string()));
                return false;
            }
        };
        if present == self.before {
            return true;
        }
        if self.written == Written::Drifted || self.written != Written::Torn && !self.left(&present) {
            let overwritten = drift == Drift::Restore;
            done.drifted.push(Drifted {
                key: self.key.clone(),
                expected: self.wanted.clone(),
                found: one_line(&present),
                before: one_line(&self.before),
                overwritten,
            });
            if !overwritten {
                self.written = Written::Drifted;
                return false;
            }
        }
        let written = root.write(&self.key, &self.before);
        let now = root.read(&self.key);
        if now.as_ref().is_ok_and(|now| *now == self.before) {
            done.restored.push(Change {
                key: self.key.clone(),
                before: one_line(&present),
                after: one_line(&self.before),
            });
            tried();
            return true;
        }
        let what = match (written, &now) {
            (Err(error), _) => error.to_string(),
            (Ok(()), Err(error)) => error.to_string(),
            (Ok(()), Ok(now)) => format!("the kernel made {} of it", one_line(now)),
        };
        done.failed.push(failed(what));
        if now.is_ok_and(|now| now != present) {
            // A write that was cut short: whatever stands is of our making, and the next one is to put it back.
            self.written = Written::Torn;
        }
        tried();
        false
    }

    /// Whether `present` is what our write left: the wanted value or, when it may have been cut short or refused
    /// half-way, a mixture of the fields of both.
    fn left(&self, present: &str) -> bool {
        let wanted = SysctlValue::from_kernel(&self.key, &self.wanted);
        if wanted.compare(present) == Comparison::Same {
            return true;
        }
        let fields = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let (now, before, wanted) = (fields(present), fields(&self.before), fields(&self.wanted));
        let is_mixture = now.len() == before.len()
            && now.len() == wanted.len()
            && now
                .iter()
                .zip(before.iter().zip(&wanted))
                .all(|(now, (before, wanted))| now == before || now == wanted);
        self.written == Written::Trying && is_mixture
    }
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
            count => write!(f, "{count} setting(s) put back")?,
        }
        for drifted in &self.drifted {
            write!(f, "; {drifted}")?;
        }
        for (key, before, what) in &self.failed {
            write!(f, "; {key} could not be put back to {}: {what}", one_line(before))?;
        }
        if let Some((_, holder)) = self.still_held.first() {
            let keys: Vec<&str> = self.still_held.iter().map(|(key, _)| key.as_str()).collect();
            write!(f, "; {} stay(s) as long as somebody relies on it: {holder}", keys.join(", "))?;
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
