//! What all workers are to do at one time, and a worker's share of it.

use std::sync::Arc;

use c10k_record::{PhaseKind, WorkPlan};
use c10k_wire::push::PushKind;

use crate::control::TableControl;

/// One phase of a workload, as every worker reads it. Times are µs since the run's epoch.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Job {
    /// Tells it from those before; 0 is none.
    pub(crate) number: u32,
    /// The phase's name.
    pub(crate) name: String,
    pub(crate) kind: PhaseKind,
    pub(crate) plan: WorkPlan,
    pub(crate) from_us: u64,
    /// Nothing is intended from here on.
    pub(crate) until_us: u64,
    /// Draws the sizes of messages.
    pub(crate) seed: u64,
}

impl Job {
    /// Whether the connections say nothing but beats.
    pub(crate) fn is_hold(&self) -> bool {
        self.kind == PhaseKind::Hold
    }

    /// Whether connections come and go.
    pub(crate) fn is_churn(&self) -> bool {
        self.kind == PhaseKind::Churn
    }

    /// Whether messages are intended at times, and not when others are answered.
    pub(crate) fn is_open_loop(&self) -> bool {
        self.pushes().is_none() && (self.plan.in_flight_messages.is_none() || self.is_hold())
    }

    /// What the server pushes, and at how many bits a second a stream is played; `None` = nothing.
    pub(crate) fn pushes(&self) -> Option<(PushKind, u64)> {
        let kind = match self.kind {
            PhaseKind::Stream => PushKind::Stream,
            PhaseKind::Fanout => PushKind::Fanout,
            _ => return None,
        };
        Some((kind, self.plan.bitrate.unwrap_or(WorkPlan::BITRATE).bits_per_second))
    }
}

/// How many of all connections one worker has. Workers stand in an order in which each is behind those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Share {
    /// Connections of this worker.
    pub(crate) own: u64,
    /// Connections of those before it.
    pub(crate) before: u64,
    /// Connections of all.
    pub(crate) all: u64,
}

impl Share {
    /// The share of `mine` among `tables`.
    pub(crate) fn of(mine: &Arc<TableControl>, tables: &[Arc<TableControl>]) -> Self {
        use std::sync::atomic::Ordering::Relaxed;
        let (mut share, mut is_before) = (Self { own: 0, before: 0, all: 0 }, true);
        for table in tables {
            let open = table.open.load(Relaxed);
            share.all += open;
            if Arc::ptr_eq(mine, table) {
                (share.own, is_before) = (open, false);
            } else if is_before {
                share.before += open;
            }
        }
        share
    }

    /// This worker's part of so many a second.
    pub(crate) fn of_rate(self, per_second: f64) -> f64 {
        if self.all == 0 { 0.0 } else { per_second * self.own as f64 / self.all as f64 }
    }

    /// This worker's part of so many; the parts of all make the whole.
    pub(crate) fn of_count(self, count: u64) -> u64 {
        let up_to = |connections: u64| {
            let part = u128::from(count) * u128::from(connections) / u128::from(self.all.max(1));
            part as u64
        };
        up_to(self.before + self.own) - up_to(self.before)
    }

    /// Where this worker stands among all, from 0 to below 1.
    pub(crate) fn place(self) -> f64 {
        self.before as f64 / self.all.max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shares_of_all_make_the_whole_whatever_it_is() {
        let tables = [7, 0, 1, 992, 13];
        for count in [0, 1, 3, 64, 1000, 999_999] {
            let (mut before, mut parts, mut rates) = (0, 0, 0.0);
            for own in tables {
                let share = Share { own, before, all: tables.iter().sum() };
                parts += share.of_count(count);
                rates += share.of_rate(count as f64);
                before += own;
            }
            assert_eq!(parts, count);
            assert!((rates - count as f64).abs() < 1e-6);
        }
    }

    #[test]
    fn where_there_is_nobody_nothing_is_to_be_done() {
        let share = Share { own: 0, before: 0, all: 0 };
        assert_eq!((share.of_count(5), share.of_rate(5.0)), (0, 0.0));
    }
}
