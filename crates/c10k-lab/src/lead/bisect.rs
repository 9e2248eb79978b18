//! What is tried next by one who looks for the most that still does: a size, or a rate.
//!
//! Pure arithmetic over what held so far: up by steps that double until one does not hold, and between the last that
//! held and the first that did not by halves, until they lie close.

/// The two lie close where they are apart by one of so many parts of what holds.
const PARTS: u64 = 64;

/// One search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bisection {
    /// No more than these are tried.
    most: u64,
    first: u64,
    step: u64,
    holds: u64,
    fails: Option<u64>,
}

impl Bisection {
    /// Of nothing it is known whether it holds: it begins with `first`.
    pub(crate) fn fresh(most: u64, first: u64) -> Self {
        Self { most, first, step: first, holds: 0, fails: None }
    }

    /// So many held in a search before: it begins a quarter below, and finds all by itself all the same.
    pub(crate) fn again(most: u64, found: u64) -> Self {
        let first = (found - found / 4).clamp(1, most);
        Self { most, first, step: (found / 8).max(1), holds: 0, fails: None }
    }

    /// The size to try; `None` once the search is over.
    pub(crate) fn next(&self) -> Option<u64> {
        match self.fails {
            None if self.holds == 0 => Some(self.first),
            None => {
                Some(self.holds.saturating_add(self.step).min(self.most)).filter(|_| self.holds < self.most)
            }
            Some(fails) => {
                let apart = fails - self.holds;
                (apart > (self.holds / PARTS).max(1)).then_some(self.holds + apart / 2)
            }
        }
    }

    /// What came of the size that was tried.
    pub(crate) fn note(&mut self, size: u64, does_hold: bool) {
        if !does_hold {
            self.fails = Some(size);
            return;
        }
        if self.holds > 0 {
            self.step = self.step.saturating_mul(2);
        }
        self.holds = size;
    }

    /// The most that held; 0 where none did.
    pub(crate) fn holds(&self) -> u64 {
        self.holds
    }

    /// The fewest beyond it that did not; `None` where the most that may be tried held.
    pub(crate) fn fails(&self) -> Option<u64> {
        self.fails
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fresh(most: u64) -> Bisection {
        Bisection::fresh(most, (most / 16).max(1))
    }

    /// A search to its end, and the sizes that were tried.
    fn carried_out(mut search: Bisection, mut does_hold: impl FnMut(u64) -> bool) -> (Bisection, Vec<u64>) {
        let mut tried = Vec::new();
        while let Some(size) = search.next() {
            assert!(tried.len() < 80, "it comes to no end: {tried:?}");
            tried.push(size);
            search.note(size, does_hold(size));
        }
        (search, tried)
    }

    #[test]
    fn where_fewer_always_hold_it_comes_as_close_as_a_64th() {
        for most in [1, 2, 15, 100, 20_000, 1_000_000, u64::from(u32::MAX)] {
            for limit in [1, 2, 7, 99, 1000, 12_400, 999_999].into_iter().filter(|limit| *limit < most) {
                let (search, tried) = carried_out(fresh(most), |size| size <= limit);
                let (holds, fails) = (search.holds(), search.fails().expect("one that did not hold"));
                assert!(holds <= limit && limit < fails, "{most} {limit}: {holds} {fails}");
                assert!(fails - holds <= (holds / 64).max(1), "{most} {limit}: {holds} {fails}");
                assert!(tried.iter().all(|size| (1..=most).contains(size)), "{tried:?}");
            }
        }
    }

    #[test]
    fn what_never_holds_and_what_always_holds_ends_without_the_other() {
        let (never, tried) = carried_out(fresh(1600), |_| false);
        assert_eq!((never.holds(), never.fails()), (0, Some(1)), "{tried:?}");
        assert_eq!(tried, [100, 50, 25, 12, 6, 3, 1]);
        let (always, tried) = carried_out(fresh(1600), |_| true);
        assert_eq!((always.holds(), always.fails()), (1600, None));
        assert_eq!(tried, [100, 200, 400, 800, 1600]);
        let (one, tried) = carried_out(fresh(1), |_| true);
        assert_eq!((one.holds(), one.fails(), tried), (1, None, vec![1]));
    }

    #[test]
    fn one_that_begins_far_below_the_most_comes_there_by_doubling() {
        let (found, tried) = carried_out(Bisection::fresh(10_000_000, 100), |rate| rate <= 90_000);
        assert_eq!(tried[..5], [100, 200, 400, 800, 1600]);
        assert!((88_500..=90_000).contains(&found.holds()) && tried.len() < 20, "{found:?}");
    }

    #[test]
    fn no_size_is_tried_twice_and_noise_only_moves_where_it_ends() {
        // A little above the limit it holds now and then.
        let mut noise = 0x9e37_79b9_u64;
        for _ in 0..200 {
            let (search, mut tried) = carried_out(fresh(20_000), |size| {
                noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                size <= 12_000 || size <= 13_000 && noise >> 63 == 1
            });
            assert!((11_800..=13_000).contains(&search.holds()), "{search:?}");
            let count = tried.len();
            tried.sort_unstable();
            tried.dedup();
            assert_eq!(tried.len(), count, "a size was tried twice");
        }
    }

    #[test]
    fn a_search_that_is_repeated_begins_near_and_finds_what_has_moved_either_way() {
        let (same, tried) = carried_out(Bisection::again(20_000, 12_400), |size| size <= 12_400);
        assert!((12_200..=12_400).contains(&same.holds()), "{same:?}");
        assert!(tried[0] == 9300 && tried.len() < 9, "{tried:?}");
        let (lower, _) = carried_out(Bisection::again(20_000, 12_400), |size| size <= 2000);
        assert!((1960..=2000).contains(&lower.holds()), "{lower:?}");
        let (higher, _) = carried_out(Bisection::again(20_000, 500), |_| true);
        assert_eq!(higher.holds(), 20_000);
        let (none, tried) = carried_out(Bisection::again(20_000, 0), |_| false);
        assert_eq!((none.holds(), tried), (0, vec![1]));
    }
}
