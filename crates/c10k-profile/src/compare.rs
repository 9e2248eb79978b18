//! A profile beside the live system: what stands already, what can be set, what cannot and why. Nothing is changed here.

mod change;
mod diff;
mod judge;
mod live;
mod more;
mod nofile;
mod unknown;

pub use change::{Change, NotSet, Why};
pub use diff::{DiffRow, Settable, diff, ehash_not_set};
pub use live::Live;
pub use more::ValueKind;
pub use unknown::{hint_for_unknown, unknown_keys, what_was_meant};

pub(crate) use change::sysctl_command;
pub(crate) use judge::{Ground, Judgement, judge};
pub(crate) use live::{is_first_namespace, learn_scopes};
pub(crate) use nofile::{Nofile, judge_nofile, nofile_command, show_limit};
