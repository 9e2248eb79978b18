//! The two processes of a run, as the lab holds them.

use std::sync::mpsc::Receiver;

use crate::isolate::place::Place;
use crate::processes::child::{Heard, Process};
use crate::processes::server::ServerSide;

/// Server and swarm.
pub(crate) struct Pair {
    pub(crate) server: ServerSide,
    pub(crate) swarm: Process,
    /// What both say.
    pub(crate) heard: Receiver<Heard>,
    /// The server says nothing any more; one that is not ours never does.
    pub(crate) server_closed: bool,
    pub(crate) swarm_closed: bool,
    /// Connections that the swarm's sources allow.
    pub(crate) capacity: u64,
    /// Keeps the swarm's namespace, and what is in TIME_WAIT there, to the end.
    pub(crate) _place: Place,
}
