//! A network namespace whose hash of established connections is its own.

use c10k_kernel::namespace::{Isolation, NamespaceError, enter_new};
use c10k_kernel::sysctl::SysctlRoot;
use c10k_profile::{Profile, ehash_not_set, note};
use c10k_record::{AppliedSetting, ProfileInRun};

/// Read from the namespace that a new one is made from (ip-sysctl.rst, Linux 6.1).
const CHILD_ENTRIES: &str = "net.ipv4.tcp_child_ehash_entries";
const ENTRIES: &str = "net.ipv4.tcp_ehash_entries";

/// Enters a new namespace. When the profile wants a hash of its own for it, that takes a namespace in between,
/// from which the second one is made: the host's own settings are not touched for it. What does not come of that
/// is listed; the namespace in between will do then. One that is no larger than the host's is not made, so what the
/// kernel derives from its size (`tcp_set_hashinfo`, net/ipv4/tcp_ipv4.c) is never lowered by it.
pub(crate) fn enter(profile: &Profile, in_run: &mut ProfileInRun) -> Result<Isolation, NamespaceError> {
    let isolation = enter_new()?;
    let root = SysctlRoot::default();
    let Some(wanted) = profile.namespace.ehash_entries else { return Ok(isolation) };
    if ehash_not_set(profile, &root).is_none() {
        return Ok(isolation);
    }
    let shared = root.read(ENTRIES).unwrap_or_default();
    let made = root.write(CHILD_ENTRIES, &wanted.to_string()).is_ok() && enter_again()?;
    if made {
        // So that a second namespace made from this one, for the other end, has its own too.
        let _ = root.write(CHILD_ENTRIES, &wanted.to_string());
    }
    match ehash_not_set(profile, &root) {
        None => in_run.applied.push(AppliedSetting {
            key: "namespace.ehash_entries".to_owned(),
            before: format!("{}, shared with the host", shared.trim_start_matches('-')),
            after: root.read(ENTRIES).unwrap_or_default(),
        }),
        Some(not_set) => note(in_run, &[], &[not_set]),
    }
    Ok(isolation)
}

/// How many buckets a namespace that is made from this one has without being asked: its own where this one says so,
/// else the host's. None where the kernel tells none (before Linux 6.1).
pub(crate) fn entries_of_a_new_one(root: &SysctlRoot) -> Option<u32> {
    let read = |key: &str| root.read(key).ok()?.parse::<i64>().ok();
    let entries = match read(CHILD_ENTRIES) {
        Some(own @ 1..) => own,
        // A negative number is that of a namespace which shares the host's hash.
        _ => read(ENTRIES)?,
    };
    u32::try_from(entries.unsigned_abs()).ok()
}

/// False when no second namespace may be made, which leaves this process where it is.
fn enter_again() -> Result<bool, NamespaceError> {
    match enter_new() {
        Ok(_) => Ok(true),
        Err(NamespaceError::Refused(_)) => Ok(false),
        Err(error) => Err(error),
    }
}
