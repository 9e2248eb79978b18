//! One ramp after the other.

use c10k_record::LiveCounts;

use super::Conductor;
use crate::own_cpu_seconds;
use crate::ramps::Ramp;

impl Conductor<'_> {
    /// Grows by `more`, and keeps what that took.
    pub(super) fn ramp(&mut self, more: u64) {
        let (before, cpu_before) = (self.arrived(&self.shared.counts()), own_cpu_seconds());
        self.shared.begin_ramp();
        self.grow(more);
        let verified = self.arrived(&self.shared.counts()).saturating_sub(before);
        if let Some(ramp) = self.shared.ramp() {
            let cpu_seconds =
                cpu_before.zip(own_cpu_seconds()).map(|(before, after)| (after - before).max(0.0));
            self.ramps.add(&Ramp { verified, cpu_seconds, ..ramp });
        }
    }

    /// Those that have come as far as a connection is to come in a ramp.
    pub(super) fn arrived(&self, counts: &LiveCounts) -> u64 {
        if self.course.probe { counts.verified } else { counts.established }
    }
}
