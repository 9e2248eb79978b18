//! A profile that is applied: its writes, and the guard that undoes them.

use super::claim::Claim;
use super::error::ApplyError;
use crate::compare::{Change, NotSet, sysctl_command};
use crate::journal::{JournalError, Policy, Progress, Recovery, RollBack, Unsettable, Written};
use crate::text::{Profile, one_line};
use crate::write::{Plan, Planned, WriteFault, set_and_verify};

/// A profile that is applied; it is undone by [`AppliedGuard::roll_back`], or on drop.
#[derive(Debug)]
#[must_use = "the settings are put back when this is dropped"]
pub struct AppliedGuard {
    /// What was changed, in the order of the writes; empty when what is wanted stood already.
    pub changes: Vec<Change>,
    /// What the profile wants and was not set.
    pub not_set: Vec<NotSet>,
    /// What was found of earlier processes, and done about it, before anything was set.
    pub recovered: Vec<Recovery>,
    claim: Option<Claim>,
}

impl AppliedGuard {
    /// Whether something will be put back, or given up, at the end: false when nothing was set and what is
    /// wanted stood already without anybody's doing.
    #[must_use]
    pub fn holds_settings(&self) -> bool {
        self.claim.is_some()
    }

    /// Puts everything back as it was, last write first, and tells what came of it. What another process or
    /// `profile apply` relies on too stays, and goes back with the last of them.
    ///
    /// The journal is not needed for it: where it cannot be read or written, values come from this process's memory, and
    /// [`RollBack::journal_faults`] says so.
    pub fn roll_back(mut self) -> RollBack {
        self.claim.take().map(Claim::give_up).unwrap_or_default()
    }

    pub(crate) fn without_changes(plan: Plan, recovered: Vec<Recovery>) -> Self {
        Self { changes: Vec::new(), not_set: plan.not_set, recovered, claim: None }
    }

    /// From here on the guard undoes what is done, on an early return too.
    pub(crate) fn claiming(plan: &Plan, recovered: Vec<Recovery>, claim: Claim) -> Self {
        Self { changes: Vec::new(), not_set: plan.not_set.clone(), recovered, claim: Some(claim) }
    }

    pub(crate) fn tell(&mut self, progress: Progress) {
        if let Some(claim) = &mut self.claim {
            (claim.here.progress)(progress);
        }
    }

    /// Puts the journal on the disk, and makes the writes of `plan`, whose entries are the last ones of the journal, each
    /// marked before it is made.
    pub(crate) fn write_all(
        &mut self,
        plan: Plan,
        profile: &Profile,
        policy: Policy,
    ) -> Result<(), ApplyError> {
        let Some(claim) = &mut self.claim else { return Ok(()) };
        claim.store().map_err(|error| self.interrupted(profile, error))?;
        self.tell(Progress::JournalStored);
        let Some(claim) = &mut self.claim else { return Ok(()) };
        claim.others.clear();
        let first = claim.journal.entries.len() - plan.writes.len();
        let is_a_join_alone = plan.writes.is_empty();
        for (at, write) in plan.writes.into_iter().enumerate() {
            self.write_one(first, at, write, profile, policy)?;
        }
        if !is_a_join_alone {
            let Some(claim) = &mut self.claim else { return Ok(()) };
            claim.store().map_err(|error| self.interrupted(profile, error))?;
            self.tell(Progress::AllWritten);
        }
        if let Some(claim) = &mut self.claim {
            claim.lock = None;
        }
        Ok(())
    }

    fn write_one(
        &mut self,
        first: usize,
        at: usize,
        write: Planned,
        profile: &Profile,
        policy: Policy,
    ) -> Result<(), ApplyError> {
        let Some(claim) = &mut self.claim else { return Ok(()) };
        claim.mark(first + at, Written::Trying).map_err(|error| self.interrupted(profile, error))?;
        self.tell(Progress::Marked(at));
        let Some(claim) = &mut self.claim else { return Ok(()) };
        match set_and_verify(&claim.here.root, &write) {
            Ok(after) => {
                // Stored with the mark of the next one.
                claim.journal.entries[first + at].written = Written::Yes;
                self.changes.push(Change {
                    before: one_line(&write.before),
                    after: one_line(&after),
                    key: write.key,
                });
                self.tell(Progress::Wrote(at));
                Ok(())
            }
            Err(fault) if fault.is_about_permission() && policy.unsettable == Unsettable::List => {
                claim.journal.entries[first + at].written = Written::No;
                let command = sysctl_command(&write.key, &write.wanted.to_string());
                self.not_set.push(write.not_set(fault.why(), Some(command)));
                Ok(())
            }
            Err(fault) => {
                if matches!(fault, WriteFault::Torn { .. }) {
                    claim.journal.entries[first + at].written = Written::Torn;
                }
                let rolled_back = self.claim.take().map(Claim::give_up).unwrap_or_default();
                Err(ApplyError::Refused {
                    profile: profile.name.clone(),
                    key: write.key,
                    wanted: write.wanted.to_string(),
                    why: Box::new(fault.why()),
                    rolled_back: Box::new(rolled_back),
                })
            }
        }
    }

    /// Puts everything back because the journal cannot be kept.
    pub(crate) fn interrupted(&mut self, profile: &Profile, error: JournalError) -> ApplyError {
        let rolled_back = self.claim.take().map(Claim::give_up).unwrap_or_default();
        ApplyError::Interrupted {
            profile: profile.name.clone(),
            error: Box::new(error),
            rolled_back: Box::new(rolled_back),
        }
    }

    /// Keeps what was set, and what was relied on, until somebody rolls it back. Where that cannot be written down
    /// everything is put back.
    pub(crate) fn keep(&mut self, profile: &Profile) -> Result<(), ApplyError> {
        let Some(claim) = &mut self.claim else { return Ok(()) };
        claim.keep().map_err(|error| self.interrupted(profile, error))?;
        // What is kept is nobody's to give up.
        self.claim = None;
        Ok(())
    }
}

impl Drop for AppliedGuard {
    fn drop(&mut self) {
        if let Some(claim) = self.claim.take() {
            // There is nobody to tell; a journal that stays tells the next command.
            claim.give_up();
        }
    }
}
