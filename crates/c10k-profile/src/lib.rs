//! Profiles: what a machine should be set to, and how it gets there and back.
//!
//! This room knows profiles (TOML text with sysctls, resource limits and socket options), how one extends
//! another, how one compares with the live system, and how one is applied: in a namespace of our own, where
//! nothing needs undoing, or to where the process runs, with a journal on disk before the first write, so that
//! the old values come back however the process ends. It refuses to know servers and swarms, who asks, and
//! what a setting is good for.
//!
//! Each of these uses only those before it: `text/` (profiles as they are written), `compare/` (beside the live system),
//! `write.rs` (one value written, read back, put back), `journal/` (what is on the disk before the first write), `hold/`
//! (settings held where a process runs), `in_force/` (the whole way, as server and swarm go it).

#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

mod compare;
mod hold;
mod in_force;
mod journal;
pub mod state_folder;
mod text;
mod write;

pub use compare::{
    Change, DiffRow, Live, NotSet, Settable, ValueKind, Why, diff, ehash_not_set, hint_for_unknown,
    unknown_keys, what_was_meant,
};
pub use hold::{
    AppliedGuard, Applier, ApplyError, Differs, Doubt, Here, Kept, Standing, StandingSetting, State,
    apply_here, pending_journal, recover,
};
pub use in_force::{
    InForce, InForceError, LISTED_BY, apply_limits, left_over_notice, not_applied_warning, not_in_force,
    note, own_tables_are_allowed, put_in_force, scope_of,
};
pub use journal::{
    Drift, Drifted, Holder, JournalError, Pending, Policy, Progress, Recovery, RollBack, Unsettable,
};
pub use text::{
    Keepalive, Limits, Linger, NamespaceOptions, NofileLimit, PortList, Profile, ProfileError, SocketOptions,
    Source, SysctlValue, Wanted,
};
pub use write::{Applied, apply_in_own_namespace};
