//! What the looks of a run say together: how far counters grew, and how far what goes up and down went.
//!
//! One account for all that look at a run: the lab, and a swarm on its own. What a source showed once stays when the
//! source goes away, as a memory group does with the server that the OOM killer ended. But that a counter *stood still* is
//! said only where the last look could read it too.

use std::collections::BTreeMap;

use c10k_record::{CounterChange, DropReasons, counter};

use crate::drops::DropLevels;
use crate::observation::{GroupSeen, Observation};
use crate::signs::QueueSigns;

/// Gathered look by look.
#[derive(Clone, Debug, Default)]
pub struct Levels {
    /// The listeners of the server.
    pub queue: QueueSigns,
    counters: BTreeMap<&'static str, Counter>,
    levels: BTreeMap<&'static str, CounterChange>,
    lowest_memory_available_bytes: Option<u64>,
    /// The memory group that had least left, when it had.
    scarcest: Option<GroupSeen>,
    drops: DropLevels,
    has_looked: bool,
    is_closing: bool,
}

#[derive(Clone, Copy, Debug)]
struct Counter {
    change: CounterChange,
    /// The last look could read it.
    is_current: bool,
}

/// What a run may meet while it closes all its connections at its end: it is nothing that it met on its way. Kills are
/// looked for to the end.
const GO_ON: [&str; 4] =
    [counter::TIME_WAIT, counter::GROUP_FAILURES, counter::GROUP_OOM_KILLS, counter::OOM_KILLS];

impl Levels {
    /// Takes in one look.
    pub fn look(&mut self, seen: &Observation) {
        if !self.is_closing {
            self.queue.look(seen.listener);
            self.drops.look(seen);
        }
        for (name, value) in counters(seen) {
            if !self.is_closing || GO_ON.contains(&name) {
                self.count(name, value);
            }
        }
        for (name, now) in levels(seen) {
            if let Some(now) = now.filter(|_| !self.is_closing || GO_ON.contains(&name)) {
                let level = self.levels.entry(name).or_insert(CounterChange { before: now, after: now });
                level.after = level.after.max(now);
            }
        }
        self.has_looked = true;
        let lowest = [self.lowest_memory_available_bytes, seen.memory.available_bytes];
        self.lowest_memory_available_bytes = lowest.into_iter().flatten().min();
        if let Some(group) = seen.cgroup.as_ref().filter(|group| group.left_bytes.is_some()) {
            let least = self.scarcest.as_ref().and_then(|scarcest| scarcest.left_bytes);
            if least.is_none_or(|least| group.left_bytes < Some(least)) {
                self.scarcest = Some(group.clone());
            }
        }
    }

    /// From now on the run closes its connections.
    pub fn close_begins(&mut self) {
        self.is_closing = true;
    }

    fn count(&mut self, name: &'static str, value: Option<u64>) {
        match (self.counters.get_mut(name), value) {
            (Some(known), Some(value)) => {
                known.change.after = known.change.after.max(value);
                known.is_current = true;
            }
            (Some(known), None) => known.is_current = false,
            (None, Some(value)) => {
                // What is seen is the growth since the collector began: of a source that appears later, since then too.
                let change = CounterChange { before: if self.has_looked { 0 } else { value }, after: value };
                self.counters.insert(name, Counter { change, is_current: true });
            }
            (None, None) => {}
        }
    }

    /// All that was read, by the names that the walls know.
    #[must_use]
    pub fn changes(&self) -> BTreeMap<String, CounterChange> {
        let queue = [
            (counter::ACCEPT_QUEUE, self.queue.longest),
            (counter::LISTENER_DROPS, self.queue.drops),
            (counter::OTHER_LISTENERS_DROPS, self.queue.others_drops),
        ];
        let queue = queue.map(|(name, after)| Some((name, CounterChange { before: 0, after: after? })));
        let group = self.scarcest.as_ref().and_then(|group| {
            let change = CounterChange { before: group.usage_before_bytes?, after: group.usage_bytes? };
            Some((counter::GROUP_BYTES, change))
        });
        let counters = self.counters.iter().filter_map(|(name, counter)| {
            let is_known = counter.is_current || counter.change.growth() > 0;
            is_known.then_some((*name, counter.change))
        });
        let levels = self.levels.iter().map(|(name, change)| (*name, *change));
        let all = counters.chain(levels).chain(queue.into_iter().flatten()).chain(group);
        all.map(|(name, change)| (name.to_owned(), change)).collect()
    }

