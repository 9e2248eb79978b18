//! A profile that is applied, and how it comes off.

use std::path::{Path, PathBuf};
use std::time::Duration;

use c10k_kernel::namespace::Mark;

use crate::apply::{Plan, Planned, WriteFault, set_and_verify};
use crate::change::{Change, NotSet, sysctl_command};
use crate::error::{ApplyError, JournalError};
use crate::here::{Drift, Here, Policy, Progress, Unsettable};
use crate::journal::{Holder, Journal, Reading, Useless, Written, journal_path, lock_path, set_aside};
use crate::judge::one_line;
use crate::life::LifeLock;
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
    /// Of the folders where nobody else is to begin a journal until this one is written.
    pub(crate) others: Vec<Lock>,
    /// What says that this process lives; `None` where the settings are another process's.
    pub(crate) life: Option<LifeLock>,
    /// What those see of it who cannot see its journal.
    pub(crate) mark: Option<Mark>,
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
    /// The journal is not needed for it: where it cannot be read or written, values come from this process's memory, and
    /// [`RollBack::journal_faults`] says so.
    pub fn roll_back(mut self) -> RollBack {
        self.claim.take().map(Claim::leave).unwrap_or_default()
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
                let rolled_back = self.claim.take().map(Claim::leave).unwrap_or_default();
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
        let rolled_back = self.claim.take().map(Claim::leave).unwrap_or_default();
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
            claim.leave();
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

    /// The journal as others have left it meanwhile; when somebody took it away or damaged it, or it cannot be read, as
    /// this process remembers it.
    fn present_journal(&self, faults: &mut Vec<String>) -> Journal {
        let path = self.path();
        match Journal::read(&path, &self.here.spot) {
            Ok(Reading::Ours(journal)) => return journal,
            Ok(Reading::Nothing) => {}
            Ok(Reading::Foreign(_)) => {
                let why = "it is of another network namespace".to_owned();
                faults.push(set_aside(&path, Useless { why, may_stand: false }).to_string());
            }
            Ok(Reading::Useless(useless)) => faults.push(set_aside(&path, useless).to_string()),
            Err(error) => faults.push(error.to_string()),
        }
        let mut journal = self.journal.clone();
        journal.look_who_lives(&path);
        journal
    }

    /// Gives up this process's part: what nobody else wants is put back. A journal stays when something could not
    /// be put back, so that the next command tries again, or was left as somebody else had changed it. Neither the lock
    /// nor the journal is needed to put values back.
    fn leave(mut self) -> RollBack {
        let mut faults = Vec::new();
        let is_complete = self.lock.is_none();
        if self.lock.is_none() {
            match lock(&self.folder, self.here.spot.net_namespace, &self.locker()) {
                Ok(lock) => self.lock = Some(lock),
                Err(error) => faults.push(format!("settings were put back without the lock: {error}")),
            }
        }
        let mut journal = if is_complete { self.present_journal(&mut faults) } else { self.journal.clone() };
        let mine: Vec<String> = journal
            .entries
            .iter()
            .filter(|entry| entry.holders.contains(&self.id))
            .map(|entry| entry.key.clone())
            .collect();
        if let Some(holder) = journal.holders.iter_mut().find(|holder| holder.id == self.id) {
            holder.let_go();
        }
        let mut rolled_back = journal.settle(&self.here.root, self.drift, false, &mut self.here.progress);
        for entry in journal.entries.iter().filter(|entry| mine.contains(&entry.key)) {
            if let Some(holder) = journal.standing_holder(entry) {
                rolled_back.still_held.push((entry.key.clone(), holder.clone()));
            }
        }
        match journal.store_or_remove(&self.path()) {
            Ok(true) => (self.here.progress)(Progress::JournalRemoved),
            Ok(false) => {}
            Err(error) => faults.push(format!("{error}, so it still names what was put back")),
        }
        rolled_back.journal_faults = faults;
        // Before the lock: whoever has that next must not see them without the journal.
        self.mark = None;
        self.life = None;
        rolled_back
    }

    /// Changes this process's part into one of nobody: it stays until a roll back. An earlier one of the same
    /// profile is taken over.
    fn keep(&mut self) -> Result<(), JournalError> {
        let locker = self.locker();
        let _lock = lock(&self.folder, self.here.spot.net_namespace, &locker)?;
        let mut journal = self.present_journal(&mut Vec::new());
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
            holder.lock = None;
        }
        journal.store(&self.path())?;
        // With the lock held: nobody must see them without the journal.
        self.mark = None;
        self.life = None;
        Ok(())
    }
}
