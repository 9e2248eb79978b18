//! What ended a run before its end, or is about to.

use std::time::{Duration, Instant};

use c10k_ceiling::ServerEnd;

/// How long the swarm goes on once its server has ended.
const AFTERMATH: Duration = Duration::from_secs(1);

/// What broke, and who wanted the end.
#[derive(Default)]
pub(crate) struct Broke {
    /// What the run cannot go on without, in words.
    pub(crate) why: Option<String>,
    /// How the server ended, and when.
    pub(crate) server: Option<(ServerEnd, Instant)>,
    /// Processes that a server lost while it went on.
    pub(crate) workers_ended: usize,
    /// Open connections when the close began.
    pub(crate) closing_from: Option<u64>,
    /// The close has begun: a server that ends once its last client has gone breaks nothing.
    pub(crate) is_closing: bool,
    /// Somebody wanted the end before the last proof was over.
    pub(crate) is_stopped_early: bool,
    /// It was said that the server's host is lost.
    pub(crate) is_far_end_told: bool,
    /// The swarm has been told to give everything up.
    pub(crate) is_aborting: bool,
}

impl Broke {
    /// How the server ended, where it did.
    pub(crate) fn server_end(&self) -> Option<ServerEnd> {
        self.server.map(|(end, _)| end)
    }

    /// Whether the swarm has been alone for long enough to count what became of its connections.
    pub(crate) fn is_alone(&self) -> bool {
        self.server.is_some_and(|(_, ended)| ended.elapsed() >= AFTERMATH)
    }
}
