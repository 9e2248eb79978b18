//! Whether one key is to be changed, and why not.

use c10k_kernel::sysctl::{Access, Scope, is_in_the_first_namespace_alone};

use super::change::{NotSet, Why, sysctl_command};
use super::live::Live;
use super::more::ValueKind;
use crate::text::{Comparison, Wanted, one_line};

/// Where settings are to be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ground {
    /// A namespace that dies with the run: only what belongs to it.
    OwnNamespace,
    /// Where the process runs, host-wide settings only if asked for.
    Here { host_wide: bool },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Judgement {
    AlreadySo,
    Change { present: String },
    No(NotSet),
}

/// Judges one key on this ground: whether it is to be changed, and why not.
pub(crate) fn judge(key: &str, wanted: &Wanted, live: &Live, ground: Ground) -> Judgement {
    let scope = live.scopes.of(key);
    let value = wanted.value.to_string();
    let no = |present: Option<&str>, why: Why| {
        let command = match (&why, present) {
            (Why::NotInThisNamespace | Why::HostWide | Why::NotWritable | Why::FirstNamespace, _) => {
                Some(sysctl_command(key, &value))
            }
            (Why::WouldTakeAway(kind), Some(present)) => {
                Some(sysctl_command(key, &kind.both(present, &wanted.value).to_string()))
            }
            _ => None,
        };
        Judgement::No(NotSet {
            key: key.to_owned(),
            wanted: value.clone(),
            present: present.map(one_line),
            scope,
            command,
            why,
            optional: wanted.optional,
        })
    };
    // Looked for first: ENOENT of a later write may speak of the value and not of the key.
    if !live.root.exists(key) {
        let is_elsewhere = is_in_the_first_namespace_alone(key) && !live.is_first_namespace();
        return no(None, if is_elsewhere { Why::NotInThisNamespace } else { Why::UnknownKey });
    }
    let present = match live.root.read(key) {
        Ok(present) => present,
        Err(error) => return no(None, Why::Unreadable(error.to_string())),
    };
    match wanted.value.compare(&present) {
        Comparison::Same => return Judgement::AlreadySo,
        Comparison::OtherCount { present: has, wanted } => {
            return no(Some(&present), Why::WrongCount { present: has, wanted });
        }
        Comparison::OtherKind { present: kind } => return no(Some(&present), Why::WrongKind(kind)),
        Comparison::Differs => {}
    }
    let kind = ValueKind::of(key, &wanted.value);
    if scope == Scope::Host && kind.takes_away(&present, &wanted.value) {
        let is_more = kind.covers(&present, &wanted.value);
        return no(Some(&present), if is_more { Why::MoreStands(kind) } else { Why::WouldTakeAway(kind) });
    }
    match ground {
        Ground::OwnNamespace if live.is_first_namespace() => return no(Some(&present), Why::FirstNamespace),
        Ground::OwnNamespace | Ground::Here { host_wide: false } if scope == Scope::Host => {
            return no(Some(&present), Why::HostWide);
        }
        Ground::Here { .. } if scope == Scope::Host && !live.is_first_namespace() => {
            return no(Some(&present), Why::HostWide);
        }
        _ => {}
    }
    if live.root.access(key) != Access::ReadWrite {
        return no(Some(&present), Why::NotWritable);
    }
    Judgement::Change { present }
}
