//! What watching costs.

use std::time::Instant;

use crate::document::SelfCost;

/// What the collector itself takes of the processor.
pub(crate) struct OwnCost {
    begun: Moment,
    ticking: Option<Moment>,
    ticked: Option<Moment>,
}

#[derive(Clone, Copy)]
struct Moment {
    at: Instant,
    cpu_seconds: f64,
}

impl Moment {
    fn now() -> Self {
        Self { at: Instant::now(), cpu_seconds: own_cpu_seconds() }
    }

    /// Processor time and its share of the time that passed since `earlier`.
    fn since(self, earlier: Self) -> (f64, f64) {
        let cpu_seconds = (self.cpu_seconds - earlier.cpu_seconds).max(0.0);
        let elapsed = self.at.duration_since(earlier.at).as_secs_f64();
        (cpu_seconds, if elapsed > 0.0 { cpu_seconds / elapsed } else { 0.0 })
    }
}

impl OwnCost {
    pub(crate) fn begin() -> Self {
        Self { begun: Moment::now(), ticking: None, ticked: None }
    }

    /// From here on there are ticks only.
    pub(crate) fn ticks_begin(&mut self) {
        self.ticking = Some(Moment::now());
    }

    /// The last tick is taken.
    pub(crate) fn ticks_end(&mut self) {
        self.ticked = Some(Moment::now());
    }

    pub(crate) fn so_far(&self, ticks: u64) -> SelfCost {
        let (cpu_seconds, share_of_one_core) = Moment::now().since(self.begun);
        let steady = self.ticking.zip(self.ticked).map(|(first, last)| last.since(first));
        let (ticking_seconds, steady_share_of_one_core) = steady.unwrap_or_default();
        let cpu_us_per_tick = if ticks > 0 { Some(ticking_seconds * 1e6 / ticks as f64) } else { None };
        SelfCost { cpu_seconds, share_of_one_core, steady_share_of_one_core, cpu_us_per_tick }
    }
}

/// 0 where getrusage(2) fails, which it does not for the calling process.
fn own_cpu_seconds() -> f64 {
    c10k_kernel::cpu::own().map_or(0.0, |cpu| cpu.seconds())
}
