//! The walls: what stops a box from holding one more connection.
//!
//! This room knows the limits of a Linux box as values in one table: how many connections each allows under
//! a plan ([`predict`]), which evidence proves that it was the one that bit ([`diagnose`]), and what lifts
//! it. All of it is pure functions over data: it refuses to know sockets, files, clocks and processes, how
//! the data was collected, and how it is shown. What the evidence does not prove is called `unknown`.

#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

mod caps;
mod diagnose;
mod drops;
mod facts;
mod far;
mod findings;
mod fit;
mod hold;
mod lateness;
mod lifts;
mod loads;
mod met;
mod myths;
mod plan_view;
mod predict;
mod proportion;
mod symptoms;
mod two_hosts;
mod verdicts;
mod wall;
mod walls;

pub use c10k_record::{CounterChange, counter};
pub use diagnose::{UNKNOWN, diagnose};
pub use far::FarFindings;
pub use findings::{Findings, KeptFree, ServerEnd, ServerProcess, TAKEN_DOWN};
pub use fit::{TooMany, too_many};
pub use hold::hold_cannot_show;
pub use lifts::{Lift, Lifted, Lifts, Useless};
pub use loads::{CpuLoad, MachineLoad, PhaseLoad};
pub use met::{met_on_the_way, syns_sent_again};
pub use myths::{MYTHS, Myth, myth};
pub use plan_view::{KERNEL_PORT_RANGE, KERNEL_PORTS, PlanView};
pub use predict::{Prediction, RatePrediction, first_above, predict, predict_rate, predicted_ceiling};
pub use symptoms::{
    Fingerprint, OtherCause, Reading, SYMPTOMS, Said, Symptom, number_in, read_number, read_symptom,
};
pub use two_hosts::predict_of_two;
pub use wall::{Bite, Forecast, Guide, Met, Need, Plant, Wall};
pub use walls::{CLIENT_BYTES, MEMORY_WALLS, SERVER_BYTES, memory_reserve_bytes, surest, wall, walls};
