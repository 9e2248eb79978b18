//! A profile beside the live system: what stands already, what can be set, what cannot.

use std::io;

use c10k_kernel::limits::{self, Cap, Limit};
use c10k_kernel::sysctl::{Access, Scope, Scopes, SysctlRoot, is_in_the_first_namespace_alone};

use crate::change::{NotSet, Why, sysctl_command};
use crate::limits::{Nofile, judge_nofile, nofile_command, show_limit};
use crate::more::Kind;
use crate::profile::Profile;
use crate::schema::Wanted;
use crate::value::Comparison;

/// There in the machine's first network namespace only, of two tables of the kernel's: should a later kernel give each
/// namespace one of them, the other still tells (net/core/sysctl_net_core.c, net/ipv4/sysctl_net_ipv4.c).
const FIRST_NAMESPACE_ONLY: [&str; 2] = ["net.core.netdev_max_backlog", "net.ipv4.tcp_mem"];

/// The system that a profile is compared with.
#[derive(Clone, Debug)]
pub struct Live {
    /// The kernel's settings.
    pub root: SysctlRoot,
    /// How far each of the profile's keys reaches.
    pub scopes: Scopes,
    /// RLIMIT_NOFILE of this process.
    pub nofile: Limit,
    /// Whether this process may raise its hard limits (CAP_SYS_RESOURCE).
    pub may_raise_hard: bool,
}

/// One setting of a profile beside its present value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiffRow {
    /// `limits.nofile`, `net.core.somaxconn`, `socket.backlog`.
    pub setting: String,
    /// The value that stands; None where there is none or it cannot be read.
    pub present: Option<String>,
    /// The value that the profile wants.
    pub wanted: String,
    /// How far a change reaches.
    pub scope: Scope,
    /// Whether this process can set it where it stands.
    pub settable: Settable,
    /// True when the profile can do without it.
    pub optional: bool,
}

/// Whether a setting can be set here and now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settable {
    /// It differs and may be set.
    Yes,
    /// It differs and may not be set.
    No {
        /// Why not.
        why: Why,
        /// The command that would set it; None where none would.
        command: Option<String>,
    },
    /// What is wanted stands already.
    AlreadySo,
}

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

impl DiffRow {
    /// Whether what stands gives what is wanted: the same, or a host-wide limit that is higher already.
    #[must_use]
    pub fn is_met(&self) -> bool {
        match &self.settable {
            Settable::AlreadySo => true,
            Settable::No { why, .. } => matches!(why, Why::MoreStands(_)),
            Settable::Yes => false,
        }
    }
}

impl Live {
    /// The system that this process stands in. The scopes are learned from a fresh child namespace.
    ///
    /// # Errors
    /// When the limits of this process cannot be read.
    pub fn here(profile: &Profile) -> io::Result<Self> {
        let root = SysctlRoot::default();
        let scopes = learn_scopes(profile, &root);
        Self::at(root, scopes)
    }

    /// This process before settings that lie elsewhere, for instance of a recorded host.
    ///
    /// # Errors
    /// When the limits of this process cannot be read.
    pub fn at(root: SysctlRoot, scopes: Scopes) -> io::Result<Self> {
        Ok(Self {
            root,
            scopes,
            nofile: limits::nofile()?,
            may_raise_hard: limits::has_capability(Cap::SysResource)?,
        })
    }

    /// True in the machine's first network namespace, the only one that shows host-wide network settings.
    #[must_use]
    pub fn is_first_namespace(&self) -> bool {
        is_first_namespace(&self.root)
    }

    pub(crate) fn nr_open(&self) -> Option<u64> {
        self.root.nr_open()
    }
}

pub(crate) fn is_first_namespace(root: &SysctlRoot) -> bool {
    FIRST_NAMESPACE_ONLY.iter().all(|key| root.exists(key))
}

