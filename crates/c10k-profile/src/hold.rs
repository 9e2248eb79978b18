//! Holding settings where this process runs: applying with a journal, what stands and who asked for it, and giving it up.
//!
//! # Who has which lock, and when
//!
//! | step | lock of the journal's folder | locks of the other folders | lock of this process's life |
//! |---|---|---|---|
//! | look for the journal, put back what is left over (`sweep`) | taken | taken | |
//! | plan again, write the journal (`apply`, then `guard`) | held | held, then released | taken |
//! | mark, write and read back each value (`guard`) | held, then released | | held |
//! | the settings are in force | | | held |
//! | give up (`claim`) | taken, then released | | released before the folder's |
//!
//! The folder's lock is needed to change settings or the journal, for seconds at most; the lock of a process's life says
//! that it still wants its settings, and the kernel releases it however the process ends.

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
