//! Times that connections wait for, at both ends: a timer wheel, without an allocation for a timer. What the time is is
//! the caller's to say, in µs since a start of its own.
//!
//! A hierarchy of rings of 64 slots (Varghese and Lauck, "Hashed and hierarchical timing wheels", 1987): a slot of the
//! innermost ring is one tick, a slot of each other ring a whole turn of the one within it. A timer lies in the outermost
//! ring in which its time and the present differ, and moves inwards when its slot comes. So setting one and taking one
//! out costs the same however many there are. By hand, since it stands on the way of each
//! message: a timer is a slot's number in a ring, and both ends use the same one.

/// A slot of the innermost ring. Within it times are told apart one by one: nothing is due early, or late.
const TICK_US: u64 = 64;
/// Bits of a time, in ticks, that are the place in one ring.
const RING_BITS: u32 = 6;
const SLOTS: usize = 1 << RING_BITS;
/// Enough for centuries.
const RINGS: usize = 8;
/// The last tick that the rings reach.
const LAST_TICK: u64 = (1 << (RING_BITS * RINGS as u32)) - 1;
/// So many stale timers are no burden: no more than these beside the live ones are never searched.
const SPARE: usize = 256;
/// Nowhere in the list of timers.
const NONE: u32 = u32::MAX;

/// Timers by the time at which they are due.
///
/// There is no way to take one back: it goes stale when what it was set for is over, which the caller knows (`matters`).
/// Stale ones are dropped when they are met, and whenever there are twice as many timers as were live before: so one
/// connection that stays silent does not keep the timers of all that came after it.
#[derive(Debug)]
pub struct Wheel<K> {
    timers: Vec<Timer<K>>,
    /// The first of those places in `timers` that are free.
    free: u32,
    /// How many are set.
    set: usize,
    /// At most how many of them were live when stale ones were dropped last.
    live: usize,
    /// The present, in ticks: what lies in it, or before it, is in `due`.
    tick: u64,
    due: List,
    rings: [Option<Box<Ring>>; RINGS],
}

#[derive(Debug)]
struct Timer<K> {
    key: K,
    at_us: u64,
    next: u32,
}

/// Timers in the order in which they came.
#[derive(Clone, Copy, Debug)]
struct List {
    first: u32,
    last: u32,
}

const EMPTY: List = List { first: NONE, last: NONE };

#[derive(Debug)]
struct Ring {
    slots: [List; SLOTS],
    /// A bit for each slot that is not empty.
    occupied: u64,
}

impl<K> Default for Wheel<K> {
    fn default() -> Self {
        let rings = [const { None }; RINGS];
        Self { timers: Vec::new(), free: NONE, set: 0, live: 0, tick: 0, due: EMPTY, rings }
    }
}

impl<K: Copy> Wheel<K> {
    /// Sets a timer. If there are many more than were live before, those that no longer `matter` are dropped first and
    /// their memory is given back, so churn needs no more of it than what is live.
    pub fn push(&mut self, key: K, at_us: u64, matters: impl Fn(K, u64) -> bool) {
        self.live = self.live.min(self.set);
        if self.set >= 2 * self.live + SPARE {
            self.sweep(matters);
        }
        self.insert(key, at_us);
    }

