//! A profile beside the live system: what stands already, what can be set, what cannot.

use c10k_kernel::sysctl::{Scope, SysctlRoot};

use super::change::{NotSet, Why};
use super::judge::{Ground, Judgement, judge};
use super::live::Live;
use super::nofile::{Nofile, judge_nofile, nofile_command, show_limit};
use crate::text::{Profile, one_line};

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
    let window = profile.namespace.initcwnd.map(|wanted| DiffRow {
        setting: INITCWND.to_owned(),
        // It differs from route to route.
        present: None,
        wanted: wanted.to_string(),
        scope: Scope::Namespace,
        settable: Settable::No { why: Why::OnItsRoutes, command: None },
        optional: false,
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
    nofile.into_iter().chain(hash).chain(window).chain(sysctls).chain(sockets).collect()
}

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

const EHASH: &str = "namespace.ehash_entries";
const INITCWND: &str = "namespace.initcwnd";

/// A negative number is that of a namespace which shares the host's hash (ip-sysctl.rst, Linux 6.1).
fn ehash_entries(root: &SysctlRoot) -> Option<u32> {
    let entries: i64 = root.read("net.ipv4.tcp_ehash_entries").ok()?.parse().ok()?;
    u32::try_from(entries.unsigned_abs()).ok()
}