    /// The highest of a level; `None` where it was never read.
    #[must_use]
    pub fn highest(&self, name: &str) -> Option<u64> {
        self.levels.get(name).map(|level| level.after)
    }

    /// Takes in of one look what the kernel dropped: before the first connect, what others lose.
    pub fn look_at_drops(&mut self, seen: &Observation) {
        self.drops.look(seen);
    }

    /// For what reasons the kernel dropped packets before the close; `None` where that could not be counted.
    #[must_use]
    pub fn drop_reasons(&self) -> Option<DropReasons> {
        self.drops.reasons()
    }

    /// `MemAvailable` at its lowest, bytes.
    #[must_use]
    pub fn lowest_memory_available_bytes(&self) -> Option<u64> {
        self.lowest_memory_available_bytes
    }

    /// The memory group of the server that had least left, when it had.
    #[must_use]
    pub fn scarcest_group(&self) -> Option<&GroupSeen> {
        self.scarcest.as_ref()
    }
}

/// What only grows. An observation has the growth since the collector began.
fn counters(seen: &Observation) -> impl Iterator<Item = (&'static str, Option<u64>)> {
    let group = seen.cgroup.as_ref();
    let of_names = counter::GROWING.iter().map(|name| (*name, seen.counter(name)));
    let others = [
        (counter::SOFTNET_DROPPED, seen.network.softnet_dropped),
        (counter::ANSWER_RETRANSMITS, seen.network.answers_sent_again),
        (counter::CONNTRACK_DROPPED, seen.network.conntrack_dropped),
        (counter::GROUP_FAILURES, group.and_then(|group| group.failures)),
        (counter::GROUP_HELD_BACK, group.and_then(|group| group.held_back)),
        (counter::GROUP_OOM_KILLS, group.and_then(|group| group.oom_kills)),
        (counter::OOM_KILLS, seen.oom_kills),
        (counter::NEIGHBOUR_TABLE_FULLS, seen.neighbours.map(|table| table.table_fulls)),
        (counter::NEIGHBOUR_TABLE_FULLS_IPV6, seen.neighbours_ipv6.map(|table| table.table_fulls)),
        (counter::SERVER_THROTTLED, seen.server.throttled),
        (counter::SWARM_THROTTLED, seen.swarm.throttled),
        (counter::SERVER_THREADS_REFUSED, seen.server.threads_refused),
        (counter::SWARM_THREADS_REFUSED, seen.swarm.threads_refused),
    ];
    of_names.chain(others)
}