    /// Whether there are none, stale ones included.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.set == 0
    }

    /// Timers that it has memory for.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.timers.capacity()
    }

    /// When it has to be looked at next for the sake of a timer that still matters: at the time of the next one, or
    /// before it. Stale ones in front of that are dropped.
    pub fn next(&mut self, matters: impl Fn(K, u64) -> bool) -> Option<u64> {
        while let Some(timer) = self.first_of(self.due) {
            if matters(timer.key, timer.at_us) {
                return Some(timer.at_us);
            }
            self.drop_first_due();
        }
        while let Some((ring, slot, tick)) = self.next_slot() {
            let list = self.list(ring, slot);
            if let Some(timer) = self.first_of(list) {
                if matters(timer.key, timer.at_us) {
                    return Some(if ring == 0 { timer.at_us } else { tick * TICK_US });
                }
                let rest = self.behind(list);
                self.set_list(ring, slot, rest);
                self.release(list.first);
            }
        }
        None
    }

    /// Takes out one that is due by `now_us` and still matters, with its time; stale ones that are due are dropped.
    pub fn due(&mut self, now_us: u64, matters: impl Fn(K, u64) -> bool) -> Option<(K, u64)> {
        self.turn_to(now_us / TICK_US);
        let (mut before, mut index) = (NONE, self.due.first);
        while let Some(&Timer { key, at_us, next }) = self.timers.get(index as usize) {
            let is_live = matters(key, at_us);
            // Of the present tick some may be still to come.
            if is_live && at_us > now_us {
                (before, index) = (index, next);
                continue;
            }
            match self.timers.get_mut(before as usize) {
                Some(before) => before.next = next,
                None => self.due.first = next,
            }
            if self.due.last == index {
                self.due.last = before;
            }
            self.release(index);
            if is_live {
                return Some((key, at_us));
            }
            index = next;
        }
        None
    }

    /// Turns the wheel until `tick` is the present.
    fn turn_to(&mut self, tick: u64) {
        while let Some((ring, slot, at)) = self.next_slot().filter(|(_, _, at)| *at <= tick) {
            self.tick = at;
            let mut list = self.list(ring, slot);
            self.set_list(ring, slot, EMPTY);
            while list.first != NONE {
                let index = list.first;
                list = self.behind(list);
                self.place(index);
            }
        }
        self.tick = self.tick.max(tick);
    }

    /// The first slot that is not empty, and the tick at which it begins. What lies in a ring comes before all that lies
    /// in those around it.
    fn next_slot(&self) -> Option<(usize, usize, u64)> {
        let (number, ring) =
            self.rings.iter().enumerate().find_map(|(number, ring)| {
                Some((number, ring.as_deref().filter(|ring| ring.occupied != 0)?))
            })?;
        let slot = ring.occupied.trailing_zeros();
        let shift = RING_BITS * number as u32;
        let turn = self.tick >> (shift + RING_BITS) << (shift + RING_BITS);
        Some((number, slot as usize, turn | u64::from(slot) << shift))
    }

    fn insert(&mut self, key: K, at_us: u64) {
        let timer = Timer { key, at_us, next: NONE };
        let index = self.free;
        let index = match self.timers.get_mut(index as usize) {
            Some(place) => {
                self.free = place.next;
                *place = timer;
                index
            }
            None => {
                self.timers.push(timer);
                (self.timers.len() - 1) as u32
            }
        };
        self.set += 1;
        self.place(index);
    }

    /// Puts a timer where it belongs at present.
    fn place(&mut self, index: u32) {
        let tick = (self.timers[index as usize].at_us / TICK_US).min(LAST_TICK);
        self.timers[index as usize].next = NONE;
        if tick <= self.tick {
            self.due = self.append(self.due, index);
            return;
        }
        // The highest bit in which it differs from the present says in which ring it lies.
        let ring = ((tick ^ self.tick).ilog2() / RING_BITS) as usize;
        let slot = (tick >> (RING_BITS * ring as u32)) as usize % SLOTS;
        let list = self.append(self.list(ring, slot), index);
        self.set_list(ring, slot, list);
    }

    fn append(&mut self, list: List, index: u32) -> List {
        match self.timers.get_mut(list.last as usize) {
            Some(last) => last.next = index,
            None => return List { first: index, last: index },
        }
        List { last: index, ..list }
    }

    fn first_of(&self, list: List) -> Option<&Timer<K>> {
        self.timers.get(list.first as usize)
    }

    /// The same list without its first timer.
    fn behind(&self, list: List) -> List {
        match self.first_of(list) {
            Some(timer) if timer.next != NONE => List { first: timer.next, ..list },
            _ => EMPTY,
        }
    }

    fn drop_first_due(&mut self) {
        let first = self.due.first;
        self.due = self.behind(self.due);
        self.release(first);
    }

    /// A place in the list of timers is free. Of a crowd that is gone no memory is kept.
    fn release(&mut self, index: u32) {
        self.free_place(index);
        if self.set == 0 && self.timers.capacity() > SPARE {
            *self = Self { tick: self.tick, ..Self::default() };
        }
    }

    fn free_place(&mut self, index: u32) {
        self.timers[index as usize].next = self.free;
        self.free = index;
        self.set -= 1;
    }

    fn list(&self, ring: usize, slot: usize) -> List {
        self.rings[ring].as_deref().map_or(EMPTY, |ring| ring.slots[slot])
    }

    fn set_list(&mut self, ring: usize, slot: usize, list: List) {
        let ring =
            self.rings[ring].get_or_insert_with(|| Box::new(Ring { slots: [EMPTY; SLOTS], occupied: 0 }));
        ring.slots[slot] = list;
        let bit = 1 << slot;
        if list.first == NONE { ring.occupied &= !bit } else { ring.occupied |= bit }
    }

    /// Drops those that do not matter any more, and gives memory back that the others have no use for.
    fn sweep(&mut self, matters: impl Fn(K, u64) -> bool) {
        self.due = self.swept(self.due, &matters);
        for ring in 0..RINGS {
            let mut occupied = self.rings[ring].as_deref().map_or(0, |ring| ring.occupied);
            while occupied != 0 {
                let slot = occupied.trailing_zeros() as usize;
                occupied &= occupied - 1;
                let list = self.swept(self.list(ring, slot), &matters);
                self.set_list(ring, slot, list);
            }
        }
        self.live = self.set;
        if self.timers.capacity() > 2 * (2 * self.live + SPARE) {
            self.move_together();
        }
    }

    /// Those of a list that still matter; the others are dropped.
    fn swept(&mut self, mut list: List, matters: &impl Fn(K, u64) -> bool) -> List {
        let mut kept = EMPTY;
        while let Some(&Timer { key, at_us, .. }) = self.first_of(list) {
            let (index, rest) = (list.first, self.behind(list));
            if matters(key, at_us) {
                self.timers[index as usize].next = NONE;
                kept = self.append(kept, index);
            } else {
                self.free_place(index);
            }
            list = rest;
        }
        kept
    }

    /// Puts all timers into no more memory than they need.
    fn move_together(&mut self) {
        let empty = Self { tick: self.tick, live: self.live, ..Self::default() };
        let old = std::mem::replace(self, empty);
        self.timers.reserve_exact(2 * old.set + SPARE);
        let slots = old.rings.iter().flatten().flat_map(|ring| ring.slots);
        for mut list in std::iter::once(old.due).chain(slots) {
            while let Some(timer) = old.first_of(list) {
                self.insert(timer.key, timer.at_us);
                list = old.behind(list);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND_US: u64 = 1_000_000;

    fn always(_: u32, _: u64) -> bool {
        true
    }

    /// All that is due by then, as it comes.
    fn all_due(wheel: &mut Wheel<u32>, now_us: u64) -> Vec<u32> {
        std::iter::from_fn(|| wheel.due(now_us, always)).map(|(key, _)| key).collect()
    }

    #[test]
    fn none_is_due_early_and_none_late() {
        // Times that lie in every ring, each looked for at every step up to its own.
        for at_us in [0, 1, 63, 64, 65, 4_000, 5_000, 300_000, 15 * SECOND_US, 3_600 * SECOND_US, 1 << 50] {
            let mut wheel = Wheel::default();
            wheel.push(1, at_us, always);
            for step in (0..50).rev() {
                if let Some(before_us) = at_us.checked_sub(1 << step) {
                    assert_eq!(wheel.due(before_us, always), None, "{at_us} at {before_us}");
                }
            }
            assert_eq!(wheel.due(at_us, always), Some((1, at_us)), "{at_us}");
            assert!(wheel.is_empty());
        }
    }

    #[test]
    fn timers_come_in_the_order_of_their_times_whatever_order_they_were_set_in() {
        let (mut wheel, mut random) = (Wheel::default(), 9_u64);
        let mut set = Vec::new();
        let (mut now_us, mut came) = (0, Vec::new());
        for key in 0..20_000_u32 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let ahead_us = (random >> 40) << (random % 13);
            wheel.push(key, now_us + ahead_us, always);
            set.push(now_us + ahead_us);
            now_us += (random >> 33) % 3000;
            came.extend(std::iter::from_fn(|| wheel.due(now_us, always)));
        }
        while let Some(at_us) = wheel.next(always) {
            came.extend(std::iter::from_fn(|| wheel.due(at_us, always)));
        }
        assert_eq!(came.len(), set.len());
        assert!(came.iter().all(|(key, at_us)| set[*key as usize] == *at_us), "each has its time");
        let mut keys: Vec<u32> = came.iter().map(|(key, _)| *key).collect();
        keys.sort_unstable();
        assert!(keys.into_iter().eq(0..20_000), "each comes once");
    }

    #[test]
    fn looking_when_it_says_so_finds_each_at_its_time_after_a_few_looks() {
        let mut wheel = Wheel::default();
        wheel.push(1, 15 * SECOND_US, always);
        let mut looks = 0;
        while let Some(at_us) = wheel.next(always) {
            looks += 1;
            if let Some(due) = wheel.due(at_us, always) {
                assert_eq!((due, at_us), ((1, 15 * SECOND_US), 15 * SECOND_US));
            }
        }
        assert!(looks <= RINGS, "{looks}");
    }

    #[test]
    fn within_a_tick_each_comes_at_its_own_time() {
        let mut wheel = Wheel::default();
        for (key, at_us) in [(1, 6405), (2, 6403), (3, 6403), (4, 6401)] {
            wheel.push(key, at_us, always);
        }
        assert_eq!(all_due(&mut wheel, 6400), [0_u32; 0]);
        assert_eq!(all_due(&mut wheel, 6402), [4]);
        wheel.push(5, 6403, always);
        assert_eq!(all_due(&mut wheel, 6403), [2, 3, 5]);
        assert_eq!(wheel.next(always), Some(6405));
        wheel.push(6, 6404, always);
        assert_eq!(all_due(&mut wheel, 6404), [6], "the last of the list is another one now");
        wheel.push(7, 6405, always);
        assert_eq!(all_due(&mut wheel, 6405), [1, 7]);
        assert!(wheel.is_empty());
    }

    #[test]
    fn timers_that_do_not_matter_any_more_are_dropped_on_the_way() {
        let mut wheel = Wheel::default();
        (0..4).for_each(|n| wheel.push(n, u64::from(n) * 1000, always));
        assert_eq!(wheel.due(2500, |key, _| key != 1), Some((0, 0)));
        assert_eq!(wheel.due(2500, |key, _| key != 1), Some((2, 2000)));
        assert_eq!(wheel.due(2500, |key, _| key != 1), None);
        assert!(!wheel.is_empty());
        assert_eq!(wheel.next(|_, _| false), None);
        assert!(wheel.is_empty());
        assert_eq!(wheel.due(SECOND_US, always), None);
        wheel.push(9, 2 * SECOND_US, always);
        assert_eq!(all_due(&mut wheel, 3 * SECOND_US), [9], "it goes on where it was");
    }

    #[test]
    fn of_a_crowd_that_is_gone_no_more_is_kept_than_of_those_that_are_there() {
        let (stays, live) = (|key: u32, _| key.is_multiple_of(1000), 100_u32);
        let mut wheel = Wheel::default();
        for n in 0..live * 1000 {
            wheel.push(n, u64::from(n), stays);
            assert!(wheel.set <= 2 * live as usize + SPARE);
        }
        let left: Vec<u32> = std::iter::from_fn(|| wheel.due(SECOND_US, stays)).map(|(key, _)| key).collect();
        assert_eq!(left, (0..live).map(|n| n * 1000).collect::<Vec<u32>>());
    }

    #[test]
    fn the_memory_of_a_crowd_is_given_back_although_one_of_it_stays() {
        let mut wheel = Wheel::default();
        (0..100_000).for_each(|n| wheel.push(n, u64::from(n), always));
        assert!(wheel.capacity() >= 100_000);
        // All but the first are over; from here on one at a time comes and goes.
        for n in 100_000..400_000 {
            wheel.push(n, u64::from(n), |key, _| key == 0 || key == n);
        }
        assert!(wheel.capacity() <= 4 * SPARE, "{}", wheel.capacity());
        assert_eq!(wheel.due(0, always), Some((0, 0)), "the one that stays has its time still");
    }

    #[test]
    fn an_empty_wheel_has_no_memory_of_a_crowd() {
        let mut wheel = Wheel::default();
        (0..100_000).for_each(|n| wheel.push(n, SECOND_US + u64::from(n), always));
        assert_eq!(all_due(&mut wheel, 2 * SECOND_US).len(), 100_000);
        assert_eq!(wheel.capacity(), 0);
        (0..100_000).for_each(|n| wheel.push(n, 4 * SECOND_US + u64::from(n), always));
        assert_eq!(wheel.next(|_, _| false), None);
        assert_eq!(wheel.capacity(), 0);
    }

    #[test]
    fn one_timer_after_the_other_needs_no_memory_of_its_own() {
        let mut wheel = Wheel::default();
        for n in 0..10_000 {
            wheel.push(n, u64::from(n) * 100, always);
            assert_eq!(all_due(&mut wheel, u64::from(n) * 100), [n]);
        }
        assert!(wheel.capacity() <= 4, "{}", wheel.capacity());
    }
}
