//! What can be seen from outside of a server that the lab did not start.

use c10k_ceiling::ServerProcess;
use c10k_collector::{Observation, ServerSigns};

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
        Some(ServerProcess {
            pid: self.signs.one_of_several().or(self.pid)?,
            full: self.signs.full.clone(),
            processes: self.signs.processes,
            most_descriptors: self.signs.most_descriptors,
            descriptor_limit: self.signs.descriptor_limit,
            table_was_full: self.signs.table_was_full,
            stopped: self.signs.stopped,
            established: self.census.map(|(established, _)| established),
            not_accepted: self.census.map(|(_, waiting)| waiting),
            listens: self.signs.queue.listens,
        })
    }
}