/// How far the keys of a profile reach that is set in `root`: where no fresh namespace can be made to look into, one that
/// is not the machine's first shows it itself.
pub(crate) fn learn_scopes(profile: &Profile, root: &SysctlRoot) -> Scopes {
    let scopes = Scopes::learn(&profile.keys());
    if scopes.guessed() && !is_first_namespace(root) {
        return Scopes::of_this_namespace(&profile.keys(), root);
    }
    scopes
}

const EHASH: &str = "namespace.ehash_entries";

/// What the profile wants of its namespace's hash of established connections, unless this namespace has as large
/// a one, its own or the host's.
#[must_use]
pub fn ehash_not_set(profile: &Profile, root: &SysctlRoot) -> Option<NotSet> {
    let wanted = profile.namespace.ehash_entries?;
    let present = ehash_entries(root);
    if present.is_some_and(|present| present >= wanted) {
        return None;
    }
    Some(NotSet {
        key: EHASH.to_owned(),
        wanted: wanted.to_string(),
        present: present.map(|entries| entries.to_string()),
        scope: Scope::Namespace,
        why: Why::AtItsMaking,
        command: None,
        optional: false,
    })
}

/// A negative number is that of a namespace which shares the host's hash (ip-sysctl.rst, Linux 6.1).
fn ehash_entries(root: &SysctlRoot) -> Option<u32> {
    let entries: i64 = root.read("net.ipv4.tcp_ehash_entries").ok()?.parse().ok()?;
    u32::try_from(entries.unsigned_abs()).ok()
}

/// Compares a profile with the live system and changes nothing: limits first, then sysctls by key, then socket
/// options, which the kernel cannot show before there is a socket.
#[must_use]
pub fn diff(profile: &Profile, live: &Live) -> Vec<DiffRow> {
    let nofile = profile.limits.nofile.map(|wanted| {
        let (shown, judgement) = judge_nofile(wanted, live.nofile, live.nr_open(), live.may_raise_hard);
        let settable = match judgement {
            Nofile::AlreadySo => Settable::AlreadySo,
            Nofile::Set(_) => Settable::Yes,
            Nofile::Beyond { why, .. } => {
                let command = nofile_command(&shown, &why);
                Settable::No { why, command: Some(command) }
            }
        };
        DiffRow {
            setting: "limits.nofile".to_owned(),
            present: Some(show_limit(live.nofile)),
            wanted: shown,
            scope: Scope::Process,
            settable,
            optional: false,
        }
    });
    let hash = profile.namespace.ehash_entries.map(|wanted| {
        let not_set = ehash_not_set(profile, &live.root);
        DiffRow {
            setting: EHASH.to_owned(),
            present: ehash_entries(&live.root).map(|entries| entries.to_string()),
            wanted: wanted.to_string(),
            scope: Scope::Namespace,
            settable: not_set.map_or(Settable::AlreadySo, |not_set| Settable::No {
                why: not_set.why,
                command: not_set.command,
            }),
            optional: false,
        }
    });
    let sysctls = profile.sysctl.iter().map(|(key, wanted)| {
        let settable = match judge(key, wanted, live, Ground::Here { host_wide: true }) {
            Judgement::AlreadySo => Settable::AlreadySo,
            Judgement::Change { .. } => Settable::Yes,
            Judgement::No(not_set) => Settable::No { why: not_set.why, command: not_set.command },
        };
        DiffRow {
            setting: key.clone(),
            present: live.root.read(key).ok().map(|present| one_line(&present)),
            wanted: wanted.value.to_string(),
            scope: live.scopes.of(key),
            settable,
            optional: wanted.optional,
        }
    });
    let sockets = profile.socket.named().into_iter().map(|(name, value)| DiffRow {
        setting: format!("socket.{name}"),
        present: None,
        wanted: value,
        scope: Scope::Process,
        settable: Settable::Yes,
        optional: false,
    });
    nofile.into_iter().chain(hash).chain(sysctls).chain(sockets).collect()
}

/// What is to be done about one key on this ground.
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
    let kind = Kind::of(key, &wanted.value);
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

/// The kernel puts tabs between fields.
pub(crate) fn one_line(value: &str) -> String {
    value.split_whitespace().collect::<Vec<_>>().join(" ")
}
