//! Applying a profile to where this process runs, and undoing it however the process ends.

use std::fmt;
use std::path::{Path, PathBuf};

use c10k_kernel::sysctl::{Scopes, SysctlRoot};
use c10k_kernel::{limits, namespace, process};

use crate::apply::{Plan, plan, set_and_verify};
use crate::change::{Change, NotSet, Why, sysctl_command};
use crate::error::{ApplyError, JournalError};
use crate::journal::{
    Entry, Journal, Pending, Reading, Recovery, RollBack, Written, journal_path, journals_in, lock_path,
    namespace_exists, remove, set_aside,
};
use crate::judge::{Ground, Live, one_line};
use crate::place::{Holder, Lock, Locking, Place};
use crate::profile::Profile;

/// Who applies a profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applier {
    /// The run it is done for.
    pub run_id: String,
    /// The process whose end also ends the settings.
    pub pid: u32,
    /// The program's name.
    pub program: String,
}

/// How to go about what is not plain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// What to do when this user or this place cannot set everything.
    pub unsettable: Unsettable,
    /// Whether host-wide settings may be raised, where that is possible at all.
    pub host_wide: bool,
    /// What to do at the end about settings that somebody else changed meanwhile.
    pub drift: Drift,
}

/// What to do about settings that cannot be set here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsettable {
    /// Set the others and list these.
    List,
    /// Set nothing.
    Refuse,
}

/// What to do about settings that somebody else changed while they were ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drift {
    /// Leave them alone and report them.
    Report,
    /// Put back what stood before us all the same, and report that.
    Restore,
}

impl Default for Policy {
    /// Set what can be set, host-wide settings included, and report drift.
    fn default() -> Self {
        Self { unsettable: Unsettable::List, host_wide: true, drift: Drift::Report }
    }
}

/// A step on the way, told when it has been done: for tests that end the process there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The journal is on disk with all old values, and nothing is written yet.
    JournalStored,
    /// The journal says that the write with this index is about to be made.
    Marked(usize),
    /// That write has been made and read back.
    Wrote(usize),
    /// The journal says that all writes have been made.
    AllWritten,
    /// The value with this index has been put back.
    Restored(usize),
    /// Everything has been put back and the journal is gone.
    JournalRemoved,
}

/// The place a process runs in, as far as settings go. All of it can be given for tests.
pub struct Here {
    root: SysctlRoot,
    scopes: Option<Scopes>,
    place: Place,
    boot_id: String,
    net_namespace: u64,
    progress: Box<dyn FnMut(Progress) + Send>,
}

impl fmt::Debug for Here {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Here")
            .field("root", &self.root)
            .field("net_namespace", &self.net_namespace)
            .finish_non_exhaustive()
    }
}

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
    held: Option<Held>,
}

#[derive(Debug)]
struct Held {
    here: Here,
    journal: Journal,
    path: PathBuf,
    drift: Drift,
    _lock: Lock,
}

/// Applies the sysctls of `profile` to where this process runs, with a journal; see [`Here::apply`].
///
/// # Errors
/// See [`ApplyError`]. Whatever had been written is put back.
pub fn apply_here(profile: &Profile, who: &Applier, policy: Policy) -> Result<AppliedGuard, ApplyError> {
    Here::now()?.apply(profile, who, policy)
}

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

impl Here {
    /// Where this process runs.
    ///
    /// # Errors
    /// When `/proc` cannot be read.
    pub fn now() -> std::io::Result<Self> {
        Ok(Self {
            root: SysctlRoot::default(),
            scopes: None,
            place: Place::of_user(limits::euid()),
            boot_id: namespace::boot_id()?,
            net_namespace: namespace::network_inode()?,
            progress: Box::new(|_| {}),
        })
    }

    /// Settings in `root` that reach as far as `scopes` says, with a journal in `folder`.
    ///
    /// # Errors
    /// When `/proc` cannot be read.
    pub fn at(root: SysctlRoot, scopes: Scopes, folder: impl Into<PathBuf>) -> std::io::Result<Self> {
        Ok(Self { root, scopes: Some(scopes), place: Place::at(folder.into()), ..Self::now()? })
    }

    /// Keeps the journal in `folder` and takes the rest as it is.
    #[must_use]
    pub fn with_journal_in(self, folder: impl Into<PathBuf>) -> Self {
        Self { place: Place::at(folder.into()), ..self }
    }

    /// Calls `progress` after each step.
    #[must_use]
    pub fn with_progress(self, progress: impl FnMut(Progress) + Send + 'static) -> Self {
        Self { progress: Box::new(progress), ..self }
    }

