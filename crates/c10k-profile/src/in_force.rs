//! A profile in force for a process, and what is told of it.

mod limits;
mod tables;
mod told;
mod whole_way;

pub use limits::apply_limits;
pub use tables::own_tables_are_allowed;
pub use told::{not_applied_warning, not_in_force, note, scope_of};
pub use whole_way::{InForce, InForceError, LISTED_BY, left_over_notice, put_in_force};
