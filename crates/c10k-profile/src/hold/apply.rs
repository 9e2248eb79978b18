//! Applying a profile to where this process runs, and undoing it however the process ends.

use c10k_kernel::process::{self, Clock};

use super::claim::Claim;
use super::error::ApplyError;
use super::guard::AppliedGuard;
use super::here::Here;
use super::out_of_sight::set_mark;
use super::sweep::incomplete;
use crate::compare::{Change, Ground, Live, NotSet, Why, hint_for_unknown, learn_scopes};
use crate::journal::{
    Entry, Holder, Journal, JournalError, LifeLock, Locker, Policy, Reading, Recovery, Unsettable, Written,
    journal_path,
};
use crate::text::Profile;
use crate::write::{Plan, plan};

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

/// What is kept until a roll back.
#[derive(Debug)]
pub struct Kept {
    /// What was changed, in the order of the writes.
    pub changes: Vec<Change>,
    /// What the profile wants and was not set.
    pub not_set: Vec<NotSet>,
    /// What was found of earlier processes, and done about it, before anything was set.
    pub recovered: Vec<Recovery>,
    /// When the same profile had been applied already, so that nothing was to be changed; RFC 3339, UTC.
    pub since: Option<String>,
}

/// Applies the sysctls of `profile` to where this process runs, with a journal; see [`Here::apply`].
///
/// # Errors
/// See [`ApplyError`]. Whatever had been written is put back.
pub fn apply_here(profile: &Profile, who: &Applier, policy: Policy) -> Result<AppliedGuard, ApplyError> {
    Here::now()?.apply(profile, who, policy)
}

impl Here {
    /// Applies the sysctls of `profile`, journalled, read back, and undone by the guard.
    ///
    /// First, what a dead process left is put back. What somebody alive has set already and this profile wants
    /// too is relied upon: it goes back with the last one who does. The old values are on disk before the first
    /// write. When the kernel refuses a value in the middle, the earlier ones are put back.
    ///
    /// # Errors
    /// See [`ApplyError`]. Whatever had been written is put back.
    pub fn apply(self, profile: &Profile, who: &Applier, policy: Policy) -> Result<AppliedGuard, ApplyError> {
        let plan = self.checked_plan(profile, policy)?;
        let nothing_stands = plan.not_set.len() == profile.sysctl.len();
        if plan.writes.is_empty() && nothing_stands && self.own_journals()?.is_empty() {
            return Ok(AppliedGuard::without_changes(plan, Vec::new()));
        }
        let has_nothing_to_write = plan.writes.is_empty() && self.own_journals()?.is_empty();
        match self.apply_locked(profile, who, policy) {
            // Where no journal can be there is none of this user's to ask about what stands.
            Err(ApplyError::Journal(JournalError::NoFolder { .. } | JournalError::Io { .. }))
                if has_nothing_to_write =>
            {
                Ok(AppliedGuard::without_changes(plan, Vec::new()))
            }
            applied => applied,
        }
    }

    /// As [`Here::apply`], but what is set stays when this process ends, until [`Here::roll_back`]. When this
    /// process dies on the way, what it had set counts as left over.
    ///
    /// # Errors
    /// As [`Here::apply`].
    pub fn apply_until_roll_back(
        self,
        profile: &Profile,
        who: &Applier,
        policy: Policy,
    ) -> Result<Kept, ApplyError> {
        let already = self.standing()?.into_iter().flat_map(|standing| standing.holders);
        let already = already.into_iter().find(|holder| holder.kept && holder.profile == profile.name);
        let mut guard = self.apply(profile, who, policy)?;
        guard.keep(profile)?;
        let changes = std::mem::take(&mut guard.changes);
        Ok(Kept {
            since: already.filter(|_| changes.is_empty()).map(|holder| holder.since),
            changes,
            not_set: std::mem::take(&mut guard.not_set),
            recovered: std::mem::take(&mut guard.recovered),
        })
    }

    /// The plan, or why the profile or the policy forbids to carry it out.
    fn checked_plan(&self, profile: &Profile, policy: Policy) -> Result<Plan, ApplyError> {
        let scopes = match &self.scopes {
            Some(scopes) => scopes.clone(),
            None => learn_scopes(profile, &self.root),
        };
        let live = Live::at(self.root.clone(), scopes)?;
        let plan = plan(profile, &live, Ground::Here { host_wide: policy.host_wide });
        let name = || profile.name.clone();
        let unknown =
            plan.not_set.iter().filter(|n| n.why == Why::UnknownKey && !n.optional).map(|n| n.key.clone());
        let keys: Vec<String> = unknown.collect();
        if !keys.is_empty() {
            let hint = hint_for_unknown(&keys, &self.root);
            return Err(ApplyError::UnknownKeys { profile: name(), keys, hint });
        }
        let bad: Vec<NotSet> = plan.not_set.iter().filter(|n| n.why.is_a_bad_value()).cloned().collect();
        if !bad.is_empty() {
            return Err(ApplyError::BadValues { profile: name(), not_set: bad });
        }
        if policy.unsettable == Unsettable::Refuse {
            let not_asked_for =
                |why: &Why| !policy.host_wide && matches!(why, Why::HostWide | Why::NotInThisNamespace);
            let is_left_alone = |why: &Why| matches!(why, Why::MoreStands(_) | Why::WouldTakeAway(_));
            let in_the_way = |n: &&NotSet| !n.optional && !is_left_alone(&n.why) && !not_asked_for(&n.why);
            let not_set: Vec<NotSet> = plan.not_set.iter().filter(in_the_way).cloned().collect();
            if !not_set.is_empty() {
                return Err(ApplyError::Unsettable { profile: name(), not_set });
            }
        }
        Ok(plan)
    }

