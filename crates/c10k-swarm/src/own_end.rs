//! A look at this end alone, where the server stands elsewhere: what the counters of this network namespace say of SYNs and
//! data that had to be sent again, and for what reasons this kernel dropped packets. One look a second by the conductor's
//! thread; nothing here touches a connection.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use c10k_ceiling::{CounterChange, counter};
use c10k_collector::{Collector, CollectorConfig, Levels};
use c10k_record::DropReasons;

/// Between two looks.
const INTERVAL: Duration = Duration::from_secs(1);
/// Counters of this end that say something of its own connects. Those of listeners here are of other servers.
const OF_CONNECTS: [&str; 4] =
    [counter::SYN_RETRANSMITS, counter::RETRANSMITS, counter::SOFTNET_DROPPED, counter::CONNTRACK_DROPPED];

/// Looks at this end.
pub(crate) struct OwnEnd {
    collector: Collector,
    levels: Levels,
    last_look: Instant,
}

/// What was seen of it.
pub(crate) struct SeenAtOwnEnd {
    pub(crate) counters: BTreeMap<String, CounterChange>,
    /// For what reasons the kernel dropped packets, or why that is not known.
    pub(crate) drops: DropReasons,
}

impl OwnEnd {
    /// Begins to look. `None` where nothing can be read.
    pub(crate) fn begin() -> Option<Self> {
        let collector = Collector::new(CollectorConfig::default()).ok()?;
        let mut own = Self { collector, levels: Levels::default(), last_look: Instant::now() };
        own.look(Instant::now());
        Some(own)
    }

    /// Looks when a second has passed.
    pub(crate) fn look_if_due(&mut self, now: Instant) {
        if now.duration_since(self.last_look) >= INTERVAL {
            self.look(now);
        }
    }

    /// Looks for the last time, before the connections are closed.
    pub(crate) fn end(mut self) -> SeenAtOwnEnd {
        self.look(Instant::now());
        let mut counters = self.levels.changes();
        counters.retain(|name, _| OF_CONNECTS.contains(&name.as_str()));
        SeenAtOwnEnd { counters, drops: self.collector.drop_reasons(&self.levels) }
    }

    fn look(&mut self, now: Instant) {
        self.last_look = now;
        let seen = self.collector.tick();
        self.levels.look(&seen);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_listeners_here_have_dropped_is_nothing_of_connects_to_elsewhere() {
        let mut own = OwnEnd::begin().expect("its own counters may be read");
        own.look_if_due(Instant::now() + 2 * INTERVAL);
        let seen = own.end();
        let names: Vec<&String> = seen.counters.keys().collect();
        let known = ["RetransSegs", "TCPSynRetrans", "softnet_dropped"];
        assert!(known.iter().all(|name| names.iter().any(|known| known == name)), "{names:?}");
        assert!(names.len() <= OF_CONNECTS.len(), "{names:?}");
        assert_ne!(seen.drops.counted.is_empty(), seen.drops.why_not.is_none());
    }
}
