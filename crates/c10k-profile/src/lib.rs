//! Profiles: what a machine should be set to, and how it gets there and back.
//!
//! This room knows profiles (TOML text with sysctls, resource limits and socket options), how one extends
//! another, how one compares with the live system, and how one is applied: in a namespace of our own, where
//! nothing needs undoing, or to where the process runs, with a journal on disk before the first write, so that
//! the old values come back however the process ends. It refuses to know servers and swarms, who asks, and
//! what a setting is good for.

#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

mod apply;
mod change;
mod doubt;
mod error;
mod guard;
mod here;
mod in_force;
mod journal;
mod judge;
mod life;
mod limits;
mod more;
mod out_of_sight;
mod place;
mod profile;
mod recovery;
mod schema;
mod shipped;
mod socket_options;
mod standing;
pub mod state_folder;
mod sweep;
mod value;

pub use apply::{Applied, apply_in_own_namespace, unknown_keys};
pub use change::{Change, NotSet, Why};
pub use doubt::{Differs, Doubt};
pub use error::{ApplyError, JournalError, ProfileError};
pub use guard::AppliedGuard;
pub use here::{
    Applier, Drift, Here, Kept, Policy, Progress, Unsettable, apply_here, pending_journal, recover,
};
pub use in_force::{
    InForce, InForceError, LISTED_BY, left_over_notice, not_applied_warning, not_in_force, note,
    put_in_force, scope_of,
};
pub use journal::Holder;
pub use judge::{DiffRow, Live, Settable, diff, ehash_not_set};
pub use limits::apply_limits;
pub use more::Kind;
pub use profile::{Profile, Source};
pub use recovery::{Drifted, Pending, Recovery, RollBack};
pub use schema::{Limits, NamespaceOptions, NofileLimit, Wanted};
pub use socket_options::{Keepalive, Linger, SocketOptions};
pub use standing::{Standing, StandingSetting, State};
pub use value::{PortList, SysctlValue};
