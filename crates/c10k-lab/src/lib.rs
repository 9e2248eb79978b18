//! The lab: one command from plan to record.
//!
//! This room knows the plan's way through the house: topology → profile → server → swarm → record → ceiling →
//! report. It starts server and swarm as processes of their own by running its own executable again, so that
//! memory and processor time belong to one process each. It refuses to know the inside of any other room: it
//! speaks with the processes by the lines that anybody could write and read.

#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

mod calibrate;
mod child;
mod cli;
mod climb;
mod cpu;
mod doctor;
mod ends;
mod far;
mod findings;
mod finish;
mod foreign;
mod gaps;
mod headroom;
mod host;
mod isolate;
mod lead;
mod moment;
mod object_bytes;
mod own_hash;
mod plan;
mod plant;
mod printer;
mod profile_command;
mod progress;
mod record_command;
mod run;
mod settings;
mod setup;
mod signals;
mod stage;
mod start;
mod steward;
mod stop;
mod veth;
mod walls_command;
mod watch;

pub use cli::{Cli, main_with};
