//! Messages that are due on a connection behind the one under way, and those that are never sent.

use std::collections::VecDeque;

/// So many on one connection are kept with their times.
pub(super) const KEPT: usize = 1024;
/// The same on all connections of a worker: 8 MiB.
pub(super) const KEPT_IN_ALL: usize = 1 << 20;
/// Ages that are told apart of what is never sent.
const PIECES: u64 = 4096;

/// Messages that were due evenly one behind the other and are not sent. Times are µs since the run's epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unsent {
    pub(crate) count: u64,
    pub(crate) first_us: u64,
    pub(crate) last_us: u64,
}

impl Unsent {
    /// One message.
    pub(crate) fn one(intended_us: u64) -> Self {
        Self { count: 1, first_us: intended_us, last_us: intended_us }
    }

    /// How old they are, each with how many are as old.
    pub(crate) fn ages(self, now_us: u64) -> impl Iterator<Item = (u64, u64)> {
        let pieces = self.count.min(PIECES);
        let up_to = move |piece: u64| part(self.count, piece, pieces);
        (0..pieces).map(move |piece| {
            let (from, to) = (up_to(piece), up_to(piece + 1));
            // The one in the middle of a piece stands for all of it.
            let place = from + (to - from) / 2;
            let behind_us = part(self.last_us.saturating_sub(self.first_us), place, (self.count - 1).max(1));
            (now_us.saturating_sub(self.first_us + behind_us), to - from)
        })
    }
}

/// `whole` × `place` ÷ `places`.
fn part(whole: u64, place: u64, places: u64) -> u64 {
    (u128::from(whole) * u128::from(place) / u128::from(places)) as u64
}

/// What is due on one connection behind what is under way there. Where an end stands still for long it has an end: of those
/// that come behind [`KEPT`], until these are sent, it is known only how many there are and over what time they are spread.
#[derive(Clone, Debug, Default)]
pub(crate) struct Backlog {
    /// When they should have been sent.
    times: VecDeque<u64>,
    /// Those behind, which are not sent any more.
    unsent: Option<Box<Unsent>>,
}

impl Backlog {
    /// Those that are kept.
    pub(super) fn kept(&self) -> usize {
        self.times.len()
    }

    /// One more is due; says whether it is kept, which takes room for it.
    pub(super) fn add(&mut self, intended_us: u64, has_room: bool) -> bool {
        if let Some(unsent) = &mut self.unsent {
            unsent.count += 1;
            unsent.last_us = unsent.last_us.max(intended_us);
            return false;
        }
        if self.times.len() >= KEPT || !has_room {
            self.unsent = Some(Box::new(Unsent::one(intended_us)));
            return false;
        }
        self.times.push_back(intended_us);
        true
    }

    /// The next that is sent: when it should have been.
    pub(crate) fn next(&mut self) -> Option<u64> {
        self.times.pop_front()
    }

    /// Those that are given up, once all before them are sent.
    pub(crate) fn given_up(&mut self) -> Option<Unsent> {
        if self.times.is_empty() { self.unsent.take().map(|unsent| *unsent) } else { None }
    }

    /// All of it, where nobody sends any more; it is forgotten.
    pub(crate) fn take(&mut self, mut each: impl FnMut(Unsent)) {
        std::mem::take(&mut self.times).into_iter().map(Unsent::one).for_each(&mut each);
        self.unsent.take().into_iter().for_each(|unsent| each(*unsent));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_spread_as_the_times_were_and_count_each_once() {
        let unsent = Unsent { count: 5, first_us: 100, last_us: 500 };
        assert_eq!(unsent.ages(1000).collect::<Vec<_>>(), [(900, 1), (800, 1), (700, 1), (600, 1), (500, 1)]);
        assert_eq!(Unsent::one(7).ages(10).collect::<Vec<_>>(), [(3, 1)]);
        let many = Unsent { count: 1_000_001, first_us: 0, last_us: 1_000_000 };
        let ages: Vec<(u64, u64)> = many.ages(1_000_000).collect();
        assert_eq!(ages.iter().map(|(_, count)| count).sum::<u64>(), 1_000_001);
        assert!(ages.len() == PIECES as usize && ages.windows(2).all(|two| two[0].0 > two[1].0));
        let older: u64 = ages.iter().filter(|(age, _)| *age > 250_000).map(|(_, count)| count).sum();
        assert!((749_000..=751_000).contains(&older), "{older}");
    }

    #[test]
    fn what_comes_behind_the_most_that_are_kept_is_counted_and_not_kept() {
        let mut backlog = Backlog::default();
        let kept = (0..5000).filter(|at_us| backlog.add(*at_us, true)).count();
        assert_eq!((kept, backlog.kept()), (KEPT, KEPT));
        assert_eq!(backlog.given_up(), None, "those before them are not sent");
        for at_us in 0..KEPT as u64 {
            assert_eq!(backlog.next(), Some(at_us));
        }
        let behind = Unsent { count: 5000 - KEPT as u64, first_us: KEPT as u64, last_us: 4999 };
        assert_eq!((backlog.next(), backlog.given_up(), backlog.given_up()), (None, Some(behind), None));
        assert!(backlog.add(6000, true), "there is room again");
    }

    #[test]
    fn without_room_nothing_is_kept_and_all_is_told_at_the_end() {
        let mut backlog = Backlog::default();
        assert!(backlog.add(1, true) && !backlog.add(2, false) && !backlog.add(3, true));
        let mut told = Vec::new();
        backlog.take(|unsent| told.push(unsent));
        assert_eq!(told, [Unsent::one(1), Unsent { count: 2, first_us: 2, last_us: 3 }]);
        backlog.take(|_| panic!("it is forgotten"));
    }
}
