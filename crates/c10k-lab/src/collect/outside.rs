//! What can be seen from outside of a server that the lab did not start.

use c10k_ceiling::ServerProcess;
use c10k_collector::{Observation, ServerSigns};
use c10k_swarm::server_process;

/// What a foreign server shows from outside, tick by tick.
#[derive(Debug, Default)]
pub(crate) struct Outside {
    pub(crate) signs: ServerSigns,
    /// ESTABLISHED at its side, and not accepted, in the hold.
    pub(crate) census: Option<(u64, u64)>,
    pid: Option<u32>,
}

impl Outside {
    pub(crate) fn look(&mut self, seen: &Observation, pid: Option<u32>) {
        self.pid = pid;
        self.signs.look(seen);
    }

    /// For the walls.
    pub(crate) fn process(&self) -> Option<ServerProcess> {
        let pid = self.signs.one_of_several().or(self.pid)?;
        Some(server_process(&self.signs, pid, self.census))
    }
}