    fn apply_locked(
        mut self,
        profile: &Profile,
        who: &Applier,
        policy: Policy,
    ) -> Result<AppliedGuard, ApplyError> {
        let locker = Locker { pid: who.pid, program: who.program.clone() };
        let (folder, locks, recovered) = self.lock_and_sweep(&locker, policy.drift)?;
        if let Some(roll_back) = recovered.iter().find_map(incomplete) {
            return Err(ApplyError::NotRecovered(Box::new(roll_back.clone())));
        }
        // Under the lock, what stands is what its journal says.
        let plan = self.checked_plan(profile, policy)?;
        let path = journal_path(&folder, self.spot.net_namespace);
        let mut journal = match Journal::read(&path, &self.spot)? {
            Reading::Ours(journal) => journal,
            _ => Journal::new(&self.spot),
        };
        refuse_other_values(profile, &plan, &journal)?;
        let others = if profile.sysctl.is_empty() { Vec::new() } else { self.out_of_sight() };
        if !others.is_empty() {
            return Err(ApplyError::HeldOutOfSight { profile: profile.name.clone(), others });
        }
        // There is one: any other journal is none of ours.
        let id = journal.fresh_id().unwrap_or(u32::MAX);
        enter(&mut journal, &plan, profile, id);
        if !journal.entries.iter().any(|entry| entry.holders.contains(&id)) {
            return Ok(AppliedGuard::without_changes(plan, recovered));
        }
        let life = if who.pid == std::process::id() {
            Some(LifeLock::take(&folder, self.spot.net_namespace)?)
        } else {
            None
        };
        let mark =
            life.as_ref().filter(|_| self.is_marked).and_then(|life| set_mark(&life.token, &who.program));
        let clock = Clock::of_this_process().ok();
        journal.holders.push(Holder {
            id,
            pid: who.pid,
            start_time: process::start_time(who.pid).unwrap_or(0),
            run_id: who.run_id.clone(),
            program: who.program.clone(),
            profile: profile.name.clone(),
            since: c10k_record::utc_now(),
            kept: false,
            pid_namespace: clock.map(|clock| clock.pid_namespace),
            time_namespace: clock.and_then(|clock| clock.time_namespace),
            lock: life.as_ref().map(|life| life.token.clone()),
            lives: true,
        });
        let (lock, others) = (Some(locks.of_journal), locks.others);
        let claim = Claim { here: self, folder, id, journal, lock, others, life, mark, drift: policy.drift };
        let mut guard = AppliedGuard::claiming(&plan, recovered, claim);
        guard.write_all(plan, profile, policy)?;
        Ok(guard)
    }
}

/// One key has one value: a process that wants another one than a living holder's is refused.
fn refuse_other_values(profile: &Profile, plan: &Plan, journal: &Journal) -> Result<(), ApplyError> {
    for write in &plan.writes {
        let entry = journal.entries.iter().find(|entry| entry.key == write.key);
        let Some(holder) = entry.and_then(|entry| journal.standing_holder(entry)) else { continue };
        return Err(ApplyError::HeldBy {
            profile: profile.name.clone(),
            key: write.key.clone(),
            holder: Box::new(holder.clone()),
        });
    }
    Ok(())
}

/// Adds holder `id` to the entries that others have set already and the profile names too, and appends an entry for each
/// write of the plan, in their order.
fn enter(journal: &mut Journal, plan: &Plan, profile: &Profile, id: u32) {
    // What drifted and is now wanted again begins anew.
    journal.entries.retain(|entry| !plan.writes.iter().any(|write| write.key == entry.key));
    for entry in &mut journal.entries {
        if entry.written != Written::Drifted && profile.sysctl.contains_key(&entry.key) {
            entry.holders.push(id);
        }
    }
    let Journal { holders, entries, .. } = journal;
    holders.retain(|holder| entries.iter().any(|entry| entry.holders.contains(&holder.id)));
    entries.extend(plan.writes.iter().map(|write| Entry {
        key: write.key.clone(),
        before: write.before.clone(),
        wanted: write.wanted.to_string(),
        written: Written::No,
        holders: vec![id],
    }));
}