    /// Applies the sysctls of `profile`, journalled, read back, and undone by the guard.
    ///
    /// First, what a dead process left is put back. A profile whose wishes stand already is done at once,
    /// whoever set them. The old values are on disk before the first write. When the kernel refuses a value in
    /// the middle, the earlier ones are put back.
    ///
    /// # Errors
    /// See [`ApplyError`]. Whatever had been written is put back.
    pub fn apply(self, profile: &Profile, who: &Applier, policy: Policy) -> Result<AppliedGuard, ApplyError> {
        let plan = self.checked_plan(profile, policy)?;
        let is_left_over = !self.own_journals().is_empty();
        if plan.writes.is_empty() && !is_left_over {
            return Ok(AppliedGuard::without_changes(plan, Vec::new()));
        }
        let folder = self.place.folder()?;
        let holder = Holder {
            pid: who.pid,
            program: who.program.clone(),
            run_id: who.run_id.clone(),
            profile: profile.name.clone(),
        };
        let lock = match Lock::take(&lock_path(&folder, self.net_namespace), &holder)? {
            Locking::Got(lock) => lock,
            Locking::Held(_) if plan.writes.is_empty() => {
                return Ok(AppliedGuard::without_changes(plan, Vec::new()));
            }
            Locking::Held(holder) => {
                return Err(ApplyError::HeldBy {
                    profile: profile.name.clone(),
                    name: holder.program,
                    pid: holder.pid,
                    run_id: holder.run_id,
                    held: holder.profile,
                });
            }
        };
        self.apply_under(lock, &folder, profile, who, policy)
    }

    /// Puts back what dead processes left in this network namespace, unless a live one holds it. Journals that
    /// are damaged, from another boot or from a network namespace that is gone are set aside and told of.
    ///
    /// # Errors
    /// When the journal's folder cannot be read or written.
    pub fn recover(mut self, drift: Drift) -> Result<Vec<Recovery>, JournalError> {
        let mut recovered = Vec::new();
        for folder in self.place.existing() {
            if journals_in(&folder).is_empty() {
                continue;
            }
            let holder =
                Holder { pid: std::process::id(), program: "recovery".to_owned(), ..Holder::default() };
            if let Locking::Got(_lock) = Lock::take(&lock_path(&folder, self.net_namespace), &holder)? {
                recovered.extend(self.recover_in(&folder, drift)?);
            }
        }
        Ok(recovered)
    }

    /// What a dead process left in this network namespace; a live one's settings are not meant.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn pending(&self) -> Result<Option<Pending>, JournalError> {
        for path in self.own_journals() {
            if let Reading::Ours(journal) = Journal::read(&path, &self.boot_id, self.net_namespace)?
                && process::start_time(journal.pid).ok() != Some(journal.start_time)
            {
                return Ok(Some(journal.pending(&path)));
            }
        }
        Ok(None)
    }

    fn own_journals(&self) -> Vec<PathBuf> {
        let paths = self.place.existing().into_iter().map(|folder| journal_path(&folder, self.net_namespace));
        paths.filter(|path| path.exists()).collect()
    }

    /// What is to be done, when the profile's text allows anything to be done at all.
    fn checked_plan(&self, profile: &Profile, policy: Policy) -> Result<Plan, ApplyError> {
        let scopes = match &self.scopes {
            Some(scopes) => scopes.clone(),
            None => Scopes::learn(&profile.keys()),
        };
        let live = Live::at(self.root.clone(), scopes)?;
        let plan = plan(profile, &live, Ground::Here { host_wide: policy.host_wide });
        let name = || profile.name.clone();
        let unknown =
            plan.not_set.iter().filter(|n| n.why == Why::UnknownKey && !n.optional).map(|n| n.key.clone());
        let keys: Vec<String> = unknown.collect();
        if !keys.is_empty() {
            return Err(ApplyError::UnknownKeys { profile: name(), keys });
        }
        let bad: Vec<NotSet> = plan.not_set.iter().filter(|n| n.why.is_a_bad_value()).cloned().collect();
        if !bad.is_empty() {
            return Err(ApplyError::BadValues { profile: name(), not_set: bad });
        }
        if policy.unsettable == Unsettable::Refuse {
            let in_the_way = |n: &&NotSet| !n.optional && n.why != Why::WouldLower;
            let not_set: Vec<NotSet> = plan.not_set.iter().filter(in_the_way).cloned().collect();
            if !not_set.is_empty() {
                return Err(ApplyError::Unsettable { profile: name(), not_set });
            }
        }
        Ok(plan)
    }

    fn apply_under(
        mut self,
        lock: Lock,
        folder: &Path,
        profile: &Profile,
        who: &Applier,
        policy: Policy,
    ) -> Result<AppliedGuard, ApplyError> {
        let recovered = self.recover_in(folder, policy.drift)?;
        let incomplete = recovered.iter().find_map(|recovery| match recovery {
            Recovery::Restored { roll_back, .. } if !roll_back.is_complete() => Some(roll_back.clone()),
            _ => None,
        });
        if let Some(roll_back) = incomplete {
            return Err(ApplyError::NotRecovered(Box::new(roll_back)));
        }
        // What was put back may stand otherwise now than when it was looked at first.
        let plan = self.checked_plan(profile, policy)?;
        if plan.writes.is_empty() {
            return Ok(AppliedGuard::without_changes(plan, recovered));
        }
        let start_time = process::start_time(who.pid).unwrap_or(0);
        let entries = plan.writes.iter().map(|write| Entry {
            key: write.key.clone(),
            before: write.before.clone(),
            wanted: write.wanted.to_string(),
            written: Written::No,
        });
        let journal = Journal {
            run_id: who.run_id.clone(),
            program: who.program.clone(),
            profile: profile.name.clone(),
            entries: entries.collect(),
            ..Journal::new((self.boot_id.clone(), self.net_namespace), who.pid, start_time)
        };
        let path = journal_path(folder, self.net_namespace);
        journal.store(&path)?;
        (self.progress)(Progress::JournalStored);
        // From here on the guard undoes what was done, on an early return too.
        let mut guard = AppliedGuard {
            changes: Vec::new(),
            not_set: plan.not_set.clone(),
            recovered,
            held: Some(Held { here: self, journal, path, drift: policy.drift, _lock: lock }),
        };
        guard.write_all(plan, profile, policy)?;
        Ok(guard)
    }

    /// With the lock held: every journal in the folder is either acted upon, set aside or left for its own place.
    fn recover_in(&mut self, folder: &Path, drift: Drift) -> Result<Vec<Recovery>, JournalError> {
        let mut recovered = Vec::new();
        for path in journals_in(folder) {
            match Journal::read(&path, &self.boot_id, self.net_namespace)? {
                Reading::Nothing => {}
                Reading::Useless(why) => recovered.push(set_aside(&path, why)?),
                Reading::Foreign(journal) => {
                    let owner_lives = process::start_time(journal.pid).ok() == Some(journal.start_time);
                    let pending = journal.pending(&path);
                    let net_namespace = journal.net_namespace;
                    if path == journal_path(folder, net_namespace) && owner_lives {
                        continue;
                    }
                    if path == journal_path(folder, net_namespace) && namespace_exists(net_namespace) {
                        recovered.push(Recovery::Elsewhere { pending, net_namespace });
                    } else {
                        let why = format!("it is of another network namespace (net:[{net_namespace}])");
                        recovered.push(set_aside(&path, why)?);
                    }
                }
                Reading::Ours(journal) => {
                    let roll_back = journal.roll_back(&self.root, drift, &mut self.progress);
                    if roll_back.is_complete() {
                        remove(&path)?;
                        (self.progress)(Progress::JournalRemoved);
                    }
                    recovered.push(Recovery::Restored { pending: journal.pending(&path), roll_back });
                }
            }
        }
        Ok(recovered)
    }
}

