//! An experiment: a base plan, what is changed of it, what is compared, what its author expects, and the order of its runs.

pub mod arm;
pub mod expect;
pub mod file;
mod hint;
pub mod measure;
pub mod order;
pub mod setting;