/// What goes up and down.
fn levels(seen: &Observation) -> [(&'static str, Option<u64>); 7] {
    [
        (counter::TCP_MEM_PAGES, seen.network.sockets.mem_pages),
        (counter::ORPHANS, seen.network.sockets.orphans),
        (counter::TIME_WAIT, seen.network.sockets.time_wait),
        (counter::FILES_IN_USE, seen.network.files_in_use),
        (counter::CONNTRACK_COUNT, seen.network.conntrack_entries),
        (counter::NEIGHBOURS, seen.neighbours.map(|table| table.entries)),
        (counter::NEIGHBOURS_IPV6, seen.neighbours_ipv6.map(|table| table.entries)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(change: impl FnOnce(&mut Observation)) -> Observation {
        let mut seen = Observation::default();
        change(&mut seen);
        seen
    }

    fn in_group(failures: Option<u64>, kills: Option<u64>, left: u64) -> Observation {
        let group = GroupSeen {
            folder: Some("/box".to_owned()),
            limit_bytes: Some(100),
            usage_bytes: Some(100 - left),
            usage_before_bytes: Some(5),
            left_bytes: Some(left),
            failures,
            oom_kills: kills,
            ..GroupSeen::default()
        };
        Observation { cgroup: Some(group), ..Observation::default() }
    }

    #[track_caller]
    fn expect(levels: &Levels, name: &str, change: Option<(u64, u64)>) {
        let found = levels.changes().get(name).map(|change| (change.before, change.after));
        assert_eq!(found, change, "{name}");
    }

    #[test]
    fn what_a_group_refused_outlives_the_group() {
        let mut levels = Levels::default();
        for seen in [
            in_group(Some(0), Some(0), 60),
            in_group(Some(900), Some(1), 2),
            in_group(Some(900), Some(1), 40),
            // systemd, or the container's engine, has removed it.
            Observation::default(),
        ] {
            levels.look(&seen);
        }
        expect(&levels, counter::GROUP_FAILURES, Some((0, 900)));
        expect(&levels, counter::GROUP_OOM_KILLS, Some((0, 1)));
        expect(&levels, counter::GROUP_BYTES, Some((5, 98)));
        assert_eq!(levels.scarcest_group().and_then(|group| group.folder.as_deref()), Some("/box"));
    }

    #[test]
    fn a_counter_that_was_not_read_at_last_is_not_said_to_have_stood_still() {
        let mut levels = Levels::default();
        let counters = |overflows: Option<u64>, drops: Option<u64>| {
            look(|seen| {
                let counted = [("ListenOverflows", overflows), ("ListenDrops", drops)];
                seen.network
                    .counters
                    .extend(counted.into_iter().filter_map(|(name, value)| Some((name, value?))));
            })
        };
        levels.look(&counters(Some(3), Some(3)));
        levels.look(&counters(Some(3), Some(8)));
        levels.look(&counters(None, None));
        expect(&levels, counter::LISTEN_OVERFLOWS, None);
        expect(&levels, counter::LISTEN_DROPS, Some((3, 8)));
        expect(&levels, counter::SYN_RETRANSMITS, None);
        levels.look(&counters(Some(3), None));
        expect(&levels, counter::LISTEN_OVERFLOWS, Some((3, 3)));
    }

    #[test]
    fn a_source_that_appears_in_the_middle_of_a_run_counts_from_its_beginning() {
        let mut levels = Levels::default();
        levels.look(&Observation::default());
        levels.look(&look(|seen| seen.network.conntrack_dropped = Some(7)));
        expect(&levels, counter::CONNTRACK_DROPPED, Some((0, 7)));
    }

    #[test]
    fn of_what_goes_up_and_down_the_highest_is_kept_and_of_free_memory_the_lowest() {
        let mut levels = Levels::default();
        for (entries, free) in [(3, 90), (1024, 20), (5, 70)] {
            levels.look(&look(|seen| {
                seen.neighbours_ipv6 = Some(crate::NeighboursSeen { entries, table_fulls: 0 });
                seen.memory.available_bytes = Some(free);
            }));
        }
        expect(&levels, counter::NEIGHBOURS_IPV6, Some((3, 1024)));
        expect(&levels, counter::NEIGHBOURS, None);
        assert_eq!(levels.lowest_memory_available_bytes(), Some(20));
    }

    #[test]
    fn what_a_run_meets_while_it_closes_is_nothing_that_it_met_on_its_way() {
        let closing = look(|seen| {
            seen.network.counters.insert("TCPAbortOnMemory", 500);
            seen.network.sockets.orphans = Some(70_000);
            seen.network.sockets.time_wait = Some(90_000);
            seen.oom_kills = Some(1);
        });
        let quiet = look(|seen| {
            seen.network.counters.insert("TCPAbortOnMemory", 0);
            (seen.network.sockets.orphans, seen.network.sockets.time_wait, seen.oom_kills) =
                (Some(0), Some(0), Some(0));
        });
        let mut levels = Levels::default();
        levels.look(&quiet);
        levels.close_begins();
        levels.look(&closing);
        expect(&levels, counter::ABORT_ON_MEMORY, Some((0, 0)));
        expect(&levels, counter::ORPHANS, Some((0, 0)));
        assert_eq!(levels.highest(counter::TIME_WAIT), Some(90_000), "that is told of the close too");
        expect(&levels, counter::OOM_KILLS, Some((0, 1)));
    }
}
