//! Putting back what earlier processes left, and finding the one journal of this network namespace among several folders.

use std::path::{Path, PathBuf};

use super::error::ApplyError;
use super::here::Here;
use crate::journal::{
    Drift, Existence, Holder, Journal, JournalError, Lock, Locker, Pending, Progress, Reading, Recovery,
    RollBack, Sweep, Useless, journal_path, journals_in, lock, look_for_namespace, remove_dead, set_aside,
};

/// Settings that a dead process left in this network namespace; None when there are none.
///
/// # Errors
/// When the journal's folder or `/proc` cannot be read.
pub fn pending_journal() -> Result<Option<Pending>, ApplyError> {
    Ok(Here::now()?.pending()?)
}

/// Puts back what dead processes left in this network namespace; see [`Here::recover`].
///
/// # Errors
/// When the journal's folder or `/proc` cannot be read.
pub fn recover(drift: Drift) -> Result<Vec<Recovery>, ApplyError> {
    Ok(Here::now()?.recover(drift)?)
}

/// The folders that are locked while a journal is begun.
#[derive(Debug)]
pub(crate) struct Locks {
    /// Of the folder where it lies.
    pub(crate) of_journal: Lock,
    /// Of the other folders, so that nobody begins a journal there meanwhile.
    pub(crate) others: Vec<Lock>,
}

impl Here {
    /// Puts back what dead processes left in this network namespace; what a live one or `profile apply` holds
    /// stays. Journals that are damaged, from another boot or from a network namespace that is gone are set aside
    /// and told of.
    ///
    /// # Errors
    /// When the journal's folder cannot be read or written.
    pub fn recover(self, drift: Drift) -> Result<Vec<Recovery>, JournalError> {
        self.sweep(drift, Sweep::default())
    }

    /// As [`Here::recover`], and what `profile apply` has set is put back too. With [`Drift::Restore`], so is
    /// what an earlier roll back left alone because somebody else had changed it.
    ///
    /// # Errors
    /// When the journal's folder cannot be read or written.
    pub fn roll_back(self, drift: Drift) -> Result<Vec<Recovery>, JournalError> {
        self.sweep(drift, Sweep { kept: true, drifted: drift == Drift::Restore })
    }

