//! The table of walls. A wall is one item in the file of its group.

mod descriptors;
mod files;
mod idle;
mod lateness;
mod memory;
mod network;
mod path;
mod ports;
mod processor;
mod queues;
mod server;
mod server_limits;
mod several;
mod sources;
mod threads;

use c10k_record::Degree;

use crate::wall::Wall;

pub(crate) use idle::ages_in_words;
pub(crate) use memory::COST_NO_CONNECTION;
pub use memory::{CLIENT_BYTES, MEMORY_WALLS, SERVER_BYTES, memory_reserve_bytes};
pub(crate) use network::{LINK_UNCERTAINTY, link_rate};
pub(crate) use threads::settle_threads;

/// The groups, in the order in which walls that bit at the same time are told.
static GROUPS: [&[Wall]; 14] = [
    descriptors::WALLS,
    files::WALLS,
    ports::WALLS,
    sources::WALLS,
    server::WALLS,
    server_limits::WALLS,
    idle::WALLS,
    path::WALLS,
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

/// How sure a wall can be from one run: some only fit all that was seen, and are proven by a second run.
#[must_use]
pub fn surest(wall: &Wall) -> Degree {
    const LIKELY_AT_MOST: [&str; 3] = ["server-limit", "middlebox-forgets", "path-lost"];
    if LIKELY_AT_MOST.contains(&wall.name) { Degree::Likely } else { Degree::Proven }
}
