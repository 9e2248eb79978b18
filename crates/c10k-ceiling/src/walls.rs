//! The table of walls. A wall is one item in the file of its group.

mod descriptors;
mod files;
mod lateness;
mod memory;
mod network;
mod ports;
mod processor;
mod queues;
mod server;
mod several;
mod sources;
mod threads;

use crate::wall::Wall;

pub(crate) use memory::COST_NO_CONNECTION;
pub use memory::{CLIENT_BYTES, MEMORY_WALLS, SERVER_BYTES, memory_reserve_bytes};
pub(crate) use network::{LINK_UNCERTAINTY, link_rate};
pub(crate) use threads::settle_threads;

/// The groups, in the order in which walls that bit at the same time are told.
static GROUPS: [&[Wall]; 11] = [
    descriptors::WALLS,
    files::WALLS,
    ports::WALLS,
    sources::WALLS,
    server::WALLS,
    queues::WALLS,
    network::WALLS,
    memory::WALLS,
    threads::WALLS,
    processor::WALLS,
    lateness::WALLS,
];

/// All walls.
pub fn walls() -> impl Iterator<Item = &'static Wall> {
    GROUPS.iter().copied().flatten()
}

/// The wall of that name.
#[must_use]
pub fn wall(name: &str) -> Option<&'static Wall> {
    walls().find(|wall| wall.name == name)
}
