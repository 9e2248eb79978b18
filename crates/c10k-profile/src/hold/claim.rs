//! One process's part of a journal, and how it is given up.

use std::path::PathBuf;

use c10k_kernel::namespace::Mark;

use super::here::Here;
use crate::journal::{
    Drift, Holder, Journal, JournalError, LifeLock, Lock, Locker, Progress, Reading, RollBack, Useless,
    Written, journal_path, lock, set_aside,
};

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
    /// Locks of the other folders, so that nobody begins a journal there until this one is written.
    pub(crate) others: Vec<Lock>,
    /// What says that this process lives; `None` where the settings are another process's.
    pub(crate) life: Option<LifeLock>,
    /// What those see of it who cannot see its journal.
    pub(crate) mark: Option<Mark>,
    pub(crate) drift: Drift,
}

impl Claim {
    pub(crate) fn store(&self) -> Result<(), JournalError> {
        self.journal.store(&self.path())
    }

    pub(super) fn mark(&mut self, at: usize, written: Written) -> Result<(), JournalError> {
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

    /// Gives up this process's part: what nobody else wants is put back. The journal stays when a value could not be put
    /// back, so that the next command tries again, or was left alone because somebody else had changed it. Values are put
    /// back even where neither the lock nor the journal can be read or written.
    pub(super) fn give_up(mut self) -> RollBack {
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
            holder.give_up();
        }
        let mut rolled_back =
            journal.put_back_unwanted(&self.here.root, self.drift, false, &mut self.here.progress);
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
        // Before the lock is released: the next process to take it must not see mark and life without the journal.
        self.mark = None;
        self.life = None;
        rolled_back
    }

    /// Makes this process's part one that no process holds: it stays until a roll back. An earlier part of the same profile
    /// that stays so becomes one with it.
    pub(super) fn keep(&mut self) -> Result<(), JournalError> {
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
