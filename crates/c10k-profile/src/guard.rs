//! A profile that is applied, and how it comes off.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::apply::{Plan, set_and_verify};
use crate::change::{Change, NotSet, sysctl_command};
use crate::error::{ApplyError, JournalError};
use crate::here::{Drift, Here, Policy, Progress, Unsettable};
use crate::journal::{Holder, Journal, Reading, Written, journal_path, lock_path, set_aside};
use crate::judge::one_line;
use crate::place::{Lock, Locker, Locking};
use crate::profile::Profile;
use crate::recovery::{Recovery, RollBack};

/// How long another process may take to write its settings or to put them back.
const PATIENCE: Duration = Duration::from_secs(10);

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

/// One process's part of a journal.
#[derive(Debug)]
pub(crate) struct Claim {
    pub(crate) here: Here,
    pub(crate) folder: PathBuf,
    pub(crate) id: u32,
    /// As it was last stored by this process.
    pub(crate) journal: Journal,
    /// Held while this process writes settings, not while it relies on them.
    pub(crate) lock: Option<Lock>,
    pub(crate) drift: Drift,
}

/// Takes the lock of a place, or says who keeps it.
pub(crate) fn lock(folder: &Path, net_namespace: u64, locker: &Locker) -> Result<Lock, JournalError> {
    let path = lock_path(folder, net_namespace);
    match Lock::take(&path, locker, PATIENCE)? {
        Locking::Got(lock) => Ok(lock),
        Locking::Held(Locker { pid, program }) => Err(JournalError::Busy { path, pid, program }),
    }
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
    /// # Errors
    /// When the journal cannot be written or removed; what could be put back is back all the same.
    pub fn roll_back(mut self) -> Result<RollBack, JournalError> {
        match self.claim.take() {
            Some(claim) => claim.leave(),
            None => Ok(RollBack::default()),
        }
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

    /// Makes the writes of `plan`, whose entries are the last ones of the journal, each marked before it is made.
    pub(crate) fn write_all(
        &mut self,
        plan: Plan,
        profile: &Profile,
        policy: Policy,
    ) -> Result<(), ApplyError> {
        let Some(claim) = &mut self.claim else { return Ok(()) };
        let first = claim.journal.entries.len() - plan.writes.len();
        let is_a_join_alone = plan.writes.is_empty();
        for (at, write) in plan.writes.into_iter().enumerate() {
            let Some(claim) = &mut self.claim else { return Ok(()) };
            claim.mark(first + at, Written::Trying)?;
            (claim.here.progress)(Progress::Marked(at));
            match set_and_verify(&claim.here.root, &write) {
                Ok(after) => {
                    // Stored with the mark of the next one.
                    claim.journal.entries[first + at].written = Written::Yes;
                    self.changes.push(Change {
                        before: one_line(&write.before),
                        after: one_line(&after),
                        key: write.key,
                    });
                    (claim.here.progress)(Progress::Wrote(at));
                }
                Err(fault) if fault.is_about_permission() && policy.unsettable == Unsettable::List => {
                    claim.journal.entries[first + at].written = Written::No;
                    let command = sysctl_command(&write.key, &write.wanted.to_string());
                    self.not_set.push(write.not_set(fault.why(), Some(command)));
                }
                Err(fault) => {
                    let (key, wanted) = (write.key, write.wanted.to_string());
                    let rolled_back = match self.claim.take() {
                        Some(claim) => claim.leave()?,
                        None => RollBack::default(),
                    };
                    return Err(ApplyError::Refused {
                        profile: profile.name.clone(),
                        key,
                        wanted,
                        why: Box::new(fault.why()),
                        rolled_back: Box::new(rolled_back),
                    });
                }
            }
        }
        if let Some(claim) = &mut self.claim {
            if !is_a_join_alone {
                claim.store()?;
                (claim.here.progress)(Progress::AllWritten);
            }
            claim.lock = None;
        }
        Ok(())
    }

    /// Keeps what was set, and what was relied on, until somebody rolls it back.
    pub(crate) fn keep(&mut self) -> Result<(), JournalError> {
        if let Some(mut claim) = self.claim.take() {
            claim.keep()?;
        }
        Ok(())
    }
}

impl Drop for AppliedGuard {
    fn drop(&mut self) {
        if let Some(claim) = self.claim.take() {
            // There is nobody to tell; a journal that stays tells the next command.
            let _ = claim.leave();
        }
    }
}

impl Claim {
    pub(crate) fn store(&self) -> Result<(), JournalError> {
        self.journal.store(&self.path())
    }

    fn mark(&mut self, at: usize, written: Written) -> Result<(), JournalError> {
        self.journal.entries[at].written = written;
        self.store()
    }

    fn path(&self) -> PathBuf {
        journal_path(&self.folder, self.here.spot.net_namespace)
    }

    fn locker(&self) -> Locker {
        let program = self.journal.holder(self.id).map(|holder| holder.program.clone()).unwrap_or_default();
        Locker { pid: std::process::id(), program }
    }

    /// The journal as others have left it meanwhile; when somebody took it away or damaged it, as this process
    /// remembers it.
    fn present_journal(&self) -> Result<Journal, JournalError> {
        match Journal::read(&self.path(), &self.here.spot)? {
            Reading::Ours(journal) => Ok(journal),
            Reading::Nothing => Ok(self.journal.clone()),
            Reading::Foreign(_) => {
                set_aside(&self.path(), "it is of another network namespace".to_owned())?;
                Ok(self.journal.clone())
            }
            Reading::Useless(why) => {
                set_aside(&self.path(), why)?;
                Ok(self.journal.clone())
            }
        }
    }

    /// Gives up this process's part: what nobody else wants is put back. A journal stays when something could not
    /// be put back, so that the next command tries again, or was left as somebody else had changed it.
    fn leave(mut self) -> Result<RollBack, JournalError> {
        let is_complete = self.lock.is_none();
        if self.lock.is_none() {
            self.lock = Some(lock(&self.folder, self.here.spot.net_namespace, &self.locker())?);
        }
        let mut journal = if is_complete { self.present_journal()? } else { self.journal.clone() };
        let mine = |journal: &Journal, id: u32| -> Vec<String> {
            let entries = journal.entries.iter().filter(|entry| entry.holders.contains(&id));
            entries.map(|entry| entry.key.clone()).collect()
        };
        let keys = mine(&journal, self.id);
        if let Some(holder) = journal.holders.iter_mut().find(|holder| holder.id == self.id) {
            holder.let_go();
        }
        let mut rolled_back = journal.settle(&self.here.root, self.drift, false, &mut self.here.progress);
        for entry in journal.entries.iter().filter(|entry| keys.contains(&entry.key)) {
            if let Some(holder) = journal.standing_holder(entry) {
                rolled_back.still_held.push((entry.key.clone(), holder.clone()));
            }
        }
        if journal.store_or_remove(&self.path())? {
            (self.here.progress)(Progress::JournalRemoved);
        }
        Ok(rolled_back)
    }

    /// Changes this process's part into one of nobody: it stays until a roll back. An earlier one of the same
    /// profile is taken over.
    fn keep(&mut self) -> Result<(), JournalError> {
        let locker = self.locker();
        let _lock = lock(&self.folder, self.here.spot.net_namespace, &locker)?;
        let mut journal = self.present_journal()?;
        let is_older = |holder: &Holder, profile: &str| holder.kept && holder.profile == profile;
        let Some(profile) = journal.holder(self.id).map(|holder| holder.profile.clone()) else {
            return Ok(());
        };
        let older: Vec<u32> = journal
            .holders
            .iter()
            .filter(|holder| holder.id != self.id && is_older(holder, &profile))
            .map(|holder| holder.id)
            .collect();
        for entry in &mut journal.entries {
            if entry.holders.iter().any(|id| older.contains(id)) {
                entry.holders.retain(|id| !older.contains(id) && *id != self.id);
                entry.holders.push(self.id);
            }
        }
        journal.holders.retain(|holder| !older.contains(&holder.id));
        if let Some(holder) = journal.holders.iter_mut().find(|holder| holder.id == self.id) {
            holder.kept = true;
        }
        journal.store(&self.path())
    }
}
