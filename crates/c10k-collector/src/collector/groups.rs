//! The control groups of the two ends: what they leave, what they refused, how often they held back.

use c10k_kernel::cgroup::{CpuGroup, GroupMemory, MemoryGroups, PidsGroup, PidsSeen, Refusals, Throttled};
use c10k_kernel::counters::ProcRoot;

use crate::observation::GroupSeen;

/// The memory groups of a process, and what they said at first.
pub(super) enum MemoryWatch {
    /// They cannot be read.
    Unknown,
    /// Nothing limits the process: there is no such controller, or no group has it.
    Unlimited,
    /// Those it is in, nearest first.
    Groups(MemoryGroups, Vec<Option<GroupMemory>>),
}

impl MemoryWatch {
    pub(super) fn begin(groups: Option<MemoryGroups>) -> Self {
        match groups {
            None => Self::Unlimited,
            Some(mut groups) => {
                let before = groups.read();
                Self::Groups(groups, before)
            }
        }
    }

    /// What they say now; `None` where nothing of them can be read any more.
    pub(super) fn see(&mut self) -> Option<GroupSeen> {
        let (groups, before) = match self {
            Self::Unknown => return None,
            Self::Unlimited => return Some(unlimited()),
            Self::Groups(groups, before) => (groups, before),
        };
        let (version, now) = (groups.version(), groups.read());
        if now.iter().all(Option::is_none) {
            return None;
        }
        let growth = |of: fn(&GroupMemory) -> Option<u64>| growth(before, &now, of);
        let mut seen = GroupSeen {
            failures: growth(|group| group.failures),
            held_back: growth(|group| group.held_back),
            // Version 2 counts in the groups above what others below them lost; version 1 counts nowhere else.
            oom_kills: grown(before.first().copied().flatten(), now[0], |group| group.oom_kills),
            ..GroupSeen::default()
        };
        let left = |group: &Option<GroupMemory>| group.as_ref().and_then(GroupMemory::left_bytes);
        let scarcest = (0..now.len()).filter(|at| left(&now[*at]).is_some()).min_by_key(|at| left(&now[*at]));
        let Some(group) = now[scarcest.unwrap_or(0)] else { return Some(seen) };
        seen.usage_bytes = group.usage_bytes;
        (seen.kernel_bytes, seen.slab_bytes) = (group.kernel_bytes, group.slab_bytes);
        seen.socket_bytes = group.socket_bytes;
        if let Some(at) = scarcest {
            seen.folder = groups.folders().nth(at).map(|folder| folder.display().to_string());
            seen.limit_bytes = group.limit(version).map(|(bytes, _)| bytes);
            seen.limit_file = group.limit(version).map(|(_, file)| file.to_owned());
            seen.left_bytes = group.left_bytes();
            seen.usage_before_bytes = before[at].and_then(|before| before.usage_bytes);
        }
        Some(seen)
    }
}

/// Where nothing can refuse, nothing was refused.
fn unlimited() -> GroupSeen {
    GroupSeen { failures: Some(0), held_back: Some(0), oom_kills: Some(0), ..GroupSeen::default() }
}

/// The growth in the group that has it most; `None` where it is not known of some group, and none is known to have grown.
fn growth(
    before: &[Option<GroupMemory>],
    now: &[Option<GroupMemory>],
    of: fn(&GroupMemory) -> Option<u64>,
) -> Option<u64> {
    let counts = |group: &GroupMemory| of(group).is_some();
    let counted = before.iter().zip(now).filter(|(before, _)| before.as_ref().is_some_and(counts));
    let (mut most, mut is_whole) = (0, true);
    for (before, now) in counted {
        match grown(*before, *now, of) {
            Some(grown) => most = most.max(grown),
            None => is_whole = false,
        }
    }
    (is_whole || most > 0).then_some(most)
}

fn grown(
    before: Option<GroupMemory>,
    now: Option<GroupMemory>,
    of: fn(&GroupMemory) -> Option<u64>,
) -> Option<u64> {
    of(&now?)?.checked_sub(before.as_ref().and_then(of).unwrap_or(0))
}

/// Whose groups are known.
#[derive(Debug, Default)]
pub(super) struct InGroups {
    pids: Vec<u32>,
    /// What `/proc/PID/cgroup` says of them, each once.
    places: Vec<Vec<u8>>,
}

impl InGroups {
    /// Whether a process is in groups in which none before it was.
    pub(super) fn is_new(&mut self, root: &ProcRoot, pid: u32) -> bool {
        if self.pids.contains(&pid) {
            return false;
        }
        self.pids.push(pid);
        let place = std::fs::read(root.process_path(Some(pid), "cgroup")).unwrap_or_default();
        let is_new = !self.places.contains(&place);
        if is_new {
            self.places.push(place);
        }
        is_new
    }
}

/// The cpu and pids groups of one end, found while its process lived: they outlive it.
#[derive(Debug, Default)]
pub(super) struct EndGroups {
    cpu: Known<(CpuGroup, Throttled)>,
    pids: Known<(PidsGroup, Refusals)>,
    /// What the pids group that had the fewest threads left had, when it had.
    fewest: Option<PidsSeen>,
}

/// A group, that there is none, or that it is not known.
#[derive(Debug, Default)]
enum Known<T> {
    #[default]
    Unknown,
    None,
    Some(T),
}

impl EndGroups {
    pub(super) fn of(root: &ProcRoot, pid: u32) -> Self {
        let cpu = match CpuGroup::of(root, Some(pid)) {
            Err(_) => Known::Unknown,
            // A group that counts nothing cannot hold back: the root group has no quota.
            Ok(group) => group.map_or(Known::None, |group| match group.throttled() {
                first if first.is_empty() => Known::None,
                first => Known::Some((group, first)),
            }),
        };
        let pids = match PidsGroup::of(root, Some(pid)) {
            Err(_) => Known::Unknown,
            Ok(group) => group.map_or(Known::None, |group| match group.refusals() {
                // Without a limit nothing is refused; before Linux 4.8 refusals were not counted.
                first if first.is_empty() && group.read().max.is_none() => Known::None,
                first => Known::Some((group, first)),
            }),
        };
        Self { cpu, pids, fewest: None }
    }

    /// Periods in which this end was held back, since it began to be watched.
    pub(super) fn throttled(&self) -> Option<u64> {
        match &self.cpu {
            Known::Unknown => None,
            Known::None => Some(0),
            Known::Some((group, first)) => group.throttled().since(first),
        }
    }

    /// The file with the quota that held it back.
    pub(super) fn quota(&self) -> Option<String> {
        let Known::Some((group, first)) = &self.cpu else { return None };
        group.quota_that_held_back(first).map(|(file, _)| file.display().to_string())
    }

    /// Threads that were refused since then. Looks also at how many are left.
    pub(super) fn threads_refused(&mut self) -> Option<u64> {
        match &self.pids {
            Known::Unknown => None,
            Known::None => Some(0),
            Known::Some((group, first)) => {
                let seen = group.read();
                let fewest = self.fewest.as_ref().and_then(PidsSeen::left);
                if seen.left().is_some_and(|left| fewest.is_none_or(|fewest| left < fewest)) {
                    self.fewest = Some(seen);
                }
                group.refusals().since(first)
            }
        }
    }

    pub(super) fn fewest_threads(&self) -> Option<&PidsSeen> {
        self.fewest.as_ref()
    }
}
