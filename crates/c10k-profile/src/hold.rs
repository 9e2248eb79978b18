//! Holding settings where this process runs: applying with a journal, what stands and who asked for it, and giving it up.

mod apply;
mod claim;
mod doubt;
mod error;
mod guard;
mod here;
mod out_of_sight;
mod standing;
mod sweep;

pub use apply::{Applier, Kept, apply_here};
pub use doubt::{Differs, Doubt};
pub use error::ApplyError;
pub use guard::AppliedGuard;
pub use here::Here;
pub use standing::{Standing, StandingSetting, State};
pub use sweep::{pending_journal, recover};