impl AppliedGuard {
    /// Puts everything back as it was, last write first, and tells what came of it.
    ///
    /// # Errors
    /// When the journal cannot be removed; the settings are back all the same.
    pub fn roll_back(mut self) -> Result<RollBack, JournalError> {
        match self.held.take() {
            Some(held) => held.roll_back(),
            None => Ok(RollBack::default()),
        }
    }

    fn without_changes(plan: Plan, recovered: Vec<Recovery>) -> Self {
        Self { changes: Vec::new(), not_set: plan.not_set, recovered, held: None }
    }

    fn write_all(&mut self, plan: Plan, profile: &Profile, policy: Policy) -> Result<(), ApplyError> {
        for (at, write) in plan.writes.into_iter().enumerate() {
            let Some(held) = &mut self.held else { return Ok(()) };
            held.mark(at, Written::Trying)?;
            (held.here.progress)(Progress::Marked(at));
            match set_and_verify(&held.here.root, &write) {
                Ok(after) => {
                    // Stored with the mark of the next one.
                    held.journal.entries[at].written = Written::Yes;
                    self.changes.push(Change {
                        before: one_line(&write.before),
                        after: one_line(&after),
                        key: write.key,
                    });
                    (held.here.progress)(Progress::Wrote(at));
                }
                Err(fault) if fault.is_about_permission() && policy.unsettable == Unsettable::List => {
                    held.journal.entries[at].written = Written::No;
                    let command = sysctl_command(&write.key, &write.wanted.to_string());
                    self.not_set.push(write.not_set(fault.why(), Some(command)));
                }
                Err(fault) => {
                    let (key, wanted) = (write.key, write.wanted.to_string());
                    let rolled_back = match self.held.take() {
                        Some(held) => held.roll_back()?,
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
        if let Some(held) = &mut self.held {
            held.journal.store(&held.path)?;
            (held.here.progress)(Progress::AllWritten);
        }
        Ok(())
    }
}

impl Drop for AppliedGuard {
    fn drop(&mut self) {
        if let Some(held) = self.held.take() {
            // There is nobody to tell; a journal that stays tells the next command.
            let _ = held.roll_back();
        }
    }
}

impl Held {
    fn mark(&mut self, at: usize, written: Written) -> Result<(), JournalError> {
        self.journal.entries[at].written = written;
        self.journal.store(&self.path)
    }

    /// A journal stays when something could not be put back, so that the next command tries again.
    fn roll_back(mut self) -> Result<RollBack, JournalError> {
        let rolled_back = self.journal.roll_back(&self.here.root, self.drift, &mut self.here.progress);
        if rolled_back.is_complete() {
            remove(&self.path)?;
            (self.here.progress)(Progress::JournalRemoved);
        }
        Ok(rolled_back)
    }
}
