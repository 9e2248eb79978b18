//! In which order a task visits the slots of a table.

/// A walk over all slots that were there when it began, each once.
#[derive(Debug, Default)]
pub(crate) struct Walk {
    slots: u32,
    visited: u32,
    next: u32,
    stride: u32,
}

impl Walk {
    /// From the first slot to the last.
    pub(crate) fn in_order(slots: u32) -> Self {
        Self { slots, visited: 0, next: 0, stride: 1 }
    }

    /// With long strides: neighbours have a source, and so a fate, in common, and any stretch of this walk has some from
    /// all over the table.
    pub(crate) fn spread(slots: u32) -> Self {
        // By the golden ratio the places of any stretch lie evenly.
        let about = (f64::from(slots) * 0.618_034) as u32;
        let stride = (about.max(1)..).find(|stride| gcd(*stride, slots) == 1).unwrap_or(1);
        Self { stride, ..Self::in_order(slots) }
    }

    /// The next slot.
    pub(crate) fn next(&mut self) -> Option<u32> {
        if self.is_over() {
            return None;
        }
        let slot = self.next;
        self.visited += 1;
        self.next = ((u64::from(slot) + u64::from(self.stride)) % u64::from(self.slots)) as u32;
        Some(slot)
    }

    /// Whether all have been visited.
    pub(crate) fn is_over(&self) -> bool {
        self.visited >= self.slots
    }

    /// Visits no more.
    pub(crate) fn end(&mut self) {
        self.visited = self.slots;
    }
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_slot_is_visited_once() {
        for slots in (0..300).chain([4096, 9973, 10_000, 65_536]) {
            for mut walk in [Walk::in_order(slots), Walk::spread(slots)] {
                let mut visited: Vec<u32> = std::iter::from_fn(|| walk.next()).collect();
                visited.sort_unstable();
                assert_eq!(visited, (0..slots).collect::<Vec<_>>());
                assert!(walk.is_over());
            }
        }
    }

    #[test]
    fn a_short_stretch_of_a_spread_walk_has_some_of_every_part_of_the_table() {
        for slots in [1000, 7919, 8000, 20_000, 1 << 20] {
            let mut walk = Walk::spread(slots);
            let mut parts = [0; 10];
            for _ in 0..100 {
                let slot = walk.next().expect("there are more");
                parts[(u64::from(slot) * 10 / u64::from(slots)) as usize] += 1;
            }
            assert!(parts.iter().all(|visits| (5..=15).contains(visits)), "{slots}: {parts:?}");
        }
    }

    #[test]
    fn a_walk_that_is_ended_visits_no_more() {
        let mut walk = Walk::in_order(3);
        assert_eq!(walk.next(), Some(0));
        walk.end();
        assert!(walk.next().is_none() && walk.is_over());
    }
}
