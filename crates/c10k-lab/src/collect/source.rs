//! What the collector of the server's host sees, where that is another one: in the same types as what is seen here.

use std::collections::BTreeMap;
use std::time::Instant;

use c10k_collector::far::{Look, Moment};
use c10k_collector::{EndedProcess, Levels, Observation, of_two_hosts};
use c10k_record::{CounterChange, Sample};

use crate::processes::peer::{Peer, Sight};

/// The server's host, as the watch of a run looks at it.
pub(crate) struct FarSource {
    sight: Sight,
    is_one_machine: bool,
    /// The server's process there.
    pub(crate) server_pid: Option<u32>,
    /// Processors there.
    pub(crate) processors: u64,
    /// What is seen here, without that host.
    near: Levels,
    /// What its looks say together, without this host.
    levels: Levels,
    /// When the look was taken that they saw last.
    seen_at: Option<Instant>,
    /// Processes of the server that were found to have ended.
    ended: Vec<EndedProcess>,
}

impl FarSource {
    pub(crate) fn of(peer: &Peer) -> Self {
        Self {
            sight: peer.sight.clone(),
            is_one_machine: peer.is_one_machine,
            server_pid: peer.hello.server.pid,
            processors: peer.hello.host.cpus,
            near: Levels::default(),
            levels: Levels::default(),
            seen_at: None,
            ended: Vec::new(),
        }
    }

    /// What is seen here, and what was last seen there where that is of now.
    pub(crate) fn with(&mut self, near: &Observation) -> Observation {
        self.take_in();
        self.near.look(near);
        let both = |there: Option<&Observation>| of_two_hosts(near, there, self.is_one_machine);
        self.sight.of_now(Instant::now(), |_, look| both(Some(&look.seen))).unwrap_or_else(|| both(None))
    }

    /// Each look once.
    fn take_in(&mut self) {
        let known = self.sight.known();
        let Some((at, look)) = &known.look else { return };
        if self.seen_at.replace(*at) != Some(*at) {
            self.levels.look(&look.seen);
            self.ended.clone_from(&look.ended_processes);
        }
    }

    /// The columns of that host.
    pub(crate) fn fill(&self, row: &mut Sample) {
        self.sight.of_now(Instant::now(), |age, Look { seen, .. }| {
            row.far_age_ms = Some(age.as_millis() as u64);
            row.far_slab_bytes = seen.memory.slab_bytes;
            row.far_mem_free_bytes = seen.memory.free_bytes;
            row.far_mem_available_bytes = seen.memory.available_bytes;
            row.far_page_cache_bytes = seen.memory.page_cache_bytes;
            row.far_softirq_cores = seen.cpu.softirq_cores;
            row.far_idle_cores = seen.cpu.idle_cores_of_ours;
        });
    }

    pub(crate) fn close_begins(&mut self) {
        self.take_in();
        self.levels.close_begins();
        self.near.close_begins();
    }

    /// Counters and levels of that host alone, by the names that the walls know.
    pub(crate) fn changes(&self) -> BTreeMap<String, CounterChange> {
        self.levels.changes()
    }

    /// What the looks at the server's host say together, and those at this one.
    pub(crate) fn levels(&self) -> (&Levels, &Levels) {
        (&self.levels, &self.near)
    }

    /// ESTABLISHED at the server's end in the hold, and of these not accepted.
    pub(crate) fn established(&self) -> (Option<u64>, Option<u64>) {
        let known = self.sight.known();
        known
            .marks
            .get(&Moment::Hold)
            .map_or((None, None), |marked| (marked.established, marked.not_accepted))
    }

    /// Processes of the server that have ended, beyond so many that are known.
    pub(crate) fn ended_beyond(&self, known: usize) -> &[EndedProcess] {
        self.ended.get(known..).unwrap_or_default()
    }
}
