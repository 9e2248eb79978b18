//! Samples over time, and the memory account of a connection.
//!
//! This room knows where the kernel keeps its figures about sockets, memory and processor time, how to read them
//! often and cheaply ([`Collector::tick`]), how to count the states of all sockets at the end of a phase
//! ([`Collector::census`]), and how the memory that went between two moments divides among the parts and the two ends
//! of a connection ([`account`]). Where the two ends stand on two machines, [`far`] says what the server's end sees. It
//! refuses to know why a number is what it is, and who made the connections.
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
mod control;
mod cost;
mod document;
mod drops;
mod elsewhere;
mod exported;
mod family;
pub mod far;
mod find;
mod host;
mod known;
mod last_breath;
mod levels;
mod link;
mod network;
mod observation;
mod output;
mod per_end;
mod process;
mod serving;
mod signs;
mod snapshot;
mod sources;
mod stop;
mod told;
mod two_hosts;
mod unreadable;
mod watch;

pub use abroad::{Abroad, answers, listeners_on, silent_sample};
pub use account::{EndsHere, account, account_of_ends};
pub use args::CollectorArgs;
pub use at_server::{AtServer, EndsSeen, Patience};
pub use collector::{Collector, CollectorConfig, CollectorError, ProcessSide};
pub use document::{CensusSeen, Document, GapSeen, SelfCost};
pub use elsewhere::reached_from_here;
pub use find::{FindError, ServerFound, find_listeners, find_server};
pub use host::{host_snapshot, limits_of_processes, ports_kept, time_wait_by_end, time_wait_towards};
pub use last_breath::LastBreath;
pub use levels::Levels;
pub use link::{LinkSeen, LinkWatch};
pub use network::{NetworkEnd, NetworkSeen, SocketsSeen};
pub use observation::{
    CpuSeen, DescriptorsSeen, GroupSeen, HolderSeen, HostMemorySeen, ListenerSeen, NeighboursSeen,
    Observation, ProcessSeen, SlabSeen,
};
pub use per_end::PerEnd;
pub use serving::EndedProcess;
pub use signs::{QueueSigns, STALL, ServerSigns, Standstill};
pub use snapshot::{MemorySnapshot, ProcessSnapshot, ServerMemory};
pub use sources::{EvidenceSource, sources_of_evidence};
pub use told::tell_limits;
pub use two_hosts::of_two_hosts;
pub use unreadable::Unreadable;
pub use watch::run;
