//! How a run stands, for the full screen: from the row that was just taken.

use c10k_plan::view::foreseen;
use c10k_record::{Live, Sample};

use crate::host::limits::as_one;
use crate::lead::lab::Lab;
use c10k_report::tui::{View, thinned};

/// Rows that a plot has room for.
const ROWS: usize = 250;
/// Walls that are told.
const WALLS: usize = 3;

impl Lab<'_> {
    /// What the full screen shows of the last row.
    pub(crate) fn view(&self, row: &Sample, live: Live<'static>) -> View {
        let seen = self.seen.watch.last.as_ref();
        let sockets = seen.map(|seen| seen.network.sockets).unwrap_or_default();
        let listener = seen.and_then(|seen| seen.listener);
        let open = row.open.unwrap_or(0);
        View {
            title: format!("{} · {} · {}", self.plan.profile, self.plan.protocol, self.plan.topology),
            live,
            target: self.plan.target,
            rows: thinned(&self.seen.watch.samples, ROWS),
            sockets: vec![
                ("LISTEN", listener.map(|listener| listener.listeners)),
                ("CurrEstab", seen.and_then(|seen| seen.counter("CurrEstab"))),
                ("TIME-WAIT", sockets.time_wait),
                ("orphan", sockets.orphans),
                ("inuse", sockets.in_use),
                ("alloc", sockets.allocated),
            ],
            accept_queue: (
                listener.map(|listener| listener.accept_queue),
                listener.and_then(|listener| listener.backlog),
            ),
            lost: self.lost(),
            memory: self.parts_of_memory(&live),
            cores: vec![
                ("server", row.server_cores),
                ("swarm", row.swarm_cores),
                ("softirq", row.softirq_cores),
                ("idle", row.idle_cores),
            ],
            cpus: self.record.host.as_ref().map_or(0, |host| host.cpus),
            walls: self.next_walls(open),
            open,
            word: None,
            is_stopping: self.signals.came(),
        }
    }

    fn lost(&self) -> Vec<(String, u64)> {
        let lost = self.said.swarm.lost.iter();
        let mut lost: Vec<(String, u64)> =
            lost.map(|(outcome, count)| (outcome.name().to_owned(), *count)).collect();
        lost.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        lost
    }

    /// By the account of the hold once there is one; before it by what has grown.
    fn parts_of_memory(&self, live: &Live<'_>) -> Vec<(String, f64)> {
        let both = |part: &c10k_record::MemoryPart| {
            part.server_bytes.unwrap_or(0.0) + part.client_bytes.unwrap_or(0.0)
        };
        let parts = self.record.memory_per_connection.parts.iter();
        let known: Vec<(String, f64)> = parts
            .map(|(name, part)| (name.replace('_', " "), both(part)))
            .filter(|(_, bytes)| *bytes >= 1.0)
            .collect();
        if !known.is_empty() {
            return known;
        }
        let grown = [
            ("server", live.bytes.server_bytes),
            ("swarm", live.bytes.client_bytes),
            ("kernel", live.bytes.kernel_bytes),
        ];
        grown.into_iter().filter_map(|(name, bytes)| Some((name.to_owned(), bytes? as f64))).collect()
    }

    fn next_walls(&self, open: u64) -> Vec<(String, u64)> {
        let limits = as_one(&self.limits);
        let walls = foreseen(self.plan, &limits, self.limits_there()).into_iter();
        let ahead = walls.filter(|wall| wall.connections > open).take(WALLS);
        ahead.map(|wall| (wall.wall, wall.connections)).collect()
    }
}
