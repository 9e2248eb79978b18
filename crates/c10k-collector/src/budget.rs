//! How often connections are counted: the kernel walks its table of sockets for it, so that its cost grows with them.

use std::time::{Duration, Instant};

use crate::collector::Collector;

/// The time between two counts is at least this many times what the last one took: 1 % of a core.
const LEAST_RATIO: u32 = 100;

/// Counts the connections at the server's end whenever it has not been dear of late.
#[derive(Debug, Default)]
pub(crate) struct Counting {
    last: Option<(Instant, Duration)>,
}

impl Counting {
    /// The count; `None` where it is not yet due again, or cannot be read.
    pub(crate) fn look(&mut self, collector: &mut Collector) -> Option<u64> {
        let begun = Instant::now();
        if !self.is_due(begun) {
            return None;
        }
        let count = collector.connections().ok();
        self.last = Some((begun, begun.elapsed()));
        count
    }

    fn is_due(&self, now: Instant) -> bool {
        self.last.is_none_or(|(at, took)| now.duration_since(at) >= took * LEAST_RATIO)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_that_took_long_is_not_made_again_soon() {
        let begun = Instant::now();
        let counting = Counting { last: Some((begun, Duration::from_millis(30))) };
        assert!(!counting.is_due(begun + Duration::from_millis(2900)));
        assert!(counting.is_due(begun + Duration::from_secs(3)));
        assert!(Counting::default().is_due(begun));
    }
}