    /// What a dead process left in this network namespace; a live one's settings are not meant.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn pending(&self) -> Result<Option<Pending>, JournalError> {
        for path in self.own_journals()? {
            if let Reading::Ours(journal) = Journal::read(&path, &self.spot)?
                && let Some(pending) = journal.left_over(&path, Sweep::default())
                && !pending.keys.is_empty()
            {
                return Ok(Some(pending));
            }
        }
        Ok(None)
    }

    fn sweep(mut self, drift: Drift, sweep: Sweep) -> Result<Vec<Recovery>, JournalError> {
        let locker = Locker { pid: std::process::id(), program: "recovery".to_owned() };
        self.sweep_all_but(None, &locker, drift, sweep)
    }

    /// Every folder that has journals, one after the other, each under its own lock.
    fn sweep_all_but(
        &mut self,
        other: Option<&Path>,
        locker: &Locker,
        drift: Drift,
        sweep: Sweep,
    ) -> Result<Vec<Recovery>, JournalError> {
        let mut recovered = Vec::new();
        for folder in self.folders.existing()? {
            if Some(&*folder) == other || journals_in(&folder)?.is_empty() {
                continue;
            }
            // Values are put back where the lock cannot be written too: on a filesystem that is full or read-only.
            let (_lock, fault) = match lock(&folder, self.spot.net_namespace, locker) {
                Ok(lock) => (Some(lock), None),
                Err(error @ JournalError::Io { .. }) => (None, Some(error)),
                Err(error) => return Err(error),
            };
            let mut of_folder = self.sweep_folder(&folder, drift, sweep)?;
            if let Some(fault) = fault {
                for recovery in &mut of_folder {
                    if let Recovery::Restored { roll_back, .. } = recovery {
                        let fault = format!("settings were put back without the lock: {fault}");
                        roll_back.journal_faults.push(fault);
                    }
                }
            }
            recovered.extend(of_folder);
        }
        Ok(recovered)
    }

    /// Locks the folder where the journal of this network namespace lies, or is to lie, and puts back what dead
    /// processes left. Processes may prefer different state folders, so each also checks the others' folders. The locks
    /// are held until the journal is written, so that no second journal begins elsewhere.
    pub(crate) fn lock_and_sweep(
        &mut self,
        locker: &Locker,
        drift: Drift,
    ) -> Result<(PathBuf, Locks, Vec<Recovery>), JournalError> {
        let mut recovered = Vec::new();
        loop {
            let folder = match self.folder_of_journal()? {
                Some(folder) => folder,
                None => self.folders.folder()?,
            };
            recovered.extend(self.sweep_all_but(Some(&folder), locker, drift, Sweep::default())?);
            let Some(locks) = self.lock_all(&folder, locker)? else { continue };
            // Another one may have begun a journal elsewhere meanwhile.
            if self.folder_of_journal()?.is_none_or(|now| now == folder) {
                recovered.extend(self.sweep_folder(&folder, drift, Sweep::default())?);
                return Ok((folder, locks, recovered));
            }
        }
    }

    /// Locks `folder` and all others that exist, in the same order in every process; `None` when another folder has
    /// appeared meanwhile. One of the others that cannot be written to needs no lock: nobody begins a journal there.
    fn lock_all(&self, folder: &Path, locker: &Locker) -> Result<Option<Locks>, JournalError> {
        let own = real_path(folder);
        let mut folders = self.real_folders()?;
        if !folders.contains(&own) {
            folders.push(own.clone());
            folders.sort();
        }
        let (mut of_journal, mut others) = (None, Vec::new());
        for each in &folders {
            match lock(each, self.spot.net_namespace, locker) {
                Ok(lock) if *each == own => of_journal = Some(lock),
                Ok(lock) => others.push(lock),
                Err(JournalError::Io { .. }) if *each != own => {}
                Err(error) => return Err(error),
            }
        }
        let is_all = self.real_folders()?.iter().all(|there| folders.contains(there));
        Ok(of_journal.filter(|_| is_all).map(|of_journal| Locks { of_journal, others }))
    }

    /// The folders that exist, sorted, each once even where two names lead to it.
    fn real_folders(&self) -> Result<Vec<PathBuf>, JournalError> {
        let mut folders: Vec<PathBuf> =
            self.folders.existing()?.iter().map(|folder| real_path(folder)).collect();
        folders.sort();
        folders.dedup();
        Ok(folders)
    }

    fn folder_of_journal(&self) -> Result<Option<PathBuf>, JournalError> {
        for folder in self.folders.existing()? {
            let path = journal_path(&folder, self.spot.net_namespace);
            if let Reading::Ours(_) = Journal::read(&path, &self.spot)? {
                return Ok(Some(folder));
            }
        }
        Ok(None)
    }

    pub(crate) fn own_journals(&self) -> Result<Vec<PathBuf>, JournalError> {
        let mut own = Vec::new();
        for folder in self.folders.existing()? {
            let path = journal_path(&folder, self.spot.net_namespace);
            own.extend(journals_in(&folder)?.into_iter().filter(|there| *there == path));
        }
        Ok(own)
    }

    /// To be called with the folder's lock held, unless it cannot be taken. Every journal in the folder is acted upon, set
    /// aside, or left for a command in its own network namespace.
    fn sweep_folder(
        &mut self,
        folder: &Path,
        drift: Drift,
        sweep: Sweep,
    ) -> Result<Vec<Recovery>, JournalError> {
        let mut recovered = Vec::new();
        let mut named = Some(Vec::new());
        for path in journals_in(folder)? {
            match Journal::read(&path, &self.spot) {
                Ok(Reading::Nothing) => {}
                Ok(Reading::Useless(useless)) => recovered.push(set_aside(&path, useless)),
                Ok(Reading::Foreign(journal)) => recovered.extend(foreign(folder, &path, &journal, sweep)),
                Ok(Reading::Ours(journal)) => {
                    let (recovery, left) = self.sweep_journal(&path, journal, drift, sweep);
                    recovered.extend(recovery);
                    named.iter_mut().for_each(|named| named.extend(left.locks()));
                }
                Err(error) => {
                    named = None;
                    let why = error.to_string();
                    recovered.push(Recovery::SetAside { path, why, may_stand: true });
                }
            }
        }
        if let Some(named) = named {
            remove_dead(folder, self.spot.net_namespace, &named);
        }
        Ok(recovered)
    }

    /// What came of it, and what is left of the journal.
    fn sweep_journal(
        &mut self,
        path: &Path,
        mut journal: Journal,
        drift: Drift,
        sweep: Sweep,
    ) -> (Option<Recovery>, Journal) {
        let pending = journal.left_over(path, sweep);
        let before = journal.clone();
        if sweep.kept {
            journal.holders.iter_mut().filter(|holder| holder.kept).for_each(Holder::give_up);
        }
        let mut roll_back = journal.put_back_unwanted(&self.root, drift, sweep.drifted, &mut self.progress);
        if journal != before {
            match journal.store_or_remove(path) {
                Ok(true) => (self.progress)(Progress::JournalRemoved),
                Ok(false) => {}
                Err(error) => {
                    roll_back.journal_faults.push(format!("{error}, so it still names what was put back"));
                }
            }
        }
        (pending.map(|pending| Recovery::Restored { pending, roll_back }), journal)
    }
}

fn real_path(folder: &Path) -> PathBuf {
    folder.canonicalize().unwrap_or_else(|_| folder.to_owned())
}

pub(crate) fn incomplete(recovery: &Recovery) -> Option<&RollBack> {
    match recovery {
        Recovery::Restored { roll_back, .. } if !roll_back.is_complete() => Some(roll_back),
        _ => None,
    }
}

/// A journal of another network namespace: one that is gone takes its settings along.
fn foreign(folder: &Path, path: &Path, journal: &Journal, sweep: Sweep) -> Option<Recovery> {
    let net_namespace = journal.net_namespace;
    let existence = if path == journal_path(folder, net_namespace) {
        look_for_namespace(journal)
    } else {
        Existence::Gone
    };
    match existence {
        Existence::Door(door) => {
            journal.left_over(path, sweep).map(|pending| Recovery::Elsewhere { pending, net_namespace, door })
        }
        Existence::Unknown => None,
        Existence::Gone => {
            let why = format!("it is of another network namespace (net:[{net_namespace}])");
            Some(set_aside(path, Useless { why, may_stand: false }))
        }
    }
}
