//! The far end of a run whose two ends stand on two machines: what it sees of its own, run by run, and how it is asked.
//!
//! A process that stands beside the server ([`FarEnd`]) looks as often as a run on one machine does, keeps what it saw,
//! and answers the routes of docs/control.md ([`ControlPort`]). Its client feeds what it is told into the same findings
//! as if it had looked itself: the types are the collector's own.

mod counted;
mod end;
mod lease;
mod machine;
mod meet;
mod routes;
mod rows;
mod run;
mod said;

pub use end::{FarEnd, FarSetup, ServersWord};
pub(crate) use machine::machine;
pub use meet::{Meet, results};
pub use routes::{At, Below, ControlPort};
pub use said::{Ended, Look, MOST_SETTLE_MS, Mark, Marked, Moment, ServerEnded, Snapshot, ThreadsLeft};
