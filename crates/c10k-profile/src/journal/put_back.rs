//! What nobody wants any more, and putting the old values back.

use std::collections::BTreeSet;
use std::path::Path;

use c10k_kernel::sysctl::SysctlRoot;

use super::model::{Entry, Journal, Written};
use super::policy::{Drift, Progress};
use super::told::{Drifted, Pending, RollBack};
use crate::compare::Change;
use crate::text::{Comparison, SysctlValue, one_line};

/// What a sweep takes in beyond what dead processes left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sweep {
    /// What is kept until a roll back.
    pub(crate) kept: bool,
    /// What somebody else had changed and what was left alone.
    pub(crate) drifted: bool,
}

impl Journal {
    /// What nobody wants any more and yet may stand; None when there is nothing to be done for this sweep.
    pub(crate) fn left_over(&self, path: &Path, sweep: Sweep) -> Option<Pending> {
        let is_wanted =
            |&id: &u32| self.holder(id).is_some_and(|holder| holder.stands() && !(sweep.kept && holder.kept));
        let is_left = |entry: &&Entry| {
            (sweep.drifted || entry.written != Written::Drifted) && !entry.holders.iter().any(is_wanted)
        };
        let entries: Vec<&Entry> = self.entries.iter().filter(is_left).collect();
        let holder = entries.last()?.holders.first().and_then(|&id| self.holder(id))?.clone();
        let written = entries.iter().filter(|entry| entry.written != Written::No);
        let keys = written.map(|entry| entry.key.clone()).collect();
        Some(Pending { path: path.to_owned(), holder, keys })
    }

    /// Puts back what nobody wants any more, last write first. What somebody else changed meanwhile is reported and,
    /// unless `drift` says otherwise, left alone. An entry whose value was put back leaves the journal. One that failed or
    /// was left alone stays in it; what an earlier call left alone is tried only with `again`. A call that was cut short
    /// can be repeated.
    pub(crate) fn put_back_unwanted(
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
            // The write was cut short. What stands is ours, so the next command puts the old value back.
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
