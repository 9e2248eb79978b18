//! A swarm of clients: as many connections as asked for, from as many sources as it takes, counted honestly.
//!
//! This room knows source addresses and ports, arrivals, connecting, probing and counting. It refuses to know
//! what the server is made of: it drives any TCP server. What makes a connection (kernel sockets) stands
//! behind one boundary ([`maker`]) from arrivals, probes and counting.
//!
//! # What is counted
//! attempted ≥ established ≥ verified ≥ held, as in [`c10k_record::Connections`]; every connection that was
//! attempted is at the end either held, released by a command, or lost under exactly one errno or name.

#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

pub mod add_ips;
pub mod args;
mod arrivals;
mod base;
mod beside;
mod conductor;
mod control;
mod crew;
mod document;
mod exported;
mod finding;
pub mod ips;
mod losses;
pub mod maker;
mod makers;
mod measured;
mod meet;
mod names;
mod output;
mod own_end;
mod preflight;
mod ramps;
mod refusal;
mod run;
mod said;
mod settings;
pub mod setup;
mod shard;
mod shared;
mod signals;
pub mod sources;
mod speech;
mod table;
mod tally;
mod tasks;
mod tuples;
mod undo;
mod view;
mod walk;
mod worker;
mod workload;

pub use args::{LoadArgs, SwarmArgs, WorkArgs};
pub use beside::server_process;
pub use run::main_with;
pub use sources::LOOPBACK_POOL;
pub use view::{plan_view, ports_of, takes_more};

/// RSS of this process, bytes.
pub(crate) fn own_rss_bytes() -> Option<u64> {
    let root = c10k_kernel::counters::ProcRoot::default();
    c10k_kernel::memory::ProcessMemoryReader::open(&root, None).read().ok()?.rss_bytes
}

/// Processor time of this process so far, seconds.
pub(crate) fn own_cpu_seconds() -> Option<f64> {
    let root = c10k_kernel::counters::ProcRoot::default();
    let cpu = c10k_kernel::cpu::ProcessCpuReader::open(&root, std::process::id()).read().ok()?;
    Some(cpu.seconds())
}
