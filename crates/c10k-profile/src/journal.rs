//! What is on the disk before the first write: who set what and what stood before, the folder and the locks around it,
//! and how the old values go back.

mod aside;
mod elsewhere;
mod error;
mod file;
mod folder;
mod life;
mod lock;
mod model;
mod policy;
mod put_back;
mod told;

pub use error::JournalError;
pub use model::Holder;
pub use policy::{Drift, Policy, Progress, Unsettable};
pub use told::{Drifted, Pending, Recovery, RollBack};

pub(crate) use aside::{asides_in, set_aside};
pub(crate) use elsewhere::{Existence, look_for_namespace};
pub(crate) use file::{Reading, Useless};
pub(crate) use folder::{Folders, journal_path, journals_in};
pub(crate) use life::{LifeLock, remove_dead};
pub(crate) use lock::{Lock, Locker, lock};
pub(crate) use model::{Entry, Journal, Spot, Written};
pub(crate) use put_back::Sweep;
