//! Kernel settings under `/proc/sys`: what they are, whether they may be written, and how far a write reaches.

mod first_only;
mod root;
mod scope;

pub use first_only::is_in_the_first_namespace_alone;
pub use root::{Access, SysctlRoot};
pub use scope::{Scope, Scopes};
