//! From the command line to a resolved plan.
//!
//! This room knows what people write: the flags of a run, plan files, the stage on which a run is set ([`stage`]), and
//! experiments ([`experiment`]). It makes one plan of flags, file and defaults ([`resolve`]), refuses what contradicts
//! itself ([`contradictions`]), and says what a command has to say ([`say`]). It refuses to know how a plan is carried out.

#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

pub mod say {
    //! What is said to the person at the terminal.
    pub mod color;
    pub mod printer;
    pub mod refusal;
    pub mod slip;
    pub mod words;
}

// What is written on the command line.
pub mod beside;
pub mod ssh;
pub mod stage;

pub mod args;

// What becomes of it, and of files.
pub mod contradictions;
pub mod file;
pub mod flags;
pub mod veth;
pub mod view;

pub mod resolve;

pub mod print;

// Plans that differ in one thing each.
pub mod experiment;
