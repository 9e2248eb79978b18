//! Samples over time, and the memory account of a connection.
//!
//! This room knows where the kernel keeps its figures about sockets, memory and processor time, how to read them
//! often and cheaply ([`Collector::tick`]), how to count the states of all sockets at the end of a phase
//! ([`Collector::census`]), and how the memory that went between two moments divides among the parts and the two ends
//! of a connection ([`account`]). It refuses to know why a number is what it is, and who made the connections.
//!
//! What could not be read is `None`, never 0; a difference is never negative; and what this user may not read is named
//! once, with what stays unknown without it ([`Unreadable`]).

#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

mod abroad;
mod account;
mod args;
mod at_server;
mod budget;
mod collector;
mod cost;
mod document;
mod family;
mod find;
mod host;
mod levels;
mod link;
mod observation;
mod output;
mod process;
mod serving;
mod signs;
mod snapshot;
mod sources;
mod stop;
mod unreadable;
mod watch;

pub use abroad::{answers, firewall_rules, listeners_on, outgoing_of_listeners, silent_sample};
pub use account::{EndsHere, account, account_of_ends};
pub use args::CollectorArgs;
pub use at_server::{AtServer, EndsSeen, Patience};
pub use collector::{Collector, CollectorConfig, CollectorError, Side};
pub use document::{CensusSeen, Document, GapSeen, SelfCost};
pub use find::{FindError, ServerFound, find_listeners, find_server};
pub use host::{host_snapshot, ports_kept, time_wait_towards};
pub use levels::Levels;
pub use link::{LinkSeen, LinkWatch};
pub use observation::{
    CpuSeen, DescriptorsSeen, GroupSeen, HolderSeen, HostMemorySeen, ListenerSeen, NeighboursSeen,
    Observation, ProcessSeen, SlabSeen, SocketsSeen,
};
pub use signs::{QueueSigns, STALL, ServerSigns, Standstill};
pub use snapshot::{MemorySnapshot, ProcessSnapshot, ServerMemory};
pub use sources::{EvidenceSource, sources_of_evidence};
pub use unreadable::Unreadable;
pub use watch::run;
