//! What all lanes share of their connections: how many more there may be, and how many there are.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::lane::Lane;

/// How many connections `--max-connections` still allows, over all lanes. Never exceeded: a slot is taken
/// before accept(2) is called.
#[derive(Debug)]
pub(crate) struct Slots(Option<AtomicU64>);

impl Slots {
    /// `None` = no limit.
    pub(crate) fn new(limit: Option<u64>) -> Self {
        Self(limit.map(AtomicU64::new))
    }

    /// Takes up to `want` slots and says how many.
    pub(crate) fn take(&self, want: u32) -> u32 {
        let Some(free) = &self.0 else { return want };
        let mut taken = 0;
        let grab = |free: u64| {
            taken = free.min(u64::from(want)) as u32;
            free.checked_sub(u64::from(taken)).filter(|_| taken > 0)
        };
        if free.fetch_update(Ordering::SeqCst, Ordering::SeqCst, grab).is_ok() { taken } else { 0 }
    }

    /// Whether there is one to be had.
    pub(crate) fn any(&self) -> bool {
        self.0.as_ref().is_none_or(|free| free.load(Ordering::SeqCst) > 0)
    }

    /// Gives slots back and wakes the lanes that wait for one.
    pub(crate) fn give_back(&self, count: u32, lanes: &[Lane]) {
        let Some(free) = self.0.as_ref().filter(|_| count > 0) else { return };
        free.fetch_add(u64::from(count), Ordering::SeqCst);
        lanes.iter().for_each(Lane::slot_is_free);
    }
}

/// How many are open at all workers together, and the most that ever were.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Gauge {
    open: AtomicU64,
    peak: AtomicU64,
}

impl Gauge {
    /// Counts what one round of a worker has changed.
    pub(crate) fn change(&self, opened: u32, ended: u32) {
        if opened >= ended {
            let more = u64::from(opened - ended);
            let now = self.open.fetch_add(more, Ordering::Relaxed) + more;
            if more > 0 {
                self.peak.fetch_max(now, Ordering::Relaxed);
            }
        } else {
            self.open.fetch_sub(u64::from(ended - opened), Ordering::Relaxed);
        }
    }

    pub(crate) fn peak(&self) -> u64 {
        self.peak.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_never_given_out_twice() {
        let slots = Slots::new(Some(1000));
        let taken: u32 = std::thread::scope(|scope| {
            let takers: Vec<_> =
                (0..4).map(|_| scope.spawn(|| (0..100).map(|_| slots.take(7)).sum::<u32>())).collect();
            takers.into_iter().map(|taker| taker.join().unwrap()).sum()
        });
        assert_eq!(taken, 1000);
        assert!(!slots.any() && slots.take(1) == 0);
        slots.give_back(2, &[]);
        assert_eq!(slots.take(64), 2);
        assert_eq!(Slots::new(None).take(64), 64);
    }

    #[test]
    fn the_peak_is_what_all_workers_had_together() {
        let gauge = Gauge::default();
        gauge.change(5, 0);
        gauge.change(3, 1);
        gauge.change(0, 6);
        gauge.change(1, 0);
        assert_eq!(gauge.peak(), 7);
    }
}
