//! A server that accepts connections, holds them and sends their bytes back.
//!
//! This room knows how one Linux process takes as many TCP connections as the host allows: listeners that
//! share a port, workers with descriptor tables of their own that hand a listener's turn to one another as
//! they fill, a few bytes of state a connection, back-pressure towards slow readers, streams and messages that are pushed
//! to those who ask, and an orderly end.
//! It refuses to know who measures it, what a run is, or why a count is what it is: it says what it saw.
//!
//! # What is counted
//! `accepted` = `open` + `closed` + `drained` + Σ `failed`, at every report. A connection that accept(2)
//! could not take for want of a descriptor or of memory is none of these: it stays in the listener's queue
//! and the errno is counted under `accept_errors`. ENOSPC there is epoll's (`fs.epoll.max_user_watches`), which
//! accept(2) never says: nothing is accepted that could not be watched.

#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

mod args;
mod counters;
mod exported;
mod host;
mod keeper;
mod lane;
mod listen;
mod plan;
mod push;
mod refusal;
mod report;
mod reserve;
mod shared;
mod slots;
mod speech;
mod start;
mod stream;
mod table;
mod timers;
mod watch;
mod worker;

pub use args::{PushArgs, PushWorkload, ServerArgs, StatsForm};
pub use keeper::main_with;
pub use listen::{ListenError, ListenSpec};
