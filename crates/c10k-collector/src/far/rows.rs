//! Rows of a run of any length in a memory that has an end.

use std::time::Duration;

use c10k_record::Sample;

/// More rows are not kept.
const MOST: usize = 1_200;
/// Between two rows at first.
const FIRST: Duration = Duration::from_millis(250);

/// Rows at even times. When they have become too many each second one is let go, and twice as much time lies between two.
#[derive(Debug)]
pub(super) struct Rows {
    rows: Vec<Sample>,
    every: Duration,
    next: Duration,
}

impl Default for Rows {
    fn default() -> Self {
        Self { rows: Vec::new(), every: FIRST, next: Duration::ZERO }
    }
}

impl Rows {
    /// Whether a row is due, so long after the beginning.
    pub(super) fn is_due(&self, at: Duration) -> bool {
        at >= self.next
    }

    /// Takes a row, which has its time.
    pub(super) fn add(&mut self, row: Sample) {
        self.rows.push(row);
        if self.rows.len() >= MOST {
            let mut is_kept = false;
            self.rows.retain(|_| {
                is_kept = !is_kept;
                is_kept
            });
            self.every *= 2;
        }
        // Who looks late does not hurry after what was missed.
        let last = self.rows.last().map_or(0, |last| last.elapsed_ms);
        self.next = Duration::from_millis(last) + self.every;
    }

    pub(super) fn every_ms(&self) -> u64 {
        self.every.as_millis() as u64
    }

    pub(super) fn take(&mut self) -> Vec<Sample> {
        std::mem::take(&mut self.rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_run_keeps_its_beginning_and_its_end_at_even_times() {
        let mut rows = Rows::default();
        for ms in (0..3_600_000).step_by(50) {
            let at = Duration::from_millis(ms);
            if rows.is_due(at) {
                rows.add(Sample { elapsed_ms: ms, ..Sample::default() });
            }
        }
        let every = rows.every_ms();
        let all = rows.take();
        assert!((MOST / 2..MOST).contains(&all.len()), "{}", all.len());
        assert_eq!(all[0].elapsed_ms, 0);
        assert!(all.last().is_some_and(|last| 3_600_000 - last.elapsed_ms <= 2 * every));
        let gaps: Vec<u64> = all.windows(2).map(|two| two[1].elapsed_ms - two[0].elapsed_ms).collect();
        assert!(gaps.iter().all(|gap| *gap == every), "{every}: {gaps:?}");
    }
}
