//! The lab: one command from plan to record.
//!
//! This room knows the plan's way through the house: topology → profile → server → swarm → record → ceiling →
//! report. It starts server and swarm as processes of their own by running its own executable again, so that
//! memory and processor time belong to one process each. It refuses to know the inside of any other room: it
//! speaks with the processes by the lines that anybody could write and read.

#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

mod signals;
mod ssh {
    //! The far end of an ssh connection, and the server that is started there.
    pub(crate) mod connection;
    pub(crate) mod far;
    pub(crate) mod trouble;
    pub(crate) mod words;
}
mod host {
    //! The machine's limits and what it has left.
    pub(crate) mod before;
    pub(crate) mod describe;
    pub(crate) mod headroom;
    pub(crate) mod limits;
    pub(crate) mod object_bytes;
}
mod isolate {
    //! The namespaces of a run, with the profile's settings in them.
    pub(crate) mod first_window;
    pub(crate) mod furnish;
    pub(crate) mod own_hash;
    pub(crate) mod place;
    pub(crate) mod sample;
    pub(crate) mod steward;
    pub(crate) mod veth;
}
mod processes {
    //! Server and swarm.
    pub(crate) mod acts;
    pub(crate) mod child;
    pub(crate) mod far;
    pub(crate) mod foreign;
    pub(crate) mod in_force;
    pub(crate) mod noise;
    pub(crate) mod peer;
    pub(crate) mod server;
    pub(crate) mod start;
}
mod collect {
    //! What is seen of a run from outside of its processes.
    pub(crate) mod cpu;
    pub(crate) mod ends;
    pub(crate) mod gaps;
    pub(crate) mod outside;
    pub(crate) mod source;
    pub(crate) mod watch;
}
mod findings;
mod lead {
    //! The run itself.
    pub(crate) mod abroad;
    pub(crate) mod bisect;
    pub(crate) mod broke;
    pub(crate) mod course;
    pub(crate) mod ends;
    pub(crate) mod exported;
    pub(crate) mod far;
    pub(crate) mod finish;
    pub(crate) mod found;
    pub(crate) mod lab;
    pub(crate) mod moment;
    pub(crate) mod page;
    pub(crate) mod pair;
    pub(crate) mod phases;
    pub(crate) mod progress;
    pub(crate) mod ramp;
    pub(crate) mod said;
    pub(crate) mod search;
    pub(crate) mod seen;
    pub(crate) mod sizes;
    pub(crate) mod standing;
    pub(crate) mod stop;
    pub(crate) mod view;
    pub(crate) mod wait;
    pub(crate) mod workers;
}
mod rerun;
mod command {
    //! One file or folder a command.
    pub(crate) mod account;
    pub(crate) mod beside;
    pub(crate) mod calibrate;
    pub(crate) mod climb;
    pub(crate) mod compare;
    pub(crate) mod doctor;
    pub(crate) mod find;
    pub(crate) mod help;
    pub(crate) mod list;
    pub(crate) mod merge;
    pub(crate) mod pages;
    pub(crate) mod plant;
    pub(crate) mod profile;
    pub(crate) mod report;
    pub(crate) mod run;
    pub(crate) mod runs;
    pub(crate) mod serve;
    pub(crate) mod settings;
    pub(crate) mod sweep;
    pub(crate) mod tune;
    pub(crate) mod walls;
}
mod cli;

pub use cli::main_of;
